from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import token2wave.data
from token2wave.data import TextDataset, TextSplit, encode_labels, label_names_of, validation_split
from token2wave.errors import ConfigError, DataError


def labelled(*labels: str) -> TextSplit:
    return TextSplit(["text"] * len(labels), list(labels), "reviews.csv")


def test_label_names_are_sorted() -> None:
    assert label_names_of(labelled("pos", "neg", "pos")) == ("neg", "pos")
    assert label_names_of(labelled("10", "9", "-1", "9")) == ("-1", "9", "10")
    assert label_names_of(labelled("10", "9", "x")) == ("10", "9", "x")
    assert label_names_of(labelled("1", "01", "0")) == ("0", "01", "1")
    long = "9" * 5000
    assert label_names_of(labelled(long, "10")) == ("10", long)


def test_given_names_are_all_kept_in_their_order() -> None:
    assert label_names_of(labelled("b", "a"), ("c", "b", "a")) == ("c", "b", "a")


def test_names_that_cannot_be_used() -> None:
    with pytest.raises(
        DataError, match=r"^reviews\.csv: there are no rows; train on rows of at least two classes$"
    ):
        label_names_of(labelled())
    for given_names in (None, ("a", "b")):
        with pytest.raises(
            DataError, match=r"^reviews\.csv: every row has the same label 'a'; train on rows of"
        ):
            label_names_of(labelled("a", "a"), given_names)
    with pytest.raises(
        DataError, match=r"^reviews\.csv: a label name occurs twice among 'a', 'b', 'a'; state"
    ):
        label_names_of(labelled("a", "b"), ("a", "b", "a"))
    with pytest.raises(
        DataError, match=r"^reviews\.csv, row 2: the label 'x' is not one of the label names 'a', 'b'; "
    ):
        label_names_of(labelled("a", "x"), ("a", "b"))


def test_encoded_labels() -> None:
    encoded = encode_labels(labelled("b", "a", "b"), ("a", "b"))
    assert encoded.tolist() == [1, 0, 1]
    assert encoded.dtype == np.int64
    assert encode_labels(labelled(), ("a", "b")).shape == (0,)
    assert encode_labels(labelled(), ("a", "b")).dtype == np.int64


def test_a_label_that_training_never_saw() -> None:
    with pytest.raises(DataError) as caught:
        encode_labels(labelled("a", "b", "x", "y"), ("a", "b"))
    assert str(caught.value) == (
        "reviews.csv, row 3: the label 'x' is not one of the classes of training: 'a', 'b'; "
        "correct or remove the row, or add rows with this label to the training data"
    )


def test_the_split_is_pinned() -> None:
    """Results of former runs stay comparable: a seed goes on meaning the same rows."""
    train, validation = validation_split(np.array([0, 1] * 10), 0.2, seed=7)
    assert validation.tolist() == [3, 8, 12, 13]
    assert sorted([*train.tolist(), *validation.tolist()]) == list(range(20))


def test_small_classes_give_rows_too() -> None:
    labels = np.repeat(np.arange(77), 4)
    validation = validation_split(labels, 0.1, seed=0)[1]
    assert len(validation) == round(0.1 * len(labels))
    assert np.bincount(labels[validation]).max() == 1


def test_large_classes_give_their_share() -> None:
    labels = np.repeat([0, 1, 2], [1000, 100, 10])
    for seed in range(5):
        assert np.bincount(labels[validation_split(labels, 0.1, seed)[1]]).tolist() == [100, 10, 1]


def test_the_largest_remainder_gives_the_row_still_due() -> None:
    labels = np.repeat([0, 1], [14, 16])  # shares of 1.4 and 1.6, together 3
    for seed in range(5):
        assert np.bincount(labels[validation_split(labels, 0.1, seed)[1]]).tolist() == [1, 2]


def test_the_choice_is_random_in_every_class() -> None:
    labels = np.repeat([0, 1], 50)
    chosen = [validation_split(labels, 0.2, seed)[1] for seed in range(400)]
    times = np.bincount(np.concatenate(chosen), minlength=100)
    assert 40 < times.min() < times.max() < 125  # 80 expected, standard deviation 8


