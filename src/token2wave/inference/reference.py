"""The reference implementation of a compiled network, in numpy, written as the formulas are.

Symbols: ``D`` is the width, ``P`` the width of the context, ``C`` the number of classes; ``w`` and ``w'`` are
the two variants of a token.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.errors import ModelFileError
from token2wave.features.ragged import Ragged, offsets_of, sum_texts
from token2wave.inference.sums import Sums
from token2wave.models.wave_config import WaveConfig

Floats = NDArray[np.float32]
Numbers = NDArray[np.float64]
Indices = NDArray[np.int64]
Arrays = Mapping[str, Floats]

EMBEDDING, OOV, WINDOWS = "embedding.weight", "oov.weight", "windows.weight"
FEATURES_CHUNK = 1 << 10  # features summed at once: they stay in the cache
MULTIPLICATIONS_OF_ONE_THREAD = 1 << 17  # OpenBLAS takes further threads from twice as many on
CONTEXT_CHUNK = 256  # runs of words that are removed at once
NORM_EPSILON = 1e-5  # PyTorch's
TEXTS_CHUNK = 1 << 15  # features of the texts computed at once: bounds memory


def logits_of_features(config: WaveConfig, arrays: Arrays, features: Ragged) -> Floats:
    """Compute the logits of ``N`` texts, ``(N, C)``, chunk by chunk."""
    return _by_chunks(logits, config, arrays, features)


def waves_of_features(config: WaveConfig, arrays: Arrays, features: Ragged) -> Floats:
    """Compute the waves of ``N`` texts, ``(N, W)``, chunk by chunk."""
    return _by_chunks(waves, config, arrays, features)


def _by_chunks(
    function: Callable[[WaveConfig, Arrays, Sums], Floats],
    config: WaveConfig,
    arrays: Arrays,
    features: Ragged,
) -> Floats:
    if len(features.ids) <= TEXTS_CHUNK:
        return function(config, arrays, sums(config, arrays, features))
    chunks = (features.take(np.arange(*texts)) for texts in groups(features.offsets, TEXTS_CHUNK))
    return np.concatenate([function(config, arrays, sums(config, arrays, chunk)) for chunk in chunks])


# ---- from features to sums ----


@np.errstate(all="ignore")  # `require_finite` refuses what overflows
def sums(
    config: WaveConfig, arrays: Arrays, features: Ragged, exact: bool = False, context: bool = True
) -> Sums:
    """Compute the sums of ``N`` texts; see :class:`Sums`.

    Args:
        config: the network's shape.
        arrays: every parameter by name.
        features: of ``N`` texts.
        exact: compute linear maps in double precision. A token then adds the same numbers in every text, so
            that sums can be subtracted from each other.
        context: also sum the context states; without them, these sums are zero.
    """
    arrays = double_precision(arrays) if exact else arrays
    with_oov, features = features, features.rows(config.n_rows)
    first = np.zeros((len(features), 2 * config.width))
    counts = None
    if config.readout == "cls":
        filled = np.flatnonzero(features.lengths)
        starts = features.offsets[:-1][filled]
        first[filled] = variants_of(config, arrays, features.ids[starts])
        counts = np.ones((len(features.ids), 1), dtype=np.float32)
        counts[starts] = 0  # its magnitude is that of all others, not a difference

    def values(a: int, b: int) -> Floats:
        variants = variants_of(config, arrays, features.ids[a:b])
        return variants if counts is None else variants * counts[a:b]

    total, squares = segment_sums(features.offsets, 2 * config.width, values)
    words = np.zeros(len(features)), np.zeros((len(features), 0)), np.zeros((len(features), 0))
    if config.context_width and context:
        words = _context_sums(config, arrays, features)
    elif config.context_width:
        words = words[0], *np.zeros((2, len(features), config.context_width))
    linear_svm, n_oov = np.zeros((len(features), 0)), np.zeros(len(features))
    if config.linear_svm:
        weights = arrays[EMBEDDING][:, config.wave_width :]
        linear_svm, _ = segment_sums(
            features.offsets, config.n_classes, lambda a, b: weights.take(features.ids[a:b], axis=0)
        )
    if with_oov.n_oov_tokens is not None:
        oov = with_oov.keep(with_oov.ids >= config.n_rows)
        entries = oov.ids - config.n_rows
        weights = arrays[OOV]
        linear_svm += segment_sums(
            oov.offsets, config.n_classes, lambda a, b: weights.take(entries[a:b], axis=0)
        )[0]
        n_oov = with_oov.n_oov_tokens.astype(np.float64)
    lengths = features.lengths.astype(np.float64)
    return Sums(lengths, lengths, lengths, total, squares, first, *words, linear_svm, n_oov)


def double_precision(arrays: Arrays) -> dict[str, NDArray[Any]]:
    """Convert all parameters but the embedding, which is large and exact, to float64."""
    return {name: array if name == EMBEDDING else array.astype(np.float64) for name, array in arrays.items()}


def variants_of(config: WaveConfig, arrays: Arrays, ids: NDArray[np.int32]) -> Floats:
    """Return both variants of features side by side, ``(T, 2 D)``."""
    table = arrays[EMBEDDING]
    if config.variants == "rows":
        return table.take(ids, axis=0)[:, : config.wave_width]
    rows, index = np.unique(ids, return_inverse=True)  # one linear map for each distinct row
    return _linear(arrays, "layers.0.variants", table[rows])[index]


def _context_sums(config: WaveConfig, arrays: Arrays, features: Ragged) -> tuple[Numbers, Numbers, Numbers]:
    """Number of words of each text, the sum of their context states, and the sum of the squares."""
    n_words = features.n_ordered
    offsets = offsets_of(n_words)
    index = np.arange(offsets[-1]) + np.repeat(features.offsets[:-1] - offsets[:-1], n_words)
    states = _context_states(config, arrays, features.ids[index], offsets)
    return n_words.astype(np.float64), *segment_sums(offsets, config.context_width, lambda a, b: states[a:b])


def _context_states(
    config: WaveConfig, arrays: Arrays, words: NDArray[np.int32], offsets: NDArray[np.int64]
) -> Floats:
    """Context state of every word in reading order, ``(W, P)``, from the waves of its neighbours."""
    first, second = _context_variants(config, arrays, words)
    radius = config.context_radius
    left = np.sqrt(_neighbours(first**2, offsets, range(-radius, 0)))
    right = np.sqrt(_neighbours(second**2, offsets, range(1, radius + 1)))
    return _context_readout(config, arrays, (first, second), (left, right))


def _context_variants(config: WaveConfig, arrays: Arrays, words: NDArray[np.int32]) -> tuple[Floats, Floats]:
    """Both variants ``h`` and ``h'`` of every word."""
    rows, index = np.unique(words, return_inverse=True)
    variants = _linear(arrays, "context.variants", arrays[EMBEDDING][rows, : config.wave_width])
    return _halves(variants.take(index, axis=0))


