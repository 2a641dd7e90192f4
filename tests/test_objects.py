"""Every entry point takes the same kinds of objects, and refuses the others with their place and a cure."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import token2wave
from token2wave.data import TextDataset, TextSplit
from token2wave.data.objects import to_labels, to_texts
from token2wave.errors import ConfigError, DataError, InputError
from token2wave.integrations.onnx import OnnxClassifier, export_onnx
from token2wave.integrations.sklearn import WaveClassifier

TEXTS = ["lovely film", "awful film"]
ROWS, NAMES = TEXTS * 40, ["good", "bad"] * 40


def _objects(values: list[Any]) -> Any:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


CONTAINERS: dict[str, Callable[[list[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "generator": lambda values: (value for value in values),
    "dictionary's values": lambda values: dict(enumerate(values)).values(),
    "array of strings": np.array,
    "array of objects": _objects,
    "array of one column": lambda values: np.array(values).reshape(-1, 1),
    "Series": lambda values: pd.Series(values, index=range(len(values), 0, -1)),
    "Series of objects": lambda values: pd.Series(values, dtype=object),
    "string Series": lambda values: pd.Series(values, dtype="string"),
    "Arrow Series": lambda values: pd.Series(values, dtype=pd.ArrowDtype(pa.string())),
    "categories": lambda values: pd.Series(values, dtype="category"),
    "Index": pd.Index,
    "frame of one column": lambda values: pd.DataFrame({"text": values}),
    "Arrow array": pa.array,
    "Arrow dictionary": lambda values: pa.array(values).dictionary_encode(),
    "Arrow chunks": lambda values: pa.chunked_array([values[:1], values[1:]]),
    "Arrow table of one column": lambda values: pa.table({"text": values}),
    "Series with to_list": lambda values: SimpleNamespace(to_list=lambda: values),  # as polars has
}
REFUSED: dict[str, tuple[Any, str]] = {
    "string": ("lovely film", r"found one string; put it into a list"),
    "bytes": (b"lovely film", "bytes"),
    "dictionary": ({"body": TEXTS}, "found a dict; give .* one of its columns"),
    "set": (set(TEXTS), "set has no order"),
    "number": (3, "found an int"),
    "nothing": (None, "found a NoneType"),
    "frame of two columns": (
        pd.DataFrame({"body": TEXTS, "label": TEXTS}),
        "columns 'body', 'label'; give one",
    ),
    "table of two columns": (pa.table({"body": TEXTS, "label": TEXTS}), "columns 'body', 'label'; give one"),
    "matrix": (np.array([TEXTS]), r"found shape \(1, 2\)"),
    "None": (["a", None], r"\[1\]: the text is missing; fill it in"),
    "NaN": (["a", float("nan")], r"\[1\]: the text is missing"),
    "pandas.NA": (pd.Series(["a", pd.NA], dtype="string"), r"\[1\]: the text is missing"),
    "pandas.NA in a list": (["a", pd.NA], r"\[1\]: the text is missing"),
    "Arrow null": (pa.array(["a", None]), r"\[1\]: the text is missing"),
    "Arrow numbers": (pa.array([1, 2]), "int"),
    "element of bytes": (["a", b"b"], r"\[1\]: .*bytes; decode it"),
    "number among texts": (["a", 3], r"\[1\]: expected a text, found the int 3; make it a string"),
    "list among texts": (["a", ["b"]], r"\[1\]: "),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A trained model in each form that predicts."""
    folder = tmp_path_factory.mktemp("objects")
    small = {"network.width": 8, "network.context_width": 8, "features.bits": 12}
    data = TextDataset("mine", train=TextSplit(ROWS, NAMES, "mine"))
    classifier = token2wave.train(data, epochs=1, settings=small).classifier
    classifier.save(folder / "model.safetensors")
    export_onnx(classifier, folder / "model.onnx")
    return SimpleNamespace(
        classifier=classifier,
        onnx=OnnxClassifier(folder / "model.onnx"),
        estimator=WaveClassifier.from_classifier(classifier),
        predictor=token2wave.BatchPredictor(folder / "model.safetensors"),
    )


