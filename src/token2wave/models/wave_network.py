"""The Wave Network in torch: embedding, wave layers, read-out, and the branches beside them."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from token2wave.errors import ConfigError
from token2wave.models.batch import Batch, Span
from token2wave.models.dropout import Dropout
from token2wave.models.registry import OPERATIONS, READOUTS
from token2wave.models.text_network import TextNetwork
from token2wave.models.wave_config import WaveConfig
from token2wave.waves import (
    Wave,
    context_waves,
    first_token_wave,
    segment_ids,
    segment_mean,
    segment_sum,
    text_wave,
    wave,
)

ACTIVATIONS: dict[str, type[nn.Module]] = {"none": nn.Identity, "gelu": nn.GELU, "relu": nn.ReLU}


class WaveNetwork(TextNetwork):
    """Classify texts by waves (arXiv 2411.02674v4, Fig. 6).

    Args:
        config: the network's configuration.

    Raises:
        ConfigError: the configuration has a window level, which is added to a compiled network alone.

    Example:
        >>> import numpy as np
        >>> from token2wave.features import Ragged
        >>> from token2wave.models import WaveConfig, WaveNetwork, make_batch
        >>> two_texts = Ragged(np.array([0, 5, 7, 0, 5]), np.array([0, 3, 5]), np.array([3, 2]))
        >>> network = WaveNetwork(WaveConfig(n_rows=10, n_classes=4, width=8))
        >>> network(make_batch(two_texts)).shape
        torch.Size([2, 4])
    """

    config: WaveConfig

    def __init__(self, config: WaveConfig) -> None:
        super().__init__()
        if config.window_words:
            hint = "load it on the CPU, or train with recipe.windows_from=0"
            problem = "expected a network without a window level, which is not in torch, found one with it"
            raise ConfigError(problem, location="network", hint=hint)
        self.config = config
        self.embedding = nn.Embedding(config.n_rows, config.row_width, sparse=True)
        with torch.no_grad():
            self.embedding.weight.mul_(config.embedding_scale)  # PyTorch draws from N(0, 1)
        self.layers = nn.ModuleList(WaveLayer(config) for _ in range(config.layers))
        if config.norms_layers and config.residual == "equation":
            # A layer below the last begins as the identity, so that deep networks learn as fast as one layer
            # (as the residual blocks of arXiv 1706.02677, section 5.1).
            for layer in cast("list[WaveLayer]", list(self.layers)[:-1]):
                nn.init.zeros_(cast("nn.LayerNorm", layer.norm).weight)
        self.norm = nn.LayerNorm(config.width)
        self.dropout = Dropout(config.dropout)
        self.head = nn.Linear(config.width, config.n_classes)
        self.context = ContextBranch(config) if config.context_width else None
        self.linear_svm = LinearSVMBranch(config) if config.linear_svm else None
        self.oov = nn.Embedding(config.n_oov, config.n_classes) if config.n_oov else None

    def forward(self, batch: Batch) -> Tensor:
        """Compute logits ``(B, C)``. A text's logits do not depend on the other texts of the batch."""
        if self.oov is None or batch.n_oov_tokens is None:
            return super().forward(batch)
        rows, entries, offsets = batch.split_oov(self.config.n_rows)
        return self.of_embedded(self.embedding(rows.rows), rows, segment_sum(self.oov(entries), offsets))

    def of_embedded(self, embedded: Tensor, batch: Batch, oov: Tensor | None = None) -> Tensor:
        """Compute logits ``(B, C)``.

        Args:
            embedded: ``(U, R)``, embeddings of the distinct tokens.
            batch: the texts, without ids of the OOV table.
            oov: ``(B, C)``, sums of the weights of these ids.
        """
        waves = embedded[:, : self.config.wave_width] if self.linear_svm is not None else embedded
        states = self._state(waves, batch)
        states = states if self.config.norm_tokens else self.norm(states)
        logits = self.head(self.dropout(states, batch.text_span))
        if self.context is not None:
            logits = logits + self.context(waves, batch)
        if self.linear_svm is not None:
            logits = logits + self.linear_svm(embedded[:, self.config.wave_width :], batch, oov)
        return cast("Tensor", logits)

    def _state(self, embedded: Tensor, batch: Batch) -> Tensor:
        """State of each text before the norm, ``(B, D)``; after it if the norm is that of each token."""
        values, index = embedded, batch.index
        if self.config.positions == "sinusoidal":
            values = embedded.index_select(0, index) + sinusoids(batch.offsets, index.shape[0], embedded)
            index = torch.arange(index.shape[0], device=index.device)
        *lower, last = cast("list[WaveLayer]", list(self.layers))
        for layer in lower:
            values = layer.all_tokens(values.index_select(0, index), batch)  # (T, D)
            index = torch.arange(index.shape[0], device=index.device)
        if self.config.norm_tokens:
            return last.read_out(values, index, batch, self.norm)
        return last.read_out(values, index, batch)

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Every parameter by name, on the CPU."""
        return {name: tensor.detach().cpu().numpy() for name, tensor in self.state_dict().items()}

    def load(self, name: str, values: NDArray[np.float32]) -> None:
        """Overwrite a parameter."""
        with torch.no_grad():
            self.state_dict()[name].copy_(torch.from_numpy(values))


class WaveLayer(nn.Module):
    """Make two waves of every token, combine them by the operation, and restore real numbers.

    With several layers, ``W_{n+1} = W_n + dropout(g(f(W_n)))`` (eq. 8); a single layer gives ``g(f(W))``.
    """

    def __init__(self, config: WaveConfig) -> None:
        super().__init__()
        self.config = config
        self.operation = OPERATIONS[config.operation].torch_function()
        self.pools_states = READOUTS[config.readout].pools_states
        self.readout = READOUTS[config.readout].torch_function()
        width = config.width
        # Both linear maps side by side: one matrix product gives both variants.
        self.variants = nn.Linear(width, 2 * width) if config.variants == "linear" else None
        self.restore = Restore(config)
        self.dropout = Dropout(config.dropout)
        self.joined = config.layers > 1
        norm_width = width if config.layer_norm == "real" else 2 * width
        self.norm = nn.LayerNorm(norm_width) if config.norms_layers else None

    def all_tokens(self, tokens: Tensor, batch: Batch) -> Tensor:
        """Compute the next layer's tokens, ``(T, D)``."""
        return self._join(tokens if self.joined else None, self._overlay_all(tokens, batch), batch.token_span)

    def read_out(self, values: Tensor, index: Tensor, batch: Batch, norm: nn.Module | None = None) -> Tensor:
        """Compute the state of each text, ``(B, D)``.

        Args:
            values: ``(U, D)``, the distinct tokens.
            index: ``(T,)`` int64; ``values[index]`` are the tokens.
            batch: gives the offsets.
            norm: of each token's state, if the read-out averages them; None leaves them as they are.
        """
        offsets = batch.offsets
        if self.pools_states:
            states = self.all_tokens(values.index_select(0, index), batch)
            states = states if norm is None else norm(states)
            return cast("Tensor", self.readout(states, offsets))
        if self.variants is not None:
            first, second = _halves(self.readout(self.variants(values), index, offsets))
        elif self.config.variants == "rows":
            first, second = _halves(self.readout(values, index, offsets))
        else:
            first = first_token_wave(values, index, offsets, _ends_of_first_sentences(batch))
            second = first_token_wave(values, index, offsets)
        tokens = self.readout(values, index, offsets).real if self.joined else None
        return self._join(tokens, self.operation(first, second), batch.text_span)

    def _overlay_all(self, tokens: Tensor, batch: Batch) -> Wave:
        if self.variants is not None:
            first, second = _halves(wave(self.variants(tokens), batch.offsets))
        elif self.config.variants == "rows":
            first, second = _halves(wave(tokens, batch.offsets))
        else:
            first, second = wave(tokens, batch.sentence_offsets), wave(tokens, batch.offsets)
        return cast("Wave", self.operation(first, second))

    def _join(self, tokens: Tensor | None, overlay: Wave, span: Span | None) -> Tensor:
        """Restore the overlay, and add the layer's input ``tokens`` if there is a residual connection."""
        if tokens is None:
            return self._restore(overlay)
        if self.config.residual == "equation":
            return tokens + cast("Tensor", self.dropout(self._restore(overlay), span))
        joined = Wave(overlay.real + tokens, overlay.imaginary)
        return cast("Tensor", self.dropout(self._restore(joined), span))

    def _restore(self, overlay: Wave) -> Tensor:
        """Return to real numbers, with the layer's norm before or after."""
        if self.norm is None:
            return cast("Tensor", self.restore(overlay))
        if self.config.layer_norm == "real":
            return cast("Tensor", self.norm(self.restore(overlay)))
        return cast("Tensor", self.restore(Wave(*self.norm(overlay.concatenated).chunk(2, dim=-1))))


