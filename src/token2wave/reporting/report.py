"""Writes the report of a training run: JSON and one self-contained HTML page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from token2wave.formatting import NOTHING, count, duration, percent
from token2wave.reporting import html_report as html
from token2wave.reporting.charts import Series, key, line_chart
from token2wave.reporting.confusions import TextPanels, confusion_table
from token2wave.reporting.figures import FIGURES, draw, require_matplotlib
from token2wave.reporting.summary import (
    describe_folds,
    describe_rows,
    headline,
    run_figures,
    score_figures,
    verdict,
)
from token2wave.storage.atomic import make_folder
from token2wave.storage.outputs import Outputs
from token2wave.training.result import Summary
from token2wave.training.search_history import describe_search, describe_settings

FILES = ("report.json", "report.html")
MAX_CONFUSIONS = 15  # listed
DIGITS = 1  # after the decimal point of percentages and percentage points
REMARKS = {
    "Hamming loss": "wrong decisions on the same texts, one for each text and class",
    "Calibration error": "between probability and frequency on the same texts",
}


def write_report(summary: Summary, folder: Path, figures: bool = False) -> list[Path]:
    """Write ``report.json`` and ``report.html``. Equal summaries give equal bytes.

    The folder is made if it does not exist, and files of an earlier report are replaced. Everything is
    rendered before a file is touched, and each file appears whole or not at all.

    Args:
        summary: of the run; its evaluated texts are in the report, in JSON without the effects of words.
        folder: to write to.
        figures: also write the figures as PNG and SVG files, by matplotlib.

    Returns:
        The files written.

    Raises:
        OutputError: the folder or a file in it cannot be written.
        MissingExtraError: ``figures`` needs matplotlib, which is not installed.
    """
    texts = [{name: text[name] for name in text if name != "words"} for text in summary.evaluated_texts]
    content = {**summary.to_dict(), "evaluated_texts": texts}
    document = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    files = {
        # A lone surrogate has no UTF-8; its backslash form is the same string in JSON.
        "report.json": document.encode("utf-8", errors="backslashreplace"),
        "report.html": _page(summary).encode("utf-8"),
        **(draw(summary) if figures else {}),
    }
    return html.write_all(folder, files)


def check_report(folder: Path, outputs: Outputs, figures: bool = False) -> None:
    """Make the folder of a report, and check before training that a report can be written.

    Raises:
        OutputError: the folder cannot be made or written to, or something else than a report would be lost.
        MissingExtraError: ``figures`` needs matplotlib, which is not installed.
    """
    if figures:
        require_matplotlib()
    make_folder(folder)
    for name in (*FILES, *(FIGURES if figures else ())):
        outputs.check_file(folder / name, "report", shown_by=folder / FILES[0])


def _page(summary: Summary) -> str:
    """Fill the template. Text from data, settings and the command line is escaped."""
    texts = [f"{count(summary.train_rows)} training", f"{count(summary.validation_rows)} validation"]
    texts.append(f"{count(summary.test_rows)} test" if summary.test_rows else "no test")
    if summary.evaluated_on == "held-out":
        texts[-1] = f"{count(summary.evaluation['rows'])} held-out"
    subtitle = (
        f"{summary.preset} preset, {summary.operation}, seed {summary.seed}. "
        f"{', '.join(texts)} texts; {len(summary.label_names)} classes."
    )
    sections = [
        _baseline_section(summary),
        _folds_section(summary),
        _confusion_section(summary),
        _class_section(summary),
        _coverage_section(summary),
        _learning_section(summary),
        _search_section(summary),
        _details_section(summary),
    ]
    entries = [
        (name, value, remark.strip("()") or REMARKS.get(name, ""))
        for name, value, remark in run_figures(summary, DIGITS)
    ]
    template = Template(resources.files("token2wave.reporting").joinpath("report.html").read_text("utf-8"))
    return template.substitute(
        title=html.escaped(f"Training report: {summary.data}"),
        subtitle=html.escaped(subtitle),
        description=html.escaped(verdict(summary)),
        headline=_headline(summary),
        caveats=_caveats(summary.caveats),
        figures=html.definitions(entries, "figures"),
        sections="\n".join(section for section in sections if section),
    )


def _headline(summary: Summary) -> str:
    remarks = {"accuracy": "texts whose labels are all right" if summary.multi_label else ""}
    remarks["macro_f1"] = "mean F1 of the classes" if summary.macro_f1 is not None else ""
    measures = [
        (name, _percent(getattr(summary, measure)), remarks.get(measure, ""))
        for name, measure in summary.measures
    ]
    if summary.evaluation is not None and summary.evaluation["scores"] is not None:
        measures = score_figures(summary.evaluation["scores"])
    sentences = f'<p class="lead">{html.escaped(verdict(summary))}</p>'
    sentences += f'<p class="evidence">{html.escaped(headline(summary))}.</p>'
    return sentences + html.definitions(measures)


def _caveats(caveats: Sequence[str]) -> str:
    if not caveats:
        return ""
    items = "".join(f"<li>{html.escaped(caveat)}</li>" for caveat in caveats)
    return f'<div class="caveats" role="note"><strong>Read with care</strong><ul>{items}</ul></div>'


def _baseline_section(summary: Summary) -> str:
    baseline = summary.baseline
    if baseline is None:
        return ""
    rows = []
    for name, measure in summary.measures:
        value: float | None = getattr(summary, measure)
        of_baseline: float = baseline[measure]  # type: ignore[literal-required]
        difference = NOTHING if value is None else f"{_signed(100 * (value - of_baseline))} points"
        rows.append([name, _percent(value), _percent(of_baseline), difference])
    seconds = summary.train_seconds, baseline["train_seconds"]
    ratio = f"{seconds[0] / seconds[1]:.3g} times as long" if min(seconds) > 0 else NOTHING
    rows.append(["Training time", *map(duration, seconds), ratio])
    head = ["", "this model", baseline["name"], "difference"]
    table = html.table(
        f"Both learnt from the same rows; the figures are of the same {describe_rows(summary.evaluated_on)}.",
        head,
        rows,
    )
    return html.section("Against the baseline", table)


def _folds_section(summary: Summary) -> str:
    if summary.cv is None:
        return ""
    measure = "micro-F1" if summary.multi_label else "accuracy"
    rows = [[str(number), _percent(value)] for number, value in enumerate(summary.cv["folds"], start=1)]
    caption = (
        f"{describe_folds(summary.cv, DIGITS)}. The rows of a fold are predicted by a model without them."
    )
    return html.section("Cross-validation", html.table(caption, ["fold", measure], rows))


def _class_section(summary: Summary) -> str:
    if summary.evaluation is None or not summary.evaluation["classes"]:
        return ""
    rows = [
        [
            score["label"],
            *(_percent(score[key]) for key in ("precision", "recall", "f1")),
            count(score["support"]),
        ]
        for score in summary.evaluation["classes"]
    ]
    caption = f"Scores of each class on the {describe_rows(summary.evaluated_on)}."
    return html.section("Classes", html.table(caption, ["class", "precision", "recall", "F1", "texts"], rows))


def _confusion_section(summary: Summary) -> str:
    """The confusion matrix, if there is one; of multi-label texts the wrong decisions of each class."""
    if summary.evaluation is None:
        return ""
    confusion = summary.evaluation["confusion"]
    names = [score["label"] for score in summary.evaluation["classes"]]  # also of labels without a class
    panels = TextPanels(summary.evaluated_texts, confusion, names)
    rows_evaluated = describe_rows(summary.evaluated_on)
    if summary.multi_label:
        pairs = {name: ((name, None), (None, name)) for name in names}
        rows = [
            [name, *(panels.button(pair, str(panels.count(pair) or "")) for pair in pairs[name])]
            for name in names
            if any(map(panels.count, pairs[name]))
        ]
        caption = f"The surest wrong decisions on the {rows_evaluated}. A number opens the texts."
        content = html.table(caption, ["class", "missed", "given wrongly"], rows) + panels.html()
        return html.section("Mistakes", content) if rows else ""
    if not confusion:  # a matrix of very many classes
        return ""
    wrong = [(-n, i, j) for i, row in enumerate(confusion) for j, n in enumerate(row) if n and i != j]
    rows = [
        [
            names[i],
            names[j],
            panels.button((names[i], names[j]), count(-n)),
            _percent(-n / sum(confusion[i])),
        ]
        for n, i, j in sorted(wrong)[:MAX_CONFUSIONS]
    ]
    about = (
        f"True labels of the {rows_evaluated} down, predicted labels across. A cell has a number of texts. "
        "The darker it is, the larger is their part of the row. The diagonal is right."
    )
    if summary.evaluated_texts:
        about += " A number opens the texts."
    matrix = f'<p class="muted">{html.escaped(about)}</p>\n'
    matrix += confusion_table(confusion, names, f"Confusion matrix of the {rows_evaluated}", panels)
    frequent = ""
    if rows:
        caption = f"The most frequent confusions, {len(rows)} of {count(len(wrong))}."
        head = ["true label", "predicted label", "texts", "of true label"]
        frequent = f"<div>{html.table(caption, head, rows, n_names=2)}</div>"
    # The list comes first, because a phone shows only a corner of the matrix.
    content = f'<div class="beside matrix-and-list">{frequent}<div>{matrix}</div></div>'
    return html.section("Confusions", content + panels.html())


def _coverage_section(summary: Summary) -> str:
    points = (summary.evaluation or {}).get("answered")
    if not points:
        return ""
    curve = [(100 * point["coverage"], 100 * point["accuracy"]) for point in reversed(points)]
    chart = line_chart(
        [Series("accuracy", curve, "train")],
        "texts that get a label (%)",
        "right among them (%)",
        "Accuracy of the surest texts against the fraction of texts that get a label, as in the table below.",
    )
    figure = _figure(
        f'<div class="charts">{chart}</div>',
        f"Of the {describe_rows(summary.evaluated_on)}, if those below a threshold get no label "
        "(predict --abstain-below).",
    )
    rows = [
        [
            f"{math.floor(1e4 * point['threshold']) / 1e4:.4f}",
            _percent(point["coverage"]),
            _percent(point["accuracy"]),
        ]
        for point in points
    ]
    head = ["threshold", "texts that get a label", "right among them"]
    table = html.table("Each threshold of the probability.", head, list(dict.fromkeys(map(tuple, rows))))
    return html.section("Coverage", figure + table)


def _learning_section(summary: Summary) -> str:
    if not summary.history:
        return ""
    curves = [("training", "train"), ("validation", "validation")]
    charts = "".join(
        line_chart(
            [
                Series(
                    name,
                    [(e["epoch"], _scaled(e[f"{style}_{measure}"], scale)) for e in summary.history],
                    style,
                )
                for name, style in curves
            ],
            "epoch (passes over the training texts)",
            label,
            f"{measure.capitalize()} of training and validation at every epoch, as in the table below.",
            summary.best_epoch,
        )
        for measure, scale, label in (
            ("loss", 1, "cross-entropy (nats per text)"),
            ("accuracy", 100, "accuracy (% of texts)"),
        )
    )
    if summary.best_epoch is not None:
        curves.append(("epoch kept", "kept"))
    chosen_by = (
        "Validation rows choose the epoch and the weights of the branches, so the headline is not of them."
        if summary.validation_rows
        else "No texts were held out: validation figures are of the training texts, which choose the epoch."
    )
    figure = _figure(
        f'{key(curves)}<div class="charts">{charts}</div>',
        "Training figures are measured while the weights change, with dropout and label smoothing, but "
        f"validation figures after each epoch and without these: they are not comparable. {chosen_by}",
    )
    rows = [
        [
            str(epoch["epoch"]) + (" (kept)" if epoch["epoch"] == summary.best_epoch else ""),
            _number(epoch["train_loss"]),
            _percent(epoch["train_accuracy"]),
            _number(epoch["validation_loss"]),
            _percent(epoch["validation_accuracy"]),
            *([_percent(epoch["validation_micro_f1"])] if summary.multi_label else []),
        ]
        for epoch in summary.history
    ]
    head = ["epoch", "train loss", "train accuracy", "validation loss", "validation accuracy"]
    caption = "Every epoch. Loss is cross-entropy in nats per text."
    if summary.multi_label:
        head.append("validation micro-F1")
        caption = (
            "Every epoch. Loss is binary cross-entropy in nats per text, summed over the classes. Accuracy "
            "counts texts whose labels are all right, with thresholds of a half."
        )
    content = f'<div class="beside">{figure}<div>{html.table(caption, head, rows)}</div></div>'
    return html.section("Learning", content)


def _search_section(summary: Summary) -> str:
    search = summary.search
    if search is None or not search["trials"]:
        return ""
    accuracy = "The fraction of texts whose labels are all right" if summary.multi_label else "Accuracy"
    scores = [(t["outcome"] == "dropped", t["number"], _scaled(t["accuracy"], 100)) for t in search["trials"]]
    best = [(number, score) for is_dropped, number, score in scores if score is not None and not is_dropped]
    dropped = [(number, score if is_dropped else None) for is_dropped, number, score in scores]
    chart = line_chart(
        [Series("best so far", best, "train", "steps"), Series("dropped", dropped, "validation", "none")],
        "candidate",
        "validation accuracy (% of texts)",
        "Validation accuracy of every candidate, and of the best so far. The table below has the numbers.",
    )
    figure = _figure(
        f'{key([("best so far", "train"), ("dropped", "validation")])}<div class="charts">{chart}</div>',
        f"{describe_search(search)}. {accuracy} is of the {count(search['validation_rows'])} validation rows "
        "of the first split. It is partly chance.",
    )
    rows = []
    for trial in search["trials"]:
        gain, comparison = NOTHING, trial["comparison"]
        if comparison is not None:
            gain = f"{_signed(100 * comparison['gain'])} ± {100 * comparison['error']:.{DIGITS}f}"
        rows.append(
            [
                str(trial["number"]),
                describe_settings(trial["settings"]),
                trial["outcome"] + (f": {trial['reason']}" if trial["reason"] else ""),
                _percent(trial["accuracy"]),
                _number(trial["loss"]),
                gain,
                str(trial["n_splits"]),
                duration(trial["seconds"]),
            ]
        )
    caption = (
        f"Every candidate. {search['rule']} Gain: {search['select_by'].replace('_', '-')} against the best "
        "so far, in hundredths, with its standard error, over these splits of the training rows. A candidate "
        "that is better in nothing is dropped after fewer splits."
    )
    head = ["candidate", "settings", "outcome", "accuracy", "loss", "gain", "splits", "time"]
    return html.section("Search for settings", figure + html.table(caption, head, rows, n_names=3))


def _details_section(summary: Summary) -> str:
    groups: dict[str, Mapping[str, Any]] = {
        "Run": {
            "data": summary.data,
            "preset": summary.preset,
            "operation": summary.operation,
            "epochs asked for": summary.epochs,
            "seed": summary.seed,
            "texts given": summary.rows,
        }
    }
    groups |= {f"Settings: {name}": values for name, values in summary.settings.items()}
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


def _figure(content: str, caption: str) -> str:
    return f"<figure>{content}<figcaption>{html.escaped(caption)}</figcaption></figure>\n"


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else factor * value


def _number(value: float | None) -> str:
    return f"{value:.4f}" if value is not None and math.isfinite(value) else NOTHING


def _percent(fraction: float | None) -> str:
    return percent(fraction, DIGITS)


def _signed(points: float) -> str:
    """Write percentage points with their sign; what rounds to zero has none."""
    text = f"{abs(points):.{DIGITS}f}"
    return text if float(text) == 0 else f"{'+' if points > 0 else '−'}{text}"
