"""Files made to fill the memory: each is refused, with its place and the cure, and without being held."""

from __future__ import annotations

import gzip
import io
import json
import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from token2wave.data import (
    DataOptions,
    TextDataset,
    TextSplit,
    label_names_of,
    read_labelled,
    read_stream,
    read_texts,
)
from token2wave.data import lines as lines_module
from token2wave.data import parquet as parquet_module
from token2wave.data import reader as reader_module
from token2wave.data import rows as rows_module
from token2wave.data import text_files as text_files_module
from token2wave.distillation import probabilities as probabilities_module
from token2wave.distillation.cache import cached_outputs
from token2wave.distillation.probabilities import read_npz, read_probabilities
from token2wave.errors import ConfigError, DataError, Token2WaveError
from token2wave.training.preparation import prepare
from token2wave.training.recipe import Recipe

ADDRESSES = 3 << 30  # bytes that a process of its own may ask for


def limited(monkeypatch: pytest.MonkeyPatch, module: Any, **limits: Any) -> None:
    for name, value in limits.items():
        monkeypatch.setattr(module, name, value)


@pytest.fixture
def short_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (reader_module, text_files_module):
        limited(monkeypatch, module, IN_MEMORY=rows_module.RowLimits(line_bytes=100))


def refused(read: Callable[[], object], *words: str) -> str:
    with pytest.raises(DataError) as caught:
        read()
    said = str(caught.value)
    assert all(word in said for word in words), said
    assert caught.value.hint
    assert len(said) < 500
    return said


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".tsv", ".jsonl", ".fasttext", ".csv.gz", ".jsonl.gz"])
def test_a_line_that_is_too_long(tmp_path: Path, short_lines: None, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    opened = gzip.open if suffix.endswith(".gz") else open
    with opened(path, "wb") as stream:
        stream.write(b"text\n" if "sv" in suffix else b'{"text": ""}\n')
        stream.write(b"x" * 101 + b"\nmore\n")
    refused(lambda: read_texts(path), "line 2", "at most 100 bytes", "passages")
    path.write_bytes(gzip.compress(b"text\n" + b"x" * 99 + b"\n") if suffix == ".csv.gz" else b"")
    if suffix == ".csv.gz":
        assert read_texts(path) == ["x" * 99]


def test_a_line_of_standard_input(short_lines: None) -> None:
    stream = io.BytesIO(b"one\n" + b"x" * 200)
    refused(lambda: read_stream(stream, "standard input"), "standard input, line 2", "at most 100 bytes")


def test_a_quote_that_does_not_end(tmp_path: Path, short_lines: None) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,label\n"' + "word word\n" * 20)
    refused(lambda: read_labelled(path), "row 1 (line 2)", "field larger than field limit (100)", "quote")


LONG_LINE = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, ({addresses}, {addresses}))
from token2wave.data import read_texts
from token2wave.errors import DataError
from token2wave.process_memory import peak_memory
try:
    read_texts(Path(sys.argv[1]))
except DataError as error:
    print(error)
