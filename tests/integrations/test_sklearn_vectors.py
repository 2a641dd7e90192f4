"""The transformer of scikit-learn: it trains or takes a trained model, and meets scikit-learn's checks."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted
from sklearn_tables import TablesAsTexts
from test_sklearn_checks import FIT_NOTHING

from token2wave import WaveClassifier, WaveTransformer
from token2wave.errors import InputError, ModelFileError

TEXTS = ["great film", "a great joy", "awful film", "an awful bore"] * 10
LABELS = [1, 1, 0, 0] * 10


@pytest.fixture(scope="module")
def trained() -> WaveClassifier:
    return WaveClassifier("fast", epochs=2).fit(TEXTS, LABELS)


def test_fit_trains_a_copy(trained):
    estimator = WaveClassifier("fast", epochs=2)
    transformer = WaveTransformer(estimator)
    vectors = transformer.fit_transform(TEXTS, LABELS)
    assert not hasattr(estimator, "classifier_")
    np.testing.assert_array_equal(vectors, trained.classifier_.encode(TEXTS))
    assert vectors.dtype == np.float32
    names = transformer.get_feature_names_out()
    assert (len(names), names[1]) == (vectors.shape[1], "wavetransformer1")
    assert transformer.__sklearn_tags__().target_tags.required
    with pytest.raises(InputError, match="requires y"):
        WaveTransformer().fit(TEXTS)


def test_a_trained_model_is_taken_as_it_is(trained, tmp_path):
    trained.classifier_.save(tmp_path / "model")
    expected = trained.classifier_.encode(TEXTS)
    for model in (trained.classifier_, tmp_path / "model", str(tmp_path / "model")):
        transformer = clone(WaveTransformer(model))
        assert not transformer.__sklearn_tags__().target_tags.required
        np.testing.assert_array_equal(transformer.fit(TEXTS).transform(TEXTS), expected)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(transformer)).transform(TEXTS), expected)
    with pytest.raises(ModelFileError):
        WaveTransformer(tmp_path / "nothing").fit(TEXTS)


def test_in_pipelines(trained):
    nearest = make_pipeline(WaveTransformer(WaveClassifier("fast")), KNeighborsClassifier(3, metric="cosine"))
    assert nearest.fit(TEXTS, LABELS).predict(["great", "awful bore"]).tolist() == [1, 0]
    nearest.set_params(wavetransformer__estimator__epochs=1)
    groups = make_pipeline(WaveTransformer(trained.classifier_), KMeans(2, n_init=1, random_state=0))
    assert len(set(groups.fit_predict(TEXTS))) == 2


def test_wrong_texts(trained):
    transformer = WaveTransformer(trained.classifier_)
    with pytest.raises(NotFittedError):
        transformer.transform(TEXTS)
    transformer.fit(TEXTS)
    for texts in ("great", [1], np.zeros((2, 2)), None):
        with pytest.raises(InputError):
            transformer.transform(texts)


class OnNumbers(TablesAsTexts, WaveTransformer):
    """The transformer on tables: each value, rounded, becomes a word."""

    def __init__(self, estimator=None):
        super().__init__(estimator)

    def fit(self, X, y=None, sample_weight=None):
        return super().fit(self._words(X, reset=True), y, sample_weight)

    def transform(self, X):
        check_is_fitted(self)
        return super().transform(self._words(X))


SMALL = WaveClassifier("fast", epochs=2, settings={"features.bits": 12, "network.width": 8})
NOT_MET = {
    "check_sample_weight_equivalence_on_dense_data": "rows of no weight may be held back, and count as rows",
}


@pytest.mark.parametrize("name", FIT_NOTHING)
def test_checks_without_fit(name):
    getattr(estimator_checks, name)("WaveTransformer", WaveTransformer())


@parametrize_with_checks([OnNumbers(SMALL)], expected_failed_checks=lambda _: NOT_MET)
@pytest.mark.filterwarnings("ignore")
def test_checks_on_numbers(estimator, check):
    check(estimator)
