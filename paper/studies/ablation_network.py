"""Networks without a part of the wave, with the parameters and initial weights of the whole network.

An ablated network is a :class:`WaveNetwork` whose only layer is replaced. The new layer takes over its
parameters and computes less from the same two variants ``w`` and ``w'``. Names, shapes and initial values of
the parameters stay the same.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from token2wave.errors import ConfigError
from token2wave.models import Batch, WaveNetwork
from token2wave.models.wave_network import WaveLayer
from token2wave.waves import Wave, first_token_wave, gathered_segment_sum, root, text_wave

Operation = Callable[[Wave, Wave], Wave]
Ablation = Callable[[Tensor, Tensor, Tensor, Operation], Wave]
"""Maps both variants of the distinct tokens, ``(U, 2 D)``, the index ``(T,)``, the offsets of the texts
``(B + 1,)`` and the operation to the two halves, ``(B, D)`` each, of what is restored."""


def first_alone(both: Tensor, index: Tensor, offsets: Tensor, operation: Operation) -> Wave:
    """[CLS] wave of the first variant, ``(w, s)``; the second variant is unused."""
    del operation
    return _split(first_token_wave(both, index, offsets))[0]


def real_means(both: Tensor, index: Tensor, offsets: Tensor, operation: Operation) -> Wave:
    """Averages of the two variants over all tokens, two real numbers: no squares, no complex numbers."""
    del operation
    return Wave(*text_wave(both, index, offsets).real.chunk(2, dim=1))


def magnitudes_alone(both: Tensor, index: Tensor, offsets: Tensor, operation: Operation) -> Wave:
    """Global semantics of the two variants, ``G`` and ``G'``, a pair of real numbers: no complex numbers."""
    del operation
    return Wave(*_magnitudes(both, index, offsets))


def without_phase(both: Tensor, index: Tensor, offsets: Tensor, operation: Operation) -> Wave:
    """Operation on two waves ``G`` and ``G'`` of phase 0: imaginary parts are zero."""
    first, second = _magnitudes(both, index, offsets)
    zero = torch.zeros_like(first)
    return operation(Wave(first, zero), Wave(second, zero))


def without_magnitude(both: Tensor, index: Tensor, offsets: Tensor, operation: Operation) -> Wave:
    """Operation on two [CLS] waves of magnitude 1, ``exp(i alpha)``; a wave is 0 where ``G`` is."""
    first, second = _split(first_token_wave(both, index, offsets))
    return operation(_normalise(first), _normalise(second))


ABLATIONS: dict[str, Ablation] = {
    "first-alone": first_alone,
    "real-means": real_means,
    "magnitudes-alone": magnitudes_alone,
    "without-phase": without_phase,
    "without-magnitude": without_magnitude,
}
"""Computation of an ablated layer from the two variants, by name."""


class AblatedLayer(nn.Module):
    """Replaces the only layer of a network, which has linear variants, and takes over its parameters."""

    def __init__(self, layer: WaveLayer, ablation: str) -> None:
        super().__init__()
        assert layer.variants is not None
        self.variants, self.restore = layer.variants, layer.restore
        self.operation, self.ablation = layer.operation, ABLATIONS[ablation]

    def read_out(self, values: Tensor, index: Tensor, batch: Batch) -> Tensor:
        """State of each text, ``(B, D)``; see :meth:`WaveLayer.read_out`."""
        both = self.variants(values)  # (U, 2 D)
        state: Tensor = self.restore(self.ablation(both, index, batch.offsets, self.operation))
        return state


def ablate(network: WaveNetwork, ablation: str) -> WaveNetwork:
    """Remove a part of a network of one layer in place, by a name of :data:`ABLATIONS`.

    Raises:
        ConfigError: an unknown ablation, or other variants, read-out or restore than the papers' network has.

    Example:
        >>> from token2wave.models import WaveConfig
        >>> twin = ablate(WaveNetwork(WaveConfig(n_rows=10, n_classes=4, width=8)), "real-means")
        >>> twin.parameter_count() == twin.config.parameter_count()
        True
    """
    if ablation not in ABLATIONS:
        raise ConfigError(f"expected one of {', '.join(ABLATIONS)}, found {ablation!r}", location="ablation")
    for key, expected in {"layers": 1, "variants": "linear", "readout": "cls", "restore": "linear"}.items():
        value = getattr(network.config, key)
        if value != expected:
            raise ConfigError(f"an ablated network needs {expected!r}, found {value!r}", location=key)
    (layer,) = network.layers
    assert isinstance(layer, WaveLayer)
    network.layers[0] = AblatedLayer(layer, ablation)
    return network


def freeze_embedding(network: WaveNetwork) -> WaveNetwork:
    """Keep the token embeddings at their present values, in place; the optimiser skips them."""
    network.embedding.weight.requires_grad_(False)
    return network


def _magnitudes(both: Tensor, index: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """``G`` of each variant, ``(B, D)`` each."""
    first, second = root(gathered_segment_sum(both.square(), index, offsets)).chunk(2, dim=1)
    return first, second


def _normalise(wave: Wave) -> Wave:
    """Divide a wave by its magnitude; where that is zero, the result and its derivative are zero."""
    magnitude = wave.magnitude
    filled = magnitude > 0
    divisor = torch.where(filled, magnitude, 1)
    real, imaginary = (torch.where(filled, component / divisor, 0) for component in wave)
    return Wave(real, imaginary)


def _split(both: Wave) -> tuple[Wave, Wave]:
    """Split the waves of both variants, ``(B, 2 D)``, into two of ``(B, D)``."""
    (real, second_real), (imaginary, second_imaginary) = (component.chunk(2, dim=1) for component in both)
    return Wave(real, imaginary), Wave(second_real, second_imaginary)
