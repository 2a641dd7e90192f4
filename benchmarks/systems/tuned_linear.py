"""Linear classifiers as experts tune them: TF-IDF of words and characters, and NB-SVM."""

from __future__ import annotations

import itertools
import logging
import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_union
from sklearn.svm import LinearSVC

from systems import FEW_ROWS, HOLDOUT, System, Task, assign_folds

STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0)  # values of C
MIXINGS = (0.25, 0.5, 0.75, 1.0)  # of NB-SVM: the weight of the SVM beside the mean of its weights
ITERATIONS = 2000
FOLDS = 5
CHOICE = f"by {HOLDOUT:.0%} of the training rows, or {FOLDS} folds with fewer than {FEW_ROWS:,} rows"
WORDS: dict[str, Any] = {"ngram_range": (1, 2), "sublinear_tf": True, "min_df": 1}  # as in training.baseline
FitPath = Callable[[Any, NDArray[np.int64], int, Sequence[Any]], Iterator[Any]]


class TunedLinear(System):
    """Features of texts below a linear classifier; validation rows choose, and then it learns from all rows.

    Args:
        name: of the system.
        family: what it is compared as.
        features: each makes a transformer of texts; the best on validation rows is used.
        path: gives a fitted classifier for each setting, from features, labels and a seed.
        settings: to choose from.
        description: features, classifier and settings in words.
        bias: what favours it or its rivals.
    """

    def __init__(
        self,
        name: str,
        family: str,
        features: Sequence[Callable[[], Any]],
        path: FitPath,
        settings: Sequence[Any],
        description: str,
        bias: str,
    ) -> None:
        self.name, self.family, self.description, self.bias = name, family, f"{description}.", bias
        self.features, self.path, self.settings = features, path, settings
        if len(features) * len(settings) > 1:
            self.description = f"{description}, {CHOICE}; it then learns from all rows."

    def fit(self, task: Task) -> tuple[Any, Any]:
        """Choose features and setting, then train on all rows."""
        best: tuple[float, Any, Any, Any] | None = None
        for make_features in self.features:
            features = make_features()
            matrix = features.fit_transform(task.texts)
            scores = self._scores(matrix, task)
            at = int(np.argmax(scores))
            if best is None or scores[at] > best[0]:
                best = scores[at], features, matrix, self.settings[at]
        assert best is not None
        _, features, matrix, setting = best
        return features, next(self.path(matrix, task.labels, task.seed, [setting]))

    def _scores(self, matrix: Any, task: Task) -> NDArray[np.float64]:
        """Validation accuracy of each setting, ``(S,)``."""
        if len(self.features) * len(self.settings) == 1:
            return np.zeros(1)
        few = len(task.labels) < FEW_ROWS
        folds = assign_folds(task.labels, FOLDS if few else round(1 / HOLDOUT), task.seed)
        scores = np.zeros(len(self.settings))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # of settings that are only tried
            for fold in range(FOLDS if few else 1):
                train, validation = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
                path = self.path(matrix[train], task.labels[train], task.seed, self.settings)
                for at, classifier in enumerate(path):
                    right = classifier.predict(matrix[validation]) == task.labels[validation]
                    scores[at] += right.sum()
        return scores

    def predict(self, model: tuple[Any, Any], texts: Sequence[str]) -> NDArray[np.int64]:
        """Predict the class of every text."""
        features, classifier = model
        classes: NDArray[np.int64] = classifier.predict(features.transform(texts))
        return classes

    def save(self, model: tuple[Any, Any], folder: Path) -> Path:
        """Pickle the features and the classifier; an encoder's weights are not in the file."""
        path = folder / "model.pickle"
        with path.open("wb") as file:
            pickle.dump(model, file, protocol=pickle.HIGHEST_PROTOCOL)
        return path


