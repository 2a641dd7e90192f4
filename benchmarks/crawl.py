"""A made-up crawl of any size: documents of about 500 characters on four subjects, some rows broken.

    python benchmarks/crawl.py FOLDER --documents 10000000 --files 16 --kind jsonl

Words are made of syllables and follow Zipf's law; in a document on a subject one word in seven is one of the
subject's own, which follow it too. Three labels in a hundred are wrong, and one row in a thousand cannot be
read, but for Parquet, where its text is missing. The same arguments make the same files.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SUBJECTS = ("trade", "sport", "science", "travel")
N_WORDS = 400_000
N_OWN = 5_000
SHARE_OF_OWN = 1 / 7
SHARE_MISLABELLED = 0.03
SHARE_BROKEN = 0.001
MEAN_WORDS = 72
AT_ONCE = 10_000
SYLLABLES = [
    "".join(letters)
    for letters in itertools.product("bcdfghklmnprstvwz", "aeiou", ["", "n", "r", "s", "l", "é", "ö"])
]


@dataclass(frozen=True)
class Rows:
    """Documents, in order."""

    ids: list[int]
    texts: list[str]
    labels: list[str]
    is_broken: NDArray[np.bool_]


def words(n_words: int = N_WORDS) -> NDArray[Any]:
    """Words that differ, the most frequent first and the shortest."""
    made = np.random.default_rng(0)
    found: dict[str, None] = {}
    while len(found) < n_words:
        for chosen in made.integers(len(SYLLABLES), size=(n_words, 4)).tolist():
            n_syllables = 1 + min(len(found) * 4 // n_words + int(len(found) > 200), 3)
            found["".join(SYLLABLES[i] for i in chosen[:n_syllables])] = None
    return np.array(list(found)[:n_words], dtype=object)


class Crawl:
    """Makes documents.

    Args:
        seed: of all that is random.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.words = words()
        self.common = _zipf(N_WORDS)
        self.own = _zipf(N_OWN)
        places = np.random.default_rng([seed, 0]).permutation(np.arange(1000, N_WORDS))
        self.places_of_own = places[: len(SUBJECTS) * N_OWN].reshape(len(SUBJECTS), N_OWN)

    def rows(self, first: int, last: int) -> Rows:
        """Documents number first to last; the same whatever is made beside them."""
        parts = [self._chunk(number) for number in range(first // AT_ONCE, -(-last // AT_ONCE))]
        ids = list(range(first // AT_ONCE * AT_ONCE, first // AT_ONCE * AT_ONCE + AT_ONCE * len(parts)))
        a, b = first - ids[0], last - ids[0]
        texts = [text for part in parts for text in part[0]]
        labels = [label for part in parts for label in part[1]]
        return Rows(ids[a:b], texts[a:b], labels[a:b], np.concatenate([part[2] for part in parts])[a:b])

    def _chunk(self, number: int) -> tuple[list[str], list[str], NDArray[np.bool_]]:
        made = np.random.default_rng([self.seed, 1, number])
        subjects = made.integers(len(SUBJECTS), size=AT_ONCE)
        lengths = np.maximum(made.lognormal(np.log(MEAN_WORDS) - 0.125, 0.5, AT_ONCE).astype(np.int64), 3)
        n_words = int(lengths.sum())
        places = np.searchsorted(self.common, made.random(n_words))
        is_own = made.random(n_words) < SHARE_OF_OWN
        own = np.searchsorted(self.own, made.random(int(is_own.sum())))
        places[is_own] = self.places_of_own[np.repeat(subjects, lengths)[is_own], own]
        chosen = self.words[places].tolist()
        ends = np.cumsum(lengths).tolist()
        texts = [" ".join(chosen[a:b]) for a, b in itertools.pairwise([0, *ends])]
        wrong = made.random(AT_ONCE) < SHARE_MISLABELLED
        subjects[wrong] = made.integers(len(SUBJECTS), size=int(wrong.sum()))
        return texts, [SUBJECTS[i] for i in subjects], made.random(AT_ONCE) < SHARE_BROKEN


def write(
    folder: Path, n_documents: int, n_files: int, kind: str = "jsonl", seed: int = 0, labelled: bool = True
) -> dict[str, int]:
    """Write documents as files of one size each.

    Args:
        folder: is made.
        n_documents: in all files together.
        n_files: how many.
        kind: ``jsonl`` or ``parquet``.
        seed: of all that is random.
        labelled: whether rows have a label.

    Returns:
        ``documents``, ``broken`` among them, ``characters`` of all texts, and ``bytes`` of all files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    bounds = np.linspace(0, n_documents, n_files + 1).astype(int).tolist()
    paths = [folder / f"part-{number:04d}.{kind}" for number in range(n_files)]
    counts = {"documents": n_documents, "broken": 0, "characters": 0, "bytes": 0}
    with ProcessPoolExecutor() as pool:
        write_one = partial(_write_file, kind=kind, seed=seed, labelled=labelled)
        for found in pool.map(write_one, paths, bounds[:-1], bounds[1:]):
            counts = {name: n + found.get(name, 0) for name, n in counts.items()}
    return counts


def _write_file(path: Path, first: int, last: int, kind: str, seed: int, labelled: bool) -> dict[str, int]:
    """Write some documents to one file."""
    crawl, counts = _crawl(seed), {"broken": 0, "characters": 0}
    write_one = _parquet if kind == "parquet" else _jsonl
    parts = (crawl.rows(a, min(a + AT_ONCE, last)) for a in range(first, last, AT_ONCE))
    for rows in write_one(path, parts, labelled):
        counts["broken"] += int(rows.is_broken.sum())
        counts["characters"] += sum(map(len, rows.texts))
    return {**counts, "bytes": path.stat().st_size}


@cache
def _crawl(seed: int) -> Crawl:
    return Crawl(seed)


def _jsonl(path: Path, parts: Iterator[Rows], labelled: bool) -> Iterator[Rows]:
    broken = itertools.cycle(
        [b'{"id": %d, "text": "cut o', b'{"id": %d, "text": 5}', b'{"id": %d, "text": "\xff"}']
    )
    with path.open("wb") as file:
        for rows in parts:
            lines = []
            for number, text, label, is_broken in zip(
                rows.ids, rows.texts, rows.labels, rows.is_broken.tolist(), strict=True
            ):
                record = {"id": number, "url": f"https://site{number % 997}.example/{number}", "text": text}
                record |= {"label": label} if labelled else {}
                line = next(broken) % number if is_broken else json.dumps(record, ensure_ascii=False).encode()
                lines.append(line)
            file.write(b"\n".join(lines) + b"\n")
            yield rows


def _parquet(path: Path, parts: Iterator[Rows], labelled: bool) -> Iterator[Rows]:
    import pyarrow
    from pyarrow import parquet

    names = [("id", pyarrow.int64()), ("url", pyarrow.string()), ("text", pyarrow.string())]
    schema = pyarrow.schema(names + ([("label", pyarrow.string())] if labelled else []))
    with parquet.ParquetWriter(path, schema, compression="zstd", use_dictionary=["label"]) as file:
        for rows in parts:
            columns: dict[str, Any] = {
                "id": rows.ids,
                "url": [f"https://site{number % 997}.example/{number}" for number in rows.ids],
                "text": [None if b else t for t, b in zip(rows.texts, rows.is_broken.tolist(), strict=True)],
            }
            columns |= {"label": rows.labels} if labelled else {}
            file.write_table(pyarrow.table(columns, schema=schema))
            yield rows


def _zipf(n_words: int) -> NDArray[np.float64]:
    """Cumulative shares of words by Zipf's law."""
    shares = 1 / np.arange(2, n_words + 2)
    total: NDArray[np.float64] = np.cumsum(shares / shares.sum())
    return total


def main() -> None:
    """Write a crawl."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--files", type=int, default=4)
    parser.add_argument("--kind", choices=("jsonl", "parquet"), default="jsonl")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--unlabelled", action="store_true")
    options = parser.parse_args()
    counts = write(
        options.folder, options.documents, options.files, options.kind, options.seed, not options.unlabelled
    )
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
