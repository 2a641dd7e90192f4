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
        self.calls = []

    def __call__(self, settings, split, callbacks):
        self.calls.append((dict(settings), split))
        for _ in range(10):
            self.now += 0.1
            for callback in callbacks:
                callback.on_advance(1)
        right = np.random.default_rng((*np.atleast_1d(self.seed), max(split, 0))).random(
            N_TEXTS
        ) < self.accuracy(settings, split)
        labels = np.random.default_rng(max(split, 0)).integers(0, 2, N_TEXTS)
        predicted = np.where(right, labels, 1 - labels)
        logits = np.where(np.arange(2) == predicted[:, None], 2.0, 0.0)
        return evaluate_candidate(logits, labels, None, "accuracy")


def search(learner, seconds=None, max_candidates=None, n_splits=3, callbacks=(), seed=0):
    budget = Budget(seconds, max_candidates, clock=lambda: learner.now)
    record = SearchHistory("accuracy", N_TEXTS, n_splits)
    candidates = Candidates(PRESET, frozenset(), seed)
    Search(learner, candidates, record, budget, lambda s: 2 * s, CallbackList(callbacks)).run()
    return record


def outcome(record):
    return [(trial.settings, trial.outcome, trial.comparison) for trial in record.trials]


def test_better_settings_are_found():
    """A width of 64 is worth ten points; the same random numbers make all else equal."""
    learner = Learner(lambda settings, _: 0.9 if settings.get("network.width", 32) >= 64 else 0.8)
    record = search(learner, max_candidates=12)
    assert record.settings == WIDER
    assert [trial.settings for trial in record.trials if trial.outcome == "kept"] == [WIDER]
    assert record.ended_by == "candidates"
    assert len(record.trials) == 12
    assert record.best_trial is not None
    assert record.best_trial.n_splits == 3
    after = record.trials[record.best_trial.number :]
    assert all(trial.settings["network.width"] >= 64 for trial in after)


def test_a_gain_by_chance_on_one_split_is_not_kept():
    learner = Learner(lambda settings, split: 0.9 if settings == WIDER and split == 0 else 0.8)
    record = search(learner, max_candidates=8, n_splits=8)
    trial = next(trial for trial in record.trials if trial.settings == WIDER)
    assert trial.accuracy > record.trials[0].accuracy
    assert trial.n_splits > 1
    fooled = Learner(lambda settings, split: 0.8 + (settings == WIDER) * (0.1 if split == 0 else -0.1))
    assert search(fooled, max_candidates=8).settings == {}


def test_a_candidate_that_is_better_in_nothing_is_dropped_after_one_split():
    learner = Learner(lambda settings, _: 0.7 if settings else 0.8)
    record = search(learner, max_candidates=6)
    assert record.trials[1].n_splits == 0
    assert len(learner.calls) <= 2 + 2 * 5
    assert record.settings == {}


class NoisyLearner(Learner):
    """Is right on other texts with each candidate, though none is better."""

    def __init__(self, noise):
        super().__init__(lambda *_: 0.8)
        self.noise = noise

    def __call__(self, settings, split, callbacks):
        self.seed = (self.noise, sum(map(ord, repr(sorted(settings.items())))))
        return super().__call__(settings, split, callbacks)


def test_the_default_stays_if_candidates_differ_by_chance_alone():
    records = [search(NoisyLearner(noise), max_candidates=30, n_splits=5) for noise in range(8)]
    assert sum(bool(record.settings) for record in records) <= 3
    stays = next(record for record in records if not record.settings)
    assert "None of 29 other candidates was better by more than chance" in stays.caveats()[0]
    assert sum(trial.n_splits == 0 for trial in stays.trials) >= 10


def test_searches_are_reproducible_and_time_only_decides_how_far_they_get():
    random = {}

    def accuracy(settings, split):
        key = (tuple(sorted(settings.items())), split)
        return random.setdefault(key, 0.8 + 0.1 * np.random.default_rng(len(random)).random())

    by_number = search(Learner(accuracy), max_candidates=40)
    assert outcome(by_number) == outcome(search(Learner(accuracy), max_candidates=40))
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
    assert [trial.outcome for trial in record.trials] == ["started from"]
    assert "before its second candidate: it did not change your settings" in record.caveats()[0]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, Interruption])
def test_an_interruption_keeps_the_best_so_far(interruption):
    def accuracy(settings, _):
        if "network.context_radius" in settings:
            raise interruption
        return 0.9 if settings.get("network.width") == 64 else 0.8

    record = search(Learner(accuracy), max_candidates=50)
    assert record.ended_by == "interruption"
    assert record.settings == WIDER


def test_an_interruption_of_the_first_candidate_is_raised():
    def accuracy(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(Learner(accuracy), max_candidates=5)


@pytest.mark.parametrize("error", [ConfigError("the loss stopped being a finite number"), MemoryError()])
def test_a_candidate_that_fails_is_recorded(error):
    def accuracy(settings, _):
        if "recipe.epochs" in settings:
            raise error
        return 0.8

    record = search(Learner(accuracy), max_candidates=5)
    failed = [trial for trial in record.trials if trial.outcome == "failed"]
    assert [set(trial.settings) for trial in failed] == [{"recipe.epochs"}]
    assert failed[0].reason == (str(error) or "MemoryError")
    assert failed[0].accuracy is None
    assert len(record.trials) == 5


def test_an_error_of_your_own_settings_is_raised():
    def accuracy(*_):
        raise ConfigError("the loss stopped being a finite number")

    with pytest.raises(ConfigError, match="finite"):
        search(Learner(accuracy), max_candidates=5)


class Recorder(Callback):
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


def test_progress_counts_candidates_or_seconds():
    recorder = Recorder()
    record = search(Learner(lambda *_: 0.8), max_candidates=7, callbacks=[recorder])
    assert (recorder.stages, recorder.advanced) == ([("search, candidates", 7)], 7)
    assert (recorder.trials, recorder.ended) == (record.trials, [record])
    recorder = Recorder()
    search(Learner(lambda *_: 0.8), seconds=30, callbacks=[recorder])
    assert recorder.stages == [("search, seconds", 30)]
    assert 20 <= recorder.advanced <= 30
