"""A made-up crawl of any size: documents of about 500 characters on four subjects, some rows broken.

    python benchmarks/crawl.py FOLDER --documents 10000000 --rows-per-file 625000 --kind jsonl

Words are made of syllables and follow Zipf's law. In each document, one word in seven belongs to the
document's subject. Three labels in a hundred are wrong. One row in a thousand is broken: invalid JSON, or a
missing text in Parquet. The same arguments make the same files on every machine.
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
N_SUBJECT_WORDS = 5_000
SUBJECT_PROBABILITY = 1 / 7
MISLABELLED_PROBABILITY = 0.03
BROKEN_EVERY = 1_000
MEAN_WORDS = 72
CHUNK = 10_000
UNSEEN = 1 << 40  # number of a document that no crawl reaches
SYLLABLES = [
    "".join(letters)
    for letters in itertools.product("bcdfghklmnprstvwz", "aeiou", ["", "n", "r", "s", "l", "é", "ö"])
]


@dataclass(frozen=True)
class Documents:
    """Documents in order."""

    ids: list[int]
    texts: list[str]
    labels: list[str]

    @property
    def broken(self) -> list[bool]:
        """Whether each row is written broken."""
        return [is_broken(number) for number in self.ids]


def is_broken(number: int) -> bool:
    """Whether a crawl writes this document as a broken row."""
    return number % BROKEN_EVERY == BROKEN_EVERY - 1


def make_words(n_words: int = N_WORDS) -> NDArray[Any]:
    """Distinct words, the most frequent and shortest first."""
    rng = np.random.default_rng(0)
    words: dict[str, None] = {}
    while len(words) < n_words:
        for syllables in rng.integers(len(SYLLABLES), size=(n_words, 4)).tolist():
            n_syllables = 1 + min(len(words) * 4 // n_words + int(len(words) > 200), 3)
            words["".join(SYLLABLES[i] for i in syllables[:n_syllables])] = None
    return np.array(list(words)[:n_words], dtype=object)


class Crawl:
    """Makes documents from a seed."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.words = make_words()
        self.common = _zipf(N_WORDS)
        self.special = _zipf(N_SUBJECT_WORDS)
        shuffled = np.random.default_rng([seed, 0]).permutation(np.arange(1000, N_WORDS))
        n_special = len(SUBJECTS) * N_SUBJECT_WORDS
        self.subject_words = shuffled[:n_special].reshape(len(SUBJECTS), N_SUBJECT_WORDS)

    def documents(self, first: int, last: int) -> Documents:
        """Documents ``first`` to ``last - 1``."""
        start = first // CHUNK
        chunks = [self._chunk(number) for number in range(start, -(-last // CHUNK))]
        texts, labels = (
            list(itertools.chain.from_iterable(columns)) for columns in zip(*chunks, strict=True)
        )
        window = slice(first - start * CHUNK, last - start * CHUNK)
        return Documents(list(range(first, last)), texts[window], labels[window])

    def _chunk(self, number: int) -> tuple[list[str], list[str]]:
        rng = np.random.default_rng([self.seed, 1, number])
        subjects = rng.integers(len(SUBJECTS), size=CHUNK)
        lengths = np.maximum(rng.lognormal(np.log(MEAN_WORDS) - 0.125, 0.5, CHUNK).astype(np.int64), 3)
        n_words = int(lengths.sum())
        indices = np.searchsorted(self.common, rng.random(n_words))
        is_special = rng.random(n_words) < SUBJECT_PROBABILITY
        special = np.searchsorted(self.special, rng.random(int(is_special.sum())))
        indices[is_special] = self.subject_words[np.repeat(subjects, lengths)[is_special], special]
        words = self.words[indices].tolist()
        ends = np.cumsum(lengths).tolist()
        texts = [" ".join(words[a:b]) for a, b in itertools.pairwise([0, *ends])]
        is_wrong = rng.random(CHUNK) < MISLABELLED_PROBABILITY
        subjects[is_wrong] = rng.integers(len(SUBJECTS), size=int(is_wrong.sum()))
        return texts, [SUBJECTS[i] for i in subjects]


def write(
    folder: Path,
    n_documents: int,
    rows_per_file: int,
    suffix: str = "jsonl",
    seed: int = 0,
    is_labelled: bool = True,
) -> dict[str, int]:
    """Write documents to files ``part-0000.jsonl`` (or ``.parquet``), ...; files that exist stay.

    Returns:
        ``documents``, the ``broken`` ones, ``characters`` of all texts and ``bytes`` of all files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    bounds = [*range(0, n_documents, rows_per_file), n_documents]
    paths = [folder / f"part-{number:04d}.{suffix}" for number in range(len(bounds) - 1)]
    counts = {"documents": n_documents, "broken": 0, "characters": 0, "bytes": 0}
    with ProcessPoolExecutor() as pool:
        write_one = partial(_write_file, suffix=suffix, seed=seed, is_labelled=is_labelled)
        for written in pool.map(write_one, paths, bounds[:-1], bounds[1:]):
            counts = {name: n + written.get(name, 0) for name, n in counts.items()}
    return counts


def write_labelled(seed: int, path: Path, n_documents: int) -> None:
    """Write whole documents that are in no crawl, with labels, to train on."""
    documents = _crawl(seed).documents(UNSEEN, UNSEEN + n_documents)
    with path.open("w", encoding="utf-8") as file:
        for text, label in zip(documents.texts, documents.labels, strict=True):
            file.write(json.dumps({"text": text, "label": label}) + "\n")


def _write_file(
    path: Path, first: int, last: int, suffix: str, seed: int, is_labelled: bool
) -> dict[str, int]:
    if path.exists():
        return {}
    crawl, counts, partial_path = _crawl(seed), {"broken": 0, "characters": 0}, path.with_suffix(".new")
    write_chunks = _write_parquet if suffix == "parquet" else _write_jsonl
    chunks = (crawl.documents(a, min(a + CHUNK, last)) for a in range(first, last, CHUNK))
    for documents in write_chunks(partial_path, chunks, is_labelled):
        counts["broken"] += sum(documents.broken)
        counts["characters"] += sum(map(len, documents.texts))
    partial_path.replace(path)
    return {**counts, "bytes": path.stat().st_size}


@cache
def _crawl(seed: int) -> Crawl:
    return Crawl(seed)


def _write_jsonl(path: Path, chunks: Iterator[Documents], is_labelled: bool) -> Iterator[Documents]:
    broken_lines = itertools.cycle(
        [b'{"id": %d, "text": "cut o', b'{"id": %d, "text": 5}', b'{"id": %d, "text": "\xff"}']
    )
    with path.open("wb") as file:
        for chunk in chunks:
            for number, text, label in zip(chunk.ids, chunk.texts, chunk.labels, strict=True):
                row = {"id": number, "url": _url(number), "text": text}
                row |= {"label": label} if is_labelled else {}
                line = json.dumps(row, ensure_ascii=False).encode()
                file.write((next(broken_lines) % number if is_broken(number) else line) + b"\n")
            yield chunk


def _write_parquet(path: Path, chunks: Iterator[Documents], is_labelled: bool) -> Iterator[Documents]:
    import pyarrow
    from pyarrow import parquet

    names = [("id", pyarrow.int64()), ("url", pyarrow.string()), ("text", pyarrow.string())]
    schema = pyarrow.schema(names + ([("label", pyarrow.string())] if is_labelled else []))
    with parquet.ParquetWriter(path, schema, compression="zstd", use_dictionary=["label"]) as file:
        for chunk in chunks:
            columns: dict[str, Any] = {
                "id": chunk.ids,
                "url": list(map(_url, chunk.ids)),
                "text": [
                    None if is_broken(n) else text for n, text in zip(chunk.ids, chunk.texts, strict=True)
                ],
            }
            columns |= {"label": chunk.labels} if is_labelled else {}
            file.write_table(pyarrow.table(columns, schema=schema))
            yield chunk


def _url(number: int) -> str:
    return f"https://site{number % 997}.example/{number}"


def _zipf(n_words: int) -> NDArray[np.float64]:
    """Cumulative probabilities of words by Zipf's law."""
    weights = 1 / np.arange(2, n_words + 2)
    cumulative: NDArray[np.float64] = np.cumsum(weights / weights.sum())
    return cumulative


def main() -> None:
    """Write a crawl."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--rows-per-file", type=int, default=25_000)
    parser.add_argument("--kind", choices=("jsonl", "parquet"), default="jsonl")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--unlabelled", action="store_true")
    options = parser.parse_args()
    arguments = (options.rows_per_file, options.kind, options.seed, not options.unlabelled)
    print(json.dumps(write(options.folder, options.documents, *arguments)))


if __name__ == "__main__":
    main()
