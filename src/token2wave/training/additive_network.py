"""Additive networks, which the native core trains: a text enters only through sums over its tokens.

See :attr:`WaveConfig.is_additive`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from token2wave.features.ragged import Ragged
from token2wave.inference.compiled import CompiledNetwork, compile_network, join_dense, split_dense
from token2wave.inference.reference import EMBEDDING
from token2wave.models.wave_config import ParameterCount, WaveConfig

Floats = NDArray[np.float32]


class AdditiveNetwork:
    """The parameters of a :class:`token2wave.models.WaveNetwork` that is additive, to be trained in place.

    Args:
        config: the shape; ``config.is_additive`` must hold.
        arrays: every parameter by name (:meth:`WaveConfig.parameter_shapes`), float32.

    Attributes:
        seed: of the initial parameters, if :meth:`initial` drew them.
        embedding: ``(V, 2 D)`` float32; both variants of a row side by side.
        dense: all other parameters in one float32 vector, in the order of ``parameter_shapes``.
    """

    def __init__(self, config: WaveConfig, arrays: Mapping[str, Floats], seed: int | None = None) -> None:
        if not config.is_additive:
            raise ValueError(f"expected the settings of an additive network, found {config}")
        self.config, self.seed = config, seed
        self.embedding = np.ascontiguousarray(arrays[EMBEDDING], dtype=np.float32)
        self.dense = join_dense(config, arrays)

    @classmethod
    def initial(cls, config: WaveConfig, seed: int) -> AdditiveNetwork:
        """Draw initial parameters: rows with the configured spread, the rest like PyTorch's layers.

        Rows are uniform: for sums of many that is as good as normal, and faster.
        """
        return cls(config, _draw(config, seed), seed)

    def draw_again(self) -> None:
        """Return to the initial parameters, which :meth:`initial` must have drawn."""
        if self.seed is None:
            raise ValueError("expected a network with a seed that drew its parameters")
        for name, values in _draw(self.config, self.seed).items():
            self.load(name, values)

    def arrays(self) -> dict[str, Floats]:
        """Every parameter by name; views of :attr:`embedding` and :attr:`dense`."""
        return {EMBEDDING: self.embedding, **split_dense(self.config, self.dense)}

    def load(self, name: str, values: Floats) -> None:
        """Replace the values of a parameter."""
        self.arrays()[name][...] = values

    def parameter_count(self) -> ParameterCount:
        """Count the parameters, with and without the embedding."""
        return self.config.parameter_count()

    def compiled(self) -> CompiledNetwork:
        """A network that predicts with the current weights; drop it before they change."""
        return compile_network(self.config, self.arrays())

    def logits(self, features: Ragged) -> Floats:
        """Compute the logits of ``N`` texts with the current weights, ``(N, C)`` float32."""
        return self.compiled().logits(features)


def _draw(config: WaveConfig, seed: int) -> dict[str, Floats]:
    """Initial parameters by name."""
    random = np.random.default_rng(seed)
    arrays: dict[str, Floats] = {}
    inputs = 1
    for name, shape in config.parameter_shapes().items():
        if name == EMBEDDING:
            rows = random.random(shape, dtype=np.float32)
            rows -= 0.5
            rows *= config.embedding_scale * math.sqrt(12)
            arrays[name] = rows
        elif "norm" in name:
            arrays[name] = np.full(shape, float(name.endswith("weight")), dtype=np.float32)
        else:
            inputs = shape[1] if len(shape) == 2 else inputs  # a bias follows its weight
            limit = 1 / math.sqrt(inputs)
            arrays[name] = random.uniform(-limit, limit, shape).astype(np.float32)
    return arrays
