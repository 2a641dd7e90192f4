"""Lines as fastText reads them: lower case, punctuation apart, ``__label__`` in front."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LABEL = "__label__"
# The rules of fastText's classification-example.sh: these marks become words, and those go.
_KEPT = "'.,()!?"
_DROPPED = {'"': "", ";": " ", ":": " "}
_MARKS = str.maketrans({mark: f" {mark} " for mark in _KEPT} | _DROPPED)


def normalized(text: str) -> str:
    """One line of lower-case words and marks, apart by single blanks."""
    line = " ".join(text.lower().replace("<br />", " ").translate(_MARKS).split())
    if LABEL in line:  # a text must not name its own class
        line = line.replace(LABEL, "label")
    return line if line.isascii() else line.encode("utf-8", "replace").decode()  # lone surrogates


def write_lines(path: Path, texts: Sequence[str], labels: NDArray[np.int64], rows: Iterable[int]) -> None:
    """Write the rows with their labels, in the order in which they are given."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(f"{LABEL}{labels[row]} {normalized(texts[row])}\n")


def class_of(label: str) -> int:
    """Class of a label that fastText predicts."""
    return int(label.removeprefix(LABEL))
