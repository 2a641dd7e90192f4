"""The network as a ``PreTrainedModel``: padded batches come in, and leave padding at the door."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from token2wave.errors import ConfigError, DataError
from token2wave.features.ragged import Ragged, offsets_of
from token2wave.integrations.huggingface.hf_config import WaveNetworkConfig
from token2wave.models import Batch, WaveNetwork, make_batch
from token2wave.models.wave_network import LinearSVMBranch


class WaveForSequenceClassification(PreTrainedModel):  # type: ignore[misc]
    """A :class:`token2wave.WaveNetwork` for ``Trainer``, ``pipeline`` and the Auto classes.

    Gradients of the embedding are dense here, since ``Trainer``'s optimiser and its clipping know no others.

    Args:
        config: the settings; weights are drawn as :class:`token2wave.WaveNetwork` draws them, the same from
            the same seed.

    Raises:
        ConfigError: illegal settings.
    """

    config_class = WaveNetworkConfig
    base_model_prefix = "network"
    main_input_name = "input_ids"

    def __init__(self, config: WaveNetworkConfig) -> None:
        super().__init__(config)
        self.network = WaveNetwork(config.network_config())
        self.network.embedding.sparse = False
        if not self.network.embedding.weight.is_meta:
            for module in self.modules():  # they are drawn: transformers need not draw them again
                module._is_hf_initialized = True
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Draw a module's weights; transformers asks for it where a saved model lacks some."""
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.embedding_scale)
        elif isinstance(module, LinearSVMBranch):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear | nn.LayerNorm):
            module.reset_parameters()

    def get_input_embeddings(self) -> nn.Module:
        """The table of token embeddings, ``(V, R)``."""
        return self.network.embedding

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Put another table of the same width in its place."""
        self.network.embedding = value

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, *args: Any, **options: Any
    ) -> nn.Module:
        """Add rows to the embedding, or cut the last ones off, as transformers does it."""
        table: nn.Module = super().resize_token_embeddings(new_num_tokens, *args, **options)
        self.network.config = self.config.network_config()
        return table

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
    ) -> SequenceClassifierOutput | tuple[Tensor, ...]:
        """Compute logits, and the loss where there are labels. A text's logits do not depend on the others.

        Args:
            input_ids: ``(B, L)`` integers, rows of the embedding, padded on either side.
            attention_mask: ``(B, L)``, zero where there is no token; if not given, wherever ``padding_id`` of
                the settings stands.
            token_type_ids: ``(B, L)``, 0 for tokens in reading order, 1 for the n-grams behind them; all 0 if
                not given.
            labels: ``(B,)`` integers below ``C``; or ``(B, C)`` from 0 to 1, where a text may have several
                classes.
            return_dict: false gives a tuple.

        Returns:
            ``loss``, a cross-entropy, binary where a text may have several classes, and ``logits``,
            ``(B, C)``; where there are no labels, no loss.

        Raises:
            DataError: ids that are no rows of the embedding, or n-grams in front of tokens.
        """
        if attention_mask is None:
            attention_mask = input_ids != self.config.padding_id
        features = ragged(self.network.config.n_rows, input_ids, attention_mask, token_type_ids)
        batch: Batch = make_batch(features, self.network.config.sentence_ends)
        logits = self.network(batch.to(self.network.embedding.weight.device))
        loss = None if labels is None else self._loss(logits, labels.to(logits.device))
        if self.config.return_dict if return_dict is None else return_dict:
            return SequenceClassifierOutput(loss=loss, logits=logits)
        return (logits,) if loss is None else (loss, logits)

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        weights = self.config.class_weights
        if weights is not None:
            if len(weights) != self.config.num_labels:
                raise ConfigError(
                    f"expected {self.config.num_labels} numbers, found {len(weights)}",
                    location="class_weights",
                )
            weights = logits.new_tensor(weights)
        if self.network.config.multi_label:
            return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), pos_weight=weights)
        return F.cross_entropy(logits, labels.view(-1), weight=weights)


def ragged(
    n_rows: int, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
) -> Ragged:
    """Take padded texts out of their table.

    Args:
        n_rows: rows of the embedding.
        input_ids: ``(B, L)``.
        attention_mask: ``(B, L)``, zero where there is no token.
        token_type_ids: ``(B, L)``, 0 for tokens in reading order, 1 for n-grams; all 0 if not given.

    Raises:
        DataError: an id is no row, or an n-gram stands in front of a token.
    """
    filled = attention_mask.bool().cpu().numpy()
    types = np.zeros(filled.shape, bool) if token_type_ids is None else token_type_ids.bool().cpu().numpy()
    # Tensors of no token at all come as floating point.
    ids = input_ids.cpu().numpy().astype(np.int64, copy=False)[filled]
    if len(ids) and not 0 <= ids.min() <= ids.max() < n_rows:
        raise DataError(
            f"expected input_ids from 0 to {n_rows - 1}, found {ids.min()} to {ids.max()}",
            hint="use the tokenizer that was saved with the model, and its attention_mask",
        )
    offsets = offsets_of(filled.sum(axis=1, dtype=np.int64))
    features = Ragged(ids.astype(np.int32), offsets, (filled & ~types).sum(axis=1, dtype=np.int64))
    if not np.array_equal(features.is_ordered, ~types[filled]):
        raise DataError(
            "expected token_type_ids of 0 for tokens in reading order, then 1 for n-grams, found others",
            hint="use the tokenizer that was saved with the model",
        )
    return features
