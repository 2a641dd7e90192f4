"""Networks for two texts: one encoder for both, and a linear head that compares their states."""

from __future__ import annotations

import copy
import itertools
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from paper.correlation import spearman_values
from paper.pair_data import PairRows, PairTask
from paper.result_store import resolve_device
from token2wave.models import Batch, TextNetwork, make_batch
from token2wave.training.callbacks import CallbackList
from token2wave.training.optim import Optimizers
from token2wave.training.recipe import Recipe
from token2wave.training.schedule import n_batches
from token2wave.training.torch_memory import keep_freed_memory
from token2wave.training.trainer import require_finite

PREDICTED_PAIRS = 128  # in a batch of prediction
BATCHES_SORTED = 10  # batches whose pairs are sorted by length at a time


class PairNetwork(nn.Module):
    """Compare two texts by their states, as InferSent does (arXiv 1705.02364).

    One encoder turns each text by itself into its state. A linear head sees ``[u, v, |u - v|, u * v]``.

    Args:
        encoder: a network of single texts; its own head is removed.
        n_outputs: classes, or one for a score.
        dropout: of what the head sees.
        seed: of the head's initial weights.

    Example:
        >>> from token2wave.models import WaveConfig, WaveNetwork
        >>> encoder = WaveNetwork(WaveConfig(n_rows=10, n_classes=2, width=8))
        >>> PairNetwork(encoder, 3, dropout=0.5, seed=0).head.weight.shape
        torch.Size([3, 32])
    """

    def __init__(self, encoder: TextNetwork, n_outputs: int, *, dropout: float, seed: int) -> None:
        super().__init__()
        width = encoder.head.in_features
        encoder.head = cast("nn.Linear", nn.Identity())
        self.encoder, self.dropout = encoder, nn.Dropout(dropout)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = nn.Linear(4 * width, n_outputs)

    @property
    def embedding(self) -> nn.Embedding:
        """The encoder's token embeddings."""
        return self.encoder.embedding

    def forward(self, batch: Batch) -> Tensor:
        """Compute outputs ``(B, C)`` of ``B`` pairs; the batch has their first texts, then their second."""
        first, second = self.encoder(batch).chunk(2)
        seen = torch.cat([first, second, (first - second).abs(), first * second], dim=1)
        return cast("Tensor", self.head(self.dropout(seen)))

    def predict(self, rows: PairRows) -> NDArray[np.float32]:
        """Compute the outputs of ``N`` pairs in evaluation mode, ``(N, C)``."""
        self.eval()
        order = np.argsort(longest_lengths(rows), kind="stable")  # little padding, for networks that pad
        bounds = [*range(0, len(rows), PREDICTED_PAIRS), len(rows)]
        batches = [order[begin:end] for begin, end in itertools.pairwise(bounds)]
        with torch.inference_mode():
            outputs = [self(self._batch(rows, pairs)).cpu().numpy() for pairs in batches]
        result = np.empty((len(rows), self.head.out_features), dtype=np.float32)
        result[order] = np.concatenate(outputs)
        return result

    def _batch(self, rows: PairRows, pairs: NDArray[np.int64]) -> Batch:
        return make_batch(rows.take_texts(pairs)).to(self.head.weight.device)


def train_pairs(
    network: PairNetwork, task: PairTask, recipe: Recipe, seed: int, callbacks: CallbackList, device: str
) -> list[dict[str, float]]:
    """Train in place with AdamW; the network ends with the weights of its best epoch on validation pairs.

    Classes are learnt with the cross-entropy, and the best epoch has the highest accuracy. Scores are learnt
    with the mean squared error, less their mean and over their deviation in the training pairs, and the best
    epoch has the highest rank correlation. With equal figures the lower loss decides. The same arguments
    give the same weights, bit for bit on one machine with the same number of threads.

    Returns:
        ``figure`` and ``loss`` on the validation pairs of each epoch.

    Raises:
        DivergenceError: the loss is not a finite number.
    """
    network.to(resolve_device(device))
    location, scale = _standardise(task)
    n_steps = recipe.epochs * n_batches(len(task.train), recipe.batch_size)
    optimizers = Optimizers(cast("TextNetwork", network), recipe, n_steps)
    random, epochs = np.random.default_rng(seed), list[dict[str, float]]()
    best: tuple[float, float] | None = None
    with torch.random.fork_rng(devices=[network.head.weight.device] if _on_gpu(network) else []):
        torch.manual_seed(seed)
        with keep_freed_memory():
            for _ in range(recipe.epochs):
                _train_epoch(network, task, recipe, random, optimizers, callbacks)
                outputs = torch.from_numpy(network.predict(task.validation))
                loss = float(_losses(outputs, _targets(task, task.validation.truth, location, scale)).mean())
                require_finite(loss)
                epochs.append({"figure": figure_of(task, task.validation, outputs.numpy()), "loss": loss})
                if best is None or (epochs[-1]["figure"], -loss) > best:
                    best = epochs[-1]["figure"], -loss
                    weights = copy.deepcopy(network.state_dict())
    network.load_state_dict(weights)
    return epochs


