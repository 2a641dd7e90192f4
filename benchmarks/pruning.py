r"""By what to choose the rows that a small model keeps, and whether to train them again.

    python benchmarks/pruning.py --data ag_news,imdb --seeds 0,1,2

Trains preset ``fast``, keeps some rows by each ranking, and predicts the rows held back; no test set is read.
Then compresses to 1 MB with several shares of the rows that fit trained again. Writes
``results/sweeps/pruning.json``; ``tools/render_results.py`` makes a table of ``docs/experiments.md`` from it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sweep import RESULTS

from token2wave.compression import compress
from token2wave.core import n_threads
from token2wave.data import load_splits
from token2wave.features import WordFeatures
from token2wave.inference.compiled import CompiledNetwork
from token2wave.inference.reference import EMBEDDING
from token2wave.pipeline import train
from token2wave.training.examples import Examples
from token2wave.training.preparation import prepare
from token2wave.training.presets import preset_named
from token2wave.training.result import machine
from token2wave.training.schedule import document_frequency
from token2wave.training.validation import validate
from token2wave.versions import versions

TEXTS_FOR_EFFECTS = 6_000  # training texts, at random: the exact effects take the longest of all
NUMBERS_OF_ROWS = (10_000, 30_000, 60_000)
SHARES = (0.6, 0.8, 1.0)
Scores = NDArray[np.float64]


def effects(network: CompiledNetwork, examples: Examples) -> Scores:
    """Exact effect of each row: changes of the loss of texts without it, added up without their signs."""
    found = np.zeros(network.config.n_rows)
    features = examples.features
    for text in range(len(examples)):
        ids = features.ids[features.offsets[text] : features.offsets[text + 1]]
        if not len(ids):
            continue
        sums = network.sums(features.take(np.array([text])))
        rows = network.arrays()[EMBEDDING][ids].astype(np.float64)
        n = len(ids)
        without = replace(
            sums,
            n_features=np.repeat(sums.n_features - 1, n),
            total=sums.total - rows,
            squares=sums.squares - rows**2,
            **{
                name: np.repeat(getattr(sums, name), n, axis=0)
                for name in ("first", "n_words", "context_total", "context_squares")
            },
        )
        losses = [_losses(network.logits_of(part), examples.labels[text]) for part in (without, sums)]
        np.add.at(found, ids, np.abs(losses[0] - losses[1]))
    return found


def _losses(logits: NDArray[np.float32], label: int) -> Scores:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    result: Scores = np.log(np.exp(shifted).sum(axis=1)) - shifted[:, label]
    return result


def rankings(network: CompiledNetwork, examples: Examples, seed: int) -> dict[str, Scores]:
    """Scores of all rows by what they are called."""
    rows = network.arrays()[EMBEDDING]
    energy = np.square(rows, dtype=np.float64).sum(axis=1)
    frequency = document_frequency(examples.features, len(rows))
    some = np.random.default_rng(seed).permutation(len(examples))[:TEXTS_FOR_EFFECTS]
    return {
        "energy brought to the texts": frequency * energy,
        "exact effect on the loss": effects(network, examples.take(np.sort(some))),
        "document frequency": frequency.astype(np.float64),
        "energy of the row alone": energy,
    }


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="names, apart by commas")
    parser.add_argument("--seeds", default="0", help="numbers, apart by commas")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    rows: dict[str, dict[str, Any]] = {}
    document = {
        "name": "pruning",
        "command": "python benchmarks/pruning.py " + " ".join(sys.argv[1:]),
        "preset": "fast",
        "seeds": seeds,
        "measure": "validation accuracy on the tenth of the training rows that training held back",
        "rows": rows,
        "versions": versions(),
        "machine": machine(n_threads(), "cpu"),
    }

    def note(data: str) -> Callable[[str, float, float], None]:
        def write(variant: str, loss: float, accuracy: float) -> None:
            cell = rows.setdefault(variant, {}).setdefault(data, {"accuracy": [], "loss": []})
            cell["accuracy"].append(accuracy)
            cell["loss"].append(loss)
            arguments.results.mkdir(parents=True, exist_ok=True)
            (arguments.results / "pruning.json").write_text(json.dumps(document, indent=1) + "\n")

        return write

    for data in arguments.data.split(","):
        for seed in seeds:
            study(data, seed, note(data))
    for variant, row in rows.items():
        cells = [
            f"{name} {100 * statistics.mean(cell['accuracy']):.2f} {statistics.mean(cell['loss']):.4f}"
            for name, cell in row.items()
        ]
        print(f"{variant:50}", "  ".join(cells), flush=True)


def study(data: str, seed: int, note: Callable[[str, float, float], None]) -> None:
    """Prune and compress one model in all ways."""
    splits = replace(load_splits(data), test=None)
    classifier = train(splits, preset="fast", seed=seed, settings={"recipe.refit_below": 0}).classifier
    network, features = classifier.network, classifier.features
    assert isinstance(network, CompiledNetwork)
    assert isinstance(features, WordFeatures)
    texts = prepare(splits, preset_named("fast").recipe, seed)
    learned, held_out = (part.encode(features) for part in (texts.train, texts.validation))
    note("the whole model", *validate(network, held_out)[:2])
    for name, scores in rankings(network, learned, seed).items():
        for n_rows in NUMBERS_OF_ROWS:
            kept = np.sort(np.argsort(-scores, kind="stable")[:n_rows])
            fewer = WordFeatures(features.config, features.buckets[kept])
            arrays = network.arrays()
            small = CompiledNetwork(
                network.config.replace(n_rows=len(kept)), {**arrays, EMBEDDING: arrays[EMBEDDING][kept]}
            )
            pruned = texts.validation.encode(fewer)
            note(f"{n_rows:,} rows by {name}", *validate(small, pruned)[:2])
    from token2wave.compression import compressor

    with tempfile.TemporaryDirectory() as folder:
        whole, out = Path(folder, "whole"), Path(folder, "small")
        classifier.save(whole)
        found = compress(whole, out, data=data, max_size="1MB", retrain=False).summary
        note("1 MB without training again", found["loss_after"], found["accuracy_after"])
        for share in SHARES:
            compressor.RETRAINED_SHARE = share
            found = compress(whole, out, data=data, max_size="1MB").summary
            name = f"1 MB and {100 * share:.0f} % of the rows that fit trained again if better"
            note(name, found["loss_after"], found["accuracy_after"])


if __name__ == "__main__":
    main()
