"""Converts the texts, labels and weights of scikit-learn's users to those of training."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import type_of_target

from token2wave.data.objects import Argument, to_list, to_pairs, to_texts
from token2wave.data.values import is_missing, join_names, parse_labels, parse_weights
from token2wave.errors import InputError, input_errors

INDICATORS = "multilabel-indicator"
TARGET_TYPES = ("binary", "multiclass", INDICATORS)


def to_rows(values: Any, name: str = "X", n_labels: int | None = None, pair: bool = False) -> list[str]:
    """Convert texts to a list of strings (:func:`token2wave.data.objects.to_texts`).

    Args:
        values: ``N`` strings, or ``N`` pairs of them.
        name: name of the argument, for errors.
        n_labels: number of labels, if every text has one. The texts are then for training.
        pair: whether they are pairs; each is then one string.

    Raises:
        InputError: ``values`` cannot be used as texts, or their number is not that of the labels.
    """
    texts = to_pairs(values, name) if pair else to_texts(values, name, for_training=n_labels is not None)
    if n_labels is not None and not texts:
        raise InputError("expected at least 1 text, found 0 samples", location=name)
    if n_labels not in (None, len(texts)):
        problem = f"expected a label for each text, found {len(texts)} texts and {n_labels} labels"
        raise InputError(problem, location=name)
    return texts


def to_weights(values: Any, n_texts: int) -> list[float] | None:
    """Convert the weights of ``N`` texts to a list; a single number is the weight of each.

    Raises:
        InputError: there are not ``N`` weights, one of them is not a finite number of at least zero, or all
            are zero.
    """
    if values is None:
        return None
    location = "sample_weight"
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError(f"expected an array: {error}", location=location) from error
    if array.ndim == 0:
        array = np.full(n_texts, array)
    if array.shape != (n_texts,):
        problem = f"expected 1 weight for each of {n_texts} texts, found shape {array.shape}"
        raise InputError(problem, location=location)
    with input_errors():
        weights = parse_weights(Argument(array.tolist(), location))
    if n_texts and not any(weights):
        raise InputError("expected some weights above zero, found only zeros", location=location)
    return weights


@dataclass(frozen=True)
class Targets:
    """The labels of texts, and their classes.

    Attributes:
        labels: the name of each text's label, length ``N``; for several labels a tuple of names.
        classes: ``(C,)``, the values that the caller uses for the classes, ascending. For an indicator matrix
            the numbers of its columns, or their names if it is a frame.
        names: names of the classes in the model file, length ``C``.
        multi_label: whether a text may have several labels, or none.
    """

    labels: Sequence[str] | Sequence[tuple[str, ...]]
    classes: NDArray[Any]
    names: tuple[str, ...]
    multi_label: bool

    @classmethod
    def from_labels(cls, y: Any, name: str = "y") -> Targets:
        """Read labels in the forms that scikit-learn has.

        Args:
            y: ``N`` labels, numbers or strings; or an indicator matrix ``(N, C)`` of zeros and ones.
            name: name of the argument, for errors.

        Raises:
            InputError: ``y`` is neither.
        """
        if y is None:
            raise InputError(
                "this estimator requires y to be passed, but the target y is None", location=name
            )
        y = _targets(y, name)
        try:
            with np.errstate(invalid="ignore"):  # scikit-learn casts floats to see whether they are whole
                target_type = str(type_of_target(y, input_name=name))
        except (TypeError, ValueError) as error:
            problem = f"expected labels of one type, none missing: {error}"
            raise InputError(problem, location=name) from error
        if target_type not in TARGET_TYPES:
            raise InputError(
                f"Unknown label type: {target_type}. Expected a class for each text, or an indicator matrix",
                location=name,
                hint="learn scores with token2wave.train(target='score'), or cut them by KBinsDiscretizer"
                if target_type.startswith("continuous")
                else "if texts have several labels, make an indicator matrix with MultiLabelBinarizer",
            )
        if target_type == INDICATORS:
            columns = getattr(y, "columns", None)
            matrix = np.asarray(y.toarray() if hasattr(y, "toarray") else y) != 0
            classes = np.arange(matrix.shape[1]) if columns is None else np.asarray(columns)
            names = class_names(classes, f"columns of {name}")
            label_sets = [tuple(names[i] for i in np.flatnonzero(row)) for row in matrix]
            return cls(label_sets, classes, names, True)
        column = np.asarray(column_or_1d(y, warn=True))
        if column.dtype.kind == "U" and "nan" in column:
            problem = "expected a label for each text, found 'nan', numpy's word for a missing string"
            raise InputError(problem, location=name, hint="fill in the label, or leave the row out")
        with input_errors():
            labels = parse_labels(Argument(column.tolist(), name))
        classes = np.unique(column)
        return cls(labels, classes, class_names(classes, name), False)

    def require_like(self, multi_label: bool, names: Sequence[str], name: str) -> None:
        """Refuse labels that are not of the form of earlier ones.

        Args:
            multi_label: whether a text could have several labels.
            names: names of the earlier classes.
            name: name of the argument, for errors.

        Raises:
            InputError: ``multi_label`` differs, or the indicator matrix has other columns.
        """
        if self.multi_label != multi_label or (multi_label and self.names != tuple(names)):
            expected = f"an indicator matrix of {len(names)} columns" if multi_label else "one label"
            raise InputError(f"expected {expected} for each text, as before", location=name)

    def require_two_classes(self, weights: Sequence[float] | None) -> None:
        """Refuse labels of one class.

        Raises:
            InputError: the rows, or those with a weight above zero, have fewer than two classes.
        """
        if len(self.classes) < 2:
            raise InputError("expected labels of at least two classes, found one class", location="y")
        if weights is not None and not self.multi_label:
            labels = {label for label, weight in zip(self.labels, weights, strict=True) if weight}
            if len(labels) < 2:
                problem = "expected at least two classes with weights above zero, found one class"
                raise InputError(problem, location="sample_weight")


def class_names(classes: NDArray[Any], name: str) -> tuple[str, ...]:
    """Name classes as a model file does: numbers without ``.0``; ``true`` and ``false``.

    Raises:
        InputError: a class cannot be named, or two have one name.
    """
    with input_errors():
        names = tuple(parse_labels(Argument(classes.tolist(), name)))
    if len(set(names)) < len(names):
        raise InputError(f"two classes have one name among {join_names(names)}", location=name)
    return names


def to_class_weights(class_weight: Any, names: Sequence[str], present: Collection[str]) -> Any:
    """Convert the weights of classes to weights of names.

    As in scikit-learn, unknown labels are ignored if all known ones have a weight, because a fold may lack
    labels.

    Args:
        class_weight: ``balanced``, None, or the weight of each label.
        names: names of all classes.
        present: names of the classes to train on.

    Raises:
        InputError: there are unknown labels, and known ones without a weight.
    """
    if not isinstance(class_weight, Mapping):
        return class_weight
    keys = class_names(np.array(list(class_weight)), "class_weight")
    unknown = [name for name in keys if name not in names]
    if unknown and not set(names) <= set(keys):
        problem = f"there are no labels {join_names(unknown)}; known are {join_names(names)}"
        raise InputError(problem, location="class_weight")
    weights = zip(keys, class_weight.values(), strict=True)
    return {name: weight for name, weight in weights if name in present}


def merge_classes(classes: NDArray[Any], names: Sequence[str], targets: Targets) -> NDArray[Any]:
    """Add the new classes of further labels, ascending.

    Raises:
        InputError: some classes are numbers and others are not.
    """
    is_new = np.array([name not in names for name in targets.names], dtype=bool)
    if not is_new.any():
        return classes
    added = targets.classes[is_new]
    if (classes.dtype.kind in "biuf") != (added.dtype.kind in "biuf"):
        raise InputError(
            f"expected labels of the type of {classes.dtype}, found {added.dtype}",
            location="y",
            hint="use numbers or strings, as in the first call",
        )
    return np.asarray(np.unique(np.concatenate([classes, added])))


def _targets(y: Any, name: str) -> Any:
    """Labels in a form that scikit-learn knows, none of them missing; matrices stay as they are."""
    shape: tuple[int, ...] = getattr(y, "shape", ())
    if isinstance(y, str) or (len(shape) == 2 and shape[1] != 1) or len(shape) > 2 or hasattr(y, "toarray"):
        return y
    if isinstance(getattr(y, "dtype", None), np.dtype):  # an array, or a Series that holds one
        array: Any = np.asarray(y)
        labels = array.reshape(-1).tolist() if array.dtype.kind == "O" else []
    else:
        array = labels = to_list(y, name)
    for row, label in enumerate(labels):
        if is_missing(label):
            raise InputError(
                "the label is missing (Input y contains NaN)",
                location=f"{name}[{row}]",
                hint="fill it in or leave the row out",
            )
    if len({isinstance(label, str) for label in labels}) > 1:  # numpy would write the numbers as strings
        raise InputError(
            "expected labels of one type, found strings and others",
            location=name,
            hint="make all of them strings, or all of them numbers",
        )
    return array
