"""What onnxruntime computes of an exported file is what the classifier says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import (
    N_ROWS,
    TEXTS,
    classifier_with,
    exported,
    run,
    small_exported,
    texts_of,
)
from small_models import random_arrays, shapes_that_compile, torch_classifier
from stored_models import KINDS, STORAGES, classifier_of, in_storage
from text_strategies import texts

import token2wave
from token2wave.data import TextDataset, TextSplit
from token2wave.errors import ConfigError, OutputError
from token2wave.features import Ragged
from token2wave.integrations import onnx as onnx_export
from token2wave.integrations.onnx import export_onnx, pad
from token2wave.models import WaveConfig, WaveNetwork

SHAPES = shapes_that_compile(context_width=6)
CLOSE = 3e-6


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_are_those_of_the_classifier(kind: str, storage: str) -> None:
    classifier, other = classifier_of(kind, storage), small_exported(kind, storage)
    found = other.probabilities(TEXTS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, classifier.probabilities(TEXTS), rtol=0, atol=CLOSE)
    assert np.ptp(found, axis=0).min() > 1e-3  # texts are told apart


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape.values())))
def test_every_network_that_compiles_agrees_with_torch(shape: dict[str, Any], tmp_path: Path) -> None:
    """Texts of no feature and of one are among them; from row 1 on, since features have [CLS] in row 0."""
    config = WaveConfig(N_ROWS, 4, width=5, context_radius=2, dropout=0.0, **shape)
    arrays = random_arrays(config, seed=2, spread=0.6)
    network = WaveNetwork(config).eval()
    network.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    path = tmp_path / "model.onnx"
    export_onnx(classifier_with(arrays, config), path)
    features = texts_of([0, 1, 2, 7, 40, 300, 1, 0])
    found = run(path, features)
    np.testing.assert_allclose(found["logits"], network.logits(features), rtol=2e-5, atol=2e-5)
    np.testing.assert_array_equal(found["labels"], found["probabilities"].argmax(axis=1))
    for nobody in (texts_of([]), texts_of([0])):
        np.testing.assert_allclose(run(path, nobody)["logits"], network.logits(nobody), atol=2e-5)


@pytest.mark.parametrize("kind", ["linear_svm", "several", "paper phrases", "cls"])
@settings(deadline=None, max_examples=40, print_blob=True)
@given(batch=st.lists(texts, max_size=5))
def test_hostile_texts(kind: str, batch: list[str]) -> None:
    found = small_exported(kind).probabilities(batch)
    assert found.shape == (len(batch), 3)
    np.testing.assert_allclose(found, classifier_of(kind).probabilities(batch), rtol=0, atol=CLOSE)


@pytest.mark.parametrize("radius", [1, 3, 150])
def test_context_of_any_radius(radius: int, tmp_path: Path) -> None:
    config = WaveConfig(
        N_ROWS, 3, width=4, variants="rows", readout="text", context_width=5, context_radius=radius
    )
    classifier = classifier_with(random_arrays(config, seed=3, spread=0.5), config)
    features = texts_of([1, 2, 5, 400])
    export_onnx(classifier, tmp_path / "model.onnx")
    found = run(tmp_path / "model.onnx", features)["logits"]
    np.testing.assert_allclose(found, classifier.network.logits(features), rtol=2e-5, atol=1e-5)


def test_one_word_many_times_has_no_deviation(tmp_path: Path) -> None:
    """Where sums are not taken in double precision, the difference leaves a thousandth of the mean."""
    config = WaveConfig(N_ROWS, 3, width=8, variants="rows", readout="text", operation="interference")
    arrays = random_arrays(config, seed=4, spread=0.5)
    arrays["layers.0.restore.linear.weight"][:, :8] = 0  # only the deviation is seen, as if by a lens
    arrays["layers.0.restore.linear.weight"][:, 8:] *= 1e2
    arrays["layers.0.restore.linear.bias"][:] = 0
    classifier = classifier_with(arrays, config)
    export_onnx(classifier, tmp_path / "model.onnx")
    for count in (1, 3, 1_000):
        same = Ragged(np.full(count, 7, np.int32), np.array([0, count]), np.array([count]))
        found = run(tmp_path / "model.onnx", same)["logits"]
        nothing = run(tmp_path / "model.onnx", texts_of([0]))["logits"]
        np.testing.assert_allclose(found, nothing, atol=1e-2)
        np.testing.assert_allclose(found, classifier.network.logits(same), atol=1e-2)


def test_a_large_mean_costs_the_norm_no_digits(tmp_path: Path) -> None:
    config = WaveConfig(
        N_ROWS, 3, width=8, variants="rows", readout="text", restore="real", operation="interference"
    )
    arrays = random_arrays(config, seed=5, spread=0.5)
    arrays["embedding.weight"] += 100
    classifier = classifier_with(arrays, config)
    export_onnx(classifier, tmp_path / "model.onnx")
    features = texts_of([1, 2, 30])
    found = run(tmp_path / "model.onnx", features)["logits"]
    np.testing.assert_allclose(found, classifier.network.logits(features), atol=2e-4)


@pytest.mark.parametrize("kind", ["linear_svm", "linear"])
def test_very_long_texts(kind: str) -> None:
    long = ["good a film bad ! " * 30_000 + "b", "film " * 70_000]
    found = small_exported(kind).probabilities([*long, "a", ""])
    expected = classifier_of(kind).probabilities([*long, "a", ""])
    np.testing.assert_allclose(found, expected, rtol=0, atol=CLOSE)


def test_neither_company_nor_padding_changes_a_text(tmp_path: Path) -> None:
    classifier = classifier_of("linear_svm")
    export_onnx(classifier, tmp_path / "model.onnx")
    features = classifier.features(TEXTS)
    together = run(tmp_path / "model.onnx", features)["probabilities"]
    for number in range(len(TEXTS)):
        alone = run(tmp_path / "model.onnx", features.take(np.array([number])))["probabilities"]
        np.testing.assert_allclose(alone[0], together[number], rtol=0, atol=5e-7)
    inputs = pad(features)
    ended = np.arange(inputs["ids"].shape[1]) >= inputs["n_features"][:, None]
    inputs["ids"][ended] = -(10**9)  # whatever stands there
    session = small_exported("linear_svm")._session
    np.testing.assert_array_equal(session.run(["probabilities"], inputs)[0], together)


def test_order_counts_at_the_context_level_alone(tmp_path: Path) -> None:
    there, back = ["good bad a film"], ["film a bad good"]
    for kind, differs in (("paper phrases", True), ("paper", False)):
        other = small_exported(kind)
        away = np.abs(other.probabilities(there) - other.probabilities(back)).max()
        assert (away > 1e-4) == differs


def test_labels_are_given_from_their_thresholds_on(tmp_path: Path) -> None:
    classifier = classifier_of("several")
    export_onnx(classifier, tmp_path / "model.onnx")
    found = run(tmp_path / "model.onnx", classifier.features(TEXTS))
    assert found["labels"].dtype == np.bool_
    names = [tuple(np.array(classifier.label_names)[row]) for row in found["labels"]]
    assert names == classifier.label_sets(TEXTS)
    assert len(set(names)) > 1
    other = small_exported("several")
    assert [set(each.labels) for each in other.predict_batch(TEXTS)] == [set(each) for each in names]


def test_a_threshold_that_is_met_is_reached(tmp_path: Path) -> None:
    config = WaveConfig(N_ROWS, 2, width=4, variants="rows", readout="text", multi_label=True)
    arrays = {name: np.zeros(shape, np.float32) for name, shape in config.parameter_shapes().items()}
    thresholds = (0.5, 0.5000001)  # the second is above a half even in single precision
    export_onnx(replace(classifier_with(arrays, config), thresholds=thresholds), tmp_path / "model.onnx")
    assert run(tmp_path / "model.onnx", texts_of([3]))["labels"].tolist() == [[True, False]]


def test_predictions_are_named(tmp_path: Path) -> None:
    classifier, other = classifier_of("small"), small_exported("small")
    expected = classifier.predict("good film", top_k=2)
    found = other.predict("good film", top_k=2)
    assert found.label == expected.label
    assert [label for label, _ in found.top] == [label for label, _ in expected.top]
    assert found.probability == pytest.approx(expected.probability, abs=CLOSE)
    with pytest.raises(TypeError, match=r"found list at texts\[0\]"):
        other.predict(["good"])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="found one string"):
        other.probabilities("good")
    with pytest.raises(TypeError, match=r"found int at texts\[1\]"):
        other.probabilities(["good", 3])  # type: ignore[list-item]


@pytest.mark.parametrize("several", [False, True])
def test_trained_and_compressed_models(several: bool, tmp_path: Path) -> None:
    words = {"sea": "ship harbour sail", "air": "plane wing airport", "land": "road car lorry"}
    random = np.random.default_rng(0)
    topics = [list(random.choice(list(words), 1 + several, replace=False)) for _ in range(120)]
    rows = [" ".join(random.permutation(" ".join(words[each] for each in some).split())) for some in topics]
    labels: Any = [tuple(some) for some in topics] if several else [some[0] for some in topics]
    splits = TextDataset("ways", TextSplit(rows, labels, "ways"), None, None, None, ())
    changes = {"network.width": 8, "network.context_width": 8, "features.bits": 12, "recipe.epochs": 2}
    classifier = token2wave.train(splits, settings=changes).classifier
    for one in (classifier, in_storage(classifier, "int8")):
        other = exported(one, tmp_path)
        asked = [*rows[:20], "a ship and a car", ""]
        np.testing.assert_allclose(other.probabilities(asked), one.probabilities(asked), rtol=0, atol=CLOSE)
        assert [each.labels for each in other.predict_batch(asked)] == [
            each.labels for each in one.predict_batch(asked)
        ]


# ---- the file ----


def test_the_graph_is_standard_and_its_axes_are_named(tmp_path: Path) -> None:
    classifier, path = classifier_of("linear_svm"), tmp_path / "model.onnx"
    assert export_onnx(classifier, path) == path.stat().st_size
    first = path.read_bytes()
    export_onnx(classifier, path)
    assert path.read_bytes() == first
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 18)]
    assert {node.domain for node in model.graph.node} == {""}

    def shapes(values: Any) -> dict[str, list[Any]]:
        return {
            each.name: [axis.dim_param or axis.dim_value for axis in each.type.tensor_type.shape.dim]
            for each in values
        }

    assert shapes(model.graph.input) == {
        "ids": ["n_texts", "n_places"],
        "n_features": ["n_texts"],
        "n_ordered": ["n_texts"],
    }
    assert shapes(model.graph.output) == {
        "logits": ["n_texts", 3],
        "probabilities": ["n_texts", 3],
        "labels": ["n_texts"],
    }
    export_onnx(classifier_of("fast"), path)  # no phrase level, so the order is not asked for
    assert list(shapes(onnx.load(path).graph.input)) == ["ids", "n_features"]


def test_compressed_models_stay_small(tmp_path: Path) -> None:
    sizes = {}
    for storage in ("float32", "float16", "int8", "lzma"):
        classifier = classifier_of("linear_svm", storage)
        sizes[storage] = export_onnx(classifier, tmp_path / "model.onnx")
        held = {each.name: each for each in onnx.load(tmp_path / "model.onnx").graph.initializer}
        bits = {"float32": 4, "float16": 2}.get(storage, 1)
        rows, width = classifier.network.config.n_rows, classifier.network.config.wave_width
        assert len(held["embedding.weight"].raw_data) == bits * (rows + 1) * width
    assert sizes["float32"] > sizes["float16"] > sizes["int8"] > sizes["lzma"]


def test_what_was_stored_before_the_network_changed_is_not_used(tmp_path: Path) -> None:
    from dataclasses import replace

    encoded, network = classifier_of("linear_svm", "int8"), classifier_of("linear_svm").network
    changed = replace(encoded, network=network)
    found = exported(changed, tmp_path).probabilities(TEXTS)
    np.testing.assert_allclose(found, changed.probabilities(TEXTS), rtol=0, atol=CLOSE)


def test_what_cannot_be_exported_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="that of the first sentence"):
        export_onnx(torch_classifier(), tmp_path / "model.onnx")
    with pytest.raises(OutputError, match="nowhere"):
        export_onnx(classifier_of("fast"), tmp_path / "nowhere" / "model.onnx")
    monkeypatch.setattr(onnx_export, "MAX_BYTES", 1_000)
    with pytest.raises(OutputError, match=r"at most 1,000 bytes.*compress the model first"):
        export_onnx(classifier_of("fast"), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_batches_are_of_like_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "PLACES_CHUNK", 20)
    lengths = np.array([3, 0, 50, 7, 3, 0, 9, 1])
    batches = list(onnx_export._batches_of_similar_length(lengths))
    assert sorted(np.concatenate(batches).tolist()) == list(range(8))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * lengths[batch].max() <= 20
    np.testing.assert_allclose(
        small_exported("small").probabilities(TEXTS), classifier_of("small").probabilities(TEXTS), atol=CLOSE
    )
