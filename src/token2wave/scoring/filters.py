"""Filters rows by their predictions and columns, a column at a time.

Rules that hold for every value: ``==`` holds between values of one kind alone, and ``null == null`` does;
an order (``<`` and its like) holds between two numbers or two texts, never with null or with NaN. Times are
texts, as ISO 8601 writes them.
"""

from __future__ import annotations

import difflib
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.data.values import join_names
from token2wave.scoring.filter_parsing import (
    Call,
    Compare,
    In,
    Junction,
    Literal,
    Members,
    Name,
    Node,
    Not,
    parse,
    refuse,
)

Mask = NDArray[np.bool_]
PREDICTED = {"label": "text", "labels": "list", "confidence": "number", "novelty": "number"}
"""Names of what is predicted, and their kinds."""
_ORDERS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_EXACT = 2**53  # integers up to here are float64


@dataclass(frozen=True)
class Filter:
    """A parsed filter.

    Attributes:
        text: as it was written.
        root: the tree.
    """

    text: str
    root: Node

    @classmethod
    def parse(cls, text: str) -> Filter:
        """Parse a filter, e.g. ``label == 'good' and confidence > 0.9``.

        Raises:
            ConfigError: it is none; says at which character, and what was expected.
        """
        return cls(text, parse(text))

    @property
    def columns(self) -> list[str]:
        """Columns of the input that the filter reads, each once."""
        names = _collect_names(self.root)
        columns = (name.name for name in names if name.kind == "column" or _is_plain_column(name))
        return list(dict.fromkeys(columns))

    @property
    def reads_novelty(self) -> bool:
        """Whether the filter reads the novelty of texts."""
        return any(name.kind == "" and name.name == "novelty" for name in _collect_names(self.root))

    def check(
        self, classes: Sequence[str], multi_label: bool, columns: Mapping[str, str], is_open: bool = False
    ) -> None:
        """Check the filter against the classes and columns, before the work begins.

        Args:
            classes: names of the classes.
            multi_label: whether a text may have several.
            columns: the columns of the input by name, each with the kind of its values: ``text``, ``number``,
                ``bool``, ``list``, or ``unknown``.
            is_open: whether there may be further columns; ``column['name']`` is then taken as it is.

        Raises:
            ConfigError: a name does not exist, or the filter compares kinds that are never equal.
        """
        _TypeChecker(classes, multi_label, columns, is_open).condition(self.root)

    def mask(self, n_rows: int, value_of: Callable[[Name], Any]) -> Mask:
        """The rows for which the filter is true, ``(n_rows,)`` bool.

        Args:
            n_rows: how many rows there are.
            value_of: gives the values of a name for all rows: a list, or an array of numpy or of ``pyarrow``.
        """
        return _Evaluator(n_rows, value_of).condition(self.root)


def kind_of(value: object) -> str:
    """The kind of a value."""
    if value is None:
        return "null"
    if isinstance(value, (bool, np.bool_)):
        return "bool"
    if isinstance(value, (int, float, Decimal, np.integer, np.floating)):
        return "number"
    if isinstance(value, str):
        return "text"
    return "list" if isinstance(value, (list, tuple)) else "unknown"


def compare_values(order: str, left: Any, right: Any) -> bool:
    """Compare two values; the rules stand at the top."""
    kind = kind_of(left)
    same = kind == kind_of(right)
    if order in ("==", "!="):
        equal = same and kind != "unknown" and bool(left == right)
        return equal == (order == "==")
    return same and kind in ("number", "text") and bool(_ORDERS[order](left, right))


def _contains(value: Any, holder: Any) -> bool:
    if isinstance(holder, str):
        return isinstance(value, str) and value in holder
    return isinstance(holder, (list, tuple)) and any(compare_values("==", value, item) for item in holder)


def _number(value: Any) -> float | None:
    """The number that a text spells, or a number as it is."""
    if kind_of(value) == "number":
        return value  # type: ignore[no-any-return]
    try:
        return float(value) if isinstance(value, str) and "_" not in value else None
    except ValueError:
        return None


