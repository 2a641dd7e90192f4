"""Prints what a person sees: progress, notes and errors on standard error, results on standard output."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from token2wave.errors import ConfigError, Interruption, Token2WaveError
from token2wave.formatting import count, percent, printable, size
from token2wave.reporting.summary import (
    describe_recorded,
    describe_rows,
    render_classes,
    render_table,
    score_figures,
)
from token2wave.training.callbacks import Callback
from token2wave.training.distributed import rank

if TYPE_CHECKING:
    from rich.progress import Progress

    from token2wave.metrics import Evaluation, GroupScore


PRINTED_COVERAGES = (0, 1, 2, 4, 6, 10)
"""The points that are printed of a coverage curve."""


class _Lines(logging.Handler):
    """Prints log records on standard error, above the progress bars."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):  # the work goes on where standard error is closed or full
            # In one piece: an interruption between a line and its end would join it to the error.
            print(f"{self.format(record)}\n", end="", file=sys.stderr)


@dataclass
class Verbosity:
    """How much is printed; :func:`set_verbosity` changes it for the whole process."""

    is_quiet: bool = False
    is_verbose: bool = False


verbosity = Verbosity()
_LINES = _Lines()


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def set_verbosity(quiet: bool, verbose: bool) -> None:
    """Set how much is printed, of the package's log, too.

    The log's stages are left to the progress bars on a terminal, and its results to the output.

    Raises:
        ConfigError: both at once.
    """
    if quiet and verbose:
        raise ConfigError("--quiet and --verbose exclude each other", hint="leave one of them out")
    if rank():  # the first process speaks for all
        quiet, verbose = True, False
    verbosity.is_quiet, verbosity.is_verbose = quiet, verbose
    is_printed = {
        "": verbose,
        ".notes": not (quiet or verbose),
        ".epochs": not (quiet or verbose),
        ".stages": not (quiet or verbose or _is_terminal()),
    }
    for suffix, has_lines in is_printed.items():
        logger = logging.getLogger(f"token2wave{suffix}")
        logger.removeHandler(_LINES)
        if has_lines:
            logger.addHandler(_LINES)
    logging.getLogger("token2wave").setLevel(logging.DEBUG if verbose else logging.INFO)
    _LINES.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s" if verbose else None))


@contextmanager
def print_epochs() -> Iterator[None]:
    """Print a line on standard error for each epoch while the block runs."""
    package, epochs = logging.getLogger("token2wave"), logging.getLogger("token2wave.epochs")
    level = package.level
    package.setLevel(logging.INFO)
    epochs.addHandler(_LINES)
    try:
        yield
    finally:
        epochs.removeHandler(_LINES)
        package.setLevel(level)


def print_note(note: str) -> None:
    """Print a line on standard error that a user should know of; nothing if quiet."""
    if not verbosity.is_quiet:
        print(f"Note: {printable(note)}".encode("utf-8", "backslashreplace").decode(), file=sys.stderr)


@contextmanager
def explain_interruption(folder: Path) -> Iterator[None]:
    """Tell the user that an interrupted run of many parts can be resumed with the same command."""
    try:
        yield
    except Interruption as error:
        raise Interruption(
            f"interrupted; finished parts are in {folder}, and the same command resumes from there"
        ) from error


@contextmanager
def progress() -> Iterator[Callback]:
    """Show bars while the block runs, if standard error is a terminal."""
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
        disable=verbosity.is_quiet or not console.is_terminal,
    )
    with bars:
        yield _ProgressBars(bars)


class _ProgressBars(Callback):
    """Moves the bar of the present stage."""

    def __init__(self, bars: Progress) -> None:
        self.bars = bars

    def on_stage(self, name: str, total: int) -> None:
        for task in self.bars.task_ids:
            self.bars.remove_task(task)
        self.bars.add_task(name, total=total or None, note="")

    def on_advance(self, amount: int) -> None:
        self.bars.advance(self.bars.task_ids[-1], amount)

    def on_loss(self, loss: float, texts_per_second: float) -> None:
        note = f"loss {loss:.3f}  {texts_per_second:,.0f} texts/s"
        self.bars.update(self.bars.task_ids[-1], note=note)


def print_error(error: Token2WaveError) -> None:
    """Print one line."""
    print(f"error: {error}".encode("utf-8", "backslashreplace").decode(), file=sys.stderr)


