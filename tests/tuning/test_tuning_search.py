"""The search, with learners whose worth is known."""

import numpy as np
import pytest

from token2wave.errors import ConfigError, Interruption
from token2wave.training.callbacks import Callback, CallbackList
from token2wave.training.presets import preset_named
from token2wave.training.search_history import SearchHistory
from token2wave.tuning.budget import Budget
from token2wave.tuning.candidates import Candidates
from token2wave.tuning.comparison import evaluate_candidate
from token2wave.tuning.search import Search

N_TEXTS = 400
PRESET = preset_named("small")
WIDER = {"network.width": 64}


class Learner:
    """Gives classifiers that are right on a share of the texts; takes a second of a clock of its own."""

    def __init__(self, accuracy, seed=0):
        self.accuracy, self.seed = accuracy, seed
        self.now = 0.0
        self.learnt = []

    def __call__(self, settings, split, callbacks):
        self.learnt.append((dict(settings), split))
        for _ in range(10):
            self.now += 0.1
            for callback in callbacks:
                callback.on_advance(1)
        right = np.random.default_rng((self.seed, split)).random(N_TEXTS) < self.accuracy(settings, split)
        labels = np.random.default_rng(split).integers(0, 2, N_TEXTS)
        predicted = np.where(right, labels, 1 - labels)
        logits = np.where(np.arange(2) == predicted[:, None], 2.0, 0.0)
        return evaluate_candidate(logits, labels, None, "accuracy")


def search(learner, seconds=None, most=None, n_splits=3, callbacks=(), seed=0):
    budget = Budget(seconds, most, clock=lambda: learner.now)
    record = SearchHistory("accuracy", N_TEXTS, n_splits)
    candidates = Candidates(PRESET, frozenset(), seed)
    Search(learner, candidates, record, budget, lambda s: 2 * s, CallbackList(callbacks)).run()
    return record


def outcome(record):
    return [(one.settings, one.outcome, one.comparison) for one in record.trials]


def test_the_better_settings_are_found_and_kept():
    """A width of 64 is worth ten points; the same random numbers make all else equal."""
    learner = Learner(lambda settings, _: 0.9 if settings.get("network.width", 32) >= 64 else 0.8)
    record = search(learner, most=12)
    assert record.settings == WIDER
    assert [one.settings for one in record.trials if one.outcome == "kept"] == [WIDER]
    assert record.ended_by == "candidates"
    assert len(record.trials) == 12
    assert record.best_trial is not None
    assert record.best_trial.n_splits == 3
    after = record.trials[record.best_trial.number :]
    assert all(one.settings["network.width"] >= 64 for one in after)


def test_what_one_split_says_by_chance_is_not_believed():
    learner = Learner(lambda settings, split: 0.9 if settings == WIDER and split == 0 else 0.8)
    record = search(learner, most=8, n_splits=8)
    trial = next(one for one in record.trials if one.settings == WIDER)
    assert trial.accuracy > record.trials[0].accuracy
    assert trial.n_splits > 1
    fooled = Learner(lambda settings, split: 0.8 + (settings == WIDER) * (0.1 if split == 0 else -0.1))
    assert search(fooled, most=8).settings == {}


def test_a_candidate_for_which_nothing_speaks_is_dropped_after_one_split():
    learner = Learner(lambda settings, _: 0.7 if settings else 0.8)
    record = search(learner, most=6)
    assert [one.n_splits for one in record.trials] == [1] * 6
    assert len(learner.learnt) == 6
    assert record.settings == {}


def test_the_same_twice_and_time_decides_how_far_alone():
    random = {}

    def accuracy(settings, split):
        key = (tuple(sorted(settings.items())), split)
        return random.setdefault(key, 0.8 + 0.1 * np.random.default_rng(len(random)).random())

    by_number = search(Learner(accuracy), most=40)
    assert outcome(by_number) == outcome(search(Learner(accuracy), most=40))
    for seconds in (10, 20, 31.5):
        by_time = search(Learner(accuracy), seconds=seconds)
        n_tried = len(by_time.trials)
        assert by_time.ended_by == "time"
        assert 0 < n_tried <= 40
        assert outcome(by_time) == outcome(by_number)[:n_tried]


@pytest.mark.parametrize("seconds", [5, 12, 30, 60])
def test_time_is_left_for_the_end(seconds):
    learner = Learner(lambda settings, _: 0.8)
    search(learner, seconds=seconds)
    assert learner.now + 2.0 <= seconds + 0.2


def test_a_budget_too_small_for_the_first_candidate():
    record = search(Learner(lambda *_: 0.8), seconds=1.0)
    assert (record.trials, record.settings, record.best_trial) == ([], {}, None)
    assert "before its second candidate" in record.caveats()[0]


def test_a_budget_too_small_for_the_second_candidate():
    record = search(Learner(lambda *_: 0.8), seconds=3.5)
    assert [one.outcome for one in record.trials] == ["started from"]
    assert "before its second candidate: it did not change your settings" in record.caveats()[0]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, Interruption])
def test_an_interruption_keeps_the_best_so_far(interruption):
    def accuracy(settings, _):
        if "network.context_radius" in settings:
            raise interruption
        return 0.9 if settings.get("network.width") == 64 else 0.8

    record = search(Learner(accuracy), most=50)
    assert record.ended_by == "interruption"
    assert record.settings == WIDER


def test_an_interruption_before_there_is_a_best_is_one():
    def accuracy(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(Learner(accuracy), most=5)


@pytest.mark.parametrize("error", [ConfigError("the loss stopped being a finite number"), MemoryError()])
def test_a_candidate_that_fails_is_written_down(error):
    def accuracy(settings, _):
        if "recipe.epochs" in settings:
            raise error
        return 0.8

    record = search(Learner(accuracy), most=5)
    failed = [one for one in record.trials if one.outcome == "failed"]
    assert [set(one.settings) for one in failed] == [{"recipe.epochs"}]
    assert failed[0].reason == (str(error) or "MemoryError")
    assert failed[0].accuracy is None
    assert len(record.trials) == 5


def test_settings_given_that_fail_are_an_error():
    def accuracy(*_):
        raise ConfigError("the loss stopped being a finite number")

    with pytest.raises(ConfigError, match="finite"):
        search(Learner(accuracy), most=5)


class Told(Callback):
    def __init__(self):
        self.stages, self.advanced, self.trials, self.ended = [], 0, [], []

    def on_stage(self, name, total):
        self.stages.append((name, total))

    def on_advance(self, amount):
        self.advanced += amount

    def on_candidate(self, trial):
        self.trials.append(trial)

    def on_search_end(self, record):
        self.ended.append(record)


def test_progress_is_told_in_candidates_or_seconds():
    told = Told()
    record = search(Learner(lambda *_: 0.8), most=7, callbacks=[told])
    assert (told.stages, told.advanced) == ([("search, candidates", 7)], 7)
    assert (told.trials, told.ended) == (record.trials, [record])
    told = Told()
    search(Learner(lambda *_: 0.8), seconds=30, callbacks=[told])
    assert told.stages == [("search, seconds", 30)]
    assert 20 <= told.advanced <= 30
