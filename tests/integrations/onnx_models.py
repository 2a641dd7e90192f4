"""What the tests of the ONNX export share: small models, and graphs as onnxruntime runs them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime

sys.path.insert(0, str(Path(__file__).parent.parent / "inference"))
sys.path.insert(0, str(Path(__file__).parent.parent / "features"))

from stored_models import classifier_of

from token2wave.classifier import Classifier
from token2wave.features import Ragged, WordConfig, WordFeatures
from token2wave.features.ragged import offsets_of
from token2wave.inference.compiled import compile_network
from token2wave.integrations.onnx import OnnxClassifier, export_onnx, pad
from token2wave.models import WaveConfig

TEXTS = [
    "",
    "good film",
    "a " * 5_000,
    "bad " * 100 + "good",
    "don't! 中 é 👍 films b",
    "xyz unknown",
    "a b good bad film . ! 3.5",
]
N_ROWS = 50


def classifier_with(arrays: dict[str, np.ndarray], config: WaveConfig) -> Classifier:
    """A classifier of any network, on features without words."""
    features = WordFeatures(WordConfig(bits=12, cls=True), np.arange(config.n_rows - 1, dtype=np.uint32))
    names = tuple(f"class {number}" for number in range(config.n_classes))
    return Classifier(features, compile_network(config, arrays), names)


def exported(classifier: Classifier, folder: Path) -> OnnxClassifier:
    """The classifier, exported and read again."""
    export_onnx(classifier, folder / "model.onnx")
    return OnnxClassifier(folder / "model.onnx")


@cache
def small_exported(kind: str, storage: str = "plain") -> OnnxClassifier:
    """A small classifier of the inference tests, exported."""
    with TemporaryDirectory() as folder:
        return exported(classifier_of(kind, storage), Path(folder))


def run(path: Path, features: Ragged) -> dict[str, np.ndarray]:
    """All outputs of a file, computed with onnxruntime alone."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    input_names = [each.name for each in session.get_inputs()]
    inputs = pad(features)
    outputs = session.run(None, {name: inputs[name] for name in input_names})
    return dict(zip([each.name for each in session.get_outputs()], outputs, strict=True))


def texts_of(lengths: list[int], n_rows: int = N_ROWS, seed: int = 0) -> Ragged:
    """Texts of random features, a random number of them in reading order."""
    random = np.random.default_rng(seed)
    sizes = np.array(lengths, dtype=np.int64)
    ids = random.integers(0, n_rows, sizes.sum()).astype(np.int32)
    return Ragged(ids, offsets_of(sizes), random.integers(0, sizes + 1))


def edited(path: Path, edit: Callable[[Any], object]) -> Path:
    """Edit the file with the package onnx."""
    model = onnx.load(path)
    edit(model)
    onnx.save(model, path)
    return path
