"""Weights of a network's levels that make its probabilities true on texts that it has not learnt from."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from token2wave.features import Ragged
from token2wave.inference.reference import probabilities
from token2wave.models.wave_config import WaveConfig
from token2wave.training.examples import Examples
from token2wave.training.linear_svm import SUBWORD_SHARES, LinearSVM, LinearSVMWeights
from token2wave.training.validation import binary_cross_entropies

HEADS = ("head", "context.head", "linear_svm")
"""What makes each level's logits: of the text, of its phrases, of its tokens' amplitudes."""
ITERATIONS = 100
PRIOR = 1.0
TOLERANCE = 1e-10
DOUBT = 0.01  # weight of every level where each is worse than chance: decisions stay, and nothing is certain

Numbers = NDArray[np.float64]


class Scalable(Protocol):
    """What calibration asks of a network."""

    config: WaveConfig

    def logits(self, features: Ragged) -> NDArray[np.float32]:
        """Compute the logits of ``N`` texts, ``(N, C)`` float32."""

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Every parameter by name."""

    def load(self, name: str, values: NDArray[np.float32]) -> None:
        """Put values in a parameter's place."""


def calibrate(network: Scalable, validation: Examples) -> tuple[float, ...]:
    """Weigh a network's levels by texts that it has not learnt from; the weights go into its heads.

    Of one level the weight is one over the temperature of arXiv 1706.04599: it changes no decision.
    Several levels are also weighed against each other.

    Where a text may have several classes, the weights are those of the least binary cross-entropy.

    Args:
        network: trained; it is changed where it lies.
        validation: texts that it has not learnt from.

    Returns:
        The weight of each level.
    """
    levels = branch_logits(network, validation.features)
    weights = fit_weights(levels, _truth(network, validation), validation.weights)
    scale_branches(network, weights)
    return weights


def choose_linear_svm(
    problem: LinearSVM, waves: Scalable, validation: Examples
) -> tuple[float, LinearSVMWeights]:
    """Choose the share of the words' character n-grams by texts that were not learnt from.

    Args:
        problem: of the training texts.
        waves: the network that the amplitudes will join.
        validation: texts that neither has learnt from.

    Returns:
        The share of the least cross-entropy, all levels weighed, and the amplitudes found with it.
    """
    levels, truth = branch_logits(waves, validation.features), _truth(waves, validation)
    best: tuple[float, float, LinearSVMWeights] | None = None
    for share in SUBWORD_SHARES if problem.char_ngrams.n_grams else (0.0,):
        linear_svm = problem.solve(share)
        every = np.concatenate([levels, linear_svm.logits(validation.features)[None]])
        weights = fit_weights(every, truth, validation.weights)
        losses, _ = _losses(np.tensordot(weights, every, axes=1), truth)
        loss = float(np.average(losses, weights=validation.weights))
        if best is not None and loss >= best[0]:
            break  # a larger share would not turn it
        best = loss, share, linear_svm
    assert best is not None
    return best[1:]


def scale_branches(network: Scalable, weights: Sequence[float]) -> None:
    """Multiply what each level gives to the logits."""
    arrays = network.arrays()
    for head, weight in zip(_heads(arrays), weights, strict=False):
        for name in (f"{head}.weight", f"{head}.bias"):
            network.load(name, (arrays[name] * np.float32(weight)).astype(np.float32))


def branch_logits(network: Scalable, features: Ragged) -> Numbers:
    """What each level gives to the logits of ``N`` texts, ``(L, N, C)``."""
    arrays = network.arrays()
    names = [f"{head}.{part}" for head in _heads(arrays) for part in ("weight", "bias")]
    kept = {name: arrays[name].copy() for name in names}
    found = []
    for head in _heads(arrays):
        for name, values in kept.items():
            network.load(name, values if name.startswith(f"{head}.") else np.zeros_like(values))
        found.append(network.logits(features).astype(np.float64))
    for name, values in kept.items():
        network.load(name, values)
    return np.stack(found)


def _heads(arrays: dict[str, NDArray[np.float32]]) -> list[str]:
    """Those that a network has."""
    return [head for head in HEADS if f"{head}.weight" in arrays]


