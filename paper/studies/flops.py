r"""Floating-point operations of the networks, by exact formulas.

A multiplication and the addition after it count as two, so a product of matrices ``(a, b) (b, c)`` costs
``2 a b c``. As everywhere in such counts, only products are counted; biases, norms, softmax, and a wave's
squares, sums and roots are ``O(n D)`` (and ``O(heads n^2)`` for the softmax) and are left out, but for
:func:`wave_elementwise`, which shows that they are few. Symbols: ``n`` tokens of a text, ``D`` width, ``C``
classes, ``F`` width of the feed-forward network, ``h`` heads.

A training step costs three times the forward pass: backwards, each product ``Y = X W`` becomes two of the
same size, ``dX = dY W^T`` and ``dW = X^T dY``.

Papers: *The Backpropagation of the Wave Network* (arXiv 2411.06989) gives ``O(n D^2)`` for the wave network
and ``O(n^2 D)`` for the Transformer.
"""

from __future__ import annotations

STEP_OVER_FORWARD = 3


def wave_flops(length: int, width: int, n_classes: int, *, all_tokens: bool) -> int:
    """Forward pass of a :class:`token2wave.models.WaveNetwork` of one layer over one text.

    Two linear variants of every token, ``2 n D (2 D) = 4 n D^2``; complex to real, ``2 (2 D) D = 4 D^2``, for
    every token or for [CLS] alone; the head, ``2 D C``.

    ``all_tokens`` is whether every token's state is computed, as for read-out ``mean``, or that of [CLS]
    alone. Variants are computed once for each distinct token of a batch: ``length`` is their number per text.
    """
    states = length if all_tokens else 1
    return 4 * length * width**2 + 4 * states * width**2 + 2 * width * n_classes


def wave_elementwise(length: int, width: int, *, all_tokens: bool) -> int:
    """What the wave operations themselves cost, by their definitions (modulation), for one text: ``O(n D)``.

    Each of the two variants: a square and an addition to the sum of squares per token and dimension. Then for
    each state a subtraction and a root in each variant, and modulation's four products and two additions.
    """
    states = length if all_tokens else 1
    return 4 * length * width + (4 + 6) * states * width


def self_attention_flops(length: int, width: int) -> int:
    """Forward pass of multi-head self-attention for all tokens of one text: ``8 n D^2 + 4 n^2 D``.

    Projections to queries, keys and values, ``3 (2 n D^2)``, and out of the heads, ``2 n D^2``; scores,
    ``2 n^2 D`` over all heads; weighted sums of values, ``2 n^2 D``.
    """
    return 8 * length * width**2 + 4 * length**2 * width


def transformer_flops(length: int, width: int, feed_forward: int, n_classes: int) -> int:
    """Forward pass of a Transformer of one layer over one text, every token computed.

    :func:`self_attention_flops`; the feed-forward network, ``4 n D F``; the head, ``2 D C``. The length is
    that of the longest text in its batch.
    """
    attention = self_attention_flops(length, width)
    return attention + 4 * length * width * feed_forward + 2 * width * n_classes


def shortened_transformer_flops(
    length: int, width: int, heads: int, feed_forward: int, n_classes: int
) -> int:
    """The same for [CLS] alone, as ``TransformerNetwork(shortened=True)`` computes it.

    Query, its product with the keys' matrix, values' matrix and out of the heads, ``4 (2 D^2)``; scores and
    weighted sums of the tokens themselves in every head, ``2 (2 h n D)``; ``4 D F`` and ``2 D C`` once.
    """
    once = 8 * width**2 + 4 * width * feed_forward + 2 * width * n_classes
    return once + 4 * heads * length * width


def papers_wave(length: int, width: int) -> int:
    """``n D^2``, the papers' count for the wave network, without a constant."""
    return length * width**2


def papers_transformer(length: int, width: int) -> int:
    """``n^2 D``, the papers' count for the Transformer, without a constant."""
    return length**2 * width


def overtaking_length(width: int, feed_forward: int = 0) -> int:
    """Length from which a layer's ``n^2 D`` part costs more than its ``n D^2`` part.

    ``4 n^2 D = 8 n D^2 + 4 n D F`` at ``n = 2 D + F``: six times the width where ``F = 4 D``, and twice for
    self-attention alone. The papers' counts without constants would meet at ``n = D``.
    """
    return 2 * width + feed_forward
