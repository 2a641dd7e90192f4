"""Renders an audit as one web page: what was found, and the review of suspicious labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from string import Template
from typing import Any

from token2wave.auditing.learning_curve import helpful_sentences
from token2wave.formatting import NOTHING, count, duration, percent, shorten
from token2wave.reporting.charts import Series, line_chart
from token2wave.reporting.html_report import Html, definitions, escaped, prose, section, table
from token2wave.reporting.page_assets import content_policy, join_modules, json_element, page_resource

MODULES = ("dom", "table", "review", "audit")
MAX_PAIRS = 20  # rows of the table of labels that are taken for each other
MAX_NUMBERS = 200  # row numbers of a finding
MAX_CLASSES = 30  # of the learning curve
SNIPPET_COLUMNS = 400

Document = Mapping[str, Any]


def render_audit_page(document: Document) -> str:
    """Render the page of an audit, from the plain data of its ``audit.json``."""
    script, style = join_modules(MODULES), page_resource("page.css") + page_resource("audit.css")
    n_suspicious = len(document["suspicious"])
    sections = [
        section("In short", _headline(document)),
        section("Findings", _findings(document["findings"])),
        section("Labels that look wrong", _pairs(document)),
    ]
    if document.get("learning_curve"):
        sections.append(section("What would help", _help(document)))
    return Template(page_resource("audit.html")).substitute(
        title=escaped(f"Audit of {document['data']}"),
        subtitle=f"{count(document['rows'])} rows, {len(document['labels'])} labels",
        policy=content_policy(script, style),
        style=style,
        script=script,
        sections="\n".join(sections).replace("<section ", '<section class="card" '),
        n_suspicious=count(n_suspicious),
        review=page_resource("review.html"),
        data=json_element("audit", document),
    )


def _headline(document: Document) -> str:
    """The figures, and what the audit has to say about itself."""
    attainable = document.get("attainable") or {}
    n_errors = sum(finding["severity"] == "error" for finding in document["findings"])
    figures = [
        ("Labels that look wrong", percent(document["noise"], 1), "open the review to decide"),
        ("Accuracy", percent(document["accuracy"], 1), "on unseen rows, measured by these labels"),
    ]
    if attainable.get("ceiling") is not None:
        figures.append(("Attainable", percent(attainable["ceiling"], 1), "at most, measured by these labels"))
    figures.append(("Findings", count(len(document["findings"])), f"errors: {count(n_errors)}"))
    figures.append(("Time", duration(document["seconds"]), ""))
    notes = "".join(f"<li>{prose(note)}</li>" for note in document["notes"])
    return definitions(figures, "figures") + (f'<ul class="notes">{notes}</ul>' if notes else "")


def _findings(findings: Sequence[Document]) -> str:
    """Each finding opens its examples and the numbers of its rows; no script is needed."""
    if not findings:
        return "<p>Nothing was found.</p>"
    items = []
    for finding in findings:
        severity, n_rows = escaped(finding["severity"]), count(finding["count"])
        items.append(
            f'<details class="finding"><summary><span class="severity {severity}">{severity}</span> '
            f'<strong>{escaped(finding["title"])}</strong> <span class="number">{n_rows}</span>'
            f"</summary>\n<p>{prose(finding['hint'])}</p>{_examples(finding['examples'])}"
            f'<p class="muted small">{_row_numbers(finding["rows"])}</p></details>'
        )
    return "\n".join(items)


def _examples(examples: Sequence[Document]) -> str:
    if not examples:
        return ""
    rows = []
    for example in examples:
        row = count(example["row"]) + (" (test)" if example.get("split") == "test" else "")
        text = f"<bdi>{escaped(shorten(example['text'], SNIPPET_COLUMNS)) or NOTHING}</bdi>"
        if example.get("detail"):
            text += f'<br><small class="muted">{escaped(example["detail"])}</small>'
        label = NOTHING if example["label"] is None else label_name(example["label"])
        rows.append([row, Html(text), label])
    return table("Examples", ["Row", "Text", "Label"], rows, n_names=3)


def _row_numbers(rows: Sequence[int | Sequence[int]]) -> str:
    """The numbers of rows; those of a group stand together."""
    if not rows:
        return ""
    groups = [
        count(row) if isinstance(row, int) else " = ".join(map(count, row)) for row in rows[:MAX_NUMBERS]
    ]
    more = f"; and {count(len(rows) - MAX_NUMBERS)} more" if len(rows) > MAX_NUMBERS else ""
    return f"Rows: {'; '.join(groups)}{more}"


def _pairs(document: Document) -> str:
    """How often each label is suspected to be another, with buttons that review these rows."""
    suspicious = document["suspicious"]
    pairs = Counter((label_name(row["label"]), label_name(row["proposed"])) for row in suspicious)
    if not pairs:
        return "<p>No label looks wrong.</p>"
    rows = []
    for (label, proposed), n_rows in pairs.most_common(MAX_PAIRS):
        pair = escaped(f"{label} → {proposed}")
        button = f'<button type="button" class="quiet" data-pair="{pair}">Review</button>'
        rows.append([label, proposed, count(n_rows), Html(button)])
    more = f" The first {MAX_PAIRS} of {len(pairs)} pairs." if len(pairs) > MAX_PAIRS else ""
    caption = f"{count(len(suspicious))} rows are in the review.{more}"
    return table(caption, ["Label", "Proposed", "Rows", ""], rows, n_names=2)


def _help(document: Document) -> str:
    """What more rows would bring: in words, as a chart, and for each class."""
    curve = document["learning_curve"]
    sentences = "".join(f"<p>{escaped(sentence)}</p>" for sentence in helpful_sentences(document))
    if curve["reason"] is not None:
        return sentences
    measure = "accuracy" if curve["measure"] == "accuracy" else "micro-F1"
    points = list(zip(curve["sizes"], curve["scores"], strict=True))
    about = f"{measure} of a quick model: " + ", ".join(
        f"{percent(value, 1)} with {count(size)} rows" for size, value in points
    )
    chart = line_chart([Series(measure, points, "train")], "training rows", measure, about)
    rows = [
        [each["label"], percent(each["scores"][-1], 1), f"{100 * each['gain']:+.1f}"]
        for each in curve["classes"][:MAX_CLASSES]
    ]
    caption = f"Points that {count(curve['more_rows'])} more rows would bring each class"
    classes = table(caption, ["Label", "F1", "Gain"], rows)
    return f'{sentences}<div class="charts"><figure>{chart}</figure>{classes}</div>'


def label_name(label: str | Sequence[str]) -> str:
    """Name a label, or the labels of a multi-label text, as ``review.js`` does."""
    return (label if isinstance(label, str) else ", ".join(label) or "none") or "–"
