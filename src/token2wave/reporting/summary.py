"""What a training run reports: plain data, and the lines a terminal shows at its end."""

from __future__ import annotations

import math
import platform
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np

NOTHING = "-"  # shown where there is no figure
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
CPUINFO = Path("/proc/cpuinfo")
LABEL_COLUMNS = 32  # of the terminal
ALL_CLASSES = 40  # more than these, and a terminal shows only the weakest
WEAKEST_CLASSES = 20


class Baseline(TypedDict):
    """Figures of another classifier on the same test set."""

    name: str
    accuracy: float
    macro_f1: float
    micro_f1: NotRequired[float]
    train_seconds: float


class Settings(TypedDict):
    """What was asked for."""

    features: dict[str, Any]
    network: dict[str, Any]
    recipe: dict[str, Any]


class Machine(TypedDict):
    """Where a run took place."""

    processor: str
    threads: int
    platform: str
    device: str


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Everything a training run reports.

    Attributes:
        accuracy: on the test set; None without one. Where a text may have several labels, the share of texts
            whose labels are right and complete.
        macro_f1: on the test set; None without one.
        micro_f1: on the test set, where a text may have several labels; else None.
        validation_accuracy: of the weights that were kept, once its levels are weighed.
        validation_micro_f1: of these weights, with thresholds of a half, where a text may have several
            labels; else None.
        train_seconds: wall time of the training loop, validation included.
        total_seconds: wall time of the command.
        texts_per_second: training texts over the wall time of training steps alone.
        peak_memory_bytes: most memory the process held; None if unknown.
        parameters: trained numbers.
        parameters_without_embedding: those outside the embedding table.
        model_bytes: size of the model file; None if none was written.
        preset: name of the preset the settings started from.
        operation: the wave operation, e.g. ``modulation``.
        epochs: passes asked for; ``history`` says how many were made.
        seed: of every random choice.
        rows: training texts given, before the validation split.
        data: name of the data set.
        caveats: sentences that must stand beside the figures wherever they are shown.
        train_rows: texts trained on.
        validation_rows: texts held out to choose the epoch by.
        test_rows: texts of the test set; None without one.
        best_epoch: the epoch whose weights were kept.
        refit: whether the model was then trained again, for as many epochs, on all ``rows``.
        history: one `Epoch` a pass; kept as dictionaries, so that a report's JSON makes a summary again.
        evaluation: `Evaluation` on the texts that ``evaluated_on`` names, or None; kept as a dictionary.
        evaluated_on: ``test`` or ``validation``.
        label_names: the classes, in order.
        baseline: another classifier on the same test set.
        settings: of features, network and recipe.
        versions: of the packages that computed this.
        machine: where it was computed.
        command: the command line, where there was one.
        max_bytes: how large the model file may be, where that was asked for.
        search: what a search for settings tried (`Record`), where one was asked for; kept as a dictionary.
        traffic: what a process sent to the others in a step, in the mean, where several trained together:
            ``row_bytes`` for the gradients of ``rows`` of the embedding, ``dense_bytes`` for all others;
            and ``processes``, how many there were.
    """

    accuracy: float | None
    macro_f1: float | None
    validation_accuracy: float | None
    train_seconds: float
    total_seconds: float
    texts_per_second: float
    peak_memory_bytes: int | None
    parameters: int
    parameters_without_embedding: int
    model_bytes: int | None
    preset: str
    operation: str
    epochs: int
    seed: int
    rows: int
    data: str
    caveats: Sequence[str]
    train_rows: int
    validation_rows: int
    test_rows: int | None
    best_epoch: int | None
    refit: bool = False
    history: Sequence[Any]
    evaluation: Any
    evaluated_on: str
    label_names: Sequence[str]
    baseline: Baseline | None
    settings: Settings
    versions: Mapping[str, str]
    machine: Machine
    command: str | None
    micro_f1: float | None = None
    validation_micro_f1: float | None = None
    max_bytes: int | None = None
    search: Mapping[str, Any] | None = None
    traffic: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "history", tuple(_dictionary(epoch) for epoch in self.history))
        object.__setattr__(self, "evaluation", _dictionary(self.evaluation))

    @property
    def multi_label(self) -> bool:
        """Whether a text may have several labels, or none."""
        return self.validation_micro_f1 is not None

    @property
    def measures(self) -> list[tuple[str, str]]:
        """Names of the measures of right labels, the most telling first, and the fields that hold them."""
        if not self.multi_label:
            return [("Accuracy", "accuracy"), ("Macro-F1", "macro_f1")]
        return [("Micro-F1", "micro_f1"), ("Macro-F1", "macro_f1"), ("Exact match", "accuracy")]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that JSON can hold; a number that is not finite becomes None."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}


def machine(threads: int, device: str) -> Machine:
    """Describe this machine.

    Args:
        threads: that torch computes with.
        device: that torch computes on, e.g. ``cpu``.
    """
    return {
        "processor": _processor(),
        "threads": threads,
        "platform": platform.platform(),
        "device": device,
    }


def lines(summary: Summary) -> list[str]:
    """Lines of plain text that a terminal shows at the end of a run."""
    evaluation, baseline = summary.evaluation, summary.baseline
    on_test = summary.evaluated_on == "test"
    note = ""
    if on_test and evaluation is not None:
        note = f"  on {count(evaluation['rows'])} test texts"
    elif summary.accuracy is None:
        note = "  no test set"
    figures = []
    for name, measure in summary.measures:
        ours = getattr(summary, measure)
        figures.append((name, percent(ours) + note))
        note = ""
        if baseline is not None:
            theirs: float = baseline[measure]  # type: ignore[literal-required]
            against = "" if ours is None else points(ours - theirs)
            figures.append(("  baseline", f"{percent(theirs)}  {printable(baseline['name'])}{against}"))
    if on_test and evaluation is not None and evaluation.get("hamming_loss") is not None:
        figures.append(("Hamming loss", percent(evaluation["hamming_loss"])))
    if on_test and evaluation is not None and evaluation.get("calibration_error") is not None:
        figures.append(("Calibration error", percent(evaluation["calibration_error"])))
    validated, on_validation = validation_figure(summary)
    figures += [
        (f"Validation {validated}", f"{percent(on_validation)}  {best_epoch(summary)}"),
        (
            "Training time",
            f"{duration(summary.train_seconds)}  ({duration(summary.total_seconds)} in all"
            + (f"; baseline {duration(baseline['train_seconds'])})" if baseline is not None else ")"),
        ),
        ("Training speed", f"{count(summary.texts_per_second)} texts/s"),
        *([] if summary.traffic is None else [("Processes", traffic_in_words(summary.traffic))]),
        ("Peak memory", size(summary.peak_memory_bytes)),
        (
            "Parameters",
            f"{count(summary.parameters)}  "
            f"({count(summary.parameters_without_embedding)} without the embedding)",
        ),
        ("Model file", size(summary.model_bytes) + at_most(summary)),
    ]
    if summary.search is not None:
        figures.append(("Search", search_in_words(summary.search)))
    width = max(len(name) for name, _ in figures)
    shown = [f"{name:<{width}}  {value}".rstrip() for name, value in figures]
    # Caveats qualify the accuracy, so they stand above the figures and are read first.
    shown = [f"Note: {printable(caveat)}" for caveat in summary.caveats] + shown
    if evaluation is not None:
        shown += ["", *_class_table(evaluation["classes"], summary.evaluated_on)]
    return shown


def validation_figure(summary: Summary) -> tuple[str, float | None]:
    """The figure of the validation texts that says most, and its name."""
    if summary.multi_label:
        return "micro-F1", summary.validation_micro_f1
    return "accuracy", summary.validation_accuracy


def best_epoch(summary: Summary) -> str:
    """Which epoch was kept, e.g. ``best epoch 3 of 5``."""
    if summary.best_epoch is None:
        return ""
    made = len(summary.history) or summary.epochs
    stopped = f", stopped early; {summary.epochs} asked for" if made < summary.epochs else ""
    again = f"; then trained again on all {count(summary.rows)} rows" if summary.refit else ""
    return f"best epoch {summary.best_epoch} of {made}{stopped}{again}"


def at_most(summary: Summary) -> str:
    """Which size was asked for, if one was."""
    return "" if summary.max_bytes is None else f"  at most {size(summary.max_bytes)} asked for"


def search_in_words(search: Mapping[str, Any]) -> str:
    """How a search for settings went, e.g. ``12 tried in 48.0 s (ended by time); kept network.width=64``."""
    n_tried = count(len(search["trials"]))
    ended = f"{n_tried} tried in {duration(search['seconds'])} (ended by {search['ended_by']})"
    return f"{ended}; kept {settings_in_words(search['settings'])}"


def traffic_in_words(traffic: Mapping[str, float]) -> str:
    """What processes sent each other, e.g. ``2; a step sends 1.47 MB for 833 rows, and 9.46 MB``."""
    of_rows, dense = (size(round(traffic[name])) for name in ("row_bytes", "dense_bytes"))
    rows = count(round(traffic["rows"]))
    return f"{count(traffic['processes'])}; in a step each sends {of_rows} for {rows} rows, and {dense}"


def settings_in_words(settings: Mapping[str, Any]) -> str:
    """Settings as one would give them, e.g. ``network.width=64 recipe.epochs=8``."""
    return " ".join(f"{key}={value}" for key, value in settings.items()) or "the settings given"


def percent(share: float | None, digits: int = 2) -> str:
    """A share as a percentage."""
    return NOTHING if share is None or not math.isfinite(share) else f"{100 * share:.{digits}f}%"


def points(difference: float) -> str:
    """A difference between two shares, in percentage points; starts with a separator."""
    return f"  ({100 * difference:+.2f} points)" if math.isfinite(difference) else ""


def count(number: float | None) -> str:
    """A number of things, with separated thousands."""
    if number is None or not math.isfinite(number):
        return NOTHING
    return f"{number:,.1f}" if 0 < number < 10 and number != int(number) else f"{round(number):,}"


def duration(seconds: float | None) -> str:
    """A time span in the unit a person would choose."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds < 0.9995:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min"


