"""Optimisers that touch only the rows of the embedding that a step used, and the rates of a run.

A step of dense Adam rewrites the whole table, 23 million numbers at the papers' size, to change a
thousand rows. These take a sparse gradient and do work for its rows alone. A row that no token used
keeps its value and its moments. Where every row is used in every step they equal ``torch.optim.SGD``,
and ``torch.optim.AdamW`` without weight decay; with ``catch_up``, :class:`EmbeddingAdam` always equals the
latter, but for epsilon in the steps that a row missed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from token2wave.models import TextNetwork
from token2wave.training.recipe import Recipe
from token2wave.training.schedule import rate_factor
from token2wave.training.torch_memory import in_large_pages, zeros_like

ROWS_CHUNK = 1 << 14  # brought up to date together, so that little memory is needed for all of them


class _EmbeddingOptimizer(torch.optim.Optimizer):
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

    def prepare(self, rows: Tensor | None = None) -> None:
        """Bring rows up to date before they are used; all rows, if none are named."""


class EmbeddingSGD(_EmbeddingOptimizer):
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


class EmbeddingAdam(_EmbeddingOptimizer):
    """Adam (arXiv 1412.6980) on the rows that a step used; bias is corrected by the step's number.

    Dense Adam also moves the rows that a step did not use, by their momentum. With ``catch_up`` a row makes
    up for all the steps that it missed at once, when :meth:`prepare` names it before it is used again. A
    row that was last used in step ``l`` has by step ``t`` moved by ``m / sqrt(v)`` times a number that is the
    same for all its dimensions, ``sum_i rate[i] sqrt(1 - b2^i) / (1 - b1^i) (b1 / sqrt(b2))^(i - l)`` over
    ``i = l + 1 .. t`` (epsilon taken at step ``l``): so catching up costs no more than a step.

    Args:
        parameters: embeddings with sparse gradients, ``(V, D)`` each.
        lr: the rate.
        betas: decay of the first and second moment.
        eps: added to the root of the second moment.
        rates: ``(V,)``, what each row's rate is multiplied by; 1 if not given.
        catch_up: whether rows make up for the steps that they missed.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        rates: Tensor | None = None,
        catch_up: bool = False,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps})
        self.rates, self.catch_up = rates, catch_up

    def update(self, table: Tensor, rows: Tensor, gradients: Tensor, group: dict[str, Any]) -> None:
        """Update the rows and their moments in place."""
        state = self.state[table]
        if not state:
            state["step"] = 0
            state["mean"] = zeros_like(table)
            state["square"] = zeros_like(table)
            if self.catch_up:
                state["missed"] = _MissedSteps(table, group["betas"])
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
        if self.catch_up:
            state["missed"].step_taken(rows, state["step"], group["lr"])

    @torch.no_grad()
    def prepare(self, rows: Tensor | None = None) -> None:
        """Bring rows up to date before they are used; all rows, if none are named.

        Args:
            rows: ``(R,)`` int64, each once.
        """
        if not self.catch_up:
            return
        for group in self.param_groups:
            for table in group["params"]:
                state = self.state[table]
                if not state:
                    continue
                some = torch.arange(table.shape[0], device=table.device) if rows is None else rows
                for part in torch.split(some, ROWS_CHUNK):
                    self._make_up(table, part, state, group)

    def _make_up(self, table: Tensor, rows: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        beta_mean, beta_square = group["betas"]
        n_missed, distance, bias = state["missed"].of(rows, state["step"])
        mean = state["mean"].index_select(0, rows)
        square = state["square"].index_select(0, rows)
        step = mean / (square.sqrt() + group["eps"] * bias[:, None])
        if self.rates is not None:
            distance = distance * self.rates.index_select(0, rows)
        table.index_add_(0, rows, step.mul_(distance[:, None]), alpha=-1)
        state["mean"].index_copy_(0, rows, mean.mul_((beta_mean**n_missed)[:, None]))
        state["square"].index_copy_(0, rows, square.mul_((beta_square**n_missed)[:, None]))


class _MissedSteps:
    """How far rows have to move for the steps that they missed, by the step in which they were last used.

    Attributes:
        last: ``(V,)`` int64, the last step that each row has taken; 0 for none.
        distance: for a row last used in step ``l``, ``distance[l]`` is the sum given at `EmbeddingAdam`.
    """

    def __init__(self, table: Tensor, betas: tuple[float, float]) -> None:
        self.beta_mean, self.beta_square = betas
        self.last = torch.zeros(table.shape[0], dtype=torch.int64, device=table.device)
        self.distance = table.new_zeros(1024, dtype=torch.float64)
        decay = self.beta_mean / math.sqrt(self.beta_square)
        # What a step adds for rows last used 1, 2, ... steps before; further back it is nothing.
        n_steps = math.ceil(math.log(1e-18) / math.log(decay)) if 0 < decay < 1 else 1
        ages = torch.arange(n_steps, 0, -1, device=table.device, dtype=torch.float64)
        self.decays = decay**ages

    def step_taken(self, rows: Tensor, step: int, rate: float) -> None:
        """Note that rows took part in a step, and that all others missed it."""
        if step >= len(self.distance):
            self.distance = torch.cat([self.distance, torch.zeros_like(self.distance)])
        scale = rate * math.sqrt(1 - self.beta_square**step) / (1 - self.beta_mean**step)
        first = max(0, step - len(self.decays))
        self.distance[first:step] += scale * self.decays[len(self.decays) - (step - first) :]
        self.last.index_fill_(0, rows, step)

    def of(self, rows: Tensor, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Missed steps, way to go, and root of epsilon's correction; the rows are then up to date."""
        last = self.last.index_select(0, rows)
        distance = self.distance.index_select(0, last)
        # A row brought up to date at step s after its use at l decays on from there as one used at s would.
        self.last.index_fill_(0, rows, step)
        bias = (1 - self.beta_square ** last.clamp(min=1).double()).sqrt()
        return step - last, distance.float(), bias.float()


class Optimizers:
    """AdamW for the dense part, a row optimiser for the embedding, and their common schedule.

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
                catch_up=recipe.row_catch_up,
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
        found = {"steps": torch.tensor(self.schedules[0].last_epoch)}
        for number, optimizer in enumerate(self.optimizers):
            parameters = optimizer.param_groups[0]["params"]
            for place, parameter in enumerate(parameters):
                for name, value in optimizer.state[parameter].items():
                    key = f"{number}.{place}.{name}"
                    if isinstance(value, _MissedSteps):
                        found |= {f"{key}.last": value.last, f"{key}.distance": value.distance}
                    else:
                        found[key] = value if isinstance(value, Tensor) else torch.tensor(value)
        return found

    def load_state(self, found: Mapping[str, Tensor]) -> None:
        """Go on from what :meth:`state` gave, of optimisers of the same network and recipe."""
        for key, tensor in found.items():
            if key == "steps":
                for schedule in self.schedules:
                    _go_to(schedule, int(tensor))
                continue
            number, place, name, *part = key.split(".")
            optimizer = self.optimizers[int(number)]
            group = optimizer.param_groups[0]
            parameter = group["params"][int(place)]
            state = optimizer.state[parameter]
            if part:
                missed = state.setdefault(name, _MissedSteps(parameter, group["betas"]))
                setattr(missed, part[0], tensor.to(parameter.device))
            elif optimizer is self.rows and name == "step":
                state[name] = int(tensor)
            else:
                state[name] = tensor.to(parameter.device)

    def prepare(self, rows: Tensor | None = None) -> None:
        """Bring rows of the embedding, or all, up to date before use (see `EmbeddingAdam`)."""
        self.rows.prepare(rows)

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


def _go_to(schedule: torch.optim.lr_scheduler.LambdaLR, step: int) -> None:
    """Set the rate of a step; the schedule goes on from there."""
    schedule.last_epoch = step
    for group, base, factor in zip(
        schedule.optimizer.param_groups, schedule.base_lrs, schedule.lr_lambdas, strict=True
    ):
        group["lr"] = base * factor(step)