def _tokens(model: SimpleNamespace, texts: Any) -> Any:
    from token2wave.integrations.huggingface.conversion import to_huggingface

    return to_huggingface(model.classifier).tokenizer(texts)["input_ids"]


ENTRIES: dict[str, Callable[[SimpleNamespace, Any], Any]] = {
    "probabilities": lambda model, texts: model.classifier.probabilities(texts).tolist(),
    "labels": lambda model, texts: model.classifier.labels(texts),
    "label_sets": lambda model, texts: model.classifier.label_sets(texts),
    "novelty": lambda model, texts: model.classifier.novelty(texts),
    "predict_batch": lambda model, texts: model.classifier.predict_batch(texts, novelty=True),
    "evaluate": lambda model, texts: model.classifier.evaluate(texts, ["good", "bad"]).accuracy,
    "evaluate by numbers": lambda model, texts: model.classifier.evaluate(texts, np.array([1, 0])).accuracy,
    "estimator.predict": lambda model, texts: model.estimator.predict(texts).tolist(),
    "estimator.predict_proba": lambda model, texts: model.estimator.predict_proba(texts).tolist(),
    "estimator.decision_function": lambda model, texts: model.estimator.decision_function(texts).tolist(),
    "estimator.fit": lambda model, texts: (
        WaveClassifier("fast", epochs=1).fit(texts, TEXTS).classes_.tolist()
    ),
    "onnx": lambda model, texts: model.onnx.predict_batch(texts),
    "tokenizer": _tokens,
    "scoring": lambda model, texts: model.predictor({"text": texts})["label"].tolist(),
    "update": lambda model, texts: token2wave.update(model.classifier, texts, TEXTS_LABELS).labels(TEXTS),
    "TextSplit": lambda model, texts: list(_trained_on(texts).labels(TEXTS)),
}
TEXTS_LABELS = ["good", "bad"]


def _trained_on(texts: Any, labels: Any = TEXTS_LABELS) -> token2wave.Classifier:
    data = TextDataset("mine", train=TextSplit(texts, labels, "mine"))
    return token2wave.train(data, preset="fast", epochs=1).classifier


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_point_takes_every_container(model: SimpleNamespace, entry: str) -> None:
    expected = ENTRIES[entry](model, TEXTS)
    for name, container in CONTAINERS.items():
        assert ENTRIES[entry](model, container(TEXTS)) == expected, name


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_point_refuses_the_same_with_a_place_and_a_cure(
    model: SimpleNamespace, entry: str
) -> None:
    for name, (texts, message) in REFUSED.items():
        if name == "string" and entry in ("tokenizer", "update"):
            continue  # a tokenizer takes one text, and update the name of a file
        try:
            with pytest.raises(InputError, match=message):
                ENTRIES[entry](model, texts)
        except BaseException as error:
            raise AssertionError(f"{name}: {error!r}") from error


def test_half_surrogates_are_texts_to_predict_and_none_to_train_on(model: SimpleNamespace) -> None:
    half = ["\ud83d lovely", "x"]
    for entry, function in ENTRIES.items():
        if entry in ("update", "TextSplit", "estimator.fit"):
            with pytest.raises(InputError, match=r"\[0\]: holds half of a surrogate pair"):
                function(model, half)
        else:
            function(model, half)
    assert model.classifier.explain(half[0]).text == model.classifier.explain(half[0]).text
    assert model.classifier.state().update(half[0]).predict().label == model.classifier.predict(half[0]).label


@pytest.mark.parametrize("text", [None, 3, b"a", ["a"], pd.NA])
def test_one_text_is_one_string(model: SimpleNamespace, text: Any) -> None:
    classifier = model.classifier
    state = classifier.state()
    for function in (classifier.predict, classifier.explain, model.onnx.predict, state.update):
        with pytest.raises(InputError, match=r"^text: expected one string, found a"):
            function(text)


