"""What the guided fuzzer fuzzes: one function for each way in which foreign bytes come into the package.

A target takes any bytes, hands them to the package as a file, a request, arguments or texts, and raises if
what comes of them is not documented: an exception other than those of :mod:`token2wave.errors`, a message
that is several lines or endless, or an answer that cannot be right. ``tools/fuzz_guided.py`` draws the bytes,
``tests/fuzz`` replays those that are kept.
"""

from __future__ import annotations

import io
import json
import os
import warnings
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from fuzz_cases import check, computed, without_torch
from fuzz_commands import commandline
from fuzz_common import classifier, documented, file_of_bytes, folder_in_memory
from fuzz_filters import filters
from fuzz_service import connection, service

import token2wave
from token2wave.core import core
from token2wave.data.data_options import DataOptions
from token2wave.data.file_segments import segments_of
from token2wave.data.readers import read_labelled, read_stream, read_texts
from token2wave.data.rows import Limits as RowLimits
from token2wave.data.stream import read_segment
from token2wave.distillation.cache import TeacherCache, kept_outputs
from token2wave.distillation.probabilities import read_probabilities
from token2wave.features import WordConfig, WordFeatures
from token2wave.models.wave_config import WaveConfig
from token2wave.training.additive_network import AdditiveNetwork
from token2wave.training.checkpoint import KEY as CHECKPOINT_KEY
from token2wave.training.checkpoint import Checkpoint, CheckpointSlot
from token2wave.training.examples import Examples
from token2wave.training.loop import fit
from token2wave.training.recipe import Recipe

SPLIT = b"\xff\xfe"  # between the texts of an input; no text of UTF-8 holds it
MAX_BODY = 1 << 20  # bytes that a claimed length may add
CLOSE = 1e-4
READABLE = (
    *(".csv", ".tsv", ".jsonl", ".ndjson", ".txt", ".fasttext", ".ft", ".parquet"),
    *(".csv.gz", ".jsonl.gz", ".txt.gz", ".tsv.gz"),
)
STREAMED = (*READABLE, ".jsonl.bz2", ".jsonl.xz", ".csv.zst", ".txt.zst")
TEACHERS = (".npz", ".jsonl", ".parquet")
LITTLE = ["good film", "bad film", "good"]
IDENTITY = {"seed": 0, "data": "drawn"}


class Target(NamedTuple):
    """One way in.

    Attributes:
        run: takes an input; raises for a finding.
        longest: bytes of an input, at most.
        most_kept: inputs that the tests replay, at most; fewer where one takes long.
    """

    run: Callable[[bytes], None]
    longest: int = 4096
    most_kept: int = 200


# ---- readers ----


def readers(data: bytes) -> None:
    """The first two bytes choose format and settings, the rest is the file."""
    if len(data) < 2:
        return
    suffix, choice = READABLE[data[0] % len(READABLE)], data[1]
    path = file_of_bytes(f"in{suffix}", data[2:])
    label_names = ("a", "b", "c") if choice & 8 else None
    settings: dict[str, Any] = {
        "multi_label": (None, True, False)[choice % 3],
        "label_separator": "|" if choice & 4 else None,
        "weight_column": "weight" if choice & 16 else None,
    }
    with documented():
        found = read_labelled(path, DataOptions(**settings), label_names=label_names)
        check(len(found) >= 1 and len(found.texts) == len(found.labels), "rows without labels")
        for text in found.texts:
            text.encode()
    with documented():
        for text in read_texts(path):
            text.encode()
    if suffix == ".txt":
        with documented():
            read_stream(io.BytesIO(data[2:]), "standard input")


