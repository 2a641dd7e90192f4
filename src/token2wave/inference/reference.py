"""The arithmetic of a compiled network in numpy, as the formulas say it.

Symbols: ``D`` is the width, ``P`` that of the phrase level, ``C`` the number of classes; ``w`` and ``w'`` are
both variants of a token.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.features.ragged import Ragged, offsets_of
from token2wave.inference.sums import Sums
from token2wave.models.wave_config import WaveConfig

Floats = NDArray[np.float32]
Numbers = NDArray[np.float64]
Arrays = Mapping[str, Floats]

EMBEDDING = "embedding.weight"
FEATURES_CHUNK = 1 << 10  # so that they stay in the cache, and the matrix that sums them small
NORM_EPSILON = 1e-5  # PyTorch's


FEATURES_IN_PART = 1 << 15  # so that memory stays small


def logits_of_features(config: WaveConfig, arrays: Arrays, features: Ragged) -> Floats:
    """Logits of ``N`` texts, ``(N, C)``, some texts at a time."""
    if len(features.ids) <= FEATURES_IN_PART:
        return logits(config, arrays, sums(config, arrays, features))
    parts = []
    for first, last in groups(features.offsets, FEATURES_IN_PART):
        some = features.take(np.arange(first, last))
        parts.append(logits(config, arrays, sums(config, arrays, some)))
    return np.concatenate(parts)


# ---- from features to sums ----


def sums(config: WaveConfig, arrays: Arrays, features: Ragged, exact: bool = False) -> Sums:
    """Sum what the features of ``N`` texts bring; see :class:`Sums`.

    Args:
        config: the network's shape.
        arrays: every parameter by name.
        features: of ``N`` texts.
        exact: take linear maps in double precision, so that a token brings the same numbers in whatever
            company, and sums can be subtracted from each other.
    """
    if exact:
        arrays = {
            name: array if name == EMBEDDING else array.astype(np.float64) for name, array in arrays.items()
        }
    first = np.zeros((len(features), 2 * config.width))
    counts = None
    if config.readout == "cls":
        filled = np.flatnonzero(features.lengths)
        starts = features.offsets[:-1][filled]
        first[filled] = variants_of(config, arrays, features.ids[starts])
        counts = np.ones((len(features.ids), 1), dtype=np.float32)
        counts[starts] = 0  # its magnitude is that of all the others, never a difference

    def values(a: int, b: int) -> Floats:
        found = variants_of(config, arrays, features.ids[a:b])
        return found if counts is None else found * counts[a:b]

    total, squares = segment_sums(features.offsets, 2 * config.width, values)
    words = np.zeros(len(features)), np.zeros((len(features), 0)), np.zeros((len(features), 0))
    if config.context_width:
        words = _context_sums(config, arrays, features)
    linear_svm = np.zeros((len(features), 0))
    if config.linear_svm:
        behind = arrays[EMBEDDING][:, config.wave_width :]
        linear_svm, _ = segment_sums(
            features.offsets, config.n_classes, lambda a, b: behind.take(features.ids[a:b], axis=0)
        )
    return Sums(features.lengths.astype(np.float64), total, squares, first, *words, linear_svm)


def variants_of(config: WaveConfig, arrays: Arrays, ids: NDArray[np.int32]) -> Floats:
    """Both variants of features side by side, ``(T, 2 D)``."""
    table = arrays[EMBEDDING]
    if config.variants == "rows":
        return table.take(ids, axis=0)[:, : config.wave_width]
    rows, index = np.unique(ids, return_inverse=True)  # a linear map once for each distinct one
    return _linear(arrays, "layers.0.variants", table[rows])[index]


def _context_sums(config: WaveConfig, arrays: Arrays, features: Ragged) -> tuple[Numbers, Numbers, Numbers]:
    """Number of words of each text, sum of their states and of the states' squares."""
    n_words = features.n_ordered
    offsets = offsets_of(n_words)
    place = np.arange(offsets[-1]) + np.repeat(features.offsets[:-1] - offsets[:-1], n_words)
    states = _context_states(config, arrays, features.ids[place], offsets)
    return n_words.astype(np.float64), *segment_sums(offsets, config.context_width, lambda a, b: states[a:b])


def _context_states(
    config: WaveConfig, arrays: Arrays, words: NDArray[np.int32], offsets: NDArray[np.int64]
) -> Floats:
    """State of every word in reading order, ``(W, P)``, from the waves between it and its neighbours."""
    rows, index = np.unique(words, return_inverse=True)
    variants = _linear(arrays, "context.variants", arrays[EMBEDDING][rows, : config.wave_width])
    first, second = _halves(variants.take(index, axis=0))  # h, h'
    radius = config.context_radius
    left = np.sqrt(_neighbours(first**2, offsets, range(-radius, 0)))
    right = np.sqrt(_neighbours(second**2, offsets, range(1, radius + 1)))
    overlay = _overlay(config, (first, second), (left, right))
    return _gelu(_linear(arrays, "context.linear", _norm(arrays, "context.norm", overlay)))


def energies(config: WaveConfig, arrays: Arrays, ids: NDArray[np.int32]) -> Numbers:
    """Energy of features, ``(T,)``: squares of both variants, summed over the dimensions."""
    result: Numbers = (variants_of(config, arrays, ids).astype(np.float64) ** 2).sum(axis=1)
    return result