def size(n_bytes: int | None) -> str:
    """A number of bytes in decimal units."""
    if n_bytes is None:
        return NOTHING
    if n_bytes < 1000:
        return f"{n_bytes} B"
    amount, unit = float(n_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 999.5:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.3g} {unit}"


def printable(text: str) -> str:
    """One line without control characters, lone surrogates or changes of direction.

    Labels come from files: they must neither move a terminal's cursor nor break XML.
    """
    kept = (
        REPLACEMENT if unicodedata.category(c) in ("Cc", "Cs") or c in "\ufffe\uffff" else c
        for c in " ".join(text.split())
        if c not in BIDI_CONTROLS
    )
    return "".join(kept)


def columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(
        2 if unicodedata.east_asian_width(c) in "WF" else 0 if unicodedata.combining(c) else 1 for c in text
    )


def shorten(text: str, limit: int) -> str:
    """A printable text of at most so many columns, its end replaced by an ellipsis."""
    text = printable(text)
    if columns(text) <= limit:
        return text
    kept, used = "", 0
    for character in text:
        used += columns(character)
        if used > limit - 1:
            break
        kept += character
    return kept.rstrip() + "\N{HORIZONTAL ELLIPSIS}"


def _class_table(classes: Sequence[Mapping[str, Any]], evaluated_on: str) -> list[str]:
    title = f"Classes, on the {evaluated_on} texts"
    if len(classes) > ALL_CLASSES:
        title += f": the {WEAKEST_CLASSES} of {len(classes)} with the lowest F1"
        classes = sorted(classes, key=lambda score: float(score["f1"]))[:WEAKEST_CLASSES]
    names = [shorten(score["label"], LABEL_COLUMNS) for score in classes]
    width = max([len("class"), *map(columns, names)])
    table = [title, f"  {'class':<{width}}  precision   recall       F1     texts"]
    for name, score in zip(names, classes, strict=True):
        table.append(
            f"  {name}{' ' * (width - columns(name))}  {percent(score['precision']):>9}  "
            f"{percent(score['recall']):>7}  {percent(score['f1']):>7}  {count(score['support']):>8}"
        )
    return table


def _processor() -> str:
    """Model name of the processor; its architecture where the system does not tell."""
    try:
        for line in CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown"


def _dictionary(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, np.generic):
        return _plain(value.item())
    return value if value is None or isinstance(value, str | int | float) else str(value)
