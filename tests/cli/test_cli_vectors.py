"""``token2wave encode`` and ``token2wave explain --nearest``, inside this process."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import ROWS

import token2wave

TEXTS = [text for text, _ in ROWS]


def test_encode_to_npy(run_cli, model, train_csv):
    outcome = run_cli("encode", model, train_csv, "--output", "v.npy")
    assert (outcome.status, outcome.out) == (0, f"vectors: v.npy, {len(ROWS)} rows of 18 numbers\n")
    vectors = np.load("v.npy", allow_pickle=False)
    np.testing.assert_array_equal(vectors, token2wave.load(model).encode(TEXTS))
    assert vectors.dtype == np.float32
    assert vectors.flags.c_contiguous


def test_encode_to_parquet_keeps_the_columns(run_cli, model, workplace):
    parquet = pytest.importorskip("pyarrow.parquet")
    Path("rows.jsonl").write_text(
        '{"id": 7, "body": "a great film", "vector": "v", "odd": 1}\n'
        '{"id": 8, "body": "zebra", "vector": null, "odd": "\\ud800"}\n'
    )
    options = ["--text-column", "body", "--output", "v.parquet"]
    document = run_cli("encode", model, "rows.jsonl", *options, "--json").document
    assert document == {"output": "v.parquet", "rows": 2, "width": 18, "zero_rows": 1}
    table = parquet.read_table("v.parquet")
    assert table.column_names == ["id", "body", "vector", "odd", "text_vector"]
    assert str(table.schema.field("text_vector").type) == "fixed_size_list<element: float>[18]"
    rows = table.to_pylist()
    assert [(row["id"], row["body"], row["vector"]) for row in rows] == [
        (7, "a great film", "v"),
        (8, "zebra", None),
    ]
    assert [row["odd"] for row in rows] == ["1", "\\ud800"]
    expected = token2wave.load(model).encode(["a great film", "zebra"])
    np.testing.assert_array_equal(np.array([row["text_vector"] for row in rows], np.float32), expected)
    assert not expected[1].any()
    assert "1 are zero" in run_cli("encode", model, "rows.jsonl", *options, "--overwrite").out


def test_encode_replaces_nothing_unasked(run_cli, model, train_csv):
    np.save("v.npy", np.zeros((2, 2), np.float32))
    before = Path("v.npy").read_bytes()
    assert "--overwrite" in run_cli("encode", model, train_csv, "--output", "v.npy").error
    assert Path("v.npy").read_bytes() == before
    assert run_cli("encode", model, train_csv, "--output", "v.npy", "--overwrite").status == 0
    assert np.load("v.npy").shape == (len(ROWS), 18)
    assert "input" in run_cli("encode", model, train_csv, "--output", train_csv, "--overwrite").error
    assert ".npy or .parquet" in run_cli("encode", model, train_csv, "--output", "v.csv").error
    assert "nothing.csv" in run_cli("encode", model, "nothing.csv", "--output", "w.npy").error
    assert not Path("w.npy").exists()


def test_vectors_of_a_private_file_are_private(run_cli, model, train_csv):
    Path(train_csv).chmod(0o600)
    run_cli("encode", model, train_csv, "--output", "v.npy")
    assert os.stat("v.npy").st_mode & 0o077 == 0


def test_explain_with_the_nearest_rows(run_cli, model, train_csv):
    outcome = run_cli("explain", model, "great lovely film then", "--nearest", train_csv, "--n-nearest", "2")
    assert outcome.status == 0, outcome.err
    lines = [line.split() for line in outcome.out.splitlines() if line]
    assert lines[-3][:3] == ["row", "label", "similarity"]
    assert lines[-2] == ["1", "pos", "1.000", "great", "lovely", "film", "then"]
    arguments = ["--nearest", train_csv, "--id-column", "text", "--json"]
    documents = run_cli("explain", model, "great lovely film then", "", *arguments).document
    nearest, of_nothing = (document["nearest"] for document in documents)
    assert nearest[0] == {
        "row": 1, "id": TEXTS[0], "label": "pos", "similarity": 1.0, "text": TEXTS[0]
    }  # fmt: skip
    assert [entry["similarity"] for entry in nearest] == sorted(
        (e["similarity"] for e in nearest), reverse=True
    )
    expected = token2wave.load(model).nearest(["great lovely film then"], TEXTS)
    assert [entry["row"] - 1 for entry in nearest] == expected.rows[0].tolist()
    assert [(entry["row"], entry["similarity"]) for entry in of_nothing] == [(n, 0.0) for n in range(1, 6)]
    assert "nearest" not in run_cli("explain", model, "great", "--json").document[0]


def test_nearest_rows_of_wrong_files(run_cli, model, train_csv):
    assert "nothing.csv" in run_cli("explain", model, "great", "--nearest", "nothing.csv").error
    error = run_cli("explain", model, "great", "--nearest", train_csv, "--id-column", "number").error
    assert "--id-column: expected one of the columns 'text', 'label', found 'number'" in error
    error = run_cli("explain", model, "great", "--nearest", train_csv, "--label-column", "class").error
    assert "class" in error
