"""A trained model: features, network and names of the classes, as one thing."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from token2wave.errors import MissingExtraError, ModelFileError, Token2WaveError
from token2wave.features import Features, Ragged, features_from_file
from token2wave.metrics import Evaluation, evaluate_predictions
from token2wave.models.config import ParameterCount, WaveConfig
from token2wave.runtime.additive import AdditiveNetwork
from token2wave.runtime.model_file import ModelFile, read_model_file, write_model_file
from token2wave.versions import versions

FEATURE_PREFIX = "features."


@dataclass(frozen=True)
class Prediction:
    """What a model says of one text.

    Attributes:
        label: the most probable class.
        probability: its probability.
        top: the most probable classes with their probabilities, best first.
    """

    label: str
    probability: float
    top: tuple[tuple[str, float], ...]


class Network(Protocol):
    """What a classifier needs of a network: one in torch, or an additive one without it."""

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

    def probabilities(
        self, texts: Sequence[str], advance: Callable[[int], None] | None = None
    ) -> NDArray[np.float32]:
        """Compute the probability of every class for every text.

        Args:
            texts: ``N`` strings, whatever they hold; a text without a known word is legal.
            advance: told how many more texts are featurised, for a progress bar.

        Returns:
            ``(N, C)`` float32; rows sum to one.

        Raises:
            TypeError: ``texts`` is one string, or holds something that is no string.
        """
        if isinstance(texts, str):
            raise TypeError("expected a list of texts, found one string; use predict(text) or [text]")
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"expected strings, found {type(text).__name__} at texts[{i}]")
        logits = self.network.logits(self.features(texts, advance))
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares: NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
        return shares

    def predict(self, text: str, top_k: int = 1) -> Prediction:
        """Classify one text.

        Args:
            text: any string.
            top_k: how many classes to give in ``top``; all, if there are fewer.

        Raises:
            TypeError: ``text`` is no string.
        """
        if not isinstance(text, str):
            raise TypeError(
                f"expected one string, found {type(text).__name__}; use predict_batch for several"
            )
        return self.predict_batch([text], top_k)[0]

    def predict_batch(
        self, texts: Sequence[str], top_k: int = 1, advance: Callable[[int], None] | None = None
    ) -> list[Prediction]:
        """Classify many texts; equal to :meth:`predict` on each.

        Raises:
            TypeError: as :meth:`probabilities`.
        """
        probabilities = self.probabilities(texts, advance)
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, : max(top_k, 1)]
        predictions = []
        for row, best in zip(probabilities, order, strict=True):
            top = tuple((self.label_names[i], float(row[i])) for i in best)
            predictions.append(Prediction(top[0][0], top[0][1], top))
        return predictions

    def evaluate(
        self, texts: Sequence[str], labels: NDArray[np.int64], advance: Callable[[int], None] | None = None
    ) -> Evaluation:
        """Hold predictions against the truth.

        Args:
            texts: ``N`` strings.
            labels: ``(N,)`` int64, their true classes.
            advance: told how many more texts are featurised.
        """
        predicted = self.probabilities(texts, advance).argmax(axis=1)
        return evaluate_predictions(labels, predicted, self.label_names)

    def save(self, path: str | os.PathLike[str]) -> int:
        """Write the model file and return its size in bytes. The same model gives the same bytes.

        Raises:
            OutputError: the place cannot be written to; a file that was there is left as it was.
        """
        tensors: dict[str, NDArray[Any]] = dict(self.network.arrays())
        for name, array in self.features.arrays().items():
            tensors[FEATURE_PREFIX + name] = array
        model = ModelFile(
            tensors=tensors,
            features={"kind": self.features.kind, "settings": self.features.config.to_dict()},
            network=self.network.config.to_dict(),
            labels=list(self.label_names),
            training=self.training,
            versions=self.written_by,
        )
        write_model_file(Path(path), model)
        return Path(path).stat().st_size


def load(path: str | os.PathLike[str], device: str = "cpu") -> Classifier:
    """Read a model file.

    Networks of the everyday presets are read without torch, unless they are to run on a GPU.

    Args:
        path: a file that :meth:`Classifier.save` wrote.
        device: where to predict, ``cpu`` or ``cuda``.

    Raises:
        ModelFileError: missing, damaged, of another origin, of a newer format, or inconsistent.
        MissingExtraError: the network needs torch, which is not installed.
    """
    model = read_model_file(Path(path))
    try:
        return _build(model, device)
    except MissingExtraError:
        raise
    except Token2WaveError as error:
        where = str(path) if error.where is None else f"{path}, {error.where}"
        raise ModelFileError(error.problem, where=where, cure=error.cure) from error


def _build(model: ModelFile, device: str) -> Classifier:
    """Make features and network, and check the tensors against what they need."""
    config = WaveConfig.from_dict(model.network)
    found = {n: array for n, array in model.tensors.items() if not n.startswith(FEATURE_PREFIX)}
    features = _features(model)
    if features.n_rows != config.n_rows:
        raise ModelFileError(f"expected {config.n_rows} rows from the features, found {features.n_rows}")
    if len(model.labels) != config.n_classes:
        raise ModelFileError(f"expected {config.n_classes} names of classes, found {len(model.labels)}")
    expected = config.parameter_shapes()
    if expected.keys() != found.keys():
        odd = sorted(expected.keys() ^ found.keys())[0]
        raise ModelFileError(f"expected the tensors of this network, found {odd!r} missing or too many")
    for name, shape in expected.items():
        if found[name].shape != shape or found[name].dtype != np.float32:
            raise ModelFileError(
                f"expected float32 of shape {shape} for {name!r}, "
                f"found {found[name].dtype} of shape {found[name].shape}"
            )
    network = _network(config, found, device)
    return Classifier(features, network, tuple(model.labels), model.training, model.versions)


def _network(config: WaveConfig, arrays: dict[str, NDArray[np.float32]], device: str) -> Network:
    """Rebuild the network, without torch where that will do."""
    if config.is_additive and device == "cpu":
        return AdditiveNetwork(config, arrays)
    try:
        import torch

        from token2wave.models import WaveNetwork
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError("torch", "train", purpose="this model") from error
    with torch.random.fork_rng(devices=[]):  # the initial weights are drawn in vain
        network = WaveNetwork(config)
    network.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()}, assign=True)
    network.eval()
    return network.to(device)


def _features(model: ModelFile) -> Features:
    """Rebuild the features, and check that no array is left over."""
    settings = model.features.get("settings")
    if not isinstance(settings, dict):
        raise ModelFileError("expected settings of the features, found none")
    arrays = {
        name.removeprefix(FEATURE_PREFIX): array
        for name, array in model.tensors.items()
        if name.startswith(FEATURE_PREFIX)
    }
    features = features_from_file(str(model.features.get("kind")), settings, arrays)
    if odd := sorted(arrays.keys() - features.arrays().keys()):
        raise ModelFileError(f"expected no array {odd[0]!r} for features of kind {features.kind}")
    return features
