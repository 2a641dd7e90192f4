"""What networks can learn to see in a text: generated tasks with a known answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from paper.result_store import NotFinishedError, Result, ResultStore
from paper.studies.probe_drawings import drawings
from paper.studies.probe_networks import (
    DATA_SEED,
    GROWN,
    GUESSED,
    HEADS,
    RADIUS,
    RECIPE,
    SOLVED,
    SYSTEMS,
    WIDTH,
    Stage,
    TaskSplits,
    blind_to_order,
    build,
    make_splits,
    train_growing,
    train_on,
)
from paper.studies.probe_tables import SOLVES, tables
from paper.studies.probe_tasks import (
    Task,
    counting,
    decided_by_neighbours,
    distance,
    long_range,
    negation,
    order,
    presence,
)
from paper.studies.probes_claims import judge
from paper.study import Document, Options, Study
from paper.systems import System

GROWING: dict[str, Callable[[int], Task]] = {"distance": distance, "long-range": long_range}
"""Tasks of several lengths, by the beginning of their keys."""
STAGES = (
    *(Stage(length, (4_000, 400, 1_000), 8, 64, 3e-3) for length in (16, 32)),
    *(Stage(length, (4_000, 400, 1_000), 8, 32, 3e-3) for length in (64, 128)),
    Stage(256, (3_000, 200, 1_000), 8, 16, 3e-3),
    Stage(512, (2_000, 200, 1_000), 8, 16, 3e-3),
    Stage(1024, (1_000, 200, 600), 8, 8, 3e-3),
    Stage(2048, (600, 200, 400), 8, 4, 3e-3),
    Stage(4096, (300, 200, 400), 8, 4, 3e-3),
)
"""Budgets of the lengths. Long texts are fewer, and their batches smaller: on validation texts of one seed
that made up for most of what fewer texts cost."""
BLIND_LENGTHS = (16, 64)
"""Lengths at which networks run that are blind to order: they are right on half of the texts at every one."""
LONGEST = {
    "wave-two-layers-positions": {"distance": 64, "long-range": 64},
    "wave-context": {"distance": 256, "long-range": 64},
}
"""Longest texts of systems that cost several times as much as one wave layer, or see nothing beyond."""


@dataclass(frozen=True)
class Effort:
    """The budget of a network.

    Attributes:
        rows: texts for training, validation and test of the tasks of one length.
        epochs: at most, of these.
        rates: learning rates of these, of which validation texts choose.
        stages: of the tasks of several lengths.
    """

    rows: tuple[int, int, int] = (8_000, 2_000, 2_000)
    epochs: int = 8
    rates: tuple[float, ...] = (1e-3, 3e-3)
    stages: tuple[Stage, ...] = STAGES


QUICK = Effort(
    (600, 200, 200), 2, (3e-3,), tuple(Stage(length, (600, 200, 200), 2, 64, 3e-3) for length in (16, 32))
)


def plain_tasks() -> list[Task]:
    """The tasks of one length, in the order of the report."""
    return [presence(), counting(), order(), negation()]


def stages_of(system: System, name: str, stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """The stages that a system takes at a task of several lengths.

    A network that is blind to order has one epoch with the texts of the lengths that it runs at.
    """
    if blind_to_order(system):
        return tuple(replace(stage, epochs=1) for stage in stages if stage.length in BLIND_LENGTHS)
    longest = LONGEST.get(system.key, {}).get(name)
    return tuple(stage for stage in stages if longest is None or stage.length <= longest)


def measure(store: ResultStore, options: Options) -> Document:
    """Train every system on every task.

    Returns:
        Settings; ``tasks``, ``systems``; ``results``, one for each task and system, with ``runs`` (one a
        seed), among them ``right``, the answers to the test texts; ``unfinished``, those that lack some run.
    """
    effort = QUICK if options.quick else Effort()
    seeds = options.seeds[:1] if options.quick else options.seeds
    results, unfinished = [], []
    for task in plain_tasks():
        splits = make_splits(task, effort.rows)
        for system in SYSTEMS:
            try:
                results.append(_measure_plain(store, task, splits, system, effort, seeds))
            except NotFinishedError:
                unfinished.append(f"{task.key} of {system.key}")
    for name in GROWING:
        for system in SYSTEMS:
            try:
                results += _measure_growing(store, name, system, effort, seeds)
            except NotFinishedError:
                unfinished.append(f"{name} of {system.key}")
    if not results:
        raise NotFinishedError("probes")
    undecided = ~decided_by_neighbours(make_splits(order(), effort.rows).test, RADIUS)
    systems = []
    for system in SYSTEMS:
        parameters = build(system, 0).parameter_count().total
        entry = {"key": system.key, "title": system.title, "blind": blind_to_order(system)}
        systems.append({**entry, "parameters": parameters})
    return {
        "seeds": list(seeds),
        "rates": list(effort.rates),
        "solved": SOLVED,
        "radius": RADIUS,
        "tasks": _describe_tasks(effort),
        "systems": systems,
        "results": results,
        "unfinished": unfinished,
        "context_ceiling": {"order": float(1 - undecided.mean() / 2)},  # half of the undecided are right
    }


def _describe_tasks(effort: Effort) -> list[dict[str, Any]]:
    plain = {"rows": list(effort.rows), "epochs": effort.epochs, "batch_size": RECIPE.batch_size}
    budgets = [(task, plain) for task in plain_tasks()]
    for make_task in GROWING.values():
        budgets += [(make_task(stage.length), stage.settings()) for stage in effort.stages]
    names = ("key", "title", "question", "bag_of_words", "length")
    return [{**budget, **{name: getattr(task, name) for name in names}} for task, budget in budgets]


def _measure_plain(
    store: ResultStore, task: Task, splits: TaskSplits, system: System, effort: Effort, seeds: Sequence[int]
) -> dict[str, Any]:
    """Choose the learning rate by validation with the first seed, then train with every seed."""
    hopeless = blind_to_order(system) and task.bag_of_words == 0.5
    epochs = 1 if hopeless else effort.epochs
    rates = effort.rates[-1:] if hopeless else effort.rates

    def run(rate: float, seed: int) -> Result:
        recipe = RECIPE.replace(epochs=epochs, lr=rate, embedding_lr=rate)
        settings = {
            "system": {**system.settings(), "recipe": recipe.to_dict()},
            "texts": {**task.settings(), "rows": list(effort.rows), "seed": DATA_SEED},
            "solved": SOLVED,
            "seed": seed,
        }
        name, stage = f"probes/{task.key}/{system.key}-{rate:g}-{seed}", f"{task.title}: {system.title}"
        return store.compute(name, settings, lambda: train_on(system, splits, recipe, seed, store), stage)

    first = {rate: run(rate, seeds[0]) for rate in rates}
    best = max(rates, key=lambda rate: (first[rate]["validation_accuracy"], -first[rate]["validation_loss"]))
    runs = [first[best], *(run(best, seed) for seed in seeds[1:])]
    return {"task": task.key, "system": system.key, "rate": best, "runs": runs}


def _measure_growing(
    store: ResultStore, name: str, system: System, effort: Effort, seeds: Sequence[int]
) -> list[dict[str, Any]]:
    """Train with every seed on texts that grow; a result for each length."""
    stages, make_task = stages_of(system, name, effort.stages), GROWING[name]

    def run(seed: int) -> list[Result]:
        texts = [{**make_task(stage.length).settings(), **stage.settings()} for stage in stages]
        settings = {
            "system": {**system.settings(), "recipe": RECIPE.to_dict()},
            "texts": {"stages": texts, "seed": DATA_SEED},
            "solved": GROWN,
            "guessed": GUESSED,
            "seed": seed,
        }

        def compute() -> Result:
            return {"lengths": train_growing(system, make_task, stages, seed, store)}

        title = f"{make_task(stages[0].length).title} and more: {system.title}"
        return list(store.compute(f"probes/{name}/{system.key}-{seed}", settings, compute, title)["lengths"])

    runs = [run(seed) for seed in seeds]
    return [
        {
            "task": make_task(stage.length).key,
            "system": system.key,
            "rate": stage.rate,
            "runs": [lengths[number] for lengths in runs],
        }
        for number, stage in enumerate(stages)
    ]


ABOUT = (
    "Which relations between tokens can a network represent, and which does it learn on a small budget? "
    "Each generated task has one known structure among meaningless filler tokens. `presence`: does A "
    "occur? `counting`: does A occur more often than B? `order`: does A come before B? `negation`: a text "
    "has one positive token, one negative token and a negator directly before one of them that flips its "
    "sign; is the text positive overall? `distance`: is the first token A, with B later at random, or the "
    "reverse? `long-range`: does A come before B, with half of the text between them on average and never "
    "less than a quarter? Every text has a twin of the other class in the same split. At `order`, "
    "`negation`, `distance` and `long-range` the twin swaps A and B, so both have the same bag of words, "
    "and every bag-of-words classifier is right on exactly half of the texts. A wave network of one layer "
    "without positions is such a classifier: [CLS] sees the text through sums of squares over its tokens, "
    "which do not depend on their order. The same holds for attention without positions. These networks "
    "train for one epoch there, and run at two of the lengths. Positions change that in a single layer: "
    "(w + p)² = w² + 2wp + p², and the middle term tells where a token stands. The context branch compares a "
    "token with its neighbours. At `distance` it finds the answer next to [CLS] at every length; at `order` "
    "and `long-range` it can only succeed where A and B, or one of them and an end of the text, are at most "
    f"{2 * RADIUS} positions apart, which at `long-range` never happens from {BLIND_LENGTHS[-1]} tokens on. "
    f"Networks have {WIDTH} dimensions, the context branch sees {RADIUS} neighbours on each side, and the "
    f"Transformer has one layer with {HEADS} heads and, where stated, learned positions; wave networks have "
    "sinusoidal ones, which differ at any two of 4,097 places. Only the [CLS] state of the Transformer's "
    "layer is computed, so its cost grows with the length and not with its square, and it runs at every "
    "length, too. There is no dropout and no weight decay. Tasks of one length follow one rule: the first "
    "seed tries two learning rates and validation accuracy picks one; training ends after "
    f"{Effort().epochs} epochs, or after the first epoch with {100 * SOLVED:g} % of the validation texts "
    "right. At `distance` and `long-range` one network goes through all lengths, from short to long, and "
    "each stage starts from the weights of the one before, with the same learning rate. From random weights "
    "it does not learn texts of 1,024 tokens on such a budget: what a single token changes in the energy "
    "of a text stays the same, and the chance of the fillers grows with their number. A stage ends after "
    f"the first epoch with {100 * GROWN:g} % of its validation texts right. After a stage with less than "
    f"{100 * GUESSED:g} % of them right the network answers longer texts without training. Two wave layers "
    "and the context branch cost several times as much, and are left out of the longest texts. A verdict "
    f"says whether a network is right on more than {SOLVES} % of the texts, by an interval over seeds and "
    "texts. A low accuracy means that the network did not learn the relation on this budget, not that no "
    "weights could express it: weights set by hand tell A before B in one layer at every length."
)


STUDY = Study("probes", "What the networks can see: generated tasks", ABOUT, measure, tables, drawings, judge)
