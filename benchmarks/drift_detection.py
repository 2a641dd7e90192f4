"""How often `token2wave drift` raises a false alarm, and which drift it finds.

    TOKEN2WAVE_DATA=... python benchmarks/drift_detection.py

Each model learns from random rows of a training set, with ten seeds. Further random rows of the same set are
the texts that have not drifted: samples of them are compared with the reference in the model file, and with
each other (two random halves of a sample). Then drift is planted in samples: rows of another set, rows in
another language, or the rows of one label drawn three times as often. Nothing was chosen by these figures.
"""

from __future__ import annotations

import argparse
import functools
import operator
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from measuring import Record, command_line, describe_origin, make_parser, write_document

import token2wave
from token2wave.classifier import Classifier
from token2wave.data import load_splits
from token2wave.drift_report import LEVEL, compare_sums
from token2wave.inference.drift_sums import DriftSums

SCHEMA = 1
N_TRAIN, N_POOL, N_FOREIGN = 2_000, 1_500, 500
DATA = ["trec", "banking77", "emotion", "ag_news", "sst2"]
OTHER_LANGUAGE = "de_germeval2018"

Rows = list[DriftSums]
Draw = Callable[[np.random.Generator, int], Rows]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure all sets, and write the result after each."""
    options = _parser().parse_args(arguments)
    document: Record = {
        "schema": SCHEMA,
        "command": command_line(__file__, arguments),
        "settings": {
            **{key: getattr(options, key) for key in ("data", "seeds", "runs", "rows", "preset", "threads")},
            "train_rows": N_TRAIN,
            "level": LEVEL,
            "other_language": OTHER_LANGUAGE,
        },
        **describe_origin(options.threads),
        "data": {},
    }
    foreign = _texts(OTHER_LANGUAGE)[0]
    for name, other in zip(options.data, [*options.data[1:], options.data[0]], strict=True):
        results = [_measure(name, _texts(other)[0], foreign, seed, options) for seed in options.seeds]
        document["data"][name] = {"other": other, **_summarise(results)}
        write_document(options.results / "drift_detection.json", document)
        print(name, document["data"][name]["alarms"], flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, data=DATA, seeds=list(range(10)), runs=10, preset="fast", threads=1)
    parser.add_argument("--rows", type=int, default=500, help="of a sample")
    return parser


def _texts(name: str) -> tuple[list[str], list[str]]:
    rows = load_splits(name).train
    return list(rows.texts), list(rows.labels)


def _measure(
    name: str, other: list[str], foreign: list[str], seed: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Train a model, and count alarms on samples with and without drift."""
    random = np.random.default_rng(seed)
    texts, labels = _texts(name)
    order = random.permutation(len(texts))
    train, pool = order[:N_TRAIN], order[N_TRAIN : N_TRAIN + N_POOL]
    classifier = token2wave.train(
        [texts[i] for i in train],
        [labels[i] for i in train],
        preset=options.preset,
        seed=seed,
        baseline=False,
    ).classifier
    assert classifier.drift_reference is not None
    own = [(DriftSums.of_texts(classifier, [texts[i]]), labels[i]) for i in pool]
    rows = [sums for sums, _ in own]
    others, foreigners = (
        [DriftSums.of_texts(classifier, [each[i]]) for i in random.permutation(len(each))[:N_FOREIGN]]
        for each in (other, foreign)
    )
    label = classifier.label_names[seed % len(classifier.label_names)]
    weights = np.array([3.0 if row_label == label else 1.0 for _, row_label in own])
    drifts: dict[str, Draw] = {
        "same": lambda chance, n: _draw(chance, rows, n),
        "10 % of another set": _mixture(rows, others, 0.1),
        "30 % of another set": _mixture(rows, others, 0.3),
        "another set": _mixture(rows, others, 1.0),
        "10 % in another language": _mixture(rows, foreigners, 0.1),
        "30 % in another language": _mixture(rows, foreigners, 0.3),
        "a label three times as frequent": lambda chance, n: _draw(chance, rows, n, weights),
    }
    alarms: dict[str, list[bool]] = {"halves": []}
    by_chance: dict[str, list[bool]] = {"halves": [], "same": []}
    for _ in range(options.runs):
        sample = _draw(random, rows, 2 * options.rows)
        result = compare_sums(classifier, _sum(sample[: options.rows]), _sum(sample[options.rows :]))
        alarms["halves"].append(result.verdict != "none")
        by_chance["halves"].append(min(test.p for test in result.tests if test.p is not None) <= LEVEL)
        for kind, draw in drifts.items():
            result = token2wave.drift(classifier, _sum(draw(random, options.rows)))
            alarms.setdefault(kind, []).append(result.verdict not in ("none", "too few"))
            if kind in by_chance:
                by_chance[kind].append(min(test.p for test in result.tests if test.p is not None) <= LEVEL)
    return {
        "alarms": alarms,
        "by_chance": by_chance,
        "reference_rows": classifier.drift_reference.rows,
        "expected_accuracy": _sum(rows).mean_confidence,
        "accuracy": _accuracy(classifier, [texts[i] for i in pool], [labels[i] for i in pool]),
    }


def _accuracy(classifier: Classifier, texts: list[str], labels: list[str]) -> float:
    return float(np.mean([a == b for a, b in zip(classifier.labels(texts), labels, strict=True)]))


def _draw(
    random: np.random.Generator, rows: Rows, n: int, weights: np.ndarray[Any, Any] | None = None
) -> Rows:
    """Draw rows without replacement, or as often as their weights say."""
    if weights is None:
        return [rows[i] for i in random.permutation(len(rows))[:n]]
    return [rows[i] for i in random.choice(len(rows), n, p=weights / weights.sum())]


def _mixture(rows: Rows, others: Rows, fraction: float) -> Draw:
    """Draw rows, and others instead of a fraction of them."""

    def draw(random: np.random.Generator, n: int) -> Rows:
        n_others = min(round(fraction * n), len(others))
        return _draw(random, others, n_others) + _draw(random, rows, n - n_others)

    return draw


def _sum(rows: Rows) -> DriftSums:
    return functools.reduce(operator.add, rows)


def _summarise(results: list[dict[str, Any]]) -> Record:
    """Rates over all seeds."""

    def rates(key: str) -> dict[str, float]:
        return {
            kind: float(np.mean([value for result in results for value in result[key][kind]]))
            for kind in results[0][key]
        }

    figures = ("reference_rows", "expected_accuracy", "accuracy")
    return {
        "alarms": rates("alarms"),
        "by_chance": rates("by_chance"),
        "repetitions": sum(len(result["alarms"]["same"]) for result in results),
        **{key: [result[key] for result in results] for key in figures},
    }


if __name__ == "__main__":
    sys.exit(main())
