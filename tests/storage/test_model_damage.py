"""Whatever is wrong with a model file, a `ModelFileError` says so, and nothing else."""

from __future__ import annotations

import json
import math
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from small_models import TEXTS, edited, put_together, take_apart, word_classifier, wordpiece_classifier

import token2wave
from token2wave.classifier import Classifier
from token2wave.errors import ModelFileError
from token2wave.inference.loading import expected_arrays
from token2wave.storage.model_file import FORMAT_VERSION, ModelFile
from token2wave.storage.model_file import read_model_file as read_any

ORIGIN = "of another origin"


def read_model_file(path: Path) -> ModelFile:
    return read_any(path, expected_arrays)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    word_classifier().save(folder / "words")
    wordpiece_classifier().save(folder / "wordpiece")
    return {name: (folder / name).read_bytes() for name in ("words", "wordpiece")}


@pytest.fixture
def path(tmp_path: Path, whole: dict[str, bytes]) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(whole["words"])
    return path


@pytest.fixture
def wordpiece_path(tmp_path: Path, whole: dict[str, bytes]) -> Path:
    path = tmp_path / "wordpiece.safetensors"
    path.write_bytes(whole["wordpiece"])
    return path


def refused_by_load(path: Path, match: str | None = None) -> None:
    with pytest.raises(ModelFileError, match=match) as caught:
        token2wave.load(path)
    assert str(caught.value).startswith(str(path))


def refused(path: Path, match: str | None = None) -> None:
    with pytest.raises(ModelFileError, match=match) as caught:
        read_model_file(path)
    assert caught.value.location == str(path)
    refused_by_load(path, match)


def read_or_refused(path: Path, load: Callable[[Path], ModelFile | Classifier]) -> bool:
    """Whether a file that may be damaged was read; any other exception than ours goes through."""
    try:
        load(path)
    except ModelFileError as error:
        where = error.location
    else:
        return True
    assert where is not None
    assert where.startswith(str(path))
    return False


def test_the_whole_files_are_good(path: Path, wordpiece_path: Path) -> None:
    for good in (path, wordpiece_path):
        assert token2wave.load(good).probabilities(TEXTS).shape == (len(TEXTS), 2)
    header, body = take_apart(path)
    assert token2wave.load(put_together(path, header, body)).label_names == ("neg", "pos é")


# Not a whole safetensors file -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["words", "wordpiece"])
def test_cut_short(tmp_path: Path, whole: dict[str, bytes], kind: str) -> None:
    raw = whole[kind]
    lengths = {len(raw) * i // 50 for i in range(50)} | {*range(10), len(raw) - 1}
    for length in sorted(lengths):
        (tmp_path / "cut").write_bytes(raw[:length])
        refused(tmp_path / "cut", "damaged, cut short or of another kind")


def test_too_long(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")
    refused(path, "damaged")


@pytest.mark.parametrize("length", [0, 1, 2, 100, 2**20, 2**31, 2**32, 2**40, 2**63 - 1, 2**63, 2**64 - 1])
def test_hostile_header_lengths(path: Path, length: int) -> None:
    path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])
    refused(path, "damaged")


@pytest.mark.parametrize("raw", [b"", b"\0" * 8, b"\0" * 100, b"hello", b"PK\x03\x04" * 50, b"\x80\x04" * 50])
def test_another_kind_of_file(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)
    refused(path, "damaged, cut short or of another kind.*; copy it again, or train again")


def test_no_file(tmp_path: Path) -> None:
    refused(tmp_path / "none", "no such file; check the path")
    refused(tmp_path / "none" / "below", "no such file; check the path")
    refused(tmp_path, "found a folder; name a file in it")


def test_random_bytes_in_the_header(tmp_path: Path, whole: dict[str, bytes]) -> None:
    seed = 20240601
    chance = random.Random(seed)
    n_read = 0
    for name, raw in whole.items():  # without a checksum, which would refuse each of them
        (tmp_path / name).write_bytes(raw)
        put_together(tmp_path / name, *take_apart(tmp_path / name))
    for trial in range(900):
        raw = bytearray((tmp_path / ("words" if trial % 2 else "wordpiece")).read_bytes())
        header_end = 8 + int.from_bytes(raw[:8], "little")
        for _ in range(chance.choice([1, 1, 1, 2, 5])):
            raw[chance.randrange(header_end)] = chance.randrange(256)
        (tmp_path / "model").write_bytes(raw)
        n_read += read_or_refused(tmp_path / "model", token2wave.load if trial % 3 == 0 else read_model_file)
    assert 0 < n_read < 600, f"seed {seed}: {n_read} of 900 files were read"


