"""Shows exactly how a prediction changes when a part of the text is removed. Nothing is sampled."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from token2wave.config import require_choice
from token2wave.explanation.effects import UNITS, Explanation, Part
from token2wave.features import WordPieceFeatures
from token2wave.features.ragged import offsets_of
from token2wave.features.tokens import Tokens
from token2wave.features.wordpiece import UNKNOWN
from token2wave.inference.model import Model
from token2wave.inference.passages import Codes, Passages
from token2wave.inference.reference import probabilities as to_probabilities

SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=。)|\n+")
PARTS_CHUNK = 512
Numbers = NDArray[np.float64]
Bounds = NDArray[np.int64]  # first and past-the-last token of each part, (P, 2)


def explain(model: Model, text: str, unit: str = "word") -> Explanation:
    """Explain the prediction of one text.

    The effect of a part is the probability of a class minus its probability without the part: its features
    are removed, and the tokens on both sides become neighbours. The network needs only sums, so only the
    features around the part are summed again. A WordPiece text that was cut at ``max_tokens`` stays cut.

    Args:
        model: a model whose network compiles.
        text: any string.
        unit: ``token``, ``word`` or ``sentence``.

    Raises:
        ConfigError: the network does not compile, or there is no such unit.
        TypeError: ``text`` is not a string.
    """
    if not isinstance(text, str):
        raise TypeError(f"expected one string, found {type(text).__name__}")
    require_choice(unit, "unit", UNITS)
    network = model.compiled()
    tokens = seen_tokens(model, text)
    bounds = _bounds(tokens, text, unit)
    passages = Passages(model.features, network)
    whole = network.logits_of(passages.sums([tokens.codes]))[0].astype(np.float64)
    without = _logits_without(passages, tokens, bounds).astype(np.float64)  # (P, C)
    shares, known = _energy_shares(passages, tokens, bounds)
    multi_label = network.config.multi_label
    probabilities = to_probabilities(whole, multi_label)
    effects = probabilities - to_probabilities(without, multi_label)
    parts = [
        Part(
            int(tokens.starts[first]),
            int(tokens.ends[last - 1]),
            float(shares[i]),
            tuple(effects[i].tolist()),
            tuple((whole - without[i]).tolist()),
            bool(known[i]),
        )
        for i, (first, last) in enumerate(bounds)
    ]
    return Explanation(
        text, unit, model.label_names, tuple(probabilities.tolist()), tuple(whole.tolist()), tuple(parts)
    )


def seen_tokens(model: Model, text: str) -> Tokens:
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
    # Pieces of one character, such as the letters of a Hangul syllable, share its place and so make one part.
    ended = np.maximum.accumulate(np.append(0, tokens.ends))[:-1]
    firsts = np.flatnonzero((np.diff(groups, prepend=-1) != 0) & (tokens.starts >= ended))
    return (
        np.stack([firsts, np.append(firsts[1:], len(groups))], axis=1)
        if len(groups)
        else np.zeros((0, 2), int)
    )


def _logits_without(passages: Passages, tokens: Tokens, bounds: Bounds) -> NDArray[np.float32]:
    """Compute the logits of the text without each part, ``(P, C)``."""
    whole = passages.sums([tokens.codes])
    parts = [np.zeros((0, passages.network.config.n_classes), dtype=np.float32)]
    near = _Surroundings(passages, tokens.codes)
    for at in range(0, len(bounds), PARTS_CHUNK):
        full, without = [], []
        for first, last in bounds[at : at + PARTS_CHUNK]:
            left, right = near.before(first), near.after(last)
            full.append(np.concatenate([left, tokens.codes[first:last], right]))
            without.append(np.concatenate([left, right]))
        changed = whole - passages.sums(full) + passages.sums(without)
        parts.append(passages.network.logits_of(changed))
    return np.concatenate(parts)


class _Surroundings:
    """Finds the tokens that share n-grams or neighbours with a part."""

    def __init__(self, passages: Passages, codes: Codes) -> None:
        self.codes, self.n_tokens, self.n_words = codes, passages.n_tokens, passages.n_words
        self.known = np.flatnonzero(passages.features.known(codes)) if self.n_words else np.zeros(0, np.int64)

    def before(self, place: int) -> Codes:
        """Return those before token ``place``."""
        n_known = int(np.searchsorted(self.known, place))
        words = self.known[max(n_known - self.n_words, 0) : n_known]
        return self.codes[np.union1d(words, np.arange(max(place - self.n_tokens, 0), place))]

    def after(self, place: int) -> Codes:
        """Return those from token ``place`` on."""
        n_known = int(np.searchsorted(self.known, place))
        words = self.known[n_known : n_known + self.n_words]
        return self.codes[np.union1d(words, np.arange(place, min(place + self.n_tokens, len(self.codes))))]


def _energy_shares(passages: Passages, tokens: Tokens, bounds: Bounds) -> tuple[Numbers, NDArray[np.bool_]]:
    """Compute each part's fraction of the energy, and whether the model knows any of its tokens.

    An n-gram's energy is that of its tokens in equal parts. [CLS] and [SEP] have none.
    """
    spans = passages.features.spans(tokens.codes)
    share = passages.network.energies(spans.rows) / spans.n_tokens
    energy = np.zeros(len(tokens.codes))
    known = np.zeros(len(tokens.codes), dtype=bool)
    for place in range(int(spans.n_tokens.max(initial=0))):
        long_enough = spans.n_tokens > place
        np.add.at(energy, spans.first[long_enough] + place, share[long_enough])
    known[spans.first[spans.n_tokens == 1]] = True
    if isinstance(passages.features, WordPieceFeatures):
        known &= tokens.codes != passages.features.vocabulary.index(UNKNOWN)
    total = energy.sum()
    running = np.concatenate([[0.0], np.cumsum(energy / total if total > 0 else energy)])
    n_known = offsets_of(known.astype(np.int64))
    return running[bounds[:, 1]] - running[bounds[:, 0]], n_known[bounds[:, 1]] > n_known[bounds[:, 0]]
