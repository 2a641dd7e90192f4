"""The network as the papers print it against the fast one: logits, gradients, padding."""

import inspect
import math
from pathlib import Path

import pytest
import torch
from small_studies import ragged
from torch.func import functional_call

from paper import reference
from paper.reference import ReferenceWaveNetwork, interference, interference_term, modulation, wave
from token2wave.models import WaveConfig, WaveNetwork, make_batch

N_ROWS, N_CLASSES, WIDTH = 9, 3, 6
TEXTS = [[0, 3, 5, 3, 8], [0], [0, 7, 8], [0, 4, 4, 4, 1, 2, 6], [4]]
PADDING = 6  # a row that is a token of a text, too: only the mask says which positions are padding
SHAPES = [(operation, layers) for operation in ("interference", "modulation") for layers in (1, 2, 4)]
EXACT = {"rtol": 1e-11, "atol": 1e-11}


def padded(texts, length=0):
    """Ids and mask, ``(B, L)`` each."""
    length = max(length, *map(len, texts))
    ids = [[*text, *[PADDING] * (length - len(text))] for text in texts]
    mask = [[1] * len(text) + [0] * (length - len(text)) for text in texts]
    return torch.tensor(ids), torch.tensor(mask, dtype=torch.float64)


def networks(operation, layers):
    """The fast network and the printed one with the same parameters, in float64, without dropout."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        settings = {"operation": operation, "layers": layers, "layer_norm": "real", "embedding_scale": 1.0}
        fast = WaveNetwork(WaveConfig(N_ROWS, N_CLASSES, WIDTH, **settings)).double().eval()
        for parameter in fast.parameters():  # gains and biases of norms are not one and zero
            parameter.data += 0.2 * torch.randn_like(parameter)
        printed = ReferenceWaveNetwork(N_ROWS, N_CLASSES, WIDTH, layers, operation, 0.1).double().eval()
    printed.load_state_dict(fast.state_dict())
    return fast, printed


def gradients(network, logits):
    """Gradients of a weighted sum of the logits, dense."""
    network.zero_grad()
    (
        logits * torch.linspace(-1, 2, logits.numel(), dtype=logits.dtype).reshape(logits.shape)
    ).sum().backward()
    return {name: parameter.grad.to_dense() for name, parameter in network.named_parameters()}


def differences(operation, layers, texts=TEXTS):
    """Largest differences of the logits and of each gradient, for gradients over their size."""
    fast, printed = networks(operation, layers)
    expected, actual = fast(make_batch(ragged(texts))), printed(*padded(texts))
    result = {"logits": float((actual - expected).detach().abs().max())}
    fast_gradients, printed_gradients = gradients(fast, expected), gradients(printed, actual)
    assert fast_gradients.keys() == printed_gradients.keys()
    for name, gradient in fast_gradients.items():
        difference = (printed_gradients[name] - gradient).abs().max()
        result[name] = float(difference / gradient.abs().max().clamp(min=1))
    return result


@pytest.mark.parametrize(("operation", "layers"), SHAPES)
def test_logits_and_gradients_are_those_of_the_fast_network(operation, layers):
    result = differences(operation, layers)
    assert len(result) == 1 + len(networks(operation, layers)[0].state_dict())
    assert max(result.values()) < 1e-10, result


@pytest.mark.parametrize(("operation", "layers"), SHAPES)
def test_parameters_go_both_ways(operation, layers):
    fast, printed = networks(operation, layers)
    shapes = {name: tuple(tensor.shape) for name, tensor in printed.state_dict().items()}
    assert shapes == fast.config.parameter_shapes()
    printed.head.bias.data += 1
    fast.load_state_dict(printed.state_dict())
    torch.testing.assert_close(fast(make_batch(ragged(TEXTS))), printed(*padded(TEXTS)), **EXACT)


@pytest.mark.parametrize(("operation", "layers"), SHAPES)
def test_padding_does_not_leak(operation, layers):
    _, printed = networks(operation, layers)
    together = printed(*padded(TEXTS))
    for text, logits in zip(TEXTS, together, strict=True):
        torch.testing.assert_close(printed(*padded([text]))[0], logits, **EXACT)
        torch.testing.assert_close(printed(*padded([text], length=20))[0], logits, **EXACT)


class Factor(torch.nn.Module):
    """Stands where dropout stands, to show where that is."""

    def forward(self, values, *_):
        return 1.5 * values


@pytest.mark.parametrize("layers", [1, 2])
def test_dropout_stands_where_the_fast_network_has_it(layers):
    fast, printed = networks("modulation", layers)
    for network in (fast, printed):
        for module in list(network.modules()):
            if isinstance(getattr(module, "dropout", None), torch.nn.Dropout):
                assert module.dropout.p == 0.1
                module.dropout = Factor()
    torch.testing.assert_close(printed(*padded(TEXTS)), fast(make_batch(ragged(TEXTS))), **EXACT)


@pytest.mark.parametrize("operation", ["interference", "modulation"])
@pytest.mark.parametrize("value", [0.0, 1e-12, 1e6])
def test_gradients_are_finite_where_a_text_or_a_dimension_is_degenerate(operation, value):
    """A text of one token, a dimension without energy, and a token that holds nearly all of it."""
    fast, printed = networks(operation, 1)
    fast.layers[0].variants.bias.data.zero_()
    fast.layers[0].variants.weight.data[1] = 0  # no token has energy in this dimension of a variant
    fast.embedding.weight.data[3] *= value
    printed.load_state_dict(fast.state_dict())
    for texts in ([[3]], [[0]], [[0, 3, 5]], [[3, 0, 0, 5]]):
        expected, actual = fast(make_batch(ragged(texts))), printed(*padded(texts))
        torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)
        printed_gradients = gradients(printed, actual)
        for name, gradient in gradients(fast, expected).items():
            assert bool(printed_gradients[name].isfinite().all()), name
            torch.testing.assert_close(printed_gradients[name], gradient, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [("interference", 1), ("modulation", 2)])
def test_gradients_are_those_of_finite_differences(shape):
    _, printed = networks(*shape)
    names = [name for name, _ in printed.named_parameters()]
    inputs = padded(TEXTS)

    def logits(*values):
        return functional_call(printed, dict(zip(names, values, strict=True)), inputs)

    values = [parameter.detach().clone().requires_grad_() for parameter in printed.parameters()]
    assert torch.autograd.gradcheck(logits, values, fast_mode=True)


def test_waves_and_operations_are_those_of_the_definitions():
    first, second = [[3.0, -1.0], [4.0, 1.0]], [[1.0, 0.0], [-1.0, 2.0]]  # two tokens, two dimensions
    others, others2 = [[4.0, 1.0], [3.0, 1.0]], [[1.0, 2.0], [1.0, 0.0]]  # magnitudes of the other token
    z, z2 = (wave(torch.tensor([w]), torch.ones(1, 2)) for w in (first, second))
    torch.testing.assert_close(z, torch.complex(torch.tensor([first]), torch.tensor([others])))
    torch.testing.assert_close(z2, torch.complex(torch.tensor([second]), torch.tensor([others2])))
    (g, g2), (alpha, alpha2) = (z.abs(), z2.abs()), (z.angle(), z2.angle())
    torch.testing.assert_close(g[0, 0], torch.tensor([5, math.sqrt(2)]))
    torch.testing.assert_close(alpha[0, 0], torch.tensor([math.acos(3 / 5), 3 * math.pi / 4]))
    torch.testing.assert_close(modulation(z, z2), torch.polar(g * g2, alpha + alpha2))
    torch.testing.assert_close(interference(z, z2), torch.polar(g, alpha) + torch.polar(g2, alpha2))
    torch.testing.assert_close(interference_term(z, z2), 2 * g * g2 * torch.cos(alpha - alpha2))
    beyond = interference(z, z2).abs().square() - g.square() - g2.square()
    torch.testing.assert_close(interference_term(z, z2), beyond)


BREAKS = [
    ("magnitude = root(energy)", "magnitude = root(energy + 0.01)"),
    ("magnitude = root(energy)", "magnitude = energy"),
    ("magnitude * torch.sin(alpha)", "torch.sin(alpha)"),
    ("w * mask[:, :, None]", "w"),
    ("(1 - torch.eye(w.shape[1]).to(w)) @ w.square()", "energy - 0 * w"),
    ("torch.arctan2(sine, cosine)", "torch.arctan2(cosine, sine)"),
    ("torch.arctan2(sine, cosine)", "-torch.arctan2(sine, cosine)"),
    ("return z + z2", "return z * z2"),
    ("return z + z2", "return z - z2"),
    ("return z * z2", "return z + z2"),
    ("return z * z2", "return z * z2.conj()"),
    ("[overlay.real, overlay.imag]", "[overlay.imag, overlay.real]"),
    ("tokens[:, 0]", "tokens.mean(dim=1)"),
    ("state = tokens + self.dropout", "state = self.dropout"),
    ("self.dropout(self.norm(state))", "self.dropout(state)"),
    ("self.dropout(self.norm(tokens", "self.dropout((tokens"),
]


@pytest.mark.parametrize(("line", "broken"), BREAKS)
def test_a_broken_equation_is_seen(line, broken, monkeypatch):
    """With one line changed, one of the networks no longer has the fast network's logits."""
    source = Path(reference.__file__).read_text()
    assert source.count(line) == 1
    names = {"__name__": "broken"}
    exec(source.replace(line, broken), names)
    monkeypatch.setitem(globals(), "ReferenceWaveNetwork", names["ReferenceWaveNetwork"])
    results = []
    for operation, layers in SHAPES:
        fast, printed = networks(operation, layers)
        difference = fast(make_batch(ragged(TEXTS))) - printed(*padded(TEXTS))
        results.append(float(difference.detach().abs().max()))
    assert not max(results) < 1e-3  # NaN is a difference, too


def test_the_rule_for_roots_is_needed(monkeypatch):
    """Without it, a text of one token has no finite gradient."""
    monkeypatch.setattr(reference, "root", torch.sqrt)
    assert not all(math.isfinite(value) for value in differences("interference", 1, [[0]]).values())


def test_it_fits_on_a_page_and_needs_nothing_but_torch():
    source = inspect.getsource(reference)
    assert len(source.splitlines()) <= 80
    imports = [line for line in source.splitlines() if line.startswith(("import ", "from "))]
    assert imports == ["import torch", "from torch import Tensor, nn"]
