"""What is shown of ``benchmarks/scoring.py``, and the crawl that it makes up."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import crawl
import pytest
import tables
from pyarrow import parquet


def measured(rate: float, microseconds: float) -> dict[str, Any]:
    return {
        "rate": {"median": rate, "turns": [rate] * 3},
        "microseconds": {"median": microseconds, "turns": []},
    }


DOCUMENT: dict[str, Any] = {
    "preset": "small",
    "machine": {"processor": "A processor"},
    "fixed": {"job_seconds": 1.5, "commit_seconds": 0.02},
    "rates": {
        "documents": 1_000_000,
        "documents_as_json_lines": 200_000,
        "mean_characters": 500.0,
        "threads": 2,
        "ways": {
            "bare": measured(100_000, 18.0),
            "parquet": measured(90_000, 20.0),
            "parquet, one process": measured(50_000, 20.0),
            "json lines": measured(30_000, 60.0),
        },
    },
    "killed": {
        "documents": 10_000_000,
        "input_bytes": 3_771_000_000,
        "kills": [{"after_seconds": 1.0, "parts": 3}, {"after_seconds": 2.0, "parts": 7}],
        "seconds": 120.4,
        "peak_bytes_of_all_processes": 556_479_488,
        "workers": 2,
        "written": 9_999_800,
        "rejected": 200,
        "missing": 0,
        "more_than_once": 0,
    },
    "killed_often": {"kills": 100, "with_parts": 60, "jobs": 30, "documents_of_a_job": 100_000},
}


def test_rates_stand_beside_the_bare_runtime() -> None:
    table = tables.scoring_rates_table(DOCUMENT)
    assert "| `score`, Parquet to Parquet, 2 processes | 90,000 | 90 % | 20.0 µs | 90 % |" in table
    assert "From one process to 2: 1.80 times the rate." in table


def test_kills_are_told() -> None:
    table = tables.scoring_killed_table(DOCUMENT)
    assert "| parts that were there at each kill | 3, 7 |" in table
    assert "| most memory of all processes together | 556 MB |" in table
    assert "killed 100 times at any moment, 60 times of them with parts" in table


def test_a_billion_documents() -> None:
    table = tables.scoring_cost_table(DOCUMENT)  # 20 µs each are 5.56 core hours
    assert "| Parquet to Parquet | 20.0 µs | 180 million | 5.6 | 0.25 |" in table


def test_the_model_of_many_processes() -> None:
    seconds, efficiency = tables.model_scoring(DOCUMENT, 1, 32e6)
    assert seconds == pytest.approx(20_000 + 0.64 + 1.5)
    assert efficiency == pytest.approx(20_000 / seconds)
    seconds, _ = tables.model_scoring(DOCUMENT, 1_000, 32e6)
    assert seconds == pytest.approx(15_625 * 0.02 + 1.5)  # recording the parts takes longest
    assert "| 1,000 | 5.2 min | 6 % |" in tables.scoring_efficiency_table(DOCUMENT)


def test_the_crawl_is_the_same_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert crawl.make_words(2_000).tolist() == crawl.make_words(2_000).tolist()
    monkeypatch.setattr(crawl, "make_words", cache(crawl.make_words))  # a second for each crawl
    monkeypatch.setattr(crawl, "CHUNK", 400)
    n = crawl.BROKEN_EVERY + 10
    documents = crawl.Crawl(3).documents(0, n)
    assert documents == crawl.Crawl(3).documents(0, n)
    assert documents.texts[500:600] == crawl.Crawl(3).documents(500, 600).texts
    lengths = list(map(len, documents.texts))
    assert 350 < sum(lengths) / len(lengths) < 650
    counts = crawl.write(tmp_path, n, 600, "parquet", seed=3, is_labelled=False)
    assert (counts["documents"], counts["broken"]) == (n, 1)
    table = parquet.read_table(tmp_path)
    assert table.column("id").to_pylist() == list(range(n))
    texts = table.column("text").to_pylist()
    assert [i for i, text in enumerate(texts) if text is None] == [crawl.BROKEN_EVERY - 1]
    crawl.write_labelled(3, tmp_path / "labelled.jsonl", 5)
    assert len((tmp_path / "labelled.jsonl").read_text().splitlines()) == 5
