"""Trains the window level: finds the passages that decide long texts, and a linear SVM of their words.

Labels name whole texts, so which windows decide is learnt, too. This is multiple-instance learning, as in
Andrews et al. 2002, "Support vector machines for multiple-instance learning": of each text the strongest
window for each of its classes is an example of them, and the strongest ones for other classes are examples of
none. Windows are chosen by a solution that has not seen the text (cross-fitting): its own solution would find
in a text whatever it has learnt there by heart. The first choice is made by how much more often a word stands
in windows of a class than chance has it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.features import Ragged, WordFeatures
from token2wave.features.hashed_texts import HashedTexts
from token2wave.features.ragged import concatenate
from token2wave.inference.compiled import CompiledNetwork, compile_network, reason_not_to_compile
from token2wave.inference.reference import WINDOWS, groups
from token2wave.inference.windows import WINDOW_WORDS, Windows
from token2wave.training.calibration import DOUBT, fit_weights, is_clear_gain, mixture_losses
from token2wave.training.examples import Examples
from token2wave.training.linear_svm import MARGIN_IN_LOGITS, LinearSVM, target_frequency
from token2wave.training.recipe import Recipe
from token2wave.training.trainer import TrainableNetwork
from token2wave.training.validation import validate

FOLDS, ROUNDS = 4, 4
MAX_RIVALS = 3  # other classes whose strongest window of a text is an example
PSEUDO_WINDOWS = 3.0  # added to the expected windows of a word, whose excess is in standard deviations
MIN_DEVIATIONS = 1.0  # taken off the excess: most words are of no class
STANDARD_ERRORS = 2.0  # by which validation must be better: the level costs time and bytes
MAX_WEIGHTS = 1 << 24  # the table has one of each row for each class
MIN_GAIN = 0.01  # in micro-F1: not every export knows the level
FEATURES_CHUNK = 1 << 20  # of texts whose windows are scored at once; bounds memory

Floats = NDArray[np.float32]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class WindowLevel:
    """The trained level, to be added to a network.

    Attributes:
        weights: ``(V, C)`` float32, of each row for each class.
        bias: ``(C,)`` float32.
        factor: weight of the level beside the network, which validation texts choose.
    """

    weights: Floats
    bias: Floats
    factor: float = 1.0

    def logits(self, features: Ragged) -> Numbers:
        """The level's logits of ``N`` texts, ``(N, C)``, without its factor."""
        windows = Windows.of(features, WINDOW_WORDS)
        return windows.extremes(windows.scores(self.weights)) + self.bias

    def weighted(self, factor: float) -> WindowLevel:
        """The same level with another factor."""
        return replace(self, factor=factor)

    def add_to(self, network: TrainableNetwork) -> CompiledNetwork:
        """Compile a network with this level; its other parameters are shared."""
        factor = np.float32(self.factor)
        level = {WINDOWS: self.weights * factor, "windows.bias": self.bias * factor}
        config = network.config.replace(window_words=WINDOW_WORDS)
        return compile_network(config, {**network.arrays(), **level})


def wants_window_level(recipe: Recipe, network: TrainableNetwork, features: Any, train: Examples) -> bool:
    """Whether the texts are long enough for a window level, and the network can have one."""
    if not isinstance(features, WordFeatures):
        return False
    if features.n_rows * network.config.n_classes > MAX_WEIGHTS:
        return False
    if reason_not_to_compile(network.config) is not None:
        return False
    return are_long(train.texts, recipe)


def are_long(texts: HashedTexts, recipe: Recipe) -> bool:
    """Whether the median text is so long that validation texts decide on a window level."""
    return bool(recipe.windows_from and len(texts) and np.median(texts.n_tokens) >= recipe.windows_from)


def no_level_note(reason: str) -> str:
    """The sentence that says that long texts get no window level."""
    return f"The texts are long, and training {reason} tries no window level."


def weigh_window_level(
    level: WindowLevel, network: TrainableNetwork, validation: Examples
) -> tuple[float, WindowLevel] | None:
    """Weigh the level beside a calibrated network.

    Returns:
        The factor of the network's logits, and the level with its own. None if validation texts do not have
        a clearly smaller cross-entropy than by the network alone, and more right decisions: micro-F1, which
        is the accuracy of texts with one class.
    """
    truth = validation.targets if network.config.multi_label else validation.labels
    assert truth is not None
    own = network.logits(validation.features).astype(np.float64)
    branches = np.stack([own, level.logits(validation.features)])
    weights = fit_weights(branches, truth, validation.weights)
    before, after = (mixture_losses(each, truth, validation.weights) for each in (branches[:1], branches))
    counts = np.ones(len(validation)) if validation.weights is None else validation.weights
    if not weights[1] or not is_clear_gain(before - after, counts, STANDARD_ERRORS):
        return None
    factor = max(weights[0], DOUBT)
    both = level.weighted(weights[1] / factor).add_to(network)  # scaling changes no decision
    if validate(both, validation).micro_f1 < validate(network, validation).micro_f1 + MIN_GAIN:
        return None
    return factor, level.weighted(weights[1])


class _Piece(NamedTuple):
    """Some texts of one fold: their windows, classes ``(N, C)`` bool and weights ``(N,)``."""

    fold: int
    windows: Windows
    is_class: NDArray[np.bool_]
    text_weights: Floats

    @property
    def text_of(self) -> NDArray[np.int64]:
        """The text of each window, ``(M,)``."""
        return np.repeat(np.arange(len(self.is_class)), self.windows.n_windows)


