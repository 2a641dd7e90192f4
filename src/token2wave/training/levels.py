"""A network's levels, put together and taken apart: amplitudes join the waves, idle levels leave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.models.config import WaveConfig
from token2wave.runtime.reference import EMBEDDING
from token2wave.training.additive import AdditiveNetwork
from token2wave.training.amplitudes import MARGIN_IN_LOGITS, Amplitudes

Floats = NDArray[np.float32]


def with_amplitudes(network: Any, found: Amplitudes) -> Any:
    """Put amplitudes beside the waves of a trained network.

    Amplitudes are scaled to the size of the waves' numbers, so that one step suits both where a table is stored
    in few bits; the level's weight makes up for it.

    Args:
        network: without amplitudes.
        found: of its rows.

    Returns:
        A network of the same kind that has them.
    """
    config, arrays = network.config.replace(amplitudes=True), dict(network.arrays())
    waves = arrays[EMBEDDING]
    size = _root_mean_square(waves) / max(_root_mean_square(found.rows), 1e-12) or 1.0
    arrays[EMBEDDING] = np.concatenate([waves, found.rows * np.float32(size)], axis=1)
    arrays["amplitudes.weight"] = np.full(config.n_classes, MARGIN_IN_LOGITS / size, dtype=np.float32)
    arrays["amplitudes.bias"] = (MARGIN_IN_LOGITS * found.bias).astype(np.float32)
    return _rebuilt(network, config, arrays)


def without_idle_levels(network: Any, weights: Sequence[float]) -> Any:
    """Leave out the levels of no weight, phrases and amplitudes: they cost time and bytes, and say nothing.

    Args:
        network: calibrated.
        weights: of its levels (:func:`token2wave.training.calibration.calibrate`).

    Returns:
        The network itself where none is idle.
    """
    config = idle_levels_left_out(network.config, weights)
    if config == network.config:
        return network
    arrays = dict(network.arrays())
    arrays[EMBEDDING] = arrays[EMBEDDING][:, : config.row_width]  # amplitudes stand last
    return _rebuilt(network, config, {name: arrays[name] for name in config.parameter_shapes()})


def idle_levels_left_out(config: WaveConfig, weights: Sequence[float]) -> WaveConfig:
    """The shape without the levels of no weight."""
    for level, weight in zip(levels_of(config), weights, strict=False):
        if level == "phrases" and not weight:
            config = config.replace(phrase_width=0)
        elif level == "amplitudes" and not weight:
            config = config.replace(amplitudes=False)
    return config


def levels_of(config: WaveConfig) -> tuple[str, ...]:
    """What gives to the logits, in the order of the weights."""
    beside = [("phrases", config.phrase_width > 0), ("amplitudes", config.amplitudes)]
    return "text", *(name for name, is_there in beside if is_there)


def _rebuilt(network: Any, config: WaveConfig, arrays: dict[str, Floats]) -> Any:
    """A network of the same kind, of another shape."""
    if isinstance(network, AdditiveNetwork):
        return AdditiveNetwork(config, arrays)
    from token2wave.models import WaveNetwork

    rebuilt = WaveNetwork(config).to(network.embedding.weight.device)
    for name, values in arrays.items():
        rebuilt.load(name, np.ascontiguousarray(values))
    return rebuilt


def _root_mean_square(values: Floats) -> float:
    flat = values.ravel()
    return float(np.sqrt(np.dot(flat, flat) / max(len(flat), 1)))
