"""Ragged segments: flat rows and offsets, and the sums over them.

A batch is never padded. ``T`` rows lie one after the other; segment ``b`` (a text, or a sentence)
holds rows ``offsets[b]`` to ``offsets[b + 1]``, so that ``offsets`` has one entry more than there
are segments. A segment may be empty.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def segment_ids(offsets: Tensor, n_rows: int) -> Tensor:
    """Segment of each row.

    Args:
        offsets: ``(B + 1,)`` int64.
        n_rows: ``T``; an argument, since reading it from the device would wait for it.

    Returns:
        ``(T,)`` int64, e.g. ``[0, 0, 1]`` for offsets ``[0, 2, 3]``.
    """
    segments = torch.arange(offsets.numel() - 1, device=offsets.device)
    return segments.repeat_interleave(offsets.diff(), output_size=n_rows)


def gathered_segment_sum(values: Tensor, index: Tensor, offsets: Tensor) -> Tensor:
    """Sum ``values[index]`` over segments, without building ``values[index]``.

    Args:
        values: ``(U, D)`` floating point, one row per distinct token.
        index: ``(T,)`` int64, the row of ``values`` that each token uses.
        offsets: ``(B + 1,)`` int64, segments of the ``T`` tokens.

    Returns:
        ``(B, D)``; an empty segment gives zeros.
    """
    return F.embedding_bag(index, values, offsets, mode="sum", include_last_offset=True)


def segment_sum(values: Tensor, offsets: Tensor) -> Tensor:
    """Sum rows over segments.

    Args:
        values: ``(T, D)`` floating point.
        offsets: ``(B + 1,)`` int64.

    Returns:
        ``(B, D)``; an empty segment gives zeros.
    """
    return gathered_segment_sum(values, torch.arange(values.shape[0], device=values.device), offsets)


def segment_mean(values: Tensor, offsets: Tensor) -> Tensor:
    """Mean of the rows of each segment, ``(B, D)``; an empty segment gives zeros."""
    return segment_sum(values, offsets) / offsets.diff().clamp(min=1)[:, None]


def others_sum(values: Tensor, offsets: Tensor) -> Tensor:
    """Sum, for each row, the *other* rows of its segment: ``sum_{i != j} values[i]``.

    Subtracting a row from its segment's total would lose every digit if that row holds nearly all of
    it. Here the rows of largest size are summed separately, so that no row is ever subtracted from a
    sum that it dominates.

    Args:
        values: ``(T, D)`` floating point.
        offsets: ``(B + 1,)`` int64.

    Returns:
        ``(T, D)``; the only row of a segment gets exactly zero.
    """
    result: Tensor = _OthersSum.apply(values, offsets)  # type: ignore[no-untyped-call]
    return result


class _OthersSum(torch.autograd.Function):
    """The map is linear and symmetric, so it is its own derivative."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, offsets: Tensor) -> Tensor:
        ctx.save_for_backward(offsets)
        n_rows = values.shape[0]
        segments = segment_ids(offsets, n_rows)  # (T,)
        size = values.abs()  # (T, D)
        largest = size.new_zeros(offsets.numel() - 1, size.shape[1])  # (B, D)
        largest = largest.scatter_reduce(0, segments[:, None].expand_as(size), size, "amax")
        is_largest = size == largest.index_select(0, segments)  # (T, D)
        zero = values.new_zeros(())
        large = torch.where(is_largest, values, zero)
        small = torch.where(is_largest, zero, values)
        large_sum = segment_sum(large, offsets).index_select(0, segments)  # (T, D)
        small_sum = segment_sum(small, offsets).index_select(0, segments)  # (T, D)
        return (large_sum - large) + (small_sum - small)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (offsets,) = ctx.saved_tensors
        return others_sum(gradients[0], offsets), None


def neighbours_sum(values: Tensor, offsets: Tensor, radius: int, *, side: str) -> Tensor:
    """Sum, for each row, its nearest rows on one side within the segment, without the row itself.

    Args:
        values: ``(T, D)`` floating point.
        offsets: ``(B + 1,)`` int64.
        radius: number of neighbours, at least 1; near a segment's edge there are fewer.
        side: ``"left"`` (rows ``j - radius .. j - 1``) or ``"right"`` (``j + 1 .. j + radius``).

    Returns:
        ``(T, D)``; a row without neighbours on that side gets zero.

    Raises:
        ValueError: ``radius`` below 1, or ``side`` unknown.
    """
    if radius < 1 or side not in ("left", "right"):
        raise ValueError(f"expected radius >= 1 and side 'left' or 'right', found {radius=}, {side=}")
    result: Tensor = _NeighboursSum.apply(values, offsets, radius, side == "left")  # type: ignore[no-untyped-call]
    return result


class _NeighboursSum(torch.autograd.Function):
    """Summing to the left has summing to the right as its derivative, and the reverse."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, offsets: Tensor, radius: int, left: bool) -> Tensor:
        ctx.save_for_backward(offsets)
        ctx.radius, ctx.left = radius, left
        n_rows, width = values.shape
        result = values.new_zeros(n_rows + 1, width)  # the last row collects what is not needed
        body = result[:n_rows]
        for distance in range(1, min(radius, max(n_rows - 1, 0)) + 1):
            if left:
                body[distance:] += values[:-distance]
            else:
                body[:-distance] += values[distance:]
        if n_rows:  # rows near a segment's edge have summed across it, and are computed again
            rows, sums = _edge_sums(values, offsets, radius, left)
            result.index_copy_(0, rows, sums)
        return body

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (offsets,) = ctx.saved_tensors
        side = "right" if ctx.left else "left"
        return neighbours_sum(gradients[0], offsets, ctx.radius, side=side), None, None, None


def _edge_sums(values: Tensor, offsets: Tensor, radius: int, left: bool) -> tuple[Tensor, Tensor]:
    """Sums over the neighbours of the ``radius`` rows at the edge of each segment.

    Returns:
        rows ``(B * radius,)``, where ``T`` stands for none, and their sums ``(B * radius, D)``.
    """
    starts, ends = offsets[:-1, None], offsets[1:, None]
    edge_distance = torch.arange(radius, device=offsets.device)
    rows = starts + edge_distance if left else ends - 1 - edge_distance  # (B, radius)
    is_inside = (starts <= rows) & (rows < ends)
    sums = values.new_zeros(rows.numel(), values.shape[1])
    zero = values.new_zeros(())
    for distance in range(1, radius):
        has_neighbour = (is_inside & (edge_distance >= distance)).flatten()
        neighbours = (rows - distance if left else rows + distance).flatten()
        neighbours = torch.where(has_neighbour, neighbours, 0)
        sums += torch.where(has_neighbour[:, None], values.index_select(0, neighbours), zero)
    return torch.where(is_inside, rows, values.shape[0]).flatten(), sums


def spread_to_rows(per_segment: Tensor, segments: Tensor, index: Tensor, n_rows: int) -> Tensor:
    """Sum the values of segments over all tokens that use a row.

    The transpose of :func:`gathered_segment_sum`: ``result[u] = sum over tokens t with index[t] = u of
    per_segment[segments[t]]``. No tensor with a row for every token is built.

    Args:
        per_segment: ``(B, D)`` floating point.
        segments: ``(T,)`` int64, the segment of each token.
        index: ``(T,)`` int64, the row that each token uses.
        n_rows: rows of the result, ``U``.

    Returns:
        ``(U, D)``.
    """
    sorted_index, order = index.sort(stable=True)
    bounds = torch.searchsorted(sorted_index, torch.arange(n_rows + 1, device=index.device))
    return gathered_segment_sum(per_segment, segments[order], bounds)
