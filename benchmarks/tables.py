"""Tables in Markdown of what the benchmarks measured; ``figures.py`` draws the figures.

Every function takes the JSON document that a benchmark wrote. ``tools/render_results.py`` puts the tables
into the documentation.
"""

from __future__ import annotations

import itertools
import json
import math
import statistics
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from crawl import MISLABELLED_PROBABILITY, SUBJECTS
from measuring import unpack_bits
from probabilities import COVERAGES, FALSE_ALARMS

from token2wave.formatting import count, duration, percent, size

OURS = "token2wave"
NOTHING = "-"
KAPPA_BOUNDS = (0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
Document = dict[str, Any]
Rows = Iterable[Sequence[object]]


def markdown(head: Sequence[str], rows: Rows, n_left: int = 1) -> list[str]:
    """Lines of a table whose first ``n_left`` columns are aligned to the left."""
    rule = "|" + "---|" * n_left + "---:|" * (len(head) - n_left)
    lines = [f"| {' | '.join(head)} |", rule] if any(head) else ["| | |", rule]
    return [*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)]


def caveat_lines(caveats: Iterable[str]) -> list[str]:
    """One line in italics for each caveat."""
    return [f"*{caveat.rstrip('.')}.*" for caveat in caveats]


def join(*paragraphs: Iterable[str]) -> str:
    """A table and the paragraphs below it; empty paragraphs are left out."""
    return "\n\n".join("\n".join(paragraph) for paragraph in map(list, paragraphs) if paragraph) + "\n"


def plural(number: int, noun: str) -> str:
    """A number and its noun."""
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"


def spaced_percent(probability: float) -> str:
    """A percentage with a space before its sign."""
    return percent(probability).replace("%", " %")


def medians_of(group: Document) -> dict[str, float]:
    """Median of every figure."""
    return {key: values["median"] for key, values in group["figures"].items()}


def failures(name: str, group: Document) -> list[str]:
    """Why runs of a system failed."""
    done = f"{group['runs']} runs made, then" if group["runs"] else "no figures:"
    return [f"*{name}, {done} {error}*" for error in group["errors"]]


# ---- classifiers ----

CLASSIFIER_COLUMNS = ("accuracy", "training", "import", "total", "texts/s", "peak memory", "model file")


def classifier_table(document: Document, data: str) -> str:
    """One row for each system on a data set, the fastest first; ours are bold."""
    groups, systems = document["medians"][data], document["systems"]
    rows, remarks = [], []
    for system in sorted(groups, key=lambda name: _training_seconds(groups[name])):
        about = systems.get(system, {"name": system, "family": ""})
        cells = [about["name"], *_classifier_cells(groups[system])]
        rows.append([f"**{cell}**" for cell in cells] if about["family"] == OURS else cells)
    for system, group in groups.items():
        name = systems.get(system, {"name": system})["name"]
        remarks += failures(name, group) + [f"*{name} warned: {note}*" for note in group["notes"]]
    notes = []
    if facts := document["data"].get(data):
        notes.append(
            f"{count(facts['train_rows'])} training and {count(facts['test_rows'])} test texts, "
            f"{facts['classes']} classes, {facts['characters_per_text']:,.0f} characters a text."
        )
        notes += caveat_lines(facts["caveats"])
    return join(markdown(("system", *CLASSIFIER_COLUMNS), rows), notes, remarks)


def _classifier_cells(group: Document) -> list[str]:
    if not group["runs"]:
        return ["failed", *[NOTHING] * (len(CLASSIFIER_COLUMNS) - 1)]
    figures = medians_of(group)
    low, middle, high = (100 * group["figures"]["accuracy"][key] for key in ("min", "median", "max"))
    training, peak = duration(figures["train_seconds"]), figures.get("peak_memory_bytes")
    if figures["preparation_seconds"] >= 0.001:  # below that, the system writes no files
        training += f" + {duration(figures['preparation_seconds'])}"
    return [
        f"{middle:.2f} %" if group["runs"] == 1 else f"{middle:.2f} % ({low:.2f} to {high:.2f})",
        training,
        duration(figures["import_seconds"]),
        duration(figures["total_seconds"]),
        count(figures["texts_per_second"]),
        size(None if peak is None else round(peak)),
        size(round(figures["model_bytes"])),
    ]


def _training_seconds(group: Document) -> float:
    """Seconds from texts in memory to a trained model; failed systems come last."""
    figures = medians_of(group)
    return figures["preparation_seconds"] + figures["train_seconds"] if group["runs"] else float("inf")


def accuracy_table(document: Document) -> str:
    """Mean accuracy of each system on each data set; the best are bold."""
    sets, systems = list(document["medians"]), document["systems"]
    accuracies = defaultdict[str, dict[str, list[float]]](lambda: defaultdict(list))
    for run in document["runs"]:
        if run["error"] is None:
            accuracies[run["system"]][run["data"]].append(run["figures"]["accuracy"])
    means = {
        system: [statistics.mean(by_data[data]) for data in sets]
        for system, by_data in accuracies.items()
        if all(data in by_data for data in sets)
    }
    means = {system: [*row, statistics.mean(row)] for system, row in means.items()}
    best = [max(column) for column in zip(*means.values(), strict=True)]
    rows = []
    for system, row in sorted(means.items(), key=lambda item: -item[1][-1]):
        pairs = zip(row, best, strict=True)
        cells = [f"**{100 * mean:.2f}**" if mean == most else f"{100 * mean:.2f}" for mean, most in pairs]
        rows.append([systems[system]["name"], *cells])
    n_runs = {len(values) for system in means for values in accuracies[system].values()}
    missing = [systems.get(name, {"name": name})["name"] for name in accuracies if name not in means]
    heads = [f"{data} (subset)" if document["data"][data]["caveats"] else data for data in sets]
    notes = [
        f"Test accuracy in percent, mean of {' or '.join(map(str, sorted(n_runs)))} runs with different "
        "seeds.",
        *(f"*{name} is left out: it was not run, or failed, on some of the sets.*" for name in missing),
        *caveat_lines(caveat for data in sets for caveat in document["data"][data]["caveats"]),
    ]
    return join(markdown(["system", *heads, "mean"], rows), notes)


RIVALS = {
    "best rival that learns from the rows alone": lambda family: family not in (OURS, "pre-trained"),
    "best rival that starts from a pre-trained encoder": lambda family: family == "pre-trained",
}


def rivals_table(document: Document, *, pre_trained: bool = True) -> str:
    """Our accuracy on each data set beside the best rivals', with paired differences and calibration errors.

    Differences are also of our preset without its language prior, if it was run. ``pre_trained`` says whether
    rivals that start from an encoder have columns.
    """
    systems, sets = document["systems"], list(document["medians"])
    runs = defaultdict[tuple[str, str], list[Document]](list)
    for run in document["runs"]:
        if run["error"] is None:
            runs[run["data"], run["system"]].append(run)

    def mean(data: str, system: str, figure: str = "accuracy") -> float:
        return statistics.mean(run["figures"][figure] for run in runs[data, system])

    def accuracies_of(ours: str) -> list[str]:
        cells = [
            _mean_and_deviation([run["figures"]["accuracy"] for run in runs[data, ours]]) for data in sets
        ]
        return [*cells, f"{100 * statistics.mean(mean(data, ours) for data in sets):.2f}"]

    def differences(ours: str, best: dict[str, str]) -> list[str]:
        leads = [
            _lead(runs[data, ours], runs[data, best[data]], document["data"][data]["test_rows"])
            for data in sets
        ]
        errors = [error for _, error in leads if error is not None]
        error = math.hypot(*errors) / len(sets) if len(errors) == len(sets) else None
        leads.append((statistics.mean(lead for lead, _ in leads), error))
        return [_interval(*lead) for lead in leads]

    not_run = defaultdict[str, list[str]](list)
    columns = [
        [f"{data} (subset)" if document["data"][data]["caveats"] else data for data in sets] + ["mean"],
        accuracies_of("small"),
    ]
    head = ["data", systems["small"]["name"]]
    for title, is_rival in list(RIVALS.items())[: 1 + pre_trained]:
        rivals = [name for name in systems if is_rival(systems[name]["family"])]
        best = {
            data: max(names, key=lambda name, data=data: mean(data, name))
            for data in sets
            if (names := [name for name in rivals if runs[data, name]])
        }
        if set(best) != set(sets):
            continue
        for name, data in itertools.product(rivals, sets):
            if not runs[data, name]:
                not_run[systems[name]["name"]].append(data)
        accuracies = [mean(data, best[data]) for data in sets]
        cells = [f"{systems[best[data]]['name']}: {100 * mean(data, best[data]):.2f}" for data in sets]
        columns += [[*cells, f"{100 * statistics.mean(accuracies):.2f}"], differences("small", best)]
        head += [title, "difference"]
        if all(runs[data, "small_no_prior"] for data in sets):
            columns.append(differences("small_no_prior", best))
            head.append("difference with `--no-prior`")
    calibration = [mean(data, "small", "calibration_error") for data in sets]
    columns.append([f"{error:.3f}" for error in [*calibration, statistics.mean(calibration)]])
    head.append("calibration error")
    numbers = {data: len(runs[data, "small"]) for data in sets}
    n_seeds = max(numbers.values())
    fewer = ", ".join(f"{data} {number}" for data, number in numbers.items() if number < n_seeds)
    missing = "; ".join(f"{name} on {', '.join(data)}" for name, data in not_run.items())
    processors = [document["machine"]["processor"], *document.get("other_processors", ())]
    notes = [
        "Test accuracy in percent. Ours: mean ± standard deviation of "
        f"{plural(n_seeds, 'seed')}{f' ({fewer})' if fewer else ''}. The rival of a set is the one with the "
        "highest test accuracy, which favours it. In brackets: the 95 % interval of the difference over test "
        "texts; bold where it excludes zero. The calibration error is ours. "
        f"Processors: {', '.join(processors)}." + (f" Not run: {missing}." if missing else ""),
        *caveat_lines(caveat for data in sets for caveat in document["data"][data]["caveats"]),
    ]
    return join(markdown(head, zip(*columns, strict=True), n_left=1), notes)


def _lead(own: list[Document], rival: list[Document], n: int) -> tuple[float, float | None]:
    """Points ahead, and their standard error over ``n`` texts; None where it was not kept who was right."""
    lead = statistics.mean(run["figures"]["accuracy"] for run in own)
    lead -= statistics.mean(run["figures"]["accuracy"] for run in rival)
    if not all("correct" in run for run in (*own, *rival)):
        return 100 * lead, None
    ours, theirs = (sum(unpack_bits(run["correct"], n) / len(side) for run in side) for side in (own, rival))
    return 100 * lead, 100 * statistics.stdev((ours - theirs).tolist()) / math.sqrt(n)


def _interval(lead: float, error: float | None) -> str:
    if error is None:
        return f"{lead:+.2f}"
    low, high = lead - 1.96 * error, lead + 1.96 * error
    text = f"{lead:+.2f} ({low:+.2f} to {high:+.2f})"
    return f"**{text}**" if low > 0 or high < 0 else text


def _versions_and_command(document: Document) -> str:
    versions = ", ".join(f"{package} {version}" for package, version in document["versions"].items())
    return f"Versions: {versions}. Command: `{document['command']}`."


