"""The two sides of ``benchmarks/paper_step.py``, each made to train a step at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from padded_network import PaddedWaveNetwork, copy_weights, dense_adamw, token_lists, training_step
from torch import Tensor

from token2wave.data import encode_labels, label_names_of, load_splits
from token2wave.models import Batch, WaveConfig, WaveNetwork
from token2wave.training.batches import training_batches
from token2wave.training.callbacks import CallbackList
from token2wave.training.examples import Examples
from token2wave.training.optim import Optimizers
from token2wave.training.preparation import features_for
from token2wave.training.presets import preset_named
from token2wave.training.recipe import Recipe
from token2wave.training.schedule import n_batches, rate_factor
from token2wave.training.torch_trainer import TorchTrainer

OPTIMIZERS = {
    "rows": "the preset's own: rows of the embedding that a step does not use stay as they are",
    "dense": "torch.optim.AdamW with dense gradients for the embedding, as the reference has",
}
"""How our network's rows can be updated: ``rows`` is what users have, ``dense`` is what the
reference does, up to rounding."""


@dataclass(frozen=True)
class Setting:
    """What both sides train, from the same start.

    Attributes:
        examples: the texts as WordPiece ids, with their classes.
        network: shape.
        recipe: settings of training.
        seed: of initial weights, order and dropout.
        caveats: sentences on the data.
    """

    examples: Examples
    network: WaveConfig
    recipe: Recipe
    seed: int
    caveats: tuple[str, ...]

    def in_float32(self) -> Setting:
        """The same without bfloat16."""
        return replace(self, recipe=self.recipe.replace(precision="float32"))

    def without_dropout(self) -> Setting:
        """The same in float32 and without randomness in a step."""
        plain = self.in_float32()
        recipe = plain.recipe.replace(token_dropout=0.0, label_smoothing=0.0)
        return replace(plain, network=plain.network.replace(dropout=0.0), recipe=recipe)

    @property
    def n_steps(self) -> int:
        """Steps of the whole run that the schedule of the rates is made for."""
        return self.recipe.epochs * n_batches(len(self.examples), self.recipe.batch_size)

    def initial(self) -> WaveNetwork:
        """Network with the initial weights that the seed gives."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return WaveNetwork(self.network)


def setting_of(data: str, rows: int | None, width: int | None, operation: str | None, seed: int) -> Setting:
    """Preset ``paper`` on the training rows of a data set, a random part of them if need be."""
    overrides = {"network.width": width, "network.operation": operation}
    preset = preset_named("paper").with_settings({k: v for k, v in overrides.items() if v is not None})
    splits = load_splits(data)
    names = label_names_of(splits.train, splits.label_names)
    chosen = np.random.default_rng(seed).permutation(len(splits.train))[:rows]
    texts = [splits.train.texts[row] for row in chosen]
    features, ids = features_for(texts, preset, None, splits.train.source)
    examples = Examples(ids, encode_labels(splits.train, names)[chosen])
    network = preset.network_config(features.n_rows, len(names), features.sentence_ends)
    return Setting(examples, network, preset.recipe, seed, splits.caveats)


class Step(NamedTuple):
    """What a step gave: the loss before it, and the classes of its texts."""

    loss: float
    labels: list[int]


class Trainer(Protocol):
    """Trains a step at a time, epoch after epoch."""

    def step(self) -> Step:
        """Train on the next batch."""
        ...


