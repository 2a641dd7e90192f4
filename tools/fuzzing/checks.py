"""Checks, settings and small models that all targets share."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from fuzzing.models import classifier_of
from token2wave import Classifier, Token2WaveError

MAX_MESSAGE = 4_000  # characters
SMALL: dict[str, Any] = {
    "features": {"kind": "words", "bits": 10, "ngrams": 2, "cls": False, "n_buckets": 512},
    "network": {"n_classes": 3, "width": 8, "variants": "rows", "readout": "text", "context_width": 8},
    "numbers": "ordinary",
    "storage": None,
    "seed": 1,
}
SMALL_WORDPIECE: dict[str, Any] = {
    **SMALL,
    "features": {"kind": "wordpiece", "lowercase": True, "max_tokens": 9},
    "network": {"n_classes": 3, "width": 8, "variants": "linear", "readout": "text"},
}


class WrongAnswerError(Exception):
    """The package gave an answer that cannot be right."""


def check(condition: bool, message: str) -> None:
    """Raise :class:`WrongAnswerError` with the message unless the condition holds."""
    if not condition:
        raise WrongAnswerError(message)


@contextmanager
def documented_errors() -> Iterator[None]:
    """Accept errors of the package whose message is one line of bounded length."""
    try:
        yield
    except Token2WaveError as error:
        message = str(error)
        check("\n" not in message, f"a message of several lines: {message!r}")
        check(len(message) <= MAX_MESSAGE, f"a message of {len(message)} characters: {message[:200]}")


@contextmanager
def native_core(is_on: bool) -> Iterator[None]:
    """Compute in the native core, or in numpy."""
    with mock.patch.dict(os.environ, {"TOKEN2WAVE_NATIVE": str(int(is_on))}):
        yield


@contextmanager
def without_torch() -> Iterator[None]:
    """Hide torch, so that models that need it are refused."""
    with mock.patch.dict(sys.modules, {"torch": None}):
        yield


@cache
def classifier(kind: str) -> Classifier:
    """A small model with ``words`` or ``wordpiece`` features."""
    return classifier_of(SMALL_WORDPIECE if kind == "wordpiece" else SMALL)


@cache
def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder that lives as long as the process, in memory where the system offers that."""
    memory = "/dev/shm"
    parent = memory if os.access(memory, os.W_OK) else None
    return tempfile.TemporaryDirectory(prefix="token2wave-fuzz-", dir=parent)


def write_temporary(name: str, content: bytes) -> Path:
    """Write a file to the temporary folder."""
    path = Path(temporary_folder().name, name)
    path.write_bytes(content)
    return path
