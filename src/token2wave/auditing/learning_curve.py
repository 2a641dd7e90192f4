"""Estimates what would help: the gain from more rows, the label noise, and the attainable accuracy.

A quick model, the linear SVM, learns from a growing part of the rows and predicts rows that it has not seen.
A power law, ``error = a + b * rows ** -c``, continues the curve (arXiv 1712.00409). Further rows are taken to
be like those of the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.data import TextSplit, strata
from token2wave.errors import ConfigError, DataError
from token2wave.formatting import percent, printable
from token2wave.training.auto_settings import auto_settings
from token2wave.training.callbacks import CallbackList
from token2wave.training.cross_validation import FOLDS, split_folds
from token2wave.training.examples import Examples
from token2wave.training.label_quality import PRESET, LabelQuality
from token2wave.training.linear_svm import LinearSVM
from token2wave.training.preparation import encode_rows, features_for
from token2wave.training.presets import preset_named

FRACTIONS = (1 / 16, 1 / 8, 0.25, 0.35, 0.5, 0.7, 1.0)
"""Sizes of the curve, relative to the rows that a model may learn from."""
N_FITTED = 5
"""The largest sizes, to which the power law is fitted: small ones say little about the next doubling."""
MIN_ROWS = 16
"""In the smallest size fitted, and at least two a class."""
POWERS = np.linspace(0.1, 1.5, 29)
"""Candidates for ``c``; published curves of text classification lie between."""
N_BLOCKS = 40
"""Rows of a fold are resampled in so many random blocks."""
N_RESAMPLES = 200
QUANTILES = (0.05, 0.95)
"""Of the resamples that an interval holds."""
MISFIT = 0.33
"""Intervals of gains are wider by this part of the gain, since no curve is exactly a power law."""
SUREST = 0.3
"""Part of the rows of each fold in which nearly every model error is a wrong label."""
LITTLE = 0.003
"""Gains below are little, whatever they are."""
MAX_GAIN_WIDTH, MAX_LIMIT_WIDTH = 0.05, 0.1
"""Wider intervals say nothing."""
MAX_NAMED = 3
"""Classes that a sentence names."""
TOO_FEW = "What more rows would bring cannot be told: there are too few rows of each class."

Numbers = NDArray[np.float64]


class PowerLaw(NamedTuple):
    """Curves ``error = a + b * (rows / scale) ** -c``, one for each of ``R`` resamples.

    Attributes:
        a: ``(R,)``, the error that no number of rows removes.
        b: ``(R,)``, the error that rows remove, at ``scale`` rows.
        c: ``(R,)``, how fast they remove it.
        scale: the largest size measured.
    """

    a: Numbers
    b: Numbers
    c: Numbers
    scale: float

    def basis(self, n_rows: float | Numbers) -> Numbers:
        """The part of ``b`` that is left at a number of rows, ``(R,)`` or ``(R, S)``."""
        rows = np.asarray(n_rows, dtype=np.float64) / self.scale
        return np.asarray(rows**-self.c if rows.ndim == 0 else rows ** -self.c[:, None])

    def __call__(self, n_rows: float) -> Numbers:
        """The error at a number of rows, ``(R,)``."""
        return self.a + self.b * self.basis(n_rows)


def fit_power_law(sizes: Sequence[int], errors: Numbers) -> PowerLaw:
    """Fit a power law to errors ``(R, S)`` at ``S`` ascending sizes, with ``a`` and ``b`` at least zero."""
    scale = float(sizes[-1])
    rows = np.asarray(sizes) / scale
    weights = rows / rows.sum()
    best: Numbers | None = None
    mean = errors @ weights
    for c in POWERS.tolist():
        basis = rows**-c
        centred = basis - weights @ basis
        b = errors @ (weights * centred) / (weights @ centred**2)
        a = mean - b * (weights @ basis)
        b = np.where(a < 0, errors @ (weights * basis) / (weights @ basis**2), b)
        a = np.where(b < 0, mean, np.maximum(a, 0))
        b = np.maximum(b, 0)
        loss = (errors - a[:, None] - b[:, None] * basis) ** 2 @ weights
        fitted = np.stack([loss, a, b, np.full(len(a), c)])
        best = fitted if best is None else np.where(fitted[0] < best[0], fitted, best)
    assert best is not None
    return PowerLaw(best[1], best[2], best[3], scale)


def attainable_and_curve(
    rows: TextSplit,
    label_names: Sequence[str],
    quality: LabelQuality | None,
    *,
    seed: int = 0,
    callback_list: CallbackList | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Estimate the attainable accuracy and the gain from more rows; plain data.

    ``attainable`` has ``noise`` (:func:`estimate_noise`); ``ceiling``, the accuracy of a perfect model
    measured by these labels; ``accuracy``, that of the audit's models measured by right labels; and ``limit``
    with ``limit_interval``, where the curve tends with ever more rows, at most the ceiling. The first three
    are None for multi-label texts.

    ``learning_curve`` has ``measure`` (``accuracy``, or ``micro_f1`` for multi-label texts), ``sizes`` and
    ``scores`` of the quick model; ``more_rows``, and ``gain`` and ``gain_interval`` of so many more rows;
    ``doubling`` and ``doubling_interval`` of twice the rows; ``classes``, those with the largest part of the
    gain first, each with ``label``, ``scores`` (F1), ``gain`` and ``gain_interval`` of its own
    score, and ``share`` of the whole gain; and ``main_classes``, which have most of the gain, none if that
    cannot be told. ``reason`` is None, or says why there is no curve: then all estimates are None.
    Intervals are of 90 %. Scores and gains are fractions.

    Args:
        rows: texts and labels.
        label_names: names of the ``C`` classes.
        quality: of the labels of these rows; None if it cannot be told.
        seed: of folds and parts.
        callback_list: called as the work goes on.
    """
    names = tuple(label_names)
    attainable: dict[str, Any] = dict.fromkeys(("noise", "ceiling", "accuracy", "limit", "limit_interval"))
    if quality is not None and not rows.multi_label:
        noise = estimate_noise(quality)
        accuracy = float((quality.probabilities.argmax(axis=1) == quality.labels).mean())
        accuracy = min(accuracy / max(1 - noise, 1e-9), 1.0)
        attainable |= {"noise": noise, "ceiling": 1 - noise, "accuracy": accuracy}
    curve: dict[str, Any] = {
        "measure": "micro_f1" if rows.multi_label else "accuracy",
        "sizes": [],
        "scores": [],
        "more_rows": 10 ** (len(str(len(rows))) - 1),
        **dict.fromkeys(("gain", "gain_interval", "doubling", "doubling_interval")),
        "classes": [],
        "main_classes": [],
        "reason": TOO_FEW,
    }
    callback_list = CallbackList(()) if callback_list is None else callback_list
    try:
        measured = _measure(rows, names, seed, callback_list)
    except (ConfigError, DataError):  # e.g. all rows are of one class
        return attainable, curve
    if measured is None:
        return attainable, curve
    sizes, right, counted = measured
    n_blocks = len(right)
    draws = np.random.default_rng(seed).multinomial(n_blocks, [1 / n_blocks] * n_blocks, N_RESAMPLES)
    draws = np.concatenate([np.ones((1, n_blocks), dtype=np.int64), draws])  # the first is the estimate
    right, counted = (np.tensordot(draws, sums, axes=1) for sums in (right, counted))  # (R, S, C)
    errors = 1 - right.sum(axis=2) / np.maximum(counted.sum(axis=2), 1)
    law = fit_power_law(sizes[-N_FITTED:], errors[:, -N_FITTED:])
    n, n_more = len(rows), len(rows) + curve["more_rows"]
    gain, doubling = law(n) - law(n_more), law(n) - law(2 * n)
    limit = np.minimum(1 - law.a, 1.0 if attainable["ceiling"] is None else attainable["ceiling"])
    attainable |= {"limit": float(limit[0]), "limit_interval": _interval(limit)}
    # The errors of all classes add up to the whole error, and are linear in its curve, so that gains add up.
    class_errors = (counted - right) / np.maximum(counted.sum(axis=2, keepdims=True), 1)
    scores, rise = right / np.maximum(counted, 1), (law.basis(n) - law.basis(n_more))[:, None]
    gains = rise * _slopes(law, sizes[-N_FITTED:], class_errors[:, -N_FITTED:])
    class_gain = -rise * _slopes(law, sizes[-N_FITTED:], scores[:, -N_FITTED:])
    order = np.argsort(-gains[0], kind="stable")
    curve |= {
        "reason": None,
        "sizes": list(sizes),
        "scores": (1 - errors[0]).tolist(),
        "gain": float(gain[0]),
        "gain_interval": _interval(gain, MISFIT),
        "doubling": float(doubling[0]),
        "doubling_interval": _interval(doubling, MISFIT),
        "main_classes": [names[c] for c in _main_classes(gains[:, order], order)],
        "classes": [
            {
                "label": names[c],
                "scores": scores[0, :, c].tolist(),
                "gain": float(class_gain[0, c]),
                "gain_interval": _interval(class_gain[:, c], MISFIT),
                "share": float(gains[0, c] / gains[0].sum()) if gains[0].sum() > 0 else None,
            }
            for c in order.tolist()
        ],
    }
    return attainable, curve


