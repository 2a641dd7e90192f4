"""Computes the logits of a text without each of its parts: in the native core, or in numpy."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.features import PairFeatures, WordFeatures, WordPieceFeatures
from token2wave.features.hashed_texts import CHARACTERS_CHUNK
from token2wave.features.pairs import SEPARATOR
from token2wave.features.ragged import offsets_of
from token2wave.features.tokens import Tokens
from token2wave.features.wordpiece import UNKNOWN
from token2wave.inference.compiled import CompiledNetwork
from token2wave.inference.model import Model
from token2wave.inference.passages import Codes, Passages
from token2wave.inference.reference import CONTEXT_CHUNK
from token2wave.inference.sums import Sums

SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=。)|\n+")
Numbers = NDArray[np.float64]
Bounds = NDArray[np.int64]  # first and past-the-last token of each part, (P, 2)
ShouldStop = Callable[[], bool] | None


class PartLogits(NamedTuple):
    """What each of ``P`` parts does to the logits of a text.

    Attributes:
        spans: ``(P, 2)`` int64, first and past-the-last character of each part.
        energy: ``(P,)`` float64, fractions of the text's energy.
        known: ``(P,)`` bool, whether the model knows any token of each part.
        logits: ``(1 + P, C)`` float32, of the text, then of the text without each part.
        complete: whether these are all parts.
        is_known: whether the model knows anything of the text.
        shared: ``(P,)`` bool, whether both texts of a pair have each part; None for single texts.
    """

    spans: NDArray[np.int64]
    energy: Numbers
    known: NDArray[np.bool_]
    logits: NDArray[np.float32]
    complete: bool
    is_known: bool
    shared: NDArray[np.bool_] | None = None


def part_logits(model: Model, text: str, unit: str, should_stop: ShouldStop) -> PartLogits:
    """Compute the logits of a text without each of its parts, with the native core if it supports the model.

    Args:
        model: its network must compile.
        text: any string.
        unit: ``token``, ``word`` or ``sentence``.
        should_stop: asked between chunks of parts; once it is true, there are fewer parts.

    Raises:
        ConfigError: the network does not compile.
    """
    network = model.compiled()
    if isinstance(model.features, PairFeatures):
        return _part_logits_of_pair(model.features, network, text, unit, should_stop)
    is_native = network.runs_natively and not network.config.window_words
    if is_native and isinstance(model.features, WordFeatures):
        ends = sentence_ends(text) if unit == "sentence" else None  # every token is a word
        return PartLogits(*network.logits_without_parts(model.features, text, ends, should_stop))
    return part_logits_in_numpy(model, network, text, unit, should_stop)


@np.errstate(all="ignore")
def _part_logits_of_pair(
    features: PairFeatures, network: CompiledNetwork, text: str, unit: str, should_stop: ShouldStop
) -> PartLogits:
    """Compute the same for a pair: each pair without a part is a pair of its own, with a blank there."""
    tokens = features.tokens(text)
    middle = text.index(SEPARATOR)
    bounds = part_bounds(tokens, text, unit, np.array([middle]))
    spans = np.stack([tokens.starts[bounds[:, 0]], tokens.ends[bounds[:, 1] - 1]], axis=1)
    encoded = features([text])
    logits = [network.logits(encoded)]
    n_at_once = min(max(CHARACTERS_CHUNK // len(text), 1), CONTEXT_CHUNK)  # a long pair can be stopped, too
    for chunk in range(0, len(spans), n_at_once):
        if should_stop is not None and should_stop():
            break
        some = spans[chunk : chunk + n_at_once].tolist()
        logits.append(network.logits(features([f"{text[:start]} {text[end:]}" for start, end in some])))
    rows, shared = features.word_rows(text)
    energies = np.where(rows >= 0, network.energies(np.maximum(rows, 0)), 0.0)
    energies /= max(float(energies.sum()), np.finfo(np.float64).tiny)
    totals = [offsets_of(mask.astype(np.int64)) for mask in (rows >= 0, ~shared)]
    known, alone = (total[bounds[:, 1]] > total[bounds[:, 0]] for total in totals)
    running = np.append(0.0, np.cumsum(energies))
    energy = running[bounds[:, 1]] - running[bounds[:, 0]]
    result, n = np.concatenate(logits), sum(map(len, logits)) - 1
    is_known = bool(features.n_known(encoded)[0] > 0)
    return PartLogits(spans[:n], energy[:n], known[:n], result, n == len(bounds), is_known, ~alone[:n])


@np.errstate(all="ignore")
def part_logits_in_numpy(
    model: Model, network: CompiledNetwork, text: str, unit: str, should_stop: ShouldStop
) -> PartLogits:
    """Compute the same in numpy, the slow twin of the core.

    The network needs only sums, so only the features around a part are summed again.
    """
    tokens = visible_tokens(model, text)
    bounds = part_bounds(tokens, text, unit)
    passages = Passages(model.require_texts("explain"), network)
    sums = passages.add_oov(passages.sums([tokens.codes]), tokens.oov)
    without = _logits_without(passages, tokens, bounds, sums, should_stop)
    energy, known = _energy_fractions(passages, tokens, bounds)
    spans = np.stack([tokens.starts[bounds[:, 0]], tokens.ends[bounds[:, 1] - 1]], axis=1)
    logits, n = np.concatenate([network.logits_of(sums), without]), len(without)
    if network.config.window_words:
        words, places = _words_of(passages, tokens.codes)
        removed = np.concatenate([np.zeros((1, 2), np.int64), places[bounds[:n]]])  # at first no word
        logits += network.extremes_without(words, removed).astype(np.float32)
    return PartLogits(spans[:n], energy[:n], known[:n], logits, n == len(bounds), bool(sums.n_known[0] > 0))


def sentence_ends(text: str) -> NDArray[np.int64]:
    """Where the sentences of a text end, in characters; the last one has no end."""
    return np.array([match.end() for match in SENTENCE_END.finditer(text)], dtype=np.int64)


def visible_tokens(model: Model, text: str) -> Tokens:
    """Return the tokens that the prediction sees; WordPiece cuts long texts."""
    tokens = model.features.tokens(text)
    if isinstance(model.features, WordPieceFeatures):
        tokens = tokens.take(np.arange(min(len(tokens.codes), model.features.config.max_tokens - 2)))
    return tokens.take(np.flatnonzero(tokens.ends > tokens.starts))


def part_bounds(tokens: Tokens, text: str, unit: str, further_ends: Bounds | None = None) -> Bounds:
    """Find the first and past-the-last token of each part; ``further_ends`` are ends of sentences, too."""
    if unit == "sentence":
        ends = sentence_ends(text)
        ends = ends if further_ends is None else np.sort(np.concatenate([ends, further_ends]))
        groups = np.searchsorted(ends, tokens.starts, side="right")
    else:
        groups = tokens.words if unit == "word" else np.arange(len(tokens.codes))
    # Tokens within one character, such as the letters of a Hangul syllable, make one part.
    ended = np.maximum.accumulate(np.append(0, tokens.ends))[:-1]
    firsts = np.flatnonzero((np.diff(groups, prepend=-1) != 0) & (tokens.starts >= ended))
    if not len(groups):
        return np.zeros((0, 2), int)
    return np.stack([firsts, np.append(firsts[1:], len(groups))], axis=1)


def _logits_without(
    passages: Passages,
    tokens: Tokens,
    bounds: Bounds,
    sums: Sums,
    should_stop: ShouldStop,
) -> NDArray[np.float32]:
    """Compute the logits of the text without each part, ``(P, C)``, from the sums of the whole text.

    If it is stopped, there are fewer parts.
    """
    codes, network, reach = tokens.codes, passages.network, passages.n_tokens
    context = _context_without(passages, codes, bounds)
    if tokens.oov is not None:  # running totals of what each token adds by the OOV table
        svm_totals = np.cumsum(network.oov_weights(tokens.oov.ids), axis=0)
        svm = np.concatenate([np.zeros((1, network.config.n_classes)), svm_totals])[tokens.oov.offsets]
        oov_totals = svm, offsets_of(tokens.oov.lengths > 0)
    logits = [np.zeros((0, network.config.n_classes), dtype=np.float32)]
    for chunk in range(0, len(bounds), CONTEXT_CHUNK):
        if should_stop is not None and should_stop():
            break
        first, last = bounds[chunk : chunk + CONTEXT_CHUNK].T
        # The tokens of each part, with those around it that share n-grams with it.
        starts, ends = np.maximum(first - reach, 0), np.minimum(last + reach, len(codes))
        offsets = offsets_of(ends - starts)
        parts = np.repeat(np.arange(len(first)), ends - starts)
        index = np.arange(offsets[-1]) + (starts - offsets[:-1])[parts]
        outside = (index < first[parts]) | (index >= last[parts])
        rest_offsets = offsets_of(np.bincount(parts[outside], minlength=len(first)))
        full = network.sums(passages.features.of_tokens(codes[index], offsets), context=False)
        rest = network.sums(passages.features.of_tokens(codes[index[outside]], rest_offsets), context=False)
        without = sums - full + rest
        if tokens.oov is not None:
            svm, n_oov = oov_totals
            without = replace(
                without,
                linear_svm=without.linear_svm - svm[last] + svm[first],
                n_oov=without.n_oov - n_oov[last] + n_oov[first],
            )
        if context is not None:
            n_words, total, squares = next(context)
            without = replace(without, n_words=n_words, context_total=total, context_squares=squares)
        logits.append(network.logits_of(without))
    return np.concatenate(logits)


def _context_without(
    passages: Passages, codes: Codes, bounds: Bounds
) -> Iterator[tuple[Numbers, Numbers, Numbers]] | None:
    """Compute the context sums of the text without each part, chunk by chunk; None without a context."""
    if not passages.network.config.context_width or not len(bounds):
        return None
    words, places = _words_of(passages, codes)
    return passages.network.context_sums_without(words, places[bounds])


def _words_of(passages: Passages, codes: Codes) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The rows of a text's words, ``(W,)``, and how many of them stand before each token, ``(L + 1,)``."""
    features = passages.features.of_tokens(codes, np.array([0, len(codes)]))
    words = features.ids[: features.n_ordered[0]]
    n_known = offsets_of(passages.features.known(codes).astype(np.int64))
    return words, n_known + min(len(words) - n_known[-1], 1)  # [CLS]; [SEP] follows the tokens


