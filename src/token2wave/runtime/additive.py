"""Networks that read a text out as one wave, without torch: in the native core, or in numpy.

A text enters such a network only through sums over its tokens of numbers that belong to the tokens
(:attr:`token2wave.models.config.WaveConfig.is_additive`). :class:`AdditiveNetwork` holds the same parameters
as :class:`token2wave.models.WaveNetwork`, under the same names, and gives the same logits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.features.ragged import Ragged, offsets_of
from token2wave.models.config import ParameterCount, WaveConfig
from token2wave.native import core, n_threads

Floats = NDArray[np.float32]
EMBEDDING = "embedding.weight"
FEATURES_AT_ONCE = 1 << 15
NORM_EPSILON = 1e-5  # PyTorch's


class AdditiveNetwork:
    """Parameters of an additive network, and the way from features to logits.

    Args:
        config: the shape; ``config.is_additive`` must hold.
        arrays: every parameter by name (:meth:`WaveConfig.parameter_shapes`), float32.

    Attributes:
        embedding: ``(V, 2 D)`` float32; both variants of a row side by side.
        dense: all other parameters in one float32 vector, in the order of their names.
    """

    def __init__(self, config: WaveConfig, arrays: Mapping[str, Floats]) -> None:
        if not config.is_additive:
            raise ValueError(f"expected the settings of an additive network, found {config}")
        self.config = config
        self.embedding = np.ascontiguousarray(arrays[EMBEDDING], dtype=np.float32)
        names = [name for name in config.parameter_shapes() if name != EMBEDDING]
        self.dense: Floats = np.concatenate([arrays[name].ravel() for name in names]).astype(np.float32)
        self._work_spaces: list[NDArray[np.int32]] = []

    @classmethod
    def initial(cls, config: WaveConfig, seed: int) -> AdditiveNetwork:
        """Draw initial parameters: rows of the spread that the settings name, the rest as PyTorch's layers.

        Rows are uniform, which is as good as normal for sums of many, and quicker to draw.
        """
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
        return cls(config, arrays)

    def arrays(self) -> dict[str, Floats]:
        """Every parameter by name; views of :attr:`embedding` and :attr:`dense`."""
        found = {EMBEDDING: self.embedding}
        at = 0
        for name, shape in self.config.parameter_shapes().items():
            if name != EMBEDDING:
                size = math.prod(shape)
                found[name] = self.dense[at : at + size].reshape(shape)
                at += size
        return found

    def parameter_count(self) -> ParameterCount:
        """Count the parameters, with and without the embedding."""
        return self.config.parameter_count()

    @property
    def native_shape(self) -> tuple[int, int, int, int, int, bool]:
        """Sizes as the native core takes them."""
        c = self.config
        modulates = c.operation == "modulation"
        return c.n_rows, c.n_classes, c.width, c.phrase_width, c.phrase_radius, modulates

    def logits(self, features: Ragged) -> Floats:
        """Compute the logits of ``N`` texts, ``(N, C)`` float32.

        A text's logits do not depend on the other texts. Several threads may ask at once.
        """
        native = core()
        if native is None or not fits_native_core(self.config):
            return reference_logits(self.config, self.arrays(), features)
        out = np.empty((len(features), self.config.n_classes), dtype=np.float32)
        try:  # the core numbers the rows of a batch here: no two calls may share it
            slots = self._work_spaces.pop()
        except IndexError:
            slots = work_space(self.config.n_rows if self.config.phrase_width else 0)
        parameters = (self.embedding, self.dense, slots)
        texts = (features.ids, features.offsets, features.n_ordered)
        native.logits(self.native_shape, parameters, texts, out, n_threads())
        self._work_spaces.append(slots)
        return out


def work_space(n_rows: int) -> NDArray[np.int32]:
    """Make work space of the native core: ``(V,)`` int32, all -1 between calls."""
    return np.full(n_rows, -1, dtype=np.int32)


def fits_native_core(config: WaveConfig) -> bool:
    """Whether the native core can run a network: additive, widths multiples of eight (its vectors)."""
    return config.is_additive and config.width % 8 == 0 and config.phrase_width % 8 == 0


# ---- the reference, in numpy ----


def reference_logits(config: WaveConfig, arrays: Mapping[str, Floats], features: Ragged) -> Floats:
    """Compute logits ``(N, C)`` as the formulas say, some texts at a time; slow, and needs numpy alone."""
    parts = [np.zeros((0, config.n_classes), dtype=np.float32)]
    first = 0
    while first < len(features):
        most = features.offsets[first] + FEATURES_AT_ONCE
        last = max(int(np.searchsorted(features.offsets, most, side="right")) - 1, first + 1)
        parts.append(_some_logits(config, arrays, features.take(np.arange(first, last))))
        first = last
    return np.concatenate(parts)


def _some_logits(config: WaveConfig, arrays: Mapping[str, Floats], texts: Ragged) -> Floats:
    tokens = arrays[EMBEDDING][texts.ids]  # (T, 2 D)
    mean, deviation = _text_wave(tokens, texts.offsets)
    overlay = _overlay(config, np.split(mean, 2, axis=1), np.split(deviation, 2, axis=1))
    state = _norm(arrays, "norm", _linear(arrays, "layers.0.restore.linear", overlay))
    logits = _linear(arrays, "head", state)
    if config.phrase_width:
        starts = np.repeat(texts.offsets[:-1], texts.n_ordered)
        offsets = offsets_of(texts.n_ordered)
        words = starts + np.arange(offsets[-1]) - np.repeat(offsets[:-1], texts.n_ordered)
        logits += _phrase_logits(config, arrays, tokens[words], offsets)
    return logits.astype(np.float32)


def _phrase_logits(
    config: WaveConfig, arrays: Mapping[str, Floats], words: Floats, offsets: NDArray[np.int64]
) -> Floats:
    """Logits of the phrase level, ``(B, C)``, from the rows of the words in reading order, ``(W, 2 D)``."""
    first, second = np.split(_linear(arrays, "phrases.variants", words), 2, axis=1)  # (W, P) each
    radius = config.phrase_radius
    left = np.sqrt(_neighbours(first**2, offsets, range(-radius, 0)))
    right = np.sqrt(_neighbours(second**2, offsets, range(1, radius + 1)))
    overlay = _overlay(config, (first, second), (left, right))
    states = _gelu(_linear(arrays, "phrases.linear", _norm(arrays, "phrases.norm", overlay)))
    return _linear(arrays, "phrases.head", np.concatenate(_text_wave(states, offsets), axis=1))


def _text_wave(tokens: Floats, offsets: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each text's tokens; zero for an empty text. In float64 (see waves)."""
    exact = tokens.astype(np.float64)
    count = np.maximum(np.diff(offsets), 1)[:, None]
    mean = _sums(exact, offsets) / count
    variance = _sums(exact**2, offsets) / count - mean**2
    return mean.astype(np.float32), np.sqrt(np.maximum(variance, 0)).astype(np.float32)


