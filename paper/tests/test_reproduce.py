import json
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partialmethod
from pathlib import Path

import pytest
import small_studies

from paper.accuracy import accuracy_systems
from paper.published import ROWS
from paper.report_file import FORMAT, MEASURED, PARTS, keep_report, read_report
from paper.reproduce import _Announcements, reproduce
from paper.result_store import ResultStore
from paper.studies import load_study
from token2wave.errors import ConfigError, DataError, OutputError
from token2wave.formatting import duration
from token2wave.training.callbacks import Callback

FILES = ("report.json", "report.md", "report.html")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run."""
    out = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TOKEN2WAVE_DATA", raising=False)
        small_studies.make_small(patch.setattr)
        document = small_studies.reproduce_small(out)
    return out, document


def contents(out):
    """All of a report but the time that its parts took."""
    files = {path.name: path.read_bytes() for path in [*map(out.joinpath, FILES), *out.glob("figures/*")]}
    report = json.loads(files["report.json"])
    systems = [each for data in report["datasets"].values() for each in data["systems"].values()]
    for origin in [*report["made"].values(), *(system["made"] for system in systems if "made" in system)]:
        assert origin.pop("seconds") >= 0
    files["report.json"] = report
    for name, start in (("report.md", b"## Provenance"), ("report.html", b">Provenance<")):
        files[name], provenance, _ = files[name].partition(start)
        assert provenance
    return files


class _StopError(Exception):
    pass


class _StopAfter(Callback):
    def __init__(self, calls):
        self.calls = iter(range(1, calls))

    def on_stage(self, name, total):
        if next(self.calls, None) is None:
            raise _StopError


def test_an_interrupted_run_gives_the_same_report(small, whole, tmp_path):
    seed = time.time_ns() % 10_000
    chance = random.Random(seed)
    stopped = 0
    for _ in range(30):
        try:
            small_studies.reproduce_small(tmp_path, [_StopAfter(chance.randint(1, 25))])
            break
        except _StopError:
            stopped += 1
            assert not (tmp_path / "report.json").exists()
    else:
        small_studies.reproduce_small(tmp_path)
    print(f"seed {seed}: stopped {stopped} times")
    assert contents(tmp_path) == contents(whole[0])


def test_a_killed_process_leaves_what_the_next_one_goes_on_with(small, whole, tmp_path):
    seed = time.time_ns() % 10_000
    print(f"seed {seed}")
    chance = random.Random(seed)
    command = [sys.executable, "-W", "error", str(Path(small_studies.__file__)), str(tmp_path)]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 60
    while not list(tmp_path.rglob("runs/**/*.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(chance.uniform(0, 2))
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("runs/**/*.json")}
    assert finished
    small_studies.reproduce_small(tmp_path)
    assert contents(tmp_path) == contents(whole[0])
    assert {path: path.stat().st_mtime_ns for path in finished} == finished  # none was done again


def test_the_report_has_everything(whole):
    out, document = whole
    report = json.loads((out / "report.json").read_text())
    assert report == json.loads(json.dumps(document))
    topics = report["datasets"]["topics"]
    assert len(topics["systems"]["wave-modulation"]["runs"]) == 2
    assert "token2wave[encoders]" in topics["systems"]["encoder"]["skipped"]
    assert 0 < topics["everyday"]["tfidf"]["test_accuracy"] <= 1
    for name in ("report.md", "report.html"):
        text = (out / name).read_text()
        for expected in ("Made up.", "quick run", "The Transformer check", "Convergence and overfitting"):
            assert expected in text, (name, expected)
    page = (out / "report.html").read_text()
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")
    assert page.count("<img ") == len(list(out.glob("figures/*.svg")))


def test_parts_in_several_processes_give_the_same_report(tmp_path, splits, caplog, monkeypatch):
    monkeypatch.delenv("TOKEN2WAVE_DATA", raising=False)
    alone, together = tmp_path / "alone", tmp_path / "together"
    datasets = [splits, replace(splits, name="again")]
    options = {"quick": True, "seeds": (0,), "parts": ["everyday"]}
    reproduce(datasets, out=alone, **options)
    measured = []
    monkeypatch.setattr(ResultStore, "compute", partialmethod(_noted, ResultStore.compute, measured))
    with caplog.at_level("INFO"):
        reproduce(datasets, out=together, jobs=2, **options)
    assert measured == []  # in this process
    assert [text for text in caplog.messages if "measured" in text] == ["everyday: measured"] * 2
    assert contents(together) == contents(alone)
    shutil.rmtree(together / "runs/everyday/again")
    reproduce(datasets, out=together, jobs=2, finished_only=True, **options)  # starts nothing
    assert not (together / "runs/everyday/again").exists()


def _noted(store, compute, measured, name, settings, function, *stage):
    return compute(store, name, settings, lambda: measured.append(name) or function(), *stage)


def test_what_measures_time_runs_alone(tmp_path, splits, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "paper.reproduce.call_in_processes", lambda function, arguments, *_: calls.extend(arguments)
    )
    monkeypatch.setattr("paper.reproduce._measure", lambda *_: {})
    monkeypatch.setattr("paper.reproduce.write_report", lambda *_: None)
    reproduce([splits, replace(splits, name="again")], out=tmp_path, quick=True, jobs=3)
    named = [(part, options.data.name) for options, _, part, *_ in calls]
    in_pool = [part for part in PARTS if part not in ("complexity", "resources")]
    assert named[:4] == [(part, name) for part in PARTS[:2] for name in ("topics", "again")]
    assert named[4:] == [(part, "topics") for part in in_pool[2:]]


def test_what_is_finished_can_be_reported_meanwhile(small, whole, tmp_path):
    shutil.copytree(whole[0] / "runs", tmp_path / "runs")
    (removed,) = (tmp_path / "runs/accuracy/topics").glob("wave-modulation-1-*.json")
    removed.unlink()
    next((tmp_path / "runs/convergence").rglob("*.json")).unlink()
    document = small_studies.reproduce_small(tmp_path, finished_only=True)
    assert document["unfinished"] == ["convergence, topics"]
    assert list(document["datasets"]["topics"]["systems"]["wave-modulation"]["runs"]) == ["0"]
    text = (tmp_path / "report.md").read_text()
    assert "convergence, topics: not finished yet" in text
    assert "topics: Wave network, modulation: not run yet" in text
    assert not removed.exists()


def test_every_published_row_has_a_system_and_every_part_is_known():
    assert {row.key for row in ROWS} <= accuracy_systems().keys()
    assert [load_study(name).name for name in PARTS[2:]] == list(PARTS[2:])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"parts": ["other"]}, "parts: expected parts of accuracy, "),
        ({"seeds": []}, "seeds: expected different seeds"),
        ({"seeds": [1, 1]}, "seeds: expected different seeds"),
    ],
)
def test_what_cannot_be_run_is_refused_at_once(tmp_path, splits, overrides, message):
    with pytest.raises(ConfigError, match=message):
        reproduce([splits], out=tmp_path, **overrides)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_refused_at_once(tmp_path, splits):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        reproduce([splits], out=tmp_path / "file" / "below", quick=True)


def test_a_report_takes_over_the_other_parts_of_an_earlier_one(small, whole, tmp_path):
    shutil.copytree(whole[0] / "runs", tmp_path / "runs")
    earlier = tmp_path / "earlier.json"
    report = json.loads((whole[0] / "report.json").read_text())
    report["datasets"]["topics"]["systems"]["wave-modulation"]["title"] = "of the earlier report"
    report["studies"]["convergence"][0]["caveats"] = ["of the earlier report"]
    report["studies"]["depth"], report["made"]["depth"] = [], {**report["made"]["accuracy"], "commits": ["x"]}
    report["unfinished"] = ["depth, topics", "convergence, topics"]
    earlier.write_text(json.dumps(report))
    joined = small_studies.reproduce_small(tmp_path, parts=["convergence"], update=earlier)
    assert joined["datasets"]["topics"]["systems"]["wave-modulation"]["title"] == "of the earlier report"
    assert joined["studies"]["convergence"] == whole[1]["studies"]["convergence"]
    assert joined["unfinished"] == ["depth, topics"]
    assert joined["made"] == whole[1]["made"] | {"depth": report["made"]["depth"]}
    assert list(joined["made"]) == ["accuracy", "everyday", "convergence", "depth"]
    joined = small_studies.reproduce_small(tmp_path, parts=["accuracy"], update=earlier)
    assert joined["datasets"] == whole[1]["datasets"]
    assert joined["made"]["accuracy"] == whole[1]["made"]["accuracy"]
    report["datasets"]["other"] = {**report["datasets"]["topics"], "name": "other"}
    report["made"]["accuracy"]["commits"] = ["of another commit"]
    del report["datasets"]["other"]["systems"]["wave-modulation"]["made"]  # as in older reports
    earlier.write_text(json.dumps(report))
    joined = small_studies.reproduce_small(tmp_path, parts=["accuracy"], update=earlier)
    assert sorted(joined["made"]["accuracy"]["commits"])[1] == "of another commit"
    assert len(joined["made"]["accuracy"]["commits"]) == 2
    assert joined["studies"]["convergence"][0]["caveats"] == ["of the earlier report"]


def test_a_system_that_is_not_complete_is_that_of_the_earlier_report(small, whole, tmp_path):
    shutil.copytree(whole[0] / "runs", tmp_path / "runs")
    report = json.loads((whole[0] / "report.json").read_text())
    systems = report["datasets"]["topics"]["systems"]
    for key in ("wave-modulation", "wave-interference"):
        systems[key] |= {"title": "of the earlier report", "made": {**systems[key]["made"], "commits": ["x"]}}
    earlier = tmp_path / "earlier.json"
    earlier.write_text(json.dumps(report))
    (lost,) = tmp_path.glob("runs/accuracy/topics/wave-modulation-1-*.json")
    lost.unlink()
    options = {"parts": ["accuracy"], "update": earlier, "finished_only": True}
    joined = small_studies.reproduce_small(tmp_path, **options)
    new = joined["datasets"]["topics"]["systems"]
    assert new["wave-modulation"] == systems["wave-modulation"]
    assert new["wave-interference"] == whole[1]["datasets"]["topics"]["systems"]["wave-interference"]
    assert sorted(joined["made"]["accuracy"]["commits"])[1:] == ["x"]
    assert joined["made"]["accuracy"]["results"] == whole[1]["made"]["accuracy"]["results"]


@pytest.mark.parametrize("content", [None, "{", "[]", '{"format": 1}'])
def test_an_earlier_report_that_cannot_be_read_is_refused_at_once(tmp_path, splits, content):
    if content is not None:
        (tmp_path / "report.json").write_text(content)
    with pytest.raises(DataError, match=r"report\.json: expected the report of an earlier run"):
        reproduce([splits], out=tmp_path / "out", quick=True, update=tmp_path / "report.json")
    assert not (tmp_path / "out").exists()


def test_a_full_run_says_how_long_each_part_took_and_what_is_left(tmp_path, monkeypatch, caplog):
    measured = tmp_path / "report.json"
    measured.write_text(
        json.dumps({"format": FORMAT, "made": {"depth": {"seconds": 3600}, "probes": {"seconds": 60}}})
    )
    monkeypatch.setattr("paper.reproduce.MEASURED", measured)
    announce = _Announcements(["depth", "pairs", "probes"])
    with caplog.at_level("INFO"):
        for part in ("accuracy", "depth", "pairs", "probes"):
            announce(part)
    took = " on the machine of the last report; "
    assert [record.getMessage().partition(took)[::2] for record in caplog.records] == [
        (f"depth: took {duration(3600)}", f"{duration(3660)} of such time left, this part included"),
        (f"pairs: took {duration(None)}", f"{duration(60)} of such time left, this part included"),
        (f"probes: took {duration(60)}", f"{duration(60)} of such time left, this part included"),
    ]


def test_committed_results_are_small():
    files = [path for path in MEASURED.parent.rglob("*") if path.is_file()]
    assert MEASURED in files
    assert sum(path.stat().st_size for path in files) <= 5_000_000


def test_a_report_is_the_same_after_it_was_kept(whole, tmp_path):
    report = read_report(whole[0] / "report.json") | {"quick": False}
    path = tmp_path / "report.json.xz"
    keep_report(report, path)
    assert read_report(path) == report
    assert path.stat().st_size < (whole[0] / "report.json").stat().st_size / 2
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"report\.json\.xz: expected the report of an earlier run"):
        read_report(path)


def test_a_report_of_a_quick_run_is_not_kept(whole, tmp_path):
    with pytest.raises(DataError, match="expected the report of a full run, found one of a quick run"):
        keep_report(whole[1], tmp_path / "report.json.xz")
    assert not list(tmp_path.iterdir())
