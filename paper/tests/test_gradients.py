import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_studies import check_study, ragged

from paper.result_store import ResultStore
from paper.rivals.transformer import TransformerConfig, TransformerNetwork
from paper.studies import gradients
from paper.studies.gradients import TokenGradients, token_gradients
from paper.study import Options
from token2wave.models import WaveConfig, WaveNetwork, make_batch


def texts(lengths=(5, 2, 9, 3), n_rows=12, seed=0):
    random = np.random.default_rng(seed)
    return ragged([random.integers(0, n_rows, length) for length in lengths])


def wave_network(operation, **settings):
    torch.manual_seed(1)
    config = WaveConfig(12, 3, width=6, operation=operation, embedding_scale=1.0, **settings)
    return WaveNetwork(config).double().eval()


LABELS = torch.tensor([0, 2, 1, 1])


def polar_losses(network, tokens, batch, path):
    """The network in polar form, from the definitions; ``path`` says through what gradients may flow."""
    config, state = network.config, dict(network.named_parameters())
    losses = []
    for text, label in enumerate(LABELS):
        own = tokens[batch.offsets[text] : batch.offsets[text + 1]]
        variants = own @ state["layers.0.variants.weight"].T + state["layers.0.variants.bias"]
        waves = []
        for w in variants.chunk(2, dim=1):
            magnitude = w.square().sum(0).sqrt()
            phase = torch.acos(w[0] / magnitude)
            if path == "magnitude":
                phase = phase.detach()
            if path == "phase":
                magnitude = magnitude.detach()
            waves.append(magnitude * torch.exp(1j * phase))
        overlay = waves[0] + waves[1] if config.operation == "interference" else waves[0] * waves[1]
        both = torch.cat([overlay.real, overlay.imag])
        restored = both @ state["layers.0.restore.linear.weight"].T + state["layers.0.restore.linear.bias"]
        logits = network.head(network.norm(restored))
        losses.append(F.cross_entropy(logits[None], label[None]))
    return torch.stack(losses).sum()


@pytest.mark.parametrize("operation", ["interference", "modulation"])
def test_the_parts_are_those_of_the_polar_form(operation):
    """Known answer: automatic gradients of the polar definitions, with phase or magnitude held still."""
    network, features = wave_network(operation), texts()
    result = token_gradients(network, features, LABELS)
    batch = make_batch(features).of_every_token()
    for path, actual in (("both", result.tokens), ("magnitude", result.magnitude), ("phase", result.phase)):
        tokens = network.embedding.weight.detach()[batch.rows].requires_grad_()
        (expected,) = torch.autograd.grad(polar_losses(network, tokens, batch, path), tokens)
        assert torch.allclose(actual, expected, atol=1e-9), path
    assert result.magnitude.abs().max() > 1e-3
    assert result.phase.abs().max() > 1e-3


def test_a_gradient_by_hand():
    """The norm of a state of one dimension is its bias, so that no gradient reaches the tokens.

    The classifier's gradient is the softmax less the label, times that bias.
    """
    torch.manual_seed(0)
    network = WaveNetwork(WaveConfig(3, 2, width=1, dropout=0.0)).double().eval()
    with torch.no_grad():
        network.norm.bias.fill_(2.0)
        network.head.weight.copy_(torch.tensor([[1.0], [0.0]]))
        network.head.bias.zero_()
    result = token_gradients(network, texts((2,), n_rows=3), torch.tensor([0]))
    expected = 2 * (1 / (1 + np.exp(-2.0)) - 1)
    assert result.classifier.flatten().tolist() == pytest.approx([expected, -expected])
    assert result.tokens.abs().max() < 1e-9


def test_norms_of_known_gradients():
    tokens = torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.0, 0.0], [0.0, 12.0]])
    half = tokens / 2
    result = TokenGradients(tokens, half, half, torch.tensor([[1.0, 2.0, 2.0]]), torch.tensor([0, 2, 4]))
    sizes = gradients.gradient_norms(result)
    assert sizes["cls"] == pytest.approx((5 + 0) / 2)
    assert sizes["input"] == pytest.approx((5 + 12) / 2)
    assert sizes["classifier"] == pytest.approx(3)
    assert sizes["cls_magnitude"] == sizes["cls_phase"] == pytest.approx(1.25)
    assert gradients.dimension_gradients(result).tolist() == [1.5, 2.0]


@pytest.mark.parametrize("network_type", ["wave", "levels", "transformer"])
def test_tokens_sum_to_the_gradient_of_the_table(network_type):
    """Every occurrence's gradient, summed over the occurrences of a row, is what training gives the row."""
    torch.manual_seed(0)
    if network_type == "transformer":
        config = TransformerConfig(12, 3, width=6, heads=2, feed_forward=8)
        network = TransformerNetwork(config).double().eval()
    else:
        variants = "levels" if network_type == "levels" else "linear"
        network = wave_network("modulation", variants=variants)
    features = texts()
    result = token_gradients(network, features, LABELS)
    F.cross_entropy(network(make_batch(features)), LABELS, reduction="sum").backward()
    table = torch.zeros_like(network.embedding.weight)
    table.index_add_(0, torch.from_numpy(features.ids.astype(np.int64)), result.tokens)
    assert torch.allclose(table, network.embedding.weight.grad.to_dense(), atol=1e-10)
    assert torch.allclose(result.classifier, network.head.weight.grad / 4, atol=1e-12)
    assert (result.phase is not None) == (network_type == "wave")


def test_taking_gradients_changes_nothing_and_a_text_of_one_token_has_finite_parts():
    network = wave_network("modulation")
    initial = copy.deepcopy(network.state_dict())
    gradients_of_tokens = token_gradients(network, texts((1, 4)), torch.tensor([0, 1]))
    assert all(torch.equal(initial[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(bool(gradient.isfinite().all()) for gradient in gradients_of_tokens[:3])


def test_the_study_in_miniature(small, splits):
    document = gradients.measure(ResultStore(), Options(splits, quick=True, seeds=(0,)))
    assert set(document["systems"]) == {"wave-interference", "wave-modulation"}
    assert any("left out" in caveat for caveat in document["caveats"])
    for system in document["systems"].values():
        (run,) = system["runs"]
        assert all(len(values) == len(document["steps"]) for values in run["norms"].values())
        assert run["dimensions"].keys() == {"0", "20"}
    check_study(gradients.STUDY, document, ["gradients", "gradients-parts", "gradients-dimensions"])
    assert [len(table.rows) for table in gradients.tables(document)] == [2, 4]
