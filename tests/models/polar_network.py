"""The Wave Network once more: one text at a time, complex numbers in polar form, no batch.

Nothing of `token2wave.waves` or `token2wave.models` is used but the parameters. A wave is a
magnitude and a phase (arctan2); interference adds complex numbers; modulation multiplies magnitudes
and adds phases. Autograd through the polar form gives the gradients.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from torch import Tensor, nn

from token2wave.errors import ConfigError
from token2wave.features import Ragged
from token2wave.models import Batch, WaveConfig, WaveNetwork, make_batch

N_ROWS, N_CLASSES, WIDTH = 10, 3, 4
SENTENCE_END = 1
TEXTS = [[0, 3, 1, 7, 2], [0, 4, 4, 6], [0], [], [0, 1, 5, 1, 9, 3]]
N_ORDERED = [3, 4, 1, 0, 5]

CHOICES = {
    "operation": ("interference", "modulation"),
    "variants": ("linear", "levels", "rows"),
    "restore": ("linear", "real", "magnitude"),
    "readout": ("cls", "mean", "text"),
    "positions": ("none", "sinusoidal"),
    "residual": ("equation", "figure"),
    "layers": (1, 2),
    "context_width": (0, 4),
}


DEPTH = [
    {"operation": operation, "layers": layers, **shape}
    for operation in CHOICES["operation"]
    for layers in (1, 2, 3)
    for shape in (
        {"layer_norm": "real"},
        {"layer_norm": "wave", "residual": "figure"},
        {"layer_norm": "wave", "restore": "real"},
        {"layer_norm": "wave", "restore": "magnitude", "readout": "text"},
        {"layer_norm": "real", "feed_forward": 5, "activation": "gelu", "readout": "mean"},
        {"layer_norm": "wave", "feed_forward": 3, "activation": "relu", "variants": "levels"},
        {"activation": "gelu", "readout": "text", "context_width": 4},
        {"readout": "mean", "norm_tokens": True},
        {"readout": "mean", "norm_tokens": True, "layer_norm": "real", "restore": "magnitude"},
    )
]
"""Norms, hidden layers and activations inside layers, in some networks."""


def every_combination(**fixed: object) -> list[dict]:
    """All combinations of the choices, legal or not; ``residual`` counts for several layers only."""
    choices = {key: (fixed[key],) if key in fixed else values for key, values in CHOICES.items()}
    found = []
    for values in itertools.product(*choices.values()):
        shape = dict(zip(choices, values, strict=True))
        if shape["layers"] > 1 or shape["residual"] == choices["residual"][0]:
            found.append(shape)
    return found


def is_illegal(shape: dict) -> bool:
    """The combinations that can not do what they say, written down a second time."""
    blind = (shape["operation"], shape["restore"], shape["readout"], shape["layers"])
    unseen = (shape["readout"], shape["variants"]) == ("text", "levels")
    below = shape["variants"] == "rows" and shape["layers"] > 1
    return unseen or below or blind == ("interference", "real", "cls", 1)


def legal_combinations(**fixed: object) -> list[dict]:
    return [shape for shape in every_combination(**fixed) if not is_illegal(shape)]


def name_of(shape: dict) -> str:
    return "-".join(str(value) for value in shape.values())


def config_of(shape: dict, **changes: object) -> WaveConfig:
    ends = (SENTENCE_END,) if shape.get("variants") == "levels" else ()
    settings = {
        "n_rows": N_ROWS,
        "n_classes": N_CLASSES,
        "width": WIDTH,
        "context_radius": 2,
        "embedding_scale": 1.0,
        "sentence_ends": ends,
    }
    return WaveConfig(**{**settings, **shape, **changes})


def network_of(
    shape: dict, dtype: torch.dtype = torch.float64, seed: int = 0, **changes: object
) -> WaveNetwork:
    """A network in evaluation mode whose parameters, biases and norms too, are random."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = WaveNetwork(config_of(shape, **changes)).to(dtype).eval()
        with torch.no_grad():
            for parameter in network.parameters():
                if parameter.dim() == 1:
                    parameter.add_(0.3 * torch.randn_like(parameter))
    return network


def ragged(texts: list[list[int]], n_ordered: list[int] | None = None) -> Ragged:
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    ids = np.array([row for text in texts for row in text], dtype=np.int32)
    ordered = lengths if n_ordered is None else np.array(n_ordered, dtype=np.int64)
    return Ragged(ids, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), ordered)


def batch_of(network: WaveNetwork, texts: list[list[int]], n_ordered: list[int] | None = None) -> Batch:
    return make_batch(ragged(texts, n_ordered), network.config.sentence_ends)


def logits_of(network: WaveNetwork, texts: list[list[int]], n_ordered: list[int] | None = None) -> Tensor:
    return network(batch_of(network, texts, n_ordered))


