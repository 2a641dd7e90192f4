"""What is shown of ``benchmarks/html_page.py``."""

from __future__ import annotations

import tables

DOCUMENT = {
    "data": "ag_news",
    "machine": {"processor": "A processor"},
    "chromium": "150.0",
    "html_bytes": 1_414_240,
    "model_bytes": 988_447,
    "n_texts": 1_000,
    "mean_characters": 242.2,
    "largest_difference": {"test": 2.04e-07, "random": 3e-07},
    "ready_milliseconds": 451.2,
    "predicted_milliseconds": {"median": 0.414, "p99": 1.2, "max": 3.0},
    "explained_milliseconds": {"median": 4.7, "p99": 20.0, "max": 30.0},
}


def test_the_table_has_sizes_times_and_agreement() -> None:
    table = tables.html_page_table(DOCUMENT)
    assert "| HTML file | 1,414,240 bytes, 425,793 more |" in table
    assert "| predicting one text | median 0.41 ms, 99 % within 1.20 ms |" in table
    assert "from the runtime, test texts | 2.0e-07 |" in table
    assert "1,000 test texts of 242 characters on average" in table
    assert table.splitlines()[:2] == ["| | |", "|---|---|"]


def test_the_table_of_quality_has_a_row_for_each_page_and_screen() -> None:
    scores = {"performance": 98, "accessibility": 100, "best-practices": 99}
    document = {
        "data": "sections",
        "throttling": "devtools",
        "versions_of_packages": {"axe-core": "4.1", "lighthouse": "12.8"},
        "bytes": {"page": 1_990_000, "audit": 109_000},
        "violations": {"page": ["a fault", "another"], "audit": []},
        "scores": {
            "page": {"phone": scores, "desktop": scores},
            "audit": {"phone": {**scores, "performance": 97}},
        },
    }
    table = tables.page_quality_table(document)
    assert [line for line in table.splitlines() if line.startswith(("| page | p", "| audit"))] == [
        "| page | phone | 1.99 MB | 2 | 98 | 100 | 99 |",
        "| audit | phone | 109 kB | 0 | 97 | 100 | 99 |",
    ]
    assert "| page | desktop |" in table
    assert "on sections; axe-core 4.1 and lighthouse 12.8, with devtools throttling." in table
