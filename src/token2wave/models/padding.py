"""Pads ragged texts to a table, for transformers; waves need no padding."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from token2wave.waves import segment_ids


class Padded(NamedTuple):
    """``B`` texts of at most ``L`` tokens.

    Attributes:
        values: ``(B, L, ...)``; zero where a text has ended.
        filled: ``(B, L)`` bool, true where there is a token.
    """

    values: Tensor
    filled: Tensor


def padded(tokens: Tensor, offsets: Tensor) -> Padded:
    """Pad texts on the right; a batch of empty texts gets one empty place.

    Args:
        tokens: ``(T, ...)``, the tokens of all texts.
        offsets: ``(B + 1,)`` int64.
    """
    n_texts = offsets.shape[0] - 1
    longest = max(1, int((offsets[1:] - offsets[:-1]).max())) if n_texts else 1
    text = segment_ids(offsets, tokens.shape[0])
    place = torch.arange(tokens.shape[0], device=tokens.device) - offsets[:-1].index_select(0, text)
    values = tokens.new_zeros((n_texts, longest, *tokens.shape[1:]))
    filled = torch.zeros((n_texts, longest), dtype=torch.bool, device=tokens.device)
    values = values.index_put((text, place), tokens)
    filled[text, place] = True
    return Padded(values, filled)