def classifier_method(document: Document) -> str:
    """How classifiers were measured, and what favours which system."""
    settings = document["settings"]
    method = (
        f"Medians of {plural(settings['runs'], 'run')}, with the smallest and largest accuracy in brackets. "
        f"Every run is a process of its own, systems in turn, on {plural(settings['threads'], 'thread')} of "
        f"{document['machine']['processor']}. *Training* goes from texts in memory to a model that is ready "
        "to predict; the time to write files first, where a system needs it, follows a plus. *Import* is "
        "loading the packages. *Total* is the sum. *Texts/s* is training texts over training, without files. "
        "*Peak memory* is the peak of the process, data and prediction of the test texts included. No system "
        "sees a test text before it predicts it."
    )
    systems = [f"- **{a['name']}**: {a['description']} {a['bias']}" for a in document["systems"].values()]
    return join([method], [_versions_and_command(document)], systems)


def paper_step_table(document: Document) -> str:
    """Speed, memory and losses of a training step, ours and padded."""
    sections = {
        "speed": "no dropout",
        "speed_with_dropout": "the preset's dropout",
        "speed_of_the_preset": "the preset as it is",
    }
    rows = []
    for section, title in sections.items():
        title += f", precision {document[section]['precision']}" if "precision" in document[section] else ""
        for side in ("ours", "padded"):
            if values := document[section].get(side):
                speeds, ratio = values["texts_per_second"], values.get("ratio_to_padded")
                speed = f"{count(speeds['median'])} ({count(speeds['min'])} to {count(speeds['max'])})"
                times = NOTHING if ratio is None else f"**{ratio['median']:.1f}**"
                epoch = duration(values["extrapolated_epoch_seconds"])
                rows.append((f"{title}: {side}", speed, times, epoch))
    memory, losses, settings = document["memory"], document["losses"], document["settings"]
    peaks = [
        f"Peak memory of a process: ours {size(memory['ours']['peak_bytes'])}, padded "
        f"{size(memory['padded']['peak_bytes'])}; of that, packages and data take "
        f"{size(memory['ours']['data_loaded_bytes'])}."
    ]
    head = [
        f"Largest difference of the losses of {losses['steps']} steps, from the same weights and batches:"
    ]
    differences = [
        f"- `{optimizer}` ({ours['meaning']}): {ours['largest_difference']:.1e}, in step {ours['at_step']}."
        for optimizer, ours in losses["ours"].items()
    ]
    method = (
        f"Medians of {plural(settings['runs'], 'run')} of {document['turn_steps']} steps each, in turn "
        f"(smallest to largest), {plural(settings['threads'], 'thread')} of "
        f"{document['machine']['processor']}. {document['speed']['extrapolation']}"
    )
    columns = ("step", "texts/s", "times padded", "120,000 texts, extrapolated")
    notes = [method, *caveat_lines(document["data"]["caveats"])]
    return join(markdown(columns, rows), peaks, head, differences, notes)


# ---- prediction ----

PREDICTION_COLUMNS = ("accuracy", "model file", "texts/s", "one text", "cold start", "peak memory")
STORAGES = ("float32", "float16", "int8")
OWN_FILES = ("ONNX", "WaveForSequenceClassification")  # networks that are not in the model file
BACKENDS = {"native": "native core", "numpy": "numpy", "onnx": "ONNX", "transformers": "transformers"}


def quantity(value: float, unit: str) -> str:
    """A time or a size of memory as people write it."""
    units = {"bytes": (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)), "s": (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))}
    name, factor = next((known for known in units[unit] if value >= known[1]), units[unit][-1])
    scaled = value / factor
    return f"{scaled:,.0f} {name}" if scaled >= 100 else f"{scaled:.3g} {name}"


def systems_by_speed(groups: Document) -> list[str]:
    """Systems by texts per second, the fastest first; failed ones come last."""
    done = [system for system in groups if groups[system]["runs"]]
    done.sort(key=lambda system: -float(groups[system]["figures"]["texts_per_second"]["median"]))
    return done + [system for system in groups if not groups[system]["runs"]]


def system_name(document: Document, system: str, group: Document) -> str:
    """Name of a system, by the model of it that was measured."""
    about = document["systems"][system]
    model = document["models"][group["model"] or about["models"][0]]
    name = f"token2wave {model['name']}" if model["family"] == OURS else str(model["name"])
    return f"{name}, numpy" if about["native"] is False else name


def prediction_table(document: Document, data: str) -> str:
    """One row for each system on a data set, the fastest first; ours are bold in the native core."""
    groups, facts, rows, remarks = document["medians"][data], document["data"][data], [], []
    for system in systems_by_speed(groups):
        name = system_name(document, system, groups[system])
        cells = [name, *_prediction_cells(document, data, groups[system])]
        rows.append([f"**{cell}**" for cell in cells] if document["systems"][system]["native"] else cells)
    for system, group in groups.items():
        remarks += failures(system_name(document, system, group), group)
    remarks = [*_about_models(document, data), *_about_torch(document, groups), *remarks]
    short = facts["short_characters"]
    note = (
        f"{count(facts['test_rows'])} test texts, {facts['classes']} classes, "
        f"{facts['characters_per_text']:,.0f} characters a text; *one text* is one of {facts['short_texts']} "
        f"with {short['median']:,.0f} characters ({short['min']} to {short['max']})."
    )
    table = markdown(("system", *PREDICTION_COLUMNS), rows)
    return join(table, [note, *caveat_lines(facts["caveats"])], [f"- {remark}" for remark in remarks])


def _prediction_cells(document: Document, data: str, group: Document) -> list[str]:
    if not group["runs"]:
        return ["failed", *[NOTHING] * (len(PREDICTION_COLUMNS) - 1)]
    figures = medians_of(group)
    speed, latency = count(figures["texts_per_second"]), quantity(figures["latency_seconds"], "s")
    if "prepared_texts_per_second" in figures:
        speed += f" ({count(figures['prepared_texts_per_second'])})"
        latency += f" ({quantity(figures['prepared_latency_seconds'], 's')})"
    peak = figures.get("cold_peak_bytes")
    return [
        spaced_percent(figures["accuracy"]),
        size(document["builds"][data][group["model"]]["bytes"]),
        speed,
        latency,
        duration(figures["cold_start_seconds"]),
        size(None if peak is None else round(peak)),
    ]


def _about_models(document: Document, data: str) -> list[str]:
    """Compressed models, and models that were built and not measured."""
    remarks = []
    measured = {group["model"] for group in document["medians"][data].values()}
    for key, build in document["builds"][data].items():
        name, facts = document["models"][key]["name"], build.get("facts", {})
        if "rows_after" in facts:
            rows = f"{count(facts['rows_after'])} of {count(facts['rows_before'])} rows"
            remarks.append(f"{name}: {rows}, stored as {facts['storage']}.")
        if "source" in facts:
            remarks.append(f"{name}: made from {document['models'][facts['source']]['name']}.")
        if key not in measured and build["error"] is None:
            accuracy = spaced_percent(build["accuracy"])
            remarks.append(f"{name}, built and not measured: {accuracy}, {size(build['bytes'])}.")
    return remarks


def _about_torch(document: Document, groups: Document) -> list[str]:
    """Which fresh processes imported torch."""
    done = {system: group for system, group in groups.items() if group["runs"]}
    loaded = [system_name(document, system, group) for system, group in done.items() if group["torch_loaded"]]
    if loaded:
        return [f"torch was imported to predict by: {', '.join(loaded)}."]
    return ["No system imported torch to predict."] if done else []


def prediction_method(document: Document) -> str:
    """How prediction was measured, what favours which system, and how every model was made."""
    settings = document["settings"]
    method = (
        f"Medians of {plural(settings['runs'], 'run')} in turn, each a process of its own on "
        f"{plural(settings['threads'], 'thread')} of {document['machine']['processor']}, bound to as many "
        f"processors. Models were trained once on each data set, with seed {settings['seed']}. *Texts/s* "
        "goes from a list of all test texts to a list of labels, the median of several passes after a "
        "warm-up. *One text* is a call with one short text, the median of up to 20,000 calls with warm "
        "caches, as in a busy service. *Cold start* goes from the start of an interpreter to the label of "
        "one text: Python, import, loading and predicting, with files in the disk cache; it is the median of "
        f"{settings['cold_starts']} starts a run. *Peak memory* is that of such a process."
    )
    bias = (
        "fastText's texts are lower-cased, and punctuation is made words, beforehand, as in its training "
        "file. That favours it, since ours and TF-IDF take texts as they are; the figure with that "
        "preparation in Python is in brackets. For one text, the faster of `predict([text])` and the "
        "function of its binding below it is shown, which users do not see; `predict(text)` fails with NumPy "
        "2. Of its two learning rates, the one with the higher test accuracy is measured, which favours it "
        "too. Names with *numpy* are ours without the native core (`TOKEN2WAVE_NATIVE=0`)."
    )
    models = [f"- **{model['name']}**: {model['description']}" for model in document["models"].values()]
    return join([method], [bias], [_versions_and_command(document)], models)


def agreement_table(document: Document) -> str:
    """How far the predictions of each model are from torch's."""
    records = [
        (f"{data}, {preset}", record)
        for data, presets in document["models"].items()
        for preset, record in presets.items()
    ]
    done = [record for _, record in records if record["error"] is None]
    backends = [backend for backend in BACKENDS if any(backend in record["paths"] for record in done)]
    storages = [storage for storage in STORAGES if any(storage in record["storage"] for record in done)]
    has_pairs = any("any_two" in record for record in done)
    columns = ["model", "texts", *(BACKENDS[backend] for backend in backends), *["any two"] * has_pairs]
    columns += [f"accuracy {storage}" for storage in storages]
    rows, errors = [], []
    for name, record in records:
        if record["error"] is not None:
            rows.append([name, "failed", *[NOTHING] * (len(columns) - 2)])
            errors.append(f"*{name}: {record['error']}*")
            continue
        paths, storage_paths = record["paths"], record["storage"]
        cells = [name, count(paths["native"].get("texts"))]
        cells += [_agreement(paths[way], paths["torch"]) if way in paths else NOTHING for way in backends]
        cells += [_pair_agreement(record)] * has_pairs
        cells += [
            _stored_accuracy(storage_paths[storage]) if storage in storage_paths else NOTHING
            for storage in storages
        ]
        rows.append(cells)
        every = {f"{way} path": path for way, path in paths.items()}
        every |= {storage: path for storage, path in storage_paths.items() if storage != "float32"}
        errors += [
            f"*{name}, {path_name}: {path['error']}*" for path_name, path in every.items() if path["error"]
        ]
    caveats = chain.from_iterable(facts.get("caveats", ()) for facts in document["data"].values())
    notes = [" ".join(_column_meanings(backends, has_pairs, done)), f"Command: `{document['command']}`."]
    return join(markdown(columns, rows), [*notes, *caveat_lines(caveats), *errors])


def _column_meanings(backends: list[str], has_pairs: bool, records: list[Document]) -> list[str]:
    text = [
        "*Native core* and *numpy* are what `token2wave.load` gives, compared with torch's `WaveNetwork` "
        "with the same parameters in float32, on features made without the core: the number of test texts "
        "whose most probable class differs, and the largest difference of two probabilities."
    ]
    if "onnx" in backends:
        text.append("*ONNX* is the exported file alone in onnxruntime, with its size in brackets.")
    if "transformers" in backends:
        loaded = [record["paths"].get("transformers", {}) for record in records]
        n_same = sum(path.get("same_parameters", False) for path in loaded)
        text.append(
            "*transformers* is the model and tokenizer that `transformers` saves to a folder and loads "
            f"again, with the folder's size in brackets. Of {len(loaded)} models, {n_same} came back with "
            "the same parameters, bit for bit."
        )
    if has_pairs:
        text.append("*Any two* compares all backends with each other, torch included.")
    meaning = (
        "In brackets after an accuracy: the size of the file, and the texts whose class differs from float32."
    )
    return [*text, meaning]


