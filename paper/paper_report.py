"""Reports of the reproduction and of a single study: JSON, Markdown, one HTML page and figures."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from statistics import fmean
from string import Template
from typing import Any

from paper.accuracy import EVERYDAY
from paper.choices import choices_table
from paper.claims import claims_table, judge_claims, judge_part, summarise_claims
from paper.comparison_tables import (
    accuracy_table,
    counterparts_table,
    percent_accuracies,
    published_cost_table,
    rows_table,
    system_title,
    transformer_table,
)
from paper.published import published
from paper.report_file import encode_report
from paper.result_store import file_name, has_one_clean_commit
from paper.studies import load_study
from paper.study import Document, Drawing, Study, Table
from paper.study_figures import render_figure
from paper.verdicts import OPEN
from token2wave.formatting import NOTHING, count, duration
from token2wave.reporting import html_report as html

TITLE = "The Wave Network's papers, reproduced"
ABOUT = (
    "*Wave Network* (arXiv 2411.02674) and *The Backpropagation of the Wave Network* (arXiv 2411.06989), "
    "measured again, with the published figures beside ours."
)
QUICK = "A quick run on few rows: it shows that everything works, and its figures mean nothing."


@dataclass(frozen=True)
class Section:
    """A part of the report; ``drawings`` are by file name without suffix."""

    title: str
    about: str
    tables: list[Table]
    drawings: dict[str, Drawing] = field(default_factory=dict)


def write_report(document: Document, folder: Path) -> list[Path]:
    """Write the report as JSON, Markdown and HTML, and its figures; the same document gives the same bytes.

    Raises:
        OutputError: the folder or a file in it cannot be written.
    """
    sections = report_sections(document)
    figures = render_figures(sections)
    (folder / "figures").mkdir(exist_ok=True)
    return html.write_all(
        folder,
        {
            "report.json": encode_report(document),
            "report.md": _encode(render_markdown(document, sections)),
            "report.html": _encode(_render_page(document, sections, figures), "xmlcharrefreplace"),
            **{f"figures/{name}": content for name, content in figures.items()},
        },
    )


def write_study(study: Study, document: Document, folder: Path) -> list[Path]:
    """Write a study's data as JSON, its tables as Markdown, and its figures."""
    drawings = study.drawings(document)
    notes = ([QUICK] if document["quick"] else []) + document.get("caveats", [])
    lines = [f"# {study.title}", "", study.about, "", *(f"> {note}\n" for note in notes)]
    lines += [describe_origin(document["made"]), ""]
    section = Section("", "", [*study.tables(document), provenance_table(document)], drawings)
    lines += _tables_and_figures(section, "")
    files = {f"{study.name}.json": encode_report(document), f"{study.name}.md": _encode("\n".join(lines))}
    return html.write_all(folder, files | render_figures([section]))


def _encode(text: str, errors: str = "backslashreplace") -> bytes:
    return text.encode("utf-8", errors)


def render_figures(sections: Iterable[Section]) -> dict[str, bytes]:
    """Render every figure of a report, by file name."""
    drawings = [item for section in sections for item in section.drawings.items()]
    return {
        file: content
        for name, drawing in drawings
        for file, content in render_figure(name, drawing.figure).items()
    }


