"""Made-up rows, readers of outputs, and an engine without processes."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from token2wave.scoring.job import Job
from token2wave.scoring.journal import OutputPart
from token2wave.scoring.segment_scorer import SegmentScorer

WORDS = {
    "good": ["museum", "history", "science", "article", "essay", "reference", "library"],
    "spam": ["buy", "cheap", "pills", "casino", "bonus", "click", "offer"],
    "code": ["import", "return", "function", "class", "while", "static", "void"],
}
FILLERS = ["the", "of", "and", "to", "in", "is", "that", "for", "it", "on", "ünd", "東京", "🙂"]
SMALL = {"network.width": 8, "features.bits": 12}


def texts_and_labels(n: int, seed: int = 0) -> tuple[list[str], list[str]]:
    rng = random.Random(seed)
    labels = [list(WORDS)[i % 3] for i in range(n)]
    texts = [" ".join(rng.choices(WORDS[label] + FILLERS, k=rng.randint(1, 20))) for label in labels]
    return texts, labels


def crawl(n: int, seed: int = 1) -> list[dict[str, Any]]:
    """Pages with columns of several types."""
    rng = random.Random(seed)
    texts, _ = texts_and_labels(n, seed)
    return [
        {
            "id": i,
            "url": f"https://example.org/{i}",
            "text": text,
            "views": rng.choice([None, rng.randint(0, 1000)]),
            "ratio": rng.random(),
            "tags": rng.choices(["a", "b", "c"], k=rng.randint(0, 2)),
            "checked": rng.choice([True, False, None]),
        }
        for i, text in enumerate(texts)
    ]


def write_jsonl(path: Path, rows: list[Any]) -> Path:
    """Write JSON lines; rows that are bytes are written unchanged."""
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wb") as file:
        file.writelines(line + b"\n" for line in lines)
    return path


def write_parquet(path: Path, rows: list[dict[str, Any]], row_group_size: int = 1000) -> Path:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=row_group_size)
    return path


def output_rows(folder: Path) -> list[dict[str, Any]]:
    """All rows of an output, in the order of its parts."""
    from pyarrow import parquet

    rows: list[dict[str, Any]] = []
    for path in sorted((folder / "parts").iterdir()):
        if path.suffix == ".jsonl":
            rows += [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
        else:
            rows += parquet.read_table(path).to_pylist()
    return rows


def rejects(folder: Path) -> list[dict[str, Any]]:
    """All rejected rows, with place and reason."""
    return [
        json.loads(line)
        for path in sorted((folder / "rejected").iterdir())
        for line in path.read_text(encoding="ascii").splitlines()
    ]


def content(folder: Path) -> dict[str, bytes]:
    """All files of an output but the job's own."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] != "_job"
    }


def run_here(job: Job, n_workers: int, on_commit: Callable[[OutputPart], None]) -> None:
    """The local engine without processes."""
    scorer = SegmentScorer(job.config)
    for number in job.open_segments():
        for output_part in scorer.score_segment(job.task(number)):
            job.journal.commit(output_part)
            on_commit(output_part)
