"""A training run over a stream; see :mod:`token2wave.training.streaming`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from token2wave.training.branches import fit_branches
from token2wave.training.preparation import Labelled
from token2wave.training.recipe import Recipe
from token2wave.training.run import FitResult, TrainingRun
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
        return self.passes.source.weight_column is not None

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

    def fit(
        self,
        recipe: Recipe,
        train: Labelled,
        validation: Labelled | None = None,
        *,
        branch_weights: tuple[float, ...] = (),
        char_ngram_weight: float | None = None,
    ) -> FitResult:
        """Train the waves on the stream, and the amplitudes on the sample; see :meth:`Run.fit`."""
        assert validation is not None
        features = self.passes.features
        config = self._config(features, branch_weights)
        self.callback_list.stage("features of the sample", len(train) + len(validation))
        held_out = validation.examples(features(validation.texts, self.callback_list.advance))
        sample = train.examples(
            features(train.texts, self.callback_list.advance), self.texts.positive_weights
        )
        network, history, char_ngram_weight = fit_branches(
            self._network(config.replace(linear_svm=False), recipe),
            sample,
            train.texts,
            features,
            held_out,
            recipe,
            linear_svm=config.linear_svm,
            seed=self.seed,
            has_cls=False,
            char_ngram_weight=char_ngram_weight,
            callbacks=self.callback_list.callbacks,
            place=None if self.checkpoint is None else self.checkpoint.next_network(),
            stream=self.passes,
        )
        return FitResult(features, network, history, held_out, char_ngram_weight, branch_weights)
