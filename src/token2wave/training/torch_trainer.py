"""Training of any network in torch, on a processor or a GPU."""

from __future__ import annotations

import copy
import time
import zlib
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from token2wave.models import TextNetwork
from token2wave.training.batches import training_batches
from token2wave.training.callbacks import CallbackList
from token2wave.training.distributed import rank, require_same, traffic, world_size
from token2wave.training.examples import Examples
from token2wave.training.gradient_sync import GradientSync
from token2wave.training.loss import torch_losses
from token2wave.training.optim import Optimizers
from token2wave.training.recipe import Recipe
from token2wave.training.schedule import document_frequency, n_batches, row_weights
from token2wave.training.torch_memory import keep_freed_memory
from token2wave.training.trainer import require_finite

STEPS_BETWEEN_REPORTS = 20


class TorchTrainer:
    """Trains a network in torch on its device; see :class:`token2wave.training.trainer.Trainer`.

    Under ``torchrun`` it trains on this rank's texts of every batch, with the gradients of all ranks.

    Args:
        network: with its initial weights.
        train: the examples to train on.
        recipe: the settings.
        seed: of the order of texts and of dropout.
        has_cls: whether a text's first feature is [CLS], which is never dropped.
        warm_start: whether training continues from weights that were trained before.

    Raises:
        DistributedError: the ranks do not train the same network on the same examples.
    """

    def __init__(
        self,
        network: TextNetwork,
        train: Examples,
        recipe: Recipe,
        seed: int,
        has_cls: bool,
        warm_start: bool = False,
    ) -> None:
        self.network, self.train, self.has_cls, self.seed = network, train, has_cls, seed
        self.device = network.embedding.weight.device
        self.precision = precision_on(self.device, recipe.precision)
        self.row_weights = None
        self.multi_label = bool(getattr(network.config, "multi_label", False))
        self.positive_weights = None
        if train.positive_weights is not None:
            self.positive_weights = torch.from_numpy(train.positive_weights).to(self.device)
        if recipe.embedding_weighting == "idf":
            frequency = document_frequency(train.features, network.config.n_rows)
            weights = row_weights(frequency, len(train), recipe.idf_power)
            self.row_weights = torch.from_numpy(weights).to(self.device)
            if not warm_start:
                with torch.no_grad():
                    network.embedding.weight.mul_(self.row_weights[:, None])
        self.n_steps = recipe.epochs * n_batches(len(train), recipe.batch_size)
        self.initial: dict[str, Any] = copy.deepcopy(network.state_dict())
        self.best: dict[str, Any] = {}
        self.gradient_sync = None
        if (counts := traffic()) is not None:
            features = zlib.crc32(train.features.ids.tobytes())
            settings = {f"recipe.{name}": value for name, value in recipe.to_dict().items()}
            require_same({"training texts": train.checksum(), "features": features, "seed": seed, **settings})
            self.gradient_sync = GradientSync(network, counts)
        self.stack = ExitStack()
        if self.device.type == "cpu" and not recipe.similar_lengths:  # tensors of ever new sizes leave gaps
            self.stack.enter_context(keep_freed_memory())
        devices = [self.device] if self.device.type == "cuda" else []
        self.stack.enter_context(torch.random.fork_rng(devices=devices))
        self._prepare(recipe)

    def _prepare(self, recipe: Recipe) -> None:
        """Make the optimisers and random state of the first step."""
        self.recipe = recipe
        self.random = np.random.default_rng(self.seed)
        self.optimizers = Optimizers(self.network, recipe, self.n_steps, self.row_weights)
        torch.manual_seed(self.seed)

    def reset(self, recipe: Recipe) -> None:
        """Start again from the initial weights with another recipe."""
        self.network.load_state_dict(self.initial)
        self._prepare(recipe)

    def energy(self) -> float:
        """Sum of the squares of all weights as they are now."""
        with torch.no_grad():
            flat = [parameter.float().flatten() for parameter in self.network.parameters()]
            return float(torch.stack([torch.dot(weights, weights) for weights in flat]).sum())

    def snapshot(self) -> None:
        """Copy the current weights: they are the best so far."""
        current = self.network.state_dict()
        if not self.best:
            self.best = copy.deepcopy(current)
        else:  # reuse its memory
            for name, values in current.items():
                self.best[name].copy_(values)

    def restore_best(self) -> None:
        """Return to the weights of the last snapshot."""
        self.network.load_state_dict(self.best)

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Everything that later epochs depend on, as arrays and as plain data; the same in all ranks."""
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        tensors |= {f"optimizers.{name}": tensor for name, tensor in self.optimizers.state().items()}
        tensors["random.cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.device)
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
        return arrays, {"random": self.random.bit_generator.state}

    def load_state(self, arrays: Mapping[str, NDArray[Any]], values: Mapping[str, Any]) -> None:
        """Resume from a :meth:`state`."""
        tensors: dict[str, dict[str, Tensor]] = {"network": {}, "best": {}, "optimizers": {}, "random": {}}
        for name, array in arrays.items():
            group, _, own = name.partition(".")
            tensors[group][own] = torch.from_numpy(np.array(array))
        self.network.load_state_dict(tensors["network"])
        self.best = {name: tensor.to(self.device) for name, tensor in tensors["best"].items()}
        self.optimizers.load_state(tensors["optimizers"])
        torch.set_rng_state(tensors["random"]["cpu"])
        if "cuda" in tensors["random"]:
            torch.cuda.set_rng_state(tensors["random"]["cuda"], self.device)
        self.random.bit_generator.state = values["random"]

    def close(self) -> None:
        """Restore torch's random state."""
        self.network.eval()
        self.stack.close()

    def epoch(self, callback_list: CallbackList) -> tuple[float, float]:
        """Train on all texts once, and return mean loss and accuracy.

        Raises:
            DivergenceError: the loss stopped being a finite number.
            DistributedError: the ranks no longer have the same weights.
        """
        network, recipe, device, gradient_sync = self.network, self.recipe, self.device, self.gradient_sync
        n_texts = len(self.train)
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
            context_words=recipe.context_words,
            rank_of=None if gradient_sync is None else (rank(), world_size()),
        )
        total, sums = torch.zeros(2, device=device), [0.0, 0.0]  # of the losses and of correct predictions
        reported_loss, reported_texts, steps, texts, start = 0.0, 0, 0, 0, time.perf_counter()
        last = n_batches(n_texts, recipe.batch_size)
        for step, (batch, *truth) in enumerate(batches, start=1):
            batch = batch.to(device)
            labels, weights, targets = (None if array is None else array.to(device) for array in truth)
            assert labels is not None
            n_in_batch = len(labels) if batch.text_span is None else batch.text_span.total
            # The backward pass uses the precision of the forward pass.
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.precision == "bfloat16"):
                logits = network(batch)
            logits = logits.float()
            losses = torch_losses(
                logits,
                labels if targets is None else targets,
                self.multi_label,
                recipe.label_smoothing,
                self.positive_weights,
            )
            losses = losses if weights is None else losses * weights
            self.optimizers.zero_grad()
            loss = losses.mean() if gradient_sync is None else losses.sum() / n_in_batch
            loss.backward()  # type: ignore[no-untyped-call]
            if gradient_sync is not None:
                gradient_sync.sync()
            callback_list.gradients(network, batch)
            self.optimizers.step()
            with torch.no_grad():
                if self.multi_label:
                    assert targets is not None
                    correct = ((logits > 0) == (targets > 0.5)).all(dim=1).sum()
                else:
                    correct = (logits.argmax(dim=1) == labels).sum()
                total += torch.stack([loss * n_in_batch, correct])
            steps, texts = steps + 1, texts + n_in_batch
            if steps == STEPS_BETWEEN_REPORTS or step == last:  # only then does it wait for the device
                sums = total.tolist() if gradient_sync is None else gradient_sync.sum(total)
                require_finite(sums[0])
                speed = texts / (time.perf_counter() - start)
                callback_list.advance(steps)
                callback_list.loss((sums[0] - reported_loss) / (texts - reported_texts), speed)
                reported_loss, reported_texts, steps = sums[0], texts, 0
        if gradient_sync is not None:
            gradient_sync.require_same_weights()
        return sums[0] / n_texts, sums[1] / n_texts


def precision_on(device: torch.device, precision: str) -> str:
    """Resolve ``auto``: ``bfloat16`` where the device has matrix instructions for it, else ``float32``."""
    if precision != "auto":
        return precision
    return "bfloat16" if has_bfloat16(device) else "float32"


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions that multiply bfloat16 matrices: a GPU, AMX, or Arm's.

    The vector instructions ``avx512_bf16`` alone do not count: with them float32 was faster where it was
    measured, by ``benchmarks/precision.py``.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Older releases of torch do not say; float32 is always correct.
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(capabilities.get(name, False) for name in ("amx_bf16", "bf16"))