def _context_readout(config: WaveConfig, arrays: Arrays, variants: Any, neighbours: Any) -> Floats:
    """Context states from the variants of words and the magnitudes of their neighbours on both sides."""
    overlay = _overlay(config, variants, neighbours)
    return _gelu(_linear(arrays, "context.linear", _norm(arrays, "context.norm", overlay)))


def context_sums_without(
    config: WaveConfig, arrays: Arrays, words: NDArray[np.int32], removed: NDArray[np.int64]
) -> Iterator[tuple[Numbers, Numbers, Numbers]]:
    """Compute the context sums of one text without each of several runs of its words.

    Only the states of words near a run change, and running totals give the sums of their neighbours.

    Args:
        config: the network's shape.
        arrays: every parameter by name.
        words: all ``W`` words of the text in reading order.
        removed: first and past-the-last word of each run, ``(P, 2)``, in reading order.

    Yields:
        For each chunk of ``CONTEXT_CHUNK`` runs, number of words, sum of their states, and of the squares.
    """
    arrays, radius, n = double_precision(arrays), config.context_radius, len(words)
    states = _context_states(config, arrays, words, np.array([0, n]))
    totals = [_running_totals(values) for values in (states, states**2)]
    variants = _context_variants(config, arrays, words)
    steps = np.arange(radius)
    left, right = (_running_totals(values**2) for values in variants)
    for chunk in range(0, len(removed), CONTEXT_CHUNK):
        start, end = removed[chunk : chunk + CONTEXT_CHUNK].T
        index = np.concatenate(
            [start[:, None] - 1 - steps, end[:, None] + steps], axis=1
        )  # words near each run
        run, near = np.nonzero((index >= 0) & (index < n) & (start < end)[:, None])
        index = index[run, near]
        bounds = start[run], end[run]
        n_removed = bounds[1] - bounds[0]
        place = np.where(index < bounds[0], index, index - n_removed)  # without the run
        n_left = n - n_removed
        magnitudes = (
            np.sqrt(_sum_without(left, bounds, np.maximum(place - radius, 0), place)),
            np.sqrt(_sum_without(right, bounds, place + 1, np.minimum(place + 1 + radius, n_left))),
        )
        changed = _context_readout(config, arrays, tuple(values[index] for values in variants), magnitudes)
        offsets = offsets_of(np.bincount(run, minlength=len(start)))
        new = segment_sums(offsets, config.context_width, lambda a, b, states=changed: states[a:b])
        first, last = np.maximum(start - radius, 0), np.minimum(end + radius, n)
        last = np.where(start < end, last, first)
        old = [total[last] - total[first] for total in totals]
        n_words = (n - (end - start)).astype(np.float64)
        yield n_words, totals[0][-1] - old[0] + new[0], totals[1][-1] - old[1] + new[1]


