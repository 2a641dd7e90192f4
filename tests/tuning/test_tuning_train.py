"""Searching and sizes through train(), on small data."""

import importlib
import json

import numpy as np
import pytest

import token2wave
from token2wave.compression import compressor
from token2wave.core import load_core
from token2wave.data import TextDataset, TextSplit
from token2wave.errors import ConfigError
from token2wave.reporting.summary import render_summary
from token2wave.training.branches import refit_linear_svm
from token2wave.training.calibration import scale_branches
from token2wave.training.validation import Validation
from token2wave.tuning.comparison import evaluate_candidate

steps = importlib.import_module("token2wave.run_steps")
TOPICS = {"sport": "match goal team league coach", "money": "bank shares profit market bond"}
SETTINGS = {"features.bits": 12, "network.context_width": 0, "recipe.epochs": 2, "recipe.char_ngrams": False}


def texts(n, seed, source="rows"):
    random = np.random.default_rng(seed)
    labels = [list(TOPICS)[i] for i in random.integers(0, 2, n)]
    rows = [
        " ".join(
            random.permutation([*random.choice(TOPICS[label].split(), 2), *random.choice(list("abcdefg"), 5)])
        )
        for label in labels
    ]
    noisy = [list(TOPICS)[random.integers(2)] if random.random() < 0.2 else label for label in labels]
    return TextSplit(rows, noisy, source)


def splits(n=300, n_test=40, validation=None):
    return TextDataset("made-up", texts(n, 0), validation, texts(n_test, 1), None, ())


def run(data=None, **options):
    return token2wave.train(data or splits(), **{"preset": "fast", "settings": SETTINGS, **options})


class Poisoned(list):
    """Texts that may not be looked at."""

    allowed = True

    def __iter__(self):
        assert self.allowed, "the search looked at a test text"
        return super().__iter__()

    def __getitem__(self, item):
        assert self.allowed, "the search looked at a test text"
        return super().__getitem__(item)


def test_a_search_never_looks_at_the_test_texts(monkeypatch):
    data = splits()
    poisoned = Poisoned(data.test.texts)
    data = TextDataset("made-up", data.train, None, TextSplit(poisoned, data.test.labels, "test"), None, ())
    search, looked = steps.tune, []

    def watched(*arguments):
        poisoned.allowed = False
        found = search(*arguments)
        assert len(found.trials) == 4
        poisoned.allowed = True
        looked.append(True)
        return found

    monkeypatch.setattr(steps, "tune", watched)
    summary = run(data, candidates=4).summary
    assert looked
    assert summary.evaluated_on == "test"
    poisoned.allowed = False
    with pytest.raises(AssertionError, match="looked at a test text"):  # the poison works
        run(data)


def test_the_same_number_of_candidates_gives_the_same_file(tmp_path):
    files = []
    for i, options in enumerate(
        [{"candidates": 4}, {"candidates": 4, "time_budget": "1h"}, {"candidates": 2}]
    ):
        run(out=tmp_path / str(i), **options)
        files.append((tmp_path / str(i)).read_bytes())
    assert files[0] == files[1]
    assert files[0] != files[2]


def test_what_was_tried_is_on_record(tmp_path):
    result = run(candidates=5, out=tmp_path / "model", report=tmp_path / "report")
    search = result.summary.search
    assert [one["number"] for one in search["trials"]] == [1, 2, 3, 4, 5]
    assert search["trials"][0]["outcome"] == "started from"
    assert search["ended_by"] == "candidates"
    assert search["rule"].startswith("A candidate replaces")
    assert all(one["seconds"] > 0 for one in search["trials"])
    settings = result.summary.settings
    for name, value in search["settings"].items():
        part, key = name.split(".")
        assert settings[part][key] == value
    assert not SETTINGS.keys() & {name for one in search["trials"] for name in one["settings"]}
    record = token2wave.load(tmp_path / "model").training["search"]
    assert record["n_tried"] == 5
    assert record["settings"] == search["settings"]
    assert "seconds" not in json.dumps(record)
    assert any(line.startswith("Search ") and "5 tried" in line for line in render_summary(result.summary))
    page = (tmp_path / "report" / "report.html").read_text()
    assert 'id="search-for-settings"' in page
    assert "Validation accuracy of every candidate" in page
    assert json.loads((tmp_path / "report" / "report.json").read_text())["search"] == json.loads(
        json.dumps(search)
    )


