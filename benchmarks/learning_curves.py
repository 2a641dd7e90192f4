r"""Whether the audit can tell what more rows would bring, and how many labels are wrong.

    python benchmarks/learning_curves.py
    python benchmarks/learning_curves.py --data trec,hi_bbc --draws 1

**Rows.** A part of the training rows is held out, and the others are halved at random. The learning curve of
one half predicts the gain from twice the rows. Then a model is trained on the half, and one on both; the held
out rows say what really happened. **Noise.** A fraction of the labels is made wrong, and estimated. No test
row is used. The settings of the curve were chosen with other draws of the sets that ``--chosen`` names.

Writes ``results/benchmarks/learning_curves.json`` after each run; ``--parts`` runs some parts alone.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from measuring import comma_list, command_line, describe_origin, make_parser, write_document
from planted_noise import WAYS, plant_noise

from token2wave import train
from token2wave.auditing.learning_curve import attainable_and_curve, estimate_noise, helpful_sentences
from token2wave.core import n_threads
from token2wave.data import TextDataset, TextSplit, encode_labels, label_names_of, load_splits
from token2wave.training.label_quality import assess_labels

DATA = "trec,ar_arsarcasm2,emotion,ag_news,banking77,ko_hate,hi_bbc,dbpedia14,zh_tnews,zh_chnsenticorp"
CHOSEN = "ag_news,banking77,trec,emotion,ko_hate,hi_bbc,ar_arsarcasm2"
NOISE_DATA = "ag_news,banking77,trec,emotion,dbpedia14,debian-sections"
PEOPLE = "noisy_ag_news"
EXAMPLE = "debian-sections"
MAX_HELD_OUT = 5_000
FRACTIONS = (0.0, 0.05, 0.1)
FIRST_DRAW = 100  # the draws before chose the settings


def draw_half(splits: TextDataset, max_rows: int, draw: int) -> tuple[Any, Any, Any]:
    """A random half of the training rows, that half and the other, and rows held out."""
    rows = splits.train
    order = np.random.default_rng(FIRST_DRAW + draw).permutation(len(rows))[:max_rows]
    n_held_out = min(len(order) // 5, MAX_HELD_OUT)
    held_out, pool = order[:n_held_out], order[n_held_out:]
    half = len(pool) // 2
    return rows.take(pool[:half]), rows.take(pool[: 2 * half]), rows.take(held_out)


def measure_gain(splits: TextDataset, preset: str, max_rows: int, draw: int) -> dict[str, Any]:
    """What the curve of a half predicts of both, and what happened."""
    names = label_names_of(splits.train, splits.label_names)
    half, pool, held_out = draw_half(splits, max_rows, draw)
    _, curve = attainable_and_curve(half, names, None, seed=draw)
    truth = encode_labels(held_out, names)
    decisions = []
    for rows in (half, pool):
        data = TextDataset(splits.train.source, rows, test=held_out, label_names=names)
        classifier = train(data, preset=preset, seed=draw, baseline=False).classifier
        decisions.append(classifier.probabilities(held_out.texts).argmax(axis=1))
    right = [each == truth for each in decisions]
    changes = right[1].astype(float) - right[0]
    main = np.array([names.index(name) for name in curve["main_classes"]], dtype=np.int64)
    errors = [
        ((truth[:, None] == main) ^ (each[:, None] == main)).sum() / (2 * len(truth)) for each in decisions
    ]
    return {
        "draw": draw,
        "rows": len(half),
        "held_out": len(held_out),
        "predicted": curve["doubling"],
        "interval": curve["doubling_interval"],
        "scores": [float(each.mean()) for each in right],
        "happened": float(changes.mean()),
        "standard_error": float(changes.std() / len(truth) ** 0.5),
        "main_classes": curve["main_classes"],
        "happened_in_main_classes": float(errors[0] - errors[1]),
    }


def measure_noise(splits: TextDataset, max_rows: int) -> list[dict[str, Any]]:
    """What is estimated of wrong labels that were planted in both ways."""
    names = label_names_of(splits.train, splits.label_names)
    rows = splits.train
    rows = rows.take(np.sort(np.random.default_rng(FIRST_DRAW).permutation(len(rows))[:max_rows]))
    labels, probabilities, runs = encode_labels(rows, names), None, []
    for fraction in FRACTIONS:
        for how in WAYS if fraction else ("none",):
            noisy = labels
            if probabilities is not None:
                noisy = plant_noise(labels, probabilities, fraction, how, FIRST_DRAW)
            quality = assess_labels(replace(rows, labels=[names[label] for label in noisy]), names)
            if probabilities is None:
                probabilities = quality.probabilities
            runs.append(
                {
                    "planted": float((noisy != labels).mean()),
                    "how": how,
                    "estimated": estimate_noise(quality),
                    "suspicious": float(quality.is_suspicious.mean()),
                }
            )
    return runs


def measure_people() -> dict[str, Any]:
    """What is estimated of the wrong labels that people gave to texts of AG News."""
    import pyarrow.parquet

    path = Path(os.environ["TOKEN2WAVE_DATA"], PEOPLE, "train.parquet")
    table = pyarrow.parquet.read_table(path, columns=["text", "label", "true_label"]).to_pydict()
    labels = np.array(table["label"])
    names = tuple(map(str, range(labels.max() + 1)))
    quality = assess_labels(TextSplit(table["text"], [names[label] for label in labels], PEOPLE), names)
    return {
        "data": PEOPLE,
        "rows": len(labels),
        "wrong": float((labels != np.array(table["true_label"])).mean()),
        "estimated": estimate_noise(quality),
        "suspicious": float(quality.is_suspicious.mean()),
        "agreement": float((quality.probabilities.argmax(axis=1) == labels).mean()),
    }


def example() -> dict[str, Any]:
    """What the audit says of the built-in corpus."""
    splits = load_splits(EXAMPLE)
    names = label_names_of(splits.train, splits.label_names)
    quality = assess_labels(splits.train, names)
    attainable, curve = attainable_and_curve(splits.train, names, quality)
    return {
        "data": EXAMPLE,
        "sentences": helpful_sentences({"attainable": attainable, "learning_curve": curve}),
    }


def main() -> None:
    """Measure all sets."""
    parser = make_parser(__doc__, data=comma_list(DATA), preset="fast")
    parser.add_argument("--noise-data", type=comma_list, default=comma_list(NOISE_DATA))
    parser.add_argument("--chosen", type=comma_list, default=comma_list(CHOSEN))
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--max-rows", type=int, default=20_000, help="of a set's learning curve")
    parser.add_argument("--noise-rows", type=int, default=4_000, help="of a set's noise")
    parser.add_argument("--parts", type=comma_list, default=["example", "rows", "noise"])
    options = parser.parse_args()
    path = options.results / "learning_curves.json"
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    document |= {
        "name": "learning_curves",
        "command": command_line(__file__),
        "chosen": options.chosen,
        "preset": options.preset,
        **describe_origin(n_threads()),
    }
    gains, noises = ({} if part in options.parts else document.get(part, {}) for part in ("rows", "noise"))
    document |= {"rows": gains, "noise": noises}
    if "example" in options.parts:
        document |= {"example": example(), "people": measure_people()}
        write_document(path, document)
    for name in options.data if "rows" in options.parts else []:
        splits = load_splits(name)
        for draw in range(options.draws):
            run = measure_gain(splits, options.preset, options.max_rows, draw)
            gains.setdefault(name, []).append(run)
            write_document(path, document)
            print(name, json.dumps(run), flush=True)
    for name in options.noise_data if "noise" in options.parts else []:
        noises[name] = measure_noise(load_splits(name), options.noise_rows)
        write_document(path, document)
        print(name, json.dumps(noises[name]), flush=True)


if __name__ == "__main__":
    main()