# ---- from sums to logits ----


def logits(config: WaveConfig, arrays: Arrays, of: Sums) -> Floats:
    """Logits of texts, ``(N, C)``, from their sums."""
    if config.readout == "text":
        real, imaginary = _mean_and_deviation(of.n_features, of.total, of.squares)
    elif config.readout == "cls":  # its own value, and the magnitude of all the others
        real, imaginary = of.first.astype(np.float32), np.sqrt(np.maximum(of.squares, 0)).astype(np.float32)
    else:
        raise ValueError(f"expected read-out cls or text, found {config.readout!r}")
    overlay = _overlay(config, _halves(real), _halves(imaginary))
    result = _linear(arrays, "head", _norm(arrays, "norm", _restore(config, arrays, overlay)))
    if config.context_width:
        context = _mean_and_deviation(of.n_words, of.context_total, of.context_squares)
        result += _linear(arrays, "context.head", np.concatenate(context, axis=1))
    if config.linear_svm:
        share = 1 / np.sqrt(np.maximum(of.n_features, 1))[:, None]
        superposed = (of.linear_svm * share).astype(np.float32)
        result += superposed * arrays["linear_svm.weight"] + arrays["linear_svm.bias"]
    return result


def probabilities(logits: NDArray[Any], multi_label: bool) -> NDArray[Any]:
    """Probabilities of logits ``(..., C)``, of the same shape and type.

    Args:
        logits: of the classes.
        multi_label: whether each class is decided by itself, a sigmoid each; else their shares of a softmax.
    """
    if multi_label:
        powers = np.exp(-np.abs(logits))
        sigmoids: NDArray[Any] = np.where(logits < 0, powers, 1) / (1 + powers)
        return sigmoids
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: NDArray[Any] = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def _mean_and_deviation(count: Numbers, total: Numbers, squares: Numbers) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each text's tokens; zero for an empty text."""
    share = 1 / np.maximum(count, 1)[:, None]
    mean = total * share
    variance = squares * share - mean**2
    return mean.astype(np.float32), np.sqrt(np.maximum(variance, 0)).astype(np.float32)


def _overlay(config: WaveConfig, real: Any, imaginary: Any) -> Floats:
    """Both waves' interference or modulation, ``concat(Re, Im)``."""
    (w, w2), (s, s2) = real, imaginary
    if config.operation == "modulation":
        return np.concatenate([w * w2 - s * s2, w * s2 + w2 * s], axis=1)
    if config.operation == "interference":
        return np.concatenate([w + w2, s + s2], axis=1)
    raise ValueError(f"expected interference or modulation, found {config.operation!r}")


def _restore(config: WaveConfig, arrays: Arrays, overlay: Floats) -> Floats:
    """Complex to real, ``g`` of eq. 8."""
    if config.restore == "linear":
        return _linear(arrays, "layers.0.restore.linear", overlay)
    real, imaginary = _halves(overlay)
    return real if config.restore == "real" else np.sqrt(real**2 + imaginary**2)


# ---- building blocks ----


def segment_sums(offsets: NDArray[np.int64], width: int, values_of: Any) -> tuple[Numbers, Numbers]:
    """Sum each text's values and their squares, ``(N, width)`` each: some texts at a time, as a product.

    Args:
        offsets: ``(N + 1,)`` int64.
        width: of the values.
        values_of: gives values ``a`` to ``b``, ``(b - a, width)``.
    """
    n = len(offsets) - 1
    total, squares = np.zeros((n, width)), np.zeros((n, width))
    for first, last in groups(offsets, FEATURES_CHUNK):
        values = values_of(offsets[first], offsets[last]).astype(np.float64)
        if last == first + 1:
            total[first] = values.sum(axis=0)
            squares[first] = np.square(values, out=values).sum(axis=0)
            continue
        texts = np.repeat(np.arange(last - first), offsets[first + 1 : last + 1] - offsets[first:last])
        belongs = (texts == np.arange(last - first)[:, None]).astype(np.float64)  # (texts, T)
        total[first:last] = belongs @ values
        squares[first:last] = belongs @ np.square(values, out=values)
    return total, squares


def groups(offsets: NDArray[np.int64], most: int) -> Iterator[tuple[int, int]]:
    """Cut the texts into runs of at most so many features, or of one text."""
    first, n = 0, len(offsets) - 1
    while first < n:
        end = offsets[first] + most
        last = n if offsets[n] <= end else int(np.searchsorted(offsets, end, side="right")) - 1
        last = max(last, first + 1)
        yield first, last
        first = last


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


def _halves(both: Floats) -> tuple[Floats, Floats]:
    """Both variants, or the real and the imaginary part, which lie side by side."""
    middle = both.shape[1] // 2
    return both[:, :middle], both[:, middle:]


def _linear(arrays: Arrays, name: str, values: Floats) -> Floats:
    result: Floats = values @ arrays[f"{name}.weight"].T + arrays[f"{name}.bias"]
    return result


def _norm(arrays: Arrays, name: str, values: Floats) -> Floats:
    width = values.shape[1]
    centred = values - values.sum(axis=1, keepdims=True) / width
    deviation = np.sqrt((centred * centred).sum(axis=1, keepdims=True) / width + NORM_EPSILON)
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
