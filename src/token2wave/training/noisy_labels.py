"""Calibrates predictions by labels of which some are wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

PRECISION = 10.0  # pseudo-rows that pull each weight to what the predictions say; and one more a class
FIRST_NOISE = 0.05
MIN_NOISE = 0.02  # nearly all sets have wrong labels; ten well-known ones 3.3 % on average (arXiv 2103.14749)
TRANSITION_PRIOR = 50.0  # pseudo-rows of each class, whose wrong labels are all alike
PATTERN_NATS = 2.0  # a class, by which labels must be likelier if wrong ones are not alike
PATTERN_FACTOR = 2.0  # by which there must be more wrong labels then
ROUNDS = 4  # of fitting the probabilities, then the transition matrix
TRANSITION_STEPS = 20
SCALES = (0.7, 1.0, 1.5, 2.0, 3.0, 4.5)  # of logits, ascending
SCALE_MARGIN = 2.0  # nats by which a larger scale may be less likely
MAX_ROWS = 20_000  # to fit to; more change nothing
MAX_CLASSES = 200  # with more, the classes are not mixed
ITERATIONS = 60
MEMORY = 8  # steps that L-BFGS remembers

Numbers = NDArray[np.float64]


class NoisyCalibration(NamedTuple):
    """Probabilities of the right label, and how often the labels are wrong.

    Attributes:
        probabilities: ``(N, C)``, of each label, given the text alone.
        posteriors: ``(N, C)``, of each label to be the right one, given the text and the label it has.
    """

    probabilities: Numbers
    posteriors: Numbers


def calibrate_with_noise(
    logits: Numbers, labels: NDArray[np.int64], seed: int = 0, mask: NDArray[np.bool_] | None = None
) -> NoisyCalibration:
    """Fit probabilities of right labels to labels of which some are wrong.

    The model is ``p = softmax(sum_l logits_l W_l + b)``, and a text whose right label is ``y`` has label
    ``z`` with probability ``T[y, z]``. The matrices ``W``, near the identity, mix the classes, so that
    predictions of classes that are often confused become less sure, and others surer. The transition matrix
    ``T`` (arXiv 1609.03683) is fitted, too, in turns: without it a single wrong label would pull all
    predictions of its class towards less certainty. All wrong labels are alike in it, unless the labels are
    likelier if they are not, and either this is certain or many more are wrong then: wrong labels of confused
    classes are invisible to a model that takes them for random ones.

    Args:
        logits: ``(L, N, C)``, of branches or models that have not seen the row.
        labels: ``(N,)``, the labels given.
        seed: of the rows to fit to, if there are many.
        mask: ``(N,)``, the rows to fit to; None: all.
    """
    n_branches, n, n_classes = logits.shape
    centred = logits - logits.mean(axis=2, keepdims=True)
    inputs = np.concatenate([np.moveaxis(centred, 0, 1).reshape(n, -1), np.ones((n, 1))], axis=1)
    inputs = inputs.astype(np.float32)
    identity = np.concatenate([np.eye(n_classes)] * n_branches + [np.zeros((1, n_classes))])
    rows = np.arange(n) if mask is None else np.flatnonzero(mask)
    if len(rows) > MAX_ROWS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MAX_ROWS, replace=False))
    fitted_inputs, fitted_labels = inputs[rows], labels[rows]
    is_free = np.ones(identity.shape) if n_classes <= MAX_CLASSES else (identity > 0).astype(np.float64)
    precision = PRECISION + n_classes

    def fit(prior: float) -> tuple[float, Numbers, Numbers]:
        """Likelihood, weights and transition matrix, with pseudo-rows whose wrong labels are all alike."""
        scale, transition = _choose_scale(centred[:, rows].sum(axis=0), fitted_labels, prior)
        scaled, change = scale * identity, np.zeros(identity.size)

        def loss(change: Numbers) -> tuple[float, Numbers]:
            """Penalised negative log-likelihood and its gradient."""
            weights = scaled + change.reshape(identity.shape) * is_free
            probabilities = _softmax(fitted_inputs @ weights.astype(np.float32))
            joint = probabilities * transition[:, fitted_labels].T
            likelihood = joint.sum(axis=1, keepdims=True)
            slopes = (probabilities - joint / likelihood).astype(np.float32)
            gradient = (fitted_inputs.T @ slopes).astype(np.float64) * is_free
            value = -float(np.log(likelihood).sum()) + precision / 2 * float((change**2).sum())
            return value, gradient.ravel() + precision * change

        for _ in range(ROUNDS):
            change = minimise(loss, change)
            weights = scaled + change.reshape(identity.shape) * is_free
            probabilities = _softmax(fitted_inputs @ weights.astype(np.float32))
            transition = _fit_transition(probabilities, fitted_labels, transition, prior)
        return -loss(change)[0], weights, transition

    alike, differing = fit(np.inf), fit(TRANSITION_PRIOR)
    gain = differing[0] - alike[0]
    results = []
    for _, weights, transition in (alike, differing):
        probabilities = _softmax(inputs @ weights.astype(np.float32))
        posteriors = probabilities * transition[:, labels].T
        posteriors /= posteriors.sum(axis=1, keepdims=True)
        results.append(NoisyCalibration(probabilities, posteriors))
    noise = [1 - float(result.posteriors[rows, labels[rows]].mean()) for result in results]
    is_certain = gain > n_classes * (n_classes - 1)  # a nat for each free number, as Akaike's criterion asks
    has_pattern = is_certain or noise[1] > PATTERN_FACTOR * noise[0]
    return results[gain > PATTERN_NATS * n_classes and has_pattern]


def _choose_scale(logits: Numbers, labels: NDArray[np.int64], prior: float) -> tuple[float, Numbers]:
    """Choose how sure predictions ``(N, C)`` are, and the transition matrix for it.

    Models of noisy labels are as unsure as these. Where the likelihood cannot tell unsure predictions from
    noise, e.g. because the classes are quite different, it is taken for noise.
    """
    best: tuple[float, float, Numbers] | None = None
    for scale in SCALES:
        probabilities = _softmax(scale * logits)
        first = _uniform_noise(FIRST_NOISE, logits.shape[1])
        transition = _fit_transition(probabilities, labels, first, prior)
        likelihood = (probabilities * transition[:, labels].T).sum(axis=1)
        value = float(np.log(likelihood).sum())
        if best is None or value > best[0] - SCALE_MARGIN:
            best = max(value, best[0] if best else value), scale, transition
    assert best is not None
    return best[1:]


def _fit_transition(
    probabilities: Numbers, labels: NDArray[np.int64], transition: Numbers, prior: float
) -> Numbers:
    """Fit the transition matrix ``(C, C)`` to probabilities by expectation maximisation."""
    n, n_classes = probabilities.shape
    one_hot = np.eye(n_classes)[labels]
    for _ in range(TRANSITION_STEPS):
        posteriors = probabilities * transition[:, labels].T
        posteriors /= posteriors.sum(axis=1, keepdims=True)
        joint = posteriors.T @ one_hot  # of right labels and given ones
        n_wrong = n - float(np.trace(joint)) + FIRST_NOISE
        noise = n_wrong / (n + 1) * n_classes / max(n_classes - 1, 1)
        noise = min(max(noise, MIN_NOISE), 1.0)
        transition = _uniform_noise(noise, n_classes)
        if np.isfinite(prior):
            transition = joint + prior * transition
            transition /= transition.sum(axis=1, keepdims=True)
    return transition


def _uniform_noise(noise: float, n_classes: int) -> Numbers:
    """The transition matrix that replaces a fraction of the labels by random ones."""
    return (1 - noise) * np.eye(n_classes) + noise / n_classes


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


def _softmax(logits: NDArray[np.floating]) -> Numbers:
    exponentials = np.exp((logits - logits.max(axis=1, keepdims=True)).astype(np.float64))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))