def _pair_agreement(record: Document) -> str:
    most = max(path.get("texts", 0) for path in record["paths"].values())
    return _agreement({"error": None, "network": "all", **record.get("any_two", {})}, {"texts": most})


def _agreement(path: Document, reference: Document) -> str:
    if path["error"] is not None or "other_classes" not in path:
        return "failed"
    if path["network"] == "WaveNetwork":  # nothing was compared
        return "runs in torch"
    n_others = path["other_classes"]
    others = f"{count(n_others)} other classes" if n_others else "same classes"
    first = f" (first {count(path['texts'])})" if path["texts"] < reference["texts"] else ""
    weight = f" ({size(path['bytes'])})" if path["network"] in OWN_FILES else ""
    return f"{others}, {path['largest_difference']:.1e}{first}{weight}"


def _stored_accuracy(path: Document) -> str:
    if path["error"] is not None:
        return "failed"
    others = f", {count(path['other_classes'])} others" if "other_classes" in path else ""
    return f"{spaced_percent(path['accuracy'])} ({size(path['bytes'])}{others})"


# ---- growth of cost ----


def growth_table(document: Document, name: str) -> str:
    """For every curve of a study its ends and the slope of each fitted line."""
    study = document["studies"][name]
    bounds = format_bounds(*study["within"])
    head = ["measured", "curve", "smallest", "largest", "slope", f"slope, {bounds}", "largest over smallest"]
    rows = []
    for curve in study["curves"]:
        ends = [_curve_end(point, curve["unit"]) for point in (curve["points"][0], curve["points"][-1])]
        fit = curve["fit_within"]
        slope, ratio = format_slope(fit), NOTHING
        if fit is not None:
            ratio = f"{fit['largest_over_smallest']:.3g}"
            slope += f", to {fit['to']:,}" if fit["to"] < study["within"][1] else ""  # a curve that stopped
        rows.append([curve["panel"], curve["name"], *ends, format_slope(curve["fit"]), slope, ratio])
    return join(markdown(head, rows, n_left=len(head)), _growth_notes(study))


def training_growth_table(document: Document, name: str) -> str:
    """For every curve of a study of whole runs all of its points, and slopes: of all, and of the last two."""
    study = document["studies"][name]
    points = study["curves"][0]["points"]
    last = format_bounds(points[-2]["size"], points[-1]["size"])
    head = [study["size"], *(f"{point['size']:,}" for point in points), "slope", f"slope, {last}"]
    rows = [
        [
            curve["name"],
            *(quantity(point["median"], curve["unit"]) for point in curve["points"]),
            format_slope(curve["fit"]),
            f"{_last_slope(curve):.2f}",
        ]
        for curve in study["curves"]
    ]
    accuracies = [point["accuracy"] for point in points]
    texts = [NOTHING if accuracy is None else f"{100 * accuracy:.1f} %" for accuracy in accuracies]
    rows += [
        ["features with a row", *(f"{point['embedding_rows']:,}" for point in points), NOTHING, NOTHING],
        ["accuracy on held-out rows", *texts, NOTHING, NOTHING],
    ]
    about = "Slopes are of least-squares lines on a log-log plot, ± standard error; the last of two points."
    *_, command = _growth_notes(study)
    return join(markdown(head, rows), [f"- {note}" for note in (about, *study["setting"])] + [command])


def _last_slope(curve: Document) -> float:
    """The slope between the two largest points."""
    before, last = curve["points"][-2:]
    return math.log(last["median"] / before["median"]) / math.log(last["size"] / before["size"])


def _curve_end(point: Document, unit: str) -> str:
    end = f"{point['size']:,}: {quantity(point['median'], unit)}"
    speed = point.get("texts_per_second")
    return end if speed is None else f"{end}, {speed:,.0f} texts/s"


def _growth_notes(study: Document) -> list[str]:
    """Setting, why curves stop, command and machine."""
    run = study["run"]
    stops = [
        f"'{curve['name']}' ({curve['panel']}) ends before {curve['stopped']['size']:,}: "
        f"{curve['stopped']['reason']}."
        for curve in study["curves"]
        if curve["stopped"] is not None
    ]
    commit = (run["code"]["commit"] or "unknown")[:7] + (" with changes" if run["code"]["dirty"] else "")
    quick = " A quick run: few points, few repetitions." if run["quick"] else ""
    notes = [
        f"Sizes are {study['size']}; slopes are of least-squares lines on a log-log plot, ± standard error; "
        f"the last two columns are for {format_bounds(*study['within'])}.",
        *study["setting"],
        *stops,
        f"`{run['command']}`, commit {commit}, {run['machine']['processor']}, {run['threads']} threads, "
        f"torch {run['versions']['torch']}; medians of up to {run['runs']} interleaved repetitions.{quick}",
    ]
    return [f"- {note}" for note in notes]


def describe_slopes(study: Document) -> list[str]:
    """One line of plain text for each curve, for the terminal."""
    lines = []
    for curve in study["curves"]:
        last, fit = curve["points"][-1], curve["fit_within"]
        line = f"{curve['panel']}: {curve['name']}: slope {format_slope(curve['fit'])}"
        if fit is not None:
            bounds = format_bounds(fit["from"], fit["to"])
            line += f"; {format_slope(fit)} for {bounds}, × {fit['largest_over_smallest']:.3g}"
        lines.append(f"{line}; {last['size']:,}: {quantity(last['median'], curve['unit'])}")
    return lines


def format_slope(fit: Document | None) -> str:
    """A slope and its standard error."""
    if fit is None:
        return NOTHING
    error = fit["standard_error"]
    return f"{fit['slope']:.2f}" + ("" if error is None else f" ± {error:.2f}")


def format_bounds(first: int, last: int) -> str:
    """A range of sizes."""
    return f"{first:,} to {last:,}"


# ---- probabilities and novelty ----

Runs = list[Document]


def runs_by_preset(document: Document) -> dict[tuple[str, str], Runs]:
    """Runs of each data set and preset, over their seeds."""
    groups: dict[tuple[str, str], Runs] = {}
    for run in document["runs"].values():
        groups.setdefault((run["data"], run["preset"]), []).append(run)
    return groups


def mean_over_runs(runs: Runs, *path: str | int) -> float:
    """Mean over runs of the number at a path in each."""

    def number(run: Any) -> float:
        for key in path:
            run = run[key]
        return float(run)

    return statistics.mean(map(number, runs))


def probability_tables(document: Document) -> str:
    """Calibration and abstention on every data set, then novelty of foreign texts."""
    indices, alarm = [COVERAGES.index(part) for part in (1.0, 0.9, 0.8)], FALSE_ALARMS.index(0.05)
    rows, novelty_rows = [], []
    for (data, preset), runs in runs_by_preset(document).items():
        accuracies = [f"{100 * mean_over_runs(runs, 'answered', i, 'accuracy'):.2f}" for i in indices]
        error = f"{mean_over_runs(runs, 'calibration_error'):.4f}"
        rows.append([data, preset, len(runs), *accuracies, error])
        for other in runs[0]["foreign"]:
            lengths = ("whole", "cut")
            areas = [f"{mean_over_runs(runs, 'foreign', other, n, 'area'):.3f}" for n in lengths]
            detected = mean_over_runs(runs, "foreign", other, "whole", "found", alarm)
            novelty_rows.append([f"{data}, {preset}", other, *areas, f"{100 * detected:.1f} %"])
    head = ("data", "preset", "seeds", "accuracy", "surest 90 %", "surest 80 %", "calibration error")
    novelty_head = ("model", "foreign texts", "area", "cut to equal length", "detected, 5 % false alarms")
    note = (
        "Means over seeds. Accuracies in percent, of all test texts and of the surest. Calibration error: "
        "expected calibration error in 15 bins. Area: under the ROC curve of novelty, own test texts against "
        f"foreign ones, whole and with all texts cut to their first {document['words']} words."
    )
    caveats = chain.from_iterable(about["caveats"] for about in document["data"].values())
    notes = [note, f"Command: `{document['command']}`.", *caveat_lines(caveats)]
    return join(markdown(head, rows, 2), markdown(novelty_head, novelty_rows, 2), notes)


def novelty_scores_table(document: Document) -> str:
    """Areas of several novelty scores over pairs of data sets."""
    columns = list(next(iter(document["areas"].values())))
    heads = [name if name == "whole" else f"first {name} words" for name in columns]
    rows = []
    for score, areas in document["areas"].items():
        means = [f"{statistics.mean(areas[name].values()):.3f}" for name in columns]
        name = f"**{score}**" if score == document["chosen"] else score
        rows.append([name, *means, f"{min(areas['whole'].values()):.3f}"])
    n_pairs = len(document["sets"]) * (len(document["sets"]) - 1)
    note = (
        f"Area under the ROC curve, mean and least of {n_pairs} pairs of {', '.join(document['sets'])}; "
        f"preset `{document['preset']}`, seed 0; rows held out of training on both sides."
    )
    return join(markdown(("score", *heads, "least, whole"), rows), [note])


# ---- trials ----

BASELINE = "the preset's waves"
NATIVE = "the preset's waves, by the native core"
SPELLED = "n-grams in full"
SVM_TRIALS = ("unseen words by their n-grams", "no n-grams", SPELLED, f"{SPELLED}, unseen words by theirs")
"""Trials that leave the waves as they are."""
NATIVE_TRIALS = (*SVM_TRIALS, "ensemble of three", "three times as wide")
"""Trials that the native core trains, compared with the preset's waves by it."""
WAVE_PARTS = {"all": "waves and linear SVM", "waves": "waves alone", "linear_svm": "linear SVM alone"}
Pairs = list[tuple[dict[str, float], dict[str, float]]]


def wave_trials_table(document: Document, branch: str) -> str:
    """Accuracy of a branch of the preset, and paired differences of every trial."""
    trials = document["rows"]
    reference = trials[NATIVE if branch == "linear_svm" or BASELINE not in trials else BASELINE]
    data, rows = list(reference), []
    for trial, row in trials.items():
        if branch != "all" and (trial in SVM_TRIALS) != (branch == "linear_svm") and trial != NATIVE:
            continue
        if branch == "linear_svm" and trial not in (NATIVE, *SVM_TRIALS):
            continue
        if row is reference:
            accuracies = [[run[branch]["accuracy"] for run in row[name].values()] for name in data]
            rows.append(
                [trial, *(f"{100 * statistics.mean(values):.2f}" for values in accuracies), "", "", ""]
            )
            continue
        against = trials[NATIVE] if trial in NATIVE_TRIALS else reference
        pairs = [_paired_runs(row.get(name, {}), against.get(name, {}), branch) for name in data]
        if every := list(chain.from_iterable(pairs)):
            gains = [f"{statistics.mean(_gains(each)):+.2f}" if each else "" for each in pairs]
            losses = [own["loss"] - other["loss"] for own, other in every]
            rows.append([trial, *gains, _with_error(_gains(every), 2), _with_error(losses, 4), len(every)])
    seeds = ", ".join(sorted({seed for row in reference.values() for seed in row}))
    name = next(trial for trial, row in trials.items() if row is reference)
    measure = document["measure"].replace("held back", "held out")
    note = (
        f"Preset `{document['preset']}`, seeds {seeds}; accuracy on {measure}, in percent, of {name}; of the "
        "others, points ahead with the same seeds. All sets: mean difference over the runs, in points and in "
        "nats, ± standard error."
    )
    if branch != "linear_svm" and BASELINE in trials:
        note += " Lines below the native core's are compared with it."
    head = [WAVE_PARTS[branch], *data, "all sets", "log-loss", "runs"]
    return join(markdown(head, rows, n_left=len(head)), [note])


