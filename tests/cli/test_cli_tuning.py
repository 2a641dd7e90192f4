"""The command line of searches and sizes."""

from __future__ import annotations

import pytest
from cli_helpers import TINY


def test_a_search(run_cli, train_csv):
    done = run_cli("train", train_csv, "--out", "m.safetensors", "--candidates", 4, "--json", *TINY)
    assert done.status == 0, done.err
    search = done.document["search"]
    assert len(search["trials"]) == 4
    fixed = {"recipe.epochs", "network.width", "network.context_width", "features.bits"}
    assert not fixed & {name for trial in search["trials"] for name in trial["settings"]}
    assert "search, candidate 1: validation accuracy " in done.err
    assert done.err.count("search, candidate ") == sum(
        trial["outcome"] != "dropped" for trial in search["trials"]
    )
    assert done.err.index("search: 4 tried in") < done.err.index("training, epoch 1")


def test_time_budget_and_max_size(run_cli, train_csv, workplace):
    done = run_cli(
        "train", train_csv, "--out", "m.safetensors", "--time-budget", "1ms", "--max-size", "6kB", *TINY
    )
    assert done.status == 0, done.err
    assert (workplace / "m.safetensors").stat().st_size <= 6_000
    assert "at most 6 kB asked for" in done.out
    assert "Search " in done.out
    assert "before its second candidate" in done.out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--time-budget", "60 parsecs"], ["time_budget", "60s, 5min or 2h", "'60 parsecs'"]),
        (["--time-budget", "-3s"], ["time_budget", "'-3s'"]),
        (["--max-size", "60 parsecs"], ["max_size", "1MB", "'60 parsecs'"]),
        (["--max-size", "1kB", "--set", "network.width=512"], ["max_size", "narrower"]),
        (["--candidates", "0"], ["candidates", "at least 1"]),
    ],
)
def test_search_errors(run_cli, train_csv, workplace, arguments, expected):
    error = run_cli("train", train_csv, "--out", "m.safetensors", *arguments).error
    for text in expected:
        assert text in error
    assert not (workplace / "m.safetensors").exists()


def test_first_interruption_ends_the_search_second_ends_the_run(run_cli, train_csv, workplace, monkeypatch):
    from token2wave.errors import Interruption
    from token2wave.tuning.search import Search

    original, n_calls = Search._score, []

    def interrupted(*arguments):
        n_calls.append(1)
        if len(n_calls) == 3:
            raise Interruption("interrupted; nothing was written")
        return original(*arguments)

    monkeypatch.setattr(Search, "_score", interrupted)
    done = run_cli("train", train_csv, "--out", "m.safetensors", "--time-budget", "1h", *TINY)
    assert done.status == 0, done.err
    assert "ended by interruption" in done.out
    assert "Ctrl-C again stops that, too" in done.err
    assert (workplace / "m.safetensors").exists()
