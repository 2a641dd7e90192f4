"""Tables and figures from what ``benchmarks/prediction.py`` and ``benchmarks/agreement.py`` wrote.

``table`` and ``method`` give Markdown for a document of ``prediction.py``, ``figure`` an SVG or PNG;
``agreement_table`` is of ``agreement.py``. To see them:

    python benchmarks/prediction_render.py results/benchmarks/NAME.json --figures FOLDER
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from growth_figures import quantity
from render import NOTHING, OURS, data_names, read
from render_figure import GRID, INK, MARKS, MUTED, OTHER_MARK

from token2wave.formatting import count, duration, percent, size

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = ("accuracy", "model file", "texts/s", "one text", "cold start", "memory of it")
STORAGES = ("float32", "float16", "int8")
ELSEWHERE = ("ONNX", "WaveForSequenceClassification")  # networks that do not lie in the model file
WAYS = {"native": "native core", "numpy": "numpy", "onnx": "ONNX", "transformers": "transformers"}


class _Panel(NamedTuple):
    """A part of the figure: the figure of the document that it shows, and how."""

    key: str
    title: str
    unit: str


PANELS = (
    _Panel("texts_per_second", "texts a second", ""),
    _Panel("latency_seconds", "one text", "s"),
    _Panel("cold_start_seconds", "cold start", "s"),
)


def table(document: dict[str, Any], data: str) -> str:
    """Markdown table of a data set, a row for each system, that with most texts a second first.

    Ours are bold where the native core computes. What numbers need to be understood stands below.
    """
    groups = document["medians"][data]
    lines = ["| system | " + " | ".join(COLUMNS) + " |", "|---|" + "---:|" * len(COLUMNS)]
    for system in _in_order(groups):
        cells = [_name(document, system, groups[system]), *_cells(document, data, groups[system])]
        if document["systems"][system]["native"]:
            cells = [f"**{cell}**" for cell in cells]
        lines.append("| " + " | ".join(cells) + " |")
    facts = document["data"][data]
    short = facts["short_characters"]
    lines += [
        "",
        f"{count(facts['test_rows'])} test texts, {facts['classes']} classes, "
        f"{facts['characters_per_text']:,.0f} characters a text; *one text* is one of {facts['short_texts']} "
        f"with {short['median']:,.0f} characters ({short['min']} to {short['max']}).",
        *(f"*{caveat}.*" for caveat in facts["caveats"]),
    ]
    remarks = [*_about_models(document, data), *_about_torch(document, groups), *_failures(document, groups)]
    if remarks:
        lines += ["", *(f"- {remark}" for remark in remarks)]
    return "\n".join(lines) + "\n"


def method(document: dict[str, Any]) -> str:
    """Markdown on how it was measured, what that favours, and how every model was made."""
    settings = document["settings"]
    versions = ", ".join(f"{package} {version}" for package, version in document["versions"].items())
    threads = "1 thread" if settings["threads"] == 1 else f"{settings['threads']} threads"
    runs = "1 run" if settings["runs"] == 1 else f"{settings['runs']} runs"
    lines = [
        f"Medians of {runs} by turns, every run a process of its own on {threads} of "
        f"{document['machine']['processor']}, bound to as many processors. Models were trained once on each "
        f"data set, with seed {settings['seed']}. *Texts/s* goes from a list of all test texts to a list of "
        "labels, the median of several passes after one for warming up. *One text* is a call with one short "
        "text, the median of as many as 20,000 calls; model and texts are warm in the caches then, as they "
        "are in a service that is busy. *Cold start* goes from just before a fresh interpreter is started "
        "to the label of one text: Python, import, loading and predicting; the files were read before, so "
        f"that the disk has no part in it, and it is the median of {settings['cold_starts']} starts a run. "
        "*Memory of it* is the most that such a process held.",
        "",
        "Each system gives labels in its own form. fastText's figures are of texts that were lower-cased, "
        "and their punctuation made words, beforehand, as in its training file; this favours it, since ours "
        "and TF-IDF take texts as they are; the figure with that preparation in Python stands in brackets. "
        "For one text, the quicker is shown of fastText's `predict([text])` and the function of its binding "
        "below it, which its users do not see; `predict(text)` fails with NumPy 2. Of its two learning "
        "rates, the one with the higher accuracy on the test set is measured, which favours it, too. Names "
        "with *numpy* are ours without the native core (`TOKEN2WAVE_NATIVE=0`).",
        "",
        f"Versions: {versions}. Command: `{document['command']}`.",
        "",
    ]
    lines += [f"- **{model['name']}**: {model['description']}" for model in document["models"].values()]
    return "\n".join(lines) + "\n"


def _in_order(groups: dict[str, Any]) -> list[str]:
    """Systems by texts a second, the most first; what failed comes last."""
    made = [system for system in groups if groups[system]["runs"]]
    made.sort(key=lambda system: -float(groups[system]["figures"]["texts_per_second"]["median"]))
    return made + [system for system in groups if not groups[system]["runs"]]


def _name(document: dict[str, Any], system: str, group: dict[str, Any]) -> str:
    """What tables call a system, by the model of it that was measured."""
    about = document["systems"][system]
    model = document["models"][group["model"] or about["models"][0]]
    name = f"token2wave {model['name']}" if model["family"] == OURS else str(model["name"])
    return f"{name}, numpy" if about["native"] is False else name


def _cells(document: dict[str, Any], data: str, group: dict[str, Any]) -> list[str]:
    """Cells of a row; a system without a finished run has its reason below instead."""
    if not group["runs"]:
        return ["failed", *[NOTHING] * (len(COLUMNS) - 1)]
    figures = {key: values["median"] for key, values in group["figures"].items()}
    many, one = count(figures["texts_per_second"]), quantity(figures["latency_seconds"], "s")
    if "prepared_texts_per_second" in figures:
        many += f" ({count(figures['prepared_texts_per_second'])})"
        one += f" ({quantity(figures['prepared_latency_seconds'], 's')})"
    peak = figures.get("cold_peak_bytes")
    return [
        percent(figures["accuracy"]).replace("%", " %"),
        size(document["builds"][data][group["model"]]["bytes"]),
        many,
        one,
        duration(figures["cold_start_seconds"]),
        size(None if peak is None else round(peak)),
    ]


def _about_models(document: dict[str, Any], data: str) -> list[str]:
    """What was kept of compressed models, and what became of models that are not in the table."""
    remarks = []
    measured = {group["model"] for group in document["medians"][data].values()}
    for key, build in document["builds"][data].items():
        name = document["models"][key]["name"]
        facts = build.get("facts", {})
        if "rows_after" in facts:
            remarks.append(
                f"{name}: {count(facts['rows_after'])} of {count(facts['rows_before'])} rows, stored as "
                f"{facts['storage']}."
            )
        if "source" in facts:
            remarks.append(f"{name}: made from {document['models'][facts['source']]['name']}.")
        if key not in measured and build["error"] is None:
            accuracy = percent(build["accuracy"]).replace("%", " %")
            remarks.append(f"{name}, built and not measured: {accuracy}, {size(build['bytes'])}.")
    return remarks


def _about_torch(document: dict[str, Any], groups: dict[str, Any]) -> list[str]:
    """Which fresh processes imported torch."""
    made = {system: group for system, group in groups.items() if group["runs"]}
    loaded = [_name(document, system, group) for system, group in made.items() if group["torch_loaded"]]
    if loaded:
        return [f"torch was imported to predict by: {', '.join(loaded)}."]
    return ["No system imported torch to predict."] if made else []


def _failures(document: dict[str, Any], groups: dict[str, Any]) -> list[str]:
    remarks = []
    for system, group in groups.items():
        made = f"{group['runs']} runs made, then" if group["runs"] else "no figures:"
        name = _name(document, system, group)
        remarks += [f"*{name}, {made} {error}*" for error in group["errors"]]
    return remarks


# ---- the figure ----


def figure(document: dict[str, Any], data: str, path: Path) -> None:
    """Draw the systems of a data set, a row each, in three panels; whiskers are the smallest and largest.

    Args:
        document: what ``benchmarks/prediction.py`` wrote.
        data: name of the data set.
        path: an SVG or PNG file, by its suffix. The same document gives the same bytes.
    """
    import matplotlib
    from matplotlib.figure import Figure

    groups = document["medians"][data]
    systems = [system for system in _in_order(groups) if groups[system]["runs"]]
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"svg.hashsalt": data, "font.size": 9})
        drawing = Figure(figsize=(9.5, 1.3 + 0.32 * len(systems)), layout="constrained")
        drawing.suptitle(data, x=0.01, ha="left", color=INK, fontsize=11)
        panels = drawing.subplots(1, len(PANELS), sharey=True)
        for axes, panel in zip(panels, PANELS, strict=True):
            for row, system in enumerate(systems):
                _mark(axes, document, system, groups[system], panel, row)
            _dress(axes, panel)
        panels[0].set_yticks(range(len(systems)))
        panels[0].set_yticklabels([_name(document, system, groups[system]) for system in systems])
        panels[0].set_ylim(len(systems) - 0.4, -0.6)  # the first at the top
        for label, system in zip(panels[0].get_yticklabels(), systems, strict=True):
            label.set_fontweight("bold" if document["systems"][system]["native"] else "normal")
            label.set_color(INK)
        is_svg = path.suffix == ".svg"
        drawing.savefig(path, dpi=160, metadata={"Date": None} if is_svg else {"Software": None})


def _mark(
    axes: Axes, document: dict[str, Any], system: str, group: dict[str, Any], panel: _Panel, row: int
) -> None:
    """Draw a system's mark, with its number beside it; without the native core it is hollow."""
    values = group["figures"][panel.key]
    color, shape = MARKS.get(document["models"][group["model"]]["family"], OTHER_MARK)
    middle = values["median"]
    axes.errorbar(
        [middle],
        [row],
        xerr=[[middle - values["min"]], [values["max"] - middle]],
        fmt=shape,
        color=color,
        markerfacecolor="white" if document["systems"][system]["native"] is False else color,
        markersize=7,
        elinewidth=1,
    )
    told = quantity(middle, panel.unit) if panel.unit else count(middle)
    axes.annotate(
        told,
        (values["max"], row),
        xytext=(7, 0),
        textcoords="offset points",
        va="center",
        color=INK,
        fontsize=8,
    )


