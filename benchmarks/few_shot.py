r"""Few rows a class: what the defaults give, and what an encoder adds, against TF-IDF + LinearSVC.

    python benchmarks/few_shot.py --data trec,banking77,ag_news --rows 8,16,32,64 --draws 3

Rows are drawn from the training set, the same for every system; all are held against the whole test set.
``default`` is ``token2wave train`` with no setting; ``start`` begins the words' rows with an encoder's
outputs; ``teacher`` also fine-tunes the encoder on the few rows, and learns from it and from ``--unlabelled``
further training texts without their labels. Writes ``results/benchmarks/few_shot.json`` after each run.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
from measuring import comma_integers, comma_list, command_line, describe_origin, make_parser, write_document
from sweep import select_rows

from token2wave import train
from token2wave.core import n_threads
from token2wave.data import TextDataset, encode_labels, label_names_of, load_splits
from token2wave.models.encoder_sources import MINILM
from token2wave.training.baseline import train_baseline


def draw_rows(
    splits: TextDataset, n_rows: int, draw: int, n_unlabelled: int
) -> tuple[TextDataset, list[str]]:
    """So many rows of each class as training data, and further training texts without labels."""
    names = label_names_of(splits.train, splits.label_names)
    labels = encode_labels(splits.train, names)
    order = np.random.default_rng(draw).permutation(len(labels))
    few = np.concatenate([order[labels[order] == label][:n_rows] for label in range(len(names))])
    rest = order[~np.isin(order, few)][:n_unlabelled]
    texts = splits.train.texts
    train_texts = select_rows(splits.train, few)
    few_rows = replace(splits, train=train_texts, validation=None, label_names=names)
    return few_rows, [texts[row] for row in rest]


def accuracy(system: str, splits: TextDataset, unlabelled: list[str], encoder: str, seed: int) -> float:
    """Accuracy of a system on the test set."""
    assert splits.test is not None
    assert splits.label_names is not None
    if system == "tfidf_svc":
        labels = [encode_labels(split, splits.label_names) for split in (splits.train, splits.test)]
        texts = splits.train.texts, splits.test.texts
        return float(train_baseline(texts[0], labels[0], texts[1], labels[1], splits.label_names)["accuracy"])
    ways: dict[str, dict[str, Any]] = {
        "default": {},
        "start": {"init_from": encoder},
        "teacher": {"init_from": encoder, "teacher": encoder, "unlabelled": unlabelled},
    }
    right = train(splits, seed=seed, **ways[system], baseline=False).summary.accuracy
    assert right is not None
    return right


def main() -> None:
    """Run all systems on all draws."""
    parser = make_parser(__doc__, data=["trec", "banking77", "ag_news"])
    parser.add_argument("--rows", type=comma_integers, default=[8, 16, 32, 64], help="of each class")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--systems", type=comma_list, default=["tfidf_svc", "default", "start"])
    parser.add_argument("--encoder", default=MINILM)
    parser.add_argument("--unlabelled", type=int, default=2_000)
    options = parser.parse_args()
    rows: dict[str, dict[str, dict[str, list[float]]]] = {}
    document: dict[str, Any] = {
        "name": "few_shot",
        "command": command_line(__file__),
        "encoder": options.encoder,
        "unlabelled": options.unlabelled,
        "caveats": [],
        "rows": rows,
        **describe_origin(n_threads(), ("transformers", "scikit-learn")),
    }
    for name in options.data:
        splits = load_splits(name)
        document["caveats"] += [note for note in splits.caveats if note not in document["caveats"]]
        for n_rows in options.rows:
            accuracies = rows.setdefault(name, {}).setdefault(str(n_rows), {})
            for draw in range(options.draws):
                few, unlabelled = draw_rows(splits, n_rows, draw, options.unlabelled)
                for system in options.systems:
                    right = accuracy(system, few, unlabelled, options.encoder, draw)
                    accuracies.setdefault(system, []).append(right)
                    write_document(options.results / "few_shot.json", document)
            means = {system: round(100 * float(np.mean(each)), 2) for system, each in accuracies.items()}
            print(name, n_rows, json.dumps(means), flush=True)


if __name__ == "__main__":
    main()
