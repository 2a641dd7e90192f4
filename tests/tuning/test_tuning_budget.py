"""Times as people write them, and what is left of them."""

import pytest

from token2wave.errors import ConfigError
from token2wave.tuning.budget import Budget, OutOfTime, parse_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (60, 60),
        (0.5, 0.5),
        ("60", 60),
        ("60s", 60),
        ("60 sec", 60),
        ("5min", 300),
        ("5 MIN", 300),
        ("1.5h", 5400),
        (".5m", 30),
        ("250ms", 0.25),
        ("2d", 172_800),
    ],
)
def test_times(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["60 parsecs", "", "s", "-5s", "0", 0, -1, float("nan"), float("inf"), "1e99", "1 2 s", "9999d", True],
)
def test_invalid_times_are_refused(text):
    with pytest.raises(ConfigError, match=r"time_budget: expected a time such as 60s, .* found") as error:
        parse_seconds(text)
    assert repr(text) in str(error.value)


def test_reserved_time_is_not_spent():
    now = [0.0]
    budget = Budget(90, clock=lambda: now[0])
    budget.require()
    now[0] = 29.0
    budget.require()
    now[0] = 31.0
    with pytest.raises(OutOfTime):  # a second fit would find no time
        budget.require()
    budget.reserve(10)
    budget.require(40)
    with pytest.raises(OutOfTime):
        budget.require(60)
    budget.exclude(20)
    budget.require(60)
    assert budget.spent == 11


def test_without_a_budget_time_is_never_over():
    budget = Budget(None)
    budget.reserve(1e9)
    budget.require(1e9)


@pytest.mark.parametrize("n", [0, -3])
def test_fewer_than_one_candidate_is_refused(n):
    with pytest.raises(ConfigError, match="candidates: expected at least 1"):
        Budget(None, n)
