"""Scores and grades from a network's decisions: whether a text's score is above each of some cut points.

A network learns ``K`` binary decisions, "the score is above cut ``k``", as it learns the labels of
multi-label texts. This is the cumulative form of ordinal regression (Frank and Hall 2001,
doi 10.1007/3-540-44795-4_13). The cuts part the scores into ``C = K + 1`` classes: the grades, or ranges of
scores. Everything else follows from the probabilities of these classes, here and nowhere else.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from token2wave.errors import ConfigError, ModelFileError

TARGETS = ("score", "ordinal")
INTERVAL = 0.8
"""Fraction of texts whose true score lies in their interval, if they are like the validation texts."""
MAX_CUTS = 99
TEXTS_CHUNK = 4096  # bounds memory
TINY = 1e-9  # probability, so that its logarithm is finite

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ScoreScale:
    """What the classes of a model of scores mean.

    Attributes:
        target: ``ordinal`` for grades, ``score`` for any numbers.
        cuts: ``K`` increasing numbers between the classes. Class ``c`` has the scores above ``cuts[c - 1]``
            that are not above ``cuts[c]``.
        levels: ``C`` increasing numbers: the grades, or the mean training score of each range.
        lowest: no score or interval is below it.
        highest: no score or interval is above it.
        slope: of the line that makes scores right on average for validation texts.
        intercept: of this line.
        interval_factor: half the width of an interval in standard deviations; None if no validation texts
            could be held out to measure it.

    Raises:
        ConfigError: the numbers are no scale.
    """

    target: str
    cuts: tuple[float, ...]
    levels: tuple[float, ...]
    lowest: float
    highest: float
    slope: float = 1.0
    intercept: float = 0.0
    interval_factor: float | None = None

    def __post_init__(self) -> None:
        factor = 1.0 if self.interval_factor is None else self.interval_factor
        edges = [(self.lowest, *self.cuts, self.highest), self.levels]
        is_scale = (
            self.target in TARGETS
            and 1 <= len(self.cuts) == len(self.levels) - 1 <= MAX_CUTS
            and all(map(math.isfinite, (*edges[0], *self.levels, self.slope, self.intercept, factor)))
            and all(np.all(np.diff(numbers) > 0) for numbers in (self.cuts, self.levels))
            and self.lowest <= self.levels[0]
            and self.levels[-1] <= self.highest
            and self.slope > 0
            and factor >= 0
        )
        if not is_scale:
            raise ConfigError(
                "expected increasing cuts and levels of a scale, found others", location="scale"
            )

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the ``C`` classes: the grades, or ranges such as ``2.5 to 3``."""
        if self.target == "ordinal":
            return tuple(f"{level:.15g}" for level in self.levels)
        edges = (self.lowest, *self.cuts, self.highest)
        for digits in range(3, 18):
            numbers = [f"{edge:.{digits}g}" for edge in edges]
            if len(set(numbers[1:-1])) == len(self.cuts):
                break
        return tuple(f"{low} to {high}" for low, high in itertools.pairwise(numbers))

    def classes_of(self, scores: NDArray[Any] | Sequence[float]) -> NDArray[np.int64]:
        """Find the class of each true score, ``(N,)`` int64."""
        return np.searchsorted(self.cuts, np.asarray(scores, dtype=np.float64), side="left")

    def class_probabilities(self, decisions: NDArray[np.floating]) -> NDArray[np.float32]:
        """Turn probabilities ``(N, K)`` that a score is above each cut into those of classes ``(N, C)``.

        A score above a cut is above all lower ones, but the network does not know that its probabilities
        must not increase with ``k``. The nearest sequence that does not, by squared differences, replaces
        them (isotonic regression). It has the same sum.
        """
        classes = np.empty((len(decisions), len(self.levels)), dtype=np.float32)
        for first in range(0, len(decisions), TEXTS_CHUNK):
            above = _isotonic(decisions[first : first + TEXTS_CHUNK].astype(np.float64))
            edges = np.ones((len(above), 1))
            padded = np.concatenate([edges, above, 0 * edges], axis=1)
            classes[first : first + TEXTS_CHUNK] = padded[:, :-1] - padded[:, 1:]
        return classes

    def class_logits(self, logits: NDArray[np.floating]) -> Floats:
        """Turn the network's logits ``(N, K)`` into logarithms of class probabilities, ``(N, C)``."""
        with np.errstate(over="ignore"):
            decisions = 1 / (1 + np.exp(-logits.astype(np.float64)))
        return np.log(np.maximum(self.class_probabilities(decisions).astype(np.float64), TINY))

    def decide(self, probabilities: NDArray[np.floating]) -> NDArray[np.int64]:
        """Choose the median class of each text, ``(N,)``: no other has a smaller expected absolute error."""
        above = 1 - np.cumsum(probabilities.astype(np.float64), axis=1)[:, :-1]
        return np.asarray((above > 0.5).sum(axis=1))

    def scores(self, probabilities: NDArray[np.floating]) -> NDArray[np.float32]:
        """Compute the expected score of each text, ``(N,)`` float32.

        Args:
            probabilities: of the classes, ``(N, C)``.
        """
        return self._clip(self._means(probabilities))

    def intervals(self, probabilities: NDArray[np.floating]) -> NDArray[np.float32] | None:
        """Compute an interval for the true score of each text, ``(N, 2)`` float32.

        It covers :data:`INTERVAL` of the texts that are like the validation texts. It is the wider the less
        the classes agree: a multiple of the standard deviation, which validation has chosen (split conformal
        prediction, arXiv 1604.04173). None if there were no validation texts.
        """
        if self.interval_factor is None:
            return None
        means = self._means(probabilities)
        margins = self.interval_factor * self.deviations(probabilities)
        return np.stack([self._clip(means - margins), self._clip(means + margins)], axis=1)

    def deviations(self, probabilities: NDArray[np.floating]) -> Floats:
        """Compute the standard deviation of the score of each text, ``(N,)``; never zero."""
        levels = np.array(self.levels)
        centred = levels - levels.mean()
        weights = probabilities.astype(np.float64)
        variances = weights @ centred**2 - (weights @ centred) ** 2
        least = float(levels[-1] - levels[0]) / len(self.cuts) / 2  # scores differ within a class, too
        return np.asarray(np.sqrt(np.maximum(variances, 0) + least**2))

    def _means(self, probabilities: NDArray[np.floating]) -> Floats:
        means = probabilities.astype(np.float64) @ np.array(self.levels)
        return np.asarray(self.intercept + self.slope * means)

    def _clip(self, scores: Floats) -> NDArray[np.float32]:
        return np.clip(scores, self.lowest, self.highest).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that JSON can hold."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild a scale of a model file.

        Raises:
            ModelFileError: the data is no scale.
        """
        try:
            numbers: dict[str, Any] = {
                name: tuple(map(float, value)) if isinstance(value, list) else value
                for name, value in values.items()
            }
            return cls(**numbers)
        except (ConfigError, TypeError, ValueError, OverflowError) as error:
            raise ModelFileError("expected a scale of scores in the section 'scale'") from error


def _isotonic(values: Floats) -> Floats:
    """Find the nearest rows that do not increase, ``(N, K)``, by squared differences.

    ``g[k]`` is the minimum over ``i <= k`` of the maximum over ``j >= k`` of the mean of ``values[i..j]``
    (Robertson, Wright and Dykstra 1988, theorem 1.4.4).
    """
    n_rows, n_values = values.shape
    sums = np.concatenate([np.zeros((n_rows, 1)), np.cumsum(values, axis=1)], axis=1)
    places = np.arange(n_values)
    sizes = places[None, :] - places[:, None] + 1  # of values[i..j]
    means = np.where(sizes > 0, (sums[:, None, 1:] - sums[:, :-1, None]) / np.maximum(sizes, 1), -np.inf)
    largest = np.maximum.accumulate(means[:, :, ::-1], axis=2)[:, :, ::-1]  # over j >= k
    smallest = np.minimum.accumulate(largest, axis=1)  # over i
    return np.clip(smallest[:, places, places], 0.0, 1.0)
