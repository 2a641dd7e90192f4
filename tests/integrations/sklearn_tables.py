"""Estimators of texts on the tables of scikit-learn's checks."""

import numpy as np
from sklearn.utils.validation import validate_data


class TablesAsTexts:
    """Part of an estimator: each value, rounded, becomes a word."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.one_d_array, tags.input_tags.string = True, False, False
        return tags

    def _words(self, table, reset=False):
        table = validate_data(self, table, reset=reset, dtype=np.float64)
        return [" ".join(f"f{i}v{round(value)}" for i, value in enumerate(row)) for row in table.tolist()]
