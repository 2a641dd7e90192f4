"""The training loop: epochs, validation, and the choice of the best weights. Trainers take the steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from token2wave.errors import CheckpointError
from token2wave.features import Ragged
from token2wave.features.ragged import offsets_of
from token2wave.models.wave_config import WaveConfig
from token2wave.training.callbacks import Callback, CallbackList, Epoch, History
from token2wave.training.checkpoint import MAX_RESTARTS, CheckpointSlot, NetworkCheckpoint
from token2wave.training.distributed import broadcast
from token2wave.training.examples import Examples, ExampleStream
from token2wave.training.recipe import Recipe
from token2wave.training.schedule import n_batches
from token2wave.training.trainer import DivergenceError, Trainable, Trainer, require_finite
from token2wave.training.validation import is_multi_label, validate

if TYPE_CHECKING:
    from token2wave.models import TextNetwork


SECONDS_BETWEEN_CHECKPOINTS = 120.0  # of a pass over a stream
DIVERGENCE_LR_FACTOR = 0.1  # of all learning rates with each restart
MAX_LOSS = 1e3  # nats; weights with such a loss do not learn


@contextmanager
def _refuse_other_arrays() -> Iterator[None]:
    """Refuse a checkpoint with correct checksums whose arrays do not fit this network.

    Raises:
        CheckpointError: the arrays do not fit.
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
    slot: CheckpointSlot | None = None,
    warm_start: bool = False,
) -> History:
    """Train a network in place; it ends with the weights of its best epoch on the validation texts.

    Without validation texts it ends with the weights of its last epoch.

    The same arguments give the same weights bit for bit on one machine: a torch network with the same number
    of threads, an additive network with any number.

    Where the loss is not finite, or passes `MAX_LOSS` in validation, the learning rates are too large:
    training starts again from the initial weights with a tenth of them, up to `MAX_RESTARTS` times. The
    result is what those rates give. ``History.lr_factor`` is the factor.

    Args:
        network: new; it is trained in place.
        train: the examples to learn from; a stream needs validation examples.
        validation: the examples to choose the epoch by, if there are any.
        recipe: the settings.
        seed: of the order of texts and of dropout.
        has_cls: whether the first feature of a text is [CLS].
        callbacks: called as training goes on.
        slot: of this network in a checkpoint, to resume from and to save every epoch in.
        warm_start: whether to start from the trained weights that the network has.

    Raises:
        CheckpointError: the arrays of the checkpoint do not fit the network.
        ConfigError: the loss is not finite even with the smallest learning rates.
        OutputError: the checkpoint cannot be written.
    """
    start, callback_list = time.perf_counter(), CallbackList(callbacks)
    saved = None if slot is None else slot.saved
    if saved is not None and saved.done:
        with _refuse_other_arrays():
            for name, values in saved.arrays.items():
                cast("Any", network).load(name, values)
        saved.history.lr_factor = DIVERGENCE_LR_FACTOR**saved.restart
        return saved.history
    n_steps = recipe.epochs * n_batches(len(train), recipe.batch_size)
    stage = "training" if validation is not None else "training on all rows"
    trainer = _trainer(network, train, recipe, seed, has_cls, warm_start)
    first_restart, history, saved_at = 0, History(), time.monotonic()

    def save() -> None:
        nonlocal saved_at
        if slot is not None:
            slot.save(NetworkCheckpoint(history, restart, *trainer.state()))
            saved_at = time.monotonic()

    def save_now_and_then() -> None:
        if time.monotonic() - saved_at >= SECONDS_BETWEEN_CHECKPOINTS:
            save()

    if not isinstance(train, Examples):
        cast("Any", trainer).between_blocks = save_now_and_then
    try:
        if saved is not None:
            first_restart, history = saved.restart, saved.history
            if first_restart:
                trainer.reset(recipe.with_lr_factor(DIVERGENCE_LR_FACTOR**first_restart))
            with _refuse_other_arrays():
                trainer.load_state(saved.arrays, saved.values)
        for restart in range(first_restart, MAX_RESTARTS + 1):
            factor = DIVERGENCE_LR_FACTOR**restart
            callback_list.stage(stage if not restart else f"{stage}, rates times {factor:.0e}", n_steps)
            try:
                _epochs(network, trainer, train, validation, recipe, callback_list, history, save)
                break
            except DivergenceError:
                if restart == MAX_RESTARTS:
                    raise
                trainer.reset(recipe.with_lr_factor(DIVERGENCE_LR_FACTOR ** (restart + 1)))
                history = History()
    finally:
        trainer.close()
    history.lr_factor = factor
    history.train_seconds += time.perf_counter() - start
    if slot is not None:
        slot.save(NetworkCheckpoint(history, restart, cast("Any", network).arrays(), done=True))
    return history


