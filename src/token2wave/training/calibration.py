"""Calibration: scales the branches of a network so that its probabilities are right on unseen texts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.features import Ragged
from token2wave.inference.reference import probabilities
from token2wave.training.auto_settings import FEW_TO_BATCH
from token2wave.training.cross_validation import FOLDS, CrossValidation, Fold, assign_folds
from token2wave.training.examples import Examples
from token2wave.training.linear_svm import CHAR_NGRAM_WEIGHTS, LinearSVM, LinearSVMWeights
from token2wave.training.loss import binary_cross_entropies
from token2wave.training.trainer import TrainableNetwork

HEADS = ("head", "context.head", "linear_svm")
"""Parameters of the branches: the waves of the text, of each word's context, and the linear SVM."""
ITERATIONS = 100
PRIOR = 1.0  # pseudo-texts that pull each weight to one
TOLERANCE = 1e-10
DOUBT = 0.01  # weight of every branch if each is worse than chance: decisions stay, without confidence
CHAR_NGRAM_WEIGHT_FEW_ROWS = 1.0
"""Weight of the words' character n-grams: if few words are known, their spelling says most."""

Numbers = NDArray[np.float64]


def calibrate(network: TrainableNetwork, validation: Examples) -> tuple[float, ...]:
    """Find the weight of each branch of a trained network, and multiply its head by it, in place.

    With one branch the weight is one over the temperature of arXiv 1706.04599 and changes no decision.
    Several branches are also weighed against each other. The weights minimise the cross-entropy of texts that
    the network has not learnt from; for multi-label texts the binary cross-entropy.

    Returns:
        The weight of each branch.
    """
    logits = branch_logits(network, validation.features)
    weights = fit_weights(logits, _truth(network, validation), validation.weights)
    scale_branches(network, weights)
    return weights


def choose_linear_svm(
    problem: LinearSVM, waves: TrainableNetwork, validation: Examples
) -> tuple[float, LinearSVMWeights]:
    """Choose the weight of the words' character n-grams in the linear SVM that will join the waves.

    Returns:
        The weight for which the calibrated mixture has the least cross-entropy on validation texts that
        neither has learnt from, and the solution for it.
    """
    wave_logits, truth = branch_logits(waves, validation.features), _truth(waves, validation)
    best: tuple[float, float, LinearSVMWeights] | None = None
    for char_ngram_weight in CHAR_NGRAM_WEIGHTS if problem.char_ngrams.n_grams else (0.0,):
        linear_svm = problem.solve(char_ngram_weight)
        logits = np.concatenate([wave_logits, linear_svm.logits(validation.features)[None]])
        weights = fit_weights(logits, truth, validation.weights)
        losses, _ = _losses(np.tensordot(weights, logits, axes=1), truth)
        loss = float(np.average(losses, weights=validation.weights))
        if best is not None and loss >= best[0]:
            break  # larger weights are no better either
        best = loss, char_ngram_weight, linear_svm
    assert best is not None
    return best[1:]


def has_few_rows(examples: Examples) -> bool:
    """Whether there are too few rows for a validation set that weighs branches, and each has one label."""
    return len(examples) < FEW_TO_BATCH and not examples.n_unlabelled and not examples.multi_label


def cross_validate_branches(
    fit: Callable[[Examples], Any], examples: Examples, seed: int
) -> tuple[tuple[float, ...], CrossValidation]:
    """Weigh the branches by cross-validation: a tenth of few rows is too few texts to weigh by.

    ``fit`` trains on the examples of some folds; its result has ``network`` and ``features``.

    Returns:
        The weight of each branch, and predictions of each text by the network and the weights that the other
        folds give, so that the text has chosen nothing.
    """
    fold = assign_folds(examples.labels, examples.row_groups(), FOLDS, seed)
    numbers = np.unique(fold).tolist()  # fewer than there are folds if few texts are different
    logits: Numbers | None = None
    models = []
    for number in numbers:
        fitted = fit(examples.take(np.flatnonzero(fold != number)))
        models.append((fitted.features, fitted.network))
        held_out = examples.take(np.flatnonzero(fold == number)).encode(fitted.features)
        of_fold = branch_logits(fitted.network, held_out.features)
        if logits is None:
            logits = np.zeros((len(of_fold), len(fold), of_fold.shape[2]))
        logits[:, fold == number] = of_fold
    assert logits is not None

    def fit_to(rows: NDArray[Any]) -> tuple[float, ...]:
        weights = None if examples.weights is None else examples.weights[rows]
        return fit_weights(logits[:, rows], examples.labels[rows], weights)

    folds, predicted = [], []
    for number, (_, network) in zip(numbers, models, strict=True):
        scale_branches(network, fit_to(fold != number))
        folds.append(Fold(np.flatnonzero(fold != number), np.flatnonzero(fold == number)))
        mixed = np.tensordot(fit_to(fold != number), logits[:, fold == number], axes=1)
        predicted.append(probabilities(mixed, multi_label=False).astype(np.float32))
    decisions = [rows.argmax(axis=1) for rows in predicted]
    return fit_to(np.argsort(fold, kind="stable")), CrossValidation(folds, predicted, decisions, models)


