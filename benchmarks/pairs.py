r"""Pairs of texts: our models of pairs beside linear models, static vectors and a sentence encoder.

    python benchmarks/pairs.py
    python benchmarks/pairs.py --data stsb --systems pair,tfidf --seeds 0

Every system learns from the training and validation rows together and holds out rows of its own to choose by.
The figure is accuracy on the test rows for labels, and Spearman's correlation for scores. ``tfidf`` takes the
product and the absolute difference of two texts' TF-IDF vectors of words, of characters, or of both, and a
linear model; the kind and the penalty are those that a tenth of the rows prefers. ``model2vec`` takes both
vectors, their product and their difference. ``minilm`` takes the cosine of MiniLM, which is pre-trained and
much slower, and learns where to cut it.

Writes ``results/benchmarks/pairs.json`` after each run.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from measuring import (
    BASELINE_PACKAGES,
    comma_list,
    command_line,
    describe_origin,
    make_parser,
    write_document,
)
from numpy.typing import NDArray

from token2wave import train
from token2wave.core import n_threads
from token2wave.data import load_splits
from token2wave.features.pairs import split_pair
from token2wave.options import DataOptions
from token2wave.score_metrics import evaluate_scores

SCHEMA = 1
TASKS = {
    "mrpc": "label",
    "sick": "label",
    "sick_relatedness": "score",
    "stsb": "score",
    "rte": "label",
    "qqp_part": "label",
    "ja_jrte_pairs": "label",
    "ja_jsts": "score",
}
FOLDERS = {"sick_relatedness": "sick"}
SYSTEMS = ["pair", "pair_symmetric", "pair_no_prior", "tfidf", "model2vec", "minilm"]
SEEDED = ("pair", "pair_symmetric", "pair_no_prior")
COSTS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)

Pair = tuple[str, str]
Predicted = NDArray[Any]


class Rows(NamedTuple):
    """Pairs, and their labels or scores."""

    pairs: list[Pair]
    values: NDArray[Any]
    has_scores: bool


def load_rows(name: str) -> tuple[Rows, Rows]:
    """The rows to learn from, and the test rows."""
    has_scores = TASKS[name] == "score"
    options = DataOptions(label_column=TASKS[name]).for_pairs(True)
    dataset = load_splits(FOLDERS.get(name, name), options, as_numbers=has_scores)

    def rows(*splits: Any) -> Rows:
        pairs: list[Pair] = []
        values: list[Any] = []
        for split in splits:
            if split is not None:
                pairs += map(split_pair, split.texts)
                values += split.read_scores().tolist() if has_scores else list(split.labels)
        return Rows(pairs, np.array(values), has_scores)

    return rows(dataset.train, dataset.validation), rows(dataset.test)


def pair(learnt: Rows, others: list[Pair], seed: int, **options: Any) -> Predicted:
    """Our model of pairs."""
    target = "score" if learnt.has_scores else "label"
    labels = learnt.values.tolist()
    result = train(learnt.pairs, labels, pair=True, target=target, seed=seed, baseline=False, **options)
    classifier = result.classifier
    return classifier.scores(others) if learnt.has_scores else np.array(classifier.labels(others))


def pair_symmetric(learnt: Rows, others: list[Pair], seed: int) -> Predicted:
    """Likewise, where the order of the two texts plays no part."""
    return pair(learnt, others, seed, symmetric=True)


def pair_no_prior(learnt: Rows, others: list[Pair], seed: int) -> Predicted:
    """Likewise, without the language prior."""
    return pair(learnt, others, seed, prior=False)


def fit_linear(candidates: dict[str, Any], learnt: Rows, seed: int) -> tuple[str, Any]:
    """The kind of features and the linear model that a tenth of the rows prefers, learnt from all rows."""
    from sklearn.linear_model import LogisticRegression, Ridge

    order = np.random.default_rng(seed).permutation(len(learnt.values))
    held_out, rows = order[: len(order) // 10], order[len(order) // 10 :]

    def fit(kind: str, cost: float, rows: NDArray[np.int64]) -> Any:
        if learnt.has_scores:
            model = Ridge(alpha=1 / cost, random_state=seed)
        else:
            model = LogisticRegression(C=cost, max_iter=1000, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an optimum that is not reached in 1,000 steps
            return model.fit(candidates[kind][rows], learnt.values[rows])

    def quality(choice: tuple[str, float]) -> float:
        predicted = fit(*choice, rows).predict(candidates[choice[0]][held_out])
        return figure(learnt.values[held_out], predicted, learnt.has_scores)

    choices = [(kind, cost) for kind in candidates for cost in COSTS]
    kind, cost = max(choices, key=quality)
    return kind, fit(kind, cost, np.arange(len(learnt.values)))


def tfidf(learnt: Rows, others: list[Pair], seed: int) -> Predicted:
    """Linear models on the product and the difference of TF-IDF vectors."""
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizers = {
        "words": TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, token_pattern=r"\w+"),
        "characters": TfidfVectorizer(analyzer="char", ngram_range=(1, 4), min_df=2, sublinear_tf=True),
    }
    features: list[dict[str, Any]] = [{}, {}]
    for kind, vectorizer in vectorizers.items():
        vectorizer.fit([text for each in learnt.pairs for text in each])
        for of_rows, pairs in zip(features, (learnt.pairs, others), strict=True):
            first, second = (vectorizer.transform(texts) for texts in zip(*pairs, strict=True))
            cosine = first.multiply(second).sum(axis=1)
            of_rows[kind] = hstack([first.multiply(second), abs(first - second), cosine]).tocsr()
    for of_rows in features:
        of_rows["both"] = hstack(list(of_rows.values())).tocsr()
    kind, model = fit_linear(features[0], learnt, seed)
    return np.asarray(model.predict(features[1][kind]))


def compare_vectors(first: Any, second: Any) -> Any:
    """Both vectors, their product, their difference and their cosine, side by side."""
    cosine = (first * second).sum(axis=1, keepdims=True)
    return np.concatenate([first, second, first * second, np.abs(first - second), cosine], axis=1)


@cache
def minilm_vectors(texts: tuple[str, ...]) -> Any:
    """Vectors of length one by MiniLM."""
    from systems.frozen_encoder import load_minilm

    return load_minilm().encode(list(texts), batch_size=64, normalize_embeddings=True)


def model2vec(learnt: Rows, others: list[Pair], seed: int) -> Predicted:
    """A linear model on Model2Vec's vectors of both texts."""
    from systems.static_vectors import load_static

    static = load_static()

    def features(pairs: list[Pair]) -> Any:
        return compare_vectors(*(static.encode(list(texts)) for texts in zip(*pairs, strict=True)))

    _, model = fit_linear({"vectors": features(learnt.pairs)}, learnt, seed)
    return np.asarray(model.predict(features(others)))


