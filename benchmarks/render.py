"""Tables and figures from what ``benchmarks/compare.py`` and ``benchmarks/paper_step.py`` wrote.

``table`` and ``method`` give Markdown for a document of ``compare.py``, ``figure`` an SVG; ``step_table`` is
of ``paper_step.py``. To see them:

    python benchmarks/render.py results/benchmarks/NAME.json --figures FOLDER
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

from render_figure import figure

from token2wave.formatting import count, duration, size

OURS = "token2wave"
COLUMNS = ("accuracy", "training", "import", "total", "texts/s", "peak memory", "model file")
NOTHING = "-"

__all__ = ["accuracies", "data_names", "figure", "method", "step_table", "table"]


def read(path: Path) -> dict[str, Any]:
    """Read a document."""
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def data_names(document: dict[str, Any]) -> list[str]:
    """Data sets of which there are runs, in their order."""
    return list(document["medians"])


def table(document: dict[str, Any], data: str) -> str:
    """Markdown table of a data set, a row for each system, the fastest first; ours are bold."""
    groups = document["medians"][data]
    lines = ["| system | " + " | ".join(COLUMNS) + " |", "|---|" + "---:|" * len(COLUMNS)]
    for system in sorted(groups, key=lambda name: _training_seconds(groups[name])):
        about = document["systems"].get(system, {"name": system, "family": ""})
        cells = [about["name"], *_cells(groups[system])]
        if about["family"] == OURS:
            cells = [f"**{cell}**" for cell in cells]
        lines.append("| " + " | ".join(cells) + " |")
    lines.append("")
    facts = document["data"].get(data)
    if facts is not None:
        lines.append(
            f"{count(facts['train_rows'])} training and {count(facts['test_rows'])} test texts, "
            f"{facts['classes']} classes, {facts['characters_per_text']:,.0f} characters a text."
        )
        lines += [f"*{caveat}.*" for caveat in facts["caveats"]]
    lines += _remarks(document, groups)
    return "\n".join(lines) + "\n"


def accuracies(document: dict[str, Any]) -> str:
    """Markdown table of mean accuracy: a row for each system, a column for each set; the best are bold."""
    sets, found = data_names(document), defaultdict[str, dict[str, list[float]]](lambda: defaultdict(list))
    for run in document["runs"]:
        if run["error"] is None:
            found[run["system"]][run["data"]].append(run["figures"]["accuracy"])
    means = {
        system: [statistics.mean(own[data]) for data in sets]
        for system, own in found.items()
        if all(data in own for data in sets)
    }
    means = {system: [*row, statistics.mean(row)] for system, row in means.items()}
    best = [max(column) for column in zip(*means.values(), strict=True)]
    heads = [f"{data} (subset)" if document["data"][data]["caveats"] else data for data in sets]
    lines = [f"| system | {' | '.join([*heads, 'mean'])} |", "|---|" + "---:|" * (len(sets) + 1)]
    for system, row in sorted(means.items(), key=lambda item: -item[1][-1]):
        cells = [
            f"**{100 * mean:.2f}**" if mean == most else f"{100 * mean:.2f}"
            for mean, most in zip(row, best, strict=True)
        ]
        lines.append(f"| {document['systems'][system]['name']} | {' | '.join(cells)} |")
    lines += _leads(document, means)
    without = [document["systems"].get(name, {"name": name})["name"] for name in found if name not in means]
    n_runs = {len(values) for system in means for values in found[system].values()}
    told = " or ".join(map(str, sorted(n_runs)))
    lines += ["", f"Test accuracy in percent, mean of {told} runs with seeds of their own."]
    lines += [f"*{name} is left out: it failed on some of the sets.*" for name in without]
    caveats = [caveat for data in sets for caveat in document["data"][data]["caveats"]]
    return "\n".join([*lines, *(f"*{caveat}.*" for caveat in caveats)]) + "\n"


def _leads(document: dict[str, Any], means: dict[str, list[float]]) -> list[str]:
    """For each of our presets a row of points ahead of the best rival of each set, and their mean."""
    ours = [name for name in means if document["systems"][name]["family"] == "token2wave"]
    rivals = [means[name][:-1] for name in means if name not in ours]
    if not rivals:
        return []
    best = [max(column) for column in zip(*rivals, strict=True)]
    lines = []
    for name in sorted(ours, key=lambda name: -means[name][-1]):
        leads = [100 * (own - other) for own, other in zip(means[name][:-1], best, strict=True)]
        cells = " | ".join(f"{lead:+.2f}" for lead in [*leads, statistics.mean(leads)])
        lines.append(f"| *{document['systems'][name]['name']}, against each set's best rival* | {cells} |")
    return lines


def method(document: dict[str, Any]) -> str:
    """Markdown on how it was measured, and what every system's figures favour."""
    machine, settings = document["machine"], document["settings"]
    versions = ", ".join(f"{package} {version}" for package, version in document["versions"].items())
    lines = [
        f"Medians of {_runs(settings['runs'])}, the smallest and largest accuracy in brackets; every run is "
        f"a process of its own, the systems by turns, on {_threads(settings['threads'])} of "
        f"{machine['processor']}. *Training* goes from texts in memory to a model that is ready to predict; "
        "where a system has to write files first, that time stands behind a plus. *Import* is loading the "
        "system's packages. *Total* is the sum of these. *Texts/s* is training texts over training, files "
        "left out. *Peak memory* is the most that the process held, data and prediction of the test texts "
        "included. No system saw a test text before it predicted it.",
        "",
        f"Versions: {versions}. Command: `{document['command']}`.",
        "",
    ]
    for about in document["systems"].values():
        lines.append(f"- **{about['name']}**: {about['description']} {about['bias']}")
    return "\n".join(lines) + "\n"


