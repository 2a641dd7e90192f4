"""Makes the tracker that a command line names."""

from __future__ import annotations

from token2wave.errors import ConfigError
from token2wave.integrations.tracking import Tracker


def make_tracker(target: str) -> Tracker:
    """Make the tracker that ``--tracker`` names.

    Args:
        target: ``tensorboard:FOLDER``, ``mlflow`` or ``mlflow:URI``.

    Raises:
        ConfigError: it is neither, or MLflow does not know such a place.
        MissingExtraError: its package is not installed.
        OutputError: the folder cannot be made or written to.
    """
    kind, _, place = target.partition(":")
    if kind == "tensorboard" and place:
        from token2wave.integrations.tensorboard_tracker import TensorBoardCallback

        return TensorBoardCallback(place)
    if kind == "mlflow":
        from token2wave.integrations.mlflow_tracker import MLflowCallback

        return MLflowCallback(tracking_uri=place or None)
    raise ConfigError(
        f"expected tensorboard:FOLDER, mlflow or mlflow:URI, found {target!r}",
        location="--tracker",
        hint="e.g. --tracker tensorboard:runs",
    )
