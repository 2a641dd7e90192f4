"""Two texts: similarity, paraphrase and entailment, by waves, by their real twins and by a Transformer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from paper.correlation import pack_ranks, pack_scores, spearman_values, unpack_scores
from paper.pair_data import PairRows, PairTask, load_task, make_tasks
from paper.pair_network import best_epoch, count_parameters, figure_of, train_pairs
from paper.pair_systems import DROPOUT, EPOCHS, NETWORKS, START_SCALE, WIDTH, PairSystem, make_systems
from paper.result_store import NotFinishedError, Result, ResultStore
from paper.statistics import pack_answers
from paper.studies.pair_tables import drawings, tables
from paper.studies.pairs_claims import judge
from paper.study import Document, Options, Study
from token2wave.errors import DataError, MissingExtraError, import_extra
from token2wave.metrics import macro_f1_of

SETS = {
    "mrpc": ("mrpc", False),
    "rte": ("rte", False),
    "qqp": ("qqp_part", False),
    "sick": ("sick", False),
    "sick-score": ("sick", True),
    "stsb": ("stsb", True),
}
"""Data set of each task, and whether its target is a score."""
QUICK_ROWS, QUICK_TEST_ROWS, QUICK_EPOCHS, QUICK_WIDTH = 600, 300, 2, 16


def measure(store: ResultStore, options: Options) -> Document:
    """Train every network on every task with each seed.

    Returns:
        Settings; ``tasks``, each with its ``baselines`` and, by network, ``runs`` (one a seed), among them
        ``right`` or ``ranks`` of the test pairs; ``left_out``, sentences; ``unfinished``, what lacks a run.
    """
    quick = options.quick
    seeds = options.seeds[:2] if quick else options.seeds
    width, epochs = (QUICK_WIDTH, QUICK_EPOCHS) if quick else (WIDTH, EPOCHS)
    tasks, left_out = _load_tasks(options)
    measured, unfinished = [], []
    for task in tasks:
        runs: Document = {}
        for system in make_systems(width, epochs):
            try:
                results = [_train(store, task, system, seed) for seed in seeds]
            except NotFinishedError:
                unfinished.append(f"{system.key} on {task.key}")
                continue
            for result in results:
                if task.has_scores:
                    result["ranks"] = pack_ranks(unpack_scores(result.pop("scores")))
            runs[system.key] = [{"seed": seed, **result} for seed, result in zip(seeds, results, strict=True)]
        if runs:
            baselines = {"constant": _constant(task)}
            try:
                baselines["tfidf"] = _tfidf(task)
            except MissingExtraError as error:
                left_out.append(f"TF-IDF on {task.key} is left out: {error}.")
            measured.append({**_describe(task), "baselines": baselines, "runs": runs})
    if tasks and not measured:
        raise NotFinishedError("pairs")
    return {
        "epochs": epochs,
        "width": width,
        "seeds": list(seeds),
        "tasks": measured,
        "left_out": left_out,
        "unfinished": unfinished,
    }


def _load_tasks(options: Options) -> tuple[list[PairTask], list[str]]:
    """Tasks that can be read, and why others are left out; of a miniature, tasks from its own texts."""
    if options.quick:
        return make_tasks(options.load(QUICK_ROWS, QUICK_TEST_ROWS)), []
    tasks, reasons = [], []
    for key, (data, scores) in SETS.items():
        try:
            tasks.append(load_task(key, data, scores=scores))
        except DataError as error:
            reasons.append(f"{key} is left out: {error}.")
    return tasks, reasons


def _describe(task: PairTask) -> Document:
    """What tables need of a task; ranks of the true scores if there are some."""
    document: Document = {"key": task.key, "data": task.data, "rows": task.settings["rows"]}
    document |= {"scores": task.has_scores, "caveats": list(task.caveats)}
    return document | ({"truth": pack_ranks(task.test.truth)} if task.has_scores else {})


def _train(store: ResultStore, task: PairTask, system: PairSystem, seed: int) -> Result:
    """Train a network, and answer the test pairs with the weights of its best epoch by validation."""

    def compute() -> Result:
        network, recipe = system.build(task, seed), system.system.recipe
        epochs = train_pairs(network, task, recipe, seed, store.callback_list, store.device)
        best = best_epoch(epochs)
        outputs = network.predict(task.test)
        result = {"best_epoch": best, "validation": epochs[best - 1]["figure"], "epochs": epochs}
        result |= {"test": figure_of(task, task.test, outputs), **count_parameters(network)}
        if task.has_scores:
            scores = outputs[:, 0]
            return result | {"pearson": _pearson(task.test.truth, scores), "scores": pack_scores(scores)}
        answers = outputs.argmax(axis=1)
        result |= _figures_of_classes(task, answers)
        return result | {"right": pack_answers(answers == task.test.truth)}

    settings = {"system": system.system.settings(), "ablation": system.ablation, "dropout": DROPOUT}
    settings |= {"task": task.settings, "seed": seed}
    stage = f"pairs: {task.key}, {NETWORKS[system.key]}, seed {seed}"
    return store.compute(f"pairs/{task.key}/{system.key}-{seed}", settings, compute, stage)


def _constant(task: PairTask) -> dict[str, float]:
    """Figures of the most frequent training class, or of equal scores."""
    if task.has_scores:
        return {"test": 0.0, "pearson": 0.0}
    return _figures_of_classes(task, np.full(len(task.test), np.bincount(task.train.truth).argmax()))


def _tfidf(task: PairTask) -> dict[str, float]:
    """Figures of the cosine of both texts' TF-IDF vectors.

    A score is the cosine itself. A class follows from the cosine by a logistic regression on the training
    pairs with the default settings of scikit-learn, which also gives the vectors.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    with import_extra("sklearn", "the baseline"):
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

    train, test = task.train, task.test
    vectoriser = TfidfVectorizer().fit([*train.first, *train.second])

    def cosines(rows: PairRows) -> NDArray[np.float64]:
        first, second = (vectoriser.transform(texts) for texts in (rows.first, rows.second))
        return np.asarray(first.multiply(second).sum(axis=1)).ravel()

    if task.has_scores:
        of_test = cosines(test)
        spearman = float(spearman_values(test.truth, of_test).mean())
        return {"test": spearman, "pearson": _pearson(test.truth, of_test)}
    model = LogisticRegression().fit(cosines(train)[:, None], train.truth)
    return _figures_of_classes(task, model.predict(cosines(test)[:, None]))


