"""Repeated, interleaved timing of cases that grow, and the slope of a line through them on a log-log plot."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from measuring import ROOT  # noqa: F401 - makes paper importable
from torch.utils._python_dispatch import TorchDispatchMode

from paper.studies.timing import MAX_CALLS, SLOW_RUNS, fit_exponent, without_collector

MATRIX_PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")
ATTENTION = "scaled_dot_product"
SLOW_SECONDS = 2.0  # a case slower than this is repeated `SLOW_RUNS` times at most
MEMORY_LIMIT = 12 << 30


@dataclass
class Point:
    """One size of a curve, with a value a repetition in the curve's unit."""

    size: int
    values: list[float] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def median(self) -> float:
        """Median of the repetitions."""
        return statistics.median(self.values)


@dataclass
class Curve:
    """How one quantity grows, in ``s`` or ``bytes``; ``stopped`` is the first size left out, and why."""

    name: str
    panel: str
    unit: str = "s"
    facts: dict[str, Any] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)
    stopped: dict[str, Any] | None = None

    def point(self, size: int) -> Point:
        """The point of a size, made where there is none yet."""
        point = next((point for point in self.points if point.size == size), None)
        if point is None:
            point = Point(size)
            self.points = sorted([*self.points, point], key=lambda point: point.size)
        return point

    def to_dict(self, bounds: tuple[int, int]) -> dict[str, Any]:
        """Everything about it, with one line fitted to all of it and one within bounds."""
        return {
            "name": self.name,
            "panel": self.panel,
            "unit": self.unit,
            **self.facts,
            "fit": self.fit(self.points[0].size, self.points[-1].size),
            "fit_within": self.fit(*bounds),
            "stopped": self.stopped,
            "points": [
                {"size": point.size, "median": point.median, "values": point.values, **point.facts}
                for point in self.points
            ],
        }

    def fit(self, first: int, last: int) -> dict[str, Any] | None:
        """Fit a line to the points from one size to another; None where there are fewer than two."""
        points = [point for point in self.points if first <= point.size <= last and point.median > 0]
        if len(points) < 2:
            return None
        medians = [point.median for point in points]
        fitted = fit_exponent([point.size for point in points], medians)
        assert fitted is not None
        return {
            "from": points[0].size,
            "to": points[-1].size,
            "slope": fitted["exponent"],
            "standard_error": fitted["standard_error"],
            "last_over_first": medians[-1] / medians[0],
            "largest_over_smallest": max(medians) / min(medians),
        }


@dataclass
class Case:
    """Work to be timed for a size of a curve; ``prepare`` is called before a run of calls, and not timed."""

    curve: Curve
    size: int
    call: Callable[[], object]
    prepare: Callable[[], object] = lambda: None
    bytes_needed: int = 0
    calls: int = 1
    expected: float = 0.0

    def run(self) -> float:
        """Seconds of one call, as the mean over ``calls`` of them."""
        self.prepare()
        faults, start = page_faults(), time.perf_counter()
        for _ in range(self.calls):
            self.call()
        seconds = (time.perf_counter() - start) / self.calls
        if faults is not None:
            faults = (page_faults() or 0) - faults
            self.curve.point(self.size).facts["page_faults"] = round(faults / self.calls, 1)
        return seconds


def measure(cases: Sequence[Case], *, runs: int, longest: float, shortest: float = 0.03) -> None:
    """Time all cases into their curves, those of one curve by increasing size.

    The cases take turns: a slow minute of the machine falls on all of them, and the median over the runs
    leaves it out. Every second run goes backwards. A curve stops before the first case that is expected to
    take longer than ``longest`` seconds; a repetition takes ``shortest``, by several calls if need be.
    """
    with without_collector():
        chosen = [case for case in cases if _is_measured(case, cases, longest, shortest)]
        for run in range(runs):
            for case in chosen if run % 2 == 0 else chosen[::-1]:
                if run < SLOW_RUNS or case.expected < SLOW_SECONDS:
                    case.curve.point(case.size).values.append(case.run())


def _is_measured(case: Case, cases: Sequence[Case], longest: float, shortest: float) -> bool:
    """Call a case for the first time, unless its curve has to stop before it."""
    if case.curve.stopped is not None:
        return False
    earlier = [other for other in cases if other.curve is case.curve and other.expected > 0]
    expected = _extrapolated(earlier, case.size)
    reason = None
    if case.bytes_needed > MEMORY_LIMIT:
        reason = f"needs about {case.bytes_needed / 2**30:.0f} GiB, over the limit of {MEMORY_LIMIT >> 30}"
    elif expected > longest:
        reason = f"expected to take {expected:.0f} s, over the limit of {longest:g} s"
    if reason is not None:
        case.curve.stopped = {"size": case.size, "reason": reason}
        return False
    case.expected = case.run()
    if case.expected < SLOW_SECONDS:  # the first call also pays for what happens once
        case.expected = min(case.expected, case.run())
    case.calls = min(max(1, math.ceil(shortest / case.expected)), MAX_CALLS)
    return True


def _extrapolated(earlier: Sequence[Case], size: int) -> float:
    """Seconds that a size is expected to take by the two before it; growth below linear is not trusted."""
    if len(earlier) < 2:
        return 0.0
    previous, last = earlier[-2:]
    slope = math.log(last.expected / previous.expected) / math.log(last.size / previous.size)
    return float(last.expected * (size / last.size) ** min(max(slope, 1.0), 2.5))


def page_faults() -> int | None:
    """Pages of memory that this process had to ask the system for so far; None where it does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    faults: int = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    return faults


class OperationTimes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sums the seconds of matrix products and of attention while it is active, at next to no cost."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seconds = {"matrix_products": 0.0, "attention": 0.0}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation, and time it."""
        start = time.perf_counter()
        result = func(*args, **(kwargs or {}))
        seconds = time.perf_counter() - start
        name = func.name().split(".")[0]
        if name in MATRIX_PRODUCTS:
            self.seconds["matrix_products"] += seconds
        elif ATTENTION in name:
            self.seconds["attention"] += seconds
        return result


def time_fractions(call: Callable[[], object], seconds: float) -> dict[str, float]:
    """Fraction of a call's ``seconds`` that goes into matrix products and into attention."""
    call()  # to warm up
    with OperationTimes() as times:
        call()
    return {name: round(min(spent / seconds, 1.0), 4) for name, spent in times.seconds.items()}
