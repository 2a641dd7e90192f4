"""What scikit-learn's users hand over, as what training takes: texts, labels and weights."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import type_of_target

from token2wave.data.values import Origin, checked_labels, checked_texts, checked_weights, join_names
from token2wave.errors import DataError

ONE_LABEL = ("binary", "multiclass")
SEVERAL_LABELS = "multilabel-indicator"


class InputError(DataError, ValueError):
    """Texts, labels or weights that cannot be used; a ``ValueError`` too, as scikit-learn raises it."""


@contextmanager
def input_errors() -> Iterator[None]:
    """Raise errors of data as scikit-learn's callers expect them."""
    try:
        yield
    except DataError as error:
        raise InputError(error.problem, location=error.location, hint=error.hint) from error


def texts_of(values: Any, name: str = "X") -> list[str]:
    """Return texts as a list of strings.

    Args:
        values: ``N`` strings: a list, an array of shape ``(N,)`` or ``(N, 1)``, a pandas Series, a frame of
            one column, or anything else of strings that has a length.
        name: of the argument, for errors.

    Raises:
        InputError: it is one string, a table, or holds something that is no string; names the row.
    """
    wanted = "expected one text a row: a list, or an array of shape (n,) or (n, 1)"
    hint = "give the column of the texts alone"
    if isinstance(values, str | bytes) or not hasattr(values, "__len__"):
        raise InputError(f"{wanted}, found {type(values).__name__}", location=name, hint=hint)
    if hasattr(values, "toarray"):  # of scipy; it is not imported for this
        raise InputError(
            f"{wanted}, found a sparse matrix, whose values are numbers", location=name, hint=hint
        )
    shape = getattr(values, "shape", None)
    if shape is None:
        column: Iterable[Any] = values
    else:
        array = np.asarray(values)
        if array.ndim != 1 and array.shape[1:] != (1,):
            raise InputError(f"{wanted}, found shape {tuple(shape)}", location=name, hint=hint)
        column = array.reshape(-1).tolist()
    with input_errors():
        return checked_texts(column, Origin(name))


def weights_of(values: Any, n_texts: int) -> list[float] | None:
    """Return the weights of ``N`` texts; one number is the weight of each.

    Raises:
        InputError: there are not ``N`` of them in one dimension, or one is no finite number of at least zero.
    """
    if values is None:
        return None
    array = _array_of(values, "sample_weight")
    if array.ndim == 0:
        array = np.full(n_texts, array)
    if array.shape != (n_texts,):
        raise InputError(
            f"expected 1 weight for each of {n_texts} texts, found shape {array.shape}",
            location="sample_weight",
        )
    with input_errors():
        weights = checked_weights(array.tolist(), Origin("sample_weight"))
    if n_texts and not any(weights):
        raise InputError(
            "expected weights of which some are above zero, found zeros alone", location="sample_weight"
        )
    return weights


@dataclass(frozen=True)
class Targets:
    """The labels of texts, and the classes that occur in them.

    Attributes:
        labels: the name of the label of each text, length ``N``; of several labels the names of all.
        classes: ``(C,)``, the values that the caller calls the classes by, ascending; of an indicator matrix
            the numbers of its columns, or their names, where it is a frame.
        names: what the model file calls them, length ``C``.
        multi_label: whether a text may have several labels, or none.
    """

    labels: Sequence[str] | Sequence[tuple[str, ...]]
    classes: NDArray[Any]
    names: tuple[str, ...]
    multi_label: bool

    @classmethod
    def of(cls, y: Any, name: str = "y") -> Targets:
        """Read labels as scikit-learn has them.

        Args:
            y: ``N`` labels, numbers or strings; or an indicator matrix ``(N, C)`` of zeros and ones.
            name: of the argument, for errors.

        Raises:
            InputError: it is neither.
        """
        _refuse_lists(y, name)
        kind = _kind_of(y, name)
        if kind == SEVERAL_LABELS:
            columns = getattr(y, "columns", None)
            matrix = np.asarray(y.toarray() if hasattr(y, "toarray") else y) != 0
            classes = np.arange(matrix.shape[1]) if columns is None else np.asarray(columns)
            names = names_of(classes, f"columns of {name}")
            several = [tuple(names[i] for i in np.flatnonzero(row)) for row in matrix]
            return cls(several, classes, names, True)
        column = np.asarray(column_or_1d(y, warn=True))
        with input_errors():
            labels = checked_labels(_plain(column), Origin(name))
        try:
            classes = np.unique(column)
        except TypeError as error:
            raise InputError(f"expected labels of one type: {error}", location=name) from error
        return cls(labels, classes, names_of(classes, name), False)


def require_same(targets: Targets, multi_label: bool, names: Sequence[str], name: str) -> None:
    """Refuse labels of another kind than those before.

    Args:
        targets: further labels.
        multi_label: whether a text might have several.
        names: of the classes.
        name: of the argument, for errors.

    Raises:
        InputError: a text may have several labels now, or may not; or there are other columns.
    """
    if targets.multi_label != multi_label or (multi_label and tuple(targets.names) != tuple(names)):
        wanted = f"an indicator matrix of {len(names)} columns" if multi_label else "one label"
        raise InputError(f"expected {wanted} for each text, as before", location=name)


def names_of(classes: NDArray[Any], name: str) -> tuple[str, ...]:
    """What a model file calls classes: strings as they are, numbers without ``.0``, ``true`` and ``false``.

    Raises:
        InputError: a class cannot be named, or two have one name.
    """
    with input_errors():
        names = tuple(checked_labels(_plain(classes), Origin(name)))
    if len(set(names)) < len(names):
        raise InputError(f"two classes have one name among {join_names(names)}", location=name)
    return names


