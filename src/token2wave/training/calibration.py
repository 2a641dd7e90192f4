"""Calibration: scales the branches of a network so that its probabilities are right on unseen texts."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.features import Ragged
from token2wave.inference.compiled import compile_network, reason_not_to_compile
from token2wave.inference.reference import EMBEDDING, probabilities, product
from token2wave.training.auto_settings import LITTLE_TO_CROSS_VALIDATE
from token2wave.training.cross_validation import FOLDS, CrossValidation, Fold, assign_folds
from token2wave.training.examples import Examples
from token2wave.training.linear_svm import (
    CHAR_NGRAM_WEIGHTS,
    COST,
    COSTS,
    FEATURE_SCALES,
    PRIOR_WEIGHTS,
    CompiledLinearSVM,
    LinearSVM,
    LinearSVMSettings,
    solve_settings,
)
from token2wave.training.loss import binary_cross_entropies
from token2wave.training.noisy_labels import minimise
from token2wave.training.prior_rows import RowVectors
from token2wave.training.trainer import Trainable, TrainableNetwork

CONTEXT_HEAD = "context.head"
HEADS = ("head", CONTEXT_HEAD, "linear_svm")
"""Parameters of the branches: the waves of the text, of each word's context, and the linear SVM."""
ITERATIONS = 100
PRIOR = 1.0  # pseudo-texts that pull each weight to one
SHIFT_PENALTY, FACTOR_PENALTY = 3.0, 15.0  # of the squares of what differs between classes
MIN_FACTOR = 1e-3
MIN_GRADES = 3
GRADES_GAIN = 4.0  # nats of all validation texts; classes in a random order gained 0 to 2.4
TOLERANCE = 1e-10
STANDARD_ERRORS = 0.5  # by which settings of the linear SVM must be better than the default ones
MAX_LOGITS = 1 << 23  # of a branch, texts times classes, that weigh it; a sample of more texts does
DOUBT = 0.01  # weight of every branch if each is worse than chance: decisions stay, without confidence
CHAR_NGRAM_WEIGHTS_FEW_ROWS = (1.0, 2.0, 4.0)
"""Weights of the words' character n-grams: if few words are known, their spelling says most."""
FEW_ROWS_STRENGTH = 4.0  # in texts, of the pull towards the linear SVM alone
PRIOR_WEIGHTS_FEW_ROWS = (0.5, 1.0, 2.0)  # to choose from

Numbers = NDArray[np.float64]
Floats = NDArray[np.float32]


