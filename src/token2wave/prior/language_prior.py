"""Holds a vector for each frequent word of a language, and reads and writes its file.

The mean of the vectors of a text's words is a linear guess of a sentence encoder's vector of the text.
``docs/prior.md`` says how the shipped file is made.

The file is an npz archive. A number of a vector is a level, which is an entry of a small codebook, times the
scale of its word, times the scale of its dimension. A uint16 holds the levels of as many numbers as fit, as
digits, the first one the highest: three numbers of 40 levels, for example.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from token2wave.errors import ModelFileError
from token2wave.features.hashing import find_entries
from token2wave.features.normalisation import unicode_table
from token2wave.features.text import SYMBOL, Hashes, token_hashes
from token2wave.storage.atomic import atomic_write
from token2wave.storage.encodings import EncodedArray, as_delta_varint

ENGLISH = Path(__file__).with_name("english.npz")
ENTRIES = ("hashes", "codes", "codebook", "word_scales", "scales", "about")
MAX_DIGITS = 4  # numbers of more digits count as words
TINY = np.float32(1e-6)  # the least divisor

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class LanguagePrior:
    """Vectors of the frequent words of a language.

    Attributes:
        hashes: top 32 bits of the words' 64-bit hashes, ``(K,)`` uint32, increasing.
        vectors: ``(K, P)`` float32. They are centred: a word without a vector counts as zero.
        language: of the words, such as ``en``.
        description: encoder, licences, and how the vectors were made.
    """

    hashes: NDArray[np.uint32]
    vectors: Floats
    language: str
    description: str

    @property
    def width(self) -> int:
        """Numbers of a vector, ``P``."""
        return int(self.vectors.shape[1])

    def rows_of(self, hashes: Hashes) -> NDArray[np.int64]:
        """Return the row in ``vectors`` of each word hash ``(N,)`` uint64, -1 for a word without a vector."""
        return find_entries(self.hashes, (hashes >> np.uint64(32)).astype(np.uint32))

    def coverage(self, hashes: Hashes) -> float:
        """Return the fraction of words among token hashes ``(N,)`` uint64 that have a vector.

        Punctuation, other symbols, and numbers of up to four digits are no words. 0 if there are no words.
        """
        words = hashes[find_entries(_hashes_without_language(), hashes) < 0]
        return float(np.mean(self.rows_of(words) >= 0)) if len(words) else 0.0

    @classmethod
    def read(cls, path: Path) -> LanguagePrior:
        """Read a file that :meth:`write` wrote.

        Raises:
            ModelFileError: the file is missing or damaged.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                deltas, codes, codebook, word_scales, scales, about = (archive[name] for name in ENTRIES)
            hashes = EncodedArray({"kind": "delta_varint"}, {"": deltas}).decoded()
            vectors = codebook[_digits(len(codebook))].take(codes, axis=0).ravel()
            vectors = vectors[: len(hashes) * len(scales)].reshape(len(hashes), len(scales))
            vectors *= scales
            vectors *= word_scales[:, None].astype(np.float32)
            text = json.loads(about.tobytes())
            language, description = str(text["language"]), str(text["description"])
        except Exception as error:  # an archive can be damaged in many ways
            raise ModelFileError(
                f"expected a language prior, found another or a damaged file ({error})",
                location=str(path),
                hint="install token2wave again, or train with --no-prior",
            ) from error
        hashes.flags.writeable = vectors.flags.writeable = False  # all callers share them
        return cls(hashes, vectors, language, description)

    def write(self, path: Path, n_levels: int) -> None:
        """Write a file with ``n_levels`` levels, from 2 to 65,536: aside, then rename it.

        Raises:
            OutputError: the file cannot be written.
        """
        word_scales = np.sqrt(np.square(self.vectors).mean(axis=1)).astype(np.float16)
        numbers = self.vectors / np.maximum(word_scales, TINY)[:, None]
        scales = numbers.std(axis=0)
        numbers = (numbers / np.maximum(scales, TINY)).ravel()
        codebook = fit_codebook(numbers, n_levels)
        levels = np.searchsorted((codebook[1:] + codebook[:-1]) / 2, numbers)
        n_digits = _digits(n_levels).shape[1]
        levels = np.pad(levels, (0, -len(levels) % n_digits)).reshape(-1, n_digits)
        about = json.dumps({"language": self.language, "description": self.description})
        entries = {
            "hashes": as_delta_varint(self.hashes).parts[""],
            "codes": (levels @ n_levels ** np.arange(n_digits)[::-1]).astype(np.uint16),
            "codebook": codebook,
            "word_scales": word_scales,
            "scales": scales,
            "about": np.frombuffer(about.encode(), np.uint8),
        }
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **entries)


@cache
def load_prior() -> LanguagePrior:
    """Return the shipped prior, for English. The first call reads it.

    Raises:
        ModelFileError: the file is missing or damaged.
    """
    return LanguagePrior.read(ENGLISH)


@cache
def _hashes_without_language() -> Hashes:
    """Hashes of symbols and of short numbers, increasing."""
    classes, folded, marks, *_ = unicode_table()
    is_symbol = (classes == SYMBOL) & (marks == 0) & (folded == np.arange(len(folded)))
    symbols = map(chr, np.flatnonzero(is_symbol).tolist())
    numbers = [f"{i:0{n}}" for n in range(1, MAX_DIGITS + 1) for i in range(10**n)]
    return np.unique(token_hashes([*symbols, " ".join(numbers)])[0])


def _digits(n_levels: int) -> NDArray[np.int64]:
    """Digits of every code, ``(n_levels^d, d)``, for as many digits as a uint16 can hold."""
    n_digits = next(d for d in range(16, 0, -1) if n_levels**d <= 1 << 16)
    return np.indices((n_levels,) * n_digits).reshape(n_digits, -1).T


def fit_codebook(numbers: Floats, n_levels: int, iterations: int = 50) -> Floats:
    """Return ``n_levels`` increasing numbers, each the mean of the numbers nearest to it (Lloyd 1982)."""
    numbers = np.sort(numbers).astype(np.float64)
    sums = np.concatenate([[0], np.cumsum(numbers)])
    codebook = np.quantile(numbers, (np.arange(n_levels) + 0.5) / n_levels)
    for _ in range(iterations):
        ends = np.searchsorted(numbers, (codebook[1:] + codebook[:-1]) / 2)
        ends = np.concatenate([[0], ends, [len(numbers)]])
        counts = np.diff(ends)
        codebook = np.where(counts > 0, np.diff(sums[ends]) / np.maximum(counts, 1), codebook)
    return codebook.astype(np.float32)
