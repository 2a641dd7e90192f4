"""Data of every kind gives the model of the CSV file of the same rows, byte for byte."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections import namedtuple
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import token2wave
from token2wave.data import TextDataset, TextSplit
from token2wave.errors import DataError, InputError

pytestmark = pytest.mark.usefixtures("plain_training")
TINY: dict[str, Any] = {
    "preset": "fast",
    "epochs": 1,
    "baseline": False,
    "settings": {"network.width": 8, "network.context_width": 8, "features.bits": 12},
}
WORDS = ["lovely film", 'awful; "film"', "Ünïcode 😀,\nfilm", ""]
TEXTS = [f"{WORDS[i % 4]}{f' {i % 7}' if i % 4 < 3 else ''}" for i in range(48)]
LABELS: dict[str, list[Any]] = {
    "strings": ["good", "bad", "bad", "größe 1"] * 12,
    "integers": [1, 0, 0, 12] * 12,
    "floats": [1.0, 0.5, 0.5, -2.0] * 12,
    "booleans": [True, False, False, True] * 12,
}
Row = namedtuple("Row", ["text", "label"])


class HubTable:
    """As much of a ``datasets.Dataset`` as is used: columns by name, and the types of columns."""

    def __init__(self, **columns: Sequence[Any]) -> None:
        self.column_names, self.columns = list(columns), columns
        self.features: dict[str, Any] = dict.fromkeys(columns)

    def __getitem__(self, name: str) -> Any:
        return iter(self.columns[name])


def _frame(texts: list[str], labels: list[Any]) -> pd.DataFrame:
    return pd.DataFrame({"text": texts, "label": labels})


def _dictionary_encoded(texts: list[str], labels: list[Any]) -> pa.Table:
    halves = [pa.array(half).dictionary_encode() for half in (labels[:20], labels[20:])]
    column = pa.chunked_array([half.cast(pa.dictionary(pa.int8(), half.type.value_type)) for half in halves])
    return pa.table({"label": column, "text": pa.array(texts, pa.large_string())})


def _polars(texts: list[str], labels: list[Any], lazy: bool = False) -> Any:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"text": texts, "label": labels}, strict=False)
    return frame.lazy() if lazy else frame


def _hugging_face(texts: list[str], labels: list[Any]) -> Any:
    return pytest.importorskip("datasets").Dataset.from_dict({"text": texts, "label": labels})


OBJECTS: dict[str, Callable[[list[str], list[Any]], Any]] = {
    "tuple of lists": lambda texts, labels: (texts, labels),
    "tuple of Series": lambda texts, labels: (pd.Series(texts), pd.Series(labels)),
    "pairs": lambda texts, labels: list(zip(texts, labels, strict=True)),
    "generator of pairs": lambda texts, labels: zip(texts, labels, strict=True),
    "lists of two": lambda texts, labels: [list(pair) for pair in zip(texts, labels, strict=True)],
    "dictionaries": lambda texts, labels: [
        {"id": 1, "text": text, "label": label} for text, label in zip(texts, labels, strict=True)
    ],
    "generator of dictionaries": lambda texts, labels: (
        {"text": text, "label": label} for text, label in zip(texts, labels, strict=True)
    ),
    "named tuples": lambda texts, labels: list(map(Row, texts, labels)),
    "dictionary of columns": lambda texts, labels: {"text": tuple(texts), "label": np.array(labels)},
    "array of records": lambda texts, labels: _frame(texts, labels).to_records(index=False),
    "frame": lambda texts, labels: _frame(texts, labels).assign(more=1).set_index("more"),
    "frame of objects": lambda texts, labels: _frame(texts, labels).astype(object),
    "frame of categories": lambda texts, labels: _frame(texts, labels).astype({"label": "category"}),
    "frame with missing values elsewhere": lambda texts, labels: _frame(texts, labels).assign(more=pd.NA),
    "Arrow-backed frame": lambda texts, labels: _frame(texts, labels).convert_dtypes(dtype_backend="pyarrow"),
    "nullable frame": lambda texts, labels: _frame(texts, labels).convert_dtypes(),
    "Arrow table": lambda texts, labels: pa.table({"text": texts, "label": labels}),
    "Arrow batch": lambda texts, labels: pa.record_batch({"text": texts, "label": labels}),
    "Arrow table of chunks": _dictionary_encoded,
    "Arrow reader": lambda texts, labels: pa.table({"text": texts, "label": labels}).to_reader(),
    "polars": _polars,
    "lazy polars": lambda texts, labels: _polars(texts, labels, lazy=True),
    "Hugging Face": _hugging_face,
    "as Hugging Face": lambda texts, labels: HubTable(text=texts, label=labels),
    "dictionary of splits": lambda texts, labels: {"train": _frame(texts, labels)},
    "TextSplit": lambda texts, labels: TextSplit(texts, labels, "mine"),
    "TextDataset": lambda texts, labels: TextDataset("mine", TextSplit(texts, labels, "mine")),
}


def _model(folder: Path, *data: Any, **options: Any) -> bytes:
    path = folder / "model.safetensors"
    token2wave.train(*data, out=path, **TINY, **options)
    return path.read_bytes()


def _write_csv(path: Path, *columns: Sequence[Any], names: Sequence[str] = ("text", "label")) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows([names, *zip(*columns, strict=True)])
    return path


@pytest.fixture(scope="module", params=LABELS)
def rows(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Any], bytes]:
    """Labels of some type, and the model of the CSV file."""
    labels, folder = LABELS[request.param], tmp_path_factory.mktemp("rows")
    return labels, _model(folder, _write_csv(folder / "rows.csv", TEXTS, labels))


@pytest.mark.parametrize("row_factory", [None, sqlite3.Row], ids=["tuples", "rows"])
@pytest.mark.parametrize("columns", ["text, label", "label, text", "*"])
def test_a_cursor_gives_the_model_of_the_csv(columns: str, row_factory: Any, tmp_path: Path) -> None:
    """By the names of its columns, whatever their number and order."""
    labels = LABELS["strings"]
    database = sqlite3.connect(":memory:")
    database.row_factory = row_factory
    database.execute("create table ticket (id integer primary key, label, text)")
    database.executemany("insert into ticket (text, label) values (?, ?)", zip(TEXTS, labels, strict=True))
    expected = _model(tmp_path, _write_csv(tmp_path / "rows.csv", TEXTS, labels))
    assert _model(tmp_path, database.execute(f"select {columns} from ticket order by id")) == expected
    database.close()


@pytest.mark.parametrize("name", OBJECTS)
def test_every_object_gives_the_model_of_the_csv(
    rows: tuple[list[Any], bytes], name: str, tmp_path: Path
) -> None:
    labels, expected = rows
    assert _model(tmp_path, OBJECTS[name](TEXTS, labels)) == expected


def test_weights_and_groups_are_columns_of_frames(tmp_path: Path) -> None:
    weights, groups = [i % 3 for i in range(48)], [f"film {i // 4}" for i in range(48)]
    labels, names = LABELS["strings"], ("body", "mood", "weight", "film")
    options = {"text": "body", "label": "mood", "weight_column": "weight", "group_column": "film"}
    columns = dict(zip(names, (TEXTS, labels, weights, groups), strict=True))
    path = _write_csv(tmp_path / "rows.csv", *columns.values(), names=names)
    expected = _model(tmp_path, path, **options)
    records = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    for data in (pd.DataFrame(columns), pa.table(columns), columns, iter(records)):
        assert _model(tmp_path, data, **options) == expected
    for positional in ((TEXTS, labels), TextSplit(TEXTS, labels, "mine")):
        with pytest.raises(DataError, match="no columns of weights or groups; give a frame"):
            _model(tmp_path, positional, **options)


def test_several_labels(tmp_path: Path) -> None:
    sets = [["good", "new"], ["bad"], [], ["new"]] * 12
    rows = list(zip(TEXTS, sets, strict=True))
    lines = tmp_path / "rows.jsonl"
    lines.write_text("\n".join(json.dumps({"text": text, "label": labels}) for text, labels in rows))
    expected = _model(tmp_path, lines)
    arrays = pd.Series([np.array(labels, dtype=object) for labels in sets])
    for labels in (sets, arrays, map(tuple, sets), map(set, sets), pa.array(sets)):
        assert _model(tmp_path, TEXTS, labels) == expected
    assert _model(tmp_path, _frame(TEXTS, sets)) == _model(tmp_path, rows) == expected
    joined = ["|".join(labels) for labels in sets]
    expected = _model(tmp_path, _write_csv(tmp_path / "rows.csv", TEXTS, joined), label_separator="|")
    assert _model(tmp_path, TEXTS, joined, label_separator="|") == expected
    assert _model(tmp_path, _frame(TEXTS, sets), label_separator="|") == expected


@pytest.mark.parametrize("names", [["größe 1", "good", "bad"], ["2", "0", "1"]])
def test_names_of_a_class_label(names: list[str]) -> None:
    indices = [[1, 2, 2, 0][i % 4] for i in range(48)]
    table = HubTable(text=TEXTS, label=indices)
    table.features["label"] = SimpleNamespace(names=names)
    classifier = token2wave.train({"train": table, "validation": table, "unsupervised": 3}, **TINY).classifier
    assert classifier.label_names == tuple(names)
    expected = token2wave.evaluate(classifier, TEXTS, [names[i] for i in indices]).evaluation
    assert token2wave.evaluate(classifier, table).evaluation == expected
    assert [score.support for score in expected.classes] == [12, 12, 24]


@pytest.mark.parametrize("split", ["test", "validation"])
def test_other_splits_are_data_of_every_kind(tmp_path: Path, split: str) -> None:
    labels = LABELS["strings"]
    train, other = (_write_csv(tmp_path / f"{name}.csv", TEXTS, labels) for name in ("a", "b"))
    expected = _model(tmp_path, train, **{split: other})
    for data in (_frame(TEXTS, labels), (TEXTS, labels), zip(TEXTS, labels, strict=True)):
        assert _model(tmp_path, train, **{split: data}) == expected
    assert _model(tmp_path, TEXTS, labels, **{split: other}) == expected
    splits = {"train": _frame(TEXTS, labels), split: _frame(TEXTS, labels)}
    assert _model(tmp_path, splits) == expected
    (tmp_path / "folder").mkdir()
    _write_csv(tmp_path / "folder" / "train.csv", TEXTS, labels)
    _write_csv(tmp_path / "folder" / f"{split}.csv", TEXTS[:8], labels[:8])
    assert _model(tmp_path, tmp_path / "folder", **{split: other}) == expected


def test_two_columns_of_other_names_are_recognised(tmp_path: Path) -> None:
    labels = LABELS["strings"]
    expected = _model(tmp_path, TEXTS, labels)
    assert _model(tmp_path, pd.DataFrame({"mood": labels, "review": TEXTS})) == expected
    assert _model(tmp_path, pd.DataFrame(zip(TEXTS, labels, strict=True))) == expected


def test_short_names_of_columns(tmp_path: Path) -> None:
    frame = _frame(TEXTS, LABELS["strings"]).rename(columns={"text": "body"}).assign(more=1)
    assert _model(tmp_path, frame, text="body") == _model(tmp_path, frame, text_column="body")
    with pytest.raises(TypeError, match="train\\(\\) got both 'text' and 'text_column'"):
        token2wave.train(frame, text="body", text_column="body")
    with pytest.raises(InputError, match=r"labels: expected labels, found one string; .*label='label'"):
        token2wave.train(frame, "label")


def test_exchanged_columns_name_the_cure() -> None:
    texts = [f"lamp {i}" for i in range(80)]
    with pytest.raises(DataError, match=r"expected labels that repeat.*exchanged"):
        token2wave.train(list(zip(["good", "bad"] * 40, texts, strict=True)), **TINY)


def test_evaluate_predict_and_update_take_the_same(tmp_path: Path) -> None:
    labels = LABELS["strings"]
    classifier = token2wave.train(TEXTS, labels, **TINY).classifier
    path, frame = _write_csv(tmp_path / "rows.csv", TEXTS, labels), _frame(TEXTS, labels)
    expected = token2wave.evaluate(classifier, path).evaluation

    def update(*data: Any) -> bytes:
        token2wave.update(classifier, *data, epochs=1).save(tmp_path / "updated")
        return (tmp_path / "updated").read_bytes()

    updated = update(path)
    records = frame.to_dict("records")
    for data in ((TEXTS, labels), frame, pa.table(frame), records, iter(records), {"test": frame}):
        assert token2wave.evaluate(classifier, data).evaluation == expected
    for data in (path, (TEXTS, labels), frame, iter(records), {"test": frame}):
        assert classifier.evaluate(data) == expected
    for data in ((TEXTS, labels), frame, pa.table(frame), records, iter(records), {"train": frame}):
        assert update(data) == updated
    assert token2wave.evaluate(classifier, TEXTS, labels).evaluation == expected
    assert update(TEXTS, labels) == updated
    predictions = classifier.predict_batch(TEXTS)
    for texts in (frame, frame["text"], pa.table(frame), records, iter(records), {"text": TEXTS}):
        assert classifier.predict_batch(texts) == predictions