def _collect_names(node: Node | Members) -> list[Name]:
    if isinstance(node, Name):
        return [node]
    if isinstance(node, Call):
        return _collect_names(node.argument)
    if isinstance(node, Compare):
        return _collect_names(node.left) + _collect_names(node.right)
    if isinstance(node, In):
        return _collect_names(node.left) + _collect_names(node.right)
    if isinstance(node, Not):
        return _collect_names(node.operand)
    if isinstance(node, Junction):
        return [name for operand in node.operands for name in _collect_names(operand)]
    return []


def _is_plain_column(name: Name) -> bool:
    return name.kind == "" and name.name not in PREDICTED


class _TypeChecker:
    """Checks the kinds of all nodes, as far as they are known beforehand."""

    def __init__(
        self, classes: Sequence[str], multi_label: bool, columns: Mapping[str, str], is_open: bool
    ) -> None:
        self.classes, self.multi_label = classes, multi_label
        self.columns, self.is_open = columns, is_open

    def condition(self, node: Node) -> None:
        if self.kind(node) not in ("bool", "unknown"):
            refuse(
                node.at, "expected a condition, found a value", "compare it with another, e.g. label == 'a'"
            )

    def kind(self, node: Node) -> str:
        if isinstance(node, Literal):
            return kind_of(node.value)
        if isinstance(node, Name):
            return self.name(node)
        if isinstance(node, Call):
            argument = self.kind(node.argument)
            if node.function == "length" and argument not in ("text", "list", "unknown"):
                refuse(node.at, f"expected a text or a list in length(...), found a {argument}")
            return "number"
        if isinstance(node, Compare):
            self.pair(node.order, node.left, node.right, node.at)
        elif isinstance(node, In):
            self.members(node)
        elif isinstance(node, Not):
            self.condition(node.operand)
        else:
            for operand in node.operands:
                self.condition(operand)
        return "bool"

    def pair(self, order: str, left: Node, right: Node, at: int) -> None:
        kinds = self.kind(left), self.kind(right)
        if "unknown" in kinds:
            return
        if order in ("==", "!="):
            if len(set(kinds)) > 1 and "null" not in kinds:
                self.unequal(at, kinds)
        elif len(set(kinds)) > 1 or kinds[0] not in ("number", "text"):
            refuse(
                at, f"expected two numbers or two texts, found a {kinds[0]} and a {kinds[1]}", _hint(kinds)
            )

    def members(self, node: In) -> None:
        left = self.kind(node.left)
        if isinstance(node.right, Members):
            others = {kind_of(value) for value in node.right.values} - {left, "null"}
            if others and left not in ("unknown", "null"):
                self.unequal(node.right.at, (left, others.pop()))
            return
        right = self.kind(node.right)
        if right not in ("list", "text", "unknown") or (right == "text" and left not in ("text", "unknown")):
            refuse(node.at, f"expected a list, or a text in a text, found a {left} in a {right}")

    def unequal(self, at: int, kinds: tuple[str, str]) -> None:
        refuse(at, f"a {kinds[0]} is never equal to a {kinds[1]}", _hint(kinds))

    def name(self, node: Name) -> str:
        if node.kind == "probability":
            if node.name not in self.classes:
                self.unknown(node, "class", self.classes)
            return "number"
        if node.kind == "column" or _is_plain_column(node):
            if node.name not in self.columns and not (self.is_open and node.kind):
                self.unknown(node, "column", self.columns)
            return self.columns.get(node.name, "unknown")
        if node.name == "label" and self.multi_label:
            refuse(
                node.at,
                "a text may have several labels with this model",
                "write e.g. 'sport' in labels, or probability['sport'] > 0.5",
            )
        if node.name == "labels" and not self.multi_label:
            refuse(node.at, "a text has one label with this model", "write label")
        return PREDICTED[node.name]

    def unknown(self, node: Name, what: str, names: Sequence[str] | Mapping[str, str]) -> None:
        near = difflib.get_close_matches(node.name, list(names)[:10_000], n=1)
        hint = "put quotes around a text" if not node.kind else None
        if near:
            hint = f"did you mean {near[0]!r}?"
        elif self.is_open and not node.kind:
            hint = f"put quotes around a text; a column that comes later is column[{node.name!r}]"
        refuse(node.at, f"there is no {what} {node.name[:60]!r}; there are {join_names(list(names))}", hint)


