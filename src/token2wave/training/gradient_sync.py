"""Sums the gradients of a step over the ranks of a distributed training.

All texts move the dense parameters: their gradients are summed as one flat vector. Of the embedding a step
touches few rows: ranks gather those rows and their gradients, never the table.
"""

from __future__ import annotations

import zlib

import torch
import torch.distributed as dist
from torch import Tensor

from token2wave.models import TextNetwork
from token2wave.training.distributed import Traffic, rank, require_same, world_size
from token2wave.training.optim import distinct_rows


class GradientSync:
    """Gives every rank the gradients of the whole batch, bit for bit the same.

    Args:
        network: with the same weights in all ranks.
        traffic: counts what this rank sends.
    """

    def __init__(self, network: TextNetwork, traffic: Traffic) -> None:
        self.network, self.traffic = network, traffic
        self.table = network.embedding.weight
        self.dense = [parameter for parameter in network.parameters() if parameter is not self.table]

    def sync(self) -> None:
        """Sum the gradients of all ranks, after the backward pass of each on its texts."""
        own = self.table.grad
        assert own is not None
        own_rows, own_values = distinct_rows(own)
        n_rows = self._sum_dense(len(own_rows))
        padded = max(n_rows)
        rows = self._gather(own_rows, padded)
        values = self._gather(own_values, padded)
        distinct = torch.unique(torch.cat([rows[i, :n] for i, n in enumerate(n_rows)]))
        summed = values.new_zeros(len(distinct), values.shape[2])
        for i, n in enumerate(n_rows):  # in the order of ranks: floating-point sums depend on it
            summed.index_add_(0, torch.searchsorted(distinct, rows[i, :n]), values[i, :n])
        self.table.grad = torch.sparse_coo_tensor(
            distinct[None], summed, self.table.shape, is_coalesced=True, check_invariants=False
        )
        self.traffic.steps += 1
        self.traffic.rows += len(distinct)
        self.traffic.row_bytes += (world_size() - 1) * (rows[0].nbytes + values[0].nbytes)

    def sum(self, values: Tensor) -> list[float]:
        """Sum a few numbers over the ranks."""
        dist.all_reduce(values := values.clone())
        summed: list[float] = values.tolist()
        return summed

    def require_same_weights(self) -> None:
        """Check that all ranks have the same weights, bit for bit.

        Raises:
            DistributedError: they have not.
        """
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in self.network.state_dict().items()}
        require_same({f"weights {name}": zlib.crc32(a.tobytes()) for name, a in arrays.items()})

    def _sum_dense(self, n_rows: int) -> list[int]:
        """Sum the dense gradients; return how many embedding rows each rank has, which travel with them."""
        counts = self.table.new_zeros(world_size())
        counts[rank()] = n_rows
        gradients = [parameter.grad for parameter in self.dense if parameter.grad is not None]
        flat = torch.cat([*(gradient.flatten() for gradient in gradients), counts])
        dist.all_reduce(flat)
        *sums, counts = torch.split(flat, [*(gradient.numel() for gradient in gradients), world_size()])
        for gradient, summed in zip(gradients, sums, strict=True):
            gradient.copy_(summed.view_as(gradient))
        # Around a ring, each rank sends nearly twice the vector.
        self.traffic.dense_bytes += round(2 * (world_size() - 1) / world_size() * flat.nbytes)
        return [int(count) for count in counts.tolist()]

    def _gather(self, values: Tensor, length: int) -> Tensor:
        """The values of all ranks ``(P, length, ...)``, padded with zeros."""
        sent = values.new_zeros(length, *values.shape[1:])
        sent[: len(values)] = values
        gathered = values.new_empty(world_size(), *sent.shape)
        dist.all_gather(list(gathered.unbind()), sent)
        return gathered
