"""A target of the guided fuzzer: the language of ``token2wave score --keep``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from fuzz_cases import check
from fuzz_common import documented

from token2wave.scoring.filters import Filter

COLUMNS: dict[str, tuple[str, list[Any]]] = {
    "text": ("text", ["good", "", "é\n", "good"]),
    "number": ("number", [1, -2.5, math.nan, None]),
    "large": ("number", [2**53 + 1, 2**53, -(2**70), 0]),
    "is_new": ("bool", [True, False, None, True]),
    "tags": ("list", [["a"], [], None, ["a", 1, None]]),
    "odd": ("unknown", [{"a": 1}, "a", 1.0, None]),
    "label": ("text", ["a", "b", "a", "c d"]),
    "labels": ("list", [["a"], [], ["a", "b"], ["c d"]]),
    "confidence": ("number", [0.9, 0.5, 0.25, 1.0]),
    "novelty": ("number", [0.0, 0.1, 0.9, 1.0]),
}
CLASSES = ("a", "b", "c d")
N_ROWS = 4


def filters(data: bytes) -> None:
    """The first byte chooses the model, the rest is a filter; all rows at once are kept as each alone is."""
    if not data:
        return
    text = data[1:].decode("utf-8", "surrogateescape")
    columns = {name: kind for name, (kind, _) in COLUMNS.items()}
    with documented():
        found = Filter.parse(text)
        check(isinstance(found.reads_novelty, bool), "novelty")
        found.check(CLASSES, bool(data[0] & 1), columns, is_open=bool(data[0] & 2))

        def values(name: Any, first: int = 0, last: int = N_ROWS) -> Any:
            if name.kind == "probability":
                return np.linspace(0, 1, N_ROWS)[first:last]
            if name.name not in COLUMNS:
                return [None] * (last - first)
            selected = COLUMNS[name.name][1][first:last]
            return np.array(selected) if name.name in ("confidence", "novelty") and data[0] & 4 else selected

        kept = found.keep(N_ROWS, values)
        check(kept.shape == (N_ROWS,) and kept.dtype == np.bool_, f"a mask {kept.dtype} {kept.shape}")
        alone = [
            bool(found.keep(1, lambda name, row=row: values(name, row, row + 1))[0]) for row in range(N_ROWS)
        ]
        check(kept.tolist() == alone, f"rows at once {kept.tolist()}, alone {alone}")
