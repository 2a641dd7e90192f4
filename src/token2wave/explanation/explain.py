"""Computes exactly how a prediction changes when a part of the text is removed; nothing is sampled."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.config import require_choice
from token2wave.errors import ConfigError, require_text
from token2wave.explanation.effects import UNITS, Explanation, TextPart
from token2wave.explanation.removal import part_logits
from token2wave.features import PairFeatures, WordFeatures
from token2wave.features.pairs import show_pair, split_pair
from token2wave.inference.model import Model
from token2wave.inference.reference import require_finite
from token2wave.inference.windows import Windows, window_spans

MAX_SECONDS = 2.0  # for the texts of a report


@np.errstate(all="ignore")
def explain(
    model: Model, text: str, unit: str = "word", should_stop: Callable[[], bool] | None = None
) -> Explanation:
    """Explain the prediction of one text.

    The effect of a part is the probability of a class minus its probability without the part: its features
    are removed, and the tokens on both sides become neighbours. A WordPiece text that was cut at
    ``max_tokens`` stays cut.

    Args:
        model: its network must compile.
        text: any string; a pair is one string (:mod:`token2wave.features.pairs`).
        unit: ``token``, ``word`` or ``sentence``.
        should_stop: asked between chunks of parts; once it is true, the explanation ends there.

    Raises:
        ConfigError: the network does not compile, or the unit is unknown.
        InputError: ``text`` is not a string.
        ModelFileError: the weights overflow, so a logit is not finite.
    """
    require_text(text)
    if isinstance(model.features, PairFeatures):
        split_pair(text)
    require_choice(unit, "unit", UNITS)
    parts = part_logits(model, text, unit, should_stop)
    logits = require_finite(parts.logits.astype(np.float64))
    probabilities = model.class_probabilities(logits).astype(np.float64)  # (1 + P, C)
    logits = model.class_logits(logits)
    passage = strongest_window(model, text, int(logits[0].argmax()))
    columns: tuple[Any, ...] = (
        *parts.spans.T.tolist(),
        parts.energy.tolist(),
        map(tuple, (probabilities[0] - probabilities[1:]).tolist()),
        map(tuple, (logits[0] - logits[1:]).tolist()),
        parts.known.tolist(),
    )
    if parts.shared is not None:
        columns = (*columns, parts.shared.tolist())
        text = show_pair(text)
    return Explanation(
        text,
        unit,
        model.label_names,
        tuple(probabilities[0].tolist()),
        tuple(logits[0].tolist()),
        tuple(map(TextPart, *columns)),
        parts.complete,
        parts.is_known,
        passage,
    )


def strongest_window(model: Model, text: str, label: int) -> tuple[int, int] | None:
    """First and past-the-last character of a text's strongest window for a class, by the window level.

    None if the model has no such level, or the text no token.
    """
    size, features = model.network.config.window_words, model.features
    if not size or not isinstance(features, WordFeatures):
        return None
    codes = features.tokens(text).codes
    spans = window_spans(features, text, size)
    if not len(spans):
        return None
    windows = Windows.of(features.of_tokens(codes, np.array([0, len(codes)])), size)
    start, end = spans[model.compiled().window_scores(windows)[:, label].argmax()].tolist()
    return start, end


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
