r"""Try settings on several data sets, and compare them on rows held out from training; no test set is read.

    python benchmarks/sweep.py --name context --data debian-sections,trec --seeds 0,1 \\
        "" "network.context_width=0" "network.context_radius=5 recipe.epochs=20"

Each argument is one variant: settings of ``token2wave train --set``, apart by blanks; an empty one is the
preset as it is. A name without a dot is an argument of the function: ``init_from=all-MiniLM-L6-v2``. Writes
``results/sweeps/NAME.json``, from which ``tools/render_results.py`` makes the tables of
``docs/experiments.md``.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from measuring import ROOT, describe_origin, make_parser, write_document
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

FRACTION = 0.2
SPLIT_SEED = 0
PART = 3  # words at the least that make a text a part of another: shorter ones stand in many
HELD = {
    "random": "",
    "blocks": ", the first of each class",
    "whole": " that are part of no other row, with their own parts left out of training",
}


def select_rows(split: TextSplit, rows: Iterable[int]) -> TextSplit:
    """Some rows of a split."""
    numbers = list(rows)
    return TextSplit([split.texts[i] for i in numbers], [split.labels[i] for i in numbers], split.source)


def held_out(name: str, how: str) -> TextDataset:
    """Hold rows of the training set out, the same for every variant and seed; they replace the test set.

    What is trained holds out rows of its own to choose epochs by, as it does for users.
    """
    splits = load_splits(name)
    names = label_names_of(splits.train, splits.label_names)
    labels = encode_labels(splits.train, names)
    if how == "whole":
        train, held = whole_texts(splits.train.texts)
    elif how == "blocks":
        by_class = map(np.flatnonzero, labels == np.unique(labels)[:, None])
        held = np.concatenate([rows[: int(FRACTION * len(rows))] for rows in by_class])
        train = np.setdiff1d(np.arange(len(labels)), held)
    else:
        train, held = validation_split(labels, FRACTION, SPLIT_SEED)
    own, test = select_rows(splits.train, train), select_rows(splits.train, held)
    return replace(splits, train=own, validation=None, test=test, label_names=names)


def whole_texts(texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to train on, and rows to judge by: parts of no other text, and no part of them is trained on."""

    def fragments(words: tuple[str, ...]) -> set[int]:
        n = len(words)
        return {hash(words[i:j]) for i in range(n) for j in range(i + PART, n + 1)}

    every = [tuple(text.split()) for text in texts]
    fragments_of_all = set[int]().union(*(fragments(words) - {hash(words)} for words in every))
    whole = np.array(
        [i for i, words in enumerate(every) if len(words) > PART and hash(words) not in fragments_of_all]
    )
    held = np.sort(np.random.default_rng(SPLIT_SEED).permutation(whole)[: int(FRACTION * len(whole))])
    known = set[int]().union(*(fragments(every[i]) for i in held))
    train = [i for i, words in enumerate(every) if len(words) < PART or hash(words) not in known]
    return np.setdiff1d(train, held), held


def baseline(splits: TextDataset) -> dict[str, Any]:
    """Accuracy of TF-IDF + LinearSVC."""
    assert splits.test is not None
    assert splits.label_names is not None
    labels = [encode_labels(split, splits.label_names) for split in (splits.train, splits.test)]
    result = train_baseline(splits.train.texts, labels[0], splits.test.texts, labels[1], splits.label_names)
    return {"accuracy": [result["accuracy"]], "seconds": [result["train_seconds"]]}


def main() -> None:
    """Run the variants named on the command line."""
    results = ROOT / "results" / "sweeps"
    parser = make_parser(__doc__, name=None, preset="small", data=None, seeds=[0], results=results)
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
    options = parser.parse_args()
    data = {name: held_out(name, options.held) for name in options.data}
    rows: dict[str, dict[str, Any]] = {}
    if options.baseline:
        rows[NAME] = {name: baseline(splits) for name, splits in data.items()}
    document = {
        "name": options.name,
        "preset": options.preset,
        "seeds": options.seeds,
        "measure": f"accuracy on {FRACTION:.0%} of the training rows held out{HELD[options.held]}",
        "rows": rows,
        **describe_origin(n_threads()),
    }
    for variant in options.variants:
        rows[variant] = {}
        overrides = dict(map(parse_setting, variant.split()))
        settings = {key: value for key, value in overrides.items() if "." in key}
        others = {key: value for key, value in overrides.items() if "." not in key}
        for name, splits in data.items():
            runs = [
                train(
                    splits, preset=options.preset, seed=seed, settings=settings, **others, baseline=False
                ).summary
                for seed in options.seeds
            ]
            rows[variant][name] = {
                "accuracy": [run.accuracy for run in runs],
                "best_epoch": [run.best_epoch for run in runs],
                "seconds": [run.train_seconds for run in runs],
            }
            write_document(options.results / f"{options.name}.json", document)
        means = {name: 100 * statistics.mean(row["accuracy"]) for name, row in rows[variant].items()}
        line = " ".join(f"{name} {mean:.2f}" for name, mean in means.items())
        print(variant or "(preset)", line, flush=True)


if __name__ == "__main__":
    main()
