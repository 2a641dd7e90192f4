"""Training of any network in torch, on a processor or a GPU."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from token2wave.models import TextNetwork
from token2wave.training.batches import training_batches
from token2wave.training.callbacks import CallbackList
from token2wave.training.divergence import require_finite
from token2wave.training.examples import Examples
from token2wave.training.optim import Optimizers
from token2wave.training.recipe import Recipe
from token2wave.training.schedule import document_frequency, n_batches, row_weights
from token2wave.training.torch_memory import memory_kept

if TYPE_CHECKING:
    from token2wave.training.distributed.exchange import Exchange

STEPS_BETWEEN_REPORTS = 20


class TorchTrainer:
    """Trains a network in torch where it lies; see :class:`token2wave.training.loop.Trainer`.

    Args:
        network: freshly made.
        train: what to learn from.
        recipe: the settings.
        seed: of the order of texts and all dropout.
        has_cls: whether a text's first feature is [CLS], which is never left out.
        warm_start: whether the network has been trained before, and goes on from there.
        exchange: with the other processes that train the same network, if there are any.

    Raises:
        ConfigError: the recipe's precision is not to be had here.
    """

    def __init__(
        self,
        network: TextNetwork,
        train: Examples,
        recipe: Recipe,
        seed: int,
        has_cls: bool,
        warm_start: bool = False,
        exchange: Exchange | None = None,
    ) -> None:
        self.network, self.train, self.has_cls, self.seed = network, train, has_cls, seed
        self.exchange = exchange
        self.device = network.embedding.weight.device
        self.precision = precision_on(self.device, recipe.precision)
        self.row_weights = None
        self.multi_label = bool(getattr(network.config, "multi_label", False))
        given = train.positive_weights
        self.positive_weights = None if given is None else torch.from_numpy(given).to(self.device)
        if recipe.embedding_weighting == "idf":
            frequency = document_frequency(train.features, network.config.n_rows)
            weights = row_weights(frequency, len(train), recipe.idf_power)
            self.row_weights = torch.from_numpy(weights).to(self.device)
            if not warm_start:
                with torch.no_grad():
                    network.embedding.weight.mul_(self.row_weights[:, None])
        self.n_steps = recipe.epochs * n_batches(len(train), recipe.batch_size)
        self.start: dict[str, Any] = copy.deepcopy(network.state_dict())
        self.best: dict[str, Any] = {}
        self.stack = ExitStack()
        if self.device.type == "cpu" and not recipe.similar_lengths:  # tables of ever new sizes leave gaps
            self.stack.enter_context(memory_kept())
        devices = [self.device] if self.device.type == "cuda" else []
        self.stack.enter_context(torch.random.fork_rng(devices=devices))
        self._begin(recipe)

    def _begin(self, recipe: Recipe) -> None:
        """Be ready for the first step from initial weights."""
        self.recipe = recipe
        self.random = np.random.default_rng(self.seed)
        self.optimizers = Optimizers(self.network, recipe, self.n_steps, self.row_weights)
        torch.manual_seed(self.seed)

    def reset(self, recipe: Recipe) -> None:
        """Start again from the initial weights with another recipe."""
        self.network.load_state_dict(self.start)
        self._begin(recipe)

    def energy(self) -> float:
        """Sum of the squares of all weights as they are now."""
        with torch.no_grad():
            flat = [parameter.float().flatten() for parameter in self.network.parameters()]
            return float(torch.stack([torch.dot(part, part) for part in flat]).sum())

    def snapshot(self) -> None:
        """Copy the current weights: they are the best so far."""
        now = self.network.state_dict()
        if not self.best:
            self.best = copy.deepcopy(now)
        else:  # memory that is there already
            for name, values in now.items():
                self.best[name].copy_(values)

    def restore_best(self) -> None:
        """Return to the weights of the last snapshot."""
        self.network.load_state_dict(self.best)

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Everything that later epochs depend on, as arrays and as plain data."""
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        tensors |= {f"optimizers.{name}": tensor for name, tensor in self.optimizers.state().items()}
        tensors["random.cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.device)
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
        return arrays, {"random": self.random.bit_generator.state}

    def load_state(self, arrays: Mapping[str, NDArray[Any]], values: Mapping[str, Any]) -> None:
        """Go on from where :meth:`state` was taken."""
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "best": {}, "optimizers": {}, "random": {}}
        for name, array in arrays.items():
            part, _, own = name.partition(".")
            parts[part][own] = torch.from_numpy(np.array(array))
        self.network.load_state_dict(parts["network"])
        self.best = {name: tensor.to(self.device) for name, tensor in parts["best"].items()}
        self.optimizers.load_state(parts["optimizers"])
        torch.set_rng_state(parts["random"]["cpu"])
        if "cuda" in parts["random"]:
            torch.cuda.set_rng_state(parts["random"]["cuda"], self.device)
        self.random.bit_generator.state = values["random"]

    def close(self) -> None:
        """Give the random state back."""
        self.network.eval()
        self.stack.close()

    def epoch(self, callback_list: CallbackList) -> tuple[float, float]:
        """Mean loss and accuracy of one pass. The device is waited for only at reports.

        Raises:
            DivergenceError: the loss stopped being a finite number.
        """
        network, recipe, device, n_texts = self.network, self.recipe, self.device, len(self.train)
        exchange = self.exchange
        network.train()
        batches = training_batches(
            self.train,
            recipe.batch_size,
            random=self.random,
            token_dropout=recipe.token_dropout,
            sentence_ends=network.config.sentence_ends,
            has_cls=self.has_cls,
            similar_lengths=recipe.similar_lengths,
            keeps_order=getattr(network.config, "context_width", 0) > 0,
            share=None if exchange is None else exchange.share,
        )
        total, sums = torch.zeros(2, device=device), [0.0, 0.0]  # summed loss and right answers
        reported_loss, reported_texts, steps, texts, start = 0.0, 0, 0, 0, time.perf_counter()
        last = n_batches(n_texts, recipe.batch_size)
        for step, (batch, *truth) in enumerate(batches, start=1):
            batch = batch.to(device)
            labels, weights, targets = (None if given is None else given.to(device) for given in truth)
            assert labels is not None
            # The way back takes the same kind of products as the way there.
            autocast = torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.precision == "bfloat16")
            with autocast:
                logits = network(batch) if exchange is None else exchange.logits(batch)
            logits = logits.float()
            losses = self._losses(logits, labels if targets is None else targets)
            losses = losses if weights is None else losses * weights
            loss = losses.mean() if exchange is None else exchange.loss(losses, batch)
            self.optimizers.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            if exchange is not None:
                exchange.exchange_rows(batch)
            callback_list.gradients(network, batch)
            self.optimizers.step()
            with torch.no_grad():
                if self.multi_label:
                    assert targets is not None
                    right = ((logits > 0) == (targets > 0.5)).all(dim=1).sum()
                else:
                    right = (logits.argmax(dim=1) == labels).sum()
                total += torch.stack([loss * len(labels) if exchange is None else losses.sum(), right])
            steps, texts = (
                steps + 1,
                texts + (len(labels) if batch.whole is None else batch.whole.texts.total),
            )
            if steps == STEPS_BETWEEN_REPORTS or step == last:
                sums = total.tolist() if exchange is None else exchange.sums(total)
                require_finite(sums[0])
                speed = texts / (time.perf_counter() - start)
                callback_list.advance(steps)
                callback_list.loss((sums[0] - reported_loss) / (texts - reported_texts), speed)
                reported_loss, reported_texts, steps = sums[0], texts, 0
        if exchange is not None:
            exchange.require_same_weights()
        return sums[0] / n_texts, sums[1] / n_texts

    def _losses(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Loss of each text, ``(B,)``, from its label or its targets; see :class:`Examples`."""
        smoothing = self.recipe.label_smoothing
        if not self.multi_label:
            return F.cross_entropy(logits, truth, label_smoothing=smoothing, reduction="none")
        targets = truth * (1 - smoothing) + smoothing / logits.shape[1]  # as cross_entropy does
        return F.binary_cross_entropy_with_logits(
            logits, targets, reduction="none", pos_weight=self.positive_weights
        ).sum(dim=1)


def precision_on(device: torch.device, precision: str) -> str:
    """Resolve ``auto`` to ``bfloat16`` where the device has it in hardware, else to ``float32``."""
    if precision != "auto":
        return precision
    return "bfloat16" if has_bfloat16(device) else "float32"


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Older releases of torch do not tell; float32 is always right.
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
