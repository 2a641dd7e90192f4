from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_models import TEXTS, take_apart, torch_classifier, word_classifier, wordpiece_classifier

import token2wave
from token2wave.classifier import Classifier
from token2wave.errors import OutputError
from token2wave.inference.compiled import CompiledNetwork
from token2wave.storage import atomic as files
from token2wave.storage import model_file
from token2wave.storage.atomic import atomic_write, check_writable, make_folder
from token2wave.storage.model_file import Expected, ModelFile, read_model_file, write_model_file

MODEL = ModelFile(
    tensors={"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array([1, 2], np.uint32)},
    features={"kind": "words", "settings": {"bits": 12}},
    network={"width": 4},
    labels=["neg", "é\ud800", ""],
    training={"seed": 3, "history": [0.5, None]},
    versions={"numpy": "2"},
)
needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
MAKERS = [word_classifier, wordpiece_classifier, pytest.param(torch_classifier, marks=needs_torch)]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_model_file(path, MODEL)
    found = read_model_file(path, lambda _: {"b": ("F32", [2, 3]), "a": ("U32", [2])})
    for section in ("features", "network", "labels", "training", "versions"):
        assert getattr(found, section) == getattr(MODEL, section)
    assert sorted(found.tensors) == ["a", "b"]
    for name, array in MODEL.tensors.items():
        assert found.tensors[name].dtype == array.dtype
        assert np.array_equal(found.tensors[name], array)
    assert os.listdir(tmp_path) == [path.name]


def test_format(tmp_path: Path) -> None:
    path = tmp_path / "model"
    write_model_file(path, MODEL)
    header, body = take_apart(path)
    assert list(header["__metadata__"]) == ["token2wave"]
    assert header["__metadata__"]["token2wave"] == {
        "format_version": 4,
        "storage": {},
        "features": MODEL.features,
        "network": MODEL.network,
        "labels": MODEL.labels,
        "training": MODEL.training,
        "versions": MODEL.versions,
    }
    for name, array in MODEL.tensors.items():
        first, last = header[name]["data_offsets"]
        assert body[first:last] == array.tobytes()


def test_views_are_written_as_they_look(tmp_path: Path) -> None:
    square = np.arange(9, dtype=np.float32).reshape(3, 3)
    tensors = {"turned": square.T, "part": square[::2, 1]}
    write_model_file(tmp_path / "m", ModelFile(tensors, {}, {}, [], {}, {}))
    expected: Expected = {"turned": ("F32", [3, 3]), "part": ("F32", [2])}
    found = read_model_file(tmp_path / "m", lambda _: expected).tensors
    assert found["turned"].tolist() == square.T.tolist()
    assert found["part"].tolist() == [1, 7]


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    backwards = ModelFile(
        tensors=dict(reversed(MODEL.tensors.items())),
        features=dict(reversed(MODEL.features.items())),
        network=MODEL.network,
        labels=MODEL.labels,
        training=dict(reversed(MODEL.training.items())),
        versions=MODEL.versions,
    )
    for i, model in enumerate((MODEL, backwards, MODEL)):
        write_model_file(tmp_path / str(i), model)
    assert len({(tmp_path / str(i)).read_bytes() for i in range(3)}) == 1


@pytest.mark.parametrize("make", MAKERS)
def test_classifiers(tmp_path: Path, make: Callable[..., Classifier]) -> None:
    classifier = make()
    paths = [tmp_path / name for name in ("one", "two", "again", "other")]
    assert classifier.save(paths[0]) == paths[0].stat().st_size
    make().save(str(paths[1]))
    loaded = token2wave.load(paths[0])
    loaded.save(paths[2])
    make(seed=1).save(paths[3])
    one, two, again, other = (path.read_bytes() for path in paths)
    assert one == two == again
    assert one != other
    assert loaded.label_names == classifier.label_names
    assert loaded.training == classifier.training
    assert loaded.written_by == classifier.written_by
    assert loaded.features.config == classifier.features.config
    assert loaded.network.config == classifier.network.config
    assert isinstance(loaded.network, CompiledNetwork) or not loaded.network.training  # torch: dropout is off
    np.testing.assert_allclose(loaded.probabilities(TEXTS), classifier.probabilities(TEXTS), atol=1e-6)


@pytest.mark.parametrize("label", ["x" * (5 << 20), "," * (1 << 18)])
def test_what_readers_would_refuse_is_not_written(label: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"bytes of labels and settings, found [0-9,]+; shorten the labels"):
        replace(word_classifier(), label_names=("a", label)).save(tmp_path / "model")
    assert not os.listdir(tmp_path)


# Failing to write -----------------------------------------------------------------------------------


def fails_midway(error: BaseException) -> Callable[..., None]:
    def write_arrays(path: Path, arrays: object, metadata: object) -> None:
        path.write_bytes(b"half of a mod")
        raise error

    return write_arrays


FAILURES = [
    OSError(errno.ENOSPC, "No space left on device"),
    KeyboardInterrupt(),
    MemoryError(),
    ValueError("x"),
]


@pytest.mark.parametrize("old", [None, b"the old model"])
@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_a_failed_write_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: bytes | None, error: BaseException
) -> None:
    path = tmp_path / "model"
    if old is not None:
        path.write_bytes(old)
    monkeypatch.setattr(model_file, "write_arrays", fails_midway(error))
    expected = OutputError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected) as caught:
        write_model_file(path, MODEL)
    if isinstance(error, OSError):
        hint = "choose a place that can be written to, on a disk with space"
        assert str(caught.value) == f"{path}: cannot be written (No space left on device); {hint}"
    assert os.listdir(tmp_path) == ([] if old is None else ["model"])
    assert old is None or path.read_bytes() == old


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
def test_a_failure_after_the_tensors_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fails(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    path = tmp_path / "model"
    path.write_bytes(b"the old model")
    if step == "fsync":
        monkeypatch.setattr(files.os, "fsync", fails)
    else:
        monkeypatch.setattr(Path, step, fails)
    with pytest.raises(OutputError, match=r"cannot be written \(Input/output error\); choose a place"):
        write_model_file(path, MODEL)
    assert os.listdir(tmp_path) == ["model"]
    assert path.read_bytes() == b"the old model"


def test_the_file_is_on_the_disk_before_it_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(files.os, "fsync", lambda handle: (steps.append("fsync"), fsync(handle)))
    monkeypatch.setattr(Path, "replace", lambda *paths: (steps.append("replace"), replace(*paths)))
    write_model_file(tmp_path / "model", MODEL)
    assert steps == ["fsync", "replace", "fsync"]  # at last the folder


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from token2wave.errors import OutputError
from token2wave.storage.model_file import ModelFile, write_model_file
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    write_model_file(Path(sys.argv[1]), ModelFile({"a": np.zeros(99_999, np.float32)}, {}, {}, [], {}, {}))
except Exception as error:
    print(type(error).__name__)
"""


def write_on_a_full_disk(path: Path) -> str:
    command = [sys.executable, "-c", FULL_DISK, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"the old model")
    assert write_on_a_full_disk(path) != ""
    assert os.listdir(tmp_path) == ["model"]
    assert path.read_bytes() == b"the old model"


def test_a_full_disk_is_an_output_error(tmp_path: Path) -> None:
    assert write_on_a_full_disk(tmp_path / "model") == "OutputError"


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    for path in (tmp_path / "none" / "model", tmp_path):
        with pytest.raises(OutputError, match="cannot be written") as caught:
            write_model_file(path, MODEL)
        assert caught.value.location == str(path)
    assert os.listdir(tmp_path) == []
    with pytest.raises(OutputError):
        word_classifier().save(tmp_path / "none" / "model")


def test_rights_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "file") as aside:
            assert aside.parent == tmp_path
            aside.write_text("text")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "file").read_text() == "text"


def test_check_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_writable(tmp_path / "model")
    with pytest.raises(OutputError, match="expected a file to write, found a folder; name a file in it"):
        check_writable(tmp_path)
    with pytest.raises(OutputError, match="does not exist; make it, or choose another"):
        check_writable(tmp_path / "none" / "model")
    assert os.listdir(tmp_path) == []
    monkeypatch.setattr(files.os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="cannot be written to"):
        check_writable(tmp_path / "model")


def test_make_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match="cannot be made"):
            make_folder(path)
    monkeypatch.setattr(files.os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="the folder cannot be written to"):
        make_folder(tmp_path / "a")


# Importing ------------------------------------------------------------------------------------------

LIGHT = [
    "token2wave",
    "token2wave.errors",
    "token2wave.config",
    "token2wave.features",
    "token2wave.data",
    "token2wave.inference",
    "token2wave.storage.atomic",
    "token2wave.storage.model_file",
    "token2wave.inference.compiled",
    "token2wave.models",
    "token2wave.core",
    "token2wave.classifier",
    "token2wave.inference.loading",
    "token2wave.pipeline",
]
WITHOUT_TORCH = """
import json, sys
from importlib import import_module
from pathlib import Path
loaded = {}
for name in json.loads(sys.argv[1]):
    import_module(name)
    loaded[name] = "torch" in sys.modules
sys.modules["torch"] = None  # as if it were not installed
from token2wave.inference.loading import expected_arrays
from token2wave.storage.model_file import read_model_file
labels = read_model_file(Path(sys.argv[2]), expected_arrays).labels
import token2wave
try:
    token2wave.WaveNetwork
except token2wave.Token2WaveError as error:
    print(json.dumps({"loaded": loaded, "labels": labels, "error": str(error)}))
"""


def test_prediction_needs_no_torch_until_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "model"
    word_classifier().save(path)
    command = [sys.executable, "-W", "error", "-c", WITHOUT_TORCH, json.dumps(LIGHT), str(path)]
    found: dict[str, Any] = json.loads(
        subprocess.run(command, capture_output=True, text=True, check=True).stdout
    )
    assert found["loaded"] == dict.fromkeys(LIGHT, False)
    assert found["labels"] == ["neg", "pos é"]
    assert "install it with: pip install 'token2wave[torch]'" in found["error"]