def fit_svms(
    matrix: Any, labels: NDArray[np.int64], seed: int, settings: Sequence[float]
) -> Iterator[LinearSVC]:
    """Linear SVMs, one for each ``C``."""
    for strength in settings:
        yield LinearSVC(C=strength, random_state=seed).fit(matrix, labels)


def fit_logistics(
    matrix: Any, labels: NDArray[np.int64], seed: int, settings: Sequence[float]
) -> Iterator[LogisticRegression]:
    """Logistic regressions, one for each ``C``; each starts where the one before ended."""
    model = LogisticRegression(max_iter=ITERATIONS, random_state=seed, warm_start=True)
    for strength in settings:
        yield model.set_params(C=strength).fit(matrix, labels)


class _LinearScores:
    """Weights ``(F, K)`` and biases ``(K,)``; one column for two classes."""

    def __init__(
        self, classes: NDArray[np.int64], weights: NDArray[np.float64], bias: NDArray[np.float64]
    ) -> None:
        self.classes, self.weights, self.bias = classes, weights, bias

    def predict(self, matrix: Any) -> NDArray[np.int64]:
        scores = matrix @ self.weights + self.bias
        at = (scores[:, 0] > 0).astype(int) if len(self.classes) == 2 else scores.argmax(axis=1)
        classes: NDArray[np.int64] = self.classes[at]
        return classes


def fit_naive_bayes_svms(
    matrix: Any, labels: NDArray[np.int64], seed: int, settings: Sequence[tuple[float, float]]
) -> Iterator[_LinearScores]:
    """NB-SVM (Wang and Manning, 2012) of binary features, one class against the rest; for each (C, mixing).

    The features of a class are multiplied by their log-count ratios, with counts that start at one. The
    weights of the SVM on these are mixed with the mean of their absolute values.
    """
    classes = np.unique(labels)
    targets = [labels == label for label in (classes if len(classes) > 2 else classes[1:])]
    ratios = [_log_count_ratio(matrix, target) for target in targets]
    for strength, group in itertools.groupby(settings, key=lambda setting: setting[0]):
        svms = [
            LinearSVC(C=strength, random_state=seed).fit(matrix.multiply(ratio[None]).tocsr(), target)
            for ratio, target in zip(ratios, targets, strict=True)
        ]
        bias = np.array([svm.intercept_[0] for svm in svms])
        for _, mixing in group:
            weights = [
                ((1 - mixing) * np.abs(svm.coef_[0]).mean() + mixing * svm.coef_[0]) * ratio
                for svm, ratio in zip(svms, ratios, strict=True)
            ]
            yield _LinearScores(classes, np.stack(weights, axis=1), bias)


def _log_count_ratio(matrix: Any, target: NDArray[np.bool_]) -> NDArray[np.float64]:
    counts = [1 + np.asarray(matrix[np.flatnonzero(mask)].sum(axis=0)).ravel() for mask in (target, ~target)]
    shares = [count / count.sum() for count in counts]
    ratio: NDArray[np.float64] = np.log(shares[0] / shares[1])
    return ratio


def _words_and_characters(min_df: int) -> Any:
    characters = {**WORDS, "analyzer": "char_wb", "ngram_range": (2, 5), "min_df": min_df}
    return make_union(TfidfVectorizer(**{**WORDS, "min_df": min_df}), TfidfVectorizer(**characters))


def segment(text: str) -> list[str]:
    """Cut Chinese into words with jieba, Japanese with SudachiPy, Thai with PyThaiNLP, others at blanks."""
    if any("\u3040" <= letter <= "\u30ff" for letter in text):
        return [morpheme.surface() for morpheme in _japanese_segmenter().tokenize(text)]
    if any("\u0e00" <= letter <= "\u0e7f" for letter in text):
        from pythainlp.tokenize import word_tokenize

        words: list[str] = word_tokenize(text, keep_whitespace=False)
        return words
    if any("\u4e00" <= letter <= "\u9fff" for letter in text):
        import jieba

        jieba.setLogLevel(logging.WARNING)
        return list(jieba.cut(text))
    return text.split()


