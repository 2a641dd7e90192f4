"""Models of pairs of texts: what goes in, in which order, and what comes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import token2wave
from token2wave import BatchPredictor, Classifier
from token2wave.data import DataOptions, read_labelled, read_texts
from token2wave.data.objects import to_pairs
from token2wave.errors import ConfigError, DataError, InputError
from token2wave.explanation import explanation_page, removal
from token2wave.features.pairs import PairConfig, join_pair
from token2wave.options import TextOptions
from token2wave.training.presets import preset_named

pytestmark = pytest.mark.usefixtures("plain_training")

TOPICS = ["music", "soup", "ships", "rain", "chess", "bread"]
PAIRS = [(f"a book about {a}", f"the story of {b}") for a in TOPICS for b in TOPICS] * 4
LABELS = ["same" if a.split()[-1] == b.split()[-1] else "other" for a, b in PAIRS]
OPTIONS: dict[str, Any] = {"preset": "fast", "baseline": False, "settings": {"features.bits": 14}}


@pytest.fixture(scope="module")
def symmetric() -> Classifier:
    return token2wave.train(PAIRS, LABELS, pair=True, symmetric=True, **OPTIONS).classifier


@pytest.fixture(scope="module")
def ordered() -> Classifier:
    """Whether the second text is the first one with a word more."""
    pairs = [(a, f"{a} and more") for a, _ in PAIRS]
    rows = [pair if i % 2 else pair[::-1] for i, pair in enumerate(pairs)]
    return token2wave.train(rows, ["yes", "no"] * (len(rows) // 2), pair=True, **OPTIONS).classifier


def test_symmetric_models_ignore_the_order_exactly(symmetric: Classifier) -> None:
    back = [pair[::-1] for pair in PAIRS[:36]]
    assert symmetric.probabilities(PAIRS[:36]).tolist() == symmetric.probabilities(back).tolist()
    assert symmetric.labels(PAIRS[:36]) == LABELS[:36]
    novel = [("an essay on jazz", "a poem of jazz"), ("an essay on jazz", "a poem of wine")]
    assert symmetric.labels(novel) == ["same", "other"]  # by the comparisons: no pair had these words


def test_other_models_learn_the_order(ordered: Classifier) -> None:
    assert ordered.labels([("wine", "wine and more"), ("wine and more", "wine")]) == ["no", "yes"]


def test_pairs_come_as_users_hold_them(symmetric: Classifier) -> None:
    answers = symmetric.probabilities(PAIRS[:3]).tolist()
    first, second = zip(*PAIRS[:3], strict=True)
    columns = {"text": list(first), "text_pair": list(second)}
    records = [dict(zip(columns, pair, strict=True)) for pair in PAIRS[:3]]
    frame = pytest.importorskip("pandas").DataFrame({"q1": first, "q2": second})
    for pairs in (map(list, PAIRS[:3]), np.array(PAIRS[:3]), columns, records, frame):
        assert symmetric.probabilities(pairs).tolist() == answers
    assert symmetric.predict(PAIRS[0]).label == LABELS[0]
    for pairs, message in (
        (["a cat"], r"texts\[0\]: expected a pair of texts, found 'a cat'"),
        ([("a", "b"), ("a", 1)], r"texts\[1\]: expected a pair"),
        ([("a", "b", "c")], r"texts\[0\]: expected a pair"),
        ({"a": ["x"]}, "expected two columns of texts, found 'a'"),
        ("a cat", "expected a list, found one string"),
        ({"text": ["a", "b"], "text_pair": ["c"]}, "columns of one length, found 2 and 1 texts"),
    ):
        with pytest.raises(InputError, match=message):
            symmetric.probabilities(pairs)
    with pytest.raises(InputError, match="expected a text, found"):  # a model of single texts
        token2wave.train(["a b", "c d"] * 9, ["x", "y"] * 9, **OPTIONS).classifier.probabilities([("a", "b")])
    assert to_pairs([]) == []
    expected = [join_pair("a", "b")]
    for swapped in ({"second": ["b"], "first": ["a"]}, [{"second": "b", "first": "a"}]):
        assert to_pairs(swapped, columns=("first,second",)) == expected


def test_explanations_are_exact_and_mark_words_of_both(symmetric: Classifier) -> None:
    first, second = "a tale of chess.", "one chess song"
    explanation = symmetric.explain((first, second))
    assert explanation.text == f"{first}\n{second}"
    words = {explanation.text[part.start : part.end]: part for part in explanation.parts}
    assert [part.shared for part in explanation.parts] == [w == "chess" for w in words_of(explanation)]
    whole = symmetric.probabilities([(first, second)])[0]
    without = symmetric.probabilities([("a   of chess.", second)])[0]
    np.testing.assert_allclose(words["tale"].effects, whole - without, atol=1e-6)
    assert sum(part.energy for part in explanation.parts) == pytest.approx(1)
    sentences = symmetric.explain(("A tale. Of chess", "one song"), "sentence")
    assert words_of(sentences) == ["A tale.", "Of chess", "one song"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(removal, "CHARACTERS_CHUNK", 1)  # one part at once
        calls = iter([False, True])
        first_part = symmetric.explain((first, second), should_stop=lambda: next(calls))
    assert first_part.parts == explanation.parts[:1]
    stopped = symmetric.explain((first, second), should_stop=lambda: True)
    assert not stopped.complete
    assert not stopped.parts
    assert "shared" in json.dumps(explanation.to_dict())
    assert explanation_page([explanation], "a title").count(" data-both") == 1 + explanation.text.count(
        "chess"
    )
    with pytest.raises(InputError, match="expected a pair"):
        symmetric.explain("a cat")


def words_of(explanation: Any) -> list[str]:
    return [explanation.text[part.start : part.end] for part in explanation.parts]


def test_similarity_is_the_score_that_is_learnt() -> None:
    scores = [5.0 if label == "same" else i % 3 for i, label in enumerate(LABELS)]
    scored = token2wave.train(PAIRS, scores, pair=True, target="score", **OPTIONS).classifier
    high, low = scored.similarity(["a tale of soup"] * 2, ["the soup", "the rain"]).tolist()
    assert high > low + 1
    assert [high, low] == scored.scores(
        [("a tale of soup", "the soup"), ("a tale of soup", "the rain")]
    ).tolist()


def test_files_of_every_format_hold_the_same_pairs(tmp_path: Path) -> None:
    rows = [("a, b", 'say "c"', "x"), ("two\nlines", "", "y"), ("\x1f", "d", "x")]
    names = ["first", "second", "label"]
    records = [dict(zip(names, row, strict=True)) for row in rows]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame(records).to_csv(tmp_path / "a.csv", index=False)
    pandas.DataFrame(records).to_parquet(tmp_path / "a.parquet")
    options = DataOptions("first,second").for_pairs(True)
    expected = [join_pair(*row[:2]) for row in rows]
    for suffix in ("jsonl", "csv", "parquet"):
        split = read_labelled(tmp_path / f"a.{suffix}", options)
        assert split.texts == expected
        assert split.labels == ["x", "y", "x"]
        assert (
            read_texts(tmp_path / f"a.{suffix}", TextOptions(["first", "second"]).for_pairs(True)) == expected
        )
    with pytest.raises(DataError, match="expected two columns of texts for pairs, found 'first'"):
        read_labelled(tmp_path / "a.csv", DataOptions("first").for_pairs(True))
    (tmp_path / "b.jsonl").write_text('{"text": "a", "text_pair": null, "label": "x"}\n')
    with pytest.raises(DataError, match=r"row 1.*the text is missing"):
        read_labelled(tmp_path / "b.jsonl", DataOptions().for_pairs(True))


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_scored_rows_keep_both_columns_and_no_other(
    symmetric: Classifier, tmp_path: Path, suffix: str
) -> None:
    pandas = pytest.importorskip("pandas")
    symmetric.save(tmp_path / "m.safetensors")
    frame = pandas.DataFrame(PAIRS[:9], columns=["a", "b"])
    frame.to_csv(tmp_path / "rows.csv", index=False)
    frame.to_parquet(tmp_path / "rows.parquet")
    for source in ("rows.csv", "rows.parquet"):
        folder = tmp_path / f"{source}-{suffix}"
        token2wave.score(
            tmp_path / "m.safetensors", tmp_path / source, folder, text_column="a,b", format=suffix, workers=1
        )
        (part,) = (folder / "parts").glob("part-*")
        read = pandas.read_parquet if suffix == "parquet" else lambda path: pandas.read_json(path, lines=True)
        result = read(part)
        assert list(result.columns[:2]) == ["a", "b"]
        assert "a,b" not in result.columns
        assert result["label"].tolist() == LABELS[:9]
    predictor = BatchPredictor(tmp_path / "m.safetensors", text_column=("a", "b"))
    assert predictor(frame)["label"].tolist() == LABELS[:9]
    assert (
        BatchPredictor(tmp_path / "m.safetensors", text_column="a,b")(frame)["label"].tolist() == LABELS[:9]
    )
    with pytest.raises(ConfigError, match="expected two columns of texts, found a"):
        BatchPredictor(tmp_path / "m.safetensors", text_column="a")(frame)


def test_reports_show_both_texts(tmp_path: Path) -> None:
    token2wave.train(
        PAIRS, LABELS, test=list(zip(PAIRS, LABELS, strict=True)), pair=True, report=tmp_path, **OPTIONS
    )
    document = (tmp_path / "report.json").read_text()
    assert "\\u001f" not in document
    assert "a book about music | the story of music" in document


def test_presets_for_pairs_have_no_context() -> None:
    preset = preset_named("small").for_pairs(True)
    assert isinstance(preset.features, PairConfig)
    assert preset.features.symmetric
    changed = preset.with_settings(preset.for_little_text)  # a pair has no reading order
    assert changed.network["context_width"] == 0
    assert changed.recipe.epochs > preset.recipe.epochs


def test_options_that_make_no_sense_together_are_refused() -> None:
    with pytest.raises(ConfigError, match="symmetric: only pairs of texts have an order"):
        token2wave.train(PAIRS, LABELS, symmetric=True)
    with pytest.raises(ConfigError, match="stream: is for single texts, found pairs"):
        token2wave.train("rows.csv", pair=True, stream=True)
    with pytest.raises(ConfigError, match="expected 0 for pairs, which have no reading order"):
        token2wave.train(PAIRS, LABELS, pair=True, settings={"network.context_width": 8})
    with pytest.raises(ConfigError, match="expected a preset of words for pairs, found 'paper'"):
        token2wave.train(PAIRS, LABELS, pair=True, preset="paper")