@pytest.mark.parametrize("top_k", [0, -1, 1.5, "2"])
def test_top_k_is_positive(model: SimpleNamespace, top_k: Any) -> None:
    classifier = model.classifier
    for function in (classifier.predict, model.onnx.predict):
        with pytest.raises(ConfigError, match="top_k: expected at least one class"):
            function("lovely", top_k)
    with pytest.raises(ConfigError, match="top_k: expected at least one class"):
        classifier.state().update("lovely").predict(top_k)


LABELS: dict[str, tuple[Any, list[Any]]] = {
    "integers": ([1, 0], ["1", "0"]),
    "Int64": (pd.Series([1, 0], dtype="Int64"), ["1", "0"]),
    "Arrow integers": (pa.array([1, 0]), ["1", "0"]),
    "numpy's integers in a list": ([np.int8(1), np.int64(0)], ["1", "0"]),
    "one column": (np.array([[1], [0]]), ["1", "0"]),
    "booleans": ([True, False], ["true", "false"]),
    "numpy's booleans in a list": ([np.True_, np.False_], ["true", "false"]),
    "boolean": (pd.Series([True, False], dtype="boolean"), ["true", "false"]),
    "categories": (pd.Series(["a", "b"], dtype="category"), ["a", "b"]),
    "generator": ((label for label in "ab"), ["a", "b"]),
    "frame": (pd.DataFrame({"label": ["a", "b"]}), ["a", "b"]),
    "lists": ([["a", "b"], []], [("a", "b"), ()]),
    "sets": ([{"b", "a"}, frozenset()], [("a", "b"), ()]),
    "arrays": ([np.array(["a"]), np.array([])], [("a",), ()]),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_become_names(name: str) -> None:
    labels, expected = LABELS[name]
    assert to_labels(labels) == expected


def test_estimators_keep_the_type_of_labels() -> None:
    rows = TEXTS * 4
    for labels, dtype in (
        (pd.Series([1, 0] * 4, dtype="Int64"), "int64"),
        (pd.Series([True, False] * 4, dtype="boolean"), "bool"),
        (pa.array([3, 5] * 4), "int64"),
        (np.array([3, 5] * 4, np.int8), "int8"),
        ((label for label in [3, 5] * 4), "int64"),
    ):
        assert WaveClassifier("fast", epochs=1).fit(rows, labels).predict(rows).dtype == dtype


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, pd.NaT])
def test_missing_labels(model: SimpleNamespace, missing: Any) -> None:
    labels = ["good", missing]
    for function in (
        lambda: WaveClassifier("fast").fit(TEXTS, labels),
        lambda: WaveClassifier("fast").fit(TEXTS, pd.Series(labels, dtype=object)),
        lambda: token2wave.update(model.classifier, TEXTS, labels),
        lambda: _trained_on(TEXTS, labels),
        lambda: model.classifier.evaluate(TEXTS, labels),
    ):
        with pytest.raises(InputError, match=r"\[1\]: the label is (missing|nan).*; "):
            function()


def test_strings_of_digits_are_names_and_numbers_are_indices(model: SimpleNamespace) -> None:
    classifier = model.classifier  # of the classes 'bad' and 'good'
    assert classifier.evaluate(TEXTS, [1, 0]).accuracy == classifier.evaluate(TEXTS, ["good", "bad"]).accuracy
    with pytest.raises(DataError, match="the label '1' is not one of the classes"):
        classifier.evaluate(TEXTS, ["1", "0"])
    with pytest.raises(InputError, match=r"labels\[1\]: expected a label from 0 to 1"):
        classifier.evaluate(TEXTS, [1, 2])
    with pytest.raises(InputError, match="strings and others"):
        WaveClassifier("fast").fit(TEXTS, [1, "x"])