def test_the_winner_is_what_its_settings_give():
    """The search adds nothing but settings: given by hand, they make the same model."""
    validation = texts(300, 2)
    timid = {key: value for key, value in SETTINGS.items() if key != "recipe.epochs"}
    timid |= {"recipe.embedding_lr": 0.5, "recipe.lr": 1e-5, "network.linear_svm": False}
    timid |= {"recipe.prior_scale": 0}
    found = run(splits(validation=validation), candidates=8, settings=timid)
    assert found.summary.search["settings"]
    by_hand = run(splits(validation=validation), settings={**timid, **found.summary.search["settings"]})
    for name, array in found.classifier.network.arrays().items():
        np.testing.assert_array_equal(array, by_hand.classifier.network.arrays()[name])
    assert found.summary.search["n_splits"] == 1
    assert any("best of 8 on the validation rows" in caveat for caveat in found.summary.caveats)
    assert not by_hand.summary.caveats


def test_what_is_judged_is_what_training_with_the_same_settings_makes():
    data = splits(validation=texts(300, 2))
    result = run(data, candidates=1)
    rows = data.validation
    logits = result.classifier.network.logits(result.classifier.features(rows.texts))
    labels = np.array([result.classifier.label_names.index(label) for label in rows.labels])
    found = evaluate_candidate(logits, labels, None, "accuracy")
    trial = result.summary.search["trials"][0]
    assert (trial["accuracy"], trial["loss"]) == pytest.approx((found.accuracy, -found.loss.value))


def several(n, seed):
    """Texts about one topic, both, or none."""
    random = np.random.default_rng(seed)
    labels = [tuple(topic for topic in TOPICS if random.random() < 0.5) for _ in range(n)]
    rows = [
        " ".join(
            [*random.choice(list("abcdefg"), 5), *(random.choice(TOPICS[topic].split()) for topic in both)]
        )
        for both in labels
    ]
    noisy = [both if random.random() < 0.9 else () for both in labels]
    return TextSplit(rows, noisy, "rows")


def test_with_several_labels_the_search_judges_decisions(tmp_path):
    validation = several(300, 2)
    data = TextDataset("made-up", several(400, 0), validation, several(100, 1), None, ())
    timid = {key: value for key, value in SETTINGS.items() if key != "recipe.epochs"}
    timid |= {"recipe.embedding_lr": 0.5, "recipe.lr": 1e-5, "network.linear_svm": False}
    timid |= {"recipe.prior_scale": 0}
    found = run(data, candidates=9, settings=timid, report=tmp_path)
    search = found.summary.search
    assert search["select_by"] == "micro_f1"
    assert not [one for one in search["trials"] if one["outcome"] == "failed"]
    by_hand = run(data, settings={**timid, **search["settings"]}).classifier
    best_trial = search["trials"][search["best_trial"] - 1]
    logits = by_hand.network.logits(by_hand.features(validation.texts))
    truth = np.array([[name in both for name in by_hand.label_names] for both in validation.labels])
    judged = evaluate_candidate(logits, truth, None, "micro_f1")
    told = (judged.accuracy, judged.chosen.value, -judged.loss.value)
    assert (best_trial["accuracy"], best_trial["chosen"], best_trial["loss"]) == pytest.approx(told)
    assert best_trial["number"] > 1
    assert best_trial["loss"] < search["trials"][0]["loss"]
    assert "whose labels are all right" in (tmp_path / "report.html").read_text()


def test_with_several_labels_splits_and_sizes_work_too():
    data = TextDataset("made-up", several(300, 0), None, None, None, ())
    result = run(data, candidates=2, max_size=20_000)
    assert result.summary.search["trials"][0]["outcome"] == "started from"
    assert not [one for one in result.summary.search["trials"] if one["outcome"] == "failed"]
    assert result.summary.search["n_splits"] == 2


def test_no_candidate_has_learnt_from_the_rows_that_judge_it(monkeypatch):
    """Only the last fit finds its amplitudes again, from all rows."""
    n_texts = []

    def counted(network, features, full_train, *rest, **options):
        n_texts.append(len(full_train))
        return refit_linear_svm(network, features, full_train, *rest, **options)

    monkeypatch.setattr("token2wave.training.run.refit_linear_svm", counted)
    run(candidates=3, settings=SETTINGS | {"recipe.refit_below": 0, "recipe.refit_linear_svm": True})
    assert n_texts == []
    many = {"recipe.refit_below": 1, "recipe.refit_linear_svm": True}
    found = run(candidates=3, settings=SETTINGS | many).classifier
    assert n_texts == [300]
    assert found.training["refit_linear_svm"]
    assert not found.training["refit"]


