"""Tables in Markdown of what the benchmarks measured; ``figures.py`` draws the figures.

Every function takes the JSON document that a benchmark wrote and returns Markdown. ``render_results.py`` in
``tools`` puts it into the documentation.
"""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from probabilities import COVERAGES, FALSE_ALARMS

from token2wave.formatting import count, duration, percent, size

# ---- comparison of classifiers ----

OURS = "token2wave"
CLASSIFIER_COLUMNS = ("accuracy", "training", "import", "total", "texts/s", "peak memory", "model file")
NOTHING = "-"


def data_names(document: dict[str, Any]) -> list[str]:
    """Data sets of which there are runs, in their order."""
    return list(document["medians"])


def classifier_table(document: dict[str, Any], data: str) -> str:
    """Table of a data set: a row for each system, the fastest first; ours are bold."""
    groups = document["medians"][data]
    lines = [
        "| system | " + " | ".join(CLASSIFIER_COLUMNS) + " |",
        "|---|" + "---:|" * len(CLASSIFIER_COLUMNS),
    ]
    for system in sorted(groups, key=lambda name: _training_seconds(groups[name])):
        about = document["systems"].get(system, {"name": system, "family": ""})
        cells = [about["name"], *_classifier_cells(groups[system])]
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


def accuracy_table(document: dict[str, Any]) -> str:
    """Table of mean accuracy: a row for each system, a column for each set; the best are bold."""
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


def classifier_method(document: dict[str, Any]) -> str:
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


def paper_step_table(document: dict[str, Any]) -> str:
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


def _classifier_cells(group: dict[str, Any]) -> list[str]:
    """Cells of a row; a system without a finished run has its reason instead."""
    if not group["runs"]:
        return ["failed", *[NOTHING] * (len(CLASSIFIER_COLUMNS) - 1)]
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
        size(_round(figures.get("peak_memory_bytes"))),
        size(_round(figures["model_bytes"])),
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


def _round(number: float | None) -> int | None:
    return None if number is None else round(number)


# ---- prediction ----

PREDICTION_COLUMNS = ("accuracy", "model file", "texts/s", "one text", "cold start", "memory of it")
STORAGES = ("float32", "float16", "int8")
ELSEWHERE = ("ONNX", "WaveForSequenceClassification")  # networks that do not lie in the model file
BACKENDS = {"native": "native core", "numpy": "numpy", "onnx": "ONNX", "transformers": "transformers"}


def prediction_table(document: dict[str, Any], data: str) -> str:
    """Table of a data set: a row for each system, the one with most texts a second first.

    Ours are bold where the native core computes. What numbers need to be understood stands below.
    """
    groups = document["medians"][data]
    lines = [
        "| system | " + " | ".join(PREDICTION_COLUMNS) + " |",
        "|---|" + "---:|" * len(PREDICTION_COLUMNS),
    ]
    for system in systems_by_speed(groups):
        cells = [
            system_name(document, system, groups[system]),
            *_prediction_cells(document, data, groups[system]),
        ]
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


def prediction_method(document: dict[str, Any]) -> str:
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


def systems_by_speed(groups: dict[str, Any]) -> list[str]:
    """Systems by texts a second, the most first; what failed comes last."""
    made = [system for system in groups if groups[system]["runs"]]
    made.sort(key=lambda system: -float(groups[system]["figures"]["texts_per_second"]["median"]))
    return made + [system for system in groups if not groups[system]["runs"]]


def system_name(document: dict[str, Any], system: str, group: dict[str, Any]) -> str:
    """What tables call a system, by the model of it that was measured."""
    about = document["systems"][system]
    model = document["models"][group["model"] or about["models"][0]]
    name = f"token2wave {model['name']}" if model["family"] == OURS else str(model["name"])
    return f"{name}, numpy" if about["native"] is False else name


def _prediction_cells(document: dict[str, Any], data: str, group: dict[str, Any]) -> list[str]:
    """Cells of a row; a system without a finished run has its reason below instead."""
    if not group["runs"]:
        return ["failed", *[NOTHING] * (len(PREDICTION_COLUMNS) - 1)]
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
    """Rows of compressed models, and models that were built and not measured."""
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
    loaded = [system_name(document, system, group) for system, group in made.items() if group["torch_loaded"]]
    if loaded:
        return [f"torch was imported to predict by: {', '.join(loaded)}."]
    return ["No system imported torch to predict."] if made else []


def _failures(document: dict[str, Any], groups: dict[str, Any]) -> list[str]:
    remarks = []
    for system, group in groups.items():
        made = f"{group['runs']} runs made, then" if group["runs"] else "no figures:"
        name = system_name(document, system, group)
        remarks += [f"*{name}, {made} {error}*" for error in group["errors"]]
    return remarks


def agreement_table(document: dict[str, Any]) -> str:
    """Markdown of ``agreement.json``: how far each model's predictions are from torch's."""
    records = [
        (f"{data}, {preset}", record)
        for data, presets in document["models"].items()
        for preset, record in presets.items()
    ]
    made = [record for _, record in records if record["error"] is None]
    ways = [way for way in BACKENDS if any(way in record["paths"] for record in made)]
    kinds = [kind for kind in STORAGES if any(kind in record["storage"] for record in made)]
    together = any("any_two" in record for record in made)
    columns = ["texts", *(BACKENDS[way] for way in ways), *["any two"] * together]
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
        cells += [_stored(storage[kind]) if kind in storage else NOTHING for kind in kinds]
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


