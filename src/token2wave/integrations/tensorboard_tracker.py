"""TensorBoard: curves, settings and the table of classes of a run, written into a folder."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from token2wave.errors import MissingExtraError
from token2wave.formatting import percent, printable
from token2wave.integrations.tracking import Tracker, parameters_of
from token2wave.storage.atomic import make_folder
from token2wave.training.callbacks import RunPlan
from token2wave.training.result import Summary


class TensorBoardCallback(Tracker):
    """Writes a run as TensorBoard reads it; neither torch nor TensorFlow is needed.

    Each run becomes a folder of its own in ``folder``: curves as scalars, settings as hyper-parameters, the
    last figures as ``final/...``, and as text the caveats, the table of classes and the files written.

    Args:
        folder: what ``tensorboard --logdir`` is given; made if it does not exist.
        run: name of the run's folder in it; time, data and preset, if None.

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
        try:
            import tensorboard.summary  # noqa: F401
        except ModuleNotFoundError as error:
            raise MissingExtraError("tensorboard", "tensorboard", purpose="tracking") from error
        make_folder(self.folder)
        self._writer: Any = None

    def begin(self, plan: RunPlan) -> None:
        """Open a folder of its own for the run."""
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        name = self.run or f"{time.strftime('%Y%m%d-%H%M%S')}-{Path(plan.data).name}-{plan.preset}"
        path = self.folder / name if self.run else _made_apart(self.folder, name)
        self._writer = EventFileWriter(os.fspath(path))
        self._write(hparams_pb(parameters_of(plan)), 0)
        if plan.command is not None:
            self._write_text("command", f"    {printable(plan.command)}")

    def track(self, figures: Mapping[str, float], step: int) -> None:
        """Write figures as points of curves."""
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb

        for name, value in figures.items():
            self._write(scalar_pb(name, value), step)

    def finish(self, figures: Mapping[str, float], summary: Summary | None, files: Sequence[Path]) -> None:
        """Write the last figures, and close the file."""
        try:
            self.track({f"final/{name}": value for name, value in figures.items()}, 0)
            if summary is not None:
                if summary.caveats:
                    self._write_text("caveats", "\n\n".join(map(printable, summary.caveats)))
                self._write_text("classes", table_of_classes(summary))
                self._write_text("files", "\n\n".join(f"`{path}`" for path in files) or "none")
        finally:
            writer, self._writer = self._writer, None  # without it the callback can be copied
            writer.close()

    def _write_text(self, name: str, markdown: str) -> None:
        from tensorboard.plugins.text.summary_v2 import text_pb

        self._write(text_pb(name, markdown), 0)

    def _write(self, summary: Any, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        event = Event(wall_time=time.time(), step=step)
        event.summary.CopyFrom(summary)
        self._writer.add_event(event)


def _made_apart(folder: Path, name: str) -> Path:
    """Make a folder that no other run has, whatever process it is in."""
    path, number = folder / name, 1
    while True:
        try:
            path.mkdir()
            return path
        except FileExistsError:
            number += 1
            path = folder / f"{name}-{number}"


def table_of_classes(summary: Summary) -> str:
    """Precision, recall and F1 of each class as a table in Markdown."""
    lines = [f"On the {summary.evaluated_on} texts:", "", "| class | precision | recall | F1 | texts |"]
    lines.append("| :-- | --: | --: | --: | --: |")
    for score in (summary.evaluation or {}).get("classes", ()):
        label = printable(score["label"]).replace("|", r"\|")
        shares = " | ".join(percent(score[name]) for name in ("precision", "recall", "f1"))
        lines.append(f"| {label} | {shares} | {score['support']:,} |")
    return "\n".join(lines)
