"""A compiled network: plain arrays, and the way from features to logits without torch.

The native core computes where it is there; :mod:`token2wave.inference.reference` says the same in numpy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.core import core, n_threads
from token2wave.features.ragged import Ragged
from token2wave.features.words import WordFeatures
from token2wave.inference import reference
from token2wave.inference.reference import EMBEDDING
from token2wave.inference.sums import Sums
from token2wave.models.wave_config import ParameterCount, WaveConfig

Floats = NDArray[np.float32]
LITTLE = 1 << 14  # code points that one thread has done before another has begun
RESTORES = ("linear", "real", "magnitude")  # in the native core's order


class CompiledNetwork:
    """A compiled network: predicts without a deep-learning framework (:func:`compile_network`).

    Args:
        config: the network's shape.
        arrays: every parameter by name, float32. They must not change afterwards.
    """

    def __init__(self, config: WaveConfig, arrays: Mapping[str, Floats]) -> None:
        self.config = config
        self._arrays = {name: _frozen(arrays[name]) for name in config.parameter_shapes()}
        self._fits = supports_native(config)
        self._opened: Any = None

    def arrays(self) -> dict[str, Floats]:
        """Every parameter by name, not to be written to: part of them has been copied and expanded."""
        return dict(self._arrays)

    def parameter_count(self) -> ParameterCount:
        """Count the parameters, with and without the embedding."""
        return self.config.parameter_count()

    def logits(self, features: Ragged) -> Floats:
        """Compute the logits of ``N`` texts, ``(N, C)`` float32.

        A text's logits do not depend on the other texts. Several threads may ask at once.
        """
        native = self._native()
        if native is None:
            return reference.logits_of_features(self.config, self._arrays, features)
        out = np.empty((len(features), self.config.n_classes), dtype=np.float32)
        integers = (features.ids, np.int32), (features.offsets, np.int64), (features.n_ordered, np.int64)
        texts = tuple(np.ascontiguousarray(array, dtype) for array, dtype in integers)
        native.predict_rows(self._opened or self._open(native), texts, out, False, n_threads())
        return out

    def text_probabilities(self, features: WordFeatures, texts: list[str]) -> Floats | None:
        """Compute probabilities ``(N, C)`` straight from texts, in the native core; None without it.

        Raises:
            TypeError: an element of ``texts`` is no string.
        """
        native = self._native()
        if native is None:
            return None
        tables, words = self._opened or self._open(native), features.opened(native)
        out = np.empty((len(texts), self.config.n_classes), dtype=np.float32)
        native.predict_texts(words, tables, texts, out, True, _threads_for(texts))
        return out

    def utf8_probabilities(
        self, features: WordFeatures, utf8: Any, offsets: NDArray[np.int64]
    ) -> Floats | None:
        """The same of texts that lie one behind the other, as Arrow keeps them; None without the core.

        Args:
            features: of the model.
            utf8: a buffer of their bytes.
            offsets: ``(N + 1,)``: text ``i`` is ``utf8[offsets[i]:offsets[i + 1]]``.

        Raises:
            ValueError: the offsets do not fit the buffer, or the bytes are no UTF-8.
        """
        native = self._native()
        if native is None:
            return None
        tables, words = self._opened or self._open(native), features.opened(native)
        out = np.empty((len(offsets) - 1, self.config.n_classes), dtype=np.float32)
        n = n_threads() if len(out) > 1 and offsets[-1] - offsets[0] > LITTLE else 1
        native.predict_utf8(words, tables, (utf8, offsets), out, True, n)
        return out

    def sums(self, features: Ragged) -> Sums:
        """What ``N`` texts come to, to be added and subtracted; the logits depend on nothing else."""
        return reference.sums(self.config, self._arrays, features, exact=True)

    def logits_of(self, sums: Sums) -> Floats:
        """Compute the logits of texts, ``(N, C)`` float32, from their sums."""
        return reference.logits(self.config, self._arrays, sums)

    def energies(self, ids: NDArray[np.int32]) -> NDArray[np.float64]:
        """Energy that each feature brings to a text, ``(T,)``: its squares, summed over both variants."""
        return reference.energies(self.config, self._arrays, ids)

    @property
    def runs_natively(self) -> bool:
        """Whether the native core computes, rather than numpy."""
        return self._native() is not None

    def _native(self) -> Any:
        """The native core, if it is there and can run the network."""
        return core() if self._fits else None

    def _open(self, native: Any) -> Any:
        """The network as the native core holds it."""
        # Two threads may both open it, and one be dropped.
        rows, dense = self._arrays[EMBEDDING], dense_part(self.config, self._arrays)
        self._opened = native.open_tables(native_shape(self.config), rows, dense)
        return self._opened

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: the arrays alone."""
        return {**self.__dict__, "_opened": None}


def _threads_for(texts: list[str]) -> int:
    """Threads that are worth their start."""
    return n_threads() if len(texts) > 1 and sum(map(len, texts)) > LITTLE else 1


def supports_native(config: WaveConfig) -> bool:
    """Whether the native core can run a compiled network: widths are multiples of eight (its vectors)."""
    return config.width % 8 == 0 and config.context_width % 8 == 0


def native_shape(config: WaveConfig) -> tuple[int | bool, ...]:
    """A network's shape as the native core takes it."""
    return (
        *(config.n_rows, config.n_classes, config.width, config.context_width, config.context_radius),
        *(config.operation == "modulation", config.readout == "cls", config.variants == "linear"),
        *(RESTORES.index(config.restore), config.linear_svm, config.multi_label),
    )


def dense_part(config: WaveConfig, arrays: Mapping[str, Floats]) -> Floats:
    """All parameters but the embedding in one vector, float32, in the order of ``parameter_shapes``."""
    names = [name for name in config.parameter_shapes() if name != EMBEDDING]
    return np.concatenate([arrays[name].ravel() for name in names]).astype(np.float32)


def split_dense_part(config: WaveConfig, dense: Floats) -> dict[str, Floats]:
    """Parameters by name, as views into the vector that :func:`dense_part` makes."""
    found, at = {}, 0
    for name, shape in config.parameter_shapes().items():
        if name != EMBEDDING:
            size = math.prod(shape)
            found[name] = dense[at : at + size].reshape(shape)
            at += size
    return found


def _frozen(array: Floats) -> Floats:
    """A view that cannot be written to; a copy only where the type or the layout asks for it."""
    view = np.ascontiguousarray(array, dtype=np.float32).view()
    view.flags.writeable = False
    return view
