"""A trained model: features, network and class names as one frozen value."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from token2wave.errors import ConfigError
from token2wave.features import Features, PairFeatures, Ragged, TextFeatures, WordFeatures, describe_features
from token2wave.features.pairs import SEPARATOR
from token2wave.inference import reference
from token2wave.inference.compiled import CompiledNetwork, compile_network
from token2wave.inference.drift_sums import DriftSums
from token2wave.inference.novelty import NoveltyReference
from token2wave.inference.prediction import Prediction, make_prediction
from token2wave.models.wave_config import ParameterCount, WaveConfig
from token2wave.score_scale import ScoreScale
from token2wave.storage.encodings import EncodedArray
from token2wave.storage.model_file import FEATURE_PREFIX, ModelFile, write_model_file
from token2wave.storage.outputs import Outputs
from token2wave.storage.safetensors_writer import bytes_of
from token2wave.versions import versions


class Network(Protocol):
    """What a model needs of its network: a :class:`CompiledNetwork`, or a network in torch."""

    config: WaveConfig

    def logits(self, features: Ragged) -> NDArray[np.float32]:
        """Compute the logits of ``N`` texts, ``(N, C)`` float32."""

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Every parameter by name."""

    def parameter_count(self) -> ParameterCount:
        """Count the parameters."""


