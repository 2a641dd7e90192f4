"""Habits of every command: quiet, verbose, JSON alone on standard output."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_helpers import TINY

FILES = (
    ["train", "reviews.csv", "--out", "new.safetensors", *TINY],
    ["update", "model.safetensors", "reviews.csv", "--out", "new.safetensors", "--epochs", "1"],
    ["compress", "model.safetensors", "--data", "reviews.csv", "--out", "new.safetensors"],
    ["export", "model.safetensors", "--to", "html", "--out", "page.html"],
    ["score", "model.safetensors", "reviews.csv", "--output", "scored", "--prefix", "p_", "--workers", "1"],
)
"""Commands that write files."""
ANSWERS = (
    ["evaluate", "model.safetensors", "reviews.csv"],
    ["predict", "model.safetensors", "great film"],
    ["explain", "model.safetensors", "great film"],
    ["info", "model.safetensors"],
)
"""Commands that print what the user asks for."""


def name(command: list[str]) -> str:
    return command[0]


@pytest.fixture(autouse=True)
def files(train_csv: Path, model: Path, workplace: Path) -> None:
    (workplace / "model.safetensors").write_bytes(model.read_bytes())


@pytest.mark.parametrize("command", [*FILES, *ANSWERS], ids=name)
def test_json_stands_alone(run_cli, command):
    outcome = run_cli(*command, "--json")
    assert outcome.status == 0, outcome.err
    json.loads(outcome.out)
    assert outcome.out.count("\n") == 1


@pytest.mark.parametrize("command", FILES, ids=name)
@pytest.mark.parametrize("place", ["program", "command"])
def test_quiet_commands_that_write_files_print_nothing(run_cli, command, place):
    outcome = run_cli(*(["--quiet", *command] if place == "program" else [*command, "-q"]))
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "")
    assert len(list(Path().iterdir())) == 3
    Path("reviews.csv").unlink()
    Path("model.safetensors").unlink()
    assert run_cli("--quiet", *command).error


@pytest.mark.parametrize("command", ANSWERS, ids=name)
def test_quiet_commands_print_what_is_asked_for(run_cli, command):
    spoken, outcome = run_cli(*command), run_cli(*command, "--quiet")
    assert (outcome.out, outcome.err) == (spoken.out, "")
    assert run_cli(*command, "--quiet", "--json").document


def test_one_quiet_command_leaves_the_next_one_as_it_was(run_cli):
    run_cli(*FILES[0], "--quiet")
    assert "epoch 1: train loss" in run_cli(*FILES[0]).err


def test_quiet_and_verbose_exclude_each_other(run_cli):
    for arguments in (["--quiet", "info", "m", "--verbose"], ["info", "m", "-q", "-v"]):
        assert "--quiet and --verbose exclude each other" in run_cli(*arguments).error