def minilm(learnt: Rows, others: list[Pair], seed: int) -> Predicted:
    """The cosine of MiniLM's vectors; for labels, logistic regression on it."""

    def cosines(pairs: list[Pair]) -> Any:
        first, second = (minilm_vectors(texts) for texts in zip(*pairs, strict=True))
        return (first * second).sum(axis=1)

    if learnt.has_scores:
        return np.asarray(cosines(others))
    _, model = fit_linear({"cosine": cosines(learnt.pairs)[:, None]}, learnt, seed)
    return np.asarray(model.predict(cosines(others)[:, None]))


def figure(truth: NDArray[Any], predicted: Predicted, has_scores: bool) -> float:
    """Spearman's correlation of scores, or the accuracy of labels."""
    if has_scores:
        return evaluate_scores(truth, predicted).spearman or 0.0
    return float(np.mean(truth == predicted))


RUN: dict[str, Callable[[Rows, list[Pair], int], Predicted]] = {
    "pair": pair,
    "pair_symmetric": pair_symmetric,
    "pair_no_prior": pair_no_prior,
    "tfidf": tfidf,
    "model2vec": model2vec,
    "minilm": minilm,
}


def main() -> None:
    """Measure each system on each data set."""
    parser = make_parser(__doc__, name="pairs", seeds=[0, 1, 2, 3, 4])
    parser.add_argument("--data", type=comma_list, default=list(TASKS), help="by commas")
    parser.add_argument("--systems", type=comma_list, default=SYSTEMS, help="by commas")
    arguments = parser.parse_args()
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "command": command_line(__file__),
        **describe_origin(n_threads(), BASELINE_PACKAGES),
        "runs": [],
    }
    for name in arguments.data:
        learnt, test = load_rows(name)
        for system in arguments.systems:
            for seed in arguments.seeds if system in SEEDED else arguments.seeds[:1]:
                start = time.process_time()
                predicted = RUN[system](learnt, test.pairs, seed)
                seconds = time.process_time() - start
                value = figure(test.values, predicted, learnt.has_scores)
                run = {"data": name, "system": system, "seed": seed, "rows": len(learnt.pairs)}
                run |= {"test_rows": len(test.pairs), "figure": value, "cpu_seconds": seconds}
                document["runs"].append(run)
                write_document(arguments.results / f"{arguments.name}.json", document)
                print(f"{name}, {system}, seed {seed}: {value:.4f}, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
