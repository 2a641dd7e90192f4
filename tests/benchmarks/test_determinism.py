"""What the bytes of a model depend on: what ``benchmarks/reliability.py`` measures, in small, with bounds."""

from __future__ import annotations

import determinism
import kills
import pytest

from token2wave.data import load_split

SETTINGS = ("--set", "features.bits=13", "--set", "network.width=8", "--set", "network.context_width=8")
JOB = kills.Job("small", ("--preset", "small", "--epochs", "2", *SETTINGS), n_rows=300)
CLOSE = 1e-4
"""Of probabilities, between processors: sums of another order, over a training of many steps."""
ROUNDING = 2e-6
"""Of probabilities that one model gives."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("determinism")
    try:
        plain = determinism.build_plain(folder / "plain")
    except determinism.NoCompilerError:
        plain = None
    data = kills.write_rows(folder / "rows.csv", JOB.n_rows)
    return determinism.Bench(folder, data, load_split("debian-sections"), plain)


def test_the_same_file_wherever_it_is_trained(bench, monkeypatch):
    """All differences at once; the benchmark has each alone."""
    changes = ("PYTHONHASHSEED=4242", "locale C, time zone Tokyo")
    all_changes = determinism.PLACES[changes[0]] | determinism.PLACES[changes[1]]
    monkeypatch.setattr(determinism, "PLACES", {"the same again": {}, "another folder": all_changes})
    assert determinism.same_everywhere(bench, JOB) == {"job": "small", "processes": 2, "other": []}


def test_threads_change_nothing_and_processors_little(bench):
    conditions = determinism.THREADS | determinism.INSTRUCTIONS
    kept = ("3 threads", "core without AVX2 and FMA", "BLAS of Nehalem")
    rows = determinism.compared(bench, JOB, {name: conditions[name] for name in kept})
    assert rows[0]["same"]
    for row in rows[1:]:
        assert row["same"] or row["probability"] < CLOSE
        assert row["same"] or abs(row["accuracy"]) < 0.005


def test_a_model_says_the_same_in_every_way(bench):
    for row in determinism.engines(bench, JOB):
        assert row["probability"] < ROUNDING
        assert row["same"] or row["engine"] != "2 threads"
