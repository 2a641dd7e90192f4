"""The benchmark of probabilities and novelty in small: it goes on where it was, and tells what it found."""

import json

import figures
import numpy as np
import probabilities
import pytest
from hypothesis import given
from hypothesis import strategies as st
from probabilities import FALSE_ALARMS, area_under_roc, detection_rates
from tables import probability_tables

from token2wave.core import load_core

TOPICS = {"news": "bank market goal team", "films": "plot actor scene star"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    monkeypatch.setenv("TOKEN2WAVE_DATA", str(tmp_path))
    for name, words in TOPICS.items():
        (tmp_path / name).mkdir()
        for split, n in (("train", 240), ("test", 60)):
            lines = []
            for i in range(n):
                own = words.split()[2 * (i % 2) :][:2]
                texts = [*random.choice(own, 3), *random.choice(["the", "of", "and"], 3), f"{name}{i % 7}"]
                lines.append(json.dumps({"text": " ".join(texts), "label": f"label {i % 2}"}))
            (tmp_path / name / f"{split}.jsonl").write_text("\n".join(lines))
    return tmp_path


def run(folder, *arguments):
    given = [
        "--data",
        "news,films",
        "--presets",
        "fast",
        "--foreign",
        "news:films",
        "--results",
        folder,
        *arguments,
    ]
    assert probabilities.main(list(map(str, given))) == 0
    return json.loads((folder / "probabilities.json").read_text())


@pytest.mark.skipif(load_core() is None, reason="the native core is measured")
def test_from_end_to_end(folder, monkeypatch):
    document = run(folder, "--seeds", "0")
    found = document["runs"]["fast/news/0"]
    assert found["accuracy"] == found["answered"][0]["accuracy"]
    assert found["answered"][2]["coverage"] >= 0.9
    assert found["foreign"]["films"]["whole"]["area"] > 0.9
    assert not document["runs"]["fast/films/0"]["foreign"]
    made = []
    real = probabilities.train
    monkeypatch.setattr(probabilities, "train", lambda *a, **b: made.append(b["seed"]) or real(*a, **b))
    more = run(folder, "--seeds", "0,1")
    assert made == [1, 1]
    assert more["runs"]["fast/news/0"] == found
    tables = probability_tables(more)
    accuracies = [more["runs"][f"fast/news/{seed}"]["accuracy"] for seed in (0, 1)]
    assert f"| news | fast | 2 | {100 * np.mean(accuracies):.2f} |" in tables
    areas = [more["runs"][f"fast/news/{seed}"]["foreign"]["films"]["whole"]["area"] for seed in (0, 1)]
    assert f"| news, fast | films | {np.mean(areas):.3f} |" in tables
    for run_of in more["runs"].values():
        run_of["preset"] = "small"  # the figure's
    for name in ("one.svg", "two.svg"):
        figures.draw_probabilities(more, folder / name)
    assert (folder / "one.svg").read_bytes() == (folder / "two.svg").read_bytes()
    assert run(folder, "--seeds", "0", "--again")["runs"].keys() == {"fast/news/0", "fast/films/0"}


@given(
    own=st.lists(st.integers(0, 4), min_size=1, max_size=20),
    foreign=st.lists(st.integers(0, 4), min_size=1, max_size=20),
)
def test_the_area_is_the_chance_of_the_larger_number(own, foreign):
    pairs = [(f > o) + 0.5 * (f == o) for f in foreign for o in own]
    assert area_under_roc(np.array(own, float), np.array(foreign, float)) == pytest.approx(np.mean(pairs))


def test_foreign_texts_found_at_a_share_of_false_alarms():
    own, foreign = np.arange(100) / 100, np.array([0.2, 0.925, 0.955, 2.0])
    found = dict(zip(FALSE_ALARMS, detection_rates(own, foreign, FALSE_ALARMS), strict=True))
    assert found[0.0] == 0.25
    assert found[0.05] == 0.5
    assert found[0.1] == 0.75
    assert found[1.0] == 1
