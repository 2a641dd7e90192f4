r"""Try settings on several data sets, and compare them on rows held out from training; no test set is read.

    python benchmarks/sweep.py --name context --data debian-sections,trec --seeds 0,1 \\
        "" "network.context_width=0" "network.context_radius=5 recipe.epochs=20"

Each argument is one variant: settings of ``token2wave train --set``, apart by blanks; an empty one is the
preset as it is. A name without a dot is an argument of the function: ``init_from=all-MiniLM-L6-v2``. Writes
``results/sweeps/NAME.json``, from which ``tools/render_results.py`` makes the tables of
``docs/experiments.md``.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.core import n_threads
from token2wave.data import (
    TextDataset,
    TextSplit,
    encode_labels,
    label_names_of,
    load_splits,
    validation_split,
)
from token2wave.pipeline import train
from token2wave.training.baseline import NAME, train_baseline
from token2wave.training.presets import parse_setting
from token2wave.training.result import machine
from token2wave.versions import versions

FRACTION = 0.2
SPLIT_SEED = 0
PART = 3  # words at the least that make a text a part of another: shorter ones stand in many
HELD = {
    "random": "",
    "blocks": ", the first of each class",
    "whole": " that are part of no other row, with their own parts left out of training",
}
RESULTS = Path(__file__).parent.parent / "results" / "sweeps"


def held_out(name: str, how: str) -> TextDataset:
    """Hold back rows of the training set to judge by, the same for every variant and seed; drop the test set.

    They take its place: what is trained holds out rows of its own to choose epochs by, as it does for users.
    """
    splits = load_splits(name)
    names = label_names_of(splits.train, splits.label_names)
    labels = encode_labels(splits.train, names)
    if how == "whole":
        kept, held = whole_texts(splits.train.texts)
    elif how == "blocks":
        first = [
            rows[: int(FRACTION * len(rows))]
            for rows in map(np.flatnonzero, labels == np.unique(labels)[:, None])
        ]
        held = np.concatenate(first)
        kept = np.setdiff1d(np.arange(len(labels)), held)
    else:
        kept, held = validation_split(labels, FRACTION, SPLIT_SEED)

    def part(rows: Any) -> TextSplit:
        return TextSplit(
            [splits.train.texts[i] for i in rows], [splits.train.labels[i] for i in rows], splits.train.source
        )

    return replace(splits, train=part(kept), validation=None, test=part(held), label_names=names)


def whole_texts(texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to train on, and rows to judge by: parts of no other text, and no part of them is trained on."""

    def parts(words: tuple[str, ...]) -> set[int]:
        n = len(words)
        return {hash(words[i:j]) for i in range(n) for j in range(i + PART, n + 1)}

    every = [tuple(text.split()) for text in texts]
    within = set[int]().union(*(parts(words) - {hash(words)} for words in every))
    whole = np.array([i for i, words in enumerate(every) if len(words) > PART and hash(words) not in within])
    held = np.sort(np.random.default_rng(SPLIT_SEED).permutation(whole)[: int(FRACTION * len(whole))])
    known = set[int]().union(*(parts(every[i]) for i in held))
    kept = [i for i, words in enumerate(every) if len(words) < PART or hash(words) not in known]
    return np.setdiff1d(kept, held), held


def baseline(splits: TextDataset) -> dict[str, Any]:
    """Accuracy of TF-IDF + LinearSVC."""
    assert splits.test is not None
    assert splits.label_names is not None
    labels = [encode_labels(part, splits.label_names) for part in (splits.train, splits.test)]
    found = train_baseline(splits.train.texts, labels[0], splits.test.texts, labels[1], splits.label_names)
    return {"accuracy": [found["accuracy"]], "seconds": [found["train_seconds"]]}


def main() -> None:
    """Run the variants named on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", required=True)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--data", required=True, help="names, apart by commas")
    parser.add_argument("--seeds", default="0", help="numbers, apart by commas")
    parser.add_argument(
        "--held",
        choices=list(HELD),
        default="random",
        help="blocks: the first rows of each class, so that what stands together in a file, as reviews of "
        "one film do, stays on one side. whole: texts that are part of no other, with their parts, as the "
        "phrases of a sentence are, left out of training. Both tell more of texts to come than random rows "
        "do where rows belong together",
    )
    parser.add_argument("--baseline", action="store_true", help="also train TF-IDF (1,2) + LinearSVC")
    parser.add_argument("variants", nargs="*", default=[""])
    arguments = parser.parse_args()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    data = {name: held_out(name, arguments.held) for name in arguments.data.split(",")}
    rows: dict[str, dict[str, Any]] = {}
    if arguments.baseline:
        rows[NAME] = {name: baseline(splits) for name, splits in data.items()}
    document = {
        "name": arguments.name,
        "preset": arguments.preset,
        "seeds": seeds,
        "measure": f"accuracy on {FRACTION:.0%} of the training rows held out{HELD[arguments.held]}",
        "rows": rows,
        "versions": versions(),
        "machine": machine(n_threads(), "cpu"),
    }
    for variant in arguments.variants:
        rows[variant] = {}
        given = dict(map(parse_setting, variant.split()))
        settings = {key: value for key, value in given.items() if "." in key}
        others = {key: value for key, value in given.items() if "." not in key}
        for name, splits in data.items():
            runs = [
                train(splits, preset=arguments.preset, seed=seed, settings=settings, **others).summary
                for seed in seeds
            ]
            rows[variant][name] = {
                "accuracy": [run.accuracy for run in runs],
                "best_epoch": [run.best_epoch for run in runs],
                "seconds": [run.train_seconds for run in runs],
            }
            RESULTS.mkdir(parents=True, exist_ok=True)
            (RESULTS / f"{arguments.name}.json").write_text(json.dumps(document, indent=1) + "\n")
        means = {name: 100 * statistics.mean(row["accuracy"]) for name, row in rows[variant].items()}
        print(
            variant or "(preset)", " ".join(f"{name} {mean:.2f}" for name, mean in means.items()), flush=True
        )


if __name__ == "__main__":
    main()