def texts_of_labels(values: Any, targets: Targets, name: str) -> list[str]:
    """Texts, as many as there are labels.

    Raises:
        InputError: as for :func:`texts_of`; or there are none, or not as many.
    """
    texts = texts_of(values, name)
    if not texts:
        raise InputError("expected at least 1 text, found 0 samples", location=name)
    if len(texts) != len(targets.labels):
        problem = f"expected a label for each text, got {len(texts)} texts and {len(targets.labels)} labels"
        raise InputError(problem, location=name, hint="give both the same length")
    return texts


def require_two_classes(targets: Targets, weights: list[float] | None) -> None:
    """Refuse rows of which nothing can be told apart.

    Raises:
        InputError: there are fewer than two classes in them, or in those of some weight.
    """
    if len(targets.classes) < 2:
        raise InputError("expected labels of at least two classes, found one class", location="y")
    if weights is not None and not targets.multi_label:
        counting = {label for label, weight in zip(targets.labels, weights, strict=True) if weight}
        if len(counting) < 2:
            raise InputError(
                "expected rows of some weight of at least two classes, found one class",
                location="sample_weight",
            )


def class_weights_of(wish: Any, names: Sequence[str], present: Collection[str]) -> Any:
    """Weights of the classes that are present, by what the model file calls them.

    As in scikit-learn, labels that there are not may have a weight, since a fold may lack them; but not while
    some that there are have none.

    Args:
        wish: ``balanced``, None, or the weight of each label.
        names: of all classes.
        present: names of those to train on.

    Raises:
        InputError: labels are named that there are not; perhaps a slip of the pen.
    """
    if not isinstance(wish, Mapping):
        return wish
    given = dict(zip(names_of(np.array(list(wish)), "class_weight"), wish.values(), strict=True))
    odd = [name for name in given if name not in names]
    if odd and not set(names) <= set(given):
        problem = f"there are no labels {join_names(odd)}; known are {join_names(names)}"
        raise InputError(problem, location="class_weight")
    return {name: weight for name, weight in given.items() if name in present}


def united(classes: NDArray[Any], names: Sequence[str], more: Targets) -> NDArray[Any]:
    """Classes known so far and those of more labels, ascending.

    Raises:
        InputError: the ones are numbers and the others are not.
    """
    new = np.array([name not in names for name in more.names], dtype=bool)
    if not new.any():
        return classes
    added = more.classes[new]
    if (classes.dtype.kind in "biuf") != (added.dtype.kind in "biuf"):
        raise InputError(
            f"expected labels of the type of {classes.dtype}, found {added.dtype}",
            location="y",
            hint="give numbers or strings, as in the first call",
        )
    found: NDArray[Any] = np.unique(np.concatenate([classes, added]))
    return found


def _kind_of(y: Any, name: str) -> str:
    """What scikit-learn calls these labels.

    Raises:
        InputError: they are missing, or are no classes.
    """
    if y is None:
        problem = "this estimator requires y to be passed, but the target y is None"
        raise InputError(problem, location=name, hint="give the label of each text")
    array = y if hasattr(y, "toarray") else _array_of(y, name)
    missing = array.dtype.kind == "f" and not np.isfinite(array).all()
    if array.dtype.kind == "O":
        missing = any(value is None or value != value for value in array.reshape(-1).tolist())
    if missing:
        raise InputError("expected a label for each text, found NaN, infinity or None", location=name)
    try:
        with np.errstate(invalid="ignore"):  # whether floats are whole is found out by a cast
            kind = str(type_of_target(y, input_name=name))
    except (TypeError, ValueError) as error:
        raise InputError(str(error), location=name) from error
    if kind not in (*ONE_LABEL, SEVERAL_LABELS):
        raise InputError(
            f"Unknown label type: {kind}. Expected classes, one of each text or an indicator matrix",
            location=name,
            hint="make classes of numbers first, e.g. with KBinsDiscretizer",
        )
    return kind


def _array_of(values: Any, name: str) -> NDArray[Any]:
    """Values as an array.

    Raises:
        InputError: they are lists of several lengths, or bytes among strings.
    """
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InputError(f"expected an array: {error}", location=name) from error


def _refuse_lists(y: Any, name: str) -> None:
    """Say what lists of labels are to become.

    Raises:
        InputError: some label is a list, a tuple or a set.
    """
    values = y if isinstance(y, list | tuple) else getattr(y, "tolist", list)()
    first = next((value for value in values if isinstance(value, list | tuple | set | frozenset)), None)
    is_lists = first is not None and not _is_row_of_indicators(first, values)
    if is_lists:
        raise InputError(
            "expected one label for each text, or an indicator matrix, found lists of labels",
            location=name,
            hint="make a matrix of them: sklearn.preprocessing.MultiLabelBinarizer().fit_transform(y)",
        )


def _is_row_of_indicators(first: Any, values: Sequence[Any]) -> bool:
    """Whether rows may be those of an indicator matrix or of a column, as far as can be told quickly."""
    if isinstance(first, set | frozenset):
        return False
    return all(hasattr(row, "__len__") and len(row) == len(first) for row in values) and all(
        not isinstance(value, str) for value in first
    )


def _plain(values: NDArray[Any]) -> list[Any]:
    """Values as Python's own."""
    return [value.item() if isinstance(value, np.generic) else value for value in values.tolist()]
