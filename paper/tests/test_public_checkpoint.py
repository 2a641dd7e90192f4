"""Checkpoints of a public implementation against its computation, written down once more."""

import doctest

import pytest
import torch
from small_studies import ragged

from paper import public_checkpoint
from paper.public_checkpoint import NAMES, read_public_checkpoint
from token2wave.errors import ConfigError, ModelFileError, Token2WaveError
from token2wave.models import make_batch

N_ROWS, WIDTH, N_CLASSES = 8, 5, 3
TEXTS = [[0, 3, 5, 3, 7], [1], [0, 7], [2, 4, 4, 4, 1, 2]]
SHAPES = {
    "embedding.weight": (N_ROWS, WIDTH),
    "linear1.weight": (WIDTH, WIDTH),
    "linear1.bias": (WIDTH,),
    "linear2.weight": (WIDTH, WIDTH),
    "linear2.bias": (WIDTH,),
    "layer_norm.weight": (WIDTH,),
    "layer_norm.bias": (WIDTH,),
    "classifier.weight": (N_CLASSES, WIDTH),
    "classifier.bias": (N_CLASSES,),
}


@pytest.fixture
def state():
    generator = torch.Generator().manual_seed(3)
    return {name: torch.randn(shape, generator=generator).double() for name, shape in SHAPES.items()}


def public_logits(state, text, mode, *, norm_tokens=True, eps=0.0, n_padding=0, early=False):
    """Logits of one text, with the public network's padding and epsilon if they are not zero.

    Early versions scale each combined wave to the energy of the text.
    """

    def make_wave(name):
        embedded = torch.cat([state["embedding.weight"][text], torch.zeros(n_padding, WIDTH).double()])
        values = embedded @ state[f"{name}.weight"].T + state[f"{name}.bias"]
        magnitude = torch.sqrt((values**2).sum(0))
        cosine = values / (magnitude + eps)
        phase = torch.arctan2(torch.sqrt((1 - cosine**2).clamp(0, 1)), cosine)
        return torch.polar(magnitude.expand_as(phase), phase)

    def norm(states):
        centred = states - states.mean(-1, keepdim=True)
        scale = torch.sqrt((centred**2).mean(-1, keepdim=True) + 1e-5)
        return centred / scale * state["layer_norm.weight"] + state["layer_norm.bias"]

    first, second = make_wave("linear1"), make_wave("linear2")
    states = (first * second if mode == "modulation" else first + second).abs()[: len(text)]
    if early:
        energies = [wave.abs().square().sum(0) for wave in (first, second)]
        energy = energies[0] * energies[1] if mode == "modulation" else energies[0] + energies[1]
        states = torch.sqrt(energy).expand_as(states)
    average = norm(states).mean(0) if norm_tokens else norm(states.mean(0))
    return state["classifier.weight"] @ average + state["classifier.bias"]


def logits_of(state, mode, norm_tokens=True):
    network = read_public_checkpoint(state, mode, norm_tokens=norm_tokens).network()
    return network(make_batch(ragged(TEXTS))).detach()


@pytest.mark.parametrize("mode", ["modulation", "interference"])
@pytest.mark.parametrize("norm_tokens", [True, False])
@pytest.mark.parametrize(("eps", "tolerance"), [(0.0, 1e-9), (1e-8, 1e-6)])
def test_logits_are_those_of_the_public_network(state, mode, norm_tokens, eps, tolerance):
    options = {"norm_tokens": norm_tokens, "eps": eps}
    expected = torch.stack([public_logits(state, text, mode, **options) for text in TEXTS])
    actual = logits_of(state, mode, norm_tokens)
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def test_the_place_of_the_norm_matters_for_interference_alone(state):
    """With modulation, the magnitude is G G' for every token: the public network is a bag of energies."""
    readings = {
        mode: [logits_of(state, mode, norm) for norm in (True, False)]
        for mode in ("modulation", "interference")
    }
    torch.testing.assert_close(*readings["modulation"], rtol=1e-9, atol=1e-9)
    differences = (readings["interference"][0] - readings["interference"][1]).abs().amax(dim=1)
    assert float(differences[1]) < 1e-9  # a text of one token
    assert float(differences[[0, 2, 3]].min()) > 1e-3
    assert not read_public_checkpoint(state, "modulation").config.uses_phase
    assert read_public_checkpoint(state, "interference").config.uses_phase


