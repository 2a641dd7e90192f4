"""Rows that begin with what a pre-trained encoder knows of each word, not at random.

Static distillation: every word goes through the encoder alone. Of the outputs, the principal components take the
row's numbers. Words are weighed by smooth inverse frequency, ``a / (a + p)`` with the word's share ``p`` of all
words (Arora et al. 2017, *A Simple but Tough-to-Beat Baseline for Sentence Embeddings*; Model2Vec does so, too).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from token2wave.errors import ConfigError, MissingExtraError
from token2wave.features import Features, Ragged, WordFeatures
from token2wave.features.text import spelled_tokens
from token2wave.training.progress import Teller

SMOOTHING = 1e-3  # a
SPREAD = 3.0
"""Root mean square of the numbers of a word's row, over that of a row drawn at random."""

Floats = NDArray[np.float32]


def start_from(
    name: str, rows: Floats, texts: Sequence[str], features: Features, found: Ragged, tell: Teller
) -> int:
    """Put an encoder's knowledge of each word in its row; rows of n-grams of words stay as they are.

    Args:
        name: of the encoder: ``all-MiniLM-L6-v2``, a folder, or a name on the hub.
        rows: ``(V, W)`` float32, drawn at random; changed where they lie.
        texts: ``N`` strings, those of training.
        features: fitted to them.
        found: the texts' features.
        tell: told how it goes.

    Returns:
        How many words have been put in place.

    Raises:
        ConfigError: the encoder cannot be had, or the features are no words.
        MissingExtraError: transformers, or the package of MiniLM, is not installed.
    """
    if not isinstance(features, WordFeatures):
        raise ConfigError(
            "expected features of words to start from an encoder",
            where="start_from",
            cure="choose preset small or fast",
        )
    words, places = words_of_rows(texts, features)
    if not words:
        return 0
    try:
        from token2wave.distillation.encoders import outputs_of
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "torch", "encoders", purpose="starting from an encoder") from error
    tell.stage("the encoder's words", len(words))
    outputs = outputs_of(name, words, tell.advance)
    counts = np.bincount(found.ids, minlength=len(rows))[places]
    shares = counts / max(int(found.n_ordered.sum()), 1)
    vectors = components(outputs, rows.shape[1]) * (SMOOTHING / (SMOOTHING + shares))[:, None]
    size = np.sqrt(np.mean(np.square(rows), dtype=np.float64) / np.mean(np.square(vectors)))
    rows[places] = 0
    rows[places, : vectors.shape[1]] = SPREAD * size * vectors
    return len(words)


def words_of_rows(texts: Sequence[str], features: WordFeatures) -> tuple[list[str], NDArray[np.int64]]:
    """Words that have a row, each once, and their rows; of words that share a row, one stands for it."""
    distinct = sorted(set(chain.from_iterable(text.split() for text in texts)))
    hashes, code_points, offsets = spelled_tokens(distinct)
    hashes, first = np.unique(hashes, return_index=True)
    rows = features.row_of_bucket[hashes >> np.uint64(64 - features.config.bits)]
    known = np.flatnonzero(rows >= 0)
    rows, at = np.unique(rows[known], return_index=True)
    chosen = first[known][at]
    words = ["".join(map(chr, code_points[offsets[i] : offsets[i + 1]].tolist())) for i in chosen]
    return words, rows.astype(np.int64)


def components(outputs: Floats, width: int) -> NDArray[np.float64]:
    """Principal components of vectors, ``(N, D)`` to ``(N, min(D, N, width))``, the largest first."""
    centred = outputs.astype(np.float64) - outputs.mean(axis=0, dtype=np.float64)
    _, directions = np.linalg.eigh(centred.T @ centred)
    projected: NDArray[np.float64] = centred @ directions[:, ::-1][:, : min(width, len(outputs))]
    return projected
