"""Texts with several labels, or none: every format, what is recognised, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from token2wave.data import (
    DataOptions,
    TextDataset,
    TextSplit,
    encode_label_sets,
    label_names_of,
    load_split,
    load_splits,
    read_labelled,
    strata,
    validation_split,
)
from token2wave.errors import DataError

TEXTS = ["x y", "z", "", "x"]
SETS = [("a", "b"), ("b",), (), ("c d", "a")]
NAMES = ("a", "b", "c d")


def write(path: Path, sets: list[tuple[str, ...]] = SETS, texts: list[str] = TEXTS) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"text": texts, "label": [list(labels) for labels in sets]}), path)
    elif path.suffix == ".jsonl":
        rows = zip(texts, sets, strict=True)
        path.write_text("".join(json.dumps({"text": text, "label": labels}) + "\n" for text, labels in rows))
    elif path.suffix in (".csv", ".tsv"):
        between = "," if path.suffix == ".csv" else "\t"
        lines = [f"{text}{between}{'|'.join(labels)}" for text, labels in zip(texts, sets, strict=True)]
        path.write_text("\n".join([f"text{between}label", *lines]) + "\n")
    else:
        sets = [tuple(label.replace(" ", "-") for label in labels) for labels in sets]
        lines = ["".join(f"__label__{label} " for label in labels) + text
                 for text, labels in zip(texts, sets, strict=True)]  # fmt: skip
        path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl"])
def test_lists_are_recognised(tmp_path: Path, name: str) -> None:
    found = read_labelled(write(tmp_path / name))
    assert found.multi_label
    assert found.label_sets == SETS
    assert found.texts == TEXTS


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_columns_of_one_string(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    assert read_labelled(path, DataOptions(label_separator="|")).label_sets == SETS
    assert read_labelled(path, DataOptions(label_separator="|", multi_label=True)).label_sets == SETS
    with pytest.raises(DataError, match=r"expected a separator .* --label-separator '\|'"):
        read_labelled(path, DataOptions(multi_label=True))
    with pytest.raises(DataError, match=r"row 3.*the label is empty"):
        read_labelled(path)  # one label each
    path.write_text(path.read_text().replace("a|b", " a | b |a"))
    assert read_labelled(path, DataOptions(label_separator="|")).label_sets == SETS
    path.write_text(path.read_text().replace(" a | b |a", "a||b"))
    with pytest.raises(DataError, match=r"row 1 .*the label is empty"):
        read_labelled(path, DataOptions(label_separator="|"))


def test_lines_of_fasttext(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", [SETS[0], SETS[1], ("c",), ("c", "a")], ["x y", "z", "x", "x"])
    found = read_labelled(path)
    assert found.label_sets == [("a", "b"), ("b",), ("c",), ("c", "a")]
    assert found.texts == ["x y", "z", "x", "x"]
    assert (
        read_labelled(path, DataOptions(label_separator="|")).label_sets == found.label_sets
    )  # plays no part
    path.write_text(path.read_text() + "no label\n")
    with pytest.raises(DataError, match=r"row 5: expected a line .*--multi-label"):
        read_labelled(path)
    assert read_labelled(path, DataOptions(multi_label=True)).label_sets[-1] == ()
    path.write_text("__label__a x\n__label__b y\n")
    assert not read_labelled(path).multi_label
    assert read_labelled(path, DataOptions(multi_label=True)).label_sets == [("a",), ("b",)]


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.txt"])
def test_one_label_each_was_asked_for(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, [("a", "b"), ("b",)], ["x", "y"])
    with pytest.raises(DataError, match="expected one label for each text, found several"):
        read_labelled(path, DataOptions(multi_label=False))


def test_names_and_numbers_in_lists(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["x", "y"], "label": [[0, 2], [1]]}), path)
    assert read_labelled(path, label_names=["no", "yes", "maybe"]).label_sets == [("no", "maybe"), ("yes",)]
    assert read_labelled(path).label_sets == [("0", "2"), ("1",)]
    with pytest.raises(DataError, match="row 1, column 'label': expected a label from 0 to 1"):
        read_labelled(path, label_names=["no", "yes"])
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "x", "label": ["a"]}\n{"text": "y", "label": ["a", null]}\n')
    with pytest.raises(DataError, match="row 2, column 'label': the label is missing"):
        read_labelled(path)
    path.write_text('{"text": "x", "label": ["a", "b"]}\n{"text": "y", "label": "b"}\n')
    assert read_labelled(path).label_sets == [("a", "b"), ("b",)]


def test_splits_agree(tmp_path: Path) -> None:
    """Where one split has lists, all texts may have several labels."""
    write(tmp_path / "train.jsonl")
    (tmp_path / "test.txt").write_text("__label__a x\nno label\n")
    splits = load_splits(tmp_path)
    assert splits.multi_label
    assert splits.test is not None
    assert splits.test.label_sets == [("a",), ()]
    (tmp_path / "train.jsonl").write_text('{"text": "x", "label": "a"}\n{"text": "y", "label": "b"}\n')
    (tmp_path / "test.txt").write_text("__label__a __label__b x\n")
    splits = load_splits(tmp_path)
    assert splits.train.labels == [("a",), ("b",)]
    write(tmp_path / "only.csv")
    assert load_split(tmp_path / "only.csv", options=DataOptions(label_separator="|")).label_sets == SETS
    assert load_splits(
        tmp_path / "only.csv", DataOptions(label_separator="|"), test=tmp_path / "only.csv"
    ).multi_label


def test_encoded() -> None:
    texts = TextSplit(TEXTS, SETS, "here")
    assert label_names_of(texts) == NAMES
    expected = [[1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 0, 1]]
    assert encode_label_sets(texts, NAMES).tolist() == [[bool(x) for x in row] for row in expected]
    with pytest.raises(DataError, match="here, row 4: the label 'c d' is not one of the classes"):
        encode_label_sets(texts, ("a", "b"))
    with pytest.raises(DataError, match="here, row 4: the label 'c d' is not one of the label names"):
        label_names_of(texts, ("a", "b"))
    with pytest.raises(DataError, match="there is no label but 'a'"):
        label_names_of(TextSplit(["x", "y"], [("a",), ()], "here"))
    with pytest.raises(DataError, match="no row has a label"):
        label_names_of(TextSplit(["x", "y"], [(), ()], "here"))
    single = TextSplit(["x", "y"], ["a", "b"], "here")
    assert not single.multi_label
    assert single.as_multi_label().labels == [("a",), ("b",)]
    assert TextDataset("d", single, texts, None, None, ()).multi_label


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=60), st.integers(0, 9))
def test_a_text_counts_as_of_its_rarest_class(rows: list[list[bool]], seed: int) -> None:
    classes = np.array(rows, dtype=bool)
    found = strata(classes)
    support = classes.sum(axis=0)
    for row, layer in zip(rows, found.tolist(), strict=True):
        if layer == 4:
            assert not any(row)
        else:
            assert row[layer]
            assert support[layer] == min(support[k] for k in range(4) if row[k])
    train, held_out = validation_split(found, 0.25, seed)
    assert sorted([*train, *held_out]) == list(range(len(rows)))
    rarest = int(np.where(support > 0, support, len(rows) + 1).argmin())
    if support[rarest] >= 4:  # the rarest class is split in proportion
        share = classes[held_out, rarest].sum() / support[rarest]
        assert abs(share - 0.25) <= 1 / support[rarest]
