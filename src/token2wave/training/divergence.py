"""Detects that a training run has diverged."""

from __future__ import annotations

import numpy as np

from token2wave.errors import ConfigError


class DivergenceError(ConfigError):
    """The loss stopped being a finite number, or is beyond all measure."""


def require_finite(number: float) -> None:
    """Stop a run that has diverged.

    Raises:
        DivergenceError: a loss, or what else must be one, is no finite number.
    """
    if not np.isfinite(number):
        raise DivergenceError(
            "the loss stopped being a finite number",
            location="lr",
            hint="choose a smaller learning rate",
        )
