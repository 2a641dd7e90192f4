"""The report of a reproduction: JSON, Markdown, and one self-contained HTML page, from its document alone."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from string import Template

from paper.accuracy import EVERYDAY
from paper.claims import claims_table
from paper.comparison_tables import (
    accuracy_table,
    counterparts_table,
    published_cost_table,
    rows_table,
    title_of,
    transformer_table,
)
from paper.result_store import file_name
from paper.studies import load_study
from paper.study import Document, Drawing, Table
from paper.study_figures import files_of
from token2wave.reporting import html_report as html

TITLE = "The Wave Network's papers, reproduced"
ABOUT = (
    "What *Wave Network* (arXiv 2411.02674) and *The Backpropagation of the Wave Network* (arXiv 2411.06989) "
    "report, measured again. Published figures stand beside measured ones."
)
QUICK = "A quick run, a miniature on few rows: it shows that everything works, and its figures mean nothing."


def write_report(document: Document, folder: Path) -> list[Path]:
    """Write ``report.json``, ``report.md``, ``report.html`` and the figures.

    The same document gives the same bytes.

    Args:
        document: of :func:`paper.reproduce.reproduce`.
        folder: files of an earlier report in it are replaced.

    Returns:
        The files written.

    Raises:
        OutputError: the folder or a file in it cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    sections = report_sections(document)
    figures: dict[str, bytes] = {}
    for section in sections:
        for name, drawing in section.drawings.items():
            figures |= files_of(name, drawing.figure)
    plain = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    files = {
        "report.json": plain.encode("utf-8", errors="backslashreplace"),
        "report.md": markdown(document, sections).encode("utf-8", errors="backslashreplace"),
        "report.html": _page(document, sections, figures).encode("utf-8", errors="xmlcharrefreplace"),
        **{f"figures/{name}": content for name, content in figures.items()},
    }
    (folder / "figures").mkdir(exist_ok=True)
    return html.write_all(folder, files)


class Section:
    """A part of the report.

    Args:
        title: its heading.
        about: a paragraph before its tables.
        tables: in order.
        drawings: by file name without ending.
    """

    def __init__(
        self, title: str, about: str, tables: list[Table], drawings: dict[str, Drawing] | None = None
    ) -> None:
        self.title, self.about, self.tables, self.drawings = title, about, tables, drawings or {}


def report_sections(document: Document) -> list[Section]:
    """Everything that the report shows, in order."""
    sections = [
        Section(
            "What holds",
            "Each verdict follows from the figures of this report by a rule, which stands in its row.",
            [claims_table(document)],
        ),
        Section(
            "Accuracy",
            "The papers' Tables 1 and 2. A fifth of the training rows is held back (unless the data has "
            "validation rows of its own), and the weights of the epoch that is best on it are tested; "
            "nothing is chosen on test rows. What the papers leave open is decided by preset paper: AdamW, "
            "and Adam on the rows of the embedding that a step used, a warm-up and linear decay of the rate; "
            "and, in Wave networks, half of the dimensions of a text's state and half of its tokens dropped "
            "in training. Rows named bare keep the optimisers alone: a constant rate, and no regularisation.",
            [accuracy_table(document), rows_table(document)],
        ),
        Section(
            "The Transformer check",
            "The first paper's Table 1 gives 71.68 % for a Transformer of one layer. In its Fig. 7 "
            "validation accuracy of that Transformer lies between 0.79 and 0.84, and its training accuracy "
            "ends near 0.717. Here all three accuracies stand beside the published one.",
            [transformer_table(document)],
        ),
    ]
    for name, found in document["studies"].items():
        study = load_study(name)
        tables: list[Table] = []
        drawings: dict[str, Drawing] = {}
        for one in found:
            tables += study.tables(one)
            suffix = f"-{file_name(one['data'].replace('/', '_'))}" if len(found) > 1 else ""
            drawings |= {f"{key}{suffix}": drawing for key, drawing in study.drawings(one).items()}
        if name == "resources":
            tables.append(published_cost_table(document))
        known = {caveat for dataset in document["datasets"].values() for caveat in dataset["caveats"]}
        notes = [note for one in found for note in one.get("caveats", []) if note not in known]
        sections.append(Section(study.title, " ".join([study.about, *notes]), tables, drawings))
    sections.append(
        Section(
            "Where each result of the papers is found",
            "Every table and figure of the two papers, and the questions that they leave open.",
            [counterparts_table(document)],
        )
    )
    return [section for section in sections if any(table.rows for table in section.tables)]


