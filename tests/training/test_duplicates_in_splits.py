"""Rows with the same text stand on one side of every split."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from token2wave import load
from token2wave.data import TextDataset, TextSplit, validation_split
from token2wave.pipeline import train
from token2wave.training.calibration import cross_validate_branches
from token2wave.training.cross_validation import FOLDS
from token2wave.training.preparation import prepare
from token2wave.training.recipe import Recipe
from token2wave.training.validation_split import hold_out

RECIPE = Recipe(validation_fraction=0.2)


def dataset(texts, labels, test=None) -> TextDataset:
    return TextDataset("toy", TextSplit(texts, labels, "train"), None, test)


def distinct_texts(n: int, seed: int = 0) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(f"w{i}" for i in random.integers(0, 10_000, 6)) for _ in range(n)]


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2)), min_size=4, max_size=60), st.integers(0, 9))
def test_groups_stay_together_and_every_class_can_be_learnt(rows, seed):
    names, classes = (np.array(column) for column in zip(*rows, strict=True))
    _, first, inverse = np.unique(names, return_index=True, return_inverse=True)
    groups = first[inverse]
    train_rows, validation_rows = hold_out([""] * len(rows), classes, groups, RECIPE, seed)
    assert sorted([*train_rows, *validation_rows]) == list(range(len(rows)))
    assert not set(groups[train_rows]) & set(groups[validation_rows])
    assert set(classes[train_rows]) == set(classes)


@pytest.mark.parametrize("kind", ["random", "grouped"])
def test_texts_that_occur_once_are_split_as_before(kind):
    classes = np.arange(200) % 3
    texts = distinct_texts(200)
    split = hold_out(texts, classes, np.arange(200), RECIPE.replace(validation=kind), 4)
    expected = validation_split(classes, 0.2, 4, in_blocks=kind == "grouped")
    for rows, ours in zip(expected, split, strict=True):
        np.testing.assert_array_equal(rows, ours)


def test_copies_of_one_text_stay_in_training():
    classes = np.arange(100) % 2
    groups = np.where(np.arange(100) < 60, 0, np.arange(100))
    for seed in range(5):
        train_rows, validation_rows = hold_out([""] * 100, classes, groups, RECIPE, seed)
        assert set(range(60)) <= set(train_rows)
        assert len(validation_rows) > 2


def test_random_labels_of_texts_that_occur_twice_cannot_be_predicted():
    texts = distinct_texts(300) * 2
    labels = np.random.default_rng(1).choice(["yes", "no"], 300).tolist() * 2
    summary = train(dataset(texts, labels), preset="fast", epochs=3).summary
    assert summary.validation_accuracy < 0.7
    assert "300 of 600 rows repeat the text of an earlier row." in summary.caveats


def test_contradictions_and_test_texts_in_training_are_counted(tmp_path):
    texts = [*distinct_texts(100), "Just this", "just  this", "other"]
    labels = ["yes", "no"] * 50 + ["yes", "no", "no"]
    test = TextSplit(["Other", "JUST  THIS", "new words"], ["no", "yes", "no"], "test")
    caveats = prepare(dataset(texts, labels, test), RECIPE, 0).caveats
    assert caveats == (
        "1 of 103 rows repeat the text of an earlier row, 1 of them with another label.",
        "2 of 3 test texts are also in training, which flatters the test figures.",
    )
    result = train(dataset(texts, labels, test), preset="fast", epochs=1, out=tmp_path / "m")
    assert set(caveats) <= set(result.summary.caveats)
    assert load(tmp_path / "m").label_names == ("no", "yes")


def test_folds_of_cross_validation_keep_copies_together():
    texts = distinct_texts(60)
    encoded = prepare(dataset(texts * 2, (["a", "b", "c"] * 20) * 2), RECIPE, 0)
    seen = []

    def fit(examples):
        seen.append(set(examples.texts))
        raise StopIteration if len(seen) == FOLDS else KeyError

    examples = encoded.full_train
    assert examples is not None
    with pytest.raises(KeyError):
        cross_validate_branches(fit, examples, 0)
    left_out = [text for text in examples.texts if text not in seen[0]]
    assert len(left_out) == 2 * len(set(left_out)) > 0