def _sum_without(totals: Numbers, removed: tuple[Indices, Indices], first: Indices, last: Indices) -> Numbers:
    """Sum rows ``first`` to ``last`` of what is left without rows ``removed``, given running totals."""
    start, end = removed
    gap = totals[end] - totals[start]
    sums = []
    for place in (first, last):
        is_after = place > start
        sums.append(totals[np.where(is_after, place + end - start, place)] - is_after[:, None] * gap)
    return np.maximum(sums[1] - sums[0], 0)  # rounding could make it negative


def _running_totals(values: Floats) -> Numbers:
    """Sums of the first 0, 1, ... W rows, ``(W + 1, width)``."""
    return np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0, dtype=np.float64)])


def energies(config: WaveConfig, arrays: Arrays, ids: NDArray[np.int32]) -> Numbers:
    """Energy of features, ``(T,)``: squares of both variants, summed over the dimensions."""
    return np.asarray(np.square(variants_of(config, arrays, ids), dtype=np.float64).sum(axis=1))


# ---- from sums to waves and logits ----


@np.errstate(all="ignore")
def waves(config: WaveConfig, arrays: Arrays, of: Sums) -> Floats:
    """Return what the branches see of texts, side by side, ``(N, W)``.

    That is real and imaginary part of the text, ``2 D``; those of its context states, ``2 P``; and the scores
    of the linear SVM without its bias, ``C`` with an SVM.
    """
    context = _mean_and_deviation(of.n_words, of.context_total, of.context_squares)
    scores = [_svm_scores(arrays, of)] if config.linear_svm else []
    return np.concatenate([_text_wave(config, of), *context, *scores], axis=1)


@np.errstate(all="ignore")
def logits(config: WaveConfig, arrays: Arrays, of: Sums) -> Floats:
    """Compute the logits of texts, ``(N, C)``, from their sums."""
    overlay = _text_wave(config, of)
    result = _linear(arrays, "head", _norm(arrays, "norm", _restore(config, arrays, overlay)))
    if config.context_width:
        context = _mean_and_deviation(of.n_words, of.context_total, of.context_squares)
        result += _linear(arrays, "context.head", np.concatenate(context, axis=1))
    if config.linear_svm:
        result += _svm_scores(arrays, of) + arrays["linear_svm.bias"]
    return result


def _text_wave(config: WaveConfig, of: Sums) -> Floats:
    """Wave of each text, both variants overlaid, ``concat(Re, Im)``, ``(N, 2 D)``."""
    if config.readout == "text":
        real, imaginary = _mean_and_deviation(of.n_features, of.total, of.squares)
    elif config.readout == "cls":  # its own value, and the magnitude of all the others
        real, imaginary = of.first.astype(np.float32), np.sqrt(np.maximum(of.squares, 0)).astype(np.float32)
    else:
        raise ValueError(f"expected read-out cls or text, found {config.readout!r}")
    return _overlay(config, _halves(real), _halves(imaginary))


def _svm_scores(arrays: Arrays, of: Sums) -> Floats:
    """Score of each class by the linear SVM, without its bias, ``(N, C)``."""
    root = 1 / np.sqrt(np.maximum(of.n_features + of.n_oov, 1))[:, None]
    return np.asarray((of.linear_svm * root).astype(np.float32) * arrays["linear_svm.weight"])


@np.errstate(all="ignore")
def probabilities(logits: NDArray[Any], multi_label: bool) -> NDArray[Any]:
    """Turn logits ``(..., C)`` into probabilities, by sigmoid if ``multi_label``, else by softmax.

    Raises:
        ModelFileError: the weights overflow, so a probability is not finite.
    """
    if multi_label:
        powers = np.exp(-np.abs(logits))
        return require_finite(np.where(logits < 0, powers, 1) / (1 + powers))
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return require_finite(powers / powers.sum(axis=-1, keepdims=True))


def require_finite(numbers: NDArray[Any], what: str = "probabilities") -> NDArray[Any]:
    """Return numbers that a label may rest on: finite weights can overflow, perhaps only for some texts.

    Raises:
        ModelFileError: one of them is not finite.
    """
    if not np.isfinite(numbers).all():
        raise ModelFileError(
            f"expected finite {what}, found others",
            hint="the weights of the model overflow: use another file, or train again",
        )
    return numbers


def _mean_and_deviation(count: Numbers, total: Numbers, squares: Numbers) -> tuple[Floats, Floats]:
    """Mean and standard deviation over each text's tokens; zero for an empty text."""
    factor = 1 / np.maximum(count, 1)[:, None]
    mean = total * factor
    variance = squares * factor - mean**2
    return mean.astype(np.float32), np.sqrt(np.maximum(variance, 0)).astype(np.float32)


