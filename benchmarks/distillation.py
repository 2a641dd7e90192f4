r"""What a student learns from a stacked teacher: accuracy, size and speed on several data sets.

    python benchmarks/distillation.py --data trec,ag_news,sst2,banking77

A tenth of the training rows is held out, the same for all: epochs and weights are chosen by them, and the
teacher does not learn from them. Students are trained with three seeds, compressed to 4 MB, and held against
the test set once. The teacher and the compressed student then predict test texts by turns, in one process.
``--unlabelled`` adds text without labels, for a single data set. Writes
``results/benchmarks/distillation.json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measuring import ROOT, comma_list, command_line, describe_origin, make_parser, write_document
from sweep import select_rows

from token2wave import compress, load, train
from token2wave.core import n_threads
from token2wave.data import TextSplit, encode_labels, label_names_of, load_splits, validation_split
from token2wave.data.texts import TextDataset
from token2wave.distillation.teacher import TeacherPredictions
from token2wave.models.encoder_sources import MINILM
from token2wave.training.examples import Examples
from token2wave.training.presets import parse_setting

FRACTION = 0.1
MAX_SIZE = "4MB"
TURNS = 3
TEXTS_OF_A_TURN = 512
STUDENT = (
    "network.width=64",
    "recipe.epochs=10",
    "recipe.label_smoothing=0.0",
    "recipe.unlabelled_linear_svm_weight=1.0",
    "recipe.recombined_texts=10",
)
"""Settings of students, chosen on rows held out (``docs/experiments.md``)."""


def main() -> None:
    """Train, compress, evaluate, and take times."""
    build = ROOT / "build" / "distillation"
    parser = make_parser(__doc__, seeds=[0, 1, 2], build=build)
    parser.add_argument("--data", type=comma_list, default=["trec", "ag_news", "sst2", "banking77"])
    parser.add_argument("--teacher", default=MINILM)
    parser.add_argument("--unlabelled", type=Path, help="texts without labels; left out if not given")
    parser.add_argument("--set", nargs="*", default=list(STUDENT), metavar="KEY=VALUE")
    parser.add_argument(
        "--ways", type=comma_list, default=["labels", "teacher", "unlabelled"], help="students"
    )
    parser.add_argument("--without-teacher", action="store_true", help="take no figures of the teacher")
    options = parser.parse_args()
    document: dict[str, Any] = {
        "name": "distillation",
        "command": command_line(__file__),
        "teacher": options.teacher,
        "settings": dict(map(parse_setting, options.set)),
        "seeds": options.seeds,
        "data": {},
        **describe_origin(n_threads(), ("transformers",)),
    }
    for name in options.data:
        document["data"][name] = {"caveats": [], "students": {}}
        measure(name, document, options)


def measure(name: str, document: dict[str, Any], options: argparse.Namespace) -> None:
    """Train, compress and evaluate the students of a data set, and evaluate the teacher."""
    figures, out = document["data"][name], options.results / "distillation.json"
    splits = load_splits(name)
    figures["caveats"] = list(splits.caveats)
    folder = options.build / name
    label_names = write_splits(splits, folder)
    teacher = options.teacher
    with_teacher = {"teacher": teacher, "init_from": teacher, "settings": document["settings"]}
    with_texts = {**with_teacher, "unlabelled": options.unlabelled}
    ways: dict[str, tuple[str, dict[str, Any]]] = {
        "labels": ("labels alone", {}),
        "teacher": ("with the teacher", with_teacher),
        "unlabelled": ("with the teacher, and text without labels", with_texts),
    }
    test = load_splits(folder).test
    assert test is not None
    truth = encode_labels(test, label_names)
    for way in options.ways:
        title, arguments = ways[way]
        if arguments.get("unlabelled", "") is None:
            continue  # no such text was given
        runs = []
        for seed in document["seeds"]:
            model, small = options.build / "model.safetensors", options.build / "small.safetensors"
            summary = train(folder, out=model, seed=seed, **arguments).summary
            compressed = compress(model, small, data=folder, max_size=MAX_SIZE).summary
            predicted = load(small).probabilities(test.texts).argmax(axis=1)
            run = {
                "seed": seed,
                "accuracy": summary.accuracy,
                "validation_accuracy": summary.validation_accuracy,
                "bytes": summary.model_bytes,
                "small_accuracy": float((predicted == truth).mean()),
                "small_validation_accuracy": compressed["accuracy_after"],
                "small_bytes": compressed["bytes_after"],
                "retrained": compressed["retrained"],
                "caveats": summary.caveats,
            }
            runs.append(run)
            figures["students"][title] = runs
            write_document(out, document)
            print(name, title, json.dumps(run), flush=True)
    if options.without_teacher:
        return
    figures["teacher"] = measure_teacher(options.teacher, folder, label_names, options.build)
    write_document(out, document)
    print(name, json.dumps(figures["teacher"]), flush=True)


def write_splits(splits: TextDataset, folder: Path) -> tuple[str, ...]:
    """Write the data with a validation split of its own; names of the classes."""
    import pyarrow
    from pyarrow import parquet

    folder.mkdir(parents=True, exist_ok=True)
    names = label_names_of(splits.train, splits.label_names)
    train, held = validation_split(encode_labels(splits.train, names), FRACTION, 0)

    def write(name: str, texts: TextSplit, rows: Sequence[int]) -> None:
        chosen = select_rows(texts, rows)
        columns = {"text": chosen.texts, "label": chosen.labels}
        parquet.write_table(pyarrow.table(columns), folder / f"{name}.parquet")

    assert splits.test is not None
    write("train", splits.train, train.tolist())
    write("validation", splits.train, held.tolist())
    write("test", splits.test, range(len(splits.test)))
    (folder / "README.json").write_text(json.dumps({"label_names": list(names)}), encoding="utf-8")
    return names


def measure_teacher(
    teacher_name: str, folder: Path, label_names: tuple[str, ...], build: Path
) -> dict[str, Any]:
    """Accuracy of the teacher on the test texts, and how much faster its student is."""
    splits = load_splits(folder)
    assert splits.test is not None
    assert splits.validation is not None
    train_texts = Examples.of_texts(splits.train.texts, encode_labels(splits.train, label_names))
    predictions = TeacherPredictions(teacher_name, label_names, train_texts, splits.train.texts)
    figures: dict[str, Any] = {}
    for name, texts in (("validation_accuracy", splits.validation), ("accuracy", splits.test)):
        classes = predictions.predict(texts.texts).of(texts.texts).argmax(axis=1)
        figures[name] = float((classes == encode_labels(texts, label_names)).mean())
    few = splits.test.texts[:TEXTS_OF_A_TURN]
    student = load(build / "small.safetensors")
    many = splits.test.texts
    rates: dict[str, list[float]] = {"teacher": [], "student": []}
    teacher = predictions.model
    for _ in range(TURNS):
        rates["teacher"].append(rate(teacher.probabilities, few))
        rates["student"].append(rate(student.probabilities, many))
    ratios = np.array(rates["student"]) / np.array(rates["teacher"])
    return {**figures, "texts_per_second": rates, "times_as_fast": statistics.median(ratios.tolist())}


def rate(predict: Callable[[Sequence[str]], Any], texts: Sequence[str]) -> float:
    """Texts in a second."""
    start = time.perf_counter()
    predict(texts)
    return len(texts) / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
