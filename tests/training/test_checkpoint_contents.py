"""Checkpoints whose checksums are right and whose contents are not: somebody else's, or made up."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save_file

from token2wave.core import load_core
from token2wave.errors import CheckpointError
from token2wave.features import WordConfig, WordFeatures
from token2wave.models.wave_config import WaveConfig
from token2wave.training.additive_network import AdditiveNetwork
from token2wave.training.checkpoint import KEY, Checkpoint, read_checkpoint
from token2wave.training.examples import Examples
from token2wave.training.loop import fit
from token2wave.training.recipe import Recipe

TEXTS = ["good film", "bad film", "good"]
Change = Callable[[dict[str, Any], dict[str, Any]], None]

pytestmark = pytest.mark.skipif(load_core() is None, reason="the native core trains these")


def train(path: Path, epochs: int, resume: bool = False) -> np.ndarray:
    features = WordFeatures.fit(TEXTS, WordConfig(bits=10, min_count=1))
    config = WaveConfig(n_rows=features.n_rows, n_classes=2, width=8, variants="rows", readout="text")
    examples = Examples(features(TEXTS), np.array([0, 1, 0], dtype=np.int64))
    recipe = Recipe(epochs=epochs, batch_size=2, embedding_optimizer="sgd", precision="float32")
    network = AdditiveNetwork.initial(config, seed=0)
    place = Checkpoint.open(path, {"seed": 0}, resume).next_network()
    fit(network, examples, examples, recipe, seed=0, has_cls=False, slot=place)
    return network.embedding


def halfway(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and arrays of a run of two epochs after its first."""
    contents: list[bytes] = []
    write = Checkpoint.write

    def kept(checkpoint: Checkpoint) -> None:
        write(checkpoint)
        contents.append(path.read_bytes())

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "write", kept)
        train(path, 2)
    length = int.from_bytes(contents[0][:8], "little")
    return json.loads(json.loads(contents[0][8 : 8 + length])["__metadata__"][KEY]), load(contents[0])


def write(path: Path, header: dict[str, Any], arrays: dict[str, Any]) -> None:
    """A checkpoint whose checksums are right, whatever is in it."""
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    header = header | {"checksums": {name: zlib.crc32(array.tobytes()) for name, array in arrays.items()}}
    said = json.dumps(header)
    save_file(arrays, path, metadata={KEY: said, f"{KEY}.checksum": str(zlib.crc32(said.encode()))})


def without(name: str) -> Change:
    return lambda header, arrays: arrays.pop(name)


def as_array(name: str, array: Any) -> Change:
    return lambda header, arrays: arrays.update({name: array})


def as_value(name: str, value: Any) -> Change:
    return lambda header, arrays: header["networks"][0].update({name: value})


def in_epoch(name: str, value: Any) -> Change:
    return lambda header, arrays: header["networks"][0]["epochs"][0].update({name: value})


CHANGES: dict[str, Change] = {
    "no embedding": without("0.embedding"),
    "another network's embedding": as_array("0.embedding", np.zeros((7, 5), np.float32)),
    "another network's best embedding": as_array("0.best.embedding", np.zeros((7, 5), np.float32)),
    "another network's moments": as_array("0.mean", np.zeros(3, np.float32)),
    "no best dense part": without("0.best.dense"),
    "no step": as_value("values", {}),
    "a step that nobody takes": as_value("values", {"step": 10**30, "random": {}}),
    "a step that is no number": as_value("values", {"step": "2", "random": {}}),
    "blocks that are no number": as_value("values", {"step": 2, "random": {}, "position": {"n_blocks": "1"}}),
    "values that are none": as_value("values", [1]),
    "a random state that is none": as_value("values", {"step": 2, "random": {"bit_generator": "PCG64"}}),
    "restarts that are no number": as_value("restart", "1"),
    "a best epoch that is not there": as_value("best", 5),
    "seconds that are no number": as_value("train_seconds", None),
    "done, perhaps": as_value("done", "yes"),
    "a loss that is no number": in_epoch("validation_loss", "low"),
    "an epoch with more": in_epoch("more", 1),
    "done, with another network's arrays": as_value("done", True),
}


@pytest.mark.parametrize("name", CHANGES)
def test_contents_that_do_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    path = tmp_path / "run.checkpoint"
    header, arrays = halfway(path, monkeypatch)
    path.unlink(missing_ok=True)
    CHANGES[name](header, arrays)
    write(path, header, arrays)
    with pytest.raises(CheckpointError) as caught:
        train(path, 2, resume=True)
    assert caught.value.hint == "remove it, and train from the beginning"


@pytest.mark.parametrize("text", ["[" * 100_000, "[" + "0," * 300_000 + "0]"], ids=["deep", "long"])
def test_headers_without_end(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.checkpoint"
    save_file({}, path, metadata={KEY: text, f"{KEY}.checksum": str(zlib.crc32(text.encode()))})
    with pytest.raises(CheckpointError, match="damaged or something else"):
        read_checkpoint(path)


def test_contents_that_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way to write one that the others use is that of the package."""
    path = tmp_path / "run.checkpoint"
    header, arrays = halfway(path, monkeypatch)
    path.unlink(missing_ok=True)
    write(path, header, arrays)
    np.testing.assert_array_equal(train(path, 2, resume=True), train(tmp_path / "other", 2))


def test_types_that_numpy_lacks(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    save_file({"a": np.zeros(0, np.float32)}, path, metadata={KEY: "{}"})
    path.write_bytes(path.read_bytes().replace(b'"dtype":"F32"', b'"dtype":"F4" '))
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(path)
