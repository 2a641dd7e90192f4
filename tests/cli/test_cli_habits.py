"""Habits of every command: quiet, verbose, JSON alone on standard output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_helpers import TINY

from token2wave.cli.arguments import GROUPS
from token2wave.reporting import terminal

FILES = (
    ["train", "reviews.csv", "--out", "new.safetensors", *TINY],
    ["update", "model.safetensors", "reviews.csv", "--out", "new.safetensors", "--epochs", "1"],
    ["compress", "model.safetensors", "--data", "reviews.csv", "--out", "new.safetensors"],
    ["export", "model.safetensors", "--to", "html", "--out", "page.html"],
    ["encode", "model.safetensors", "reviews.csv", "--output", "vectors.npy"],
    ["score", "model.safetensors", "reviews.csv", "--output", "scored", "--prefix", "p_", "--workers", "1"],
)
"""Commands that write files."""
ANSWERS = (
    ["evaluate", "model.safetensors", "reviews.csv"],
    ["predict", "model.safetensors", "great film"],
    ["explain", "model.safetensors", "great film"],
    ["info", "model.safetensors"],
    ["doctor", "model.safetensors"],
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
    outcome = run_cli(*FILES[0])
    assert "epoch 1: train loss" in outcome.err
    assert "\nseed = 0\n" in outcome.out  # the TOML has it in any case


def test_quiet_and_verbose_exclude_each_other(run_cli):
    for arguments in (["--quiet", "info", "m", "--verbose"], ["info", "m", "-q", "-v"]):
        assert "--quiet and --verbose exclude each other" in run_cli(*arguments).error


def test_verbose_logs_with_times_and_errors_have_a_traceback(run_cli):
    err = run_cli(*FILES[0], "--verbose").err
    assert "token2wave.stages: features of the training texts" in err
    assert "token2wave.results: " in err
    err = run_cli("train", "none.csv", "--out", "m", "-v").err
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("error: none.csv")


@pytest.mark.parametrize("is_terminal", [True, False])
def test_stages_go_to_a_log_and_bars_to_a_terminal(run_cli, monkeypatch, is_terminal):
    monkeypatch.setattr(terminal, "_is_terminal", lambda: is_terminal)
    err = run_cli(*FILES[0]).err
    assert "epoch 1: train loss" in err
    assert ("features of the training texts" in err) != is_terminal


def test_help_has_groups_and_lines_of_80_columns(run_cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = run_cli("train", "--help").out.splitlines()
    groups = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert groups == ["Arguments:", *(f"{group}:" for group in GROUPS)]
    assert max(map(len, lines)) <= 80


def test_help_of_a_command_and_the_version(run_cli):
    assert run_cli("help", "train").out == run_cli("train", "--help").out
    assert run_cli("help").out == run_cli("--help").out
    assert run_cli("-V").out == run_cli("--version").out


PROGRAM = "import sys; sys.argv[0] = 'token2wave'; from token2wave.cli.main import main; main()"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["tr"], ["train"]),
        (["train", "few.csv", "--pre"], ["--preset"]),
        (["train", "few.csv", "--preset", ""], ["small", "fast", "paper"]),
        (["train", "deb"], ["debian-sections"]),
        (["train", ""], []),
        (["train", "few.csv", "--device", "c"], ["cpu", "cuda"]),
        (["explain", "m", "--unit", "s"], ["sentence"]),
    ],
)
def test_completion(run_cli, monkeypatch, words, expected):
    for shell in ("bash", "zsh", "fish"):
        with monkeypatch.context() as patch:
            for variable, value in completion(shell, words).items():
                patch.setenv(variable, value)
            outcome = run_cli()
        assert_completes(shell, outcome.out, expected)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_in_its_own_process(shell):
    words, expected = ["train", "few.csv", "--preset", ""], ["small", "fast", "paper"]
    environment = {**os.environ, **completion(shell, words)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True)
    assert_completes(shell, done.stdout, expected)
    assert done.stderr == ""


def completion(shell: str, words: list[str]) -> dict[str, str]:
    """What a shell has in its environment when it asks for completions."""
    line = " ".join(["token2wave", *words])
    variables = {
        "bash": {"COMP_WORDS": line, "COMP_CWORD": str(len(words))},
        "zsh": {"_TYPER_COMPLETE_ARGS": line},
        "fish": {
            "_TYPER_COMPLETE_ARGS": line,
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            "_TYPER_COMPLETE_WORD_TO_COMPLETE": words[-1],
        },
    }
    return {**variables[shell], "_TOKEN2WAVE_COMPLETE": f"complete_{shell}"}


def assert_completes(shell: str, out: str, expected: list[str]) -> None:
    printed = out.split()
    for value in expected:
        assert any(value in word for word in printed), (shell, out)
    if shell == "bash":
        assert printed == expected


def test_help_and_completion_import_nothing_heavy():
    code = f"import sys\ntry:\n    {PROGRAM.replace('; ', chr(10) + '    ')}\nexcept SystemExit: pass\n"
    code += "print({'numpy', 'torch', 'rich'} & set(sys.modules), file=sys.stderr)"
    environment = {**os.environ, "COMP_WORDS": "token2wave tr", "COMP_CWORD": "1"}
    for variables in ({}, {"_TOKEN2WAVE_COMPLETE": "complete_bash"}):
        command = [sys.executable, "-c", code, "--help"]
        done = subprocess.run(command, env=environment | variables, capture_output=True, text=True)
        assert done.stderr == "set()\n", done.stderr
