"""A crawl that is made up: pages of about 500 characters, of words in several scripts, drawn by Zipf's law.

The same number gives the same page, on every machine. A page is a piece of a long text of its class, so that
millions are made in little time; some rows are broken.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow
from numpy.typing import NDArray
from pyarrow import parquet

CLASSES = ("reference", "news", "forum", "shop", "junk")
SCRIPTS = (
    "abcdefghijklmnopqrstuvwxyz",
    "aäbdeéfghiîklmnoöprsßtuüvwz",
    "абвгдежзийклмнопрстуфхцчшыья",
    "αβγδεζηθικλμνξοπρστυφχψω",
)
LANGUAGES = ("en", "de", "ru", "el")
N_WORDS = 60_000
N_WORDS_OF_A_POOL = 400_000
WORDS_OF_A_PAGE = (40, 108)
SHARE_OF_CLASS = 0.15  # words that speak for the page's class
ZIPF = 1.05
ROWS_OF_A_FILE = 100_000
EVERY_BROKEN = 49_999  # one row in so many has no text


@dataclass
class Crawl:
    """The long texts that pages are cut from.

    Args:
        seed: of everything.
    """

    seed: int = 0

    def __post_init__(self) -> None:
        draw = np.random.default_rng(self.seed)
        words = [_word(draw, SCRIPTS[i % 8 if i % 8 < len(SCRIPTS) else 0]) for i in range(N_WORDS)]
        ranks = np.cumsum(np.arange(1, N_WORDS + 1) ** -ZIPF)
        own = draw.permutation(N_WORDS)[: 400 * len(CLASSES)].reshape(len(CLASSES), -1)
        self.pools: list[bytes] = []
        self.starts: list[NDArray[np.int64]] = []
        for special in own:
            ids = np.searchsorted(ranks, draw.random(N_WORDS_OF_A_POOL) * ranks[-1])
            ids = np.where(draw.random(len(ids)) < SHARE_OF_CLASS, draw.choice(special, len(ids)), ids)
            encoded = [words[i] for i in ids.tolist()]
            self.pools.append(b"".join(encoded))
            self.starts.append(np.concatenate([[0], np.cumsum([len(word) for word in encoded])]))

    def pages(self, first: int, n: int) -> tuple[list[bytes], NDArray[np.int64]]:
        """Pages ``first`` and ``n - 1`` behind it, and their classes ``(n,)``."""
        draw = np.random.default_rng([self.seed, first])
        kinds = draw.integers(0, len(CLASSES), n)
        sizes = draw.integers(*WORDS_OF_A_PAGE, n)
        begins = draw.integers(0, N_WORDS_OF_A_POOL - WORDS_OF_A_PAGE[1], n)
        texts = []
        for kind, size, begin in zip(kinds.tolist(), sizes.tolist(), begins.tolist(), strict=True):
            starts = self.starts[kind]
            texts.append(self.pools[kind][starts[begin] : starts[begin + size] - 1])
        return texts, kinds

    def table(self, first: int, n: int) -> pyarrow.Table:
        """Rows as they lie in Parquet: ``id``, ``url``, ``language`` and ``text``."""
        texts, _ = self.pages(first, n)
        ids = np.arange(first, first + n)
        held: list[bytes | None] = list(texts)
        for i in broken(first, n):
            held[i - first] = None
        return pyarrow.table(
            {
                "id": ids,
                "url": [f"https://site{i % 997}.example/{i}" for i in ids.tolist()],
                "language": pyarrow.array([LANGUAGES[i] for i in (ids % len(LANGUAGES)).tolist()]),
                "text": pyarrow.array(held, pyarrow.binary()).cast(pyarrow.string()),
            }
        )


def broken(first: int, n: int) -> range:
    """Numbers of the broken rows among some."""
    return range(-(-max(first, 1) // EVERY_BROKEN) * EVERY_BROKEN, first + n, EVERY_BROKEN)


def _word(draw: np.random.Generator, letters: str) -> bytes:
    return "".join(draw.choice(list(letters), draw.integers(2, 10))).encode() + b" "


def write_parquet(crawl: Crawl, folder: Path, n: int) -> None:
    """Write pages 0 to ``n - 1``; files that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, n, ROWS_OF_A_FILE):
        path = folder / f"crawl-{first // ROWS_OF_A_FILE:04}.parquet"
        if not path.exists():
            aside = path.with_suffix(".new")
            parquet.write_table(
                crawl.table(first, min(ROWS_OF_A_FILE, n - first)), aside, row_group_size=50_000
            )
            aside.replace(path)


def write_jsonl(crawl: Crawl, folder: Path, n: int) -> None:
    """The same as JSON lines; broken rows are no JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, n, ROWS_OF_A_FILE):
        rows = crawl.table(first, min(ROWS_OF_A_FILE, n - first)).to_pylist()
        with (folder / f"crawl-{first // ROWS_OF_A_FILE:04}.jsonl").open("wb") as file:
            for row in rows:
                file.write(b"{" if row["text"] is None else json.dumps(row, ensure_ascii=False).encode())
                file.write(b"\n")


def write_labelled(crawl: Crawl, path: Path, n: int) -> None:
    """Pages that are in no crawl, with their classes, to train on."""
    texts, kinds = crawl.pages(1 << 40, n)
    with path.open("w", encoding="utf-8") as file:
        for text, kind in zip(texts, kinds.tolist(), strict=True):
            file.write(json.dumps({"text": text.decode(), "label": CLASSES[kind]}) + "\n")
