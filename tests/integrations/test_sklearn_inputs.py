"""Any texts, labels and weights are either converted correctly or refused."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from token2wave.errors import InputError
from token2wave.integrations.sklearn_inputs import (
    Targets,
    class_names,
    merge_classes,
    to_rows,
    to_weights,
)

WORDS = st.text(st.characters(exclude_characters="\0"))  # numpy drops those that stand last
ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.lists(st.text(), max_size=2),
)
CONTAINERS = [list, tuple, lambda values: _objects(values), lambda values: _objects(values).reshape(-1, 1)]


def _objects(values):
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


@settings(max_examples=150, deadline=None)
@given(st.lists(ANYTHING, max_size=4), st.sampled_from(CONTAINERS))
def test_texts(values, container):
    encodable = all(isinstance(value, str) and _is_unicode(value) for value in values)
    if encodable:
        assert to_rows(container(values)) == values
        assert all(type(text) is str for text in to_rows(container(values)))
    else:
        with pytest.raises(InputError, match=r"X\[\d+\]"):
            to_rows(container(values))


def _is_unicode(text):
    return not any("\ud800" <= character <= "\udfff" for character in text)


@pytest.mark.filterwarnings("ignore:A column-vector y")
@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=6),
        st.lists(WORDS, min_size=1, max_size=6),
        st.lists(st.booleans(), min_size=1, max_size=6),
        st.lists(ANYTHING, min_size=1, max_size=4),
    ),
    st.sampled_from([list, _objects, np.array]),
)
def test_labels(values, container):
    """Each name maps back to its value."""
    try:
        y = container(values)
    except ValueError:  # numpy refuses ragged lists
        return
    try:
        targets = Targets.from_labels(y)
    except InputError:
        return
    assert not targets.multi_label
    value_of = dict(zip(targets.names, targets.classes.tolist(), strict=True))
    assert [value_of[name] for name in targets.labels] == np.asarray(y).reshape(-1).tolist()
    assert targets.classes.tolist() == sorted(targets.classes.tolist())


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.lists(st.floats(), max_size=4), st.lists(ANYTHING, max_size=4)))
def test_weights(values):
    legal = all(type(value) is float and 0 <= value < np.inf for value in values)
    if legal and (any(values) or not values):
        assert to_weights(values, len(values)) == values
        return
    try:
        weights = to_weights(values, len(values))
    except InputError:
        return
    assert all(type(weight) is float and 0 <= weight < np.inf for weight in weights)


def test_one_weight_for_all():
    assert to_weights(2, 3) == [2.0, 2.0, 2.0]
    assert to_weights(None, 3) is None


def test_indicators():
    dense = np.array([[0, 1, 1], [0, 0, 0], [1, 0, 0]])
    for matrix in (dense, dense.astype(bool), dense.astype(float), dense.tolist(), csr_array(dense)):
        targets = Targets.from_labels(matrix)
        assert targets.labels == [("1", "2"), (), ("0",)]
        assert targets.classes.tolist() == [0, 1, 2]


def test_sparse_matrix_instead_of_texts():
    with pytest.raises(InputError, match="sparse matrix"):
        to_rows(csr_array(np.eye(3)))


def test_names():
    assert class_names(np.array([1.0, 2.0, 10.0]), "y") == ("1", "2", "10")
    assert class_names(np.array([False, True]), "y") == ("false", "true")
    with pytest.raises(InputError, match="two classes have one name"):
        class_names(_objects([1, "1"]), "y")


def test_merge_classes():
    known = np.array([3, 20])
    assert merge_classes(known, ("3", "20"), Targets.from_labels([3, 20])) is known
    assert merge_classes(known, ("3", "20"), Targets.from_labels([20, 5])).tolist() == [3, 5, 20]
    assert merge_classes(np.array(["a", "b"]), ("a", "b"), Targets.from_labels(["longer", "a"])).tolist() == [
        "a",
        "b",
        "longer",
    ]
    with pytest.raises(InputError, match="of the type of int64"):
        merge_classes(known, ("3", "20"), Targets.from_labels(["x", "y"]))


@pytest.mark.parametrize(
    "statement", ["from token2wave import WaveClassifier", "import token2wave.integrations.sklearn"]
)
def test_missing_package_names_its_extra(statement):
    script = f"import sys; sys.modules['sklearn'] = None\n{statement}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "MissingExtraError: WaveClassifier needs" in done.stderr
    assert "pip install 'token2wave[sklearn]'" in done.stderr
