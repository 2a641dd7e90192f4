"""The OOV table: words without a row count by their own entry, or by those of their character n-grams."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from oov_models import TEXTS, expected_ids, oov_model
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from test_novelty import REFERENCE

from token2wave.classifier import Classifier, load
from token2wave.compression import compress
from token2wave.compression.encoder import prune_oov
from token2wave.core import load_core
from token2wave.errors import ConfigError, ModelFileError
from token2wave.features import Ragged
from token2wave.features.hashed_texts import HashedTexts
from token2wave.features.ragged import concatenate
from token2wave.inference.compiled import compile_network
from token2wave.inference.drift_sums import DriftSums
from token2wave.inference.reference import logits_of_features
from token2wave.inference.routes import Route
from token2wave.training.incremental import _start_from_oov, add_words, expand_vocabulary, update


def test_ids_come_last_and_are_counted() -> None:
    features = oov_model().features
    ragged = features(TEXTS)
    plain = features.with_oov(features.oov_hashes[:0])(TEXTS)
    assert plain.n_oov_tokens is None
    for number, text in enumerate(TEXTS):
        ids = ragged.ids[ragged.offsets[number] : ragged.offsets[number + 1]]
        own = plain.ids[plain.offsets[number] : plain.offsets[number + 1]]
        expected, n_tokens = expected_ids(features, text)
        assert ids.tolist() == [*own.tolist(), *expected]
        assert ragged.n_oov_tokens[number] == n_tokens
    assert ragged.n_oov_tokens.max() > 0
    assert same(features(HashedTexts(TEXTS)), ragged)
    assert same(ragged.rows(features.n_rows), plain)


def same(one: Ragged, other: Ragged) -> bool:
    return all(np.array_equal(array, vars(other)[name]) for name, array in vars(one).items())


def test_selections_keep_the_counts() -> None:
    ragged = oov_model().features(TEXTS)
    halves = [ragged.take(np.arange(0, 4)), ragged.take(np.arange(4, len(TEXTS)))]
    assert same(concatenate(halves), ragged)
    assert ragged.take(np.array([3, 0])).n_oov_tokens.tolist() == [*ragged.n_oov_tokens[[3, 0]]]
    without = ragged.rows(oov_model().features.n_rows)
    assert concatenate([without, ragged]).n_oov_tokens[: len(TEXTS)].tolist() == [0] * len(TEXTS)


def test_the_svm_counts_tokens_once() -> None:
    """The sum over rows and entries is divided by the root of rows plus OOV tokens."""
    model = oov_model()
    rows, features = model.features.n_rows, model.features(TEXTS)
    arrays = model.network.arrays()
    table = np.concatenate([arrays["embedding.weight"][:, 16:], arrays["oov.weight"]])
    plain = model.network.config.without_linear_svm()
    waves = {name: arrays[name] for name in plain.parameter_shapes()}
    waves["embedding.weight"] = waves["embedding.weight"][:, :16]
    logits = logits_of_features(plain, waves, features.rows(rows)).astype(np.float64)
    for number in range(len(TEXTS)):
        ids = features.ids[features.offsets[number] : features.offsets[number + 1]]
        count = max((ids < rows).sum() + features.n_oov_tokens[number], 1)
        svm = table[ids].sum(axis=0, dtype=np.float64) / np.sqrt(count)
        logits[number] += svm * arrays["linear_svm.weight"] + arrays["linear_svm.bias"]
    np.testing.assert_allclose(model.network.logits(features), logits, atol=1e-4)


@pytest.mark.parametrize("backend", ["native core", "numpy", "torch"])
def test_a_text_is_known_exactly_if_its_prediction_rests_on_something(backend: str) -> None:
    """By a word, or by some character n-grams of a word without a row."""
    model = replace(oov_model(), novelty_reference=REFERENCE)
    twin = replace(model, network=in_torch(model)) if backend == "torch" else model
    texts = ["zebra", "zebras", "good", "", "qqq", "qqq ??", "qqq x"]
    with mock.patch.dict("os.environ", TOKEN2WAVE_NATIVE=str(int(backend == "native core"))):
        twin = copy.deepcopy(twin)
        known = twin.known(texts).tolist()
        assert known == [True, True, True, False, False, False, True]
        assert [each.known for each in twin.predict_batch(texts)] == known
        changes = np.abs(twin.probabilities(texts) - twin.probabilities([""])).max(axis=1)
        assert (changes > 1e-6).tolist() == known
        novelty = twin.novelty(texts)
        assert novelty is not None
        assert (novelty == 1).tolist() == [not each for each in known]
    states = [model.state().update(text) for text in texts]
    assert [each.known for each in states] == known
    explained = [model.explain(text) for text in texts]
    assert [each.known for each in explained] == known
    assert [any(part.known for part in each.parts) for each in explained] == known


def in_torch(model: Classifier) -> Any:
    torch = pytest.importorskip("torch")
    from token2wave.models import WaveNetwork

    network = WaveNetwork(model.network.config)
    network.load_state_dict({name: torch.tensor(array) for name, array in model.network.arrays().items()})
    return network


def test_a_file_holds_the_table(tmp_path: Path) -> None:
    model = oov_model()
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    np.testing.assert_array_equal(again.probabilities(TEXTS), model.probabilities(TEXTS))
    assert again.fingerprint == model.fingerprint


SHAPES = ({}, {"readout": "cls"}, {"context_width": 8}, {"multi_label": True, "context_width": 3})


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_states_are_exact(shape: dict[str, Any]) -> None:
    model = oov_model(**shape)
    whole = [model.state().update(text).probabilities() for text in TEXTS]
    np.testing.assert_allclose(whole, model.probabilities(TEXTS), atol=1e-5)
    state = model.state()
    for word in TEXTS[3].split():
        state.update(word)
    state.merge(model.state().update(TEXTS[0]))
    state = model.state_from_bytes(state.to_bytes())
    check(state, f"{TEXTS[3]} {TEXTS[0]}")
    state.remove("zebra i'm")
    state.remove_first(2)
    check(state, f"né né 👍 {TEXTS[0]}")
    state._n_removed = 10**9  # the sums are computed anew
    state.remove_first(3)
    check(state, TEXTS[0])
    state = model.state().update("qqq zebras")
    assert state.known
    assert not state.remove("zebras").known
    assert model.state_from_bytes(model.state().update("zebras").to_bytes()).remove_first(0).known
    window = model.window(5).update(TEXTS[7]).update(f"{TEXTS[3]} {TEXTS[0]}")
    check(window, "zebras film goodness, good")


def check(state: Any, text: str) -> None:
    np.testing.assert_allclose(state.probabilities(), oov_like(state, text), atol=1e-5)


def oov_like(state: Any, text: str) -> NDArray[np.float32]:
    return Route(getattr(state, "state", state).model, "numpy").probabilities([text])[0]


@pytest.mark.parametrize("name", ["oov_counts", "oov_ids"])
def test_damaged_ids_of_a_state_are_refused(name: str) -> None:
    model = oov_model()
    packed = model.state().update("zebra zebras").to_bytes()
    arrays = load_arrays(packed)
    arrays[name] = arrays[name][:-1]
    header = packed[8 : 8 + int.from_bytes(packed[:8], "little")]
    metadata = json.loads(header)["__metadata__"]
    with pytest.raises(ModelFileError, match="ids of the OOV table"):
        model.state_from_bytes(save_arrays(arrays, metadata))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_explanations_are_exact(shape: dict[str, Any]) -> None:
    model = oov_model(**shape)
    text = "zebras film i'm né qqq goodness"
    words, whole = text.split(), model.probabilities([text])[0]
    parts = model.explain(text).parts
    for number, part in enumerate(parts):
        rest = " ".join(words[:number] + words[number + 1 :])
        np.testing.assert_allclose(part.effects, whole - model.probabilities([rest])[0], atol=1e-5)
    assert [part.known for part in parts] == [True, True, True, True, False, True]
    assert parts[0].energy == parts[3].energy == 0


def test_novelty_counts_the_words_as_unknown() -> None:
    model = replace(oov_model(), novelty_reference=REFERENCE)
    assert model.features.with_unknown(["zebra zebras good"])[1].tolist() == [4]  # two words, two pairs
    assert model.novelty(["qqq"]).tolist() == [1.0]
    assert model.novelty(["good"]) < model.novelty(["zebras"]) < 1
    texts = ["zebra zebras good film", "good film"]
    states = [model.state().update(text).novelty() for text in texts]
    np.testing.assert_allclose(model.novelty(texts), states, atol=1e-6)
    sums = DriftSums.of_texts(model, ["zebra zebras good"])
    assert (sums.features, sums.unknown_features) == (5, 4)


def test_compression_keeps_the_table(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    model = replace(oov_model(), training={"seed": 0})
    model.save(tmp_path / "model")
    data = [f"{text} {number}" for number in range(9) for text in TEXTS[:5]], [*model.label_names] * 15
    for storage in ("float32", "float16", "int8", "lzma"):
        small = compress(tmp_path / "model", tmp_path / "small", data=data, storage=storage).classifier
        assert np.array_equal(small.features.oov_hashes, model.features.oov_hashes)
        if storage != "float32":
            assert small.encoded["oov.weight"].settings["kind"] == storage
        close = {"float32": 0, "float16": 1e-3, "int8": 0.03, "lzma": 0.2}[storage]
        np.testing.assert_allclose(small.probabilities(TEXTS[:5]), model.probabilities(TEXTS[:5]), atol=close)


def test_a_small_file_keeps_the_largest_entries() -> None:
    model = oov_model()
    assert prune_oov(model, 10**6) is model
    small = prune_oov(model, 400)
    assert 0 < small.network.config.n_oov < model.network.config.n_oov
    sizes = np.abs(model.network.arrays()["oov.weight"]).max(axis=1)
    mask = np.isin(model.features.oov_hashes, small.features.oov_hashes)
    assert sizes[mask].min() >= sizes[~mask].max()
    np.testing.assert_array_equal(
        small.network.arrays()["oov.weight"], model.network.arrays()["oov.weight"][mask]
    )
    assert prune_oov(model, 1).network.config.n_oov == 0


def test_new_rows_start_from_the_entries() -> None:
    """Before any step, a word's new row adds what the word added by the OOV table."""
    model = oov_model()
    words = ["zebra zebra", "goodness goodness film"]
    updated = update(model, words, [model.label_names[0]] * 2, epochs=1, parts="rows")
    assert np.array_equal(updated.features.oov_hashes, model.features.oov_hashes)
    plain = model.features.with_oov(model.features.oov_hashes[:0])
    features, places = add_words(plain, HashedTexts(words))
    config, arrays = expand_vocabulary(
        model.network.config, model.network.arrays(), features.n_rows, places, 0
    )
    _start_from_oov(config, arrays, model.features, features, HashedTexts(words))
    for word in ("zebra", "goodness"):
        row = features([word]).ids[0]
        entries = model.features([word]).ids - model.features.n_rows
        total = model.network.arrays()["oov.weight"][entries].sum(axis=0)
        np.testing.assert_allclose(arrays["embedding.weight"][row, config.wave_width :], total, atol=1e-6)


