"""A batch of features as tensors, with each distinct row once."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
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
        sentence_offsets: ``(S + 1,)`` int64, the sentences; equals ``offsets`` if no token ends one.
        ordered: ``(W,)`` int64, the tokens in reading order: token ``w`` is ``rows[ordered[w]]``. In training
            they may outnumber those of ``index``, from which some are dropped.
        ordered_offsets: ``(B + 1,)`` int64, the texts among the ``W`` tokens.
        n_oov_tokens: ``(B,)`` int64, tokens with ids of the OOV table; None if there are no such ids, which
            would be the last of ``rows``.
        text_span: where these texts stand in the batch of a distributed step; None in a single process.
        token_span: where these features stand in it.
    """

    rows: Tensor
    index: Tensor
    offsets: Tensor
    sentence_offsets: Tensor
    ordered: Tensor
    ordered_offsets: Tensor
    n_oov_tokens: Tensor | None = None
    text_span: Span | None = None
    token_span: Span | None = None

    @property
    def n_texts(self) -> int:
        """``B``."""
        return self.offsets.shape[0] - 1

    def to(self, device: torch.device) -> Batch:
        """Copy to a device; tensors that are on it already are not copied."""
        tensors = {name: getattr(self, name).to(device, non_blocking=True) for name in TENSORS}
        n_oov_tokens = None if self.n_oov_tokens is None else self.n_oov_tokens.to(device)
        return replace(self, **tensors, n_oov_tokens=n_oov_tokens)

    def split_oov(self, n_rows: int) -> tuple[Batch, Tensor, Tensor]:
        """Split into a batch without ids of the OOV table, its entries ``(E,)``, and offsets ``(B + 1,)``."""
        is_row = self.rows < n_rows
        mask = is_row[self.index]
        n_before = F.pad(mask.cumsum(0), (1, 0))[self.offsets]
        entries = self.rows[self.index[~mask]] - n_rows
        rows = replace(
            self, rows=self.rows[is_row], index=self.index[mask], offsets=n_before, sentence_offsets=n_before
        )
        return rows, entries, self.offsets - n_before

    def of_every_token(self) -> Batch:
        """The same texts, with every occurrence of a token as a row of its own: ``U = T``.

        ``index`` must contain all ordered tokens.
        """
        shifts = self.offsets[:-1] - self.ordered_offsets[:-1]
        ordered = torch.arange(self.ordered.shape[0]) + shifts.repeat_interleave(self.ordered_offsets.diff())
        index = torch.arange(self.index.shape[0])
        return replace(self, rows=self.rows[self.index], index=index, ordered=ordered)


TENSORS = tuple(field.name for field in fields(Batch) if not field.name.endswith(("_span", "_oov_tokens")))


def make_batch(
    features: Ragged, sentence_ends: tuple[int, ...] = (), left_out: NDArray[np.bool_] | None = None
) -> Batch:
    """Turn ragged features into tensors on the CPU.

    Args:
        features: ids, offsets and the number of ordered tokens of each text.
        sentence_ends: rows that end a sentence.
        left_out: ``(T,)`` bool, true for tokens that stay in the reading order only.
    """
    rows, index = np.unique(features.ids, return_inverse=True)
    offsets = features.offsets
    ordered_offsets = offsets_of(features.n_ordered)
    shifts = np.repeat(offsets[:-1] - ordered_offsets[:-1], features.n_ordered)
    ordered = index[np.arange(ordered_offsets[-1]) + shifts]
    if left_out is not None:
        index, features = index[~left_out], features.keep(~left_out)
        offsets = features.offsets
    sentence_offsets = offsets
    if sentence_ends:
        sentence_offsets = np.union1d(offsets, np.flatnonzero(np.isin(features.ids, sentence_ends)) + 1)
    return Batch(
        torch.from_numpy(rows.astype(np.int64)),
        torch.from_numpy(index.astype(np.int64)),
        torch.from_numpy(offsets),
        torch.from_numpy(sentence_offsets.astype(np.int64)),
        torch.from_numpy(ordered.astype(np.int64)),
        torch.from_numpy(ordered_offsets),
        None if features.n_oov_tokens is None else torch.from_numpy(features.n_oov_tokens),
    )
