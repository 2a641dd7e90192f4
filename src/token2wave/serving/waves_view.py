"""The waves of a text's tokens, as the page draws them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from token2wave.config import require
from token2wave.explanation.explain import seen_tokens
from token2wave.inference.reference import variants_of

if TYPE_CHECKING:
    from token2wave.classifier import Classifier

MAX_DIMENSIONS, MAX_TOKENS = 48, 60


def token_waves(classifier: Classifier, text: str, variant: int = 0) -> dict[str, Any]:
    """Magnitudes and phases of the tokens that the model knows, plain data for JSON.

    The magnitude of dimension ``k`` is ``G[k] = sqrt(sum_j w[j,k]^2)`` over all features of the text; the
    phase of token ``j`` is the angle from 0 to pi with cosine ``w[j,k] / G[k]`` and sine ``s[j,k] / G[k]``
    (``docs/model.md``).

    Args:
        classifier: its network must compile.
        text: any string.
        variant: 0 or 1: which of a token's two waves.

    Returns:
        ``magnitudes``, of at most 48 dimensions, the largest first; ``tokens``, at most 60, in reading order:
        ``start`` and ``end`` in code points, and ``phases`` in the same dimensions.

    Raises:
        ConfigError: the network does not compile, or there is no such variant.
        TypeError: ``text`` is no string.
    """
    if not isinstance(text, str):
        raise TypeError(f"expected one string, found {type(text).__name__}")
    require(variant in (0, 1), "variant", "0 or 1", variant)
    tables = classifier.compiled()
    config, arrays = tables.config, tables.arrays()
    wanted = slice(variant * config.width, (variant + 1) * config.width)
    tokens = seen_tokens(classifier, text)
    every = classifier.features.of_tokens(tokens.codes, np.array([0, len(tokens.codes)]))
    w = variants_of(config, arrays, every.ids)[:, wanted].astype(np.float64)  # (T, D)
    energies = (w**2).sum(axis=0)
    dimensions = np.argsort(-energies, kind="stable")[:MAX_DIMENSIONS]
    spans = classifier.features.spans(tokens.codes)
    alone = np.flatnonzero(spans.n_tokens == 1)[:MAX_TOKENS]
    own = variants_of(config, arrays, spans.rows[alone])[:, wanted].astype(np.float64)[:, dimensions]
    # A difference has no digits where one token holds nearly all the energy; a picture needs none there.
    rest = np.sqrt(np.maximum(energies[dimensions] - own**2, 0))
    phases = np.arctan2(rest, own).tolist()
    return {
        "magnitudes": np.sqrt(energies[dimensions]).tolist(),
        "tokens": [
            {"start": int(tokens.starts[place]), "end": int(tokens.ends[place]), "phases": angles}
            for place, angles in zip(spans.first[alone], phases, strict=True)
        ],
    }
