"""Networks without a part of the wave, with the parameters and initial weights of the whole network.

:func:`remove_from_waves` takes the phase or the magnitude away before the operation, in any network. For the
other ablations the only layer of a :class:`WaveNetwork` is replaced: the new layer takes over its parameters
and computes less from the same two variants ``w`` and ``w'``. Names, shapes and initial values of the
parameters stay the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from token2wave.errors import ConfigError
from token2wave.models import Batch, WaveNetwork
from token2wave.models.wave_network import WaveLayer
from token2wave.waves import Wave, first_token_wave, gathered_segment_sum, root, text_wave

Ablation = Callable[[Tensor, Tensor, Tensor], Wave]
"""Maps both variants of the distinct tokens, ``(U, 2 D)``, the index ``(T,)`` and the offsets of the texts
``(B + 1,)`` to the two halves, ``(B, D)`` each, of what is restored."""


def first_alone(both: Tensor, index: Tensor, offsets: Tensor) -> Wave:
    """[CLS] wave of the first variant, ``(w, s)``; the second variant is unused."""
    return _split(first_token_wave(both, index, offsets))[0]


def real_means(both: Tensor, index: Tensor, offsets: Tensor) -> Wave:
    """Averages of the two variants over all tokens, two real numbers: no squares, no complex numbers."""
    return Wave(*text_wave(both, index, offsets).real.chunk(2, dim=1))


def magnitudes_alone(both: Tensor, index: Tensor, offsets: Tensor) -> Wave:
    """Global semantics of the two variants, ``G`` and ``G'``, a pair of real numbers: no complex numbers."""
    return Wave(*_magnitudes(both, index, offsets))


ABLATIONS: dict[str, Ablation] = {
    "first-alone": first_alone,
    "real-means": real_means,
    "magnitudes-alone": magnitudes_alone,
}
"""Computation of an ablated layer from the two variants, by name."""


class AblatedLayer(nn.Module):
    """Replaces the only layer of a network, which has linear variants, and takes over its parameters."""

    def __init__(self, layer: WaveLayer, ablation: str) -> None:
        super().__init__()
        assert layer.variants is not None
        self.variants, self.restore = layer.variants, layer.restore
        self.ablation = ABLATIONS[ablation]

    def read_out(self, values: Tensor, index: Tensor, batch: Batch) -> Tensor:
        """State of each text, ``(B, D)``; see :meth:`WaveLayer.read_out`."""
        both = self.variants(values)  # (U, 2 D)
        state: Tensor = self.restore(self.ablation(both, index, batch.offsets))
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


def remove_from_waves(network: WaveNetwork, what: str) -> WaveNetwork:
    """Take phase or magnitude from both waves before the operation of every layer, in place.

    Args:
        network: with any read-out, levels and positions.
        what: ``phase``: a wave becomes its magnitude, with phase 0 (Re = G, Im = 0); or ``magnitude``: it
            becomes ``exp(i alpha)`` (Re = w / G, Im = s / G), and 0 where ``G`` is 0.

    Raises:
        ConfigError: something else is to be removed.
    """
    if what not in REMOVABLE:
        raise ConfigError(f"expected one of {', '.join(REMOVABLE)}, found {what!r}", location="ablation")
    for layer in cast("list[WaveLayer]", list(network.layers)):
        layer.operation = _OnRest(layer.operation, REMOVABLE[what])
    return network


@dataclass(frozen=True)
class _OnRest:
    """An operation on what remains of two waves."""

    operation: Callable[[Wave, Wave], Wave]
    remains: Callable[[Wave], Wave]

    def __call__(self, first: Wave, second: Wave) -> Wave:
        return self.operation(self.remains(first), self.remains(second))


def _without_phase(wave: Wave) -> Wave:
    magnitude = wave.magnitude
    return Wave(magnitude, torch.zeros_like(magnitude))


def freeze_embedding(network: WaveNetwork) -> WaveNetwork:
    """Keep the token embeddings at their present values, in place; the optimiser skips them."""
    network.embedding.weight.requires_grad_(False)
    return network


def _magnitudes(both: Tensor, index: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """``G`` of each variant, ``(B, D)`` each."""
    first, second = root(gathered_segment_sum(both.square(), index, offsets)).chunk(2, dim=1)
    return first, second


def _without_magnitude(wave: Wave) -> Wave:
    """Divide a wave by its magnitude; where that is zero, the result and its derivative are zero."""
    magnitude = wave.magnitude
    filled = magnitude > 0
    divisor = torch.where(filled, magnitude, 1)
    real, imaginary = (torch.where(filled, component / divisor, 0) for component in wave)
    return Wave(real, imaginary)


REMOVABLE: dict[str, Callable[[Wave], Wave]] = {"phase": _without_phase, "magnitude": _without_magnitude}
"""What remains of a wave, by what is removed."""


def _split(both: Wave) -> tuple[Wave, Wave]:
    """Split the waves of both variants, ``(B, 2 D)``, into two of ``(B, D)``."""
    (real, second_real), (imaginary, second_imaginary) = (component.chunk(2, dim=1) for component in both)
    return Wave(real, imaginary), Wave(second_real, second_imaginary)