def _measure(
    rows: TextSplit, names: tuple[str, ...], seed: int, callback_list: CallbackList
) -> tuple[list[int], Numbers, Numbers] | None:
    """Predict the rows of each fold by models of growing parts of the others.

    Returns:
        The ``S`` sizes; and for ``B`` blocks of rows, sizes and classes, ``(B, S, C)``, what is right and
        what counts: their quotient is F1. None if there are too few rows.
    """
    examples = encode_rows(rows, names, rows.multi_label)
    preset = auto_settings(preset_named(PRESET), rows.texts, {}, len(names))
    folds = split_folds(examples, preset.recipe, FOLDS, seed)
    largest = min(len(fold.train_rows) for fold in folds)
    enough = max(MIN_ROWS, 2 * len(names))
    sizes = [size for size in (round(fraction * largest) for fraction in FRACTIONS) if size >= enough]
    if len(sizes) < N_FITTED:
        return None
    features, encoded = features_for(examples.texts, preset, None, rows.source)
    examples = replace(examples, features=encoded)
    random = np.random.default_rng(seed)
    callback_list.stage("learning curve", len(folds) * sum(sizes))
    blocks = []
    for fold in folds:
        order, held_out = _nested_order(examples, fold.train_rows, random), examples.take(fold.rows)
        block = random.permutation(len(held_out)) % min(N_BLOCKS, len(held_out))
        sums = np.zeros((2, block.max() + 1, len(sizes), len(names)))
        for number, size in enumerate(sizes):
            train = examples.take(order[:size])
            problem = LinearSVM(train, features, len(names), seed, rows.multi_label)
            logits = problem.compiled(problem.solve(0.0)).logits(held_out.features)
            for total, values in zip(sums, _right_and_counted(logits, held_out.labels), strict=True):
                np.add.at(total[:, number], block, values)
            callback_list.advance(size)
        blocks.append(sums)
    right, counted = np.concatenate(blocks, axis=1)
    return sizes, right, counted


