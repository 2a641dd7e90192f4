"""Files that are written here have the bytes that safetensors would give, and every damaged bit is found."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save
from small_models import TEXTS, put_together, take_apart, word_classifier

import token2wave
from token2wave.errors import ModelFileError
from token2wave.storage.safetensors_writer import TYPES, size_of_arrays, write_arrays

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
arrays = st.dictionaries(
    text.filter(lambda name: name != "__metadata__"),
    st.tuples(st.sampled_from(sorted(TYPES.values())), st.lists(st.integers(0, 3), max_size=3)),
    max_size=6,
)


def numbers(dtype: str, shape: list[int], seed: int) -> np.ndarray[Any, Any]:
    drawn = np.random.default_rng(seed).integers(0, 2 if dtype == "?" else 100, shape)
    return np.asarray(drawn).astype(dtype)


@settings(deadline=None, max_examples=150)
@given(drawn=arrays, key=text, value=text)
def test_the_bytes_are_those_of_safetensors(
    drawn: dict[str, Any], key: str, value: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "container"
    made = {name: numbers(*how, seed=len(name)) for name, how in drawn.items()}
    checksum = write_arrays(path, made, {key: value})
    found = path.read_bytes()
    assert found == save(made, metadata={key: value})
    assert checksum == zlib.crc32(found)
    assert size_of_arrays(made, {key: value}) == len(found)
    assert {name: array.tobytes() for name, array in load_file(path).items()} == {
        name: array.tobytes() for name, array in made.items()
    }


def test_arrays_that_lie_otherwise_in_memory(tmp_path: Path) -> None:
    square = np.arange(9, dtype=np.float32).reshape(3, 3)
    made = {"turned": square.T, "part": square[::2, 1], "other end first": square.astype(">f4")}
    write_arrays(tmp_path / "file", made, {})
    found = load_file(tmp_path / "file")
    assert all(found[name].tolist() == array.tolist() for name, array in made.items())


def test_every_damaged_bit_is_found(tmp_path: Path) -> None:
    """Or does no harm: in the word ``checksum`` itself a file becomes one without."""
    path = tmp_path / "model"
    classifier = word_classifier()
    classifier.save(path)
    whole, expected = path.read_bytes(), classifier.probabilities(TEXTS).tobytes()
    header_end = 8 + int.from_bytes(whole[:8], "little")
    chance = Random(5)
    places = [*range(0, header_end, 7), *chance.sample(range(header_end, len(whole)), 300)]
    unseen = 0
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        try:
            found = token2wave.load(path)
        except ModelFileError:
            continue
        unseen += 1
        assert found.probabilities(TEXTS).tobytes() == expected
    assert unseen <= 2


def test_the_message_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "model"
    word_classifier().save(path)
    damaged = bytearray(path.read_bytes())
    damaged[-100] ^= 1  # the lowest bit of a number, which no other check can find
    path.write_bytes(damaged)
    with pytest.raises(
        ModelFileError, match=r"checksum '.{8}', found .{8}; the file is damaged: copy it again"
    ):
        token2wave.load(path)


def test_files_without_a_checksum_are_read(tmp_path: Path) -> None:
    path = tmp_path / "model"
    classifier = word_classifier()
    classifier.save(path)
    header, body = take_apart(path)
    assert "checksum" not in header["__metadata__"]["token2wave"]
    assert token2wave.load(put_together(path, header, body)).predict("a") == classifier.predict("a")


@pytest.mark.parametrize("checksum", ["00000000", "", 5, None, [], "g" * 8, "0" * 9])
def test_a_checksum_that_is_none(checksum: object, tmp_path: Path) -> None:
    path = tmp_path / "model"
    word_classifier().save(path)
    header, body = take_apart(path)
    header["__metadata__"]["token2wave"] = json.dumps(
        {"checksum": checksum, **header["__metadata__"]["token2wave"]}
    )
    with pytest.raises(ModelFileError, match="checksum"):
        token2wave.load(put_together(path, header, body))
