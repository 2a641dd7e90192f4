"""Parses row filters such as ``label == 'good' and confidence > 0.9``.

A filter is an expression in Python's grammar, with ``true``, ``false`` and ``null`` besides ``True``,
``False`` and ``None``. Python's parser builds the syntax tree, and :func:`parse` accepts only the nodes that
filters need: comparisons, ``in``, ``and``, ``or``, ``not``, names, literals, ``length(...)``,
``number(...)``, ``probability['...']`` and ``column['...']``. No part of a filter ever runs as code.
"""

from __future__ import annotations

import ast
import math
import warnings
from typing import NamedTuple, NoReturn, TypeAlias

from token2wave.errors import ConfigError

MAX_CHARACTERS = 10_000
MAX_DEPTH = 40  # nested conditions, so that no filter exhausts the stack
LOCATION = "--keep"
FUNCTIONS = ("length", "number")
PREDICTION_TYPES = {
    "label": "text",
    "labels": "list",
    "confidence": "number",
    "novelty": "number",
    "score": "number",
    "known": "bool",
}
"""The names of predictions and the types of their values."""
_CONSTANTS = {"true": True, "false": False, "null": None}
_OPERATORS = {ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_HINT = (
    "use ==, <, in, and, or, not, names, numbers and texts in quotes; a column of any name is column['name']"
)

Scalar: TypeAlias = str | int | float | bool | None


class Literal(NamedTuple):
    """A value written in the filter: a scalar, or the tuple on the right of ``in``."""

    value: Scalar | tuple[Scalar, ...]
    position: str


class Field(NamedTuple):
    """A value that each row has.

    Attributes:
        source: ``prediction``, ``probability`` or ``column``.
        name: the kind of prediction, the class or the column.
        is_quoted: whether the filter names the source, as in ``column['name']``.
        position: the place in the filter, for error messages.
    """

    source: str
    name: str
    is_quoted: bool
    position: str


class Operation(NamedTuple):
    """A comparison, ``in``, ``and``, ``or``, ``not``, ``length`` or ``number``, applied to its operands."""

    name: str
    operands: tuple[Node, ...]
    position: str


Node: TypeAlias = Literal | Field | Operation


def parse(text: str) -> tuple[Node, list[Field]]:
    """Parse a filter.

    Returns:
        The tree, and all fields that it reads.

    Raises:
        ConfigError: the filter is not valid; names the place and the problem.
    """
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(
            f"expected at most {MAX_CHARACTERS:,} characters, found {len(text):,}", location=LOCATION
        )
    parser = _Parser(text)
    return parser.tree(), parser.fields


def refuse(position: str, problem: str, hint: str | None = None) -> NoReturn:
    """Raise the error for a mistake in a filter."""
    raise ConfigError(problem, location=f"{LOCATION}, {position}", hint=hint)


class _Parser:
    def __init__(self, text: str) -> None:
        self.source = text.strip()
        self.indent = len(text) - len(text.lstrip())
        self.fields: list[Field] = []

    def tree(self) -> Node:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # refuses unknown escapes such as '\d'
                expression = ast.parse(self.source, mode="eval")
        except SyntaxError as error:
            if not error.offset:
                refuse(self._position(1, len(self.source) + 1), "expected a value, found the end", _HINT)
            refuse(self._position(error.lineno or 1, error.offset), error.msg, _HINT)
        except ValueError as error:  # half of a surrogate pair, or a number that is too long
            refuse(self._position(1, 1), f"expected valid text ({error})")
        except (RecursionError, MemoryError):
            refuse(self._position(1, 1), f"expected at most {MAX_DEPTH} levels of nesting")
        return self._convert(expression.body, 0)

    def _position(self, line: int, character: int) -> str:
        if line == 1:
            character += self.indent
        return f"character {character}" if "\n" not in self.source else f"line {line}, character {character}"

    def _position_of(self, node: ast.expr) -> str:
        if self.source.isascii():
            return self._position(node.lineno, node.col_offset + 1)
        line = self.source.split("\n")[node.lineno - 1].encode("utf-8")  # the parser counts bytes
        return self._position(node.lineno, len(line[: node.col_offset].decode("utf-8")) + 1)

    def _convert(self, node: ast.expr, depth: int) -> Node:
        position, depth = self._position_of(node), depth + 1
        if depth > MAX_DEPTH:
            refuse(position, f"expected at most {MAX_DEPTH} levels of nesting")
        match node:
            case ast.BoolOp(operator, values):
                name = "and" if isinstance(operator, ast.And) else "or"
                return Operation(name, tuple(self._convert(value, depth) for value in values), position)
            case ast.UnaryOp(ast.Not(), operand):
                return Operation("not", (self._convert(operand, depth),), position)
            case ast.Compare():
                return self._comparison(node, position, depth)
            case ast.Call(ast.Name(name), [argument], []) if name in FUNCTIONS:
                return Operation(name, (self._convert(argument, depth),), position)
            case ast.Subscript(ast.Name("probability" | "column" as source), ast.Constant(str() as name)):
                return self._field(source, name, True, position)
            case ast.Name(name) if name not in _CONSTANTS:
                return self._field(
                    "prediction" if name in PREDICTION_TYPES else "column", name, False, position
                )
        return Literal(self._scalar(node, position), position)

    def _field(self, source: str, name: str, is_quoted: bool, position: str) -> Field:
        self.fields.append(Field(source, name, is_quoted, position))
        return self.fields[-1]

    def _comparison(self, node: ast.Compare, position: str, depth: int) -> Node:
        """Convert a comparison; ``0.5 < confidence <= 0.9`` becomes two, joined by ``and``."""
        comparisons: list[Node] = []
        left = self._convert(node.left, depth)
        for operator, operand in zip(node.ops, node.comparators, strict=True):
            is_in = isinstance(operator, ast.In | ast.NotIn)
            name = "in" if is_in else _OPERATORS.get(type(operator))
            if name is None:
                refuse(position, "expected a comparison, found 'is'", "write == or !=")
            right = self._collection(operand, depth) if is_in else self._convert(operand, depth)
            comparison = Operation(name, (left, right), position)
            is_negated = isinstance(operator, ast.NotIn)
            comparisons.append(Operation("not", (comparison,), position) if is_negated else comparison)
            left = right
        return comparisons[0] if len(comparisons) == 1 else Operation("and", tuple(comparisons), position)

    def _collection(self, node: ast.expr, depth: int) -> Node:
        """Convert the right side of ``in``; parentheses around one value make a list of it."""
        position = self._position_of(node)
        if isinstance(node, ast.Tuple | ast.List):
            if not node.elts:
                refuse(position, "expected at least one value in the list")
            return Literal(
                tuple(self._scalar(value, self._position_of(value)) for value in node.elts), position
            )
        right = self._convert(node, depth)
        return Literal((right.value,), position) if isinstance(right, Literal) else right  # type: ignore[arg-type]

    def _scalar(self, node: ast.expr, position: str) -> Scalar:
        match node:
            case ast.Name(name) if name in _CONSTANTS:
                return _CONSTANTS[name]
            case ast.UnaryOp(ast.USub(), ast.Constant(int() | float() as number)) if type(number) is not bool:
                return -self._finite(number, position)
            case ast.Constant(str() | bool() | None as value):
                return value
            case ast.Constant(int() | float() as number):
                return self._finite(number, position)
        snippet = ast.get_source_segment(self.source, node) or ""
        refuse(position, f"expected a name, a value or a comparison, found {snippet[:40]!r}", _HINT)

    def _finite(self, number: float, position: str) -> float:
        if isinstance(number, float) and not math.isfinite(number):
            refuse(position, "expected a finite number")
        return number
