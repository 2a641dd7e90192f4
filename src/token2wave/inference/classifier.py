"""A trained model: features, network and names of the classes, as one thing."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from token2wave.errors import ConfigError, DataError
from token2wave.features import Features, Ragged, WordFeatures
from token2wave.features.text import pieces
from token2wave.inference import reference
from token2wave.inference.arrow_texts import is_arrow, utf8_of
from token2wave.inference.compiled import CompiledNetwork
from token2wave.inference.novelty import NoveltyReference
from token2wave.inference.prediction import Prediction, prediction_of
from token2wave.metrics import Evaluation, evaluate_decisions, evaluate_predictions
from token2wave.models.wave_config import ParameterCount, WaveConfig
from token2wave.storage.encodings import EncodedArray
from token2wave.storage.model_file import ModelFile, write_model_file
from token2wave.versions import versions

if TYPE_CHECKING:
    from token2wave.explanation import Explanation
    from token2wave.inference.state import SlidingWindow, State

FEATURE_PREFIX = "features."
TEXTS_BETWEEN_REPORTS = 8_192
LONG_TEXT = 1 << 16  # code points


class Network(Protocol):
    """What a classifier needs of a network: one in torch, or tables, which need none."""

    config: WaveConfig

    def logits(self, features: Ragged) -> NDArray[np.float32]:
        """Compute the logits of ``N`` texts, ``(N, C)`` float32."""

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Every parameter by name."""

    def parameter_count(self) -> ParameterCount:
        """Count the parameters."""


