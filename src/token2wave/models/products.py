"""Large products of matrices at less than float32's precision, for training on processors without bfloat16.

In block fixed point of 16 bits (``native/fixed_point.h``) an element of a product is wrong by about 9e-6 of
the product of its two vectors' norms: as with TF32, a tenth of bfloat16's error.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from token2wave.core import core

MULTIPLICATIONS_WORTH_IT = 1 << 26
"""Below so many, quantising and starting threads take what the products save: torch is as fast."""


def fixed_point_available() -> bool:
    """Whether there is a native core, and the processor has what its products need."""
    native = core()
    return native is not None and bool(native.fixed_point_available())


@contextmanager
def fixed_point_products(network: nn.Module, wanted: bool = True) -> Iterator[None]:
    """Let the large products of a network's :class:`VariantLinear` maps be in fixed point for a while.

    Args:
        network: a module on the CPU.
        wanted: false changes nothing.
    """
    maps = [module for module in network.modules() if isinstance(module, VariantLinear)]
    before = [module.fixed_point for module in maps]
    try:
        for module in maps:
            module.fixed_point = module.fixed_point or wanted
        yield
    finally:
        for module, was in zip(maps, before, strict=True):
            module.fixed_point = was


class VariantLinear(nn.Linear):
    """``nn.Linear`` whose products may be in fixed point: see :func:`fixed_point_products`."""

    fixed_point = False

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., N)`` to ``(..., M)``."""
        large = x.shape.numel() * self.out_features >= MULTIPLICATIONS_WORTH_IT
        if not self.fixed_point or not large:
            return super().forward(x)
        return linear(x.flatten(0, -2), self.weight, self.bias).view(*x.shape[:-1], self.out_features)


def with_variant_linears(network: nn.Module) -> nn.Module:
    """Put a :class:`VariantLinear` with the same parameters in the place of every ``nn.Linear``."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear:
                taking_over = VariantLinear(1, 1, bias=child.bias is not None)
                taking_over.in_features, taking_over.out_features = child.in_features, child.out_features
                taking_over.weight, taking_over.bias = child.weight, child.bias
                setattr(module, name, taking_over)
    return network


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x weight^T + bias`` as ``torch.nn.functional.linear``, in fixed point forwards and backwards.

    The same arguments give the same bits with any number of threads.

    Args:
        x: ``(U, K)`` float32, on the CPU.
        weight: ``(N, K)`` float32, on the CPU.
        bias: ``(N,)``.

    Returns:
        ``(U, N)``. Whatever is not two matrices of float32 on the CPU, or where fixed point is not
        available, goes to torch.
    """
    fits = all(t.dim() == 2 and t.dtype == torch.float32 and t.device.type == "cpu" for t in (x, weight))
    if not fits or not fixed_point_available():
        return F.linear(x, weight, bias)
    result: Tensor = _FixedPointLinear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return result


class _FixedPointLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        result = _product(x, weight, b_transposed=True)
        return result if bias is None else result.add_(bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            _product(gradient, weight) if of_x else None,
            _product(gradient, x, a_transposed=True) if of_weight else None,
            gradient.sum(dim=0) if of_bias else None,
        )


def _product(a: Tensor, b: Tensor, *, a_transposed: bool = False, b_transposed: bool = False) -> Tensor:
    """``a b`` in fixed point, each transposed first if so wished."""
    native = core()
    assert native is not None
    m, k = a.shape[::-1] if a_transposed else a.shape
    n = b.shape[0 if b_transposed else 1]
    out = torch.empty(m, n)
    native.fixed_point_product(
        (a.detach().contiguous().numpy(), a_transposed),
        (b.detach().contiguous().numpy(), b_transposed),
        out.numpy(),
        (m, n, k),
        torch.get_num_threads(),
    )
    return out
