"""The baseline: TF-IDF of words and word pairs with a linear support vector machine."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.errors import DataError, import_extra
from token2wave.metrics import evaluate_predictions
from token2wave.training.examples import Examples
from token2wave.training.result import Baseline

NAME = "TF-IDF (1,2) + LinearSVC"
IMPORT_SECONDS = 2.0  # that loading scikit-learn may take
FIRST_SAMPLE = 64  # rows
LAST_SAMPLE = 1 / 32  # of the rows

Pairs = Sequence[tuple[Examples, Examples]]


def require_baseline() -> None:
    """Check that the baseline can be trained.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    with import_extra("sklearn", "the baseline"):
        import sklearn  # noqa: F401


def costs_less_than(seconds: float, pairs: Pairs, clock: Callable[[], float] = time.perf_counter) -> bool:
    """Whether the baseline, if it can be trained, probably takes less than some seconds.

    Ever larger samples of the rows are timed, in at most about a fifth of that time.
    """
    if find_spec("sklearn") is None or ("sklearn.svm" not in sys.modules and seconds < IMPORT_SECONDS):
        return False
    start, train, n_sample = clock(), pairs[0][0], FIRST_SAMPLE
    import sklearn.feature_extraction.text
    import sklearn.svm  # noqa: F401

    n_rows = sum(len(train) + len(test) for train, test in pairs)
    order = np.random.default_rng(0).permutation(len(train))
    while True:
        sample, sample_start = train.take(order[:n_sample]), clock()
        try:
            train_predictor(sample)
        except DataError:
            return False
        now = clock()
        if now - start + (now - sample_start) * n_rows / len(sample) > seconds:
            return False
        if n_sample >= LAST_SAMPLE * len(train):
            return True
        n_sample *= 4


def fit_baseline(pairs: Pairs, label_names: tuple[str, ...]) -> Baseline:
    """Train on the first of each pair of examples, and evaluate on all of the second.

    Raises:
        DataError: the texts have no words for it.
        MissingExtraError: scikit-learn is not installed.
    """
    require_baseline()
    seconds, predicted = 0.0, []
    pairs = [pair for pair in pairs if len(pair[1])]  # few different texts do not fill all folds
    for train, test in pairs:
        start = time.perf_counter()
        predict = train_predictor(train)
        seconds += (time.perf_counter() - start) / len(pairs)
        predicted.append(predict(test.texts))
    truth, multi_label = np.concatenate([test.labels for _, test in pairs]), pairs[0][0].multi_label
    scores = evaluate_predictions(truth, np.concatenate(predicted), label_names)
    baseline: Baseline = {
        "name": f"{NAME}, one against the rest" if multi_label else NAME,
        "accuracy": scores.accuracy,
        "macro_f1": scores.macro_f1,
        "train_seconds": seconds,
    }
    if scores.micro_f1 is not None:
        baseline["micro_f1"] = scores.micro_f1
    return baseline


def train_baseline(
    train_texts: Sequence[str],
    train_labels: NDArray[Any],
    test_texts: Sequence[str],
    test_labels: NDArray[Any],
    label_names: tuple[str, ...],
    weights: NDArray[np.float32] | None = None,
    positive_weights: NDArray[np.float32] | None = None,
) -> Baseline:
    """Train on texts and evaluate on others; arguments as for :class:`Examples`.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    train = Examples.of_texts(train_texts, train_labels, weights, positive_weights)
    return fit_baseline([(train, Examples.of_texts(test_texts, test_labels))], label_names)


def train_predictor(train: Examples) -> Callable[[Sequence[str]], NDArray[Any]]:
    """Train on weighted examples; the result predicts the labels of texts, ``(N,)`` or ``(N, C)``.

    One machine a class of multi-label texts is trained against the rest, and the texts that have the class
    have its positive weight.

    Raises:
        DataError: the texts have no words for it.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.svm import LinearSVC

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=1)
    classes = train.labels.T if train.multi_label else [train.labels]
    class_weights: list[dict[bool, float] | None] = [None] * len(classes)
    if train.positive_weights is not None:
        class_weights = [{True: weight} for weight in train.positive_weights.tolist()]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged
            matrix = vectorizer.fit_transform(train.texts)
            # A class that no text or every text has needs no machine.
            machines = [
                LinearSVC(random_state=0, class_weight=weight).fit(
                    matrix, labels, sample_weight=train.weights
                )
                if labels.min() != labels.max()
                else None
                for labels, weight in zip(classes, class_weights, strict=True)
            ]
    except ValueError as error:  # no word of two letters, or no row of some weight
        raise DataError(f"the baseline cannot be trained ({error})", hint="leave --baseline out") from error

    def predict(texts: Sequence[str]) -> NDArray[Any]:
        matrix = vectorizer.transform(texts)
        predicted = [
            np.full(len(texts), labels[0]) if machine is None else machine.predict(matrix)
            for machine, labels in zip(machines, classes, strict=True)
        ]
        return np.stack(predicted, axis=1) if train.multi_label else np.asarray(predicted[0])

    return predict
