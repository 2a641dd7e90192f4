"""Whether dimensions of the [CLS] embedding are independent (arXiv 2411.06989), and whether it matters."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from paper.result_store import Result, ResultStore
from paper.study import Document, Drawing, Options, Study, Table
from paper.study_figures import SERIES, density, new_figure, styled
from paper.systems import System, available, encoder_system, train_system, transformer_system, wave_system
from token2wave.formatting import NOTHING, percent
from token2wave.models import TextNetwork
from token2wave.models.encoder_sources import MINILM

if TYPE_CHECKING:
    from paper.study_data import StudyData
    from token2wave.features import Ragged

BATCH = 32  # the papers'
TRAIN_ROWS, EPOCHS = 12_000, 3
ENCODER_ROWS = 2_400  # an encoder costs thirty times as much
TEST_ROWS = 3_200
WIDTHS = (64, 128, 256, 512, 768)
RATIOS = {
    "largest_share": "largest eigenvalue over the sum",
    "smallest_over_largest": "smallest over largest eigenvalue",
}
MEASURES = {**RATIOS, "effective_rank": "effective rank"}


def covariance_eigenvalues(states: NDArray[np.floating]) -> NDArray[np.float64]:
    """Eigenvalues of the covariance of states, those that can differ from zero, largest first.

    Args:
        states: ``(N, D)``, at least two.

    Returns:
        ``(min(N - 1, D),)`` float64, not negative: ``N`` centred states span at most ``N - 1`` dimensions,
        so that with the papers' batches of 32 all others are zero whatever the network.
    """
    centred = states.astype(np.float64) - states.mean(axis=0, dtype=np.float64)
    found = np.linalg.svd(centred, compute_uv=False) ** 2 / (len(states) - 1)
    result: NDArray[np.float64] = found[: min(len(states) - 1, states.shape[1])]
    return result


def spread_measures(values: NDArray[np.float64]) -> dict[str, float]:
    """How evenly variance is spread over directions.

    Args:
        values: eigenvalues, largest first (:func:`eigenvalues`).

    Returns:
        ``largest_share``, ``lambda_max / sum(lambda)``: 1 if all variance lies in one direction;
        ``smallest_over_largest``, ``lambda_min / lambda_max`` over the eigenvalues given: 1 if it is spread
        evenly; ``effective_rank``, ``exp(-sum p log p)`` of ``p = lambda / sum(lambda)`` (Roy and Vetterli
        2007): the number of directions that as much spread would fill evenly. Without any variance 1, 0 and
        0.
    """
    total = values.sum()
    if not total > 0:
        return {"largest_share": 1.0, "smallest_over_largest": 0.0, "effective_rank": 0.0}
    shares = values / total
    positive = shares[shares > 0]
    return {
        "largest_share": float(shares[0]),
        "smallest_over_largest": float(values[-1] / values[0]),
        "effective_rank": float(np.exp(-(positive * np.log(positive)).sum())),
    }


def text_states(network: TextNetwork, features: Ragged) -> NDArray[np.float32]:
    """What the classifier gets of each text, ``(N, D)`` float32: its [CLS] embedding, without dropout.

    Args:
        network: any of the studies' networks.
        features: of ``N`` texts.
    """
    found: list[torch.Tensor] = []
    hook = network.head.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].cpu()))
    order = np.argsort(features.lengths, kind="stable")
    try:
        network.logits(features.take(order))  # sorted already, so that no network changes the order
    finally:
        hook.remove()
    result = np.empty((len(features), network.head.in_features), dtype=np.float32)
    result[order] = torch.cat(found).float().numpy()
    return result


def measure_states(states: NDArray[np.float32], seed: int) -> dict[str, Any]:
    """Spread in batches of 32 random texts, and over all texts.

    Texts that do not fill a batch are left out of the batches, since the eigenvalues depend on how many there
    are; fewer than 32 texts make one batch.

    Returns:
        ``batches``: a list for each of :data:`MEASURES`, a value a batch; ``all``: one value each.
    """
    order = np.random.default_rng(seed).permutation(len(states))
    whole = max(1, len(states) // BATCH)
    batches = [order[number * BATCH : (number + 1) * BATCH] for number in range(whole)]
    spreads = [spread_measures(covariance_eigenvalues(states[some])) for some in batches]
    return {
        "batches": {name: [_rounded(one[name]) for one in spreads] for name in MEASURES},
        "all": spread_measures(covariance_eigenvalues(states)),
    }


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def measure(store: ResultStore, options: Options) -> Document:
    """Train, take the states of all test texts, and measure their spread.

    Returns:
        ``systems``: key to ``title``, ``width`` and ``runs`` (``untrained``, ``trained``, ``test_accuracy``
        and ``validation_accuracy`` of each seed); ``widths``: a list of ``operation``, ``width``, ``seed``,
        ``validation_accuracy`` and the ratios of trained networks.
    """
    quick = options.quick
    data = options.load(train_rows=600 if quick else TRAIN_ROWS, test_rows=320 if quick else TEST_ROWS)
    few = options.load(train_rows=64 if quick else ENCODER_ROWS, test_rows=320 if quick else TEST_ROWS)
    epochs = 1 if quick else EPOCHS
    rivals, left_out = available([transformer_system(MINILM), transformer_system(None)])
    encoders, missing = available([encoder_system(MINILM)])
    seeds = options.seeds[:1] if quick else options.seeds
    document: Document = {
        "data": data.name,
        "caveats": [*data.texts.caveats, *left_out, *missing],
        "train_rows": len(data.train),
        "encoder_rows": len(few.train),
        "test_rows": len(data.test),
        "epochs": epochs,
        "systems": {},
        "widths": [],
    }
    for system in (
        wave_system("interference"),
        wave_system("modulation"),
        *rivals,
    ):
        shorter = replace(system, recipe=system.recipe.replace(epochs=epochs))
        some = seeds[:1] if system.key == "transformer-random" else seeds  # not the papers' own
        runs = [_one(store, data, shorter, seed) for seed in some]
        document["systems"][system.key] = {"title": system.title, "runs": runs}
    for encoder in encoders:
        runs = [_one(store, few, encoder, seeds[0])]
        document["systems"][encoder.key] = {"title": encoder.title, "runs": runs}
    for operation in ("interference", "modulation"):
        for width in WIDTHS[:2] if quick else WIDTHS:
            system = wave_system(operation, width=width)
            shorter = replace(system, recipe=system.recipe.replace(epochs=epochs))
            for seed in seeds:
                usual = system.network == wave_system(operation).network  # has been trained above
                run = _one(store, data, shorter, seed, "" if usual else f"-{width}")
                row = {"operation": operation, "width": width, "seed": seed}
                row["validation_accuracy"] = run["validation_accuracy"]
                document["widths"].append({**row, **{name: _mean(run, name) for name in MEASURES}})
    return document


def _mean(run: dict[str, Any], name: str) -> float:
    return _rounded(float(np.mean(run["trained"]["batches"][name])))


def _one(store: ResultStore, data: StudyData, system: System, seed: int, suffix: str = "") -> Result:
    def compute() -> Result:
        store.callback_list.stage(f"independence: {system.title}{suffix}, seed {seed}", 0)
        cut = system.data(data)
        untrained = text_states(system.build(cut, seed, store.device), cut.test.features)
        trained = train_system(
            system, cut, seed, device=store.device, callbacks=store.callbacks, test_every_epoch=True
        )
        best = trained.history.best
        assert best is not None
        return {
            "untrained": measure_states(untrained, seed),
            "trained": measure_states(text_states(trained.network, cut.test.features), seed),
            "validation_accuracy": best.validation_accuracy,
            "test_accuracy": trained.test_accuracy[best.epoch - 1],
        }

    settings = {**system.settings(), "data": data.settings, "seed": seed}
    return store.compute(f"independence/{data.name}/{system.key}{suffix}-{seed}", settings, compute)


def rank_correlation(x: list[float], y: list[float]) -> float:
    """Spearman's rank correlation; ties get their mean rank; 0 where one side does not vary."""

    def ranks(values: list[float]) -> NDArray[np.float64]:
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        mean_rank = np.cumsum(counts) - (counts - 1) / 2
        result: NDArray[np.float64] = mean_rank[inverse]
        return result

    first, second = ranks(x), ranks(y)
    if first.std() == 0 or second.std() == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def tables(document: Document) -> list[Table]:
    """Spread of every system, in batches and over the whole test set; and its relation to accuracy."""
    rows = []
    for system in document["systems"].values():
        for when in ("untrained", "trained"):
            runs = system["runs"]
            batches = {
                name: np.concatenate([run[when]["batches"][name] for run in runs]) for name in MEASURES
            }
            cells = [f"{batches[name].mean():.3g} ± {batches[name].std(ddof=1):.2g}" for name in MEASURES]
            full_train = [float(np.mean([run[when]["all"][name] for run in runs])) for name in MEASURES]
            accuracy = percent(float(np.mean([run["test_accuracy"] for run in runs])))
            rows.append(
                [
                    system["title"],
                    when,
                    *cells,
                    *(f"{value:.3g}" for value in full_train),
                    accuracy if when == "trained" else "",
                ]
            )
    head = ["system", "weights", *(f"{title}, batches" for title in MEASURES.values())]
    head += [*(f"{title}, all texts" for title in MEASURES.values()), "test accuracy"]
    caption = (
        f"Eigenvalues of the covariance of the [CLS] embeddings of {document['test_rows']:,} test texts "
        f"({document['data']}): in batches of {BATCH} (mean ± standard deviation over batches and seeds, of "
        f"the {BATCH - 1} eigenvalues that {BATCH} texts can have) and over all texts at once. Networks "
        f"learnt from {document['train_rows']:,} rows in {document['epochs']} epochs, the encoder from "
        f"{document['encoder_rows']:,} in one: accuracies are not on an equal footing."
    )
    relation = []
    for operation in ("interference", "modulation"):
        found = [row for row in document["widths"] if row["operation"] == operation]
        accuracy_of = [row["validation_accuracy"] for row in found]
        correlations = [rank_correlation([row[name] for row in found], accuracy_of) for name in MEASURES]
        within = [_within_widths(found, name) for name in MEASURES]
        relation.append(
            [operation, "all networks", str(len(found)), *(f"{one:+.2f}" for one in correlations)]
        )
        several = len({row["seed"] for row in found}) > 1
        cells = [f"{one:+.2f}" if several else NOTHING for one in within]
        relation.append([operation, "within a width", str(len(found)), *cells])
    caption_of_relation = (
        "Spearman's rank correlation with validation accuracy over widths and seeds: of all networks, and of "
        "what is left when each width's mean is taken away from both."
    )
    return [
        Table(caption, head, rows, n_names=2),
        Table(
            caption_of_relation, ["operation", "over", "networks", *MEASURES.values()], relation, n_names=2
        ),
    ]


