"""The estimator with scikit-learn's tools."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, MultiLabelBinarizer
from sklearn_data import QUICK, made_up

import token2wave
from token2wave import WaveClassifier
from token2wave.errors import ConfigError, InputError

TEXTS, LABELS = made_up(240)
MORE, MORE_LABELS = made_up(60, seed=1)


def quick(**parameters):
    return WaveClassifier("fast", **{**QUICK, **parameters})


@pytest.fixture(scope="module")
def fitted():
    return quick().fit(TEXTS, LABELS)


def test_fit_and_predict(fitted):
    assert fitted.classes_.tolist() == ["money", "space", "sport"]
    assert fitted.score(MORE, MORE_LABELS) > 0.8
    probabilities, logits = fitted.predict_proba(MORE), fitted.decision_function(MORE)
    assert probabilities.shape == logits.shape == (60, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(
        np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), probabilities, atol=1e-6
    )
    assert (fitted.predict(MORE) == fitted.classes_[probabilities.argmax(axis=1)]).all()
    assert log_loss(MORE_LABELS, probabilities) < 1
    assert fitted.summary_.train_rows + fitted.summary_.validation_rows == 240


def test_decision_function_of_two_classes():
    texts, labels = made_up(120, labels=("money", "sport"))
    model = quick().fit(texts, labels)
    margin = model.decision_function(texts)
    assert margin.shape == (120,)
    assert (model.predict(texts) == np.where(margin > 0, "sport", "money")).all()


@pytest.mark.parametrize(
    "values",
    [
        np.array([3, 20, 100]),
        np.array([-1.0, 2.0, 10.0]),
        np.array(["z", "b", "a"]),
        np.array(["z", "b", "a"], dtype=object),
    ],
    ids=["integers", "floats", "strings", "objects"],
)
def test_labels_keep_their_type(values, fitted):
    """Columns follow the order of the values, which need not be that of the names."""
    labels = values[[["money", "space", "sport"].index(label) for label in LABELS]]
    model = quick().fit(TEXTS, labels)
    assert model.classes_.dtype == values.dtype
    assert model.classes_.tolist() == sorted(values.tolist())
    assert model.predict(MORE).dtype == values.dtype
    assert np.mean(model.predict(MORE) == values[[list(fitted.classes_).index(x) for x in MORE_LABELS]]) > 0.8
    by_value = dict(zip(model.classes_.tolist(), model.predict_proba(MORE[:9]).T, strict=True))
    best = [max(by_value, key=lambda value, row=row: by_value[value][row]) for row in range(9)]
    assert model.predict(MORE[:9]).tolist() == best


def test_boolean_labels():
    labels = [label == "money" for label in LABELS]
    model = quick().fit(TEXTS, labels)
    assert model.classes_.tolist() == [False, True]
    assert model.predict(MORE).dtype == bool
    assert model.classifier_.label_names == ("false", "true")


@pytest.mark.parametrize(
    "shape",
    [
        tuple,
        np.array,
        lambda texts: np.array(texts, dtype=object),
        lambda texts: np.array(texts, dtype=object).reshape(-1, 1),
        lambda texts: pd.Series(texts, index=range(7, 7 + len(texts))),
        lambda texts: pd.DataFrame({"text": texts}),
    ],
    ids=["tuple", "strings", "objects", "column", "series", "frame"],
)
def test_containers_of_texts(fitted, shape):
    model = quick().fit(shape(TEXTS), pd.Series(LABELS))
    np.testing.assert_array_equal(model.predict_proba(shape(MORE)), fitted.predict_proba(MORE))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("one text", "found one string"),
        (["a", None, "b"], r"X\[1\]: the text is missing"),
        (["a", float("nan"), "b"], r"X\[1\]: the text is missing"),
        (["a", b"b", "c"], r"X\[1\]: expected a text"),
        (np.zeros((3, 2)), r"found shape \(3, 2\)"),
        (np.zeros(3), r"X\[0\]: expected a text, found the float"),
        ([], "0 samples"),
        (["a", "b"], "2 texts and 3 labels"),
    ],
)
def test_bad_texts(texts, message):
    with pytest.raises(InputError, match=message) as error:
        quick().fit(texts, ["x", "y", "x"])
    assert isinstance(error.value, ValueError)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "requires y to be passed"),
        ([1.5, 2.25, 3.125], "Unknown label type: continuous"),
        (["x", None, "y"], r"y\[1\]: the label is missing"),
        ([1.0, np.nan, 2.0], r"y\[1\]: .*NaN"),
        (["x", "x", "x"], "found one class"),
        (["x", " ", "y"], r"y\[1\]: the label is empty"),
        ([["x"], ["x", "y"], []], "MultiLabelBinarizer"),
        ([{"x"}, {"y"}, {"x", "y"}], "MultiLabelBinarizer"),
        (np.array([[1, 2], [3, 4], [5, 6]]), "multiclass-multioutput"),
    ],
)
def test_bad_labels(labels, message):
    with pytest.raises(InputError, match=message):
        quick().fit(["a", "b", "c"], labels)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 2], r"1 weight for each of 240 texts, found shape \(2,\)"),
        ([-1.0] + [1.0] * 239, r"sample_weight\[0\]: expected a weight"),
        ([np.inf] + [1.0] * 239, r"sample_weight\[0\]"),
        ([0.0] * 240, "only zeros"),
    ],
)
def test_bad_weights(weights, message):
    with pytest.raises(InputError, match=message):
        quick().fit(TEXTS, LABELS, sample_weight=weights)


def test_must_be_fitted_first():
    for method in ("predict", "predict_proba", "decision_function"):
        with pytest.raises(NotFittedError):
            getattr(quick(), method)(TEXTS)


def test_only_fit_checks_parameters():
    model = WaveClassifier("large", epochs=-1)
    assert model.set_params(operation="neither").get_params()["operation"] == "neither"
    with pytest.raises(ConfigError, match="preset"):
        model.fit(TEXTS, LABELS)


def test_clone(fitted):
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert not hasattr(copy, "classifier_")
    np.testing.assert_array_equal(copy.fit(TEXTS, LABELS).predict_proba(MORE), fitted.predict_proba(MORE))


def test_random_state():
    def probabilities(random_state):
        return quick(random_state=random_state).fit(TEXTS, LABELS).predict_proba(MORE)

    np.testing.assert_array_equal(probabilities(7), probabilities(np.int64(7)))
    assert (probabilities(7) != probabilities(8)).any()
    np.testing.assert_array_equal(
        probabilities(np.random.RandomState(3)), probabilities(np.random.RandomState(3))
    )
    state = np.random.RandomState(3)
    assert (probabilities(state) != probabilities(state)).any()
    np.random.seed(5)  # noqa: NPY002
    first = probabilities(None)
    np.random.seed(5)  # noqa: NPY002
    np.testing.assert_array_equal(first, probabilities(None))


def test_weights():
    balanced = quick(class_weight="balanced").fit(TEXTS[:200], LABELS[:200])
    same = quick().fit(TEXTS, LABELS, sample_weight=np.full(240, 3))
    np.testing.assert_allclose(
        same.predict_proba(MORE), quick().fit(TEXTS, LABELS).predict_proba(MORE), atol=1e-4
    )
    assert balanced.classifier_.training["class_weights"] == "balanced"
    numbers = [["money", "space", "sport"].index(label) for label in LABELS]
    weighted = quick(class_weight={0: 1, 1: 50.0}).fit(TEXTS, numbers)
    assert weighted.classifier_.training["class_weights"] == {"0": 1, "1": 50.0}
    assert (weighted.predict(MORE) == 1).sum() > (same.predict(MORE) == "space").sum()
    rows = np.array(LABELS) == "space"
    by_row = quick().fit(TEXTS, LABELS, sample_weight=np.where(rows, 50.0, 1.0))
    assert (by_row.predict(MORE) == "space").sum() > (same.predict(MORE) == "space").sum()


def test_class_weight_of_an_unknown_label():
    quick(class_weight={"money": 1, "space": 1, "sport": 2, "absent in this fold": 3}).fit(TEXTS, LABELS)
    with pytest.raises(InputError, match="there are no labels 'sprot'"):
        quick(class_weight={"sprot": 2}).fit(TEXTS, LABELS)


def test_validation_rows():
    model = quick().fit(TEXTS, LABELS, X_val=np.array(MORE), y_val=MORE_LABELS)
    assert (model.summary_.train_rows, model.summary_.validation_rows) == (240, 30)
    assert (model.summary_.evaluated_on, model.summary_.evaluation["rows"]) == ("held-out", 30)
    with pytest.raises(InputError, match="both X_val and y_val"):
        quick().fit(TEXTS, LABELS, X_val=MORE)
    with pytest.raises(token2wave.Token2WaveError, match=r"X_val, labels\[59\]: the label 'other'"):
        quick().fit(TEXTS, LABELS, X_val=MORE, y_val=[*MORE_LABELS[:-1], "other"])


@pytest.fixture(scope="module")
def several():
    """Texts of one or two topics, or of none."""
    texts = [f"{TEXTS[i]} {TEXTS[i + 1]}" if i % 3 else TEXTS[i] for i in range(200)]
    texts += ["the and of it was"] * 10
    sets = [{LABELS[i], LABELS[i + 1]} if i % 3 else {LABELS[i]} for i in range(200)] + [set()] * 10
    binarizer = MultiLabelBinarizer()
    return texts, binarizer.fit_transform(sets), binarizer.classes_


def test_several_labels(several):
    texts, y, names = several
    model = quick(epochs=5).fit(texts, y)
    assert model.classes_.tolist() == [0, 1, 2]
    assert not any("multi-label" in caveat for caveat in model.summary_.caveats)
    actual, probabilities = model.predict(texts), model.predict_proba(texts)
    assert actual.shape == probabilities.shape == model.decision_function(texts).shape == y.shape
    thresholds = np.array(model.classifier_.thresholds)
    np.testing.assert_array_equal(actual, probabilities.astype(float) >= thresholds)
    assert (actual == y).mean() > 0.8
    framed = quick(epochs=5).fit(texts, pd.DataFrame(y, columns=names))
    assert framed.classes_.tolist() == list(names)
    np.testing.assert_array_equal(framed.predict_proba(texts), probabilities)
    assert framed.classifier_.label_names == tuple(names)
    assert cross_val_predict(quick(), texts, y, cv=2, method="predict_proba").shape == y.shape
    with pytest.raises(InputError, match="indicator matrix of 3 columns"):
        quick().fit(texts, y, X_val=MORE, y_val=MORE_LABELS)


def test_columns_keep_their_order(several):
    texts, y, names = several
    turned = pd.DataFrame(y[:, ::-1], columns=names[::-1])
    model = quick(epochs=5).fit(texts, turned)
    assert model.classes_.tolist() == list(names[::-1])
    straight = quick(epochs=5).fit(texts, pd.DataFrame(y, columns=names))
    np.testing.assert_array_equal(model.predict_proba(texts), straight.predict_proba(texts)[:, ::-1])
    np.testing.assert_array_equal(model.predict(texts), straight.predict(texts)[:, ::-1])


def test_pickles_need_no_torch(fitted, tmp_path):
    path = tmp_path / "estimator.pickle"
    path.write_bytes(pickle.dumps(fitted))
    script = (
        "import pickle, sys; from pathlib import Path\n"
        "print(pickle.loads(Path(sys.argv[1]).read_bytes()).predict_proba(['a goal']).tolist())\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    assert eval(done.stdout) == fitted.predict_proba(["a goal"]).tolist()


def test_unfitted_pickles():
    assert pickle.loads(pickle.dumps(quick(epochs=3))).epochs == 3


def test_torch_network_predicts_like_its_model_file(tmp_path):
    small = {"network.width": 8, "features.vocabulary_size": 200}
    model = WaveClassifier("paper", epochs=1, settings=small).fit(TEXTS, LABELS)
    model.classifier_.save(tmp_path / "model.safetensors")
    loaded = token2wave.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(model.predict_proba(MORE), loaded.probabilities(MORE))
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(model)).predict_proba(MORE), model.predict_proba(MORE)
    )


def test_to_and_from_a_trained_model(fitted, tmp_path):
    fitted.classifier_.save(tmp_path / "model.safetensors")
    loaded = token2wave.load(tmp_path / "model.safetensors")
    model = WaveClassifier.from_classifier(loaded, epochs=1)
    assert model.get_params()["epochs"] == 1
    assert model.classifier_ is loaded
    np.testing.assert_array_equal(model.predict(MORE), fitted.predict(MORE))
    with pytest.raises(InputError, match="expected the labels of the classifier, 'money'"):
        WaveClassifier.from_classifier(loaded, classes=[0, 1, 2])
    texts, labels = made_up(90)
    numbered = quick().fit(texts, [{"money": 10, "space": 9, "sport": 8}[label] for label in labels])
    again = WaveClassifier.from_classifier(numbered.classifier_, classes=[9, 10, 8])
    np.testing.assert_array_equal(again.predict(MORE), numbered.predict(MORE))


@pytest.mark.prior  # processes of their own use it
def test_pipeline_and_grid_search_in_two_processes():
    pipeline = Pipeline([("lower", FunctionTransformer(_lower)), ("wave", quick())])
    grid = {"wave__lr": [3e-3, 1e-2], "wave__operation": ["interference"]}
    alone = GridSearchCV(pipeline, grid, cv=2).fit(TEXTS, LABELS)
    parallel = GridSearchCV(pipeline, grid, cv=2, n_jobs=2).fit(TEXTS, LABELS)
    assert alone.best_params_ == parallel.best_params_
    np.testing.assert_array_equal(alone.predict_proba(MORE), parallel.predict_proba(MORE))
    np.testing.assert_array_equal(
        alone.cv_results_["mean_test_score"], parallel.cv_results_["mean_test_score"]
    )


def _lower(texts):
    return [text.lower() for text in texts]


def test_cross_validation():
    assert cross_val_score(quick(), TEXTS, LABELS, cv=3).mean() > 0.8
    actual = cross_val_predict(
        quick(), np.array(TEXTS, dtype=object), LABELS, cv=3, method="decision_function"
    )
    assert actual.shape == (240, 3)


def test_validation_rows_and_weights_pass_through_a_pipeline():
    pipeline = make_pipeline(quick())
    pipeline.fit(
        TEXTS,
        LABELS,
        waveclassifier__X_val=MORE,
        waveclassifier__y_val=MORE_LABELS,
        waveclassifier__sample_weight=np.ones(240),
    )
    assert pipeline[-1].summary_.validation_rows == 30


def test_calibration_and_votes(fitted):
    calibrated = CalibratedClassifierCV(quick(), cv=2).fit(TEXTS, np.array(LABELS))
    assert calibrated.predict_proba(MORE).shape == (60, 3)
    baseline = make_pipeline(TfidfVectorizer(), LogisticRegression())
    votes = VotingClassifier([("wave", quick()), ("tfidf", baseline)], voting="soft").fit(TEXTS, LABELS)
    assert votes.score(MORE, MORE_LABELS) > 0.8


def test_callbacks_and_progress(capsys):
    seen = []

    class Watch(token2wave.training.callbacks.Callback):
        def on_epoch(self, epoch):
            seen.append(epoch.epoch)

    quick(callbacks=[Watch()], verbose=1).fit(TEXTS, LABELS)
    assert seen
    assert "epoch 1" in capsys.readouterr().err


def test_partial_fit(fitted):
    """The first call fits; later calls update."""
    model = quick().partial_fit(TEXTS, LABELS)
    np.testing.assert_array_equal(model.predict_proba(MORE), fitted.predict_proba(MORE))
    weights = np.linspace(1, 2, 60)
    expected = token2wave.update(fitted.classifier_, MORE, MORE_LABELS, weights=weights.tolist(), seed=0)
    assert model.partial_fit(MORE, MORE_LABELS, sample_weight=weights) is model
    np.testing.assert_array_equal(model.predict_proba(TEXTS), expected.probabilities(TEXTS))
    assert (model.predict_proba(TEXTS) != fitted.predict_proba(TEXTS)).any()
    assert model.fit(TEXTS, LABELS).classifier_.training.get("updates") is None


@pytest.mark.parametrize("are_announced", [True, False])
def test_partial_fit_with_new_labels(are_announced):
    two = np.array(LABELS) != "money"
    texts, labels = np.array(TEXTS)[two], np.array(LABELS)[two]
    model = quick().partial_fit(texts, labels, classes=sorted(set(LABELS)) if are_announced else None)
    assert model.classes_.tolist() == (["money"] if are_announced else []) + ["space", "sport"]
    if are_announced:
        assert (model.predict_proba(MORE)[:, 0] == 0).all()
        assert (model.decision_function(MORE)[:, 0] == -np.inf).all()
        np.testing.assert_allclose(model.predict_proba(MORE).sum(axis=1), 1, rtol=1e-5)
    assert "money" not in model.predict(MORE)
    with pytest.raises(InputError, match="rows of the known classes beside those of the new class 'money'"):
        model.partial_fit(["a bank"], ["money"])
    model.partial_fit(TEXTS, LABELS)
    assert model.classes_.tolist() == ["money", "space", "sport"]
    assert model.score(MORE, MORE_LABELS) > 0.8
    np.testing.assert_allclose(model.predict_proba(MORE).sum(axis=1), 1, rtol=1e-5)


def test_partial_fit_of_a_loaded_model(fitted, tmp_path):
    fitted.classifier_.save(tmp_path / "model.safetensors")
    model = WaveClassifier.from_classifier(token2wave.load(tmp_path / "model.safetensors"))
    again = pickle.loads(pickle.dumps(model.partial_fit(MORE, MORE_LABELS)))
    assert again.score(MORE, MORE_LABELS) > 0.8
    np.testing.assert_array_equal(again.predict_proba(MORE), model.predict_proba(MORE))


def test_partial_fit_errors(fitted, several):
    texts, y, _ = several
    with pytest.raises(InputError, match="classes: expected all labels of y"):
        quick().partial_fit(TEXTS, LABELS, classes=["money", "sport"])
    model = quick().partial_fit(TEXTS, LABELS)
    with pytest.raises(InputError, match="expected one label for each text, as before"):
        model.partial_fit(texts, y)
    with pytest.raises(InputError, match="expected labels of the type of"):
        model.partial_fit(["a", "b"], [1, 2])
    model = quick().partial_fit(texts, y).partial_fit(texts[:20], y[:20])
    assert (model.predict(texts) == y).mean() > 0.7
    with pytest.raises(InputError, match="indicator matrix of 3 columns"):
        model.partial_fit(texts, y[:, :2])
