"""Published figures beside measured ones: the tables of the report that take several parts together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paper.accuracy import EVERYDAY, mean_and_deviation
from paper.published import COUNTERPARTS, ROWS, TRANSFORMER_ACCURACY, published
from paper.study import Document, Table
from token2wave.formatting import NOTHING


def accuracies(found: Mapping[str, Any], name: str = "test_accuracy") -> list[float]:
    """An accuracy of every seed, in per cent; those that were not measured are left out."""
    return [100 * run[name] for run in found.get("runs", {}).values() if run[name] is not None]


def shown(values: list[float]) -> str:
    """Mean, and standard deviation where there are several, in per cent."""
    if not values:
        return NOTHING
    summary = mean_and_deviation(values)
    deviation = "" if summary["deviation"] is None else f" ± {summary['deviation']:.2f}"
    return f"{summary['mean']:.2f}{deviation}"


def title_of(key: str, found: Mapping[str, Any]) -> str:
    """What a row is called."""
    title: str = found["title"]
    return title + (", bare" if key.endswith("-bare") else "")


def accuracy_table(document: Document) -> Table:
    """Measured accuracy of every system, with the published one and the difference."""
    rows = []
    for name, dataset in document["datasets"].items():
        for key, found in dataset["systems"].items():
            test = accuracies(found)
            said = published(key.removesuffix("-bare"), name)
            reported = " or ".join(f"{row.accuracy:.2f} ({row.source})" for row in said) or NOTHING
            difference = NOTHING
            if said and test:
                mean = sum(test) / len(test)
                difference = " or ".join(f"{mean - row.accuracy:+.2f}" for row in said)
            stands_for = {row.title for row in said} if key == "encoder" else set()
            title = title_of(key, found) + "".join(f" (published: {one})" for one in sorted(stands_for))
            if found["rows"] != dataset["rows"]:
                title += f", {found['rows']['train']:,} training and {found['rows']['test']:,} test rows"
            if not test:
                rows.append([name, title, "0", NOTHING, NOTHING, NOTHING, reported, NOTHING])
                continue
            validation, train = accuracies(found, "validation_accuracy"), accuracies(found, "train_accuracy")
            rows.append(
                [
                    name,
                    title,
                    str(len(test)),
                    shown(test),
                    shown(validation),
                    shown(train),
                    reported,
                    difference,
                ]
            )
        for key, found in dataset["everyday"].items():
            if "test_accuracy" in found:
                accuracy = 100 * found["test_accuracy"]
                rows.append([name, EVERYDAY[key], "1", f"{accuracy:.2f}", NOTHING, NOTHING, NOTHING, NOTHING])
    head = ["data", "system", "seeds", "test %", "validation %", "training %", "published %", "difference"]
    caption = (
        "Accuracy in per cent, mean ± standard deviation over seeds; the difference is in points. Training "
        "accuracy is that of the tested weights, without dropout. TF-IDF and preset fast learn from all "
        "rows, the others from four fifths."
    )
    return Table(caption, head, rows, n_names=2)


def rows_table(document: Document) -> Table:
    """How many rows, epochs and parameters stand behind each accuracy."""
    rows = []
    for name, dataset in document["datasets"].items():
        for key, found in dataset["systems"].items():
            runs = list(found.get("runs", {}).values())
            if not runs:
                continue
            best = ", ".join(str(run["best_epoch"]) for run in runs)
            used = found["rows"]
            rows.append(
                [
                    name,
                    title_of(key, found),
                    f"{used['train']:,}",
                    f"{used['validation']:,}",
                    f"{used['test']:,}",
                    str(found["epochs"]),
                    best,
                    f"{runs[0]['parameters']:,}",
                    f"{runs[0]['parameters_without_embedding']:,}",
                ]
            )
    head = [
        "data",
        "system",
        "training rows",
        "validation rows",
        "test rows",
        "epochs",
        "best epoch of each seed",
        "parameters",
        "without embedding",
    ]
    return Table("What stands behind the accuracies.", head, rows, n_names=2)


def transformer_table(document: Document) -> Table:
    """Training, validation and test accuracy of the Transformers, with the published figure beside each."""
    rows = []
    for name, dataset in document["datasets"].items():
        for key, found in dataset["systems"].items():
            if not key.startswith("transformer") or "runs" not in found:
                continue
            runs = list(found["runs"].values())
            for epoch in range(max(len(run["history"]) for run in runs)):
                entries = [run["history"][epoch] for run in runs if len(run["history"]) > epoch]
                cells = []
                for part in ("train_accuracy", "validation_accuracy", "test_accuracy"):
                    mean = 100 * sum(entry[part] for entry in entries) / len(entries)
                    said = name == "ag_news"  # the papers have no Transformer on other data
                    cells += [f"{mean:.2f}", f"{mean - TRANSFORMER_ACCURACY:+.2f}" if said else NOTHING]
                rows.append([name, title_of(key, found), str(epoch + 1), *cells])
    rows += _bare_transformer(document)
    head = ["data", "system", "epoch"]
    for part in ("training", "validation", "test"):
        head += [f"{part} %", f"{part} - {TRANSFORMER_ACCURACY}"]
    caption = (
        f"The one-layer Transformer after every epoch, mean of the seeds (bare: one seed), and how far each "
        f"accuracy is from the published {TRANSFORMER_ACCURACY} %. Training accuracy is counted while the "
        "weights move, with dropout where there is dropout."
    )
    return Table(caption, head, rows, n_names=2)


def _bare_transformer(document: Document) -> list[list[str]]:
    """The Transformer with nothing that the papers do not state, from the long run of ``convergence``."""
    rows = []
    for study in document["studies"].get("convergence", []):
        for key, found in study["long"].items():
            if not key.startswith("transformer"):
                continue
            for epoch in found["epochs"]:
                cells = []
                for part in ("train", "validation", "test"):
                    value = 100 * epoch[f"{part}_accuracy"]
                    said = study["data"] == "ag_news"
                    cells += [f"{value:.2f}", f"{value - TRANSFORMER_ACCURACY:+.2f}" if said else NOTHING]
                rows.append([study["data"], found["title"] + ", bare", str(epoch["epoch"]), *cells])
    return rows


def published_cost_table(document: Document) -> Table:
    """The papers' memory and time."""
    names = set(document["datasets"])
    rows = [
        [
            row.dataset,
            row.title,
            f"{row.gigabytes:.2f}" if row.gigabytes is not None else NOTHING,
            f"{row.seconds:,.2f}" if row.seconds is not None else NOTHING,
            row.source,
        ]
        for row in ROWS
        if row.dataset in names and row.seconds is not None
    ]
    caption = "Published: on a graphics card that is not named, with all of the data set's rows."
    return Table(caption, ["data", "system", "memory, GB", "seconds per epoch", "source"], rows, n_names=2)


def counterparts_table(document: Document) -> Table:
    """Where each result of the papers has its counterpart."""
    done = {*document["studies"], "claims"}
    if any(dataset["systems"] for dataset in document["datasets"].values()):
        done.add("accuracy")
    rows = []
    for result, parts, differs, why in COUNTERPARTS:
        named = parts.split(", ")
        missing = [part for part in named if part not in done and not part.startswith("docs/")]
        here = parts if not missing else f"{parts} (not run: {', '.join(missing)})"
        remark = differs + (": " if differs and why else "") + why
        rows.append([result, here, remark])
    return Table(
        "Results of the papers, and their counterparts here.", ["result", "part", "remark"], rows, n_names=3
    )
