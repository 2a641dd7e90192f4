"""The training loop: epochs, validation, and which weights to keep. Trainers do the steps."""

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
from token2wave.training.checkpoint import CheckpointSlot, NetworkCheckpoint
from token2wave.training.distributed import leading
from token2wave.training.divergence import DivergenceError, require_finite
from token2wave.training.examples import Examples, ExampleStream
from token2wave.training.recipe import Recipe
from token2wave.training.schedule import n_batches
from token2wave.training.trainer import Trainable, Trainer
from token2wave.training.validation import is_multi_label, validate

if TYPE_CHECKING:
    from token2wave.models import TextNetwork, WaveNetwork


MAX_RESTARTS = 12
SECONDS_BETWEEN_CHECKPOINTS = 120.0  # of a pass over a stream
DIVERGENCE_LR_FACTOR = 0.1  # share of the rates with each restart
MAX_LOSS = 1e3  # nats; what makes a text so improbable are no weights that learn


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
    slot: CheckpointSlot | None = None,
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
        slot: in a checkpoint, to go on from and to write every epoch down in.
        warm_start: whether the network has been trained before, and goes on from there.

    Raises:
        CheckpointError: the checkpoint holds no arrays of this network.
        ConfigError: the loss stopped being a finite number with the smallest rates, too.
        OutputError: the checkpoint cannot be written.
    """
    start, callback_list = time.perf_counter(), CallbackList(callbacks)
    standing = None if slot is None else slot.standing
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
        if slot is not None:
            slot.keep(NetworkCheckpoint(history, restart, *trainer.state()))
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
    if slot is not None:
        slot.keep(NetworkCheckpoint(history, restart, cast("Any", network).arrays(), done=True))
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
    by = recipe.chooses_by(is_multi_label(network))
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
