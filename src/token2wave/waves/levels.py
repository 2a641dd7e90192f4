"""Levels of global semantics other than "every token against its whole segment".

* :func:`first_token_wave`: only the [CLS] position of each text, from distinct tokens.
* :func:`text_wave`: the text itself as one wave.
* :func:`context_waves`: a token against its left and right neighbours, so that order counts.

The first two take the embeddings of a batch's *distinct* tokens and an index: each distinct token is
transformed once, and no ``(T, D)`` tensor is built.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from token2wave.waves.representation import Wave
from token2wave.waves.segments import gathered_segment_sum, neighbours_sum, segment_ids, spread_to_rows


def first_token_wave(values: Tensor, index: Tensor, offsets: Tensor, ends: Tensor | None = None) -> Wave:
    """Wave of the first token ([CLS]) of each text; equals ``wave(values[index])`` there.

    Args:
        values: ``(U, D)`` floating point, embeddings of the distinct tokens.
        index: ``(T,)`` int64, ``values[index]`` are the tokens.
        offsets: ``(B + 1,)`` int64, the texts.
        ends: ``(B,)`` int64, where the first token's segment ends, if before the text's end: the
            end of its first sentence gives sentence level.

    Returns:
        Wave of shape ``(B, D)``; zero for an empty text.
    """
    ends = offsets[1:] if ends is None else ends
    real, imaginary = _FirstTokenWave.apply(values, index, offsets, ends)  # type: ignore[no-untyped-call]
    return Wave(real, imaginary)


class _FirstTokenWave(torch.autograd.Function):
    """With ``q = dL/ds / s`` of each text, ``dL/dw[i] = w[i] q`` for every other token ``i``.

    A distinct token gathers ``q`` from all the places where it occurs. Nothing of size ``(T, D)`` is
    built in either direction.
    """

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, index: Tensor, offsets: Tensor, ends: Tensor
    ) -> tuple[Tensor, Tensor]:
        starts = offsets[:-1]
        filled = (ends > starts)[:, None]
        if index.shape[0] == 0:
            ctx.save_for_backward(values, index, offsets)
            nothing = values.new_zeros(starts.shape[0], values.shape[1])
            return nothing, nothing.clone()
        rows = index[starts.clamp(max=index.shape[0] - 1)]  # (B,), of the first tokens
        # Three bags a text: its first token, the others of the segment, and what follows the segment.
        bounds = torch.stack([starts, torch.minimum(starts + 1, ends), ends], dim=1).flatten()
        bounds = torch.cat([bounds, offsets[-1:]])  # (3 B + 1,)
        others = gathered_segment_sum(values.square(), index, bounds)[1::3].sqrt()  # (B, D)
        ctx.save_for_backward(values, index, bounds, rows, filled, others)
        return values.index_select(0, rows) * filled, others

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        values, index, bounds, *rest = ctx.saved_tensors
        if not rest:
            return torch.zeros_like(values), None, None, None
        rows, filled, others = rest
        real, imaginary = gradients
        ratio = torch.where(others > 0, imaginary / others, torch.zeros_like(others))  # q, (B, D)
        bags = segment_ids(bounds, index.shape[0])  # (T,)
        n_texts = others.shape[0]
        texts = torch.where(bags % 3 == 1, bags // 3, n_texts)  # row B of q is zero
        ratio = torch.cat([ratio, ratio.new_zeros(1, ratio.shape[1])])
        result = spread_to_rows(ratio, texts, index, values.shape[0]).mul_(values)  # (U, D)
        return result.index_add_(0, rows, real * filled), None, None, None


def text_wave(values: Tensor, index: Tensor, offsets: Tensor) -> Wave:
    """The whole text as one wave, from sums that add over tokens.

    The real part is the mean of the tokens, ``m = (1/n) sum_j w[j]``; the magnitude is their root
    mean square, ``G / sqrt(n)``; so the imaginary part is their standard deviation,
    ``sqrt(G^2 / n - m^2)``. It is the superposition of the token waves seen as a token itself, and
    independent of the text's length. Since it depends on the text through two sums only, it can be
    streamed, merged, and compiled to a table.

    Args:
        values: ``(U, D)`` floating point, embeddings of the distinct tokens.
        index: ``(T,)`` int64, ``values[index]`` are the tokens.
        offsets: ``(B + 1,)`` int64.

    Returns:
        Wave of shape ``(B, D)``; zero for an empty segment.
    """
    real, imaginary = _TextWave.apply(values, index, offsets)  # type: ignore[no-untyped-call]
    return Wave(real, imaginary)


class _TextWave(torch.autograd.Function):
    """With ``q = dL/dsigma / (n sigma)`` of each text, ``dL/dw[i] = dL/dm / n - m q + w[i] q``.

    Unlike in `wave`, the imaginary part comes from a difference, so it is computed in float64, where
    squares of float32 are exact: a text that repeats one token has a deviation of exactly zero.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, index: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        count = offsets.diff().clamp(min=1)[:, None]
        exact = values.double()
        sums = gathered_segment_sum(torch.cat([exact, exact.square()], dim=1), index, offsets) / count
        mean, mean_square = sums.chunk(2, dim=1)
        deviation = (mean_square - mean.square()).clamp_(min=0).sqrt_().to(values.dtype)
        mean = mean.to(values.dtype)
        ctx.save_for_backward(values, index, offsets, mean, deviation)
        return mean, deviation

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        values, index, offsets, mean, deviation = ctx.saved_tensors
        count = offsets.diff().clamp(min=1)[:, None]
        ratio = torch.where(deviation > 0, gradients[1] / (count * deviation), 0)  # q, (B, D)
        both = torch.cat([gradients[0] / count - mean * ratio, ratio], dim=1)
        both = spread_to_rows(both, segment_ids(offsets, index.shape[0]), index, values.shape[0])
        constant, factor = both.chunk(2, dim=1)  # (U, D) each
        return constant + values * factor, None, None


