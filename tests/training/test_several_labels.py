"""Texts with several labels, from the data to predictions that are the same wherever they are computed."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from several_labels import NAMES, WORDS, mixed_splits, mixed_texts
from training_data import written_rows

import token2wave
from token2wave.core import load_core
from token2wave.data import TextDataset, TextSplit, encode_label_sets
from token2wave.errors import ConfigError, DataError
from token2wave.inference import reference
from token2wave.models import WaveConfig, WaveNetwork
from token2wave.pipeline import TrainingResult
from token2wave.reporting.summary import render_summary
from token2wave.training.preparation import RECOGNISED, prepare
from token2wave.training.recipe import Recipe

TEXT = "a rocket launch and the verdict of the court"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    folder = tmp_path_factory.mktemp("several")
    return token2wave.train(
        mixed_splits(), preset="small", baseline=True, out=folder / "model", report=folder / "report"
    )


def test_mixed_topics_are_told_apart(trained):
    """About as many as chance lets anybody tell, and no fewer than the baseline."""
    summary = trained.summary
    assert summary.micro_f1 > 0.94
    assert summary.macro_f1 > 0.9
    assert summary.micro_f1 > summary.baseline["micro_f1"] - 0.01
    assert summary.accuracy > 0.85
    assert summary.evaluation["hamming_loss"] < 0.05
    assert summary.evaluation["calibration_error"] < 0.05
    assert summary.caveats[0] == RECOGNISED
    shown = "\n".join(render_summary(summary))
    for name in ("Micro-F1", "Macro-F1", "Exact match", "Hamming loss", "95% interval"):
        assert name in shown
    assert "one against the rest" in shown


@pytest.mark.parametrize(("preset", "least"), [("fast", 0.9), ("paper", 0.75)])
def test_other_presets(preset, least):
    """One without a phrase level, and one that torch trains, and which learns slowly."""
    changes = {}
    if preset == "paper":
        changes = {"network.width": 16, "features.vocabulary_size": 200, "recipe.epochs": 8}
        changes |= {"recipe.lr": 3e-3, "recipe.embedding_lr": 3e-2}
    result = token2wave.train(mixed_splits(600, 300), preset=preset, settings=changes)
    assert result.summary.micro_f1 > least
    assert result.classifier.multi_label


def test_the_probabilities_are_the_same_everywhere(trained, monkeypatch, tmp_path):
    """Native core, numpy, torch, sums that grow, and texts that are features already."""
    classifier = trained.classifier
    texts = [*mixed_texts(60, 5).texts, "", "unknown"]
    expected = classifier.probabilities(texts)
    assert expected.sum(axis=1).std() > 0.5  # no shares of one
    classifier.save(tmp_path / "model")
    monkeypatch.setenv("TOKEN2WAVE_NATIVE", "0")
    loaded = token2wave.load(tmp_path / "model")
    assert loaded.computes_with == "numpy"
    np.testing.assert_allclose(loaded.probabilities(texts), expected, atol=2e-6)
    network = WaveNetwork(classifier.network.config)
    network.load_state_dict({name: torch.from_numpy(a.copy()) for name, a in loaded.network.arrays().items()})
    in_torch = dataclasses.replace(loaded, network=network)
    assert in_torch.computes_with == "torch"
    np.testing.assert_allclose(in_torch.probabilities(texts), expected, atol=2e-6)
    logits = loaded.network.logits(loaded.features(texts)).astype(np.float64)
    np.testing.assert_allclose(expected, 1 / (1 + np.exp(-logits)), atol=2e-6)
    for i in range(5):
        np.testing.assert_allclose(
            classifier.state().update(texts[i]).probabilities(), expected[i], atol=2e-6
        )
    assert loaded.label_sets(texts) == classifier.label_sets(texts) == in_torch.label_sets(texts)


def test_enormous_logits_are_certain():
    logits = np.array([[-1e4, -100, 0, 100, 1e4]], dtype=np.float32)
    np.testing.assert_allclose(
        reference.probabilities(logits, multi_label=True), [[0, 0, 0.5, 1, 1]], atol=1e-30
    )


def test_a_prediction_has_all_labels_above_their_thresholds(trained):
    classifier = trained.classifier
    found = classifier.predict(TEXT, top_k=3)
    assert set(found.labels) == {"law", "space"}
    assert list(found.probabilities) == sorted(found.probabilities, reverse=True)
    assert found.label == found.labels[0] == found.top[0][0]
    assert len(found.top) == 3
    assert classifier.predict_batch([TEXT], 3) == [found]
    assert classifier.state().update(TEXT).predict(3).labels == found.labels
    assert classifier.window(50).update(TEXT).predict(3).labels == found.labels
    nothing = classifier.predict("the of and to")
    assert (nothing.labels, nothing.probabilities) == ((), ())
    assert nothing.label in NAMES
    rows = classifier.probabilities([TEXT, "of"])
    strict = dataclasses.replace(classifier, thresholds=(1.0,) * 5)
    assert strict.label_sets([TEXT]) == [()]
    assert strict.fingerprint != classifier.fingerprint
    lax = dataclasses.replace(classifier, thresholds=(0.0,) * 5)
    assert lax.label_sets([TEXT]) == [NAMES]
    assert len(lax.predict(TEXT).labels) == 5
    assert rows.shape == (2, 5)
    with pytest.raises(ConfigError, match="use label_sets"):
        classifier.labels([TEXT])


def test_an_explanation_says_what_each_word_does_to_each_label(trained):
    explanation = trained.classifier.explain(TEXT)
    effects = {TEXT[part.start : part.end]: part.effects for part in explanation.parts}
    space, law = NAMES.index("space"), NAMES.index("law")
    assert effects["rocket"][space] > abs(effects["rocket"][law])
    assert effects["verdict"][law] > abs(effects["verdict"][space])
    assert explanation.probabilities == pytest.approx(trained.classifier.probabilities([TEXT])[0], abs=1e-5)


def test_the_record_and_the_report(trained, tmp_path):
    record = trained.classifier.training
    assert record["evaluation"]["micro_f1"] == round(trained.summary.micro_f1, 6)
    assert len(trained.classifier.thresholds) == 5
    assert all(0 < threshold < 1 for threshold in trained.classifier.thresholds)
    plain = trained.summary.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert [epoch["validation_micro_f1"] for epoch in plain["history"]]


def test_the_best_epoch_is_that_of_the_best_micro_f1(trained):
    history = trained.summary.history
    best = max(history, key=lambda epoch: (epoch["validation_micro_f1"], -epoch["validation_loss"]))
    assert best["epoch"] == trained.summary.best_epoch


def test_weights_of_labels_turn_the_balance():
    """Without thresholds, which would make up for it."""

    def share_given(weight: float) -> float:
        result = token2wave.train(mixed_splits(500), preset="fast", class_weights={"law": weight})
        assert result.classifier.training["class_weights"] == {"law": weight}
        classifier = dataclasses.replace(result.classifier, thresholds=(0.5,) * 5)
        given = classifier.label_sets(mixed_texts(400, 9, stray=0.2).texts)
        return float(np.mean(["law" in labels for labels in given]))

    assert share_given(0.05) < share_given(1.0) < share_given(30.0)
    prepared = prepare(mixed_splits(200), Recipe(), 0, "balanced")
    assert prepared.train.weights is None
    support = encode_label_sets(mixed_splits(200).train, NAMES).sum(axis=0)
    assert np.ptp(prepared.train.positive_weights * support) < 1e-3


def test_texts_of_no_weight_teach_nothing():
    splits = mixed_splits(600)
    wrong = TextSplit(splits.train.texts, [("law",)] * 600, "wrong")
    both = TextSplit(
        [*splits.train.texts, *wrong.texts],
        [*splits.train.labels, *wrong.labels],
        "both",
        [1.0] * 600 + [0.0] * 600,
    )
    weighted = token2wave.train(
        dataclasses.replace(splits, train=both), preset="fast", settings={"recipe.epochs": 6}
    )
    assert weighted.summary.micro_f1 > 0.85
    misled = token2wave.train(
        dataclasses.replace(splits, train=dataclasses.replace(both, weights=None)), preset="fast"
    )
    assert misled.summary.micro_f1 < weighted.summary.micro_f1


def test_labels_of_one_text_each_may_be_decided_by_themselves():
    texts, labels = zip(*written_rows(240), strict=True)
    data = TextDataset("one each", TextSplit(list(texts), list(labels), "here"), None, None, None, ())
    result = token2wave.train(data, preset="fast", multi_label=True)
    assert result.classifier.multi_label
    assert RECOGNISED not in result.summary.caveats
    assert result.classifier.label_sets(["goal league coach"]) == [("sport",)]
    assert token2wave.train(data, preset="fast").classifier.label_sets(["goal league"]) == [("sport",)]
    with pytest.raises(ConfigError, match="the data decides it; use the option multi_label"):
        token2wave.train(data, settings={"network.multi_label": True})
    with pytest.raises(DataError, match="expected one label for each text, found several"):
        token2wave.train(mixed_splits(50), multi_label=False)


def test_too_few_texts_to_hold_any_back():
    texts = ["match goal", "bank bond", "bank match", ""]
    labels = [("sport",), ("money",), ("money", "sport"), ()]
    data = TextDataset("few", TextSplit(texts[:1] + texts[1:2], labels[:2], "few"), None, None, None, ())
    result = token2wave.train(data, preset="fast", multi_label=True)
    assert result.classifier.thresholds == (0.5, 0.5)
    assert "too few rows" in result.summary.caveats[-1]
    every = TextDataset("few", TextSplit(texts, labels, "few"), None, TextSplit(texts, labels, ""), None, ())
    assert token2wave.train(every, preset="fast").summary.evaluation["rows"] == 4


@pytest.mark.skipif(load_core() is None, reason="the native core is not built")
def test_the_number_of_threads_changes_no_bit(monkeypatch):
    def weights(threads: str) -> dict[str, np.ndarray]:
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        result = token2wave.train(mixed_splits(300, 50), preset="small", epochs=2)
        return {**result.classifier.network.arrays(), "thresholds": np.array(result.classifier.thresholds)}

    one, three = weights("1"), weights("3")
    assert all(np.array_equal(one[name], three[name]) for name in one)


def test_thresholds_belong_to_models_of_several_labels(trained):
    with pytest.raises(ConfigError, match="expected 5 probabilities"):
        dataclasses.replace(trained.classifier, thresholds=(0.5,))
    with pytest.raises(ConfigError, match="expected 5 probabilities"):
        dataclasses.replace(trained.classifier, thresholds=(0.5, 0.5, 0.5, 0.5, 1.5))
    assert WaveConfig(9, 2, multi_label=True).to_dict()["multi_label"] is True
    assert set(WORDS) == set(NAMES)
