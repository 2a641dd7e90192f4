"""Additive sums of predictions, from which drift is measured. No text is stored.

The sums of two sets of texts, added, are exactly those of both together. So blocks of a file, processes and
days of a service can be counted apart and added up in any order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from token2wave.errors import ModelFileError
from token2wave.features import Ragged

BOUNDS: dict[str, tuple[float, ...]] = {
    "confidence": (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999),
    "novelty": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99),
    "unknown": (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 0.9999),
    "words": (0, *(2**n - 1 for n in range(1, 13))),
}
"""Largest value of each bin of a histogram; the last bin has none. The last of ``unknown`` is 1."""
STEP = 2.0**-20  # probabilities are rounded to multiples of it, so that their sum is exact in any order
MAX_ROWS = 1 << 53  # larger counts are not exact in JSON

Counts = tuple[int, ...]
Model = Any  # token2wave.inference.model.Model, which imports this module


@dataclass(frozen=True)
class DriftSums:
    """Sums over the predictions of texts.

    The fields up to ``confidence`` are of all ``rows``. The others are of those whose features were counted:
    a service counts them for some texts only, because it takes longer.

    Attributes:
        rows: number of texts.
        labels: ``C`` counts of texts by predicted label. A multi-label text counts for each of its labels.
        confidence_sum: sum of the confidences of the texts, the probability that the prediction is right. For
            multi-label texts it is the probability that all decisions are right, if they are independent.
        confidence: histogram of it; the bins of all histograms are in :data:`BOUNDS`.
        novelty: histogram; zeros if the model has no reference for novelty.
        unknown: histogram of the fraction of a text's words and n-grams that have no row; 1 if nothing of the
            text is known.
        words: histogram of the length of a text in words; powers of two.
        features: words and n-grams of all these texts.
        unknown_features: those that have no row.
    """

    rows: int
    labels: Counts
    confidence_sum: float
    confidence: Counts
    novelty: Counts
    unknown: Counts
    words: Counts
    features: int
    unknown_features: int

    @classmethod
    def empty(cls, n_labels: int) -> Self:
        """Sums of no text."""
        histograms = {name: (0,) * (len(bounds) + 1) for name, bounds in BOUNDS.items()}
        return cls(
            rows=0, labels=(0,) * n_labels, confidence_sum=0.0, features=0, unknown_features=0, **histograms
        )

    @classmethod
    def of_texts(cls, model: Model, texts: list[str]) -> Self:
        """Sum the predictions of ``N`` texts."""
        features, n_unknown = model.features.with_unknown(texts)
        return cls.of_features(model, features, n_unknown, model.network.logits(features))

    @classmethod
    def of_features(
        cls,
        model: Model,
        features: Ragged,
        n_unknown: NDArray[np.int64],
        logits: NDArray[np.float32],
        n_unknown_later: NDArray[np.int64] | None = None,
    ) -> Self:
        """Sum the predictions of ``N`` texts.

        Args:
            model: has made them.
            features: of the texts.
            n_unknown: ``(N,)``, their words and n-grams that have no row.
            logits: ``(N, C)``.
            n_unknown_later: the same of a model with more rows, which will be compared with these sums.

        Raises:
            ModelFileError: the weights overflow, so a prediction is not finite.
        """
        measures = measure_features(model, features, n_unknown, logits, n_unknown_later)
        sums: dict[str, Any] = {
            name: histogram(name, values) if name in BOUNDS else int(values.sum())
            for name, values in measures.items()
        }
        return replace(cls.empty(0), **sums).with_predictions(model, model.class_probabilities(logits))

    def with_predictions(self, model: Model, probabilities: NDArray[Any]) -> Self:
        """Replace the sums of predictions by those of ``(N, C)`` probabilities, perhaps of further texts."""
        exact = probabilities.astype(np.float64)
        if model.multi_label:
            decisions = exact >= np.array(model.thresholds)
            labels = decisions.sum(axis=0)
            confidence = np.where(decisions, exact, 1 - exact).prod(axis=1)
        else:
            labels = np.bincount(model.decide(exact), minlength=exact.shape[1])
            confidence = exact.max(axis=1)
        confidence = np.round(confidence / STEP) * STEP
        return replace(
            self,
            rows=len(exact),
            labels=tuple(labels.tolist()),
            confidence_sum=float(confidence.sum()),
            confidence=histogram("confidence", confidence),
        )

    def __add__(self, other: Self) -> Self:
        """The sums of the texts of both."""
        return self._combine(other, 1)

    def __sub__(self, earlier: Self) -> Self:
        """The sums of the texts since ``earlier``, e.g. since an earlier look at a service."""
        return self._combine(earlier, -1)

    def _combine(self, other: Self, sign: int) -> Self:
        if len(self.labels) != len(other.labels):
            raise ValueError(f"expected sums of {len(self.labels)} labels, found {len(other.labels)}")
        values: dict[str, Any] = {}
        for name, own in vars(self).items():
            change = getattr(other, name)
            if isinstance(own, tuple):
                values[name] = tuple(a + sign * b for a, b in zip(own, change, strict=True))
            else:
                values[name] = own + sign * change
        return type(self)(**values)

    def without_features(self) -> Self:
        """The same without what depends on the rows of the embedding, for a model that has lost some."""
        empty = self.empty(0)
        return replace(self, novelty=empty.novelty, unknown=empty.unknown, features=0, unknown_features=0)

    @property
    def n_measured(self) -> int:
        """Texts whose features were counted."""
        return sum(self.words)

    @property
    def mean_confidence(self) -> float:
        """Mean probability that a prediction is right; NaN without texts."""
        return self.confidence_sum / self.rows if self.rows else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """Plain data, some hundred bytes as JSON."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], n_labels: int) -> Self:
        """Read plain data, of a model file or of anyone.

        Raises:
            ModelFileError: a value is missing, unknown or illegal.
        """
        empty = vars(cls.empty(n_labels))
        if not isinstance(values, Mapping) or values.keys() != empty.keys():
            raise ModelFileError(f"expected the sums {', '.join(empty)}, found others", location="drift")
        read: dict[str, Any] = {}
        for name, like in empty.items():
            value, types = values[name], (int, float) if name == "confidence_sum" else (int,)
            numbers = value if isinstance(like, tuple) else [value]
            is_long = isinstance(numbers, list) and (numbers is not value or len(numbers) == len(like))
            if not is_long or not all(type(n) in types and 0 <= n < MAX_ROWS for n in numbers):
                raise ModelFileError(f"expected counts in {name!r}, found {value!r:.60}", location="drift")
            read[name] = tuple(numbers) if isinstance(like, tuple) else value
        sums = cls(**read)
        fits = sum(sums.confidence) == sums.rows >= max(sums.labels, default=0)
        if not fits or sum(sums.unknown) not in (0, sums.n_measured):
            raise ModelFileError("expected sums of the same texts, found others", location="drift")
        return sums