def test_tables_that_cannot_be_are_refused() -> None:
    model = oov_model()
    with pytest.raises(ConfigError, match="expected a linear SVM"):
        model.network.config.replace(linear_svm=False)
    with pytest.raises(ConfigError, match="n_oov"):
        model.network.config.replace(n_oov=(1 << 22) // 3 + 1)
    with pytest.raises(ConfigError, match="entries of the OOV table, found 0"):
        type(model)(model.features.with_oov(model.features.oov_hashes[:0]), model.network, model.label_names)


def test_a_table_that_overflows_does_not_load(tmp_path: Path) -> None:
    model = oov_model()
    arrays = {name: array.copy() for name, array in model.network.arrays().items()}
    arrays["oov.weight"][-2:] = 3e38
    replace(model, network=compile_network(model.network.config, arrays)).save(tmp_path / "model")
    with pytest.raises(ModelFileError):
        load(tmp_path / "model")


LETTERS = st.sampled_from("aegoxz'’é中👍\ud800\x00\u0301İ -.") | st.characters()
WORDS = st.sampled_from(["zebra", "zebras", "x" * 64, "x" * 65, "x" * 130, "don't", "film", "'", ""])


@given(st.lists(st.lists(WORDS | LETTERS, max_size=30).map("".join), max_size=4))
@settings(max_examples=200, deadline=None)
def test_core_and_numpy_give_the_same_ids(texts: list[str]) -> None:
    if load_core() is None:
        pytest.skip("there is no native core")
    features = oov_model().features
    native = features(texts)
    with mock.patch("token2wave.features.words.load_core", return_value=None):
        assert same(features(texts), native)
