"""The benchmark of learning curves: its draws, and its tables."""

from __future__ import annotations

import learning_curves as benchmark
import pytest
import tables

from token2wave.data import TextDataset, TextSplit


def test_halves_and_held_out_rows_are_apart():
    texts = [f"text {i}" for i in range(103)]
    splits = TextDataset("made", TextSplit(texts, ["a"] * 103, "made"))
    half, pool, held_out = benchmark.draw_half(splits, 100, 0)
    assert (len(half), len(pool), len(held_out)) == (40, 80, 20)
    assert set(half.texts) < set(pool.texts)
    assert not set(pool.texts) & set(held_out.texts)
    again, *_ = benchmark.draw_half(splits, 100, 1)
    assert set(again.texts) != set(half.texts)


@pytest.fixture
def document():
    run = {"rows": 2_000, "held_out": 500, "interval": [0.01, 0.02], "main_classes": ["a"]}
    run |= {"happened_in_main_classes": 0.009, "standard_error": 0.004}
    runs = [{**run, "predicted": 0.012, "happened": happened} for happened in (0.014, 0.024)]
    planted = [(0.0, "none"), (0.05, "random")]
    noise = [{"planted": p, "how": how, "estimated": p + 0.01, "suspicious": p + 0.04} for p, how in planted]
    people = {"data": "crowd", "wrong": 0.2, "estimated": 0.01, "agreement": 0.86}
    return {
        "preset": "fast",
        "chosen": ["trec"],
        "rows": {"trec": runs, "imdb": runs},
        "noise": {"trec": noise},
        "people": people,
    }


def test_predicted_gains_stand_beside_what_happened(document):
    table = tables.predicted_gains_table(document)
    assert r"| trec\* | 2,000 to 4,000 | +1.20 | +1.0 to +2.0 | +1.90 |" in table
    assert "| imdb | 2,000 to 4,000 |" in table
    assert "differ by 0.70 points in the mean" in table
    assert "In 4 draws the curve named labels that would have most of the gain: they had 47% of it." in table
    assert "within the interval of 90% in 2 of 4 draws" in table


def test_estimated_noise_stands_beside_what_was_planted(document):
    table = tables.estimated_noise_table(document)
    assert "| planted | 0% | 5% random |" in table
    assert "| trec | 1.0 (4.0) | 6.0 (9.0) |" in table
    assert "of crowd, 20.0% of the labels differ from those of the corpus, and the estimate is 1.0%" in table


def test_sentences_are_printed_as_they_are():
    block = tables.sentences_block({"example": {"sentences": ["One.", "Two."]}})
    assert block == "```text\nOne.\nTwo.\n```\n"
