"""What the targets of the guided fuzzer share: small models, a file in memory, and which errors may pass."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from fuzz_cases import check
from fuzz_models import classifier_of

from token2wave import Classifier, Token2WaveError

LONGEST_MESSAGE = 4_000  # characters
SMALL: dict[str, Any] = {
    "features": {"kind": "words", "bits": 10, "ngrams": 2, "cls": False, "n_buckets": 512},
    "network": {"n_classes": 3, "width": 8, "variants": "rows", "readout": "text", "context_width": 8},
    "numbers": "ordinary",
    "storage": None,
    "seed": 1,
}
PIECES: dict[str, Any] = {
    **SMALL,
    "features": {"kind": "wordpiece", "lowercase": True, "max_tokens": 9},
    "network": {"n_classes": 3, "width": 8, "variants": "linear", "readout": "text"},
}


@cache
def classifier(kind: str) -> Classifier:
    """A small model of words or of pieces."""
    return classifier_of(PIECES if kind == "wordpiece" else SMALL)


@cache
def folder_in_memory() -> tempfile.TemporaryDirectory[str]:
    """A folder that is gone with the process; in memory, where the system has such a place."""
    memory = "/dev/shm"
    return tempfile.TemporaryDirectory(
        prefix="token2wave-fuzz-", dir=memory if os.access(memory, os.W_OK) else None
    )


def file_of_bytes(name: str, content: bytes) -> Path:
    """A file of that name and content."""
    path = Path(folder_in_memory().name, name)
    path.write_bytes(content)
    return path


@contextmanager
def documented() -> Iterator[None]:
    """Let errors of the package pass, if they say what they should."""
    try:
        yield
    except Token2WaveError as error:
        said = str(error)
        check("\n" not in said, f"a message of several lines: {said!r}")
        check(len(said) <= LONGEST_MESSAGE, f"a message of {len(said)} characters: {said[:200]}")
