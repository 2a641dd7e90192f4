r"""How well wrong labels are found: the audit's ranking, beside cleanlab's.

    python benchmarks/label_errors.py --noise 5,10

Plants wrong labels in training rows, random ones or of the class most confused with the true one, and ranks
the rows. cleanlab gets probabilities of five stratified folds of TF-IDF (words and pairs) with logistic
regression; of its scores the best is taken in each cell, which favours it. Where people have
corrected labels, the ranking is held against those. Every cell is written when it is done, and those of an
earlier start are taken over. Needs the extra ``bench``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from measuring import comma_integers, command_line, describe_origin, make_parser, read_earlier, write_document
from numpy.typing import NDArray
from planted_noise import WAYS, plant_noise

from token2wave.core import n_threads
from token2wave.data import TextSplit, encode_labels, label_names_of, load_split, load_splits
from token2wave.training.label_quality import assess_labels

SETS = ["debian-sections", "trec", "banking77", "emotion", "ag_news"]
REAL_SETS = ["noisy_ag_news", "noisy_ag_news_annotators", "label_errors_imdb"]
N_FIRST = 100  # proposals that are held against people's corrections
SCHEMA = 1
Numbers = NDArray[np.float64]


def main() -> None:
    """Measure every cell that is not there."""
    parser = make_parser(__doc__, data=[*SETS, *REAL_SETS])
    parser.add_argument("--noise", type=comma_integers, default=[5, 10], help="wrong labels, in %%")
    options = parser.parse_args()
    document: dict[str, Any] = {
        "name": "label_errors",
        "schema": SCHEMA,
        "command": command_line(__file__),
        "caveats": [],
        "cells": [],
        **describe_origin(n_threads(), ("scikit-learn", "cleanlab")),
    }
    path = options.results / "label_errors.json"
    if (earlier := read_earlier(path, document)) is not None:
        document |= {name: earlier[name] for name in ("cells", "caveats")}

    def is_missing(cell: dict[str, Any]) -> bool:
        return not any(old.items() >= cell.items() for old in document["cells"])

    for name in options.data:
        ways = (
            [(how, noise) for how in WAYS for noise in options.noise] if name in SETS else [("people", None)]
        )
        cells = [{"data": name, "how": how, "noise": noise} for how, noise in ways]
        cells = [cell for cell in cells if is_missing(cell)]
        if not cells:
            continue
        rows, names, notes = read_rows(name)
        document["caveats"] += [note for note in notes if note not in document["caveats"]]
        truth = encode_labels(rows, names)
        probabilities = None
        for cell in cells:
            if cell["how"] == "people":
                is_wrong, is_judged = people_judgements(name, rows)
                labels = truth
            else:
                if probabilities is None:
                    probabilities = assess_labels(rows, names, seed=7).probabilities
                labels = plant_noise(truth, probabilities, cell["noise"] / 100, cell["how"], 0)
                is_wrong, is_judged = labels != truth, np.ones(len(rows), dtype=bool)
            given = replace(rows, labels=[names[label] for label in labels])
            cell |= {"rows": len(rows), "wrong": int(is_wrong.sum())}
            cell["ours"] = measure(partial(audit_scores, given, names), is_wrong, is_judged)
            cell["cleanlab"] = measure(
                partial(cleanlab_scores, list(rows.texts), labels), is_wrong, is_judged
            )
            document["cells"].append({**cell, "code": document["code"]})
            write_document(path, document)
            print(name, cell["how"], cell["noise"], cell["ours"], cell["cleanlab"], flush=True)


def read_rows(name: str) -> tuple[TextSplit, tuple[str, ...], tuple[str, ...]]:
    """The rows to rank, the classes and caveats."""
    if name == "label_errors_imdb":
        rows = load_split("imdb", "test")
        return (
            rows,
            label_names_of(rows, None),
            ("label_errors_imdb: all 25,000 test rows of IMDB are ranked",),
        )
    data = load_splits(name)
    return data.train, label_names_of(data.train, data.label_names), data.caveats


def people_judgements(name: str, rows: TextSplit) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which labels are wrong, and which rows people have looked at, ``(N,)`` bool each.

    Of ``label_errors_imdb`` a label is wrong if at least three of five people chose the other class.
    """
    if name == "label_errors_imdb":
        texts, columns = columns_of(name, "test")
        of_text = dict(zip(texts, columns["verdict"], strict=True))
        verdicts = [of_text.get(text) for text in rows.texts]
        return np.array([v == "guessed" for v in verdicts]), np.array([v is not None for v in verdicts])
    _, columns = columns_of(name, "train")
    truth, labels = np.asarray(columns["true_label"]), np.asarray(columns["label"])
    is_judged = truth >= 0
    return (truth != labels) & is_judged, is_judged


def columns_of(name: str, split: str) -> tuple[Sequence[str], Mapping[str, Sequence[object]]]:
    """The texts and all columns of a split, also those that no model may see."""
    rows = load_split(name, split, with_table=True)
    assert rows.table is not None
    return rows.texts, rows.table.columns


def measure(
    score: Callable[[], dict[str, Numbers]], is_wrong: NDArray[np.bool_], is_judged: NDArray[np.bool_]
) -> dict[str, Any]:
    """Average precision, and precision among the first rows and among as many as are wrong.

    Only rows that people judged count, as ranked. Of several scores each figure is the best.
    """
    start = time.perf_counter()
    scores = score()
    seconds = time.perf_counter() - start
    best: dict[str, Any] = {}
    for name, suspicion in scores.items():
        hits = is_wrong[is_judged][np.argsort(-suspicion[is_judged], kind="stable")]
        precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        figures = {
            "average_precision": float(precision[hits].mean()),
            "precision": float(precision[hits.sum() - 1]),
            "precision_of_first": float(precision[min(N_FIRST, len(hits)) - 1]),
        }
        for key, value in figures.items():
            best[key] = max(best.get(key, 0.0), value)
        best.setdefault("scores", {})[name] = figures
    return {**best, "seconds": seconds}


def audit_scores(rows: TextSplit, names: tuple[str, ...]) -> dict[str, Numbers]:
    """The suspicion of each row, as ``token2wave audit`` has it."""
    return {"suspicion": assess_labels(rows, names).suspicion}


def cleanlab_scores(texts: list[str], labels: NDArray[np.int64]) -> dict[str, Numbers]:
    """Suspicion by cleanlab's scores and its filter, from out-of-fold probabilities."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    table = np.array(texts, dtype=object)
    probabilities = np.zeros((len(labels), int(labels.max()) + 1))
    for train, held_out in StratifiedKFold(5, shuffle=True, random_state=0).split(table, labels):
        vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2, dtype=np.float32)
        model = LogisticRegression(C=10, max_iter=100, tol=1e-3)
        model.fit(vectorizer.fit_transform(table[train]), labels[train])
        of_fold = model.predict_proba(vectorizer.transform(table[held_out]))
        probabilities[np.ix_(held_out, model.classes_)] = of_fold
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    scores = {
        method: 1 - get_label_quality_scores(labels, probabilities, method=method)
        for method in ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
    }
    issues = find_label_issues(labels, probabilities, n_jobs=1)
    scores["filter"] = scores["self_confidence"] + issues  # the rows that it names come first
    return scores


if __name__ == "__main__":
    main()
