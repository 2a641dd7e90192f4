"""Models of scores and grades, by every way in."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from graded_texts import FAST, GRADES, REAL, TEXTS, graded_texts

import token2wave
from token2wave.errors import ConfigError, DataError, ModelFileError
from token2wave.inference.routes import NativeRoute, NumpyRoute

TEST_TEXTS, TEST_GRADES = graded_texts(400, seed=1)


def test_training_finds_the_order(ordinal, scored) -> None:
    classifier = ordinal.classifier
    assert classifier.label_names == ("1", "2", "3", "4", "5")
    assert not classifier.multi_label
    scores = classifier.scores(TEST_TEXTS)
    assert scores.dtype == np.float32
    assert scores.shape == (400,)
    evaluation = classifier.evaluate(TEST_TEXTS, TEST_GRADES)
    figures = evaluation.scores
    assert figures.spearman > 0.9
    assert figures.kappa > 0.85
    assert figures.auc > 0.95
    assert 0.7 < figures.coverage < 0.95
    assert figures.mae == pytest.approx(np.abs(scores - TEST_GRADES).mean(), abs=1e-5)
    assert len(evaluation.confusion) == 5
    assert ordinal.summary.evaluation["scores"]["spearman"] > 0.85
    assert "rank correlation" in ordinal.headline
    figures = scored.classifier.evaluate(TEXTS, REAL).scores
    assert figures.spearman > 0.9
    assert figures.kappa is None
    assert scored.classifier.evaluate(TEXTS, REAL).confusion == ()


def test_a_prediction_has_a_score_and_an_interval(ordinal, scored) -> None:
    good, bad = ordinal.classifier.predict_batch(["superb perfect film", "awful broken plot"], top_k=5)
    assert (good.label, bad.label) == ("5", "1")
    assert good.labels == ("5",)
    assert good.score > 4
    assert bad.score < 2
    assert good.interval[0] <= good.score <= good.interval[1] <= 5
    assert {label for label, _ in good.top} == {"1", "2", "3", "4", "5"}
    assert sum(probability for _, probability in good.top) == pytest.approx(1)
    prediction = scored.classifier.predict("superb perfect film")
    assert prediction.score == pytest.approx(float(scored.classifier.scores(["superb perfect film"])[0]))
    assert " to " in prediction.label


def test_every_route_and_a_state_give_the_same_scores(ordinal) -> None:
    classifier = ordinal.classifier
    texts = [*TEST_TEXTS[:50], "", "superb " * 20_000]
    assert isinstance(classifier.route, NativeRoute)
    outputs, _ = NumpyRoute(classifier, "numpy").of_strings(texts, None)
    slow = classifier.scale.scores(classifier.scale.class_probabilities(outputs))
    np.testing.assert_allclose(classifier.scores(texts), slow, atol=1e-5)
    state = classifier.state()
    state.update(texts[0])
    assert state.predict().score == pytest.approx(float(slow[0]), abs=1e-5)
    np.testing.assert_allclose(state.probabilities(), classifier.probabilities(texts[:1])[0], atol=1e-6)
    assert state.predict().label == classifier.labels(texts[:1])[0]


def test_a_saved_model_is_the_same_and_a_damaged_one_is_refused(ordinal, model, tmp_path) -> None:
    loaded = token2wave.load(model)
    assert loaded.scale == ordinal.classifier.scale
    assert loaded.fingerprint == ordinal.classifier.fingerprint
    np.testing.assert_array_equal(loaded.scores(TEST_TEXTS), ordinal.classifier.scores(TEST_TEXTS))
    assert loaded.description()["scale"]["target"] == "ordinal"
    other = replace(loaded.scale, cuts=(1.5, 2.5, 3.5, 4.6))
    assert replace(loaded, scale=other).fingerprint != loaded.fingerprint
    with pytest.raises(ConfigError, match="classes of the scale"):
        replace(loaded, label_names=("1", "2", "3", "4", "6"))
    path = tmp_path / "damaged"
    file = loaded.to_file()
    from token2wave.storage.model_file import write_model_file

    for scale in (None, {}, {**file.scale, "cuts": [1.5]}, {**file.scale, "slope": -1}):
        write_model_file(path, replace(file, scale=scale))
        with pytest.raises(ModelFileError):
            token2wave.load(path)


def test_the_same_data_gives_the_same_model(ordinal) -> None:
    again = token2wave.train(TEXTS, [float(grade) for grade in GRADES], target="ordinal", **FAST).classifier
    assert again.fingerprint == ordinal.classifier.fingerprint


def test_compression_keeps_the_scores(ordinal, model, tmp_path) -> None:
    from token2wave.compression import compress

    data = list(zip(TEXTS, GRADES, strict=True))
    test = list(zip(TEST_TEXTS, TEST_GRADES, strict=True))
    out = tmp_path / "small.safetensors"
    summary = compress(model, out, data=data, test=test, storage="int8").summary
    assert summary["spearman_after"] == pytest.approx(summary["spearman_before"], abs=0.01)
    assert summary["agreement"] > 0.9
    small = token2wave.load(out)
    assert small.scale == ordinal.classifier.scale
    np.testing.assert_allclose(small.scores(TEST_TEXTS), ordinal.classifier.scores(TEST_TEXTS), atol=0.2)


def test_rows_without_numbers_are_refused_with_their_place() -> None:
    labels = [*GRADES[:-1], "good"]
    with pytest.raises(DataError, match=r"row 600: expected a number as score, found 'good'; .*label-column"):
        token2wave.train(TEXTS, list(map(str, labels)), target="ordinal", **FAST)
    for label in ("1_0", "nan", "inf", "1e31"):
        with pytest.raises(DataError, match="expected a number as score"):
            token2wave.train(TEXTS, [*map(str, GRADES[:-1]), label], target="score", **FAST)
    with pytest.raises(DataError, match="at least three different scores, found 1 and 2"):
        token2wave.train(TEXTS, [1 + grade // 3 for grade in GRADES], target="score", **FAST)
    with pytest.raises(ConfigError, match="multi_label: a text has one score"):
        token2wave.train(TEXTS, GRADES, target="score", multi_label=True, **FAST)


@pytest.mark.parametrize(
    "options",
    [
        {"class_weights": "balanced"},
        {"baseline": True},
        {"drop_suspicious": True},
        {"label_descriptions": {"1": "bad"}},
    ],
)
def test_options_of_labels_are_refused(options) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(options))}: is for labels alone, found the target"):
        token2wave.train(TEXTS, GRADES, target="score", **options, **FAST)


def test_a_model_of_labels_has_no_scores() -> None:
    classifier = token2wave.train(TEXTS, [f"grade {grade}" for grade in GRADES], **FAST).classifier
    with pytest.raises(ConfigError, match="scores: expected a model of scores, found one of labels"):
        classifier.scores(TEXTS)
    assert classifier.predict("superb").score is None


def test_evaluate_measures_scores_and_takes_other_numbers(ordinal) -> None:
    result = token2wave.evaluate(ordinal.classifier, TEST_TEXTS, TEST_GRADES, cut=3.5, by="length")
    assert result.evaluation.scores.cut == 3.5
    assert result.figures["evaluation"]["scores"]["spearman"] > 0.9
    assert "rank correlation" in result.headline
    assert set(result.errors["label"]) <= set("12345")
    near = [grade + 0.2 for grade in TEST_GRADES]
    other = token2wave.evaluate(ordinal.classifier, TEST_TEXTS, near)
    assert other.accuracy == result.accuracy
    assert other.evaluation.scores.mae != result.evaluation.scores.mae
    with pytest.raises(DataError, match="row 1: expected a number as score"):
        token2wave.evaluate(ordinal.classifier, TEST_TEXTS, ["x"] * 400)


def test_a_scoring_job_adds_scores_and_filters_by_them(model, tmp_path) -> None:
    path = tmp_path / "pages.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEST_TEXTS))
    expected = token2wave.load(model).scores(TEST_TEXTS)
    for kind in ("jsonl", "parquet"):
        if kind == "parquet":
            pytest.importorskip("pyarrow")
        out = tmp_path / kind
        token2wave.score(model, path, out, keep="score >= 4.5", format=kind, engine="local")
        files = sorted((out / "parts").glob("part-*"))
        if kind == "jsonl":
            rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        else:
            import pyarrow.parquet

            rows = [row for file in files for row in pyarrow.parquet.read_table(file).to_pylist()]
        assert len(rows) == (expected >= 4.5).sum() > 0
        assert [row["score"] for row in rows] == pytest.approx(expected[expected >= 4.5].tolist())
        assert all(set(row) == {"text", "label", "confidence", "known", "score"} for row in rows)
    assert {row["label"] for row in rows} <= {"4", "5"}


def test_a_filter_by_scores_needs_a_model_of_scores(tmp_path) -> None:
    path, model = tmp_path / "pages.jsonl", tmp_path / "labels.safetensors"
    path.write_text('{"text": "superb"}\n')
    token2wave.train(TEXTS, [f"grade {grade}" for grade in GRADES], **FAST).classifier.save(model)
    with pytest.raises(ConfigError, match=r"the model predicts labels, no scores; write column\['score'\]"):
        token2wave.score(model, path, tmp_path / "out", keep="score >= 4.5", engine="local")


def test_the_service_sends_scores(ordinal, scored) -> None:
    pytest.importorskip("prometheus_client")
    from token2wave.serving.app import create_app
    from token2wave.serving.batching import BatchResult
    from token2wave.serving.bodies import unsupported_options
    from token2wave.serving.openapi import openapi_document
    from token2wave.serving.prediction_bodies import encode_predictions

    classifier = ordinal.classifier
    models = create_app(classifier).state.service.models
    probabilities, known = classifier.probabilities_and_known(["superb film"])
    result = BatchResult(probabilities.tolist(), known.tolist())
    asked = models.default.bodies.predict(text="superb film")
    document = json.loads(encode_predictions(models.default, asked, True, result))
    expected = classifier.predict("superb film")
    assert document["label"] == "5"
    assert document["score"] == pytest.approx(expected.score)
    assert document["interval"] == pytest.approx(list(expected.interval))
    schema = openapi_document(models)["components"]["schemas"][models.default.bodies.answers[0].__name__]
    assert set(document) == set(schema["properties"])
    assert "abstain_below" in unsupported_options(scored.classifier)


def test_drift_counts_predicted_grades(ordinal) -> None:
    from token2wave.inference.drift_sums import DriftSums

    sums = DriftSums.of_texts(ordinal.classifier, TEST_TEXTS)
    grades = ordinal.classifier.decide(ordinal.classifier.probabilities(TEST_TEXTS))
    assert sums.labels == tuple(np.bincount(grades, minlength=5).tolist())
