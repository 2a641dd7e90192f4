"""What holds for whole networks: invariances, phases, odd texts, counts, sparse gradients."""

import doctest
import math

import pytest
import torch
from polar_network import (
    N_CLASSES,
    SENTENCE_END,
    config_of,
    legal_combinations,
    logits_of,
    name_of,
    network_of,
    polar_logits,
    ragged,
    sinusoids_of,
)

from token2wave.features import Ragged
from token2wave.models import WaveConfig, WaveNetwork, make_batch, wave_network
from token2wave.models.wave_network import sinusoids
from token2wave.training.presets import preset_named

ORDINARY = legal_combinations(residual="equation", restore="linear")
WITHOUT_ORDER = legal_combinations(residual="equation", positions="none", context_width=0)
WITHOUT_PHRASES = legal_combinations(residual="equation", context_width=0)

# Order of the tokens

CLS_FIRST = [[0, 2, 3, 4, 5, 5], [0, 5, 3, 2, 5, 4], [0, 4, 5, 5, 2, 3]]


@pytest.mark.parametrize("shape", [s for s in WITHOUT_ORDER if s["variants"] == "linear"], ids=name_of)
def test_without_positions_the_order_makes_no_difference(shape):
    network = network_of(shape)
    assert not network.config.uses_order
    logits = logits_of(network, CLS_FIRST)
    torch.testing.assert_close(logits, logits[:1].expand_as(logits), rtol=1e-12, atol=1e-12)
    if shape["readout"] != "cls":
        moved = logits_of(network, [[3, 2, 5, 0, 4, 5]])
        torch.testing.assert_close(moved, logits[:1], rtol=1e-12, atol=1e-12)
    elif network.config.uses_phase:  # which token stands first does make a difference
        moved = logits_of(network, [[2, 0, 3, 4, 5, 5]])
        assert float((moved - logits[:1]).detach().abs().max()) > 1e-6


@pytest.mark.parametrize(
    "shape", [s for s in ORDINARY if s["positions"] != "none" or s["context_width"]], ids=name_of
)
def test_with_positions_or_context_the_order_makes_a_difference(shape):
    network = network_of(shape)
    assert network.config.uses_order
    logits = logits_of(network, CLS_FIRST)
    assert float((logits[1:] - logits[:1]).detach().abs().max(dim=1).values.min()) > 1e-6


def test_the_bag_of_ngrams_has_no_order_in_the_context_level():
    network = network_of({"readout": "text", "context_width": 4})
    one, two = logits_of(network, [[2, 3, 4, 7, 8], [2, 3, 4, 8, 7]], [3, 3])
    torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)


def test_order_counts_where_sentences_are_cut():
    """The premise of the next test: the same tokens, one of them on the other side of the full stop."""
    network = network_of({"variants": "levels", "readout": "cls"})
    one, two = logits_of(network, [[0, 2, SENTENCE_END, 3], [0, 3, SENTENCE_END, 2]])
    assert float((one - two).detach().abs().max()) > 1e-6


def test_uses_order_where_sentences_are_cut():
    assert config_of({"variants": "levels", "readout": "cls"}).uses_order


# Phases


def same_magnitudes(network: WaveNetwork, text: list[int]) -> None:
    """Mix the tokens of each sentence by a rotation.

    A rotation across tokens leaves ``sum_j (w[j] . m)^2`` as it is for every vector ``m``: so, without
    biases, the magnitudes of all dimensions of both variants. The phases are others.
    """
    with torch.no_grad():
        positions = torch.zeros(len(text), network.config.row_width, dtype=torch.float64)
        if network.config.positions != "none":
            positions = sinusoids_of(len(text), network.config.row_width)
        end = text.index(SENTENCE_END) + 1
        for rows, places in ((text[:end], slice(end)), (text[end:], slice(end, None))):
            random = torch.Generator().manual_seed(3)
            square = torch.randn(len(rows), len(rows), generator=random, dtype=torch.float64)
            rotation = torch.linalg.qr(square).Q
            tokens = network.embedding.weight[rows] + positions[places]
            network.embedding.weight[rows] = rotation @ tokens - positions[places]


@pytest.mark.parametrize("shape", WITHOUT_PHRASES, ids=name_of)
def test_phase_counts_exactly_where_the_configuration_says_so(shape):
    network, text = network_of(shape), [0, 2, SENTENCE_END, 3, 4, 5]
    variants = network.layers[0].variants
    if variants is not None:
        torch.nn.init.zeros_(variants.bias)
    before = logits_of(network, [text])
    same_magnitudes(network, text)
    change = float((logits_of(network, [text]) - before).detach().abs().max())
    if network.config.uses_phase:
        assert change > 1e-4
    else:
        assert change < 1e-6  # positions are rounded to float32
    blind = shape["operation"] == "modulation" and shape["restore"] == "magnitude" and shape["layers"] == 1
    assert network.config.uses_phase == (not blind)


BLIND_WITH_PHRASES = {
    "operation": "modulation",
    "restore": "magnitude",
    "readout": "text",
    "context_width": 4,
}


