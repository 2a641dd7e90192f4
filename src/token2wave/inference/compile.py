"""From a trained network to plain tables that predict without a deep-learning framework.

A network whose read-out sees a text only through sums of numbers that belong to its tokens compiles, exactly
to rounding: to a table with the two variants of every vocabulary entry (and those of the phrase level), sums
over the tokens, and one small dense network. Where both variants are linear maps of a row, the model file
keeps the rows, which are half as wide, and a row is expanded when a text first needs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.errors import ConfigError
from token2wave.inference.compiled import CompiledNetwork
from token2wave.models.wave_config import WaveConfig


def reason_not_to_compile(config: WaveConfig) -> str | None:
    """Say why a network does not compile; None if it does."""
    if config.layers > 1:
        return f"it has {config.layers} layers, and the tokens of the second depend on the whole text"
    if config.positions != "none":
        return "it adds positions to the tokens, so that a token's numbers depend on where it stands"
    if config.readout == "mean":
        return "it reads out every token's wave, which depends on the whole text; cls and text are sums"
    if config.variants == "levels":
        return "one of its waves is of the first sentence alone, whose end is not known from sums"
    return None


def compile_config(network: Any) -> CompiledNetwork:
    """Tables of a classifier's network, compiled now if it is not.

    Raises:
        ConfigError: the network does not compile; the message says why.
    """
    return (
        network if isinstance(network, CompiledNetwork) else compile_network(network.config, network.arrays())
    )


def compile_network(config: WaveConfig, arrays: Mapping[str, NDArray[np.float32]]) -> CompiledNetwork:
    """Compile a trained network.

    Args:
        config: its shape.
        arrays: every parameter by name (:meth:`WaveConfig.parameter_shapes`), float32; shared, not copied.

    Returns:
        Tables that give the same logits, to rounding.

    Raises:
        ConfigError: the network does not compile; the message says why.
    """
    reason = reason_not_to_compile(config)
    if reason is not None:
        raise ConfigError(
            f"cannot be compiled: {reason}",
            location="network",
            hint="predict with it through torch, or train one of the presets",
        )
    return CompiledNetwork(config, arrays)
