"""Dropout that does not depend on the number of processes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from token2wave.models.batch import Span


class Dropout(nn.Dropout):
    """``nn.Dropout`` that gives the same result in one process and in several that share a batch.

    Each process draws random numbers for the whole batch and uses those of its own rows, so that the
    generators of all processes stay in step.
    """

    def forward(self, states: Tensor, span: Span | None = None) -> Tensor:
        """Drop dimensions.

        Args:
            states: ``(N, D)``, of texts or of tokens.
            span: the position of these rows in the whole batch; None if they are the whole batch.
        """
        if span is None or not self.training:
            return super().forward(states)
        whole = torch.ones(span.total, *states.shape[1:], dtype=states.dtype, device=states.device)
        return states * F.dropout(whole, self.p)[span.first : span.first + states.shape[0]]