def histogram(name: str, values: NDArray[Any]) -> Counts:
    """Count values in the bins of :data:`BOUNDS`."""
    bounds = BOUNDS[name]
    return tuple(np.bincount(np.searchsorted(bounds, values), minlength=len(bounds) + 1).tolist())


def measure_features(
    model: Model,
    features: Ragged,
    n_unknown: NDArray[np.int64],
    logits: NDArray[np.float32],
    n_unknown_later: NDArray[np.int64] | None = None,
) -> dict[str, NDArray[Any]]:
    """Measure ``N`` texts: what :class:`DriftSums` sums of features, each ``(N,)``; arguments as there."""
    rows, ngrams = features.rows(model.features.n_rows), model.features.ngrams
    n_known = model.features.n_known(rows)
    n_features = rows.lengths - model.features.n_special + n_unknown
    if n_unknown_later is not None:
        n_known, n_unknown = n_known + n_unknown - n_unknown_later, n_unknown_later
    known = (n_known > 0) | (model.features.n_known(features) > 0)
    n_unknown_features = n_features - n_known
    # A text of n words has n words, n - 1 word pairs, and so on. Letters of scripts without blanks have more
    # n-grams and count about twice, in the sums and in the texts compared with them alike.
    n_words = (n_features + ngrams * (ngrams - 1) // 2) // ngrams
    measures: dict[str, NDArray[Any]] = {
        "unknown": np.where(known, n_unknown_features / np.maximum(n_features, 1), 1.0),
        "words": np.where(n_features > 0, n_words, 0),
        "features": n_features,
        "unknown_features": n_unknown_features,
    }
    if model.novelty_reference is not None and len(logits):
        n_rows = n_features + model.features.n_special - n_unknown
        novelty = model.novelty_reference.novelty(n_unknown, n_rows, logits)
        measures["novelty"] = np.where(known, novelty, 1.0)
    return measures
