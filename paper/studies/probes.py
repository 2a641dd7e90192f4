"""What the networks can see in a text: generated tasks whose answer is known."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

import torch

from paper.result_store import Result, ResultStore, resolve_device
from paper.rivals.transformer import TransformerConfig, TransformerNetwork
from paper.studies.probe_report import drawings, tables
from paper.studies.probe_tasks import (
    N_ROWS,
    Task,
    counting,
    distance,
    long_range,
    negation,
    order,
    presence,
    told_by_neighbours,
)
from paper.study import Document, Options, Study
from paper.systems import System
from token2wave.models import TextNetwork, WaveConfig, WaveNetwork
from token2wave.training.callbacks import Callback, Epoch
from token2wave.training.examples import Examples
from token2wave.training.loop import fit
from token2wave.training.presets import preset_named
from token2wave.training.recipe import Recipe
from token2wave.training.validation import validate

WIDTH, HEADS, FEED_FORWARD, RADIUS = 32, 4, 128, 3
SOLVED = 0.999  # of the validation texts: what could still be gained is less than a text in a thousand
DATA_SEED = 20241104  # the same texts for every network, so that seeds are those of networks alone
RECIPE = Recipe(batch_size=64, weight_decay=0.0, precision="float32")


@dataclass(frozen=True)
class Effort:
    """How much is spent on a network.

    Attributes:
        rows: texts for training, validation and test.
        long_rows: the same for the tasks ``distance`` and ``long-range``, whose texts are longer.
        epochs: at most; fewer where the validation texts are solved.
        rates: learning rates that are tried with the first seed.
        lengths: of the texts of the tasks ``distance`` and ``long-range``.
    """

    rows: tuple[int, int, int] = (8_000, 2_000, 2_000)
    long_rows: tuple[int, int, int] = (4_000, 2_000, 2_000)
    epochs: int = 8
    rates: tuple[float, ...] = (1e-3, 3e-3)
    lengths: tuple[int, ...] = (16, 32, 64, 128)

    def rows_of(self, task: Task) -> tuple[int, int, int]:
        """Texts of a task for training, validation and test."""
        return self.rows if task.length is None else self.long_rows

    def tasks(self) -> list[Task]:
        """The tasks, in the order of the report."""
        plain = [presence(), counting(), order(), negation()]
        long = [make(length) for make in (distance, long_range) for length in self.lengths]
        return plain + long


QUICK = Effort((2_000, 500, 500), (2_000, 500, 500), epochs=2, rates=(3e-3,), lengths=(16, 64))


def _wave(key: str, title: str, operation: str, **settings: Any) -> System:
    network = {**preset_named("paper").network, "width": WIDTH, "dropout": 0.0, "operation": operation}
    return System(key, title, "wave", network | settings)


def _transformer(key: str, title: str, positions: str) -> System:
    shape = {"width": WIDTH, "heads": HEADS, "feed_forward": FEED_FORWARD, "dropout": 0.0}
    return System(key, title, "transformer", shape | {"positions": positions})


# Sinusoids have amplitude 1; of 0.1, 0.3, 1 and 3 for the tokens, 0.3 is among the best on validation texts.
PLACED = {"positions": "sinusoidal", "embedding_scale": 0.3}
CONTEXT = {"context_width": WIDTH, "context_radius": RADIUS, "embedding_scale": 1.0}
SYSTEMS = (
    _wave("wave-modulation", "Wave, modulation", "modulation"),
    _wave("wave-interference", "Wave, interference", "interference"),
    _transformer("transformer", "Transformer", "none"),
    _wave("wave-modulation-positions", "Wave, modulation, positions", "modulation", **PLACED),
    _wave("wave-interference-positions", "Wave, interference, positions", "interference", **PLACED),
    _wave("wave-two-layers-positions", "Wave, 2 layers, positions", "modulation", layers=2, **PLACED),
    _wave("wave-context", "Wave, context branch", "modulation", **CONTEXT),
    _transformer("transformer-positions", "Transformer, positions", "learned"),
)


def blind_to_order(system: System) -> bool:
    """Whether the order of the tokens behind [CLS] makes no difference to the network's answer."""
    if system.kind == "wave":
        return not WaveConfig.from_dict({**system.network, "n_rows": N_ROWS, "n_classes": 2}).uses_order
    return bool(system.network["positions"] == "none")


def build(system: System, seed: int, device: str = "cpu") -> TextNetwork:
    """Make a network for the tasks, with initial weights that depend on the seed alone."""
    settings = {**system.network, "n_rows": N_ROWS, "n_classes": 2}
    network: Any
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if system.kind == "wave":
            network = WaveNetwork(WaveConfig.from_dict(settings))
        else:
            network = TransformerNetwork(TransformerConfig.from_dict(settings))
    return cast("TextNetwork", network.to(resolve_device(device)))


class _Solved(Exception):  # noqa: N818 - no error
    """Nothing is left to learn."""


class _StopWhenSolved(Callback):
    """Ends training after the epoch that solves the validation texts; the weights are those of that epoch."""

    def __init__(self) -> None:
        self.epochs: list[Epoch] = []

    def on_epoch(self, epoch: Epoch) -> None:
        self.epochs.append(epoch)
        assert epoch.validation_accuracy is not None
        if epoch.validation_accuracy >= SOLVED:
            raise _Solved