def _within_widths(rows: list[dict[str, Any]], name: str) -> float:
    left: dict[str, list[float]] = {name: [], "validation_accuracy": []}
    for width in {row["width"] for row in rows}:
        same = [row for row in rows if row["width"] == width]
        for key, values in left.items():
            mean = math.fsum(row[key] for row in same) / len(same)
            values += [row[key] - mean for row in same]
    return rank_correlation(left[name], left["validation_accuracy"])


def drawings(document: Document) -> dict[str, Drawing]:
    """Kernel density estimates of both ratios, and accuracy against them."""
    with styled():
        figure, axes = new_figure(2, width=3.9, height=3.4)
        for axis, (name, title) in zip(axes, RATIOS.items(), strict=True):
            for i, system in enumerate(document["systems"].values()):
                runs = system["runs"]
                found = np.concatenate([run["trained"]["batches"][name] for run in runs])
                if found.std() == 0:
                    continue
                margin = 3 * found.std() * len(found) ** -0.2
                at = np.linspace(max(0.0, found.min() - margin), found.max() + margin, 200)
                style = {**SERIES[i], "marker": None}
                axis.plot(at, density(found, at), label=system["title"], **style)
            axis.set(xlabel=title, ylabel="density", ylim=(0, None))
        axes[1].set_xscale("log")
        axes[1].set_ylabel("density (per unit of the ratio)")
        axes[1].set_yscale("log")
        axes[1].set_ylim(1e-2, None)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        relation, panels = new_figure(3, width=3.0, height=3.0, sharey=True)
        for axis, (name, title) in zip(panels, MEASURES.items(), strict=True):
            for i, operation in enumerate(("interference", "modulation")):
                found_rows = [row for row in document["widths"] if row["operation"] == operation]
                axis.scatter(
                    [row[name] for row in found_rows],
                    [100 * row["validation_accuracy"] for row in found_rows],
                    s=[10 + row["width"] / 12 for row in found_rows],
                    facecolors="none" if i else SERIES[i]["color"],
                    edgecolors=SERIES[i]["color"],
                    marker=SERIES[i]["marker"],
                    label=operation,
                )
            axis.set_xlabel(f"{title}\n(mean of the batches)")
        panels[1].set_xscale("log")
        panels[0].set_ylabel("validation accuracy (%)")
        panels[0].legend(loc="best")
    first = Drawing(
        figure,
        f"How variance is spread over the dimensions of the [CLS] embedding, in batches of {BATCH} test "
        f"texts of {document['data']} after training: Gaussian kernel density estimates, Scott's bandwidth.",
    )
    second = Drawing(
        relation,
        "Spread of the [CLS] embedding against accuracy: Wave networks of several widths (larger markers are "
        "wider) and seeds.",
    )
    return {"independence": first, "independence-accuracy": second}


STUDY = Study(
    "independence",
    "Independence of dimensions",
    "The second paper compares networks by a ratio of the eigenvalues of the covariance of [CLS] embeddings "
    "in batches of 32, and does not define the ratio. Two candidates are shown: the largest eigenvalue over "
    "the sum, which is small where dimensions are independent, and the smallest over the largest, which is "
    "large there. 32 texts span 31 dimensions, so that the smallest eigenvalue over all dimensions is zero "
    "for every network; of the 31 it is not. The effective rank stands beside them. The [CLS] embedding is "
    "what the classifier gets.",
    measure,
    tables,
    drawings,
)
