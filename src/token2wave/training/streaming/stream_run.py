"""A training run over a stream; see :mod:`token2wave.training.streaming`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from token2wave.features import Features
from token2wave.training.examples import Examples
from token2wave.training.run import TrainingRun
from token2wave.training.streaming.blocks import BlockStream
from token2wave.training.streaming.survey import LENGTHS, Survey


@dataclass
class StreamRun(TrainingRun):
    """The steps of a run over a stream; of :attr:`texts`, the training part is but a sample.

    Attributes:
        found: by the first pass.
        passes: the further ones.
        memory: bytes that were allowed for.
    """

    found: Survey = field(kw_only=True)
    passes: BlockStream = field(kw_only=True)
    memory: int = field(kw_only=True)

    @property
    def n_rows(self) -> int:
        """Rows of the stream."""
        return self.found.n_rows

    @property
    def n_train_rows(self) -> int:
        """Rows that are not held back."""
        return len(self.passes)

    @property
    def is_weighted(self) -> bool:
        """Whether rows have weights of their own."""
        return self.passes.source.options.weight_column is not None

    def checksums(self) -> list[int | None]:
        """Numbers that depend on all that is learnt from."""
        return [self.found.checksum, self.texts.validation.checksum()]

    def facts(self) -> dict[str, Any]:
        """What the first pass found."""
        found = self.found
        every = found.lengths.tolist()
        return {
            "stream": {
                "rows": found.n_rows,
                "rejected": found.n_rejected,
                "characters": found.n_characters,
                "texts_up_to": {str(size): n for size, n in zip(LENGTHS, every, strict=True) if n},
                "labels": dict(zip(found.label_names, found.label_counts.tolist(), strict=True)),
                "sample_rows": len(self.texts.train),
                "memory": self.memory,
            }
        }

    @property
    def stream(self) -> BlockStream:
        """What the waves learn from; the linear SVM learns from the sample."""
        return self.passes

    def _encode_train(self, train: Examples) -> tuple[Features, Examples, None]:
        """The vocabulary of the first pass, and the sample encoded by it."""
        self.callback_list.stage("features of the sample", len(train))
        features = self.passes.features
        return features, train.encode(features, self.callback_list.advance), None