@cache
def _japanese_segmenter() -> Any:
    from sudachipy import dictionary

    return dictionary.Dictionary().create()


def _tfidf(min_df: int, **settings: Any) -> TfidfVectorizer:
    return TfidfVectorizer(**{**WORDS, "min_df": min_df, **settings})


WITHIN_WORDS: dict[str, Any] = {"analyzer": "char_wb", "ngram_range": (2, 5)}
ACROSS_WORDS: dict[str, Any] = {"analyzer": "char", "ngram_range": (1, 4)}
SEGMENTED: dict[str, Any] = {"tokenizer": segment, "token_pattern": None}
FEATURES: dict[str, tuple[str, str, list[Callable[[], Any]]]] = {
    "tfidf_words_tuned": ("words", "words (1, 2)", [partial(_tfidf, n) for n in (1, 2)]),
    "tfidf_characters_tuned": (
        "characters",
        "char (1, 4) or char_wb (2, 5)",
        [partial(_tfidf, n, **how) for how in (ACROSS_WORDS, WITHIN_WORDS) for n in (1, 2)],
    ),
    "tfidf_segmented_tuned": (
        "segmented words",
        "words (1, 2) of jieba (Chinese), SudachiPy (Japanese) or PyThaiNLP (Thai)",
        [partial(_tfidf, n, **SEGMENTED) for n in (1, 2)],
    ),
}
"""Title, description and features to choose from, of systems for languages other than English."""


def make_system(name: str) -> TunedLinear:
    """Make a system by its name."""
    bias = (
        "Its file grows with the texts, to hundreds of megabytes, and is a pickle. It computes with one "
        "thread for the most part. The search for settings is in its time."
    )
    values = "C of " + ", ".join(f"{strength:g}" for strength in STRENGTHS)
    if name == "tfidf_svc":
        features = "scikit-learn's TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=1)"
        return TunedLinear(
            "TF-IDF + LinearSVC",
            "TF-IDF",
            [partial(TfidfVectorizer, **WORDS)],
            fit_svms,
            [1.0],
            f"{features} and LinearSVC(C=1, random_state=seed)",
            "It keeps every word pair that occurs, even once, so that its model grows with the texts; the "
            "file is a pickle. It computes with one thread for the most part, and learns from all rows.",
        )
    if name == "nbsvm":
        return TunedLinear(
            "NB-SVM, tuned",
            "NB-SVM",
            [partial(CountVectorizer, ngram_range=(1, 2), binary=True)],
            fit_naive_bayes_svms,
            list(itertools.product(STRENGTHS, MIXINGS)),
            "NB-SVM (Wang and Manning, 2012) on words and word pairs, one class against the rest, LinearSVC "
            f"with {values}, mixed by {', '.join(map(str, MIXINGS))}",
            bias,
        )
    if name in FEATURES:
        title, what, features_to_try = FEATURES[name]
        return TunedLinear(
            f"TF-IDF of {title} + LinearSVC, tuned",
            "TF-IDF",
            features_to_try,
            fit_svms,
            STRENGTHS,
            f"scikit-learn's TfidfVectorizer of {what}, sublinear, min_df of 1 or 2, and LinearSVC, {values}",
            bias,
        )
    classifier, path = {"tfidf_svc_tuned": ("LinearSVC", fit_svms)}.get(
        name, ("logistic regression", fit_logistics)
    )
    return TunedLinear(
        f"TF-IDF of words and characters + {classifier}, tuned",
        "TF-IDF",
        [partial(_words_and_characters, 1), partial(_words_and_characters, 2)],
        path,
        STRENGTHS,
        "scikit-learn's TfidfVectorizer of words (1, 2) and of char_wb (2, 5), sublinear, min_df of 1 or 2, "
        f"and {classifier}, {values}",
        bias,
    )
