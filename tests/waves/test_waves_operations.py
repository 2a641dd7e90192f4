"""Interference and modulation in the words of the polar form."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from polar_reference import offsets_of_lengths, rows

from token2wave.waves import Wave, interference, interference_term, modulation, wave

seeds = st.integers(0, 2**31)
ragged = st.lists(st.integers(0, 5), max_size=5)


def two_waves(lengths: list[int], seed: int) -> tuple[Wave, Wave]:
    offsets = offsets_of_lengths(lengths)
    return wave(rows(seed, sum(lengths), 2), offsets), wave(rows(seed + 1, sum(lengths), 2), offsets)


def test_by_hand():
    first = Wave(torch.tensor([3.0]), torch.tensor([4.0]))
    second = Wave(torch.tensor([-5.0]), torch.tensor([2.0]))
    assert interference(first, second).complex.tolist() == [(3 + 4j) + (-5 + 2j)]
    assert modulation(first, second).complex.tolist() == [(3 + 4j) * (-5 + 2j)]
    assert interference_term(first, second).tolist() == [2 * (3 * -5 + 4 * 2)]


@settings(deadline=None, max_examples=50)
@given(lengths=ragged, seed=seeds)
def test_interference_adds_energies_and_the_term(lengths, seed):
    first, second = two_waves(lengths, seed)
    total = interference(first, second).magnitude.square()
    parts = first.magnitude.square() + second.magnitude.square()
    term = interference_term(first, second)
    torch.testing.assert_close(total, parts + term, rtol=1e-12, atol=1e-12)
    polar = 2 * first.magnitude * second.magnitude * torch.cos(first.phase - second.phase)
    torch.testing.assert_close(term, polar, rtol=1e-12, atol=1e-12)


@settings(deadline=None, max_examples=50)
@given(lengths=ragged, seed=seeds)
def test_modulation_multiplies_magnitudes_and_adds_phases(lengths, seed):
    first, second = two_waves(lengths, seed)
    product = modulation(first, second)
    torch.testing.assert_close(product.magnitude, first.magnitude * second.magnitude, rtol=1e-12, atol=1e-14)
    turn = product.phase - (first.phase + second.phase)
    turn = turn - 2 * math.pi * torch.round(turn / (2 * math.pi))
    torch.testing.assert_close(turn, torch.zeros_like(turn), rtol=0.0, atol=1e-10)


@settings(deadline=None, max_examples=20)
@given(lengths=ragged, seed=seeds)
def test_operations_are_those_of_complex_numbers(lengths, seed):
    first, second = two_waves(lengths, seed)
    for operation, expected in (
        (interference, first.complex + second.complex),
        (modulation, first.complex * second.complex),
    ):
        torch.testing.assert_close(operation(first, second).complex, expected, rtol=1e-12, atol=1e-14)
        for here, there in zip(operation(first, second), operation(second, first), strict=True):
            torch.testing.assert_close(here, there, rtol=1e-12, atol=1e-14)


def test_modulation_phase_of_the_product_uses_the_phase():
    """The magnitude of a product alone is a bag of energies; its real part is not."""
    lengths = [4]
    tokens, flipped = rows(1, 4, 2), rows(1, 4, 2)
    flipped[0] = -flipped[0]
    first, other = wave(tokens, offsets_of_lengths(lengths)), wave(flipped, offsets_of_lengths(lengths))
    second = wave(rows(2, 4, 2), offsets_of_lengths(lengths))
    here, there = modulation(first, second), modulation(other, second)
    torch.testing.assert_close(here.magnitude, there.magnitude, rtol=1e-12, atol=0.0)
    assert bool((here.real[0] - there.real[0]).abs().min() > 1e-3)
    assert bool(
        (interference(first, second).magnitude[0] - interference(other, second).magnitude[0]).abs().min()
        > 1e-3
    )


def test_operations_broadcast():
    first = Wave(rows(3, 4, 2), rows(4, 4, 2))
    second = Wave(rows(5, 1, 2), rows(6, 1, 2))
    for operation in (interference, modulation):
        repeated = Wave(second.real.expand(4, 2), second.imaginary.expand(4, 2))
        for here, there in zip(operation(first, second), operation(first, repeated), strict=True):
            assert torch.equal(here, there)


def test_gradcheck_and_gradgradcheck():
    offsets, coarse = torch.tensor([0, 2, 5]), torch.tensor([0, 5])
    tokens, tokens_prime = rows(7, 5, 2).requires_grad_(), rows(8, 5, 2).requires_grad_()
    for operation in (interference, modulation):

        def combined(w, w_prime, operation=operation):
            return tuple(operation(wave(w, offsets), wave(w_prime, coarse)))

        assert torch.autograd.gradcheck(combined, (tokens, tokens_prime))
        assert torch.autograd.gradgradcheck(combined, (tokens, tokens_prime))

    def term(w, w_prime):
        return interference_term(wave(w, offsets), wave(w_prime, coarse))

    assert torch.autograd.gradcheck(term, (tokens, tokens_prime))


def test_gradients_stay_finite_for_texts_of_one_token():
    """Both variants have no other token: Z Z' is real, and its magnitude has a derivative."""
    tokens, tokens_prime = rows(9, 3, 2).requires_grad_(), rows(10, 3, 2).requires_grad_()
    offsets = torch.tensor([0, 1, 2, 3])
    for operation in (interference, modulation):
        z = operation(wave(tokens, offsets), wave(tokens_prime, offsets))
        gradients = torch.autograd.grad((z.real + z.imaginary + z.magnitude).sum(), (tokens, tokens_prime))
        assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
