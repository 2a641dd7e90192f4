"""From a run's data and settings to better settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Protocol

from token2wave.classifier import Classifier
from token2wave.data import TextDataset
from token2wave.training.callbacks import Callback, CallbackList
from token2wave.training.preparation import ClassWeights, EncodedTexts, Labelled, prepare
from token2wave.training.presets import Preset
from token2wave.training.search_history import SearchHistory
from token2wave.tuning.budget import Budget
from token2wave.tuning.candidates import Candidates
from token2wave.tuning.search import Search

ENOUGH_ROWS = 4_000  # validation rows that candidates are told apart by, where splits can give as many
MAX_SPLITS = 5
MAX_SPLITS_WITH_SIZE = 2  # compressing takes several times as long as training
SLACK = 1.15  # what follows the search may take so much longer than what was seen


class Trained(Protocol):
    """What training gives."""

    @property
    def classifier(self) -> Classifier:
        """The trained model."""


def tune(
    train: Callable[..., Trained],
    splits: TextDataset,
    texts: EncodedTexts,
    preset: Preset,
    overrides: Mapping[str, Any],
    seed: int,
    class_weights: ClassWeights,
    budget: Budget,
    callback_list: CallbackList,
    is_limited: bool,
) -> SearchHistory:
    """Search for settings by validation rows; the test rows are not handed on.

    Args:
        train: called with ``splits`` and, by name, ``settings``, ``seed`` and ``callbacks``; the rows that it
            holds back for validation depend on the seed alone.
        splits: the data.
        texts: the same, prepared with ``seed``.
        preset: to start from, with the settings that the user gave.
        overrides: these settings by full name; they stay as they are.
        seed: of everything.
        class_weights: as for training.
        budget: of the whole run.
        callback_list: told how it goes.
        is_limited: whether the model file has a size to keep to.
    """
    unseen = replace(splits, test=None, label_names=texts.label_names)
    is_given = splits.validation is not None
    n_rows = len(texts.validation)
    most_splits = MAX_SPLITS_WITH_SIZE if is_limited else MAX_SPLITS
    n_splits = 1 if is_given else min(max(math.ceil(ENOUGH_ROWS / n_rows), 1), most_splits)
    record = SearchHistory(preset.recipe.chooses_by(texts.multi_label), n_rows, n_splits)
    if texts.learns_from_validation:
        record.ended_by = "too few rows"
        return record

    def seed_of(split: int) -> int:
        return (seed + split) % (1 << 63)

    def learn(settings: Mapping[str, Any], split: int, watch: Sequence[Callback]) -> Classifier:
        changed = {**overrides, **settings, "recipe.refit_below": 0}
        return train(unseen, settings=changed, seed=seed_of(split), callbacks=watch).classifier

    @lru_cache(maxsize=MAX_SPLITS)
    def held_out(split: int) -> Labelled:
        return prepare(unseen, preset.recipe, seed_of(split), class_weights).validation

    def seconds_to_finish(seconds: float) -> float:
        """What is left to do after the search: one fit, another on all rows, and the test texts."""
        n_train, n_all = len(texts.train), len(texts.full_train or ())
        refits = sum(map(len, splits.train.texts)) < preset.recipe.refit_below
        n_more = len(texts.test) if texts.test is not None else 0
        # Held against a fit of several epochs, predicting a text costs about as much as learning it once.
        share = 1 + refits * n_all / n_train + n_more / (preset.recipe.epochs * n_train)
        return SLACK * share * seconds

    Search(
        learn,
        held_out,
        Candidates(preset, frozenset(overrides), seed, is_limited),
        record,
        budget,
        seconds_to_finish,
        callback_list,
    ).run()
    return record