def _paired_runs(runs: Document, reference: Document, branch: str) -> Pairs:
    return [(run[branch], reference[seed][branch]) for seed, run in runs.items() if seed in reference]


def _gains(pairs: Pairs) -> list[float]:
    return [100 * (own["accuracy"] - other["accuracy"]) for own, other in pairs]


def _with_error(differences: list[float], digits: int) -> str:
    mean = f"{statistics.mean(differences):+.{digits}f}"
    if len(differences) < 2:
        return mean
    return f"{mean} ± {statistics.stdev(differences) / len(differences) ** 0.5:.{digits}f}"


# ---- several devices ----

DISTRIBUTED_SYSTEMS = {
    "one": "one process, one thread",
    "threads": "one process, two threads",
    "processes": "two processes, one thread each",
}


def distributed_time_table(document: Document) -> str:
    """Accuracy and time of one process and of two."""
    section = document["time"]
    rows = [
        (
            variant,
            name,
            percent(systems[system]["accuracy"]),
            f"{systems[system]['train_seconds']['median']:.1f} s",
            *(f"{systems[system][key]['median']:.2f}" for key in ("train_share", "total_share")),
        )
        for variant, systems in section["variants"].items()
        for system, name in DISTRIBUTED_SYSTEMS.items()
    ]
    columns = (
        "network and batches",
        "run as",
        "test accuracy",
        "training",
        "relative to one",
        "with all else",
    )
    note = (
        f"At most {count(section['rows'])} training rows of {section['data']}, drawn at random, and "
        f"{section['epochs']} epochs, in {section['precision']}; medians of {section['runs']} runs in turn. "
        f"{section['machine']['processor']}."
    )
    return join(markdown(columns, rows, 2), [note, *caveat_lines(section["caveats"])])


def distributed_traffic_table(document: Document) -> str:
    """What is sent in a step, beside the rows that it touches and the size of the table."""
    section = document["traffic"]
    rows = [
        (
            count(row["vocabulary"]),
            row["batch_size"],
            count(round(row["rows"])),
            size(round(row["row_bytes"])),
            f"{count(round(row['row_bytes'] / row['rows']))} B",
            size(row["table_bytes"]),
            size(round(row["dense_bytes"])),
        )
        for row in section["rows"]
    ]
    columns = [
        "table",
        "texts in a step",
        "rows touched",
        "sent for rows",
        "for one",
        "whole table",
        "all else",
    ]
    note = (
        f"What one of two processes sends to the other, mean of {section['steps']} steps: texts of "
        f"{section['words']} words that follow Zipf's law, rows of {section['width']} numbers of four bytes."
    )
    return join(markdown(columns, rows, 0), [note])


# ---- teachers ----


def teacher_table(document: Document) -> str:
    """Accuracy, size and speed of a teacher and its students."""
    rows, speeds, caveats = [], [], []
    for data, figures in document["data"].items():
        teacher = figures["teacher"]
        title, accuracy = f"stack of {document['teacher']}, the teacher", f"{100 * teacher['accuracy']:.2f}"
        rows.append([data, title, accuracy, "", ""])
        for title, runs in figures["students"].items():
            accuracies = [
                _mean_and_deviation([run[key] for run in runs]) for key in ("accuracy", "small_accuracy")
            ]
            n_bytes = max(run["small_bytes"] for run in runs)
            rows.append([data, f"preset small, {title}", *accuracies, f"{n_bytes:,}"])
        speeds.append(f"{teacher['times_as_fast']:,.0f}")
        caveats += caveat_lines(figures["caveats"])
    settings = " ".join(f"--set {key}={value}" for key, value in document["settings"].items())
    n_seeds = len(document["seeds"])
    note = (
        f"{'Mean ± standard deviation' if n_seeds > 1 else 'Figures'} of {plural(n_seeds, 'seed')}; "
        f"with the teacher `{settings}`. The "
        f"compressed student predicts {', '.join(speeds)} times as fast as the teacher, in turn in one "
        "process."
    )
    columns = ("data", "model", "test accuracy, %", "compressed: test accuracy, %", "compressed: bytes")
    return join(markdown(columns, rows, n_left=5), [note, *caveats])


NOISY_SYSTEMS = {
    "plain": "as they are",
    "drop_suspicious": "`--drop-suspicious`",
    "reweight": "`--reweight`",
    "relabel": "`--relabel`",
    "oracle": "without exactly the wrong rows",
}


def few_shot_table(document: Document) -> str:
    """Accuracy by rows of each class; and by rows in all, with times of training and prediction."""
    names = {system: facts["name"] for system, facts in document["systems"].items()}
    cells = [
        (data, rows, [by_system.get(system, []) for system in names])
        for data, by_rows in document["rows"].items()
        for rows, by_system in by_rows.items()
    ]
    n_draws = max(len(runs) for _, _, by_system in cells for runs in by_system)
    draws = {
        name: min(len(runs[place]) for _, _, runs in cells if runs[place])
        for place, name in enumerate(names.values())
    }
    fewer = "".join(f"; {name}: {number}" for name, number in draws.items() if number < n_draws)

    def table(title: str, in_all: bool) -> list[str]:
        rows, groups = [], [cell for cell in cells if cell[1].endswith("in all") is in_all]
        for data, n_rows, by_system in groups:
            accuracies = ([run["accuracy"] for run in runs] for runs in by_system)
            rows.append([data, n_rows.removesuffix(" in all"), *map(_mean_and_deviation, accuracies)])
        if not rows:
            return []
        common = [by_system for _, _, by_system in groups if all(by_system)]
        for figure, text, scale in FEW_SHOT_MEANS if in_all and common else ():
            columns = zip(*common, strict=True)
            values = [
                [[run[figure] for run in runs if figure in run] for runs in column] for column in columns
            ]
            means = (_mean_of_means(column, scale) for column in values)
            rows.append([f"{text}, {plural(len(common), 'set')}", "", *means])
        head = ["data", title, *names.values()]
        return markdown(head, rows, n_left=len(head))

    notes = [
        f"Test accuracy in %, mean ± standard deviation of {n_draws} draws of the rows{fewer}.",
        "Means are of the sets that all systems have.",
        *(f"*{a['name']}*: {a['description']}" for a in document["systems"].values() if "description" in a),
        *caveat_lines(document["caveats"]),
    ]
    return join(table("rows a class", False), table("rows in all", True), notes)


FEW_SHOT_MEANS = (
    ("accuracy", "mean", 100.0),
    ("train_seconds", "training, seconds", 1.0),
    ("texts_per_second", "texts predicted in a second", 1.0),
)


def _mean_of_means(groups: list[list[float]], scale: float) -> str:
    """Mean of the groups' means; nothing where one is empty."""
    if not all(groups):
        return NOTHING
    value = scale * statistics.mean(map(statistics.mean, groups))
    return f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"


def mean_curve(document: Document, data: str, strategy: str) -> list[float]:
    """Mean accuracy over seeds for each number of labels."""
    runs = document["rows"][data][strategy]
    return [statistics.mean(each) for each in zip(*(run["accuracy"] for run in runs), strict=True)]


def labels_needed(counts: Sequence[int], curve: Sequence[float], target: float) -> float | None:
    """The number of labels from which a curve reaches an accuracy; None if it does not."""
    points = list(zip(counts, curve, strict=True))
    for (first, low), (last, high) in itertools.pairwise(points):
        if high >= target:
            return first + (last - first) * max(target - low, 0) / (high - low)
    return None


def selection_table(document: Document) -> str:
    """How many chosen labels give the accuracy of all random ones."""
    counts, rows = document["counts"], []
    for data, result in document["rows"].items():
        random, chosen = (mean_curve(document, data, strategy) for strategy in ("random", "mixture"))
        needed = labels_needed(counts, chosen, random[-1])
        cells = (
            ["none", "more"] if needed is None else [percent(1 - needed / counts[-1], 0), f"{needed:,.0f}"]
        )
        accuracies = [
            _mean_and_deviation([run["accuracy"][-1] for run in result[strategy]])
            for strategy in ("random", "mixture")
        ]
        rows.append([data, f"{result['n_pool']:,}", accuracies[0], *reversed(cells), accuracies[1]])
    head = [
        *("data", "pool", f"accuracy of {counts[-1]:,} random labels, %", "as many chosen labels"),
        *("fewer", f"accuracy of {counts[-1]:,} chosen labels, %"),
    ]
    n_seeds = len(document["seeds"])
    note = f"Test accuracy, preset `fast`, mean ± standard deviation of {n_seeds} seeds. The first "
    note += f"{counts[0]:,} labels are random; each round adds {counts[1] - counts[0]:,}."
    return join(markdown(head, rows), [note, *caveat_lines(document["caveats"])])


def kappa_table(document: Document) -> str:
    """What the next round brought, by how much the last two models agreed."""
    gains = defaultdict[int, list[float]](list)
    for result in document["rows"].values():
        for run in result["mixture"]:
            for kappa, (before, after) in zip(
                run["kappa"], itertools.pairwise(run["accuracy"][1:]), strict=False
            ):
                gains[sum(kappa >= bound for bound in KAPPA_BOUNDS)].append(after - before)
    bounds = [0, *KAPPA_BOUNDS, 1]
    rows = [
        [f"{bounds[i]:g} to {bounds[i + 1]:g}", len(gains[i]), f"{100 * statistics.mean(gains[i]):+.2f}"]
        for i in sorted(gains)
    ]
    head = ("kappa of the last two models", "rounds", "gain of the next round, points")
    return join(markdown(head, rows), [])


def text_columns_table(document: Document) -> str:
    """Accuracy of what is done with a second text column."""
    rows = [
        [data, " + ".join(f"`{name}`" for name in document["data"][data]["columns"])]
        + [_mean_and_deviation(accuracies) for accuracies in by_system.values()]
        for data, by_system in document["rows"].items()
    ]
    by_system = list(zip(*(each.values() for each in document["rows"].values()), strict=True))
    means = [100 * statistics.mean(map(statistics.mean, each)) for each in by_system]
    rows.append(["mean", "", *(f"{mean:.2f}" for mean in means)])
    n_seeds = len(document["seeds"])
    note = f"Test accuracy in %, preset `{document['preset']}`, mean ± standard deviation of {n_seeds} seeds."
    head = ["data", "columns", "joined", "marked", "both"]
    return join(markdown(head, rows, n_left=2), [note, *caveat_lines(document["caveats"])])


def vectors_table(document: Document) -> str:
    """Accuracy of the nearest rows, by vectors."""
    names = {"wave": "`encode`", "tfidf": "TF-IDF", "tfidf_svd": "TF-IDF, SVD"}
    ks = list(document["runs"][0]["vectors"]["wave"]["accuracy"])
    rows = []
    for run in document["runs"]:
        accuracies = [run["vectors"][name]["accuracy"][k] for name in names for k in ks]
        model = "" if run["model_accuracy"] is None else f"{100 * run['model_accuracy']:.1f}"
        data = f"{run['data']}, unseen classes" if run["unseen"] else run["data"]
        width = run["vectors"]["wave"]["width"]
        rows.append([data, count(run["rows"]), *(f"{100 * each:.1f}" for each in accuracies), model, width])
    head = ["data", "rows", *(f"{name}, k={k}" for name in names.values() for k in ks)]
    note = (
        f"Accuracy in % of {document['runs'][0]['texts']:,} training rows held out (fewer of unseen ones), "
        f"by the labels of the k nearest rows; of the model itself, preset `{document['preset']}`; and the "
        "width of its vectors."
    )
    return join(markdown([*head, "the model itself", "width"], rows), [note])


