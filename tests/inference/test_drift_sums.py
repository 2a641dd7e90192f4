"""Sums of predictions: they add up exactly, hold no text, and are read strictly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_models import KINDS, LABELS, SPELLED, WORDS, classifier_of
from test_format_specification import HOSTILE, ORDINARY
from test_novelty import REFERENCE

import token2wave
from token2wave.errors import ModelFileError
from token2wave.inference.drift_sums import BOUNDS, DriftSums

any_words = st.lists(st.sampled_from([*WORDS, *SPELLED]), max_size=9).map(" ".join)
any_text = st.text(st.characters(), max_size=40) | any_words
texts_of_parts = st.lists(st.lists(any_text | st.sampled_from(HOSTILE), max_size=6), min_size=1, max_size=4)
NATIVE = [
    kind for kind in KINDS if classifier_of(kind).computes_with == "native core" and "paper" not in kind
]
MODELS = {kind: replace(classifier_of(kind), novelty_reference=REFERENCE) for kind in KINDS}


@pytest.mark.skipif(not NATIVE, reason="numpy may round a text of a block in another way")
@settings(deadline=None, max_examples=50, print_blob=True)
@given(kind=st.sampled_from(NATIVE or [""]), parts=texts_of_parts)
def test_sums_of_parts_are_the_sums_of_the_whole(kind: str, parts: list[list[str]]) -> None:
    model = MODELS[kind]
    sums = [DriftSums.of_texts(model, texts) for texts in parts]
    whole = DriftSums.of_texts(model, [text for texts in parts for text in texts])
    forwards = backwards = DriftSums.empty(len(LABELS))
    for i in range(len(parts)):
        forwards, backwards = forwards + sums[i], sums[-1 - i] + backwards
    assert forwards == backwards == whole
    assert whole - sums[0] + sums[0] == whole
    assert DriftSums.from_dict(json.loads(json.dumps(whole.to_dict())), len(LABELS)) == whole


@pytest.mark.parametrize("kind", KINDS)
def test_sums_count_what_predictions_are(kind: str) -> None:
    model, texts = MODELS[kind], [*ORDINARY, *HOSTILE, *ORDINARY]
    if kind.startswith("paper"):
        texts = [text for text in texts if text.isascii()]
    sums, predictions = DriftSums.of_texts(model, texts), model.predict_batch(texts, novelty=True)
    assert sums.rows == sums.n_measured == len(texts)
    label_sets = [prediction.labels for prediction in predictions]
    assert sums.labels == tuple(sum(name in labels for labels in label_sets) for name in LABELS)
    rows = model.features(texts).rows(model.features.n_rows)
    assert sums.unknown[-1] == (model.features.n_known(rows) == 0).sum()  # the OOV table has no rows
    novelty = np.array([prediction.novelty for prediction in predictions])
    bounds = BOUNDS["novelty"]
    expected = [
        np.sum((novelty > low) & (novelty <= high))
        for low, high in zip((-1, *bounds), (*bounds, 2), strict=True)
    ]
    assert list(sums.novelty) == expected
    if not model.multi_label:
        confidence = np.mean([prediction.probability for prediction in predictions])
        assert sums.mean_confidence == pytest.approx(confidence, abs=1e-6)


def test_lengths_and_unknown_features() -> None:
    model = MODELS["fast"]
    known = next(word for word in WORDS if model.known([word])[0])
    new = next(word for word in map("q{}".format, range(99)) if not model.known([f"{word} {word}"])[0])
    sums = DriftSums.of_texts(model, ["", known, f"{new} {new} {new}", f"{new} " * 100])
    assert sums.words == (1, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)  # none, one, 2 to 3, 64 to 127 words
    assert (sums.features, sums.unknown_features) == (0 + 1 + 5 + 199, 5 + 199)
    assert (sums.unknown[0], sums.unknown[-1]) == (1, 3)


def test_several_labels_are_right_if_all_decisions_are() -> None:
    model = replace(classifier_of("several"), thresholds=(0.5, 0.9, 0.2))
    probabilities = np.array([[0.75, 0.5, 0.25], [0.5, 1.0, 0.0]], dtype=np.float32)
    sums = DriftSums.empty(0).with_predictions(model, probabilities)
    assert sums.labels == (2, 1, 1)
    assert sums.confidence_sum == 0.75 * 0.5 * 0.25 + 0.5


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("rows", -1, "'rows'"),
        ("rows", 2.0, "'rows'"),
        ("rows", True, "'rows'"),
        ("rows", 1 << 60, "'rows'"),
        ("rows", 3, "same texts"),
        ("labels", [1, 1], "'labels'"),
        ("labels", [5, 0, 0], "same texts"),
        ("labels", "abc", "'labels'"),
        ("confidence_sum", float("nan"), "'confidence_sum'"),
        ("unknown", [1] * 11, "same texts"),
        ("words", [[]] * 14, "'words'"),
        ("more", 1, "found others"),
    ],
)
def test_other_values_are_refused(name: str, value: Any, message: str) -> None:
    values = {**DriftSums.of_texts(MODELS["fast"], ORDINARY[:2]).to_dict(), name: value}
    with pytest.raises(ModelFileError, match=message):
        DriftSums.from_dict(values, len(LABELS))


def test_a_model_file_keeps_them_and_is_the_same_without(tmp_path: Path) -> None:
    path, model = tmp_path / "model.safetensors", MODELS["fast"]
    model.save(path)
    bare = path.read_bytes()
    assert token2wave.load(path).drift_reference is None
    sums = DriftSums.of_texts(model, ORDINARY)
    replace(model, drift_reference=sums).save(path)
    assert token2wave.load(path).drift_reference == sums
    assert len(path.read_bytes()) - len(bare) < 600
    replace(token2wave.load(path), drift_reference=None).save(path)
    assert path.read_bytes() == bare


def test_sums_of_other_labels_cannot_be_added() -> None:
    with pytest.raises(ValueError, match="sums of 3 labels, found 2"):
        DriftSums.empty(3) + DriftSums.empty(2)
