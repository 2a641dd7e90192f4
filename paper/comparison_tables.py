"""Tables that show published figures beside measured ones."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from paper.accuracy import EVERYDAY, mean_and_deviation
from paper.published import COUNTERPARTS, ROWS, TRANSFORMER_ACCURACY, published
from paper.study import Document, Table
from token2wave.formatting import NOTHING

SHOWN_EPOCHS = (1, 2, 5, 10, 20, 50, 100)  # of a long run


def percent_accuracies(system: Mapping[str, Any], name: str = "test_accuracy") -> list[float]:
    """An accuracy of every seed, in per cent, without those that were not measured."""
    return [100 * run[name] for run in system.get("runs", {}).values() if run[name] is not None]


def format_accuracies(values: list[float]) -> str:
    """Mean, and standard deviation if there are several values, in per cent."""
    if not values:
        return NOTHING
    summary = mean_and_deviation(values)
    deviation = "" if summary["deviation"] is None else f" ± {summary['deviation']:.2f}"
    return f"{summary['mean']:.2f}{deviation}"


def system_title(key: str, system: Mapping[str, Any]) -> str:
    """Title of a system; it says so where one is trained without regularisation."""
    return f"{system['title']}{', without regularisation' if key.endswith('-unregularised') else ''}"


def _systems(document: Document) -> Iterator[tuple[str, str, Any]]:
    for name, dataset in document["datasets"].items():
        for key, system in dataset["systems"].items():
            yield name, key, system


def accuracy_table(document: Document) -> Table:
    """Measured accuracy of every system, with the published one and the difference."""
    rows = []
    for name, dataset in document["datasets"].items():
        for key, system in dataset["systems"].items():
            test, reported = (
                percent_accuracies(system),
                published(key.removesuffix("-unregularised").removesuffix("-literal"), name),
            )
            title, sizes = system_title(key, system), system["rows"]
            if key == "encoder":
                title += "".join(f" (published: {row.title})" for row in reported[:1])
            if sizes != dataset["rows"]:
                title += f", {sizes['train']:,} training and {sizes['test']:,} test rows"
            differences = [f"{statistics.fmean(test) - row.accuracy:+.2f}" for row in reported if test]
            difference = " or ".join(differences) or NOTHING
            splits = ("test_accuracy", "validation_accuracy", "train_accuracy")
            cells = [format_accuracies(percent_accuracies(system, split)) for split in splits]
            figures = " or ".join(f"{row.accuracy:.2f} ({row.source})" for row in reported) or NOTHING
            rows.append([name, title, str(len(test)), *cells, figures, difference])
        for key, system in dataset["everyday"].items():
            if "test_accuracy" in system:
                accuracy = f"{100 * system['test_accuracy']:.2f}"
                rows.append([name, EVERYDAY[key], "1", accuracy, *[NOTHING] * 4])
    return Table(
        "Accuracy in per cent, mean ± standard deviation over seeds; the difference is in points. Training "
        "accuracy is that of the tested weights, without dropout. Systems train on the same rows unless "
        "their name says otherwise; preset fast chooses its validation rows among them.",
        ["data", "system", "seeds", "test %", "validation %", "training %", "published %", "difference"],
        rows,
        n_names=2,
    )


def rows_table(document: Document) -> Table:
    """Rows, epochs and parameters behind each accuracy."""
    rows = []
    for name, key, system in _systems(document):
        if runs := list(system.get("runs", {}).values()):
            sizes = [f"{system['rows'][split]:,}" for split in ("train", "validation", "test")]
            best = ", ".join(str(run["best_epoch"]) for run in runs)
            counts = [f"{runs[0][count]:,}" for count in ("parameters", "parameters_without_embedding")]
            rows.append([name, system_title(key, system), *sizes, str(system["epochs"]), best, *counts])
    head = ["data", "system", "training rows", "validation rows", "test rows", "epochs"]
    head += ["best epoch of each seed", "parameters", "without embedding"]
    return Table("Rows, epochs and parameters behind the accuracies.", head, rows, n_names=2)


def transformer_table(document: Document) -> Table:
    """Accuracy of the Transformers on every split after every epoch, with the published figure."""
    rows = []

    def add(data: str, title: str, epoch: int, entries: Sequence[Mapping[str, float]]) -> None:
        rows.append([data, title, str(epoch)])
        for split in ("train", "validation", "test"):
            mean = 100 * statistics.fmean(entry[f"{split}_accuracy"] for entry in entries)
            comparable = data == "ag_news"  # the papers have no Transformer on other data
            rows[-1] += [f"{mean:.2f}", f"{mean - TRANSFORMER_ACCURACY:+.2f}" if comparable else NOTHING]

    for name, key, system in _systems(document):
        if key.startswith("transformer"):
            histories = [run["history"] for run in system.get("runs", {}).values()]
            for epoch in range(max(map(len, histories), default=0)):
                entries = [history[epoch] for history in histories if len(history) > epoch]
                add(name, system_title(key, system), epoch + 1, entries)
    for study in document["studies"].get("convergence", []):
        for key, system in study["long"].items():
            if key.startswith("transformer"):
                title = f"{system['title']}, width {study['long_run_width']}, without regularisation"
                shown = [epoch for epoch in SHOWN_EPOCHS if epoch <= len(system["runs"][0])]
                for epoch in shown:
                    add(study["data"], title, epoch, [run[epoch - 1] for run in system["runs"]])
    head = ["data", "system", "epoch"]
    for split in ("training", "validation", "test"):
        head += [f"{split} %", f"{split} - {TRANSFORMER_ACCURACY}"]
    return Table(
        "The one-layer Transformer after every epoch (of the long run, some), mean of the seeds, and the "
        f"distance of each accuracy to the published {TRANSFORMER_ACCURACY} %. Training accuracy is "
        "counted during training, with dropout where there is dropout.",
        head,
        rows,
        n_names=2,
    )


def published_cost_table(document: Document) -> Table:
    """The papers' memory and time."""
    rows = []
    for row in ROWS:
        if row.dataset in document["datasets"] and row.seconds is not None:
            memory = NOTHING if row.gigabytes is None else f"{row.gigabytes:.2f}"
            rows.append([row.dataset, row.title, memory, f"{row.seconds:,.2f}", row.source])
    caption = "Published: on an unnamed graphics card, with all rows of the data set."
    return Table(caption, ["data", "system", "memory, GB", "seconds per epoch", "source"], rows, n_names=2)


def counterparts_table(document: Document) -> Table:
    """Each result of the papers and the part of the report that repeats it."""
    measured = {*document["studies"], "claims"}
    for _, key, system in _systems(document):
        if system.get("runs"):
            measured |= {"accuracy", *(["literal"] if key.endswith("-literal") else [])}
    rows = []
    for result, counterpart, remark in COUNTERPARTS:
        names = counterpart.split(", ")
        missing = [name for name in names if name not in measured and "/" not in name]
        not_run = f" (not run: {', '.join(missing)})" if missing else ""
        rows.append([result, f"{counterpart}{not_run}", remark])
    caption = "Results of the papers and their counterparts here."
    return Table(caption, ["result", "part", "remark"], rows, n_names=3)
