"""The training loop: epochs, validation, and which weights to keep. Trainers do the steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from token2wave.errors import CheckpointError, ConfigError
from token2wave.features import Ragged
from token2wave.features.ragged import offsets_of
from token2wave.metrics import f1_of_decisions, macro_f1_of
from token2wave.models.wave_config import WaveConfig
from token2wave.training.callbacks import Callback, CallbackList, Epoch, History
from token2wave.training.checkpoint import CheckpointSlot, NetworkCheckpoint
from token2wave.training.distributed import leading
from token2wave.training.examples import Examples, ExampleStream
from token2wave.training.recipe import Recipe
from token2wave.training.schedule import n_batches

if TYPE_CHECKING:
    from token2wave.models import TextNetwork, WaveNetwork


class Trainable(Protocol):
    """What the loop itself asks of a network; trainers ask more."""

    def logits(self, features: Ragged) -> NDArray[np.float32]:
        """Compute the logits of ``N`` texts, ``(N, C)`` float32."""


MAX_RESTARTS = 12
SECONDS_BETWEEN_CHECKPOINTS = 120.0  # of a pass over a stream
DIVERGENCE_LR_FACTOR = 0.1  # share of the rates with each restart
MAX_LOSS = 1e3  # nats; what makes a text so improbable are no weights that learn


class DivergenceError(ConfigError):
    """The loss stopped being a finite number, or is beyond all measure."""


class Trainer(Protocol):
    """Takes the steps of a run, for one kind of network."""

    @property
    def network(self) -> Trainable:
        """What gives the logits of validation texts."""

    def epoch(self, callback_list: CallbackList) -> tuple[float, float]:
        """Go once through the training texts; mean loss and accuracy on the way.

        Raises:
            DivergenceError: the loss stopped being a finite number.
        """

    def energy(self) -> float:
        """Sum of the squares of all weights as they are now, which is not finite where a weight is not."""

    def reset(self, recipe: Recipe) -> None:
        """Go back to the weights before the first step, and forget all steps, with another recipe."""

    def keep(self) -> None:
        """Remember the weights as they are now."""

    def restore(self) -> None:
        """Go back to the weights that were kept last."""

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Everything that later epochs depend on, as arrays and as plain data that JSON can hold."""

    def load_state(self, arrays: Mapping[str, NDArray[Any]], values: Mapping[str, Any]) -> None:
        """Go on from where :meth:`state` was taken, by a trainer of the same network, texts and recipe."""

    def close(self) -> None:
        """Be done with training."""


@contextmanager
def _unsuitable_refused() -> Iterator[None]:
    """Refuse a checkpoint whose checksums are right, and whose arrays are not those of this network.

    Raises:
        CheckpointError: they are not.
    """
    try:
        yield
    except (LookupError, ValueError, TypeError, AttributeError, RuntimeError, OverflowError) as error:
        raise CheckpointError(
            f"expected the arrays and values of this network in the checkpoint, found others ({error})",
            hint="remove it, and train from the beginning",
        ) from error


