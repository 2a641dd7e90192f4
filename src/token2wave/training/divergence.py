"""Detects that a training run has diverged."""

from __future__ import annotations

import numpy as np

from token2wave.errors import ConfigError


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
