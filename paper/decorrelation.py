"""A penalty on the correlation of a Wave network's dimensions, added to the loss of its training."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from token2wave.models import WaveNetwork

LEAST_NORM = 1e-6  # of a centred dimension; one that does not vary correlates with none


def correlation_penalty(states: Tensor) -> Tensor:
    """Mean of the squares of the correlations of all pairs of dimensions of ``(N, D)`` states, a scalar.

    DeCov (arXiv 1511.06068) and the last term of VICReg (arXiv 2105.04906) penalise covariances in this way.
    Correlations do not fall with the scale of the states, so that the network cannot escape by smaller ones.
    """
    centred = F.normalize(states - states.mean(dim=0), dim=0, eps=LEAST_NORM)
    squares = (centred.T @ centred).square()
    width = states.shape[1]
    return (squares.sum() - squares.diagonal().sum()) / (width * (width - 1))


class _PenaltyGradient(torch.autograd.Function):
    """The identity, whose backward pass adds the gradient of the penalty of a batch to that of the loss."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: float) -> Tensor:
        ctx.save_for_backward(states)
        ctx.weight = weight
        return states.view_as(states)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        with torch.enable_grad():
            states = ctx.saved_tensors[0].detach().requires_grad_()
            (of_penalty,) = torch.autograd.grad(correlation_penalty(states), states)
        return gradient + ctx.weight * of_penalty, None


def decorrelate(network: WaveNetwork, weight: float) -> WaveNetwork:
    """Train a network, in place, with ``weight`` times :func:`correlation_penalty` added to the loss.

    The penalty is that of the batch's states behind the norm, which the classifier gets, before dropout. It
    depends on the weights through these states alone, so its gradient joins that of the loss there. Reported
    losses leave it out, and evaluation is unchanged. A weight of 0 changes nothing.
    """

    def add(module: nn.Module, _: object, states: Tensor) -> Tensor | None:
        penalised = module.training and states.requires_grad
        return _PenaltyGradient.apply(states, weight) if penalised else None  # type: ignore[no-untyped-call]

    if weight:
        network.norm.register_forward_hook(add)
    return network
