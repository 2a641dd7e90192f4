"""Tables as programs and people write them are read right, or refused in one line with the cure."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from token2wave.data import DataOptions, read_labelled
from token2wave.errors import DataError

TEXTS = ["Gut, aber teuer", 'Er sagte "nein"', "Schön; wirklich", "ganz\tnett", "naja", "toll"]
LABELS = ["gut", "schlecht", "gut", "gut", "schlecht", "gut"]
ROWS = list(zip(TEXTS, LABELS, strict=True))


@dataclass
class Table:
    """A file, and what reading it should give.

    Attributes:
        rows: texts and labels; None if it is refused.
        words: of the notes, or of the error.
        options: of reading.
    """

    name: str
    content: bytes
    rows: list[tuple[str, str]] | None
    words: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


def lines(*rows: str, end: str = "\n", encoding: str = "utf-8") -> bytes:
    return "".join(row + end for row in rows).encode(encoding)


SEMICOLONS = lines(
    "text;label",
    "Gut, aber teuer;gut",
    '"Er sagte ""nein""";schlecht',
    '"Schön; wirklich";gut',
    "ganz\tnett;gut",
    "naja;schlecht",
    "toll;gut",
    end="\r\n",
    encoding="cp1252",
)
GOOD = [("great lamp, really", "good"), ("broke at once", "bad"), ("a fine cup", "good"), ("awful", "bad")]

TABLES = {
    "Excel, German: semicolons, cp1252": Table(
        "a.csv", SEMICOLONS, ROWS, ("a.csv: read as semicolon-separated, cp1252",)
    ),
    "Excel, sep= line": Table("a.csv", b"sep=;\r\n" + SEMICOLONS, ROWS, ("semicolon-separated",)),
}


def check(path: Path, table: Table) -> None:
    path.write_bytes(table.content)
    options = DataOptions(**table.options)
    if table.rows is None:
        with pytest.raises(DataError) as caught:
            read_labelled(path, options)
        message = str(caught.value)
        assert caught.value.hint
        assert "\n" not in message
        assert all(word in message for word in table.words), message
        return
    split = read_labelled(path, options)
    assert list(zip(split.texts, split.labels, strict=True)) == table.rows
    notes = " ".join(split.notes)
    assert bool(split.notes) == bool(table.words), notes
    assert all(word in notes for word in table.words), notes


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_read_right_or_refused_with_the_cure(tmp_path: Path, name: str) -> None:
    check(tmp_path / TABLES[name].name, TABLES[name])
