"""How the time of a whole training step grows with the rows of the embedding."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from growth_data import ABOUT_LENGTHS, ABOUT_ZIPF, MEDIAN_TOKENS, VocabularyBatches
from growth_measure import MEMORY_LIMIT, Curve, page_faults
from growth_plan import Plan, VocabularyNetwork
from growth_studies import N_CLASSES, make_study
from numpy.typing import NDArray
from torch import nn

from paper.studies.timing import without_collector
from token2wave.core import load_core
from token2wave.features.ragged import Ragged, concatenate
from token2wave.inference.reference import EMBEDDING
from token2wave.models import WaveConfig, WaveNetwork, make_batch
from token2wave.training.additive_network import AdditiveNetwork
from token2wave.training.examples import Examples
from token2wave.training.loop import fit
from token2wave.training.optim import Optimizers
from token2wave.training.recipe import Recipe

TEXTS = 64
ROW_ADAM, ROW_SGD, DENSE, NATIVE = "row Adam", "row SGD", "dense AdamW", "row SGD, native core"
TABLES = {ROW_ADAM: 3, ROW_SGD: 1, DENSE: 4, NATIVE: 1}  # the embedding, moments, dense gradient
STEPS_OF_A_RUN = 1_000_000  # for the schedule
TIMINGS = 3  # of each table that is made
SHORTEST = 0.1  # seconds of a timing
UNUSED = 1e-3  # numbers in rows that no batch uses
WORTH_COLLECTING = 16 << 20
DENSE_WARM_UP = 1  # steps; every step touches every row

Steps = Callable[[int], float]
"""Makes so many steps and gives their seconds."""


def vocabulary_study(plan: Plan, seed: int) -> dict[str, Any]:
    """Time of a step against the rows of the embedding, for each optimiser."""
    curves: list[Curve] = []
    with without_collector():
        for shape in plan.vocabulary_networks:
            optimizers = [name for name in shape.optimizers if name != NATIVE or load_core() is not None]
            panel = f"width {shape.width}, read-out {shape.readout}"
            own = {name: Curve(name, panel, facts={"width": shape.width}) for name in optimizers}
            curves += own.values()
            has_cls, n_batches, n_ranks = (
                shape.readout == "cls",
                plan.vocabulary_batches,
                plan.vocabulary_ranks,
            )
            batches = VocabularyBatches.draw(seed, n_batches, TEXTS, MEDIAN_TOKENS, n_ranks, has_cls=has_cls)
            for run in range(min(plan.runs, plan.vocabulary_runs)):
                for n_rows in plan.vocabularies if run % 2 == 0 else plan.vocabularies[::-1]:
                    for name, curve in own.items():
                        _measure(curve, name, shape, n_rows, batches, seed)
    setting = [
        f"A step is forward pass, backward pass and both optimisers, on {TEXTS} texts, {ABOUT_LENGTHS} "
        f"{MEDIAN_TOKENS} features. Width 768 with Adam would need 28 GB at 3 million rows.",
        f"Every size has the same {plan.vocabulary_batches} batches: {plan.vocabulary_ranks:,} Zipf ranks "
        f"({ABOUT_ZIPF}), whose rows lie at random places of the table. So each step uses the same number of "
        "distinct rows at every size, and computes the same numbers.",
        f"Table and moments are made anew up to {plan.vocabulary_runs} times and timed {TIMINGS} times each, "
        "after a pass over all batches that touches every row: no page of memory is used for the first time "
        "then (page_faults counts them).",
        f"'{DENSE}' is torch.optim.AdamW with a dense gradient, fused. '{NATIVE}' is what the presets for "
        "everyday use train with; its rows hold both variants, 2 D numbers.",
    ]
    return make_study("Vocabulary", "rows of the embedding", setting, curves, plan.vocabulary_range)


def _measure(
    curve: Curve, name: str, shape: VocabularyNetwork, n_rows: int, batches: VocabularyBatches, seed: int
) -> None:
    """Make one table and add its timings to a curve, or the reason why there are none."""
    table_bytes = 4 * n_rows * row_width(name, shape)
    if TABLES[name] * table_bytes > MEMORY_LIMIT:
        reason = f"needs {TABLES[name] * table_bytes / 2**30:.0f} GiB, over the limit of {MEMORY_LIMIT >> 30}"
        if curve.stopped is None or n_rows < curve.stopped["size"]:
            curve.stopped = {"size": n_rows, "reason": reason}
        return
    if table_bytes > WORTH_COLLECTING:  # schedules and optimisers hold each other, and the last table
        gc.collect()
    rows = batches.rows_of_ranks(n_rows, seed)
    features = batches.in_table(rows)
    steps = (native_steps if name == NATIVE else torch_steps)(name, shape, n_rows, rows, features, seed)
    warm_up = DENSE_WARM_UP if name == DENSE else len(features)
    steps(warm_up)
    expected = steps(warm_up) / warm_up
    passes = 1 if name == DENSE else len(features)
    n_steps = passes * max(1, round(SHORTEST / expected / passes))
    faults = page_faults()
    point = curve.point(n_rows)
    point.values += [steps(n_steps) / n_steps for _ in range(TIMINGS)]
    point.facts |= {
        "distinct": float(np.mean([len(np.unique(batch.ids)) for batch in features])),
        "table_bytes": table_bytes,
        "with_optimiser_bytes": TABLES[name] * table_bytes,
    }
    if faults is not None:
        point.facts["page_faults"] = round(((page_faults() or 0) - faults) / n_steps / TIMINGS, 1)


def row_width(name: str, shape: VocabularyNetwork) -> int:
    """Numbers in a row of the embedding."""
    return 2 * shape.width if name == NATIVE else shape.width


def network_config(name: str, shape: VocabularyNetwork, n_rows: int) -> WaveConfig:
    """Shape of the network: interference where the text is read out, as in the presets, else modulation."""
    return WaveConfig(
        n_rows=n_rows,
        n_classes=N_CLASSES,
        width=shape.width,
        operation="interference" if shape.readout == "text" else "modulation",
        variants="rows" if name == NATIVE else "linear",
        readout=shape.readout,
        dropout=0.0,
    )


def used_rows(n_used: int, width: int, scale: float, seed: int) -> NDArray[np.float32]:
    """First values of the rows that batches use, the same whatever the table's number of rows, ``(R, D)``."""
    return scale * np.random.default_rng(seed).standard_normal((n_used, width), dtype=np.float32)


