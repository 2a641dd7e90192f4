"""The batch predictor predicts like the classifier, for every type of batch, in any process."""

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
from token2wave.scoring.batch_predictor import BatchPredictor

ROWS = crawl(40)
TEXTS = [row["text"] for row in ROWS]
ALL = {"top_k": 2, "probabilities": True, "novelty": True}


def expected(model: Path) -> dict[str, list[Any]]:
    """The columns, made of the classifier's own predictions."""
    classifier = token2wave.load(model)
    predictions = classifier.predict_batch(TEXTS, top_k=2, novelty=True)
    probabilities = classifier.probabilities(TEXTS).tolist()
    labels = {"labels": [list(prediction.labels) for prediction in predictions]}
    return {
        **(labels if classifier.multi_label else {"label": [prediction.label for prediction in predictions]}),
        "confidence": [prediction.probability for prediction in predictions],
        "known": [prediction.known for prediction in predictions],
        "novelty": [prediction.novelty for prediction in predictions],
        "top": [
            [{"label": name, "probability": probability} for name, probability in prediction.top]
            for prediction in predictions
        ],
        "probabilities": [dict(zip(classifier.label_names, row, strict=True)) for row in probabilities],
    }


@pytest.fixture(params=["model", "multi_label_model"])
def any_model(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


def test_every_type_of_batch(any_model: Path) -> None:
    predictor = BatchPredictor(any_model, **ALL)
    columns = expected(any_model)
    table = pyarrow.Table.from_pylist(ROWS).replace_schema_metadata({"source": "crawl"})
    scored = predictor(table)
    assert scored.schema.metadata == {b"source": b"crawl"}
    assert isinstance(scored, pyarrow.Table)
    assert scored.select(table.column_names).equals(table)
    assert {name: scored.column(name).to_pylist() for name in columns} == columns
    assert scored.schema.names == [*table.column_names, *columns]

    (batch,) = table.combine_chunks().to_batches()
    scored = predictor(batch)
    assert isinstance(scored, pyarrow.RecordBatch)
    assert {name: scored.column(name).to_pylist() for name in columns} == columns

    frame = pandas.DataFrame(ROWS)
    scored = predictor(frame)
    assert {name: scored[name].tolist() for name in columns} == columns
    assert list(frame.columns) == table.column_names

    scored = predictor({"text": np.array(TEXTS, dtype=object), "id": np.arange(len(TEXTS))})
    assert {name: scored[name].tolist() for name in columns} == columns
    assert predictor({"text": TEXTS})["confidence"].tolist() == columns["confidence"]


def test_batches_without_rows(any_model: Path) -> None:
    predictor = BatchPredictor(any_model, **ALL)
    table = pyarrow.Table.from_pylist(ROWS).slice(0, 0)
    scored = predictor(pyarrow.Table.from_pylist(ROWS))
    assert predictor(table).schema == scored.schema
    types = predictor.arrow_types()
    assert {name: scored.schema.field(name).type for name in types} == types
    assert predictor.added_columns() == list(types)
    assert predictor({"text": []})["confidence"].shape == (0,)
    assert scored.schema.field("known").type == pyarrow.bool_()
    assert predictor({"text": ["", TEXTS[0]]})["known"].dtype == bool


def test_only_the_path_is_pickled_and_each_process_loads_once(model: Path) -> None:
    predictor = BatchPredictor(model)
    _ = predictor.classifier
    pickled = pickle.dumps(predictor)
    assert len(pickled) < 1000
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        batches = [{"text": TEXTS[i : i + 10]} for i in range(0, 40, 10)]
        scored = list(pool.map(pickle.loads(pickled), batches))
    label = np.concatenate([batch["label"] for batch in scored]).tolist()
    assert label == token2wave.load(model).labels(TEXTS)
    assert BatchPredictor(model).classifier is predictor.classifier


def test_a_model_that_changes_is_loaded_again(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(model.read_bytes())
    predictor = BatchPredictor(path)
    outdated = predictor.classifier
    classifier = token2wave.load(model)
    names = tuple(name.upper() + "!" for name in classifier.label_names)
    replace(classifier, label_names=names).save(path)
    assert predictor.classifier is not outdated
    assert set(predictor({"text": TEXTS})["label"]) <= {"GOOD!", "SPAM!", "CODE!"}
    assert sum(key[0] == str(path) for key in module._loaded) == 1


def test_wrong_batches_and_options_are_refused(model: Path, tmp_path: Path) -> None:
    predictor = BatchPredictor(model)
    with pytest.raises(DataError, match="there is no column 'text'"):
        predictor({"body": TEXTS})
    with pytest.raises(DataError, match=r"'label', which predictions add.*prefix"):
        predictor(pyarrow.table({"text": TEXTS, "label": TEXTS}))
    assert BatchPredictor(model, prefix="p_")({"text": TEXTS, "label": TEXTS})["p_label"].shape == (40,)
    with pytest.raises(TypeError, match="expected a mapping"):
        predictor(TEXTS)
    with pytest.raises(TypeError, match=r"batch\[.text.\]\[1\]: the text is missing"):
        predictor({"text": ["a", None]})
    with pytest.raises(ModelFileError, match="no such file"):
        BatchPredictor(tmp_path / "nothing")({"text": TEXTS})
    with pytest.raises(ConfigError, match="top_k: expected at least one"):
        BatchPredictor(model, top_k=0)({"text": TEXTS})
