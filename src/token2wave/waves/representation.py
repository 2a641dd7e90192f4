"""A token as a wave: magnitude is the segment's semantics, phase the token's relation to it.

Sources: *Wave Network* (arXiv 2411.02674v4, equations 1 and 2) and its companion (2411.06989).

Everything here is computed in Cartesian form, which is exact and needs no trigonometry. With
``E = sum_j w[j]^2`` and ``G = sqrt(E)`` the wave ``G exp(i alpha[j])`` of token ``j`` has

    Re Z[j] = w[j]        Im Z[j] = s[j] = sqrt(E - w[j]^2) = sqrt(sum_{i != j} w[i]^2)

**The rule for roots**, used everywhere: ``s`` is the root of the sum *over the other tokens*, never
of a difference; nothing is added under the root; and where the sum is zero the root is zero and so
is its derivative. So a segment without energy in a dimension gives magnitude, phase, real and
imaginary part zero, and the only token of a text gives phase 0 or pi.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from token2wave.waves.segments import others_sum, segment_sum


class Wave(NamedTuple):
    """Complex numbers in Cartesian form.

    Attributes:
        real: ``(..., D)`` floating point.
        imaginary: of the same shape and dtype.
    """

    real: Tensor
    imaginary: Tensor

    @property
    def magnitude(self) -> Tensor:
        """``sqrt(Re^2 + Im^2)``, ``(..., D)``, not negative."""
        return root(self.real.square() + self.imaginary.square())

    @property
    def phase(self) -> Tensor:
        """``arctan2(Im, Re)`` in radians, ``(..., D)``; 0 where the wave is zero.

        In ``[0, pi]`` for the wave of a token, whose imaginary part is never negative.
        """
        return torch.atan2(self.imaginary, self.real + 0.0)  # + 0.0 turns -0.0 into 0.0

    @property
    def concatenated(self) -> Tensor:
        """Real and imaginary part side by side, ``(..., 2 D)``."""
        return torch.cat([self.real, self.imaginary], dim=-1)

    @property
    def complex(self) -> Tensor:
        """The same numbers as a complex tensor, ``(..., D)``."""
        return torch.complex(self.real, self.imaginary)


def root(energy: Tensor) -> Tensor:
    """Square root of an energy whose derivative is zero, not infinite, where the energy is zero.

    Args:
        energy: any shape, floating point, not negative.

    Returns:
        ``sqrt(energy)``, of the same shape.
    """
    result: Tensor = _Root.apply(energy)  # type: ignore[no-untyped-call]
    return result


class _Root(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, energy: Tensor) -> Tensor:
        result = energy.sqrt()
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (result,) = ctx.saved_tensors
        filled = result > 0
        divisor = torch.where(filled, 2 * result, 1)  # second derivatives stay finite, too
        return torch.where(filled, gradients[0] / divisor, torch.zeros_like(result))


def wave_from_polar(magnitude: Tensor, phase: Tensor) -> Wave:
    """Euler's formula, ``G exp(i alpha) = G cos(alpha) + i G sin(alpha)``.

    For definitions, tests and plots; computing with waves needs no angles.

    Args:
        magnitude: ``(..., D)``.
        phase: ``(..., D)`` in radians.
    """
    return Wave(magnitude * torch.cos(phase), magnitude * torch.sin(phase))


def energy(tokens: Tensor, offsets: Tensor) -> Tensor:
    """Energy of each dimension over each segment, ``E[k] = sum_j w[j, k]^2``.

    Args:
        tokens: ``(T, D)`` floating point, the embeddings ``w``.
        offsets: ``(B + 1,)`` int64.

    Returns:
        ``(B, D)``.
    """
    return segment_sum(tokens.square(), offsets)


def global_semantics(tokens: Tensor, offsets: Tensor) -> Tensor:
    """Magnitude shared by all tokens of a segment, ``G[k] = sqrt(E[k])`` (eq. 1), ``(B, D)``."""
    return root(energy(tokens, offsets))


def wave(tokens: Tensor, offsets: Tensor) -> Wave:
    """Turn every token into a wave (eq. 2), in Cartesian form.

    The segments decide the level of the global semantics: offsets of texts give input level,
    offsets of sentences give sentence level.

    Args:
        tokens: ``(T, D)`` floating point, the embeddings ``w``. Squares must not overflow: in float32,
            values must be below about 1e19.
        offsets: ``(B + 1,)`` int64.

    Returns:
        Wave of shape ``(T, D)``: real part ``w``, imaginary part ``s`` (see the module).
    """
    return Wave(tokens, root(others_sum(tokens.square(), offsets)))
