"""Class weights and weights of texts, from the data to the trained model."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import token2wave
from token2wave.data import TextDataset, TextSplit
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
    huge = text_weights(np.array([0, 1]), NAMES, {"a": np.float32(3e38)}, [1.7e308, 1.7e308])
    np.testing.assert_allclose(huge, [2, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("wish", "own", "message"),
    [
        ("even", None, "expected balanced, or a weight for each label, found 'even'"),
        ({"d": 2}, None, "expected a known label .a, b, c., found 'd'"),
        ({"a": 0}, None, "expected a positive number for 'a', found 0"),
        ({"a": "much"}, None, "expected a positive number"),
        ({"a": float("nan")}, None, "expected a positive number"),
        ({"a": True}, None, "expected a positive number"),
        (5, None, "expected balanced, or a weight for each label, found 5"),
        (["a"], None, "expected balanced, or a weight for each label"),
        (None, [0.0, 0.0], "some weight, found none"),
    ],
)
def test_illegal_weights_are_refused(wish, own, message):
    with pytest.raises(ConfigError, match=message):
        text_weights(np.array([0, 1]), NAMES, wish, own)


def test_as_many_weights_as_texts():
    with pytest.raises(DataError, match="each of the 2 texts, found 1 weights"):
        TextSplit(["x", "y"], ["a", "b"], "here", [1.0])


def rare_class(n: int = 400) -> TextDataset:
    """One text in ten is of class b; its word tells it from class a in two thirds of the cases."""
    random = np.random.default_rng(0)
    labels = ["b" if i % 10 == 0 else "a" for i in range(n)]
    words = {"a": ["plain", "plain", "odd"], "b": ["odd", "odd", "plain"]}
    texts = [f"{random.choice(words[label])} the of and" for label in labels]
    texts_of = TextSplit(texts, labels, "rare")
    return TextDataset("rare", texts_of, None, texts_of, None, ())


def test_balanced_weights_find_the_rare_class():
    def recall(class_weights: str | None) -> float:
        result = token2wave.train(rare_class(), class_weights=class_weights, preset="fast", epochs=8)
        assert result.classifier.training.get("class_weights") == class_weights
        return result.summary.evaluation["classes"][1]["recall"]

    assert recall(None) < 0.2
    assert recall("balanced") > 0.5


def test_validation_rows_take_their_weights_along():
    splits = rare_class(40)
    texts = [f"{text} n{i // 2}" for i, text in enumerate(splits.train.texts)]
    weighted = TextSplit(texts, splits.train.labels, "rare", [float(i) for i in range(40)])
    parts = prepare(TextDataset("rare", weighted, None, None, None, ()), Recipe(validation_fraction=0.2), 0)
    every = np.array(weighted.weights)
    np.testing.assert_allclose(parts.full_train.weights, every / every.mean(), rtol=1e-6)
    both = np.concatenate([parts.train.weights, parts.validation.weights])
    np.testing.assert_allclose(np.sort(both), np.sort(parts.full_train.weights))


def test_texts_without_weight_teach_nothing(tmp_path):
    """Half of the rows say the contrary, and weigh nothing."""
    random = np.random.default_rng(0)
    lines = ["text,label,importance"]
    for i in range(300):
        topic, other = random.permutation(["ball", "bank"])
        label = {"ball": "sport", "bank": "money"}
        lines += [f"the {topic} of n{i},{label[topic]},2", f"the {topic} of n{i},{label[other]},0"]
    (tmp_path / "data.csv").write_text("\n".join(lines))
    result = token2wave.train(tmp_path / "data.csv", weight_column="importance", preset="fast")
    for text, label in (("the ball of", "sport"), ("the bank of", "money")):
        prediction = result.classifier.predict(text)
        assert prediction.label == label
        assert prediction.probability > 0.9  # rows of no weight do not calibrate either
    assert result.summary.validation_accuracy == pytest.approx(1)
    result.classifier.save(tmp_path / "model.safetensors")
    unweighted = tmp_path / "unweighted.csv"
    unweighted.write_text("\n".join(line.rsplit(",", 1)[0] for line in lines))
    for data, lacks_weights in ((tmp_path / "data.csv", False), (unweighted, True)):
        made = token2wave.compress(tmp_path / "model.safetensors", tmp_path / "s", data=data)
        caveats = " ".join(made.summary["caveats"])
        assert ("lacks the weights of the training texts" in caveats) == lacks_weights
    with pytest.raises(DataError, match=r"data.csv, row 1 .*expected a weight, found 'sport'"):
        token2wave.train(tmp_path / "data.csv", weight_column="label")
    with pytest.raises(DataError, match="there is no column 'weight'"):
        token2wave.train(tmp_path / "data.csv", weight_column="weight")


@pytest.mark.parametrize("value", ["-1", "nan", "", "much", "inf"])
def test_what_is_no_weight_is_refused_by_row(tmp_path, value):
    (tmp_path / "data.csv").write_text(f"text,label,weight\nx,a,1\ny,b,{value}\n")
    with pytest.raises(DataError, match=r"data.csv, row 2 .*column 'weight': expected a weight"):
        token2wave.train(tmp_path / "data.csv", weight_column="weight")


def test_lines_of_fasttext_have_no_weights(tmp_path):
    (tmp_path / "data.txt").write_text("__label__a x\n__label__b y\n")
    with pytest.raises(DataError, match="lines of fastText have no columns of weights"):
        token2wave.train(tmp_path / "data.txt", weight_column="weight")


def test_rows_held_back_need_a_weight_as_well():
    texts = TextSplit([f"x{i}" for i in range(40)], ["a", "b"] * 20, "here", [1.0] + [0.0] * 39)
    with pytest.raises(ConfigError, match="both to train on and to hold out"):
        prepare(TextDataset("here", texts, None, None, None, ()), Recipe(validation_fraction=0.2), 0)


def test_the_best_epoch_may_be_chosen_by_macro_f1():
    from token2wave.training.callbacks import Epoch
    from token2wave.training.loop import _rank

    accurate, fair = Epoch(1, 1, 1, 0.5, 0.9, 0.4), Epoch(2, 1, 1, 0.6, 0.8, 0.7)
    assert _rank(accurate, "accuracy") > _rank(fair, "accuracy")
    assert _rank(accurate, "macro_f1") < _rank(fair, "macro_f1")
    assert _rank(accurate, "loss") > _rank(fair, "loss")
    result = token2wave.train(rare_class(), preset="fast", settings={"recipe.select_by": "macro_f1"})
    figures = [epoch["validation_macro_f1"] for epoch in result.summary.history]
    assert figures[result.summary.best_epoch - 1] == max(figures)