def fit_window_level(examples: Examples, n_rows: int, n_classes: int, seed: int) -> WindowLevel:
    """Learn the weights of ``V`` rows for windows, from encoded texts and their labels."""
    examples = examples.labelled()
    words = examples.features.keep(examples.features.is_ordered)
    is_word = np.zeros(n_rows, dtype=bool)  # most rows are of n-grams, which windows do not see
    is_word[words.ids] = True
    words = replace(words, ids=(np.cumsum(is_word, dtype=np.int32) - 1)[words.ids], n_oov_tokens=None)
    pieces = _pieces(replace(examples, features=words), n_classes, seed)
    n_words = int(is_word.sum())
    solutions = _first_solutions(pieces, n_words)
    for step in range(ROUNDS):
        chosen = [_choose(piece, solutions[piece.fold]) for piece in pieces]
        folds = range(FOLDS if step < ROUNDS - 1 else 0)
        solutions = [
            _solve([each for piece, each in zip(pieces, chosen, strict=True) if piece.fold != fold], n_words)
            for fold in folds
        ]
    level, weights = _solve(chosen, n_words), np.zeros((n_rows, n_classes), np.float32)
    weights[is_word] = level.weights
    return replace(level, weights=weights)


def _pieces(examples: Examples, n_classes: int, seed: int) -> list[_Piece]:
    """Cut the texts into pieces of bounded size, each of one fold."""
    n, labels = len(examples), examples.labels
    is_class = labels > 0 if examples.multi_label else labels[:, None] == np.arange(n_classes)
    weights = np.ones(n, np.float32) if examples.weights is None else examples.weights
    order, pieces = np.random.default_rng(seed).permutation(n), []
    for fold in range(FOLDS):
        texts = np.sort(order[fold::FOLDS])
        features = examples.features.take(texts)
        for first, last in groups(features.offsets, FEATURES_CHUNK):
            windows = Windows.of(features.take(np.arange(first, last)), WINDOW_WORDS)
            pieces.append(_Piece(fold, windows, is_class[texts[first:last]], weights[texts[first:last]]))
    return pieces


def _first_solutions(pieces: list[_Piece], n_words: int) -> list[WindowLevel]:
    """For each fold, the excess of each word in windows of each class, in the texts of the other folds."""
    n_classes = pieces[0].is_class.shape[1]
    frequency = np.zeros((FOLDS, n_words, n_classes), dtype=np.float32)
    n_windows, of_class = np.zeros((FOLDS, n_words, 1), np.float32), np.zeros((FOLDS, n_classes + 1))
    for piece in pieces:
        place = np.arange(len(piece.text_of)) - np.repeat(piece.windows.offsets[:-1], piece.windows.n_windows)
        disjoint = np.flatnonzero(place % 2 == 0)  # without those that share words with both neighbours
        targets = piece.is_class[piece.text_of[disjoint]].astype(np.float32)
        by_class, of_any = target_frequency(piece.windows.take(disjoint), targets, n_words)
        frequency[piece.fold] += by_class
        n_windows[piece.fold, :, 0] += of_any
        of_class[piece.fold] += [*targets.sum(axis=0), len(disjoint)]
    frequency, n_windows, of_class = (each.sum(axis=0) - each for each in (frequency, n_windows, of_class))
    priors = of_class[:, :-1] / np.maximum(of_class[:, -1:], 1)
    bias, solutions = np.zeros(n_classes, np.float32), []
    for fold in range(FOLDS):
        expected = n_windows[fold] * priors[fold].astype(np.float32)
        excess = (frequency[fold] - expected) / np.sqrt(expected + np.float32(PSEUDO_WINDOWS))
        excess = np.sign(excess) * np.maximum(np.abs(excess) - np.float32(MIN_DEVIATIONS), 0)
        solutions.append(WindowLevel(excess, bias))
    return solutions


def _choose(piece: _Piece, solution: WindowLevel) -> Examples:
    """Choose the windows that a solution finds strongest: for a text's classes, and for rivals of them."""
    windows, is_class = piece.windows, piece.is_class
    scores = windows.scores(solution.weights) + solution.bias
    bounds = pairwise(windows.offsets.tolist())
    strongest = np.array([first + scores[first:last].argmax(axis=0) for first, last in bounds])
    best = np.where(is_class, -np.inf, scores[strongest, np.arange(scores.shape[1])])
    is_rival = np.zeros_like(is_class)
    np.put_along_axis(is_rival, np.argsort(-best, axis=1)[:, :MAX_RIVALS], True, axis=1)
    own = np.unique(strongest[is_class])
    others = np.setdiff1d(strongest[is_rival & ~is_class], own)
    chosen = np.concatenate([own, others])
    targets = is_class[piece.text_of[chosen]].astype(np.float32)
    targets[len(own) :] = 0
    return Examples(windows.take(chosen), targets > 0, piece.text_weights[piece.text_of[chosen]], targets)


def _solve(chosen: list[Examples], n_words: int) -> WindowLevel:
    """Solve the linear SVM of the chosen windows."""
    labels, weights, targets = (
        np.concatenate([getattr(each, name) for each in chosen]) for name in ("labels", "weights", "targets")
    )
    features = concatenate([each.features for each in chosen])
    examples = Examples(features, labels, weights, targets)
    solution = LinearSVM(examples, n_words, labels.shape[1], 0, multi_label=True).solve(0.0)
    scale = np.float32(MARGIN_IN_LOGITS)
    return WindowLevel(solution.rows * scale, solution.bias * scale)
