"""The networks of the study of generated tasks, and their training: on one length, or on growing ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, cast

from paper.result_store import Result, ResultStore, resolve_device
from paper.statistics import pack_answers
from paper.studies.probe_tasks import N_ROWS, Task
from paper.systems import System, build_network
from token2wave.models import TextNetwork, WaveConfig
from token2wave.training.callbacks import Callback, Epoch
from token2wave.training.examples import Examples
from token2wave.training.loop import fit
from token2wave.training.presets import preset_named
from token2wave.training.recipe import Recipe
from token2wave.training.validation import validate

WIDTH, HEADS, FEED_FORWARD, RADIUS = 32, 4, 128, 3
SOLVED = 0.999  # of the validation texts
GROWN = 0.99  # of the validation texts of one of several lengths, which are fewer
GUESSED = 0.6  # of the validation texts; below, longer texts are not trained on
MAX_LENGTH = 4096
DATA_SEED = 20241104  # the same texts for every network; seeds are those of networks
RECIPE = Recipe(batch_size=64, weight_decay=0.0, precision="float32")


def _wave(key: str, title: str, operation: str, **settings: Any) -> System:
    network = {**preset_named("paper").network, "width": WIDTH, "dropout": 0.0, "operation": operation}
    return System(key, title, "wave", network | settings)


def _transformer(key: str, title: str, positions: str) -> System:
    shape = {"width": WIDTH, "heads": HEADS, "feed_forward": FEED_FORWARD, "dropout": 0.0}
    return System(
        key, title, "transformer", shape | {"positions": positions, "max_positions": MAX_LENGTH + 1}
    )


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
    """Whether the network's answer does not depend on the order of the tokens after [CLS]."""
    if system.kind == "wave":
        return not WaveConfig.from_dict({**system.network, "n_rows": N_ROWS, "n_classes": 2}).uses_order
    return bool(system.network["positions"] == "none")


def build(system: System, seed: int, device: str = "cpu") -> TextNetwork:
    """Make a network for the tasks, with initial weights that depend on the seed alone."""
    network = build_network(system.kind, {**system.network, "n_rows": N_ROWS, "n_classes": 2}, seed)
    return cast("TextNetwork", network.to(resolve_device(device)))


class TaskSplits(NamedTuple):
    """Texts of a task."""

    train: Examples
    validation: Examples
    test: Examples


def make_splits(task: Task, rows: Sequence[int]) -> TaskSplits:
    """Generate training, validation and test texts, each split from its own seed."""
    return TaskSplits(*(task.texts(n_texts, (DATA_SEED, split)) for split, n_texts in enumerate(rows)))


class _Solved(Exception):  # noqa: N818 - no error
    """Nothing is left to learn."""


class _StopWhenSolved(Callback):
    """Ends training after the epoch that solves the validation texts, with the weights of that epoch."""

    def __init__(self, solved: float) -> None:
        self.solved, self.n_epochs = solved, 0

    def on_epoch(self, epoch: Epoch) -> None:
        self.n_epochs += 1
        assert epoch.validation_accuracy is not None
        if epoch.validation_accuracy >= self.solved:
            raise _Solved


def train_on(system: System, splits: TaskSplits, recipe: Recipe, seed: int, store: ResultStore) -> Result:
    """Figures of the best epoch's weights; training ends when the validation texts are solved."""
    return _train(build(system, seed, store.device), splits, recipe, seed, store, SOLVED)


def _train(
    network: TextNetwork,
    splits: TaskSplits,
    recipe: Recipe,
    seed: int,
    store: ResultStore,
    solved: float,
    warm_start: bool = False,
) -> Result:
    """Train in place, and answer the test texts, which choose nothing."""
    stopper = _StopWhenSolved(solved)
    options: Any = {"seed": seed, "has_cls": True, "warm_start": warm_start}
    with suppress(_Solved):
        callbacks = [*store.callbacks, stopper]
        fit(network, splits.train, splits.validation, recipe, callbacks=callbacks, **options)
    return _answer(network, splits, stopper.n_epochs)


def _answer(network: TextNetwork, splits: TaskSplits, n_epochs: int) -> Result:
    loss, accuracy, *_ = validate(network, splits.validation)
    right = network.logits(splits.test.features).argmax(axis=1) == splits.test.labels
    return {
        "test_accuracy": float(right.mean()),
        "right": pack_answers(right),
        "validation_accuracy": accuracy,
        "validation_loss": loss,
        "epochs": n_epochs,
    }


@dataclass(frozen=True)
class Stage:
    """Training on texts of one length, from the weights that the stage before has left.

    Attributes:
        rows: texts for training, validation and test.
        epochs: at most.
        rate: the learning rate at its peak.
    """

    length: int
    rows: tuple[int, int, int]
    epochs: int
    batch_size: int
    rate: float

    def settings(self) -> dict[str, Any]:
        """All of it, as plain JSON data."""
        return {**asdict(self), "rows": list(self.rows)}


def train_growing(
    system: System,
    make_task: Callable[[int], Task],
    stages: Sequence[Stage],
    seed: int,
    store: ResultStore,
) -> list[Result]:
    """Train one network on ever longer texts, and answer the test texts of each length after its stage.

    After a stage that leaves less than `GUESSED` of its validation texts right there is nothing to build on:
    longer texts are answered without training, with 0 ``epochs``.
    """
    network, results = build(system, seed, store.device), list[Result]()
    for stage in stages:
        splits = make_splits(make_task(stage.length), stage.rows)
        if results and results[-1]["validation_accuracy"] < GUESSED:
            results.append(_answer(network, splits, 0))
            continue
        recipe = RECIPE.replace(
            epochs=stage.epochs, batch_size=stage.batch_size, lr=stage.rate, embedding_lr=stage.rate
        )
        results.append(_train(network, splits, recipe, seed, store, GROWN, warm_start=bool(results)))
    return results
