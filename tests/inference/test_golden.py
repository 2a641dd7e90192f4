"""Model files that were written once are read for ever, with the same results."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_models import edited, take_apart

import token2wave
from token2wave.errors import ModelFileError
from token2wave.storage.encodings import DECODERS

FOLDER = Path(__file__).parent / "golden"
EXPECTED = json.loads((FOLDER / "probabilities.json").read_text())
every_file = pytest.mark.parametrize("path", sorted(FOLDER.glob("*.safetensors")), ids=lambda path: path.stem)


def version(path: Path) -> int:
    found: int = take_apart(path)[0]["__metadata__"]["token2wave"]["format_version"]
    return found


def test_all_files_are_there() -> None:
    files = {path.stem: path for path in FOLDER.glob("*.safetensors")}
    assert files.keys() == EXPECTED.keys()
    assert {version(path) for path in files.values()} == {1, 2}
    kinds = {
        stored.settings["kind"] for path in files.values() for stored in token2wave.load(path).stored.values()
    }
    assert kinds == DECODERS.keys()


@every_file
@pytest.mark.parametrize("native", ["0", "1"])
def test_probabilities(path: Path, native: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN2WAVE_NATIVE", native)
    texts, rows = zip(*EXPECTED[path.stem], strict=True)
    np.testing.assert_allclose(token2wave.load(path).probabilities(texts), rows, rtol=0, atol=2e-6)


@pytest.mark.parametrize("native", ["0", "1"])
def test_novelty(native: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN2WAVE_NATIVE", native)
    expected = json.loads((FOLDER / "novelty.json").read_text())
    for path in FOLDER.glob("*.safetensors"):
        classifier, known = token2wave.load(path), expected.get(path.stem)
        if known is None:
            assert classifier.novelty([""]) is None
        else:
            np.testing.assert_allclose(classifier.novelty(list(known)), list(known.values()), atol=2e-6)


@every_file
def test_saving_again(path: Path, tmp_path: Path) -> None:
    """A file of the present format stays as it is, byte for byte; an older one becomes one."""
    classifier = token2wave.load(path)
    classifier.save(tmp_path / "again")
    assert version(tmp_path / "again") == 2
    if b"checksum" in path.read_bytes():
        assert (tmp_path / "again").read_bytes() == path.read_bytes()
    else:
        edited(tmp_path / "again", lambda metadata: metadata.update(format_version=version(path)))
        (before, tensors), (after, tensors_again) = take_apart(path), take_apart(tmp_path / "again")
        if version(path) == 1:
            assert after["__metadata__"]["token2wave"].pop("storage") == {}
        assert (after, tensors_again) == (before, tensors)


@every_file
def test_the_next_format_is_refused_with_a_cure(path: Path, tmp_path: Path) -> None:
    newer = Path(shutil.copy(path, tmp_path / "newer"))
    edited(newer, lambda metadata: metadata.update(format_version=3))
    with pytest.raises(
        ModelFileError, match=r"found format 3; upgrade with: pip install --upgrade token2wave$"
    ):
        token2wave.load(newer)
