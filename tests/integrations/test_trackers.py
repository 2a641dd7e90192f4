"""Trackers write with the real packages; the packages' own readers read the files back."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn_data import QUICK, QUICK_OPTIONS, made_up, written

import token2wave
from token2wave import WaveClassifier
from token2wave.data import TextDataset, TextSplit
from token2wave.errors import ConfigError, MissingExtraError, OutputError
from token2wave.integrations.trackers import (
    MLflowCallback,
    TensorBoardCallback,
    Tracker,
    final_metrics,
    make_tracker,
)
from token2wave.training.callbacks import Callback

pytestmark = pytest.mark.usefixtures("plain_training")

TEXTS, LABELS = made_up(240)
DATA = TextDataset(
    "made up",
    TextSplit(TEXTS, LABELS, "train"),
    None,
    TextSplit(*made_up(30, seed=1), "test"),
    None,
    ("These texts are made up.",),
)
SETTINGS = {**QUICK, "epochs": 2}


@pytest.fixture(autouse=True)
def _no_telemetry(monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory):
    """MLflow takes seconds to make a database."""
    folder = tmp_path_factory.mktemp("mlflow")
    MLflowCallback(tracking_uri=folder)
    return folder / "mlflow.db"


@pytest.fixture
def runs(empty_database, tmp_path):
    (tmp_path / "runs").mkdir()
    shutil.copy(empty_database, tmp_path / "runs")
    return tmp_path / "runs"


class Recorder(Callback):
    def __init__(self):
        self.events = []

    def on_begin(self, plan):
        self.events.append(("begin", plan))

    def on_epoch(self, epoch):
        self.events.append(("epoch", epoch))

    def on_end(self, summary, files):
        self.events.append(("end", summary, [path.name for path in files]))


def test_a_run_begins_and_ends_once(tmp_path):
    recorder = Recorder()
    result = token2wave.train(
        DATA, **SETTINGS, callbacks=[recorder], out=tmp_path / "m.st", report=tmp_path / "report"
    )
    (_, plan), *epochs, (_, summary, files) = recorder.events
    assert [event for event, *_ in epochs] == ["epoch"] * len(epochs)
    assert plan.settings["recipe.epochs"] == 2
    assert plan.settings["features.bits"] == 12
    assert (plan.rows, plan.test_rows, plan.label_names) == (240, 30, ("money", "space", "sport"))
    assert json.loads(json.dumps(asdict(plan)))["preset"] == "small"
    assert summary is result.summary
    assert files[:3] == ["m.st", "report.json", "report.html"]
    assert all((tmp_path / "report" / name).is_file() for name in files[1:])


def test_a_failed_run_ends_too():
    class Stops(Recorder):
        def on_epoch(self, epoch):
            raise KeyboardInterrupt

    recorder = Stops()
    with pytest.raises(KeyboardInterrupt):
        token2wave.train(DATA, **SETTINGS, callbacks=[recorder])
    assert [entry[0] for entry in recorder.events] == ["begin", "end"]
    assert recorder.events[-1][1] is None


def test_a_search_is_one_run():
    recorder = Recorder()
    token2wave.train(DATA, preset="fast", **QUICK, candidates=2, callbacks=[recorder])
    assert [event for event, *_ in recorder.events].count("begin") == 1
    assert recorder.events[0][0] == "begin"


def read_tensorboard(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    return events


def values(events, name):
    from tensorboard.util.tensor_util import make_ndarray

    return [(event.step, make_ndarray(event.tensor_proto).item()) for event in events.Tensors(name)]


def test_tensorboard(tmp_path):
    result = token2wave.train(
        DATA, **SETTINGS, callbacks=[TensorBoardCallback(tmp_path / "runs")], out=tmp_path / "m.safetensors"
    )
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.endswith("-made up-small")
    events = read_tensorboard(run)
    for name in ("train_loss", "validation_loss", "validation_accuracy"):
        expected = [(epoch["epoch"], pytest.approx(epoch[name])) for epoch in result.summary.history]
        assert values(events, f"training/{name}") == expected
    steps = [step for step, _ in values(events, "training/step_loss")]
    assert len(steps) >= 2
    assert steps == sorted(set(steps))
    assert "training_on_all_rows/train_loss" in events.Tags()["tensors"]
    assert values(events, "final/accuracy") == [(0, pytest.approx(result.summary.accuracy))]
    assert values(events, "final/model_bytes") == [(0, result.summary.model_bytes)]
    assert b"made up" in values(events, "caveats")[0][1]
    assert b"| sport |" in values(events, "classes")[0][1]
    assert b"m.safetensors" in values(events, "files")[0][1]
    settings = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    for name in (b"recipe.epochs", b"network.width", b"seed"):
        assert name in settings


def test_tensorboard_keeps_runs_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "strftime", lambda _: "the same second")
    callback = TensorBoardCallback(tmp_path)
    for _ in range(2):
        token2wave.train(DATA, **QUICK, callbacks=[callback])
    runs = list(tmp_path.iterdir())
    assert len(runs) == 2
    for run in runs:
        assert len(values(read_tensorboard(run), "final/accuracy")) == 1
    token2wave.train(DATA, **QUICK, callbacks=[TensorBoardCallback(tmp_path, run="named")])
    assert (tmp_path / "named").is_dir()


def test_mlflow(runs, tmp_path):
    from mlflow.tracking import MlflowClient

    callback = MLflowCallback("news", runs, run="first", tags={"team": "ours"})
    wrong = TextSplit(DATA.test.texts, [*DATA.test.labels[1:], DATA.test.labels[0]], "test")
    result = token2wave.train(
        replace(DATA, test=wrong),
        **SETTINGS,
        callbacks=[callback],
        out=tmp_path / "m.safetensors",
        report=tmp_path / "report",
    )
    client = MlflowClient(tracking_uri=f"sqlite:///{runs / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("news").experiment_id])
    assert (run.info.status, run.info.run_name) == ("FINISHED", "first")
    assert run.data.tags["team"] == "ours"
    assert run.data.tags["mlflow.note.content"] == "These texts are made up."
    assert run.data.params["recipe.epochs"] == "2"
    assert run.data.params["seed"] == "0"
    for name, value in final_metrics(result.summary).items():
        assert run.data.metrics[name] == pytest.approx(value)
    history = client.get_metric_history(run.info.run_id, "training/validation_loss")
    expected = [(epoch["epoch"], pytest.approx(epoch["validation_loss"])) for epoch in result.summary.history]
    assert [(point.step, point.value) for point in history] == expected
    names = {entry.path for entry in client.list_artifacts(run.info.run_id)}
    assert {"m.safetensors", "report.json", "report.html", "classes.csv"} <= names
    saved = Path(client.download_artifacts(run.info.run_id, "m.safetensors", str(tmp_path)))
    assert token2wave.load(saved).labels(TEXTS[:9]) == result.classifier.labels(TEXTS[:9])
    table = Path(client.download_artifacts(run.info.run_id, "classes.csv", str(tmp_path))).read_text()
    assert table.startswith("label,precision,recall,f1,support")
    assert "sport" in table
    assert (runs / "artifacts").is_dir()
    report = Path(client.download_artifacts(run.info.run_id, "report.json", str(tmp_path))).read_text()
    assert json.loads(report)["evaluated_texts"] == []
    assert json.loads((tmp_path / "report" / "report.json").read_text())["evaluated_texts"] != []


def test_mlflow_marks_a_run_that_fails(runs):
    from mlflow.tracking import MlflowClient

    class Stops(Callback):
        def on_epoch(self, epoch):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        token2wave.train(DATA, **QUICK, callbacks=[MLflowCallback(tracking_uri=runs), Stops()])
    client = MlflowClient(tracking_uri=f"sqlite:///{runs / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("token2wave").experiment_id])
    assert run.info.status == "FAILED"


@pytest.mark.parametrize("method", ["begin", "track", "finish"])
def test_a_failing_tracker_does_not_end_training(method):
    def fail(*_):
        raise OSError("no space left")

    tracker = type("Full", (Tracker,), dict.fromkeys(("begin", "track", "finish"), lambda *_: None))()
    setattr(tracker, method, fail)
    with pytest.warns(RuntimeWarning, match="stopped tracking this run.*no space left") as caught:
        result = token2wave.train(DATA, **QUICK, callbacks=[tracker])
    assert len(caught) == 1
    assert result.summary.accuracy is not None


def test_a_vanished_database_does_not_end_training(runs):
    callback = MLflowCallback(tracking_uri=runs)
    (runs / "mlflow.db").unlink()
    (runs / "mlflow.db").mkdir()
    with pytest.warns(RuntimeWarning, match="MLflow stopped tracking this run"):
        assert token2wave.train(DATA, **QUICK, callbacks=[callback]).summary.accuracy > 0.5


def test_grid_search_copies_trackers(runs, tmp_path):
    """Each fit is a run. A fitted estimator can be cloned and pickled."""
    trackers = [TensorBoardCallback(tmp_path / "tb"), MLflowCallback(tracking_uri=runs)]
    estimator = WaveClassifier("fast", **QUICK, callbacks=trackers)
    search = GridSearchCV(estimator, {"operation": ["interference", "modulation"]}, cv=2).fit(TEXTS, LABELS)
    assert len(list((tmp_path / "tb").iterdir())) == 5
    clone(search.best_estimator_.fit(TEXTS, LABELS))
    pickle.loads(pickle.dumps(search.best_estimator_))
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{runs / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("token2wave").experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"] * 6


def test_unknown_trackers_are_refused(tmp_path, monkeypatch):
    for target in ("wandb", "tensorboard", "tensorboard:"):
        with pytest.raises(
            ConfigError, match=r"--tracker: expected tensorboard:FOLDER, mlflow or mlflow:URI"
        ):
            make_tracker(target)
    with pytest.raises(ConfigError, match="tracking_uri: MLflow says"):
        make_tracker("mlflow:nosuch://place")
    (tmp_path / "file").write_text("")
    for name in ("tensorboard", "mlflow"):
        with pytest.raises(OutputError, match="cannot be made"):
            make_tracker(f"{name}:{tmp_path / 'file'}")


def test_missing_package_names_its_extra(monkeypatch, tmp_path):
    for tracker, module in (("tensorboard", "tensorboard.summary"), ("mlflow", "mlflow.tracking")):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(MissingExtraError, match=rf"'{tracker}'.*token2wave\[trackers\]"):
            make_tracker(f"{tracker}:{tmp_path}")


def test_command_line(runs, tmp_path):
    """Both trackers at once, without torch."""
    data = written(tmp_path / "texts.csv", TEXTS, LABELS)
    command = ["train", data, "--out", tmp_path / "m.safetensors", "--preset", "fast", *QUICK_OPTIONS]
    command += ["--tracker", f"tensorboard:{tmp_path / 'tb'}", "--tracker", f"mlflow:{runs}"]
    script = "import sys; from token2wave.cli import main as cli; sys.argv[0] = 'token2wave'\n"
    script += (
        "try: cli.main()\nexcept SystemExit as stop: assert not stop.code\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script, *map(str, command)], check=True, capture_output=True)
    (run,) = (tmp_path / "tb").iterdir()
    assert b"token2wave train" in values(read_tensorboard(run), "command")[0][1]
    assert list((runs / "artifacts").rglob("m.safetensors"))


def test_an_abandoned_mlflow_run_is_marked_as_failed(runs, monkeypatch):
    from mlflow.tracking import MlflowClient

    def fails(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(MlflowClient, "log_batch", fails)
    with pytest.warns(RuntimeWarning, match="MLflow stopped tracking this run"):
        token2wave.train(DATA, **QUICK, callbacks=[MLflowCallback(tracking_uri=runs)])
    client = MlflowClient(f"sqlite:///{runs / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("token2wave")
    assert [run.info.status for run in client.search_runs([experiment.experiment_id])] == ["FAILED"]
