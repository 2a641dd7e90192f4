"""How unlike the training texts a text is, by reference to texts that training did not see.

Two things give a foreign text away. Many of its words and n-grams are no rows; and what is known of it
speaks for no class, so that the logits have little evidence ``log sum exp`` (the negative free energy of
arXiv 2010.03759). Both depend on the text's sums alone, and their deviations from what is usual, in standard
deviations, are added:

    unknown = (features that are no row + 10 p) / (features + 10)        p: their usual share
    score   = (unknown - mean) / deviation  +  (mean' - log sum exp(logits)) / deviation'

The 10 features of the usual kind keep a short text from being novel for one word. Novelty is the share of the
texts held back whose score is smaller. Beyond 0.99, where such texts are few, 1 minus the novelty falls with
``exp(-score)``, so that no two scores are equally novel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from token2wave.errors import ModelFileError

LEVELS = (0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
"""Shares of the texts held back whose largest score is stored."""
MIN_TEXTS = 20  # held back; of fewer no share can be told
USUAL_FEATURES = 10.0
MIN_DEVIATIONS = (0.01, 0.05)  # of the share of unknown features, and of the evidence
DIGITS = 5

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class NoveltyReference:
    """What is usual in texts that training did not see.

    Attributes:
        usual_share: of all their features, those that are no row.
        unknown: mean and standard deviation of ``unknown``.
        evidence: mean and standard deviation of ``log sum exp`` of the logits.
        scores: score at each of `LEVELS`, none smaller than the one before.
    """

    usual_share: float
    unknown: tuple[float, float]
    evidence: tuple[float, float]
    scores: tuple[float, ...]

    @classmethod
    def of(
        cls, n_unknown: NDArray[np.int64], n_known: NDArray[np.int64], logits: NDArray[np.float32]
    ) -> NoveltyReference | None:
        """Take the reference from texts that training did not see; None if they are too few.

        Args:
            n_unknown: ``(N,)``, words and n-grams of each text that are no row.
            n_known: ``(N,)``, those that are.
            logits: ``(N, C)``.
        """
        if len(logits) < MIN_TEXTS:
            return None
        share = float(n_unknown.sum() / max((n_unknown + n_known).sum(), 1))
        unknown, evidence = _unknown(n_unknown, n_known, share), _evidence(logits)
        known = cls(share, _spread(unknown, 0), _spread(evidence, 1), ())
        scores = np.quantile(known._scores(unknown, evidence), LEVELS)
        return cls(_rounded(share), known.unknown, known.evidence, tuple(map(_rounded, scores)))

    def novelty(
        self, n_unknown: NDArray[np.int64], n_known: NDArray[np.int64], logits: NDArray[np.float32]
    ) -> Numbers:
        """Novelty of ``N`` texts, ``(N,)`` from 0 to 1; the arguments are those of :meth:`of`."""
        unknown = _unknown(n_unknown, n_known, self.usual_share)
        found = self._scores(unknown, _evidence(logits))
        beyond = np.maximum(found - self.scores[-1], 0)
        shares: Numbers = np.interp(found, self.scores, LEVELS) + (1 - LEVELS[-1]) * -np.expm1(-beyond)
        return shares

    def _scores(self, unknown: Numbers, evidence: Numbers) -> Numbers:
        strange = (unknown - self.unknown[0]) / self.unknown[1]
        silent = (self.evidence[0] - evidence) / self.evidence[1]
        scores: Numbers = strange + silent
        return scores

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the model file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """Read it from a model file.

        Raises:
            ModelFileError: a number is missing, or is none.
        """
        try:
            read = cls(
                float(found["usual_share"]),
                _pair(found["unknown"]),
                _pair(found["evidence"]),
                tuple(map(float, found["scores"])),
            )
            numbers = np.array([read.usual_share, *read.unknown, *read.evidence, *read.scores])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ModelFileError(
                f"expected numbers in the section 'novelty', found others ({error})"
            ) from error
        increasing = len(read.scores) == len(LEVELS) and (np.diff(read.scores) >= 0).all()
        legal = np.abs(numbers).max() < 1e30 and min(read.unknown[1], read.evidence[1]) > 0
        if not (increasing and legal and 0 <= read.usual_share <= 1):
            raise ModelFileError(
                f"expected finite numbers and {len(LEVELS)} increasing scores in the section 'novelty'"
            )
        return read


def _unknown(n_unknown: NDArray[np.int64], n_known: NDArray[np.int64], usual: float) -> Numbers:
    shares: Numbers = (n_unknown + USUAL_FEATURES * usual) / (n_unknown + n_known + USUAL_FEATURES)
    return shares


def _evidence(logits: NDArray[np.float32]) -> Numbers:
    """``log sum exp`` of each text's logits."""
    exact = logits.astype(np.float64)
    highest = exact.max(axis=1)
    evidence: Numbers = highest + np.log(np.exp(exact - highest[:, None]).sum(axis=1))
    return evidence


def _spread(values: Numbers, of: int) -> tuple[float, float]:
    return _rounded(values.mean()), _rounded(max(values.std(), MIN_DEVIATIONS[of]))


def _rounded(number: float) -> float:
    """Few digits, which are few bytes in the file."""
    return float(f"{number:.{DIGITS}g}")


def _pair(found: Any) -> tuple[float, float]:
    first, second = found
    return float(first), float(second)