def caveats(document: Document) -> list[str]:
    """Sentences that must stand beside the figures."""
    found = [QUICK] if document["quick"] else []
    for dataset in document["datasets"].values():
        name = dataset["name"]
        found += [note if note.startswith(name) else f"{name}: {note}" for note in dataset["caveats"]]
        for key, system in dataset["systems"].items():
            if "skipped" in system:
                found.append(f"{dataset['name']}: {title_of(key, system)}: {system['skipped']}.")
        for key, simple in dataset["everyday"].items():
            if "skipped" in simple:
                found.append(f"{dataset['name']}: {EVERYDAY[key]}: {simple['skipped']}.")
    return found + [f"{study}: not run to its end yet." for study in document["unfinished"]]


def how_made_in_words(parts: Document, every_seed: Sequence[int]) -> str:
    """By what code and on which machine, in a few words; ``parts`` is what ``Store.how_made`` gives."""
    machines = sorted({f"{one['processor']}, {one['device']}" for one in parts["machines"]})
    seeds = ", ".join(str(seed) for seed in every_seed)
    commits = ", ".join(parts["commits"]) or "unknown"
    torch = ", ".join(sorted({one["torch"] for one in parts["versions"]})) or "unknown"
    return f"Seeds {seeds}. Machine: {'; '.join(machines)}. torch {torch}. Commits: {commits}."


def markdown(document: Document, sections: list[Section]) -> str:
    """The report as Markdown, with its figures beside it."""
    made = how_made_in_words(document["made"], document["seeds"])
    lines = [f"# {TITLE}", "", ABOUT, "", made, ""]
    lines += [f"> {caveat}\n" for caveat in caveats(document)]
    for section in sections:
        lines += [f"## {section.title}", "", section.about, ""]
        for table in section.tables:
            lines += [markdown_table(table), ""]
        for name, drawing in section.drawings.items():
            lines += [f"![{_plain(drawing.caption)}](figures/{name}.svg)", "", drawing.caption, ""]
    return "\n".join(lines)


def markdown_table(table: Table) -> str:
    """A table with its caption above it."""
    if not table.rows:
        return ""

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    rule = [":--" if i < table.n_names else "--:" for i in range(len(table.head))]
    body = [line(list(row)) for row in table.rows]
    return "\n".join([table.caption, "", line(list(table.head)), line(rule), *body])


def _plain(text: str) -> str:
    return text.replace("[", "(").replace("]", ")")


def _page(document: Document, sections: list[Section], figures: dict[str, bytes]) -> str:
    template = resources.files("token2wave.reporting").joinpath("report.html").read_text("utf-8")
    parts = []
    for section in sections:
        content = f"<p>{html.prose(section.about)}</p>"
        for name, drawing in section.drawings.items():
            content += _image(figures[f"{name}.svg"], drawing.caption)
        content += "\n".join(
            html.table(table.caption, table.head, table.rows, n_names=table.n_names)
            for table in section.tables
            if table.rows
        )
        parts.append(html.section(section.title, content))
    made = how_made_in_words(document["made"], document["seeds"])
    items = "".join(f"<li>{html.prose(caveat)}</li>" for caveat in caveats(document))
    note = f'<div class="caveats" role="note"><strong>Read with care</strong><ul>{items}</ul></div>'
    return Template(template).substitute(
        title=html.escaped(TITLE),
        subtitle=html.prose(ABOUT),
        headline=_headline(document),
        caveats=note if items else "",
        figures=f'<p class="muted">{html.escaped(made)}</p>',
        sections="\n".join(parts),
    )


def _headline(document: Document) -> str:
    entries = []
    for dataset in document["datasets"].values():
        for key in ("wave-modulation", "wave-interference"):
            found = dataset["systems"].get(key, {}).get("runs")
            if found:
                accuracies = [run["test_accuracy"] for run in found.values()]
                mean = 100 * sum(accuracies) / len(accuracies)
                remark = f"test accuracy, {len(accuracies)} seeds"
                entries.append((f"{dataset['name']}, {key.removeprefix('wave-')}", f"{mean:.2f} %", remark))
    return html.definitions(entries)


def _image(svg: bytes, caption: str) -> str:
    """A figure as a picture in the page, on white paper in dark mode, too."""
    source = f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
    style = "max-width:100%;height:auto;background:#fff"
    picture = f'<img src="{source}" alt="{html.escaped(caption)}" style="{style}">'
    return (
        f'<figure><div class="scroll figure" role="region" tabindex="0" aria-label="Figure">{picture}</div>'
        f"<figcaption>{html.prose(caption)}</figcaption></figure>\n"
    )