def pairs_table(document: Document) -> str:
    """Accuracy, or Spearman's correlation, of models of pairs and of their rivals."""
    names = {
        "pair": "`--pair`",
        "pair_symmetric": "`--pair --symmetric`",
        "pair_no_prior": "`--pair --no-prior`",
        "tfidf": "TF-IDF of the pair",
        "model2vec": "Model2Vec",
        "minilm": "MiniLM's cosine",
    }
    cells: dict[str, dict[str, list[float]]] = {}
    test_rows = {}
    for run in document["runs"]:
        cells.setdefault(run["data"], {}).setdefault(run["system"], []).append(run["figure"])
        test_rows[run["data"]] = run["test_rows"]
    rows = [
        [data, count(test_rows[data]), *(_mean_and_deviation(of_data.get(name, [])) for name in names)]
        for data, of_data in cells.items()
    ]
    note = (
        "Test accuracy in %; for `sick_relatedness`, `stsb` and `ja_jsts` Spearman's correlation times 100. "
        "Mean ± standard deviation of seeds, of which our models have three to five and the others one. "
        "`qqp_part` is a small part of the official set, and `rte` is its development set."
    )
    return join(markdown(["data", "test pairs", *names.values()], rows), [note])


def grades_table(document: Document) -> str:
    """Spearman's correlation of models of grades and of their rivals, by the number of rows."""
    systems = list(dict.fromkeys(run["system"] for run in document["runs"]))
    rows = []
    for n_rows in dict.fromkeys(run["rows"] for run in document["runs"]):
        runs = [run for run in document["runs"] if run["rows"] == n_rows]
        of_system = {name: [run for run in runs if run["system"] == name] for name in systems}
        coverages = [run["coverage"] for run in of_system["ordinal"]]
        figures = [_mean_and_deviation([run["spearman"] for run in of_system[name]]) for name in systems]
        rows.append([count(n_rows), *figures, f"{100 * statistics.mean(coverages):.0f}"])
    note = (
        f"Spearman's correlation times 100 on {document['held_out']:,} training rows of IMDB held out; "
        "mean ± standard deviation of the draws. *Covered*: true grades in % within the 80 % intervals "
        "of `ordinal`."
    )
    return join(markdown(["rows", *systems, "covered"], rows), [note])


def long_documents_table(document: Document) -> str:
    """Accuracy on made-up long documents, with the window level, without it, and of rivals."""
    names = {
        "small": "`small`",
        "small_whole": "`small` without the level",
        "fast": "`fast`",
        "fast_whole": "`fast` without the level",
        "fasttext": "fastText, word pairs, 25 epochs",
        "tfidf": "TF-IDF of words, tuned LinearSVC",
    }
    rows = []
    for system, name in names.items():
        runs = [run for run in document["runs"] if run["system"] == system]
        seconds = statistics.median(run["seconds"] for run in runs)
        rows.append([name, _mean_and_deviation([run["accuracy"] for run in runs]), f"{seconds:.0f}"])
    n_draws = len({run["seed"] for run in document["runs"]})
    note = (
        f"{document['rows']} documents of {document['words']:,} words to learn from and {document['rows']} "
        f"to test, mean ± standard deviation of {n_draws} draws, on a busy machine."
    )
    return join(markdown(["", "accuracy in %", "processor seconds"], rows), [note])


def document_lengths_table(document: Document) -> str:
    """Time and memory of a prediction by the length of the text."""
    rows = [
        [count(each["words"]), f"{each['seconds']:.3f}", f"{each['bytes'] / 1e6:.1f} MB"]
        for each in document["lengths"]
    ]
    return join(markdown(["words", "processor seconds", "peak memory of Python and numpy"], rows), [])


def languages_table(document: Document) -> str:
    """Accuracy on sets that are not in English, of the default and of tuned TF-IDF."""
    names = {
        "small": "`small`",
        "tfidf_characters_tuned": "TF-IDF of characters, tuned",
        "tfidf_words_tuned": "of words, tuned",
        "tfidf_segmented_tuned": "of segmented words, tuned",
    }
    accuracies = defaultdict[tuple[str, str], list[float]](list)
    for run in document["runs"]:
        accuracies[run["data"], run["system"]].append(run["figures"]["accuracy"])
    means = {key: 100 * statistics.mean(values) for key, values in accuracies.items()}
    sets = [data for data in document["data"] if not data.startswith("sib_")]
    of_sib = [data for data in document["data"] if data.startswith("sib_") and data != "sib_eng_Latn"]
    rows = [
        [data, count(document["data"][data]["test_rows"])]
        + [_mean_and_deviation(accuracies[data, name]) for name in names]
        for data in sets
    ]
    of_sets = [[means[data, name] for name in names] for data in sets]
    notes = ["Test accuracy in %, mean ± standard deviation of five seeds of `small`; of the others one run."]
    if of_sib:
        n_rows = sum(document["data"][data]["test_rows"] for data in of_sib)
        of_sets.append([statistics.mean(means[data, name] for data in of_sib) for name in names])
        rows.append([f"SIB-200, {len(of_sib)} other languages, a model each", count(n_rows)])
        rows[-1] += [f"{value:.2f}" for value in of_sets[-1]]
        leads = [
            means[data, "small"] - max(means[data, name] for name in names if name != "small")
            for data in of_sib
        ]
        n_ahead = sum(lead > 0 for lead in leads)
        lead = statistics.mean(leads)
        notes.append(
            "On SIB-200 without English `small` has one seed a language. It is ahead of the best of the "
            f"others in {n_ahead} of {len(of_sib)} languages, by {lead:+.2f} points on average."
        )
    rows.append(["mean", "", *(f"{statistics.mean(values):.2f}" for values in zip(*of_sets, strict=True))])
    lead = statistics.mean(values[0] - max(values[1:]) for values in of_sets)
    notes.append(f"Lead over the best of the others on each row, mean of the rows: {lead:+.2f} points.")
    return join(markdown(["data", "test rows", *names.values()], rows), notes)


def sentences_block(document: Document) -> str:
    """What the audit says of the built-in corpus."""
    lines = chain.from_iterable(textwrap.wrap(each, 110) for each in document["example"]["sentences"])
    return "\n".join(["```text", *lines, "```"]) + "\n"


def predicted_gains_table(document: Document) -> str:
    """The gain from twice the rows: predicted from a half of them, and what happened."""
    rows, runs = [], list(chain.from_iterable(document["rows"].values()))
    for data, draws in document["rows"].items():
        predicted, happened = (
            statistics.mean(run[key] for run in draws) for key in ("predicted", "happened")
        )
        low, high = (statistics.mean(run["interval"][i] for run in draws) for i in (0, 1))
        n_rows = f"{count(draws[0]['rows'])} to {count(2 * draws[0]['rows'])}"
        interval = f"{100 * low:+.1f} to {100 * high:+.1f}"
        mark = r"\*" if data in document["chosen"] else ""
        rows.append([f"{data}{mark}", n_rows, f"{100 * predicted:+.2f}", interval, f"{100 * happened:+.2f}"])
    distance = statistics.mean(abs(run["predicted"] - run["happened"]) for run in runs)
    n_inside = sum(map(_is_in_interval, runs))
    n_held_out = [count(each(run["held_out"] for run in runs)) for each in (min, max)]
    note = (
        f"Gain in accuracy of preset `{document['preset']}` from twice the rows, in percentage points; mean "
        f"of {len(draws)} random draws. Prediction and truth differ by {100 * distance:.2f} points in the "
        f"mean. It is measured on {' to '.join(n_held_out)} training rows held out, no test row. "
        f"Its own error added, it is within the interval of 90% in {n_inside} of {len(runs)} draws."
    )
    named = [run for run in runs if run["main_classes"]]
    main = ""
    if named:
        happened, in_main = (
            sum(run[key] for run in named) for key in ("happened", "happened_in_main_classes")
        )
        main = (
            f"In {len(named)} draws the curve named labels that would have most of the gain: they had "
            f"{percent(in_main / happened, 0)} of it."
        )
    star = "A star marks sets with other draws of which the settings of the curve were chosen."
    return join(
        markdown(["data", "rows", "predicted", "interval", "happened"], rows, n_left=2), [note, main, star]
    )


def _is_in_interval(run: Document) -> bool:
    """Whether what happened is within the interval of the prediction, both uncertain."""
    distance, (low, high) = run["happened"] - run["predicted"], run["interval"]
    width = high - run["predicted"] if distance > 0 else run["predicted"] - low
    return bool(abs(distance) <= math.hypot(width, 1.645 * run["standard_error"]))


def estimated_noise_table(document: Document) -> str:
    """Wrong labels that were planted, and how many are estimated."""
    planted = [(run["planted"], run["how"]) for run in next(iter(document["noise"].values()))]
    head = [f"{percent(fraction, 0)}{f' {how}' if fraction else ''}" for fraction, how in planted]
    rows = [
        [data, *(f"{100 * run['estimated']:.1f} ({100 * run['suspicious']:.1f})" for run in runs)]
        for data, runs in document["noise"].items()
    ]
    note = (
        "Estimated percentage of wrong labels, where some were planted in random rows: any other, or the "
        "class that is confused most. In brackets: the percentage of rows that look wrong, hard right ones "
        "among them. The sets have wrong labels of their own, too."
    )
    people = document["people"]
    wrong, estimated, agreement = (percent(people[key], 1) for key in ("wrong", "estimated", "agreement"))
    limit = (
        f"What people got wrong is another matter: of {people['data']}, {wrong} of the labels differ from "
        f"those of the corpus, and the estimate is {estimated}. The models learn what people confuse: "
        f"they agree with {agreement} of the labels."
    )
    return join(markdown(["planted", *head], rows), [note], [limit])


def noisy_training_table(document: Document) -> str:
    """Test accuracy of training in spite of planted noise, and how much of the loss each way regains."""
    cells: dict[tuple[Any, ...], dict[str, list[float]]] = {}
    for run in document["runs"]:
        key = run["preset"], run["noise"], run["how"], run["data"]
        cells.setdefault(key, {}).setdefault(run["system"], []).append(run["accuracy"])
    rows = []
    for preset, noise, how in dict.fromkeys(key[:3] for key in sorted(cells)):
        of_sets = {key[3]: cell for key, cell in cells.items() if key[:3] == (preset, noise, how)}
        label = [f"`{preset}`", f"{noise}% {how}" if noise else "0%"]
        rows += [
            [*label, data, *(_mean_and_deviation(cell.get(name, [])) for name in NOISY_SYSTEMS)]
            for data, cell in of_sets.items()
        ]
        means = [_mean_of_sets(of_sets, name) for name in NOISY_SYSTEMS]
        clean = {data: cells.get((preset, 0, "none", data), {}) for data in of_sets}
        lost = _mean_of_sets(clean, "plain") - means[0]
        means = [mean for mean in means if not math.isnan(mean)]
        gains = [f"{100 * (mean - means[0]):+.2f}" for mean in means[1:]]
        if noise and lost > 0:
            gains = [f"{g}, {(m - means[0]) / lost:.0%}" for g, m in zip(gains, means[1:], strict=True)]
        missing = [""] * (len(NOISY_SYSTEMS) - len(means))
        rows.append([*label, "*mean*", f"{100 * means[0]:.2f}", *gains, *missing])
    n_seeds = len({run["seed"] for run in document["runs"]})
    sizes = {run["data"]: (run["rows"], run["of_rows"]) for run in document["runs"]}
    subsets = ", ".join(f"{n:,} of {total:,} of {data}" for data, (n, total) in sizes.items() if n < total)
    note = (
        f"Test accuracy in %, {plural(n_seeds, 'seed')}; with several, mean ± standard deviation. Means: the "
        "gain in points over training on the rows as they are, and how much of the accuracy that the noise "
        "costs it is."
    )
    return join(
        markdown(["preset", "wrong labels", "data", *NOISY_SYSTEMS.values()], rows, n_left=3),
        [note, *caveat_lines([f"Subsets of the training rows: {subsets}"] if subsets else [])],
        caveat_lines(document["caveats"]),
    )