def scale_branches(network: TrainableNetwork, weights: Sequence[float]) -> None:
    """Multiply the logits of each branch by its weight."""
    arrays = network.arrays()
    for head, weight in zip(_heads(arrays), weights, strict=False):
        for name in (f"{head}.weight", f"{head}.bias"):
            network.load(name, (arrays[name] * np.float32(weight)).astype(np.float32))


def branch_logits(network: TrainableNetwork, features: Ragged) -> Numbers:
    """The logits of each branch alone for ``N`` texts, ``(L, N, C)``."""
    arrays = network.arrays()
    originals = {
        f"{head}.{name}": arrays[f"{head}.{name}"].copy()
        for head in _heads(arrays)
        for name in ("weight", "bias")
    }
    logits = []
    for head in _heads(arrays):
        for name, values in originals.items():
            network.load(name, values if name.startswith(f"{head}.") else np.zeros_like(values))
        logits.append(network.logits(features).astype(np.float64))
    for name, values in originals.items():
        network.load(name, values)
    return np.stack(logits)


def _heads(arrays: dict[str, NDArray[np.float32]]) -> list[str]:
    """The heads that a network has."""
    return [head for head in HEADS if f"{head}.weight" in arrays]


def _truth(network: TrainableNetwork, examples: Examples) -> NDArray[Any]:
    """Labels ``(N,)``, or targets ``(N, C)`` for multi-label texts."""
    if not network.config.multi_label:
        return examples.labels
    assert examples.targets is not None
    return examples.targets


def fit_weights(
    logits: Numbers, truth: NDArray[Any], text_weights: NDArray[np.floating] | None = None
) -> tuple[float, ...]:
    """Find weights ``w >= 0``, not all zero, that minimise the cross-entropy of ``sum_l w[l] logits[l]``.

    The cross-entropy is convex in the weights, so a damped Newton's method finds its minimum for each choice
    of non-zero branches; the best choice wins. A penalty as weak as a single text pulls the weights to one.
    Without it, a few texts that are all right would ask for infinite weights.

    Args:
        logits: ``(L, N, C)``, finite, of each branch.
        truth: ``(N,)`` integers below ``C``; or ``(N, C)`` from 0 to 1 for multi-label texts, whose classes
            each have a binary cross-entropy.
        text_weights: ``(N,)``, how much each text counts; None counts all the same.
    """
    n_branches, counts = len(logits), np.ones(len(truth))
    if text_weights is not None:
        counts = text_weights.astype(np.float64) * (len(truth) / text_weights.sum(dtype=np.float64))
    best: tuple[float, tuple[float, ...]] = math.inf, (DOUBT,) * n_branches
    for size in range(1, n_branches + 1):
        for free in map(list, itertools.combinations(range(n_branches), size)):
            solution, loss = _newton(logits[free], truth, counts)
            loss += PRIOR * (n_branches - size)  # of the weights that are zero
            if (solution > 0).all() and loss < best[0]:
                weights = np.zeros(n_branches)
                weights[free] = solution
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


def _newton(branches: Numbers, truth: NDArray[Any], counts: Numbers) -> tuple[Numbers, float]:
    """Find the weights of least loss, of any sign, and that loss."""
    multi_label = truth.ndim == 2
    texts = np.arange(len(truth))
    true_logits = np.einsum("lnc,nc->ln", branches, truth) if multi_label else branches[:, texts, truth]

    def loss_at(weights: Numbers) -> tuple[float, Numbers]:
        losses, predicted = _losses(np.tensordot(weights, branches, axes=1), truth)
        return float(counts @ losses + PRIOR * ((weights - 1) ** 2).sum()), predicted

    weights = np.ones(len(branches))
    loss, predicted = loss_at(weights)
    for _ in range(ITERATIONS):
        expected = (branches * predicted).sum(axis=2)  # (L, N)
        gradient = (expected - true_logits) @ counts + 2 * PRIOR * (weights - 1)
        centred = branches if multi_label else branches - expected[:, :, None]
        variances = predicted * (1 - predicted) if multi_label else predicted
        curvature = np.einsum("lnc,mnc,nc->lm", centred, centred, variances * counts[:, None])
        curvature += 2 * PRIOR * np.eye(len(weights))
        step = np.linalg.solve(curvature, gradient)
        if float(step @ gradient) < TOLERANCE * (1 + abs(loss)):
            break
        length = 1.0
        while True:
            candidate = weights - length * step
            new_loss, new_predicted = loss_at(candidate)
            if new_loss <= loss - 1e-4 * length * float(step @ gradient) or length < 1e-6:
                break
            length /= 2
        weights, loss, predicted = candidate, new_loss, new_predicted
    return weights, loss
