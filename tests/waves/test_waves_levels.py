"""First token, whole text, and phrase level against loops over texts."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from polar_reference import offsets_of_lengths, rows

from token2wave.waves import Wave, context_waves, first_token_wave, text_wave, wave

LENGTHS = [0, 3, 1, 0, 4, 2, 0]
seeds = st.integers(0, 2**31)
ragged = st.lists(st.integers(0, 6), max_size=6)


def drawn_index(seed: int, n_tokens: int, n_distinct: int) -> torch.Tensor:
    return torch.randint(n_distinct, (n_tokens,), generator=torch.Generator().manual_seed(seed))


def texts(offsets: torch.Tensor) -> list[slice]:
    return [slice(a, b) for a, b in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)]


# First token


@settings(deadline=None, max_examples=60)
@given(lengths=ragged, n_distinct=st.integers(1, 4), seed=seeds, large=st.booleans())
def test_first_token_wave_is_the_wave_at_the_first_token(lengths, n_distinct, seed, large):
    offsets, index = offsets_of_lengths(lengths), drawn_index(seed, sum(lengths), n_distinct)
    values = rows(seed, n_distinct, 3)
    if large:
        values[0] *= 1e6
    filled = [b for b, length in enumerate(lengths) if length]
    weights = rows(seed + 1, len(lengths), 6)
    direct, slow = values.clone().requires_grad_(), values.clone().requires_grad_()

    actual = first_token_wave(direct, index, offsets)
    assert actual.real.shape == actual.imaginary.shape == (len(lengths), 3)
    full_train = wave(slow[index], offsets)
    expected = torch.zeros(len(lengths), 6, dtype=torch.float64)
    if filled:
        at = offsets[:-1][filled]
        expected = expected.index_put((torch.tensor(filled),), full_train.concatenated[at])
    torch.testing.assert_close(actual.concatenated, expected, rtol=1e-12, atol=0.0)
    if filled:
        (actual.concatenated * weights).sum().backward()
        (expected * weights).sum().backward()
        torch.testing.assert_close(direct.grad, slow.grad, rtol=1e-9, atol=1e-9)


def test_first_token_wave_by_hand():
    values = torch.tensor([[3.0], [4.0], [12.0]], requires_grad=True)
    index = torch.tensor([1, 0, 0, 2, 1])  # texts: (), (4, 3, 3), (12,), (), (4,)
    z = first_token_wave(values, index, torch.tensor([0, 0, 3, 4, 4, 5]))
    assert z.real.tolist() == [[0.0], [4.0], [12.0], [0.0], [4.0]]
    root18 = math.sqrt(18)
    torch.testing.assert_close(z.imaginary, torch.tensor([[0.0], [root18], [0.0], [0.0], [0.0]]))
    z.imaginary.sum().backward()
    torch.testing.assert_close(values.grad, torch.tensor([[2 * 3 / root18], [0.0], [0.0]]))


def test_first_token_that_dominates_in_float32():
    values = torch.tensor([[1e6], [0.25], [0.5]])
    z = first_token_wave(values, torch.tensor([0, 1, 2, 0, 2]), torch.tensor([0, 3, 5]))
    expected = torch.tensor([[math.sqrt(0.3125)], [0.5]])
    torch.testing.assert_close(z.imaginary, expected, rtol=1e-6, atol=0.0)


def test_gradcheck_first_token_wave():
    values, index = rows(1, 4, 2).requires_grad_(), drawn_index(1, sum(LENGTHS), 4)
    offsets = offsets_of_lengths(LENGTHS)
    assert torch.autograd.gradcheck(lambda v: tuple(first_token_wave(v, index, offsets)), (values,))


@settings(deadline=None, max_examples=40)
@given(lengths=ragged, seed=seeds)
def test_first_token_wave_of_a_shorter_segment(lengths, seed):
    """With `ends`, what follows the first token's sentence does not count, for values and gradients."""
    offsets, index = offsets_of_lengths(lengths), drawn_index(seed, sum(lengths), 4)
    generator = torch.Generator().manual_seed(seed)
    kept = [int(torch.randint(min(1, n), n + 1, (), generator=generator)) for n in lengths]
    ends = offsets[:-1] + torch.tensor(kept, dtype=torch.int64)
    shorter = torch.cat([index[:0], *(index[t][:n] for t, n in zip(texts(offsets), kept, strict=True))])
    weights = rows(seed + 1, len(lengths), 6)
    direct, slow = rows(seed, 4, 3).requires_grad_(), rows(seed, 4, 3).requires_grad_()
    actual = first_token_wave(direct, index, offsets, ends).concatenated
    expected = first_token_wave(slow, shorter, offsets_of_lengths(kept)).concatenated
    assert torch.equal(actual, expected)
    assert torch.equal(first_token_wave(direct, index, offsets, offsets[1:]).real, actual[:, :3])
    if len(index):
        (actual * weights).sum().backward()
        (expected * weights).sum().backward()
        torch.testing.assert_close(direct.grad, slow.grad, rtol=1e-12, atol=1e-12)


