"""Sums over ragged segments against loops."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from polar_reference import offsets_of_lengths, rows, segments_of_lengths

from token2wave.waves import (
    gathered_segment_sum,
    neighbours_sum,
    others_sum,
    segment_ids,
    segment_mean,
    segment_sum,
    spread_to_rows,
)

LENGTHS = [0, 3, 1, 0, 4, 2, 0]
seeds = st.integers(0, 2**31)
ragged = st.lists(st.integers(0, 6), max_size=6)


def loop_sum(values: torch.Tensor, picked: list[int]) -> list[float]:
    return [math.fsum(float(values[i, k]) for i in picked) for k in range(values.shape[1])]


def as_tensor(table: list[list[float]], like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(table, dtype=torch.float64).reshape(-1, like.shape[1])


def others_loop(values: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    segments = segments_of_lengths(lengths)
    table = [
        loop_sum(values, [i for i in range(len(segments)) if segments[i] == segments[j] and i != j])
        for j in range(len(segments))
    ]
    return as_tensor(table, values)


def neighbours_loop(values: torch.Tensor, lengths: list[int], radius: int, side: str) -> torch.Tensor:
    table, start = [], 0
    for length in lengths:
        for j in range(start, start + length):
            left = [i for i in range(start, j) if j - i <= radius]
            right = [i for i in range(j + 1, start + length) if i - j <= radius]
            table.append(loop_sum(values, left if side == "left" else right))
        start += length
    return as_tensor(table, values)


@settings(deadline=None, max_examples=50)
@given(lengths=ragged)
def test_segment_ids(lengths):
    ids = segment_ids(offsets_of_lengths(lengths), sum(lengths))
    assert ids.dtype == torch.int64
    assert ids.tolist() == segments_of_lengths(lengths)


@settings(deadline=None, max_examples=50)
@given(lengths=ragged, width=st.integers(1, 9), seed=seeds)
def test_sums_and_means_against_loops(lengths, width, seed):
    values, offsets = rows(seed, sum(lengths), width), offsets_of_lengths(lengths)
    bounds = list(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True))
    sums = as_tensor([loop_sum(values, list(range(a, b))) for a, b in bounds], values)
    torch.testing.assert_close(segment_sum(values, offsets), sums, rtol=1e-12, atol=1e-12)
    means = as_tensor(
        [[x / max(b - a, 1) for x in row] for row, (a, b) in zip(sums.tolist(), bounds, strict=True)], values
    )
    torch.testing.assert_close(segment_mean(values, offsets), means, rtol=1e-12, atol=1e-12)


@settings(deadline=None, max_examples=50)
@given(lengths=ragged, n_distinct=st.integers(1, 5), seed=seeds)
def test_gathered_sum_equals_sum_of_gathered(lengths, n_distinct, seed):
    offsets = offsets_of_lengths(lengths)
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(n_distinct, (sum(lengths),), generator=generator)
    weights = rows(seed + 1, len(lengths), 3)
    values, copy = rows(seed, n_distinct, 3).requires_grad_(), rows(seed, n_distinct, 3).requires_grad_()
    here, there = gathered_segment_sum(values, index, offsets), segment_sum(copy[index], offsets)
    torch.testing.assert_close(here, there, rtol=1e-12, atol=1e-12)
    (here * weights).sum().backward()
    (there * weights).sum().backward()
    torch.testing.assert_close(values.grad, copy.grad, rtol=1e-12, atol=1e-12)
    # and the gradient, from nothing but its definition
    expected = torch.zeros_like(values)
    for token, segment in zip(index.tolist(), segments_of_lengths(lengths), strict=True):
        expected[token] += weights[segment]
    torch.testing.assert_close(values.grad, expected, rtol=1e-12, atol=1e-12)


@settings(deadline=None, max_examples=50)
@given(lengths=ragged, width=st.integers(1, 3), seed=seeds, exponent=st.integers(-8, 8))
def test_others_sum_of_signed_values(lengths, width, seed, exponent):
    values, offsets = rows(seed, sum(lengths), width), offsets_of_lengths(lengths)
    values[::4] *= 10.0**exponent
    expected, sizes = others_loop(values, lengths), others_loop(values.abs(), lengths)
    error = (others_sum(values, offsets) - expected).abs()
    assert bool((error <= 1e-14 * sizes).all())  # relative to the other rows, not to the row itself


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_others_sum_by_hand(dtype):
    values = torch.tensor([[1e9, 1.0], [0.25, -1.0], [0.5, 1.0], [7.0, -0.0]], dtype=dtype)
    sums = others_sum(values, torch.tensor([0, 3, 3, 4]))
    assert sums[0].tolist() == [0.75, 0.0]  # a subtraction from the total would give 0 or 1 in float32
    assert sums[1, 1].item() == 2.0
    assert sums[3].tolist() == [0.0, 0.0]


def test_others_sum_with_ties():
    values = torch.tensor([[5.0, 2.0], [-5.0, 2.0], [0.5, 2.0], [5.0, 2.0]])
    assert others_sum(values, torch.tensor([0, 4])).tolist() == [
        [0.5, 6.0],
        [10.5, 6.0],
        [5.0, 6.0],
        [0.5, 6.0],
    ]


@settings(deadline=None, max_examples=30)
@given(lengths=ragged, seed=seeds)
def test_others_sum_is_its_own_adjoint(lengths, seed):
    offsets = offsets_of_lengths(lengths)
    x, y = rows(seed, sum(lengths), 2).requires_grad_(), rows(seed + 1, sum(lengths), 2)
    left, right = (others_sum(x, offsets) * y).sum(), (x * others_sum(y, offsets)).sum()
    torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)
    left.backward()
    torch.testing.assert_close(x.grad, others_loop(y, lengths), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("radius", [1, 2, 3, 10])
def test_neighbours_sum_against_loops(radius, side):
    for lengths in (LENGTHS, [5], [1], [1, 1], [0], [], [12, 2]):
        values = rows(radius, sum(lengths), 3)
        actual = neighbours_sum(values, offsets_of_lengths(lengths), radius, side=side)
        torch.testing.assert_close(
            actual, neighbours_loop(values, lengths, radius, side), rtol=1e-13, atol=1e-13
        )


@settings(deadline=None, max_examples=30)
@given(lengths=ragged, radius=st.integers(1, 8), side=st.sampled_from(["left", "right"]), seed=seeds)
def test_neighbours_sum_has_its_mirror_as_adjoint(lengths, radius, side, seed):
    offsets, mirror = offsets_of_lengths(lengths), {"left": "right", "right": "left"}[side]
    x, y = rows(seed, sum(lengths), 2).requires_grad_(), rows(seed + 1, sum(lengths), 2)
    here = neighbours_sum(x, offsets, radius, side=side)
    torch.testing.assert_close(
        here, neighbours_loop(x.detach(), lengths, radius, side), rtol=1e-12, atol=1e-12
    )
    left, right = (here * y).sum(), (x * neighbours_sum(y, offsets, radius, side=mirror)).sum()
    torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)
    left.backward()
    torch.testing.assert_close(x.grad, neighbours_loop(y, lengths, radius, mirror), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("radius", "side"), [(0, "left"), (-1, "right"), (1, "up"), (1, "")])
def test_neighbours_sum_refuses(radius, side):
    with pytest.raises(ValueError, match="radius >= 1 and side"):
        neighbours_sum(torch.ones(2, 1), torch.tensor([0, 2]), radius, side=side)


def test_gradcheck_and_gradgradcheck():
    values, offsets = rows(1, sum(LENGTHS), 2).requires_grad_(), offsets_of_lengths(LENGTHS)
    for linear in (
        lambda v: others_sum(v, offsets),
        lambda v: neighbours_sum(v, offsets, 2, side="left"),
        lambda v: neighbours_sum(v, offsets, 2, side="right"),
    ):
        assert torch.autograd.gradcheck(linear, (values,))
        assert torch.autograd.gradgradcheck(lambda v, f=linear: f(v.square()), (values,))
    assert torch.autograd.gradcheck(lambda v: segment_sum(v, offsets), (values,))
    assert torch.autograd.gradcheck(lambda v: segment_mean(v, offsets), (values,))


def test_nothing_at_all():
    for n_segments in (0, 2):
        offsets, values = torch.zeros(n_segments + 1, dtype=torch.int64), torch.zeros(0, 3)
        assert segment_ids(offsets, 0).tolist() == []
        assert segment_sum(values, offsets).tolist() == [[0.0] * 3] * n_segments
        assert segment_mean(values, offsets).tolist() == [[0.0] * 3] * n_segments
        assert others_sum(values, offsets).shape == (0, 3)
        assert neighbours_sum(values, offsets, 2, side="left").shape == (0, 3)


def test_a_text_that_overflows_does_not_touch_its_neighbours():
    values = torch.ones(6, 1)
    values[2], values[3] = float("inf"), float("nan")
    offsets = torch.tensor([0, 2, 4, 6])
    outside = [0, 1, 4, 5]
    assert others_sum(values, offsets)[outside].tolist() == [[1.0]] * 4
    assert segment_sum(values, offsets)[[0, 2]].tolist() == [[2.0]] * 2


def test_neighbours_of_a_text_that_overflows():
    values = torch.ones(6, 1)
    values[2], values[3] = float("inf"), float("nan")
    offsets, outside = torch.tensor([0, 2, 4, 6]), [0, 1, 4, 5]
    assert neighbours_sum(values, offsets, 1, side="left")[outside].tolist() == [[0.0], [1.0]] * 2
    assert neighbours_sum(values, offsets, 1, side="right")[outside].tolist() == [[1.0], [0.0]] * 2


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_spread_to_rows_is_the_transpose_of_the_gathered_sum(seed):
    generator = torch.Generator().manual_seed(seed)
    offsets, n_rows = torch.tensor([0, 3, 3, 7, 8]), 5
    index = torch.randint(n_rows - 1, (8,), generator=generator)  # no token uses the last row
    given = torch.randn(4, 2, generator=generator, dtype=torch.float64)
    rows = torch.randn(n_rows, 2, generator=generator, dtype=torch.float64)
    segments = segment_ids(offsets, 8)
    expected = torch.zeros(n_rows, 2, dtype=torch.float64)
    for token in range(8):
        expected[index[token]] += given[segments[token]]
    spread = spread_to_rows(given, segments, index, n_rows)
    torch.testing.assert_close(spread, expected, rtol=1e-14, atol=1e-14)
    one_way = (gathered_segment_sum(rows, index, offsets) * given).sum()
    torch.testing.assert_close(one_way, (rows * spread).sum(), rtol=1e-12, atol=1e-12)
