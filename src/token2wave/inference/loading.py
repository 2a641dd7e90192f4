"""From a model file to a classifier; every tensor is checked against what the settings need."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from token2wave.errors import MissingExtraError, ModelFileError, Token2WaveError
from token2wave.features import Features, features_from_file
from token2wave.inference.classifier import FEATURE_PREFIX, Classifier, Network
from token2wave.inference.compile import compile_network, reason_not_to_compile
from token2wave.inference.novelty import NoveltyReference
from token2wave.models.wave_config import WaveConfig
from token2wave.storage.model_file import ModelFile, read_model_file


def load(path: str | os.PathLike[str], device: str = "cpu") -> Classifier:
    """Read a model file.

    Networks that compile (all presets do) are read without torch, unless they are to run on a GPU.

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
        where = str(path) if error.location is None else f"{path}, {error.location}"
        raise ModelFileError(error.problem, location=where, hint=error.hint) from error


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
    network = network_of(config, found, device)
    if config.multi_label and len(model.thresholds) not in (0, config.n_classes):
        raise ModelFileError(f"expected {config.n_classes} thresholds, found {len(model.thresholds)}")
    return Classifier(
        features,
        network,
        tuple(model.labels),
        model.training,
        model.versions,
        model.stored,
        tuple(model.thresholds) if config.multi_label else (),
        None if model.novelty is None else NoveltyReference.from_dict(model.novelty),
    )


def network_of(config: WaveConfig, arrays: dict[str, NDArray[np.float32]], device: str) -> Network:
    """Make the network of a shape and its parameters, without torch where that will do.

    Raises:
        MissingExtraError: it needs torch, which is not installed.
    """
    if device == "cpu" and reason_not_to_compile(config) is None:
        return compile_network(config, arrays)
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
