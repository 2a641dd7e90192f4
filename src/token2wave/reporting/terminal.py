"""What the command line shows a person. Progress goes to standard error, results to standard output."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from token2wave.errors import Interruption, Token2WaveError

if TYPE_CHECKING:
    from rich.progress import Progress

    from token2wave.metrics import Evaluation
    from token2wave.training.callbacks import Callback, Epoch
    from token2wave.training.search_history import SearchHistory, Trial


@contextmanager
def kept_if_interrupted(folder: Path) -> Iterator[None]:
    """Say that an interrupted run of many pieces goes on with the same command."""
    try:
        yield
    except Interruption as error:
        raise Interruption(
            f"interrupted; finished pieces are kept in {folder}, and the same command goes on from there"
        ) from error


@contextmanager
def progress() -> Iterator[Callback]:
    """Show bars while the block runs; without a terminal, a line for each epoch."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bars:
        yield _bars_callback(bars)


def _bars_callback(bars: Progress) -> Callback:
    from token2wave.reporting.summary import search_in_words, settings_in_words
    from token2wave.training.callbacks import Callback

    class Bars(Callback):
        """Moves the bar of the present stage."""

        stage = ""

        def on_stage(self, name: str, total: int) -> None:
            self.stage = name
            for task in bars.task_ids:
                bars.remove_task(task)
            bars.add_task(name, total=total or None, note="")

        def on_advance(self, amount: int) -> None:
            bars.advance(bars.task_ids[-1], amount)

        def on_loss(self, loss: float, texts_per_second: float) -> None:
            bars.update(bars.task_ids[-1], note=f"loss {loss:.3f}  {texts_per_second:,.0f} texts/s")

        def on_epoch(self, epoch: Epoch) -> None:
            line = f"{self.stage}, epoch {epoch.epoch}: train loss {epoch.train_loss:.4f}"
            if epoch.validation_accuracy is not None:
                line += f", validation loss {epoch.validation_loss:.4f}"
                line += f", validation accuracy {100 * epoch.validation_accuracy:.2f}%"
                if epoch.validation_micro_f1 not in (None, epoch.validation_accuracy):  # of several labels
                    line += f", micro-F1 {100 * (epoch.validation_micro_f1 or 0):.2f}%"
            self._print(line)

        def on_candidate(self, trial: Trial) -> None:
            if trial.is_improvement and trial.accuracy is not None:
                line = f"search, candidate {trial.number}: validation accuracy {100 * trial.accuracy:.2f}%"
                self._print(f"{line}, {settings_in_words(trial.settings)}")

        def on_search_end(self, record: SearchHistory) -> None:
            self._print(f"search: {search_in_words(record.to_dict())}")
            if record.ended_by == "interruption":
                self._print("interrupted: the best settings so far are trained; Ctrl-C again stops that, too")

        def _print(self, line: str) -> None:
            bars.console.print(line, highlight=False, markup=False, soft_wrap=True)

    return Bars()


def print_error(error: Token2WaveError) -> None:
    """Print one line."""
    print(f"error: {error}".encode("utf-8", "backslashreplace").decode(), file=sys.stderr)


def print_evaluation(result: Evaluation) -> None:
    """Print the figures of an evaluation, and a line for each class."""
    figures = f"accuracy {100 * result.accuracy:.2f}%, macro-F1 {100 * result.macro_f1:.2f}%"
    if result.micro_f1 is not None and result.hamming_loss is not None:
        figures = f"micro-F1 {100 * result.micro_f1:.2f}%, macro-F1 {100 * result.macro_f1:.2f}%"
        figures += f", exact match {100 * result.accuracy:.2f}%"
        figures += f", Hamming loss {100 * result.hamming_loss:.2f}%"
    print(f"{figures}, {result.rows:,} texts")
    if result.calibration_error is not None:
        print(f"expected calibration error {100 * result.calibration_error:.2f}%")
    for part in result.answered:
        print(
            f"  {100 * part.accuracy:.2f}% of the surest {100 * part.coverage:.0f}% are right: "
            f"those from probability {math.floor(1e6 * part.threshold) / 1e6:.6f} on"
        )
    from token2wave.formatting import printable

    labels = [printable(score.label) for score in result.classes]
    width = max(5, *map(len, labels))
    print(f"{'class':{width}}  precision  recall      F1   texts")
    for label, score in zip(labels, result.classes, strict=True):
        print(
            f"{label:{width}}  {100 * score.precision:8.2f}  {100 * score.recall:7.2f}"
            f"  {100 * score.f1:6.2f}  {score.support:6,}"
        )


def print_novelty(mean: float | None) -> None:
    """Print the mean novelty of texts, where it is known."""
    if mean is not None:
        print(f"mean novelty {mean:.2f}; 0.50 where texts are as those that training held back")


def print_info(path: Path, document: dict[str, Any]) -> None:
    """Print what a model file holds."""
    from token2wave.formatting import printable

    network, training = document["network"], document["training"]
    labels = document["labels"]
    shown = ", ".join(labels[:12]) + (f", ... ({len(labels)} in all)" if len(labels) > 12 else "")
    shares = document.get("thresholds", ())
    thresholds = f"from probabilities of {min(shares):.4f} to {max(shares):.4f} on" if shares else ""
    rows = [
        ("file", f"{path} ({document['model_bytes']:,} bytes)"),
        ("classes", shown),
        *([("labels of a text", f"any number, {thresholds}")] if thresholds else []),
        ("parameters", f"{document['parameters']:,}"),
        ("  without the embedding", f"{document['parameters_without_embedding']:,}"),
        ("features", ", ".join(f"{key}={value}" for key, value in document["features"].items())),
        ("network", ", ".join(f"{key}={value}" for key, value in network.items())),
        ("trained on", f"{training.get('data')}, {training.get('rows')} rows, seed {training.get('seed')}"),
        ("preset", f"{training.get('preset')}, best epoch {training.get('best_epoch')}"),
        ("computes with", document["computes_with"]),
        ("versions", ", ".join(f"{key} {value}" for key, value in document["versions"].items())),
    ]
    for name, value in rows:
        print(f"{name:24}{printable(value)}")


def print_compression(out: Path, summary: dict[str, Any]) -> None:
    """Show what a compression gained and cost."""
    from token2wave.formatting import count, percent, size

    for caveat in summary["caveats"]:
        print(f"Note: {caveat}")
    how = summary["storage"] + (", rows trained again" if summary["retrained"] else "")
    on = f"on {count(summary['validation_rows'])} validation texts"
    rows = [
        ("Size", size(summary["bytes_before"]), size(summary["bytes_after"]), how),
        ("Rows", count(summary["rows_before"]), count(summary["rows_after"]), ""),
        ("Accuracy", percent(summary["accuracy_before"]), percent(summary["accuracy_after"]), on),
        *(
            [("Micro-F1", percent(summary["micro_f1_before"]), percent(summary["micro_f1_after"]), "")]
            if "micro_f1_before" in summary
            else []
        ),
        ("Loss", f"{summary['loss_before']:.4f}", f"{summary['loss_after']:.4f}", ""),
    ]
    print(f"{'':10}{'before':>12}{'after':>12}")
    for name, before, after, note in rows:
        print(f"{name:10}{before:>12}{after:>12}  {note}".rstrip())
    print(f"model: {out}")