# Whole text


@settings(deadline=None, max_examples=60)
@given(lengths=ragged, n_distinct=st.integers(2, 5), seed=seeds)
def test_text_wave_is_mean_and_standard_deviation(lengths, n_distinct, seed):
    offsets, index = offsets_of_lengths(lengths), drawn_index(seed, sum(lengths), n_distinct)
    values = rows(seed, n_distinct, 3)
    z = text_wave(values, index, offsets)
    assert z.real.shape == z.imaginary.shape == (len(lengths), 3)
    tokens = values.numpy()[index.numpy()]
    for b, text in enumerate(texts(offsets)):
        here = tokens[text]
        if len(here) == 0:
            assert z.real[b].tolist() == z.imaginary[b].tolist() == [0.0] * 3
            continue
        np.testing.assert_allclose(z.real[b].numpy(), here.mean(0), rtol=1e-12, atol=1e-14)
        # A difference of sums: the error of the *square* is that of its terms.
        mean_square = np.square(here).mean(0)
        error = np.abs(z.imaginary[b].numpy() ** 2 - here.var(0))
        assert (error <= 1e-14 * mean_square).all()
        np.testing.assert_allclose(z.magnitude[b].numpy() ** 2, mean_square, rtol=1e-12)


def test_text_wave_gradient_against_its_definition():
    """``d std / d w_i = (w_i - mean) / (n std)``, added over the places where a token stands."""
    lengths, index = [4, 0, 5], torch.tensor([0, 1, 2, 1, 3, 3, 0, 4, 2])
    offsets, values = offsets_of_lengths(lengths), rows(2, 5, 3).requires_grad_()
    c_re, c_im = rows(3, 3, 3), rows(4, 3, 3)
    z = text_wave(values, index, offsets)
    (c_re * z.real + c_im * z.imaginary).sum().backward()
    table = values.detach().numpy()
    expected = np.zeros_like(table)
    for b, text in enumerate(texts(offsets)):
        here = table[index[text].numpy()]
        for token in index[text].tolist():
            mean, deviation, n_tokens = here.mean(0), here.std(0), len(here)
            expected[token] += c_re[b].numpy() / n_tokens
            expected[token] += c_im[b].numpy() * (table[token] - mean) / (n_tokens * deviation)
    np.testing.assert_allclose(values.grad.numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_text_wave_of_one_token(dtype):
    values = torch.tensor([[0.3, -1.7], [1e3, 1e-3]], dtype=dtype, requires_grad=True)
    z = text_wave(values, torch.tensor([1, 0]), torch.tensor([0, 1, 1, 2]))
    torch.testing.assert_close(z.real, torch.stack([values[1], torch.zeros(2, dtype=dtype), values[0]]))
    assert z.imaginary.tolist() == [[0.0, 0.0]] * 3  # exactly
    (z.real + 100.0 * z.imaginary).sum().backward()
    assert values.grad.tolist() == [[1.0, 1.0]] * 2


def test_text_wave_is_independent_of_length():
    values, index = rows(5, 3, 2), torch.tensor([0, 1, 2])
    once = text_wave(values, index, torch.tensor([0, 3]))
    twice = text_wave(values, index.repeat(7), torch.tensor([0, 21]))
    torch.testing.assert_close(twice.concatenated, once.concatenated, rtol=1e-12, atol=0.0)


@pytest.mark.parametrize(("dtype", "epsilon"), [(torch.float32, 2.0**-23), (torch.float64, 2.0**-52)])
@pytest.mark.parametrize("spread", [1e-1, 1e-2, 1e-4, 0.0])
def test_text_wave_accuracy_where_tokens_are_nearly_equal(dtype, epsilon, spread):
    """What to expect: the *square* of the imaginary part is accurate to a few epsilon of the mean square.

    So the imaginary part itself has an absolute error of up to about ``sqrt(epsilon)`` times the
    magnitude (3e-4 in float32), and no digit where the spread is smaller than that; never NaN.
    """
    n_tokens = 20
    values = (1.7 + spread * rows(6, n_tokens, 50)).to(dtype).requires_grad_()
    z = text_wave(values, torch.arange(n_tokens), torch.tensor([0, n_tokens]))
    exact = values.detach().double().numpy()
    # Rounding adds up over the tokens, at most one epsilon per addition.
    error = np.abs(z.imaginary[0].detach().double().numpy() ** 2 - exact.var(0))
    assert (error <= n_tokens * epsilon * np.square(exact).mean(0)).all()
    (gradient,) = torch.autograd.grad(z.imaginary.sum(), values)
    assert bool(torch.isfinite(gradient).all())
    assert float(gradient.abs().max()) < 1.0
    if spread >= 100 * math.sqrt(epsilon):
        np.testing.assert_allclose(z.imaginary[0].detach().double().numpy(), exact.std(0), rtol=1e-2)


def test_gradcheck_text_wave():
    values, index = rows(7, 5, 2).requires_grad_(), torch.tensor([0, 1, 2, 3, 4, 0, 2])
    offsets = torch.tensor([0, 3, 3, 7])  # no text of one token: the root has no derivative there
    assert torch.autograd.gradcheck(lambda v: tuple(text_wave(v, index, offsets)), (values,))


def test_bags_have_no_second_derivative():
    """Bags are differentiable once; asking for more is an error, not a wrong number."""
    values, index, offsets = rows(8, 3, 2).requires_grad_(), torch.tensor([0, 1, 2]), torch.tensor([0, 3])
    for function in (first_token_wave, text_wave):
        z = function(values, index, offsets)
        (gradient,) = torch.autograd.grad(z.imaginary.square().sum(), values, create_graph=True)
        with pytest.raises(RuntimeError):
            torch.autograd.grad(gradient.sum(), values)


# Phrases


def context_loop(tokens: torch.Tensor, lengths: list[int], radius: int, side: str) -> tuple[np.ndarray, list]:
    """Imaginary parts, and who contributes to whom."""
    table, result, pairs, start = tokens.detach().double().numpy(), np.zeros(tuple(tokens.shape)), [], 0
    for length in lengths:
        for j in range(start, start + length):
            low, high = (j - radius, j - 1) if side == "left" else (j + 1, j + radius)
            window = [i for i in range(start, start + length) if low <= i <= high]
            for k in range(table.shape[1]):
                result[j, k] = math.sqrt(math.fsum(table[i, k] ** 2 for i in window))
            pairs += [(j, i) for i in window]
        start += length
    return result, pairs


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("radius", [1, 2, 3, 10])
@pytest.mark.parametrize("lengths", [LENGTHS, [6], [1], [2, 2], []], ids=str)
def test_context_waves_against_windows(lengths, radius, dtype):
    relative = 1e-12 if dtype == torch.float64 else 1e-5
    offsets = offsets_of_lengths(lengths)
    first, second = (rows(seed, sum(lengths), 3, dtype).requires_grad_() for seed in (1, 2))
    waves = context_waves(first, second, offsets, radius)
    for z, tokens, side in zip(waves, (first, second), ("left", "right"), strict=True):
        expected, pairs = context_loop(tokens, lengths, radius, side)
        assert torch.equal(z.real, tokens)
        np.testing.assert_allclose(z.imaginary.detach().numpy(), expected, rtol=relative, atol=0.0)
        cotangent = rows(3, *tokens.shape).to(dtype)
        (gradient,) = torch.autograd.grad((cotangent * z.imaginary).sum(), tokens)
        table, slopes = tokens.detach().double().numpy(), np.zeros(tuple(tokens.shape))
        for j, i in pairs:
            slopes[i] += cotangent[j].double().numpy() * table[i] / expected[j]
        np.testing.assert_allclose(gradient.numpy(), slopes, rtol=relative, atol=relative)


def test_context_waves_by_hand():
    tokens = torch.tensor([[3.0], [4.0], [12.0], [5.0]])
    left, right = context_waves(tokens, -tokens, torch.tensor([0, 3, 4]), 2)
    assert left.imaginary.tolist() == [[0.0], [3.0], [5.0], [0.0]]
    torch.testing.assert_close(right.imaginary, torch.tensor([[math.sqrt(160)], [12.0], [0.0], [0.0]]))
    assert right.real.tolist() == [[-3.0], [-4.0], [-12.0], [-5.0]]


def test_context_waves_see_the_order():
    tokens, offsets, order = rows(4, 4, 2), torch.tensor([0, 4]), torch.tensor([1, 0, 2, 3])
    here, there = (
        context_waves(tokens, tokens, offsets, 1),
        context_waves(tokens[order], tokens[order], offsets, 1),
    )
    for z, z_swapped in zip(here, there, strict=True):
        assert float((z.imaginary[order] - z_swapped.imaginary).abs().max()) > 1e-2


def test_context_waves_refuse_a_radius_below_one():
    with pytest.raises(ValueError, match="radius=0"):
        context_waves(torch.ones(2, 1), torch.ones(2, 1), torch.tensor([0, 2]), 0)


def test_gradcheck_context_waves():
    first, second = rows(5, 7, 2).requires_grad_(), rows(6, 7, 2).requires_grad_()
    offsets = torch.tensor([0, 3, 3, 7])

    def squares(h, h_prime):  # of the imaginary parts: the roots at a text's edge are zero
        left, right = context_waves(h, h_prime, offsets, 2)
        return left.imaginary.square(), right.imaginary.square()

    assert torch.autograd.gradcheck(squares, (first, second))

    def inner(h, h_prime):  # positions that do have a neighbour
        left, right = context_waves(h, h_prime, offsets, 2)
        return left.imaginary[[1, 2, 4, 5, 6]], right.imaginary[[0, 1, 3, 4, 5]]

    assert torch.autograd.gradcheck(inner, (first, second))


def test_gradgradcheck_context_waves():
    first, second = rows(5, 7, 2).requires_grad_(), rows(6, 7, 2).requires_grad_()

    def inner(h, h_prime):
        left, right = context_waves(h, h_prime, torch.tensor([0, 3, 3, 7]), 2)
        return left.imaginary[[1, 2, 4, 5, 6]], right.imaginary[[0, 1, 3, 4, 5]]

    assert torch.autograd.gradgradcheck(inner, (first, second))


# All levels


def levels(values: torch.Tensor, index: torch.Tensor, offsets: torch.Tensor) -> dict[str, tuple[bool, Wave]]:
    """Each level's waves, and whether it has a row per text (or per token)."""
    left, right = context_waves(values[index], values[index] + 1, offsets, 2)
    return {
        "first": (True, first_token_wave(values, index, offsets)),
        "text": (True, text_wave(values, index, offsets)),
        "left": (False, left),
        "right": (False, right),
    }


@settings(deadline=None, max_examples=30)
@given(lengths=ragged, seed=seeds)
def test_result_of_a_text_does_not_depend_on_its_batch(lengths, seed):
    offsets, index = offsets_of_lengths(lengths), drawn_index(seed, sum(lengths), 4)
    values = rows(seed, 4, 3, torch.float32)
    batch = levels(values, index, offsets)
    for b, text in enumerate(texts(offsets)):
        alone = levels(values, index[text], torch.tensor([0, text.stop - text.start]))
        for name, (per_text, z) in batch.items():
            here = slice(b, b + 1) if per_text else text
            assert torch.equal(z.concatenated[here], alone[name][1].concatenated), name  # bit for bit


def test_order_of_texts_and_of_distinct_tokens_does_not_matter():
    offsets, index = offsets_of_lengths(LENGTHS), drawn_index(1, sum(LENGTHS), 4)
    values, order = rows(1, 4, 3), torch.tensor([2, 0, 3, 1])
    backwards = torch.cat(list(index.split(LENGTHS))[::-1])
    here = levels(values, index, offsets)
    there = levels(values[order], order.argsort()[backwards], offsets_of_lengths(LENGTHS[::-1]))
    for name, (per_text, z) in here.items():
        other = there[name][1].concatenated
        back = other.flip(0) if per_text else torch.cat(list(other.split(LENGTHS[::-1]))[::-1])
        assert torch.equal(z.concatenated, back), name


@settings(deadline=None, max_examples=20)
@given(seed=seeds)
def test_order_of_tokens(seed):
    """First-token and text level do not see the order of the (other) tokens."""
    values, index, offsets = rows(seed, 5, 3), drawn_index(seed, 6, 5), torch.tensor([0, 6])
    turned = torch.cat([index[:1], index[1:].flip(0)])
    for function in (first_token_wave, text_wave):
        here, there = function(values, index, offsets), function(values, turned, offsets)
        torch.testing.assert_close(here.real, there.real, rtol=1e-12, atol=1e-12)
        squares = here.imaginary.square(), there.imaginary.square()
        torch.testing.assert_close(*squares, rtol=1e-12, atol=1e-12)
    here, there = (text_wave(values, order, offsets) for order in (index, index.flip(0)))
    torch.testing.assert_close(here.real, there.real, rtol=1e-12, atol=1e-12)
    here, there = (first_token_wave(values, order, offsets) for order in (index, index.flip(0)))
    assert torch.equal(here.real[0], values[index[0]])
    assert torch.equal(there.real[0], values[index[-1]])


@pytest.mark.parametrize("n_segments", [0, 3])
@pytest.mark.parametrize("n_distinct", [0, 2])
def test_nothing_at_all(n_segments, n_distinct):
    offsets, index = torch.zeros(n_segments + 1, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
    for per_text, z in levels(torch.zeros(n_distinct, 3), index, offsets).values():
        shape = (n_segments if per_text else 0, 3)
        assert z.real.shape == z.imaginary.shape == shape
        assert not z.concatenated.any()


def test_first_token_wave_of_nothing_can_be_differentiated():
    values = torch.ones(2, 3, requires_grad=True)
    z = first_token_wave(values, torch.zeros(0, dtype=torch.int64), torch.tensor([0, 0]))
    z.concatenated.sum().backward()
    assert values.grad.tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize("size", [1e-30, 1e-22, 1e18])
def test_tiny_and_huge_float32_stay_finite(size):
    values = (rows(9, 5, 3, torch.float32).clamp(-2, 2) * size).requires_grad_()
    index, offsets = drawn_index(3, sum(LENGTHS), 5), offsets_of_lengths(LENGTHS)
    total = sum(z.concatenated.sum() for _, z in levels(values, index, offsets).values())
    total.backward()
    assert bool(torch.isfinite(total))
    assert bool(torch.isfinite(values.grad).all())