print(peak_memory() >> 20)
"""


def peak_of_refusal(path: Path) -> tuple[str, int]:
    """What a process of its own says of a file, and its peak memory in MiB."""
    done = subprocess.run(
        [sys.executable, "-c", LONG_LINE.format(addresses=ADDRESSES), str(path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    said, peak = done.stdout.splitlines()
    return said, int(peak)


def test_a_line_of_a_gigabyte(tmp_path: Path) -> None:
    """A real one, of nothing but zeros, which take no place on the disk."""
    path = tmp_path / "long.csv"
    with path.open("wb") as stream:
        stream.write(b"text\n")
        stream.truncate(1 << 30)
    said, peak = peak_of_refusal(path)
    assert "line 2" in said
    assert "at most 67,108,864 bytes" in said
    assert peak < 400


def test_a_line_without_end_from_a_little_gzip(tmp_path: Path) -> None:
    """One that is longer than the real limit; of one of a gigabyte no more would be read."""
    path = tmp_path / "bomb.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as stream:
        for _ in range(96):
            stream.write(b"x" * (1 << 20))
    said, peak = peak_of_refusal(path)
    assert "line 1" in said
    assert "at most 67,108,864 bytes" in said
    assert peak < 400


def test_a_gzip_bomb_of_short_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, lines_module, MAX_UNPACKED_BYTES=100_000)
    path = tmp_path / "bomb.txt.gz"
    path.write_bytes(gzip.compress(b"x" * 999 + b"\n" + b"".join([b"x" * 999 + b"\n"] * 5_000)))
    refused(lambda: read_texts(path), "200 times", "compressed", "uncompressed")
    path.write_bytes(gzip.compress("".join(f"text number {i}\n" for i in range(20_000)).encode()))
    assert len(read_texts(path)) == 20_000


def test_columns_by_the_thousand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (reader_module, parquet_module):
        limited(monkeypatch, module, IN_MEMORY=rows_module.RowLimits(columns=20))
    csv, jsonl, parquet = (tmp_path / f"a.{suffix}" for suffix in ("csv", "jsonl", "parquet"))
    names = [f"column{i}" for i in range(19)]
    for n_more, is_legal in ((1, True), (2, False)):
        header = [*names[: 20 - 1], *["text", "more"][:n_more]]
        csv.write_text(",".join(header) + "\n" + ",".join("x" * len(header)) + "\n")
        jsonl.write_text(json.dumps(dict.fromkeys(header, "x")) + "\n")
        pq.write_table(pa.table({name: ["x"] for name in header}), parquet)
        for path in (csv, jsonl, parquet):
            if is_legal:
                assert read_texts(path) == ["x"]
            else:
                refused(lambda path=path: read_texts(path), path.name, "at most 20 columns, found 21")


def test_a_million_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(",".join(map(str, range(1_000_000))) + "\n")
    refused(lambda: read_texts(path), "line 1", "at most 10,000 columns, found 1,000,000")
    path = tmp_path / "a.jsonl"
    path.write_text("{" + ",".join(f'"{i}":0' for i in range(1_000_000)) + "}\n")
    refused(lambda: read_texts(path), "row 1", "at most 10,000 columns, found 1,000,000")


def test_json_of_many_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, reader_module, IN_MEMORY=rows_module.RowLimits(json_values=1_000))
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "' + "a, " * 999 + '"}\n')
    assert len(read_texts(path)) == 1
    path.write_text('{"text": "", "label": [' + "[],{}," * 400 + "0]}\n")
    refused(lambda: read_texts(path), "row 1", "at most 1,000 commas and brackets")


@pytest.mark.parametrize("opening", ['{"a":', "["])
def test_json_nested_deeply(tmp_path: Path, opening: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(opening * 200_000 + "\n")
    refused(lambda: read_texts(path), "row 1", "not valid JSON")
    refused(lambda: read_probabilities(path, ["a"], []), "row 1" if opening == "no" else "1", "JSON")


def test_a_parquet_bomb(tmp_path: Path) -> None:
    """A text of a megabyte that stands there a hundred thousand times, in less than a kilobyte."""
    path = tmp_path / "bomb.parquet"
    indices = pa.array([0] * 100_000, pa.int32())
    column = pa.DictionaryArray.from_arrays(indices, ["a" * 1_000_000])
    table = pa.table({"text": column, "probabilities": column})
    pq.write_table(table, path, compression="zstd", store_schema=False)
    assert path.stat().st_size < 2_000
    said, peak = peak_of_refusal(path)
    assert "200 times" in said
    assert peak < 400
    refused(lambda: read_probabilities(path, ["a"], []), "200 times")


def test_parquet_of_long_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.parquet"
    pq.write_table(pa.table({"text": ["a"], "label": [["x"] * 200_000]}), path)
    assert len(read_labelled(path).labels[0]) == 1  # each once
    limited(monkeypatch, lines_module, MAX_UNPACKED_BYTES=0)
    refused(lambda: read_labelled(path), "200 times")


def test_parquet_keeps_what_it_read(tmp_path: Path) -> None:
    """Texts once or a thousand times, in any row group, missing ones too: as pyarrow reads them."""
    path = tmp_path / "a.parquet"
    table = pa.table(
        {
            "text": ["a", "é" * 50, "a", ""] * 500,
            "label": [["x", "y"], [], ["x"], ["y"]] * 500,
            "weight": pa.array([1.0, 2.5, 0.0, 4.0] * 500, pa.float32()),
        }
    )
    for settings in ({"use_dictionary": False}, {"row_group_size": 7}, {"store_schema": False}):
        pq.write_table(table, path, **settings)
        found = parquet_module.parquet_columns(path)
        assert found == table.to_pydict()
    pq.write_table(pa.table({"text": pa.array(["a", None, "b"], pa.large_string())}), path)
    assert parquet_module.parquet_columns(path) == {"text": ["a", None, "b"]}


# ---- files of arrays ----


def test_npz_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, probabilities=np.zeros((1_000_000, 20)))
    refused(lambda: read_probabilities(path, ["a"], []), "claims to unpack to 160,000,128 bytes")
    with zipfile.ZipFile(path, "w") as packed, packed.open("probabilities.npy", "w") as stream:
        stream.write(
            b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 2), }"
        )
    refused(lambda: read_probabilities(path, ["a"], []), "probabilities")
    limited(monkeypatch, probabilities_module, MAX_BYTES=10, MAX_RATIO=0)
    np.savez(path, probabilities=np.ones((1, 2)))
    with pytest.raises(ValueError, match="claims to unpack"):
        read_npz(path)


def test_npz_names_lead_nowhere(tmp_path: Path) -> None:
    """Names with which careless programs write elsewhere are only names."""
    folder = tmp_path / "in"
    folder.mkdir()
    path = folder / "a.npz"
    np.savez(
        path, **{"../../evil": np.ones((1, 2)), "/tmp/evil": np.ones(1), "probabilities": np.ones((1, 1))}
    )
    before = sorted(tmp_path.rglob("*"))
    assert read_probabilities(path, ["a"], ["t"]).of(["t"]).tolist() == [[1.0]]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
        np.array(["é", "ab", ""]),
        np.zeros((0, 4), np.uint8),
        np.array(3),
        np.arange(5, dtype=">i4"),
    ],
)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_as_numpy_reads_it(tmp_path: Path, array: Any, save: Callable[..., None]) -> None:
    save(tmp_path / "a.npz", array=array, other=np.ones(2))
    found = read_npz(tmp_path / "a.npz")
    assert set(found) == {"array", "other"}
    np.testing.assert_array_equal(found["array"], array)
    assert found["array"].dtype == array.dtype


def test_npz_holds_no_objects(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", probabilities=np.array([{"code": 1}], dtype=object))
    with pytest.raises(ValueError, match="no array of numbers"):
        read_npz(tmp_path / "a.npz")


def digests(*words: str) -> Any:
    return np.frombuffer(b"".join(map(probabilities_module.digest, words)), np.uint8).reshape(-1, 32)


@pytest.mark.parametrize(
    "arrays",
    [
        {"outputs": np.ones((1, 2), np.float32), "text_sha256": digests("good", "bad")},
        {"outputs": np.ones((2, 5), np.float32), "text_sha256": digests("good", "bad")},
        {"outputs": np.full((1, 2), np.nan, np.float32), "text_sha256": digests("good")},
        {"outputs": np.ones(2, np.float32), "text_sha256": digests("good", "bad")},
        {"outputs": np.ones((1, 2), np.float32)},
    ],
)
def test_cached_outputs_that_do_not_fit_are_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrays: dict[str, Any]
) -> None:
    monkeypatch.setenv("TOKEN2WAVE_CACHE", str(tmp_path))
    asked: list[list[str]] = []

    def ask(words: list[str]) -> Any:
        asked.append(list(words))
        return np.array([[len(word), 0.0] for word in words], dtype=np.float32)

    cached_outputs("encoder", ["good"], ask)
    [path] = (tmp_path / "teachers").iterdir()
    np.savez(path, **arrays)
    words = ["bad", "good", "film"]
    assert cached_outputs("encoder", words, ask).of(words)[:, 0].tolist() == [3, 4, 4]
    assert asked[-1] == words
    n_asked = len(asked)
    assert cached_outputs("encoder", words, ask).of(words)[:, 0].tolist() == [3, 4, 4]
    assert len(asked) == n_asked


# ---- classes ----


def test_a_million_labels() -> None:
    labels = list(map(str, range(1_000_000)))
    rows = TextSplit([""] * len(labels), labels, "ids.csv")
    refused(
        lambda: label_names_of(rows), "ids.csv", "at most 10,000 classes, found 1,000,000", "label column"
    )
    splits = TextDataset("ids", rows, None, None, None, ())
    refused(lambda: prepare(splits, Recipe(), 0), "at most 10,000 classes")
    few = TextSplit([""] * 2, ["a", "b"], "few.csv")
    refused(lambda: label_names_of(few, labels), "at most 10,000 classes")
    assert len(label_names_of(TextSplit([""] * 20_000, labels[:10_000] * 2, "many.csv"))) == 10_000


def test_new_labels_of_an_update_by_the_thousand() -> None:
    import token2wave

    rows = TextSplit(["good film", "bad film"] * 8, ["a", "b"] * 8, "rows")
    classifier = token2wave.train(
        TextDataset("rows", rows, None, None, None, ()), preset="fast", epochs=1
    ).classifier
    labels = ["a", "b", *map(str, range(10_000))]
    more = TextSplit(["good"] * len(labels), labels, "more.csv")
    with pytest.raises(Token2WaveError, match="at most 10,000 classes, found 10,002"):
        token2wave.update(classifier, TextDataset("more", more, None, None, None, ()))


def test_labels_are_not_split_by_nothing() -> None:
    with pytest.raises(ConfigError, match=r"empty separator.*--label-separator"):
        DataOptions(label_separator="")


def test_the_limit_of_addresses_is_one() -> None:
    """The processes above would be stopped at once if they asked for what the files claim."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    assert soft == resource.RLIM_INFINITY or soft >= ADDRESSES
