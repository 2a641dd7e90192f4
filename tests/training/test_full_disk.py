"""A disk that is full: what was there stays whole, nothing lies beside it, and the error says what to do.

``RLIMIT_FSIZE`` makes any file of more than some bytes fail as a full disk does, in the middle of a write.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from training_data import write_csv, written_rows

import token2wave
from token2wave.errors import OutputError

pytestmark = pytest.mark.usefixtures("plain_training")

SMALL = {"features.bits": 12, "network.width": 8, "network.context_width": 8, "recipe.epochs": 2}
OLD = b"what was there before"


@contextmanager
def files_of_at_most(n_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_csv(tmp_path_factory.mktemp("data") / "texts.csv", written_rows(300, seed=4))


@pytest.fixture(scope="module")
def model(data: Path) -> Path:
    path = data.parent / "model.safetensors"
    token2wave.train(data, out=path, settings=SMALL, device="cpu")
    return path


def save(data: Path, model: Path, out: Path) -> None:
    token2wave.load(model).save(out, overwrite=True)


def train(data: Path, model: Path, out: Path) -> None:
    token2wave.train(data, out=out, overwrite=True, settings=SMALL, device="cpu")


def compress(data: Path, model: Path, out: Path) -> None:
    token2wave.compress(model, out, data=data, storage="float16", overwrite=True)


WRITERS = (save, train, compress)


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.__name__)
@pytest.mark.parametrize("limit", [0, 1, 300, 3_000])
def test_the_old_file_stays(
    writer: Callable[[Path, Path, Path], None], limit: int, data: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.write_bytes(OLD)
    with files_of_at_most(limit), pytest.raises(OutputError, match="on a disk with space") as caught:
        writer(data, model, out)
    assert caught.value.location == str(out)
    assert out.read_bytes() == OLD
    assert os.listdir(tmp_path) == ["out"]


def test_a_checkpoint_keeps_the_epoch_before(data: Path, tmp_path: Path) -> None:
    """And training goes on from there, once there is room."""
    checkpoint, out = tmp_path / "run.checkpoint", tmp_path / "model.safetensors"
    arguments = {"settings": SMALL, "device": "cpu", "checkpoint": checkpoint}
    expected = tmp_path / "expected.safetensors"
    token2wave.train(data, out=expected, settings=SMALL, device="cpu")

    class Fills(token2wave.training.callbacks.Callback):
        def on_epoch(self, epoch: object) -> None:
            soft = checkpoint.stat().st_size // 2 if checkpoint.exists() else resource.RLIM_INFINITY
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    with files_of_at_most(1 << 30), pytest.raises(OutputError, match="on a disk with space") as caught:
        token2wave.train(data, out=out, callbacks=[Fills()], **arguments)
    assert caught.value.location == str(checkpoint)
    assert sorted(os.listdir(tmp_path)) == ["expected.safetensors", "run.checkpoint"]
    token2wave.train(data, out=out, resume=True, **arguments)
    assert out.read_bytes() == expected.read_bytes()


def test_a_report(data: Path, tmp_path: Path) -> None:
    """The model is not put in its place, either: a run that failed changes nothing."""
    out, report = tmp_path / "model", tmp_path / "report"
    options = {"out": out, "report": report, "figures": True, "settings": SMALL, "device": "cpu"}
    token2wave.train(data, **options)
    before = {path: path.read_bytes() for path in [out, *report.rglob("*")] if path.is_file()}
    largest = max(len(content) for path, content in before.items() if path != out)
    assert largest > 1.3 * len(before[out])  # so that it is the report that finds no room
    limit = (largest + len(before[out])) // 2
    with files_of_at_most(limit), pytest.raises(OutputError, match="on a disk with space"):
        token2wave.train(data, **options, seed=1)
    assert out.read_bytes() == before[out]
    after = {path: path.read_bytes() for path in [out, *report.rglob("*")] if path.is_file()}
    assert after.keys() == before.keys()
    assert all(content for content in after.values())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() or shutil.which("mount") is None:
        pytest.skip("file systems can be mounted by root alone")
    options = ["-t", "tmpfs", "-o", "size=64k", "tmpfs"]
    if subprocess.run(["mount", *options, str(place)], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_is_full(small_disk: Path, data: Path, model: Path) -> None:
    out = small_disk / "model"
    out.write_bytes(OLD)
    (small_disk / "filling").write_bytes(bytes(60 << 10))
    with pytest.raises(OutputError, match=r"No space left on device.*on a disk with space"):
        save(data, model, out)
    assert out.read_bytes() == OLD
    assert sorted(os.listdir(small_disk)) == ["filling", "model"]
    (small_disk / "filling").unlink()
    if model.stat().st_size < 60 << 10:
        save(data, model, out)
        assert out.read_bytes() == model.read_bytes()
