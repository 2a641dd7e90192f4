"""Compiles a trained network to plain arrays that predict without torch.

A network compiles, exactly to rounding, if its read-out sees a text only through sums over its tokens. What
is left is a table with both variants of every token, sums over the tokens, and one small dense network. The
native core computes it; :mod:`token2wave.inference.reference` is the same in numpy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.core import load_core, n_threads
from token2wave.errors import ConfigError
from token2wave.features.ragged import Ragged
from token2wave.features.words import WordFeatures
from token2wave.inference import reference
from token2wave.inference.arrow_texts import Utf8
from token2wave.inference.reference import EMBEDDING, OOV, WINDOWS, Numbers
from token2wave.inference.sums import Sums
from token2wave.inference.windows import Windows, extremes_without
from token2wave.models.registry import NATIVE, NUMPY, READOUTS
from token2wave.models.wave_config import ParameterCount, WaveConfig

Floats = NDArray[np.float32]
SMALL_BATCH = 1 << 14  # code points or bytes; one thread is done before another starts
LOGITS, PROBABILITIES, WAVES = range(3)  # numbers of a text that the native core computes
# In the native core's order.
NATIVE_OPERATIONS, NATIVE_READOUTS = ("interference", "modulation"), ("text", "cls")
NATIVE_RESTORES = ("linear", "real", "magnitude")


def reason_not_to_compile(config: WaveConfig) -> str | None:
    """Explain why a network does not compile; None if it does."""
    if config.layers > 1:
        return f"it has {config.layers} layers, and the tokens of the second layer depend on the whole text"
    if config.norms_layers or config.feed_forward or config.activation != "none":
        return "its layer has a norm, a hidden layer or an activation"
    if config.positions != "none":
        return "it adds positions, so that a token's numbers depend on its place"
    if READOUTS[config.readout].pools_states:
        return f"read-out {config.readout!r} sees every token's wave, which depends on the whole text"
    if problem := config.unsupported_by(NUMPY):
        return problem
    if config.variants == "levels":
        return "one of its waves is that of the first sentence, whose end is not known from sums"
    return None


def compile_network(config: WaveConfig, arrays: Mapping[str, Floats]) -> CompiledNetwork:
    """Compile a trained network.

    Args:
        config: its shape.
        arrays: every parameter by name, float32; shared, so do not change them.

    Returns:
        A network that gives the same logits, to rounding.

    Raises:
        ConfigError: the network does not compile; the message says why.
    """
    reason = reason_not_to_compile(config)
    if reason is not None:
        raise ConfigError(
            f"cannot be compiled: {reason}",
            location="network",
            hint="predict with the classifier through torch, or train a preset",
        )
    return CompiledNetwork(config, arrays)


class CompiledNetwork:
    """A network that predicts without torch; made by :func:`compile_network`."""

    def __init__(self, config: WaveConfig, arrays: Mapping[str, Floats]) -> None:
        self.config = config
        self._arrays = {name: _frozen(arrays[name]) for name in config.parameter_shapes()}
        self._choose_core()

    def _choose_core(self) -> None:
        self._core = load_core() if supports_native(self.config) else None
        self._native_handle: Any = None

    def arrays(self) -> dict[str, Floats]:
        """Every parameter by name, read-only."""
        return dict(self._arrays)

    def parameter_count(self) -> ParameterCount:
        """Count the parameters, with and without the embedding."""
        return self.config.parameter_count()

    def logits(self, features: Ragged) -> Floats:
        """Compute the logits of ``N`` texts, ``(N, C)`` float32.

        A text's logits do not depend on the other texts. It is safe to call from several threads.
        """
        logits = self._of_features(features, LOGITS)
        return self.add_windows(logits, features) if self.config.window_words else logits

    def add_windows(self, logits: Floats, features: Ragged) -> Floats:
        """Add what the window level gives to the logits of ``N`` texts, ``(N, C)`` float32."""
        windows = Windows.of(features, self.config.window_words)
        return np.asarray(logits + windows.extremes(self.window_scores(windows)), dtype=np.float32)

    def window_scores(self, windows: Windows) -> Numbers:
        """Score windows for every class, ``(M, C)``, as the window level does."""
        return windows.scores(self._arrays[WINDOWS]) + self._arrays["windows.bias"]

    def extremes_without(self, words: NDArray[np.int32], removed: NDArray[np.int64]) -> Numbers:
        """Compute what the window level gives to a text without each of ``P`` runs of words, ``(P, C)``.

        Args:
            words: rows of all words of the text.
            removed: see :func:`token2wave.inference.windows.extremes_without`.
        """
        totals = np.zeros((len(words) + 1, self.config.n_classes))
        np.cumsum(self._arrays[WINDOWS][words], axis=0, dtype=np.float64, out=totals[1:])
        extremes = extremes_without(totals, removed, self.config.window_words)
        return np.asarray(extremes + self._arrays["windows.bias"])

    def waves(self, features: Ragged) -> Floats:
        """Return what the branches see of ``N`` texts, ``(N, W)`` float32; see :func:`reference.waves`."""
        return self._of_features(features, WAVES)

    def waves_of(self, sums: Sums) -> Floats:
        """As :meth:`waves`, from sums."""
        return reference.waves(self.config, self._arrays, sums)

    def width_of(self, output: int) -> int:
        """Count the numbers of each text: ``C``, or those of :meth:`waves`."""
        config = self.config
        svm_width = config.n_classes * config.linear_svm
        return 2 * (config.width + config.context_width) + svm_width if output == WAVES else config.n_classes

    def _of_features(self, features: Ragged, output: int) -> Floats:
        if self._core is None:
            function = reference.waves_of_features if output == WAVES else reference.logits_of_features
            return function(self.config, self._arrays, features)
        out = np.empty((len(features), self.width_of(output)), dtype=np.float32)
        n_oov_tokens = np.zeros(0, np.int64) if features.n_oov_tokens is None else features.n_oov_tokens
        long = (features.offsets, features.n_ordered, n_oov_tokens)
        integers = (features.ids, np.int32), *((array, np.int64) for array in long)
        rows = tuple(np.ascontiguousarray(array, dtype) for array, dtype in integers)
        self._core.predict_rows(self.native_handle(), rows, out, output, n_threads())
        return out

    def text_probabilities(
        self, features: WordFeatures, texts: list[str] | Utf8, output: int = PROBABILITIES
    ) -> tuple[Floats, NDArray[np.bool_]]:
        """Compute probabilities ``(N, C)`` in the native core, which must be there.

        Also say whether the model knows anything of each text, ``(N,)``.

        Args:
            features: those of the model.
            texts: ``N`` strings, or the bytes of an Arrow array.
            output: ``PROBABILITIES``, or ``WAVES`` for those of :meth:`waves`.

        Raises:
            TypeError: an element of ``texts`` is not a string.
            ConfigError: the network has a window level.
            ValueError: the offsets do not fit the bytes, or the bytes are not UTF-8.
        """
        native = self._require_core()
        if self.config.window_words:
            problem = "expected a network without a window level, which is not in the core's single call"
            raise ConfigError(problem, location="network", hint="predict with the classifier")
        if isinstance(texts, list):
            predict, n = native.predict_texts, len(texts)
            size = sum(map(len, texts)) if n > 1 else 0
        else:
            predict, n = native.predict_utf8, len(texts.offsets) - 1
            size = int(texts.offsets[-1] - texts.offsets[0])
        out = np.empty((n, self.width_of(output)), dtype=np.float32)
        threads = n_threads() if n > 1 and size > SMALL_BATCH else 1
        known = np.empty(n, dtype=bool)
        predict(features.native_handle(native), self.native_handle(), texts, out, known, output, threads)
        return out, known

    def logits_without_parts(
        self,
        features: WordFeatures,
        text: str,
        ends: NDArray[np.int64] | None,
        should_stop: Callable[[], bool] | None,
    ) -> tuple[NDArray[np.int64], Numbers, NDArray[np.bool_], Floats, bool, bool]:
        """Compute the logits of a text without each of its parts in the native core, which must be there.

        Args:
            features: those of the model.
            text: any string.
            ends: int64, increasing, where each part but the last ends; None makes every token a part.
            should_stop: asked between chunks of parts; once it is true, there are fewer parts.

        Returns:
            What :class:`token2wave.explanation.removal.PartLogits` has.
        """
        native = self._require_core()
        handles = features.native_handle(native), self.native_handle()
        part_ends = np.zeros(0, np.int64) if ends is None else ends
        spans, energy, known, logits, complete, is_known = native.explain_text(
            *handles, text, part_ends, ends is not None, should_stop
        )
        return (
            np.frombuffer(spans, np.int64).reshape(-1, 2),
            np.frombuffer(energy, np.float64),
            np.frombuffer(known, np.bool_),
            np.frombuffer(logits, np.float32).reshape(-1, self.config.n_classes),
            complete,
            is_known,
        )

    def sums(self, features: Ragged, context: bool = True) -> Sums:
        """Compute the sums of ``N`` texts, which can be added and subtracted; see :func:`reference.sums`."""
        return reference.sums(self.config, self._arrays, features, exact=True, context=context)

    def context_sums_without(
        self, words: NDArray[np.int32], removed: NDArray[np.int64]
    ) -> Iterator[tuple[Numbers, Numbers, Numbers]]:
        """Compute context sums without some words; see :func:`reference.context_sums_without`."""
        return reference.context_sums_without(self.config, self._arrays, words, removed)

    def logits_of(self, sums: Sums) -> Floats:
        """Compute logits ``(N, C)`` float32 from sums."""
        return reference.logits(self.config, self._arrays, sums)

    def energies(self, ids: NDArray[np.int32]) -> NDArray[np.float64]:
        """Compute the energy of each feature, ``(T,)``: its squares, summed over both variants."""
        return reference.energies(self.config, self._arrays, ids)

    def variants(self, ids: NDArray[np.int32]) -> Floats:
        """Return both variants of features side by side, ``(T, 2 D)``; see :meth:`energies`."""
        return reference.variants_of(self.config, self._arrays, ids)

    def oov_weights(self, ids: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return the SVM weights of ids of the OOV table, ``(E, C)``."""
        return self._arrays[OOV][ids - self.config.n_rows].astype(np.float64)

    @property
    def runs_natively(self) -> bool:
        """Whether the native core computes, rather than numpy."""
        return self._core is not None

    def _require_core(self) -> Any:
        if self._core is None:
            raise ValueError("expected a network that the native core runs")
        return self._core

    def native_handle(self) -> Any:
        """The network as the native core holds it."""
        if self._native_handle is None:  # two threads may both open it; one result is dropped
            dense = join_dense(self.config, self._arrays)
            shape = native_shape(self.config)
            self._native_handle = self._require_core().open_network(shape, self._arrays[EMBEDDING], dense)
        return self._native_handle

    def __getstate__(self) -> dict[str, Any]:
        """Copy and pickle the arrays alone."""
        return {**self.__dict__, "_core": None, "_native_handle": None}

    def __setstate__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)
        self._choose_core()