class Factor(nn.Module):
    """Stands where dropout stands, to show where that is."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, values: Tensor, *_: object) -> Tensor:
        return values * self.factor


def replace_dropout(network: WaveNetwork, factor: float) -> None:
    for module in list(network.modules()):
        if isinstance(getattr(module, "dropout", None), nn.Dropout):
            module.dropout = Factor(factor)


# The twin


def polar_logits(
    network: WaveNetwork, texts: list[list[int]], n_ordered: list[int] | None = None, factor: float = 1.0
) -> Tensor:
    """Logits of each text, ``(B, C)``; ``factor`` multiplies wherever dropout stands."""
    ordered = [len(text) for text in texts] if n_ordered is None else n_ordered
    return torch.stack([_logits(network, t, n, factor) for t, n in zip(texts, ordered, strict=True)])


def _logits(network: WaveNetwork, ids: list[int], n_ordered: int, factor: float) -> Tensor:
    config = network.config
    embedded = network.embedding.weight[ids]  # (n, D)
    tokens = embedded
    if config.positions == "sinusoidal" and ids:
        tokens = embedded + sinusoids_of(len(ids), config.row_width)
    sentences = _sentences(ids, config.sentence_ends)
    *lower, last = network.layers
    for layer in lower:
        tokens = _next_tokens(config, layer, tokens, sentences, factor)
    if config.norm_tokens:
        states = _norm(network.norm, _next_tokens(config, last, tokens, sentences, factor))
        state = states.sum(0) / max(len(states), 1)
    else:
        state = _norm(network.norm, _read_out(config, last, tokens, sentences, factor))
    logits = network.head.weight @ (state * factor) + network.head.bias
    if config.context_width:
        logits = logits + _context_logits(config, network.context, embedded[:n_ordered], factor)
    return logits


def sinusoids_of(n_tokens: int, width: int) -> Tensor:
    return torch.tensor([_sinusoid(p, width) for p in range(n_tokens)], dtype=torch.float64)


def _sinusoid(position: int, width: int) -> list[float]:
    """``sin(p / 10000^(2i/d))`` in dimension ``2 i``, the cosine in ``2 i + 1``."""
    row = []
    for k in range(width):
        angle = position / 10_000 ** (2 * (k // 2) / width)
        row.append(math.cos(angle) if k % 2 else math.sin(angle))
    return row


def _sentences(ids: list[int], ends: tuple[int, ...]) -> list[list[int]]:
    """Places of the tokens of each sentence; a token that ends one belongs to it."""
    sentences: list[list[int]] = [[]]
    for place, row in enumerate(ids):
        sentences[-1].append(place)
        if row in ends:
            sentences.append([])
    return [sentence for sentence in sentences if sentence]


def _polar(w: Tensor, segments: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Magnitude and phase of each token in its segment, ``(n, D)`` each (eqs. 1 and 2)."""
    if not len(w):
        return w, w
    magnitudes, phases = [], []
    for segment in segments:
        part = w[segment]
        magnitude = torch.sqrt((part**2).sum(0)).expand_as(part)
        if len(segment) == 1:  # phase 0 or pi
            phase = (part < 0).to(part) * math.pi
        else:
            cosine = part / magnitude
            phase = torch.arctan2(torch.sqrt(1 - cosine**2), cosine)
        magnitudes.append(magnitude)
        phases.append(phase)
    return torch.cat(magnitudes), torch.cat(phases)


