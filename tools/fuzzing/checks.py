"""Checks, settings and small models that all targets share."""

from __future__ import annotations

import copy
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from fuzzing.models import classifier_of
from token2wave import Classifier, Token2WaveError

MAX_MESSAGE = 4_000  # characters
MAX_WEIGHT = 10.0  # of a model on which the native core and numpy must agree; larger ones magnify rounding
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
SMALL_OOV: dict[str, Any] = {
    **SMALL,
    "features": {**SMALL["features"], "n_buckets": 64, "n_oov": 200},
    "network": {**SMALL["network"], "linear_svm": True},
}
RECIPES = {"words": SMALL, "wordpiece": SMALL_WORDPIECE, "oov": SMALL_OOV}


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


def twin_of(model: Classifier, natively: bool) -> Classifier:
    """A copy that computes in the native core, or in numpy; a model keeps what it was made with."""
    with native_core(natively):
        twin = copy.deepcopy(model)
        check(natively or twin.computes_with == "numpy", f"a twin that computes with {twin.computes_with}")
        return twin


def check_twins(model: Classifier, texts: list[str]) -> None:
    """Compare the native core with numpy on a damaged model that loads, unless its numbers are large."""
    arrays = model.network.arrays().values()
    if all(float(np.abs(array).max(initial=0)) <= MAX_WEIGHT for array in arrays):
        shares, known = [], []
        for natively in (True, False):
            twin = twin_of(model, natively)
            with native_core(natively):
                both = twin.probabilities_and_known(texts)
            shares.append(both[0])
            known.append(both[1].tolist())
        check(bool(np.isfinite(shares).all()), "probabilities that are not finite")
        check(bool(np.allclose(*shares, rtol=0, atol=1e-3)), "the native core and numpy differ")
        check(known[0] == known[1], "the native core and numpy know other texts")


@cache
def classifier(kind: str, natively: bool = True) -> Classifier:
    """A small model: with features of ``words`` or ``wordpiece``, or an ``oov`` table beside words."""
    return twin_of(classifier_of(RECIPES[kind]), natively)


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
