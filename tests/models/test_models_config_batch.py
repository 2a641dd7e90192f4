"""The shape of a network as data, and batches against loops."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from polar_network import config_of, legal_combinations, ragged

from token2wave.errors import ConfigError
from token2wave.models import WaveConfig, WaveNetwork, make_batch
from token2wave.models.batch import TENSORS


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("n_rows", 0),
        ("n_classes", 1),
        ("width", 0),
        ("layers", 0),
        ("operation", "addition"),
        ("variants", "three"),
        ("restore", "phase"),
        ("readout", "last"),
        ("positions", "learnt"),
        ("residual", "none"),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("dropout", float("nan")),
        ("context_width", -1),
        ("context_radius", 0),
        ("embedding_scale", 0.0),
        ("embedding_scale", float("nan")),
    ],
)
def test_illegal_values_are_refused_by_name(key, value):
    with pytest.raises(ConfigError, match=rf"{key}: expected .*found") as refusal:
        WaveConfig(**{"n_rows": 5, "n_classes": 2, key: value})
    assert refusal.value.location == key
    with pytest.raises(ConfigError):
        WaveConfig(5, 2).replace(**{key: value})


def test_unknown_settings_and_wrong_types_are_refused():
    with pytest.raises(ConfigError, match=r"unknown setting 'depth'.*known are: n_rows"):
        WaveConfig.from_dict({"n_rows": 5, "n_classes": 2, "depth": 3})
    for key, value in (("width", "8"), ("width", 8.0), ("width", True), ("readout", 1), ("sentence_ends", 3)):
        with pytest.raises(ConfigError, match=rf"^{key}: expected"):
            WaveConfig.from_dict({"n_rows": 5, "n_classes": 2, key: value})


def test_a_configuration_survives_plain_data():
    config = WaveConfig(5, 2, width=8, variants="levels", sentence_ends=(1, 3), dropout=0.0)
    data = config.to_dict()
    assert WaveConfig.from_dict({**data, "sentence_ends": [1, 3], "dropout": 0}) == config


@settings(deadline=None, max_examples=60)
@given(
    texts=st.lists(st.lists(st.integers(0, 5), max_size=5), max_size=5),
    ends=st.sets(st.integers(0, 7)),
    data=st.data(),
)
def test_batches_against_loops(texts, ends, data):
    n_ordered = [data.draw(st.integers(0, len(text))) for text in texts]
    batch = make_batch(ragged(texts, n_ordered), tuple(ends))
    flat = [row for text in texts for row in text]
    offsets, sentences, ordered, ordered_offsets = [0], [0], [], [0]
    for text, n in zip(texts, n_ordered, strict=True):
        start = offsets[-1]
        ordered += range(start, start + n)
        ordered_offsets.append(len(ordered))
        for place, row in enumerate(text):
            if row in ends or place == len(text) - 1:
                sentences.append(start + place + 1)
        offsets.append(start + len(text))
    assert batch.rows.tolist() == sorted(set(flat))
    assert batch.rows[batch.index].tolist() == flat
    assert batch.offsets.tolist() == offsets
    assert batch.rows[batch.ordered].tolist() == [flat[place] for place in ordered]
    every = batch.of_every_token()
    assert every.rows.tolist() == flat
    assert every.ordered.tolist() == ordered
    assert batch.ordered_offsets.tolist() == ordered_offsets
    assert batch.n_texts == len(texts)
    copy = batch.to(torch.device("cpu"))
    assert copy.text_span is None
    for name in TENSORS:
        assert getattr(batch, name).dtype == torch.int64
        assert torch.equal(getattr(copy, name), getattr(batch, name))
    if ends:
        assert batch.sentence_offsets.tolist() == sentences
    else:
        assert batch.sentence_offsets.tolist() == offsets


def test_tokens_that_are_left_out_stay_in_the_reading_order():
    features = ragged([[4, 2, 2, 7], [3], []], [3, 1, 0])
    batch = make_batch(features, left_out=np.array([True, False, True, False, True]))
    assert batch.rows.tolist() == [2, 3, 4, 7]
    assert batch.rows[batch.index].tolist() == [2, 7]
    assert batch.offsets.tolist() == [0, 2, 2, 2]
    assert batch.rows[batch.ordered].tolist() == [4, 2, 2, 3]
    assert batch.ordered_offsets.tolist() == [0, 3, 4, 4]


def test_a_batch_does_not_change_its_features():
    features = ragged([[3, 1, 3], [2]])
    make_batch(features, (1,)).index.zero_()
    assert np.array_equal(features.ids, [3, 1, 3, 2])
    assert np.array_equal(features.offsets, [0, 3, 4])


def test_parameters_are_counted_without_building_the_network():
    for shape in legal_combinations(positions="none", residual="equation"):
        config = config_of(shape, width=6)
        with torch.device("meta"):
            network = WaveNetwork(config)
        total = sum(parameter.numel() for parameter in network.parameters())
        assert config.parameter_count() == (total, total - network.embedding.weight.numel())
        assert network.parameter_count() == config.parameter_count()
        shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        assert list(config.parameter_shapes().items()) == list(shapes.items())
