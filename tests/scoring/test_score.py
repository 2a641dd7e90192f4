"""Scoring writes every row once, with the predictions of the classifier, in all formats."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import math
import sys
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from pyarrow import parquet
from scoring_data import content, crawl, output_rows, rejects, texts_and_labels, write_jsonl, write_parquet

import token2wave
from token2wave.data import formats
from token2wave.errors import ConfigError, DataError, MissingExtraError, OutputError, Token2WaveError
from token2wave.scoring import input_schema, output_formats
from token2wave.scoring.journal import JOURNAL

ROWS = crawl(500)


def write_input(folder: Path, suffix: str) -> Path:
    path = folder / f"crawl{suffix}"
    if suffix == ".parquet":
        return write_parquet(path, ROWS, row_group_size=100)
    if suffix.startswith(".jsonl"):
        return write_jsonl(path, ROWS)
    with gzip.open(path, "wt", newline="") if suffix.endswith(".gz") else path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(ROWS[0]))
        writer.writeheader()
        writer.writerows(ROWS)
    return path


def predicted(model: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    predictions = token2wave.load(model).predict_batch([row["text"] for row in rows])
    return [{"label": p.label, "confidence": p.probability, "known": p.known} for p in predictions]


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".jsonl.gz", ".csv", ".csv.gz"])
def test_every_format(score_here: Any, model: Path, tmp_path: Path, suffix: str, format: str) -> None:
    path = write_input(tmp_path, suffix)
    summary = score_here(model, path, tmp_path / "out", format=format, part_size=8000)
    rows = ROWS
    if "csv" in suffix:
        rows = [{k: "" if v is None else str(v) for k, v in row.items()} for row in ROWS]
    assert output_rows(tmp_path / "out") == [
        {**row, **added} for row, added in zip(rows, predicted(model, ROWS), strict=True)
    ]
    assert (summary.n_read, summary.n_written, summary.n_filtered, summary.n_rejected) == (500, 500, 0, 0)
    assert summary.n_parts > 1 if suffix in (".parquet", ".jsonl") else summary.n_parts == 1
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == summary.to_dict()


def test_large_files_that_cannot_be_divided_give_several_parts(
    score_here: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("token2wave.scoring.segment_scorer.ROWS_CHUNK", 50)
    path = write_input(tmp_path, ".jsonl.gz")
    assert score_here(model, path, tmp_path / "out", part_size=2000).n_parts == 10
    assert [row["id"] for row in output_rows(tmp_path / "out")] == list(range(500))
    big = write_parquet(tmp_path / "big.parquet", ROWS, row_group_size=500)
    assert score_here(model, big, tmp_path / "out2", part_size=2000).n_parts > 3
    assert output_rows(tmp_path / "out2") == output_rows(tmp_path / "out")


def test_plain_texts_and_fasttext(score_here: Any, model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("buy pills\n\nmuseum history\n")
    with bz2.open(tmp_path / "b.txt.bz2", "wt") as file:
        file.write("__label__spam buy pills\n")
    score_here(model, tmp_path / "a.txt", tmp_path / "out", format="jsonl")
    assert [row["text"] for row in output_rows(tmp_path / "out")] == ["buy pills", "", "museum history"]
    with pytest.raises(DataError, match=r"has a column 'label'.*--prefix.*--columns"):
        score_here(model, tmp_path / "b.txt.bz2", tmp_path / "out2")
    score_here(model, tmp_path / "b.txt.bz2", tmp_path / "out3", columns=["text"])
    assert output_rows(tmp_path / "out3")[0]["text"] == "buy pills"
    score_here(model, tmp_path / "b.txt.bz2", tmp_path / "out4", prefix="p_")
    assert output_rows(tmp_path / "out4")[0].keys() == {"text", "label", "p_label", "p_confidence", "p_known"}


def test_processes_write_the_same_bytes(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, score_here: Any
) -> None:
    path = write_input(tmp_path, ".jsonl")
    settings = {"keep": "label != 'spam' and views > 100", "columns": ["id", "views"], "part_size": 20_000}
    serial = score_here(model, path, tmp_path / "serial", **settings)
    monkeypatch.undo()
    parallel = token2wave.score(model, path, tmp_path / "parallel", workers=2, **settings)
    same = {"summary.json": b""}
    assert content(tmp_path / "serial") | same == content(tmp_path / "parallel") | same
    assert {**serial.to_dict(), "output": ""} == {**parallel.to_dict(), "output": ""}
    assert serial.n_written > 0 < serial.n_filtered


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
@pytest.mark.parametrize(
    "options", [{}, {"columns": []}, {"columns": ["id"], "keep": "label != 'spam'", "top_k": 2}]
)
def test_the_output_is_the_same_without_msgspec(
    score_here: Any,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    format: str,
    options: dict[str, Any],
) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", ROWS * 3)  # the first thousand tell the columns
    odd = [
        '{"id": 1e-7, "text": "a\\ud800", "url": NaN}',
        '{"id": 7, "text": "é", "label": "here"}',
        "{",
        "[1]",
    ]
    odd += [
        '{"id": 1.0, "text": "b", "ratio": 3}',
        '{"id": 18446744073709551616, "text": "c", "later": [1e-9]}',
    ]
    with path.open("a") as file:
        file.write("\n".join(odd))
    contents = []
    for name in ("with", "without"):
        summary = score_here(model, path, tmp_path / name, format=format, **options)
        assert summary.n_written > 300
        assert summary.n_rejected >= 2
        contents.append(content(tmp_path / name) | {"summary.json": b""})
        monkeypatch.setattr(formats, "fast_object_decoder", lambda: None)
        monkeypatch.setattr(output_formats, "fast_object_encoder", lambda: None)
    assert contents[0] == contents[1]


VALUES = st.one_of(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**54), 2**54)
    | st.floats()
    | st.text(max_size=3),
    st.sampled_from(["\ud800", 2**63, 2**64, 1.0, 1.5, -0.0, math.nan]),
    st.lists(st.none() | st.integers() | st.floats() | st.booleans(), max_size=2),
    st.dictionaries(st.sampled_from("ab"), st.none() | st.integers() | st.text(max_size=1), max_size=2),
)
TYPES = st.sampled_from(
    [
        *(pyarrow.string(), pyarrow.large_string(), pyarrow.int64(), pyarrow.int8(), pyarrow.uint64()),
        *(pyarrow.float64(), pyarrow.float32(), pyarrow.bool_(), pyarrow.date32(), pyarrow.timestamp("s")),
        *(pyarrow.list_(pyarrow.int64()), pyarrow.list_(pyarrow.float64()), pyarrow.list_(pyarrow.bool_())),
        pyarrow.struct({"a": pyarrow.int64(), "b": pyarrow.string()}),
    ]
)


@limits(max_examples=500, print_blob=True, deadline=None)
@given(st.lists(VALUES, max_size=4) | VALUES.map(lambda value: [value] * 2), TYPES)
def test_values_fit_a_column_if_each_fits_alone(values: list[Any], dtype: Any) -> None:
    fits = [input_schema._fits(value, dtype) for value in values]
    mismatches: dict[int, str] = {}
    array = input_schema._to_array(list(values), pyarrow.field("x", dtype), mismatches)
    assert sorted(mismatches) == [index for index, is_good in enumerate(fits) if not is_good]
    alone = [pyarrow.array([v if good else None], dtype) for v, good in zip(values, fits, strict=True)]
    assert repr(array.to_pylist()) == repr([item.to_pylist()[0] for item in alone])


# ---- filters and columns ----


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_filters_read_columns_that_are_not_in_the_output(
    score_here: Any, model: Path, tmp_path: Path, suffix: str, format: str
) -> None:
    path = write_input(tmp_path, suffix)
    text = "(label == 'good' or probability['spam'] > 0.5) and views >= 300 and 'a' in tags and ratio < 0.9"
    summary = score_here(model, path, tmp_path / "out", keep=text, columns=["url"], format=format)
    classifier = token2wave.load(model)
    probabilities = classifier.probabilities([row["text"] for row in ROWS]).tolist()
    spam = classifier.label_names.index("spam")
    expected = [
        {"url": row["url"], **added}
        for row, added, p in zip(ROWS, predicted(model, ROWS), probabilities, strict=True)
        if (added["label"] == "good" or p[spam] > 0.5)
        and (row["views"] or 0) >= 300
        and "a" in row["tags"]
        and row["ratio"] < 0.9
    ]
    assert expected
    assert output_rows(tmp_path / "out") == expected
    assert summary.n_filtered == 500 - len(expected)
    assert summary.n_read == 500


def test_novelty_is_added_if_the_filter_reads_it(score_here: Any, model: Path, tmp_path: Path) -> None:
    path = write_input(tmp_path, ".parquet")
    score_here(model, path, tmp_path / "out", keep="novelty < 0.9", top_k=2, probabilities=True)
    novelty = token2wave.load(model).novelty([row["text"] for row in ROWS])
    assert novelty is not None
    rows = output_rows(tmp_path / "out")
    assert [row["novelty"] for row in rows] == [value for value in novelty.tolist() if value < 0.9]
    assert all(row["top"][0] == {"label": row["label"], "probability": row["confidence"]} for row in rows)
    assert all(
        len(row["top"]) == 2 and row["probabilities"][row["label"]] == row["confidence"] for row in rows
    )


def test_a_filter_drops_texts_of_which_nothing_is_known(score_here: Any, model: Path, tmp_path: Path) -> None:
    texts = [ROWS[0]["text"], "", " \n", ROWS[1]["text"]]
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": text} for text in texts])
    for format in ("parquet", "jsonl"):
        score_here(model, path, tmp_path / f"known-{format}", keep="known", format=format)
        assert [row["text"] for row in output_rows(tmp_path / f"known-{format}")] == [texts[0], texts[3]]
        score_here(model, path, tmp_path / format, keep="known == false and confidence >= 0", format=format)
        assert [row["text"] for row in output_rows(tmp_path / format)] == texts[1:3]


def test_several_labels(score_here: Any, multi_label_model: Path, tmp_path: Path) -> None:
    path = write_input(tmp_path, ".jsonl")
    score_here(multi_label_model, path, tmp_path / "out", keep="'code' in labels", columns=["text"])
    classifier = token2wave.load(multi_label_model)
    labels = [list(p.labels) for p in classifier.predict_batch([row["text"] for row in ROWS])]
    assert [row["labels"] for row in output_rows(tmp_path / "out")] == [
        names for names in labels if "code" in names
    ]


@pytest.mark.parametrize(
    ("settings", "suffix", "message"),
    [
        ({"keep": "views > 'x'"}, ".jsonl", "expected two numbers or two texts"),
        ({"keep": "views > 10"}, ".csv", r"number\(...\) reads a text"),
        ({"keep": "nothing > 10"}, ".parquet", "there is no column 'nothing'"),
        ({"keep": "label == 'gut' and"}, ".parquet", "found the end"),
        ({"columns": ["nothing"]}, ".parquet", "there is no column 'nothing'"),
        ({"columns": ["nothing"]}, ".csv", "there is no column 'nothing'"),
        ({"text_column": "body"}, ".parquet", "there is no column 'body'.*'text'"),
        ({"text_column": "id"}, ".parquet", "expected strings"),
        ({"text_column": "body"}, ".jsonl", "there is no column 'body'"),
        ({"text_column": "body"}, ".csv", "there is no column 'body'"),
        ({"format": "xml"}, ".csv", "expected one of parquet, jsonl"),
        ({"engine": "spark"}, ".csv", "expected one of local, ray"),
        ({"workers": 0}, ".csv", "workers: expected at least one"),
        ({"part_size": "10"}, ".csv", "part_size: expected at least 1024 bytes"),
        ({"part_size": "large"}, ".csv", "part_size: expected a size"),
        ({"top_k": 0}, ".csv", "top_k: expected at least one"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_written(
    score_here: Any, model: Path, tmp_path: Path, settings: dict[str, Any], suffix: str, message: str
) -> None:
    path = write_input(tmp_path, suffix)
    with pytest.raises(Token2WaveError, match=message):
        score_here(model, path, tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


# ---- rows that cannot be used ----


def test_broken_rows_are_rejected_with_place_and_reason(score_here: Any, model: Path, tmp_path: Path) -> None:
    rows: list[Any] = [
        {"text": "buy pills", "n": 1},
        b"{broken",
        {"text": 7, "n": 1},
        {"n": 1},
        b'{"text": "\xff"}',
        {"text": "museum", "n": "seven"},
        {"text": "museum", "n": True},
        {"text": "museum", "n": 2**70},
        {"text": "museum", "later": "x"},
        {"text": "museum", "later": None},
        {"text": "museum", "n": None, "label": "good"},
        {"text": "last", "n": 3},
    ]
    # the first file decides the types
    a = write_jsonl(tmp_path / "a.jsonl", [{"text": "x", "n": i} for i in range(2000)])
    b = write_jsonl(tmp_path / "b.jsonl", rows[:1] * 2000 + rows)
    summary = score_here(model, [a, b], tmp_path / "out")
    rejected = rejects(tmp_path / "out")
    reasons = [reject["reason"] for reject in rejected]
    for expected in (
        "not valid JSON",
        "expected a text, found",
        "no column 'text'",
        "0xff",
        "'seven'",
        "'True'",
        str(2**70)[:10],
    ):
        assert any(expected in reason for reason in reasons), (expected, reasons)
    assert "the first rows have no column 'later'" in reasons
    assert any("'label', which predictions add" in reason for reason in reasons)
    assert summary.n_rejected == len(rejected) == 9
    assert summary.n_written == 4003
    assert summary.n_read == 4012
    lines = b.read_bytes()
    for reject in rejected:
        assert reject["path"] == str(b)
        assert lines[reject["at"] - 1 : reject["at"]] == b"\n"
    assert output_rows(tmp_path / "out")[-1]["n"] == 3


@pytest.mark.parametrize(
    ("typical", "fitting", "others"),
    [
        (1, [2, None, 2.0], [1.5, "1", True, 2**63, [1], {"a": 1}]),
        (0.5, [1, None, 2.0, math.nan], ["1", True, 2**60 + 1, [1]]),
        ("a", ["", None, "\0"], [1, True, ["a"], {"a": "a"}, "\ud800"]),
        (True, [False, None], [0, 1, "true"]),
        ([1, 2], [[], None, [3], [None]], [[1.5], ["a"], [True], 1, [[1]]]),
        ({"a": 1}, [{"a": 2}, {}, None, {"a": None}], [{"a": 1.5}, {"a": 1, "b": 2}, {"a": True}, 1, "a"]),
    ],
)
def test_a_value_is_unchanged_or_its_row_is_rejected(
    score_here: Any, model: Path, tmp_path: Path, typical: Any, fitting: list[Any], others: list[Any]
) -> None:
    a = write_jsonl(tmp_path / "a.jsonl", [{"text": "x", "v": typical}] * 1100)
    b = write_jsonl(tmp_path / "b.jsonl", [{"text": "x", "v": typical}] * 1100)
    with b.open("a") as file:
        for value in [v for pair in zip_longest(fitting, others, fillvalue=typical) for v in pair]:
            file.write(json.dumps({"text": "x", "v": value}) + "\n")
    summary = score_here(model, [a, b], tmp_path / "out")
    assert summary.n_rejected == len(others), rejects(tmp_path / "out")
    output = [row["v"] for row in output_rows(tmp_path / "out")]
    assert len(output) == 2200 + max(len(others), len(fitting))
    rest = [value for value in output if value != typical]
    for value in fitting:
        expected = {"a": None} if value == {} else value
        assert any(v == expected or v is expected or v != v for v in rest), (value, rest)


@pytest.mark.parametrize(("typical", "other"), [(1, 1.5), (0.5, True), ("a", 1), ([1], [1.5])])
def test_many_values_that_do_not_fit(
    score_here: Any, model: Path, tmp_path: Path, typical: Any, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("token2wave.scoring.segment_scorer.ROWS_CHUNK", 50)
    values = [typical] * 1500 + [other] * 100
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": "x", "v": value} for value in values])
    assert score_here(model, path, tmp_path / "out").n_rejected == 100
    assert all(row["v"] == typical for row in output_rows(tmp_path / "out"))


def test_places_of_rejects_are_right_after_a_filter(score_here: Any, model: Path, tmp_path: Path) -> None:
    rows: list[Any] = [{"text": "x", "n": i, "k": i} for i in range(2000)]
    rows[1501]["n"] = "odd"
    path = write_jsonl(tmp_path / "a.jsonl.gz", rows)
    score_here(model, path, tmp_path / "out", keep="k >= 1500")
    assert [reject["at"] for reject in rejects(tmp_path / "out")] == [1502]


def test_json_lines_hold_any_json(score_here: Any, model: Path, tmp_path: Path) -> None:
    rows: list[Any] = [
        {"text": "a", "n": 1},
        {"text": "b", "n": "x", "more": {"deep": [1, None]}},
        b'{"text": "c", "n": NaN, "s": "\\ud800"}',
        b'{"text": "d", "deep": ' + b"[" * 3000 + b"]" * 3000 + b"}",
        {"text": "e", "label": "mine"},
    ]
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    with pytest.raises(DataError, match="has a column 'label'"):
        score_here(model, path, tmp_path / "out", format="jsonl")
    path = write_jsonl(tmp_path / "a.jsonl", rows[:4])
    summary = score_here(model, path, tmp_path / "out", format="jsonl")
    assert summary.n_read == 4
    output = output_rows(tmp_path / "out")
    assert [row["text"] for row in output[:3]] == ["a", "b", "c"]
    assert output[1]["more"] == {"deep": [1, None]}
    assert (output[2]["n"], output[2]["s"]) == (None, "\ud800")
    assert summary.n_written + summary.n_rejected == 4


def test_values_of_parquet_in_json_lines(score_here: Any, model: Path, tmp_path: Path) -> None:
    rows = [{"text": "a", "d": date(2024, 1, 2), "p": Decimal("1.5"), "b": b"\xff", "f": math.nan}]
    path = write_parquet(tmp_path / "a.parquet", rows)
    score_here(model, path, tmp_path / "out", format="jsonl", columns=["d", "p", "b", "f"])
    (row,) = output_rows(tmp_path / "out")
    assert [row[name] for name in "dpbf"] == ["2024-01-02", "1.5", "/w==", None]


def test_parquet_files_that_differ(score_here: Any, model: Path, tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", [{"text": "a", "n": 1}])
    parquet.write_table(
        pyarrow.table({"n": pyarrow.array([2.5]), "text": ["b"], "more": ["x"]}), tmp_path / "b.parquet"
    )
    with pytest.raises(OutputError, match="a folder apart from the inputs"):  # it could not be resumed
        score_here(model, tmp_path, tmp_path / "out", columns=["n", "more"])
    score_here(model, tmp_path / "*.parquet", tmp_path / "out", columns=["n", "more"])
    rows = output_rows(tmp_path / "out")
    assert [(row["n"], row["more"]) for row in rows] == [(1.0, None), (2.5, "x")]
    parquet.write_table(pyarrow.table({"text": ["c"], "n": ["three"]}), tmp_path / "c.parquet")
    with pytest.raises(DataError, match=r"c\.parquet: the columns do not fit"):
        score_here(model, tmp_path / "*.parquet", tmp_path / "out2")


def test_damaged_files(score_here: Any, model: Path, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl.gz", crawl(20_000))
    path.write_bytes(path.read_bytes()[:-2000])
    summary = score_here(model, path, tmp_path / "out")
    (reject,) = rejects(tmp_path / "out")
    assert "the gzip data ends too early" in reject["reason"]
    assert [row["id"] for row in output_rows(tmp_path / "out")] == list(range(summary.n_written))
    assert summary.n_rejected == 1
    assert 0 < summary.n_written < 20_000


def test_texts_never_become_paths(score_here: Any, model: Path, tmp_path: Path) -> None:
    tricks = ["../../escape", "/etc/passwd", "file:///etc/passwd", "a\0b", "parts/part-0"]
    rows = [{"text": trick, "path": trick, trick: trick} for trick in tricks]
    (tmp_path / "in").mkdir()
    path = write_jsonl(tmp_path / "in" / "a.jsonl", rows)
    existing = set(tmp_path.rglob("*"))
    score_here(model, path, tmp_path / "out", format="jsonl")
    new = set(tmp_path.rglob("*")) - existing
    assert all(file.is_relative_to(tmp_path / "out") for file in new)
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "parts",
        "rejected",
        "summary.json",
        "_job",
    }
    assert [row["path"] for row in output_rows(tmp_path / "out")] == tricks


def test_inputs_without_rows(score_here: Any, model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"")
    with pytest.raises(DataError, match="found only empty files"):
        score_here(model, tmp_path / "a.jsonl", tmp_path / "out")
    write_jsonl(tmp_path / "a.jsonl", [b"", b"nothing"])
    with pytest.raises(DataError, match=r"a\.jsonl, byte 1: none of the first rows.*not valid JSON"):
        score_here(model, tmp_path / "a.jsonl", tmp_path / "out")
    (tmp_path / "b.csv").write_text("text\n")
    with pytest.raises(DataError, match=r"b\.csv: none of the first rows can be used: there is none"):
        score_here(model, tmp_path / "b.csv", tmp_path / "out")
    write_jsonl(tmp_path / "b.jsonl", [{"text": "a"}])
    summary = score_here(model, tmp_path / "*.jsonl", tmp_path / "out", keep="label == null")
    assert (summary.n_read, summary.n_filtered, summary.n_rejected, summary.n_bytes) == (2, 1, 1, 0)


def test_json_lines_need_no_pyarrow(
    score_here: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_input(tmp_path, ".jsonl")
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
        monkeypatch.setitem(sys.modules, name, None)
    settings = {"keep": "label == 'good' and views > 3", "top_k": 2, "probabilities": True}
    assert score_here(model, path, tmp_path / "out", format="jsonl", **settings).n_written > 0
    with pytest.raises(MissingExtraError, match=r"writing Parquet.*pip install 'token2wave\[parquet\]'"):
        score_here(model, path, tmp_path / "out2")


# ---- resuming ----


def read_parts(folder: Path) -> dict[Path, tuple[bytes, int]]:
    """The content and the modification time of each output part, in order."""
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted((folder / "parts").iterdir())
    }


def changed_parts(folder: Path, previous: dict[Path, tuple[bytes, int]]) -> list[int]:
    """The numbers of the parts that were written again, with the same content."""
    current = read_parts(folder)
    assert {path: content for path, (content, _) in current.items()} == {
        path: content for path, (content, _) in previous.items()
    }
    return [number for number, path in enumerate(current) if current[path] != previous[path]]


def test_a_finished_job_does_nothing(score_here: Any, model: Path, tmp_path: Path) -> None:
    path, out = write_input(tmp_path, ".jsonl"), tmp_path / "out"
    settings = {"columns": ["id", "url"], "keep": "label != 'spam'", "top_k": 2}
    summary = score_here(model, path, out, part_size=10_000, **settings)
    files = read_parts(out)
    summary_again = score_here(model, path, out, part_size="10kB", **settings)
    assert changed_parts(out, files) == []
    assert summary_again.to_dict() == summary.to_dict()
    assert summary_again.texts_per_second is None


def change_text(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        change_text,
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(b""),
    ],
)
def test_a_damaged_part_is_written_again(
    score_here: Any, model: Path, tmp_path: Path, damage: Callable[[Path], Any]
) -> None:
    path, out = write_input(tmp_path, ".jsonl"), tmp_path / "out"
    score_here(model, path, out, part_size=10_000)
    files = read_parts(out)
    damage(list(files)[1])
    assert score_here(model, path, out, part_size=10_000).n_written == 500
    assert changed_parts(out, files) == [1]


def test_only_missing_parts_of_a_compressed_file_are_written_again(
    score_here: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("token2wave.scoring.segment_scorer.ROWS_CHUNK", 50)
    path, out = write_input(tmp_path, ".jsonl.gz"), tmp_path / "out"
    summary = score_here(model, path, out, part_size=2000)
    files = read_parts(out)
    for number in (3, 9):
        list(files)[number].unlink()
    assert score_here(model, path, out, part_size=2000).to_dict() == summary.to_dict()
    assert changed_parts(out, files) == [3, 9]


EMPTY_PART = {"segment": "x", "number": 0, "is_last": True, "size": 0, "files": []}
EMPTY_PART |= {"n_written": 0, "n_filtered": 0, "n_rejected": 0}


@pytest.mark.parametrize(
    "damage",
    [b"", b'{"torn": ', b"[1]\n", b'{"segment": 0, "number": 0}\n\xff\n', json.dumps(EMPTY_PART).encode()],
)
def test_parts_missing_in_a_damaged_journal_are_written_again(
    score_here: Any, model: Path, tmp_path: Path, damage: bytes
) -> None:
    path, out = write_input(tmp_path, ".jsonl"), tmp_path / "out"
    score_here(model, path, out, part_size=10_000)
    files, journal = read_parts(out), out / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:2]) + damage)
    for _ in range(2):
        assert score_here(model, path, out, part_size=10_000).n_written == 500
    assert changed_parts(out, files) == list(range(2, len(lines)))


def test_a_journal_that_names_other_files_is_not_trusted(
    score_here: Any, model: Path, tmp_path: Path
) -> None:
    path, out = write_input(tmp_path, ".jsonl"), tmp_path / "out"
    score_here(model, path, out)
    (file,), journal = read_parts(out), out / JOURNAL
    data = file.rename(tmp_path / "other.parquet").read_bytes()
    journal.write_text(journal.read_text().replace("parts/part-000000-0000.parquet", "../other.parquet"))
    score_here(model, path, out)
    assert file.read_bytes() == data


def test_another_job_is_refused(
    score_here: Any, model: Path, multi_label_model: Path, tmp_path: Path
) -> None:
    path = write_input(tmp_path, ".jsonl")
    out = tmp_path / "out"
    score_here(model, path, out, part_size=10_000)
    for settings, message in (
        ({"part_size": 20_000}, "part_bytes=10000, not 20000"),
        ({"part_size": 10_000, "keep": "label == 'good'"}, "keep=None, not"),
        ({"part_size": 10_000, "format": "jsonl"}, "format='parquet'"),
    ):
        with pytest.raises(ConfigError, match=rf"{message}.*with --output"):
            score_here(model, path, out, **settings)
    with pytest.raises(ConfigError, match=r"different (model_sha256|schema)"):
        score_here(multi_label_model, path, out, part_size=10_000)
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(ConfigError, match="different inputs"):
        score_here(model, path, out, part_size=10_000)


def test_folders_with_other_files_are_refused(score_here: Any, model: Path, tmp_path: Path) -> None:
    path = write_input(tmp_path, ".jsonl")
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "letters.txt").write_text("dear")
    with pytest.raises(OutputError, match="expected a new or empty folder"):
        score_here(model, path, tmp_path / "letters")
    with pytest.raises(OutputError):
        score_here(model, path, path)
    out = tmp_path / "out"
    score_here(model, path, out)
    (out / "_job" / "job.json").write_text("[")
    with pytest.raises(OutputError, match="cannot read the settings of the job"):
        score_here(model, path, out)


def test_unusual_texts(score_here: Any, model: Path, tmp_path: Path) -> None:
    texts, _ = texts_and_labels(50, seed=9)
    rows = [{"text": text} for text in [*texts, "", "\0", "a" * 100_000, "\u2028\r\n\t"]]
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    for format in ("parquet", "jsonl"):
        score_here(model, path, tmp_path / format, format=format)
        expected = [{**row, **added} for row, added in zip(rows, predicted(model, rows), strict=True)]
        assert output_rows(tmp_path / format) == expected
