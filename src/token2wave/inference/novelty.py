"""Measures how unlike the training texts a text is, compared with the validation texts.

An unusual text has many unknown words and n-grams, and its known ones are evidence for no class, so that
``log sum exp`` of the logits is small (the negative free energy of arXiv 2010.03759). Both depend on the
text's sums alone. The score adds their deviations from the validation texts, in standard deviations:

    unknown = (unknown features + 10 p) / (features + 10)        p: prior fraction of unknown features
    score   = (unknown - mean) / deviation  +  (mean' - log sum exp(logits)) / deviation'

The prior of 10 features keeps a short text from being novel for one word. Novelty is the fraction of
validation texts with a smaller score. Beyond 0.99, where validation texts are rare, 1 minus the novelty falls
with ``exp(-score)``, so that different scores never give the same novelty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from token2wave.errors import ModelFileError
from token2wave.inference.reference import require_finite

QUANTILES = (0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
"""Fractions of the validation texts for which the model file stores the score."""
MIN_TEXTS = 20  # validation texts; fewer give no fractions
PRIOR_FEATURES = 10.0
MIN_DEVIATIONS = (0.01, 0.05)  # of the fraction of unknown features, and of the evidence
DIGITS = 5

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class NoveltyReference:
    """Statistics of the validation texts.

    Attributes:
        usual_share: prior fraction of unknown features.
        unknown: mean and standard deviation of ``unknown``.
        evidence: mean and standard deviation of ``log sum exp`` of the logits.
        scores: score at each of `QUANTILES`, increasing.
    """

    usual_share: float
    unknown: tuple[float, float]
    evidence: tuple[float, float]
    scores: tuple[float, ...]

    @classmethod
    def of(
        cls, n_unknown: NDArray[np.int64], n_known: NDArray[np.int64], logits: NDArray[np.float32]
    ) -> NoveltyReference | None:
        """Measure the validation texts; None if they are too few.

        Args:
            n_unknown: ``(N,)``, unknown words and n-grams of each text.
            n_known: ``(N,)``, known ones.
            logits: ``(N, C)``.
        """
        if len(logits) < MIN_TEXTS:
            return None
        prior = float(n_unknown.sum() / max((n_unknown + n_known).sum(), 1))
        unknown, evidence = _unknown(n_unknown, n_known, prior), _evidence(logits)
        known = cls(prior, _spread(unknown, 0), _spread(evidence, 1), ())
        scores = np.quantile(known._scores(unknown, evidence), QUANTILES)
        return cls(_rounded(prior), known.unknown, known.evidence, tuple(map(_rounded, scores)))

    @np.errstate(all="ignore")
    def novelty(
        self, n_unknown: NDArray[np.int64], n_known: NDArray[np.int64], logits: NDArray[np.float32]
    ) -> Numbers:
        """Compute the novelty of ``N`` texts, ``(N,)`` from 0 to 1; arguments as for :meth:`of`.

        Raises:
            ModelFileError: the weights overflow, so a novelty is not finite.
        """
        unknown = _unknown(n_unknown, n_known, self.usual_share)
        scores = self._scores(unknown, _evidence(logits))
        beyond = np.maximum(scores - self.scores[-1], 0)
        tail = (1 - QUANTILES[-1]) * -np.expm1(-beyond)
        return require_finite(np.interp(scores, self.scores, QUANTILES) + tail)

    def _scores(self, unknown: Numbers, evidence: Numbers) -> Numbers:
        from_words = (unknown - self.unknown[0]) / self.unknown[1]
        return np.asarray(from_words + (self.evidence[0] - evidence) / self.evidence[1])

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the model file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read it from a model file.

        Raises:
            ModelFileError: a number is missing or illegal.
        """
        try:
            prior, scores = float(values["usual_share"]), tuple(map(float, values["scores"]))
            (mean, deviation), (mean_, deviation_) = (
                map(float, values[key]) for key in ("unknown", "evidence")
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ModelFileError(
                f"expected numbers in the section 'novelty', found other values ({error})"
            ) from error
        is_finite = np.abs([prior, mean, deviation, mean_, deviation_, *scores]).max() < 1e30
        increasing = len(scores) == len(QUANTILES) and (np.diff(scores) >= 0).all()
        if not (increasing and is_finite and min(deviation, deviation_) > 0 and 0 <= prior <= 1):
            raise ModelFileError(
                f"expected finite numbers and {len(QUANTILES)} increasing scores in the section 'novelty'"
            )
        return cls(prior, (mean, deviation), (mean_, deviation_), scores)


def _unknown(n_unknown: NDArray[np.int64], n_known: NDArray[np.int64], prior: float) -> Numbers:
    """Fraction of unknown features of each text."""
    return np.asarray((n_unknown + PRIOR_FEATURES * prior) / (n_unknown + n_known + PRIOR_FEATURES))


def _evidence(logits: NDArray[np.float32]) -> Numbers:
    """``log sum exp`` of each text's logits."""
    exact = logits.astype(np.float64)
    highest = exact.max(axis=1)
    return np.asarray(highest + np.log(np.exp(exact - highest[:, None]).sum(axis=1)))


def _spread(values: Numbers, of: int) -> tuple[float, float]:
    return _rounded(values.mean()), _rounded(max(values.std(), MIN_DEVIATIONS[of]))


def _rounded(number: float) -> float:
    """Round to few digits, to save bytes in the model file."""
    return float(f"{number:.{DIGITS}g}")
