"""The functions that are fuzzed: one for each way in which foreign bytes enter the package.

A target takes any bytes and hands them to the package as a file, a request, arguments or texts. It raises if
the outcome is not documented: an exception other than those of :mod:`token2wave.errors`, a message of several
lines or without end, or an answer that cannot be right. ``guided.py`` draws the bytes, ``tests/fuzz`` replays
the archives.
"""

from __future__ import annotations

import io
import json
import math
import os
import warnings
import zlib
from collections.abc import Callable
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

import token2wave
from fuzzing.checks import (
    RECIPES,
    check,
    check_twins,
    classifier,
    documented_errors,
    native_core,
    temporary_folder,
    without_torch,
    write_temporary,
)
from fuzzing.command_target import command_line
from fuzzing.service_targets import connection, service
from token2wave.core import load_core
from token2wave.data.file_segments import segments_of
from token2wave.data.reader import read_segment
from token2wave.data.rows import RowLimits
from token2wave.data.text_files import read_labelled, read_stream, read_texts
from token2wave.distillation.cache import TeacherCache, cached_outputs
from token2wave.distillation.probabilities import read_probabilities
from token2wave.features import WordConfig, WordFeatures
from token2wave.models.wave_config import WaveConfig
from token2wave.options import DataOptions, TextOptions
from token2wave.scoring.filters import Filter
from token2wave.training.additive_network import AdditiveNetwork
from token2wave.training.checkpoint import KEY as CHECKPOINT_KEY
from token2wave.training.checkpoint import Checkpoint, CheckpointSlot
from token2wave.training.examples import Examples
from token2wave.training.loop import fit
from token2wave.training.recipe import Recipe

SEPARATOR = b"\xff\xfe"  # between the texts of an input; never part of UTF-8
MAX_BODY = 1 << 20  # bytes that a claimed length may add
TOLERANCE = 1e-4
TEXT_SUFFIXES = ".csv .tsv .jsonl .ndjson .txt .fasttext .ft .parquet".split()
FILE_SUFFIXES = [*TEXT_SUFFIXES, *".csv.gz .jsonl.gz .txt.gz .tsv.gz".split()]
STREAM_SUFFIXES = [*FILE_SUFFIXES, *".jsonl.bz2 .jsonl.xz .csv.zst .txt.zst".split()]
TEACHER_SUFFIXES = (".npz", ".jsonl", ".parquet")
TEXTS = ["good film", "bad film", "good"]
IDENTITY = {"seed": 0, "data": "drawn"}


class Target(NamedTuple):
    """A way into the package.

    Attributes:
        run: takes an input, raises for a finding.
        max_bytes: size of an input.
        max_inputs: inputs that the tests replay; fewer where an input takes long.
    """

    run: Callable[[bytes], None]
    max_bytes: int = 4096
    max_inputs: int = 200


# ---- readers ----


def readers(data: bytes) -> None:
    """Files of rows: the first two bytes choose format and settings, the rest is the file."""
    if len(data) < 2:
        return
    suffix, choice = FILE_SUFFIXES[data[0] % len(FILE_SUFFIXES)], data[1]
    path = write_temporary(f"in{suffix}", data[2:])
    label_names = ("a", "b", "c") if choice & 8 else None
    settings: dict[str, Any] = {
        "multi_label": (None, True, False)[choice % 3],
        "label_separator": "|" if choice & 4 else None,
        "weight_column": "weight" if choice & 16 else None,
        "delimiter": ";" if choice & 32 else None,
        "encoding": "shift_jis" if choice & 64 else None,
        "header": False if choice & 128 else None,
    }
    with documented_errors():
        rows = read_labelled(path, DataOptions(**settings), label_names=label_names)
        check(len(rows) >= 1 and len(rows.texts) == len(rows.labels), "rows without labels")
        for text in rows.texts:
            text.encode()
    with documented_errors():
        for text in read_texts(path):
            text.encode()
    if suffix == ".txt":
        with documented_errors():
            read_stream(io.BytesIO(data[2:]), "standard input")