def _mean_of_sets(of_sets: Mapping[str, Mapping[str, list[float]]], system: str) -> float:
    values = [statistics.mean(cell[system]) for cell in of_sets.values() if system in cell]
    return statistics.mean(values) if len(values) == len(of_sets) else math.nan


def _mean_and_deviation(values: list[float]) -> str:
    if not values:
        return ""
    mean = f"{100 * statistics.mean(values):.2f}"
    return f"{mean} ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else mean


COVERAGE_BOUNDS = 0.93, 0.97


def planted_errors_table(document: Document) -> str:
    """How well planted wrong labels are found, beside cleanlab."""
    figures = ("average_precision", "precision", "seconds")
    cells = [cell for cell in document["cells"] if cell["noise"] is not None]
    rows = [
        (
            cell["data"],
            f"{cell['noise']}% {cell['how']}",
            f"{cell['rows']:,}",
            *_beside_cleanlab(cell, figures),
        )
        for cell in cells
    ]
    means = [
        statistics.mean(cell[system][key] for cell in cells)
        for key in figures[:2]
        for system in ("ours", "cleanlab")
    ]
    note = (
        "Of each pair the first figure is ours, the second cleanlab's. Average precision of the ranking "
        "of all rows, and precision among as many rows as have planted labels, in %; seconds on "
        f"{plural(document['machine']['threads'], 'thread')}, training included. cleanlab gets probabilities "
        "of five folds of TF-IDF (words and pairs) with logistic regression (C = 10); in each cell the best "
        "of its scores counts. Wrong labels that the sets already had count as right here. Mean of cells: "
        f"average precision {100 * means[0]:.1f} against {100 * means[1]:.1f}, precision "
        f"{100 * means[2]:.1f} against {100 * means[3]:.1f}. {_cells_behind(cells, figures[:2])}"
    )
    head = ("data", "wrong labels", "rows", "average precision", "precision", "seconds")
    of_people = tuple(cell["data"] for cell in document["cells"] if cell["noise"] is None)
    caveats = [caveat for caveat in document["caveats"] if not caveat.startswith(of_people)]
    return join(markdown(head, rows, n_left=2), [note, *caveat_lines(caveats)])


def corrected_labels_table(document: Document) -> str:
    """How well labels are found that people have corrected, beside cleanlab."""
    figures = ("precision_of_first", "average_precision", "precision")
    cells = [cell for cell in document["cells"] if cell["noise"] is None]
    rows = [(cell["data"], f"{cell['wrong']:,}", *_beside_cleanlab(cell, figures)) for cell in cells]
    note = (
        "In %, as above; the first column is precision among the first 100 rows of the ranking. Only rows "
        "that people have judged count. NoisyAG-News: a label is wrong if it is not the corpus's. IMDB: a "
        "label is wrong if at least three of five people chose the other one; another model and cleanlab had "
        "proposed the rows that were judged. " + _cells_behind(cells, figures)
    )
    head = ("data", "wrong labels", "of the first 100", "average precision", "precision")
    caveats = [c for c in document["caveats"] if c.startswith(tuple(cell["data"] for cell in cells))]
    return join(markdown(head, rows), [note, *caveat_lines(caveats)])


def errors_found(document: Document) -> str:
    """Say in a sentence how many of the labels proposed first are wrong."""
    cells = document["cells"]
    planted = [cell for cell in cells if cell["noise"] is not None]
    ours, cleanlab = (
        [f"{100 * statistics.mean(cell[system]['precision'] for cell in planted):.0f}"]
        + [f"{100 * cell[system]['precision_of_first']:.0f}" for cell in cells if cell["noise"] is None]
        for system in ("ours", "cleanlab")
    )
    sets = ", ".join(cell["data"] for cell in cells if cell["noise"] is None)
    return (
        f"With planted labels, {ours[0]}% of the rows proposed are wrong in the mean of {len(planted)} cases "
        f"if as many are proposed as were planted (cleanlab: {cleanlab[0]}%). Where people have corrected "
        f"labels ({sets}), {', '.join(ours[1:])} of the first 100 are wrong "
        f"(cleanlab: {', '.join(cleanlab[1:])}). "
        "[Benchmarks](benchmarks.md#wrong-labels) has each case.\n"
    )


def interval_coverage_table(document: Document) -> str:
    """How often the intervals of ``compare`` hold the true difference."""
    rows = [
        (
            f"{s['classes']}{', half rare' if s['has_rare'] else ''}",
            f"{s['rows']:,}",
            f"{100 * s['a']:g}, {100 * s['b']:g}",
            *(f"{100 * of[name]:.1f}" for of in (s, s["plain"]) for name in ("accuracy", "macro_f1")),
        )
        for s in document["settings"]
    ]
    low, high = COVERAGE_BOUNDS
    outside = [
        f"{name.replace('_f1', '-F1')} of {row[0]} classes and {row[1]} rows ({100 * setting[name]:.1f})"
        for row, setting in zip(rows, document["settings"], strict=True)
        for name in ("accuracy", "macro_f1")
        if not low <= setting[name] <= high
    ]
    note = (
        f"How often 95% intervals hold the true difference, in % of {document['sets']:,} simulated test sets "
        f"with {document['resamples']:,} resamples each; the last two columns are without the two rows more. "
        f"Outside of {100 * low:g} to {100 * high:g}: {', '.join(outside) or 'none'}."
    )
    head = ("classes", "rows", "accuracy of A, B", "accuracy", "macro-F1", "plain accuracy", "plain macro-F1")
    return join(markdown(head, rows), [note])


def _beside_cleanlab(cell: Document, figures: Iterable[str]) -> list[str]:
    """Ours and cleanlab's figure, the better one in bold."""
    pairs = []
    for key in figures:
        values = cell["ours"][key], cell["cleanlab"][key]
        best = min(values) if key == "seconds" else max(values)
        texts = [f"{v:.0f}" if key == "seconds" else f"{100 * v:.1f}" for v in values]
        pairs.append(" / ".join(f"**{t}**" if v == best else t for t, v in zip(texts, values, strict=True)))
    return pairs


def _cells_behind(cells: Iterable[Document], figures: Iterable[str]) -> str:
    """Say where a figure of ours is worse."""
    behind = [
        f"{cell['data']} ({cell['noise']}% {cell['how']})" if cell["noise"] else cell["data"]
        for cell in cells
        if any(cell["ours"][key] < cell["cleanlab"][key] for key in figures)
    ]
    return (
        f"cleanlab is ahead in a figure of {', '.join(behind)}."
        if behind
        else "Ours is ahead in each figure."
    )


# ---- serving and the HTML page ----


def serving_table(document: Document) -> str:
    """Rates, latencies, processor time and memory: as fast as answers come, at a rate, and under attack."""
    settings, data, attacked = (document[key] for key in ("settings", "data", "attacked"))
    asked = f"good ones that send {count(settings['rate'])} requests/s"
    rows = []
    for name, runs in (("good ones", document["alone"]), (asked, document["at_rate"])):
        middle = {key: runs[key]["median"] for key in ("rate", "p50", "p99", "cpu_per_request")}
        n_errors = sum(sum(run["errors"].values()) for run in runs["runs"])
        row = [name, *_speed(middle), f"{1e6 * middle['cpu_per_request']:.0f} µs", count(n_errors)]
        rows.append([*row, size(runs["memory_before"]), "", size(runs["memory_after"])])
    row = ["good ones beside hostile ones", *_speed(attacked), "", count(sum(attacked["errors"].values()))]
    rows.append(row + [size(attacked[f"memory_{when}"]) for when in ("before", "most", "after")])
    hostile = ", ".join(f"{name} {count(n)}" for name, n in sorted(attacked["hostile"].items()))
    n_right, n_wrong = attacked["compared"]["right"], attacked["compared"]["wrong"]
    note = (
        f"Preset `{settings['preset']}` on {settings['data']}, one text a request, in turn all "
        f"{count(data['test_rows'])} test texts ({data['characters_per_text']:.0f} characters each), over "
        f"{settings['connections']} connections; median of {settings['runs']} runs of "
        f"{settings['seconds']:g} s. Service ({settings['workers']} process) and generator share "
        f"{settings['threads']} threads of {document['machine']['processor']}. Generator: "
        f"{document['generator']['version']}, `{document['generator']['command']}`. Requests or connections "
        f"of hostile clients: {hostile}. Of {count(n_right + n_wrong)} answers compared with the "
        f"classifier's meanwhile, {count(n_wrong)} differed."
    )
    columns = "clients requests/s p50 p99 CPU_of_a_request errors memory_before peak after".split()  # noqa: SIM905
    table = markdown([column.replace("_", " ") for column in columns], rows)
    return join(table, [note, f"Command: `{document['command']}`.", *caveat_lines(data["caveats"])])


def _speed(figures: Document) -> list[str]:
    return [count(figures["rate"]), duration(figures["p50"]), duration(figures["p99"])]


def html_page_table(document: Document) -> str:
    """Size, agreement and times of the HTML file."""
    page_bytes = document["html_bytes"] - document["model_bytes"]
    rows = [
        ("model file", f"{count(document['model_bytes'])} bytes"),
        ("HTML file", f"{count(document['html_bytes'])} bytes, {count(page_bytes)} more"),
        ("from the file to the first answer", f"{document['ready_milliseconds']:.0f} ms"),
    ]
    for name, key in (("predicting", "predicted"), ("predicting and explaining", "explained")):
        times = document[f"{key}_milliseconds"]
        value = f"median {times['median']:.2f} ms, 99 % within {times['p99']:.2f} ms"
        rows.append((f"{name} one text", value))
    for name, key in (("test texts", "test"), ("random Unicode", "random")):
        difference = f"{document['largest_difference'][key]:.1e}"
        rows.append((f"largest difference of a probability from the runtime, {name}", difference))
    note = (
        f"Model of preset `small` on {document['data']}, {count(document['n_texts'])} test texts of "
        f"{document['mean_characters']:.0f} characters on average, and as many random ones; Chromium "
        f"{document['chromium']}, {document['machine']['processor']}."
    )
    return join(markdown(("", ""), rows, n_left=2), [note])


