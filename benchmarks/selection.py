r"""How many labels chosen by ``token2wave select`` are worth as many labels of random rows.

    python benchmarks/selection.py --data ag_news,dbpedia14,trec,debian-sections --seeds 0,1,2,3,4

For each seed, a model learns from a few random rows; then each round chooses rows among the other training
rows, and a new model learns from all rows so far. The models are those of preset ``fast``. Accuracy is that
of the whole test set, which chooses nothing: strategies were chosen on rows held out of training, with
``--holdout 3000``. Writes ``results/benchmarks/selection.json`` after each run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from measuring import comma_integers, comma_list, command_line, describe_origin, make_parser, write_document
from numpy.typing import NDArray

from token2wave import Classifier, select
from token2wave.core import n_threads
from token2wave.data import TextSplit, encode_labels, label_names_of, load_splits
from token2wave.labelling.selection import kappa_of
from token2wave.training.label_quality import fit_fold

Rows = NDArray[np.int64]
SETS = ["ag_news", "dbpedia14", "trec", "debian-sections", "imdb", "banking77", "emotion"]


class Pool(NamedTuple):
    """Rows to choose from, and rows to evaluate on, with the numbers of their labels."""

    rows: TextSplit
    evaluation: tuple[list[str], Rows]
    label_names: tuple[str, ...]


def make_pool(name: str, seed: int, holdout: int) -> Pool:
    """Shuffle the training rows of a set; ``holdout`` of them take the place of the test set, if not 0."""
    splits = load_splits(name)
    assert splits.test is not None
    names = label_names_of(splits.train, splits.label_names)
    order = np.random.default_rng(seed).permutation(len(splits.train))
    rows = splits.train.take(order[holdout:])
    evaluation = splits.train.take(order[:holdout]) if holdout else splits.test
    texts = list(evaluation.texts), encode_labels(evaluation, names)
    return Pool(replace(rows, texts=list(rows.texts), groups=None), texts, names)


def fit(pool: Pool, rows: Rows, seed: int) -> Classifier:
    """Train on some rows, with the preset's defaults."""
    train = pool.rows.take(rows)
    return fit_fold(replace(train, texts=list(train.texts)), train.take(rows[:0]), pool.label_names, seed)[0]


def run(pool: Pool, strategy: str, counts: Sequence[int], seed: int) -> dict[str, Any]:
    """Accuracy for each number of labels, and how much each model agrees with the one before on the pool."""
    number = {text: row for row, text in reversed(list(enumerate(pool.rows.texts)))}
    chosen, (texts, labels) = np.arange(counts[0]), pool.evaluation
    classifier = fit(pool, chosen, seed)
    accuracies, kappas = [accuracy(classifier, texts, labels)], list[float]()
    for n_labels in counts[1:]:
        n, remaining = n_labels - len(chosen), np.setdiff1d(np.arange(len(pool.rows)), chosen)
        added = remaining[:n]  # the rows are shuffled
        if strategy != "random":
            candidates, labelled = ([pool.rows.texts[i] for i in of] for of in (remaining, chosen))
            result = select(classifier, candidates, n=n, strategy=strategy, labelled=labelled, seed=seed)
            added = np.array([number[text] for text in result.texts])
        chosen, previous = np.concatenate([chosen, added]), classifier
        classifier = fit(pool, chosen, seed)
        accuracies.append(accuracy(classifier, texts, labels))
        classes = [model.probabilities(pool.rows.texts).argmax(axis=1) for model in (previous, classifier)]
        pairs = np.zeros((len(pool.label_names),) * 2, dtype=np.int64)
        np.add.at(pairs, tuple(classes), 1)
        kappas.append(kappa_of(pairs))
    return {"accuracy": accuracies, "kappa": kappas}


def accuracy(classifier: Classifier, texts: list[str], labels: Rows) -> float:
    """Fraction of texts whose label is right."""
    return float((classifier.probabilities(texts).argmax(axis=1) == labels).mean())


def main() -> None:
    """Run all strategies on all sets."""
    parser = make_parser(__doc__, data=SETS)
    parser.add_argument("--seeds", type=comma_integers, default=[0, 1, 2, 3, 4])
    parser.add_argument("--counts", type=comma_integers, default=[100 * i for i in range(1, 11)])
    parser.add_argument("--strategies", type=comma_list, default=["random", "mixture"])
    parser.add_argument("--holdout", type=int, default=0, help="training rows in the place of the test set")
    options = parser.parse_args()
    rows: dict[str, Any] = {}
    document: dict[str, Any] = {
        "name": "selection",
        "command": command_line(__file__),
        "counts": options.counts,
        "seeds": options.seeds,
        "holdout": options.holdout,
        "caveats": [],
        "rows": rows,
        **describe_origin(n_threads()),
    }
    for name in options.data:
        document["caveats"] += load_splits(name).caveats
        for seed in options.seeds:
            pool = make_pool(name, seed, options.holdout)
            result = rows.setdefault(name, {"n_pool": len(pool.rows), "n_evaluated": len(pool.evaluation[0])})
            for strategy in options.strategies:
                measured = run(pool, strategy, options.counts, seed)
                result.setdefault(strategy, []).append(measured)
                write_document(options.results / "selection.json", document)
                print(
                    name, seed, strategy, [round(100 * each, 1) for each in measured["accuracy"]], flush=True
                )


if __name__ == "__main__":
    main()
