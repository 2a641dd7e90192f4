"""A model of two labels."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from labelling_data import make_texts

import token2wave
from token2wave.classifier import Classifier


@pytest.fixture(scope="session")
def classifier() -> Classifier:
    texts, labels = make_texts(300)
    return token2wave.train(texts, labels, preset="fast", epochs=1, baseline=False).classifier