def _figures_of_classes(task: PairTask, answers: NDArray[np.int64]) -> dict[str, float]:
    truth = task.test.truth
    f1 = macro_f1_of(truth, answers, len(task.label_names))
    return {"test": float((answers == truth).mean()), "macro_f1": f1}


def _pearson(truth: NDArray[Any], predicted: NDArray[Any]) -> float:
    """Linear correlation; 0 where one of the two does not vary."""
    x, y = (values - values.mean(dtype=np.float64) for values in (truth, predicted))
    scale = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / scale) if scale > 0 else 0.0


STUDY = Study(
    "pairs",
    "Two texts",
    "Do waves carry fine-grained semantics, such as similarity and entailment, better than real numbers and "
    "than a Transformer of one layer? The papers leave that open. One encoder turns each text of a pair by "
    "itself into its state, and a linear head sees both states, their absolute difference and their product "
    "(Conneau et al. 2017, arXiv 1705.02364). Real twins have the parameters and the initial weights of "
    "the wave network and no complex numbers; their "
    "result does not depend on an operation. The Transformer has 4 heads, a feed-forward map of four "
    "times the width, and about four times as many parameters beside the embedding. It is read out at [CLS], "
    "as the papers do, or as the mean over its tokens, because a wave at [CLS] has a sum over all "
    "tokens in it, and a Transformer at [CLS] must learn to collect them. All networks start from the same "
    f"token embeddings of a seed, drawn from N(0, {START_SCALE}²), and have the same head and the same "
    f"dropout of {DROPOUT} before it and none elsewhere. They see the same batches and follow the recipe of "
    f"preset paper with {EPOCHS} epochs and without token dropout, which would take away the one word that "
    "makes a difference. Texts are cut at 128 tokens. Nothing is tuned for a network or a set. Classes are "
    "judged by accuracy, scores by Spearman's correlation, and figures of several sets by their mean, as "
    "GLUE does. Sets without a validation set give a fifth of their training pairs. QNLI, which GLUE has as "
    "well, is not among the data sets at hand. Pretrained token embeddings are not tried. Test pairs choose "
    "nothing.",
    measure,
    tables,
    drawings,
    judge,
)