def torch_steps(
    name: str,
    shape: VocabularyNetwork,
    n_rows: int,
    rows: NDArray[np.int32],
    features: list[Ragged],
    seed: int,
    losses: list[float] | None = None,
) -> Steps:
    """Steps of a network in torch with the optimiser of a name.

    Batches, whose ``features`` are by row, use ``(R,)`` ``rows`` of ``n_rows``; ``losses`` gets every loss.
    """
    config = network_config(name, shape, 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = WaveNetwork(config)
    # Random numbers for millions of rows that no batch uses would take longer than the measurement.
    table = torch.full((n_rows, shape.width), UNUSED)
    used = used_rows(len(rows), shape.width, config.embedding_scale, seed)
    table[torch.from_numpy(rows).long()] = torch.from_numpy(used)
    network.embedding = nn.Embedding(n_rows, shape.width, _weight=table, sparse=name != DENSE)
    optimizers: Optimizers | torch.optim.AdamW
    if name == DENSE:
        optimizers = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    else:
        recipe = Recipe(embedding_optimizer="adam" if name == ROW_ADAM else "sgd", decay="constant")
        optimizers = Optimizers(network, recipe, STEPS_OF_A_RUN)
    batches = list(map(make_batch, features))
    labels = torch.arange(batches[0].n_texts) % N_CLASSES

    def steps(n_steps: int) -> float:
        start = time.perf_counter()
        for step in range(n_steps):
            loss = F.cross_entropy(network(batches[step % len(batches)]), labels)
            optimizers.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizers.step()
            if losses is not None:
                losses.append(float(loss.detach()))
        return time.perf_counter() - start

    return steps


def native_steps(
    name: str,
    shape: VocabularyNetwork,
    n_rows: int,
    rows: NDArray[np.int32],
    features: list[Ragged],
    seed: int,
) -> Steps:
    """Steps of an additive network in the native core, through the project's loop; see `torch_steps`."""
    few = network_config(name, shape, 1)
    arrays = AdditiveNetwork.initial(few, seed).arrays()
    table = np.full((n_rows, row_width(name, shape)), UNUSED, dtype=np.float32)
    table[rows] = used_rows(len(rows), table.shape[1], few.embedding_scale, seed)
    arrays[EMBEDDING] = table
    network = AdditiveNetwork(few.replace(n_rows=n_rows), arrays)
    full_train = concatenate(features)
    examples = Examples(full_train, np.arange(len(full_train)) % N_CLASSES)

    def steps(n_steps: int) -> float:
        recipe = Recipe(
            epochs=n_steps // len(features), batch_size=TEXTS, embedding_optimizer="sgd", decay="constant"
        )
        history = fit(network, examples, None, recipe, seed=seed, has_cls=False)
        return n_steps * TEXTS / history.texts_per_second

    return steps