def calibrate(network: TrainableNetwork, validation: Examples) -> tuple[float, ...]:
    """Find the weight of each branch of a trained network, and multiply its head by it, in place.

    With one branch the weight is one over the temperature of arXiv 1706.04599 and changes no decision.
    Several branches are also weighed against each other. The weights minimise the cross-entropy of texts that
    the network has not learnt from; for multi-label texts the binary cross-entropy.

    Returns:
        The weight of each branch.
    """
    n_texts = max(MAX_LOGITS // network.config.n_classes, 1)
    if len(validation) > n_texts:
        rows = np.random.default_rng(len(validation)).choice(len(validation), n_texts, replace=False)
        validation = validation.take(np.sort(rows))
    logits = branch_logits(network, validation.features)
    weights = fit_weights(logits, _truth(validation, network.config.multi_label), validation.weights)
    scale_branches(network, weights)
    return weights


class LinearSVMChoice(NamedTuple):
    """What validation texts choose for the linear SVM.

    Attributes:
        settings: of the problem.
        scale: ``(C,)`` float32, a factor of each class's logit; empty for ones.
        shift: ``(C,)`` float32, what is added to it; empty for zeros.
    """

    settings: LinearSVMSettings
    scale: Floats = np.zeros(0, np.float32)
    shift: Floats = np.zeros(0, np.float32)

    def calibrated(self, logits: Numbers) -> Numbers:
        """Scale and shift the logits ``(N, C)`` of the linear SVM."""
        return logits * self.scale + self.shift if len(self.scale) else logits


def recorded_choice(record: Mapping[str, Any]) -> LinearSVMChoice:
    """The settings of the linear SVM that the record of a training run names; the defaults without them."""
    settings = record.get("linear_svm")
    return LinearSVMChoice(
        LinearSVMSettings(**settings) if isinstance(settings, dict) else LinearSVMSettings()
    )


def choose_linear_svm(
    problem: LinearSVM,
    prior: RowVectors | None,
    wave_logits: Numbers,
    validation: Examples,
    settings: LinearSVMSettings | None = None,
) -> tuple[LinearSVMChoice, CompiledLinearSVM]:
    """Choose the settings of the linear SVM that will join the waves, and calibrate its logits.

    First the cost of an error, then the weights of the words' character n-grams and of the prior. Each
    problem starts from the dual variables of the one before.

    Args:
        problem: of the linear SVM.
        prior: vectors of the rows; None without a prior.
        wave_logits: ``(L, N, C)``, of each branch of the network without a linear SVM.
        validation: ``N`` texts that neither has learnt from, with the features of the problem's OOV table.
        settings: to use; None tries the default ones and others.

    Returns:
        The choice, and the solution for it. It differs from the defaults only as far as the cross-entropy of
        the calibrated mixture is clearly less.
    """
    truth = _truth(validation, problem.targets is not None)
    text_weights = np.ones(len(validation)) if validation.weights is None else validation.weights
    best_losses: Numbers | None = None
    best = None
    alphas = problem.initial_alphas()

    def improve(settings: LinearSVMSettings, costs: Sequence[float]) -> bool:
        """Solve for each cost; whether one is clearly better than all before."""
        nonlocal best_losses, best
        improved = False
        solutions = dict(zip(costs, solve_settings(problem, settings, costs, alphas), strict=True))
        for cost in sorted(costs, key=lambda cost: abs(math.log(cost / COST))):
            compiled = problem.compiled(solutions[cost], prior)
            svm_logits = compiled.logits(validation.features)
            scale, shift = fit_classes(svm_logits, truth, validation.weights)
            choice = LinearSVMChoice(settings._replace(cost=cost), scale, shift)
            logits = np.concatenate([wave_logits, choice.calibrated(svm_logits)[None]])
            losses = mixture_losses(logits, truth, validation.weights)
            if best_losses is None or is_clear_gain(best_losses - losses, text_weights):
                best_losses, best, improved = losses, (choice, compiled), True
        return improved

    is_tuned, settings = settings is None, settings or LinearSVMSettings()
    if not problem.char_ngrams.n_grams:
        settings = settings._replace(char_ngram_weight=0.0)
    if prior is None:
        settings = settings._replace(prior_weight=0.0)
    improve(settings, COSTS[1:3] if is_tuned else (settings.cost,))
    assert best is not None
    if not is_tuned:
        return best
    improve(settings, COSTS[3:] if best[0].settings.cost == COSTS[2] else COSTS[:1])
    all_paths: tuple[tuple[str, Sequence[Sequence[Any]]], ...] = (
        ("char_ngram_weight", CHAR_NGRAM_WEIGHTS if problem.char_ngrams.n_grams else ()),
        ("prior_weight", PRIOR_WEIGHTS if prior is not None else ()),
        ("feature_scale", FEATURE_SCALES),
    )
    for name, paths in all_paths:
        for path in paths:
            before = best[0].settings
            for value in path:
                settings = best[0].settings
                if not improve(LinearSVMSettings(**{**settings._asdict(), name: value}), (settings.cost,)):
                    break
            if best[0].settings != before:
                break  # the other paths lead away
    return best


def is_clear_gain(
    gains: Numbers, text_weights: NDArray[np.floating], standard_errors: float = STANDARD_ERRORS
) -> bool:
    """Whether the mean of each text's gain ``(N,)`` is more than so many standard errors.

    Without this rule the least of several losses is often that of chance, with a few hundred texts.
    """
    mean = float(np.average(gains, weights=text_weights))
    square = float(np.average((gains - mean) ** 2, weights=text_weights))
    effective = float(
        text_weights.sum(dtype=np.float64) ** 2 / np.square(text_weights, dtype=np.float64).sum()
    )
    return mean > standard_errors * math.sqrt(square / effective)


def mixture_losses(
    logits: Numbers, truth: NDArray[Any], text_weights: NDArray[np.floating] | None = None
) -> Numbers:
    """Cross-entropy of each text ``(N,)`` for the best weighted sum of branches; see :func:`fit_weights`."""
    weights = fit_weights(logits, truth, text_weights)
    losses, _ = _losses(np.tensordot(weights, logits, axes=1), truth)
    return losses


def mixture_loss(
    logits: Numbers, truth: NDArray[Any], text_weights: NDArray[np.floating] | None = None
) -> float:
    """Mean of :func:`mixture_losses`."""
    return float(np.average(mixture_losses(logits, truth, text_weights), weights=text_weights))


def fit_classes(
    logits: Numbers, truth: NDArray[Any], text_weights: NDArray[np.floating] | None = None
) -> tuple[Floats, Floats]:
    """Find a factor and a shift of each class's logits that minimise the cross-entropy.

    This is vector scaling (Guo et al. 2017, arXiv 1706.04599). A penalty pulls the shifts to zero and the
    factors to their mean, so that few texts of a class change little.

    Args:
        logits: ``(N, C)``.
        truth: as for :func:`fit_weights`.
        text_weights: likewise.

    Returns:
        Factors ``(C,)`` and shifts ``(C,)``, float32.
    """
    n_texts, n_classes = logits.shape
    counts = np.ones(n_texts)
    if text_weights is not None:
        counts = text_weights.astype(np.float64) * (n_texts / text_weights.sum(dtype=np.float64))
    targets = truth if truth.ndim == 2 else np.eye(n_classes)[truth]

    def loss(point: Numbers) -> tuple[float, Numbers]:
        common, change, shift = point[0], point[1 : 1 + n_classes], point[1 + n_classes :]
        losses, predicted = _losses(logits * (common + change) + shift, truth)
        slopes = (predicted - targets) * counts[:, None]
        by_factor = np.einsum("nc,nc->c", slopes, logits)
        penalty = (
            PRIOR * (common - 1) ** 2 + SHIFT_PENALTY * (shift @ shift) + FACTOR_PENALTY * (change @ change)
        )
        gradient = (
            [by_factor.sum() + 2 * PRIOR * (common - 1)],
            by_factor + 2 * FACTOR_PENALTY * change,
            slopes.sum(axis=0) + 2 * SHIFT_PENALTY * shift,
        )
        return float(counts @ losses + penalty), np.concatenate(gradient)

    start = np.zeros(1 + 2 * n_classes)
    start[0] = 1.0
    point = minimise(loss, start)
    factors = np.maximum(point[0] + point[1 : 1 + n_classes], MIN_FACTOR)
    return factors.astype(np.float32), point[1 + n_classes :].astype(np.float32)


def has_few_rows(examples: Examples, n_rows: int) -> bool:
    """Whether folds choose better than the few validation rows: fewer than ``n_rows``, of one label each.

    With more rows or longer texts the folds gain nothing, and take several times as long.
    """
    if examples.n_unlabelled or examples.multi_label or len(examples) >= n_rows:
        return False
    return sum(map(len, examples.texts)) < LITTLE_TO_CROSS_VALIDATE


def cross_validate_branches(
    fit: Callable[[Examples], Any], examples: Examples, seed: int, has_prior: bool = False
) -> tuple[tuple[float, ...], CrossValidation]:
    """Weigh the branches by cross-validation: a tenth of few rows is too few texts to weigh by.

    ``fit`` trains on the examples of some folds; its result has ``network``, ``features``, and ``windows``,
    the window level, which is a branch, too, or None. With very few rows the linear SVM, which has the prior,
    is right more often than a mixture, so ``has_prior`` pulls the weights to it.

    Returns:
        The weight of each branch, of the window level last, and predictions of each text by the network and
        the weights that the other folds give, so that the text has chosen nothing.
    """
    fold = assign_folds(examples.labels, examples.row_groups(), FOLDS, seed)
    numbers = np.unique(fold).tolist()  # fewer than there are folds if few texts are different
    logits: Numbers | None = None
    models, levels = [], []
    for number in numbers:
        fitted = fit(examples.take(np.flatnonzero(fold != number)))
        models.append((fitted.features, fitted.network))
        levels.append(fitted.windows)
        held_out = examples.take(np.flatnonzero(fold == number)).encode(fitted.features)
        of_fold = branch_logits(fitted.network, held_out.features)
        if fitted.windows is not None:
            of_fold = np.concatenate([of_fold, fitted.windows.logits(held_out.features)[None]])
        if logits is None:
            logits = np.zeros((len(of_fold), len(fold), of_fold.shape[2]))
        logits[:, fold == number] = of_fold
    assert logits is not None

    pulls = has_prior and models[0][1].config.linear_svm
    n_levels = int(levels[0] is not None)
    centre = [0.0] * (len(logits) - 1 - n_levels) + [1.0] + [0.0] * n_levels if pulls else None
    strength = FEW_ROWS_STRENGTH if pulls else PRIOR

    def fit_to(rows: NDArray[Any]) -> tuple[float, ...]:
        weights = None if examples.weights is None else examples.weights[rows]
        return fit_weights(logits[:, rows], examples.labels[rows], weights, centre, strength)

    folds, predicted = [], []
    for place, number in enumerate(numbers):
        (features, network), level, of_others = models[place], levels[place], fit_to(fold != number)
        scale_branches(network, of_others)
        if level is not None and of_others[-1]:
            models[place] = features, level.weighted(of_others[-1]).add_to(network)
        folds.append(Fold(np.flatnonzero(fold != number), np.flatnonzero(fold == number)))
        mixed = np.tensordot(fit_to(fold != number), logits[:, fold == number], axes=1)
        predicted.append(probabilities(mixed, multi_label=False).astype(np.float32))
    decisions = [rows.argmax(axis=1) for rows in predicted]
    return fit_to(np.argsort(fold, kind="stable")), CrossValidation(folds, predicted, decisions, models)


def fit_grades(network: TrainableNetwork, validation: Examples, label_names: Sequence[str]) -> Numbers | None:
    """Find how much a logit should take from those of the grades next to it, if the classes are grades.

    Classes are grades if their names are whole numbers, such as stars from 1 to 5. A text
    of four stars is more like one of five than like one of one, which classes that learn alone do not know.

    Returns:
        The matrix ``M``, ``(C, C)``, by which to multiply the logits: ``M = a I + b N``, where ``N`` adds up
        the neighbours of each grade. None if the classes are no grades, or if the validation texts gain less
        than `GRADES_GAIN` by it: numbers can also be names without an order.
    """
    if len(label_names) < MIN_GRADES or not all(re.fullmatch(r"[+-]?\d{1,9}", name) for name in label_names):
        return None
    grades = np.array([int(name) for name in label_names])
    if len(np.unique(grades)) < len(grades) or network.config.multi_label:
        return None
    logits = network.logits(validation.features).astype(np.float64)
    ranks = np.argsort(np.argsort(grades))
    neighbours = (np.abs(ranks[:, None] - ranks) == 1).astype(np.float64)
    branches = np.stack([logits, logits @ neighbours])
    counts = np.ones(len(validation)) if validation.weights is None else validation.weights.astype(np.float64)
    counts = counts * (len(counts) / counts.sum())
    (own, next_to), loss = _newton(branches, validation.labels, counts, np.array([1.0, 0.0]), PRIOR)
    before = float(counts @ _losses(logits, validation.labels)[0])
    if before - loss < GRADES_GAIN or next_to <= 0 or own <= 0:
        return None
    return np.asarray(own * np.eye(len(label_names)) + next_to * neighbours)


def mix_logits(network: TrainableNetwork, mixing: Numbers, heads: Sequence[str] = HEADS) -> None:
    """Multiply the logits of a network's heads by a matrix ``(C, C)``, in place."""
    arrays = network.arrays()
    for head in heads:
        if f"{head}.weight" not in arrays:
            continue
        network.load(f"{head}.bias", (mixing @ arrays[f"{head}.bias"]).astype(np.float32))
        weight = arrays[f"{head}.weight"]
        if head != "linear_svm":
            network.load(f"{head}.weight", (mixing @ weight).astype(np.float32))
            continue
        common = np.float32(weight.mean())
        inner = (mixing * (weight / common)).astype(np.float32)
        rows, start = arrays[EMBEDDING].copy(), network.config.wave_width
        rows[:, start:] = product(rows[:, start:], inner.T)
        network.load(EMBEDDING, rows)
        if "oov.weight" in arrays:
            network.load("oov.weight", product(arrays["oov.weight"], inner.T))
        network.load(f"{head}.weight", np.full_like(weight, common))


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
        alone = network if head == CONTEXT_HEAD else _without_context(network)
        logits.append(alone.logits(features).astype(np.float64))
    for name, values in originals.items():
        network.load(name, values)
    return np.stack(logits)


def _without_context(network: TrainableNetwork) -> Trainable:
    """The same network without its context, most of whose time that takes; its head must be zero."""
    if not network.config.context_width or reason_not_to_compile(network.config) is not None:
        return network
    config, arrays = network.config.replace(context_width=0), network.arrays()
    return compile_network(config, {name: arrays[name] for name in config.parameter_shapes()})


def _heads(arrays: dict[str, NDArray[np.float32]]) -> list[str]:
    """The heads that a network has."""
    return [head for head in HEADS if f"{head}.weight" in arrays]


def _truth(examples: Examples, multi_label: bool) -> NDArray[Any]:
    """Labels ``(N,)``, or targets ``(N, C)`` for multi-label texts."""
    if not multi_label:
        return examples.labels
    assert examples.targets is not None
    return examples.targets


def fit_weights(
    logits: Numbers,
    truth: NDArray[Any],
    text_weights: NDArray[np.floating] | None = None,
    centre: Sequence[float] | None = None,
    strength: float = PRIOR,
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
        centre: the weights that the penalty pulls to; None pulls to ones.
        strength: of the penalty, in texts.
    """
    n_branches, counts = len(logits), np.ones(len(truth))
    if text_weights is not None:
        counts = text_weights.astype(np.float64) * (len(truth) / text_weights.sum(dtype=np.float64))
    pull = np.ones(n_branches) if centre is None else np.array(centre)
    best: tuple[float, tuple[float, ...]] = math.inf, (DOUBT,) * n_branches
    for size in range(1, n_branches + 1):
        for free in map(list, itertools.combinations(range(n_branches), size)):
            zero = [branch for branch in range(n_branches) if branch not in free]
            solution, loss = _newton(logits[free], truth, counts, pull[free], strength)
            loss += strength * float((pull[zero] ** 2).sum())
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


def _newton(
    branches: Numbers, truth: NDArray[Any], counts: Numbers, pull: Numbers, strength: float
) -> tuple[Numbers, float]:
    """Find the weights of least loss, of any sign, and that loss."""
    multi_label = truth.ndim == 2
    texts, flat = np.arange(len(truth)), branches.reshape(len(branches), -1)
    true_logits = np.einsum("lnc,nc->ln", branches, truth) if multi_label else branches[:, texts, truth]

    def loss_at(weights: Numbers) -> tuple[float, Numbers]:
        losses, predicted = _losses((weights[None] @ flat).reshape(branches.shape[1:]), truth)
        return float(counts @ losses + strength * ((weights - pull) ** 2).sum()), predicted

    weights = np.ones(len(branches))
    loss, predicted = loss_at(weights)
    for _ in range(ITERATIONS):
        expected = (branches * predicted).sum(axis=2)  # (L, N)
        gradient = (expected - true_logits) @ counts + 2 * strength * (weights - pull)
        centred = branches if multi_label else branches - expected[:, :, None]
        variances = predicted * (1 - predicted) if multi_label else predicted
        curvature = np.einsum("lnc,mnc,nc->lm", centred, centred, variances * counts[:, None])
        curvature += 2 * strength * np.eye(len(weights))
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
