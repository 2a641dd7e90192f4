"""Validation accuracy while a network trains, and what it costs to reach one: steps, tokens and seconds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from paper.result_store import Result, ResultStore
from paper.statistics import Cost
from paper.study import SPLIT_SEED, StudyData
from paper.systems import System, train_and_answer
from token2wave.features import Ragged, WordPieceFeatures
from token2wave.models import TextNetwork
from token2wave.training.callbacks import Callback, Epoch
from token2wave.training.examples import Examples
from token2wave.training.validation import validate

if TYPE_CHECKING:
    from token2wave.models import Batch

ROWS_ON_THE_WAY = 1_000  # validation rows; a standard error of at most 1.6 points
UNITS = ("texts", "steps", "tokens", "seconds")


def train_with_curve(
    store: ResultStore, system: System, data: StudyData, seed: int, texts_between: int
) -> Result:
    """Train a network, and measure its validation accuracy every ``texts_between`` texts.

    A random sample of the validation rows is measured on the way. Test rows are answered once, with the
    weights of the best epoch by all validation rows.

    Returns:
        What :func:`paper.systems.train_and_answer` does; and ``curve``, a list for each of :data:`UNITS`
        (``tokens`` without [CLS], ``seconds`` of training alone) and ``accuracy``.
    """
    network = system.build(data, seed, store.device)
    curve = _Curve(network, _sample_rows(data.validation), texts_between, system.recipe.epochs)
    result = train_and_answer(store, lambda: network, system.recipe, data, seed, [curve])
    return {**result, "curve": curve.points}


class _Curve(Callback):
    """Measures between steps; the time that validation takes does not count."""

    def __init__(self, network: TextNetwork, rows: Examples, texts_between: int, epochs: int) -> None:
        self.network, self.rows, self.texts_between, self.epochs = network, rows, texts_between, epochs
        self._restart()

    def _restart(self) -> None:
        self.points: dict[str, list[float]] = {name: [] for name in (*UNITS, "accuracy")}
        self.texts = self.steps = self.tokens = 0
        self.start: float | None = None
        self.pause = self.pauses = 0.0

    def on_stage(self, name: str, total: int) -> None:
        """Training begins, once more if it diverged."""
        del name, total
        self._restart()

    def on_gradients(self, network: TextNetwork, batch: Batch) -> None:
        """Measure before the step that these gradients are for."""
        now = time.perf_counter()
        if self.start is None:  # the first gradients; each later point is whole steps away
            self.start = now
        if self.texts >= self.texts_between * len(self.points["texts"]):
            self._measure(now)
            network.train()
        n_texts = len(batch.offsets) - 1
        self.texts, self.steps = self.texts + n_texts, self.steps + 1
        self.tokens += int(batch.offsets[-1]) - n_texts

    def on_loss(self, loss: float, texts_per_second: float) -> None:
        """Note the time: after the last of an epoch, validation begins."""
        del loss, texts_per_second
        self.pause = time.perf_counter()

    def on_epoch(self, epoch: Epoch) -> None:
        """Leave the validation of the epoch out of the time; measure after the last step."""
        self.pauses += time.perf_counter() - self.pause
        if epoch.epoch == self.epochs:
            self._measure(time.perf_counter())

    def _measure(self, now: float) -> None:
        assert self.start is not None
        seconds = round(now - self.start - self.pauses, 3)
        accuracy = validate(self.network, self.rows).accuracy
        values = (self.texts, self.steps, self.tokens, seconds, accuracy)
        for name, value in zip(self.points, values, strict=True):
            self.points[name].append(value)
        self.pauses += time.perf_counter() - now


def cost_until(run: Mapping[str, Any], accuracy: float, unit: str) -> Cost:
    """What a run spends until its validation accuracy first reaches one, linear between two points.

    A run that never reaches it, or only with smaller rates than its own, has spent all without reaching it.
    """
    spent, accuracies = (np.array(run["curve"][name], dtype=float) for name in (unit, "accuracy"))
    reached = np.flatnonzero(accuracies[1:] >= accuracy)  # without any step nothing is reached
    if not len(reached) or run["rate_factor"] != 1:
        return Cost(float(spent[-1]), reached=False)
    first, last = int(reached[0]), int(reached[0]) + 1
    rise = accuracies[last] - accuracies[first]
    fraction = (accuracy - accuracies[first]) / rise if accuracies[first] < accuracy else 1.0
    return Cost(float(spent[first] + fraction * (spent[last] - spent[first])), reached=True)


def cut_texts(data: StudyData, max_tokens: int) -> StudyData:
    """Cut encoded texts to a length with [CLS] and [SEP], as :meth:`StudyData.encode_with` would.

    It takes no time, where encoding again takes a minute.
    """
    config = data.features.config.replace(max_tokens=max_tokens)
    splits = (data.train, data.validation, data.test)
    train, validation, test = (replace(rows, features=_cut(rows.features, max_tokens)) for rows in splits)
    settings = {**data.settings, "features": config.to_dict()}
    features = WordPieceFeatures(config, data.features.vocabulary)
    return replace(data, features=features, train=train, validation=validation, test=test, settings=settings)


def _cut(features: Ragged, max_tokens: int) -> Ragged:
    """Keep the first tokens and the last one, [SEP]."""
    lengths = features.lengths
    place = np.arange(len(features.ids)) - np.repeat(features.offsets[:-1], lengths)
    is_last = place == np.repeat(lengths - 1, lengths)
    return features.keep((place < max_tokens - 1) | is_last)


def _sample_rows(rows: Examples) -> Examples:
    """Rows at random: those of a file may be sorted by class."""
    order = np.random.default_rng(SPLIT_SEED).permutation(len(rows))
    return rows.take(np.sort(order[:ROWS_ON_THE_WAY]))
