"""Tables of ``benchmarks/distributed.py``, and how it compares turns."""

import distributed as benchmark
import tables


def summaries(seconds: list[float]) -> list[dict]:
    return [
        {"accuracy": 0.875, "traffic": None, "train_seconds": each, "total_seconds": 2 * each}
        for each in seconds
    ]


def test_shares_are_of_the_same_turn():
    turns = {
        "one": summaries([10.0, 20.0, 40.0]),
        "threads": summaries([6.0, 12.0, 20.0]),
        "processes": summaries([6.0, 10.0, 28.0]),
    }
    found = benchmark._compared(["network.layers=2"], turns)
    assert found["processes"]["train_share"] == {"median": 0.6, "min": 0.5, "max": 0.7}
    assert found["one"]["total_share"]["max"] == 1
    part = {
        "variants": {"two layers": found},
        "rows": 6_000,
        "data": "ag_news",
        "epochs": 2,
        "precision": "float32",
        "runs": 3,
        "machine": {"processor": "a processor"},
        "caveats": ["not all rows."],
    }
    table = tables.distributed_time_table({"time": part})
    assert "| two layers | two processes, one thread each | 87.50% | 10.0 s | 0.60 | 0.60 |" in table
    assert table.endswith("*not all rows*.\n\n") or "*not all rows.*" in table


def test_traffic_stands_beside_the_rows_and_the_table():
    row = {"vocabulary": 30_000, "batch_size": 64, "table_bytes": 7_680_000}
    row |= {"rows": 1_489.4, "row_bytes": 220_000.0, "dense_bytes": 67_900.0, "processes": 2.0}
    part = {"rows": [row], "steps": 8, "words": 50, "width": 64}
    table = tables.distributed_traffic_table({"traffic": part})
    assert "| 30,000 | 64 | 1,489 | 220 kB | 148 B | 7.68 MB | 67.9 kB |" in table
