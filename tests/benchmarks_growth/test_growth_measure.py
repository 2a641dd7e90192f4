"""The slope fit, the interleaved timing, and where a curve stops."""

import time

import pytest
import torch
from growth_measure import SLOW_RUNS, Case, Curve, Point, measure, time_fractions

SIZES = [32, 64, 128, 512, 2_048]


def test_a_curve_is_fitted_within_bounds_and_over_all():
    values = [1.0, 1.0, 1.0, 4.0, 16.0]  # flat, then linear
    curve = Curve(
        "name", "panel", points=[Point(size, [value]) for size, value in zip(SIZES, values, strict=True)]
    )
    found = curve.to_dict((128, 4_096))
    assert found["fit_within"]["slope"] == pytest.approx(1)
    assert (found["fit_within"]["from"], found["fit_within"]["to"]) == (128, 2_048)
    assert found["fit_within"]["last_over_first"] == 16
    assert 0 < found["fit"]["slope"] < 1
    assert curve.to_dict((1, 32))["fit_within"] is None
    assert [point["median"] for point in found["points"]] == values


def test_the_median_of_the_repetitions_counts():
    assert Point(1, [5.0, 1.0, 2.0]).median == 2


def test_cases_take_turns_and_are_prepared():
    order = []
    curve = Curve("name", "panel")

    def case(size):
        return Case(curve, size, lambda: order.append(size), lambda: order.append("prepared"))

    measure([case(1), case(2)], runs=4, longest=10, shortest=0)
    assert [len(point.values) for point in curve.points] == [4, 4]
    trial, timed = [1, 1, 2, 2], [1, 2, 2, 1, 1, 2, 2, 1]
    assert order[1::2] == trial + timed
    assert set(order[::2]) == {"prepared"}


def test_short_calls_are_repeated_within_a_repetition():
    calls = []
    curve = Curve("name", "panel")
    measure([Case(curve, 1, lambda: (time.sleep(1e-3), calls.append(1)))], runs=1, longest=10, shortest=0.02)
    assert 3 <= len(calls) <= 22
    assert curve.points[0].median >= 1e-3


def test_a_curve_stops_before_what_would_take_too_long():
    curve = Curve("name", "panel")
    cases = [
        Case(curve, size, lambda size=size: time.sleep(size * 1e-4)) for size in (10, 40, 10_000, 20_000)
    ]
    measure(cases, runs=1, longest=0.5)
    assert [point.size for point in curve.points] == [10, 40]
    assert curve.stopped["size"] == 10_000
    assert "over the limit of 0.5 s" in curve.stopped["reason"]


def test_a_curve_stops_before_what_would_take_too_much_memory():
    curve = Curve("name", "panel")
    measure([Case(curve, 1, lambda: 1 / 0, bytes_needed=1 << 40)], runs=1, longest=1)
    assert curve.stopped == {"size": 1, "reason": "needs about 1024 GiB, over the limit of 12"}


def test_slow_cases_are_repeated_less(monkeypatch):
    monkeypatch.setattr("growth_measure.SLOW_SECONDS", 0.0)
    curve = Curve("name", "panel")
    measure([Case(curve, 1, lambda: None)], runs=SLOW_RUNS + 2, longest=1)
    assert len(curve.points[0].values) == SLOW_RUNS


def test_shares_tell_products_from_the_rest():
    matrix = torch.randn(1_000, 1_000, requires_grad=True)

    def product():
        (matrix @ matrix).sum().backward()

    start = time.perf_counter()
    product()
    shares = time_fractions(product, time.perf_counter() - start)
    assert shares["matrix_products"] > 0.1
    assert shares["attention"] == 0
    assert time_fractions(lambda: matrix.exp(), 1.0) == {"matrix_products": 0.0, "attention": 0.0}
