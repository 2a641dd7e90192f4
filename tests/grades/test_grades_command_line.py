"""The command line with scores and grades."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from graded_texts import ARGUMENTS, GRADES, TEXTS, csv_of, graded_texts

from token2wave.cli.main import main


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs the command line in this process, which other tests compare with one of its own."""
    texts, grades = graded_texts(200, seed=1)
    (tmp_path / "train.csv").write_text(csv_of(TEXTS, GRADES))
    (tmp_path / "test.csv").write_text(csv_of(texts, grades))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = ["token2wave", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", command)
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        return subprocess.CompletedProcess(command, stop.value.code or 0, *capsys.readouterr())

    return call


def test_training_with_grades(run) -> None:
    outcome = run(
        "train", "train.csv", "--ordinal", "--out", "model", "--test", "test.csv", "--report", "r", *ARGUMENTS
    )
    assert outcome.returncode == 0, outcome.stderr
    assert "rank correlation" in outcome.stdout
    for name in ("Spearman", "Quadratic weighted kappa", "Mean absolute error", "AUC, scores above"):
        assert name in outcome.stdout
    report = json.loads(Path("r/report.json").read_text())
    assert report["label_names"] == list("12345")
    assert report["evaluation"]["scores"]["spearman"] > 0.9
    page = Path("r/report.html").read_text()
    assert "Quadratic weighted kappa" in page
    assert "&gt; 1.5" not in page + outcome.stdout


def test_whole_numbers_propose_grades(run) -> None:
    outcome = run("train", "train.csv", "--out", "model", *ARGUMENTS)
    assert outcome.returncode == 0, outcome.stderr
    note = "The labels are the whole numbers 1 to 5. If they are grades, --ordinal learns their order."
    assert outcome.stdout.count(note) == 1


def test_using_a_model(run, model) -> None:
    outcome = run("evaluate", model, "test.csv", "--cut", "3.5")
    assert "AUC, scores above 3.5" in outcome.stdout
    outcome = run("predict", model, "superb film")
    score, low, high, label, _, text = outcome.stdout.rstrip("\n").split("\t")
    assert float(low) <= float(score) <= float(high)
    assert (label, text) == ("5", "superb film")
    document = json.loads(run("predict", model, "superb film", "--json").stdout)[0]
    assert document["score"] == pytest.approx(float(score), abs=0.01)
    assert len(document["interval"]) == 2
    assert run("predict", model, "--file", "test.csv", "--out", "out.csv").returncode == 0
    with Path("out.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        *("text", "label", "score", "score_low", "score_high", "predicted_label", "probability")
    ]
    assert all(float(row["score_low"]) <= float(row["score"]) for row in rows)
    assert "Spearman" in run("info", model).stdout


def test_errors_are_one_line(run) -> None:
    for arguments, problem in (
        (["--ordinal", "--target", "score"], "error: ordinal: cannot be combined with target score"),
        (["--ordinal", "--cv", "3"], "error: cv: is for labels alone, found the target ordinal"),
        (["--target", "stars"], "error: target: expected one of label, score, ordinal, found 'stars'"),
        (
            ["--ordinal", "--text-column", "label", "--label-column", "text"],
            "train.csv, row 1: expected a number as score",
        ),
    ):
        outcome = run("train", "train.csv", "--out", "model", *arguments)
        assert outcome.returncode != 0
        assert problem in outcome.stderr.splitlines()[-1]
