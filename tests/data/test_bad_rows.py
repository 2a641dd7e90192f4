"""Rows that cannot be used: one error that counts them, or a list of those left out."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

import token2wave
from token2wave.data import DataOptions, encode_labels, load_splits, read_labelled
from token2wave.errors import ConfigError, DataError, OutputError

pytestmark = pytest.mark.usefixtures("plain_training")

GOOD = [f"{text} {number},{label}" for number in range(20) for text, label in (("good", "a"), ("bad", "b"))]
BAD = ['x "y,a', "one,a,b", "no label,", "=no label either,", ",", "caf\xe9,a"]
TABLE = "\r\n".join(["text,label", GOOD[0], *BAD[1:4], *GOOD[1:], BAD[1], ""])
SKIP = DataOptions(skip_bad_rows=True)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_the_first_bad_row_is_the_error_and_all_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", TABLE)
    with pytest.raises(DataError) as caught:
        read_labelled(path)
    message = str(caught.value)
    assert (
        "a.csv, row 2 (line 3): expected 2 fields as in the header, found 3 (the first of 4 bad rows)"
        in message
    )
    assert message.endswith("or leave such rows out with --skip-bad-rows (skip_bad_rows=True)")
    with pytest.raises(
        DataError, match=r"row 3 .line 4., column 'label': the label is empty .the first of 2 bad"
    ):
        read_labelled(write(path, TABLE.replace(f"{BAD[1]}\r\n", "one,a\r\n")))
    with pytest.raises(DataError, match=r"row 2.*found 3; put double quotes"):  # a single one is not counted
        read_labelled(write(path, f"text,label\n{GOOD[0]}\n{BAD[1]}\n{GOOD[1]}\n"))


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_skipped_rows_are_counted_by_kind(tmp_path: Path, name: str) -> None:
    content = TABLE.encode()
    path = write(tmp_path / name, gzip.compress(content) if name.endswith(".gz") else content)
    split = read_labelled(path, SKIP)
    assert list(split.texts) == [line.split(",")[0] for line in GOOD]
    assert split.row_numbers == [1, *range(5, 5 + len(GOOD) - 1)]
    assert split.notes == (
        f"{name}: 4 of 44 rows were skipped, 2 with another number of fields, 2 without a label",
    )
    assert [(row.row, row.line) for row in split.bad_rows] == [(2, 3), (3, 4), (4, 5), (44, 45)]
    assert [row.beginning for row in split.bad_rows] == ["one,a,b", "no label", "=no label either", "one,a,b"]


@pytest.mark.parametrize(
    ("name", "bad", "kind"),
    [
        ("a.csv", b"caf\xff \xc3\xa9,a", "1 with undecodable bytes"),
        ("a.csv", b'"x"y",a', "1 with broken quotes"),
        ("a.csv", b" \r", "1 with another number of fields"),
        ("a.jsonl", b"{", "1 that cannot be parsed"),
        ("a.jsonl", b"", "1 blank"),
        ("a.jsonl", b'{"text": null, "label": "a"}', "1 without a text"),
        ("a.jsonl", b'{"text": 1, "label": "a"}', "1 with an unusable text"),
        ("a.jsonl", b'{"text": "x", "label": {}}', "1 with an unusable label"),
        ("a.jsonl", b'{"text": "x"}', "1 without a column"),
        ("a.txt", b"no label", "1 without a label"),
        ("a.txt", b"__label__a \xff\xfe \xc3\xa9", "1 with undecodable bytes"),
    ],
)
def test_every_kind_of_bad_row_is_skipped(tmp_path: Path, name: str, bad: bytes, kind: str) -> None:
    forms = {
        "a.csv": ("text,label\n", "{},{}\n"),
        "a.jsonl": ("", '{{"text": "{}", "label": "{}"}}\n'),
        "a.txt": ("", "__label__{1} {0}\n"),
    }
    header, form = forms[name]
    good = [form.format(*line.split(",")).encode() for line in GOOD]
    clean = read_labelled(write(tmp_path / name, header.encode() + b"".join(good)))
    path = write(tmp_path / name, header.encode() + b"".join([*good[:3], bad + b"\n", *good[3:]]))
    with pytest.raises(DataError):
        read_labelled(path)
    split = read_labelled(path, SKIP)
    assert (list(split.texts), list(split.labels)) == (list(clean.texts), list(clean.labels))
    assert split.notes[-1].endswith(f"skipped, {kind}")
    assert len(split.bad_rows) == 1


def test_unknown_labels_are_bad_rows_of_data_that_names_its_classes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "\n".join(["text,label", *GOOD, "x,c", "y,c"]))
    split = read_labelled(path, SKIP, label_names=("a", "b"))
    assert split.notes == ("a.csv: 2 of 42 rows were skipped, 2 with an unknown label",)
    with pytest.raises(DataError, match=r"'c' is not one of the label names.*the first of 2 bad rows"):
        read_labelled(path, label_names=("a", "b"))


def test_mostly_bad_rows_are_an_error_all_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "\n".join(["text,label", *GOOD[:4], *BAD[1:4], BAD[1], BAD[2]]))
    with pytest.raises(
        DataError, match=r"5 of 9 rows cannot be read, 3 without a label, 2 with another number"
    ):
        read_labelled(path, SKIP)


def test_what_swallows_the_rest_of_a_file_is_not_one_bad_row(tmp_path: Path) -> None:
    rows = "\n".join(["text,label", *GOOD])
    with pytest.raises(DataError, match="unexpected end of data"):
        read_labelled(write(tmp_path / "a.csv", f'{rows}\n"never closed,a\n{GOOD[0]}\n'), SKIP)
    with pytest.raises(DataError, match="ends too early"):
        read_labelled(write(tmp_path / "a.csv.gz", gzip.compress(rows.encode())[:-20]), SKIP)


def test_later_errors_name_the_rows_of_the_file(tmp_path: Path) -> None:
    split = read_labelled(write(tmp_path / "a.csv", TABLE.replace(GOOD[5], "x,c")), SKIP)
    with pytest.raises(DataError, match=r"a.csv, row 9: the label 'c' is not one"):
        encode_labels(split, ("a", "b"))
    taken = split.take(np.arange(1, len(split)))
    with pytest.raises(DataError, match=r"a.csv, row 9"):
        encode_labels(taken, ("a", "b"))


def test_rows_in_memory_are_skipped_the_same_way() -> None:
    rows = [("good lamp", "a"), ("bad lamp", "b")] * 10
    data = load_splits([*rows, (None, "a"), ("x", None)], SKIP)
    assert len(data.train) == 20
    assert data.caveats == ("data: 2 of 22 rows were skipped, 1 without a text, 1 without a label",)


def test_the_list_replaces_no_input(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", TABLE)
    with pytest.raises(OutputError, match="expected another file than the inputs"):
        token2wave.train(path, preset="fast", bad_rows=path)
    with pytest.raises(ConfigError, match="a stream counts the rows"):
        token2wave.train(path, preset="fast", stream=True, bad_rows=tmp_path / "b.csv")
    assert path.read_text() == TABLE.replace("\r\n", "\n")
