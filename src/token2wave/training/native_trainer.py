"""Training of additive networks in the native core, without torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.core import core, n_threads
from token2wave.inference.compiled import native_shape, supports_native
from token2wave.models.wave_config import WaveConfig
from token2wave.training.additive_network import AdditiveNetwork, work_space
from token2wave.training.callbacks import CallbackList
from token2wave.training.divergence import require_finite
from token2wave.training.examples import Examples, ExampleStream
from token2wave.training.recipe import Recipe
from token2wave.training.schedule import document_frequency, n_batches, rate_factor, row_weights

TEXTS_BETWEEN_REPORTS = 8_192
MAX_COUNTED = 1 << 48  # steps, blocks or texts: what the core can take, and nobody trains
ADAM = (0.9, 0.999, 1e-8)  # decay of both moments and epsilon, those of torch.optim.AdamW


def trains_natively(config: WaveConfig, recipe: Recipe, has_cls: bool) -> bool:
    """Whether the native core is there and can train a network by a recipe."""
    return (
        core() is not None
        and config.is_additive
        and not config.linear_svm  # which are found apart
        and supports_native(config)
        and recipe.embedding_optimizer == "sgd"
        and recipe.precision in ("auto", "float32")
        and not has_cls
    )


@dataclass
class StreamPosition:
    """How far a pass over a stream has come.

    Attributes:
        seed: of its order.
        n_blocks: that are done.
        n_texts: in them.
        loss: sum over them.
        n_right: right answers among them.
    """

    seed: int = 0
    n_blocks: int = 0
    n_texts: int = 0
    loss: float = 0.0
    n_right: float = 0.0


class NativeTrainer:
    """Trains an :class:`AdditiveNetwork`; see :class:`token2wave.training.loop.Trainer`.

    Batches, steps and updates are those of the trainer in torch; random numbers differ. Sums are taken in
    an order that does not depend on the number of threads.

    Args:
        network: freshly made.
        train: what to learn from.
        recipe: the settings; :func:`trains_natively` must hold.
        seed: of the order of texts and all dropout.
        warm_start: whether the network has been trained before, and goes on from there.

    Attributes:
        between_blocks: called between the blocks of a stream, when all is whole and can be written down.
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
        native = core()
        if native is None or not trains_natively(network.config, recipe, has_cls=False):
            raise ValueError(f"the native core cannot train {network.config} by {recipe}")
        self.core = native
        self.network, self.train, self.seed = network, train, seed
        self.row_weights = None
        self.rates = np.ones(network.config.n_rows, dtype=np.float32)
        if recipe.embedding_weighting == "idf":
            if isinstance(train, Examples):
                frequency = document_frequency(train.features, network.config.n_rows)
            else:
                frequency = train.frequency
            self.row_weights = row_weights(frequency, len(train), recipe.idf_power)
            # With w = a v, a gradient step on v moves w by a^2 times the gradient at w.
            self.rates = self.row_weights**2
        if not warm_start:
            self._weigh_rows()
        drawn = network.seed is not None and not warm_start  # such a beginning need not be kept
        self.start = None if drawn else (network.embedding.copy(), network.dense.copy())
        self._begin(recipe)
        self.kept: tuple[np.ndarray, np.ndarray] | None = None
        self.n_steps = recipe.epochs * n_batches(len(train), recipe.batch_size)
        self.positive_weights = _or_empty(train.positive_weights)
        self.slots = work_space(network.config.n_rows)

    def _begin(self, recipe: Recipe) -> None:
        """Be ready for the first step from initial weights."""
        self.recipe, self.step = recipe, 0
        self.within = StreamPosition()
        self.random = np.random.default_rng(self.seed)
        self.mean, self.square = np.zeros_like(self.network.dense), np.zeros_like(self.network.dense)

    def _weigh_rows(self) -> None:
        """Begin with rows by their weights."""
        if self.row_weights is not None:
            self.network.embedding *= self.row_weights[:, None]

    def reset(self, recipe: Recipe) -> None:
        """Go back to the weights before the first step, and forget all steps, with another recipe."""
        if self.start is None:
            self.network.draw_again()
            self._weigh_rows()
        else:
            self.network.embedding[...], self.network.dense[...] = self.start
        self._begin(recipe)

    def energy(self) -> float:
        """Sum of the squares of all weights as they are now."""
        flat = self.network.embedding.ravel()
        with np.errstate(over="ignore", invalid="ignore"):
            return float(np.dot(flat, flat)) + float(np.dot(self.network.dense, self.network.dense))

    def keep(self) -> None:
        """Remember the weights as they are now."""
        if self.kept is None:
            self.kept = np.empty_like(self.network.embedding), np.empty_like(self.network.dense)
        np.copyto(self.kept[0], self.network.embedding)  # memory that is there already costs half
        np.copyto(self.kept[1], self.network.dense)

    def restore(self) -> None:
        """Go back to the weights that were kept last."""
        if self.kept is not None:
            self.network.embedding, self.network.dense = self.kept

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Everything that later epochs depend on, as arrays and as plain data."""
        arrays = {"embedding": self.network.embedding, "dense": self.network.dense}
        arrays |= {"mean": self.mean, "square": self.square}
        if self.kept is not None:
            arrays |= {"kept.embedding": self.kept[0], "kept.dense": self.kept[1]}
        values = {"step": self.step, "random": self.random.bit_generator.state}
        return arrays, values | ({"within": asdict(self.within)} if self.within.n_blocks else {})

    def load_state(self, arrays: Mapping[str, NDArray[Any]], values: Mapping[str, Any]) -> None:
        """Go on from where :meth:`state` was taken."""
        if "kept.embedding" in arrays:
            self.kept = np.empty_like(self.network.embedding), np.empty_like(self.network.dense)
            self.kept[0][...], self.kept[1][...] = arrays["kept.embedding"], arrays["kept.dense"]
        self.network.embedding[...], self.network.dense[...] = arrays["embedding"], arrays["dense"]
        self.mean[...], self.square[...] = arrays["mean"], arrays["square"]
        within = StreamPosition(**values.get("within", {}))
        counts = (values["step"], within.n_blocks, within.n_texts)
        if any(type(count) is not int or not 0 <= count < MAX_COUNTED for count in counts):
            raise ValueError(f"expected a number of steps, of blocks and of texts, found {counts}")
        self.step, self.within = values["step"], within
        self.random.bit_generator.state = values["random"]

    def close(self) -> None:
        """Nothing is held."""

    def epoch(self, callback_list: CallbackList) -> tuple[float, float]:
        """Mean loss and accuracy of one pass.

        Raises:
            DivergenceError: the loss stopped being a finite number.
        """
        at_once = n_batches(TEXTS_BETWEEN_REPORTS, self.recipe.batch_size) * self.recipe.batch_size
        sums, n_before, start = self.within, self.within.n_texts, time.perf_counter()
        for examples, order in self._blocks():
            weights = np.ones(len(examples), np.float32) if examples.weights is None else examples.weights
            class_ids = examples.class_ids
            for first in range(0, len(order), at_once):
                part = order[first : first + at_once]
                n_steps = n_batches(len(part), self.recipe.batch_size)
                loss, n_right = self._steps(examples, class_ids, weights, part, n_steps)
                require_finite(loss)
                sums.loss += loss
                sums.n_right += n_right
                sums.n_texts += len(part)
                callback_list.advance(n_steps)
                callback_list.loss(
                    loss / len(part), (sums.n_texts - n_before) / (time.perf_counter() - start)
                )
            sums.n_blocks += 1
            if self.between_blocks is not None and sums.n_texts < len(self.train):
                self.between_blocks()
        self.within = StreamPosition()
        return sums.loss / len(self.train), sums.n_right / len(self.train)

    def _blocks(self) -> Iterator[tuple[Examples, NDArray[np.int64]]]:
        """What is left of a pass, and the order of the texts in each part."""
        if isinstance(self.train, Examples):
            yield self.train, self.random.permutation(len(self.train))
            return
        if not self.within.n_blocks:
            self.within.seed = int(self.random.integers(1 << 62))
        for examples in self.train.blocks(self.within.seed, self.within.n_blocks):
            yield examples, np.arange(len(examples))

    def _steps(
        self,
        examples: Examples,
        class_ids: NDArray[np.int64],
        weights: NDArray[np.float32],
        order: NDArray[np.int64],
        n_steps: int,
    ) -> tuple[float, float]:
        """Sum of losses and number of right answers of some steps."""
        network, recipe, features = self.network, self.recipe, examples.features
        steps = range(self.step, self.step + n_steps)
        factors = np.array([rate_factor(step, self.n_steps, recipe) for step in steps], dtype=np.float32)
        result: tuple[float, float] = self.core.train(
            native_shape(network.config),
            (network.embedding, network.dense, self.mean, self.square, self.slots),
            (
                features.ids,
                features.offsets,
                features.n_ordered,
                class_ids,
                _or_empty(examples.targets),
                order,
            ),
            (
                self.rates,
                factors,
                weights,
                self.positive_weights,
                recipe.embedding_lr,
                network.config.dropout,
                recipe.token_dropout,
                recipe.label_smoothing,
            ),
            (recipe.lr, recipe.weight_decay, *ADAM),
            (recipe.batch_size, self.step, self.seed),
            n_threads(),
        )
        self.step += n_steps
        return result


def _or_empty(values: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """What the native core takes where there are no values."""
    return np.zeros(0, dtype=np.float32) if values is None else np.ascontiguousarray(values, np.float32)