def page_quality_table(document: Document) -> str:
    """Scores of Lighthouse and what axe finds, a row a page and screen."""
    columns = ("page", "screen", "size", "axe finds", "performance", "accessibility", "best practices")
    rows = [
        (
            page,
            screen,
            size(document["bytes"][page]),
            str(len(document["violations"][page])),
            *map(str, scores),
        )
        for page, screens in document["scores"].items()
        for screen, scores in ((name, each.values()) for name, each in screens.items())
    ]
    versions = " and ".join(f"{name} {version}" for name, version in document["versions_of_packages"].items())
    note = (
        f"Model of preset `fast` on {document['data']}; {versions}, with {document['throttling']} throttling."
    )
    return join(markdown(columns, rows, n_left=2), [note])


# ---- scoring ----

BILLION = 10**9
PROCESSES = (1, 2, 10, 100, 1_000)
PART_MEGABYTES = (32, 256)  # the first is the default
VCPUS, DOLLARS_AN_HOUR = 4, 0.1785  # list price of c7i.xlarge; see docs/scaling.md


def _scoring_median(document: Document, way: str, figure: str) -> float:
    return float(document["rates"]["ways"][way][figure]["median"])


def _speed_up(document: Document) -> float:
    several, single = (_scoring_median(document, way, "rate") for way in ("parquet", "parquet, one process"))
    return several / single


def scoring_rates_table(document: Document) -> str:
    """Texts per second and processor time, beside the bare runtime."""
    rates = document["rates"]
    names = {
        "bare": f"the bare runtime, texts in memory, {rates['threads']} threads",
        "parquet": f"`score`, Parquet to Parquet, {rates['threads']} processes",
        "parquet, one process": "`score`, Parquet to Parquet, one process",
        "json lines": f"`score`, JSON lines to Parquet, {rates['threads']} processes",
    }
    bare, bare_time = (_scoring_median(document, "bare", figure) for figure in ("rate", "microseconds"))
    rows = []
    for way, name in names.items():
        rate, used = (_scoring_median(document, way, figure) for figure in ("rate", "microseconds"))
        fractions = f"{100 * rate / bare:.0f} %", f"{100 * bare_time / used:.0f} %"
        rows.append((name, f"{rate:,.0f}", fractions[0], f"{used:.1f} µs", fractions[1]))
    beside = "beside the bare runtime"
    note = (
        f"Medians of {len(rates['ways']['bare']['rate']['turns'])} turns of {count(rates['documents'])} "
        f"documents of {rates['mean_characters']:.0f} characters on average "
        f"({count(rates['documents_as_json_lines'])} as JSON lines), preset `{document['preset']}`, "
        f"{document['machine']['processor']}. From one process to {rates['threads']}: "
        f"{_speed_up(document):.2f} times the rate."
    )
    return join(markdown(("", "texts/s", beside, "processor time a text", beside), rows), [note])


def scoring_killed_table(document: Document) -> str:
    """What became of the job that was killed."""
    killed, often = document["killed"], document.get("killed_often")
    rows = [
        ("documents", count(killed["documents"])),
        ("input", f"{killed['input_bytes'] / 1e9:.1f} GB of Parquet"),
        ("killed, with all its processes", f"{len(killed['kills'])} times, at random moments"),
        ("parts that were there at each kill", ", ".join(str(kill["parts"]) for kill in killed["kills"])),
        ("rows written", count(killed["written"])),
        ("rows rejected, all of them broken", count(killed["rejected"])),
        ("rows missing", count(killed["missing"])),
        ("rows there more than once", count(killed["more_than_once"])),
        ("most memory of all processes together", f"{killed['peak_bytes_of_all_processes'] / 1e6:,.0f} MB"),
    ]
    notes = []
    if often is not None:
        notes.append(
            f"Besides, {often['jobs']} jobs of {count(often['documents_of_a_job'])} documents were killed "
            f"{often['kills']} times at any moment, {often['with_parts']} times of them with parts on the "
            "disk; no row was missing or written twice."
        )
    return join(markdown(("", ""), rows, n_left=2), notes)


def scoring_cost_table(document: Document) -> str:
    """Time and money for a billion documents, from the rate of one process."""
    rows = []
    ways = {"parquet, one process": "Parquet to Parquet", "json lines": "JSON lines to Parquet"}
    for way, name in ways.items():
        microseconds = _scoring_median(document, way, "microseconds")
        hours = BILLION * microseconds / 1e6 / 3600
        dollars = hours * DOLLARS_AN_HOUR / VCPUS
        millions = f"{3600 / microseconds:,.0f} million"
        rows.append((name, f"{microseconds:.1f} µs", millions, f"{hours:.1f}", f"{dollars:.2f}"))
    columns = ("", "processor time a text", "texts of a core in an hour", "core hours", "dollars")
    return join(markdown(columns, rows))


def model_scoring(document: Document, n_processes: int, part_bytes: float) -> tuple[float, float]:
    """Seconds and efficiency for a billion documents, by the model of ``docs/scaling.md``."""
    rates, fixed = document["rates"], document["fixed"]
    work = BILLION * _scoring_median(document, "parquet, one process", "microseconds") / 1e6
    n_parts = BILLION * rates["mean_characters"] / part_bytes
    computing = work / n_processes + work / n_parts / 2
    seconds = max(computing, n_parts * fixed["commit_seconds"]) + fixed["job_seconds"]
    return seconds, work / (n_processes * seconds)


def scoring_efficiency_table(document: Document) -> str:
    """Time and efficiency by processes, from the model of ``docs/scaling.md``."""
    rows = []
    for n in PROCESSES:
        cells = [f"{n:,}"]
        for megabytes in PART_MEGABYTES:
            seconds, efficiency = model_scoring(document, n, megabytes * 1e6)
            time = f"{seconds / 3600:.1f} h" if seconds > 5400 else f"{seconds / 60:.1f} min"
            cells += [time, f"{100 * efficiency:.0f} %"]
        rows.append(cells)
    rates, fixed, speed_up = document["rates"], document["fixed"], _speed_up(document)
    note = (
        f"Measured: {rates['threads']} processes score {speed_up:.2f} times as many texts a second as one, "
        f"an efficiency of {100 * speed_up / rates['threads']:.0f} %. Also measured: the job of one document "
        f"({fixed['job_seconds']:.1f} s) and recording a part ({1000 * fixed['commit_seconds']:.0f} ms, on "
        "that machine's disk)."
    )
    heads = chain.from_iterable((f"parts of {n} MB: time", "efficiency") for n in PART_MEGABYTES)
    return join(markdown(["processes", *heads], rows, 0), [note])


# ---- reliability ----

NOT_YET = "not measured yet"


def _kills(section: Document) -> str:
    total = {key: sum(job[key] for job in section["jobs"]) for key in ("kills", "in_a_write", "runs", "same")}
    return (
        f"{count(total['kills'])} kills, {count(total['in_a_write'])} of them in the middle of a write; "
        f"{count(total['same'])} of {count(total['runs'])} runs ended with the same file, and nothing "
        f"beside it (seed {section['seed']})"
    )


def _readers(section: Document) -> str:
    n_looks = sum(job["looks"] for job in section["jobs"])
    n_faults = sum(len(job["faults"]) for job in section["jobs"])
    return f"{count(n_looks)} reads while runs were killed, {n_faults} bad"


def _same(section: Document) -> str:
    n_processes = sum(row["processes"] for row in section["same"])
    n_other = sum(len(row["other"]) for row in section["same"])
    return f"{len(section['same'])} presets in {n_processes} processes: {n_other} other files"


def _device(section: Document) -> str:
    peaks = [step["peak_bytes"] for row in section["rows"] for step in row.get("steps", {}).values()]
    return f"at most {size(max(peaks))}, on {', '.join(row['data'] for row in section['rows'])}"


def _load(section: Document) -> str:
    return (
        f"{section['found']} of {section['bits']} flipped bits found; the checksum takes "
        f"{100 * section['share']['median']:.0f} % of the time to load {size(section['bytes'])}"
    )


def _service(section: Document) -> str:
    right, wrong, failed = (sum(row[key] for row in section["rows"]) for key in ("right", "wrong", "failed"))
    n_faults = len(section["rows"])
    return f"{n_faults} faults: {count(right)} right answers, {wrong} wrong, {failed} requests failed"


def _scoring(document: Document) -> str:
    killed = document["killed"]
    return (
        f"{count(killed['documents'])} documents, killed {len(killed['kills'])} times: "
        f"{count(killed['missing'])} missing, {count(killed['more_than_once'])} twice, "
        f"{count(killed['rejected'])} rejected"
    )


def _stream_kills(document: Document) -> str:
    section = document["kills"]
    return (
        f"{count(section['kills'])} kills; {section['runs_with_the_same_file']} of {section['runs']} runs "
        f"ended with the same file (seed {section['seed']})"
    )


def _stream_memory(document: Document) -> str:
    section = document["large"]
    crawl, peak = section["crawl"], max(section["peak_memory_bytes"], section["memory_seen"])
    return f"{size(peak)}, for {count(crawl['documents'])} documents of {size(crawl['bytes'])}"


def _fuzzing(document: Document) -> str:
    targets = document["targets"].values()
    minutes, n_inputs, n_findings = (
        sum(target[key] for target in targets) for key in ("seconds", "executions", "findings")
    )
    inputs = f"{count(n_inputs)} inputs for {len(targets)} targets"
    return f"{minutes / 60:.0f} minutes, {inputs}: {n_findings} findings open"


class Promise(NamedTuple):
    """A promise, how it is tested, the result file or part of ``reliability.json``, and its figure."""

    promise: str
    tests: str
    source: str
    figure: Callable[[Document], str]


