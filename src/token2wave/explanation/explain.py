"""Computes exactly how a prediction changes when a part of the text is removed; nothing is sampled."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from token2wave.config import require_choice
from token2wave.errors import ConfigError, require_text
from token2wave.explanation.effects import UNITS, Explanation, TextPart
from token2wave.features import WordPieceFeatures
from token2wave.features.ragged import offsets_of
from token2wave.features.tokens import Tokens
from token2wave.features.wordpiece import UNKNOWN
from token2wave.inference.model import Model
from token2wave.inference.passages import Codes, Passages
from token2wave.inference.reference import CONTEXT_CHUNK, require_finite
from token2wave.inference.reference import probabilities as to_probabilities
from token2wave.inference.sums import Sums

SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=。)|\n+")
MAX_SECONDS = 2.0  # for the texts of a report
Numbers = NDArray[np.float64]
Bounds = NDArray[np.int64]  # first and past-the-last token of each part, (P, 2)


@np.errstate(all="ignore")
def explain(
    model: Model, text: str, unit: str = "word", should_stop: Callable[[], bool] | None = None
) -> Explanation:
    """Explain the prediction of one text.

    The effect of a part is the probability of a class minus its probability without the part: its features
    are removed, and the tokens on both sides become neighbours. The network needs only sums, so only the
    features around the part are summed again. A WordPiece text that was cut at ``max_tokens`` stays cut.

    Args:
        model: its network must compile.
        text: any string.
        unit: ``token``, ``word`` or ``sentence``.
        should_stop: asked between chunks of parts; once it is true, the explanation ends there.

    Raises:
        ConfigError: the network does not compile, or the unit is unknown.
        InputError: ``text`` is not a string.
        ModelFileError: the weights overflow, so a logit is not finite.
    """
    require_text(text)
    require_choice(unit, "unit", UNITS)
    network = model.compiled()
    tokens = _visible_tokens(model, text)
    bounds = _bounds(tokens, text, unit)
    passages = Passages(model.features, network)
    sums = passages.add_oov(passages.sums([tokens.codes]), tokens.oov)
    logits = network.logits_of(sums)[0].astype(np.float64)
    without = _logits_without(passages, tokens, bounds, sums, should_stop).astype(np.float64)  # (P, C)
    energy, known = _energy_fractions(passages, tokens, bounds)
    multi_label = network.config.multi_label
    probabilities = to_probabilities(require_finite(logits), multi_label)
    effects = probabilities - to_probabilities(require_finite(without), multi_label)
    parts = tuple(
        TextPart(
            int(tokens.starts[first]),
            int(tokens.ends[last - 1]),
            float(energy[i]),
            tuple(effects[i].tolist()),
            tuple((logits - without[i]).tolist()),
            bool(known[i]),
        )
        for i, (first, last) in enumerate(bounds[: len(without)])
    )
    numbers = tuple(probabilities.tolist()), tuple(logits.tolist())
    is_complete, is_known = len(parts) == len(bounds), bool(sums.n_known[0] > 0)
    return Explanation(text, unit, model.label_names, *numbers, parts, is_complete, is_known)


def limited_explainer(
    models: Sequence[Model], model_of_text: NDArray[np.integer], texts: Sequence[str]
) -> Callable[[int, int, int | None], list[tuple[str, float]]]:
    """Return a function that explains texts until :data:`MAX_SECONDS` are over, and then gives no words.

    The function takes the index of a text, that of a class, and that of another to compare with, or None. It
    gives pieces of the text as :meth:`Explanation.pieces`. A prediction of one class is compared with the
    next probable class, if there is no other.

    Args:
        models: without one, and where a network does not compile, there are no words.
        model_of_text: ``(N,)``, the index of the model of each text.
        texts: ``N`` strings.
    """
    try:
        models = [replace(model, network=model.compiled()) for model in models]
    except ConfigError:
        models = []
    deadline = time.perf_counter() + MAX_SECONDS

    def is_late() -> bool:
        return time.perf_counter() > deadline

    def pieces(index: int, label: int, against: int | None) -> list[tuple[str, float]]:
        if not models or is_late():
            return []
        model = models[model_of_text[index]]
        explanation = explain(model, texts[index], should_stop=is_late)
        if against is None and not model.multi_label:
            against = next(other for other in explanation.ranking() if other != label)
        return explanation.pieces(label, against) if explanation.complete else []

    return pieces


def _visible_tokens(model: Model, text: str) -> Tokens:
    """Return the tokens that the prediction sees; WordPiece cuts long texts."""
    tokens = model.features.tokens(text)
    if isinstance(model.features, WordPieceFeatures):
        tokens = tokens.take(np.arange(min(len(tokens.codes), model.features.config.max_tokens - 2)))
    return tokens.take(np.flatnonzero(tokens.ends > tokens.starts))


def _bounds(tokens: Tokens, text: str, unit: str) -> Bounds:
    """Find the first and past-the-last token of each part."""
    if unit == "sentence":
        ends = [match.end() for match in SENTENCE_END.finditer(text)]
        groups = np.searchsorted(np.array(ends, dtype=np.int64), tokens.starts, side="right")
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
    should_stop: Callable[[], bool] | None,
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
    features = passages.features.of_tokens(codes, np.array([0, len(codes)]))
    words = features.ids[: features.n_ordered[0]]
    n_known = offsets_of(passages.features.known(codes).astype(np.int64))
    n_before = min(len(words) - n_known[-1], 1)  # [CLS]; [SEP] follows the tokens
    return passages.network.context_sums_without(words, n_known[bounds] + n_before)


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
