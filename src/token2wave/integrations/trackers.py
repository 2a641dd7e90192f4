"""Trackers: callbacks that record training runs in TensorBoard or MLflow."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from token2wave.errors import ConfigError, import_extra
from token2wave.formatting import percent, printable, spreadsheet_cell
from token2wave.reporting.report import write_report
from token2wave.reporting.summary import describe_rows
from token2wave.storage.atomic import creates_private_files, make_folder
from token2wave.storage.outputs import Outputs
from token2wave.training.callbacks import Callback, Epoch, RunPlan
from token2wave.training.result import Summary
from token2wave.versions import versions

FINAL_METRICS = (
    *("accuracy", "macro_f1", "micro_f1", "majority"),
    *("validation_accuracy", "validation_micro_f1", "best_epoch"),
    *("train_seconds", "total_seconds", "texts_per_second", "peak_memory_bytes"),
    *("parameters", "parameters_without_embedding", "model_bytes"),
)
CLASS_METRICS = ("precision", "recall", "f1")
MLFLOW_SCHEMES = ("databricks", "databricks-uc", "uc")  # URIs without "://"
MAX_PARAMETER_LENGTH = 500  # characters; older MLflow servers refuse more
MLFLOW_CHUNK = 100  # parameters or metrics a request; servers refuse more


def make_tracker(target: str) -> Tracker:
    """Make the tracker that ``--tracker`` names.

    Args:
        target: ``tensorboard:FOLDER``, ``mlflow`` or ``mlflow:URI``.

    Raises:
        ConfigError: the tracker is unknown, or MLflow does not understand the URI.
        MissingExtraError: the tracker's package is not installed.
        OutputError: the folder cannot be made or written to.
    """
    name, _, uri = target.partition(":")
    if name == "tensorboard" and uri:
        return TensorBoardCallback(uri)
    if name == "mlflow":
        return MLflowCallback(tracking_uri=uri or None)
    raise ConfigError(
        f"expected tensorboard:FOLDER, mlflow or mlflow:URI, found {target!r}",
        location="--tracker",
        hint="e.g. --tracker tensorboard:runs",
    )


class Tracker(Callback):
    """Base class of trackers.

    The name of a metric starts with the stage of training: ``training/validation_accuracy`` at each epoch,
    ``training/step_loss`` within an epoch. A repeated stage, as in cross-validation, ends in its number.
    Epochs of a settings search or a teacher are not tracked.

    If a tracker fails, it gives a warning, and training continues without it.
    """

    name = "tracker"

    def __init__(self) -> None:
        self._reset(is_tracking=False)

    def _reset(self, is_tracking: bool) -> None:
        self._is_tracking = is_tracking
        self._stages: Counter[str] = Counter()
        self._stage, self._step = "training", 0

    def begin(self, plan: RunPlan) -> None:
        """Start a run and record its settings."""

    def track(self, metrics: Mapping[str, float], step: int) -> None:
        """Record metrics by name, at a step or an epoch."""

    def finish(self, metrics: Mapping[str, float], summary: Summary | None, files: Sequence[Path]) -> None:
        """Record the final metrics and close the run; ``summary`` is None if the run failed."""

    def abandon(self) -> None:
        """Clean up after a failure of this tracker."""

    def on_begin(self, plan: RunPlan) -> None:
        """Start tracking a run."""
        self._reset(is_tracking=True)
        self._try(self.begin, plan)

    def on_stage(self, name: str, total: int) -> None:
        """Name the coming metrics after the stage."""
        self._stages[name] += 1
        number = f" {self._stages[name]}" if self._stages[name] > 1 else ""
        self._stage, self._step = re.sub(r"[^a-z0-9]+", "_", f"{name}{number}".lower()), 0

    def on_advance(self, amount: int) -> None:
        """Count steps."""
        self._step += amount

    def on_loss(self, loss: float, texts_per_second: float) -> None:
        """Track loss and speed within an epoch."""
        self._track(self._step, step_loss=loss, texts_per_second=texts_per_second)

    def on_epoch(self, epoch: Epoch) -> None:
        """Track the metrics of an epoch."""
        metrics = asdict(epoch)
        self._track(metrics.pop("epoch"), **metrics)

    def on_end(self, summary: Summary | None, files: Sequence[Path]) -> None:
        """Track the final metrics and stop."""
        self._try(self.finish, {} if summary is None else final_metrics(summary), summary, files)
        self._is_tracking = False

    def _track(self, step: int, **metrics: float | None) -> None:
        by_name = {f"{self._stage}/{name}": value for name, value in _finite(metrics).items()}
        self._try(self.track, by_name, step)

    def _try(self, method: Callable[..., None], *arguments: Any) -> None:
        """Call a method; its failure must not end training."""
        if not self._is_tracking:
            return
        try:
            method(*arguments)
        except Exception as error:
            self._is_tracking = False
            with suppress(Exception):
                self.abandon()
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            warnings.warn(
                f"{self.name} stopped tracking this run; training continues ({reason:.300})",
                RuntimeWarning,
                stacklevel=2,
            )


class TensorBoardCallback(Tracker):
    """Writes runs for TensorBoard. Neither torch nor TensorFlow is needed.

    Each run gets a folder of its own in ``folder``: metrics as scalars, settings as hyper-parameters, final
    metrics as ``final/...``, and as text the caveats, the table of classes and the paths of written files.

    Args:
        folder: the folder for ``tensorboard --logdir``; made if it does not exist.
        run: name of the run's folder. By default it consists of time, data and preset.

    Raises:
        MissingExtraError: tensorboard is not installed.
        OutputError: the folder cannot be made or written to.

    Example:
        >>> token2wave.train("debian-sections", callbacks=[TensorBoardCallback("runs")])  # doctest: +SKIP
    """

    name = "TensorBoard"

    def __init__(self, folder: str | os.PathLike[str], run: str | None = None) -> None:
        super().__init__()
        self.folder, self.run = Path(folder), run
        with import_extra("trackers", "tracking", "tensorboard"):
            import tensorboard.summary  # noqa: F401
        make_folder(self.folder)
        self._writer: Any = None

    def begin(self, plan: RunPlan) -> None:
        """Make the run's folder and write the settings."""
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{Path(plan.data).name}-{plan.preset}"
        path = self.folder / self.run if self.run else _make_new_folder(self.folder, name)
        self._writer = EventFileWriter(os.fspath(path))
        self._write(hparams_pb(run_parameters(plan)), 0)
        if plan.command is not None:
            self._write_text("command", f"    {printable(plan.command)}")

    def track(self, metrics: Mapping[str, float], step: int) -> None:
        """Write metrics as scalars."""
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb

        for name, value in metrics.items():
            self._write(scalar_pb(name, value), step)

    def finish(self, metrics: Mapping[str, float], summary: Summary | None, files: Sequence[Path]) -> None:
        """Write the final metrics and close the file."""
        try:
            self.track({f"final/{name}": value for name, value in metrics.items()}, 0)
            if summary is not None:
                if summary.caveats:
                    self._write_text("caveats", "\n\n".join(map(printable, summary.caveats)))
                self._write_text("classes", _class_table(summary))
                self._write_text("files", "\n\n".join(f"`{path}`" for path in files) or "none")
        finally:
            writer, self._writer = self._writer, None  # with an open writer, the callback cannot be copied
            writer.close()

    def _write_text(self, name: str, markdown: str) -> None:
        from tensorboard.plugins.text.summary_v2 import text_pb

        self._write(text_pb(name, markdown), 0)

    def _write(self, summary: Any, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        event = Event(wall_time=time.time(), step=step)
        event.summary.CopyFrom(summary)
        self._writer.add_event(event)


class MLflowCallback(Tracker):
    """Tracks runs with MLflow.

    Settings become parameters, metrics keep their names, caveats become the run's description. Model file,
    report and ``classes.csv`` become artefacts. A run that fails or is interrupted is marked as failed.

    Args:
        experiment: name of the experiment; made if it does not exist.
        tracking_uri: a folder, which gets a database ``mlflow.db`` and ``artifacts``; or a URI of MLflow,
            e.g. ``sqlite:///runs.db`` or ``http://localhost:5000``. By default MLflow decides, e.g. by the
            environment variable ``MLFLOW_TRACKING_URI``.
        run: name of the run. By default MLflow chooses one.
        tags: further tags of the run.

    Raises:
        MissingExtraError: MLflow or its database package is not installed.
        ConfigError: MLflow does not understand the URI.
        OutputError: the folder cannot be made or written to.

    Example:
        >>> tracker = MLflowCallback(tracking_uri="runs")  # doctest: +SKIP
        >>> token2wave.train("debian-sections", callbacks=[tracker])  # doctest: +SKIP
    """

    name = "MLflow"

    def __init__(
        self,
        experiment: str = "token2wave",
        tracking_uri: str | os.PathLike[str] | None = None,
        *,
        run: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.experiment, self.run, self.tags = experiment, run, dict(tags or {})
        self._uri, self._artifacts = _mlflow_uris(tracking_uri)
        self._client: Any = None
        self._connect()
        self._metrics: list[Any] = []

    def begin(self, plan: RunPlan) -> None:
        """Start the run and record its parameters."""
        from mlflow.entities import Param

        self._run_id = ""
        self._client = self._connect()
        experiment = self._client.get_experiment_by_name(self.experiment)
        if experiment is None:
            experiment_id = self._client.create_experiment(self.experiment, artifact_location=self._artifacts)
        else:
            experiment_id = experiment.experiment_id
        tags = {"token2wave.version": versions()["token2wave"], "token2wave.command": plan.command or ""}
        run = self._client.create_run(experiment_id, run_name=self.run, tags={**tags, **self.tags})
        self._run_id, self._metrics = run.info.run_id, []
        parameters = run_parameters(plan).items()
        self._log("params", [Param(name, str(value)[:MAX_PARAMETER_LENGTH]) for name, value in parameters])

    def track(self, metrics: Mapping[str, float], step: int) -> None:
        """Collect metrics; they are sent once an epoch, because each request takes time."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self._metrics += [Metric(name, value, now, step) for name, value in metrics.items()]
        if any(name.endswith("/train_loss") for name in metrics):
            self._send_metrics()

    def finish(self, metrics: Mapping[str, float], summary: Summary | None, files: Sequence[Path]) -> None:
        """Send the final metrics and the files, and close the run."""
        status = "FAILED"
        try:
            self.track(metrics, 0)
            self._send_metrics()
            if summary is not None:
                if summary.caveats:
                    self._client.set_tag(self._run_id, "mlflow.note.content", "\n\n".join(summary.caveats))
                self._client.log_text(self._run_id, _class_csv(summary), "classes.csv")
                with TemporaryDirectory() as folder:  # no text leaves the machine
                    report = write_report(replace(summary, evaluated_texts=()), Path(folder))
                    without_texts = {path.name: path for path in report}
                    for path in files:
                        path = without_texts.get(path.name, path)
                        self._client.log_artifact(self._run_id, os.fspath(path))
                status = "FINISHED"
        finally:
            self._terminate(status)

    def abandon(self) -> None:
        """Mark the run as failed; else it would appear to run forever."""
        if self._client is not None and self._run_id:
            self._terminate("FAILED")

    def _terminate(self, status: str) -> None:
        client, self._client = self._client, None  # with a client, the callback cannot be copied
        client.set_terminated(self._run_id, status)

    def _connect(self) -> Any:
        with import_extra("trackers", "tracking", "mlflow"):
            from mlflow.exceptions import MlflowException
            from mlflow.tracking import MlflowClient
        try:
            with import_extra("trackers", "MLflow's database"):
                return MlflowClient(tracking_uri=self._uri)
        except MlflowException as error:
            raise ConfigError(
                f"MLflow says: {error}",
                location="tracking_uri",
                hint="name a folder, sqlite:///FILE or the address of a server",
            ) from error

    def _send_metrics(self) -> None:
        metrics, self._metrics = self._metrics, []
        self._log("metrics", metrics)

    def _log(self, argument: str, entries: list[Any]) -> None:
        for first in range(0, len(entries), MLFLOW_CHUNK):
            self._client.log_batch(self._run_id, **{argument: entries[first : first + MLFLOW_CHUNK]})


def run_parameters(plan: RunPlan) -> dict[str, bool | int | float | str]:
    """Return everything that decides a run, by name; lists as JSON, without unset values."""
    values = {key: value for key, value in asdict(plan).items() if key not in ("settings", "label_names")}
    values |= {"n_classes": len(plan.label_names), **plan.settings}
    return {
        name: value if isinstance(value, bool | int | float | str) else json.dumps(value)
        for name, value in values.items()
        if value is not None
    }


def final_metrics(summary: Summary) -> dict[str, float]:
    """Return the finite metrics of a whole run, by name."""
    evaluation = summary.evaluation or {}
    metrics = {name: getattr(summary, name) for name in FINAL_METRICS}
    metrics |= {name: evaluation.get(name) for name in ("hamming_loss", "calibration_error")}
    scores = evaluation.get("scores") or {}
    metrics |= {name: scores.get(name) for name in ("spearman", "pearson", "mae", "rmse", "kappa", "auc")}
    return _finite(metrics | {f"cv_{name}": (summary.cv or {}).get(name) for name in ("mean", "spread")})


def _finite(metrics: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if value is not None and math.isfinite(value)}


def _make_new_folder(parent: Path, name: str) -> Path:
    """Make a folder that no other run has, in this process or another."""
    path, number = parent / name, 1
    while True:
        try:
            path.mkdir(0o700 if creates_private_files() else 0o777)
            return path
        except FileExistsError:
            number += 1
            path = parent / f"{name}-{number}"


def _mlflow_uris(uri: str | os.PathLike[str] | None) -> tuple[str | None, str | None]:
    """Return the tracking URI and, if it is a folder, the URI of the artefacts."""
    if uri is None or (isinstance(uri, str) and ("://" in uri or uri in MLFLOW_SCHEMES)):
        return uri, None
    folder = Path(uri).absolute()
    make_folder(folder)
    Outputs().check_file(folder / "mlflow.db", "MLflow database")
    return f"sqlite:///{folder / 'mlflow.db'}", (folder / "artifacts").as_uri()


def _class_table(summary: Summary) -> str:
    lines = [
        f"On the {describe_rows(summary.evaluated_on)}:",
        "",
        "| class | precision | recall | F1 | texts |",
    ]
    lines.append("| :-- | --: | --: | --: | --: |")
    for score in (summary.evaluation or {}).get("classes", ()):
        label = printable(score["label"]).replace("|", r"\|")
        cells = " | ".join(percent(score[name]) for name in CLASS_METRICS)
        lines.append(f"| {label} | {cells} | {score['support']:,} |")
    return "\n".join(lines)


def _class_csv(summary: Summary) -> str:
    columns = ("label", *CLASS_METRICS, "support")
    file = io.StringIO()
    scores = (summary.evaluation or {}).get("classes", ())
    rows = ([spreadsheet_cell(score[name]) for name in columns] for score in scores)
    csv.writer(file).writerows([columns, *rows])
    return file.getvalue()
