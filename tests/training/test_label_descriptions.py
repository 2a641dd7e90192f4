"""Descriptions of labels help to learn, weigh less as rows come, and measure nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import token2wave
from token2wave.data import TextDataset, TextSplit
from token2wave.data.label_descriptions import name_in_words, read_descriptions
from token2wave.errors import ConfigError, DataError
from token2wave.reporting.summary import render_summary
from token2wave.training.described_examples import HALF_ROWS, WEIGHT, add_descriptions
from token2wave.training.examples import Examples
from token2wave.training.preparation import prepare
from token2wave.training.recipe import Recipe

TOPICS = {"sports": "football matches, teams, players and goals", "money": ["banks and stock markets"]}


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("card_arrival", ["card arrival"]),
        ("Sci/Tech", ["Sci Tech"]),
        ("lostCard", ["lost Card"]),
        ("HTTPError", ["HTTP Error"]),
        ("7", []),
        ("-1.5", []),
    ],
)
def test_the_name_of_a_label_is_split_into_words(label: str, words: list[str]) -> None:
    assert name_in_words(label) == words


def test_json_and_tables_give_the_same_descriptions(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(TOPICS))
    rows = [("sports", TOPICS["sports"]), ("money", TOPICS["money"][0])]
    (tmp_path / "a.csv").write_text("label,description\n" + "".join(f'{a},"{b}"\n' for a, b in rows))
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"label": a, "description": b}) + "\n" for a, b in rows)
    )
    expected = read_descriptions(TOPICS)
    assert expected == {label: [text] for label, text in rows}
    assert all(read_descriptions(tmp_path / name) == expected for name in ("a.json", "a.csv", "a.jsonl"))


@pytest.mark.parametrize("wrong", [{}, ["sports"], {"sports": 3}, {"sports": ["a", None]}])
def test_what_describes_no_label_is_refused(wrong: object) -> None:
    with pytest.raises(DataError, match="label_descriptions"):
        read_descriptions(wrong)


@pytest.mark.parametrize("n_rows", [0, 8, 10_000])
def test_descriptions_weigh_less_the_more_rows_a_class_has(n_rows: int) -> None:
    rows = Examples.of_texts(["a"] * (n_rows + 4), np.array([0] * n_rows + [1] * 4))
    described = Examples.of_texts(["x", "y", "z"], np.array([0, 0, 1]))
    weights = add_descriptions(rows, described).weights
    assert weights is not None
    assert weights.mean() == pytest.approx(1, rel=1e-4)
    assert weights[:2].sum() / weights[-1] == pytest.approx(
        WEIGHT * HALF_ROWS / (HALF_ROWS + n_rows), rel=1e-4
    )


def test_descriptions_are_in_no_split_of_the_rows() -> None:
    rows = TextSplit([f"text {i}" for i in range(60)], ["sports", "money"] * 30, "rows")
    splits = TextDataset("rows", rows, label_descriptions={**read_descriptions(TOPICS), "sky_blue": []})
    texts = prepare(splits, Recipe(), 0, holds_out=True)
    assert texts.label_names == ("money", "sky_blue", "sports")
    assert texts.descriptions is not None
    assert list(texts.descriptions.texts)[:3] == ["banks and stock markets", "money", "sky blue"]
    assert texts.full_train is not None
    assert texts.held_out is not None
    for part in (texts.train, texts.validation, texts.full_train, texts.held_out):
        assert set(part.texts) <= set(rows.texts)
    assert any("sky_blue" in caveat for caveat in texts.caveats)


@pytest.mark.prior
def test_descriptions_alone_make_a_model_that_claims_no_figure() -> None:
    result = token2wave.train(label_descriptions=TOPICS, out=None)
    assert result.summary.accuracy is None
    assert result.summary.validation_rows == 0
    shown = "\n".join(render_summary(result.summary))
    assert "by the training texts, as none were held out" in shown
    assert "validation rows" not in shown
    assert any("no rows" in caveat for caveat in result.summary.caveats)
    texts = ["the goalkeeper saved a penalty in the cup final", "the bank raised its interest rates"]
    assert [result.classifier.predict(text).label for text in texts] == ["sports", "money"]


def test_without_a_prior_descriptions_alone_are_refused() -> None:
    with pytest.raises(ConfigError, match="no language prior"):
        token2wave.train(label_descriptions=TOPICS)
    with pytest.raises(ConfigError, match="needs rows"):
        token2wave.train(label_descriptions=TOPICS, cv=3)


def test_a_label_described_under_another_name_is_refused() -> None:
    rows = TextSplit(["a", "b"], ["sports", "money"], "rows")
    splits = TextDataset("rows", rows, label_names=("sports", "money"), label_descriptions={"sport": ["x"]})
    with pytest.raises(DataError, match="sport"):
        prepare(splits, Recipe(), 0)