def step_table(document: dict[str, Any]) -> str:
    """Markdown of ``paper_step.json``: speed, memory and losses of both."""
    parts = {
        "speed": "no dropout",
        "speed_with_dropout": "the preset's dropout",
        "speed_of_the_preset": "the preset as it is",
    }
    lines = [
        "| step | texts/s | times padded | 120,000 texts, extrapolated |",
        "|---|---:|---:|---:|",
    ]
    sides = {
        "ours": "ours",
        "padded": "padded",
    }
    for part, title in parts.items():
        found = document[part]
        if "precision" in found:
            title += f", precision {found['precision']}"
        for side, name in sides.items():
            if side not in found:
                continue
            speeds, ratio = found[side]["texts_per_second"], found[side].get("ratio_to_padded")
            cells = [
                f"{title}: {name}",
                f"{count(speeds['median'])} ({count(speeds['min'])} to {count(speeds['max'])})",
                NOTHING if ratio is None else f"**{ratio['median']:.1f}**",
                duration(found[side]["extrapolated_epoch_seconds"]),
            ]
            lines.append("| " + " | ".join(cells) + " |")
    memory, losses, settings = document["memory"], document["losses"], document["settings"]
    lines += [
        "",
        f"Peak memory of a process: ours {size(memory['ours']['peak_bytes'])}, padded "
        f"{size(memory['padded']['peak_bytes'])}; of that the packages and the data "
        f"{size(memory['ours']['data_loaded_bytes'])}.",
        "",
        f"Losses of {losses['steps']} steps from the same weights on the same batches, largest difference:",
        "",
    ]
    for optimizer, ours in losses["ours"].items():
        difference, step = ours["largest_difference"], ours["at_step"]
        lines.append(f"- `{optimizer}` ({ours['meaning']}): {difference:.1e}, in step {step}.")
    lines += [
        "",
        f"Medians of {_runs(settings['runs'])} of {document['turn_steps']} steps each, by turns (smallest to "
        f"largest), {_threads(settings['threads'])} of {document['machine']['processor']}. "
        f"{document['speed']['extrapolation']}",
        *(f"*{caveat}.*" for caveat in document["data"]["caveats"]),
    ]
    return "\n".join(lines) + "\n"


def _cells(group: dict[str, Any]) -> list[str]:
    """Cells of a row; a system without a finished run has its reason instead."""
    if not group["runs"]:
        return ["failed", *[NOTHING] * (len(COLUMNS) - 1)]
    figures = {key: values["median"] for key, values in group["figures"].items()}
    low, middle, high = (100 * group["figures"]["accuracy"][key] for key in ("min", "median", "max"))
    training = duration(figures["train_seconds"])
    if figures["preparation_seconds"] >= 0.001:  # a system that writes nothing takes some microseconds
        training += f" + {duration(figures['preparation_seconds'])}"
    return [
        f"{middle:.2f} %" if group["runs"] == 1 else f"{middle:.2f} % ({low:.2f} to {high:.2f})",
        training,
        duration(figures["import_seconds"]),
        duration(figures["total_seconds"]),
        count(figures["texts_per_second"]),
        size(_whole(figures.get("peak_memory_bytes"))),
        size(_whole(figures["model_bytes"])),
    ]


def _remarks(document: dict[str, Any], groups: dict[str, Any]) -> list[str]:
    """What failed, and what was warned of."""
    lines = []
    for system, group in groups.items():
        name = document["systems"].get(system, {"name": system})["name"]
        made = f"{group['runs']} runs made, then" if group["runs"] else "no figures:"
        lines += [f"*{name}, {made} {error}*" for error in group["errors"]]
        lines += [f"*{name} warned: {note}*" for note in group["notes"]]
    return ["", *lines] if lines else []


def _training_seconds(group: dict[str, Any]) -> float:
    """Seconds from texts in memory to a trained model; what failed comes last."""
    if not group["runs"]:
        return float("inf")
    figures = group["figures"]
    seconds: float = figures["preparation_seconds"]["median"] + figures["train_seconds"]["median"]
    return seconds


def _runs(number: int) -> str:
    return "1 run" if number == 1 else f"{number} runs"


def _threads(number: int) -> str:
    return "1 thread" if number == 1 else f"{number} threads"


def _whole(number: float | None) -> int | None:
    return None if number is None else round(number)


def main() -> None:
    """Print the Markdown of a document, and draw its figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("document", type=Path)
    parser.add_argument("--figures", type=Path, help="folder for a figure of each data set")
    arguments = parser.parse_args()
    document = read(arguments.document)
    if "losses" in document:
        print(step_table(document))
        return
    for data in data_names(document):
        print(f"## {data}\n\n{table(document, data)}")
        if arguments.figures is not None:
            arguments.figures.mkdir(parents=True, exist_ok=True)
            figure(document, data, arguments.figures / f"{document['name']}-{data}.svg")
    print(method(document))


if __name__ == "__main__":
    main()
