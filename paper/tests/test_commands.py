import csv
import json
import os
import re
import sys

import pytest
import small_studies

from paper.commands import main
from paper.result_store import ResultStore
from token2wave.errors import Interruption


@pytest.fixture
def folder(tmp_path):
    data = tmp_path / "topics"
    data.mkdir()
    topics = small_studies.splits()
    for name, split in (("train", topics.train), ("test", topics.test)):
        with (data / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *zip(split.texts, split.labels, strict=True)])
    return data


@pytest.fixture
def command(monkeypatch, capsys):
    """Run the command line in this process; exit status and both streams."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["paper", *map(str, words)])
        try:
            main()
            status = 0
        except SystemExit as end:
            status = end.code or 0
        return status, *capsys.readouterr()

    return run


def test_reproduce_writes_a_report_and_says_what_holds(small, folder, tmp_path, command):
    out = tmp_path / "out"
    words = ("reproduce", "--dataset", folder, "--quick", "--seeds", 1, "--only", "accuracy", "--out", out)
    status, printed, log = command(*words)
    assert status == 0
    assert re.search(r"^Wave network, modulation, topics, seed 0: [\d.,]+ \w+$", log, re.MULTILINE)
    assert "does not hold   The Wave network has 2.4 million parameters" in printed
    assert printed.splitlines()[-1] == f"report: {out / 'report.html'}"
    report = json.loads((out / "report.json").read_text())
    system = report["datasets"]["topics"]["systems"]["wave-modulation"]
    assert list(system["runs"]) == ["0"]
    status, printed, _ = command(*words, "--finished-only", "--json")
    assert status == 0
    again = json.loads(printed.splitlines()[-1])
    assert again["datasets"]["topics"]["systems"]["wave-modulation"] == system


def test_a_study_writes_data_tables_and_figures(small, folder, tmp_path, command):
    out = tmp_path / "out"
    words = ("study", "convergence", "--data", folder, "--quick", "--seeds", 1, "--out", out)
    status, printed, _ = command(*words)
    assert status == 0
    names = {"convergence.json", "convergence.md", "convergence.svg", "convergence.png"}
    assert names < {os.path.basename(line) for line in printed.splitlines()}
    assert json.loads((out / "convergence.json").read_text())["data"] == "topics"
    assert (out / "convergence.png").read_bytes().startswith(b"\x89PNG")
    assert "| Wave network, modulation |" in (out / "convergence.md").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("study", "other"), "study: expected one of convergence, gradients, "),
        (("study", "probes", "--variant", "frozen"), "study: expected the study 'ablations', which has"),
        (("study", "ablations", "--variant", "other"), "variant: expected one of modulation, interference"),
        (("study", "probes", "--device", "gpu"), "device: expected auto, cpu or cuda, found 'gpu'"),
        (("reproduce", "--only", "other"), "parts: expected parts of accuracy, "),
        (("reproduce", "--dataset", "nowhere"), "nowhere: there is no such file, folder or data set"),
    ],
)
def test_what_cannot_be_done_is_one_line(tmp_path, monkeypatch, command, words, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TOKEN2WAVE_DATA", raising=False)
    status, printed, errors = command(*words)
    assert (status, printed) == (2, "")
    assert errors.splitlines()[-1].startswith(f"error: {message}")
    assert set(errors.splitlines()[:-1]) <= {"reading the data"}


def test_an_interruption_says_that_the_run_can_go_on(small, folder, tmp_path, command, monkeypatch):
    def interrupted(*_):
        raise Interruption("interrupted; nothing was written")

    monkeypatch.setattr(ResultStore, "compute", interrupted)
    out = tmp_path / "out"
    status, _, errors = command("reproduce", "--dataset", folder, "--quick", "--out", out)
    assert status == 130
    assert f"finished parts are in {out}, and the same command resumes from there" in errors
