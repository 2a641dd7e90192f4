"""A token as a wave: identities, the rule for roots, ranges of numbers, derivatives."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp
from polar_reference import (
    assert_within,
    offsets_of_lengths,
    polar_gradient,
    polar_wave,
    rows,
    segments_of_lengths,
    zip_map,
)

import token2wave.waves as waves
from token2wave.waves import (
    Wave,
    energy,
    energy_shares,
    global_semantics,
    root,
    segment_ids,
    segment_sum,
    wave,
    wave_from_polar,
)

LENGTHS = [0, 3, 1, 0, 4, 2, 0]  # empty segments at both ends and in the middle, one of one token
ragged = st.lists(st.integers(0, 5), max_size=5)
seeds = st.integers(0, 2**31)


def test_public_names_exist_and_are_sorted():
    assert all(hasattr(waves, name) for name in waves.__all__)
    assert waves.__all__ == sorted(waves.__all__)


def test_energy_and_global_semantics_by_hand():
    tokens = torch.tensor([[3.0, 1.0], [4.0, 2.0], [0.0, -2.0]])
    offsets = torch.tensor([0, 2, 2, 3])
    assert energy(tokens, offsets).tolist() == [[25.0, 5.0], [0.0, 0.0], [0.0, 4.0]]
    expected = torch.tensor([[5.0, math.sqrt(5)], [0.0, 0.0], [0.0, 2.0]])
    torch.testing.assert_close(global_semantics(tokens, offsets), expected)


def test_wave_by_hand():
    tokens = torch.tensor([[3.0], [4.0], [-7.0]])
    z = wave(tokens, torch.tensor([0, 2, 3]))
    assert z.real.tolist() == [[3.0], [4.0], [-7.0]]
    assert z.imaginary.tolist() == [[4.0], [3.0], [0.0]]
    assert z.magnitude.tolist() == [[5.0], [5.0], [7.0]]
    torch.testing.assert_close(z.phase, torch.tensor([[math.atan2(4, 3)], [math.atan2(3, 4)], [math.pi]]))
    assert z.concatenated.tolist() == [[3.0, 4.0], [4.0, 3.0], [-7.0, 0.0]]
    assert z.complex.tolist() == [[3 + 4j], [4 + 3j], [-7 + 0j]]


@settings(deadline=None, max_examples=20)
@given(lengths=ragged, width=st.integers(1, 3), seed=seeds)
def test_random_ragged_batches_agree_with_the_polar_definitions(lengths, width, seed):
    tokens = rows(seed, sum(lengths), width).requires_grad_()
    segments, offsets = segments_of_lengths(lengths), offsets_of_lengths(lengths)
    z, reference = wave(tokens, offsets), polar_wave(tokens.tolist(), segments)
    assert_within(z.real, zip_map(mp.re, reference.euler), 1e-10)
    assert_within(z.imaginary, zip_map(mp.im, reference.euler), 1e-10)
    assert_within(z.magnitude, reference.magnitude, 1e-10)
    assert_within(z.phase, reference.phase, 1e-10)
    c_re, c_im = rows(seed + 1, *tokens.shape), rows(seed + 2, *tokens.shape)
    (z.real * c_re + z.imaginary * c_im).sum().backward()
    gradient, scale = polar_gradient(tokens.tolist(), segments, c_re.tolist(), c_im.tolist())
    assert_within(tokens.grad, gradient, 1e-10, scale)


@settings(deadline=None, max_examples=50)
@given(lengths=ragged, width=st.integers(1, 3), seed=seeds, exponent=st.integers(-12, 12))
def test_identities_of_random_waves(lengths, width, seed, exponent):
    tokens = rows(seed, sum(lengths), width) * 10.0**exponent
    tokens[::3, 0] = 0.0
    offsets = offsets_of_lengths(lengths)
    z, segments = wave(tokens, offsets), segment_ids(offsets, len(tokens))
    shared = global_semantics(tokens, offsets)[segments]
    # One magnitude for the whole segment, phases in [0, pi], Cartesian form == polar form.
    torch.testing.assert_close(z.magnitude, shared, rtol=1e-12, atol=0.0)
    assert bool(((z.phase >= 0) & (z.phase <= math.pi)).all())
    again = wave_from_polar(z.magnitude, z.phase)
    absolute = 1e-14 * float(shared.max()) if shared.numel() else 0.0
    torch.testing.assert_close(again.real, tokens, rtol=1e-12, atol=absolute)
    torch.testing.assert_close(again.imaginary, z.imaginary, rtol=1e-12, atol=absolute)
    torch.testing.assert_close(z.complex.abs(), z.magnitude, rtol=1e-12, atol=0.0)
    # Shares are cos^2(phase), and sum to one wherever there is energy.
    shares = energy_shares(tokens, shared)
    cos_squared = torch.where(shared > 0, torch.cos(z.phase).square(), 0.0)
    torch.testing.assert_close(shares, cos_squared, rtol=0.0, atol=1e-12)
    sums = segment_sum(shares, offsets)
    has_energy = energy(tokens, offsets) > 0
    torch.testing.assert_close(sums, has_energy.double(), rtol=0.0, atol=1e-12)


def test_wave_from_polar_is_eulers_formula():
    quarter = torch.tensor([0.0, math.pi / 6, math.pi / 2, math.pi, -math.pi / 3], dtype=torch.float64)
    z = wave_from_polar(torch.tensor(2.0, dtype=torch.float64), quarter)
    expected = [2.0, math.sqrt(3), 0.0, -2.0, 1.0], [0.0, 1.0, 2.0, 0.0, -math.sqrt(3)]
    torch.testing.assert_close(z.real, torch.tensor(expected[0], dtype=torch.float64), rtol=0.0, atol=1e-15)
    torch.testing.assert_close(
        z.imaginary, torch.tensor(expected[1], dtype=torch.float64), rtol=0.0, atol=1e-15
    )


# The rule for roots


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_root_has_derivative_zero_at_zero(dtype):
    x = torch.tensor([0.0, 4.0, 0.25, 2.0], dtype=dtype, requires_grad=True)
    y = root(x)
    y.backward(torch.tensor([5.0, 1.0, 1.0, 3.0], dtype=dtype))
    torch.testing.assert_close(y, torch.tensor([0.0, 2.0, 0.5, math.sqrt(2)], dtype=dtype))
    torch.testing.assert_close(x.grad, torch.tensor([0.0, 0.25, 1.0, 1.5 / math.sqrt(2)], dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_token_texts(dtype):
    tokens = torch.tensor([[0.3, -0.2], [1.7, 1e-3], [-2.0, 0.0]], dtype=dtype, requires_grad=True)
    z = wave(tokens, torch.tensor([0, 1, 2, 3]))
    assert z.imaginary.tolist() == [[0.0, 0.0]] * 3  # exactly
    torch.testing.assert_close(z.magnitude, tokens.abs(), rtol=1e-6, atol=0.0)
    torch.testing.assert_close(
        z.phase, torch.tensor([[0.0, math.pi], [0.0, 0.0], [math.pi, 0.0]], dtype=dtype)
    )
    weights = torch.tensor([[2.0, 3.0], [4.0, 5.0], [6.0, 7.0]], dtype=dtype)
    (weights * z.real + 100.0 * z.imaginary).sum().backward()
    torch.testing.assert_close(tokens.grad, weights)  # the real part's alone


def test_dimension_of_zeros():
    tokens = torch.tensor([[0.5, 0.0], [0.25, 0.0], [1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    z = wave(tokens, torch.tensor([0, 3]))
    for part in (z.real, z.imaginary, z.magnitude, z.phase):
        assert part[:, 1].tolist() == [0.0, 0.0, 0.0]
    (2.0 * z.real + 5.0 * z.imaginary + z.magnitude).sum().backward()
    assert tokens.grad[:, 1].tolist() == [2.0, 2.0, 2.0]
    assert bool(torch.isfinite(tokens.grad).all())
    assert energy_shares(tokens.detach(), z.magnitude.detach())[:, 1].tolist() == [0.0, 0.0, 0.0]


def test_one_token_holds_a_whole_dimension():
    tokens = torch.tensor([[0.0], [-3.0], [0.0]], dtype=torch.float32, requires_grad=True)
    z = wave(tokens, torch.tensor([0, 3]))
    assert z.imaginary.tolist() == [[3.0], [0.0], [3.0]]
    z.imaginary.sum().backward()
    assert tokens.grad.tolist() == [[0.0], [-2.0], [0.0]]  # w (1/3 + 1/3); the token's own root is zero


def test_negative_zero():
    tokens = torch.tensor([[-0.0, -0.0], [-0.0, 2.0], [-0.0, -1.0]])
    for offsets in (torch.tensor([0, 3]), torch.tensor([0, 1, 2, 3])):
        z = wave(tokens, offsets)
        assert z.phase[:, 0].tolist() == [0.0, 0.0, 0.0]  # not pi
        assert z.magnitude[:, 0].tolist() == [0.0, 0.0, 0.0]
    assert float(wave(tokens, torch.tensor([0, 3])).phase[0, 1]) == pytest.approx(math.pi / 2)
    assert Wave(torch.tensor([-0.0]), torch.tensor([0.0])).phase.item() == 0.0


def test_two_tokens_tied_for_the_largest():
    tokens = torch.tensor([[1000.0], [1e-3], [-1000.0], [2e-3]], dtype=torch.float32)
    z = wave(tokens, torch.tensor([0, 4]))
    exact = polar_wave(tokens.double().tolist(), [0] * 4)
    assert_within(z.imaginary, zip_map(mp.im, exact.euler), 1e-6)


# Ranges


def test_no_segments_no_rows():
    for n_segments in (0, 3):
        offsets = torch.zeros(n_segments + 1, dtype=torch.int64)
        tokens = torch.zeros(0, 4, requires_grad=True)
        z = wave(tokens, offsets)
        assert z.real.shape == z.imaginary.shape == (0, 4)
        assert global_semantics(tokens, offsets).tolist() == [[0.0] * 4] * n_segments
        (z.real.sum() + z.imaginary.sum() + global_semantics(tokens, offsets).sum()).backward()
        assert tokens.grad.shape == (0, 4)


@pytest.mark.parametrize("size", [1e-30, 1e-22, 1e-18, 1e18])
def test_tiny_and_huge_float32_stay_finite(size):
    tokens = rows(4, 9, 3, torch.float32).clamp(-2.0, 2.0) * size
    tokens.requires_grad_()
    z = wave(tokens, offsets_of_lengths([4, 1, 4]))
    shared = global_semantics(tokens, offsets_of_lengths([4, 1, 4]))
    loss = (z.real + z.imaginary + z.magnitude).sum() + shared.sum()
    loss.backward()
    for part in (*z, z.magnitude, z.phase, shared, tokens.grad):
        assert bool(torch.isfinite(part).all())
    shares = energy_shares(tokens.detach(), shared.detach()[segment_ids(offsets_of_lengths([4, 1, 4]), 9)])
    assert bool(torch.isfinite(shares).all())
    if size >= 1e-18:  # squares are normal numbers: accurate, not only finite
        exact = polar_wave(tokens.detach().double().tolist(), segments_of_lengths([4, 1, 4]))
        assert_within(z.imaginary, zip_map(mp.im, exact.euler), 1e-5)


@pytest.mark.parametrize(("n_tokens", "relative"), [(1_000, 1e-5), (100_000, 2e-3)])
def test_long_texts_in_float32(n_tokens, relative):
    """Finite and near float64; the bound for 1e5 tokens is what plain sequential sums can hold.

    The columns: random signs; one token outweighs the rest; all equal, where rounding drifts most.
    """
    tokens = rows(5, n_tokens, 3, torch.float32)
    tokens[777, 1] = 3.0e4
    tokens[:, 2] = 1.1
    offsets = torch.tensor([0, n_tokens])
    single, double = tokens.clone().requires_grad_(), tokens.double().requires_grad_()
    z, exact = wave(single, offsets), wave(double, offsets)
    z.imaginary.sum().backward()
    exact.imaginary.sum().backward()
    torch.testing.assert_close(z.imaginary.double(), exact.imaginary, rtol=relative, atol=0.0)
    torch.testing.assert_close(single.grad.double(), double.grad, rtol=relative, atol=0.0)
    squares = [[x * x for x in column] for column in tokens.double().T.tolist()]
    for k in range(3):
        for j in (0, 777, n_tokens - 1):
            others = math.fsum(squares[k][:j] + squares[k][j + 1 :])
            assert float(exact.imaginary[j, k].detach()) == pytest.approx(math.sqrt(others), rel=1e-10)


# Structure


@settings(deadline=None, max_examples=30)
@given(lengths=st.lists(st.integers(0, 5), min_size=1, max_size=5), seed=seeds)
def test_result_of_a_text_does_not_depend_on_its_batch(lengths, seed):
    tokens, offsets = rows(seed, sum(lengths), 3, torch.float32), offsets_of_lengths(lengths)
    batch, shared = wave(tokens, offsets), global_semantics(tokens, offsets)
    for b, (start, end) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
        alone_offsets = torch.tensor([0, end - start])
        alone = wave(tokens[start:end], alone_offsets)
        assert torch.equal(alone.real, batch.real[start:end])
        assert torch.equal(alone.imaginary, batch.imaginary[start:end])  # bit for bit
        assert torch.equal(global_semantics(tokens[start:end], alone_offsets)[0], shared[b])


def test_order_of_texts_does_not_matter():
    tokens, offsets = rows(6, sum(LENGTHS), 3), offsets_of_lengths(LENGTHS)
    pieces = list(tokens.split(LENGTHS))[::-1]
    backwards = wave(torch.cat(pieces), offsets_of_lengths(LENGTHS[::-1]))
    forwards = wave(tokens, offsets)
    for there, here in zip(backwards, forwards, strict=True):
        assert torch.equal(torch.cat(list(there.split(LENGTHS[::-1]))[::-1]), here)


@settings(deadline=None, max_examples=30)
@given(n_tokens=st.integers(1, 8), seed=seeds)
def test_wave_is_permutation_equivariant(n_tokens, seed):
    tokens, offsets = rows(seed, n_tokens, 3), torch.tensor([0, n_tokens])
    order = torch.randperm(n_tokens, generator=torch.Generator().manual_seed(seed))
    there, here = wave(tokens[order], offsets), wave(tokens, offsets)
    assert torch.equal(there.real, here.real[order])
    torch.testing.assert_close(there.imaginary, here.imaginary[order], rtol=1e-13, atol=0.0)


def test_the_segments_decide_the_level():
    tokens = rows(7, 6, 2)
    sentences, text = wave(tokens, torch.tensor([0, 3, 6])), wave(tokens, torch.tensor([0, 6]))
    assert bool((sentences.imaginary < text.imaginary).all())
    assert bool((sentences.magnitude[0] != sentences.magnitude[3]).all())


# Derivatives of the functions themselves


def test_gradcheck_wave_and_its_properties():
    tokens, offsets = rows(8, 6, 2).requires_grad_(), torch.tensor([0, 2, 2, 6])
    for function in (
        lambda t: tuple(wave(t, offsets)),
        lambda t: wave(t, offsets).magnitude,
        lambda t: wave(t, offsets).phase,
        lambda t: wave(t, offsets).concatenated,
        lambda t: global_semantics(t, offsets),
    ):
        assert torch.autograd.gradcheck(function, (tokens,))


def test_gradgradcheck_wave():
    """Sums over segments have no second derivative in torch (`embedding_bag`); waves have their own."""
    tokens, offsets = rows(8, 6, 2).requires_grad_(), torch.tensor([0, 2, 2, 6])
    assert torch.autograd.gradgradcheck(lambda t: tuple(wave(t, offsets)), (tokens,))
    assert torch.autograd.gradgradcheck(lambda t: wave(t, offsets).phase, (tokens,))


def test_second_derivative_stays_finite_where_the_root_is_zero():
    tokens = torch.tensor([[0.5], [2.0], [3.0]], dtype=torch.float64, requires_grad=True)
    z = wave(tokens, torch.tensor([0, 1, 3]))  # the first text has one token
    (gradient,) = torch.autograd.grad((z.real * z.imaginary).sum(), tokens, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), tokens)
    assert bool(torch.isfinite(second).all())


def test_gradcheck_euler_and_shares():
    magnitude, phase = rows(9, 3, 2).abs().requires_grad_(), rows(10, 3, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda g, a: tuple(wave_from_polar(g, a)), (magnitude, phase))
    assert torch.autograd.gradcheck(energy_shares, (phase, (magnitude.detach() + 0.5).requires_grad_()))
