"""Whether dimensions of the [CLS] embedding are independent (arXiv 2411.06989), and whether it matters."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import gaussian_kde, spearmanr

from paper.result_store import Result, ResultStore
from paper.study import Document, Drawing, Options, Study, StudyData, Table
from paper.study_figures import SERIES, new_figure, styled
from paper.systems import System, available, encoder_system, train_system, transformer_system, wave_system
from token2wave.formatting import NOTHING, percent
from token2wave.models import TextNetwork
from token2wave.models.encoder_sources import MINILM

if TYPE_CHECKING:
    from token2wave.features import Ragged

BATCH = 32  # the papers'
TRAIN_ROWS, EPOCHS = 12_000, 3
ENCODER_ROWS = 2_400  # an encoder costs thirty times as much
TEST_ROWS = 3_200
WIDTHS = (64, 128, 256, 512, 768)
OPERATIONS = ("interference", "modulation")
RATIOS = {
    "largest_share": "largest eigenvalue over the sum",
    "smallest_over_largest": "smallest over largest eigenvalue",
}
MEASURES = {**RATIOS, "effective_rank": "effective rank"}


def covariance_eigenvalues(states: NDArray[np.floating]) -> NDArray[np.float64]:
    """Eigenvalues of the covariance of ``(N, D)`` states, largest first, ``(min(N - 1, D),)`` float64.

    ``N`` centred states span at most ``N - 1`` dimensions: all other eigenvalues are zero for every network.
    """
    centred = states.astype(np.float64) - states.mean(axis=0, dtype=np.float64)
    values: NDArray[np.float64] = np.linalg.svd(centred, compute_uv=False) ** 2 / (len(states) - 1)
    return values[: min(len(states) - 1, states.shape[1])]


def spread_measures(values: NDArray[np.float64]) -> dict[str, float]:
    """How evenly variance is spread over directions, from the eigenvalues, largest first.

    Returns:
        ``largest_share``, ``lambda_max / sum(lambda)``: 1 if all variance lies in one direction;
        ``smallest_over_largest``, ``lambda_min / lambda_max``: 1 if it is spread evenly; ``effective_rank``,
        ``exp(-sum p log p)`` of ``p = lambda / sum(lambda)`` (Roy and Vetterli 2007): the number of
        directions with the same entropy. Without any variance 1, 0 and 0.
    """
    total = values.sum()
    if not total > 0:
        return {"largest_share": 1.0, "smallest_over_largest": 0.0, "effective_rank": 0.0}
    variances = values / total
    positive = variances[variances > 0]
    return {
        "largest_share": float(variances[0]),
        "smallest_over_largest": float(values[-1] / values[0]),
        "effective_rank": float(np.exp(-(positive * np.log(positive)).sum())),
    }


def text_states(network: TextNetwork, features: Ragged) -> NDArray[np.float32]:
    """Input of the classifier for each text, ``(N, D)`` float32: its [CLS] embedding, without dropout."""
    batches: list[torch.Tensor] = []
    hook = network.head.register_forward_pre_hook(lambda _, inputs: batches.append(inputs[0].cpu()))
    order = np.argsort(features.lengths, kind="stable")  # no network changes the order of sorted texts
    try:
        network.logits(features.take(order))
    finally:
        hook.remove()
    states = np.empty((len(features), network.head.in_features), dtype=np.float32)
    states[order] = torch.cat(batches).float().numpy()
    return states


def measure_states(states: NDArray[np.float32], seed: int) -> dict[str, Any]:
    """Each of :data:`MEASURES` in batches of 32 random texts, a value a batch, and over all texts.

    The eigenvalues depend on the number of texts, so texts that do not fill a batch are left out; fewer than
    32 texts make one batch.
    """
    order = np.random.default_rng(seed).permutation(len(states))
    batches = [order[i * BATCH : (i + 1) * BATCH] for i in range(max(1, len(states) // BATCH))]
    spreads = [spread_measures(covariance_eigenvalues(states[rows])) for rows in batches]
    return {
        "batches": {name: [_round(spread[name]) for spread in spreads] for name in MEASURES},
        "all": spread_measures(covariance_eigenvalues(states)),
    }


def _round(value: float) -> float:
    return float(f"{value:.6g}")


def measure(store: ResultStore, options: Options) -> Document:
    """Train every system and measure the spread of the states of all test texts."""
    quick = options.quick
    n_rows = (600, 64, 320, 1) if quick else (TRAIN_ROWS, ENCODER_ROWS, TEST_ROWS, EPOCHS)
    train_rows, encoder_rows, test_rows, epochs = n_rows
    data, few_rows = options.load(train_rows, test_rows), options.load(encoder_rows, test_rows)
    seeds = options.seeds[:1] if quick else options.seeds
    compared = [*map(wave_system, OPERATIONS), transformer_system(MINILM), transformer_system(None)]
    systems, left_out = available(compared + ([] if quick else [encoder_system(MINILM)]))
    document: Document = {
        "data": data.name,
        "caveats": [*data.texts.caveats, *left_out],
        "train_rows": len(data.train),
        "encoder_rows": len(few_rows.train),
        "test_rows": len(data.test),
        "epochs": epochs,
        "systems": {},
        "widths": [],
    }

    def run(system: System, seed: int, suffix: str = "") -> Result:
        if system.kind == "encoder":
            return _measure_system(store, few_rows, system, seed)
        shorter = replace(system, recipe=system.recipe.replace(epochs=epochs))
        return _measure_system(store, data, shorter, seed, suffix)

    for system in systems:
        one_seed = system.key == "transformer-random" or system.kind == "encoder"  # not the papers' own
        runs = [run(system, seed) for seed in (seeds[:1] if one_seed else seeds)]
        document["systems"][system.key] = {"title": system.title, "runs": runs}
    for operation in OPERATIONS:
        for width in WIDTHS[:2] if quick else WIDTHS:
            system = wave_system(operation, width=width)
            default = system.network == wave_system(operation).network  # its run is in ``systems``
            for seed in seeds:
                result = run(system, seed, "" if default else f"-{width}")
                batches = result["trained"]["batches"]
                row = {"operation": operation, "width": width, "seed": seed}
                row["validation_accuracy"] = result["validation_accuracy"]
                row |= {name: _round(float(np.mean(batches[name]))) for name in MEASURES}
                document["widths"].append(row)
    return document


def _measure_system(
    store: ResultStore, data: StudyData, system: System, seed: int, suffix: str = ""
) -> Result:
    def compute() -> Result:
        encoded = system.encode(data)
        untrained = text_states(system.build(encoded, seed, store.device), encoded.test.features)
        trained = train_system(store, system, encoded, seed)
        return {
            "untrained": measure_states(untrained, seed),
            "trained": measure_states(text_states(trained.network, encoded.test.features), seed),
            "validation_accuracy": trained.best["validation_accuracy"],
            "test_accuracy": trained.best["test_accuracy"],
        }

    settings = {**system.settings(), "data": data.settings, "seed": seed}
    name = f"independence/{data.name}/{system.key}{suffix}-{seed}"
    return store.compute(name, settings, compute, f"independence: {system.title}{suffix}, seed {seed}")


def _correlate(rows: list[dict[str, Any]], name: str) -> float:
    """Spearman's rank correlation of a measure with accuracy; 0 if one of them does not vary."""
    values, accuracies = ([row[key] for row in rows] for key in (name, "validation_accuracy"))
    constant = len(set(values)) == 1 or len(set(accuracies)) == 1
    return 0.0 if constant else float(spearmanr(values, accuracies).statistic)


