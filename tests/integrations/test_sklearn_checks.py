"""scikit-learn's own checks of estimators.

They use tables of numbers. Checks that fit nothing run on the estimator itself. All others run on a subclass
that spells the numbers of a row as words.
"""

from __future__ import annotations

import pytest
from sklearn.exceptions import SkipTestWarning
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks
from sklearn.utils.validation import check_is_fitted
from sklearn_tables import TablesAsTexts

from token2wave import WaveClassifier

FIT_NOTHING = [
    "check_estimator_cloneable",
    "check_estimator_tags_renamed",
    "check_valid_tag_types",
    "check_estimator_repr",
    "check_no_attributes_set_in_init",
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_mixin_order",
    "check_parameters_default_constructible",
    "check_get_params_invariance",
    "check_set_params",
    "check_estimator_sparse_tag",
]
NOT_MET = {
    "check_sample_weight_equivalence_on_dense_data": "rows of no weight may be held back, and count as rows",
}


class OnNumbers(TablesAsTexts, WaveClassifier):
    """The estimator on tables: each value, rounded, becomes a word."""

    def __init__(self, preset="fast", epochs=5, random_state=0, class_weight=None):
        super().__init__(preset, epochs=epochs, random_state=random_state, class_weight=class_weight)
        self.settings = {"features.bits": 12, "network.width": 8}

    def fit(self, X, y, sample_weight=None):
        return super().fit(self._words(X, reset=True), y, sample_weight)

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        texts = self._words(X, reset=not hasattr(self, "classifier_"))
        return super().partial_fit(texts, y, classes, sample_weight)

    def _predicted(self, method, X):
        check_is_fitted(self)
        return getattr(super(), method)(self._words(X))

    def predict(self, X):
        return self._predicted("predict", X)

    def predict_proba(self, X):
        return self._predicted("predict_proba", X)

    def decision_function(self, X):
        return self._predicted("decision_function", X)


@pytest.mark.parametrize("name", FIT_NOTHING)
def test_checks_without_fit(name):
    getattr(estimator_checks, name)("WaveClassifier", WaveClassifier())


def test_tags_refuse_tables():
    """scikit-learn then leaves out all checks with tables."""
    tags = WaveClassifier().__sklearn_tags__()
    assert tags.input_tags.string
    assert not tags.input_tags.two_d_array
    assert tags.classifier_tags.multi_label
    assert tags.target_tags.required
    with pytest.warns(SkipTestWarning, match="string=True"):
        assert len(list(estimator_checks_generator(WaveClassifier()))) == 1


@parametrize_with_checks([OnNumbers()], expected_failed_checks=lambda _: NOT_MET)
@pytest.mark.filterwarnings("ignore")
def test_checks_on_numbers(estimator, check):
    check(estimator)
