"""onnxruntime computes the classifier's probabilities from an exported file."""

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
from oov_models import TEXTS as OOV_TEXTS
from oov_models import oov_model
from small_models import one_huge_row, random_arrays, shapes_that_compile, torch_classifier
from stored_models import KINDS, STORAGES, classifier_of, in_storage
from text_strategies import texts

import token2wave
from token2wave.data import TextDataset, TextSplit
from token2wave.errors import ConfigError, InputError, ModelFileError, OutputError
from token2wave.features import Ragged
from token2wave.integrations import onnx as onnx_export
from token2wave.integrations.onnx import OnnxClassifier, export_onnx, pad
from token2wave.models import WaveConfig, WaveNetwork

SHAPES = shapes_that_compile(context_width=6)
CLOSE = 3e-6


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_equal_the_classifiers(kind: str, storage: str) -> None:
    classifier, other = classifier_of(kind, storage), small_exported(kind, storage)
    actual = other.probabilities(TEXTS)
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, classifier.probabilities(TEXTS), rtol=0, atol=CLOSE)
    assert np.ptp(actual, axis=0).min() > 1e-3  # the texts differ


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize(
    "shape",
    [{"context_width": 8}, {"readout": "cls"}, {"multi_label": True, "operation": "interference"}],
    ids=str,
)
def test_words_without_a_row_count_by_the_oov_table(
    shape: dict[str, Any], storage: str, tmp_path: Path
) -> None:
    classifier = in_storage(oov_model(**shape), storage)
    other = exported(classifier, tmp_path)
    queries = [*OOV_TEXTS, *TEXTS]
    np.testing.assert_allclose(
        other.probabilities(queries), classifier.probabilities(queries), rtol=0, atol=CLOSE
    )
    assert [each.known for each in other.predict_batch(queries)] == classifier.known(queries).tolist()


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape.values())))
def test_every_network_that_compiles_agrees_with_torch(shape: dict[str, Any], tmp_path: Path) -> None:
    """The texts include some with no feature and with one."""
    config = WaveConfig(N_ROWS, 4, width=5, context_radius=2, dropout=0.0, **shape)
    arrays = random_arrays(config, seed=2, spread=0.6)
    network = WaveNetwork(config).eval()
    network.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    path = tmp_path / "model.onnx"
    export_onnx(classifier_with(arrays, config), path)
    features = texts_of([0, 1, 2, 7, 40, 300, 1, 0])
    actual = run(path, features)
    np.testing.assert_allclose(actual["logits"], network.logits(features), rtol=2e-5, atol=2e-5)
    np.testing.assert_array_equal(actual["labels"], actual["probabilities"].argmax(axis=1))
    for nobody in (texts_of([]), texts_of([0])):
        np.testing.assert_allclose(run(path, nobody)["logits"], network.logits(nobody), atol=2e-5)


@pytest.mark.parametrize("kind", ["linear_svm", "oov", "several", "paper phrases", "cls"])
@settings(deadline=None, max_examples=40, print_blob=True)
@given(batch=st.lists(texts, max_size=5))
def test_hostile_texts(kind: str, batch: list[str]) -> None:
    actual = small_exported(kind).probabilities(batch)
    assert actual.shape == (len(batch), 3)
    np.testing.assert_allclose(actual, classifier_of(kind).probabilities(batch), rtol=0, atol=CLOSE)


@pytest.mark.parametrize("radius", [1, 3, 150])
def test_context_of_any_radius(radius: int, tmp_path: Path) -> None:
    config = WaveConfig(
        N_ROWS, 3, width=4, variants="rows", readout="text", context_width=5, context_radius=radius
    )
    classifier = classifier_with(random_arrays(config, seed=3, spread=0.5), config)
    features = texts_of([1, 2, 5, 400])
    export_onnx(classifier, tmp_path / "model.onnx")
    actual = run(tmp_path / "model.onnx", features)["logits"]
    np.testing.assert_allclose(actual, classifier.network.logits(features), rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["fast", "cls", "paper"])
def test_texts_of_which_nothing_is_known(kind: str, tmp_path: Path) -> None:
    export_onnx(classifier_of(kind), tmp_path / "model.onnx")
    predictions = OnnxClassifier(tmp_path / "model.onnx").predict_batch(["", "zebra", "zebra film"])
    assert [prediction.known for prediction in predictions] == [False, False, True]