def _stored(found: dict[str, Any]) -> str:
    """Accuracy of a file."""
    if found["error"] is not None:
        return "failed"
    others = f", {count(found['other_classes'])} others" if "other_classes" in found else ""
    return f"{percent(found['accuracy']).replace('%', ' %')} ({size(found['bytes'])}{others})"


# ---- growth of cost ----


def growth_table(document: dict[str, Any], name: str) -> str:
    """Table of a study: for every curve its ends and the slope of each fitted line.

    Args:
        document: what ``growth.json`` holds.
        name: of the study.
    """
    study = document["studies"][name]
    within = format_bounds(*study["within"])
    head = ["measured", "curve", "smallest", "largest", "slope", f"slope, {within}", "largest over smallest"]
    rows = [head, ["---"] * len(head)]
    for curve in study["curves"]:
        first, last = curve["points"][0], curve["points"][-1]
        ends = [_end(point, curve["unit"]) for point in (first, last)]
        fit = curve["fit_within"]
        cells = [format_slope(curve["fit"]), format_slope(fit), NOTHING]
        if fit is not None:
            cells[2] = f"{fit['largest_over_smallest']:.3g}"
            if fit["to"] < study["within"][1]:  # a curve that stopped
                cells[1] += f", to {fit['to']:,}"
        rows.append([curve["panel"], curve["name"], *ends, *cells])
    text = ["| " + " | ".join(row) + " |" for row in rows]
    text += ["", *_growth_notes(study)]
    return "\n".join(text) + "\n"


def _end(point: dict[str, Any], unit: str) -> str:
    end = f"{point['size']:,}: {quantity(point['median'], unit)}"
    speed = point.get("texts_per_second")
    return end if speed is None else f"{end}, {speed:,.0f} texts/s"


def _growth_notes(study: dict[str, Any]) -> list[str]:
    """Notes below the table of a study: setting, why curves stop, command and machine."""
    run = study["run"]
    lines = [
        f"Sizes are {study['size']}; slopes are of least-squares lines on a log-log plot, ± standard error; "
        f"the last two columns are for {format_bounds(*study['within'])}."
    ]
    lines += study["setting"]
    for curve in study["curves"]:
        if curve["stopped"] is not None:
            stopped = curve["stopped"]
            lines.append(
                f"'{curve['name']}' ({curve['panel']}) ends before {stopped['size']:,}: {stopped['reason']}."
            )
    commit = (run["code"]["commit"] or "unknown")[:7] + (" with changes" if run["code"]["dirty"] else "")
    quick = " A quick run: few points, few repetitions." if run["quick"] else ""
    lines.append(
        f"`{run['command']}`, commit {commit}, {run['machine']['processor']}, {run['threads']} threads, "
        f"torch {run['versions']['torch']}; medians of up to {run['runs']} interleaved repetitions.{quick}"
    )
    return [f"- {line}" for line in lines]


def describe_slopes(study: dict[str, Any]) -> list[str]:
    """One line of plain text for each curve, for the terminal."""
    lines = []
    for curve in study["curves"]:
        last, within = curve["points"][-1], curve["fit_within"]
        line = f"{curve['panel']}: {curve['name']}: slope {format_slope(curve['fit'])}"
        if within is not None:
            bounds = format_bounds(within["from"], within["to"])
            line += f"; {format_slope(within)} for {bounds}, × {within['largest_over_smallest']:.3g}"
        lines.append(f"{line}; {last['size']:,}: {quantity(last['median'], curve['unit'])}")
    return lines


def format_slope(fit: dict[str, Any] | None) -> str:
    """A slope and its standard error."""
    if fit is None:
        return NOTHING
    error = fit["standard_error"]
    return f"{fit['slope']:.2f}" + ("" if error is None else f" ± {error:.2f}")


def format_bounds(first: int, last: int) -> str:
    """A range of sizes."""
    return f"{first:,} to {last:,}"


def quantity(value: float, unit: str) -> str:
    """A time or a size of memory as people write it."""
    units = {"bytes": (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)), "s": (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))}
    name, factor = next((known for known in units[unit] if value >= known[1]), units[unit][-1])
    scaled = value / factor
    return f"{scaled:,.0f} {name}" if scaled >= 100 else f"{scaled:.3g} {name}"


# ---- probabilities and novelty ----

Runs = list[dict[str, Any]]


def runs_by_preset(document: dict[str, Any]) -> dict[tuple[str, str], Runs]:
    """Runs of each data set and preset, over their seeds."""
    found: dict[tuple[str, str], Runs] = {}
    for run in document["runs"].values():
        found.setdefault((run["data"], run["preset"]), []).append(run)
    return found