def fit(
    network: Trainable,
    train: Examples | ExampleStream,
    validation: Examples | None,
    recipe: Recipe,
    *,
    seed: int,
    has_cls: bool,
    callbacks: Sequence[Callback] = (),
    place: CheckpointSlot | None = None,
    warm_start: bool = False,
) -> History:
    """Train a network in place; it ends with the weights of its best epoch on the validation texts.

    Without validation texts it ends with the weights of its last epoch.

    The same arguments give the same weights bit for bit on one machine; a network in torch with the same
    threads, an additive network with any number of them.

    Where rates are so large that the loss stops being a finite number, or passes `MAX_LOSS` in
    validation, training starts again from the initial weights with a tenth of all rates, and so on, up to
    `MAX_RESTARTS` times: the result is what those rates would have given. ``History.lr_factor`` tells.

    Args:
        network: freshly made; it is trained where it lies.
        train: what to learn from; a stream needs validation texts.
        validation: what to choose the epoch by, if there is something.
        recipe: the settings.
        seed: of the order of texts and all dropout.
        has_cls: whether a text's first feature is [CLS].
        callbacks: told how it goes.
        place: in a checkpoint, to go on from and to write every epoch down in.
        warm_start: whether the network has been trained before, and goes on from there.

    Raises:
        CheckpointError: the checkpoint holds no arrays of this network.
        ConfigError: the loss stopped being a finite number with the smallest rates, too.
        OutputError: the checkpoint cannot be written.
    """
    start, callback_list = time.perf_counter(), CallbackList(callbacks)
    standing = None if place is None else place.standing
    if standing is not None and standing.done:
        with _unsuitable_refused():
            for name, values in standing.arrays.items():
                cast("Any", network).load(name, values)
        standing.history.lr_factor = DIVERGENCE_LR_FACTOR**standing.restart
        return standing.history
    n_steps = recipe.epochs * n_batches(len(train), recipe.batch_size)
    stage = "training" if validation is not None else "training on all rows"
    trainer = _trainer(network, train, recipe, seed, has_cls, warm_start)
    first_restart, history, written = 0, History(), time.monotonic()

    def write_down() -> None:
        nonlocal written
        if place is not None:
            place.keep(NetworkCheckpoint(history, restart, *trainer.state()))
            written = time.monotonic()

    def write_down_now_and_then() -> None:
        if time.monotonic() - written >= SECONDS_BETWEEN_CHECKPOINTS:
            write_down()

    if not isinstance(train, Examples):
        cast("Any", trainer).between_blocks = write_down_now_and_then
    try:
        if standing is not None:
            first_restart, history = standing.restart, standing.history
            if first_restart:
                trainer.reset(recipe.with_lr_factor(DIVERGENCE_LR_FACTOR**first_restart))
            with _unsuitable_refused():
                trainer.load_state(standing.arrays, standing.values)
        for restart in range(first_restart, MAX_RESTARTS + 1):
            share = DIVERGENCE_LR_FACTOR**restart
            callback_list.stage(stage if not restart else f"{stage}, rates times {share:.0e}", n_steps)
            try:
                _epochs(network, trainer, train, validation, recipe, callback_list, history, write_down)
                break
            except DivergenceError:
                if restart == MAX_RESTARTS:
                    raise
                trainer.reset(recipe.with_lr_factor(DIVERGENCE_LR_FACTOR ** (restart + 1)))
                history = History()
    finally:
        trainer.close()
    history.lr_factor = share
    history.train_seconds += time.perf_counter() - start
    if place is not None:
        place.keep(NetworkCheckpoint(history, restart, cast("Any", network).arrays(), done=True))
    return history


def _epochs(
    network: Trainable,
    trainer: Trainer,
    train: Examples | ExampleStream,
    validation: Examples | None,
    recipe: Recipe,
    callback_list: CallbackList,
    history: History,
    write_down: Callable[[], None],
) -> None:
    """The epochs of a run that are not in its history yet, and the best one's weights.

    Raises:
        DivergenceError: the loss stopped being a finite number.
    """
    step_seconds, n_before = 0.0, len(history.epochs)
    by = recipe.chooses_by(_is_multi_label(network))
    if n_before:
        callback_list.advance(n_before * n_batches(len(train), recipe.batch_size))
    for number in range(n_before + 1, recipe.epochs + 1):
        if _patience_is_out(history, recipe):
            break
        epoch_start = time.perf_counter()
        loss, accuracy = trainer.epoch(callback_list)
        step_seconds += time.perf_counter() - epoch_start
        # The last step may still have broken the weights, which a few training texts would show.
        checked = validation
        if checked is None:
            assert isinstance(train, Examples)
            checked = train.take(np.arange(min(len(train), 64)))
        validated = validate(trainer.network, checked)
        require_finite(validated[0] if validated[0] < MAX_LOSS else np.inf)
        require_finite(trainer.energy())  # rows that none of those texts has
        epoch = Epoch(number, loss, accuracy, *((None,) * 4 if validation is None else validated))
        history.epochs.append(epoch)
        if history.best is None or _rank(epoch, by) > _rank(history.best, by):
            history.best = epoch
            if validation is not None and number < recipe.epochs:
                trainer.keep()
        history.texts_per_second = (number - n_before) * len(train) / step_seconds
        write_down()
        callback_list.epoch(epoch)
    if history.best is not history.epochs[-1]:
        trainer.restore()
    config = getattr(network, "config", None)
    if isinstance(config, WaveConfig):  # to others a text may be too long
        require_finite(float(np.abs(network.logits(made_up_texts(config.n_rows))).max()))


def _patience_is_out(history: History, recipe: Recipe) -> bool:
    """Whether so many epochs went by without a better one that more are not worth their time."""
    if history.best is None or not recipe.patience:
        return False
    return history.epochs[-1].epoch - history.best.epoch >= recipe.patience


def made_up_texts(n_rows: int) -> Ragged:
    """Texts as no one writes them, of up to 256 features: random rows, or one row again and again.

    Several layers of modulation may give all known texts sane numbers, and overflow on others.
    """
    random = np.random.default_rng(0)
    lengths = np.tile([1, 4, 16, 256], 8)
    ids = [random.integers(n_rows, size=length, dtype=np.int32) for length in lengths]
    repeated = [np.full(length, ids[i][0]) for i, length in enumerate(lengths)]
    lengths = np.concatenate([lengths, lengths])
    return Ragged(np.concatenate(ids + repeated), offsets_of(lengths), lengths)


