r"""What going on with a trained model gives, and what it costs: more rows, and a class that it did not have.

    python benchmarks/continuing.py                                            # judged on the test texts
    python benchmarks/continuing.py --judge held --name continuing-rates --rates 0.03,0.1,0.3 --epochs 3,6

*More rows*: trained on half of the training rows, updated with the other half; beside training with all.
*A new class*: each class in turn is left out of training, and then added by ``token2wave.update`` with all of
its rows and some of each known class. Figures are the difference in accuracy on the texts of the known
classes, and the accuracy on those of the new one, each the mean over all classes; beside what training again
from the beginning with all rows gives. Writes ``results/benchmarks/NAME.json``, rendered by
``tools/render_results.py``. With ``--judge held`` a fifth of the training rows takes the test texts' place:
choices are made on these.
"""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
from measuring import comma_integers, comma_list, describe_origin, make_parser, write_document
from numpy.typing import NDArray
from sweep import held_out, select_rows

import token2wave
from token2wave.classifier import Classifier
from token2wave.core import n_threads
from token2wave.data import TextDataset, TextSplit, load_splits
from token2wave.training import incremental

KNOWN_ROWS = (20, 100, None)  # of each known class beside a new one; None: all


def accuracy(classifier: Classifier, texts: TextSplit, labels: set[str] | None = None) -> float:
    """Accuracy on the texts of some classes, or on all."""
    rows = [i for i, label in enumerate(texts.labels) if labels is None or label in labels]
    predicted = classifier.labels([texts.texts[i] for i in rows])
    return statistics.mean(label == texts.labels[i] for label, i in zip(predicted, rows, strict=True))


def rows_with_known(
    labels: NDArray[Any], new: str, n_known: int | None, random: np.random.Generator
) -> NDArray[np.int64]:
    """Numbers of all rows of a new class, and of some of each known one."""
    chosen = [np.flatnonzero(labels == new)]
    for label in sorted(set(labels.tolist()) - {new}):
        chosen.append(random.permutation(np.flatnonzero(labels == label))[:n_known])
    return np.sort(np.concatenate(chosen))


def main() -> None:
    """Measure."""
    parser = make_parser(__doc__, name="continuing", preset="small", seed=0)
    parser.add_argument("--data", default="debian-sections")
    parser.add_argument("--judge", choices=["test", "held"], default="test")
    parser.add_argument(
        "--rates", type=comma_list, help="factors of the rates, by commas; those in use if not given"
    )
    parser.add_argument("--epochs", type=comma_integers, default=[incremental.EPOCHS], help="by commas")
    parser.add_argument("--classes", type=int, help="how many classes to leave out in turn; by default all")
    options = parser.parse_args()
    seed = options.seed
    splits = held_out(options.data, "random") if options.judge == "held" else load_splits(options.data)
    train, judged, labels = splits.train, splits.test, np.array(splits.train.labels)
    assert judged is not None
    names = set(train.labels)
    left_out = sorted(names)[: options.classes]
    half = np.random.default_rng(seed).random(len(train)) < 0.5

    def learn(rows: NDArray[np.bool_]) -> Classifier:
        data = TextDataset("some rows", select_rows(train, np.flatnonzero(rows)), None, None, None, ())
        return token2wave.train(data, preset=options.preset, seed=seed).classifier

    of_all, of_half = learn(labels == labels), learn(half)
    known = {name: learn(labels != name) for name in left_out}
    initial = {name: accuracy(known[name], judged, names - {name}) for name in left_out}

    def cost_and_gain(classifiers: dict[str, Classifier]) -> dict[str, float]:
        costs = [accuracy(classifiers[n], judged, names - {n}) - initial[n] for n in left_out]
        gains = [accuracy(classifiers[n], judged, {n}) for n in left_out]
        return {"known": statistics.mean(costs), "known, worst": min(costs), "new": statistics.mean(gains)}

    document: dict[str, Any] = {
        **{key: getattr(options, key) for key in ("name", "data", "preset", "judge", "seed")},
        "classes left out": left_out,
        "half": accuracy(of_half, judged),
        "all": accuracy(of_all, judged),
        "again": cost_and_gain(dict.fromkeys(left_out, of_all)),
        "variants": [],
        **describe_origin(n_threads()),
    }
    more = select_rows(train, np.flatnonzero(~half))
    for rate in map(float, options.rates) if options.rates else (None,):
        if rate is not None:
            incremental.LR_FACTOR = rate
        for epochs in options.epochs:
            updated = token2wave.update(of_half, more.texts, more.labels, epochs=epochs, seed=seed)
            variant: dict[str, Any] = {"rate": rate, "epochs": epochs, "more": accuracy(updated, judged)}
            for n_known in KNOWN_ROWS:
                random, added = np.random.default_rng(seed), {}
                for name in left_out:
                    rows = select_rows(train, rows_with_known(labels, name, n_known, random))
                    added[name] = token2wave.update(
                        known[name], rows.texts, rows.labels, epochs=epochs, seed=seed
                    )
                variant["all rows" if n_known is None else f"{n_known} rows"] = cost_and_gain(added)
            document["variants"].append(variant)
            print(variant, flush=True)
            write_document(options.results / f"{options.name}.json", document)


if __name__ == "__main__":
    main()
