"""The operations of two waves: interference (a sum) and modulation (a product).

Equation numbers are those of arXiv 2411.02674v4.
"""

from __future__ import annotations

import torch
from torch import Tensor

from token2wave.waves.representation import Wave


def interference(first: Wave, second: Wave) -> Wave:
    """Add two waves (eqs. 3 and 4): ``Re = w + w'``, ``Im = s + s'``.

    Args:
        first: wave of any shape.
        second: wave of a shape that broadcasts with it.
    """
    return Wave(first.real + second.real, first.imaginary + second.imaginary)


def modulation(first: Wave, second: Wave) -> Wave:
    """Multiply two waves (eqs. 6 and 7): ``Re = w w' - s s'``, ``Im = w s' + w' s``.

    Magnitudes multiply and phases add, so the product's *magnitude* ``G G'`` alone carries no phase.

    Args:
        first: wave of any shape.
        second: wave of a shape that broadcasts with it.
    """
    return Wave(
        first.real * second.real - first.imaginary * second.imaginary,
        first.real * second.imaginary + second.real * first.imaginary,
    )


def interference_term(first: Wave, second: Wave) -> Tensor:
    """Energy that the sum has beyond the two waves' own (eq. 5): ``2 G G' cos(alpha - alpha')``."""
    return 2 * (first.real * second.real + first.imaginary * second.imaginary)


def energy_shares(tokens: Tensor, magnitudes: Tensor) -> Tensor:
    """Fraction of a segment's energy that a token has, ``cos^2(alpha) = w^2 / G^2``.

    Args:
        tokens: ``(T, D)``, the embeddings ``w``.
        magnitudes: ``(T, D)``, each token's ``G``.

    Returns:
        ``(T, D)`` in ``[0, 1]``. Over a segment the fractions of a dimension sum to one, or to zero if
        the segment has no energy in it.
    """
    ratio = tokens / torch.where(magnitudes > 0, magnitudes, 1)
    return ratio.square()
