"""The baseline: TF-IDF of words and word pairs with a linear support vector machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.errors import DataError, MissingExtraError
from token2wave.metrics import evaluate_decisions, evaluate_predictions
from token2wave.training.callbacks import CallbackList
from token2wave.training.preparation import EncodedTexts
from token2wave.training.result import Baseline

NAME = "TF-IDF (1,2) + LinearSVC"


def fit_baseline(texts: EncodedTexts, data: str, callback_list: CallbackList) -> Baseline:
    """Train the baseline on all training rows of a run, validation rows included.

    Raises:
        DataError: there are no test texts.
        MissingExtraError: scikit-learn is not installed.
    """
    if texts.test is None:
        problem = "expected a test set for the baseline, found none"
        raise DataError(problem, location=data, hint="name one with --test")
    callback_list.stage("baseline", 0)
    train, test = texts.train if texts.full_train is None else texts.full_train, texts.test
    data_of_both = train.texts, train.labels, test.texts, test.labels
    return train_baseline(*data_of_both, texts.label_names, train.weights, train.positive_weights)


def train_baseline(
    train_texts: Sequence[str],
    train_labels: NDArray[Any],
    test_texts: Sequence[str],
    test_labels: NDArray[Any],
    label_names: tuple[str, ...],
    weights: NDArray[np.float32] | None = None,
    positive_weights: NDArray[np.float32] | None = None,
) -> Baseline:
    """Train on the training texts with their weights, and evaluate on the test texts.

    Multi-label texts have labels ``(N, C)``. Then one machine a class is trained against the rest, and the
    texts that have the class have its positive weight, ``(C,)``.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.svm import LinearSVC
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "sklearn", purpose="the baseline") from error
    start = time.perf_counter()
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=1)
    matrix = vectorizer.fit_transform(train_texts)
    multi_label = train_labels.ndim == 2
    classes = train_labels.T if multi_label else [train_labels]
    class_weights: list[dict[bool, float] | None] = [None] * len(classes)
    if positive_weights is not None:
        class_weights = [{True: weight} for weight in positive_weights.tolist()]
    # A class that no text or every text has needs no machine.
    machines = [
        LinearSVC(random_state=0, class_weight=class_weight).fit(matrix, labels, sample_weight=weights)
        if labels.min() != labels.max()
        else None
        for labels, class_weight in zip(classes, class_weights, strict=True)
    ]
    seconds = time.perf_counter() - start
    test_matrix = vectorizer.transform(test_texts)
    predicted = [
        np.full(len(test_texts), labels[0]) if machine is None else machine.predict(test_matrix)
        for machine, labels in zip(machines, classes, strict=True)
    ]
    if multi_label:
        scores = evaluate_decisions(test_labels, np.stack(predicted, axis=1), label_names)
    else:
        scores = evaluate_predictions(test_labels, predicted[0], label_names)
    baseline: Baseline = {
        "name": f"{NAME}, one against the rest" if multi_label else NAME,
        "accuracy": scores.accuracy,
        "macro_f1": scores.macro_f1,
        "train_seconds": seconds,
    }
    if scores.micro_f1 is not None:
        baseline["micro_f1"] = scores.micro_f1
    return baseline