@dataclass
class Classifier:
    """A trained text classifier.

    Attributes:
        features: turns texts into rows of the embedding.
        network: turns rows into logits.
        label_names: names of the ``C`` classes, in the order of the logits.
        training: record of the run that made it; plain data.
        written_by: versions of the packages that trained it.
        stored: arrays that the model file holds in a smaller form, by name; saved again as they are.
        thresholds: where a text may have several classes, or none, the probability from which on it is given
            each, ``C`` of them, a half if they are not given; else none.
        novelty_reference: what is usual in texts that training did not see; None where too few were held
            back, or the model is older.

    Example:
        >>> import token2wave
        >>> classifier = token2wave.load("news.safetensors")  # doctest: +SKIP
        >>> classifier.predict("Shares fell after the report").label  # doctest: +SKIP
        'Business'
    """

    features: Features
    network: Network
    label_names: tuple[str, ...]
    training: dict[str, Any] = field(default_factory=dict)
    written_by: dict[str, Any] = field(default_factory=versions)
    stored: dict[str, EncodedArray] = field(default_factory=dict)
    thresholds: tuple[float, ...] = ()
    novelty_reference: NoveltyReference | None = None

    def __post_init__(self) -> None:
        lacks_cls = isinstance(self.features, WordFeatures) and not self.features.config.cls
        if lacks_cls and self.network.config.readout == "cls":
            raise ConfigError("reads out [CLS], which the features do not have", location="network.readout")
        if self.multi_label and not self.thresholds:
            self.thresholds = (0.5,) * len(self.label_names)
        wanted = len(self.label_names) if self.multi_label else 0
        if len(self.thresholds) != wanted or not all(0 <= share <= 1 for share in self.thresholds):
            raise ConfigError(
                f"expected {wanted} probabilities, found {self.thresholds!r:.60}", location="thresholds"
            )

    @property
    def multi_label(self) -> bool:
        """Whether each class is decided by itself, so that a text may have several, or none."""
        return self.network.config.multi_label

    def probabilities(
        self, texts: Sequence[str], advance: Callable[[int], None] | None = None
    ) -> NDArray[np.float32]:
        """Compute the probability of every class for every text.

        Args:
            texts: ``N`` strings, whatever they hold; a text without a known word is legal. An array of
                ``pyarrow`` gives the same numbers, and is the quickest: the core reads its bytes as they lie.
            advance: told how many more texts are featurised, for a progress bar.

        Returns:
            ``(N, C)`` float32; rows sum to one, but where a text may have several classes.

        Raises:
            TypeError: ``texts`` is one string, or holds something that is no string.
            DataError: an array of ``pyarrow`` holds bytes that are no UTF-8.
        """
        if isinstance(texts, str):
            raise TypeError("expected a list of texts, found one string; use predict(text) or [text]")
        if is_arrow(texts):
            return self._of_arrow(texts, advance)
        try:
            if isinstance(self.network, CompiledNetwork) and isinstance(self.features, WordFeatures):
                found = self._straight(self.network, self.features, texts, advance)
                if found is not None:
                    return found
                if any(len(text) > LONG_TEXT for text in texts):
                    return self._piece_by_piece(texts, advance)
            logits = self.network.logits(self.features(texts, advance))
        except (TypeError, AttributeError):
            _require_strings(texts)  # checking beforehand would cost time
            raise
        return reference.probabilities(logits, self.network.config.multi_label)

    def _of_arrow(self, texts: Any, advance: Callable[[int], None] | None) -> NDArray[np.float32]:
        """Probabilities of an array of Arrow, from its bytes where the native core computes."""
        parts = [np.zeros((0, self.network.config.n_classes), dtype=np.float32)]
        try:
            for some in utf8_of(texts):
                part = None
                if isinstance(self.network, CompiledNetwork) and isinstance(self.features, WordFeatures):
                    part = self.network.utf8_probabilities(self.features, *some)
                if part is None:
                    return self.probabilities(texts.to_pylist(), advance)
                parts.append(part)
                if advance is not None:
                    advance(len(part))
        except ValueError as error:
            raise DataError("expected strings of UTF-8, found other bytes", location="texts") from error
        return np.concatenate(parts)

    def _piece_by_piece(
        self, texts: Sequence[str], advance: Callable[[int], None] | None
    ) -> NDArray[np.float32]:
        """Probabilities where some texts are so long that numpy would need much memory for them at once."""
        from token2wave.inference.state import State

        shares = self.probabilities(["" if len(text) > LONG_TEXT else text for text in texts], advance)
        for number, text in enumerate(texts):
            if len(text) > LONG_TEXT:
                state = State(self, removable=False)
                for piece in pieces(text, LONG_TEXT):
                    state.update(piece)
                shares[number] = state.probabilities()
        return shares

    @staticmethod
    def _straight(
        network: CompiledNetwork,
        features: WordFeatures,
        texts: Sequence[str],
        advance: Callable[[int], None] | None,
    ) -> NDArray[np.float32] | None:
        """Probabilities from texts in one call of the native core, or one for each step of a progress bar."""
        if advance is None:
            return network.text_probabilities(features, list(texts))
        parts = [np.zeros((0, network.config.n_classes), dtype=np.float32)]
        for first in range(0, len(texts), TEXTS_BETWEEN_REPORTS):
            some = list(texts[first : first + TEXTS_BETWEEN_REPORTS])
            part = network.text_probabilities(features, some)
            if part is None:
                return None
            parts.append(part)
            advance(len(some))
        return np.concatenate(parts)

    def labels(self, texts: Sequence[str]) -> list[str]:
        """Name the most probable class of every text; the quickest way for many.

        Raises:
            TypeError: as :meth:`probabilities`.
            ConfigError: a text may have several classes, or none.
        """
        if self.multi_label:
            raise ConfigError(
                "expected a model of one class a text; with this one a text may have several, or none",
                location="labels",
                hint="use label_sets",
            )
        names = self.label_names
        return [names[best] for best in self.probabilities(texts).argmax(axis=1).tolist()]

    def label_sets(self, texts: Sequence[str]) -> list[tuple[str, ...]]:
        """Name the classes that every text is given, in the classes' order.

        Raises:
            TypeError: as :meth:`probabilities`.
        """
        if not self.multi_label:
            return [(label,) for label in self.labels(texts)]
        names = self.label_names
        return [
            tuple(names[i] for i in np.flatnonzero(row)) for row in self._given(self.probabilities(texts))
        ]

    def _given(self, probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which classes texts are given, ``(N, C)``, where they may have several."""
        given: NDArray[np.bool_] = probabilities.astype(np.float64) >= np.array(self.thresholds)
        return given

    def novelty(self, texts: Sequence[str]) -> NDArray[np.float64] | None:
        """Say how unlike the training texts each text is.

        It is the share of the texts held back from training that are less unlike it: 0.99 means more unlike
        than 99 % of them (:mod:`token2wave.inference.novelty`). It takes longer than the probabilities.

        Args:
            texts: ``N`` strings.

        Returns:
            ``(N,)`` float64 from 0 to 1; None if :attr:`novelty_reference` is.

        Raises:
            TypeError: as :meth:`probabilities`.
        """
        if isinstance(texts, str):
            raise TypeError("expected a list of texts, found one string; use [text]")
        if self.novelty_reference is None:
            return None
        try:
            features, n_unknown = self.features.with_unknown(texts)
        except (TypeError, AttributeError):
            _require_strings(texts)
            raise
        return self.novelty_reference.novelty(n_unknown, features.lengths, self.network.logits(features))

    def predict(self, text: str, top_k: int = 1, novelty: bool = False) -> Prediction:
        """Classify one text.

        Args:
            text: any string.
            top_k: how many classes to give in ``top``; all, if there are fewer.
            novelty: whether to say how unlike the training texts it is, too.

        Raises:
            TypeError: ``text`` is no string.
        """
        if not isinstance(text, str):
            raise TypeError(
                f"expected one string, found {type(text).__name__}; use predict_batch for several"
            )
        found = self.prediction(self.probabilities([text])[0].tolist(), top_k)
        return self._with_novelty([found], [text])[0] if novelty else found

    def predict_batch(
        self,
        texts: Sequence[str],
        top_k: int = 1,
        advance: Callable[[int], None] | None = None,
        novelty: bool = False,
    ) -> list[Prediction]:
        """Classify many texts; equal to :meth:`predict` on each, in numpy and torch but for the last digits.

        Raises:
            TypeError: as :meth:`probabilities`.
        """
        found = [self.prediction(row, top_k) for row in self.probabilities(texts, advance).tolist()]
        return self._with_novelty(found, texts) if novelty else found

    def _with_novelty(self, predictions: list[Prediction], texts: Sequence[str]) -> list[Prediction]:
        novelty = self.novelty(texts)
        if novelty is None:
            return predictions
        both = zip(predictions, novelty.tolist(), strict=True)
        return [prediction._replace(novelty=share) for prediction, share in both]

    def prediction(self, probabilities: Sequence[float], top_k: int = 1) -> Prediction:
        """Name the classes of a text, given the probability of each."""
        return prediction_of(probabilities, self.label_names, top_k, self.thresholds)

    def evaluate(
        self, texts: Sequence[str], labels: NDArray[Any], advance: Callable[[int], None] | None = None
    ) -> Evaluation:
        """Hold predictions against the truth.

        Args:
            texts: ``N`` strings.
            labels: ``(N,)`` int64, their true classes; or ``(N, C)`` bool where a text may have several.
            advance: told how many more texts are featurised.
        """
        found = self.probabilities(texts, advance)
        if self.multi_label:
            return evaluate_decisions(labels, self._given(found), self.label_names, found)
        return evaluate_predictions(labels, found.argmax(axis=1), self.label_names, found)

    def state(self, removable: bool = True) -> State:
        """Begin a text that comes in passage by passage; see :class:`token2wave.State`.

        Args:
            removable: keep the tokens, 8 bytes each, so that words can be removed again.

        Raises:
            ConfigError: the network does not compile.
        """
        from token2wave.inference.state import State

        return State(self, removable)

    def state_from_bytes(self, packed: bytes) -> State:
        """Unpack a state that :meth:`State.to_bytes` packed.

        Raises:
            ModelFileError: it is damaged, or belongs to another model.
        """
        from token2wave.inference.state import State

        return State.from_bytes(self, packed)

    def window(self, n_tokens: int) -> SlidingWindow:
        """Watch the last tokens of an endless stream; see :class:`token2wave.SlidingWindow`.

        Raises:
            ConfigError: the network does not compile, or ``n_tokens`` is not positive.
        """
        from token2wave.inference.state import SlidingWindow

        return SlidingWindow(self, n_tokens)

    def explain(self, text: str, unit: str = "word") -> Explanation:
        """Say what each part of a text does to the prediction; see :class:`token2wave.Explanation`.

        Args:
            text: any string.
            unit: parts to leave out, one at a time: ``token``, ``word`` or ``sentence``.

        Raises:
            ConfigError: the network does not compile, or there is no such unit.
            TypeError: ``text`` is no string.
        """
        from token2wave.explanation.explain import explain

        return explain(self, text, unit)

    @property
    def computes_with(self) -> str:
        """What predicts: ``native core``, ``numpy`` or ``torch``."""
        if not isinstance(self.network, CompiledNetwork):
            return "torch"
        return "native core" if self.network.runs_natively else "numpy"

    def description(self) -> dict[str, Any]:
        """Say what the model is, as plain data: classes, sizes, settings, the record of its training."""
        parameters = self.network.parameter_count()
        return {
            "labels": list(self.label_names),
            **({"thresholds": list(self.thresholds)} if self.multi_label else {}),
            "parameters": parameters.total,
            "parameters_without_embedding": parameters.without_embedding,
            "features": {"kind": self.features.kind, **self.features.config.to_dict()},
            "network": self.network.config.to_dict(),
            "training": self.training,
            "versions": self.written_by,
            "computes_with": self.computes_with,
        }

    @cached_property
    def fingerprint(self) -> int:
        """Number that depends on all that a prediction depends on, to tell models apart."""
        settings = [self.features.kind, self.features.config.to_dict(), self.network.config.to_dict()]
        names = [*settings, self.label_names, *([self.thresholds] if self.multi_label else [])]
        number = zlib.crc32(json.dumps(names, sort_keys=True).encode())
        for arrays in (self.features.arrays(), self.network.arrays()):
            for name in sorted(arrays):
                number = zlib.crc32(arrays[name].tobytes(), number)
        return number

    def save(self, path: str | os.PathLike[str]) -> int:
        """Write the model file and return its size in bytes. The same model gives the same bytes.

        Raises:
            OutputError: the place cannot be written to; a file that was there is left as it was.
        """
        arrays = {**self.network.arrays(), **_features_arrays(self.features)}
        current = {
            name: stored
            for name, stored in self.stored.items()
            if name in arrays and np.array_equal(stored.decoded(), arrays[name])
        }
        write_model_file(Path(path), replace(self, stored=current).to_file())
        return Path(path).stat().st_size

    def to_file(self) -> ModelFile:
        """What the model file holds."""
        tensors: dict[str, NDArray[Any]] = {**self.network.arrays(), **_features_arrays(self.features)}
        return ModelFile(
            tensors=tensors,
            features={"kind": self.features.kind, "settings": self.features.config.to_dict()},
            network=self.network.config.to_dict(),
            labels=list(self.label_names),
            training=self.training,
            versions=self.written_by,
            stored=self.stored,
            thresholds=list(self.thresholds),
            novelty=None if self.novelty_reference is None else self.novelty_reference.to_dict(),
        )


def _features_arrays(features: Features) -> dict[str, NDArray[Any]]:
    """Arrays of the features by their names in the file."""
    return {FEATURE_PREFIX + name: array for name, array in features.arrays().items()}


def _require_strings(texts: Sequence[str]) -> None:
    """Say which element is no string.

    Raises:
        TypeError: there is one.
    """
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"expected strings, found {type(text).__name__} at texts[{i}]") from None
