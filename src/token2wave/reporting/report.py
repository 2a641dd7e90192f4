"""The report of a training run: JSON for machines, one self-contained HTML page, and two figures."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from token2wave.formatting import NOTHING, count, duration, percent, size
from token2wave.reporting import html_report as html
from token2wave.reporting.figures import draw, require_matplotlib
from token2wave.reporting.summary import (
    at_most,
    best_epoch,
    search_in_words,
    settings_in_words,
    validation_figure,
)
from token2wave.storage.atomic import make_folder
from token2wave.training.result import Summary

CONFUSIONS_LISTED = 15


def write_report(summary: Summary, folder: Path) -> list[Path]:
    """Write ``report.json``, ``report.html`` and the figures; the same summary gives the same bytes.

    Everything is rendered before the first file is touched, and each file appears whole or not at all.

    Args:
        summary: of a run.
        folder: made if it does not exist; files of an earlier report in it are replaced.

    Returns:
        The files written.

    Raises:
        OutputError: the folder or a file in it cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    figures = draw(summary)
    document = json.dumps(summary.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    files = {
        # A lone surrogate has no UTF-8; its backslash form is the same string in JSON.
        "report.json": document.encode("utf-8", errors="backslashreplace"),
        "report.html": _page(summary, figures).encode("utf-8"),
        **figures,
    }
    return html.write_all(folder, files)


def check_report(folder: Path) -> None:
    """Make the folder of a report, and find out before hours of work whether one can be written.

    Raises:
        OutputError: the folder cannot be made or written to.
        MissingExtraError: matplotlib is not installed.
    """
    require_matplotlib()
    make_folder(folder)


def _page(summary: Summary, figures: Mapping[str, bytes]) -> str:
    """Fill the template; whatever comes from data, settings or the command line is escaped."""
    made = f"{summary.preset} preset, {summary.operation}, seed {summary.seed}"
    rows = [f"{count(summary.train_rows)} training", f"{count(summary.validation_rows)} validation"]
    rows.append(f"{count(summary.test_rows)} test" if summary.test_rows else "no test")
    sections = [
        _baseline_section(summary),
        _class_section(summary),
        _confusion_section(summary, figures),
        _learning_section(summary, figures),
        _search_section(summary, figures),
        _details_section(summary),
    ]
    template = Template(resources.files("token2wave.reporting").joinpath("report.html").read_text("utf-8"))
    return template.substitute(
        title=html.escaped(f"Training report: {summary.data}"),
        subtitle=html.escaped(f"{made}. {', '.join(rows)} texts; {len(summary.label_names)} classes."),
        headline=_headline(summary),
        caveats=_caveats(summary.caveats),
        figures=_figures_list(summary),
        sections="\n".join(section for section in sections if section),
    )


def _headline(summary: Summary) -> str:
    evaluation = summary.evaluation
    if summary.accuracy is None:
        on = "no test set was given"
    elif evaluation is not None and summary.evaluated_on == "test":
        on = f"of {count(evaluation['rows'])} test texts"
    else:
        on = "of the test texts"
    about = {
        "accuracy": on,
        "macro_f1": "mean F1 of the classes" if summary.macro_f1 is not None else "",
    }
    if summary.multi_label:
        about |= {"micro_f1": on, "accuracy": "texts whose labels are right and complete"}
    return html.definitions(
        [(name, percent(getattr(summary, measure)), about[measure]) for name, measure in summary.measures]
    )


def _caveats(caveats: Sequence[str]) -> str:
    if not caveats:
        return ""
    items = "".join(f"<li>{html.escaped(caveat)}</li>" for caveat in caveats)
    return f'<div class="caveats" role="note"><strong>Read with care</strong><ul>{items}</ul></div>'


def _figures_list(summary: Summary) -> str:
    baseline, evaluation = summary.baseline, summary.evaluation or {}
    validated, on_validation = validation_figure(summary)
    entries = [
        (
            "Calibration error",
            percent(evaluation.get("calibration_error") if summary.evaluated_on == "test" else None),
            "between probabilities and frequencies of decisions on the test texts"
            if summary.multi_label
            else "between confidence and accuracy on the test texts",
        ),
        (f"Validation {validated}", percent(on_validation), best_epoch(summary)),
        ("Training time", duration(summary.train_seconds), f"{duration(summary.total_seconds)} in all"),
        ("Training speed", f"{count(summary.texts_per_second)} texts/s", ""),
        ("Peak memory", size(summary.peak_memory_bytes), ""),
        (
            "Parameters",
            count(summary.parameters),
            f"{count(summary.parameters_without_embedding)} without the embedding",
        ),
        ("Model file", size(summary.model_bytes), at_most(summary).strip()),
    ]
    if baseline is not None:
        _, measure = summary.measures[0]
        theirs: float = baseline[measure]  # type: ignore[literal-required]
        entries.insert(0, (f"Baseline {validated}", percent(theirs), baseline["name"]))
    if summary.multi_label and summary.evaluated_on == "test":
        about = "share of the decisions on the test texts, one for each text and class, that are wrong"
        entries.insert(0, ("Hamming loss", percent(evaluation.get("hamming_loss")), about))
    return html.definitions(entries, "figures")


def _baseline_section(summary: Summary) -> str:
    baseline = summary.baseline
    if baseline is None:
        return ""
    rows = []
    for name, measure in summary.measures:
        ours: float | None = getattr(summary, measure)
        theirs: float = baseline[measure]  # type: ignore[literal-required]
        difference = NOTHING if ours is None else f"{100 * (ours - theirs):+.2f} points"
        rows.append([name, percent(ours), percent(theirs), difference])
    ratio = NOTHING
    if summary.train_seconds > 0 and baseline["train_seconds"] > 0:
        ratio = f"{summary.train_seconds / baseline['train_seconds']:.3g} times as long"
    rows.append(
        ["Training time", duration(summary.train_seconds), duration(baseline["train_seconds"]), ratio]
    )
    caption = "Both were scored on the same test texts."
    table = html.table(caption, ["", "this model", baseline["name"], "difference"], rows)
    return html.section("Against the baseline", table)


def _class_section(summary: Summary) -> str:
    if summary.evaluation is None:
        return ""
    rows = [
        [
            score["label"],
            percent(score["precision"]),
            percent(score["recall"]),
            percent(score["f1"]),
            count(score["support"]),
        ]
        for score in summary.evaluation["classes"]
    ]
    caption = f"Scores of each class on the {summary.evaluated_on} texts."
    if summary.evaluated_on == "validation":
        caption += " The epoch was chosen by these same texts, so new texts will score somewhat lower."
    return html.section("Classes", html.table(caption, ["class", "precision", "recall", "F1", "texts"], rows))


def _confusion_section(summary: Summary, figures: Mapping[str, bytes]) -> str:
    if summary.evaluation is None or not summary.evaluation["confusion"]:
        return ""
    confusion, names = summary.evaluation["confusion"], summary.label_names
    wrong = [(-n, i, j) for i, row in enumerate(confusion) for j, n in enumerate(row) if n and i != j]
    rows = [
        [names[i], names[j], count(-n), percent(-n / sum(confusion[i]), 1)]
        for n, i, j in sorted(wrong)[:CONFUSIONS_LISTED]
    ]
    about = f"Confusion matrix of the {summary.evaluated_on} texts: true classes down, labels given across."
    figure = html.figure(
        "confusion",
        figures["confusion.svg"],
        about,
        f"{about} Numbers are texts, percentages their share of the row; the diagonal holds the right ones.",
    )
    caption = f"The most frequent confusions, {len(rows)} of {count(len(wrong))} kinds."
    head = ["true label", "label given", "texts", "share of true label"]
    return html.section("Confusions", figure + (html.table(caption, head, rows, n_names=2) if rows else ""))


def _learning_section(summary: Summary, figures: Mapping[str, bytes]) -> str:
    if not summary.history:
        return ""
    figure = html.figure(
        "learning",
        figures["learning.svg"],
        "Loss and accuracy of training and validation against the epoch; the table below has the numbers.",
        "Training figures are taken while the weights move and as they are optimised, with any dropout and "
        "label smoothing; validation figures after each epoch, without. The two are not on a par.",
    )
    rows = [
        [
            str(epoch["epoch"]) + (" (kept)" if epoch["epoch"] == summary.best_epoch else ""),
            _number(epoch["train_loss"]),
            percent(epoch["train_accuracy"]),
            _number(epoch["validation_loss"]),
            percent(epoch["validation_accuracy"]),
            *([percent(epoch["validation_micro_f1"])] if summary.multi_label else []),
        ]
        for epoch in summary.history
    ]
    head = ["epoch", "train loss", "train accuracy", "validation loss", "validation accuracy"]
    caption = "Every epoch; loss is cross-entropy in nats per text."
    if summary.multi_label:
        head.append("validation micro-F1")
        caption = (
            "Every epoch; loss is the sum over classes of the binary cross-entropy in nats per text, "
            "accuracy the share of texts whose labels are right and complete, with thresholds of a half."
        )
    table = html.table(caption, head, rows)
    return html.section("Learning", figure + table)


def _search_section(summary: Summary, figures: Mapping[str, bytes]) -> str:
    search = summary.search
    if search is None or not search["trials"]:
        return ""
    accuracy = "Share of texts whose labels are right and complete," if summary.multi_label else "Accuracy"
    figure = html.figure(
        "search",
        figures["search.svg"],
        "Validation accuracy of every candidate, and of the best so far; the table below has the numbers.",
        f"{search_in_words(search)}. {accuracy} on the {count(search['validation_rows'])} validation rows of "
        "the first split, of which a candidate may owe something to chance.",
    )
    rows = []
    for one in search["trials"]:
        found = one["comparison"]
        gain = NOTHING
        if found is not None:
            gain = f"{100 * found['gain']:+.2f} ± {100 * found['error']:.2f}"
        rows.append(
            [
                str(one["number"]),
                settings_in_words(one["settings"]),
                one["outcome"] + (f": {one['reason']}" if one["reason"] else ""),
                percent(one["accuracy"]),
                _number(one["loss"]),
                gain,
                str(one["n_splits"]),
                duration(one["seconds"]),
            ]
        )
    figure_name = search["select_by"].replace("_", "-")
    caption = (
        f"Every candidate. {search['rule']} Gain: of {figure_name} against the best so far, in hundredths, "
        "with its standard error, over so many splits of the training rows; a candidate for which nothing "
        "speaks is dropped after fewer."
    )
    head = ["candidate", "settings", "outcome", "accuracy", "loss", "gain", "splits", "time"]
    return html.section("Search for settings", figure + html.table(caption, head, rows, n_names=3))


def _details_section(summary: Summary) -> str:
    general = {
        "data": summary.data,
        "preset": summary.preset,
        "operation": summary.operation,
        "epochs asked for": summary.epochs,
        "seed": summary.seed,
        "texts given": summary.rows,
    }
    groups: dict[str, Mapping[str, Any]] = {"Run": general}
    groups |= {f"Settings: {name}": values for name, values in summary.settings.items()}  # type: ignore[misc]
    groups |= {"Versions": summary.versions, "Machine": dict(summary.machine)}
    tables = "".join(
        html.table(
            name, ["name", "value"], [[key, _setting(value)] for key, value in values.items()], n_names=2
        )
        for name, values in groups.items()
        if values
    )
    section = html.section("How this was made", f'<div class="side-by-side">{tables}</div>')
    if summary.command is not None:
        section += "\n" + html.section("Command", f"<pre><code>{html.escaped(summary.command)}</code></pre>")
    return section


def _setting(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _number(value: float | None) -> str:
    return f"{value:.4f}" if value is not None and math.isfinite(value) else NOTHING
