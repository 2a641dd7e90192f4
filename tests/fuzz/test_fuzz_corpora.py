"""What guided fuzzing has reached, and what it has found: every input again, without its engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from token2wave.errors import DataError

CORPUS = Path(__file__).parent / "corpus"
targets = pytest.importorskip("fuzz_targets", reason="the tools are not part of this tree")
seeds = pytest.importorskip("fuzz_seeds")


@pytest.mark.parametrize("name", targets.TARGETS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_corpus(name: str) -> None:
    files = sorted((CORPUS / name).iterdir())
    assert files
    for file in files:
        print(file)
        targets.TARGETS[name].run(file.read_bytes())


@pytest.mark.parametrize("name", targets.TARGETS)
def test_seeds(name: str) -> None:
    found = seeds.seeds_of(name)
    assert len(found) == len(set(found)) >= 4
    for content in found:
        print(content[:200])
        assert len(content) <= targets.TARGETS[name].longest
        targets.TARGETS[name].run(content)


def test_the_corpora_stay_small() -> None:
    sizes = [path.stat().st_size for path in CORPUS.glob("*/*")]
    assert len(sizes) > 100
    assert sum(sizes) < 2_000_000
    assert {path.name for path in CORPUS.iterdir()} == set(targets.TARGETS)


def test_what_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception of another kind, a message of several lines, and one without end."""
    content = b"\0\0text,label\na,b\n"
    targets.readers(content)
    monkeypatch.setattr(targets, "read_texts", lambda path: [][0])
    with pytest.raises(IndexError):
        targets.readers(content)
    for message in ("x" * 5_000,):

        def refuse(path: Path, message: str = message) -> None:
            raise DataError(message)

        monkeypatch.setattr(targets, "read_texts", refuse)
        with pytest.raises(Exception, match="a message of 5000 characters"):
            targets.readers(content)


def test_files_of_arrays_are_put_together() -> None:
    whole = seeds.file_of(targets_common().SMALL)
    apart = targets.disassembled(whole)
    assert targets.assembled(apart) == whole
    assert targets.assembled(apart[:-5]) == whole[:-5] + b"\0" * 5
    assert targets.assembled(b"no header") == b"no header"


def targets_common():  # type: ignore[no-untyped-def]
    import fuzz_common

    return fuzz_common