def report_sections(document: Document) -> list[Section]:
    """The sections of the report, in order; those without figures are left out."""
    sections = [
        Section(
            "Verdicts",
            "Each verdict follows from the figures of this report by the rule in its row.",
            [claims_table(document)],
        ),
        Section("What the papers leave open", "", [choices_table(document)]),
        Section(
            "Accuracy",
            "The papers' Tables 1 and 2. Validation takes a fifth of the training rows, unless the data "
            "set has validation rows of its own, and chooses the epoch whose weights are tested. Test "
            "rows choose nothing. Preset `paper` decides what the papers leave open: AdamW, with Adam on "
            "the embedding rows that a step uses; warm-up and linear decay of the learning rate; and, for "
            "Wave networks, dropout of half of the dimensions of a text's state and of half of its "
            "tokens. Rows named literal have what the papers state and nothing else: embeddings "
            "from N(0, 1), the rate 1e-3, no dropout, Adam on all weights, and the last epoch. "
            "Rows without regularisation have the preset's initial weights, optimisers and choice of epoch, "
            "and neither dropout nor decay of weights or of the rate.",
            [accuracy_table(document), rows_table(document)],
        ),
        Section(
            "The Transformer check",
            "The first paper's Table 1 gives 71.68 % for a Transformer of one layer. In its Fig. 7, "
            "validation accuracy of that Transformer lies between 0.79 and 0.84, and its training "
            "accuracy ends near 0.717. This table shows all three accuracies beside the published one. "
            "The Transformer is one layer of BERT base's shape with learned positions, read out at [CLS]. "
            "With pretrained embeddings, they are those of all-MiniLM-L6-v2, of width 384.",
            [transformer_table(document)],
        ),
    ]
    known = {caveat for dataset in document["datasets"].values() for caveat in dataset["caveats"]}
    for name, documents in document["studies"].items():
        study = load_study(name)
        tables = [table for data in documents for table in study.tables(data)]
        drawings: dict[str, Drawing] = {}
        for data in documents:
            suffix = f"-{file_name(data['data'].replace('/', '_'))}" if len(documents) > 1 else ""
            drawings |= {f"{key}{suffix}": drawing for key, drawing in study.drawings(data).items()}
        if name == "resources":
            tables.append(published_cost_table(document))
        notes = [note for data in documents for note in data.get("caveats", []) if note not in known]
        sections.append(Section(study.title, " ".join([study.about, *notes]), tables, drawings))
    about = "Every table and figure of the two papers, and the questions that they leave open."
    sections.append(Section("Counterparts of the papers' results", about, [counterparts_table(document)]))
    sections.append(Section("Provenance", "", [provenance_table(document)]))
    return [section for section in sections if any(table.rows for table in section.tables)]


def caveats(document: Document) -> list[str]:
    """Sentences that belong beside the figures."""
    notes = [QUICK] if document["quick"] else []
    for dataset in document["datasets"].values():
        name = dataset["name"]
        notes += [note if note.startswith(name) else f"{name}: {note}" for note in dataset["caveats"]]
        titles = {key: system_title(key, system) for key, system in dataset["systems"].items()} | EVERYDAY
        for key, system in (dataset["systems"] | dataset["everyday"]).items():
            if "skipped" in system:
                notes.append(f"{name}: {titles[key]}: {system['skipped']}.")
    mixed = [part for part, origin in document["made"].items() if not has_one_clean_commit(origin)]
    if mixed and not document["quick"]:
        notes.append(f"Not of one clean commit, and to be measured again: {', '.join(mixed)}.")
    return notes + [f"{study}: not finished yet." for study in document["unfinished"]]


def _wave_accuracies(document: Document) -> list[tuple[str, str, str, list[float]]]:
    """Key, data set, operation and test accuracies of every Wave network that was measured."""
    return [
        (key, dataset["name"], key.removeprefix("wave-"), values)
        for dataset in document["datasets"].values()
        for key in ("wave-interference", "wave-modulation")
        if (values := percent_accuracies(dataset["systems"].get(key, {})))
    ]


def headline(document: Document) -> list[tuple[str, str, str]]:
    """Test accuracy of the Wave networks on each data set: name, figure, remark."""
    return [
        (f"{name}, {operation}", f"{fmean(values):.2f} %", f"test accuracy, {len(values)} seeds")
        for _, name, operation, values in _wave_accuracies(document)
    ]


def summarise_accuracy(document: Document) -> str:
    """Test accuracy of the Wave networks in one line, with the highest published figure."""
    entries = []
    for key, name, operation, values in _wave_accuracies(document):
        best = max((row.accuracy for row in published(key, name)), default=None)
        figure = f"{name}, {operation}: {fmean(values):.2f}"
        entries.append(figure if best is None else f"{figure} ({best:.2f})")
    return f"Test accuracy in per cent, ours (published): {'; '.join(entries)}." if entries else ""


def verdicts_table(document: Document) -> str:
    """Every claim that is decided and its verdict in Markdown, without evidence and rule."""
    claims = [claim for claim in judge_claims(document) if claim.verdict != OPEN]
    caption = f"{summarise_claims(document)} Those that are decided, without those that cannot be told:"
    rows = [[claim.claim, claim.verdict] for claim in claims]
    return markdown_table(Table(caption, ["claim", "verdict"], rows, n_names=2))


def evidence_table(document: Document, part: str) -> str:
    """Claims with verdict and evidence in Markdown, those on accuracy or those of a study."""
    rows = [[claim.claim, claim.verdict, claim.evidence] for claim in judge_part(document, part)]
    if not rows:
        return "Not measured yet."
    return markdown_table(Table("", ["claim", "verdict", "evidence"], rows, n_names=3)).lstrip("\n")


