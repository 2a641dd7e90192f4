"""Texts of a training run, hashed once for all vocabularies that are fitted to them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain, islice, pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from token2wave.core import n_threads
from token2wave.features.growable_array import GrowableArray
from token2wave.features.hashing import hash_tokens
from token2wave.features.ragged import offsets_of
from token2wave.features.text import Hashes, spelled_tokens

if TYPE_CHECKING:
    from concurrent.futures import Future

CHARACTERS_CHUNK = 1 << 20
TOKENS_CHUNK = 1 << 18

_T = TypeVar("_T")
_R = TypeVar("_R")


class SpelledWords(NamedTuple):
    """The distinct tokens of texts, and their letters.

    Attributes:
        hashes: ``(K,)`` uint64, increasing.
        code_points: ``(L,)`` uint32, normalised.
        starts: ``(K,)`` int64, start of each token in ``code_points``.
        ends: ``(K,)`` int64, its end.
    """

    hashes: Hashes
    code_points: NDArray[np.uint32]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


class HashedTexts(Sequence[str]):
    """Texts that keep the hashes of their tokens, made on first use and shared with selections of the texts.

    A hash takes 8 bytes; beyond :data:`token2wave.features.growable_array.BYTES_IN_MEMORY` they go to a file.

    Args:
        texts: ``N`` strings.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts if isinstance(texts, list) else list(texts)
        self._source: tuple[HashedTexts, NDArray[np.int64]] | None = None  # texts selected from, and rows
        self._joined: tuple[HashedTexts, ...] = ()
        self._hashes: Hashes | None = None
        self._lengths = self._starts = np.zeros(0, dtype=np.int64)

    @classmethod
    def of(cls, texts: Sequence[str]) -> HashedTexts:
        """Wrap texts, unless they are wrapped already."""
        return texts if isinstance(texts, HashedTexts) else cls(texts)

    def __len__(self) -> int:
        return len(self._texts)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        return self._texts[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def take(self, rows: NDArray[np.int64]) -> HashedTexts:
        """Select texts by number."""
        selected = HashedTexts([self._texts[row] for row in rows.tolist()])
        source, own = self._source or (self, None)
        selected._source = source, rows if own is None else own[rows]
        return selected

    def __add__(self, other: HashedTexts) -> HashedTexts:
        """Join the texts of both."""
        joined = HashedTexts([*self, *other])
        joined._joined = self, other
        return joined

    def hash(self, advance: Callable[[int], None] | None = None) -> None:
        """Hash the texts, or all texts that they are selected from, if they are not hashed yet."""
        if self._source is not None:
            whole, rows = self._source
            whole.hash(advance)
            self._hashes = whole._hashes
            self._starts, self._lengths = whole._starts[rows], whole._lengths[rows]
        elif self._hashes is None:
            hashes, lengths = GrowableArray(np.uint64), GrowableArray(np.int64)
            chunks: Iterator[tuple[Hashes, NDArray[np.int64]]]
            if self._joined:
                chunks = chain.from_iterable(texts.token_chunks() for texts in self._joined)
            else:
                chunks = (hashed for _, hashed in map_ahead(hash_tokens, text_chunks(self._texts)))
            for tokens, n_tokens in chunks:
                hashes.append(tokens)
                lengths.append(n_tokens)
                if advance is not None:
                    advance(len(n_tokens))
            self._hashes, self._lengths = hashes.whole(), lengths.whole()
            self._starts = offsets_of(self._lengths)[:-1]

    @property
    def n_to_hash(self) -> int:
        """Number of texts that :meth:`hash` reads: all that these are selected from."""
        return len(self) if self._source is None else len(self._source[0])

    @property
    def n_tokens(self) -> NDArray[np.int64]:
        """Tokens of each text, ``(N,)``."""
        self.hash()
        return self._lengths

    def token_chunks(self) -> Iterator[tuple[Hashes, NDArray[np.int64]]]:
        """Yield the hashes of the tokens in reading order and the tokens of each text, chunk by chunk."""
        self.hash()
        assert self._hashes is not None
        bounds, ends = [0], np.cumsum(self._lengths)
        while bounds[-1] < len(self):
            done = ends[bounds[-1] - 1] if bounds[-1] else 0
            bounds.append(max(int(np.searchsorted(ends, done + TOKENS_CHUNK, "right")), bounds[-1] + 1))
        for first, last in pairwise(bounds):
            starts, lengths = self._starts[first:last], self._lengths[first:last]
            if np.array_equal(starts[1:], starts[:-1] + lengths[:-1]):
                yield self._hashes[starts[0] : starts[-1] + lengths[-1]], lengths
            else:
                offsets = offsets_of(lengths)
                yield (
                    self._hashes[np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)],
                    lengths,
                )

    @property
    def words(self) -> SpelledWords:
        """The distinct tokens and their letters, computed once for all selections of the texts."""
        if self._source is None:
            return self._words
        words = self._source[0].words
        own: list[Hashes] = [np.unique(tokens) for tokens, _ in self.token_chunks()]
        mask = np.isin(words.hashes, np.unique(np.concatenate(own)) if own else words.hashes[:0])
        return SpelledWords(words.hashes[mask], words.code_points, words.starts[mask], words.ends[mask])

    @cached_property
    def _words(self) -> SpelledWords:
        distinct = sorted(set(chain.from_iterable(text.split() for text in self._texts)))
        hashes, code_points, offsets = spelled_tokens(distinct)
        hashes, first = np.unique(hashes, return_index=True)
        return SpelledWords(hashes, code_points, offsets[first], offsets[first + 1])


def text_chunks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield chunks of about `CHARACTERS_CHUNK` characters, so that memory stays small."""
    first, characters = 0, 0
    for i, text in enumerate(texts):
        characters += len(text)
        if characters >= CHARACTERS_CHUNK:
            yield texts[first : i + 1]
            first, characters = i + 1, 0
    if first < len(texts):
        yield texts[first:]


def map_ahead(function: Callable[[_T], _R], items: Iterable[_T]) -> Iterator[tuple[_T, _R]]:
    """Apply a function to items on all cores, only a few items ahead; yield items and results in order."""
    remaining = iter(items)
    first_two = list(islice(remaining, 2))
    if len(first_two) < 2:
        yield from ((item, function(item)) for item in first_two)
        return
    from concurrent.futures import ThreadPoolExecutor  # here, because a few texts do not need it

    with ThreadPoolExecutor(n_threads()) as pool:
        ahead: deque[tuple[_T, Future[_R]]] = deque()
        for item in chain(first_two, remaining):
            ahead.append((item, pool.submit(function, item)))
            if len(ahead) > n_threads() + 1:
                done, future = ahead.popleft()
                yield done, future.result()
        for done, future in ahead:
            yield done, future.result()
