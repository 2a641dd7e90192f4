"""The training loop."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from token2wave.errors import ConfigError
from token2wave.features import Ragged
from token2wave.models import WaveNetwork, predict_logits
from token2wave.training.batches import n_batches, training_batches
from token2wave.training.optimizers import Optimizers, row_weights
from token2wave.training.recipe import Recipe

STEPS_BETWEEN_REPORTS = 20


@dataclass(frozen=True)
class Examples:
    """Featurised texts and their classes.

    Attributes:
        features: of ``N`` texts.
        labels: ``(N,)`` int64.
    """

    features: Ragged
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, texts: NDArray[np.int64]) -> Examples:
        """Select texts by number."""
        return Examples(self.features.take(texts), self.labels[texts])


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training texts gave.

    Attributes:
        epoch: its number, from 1.
        train_loss: mean cross-entropy over the pass, as optimised.
        train_accuracy: over the pass, while the weights were moving and tokens being dropped.
        validation_loss: mean cross-entropy after the pass; None without validation texts.
        validation_accuracy: after the pass; None without validation texts.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None


@dataclass
class History:
    """What a run gave.

    Attributes:
        epochs: one entry a pass.
        best: the entry whose weights were kept.
        train_seconds: wall time of the whole loop, validation included.
        texts_per_second: training texts over the wall time of training steps alone.
    """

    epochs: list[Epoch] = field(default_factory=list)
    best: Epoch | None = None
    train_seconds: float = 0.0
    texts_per_second: float = 0.0


class Callback:
    """Told how a run goes; every method may be left as it is."""

    def on_stage(self, name: str, total: int) -> None:
        """A stage of so many texts or, for ``"training"``, steps begins; 0 if not known."""

    def on_advance(self, amount: int) -> None:
        """So much more of the stage is done."""

    def on_loss(self, loss: float, texts_per_second: float) -> None:
        """Mean training loss since the last report, and speed since the start of the epoch."""

    def on_epoch(self, epoch: Epoch) -> None:
        """A pass over the training texts, and its validation, are done."""


class Teller:
    """Passes word to every callback.

    Args:
        callbacks: in the order in which they are told.
    """

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self.callbacks = callbacks

    def stage(self, name: str, total: int) -> None:
        """Tell that a stage begins."""
        for callback in self.callbacks:
            callback.on_stage(name, total)

    def advance(self, amount: int) -> None:
        """Tell that so much more is done."""
        for callback in self.callbacks:
            callback.on_advance(amount)

    def loss(self, loss: float, texts_per_second: float) -> None:
        """Tell the loss."""
        for callback in self.callbacks:
            callback.on_loss(loss, texts_per_second)

    def epoch(self, epoch: Epoch) -> None:
        """Tell that an epoch is done."""
        for callback in self.callbacks:
            callback.on_epoch(epoch)


def fit(
    network: WaveNetwork,
    train: Examples,
    validation: Examples | None,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    has_cls: bool,
    callbacks: Sequence[Callback] = (),
) -> History:
    """Train a network in place; it ends with the weights of its best epoch by validation accuracy.

    Without validation texts it ends with the weights of its last epoch.

    The same arguments give the same weights bit for bit on one machine with the same threads.

    Args:
        network: freshly made, on ``device``.
        train: what to learn from.
        validation: what to choose the epoch by, if there is something.
        recipe: the settings.
        seed: of the order of texts and all dropout.
        device: where to compute.
        has_cls: whether a text's first feature is [CLS].
        callbacks: told how it goes.

    Raises:
        ConfigError: the loss stopped being a finite number.
    """
    n_steps = recipe.epochs * n_batches(len(train), recipe.batch_size)
    weights = None
    if recipe.row_weighting == "idf":
        weights = row_weights(train.features, network.config.n_rows).to(device)
        with torch.no_grad():
            network.embedding.weight.mul_(weights[:, None])
    optimizers = Optimizers(network, recipe, n_steps, weights)
    random = np.random.default_rng(seed)
    history = History()
    best_weights: dict[str, Any] = {}
    start, step_seconds, texts_seen = time.perf_counter(), 0.0, 0
    tell = Teller(callbacks)
    tell.stage("training" if validation is not None else "training on all rows", n_steps)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        for number in range(1, recipe.epochs + 1):
            epoch_start = time.perf_counter()
            loss, accuracy = _one_epoch(network, train, recipe, optimizers, random, device, has_cls, tell)
            step_seconds += time.perf_counter() - epoch_start
            texts_seen += len(train)
            # The last step may still have broken the weights, which a few training texts would show.
            checked = train.take(np.arange(min(len(train), 64))) if validation is None else validation
            validated = validate(network, checked, device)
            _require_finite(validated[0])
            epoch = Epoch(number, loss, accuracy, *((None, None) if validation is None else validated))
            history.epochs.append(epoch)
            tell.epoch(epoch)
            if history.best is None or _rank(epoch) > _rank(history.best):
                history.best = epoch
                best_weights = {} if validation is None else copy.deepcopy(network.state_dict())
            if recipe.patience and number - history.best.epoch >= recipe.patience:
                break
    if best_weights:
        network.load_state_dict(best_weights)
    network.eval()
    history.train_seconds = time.perf_counter() - start
    history.texts_per_second = texts_seen / step_seconds
    return history


def validate(network: WaveNetwork, examples: Examples, device: torch.device) -> tuple[float, float]:
    """Mean cross-entropy and accuracy."""
    logits = torch.from_numpy(predict_logits(network, examples.features, device))
    labels = torch.from_numpy(examples.labels)
    right = (logits.argmax(dim=1) == labels).float().mean()
    return float(F.cross_entropy(logits, labels)), float(right)


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Older releases of torch do not tell; float32 is always right.
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def _require_finite(loss: float) -> None:
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


def _one_epoch(
    network: WaveNetwork,
    train: Examples,
    recipe: Recipe,
    optimizers: Optimizers,
    random: np.random.Generator,
    device: torch.device,
    has_cls: bool,
    tell: Teller,
) -> tuple[float, float]:
    """Mean loss and accuracy of one pass. The device is waited for only at reports."""
    network.train()
    low_precision = recipe.precision == "bfloat16" or (recipe.precision == "auto" and has_bfloat16(device))
    batches = training_batches(
        train.features,
        train.labels,
        recipe.batch_size,
        random=random,
        token_dropout=recipe.token_dropout,
        sentence_ends=network.config.sentence_ends,
        has_cls=has_cls,
    )
    total = torch.zeros(2, device=device)  # summed loss and right answers
    reported_loss, reported_texts, steps, texts, start = 0.0, 0, 0, 0, time.perf_counter()
    last = n_batches(len(train), recipe.batch_size)
    for step, (batch, labels) in enumerate(batches, start=1):
        labels = labels.to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=low_precision):
            logits = network(batch.to(device))
        logits = logits.float()
        loss = F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
        optimizers.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizers.step()
        with torch.no_grad():
            right = (logits.argmax(dim=1) == labels).sum()
            total += torch.stack([loss * len(labels), right])
        steps, texts = steps + 1, texts + len(labels)
        if steps == STEPS_BETWEEN_REPORTS or step == last:
            sums = total.tolist()
            _require_finite(sums[0])
            speed = texts / (time.perf_counter() - start)
            tell.advance(steps)
            tell.loss((sums[0] - reported_loss) / (texts - reported_texts), speed)
            reported_loss, reported_texts, steps = sums[0], texts, 0
    loss_sum, right_sum = total.tolist()
    return loss_sum / len(train), right_sum / len(train)
