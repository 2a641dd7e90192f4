"""A model whose finite weights overflow does not load, and never names a class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import token2wave
from tests.inference.small_models import word_classifier
from token2wave.classifier import Classifier
from token2wave.errors import ModelFileError
from token2wave.inference.compiled import compile_network


def overflowing(name: str) -> Classifier:
    """Make a classifier with huge finite numbers in one array."""
    classifier = word_classifier()
    arrays = classifier.network.arrays()
    huge = np.where(np.arange(arrays[name].size) % 2, 3e38, -3e38).astype(np.float32)
    arrays = {**arrays, name: huge.reshape(arrays[name].shape)}
    with np.errstate(all="ignore"):
        return replace(classifier, network=compile_network(classifier.network.config, arrays))


def test_weights_that_overflow(tmp_path: Path) -> None:
    classifier = overflowing("embedding.weight")
    classifier.save(tmp_path / "model")
    with pytest.raises(ModelFileError, match="finite probabilities"):
        token2wave.load(tmp_path / "model")
    with np.errstate(all="ignore"), pytest.raises(ModelFileError, match="finite probabilities"):
        classifier.labels(["A good film. Good!"])