class Validation(NamedTuple):
    """How a network does on texts, each counted by its weight if they have weights.

    Attributes:
        loss: mean cross-entropy; where each class is decided by itself, the mean over texts of the sum over
            classes of the binary cross-entropy.
        accuracy: share of texts whose class, or all of whose classes, are right.
        macro_f1: mean F1 of the classes that occur or are given.
        micro_f1: F1 over the decisions of all texts and classes; the accuracy, where a text has one class.
    """

    loss: float
    accuracy: float
    macro_f1: float
    micro_f1: float


def validate(network: Trainable, examples: Examples) -> Validation:
    """Hold a network against texts."""
    logits = network.logits(examples.features).astype(np.float64)
    if _is_multi_label(network):
        assert examples.targets is not None
        truth, given = examples.targets > 0.5, logits > 0
        losses = binary_cross_entropies(logits, examples.targets)
        right = (truth == given).all(axis=1)
        micro_f1, macro_f1 = f1_of_decisions(truth, given, examples.weights)
        return Validation(_mean(losses, examples), _mean(right, examples), macro_f1, micro_f1)
    losses, predicted = cross_entropies(logits, examples), logits.argmax(axis=1)
    accuracy = _mean(predicted == examples.labels, examples)
    macro_f1 = macro_f1_of(examples.labels, predicted, logits.shape[1], examples.weights)
    return Validation(_mean(losses, examples), accuracy, macro_f1, accuracy)


def cross_entropies(logits: NDArray[np.float64], examples: Examples) -> NDArray[np.float64]:
    """Cross-entropy of each text, ``(N,)``, against its label or its targets."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    sums = np.log(np.exp(shifted).sum(axis=1))
    if examples.targets is None:
        own = shifted[np.arange(len(examples)), examples.labels]
    else:
        own = np.einsum("nc,nc->n", shifted, examples.targets.astype(np.float64))
    losses: NDArray[np.float64] = sums - own
    return losses


def binary_cross_entropies(logits: NDArray[np.float64], targets: NDArray[np.floating]) -> NDArray[np.float64]:
    """Sum over classes, each decided by itself, of each text's binary cross-entropy, ``(N,)``."""
    softplus = np.log1p(np.exp(-np.abs(logits))) + np.maximum(logits, 0)
    losses: NDArray[np.float64] = (softplus - logits * targets).sum(axis=1)
    return losses


def _is_multi_label(network: Trainable) -> bool:
    """Whether each class is decided by itself; the papers' rivals do not know such a thing."""
    return bool(getattr(getattr(network, "config", None), "multi_label", False))


def _mean(values: NDArray[Any], examples: Examples) -> float:
    """Mean over texts, each counted by its weight."""
    if examples.weights is None:
        return float(values.mean())
    return float(values @ (examples.weights / examples.weights.sum(dtype=np.float64)))


def require_finite(number: float) -> None:
    """Stop a run that has diverged.

    Raises:
        DivergenceError: a loss, or what else must be one, is no finite number.
    """
    if not np.isfinite(number):
        raise DivergenceError(
            "the loss stopped being a finite number",
            location="lr",
            hint="choose a smaller learning rate",
        )


def _rank(epoch: Epoch, select_by: str) -> tuple[float, ...]:
    """Order epochs by a figure of the validation texts, then their loss; without them by number."""
    loss = epoch.validation_loss
    if loss is None:
        return (epoch.epoch,)
    figure = -loss if select_by == "loss" else getattr(epoch, f"validation_{select_by}")
    return figure, -loss


def _trainer(
    network: Trainable,
    train: Examples | ExampleStream,
    recipe: Recipe,
    seed: int,
    has_cls: bool,
    warm_start: bool,
) -> Trainer:
    """Make the trainer of a kind of network; torch is imported for networks in torch alone."""
    from token2wave.training.additive_network import AdditiveNetwork

    if isinstance(network, AdditiveNetwork):
        from token2wave.training.native_trainer import NativeTrainer

        return NativeTrainer(network, train, recipe, seed, warm_start)
    assert isinstance(train, Examples), "streams are of additive networks"
    group = leading()
    if group is not None and isinstance(getattr(network, "config", None), WaveConfig):
        from token2wave.training.distributed.roles import LeadingTrainer

        return LeadingTrainer(group, cast("WaveNetwork", network), train, recipe, seed, has_cls, warm_start)
    from token2wave.training.torch_trainer import TorchTrainer

    return TorchTrainer(cast("TextNetwork", network), train, recipe, seed, has_cls, warm_start)
