"""The comparison from end to end, with systems that take no time."""

import json

import compare
import pytest
from measuring import command_line, unpack_bits

MAJORITY = """
import numpy as np
from systems import System

class Majority(System):
    name, family, description, bias = "majority", "none", "The most frequent class.", "None."

    def prepare(self, task):
        (task.folder / "file").write_text("x")

    def fit(self, task):
        assert (task.folder / "file").is_file()
        with open(LOG, "a") as log:
            log.write(f"{task.seed} {task.threads} {len(task.texts)}\\n")
        return int(np.bincount(task.labels).argmax())

    def predict(self, model, texts):
        return np.full(len(texts), model)

    def save(self, model, folder):
        path = folder / "model"
        path.write_text(str(model))
        return path

    def passes(self, model, task):
        return 2.0

SYSTEM = Majority()
"""
BROKEN = "raise RuntimeError('Encountered\\n NaN.')"
MINORITY = MAJORITY.replace("argmax", "argmin").replace('"majority"', '"minority"')
CRASH = "import os, sys\nprint('core dumped', file=sys.stderr, flush=True)\nos.abort()"


@pytest.fixture
def start(tmp_path, monkeypatch, capsys):
    """Runs the comparison in a folder of its own; the systems that it can name lie there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("measuring.code_state", lambda: {"commit": "first", "dirty": False})
    log = tmp_path / "log.txt"
    codes = {"majority": MAJORITY, "minority": MINORITY, "broken": BROKEN, "crash": CRASH}
    for name, code in codes.items():
        (tmp_path / f"{name}.py").write_text(f"LOG = {str(log)!r}\n{code}")

    def run(*arguments):
        given = ["--data", "debian-sections", "--rows", "200", "--name", "t", "--results", "out", *arguments]
        status = compare.main(given)
        document = json.loads((tmp_path / "out" / "t.json").read_text())
        return status, document, capsys.readouterr().out.splitlines()

    run.log = log
    return run


def test_runs_take_turns_and_are_resumed(start, monkeypatch):
    options = ("--systems", "majority.py,minority.py", "--runs", "2", "--seed", "5", "--threads", "1")
    status, document, told = start(*options)
    assert status == 0
    assert [(run["run"], run["system"], run["seed"]) for run in document["runs"]] == [
        (1, "majority", 5),
        (1, "minority", 5),
        (2, "majority", 6),
        (2, "minority", 6),
    ]
    assert [line.split(":")[0] for line in told] == [
        "[1/4] debian-sections  majority  run 1",
        "[2/4] debian-sections  minority  run 1",
        "[3/4] debian-sections  majority  run 2",
        "[4/4] debian-sections  minority  run 2",
    ]
    assert start.log.read_text() == 2 * "5 1 200\n" + 2 * "6 1 200\n"

    facts = document["data"]["debian-sections"]
    assert (facts["train_rows"], facts["test_rows"], facts["classes"]) == (200, 200, 16)
    assert "debian-sections: 200 of 5,042 training rows, chosen at random" in facts["caveats"]
    assert document["systems"]["majority"]["bias"] == "None."
    assert document["versions"]["scikit-learn"] != "not installed"
    assert document["machine"]["processor"]
    figures = document["runs"][0]["figures"]
    assert figures["passed_texts_per_second"] == pytest.approx(2 * figures["texts_per_second"])
    assert figures["model_bytes"] <= 2
    correct = unpack_bits(document["runs"][0]["correct"], facts["test_rows"])
    assert correct.mean() == pytest.approx(figures["accuracy"])
    assert figures["total_seconds"] == pytest.approx(
        figures["import_seconds"] + figures["preparation_seconds"] + figures["train_seconds"]
    )
    assert 0 < figures["loaded_memory_bytes"] <= figures["peak_memory_bytes"]
    medians = document["medians"]["debian-sections"]
    assert medians["majority"]["runs"] == 2
    frequent, rare = (medians[name]["figures"]["accuracy"] for name in ("majority", "minority"))
    assert 0.1 < frequent["min"] == frequent["median"] == frequent["max"] < 0.25
    assert rare["median"] < 0.05

    _, again, told = start(*options, "--resume")
    assert again["runs"] == document["runs"]
    assert again["medians"] == document["medians"]
    assert all(line.endswith("taken over") for line in told)
    assert start.log.read_text().count("\n") == 4

    monkeypatch.setattr("measuring.code_state", lambda: {"commit": "second", "dirty": False})
    _, again, told = start(*options, "--resume")
    assert all(line.endswith("taken over, of commit first") for line in told)
    assert {run["code"]["commit"] for run in again["runs"]} == {"first"}

    _, other, told = start("--systems", "majority.py", "--runs", "1", "--threads", "2", "--resume")
    assert [(run["system"], run["threads"]) for run in other["runs"]] == [
        ("minority", 1),
        ("minority", 1),
        ("majority", 2),
    ]


def test_a_failure_is_written_down_and_the_others_go_on(start):
    options = ("--runs", "1", "--resume")
    status, document, told = start("--systems", "broken.py,crash.py,majority.py", *options)
    assert status == 0
    first = {run["system"]: run["error"] for run in document["runs"]}
    assert first["broken"] == "RuntimeError: Encountered NaN."
    assert first["crash"].startswith("stopped by signal 6")
    assert first["crash"].endswith("core dumped")
    assert first["majority"] is None
    medians = document["medians"]["debian-sections"]
    assert medians["broken"] == {"runs": 0, "errors": [first["broken"]], "notes": [], "figures": {}}
    assert any("broken  run 1: failed: RuntimeError: Encountered NaN." in line for line in told)

    # What failed is tried again by a later start, what went well is not.
    start.log.unlink()
    (start.log.parent / "broken.py").write_text((start.log.parent / "majority.py").read_text())
    _, document, _ = start("--systems", "broken.py,majority.py", *options)
    errors = {run["system"]: run["error"] for run in document["runs"]}
    assert errors == {"crash": first["crash"], "broken": None, "majority": None}  # `crash` was not named
    assert start.log.read_text().count("\n") == 1


def test_an_interruption_keeps_what_is_finished(start, monkeypatch, tmp_path, capsys):
    def interrupted(script, job, environment):
        if job["run"] == 2:
            raise KeyboardInterrupt
        return {"error": "made up"}

    monkeypatch.setattr(compare, "run_job", interrupted)
    status, document, _ = start("--systems", "majority.py", "--runs", "2")
    assert status == 130
    assert [run["run"] for run in document["runs"]] == [1]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["t.json"]


def test_a_system_that_does_not_depend_on_the_seed_is_run_once(start, monkeypatch):
    monkeypatch.setattr(compare, "ONE_RUN", {"minority"})
    _, document, _ = start("--systems", "majority.py,minority.py", "--runs", "2")
    assert [run["system"] for run in document["runs"]] == ["majority", "minority", "majority"]


def test_names_are_checked_before_anything_is_run(start):
    with pytest.raises(SystemExit, match=r"expected one of fast, .* or a \.py file, found 'nosuch'"):
        start("--systems", "majority.py,nosuch")
    assert not start.log.exists()


def test_a_command_names_no_folder_that_it_writes_to():
    folders = ["--results", "/tmp/a", "--build=/tmp/b", "--build", "/tmp/c"]
    command = command_line("/x/compare.py", ["--data", "trec", *folders, "--runs", "2"])
    assert command == "python benchmarks/compare.py --data trec --runs 2"
