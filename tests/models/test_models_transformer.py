import math

import numpy as np
import pytest
import torch

from paper.rivals.transformer import TransformerConfig, TransformerNetwork
from token2wave.errors import ConfigError
from token2wave.features import Ragged
from token2wave.features.ragged import offsets_of
from token2wave.models import make_batch
from token2wave.models.bert_encoder import pad_texts

LENGTHS = (5, 1, 9, 0, 3)


def texts(lengths=LENGTHS, n_rows=20, seed=0):
    random = np.random.default_rng(seed)
    lengths = np.array(lengths)
    ids = random.integers(0, n_rows, lengths.sum()).astype(np.int32)
    return Ragged(ids, offsets_of(lengths), lengths)


def network(**settings):
    torch.manual_seed(0)
    config = TransformerConfig(20, 3, width=12, heads=3, feed_forward=24, embedding_scale=1.0, **settings)
    return TransformerNetwork(config).double().eval()


def slow(net, ids):
    """One text after the other, from the definitions, with loops over heads and tokens."""
    config, state = net.config, {name: value.detach() for name, value in net.state_dict().items()}

    def norm(x, name):
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()
        return x * state[f"{name}.weight"] + state[f"{name}.bias"]

    tokens = state["embedding.weight"][ids]
    if not len(ids):
        tokens = torch.zeros(1, config.width, dtype=torch.float64)
    if config.positions == "learned":
        tokens = tokens + state["positions.weight"][: len(tokens)]
    if config.positions == "sinusoidal" and len(ids):
        for place in range(len(tokens)):
            for k in range(config.width):
                angle = place / 10_000 ** ((k - k % 2) / config.width)
                tokens[place, k] += math.cos(angle) if k % 2 else math.sin(angle)
    x = norm(tokens, "embedding_norm")
    for layer in range(config.layers):
        of = f"layers.{layer}"
        query, key, value = (
            x @ state[f"{of}.self_attn.in_proj_weight"].T + state[f"{of}.self_attn.in_proj_bias"]
        ).chunk(3, dim=-1)
        size = config.width // config.heads
        heads = []
        for head in range(config.heads):
            part = slice(head * size, (head + 1) * size)
            scores = query[:, part] @ key[:, part].T / math.sqrt(size)
            heads.append(scores.softmax(-1) @ value[:, part])
        mixed = torch.cat(heads, -1) @ state[f"{of}.self_attn.out_proj.weight"].T
        x = norm(x + mixed + state[f"{of}.self_attn.out_proj.bias"], f"{of}.norm1")
        hidden = torch.nn.functional.gelu(x @ state[f"{of}.linear1.weight"].T + state[f"{of}.linear1.bias"])
        x = norm(x + hidden @ state[f"{of}.linear2.weight"].T + state[f"{of}.linear2.bias"], f"{of}.norm2")
    text = x[0] if config.readout == "cls" else x.sum(0) * (1 if len(ids) else 0) / max(1, len(ids))
    return text @ state["head.weight"].T + state["head.bias"]


@pytest.mark.parametrize("positions", ["none", "learned", "sinusoidal"])
@pytest.mark.parametrize("readout", ["cls", "mean"])
@pytest.mark.parametrize("layers", [1, 2])
def test_logits_are_those_of_the_definitions(positions, readout, layers):
    net, features = network(positions=positions, readout=readout, layers=layers), texts()
    expected = torch.stack([slow(net, features.ids[a:b]) for a, b in zip(*_bounds(features), strict=True)])
    with torch.no_grad():
        assert torch.allclose(net(make_batch(features)), expected, atol=1e-9)


def _bounds(features):
    return features.offsets[:-1], features.offsets[1:]


def test_the_shortened_layer_is_the_whole_one_gradients_included():
    net, batch = network(), make_batch(texts())
    found = []
    for net.shortened in (True, False):
        net.zero_grad()
        logits = net(batch)
        logits.square().sum().backward()
        gradients = {name: parameter.grad for name, parameter in net.named_parameters()}
        found.append((logits.detach(), gradients))
    (short, of_short), (whole, of_whole) = found
    assert torch.allclose(short, whole, atol=1e-12)
    for name, gradient in of_whole.items():
        assert torch.allclose(of_short[name].to_dense(), gradient.to_dense(), atol=1e-10), name


def test_a_text_does_not_depend_on_its_batch():
    net, features = network(), texts()
    together = net(make_batch(features))
    for text in range(len(features)):
        alone = net(make_batch(features.take(np.array([text]))))
        assert torch.allclose(alone[0], together[text], atol=1e-12)


def test_without_positions_the_order_of_the_tokens_makes_no_difference():
    first = Ragged(np.array([1, 2, 3, 4], np.int32), np.array([0, 4]), np.array([4]))
    second = Ragged(np.array([1, 4, 2, 3], np.int32), np.array([0, 4]), np.array([4]))
    blind, seeing = network(positions="none"), network(positions="learned")
    assert torch.allclose(blind(make_batch(first)), blind(make_batch(second)), atol=1e-12)
    assert not torch.allclose(seeing(make_batch(first)), seeing(make_batch(second)), atol=1e-3)


def test_dropout_drops_in_training_alone():
    net, batch = network(dropout=0.5), make_batch(texts())
    assert torch.equal(net(batch), net(batch))
    net.train()
    assert not torch.equal(net(batch), net(batch))


def test_it_starts_from_the_embeddings_given():
    table = torch.arange(240, dtype=torch.float32).view(20, 12)
    net = TransformerNetwork(TransformerConfig(20, 3, width=12, heads=3), table)
    assert torch.equal(net.embedding.weight.detach(), table)


@pytest.mark.parametrize(
    ("settings", "where"),
    [({"heads": 5}, "heads"), ({"positions": "other"}, "positions"), ({"readout": "text"}, "readout")],
)
def test_illegal_settings_are_refused(settings, where):
    with pytest.raises(ConfigError, match=where):
        TransformerConfig(20, 3, width=12, **{"heads": 3, **settings})


def test_padding_lays_texts_side_by_side():
    values, filled = pad_texts(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0, 2, 2, 3]))
    assert values.tolist() == [[1, 2], [0, 0], [3, 0]]
    assert filled.tolist() == [[True, True], [False, False], [True, False]]
    empty, nothing = pad_texts(torch.zeros(0, 4), torch.tensor([0, 0]))
    assert empty.shape == (1, 1, 4)
    assert not nothing.any()


def test_a_text_with_more_tokens_than_positions_is_refused_with_the_cure():
    net = network(positions="learned", max_positions=4)
    with pytest.raises(
        ConfigError, match="max_positions: expected texts of at most 4 tokens, found one of 9"
    ):
        net(make_batch(texts()))


def test_many_texts_get_the_logits_of_each_in_their_order():
    net, features = network().float(), texts((5, 1, 9, 3) * 40)
    logits = net.logits(features)
    for text in (0, 1, 77, 159):
        alone = net.logits(features.take(np.array([text])))
        assert np.allclose(alone[0], logits[text], atol=1e-6)