def _overlay(operation: str, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> Tensor:
    if operation == "modulation":
        return torch.polar(first[0] * second[0], first[1] + second[1])
    return torch.polar(*first) + torch.polar(*second)


def _cartesian(config: WaveConfig, first: Tensor, second: Tensor) -> Tensor:
    return first * second if config.operation == "modulation" else first + second


def _variants(layer: nn.Module, tokens: Tensor) -> tuple[Tensor, Tensor]:
    if layer.variants is None:  # both lie in the row
        width = tokens.shape[1] // 2
        return tokens[:, :width], tokens[:, width:]
    width = layer.variants.weight.shape[0] // 2
    weight, bias = layer.variants.weight, layer.variants.bias
    return tokens @ weight[:width].T + bias[:width], tokens @ weight[width:].T + bias[width:]


def _restore(config: WaveConfig, layer: nn.Module, overlay: Tensor) -> Tensor:
    if config.layer_norm == "wave":
        normed = _norm(layer.norm, torch.cat([overlay.real, overlay.imag], -1))
        overlay = torch.complex(normed[..., : config.width], normed[..., config.width :])
    state = overlay.real if config.restore == "real" else overlay.abs()
    if config.restore == "linear":
        state = torch.cat([overlay.real, overlay.imag], -1)
        if config.feed_forward:
            hidden = layer.restore.hidden
            state = _activate(config, state @ hidden.weight.T + hidden.bias)
        state = state @ layer.restore.linear.weight.T + layer.restore.linear.bias
        if not config.feed_forward:
            state = _activate(config, state)
    return _norm(layer.norm, state) if config.layer_norm == "real" and config.layers > 1 else state


def _activate(config: WaveConfig, x: Tensor) -> Tensor:
    if config.activation == "gelu":
        return x * (1 + torch.erf(x / math.sqrt(2))) / 2
    return x * (x > 0) if config.activation == "relu" else x


def _join(config: WaveConfig, layer: nn.Module, given: Tensor, overlay: Tensor, factor: float) -> Tensor:
    if config.layers == 1:
        return _restore(config, layer, overlay)
    if config.residual == "equation":
        return given + factor * _restore(config, layer, overlay)
    return factor * _restore(config, layer, overlay + given)


def _token_overlays(
    config: WaveConfig, layer: nn.Module, tokens: Tensor, sentences: list[list[int]]
) -> Tensor:
    text = [list(range(len(tokens)))] if len(tokens) else []
    if config.variants != "levels":
        first, second = _variants(layer, tokens)
        return _overlay(config.operation, _polar(first, text), _polar(second, text))
    return _overlay(config.operation, _polar(tokens, sentences), _polar(tokens, text))


def _next_tokens(
    config: WaveConfig, layer: nn.Module, tokens: Tensor, sentences: list[list[int]], factor: float
) -> Tensor:
    return _join(config, layer, tokens, _token_overlays(config, layer, tokens, sentences), factor)


def _spread(values: Tensor) -> Tensor:
    """Mean plus ``i`` times the standard deviation over tokens; zero without tokens."""
    if not len(values):
        return torch.zeros(values.shape[1]).to(torch.complex128)
    mean = values.sum(0) / len(values)
    if bool((values == values[:1]).all()):
        return torch.complex(mean, torch.zeros_like(mean))
    return torch.complex(mean, torch.sqrt(((values - mean) ** 2).sum(0) / len(values)))


def _read_out(
    config: WaveConfig, layer: nn.Module, tokens: Tensor, sentences: list[list[int]], factor: float
) -> Tensor:
    nothing = torch.zeros(config.width).to(tokens)
    if config.readout == "mean":
        states = _next_tokens(config, layer, tokens, sentences, factor)
        return states.sum(0) / len(states) if len(states) else nothing
    if config.readout == "cls":
        if not len(tokens):
            return _join(config, layer, nothing, torch.complex(nothing, nothing), factor)
        overlay = _token_overlays(config, layer, tokens, sentences)[0]
        return _join(config, layer, tokens[0], overlay, factor)
    first, second = _variants(layer, tokens)
    overlay = _cartesian(config, _spread(first), _spread(second))
    given = _spread(tokens).real if config.layers > 1 else nothing
    return _join(config, layer, given, overlay, factor)


def _norm(norm: nn.LayerNorm, state: Tensor) -> Tensor:
    centred = state - state.mean(-1, keepdim=True)
    variance = (centred**2).mean(-1, keepdim=True)
    return centred / torch.sqrt(variance + 1e-5) * norm.weight + norm.bias


def _context_logits(config: WaveConfig, context: nn.Module, embedded: Tensor, factor: float) -> Tensor:
    first, second = _variants(context, embedded)
    states = []
    for j in range(len(embedded)):
        left = first[max(0, j - config.context_radius) : j]
        right = second[j + 1 : j + 1 + config.context_radius]
        z = torch.complex(first[j], _size(left))
        z_prime = torch.complex(second[j], _size(right))
        overlay = _cartesian(config, z, z_prime)
        normed = _norm(context.norm, torch.cat([overlay.real, overlay.imag]))
        inner = context.linear.weight @ normed + context.linear.bias
        states.append(inner * (1 + torch.erf(inner / math.sqrt(2))) / 2)
    stacked = torch.stack(states) if states else torch.zeros(0, config.context_width).to(embedded)
    text = _spread(stacked)
    return context.head.weight @ (torch.cat([text.real, text.imag]) * factor) + context.head.bias


def _size(rows: Tensor) -> Tensor:
    return torch.sqrt((rows**2).sum(0)) if len(rows) else torch.zeros(rows.shape[1]).to(rows)


# Comparing


def gradients_of(network: WaveNetwork, logits: Tensor) -> dict[str, Tensor]:
    """Gradients of a weighted sum of the logits with respect to each parameter, dense."""
    network.zero_grad(set_to_none=True)
    weights = torch.linspace(-1, 2, logits.numel(), dtype=logits.dtype).reshape(logits.shape)
    (logits * weights).sum().backward()
    return {
        name: (parameter.grad.to_dense() if parameter.grad.is_sparse else parameter.grad).clone()
        for name, parameter in network.named_parameters()
        if parameter.grad is not None
    }


def refused(shape: dict) -> ConfigError | None:
    try:
        config_of(shape)
    except ConfigError as error:
        return error
    return None
