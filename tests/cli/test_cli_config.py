"""Options in a TOML file, and the TOML that repeats a run."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from cli_helpers import CSV, TINY

from token2wave.cli.config_file import render_toml

SETTINGS = 'settings = { "network.width" = 4, "network.context_width" = 0, "features.bits" = 12 }\n'


def repeated(out: str) -> str:
    """The TOML at the end of what ``train`` prints."""
    return out[out.index("\ndata = ") :]


def test_the_printed_toml_gives_the_same_model(run_cli, workplace):
    Path('odd "\\ name.csv').write_text(CSV)
    options = ["--seed", 3, "--class-weights", '{"pos": 2}', "--no-baseline", *TINY]
    first = run_cli("train", 'odd "\\ name.csv', "--out", "a.safetensors", "--lr", "1e-3", *options)
    Path("run.toml").write_text(repeated(first.out))
    again = run_cli("train", "--config", "run.toml", "--out", "b.safetensors")
    assert again.status == 0, again.err
    assert Path("a.safetensors").read_bytes() == Path("b.safetensors").read_bytes()
    assert repeated(again.out).replace("b.safe", "a.safe") == repeated(first.out)
    assert "seed = 3\n" in first.out


def test_the_command_line_wins(run_cli, train_csv):
    Path("run.toml").write_text(f'data = "none.csv"\nepochs = 5\nseed = 4\nout = "m.safetensors"\n{SETTINGS}')
    arguments = ["train", "reviews.csv", "--epochs", 1, "--config", "run.toml", "--set", "network.width=8"]
    document = run_cli(*arguments, "--json").document
    assert (document["data"], document["epochs"], document["seed"]) == ("reviews", 1, 4)
    assert document["settings"]["network"]["width"] == 8
    assert document["settings"]["features"]["bits"] == 12


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ("epohs = 3", "run.toml: there is no option 'epohs'; did you mean 'epochs'?"),
        ("config = 'other.toml'", "there is no option 'config'"),
        ("epochs = many", "run.toml: is not TOML: Invalid value (at line 1"),
        (b"\xff", "run.toml: is not TOML"),
        (None, "run.toml: cannot be read"),
        ("epochs = 1.5", "--epochs"),
        ("epochs = true", "--epochs"),
        ("resume = 'yes'", "--resume"),
        ("data = 'missing.csv'\nout = 'm'", "missing.csv"),
        ("set = 3", "expected KEY=VALUE"),
    ],
)
def test_bad_files(run_cli, train_csv, toml, expected):
    if toml is not None:
        Path("run.toml").write_bytes(toml if isinstance(toml, bytes) else toml.encode())
    data = [] if "data" in str(toml) else ["reviews.csv", "--out", "m.safetensors"]
    outcome = run_cli("train", *data, "--config", "run.toml")
    assert outcome.status == 2
    assert expected in outcome.err
    assert not Path("m.safetensors").exists()


def test_every_way_to_write_an_option(run_cli, train_csv, model):
    Path("run.toml").write_text(
        'out = "m.safetensors"\nno-such = 1\n'.replace("no-such = 1\n", "")
        + "multi-label = false\noverwrite = false\nnormalise_labels = true\n[settings]\nnetwork.width = 4\n"
    )
    assert run_cli("train", train_csv, "--config", "run.toml", "--epochs", 1, "-q").status == 0
    Path("run.toml").write_text('text = ["great film", "-5"]\ntop-k = 2\n')
    document = run_cli("predict", model, "--config", "run.toml", "--json").document
    assert [(entry["text"], len(entry["top"])) for entry in document] == [("great film", 2), ("-5", 2)]


@pytest.mark.parametrize(
    "value",
    [
        "plain", "", 'a "quoted" \\ text', "tab\tline\n\x00\x1f\x7f", "naïve \U0001f600", True, 0, -7, 1e-05,
        2.5, ["a", "b,c"], {"a b": 1, 'q"': {"x.y": False}}, ["'"], 1e300,
    ],
)  # fmt: skip
def test_toml_round_trip(value):
    document = {"key": value, "other-key": 1, "an odd key\n": value, "": "empty"}
    assert tomllib.loads(render_toml({**document, "none": None})) == document
