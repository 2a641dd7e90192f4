"""``token2wave update``, and ``train --checkpoint --resume``, inside this process."""

from __future__ import annotations

from pathlib import Path

from cli_helpers import CSV, POSITIVE, TINY

import token2wave


def test_update(run_cli, model, train_csv):
    more = CSV + "".join(f"rain and storm tomorrow,weather\n{text},pos\n" for text in POSITIVE * 3)
    Path("more.csv").write_text(more)
    outcome = run_cli("update", model, "more.csv", "--out", "new.safetensors", "--epochs", "2")
    assert outcome.status == 0
    assert "new classes: weather" in outcome.out
    assert outcome.out.splitlines()[-1] == "model: new.safetensors"
    updated = token2wave.load("new.safetensors")
    assert updated.label_names == ("neg", "pos", "weather")
    assert token2wave.load(model).label_names == ("neg", "pos")

    command = ["update", "new.safetensors", train_csv, "--out", "new.safetensors", "--json"]
    assert "replace it with --overwrite" in run_cli(*command).error
    again = run_cli(*command, "--overwrite").document
    assert again["new_labels"] == []
    assert again["model_bytes"] == Path("new.safetensors").stat().st_size
    assert len(token2wave.load("new.safetensors").training["updates"]) == 2


def test_update_errors(run_cli, model, train_csv):
    Path("new.csv").write_text("text,label\nrain,weather\n")
    for arguments, message in (
        (["new.csv"], "new.csv: expected rows of the known classes beside those of the new class 'weather'"),
        ([train_csv, "--parts", "some"], "parts: expected one of all, rows, network, found 'some'"),
        ([train_csv, "--class-weights", '{"no": 2}'], "'no'"),
        (["nothing.csv"], "nothing.csv"),
    ):
        outcome = run_cli("update", model, *arguments, "--out", "out.safetensors")
        assert outcome.status == 2
        assert message in outcome.err
        assert not Path("out.safetensors").exists()
    outcome = run_cli("update", model, train_csv, "--out", "no/folder.safetensors")
    assert outcome.status == 2
    assert "does not exist" in outcome.err


def test_checkpoints(run_cli, model, train_csv):
    command = ["train", train_csv, *TINY, "--out", "m.safetensors"]
    assert run_cli(*command, "--resume").status == 2
    Path("run.checkpoint").write_text("no checkpoint")
    for options in ((), ("--resume",)):
        outcome = run_cli(*command, "--checkpoint", "run.checkpoint", *options)
        assert "expected a new file, or a checkpoint" in outcome.error
        assert not Path("m.safetensors").exists()
    Path("run.checkpoint").unlink()
    outcome = run_cli(*command, "--checkpoint", "run.checkpoint", "--resume")
    assert outcome.status == 0
    assert not Path("run.checkpoint").exists()
    assert Path("m.safetensors").read_bytes() == model.read_bytes()
