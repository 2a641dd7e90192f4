"""The language of filters: from text to a tree. It is parsed, never evaluated as code.

condition  = conjunction { "or" conjunction }
conjunction = negation { "and" negation }
negation   = "not" negation | comparison
comparison = value { ("==" | "!=" | "<" | "<=" | ">" | ">=") value } | value ["not"] "in" (list | value)
list       = "(" literal { "," literal } ")"
value      = literal | name | "length" "(" value ")" | "number" "(" value ")" | "(" condition ")"
name       = identifier | "probability" "[" string "]" | "column" "[" string "]"
literal    = ["-"] number | string | "true" | "false" | "null"
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, NoReturn, TypeAlias

from token2wave.errors import ConfigError

MAX_CHARACTERS = 10_000
MAX_DEPTH = 40  # of parentheses and negations, so that no text exhausts the stack
MAX_DIGITS = 300
LOCATION = "--keep"
KEYWORDS = {"and", "or", "not", "in", "true", "false", "null"}
FUNCTIONS = ("length", "number")
LOOKUPS = ("probability", "column")
ORDERS = ("==", "!=", "<=", ">=", "<", ">")
_TOKEN = re.compile(
    r"""\s*(?:
    (?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    | (?P<word>[^\W\d]\w*)
    | (?P<sign>==|!=|<=|>=|&&|\|\||[<>()\[\],=!&|+*/%-])
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "t": "\t", "\\": "\\", "'": "'", '"': '"'}
_HINTS = {"=": "==", "&&": "and", "&": "and", "||": "or", "|": "or", "!": "not"}

Scalar: TypeAlias = str | int | float | bool | None


class Literal(NamedTuple):
    """A value that stands in the filter itself."""

    value: Scalar
    at: int


class Name(NamedTuple):
    """A value that each row has: ``kind`` is empty for a plain name, else ``probability`` or ``column``."""

    kind: str
    name: str
    at: int


class Call(NamedTuple):
    """``length`` or ``number`` of a value."""

    function: str
    argument: Node
    at: int


class Compare(NamedTuple):
    """Two values, compared."""

    order: str
    left: Node
    right: Node
    at: int


class Members(NamedTuple):
    """A list of literals."""

    values: tuple[Scalar, ...]
    at: int


class In(NamedTuple):
    """Whether a value is among literals, or in a list or text that each row has."""

    left: Node
    right: Node | Members
    at: int


class Not(NamedTuple):
    """The opposite."""

    operand: Node
    at: int


class Junction(NamedTuple):
    """All of them (``and``), or any (``or``)."""

    word: str
    operands: tuple[Node, ...]
    at: int


Node: TypeAlias = Literal | Name | Call | Compare | In | Not | Junction


def parse(text: str) -> Node:
    """Parse a filter.

    Raises:
        ConfigError: the filter is not valid; says at which character, and what was expected.
    """
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(
            f"expected at most {MAX_CHARACTERS:,} characters, found {len(text):,}", location=LOCATION
        )
    return _Parser(text).whole()


def refuse(at: int, problem: str, hint: str | None = None) -> NoReturn:
    """Say what is wrong with a filter, and where."""
    raise ConfigError(problem, location=f"{LOCATION}, character {at + 1}", hint=hint)


@dataclass(frozen=True)
class _Token:
    kind: str  # number, string, word, sign or end
    text: str
    at: int

    def __str__(self) -> str:
        return "the end" if self.kind == "end" else repr(self.text[:40])


def _tokens(text: str) -> list[_Token]:
    tokens, at = [], 0
    end = len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            start = at + len(text[at:]) - len(text[at:].lstrip())
            problem = f"expected a name, a value or a comparison, found {text[start : start + 10]!r}"
            hint = "close the quotes" if text[start] in "'\"" else None
            refuse(start, problem, hint)
        tokens.append(_Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
        at = match.end()
    return [*tokens, _Token("end", "", end)]


class _Parser:
    """Recursive descent, one method a rule."""

    def __init__(self, text: str) -> None:
        self.tokens = _tokens(text)
        self.next = 0
        self.depth = 0

    @property
    def token(self) -> _Token:
        return self.tokens[self.next]

    def whole(self) -> Node:
        root = self.condition()
        if self.token.kind != "end":
            self.fail("expected 'and', 'or' or the end")
        return root

    def condition(self) -> Node:
        return self.junction("or", self.conjunction)

    def conjunction(self) -> Node:
        return self.junction("and", self.negation)

    def junction(self, word: str, rule: Callable[[], Node]) -> Node:
        at = self.token.at
        parts: list[Node] = [rule()]
        while self.take("word", word):
            parts.append(rule())
        return parts[0] if len(parts) == 1 else Junction(word, tuple(parts), at)

    def negation(self) -> Node:
        at = self.token.at
        if not self.take("word", "not"):
            return self.comparison()
        self.deeper()
        node = Not(self.negation(), at)
        self.depth -= 1
        return node

    def comparison(self) -> Node:
        left = self.value()
        at = self.token.at
        if self.token.kind == "word" and self.token.text in ("in", "not"):
            negated = self.take("word", "not")
            if not self.take("word", "in"):
                self.fail("expected 'in' after 'not'")
            node = In(left, self.members(), at)
            return Not(node, at) if negated else node
        pairs: list[Node] = []
        while self.token.kind == "sign" and self.token.text in ORDERS:
            at, order = self.token.at, self.token.text
            self.next += 1
            right = self.value()
            pairs.append(Compare(order, left, right, at))
            left = right
        if not pairs:
            return left
        return pairs[0] if len(pairs) == 1 else Junction("and", tuple(pairs), at)

    def members(self) -> Node | Members:
        at = self.token.at
        if not self.take("sign", "("):
            return self.value()
        node = [self.literal().value]
        while self.take("sign", ","):
            node.append(self.literal().value)
        self.expect(")", "expected ',' or ')'")
        return Members(tuple(node), at)

    def value(self) -> Node:
        token = self.token
        if token.kind == "sign" and token.text == "(":
            self.deeper()
            self.next += 1
            node = self.condition()
            self.expect(")", "expected ')'")
            self.depth -= 1
            return node
        if token.kind == "word" and token.text not in KEYWORDS:
            return self.name()
        return self.literal()

    def name(self) -> Node:
        token = self.token
        self.next += 1
        if token.text in FUNCTIONS and self.take("sign", "("):
            self.deeper()
            argument = self.value()
            self.expect(")", "expected ')'")
            self.depth -= 1
            return Call(token.text, argument, token.at)
        if token.text in LOOKUPS and self.take("sign", "["):
            if self.token.kind != "string":
                self.fail(f"expected a name in quotes, as in {token.text}['name']")
            name = self.string()
            self.expect("]", "expected ']'")
            return Name(token.text, name, token.at)
        return Name("", token.text, token.at)

    def literal(self) -> Literal:
        token = self.token
        if token.kind == "string":
            return Literal(self.string(), token.at)
        if token.kind == "word" and token.text in ("true", "false", "null"):
            self.next += 1
            return Literal({"true": True, "false": False, "null": None}[token.text], token.at)
        negative = self.take("sign", "-")
        if self.token.kind != "number":
            self.fail("expected a number" if negative else "expected a name or a value")
        number = self.number()
        return Literal(-number if negative else number, token.at)

    def number(self) -> int | float:
        token = self.token
        if len(token.text) > MAX_DIGITS:
            refuse(token.at, f"expected a number of at most {MAX_DIGITS} digits")
        number = int(token.text) if token.text.isdecimal() else float(token.text)
        if not math.isfinite(number):
            refuse(token.at, f"expected a finite number, found {token.text[:40]!r}")
        self.next += 1
        return number

    def string(self) -> str:
        token = self.token

        def unescaped(match: re.Match[str]) -> str:
            if match[1] not in _ESCAPES:
                escapes = "\\\\, \\', \\\", \\n or \\t"
                refuse(token.at + 1 + match.start(), f"expected {escapes} after a backslash")
            return _ESCAPES[match[1]]

        node = re.sub(r"\\(.)", unescaped, token.text[1:-1], flags=re.DOTALL)
        self.next += 1
        return node

    def take(self, kind: str, text: str) -> bool:
        taken = self.token.kind == kind and self.token.text == text
        self.next += taken
        return taken

    def expect(self, sign: str, problem: str) -> None:
        if not self.take("sign", sign):
            self.fail(problem)

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            refuse(self.token.at, f"expected at most {MAX_DEPTH} levels of parentheses and 'not'")

    def fail(self, problem: str) -> NoReturn:
        hint = _HINTS.get(self.token.text) if self.token.kind == "sign" else None
        hint = f"write {hint!r} instead of {self.token.text!r}" if hint else None
        refuse(self.token.at, f"{problem}, found {self.token}", hint)
