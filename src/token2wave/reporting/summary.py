"""The lines that a terminal shows at the end of a training run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from token2wave.formatting import columns, count, duration, percent, points, printable, shorten, size
from token2wave.training.result import Summary

LABEL_COLUMNS = 32  # of the terminal
ALL_CLASSES = 40  # more than these, and a terminal shows only the weakest
WEAKEST_CLASSES = 20


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