def test_phase_counts_in_the_context_level_of_a_blind_network():
    """The premise of the next test: a sign flipped changes a phase and no magnitude at all."""
    network, text = network_of(BLIND_WITH_PHRASES), [2, 3, 4, 5]
    torch.nn.init.zeros_(network.layers[0].variants.bias)
    torch.nn.init.zeros_(network.context.variants.bias)
    flips = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)[:, None]
    before = logits_of(network, [text])
    with torch.no_grad():
        network.embedding.weight[text] = network.embedding.weight[text] * flips
    assert float((logits_of(network, [text]) - before).detach().abs().max()) > 1e-4


def test_uses_phase_with_a_context_level():
    assert config_of(BLIND_WITH_PHRASES).uses_phase


# Odd texts and odd sizes, in float32


@pytest.mark.parametrize("shape", [s for s in ORDINARY if s["positions"] == "none"], ids=name_of)
def test_odd_texts_and_odd_embeddings_stay_finite(shape):
    texts = [[3], [], [4] * 7, [SENTENCE_END] * 3, [0, SENTENCE_END], [0, 2, SENTENCE_END, 5]]
    largest = 1e6 if shape["layers"] == 1 else 1e4  # two modulations and the norm make eighth powers
    for size in (largest, 1.0, 1e-25, 0.0):
        network = network_of(shape, torch.float32)
        with torch.no_grad():
            network.embedding.weight.mul_(size)
        check_finite(network, ragged(texts))
    network = network_of(shape, torch.float32)
    with torch.no_grad():
        network.embedding.weight[3] *= largest  # one token dominates
    check_finite(network, ragged([[0, 3, 2, 5], [3, 3, 0]]))


@pytest.mark.parametrize(
    "shape",
    legal_combinations(positions="sinusoidal", restore="magnitude", residual="equation", layers=2),
    ids=name_of,
)
def test_a_text_of_100_000_tokens_stays_finite(shape):
    long = torch.randint(10, (100_000,), generator=torch.Generator().manual_seed(0)).tolist()
    network = network_of({**shape, "context_width": min(shape["context_width"], 2)}, torch.float32, width=2)
    check_finite(network, ragged([long], [1000]))


def check_finite(network: WaveNetwork, features: Ragged) -> None:
    network.zero_grad(set_to_none=True)
    logits = network(make_batch(features, network.config.sentence_ends))
    assert bool(torch.isfinite(logits).all())
    logits.square().sum().backward()
    for name, parameter in network.named_parameters():
        gradient = parameter.grad.coalesce().values() if parameter.grad.is_sparse else parameter.grad
        assert bool(torch.isfinite(gradient).all()), name


def test_no_text_at_all():
    for shape in ORDINARY:
        assert logits_of(network_of(shape), []).shape == (0, N_CLASSES)


def test_only_empty_texts_can_be_learnt_from():
    for shape in ORDINARY:
        network = network_of(shape)
        logits = logits_of(network, [[], []])
        assert torch.equal(logits[0], logits[1])
        logits.sum().backward()
        assert network.embedding.weight.grad.coalesce().values().numel() == 0


@pytest.mark.parametrize("readout", ["cls", "mean"])
def test_a_repeated_token_equals_the_twin(readout):
    network, texts = network_of({"readout": readout}), [[5] * 3, [5] * 7, [5] * 50]
    torch.testing.assert_close(
        logits_of(network, texts), polar_logits(network, texts), rtol=1e-12, atol=1e-12
    )


def test_a_repeated_token_equals_the_twin_when_the_text_is_one_wave():
    network = network_of({"readout": "text", "operation": "interference"}, width=64)
    texts = [[5] * n for n in range(3, 50)]
    torch.testing.assert_close(
        logits_of(network, texts), polar_logits(network, texts), rtol=0, atol=1e-7
    )  # a standard deviation of zero is found to the root of the precision


# Sentences


@pytest.mark.parametrize("operation", ["interference", "modulation"])
@pytest.mark.parametrize("readout", ["cls", "mean"])
@pytest.mark.parametrize("layers", [1, 2])
def test_sentences(operation, readout, layers):
    shape = {"operation": operation, "variants": "levels", "readout": readout, "layers": layers}
    network = network_of(shape)
    texts = [
        [0, 2, 3],  # no end
        [0, 2, 3, 1],  # one, at the end
        [0, 1],
        [0, 2, 1, 3, 4, 1, 5, 6],  # three sentences
        [1, 0, 2],  # the end is the first token
        [],
        [1, 1, 1, 2],
        [],
    ]
    torch.testing.assert_close(
        logits_of(network, texts), polar_logits(network, texts), rtol=0, atol=1e-7
    )  # a standard deviation of zero is found to the root of the precision


@pytest.mark.parametrize("readout", ["cls", "mean"])
def test_the_first_sentence_may_be_cls_alone(readout):
    network = network_of({"variants": "levels", "readout": readout}, sentence_ends=(0, 5))
    texts = [[0, 2, 3], [0], [0, 5, 4], [2, 3, 0]]
    torch.testing.assert_close(
        logits_of(network, texts), polar_logits(network, texts), rtol=0, atol=1e-7
    )  # a standard deviation of zero is found to the root of the precision


