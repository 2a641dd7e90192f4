"""The history of a settings search: plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from token2wave.formatting import count, duration

MIN_STANDARD_ERRORS = 1.0  # of the selection metric and the loss
MIN_STANDARD_ERRORS_BY_LOSS = 2.0  # of the loss, if the selection metric is no worse
RULE = (
    "A candidate replaces the best so far if, over the same validation rows, the selection metric and the "
    f"loss are both better by more than {MIN_STANDARD_ERRORS:g} standard error of the paired difference, or "
    f"if the metric is no worse and the loss is lower by more than {MIN_STANDARD_ERRORS_BY_LOSS:g} of them."
)


@dataclass(frozen=True)
class Comparison:
    """A candidate compared with the best so far, over all splits on which both have scores.

    Attributes:
        gain: of the selection metric.
        error: its standard error.
        loss_gain: how much lower the loss is.
        loss_error: its standard error.
    """

    gain: float
    error: float
    loss_gain: float
    loss_error: float

    @property
    def is_better(self) -> bool:
        """Whether the candidate is better by more than chance (:data:`RULE`)."""
        is_ahead = self.gain > MIN_STANDARD_ERRORS * self.error
        n_errors = MIN_STANDARD_ERRORS if is_ahead else MIN_STANDARD_ERRORS_BY_LOSS
        return self.gain >= 0 and self.loss_gain > n_errors * self.loss_error

    @property
    def is_hopeless(self) -> bool:
        """Whether the candidate has a higher loss, or a metric that is worse by more than chance."""
        return self.loss_gain <= 0 or self.gain < -MIN_STANDARD_ERRORS * self.error


STARTED, KEPT, DROPPED, FAILED = "started from", "kept", "dropped", "failed"


@dataclass(frozen=True)
class Trial:
    """A candidate and its figures on the validation rows.

    Attributes:
        number: from 1, which is the preset with the user's settings.
        settings: changes of these, by full name.
        outcome: ``started from``, ``kept`` (it became the best so far), ``dropped``, or ``failed``.
        accuracy: on the validation rows of the first split; None if it got no further than an early part.
        chosen: the selection metric on these rows; a loss is negated.
        loss: cross-entropy on these rows.
        n_splits: splits on which it was compared with the best so far; 0 if it was dropped before.
        comparison: with the best so far, over these splits; None for the first or a failed candidate.
        reason: of a failure, or of a drop before the first split.
        seconds: its wall time.
    """

    number: int
    settings: Mapping[str, Any]
    outcome: str
    accuracy: float | None = None
    chosen: float | None = None
    loss: float | None = None
    n_splits: int = 1
    comparison: Comparison | None = None
    reason: str | None = None
    seconds: float = 0.0

    @property
    def is_improvement(self) -> bool:
        """Whether it became the best so far."""
        return self.outcome in (STARTED, KEPT)


@dataclass
class SearchHistory:
    """A whole search.

    Attributes:
        select_by: the selection metric.
        validation_rows: of a split.
        n_splits: splits of the training rows on which candidates are compared, at most.
        trials: in order.
        ended_by: ``time``, ``candidates``, ``interruption``, ``nothing left to try``, or ``too few rows``.
        seconds: of the search.
    """

    select_by: str
    validation_rows: int
    n_splits: int
    trials: list[Trial] = field(default_factory=list)
    ended_by: str = "nothing left to try"
    seconds: float = 0.0

    @property
    def best_trial(self) -> Trial | None:
        """The last improvement; None if not even the first trial was completed."""
        return next((trial for trial in reversed(self.trials) if trial.is_improvement), None)

    @property
    def settings(self) -> dict[str, Any]:
        """The changes of the best trial."""
        return {} if self.best_trial is None else dict(self.best_trial.settings)

    def to_dict(self) -> dict[str, Any]:
        """Return all trials as plain data for JSON."""
        best_trial = None if self.best_trial is None else self.best_trial.number
        return {**asdict(self), "rule": RULE, "best_trial": best_trial, "settings": self.settings}

    def of_model(self) -> dict[str, Any]:
        """The record for the model file: without times, so that equal searches give equal files."""
        return {
            "select_by": self.select_by,
            "n_tried": len(self.trials),
            "settings": self.settings,
            "improvements": [
                {"number": trial.number, "settings": dict(trial.settings), "accuracy": trial.accuracy}
                for trial in self.trials
                if trial.is_improvement
            ],
        }

    def caveats(self) -> tuple[str, ...]:
        """Sentences to print beside the figures."""
        n_tried = len(self.trials)
        if self.ended_by == "too few rows":
            return ("There were too few rows for validation: the search did not change your settings.",)
        if n_tried < 2:
            return (
                f"The search ended ({self.ended_by}) before its second candidate: it did not change your "
                "settings.",
            )
        if self.settings:
            return (
                f"The settings are the best of {n_tried:,} on the validation rows, so the validation figures "
                "are too good; trust the figures of other texts.",
            )
        return (
            f"None of {n_tried - 1:,} other candidates was better by more than chance: your settings stay.",
        )


def describe_search(search: Mapping[str, Any]) -> str:
    """Describe a settings search, e.g. ``12 tried in 48.0 s (ended by time); kept network.width=64``."""
    n_tried = count(len(search["trials"]))
    ended = f"{n_tried} tried in {duration(search['seconds'])} (ended by {search['ended_by']})"
    if not search["settings"]:
        return f"{ended}; none was better than the settings given"
    return f"{ended}; kept {describe_settings(search['settings'])}"


def describe_settings(settings: Mapping[str, Any]) -> str:
    """Write settings as you would give them, e.g. ``network.width=64 recipe.epochs=8``."""
    return " ".join(f"{key}={value}" for key, value in settings.items()) or "the settings given"