def _energy_fractions(
    passages: Passages, tokens: Tokens, bounds: Bounds
) -> tuple[Numbers, NDArray[np.bool_]]:
    """Compute each part's fraction of the energy, and whether the model knows any of its tokens.

    The tokens of an n-gram share its energy equally. [CLS] and [SEP] have none.
    """
    spans = passages.features.spans(tokens.codes)
    span_energy = passages.network.energies(spans.rows) / spans.n_tokens
    energy = np.zeros(len(tokens.codes))
    known = np.zeros(len(tokens.codes), dtype=bool)
    for offset in range(int(spans.n_tokens.max(initial=0))):
        is_long = spans.n_tokens > offset
        np.add.at(energy, spans.first[is_long] + offset, span_energy[is_long])
    known[spans.first[spans.n_tokens == 1]] = True
    if tokens.oov is not None:
        known |= tokens.oov.lengths > 0
    if isinstance(passages.features, WordPieceFeatures):
        known &= tokens.codes != passages.features.vocabulary.index(UNKNOWN)
    total = energy.sum()
    running = np.concatenate([[0.0], np.cumsum(energy / total if total > 0 else energy)])
    n_known = offsets_of(known.astype(np.int64))
    return running[bounds[:, 1]] - running[bounds[:, 0]], n_known[bounds[:, 1]] > n_known[bounds[:, 0]]