NO_ROWS: dict[str, tuple[Any, str]] = {
    "number": (
        3,
        r"^data: expected texts with labels, found an int; give a file, a frame, texts and labels, ",
    ),
    "nothing": (None, r"^data: expected texts with labels, found a NoneType"),
    "set": ({"a", "b"}, r"^data: expected texts with labels, found a set"),
    "no rows": ([], r"^data: there are no rows; "),
    "texts without labels": (
        TEXTS,
        r"^data: expected labels beside the texts, found none; .*train\(texts, labels\)",
    ),
    "Series": (pd.Series(TEXTS), r"^data: expected labels beside the texts"),
    "triples": ([("a", "b", "c")] * 3, r"^data, row 1: expected a pair .*, found a tuple of 3 values; "),
    "a text among pairs": (
        [("a", "b"), "c"],
        r"^data, row 2: expected a pair \(text, label\), found a str; ",
    ),
    "a pair among dictionaries": ([{"text": "a", "label": "b"}, 3], r"^data, row 2: expected a dictionary"),
    "a key is missing": (
        [{"text": "a", "label": "b"}, {"text": "c"}],
        r"^data, row 2: there is no column 'label'; the columns are 'text'; ",
    ),
    "columns of other names": (
        pd.DataFrame({"a": TEXTS, "b": TEXTS, "c": TEXTS}),
        r"columns are 'a', 'b', 'c'; ",
    ),
    "two columns of one name": (
        pd.DataFrame([TEXTS * 2], columns=["text", "text", "label", "x"]),
        "2 columns 'text'",
    ),
    "missing label": (
        pd.DataFrame({"text": TEXTS, "label": ["a", None]}),
        r"^data, row 2, column 'label': the label is (missing|nan); give every row one label",
    ),
    "missing text": ([("a", "b"), (None, "b")], r"^data, row 2: the text is missing; fill it in"),
    "number in texts": (
        pa.table({"text": [1], "label": ["a"]}),
        r"^data, row 1, column 'text': expected a text",
    ),
    "frame without rows": (
        pd.DataFrame({"text": [], "label": []}),
        r"^data: expected at least one row, found none",
    ),
    "fewer labels": ((TEXTS, ["a"]), r"^labels: expected a label for each of the 2 texts, found 1 labels"),
}


@pytest.mark.parametrize("name", NO_ROWS)
def test_what_is_no_data_names_the_row_and_a_cure(model: SimpleNamespace, name: str) -> None:
    data, message = NO_ROWS[name]
    for function in (
        token2wave.train,
        lambda data: token2wave.evaluate(model.classifier, data),
        lambda data: token2wave.update(model.classifier, data),
    ):
        with pytest.raises(DataError, match=message):
            function(data)


def test_scoring_takes_files_alone(model: SimpleNamespace) -> None:
    for data in (pd.DataFrame({"text": TEXTS}), {"text": TEXTS}, (TEXTS, TEXTS), 3, None):
        with pytest.raises(InputError, match=r"^inputs: expected a file.*BatchPredictor"):
            token2wave.score(model.predictor.model, data, "unused")


ELEMENTS = st.one_of(
    st.text(),
    st.none(),
    st.floats(),
    st.integers(),
    st.binary(),
    st.booleans(),
    st.just(pd.NA),
    st.lists(st.text()),
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(ELEMENTS, max_size=4),
    st.sampled_from([list, tuple, iter, _objects, lambda v: pd.Series(v, dtype=object)]),
)
def test_hostile_elements(values: list[Any], container: Callable[[list[Any]], Any]) -> None:
    if all(isinstance(value, str) for value in values):
        assert to_texts(container(values)) == values
    else:
        with pytest.raises(InputError, match=r"^texts\[\d\]: .*; "):
            to_texts(container(values))
    try:
        names = to_labels(container(values))
    except InputError as error:
        problems = [error]
    else:
        problems = []
        assert len(names) == len(values)
    assert all(error.hint and error.location for error in problems)


def test_packages_that_the_user_has_not_imported_stay_so() -> None:
    code = (
        "import sys; from token2wave.data.objects import to_texts, to_labels;"
        "to_texts(('a', 'b')); to_labels([1, 'a']);"
        "assert not {'pandas', 'pyarrow', 'polars', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