def print_evaluation(headline: str, result: Evaluation) -> None:
    """Print the figures of an evaluation, and a line for each class."""
    print(headline)
    if result.scores is not None:
        print("\n".join(render_table(["", "value"], score_figures(asdict(result.scores)))))
    if not result.classes:
        return
    figures = f"accuracy {percent(result.accuracy)}, macro-F1 {percent(result.macro_f1)}"
    if result.micro_f1 is not None:
        figures = f"micro-F1 {percent(result.micro_f1)}, macro-F1 {percent(result.macro_f1)}"
        figures += f", exact match {percent(result.accuracy)}, Hamming loss {percent(result.hamming_loss)}"
    print(f"{figures}, {result.rows:,} texts")
    if result.interval is not None:
        low, high = map(percent, result.interval)
        print(f"95% interval of the {figures.split()[0]} {low} to {high}")
    if result.calibration_error is not None:
        print(f"expected calibration error {percent(result.calibration_error)}")
    print("\n".join(["", *render_classes(result.to_dict()["classes"])]))
    if result.answered:
        print("\nThe surest texts alone (predict --abstain-below THRESHOLD)")
        cells = [
            (
                f"{math.floor(1e4 * each.threshold) / 1e4:.4f}",
                percent(each.coverage, 1),
                percent(each.accuracy),
            )
            for each in map(result.answered.__getitem__, PRINTED_COVERAGES)
        ]
        print("\n".join(render_table(["threshold", "answered", "right"], list(dict.fromkeys(cells)))))


def print_groups(column: str, groups: Sequence[GroupScore]) -> None:
    """Print the scores of each group of texts."""
    multi_label = any(group.micro_f1 is not None for group in groups)
    head = [column, "texts", "exact match" if multi_label else "accuracy", "95% interval", "macro-F1"]
    rows = []
    for group in groups:
        interval = " to ".join(percent(bound, 1) for bound in group.interval or ())
        row = [group.name, count(group.rows), percent(group.accuracy), interval, percent(group.macro_f1)]
        rows.append([*row, f"worse than the others (p = {group.p_value:.2g})" if group.is_worse else ""])
    print("\n".join(["", *render_table(head, rows)]))


def print_novelty(mean: float | None) -> None:
    """Print the mean novelty of texts, if it is known."""
    if mean is not None:
        print(f"mean novelty {mean:.2f}; 0.50 means as novel as the validation texts of training")


def print_info(path: Path, document: dict[str, Any]) -> None:
    """Print what a model file holds."""

    def join(values: dict[str, Any], separator: str = "=") -> str:
        return ", ".join(f"{key}{separator}{value}" for key, value in values.items())

    training, labels = document["training"], document["labels"]
    classes = ", ".join(labels[:12]) + (f", ... ({len(labels)} in all)" if len(labels) > 12 else "")
    rows = {"file": f"{path} ({document['model_bytes']:,} bytes)", "classes": classes}
    if thresholds := document.get("thresholds", ()):
        bounds = f"{min(thresholds):.4f} to {max(thresholds):.4f}"
        rows["labels of a text"] = f"any number, from probabilities of {bounds} on"
    rows |= {
        "parameters": f"{document['parameters']:,}",
        "  without the embedding": f"{document['parameters_without_embedding']:,}",
        "features": join(document["features"]),
        "network": join(document["network"]),
        "trained on": f"{training.get('rows', 0):,} rows, seed {training.get('seed')}",
        "preset": f"{training.get('preset')}, best epoch {training.get('best_epoch')}",
        **dict([describe_recorded(training) or ("accuracy", "not measured")]),
        "computes with": document["computes_with"],
        "versions": join({k: v for k, v in document["versions"].items() if v != "unknown"}, " "),
    }
    for name, value in rows.items():
        print(f"{name:24}{printable(value)}")


def print_compression(out: Path, summary: dict[str, Any]) -> None:
    """Print what a compression gained and cost."""
    storage = summary["storage"] + (", rows retrained" if summary["retrained"] else "")
    n_rows = count(summary["evaluated_rows"])
    texts = f"on {n_rows} {describe_rows(summary['evaluated_on'])}"
    rows = [
        ("Size", "bytes", size, storage),
        ("Rows", "rows", count, ""),
        ("Accuracy", "accuracy", percent, texts),
        ("Micro-F1", "micro_f1", percent, texts),
        ("Spearman", "spearman", "{:.4f}".format, texts),
    ]
    print(f"{'':10}{'before':>12}{'after':>12}")
    for name, key, render, remark in rows:
        if summary.get(f"{key}_before") is not None:
            values = (render(summary[f"{key}_{when}"]) for when in ("before", "after"))
            print(f"{name:10}{''.join(f'{value:>12}' for value in values)}  {remark}".rstrip())
    same = f"of {count(summary['validation_rows'])} validation texts have the same labels before and after"
    print(f"{percent(summary['agreement'])} {same}")
    if summary["evaluated_on"] is None:
        print("Accuracy not measured: the model has learned from all these rows. Name others with --test.")
    print(f"model: {out}")
