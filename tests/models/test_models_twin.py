"""Logits and gradients of all legal networks against the polar twin, one text at a time."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from polar_network import (
    DEPTH,
    N_ORDERED,
    N_ROWS,
    TEXTS,
    batch_of,
    every_combination,
    gradients_of,
    is_illegal,
    legal_combinations,
    logits_of,
    name_of,
    network_of,
    polar_logits,
    refused,
    replace_dropout,
)
from torch.func import functional_call

from token2wave.models import wave_network as network_module

SHAPES = legal_combinations()
DEFAULTS = {"positions": "none", "context_width": 0}
DEEP = [{**DEFAULTS, **shape} for shape in DEPTH]
FACTOR = 1.5


@pytest.mark.parametrize("shape", [*SHAPES, *DEEP], ids=name_of)
def test_logits_and_gradients_equal_the_polar_twin(shape):
    network = network_of(shape)
    replace_dropout(network, FACTOR)
    slow = polar_logits(network, TEXTS, N_ORDERED, FACTOR)
    expected = gradients_of(network, slow)
    fast = logits_of(network, TEXTS, N_ORDERED)
    actual = gradients_of(network, fast)

    # The network's encodings of positions are rounded to float32 (test_models_network says so).
    exact = shape["positions"] == "none"
    torch.testing.assert_close(fast, slow, rtol=1e-10 if exact else 1e-5, atol=1e-10 if exact else 1e-5)
    assert actual.keys() == expected.keys() == {name for name, _ in network.named_parameters()}
    for name, gradient in expected.items():
        size = float(gradient.abs().max())
        error = float((actual[name] - gradient).abs().max())
        assert error <= (1e-9 if exact else 1e-5) * max(size, 1.0), name


@pytest.mark.parametrize(
    "shape", legal_combinations(residual="equation", restore="linear", context_width=4), ids=name_of
)
def test_a_text_alone_and_in_any_batch_has_the_same_logits(shape):
    network = network_of(shape)
    together = logits_of(network, TEXTS, N_ORDERED)
    for b, (text, n_ordered) in enumerate(zip(TEXTS, N_ORDERED, strict=True)):
        alone = logits_of(network, [text], [n_ordered])[0]
        torch.testing.assert_close(alone, together[b], rtol=1e-12, atol=1e-12)
    order = [4, 2, 0, 3, 1]
    shuffled = logits_of(network, [TEXTS[b] for b in order], [N_ORDERED[b] for b in order])
    torch.testing.assert_close(shuffled, together[order], rtol=1e-12, atol=1e-12)


GRADCHECKED = [
    shape
    for i, shape in enumerate(s for s in SHAPES + DEEP if s["layers"] == 2 or s["context_width"])
    if i % 53 == 0
]


@pytest.mark.parametrize("shape", GRADCHECKED, ids=name_of)
def test_gradcheck_of_whole_networks(shape, monkeypatch):
    """By finite differences, in every parameter; sparse gradients have tests of their own."""
    monkeypatch.setattr(network_module.nn.Embedding, "forward", lambda self, rows: self.weight[rows])
    phrase = {"context_width": 2} if shape["context_width"] else {}
    network = network_of({**shape, **phrase}, n_rows=5, n_classes=2, width=2)
    batch = batch_of(network, [[0, 3, 1, 4, 2], [0, 2, 2]], [4, 3])
    names = [name for name, _ in network.named_parameters()]

    def logits(*values):
        return functional_call(network, dict(zip(names, values, strict=True)), (batch,))

    values = [parameter.detach().clone().requires_grad_() for parameter in network.parameters()]
    assert torch.autograd.gradcheck(logits, values, fast_mode=True)


@settings(deadline=None, max_examples=15)
@given(
    texts=st.lists(st.lists(st.integers(0, N_ROWS - 1), max_size=6, unique=True), max_size=4),
    shape=st.sampled_from(SHAPES + DEEP),
    seed=st.integers(0, 1000),
    data=st.data(),
)
def test_ragged_shapes(texts, shape, seed, data):
    network = network_of(shape, seed=seed)
    n_ordered = [data.draw(st.integers(0, len(text))) for text in texts]
    actual = logits_of(network, texts, n_ordered)
    assert actual.shape == (len(texts), 3)
    if texts:
        expected = polar_logits(network, texts, n_ordered)
        torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [s for s in every_combination() if is_illegal(s)], ids=name_of)
def test_combinations_that_could_do_nothing_are_refused(shape):
    error = refused(shape)
    assert error is not None
    assert error.location in ("variants", "restore")
    assert "choose" in error.hint


def test_no_other_combination_is_refused():
    assert all(refused(shape) is None for shape in SHAPES)
    assert len(SHAPES) + sum(map(is_illegal, every_combination())) == len(every_combination())
