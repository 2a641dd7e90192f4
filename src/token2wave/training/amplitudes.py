"""Amplitudes: what each token says of each class by itself.

A wave's energy is its squared amplitude. Here a token's energy is the information that it brings about the class,
in nats: how far the classes of the texts that it occurs in are from those of all texts (Kullback-Leibler). A text is
the superposition of its tokens, divided by the root of their number, and of all linear classifiers of these the
one of largest margin is found: a convex problem with one solution, where the waves' is not.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.features import Ragged
from token2wave.native import core, n_threads
from token2wave.training.examples import Examples

COST = 1.0  # of an error, against the energy of the amplitudes; with token energies of one in the mean
PRIOR_TEXTS = 3.0  # texts of the classes' usual shares that a token has been seen in before it was seen
MOST_PASSES = 40
TOLERANCE = 0.1  # LIBLINEAR's, by which more passes change no accuracy

Floats = NDArray[np.float32]


class Amplitudes(NamedTuple):
    """A linear classifier of features.

    Attributes:
        rows: ``(V, C)`` float32.
        bias: ``(C,)`` float32.
        passes: over the texts until it was found.
    """

    rows: Floats
    bias: Floats
    passes: int


def fit_amplitudes(train: Examples, n_rows: int, n_classes: int, seed: int) -> Amplitudes:
    """Find the amplitude of every row for every class: one class against all others, squared hinge loss.

    Args:
        train: what to learn from.
        n_rows: rows of the embedding, ``V``.
        n_classes: ``C``.
        seed: of the order in which texts are visited.

    Returns:
        Amplitudes whose sum over a text's features, divided by the root of their number, plus the bias is
        about 1 for the text's class and -1 for the others.
    """
    energies = token_energies(train.features, train.labels, n_rows, n_classes)
    costs = np.full(len(train), COST, dtype=np.float32)
    if train.weights is not None:
        costs *= train.weights * (len(train) / train.weights.sum(dtype=np.float64))
    native = core()
    if native is None:
        return _solve(train, energies, costs, n_classes, seed)
    rows = np.zeros((n_rows, n_classes), dtype=np.float32)
    bias = np.zeros(n_classes, dtype=np.float32)
    features = train.features
    passes = native.fit_amplitudes(
        (features.ids, features.offsets, features.n_ordered),
        (train.labels, np.zeros(0, np.float32), costs, energies),
        (rows, bias),
        (MOST_PASSES, TOLERANCE, seed),
        n_threads(),
    )
    return Amplitudes(rows, bias, passes)


def token_energies(features: Ragged, labels: NDArray[np.int64], n_rows: int, n_classes: int) -> Floats:
    """Information that each row brings about the class, ``(V,)`` float32, one in the mean over texts' rows."""
    frequency = class_frequency(features, labels, n_rows, n_classes).astype(np.float32)
    usual = np.bincount(labels, minlength=n_classes).astype(np.float32) / np.float32(max(len(labels), 1))
    found = frequency.sum(axis=1)
    shares = frequency + np.float32(PRIOR_TEXTS) * usual
    shares /= (found + np.float32(PRIOR_TEXTS))[:, None]
    tiny = np.float32(1e-30)  # a class without texts
    ratios = np.maximum(shares, tiny)
    ratios /= np.maximum(usual, tiny)
    np.log(ratios, out=ratios)
    information = np.maximum(np.einsum("vc,vc->v", shares, ratios), 0)
    mean = float(information @ found) / max(float(found.sum()), 1.0)
    if mean <= 0:  # as where all texts are of one class
        return np.ones(n_rows, dtype=np.float32)
    return (information / np.float32(mean)).astype(np.float32)


def class_frequency(
    features: Ragged, labels: NDArray[np.int64], n_rows: int, n_classes: int
) -> NDArray[np.int64]:
    """Texts of each class in which each row occurs, ``(V, C)``."""
    native = core()
    if native is None:
        texts = np.repeat(np.arange(len(features)), features.lengths)
        pairs = np.unique(texts * np.int64(n_rows) + features.ids)
        places = pairs % n_rows * n_classes + labels[pairs // n_rows]
        return np.bincount(places, minlength=n_rows * n_classes).reshape(n_rows, n_classes)
    frequency = np.zeros((n_rows, n_classes), dtype=np.int64)
    last = np.full(n_rows, -1, dtype=np.int64)
    native.document_frequency(features.ids, features.offsets, labels, frequency, last)
    return frequency


def _solve(train: Examples, energies: Floats, costs: Floats, n_classes: int, seed: int) -> Amplitudes:
    """The native core's slow twin: dual coordinate descent, all classes side by side."""
    features = train.features
    squares, shares = _squares(features, energies), 1 / np.sqrt(np.maximum(features.lengths, 1))
    targets = np.where(train.labels[:, None] == np.arange(n_classes), 1.0, -1.0)
    rows, bias = np.zeros((len(energies), n_classes)), np.zeros(n_classes)
    alphas = np.zeros((len(train), n_classes))
    random, counting, passes = np.random.default_rng(seed), np.flatnonzero(costs > 0), 0
    for passes in range(1, MOST_PASSES + 1):
        worst = 0.0
        for text in random.permutation(counting):
            ids = features.ids[features.offsets[text] : features.offsets[text + 1]]
            spread = 0.5 / costs[text]  # of the squared hinge
            score = rows[ids].sum(axis=0) * shares[text] + bias
            slope = targets[text] * score - 1 + alphas[text] * spread
            violated = np.where((alphas[text] > 0) | (slope < 0), np.abs(slope), 0)
            worst = max(worst, float(violated.max()))
            step = np.where(violated > 0, slope / (squares[text] + spread), 0)
            after = np.maximum(alphas[text] - step, 0)
            change = (after - alphas[text]) * targets[text]
            alphas[text] = after
            bias += change
            np.add.at(rows, ids, energies[ids, None] * (change * shares[text]))
        if worst <= TOLERANCE:
            break
    return Amplitudes(rows.astype(np.float32), bias.astype(np.float32), passes)


def _squares(features: Ragged, energies: Floats) -> NDArray[np.float64]:
    """Square of each text's vector, and one for the bias, ``(N,)``; a row that occurs n times counts n^2 times."""
    texts = np.repeat(np.arange(len(features)), features.lengths)
    pairs, counts = np.unique(texts * np.int64(len(energies)) + features.ids, return_counts=True)
    brought = counts.astype(np.float64) ** 2 * energies[pairs % len(energies)]
    found = np.bincount(pairs // len(energies), brought, minlength=len(features))
    return found / np.maximum(features.lengths, 1) + 1
