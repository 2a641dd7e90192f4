"""Makes the helper module importable, and trains two models of scores once."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from graded_texts import FAST, GRADES, REAL, TEXTS

import token2wave


@pytest.fixture(scope="session")
def ordinal():
    return token2wave.train(TEXTS, GRADES, target="ordinal", **FAST)


@pytest.fixture(scope="session")
def scored():
    return token2wave.train(TEXTS, REAL, target="score", **FAST)


@pytest.fixture(scope="session")
def model(ordinal, tmp_path_factory):
    path = tmp_path_factory.mktemp("grades") / "model.safetensors"
    ordinal.classifier.save(path)
    return path
