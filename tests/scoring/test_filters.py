"""Filters agree with an independent evaluation in Python, and mistakes are refused with their place."""

from __future__ import annotations

import datetime
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from token2wave.errors import ConfigError
from token2wave.scoring.filter_parsing import MAX_CHARACTERS, MAX_DEPTH, Field, parse
from token2wave.scoring.filters import Filter

COLUMN_TYPES = {"views": "number", "name": "text", "tags": "list", "checked": "bool", "odd": "unknown"}


def evaluate(text: str, columns: dict[str, Any], n: int) -> list[bool]:
    return list(map(bool, Filter.parse(text).mask(n, lambda field: columns[field.name])))


# ---- agreement with Python ----

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.integers(2**53 - 2, 2**53 + 2),
    st.floats(-5, 5).map(lambda number: round(number, 1)),
    st.text("abé'\"\\\n", max_size=3),
)
VALUES = st.one_of(SCALARS, st.just(math.nan), st.lists(SCALARS, max_size=3))
OPERATORS = ["==", "!=", "<", "<=", ">", ">="]


def write_literal(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
        return f"'{escaped}'"
    return repr(value)


def type_name(value: Any) -> str:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return "number" if is_number else type(value).__name__


def equal(a: Any, b: Any) -> bool:
    return type_name(a) == type_name(b) and a == b


def less(a: Any, b: Any, order: str) -> bool:
    has_order = type_name(a) == type_name(b) and type_name(a) in ("number", "str")
    return has_order and bool(eval(f"a {order} b", {"a": a, "b": b}))


def contains(container: Any, value: Any) -> bool:
    if isinstance(container, str):
        return isinstance(value, str) and value in container
    return isinstance(container, list) and any(equal(value, item) for item in container)


RULES = {"equal": equal, "less": less, "contains": contains, "nan": math.nan}
NAMES = ("a", "b", "c")


@st.composite
def conditions(draw: Any, depth: int = 3) -> tuple[str, str]:
    """Draw a filter and a Python expression of the same meaning."""
    what = draw(st.sampled_from(["compare", "in", "in column", "not", "and", "or"] if depth else ["compare"]))
    if what == "compare":
        left, right = draw(operands()), draw(operands())
        order = draw(st.sampled_from(OPERATORS))
        python = f"less({left[1]}, {right[1]}, {order!r})"
        if order in ("==", "!="):
            python = f"{'not ' if order == '!=' else ''}equal({left[1]}, {right[1]})"
        return f"{left[0]} {order} {right[0]}", f"({python})"
    if what == "in":
        left, members = draw(operands()), draw(st.lists(SCALARS, min_size=1, max_size=3))
        return (
            f"{left[0]} in ({', '.join(map(write_literal, members))})",
            f"contains({members!r}, {left[1]})",
        )
    if what == "in column":
        left, name = draw(operands()), draw(st.sampled_from(NAMES))
        negated = draw(st.booleans())
        python = f"contains(row[{name!r}], {left[1]})"
        return f"{left[0]} {'not ' * negated}in {name}", f"({'not ' * negated}{python})"
    if what == "not":
        inner = draw(conditions(depth=depth - 1))
        return f"not ({inner[0]})", f"(not {inner[1]})"
    pairs = draw(st.lists(conditions(depth=depth - 1), min_size=2, max_size=3))
    filters, expressions = zip(*pairs, strict=True)
    return f"({f' {what} '.join(filters)})", f"({f' {what} '.join(expressions)})"


@st.composite
def operands(draw: Any) -> tuple[str, str]:
    if draw(st.booleans()):
        name = draw(st.sampled_from(NAMES))
        return draw(st.sampled_from([name, f"column['{name}']"])), f"row[{name!r}]"
    value = draw(SCALARS)
    return write_literal(value), repr(value)


ROWS = st.lists(st.fixed_dictionaries(dict.fromkeys(NAMES, VALUES)), min_size=1, max_size=6)


@settings(max_examples=300, deadline=None)
@given(conditions(), ROWS)
def test_filters_agree_with_python(condition: tuple[str, str], rows: list[dict[str, Any]]) -> None:
    columns = {name: [row[name] for row in rows] for name in NAMES}
    expected = [eval(condition[1], {**RULES, "row": row}) for row in rows]
    assert evaluate(condition[0], columns, len(rows)) == expected


def test_arrays_are_compared_exactly() -> None:
    large = pyarrow.chunked_array([[2**53, None], [2**53 + 1]], pyarrow.int64())
    assert evaluate(f"x > {2**53}", {"x": large}, 3) == [False, False, True]
    assert evaluate(f"x > {2**53}.0", {"x": large.to_pylist()}, 3) == [False, False, True]
    confidence = np.array([0.9], dtype=np.float32)
    assert evaluate("x > 0.9", {"x": confidence}, 1) == [float(confidence[0]) > 0.9]
    assert evaluate("x == 0.9", {"x": confidence}, 1) == [False]


# ---- the language ----


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.2 < views <= 10", [False, True, False]),
        ("length(name) > 2", [False, False, True]),
        ("length(tags) == 2", [True, False, False]),
        ("number(name) >= 10", [True, False, False]),
        ("checked", [True, False, False]),
        ("not checked", [False, True, True]),
        ("'b' in tags and not 'c' in tags", [True, False, False]),
        ("'xy' in name", [False, False, True]),
        ("name in ('xyz')", [False, False, True]),
        ("views == null or views in (11, 10)", [True, True, True]),
        ("when >= '2024-02-01'", [False, True, False]),
        ("price > 1.1", [False, True, False]),
        ("true", [True, True, True]),
        ("(views == 10) == (views != null)", [True, True, False]),
        ('NAME == 1 or name == "10"', [True, False, False]),
        (" (views == 10\n or views == 11) ", [False, True, True]),
    ],
)
def test_what_filters_can_say(text: str, expected: list[bool]) -> None:
    columns = {
        "views": [None, 10, 11],
        "name": ["10", None, "xyz"],
        "tags": [["a", "b"], [], None],
        "checked": [True, False, None],
        "when": [datetime.date(2024, 1, 31), datetime.datetime(2024, 2, 1), None],
        "price": [Decimal("1.1"), Decimal("1.2"), None],
        "NAME": [None, None, None],
    }
    assert evaluate(text, columns, 3) == expected


