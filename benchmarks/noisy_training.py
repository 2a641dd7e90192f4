r"""Training on rows of which some have wrong labels: as they are, and on cleaned labels.

    python benchmarks/noisy_training.py --presets fast --seeds 0,1,2 --noise 0,10

A seed draws ``--rows`` of the training rows, the wrong labels among them, and the training. Wrong labels are
random, or of the class that a cross-validated model confuses most with the true one. Validation rows are held
out of the noisy ones; all models are held against the whole test set, which has no planted noise.
``oracle`` leaves out exactly the wrong rows. Writes ``results/benchmarks/noisy_training.json`` after each
run, and takes over the runs of an earlier start.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from measuring import comma_integers, command_line, describe_origin, make_parser, read_earlier, write_document
from planted_noise import WAYS, plant_noise

from token2wave import train
from token2wave.core import n_threads
from token2wave.data import TextDataset, encode_labels, label_names_of, load_splits
from token2wave.options import LABEL_CLEANINGS
from token2wave.training import label_cleaning
from token2wave.training.label_quality import LabelQuality, assess_labels

SETS = ["ag_news", "banking77", "trec", "emotion", "debian-sections"]
SCHEMA = 1


def main() -> None:
    """Train every system on every draw."""
    parser = make_parser(__doc__, data=SETS, presets=["fast"], seeds=[0, 1, 2])
    parser.add_argument("--rows", type=int, default=5_000, help="largest number of training rows")
    parser.add_argument("--noise", type=comma_integers, default=[0, 5, 10, 20], help="wrong labels, in %%")
    options = parser.parse_args()
    document: dict[str, Any] = {
        "name": "noisy_training",
        "schema": SCHEMA,
        "command": command_line(__file__),
        "caveats": [],
        "runs": [],
        **describe_origin(n_threads()),
    }
    path = options.results / "noisy_training.json"
    earlier = read_earlier(path, document)
    if earlier is not None:
        document |= {name: earlier[name] for name in ("runs", "caveats")}
    splits = {name: load_splits(name) for name in options.data}
    for data in splits.values():
        document["caveats"] += [note for note in data.caveats if note not in document["caveats"]]
    label_cleaning.assess_labels = remember(assess_labels)  # the same for every way of cleaning
    for seed in options.seeds:
        for preset in options.presets:
            for name, data in splits.items():
                run_draw(document["runs"], data, name, preset, seed, options)
                write_document(path, document)


def run_draw(
    runs: list[dict[str, Any]], data: TextDataset, name: str, preset: str, seed: int, options: Any
) -> None:
    """Add the runs of a draw that are not there."""
    names = label_names_of(data.train, data.label_names)
    rows = np.random.default_rng(seed).permutation(len(data.train))[: options.rows]
    train_split = data.train.take(np.sort(rows))
    truth = encode_labels(train_split, names)
    probabilities = None
    for noise in options.noise:
        for how in WAYS if noise else ("none",):
            draw = {"data": name, "rows": len(rows), "of_rows": len(data.train), "preset": preset}
            draw |= {"noise": noise, "how": how, "seed": seed}
            systems = ["plain", *LABEL_CLEANINGS, *(["oracle"] if noise else [])]
            missing = [s for s in systems if not any({**run, **draw, "system": s} == run for run in runs)]
            if not missing:
                continue
            if probabilities is None and noise:
                probabilities = assess_labels(train_split, names, seed=seed).probabilities
            labels = truth if not noise else plant_noise(truth, probabilities, noise / 100, how, seed)
            is_wrong = labels != truth
            noisy = replace(train_split, labels=[names[label] for label in labels])
            for system in missing:
                rows_of = noisy.take(np.flatnonzero(~is_wrong)) if system == "oracle" else noisy
                splits = replace(data, train=rows_of, validation=None, label_names=names)
                way = {system: True} if system in LABEL_CLEANINGS else {}
                summary = train(splits, preset=preset, seed=seed, baseline=False, **way).summary
                run = {**draw, "system": system, "accuracy": summary.accuracy}
                run["cleaning"] = summary.label_cleaning
                runs.append(run)
            accuracies = {run["system"]: round(100 * run["accuracy"], 2) for run in runs[-len(missing) :]}
            print(*draw.values(), accuracies, flush=True)


def remember(assess: Callable[..., LabelQuality]) -> Callable[..., LabelQuality]:
    """Assess the same rows once."""
    results: dict[Any, LabelQuality] = {}

    def remembered(rows: Any, names: Any, **options: Any) -> LabelQuality:
        key = options["seed"], zlib.crc32(repr((list(rows.texts), rows.labels)).encode("utf-8", "replace"))
        if key not in results:
            while len(results) > 1:
                results.pop(next(iter(results)))
            results[key] = assess(rows, names, **options)
        return results[key]

    return remembered


if __name__ == "__main__":
    main()
