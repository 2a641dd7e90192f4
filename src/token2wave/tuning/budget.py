"""The time budget of a settings search."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable

from token2wave.config import require
from token2wave.errors import ConfigError

SECONDS = {"": 1.0, "ms": 1e-3, "s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
MAX_SECONDS = 366 * 86_400.0
MIN_FITS = 3  # that the budget must have time for: the first candidate, a second one, and the final fit


class OutOfTime(Exception):  # noqa: N818 - it ends a search, and is not an error
    """The budget is spent. The current candidate is abandoned."""


def parse_seconds(budget: float | str) -> float:
    """Parse a time such as ``60``, ``"60s"``, ``"5min"`` or ``"1.5 h"``.

    Raises:
        ConfigError: it is not a time above zero, or is more than a year.
    """
    seconds = math.nan
    if not isinstance(budget, str):
        seconds = math.nan if isinstance(budget, bool) else float(budget)
    elif match := re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-z]*)\s*", budget.lower()):
        seconds = float(match[1]) * SECONDS.get(match[2], math.nan)
    if not 0 < seconds <= MAX_SECONDS:
        raise ConfigError(
            f"expected a time such as 60s, 5min or 2h, found {budget!r}",
            location="time_budget",
            hint="give seconds, or a number with s, min, h or d",
        )
    return seconds


class Budget:
    """The time of a run, what of it is reserved for its end, and the number of candidates.

    Your settings are the first candidate. None means no limit. Only finished candidates count, so time only
    decides how far a search gets.

    Raises:
        ConfigError: ``max_candidates`` is below 1.
    """

    def __init__(
        self,
        seconds: float | None,
        max_candidates: int | None = None,
        start: float | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        require(max_candidates is None or max_candidates >= 1, "candidates", "at least 1", max_candidates)
        self.max_candidates = math.inf if max_candidates is None else max_candidates
        self.clock = clock
        self.start = clock() if start is None else start
        self.seconds = math.inf if seconds is None else seconds
        self.reserved = self.seconds * (1 - 1 / MIN_FITS)

    def exclude(self, seconds: float) -> None:
        """Leave seconds that have passed out of the budget."""
        self.start += seconds

    @property
    def spent(self) -> float:
        """Seconds since the run began."""
        return self.clock() - self.start

    def reserve(self, seconds: float) -> None:
        """Reserve time for what follows the search."""
        self.reserved = seconds

    def require(self, seconds: float = 0.0) -> None:
        """Raise :class:`OutOfTime` unless the search has this much time left."""
        if self.spent + seconds > self.seconds - self.reserved:
            raise OutOfTime
