"""The tables of docs/reliability.md say what was measured, and that the rest was not."""

from __future__ import annotations

import json

import tables
from tables import NOT_YET, PROMISES, Results, promises_table

STEP = {"peak_bytes": 170_000_000, "computing_seconds": 2.0, "seconds": 8.5}
ROW = {"job": "small", "condition": "2 threads"}
WHERE = {"machine": {"processor": "one"}, "date": "2026-01-02"}
JOB = {"job": "small", "kills": 60, "in_a_write": 7, "runs": 12, "same": 12, "looks": 5_000, "faults": []}
PARTS = {
    "kills": {"seed": 5, "jobs": [JOB, JOB]},
    "determinism": {
        "rows": 5_042,
        "test_texts": 1_210,
        "same": [{"job": "small", "processes": 6, "other": []}],
        "threads": [{**ROW, "same": True}],
        "instructions": [
            {**ROW, "same": False, "probability": 0.0123, "mean": 1e-4, "labels": 3, "accuracy": -0.001}
        ],
        "engines": [{"job": "small", "engine": "numpy", "same": False, "probability": 3e-7, "labels": 0}],
    },
    "device": {
        "rows": [
            {
                "data": "trec",
                "rows": 5_149,
                "mine": 300,
                "memory_bytes": 256_000_000,
                "speed": 0.25,
                "steps": {
                    "train": STEP,
                    "predict": {
                        **STEP,
                        "texts": 500,
                        "accuracy_of_model": 0.888,
                        "accuracy_of_mine": 0.894,
                    },
                },
            }
        ]
    },
    "service": {
        "seconds": 8.0,
        "rows": [{"fault": "a", "right": 9_000, "wrong": 0, "asked_again": 2, "failed": 0}],
    },
    "load": {"bits": 200, "found": 200, "bytes": 20_000_000, "share": {"median": 0.21}},
}
OTHERS = {
    "scoring": {
        "killed": {
            "documents": 10_000_000,
            "kills": [1] * 10,
            "missing": 0,
            "more_than_once": 0,
            "rejected": 3_000,
            "peak_bytes_of_all_processes": 1_200_000_000,
        },
        "killed_often": {"kills": 100, "jobs": 9},
    },
    "streaming": {
        "kills": {"kills": 20, "runs": 7, "runs_with_the_same_file": 7, "seed": 1},
        "large": {
            "crawl": {"documents": 10_000_000, "bytes": 6_000_000_000},
            "peak_memory_bytes": 1_100_000_000,
            "memory_seen": 1_000_000_000,
        },
    },
    "fuzzing": {"targets": {"readers": {"seconds": 1_900.0, "executions": 123_456, "findings": 0}}},
}


def test_nothing_was_measured(tmp_path):
    lines = promises_table(Results(tmp_path)).splitlines()[2:]
    assert len(lines) == len(PROMISES)
    assert sum(NOT_YET in line for line in lines) == sum(bool(promise.source) for promise in PROMISES)


def test_everything_was_measured(tmp_path):
    (tmp_path / "benchmarks").mkdir()
    parts = {name: part | WHERE for name, part in PARTS.items()}
    (tmp_path / "reliability.json").write_text(json.dumps({"parts": parts}))
    for name, document in OTHERS.items():
        (tmp_path / "benchmarks" / f"{name}.json").write_text(json.dumps(document))
    results = Results(tmp_path)
    table = promises_table(results)
    assert NOT_YET not in table
    assert "120 kills, 14 of them in the middle of a write; 24 of 24 runs" in table
    assert "20 kills; 7 of 7 runs ended with the same file" in table
    assert "1.1 GB, for 10,000,000 documents of 6 GB" in table
    assert "10,000,000 documents, killed 10 times: 0 missing, 0 twice, 3,000 rejected" in table
    assert "32 minutes, 123,456 inputs for 1 targets: 0 findings" in table
    found = {name: render(results.parts[part]) for name, (part, render) in tables.RELIABILITY_TABLES.items()}
    assert "| `small` | 2 threads | yes |" in found["reliability-determinism"]
    assert "| no | 0.01 | 0.0001 | 3 | -0.10 |" in found["reliability-determinism"]
    assert "| trec | train | 5,149 | 170 MB |" in found["reliability-device"]
    assert "88.80 %, then 89.40 %" in found["reliability-device"]
    for text in found.values():
        head, line, *rows = [row for row in text.splitlines() if row.startswith("|")]
        assert {row.count("|") for row in (line, *rows)} == {head.count("|")}


def test_a_benchmark_of_which_a_part_is_missing(tmp_path):
    (tmp_path / "scoring.json").write_text(json.dumps({"killed": OTHERS["scoring"]["killed"]}))
    lines = [line for line in promises_table(Results(tmp_path)).splitlines() if "many kills" in line]
    assert NOT_YET in lines[0]