def _epochs(
    network: Trainable,
    trainer: Trainer,
    train: Examples | ExampleStream,
    validation: Examples | None,
    recipe: Recipe,
    callback_list: CallbackList,
    history: History,
    save: Callable[[], None],
) -> None:
    """Train the epochs that are not in the history yet, and return to the best weights.

    Raises:
        DivergenceError: the loss stopped being a finite number.
    """
    step_seconds, n_before = 0.0, len(history.epochs)
    by = recipe.chooses_by(is_multi_label(network))
    if n_before:
        callback_list.advance(n_before * n_batches(len(train), recipe.batch_size))
    for number in range(n_before + 1, recipe.epochs + 1):
        if _is_out_of_patience(history, recipe):
            break
        epoch_start = time.perf_counter()
        loss, accuracy = trainer.epoch(callback_list)
        step_seconds += time.perf_counter() - epoch_start
        checked = validation
        if checked is None:  # a few texts show whether the last step has broken the weights
            assert isinstance(train, Examples)
            checked = train.take(np.arange(min(len(train), 64)))
        validated = broadcast(validate(trainer.network, checked))  # GPUs may round differently
        require_finite(validated[0] if validated[0] < MAX_LOSS else np.inf)
        require_finite(trainer.energy())  # also rows that these texts do not have
        epoch = Epoch(number, loss, accuracy, *((None,) * 4 if validation is None else validated))
        history.epochs.append(epoch)
        if history.best is None or _rank(epoch, by) > _rank(history.best, by):
            history.best = epoch
            if validation is not None and number < recipe.epochs:
                trainer.snapshot()
        history.texts_per_second = (number - n_before) * len(train) / step_seconds
        save()
        callback_list.epoch(epoch)
    if history.best is not history.epochs[-1]:
        trainer.restore_best()
    config = getattr(network, "config", None)
    if isinstance(config, WaveConfig):  # a text may be too long for other networks
        require_finite(float(np.abs(network.logits(random_texts(config.n_rows))).max()))


def _is_out_of_patience(history: History, recipe: Recipe) -> bool:
    """Whether the last `patience` epochs brought no better one."""
    if history.best is None or not recipe.patience:
        return False
    return history.epochs[-1].epoch - history.best.epoch >= recipe.patience


def random_texts(n_rows: int) -> Ragged:
    """Unnatural texts of up to 256 features: random rows, or one row many times.

    Several layers of modulation may be finite on all known texts and overflow on others.
    """
    random = np.random.default_rng(0)
    lengths = np.tile([1, 4, 16, 256], 8)
    ids = [random.integers(n_rows, size=length, dtype=np.int32) for length in lengths]
    repeated = [np.full(length, ids[i][0]) for i, length in enumerate(lengths)]
    lengths = np.concatenate([lengths, lengths])
    return Ragged(np.concatenate(ids + repeated), offsets_of(lengths), lengths)


def _rank(epoch: Epoch, select_by: str) -> tuple[float, ...]:
    """Order epochs by a figure of the validation texts, then by loss; without validation by number."""
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
    """Make the trainer for a network; torch is imported for torch networks only."""
    from token2wave.training.additive_network import AdditiveNetwork

    if isinstance(network, AdditiveNetwork):
        from token2wave.training.native_trainer import NativeTrainer

        return NativeTrainer(network, train, recipe, seed, warm_start)
    assert isinstance(train, Examples), "streams are of additive networks"
    from token2wave.training.torch_trainer import TorchTrainer

    return TorchTrainer(cast("TextNetwork", network), train, recipe, seed, has_cls, warm_start)