class Restore(nn.Module):
    """Restore a wave ``(..., D)`` to a real state ``(..., D)``; ``g`` of eq. 8."""

    def __init__(self, config: WaveConfig) -> None:
        super().__init__()
        self.restore = config.restore
        width, hidden = config.width, config.feed_forward
        is_linear = config.restore == "linear"
        self.hidden = nn.Linear(2 * width, hidden) if is_linear and hidden else None
        self.linear = nn.Linear(hidden or 2 * width, width) if is_linear else None
        self.activation = ACTIVATIONS[config.activation]()

    def forward(self, overlay: Wave) -> Tensor:
        """Restore the wave to a real state."""
        if self.linear is not None and self.hidden is not None:
            return cast("Tensor", self.linear(self.activation(self.hidden(overlay.concatenated))))
        if self.linear is not None:
            return cast("Tensor", self.activation(self.linear(overlay.concatenated)))
        return overlay.real if self.restore == "real" else overlay.magnitude


class ContextBranch(nn.Module):
    """Logits from the waves of neighbouring words, so that word order counts.

    The magnitude of a token's first variant comes from its left neighbours, that of the second from its right
    ones. Operation, norm, linear layer and GELU follow. The text is read out as one wave of these states
    (:func:`token2wave.waves.text_wave`), which is a sum over the tokens.
    """

    def __init__(self, config: WaveConfig) -> None:
        super().__init__()
        width = config.context_width
        self.radius = config.context_radius
        self.operation = OPERATIONS[config.operation].torch_function()
        self.variants = nn.Linear(config.wave_width, 2 * width)
        self.norm = nn.LayerNorm(2 * width)
        self.linear = nn.Linear(2 * width, width)
        self.dropout = Dropout(config.dropout)
        self.head = nn.Linear(2 * width, config.n_classes)

    def forward(self, embedded: Tensor, batch: Batch) -> Tensor:
        """Compute logits ``(B, C)`` from the embeddings ``(U, D)`` of the distinct tokens."""
        first, second = self.variants(embedded).index_select(0, batch.ordered).chunk(2, dim=1)  # (W, P) each
        overlay = self.operation(*context_waves(first, second, batch.ordered_offsets, self.radius))
        states = F.gelu(self.linear(self.norm(overlay.concatenated)))  # (W, P)
        every = torch.arange(states.shape[0], device=states.device)
        text = text_wave(states, every, batch.ordered_offsets)
        return cast("Tensor", self.head(self.dropout(text.concatenated, batch.text_span)))


