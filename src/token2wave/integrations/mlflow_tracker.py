"""MLflow: settings, curves, figures and files of a run, in a database of its own or on a server."""

from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from token2wave.errors import ConfigError, MissingExtraError
from token2wave.integrations.tracking import Tracker, parameters_of
from token2wave.storage.atomic import make_folder
from token2wave.training.callbacks import RunPlan
from token2wave.training.result import Summary
from token2wave.versions import versions

KEYWORDS = ("databricks", "databricks-uc", "uc")  # URIs without a scheme
LONGEST_PARAMETER = 500  # characters; older servers refuse more
AT_ONCE = 100  # parameters; servers refuse more


class MLflowCallback(Tracker):
    """Tracks a run with MLflow.

    Settings become parameters, curves and last figures metrics, the caveats the run's description. The model
    file and the report, where they are written, become artefacts, beside ``classes.csv``. A run that fails or
    is interrupted is marked as failed.

    Args:
        experiment: name of the experiment; made if there is none.
        tracking_uri: where to write: a folder, in which there will be a database ``mlflow.db`` and
            ``artifacts``; or what MLflow takes, e.g. ``sqlite:///runs.db`` or ``http://localhost:5000``; None
            leaves it to MLflow, which looks at ``MLFLOW_TRACKING_URI``.
        run: name of the run; MLflow's choice, if None.
        tags: further tags of the run.

    Raises:
        MissingExtraError: MLflow is not installed, or what it needs for a database.
        ConfigError: MLflow does not know such a place.
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
        self._uri, self._artifacts = _place_of(tracking_uri)
        self._client: Any = None
        self._connected()
        self._run_id = ""
        self._metrics: list[Any] = []

    def begin(self, plan: RunPlan) -> None:
        """Make the run, and write down its parameters."""
        from mlflow.entities import Param

        self._client, self._run_id = self._connected(), ""
        experiment = self._client.get_experiment_by_name(self.experiment)
        if experiment is None:
            made = self._client.create_experiment(self.experiment, artifact_location=self._artifacts)
        else:
            made = experiment.experiment_id
        told = {"token2wave.version": versions()["token2wave"], "token2wave.command": plan.command or ""}
        run = self._client.create_run(made, run_name=self.run, tags={**told, **self.tags})
        self._run_id, self._metrics = run.info.run_id, []
        parameters = [
            Param(name, str(value)[:LONGEST_PARAMETER]) for name, value in parameters_of(plan).items()
        ]
        for first in range(0, len(parameters), AT_ONCE):
            self._client.log_batch(self._run_id, params=parameters[first : first + AT_ONCE])

    def track(self, figures: Mapping[str, float], step: int) -> None:
        """Take figures; they are written with the next epoch, since each writing takes a while."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self._metrics += [Metric(name, value, now, step) for name, value in figures.items()]
        if any(name.endswith("/train_loss") for name in figures):
            self._write_metrics()

    def finish(self, figures: Mapping[str, float], summary: Summary | None, files: Sequence[Path]) -> None:
        """Write the last figures and the files, and close the run."""
        status = "FAILED"
        try:
            self.track(figures, 0)
            self._write_metrics()
            if summary is not None:
                if summary.caveats:
                    self._client.set_tag(self._run_id, "mlflow.note.content", "\n\n".join(summary.caveats))
                self._client.log_text(self._run_id, _classes_as_csv(summary), "classes.csv")
                for path in files:
                    self._client.log_artifact(self._run_id, os.fspath(path))
                status = "FINISHED"
        finally:
            client, self._client = self._client, None  # without it the callback can be copied
            client.set_terminated(self._run_id, status)

    def abandon(self) -> None:
        """Mark the run as failed, or it would seem to go on for ever."""
        client, self._client = self._client, None
        if client is not None and self._run_id:
            client.set_terminated(self._run_id, "FAILED")

    def _connected(self) -> Any:
        """A client of the place."""
        try:
            from mlflow.exceptions import MlflowException
            from mlflow.tracking import MlflowClient
        except ModuleNotFoundError as error:
            raise MissingExtraError("mlflow-skinny", "mlflow", purpose="tracking") from error
        try:
            return MlflowClient(tracking_uri=self._uri)
        except ModuleNotFoundError as error:
            raise MissingExtraError(str(error.name), "mlflow", purpose="MLflow's database") from error
        except MlflowException as error:
            raise ConfigError(
                f"MLflow says: {error}",
                location="tracking_uri",
                hint="name a folder, sqlite:///FILE or the address of a server",
            ) from error

    def _write_metrics(self) -> None:
        metrics, self._metrics = self._metrics, []
        for first in range(0, len(metrics), AT_ONCE):
            self._client.log_batch(self._run_id, metrics=metrics[first : first + AT_ONCE])


def _place_of(place: str | os.PathLike[str] | None) -> tuple[str | None, str | None]:
    """What MLflow calls a place, and where artefacts go there, if it is a folder."""
    if place is None or (isinstance(place, str) and ("://" in place or place in KEYWORDS)):
        return place, None
    folder = Path(place).absolute()
    make_folder(folder)
    return f"sqlite:///{folder / 'mlflow.db'}", (folder / "artifacts").as_uri()


def _classes_as_csv(summary: Summary) -> str:
    """Precision, recall and F1 of each class."""
    columns = ("label", "precision", "recall", "f1", "support")
    file = io.StringIO()
    rows = (summary.evaluation or {}).get("classes", ())
    csv.writer(file).writerows([columns, *([score[name] for name in columns] for score in rows)])
    return file.getvalue()
