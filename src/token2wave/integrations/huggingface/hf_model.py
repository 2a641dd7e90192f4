"""The network as a ``PreTrainedModel``. It removes padding before it computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from token2wave.errors import ConfigError, DataError, ModelFileError
from token2wave.features.ragged import Ragged, offsets_of
from token2wave.integrations.huggingface.hf_config import WaveNetworkConfig
from token2wave.models import Batch, WaveConfig, WaveNetwork, make_batch
from token2wave.models.wave_network import LinearSVMBranch


class WaveForSequenceClassification(PreTrainedModel):  # type: ignore[misc]
    """A :class:`token2wave.WaveNetwork` for ``Trainer``, ``pipeline`` and the Auto classes.

    The embedding has dense gradients, because ``Trainer``'s optimisers and gradient clipping support no
    others.

    Args:
        config: the settings. The initial weights equal those of :class:`token2wave.WaveNetwork` with the same
            seed.

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
            for module in self.modules():  # transformers must not initialise the weights again
                module._is_hf_initialized = True
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Draw the weights of a module that a saved model lacks."""
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.embedding_scale)
        elif isinstance(module, LinearSVMBranch):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear | nn.LayerNorm):
            module.reset_parameters()

    def get_input_embeddings(self) -> nn.Module:
        """Return the embedding, ``(V, R)``."""
        return self.network.embedding

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the embedding by another one of the same width."""
        self.network.embedding = value

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, *args: Any, **options: Any
    ) -> nn.Module:
        """Add rows to the end of the embedding, or remove the last ones.

        Raises:
            ConfigError: the model has an OOV table, whose ids follow the rows.
        """
        if self.network.config.n_oov and new_num_tokens not in (None, self.network.config.n_rows):
            raise ConfigError("a model with an OOV table cannot be resized", location="new_num_tokens")
        embedding: nn.Module = super().resize_token_embeddings(new_num_tokens, *args, **options)
        self.network.config = self.config.network_config()
        return embedding

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
    ) -> SequenceClassifierOutput | tuple[Tensor, ...]:
        """Compute the logits and, with labels, the loss. The logits of a text do not depend on the others.

        Args:
            input_ids: ``(B, L)`` integers, rows of the embedding, then ids of the OOV table, padded on either
                side.
            attention_mask: ``(B, L)``, zero for padding; by default wherever ``input_ids`` is ``padding_id``.
            token_type_ids: ``(B, L)``, 0 for tokens in reading order, 1 for the n-grams after them; all 0 by
                default. Ids of the OOV table have 2, as many as there are tokens with such ids, then 3.
            labels: ``(B,)`` integers below ``C``; ``(B, C)`` from 0 to 1 for a multi-label model.
            return_dict: false returns a tuple.

        Returns:
            ``loss``, a cross-entropy (binary for a multi-label model; left out without labels), and
            ``logits``, ``(B, C)``.

        Raises:
            DataError: ids that are no rows of the embedding, or n-grams before tokens.
            ModelFileError: the weights overflow, so a logit is not finite.
        """
        if attention_mask is None:
            attention_mask = input_ids != self.config.padding_id
        features = _remove_padding(self.network.config, input_ids, attention_mask, token_type_ids)
        batch: Batch = make_batch(features, self.network.config.sentence_ends)
        logits = self.network(batch.to(self.network.embedding.weight.device))
        if not self.training and not logits.isfinite().all():
            raise ModelFileError(
                "expected finite logits, found others", hint="the weights overflow: train again"
            )
        loss = None if labels is None else self._loss(logits, labels.to(logits.device))
        if self.config.return_dict if return_dict is None else return_dict:
            return SequenceClassifierOutput(loss=loss, logits=logits)
        return (logits,) if loss is None else (loss, logits)

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        weights = self.config.class_weights
        if weights is not None:
            n_classes = self.config.num_labels
            if len(weights) != n_classes:
                problem = f"expected {n_classes} numbers, found {len(weights)}"
                raise ConfigError(problem, location="class_weights")
            weights = logits.new_tensor(weights)
        if self.network.config.multi_label:
            return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), pos_weight=weights)
        return F.cross_entropy(logits, labels.view(-1), weight=weights)


def _remove_padding(
    config: WaveConfig, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None
) -> Ragged:
    n_rows, n_ids = config.n_rows, config.n_rows + config.n_oov
    is_token = attention_mask.bool().cpu().numpy()
    types = np.zeros(is_token.shape, int) if token_type_ids is None else token_type_ids.cpu().numpy()
    # transformers makes empty tensors floating point.
    ids = input_ids.cpu().numpy().astype(np.int64, copy=False)[is_token]
    hint = "use the tokenizer that was saved with the model, and its attention_mask"
    if len(ids) and not 0 <= ids.min() <= ids.max() < n_ids:
        problem = f"expected input_ids from 0 to {n_ids - 1}, found {ids.min()} to {ids.max()}"
        raise DataError(problem, hint=hint)
    offsets = offsets_of(is_token.sum(axis=1, dtype=np.int64))
    n_ordered, n_oov_tokens = ((is_token & (types == each)).sum(axis=1, dtype=np.int64) for each in (0, 2))
    features = Ragged(ids.astype(np.int32), offsets, n_ordered, n_oov_tokens if config.n_oov else None)
    is_right = np.array_equal(features.is_ordered, types[is_token] == 0)
    if not is_right or (config.n_oov and not np.array_equal(ids >= n_rows, types[is_token] >= 2)):
        problem = "expected token_type_ids of 0 for tokens in reading order, then 1 for n-grams, found others"
        raise DataError(problem, hint=hint)
    return features
