"""Makes the helper module importable, and starts one server for all harmless tests."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from service_helpers import PYTHON, make_classifier, serving


@pytest.fixture(scope="session")
def classifier():
    return make_classifier()


@pytest.fixture(scope="session")
def model(classifier, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model.safetensors"
    classifier.save(path)
    return path


@pytest.fixture(scope="session")
def server(model, tmp_path_factory):
    command = [*PYTHON, "-m", "token2wave", "serve", str(model), "--port", "0"]
    with serving(command, tmp_path_factory.mktemp("server") / "log") as server:
        yield server
