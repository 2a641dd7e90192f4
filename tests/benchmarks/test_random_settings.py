"""The sweep over random settings, in small: no run fails, and one that does is noticed."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import random_settings
from random_settings import HOSTILE, drawn, generated, problem_of, run

from token2wave.core import load_core

SEED = 5
QUICK = 30  # rows


@pytest.mark.skipif(load_core() is None, reason="the numpy twin takes its time")
@pytest.mark.parametrize("number", range(10))
def test_no_run_fails(number):
    case = drawn(SEED, number)
    few = dataclasses.replace(
        case, rows=min(case.rows, QUICK), classes=min(case.classes, QUICK // 2), lengths="usual"
    )
    settings = {**few.settings, "recipe.epochs": 1, "network.width": min(few.settings["network.width"], 64)}
    document = run(dataclasses.replace(few, settings=settings), SEED)
    assert document["problem"] is None, f"seed {SEED}, case {number}"
    json.dumps(document, allow_nan=False)


def test_cases_are_drawn_by_seed_and_number_alone():
    assert drawn(1, 3) == drawn(1, 3)
    assert generated(drawn(1, 3), 1) == generated(drawn(1, 3), 1)
    assert len({str(drawn(1, number).settings) for number in range(20)}) == 20


def test_cases_reach_far():
    cases = [drawn(0, number) for number in range(200)]
    rates = [case.settings["recipe.lr"] for case in cases]
    assert max(rates) / min(rates) > 1e8
    widths = {case.settings["network.width"] for case in cases}
    assert {8, 1024} <= widths
    batches = [case.settings["recipe.batch_size"] for case in cases]
    assert min(batches) <= 2
    assert max(batches) >= 3000
    assert {500, 2} <= {case.classes for case in cases}
    assert 2 in {case.rows for case in cases}
    assert {case.preset for case in cases} == {"small", "fast", "paper"}
    assert any(case.weighted for case in cases)


def test_failures_are_noticed(monkeypatch):
    def train(*_, **__):
        np.log(np.zeros(1))  # a warning

    monkeypatch.setattr(random_settings.token2wave, "train", train)
    case = dataclasses.replace(drawn(0, 0), rows=4, classes=2)
    assert "RuntimeWarning: divide by zero" in run(case, 0)["problem"]


@pytest.mark.parametrize(
    ("trained", "loaded", "problem"),
    [
        ([0.5, 0.5], [0.5, 0.5], None),
        ([np.nan, 0.5], [0.5, 0.5], "a probability is not finite"),
        ([0.5, 0.6], [0.5, 0.6], "probabilities do not sum to one"),
        ([0.5, 0.5], [0.4, 0.6], "the loaded model predicts otherwise"),
    ],
)
def test_what_is_a_problem(trained, loaded, problem):
    def model(row):
        rows = np.tile(np.array(row, dtype=np.float32), (len(HOSTILE), 1))
        return SimpleNamespace(probabilities=lambda _: rows, computes_with="numpy")

    assert problem_of(model(trained), model(loaded)) == problem
