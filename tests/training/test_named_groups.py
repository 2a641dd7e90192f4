"""Rows of one named group, such as the reviews of one film, stand on one side of every split."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from token2wave import train
from token2wave.data import TextDataset, TextSplit
from token2wave.data.values import Column, parse_groups
from token2wave.errors import ConfigError, DataError
from token2wave.integrations.sklearn import WaveClassifier
from token2wave.training.calibration import cross_validate_branches
from token2wave.training.cross_validation import FOLDS
from token2wave.training.preparation import prepare
from token2wave.training.recipe import Recipe

RECIPE = Recipe(validation_fraction=0.2)
SETTINGS = {"network.width": 8, "recipe.epochs": 2}


def films(n_films, n_reviews=8, seed=0):
    """Reviews with a random label for each film, which only the words of the film give away."""
    random = np.random.default_rng(seed)
    texts, labels, groups = [], [], []
    for film in range(n_films):
        label = str(random.choice(["bad", "good"]))
        for _ in range(n_reviews):
            noise = " ".join(f"w{i}" for i in random.integers(0, 10_000, 8))
            texts.append(f"film{film} hero{film} villain{film} {noise}")
            labels.append(label)
            groups.append(f"f{film}")
    order = random.permutation(len(texts))
    return [[column[row] for row in order] for column in (texts, labels, groups)]


def dataset(texts, labels, groups, validation=None, test=None):
    return TextDataset("films", TextSplit(texts, labels, "train", groups=groups), validation, test)


def sides(encoded):
    return [set(examples.groups) for examples in (encoded.train, encoded.validation, encoded.held_out)]


@pytest.mark.parametrize("kind", ["random", "grouped"])
def test_no_group_is_on_two_sides(kind):
    data = dataset(*films(60))
    recipe = RECIPE.replace(validation=kind)
    train_groups, validation, held_out = sides(prepare(data, recipe, 3, holds_out=True))
    assert validation
    assert held_out
    assert len(train_groups | validation | held_out) == len(train_groups) + len(validation) + len(held_out)


def test_halves_of_a_validation_file_share_no_group():
    texts, labels, groups = films(20, seed=1)
    validation = TextSplit(texts, labels, "validation", groups=[f"v{group}" for group in groups])
    _, chosen_by, held_out = sides(prepare(dataset(*films(30), validation), RECIPE, 0, holds_out=True))
    assert chosen_by
    assert held_out
    assert not chosen_by & held_out


def test_folds_share_no_group():
    examples = prepare(dataset(*films(20)), RECIPE, 0).full_train
    fitted = []

    def fit(others):
        fitted.append(set(others.groups))
        raise StopIteration

    with pytest.raises(StopIteration):
        cross_validate_branches(fit, examples, 0)
    n_left_out = len(set(examples.groups) - fitted[0])
    assert n_left_out == len(set(examples.groups)) // FOLDS


def test_rows_without_a_group_are_groups_of_their_own():
    texts, labels, _ = films(10)
    rows = prepare(dataset(texts, labels, [None] * len(texts)), RECIPE, 0)
    assert len(rows.validation) > 10
    assert "No row has a group." in rows.caveats


def test_texts_twice_join_the_groups_that_hold_them():
    texts, labels, groups = (
        ["same words here", "alone", "same words here", "more"],
        list("abab"),
        list("xxyy"),
    )
    examples = prepare(dataset(texts, labels, groups), RECIPE, 0).train
    assert examples.row_groups().tolist() == [0, 0, 0, 0]


def test_unusual_groups_are_said_or_refused():
    texts, labels, groups = films(20)
    test = TextSplit(["new", "words"], ["good", "bad"], "test", groups=["f1", "other"])
    caveats = prepare(dataset(texts, labels, groups, test=test), RECIPE, 0).caveats
    assert "1 of 2 test rows are of groups that training has, too." in caveats
    caveats = prepare(dataset(texts, labels, ["big"] * 100 + groups[100:]), RECIPE, 0).caveats
    assert any("100 of 160 rows are of the group 'big'" in caveat for caveat in caveats)
    with pytest.raises(DataError, match="at least two groups, found only 'big'"):
        prepare(dataset(texts, labels, ["big"] * 160), RECIPE, 0)


@pytest.mark.parametrize("n_films", [12, 150])
def test_what_only_the_group_gives_away_counts_as_unknown(tmp_path, n_films):
    path = tmp_path / "films.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label", "film"), *zip(*films(n_films), strict=True)])
    options = {"preset": "fast", "settings": SETTINGS, "text_column": "text"}
    assert train(str(path), **options).summary.accuracy > 0.85
    result = train(str(path), **options, group_column="film")
    assert result.summary.accuracy < 0.75
    assert result.classifier.training["group_column"] == "film"


def test_a_stream_refuses_groups(tmp_path):
    path = tmp_path / "films.csv"
    path.write_text("text,label,film\none,a,x\ntwo,b,y\n")
    with pytest.raises(ConfigError, match="group"):
        train(str(path), stream=True, group_column="film")


def test_estimator_takes_groups():
    texts, labels, groups = films(150)
    estimator = WaveClassifier(preset="fast", settings=SETTINGS)
    assert estimator.fit(texts, labels).summary_.accuracy > 0.85
    assert estimator.fit(texts, labels, groups=groups).summary_.accuracy < 0.75
    with pytest.raises(DataError, match="expected a group for each"):
        WaveClassifier(preset="fast").fit(texts, labels, groups=groups[:-1])


def test_any_name_is_a_group():
    names = ["(1984)", " (1984) ", "()", "", "  ", None, float("nan"), ("a", 1), 3]
    expected = ["(1984)", "(1984)", "()", None, None, None, None, "('a', 1)", "3"]
    assert parse_groups(Column(names)) == expected
