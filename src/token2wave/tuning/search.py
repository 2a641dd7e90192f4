"""The search itself: candidate after candidate, each held against the best so far on the same rows.

A candidate is first judged on one split of the training rows. Where neither figure is better, it is dropped
there. Otherwise the two meet on further splits, and all rows held back decide together: few rows say little.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from token2wave.classifier import Classifier
from token2wave.errors import Interruption, Token2WaveError
from token2wave.training.callbacks import Callback, CallbackList
from token2wave.training.preparation import Labelled
from token2wave.training.search_history import (
    DROPPED,
    FAILED,
    KEPT,
    STARTED,
    Comparison,
    SearchHistory,
    Trial,
)
from token2wave.tuning.budget import Budget, OutOfTime
from token2wave.tuning.candidates import Candidates
from token2wave.tuning.comparison import CandidateScores, compare, evaluate_candidate

Learn = Callable[[Mapping[str, Any], int, Sequence[Callback]], Classifier]
"""Trains with changed settings on what a split leaves, told by callbacks; the rows it holds back judge it."""


class Search:
    """Looks for settings that do better on validation rows.

    Args:
        learn: trains a candidate on the training rows of a split.
        held_out: validation rows of a split, which ``learn`` does not learn from.
        candidates: what to try.
        record: filled as the search goes.
        budget: when to stop.
        seconds_to_finish: time that the end of the run takes, by the time that learning on one split took.
        callback_list: told how it goes.
    """

    def __init__(
        self,
        learn: Learn,
        held_out: Callable[[int], Labelled],
        candidates: Candidates,
        record: SearchHistory,
        budget: Budget,
        seconds_to_finish: Callable[[float], float],
        callback_list: CallbackList,
    ) -> None:
        self.learn, self.held_out, self.candidates, self.record = learn, held_out, candidates, record
        self.budget, self.seconds_to_finish, self.callback_list = budget, seconds_to_finish, callback_list
        self.watch = _Watch(budget, callback_list)
        self.best: list[CandidateScores] = []  # of the best so far, on as many splits as were needed
        self.seconds: list[float] = []  # of learning, a split each

    def run(self) -> None:
        """Search until time, candidates or patience end.

        An interruption (Ctrl-C) ends the search, and what it found so far counts; one before the first
        candidate is done goes on to the caller.

        Raises:
            Token2WaveError: the given settings cannot be trained.
        """
        start = time.perf_counter()
        record = self.record
        by_time = math.isfinite(self.budget.seconds)
        total = self.budget.seconds if by_time else self.budget.most_candidates
        self.callback_list.stage("search, seconds" if by_time else "search, candidates", int(total))
        try:
            self._start()
            for settings in self.candidates.after(lambda: record.settings):
                if len(record.trials) >= self.budget.most_candidates:
                    record.ended_by = "candidates"
                    break
                self.budget.require(self.seconds[-1])
                self._try(settings)
        except OutOfTime:
            record.ended_by = "time"
        except (KeyboardInterrupt, Interruption):
            if not record.trials:
                raise
            record.ended_by = "interruption"
        record.seconds = time.perf_counter() - start
        self.callback_list.search_end(record)

    def _start(self) -> None:
        """Judge the settings given, from which the search starts."""
        start = time.perf_counter()
        self._know_best({}, 1)
        self._done({}, STARTED, self.best, None, start)

    def _try(self, settings: Mapping[str, Any]) -> None:
        """Hold a candidate against the best so far."""
        start = time.perf_counter()
        found: list[CandidateScores] = []
        try:
            for split in range(self.record.n_splits):
                found.append(self._judged(settings, split))
                self._know_best(self.record.settings, split + 1)
                comparison = compare(found, self.best[: len(found)])
                if comparison.is_hopeless:
                    break
        except (Token2WaveError, MemoryError) as error:  # as where rates make the loss infinite
            self._done(settings, FAILED, found, None, start, str(error) or type(error).__name__)
            return
        if comparison.is_better:  # which none is that was dropped before the last split
            self.best = found
        self._done(settings, KEPT if comparison.is_better else DROPPED, found, comparison, start)

    def _know_best(self, settings: Mapping[str, Any], n_splits: int) -> None:
        """Judge the best so far on as many splits."""
        while len(self.best) < n_splits:
            self.best.append(self._judged(settings, len(self.best)))

    def _judged(self, settings: Mapping[str, Any], split: int) -> CandidateScores:
        start = self.budget.clock()
        classifier = self.learn(settings, split, [self.watch])
        rows = self.held_out(split)
        logits = classifier.network.logits(classifier.features(rows.texts))
        self.seconds.append(self.budget.clock() - start)
        return evaluate_candidate(logits, rows.labels, rows.weights, self.record.select_by)

    def _done(
        self,
        settings: Mapping[str, Any],
        outcome: str,
        found: Sequence[CandidateScores],
        comparison: Comparison | None,
        start: float,
        reason: str | None = None,
    ) -> None:
        """Write a candidate down, and leave time for the end of the run with the best so far."""
        trial = Trial(
            number=len(self.record.trials) + 1,
            settings=dict(settings),
            outcome=outcome,
            accuracy=found[0].accuracy if found else None,
            chosen=found[0].chosen.value if found else None,
            loss=-found[0].loss.value if found else None,
            n_splits=len(found),
            comparison=comparison,
            reason=reason,
            seconds=time.perf_counter() - start,
        )
        self.record.trials.append(trial)
        if trial.is_improvement:
            seconds = sum(self.seconds[-len(found) :]) / len(found)
            self.budget.keep_back(self.seconds_to_finish(seconds))
        self.watch.candidate()
        self.callback_list.candidate(trial)


class _Watch(Callback):
    """Gives a candidate up when the time is over, and moves the bar of the search."""

    def __init__(self, budget: Budget, callback_list: CallbackList) -> None:
        self.budget, self.callback_list = budget, callback_list
        self.told = 0

    def on_advance(self, amount: int) -> None:
        """Look at the clock."""
        self.budget.require()
        if math.isfinite(self.budget.seconds):
            whole = int(self.budget.spent)
            self.callback_list.advance(whole - self.told)
            self.told = whole

    def candidate(self) -> None:
        """A candidate is done."""
        if not math.isfinite(self.budget.seconds):
            self.callback_list.advance(1)
