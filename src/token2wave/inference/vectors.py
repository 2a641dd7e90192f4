"""Vectors of texts, and the texts that are nearest to others.

The vector of a text is what the branches of the network see of it (:func:`reference.waves`), scaled to length
one. So the cosine of two texts is the product of their vectors. A text of which the model knows nothing has a
vector of zeros, and cosine 0 with every text.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.errors import ConfigError, InputError
from token2wave.inference.reference import require_finite

SIMILARITIES_CHUNK = 1 << 22  # computed at once: bounds memory

Vectors = NDArray[np.float32]


class Neighbours(NamedTuple):
    """The nearest rows of each of ``N`` texts, the nearest first.

    Attributes:
        rows: ``(N, K)`` int64, indices of the rows.
        similarity: ``(N, K)`` float32, cosine of text and row, from -1 to 1.
    """

    rows: NDArray[np.int64]
    similarity: NDArray[np.float32]


@np.errstate(all="ignore")  # `require_finite` refuses what overflows
def to_vectors(waves: NDArray[np.float32], known: NDArray[np.bool_]) -> Vectors:
    """Scale waves ``(N, W)`` to length one, and to zero where nothing of a text is known.

    Raises:
        ModelFileError: the weights overflow, so a number is not finite.
    """
    lengths = np.sqrt(np.einsum("nw,nw->n", waves, waves, dtype=np.float64))
    factors = np.where(known & (lengths > 0), 1 / np.where(lengths > 0, lengths, 1), 0)
    require_finite(np.where(known, lengths, 0), "vectors")
    vectors: Vectors = np.where(known[:, None], waves * factors[:, None], 0).astype(np.float32)
    return vectors


def cosines(a: Vectors, b: Vectors) -> NDArray[np.float32]:
    """Cosines of the rows of two arrays of vectors, ``(N,)`` float32."""
    products = np.einsum("nw,nw->n", a, b, dtype=np.float64)
    return np.asarray(np.clip(products, -1, 1), np.float32)


def nearest(vectors: Vectors, rows: Vectors, k: int) -> Neighbours:
    """Find the ``k`` rows of the largest cosine for each vector; of equal ones the first.

    Args:
        vectors: ``(N, W)``.
        rows: ``(M, W)``.
        k: at least 1; with fewer rows there are ``M`` neighbours.

    Raises:
        ConfigError: ``k`` is below 1.
        InputError: there are no rows.
    """
    if k < 1:
        raise ConfigError(f"expected at least 1, found {k}", location="k")
    if not len(rows):
        raise InputError("expected at least 1 row, found none", location="rows")
    k, n_chunk = min(k, len(rows)), max(SIMILARITIES_CHUNK // len(rows), 1)
    indices = np.zeros((len(vectors), k), np.int64)
    similarity = np.zeros((len(vectors), k), np.float32)
    for first in range(0, len(vectors), n_chunk):
        chunk = slice(first, first + n_chunk)
        products = vectors[chunk] @ rows.T
        rounded = np.round(products, 5)  # else equal rows would differ in their last digits
        least = np.partition(rounded, -k, axis=1)[:, -k]
        for i, values in enumerate(rounded, start=first):
            best = np.flatnonzero(values >= least[i - first])
            indices[i] = best[np.argsort(-values[best], kind="stable")][:k]
        similarity[chunk] = np.clip(np.take_along_axis(products, indices[chunk], axis=1), -1, 1)
    return Neighbours(indices, similarity)


def require_vectors(rows: NDArray[Any], width: int) -> Vectors:
    """Return vectors that a caller encoded before.

    Raises:
        InputError: they have another type or shape.
    """
    if rows.dtype != np.float32 or rows.ndim != 2 or rows.shape[1] != width:
        problem = f"expected vectors of this model, (M, {width}) float32, found {rows.shape} {rows.dtype}"
        raise InputError(problem, location="rows", hint="make them with encode")
    return rows
