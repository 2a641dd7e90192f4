"""From a classifier to a model and a tokenizer of ``transformers``, and back."""

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
from token2wave.inference.loading import build_network
from token2wave.inference.novelty import NoveltyReference
from token2wave.integrations.huggingface.hf_config import WaveNetworkConfig
from token2wave.integrations.huggingface.hf_model import WaveForSequenceClassification
from token2wave.integrations.huggingface.hf_tokenizer import WaveTokenizer
from token2wave.integrations.huggingface.weight_names import name_here, name_there
from token2wave.integrations.model_cards import model_card
from token2wave.models.registry import HUGGING_FACE
from token2wave.training.presets import preset_named
from token2wave.versions import versions


class Converted(NamedTuple):
    """A classifier in the form of ``transformers``.

    Attributes:
        model: the network.
        tokenizer: the features.
    """

    model: WaveForSequenceClassification
    tokenizer: WaveTokenizer


def to_huggingface(classifier: Classifier) -> Converted:
    """Make a model and a tokenizer that give a classifier's probabilities.

    All that a classifier holds goes with them, but for the form in which a compressed file stores its arrays.

    Args:
        classifier: compiled or not; it is left as it is.
    """
    classifier.network.config.require_backend(HUGGING_FACE)
    features, novelty = classifier.features, classifier.novelty_reference
    config = WaveNetworkConfig.of_network(
        classifier.network.config,
        classifier.label_names,
        thresholds=classifier.thresholds,
        features={"kind": features.kind, "settings": features.config.to_dict()},
        training=classifier.training,
        written_by=classifier.written_by,
        novelty_reference=None if novelty is None else novelty.to_dict(),
        fingerprint=classifier.fingerprint,
    )
    with torch.random.fork_rng(devices=[]):  # the initial weights are drawn in vain
        model = WaveForSequenceClassification(config)
    arrays = classifier.network.arrays()
    model.load_state_dict(
        {name_there(name): torch.tensor(array) for name, array in arrays.items()}, assign=True
    )
    model.eval()
    return Converted(model, _tokenizer_for(config, WaveTokenizer(features=features)))


def from_huggingface(model: WaveForSequenceClassification, tokenizer: WaveTokenizer) -> Classifier:
    """Make a classifier of a model and its tokenizer: tables without torch, where the network compiles.

    What a classifier knew of texts to come, and the record of its training, hold for its own weights. If they
    have been trained on, novelty is left out and the record becomes ``continued_from``.

    Args:
        model: it is left as it is.
        tokenizer: that of the model.

    Raises:
        ConfigError: the two do not belong together, or a weight is no finite number.
    """
    config, features = model.config, tokenizer.features
    network = config.network_config()
    described = {"kind": features.kind, "settings": features.config.to_dict()}
    if features.n_rows != network.n_rows or config.features not in (None, described):
        raise ConfigError(
            f"expected the tokenizer of this model, with {network.n_rows} rows, "
            f"found another one, with {features.n_rows}",
            hint="load both from one folder; [PAD] needs no row, so the embedding need not be resized",
        )
    arrays = {
        name_here(name): np.ascontiguousarray(tensor.detach().to("cpu", torch.float32).numpy())
        for name, tensor in model.state_dict().items()
    }
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ConfigError("expected finite numbers, found others", location=name_there(name))
    novelty = config.novelty_reference
    classifier = Classifier(
        features,
        build_network(network, {name: array.copy() for name, array in arrays.items()}, "cpu"),
        config.label_names,
        dict(config.training),
        dict(config.written_by) or versions(["transformers"]),
        thresholds=tuple(config.thresholds) if network.multi_label else (),
        novelty_reference=None if novelty is None else NoveltyReference.from_dict(novelty),
    )
    if config.fingerprint in (None, classifier.fingerprint):
        return classifier
    trained_on = {"continued_from": classifier.training, "continued_with": "transformers"}
    return replace(
        classifier, novelty_reference=None, training=trained_on, written_by=versions(["transformers"])
    )


def from_preset(
    preset: str,
    texts: Sequence[str],
    label_names: Sequence[str],
    *,
    multi_label: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> Converted:
    """Make a model with random weights and the tokenizer of its training texts, for ``Trainer``.

    Args:
        preset: ``small``, ``fast`` or ``paper``: its features and its network.
        texts: training texts, which decide the rows.
        label_names: names of the ``C`` classes, in the order of their numbers.
        multi_label: whether a text may have several classes, or none.
        settings: any setting by its full name, e.g. ``{"network.width": 64}``.

    Raises:
        ConfigError: an unknown preset, or an unknown or illegal setting.
        DataError: texts without a single word.
    """
    chosen = preset_named(preset).with_settings({**(settings or {}), "network.multi_label": multi_label})
    tokenizer = WaveTokenizer.fit(texts, chosen.features)
    features = tokenizer.features
    network = chosen.network_config(features.n_rows, len(label_names), features.sentence_ends)
    described = {"kind": features.kind, "settings": features.config.to_dict()}
    config = WaveNetworkConfig.of_network(network, label_names, features=described)
    return Converted(WaveForSequenceClassification(config), _tokenizer_for(config, tokenizer))


def _tokenizer_for(config: WaveNetworkConfig, tokenizer: WaveTokenizer) -> WaveTokenizer:
    """Tell a model's settings what its tokenizer pads with."""
    config.padding_id = tokenizer.pad_token_id
    return tokenizer


def export_huggingface(classifier: Classifier, folder: str | os.PathLike[str]) -> int:
    """Write a folder that ``from_pretrained`` reads: model, tokenizer, and a model card.

    The folder is written aside and renamed. One that an earlier export wrote is replaced.

    Args:
        classifier: compiled or not.
        folder: one that does not exist, is empty, or holds such a model.

    Returns:
        Bytes written.

    Raises:
        OutputError: the place cannot be written to, or holds something else.
    """
    target = Path(os.path.realpath(folder))
    _require_replaceable(target)
    model, tokenizer = to_huggingface(classifier)
    try:
        with tempfile.TemporaryDirectory(
            prefix=f".{target.name}.", suffix=".part", dir=target.parent, ignore_cleanup_errors=True
        ) as aside:
            made = Path(aside) / "new"
            model.save_pretrained(made)
            tokenizer.save_pretrained(made)
            model_card(classifier, repo_id=target.name, files=("transformers",)).save(made / "README.md")
            size = sum(path.stat().st_size for path in made.rglob("*") if path.is_file())
            if target.exists():
                target.rename(Path(aside) / "old")
            made.rename(target)
    except OSError as error:
        raise OutputError(
            f"cannot be written ({error.strerror or error})",
            location=str(folder),
            hint="choose a place that can be written to, on a disk with space",
        ) from error
    return size


def _require_replaceable(target: Path) -> None:
    if not target.parent.is_dir():
        raise OutputError(
            f"the folder {target.parent} does not exist",
            location=str(target),
            hint="make it, or choose another",
        )
    if not target.exists():
        return
    if not target.is_dir():
        raise OutputError("expected a folder, found a file", location=str(target), hint="name another place")
    config = target / "config.json"
    ours = config.is_file() and f'"{WaveNetworkConfig.model_type}"' in config.read_text(errors="replace")
    if any(target.iterdir()) and not ours:
        raise OutputError(
            "expected a new or empty folder, or one with a model of this kind, found other files",
            location=str(target),
            hint="name another folder",
        )
