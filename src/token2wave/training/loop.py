"""The training loop: epochs, validation, and which weights to keep. Trainers do the steps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from token2wave.errors import ConfigError
from token2wave.features import Ragged
from token2wave.training.examples import Examples
from token2wave.training.progress import Callback, Epoch, History, Teller
from token2wave.training.recipe import Recipe
from token2wave.training.schedule import n_batches

if TYPE_CHECKING:
    from token2wave.models import TextNetwork


class Trainable(Protocol):
    """What the loop itself asks of a network; trainers ask more."""

    def logits(self, features: Ragged) -> NDArray[np.float32]:
        """Compute the logits of ``N`` texts, ``(N, C)`` float32."""


class Trainer(Protocol):
    """Takes the steps of a run, for one kind of network."""

    def epoch(self, tell: Teller) -> tuple[float, float]:
        """Go once through the training texts; mean loss and accuracy on the way.

        Raises:
            ConfigError: the loss stopped being a finite number.
        """

    def keep(self) -> None:
        """Remember the weights as they are now."""

    def restore(self) -> None:
        """Go back to the weights that were kept last."""

    def close(self) -> None:
        """Be done with training."""


def fit(
    network: Trainable,
    train: Examples,
    validation: Examples | None,
    recipe: Recipe,
    *,
    seed: int,
    has_cls: bool,
    callbacks: Sequence[Callback] = (),
) -> History:
    """Train a network in place; it ends with the weights of its best epoch by validation accuracy.

    Without validation texts it ends with the weights of its last epoch.

    The same arguments give the same weights bit for bit on one machine; a network in torch with the same
    threads, an additive network with any number of them.

    Args:
        network: freshly made; it is trained where it lies.
        train: what to learn from.
        validation: what to choose the epoch by, if there is something.
        recipe: the settings.
        seed: of the order of texts and all dropout.
        has_cls: whether a text's first feature is [CLS].
        callbacks: told how it goes.

    Raises:
        ConfigError: the loss stopped being a finite number.
    """
    history = History()
    start, step_seconds, texts_seen = time.perf_counter(), 0.0, 0
    tell = Teller(callbacks)
    n_steps = recipe.epochs * n_batches(len(train), recipe.batch_size)
    tell.stage("training" if validation is not None else "training on all rows", n_steps)
    trainer = _trainer(network, train, recipe, seed, has_cls)
    try:
        for number in range(1, recipe.epochs + 1):
            epoch_start = time.perf_counter()
            loss, accuracy = trainer.epoch(tell)
            step_seconds += time.perf_counter() - epoch_start
            texts_seen += len(train)
            # The last step may still have broken the weights, which a few training texts would show.
            checked = train.take(np.arange(min(len(train), 64))) if validation is None else validation
            validated = validate(network, checked)
            require_finite(validated[0])
            epoch = Epoch(number, loss, accuracy, *((None, None) if validation is None else validated))
            history.epochs.append(epoch)
            tell.epoch(epoch)
            if history.best is None or _rank(epoch) > _rank(history.best):
                history.best = epoch
                if validation is not None and number < recipe.epochs:
                    trainer.keep()
            if recipe.patience and number - history.best.epoch >= recipe.patience:
                break
        if history.best is not history.epochs[-1]:
            trainer.restore()
    finally:
        trainer.close()
    history.train_seconds = time.perf_counter() - start
    history.texts_per_second = texts_seen / step_seconds
    return history


def validate(network: Trainable, examples: Examples) -> tuple[float, float]:
    """Mean cross-entropy and accuracy."""
    logits = network.logits(examples.features).astype(np.float64)
    shifted = logits - logits.max(axis=1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(examples)), examples.labels]
    right = logits.argmax(axis=1) == examples.labels
    return float(losses.mean()), float(right.mean())


def require_finite(loss: float) -> None:
    """Stop a run that has diverged.

    Raises:
        ConfigError: the loss is no finite number.
    """
    if not np.isfinite(loss):
        raise ConfigError(
            "the loss stopped being a finite number",
            where="learning_rate",
            cure="choose a smaller learning rate",
        )


def _rank(epoch: Epoch) -> tuple[float, ...]:
    """Order epochs by validation accuracy, then loss; without validation the later is the better."""
    if epoch.validation_accuracy is None or epoch.validation_loss is None:
        return (epoch.epoch,)
    return epoch.validation_accuracy, -epoch.validation_loss


def _trainer(network: Trainable, train: Examples, recipe: Recipe, seed: int, has_cls: bool) -> Trainer:
    """Make the trainer of a kind of network; torch is imported for networks in torch alone."""
    from token2wave.training.additive import AdditiveNetwork

    if isinstance(network, AdditiveNetwork):
        from token2wave.training.native_trainer import NativeTrainer

        return NativeTrainer(network, train, recipe, seed)
    from token2wave.training.torch_trainer import TorchTrainer

    return TorchTrainer(cast("TextNetwork", network), train, recipe, seed, has_cls)
