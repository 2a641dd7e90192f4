"""Golden model files predict what they did, and other formats are refused in one line."""

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
from token2wave.storage.model_file import FORMAT_VERSION

FOLDER = Path(__file__).parent / "golden"
REFUSAL = "another version of token2wave wrote the file: use that version, or train again"
EXPECTED = json.loads((FOLDER / "probabilities.json").read_text())
every_file = pytest.mark.parametrize("path", sorted(FOLDER.glob("*.safetensors")), ids=lambda path: path.stem)


def version(path: Path) -> int:
    found: int = take_apart(path)[0]["__metadata__"]["token2wave"]["format_version"]
    return found


def test_all_files_are_there() -> None:
    files = {path.stem: path for path in FOLDER.glob("*.safetensors")}
    assert files.keys() == EXPECTED.keys()
    assert {version(path) for path in files.values()} == {FORMAT_VERSION}
    kinds = {
        encoded.settings["kind"]
        for path in files.values()
        for encoded in token2wave.load(path).encoded.values()
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
    token2wave.load(path).save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


@every_file
def test_the_next_format_is_refused_with_a_hint(path: Path, tmp_path: Path) -> None:
    newer = Path(shutil.copy(path, tmp_path / "newer"))
    edited(newer, lambda metadata: metadata.update(format_version=FORMAT_VERSION + 1))
    with pytest.raises(ModelFileError, match=rf"found format {FORMAT_VERSION + 1}; {REFUSAL}$"):
        token2wave.load(newer)


def test_the_format_before_is_refused_with_a_hint() -> None:
    with pytest.raises(
        ModelFileError, match=rf"expected format {FORMAT_VERSION}, found format 3; {REFUSAL}$"
    ):
        token2wave.load(FOLDER / "refused" / "format3.safetensors")