def test_fields_that_a_filter_reads() -> None:
    text = "label == 'a' and column['label'] == 'b' and x in (1) and not length(y) > 2 and 'z' in w"
    assert Filter.parse(text).columns == ["label", "x", "y", "w"]
    assert not Filter.parse(text).reads_novelty
    assert Filter.parse("novelty < 1").reads_novelty
    assert not Filter.parse("column['novelty'] < 1").reads_novelty
    assert Filter.parse("é == 'é' and b").fields[1] == Field("column", "b", False, "character 14")


# ---- mistakes ----


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("", 1, "expected a value, found the end"),
        ("label ==", 9, "expected a value, found the end"),
        ("label = 'a'", 7, "use =="),
        ("  label == a b", 14, "invalid syntax"),
        ("a && b", 4, "and, or, not"),
        ("label == 'a", 10, "unterminated string"),
        ("(a == 1", 1, "'(' was never closed"),
        ("a == 1)", 7, "unmatched ')'"),
        ("a in ()", 6, "at least one value"),
        ("probability[spam] > 1", 1, "found 'probability[spam]'"),
        ("a == -b", 6, "found '-b'"),
        ("a == 1e999", 6, "finite"),
        ("a == '\\d'", 6, "invalid escape sequence"),
        ("a @ b", 1, "found 'a @ b'"),
        ("a == b'b'", 6, "found \"b'b'\""),
        ("a == f'{b}'", 6, "found \"f'{b}'\""),
        ("a == (1, 2)", 6, "found '(1, 2)'"),
        ("a is null", 1, "write == or !="),
        ("__import__('os')", 1, "found \"__import__('os')\""),
        ("length(a, key=b) > 1", 1, "found 'length(a, key=b)'"),
        ("not " * 1000 + "a", 4 * MAX_DEPTH + 1, f"at most {MAX_DEPTH} levels"),
        ("-" * 9999 + "1", 1, f"at most {MAX_DEPTH} levels"),
        ("length(" * 60 + "a" + ")" * 60, 7 * MAX_DEPTH + 1, f"at most {MAX_DEPTH} levels"),
        ("a == '\ud800'", 1, "expected valid text"),
    ],
)
def test_mistakes_are_refused_with_their_place(text: str, position: int, message: str) -> None:
    with pytest.raises(ConfigError, match=r"^--keep, character \d+: ") as raised:
        parse(text)
    assert f"character {position}: " in str(raised.value)
    assert message in str(raised.value)


@pytest.mark.parametrize("text", ["a not 1", "class == 1", "a == 1 ; b", "(" * 1000, "a\0"])
def test_no_expression(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--keep, character"):
        parse(text)


def test_long_filters_are_refused() -> None:
    with pytest.raises(ConfigError, match="at most 10,000 characters"):
        parse(" " * MAX_CHARACTERS + "a")
    assert parse("a == 1" + " or a == 1" * 900)


@settings(max_examples=500, deadline=None)
@given(st.text("ab'\"\\()[],=<>!&|0.9e- \nnotrindé" + "\0\ud800", max_size=40))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        row_filter = Filter.parse(text)
    except ConfigError:
        return
    mask = row_filter.mask(2, lambda field: [None, 1])
    assert mask.shape == (2,)
    assert mask.dtype == bool


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lable == 'good'", "there is no column 'lable'"),
        ("label == good", "put quotes around a text"),
        ("nam == 'x'", "did you mean 'name'?"),
        ("probability['gut'] > 0.5", "there is no class 'gut'"),
        ("views > '10'", "expected two numbers or two texts, found a number and a text"),
        ("name > 10", "number(...) reads a text as a number"),
        ("label == 1", "a text is never equal to a number"),
        ("label in ('good', 2)", "a text is never equal to a number"),
        ("views", "expected a condition, found a value"),
        ("label == 'good' or 'spam'", "expected a condition, found a value"),
        ("labels == 'good'", "a text has one label with this model"),
        ("length(views) > 1", "expected a text or a list"),
        ("'a' in views", "expected a list"),
        ("1 in name", "expected a list"),
        ("views < null", "expected two numbers or two texts"),
        ("checked < true", "expected two numbers or two texts"),
    ],
)
def test_filters_that_can_never_be_true_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Filter.parse(text).check(("good", "spam"), False, COLUMN_TYPES)
    assert message in str(raised.value)


def test_valid_filters_pass_the_check() -> None:
    for text in (
        "odd == 1 and odd > 'a' and 'b' in odd",
        "views != null",
        "probability['spam'] > confidence",
    ):
        Filter.parse(text).check(("good", "spam"), False, COLUMN_TYPES)
    Filter.parse("column['later'] > 2").check(("a",), False, COLUMN_TYPES, is_open=True)
    with pytest.raises(ConfigError, match=r"write column\['later'\]"):
        Filter.parse("later > 2").check(("a",), False, COLUMN_TYPES, is_open=True)
    Filter.parse("'a' in labels").check(("a",), True, COLUMN_TYPES)
    with pytest.raises(ConfigError, match="several labels"):
        Filter.parse("label == 'a'").check(("a",), True, COLUMN_TYPES)