def test_a_repeated_word_has_no_deviation(tmp_path: Path) -> None:
    """Without double precision, the difference would be a thousandth of the mean."""
    config = WaveConfig(N_ROWS, 3, width=8, variants="rows", readout="text", operation="interference")
    arrays = random_arrays(config, seed=4, spread=0.5)
    arrays["layers.0.restore.linear.weight"][:, :8] = 0  # the deviation alone counts, enlarged
    arrays["layers.0.restore.linear.weight"][:, 8:] *= 1e2
    arrays["layers.0.restore.linear.bias"][:] = 0
    classifier = classifier_with(arrays, config)
    export_onnx(classifier, tmp_path / "model.onnx")
    for count in (1, 3, 1_000):
        same = Ragged(np.full(count, 7, np.int32), np.array([0, count]), np.array([count]))
        actual = run(tmp_path / "model.onnx", same)["logits"]
        nothing = run(tmp_path / "model.onnx", texts_of([0]))["logits"]
        np.testing.assert_allclose(actual, nothing, atol=1e-2)
        np.testing.assert_allclose(actual, classifier.network.logits(same), atol=1e-2)


def test_layer_norm_is_precise_for_a_large_mean(tmp_path: Path) -> None:
    config = WaveConfig(
        N_ROWS, 3, width=8, variants="rows", readout="text", restore="real", operation="interference"
    )
    arrays = random_arrays(config, seed=5, spread=0.5)
    arrays["embedding.weight"] += 100
    classifier = classifier_with(arrays, config)
    export_onnx(classifier, tmp_path / "model.onnx")
    features = texts_of([1, 2, 30])
    actual = run(tmp_path / "model.onnx", features)["logits"]
    np.testing.assert_allclose(actual, classifier.network.logits(features), atol=2e-4)


@pytest.mark.parametrize("kind", ["linear_svm", "linear"])
def test_very_long_texts(kind: str) -> None:
    long = ["good a film bad ! " * 30_000 + "b", "film " * 70_000]
    actual = small_exported(kind).probabilities([*long, "a", ""])
    expected = classifier_of(kind).probabilities([*long, "a", ""])
    np.testing.assert_allclose(actual, expected, rtol=0, atol=CLOSE)


def test_batch_and_padding_do_not_change_a_text(tmp_path: Path) -> None:
    classifier = classifier_of("linear_svm")
    export_onnx(classifier, tmp_path / "model.onnx")
    features = classifier.features(TEXTS)
    in_batch = run(tmp_path / "model.onnx", features)["probabilities"]
    for number in range(len(TEXTS)):
        alone = run(tmp_path / "model.onnx", features.take(np.array([number])))["probabilities"]
        np.testing.assert_allclose(alone[0], in_batch[number], rtol=0, atol=5e-7)
    inputs = pad(features)
    ended = np.arange(inputs["ids"].shape[1]) >= inputs["n_features"][:, None]
    inputs["ids"][ended] = -(10**9)  # must not matter
    session = small_exported("linear_svm")._session
    np.testing.assert_array_equal(session.run(["probabilities"], inputs)[0], in_batch)


def test_only_context_reads_the_order(tmp_path: Path) -> None:
    forward, backward = ["good bad a film"], ["film a bad good"]
    for kind, differs in (("paper phrases", True), ("paper", False)):
        other = small_exported(kind)
        away = np.abs(other.probabilities(forward) - other.probabilities(backward)).max()
        assert (away > 1e-4) == differs


def test_labels_by_threshold(tmp_path: Path) -> None:
    classifier = classifier_of("several")
    export_onnx(classifier, tmp_path / "model.onnx")
    actual = run(tmp_path / "model.onnx", classifier.features(TEXTS))
    assert actual["labels"].dtype == np.bool_
    names = [tuple(np.array(classifier.label_names)[row]) for row in actual["labels"]]
    assert names == classifier.label_sets(TEXTS)
    assert len(set(names)) > 1
    other = small_exported("several")
    assert [set(each.labels) for each in other.predict_batch(TEXTS)] == [set(each) for each in names]