def streams(data: bytes) -> None:
    """As :func:`readers`, through segments; what is read in pieces is what is read at once."""
    if len(data) < 2:
        return
    suffix, choice = STREAMED[data[0] % len(STREAMED)], data[1]
    path = file_of_bytes(f"in{suffix}", data[2:])
    limits = RowLimits(
        line_bytes=(64, 1 << 16)[choice & 1],
        columns=(3, 10_000)[choice >> 1 & 1],
        bytes_at_once=(100, 1 << 20)[choice >> 2 & 1],
    )
    columns = ("label",) if choice & 8 else None
    sizes: list[list[tuple[int, str]]] = []
    for n_bytes in (1 << 20, max(len(data) // 3, 16)):
        found = []
        with documented():
            for segment in segments_of([path], n_bytes):
                for rows in read_segment(segment, "text", columns, limits, (2, 100)[choice >> 4 & 1]):
                    texts = rows.values("text") if len(rows) else []
                    check(len(texts) == len(rows), "rows and their texts differ in number")
                    check(all(isinstance(text, str) for text in texts), "a text that is no string")
                    check(all(one.reason for one in rows.rejected), "a reject without a reason")
                    check(
                        all(len(one.beginning) <= 200 for one in rows.rejected), "a reject too long to show"
                    )
                    found += list(zip(rows.places.tolist(), texts, strict=True))
        sizes.append(found)
    if suffix != ".parquet":
        check(sizes[0] == sizes[1], "segments of another size hold other rows")


# ---- features and predictions ----


def _texts(data: bytes) -> list[str]:
    """Texts of an input; bytes that are no UTF-8 become lone surrogates."""
    return [part.decode("utf-8", "surrogateescape") for part in data.split(SPLIT)]


def _agree(kind: str, data: bytes) -> None:
    texts, found = _texts(data), classifier(kind)
    ways = [False] if core() is None else [True, False]
    rows, shares = [], []
    for natively in ways:
        with computed(natively):
            features = found.features(texts)
            rows.append((features.ids.tolist(), features.offsets.tolist()))
            shares.append(found.probabilities(texts))
            check(bool((features.ids >= 0).all() and (features.ids < found.features.n_rows).all()), "rows")
            one = found.features([texts[0]])
            check(one.ids.tolist() == features.ids[: len(one.ids)].tolist(), "a text alone differs")
    check(rows[0] == rows[-1], "the native core and numpy find other features")
    check(bool(np.allclose(shares[0], shares[-1], atol=CLOSE)), "the native core and numpy differ")
    tokens = found.features.tokens(texts[0])
    check(bool((tokens.starts <= tokens.ends).all()), "a token that ends before it begins")
    check(not len(tokens.ends) or int(tokens.ends.max()) <= len(texts[0]), "a token behind the text")
    if len(data) % 2:  # what follows takes as long as all before
        return
    state = found.state()
    for text in texts:
        state.update(text)
    whole = found.features.tokens(" ".join(texts)).codes
    check(state.n_tokens == len(whole), "a state has other tokens than the whole text")
    state.remove(texts[0])
    check(found.state_from_bytes(state.to_bytes()).n_tokens == state.n_tokens, "a packed state differs")


def words(data: bytes) -> None:
    """Texts as words and word pairs, in the core and in numpy, alone, together and as a state."""
    _agree("words", data)


def wordpiece(data: bytes) -> None:
    """Texts as pieces, likewise."""
    _agree("wordpiece", data)


# ---- files of arrays ----


def assembled(data: bytes, finish: Callable[[dict[str, Any], bytes], None] | None = None) -> bytes:
    """A safetensors file of header, NUL and arrays, with lengths that fit; without NUL, the bytes as such.

    Args:
        data: header, NUL, body.
        finish: changes the header, and is told the body; so that a checksum can fit.
    """
    encoded, between, body = data.partition(b"\0")
    if not between:
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


def disassembled(whole: bytes) -> bytes:
    """The way back from :func:`assembled`."""
    length = int.from_bytes(whole[:8], "little")
    return whole[8 : 8 + length] + b"\0" + whole[8 + length :]


def model(data: bytes) -> None:
    """A model file: refused, or it predicts."""
    path = file_of_bytes("in.safetensors", assembled(data))
    with documented(), without_torch(), np.errstate(all="ignore"):
        found = token2wave.load(path)
        found.description()
        texts = ["good film don't", "", "\ud800 x" * 9]
        shares = found.probabilities(texts)
        check(shares.shape == (3, len(found.label_names)), f"probabilities of shape {shares.shape}")
        found.predict(texts[0], top_k=2)
        found.explain(texts[0])
        found.state().update(texts[0]).predict()


def checkpoint(data: bytes) -> None:
    """A checkpoint whose checksums fit, whatever it holds."""

    def finish(header: dict[str, Any], body: bytes) -> None:
        metadata = header["__metadata__"]
        said = json.loads(metadata[CHECKPOINT_KEY])
        said["checksums"] = {
            name: zlib.crc32(body[slice(*entry["data_offsets"])])
            for name, entry in header.items()
            if name != "__metadata__"
        }
        metadata[CHECKPOINT_KEY] = json.dumps(said)
        metadata[f"{CHECKPOINT_KEY}.checksum"] = str(zlib.crc32(metadata[CHECKPOINT_KEY].encode()))

    path = file_of_bytes("in.checkpoint", assembled(data, finish))
    with documented(), np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
        found = Checkpoint.open(path, IDENTITY, resume=True)
        found = Checkpoint(Path(os.devnull), IDENTITY, found.networks)  # which is not written again
        with mock.patch.object(Checkpoint, "write"):
            train_a_little(found.next_network())


def train_a_little(slot: CheckpointSlot | None = None) -> None:
    """Train a tiny network for two epochs, from a slot of a checkpoint."""
    features = WordFeatures.fit(LITTLE, WordConfig(bits=10, min_count=1))
    network = WaveConfig(n_rows=features.n_rows, n_classes=2, width=8, variants="rows", readout="text")
    examples = Examples(features(LITTLE), np.array([0, 1, 0], dtype=np.int64))
    recipe = Recipe(epochs=2, batch_size=2, embedding_optimizer="sgd", precision="float32")
    trained = AdditiveNetwork.initial(network, seed=0)
    fit(trained, examples, examples, recipe, seed=0, has_cls=False, slot=slot)
    shares = trained.logits(examples.features)
    check(shares.shape == (3, 2), f"logits of shape {shares.shape}")


def state(data: bytes) -> None:
    """A packed state: refused, or it goes on."""
    kind = "words" if len(data) % 2 else "wordpiece"
    found = classifier(kind)
    for packed in (assembled(data), data):
        with documented(), np.errstate(all="ignore"):
            unpacked = found.state_from_bytes(packed)
            unpacked.predict(2)
            unpacked.update("good film").merge(found.state(removable=False).update("bad"))
        with documented(), np.errstate(all="ignore"):
            unpacked = found.state_from_bytes(packed)
            unpacked.remove_first(2).remove("good")
            again = found.state_from_bytes(unpacked.to_bytes())
            check(again.n_tokens == unpacked.n_tokens, "a packed state differs")


def probabilities(data: bytes) -> None:
    """A teacher's file, or one that this package keeps; the first byte chooses."""
    if not data:
        return
    labels, texts = ("a", "b", "c"), ["good", "bad", ""]
    suffix = TEACHERS[data[0] % len(TEACHERS)]
    with documented():
        known = read_probabilities(file_of_bytes(f"teacher{suffix}", data[1:]), labels, texts)
        found = known.of(texts)
        check(found.shape == (3, 3), f"probabilities of shape {found.shape}")
        sums = found[~np.isnan(found).any(axis=1)].sum(axis=1)
        check(bool(np.allclose(sums, 1, atol=1e-3)), "probabilities that do not sum to one")
    if suffix != ".npz":
        return
    with mock.patch.dict(os.environ, {"TOKEN2WAVE_CACHE": folder_in_memory().name}):
        kept = TeacherCache("teacher", "0" * 64)
        kept.probabilities_path.parent.mkdir(exist_ok=True)
        kept.probabilities_path.write_bytes(data[1:])
        with documented():
            check(kept.read(labels).of(texts).shape == (3, 3), "what is kept has another shape")
    _kept_outputs(data[1:])


def _kept_outputs(content: bytes) -> None:
    """What an encoder said of words, kept and damaged: it is asked again."""

    def ask(words: list[str]) -> Any:
        return np.ones((len(words), 2), dtype=np.float32)

    with mock.patch.dict(os.environ, {"TOKEN2WAVE_CACHE": folder_in_memory().name}):
        for path in Path(folder_in_memory().name, "teachers").glob("encoder-*"):
            path.unlink()
        kept_outputs("encoder", ["good"], ask)
        [path] = Path(folder_in_memory().name, "teachers").glob("encoder-*")
        path.write_bytes(content)
        found = kept_outputs("encoder", ["good", "bad", "film"], ask)
        check(found.shape == (3, 2) and found.dtype == np.float32, f"outputs {found.dtype} {found.shape}")


TARGETS: dict[str, Target] = {
    "readers": Target(readers, 8192),
    "streams": Target(streams, 8192),
    "words": Target(words),
    "wordpiece": Target(wordpiece),
    "model": Target(model, 1 << 16),
    "checkpoint": Target(checkpoint, 1 << 14),
    "state": Target(state, 1 << 14),
    "probabilities": Target(probabilities, 8192),
    "service": Target(service),
    "connection": Target(connection),
    "filters": Target(filters, 400),
    "commandline": Target(commandline, 1024, most_kept=60),
}
"""Targets by name, in the order in which they run."""
