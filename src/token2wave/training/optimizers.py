"""Optimisers that touch only the rows of the embedding that a step used, and the rates of a run.

A step of dense Adam rewrites the whole table, 23 million numbers at the papers' size, to change a
thousand rows. These take a sparse gradient and do work for its rows alone. A row that no token used
keeps its value and its moments. Where every row is used in every step they equal ``torch.optim.SGD``,
and ``torch.optim.AdamW`` without weight decay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from token2wave.models import WaveNetwork
from token2wave.training.recipe import Recipe
from token2wave.training.schedule import rate_factor


class _RowOptimizer(torch.optim.Optimizer):
    """Applies :meth:`update` to every parameter that has a sparse gradient."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update the rows that have a gradient."""
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                gradient = parameter.grad.coalesce()
                self.update(parameter, gradient.indices()[0], gradient.values(), group)
        return loss

    def update(self, table: Tensor, rows: Tensor, gradients: Tensor, group: dict[str, Any]) -> None:
        """Update ``table[rows]``, ``(R, D)``, by ``gradients``, ``(R, D)``."""
        raise NotImplementedError


class RowSGD(_RowOptimizer):
    """Stochastic gradient descent on the rows that a step used: ``w -= rate * g``.

    Args:
        parameters: embeddings with sparse gradients, ``(V, D)`` each.
        lr: the rate.
        rates: ``(V,)``, what each row's rate is multiplied by; 1 if not given.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, rates: Tensor | None = None) -> None:
        super().__init__(parameters, {"lr": lr})
        self.rates = rates

    def update(self, table: Tensor, rows: Tensor, gradients: Tensor, group: dict[str, Any]) -> None:
        """Update the rows in place."""
        if self.rates is not None:
            gradients = gradients * self.rates.index_select(0, rows)[:, None]
        table.index_add_(0, rows, gradients, alpha=-group["lr"])


class RowAdam(_RowOptimizer):
    """Adam (arXiv 1412.6980) on the rows that a step used; bias is corrected by the step's number.

    Args:
        parameters: embeddings with sparse gradients, ``(V, D)`` each.
        lr: the rate.
        betas: decay of the first and second moment.
        eps: added to the root of the second moment.
        rates: ``(V,)``, what each row's rate is multiplied by; 1 if not given.
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
            state["mean"] = torch.zeros_like(table)
            state["square"] = torch.zeros_like(table)
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
    """AdamW for the dense part, a row optimiser for the embedding, and their common schedule.

    Args:
        network: what to train.
        recipe: which optimisers, rates and schedule.
        n_steps: steps of the whole run.
        weights: ``(V,)`` of :func:`token2wave.training.schedule.row_weights`, if rows are weighted.
    """

    def __init__(
        self, network: WaveNetwork, recipe: Recipe, n_steps: int, weights: Tensor | None = None
    ) -> None:
        table = network.embedding.weight
        dense = [parameter for parameter in network.parameters() if parameter is not table]
        rows: _RowOptimizer
        if recipe.row_optimizer == "sgd":
            # With w = a v, a gradient step on v moves w by a^2 times the gradient at w; Adam's by a.
            squares = None if weights is None else weights.square()
            rows = RowSGD([table], lr=recipe.row_learning_rate, rates=squares)
        else:
            rows = RowAdam([table], lr=recipe.row_learning_rate, eps=recipe.row_epsilon, rates=weights)
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(dense, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True),
            rows,
        ]
        self.schedules = [
            torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_factor(step, n_steps, recipe))
            for optimizer in self.optimizers
        ]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Update all parameters, then set the rates of the next step."""
        for optimizer in self.optimizers:
            optimizer.step()
        for schedule in self.schedules:
            schedule.step()