def context_waves(first: Tensor, second: Tensor, offsets: Tensor, radius: int) -> tuple[Wave, Wave]:
    """Two variants at context level: magnitudes from the left and from the right neighbours.

    ``Z[j] = h[j] + i sqrt(sum h[j - radius .. j - 1]^2)`` and
    ``Z'[j] = h'[j] + i sqrt(sum h'[j + 1 .. j + radius]^2)``, neighbours within the text.

    Args:
        first: ``(T, D)`` floating point, first variant ``h`` of the tokens in reading order.
        second: ``(T, D)``, second variant ``h'``.
        offsets: ``(B + 1,)`` int64.
        radius: number of neighbours on each side.

    Returns:
        Two waves of shape ``(T, D)``.
    """
    left = _NeighboursMagnitude.apply(first, offsets, radius, True)  # type: ignore[no-untyped-call]
    right = _NeighboursMagnitude.apply(second, offsets, radius, False)  # type: ignore[no-untyped-call]
    return Wave(first, left), Wave(second, right)


class _NeighboursMagnitude(torch.autograd.Function):
    """``s[j] = sqrt(sum of h[i]^2 over the neighbours i)``; ``dL/dh[i] = h[i] sum of dL/ds[j] / s[j]``."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, offsets: Tensor, radius: int, left: bool) -> Tensor:
        result = neighbours_sum(values.square(), offsets, radius, side="left" if left else "right").sqrt_()
        ctx.save_for_backward(values, offsets, result)
        ctx.radius, ctx.left = radius, left
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        values, offsets, result = ctx.saved_tensors
        filled = result > 0
        ratio = gradients[0] / torch.where(filled, result, 1) * filled
        side = "right" if ctx.left else "left"
        return values * neighbours_sum(ratio, offsets, ctx.radius, side=side), None, None, None