def _overlay(config: WaveConfig, real: Any, imaginary: Any) -> Floats:
    """Overlay both waves by interference or modulation, ``concat(Re, Im)``."""
    (w, w2), (s, s2) = real, imaginary
    if config.operation == "modulation":
        return np.concatenate([w * w2 - s * s2, w * s2 + w2 * s], axis=1)
    if config.operation == "interference":
        return np.concatenate([w + w2, s + s2], axis=1)
    raise ValueError(f"expected interference or modulation, found {config.operation!r}")


def _restore(config: WaveConfig, arrays: Arrays, overlay: Floats) -> Floats:
    """Restore a wave to real numbers, ``g`` of eq. 8."""
    if config.restore == "linear":
        return _linear(arrays, "layers.0.restore.linear", overlay)
    real, imaginary = _halves(overlay)
    return real if config.restore == "real" else np.sqrt(real**2 + imaginary**2)


# ---- building blocks ----


def segment_sums(offsets: NDArray[np.int64], width: int, values_of: Any) -> tuple[Numbers, Numbers]:
    """Sum each text's values and their squares, ``(N, width)`` each.

    ``values_of(a, b)`` returns values ``a`` to ``b``, ``(b - a, width)``.
    """
    n = len(offsets) - 1
    total, squares = np.zeros((n, width)), np.zeros((n, width))
    for first, last in groups(offsets, FEATURES_CHUNK):
        values = values_of(offsets[first], offsets[last]).astype(np.float64)
        within = offsets[first : last + 1] - offsets[first]
        total[first:last] = sum_texts(values, within)
        squares[first:last] = sum_texts(np.square(values, out=values), within)
    return total, squares


def product(a: Floats, b: Floats) -> Floats:
    """Multiply matrices ``(N, K)`` and ``(K, M)``, in blocks that a BLAS computes with one thread.

    With more threads OpenBLAS cuts a large product elsewhere, and the order of some sums differs on some
    processors. The same training would then give another file with another number of threads.
    """
    n_columns = max(MULTIPLICATIONS_OF_ONE_THREAD // max(len(b), 1), 1)
    result = np.empty((len(a), b.shape[1]), dtype=np.result_type(a, b))
    for column in range(0, b.shape[1], n_columns):
        some = b[:, column : column + n_columns]
        n_rows = max(MULTIPLICATIONS_OF_ONE_THREAD // max(some.size, 1), 1)
        for row in range(0, len(a), n_rows):
            result[row : row + n_rows, column : column + n_columns] = a[row : row + n_rows] @ some
    return result


def groups(offsets: NDArray[np.int64], max_features: int) -> Iterator[tuple[int, int]]:
    """Cut the texts into runs of at most ``max_features`` features, or of one text."""
    first, n = 0, len(offsets) - 1
    while first < n:
        end = offsets[first] + max_features
        last = n if offsets[n] <= end else int(np.searchsorted(offsets, end, side="right")) - 1
        last = max(last, first + 1)
        yield first, last
        first = last


def _neighbours(values: Floats, offsets: NDArray[np.int64], distances: range) -> Floats:
    """Sum each row's neighbours at the given distances within its text."""
    index = np.arange(len(values))
    starts, ends = np.repeat(offsets[:-1], np.diff(offsets)), np.repeat(offsets[1:], np.diff(offsets))
    total = np.zeros_like(values)
    for distance in distances:
        other = index + distance
        inside = (starts <= other) & (other < ends)
        total[inside] += values[other[inside]]
    return total


def _halves(both: Floats) -> tuple[Floats, Floats]:
    """Split both variants, or the real and imaginary part, which lie side by side."""
    middle = both.shape[1] // 2
    return both[:, :middle], both[:, middle:]


def _linear(arrays: Arrays, name: str, values: Floats) -> Floats:
    return np.asarray(values @ arrays[f"{name}.weight"].T + arrays[f"{name}.bias"])


def _norm(arrays: Arrays, name: str, values: Floats) -> Floats:
    width = values.shape[1]
    centred = values - values.sum(axis=1, keepdims=True) / width
    deviation = np.sqrt((centred * centred).sum(axis=1, keepdims=True) / width + NORM_EPSILON)
    return np.asarray(centred / deviation * arrays[f"{name}.weight"] + arrays[f"{name}.bias"])


def _gelu(values: Floats) -> Floats:
    """GELU, ``x Phi(x)``, with Phi by Abramowitz and Stegun, 7.1.26 (absolute error 1.5e-7)."""
    size = np.abs(values)
    t = 1 / (1 + 0.3275911 / math.sqrt(2) * size)
    series = np.polyval([1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592, 0.0], t)
    tail = 0.5 * series * np.exp(-(values**2) / 2)
    return np.asarray(values * np.where(values < 0, tail, 1 - tail))