def streams(data: bytes) -> None:
    """Files read in segments: large and small segments give the same rows."""
    if len(data) < 2:
        return
    suffix, choice = STREAM_SUFFIXES[data[0] % len(STREAM_SUFFIXES)], data[1]
    path = write_temporary(f"in{suffix}", data[2:])
    limits = RowLimits(
        line_bytes=(64, 1 << 16)[choice & 1],
        columns=(3, 10_000)[choice >> 1 & 1],
        block_bytes=(100, 1 << 20)[choice >> 2 & 1],
    )
    columns = ("label",) if choice & 8 else None
    options = TextOptions(
        quoting="escapes" if choice & 32 else "auto", encoding="utf-16" if choice & 64 else None
    )
    readings: list[list[tuple[int, str]]] = []
    for n_bytes in (1 << 20, max(len(data) // 3, 16)):
        reading = []
        with documented_errors():
            for segment in segments_of([path], n_bytes, options):
                for rows in read_segment(segment, "text", columns, limits, (2, 100)[choice >> 4 & 1]):
                    texts = rows.values("text") if len(rows) else []
                    check(len(texts) == len(rows), "rows and their texts differ in number")
                    check(all(isinstance(text, str) for text in texts), "a text that is no string")
                    for rejected in rows.rejected:
                        check(bool(rejected.reason), "a reject without a reason")
                        check(len(rejected.beginning) <= 200, "a reject too long to show")
                    reading += list(zip(rows.places.tolist(), texts, strict=True))
        readings.append(reading)
    if suffix != ".parquet":
        check(readings[0] == readings[1], "segments of another size hold other rows")


# ---- features and predictions ----


def _texts(data: bytes) -> list[str]:
    """Texts of an input; bytes that are not UTF-8 become lone surrogates."""
    return [part.decode("utf-8", "surrogateescape") for part in data.split(SEPARATOR)]


def _compare_engines(kind: str, data: bytes) -> None:
    texts, model = _texts(data), classifier(kind)
    rows, probabilities, known = [], [], []
    n_ids = model.features.n_rows + model.network.config.n_oov
    for natively in [False] if load_core() is None else [True, False]:
        twin = classifier(kind, natively)
        with native_core(natively):
            features = twin.features(texts)
            rows.append((features.ids.tolist(), features.offsets.tolist()))
            shares, is_known = twin.probabilities_and_known(texts)
            probabilities.append(shares)
            known.append(is_known.tolist())
            in_range = (features.ids >= 0) & (features.ids < n_ids)
            check(bool(in_range.all()), "a row outside the embedding")
            first = model.features([texts[0]])
            check(first.ids.tolist() == features.ids[: len(first.ids)].tolist(), "a text alone differs")
    check(rows[0] == rows[-1], "the native core and numpy find other features")
    is_close = np.allclose(probabilities[0], probabilities[-1], atol=TOLERANCE)
    check(bool(is_close), "the native core and numpy differ")
    check(known[0] == known[-1], "the native core and numpy know other texts")
    tokens = model.features.tokens(texts[0])
    check(bool((tokens.starts <= tokens.ends).all()), "a token that ends before it begins")
    check(not len(tokens.ends) or int(tokens.ends.max()) <= len(texts[0]), "a token behind the text")
    if len(data) % 2:  # the state takes as long as all of the above
        return
    state = model.state()
    for text in texts:
        state.update(text)
    joined = model.features.tokens(" ".join(texts)).codes
    check(state.n_tokens == len(joined), "a state has other tokens than the whole text")
    state.remove(texts[0])
    check(model.state_from_bytes(state.to_bytes()).n_tokens == state.n_tokens, "a packed state differs")


def words(data: bytes) -> None:
    """Texts as words and word pairs, in the core and in numpy, alone, in a batch and as a state."""
    _compare_engines("words", data)


def wordpiece(data: bytes) -> None:
    """Texts as word pieces, likewise."""
    _compare_engines("wordpiece", data)


def oov(data: bytes) -> None:
    """Texts as words for a model with an OOV table, likewise."""
    _compare_engines("oov", data)


# ---- files of arrays ----


def assemble(data: bytes, finish: Callable[[dict[str, Any], bytes], None] | None = None) -> bytes:
    """Make a safetensors file of header, NUL and arrays; without NUL, the bytes are the file.

    Args:
        data: header, NUL, body.
        finish: changes the header to fit the body, such as its checksum.
    """
    encoded, separator, body = data.partition(b"\0")
    if not separator or not encoded.lstrip().startswith(b"{"):
        return data
    with suppress(ValueError, TypeError, LookupError, AttributeError, RecursionError):
        header = json.loads(encoded)
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        length = max(ends, default=0)
        if type(length) is int and 0 <= length <= MAX_BODY:
            body = body[:length].ljust(length, b"\0")
        if finish is not None:
            finish(header, body)
            encoded = json.dumps(header).encode()
    return len(encoded).to_bytes(8, "little") + encoded + body


def disassemble(whole: bytes) -> bytes:
    """The way back from :func:`assemble`."""
    length = int.from_bytes(whole[:8], "little")
    return whole[8 : 8 + length] + b"\0" + whole[8 + length :]


def model(data: bytes) -> None:
    """A model file is refused, or it predicts."""
    path = write_temporary("in.safetensors", assemble(data))
    with documented_errors(), without_torch(), np.errstate(all="ignore"):
        loaded = token2wave.load(path)
        loaded.description()
        texts = ["good film don't", "", "\ud800 x" * 9]
        probabilities = loaded.probabilities(texts)
        expected = (3, len(loaded.label_names))
        check(probabilities.shape == expected, f"probabilities of shape {probabilities.shape}")
        loaded.predict(texts[0], top_k=2)
        check_twins(loaded, texts)
        loaded.explain(texts[0])
        loaded.state().update(texts[0]).predict()


def checkpoint(data: bytes) -> None:
    """A checkpoint with valid checksums and any content."""

    def set_checksums(header: dict[str, Any], body: bytes) -> None:
        metadata = header["__metadata__"]
        document = json.loads(metadata[CHECKPOINT_KEY])
        document["checksums"] = {
            name: zlib.crc32(body[slice(*entry["data_offsets"])])
            for name, entry in header.items()
            if name != "__metadata__"
        }
        metadata[CHECKPOINT_KEY] = json.dumps(document)
        metadata[f"{CHECKPOINT_KEY}.checksum"] = str(zlib.crc32(metadata[CHECKPOINT_KEY].encode()))

    path = write_temporary("in.checkpoint", assemble(data, set_checksums))
    with documented_errors(), np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
        opened = Checkpoint.open(path, IDENTITY, resume=True)
        copy = Checkpoint(Path(os.devnull), IDENTITY, opened.networks)
        with mock.patch.object(Checkpoint, "write"):
            train_a_little(copy.next_network())


def train_a_little(slot: CheckpointSlot | None = None) -> None:
    """Train a tiny network for two epochs, from a slot of a checkpoint."""
    features = WordFeatures.fit(TEXTS, WordConfig(bits=10, min_count=1))
    network = WaveConfig(n_rows=features.n_rows, n_classes=2, width=8, variants="rows", readout="text")
    examples = Examples(features(TEXTS), np.array([0, 1, 0], dtype=np.int64))
    recipe = Recipe(epochs=2, batch_size=2, embedding_optimizer="sgd", precision="float32")
    trained = AdditiveNetwork.initial(network, seed=0)
    fit(trained, examples, examples, recipe, seed=0, has_cls=False, slot=slot)
    logits = trained.logits(examples.features)
    check(logits.shape == (3, 2), f"logits of shape {logits.shape}")


def state(data: bytes) -> None:
    """A packed state is refused, or it can be used."""
    for model, packed in product(map(classifier, RECIPES), (assemble(data), data)):
        with documented_errors(), np.errstate(all="ignore"):
            unpacked = model.state_from_bytes(packed)
            unpacked.predict(2)
            unpacked.update("good film").merge(model.state(removable=False).update("bad"))
        with documented_errors(), np.errstate(all="ignore"):
            unpacked = model.state_from_bytes(packed)
            unpacked.remove_first(2).remove("good")
            copy = model.state_from_bytes(unpacked.to_bytes())
            check(copy.n_tokens == unpacked.n_tokens, "a packed state differs")


def probabilities(data: bytes) -> None:
    """A file of teacher probabilities, or a cached one; the first byte chooses."""
    if not data:
        return
    labels, texts = ("a", "b", "c"), ["good", "bad", ""]
    suffix = TEACHER_SUFFIXES[data[0] % len(TEACHER_SUFFIXES)]
    with documented_errors():
        known = read_probabilities(write_temporary(f"teacher{suffix}", data[1:]), labels, texts).of(texts)
        check(known.shape == (3, 3), f"probabilities of shape {known.shape}")
        sums = known[~np.isnan(known).any(axis=1)].sum(axis=1)
        check(bool(np.allclose(sums, 1, atol=1e-3)), "probabilities that do not sum to one")
    if suffix != ".npz":
        return
    with mock.patch.dict(os.environ, {"TOKEN2WAVE_CACHE": temporary_folder().name}):
        cache = TeacherCache("teacher", "0" * 64)
        cache.path(".npz").parent.mkdir(exist_ok=True)
        cache.path(".npz").write_bytes(data[1:])
        with documented_errors():
            known = cache.complete(texts, lambda new: np.ones((len(new), 3), np.float32), 3).of(texts)
            check(known.shape == (3, 3), "cached probabilities of another shape")
        _read_cached_outputs(data[1:])


def _read_cached_outputs(content: bytes) -> None:
    """Damaged cached outputs of an encoder are computed again."""

    def encode(words: list[str]) -> Any:
        return np.ones((len(words), 2), dtype=np.float32)

    folder = Path(temporary_folder().name, "teachers")
    for path in folder.glob("encoder-*"):
        path.unlink()
    cached_outputs("encoder", ["good"], encode)
    [path] = folder.glob("encoder-*")
    path.write_bytes(content)
    words = ["good", "bad", "film"]
    outputs = cached_outputs("encoder", words, encode).of(words)
    check(outputs.shape == (3, 2) and outputs.dtype == np.float32, f"outputs {outputs.dtype} {outputs.shape}")


# ---- filters of scoring ----

COLUMNS: dict[str, tuple[str, list[Any]]] = {
    "text": ("text", ["good", "", "é\n", "good"]),
    "number": ("number", [1, -2.5, math.nan, None]),
    "large": ("number", [2**53 + 1, 2**53, -(2**70), 0]),
    "is_new": ("bool", [True, False, None, True]),
    "tags": ("list", [["a"], [], None, ["a", 1, None]]),
    "odd": ("unknown", [{"a": 1}, "a", 1.0, None]),
    "label": ("text", ["a", "b", "a", "c d"]),
    "labels": ("list", [["a"], [], ["a", "b"], ["c d"]]),
    "confidence": ("number", [0.9, 0.5, 0.25, 1.0]),
    "novelty": ("number", [0.0, 0.1, 0.9, 1.0]),
}
N_ROWS = 4


def filters(data: bytes) -> None:
    """A filter of ``score --keep``, on all rows and on each row alone; the first byte chooses the model."""
    if not data:
        return
    text = data[1:].decode("utf-8", "surrogateescape")
    types = {name: column_type for name, (column_type, _) in COLUMNS.items()}
    with documented_errors():
        row_filter = Filter.parse(text)
        check(isinstance(row_filter.reads_novelty, bool), "novelty")
        row_filter.check(("a", "b", "c d"), bool(data[0] & 1), types, is_open=bool(data[0] & 2))

        def values(field: Any, first: int = 0, last: int = N_ROWS) -> Any:
            if field.source == "probability":
                return np.linspace(0, 1, N_ROWS)[first:last]
            if field.name not in COLUMNS:
                return [None] * (last - first)
            selected = COLUMNS[field.name][1][first:last]
            return np.array(selected) if field.name in ("confidence", "novelty") and data[0] & 4 else selected

        mask = row_filter.mask(N_ROWS, values)
        check(mask.shape == (N_ROWS,) and mask.dtype == np.bool_, f"a mask {mask.dtype} {mask.shape}")
        alone = [
            bool(row_filter.mask(1, lambda field, row=row: values(field, row, row + 1))[0])
            for row in range(N_ROWS)
        ]
        check(mask.tolist() == alone, f"all rows give {mask.tolist()}, each row alone {alone}")


TARGETS: dict[str, Target] = {
    "readers": Target(readers, 8192),
    "streams": Target(streams, 8192),
    "words": Target(words),
    "wordpiece": Target(wordpiece),
    "oov": Target(oov),
    "model": Target(model, 1 << 16),
    "checkpoint": Target(checkpoint, 1 << 14),
    "state": Target(state, 1 << 14),
    "probabilities": Target(probabilities, 8192),
    "service": Target(service),
    "connection": Target(connection),
    "filters": Target(filters, 400),
    "command_line": Target(command_line, 1024, max_inputs=60),
}
"""Targets by name, in the order in which they run."""
