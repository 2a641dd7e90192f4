"""Dropout that several processes draw as one would."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from token2wave.models.batch import Span


class Dropout(nn.Dropout):
    """``nn.Dropout``; of a part of a batch, what dropout of the whole batch would make of that part.

    Every process draws for the whole batch and takes the numbers of its own part, so that the generators of
    all stay in step, and each text loses what it would lose in one process.
    """

    def forward(self, states: Tensor, span: Span | None = None) -> Tensor:
        """Drop dimensions.

        Args:
            states: ``(N, D)``, of texts or of tokens.
            span: where these stand among those of the whole batch; None if they are all.
        """
        if span is None or not self.training:
            return super().forward(states)
        whole = torch.ones(span.total, *states.shape[1:], dtype=states.dtype, device=states.device)
        return states * F.dropout(whole, self.p)[span.first : span.first + states.shape[0]]
