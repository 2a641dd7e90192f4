"""What teachers said, kept in files, so that none is trained or asked twice."""

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
    KnownProbabilities,
    read_npz,
    read_probabilities,
    write_probabilities,
)
from token2wave.errors import DataError
from token2wave.models.encoder_sources import source_of
from token2wave.storage.atomic import atomic_write, make_folder

FOLDER_VARIABLE = "TOKEN2WAVE_CACHE"

Floats = NDArray[np.float32]


def cache_folder() -> Path:
    """Folder of what may be computed again: that of ``TOKEN2WAVE_CACHE``, or one in the user's cache."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named)
    users = os.environ.get("XDG_CACHE_HOME")
    return (Path(users) if users else Path.home() / ".cache") / "token2wave"


@dataclass(frozen=True)
class TeacherCache:
    """Place of one teacher's probabilities and weights.

    Attributes:
        name: of the teacher, for the files' names.
        key: SHA-256 in hexadecimal of all that decides what it says.
    """

    name: str
    key: str

    @property
    def stem(self) -> Path:
        """Path of its files, but for the suffix."""
        readable = re.sub(r"[^A-Za-z0-9.-]+", "-", Path(self.name).name).strip("-.")[:40]
        return cache_folder() / "teachers" / f"{readable or 'teacher'}-{self.key[:32]}"

    @property
    def probabilities_path(self) -> Path:
        """Where the probabilities are."""
        return self.stem.with_name(self.stem.name + ".npz")

    @property
    def weights_path(self) -> Path:
        """Where the fine-tuned weights are."""
        return self.stem.with_name(self.stem.name + ".safetensors")

    def read(self, label_names: Sequence[str]) -> KnownProbabilities:
        """What is kept; nothing, if there is no such file or it is damaged."""
        try:
            return read_probabilities(self.probabilities_path, label_names, ())
        except DataError:
            return KnownProbabilities([], np.zeros((0, len(label_names)), dtype=np.float32))

    def completed(
        self, label_names: Sequence[str], texts: Sequence[str], ask: Callable[[list[str]], Floats]
    ) -> KnownProbabilities:
        """Probabilities of some texts; those that are not kept are asked for, and kept.

        Args:
            label_names: names of the ``C`` classes.
            texts: wanted.
            ask: gives the probabilities ``(N, C)`` of texts.

        Raises:
            OutputError: the folder cannot be written to.
        """
        known = self.read(label_names)
        unknown = np.isnan(known.of(texts)[:, 0]).tolist()
        new = list(dict.fromkeys(text for text, is_new in zip(texts, unknown, strict=True) if is_new))
        if not new:
            return known
        make_folder(self.stem.parent)
        known = known.with_more(new, ask(new))
        write_probabilities(self.probabilities_path, known)
        return known


def key_of(settings: dict[str, Any], texts: Sequence[str], labels: NDArray[np.int64]) -> str:
    """SHA-256 in hexadecimal of a teacher's settings and of what it was trained on."""
    whole = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        whole.update(len(encoded).to_bytes(8, "little"))
        whole.update(encoded)
    whole.update(np.ascontiguousarray(labels, dtype="<i8").tobytes())
    return whole.hexdigest()


def identity(source: str) -> str:
    """What tells two checkpoints of one name apart: SHA-256 of a folder's files, or the name on the hub."""
    if not os.path.isdir(source):
        return source
    whole = hashlib.sha256()
    for path in sorted(Path(source).iterdir()):
        if path.is_file():
            whole.update(path.name.encode())
            with path.open("rb") as file:
                whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def kept_outputs(name: str, words: list[str], ask: Callable[[list[str]], Floats]) -> Floats:
    """An encoder's outputs for words, ``(K, D)`` float32; those that are not kept are asked for, and kept.

    Args:
        name: of the encoder.
        words: wanted.
        ask: gives the outputs of words.

    Raises:
        OutputError: the folder cannot be written to.
    """
    kept = TeacherCache(f"{name}-words", hashlib.sha256(identity(source_of(name)).encode()).hexdigest())
    path = kept.probabilities_path
    place, outputs = _kept_rows(path)
    new = [word for word in words if word not in place]
    if new:
        asked = ask(new)
        if len(outputs) and outputs.shape[1] != asked.shape[1]:  # not this encoder's, whatever the name says
            place, outputs, asked = {}, outputs[:0], ask(words)
            new = words
        outputs = np.concatenate([outputs, asked]) if len(outputs) else asked
        place |= {word: len(place) + i for i, word in enumerate(new)}
        make_folder(path.parent)
        with atomic_write(path) as aside, aside.open("wb") as stream:
            np.savez(stream, outputs=outputs, words=np.frombuffer("\n".join(place).encode(), np.uint8))
    return outputs[[place[word] for word in words]]


def _kept_rows(path: Path) -> tuple[dict[str, int], Floats]:
    """Row of each word, and the outputs ``(K, D)``; nothing, if there is no such file or it is damaged."""
    with suppress(OSError, ValueError, KeyError):
        arrays = read_npz(path)
        outputs = arrays["outputs"]
        words = arrays["words"].tobytes().decode().split("\n")
        fits = (
            outputs.ndim == 2
            and outputs.dtype == np.float32
            and len(outputs) == len(set(words)) == len(words)
        )
        if fits and np.isfinite(outputs).all():
            return {word: i for i, word in enumerate(words)}, outputs
    return {}, np.zeros((0, 0), dtype=np.float32)
