"""Caches teachers' probabilities, encoders' outputs and fine-tuned weights in files."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.distillation.probabilities import (
    PROBABILITIES,
    KnownProbabilities,
    read_npz,
    write_probabilities,
)
from token2wave.distillation.probabilities import digest as hash_text
from token2wave.models.encoder_sources import source_of
from token2wave.storage.atomic import make_folder

FOLDER_VARIABLE = "TOKEN2WAVE_CACHE"

Floats = NDArray[np.float32]


def cache_folder() -> Path:
    """Return the cache's folder: ``TOKEN2WAVE_CACHE``, or else one in the user's cache."""
    if folder := os.environ.get(FOLDER_VARIABLE):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "token2wave"


@dataclass(frozen=True)
class TeacherCache:
    """The cached files of one teacher."""

    name: str
    key: str  # SHA-256 in hexadecimal of everything that decides the teacher's outputs
    array: str = PROBABILITIES  # name of the outputs in the file

    def path(self, suffix: str) -> Path:
        """Return the path of the file with a suffix: ``.npz`` for outputs, ``.safetensors`` for weights."""
        readable = re.sub(r"[^A-Za-z0-9.-]+", "-", Path(self.name).name).strip("-.")[:40]
        return cache_folder() / "teachers" / f"{readable or 'teacher'}-{self.key[:32]}{suffix}"

    def read(self) -> KnownProbabilities:
        """Read the cached outputs; none if the file is missing or damaged."""
        with suppress(OSError, ValueError, KeyError):
            arrays = read_npz(self.path(".npz"))
            values, digests = arrays[self.array], arrays["text_sha256"]
            is_table = values.ndim == 2 and values.dtype == np.float32 and np.isfinite(values).all()
            if is_table and digests.dtype == np.uint8 and digests.shape == (len(values), 32):
                return KnownProbabilities([digest.tobytes() for digest in digests], values)
        return KnownProbabilities([], np.zeros((0, 0), dtype=np.float32))

    def complete(
        self, texts: Sequence[str], compute: Callable[[list[str]], Floats], n_outputs: int | None = None
    ) -> KnownProbabilities:
        """Read the outputs ``(N, D)`` for texts, and compute and cache those that are missing.

        Raises:
            OutputError: the folder cannot be written to.
        """
        known = self.read()
        if n_outputs not in (None, known.values.shape[1]):
            known = KnownProbabilities([], known.values[:0])
        new = known.missing(texts)
        if not new:
            return known
        make_folder(self.path("").parent)
        values = compute(new)
        if len(known) and known.values.shape[1] != values.shape[1]:  # the file is another encoder's
            known, new = KnownProbabilities([], values[:0]), list(dict.fromkeys(texts))
            values = compute(new)
        known = known.with_more(new, values)
        write_probabilities(self.path(".npz"), known, self.array, overwrite=True)  # it may be damaged
        return known


def hash_training(settings: dict[str, Any], texts: Sequence[str], labels: NDArray[np.int64]) -> str:
    """SHA-256 in hexadecimal of a teacher's settings and its training texts."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
    digest.update(np.ascontiguousarray(labels, dtype="<i8").tobytes())
    return digest.hexdigest()


def hash_checkpoint(source: str) -> str:
    """SHA-256 of a folder's files, which tells checkpoints of one name apart; else the name on the hub."""
    if not os.path.isdir(source):
        return source
    digest = hashlib.sha256()
    for path in sorted(Path(source).iterdir()):
        if path.is_file():
            digest.update(path.name.encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def cached_outputs(
    name: str, texts: Sequence[str], compute: Callable[[list[str]], Floats], *, of_texts: bool = False
) -> KnownProbabilities:
    """Return an encoder's outputs ``(N, D)`` float32; missing ones are computed and cached.

    All words of an encoder share a file. ``of_texts`` gives these texts one of their own.
    """
    digest = hashlib.sha256(hash_checkpoint(source_of(name)).encode())
    for text in texts if of_texts else ():
        digest.update(hash_text(text))
    name = f"{name}-{'texts' if of_texts else 'words'}"
    return TeacherCache(name, digest.hexdigest(), "outputs").complete(texts, compute)