def _truth(network: Scalable, examples: Examples) -> NDArray[Any]:
    """Labels ``(N,)``, or targets ``(N, C)`` where a text may have several classes."""
    if not network.config.multi_label:
        return examples.labels
    assert examples.targets is not None
    return examples.targets


def fit_weights(
    levels: Numbers, truth: NDArray[Any], text_weights: NDArray[np.floating] | None = None
) -> tuple[float, ...]:
    """Weights ``w`` of the least cross-entropy of ``sum_l w[l] levels[l]``: none below zero, not all zero.

    The cross-entropy is convex in the weights, so Newton's method with shortened steps finds its minimum for
    each choice of levels that are not zero; of these the best is taken. Towards weights of one there is a
    pull as weak as a single text's, which decides where the texts do not: a few texts that are all right
    would ask for infinite weights.

    Args:
        levels: ``(L, N, C)``, finite.
        truth: ``(N,)`` integers below ``C``; or ``(N, C)`` from 0 to 1 where a text may have several classes,
            each with a binary cross-entropy of its own.
        text_weights: ``(N,)``, how much each text counts; all the same, if None.
    """
    n_levels, counts = len(levels), np.ones(len(truth))
    if text_weights is not None:
        counts = text_weights.astype(np.float64) * (len(truth) / text_weights.sum(dtype=np.float64))
    best: tuple[float, tuple[float, ...]] = math.inf, (DOUBT,) * n_levels
    for size in range(1, n_levels + 1):
        for free in map(list, itertools.combinations(range(n_levels), size)):
            found, loss = _newton(levels[free], truth, counts)
            loss += PRIOR * (n_levels - size)  # of the weights that are zero
            if (found > 0).all() and loss < best[0]:
                weights = np.zeros(n_levels)
                weights[free] = found
                best = loss, tuple(weights.tolist())
    return best[1]


def _losses(logits: Numbers, truth: NDArray[Any]) -> tuple[Numbers, Numbers]:
    """Cross-entropy of each text, ``(N,)``, and the probabilities, ``(N, C)``; see :func:`fit_weights`."""
    if truth.ndim == 2:
        return binary_cross_entropies(logits, truth), probabilities(logits, multi_label=True)
    shifted = logits - logits.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    sums = powers.sum(axis=1, keepdims=True)
    return np.log(sums[:, 0]) - shifted[np.arange(len(truth)), truth], powers / sums


def _newton(levels: Numbers, truth: NDArray[Any], counts: Numbers) -> tuple[Numbers, float]:
    """Weights of least loss, of any sign, and that loss."""
    multi_label = truth.ndim == 2
    texts = np.arange(len(truth))
    said = np.einsum("lnc,nc->ln", levels, truth) if multi_label else levels[:, texts, truth]  # of the truth

    def loss_at(weights: Numbers) -> tuple[float, Numbers]:
        losses, shares = _losses(np.tensordot(weights, levels, axes=1), truth)
        return float(counts @ losses + PRIOR * ((weights - 1) ** 2).sum()), shares

    weights = np.ones(len(levels))
    loss, shares = loss_at(weights)
    for _ in range(ITERATIONS):
        expected = (levels * shares).sum(axis=2)  # (L, N)
        gradient = (expected - said) @ counts + 2 * PRIOR * (weights - 1)
        centred = levels if multi_label else levels - expected[:, :, None]
        variances = shares * (1 - shares) if multi_label else shares
        curvature = np.einsum("lnc,mnc,nc->lm", centred, centred, variances * counts[:, None])
        curvature += 2 * PRIOR * np.eye(len(weights))
        step = np.linalg.solve(curvature, gradient)
        if float(step @ gradient) < TOLERANCE * (1 + abs(loss)):
            break
        length = 1.0
        while True:
            candidate = weights - length * step
            found, found_shares = loss_at(candidate)
            if found <= loss - 1e-4 * length * float(step @ gradient) or length < 1e-6:
                break
            length /= 2
        weights, loss, shares = candidate, found, found_shares
    return weights, loss
