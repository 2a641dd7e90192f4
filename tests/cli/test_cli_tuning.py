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
    assert not fixed & {name for one in search["trials"] for name in one["settings"]}
    assert "Search " in done.out
    assert "4 tried in " in done.out
    assert "search, candidate 1: validation accuracy " in done.err
    assert done.err.count("search, candidate") == sum(one["outcome"] != "dropped" for one in search["trials"])
    assert done.err.index("search: 4 tried in") < done.err.index("training, epoch 1")


def test_a_time_and_a_size(run_cli, train_csv, workplace):
    done = run_cli(
        "train", train_csv, "--out", "m.safetensors", "--time-budget", "1ms", "--max-size", "6kB", *TINY
    )
    assert done.status == 0, done.err
    assert (workplace / "m.safetensors").stat().st_size <= 6_000
    assert "at most 6 kB asked for" in done.out
    assert "before a second candidate was tried" in done.out


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--time-budget", "60 parsecs"], ["time_budget", "60s, 5min or 2h", "'60 parsecs'"]),
        (["--time-budget", "-3s"], ["time_budget", "'-3s'"]),
        (["--max-size", "60 parsecs"], ["max_size", "1MB", "'60 parsecs'"]),
        (["--max-size", "1kB", "--set", "network.width=512"], ["max_size", "narrower"]),
        (["--candidates", "0"], ["candidates", "at least 1"]),
    ],
)
def test_wishes_that_cannot_be(run_cli, train_csv, workplace, arguments, parts):
    error = run_cli("train", train_csv, "--out", "m.safetensors", *arguments).error
    for part in parts:
        assert part in error
    assert not (workplace / "m.safetensors").exists()


def test_one_interruption_ends_the_search_and_a_second_one_all(run_cli, train_csv, workplace, monkeypatch):
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
