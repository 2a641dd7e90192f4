"""TF-IDF of words and word pairs, below a linear classifier of scikit-learn."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import Pipeline, make_pipeline

from systems import System, Task

# Those of token2wave.training.baseline, which the tests hold these against.
SETTINGS: dict[str, Any] = {"ngram_range": (1, 2), "sublinear_tf": True, "min_df": 1}
FEATURES = "TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=1)"
ITERATIONS = 1000  # at most; it converges long before
BIAS = (
    "It keeps every word pair that occurs, even once, so that its model grows with the texts; the file is a "
    "pickle of the pipeline. It computes with one thread for the most part, and learns from all rows."
)


class Tfidf(System):
    """The features with a classifier on top, which ``classifier`` makes from a seed."""

    family = "TF-IDF"

    def __init__(self, name: str, classifier: Callable[[int], Any], settings: str, bias: str = BIAS) -> None:
        self.name, self.classifier, self.bias = name, classifier, bias
        self.description = f"scikit-learn's {FEATURES} and {settings}."

    def fit(self, task: Task) -> Pipeline:
        """Train vectoriser and classifier."""
        pipeline = make_pipeline(TfidfVectorizer(**SETTINGS), self.classifier(task.seed))
        return pipeline.fit(task.texts, task.labels)

    def predict(self, model: Pipeline, texts: Sequence[str]) -> NDArray[np.int64]:
        """Predict the class of every text."""
        classes: NDArray[np.int64] = model.predict(texts)
        return classes

    def save(self, model: Pipeline, folder: Path) -> Path:
        """Pickle the pipeline."""
        path = folder / "model.pickle"
        with path.open("wb") as file:
            pickle.dump(model, file, protocol=pickle.HIGHEST_PROTOCOL)
        return path


def make_system(name: str) -> Tfidf:
    """Make a system: the recipe of :mod:`token2wave.training.baseline`, or logistic regression."""
    if name == "tfidf_svc":
        from sklearn.svm import LinearSVC

        return Tfidf(
            "TF-IDF + LinearSVC",
            lambda seed: LinearSVC(random_state=seed),
            "LinearSVC(C=1, random_state=seed)",
        )
    from sklearn.linear_model import LogisticRegression

    return Tfidf(
        "TF-IDF + logistic regression",
        lambda seed: LogisticRegression(max_iter=ITERATIONS, random_state=seed),
        f"LogisticRegression(C=1, max_iter={ITERATIONS})",
        f"{BIAS} Its regularisation, C=1, is the default and strong for these features: a larger C takes "
        "longer and is often more accurate.",
    )