def describe_origin(made: Document) -> str:
    """Machines and versions of all parts in one line; ``made`` is by part (:meth:`ResultStore.origins`)."""
    machines = {machine_name(machine) for origin in made.values() for machine in origin["machines"]}
    torch = {versions["torch"] for origin in made.values() for versions in origin["versions"]}
    return (
        f"Machine: {'; '.join(sorted(machines)) or 'unknown'}. torch {', '.join(sorted(torch)) or 'unknown'}."
    )


def machine_name(machine: Mapping[str, Any]) -> str:
    """Processor and device of a machine."""
    return f"{machine['processor']}, {machine['device']}"


def provenance_table(document: Document) -> Table:
    """Commit, seeds and time of each part; says which parts are not of one clean commit."""
    rows = []
    for part, origin in document["made"].items():
        commits = ", ".join(origin["commits"]) or "unknown"
        seeds = ", ".join(map(str, origin["seeds"])) or NOTHING
        clean = "yes" if has_one_clean_commit(origin) else "no"
        rows.append([part, seeds, commits, clean, count(origin["results"]), duration(origin["seconds"])])
    caption = (
        "Where the figures come from. Tables of a part with one clean commit compare results of the same "
        "code; a plus sign marks a commit with changes beside it. Time is the sum over all results, which "
        "one process would take"
    )
    seconds = [origin["seconds"] for origin in document["made"].values()]
    caption += "." if None in seconds else f": {duration(sum(seconds))} for all parts."
    head = ["part", "seeds", "commits", "one clean commit", "results", "time"]
    return Table(caption, head, rows, n_names=4)


def render_markdown(document: Document, sections: list[Section], figures: str = "figures") -> str:
    """Render the report as Markdown; ``figures`` is the folder of the figures, relative to the report."""
    origin = describe_origin(document["made"])
    top = [f"# {TITLE}", ABOUT, summarise_claims(document), summarise_accuracy(document), origin]
    lines = [f"{paragraph}\n" for paragraph in top] + [f"> {caveat}\n" for caveat in caveats(document)]
    for section in sections:
        lines += [f"## {section.title}", "", section.about, "", *_tables_and_figures(section, f"{figures}/")]
    return "\n".join(lines)


def _tables_and_figures(section: Section, folder: str) -> list[str]:
    lines = [line for table in section.tables for line in (markdown_table(table), "")]
    for name, drawing in section.drawings.items():
        alt = drawing.caption.replace("[", "(").replace("]", ")")
        lines += [f"![{alt}]({folder}{name}.svg)", "", drawing.caption, ""]
    return lines


def markdown_table(table: Table) -> str:
    """Render a table with its caption above it; an empty table gives nothing."""
    if not table.rows:
        return ""
    rule = [":--" if i < table.n_names else "--:" for i in range(len(table.head))]
    lines = [
        " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
        for cells in (table.head, rule, *table.rows)
    ]
    return "\n".join([table.caption, "", *(f"| {line} |" for line in lines)])


def _render_page(document: Document, sections: list[Section], figures: dict[str, bytes]) -> str:
    contents = []
    for section in sections:
        content = f"<p>{html.prose(section.about)}</p>"
        content += "".join(_image(figures[f"{k}.svg"], d.caption) for k, d in section.drawings.items())
        content += "\n".join(
            html.table(table.caption, table.head, table.rows, n_names=table.n_names)
            for table in section.tables
            if table.rows
        )
        contents.append(html.section(section.title, content))
    origin = describe_origin(document["made"])
    items = "".join(f"<li>{html.prose(caveat)}</li>" for caveat in caveats(document))
    note = f'<div class="caveats" role="note"><strong>Read with care</strong><ul>{items}</ul></div>'
    template = resources.files("token2wave.reporting").joinpath("report.html").read_text("utf-8")
    return Template(template).substitute(
        title=html.escaped(TITLE),
        description=html.escaped(summarise_claims(document)),
        subtitle=html.prose(f"{ABOUT} {summarise_claims(document)}"),
        headline=html.definitions(headline(document)),
        caveats=note if items else "",
        figures=f'<p class="muted">{html.escaped(origin)}</p>',
        sections="\n".join(contents),
    )


def _image(svg: bytes, caption: str) -> str:
    """A figure inside the page, on white paper in dark mode too."""
    source = f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
    style = "max-width:100%;height:auto;background:#fff"
    picture = f'<img src="{source}" alt="{html.escaped(caption)}" style="{style}">'
    return (
        f'<figure><div class="scroll figure" role="region" tabindex="0" aria-label="Figure">{picture}</div>'
        f"<figcaption>{html.prose(caption)}</figcaption></figure>\n"
    )
