"""Products in block fixed point against float64, and the linear maps that use them against torch."""

import copy
import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from token2wave.core import core
from token2wave.models import WaveConfig, WaveNetwork, products

NATIVE = core()
needs_fixed_point = pytest.mark.skipif(
    not products.fixed_point_available(), reason="no native core or no AVX2"
)
PIECE = 768  # numbers that share a scale, in fixed_point.c
QUANTA = 32766  # the smallest part of a vector's norm that a quantum may be
LAYOUTS = list(itertools.product([False, True], repeat=2))
SIZES = [1, 2, 5, 6, 7, 16, 17, 33, 100]
SHAPES = [
    *itertools.product([1, 6, 7, 25], [1, 15, 17, 49], [1, 15, 16, 100]),
    *(
        (m, n, k)
        for m, n, k in zip(SIZES, SIZES[::-1], [767, 768, 769, 1535, 1536, 1537, 2305, 3, 31], strict=True)
    ),
    (205, 529, 40),  # more than one block of the result on each side
]


def product(a, b, a_transposed=False, b_transposed=False, n_threads=1):
    (m, k), n = a.shape[:: -1 if a_transposed else 1], b.shape[0 if b_transposed else 1]
    out = np.full((m, n), 7, dtype=np.float32)
    NATIVE.fixed_point_product((a, a_transposed), (b, b_transposed), out, (m, n, k), n_threads)
    return out


def factors(m, n, k, a_transposed=False, b_transposed=False, seed=0):
    random = np.random.default_rng(seed)
    a = random.standard_normal((k, m) if a_transposed else (m, k)).astype(np.float32)
    b = random.standard_normal((n, k) if b_transposed else (k, n)).astype(np.float32)
    return a, b


def exact_and_norms(a, b, a_transposed=False, b_transposed=False):
    a, b = a.astype(np.float64), b.astype(np.float64)
    a, b = a.T if a_transposed else a, b.T if b_transposed else b
    return a @ b, np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=0)


def errors(a, b, a_transposed=False, b_transposed=False, n_threads=1):
    """Of each element, in terms of the product of its vectors' norms."""
    exact, norms = exact_and_norms(a, b, a_transposed, b_transposed)
    found = product(a, b, a_transposed, b_transposed, n_threads)
    return np.abs(found - exact) / np.where(norms > 0, norms, 1)


@needs_fixed_point
@pytest.mark.parametrize(("a_transposed", "b_transposed"), LAYOUTS)
def test_products_of_all_sizes(a_transposed, b_transposed):
    for m, n, k in SHAPES:
        a, b = factors(m, n, k, a_transposed, b_transposed)
        found = errors(a, b, a_transposed, b_transposed, n_threads=1 + m % 2)
        # Rounding moves a vector by half the root of its length in quanta at most.
        assert found.max() <= 1.01 * np.sqrt(min(k, PIECE)) / QUANTA + 1e-6, (m, n, k)
        assert found.mean() < 2e-5, (m, n, k)


@needs_fixed_point
def test_no_sum_overflows():
    """Vectors that are parallel have the largest products, whether their numbers are alike or not."""
    random = np.random.default_rng(0)
    for shape in (np.ones(768), np.eye(768)[5], np.r_[100.0, np.ones(767)], random.standard_normal(768)):
        rows = np.stack([shape, -shape]).astype(np.float32)
        assert errors(rows, rows, b_transposed=True).max() < 1e-3


@needs_fixed_point
@pytest.mark.parametrize(("a_transposed", "b_transposed"), LAYOUTS)
@pytest.mark.parametrize("scales", [(1e-30, 1e30), (1e30, 1e-30), (1e30, 1e6), (1e-30, 1e-7), (3e37, 0.1)])
def test_huge_and_tiny_numbers(a_transposed, b_transposed, scales):
    a, b = factors(9, 20, 60, a_transposed, b_transposed)
    a, b = a * np.float32(scales[0]), b * np.float32(scales[1])
    assert errors(a, b, a_transposed, b_transposed).max() < 3e-4


