"""Filters rows by their predictions and columns.

``==`` is true only between values of one type, and ``null == null`` is true. ``<``, ``<=``, ``>`` and ``>=``
are true only between two numbers or two texts, never with null or NaN. Times are texts, as ISO 8601 writes
them.
"""

from __future__ import annotations

import difflib
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.data.values import join_names
from token2wave.scoring.filter_parsing import PREDICTION_TYPES, Field, Literal, Node, Operation, parse, refuse

_ORDERS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_TYPES: dict[type, str] = {
    **dict.fromkeys((int, float, Decimal), "number"),
    **dict.fromkeys((list, tuple), "list"),
    bool: "bool",
    str: "text",
    type(None): "null",
}


@dataclass(frozen=True)
class Filter:
    """A parsed filter: the tree of conditions, and the fields that it reads; see :meth:`parse`."""

    root: Node
    fields: Sequence[Field]

    @classmethod
    def parse(cls, text: str) -> Filter:
        """Parse a filter, e.g. ``label == 'good' and confidence > 0.9``.

        Raises:
            ConfigError: the filter is not valid; names the place and the problem.
        """
        return cls(*parse(text))

    @property
    def columns(self) -> list[str]:
        """Columns of the input that the filter reads, each once."""
        return list(dict.fromkeys(field.name for field in self.fields if field.source == "column"))

    @property
    def reads_novelty(self) -> bool:
        """Whether the filter reads the novelty of texts."""
        return any(field.source == "prediction" and field.name == "novelty" for field in self.fields)

    def check(
        self,
        classes: Sequence[str],
        multi_label: bool,
        columns: Mapping[str, str],
        is_open: bool = False,
        has_scores: bool = False,
    ) -> None:
        """Check the names and types before the work begins.

        Args:
            classes: the names of the classes.
            multi_label: whether a text may have several labels.
            columns: the value type of each input column: ``text``, ``number``, ``bool``, ``list`` or
                ``unknown``.
            is_open: whether the input may have further columns; ``column['name']`` then accepts any name.
            has_scores: whether the model is one of scores.

        Raises:
            ConfigError: a name does not exist, or a comparison can never be true.
        """
        _TypeChecker(classes, multi_label, columns, is_open, has_scores).check_condition(self.root)

    def mask(self, n_rows: int, values_of: Callable[[Field], Any]) -> NDArray[np.bool_]:
        """Compute for which rows the filter is true, ``(n_rows,)`` bool.

        Args:
            n_rows: number of rows.
            values_of: returns the values of a field for all rows: a list, a numpy or a ``pyarrow`` array.
        """
        return _Evaluator(n_rows, values_of).mask(self.root)


def value_type(value: object) -> str:
    """The type of a Python value: ``text``, ``number``, ``bool``, ``list``, ``null`` or ``unknown``."""
    return _TYPES.get(type(value), "unknown")


def _compare(order: str, left: Any, right: Any) -> bool:
    """Compare two values by the rules of this module."""
    left_type = value_type(left)
    same_type = left_type == value_type(right)
    if order in ("==", "!="):
        return (same_type and left_type != "unknown" and bool(left == right)) == (order == "==")
    return same_type and left_type in ("number", "text") and bool(_ORDERS[order](left, right))


def _contains(collection: Any, value: Any) -> bool:
    if isinstance(collection, str):
        return isinstance(value, str) and value in collection
    return isinstance(collection, list) and any(_compare("==", value, item) for item in collection)


def _parse_number(value: Any) -> float | None:
    """Return a number unchanged, read a text as a number, and return None for anything else."""
    if value_type(value) == "number":
        return value  # type: ignore[no-any-return]
    try:
        return float(value) if isinstance(value, str) and "_" not in value else None
    except ValueError:
        return None


