"""Makes training targets of a teacher's probabilities."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.data import TextDataset, load_texts
from token2wave.distillation.teacher import TeacherPredictions
from token2wave.errors import ConfigError
from token2wave.options import TextOptions
from token2wave.training.callbacks import Callback
from token2wave.training.examples import Examples
from token2wave.training.preparation import EncodedTexts
from token2wave.training.recipe import Recipe

Floats = NDArray[np.float32]
Unlabelled = str | os.PathLike[str] | Sequence[str]


def distillation_targets(
    teacher: str | os.PathLike[str],
    unlabelled: Unlabelled | None,
    texts: EncodedTexts,
    splits: TextDataset,
    recipe: Recipe,
    *,
    text_options: TextOptions | None = None,
    callbacks: Sequence[Callback] = (),
    cached_only: bool = False,
) -> tuple[EncodedTexts, dict[str, Any]]:
    """Add a teacher's probabilities to the targets of a run, and texts that the teacher labels.

    An encoder is fine-tuned on the training rows alone. Validation rows are held out from it, too, and it
    never sees test rows.

    Args:
        teacher: an encoder's name or folder, a fine-tuned classifier's folder, or a file of probabilities.
        unlabelled: a readable file, a data set, or texts.
        texts: of the run.
        splits: the data that they come from.
        recipe: sets the teacher's temperature and weights.
        text_options: the column of the unlabelled texts, and how a file of them is written.
        callbacks: called as the work goes on.
        cached_only: refuse to fine-tune, and use only what is cached.

    Returns:
        The texts of the run, with soft targets and the unlabelled texts at the end; and plain data for the
        model file.

    Raises:
        ConfigError: the teacher cannot be loaded, or knows none of the texts.
        DataError: a file cannot be read or used.
        MissingExtraError: a package that the teacher needs is not installed.
        OutputError: the cache's folder cannot be written to.
    """
    name = os.fspath(teacher)
    if texts.multi_label:
        raise ConfigError(
            "expected texts with one label each, found texts that may have several",
            location="teacher",
            hint="leave the teacher out, or give each text one label",
        )
    full_train = texts.train if texts.full_train is None else texts.full_train
    new_texts: list[str] = []
    notes: list[str] = []
    held_out = [*(() if texts.learns_from_validation else texts.validation.texts)]
    held_out += splits.test.texts if splits.test is not None else ()
    if unlabelled is not None:
        new_texts, notes = unlabelled_texts(unlabelled, text_options, held_out, full_train.texts)
    predictions = TeacherPredictions(
        name, texts.label_names, texts.train, splits.train.texts, callbacks, cached_only
    )
    n_unlabelled = len(new_texts)
    if recipe.recombined_texts:
        old = {*new_texts, *held_out, *full_train.texts}
        recombined = predictions.recombined(recipe.recombined_texts)
        new_texts += [text for text in recombined if text not in old]
    known = predictions.predict([*full_train.texts, *new_texts])
    n_unknown = int(np.isnan(known.of(full_train.texts)).any(axis=1).sum())
    if n_unknown == len(full_train):
        raise ConfigError(
            "expected probabilities of the training texts, found none of them",
            location=name,
            hint="name the file that belongs to this data",
        )
    if n_unknown:
        notes.append(f"The teacher does not know {n_unknown:,} training texts: their labels alone count.")
    known_texts = [text for text in new_texts if text in known]
    if len(known_texts) < len(new_texts):
        n_left_out = len(new_texts) - len(known_texts)
        notes.append(f"{n_left_out:,} unlabelled texts that the teacher does not know were left out.")
    new_examples = _label(known_texts, known.of(known_texts), recipe)

    def add_teacher(examples: Examples) -> Examples:
        return _append(_mix_targets(examples, known.of(examples.texts), recipe), new_examples)

    train = add_teacher(texts.train)
    with_targets = replace(
        texts,
        train=train,
        validation=train if texts.learns_from_validation else texts.validation,
        full_train=None if texts.full_train is None else add_teacher(texts.full_train),
        caveats=(*texts.caveats, *notes),
    )
    return with_targets, {
        "teacher": name,
        "unlabelled": os.fspath(unlabelled) if isinstance(unlabelled, str | os.PathLike) else None,
        "unlabelled_rows": sum(text in known for text in new_texts[:n_unlabelled]),
    }


def unlabelled_texts(
    source: Unlabelled,
    text_options: TextOptions | None,
    held_out: Collection[str],
    train_texts: Collection[str],
) -> tuple[list[str], list[str]]:
    """Read texts without labels, each once, but for validation, test and training texts.

    Returns:
        The texts, and sentences that say how many were left out.

    Raises:
        DataError: the texts cannot be read.
    """
    notes: list[str] = []
    texts = load_texts(source, text_options, argument="unlabelled")
    distinct = dict.fromkeys(texts)
    held_out, train_texts = frozenset(held_out), frozenset(train_texts)
    new_texts = [text for text in distinct if text not in held_out and text not in train_texts]
    n_held_out = sum(text in held_out for text in distinct)
    n_repeated = len(texts) - n_held_out - len(new_texts)
    if n_held_out:
        notes.append(f"{n_held_out:,} unlabelled texts equal a validation or test text and were left out.")
    if n_repeated:
        notes.append(f"{n_repeated:,} unlabelled texts are repeated or training texts and were left out.")
    return new_texts, notes


def soften(probabilities: Floats, temperature: float) -> Floats:
    """Raise the temperature of probabilities: ``p^(1/T)``, normalised over the classes (arXiv 1503.02531)."""
    logs = np.log(np.maximum(probabilities, 1e-30)) / temperature
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


def _mix_targets(examples: Examples, probabilities: Floats, recipe: Recipe) -> Examples:
    """Mix the teacher's probabilities with the labels; labels alone where the teacher knows nothing."""
    targets = (examples.labels[:, None] == np.arange(probabilities.shape[1])).astype(np.float32)
    known = ~np.isnan(probabilities[:, 0])
    weight = np.float32(recipe.teacher_share)
    soft = soften(probabilities[known], recipe.teacher_temperature)
    targets[known] = weight * soft + (1 - weight) * targets[known]
    return replace(examples, targets=targets)


def _label(texts: list[str], probabilities: Floats, recipe: Recipe) -> Examples:
    """Make examples of texts that the teacher alone labels."""
    labels = probabilities.argmax(axis=1).astype(np.int64)
    weights = np.full(len(texts), recipe.unlabelled_weight, dtype=np.float32)
    targets = soften(probabilities, recipe.teacher_temperature)
    return replace(Examples.of_texts(texts, labels, weights), targets=targets)


def _append(examples: Examples, new: Examples) -> Examples:
    if not len(new):
        return examples
    weights = np.ones(len(examples), dtype=np.float32) if examples.weights is None else examples.weights
    assert examples.targets is not None
    assert new.targets is not None
    assert new.weights is not None
    return replace(
        examples,
        texts=examples.texts + new.texts,
        labels=np.concatenate([examples.labels, new.labels]),
        weights=np.concatenate([weights, np.float32(weights.mean()) * new.weights]),
        targets=np.concatenate([examples.targets, new.targets]),
        n_unlabelled=len(new),
        groups=None if examples.groups is None else [*examples.groups, *[None] * len(new)],
    )