def supports_native(config: WaveConfig) -> bool:
    """Whether the native core can run a network: its widths are multiples of eight, the size of a vector."""
    return config.width % 8 == 0 and config.context_width % 8 == 0 and config.unsupported_by(NATIVE) is None


def native_shape(config: WaveConfig) -> tuple[int | bool, ...]:
    """Return a network's shape as the native core takes it."""
    return (
        *(config.n_rows, config.n_classes, config.width, config.context_width, config.context_radius),
        *(NATIVE_OPERATIONS.index(config.operation), NATIVE_READOUTS.index(config.readout)),
        *(config.variants == "linear", NATIVE_RESTORES.index(config.restore)),
        *(config.linear_svm, config.multi_label, config.n_oov),
    )


def join_dense(config: WaveConfig, arrays: Mapping[str, Floats]) -> Floats:
    """Join all parameters but the embedding and the window level in one float32 vector, in their order."""
    names = [name for name in config.parameter_shapes() if name != EMBEDDING and "windows." not in name]
    return np.concatenate([arrays[name].ravel() for name in names]).astype(np.float32)


def split_dense(config: WaveConfig, dense: Floats) -> dict[str, Floats]:
    """Return the parameters by name, as views into a vector that :func:`join_dense` made."""
    return {name: dense[first:last].reshape(shape) for name, first, last, shape in _dense_layout(config)}


@lru_cache(maxsize=64)
def _dense_layout(config: WaveConfig) -> tuple[tuple[str, int, int, tuple[int, ...]], ...]:
    """Name, first and last place, and shape of each parameter; kept, since training asks every epoch."""
    layout, start = [], 0
    for name, shape in config.parameter_shapes().items():
        if name != EMBEDDING:
            end = start + math.prod(shape)
            layout.append((name, start, end, shape))
            start = end
    return tuple(layout)


def _frozen(array: Floats) -> Floats:
    """Return a read-only view; a copy only if type or layout require it."""
    view = np.ascontiguousarray(array, dtype=np.float32).view()
    view.flags.writeable = False
    return view
