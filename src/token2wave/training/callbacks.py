"""Callbacks of a training run, the log of a run, and the history of its epochs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self

from token2wave.formatting import count, percent, printable
from token2wave.training.search_history import describe_search, describe_settings

if TYPE_CHECKING:
    from token2wave.models import Batch, TextNetwork
    from token2wave.training.result import Summary
    from token2wave.training.search_history import SearchHistory, Trial


logging.getLogger("token2wave").addHandler(logging.NullHandler())  # silent until an application asks
STAGES = logging.getLogger("token2wave.stages")
EPOCHS = logging.getLogger("token2wave.epochs")
LOG_SECONDS = 60.0  # between two lines of one stage


@dataclass(frozen=True)
class Epoch:
    """Figures of one pass over the training texts.

    Attributes:
        epoch: its number, from 1.
        train_loss: mean cross-entropy over the pass, as optimised.
        train_accuracy: over the pass, while weights change and tokens are dropped.
        validation_loss: mean cross-entropy after the pass; None, like the next three, without validation.
        validation_accuracy: after the pass.
        validation_macro_f1: after the pass.
        validation_micro_f1: after the pass.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    validation_macro_f1: float | None = None
    validation_micro_f1: float | None = None


@dataclass
class History:
    """The epochs of a training run.

    Attributes:
        epochs: one entry a pass.
        best: the epoch whose weights are used.
        train_seconds: wall time of the whole loop, validation included.
        texts_per_second: training texts over the wall time of the training steps alone.
        lr_factor: factor of the recipe's learning rates; below one after training diverged and restarted.
    """

    epochs: list[Epoch] = field(default_factory=list)
    best: Epoch | None = None
    train_seconds: float = 0.0
    texts_per_second: float = 0.0
    lr_factor: float = 1.0


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """What a run will do; plain data.

    Attributes:
        data: name of the data set.
        preset: name of the preset.
        seed: of every random choice.
        rows: training texts in the data.
        train_rows: texts of the first fit.
        validation_rows: texts held out to choose the epoch; 0 if there are too few.
        test_rows: texts of the test set; None without one.
        label_names: the classes, in order.
        settings: every setting by full name, e.g. ``recipe.epochs``, without those that the data decides.
        command: the command line, if there was one.
    """

    data: str
    preset: str
    seed: int
    rows: int
    train_rows: int
    validation_rows: int
    test_rows: int | None
    label_names: tuple[str, ...]
    settings: Mapping[str, Any]
    command: str | None


class Callback:
    """Base class of callbacks. Override the methods you need."""

    def on_begin(self, plan: RunPlan) -> None:
        """Training begins: the data is read and the settings are final, also after a search."""

    def on_end(self, summary: Summary | None, files: Sequence[Path]) -> None:
        """The run is over: all its figures, None if it failed, and the files of model and report written."""

    def on_stage(self, name: str, total: int) -> None:
        """A stage begins, of ``total`` texts (``"training"``: steps); 0 if the number is unknown."""

    def on_advance(self, amount: int) -> None:
        """``amount`` more of the stage is done."""

    def on_loss(self, loss: float, texts_per_second: float) -> None:
        """Mean training loss since the last report, and speed since the start of the epoch."""

    def on_gradients(self, network: TextNetwork, batch: Batch) -> None:
        """A step has its gradients but has not changed the weights yet; only for torch networks."""

    def on_epoch(self, epoch: Epoch) -> None:
        """A pass over the training texts and its validation are complete."""

    def on_candidate(self, trial: Trial) -> None:
        """A settings search has tried a candidate. Its epochs are not reported."""

    def on_search_end(self, record: SearchHistory) -> None:
        """A settings search is over; training with its result begins."""


class LoggingCallback(Callback):
    """Writes a run into Python's log: stages to ``token2wave.stages``, epochs to ``token2wave.epochs``.

    A log stays short: what repeats, as in cross-validation, and most epochs after the tenth have the level
    DEBUG; all else has INFO. A long stage says once a minute how far it is.
    """

    def __init__(self) -> None:
        self.stage, self.total, self.n_done, self.last_line = "", 0, 0, 0.0
        self.stages: set[str] = set()
        self.level = logging.INFO

    def on_begin(self, plan: RunPlan) -> None:
        """Log the data."""
        classes = f"{count(len(plan.label_names))} classes"
        STAGES.info("%s: %s rows, %s", printable(plan.data), count(plan.rows), classes)

    def on_stage(self, name: str, total: int) -> None:
        """Log a stage, the first time with INFO."""
        self.level = logging.DEBUG if name in self.stages else logging.INFO
        self.stages.add(name)
        self.stage, self.total, self.n_done, self.last_line = printable(name), total, 0, time.monotonic()
        units = {"training": " steps", "evaluation": " texts", "cross-validation": " texts"}
        amount = f": {count(total)}{units.get(name.split(' ')[0], '')}"
        STAGES.log(self.level, "%s%s", self.stage, amount if total else "")

    def on_advance(self, amount: int) -> None:
        """Log how far a long stage is."""
        self.n_done += amount
        is_over = self.n_done == self.total
        if not is_over and time.monotonic() - self.last_line >= LOG_SECONDS:
            self.last_line = time.monotonic()
            STAGES.info("%s: %s of %s", self.stage, count(self.n_done), count(self.total))

    def on_epoch(self, epoch: Epoch) -> None:
        """Log the figures of a pass."""
        line = f"{self.stage}, epoch {epoch.epoch}: train loss {epoch.train_loss:.4f}"
        if epoch.validation_accuracy is not None:
            line += f", validation loss {epoch.validation_loss:.4f}"
            line += f", validation accuracy {percent(epoch.validation_accuracy)}"
            if epoch.validation_micro_f1 not in (None, epoch.validation_accuracy):  # multi-label
                line += f", micro-F1 {percent(epoch.validation_micro_f1)}"
        has_round_number = epoch.epoch % 10 ** (len(str(epoch.epoch)) - 1) == 0  # 1 to 10, 20, ... 100, 200
        EPOCHS.log(self.level if has_round_number else logging.DEBUG, "%s", line)

    def on_candidate(self, trial: Trial) -> None:
        """Log a candidate, an improvement with INFO."""
        accuracy = trial.outcome
        if trial.accuracy is not None:
            accuracy = f"validation accuracy {percent(trial.accuracy)}"
        line = f"search, candidate {trial.number}: {accuracy}, {describe_settings(trial.settings)}"
        EPOCHS.log(logging.INFO if trial.is_improvement else logging.DEBUG, "%s", line)

    def on_search_end(self, record: SearchHistory) -> None:
        """Log what a search chose."""
        EPOCHS.info("search: %s", describe_search(record.to_dict()))
        if record.ended_by == "interruption":
            EPOCHS.info("interrupted: now trains with the best settings so far; Ctrl-C again stops that, too")

    def on_end(self, summary: Summary | None, files: Sequence[Path]) -> None:
        """Log the files."""
        if files:
            STAGES.info("written: %s", ", ".join(map(str, files)))


