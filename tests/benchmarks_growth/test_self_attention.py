"""The layer that the growth of cost is held against is self-attention as PyTorch has it."""

import numpy as np
import pytest
import torch
from growth_data import unrepeated_features
from self_attention import KERNEL, SelfAttention, attention_network
from torch import nn
from torch.profiler import ProfilerActivity

from token2wave.models import WaveConfig, WaveNetwork, make_batch


def reference(layer, width, heads):
    """PyTorch's own layer with the weights of ours."""
    twin = nn.MultiheadAttention(width, heads, batch_first=True)
    with torch.no_grad():
        twin.in_proj_weight.copy_(layer.projections.weight)
        twin.in_proj_bias.copy_(layer.projections.bias)
        twin.out_proj.weight.copy_(layer.out.weight)
        twin.out_proj.bias.copy_(layer.out.bias)
    return twin


@pytest.mark.parametrize(("width", "heads"), [(16, 1), (24, 3)])
def test_equals_pytorchs_layer(width, heads):
    torch.manual_seed(0)
    ours = SelfAttention(width, heads)
    twin = reference(ours, width, heads)
    tokens = torch.randn(2, 11, width, requires_grad=True)
    twin_tokens = tokens.detach().clone().requires_grad_()
    result = ours(tokens)
    expected, _ = twin(twin_tokens, twin_tokens, twin_tokens, need_weights=False)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-6)
    weights = torch.randn_like(result)
    (result * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(tokens.grad, twin_tokens.grad, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(ours.projections.weight.grad, twin.in_proj_weight.grad, rtol=1e-4, atol=1e-5)


def test_the_network_reads_out_the_first_token():
    torch.manual_seed(0)
    config = WaveConfig(n_rows=30, n_classes=3, width=64)
    network = attention_network(config).eval()
    batch = make_batch(unrepeated_features(np.random.default_rng(0), 3, 10))
    tokens = network.embedding(batch.rows[batch.index]).view(3, 10, 64)
    twin = reference(network.layers[0].attention, 64, 1)
    states = twin(tokens, tokens, tokens, need_weights=False)[0][:, 0]
    torch.testing.assert_close(network(batch), network.head(network.norm(states)), rtol=1e-4, atol=1e-5)


def test_both_layers_have_as_many_weights():
    config = WaveConfig(n_rows=3, n_classes=3, width=128)
    wave, attention = (
        sum(p.numel() for p in made(config).layers.parameters() if p.dim() == 2)
        for made in (WaveNetwork, attention_network)
    )
    assert wave == attention == 4 * 128**2
    assert attention_network(config).layers[0].attention.heads == 2


def test_the_kernel_is_the_one_that_is_named():
    tokens = torch.randn(1, 8, 16, requires_grad=True)
    layer = SelfAttention(16, 2)
    with torch.profiler.profile(activities=[ProfilerActivity.CPU]) as profile:
        layer(tokens).sum().backward()
    names = {event.key for event in profile.key_averages()}
    assert {KERNEL, f"{KERNEL}_backward"} <= names
