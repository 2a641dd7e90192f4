"""The table of ``make bench-quick``: a ratio above 1 is in favour of token2wave, whatever is measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import speed_table


def system(**figures: float) -> dict[str, Any]:
    return {"figures": {key: {"median": value} for key, value in figures.items()}}


SPEED = {"texts_per_second": 300.0, "latency_seconds": 2e-6, "cold_start_seconds": 0.4}
RIVAL = {"texts_per_second": 100.0, "latency_seconds": 1e-6, "cold_start_seconds": 0.2}
EXTRA = {"explained_texts_per_second": 1500.0, "update_seconds": 0.5, "update_rows": 1000}
CURVE = {"name": "processor time", "unit": "s", "points": [{"median": 1.0}, {"median": 8.0}]}
TRAINED = {"small": system(processor_seconds=4), "fasttext_lr05": system(processor_seconds=2)}
PREDICTED = {"fast": system(**SPEED, **EXTRA), "fasttext": system(**RIVAL), "broken": {}}
DOCUMENTS = {
    "quick": {"medians": {"d": TRAINED}},
    "prediction": {"medians": {"d": PREDICTED}},
    "scoring": {"beside": {"presets": {"fast": {"bare": {"median": 3.0}, "json lines": {"median": 6.0}}}}},
    "growth-quick": {
        "studies": {
            "length": {"curves": [CURVE]},
            "train-rows": {
                "title": "Rows",
                "setting": ["train with preset 'fast'"],
                "curves": [{**CURVE, "fit": {"slope": 0.9}}, {**CURVE, "fit": None}],
            },
        }
    },
}


def test_ratios_favour_the_faster(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, document in DOCUMENTS.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    speed_table.main(["--results", str(tmp_path)])
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line]
    ratios = {line[0]: line[-1] for line in lines}
    assert ratios["training"] == "0.50"  # four seconds beside two
    assert ratios["texts"] == "3.00"
    assert ratios["one"] == ratios["first"] == "0.50"
    assert ratios["scoring,"] == "0.50"
    assert "1,500" in ratios["explanations"]
    assert "Not" not in ratios  # nothing is missing
    assert sum(line[0] == "Rows:" for line in lines) == 1  # of whole trainings, and only with a slope


def test_a_benchmark_that_has_not_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    speed_table.main(["--results", str(tmp_path)])
    header, *_, missing, _, note = capsys.readouterr().out.splitlines()
    assert header.split() == ["system", "figure", "beside", "it", "ratio"]
    assert missing == "Not measured: quick, prediction, scoring, growth-quick."
    assert "ratio above 1" in note
