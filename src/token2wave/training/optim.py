"""Optimisers that update only the embedding rows that a step used.

A step of dense Adam rewrites the whole table, 23 million numbers at the papers' size, to change a thousand
rows. These take a sparse gradient and update its rows alone; other rows keep their values and moments. Where
every step uses every row, they equal ``torch.optim.SGD`` and ``torch.optim.AdamW`` without weight decay.
(``torch.optim.SparseAdam`` has no rate for each row.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from token2wave.models import TextNetwork
from token2wave.training.recipe import Recipe
from token2wave.training.schedule import rate_factor
from token2wave.training.torch_memory import in_large_pages, zeros_like


class _EmbeddingOptimizer(torch.optim.Optimizer):
    """Applies :meth:`update` to every parameter that has a sparse gradient."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update the rows with a gradient."""
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                rows, gradients = distinct_rows(parameter.grad)
                self.update(parameter, rows, gradients, group)
        return loss

    def update(self, table: Tensor, rows: Tensor, gradients: Tensor, group: dict[str, Any]) -> None:
        """Update ``table[rows]``, ``(R, D)``, by ``gradients``, ``(R, D)``."""
        raise NotImplementedError


def distinct_rows(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows ``(R,)`` of a sparse gradient, increasing, and the gradient of each, ``(R, D)``.

    The rows of a :class:`~token2wave.models.batch.Batch` are so already. torch does not know it, and
    ``coalesce`` would copy the gradients.
    """
    rows = gradient._indices()[0]
    if bool((rows[1:] > rows[:-1]).all()):
        return rows, gradient._values()
    gradient = gradient.coalesce()
    return gradient.indices()[0], gradient.values()


class EmbeddingSGD(_EmbeddingOptimizer):
    """Stochastic gradient descent on the rows that a step used: ``w -= rate * g``.

    Args:
        parameters: embeddings with sparse gradients, ``(V, D)`` each.
        lr: learning rate.
        rates: ``(V,)``, factor of each row's rate; 1 if not given.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, rates: Tensor | None = None) -> None:
        super().__init__(parameters, {"lr": lr})
        self.rates = rates

    def update(self, table: Tensor, rows: Tensor, gradients: Tensor, group: dict[str, Any]) -> None:
        """Update the rows in place."""
        if self.rates is not None:
            gradients = gradients * self.rates.index_select(0, rows)[:, None]
        table.index_add_(0, rows, gradients, alpha=-group["lr"])


class EmbeddingAdam(_EmbeddingOptimizer):
    """Adam (arXiv 1412.6980) on the rows that a step used; bias is corrected by the step's number.

    Args:
        parameters: embeddings with sparse gradients, ``(V, D)`` each.
        lr: learning rate.
        betas: decay of the first and second moment.
        eps: added to the root of the second moment.
        rates: ``(V,)``, factor of each row's rate; 1 if not given.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        rates: Tensor | None = None,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps})
        self.rates = rates

    def update(self, table: Tensor, rows: Tensor, gradients: Tensor, group: dict[str, Any]) -> None:
        """Update the rows and their moments in place."""
        state = self.state[table]
        if not state:
            state["step"] = 0
            state["mean"] = zeros_like(table)
            state["square"] = zeros_like(table)
        state["step"] += 1
        beta_mean, beta_square = group["betas"]
        mean = state["mean"].index_select(0, rows).lerp_(gradients, 1 - beta_mean)
        square = state["square"].index_select(0, rows).mul_(beta_square)
        square.addcmul_(gradients, gradients, value=1 - beta_square)
        state["mean"].index_copy_(0, rows, mean)
        state["square"].index_copy_(0, rows, square)
        rate = group["lr"] / (1 - beta_mean ** state["step"])
        root = square.div_(1 - beta_square ** state["step"]).sqrt_().add_(group["eps"])
        step = mean.div_(root)
        if self.rates is not None:
            step.mul_(self.rates.index_select(0, rows)[:, None])
        table.index_add_(0, rows, step, alpha=-rate)


class Optimizers:
    """AdamW for the dense parameters, an optimiser for the embedding, and their common schedule.

    Args:
        network: what to train.
        recipe: which optimisers, rates and schedule.
        n_steps: steps of the whole run.
        weights: ``(V,)`` of :func:`token2wave.training.schedule.row_weights`, if rows are weighted.
    """

    def __init__(
        self, network: TextNetwork, recipe: Recipe, n_steps: int, weights: Tensor | None = None
    ) -> None:
        table = network.embedding.weight
        table.data = in_large_pages(table.data)
        dense = [parameter for parameter in network.parameters() if parameter is not table]
        rows: EmbeddingSGD | EmbeddingAdam
        if recipe.embedding_optimizer == "sgd":
            # With w = a v, a gradient step on v moves w by a^2 times the gradient at w; Adam's by a.
            squares = None if weights is None else weights.square()
            rows = EmbeddingSGD([table], lr=recipe.embedding_lr, rates=squares)
        else:
            rows = EmbeddingAdam(
                [table],
                lr=recipe.embedding_lr,
                eps=recipe.embedding_epsilon,
                rates=weights,
            )
        self.rows = rows
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(dense, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True),
            rows,
        ]
        self.schedules = [
            torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_factor(step, n_steps, recipe))
            for optimizer in self.optimizers
        ]

    def state(self) -> dict[str, Tensor]:
        """Steps, moments and what else later steps depend on, by name."""
        tensors = {"steps": torch.tensor(self.schedules[0].last_epoch)}
        for number, optimizer in enumerate(self.optimizers):
            parameters = optimizer.param_groups[0]["params"]
            for index, parameter in enumerate(parameters):
                for name, value in optimizer.state[parameter].items():
                    key = f"{number}.{index}.{name}"
                    tensors[key] = value if isinstance(value, Tensor) else torch.tensor(value)
        return tensors

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Resume from a :meth:`state` of optimisers of the same network and recipe."""
        for key, tensor in tensors.items():
            if key == "steps":
                for schedule in self.schedules:
                    _go_to(schedule, int(tensor))
                continue
            number, index, name = key.split(".")
            optimizer = self.optimizers[int(number)]
            parameter = optimizer.param_groups[0]["params"][int(index)]
            state = optimizer.state[parameter]
            if optimizer is self.rows and name == "step":
                state[name] = int(tensor)
            else:
                state[name] = tensor.to(parameter.device)

    def zero_grad(self) -> None:
        """Clear the gradients."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Update all parameters, then set the rates of the next step."""
        for optimizer in self.optimizers:
            optimizer.step()
        for schedule in self.schedules:
            schedule.step()


def _go_to(schedule: torch.optim.lr_scheduler.LambdaLR, step: int) -> None:
    """Set the schedule to a step."""
    schedule.last_epoch = step
    for group, base, factor in zip(
        schedule.optimizer.param_groups, schedule.base_lrs, schedule.lr_lambdas, strict=True
    ):
        group["lr"] = base * factor(step)