def probability_tables(document: dict[str, Any]) -> str:
    """Calibration and abstention of every data set, then novelty of foreign texts."""
    text = [
        "| data | preset | seeds | accuracy | surest 90 % | surest 80 % | calibration error |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    novel = [
        "| model | foreign texts | area | cut to equal length | found, 5 % false alarms |",
        "|---|---|---:|---:|---:|",
    ]
    alarms = FALSE_ALARMS.index(0.05)
    for (data, preset), runs in runs_by_preset(document).items():
        at = [COVERAGES.index(part) for part in (1.0, 0.9, 0.8)]
        accuracies = [f"{100 * mean_over_runs(runs, 'answered', i, 'accuracy'):.2f}" for i in at]
        error = mean_over_runs(runs, "calibration_error")
        text.append(f"| {data} | {preset} | {len(runs)} | {' | '.join(accuracies)} | {error:.4f} |")
        for other in runs[0]["foreign"]:
            areas = [
                f"{mean_over_runs(runs, 'foreign', other, part, 'area'):.3f}" for part in ("whole", "cut")
            ]
            caught = mean_over_runs(runs, "foreign", other, "whole", "found", alarms)
            novel.append(f"| {data}, {preset} | {other} | {' | '.join(areas)} | {100 * caught:.1f} % |")
    notes = [f"*{caveat.rstrip('.')}.*" for about in document["data"].values() for caveat in about["caveats"]]
    told = (
        "Means over seeds; accuracies in percent, of all test texts and of the surest. Calibration error: "
        "expected calibration error in 15 bins. Area: under the ROC curve of novelty, own test texts against "
        f"foreign ones, whole and with all texts cut to their first {document['words']} words."
    )
    return "\n".join([*text, "", *novel, "", told, f"Command: `{document['command']}`.", *notes])


def novelty_scores_table(document: dict[str, Any]) -> str:
    """Areas of the scores that ``benchmarks/novelty_scores.py`` compared, over pairs of data sets."""
    columns = list(next(iter(document["areas"].values())))
    head = " | ".join(name if name == "whole" else f"first {name} words" for name in columns)
    text = [f"| score | {head} | least, whole |", "|---|" + "---:|" * (len(columns) + 1)]
    for score, found in document["areas"].items():
        means = [f"{statistics.mean(found[name].values()):.3f}" for name in columns]
        shown = f"**{score}**" if score == document["chosen"] else score
        text.append(f"| {shown} | {' | '.join(means)} | {min(found['whole'].values()):.3f} |")
    n_pairs = len(document["sets"]) * (len(document["sets"]) - 1)
    text += [
        "",
        f"Area under the ROC curve, mean and least of {n_pairs} pairs of {', '.join(document['sets'])}; ",
    ]
    text[-1] += f"preset `{document['preset']}`, seed 0; rows held out of training on both sides."
    return "\n".join(text)


def mean_over_runs(runs: Runs, *place: str | int) -> float:
    """Mean over runs of the number that stands in a place of each."""

    def at(run: Any) -> float:
        for key in place:
            run = run[key]
        return float(run)

    return statistics.mean(map(at, runs))


# ---- other waves ----

BASELINE = "the preset's waves"
NATIVE = "the preset's waves, by the native core"
SPELLED = "n-grams in full"
OF_AMPLITUDES = ("unseen words by their n-grams", "no n-grams", SPELLED, f"{SPELLED}, unseen words by theirs")
"""Variants whose waves are the preset's."""
BY_NATIVE = (*OF_AMPLITUDES, "ensemble of three", "three times as wide")
"""Variants that the native core trains, held against the preset's waves by it."""
WAVE_PARTS = {
    "all": "waves and linear SVM",
    "waves": "waves alone",
    "linear_svm": "linear SVM alone",
}
Row = dict[str, dict[str, Any]]
Pairs = list[tuple[dict[str, float], dict[str, float]]]


def wave_trials_table(document: dict[str, Any], level: str) -> str:
    """Accuracy of one level of the unchanged waves, and paired differences of every variant.

    Args:
        document: what was measured.
        level: ``all``, ``waves`` or ``linear_svm``.
    """
    rows: dict[str, Row] = document["rows"]
    reference = rows[NATIVE if level == "linear_svm" or BASELINE not in rows else BASELINE]
    data = list(reference)
    shown = {
        variant: row
        for variant, row in rows.items()
        if level == "all"
        or (variant in (NATIVE, *OF_AMPLITUDES) if level == "linear_svm" else variant not in OF_AMPLITUDES)
    }
    head = [WAVE_PARTS[level], *data, "all sets", "log-loss", "runs"]
    text = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for variant, row in shown.items():
        if row is reference:
            accuracies = [[run[level]["accuracy"] for run in row[name].values()] for name in data]
            cells = [f"{100 * statistics.mean(found):.2f}" for found in accuracies] + [""] * 3
        else:
            against = rows[NATIVE] if variant in BY_NATIVE else reference
            pairs = {name: _paired_runs(row.get(name, {}), against.get(name, {}), level) for name in data}
            every = list(chain.from_iterable(pairs.values()))
            if not every:
                continue
            cells = [f"{statistics.mean(_gains(found)):+.2f}" if found else "" for found in pairs.values()]
            losses = [own["loss"] - other["loss"] for own, other in every]
            cells += [_with_error(_gains(every), 2), _with_error(losses, 4), str(len(every))]
        text.append(f"| {' | '.join([variant, *cells])} |")
    seeds = sorted({seed for row in reference.values() for seed in row})
    named = next(variant for variant, row in rows.items() if row is reference)
    text.append("")
    measure = document["measure"].replace("held back", "held out")
    text.append(
        f"Preset `{document['preset']}`, seeds {', '.join(seeds)}; accuracy on {measure}, in "
        f"percent, of {named}; of the others, how many points they are ahead with the same seeds, and of all "
        "sets, in points and in nats, the mean over so many runs ± its standard error."
    )
    if level != "linear_svm" and BASELINE in rows:
        text[-1] += " Lines below those of the native core are compared with these."
    return "\n".join(text) + "\n"


