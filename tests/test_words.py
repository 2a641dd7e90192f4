"""The words that the field does not use stay out of the package's identifiers."""

from __future__ import annotations

import ast
from pathlib import Path

import token2wave

PACKAGE = Path(token2wave.__file__).parent
LISTED = """
Teller tell wishes amplitudes Amplitudes AmplitudeProblem weigh_levels fit_levels phrases phrase_width
subwords subword_share row_optimizer row_learning_rate op learning_rate lesson Lesson Lessons Asked Kept
start_from begin_rows Labelled TrainingTexts LabelledTexts DataSplits holding_back held_back everything
few_rows out_of_fold_weights adaptation adapted widening updating Run FirstFit Fitted rival taught wished
judging judge Judgement SURE Tried Move winner roles EndedElsewhere Standing Place Within start_over
continues SLOWER Tables tables_of fits_native_core Stored written_aside container Spool Shrinking Shrunk
_Again Wanted Layout Misfit Plan Several cure listed Gone WatchedConnection PatientHandler
look gaps packed opened
found one part kind share apart usual given said told shown wanted kept together leading exchange
"""
WORDS = frozenset(LISTED.split())
PREFIXES = ("MOST_", "LEAST_", "FEWEST_")


def identifiers(path: Path) -> set[str]:
    """Names that a file defines: classes, functions, parameters, variables and attributes."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
    return names


def private_words(names: set[str]) -> list[str]:
    """Identifiers that are private words, with or without an underscore, or begin or end like one."""
    return sorted(
        name
        for name in names
        if {name, name.lstrip("_")} & WORDS
        or name.lstrip("_").startswith(PREFIXES)
        or name.endswith("_AT_ONCE")
    )


def test_no_private_word_is_an_identifier() -> None:
    words = {
        str(path.relative_to(PACKAGE)): private_words(identifiers(path)) for path in PACKAGE.rglob("*.py")
    }
    assert {path: names for path, names in words.items() if names} == {}


def test_a_private_word_is_seen() -> None:
    assert private_words({"Teller", "_taught", "_MOST_ROWS", "TEXTS_AT_ONCE", "rows"}) == [
        "TEXTS_AT_ONCE",
        "Teller",
        "_MOST_ROWS",
        "_taught",
    ]
