import numpy as np
import pytest
from training_data import WORDS, write_csv, written_rows

import token2wave
from token2wave.presets import preset_named
from token2wave.training.adaptation import for_few_rows
from token2wave.training.calibration import fit_weights
from token2wave.training.few_rows import is_few, out_of_fold_weights
from token2wave.training.preparation import Labelled

SMALL = preset_named("small")


def test_few_rows_keep_rare_words_and_take_many_small_steps():
    few = for_few_rows(SMALL, 32, ())
    assert few.features.min_count == 1
    assert few.recipe.batch_size == 8
    assert few.recipe.epochs == 60
    more = for_few_rows(SMALL, 900, ())
    assert more.recipe.epochs * (900 / more.recipe.batch_size) >= 300
    assert for_few_rows(SMALL, 4_999, ()).features.min_count == 1
    assert for_few_rows(SMALL, 4_999, ()).recipe == SMALL.recipe
    assert for_few_rows(SMALL, 5_000, ()) == SMALL


def test_what_a_user_has_named_stays():
    named = {"features.min_count": 3, "recipe.batch_size": 16}
    preset = SMALL.with_settings(named)
    assert for_few_rows(preset, 32, named) == preset
    assert for_few_rows(preset_named("paper"), 32, ()) == preset_named("paper")


def test_every_row_is_judged_by_a_network_that_has_not_learnt_from_it():
    random = np.random.default_rng(0)
    labels = np.arange(43) % 3
    texts = [str(i) for i in range(43)]
    given = random.normal(size=(43, 3)) + 2 * (labels[:, None] == np.arange(3))
    seen = []

    class Fitted:
        def __init__(self, train):
            assert set(np.unique(train.labels)) == {0, 1, 2}
            self.train, self.network = set(train.texts), self
            self.head = np.ones(1, dtype=np.float32)

        def features(self, texts):
            assert not self.train & set(texts)
            seen.extend(texts)
            return texts

        def arrays(self):
            return {"head.weight": np.eye(3, dtype=np.float32), "head.bias": np.zeros(3, dtype=np.float32)}

        def load(self, name, values):
            pass

        def logits(self, texts):
            return given[[int(text) for text in texts]].astype(np.float32)

    labelled = Labelled(texts, labels.astype(np.int64))
    assert is_few(labelled)
    found = out_of_fold_weights(Fitted, labelled, 0)
    assert sorted(seen) == sorted(texts)
    assert found == pytest.approx(fit_weights(given[None], labels), rel=1e-3)


def test_eight_rows_a_class_are_enough_where_words_tell(tmp_path):
    write_csv(tmp_path / "train.csv", written_rows(8 * len(WORDS)))
    write_csv(tmp_path / "test.csv", written_rows(60, seed=1))
    result = token2wave.train(tmp_path)
    assert result.summary.accuracy > 0.9
    assert result.summary.refit
