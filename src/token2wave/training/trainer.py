"""The interface of a trainer: what takes the steps of a run for one kind of network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from token2wave.features import Ragged
from token2wave.training.callbacks import CallbackList
from token2wave.training.recipe import Recipe


class Trainable(Protocol):
    """What the loop itself asks of a network; trainers ask more."""

    def logits(self, features: Ragged) -> NDArray[np.float32]:
        """Compute the logits of ``N`` texts, ``(N, C)`` float32."""


class Trainer(Protocol):
    """Takes the steps of a run, for one kind of network."""

    @property
    def network(self) -> Trainable:
        """What gives the logits of validation texts."""

    def epoch(self, callback_list: CallbackList) -> tuple[float, float]:
        """Go once through the training texts; mean loss and accuracy on the way.

        Raises:
            DivergenceError: the loss stopped being a finite number.
        """

    def energy(self) -> float:
        """Sum of the squares of all weights as they are now, which is not finite where a weight is not."""

    def reset(self, recipe: Recipe) -> None:
        """Go back to the weights before the first step, and forget all steps, with another recipe."""

    def keep(self) -> None:
        """Remember the weights as they are now."""

    def restore(self) -> None:
        """Go back to the weights that were kept last."""

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Everything that later epochs depend on, as arrays and as plain data that JSON can hold."""

    def load_state(self, arrays: Mapping[str, NDArray[Any]], values: Mapping[str, Any]) -> None:
        """Go on from where :meth:`state` was taken, by a trainer of the same network, texts and recipe."""

    def close(self) -> None:
        """Be done with training."""
