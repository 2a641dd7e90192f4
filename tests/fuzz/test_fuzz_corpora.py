"""Replays the inputs that guided fuzzing reached or found, without its engine."""

from __future__ import annotations

from pathlib import Path

import pytest

import token2wave
from token2wave.errors import DataError, ModelFileError

targets = pytest.importorskip("fuzzing.targets", reason="the tools are not part of this tree")

from fuzzing.checks import SMALL, WrongAnswerError  # noqa: E402
from fuzzing.corpora import CORPORA, read_corpus, unpack_corpus, write_corpus  # noqa: E402
from fuzzing.models import model_bytes  # noqa: E402
from fuzzing.seeds import seeds_of  # noqa: E402


@pytest.mark.parametrize("name", targets.TARGETS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_archived_inputs(name: str) -> None:
    inputs = read_corpus(CORPORA / f"{name}.zip")
    assert inputs
    for file, content in inputs.items():
        print(file)
        targets.TARGETS[name].run(content)


@pytest.mark.parametrize("name", targets.TARGETS)
def test_first_inputs(name: str) -> None:
    seeds = seeds_of(name)
    assert len(seeds) == len(set(seeds)) >= 4
    for content in seeds:
        print(content[:200])
        assert len(content) <= targets.TARGETS[name].max_bytes
        targets.TARGETS[name].run(content)


def test_the_archives_are_small() -> None:
    assert {path.stem for path in CORPORA.iterdir()} == {*targets.TARGETS, "cases"}
    assert sum(path.stat().st_size for path in CORPORA.iterdir()) < 1_000_000
    assert sum(len(read_corpus(path)) for path in CORPORA.iterdir()) > 100


def test_archived_models_are_of_todays_format(tmp_path: Path) -> None:
    """Those of another format are refused at once and test nothing; ``fuzzing.renew`` writes new ones."""
    outcomes = []
    for content in read_corpus(CORPORA / "model.zip").values():
        path = tmp_path / "model"
        path.write_bytes(targets.assemble(content))
        try:
            outcomes.append(bool(token2wave.load(path)))
        except ModelFileError as error:
            outcomes.append("another version of token2wave" not in str(error))
    assert outcomes.count(True) > 0.9 * len(outcomes) >= 18


def test_an_archive_is_the_same_for_the_same_inputs(tmp_path: Path) -> None:
    inputs = {"b": b"two", "a": b"one" * 100}
    paths = [tmp_path / "first.zip", tmp_path / "second.zip"]
    write_corpus(paths[0], inputs)
    write_corpus(paths[1], dict(reversed(inputs.items())))
    assert paths[0].read_bytes() == paths[1].read_bytes()
    unpack_corpus(paths[0], tmp_path / "folder")
    assert read_corpus(paths[0]) == read_corpus(tmp_path / "folder") == inputs
    unpack_corpus(tmp_path / "none.zip", tmp_path / "empty")
    assert read_corpus(tmp_path / "empty") == {}


def test_wrong_behaviour_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """An undocumented exception, and a documented error with a message without end."""
    content = b"\0\0text,label\na,b\n"
    targets.readers(content)
    monkeypatch.setattr(targets, "read_texts", lambda path: [][0])
    with pytest.raises(IndexError):
        targets.readers(content)

    def refuse(path: Path) -> None:
        raise DataError("x" * 5_000)

    monkeypatch.setattr(targets, "read_texts", refuse)
    with pytest.raises(WrongAnswerError, match="a message of 5000 characters"):
        targets.readers(content)


def test_files_of_arrays_are_assembled() -> None:
    whole = model_bytes(SMALL)
    parts = targets.disassemble(whole)
    assert targets.assemble(parts) == whole
    assert targets.assemble(parts[:-5]) == whole[:-5] + b"\0" * 5
    assert targets.assemble(whole) == whole
    assert targets.assemble(b"no header") == b"no header"