def test_sentence_ends_of_another_text_do_not_matter():
    network = network_of({"variants": "levels"})
    alone = logits_of(network, [[0, 2, 3]])
    for others in ([[0, 2, 1]], [[1]], [[1, 1], []]):
        torch.testing.assert_close(
            logits_of(network, [*others, [0, 2, 3]])[-1:], alone, rtol=1e-12, atol=1e-12
        )


# Encodings of positions


def test_sinusoids_begin_anew_in_each_text():
    for width in (1, 2, 5, 6):
        like = torch.zeros(1, width)
        actual = sinusoids(torch.tensor([0, 3, 3, 4, 9]), 9, like)
        expected = torch.cat([sinusoids_of(n, width) for n in (3, 0, 1, 5) if n])
        torch.testing.assert_close(actual.double(), expected, rtol=0, atol=1e-6)
    assert sinusoids(torch.tensor([0]), 0, torch.zeros(0, 4)).shape == (0, 4)


def test_sinusoids_have_the_precision_of_their_dtype():
    actual = sinusoids(torch.tensor([0, 600]), 600, torch.zeros(1, 6, dtype=torch.float64))
    torch.testing.assert_close(actual, sinusoids_of(600, 6), rtol=0, atol=1e-12)


# Parameters, initial values, dropout


def test_parameters_of_the_paper():
    config = preset_named("paper").network_config(30_522, 4, ())
    with torch.device("meta"):
        count = WaveNetwork(config).parameter_count()
    assert count.without_embedding == 2_366_212
    assert count.total == 2_366_212 + 30_522 * 768


def test_embeddings_begin_at_their_scale():
    torch.manual_seed(0)
    weight = WaveNetwork(WaveConfig(2000, 2, width=16, embedding_scale=0.25)).embedding.weight.detach()
    assert float(weight.std()) == pytest.approx(0.25, rel=0.03)
    assert abs(float(weight.mean())) < 0.01


@pytest.mark.parametrize("norm", ["real", "wave"])
def test_layers_below_the_last_begin_as_the_identity(norm):
    network = WaveNetwork(WaveConfig(9, 3, 6, layers=3, layer_norm=norm, dropout=0.0)).double().eval()
    batch = make_batch(ragged([[2, 3, 4], [5]]))
    tokens = network.embedding(batch.rows)[batch.index]
    first, _, last = (layer.all_tokens(tokens, batch) for layer in network.layers)
    bias = 0 if norm == "real" else network.layers[0].restore.linear.bias  # of what follows the norm
    torch.testing.assert_close(first, tokens + bias)
    assert float((last - tokens).detach().abs().max()) > 0.1
    network(batch).square().sum().backward()
    assert all(float(layer.norm.weight.grad.abs().max()) > 0 for layer in network.layers)  # and learn


@pytest.mark.parametrize("layers", [1, 2])
def test_dropout_acts_in_training_alone(layers):
    shape = {"readout": "text", "layers": layers, "context_width": 4}
    network, texts = network_of(shape, dropout=0.5), [[2, 3, 4]] * 8
    torch.manual_seed(0)
    still = logits_of(network, texts)
    assert torch.equal(still, logits_of(network, texts))
    network.train()
    assert float((logits_of(network, texts) - still).detach().abs().max()) > 1e-3
    undropped = network_of(shape, dropout=0.0).train()
    torch.testing.assert_close(logits_of(undropped, texts), still, rtol=1e-12, atol=1e-12)


# Gradients of the embedding


def test_only_rows_of_the_batch_have_gradients():
    network = network_of({"readout": "mean"})
    logits_of(network, [[7, 2, 7], [5]]).square().sum().backward()
    gradient = network.embedding.weight.grad.coalesce()
    assert gradient.indices().tolist() == [[2, 5, 7]]
    assert math.isfinite(float(gradient.values().abs().sum()))


def test_the_examples_of_docstrings_run() -> None:
    assert doctest.testmod(wave_network) == (0, 6)


@pytest.mark.parametrize(
    "settings",
    [
        {"layers": 2, "layer_norm": "real", "residual": "figure"},
        {"layers": 2, "layer_norm": "wave", "feed_forward": 8, "activation": "gelu"},
        {"readout": "mean", "positions": "sinusoidal", "norm_tokens": True},
        {"readout": "text", "variants": "rows", "context_width": 4, "linear_svm": True},
        {"variants": "levels", "sentence_ends": (5,), "restore": "magnitude"},
    ],
)
def test_no_step_of_training_mixes_devices(settings):
    """On a device without memory: a tensor that is made on the processor meets one that is not, and fails."""
    config = WaveConfig(10, 4, 8, dropout=0.3, **settings)
    with torch.device("meta"):
        network = WaveNetwork(config).train()
    batch = make_batch(ragged([[0, 5, 7], [0, 5], []]), config.sentence_ends).to(torch.device("meta"))
    logits = network(batch)
    assert logits.shape == (3, 4)
    logits.square().sum().backward()
    assert {parameter.grad.device.type for parameter in network.parameters()} == {"meta"}