@dataclass(frozen=True)
class Parts:
    """Texts of a task that networks learn from, are chosen by, and are reported on."""

    train: Examples
    validation: Examples
    test: Examples


def parts_of(task: Task, rows: Sequence[int]) -> Parts:
    """Make so many texts for training, validation and test, each from its own seed."""
    return Parts(*(task.texts(n_texts, (DATA_SEED, part)) for part, n_texts in enumerate(rows)))


def train_on(
    system: System, parts: Parts, recipe: Recipe, seed: int, device: str, callbacks: Sequence[Callback] = ()
) -> Result:
    """Train a network on a task until the validation texts are solved, or the epochs are over.

    Returns:
        ``test_accuracy``, ``validation_accuracy`` and ``validation_loss`` of the best epoch's weights, and
        ``epochs``, how many were trained.
    """
    network = build(system, seed, device)
    watch = _StopWhenSolved()
    told = [*callbacks, watch]
    with suppress(_Solved):
        fit(network, parts.train, parts.validation, recipe, seed=seed, has_cls=True, callbacks=told)
    loss, accuracy, *_ = validate(network, parts.validation)
    return {
        "test_accuracy": validate(network, parts.test)[1],
        "validation_accuracy": accuracy,
        "validation_loss": loss,
        "epochs": len(watch.epochs),
    }


def measure(store: ResultStore, options: Options) -> Document:
    """Train every system on every task."""
    effort = QUICK if options.quick else Effort()
    seeds = options.seeds[:1] if options.quick else options.seeds
    tasks, results = effort.tasks(), []
    for number, task in enumerate(tasks, start=1):
        parts = parts_of(task, effort.rows_of(task))
        for system in SYSTEMS:
            store.callback_list.stage(f"{task.title} ({number} of {len(tasks)}): {system.title}", 0)
            results.append(_measure_system(store, task, parts, system, effort, seeds))
    ordered = parts_of(order(), effort.rows).test
    return {
        "epochs": effort.epochs,
        "rates": list(effort.rates),
        "seeds": list(seeds),
        "solved": SOLVED,
        "radius": RADIUS,
        "tasks": [
            {
                "key": task.key,
                "title": task.title,
                "question": task.question,
                "bag_of_words": task.bag_of_words,
                "length": task.length,
                "rows": list(effort.rows_of(task)),
            }
            for task in tasks
        ],
        "systems": [
            {
                "key": system.key,
                "title": system.title,
                "blind": blind_to_order(system),
                "parameters": build(system, 0).parameter_count().total,
            }
            for system in SYSTEMS
        ],
        "results": results,
        # Where neighbours tell nothing, half of the answers are right in the long run.
        "context_ceiling": {"order": float(1 - (~told_by_neighbours(ordered, RADIUS)).mean() / 2)},
    }


def _measure_system(
    store: ResultStore, task: Task, parts: Parts, system: System, effort: Effort, seeds: Sequence[int]
) -> dict[str, Any]:
    hopeless = blind_to_order(system) and task.bag_of_words == 0.5
    epochs = 1 if hopeless else effort.epochs
    rates = effort.rates[-1:] if hopeless else effort.rates

    def run(rate: float, seed: int) -> Result:
        recipe = RECIPE.replace(epochs=epochs, lr=rate, embedding_lr=rate)
        settings = {
            "system": {**system.settings(), "recipe": recipe.to_dict()},
            "texts": {**task.settings(), "rows": list(effort.rows_of(task)), "seed": DATA_SEED},
            "solved": SOLVED,
            "seed": seed,
        }
        return store.compute(
            f"probes/{task.key}/{system.key}-{rate:g}-{seed}",
            settings,
            lambda: train_on(system, parts, recipe, seed, store.device, store.callbacks),
        )

    first = {rate: run(rate, seeds[0]) for rate in rates}
    chosen = max(
        rates, key=lambda rate: (first[rate]["validation_accuracy"], -first[rate]["validation_loss"])
    )
    runs = [first[chosen], *(run(chosen, seed) for seed in seeds[1:])]
    return {"task": task.key, "system": system.key, "rate": chosen, "runs": runs}


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
    "train for one epoch there. Positions change that in a single layer: (w + p)² = w² + 2wp + p², and "
    "the middle term tells where a token stands. The context branch compares a token with its neighbours. "
    "At `distance` it finds the answer next to [CLS] at every length; at `order` and `long-range` it can "
    f"only succeed where A and B, or one of them and an end of the text, are at most {2 * RADIUS} "
    f"positions apart. Networks have {WIDTH} dimensions, the context branch sees {RADIUS} neighbours on "
    f"each side, and the Transformer has one layer with {HEADS} heads and, where stated, learned "
    "positions; wave networks have sinusoidal ones. All systems follow one rule: the first seed tries two "
    "learning rates and validation accuracy picks one. There is no dropout and no weight decay. Training "
    f"ends after {Effort().epochs} epochs, or after the first epoch with {100 * SOLVED:g} % of the "
    "validation texts right. A low accuracy means that the network did not learn the relation on this "
    "budget, not that no weights could express it."
)

STUDY = Study(
    name="probes",
    title="What the networks can see: generated tasks",
    about=ABOUT,
    measure=measure,
    tables=tables,
    drawings=drawings,
)
