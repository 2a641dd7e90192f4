"""Trains additive networks in the native core, without torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.core import load_core, n_threads
from token2wave.inference.compiled import native_shape, supports_native
from token2wave.models.wave_config import WaveConfig
from token2wave.training.additive_network import AdditiveNetwork
from token2wave.training.callbacks import CallbackList
from token2wave.training.examples import Examples, ExampleStream
from token2wave.training.recipe import Recipe
from token2wave.training.schedule import document_frequency, n_batches, rate_factor, row_weights
from token2wave.training.trainer import require_finite

TEXTS_BETWEEN_REPORTS = 8_192
MAX_COUNTED = 1 << 48  # steps, blocks or texts: the limit of the core, far beyond any run
ADAM = (0.9, 0.999, 1e-8)  # decay of both moments and epsilon, those of torch.optim.AdamW


def trains_natively(config: WaveConfig, recipe: Recipe, has_cls: bool) -> bool:
    """Whether the native core is built and can train a network by a recipe."""
    return (
        load_core() is not None
        and config.is_additive
        and not config.linear_svm  # which is solved separately
        and supports_native(config)
        and recipe.embedding_optimizer == "sgd"
        and recipe.precision in ("auto", "float32")
        and not has_cls
    )


@dataclass
class StreamPosition:
    """The progress of a pass over a stream: the seed of its order, and sums over the completed blocks."""

    seed: int = 0
    n_blocks: int = 0
    n_texts: int = 0
    loss: float = 0.0
    n_right: float = 0.0


class NativeTrainer:
    """Trains an :class:`AdditiveNetwork`; see :class:`token2wave.training.trainer.Trainer`.

    Batches, steps and updates equal those of the torch trainer; random numbers differ. The order of sums does
    not depend on the number of threads.

    Args:
        network: new, or trained if ``warm_start``.
        train: the examples to learn from.
        recipe: the settings; :func:`trains_natively` must hold.
        seed: of the order of texts and of dropout.
        warm_start: whether to start from the network's trained weights.

    Attributes:
        between_blocks: called between the blocks of a stream, where the state can be saved.
    """

    between_blocks: Callable[[], None] | None = None

    def __init__(
        self,
        network: AdditiveNetwork,
        train: Examples | ExampleStream,
        recipe: Recipe,
        seed: int,
        warm_start: bool = False,
    ) -> None:
        native = load_core()
        if native is None or not trains_natively(network.config, recipe, has_cls=False):
            raise ValueError(f"the native core cannot train {network.config} by {recipe}")
        self.core = native
        self.network, self.train, self.seed = network, train, seed
        self.row_weights = np.ones(network.config.n_rows, dtype=np.float32)
        if recipe.embedding_weighting == "idf":
            if isinstance(train, Examples):
                frequency = document_frequency(train.features, network.config.n_rows)
            else:
                frequency = train.frequency
            self.row_weights = row_weights(frequency, len(train), recipe.idf_power)
        # With w = a v, a gradient step on v moves w by a^2 times the gradient at w.
        self.rates = self.row_weights**2
        if not warm_start:
            network.embedding *= self.row_weights[:, None]
        can_redraw = network.seed is not None and not warm_start  # needs no copy
        self.initial = None if can_redraw else (network.embedding.copy(), network.dense.copy())
        self._begin(recipe)
        self.best: tuple[np.ndarray, np.ndarray] | None = None
        self.n_steps = recipe.epochs * n_batches(len(train), recipe.batch_size)
        self.positive_weights = _or_empty(train.positive_weights)
        self.slots = np.full(network.config.n_rows, -1, dtype=np.int32)  # work space of the core

    def _begin(self, recipe: Recipe) -> None:
        """Prepare the first step from the initial weights."""
        self.recipe, self.step = recipe, 0
        self.position = StreamPosition()
        self.random = np.random.default_rng(self.seed)
        self.mean, self.square = np.zeros_like(self.network.dense), np.zeros_like(self.network.dense)

    def reset(self, recipe: Recipe) -> None:
        """Start again from the initial weights with another recipe."""
        if self.initial is None:
            self.network.draw_again()
            self.network.embedding *= self.row_weights[:, None]
        else:
            self.network.embedding[...], self.network.dense[...] = self.initial
        self._begin(recipe)

    def energy(self) -> float:
        """Sum of the squares of all current weights."""
        flat = self.network.embedding.ravel()
        with np.errstate(over="ignore", invalid="ignore"):
            return float(np.dot(flat, flat)) + float(np.dot(self.network.dense, self.network.dense))

    def snapshot(self) -> None:
        """Copy the current weights: they are the best so far."""
        if self.best is None:
            self.best = np.empty_like(self.network.embedding), np.empty_like(self.network.dense)
        np.copyto(self.best[0], self.network.embedding)  # half the cost of new memory
        np.copyto(self.best[1], self.network.dense)

    def restore_best(self) -> None:
        """Return to the weights of the last snapshot."""
        if self.best is not None:
            self.network.embedding, self.network.dense = self.best

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Everything that later epochs depend on."""
        arrays = {"embedding": self.network.embedding, "dense": self.network.dense}
        arrays |= {"mean": self.mean, "square": self.square}
        if self.best is not None:
            arrays |= {"best.embedding": self.best[0], "best.dense": self.best[1]}
        values = {"step": self.step, "random": self.random.bit_generator.state}
        return arrays, values | ({"position": asdict(self.position)} if self.position.n_blocks else {})

    def load_state(self, arrays: Mapping[str, NDArray[Any]], values: Mapping[str, Any]) -> None:
        """Resume from a :meth:`state`."""
        if "best.embedding" in arrays:
            self.best = np.empty_like(self.network.embedding), np.empty_like(self.network.dense)
            self.best[0][...], self.best[1][...] = arrays["best.embedding"], arrays["best.dense"]
        self.network.embedding[...], self.network.dense[...] = arrays["embedding"], arrays["dense"]
        self.mean[...], self.square[...] = arrays["mean"], arrays["square"]
        position = StreamPosition(**values.get("position", {}))
        counts = values["step"], position.n_blocks, position.n_texts
        if any(type(count) is not int or not 0 <= count < MAX_COUNTED for count in counts):
            raise ValueError(f"expected a number of steps, of blocks and of texts, found {counts}")
        self.step, self.position = values["step"], position
        self.random.bit_generator.state = values["random"]

    def close(self) -> None:
        """Nothing to release."""

    def epoch(self, callback_list: CallbackList) -> tuple[float, float]:
        """Mean loss and accuracy of one pass.

        Raises:
            DivergenceError: the loss stopped being a finite number.
        """
        chunk = n_batches(TEXTS_BETWEEN_REPORTS, self.recipe.batch_size) * self.recipe.batch_size
        sums, n_before, start = self.position, self.position.n_texts, time.perf_counter()
        for examples, order in self._blocks():
            weights = np.ones(len(examples), np.float32) if examples.weights is None else examples.weights
            class_ids = examples.class_ids
            for first in range(0, len(order), chunk):
                rows = order[first : first + chunk]
                n_steps = n_batches(len(rows), self.recipe.batch_size)
                loss, n_right = self._steps(examples, class_ids, weights, rows, n_steps)
                require_finite(loss)
                sums.loss += loss
                sums.n_right += n_right
                sums.n_texts += len(rows)
                callback_list.advance(n_steps)
                texts_per_second = (sums.n_texts - n_before) / (time.perf_counter() - start)
                callback_list.loss(loss / len(rows), texts_per_second)
            sums.n_blocks += 1
            if self.between_blocks is not None and sums.n_texts < len(self.train):
                self.between_blocks()
        self.position = StreamPosition()
        return sums.loss / len(self.train), sums.n_right / len(self.train)

    def _blocks(self) -> Iterator[tuple[Examples, NDArray[np.int64]]]:
        """The remaining blocks of a pass, each with the order of its texts."""
        if isinstance(self.train, Examples):
            yield self.train, self.random.permutation(len(self.train))
            return
        if not self.position.n_blocks:
            self.position.seed = int(self.random.integers(1 << 62))
        for examples in self.train.blocks(self.position.seed, self.position.n_blocks):
            yield examples, np.arange(len(examples))

    def _steps(
        self,
        examples: Examples,
        class_ids: NDArray[np.int64],
        weights: NDArray[np.float32],
        order: NDArray[np.int64],
        n_steps: int,
    ) -> tuple[float, float]:
        """Take some steps; sum of losses and number of right answers."""
        network, recipe, features = self.network, self.recipe, examples.features
        steps = range(self.step, self.step + n_steps)
        factors = np.array([rate_factor(step, self.n_steps, recipe) for step in steps], dtype=np.float32)
        inputs = features.ids, features.offsets, features.n_ordered
        rates, dropout = (self.rates, factors), (network.config.dropout, recipe.token_dropout)
        loss, n_right = self.core.train(
            native_shape(network.config),
            (network.embedding, network.dense, self.mean, self.square, self.slots),
            (*inputs, class_ids, _or_empty(examples.targets), order),
            (*rates, weights, self.positive_weights, recipe.embedding_lr, *dropout, recipe.label_smoothing),
            (recipe.lr, recipe.weight_decay, *ADAM),
            (recipe.batch_size, recipe.context_words, self.step, self.seed),
            n_threads(),
        )
        self.step += n_steps
        return float(loss), float(n_right)


def _or_empty(values: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """An array for the native core, which takes an empty one for None."""
    return np.zeros(0, dtype=np.float32) if values is None else np.ascontiguousarray(values, np.float32)
