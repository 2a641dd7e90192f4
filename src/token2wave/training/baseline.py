"""What a user would try first: TF-IDF of words and word pairs with a linear support vector machine."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from token2wave.errors import MissingExtraError
from token2wave.metrics import evaluate_predictions
from token2wave.training.summary import Baseline

NAME = "TF-IDF (1,2) + LinearSVC"


def train_baseline(
    train_texts: Sequence[str],
    train_labels: NDArray[np.int64],
    test_texts: Sequence[str],
    test_labels: NDArray[np.int64],
    label_names: tuple[str, ...],
    weights: NDArray[np.float32] | None = None,
) -> Baseline:
    """Train on all training texts, weighted as they are for us, and evaluate on the test texts.

    Returns:
        ``name``, ``accuracy``, ``macro_f1`` and ``train_seconds`` (vectoriser included).

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.svm import LinearSVC
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "studies", purpose="the baseline") from error
    start = time.perf_counter()
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=1)
    machine = LinearSVC(random_state=0)
    machine.fit(vectorizer.fit_transform(train_texts), train_labels, sample_weight=weights)
    seconds = time.perf_counter() - start
    predicted = machine.predict(vectorizer.transform(test_texts))
    scores = evaluate_predictions(test_labels, predicted, label_names)
    return {
        "name": NAME,
        "accuracy": scores.accuracy,
        "macro_f1": scores.macro_f1,
        "train_seconds": seconds,
    }
