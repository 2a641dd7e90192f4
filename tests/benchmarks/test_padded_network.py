"""The padded reference computes the same function as the package's network."""

import numpy as np
import pytest
import torch
from padded_network import PaddedWaveNetwork, copy_weights, others, padded, token_lists

from token2wave.features import Ragged
from token2wave.features.ragged import offsets_of
from token2wave.models import WaveConfig, WaveNetwork, make_batch
from token2wave.waves import wave

N_ROWS, N_CLASSES, WIDTH = 12, 3, 5


def random_texts(seed: int, n_texts: int) -> Ragged:
    """Texts of 1 to 8 tokens, some of them repeated."""
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 9, n_texts)
    lengths[0] = 1  # a text without other tokens
    ids = random.integers(0, N_ROWS, lengths.sum()).astype(np.int32)
    return Ragged(ids, offsets_of(lengths), lengths)


def both(operation: str, seed: int) -> tuple[WaveNetwork, PaddedWaveNetwork]:
    torch.manual_seed(seed)
    shape = WaveConfig(N_ROWS, N_CLASSES, WIDTH, operation=operation, dropout=0.0, embedding_scale=1.0)
    ours = WaveNetwork(shape).double()
    with torch.no_grad():  # the norm's are ones and zeros at first, which would hide a mistake
        for parameter in ours.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    reference = PaddedWaveNetwork(N_ROWS, N_CLASSES, WIDTH, operation, dropout=0.0).double()
    copy_weights(ours, reference)
    return ours, reference


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("operation", ["interference", "modulation"])
def test_logits_and_gradients_equal_those_of_the_package(operation, seed):
    ours, reference = both(operation, seed)
    texts = random_texts(seed, 6)
    expected, actual = ours(make_batch(texts)), reference(*padded(token_lists(texts)))
    torch.testing.assert_close(actual, expected, rtol=1e-11, atol=1e-11)

    weights = torch.randn_like(expected)
    (expected * weights).sum().backward()
    (actual * weights).sum().backward()
    layer = ours.layers[0]
    for found, wanted in (
        (reference.embedding.weight.grad, ours.embedding.weight.grad.to_dense()),
        (torch.cat([reference.first.weight.grad, reference.second.weight.grad]), layer.variants.weight.grad),
        (torch.cat([reference.first.bias.grad, reference.second.bias.grad]), layer.variants.bias.grad),
        (reference.restore.weight.grad, layer.restore.linear.weight.grad),
        (reference.restore.bias.grad, layer.restore.linear.bias.grad),
        (reference.norm.weight.grad, ours.norm.weight.grad),
        (reference.norm.bias.grad, ours.norm.bias.grad),
        (reference.head.weight.grad, ours.head.weight.grad),
        (reference.head.bias.grad, ours.head.bias.grad),
    ):
        assert float(wanted.abs().max()) > 1e-6
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def test_every_token_has_the_energy_of_the_others():
    texts = random_texts(7, 4)
    values = torch.randn(len(texts.ids), WIDTH).double()
    lengths = texts.lengths.tolist()
    block = torch.nn.utils.rnn.pad_sequence(list(values.split(lengths)), batch_first=True, padding_value=9.0)
    mask = padded(token_lists(texts))[1]
    expected = wave(values, torch.from_numpy(texts.offsets)).imaginary
    torch.testing.assert_close(others(block, mask)[mask], expected, rtol=1e-12, atol=1e-7)


def test_nothing_but_zeros_gives_zero_with_derivative_zero():
    tokens = torch.zeros(1, 3, 2, requires_grad=True)
    imaginary = others(tokens, torch.ones(1, 3, dtype=torch.bool))
    imaginary.sum().backward()
    assert not imaginary.any()
    assert not tokens.grad.any()