def test_a_budget_too_small_trains_the_settings_given():
    summary = run(time_budget=1e-6).summary
    assert (summary.search["trials"], summary.search["ended_by"]) == ([], "time")
    assert summary.accuracy == run().summary.accuracy
    assert any("before its second candidate" in caveat for caveat in summary.caveats)


def test_too_few_rows_to_search_by():
    data = TextDataset(
        "tiny", TextSplit(["match goal", "bank bond"], ["sport", "money"], "t"), None, None, None, ()
    )
    summary = run(data, candidates=3).summary
    assert (summary.search["trials"], summary.search["ended_by"]) == ([], "too few rows")
    assert any("too few rows for validation" in caveat for caveat in summary.caveats)


@pytest.mark.parametrize("refit_below", [0, 10**9])
@pytest.mark.parametrize("limit", ["6kB", 9_000])
def test_a_size_is_kept(limit, refit_below, tmp_path):
    out = tmp_path / "model"
    result = run(
        max_size=limit, out=out, settings={**SETTINGS, "network.width": 8, "recipe.refit_below": refit_below}
    )
    most = {"6kB": 6_000}.get(limit, limit)
    assert result.summary.model_bytes == out.stat().st_size <= result.summary.max_bytes == most
    again = token2wave.load(out)
    assert again.training["refit"] == bool(refit_below)
    held_out = splits().test
    assert again.labels(held_out.texts) == result.classifier.labels(held_out.texts)
    accuracy = np.mean([a == b for a, b in zip(again.labels(held_out.texts), held_out.labels, strict=True)])
    assert result.summary.accuracy == pytest.approx(accuracy)
    assert result.summary.parameters == again.network.parameter_count().total


@pytest.mark.skipif(load_core() is None, reason="rows are trained again in the native core alone")
def test_training_again_on_all_rows_weighs_levels_as_validation_did(monkeypatch):
    """Where rows that stay are trained again, and then on all rows, there are no texts to weigh levels by."""
    weighed = []

    def weigh(network, weights):
        weighed.append(tuple(weights))
        scale_branches(network, weights)

    monkeypatch.setattr(compressor, "scale_branches", weigh)

    def retrained(self, storage, limit, retrain):
        assert retrain
        small = self._retrain(self.classifier.features, storage, limit, 100)
        return compressor.CompressedModel(small, Validation(0.5, 0.75, 0.75, 0.75))

    monkeypatch.setattr(compressor.Compressor, "best", retrained)
    small = run(max_size=12_000, settings={**SETTINGS, "network.width": 8}).classifier.training
    assert small["refit"]
    assert small["compression"]["retrained"]
    assert weighed == [tuple(small["branch_weights"])]
    assert small["best_epoch"] in (1, 2)


def test_a_model_that_is_small_enough_stays_as_it_is(tmp_path):
    run(out=tmp_path / "plain")
    run(out=tmp_path / "limited", max_size="1GB")
    assert (tmp_path / "plain").read_bytes() == (tmp_path / "limited").read_bytes()


def test_with_a_size_the_search_judges_small_files(tmp_path):
    out = tmp_path / "model"
    summary = run(max_size=20_000, candidates=3, out=out).summary
    assert out.stat().st_size <= 20_000
    assert summary.search["trials"][1]["settings"] == {"network.width": 16}
    plain = run(candidates=1).summary.search["trials"][0]
    assert summary.search["trials"][0]["loss"] != plain["loss"]


def test_a_size_out_of_reach_is_found_out_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr(steps.TrainingRun, "fit", lambda *_, **__: pytest.fail("training began"))
    with pytest.raises(ConfigError, match=r"max_size: expected more than .* bytes"):
        run(max_size=200, candidates=3, out=tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time_budget": "60 parsecs"}, "time_budget: expected a time such as 60s"),
        ({"max_size": "60 parsecs"}, "max_size: expected a size such as 1MB"),
        ({"candidates": 0}, "candidates: expected at least 1"),
    ],
)
def test_wishes_are_refused_before_data_is_read(options, message):
    with pytest.raises(ConfigError, match=message):
        token2wave.train("no-such-data", **options)


def test_an_interrupted_end_leaves_nothing(tmp_path, monkeypatch):
    """Ctrl-C once the search is over: nothing half-written, and the old model as it was."""
    out = tmp_path / "model"
    out.write_bytes(b"old")

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(steps.TrainingRun, "evaluate", interrupted)
    monkeypatch.setattr(steps, "tune", lambda *_: pytest.fail("unreached"))
    with pytest.raises(KeyboardInterrupt):
        run(out=out, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert out.read_bytes() == b"old"
