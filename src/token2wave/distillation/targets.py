"""From a teacher's probabilities to what a student learns from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.data import TextDataset
from token2wave.distillation.teacher import TeacherPredictions
from token2wave.distillation.unlabelled import Unlabelled, unlabelled_texts
from token2wave.errors import ConfigError
from token2wave.training.callbacks import Callback
from token2wave.training.examples import Examples
from token2wave.training.preparation import EncodedTexts
from token2wave.training.recipe import Recipe

Floats = NDArray[np.float32]


class DistillationTargets(NamedTuple):
    """What a student learns from.

    Attributes:
        texts: those of the run; ``train`` and ``everything`` with soft targets, and with the unlabelled texts
            at their ends.
        record: plain data for the model file.
    """

    texts: EncodedTexts
    record: dict[str, Any]


def distillation_targets(
    teacher: str | os.PathLike[str],
    unlabelled: Unlabelled | None,
    texts: EncodedTexts,
    splits: TextDataset,
    recipe: Recipe,
    *,
    text_column: str = "text",
    callbacks: Sequence[Callback] = (),
    cached_only: bool = False,
) -> DistillationTargets:
    """Let a teacher speak of the training texts and of text without labels.

    The teacher learns from the rows that the student learns from at first: validation rows are held back from
    both, and test rows are never shown to it.

    Args:
        teacher: an encoder's name or folder, a fine-tuned classifier's folder, or a file of probabilities.
        unlabelled: a readable file, a data set, or texts.
        texts: of the run.
        splits: where they come from, the test texts among them.
        recipe: says how much the teacher counts.
        text_column: column of the unlabelled texts.
        callbacks: called as the work goes on.
        cached_only: use what is kept of the teacher, and fine-tune nothing.

    Raises:
        ConfigError: the teacher cannot be had, or knows none of the texts.
        DataError: a file cannot be read or used.
        MissingExtraError: a package that the teacher needs is not installed.
        OutputError: the folder of what is kept cannot be written to.
    """
    name = os.fspath(teacher)
    if texts.multi_label:
        raise ConfigError(
            "texts that may have several labels cannot have a teacher",
            location="teacher",
            hint="leave the teacher out, or give each text one label",
        )
    whole = texts.train if texts.full_train is None else texts.full_train
    further: list[str] = []
    notes: list[str] = []
    if unlabelled is not None:
        held_out = [*(() if texts.learns_from_validation else texts.validation.texts)]
        held_out += splits.test.texts if splits.test is not None else ()
        further, notes = unlabelled_texts(unlabelled, text_column, held_out, whole.texts)
    lessons = TeacherPredictions(
        name, texts.label_names, texts.train, splits.train.texts, callbacks, cached_only
    )
    known = lessons.of([*whole.texts, *further])
    of_whole, of_further = known.of(whole.texts), known.of(further)
    n_unknown = int(np.isnan(of_whole[:, 0]).sum())
    if n_unknown == len(whole):
        raise ConfigError(
            "expected probabilities of the training texts, found none of them",
            location=name,
            hint="name the file that belongs to this data",
        )
    if n_unknown:
        notes.append(f"The teacher says nothing of {n_unknown:,} training texts: their labels alone count.")
    answered = ~np.isnan(of_further[:, 0])
    if not answered.all():
        n_silent = int((~answered).sum())
        notes.append(f"{n_silent:,} unlabelled texts of which the teacher says nothing were left out.")
        further = [text for text, is_known in zip(further, answered, strict=True) if is_known]
    more = _unlabelled(further, of_further[answered], recipe)
    teacher_info = replace(
        texts,
        train=_with_more(_mix_targets(texts.train, known.of(texts.train.texts), recipe), more),
        full_train=None
        if texts.full_train is None
        else _with_more(_mix_targets(whole, of_whole, recipe), more),
        caveats=(*texts.caveats, *notes),
    )
    if texts.learns_from_validation:  # too few rows to hold any back
        teacher_info = replace(teacher_info, validation=teacher_info.train)
    record = {
        "teacher": name,
        "unlabelled": os.fspath(unlabelled) if isinstance(unlabelled, str | os.PathLike) else None,
        "unlabelled_rows": len(further),
    }
    return DistillationTargets(teacher_info, record)


def soften(probabilities: Floats, temperature: float) -> Floats:
    """Probabilities at a temperature: ``p^(1/T)`` over its sum over the classes (arXiv 1503.02531)."""
    logs = np.log(np.maximum(probabilities, 1e-30)) / temperature
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    softened: Floats = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return softened


def _mix_targets(labelled: Examples, probabilities: Floats, recipe: Recipe) -> Examples:
    """A mixture of the teacher's probabilities and the labels; labels alone where the teacher is silent."""
    targets = (labelled.labels[:, None] == np.arange(probabilities.shape[1])).astype(np.float32)
    known = ~np.isnan(probabilities[:, 0])
    share = np.float32(recipe.teacher_share)
    soft = soften(probabilities[known], recipe.teacher_temperature)
    targets[known] = share * soft + (1 - share) * targets[known]
    return replace(labelled, targets=targets)


def _unlabelled(texts: list[str], probabilities: Floats, recipe: Recipe) -> Examples:
    """Texts that the teacher alone labels."""
    labels = probabilities.argmax(axis=1).astype(np.int64)
    weights = np.full(len(texts), recipe.unlabelled_weight, dtype=np.float32)
    targets = soften(probabilities, recipe.teacher_temperature)
    return replace(Examples.of_texts(texts, labels, weights), targets=targets)


def _with_more(labelled: Examples, more: Examples) -> Examples:
    if not len(more):
        return labelled
    weights = np.ones(len(labelled), dtype=np.float32) if labelled.weights is None else labelled.weights
    assert labelled.targets is not None
    assert more.targets is not None
    assert more.weights is not None
    mean = np.float32(weights.mean())
    return replace(
        labelled,
        texts=labelled.texts + more.texts,
        labels=np.concatenate([labelled.labels, more.labels]),
        weights=np.concatenate([weights, mean * more.weights]),
        targets=np.concatenate([labelled.targets, more.targets]),
        n_unlabelled=len(more),
    )
