"""Calibrates predictions by labels of which some are wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

PRECISION = 10.0  # pseudo-rows that pull each weight to what the predictions say; and one more a class
NOISE_PRIOR = (1.0, 20.0)  # pseudo-rows with wrong and with right labels
MAX_ROWS = 20_000  # to fit to; more change nothing
MAX_CLASSES = 200  # with more, the classes are not mixed
ITERATIONS = 60
MEMORY = 8  # steps that L-BFGS remembers

Numbers = NDArray[np.float64]


class NoisyCalibration(NamedTuple):
    """Probabilities of the right label, and how often the labels are wrong.

    Attributes:
        probabilities: ``(N, C)``, of each label, given the text alone.
        suspicion: ``(N,)``, probability that the label given is wrong, given the text and the label.
        noise: fraction of labels that are wrong.
    """

    probabilities: Numbers
    suspicion: Numbers
    noise: float


def calibrate_with_noise(
    logits: Numbers, labels: NDArray[np.int64], seed: int = 0, mask: NDArray[np.bool_] | None = None
) -> NoisyCalibration:
    """Fit probabilities to labels, a part of which is replaced by a random one.

    The model is ``p = softmax(sum_l logits_l W_l + b)``, and the label given has probability
    ``(1 - e) p + e / C``. The matrices ``W``, near the identity, mix the classes, so that predictions of
    classes that are often confused become less sure, and others surer. The noise rate ``e`` is fitted, too:
    without it a single wrong label would pull all predictions of its class towards less certainty.

    Args:
        logits: ``(L, N, C)``, of branches or models that have not seen the row.
        labels: ``(N,)``, the labels given.
        seed: of the rows to fit to, if there are many.
        mask: ``(N,)``, the rows to fit to; None: all.
    """
    n_branches, n, n_classes = logits.shape
    precision = PRECISION + n_classes
    centred = logits - logits.mean(axis=2, keepdims=True)
    inputs = np.concatenate([np.moveaxis(centred, 0, 1).reshape(n, -1), np.ones((n, 1))], axis=1)
    inputs = inputs.astype(np.float32)
    identity = np.concatenate([np.eye(n_classes)] * n_branches + [np.zeros((1, n_classes))])
    rows = np.arange(n) if mask is None else np.flatnonzero(mask)
    if len(rows) > MAX_ROWS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MAX_ROWS, replace=False))
    fitted_inputs, fitted_labels = inputs[rows], labels[rows]
    is_free = np.ones(identity.shape) if n_classes <= MAX_CLASSES else (identity > 0).astype(np.float64)

    def loss(parameters: Numbers) -> tuple[float, Numbers]:
        """Penalised negative log-likelihood and its gradient."""
        change, noise = parameters[:-1].reshape(identity.shape) * is_free, _sigmoid(parameters[-1])
        probabilities = _softmax(fitted_inputs @ (identity + change).astype(np.float32))
        of_label = probabilities[np.arange(len(rows)), fitted_labels]
        likelihood = (1 - noise) * of_label + noise / n_classes
        right = (1 - noise) * of_label / likelihood  # probability that the label is not replaced
        slopes = probabilities * right[:, None]
        slopes[np.arange(len(rows)), fitted_labels] -= right
        gradient = (fitted_inputs.T @ slopes.astype(np.float32)).astype(np.float64) * is_free
        wrong, others = NOISE_PRIOR
        value = -float(np.log(likelihood).sum()) + precision / 2 * float((change**2).sum())
        value -= wrong * np.log(noise) + others * np.log(1 - noise)
        n_wrong = len(rows) - float(right.sum())
        noise_slope = (len(rows) + wrong + others) * noise - n_wrong - wrong
        return value, np.append((gradient + precision * change).ravel(), noise_slope)

    start = np.append(np.zeros(identity.size), np.log(0.05 / 0.95))
    solution = minimise(loss, start)
    weights = identity + solution[:-1].reshape(identity.shape) * is_free
    noise = _sigmoid(solution[-1])
    probabilities = _softmax(inputs @ weights.astype(np.float32)).astype(np.float64)
    of_label = probabilities[np.arange(n), labels]
    likelihood = (1 - noise) * of_label + noise / n_classes
    suspicion = noise / n_classes * (1 - of_label) / likelihood
    return NoisyCalibration(probabilities, suspicion, float(suspicion.mean()) if n else 0.0)


def minimise(function: Callable[[Numbers], tuple[float, Numbers]], start: Numbers) -> Numbers:
    """Minimise a smooth function by L-BFGS (Nocedal & Wright 2006, algorithm 7.5) with backtracking.

    Args:
        function: gives the value and the gradient at a point.
        start: where to begin.
    """
    point, (value, gradient) = start, function(start)
    steps: list[tuple[Numbers, Numbers]] = []
    for _ in range(ITERATIONS):
        direction, factors = gradient.copy(), []
        for step, change in reversed(steps):
            factor = float(step @ direction) / float(step @ change)
            factors.append(factor)
            direction -= factor * change
        if steps:
            step, change = steps[-1]
            direction *= float(step @ change) / float(change @ change)
        else:
            direction /= max(float(np.linalg.norm(direction)), 1e-12)
        for (step, change), factor in zip(steps, reversed(factors), strict=True):
            direction += (factor - float(change @ direction) / float(step @ change)) * step
        slope, length = float(direction @ gradient), 1.0
        if slope <= 1e-9 * (1 + abs(value)):
            break
        while True:
            candidate = point - length * direction
            new_value, new_gradient = function(candidate)
            if new_value <= value - 1e-4 * length * slope:
                break
            length /= 2
            if length < 1e-10:
                return point
        step, change = candidate - point, new_gradient - gradient
        if float(step @ change) > 1e-12:
            steps = [*steps[-MEMORY + 1 :], (step, change)]
        is_done = value - new_value < 1e-7 * (1 + abs(value))
        point, value, gradient = candidate, new_value, new_gradient
        if is_done:
            break
    return point


def _softmax(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def _sigmoid(value: float) -> float:
    return float(1 / (1 + np.exp(-np.clip(value, -30, 30))))