def _centre_by_width(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Subtract from every measure its mean over the networks of one width."""
    centred = []
    for width in {row["width"] for row in rows}:
        group = [row for row in rows if row["width"] == width]
        keys = (*MEASURES, "validation_accuracy")
        means = {key: math.fsum(row[key] for row in group) / len(group) for key in keys}
        centred += [{key: row[key] - mean for key, mean in means.items()} for row in group]
    return centred


def tables(document: Document) -> list[Table]:
    """Spread of every system, in batches and over the whole test set; and its relation to accuracy."""
    rows = []
    for system in document["systems"].values():
        for weights in ("untrained", "trained"):
            spreads = [run[weights] for run in system["runs"]]
            batches = [np.concatenate([spread["batches"][name] for spread in spreads]) for name in MEASURES]
            over_all = [float(np.mean([spread["all"][name] for spread in spreads])) for name in MEASURES]
            accuracy = percent(float(np.mean([run["test_accuracy"] for run in system["runs"]])))
            cells = [f"{values.mean():.3g} ± {values.std(ddof=1):.2g}" for values in batches]
            cells += [f"{value:.3g}" for value in over_all]
            rows.append([system["title"], weights, *cells, accuracy if weights == "trained" else ""])
    head = [f"{title}, {over}" for over in ("batches", "all texts") for title in MEASURES.values()]
    relation = []
    for operation in OPERATIONS:
        networks = [row for row in document["widths"] if row["operation"] == operation]
        several = len({row["seed"] for row in networks}) > 1
        centred = _centre_by_width(networks)
        for over, group, known in (("all networks", networks, True), ("within a width", centred, several)):
            cells = [f"{_correlate(group, name):+.2f}" if known else NOTHING for name in MEASURES]
            relation.append([operation, over, str(len(networks)), *cells])
    return [
        Table(
            f"Eigenvalues of the covariance of the [CLS] embeddings of {document['test_rows']:,} test "
            f"texts ({document['data']}): in batches of {BATCH} (mean ± standard deviation over batches "
            f"and seeds, of the {BATCH - 1} eigenvalues of {BATCH} texts) and over all texts at once. "
            f"Networks train on {document['train_rows']:,} rows for {document['epochs']} epochs, the "
            f"encoder on {document['encoder_rows']:,} for one, so accuracies are not on an equal footing.",
            ["system", "weights", *head, "test accuracy"],
            rows,
            n_names=2,
        ),
        Table(
            "Spearman's rank correlation with validation accuracy over widths and seeds: of all networks, "
            "and of the rest after each width's mean is subtracted from both.",
            ["operation", "over", "networks", *MEASURES.values()],
            relation,
            n_names=2,
        ),
    ]


def drawings(document: Document) -> dict[str, Drawing]:
    """Kernel density estimates of both ratios, and accuracy against them."""
    with styled():
        figure, axes = new_figure(2, width=3.9, height=3.4)
        for axis, (name, title) in zip(axes, RATIOS.items(), strict=True):
            for i, system in enumerate(document["systems"].values()):
                values = np.concatenate([run["trained"]["batches"][name] for run in system["runs"]])
                if values.std() > 0:
                    margin = 3 * values.std() * len(values) ** -0.2
                    at = np.linspace(max(0.0, values.min() - margin), values.max() + margin, 200)
                    style = {**SERIES[i], "marker": None}
                    axis.plot(at, gaussian_kde(values)(at), label=system["title"], **style)
            axis.set(xlabel=title, ylabel="density", ylim=(0, None))
        axes[1].set(xscale="log", yscale="log", ylabel="density (per unit of the ratio)", ylim=(1e-2, None))
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        relation, panels = new_figure(3, width=3.0, height=3.0, sharey=True)
        for axis, (name, title) in zip(panels, MEASURES.items(), strict=True):
            for i, operation in enumerate(OPERATIONS):
                networks = [row for row in document["widths"] if row["operation"] == operation]
                color, marker = SERIES[i]["color"], SERIES[i]["marker"]
                axis.scatter(
                    [row[name] for row in networks],
                    [100 * row["validation_accuracy"] for row in networks],
                    [10 + row["width"] / 12 for row in networks],
                    marker=marker,
                    edgecolors=color,
                    facecolors="none" if i else color,
                    label=operation,
                )
            axis.set_xlabel(f"{title}\n(mean of the batches)")
        panels[1].set_xscale("log")
        panels[0].set_ylabel("validation accuracy (%)")
        panels[0].legend(loc="best")
    return {
        "independence": Drawing(
            figure,
            f"Spread of variance over the dimensions of the [CLS] embedding, in batches of {BATCH} test "
            f"texts of {document['data']} after training: Gaussian kernel density estimates, Scott's "
            "bandwidth.",
        ),
        "independence-accuracy": Drawing(
            relation,
            "Spread of the [CLS] embedding against accuracy: Wave networks of several widths (larger "
            "markers are wider) and seeds.",
        ),
    }


STUDY = Study(
    "independence",
    "Independence of dimensions",
    "The second paper compares networks by a ratio of the eigenvalues of the covariance of [CLS] "
    "embeddings in batches of 32, and does not define the ratio. Two candidates are shown: the largest "
    "eigenvalue over the sum, which is small where dimensions are independent, and the smallest over the "
    "largest, which is large there. 32 texts span 31 dimensions, so the smallest eigenvalue over all "
    "dimensions is zero for every network; among the 31 it is not. The effective rank is a third measure. "
    "The [CLS] embedding is the input of the classifier.",
    measure,
    tables,
    drawings,
)