class LinearSVMBranch(nn.Module):
    """Logits from the linear SVM: the sum of a text's weights over the root of the number of its features.

    :mod:`token2wave.training.linear_svm` trains these weights. The parameters here scale them for each class.
    """

    def __init__(self, config: WaveConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config.n_classes))
        self.bias = nn.Parameter(torch.zeros(config.n_classes))

    def forward(self, linear_svm: Tensor, batch: Batch, oov: Tensor | None = None) -> Tensor:
        """Compute logits ``(B, C)``.

        Args:
            linear_svm: ``(U, C)``, SVM weights of the distinct tokens.
            batch: the texts.
            oov: ``(B, C)``, sums of the weights of ids of the OOV table.
        """
        lengths = batch.offsets.diff().to(linear_svm.dtype)
        mean = segment_mean(linear_svm.index_select(0, batch.index), batch.offsets)
        if oov is None or batch.n_oov_tokens is None:
            scores = mean * lengths.clamp(min=1).sqrt()[:, None]
        else:
            n_features = (lengths + batch.n_oov_tokens).clamp(min=1)
            scores = (mean * lengths[:, None] + oov) / n_features.sqrt()[:, None]
        return scores * self.weight + self.bias


def sinusoids(offsets: Tensor, n_tokens: int, like: Tensor) -> Tensor:
    """Sinusoidal encoding of each token's position in its text (arXiv 1706.03762, section 3.5).

    Args:
        offsets: ``(B + 1,)`` int64.
        n_tokens: ``T``.
        like: a tensor ``(..., D)`` that gives width, dtype and device.

    Returns:
        ``(T, D)``: sines in the even dimensions, cosines in the odd.
    """
    width = like.shape[-1]
    starts = offsets[:-1].index_select(0, segment_ids(offsets, n_tokens))
    position = torch.arange(n_tokens, device=offsets.device) - starts
    dimension = torch.arange(width, device=offsets.device, dtype=torch.float64)
    rates = torch.exp(-math.log(10_000.0) * (dimension - dimension % 2) / width)
    angles = position[:, None] * rates  # (T, D) float64: at position 10^5 float32 has two digits left
    return torch.where(dimension % 2 == 0, angles.sin(), angles.cos()).to(like.dtype)


def _halves(both: Wave) -> tuple[Wave, Wave]:
    """Split the waves of both variants, ``(..., 2 D)``, into two of ``(..., D)``."""
    (first_real, second_real), (first_imaginary, second_imaginary) = (
        component.chunk(2, dim=-1) for component in both
    )
    return Wave(first_real, first_imaginary), Wave(second_real, second_imaginary)


def _ends_of_first_sentences(batch: Batch) -> Tensor:
    """Find the end of the first sentence of each text, ``(B,)``."""
    following = torch.searchsorted(batch.sentence_offsets, batch.offsets[:-1], right=True)
    ends = batch.sentence_offsets[following.clamp(max=batch.sentence_offsets.shape[0] - 1)]
    return torch.minimum(ends, batch.offsets[1:])
