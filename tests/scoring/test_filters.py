"""Filters: what they mean, held against Python's own evaluation; and what they refuse."""

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
from token2wave.scoring.filter_parsing import MAX_CHARACTERS, MAX_DEPTH, Name, parse
from token2wave.scoring.filters import Filter

KINDS = {"views": "number", "name": "text", "tags": "list", "checked": "bool", "odd": "unknown"}


def keep(text: str, columns: dict[str, Any], n: int) -> list[bool]:
    return Filter.parse(text).mask(n, lambda name: columns[name.name]).tolist()


# ---- held against Python ----

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.integers(2**53 - 2, 2**53 + 2),
    st.floats(-5, 5).map(lambda number: round(number, 1)),
    st.text("abé'\"\\\n", max_size=3),
)
VALUES = st.one_of(SCALARS, st.just(math.nan), st.lists(SCALARS, max_size=3))


def written(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
        return f"'{escaped}'"
    return repr(value)


def kind(value: Any) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "number"
    return type(value).__name__


def equal(a: Any, b: Any) -> bool:
    return kind(a) == kind(b) and a == b


def less(a: Any, b: Any, order: str) -> bool:
    alike = kind(a) == kind(b) and kind(a) in ("number", "str")
    return alike and bool(eval(f"a {order} b", {"a": a, "b": b}))


def contains(holder: Any, value: Any) -> bool:
    if isinstance(holder, str):
        return isinstance(value, str) and value in holder
    return isinstance(holder, list) and any(equal(value, one) for one in holder)


RULES = {"equal": equal, "less": less, "contains": contains, "nan": math.nan}
NAMES = ("a", "b", "c")


@st.composite
def conditions(draw: Any, depth: int = 3) -> tuple[str, str]:
    """A filter, and an expression of Python that means the same."""
    what = draw(st.sampled_from(["compare", "in", "in column", "not", "and", "or"] if depth else ["compare"]))
    if what == "compare":
        left, right = draw(operands()), draw(operands())
        order = draw(st.sampled_from(["==", "!=", "<", "<=", ">", ">="]))
        python = f"less({left[1]}, {right[1]}, {order!r})"
        if order in ("==", "!="):
            python = f"{'not ' if order == '!=' else ''}equal({left[1]}, {right[1]})"
        return f"{left[0]} {order} {right[0]}", f"({python})"
    if what == "in":
        left, members = draw(operands()), draw(st.lists(SCALARS, min_size=1, max_size=3))
        filtered = f"{left[0]} in ({', '.join(map(written, members))})"
        return filtered, f"contains({members!r}, {left[1]})"
    if what == "in column":
        left, name = draw(operands()), draw(st.sampled_from(NAMES))
        negated = draw(st.booleans())
        python = f"contains(row[{name!r}], {left[1]})"
        return f"{left[0]} {'not ' * negated}in {name}", f"({'not ' * negated}{python})"
    if what == "not":
        inner = draw(conditions(depth=depth - 1))
        return f"not ({inner[0]})", f"(not {inner[1]})"
    parts = draw(st.lists(conditions(depth=depth - 1), min_size=2, max_size=3))
    return (
        "(" + f" {what} ".join(part[0] for part in parts) + ")",
        "(" + f" {what} ".join(part[1] for part in parts) + ")",
    )


@st.composite
def operands(draw: Any) -> tuple[str, str]:
    if draw(st.booleans()):
        name = draw(st.sampled_from(NAMES))
        return draw(st.sampled_from([name, f"column['{name}']"])), f"row[{name!r}]"
    value = draw(SCALARS)
    return written(value), repr(value)


ROWS = st.lists(st.fixed_dictionaries(dict.fromkeys(NAMES, VALUES)), min_size=1, max_size=6)


@settings(max_examples=300, deadline=None)
@given(conditions(), ROWS)
def test_filters_mean_what_python_means(condition: tuple[str, str], rows: list[dict[str, Any]]) -> None:
    columns = {name: [row[name] for row in rows] for name in NAMES}
    expected = [eval(condition[1], {**RULES, "row": row}) for row in rows]
    assert keep(condition[0], columns, len(rows)) == expected


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
    st.lists(st.one_of(st.none(), st.floats(), st.just(2.0**53)), min_size=1),
    st.one_of(st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False)),
)
def test_arrays_mean_what_lists_mean(order: str, values: list[float | None], literal: float) -> None:
    text = f"x {order} {literal!r}"
    expected = keep(text, {"x": values}, len(values))
    assert keep(text, {"x": pyarrow.array(values, pyarrow.float64())}, len(values)) == expected
    whole = [None if v is None or not math.isfinite(v) or abs(v) > 2**62 else int(v) for v in values]
    expected = keep(text, {"x": whole}, len(whole))
    assert keep(text, {"x": pyarrow.array(whole, pyarrow.int64())}, len(whole)) == expected
    chunked = pyarrow.chunked_array([whole[:1], whole[1:]], pyarrow.int64())
    assert keep(text, {"x": chunked}, len(whole)) == expected