@dataclass
class _TypeChecker:
    classes: Sequence[str]
    multi_label: bool
    columns: Mapping[str, str]
    is_open: bool
    has_scores: bool

    def check_condition(self, node: Node) -> None:
        if self.type_of(node) not in ("bool", "unknown"):
            hint = "compare it with another value, e.g. label == 'a'"
            refuse(node.position, "expected a condition, found a value", hint)

    def type_of(self, node: Node) -> str:
        match node:
            case Literal():
                return value_type(node.value)
            case Field():
                return self._field_type(node)
            case Operation("length" | "number" as name, (argument,)):
                argument_type = self.type_of(argument)
                if name == "length" and argument_type not in ("text", "list", "unknown"):
                    problem = f"expected a text or a list in length(...), found a {argument_type}"
                    refuse(node.position, problem)
                return "number"
            case Operation("and" | "or" | "not", operands):
                for operand in operands:
                    self.check_condition(operand)
            case Operation("in", (left, Literal(tuple() as members))):
                for member in members:
                    self._check_equal(self.type_of(left), value_type(member), node.position)
                    self._check_label(left, Literal(member, node.position))
            case Operation(name, (left, right)):
                if name in ("==", "!="):
                    self._check_label(left, right)
                    self._check_label(right, left)
                elif name == "in" and isinstance(right, Field) and right.name == "labels":
                    self._check_label(right, left)
                self._check_comparison(name, self.type_of(left), self.type_of(right), node.position)
        return "bool"

    def _check_comparison(self, name: str, left: str, right: str, position: str) -> None:
        if name in ("==", "!="):
            self._check_equal(left, right, position)
        elif name == "in":
            is_text = right == "text" and left in ("text", "unknown")
            if right not in ("list", "unknown") and not is_text:
                refuse(position, f"expected a list, or a text in a text, found a {left} in a {right}")
        elif "unknown" not in (left, right) and (left != right or left not in ("number", "text")):
            problem = f"expected two numbers or two texts, found a {left} and a {right}"
            refuse(position, problem, _hint(left, right))

    def _check_label(self, field: Node, value: Node) -> None:
        """Refuse a comparison of predicted labels with a text that is none."""
        if not (isinstance(field, Field) and isinstance(value, Literal) and isinstance(value.value, str)):
            return
        is_label = field.source == "prediction" and field.name in ("label", "labels")
        if is_label and value.value not in self.classes:
            unknown = Field("prediction", value.value, is_quoted=True, position=value.position)
            self._refuse_name(unknown, "label", self.classes)

    def _check_equal(self, left: str, right: str, position: str) -> None:
        if left != right and not {left, right} & {"unknown", "null"}:
            refuse(position, f"a {left} is never equal to a {right}", _hint(left, right))

    def _field_type(self, field: Field) -> str:
        if field.source == "probability":
            if field.name not in self.classes:
                self._refuse_name(field, "class", self.classes)
            return "number"
        if field.source == "column":
            if field.name not in self.columns and not (self.is_open and field.is_quoted):
                self._refuse_name(field, "column", list(self.columns))
            return self.columns.get(field.name, "unknown")
        if field.name == "label" and self.multi_label:
            hint = "write e.g. 'sport' in labels, or probability['sport'] > 0.5"
            refuse(field.position, "a text may have several labels with this model", hint)
        if field.name == "labels" and not self.multi_label:
            refuse(field.position, "a text has one label with this model", "write label")
        if field.name == "score" and not self.has_scores:
            hint = "write column['score'] for a column of that name"
            refuse(field.position, "the model predicts labels, no scores", hint)
        return PREDICTION_TYPES[field.name]

    def _refuse_name(self, field: Field, what: str, names: Sequence[str]) -> None:
        cutoff = 0.5 if what == "label" else 0.6
        hint = None if field.is_quoted else "put quotes around a text"
        if similar := difflib.get_close_matches(field.name, names[:10_000], n=1, cutoff=cutoff):
            hint = f"did you mean {similar[0]!r}?"
        elif self.is_open and not field.is_quoted:
            hint = f"put quotes around a text; write column[{field.name!r}] for a column of later rows"
        refuse(field.position, f"there is no {what} {field.name[:60]!r}; there are {join_names(names)}", hint)


def _hint(left: str, right: str) -> str | None:
    if {left, right} == {"number", "text"}:
        return "number(...) reads a text as a number, and quotes make a text"
    return None


@dataclass
class _Evaluator:
    """Computes the values of nodes for a block of rows."""

    n_rows: int
    values_of: Callable[[Field], Any]

    def mask(self, node: Node) -> NDArray[np.bool_]:
        flags: Iterable[bool]
        match node:
            case Operation("and" | "or" as name, operands):
                join = np.logical_and if name == "and" else np.logical_or
                joined: NDArray[np.bool_] = reduce(join, map(self.mask, operands))
                return joined
            case Operation("not", (operand,)):
                return ~self.mask(operand)
            case Operation("in", (left, Literal(tuple() as values))):
                members = {(value_type(member), member) for member in values}
                types = {member_type for member_type, _ in members}  # all hashable
                flags = (
                    (value_type(v) in types and (value_type(v), v) in members) for v in self._values(left)
                )
            case Operation("in", (left, right)):
                flags = map(_contains, self._values(right), self._values(left))
            case Operation(name, (left, right)):
                flags = (
                    _compare(name, a, b) for a, b in zip(self._values(left), self._values(right), strict=True)
                )
            case _:
                flags = (value is True for value in self._values(node))
        return np.fromiter(flags, dtype=bool, count=self.n_rows)

    def _values(self, node: Node) -> list[Any]:
        match node:
            case Literal():
                return [node.value] * self.n_rows
            case Field():
                return _to_list(self.values_of(node))
            case Operation("number", (argument,)):
                return [_parse_number(value) for value in self._values(argument)]
            case Operation("length", (argument,)):
                values = self._values(argument)
                return [len(value) if isinstance(value, (str, list)) else None for value in values]
        mask: list[Any] = self.mask(node).tolist()
        return mask


def _to_list(column: Any) -> list[Any]:
    """Values as Python objects, times as texts."""
    if not isinstance(column, list):
        column = column.to_pylist() if hasattr(column, "to_pylist") else column.tolist()
    return [value.isoformat() if hasattr(value, "isoformat") else value for value in column]