def _hint(kinds: tuple[str, str]) -> str | None:
    if set(kinds) == {"number", "text"}:
        return "number(...) reads a text as a number, and quotes make a text"
    return None


class _Evaluator:
    """Computes the values of all nodes for a block of rows."""

    def __init__(self, n_rows: int, value_of: Callable[[Name], Any]) -> None:
        self.n_rows, self.value_of = n_rows, value_of

    def condition(self, node: Node) -> Mask:
        if isinstance(node, Compare):
            return self.compared(node)
        if isinstance(node, In):
            return self.contained(node)
        if isinstance(node, Not):
            return ~self.condition(node.operand)
        if isinstance(node, Junction):
            both = np.logical_and if node.word == "and" else np.logical_or
            mask: Mask = reduce(both, map(self.condition, node.operands))
            return mask
        return self.mask(value is True for value in self.values(node))

    def compared(self, node: Compare) -> Mask:
        if (
            node.order in ("==", "!=")
            and isinstance(node.right, Literal)
            and isinstance(node.right.value, str)
        ):
            text, equal = node.right.value, node.order == "=="  # fast path for the most common filter
            return self.mask((value == text) == equal for value in self.values(node.left))
        left, right = self.operand(node.left), self.operand(node.right)
        if _is_exact(left) and _is_exact(right):
            return np.broadcast_to(np.asarray(_ORDERS[node.order](left, right), dtype=bool), (self.n_rows,))
        return self.mask(
            compare_values(node.order, a, b)
            for a, b in zip(self.values(node.left), self.values(node.right), strict=True)
        )

    def contained(self, node: In) -> Mask:
        left = self.values(node.left)
        if isinstance(node.right, Members):
            members = node.right.values
            return self.mask(any(compare_values("==", value, member) for member in members) for value in left)
        holders = self.values(node.right)
        return self.mask(_contains(value, holder) for value, holder in zip(left, holders, strict=True))

    def mask(self, flags: Any) -> Mask:
        return np.fromiter(flags, dtype=bool, count=self.n_rows)

    def operand(self, node: Node) -> Any:
        """A number, an array of numbers without gaps, or None where it is neither."""
        if isinstance(node, Literal):
            return node.value if kind_of(node.value) == "number" else None
        if not isinstance(node, Name):
            return None
        operand = self.value_of(node)
        if str(getattr(operand, "type", "")).startswith(("int", "uint", "double")) and not operand.null_count:
            operand = operand.to_numpy()
        return operand if isinstance(operand, np.ndarray) and operand.dtype.kind in "iuf" else None

    def values(self, node: Node) -> list[Any]:
        if isinstance(node, Literal):
            return [node.value] * self.n_rows
        if isinstance(node, Name):
            return _to_list(self.value_of(node))
        if isinstance(node, Call):
            values = self.values(node.argument)
            if node.function == "number":
                return [_number(value) for value in values]
            return [len(value) if isinstance(value, (str, list, tuple)) else None for value in values]
        mask: list[Any] = self.condition(node).tolist()
        return mask


def _to_list(column: Any) -> list[Any]:
    """Values as Python has them, times as texts."""
    if not isinstance(column, list):
        column = column.to_pylist() if hasattr(column, "to_pylist") else column.tolist()
    return [value.isoformat() if hasattr(value, "isoformat") else value for value in column]


def _is_exact(operand: Any) -> bool:
    """Whether numpy compares this with float64 without losing a digit."""
    if operand is None:
        return False
    if isinstance(operand, np.ndarray) and operand.dtype.kind in "iu":
        return not len(operand) or bool(operand.min() >= -_EXACT and operand.max() <= _EXACT)
    if isinstance(operand, np.ndarray):
        return bool(operand.dtype == np.float64)
    return bool(-_EXACT <= operand <= _EXACT)
