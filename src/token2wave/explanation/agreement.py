"""Which parts of a text have waves in phase: the interference term of pairs (arXiv 2411.02674v4, eq. 5)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.config import require_choice
from token2wave.errors import ConfigError, require_text
from token2wave.explanation.effects import UNITS
from token2wave.explanation.removal import part_bounds, visible_tokens
from token2wave.features import PairFeatures
from token2wave.inference.model import Model

MAX_TOKENS = 2_048  # of a text: every pair of them is compared


class PartAgreement(NamedTuple):
    """How well the waves of ``P`` parts of a text agree.

    Attributes:
        spans: ``(P, 2)`` int64, first and past-the-last character of each part.
        values: ``(P, P)`` float64 in [-1, 1], the agreement of a row's first wave with a column's second.
    """

    spans: NDArray[np.int64]
    values: NDArray[np.float64]


def part_agreement(model: Model, text: str, unit: str = "word") -> PartAgreement:
    """Compute how well the waves of each two parts of a text agree.

    A token has two waves, ``G exp(i alpha)`` and ``G' exp(i alpha')``. Of two tokens, the first wave of one
    and the second of the other add up to more than both where they are in phase (eq. 5). Their agreement is
    ``sum_d G G' cos(alpha - alpha') / sum_d G G'`` over the dimensions: 1 if they are in phase in all of
    them, -1 if they are opposed in all. That of two parts is the mean over their tokens. In a long text all
    tokens have most of ``G`` in common, so every pair is near 1, and differences tell.

    Args:
        model: a classifier of single texts whose network compiles.
        text: any string, of at most 2,048 tokens.
        unit: ``token``, ``word`` or ``sentence``.

    Raises:
        ConfigError: the network does not compile, the unit is unknown, the model is of pairs, or the text is
            longer.
        InputError: ``text`` is not a string.
    """
    require_text(text)
    require_choice(unit, "unit", UNITS)
    if isinstance(model.features, PairFeatures):
        raise ConfigError("expected a model of single texts, found one of pairs", location="model")
    network, features = model.compiled(), model.require_texts("explain")
    tokens = visible_tokens(model, text)
    n_tokens = len(tokens.codes)
    if n_tokens > MAX_TOKENS:
        problem = f"expected at most {MAX_TOKENS:,} tokens, found {n_tokens:,}"
        raise ConfigError(problem, location="text", hint="give a passage of it")
    every = network.variants(features([text]).ids).astype(np.float64)
    first_energy, second_energy = np.split(np.square(every).sum(axis=0), 2)
    features_of_tokens = features.spans(tokens.codes)
    alone = features_of_tokens.n_tokens == 1
    waves = np.zeros((n_tokens, every.shape[1]))
    waves[features_of_tokens.first[alone]] = network.variants(features_of_tokens.rows[alone])
    first, second = np.split(waves, 2, axis=1)  # w and w', the real parts
    rest, other_rest = (
        np.sqrt(np.maximum(energy - np.square(real), 0))
        for energy, real in ((first_energy, first), (second_energy, second))
    )
    largest = float(np.sqrt(first_energy * second_energy).sum())
    agreement = (first @ second.T + rest @ other_rest.T) / (largest if largest > 0 else 1.0)
    bounds = part_bounds(tokens, text, unit)
    if not len(bounds):
        return PartAgreement(np.zeros((0, 2), np.int64), np.zeros((0, 0)))
    lengths = np.diff(bounds, axis=1)
    for axis in (0, 1):
        agreement = np.add.reduceat(agreement, bounds[:, 0], axis=axis)
    agreement /= lengths * lengths.T
    spans = np.stack([tokens.starts[bounds[:, 0]], tokens.ends[bounds[:, 1] - 1]], axis=1)
    return PartAgreement(spans, agreement)
