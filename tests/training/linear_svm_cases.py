"""Small random problems of amplitudes, and their minimum by an explicit matrix of features."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.svm import LinearSVC
from training_data import ragged

from token2wave.features import Ragged
from token2wave.training.char_ngrams import CharNgrams
from token2wave.training.examples import Examples
from token2wave.training.linear_svm import LinearSVM, LinearSVMWeights


class Rows:
    """Stands for fitted features: only their number is asked for."""

    def __init__(self, n_rows: int) -> None:
        self.n_rows = n_rows


def random_char_ngrams(n_rows: int, seed: int) -> CharNgrams:
    """Some rows have n-grams, some of these twice, and some rows none."""
    random = np.random.default_rng(seed)
    counts = random.integers(0, 5, n_rows)
    counts[0] = 0
    ids = random.integers(0, n_rows, counts.sum()).astype(np.int32)
    return CharNgrams(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), ids)


def random_texts(n_texts: int, n_rows: int, seed: int) -> Ragged:
    """Of at most eight features, many of them several times; two are empty, and one has a row 40 times."""
    random = np.random.default_rng(seed)
    texts = [random.integers(0, n_rows, random.integers(1, 9)).tolist() for _ in range(n_texts - 3)]
    return ragged([[], [], [1] * 40 + [2, 2], *texts])


class Case(NamedTuple):
    """A problem of many kinds of text, and what it was made of."""

    problem: LinearSVM
    char_ngrams: CharNgrams
    share: float


def case_of(
    n_classes: int,
    *,
    seed: int = 0,
    n_texts: int = 50,
    n_rows: int = 14,
    share: float = 0.0,
    weighted: bool = False,
    n_dense: int = 0,
) -> Case:
    """A problem whose texts tell their class badly, so that many of them are support vectors.

    Args:
        n_classes: ``C``.
        seed: of everything.
        n_texts: ``N``.
        n_rows: ``V``.
        share: amplitude of the n-grams, which are random ones.
        weighted: whether texts count unlike each other, and some not at all.
        n_dense: dense features, ``P``.
    """
    random = np.random.default_rng(seed)
    features, labels = random_texts(n_texts, n_rows, seed), random.integers(0, n_classes, n_texts)
    weights = None
    if weighted:
        weights = random.uniform(0.2, 3, n_texts).astype(np.float32)
        weights[random.random(n_texts) < 0.2] = 0
    fitted: Any = Rows(n_rows)
    dense = random.normal(size=(n_texts, n_dense)).astype(np.float32)
    problem = LinearSVM(Examples(features, labels, weights), fitted, n_classes, seed, dense=dense)
    char_ngrams = random_char_ngrams(n_rows, seed) if share else CharNgrams.none(n_rows)
    problem.char_ngrams = char_ngrams
    problem.gram_information = random.uniform(0.2, 2, char_ngrams.n_grams).astype(np.float32)
    problem.grams_of_a_feature = 2.5
    return Case(problem, char_ngrams, share)


def matrix_of(problem: LinearSVM, features: Ragged, share: float) -> np.ndarray:
    """Rows and n-grams of each text, times the root of their energy, and one for the bias; in loops."""
    n_rows, char_ngrams = len(problem.information), problem.char_ngrams
    n_grams = char_ngrams.n_grams if share else 0
    energies = np.zeros(n_rows + n_grams)
    energies[:n_rows] = problem.information
    for gram in range(n_grams):
        energies[n_rows + gram] = share**2 * problem.gram_information[gram] / problem.grams_of_a_feature
    matrix = np.zeros((len(features), n_rows + n_grams + 1))
    for text in range(len(features)):
        ids = features.ids[features.offsets[text] : features.offsets[text + 1]].tolist()
        for row in ids:
            columns = [row]
            if share:
                found = char_ngrams.ids[char_ngrams.offsets[row] : char_ngrams.offsets[row + 1]]
                columns += (n_rows + found).tolist()
            for column in columns:
                matrix[text, column] += np.sqrt(energies[column] / len(ids))
        matrix[text, -1] = 1
    return matrix


def costs_and_signs(problem: LinearSVM, label: int) -> tuple[np.ndarray, np.ndarray]:
    """Cost of each text, in the mean one, and 1 or -1 for a class against the rest."""
    train = problem.train
    weights = np.ones(len(train)) if train.weights is None else train.weights.astype(float)
    return weights / weights.mean(), np.where(train.labels == label, 1.0, -1.0)


def best_scores(problem: LinearSVM, features: Ragged, share: float) -> np.ndarray:
    """What the minimum says of texts, found by scikit-learn, ``(N, C)``."""
    matrix, asked = (matrix_of(problem, each, share) for each in (problem.train.features, features))
    return np.asarray(asked @ best_weights(problem, matrix).T)


def best_weights(problem: LinearSVM, matrix: np.ndarray, cost: float = 1.0) -> np.ndarray:
    """The weight of each column of the train texts' matrix at the minimum, by scikit-learn, ``(C, D)``."""
    weights = []
    for label in range(problem.n_classes):
        costs, signs = costs_and_signs(problem, label)
        if len(set(signs[costs > 0])) == 1:  # LIBLINEAR wants two; a text without features, bias or cost
            signs, costs = np.append(signs, -signs[0]), np.append(costs, 1e-12)
        rows = np.concatenate([matrix, np.zeros((len(signs) - len(matrix), matrix.shape[1]))])
        machine = LinearSVC(
            C=cost, loss="squared_hinge", dual=True, fit_intercept=False, tol=1e-9, max_iter=200_000
        )
        machine.fit(rows[costs > 0], signs[costs > 0], costs[costs > 0])
        weights.append(machine.coef_[0])
    return np.stack(weights)


def scores_of(found: LinearSVMWeights, features: Ragged) -> np.ndarray:
    """What amplitudes say of texts by their definition, ``(N, C)``, in a loop."""
    scores = np.zeros((len(features), len(found.bias)))
    for text in range(len(features)):
        ids = features.ids[features.offsets[text] : features.offsets[text + 1]]
        scores[text] = found.bias
        if len(ids):
            scores[text] += found.rows[ids].astype(float).sum(axis=0) / np.sqrt(len(ids))
    return scores


def gap_of(problem: LinearSVM, scores: np.ndarray, share: float, label: int) -> tuple[float, float]:
    """Primal value and the part of it by which a dual value falls short, from the scores of the train texts.

    At the minimum ``alpha_i = 2 cost_i max(0, 1 - y_i s_i)``, and the weights are ``sum_i alpha_i y_i x_i``.
    Any such alpha bounds the minimum from below (weak duality), and its weights from above.
    """
    costs, signs = costs_and_signs(problem, label)
    matrix = matrix_of(problem, problem.train.features, share)
    alphas = 2 * costs * np.maximum(1 - signs * scores[:, label], 0)
    weights = matrix.T @ (alphas * signs)
    square = float(weights @ weights) / 2
    primal = square + float(costs @ np.maximum(1 - signs * (matrix @ weights), 0) ** 2)
    counting = costs > 0
    dual = float(alphas.sum()) - square - float((alphas[counting] ** 2 / (4 * costs[counting])).sum())
    return primal, primal - dual
