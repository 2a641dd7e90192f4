"""Callbacks of a training run, and the history of its epochs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

if TYPE_CHECKING:
    from token2wave.models import Batch, TextNetwork
    from token2wave.training.result import Summary
    from token2wave.training.search_history import SearchHistory, Trial


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
        validation_rows: texts that choose the epoch.
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