def _sums(values: NDArray[Any], offsets: NDArray[np.int64]) -> NDArray[Any]:
    """Sum of each text's rows, ``(B, D)``."""
    padded = np.concatenate([values, np.zeros((1, values.shape[1]), values.dtype)])  # reduceat needs a row
    sums = np.add.reduceat(padded, offsets[:-1], axis=0)
    sums[np.diff(offsets) == 0] = 0
    return sums


def _neighbours(values: Floats, offsets: NDArray[np.int64], distances: range) -> Floats:
    """Sum of each row's neighbours at some distances, within its text."""
    place = np.arange(len(values))
    texts = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    starts, ends = offsets[:-1][texts], offsets[1:][texts]
    total = np.zeros_like(values)
    for distance in distances:
        other = place + distance
        inside = (starts <= other) & (other < ends)
        total[inside] += values[other[inside]]
    return total


def _overlay(config: WaveConfig, real: Any, imaginary: Any) -> Floats:
    """Both waves' interference or modulation, ``concat(Re, Im)``."""
    (w, w2), (s, s2) = real, imaginary
    if config.operation == "modulation":
        return np.concatenate([w * w2 - s * s2, w * s2 + w2 * s], axis=1)
    return np.concatenate([w + w2, s + s2], axis=1)


def _linear(arrays: Mapping[str, Floats], name: str, values: Floats) -> Floats:
    result: Floats = values @ arrays[f"{name}.weight"].T + arrays[f"{name}.bias"]
    return result


def _norm(arrays: Mapping[str, Floats], name: str, values: Floats) -> Floats:
    centred = values - values.mean(axis=1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(axis=1, keepdims=True) + NORM_EPSILON)
    result: Floats = centred / deviation * arrays[f"{name}.weight"] + arrays[f"{name}.bias"]
    return result


def _gelu(values: Floats) -> Floats:
    """``x Phi(x)``, with Phi by Abramowitz and Stegun, 7.1.26 (absolute error 1.5e-7)."""
    size = np.abs(values)
    t = 1 / (1 + 0.3275911 / math.sqrt(2) * size)
    series = np.polyval([1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592, 0.0], t)
    tail = 0.5 * series * np.exp(-(values**2) / 2)
    result: Floats = values * np.where(values < 0, tail, 1 - tail)
    return result
