"""Rivals whose regularisation validation rows choose: TF-IDF of words and characters, and frozen encoders."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.svm import LinearSVC

from systems import System, Task
from token2wave.models.encoder_sources import MINILM, source_of

HOLDOUT = 0.1  # of the training rows, to choose C by; afterwards all rows are learned from
ITERATIONS = 2000


class Tuned(System):
    """Features of texts below a linear classifier of scikit-learn; ``C`` is the best on held-out rows.

    Args:
        name: of the system.
        family: what it is compared as.
        features: makes a transformer of texts from a seed.
        classifier: makes a classifier from ``C`` and a seed.
        strengths: the values of ``C`` to choose from.
        description: the features and the classifier in words.
        bias: what favours it or its rivals.
    """

    def __init__(
        self,
        name: str,
        family: str,
        features: Callable[[int], Any],
        classifier: Callable[[float, int], Any],
        strengths: Sequence[float],
        description: str,
        bias: str,
    ) -> None:
        self.name, self.family, self.bias = name, family, bias
        self.features, self.classifier, self.strengths = features, classifier, strengths
        values = ", ".join(f"{strength:g}" for strength in strengths)
        self.description = f"{description}, C of {values} by {HOLDOUT:.0%} of the training rows."

    def fit(self, task: Task) -> tuple[Any, Any]:
        """Choose ``C`` on held-out rows, then train on all rows."""
        features = self.features(task.seed)
        matrix = features.fit_transform(task.texts)
        counts = np.bincount(task.labels)
        single = counts[task.labels] < 2  # a class of one row cannot be split
        rows = np.flatnonzero(~single)
        train, validation = train_test_split(
            rows,
            test_size=max(HOLDOUT, len(np.unique(task.labels[rows])) / len(rows)),
            stratify=task.labels[rows],
            random_state=task.seed,
        )
        train = np.concatenate([train, np.flatnonzero(single)])
        scores = [
            self.classifier(strength, task.seed)
            .fit(matrix[train], task.labels[train])
            .score(matrix[validation], task.labels[validation])
            for strength in self.strengths
        ]
        best = self.strengths[int(np.argmax(scores))]
        return features, self.classifier(best, task.seed).fit(matrix, task.labels)

    def predict(self, model: tuple[Any, Any], texts: Sequence[str]) -> NDArray[np.int64]:
        """Predict the class of every text."""
        features, classifier = model
        classes: NDArray[np.int64] = classifier.predict(features.transform(texts))
        return classes

    def save(self, model: tuple[Any, Any], folder: Path) -> Path:
        """Pickle the classifier and the features; an encoder's weights are not in the file."""
        path = folder / "model.pickle"
        with path.open("wb") as file:
            pickle.dump(model, file, protocol=pickle.HIGHEST_PROTOCOL)
        return path


class Encoder:
    """Vectors of a frozen encoder, as a transformer of scikit-learn; the weights stay out of its pickle."""

    def __init__(self, load: Callable[[], Any]) -> None:
        self.load = load

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: the encoder is loaded again."""
        return {}

    def fit_transform(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Load the encoder and encode texts, ``(N, D)``."""
        self.model = self.load()
        return self.transform(texts)

    def transform(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode texts, ``(N, D)``."""
        return np.asarray(self.model.encode(list(texts)), dtype=np.float32)


def _load_minilm() -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(source_of(MINILM), device="cpu")


def _distil_minilm() -> Any:
    from model2vec.distill import distill

    return distill(source_of(MINILM), pca_dims=256, device="cpu")


def _words_and_characters(_: int) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union

    return make_union(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        TfidfVectorizer(ngram_range=(2, 5), analyzer="char_wb", sublinear_tf=True, min_df=2),
    )


def _logistic(strength: float, seed: int) -> LogisticRegression:
    return LogisticRegression(C=strength, max_iter=ITERATIONS, random_state=seed)


def make_system(name: str) -> Tuned:
    """Make a system by its name."""
    if name == "tfidf_tuned":
        return Tuned(
            "TF-IDF of words and characters, tuned",
            "TF-IDF",
            _words_and_characters,
            lambda strength, seed: LinearSVC(C=strength, random_state=seed),
            (0.1, 0.3, 1.0),
            "scikit-learn's TfidfVectorizer of words (1, 2) and of char_wb (2, 5), sublinear, and LinearSVC",
            "Its file grows with the texts, to hundreds of megabytes.",
        )
    load, title, what = {
        "minilm_logistic": (
            _load_minilm,
            "frozen all-MiniLM-L6-v2 + logistic regression",
            "sentence-transformers' vectors of all-MiniLM-L6-v2, 384 numbers a text",
        ),
        "model2vec_logistic": (
            _distil_minilm,
            "Model2Vec of all-MiniLM-L6-v2 + logistic regression",
            "model2vec.distill of all-MiniLM-L6-v2 with 256 dimensions",
        ),
    }[name]
    return Tuned(
        title,
        "pre-trained",
        lambda _: Encoder(load),
        _logistic,
        (1.0, 3.0, 10.0, 30.0),
        f"{what}, frozen, and LogisticRegression",
        "It has read far more text than the other systems: the encoder's. That is not in its training time, "
        "nor its weights in the size of its file.",
    )