class Ours:
    """The package's network, batches and optimisers, in float32.

    Args:
        setting: what to train.
        optimizer: a key of ``OPTIMIZERS``.
    """

    def __init__(self, setting: Setting, optimizer: str = "rows") -> None:
        self.setting = setting
        self.network = setting.initial().train()
        recipe = setting.recipe
        self.optimizer: Optimizers | DenseOptimizer
        if optimizer == "dense":
            self.network.embedding.sparse = False
            self.optimizer = DenseOptimizer(self.network, setting)
        else:
            self.optimizer = Optimizers(self.network, recipe, setting.n_steps)
        self.batches = self._batches()
        torch.manual_seed(setting.seed)

    def step(self) -> Step:
        """Train on the next batch, as the package's loop does."""
        batch, labels = next(self.batches)
        loss = F.cross_entropy(
            self.network(batch), labels, label_smoothing=self.setting.recipe.label_smoothing
        )
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return Step(float(loss.detach()), labels.tolist())

    def _batches(self) -> Iterator[tuple[Batch, Tensor]]:
        random = np.random.default_rng(self.setting.seed)
        while True:
            for batch, labels, *_ in training_batches(
                self.setting.examples,
                self.setting.recipe.batch_size,
                random=random,
                token_dropout=self.setting.recipe.token_dropout,
                sentence_ends=self.setting.network.sentence_ends,
                has_cls=True,
            ):
                yield batch, labels


def seconds_of_epoch(setting: Setting, steps: int) -> float:
    """Wall time of so many steps of the package's own trainer, as the setting has it, whatever its precision.

    A pass before it, over a few texts, is not counted.
    """
    batch_size = setting.recipe.batch_size
    network = setting.initial()
    for n_steps in (2, steps):
        rows = np.arange(min(n_steps * batch_size, len(setting.examples)))
        trainer = TorchTrainer(
            network, setting.examples.take(rows), setting.recipe, setting.seed, has_cls=True
        )
        start = time.perf_counter()
        trainer.epoch(CallbackList([]))
        seconds = time.perf_counter() - start
        trainer.close()
    return seconds


class PaddedReference:
    """The padded network under dense AdamW.

    Args:
        setting: what to train.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        shape = setting.network
        self.network = PaddedWaveNetwork(
            shape.n_rows, shape.n_classes, shape.width, shape.operation, shape.dropout
        )
        copy_weights(setting.initial(), self.network)
        self.optimizer = DenseOptimizer(self.network, setting)
        self.texts = token_lists(setting.examples.features)
        self.labels = torch.from_numpy(setting.examples.labels)
        self.batches = self._batches()
        torch.manual_seed(setting.seed)

    def step(self) -> Step:
        """Train on the next batch."""
        texts, labels = next(self.batches)
        loss = training_step(self.network, self.optimizer, texts, labels)
        return Step(float(loss), labels.tolist())

    def _batches(self) -> Iterator[tuple[list[Tensor], Tensor]]:
        """The same texts as the package's batches; the same order without token dropout."""
        random = np.random.default_rng(self.setting.seed)
        dropped = self.setting.recipe.token_dropout
        while True:
            order = torch.from_numpy(random.permutation(len(self.labels)))
            for chosen in torch.split(order, self.setting.recipe.batch_size):
                texts = [self.texts[row] for row in chosen]
                if dropped > 0:
                    texts = [torch.cat([text[:1], _some(text[1:], dropped)]) for text in texts]
                yield texts, self.labels[chosen]


class DenseOptimizer:
    """Dense AdamW with the rates and the schedule of the recipe.

    Args:
        network: with an ``embedding`` whose gradients are dense.
        setting: for its recipe.
    """

    def __init__(self, network: WaveNetwork | PaddedWaveNetwork, setting: Setting) -> None:
        recipe = setting.recipe
        self.adamw = dense_adamw(
            network,
            network.embedding,
            recipe.lr,
            recipe.weight_decay,
            recipe.embedding_lr,
            recipe.embedding_epsilon,
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.adamw, lambda step: rate_factor(step, setting.n_steps, recipe)
        )

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.adamw.zero_grad()

    def step(self) -> None:
        """Update all parameters, then set the rates of the next step."""
        self.adamw.step()
        self.schedule.step()


def _some(tokens: Tensor, dropped: float) -> Tensor:
    """Leave tokens out at random."""
    return tokens[torch.rand(len(tokens)) >= dropped]