MEASURED = "`benchmarks/reliability.py`"
PROMISES = (
    Promise(
        "Training that is killed at any moment resumes to the same model, byte for byte",
        "`tests/benchmarks/test_kills.py`, `tests/training/test_training_checkpoint.py`; "
        f"{MEASURED} `--only kills`",
        "kills",
        _kills,
    ),
    Promise(
        "Nobody sees half a file: a model or a checkpoint is the old one or the new one",
        f"`tests/storage/test_atomic.py`, `tests/benchmarks/test_kills.py`; {MEASURED} `--only kills`",
        "kills",
        _readers,
    ),
    Promise(
        "A full disk leaves the old file whole, and the error says what to do",
        "`tests/training/test_full_disk.py`, `tests/storage/test_model_file.py`",
        "",
        lambda _: "no figure: it holds, or the tests fail",
    ),
    Promise(
        "A damaged model file is refused, wherever the damage is",
        "`tests/storage/test_safetensors_writer.py`, `tests/storage/test_model_damage.py`; "
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
        "Training on a stream that is killed within a pass resumes to the same model, byte for byte",
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
        "The service answers correctly while workers are killed, its log is stuck or the clock jumps",
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
    Promise(
        "The same, for small jobs and many kills",
        "`benchmarks/scoring.py`",
        "scoring",
        lambda document: "{kills:,} kills in {jobs:,} jobs, every row accounted for".format(
            **document["killed_often"]
        ),
    ),
    Promise(
        "Scoring stays within bounded memory",
        "`benchmarks/scoring.py`",
        "scoring",
        lambda document: f"{size(document['killed']['peak_bytes_of_all_processes'])}, all processes together",
    ),
    Promise(
        "No input crashes, hangs or fills the memory: readers, features, model files, service, command line",
        "the corpora in `tests`; `make fuzz`",
        "fuzzing",
        _fuzzing,
    ),
)


class Results:
    """Results by part of ``reliability.json`` or by file, in the folder ``results``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.parts = (self._file("reliability") or {}).get("parts", {})

    def get(self, source: str) -> Document | None:
        """A part or a file; None if it was not measured."""
        return (self.parts.get(source) or self._file(source)) if source else {}

    def _file(self, name: str) -> Document | None:
        for path in (self._folder / f"{name}.json", self._folder / "benchmarks" / f"{name}.json"):
            if path.is_file():
                return dict(json.loads(path.read_text(encoding="utf-8")))
        return None


def promises_table(results: Results) -> str:
    """Every promise, how it is tested, and the last figure."""
    rows = []
    for promise in PROMISES:
        document = results.get(promise.source)
        try:
            figure = NOT_YET if document is None else promise.figure(document)
        except KeyError:  # a part of a benchmark that was not run
            figure = NOT_YET
        rows.append((promise.promise, promise.tests, figure))
    return join(markdown(("promise", "how it is tested", "last measured"), rows, n_left=3))


def _machine_and_date(section: Document) -> str:
    return f"{section['machine']['processor']}, {section['date']}."


def determinism_table(section: Document) -> str:
    """What changes the bytes of a model file, and by how much."""
    rows = []
    for row in [*section["threads"], *section["instructions"]]:
        cells = ["yes", "", "", "", ""]
        if not row["same"]:
            cells = ["no", f"{row['probability']:.1g}", f"{row['mean']:.1g}", count(row["labels"])]
            cells.append(f"{100 * row['accuracy']:+.2f}")
        rows.append([f"`{row['job']}`", row["condition"], *cells])
    head = [
        "preset",
        "what differs",
        "same file",
        "largest difference of a probability",
        "mean",
        "other labels",
    ]
    note = (
        f"Trained on {count(section['rows'])} rows of debian-sections, first with one thread and all "
        f"instructions of the processor; compared on {count(section['test_texts'])} test texts. "
        f"{_machine_and_date(section)}"
    )
    return join(markdown([*head, "accuracy, points"], rows, 3), [note])


def engines_table(section: Document) -> str:
    """One model file, predicting in every way."""
    rows = [
        (f"`{row['job']}`", row["engine"], f"{row['probability']:.1g}", count(row["labels"]))
        for row in section["engines"]
    ]
    head = ("preset", "against the native core", "largest difference of a probability", "other labels")
    return join(markdown(head, rows, 2))


def device_table(section: Document) -> str:
    """What each step takes on a device."""
    rows, accuracies = [], []
    for row in section["rows"]:
        for name, step in row["steps"].items():
            n = {"train": row["rows"], "update": row["mine"]}.get(name, step.get("texts", 0))
            rows.append((row["data"], name, count(n), size(step["peak_bytes"])))
        initial, updated = (
            100 * row["steps"]["predict"][f"accuracy_of_{model}"] for model in ("model", "mine")
        )
        accuracies.append(f"{row['data']} {initial:.2f} %, then {updated:.2f} %")
    first = section["rows"][0]
    note = (
        f"Within {size(first['memory_bytes'])} and {100 * first['speed']:.0f} % of one processor's time. "
        f"Test accuracy before and after the rows of one person: {'; '.join(accuracies)}. "
        f"{_machine_and_date(section)}"
    )
    return join(markdown(("data", "step", "rows or texts", "peak memory"), rows, 2), [note])


def service_table(section: Document) -> str:
    """What clients of a service with faults saw."""
    keys = ("right", "wrong", "asked_again", "failed")
    rows = [(row["fault"], *(count(row[key]) for key in keys)) for row in section["rows"]]
    note = f"For {section['seconds']:g} s each. {_machine_and_date(section)}"
    return join(markdown(("fault", "right answers", "wrong", "asked again", "failed"), rows), [note])


def kills_table(section: Document) -> str:
    """What came of each job that was killed."""
    keys = ("kills", "in_a_write", "runs", "same")
    rows = [(f"`{job['job']}`", *(job[key] for key in keys), len(job["faults"])) for job in section["jobs"]]
    head = ("preset", "kills", "in the middle of a write", "runs", "same file", "faults")
    return join(markdown(head, rows), [f"Seed {section['seed']}. {_machine_and_date(section)}"])


RELIABILITY_TABLES: dict[str, tuple[str, Callable[[Document], str]]] = {
    "reliability-kills": ("kills", kills_table),
    "reliability-determinism": ("determinism", determinism_table),
    "reliability-engines": ("determinism", engines_table),
    "reliability-device": ("device", device_table),
    "reliability-service": ("service", service_table),
}
"""Blocks of the document: the section that each shows, and how."""


# ---- continuing, streams and searches ----


def continuing_table(document: Document) -> str:
    """Tables of more rows and of a new class."""
    texts = "test texts" if document["judge"] == "test" else "a fifth of the training rows, held out"
    has_settings = len(document["variants"]) > 1
    columns, rows, rows_of_new = ["rates, epochs"] * has_settings, [], []

    def cells(gains: dict[str, float]) -> list[str]:
        return [f"{100 * gains[key]:+.2f}" for key in ("known", "known, worst")] + [
            f"{100 * gains['new']:.1f}"
        ]

    for variant in document["variants"]:
        setting = [f"{variant['rate']:g}, {variant['epochs']}"] if has_settings else []
        accuracies = (document["half"], variant["more"], document["all"])
        rows.append([*setting, *(f"{100 * accuracy:.2f}" for accuracy in accuracies)])
        for key in ("20 rows", "100 rows", "all rows"):
            rows_of_new.append([*setting, key.removesuffix(" rows"), *cells(variant[key])])
    rows_of_new.append([*[""] * has_settings, "all, trained again", *cells(document["again"])])
    head = [*columns, "half of the rows", "updated with the other half", "trained with all"]
    head_of_new = [*columns, "rows of each known class", "known classes, mean", "worst", "new class"]
    note = (
        f"{document['data']}, preset `{document['preset']}`, seed {document['seed']}, judged on {texts}: "
        f"accuracy in percent. Second table, mean over {len(document['classes left out'])} classes, each "
        "left out once: difference on the texts of the known classes, in points, and accuracy on those of "
        "the new one."
    )
    tables = markdown(head, rows, len(head)), markdown(head_of_new, rows_of_new, len(head_of_new))
    return join(*tables, [note])


def streaming_large_table(document: Document) -> str:
    """Memory and speed of training on a large crawl."""
    large = document["large"]
    crawl = large["crawl"]
    rows = [
        ("documents", f"{count(crawl['documents'])}, {count(crawl['broken'])} of them broken"),
        ("files", f"16 of JSON lines, {size(crawl['bytes'])}; {size(crawl['characters'])} of text"),
        ("most memory in use", f"{size(max(large['peak_memory_bytes'], large['memory_seen']))}"),
        ("accuracy on rows held out", f"{100 * large['validation_accuracy']:.2f}%"),
        ("model file", size(large["model_bytes"])),
    ]
    if speed := document.get("speed"):
        what = f"time for {count(speed['crawl']['documents'])} documents, first pass included"
        rows.append((what, duration(speed["seconds"])))
        rows.append(("documents/s, training passes", count(speed["texts_per_second"])))
    wrong = MISLABELLED_PROBABILITY * (1 - 1 / len(SUBJECTS))
    note = (
        f"{large['epochs']} pass over the data after the first one; of the labels, {100 * wrong:.2f}% are "
        f"wrong on purpose. {document['machine']['processor']}, {document['threads']} threads. "
        f"Command: `{large['command']}`."
    )
    return join(markdown(("", ""), rows, 2), [note])


def streaming_accuracy_table(document: Document) -> str:
    """Test accuracies in memory and as a stream."""
    rows, differences = [], []
    for name, runs in document["accuracy"].items():
        memory, stream = (100 * statistics.mean(runs[way]) for way in ("memory", "stream"))
        differences.append(stream - memory)
        rows.append((name, f"{memory:.2f}", f"{stream:.2f}", f"{stream - memory:+.2f}"))
    rows.append(("mean", "", "", f"{statistics.mean(differences):+.2f}"))
    caveats = {c for runs in document["accuracy"].values() for c in runs["caveats"] if "complete" in c}
    seeds = ", ".join(map(str, document["seeds"]))
    note = f"Preset `{document['preset']}`, seeds {seeds}; percent of the test texts."
    table = markdown(("data", "in memory", "as a stream", "difference"), rows)
    return join(table, [*caveat_lines(sorted(caveats)), note])


def tuning_table(document: Document) -> str:
    """What a search for settings gained, a row for each data set."""
    rows = []
    for name, runs in document["data"].items():
        defaults, search = (
            100 * statistics.mean(run["accuracy"] for run in runs[way]) for way in ("defaults", "search")
        )
        n_trials = ", ".join(str(run["n_tried"]) for run in runs["search"])
        settings = "; ".join(
            " ".join(f"`{key}={value}`" for key, value in run["settings"].items()) or "the defaults"
            for run in runs["search"]
        )
        figures = f"{defaults:.2f}", f"{search:.2f}", f"{search - defaults:+.2f}"
        rows.append((name, f"{runs['rows']:,}{runs['held']}", *figures, n_trials, settings))
    search_options = {key: value for key, value in document["asked"].items() if value is not None}
    options = " ".join(f"--{key.replace('_', '-')} {value}" for key, value in search_options.items())
    note = (
        f"Preset `{document['preset']}`, `{options}`, seeds {', '.join(map(str, document['seeds']))}; "
        "accuracy in percent, on 20% of the training rows (or of those that are part of no other), which no "
        "training and no search saw."
    )
    if "time_budget" in search_options:
        where = f"{document['machine']['processor']}, {document['machine']['threads']} threads"
        note += f" How many settings are tried depends on the machine: {where}."
    caveats = caveat_lines(caveat for runs in document["data"].values() for caveat in runs["caveats"])
    head = [
        "data",
        "rows held out",
        "defaults",
        "after a search",
        "difference",
        "tried",
        "kept by the search",
    ]
    return join(markdown(head, rows, len(head)), [note], caveats)


def drift_detection_table(document: Document) -> str:
    """How often a sample is said to have drifted, by what was done to it; a column for each data set."""
    sets, settings = document["data"], document["settings"]
    rows = []
    for title, key, kind in (
        ("nothing, against the reference", "alarms", "same"),
        ("nothing, one half against the other", "alarms", "halves"),
        *(
            (kind, "alarms", kind)
            for kind in next(iter(sets.values()))["alarms"]
            if kind not in ("same", "halves")
        ),
        ("*by chance alone:* nothing, against the reference", "by_chance", "same"),
        ("*by chance alone:* nothing, one half against the other", "by_chance", "halves"),
    ):
        rows.append((title, *(f"{100 * figures[key][kind]:.1f}" for figures in sets.values())))
    errors = [
        abs(expected - accuracy)
        for figures in sets.values()
        for expected, accuracy in zip(figures["expected_accuracy"], figures["accuracy"], strict=True)
    ]
    repetitions = min(figures["repetitions"] for figures in sets.values())
    reference = statistics.mean(rows for figures in sets.values() for rows in figures["reference_rows"])
    note = (
        f"Percent of {repetitions} samples of {settings['rows']} rows that are said to have drifted, of "
        f"{len(settings['seeds'])} models with preset `{settings['preset']}`, each with a reference of "
        f"{reference:.0f} rows on average. By chance alone: as often some distribution differs by more than "
        f"chance, at a level of {100 * settings['level']:g} %, however little. Expected and true accuracy of "
        f"rows without drift are {100 * statistics.mean(errors):.1f} points apart on average."
    )
    return join(markdown(("what was done to the new rows", *sets), rows), [note])
