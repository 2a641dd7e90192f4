"""All columns of a source can be kept beside texts and labels, in every format."""

import datetime
import json

import pandas as pd
import pytest

from token2wave.data import DataOptions, load_split
from token2wave.errors import DataError

ROWS = [
    {"id": "a1", "text": "one, two", "label": "x", "when": "2024-01-02"},
    {"id": "b2", "text": "three", "label": "y", "when": None},
]


def write(path):
    if path.suffix == ".parquet":
        frame = pd.DataFrame(ROWS)
        frame["when"] = [datetime.date(2024, 1, 2), None]
        frame.to_parquet(path)
    elif path.suffix == ".jsonl":
        rows = [{name: value for name, value in row.items() if value is not None} for row in ROWS]
        path.write_text("\n".join(map(json.dumps, rows)))
    elif path.suffix == ".xlsx":
        pd.DataFrame(ROWS).fillna("").to_excel(path, index=False)
    elif path.suffix == ".txt":
        path.write_text("".join(f"__label__{row['label']} {row['text']}\n" for row in ROWS))
    else:
        pd.DataFrame(ROWS).to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet", ".xlsx"])
def test_files_keep_all_columns(tmp_path, suffix):
    write(path := tmp_path / f"rows{suffix}")
    table = load_split(path, with_table=True).table
    assert list(table.columns) == ["id", "text", "label", "when"]
    assert table.columns["id"] == ["a1", "b2"]
    assert [str(value or "") for value in table.columns["when"]] == ["2024-01-02", ""]
    assert (table.text_columns, table.label_column) == (("text",), "label")
    assert table.segment.path == str(path)
    assert load_split(path).table is None


def test_columns_of_joined_texts_stay_apart(tmp_path):
    write(path := tmp_path / "rows.jsonl")
    split = load_split(path, options=DataOptions("id,text"), with_table=True)
    assert split.texts[0] == "a1\none, two"
    assert list(split.table.columns) == ["id", "text", "label", "when"]


def test_lines_of_fasttext_have_texts_and_labels(tmp_path):
    write(path := tmp_path / "rows.txt")
    assert load_split(path, with_table=True).table.columns == {
        "text": ["one, two", "three"],
        "label": [["x"], ["y"]],
    }


def test_rows_left_out_are_left_out_of_all_columns(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("id,text,label\n1,a,x\n2,b,\n3,c,y\n4,d,y\n")
    split = load_split(path, options=DataOptions(skip_bad_rows=True), with_table=True)
    assert split.table.columns["id"] == ["1", "3", "4"]
    assert [split.row(i) for i in range(3)] == [1, 3, 4]


def test_rows_in_memory_keep_all_columns():
    table = load_split(pd.DataFrame(ROWS), with_table=True).table
    assert table.columns["id"] == ["a1", "b2"]
    assert table.segment is None
    pairs = load_split([("a", "x"), ("b", "y")], with_table=True).table
    assert pairs.columns == {"text": ["a", "b"], "label": ["x", "y"]}


def test_other_columns_may_hold_anything(tmp_path):
    """What no text or label needs never stops the reading."""
    times = pd.to_datetime(["2024-01-02T03:04:05.123456789", None])
    frame = pd.DataFrame({"text": ["a", "b"], "label": ["x", "y"], "when": times, "more": [{"k": 1}, None]})
    frame.to_parquet(tmp_path / "rows.parquet")
    columns = load_split(tmp_path / "rows.parquet", with_table=True).table.columns
    assert columns["when"][0].startswith("2024-01-02 03:04:05")
    assert columns["more"] == [{"k": 1}, None]
    frame.assign(when="#DIV/0!").to_excel(tmp_path / "rows.xlsx", index=False)
    assert load_split(tmp_path / "rows.xlsx", with_table=True).table.columns["when"] == [None, None]
    doubled = frame[["text", "label", "when", "when"]]
    assert list(load_split(doubled, with_table=True).table.columns) == ["text", "label"]
    records = [{"text": "a", "label": "x"}, {"text": "b", "label": "y", "id": 7}]
    assert load_split(records, with_table=True).table.columns["id"] == [None, 7]


def test_two_columns_of_labels_are_refused_with_a_table_too(tmp_path):
    (tmp_path / "rows.csv").write_text("text,label,label\na,x,y\nb,y,x\n")
    with pytest.raises(DataError, match="2 columns 'label'"):
        load_split(tmp_path / "rows.csv", with_table=True)