def best_epoch(epochs: list[dict[str, float]]) -> int:
    """Number of the best epoch of :func:`train_pairs`, from 1."""
    return 1 + max(range(len(epochs)), key=lambda i: (epochs[i]["figure"], -epochs[i]["loss"], -i))


def figure_of(task: PairTask, rows: PairRows, outputs: NDArray[np.float32]) -> float:
    """Accuracy of classes, or Spearman's rank correlation of scores, from outputs ``(N, C)``."""
    if task.has_scores:
        return float(spearman_values(rows.truth, outputs[:, 0]).mean())
    return float((outputs.argmax(axis=1) == rows.truth).mean())


def count_parameters(network: PairNetwork) -> dict[str, int]:
    """``parameters``, and those ``parameters_without_embedding``."""
    total = sum(parameter.numel() for parameter in network.parameters())
    embedding = network.embedding.weight.numel()
    return {"parameters": total, "parameters_without_embedding": total - embedding}


def _train_epoch(
    network: PairNetwork,
    task: PairTask,
    recipe: Recipe,
    random: np.random.Generator,
    optimizers: Optimizers,
    callbacks: CallbackList,
) -> None:
    network.train()
    location, scale = _standardise(task)
    for pairs in _batches(longest_lengths(task.train), recipe.batch_size, random):
        outputs = network(network._batch(task.train, pairs))
        targets = _targets(task, task.train.truth[pairs], location, scale).to(outputs.device)
        optimizers.zero_grad()
        loss = _losses(outputs, targets).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizers.step()
        callbacks.advance(1)


def longest_lengths(rows: PairRows) -> NDArray[np.int64]:
    """Tokens of the longer text of each pair, ``(N,)``."""
    return np.asarray(rows.features.lengths.reshape(2, len(rows)).max(axis=0))


def _batches(
    lengths: NDArray[np.int64], batch_size: int, random: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Numbers of the pairs of each batch, in random order, of similar length; every pair is in one.

    All networks see the same batches. A Transformer, which pads, would need twice the time with others.
    """
    order, batches = random.permutation(len(lengths)), []
    for first in range(0, len(order), BATCHES_SORTED * batch_size):
        pairs = order[first : first + BATCHES_SORTED * batch_size]
        pairs = pairs[np.argsort(lengths[pairs], kind="stable")]
        batches += [pairs[begin : begin + batch_size] for begin in range(0, len(pairs), batch_size)]
    return [batches[i] for i in random.permutation(len(batches))]


def _standardise(task: PairTask) -> tuple[float, float]:
    """Mean and deviation of the training scores; unused for classes."""
    if not task.has_scores:
        return 0.0, 1.0
    return float(task.train.truth.mean()), float(task.train.truth.std()) or 1.0


def _targets(task: PairTask, truth: NDArray[Any], location: float, scale: float) -> Tensor:
    if task.has_scores:
        return torch.from_numpy((truth - location) / scale).float()
    return torch.from_numpy(truth)


def _losses(outputs: Tensor, targets: Tensor) -> Tensor:
    """Loss of each pair, ``(B,)``: scores are targets of floating point, classes are integers."""
    if targets.is_floating_point():
        return (outputs[:, 0] - targets).square()
    return F.cross_entropy(outputs, targets, reduction="none")


def _on_gpu(network: PairNetwork) -> bool:
    return network.head.weight.device.type == "cuda"
