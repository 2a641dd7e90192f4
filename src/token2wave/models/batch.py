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
    """A run of rows among others.

    Attributes:
        first: number of its first row.
        total: of all rows.
    """

    first: int
    total: int


@dataclass(frozen=True)
class Whole:
    """The batch of a step that several processes take together, each a part of it.

    Attributes:
        texts: where this part's texts stand among those of the step.
        tokens: where its features do.
        parts: for each process ``(U_p,)`` int64, the distinct rows of its part, increasing.
        rows: ``(U,)`` int64, the distinct rows of all parts, increasing.
    """

    texts: Span
    tokens: Span
    parts: tuple[Tensor, ...]
    rows: Tensor

    def to(self, device: torch.device) -> Whole:
        """Copy to a device; nothing is copied where it is there already."""
        parts = tuple(part.to(device, non_blocking=True) for part in self.parts)
        return replace(self, parts=parts, rows=self.rows.to(device, non_blocking=True))


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
        whole: the batch that this is a part of; None where it is all there is.
    """

    rows: Tensor
    index: Tensor
    offsets: Tensor
    sentence_offsets: Tensor
    ordered: Tensor
    ordered_offsets: Tensor
    whole: Whole | None = None

    @property
    def n_texts(self) -> int:
        """``B``."""
        return self.offsets.shape[0] - 1

    @property
    def text_span(self) -> Span | None:
        """Where the texts stand in the whole batch; None where they are all."""
        return None if self.whole is None else self.whole.texts

    @property
    def token_span(self) -> Span | None:
        """Where the features stand in the whole batch; None where they are all."""
        return None if self.whole is None else self.whole.tokens

    def to(self, device: torch.device) -> Batch:
        """Copy to a device; nothing is copied where it is there already."""
        tensors = {name: getattr(self, name).to(device, non_blocking=True) for name in TENSORS}
        return replace(self, **tensors, whole=None if self.whole is None else self.whole.to(device))

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


TENSORS = tuple(field.name for field in fields(Batch) if field.name != "whole")


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
