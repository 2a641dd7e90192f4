"""Routes from texts to probabilities: the native core, a compiled network in numpy, or torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.errors import InputError
from token2wave.features import WordFeatures
from token2wave.features.text import pieces
from token2wave.inference import reference
from token2wave.inference.arrow_texts import NOT_UTF8, Utf8, is_arrow, strings_of, utf8_of
from token2wave.inference.compiled import PROBABILITIES, WAVES, CompiledNetwork
from token2wave.inference.model import Model
from token2wave.inference.state import State
from token2wave.inference.vectors import to_vectors

TEXTS_CHUNK = 8_192  # between two reports to a progress bar
LONG_TEXT = 1 << 16  # code points

Advance = Callable[[int], None] | None
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Route:
    """Turns texts into features, and features into probabilities.

    Attributes:
        model: the model that predicts.
        name: ``native core``, ``numpy`` or ``torch``.
    """

    model: Model
    name: str

    def probabilities(self, texts: Any, advance: Advance = None) -> Floats:
        """Compute ``(N, C)`` probabilities of ``N`` texts, a list or a ``pyarrow`` array."""
        return self.predict(texts, advance)[0]

    def predict(self, texts: Any, advance: Advance = None) -> tuple[Floats, Mask]:
        """Compute probabilities ``(N, C)``, and whether anything of each text is known, ``(N,)``."""
        return self.of_strings(strings_of(texts) if is_arrow(texts) else texts, advance)

    def of_strings(self, texts: Sequence[str], advance: Advance) -> tuple[Floats, Mask]:
        """As :meth:`predict`, of strings."""
        network, features = self.model.network, self.model.features(texts, advance)
        probabilities = reference.probabilities(network.logits(features), network.config.multi_label)
        return probabilities, self.model.features.n_known(features) > 0

    def vectors(self, texts: Any, advance: Advance = None) -> Floats:
        """Compute the vectors of texts, ``(N, W)``; see :mod:`token2wave.inference.vectors`.

        Raises:
            ConfigError: the network does not compile.
        """
        network = self.model.compiled()
        features = self.model.features(strings_of(texts) if is_arrow(texts) else texts, advance)
        return to_vectors(network.waves(features), self.model.features.n_known(features) > 0)


@dataclass(frozen=True)
class NumpyRoute(Route):
    """As :class:`Route`, but long texts go through a state piece by piece, so that memory stays bounded."""

    def of_strings(self, texts: Sequence[str], advance: Advance) -> tuple[Floats, Mask]:
        """As :meth:`predict`, of strings."""
        long_texts = [i for i, text in enumerate(texts) if len(text) > LONG_TEXT]
        if long_texts:
            short_texts = ["" if len(text) > LONG_TEXT else text for text in texts]
        probabilities, known = super().of_strings(short_texts if long_texts else texts, advance)
        for i in long_texts:
            state = self._state_of(texts[i])
            probabilities[i], known[i] = state.network_probabilities(), state.known
        return probabilities, known

    def vectors(self, texts: Any, advance: Advance = None) -> Floats:
        """As :class:`Route`, with bounded memory."""
        strings = strings_of(texts) if is_arrow(texts) else texts
        long_texts = [i for i, text in enumerate(strings) if len(text) > LONG_TEXT]
        if long_texts:
            short_texts = ["" if len(text) > LONG_TEXT else text for text in strings]
        vectors = super().vectors(short_texts if long_texts else strings, advance)
        for i in long_texts:
            vectors[i] = self._state_of(strings[i]).vector()
        return vectors

    def _state_of(self, text: str) -> State:
        state = State(self.model, removable=False)
        for piece in pieces(text, LONG_TEXT):
            state.update(piece)
        return state


@dataclass(frozen=True)
class NativeRoute(Route):
    """The native core turns texts into probabilities in one call."""

    network: CompiledNetwork
    features: WordFeatures

    def predict(self, texts: Any, advance: Advance = None) -> tuple[Floats, Mask]:
        """As :class:`Route`; the core reads the bytes of an Arrow array in place."""
        probabilities, known = self._run(texts, advance, PROBABILITIES)
        return reference.require_finite(probabilities), known

    def vectors(self, texts: Any, advance: Advance = None) -> Floats:
        """As :class:`Route`."""
        return to_vectors(*self._run(texts, advance, WAVES))

    def _run(self, texts: Any, advance: Advance, output: int) -> tuple[Floats, Mask]:
        chunks: Iterable[list[str] | Utf8]
        if is_arrow(texts):
            chunks = utf8_of(texts)
        elif advance is None:
            return self.network.text_probabilities(self.features, list(texts), output)
        else:
            starts = range(0, len(texts), TEXTS_CHUNK)
            chunks = (list(texts[first : first + TEXTS_CHUNK]) for first in starts)
        results = [(np.zeros((0, self.network.width_of(output)), np.float32), np.zeros(0, bool))]
        try:
            for chunk in chunks:
                results.append(self.network.text_probabilities(self.features, chunk, output))
                if advance is not None:
                    advance(len(results[-1][1]))
        except InputError:
            raise
        except ValueError as error:
            raise InputError(NOT_UTF8, location="texts") from error
        numbers, known = (np.concatenate(column) for column in zip(*results, strict=True))
        return numbers, known


def choose_route(model: Model) -> Route:
    """Choose the native core if it supports the model, else numpy, or torch if it does not compile."""
    network, features = model.network, model.features
    if not isinstance(network, CompiledNetwork):
        return Route(model, "torch")
    if not isinstance(features, WordFeatures) or network.config.window_words:
        return Route(model, "native core" if network.runs_natively else "numpy")
    if network.runs_natively:
        return NativeRoute(model, "native core", network, features)
    return NumpyRoute(model, "numpy")
