"""What a training run tells while it goes, and what it gave in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from token2wave.models import Batch, TextNetwork
    from token2wave.training.result import Summary
    from token2wave.training.search_history import SearchHistory, Trial


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training texts gave.

    Attributes:
        epoch: its number, from 1.
        train_loss: mean cross-entropy over the pass, as optimised.
        train_accuracy: over the pass, while the weights were moving and tokens being dropped.
        validation_loss: mean cross-entropy after the pass; None without validation texts.
        validation_accuracy: after the pass; None without validation texts.
        validation_macro_f1: after the pass; None without validation texts.
        validation_micro_f1: after the pass; None without validation texts.
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
    """What a run gave.

    Attributes:
        epochs: one entry a pass.
        best: the entry whose weights were kept.
        train_seconds: wall time of the whole loop, validation included.
        texts_per_second: training texts over the wall time of training steps alone.
        lr_factor: what the recipe's rates were multiplied by: below one where the loss had stopped being a
            finite number, and training was started again.
    """

    epochs: list[Epoch] = field(default_factory=list)
    best: Epoch | None = None
    train_seconds: float = 0.0
    texts_per_second: float = 0.0
    lr_factor: float = 1.0


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """What a run is going to do; plain data.

    Attributes:
        data: name of the data set.
        preset: name of the preset that the settings started from.
        seed: of every random choice.
        rows: training texts given.
        train_rows: texts trained on at first.
        validation_rows: texts held out to choose the epoch by.
        test_rows: texts of the test set; None without one.
        label_names: the classes, in order.
        settings: every setting by full name, e.g. ``recipe.epochs``; those of the network that the data
            decides are missing.
        command: the command line, where there was one.
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
    """Told how a run goes; every method may be left as it is."""

    def on_begin(self, plan: RunPlan) -> None:
        """Data are read and settings are settled, by a search, too; the training of the classifier begins."""

    def on_end(self, summary: Summary | None, files: Sequence[Path]) -> None:
        """The run that had begun is over.

        Args:
            summary: all its figures; None where it failed or was interrupted.
            files: what was written: the model file and the files of the report, where they were asked for.
        """

    def on_stage(self, name: str, total: int) -> None:
        """A stage of so many texts or, for ``"training"``, steps begins; 0 if not known."""

    def on_advance(self, amount: int) -> None:
        """So much more of the stage is done."""

    def on_loss(self, loss: float, texts_per_second: float) -> None:
        """Mean training loss since the last report, and speed since the start of the epoch."""

    def on_gradients(self, network: TextNetwork, batch: Batch) -> None:
        """A step has its gradients, and has not moved the weights yet; networks in torch alone tell this."""

    def on_epoch(self, epoch: Epoch) -> None:
        """A pass over the training texts, and its validation, are done."""

    def on_candidate(self, trial: Trial) -> None:
        """A search for settings has tried a candidate; of its training nothing else is told."""

    def on_search_end(self, record: SearchHistory) -> None:
        """A search for settings is over, and training with what it found begins."""


class CallbackList:
    """Passes word to every callback.

    Args:
        callbacks: in the order in which they are told.
    """

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self.callbacks = callbacks

    @contextmanager
    def run(self, plan: RunPlan) -> Iterator[None]:
        """Tell that a run begins, and, where the block fails, that it is over."""
        for callback in self.callbacks:
            callback.on_begin(plan)
        try:
            yield
        except BaseException:
            self.end(None, ())
            raise

    def end(self, summary: Summary | None, files: Sequence[Path]) -> None:
        """Tell that a run is over."""
        for callback in self.callbacks:
            callback.on_end(summary, files)

    def stage(self, name: str, total: int) -> None:
        """Tell that a stage begins."""
        for callback in self.callbacks:
            callback.on_stage(name, total)

    def advance(self, amount: int) -> None:
        """Tell that so much more is done."""
        for callback in self.callbacks:
            callback.on_advance(amount)

    def stage_once_begun(self, name: str, total: int) -> Callable[[int], None]:
        """Tell of a stage with the first progress in it: what may still be refused has not begun."""
        began = False

        def advance(amount: int) -> None:
            nonlocal began
            if not began:
                began = True
                self.stage(name, total)
            self.advance(amount)

        return advance

    def loss(self, loss: float, texts_per_second: float) -> None:
        """Tell the loss."""
        for callback in self.callbacks:
            callback.on_loss(loss, texts_per_second)

    def gradients(self, network: TextNetwork, batch: Batch) -> None:
        """Tell that a step has its gradients."""
        for callback in self.callbacks:
            callback.on_gradients(network, batch)

    def epoch(self, epoch: Epoch) -> None:
        """Tell that an epoch is done."""
        for callback in self.callbacks:
            callback.on_epoch(epoch)

    def candidate(self, trial: Trial) -> None:
        """Tell what was tried."""
        for callback in self.callbacks:
            callback.on_candidate(trial)

    def search_end(self, record: SearchHistory) -> None:
        """Tell that a search is over."""
        for callback in self.callbacks:
            callback.on_search_end(record)