def _dress(axes: Axes, panel: _Panel) -> None:
    """Scales, titles and grid."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    low, high = axes.get_xlim()
    low, high = low / 1.3, max(high, 10 * low)
    axes.set_xlim(low, high * (high / low) ** 0.3)  # room for numbers
    axes.xaxis.set_major_locator(LogLocator())
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: quantity(value, panel.unit) if panel.unit else f"{value:,.0f}")
    )
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_title(panel.title, loc="left", color=INK, fontsize=9)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, left=False)
    for side, line in axes.spines.items():
        line.set_visible(side == "bottom")
        line.set_color(MUTED)


# ---- agreement ----


def agreement_table(document: dict[str, Any]) -> str:
    """Markdown of ``agreement.json``: how far each model's predictions are from torch's."""
    records = [
        (f"{data}, {preset}", record)
        for data, presets in document["models"].items()
        for preset, record in presets.items()
    ]
    made = [record for _, record in records if record["error"] is None]
    ways = [way for way in WAYS if any(way in record["paths"] for record in made)]
    kinds = [kind for kind in STORAGES if any(kind in record["storage"] for record in made)]
    together = any("any_two" in record for record in made)
    columns = ["texts", *(WAYS[way] for way in ways), *["any two"] * together]
    columns += [f"accuracy {kind}" for kind in kinds]
    lines = ["| model | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    failures = []
    for name, record in records:
        if record["error"] is not None:
            lines.append(f"| {name} | failed |" + f" {NOTHING} |" * (len(columns) - 1))
            failures.append(f"*{name}: {record['error']}*")
            continue
        paths, storage = record["paths"], record["storage"]
        cells = [name, count(paths["native"].get("texts"))]
        cells += [_agreed(paths[way], paths["torch"]) if way in paths else NOTHING for way in ways]
        cells += [_together(record)] * together
        cells += [_encoded_arrays(storage[kind]) if kind in storage else NOTHING for kind in kinds]
        lines.append("| " + " | ".join(cells) + " |")
        every = {f"{way} path": found for way, found in paths.items()}
        every |= {kind: found for kind, found in storage.items() if kind != "float32"}
        failures += [f"*{name}, {part}: {found['error']}*" for part, found in every.items() if found["error"]]
    lines += [
        "",
        " ".join(_meanings(ways, together, made)),
        f"Command: `{document['command']}`.",
        *(f"*{caveat}.*" for facts in document["data"].values() for caveat in facts.get("caveats", ())),
        *failures,
    ]
    return "\n".join(lines) + "\n"


def _meanings(ways: list[str], together: bool, records: list[dict[str, Any]]) -> list[str]:
    """What the columns mean."""
    text = [
        "*Native core* and *numpy* are what `token2wave.load` gives, against torch's `WaveNetwork` with the "
        "same parameters in float32 on features made without the core: in how many test texts the most "
        "probable class is another, and the largest difference of two probabilities."
    ]
    if "onnx" in ways:
        text.append("*ONNX* is the exported file alone in onnxruntime; in brackets its size.")
    if "transformers" in ways:
        loaded = [record["paths"].get("transformers", {}) for record in records]
        kept = sum(found.get("same_parameters", False) for found in loaded)
        text.append(
            "*transformers* is the model and the tokenizer that `transformers` loads from a folder which it "
            f"saved; in brackets the folder's size. Of {len(loaded)} models, {kept} came back from there "
            "with the same parameters, bit for bit, so that what is made of them is the same, too."
        )
    if together:
        text.append("*Any two* compares all ways with each other, torch included.")
    text.append(
        "In brackets behind an accuracy: the size of the file, and in how many texts the class is not that "
        "of float32."
    )
    return text


def _together(record: dict[str, Any]) -> str:
    """How all ways agree with each other."""
    most = max(found.get("texts", 0) for found in record["paths"].values())
    return _agreed({"error": None, "network": "all", **record.get("any_two", {})}, {"texts": most})


def _agreed(found: dict[str, Any], reference: dict[str, Any]) -> str:
    """How a path agrees with torch."""
    if found["error"] is not None or "other_classes" not in found:
        return "failed"
    if found["network"] == "WaveNetwork":  # nothing was compared
        return "runs in torch"
    others = (
        "same classes" if not found["other_classes"] else f"{count(found['other_classes'])} other classes"
    )
    some = f" (first {count(found['texts'])})" if found["texts"] < reference["texts"] else ""
    weight = f" ({size(found['bytes'])})" if found["network"] in ELSEWHERE else ""
    return f"{others}, {found['largest_difference']:.1e}{some}{weight}"


def _encoded_arrays(found: dict[str, Any]) -> str:
    """Accuracy of a file."""
    if found["error"] is not None:
        return "failed"
    others = f", {count(found['other_classes'])} others" if "other_classes" in found else ""
    return f"{percent(found['accuracy']).replace('%', ' %')} ({size(found['bytes'])}{others})"


def main() -> None:
    """Print the Markdown of a document, and draw its figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("document", type=Path)
    parser.add_argument("--figures", type=Path, help="folder for a figure of each data set")
    arguments = parser.parse_args()
    document = read(arguments.document)
    if "medians" not in document:
        print(agreement_table(document))
        return
    for data in data_names(document):
        print(f"## {data}\n\n{table(document, data)}")
        if arguments.figures is not None:
            arguments.figures.mkdir(parents=True, exist_ok=True)
            figure(document, data, arguments.figures / f"{document['name']}-{data}.svg")
    print(method(document))


if __name__ == "__main__":
    main()
