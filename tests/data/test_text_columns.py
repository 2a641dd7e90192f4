"""Several columns of texts are joined, the same in files, streams and data in memory."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pandas
import pytest

import token2wave
from token2wave.data import DataOptions, load_splits, load_texts, read_labelled, read_texts
from token2wave.data.file_segments import segments_of
from token2wave.data.reader import read_segment
from token2wave.errors import ConfigError, DataError

pytestmark = pytest.mark.usefixtures("plain_training")

ROWS: list[tuple[Any, Any, str]] = [
    ("a lamp", "green, and\nbright", "good"),
    ("", "no subject", "bad"),
    ("no body", "", "good"),
    ("", "", "bad"),
]
JOINED = ["a lamp\ngreen, and\nbright", "no subject", "no body", ""]
BOTH = DataOptions("subject,body")


def write(path: Path, rows: list[tuple[Any, Any, str]] = ROWS) -> Path:
    names = ("subject", "body", "label")
    records = [dict(zip(names, row, strict=True)) for row in rows]
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([names, *rows])
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    elif path.suffix == ".xlsx":
        pandas.DataFrame(records).to_excel(path, index=False)
    else:
        pandas.DataFrame(records).to_parquet(path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("column", ["subject,body", " Subject , BODY", ("subject", "body")])
def test_files_join_columns_without_empty_cells(tmp_path: Path, suffix: str, column: Any) -> None:
    path, options = write(tmp_path / f"mails{suffix}"), DataOptions(column)
    assert list(read_labelled(path, options).texts) == JOINED
    assert read_texts(path, options) == JOINED


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_streams_join_columns(tmp_path: Path, suffix: str) -> None:
    (segment,) = segments_of([write(tmp_path / f"mails{suffix}")])
    (block,) = read_segment(segment, ("subject", "body"), ["label"])
    assert block.values("subject,body") == JOINED
    assert block.values("label") == [label for _, _, label in ROWS]


def test_workbooks_join_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "mails.xlsx", ROWS[:3])
    assert list(read_labelled(path, BOTH).texts) == JOINED[:3]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_row_without_any_cell_has_no_text(tmp_path: Path, suffix: str) -> None:
    rows = [(None, "b", "x"), ("a", None, "y"), (None, None, "x"), ("c", "d", "y")]
    path = write(tmp_path / f"mails{suffix}", rows)
    with pytest.raises(DataError, match=r"row 3.*column 'subject,body': the text is missing"):
        read_labelled(path, BOTH)
    options = DataOptions("subject,body", skip_bad_rows=True)
    assert list(read_labelled(path, options).texts) == ["b", "a", "c\nd"]
    (segment,) = segments_of([path])
    (block,) = read_segment(segment, ("subject", "body"), ["label"])
    assert block.values("subject,body") == ["b", "a", "c\nd"]
    assert [rejected.reason for rejected in block.rejected] == ["the text is missing"]


def test_a_json_object_may_lack_one_of_the_columns(tmp_path: Path) -> None:
    path = tmp_path / "mails.jsonl"
    path.write_text('{"subject": "a", "body": "b", "label": "x"}\n{"body": "c", "label": "y"}\n')
    assert list(read_labelled(path, BOTH).texts) == ["a\nb", "c"]
    with path.open("a") as stream:
        stream.write('{"label": "y"}\n')
    with pytest.raises(DataError, match="there is no column 'subject,body'"):
        read_labelled(path, BOTH)


def test_a_cell_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "mails.jsonl", [("a", "b", "x"), ("c", 5, "y")])
    with pytest.raises(DataError, match=r"row 2.*expected a text, found the int 5"):
        read_labelled(path, BOTH)


def test_a_column_whose_own_name_has_the_comma_wins(tmp_path: Path) -> None:
    path = tmp_path / "mails.csv"
    path.write_text('subject,body,"subject,body",label\na,b,both,x\nc,d,two,y\n')
    assert list(read_labelled(path, BOTH).texts) == ["both", "two"]
    assert list(read_labelled(path, DataOptions(["subject", "body"])).texts) == ["a\nb", "c\nd"]
    frame = pandas.read_csv(path)
    assert load_texts(frame, BOTH) == ["both", "two"]


@pytest.mark.parametrize(
    ("column", "hint"),
    [("subjct,body", "did you mean 'subject'?"), ("subject,bodi", "did you mean 'body'?")],
)
def test_each_name_is_checked(tmp_path: Path, column: str, hint: str) -> None:
    path = write(tmp_path / "mails.csv")
    for data in (path, pandas.read_csv(path)):
        with pytest.raises(DataError) as caught:
            load_splits(data, DataOptions(column))
        assert caught.value.hint == hint


def test_hints_keep_the_named_columns(tmp_path: Path) -> None:
    path = tmp_path / "mails.csv"
    rows = [f"mail {i},a long text of number {i},{'good' if i % 2 else 'bad'}\n" for i in range(8)]
    path.write_text("subject,body,mood\n" + "".join(rows))
    with pytest.raises(DataError) as caught:
        read_labelled(path, BOTH)
    assert caught.value.hint is not None
    assert "--text-column 'subject,body' --label-column mood" in caught.value.hint


def test_labels_are_no_texts(tmp_path: Path) -> None:
    path = write(tmp_path / "mails.csv")
    for column in (["subject", "label"], "subject,label"):
        with pytest.raises(ConfigError, match="'label' for both texts and labels"):
            read_labelled(path, DataOptions(column))  # type: ignore[arg-type]


@pytest.mark.parametrize("column", [5, [], ["a", 5]])
def test_names_are_strings(column: Any) -> None:
    with pytest.raises(ConfigError, match="text_column"):
        DataOptions(column)


@pytest.mark.parametrize(
    "make",
    [
        lambda rows: pandas.DataFrame(rows),
        lambda rows: rows,
        lambda rows: {name: [row[name] for row in rows] for name in rows[0]},
    ],
)
def test_the_model_is_that_of_the_joined_texts(tmp_path: Path, make: Any) -> None:
    mails = [(f"subject {i}", f"good {i}" if i % 2 else f"bad {i}", "yn"[i % 2]) for i in range(40)]
    path = write(tmp_path / "mails.csv", mails)
    rows = [dict(zip(("subject", "body", "label"), row, strict=True)) for row in mails]
    joined = [f"{subject}\n{body}" for subject, body, _ in mails]
    expected = token2wave.train(joined, [label for *_, label in mails], preset="fast", epochs=2)
    for data, column in ((path, "subject,body"), (make(rows), ["subject", "body"])):
        result = token2wave.train(data, text=column, preset="fast", epochs=2)
        assert result.classifier.fingerprint == expected.classifier.fingerprint
    assert load_texts(make(rows), BOTH) == joined
    model = tmp_path / "mails.safetensors"
    expected.classifier.save(model)
    figures = token2wave.evaluate(expected.classifier, make(rows), text="subject,body")
    assert figures.accuracy == token2wave.evaluate(expected.classifier, path, text="subject,body").accuracy
    with pytest.raises(ConfigError, match="expected one column of texts, found 2"):
        token2wave.score(model, path, tmp_path / "out", text="subject,body")


def test_streamed_training_joins_columns(tmp_path: Path) -> None:
    mails = [(f"subject {i}", f"good {i}" if i % 2 else f"bad {i}", "yn"[i % 2]) for i in range(1000)]
    joined = [("", f"{subject}\n{body}", label) for subject, body, label in mails]
    path, other = write(tmp_path / "mails.csv", mails), write(tmp_path / "joined.csv", joined)
    how: dict[str, Any] = {"preset": "fast", "epochs": 2, "stream": True}
    result = token2wave.train(path, text="subject,body", **how)
    assert result.classifier.fingerprint == token2wave.train(other, text="body", **how).classifier.fingerprint
