"""Converts classifiers to models and tokenizers of ``transformers``, and back."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from token2wave.classifier import Classifier
from token2wave.errors import ConfigError, OutputError
from token2wave.features import PairFeatures, describe_features, fit_features
from token2wave.inference.drift_sums import DriftSums
from token2wave.inference.loading import build_network
from token2wave.inference.novelty import NoveltyReference
from token2wave.integrations.huggingface.hf_config import WaveNetworkConfig
from token2wave.integrations.huggingface.hf_model import WaveForSequenceClassification
from token2wave.integrations.huggingface.hf_tokenizer import WaveTokenizer
from token2wave.integrations.model_cards import model_card
from token2wave.models.registry import HUGGING_FACE
from token2wave.storage.atomic import make_folder, set_permissions
from token2wave.training.presets import preset_named
from token2wave.versions import versions


class ModelAndTokenizer(NamedTuple):
    """A classifier in the form of ``transformers``."""

    model: WaveForSequenceClassification
    tokenizer: WaveTokenizer


def to_huggingface(classifier: Classifier) -> ModelAndTokenizer:
    """Make a model and a tokenizer that give a classifier's probabilities.

    They hold everything that the classifier holds, except how a compressed file stores its arrays.

    Args:
        classifier: compiled or in torch; it is not changed.

    Raises:
        ConfigError: the network uses an operation or read-out that this export does not support.
    """
    classifier.require_labels("export to Hugging Face")
    tokenizer = WaveTokenizer(features=classifier.require_texts("export to Hugging Face"))
    classifier.network.config.require_backend(HUGGING_FACE)
    novelty, drift = classifier.novelty_reference, classifier.drift_reference
    config = WaveNetworkConfig.of_network(
        classifier.network.config,
        classifier.label_names,
        thresholds=classifier.thresholds,
        features=describe_features(classifier.features),
        training=classifier.training,
        written_by=classifier.written_by,
        novelty_reference=None if novelty is None else novelty.to_dict(),
        drift_reference=None if drift is None else drift.to_dict(),
        fingerprint=classifier.fingerprint,
    )
    with torch.random.fork_rng(devices=[]):  # the initial weights are replaced
        model = WaveForSequenceClassification(config)
    arrays = classifier.network.arrays()
    model.network.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()}, assign=True)
    return _pair(model.eval(), tokenizer)


def from_huggingface(model: WaveForSequenceClassification, tokenizer: WaveTokenizer) -> Classifier:
    """Make a classifier of a model and its tokenizer; it needs no torch if the network compiles.

    If the weights have changed since :func:`to_huggingface`, the references of novelty and drift are left
    out, and the training record becomes ``continued_from``.

    Args:
        model: the model; it is not changed.
        tokenizer: the tokenizer of the model.

    Raises:
        ConfigError: the two do not belong together, or a weight is not finite.
    """
    config, features = model.config, tokenizer.features
    network = config.network_config()
    if features.n_rows != network.n_rows or config.features not in (None, describe_features(features)):
        raise ConfigError(
            f"expected the tokenizer of this model, with {network.n_rows} rows, "
            f"found another one, with {features.n_rows}",
            hint="load both from one folder; [PAD] needs no row, so do not resize the embedding",
        )
    arrays = {
        name: tensor.float().numpy(force=True).copy() for name, tensor in model.network.state_dict().items()
    }
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ConfigError("expected finite numbers, found others", location=f"network.{name}")
    novelty, drift = config.novelty_reference, config.drift_reference
    classifier = Classifier(
        features,
        build_network(network, arrays, "cpu"),
        config.label_names,
        dict(config.training),
        dict(config.written_by) or versions(["transformers"]),
        thresholds=tuple(config.thresholds) if network.multi_label else (),
        novelty_reference=None if novelty is None else NoveltyReference.from_dict(novelty),
        drift_reference=None if drift is None else DriftSums.from_dict(drift, len(config.label_names)),
    )
    if config.fingerprint in (None, classifier.fingerprint):
        return classifier
    record = {"continued_from": classifier.training, "continued_with": "transformers"}
    classifier = replace(classifier, novelty_reference=None, drift_reference=None)
    return replace(classifier, training=record, written_by=versions(["transformers"]))


def from_preset(
    preset: str,
    texts: Sequence[str],
    label_names: Sequence[str],
    *,
    multi_label: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> ModelAndTokenizer:
    """Make a model with random weights and the tokenizer of its training texts, for ``Trainer``.

    Args:
        preset: ``small``, ``fast`` or ``paper``; decides features and network.
        texts: training texts, which decide the rows of the embedding.
        label_names: names of the ``C`` classes, in the order of their numbers.
        multi_label: whether a text may have several classes, or none.
        settings: any setting by its full name, e.g. ``{"network.width": 64}``.

    Raises:
        ConfigError: the preset is unknown, or a setting is unknown or illegal.
        DataError: the texts contain no word.
    """
    values = preset_named(preset).with_settings({**(settings or {}), "network.multi_label": multi_label})
    features, _ = fit_features(texts, values.features)
    assert not isinstance(features, PairFeatures)  # no preset is for pairs alone
    network = values.network_config(features.n_rows, len(label_names), features.sentence_ends)
    config = WaveNetworkConfig.of_network(network, label_names, features=describe_features(features))
    return _pair(WaveForSequenceClassification(config), WaveTokenizer(features=features))


def _pair(model: WaveForSequenceClassification, tokenizer: WaveTokenizer) -> ModelAndTokenizer:
    """Let the model know the tokenizer's padding."""
    model.config.padding_id = tokenizer.pad_token_id
    return ModelAndTokenizer(model, tokenizer)