@dataclass(frozen=True, eq=False)
class Model:
    """A trained model. It holds all that a prediction depends on.

    Attributes:
        features: turns texts into rows of the embedding.
        network: turns rows into logits.
        label_names: names of the ``C`` classes, in the order of the logits. In a model of scores they are its
            grades or ranges of scores, one more than the network has logits (:mod:`token2wave.score_scale`).
        training: record of the training run, plain data.
        written_by: versions of the packages that trained it.
        encoded: encoded arrays of the model file, by name; an unchanged array is saved as it was read.
        thresholds: of a multi-label model, the ``C`` probabilities from which a text gets a class (default
            0.5); otherwise empty.
        novelty_reference: scores of validation texts that novelty is measured against; None if there were
            too few of them.
        drift_reference: sums of predictions that drift is measured against, of texts that the model has not
            learnt from; None if there were too few of them, or the model was updated.
        scale: what the classes of a model of scores mean; None for a model of labels.
    """

    features: Features
    network: Network
    label_names: tuple[str, ...]
    training: dict[str, Any] = field(default_factory=dict)
    written_by: dict[str, Any] = field(default_factory=versions)
    encoded: dict[str, EncodedArray] = field(default_factory=dict)
    thresholds: tuple[float, ...] = ()
    novelty_reference: NoveltyReference | None = None
    drift_reference: DriftSums | None = None
    scale: ScoreScale | None = None

    def __post_init__(self) -> None:
        lacks_cls = isinstance(self.features, WordFeatures) and not self.features.config.cls
        if lacks_cls and self.network.config.readout == "cls":
            raise ConfigError("expected features with [CLS] for read-out 'cls'", location="network.readout")
        n_oov = len(self.features.oov_hashes) if isinstance(self.features, WordFeatures) else 0
        if n_oov != self.network.config.n_oov:
            problem = f"expected {self.network.config.n_oov} entries of the OOV table, found {n_oov}"
            raise ConfigError(problem, location="features")
        if self.scale is not None and (
            not self.network.config.multi_label
            or self.network.config.n_classes != len(self.scale.cuts)
            or self.label_names != self.scale.class_names
        ):
            raise ConfigError("expected the classes of the scale of scores, found others", location="labels")
        if self.multi_label and not self.thresholds:
            object.__setattr__(self, "thresholds", (0.5,) * len(self.label_names))
        expected = len(self.label_names) if self.multi_label else 0
        if len(self.thresholds) != expected or not all(0 <= each <= 1 for each in self.thresholds):
            raise ConfigError(
                f"expected {expected} probabilities, found {self.thresholds!r:.60}", location="thresholds"
            )

    @property
    def multi_label(self) -> bool:
        """Whether a text may have several classes, or none."""
        return self.network.config.multi_label and self.scale is None

    def class_logits(self, logits: NDArray[np.floating]) -> NDArray[Any]:
        """Turn the network's logits into those of the classes, ``(N, C)``; a model of labels has the same."""
        return logits if self.scale is None else self.scale.class_logits(logits)

    def class_probabilities(self, logits: NDArray[np.floating]) -> NDArray[Any]:
        """Turn the network's logits into the probabilities of the classes, ``(N, C)``."""
        outputs = reference.probabilities(logits, self.network.config.multi_label)
        return outputs if self.scale is None else self.scale.class_probabilities(outputs)

    def decide(self, probabilities: NDArray[np.floating]) -> NDArray[Any]:
        """Choose the class of every text, ``(N,)`` int64; with several labels, which it has, ``(N, C)`` bool.

        It is the most probable class; in a model of scores the median, whose expected error is least.

        Args:
            probabilities: ``(N, C)``, of the classes.
        """
        if self.scale is not None:
            return self.scale.decide(probabilities)
        if not self.multi_label:
            return np.asarray(probabilities.argmax(axis=1))
        return np.asarray(probabilities.astype(np.float64) >= np.array(self.thresholds))

    def require_labels(self, purpose: str) -> None:
        """Refuse a model of scores.

        Raises:
            ConfigError: it is one.
        """
        if self.scale is not None:
            raise ConfigError(
                "expected a model of labels, found one of scores",
                location=purpose,
                hint="train on the labels, without a target of scores or grades",
            )

    @property
    def is_pairs(self) -> bool:
        """Whether the model reads pairs of texts."""
        return isinstance(self.features, PairFeatures)

    @property
    def empty_text(self) -> str:
        """A text of no words, or a pair of two such texts."""
        return SEPARATOR if self.is_pairs else ""

    def require_texts(self, purpose: str) -> TextFeatures:
        """Return the features of a model of single texts.

        Raises:
            ConfigError: it is a model of pairs.
        """
        if isinstance(self.features, PairFeatures):
            raise ConfigError(
                "expected a model of single texts, found one of pairs",
                location=purpose,
                hint="train on one column of texts, without --pair",
            )
        return self.features

    def require_no_windows(self, purpose: str) -> None:
        """Refuse a model with a window level.

        Raises:
            ConfigError: it has one.
        """
        if self.network.config.window_words:
            raise ConfigError(
                "expected a model without a window level, found one with it",
                location=purpose,
                hint="train it with recipe.windows_from=0",
            )

    def compiled(self) -> CompiledNetwork:
        """Return the compiled network; compile it now if it is still in torch.

        Raises:
            ConfigError: the network does not compile.
        """
        network = self.network
        if isinstance(network, CompiledNetwork):
            return network
        return compile_network(network.config, network.arrays())

    def prediction(self, probabilities: Sequence[float], top_k: int = 1, known: bool = True) -> Prediction:
        """Turn the probabilities of one text into a prediction."""
        return self.predictions([probabilities], [known], top_k)[0]

    def predictions(
        self,
        rows: Sequence[Sequence[float]],
        known: Sequence[bool],
        top_k: int = 1,
        threshold: float | None = None,
    ) -> list[Prediction]:
        """Turn the probabilities of ``N`` texts into predictions; ``threshold`` replaces the thresholds."""
        names = self.label_names
        thresholds = self.thresholds if threshold is None else (threshold,) * len(names)
        pairs = zip(rows, known, strict=True)
        made = [make_prediction(row, names, top_k, thresholds, is_known) for row, is_known in pairs]
        if self.scale is None or not made:
            return made
        array = np.array(rows)
        labels, intervals = self.scale.decide(array), self.scale.intervals(array)
        columns = (
            made,
            map(names.__getitem__, labels.tolist()),
            array[np.arange(len(made)), labels].tolist(),
            self.scale.scores(array).tolist(),
            [None] * len(made) if intervals is None else map(tuple, intervals.tolist()),
        )
        return [
            prediction._replace(
                label=label,
                probability=probability,
                labels=(label,),
                probabilities=(probability,),
                score=score,
                interval=interval,
            )
            for prediction, label, probability, score, interval in zip(*columns, strict=True)
        ]

    @cached_property
    def fingerprint(self) -> int:
        """A checksum of everything that a prediction depends on. It tells models apart."""
        settings = [self.features.type_name, self.features.config.to_dict(), self.network.config.to_dict()]
        names = [*settings, self.label_names, *([self.thresholds] if self.multi_label else [])]
        names += [] if self.scale is None else [self.scale.to_dict()]
        checksum = zlib.crc32(json.dumps(names, sort_keys=True).encode())
        for arrays in (self.features.arrays(), self.network.arrays()):
            for name in sorted(arrays):
                checksum = zlib.crc32(bytes_of(arrays[name]), checksum)
        return checksum

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> int:
        """Write the model file and return its size in bytes. The same model gives the same bytes.

        Args:
            path: of the file. An older model file is replaced.
            overwrite: whether a file of another kind may be replaced.

        Raises:
            OutputError: the file cannot be written, or is of another kind; an existing file stays as it was.
        """
        Outputs(overwrite=overwrite).check_file(path, "model file")
        arrays = self._tensors()
        unchanged = {
            name: encoded
            for name, encoded in self.encoded.items()
            if name in arrays and np.array_equal(encoded.decoded(), arrays[name])
        }
        write_model_file(Path(path), replace(self, encoded=unchanged).to_file())
        return Path(path).stat().st_size

    def to_file(self) -> ModelFile:
        """Return the contents of the model file."""
        return ModelFile(
            tensors=self._tensors(),
            features=describe_features(self.features),
            network=self.network.config.to_dict(),
            labels=list(self.label_names),
            training=self.training,
            versions=self.written_by,
            encoded=self.encoded,
            thresholds=list(self.thresholds),
            novelty=None if self.novelty_reference is None else self.novelty_reference.to_dict(),
            drift=None if self.drift_reference is None else self.drift_reference.to_dict(),
            scale=None if self.scale is None else self.scale.to_dict(),
        )

    def _tensors(self) -> dict[str, NDArray[Any]]:
        """Arrays of network and features by their names in the model file."""
        features = {FEATURE_PREFIX + name: array for name, array in self.features.arrays().items()}
        return {**self.network.arrays(), **features}
