"""One rule says what a label is, for every format and for Python; what looks wrong is named."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import token2wave
from token2wave.data import DataOptions, TextDataset, TextSplit, label_names_of, read_labelled
from token2wave.data.labels import data_notes, label_notes
from token2wave.data.values import Column, parse_labels
from token2wave.errors import DataError
from token2wave.integrations.sklearn import WaveClassifier

NFD, NFC = "Bu\u0308ro", "B\u00fcro"


def write(path: Path, labels: list[object]) -> Path:
    texts = [f"text {i}" for i in range(len(labels))]
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"text": texts, "label": labels}), path)
    elif path.suffix == ".jsonl":
        rows = zip(texts, labels, strict=True)
        path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))
    else:
        rows = zip(texts, labels, strict=True)
        path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    return path


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([True, False], ["true", "false"]),
        ([1.0, 0.0], ["1", "0"]),
        ([1, 0], ["1", "0"]),
        (["good ", " bad"], ["good", "bad"]),
        (["a\u00a0", "b"], ["a", "b"]),
        ([1.5, 2.0], ["1.5", "2"]),
    ],
)
def test_every_format_names_labels_alike(tmp_path: Path, labels: list[object], names: list[str]) -> None:
    for suffix in (".csv", ".jsonl", ".parquet"):
        path = write(tmp_path / f"a{suffix}", labels)
        assert read_labelled(path).labels == names
        assert read_labelled(path, label_names=names).labels == names
        assert read_labelled(path, DataOptions(multi_label=True, label_separator="|")).label_sets == [
            (name,) for name in names
        ]
    assert parse_labels(Column(labels)) == names


@pytest.mark.parametrize("label", ["['sport']", "['a', 'b']", '["a"]', "('a',)", "[1, 2]", "[]"])
def test_a_list_written_as_a_string_is_no_label(tmp_path: Path, label: str) -> None:
    with pytest.raises(DataError, match="list written as a string"):
        read_labelled(write(tmp_path / "a.jsonl", ["sport", label]))


def test_labels_that_differ_in_what_cannot_be_seen_are_noted_and_joined(tmp_path: Path) -> None:
    labels: list[object] = [NFC, NFD, "b\u00fcro", "B\u00dcRO", "lab", "New  York", "new york"]
    path = write(tmp_path / "a.csv", labels)
    (note,) = data_notes(["x"] * 7, read_labelled(path).label_sets)
    assert "6 labels differ" in note
    assert r"'Bu\u0308ro' (1)" in note  # names that look alike are escaped
    assert "(1)" in note
    assert "--normalise-labels" in note
    (note,) = data_notes(["x"] * 2, [["B\u00fcro"], ["b\u00fcro"]])
    assert "'B\u00fcro' (1), 'b\u00fcro' (1)" in note
    options = DataOptions(normalise_labels=True)
    joined = ["b\u00fcro"] * 4 + ["lab"] + ["new york"] * 2
    assert read_labelled(path, options).labels == joined
    assert read_labelled(path, options, label_names=(NFC, "lab", "New York")).labels == (
        [NFC] * 4 + ["lab"] + ["New York"] * 2
    )


def test_a_forgotten_separator_and_missing_labels_are_noted() -> None:
    (note,) = label_notes({"sport": 5, "money": 4, "sport|money": 2})
    assert "joined by '|'" in note
    assert "'sport|money' (2)" in note
    assert label_notes({"a": 1, "a, not b": 1, "x;y": 3}) == []
    (note,) = label_notes({"a": 1, "nan": 3})
    assert "'nan' (3)" in note


def test_labels_of_fasttext_that_a_blank_cuts_or_joins_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    lines = [f"__label__very good text {i}\n__label__bad {i} text\n" for i in range(12)]
    path.write_text("".join(lines) + "__label__bad\u00a0one text\n")
    split = read_labelled(path)
    notes = data_notes(split.texts, split.label_sets, split.source)
    assert any("'very' begins with 'good'" in note for note in notes)
    assert any("no-break space" in note for note in notes)
    assert len(notes) == 2


def test_exchanged_columns_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [("good", "bad")[i % 2] for i in range(200)])
    split = read_labelled(path, DataOptions(text_column="label", label_column="text"))
    with pytest.raises(DataError, match=r"200 different labels in 200 rows.*exchanged"):
        label_names_of(split)


def test_empty_and_null_like_texts_are_counted() -> None:
    notes = data_notes(["", " ", "NULL", "n/a", "a nan", "x"], [["a"]] * 6)
    assert notes == ["2 of 6 texts are empty.", "2 of 6 texts are a word like NULL, for a missing text."]


def test_labels_in_memory_follow_the_same_rule() -> None:
    texts = [f"a great lamp {i}" if i % 2 else f"an awful kettle {i}" for i in range(40)]
    labels = ["good " if i % 4 == 1 else "good" if i % 2 else "False" for i in range(40)]
    split = TextSplit(texts, labels, "memory")
    result = token2wave.train(TextDataset("memory", split, test=split), preset="fast", epochs=1)
    assert result.classifier.label_names == ("false", "good")


def test_nan_is_no_class() -> None:
    for y in (np.array(["a", "b", np.nan]), ["a", "b", float("nan")], np.array(["a", None, "b"], object)):
        with pytest.raises(ValueError, match=r"missing|found|NaN|type"):
            WaveClassifier().fit(["x", "y", "z"], y)


def test_equal_values_of_other_types_keep_their_names():
    """1, True and 1.0 are equal in Python; each of them is named by its own type, however often it occurs."""
    values = [1, True, "1", 1.0, False, 0, True, 1, "True", 1.0]
    names = ["1", "true", "1", "1", "false", "0", "true", "1", "true", "1"]
    assert parse_labels(Column(values)) == names
    assert parse_labels(Column(values[::-1])) == names[::-1]
