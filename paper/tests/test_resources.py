"""The study of resources: arithmetic by hand, and a miniature with real processes."""

import json
import sys

import numpy as np
import pytest
from small_studies import check_study

from paper.result_store import ResultStore
from paper.studies import resources
from paper.studies.memory_measurement import FreshProcessError
from paper.studies.resources import (
    STUDY,
    Entry,
    make_entries,
    measure_steps,
    papers_bytes,
    sample_rows,
    steady_state_bytes,
)
from paper.study import Options
from token2wave.features import Ragged
from token2wave.models import WaveConfig
from token2wave.training.examples import Examples
from token2wave.training.recipe import Recipe


def rows(n_texts: int, length: int = 5) -> Examples:
    random = np.random.default_rng(0)
    ids = random.integers(0, 10, n_texts * length).astype(np.int32)
    offsets = np.arange(n_texts + 1, dtype=np.int64) * length
    features = Ragged(ids, offsets, np.full(n_texts, length, dtype=np.int64))
    return Examples(features, random.integers(0, 2, n_texts))


def test_memory_of_a_tiny_network_by_hand():
    count = WaveConfig(10, 3, width=2).parameter_count()
    # Variants 2 x 4 + 4, restore 4 x 2 + 2, norm 4, head 2 x 3 + 3: 35; and a table of 10 x 2.
    assert count == (55, 35)
    # Weights 55, gradients 35, two moments 110: 200 numbers of 4 bytes; SGD needs 70 moments.
    assert steady_state_bytes(*count) == 800
    assert steady_state_bytes(*count, "sgd") == 640
    assert papers_bytes(count.total) == 660


def test_rows_are_repeated_only_where_there_are_too_few():
    few = rows(10)
    assert len(sample_rows(few, 7)) == 7
    numbered = Examples(few.features, np.arange(10))
    assert sorted(sample_rows(numbered, 10).labels) == list(range(10))
    assert sorted(sample_rows(numbered, 20).labels) == sorted([*range(10), *range(10)])


@pytest.mark.parametrize(("steps", "warm_up"), [(3, 1), (2, 2)])
def test_as_many_steps_count_as_were_asked_for(steps, warm_up):
    recipe = Recipe(batch_size=4, precision="float32")
    # Fewer rows than the texts name: the largest stand for the missing ones.
    settings = {"n_rows": 7, "n_classes": 2, "width": 4}
    job = {"network": {"kind": "wave", "settings": settings}, "recipe": recipe.to_dict(), "device": "cpu"}
    result = measure_steps({**job, "warm_up": warm_up}, rows(4 * (steps + warm_up)))
    assert len(result["step_seconds"]) == steps
    assert all(seconds > 0 for seconds in result["step_seconds"])
    assert (result["parameters"], result["parameters_without_embedding"]) == (
        WaveConfig(**settings).parameter_count()
    )
    assert result["precision"] == "float32"
    assert result["tokens_per_text"] == 5


def test_the_comparison_is_on_a_par():
    compared = {entry.key: entry for entry in make_entries()}
    assert len(compared) == len(make_entries())
    for key, entry in compared.items():
        assert entry.recipe.batch_size == 64
        if key.endswith("-library"):
            assert entry.recipe.precision == "auto"
        else:
            assert (entry.recipe.precision, entry.recipe.token_dropout) == ("float32", 0.0)
    assert compared["bert-base"].random


def test_the_study_in_miniature_is_complete_and_draws(small, splits, tmp_path, monkeypatch):
    recipe = Recipe(batch_size=16, precision="float32")
    heads = {"width": 16, "heads": 2, "feed_forward": 32}
    compared = [
        Entry("wave", "A wave network", "wave", {"width": 512}, recipe, steps=(3, 2)),
        Entry("transformer", "A Transformer", "transformer", heads, recipe, steps=(3, 2)),
        Entry("broken", "A broken one", "transformer", {"width": 7, "heads": 2}, recipe, steps=(3, 2)),
        *(entry for entry in make_entries(16) if entry.kind == "encoder"),
    ]
    really = resources.call_in_fresh_process

    def some_really(function, job, rows):
        if job["network"]["kind"] == "wave":
            return really(function, job, rows)
        if job["network"]["settings"]["width"] == 7:
            raise FreshProcessError("the process was ended by signal 9")
        return measure_steps(job, rows)

    monkeypatch.setattr(resources, "call_in_fresh_process", some_really)
    data = Options(splits).load()
    store = ResultStore(tmp_path)
    document = resources.measure_resources(store, data, True, compared)
    document = json.loads(json.dumps(document, allow_nan=False))
    assert (document["train_rows"], document["steps_per_epoch"]) == (192, 12)
    assert [system["key"] for system in document["systems"]] == ["wave", "transformer"]
    assert [system["key"] for system in document["skipped"]] == ["broken", "minilm", "bert-base"]
    assert "ended by signal 9" in document["skipped"][0]["reason"]
    assert "token2wave[encoders]" in document["skipped"][1]["reason"]
    wave = document["systems"][0]
    assert len(wave["step_seconds"]) == 2
    assert wave["epoch_seconds"] == pytest.approx(12 * np.median(wave["step_seconds"]))
    assert wave["steady_state"] == steady_state_bytes(
        wave["parameters"], wave["parameters_without_embedding"]
    )
    if sys.platform == "linux":
        # The peak cannot be less than what is held all the time.
        assert wave["added"] > 0.9 * wave["steady_state"] > 10 << 20
    assert set(store.made) == {"resources/topics/wave", "resources/topics/transformer"}

    def no_process(*_):
        raise FreshProcessError("nothing needs to be done again")

    monkeypatch.setattr(resources, "call_in_fresh_process", no_process)
    again = resources.measure_resources(ResultStore(tmp_path), data, True, compared)
    assert json.loads(json.dumps(again))["systems"] == document["systems"]

    assert check_study(STUDY, document, ["resources"]) == document
    assert "A broken one" in STUDY.tables(document)[0].caption
    document["systems"] = []
    assert STUDY.drawings(document) == {}
    assert STUDY.tables(document)[0].rows == []
