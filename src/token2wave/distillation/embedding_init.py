"""Initialises the embedding from a pre-trained encoder's output for each word.

This is static distillation, as in Model2Vec: the words of the encoder's vocabulary and of the training texts
go through the encoder one by one, and the principal components of its outputs become the words' embedding.
So a word that no training text has still means what similar words mean. Model2Vec weights words by smooth
inverse frequency (Arora et al. 2017); here the recipe's inverse document frequency does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.distillation.cache import cached_outputs
from token2wave.errors import ConfigError, import_extra
from token2wave.features import Features, Ragged, WordFeatures
from token2wave.features.text import spelled_tokens
from token2wave.training.callbacks import CallbackList

SCALE = 100.0
"""Root mean square of a word's embedding, relative to one drawn at random."""

Floats = NDArray[np.float32]


class WordVectors(NamedTuple):
    """``K`` words that an encoder knows, and its output ``(K, D)`` for each."""

    words: list[str]
    outputs: Floats


@dataclass(frozen=True)
class EncoderInit:
    """Starts the embedding of a run from a pre-trained encoder."""

    name: str  # ``all-MiniLM-L6-v2``, a folder, or a name on the hub

    def expand_features(
        self, texts: Sequence[str], features: Features, encoded: Ragged, callback_list: CallbackList
    ) -> tuple[WordFeatures, Ragged, WordVectors]:
        """Give every word of the encoder's vocabulary a row of the embedding, seen in training or not.

        Returns:
            The features with more rows, the texts encoded by them, and the encoder's vectors for all words.

        Raises:
            ConfigError: the encoder cannot be loaded, or the features are not words.
            MissingExtraError: transformers, or the package of MiniLM, is not installed.
            OutputError: the cache's folder cannot be written to.
        """
        if not isinstance(features, WordFeatures):
            raise ConfigError(
                "expected features of words to start from an encoder",
                location="init_from",
                hint="choose preset small or fast",
            )
        with import_extra("encoders", "starting from an encoder"):
            from token2wave.distillation import encoders

        def compute(words: list[str]) -> Floats:
            callback_list.stage("the encoder's words", len(words))
            return encoders.encode_texts(self.name, words, callback_list.advance)

        vocabulary = encoders.whole_words(self.name)
        hashes, _, _ = spelled_tokens(vocabulary)
        shift = np.uint64(64 - features.config.bits)
        expanded, places = features.with_rows((hashes >> shift).astype(np.uint32))
        words = words_with_rows([*texts, *vocabulary], expanded)
        vectors = WordVectors(words, cached_outputs(self.name, words, compute).of(words))
        return expanded, replace(encoded, ids=places[encoded.ids]), vectors

    def init_rows(self, rows: Floats, width: int, vectors: WordVectors, features: WordFeatures) -> None:
        """Write the encoder's vectors into the embedding ``(V, W)``, in place. Variants of a row start equal.

        Rows of word n-grams stay as they were drawn. ``width`` is that of a variant.
        """
        hashes, _, _ = spelled_tokens(vectors.words)
        word_rows = features.row_of_bucket[hashes >> np.uint64(64 - features.config.bits)]
        values = principal_components(vectors.outputs, width)
        ratio = np.sqrt(np.mean(np.square(rows), dtype=np.float64) / np.mean(np.square(values)))
        embedding = np.zeros((len(word_rows), width))
        embedding[:, : values.shape[1]] = SCALE * ratio * values
        rows[word_rows] = np.tile(embedding, rows.shape[1] // width)


def words_with_rows(texts: Sequence[str], features: WordFeatures) -> list[str]:
    """List the words that have a row; of words that share a row, one stands for all."""
    distinct = sorted(set(chain.from_iterable(text.split() for text in texts)))
    hashes, code_points, offsets = spelled_tokens(distinct)
    hashes, first = np.unique(hashes, return_index=True)
    rows = features.row_of_bucket[hashes >> np.uint64(64 - features.config.bits)]
    known = np.flatnonzero(rows >= 0)
    _, first_of_row = np.unique(rows[known], return_index=True)
    tokens = first[known][first_of_row]
    return ["".join(map(chr, code_points[offsets[i] : offsets[i + 1]].tolist())) for i in tokens]


def principal_components(vectors: Floats, width: int) -> NDArray[np.float64]:
    """Project vectors on their largest principal components, ``(N, D)`` to ``(N, min(D, N, width))``."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    _, directions = np.linalg.eigh(centred.T @ centred)
    projected: NDArray[np.float64] = centred @ directions[:, ::-1][:, : min(width, len(vectors))]
    return projected