def test_a_probability_equal_to_the_threshold_counts(tmp_path: Path) -> None:
    config = WaveConfig(N_ROWS, 2, width=4, variants="rows", readout="text", multi_label=True)
    arrays = {name: np.zeros(shape, np.float32) for name, shape in config.parameter_shapes().items()}
    thresholds = (0.5, 0.5000001)  # the second is above a half even in single precision
    export_onnx(replace(classifier_with(arrays, config), thresholds=thresholds), tmp_path / "model.onnx")
    assert run(tmp_path / "model.onnx", texts_of([3]))["labels"].tolist() == [[True, False]]


def test_no_label_beside_a_nan(tmp_path: Path) -> None:
    other = exported(one_huge_row(classifier_of("cls"), "good"), tmp_path)
    assert other.predict("bad film").probability > 0
    with pytest.raises(ModelFileError, match="weights of the model overflow"):
        other.predict("good")


def test_predictions_are_named(tmp_path: Path) -> None:
    classifier, other = classifier_of("small"), small_exported("small")
    expected = classifier.predict("good film", top_k=2)
    actual = other.predict("good film", top_k=2)
    assert actual.label == expected.label
    assert [label for label, _ in actual.top] == [label for label, _ in expected.top]
    assert actual.probability == pytest.approx(expected.probability, abs=CLOSE)
    with pytest.raises(InputError, match="text: expected one string, found a list"):
        other.predict(["good"])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="found one string"):
        other.probabilities("good")
    with pytest.raises(InputError, match=r"texts\[1\]: expected a text, found the int"):
        other.probabilities(["good", 3])  # type: ignore[list-item]


@pytest.mark.parametrize("several", [False, True])
def test_trained_and_compressed_models(several: bool, tmp_path: Path) -> None:
    words = {"sea": "ship harbour sail", "air": "plane wing airport", "land": "road car lorry"}
    random = np.random.default_rng(0)
    topics = [list(random.choice(list(words), 1 + several, replace=False)) for _ in range(120)]
    rows = [" ".join(random.permutation(" ".join(words[each] for each in names).split())) for names in topics]
    labels: Any = [tuple(names) for names in topics] if several else [names[0] for names in topics]
    splits = TextDataset("ways", TextSplit(rows, labels, "ways"), None, None, None, ())
    changes = {"network.width": 8, "network.context_width": 8, "features.bits": 12, "recipe.epochs": 2}
    classifier = token2wave.train(splits, settings=changes).classifier
    for model in (classifier, in_storage(classifier, "int8")):
        other = exported(model, tmp_path)
        queries = [*rows[:20], "a ship and a car", ""]
        np.testing.assert_allclose(
            other.probabilities(queries), model.probabilities(queries), rtol=0, atol=CLOSE
        )
        assert [each.labels for each in other.predict_batch(queries)] == [
            each.labels for each in model.predict_batch(queries)
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
    export_onnx(classifier_of("fast"), path)  # without context the order is not an input
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


def test_encoded_embedding_of_another_network_is_not_used(tmp_path: Path) -> None:
    from dataclasses import replace

    encoded, network = classifier_of("linear_svm", "int8"), classifier_of("linear_svm").network
    changed = replace(encoded, network=network)
    actual = exported(changed, tmp_path).probabilities(TEXTS)
    np.testing.assert_allclose(actual, changed.probabilities(TEXTS), rtol=0, atol=CLOSE)


def test_export_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="that of the first sentence"):
        export_onnx(torch_classifier(), tmp_path / "model.onnx")
    with pytest.raises(OutputError, match="nowhere"):
        export_onnx(classifier_of("fast"), tmp_path / "nowhere" / "model.onnx")
    monkeypatch.setattr(onnx_export, "MAX_BYTES", 1_000)
    with pytest.raises(OutputError, match=r"at most 1,000 bytes.*compress the model first"):
        export_onnx(classifier_of("fast"), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_batches_of_similar_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "PLACES_CHUNK", 20)
    lengths = np.array([3, 0, 50, 7, 3, 0, 9, 1])
    batches = list(onnx_export._batches_of_similar_length(lengths))
    assert sorted(np.concatenate(batches).tolist()) == list(range(8))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * lengths[batch].max() <= 20
    np.testing.assert_allclose(
        small_exported("small").probabilities(TEXTS), classifier_of("small").probabilities(TEXTS), atol=CLOSE
    )
