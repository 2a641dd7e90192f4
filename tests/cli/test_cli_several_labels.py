"""The command line with texts that have several labels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_helpers import TINY

Cli = Callable[..., Any]

TOPICS = {
    "sport": ("match", "goal", "league"),
    "money": ("bank", "bond", "market"),
    "space": ("orbit", "moon", "comet"),
}
ROWS = [
    (" ".join(TOPICS[topic][(i + j) % 3] for j, topic in enumerate(topics)) + f" and so on {i}", topics)
    for i in range(40)
    for topics in ([], ["sport"], ["money"], ["space"], ["sport", "money"], ["space", "sport"])
]
CSV = "text,label\n" + "".join(f"{text},{'|'.join(topics)}\n" for text, topics in ROWS)
LINES = "".join(json.dumps({"text": text, "label": topics}) + "\n" for text, topics in ROWS)
FASTTEXT = "".join("".join(f"__label__{topic} " for topic in topics) + text + "\n" for text, topics in ROWS)
FAST = ["--preset", "fast", "--device", "cpu", "--epochs", "6", "--set", "features.bits=12"]


@pytest.fixture
def model(run_cli: Cli, workplace: Path) -> Path:
    (workplace / "topics.csv").write_text(CSV)
    outcome = run_cli("train", "topics.csv", "--label-separator", "|", "--out", "model", *FAST)
    assert outcome.status == 0, outcome.err
    assert "Note: The data has" not in outcome.out  # it was said
    return workplace / "model"


def test_train_with_a_test_set_a_report_and_a_baseline(run_cli: Cli, workplace: Path) -> None:
    (workplace / "topics.jsonl").write_text(LINES)
    arguments = [
        "train",
        "topics.jsonl",
        "--test",
        "topics.jsonl",
        "--report",
        "report",
        "--baseline",
        "--json",
    ]
    outcome = run_cli(*arguments, *FAST)
    assert outcome.status == 0, outcome.err
    assert "Note: The data has texts with several labels" in outcome.err
    assert "micro-F1" in outcome.err
    assert outcome.document["micro_f1"] > 0.9
    assert outcome.document["baseline"]["micro_f1"] > 0.9
    report = json.loads((workplace / "report" / "report.json").read_text())
    assert report["evaluation"]["hamming_loss"] < 0.1
    page = (workplace / "report" / "report.html").read_text()
    for text in ("Micro-F1", "Exact match", "Hamming loss", "95% interval", "Against the baseline"):
        assert text in page
    assert "Confusions" not in page
    assert not list((workplace / "report").glob("confusion*"))


def test_fasttext_lines(run_cli: Cli, workplace: Path) -> None:
    (workplace / "topics.txt").write_text(FASTTEXT)
    error = run_cli("train", "topics.txt", "--out", "model", *TINY).error
    assert "row 1: expected a line with a label, '__label__name'" in error
    outcome = run_cli("train", "topics.txt", "--multi-label", "--out", "model", *FAST)
    assert outcome.status == 0, outcome.err
    assert "Note" not in outcome.out
    (workplace / "topics.txt").write_text("__label__a __label__b x\n__label__a y\n")
    error = run_cli("train", "topics.txt", "--no-multi-label", "--out", "m").error
    assert "expected one label for each text, found several" in error


def test_columns_need_a_separator(run_cli: Cli, workplace: Path) -> None:
    (workplace / "topics.csv").write_text(CSV)
    error = run_cli("train", "topics.csv", "--multi-label", "--out", "model").error
    assert "expected a separator of the labels" in error
    assert not (workplace / "model").exists()


def test_evaluate_uses_the_separator_of_training(run_cli: Cli, model: Path) -> None:
    outcome = run_cli("evaluate", model, "topics.csv", "--json")
    assert outcome.status == 0, outcome.err
    printed = run_cli("evaluate", model, "topics.csv").out
    assert printed.startswith("On 240 rows 100.0% of the labels given were right and ")
    assert outcome.document["micro_f1"] > 0.9
    assert outcome.document["evaluation"]["confusion"] == []
    Path("other.csv").write_text(CSV.replace("|", ";"))
    again = run_cli("evaluate", model, "other.csv", "--label-separator", ";", "--json").document
    assert again["evaluation"] == outcome.document["evaluation"]
    Path("topics.txt").write_text(FASTTEXT)
    assert run_cli("evaluate", model, "topics.txt", "--json").document["micro_f1"] == again["micro_f1"]


def test_predict(run_cli: Cli, model: Path) -> None:
    texts = ["match bank and so on", "moon and so on", "and so on"]
    printed = run_cli("predict", model, *texts).out.splitlines()
    both, only, none = (line.split("\t") for line in printed)
    assert {both[0], both[2]} == {"sport", "money"}
    assert (both[4], len(both)) == (texts[0], 5)
    assert (only[0], only[2]) == ("space", texts[1])
    assert (none[0], none[2]) == ("-", texts[2])
    first, _, last = run_cli("predict", model, *texts, "--json").document
    assert {label["label"] for label in first["labels"]} == {"sport", "money"}
    assert first["labels"][0]["probability"] >= first["labels"][1]["probability"]
    assert last["labels"] == []
    assert "label" not in last
    best = run_cli("predict", model, "and so on", "--top-k", "2").out.split("\t")
    assert len(best) == 5
    error = run_cli("predict", model, "x", "--abstain-below", "0.5").error
    assert "--abstain-below" in error
    assert "leave it out" in error


def test_info_and_explain(run_cli: Cli, model: Path) -> None:
    assert "labels of a text        any number, from probabilities" in run_cli("info", model).out
    document = run_cli("info", model, "--json").document
    assert len(document["thresholds"]) == 3
    assert document["network"]["multi_label"] is True
    assert document["training"]["label_separator"] == "|"
    explained = run_cli("explain", model, "match bank", "--json", "--html", "page.html")
    assert explained.status == 0, explained.err
    assert explained.document[0]["label"] in ("sport", "money")


@pytest.mark.parametrize("more", [["--max-size", "9500"], ["--storage", "int8"]])
def test_compress(run_cli: Cli, model: Path, more: list[str]) -> None:
    data = ["--data", "topics.csv", "--test", "topics.csv"]
    outcome = run_cli("compress", model, "--out", "small", "--json", *data, *more)
    assert outcome.status == 0, outcome.err
    assert outcome.document["micro_f1_after"] > 0.8
    small = run_cli("info", "small", "--json").document
    recorded = small["training"]["evaluation"]["micro_f1"]
    assert recorded == pytest.approx(outcome.document["micro_f1_after"], abs=1e-5)
    assert len(small["thresholds"]) == 3
    labels = run_cli("predict", "small", "match bank and so on", "--json").document[0]["labels"]
    assert {label["label"] for label in labels} == {"sport", "money"}


def test_compress_trains_the_thresholds_again(run_cli: Cli, model: Path) -> None:
    grouped_holdout = ["--set", "recipe.refit_below=0"]
    run_cli("train", "topics.csv", "--label-separator", "|", "--out", "whole", *FAST, *grouped_holdout)
    outcome = run_cli(
        "compress", "whole", "--out", "small", "--data", "topics.csv", "--max-size", "9000", "--json"
    )
    assert outcome.status == 0, outcome.err
    assert outcome.document["caveats"] == []
    thresholds = [run_cli("info", name, "--json").document["thresholds"] for name in ("whole", "small")]
    assert outcome.document["retrained"] == (thresholds[0] != thresholds[1])