@pytest.mark.parametrize("mode", ["modulation", "interference"])
def test_padding_leaks_in_the_public_network_unless_biases_are_zero(state, mode):
    """So logits agree for texts without padding, which the module says."""
    expected = logits_of(state, mode)[0]
    leaked = public_logits(state, TEXTS[0], mode, n_padding=4)
    assert float((leaked - expected).abs().max()) > 1e-3
    zero = {**state, "linear1.bias": torch.zeros(WIDTH).double(), "linear2.bias": torch.zeros(WIDTH).double()}
    same = public_logits(zero, TEXTS[0], mode, n_padding=4)
    torch.testing.assert_close(logits_of(zero, mode)[0], same, rtol=1e-9, atol=1e-9)


def test_early_checkpoints_of_modulation_give_nearly_the_same_logits(state):
    """The norm takes out the number of tokens, but for its epsilon; with interference they differ."""
    for mode, at_most, at_least in (("modulation", 1e-3, 0.0), ("interference", 10.0, 1e-2)):
        early = torch.stack([public_logits(state, text, mode, early=True) for text in TEXTS])
        difference = float((early - logits_of(state, mode)).abs().max())
        assert at_least < difference < at_most, mode


def test_both_linear_maps_have_their_place(state):
    """Each parameter changes the logits: none is dropped, and none stands for another."""
    for name in set(NAMES) - {"embedding.weight"}:
        changed = {
            **state,
            name: state[name] + torch.linspace(0.1, 0.5, state[name].numel()).view_as(state[name]),
        }
        expected = torch.stack([public_logits(changed, text, "interference") for text in TEXTS])
        torch.testing.assert_close(logits_of(changed, "interference"), expected, rtol=1e-9, atol=1e-9)
        assert float((expected - logits_of(state, "interference")).abs().max()) > 1e-3, name


def test_parameters_have_the_shapes_of_the_configuration(state):
    state = {name: tensor.float() for name, tensor in state.items()}
    checkpoint = read_public_checkpoint(state)
    shapes = {name: tuple(tensor.shape) for name, tensor in checkpoint.parameters.items()}
    assert shapes == checkpoint.config.parameter_shapes()
    for name, rows in (("linear1", slice(WIDTH)), ("linear2", slice(WIDTH, None))):
        for kind in ("weight", "bias"):
            half = checkpoint.parameters[f"layers.0.variants.{kind}"][rows]
            assert torch.equal(half, state[f"{name}.{kind}"])
    assert checkpoint.network().head.bias.dtype == torch.float32
    assert tuple(SHAPES) == NAMES


def without(name):
    return lambda state: {key: value for key, value in state.items() if key != name}


def with_value(name, value):
    return lambda state: {**state, name: value}


REFUSED = [
    (
        without("linear2.bias"),
        "checkpoint: expected a parameter 'linear2.bias', found none; give the state_dict of",
    ),
    (
        with_value("module.linear1.bias", torch.ones(5)),
        "found 'module.linear1.bias' among them; give the state_dict",
    ),
    (with_value("mode_weight", torch.tensor(0.5)), "expected one operation, found 'mode_weight'"),
    (
        with_value("wave_layers.0.linear1.bias", torch.ones(5)),
        "expected one layer, found 'wave_layers.0.linear1.bias'",
    ),
    (
        with_value("linear1.weight", torch.ones(5, 4)),
        r"linear1.weight: expected the shape \(5, 5\), as the embedding",
    ),
    (
        with_value("layer_norm.bias", torch.ones(1, 5)),
        r"layer_norm.bias: .* \(5,\), .* found \(1, 5\); give the",
    ),
    (
        with_value("classifier.bias", torch.ones(4)),
        r"classifier.bias: expected the shape \(3,\), .* found \(4,\)",
    ),
    (
        with_value("classifier.weight", torch.ones(3)),
        r"classifier.weight: .* \(classes, width\), found \(3,\)",
    ),
    (with_value("embedding.weight", torch.ones(40)), r"embedding.weight: .* \(rows, width\), found \(40,\)"),
    (
        with_value("embedding.weight", torch.ones(8, 6)),
        r"classifier.weight: .* \(3, 6\), as the embedding has width 6",
    ),
    (
        with_value("linear1.bias", [0.0] * 5),
        "linear1.bias: expected a tensor of floating point, found a list",
    ),
    (with_value("linear1.bias", torch.ones(5).int()), "linear1.bias: .* found one of torch.int32"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_other_checkpoints_are_refused_on_one_line(state, change, message):
    with pytest.raises(ModelFileError, match=message) as refusal:
        read_public_checkpoint(change(state))
    assert isinstance(refusal.value, Token2WaveError)
    assert "\n" not in str(refusal.value)


def test_an_unknown_operation_is_refused(state):
    with pytest.raises(ConfigError, match="operation: expected one of interference, modulation"):
        read_public_checkpoint(state, "addition")


def test_the_example_runs():
    assert doctest.testmod(public_checkpoint) == (0, 5)