@needs_fixed_point
def test_every_vector_has_a_scale_of_its_own():
    a, b = factors(40, 50, 800)
    a *= np.logspace(-30, 15, 40, dtype=np.float32)[:, None]
    b *= np.logspace(-7, 20, 50, dtype=np.float32)
    assert errors(a, b).max() < 3e-4
    b[:, 3] = 0
    a[7] = 0
    found = product(a, b)
    assert not found[:, 3].any()
    assert not found[7].any()
    assert errors(a, b).max() < 3e-4


@needs_fixed_point
@pytest.mark.parametrize(("a_transposed", "b_transposed"), LAYOUTS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("k", [10, 800])
def test_what_is_not_finite_is_not_hidden(a_transposed, b_transposed, bad, k):
    a, b = factors(8, 19, k, a_transposed, b_transposed)
    (a.T if a_transposed else a)[2, k - 1] = bad
    (b.T if b_transposed else b)[4, 17] = bad
    found = product(a, b, a_transposed, b_transposed)
    expected = np.zeros((8, 19), dtype=bool)
    expected[2], expected[:, 17] = True, True
    assert (np.isnan(found) == expected).all()
    (b.T if b_transposed else b)[:] = 0
    assert np.isnan(product(a, b, a_transposed, b_transposed)[2]).all()  # as nan times zero


@needs_fixed_point
@pytest.mark.parametrize(("a_transposed", "b_transposed"), LAYOUTS)
def test_the_number_of_threads_changes_no_bit(a_transposed, b_transposed):
    a, b = factors(300, 700, 900, a_transposed, b_transposed)
    one = product(a, b, a_transposed, b_transposed, n_threads=1)
    for n_threads in (2, 3, 70, 0):
        assert (product(a, b, a_transposed, b_transposed, n_threads) == one).all()


@needs_fixed_point
@pytest.mark.parametrize("shape", [(0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0)])
def test_products_of_nothing(shape):
    a, b = factors(*shape)
    assert not product(a, b).any()


@needs_fixed_point
def test_sizes_that_do_not_fit_are_refused():
    a, b = factors(4, 5, 6)
    out = np.zeros((4, 5), dtype=np.float32)
    for sizes in ((5, 5, 6), (4, 6, 6), (4, 5, 7), (-4, -5, -6), (1 << 40, 1 << 40, 0)):
        with pytest.raises(ValueError, match="size"):
            NATIVE.fixed_point_product((a, False), (b, False), out, sizes, 1)
    with pytest.raises((ValueError, BufferError)):
        NATIVE.fixed_point_product((a[:, ::2], False), (b, False), out, (4, 5, 3), 1)


# Linear maps


def gradients(function, x, weight, bias, along):
    leaves = [t.detach().clone().requires_grad_() for t in (x, weight, bias) if t is not None]
    result = function(*leaves)
    (result * along).sum().backward()
    return [result.detach(), *(leaf.grad for leaf in leaves)]


@pytest.mark.parametrize("with_bias", [True, False])
def test_a_linear_map_equals_torch_up_to_rounding(with_bias):
    torch.manual_seed(0)
    x, weight, along = torch.randn(150, 800), torch.randn(90, 800), torch.randn(150, 90)
    bias = torch.randn(90) if with_bias else None
    expected = gradients(F.linear, x, weight, bias, along)
    for found, exact in zip(gradients(products.linear, x, weight, bias, along), expected, strict=True):
        assert found.shape == exact.shape
        assert float((found - exact).norm() / exact.norm()) < 5e-4


@needs_fixed_point
def test_a_linear_map_is_in_fixed_point_both_ways():
    torch.manual_seed(0)
    x, weight, along = torch.randn(50, 300), torch.randn(90, 300), torch.randn(50, 90)
    output, of_x, of_weight = gradients(products.linear, x, weight, None, along)
    x, weight, along = (t.numpy() for t in (x, weight, along))
    assert (output.numpy() == product(x, weight, b_transposed=True)).all()
    assert (of_x.numpy() == product(along, weight)).all()
    assert (of_weight.numpy() == product(along, x, a_transposed=True)).all()


@needs_fixed_point
def test_only_gradients_that_are_needed_are_computed(monkeypatch):
    asked = []
    real = products._product
    monkeypatch.setattr(products, "_product", lambda *a, **b: asked.append(1) or real(*a, **b))
    weight = torch.randn(4, 3, requires_grad=True)
    products.linear(torch.randn(5, 3), weight).sum().backward()
    assert weight.grad.shape == (4, 3)
    assert len(asked) == 2


@pytest.mark.parametrize("case", ["float64", "three dimensions", "without a core"])
def test_whatever_does_not_fit_goes_to_torch(case, monkeypatch):
    x, weight, bias = torch.randn(5, 3), torch.randn(4, 3), torch.randn(4)
    if case == "float64":
        x, weight, bias = x.double(), weight.double(), bias.double()
    elif case == "three dimensions":
        x = x[None]
    else:
        monkeypatch.setenv("TOKEN2WAVE_NATIVE", "0")
    assert torch.equal(products.linear(x, weight, bias), F.linear(x, weight, bias))


def test_columns_of_a_larger_tensor_are_factors_too():
    x, weight = torch.randn(40, 60)[:, ::2], torch.randn(30, 20).t()
    torch.testing.assert_close(products.linear(x, weight), F.linear(x, weight), rtol=0, atol=2e-3)


# The switch


def network_and_maps():
    network = WaveNetwork(WaveConfig(20, 3, width=8, layers=2, readout="mean", context_width=4))
    maps = [layer.variants for layer in network.layers] + [network.context.variants]
    assert all(type(each) is products.VariantLinear for each in maps)
    return network, maps


def test_the_switch_holds_for_a_while():
    network, maps = network_and_maps()
    with products.fixed_point_products(network):
        assert all(each.fixed_point for each in maps)
        with products.fixed_point_products(network, wanted=False):
            assert all(each.fixed_point for each in maps)
    assert not any(each.fixed_point for each in maps)


def test_the_switch_goes_back_after_an_error():
    network, maps = network_and_maps()
    with pytest.raises(ZeroDivisionError), products.fixed_point_products(network):
        _ = 1 / (not maps[0].fixed_point)
    assert not any(each.fixed_point for each in maps)


def test_the_state_of_a_network_has_no_trace_of_it():
    network, maps = network_and_maps()
    names = set(network.state_dict())
    with products.fixed_point_products(network):
        assert set(network.state_dict()) == names
        copied = copy.deepcopy(network.state_dict())
    assert {"layers.0.variants.weight", "layers.0.variants.bias", "context.variants.weight"} <= names
    network.load_state_dict(copied)
    torch.manual_seed(0)
    plain = torch.nn.Linear(3, 4)
    torch.manual_seed(0)
    assert torch.equal(products.VariantLinear(3, 4).weight, plain.weight)
    assert len(maps) == 3


@needs_fixed_point
def test_only_large_maps_are_in_fixed_point():
    torch.manual_seed(0)
    rows = products.MULTIPLICATIONS_WORTH_IT // (256 * 512)
    one, x = products.VariantLinear(256, 512), torch.randn(rows, 256)
    with torch.no_grad():
        plain, fixed = F.linear(x, one.weight, one.bias), products.linear(x, one.weight, one.bias)
        assert not torch.equal(plain, fixed)
        assert torch.equal(one(x), plain)
        with products.fixed_point_products(one):
            assert torch.equal(one(x), fixed)
            assert torch.equal(one(x[1:]), F.linear(x[1:], one.weight, one.bias))
        assert torch.equal(one(x), plain)