@settings(deadline=None, max_examples=40, print_blob=True)
@given(raw=st.binary(max_size=200), header=st.booleans())
def test_random_files(tmp_path_factory: pytest.TempPathFactory, raw: bytes, header: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "random"
    path.write_bytes(struct.pack("<Q", len(raw)) + raw if header else raw)
    refused(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None, max_examples=60, print_blob=True, report_multiple_bugs=False)
@example(section="network", value={})
@example(section="features", value={"kind": "words", "settings": 5})
@given(
    section=st.sampled_from(["format_version", "versions", "features", "network", "labels", "training"]),
    value=json_values,
)
def test_random_metadata(tmp_path_factory: pytest.TempPathFactory, section: str, value: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "metadata"
    word_classifier().save(path)
    read_or_refused(edited(path, lambda metadata: metadata.update({section: value})), token2wave.load)


# Not ours -------------------------------------------------------------------------------------------


def test_other_safetensors_files(path: Path) -> None:
    tensors = {"embedding.weight": np.zeros((2, 2), np.float32)}
    for metadata in (None, {}, {"format": "pt"}, {"Token2wave": "{}"}, {"token2wave": ""}):
        save_file(tensors, path, metadata=metadata)
        refused(path, ORIGIN)


@pytest.mark.parametrize(
    "encoded", ["", "{", "nonsense", "null", "1", "[]", '"x"', "{}", '{"format_version": ', "NaN"]
)
def test_metadata_that_is_not_ours(path: Path, encoded: str) -> None:
    header, body = take_apart(path)
    header["__metadata__"]["token2wave"] = encoded
    refused(put_together(path, header, body), ORIGIN)


@pytest.mark.parametrize("version", [FORMAT_VERSION - 1, FORMAT_VERSION + 1, 0, -1, 10**30])
def test_other_formats(path: Path, version: int) -> None:
    edited(path, lambda metadata: metadata.update(format_version=version, labels=5))
    expected = f"expected format {FORMAT_VERSION}, found format {version}; another version of token2wave"
    refused(path, expected)


@pytest.mark.parametrize("version", [None, "1", 1.0, True, [1]])
def test_no_format(path: Path, version: object) -> None:
    refused(edited(path, lambda metadata: metadata.update(format_version=version)), ORIGIN)


@pytest.mark.parametrize("section", ["versions", "features", "network", "labels", "training", "storage"])
def test_sections(path: Path, section: str) -> None:
    for value in (None, 5, "text", {} if section == "labels" else []):
        refused(edited(path, lambda m, v=value: m.update({section: v})), f"expected the section '{section}'")
    refused(edited(path, lambda m: m.pop(section)), f"expected the section '{section}'")


@pytest.mark.parametrize(
    "labels", [["a", 1], [None, "a"], ["a", "a"], [["a"], "b"], [1, 2], [True, "a"], ["a", {}]]
)
def test_labels_that_are_no_names(path: Path, labels: list[object]) -> None:
    refused(edited(path, lambda m: m.update(labels=labels)), "distinct names of classes")


# Ours, but inconsistent -----------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [[], ["one"], ["one", "two", "three"]])
def test_wrong_number_of_labels(path: Path, labels: list[str]) -> None:
    refused_by_load(
        edited(path, lambda m: m.update(labels=labels)), f"2 names of classes, found {len(labels)}"
    )


def test_wrong_number_of_rows(path: Path) -> None:
    edited(path, lambda m: m["network"].update(n_rows=m["network"]["n_rows"] + 1))
    refused_by_load(path, r"'(embedding.weight|features.buckets)': expected \w+ of shape \[\d+.*\], found ")


SETTINGS: list[tuple[str, str, object]] = [
    ("network", "unheard_of", 1),
    ("network", "n_rows", 0),
    ("network", "n_rows", "9"),
    ("network", "n_rows", 10**30),
    ("network", "n_classes", 3),
    ("network", "n_classes", 10**12),
    ("network", "width", 5),
    ("network", "width", 0),
    ("network", "width", 4.0),
    ("network", "width", 10**5),
    ("network", "layers", 2),
    ("network", "layers", -1),
    ("network", "context_width", 0),
    ("network", "context_width", 4),
    ("network", "variants", "levels"),
    ("network", "restore", "real"),
    ("network", "readout", "first"),
    ("network", "dropout", math.nan),
    ("network", "dropout", None),
    ("network", "sentence_ends", "."),
    ("settings", "unheard_of", 1),
    ("settings", "bits", 10),
    ("settings", "bits", 31),
    ("settings", "bits", 64),
    ("settings", "bits", "12"),
    ("settings", "cls", False),
    ("settings", "cls", 1),
    ("settings", "ngrams", 0),
    ("features", "kind", "letters"),
    ("features", "kind", None),
    ("features", "kind", ["words"]),
    ("features", "kind", "wordpiece"),
]


def set_in(path: Path, place: str, key: str, value: object) -> Path:
    def edit(metadata: dict[str, Any]) -> None:
        sections = {**metadata, "settings": metadata["features"]["settings"]}
        sections[place][key] = value

    return edited(path, edit)


@pytest.mark.parametrize(("place", "key", "value"), SETTINGS)
def test_settings_that_do_not_fit(path: Path, place: str, key: str, value: object) -> None:
    refused_by_load(set_in(path, place, key, value))


@pytest.mark.parametrize(
    ("key", "value"), [("max_tokens", 2), ("lowercase", "yes"), ("bits", 12), ("vocabulary_size", 2)]
)
def test_wordpiece_settings_that_do_not_fit(wordpiece_path: Path, key: str, value: object) -> None:
    refused_by_load(set_in(wordpiece_path, "settings", key, value))


Tensors = dict[str, np.ndarray]


def rewritten(path: Path, edit: Callable[[Tensors], object]) -> Path:
    """Change the tensors of a model file."""
    model = read_model_file(path)
    tensors = dict(model.tensors)
    edit(tensors)
    header, _ = take_apart(path)
    save_file(tensors, path, metadata={"token2wave": json.dumps(header["__metadata__"]["token2wave"])})
    return path


TENSOR_NAMES = [
    "embedding.weight",
    "head.bias",
    "layers.0.variants.weight",
    "norm.weight",
    "context.head.weight",
]


@pytest.mark.parametrize("name", [*TENSOR_NAMES, "features.buckets"])
def test_missing_tensors(path: Path, name: str) -> None:
    refused_by_load(rewritten(path, lambda t: t.pop(name)), "missing or too many|buckets")


@pytest.mark.parametrize("name", ["more", "head.weight2", "layers.1.variants.weight", "feature.buckets"])
def test_extra_tensors(path: Path, name: str) -> None:
    refused_by_load(rewritten(path, lambda t: t.update({name: np.zeros(1, np.float32)})), f"found '{name}'")


@pytest.mark.parametrize("name", [*TENSOR_NAMES, "features.buckets"])
@pytest.mark.parametrize(
    "change",
    [
        lambda a: a[None],
        lambda a: a[..., :0],
        lambda a: a[:-1],
        lambda a: np.concatenate([a, a]),
        lambda a: a.astype(np.float64),
        lambda a: a.astype(np.float16),
        lambda a: a.astype(np.int32),
        lambda a: a.astype(np.bool_),
        lambda a: np.array(1, a.dtype),
    ],
    ids=["deeper", "empty", "shorter", "longer", "float64", "float16", "int32", "bool", "scalar"],
)
def test_tensors_of_another_shape_or_type(path: Path, name: str, change: Callable[..., np.ndarray]) -> None:
    refused_by_load(rewritten(path, lambda t: t.update({name: np.ascontiguousarray(change(t[name]))})))


def test_a_turned_matrix(path: Path) -> None:
    name = "embedding.weight"
    rewritten(path, lambda t: t.update({name: np.ascontiguousarray(t[name].T)}))
    refused_by_load(path, rf"'{name}': expected F32 of shape \[\d+, 4\], found F32 of shape \[4, ")


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", TENSOR_NAMES)
def test_numbers_that_are_not_finite(path: Path, name: str, number: float) -> None:
    def spoil(tensors: Tensors) -> None:
        tensors[name] = tensors[name].copy()
        tensors[name].flat[-1] = number

    refused(rewritten(path, spoil), f"expected finite numbers in '{name}', found others")


@pytest.mark.parametrize("last", [0, 1, 4096, 0xFFFFFFFF])
def test_bad_buckets_in_a_file(path: Path, last: int) -> None:
    def spoil(tensors: Tensors) -> None:
        buckets = np.arange(1, len(tensors["features.buckets"]) + 1, dtype=np.uint32)
        buckets[-1] = last
        tensors["features.buckets"] = buckets

    refused_by_load(rewritten(path, spoil), "expected increasing buckets below 2\\^12")


def test_bad_vocabularies_in_a_file(wordpiece_path: Path) -> None:
    for raw in (b"\xff", b"", b"[UNK]\n[CLS]", b"[UNK]\n[CLS]\n[SEP]\na\na", b"[UNK]\n[CLS]\n[SEP]"):
        rewritten(
            wordpiece_path, lambda t, r=raw: t.update({"features.vocabulary": np.frombuffer(r, np.uint8)})
        )
        refused_by_load(wordpiece_path)


# Bugs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_deeply_nested_metadata(path: Path, opening: str) -> None:
    header, body = take_apart(path)
    header["__metadata__"]["token2wave"] = opening * 100_000
    refused(put_together(path, header, body))


@pytest.mark.parametrize("value", ["text", 5, [1], True])
def test_feature_settings_that_are_no_object(path: Path, value: object) -> None:
    refused_by_load(set_in(path, "features", "settings", value))


@pytest.mark.parametrize("key", ["n_rows", "n_classes"])
def test_missing_required_network_settings(path: Path, key: str) -> None:
    refused_by_load(edited(path, lambda m: m["network"].pop(key)))


@pytest.mark.parametrize(
    ("key", "value"),
    [("dropout", 10**400), ("width", 2**40), ("width", 10**18), ("width", 10**30), ("context_width", 10**18)],
    ids=["float", "width 2^40", "width 10^18", "width 10^30", "context_width 10^18"],
)
def test_very_large_network_settings(path: Path, key: str, value: int) -> None:
    refused_by_load(set_in(path, "network", key, value))


def test_very_large_max_tokens(wordpiece_path: Path) -> None:
    refused_by_load(set_in(wordpiece_path, "settings", "max_tokens", 2**70))


@pytest.mark.parametrize("value", [["."], [None], [-1], [10**6], [[1]]])
def test_sentence_ends_that_are_no_rows(path: Path, value: list[object]) -> None:
    refused_by_load(set_in(path, "network", "sentence_ends", value))


def test_extra_tensors_of_the_features(path: Path) -> None:
    refused_by_load(rewritten(path, lambda t: t.update({"features.more": np.zeros(1, np.float32)})))


def test_the_message_names_the_setting(path: Path) -> None:
    refused_by_load(set_in(path, "network", "dropout", 7.5), "dropout")


@pytest.mark.parametrize(("kind", "size"), [("BF16", 2), ("F8_E4M3", 1), ("F8_E5M2", 1)])
def test_types_that_numpy_does_not_have(path: Path, kind: str, size: int) -> None:
    header, _ = take_apart(path)
    tensor = {"dtype": kind, "shape": [8], "data_offsets": [0, 8 * size]}
    refused(put_together(path, {"__metadata__": header["__metadata__"], "x": tensor}, b"\0" * 8 * size))


@pytest.mark.parametrize("shape", [[0, 2**62, 2**62], [1] * 70])
def test_shapes_that_numpy_refuses(path: Path, shape: list[int]) -> None:
    header, _ = take_apart(path)
    size = 4 * math.prod(shape)
    tensor = {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}
    refused(put_together(path, {"__metadata__": header["__metadata__"], "x": tensor}, b"\0" * size))