def _nested_order(
    examples: Examples, rows: NDArray[np.int64], random: np.random.Generator
) -> NDArray[np.int64]:
    """Order rows so that the first of them, however many, have the classes in proportion."""
    labels = examples.labels[rows]
    classes = strata(labels) if examples.multi_label else labels
    shuffled = random.permutation(len(rows))
    shuffled = shuffled[np.argsort(classes[shuffled], kind="stable")]
    counts = np.bincount(classes)
    starts = np.cumsum(counts) - counts
    of_class = classes[shuffled]
    ranks = np.arange(len(rows)) - starts[of_class] + random.random(len(counts))[of_class]
    return rows[shuffled[np.argsort(ranks / counts[of_class], kind="stable")]]


def _right_and_counted(logits: Numbers, labels: NDArray[Any]) -> tuple[Numbers, Numbers]:
    """Numerator and denominator of F1 for each row and class, ``(N, C)``.

    The quotient of their sums over classes is the accuracy, for multi-label texts micro-F1. An error counts
    in the class that it misses and in the one that is predicted instead.
    """
    decisions, truth = logits > 0, labels
    if labels.ndim == 1:
        decisions, truth = (
            each[:, None] == np.arange(logits.shape[1]) for each in (logits.argmax(axis=1), labels)
        )
    both = 2.0 * (decisions & truth)
    return both, both + (decisions ^ truth)


