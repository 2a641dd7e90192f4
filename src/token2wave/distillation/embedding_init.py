"""Rows that begin with what a pre-trained encoder knows of each word, not at random.

Static distillation, as Model2Vec does it: the words of the encoder's vocabulary and of the training texts go
through it, each alone. Of its outputs the principal components take the rows' numbers, so that a word that no
training text has still means what words like it mean. Model2Vec weighs words by smooth inverse frequency
(Arora et al. 2017); here the recipe's inverse document frequency does that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.distillation.cache import kept_outputs
from token2wave.errors import ConfigError, MissingExtraError
from token2wave.features import Features, Ragged, WordFeatures
from token2wave.features.text import spelled_tokens
from token2wave.training.callbacks import CallbackList

SPREAD = 100.0
"""Root mean square of the numbers of a word's row, over that of a row drawn at random."""

Floats = NDArray[np.float32]


class WordVectors(NamedTuple):
    """Words that an encoder knows, and its output for each.

    Attributes:
        words: ``K`` strings.
        outputs: ``(K, D)`` float32.
    """

    words: list[str]
    outputs: Floats


@dataclass(frozen=True)
class EncoderInit:
    """Starts the embedding of a run from a pre-trained encoder.

    Attributes:
        name: of the encoder: ``all-MiniLM-L6-v2``, a folder, or a name on the hub.
    """

    name: str

    def expand_features(
        self, texts: Sequence[str], features: Features, encoded: Ragged, callback_list: CallbackList
    ) -> tuple[WordFeatures, Ragged, WordVectors]:
        """Give every word that the encoder knows a row (:func:`expand_features`)."""
        return expand_features(self.name, texts, features, encoded, callback_list)

    def init_rows(self, rows: Floats, width: int, vectors: WordVectors, features: WordFeatures) -> None:
        """Write the encoder's vectors into the rows of the embedding (:func:`init_embedding`)."""
        init_embedding(rows, width, vectors, features)


def expand_features(
    name: str, texts: Sequence[str], features: Features, found: Ragged, callback_list: CallbackList
) -> tuple[WordFeatures, Ragged, WordVectors]:
    """Let every word that the encoder has an entry for be a feature, seen in training or not.

    Args:
        name: of the encoder: ``all-MiniLM-L6-v2``, a folder, or a name on the hub.
        texts: ``N`` strings, those of training.
        features: fitted to them.
        found: the texts' features.
        callback_list: called as the work goes on.

    Returns:
        The features with more rows, the texts' features, and the encoder's outputs for all words with a row.

    Raises:
        ConfigError: the encoder cannot be had, or the features are no words.
        MissingExtraError: transformers, or the package of MiniLM, is not installed.
        OutputError: the folder of what is kept cannot be written to.
    """
    if not isinstance(features, WordFeatures):
        raise ConfigError(
            "expected features of words to start from an encoder",
            location="init_from",
            hint="choose preset small or fast",
        )
    try:
        from token2wave.distillation import encoders
    except ModuleNotFoundError as error:
        module = error.name or "torch"
        raise MissingExtraError(module, "encoders", purpose="starting from an encoder") from error
    shift = np.uint64(64 - features.config.bits)
    known = encoders.whole_words(name)
    hashes, _, _ = spelled_tokens(known)
    buckets = np.union1d(features.buckets, (hashes >> shift).astype(np.uint32))
    wider = WordFeatures(features.config, buckets)
    has_cls = int(features.config.cls)
    moved = np.searchsorted(buckets, features.buckets).astype(np.int32) + has_cls
    rows = np.concatenate([np.arange(has_cls, dtype=np.int32), moved])
    words, _ = words_of_rows([*texts, *known], wider)
    outputs = kept_outputs(name, words, lambda some: _asked(encoders, name, some, callback_list))
    return wider, replace(found, ids=rows[found.ids]), WordVectors(words, outputs)


def _asked(encoders: Any, name: str, words: list[str], callback_list: CallbackList) -> Floats:
    callback_list.stage("the encoder's words", len(words))
    outputs: Floats = encoders.outputs_of(name, words, callback_list.advance)
    return outputs


def init_embedding(rows: Floats, width: int, vectors: WordVectors, features: WordFeatures) -> None:
    """Put what an encoder knows of each word in its row, half in each variant, whose sum then is the whole.

    Args:
        rows: ``(V, W)`` float32, drawn at random; changed where they lie. Those of n-grams of words stay.
        width: of a variant.
        vectors: of the words.
        features: of the rows.
    """
    hashes, _, _ = spelled_tokens(vectors.words)
    places = features.row_of_bucket[hashes >> np.uint64(64 - features.config.bits)]
    values = components(vectors.outputs, width)
    size = np.sqrt(np.mean(np.square(rows), dtype=np.float64) / np.mean(np.square(values)))
    begun = np.zeros((len(places), width))
    begun[:, : values.shape[1]] = SPREAD * size * values
    rows[places] = np.tile(begun, rows.shape[1] // width)


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