def test_float32_is_compared_exactly() -> None:
    share = np.array([0.9], dtype=np.float32)
    assert keep("x > 0.9", {"x": share}, 1) == [float(share[0]) > 0.9]
    assert keep("x == 0.9", {"x": share}, 1) == [False]


# ---- what else there is ----


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
        ("views == null or views in (11, 10)", [True, True, True]),
        ("when >= '2024-02-01'", [False, True, False]),
        ("price > 1.1", [False, True, False]),
        ("true", [True, True, True]),
        ("(views == 10) == (views != null)", [True, True, False]),
        ('NAME == 1 or name == "10"', [True, False, False]),
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
    assert keep(text, columns, 3) == expected


def test_names_that_are_read() -> None:
    found = Filter.parse(
        "label == 'a' and column['label'] == 'b' and x in (1) and not length(y) > 2 and 'z' in w"
    )
    assert found.columns == ["label", "x", "y", "w"]
    assert not found.reads_novelty
    assert Filter.parse("novelty < 1").reads_novelty
    assert not Filter.parse("column['novelty'] < 1").reads_novelty


# ---- what is refused ----


@pytest.mark.parametrize(
    ("text", "at", "said"),
    [
        ("", 1, "expected a name or a value, found the end"),
        ("label ==", 9, "expected a name or a value, found the end"),
        ("label = 'a'", 7, "write '==' instead of '='"),
        ("a && b", 3, "write 'and' instead of '&&'"),
        ("!a", 1, "write 'not' instead of '!'"),
        ("label == 'a", 10, "close the quotes"),
        ("(a == 1", 8, "expected ')', found the end"),
        ("a == 1)", 7, "expected 'and', 'or' or the end, found ')'"),
        ("a in 1, 2", 7, "expected 'and', 'or' or the end, found ','"),
        ("a in (1 2)", 9, "expected ',' or ')', found '2'"),
        ("a in ()", 7, "expected a name or a value"),
        ("a not 1", 7, "expected 'in' after 'not'"),
        ("probability[spam] > 1", 13, "a name in quotes"),
        ("a == -b", 7, "expected a number"),
        ("a == 1e999", 6, "finite"),
        ("a == " + "9" * 400, 6, "at most 300 digits"),
        ("a == '\\x'", 7, "after a backslash"),
        ("a @ b", 3, "found '@ b'"),
        ("a == 1 ; b", 8, "found '; b'"),
        ("__import__('os')", 11, "expected 'and', 'or' or the end, found '('"),
        ("(" * 1000 + "a", MAX_DEPTH + 1, f"at most {MAX_DEPTH} levels"),
        ("not " * 1000 + "a", 4 * (MAX_DEPTH + 1) + 1, f"at most {MAX_DEPTH} levels"),
        ("length(" * 1000, 7 * (MAX_DEPTH + 1) + 1, f"at most {MAX_DEPTH} levels"),
    ],
)
def test_errors_say_where_and_what(text: str, at: int, said: str) -> None:
    with pytest.raises(ConfigError, match=r"^--keep, character \d+: ") as raised:
        parse(text)
    assert f"character {at}: " in str(raised.value)
    assert said in str(raised.value)


def test_long_filters_are_refused() -> None:
    with pytest.raises(ConfigError, match="at most 10,000 characters"):
        parse(" " * MAX_CHARACTERS + "a")
    assert parse("a == 1" + " or a == 1" * 900)


@settings(max_examples=500, deadline=None)
@given(st.text("ab'\"\\()[],=<>!&|0.9e- \nnotrindé" + "\0\ud800", max_size=40))
def test_no_text_does_anything_but_parse_or_be_refused(text: str) -> None:
    try:
        found = Filter.parse(text)
    except ConfigError:
        return
    keep = found.mask(2, lambda name: [None, 1])
    assert keep.shape == (2,)
    assert keep.dtype == bool


@pytest.mark.parametrize(
    ("text", "said"),
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
def test_what_cannot_mean_anything_is_refused_beforehand(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Filter.parse(text).check(("good", "spam"), False, KINDS)
    assert said in str(raised.value)


def test_what_can_mean_something_passes() -> None:
    for text in (
        "odd == 1 and odd > 'a' and 'b' in odd",
        "views != null",
        "probability['spam'] > confidence",
    ):
        Filter.parse(text).check(("good", "spam"), False, KINDS)
    Filter.parse("column['later'] > 2").check(("a",), False, KINDS, is_open=True)
    with pytest.raises(ConfigError, match=r"write it|is column\['later'\]"):
        Filter.parse("later > 2").check(("a",), False, KINDS, is_open=True)
    Filter.parse("'a' in labels").check(("a",), True, KINDS)
    with pytest.raises(ConfigError, match="several labels"):
        Filter.parse("label == 'a'").check(("a",), True, KINDS)
    assert Filter.parse("a").root == Name("", "a", 0)
