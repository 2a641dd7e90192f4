import numpy as np
import pytest
from training_data import WORDS, write_csv, written_rows

import token2wave
from token2wave.training.calibration import cross_validate_branches, fit_weights, has_few_rows
from token2wave.training.examples import Examples


def test_every_row_is_judged_by_a_network_that_has_not_learnt_from_it():
    random = np.random.default_rng(0)
    labels = np.arange(43) % 3
    texts = [str(i) for i in range(43)]
    given = random.normal(size=(43, 3)) + 2 * (labels[:, None] == np.arange(3))
    seen = []

    class FitResult:
        def __init__(self, train):
            assert set(np.unique(train.labels)) == {0, 1, 2}
            self.train, self.network = set(train.texts), self
            self.head = np.ones(1, dtype=np.float32)

        def features(self, texts, advance=None):
            assert not self.train & set(texts)
            seen.extend(texts)
            return texts

        def arrays(self):
            return {"head.weight": np.eye(3, dtype=np.float32), "head.bias": np.zeros(3, dtype=np.float32)}

        def load(self, name, values):
            pass

        def logits(self, texts):
            return given[[int(text) for text in texts]].astype(np.float32)

    labelled = Examples.of_texts(texts, labels.astype(np.int64))
    assert has_few_rows(labelled)
    weights, predicted = cross_validate_branches(FitResult, labelled, 0)
    assert sorted(seen) == sorted(texts)
    assert weights == pytest.approx(fit_weights(given[None], labels), rel=1e-3)
    # Each text's probabilities have the weight that the other folds give, so they differ between folds.
    logs = np.log(predicted)
    temperatures = (logs[:, 0] - logs[:, 1]) / (given[:, 0] - given[:, 1])
    assert len(np.unique(temperatures.round(3))) > 1
    np.testing.assert_allclose(temperatures, weights[0], rtol=0.5)
    np.testing.assert_array_equal(predicted.argmax(axis=1), given.argmax(axis=1))


def test_eight_rows_a_class_are_enough_where_words_tell(tmp_path):
    write_csv(tmp_path / "train.csv", written_rows(8 * len(WORDS)))
    write_csv(tmp_path / "test.csv", written_rows(60, seed=1))
    result = token2wave.train(tmp_path)
    assert result.summary.accuracy > 0.9
    assert result.summary.refit