READING, VALIDATION, WRITING = "reading the data", "validation", "writing"
"""Stages of :class:`StageTimes`. Only the last has an :meth:`Callback.on_stage`."""


class StageTimes(Callback):
    """Measures the stages of a run, from the making of this object to the end of the run.

    Stages of one name are added up, e.g. of the folds of a cross-validation.

    Attributes:
        wall_seconds: by stage, in the order of their first beginning.
        processor_seconds: likewise, of all threads of this process.
    """

    def __init__(self) -> None:
        self.wall_seconds: dict[str, float] = {}
        self.processor_seconds: dict[str, float] = {}
        self._stage, self._last = READING, (time.perf_counter(), time.process_time())

    def to_dict(self) -> dict[str, dict[str, float]]:
        """Plain data: wall and processor seconds by stage."""
        return {"wall_seconds": self.wall_seconds, "processor_seconds": self.processor_seconds}

    def _count_until_now(self, stage: str) -> None:
        """Count the time since the last count for a stage."""
        now = time.perf_counter(), time.process_time()
        for seconds, then, until in zip(
            (self.wall_seconds, self.processor_seconds), self._last, now, strict=True
        ):
            seconds[stage] = seconds.get(stage, 0.0) + until - then
        self._last = now

    def on_stage(self, name: str, total: int) -> None:
        """A stage ends where the next begins."""
        self._count_until_now(self._stage)
        self._stage = name

    def on_loss(self, loss: float, texts_per_second: float) -> None:
        """Some steps are taken."""
        self._count_until_now(self._stage)

    def on_epoch(self, epoch: Epoch) -> None:
        """What comes after the last step of a pass is its validation."""
        self._count_until_now(self._stage if epoch.validation_loss is None else VALIDATION)

    def on_end(self, summary: Summary | None, files: Sequence[Path]) -> None:
        """The run is over."""
        self._count_until_now(self._stage)


P = ParamSpec("P")


def _call_each(
    method: Callable[Concatenate[Callback, P], None],
) -> Callable[Concatenate[CallbackList, P], None]:
    """Make a method of the list that calls this method of every callback."""

    def call(self: CallbackList, /, *args: P.args, **kwargs: P.kwargs) -> None:
        for callback in self.callbacks:
            getattr(callback, method.__name__)(*args, **kwargs)

    call.__doc__ = method.__doc__
    return call


class CallbackList:
    """Calls several callbacks, in order."""

    begin = _call_each(Callback.on_begin)
    end = _call_each(Callback.on_end)
    stage = _call_each(Callback.on_stage)
    advance = _call_each(Callback.on_advance)
    loss = _call_each(Callback.on_loss)
    gradients = _call_each(Callback.on_gradients)
    epoch = _call_each(Callback.on_epoch)
    candidate = _call_each(Callback.on_candidate)
    search_end = _call_each(Callback.on_search_end)

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self.callbacks = callbacks

    @classmethod
    def with_logging(cls, callbacks: Sequence[Callback]) -> Self:
        """Make a list that also writes to the log, once."""
        is_logged = any(isinstance(callback, LoggingCallback) for callback in callbacks)
        return cls(callbacks if is_logged else [LoggingCallback(), *callbacks])

    @contextmanager
    def run(self, plan: RunPlan) -> Iterator[None]:
        """Report that a run begins and, if the block fails, that it is over."""
        self.begin(plan)
        try:
            yield
        except BaseException:
            self.end(None, ())
            raise

    def stage_once_begun(self, name: str, total: int) -> Callable[[int], None]:
        """Report a stage with its first progress: until then its arguments may be refused."""
        began = False

        def advance(amount: int) -> None:
            nonlocal began
            if not began:
                began = True
                self.stage(name, total)
            self.advance(amount)

        return advance
