"""Gradients of a step that several processes take together.

What all texts move, everything but the embedding, goes through ``DistributedDataParallel``. Of the embedding
a step touches few rows, and gradients of those alone are exchanged, never the table. Since every process
draws the same batch, each knows the rows of all the others: no row numbers are sent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from token2wave.errors import DistributedError
from token2wave.features import Ragged
from token2wave.models import Batch, WaveNetwork
from token2wave.training.batches import part_bounds
from token2wave.training.distributed.group import Group


class _BesideEmbedding(nn.Module):
    """All of a network but its embedding: what is left is small, and every text moves all of it."""

    def __init__(self, network: WaveNetwork) -> None:
        super().__init__()
        for name, part in network.named_children():
            if part is not network.embedding:
                self.add_module(name, part)
        self.of_embedded: Callable[[Tensor, Batch], Tensor] = network.of_embedded

    def forward(self, embedded: Tensor, batch: Batch) -> Tensor:
        """Compute logits ``(B, C)`` from the embeddings ``(U, R)`` of the distinct tokens."""
        return self.of_embedded(embedded, batch)


class Exchange:
    """Lets a network learn from the parts of a batch that several processes have.

    Args:
        group: the processes; all must make one at the same time.
        network: the same weights in all of them.
    """

    def __init__(self, group: Group, network: WaveNetwork) -> None:
        self.group, self.network = group, network
        self.beside = DistributedDataParallel(_BesideEmbedding(network), gradient_as_bucket_view=True)
        n_dense = sum(p.numel() * p.element_size() for p in self.beside.parameters())
        self.dense_bytes = round(self._around_the_ring(n_dense))

    @property
    def share(self) -> tuple[int, int]:
        """Number of this process, and of all."""
        return self.group.rank, self.group.size

    def logits(self, batch: Batch) -> Tensor:
        """Logits ``(B, C)`` of this process's part of a batch."""
        table = self.network.embedding.weight
        self.embedded = table.detach().index_select(0, batch.rows).requires_grad_()
        result: Tensor = self.beside(self.embedded, batch)
        return result

    def loss(self, losses: Tensor, batch: Batch) -> Tensor:
        """Share of this process in the mean over the texts of the whole batch.

        ``DistributedDataParallel`` takes the mean over processes of what each computes from it.
        """
        assert batch.whole is not None
        return losses.sum() * (self.group.size / batch.whole.texts.total)

    def exchange_rows(self, batch: Batch) -> None:
        """Give the embedding the gradient of the whole batch, once the way back is gone.

        Each process sends its own rows to all others, or, where that would be more, all sum the rows of the
        step.
        """
        whole, gradient, table = batch.whole, self.embedded.grad, self.network.embedding.weight
        assert whole is not None
        assert gradient is not None
        n_processes, width = self.group.size, gradient.shape[1]
        most = max(len(part) for part in whole.parts)
        values = gradient.new_zeros(len(whole.rows), width)
        of_a_row = width * gradient.element_size()
        if n_processes * most <= 2 * len(whole.rows):
            sent = gradient.new_zeros(most, width)
            sent[: len(gradient)] = gradient
            for part, got in zip(whole.parts, self.group.gather(sent), strict=True):
                values.index_add_(0, torch.searchsorted(whole.rows, part), got[: len(part)])
            n_bytes = (n_processes - 1) * most * of_a_row
        else:
            values.index_copy_(0, torch.searchsorted(whole.rows, batch.rows), gradient)
            self.group.sum(values)
            n_bytes = round(self._around_the_ring(len(whole.rows) * of_a_row))
        values /= n_processes  # the mean that the other gradients are
        table.grad = torch.sparse_coo_tensor(
            whole.rows[None], values, table.shape, is_coalesced=True, check_invariants=False
        )
        traffic = self.group.traffic
        traffic.steps += 1
        traffic.rows += len(whole.rows)
        traffic.row_bytes += n_bytes
        traffic.dense_bytes += self.dense_bytes

    def sums(self, own: Tensor) -> list[float]:
        """Sums of numbers over the processes."""
        found: list[float] = self.group.sum(own.clone()).tolist()
        return found

    def logits_of_all(self, features: Ragged) -> NDArray[np.float32]:
        """Logits of ``N`` texts for prediction, ``(N, C)`` float32 in the leader; each computes a part."""
        bounds = part_bounds(features, self.group.size)
        first, last = bounds[self.group.rank : self.group.rank + 2].tolist()
        own = self.network.logits(features.take(np.arange(first, last)))
        return self.group.collect(own, bounds)

    def require_same_weights(self) -> None:
        """Find out whether all processes have the same weights, bit for bit.

        Raises:
            DistributedError: they have not; in all of them.
        """
        names, tensors = zip(*self.network.state_dict().items(), strict=True)
        found = self.group.gather(torch.stack([_checksum(tensor) for tensor in tensors]))
        same = (found == found[0]).all(dim=0).tolist()
        if all(same):
            return
        name = cast("str", names[same.index(False)])
        others = [str(rank + 1) for rank in range(1, self.group.size) if (found[rank] != found[0]).any()]
        raise DistributedError(
            f"the weights of processes that train together are no longer the same: {name!r} differs between "
            f"process 1 and process {', '.join(others)}",
            location="training",
            hint="use machines with the same processors or GPUs and the same versions of torch",
        )

    def _around_the_ring(self, n_bytes: int) -> float:
        """Bytes that a process sends to sum so many over all processes."""
        n_processes = self.group.size
        return 2 * (n_processes - 1) / n_processes * n_bytes


def _checksum(tensor: Tensor) -> Any:
    """Sum of the bits of a tensor, as numbers of 32."""
    return tensor.detach().contiguous().view(torch.int32).sum(dtype=torch.int64)