def _slopes(law: PowerLaw, sizes: Sequence[int], figures: Numbers) -> Numbers:
    """Least-squares slopes ``(R, C)`` of figures ``(R, S, C)`` along the power law."""
    rows = np.asarray(sizes, dtype=np.float64)
    weights, basis = rows / rows.sum(), law.basis(rows)
    centred = weights * (basis - basis @ weights[:, None])
    slopes = np.einsum("rs,rsc->rc", centred, figures)
    return np.asarray(slopes / (centred * basis).sum(axis=1, keepdims=True))


def _main_classes(gains: Numbers, order: NDArray[np.int64]) -> list[int]:
    """The few classes that have most of the gain in nearly all resamples; none if there are none.

    ``gains``, ``(R, C)``, are the classes' parts of the gain, the largest first; ``order`` are the classes.
    """
    for n_named in range(1, min(MAX_NAMED, max(1, len(order) // 3)) + 1):
        most = gains[:, :n_named].sum(axis=1) > gains.sum(axis=1) / 2
        if most[0] and most.mean() > QUANTILES[1] - QUANTILES[0]:
            return [int(c) for c in order[:n_named]]
    return []


def _interval(values: Numbers, misfit: float = 0.0) -> list[float]:
    """The interval of an estimate, the first value, from its resamples; and the fit's own doubt."""
    estimate, bounds = values[0], np.quantile(values[1:], QUANTILES)
    low, high = np.hypot(np.maximum((estimate - bounds[0], bounds[1] - estimate), 0), misfit * estimate)
    return [float(estimate - low), float(estimate + high)]


def estimate_noise(quality: LabelQuality) -> float:
    """Estimate the least fraction of rows with a wrong label; labels are ``(N,)``, one a text.

    Where a model that has not seen the row is surest, it is nearly always right, so that what contradicts it
    is a wrong label. If labels are wrong as often elsewhere, this fraction holds for all rows. Wrong labels
    that follow from the text are learnt like right ones and escape it.
    """
    contradicted, confidence = (
        quality.probabilities.argmax(axis=1) != quality.labels,
        quality.probabilities.max(axis=1),
    )
    n_wrong = 0.0
    for fold in np.unique(quality.fold):  # models differ in how sure they are
        rows = np.flatnonzero(quality.fold == fold)
        surest = rows[np.argsort(-confidence[rows], kind="stable")][: max(1, round(SUREST * len(rows)))]
        n_wrong += len(rows) * contradicted[surest].mean()
    return float(n_wrong / len(confidence))


def helpful_sentences(document: Mapping[str, Any]) -> list[str]:
    """Say in plain English what would help, from an audit's document."""
    attainable, curve = document["attainable"], document["learning_curve"]
    sentences = []
    if attainable["noise"] is not None:
        noise, ceiling, accuracy = (percent(attainable[key], 1) for key in ("noise", "ceiling", "accuracy"))
        sentences.append(
            f"At least about {noise} of the labels are wrong. Measured by them, even a perfect model would "
            f"reach at most {ceiling}. Measured by right labels, the audit's models would reach about "
            f"{accuracy}."
        )
    if curve["reason"] is not None:
        return [*sentences, curve["reason"]]
    more, (low, high) = f"{curve['more_rows']:,} more rows like these", curve["gain_interval"]
    points = f"+{100 * low:.1f} to +{100 * high:.1f}"
    if high < LITTLE:
        sentences.append(f"{more} would bring little: at most +{100 * high:.1f} points.")
    elif high - low > MAX_GAIN_WIDTH:
        sentences.append(f"How much {more} would bring cannot be told: {points} points.")
    else:
        *others, last = map(printable, curve["main_classes"] or [""])
        where = f", most of it in {' and '.join([', '.join(others), last] if others else [last])}"
        about = f"{more} would bring about +{100 * curve['gain']:.1f} points ({points})"
        sentences.append(about + (where if last else "") + ".")
    low, high = attainable["limit_interval"]
    if high - low > MAX_LIMIT_WIDTH:
        sentences.append("How far many more rows would lead cannot be told from these.")
    else:
        about = f"about {percent(attainable['limit'], 0)} ({percent(low, 0)} to {percent(high, 0)})"
        sentences.append(f"With ever more rows the curve tends to {about}.")
    return sentences
