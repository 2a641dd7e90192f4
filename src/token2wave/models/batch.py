"""Features of a batch as tensors, every distinct row named once."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from token2wave.features.ragged import Ragged, offsets_of


class Span(NamedTuple):
    """Where the rows of one rank stand among those of the whole batch.

    Attributes:
        first: number of the rank's first row.
        total: number of rows of all ranks.
    """

    first: int
    total: int


@dataclass(frozen=True)
class Batch:
    """``B`` texts with ``T`` features, ``U`` of them distinct.

    Attributes:
        rows: ``(U,)`` int64, distinct rows of the embedding, increasing.
        index: ``(T,)`` int64; feature ``t`` is ``rows[index[t]]``.
        offsets: ``(B + 1,)`` int64, the texts.
        sentence_offsets: ``(S + 1,)`` int64, the sentences; the same as ``offsets`` where no token
            ends one.
        ordered: ``(W,)`` int64, the tokens in reading order: token ``w`` is ``rows[ordered[w]]``. In training
            they may be more than those of ``index``, from which some are left out.
        ordered_offsets: ``(B + 1,)`` int64, the texts among the ``W``.
        text_span: where these texts stand in the batch of a distributed step; None in a single process.
        token_span: where these features stand in it.
    """

    rows: Tensor
    index: Tensor
    offsets: Tensor
    sentence_offsets: Tensor
    ordered: Tensor
    ordered_offsets: Tensor
    text_span: Span | None = None
    token_span: Span | None = None

    @property
    def n_texts(self) -> int:
        """``B``."""
        return self.offsets.shape[0] - 1

    def to(self, device: torch.device) -> Batch:
        """Copy to a device; nothing is copied where it is there already."""
        tensors = {name: getattr(self, name).to(device, non_blocking=True) for name in TENSORS}
        return replace(self, **tensors)

    def of_every_token(self) -> Batch:
        """The same texts, with every occurrence of a token as a row of its own: ``U = T``.

        Only for a batch whose ``index`` has all the ordered tokens.
        """
        every = torch.arange(self.index.shape[0])
        lengths = self.ordered_offsets.diff()
        starts = self.offsets[:-1] - self.ordered_offsets[:-1]
        ordered = torch.arange(self.ordered.shape[0]) + starts.repeat_interleave(lengths)
        rest = self.offsets, self.sentence_offsets, ordered, self.ordered_offsets
        return Batch(self.rows[self.index], every, *rest)


TENSORS = tuple(field.name for field in fields(Batch) if not field.name.endswith("_span"))


def make_batch(
    features: Ragged, sentence_ends: tuple[int, ...] = (), left_out: NDArray[np.bool_] | None = None
) -> Batch:
    """Turn ragged features into tensors on the CPU.

    Args:
        features: ids, offsets and the number of ordered tokens of each text.
        sentence_ends: rows that end a sentence.
        left_out: ``(T,)`` bool, true for ordered tokens that only the reading order has; none, if not given.
    """
    rows, index = np.unique(features.ids, return_inverse=True)
    offsets = features.offsets
    ordered_offsets = offsets_of(features.n_ordered)
    within = np.repeat(offsets[:-1] - ordered_offsets[:-1], features.n_ordered)
    ordered = index[np.arange(ordered_offsets[-1]) + within]
    if left_out is not None:
        index, features = index[~left_out], features.keep(~left_out)
        offsets = features.offsets
    sentence_offsets = offsets
    if sentence_ends:
        after_an_end = np.flatnonzero(np.isin(features.ids, sentence_ends)) + 1
        sentence_offsets = np.union1d(offsets, after_an_end)
    return Batch(
        torch.from_numpy(rows.astype(np.int64)),
        torch.from_numpy(index.astype(np.int64)),
        torch.from_numpy(offsets),
        torch.from_numpy(sentence_offsets.astype(np.int64)),
        torch.from_numpy(ordered.astype(np.int64)),
        torch.from_numpy(ordered_offsets),
    )