def test_seeds_and_sizes_at_the_edge() -> None:
    first, second = (validation_split(np.arange(100) % 3, 0.2, seed)[1].tolist() for seed in (0, 1))
    assert first != second
    for labels, n_validation in (([0, 1, 2], 0), ([], 0), ([0, 0], 1), ([5, 5, 3], 1)):
        train, validation = validation_split(np.array(labels, dtype=np.int64), 0.01, 0)
        assert (len(train), len(validation)) == (len(labels) - n_validation, n_validation)
        assert train.dtype == validation.dtype == np.int64


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_fractions_out_of_range(fraction: float) -> None:
    with pytest.raises(ConfigError, match=f"^validation fraction: expected .* found {fraction}$"):
        validation_split(np.array([0, 1]), fraction, 0)


def test_seed_out_of_range() -> None:
    with pytest.raises(ConfigError, match=r"^seed: expected a number of at least 0, found -1$"):
        validation_split(np.array([0, 1]), 0.5, -1)


@settings(max_examples=150, deadline=None, print_blob=True)
@given(
    labels=st.lists(st.integers(0, 6), min_size=1, max_size=60).map(np.array),
    fraction=st.floats(0.001, 0.999),
    seed=st.integers(0, 2**32),
)
def test_what_holds_for_every_split(labels: NDArray[np.int64], fraction: float, seed: int) -> None:
    train, validation = validation_split(labels, fraction, seed)
    assert np.array_equal(np.sort(np.concatenate([train, validation])), np.arange(len(labels)))
    assert np.all(np.diff(train) > 0)
    assert np.all(np.diff(validation) > 0)
    assert set(labels[train].tolist()) == set(labels.tolist())
    n_rows = np.bincount(labels, minlength=7)
    taken = np.bincount(labels[validation], minlength=7)
    due = np.minimum(n_rows * fraction, np.maximum(n_rows - 1, 0))
    assert np.all(np.abs(taken - due) < 1 + 1e-9)
    assert len(validation) <= max(1, round(fraction * len(labels)))
    assert (len(validation) > 0) == (n_rows.max() > 1)
    again = validation_split(labels.copy(), fraction, seed)
    assert np.array_equal(again[0], train)
    assert np.array_equal(again[1], validation)


def test_public_names() -> None:
    assert sorted(token2wave.data.__all__) == token2wave.data.__all__
    assert all(hasattr(token2wave.data, name) for name in token2wave.data.__all__)


def test_import_brings_nothing_heavy() -> None:
    heavy = "{'torch', 'pyarrow', 'datasets', 'pandas', 'sklearn', 'matplotlib'}"
    code = f"import sys, token2wave.data; print(*({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@settings(max_examples=200)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.floats(0.01, 0.99), st.integers(0, 2**32))
def test_blocks(labels: list[int], fraction: float, seed: int) -> None:
    """As many rows of each class as one by one; they follow one another, round the end of the file."""
    array = np.array(labels)
    train, validation = validation_split(array, fraction, seed, in_blocks=True)
    assert sorted([*train, *validation]) == list(range(len(labels)))
    assert np.array_equal(
        np.bincount(array[validation], minlength=4),
        np.bincount(array[validation_split(array, fraction, seed)[1]], minlength=4),
    )
    for label in range(4):
        is_held_back = np.isin(np.flatnonzero(array == label), validation)
        assert np.count_nonzero(is_held_back != np.roll(is_held_back, 1)) in (0, 2)


def test_blocks_begin_at_the_same_place_of_all_classes() -> None:
    labels = np.arange(2000) % 2
    begins = set()
    for seed in range(8):
        validation = validation_split(labels, 0.1, seed, in_blocks=True)[1]
        begins.add(int(validation[0]))
        assert np.count_nonzero(np.diff(validation) > 1) <= 1
    assert len(begins) > 4


@pytest.mark.parametrize(
    ("texts", "labels", "weights", "said"),
    [
        (["a", None], ["x", "y"], None, r"mine, texts\[1\]: the text is missing"),
        (["a", "b"], ["x", 2j], None, r"mine, labels\[1\]: expected a label, found a value of type complex"),
        (["a", "b"], [["x"], [""]], None, r"mine, labels\[1\]: the label is empty"),
        (["a", "b"], ["x", "y"], [1.0, -1.0], r"mine, weights\[1\]: expected a weight, found the float -1.0"),
        (
            ["a", "b"],
            ["x", "y"],
            [float("inf"), 1.0],
            r"mine, weights\[0\]: expected a weight, found the float inf",
        ),
    ],
)
def test_rows_in_memory_are_checked(texts, labels, weights, said):
    rows = TextSplit(texts, labels, "mine", weights)
    with pytest.raises(DataError, match=said):
        token2wave.train(TextDataset("mine", rows, None, None, None, ()))
