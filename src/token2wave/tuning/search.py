"""Searches for better settings: compares one candidate after another with the best so far on the same rows.

This is successive halving as candidates come (ASHA; Li et al. 2020, "A system for massively parallel
hyperparameter tuning"): a candidate first learns from a part of the rows of one split. It goes on only if its
loss is in the best third of those tried so far. Then it and the best so far are scored on one split after
another, until it has no hope. The validation rows of all splits decide.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from token2wave.errors import DistributedError, Interruption, Token2WaveError
from token2wave.training.callbacks import Callback, CallbackList
from token2wave.training.distributed import broadcast, is_distributed
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
from token2wave.tuning.comparison import CandidateScores, compare

Score = Callable[[Mapping[str, Any], int, Sequence[Callback]], CandidateScores]
"""Trains with changed settings on the training rows of a split, and scores its validation rows."""
EARLY = -1
"""The number of the split that has a part of the training rows of split 0, and the same validation rows."""
AFTER_EARLY = "after a part of the rows"
BEST_FRACTION = 3  # one in so many goes on from the early split


class Search(Callback):
    """Searches for settings that do better on validation rows.

    Args:
        score: trains and scores a candidate on a split.
        candidates: proposes the settings to try.
        history: filled as the search goes on.
        budget: says when to stop.
        seconds_to_finish: estimates the end of the run from the time of one fit.
        callback_list: called as the search goes on.
    """

    def __init__(
        self,
        score: Score,
        candidates: Candidates,
        history: SearchHistory,
        budget: Budget,
        seconds_to_finish: Callable[[float], float],
        callback_list: CallbackList,
    ) -> None:
        self.score, self.candidates, self.history = score, candidates, history
        self.budget, self.seconds_to_finish, self.callback_list = budget, seconds_to_finish, callback_list
        self.best: list[CandidateScores] = []  # of the best so far, a split each
        self.early_losses: list[float] = []  # of each candidate on the early split
        self.seconds: list[float] = []  # of each fit
        self.advanced = 0  # seconds that the progress bar shows

    def run(self) -> None:
        """Search until time or candidates end.

        An interruption (Ctrl-C) ends the search with the best settings so far. It is raised again if not even
        the first candidate is finished.

        Raises:
            Token2WaveError: your own settings cannot be trained.
        """
        start = time.perf_counter()
        history = self.history
        by_time = math.isfinite(self.budget.seconds)
        total = self.budget.seconds if by_time else self.budget.max_candidates
        self.callback_list.stage("search, seconds" if by_time else "search, candidates", int(total))
        try:
            self._score_best({}, 1)  # your settings come first
            self._add_trial({}, STARTED, self.best, None, start)
            for settings in self.candidates.after(lambda: history.settings):
                if len(history.trials) >= self.budget.max_candidates:
                    history.ended_by = "candidates"
                    break
                self.budget.require(self.seconds[-1])
                self._try(settings)
        except OutOfTime:
            history.ended_by = "time"
        except (KeyboardInterrupt, Interruption):
            if not history.trials or is_distributed():  # the other processes are elsewhere
                raise
            history.ended_by = "interruption"
        history.seconds = time.perf_counter() - start
        self.callback_list.search_end(history)

    def on_advance(self, amount: int) -> None:
        """Abandon a candidate when the time is over, and move the progress bar."""
        self.budget.require()
        if math.isfinite(self.budget.seconds):
            seconds = int(self.budget.spent)
            self.callback_list.advance(seconds - self.advanced)
            self.advanced = seconds

    def _try(self, settings: Mapping[str, Any]) -> None:
        """Compare a candidate with the best so far."""
        start = time.perf_counter()
        scores: list[CandidateScores] = []
        try:
            if not self._goes_on(settings):
                self._add_trial(settings, DROPPED, scores, None, start, AFTER_EARLY)
                return
            for split in range(self.history.n_splits):
                scores.append(self._score(settings, split))
                self._score_best(self.history.settings, split + 1)
                first = min(split, 1)  # split 0 has let the candidate go on, which flatters it there
                comparison = compare(scores[first:], self.best[first : len(scores)])
                if comparison.is_hopeless:
                    break
        except (Token2WaveError, MemoryError) as error:  # e.g. learning rates that make the loss infinite
            if isinstance(error, DistributedError) or (is_distributed() and isinstance(error, MemoryError)):
                raise  # the other processes did not see it
            self._add_trial(settings, FAILED, scores, None, start, str(error) or type(error).__name__)
            return
        if comparison.is_better:  # never before the last split
            self.best = scores
        self._add_trial(settings, KEPT if comparison.is_better else DROPPED, scores, comparison, start)

    def _goes_on(self, settings: Mapping[str, Any]) -> bool:
        """Whether the loss of a candidate on the early split is in the best third of all so far."""
        if not self.early_losses:
            self.early_losses.append(-self._score({}, EARLY).loss.value)
        self.early_losses.append(-self._score(settings, EARLY).loss.value)
        rank = sum(loss < self.early_losses[-1] for loss in self.early_losses)
        return rank < max(len(self.early_losses) // BEST_FRACTION, 1)

    def _score_best(self, settings: Mapping[str, Any], n_splits: int) -> None:
        """Score the best so far on the first ``n_splits`` splits."""
        while len(self.best) < n_splits:
            self.best.append(self._score(settings, len(self.best)))

    def _score(self, settings: Mapping[str, Any], split: int) -> CandidateScores:
        start = self.budget.clock()
        scores = broadcast(self.score(settings, split, [self]))
        self.seconds.append(self.budget.clock() - start)
        return scores

    def _add_trial(
        self,
        settings: Mapping[str, Any],
        outcome: str,
        scores: Sequence[CandidateScores],
        comparison: Comparison | None,
        start: float,
        reason: str | None = None,
    ) -> None:
        """Record a candidate, and reserve time for the end of the run with the best so far."""
        trial = Trial(
            number=len(self.history.trials) + 1,
            settings=dict(settings),
            outcome=outcome,
            accuracy=scores[0].accuracy if scores else None,
            chosen=scores[0].chosen.value if scores else None,
            loss=-scores[0].loss.value if scores else None,
            n_splits=len(scores),
            comparison=comparison,
            reason=reason,
            seconds=time.perf_counter() - start,
        )
        self.history.trials.append(trial)
        if trial.is_improvement:
            fit_seconds = max(self.seconds[-len(scores) :]) if settings else 0.0
            # Only the first fit has solved the linear SVM; later ones may have reused the solution.
            self.budget.reserve(self.seconds_to_finish(self.seconds[0] + fit_seconds))
        if not math.isfinite(self.budget.seconds):  # the bar counts candidates
            self.callback_list.advance(1)
        self.callback_list.candidate(trial)
