"""A frozen sentence encoder below logistic regression."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systems.tuned_linear import TunedLinear, fit_logistics
from token2wave.models.encoder_sources import MINILM, source_of

STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0)  # the vectors have length one: C is larger than for TF-IDF
BIAS = (
    "It has read far more text than the other systems: the encoder's. That is not in its training time, nor "
    "its weights in the size of its file."
)


class Encoder:
    """Vectors of texts as a transformer of scikit-learn; the weights stay out of its pickle.

    Args:
        load: gives a model with a method ``encode``, which is loaded once in a process.
    """

    cache: Path | None = None
    """Folder in which vectors are kept and found again; none where times are measured."""

    def __init__(self, load: Callable[[], Any]) -> None:
        self.load = load

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: the encoder is loaded again."""
        return {}

    def transform(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode texts, ``(N, D)``."""
        if self.cache is None:
            return self._encode(texts)
        path = (
            self.cache / f"{hashlib.sha256(repr((self.load.__name__, list(texts))).encode()).hexdigest()}.npy"
        )
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, self._encode(texts))
        vectors: NDArray[np.float32] = np.load(path)
        return vectors

    fit_transform = transform

    def _encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.asarray(self.load().encode(list(texts)), dtype=np.float32)


@cache
def load_minilm() -> Any:
    """The encoder, which runs on the processor."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(source_of(MINILM), device="cpu")


def logistic_on_vectors(name: str, load: Callable[[], Any], description: str) -> TunedLinear:
    """A system of frozen vectors below logistic regression."""
    values = ", ".join(f"{strength:g}" for strength in STRENGTHS)
    return TunedLinear(
        name,
        "pre-trained",
        [partial(Encoder, load)],
        fit_logistics,
        STRENGTHS,
        f"{description}, frozen, and logistic regression, C of {values}",
        BIAS,
    )


def make_system(_: str) -> TunedLinear:
    """Make the only system of this module."""
    return logistic_on_vectors(
        f"frozen {MINILM} + logistic regression",
        load_minilm,
        f"sentence-transformers' vectors of {MINILM}, 384 numbers a text",
    )
