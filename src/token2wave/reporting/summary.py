"""Renders the figures of a training run as lines for the terminal; the report shows the same figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from token2wave.formatting import columns, count, duration, percent, printable, shorten, size

if TYPE_CHECKING:
    from token2wave.training.result import Summary

LABEL_COLUMNS = 32  # of the terminal
MAX_CLASSES = 40  # of more, a terminal shows only the weakest
WEAKEST_CLASSES = 20


def render_summary(summary: Summary) -> list[str]:
    """Render a run as lines of plain text."""
    evaluation, baseline = summary.evaluation, summary.baseline
    remark = "no test set" if summary.accuracy is None else ""
    if summary.evaluated_on == "test" and evaluation is not None:
        remark = f"on {count(evaluation['rows'])} test texts"
    figures = []
    for name, measure in summary.measures:
        value: float | None = getattr(summary, measure)
        figures.append((name, percent(value), remark))
        remark = ""
        if baseline is not None:
            of_baseline: float = baseline[measure]  # type: ignore[literal-required]
            difference = "" if value is None else f"  ({100 * (value - of_baseline):+.2f} points)"
            name_of_baseline = printable(baseline["name"]) + difference
            figures.append(("  baseline", percent(of_baseline), name_of_baseline))
    figures += run_figures(summary)
    if summary.search is not None:
        figures.append(("Search", describe_search(summary.search), ""))
    width = max(len(name) for name, _, _ in figures)
    # Caveats qualify the accuracy, so they come first.
    lines = [f"Note: {printable(caveat)}" for caveat in summary.caveats]
    lines += [f"{name:<{width}}  {value}  {remark}".rstrip() for name, value, remark in figures]
    if evaluation is not None:
        classes, title = evaluation["classes"], f"Classes, on the {summary.evaluated_on} texts"
        if len(classes) > MAX_CLASSES:
            title += f": the {WEAKEST_CLASSES} of {len(classes)} with the lowest F1"
            classes = sorted(classes, key=lambda score: float(score["f1"]))[:WEAKEST_CLASSES]
        lines += ["", title, *render_classes(classes)]
    return lines


def run_figures(summary: Summary) -> list[tuple[str, str, str]]:
    """List the figures of a run apart from its measures, as name, value and remark."""
    evaluation = summary.evaluation if summary.evaluated_on == "test" and summary.evaluation else {}
    figures = []
    for name, key in (("Hamming loss", "hamming_loss"), ("Calibration error", "calibration_error")):
        if evaluation.get(key) is not None:
            figures.append((name, percent(evaluation[key]), ""))
    times = f"{duration(summary.total_seconds)} in all"
    if summary.baseline is not None:
        times += f"; baseline {duration(summary.baseline['train_seconds'])}"
    validation = ("Validation accuracy", percent(summary.validation_accuracy))
    if summary.multi_label:
        validation = ("Validation micro-F1", percent(summary.validation_micro_f1))
    without_embedding = f"({count(summary.parameters_without_embedding)} without the embedding)"
    limit = "" if summary.max_bytes is None else f"at most {size(summary.max_bytes)} asked for"
    return [
        *figures,
        (*validation, _best_epoch(summary)),
        ("Training time", duration(summary.train_seconds), f"({times})"),
        ("Training speed", f"{count(summary.texts_per_second)} texts/s", ""),
        *([] if summary.traffic is None else [("Processes", _describe_traffic(summary.traffic), "")]),
        ("Peak memory", size(summary.peak_memory_bytes), ""),
        ("Parameters", count(summary.parameters), without_embedding),
        ("Model file", size(summary.model_bytes), limit),
    ]


def _best_epoch(summary: Summary) -> str:
    """Say which epoch was kept, e.g. ``best epoch 3 of 5``."""
    if summary.best_epoch is None:
        return ""
    n_epochs = len(summary.history) or summary.epochs
    stopped = f", stopped early; {summary.epochs} asked for" if n_epochs < summary.epochs else ""
    refit = f"; then trained again on all {count(summary.rows)} rows" if summary.refit else ""
    return f"best epoch {summary.best_epoch} of {n_epochs}{stopped}{refit}"


def describe_search(search: Mapping[str, Any]) -> str:
    """Describe a settings search, e.g. ``12 tried in 48.0 s (ended by time); kept network.width=64``."""
    n_tried = count(len(search["trials"]))
    ended = f"{n_tried} tried in {duration(search['seconds'])} (ended by {search['ended_by']})"
    return f"{ended}; kept {describe_settings(search['settings'])}"


def describe_settings(settings: Mapping[str, Any]) -> str:
    """Write settings as you would give them, e.g. ``network.width=64 recipe.epochs=8``."""
    return " ".join(f"{key}={value}" for key, value in settings.items()) or "the settings given"


def _describe_traffic(traffic: Mapping[str, float]) -> str:
    """Describe what processes send, e.g. ``2; in a step each sends 1.47 MB for 833 rows, and 9.46 MB``."""
    row_bytes, dense_bytes = (size(round(traffic[name])) for name in ("row_bytes", "dense_bytes"))
    rows = count(round(traffic["rows"]))
    return (
        f"{count(traffic['processes'])}; in a step each sends {row_bytes} for {rows} rows, and {dense_bytes}"
    )


def render_classes(classes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Render a table of the classes' scores."""
    names = [shorten(score["label"], LABEL_COLUMNS) for score in classes]
    width = max([len("class"), *map(columns, names)])
    lines = [f"  {'class':<{width}}  precision   recall       F1     texts"]
    for name, score in zip(names, classes, strict=True):
        lines.append(
            f"  {name}{' ' * (width - columns(name))}  {percent(score['precision']):>9}  "
            f"{percent(score['recall']):>7}  {percent(score['f1']):>7}  {count(score['support']):>8}"
        )
    return lines
