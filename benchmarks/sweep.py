r"""Try settings on several data sets, and compare them by validation accuracy; no test set is read.

    python benchmarks/sweep.py --name phrase --data debian-sections,trec --seeds 0,1 \\
        "" "network.phrase_width=0" "network.phrase_radius=5 recipe.epochs=20"

Each argument is one variant: settings of ``token2wave train --set``, apart by blanks; an empty one is the
preset as it is. Writes ``results/sweeps/NAME.json``, from which ``tools/render_results.py`` makes the tables
of ``docs/experiments.md``. With ``--rival``, TF-IDF (1,2) + LinearSVC is trained on the same rows.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from token2wave.data import (
    DataSplits,
    LabelledTexts,
    encode_labels,
    label_names_of,
    load_splits,
    validation_split,
)
from token2wave.native import n_threads
from token2wave.presets import parse_setting
from token2wave.training.baseline import NAME, train_baseline
from token2wave.training.summary import machine
from token2wave.training.train import train
from token2wave.versions import versions

FRACTION = 0.2
SPLIT_SEED = 0
RESULTS = Path(__file__).parent.parent / "results" / "sweeps"


def held_back(name: str, blocks: bool) -> DataSplits:
    """Cut a validation set off the training rows, the same for every variant and seed; drop the test set."""
    splits = load_splits(name)
    names = label_names_of(splits.train, splits.label_names)
    labels = encode_labels(splits.train, names)
    if blocks:
        first = [
            rows[: int(FRACTION * len(rows))]
            for rows in map(np.flatnonzero, labels == np.unique(labels)[:, None])
        ]
        held = np.concatenate(first)
        kept = np.setdiff1d(np.arange(len(labels)), held)
    else:
        kept, held = validation_split(labels, FRACTION, SPLIT_SEED)

    def part(rows: Any) -> LabelledTexts:
        return LabelledTexts(
            [splits.train.texts[i] for i in rows], [splits.train.labels[i] for i in rows], splits.train.source
        )

    return replace(splits, train=part(kept), validation=part(held), test=None, label_names=names)


def rival(splits: DataSplits) -> dict[str, Any]:
    """Validation accuracy of TF-IDF + LinearSVC."""
    assert splits.validation is not None
    assert splits.label_names is not None
    labels = [encode_labels(part, splits.label_names) for part in (splits.train, splits.validation)]
    found = train_baseline(
        splits.train.texts, labels[0], splits.validation.texts, labels[1], splits.label_names
    )
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
        "--blocks",
        action="store_true",
        help="hold back the first rows of each class instead of random ones: what stands together in a file, "
        "as reviews of one film do, then stays on one side, and validation tells more of texts to come",
    )
    parser.add_argument("--rival", action="store_true")
    parser.add_argument("variants", nargs="*", default=[""])
    arguments = parser.parse_args()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    data = {name: held_back(name, arguments.blocks) for name in arguments.data.split(",")}
    rows: dict[str, dict[str, Any]] = {}
    if arguments.rival:
        rows[NAME] = {name: rival(splits) for name, splits in data.items()}
    document = {
        "name": arguments.name,
        "preset": arguments.preset,
        "seeds": seeds,
        "measure": f"validation accuracy on {FRACTION:.0%} of the training rows held back"
        + (", the first of each class" if arguments.blocks else ""),
        "rows": rows,
        "versions": versions(),
        "machine": machine(n_threads(), "cpu"),
    }
    for variant in arguments.variants:
        rows[variant] = {}
        for name, splits in data.items():
            runs = [
                train(
                    splits,
                    preset=arguments.preset,
                    seed=seed,
                    settings=dict(map(parse_setting, variant.split())),
                ).summary
                for seed in seeds
            ]
            rows[variant][name] = {
                "accuracy": [run.validation_accuracy for run in runs],
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