def _paired_runs(runs: dict[str, Any], reference: dict[str, Any], level: str) -> Pairs:
    """Figures of the same seeds on one set."""
    return [(run[level], reference[seed][level]) for seed, run in runs.items() if seed in reference]


def _gains(pairs: Pairs) -> list[float]:
    """How many points each run is ahead."""
    return [100 * (own["accuracy"] - other["accuracy"]) for own, other in pairs]


def _with_error(differences: list[float], digits: int) -> str:
    """Mean and its standard error."""
    mean = f"{statistics.mean(differences):+.{digits}f}"
    if len(differences) < 2:
        return mean
    error = statistics.stdev(differences) / len(differences) ** 0.5
    return f"{mean} ± {error:.{digits}f}"


# ---- several devices ----

DISTRIBUTED_SYSTEMS = {
    "one": "one process, one thread",
    "threads": "one process, two threads",
    "processes": "two processes, one thread each",
}


def distributed_time_table(document: dict[str, Any]) -> str:
    """Accuracy and time of one process and of two."""
    found = document["time"]
    lines = [
        "| network and batches | run as | test accuracy | training | of the time of one | with all else |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for variant, systems in found["variants"].items():
        for system, said in DISTRIBUTED_SYSTEMS.items():
            figures = systems[system]
            lines.append(
                f"| {variant} | {said} | {percent(figures['accuracy'])} | "
                f"{figures['train_seconds']['median']:.1f} s | {figures['train_share']['median']:.2f} | "
                f"{figures['total_share']['median']:.2f} |"
            )
    lines += [
        "",
        f"{count(found['rows'])} training rows of {found['data']} at most, drawn at random, and "
        f"{found['epochs']} epochs, in {found['precision']}; medians of {found['runs']} runs by turns, "
        f"shares turn by turn. {found['machine']['processor']}.",
        *(f"*{caveat.rstrip('.')}.*" for caveat in found["caveats"]),
    ]
    return "\n".join(lines) + "\n"


def distributed_traffic_table(document: dict[str, Any]) -> str:
    """What is sent in a step, against the rows that it touches and the size of the table."""
    found = document["traffic"]
    lines = [
        "| table | texts in a step | rows touched | sent for rows | for one | whole table | all else |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for each in found["rows"]:
        lines.append(
            f"| {count(each['vocabulary'])} | {each['batch_size']} | {count(round(each['rows']))} | "
            f"{size(round(each['row_bytes']))} | {count(round(each['row_bytes'] / each['rows']))} B | "
            f"{size(each['table_bytes'])} | {size(round(each['dense_bytes']))} |"
        )
    lines += [
        "",
        f"What one of two processes sends to the other, mean of {found['steps']} steps: texts of "
        f"{found['words']} words that follow Zipf's law, rows of {found['width']} numbers of four bytes.",
    ]
    return "\n".join(lines) + "\n"


# ---- teachers ----

FEW_SHOT_SYSTEMS = {
    "tfidf_svc": "TF-IDF (1,2) + LinearSVC",
    "default": "token2wave, no settings",
    "start": "`--init-from` {encoder}",
    "teacher": "`--init-from` and `--teacher` {encoder}",
}


def teacher_table(document: dict[str, Any]) -> str:
    """Accuracy, size and speed of a teacher and its students."""
    teacher, data = document["teacher_figures"], document["data"]
    n_seeds = len(document["seeds"])
    lines = [
        f"| {data} | test accuracy, % | compressed: test accuracy, % | compressed: bytes |",
        "|---|---|---|---|",
        f"| {document['teacher']}, fine-tuned: the teacher | {100 * teacher['accuracy']:.2f} | | |",
    ]
    for title, runs in document["students"].items():
        largest = max(run["small_bytes"] for run in runs)
        whole, small = (
            _mean_and_deviation([run[key] for run in runs]) for key in ("accuracy", "small_accuracy")
        )
        lines.append(f"| preset small, {title} | {whole} | {small} | {largest:,} |")
    caveats = " ".join(f"{note.rstrip('.')}." for note in document["caveats"])
    settings = " ".join(f"--set {key}={value}" for key, value in document["settings"].items())
    return "\n".join(lines) + (
        f"\n\nMean ± standard deviation of {n_seeds} seeds; with the teacher `{settings}`. "
        f"The compressed student predicts "
        f"{teacher['times_as_fast']:,.0f} times as fast as the teacher, by turns in one process. "
        f"{caveats}\n"
    )


def few_shot_table(document: dict[str, Any]) -> str:
    """Accuracy by rows a class."""
    systems = list(next(iter(next(iter(document["rows"].values())).values())))
    lines = [
        "| data | rows a class | "
        + " | ".join(FEW_SHOT_SYSTEMS[system].format(encoder=document["encoder"]) for system in systems)
        + " |",
        "|---|---|" + "---|" * len(systems),
    ]
    for name, by_rows in document["rows"].items():
        for n_rows, found in by_rows.items():
            cells = " | ".join(_mean_and_deviation(found.get(system, [])) for system in systems)
            lines.append(f"| {name} | {n_rows} | {cells} |")
    n_draws = max(len(each) for each in found.values())
    caveats = " ".join(f"{note.rstrip('.')}." for note in document["caveats"])
    return "\n".join(lines) + (
        f"\n\nTest accuracy in %, mean ± standard deviation of {n_draws} draws of the rows. {caveats}\n"
    )


def _mean_and_deviation(values: list[float]) -> str:
    if not values:
        return ""
    mean = f"{100 * statistics.mean(values):.2f}"
    return f"{mean} ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else mean


# ---- serving ----


def serving_table(document: dict[str, Any]) -> str:
    """Rates, waiting times, processor time and memory, alone and under attack; how it was measured."""
    settings, alone, attacked = document["settings"], document["alone"], document["attacked"]
    middle = {key: alone[key]["median"] for key in ("rate", "p50", "p99", "cpu_per_request")}
    n_errors = [sum(run["errors"].values()) for run in alone["runs"]]
    lines = [
        "| clients | requests/s | p50 | p99 | CPU of a request | errors | memory before | most | after |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        _serving_row(
            "good ones",
            [
                count(middle["rate"]),
                duration(middle["p50"]),
                duration(middle["p99"]),
                f"{1e6 * middle['cpu_per_request']:.0f} µs",
                count(sum(n_errors)),
                size(alone["memory_before"]),
                "",
                size(alone["memory_after"]),
            ],
        ),
        _serving_row(
            "good ones beside hostile ones",
            [
                count(attacked["rate"]),
                duration(attacked["p50"]),
                duration(attacked["p99"]),
                "",
                count(sum(attacked["errors"].values())),
                size(attacked["memory_before"]),
                size(attacked["memory_most"]),
                size(attacked["memory_after"]),
            ],
        ),
    ]
    hostile = ", ".join(f"{name} {count(n)}" for name, n in sorted(attacked["hostile"].items()))
    n_right, n_wrong = attacked["compared"]["right"], attacked["compared"]["wrong"]
    told = (
        f"Preset `{settings['preset']}` on {settings['data']}, one text a request, in turn all "
        f"{count(document['data']['test_rows'])} test texts ({document['data']['characters_per_text']:.0f} "
        f"characters each), over {settings['connections']} connections; median of {settings['runs']} runs of "
        f"{settings['seconds']:g} s. Service ({settings['workers']} process) and generator share "
        f"{settings['threads']} threads of {document['machine']['processor']}. Generator: "
        f"{document['generator']['version']}, `{document['generator']['command']}`. Requests of hostile "
        f"clients, or their connections: {hostile}. Of {count(n_right + n_wrong)} answers compared with the "
        f"classifier's meanwhile, {count(n_wrong)} differed."
    )
    caveats = [f"*{caveat.rstrip('.')}.*" for caveat in document["data"]["caveats"]]
    return "\n".join([*lines, "", told, f"Command: `{document['command']}`.", *caveats]) + "\n"


def _serving_row(name: str, cells: list[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


# ---- scoring ----

BILLION = 10**9
PROCESSES = (1, 2, 10, 100, 1_000)
PART_SIZES = (32, 256)  # MB, as the model has them; the first is the default


class Price(NamedTuple):
    """List price of a virtual machine; what it rests on stands in ``docs/scaling.md``."""

    name: str
    vcpus: int
    dollars_an_hour: float


MACHINE = Price("c7i.xlarge", 4, 0.1785)


def _scoring_median(document: dict[str, Any], way: str, what: str) -> float:
    return float(document["rates"]["ways"][way][what]["median"])


def scoring_rates_table(document: dict[str, Any]) -> str:
    """Texts a second and processor time, beside the bare runtime."""
    rates = document["rates"]
    processes = f"{rates['threads']} processes"
    names = {
        "bare": f"the bare runtime, texts in memory, {rates['threads']} threads",
        "parquet": f"`score`, Parquet to Parquet, {processes}",
        "parquet, one process": "`score`, Parquet to Parquet, one process",
        "json lines": f"`score`, JSON lines to Parquet, {processes}",
    }
    lines = [
        "| | texts/s | beside the bare runtime | processor time a text | beside the bare runtime |",
        "|---|---:|---:|---:|---:|",
    ]
    bare, bare_time = (
        _scoring_median(document, "bare", "rate"),
        _scoring_median(document, "bare", "microseconds"),
    )
    for way, name in names.items():
        rate, used = _scoring_median(document, way, "rate"), _scoring_median(document, way, "microseconds")
        shown = f"| {name} | {rate:,.0f} | {100 * rate / bare:.0f} % | {used:.1f} µs | "
        lines.append(f"{shown}{100 * bare_time / used:.0f} % |")
    one, both = (_scoring_median(document, way, "rate") for way in ("parquet, one process", "parquet"))
    turns = len(rates["ways"]["bare"]["rate"]["turns"])
    lines += [
        "",
        f"Medians of {turns} turns of {count(rates['documents'])} documents of "
        f"{rates['mean_characters']:.0f} characters on average ({count(rates['documents_as_json_lines'])} as "
        f"JSON lines), preset `{document['preset']}`, {document['machine']['processor']}. From one process "
        f"to {rates['threads']}: {both / one:.2f} times the rate.",
    ]
    return "\n".join(lines) + "\n"


def scoring_killed_table(document: dict[str, Any]) -> str:
    """What became of the job that was killed."""
    killed, often = document["killed"], document.get("killed_often")
    moments = killed["kills"]
    rows = [
        ("documents", count(killed["documents"])),
        ("input", f"{killed['input_bytes'] / 1e9:.1f} GB of Parquet"),
        ("killed, with all its processes", f"{len(moments)} times, at random moments"),
        ("parts that were there at each kill", ", ".join(str(one["parts"]) for one in moments)),
        ("rows written", count(killed["written"])),
        ("rows rejected, all of them broken", count(killed["rejected"])),
        ("rows missing", count(killed["missing"])),
        ("rows there more than once", count(killed["more_than_once"])),
        ("most memory of all processes together", f"{killed['peak_bytes_of_all_processes'] / 1e6:,.0f} MB"),
    ]
    lines = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
    if often is not None:
        lines += [
            "",
            f"Besides, {often['jobs']} jobs of {count(often['documents_of_a_job'])} documents were killed "
            f"{often['kills']} times at any moment, {often['with_parts']} times of them with parts on the "
            "disk; no row was missing, and none there twice.",
        ]
    return "\n".join(lines) + "\n"


def scoring_cost_table(document: dict[str, Any]) -> str:
    """Time and money for a billion documents, from the rate of one process."""
    lines = [
        "| | processor time a text | texts of a core in an hour | core hours | dollars |",
        "|---|---:|---:|---:|---:|",
    ]
    for way, name in (
        ("parquet, one process", "Parquet to Parquet"),
        ("json lines", "JSON lines to Parquet"),
    ):
        microseconds = _scoring_median(document, way, "microseconds")
        hours = BILLION * microseconds / 1e6 / 3600
        dollars = hours * MACHINE.dollars_an_hour / MACHINE.vcpus
        cells = f"{microseconds:.1f} µs | {3600 / microseconds:,.0f} million | {hours:.1f} | {dollars:.2f}"
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines) + "\n"


def model_scoring(document: dict[str, Any], n_processes: int, part_bytes: float) -> tuple[float, float]:
    """Seconds and efficiency for a billion documents, by the model of ``docs/scaling.md``."""
    rates, fixed = document["rates"], document["fixed"]
    work = BILLION * _scoring_median(document, "parquet, one process", "microseconds") / 1e6
    n_parts = BILLION * rates["mean_characters"] / part_bytes
    a_part = work / n_parts
    seconds = max(work / n_processes + a_part / 2, n_parts * fixed["commit_seconds"]) + fixed["job_seconds"]
    return seconds, work / (n_processes * seconds)


def scoring_efficiency_table(document: dict[str, Any]) -> str:
    """Time and efficiency by processes, from the model of ``docs/scaling.md``."""
    heads = [f"parts of {megabytes} MB" for megabytes in PART_SIZES]
    lines = [
        "| processes | " + " | ".join(f"{head}: time | efficiency" for head in heads) + " |",
        "|---:|" + "---:|---:|" * len(heads),
    ]
    for n in PROCESSES:
        cells = []
        for megabytes in PART_SIZES:
            seconds, efficiency = model_scoring(document, n, megabytes * 1e6)
            shown = f"{seconds / 3600:.1f} h" if seconds > 5400 else f"{seconds / 60:.1f} min"
            cells += [shown, f"{100 * efficiency:.0f} %"]
        lines.append(f"| {n:,} | " + " | ".join(cells) + " |")
    rates, fixed = document["rates"], document["fixed"]
    one, both = (_scoring_median(document, way, "rate") for way in ("parquet, one process", "parquet"))
    lines += [
        "",
        f"Measured: {rates['threads']} processes score {both / one:.2f} times as many texts a second as "
        f"one, an efficiency of {100 * both / one / rates['threads']:.0f} %. Of the model, the job of one "
        f"document ({fixed['job_seconds']:.1f} s) and the recording of a part "
        f"({1000 * fixed['commit_seconds']:.0f} ms, on the disk of the machine that measured) are measured, "
        "too.",
    ]
    return "\n".join(lines) + "\n"


# ---- the HTML page ----


def html_page_table(document: dict[str, Any]) -> str:
    """Size, agreement and times of the HTML file."""
    page_bytes = document["html_bytes"] - document["model_bytes"]
    rows = [
        ("model file", f"{count(document['model_bytes'])} bytes"),
        ("HTML file", f"{count(document['html_bytes'])} bytes, {count(page_bytes)} more"),
        ("from the file to the first answer", f"{document['ready_milliseconds']:.0f} ms"),
    ]
    for name, key in (
        ("predicting one text", "predicted_milliseconds"),
        ("predicting and explaining one text", "explained_milliseconds"),
    ):
        times = document[key]
        rows.append((name, f"median {times['median']:.2f} ms, 99 % within {times['p99']:.2f} ms"))
    for name, key in (("test texts", "test"), ("random Unicode", "random")):
        difference = f"{document['largest_difference'][key]:.1e}"
        rows.append((f"largest difference of a probability from the runtime, {name}", difference))
    lines = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
    lines += [
        "",
        f"Model of preset `small` on {document['data']}, {count(document['n_texts'])} test texts of "
        f"{document['mean_characters']:.0f} characters on average, and as many random ones; Chromium "
        f"{document['chromium']}, {document['machine']['processor']}.",
    ]
    return "\n".join(lines) + "\n"


# ---- reliability ----

NOT_YET = "not measured yet"
Document = dict[str, Any]


@dataclass(frozen=True)
class Promise:
    """A row of the table.

    Attributes:
        said: the promise.
        tested: the tests that run always, and the command that measures.
        source: result file, or a part of ``reliability.json``.
        figure: renders what was measured.
    """

    said: str
    tested: str
    source: str
    figure: Callable[[Document], str]


def _kills(part: Document) -> str:
    jobs = part["jobs"]
    total = {key: sum(job[key] for job in jobs) for key in ("kills", "in_a_write", "runs", "same", "looks")}
    return (
        f"{count(total['kills'])} kills, {count(total['in_a_write'])} of them in the middle of a write; "
        f"{count(total['same'])} of {count(total['runs'])} runs ended with the same file, and nothing "
        f"beside it (seed {part['seed']})"
    )


def _readers(part: Document) -> str:
    looks = sum(job["looks"] for job in part["jobs"])
    return (
        f"{count(looks)} looks while runs were killed, {sum(len(job['faults']) for job in part['jobs'])} bad"
    )


def _same(part: Document) -> str:
    n = sum(row["processes"] for row in part["same"])
    other = sum(len(row["other"]) for row in part["same"])
    return f"{len(part['same'])} presets in {n} processes: {other} other files"


def _device(part: Document) -> str:
    peaks = [step["peak_bytes"] for row in part["rows"] for step in row.get("steps", {}).values()]
    return f"at most {size(max(peaks))}, on {', '.join(row['data'] for row in part['rows'])}"


def _load(part: Document) -> str:
    share = part["share"]["median"]
    return (
        f"{part['found']} of {part['bits']} flipped bits found; the checksum takes {100 * share:.0f} % of "
        f"the time to load {size(part['bytes'])}"
    )


def _service(part: Document) -> str:
    rows = part["rows"]
    right, wrong, failed = (sum(row[key] for row in rows) for key in ("right", "wrong", "failed"))
    return f"{len(rows)} faults: {count(right)} right answers, {wrong} wrong, {failed} requests failed"


def _scoring(document: Document) -> str:
    killed = document["killed"]
    return (
        f"{count(killed['documents'])} documents, killed {len(killed['kills'])} times: "
        f"{count(killed['missing'])} missing, {count(killed['more_than_once'])} twice, "
        f"{count(killed['rejected'])} rejected"
    )


def _scoring_often(document: Document) -> str:
    often = document["killed_often"]
    return f"{count(often['kills'])} kills in {count(often['jobs'])} jobs, every row accounted for"


def _scoring_memory(document: Document) -> str:
    return f"{size(document['killed']['peak_bytes_of_all_processes'])}, all processes together"


def _stream_kills(document: Document) -> str:
    part = document["kills"]
    return (
        f"{count(part['kills'])} kills; {part['runs_with_the_same_file']} of {part['runs']} runs ended with "
        f"the same file (seed {part['seed']})"
    )


def _stream_memory(document: Document) -> str:
    part = document["large"]
    made, most = part["crawl"], max(part["peak_memory_bytes"], part["memory_seen"])
    return f"{size(most)}, for {count(made['documents'])} documents of {size(made['bytes'])}"


def _fuzzing(document: Document) -> str:
    targets = document["targets"].values()
    minutes = sum(target["seconds"] for target in targets) / 60
    runs, found = (sum(target[key] for target in targets) for key in ("executions", "findings"))
    return f"{minutes:.0f} minutes, {count(runs)} inputs for {len(targets)} targets: {found} findings open"


MEASURED = "`benchmarks/reliability.py`"
PROMISES = (
    Promise(
        "Training that is killed at any moment goes on to the same model, byte for byte",
        "`tests/benchmarks/test_kills.py`, `tests/training/test_training_checkpoint.py`; "
        f"{MEASURED} `--only kills`",
        "kills",
        _kills,
    ),
    Promise(
        "Nobody sees half a file: a model or a checkpoint is the old one or the new one",
        f"`tests/inference/test_atomic.py`, `tests/benchmarks/test_kills.py`; {MEASURED} `--only kills`",
        "kills",
        _readers,
    ),
    Promise(
        "A full disk leaves the old file whole, and the error says what to do",
        "`tests/training/test_full_disk.py`, `tests/inference/test_model_file.py`",
        "",
        lambda _: "no figure: it holds, or the tests fail",
    ),
    Promise(
        "A damaged model file is refused, wherever the damage is",
        "`tests/inference/test_safetensors_writer.py`, `tests/inference/test_model_damage.py`; "
        f"{MEASURED} `--only load`",
        "load",
        _load,
    ),
    Promise(
        "Same data, settings, seed, machine and threads: the same file, bit for bit",
        f"`tests/benchmarks/test_determinism.py`; {MEASURED} `--only determinism`",
        "determinism",
        _same,
    ),
    Promise(
        "Training, learning one person's rows and predicting fit into 256 MB on one slow core",
        f"`tests/test_examples.py`; {MEASURED} `--only device`",
        "device",
        _device,
    ),
    Promise(
        "Training on a stream that is killed within a pass goes on to the same model, byte for byte",
        "`tests/training/test_streaming.py`; `benchmarks/streaming.py --only kills`",
        "streaming",
        _stream_kills,
    ),
    Promise(
        "Training on a stream stays within bounded memory",
        "`tests/training/test_streaming.py`; `benchmarks/streaming.py --only large`",
        "streaming",
        _stream_memory,
    ),
    Promise(
        "The service answers rightly while workers are killed, its log is stuck or the clock jumps",
        f"`tests/serving/test_service_faults.py`; {MEASURED} `--only service`",
        "service",
        _service,
    ),
    Promise(
        "Scoring that is killed ends with every row once, in the output or among the rejected",
        "`tests/scoring`; `benchmarks/scoring.py`",
        "scoring",
        _scoring,
    ),
    Promise("The same, for small jobs and many kills", "`benchmarks/scoring.py`", "scoring", _scoring_often),
    Promise("Scoring stays within bounded memory", "`benchmarks/scoring.py`", "scoring", _scoring_memory),
    Promise(
        "No input crashes, hangs or fills the memory: readers, features, model files, service, command line",
        "the corpora in `tests`; `make fuzz`",
        "fuzzing",
        _fuzzing,
    ),
)


class Results:
    """What was measured, by part or by file.

    Args:
        folder: ``results``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.parts = (self._file("reliability") or {}).get("parts", {})

    def get(self, source: str) -> Document | None:
        """A part or a file; None where it was not measured."""
        if not source:
            return {}
        return self.parts.get(source) or self._file(source)

    def _file(self, name: str) -> Document | None:
        for path in (self._folder / f"{name}.json", self._folder / "benchmarks" / f"{name}.json"):
            if path.is_file():
                found: Document = json.loads(path.read_text(encoding="utf-8"))
                return found
        return None


def promises_table(results: Results) -> str:
    """Every promise, how it is tested, and the last figure."""
    lines = ["| promise | how it is tested | last measured |", "|---|---|---|"]
    for promise in PROMISES:
        found = results.get(promise.source)
        try:
            figure = NOT_YET if found is None else promise.figure(found)
        except KeyError:  # a part of a benchmark that was not run
            figure = NOT_YET
        lines.append(f"| {promise.said} | {promise.tested} | {figure} |")
    return "\n".join(lines) + "\n"


def determinism_table(part: Document) -> str:
    """What changes the bytes, and by how much."""
    lines = [
        "| preset | what differs | same file | largest difference of a probability | mean | other labels | "
        "accuracy, points |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    for row in [*part["threads"], *part["instructions"]]:
        cells = ["yes", "", "", "", ""]
        if not row["same"]:
            cells = ["no", f"{row['probability']:.1g}", f"{row['mean']:.1g}", count(row["labels"])]
            cells.append(f"{100 * row['accuracy']:+.2f}")
        lines.append(f"| `{row['job']}` | {row['condition']} | {' | '.join(cells)} |")
    told = (
        f"Trained on {count(part['rows'])} rows of debian-sections with one thread and all instructions of "
        f"the processor, and then otherwise; compared on {count(part['test_texts'])} test texts. "
        f"{_machine_and_date(part)}"
    )
    return "\n".join([*lines, "", told]) + "\n"


def engines_table(part: Document) -> str:
    """One model file, predicting in every way."""
    lines = ["| preset | against the native core | largest difference of a probability | other labels |"]
    lines.append("|---|---|---:|---:|")
    lines += [
        f"| `{row['job']}` | {row['engine']} | {row['probability']:.1g} | {count(row['labels'])} |"
        for row in part["engines"]
    ]
    return "\n".join(lines) + "\n"


def device_table(part: Document) -> str:
    """What each step takes on a device."""
    lines = ["| data | step | rows or texts | peak memory |", "|---|---|---:|---:|"]
    told = []
    for row in part["rows"]:
        for name, step in row["steps"].items():
            n = {"train": row["rows"], "update": row["mine"]}.get(name, step.get("texts", 0))
            lines.append(f"| {row['data']} | {name} | {count(n)} | {size(step['peak_bytes'])} |")
        shares = [row["steps"]["predict"][f"accuracy_of_{model}"] for model in ("model", "mine")]
        told.append(f"{row['data']} {100 * shares[0]:.2f} %, then {100 * shares[1]:.2f} %")
    first = part["rows"][0]
    limits = f"{size(first['memory_bytes'])} and {100 * first['speed']:.0f} % of one processor's time"
    accuracy = f"Test accuracy before and after the rows of one person: {'; '.join(told)}."
    return "\n".join([*lines, "", f"Within {limits}. {accuracy} {_machine_and_date(part)}"]) + "\n"


def service_table(part: Document) -> str:
    """What clients of a service with faults saw."""
    lines = ["| fault | right answers | wrong | asked again | failed |", "|---|---:|---:|---:|---:|"]
    keys = ("right", "wrong", "asked_again", "failed")
    lines += [f"| {row['fault']} | {' | '.join(count(row[key]) for key in keys)} |" for row in part["rows"]]
    return "\n".join([*lines, "", f"For {part['seconds']:g} s each. {_machine_and_date(part)}"]) + "\n"


def kills_table(part: Document) -> str:
    """What came of each job that was killed."""
    lines = ["| preset | kills | in the middle of a write | runs | same file | faults |"]
    lines.append("|---|---:|---:|---:|---:|---:|")
    lines += [
        f"| `{job['job']}` | {job['kills']} | {job['in_a_write']} | {job['runs']} | {job['same']} | "
        f"{len(job['faults'])} |"
        for job in part["jobs"]
    ]
    return "\n".join([*lines, "", f"Seed {part['seed']}. {_machine_and_date(part)}"]) + "\n"


def _machine_and_date(part: Document) -> str:
    return f"{part['machine']['processor']}, {part['date']}."


RELIABILITY_TABLES: dict[str, tuple[str, Callable[[Document], str]]] = {
    "reliability-kills": ("kills", kills_table),
    "reliability-determinism": ("determinism", determinism_table),
    "reliability-engines": ("determinism", engines_table),
    "reliability-device": ("device", device_table),
    "reliability-service": ("service", service_table),
}
"""Blocks of the document: the part that each shows, and how."""
