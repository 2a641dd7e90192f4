"""Class weights and weights of texts, from the data to the trained model."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import token2wave
from token2wave.data import DataSplits, LabelledTexts
from token2wave.errors import ConfigError, DataError
from token2wave.training.preparation import prepare
from token2wave.training.recipe import Recipe
from token2wave.training.weighting import text_weights

NAMES = ("a", "b", "c")


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=40))
def test_balanced_classes_count_the_same(rows):
    labels = np.array(rows)
    weights = text_weights(labels, NAMES, "balanced", None)
    assert weights.mean() == pytest.approx(1, rel=1e-5)
    sums = [weights[labels == k].sum() for k in set(rows)]
    assert sums == pytest.approx([sums[0]] * len(sums), rel=1e-5)


def test_weights_of_classes_and_of_texts_multiply():
    found = text_weights(np.array([0, 0, 1, 2]), NAMES, {"b": 4}, [1, 3, 1, 0])
    np.testing.assert_allclose(found, np.array([1, 3, 4, 0]) / 2)
    assert text_weights(np.array([0, 1]), NAMES, None, None) is None


@pytest.mark.parametrize(
    ("wish", "own", "message"),
    [
        ("even", None, "expected balanced, or a weight for each label, found 'even'"),
        ({"d": 2}, None, "there is no label 'd'; known are: a, b, c"),
        ({"a": 0}, None, "expected a positive number for 'a', found 0"),
        ({"a": "much"}, None, "expected a positive number"),
        ({"a": float("nan")}, None, "expected a positive number"),
        ({"a": True}, None, "expected a positive number"),
        (None, [0.0, 0.0], "some weight, found none"),
    ],
)
def test_illegal_weights_are_refused(wish, own, message):
    with pytest.raises(ConfigError, match=message):
        text_weights(np.array([0, 1]), NAMES, wish, own)


def test_as_many_weights_as_texts():
    with pytest.raises(DataError, match="got 1 weights of 2 texts"):
        LabelledTexts(["x", "y"], ["a", "b"], "here", [1.0])


def rare_class(n: int = 400) -> DataSplits:
    """One text in ten is of class b; its word tells it from class a in two thirds of the cases."""
    random = np.random.default_rng(0)
    labels = ["b" if i % 10 == 0 else "a" for i in range(n)]
    words = {"a": ["plain", "plain", "odd"], "b": ["odd", "odd", "plain"]}
    texts = [f"{random.choice(words[label])} the of and" for label in labels]
    texts_of = LabelledTexts(texts, labels, "rare")
    return DataSplits("rare", texts_of, None, texts_of, None, ())


def test_balanced_weights_find_the_rare_class():
    def recall(class_weights: str | None) -> float:
        result = token2wave.train(rare_class(), class_weights=class_weights, preset="fast", epochs=8)
        assert result.classifier.training["class_weights"] == class_weights
        return result.summary.evaluation["classes"][1]["recall"]

    assert recall(None) < 0.2
    assert recall("balanced") > 0.5


def test_validation_rows_take_their_weights_along():
    splits = rare_class(40)
    weighted = LabelledTexts(splits.train.texts, splits.train.labels, "rare", [float(i) for i in range(40)])
    parts = prepare(DataSplits("rare", weighted, None, None, None, ()), Recipe(validation_fraction=0.2), 0)
    of_text = dict(zip(weighted.texts, weighted.weights, strict=True))
    assert len(of_text) < 40
    every = np.array(weighted.weights)
    np.testing.assert_allclose(parts.everything.weights, every / every.mean(), rtol=1e-6)
    both = np.concatenate([parts.train.weights, parts.validation.weights])
    np.testing.assert_allclose(np.sort(both), np.sort(parts.everything.weights))


def test_texts_without_weight_teach_nothing(tmp_path):
    """Half of the rows say the contrary, and weigh nothing."""
    random = np.random.default_rng(0)
    lines = ["text,label,importance"]
    for _ in range(300):
        topic, other = random.permutation(["ball", "bank"])
        label = {"ball": "sport", "bank": "money"}
        lines += [f"the {topic} of,{label[topic]},2", f"the {topic} of,{label[other]},0"]
    (tmp_path / "data.csv").write_text("\n".join(lines))
    result = token2wave.train(tmp_path / "data.csv", weight_column="importance", preset="fast")
    assert result.classifier.predict("a ball").label == "sport"
    assert result.classifier.predict("a bank").label == "money"
    with pytest.raises(DataError, match=r"data.csv, row 1 .*expected a weight, got 'sport'"):
        token2wave.train(tmp_path / "data.csv", weight_column="label")
    with pytest.raises(DataError, match="there is no column 'weight'"):
        token2wave.train(tmp_path / "data.csv", weight_column="weight")


def test_the_best_epoch_may_be_chosen_by_macro_f1():
    from token2wave.training.loop import _rank
    from token2wave.training.progress import Epoch

    accurate, fair = Epoch(1, 1, 1, 0.5, 0.9, 0.4), Epoch(2, 1, 1, 0.6, 0.8, 0.7)
    assert _rank(accurate, "accuracy") > _rank(fair, "accuracy")
    assert _rank(accurate, "macro_f1") < _rank(fair, "macro_f1")
    assert _rank(accurate, "loss") > _rank(fair, "loss")
    result = token2wave.train(rare_class(), preset="fast", settings={"recipe.select_by": "macro_f1"})
    figures = [epoch["validation_macro_f1"] for epoch in result.summary.history]
    assert figures[result.summary.best_epoch - 1] == max(figures)
