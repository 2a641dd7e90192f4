"""The batch predictor: the same predictions as the classifier's, for every kind of batch, in any process."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow
import pytest
from scoring_data import crawl

import token2wave
from token2wave.errors import ConfigError, DataError, ModelFileError
from token2wave.scoring import batch_predictor as module
from token2wave.scoring.batch_predictor import BatchPredictor, arrow_fields, column_names

ROWS = crawl(40)
TEXTS = [row["text"] for row in ROWS]
ALL = {"top_k": 2, "probabilities": True, "novelty": True}


def expected(model: Path) -> dict[str, list[Any]]:
    """The columns, made of the classifier's own predictions."""
    classifier = token2wave.load(model)
    found = classifier.predict_batch(TEXTS, top_k=2, novelty=True)
    shares = classifier.probabilities(TEXTS).tolist()
    labels = {"labels": [list(one.labels) for one in found]}
    return {
        **(labels if classifier.multi_label else {"label": [one.label for one in found]}),
        "confidence": [one.probability for one in found],
        "novelty": [one.novelty for one in found],
        "top": [[{"label": name, "probability": share} for name, share in one.top] for one in found],
        "probabilities": [dict(zip(classifier.label_names, row, strict=True)) for row in shares],
    }


@pytest.fixture(params=["model", "several"])
def either(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


def test_every_kind_of_batch(either: Path) -> None:
    predictor = BatchPredictor(either, **ALL)
    wanted = expected(either)
    table = pyarrow.Table.from_pylist(ROWS)
    found = predictor(table)
    assert isinstance(found, pyarrow.Table)
    assert found.select(table.column_names).equals(table)
    assert {name: found.column(name).to_pylist() for name in wanted} == wanted
    assert found.schema.names == [*table.column_names, *wanted]

    (batch,) = table.combine_chunks().to_batches()
    found = predictor(batch)
    assert isinstance(found, pyarrow.RecordBatch)
    assert {name: found.column(name).to_pylist() for name in wanted} == wanted

    frame = pandas.DataFrame(ROWS)
    found = predictor(frame)
    assert {name: found[name].tolist() for name in wanted} == wanted
    assert list(frame.columns) == table.column_names

    found = predictor({"text": np.array(TEXTS, dtype=object), "id": np.arange(len(TEXTS))})
    assert {name: found[name].tolist() for name in wanted} == wanted
    assert predictor({"text": TEXTS})["confidence"].tolist() == wanted["confidence"]


def test_batches_without_rows(either: Path) -> None:
    predictor = BatchPredictor(either, **ALL)
    table = pyarrow.Table.from_pylist(ROWS).slice(0, 0)
    whole = predictor(pyarrow.Table.from_pylist(ROWS))
    assert predictor(table).schema == whole.schema
    fields = arrow_fields(token2wave.load(either), predictor.options)
    assert [whole.schema.field(field.name) for field in fields] == fields
    assert column_names(token2wave.load(either), predictor.options) == [field.name for field in fields]
    assert predictor({"text": []})["confidence"].shape == (0,)


def test_only_the_path_is_pickled_and_each_process_loads_once(model: Path) -> None:
    predictor = BatchPredictor(model)
    _ = predictor.classifier
    packed = pickle.dumps(predictor)
    assert len(packed) < 1000
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        batches = [{"text": TEXTS[i : i + 10]} for i in range(0, 40, 10)]
        found = list(pool.map(pickle.loads(packed), batches))
    label = np.concatenate([batch["label"] for batch in found]).tolist()
    assert label == token2wave.load(model).labels(TEXTS)
    assert BatchPredictor(model).classifier is predictor.classifier


def test_a_model_that_changes_is_loaded_again(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(model.read_bytes())
    predictor = BatchPredictor(path)
    before = predictor.classifier
    classifier = token2wave.load(model)
    names = tuple(name.upper() + "!" for name in classifier.label_names)
    replace(classifier, label_names=names).save(path)
    assert predictor.classifier is not before
    assert set(predictor({"text": TEXTS})["label"]) <= {"GOOD!", "SPAM!", "CODE!"}
    assert sum(key[0] == str(path) for key in module._loaded) == 1


def test_what_is_refused(model: Path, tmp_path: Path) -> None:
    predictor = BatchPredictor(model)
    with pytest.raises(DataError, match="there is no column 'text'"):
        predictor({"body": TEXTS})
    with pytest.raises(DataError, match=r"'label', which predictions add.*prefix"):
        predictor(pyarrow.table({"text": TEXTS, "label": TEXTS}))
    assert BatchPredictor(model, prefix="p_")({"text": TEXTS, "label": TEXTS})["p_label"].shape == (40,)
    with pytest.raises(TypeError, match="expected a mapping"):
        predictor(TEXTS)
    with pytest.raises(TypeError, match="found NoneType"):
        predictor({"text": ["a", None]})
    with pytest.raises(ModelFileError, match="no such file"):
        BatchPredictor(tmp_path / "nothing")({"text": TEXTS})
    with pytest.raises(ConfigError, match="top_k: expected at least one"):
        BatchPredictor(model, top_k=0)({"text": TEXTS})
