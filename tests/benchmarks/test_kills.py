"""Training that is killed at random moments: what ``benchmarks/reliability.py`` does a hundred times."""

from __future__ import annotations

import random

import kills
import pytest

SETTINGS = ("--no-prior", "--set", "features.bits=14", "--set", "network.width=8")
CONTEXT = ("--set", "network.context_width=8")
JOBS = (
    kills.Job("fast", ("--preset", "fast", "--epochs", "8", *SETTINGS), n_rows=400),
    kills.Job("small", ("--preset", "small", "--epochs", "4", *SETTINGS, *CONTEXT), n_rows=200),
)


@pytest.mark.parametrize(("job", "n_kills"), [(JOBS[0], 2), (JOBS[1], 1)], ids=("fast", "small"))
def test_a_run_that_is_killed_ends_as_one_that_is_not(job, n_kills, tmp_path):
    seed = random.SystemRandom().randrange(1 << 31)
    found = kills.kill_often(job, tmp_path, n_kills=n_kills, per_run=2, seed=seed)
    assert not found["faults"], f"seed {seed}: {found['faults']}"
    assert found["same"] == found["runs"] > 0
    assert found["kills"] == n_kills
    assert found["looks"] > 0


def test_a_reader_would_tell(tmp_path):
    """Half a file is seen."""
    tally = kills.Tally()
    model, checkpoint = tmp_path / "model", tmp_path / "checkpoint"
    model.write_bytes(b"old")
    with kills._reading(model, checkpoint, {b"old", b"new"}, tally):
        model.write_bytes(b"n")
        checkpoint.write_bytes(b"half")
        while len(tally.faults) < 2:
            pass
    assert any("neither the old nor the new" in fault for fault in tally.faults)
    assert any("damaged" in fault for fault in tally.faults)
