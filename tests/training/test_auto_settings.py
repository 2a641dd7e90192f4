"""What the size of the data changes of a preset, and what it must not."""

import pytest

from token2wave.training.auto_settings import (
    LITTLE_TEXT,
    MANY_CLASSES,
    auto_settings,
    few_rows_of_many_classes,
    for_few_rows,
    for_little_text,
    for_long_texts,
    for_many_classes,
    for_rare_words,
    spaced_characters,
)
from token2wave.training.presets import preset_named

SMALL = preset_named("small")


def test_little_text_calls_for_a_larger_network_and_more_steps():
    little = for_little_text(SMALL, LITTLE_TEXT - 1, ())
    assert little.network["context_width"] == 96 > SMALL.network["context_width"]
    assert little.recipe == SMALL.recipe.replace(epochs=6)
    assert little.features == SMALL.features
    assert for_little_text(SMALL, LITTLE_TEXT, ()) == SMALL
    for name in ("fast", "paper"):
        assert for_little_text(preset_named(name), 0, ()) == preset_named(name)


def test_little_text_leaves_what_a_user_has_named():
    named = {"recipe.epochs": 2, "network.width": 8}
    preset = SMALL.with_settings(named)
    little = for_little_text(preset, 0, named)
    assert (little.recipe.epochs, little.network["width"], little.network["context_width"]) == (2, 8, 96)
    named = {"recipe.epochs": SMALL.recipe.epochs}  # named, though it is what the preset has
    assert for_little_text(SMALL, 0, named).recipe == SMALL.recipe


def test_characters_decide_first_and_then_rows():
    few = auto_settings(SMALL, ["word"] * 900, ())
    assert few.network["context_width"] == 96
    assert (few.recipe.epochs, few.recipe.batch_size, few.features.min_count) == (6, 8, 1)
    long_but_few = auto_settings(SMALL, ["x" * LITTLE_TEXT] * 4, ())
    assert long_but_few == for_few_rows(for_long_texts(SMALL, 4 * LITTLE_TEXT, 4, ()), 4, ())
    assert long_but_few.network == SMALL.network
    assert auto_settings(SMALL, ["x" * 100] * 20_000, ()) == SMALL


def test_excerpts_of_much_long_text_are_enough():
    assert for_long_texts(SMALL, LITTLE_TEXT, LITTLE_TEXT // 150, ()).recipe.context_words == 8
    assert for_long_texts(SMALL, LITTLE_TEXT, LITTLE_TEXT // 140, ()) == SMALL
    assert for_long_texts(SMALL, LITTLE_TEXT - 1, 1, ()) == SMALL
    assert for_long_texts(SMALL, LITTLE_TEXT, 1, {"recipe.context_words": 0}) == SMALL
    assert auto_settings(SMALL, ["x" * 400] * 5_000, ()) == for_long_texts(SMALL, LITTLE_TEXT, 1, ())


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


def test_many_classes_do_without_the_linear_svm():
    many = auto_settings(SMALL, ["x" * 100] * 20_000, (), MANY_CLASSES + 1)
    assert many == for_many_classes(SMALL, MANY_CLASSES + 1, ())
    assert not many.network["linear_svm"]
    assert many.network["width"] > SMALL.network["width"]
    assert for_many_classes(SMALL, MANY_CLASSES, ()) == SMALL
    assert for_many_classes(preset_named("paper"), 5_000, ()) == preset_named("paper")
    named = {"network.linear_svm": True, "recipe.epochs": 3}
    preset = for_many_classes(SMALL.with_settings(named), 5_000, named)
    assert (preset.network["linear_svm"], preset.recipe.epochs) == (True, 3)


def test_few_rows_of_many_classes_are_told():
    n = MANY_CLASSES + 1
    many = for_many_classes(SMALL, n, ())
    (note,) = few_rows_of_many_classes(many, n, 2 * n)
    assert "here are 2.0" in note
    assert "network.linear_svm=true" in note
    assert not few_rows_of_many_classes(many, n, 40 * n)
    assert not few_rows_of_many_classes(many, MANY_CLASSES, n)
    assert not few_rows_of_many_classes(SMALL, n, n)  # with the SVM
    assert not few_rows_of_many_classes(preset_named("paper"), n, n)


def test_words_of_many_forms_are_features_even_if_they_occur_once():
    frequent = ["the same four words"] * 23
    rich = [*frequent, *(f"word{i}" for i in range(8))]  # 8 of 100 words occur once
    assert for_rare_words(SMALL, rich, ()).features.min_count == 1
    assert for_rare_words(SMALL, [*rich, "the"], ()) == SMALL
    assert for_rare_words(SMALL, rich, {"features.min_count": 2}) == SMALL
    assert for_rare_words(preset_named("paper"), rich, ()) == preset_named("paper")


def test_letters_of_scripts_without_blanks_count_as_words():
    assert spaced_characters(100, ["plain words, and 한국어"]) == 100
    assert spaced_characters(100, ["ไป" * 50]) == pytest.approx(500, rel=0.02)
    assert spaced_characters(0, []) == 0
    many = ["漢" * 150] * 3_000  # a token each, so as much work as 2,250,000 characters of words
    assert auto_settings(SMALL, many, {"features.min_count": 2}).network["context_width"] == 32
