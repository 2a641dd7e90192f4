"""The interfaces of a network and of its trainer, and the error of training that diverges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from token2wave.errors import ConfigError
from token2wave.features import Ragged
from token2wave.inference.model import Network
from token2wave.training.callbacks import CallbackList
from token2wave.training.recipe import Recipe


class Trainable(Protocol):
    """The part of any network that the loop needs; trainers need more."""

    def logits(self, features: Ragged) -> NDArray[np.float32]:
        """Compute the logits of ``N`` texts, ``(N, C)`` float32."""


class TrainableNetwork(Network, Protocol):
    """A network whose parameters training and calibration replace."""

    def load(self, name: str, values: NDArray[np.float32]) -> None:
        """Replace the values of a parameter."""


class Trainer(Protocol):
    """Takes the training steps for one class of networks."""

    @property
    def network(self) -> Trainable:
        """The network that predicts the validation texts."""

    def epoch(self, callback_list: CallbackList) -> tuple[float, float]:
        """Train on all texts once, and return mean loss and accuracy on the way.

        Raises:
            DivergenceError: the loss stopped being a finite number.
        """

    def energy(self) -> float:
        """Sum of the squares of all current weights; not finite if a weight is not."""

    def reset(self, recipe: Recipe) -> None:
        """Start again from the initial weights with another recipe."""

    def snapshot(self) -> None:
        """Copy the current weights: they are the best so far."""

    def restore_best(self) -> None:
        """Return to the weights of the last snapshot."""

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Everything that later epochs depend on, as arrays and as plain data for JSON."""

    def load_state(self, arrays: Mapping[str, NDArray[Any]], values: Mapping[str, Any]) -> None:
        """Resume from a :meth:`state` of a trainer with the same network, texts and recipe."""

    def close(self) -> None:
        """Release what training holds."""


class DivergenceError(ConfigError):
    """The loss is not a finite number, or far too large."""


def require_finite(number: float) -> None:
    """Stop a run that has diverged.

    Raises:
        DivergenceError: ``number`` is not finite.
    """
    if not np.isfinite(number):
        raise DivergenceError(
            "the loss stopped being a finite number",
            location="lr",
            hint="choose a smaller learning rate",
        )
