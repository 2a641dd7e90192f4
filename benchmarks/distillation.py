r"""What a student learns from a teacher: accuracy, size and speed, with and without text that has no labels.

    python benchmarks/distillation.py --data ag_news --unlabelled $TOKEN2WAVE_DATA/ag_news/extra.parquet

A tenth of the training rows is held out, the same for all: epochs and weights are chosen by them, and the
teacher does not learn from them. Students are trained with three seeds, compressed to 4 MB, and held against
the test set once. The teacher and the compressed student then predict test texts by turns, in one process.
Writes ``results/benchmarks/distillation.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measuring import RESULTS, ROOT, all_versions, code_state, write_document

from token2wave import compress, load, train
from token2wave.core import n_threads
from token2wave.data import TextSplit, encode_labels, label_names_of, load_splits, validation_split
from token2wave.data.texts import TextDataset
from token2wave.distillation.teacher import TeacherPredictions
from token2wave.models.encoder_sources import MINILM
from token2wave.training.examples import Examples
from token2wave.training.presets import parse_setting
from token2wave.training.result import machine

FRACTION = 0.1
MAX_SIZE = "4MB"
TURNS = 3
TEXTS_OF_A_TURN = 512
STUDENT = (
    "network.width=64",
    "recipe.epochs=10",
    "recipe.label_smoothing=0.0",
    "recipe.unlabelled_linear_svm_weight=1.0",
)
"""Settings of students, chosen on rows held out (``docs/experiments.md``)."""


def main() -> None:
    """Train, compress, evaluate, and take times."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="ag_news")
    parser.add_argument("--teacher", default=MINILM)
    parser.add_argument("--unlabelled", type=Path, help="texts without labels; left out if not given")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--set", nargs="*", default=list(STUDENT), metavar="KEY=VALUE")
    parser.add_argument("--ways", default="labels,teacher,unlabelled", help="which students, apart by commas")
    parser.add_argument("--without-teacher", action="store_true", help="take no figures of the teacher")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "distillation")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    splits = load_splits(options.data)
    folder = options.build / options.data
    label_names = written_apart(splits, folder)
    settings = dict(map(parse_setting, options.set))
    document: dict[str, Any] = {
        "name": "distillation",
        "command": "python benchmarks/distillation.py " + " ".join(sys.argv[1:]),
        "data": options.data,
        "caveats": list(splits.caveats),
        "teacher": options.teacher,
        "settings": settings,
        "seeds": [int(seed) for seed in options.seeds.split(",")],
        "students": {},
        "versions": all_versions(("transformers",)),
        "machine": machine(n_threads(), "cpu"),
        "processors": os.cpu_count(),
        "code": code_state(),
    }
    out = options.results / "distillation.json"
    with_teacher = {"teacher": options.teacher, "settings": settings}
    ways: dict[str, tuple[str, dict[str, Any]]] = {
        "labels": ("labels alone", {}),
        "teacher": ("with the teacher", with_teacher),
        "unlabelled": (
            "with the teacher, and text without labels",
            {**with_teacher, "unlabelled": options.unlabelled},
        ),
    }
    test = load_splits(folder).test
    assert test is not None
    truth = encode_labels(test, label_names)
    for way in options.ways.split(","):
        title, arguments = ways[way]
        if arguments.get("unlabelled", "") is None:
            continue  # no such text was given
        runs = []
        for seed in document["seeds"]:
            model, small = options.build / "model.safetensors", options.build / "small.safetensors"
            summary = train(folder, out=model, seed=seed, **arguments).summary
            said = compress(model, small, data=folder, max_size=MAX_SIZE).summary
            found = load(small).probabilities(test.texts).argmax(axis=1)
            runs.append(
                {
                    "seed": seed,
                    "accuracy": summary.accuracy,
                    "validation_accuracy": summary.validation_accuracy,
                    "bytes": summary.model_bytes,
                    "small_accuracy": float((found == truth).mean()),
                    "small_validation_accuracy": said["accuracy_after"],
                    "small_bytes": said["bytes_after"],
                    "retrained": said["retrained"],
                    "caveats": summary.caveats,
                }
            )
            document["students"][title] = runs
            write_document(out, document)
            print(title, json.dumps(runs[-1]), flush=True)
    if options.without_teacher:
        return
    document["teacher_figures"] = of_teacher(options.teacher, folder, label_names, options.build)
    write_document(out, document)
    print(json.dumps(document["teacher_figures"]))


def written_apart(splits: TextDataset, folder: Path) -> tuple[str, ...]:
    """Write the data with a validation split of its own; names of the classes."""
    import pyarrow
    from pyarrow import parquet

    folder.mkdir(parents=True, exist_ok=True)
    names = label_names_of(splits.train, splits.label_names)
    kept, held = validation_split(encode_labels(splits.train, names), FRACTION, 0)

    def write(name: str, texts: TextSplit, rows: Sequence[int]) -> None:
        columns = {
            "text": [texts.texts[row] for row in rows],
            "label": [texts.labels[row] for row in rows],
        }
        parquet.write_table(pyarrow.table(columns), folder / f"{name}.parquet")

    assert splits.test is not None
    write("train", splits.train, kept.tolist())
    write("validation", splits.train, held.tolist())
    write("test", splits.test, range(len(splits.test)))
    (folder / "README.json").write_text(json.dumps({"label_names": list(names)}), encoding="utf-8")
    return names


def of_teacher(name: str, folder: Path, label_names: tuple[str, ...], build: Path) -> dict[str, Any]:
    """Accuracy of the teacher on the test texts, and how much faster its student is."""
    splits = load_splits(folder)
    assert splits.test is not None
    assert splits.validation is not None
    train_texts = Examples.of_texts(splits.train.texts, encode_labels(splits.train, label_names))
    lessons = TeacherPredictions(name, label_names, train_texts, splits.train.texts)
    figures: dict[str, Any] = {}
    for part, texts in (("validation_accuracy", splits.validation), ("accuracy", splits.test)):
        found = lessons.predict(texts.texts).of(texts.texts).argmax(axis=1)
        figures[part] = float((found == encode_labels(texts, label_names)).mean())
    texts = splits.test.texts[:TEXTS_OF_A_TURN]
    student = load(build / "small.safetensors")
    many = splits.test.texts
    rates: dict[str, list[float]] = {"teacher": [], "student": []}
    teacher = lessons.load_model()
    for _ in range(TURNS):
        rates["teacher"].append(rate(teacher.probabilities, texts))
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