def export_huggingface(
    classifier: Classifier, folder: str | os.PathLike[str], *, overwrite: bool = False
) -> int:
    """Write a folder that ``from_pretrained`` reads, with model, tokenizer and model card.

    The files of an earlier export are replaced when the new ones are complete. Other files stay.

    Args:
        classifier: compiled or in torch.
        folder: a folder that does not exist, is empty, or holds an earlier export.
        overwrite: whether the folder may hold other files. Those with the names of new ones are replaced.

    Returns:
        Size of the files in bytes.

    Raises:
        ConfigError: as :func:`to_huggingface`.
        OutputError: the folder cannot be written to, or holds other files.
    """
    target = Path(os.path.realpath(folder))
    _require_replaceable(target, overwrite)
    model, tokenizer = to_huggingface(classifier)
    try:
        with tempfile.TemporaryDirectory(
            prefix=f".{target.name}.", suffix=".part", dir=target.parent, ignore_cleanup_errors=True
        ) as temporary:
            new = Path(temporary) / "new"
            model.save_pretrained(new)
            tokenizer.save_pretrained(new)
            model_card(classifier, repo_id=target.name, files=("transformers",)).save(new / "README.md")
            n_bytes = sum(path.stat().st_size for path in new.rglob("*") if path.is_file())
            make_folder(target)
            for path in sorted(new.iterdir()):
                set_permissions(path, target / path.name)
                path.replace(target / path.name)
    except OSError as error:
        raise OutputError(
            f"cannot be written ({error.strerror or error})",
            location=str(folder),
            hint="choose a folder that can be written to, on a disk with space",
        ) from error
    return n_bytes


def _require_replaceable(target: Path, overwrite: bool) -> None:
    location = str(target)
    if not target.parent.is_dir():
        problem = f"the folder {target.parent} does not exist"
        raise OutputError(problem, location=location, hint="make it, or choose another")
    if target.exists() and not target.is_dir():
        raise OutputError("expected a folder, found a file", location=location, hint="choose another name")
    if not overwrite and target.exists() and any(target.iterdir()):
        config = target / "config.json"
        model_type = f'"{WaveNetworkConfig.model_type}"'
        if not config.is_file() or model_type not in config.read_text(errors="replace"):
            problem = "expected a new or empty folder, or an earlier export, found other files"
            hint = "choose another folder, or replace files in it with --overwrite"
            raise OutputError(problem, location=location, hint=hint)
