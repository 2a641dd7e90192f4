"""First inputs of guided fuzzing, made by code: small valid files, requests and command lines."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tempfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from fuzzing.checks import RECIPES, SMALL, SMALL_OOV, SMALL_WORDPIECE, classifier
from fuzzing.command_target import COMMANDS
from fuzzing.damage import join_file, split_file
from fuzzing.models import classifier_of, model_bytes
from fuzzing.service_targets import PATHS
from fuzzing.targets import (
    FILE_SUFFIXES,
    IDENTITY,
    SEPARATOR,
    STREAM_SUFFIXES,
    TEACHER_SUFFIXES,
    disassemble,
    train_a_little,
)
from token2wave.distillation.probabilities import KnownProbabilities, digest, write_probabilities
from token2wave.training.checkpoint import Checkpoint

ROWS = [("good film, truly", "a"), ('he said "no"\nand left', "b"), ("é 中文 👍", "c"), ("", "a")]
TEXTS = (
    *("", " ", "a good film", "don't it's x-ray 3.5", "Straße ÉTÉ İ ẞ ǅ Σσς ﬀ"),
    *("中文カタひら한글ᄒ ภาษาไทย", "é'é’ʼ＇.,!?。、", "👍🏽👩\u200d💻🇩🇪", "e\u0301\u0308\u0489"),
    *("\0\u2028\u00a0\ufeff", "good bad " * 70, "x" * 200, "\u0301" * 40),
    *(
        "\u1112\u1161\u11ab ﬁlm ＧＯＯＤ goo\u200bd ba\u00add ❤\ufe0f",
        "ภาษา ภ า ษ า",
        "ı I\u0307 ΟΔΟΣ ½ ﷺ س\u0640لام",
    ),
    "a\u0345\u0301\u0323\u034f\u0327" * 9,
)


def seeds_of(target: str) -> list[bytes]:
    """Inputs of a target."""
    return list(SEEDS[target]())


def _contents() -> dict[str, list[bytes]]:
    """Small valid files by suffix."""
    rows = '"good film, truly",a,1\n"he said ""no""\nand left",b,2.5\né 中文 👍,c,0\n,a,1\n'
    csv = f"text,label,weight\n{rows}".encode()
    several = b"text,label\ngood,a|b\nbad,\n"
    records = [{"text": text, "label": label, "weight": 1} for text, label in ROWS]
    lines = "".join(json.dumps(record) + "\n" for record in records).encode()
    lists = b'{"text": "good", "label": ["a", "b"]}\n{"text": "bad", "label": []}\n\n'
    fasttext = "__label__a good film\n__label__a __label__b é 中文\n\n".encode()
    contents = {
        ".csv": [
            csv,
            several,
            b"\xef\xbb\xbftext\r\none\r\n\r\n",
            b'"text","label"\n1,2\n',
            "text,label\né,1\n".encode("utf-16"),
        ],
        ".tsv": [csv.replace(b",", b"\t")],
        ".jsonl": [lines, lists, b'{"text": "\\ud800", "label": 1e999}\n', b"[" * 500, b'{"text": 1}\n'],
        ".txt": [fasttext, b"one\n\n two \r\n"],
        ".parquet": [
            _parquet(records),
            _parquet([{"text": "good", "label": ["a"]}]),
            _parquet([{"text": b"\xff", "label": 1}]),
        ],
    }
    contents |= {
        ".ndjson": contents[".jsonl"][:1],
        ".fasttext": contents[".txt"],
        ".ft": contents[".txt"][:1],
    }
    return contents


def _parquet(records: list[dict[str, Any]]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    stream = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(records), stream, compression="none", row_group_size=2)
    return stream.getvalue()


def _zstd(content: bytes) -> bytes:
    import pyarrow

    return bytes(pyarrow.compress(content, codec="zstd", asbytes=True))


def _files(suffixes: Iterable[str], choices: Iterable[int]) -> Iterable[bytes]:
    contents = _contents()
    packers: dict[str, Callable[[bytes], bytes]] = {
        "gz": lambda raw: gzip.compress(raw, mtime=0),
        "bz2": bz2.compress,
        "xz": lzma.compress,
        "zst": _zstd,
    }
    for number, suffix in enumerate(suffixes):
        _, kind, *packed = suffix.split(".")
        for content in contents[f".{kind}"]:
            for choice in choices:
                yield bytes([number, choice]) + (packers[packed[0]](content) if packed else content)


def _readers() -> Iterable[bytes]:
    return _files(FILE_SUFFIXES, (0, 1, 4, 8, 16))


def _streams() -> Iterable[bytes]:
    return _files(STREAM_SUFFIXES, (0, 15, 31))


def _texts() -> Iterable[bytes]:
    encoded = [text.encode("utf-8", "surrogatepass") for text in TEXTS]
    return [*encoded, SEPARATOR.join(encoded[2:8]), b"\xed\xa0\x80 half", b"\xff"]


def _models() -> Iterable[bytes]:
    few = {**SMALL, "features": {**SMALL["features"], "n_buckets": 16}}
    few_entries = {**SMALL_OOV, "features": {**few["features"], "n_oov": 8}}
    for recipe in (few, SMALL_WORDPIECE, few_entries):
        for storage in (None, "float16", "int8", "lzma"):
            yield disassemble(model_bytes({**recipe, "storage": storage}))
    several = {**few["network"], "multi_label": True, "operation": "modulation"}
    yield disassemble(model_bytes({**few, "network": several}))
    yield model_bytes(few)
    yield disassemble(model_bytes({**few, "numbers": "mixed"}))
    yield from map(disassemble, _model_bombs(model_bytes(few)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        classifier_of(few).save(path)  # with a checksum, unlike the files above
        yield path.read_bytes()


def _model_bombs(whole: bytes) -> Iterable[bytes]:
    """Model files that claim more than they should hold, in known and unknown arrays."""
    bomb = lzma.compress(bytes(1 << 22), format=lzma.FORMAT_ALONE)
    kinds = {"lzma": ("U8", bomb), "delta_varint": ("U8", bytes(999)), "float16": ("F16", bytes(998))}
    for kind, (dtype, content) in kinds.items():
        for name in ("embedding.weight", "features.buckets", "more"):
            header, body = split_file(whole)
            metadata = header.pop("__metadata__")
            settings = {"kind": kind, "shape": [1, 1 << 22], "step": 1.0, "crc32": zlib.crc32(bytes(1 << 22))}
            metadata["token2wave"]["storage"][name] = settings
            parts = {other: body[slice(*entry["data_offsets"])] for other, entry in header.items()}
            parts[name] = content
            header[name] = {"dtype": dtype, "shape": [len(content) // (1 if dtype == "U8" else 2)]}
            body = b""
            for other, stored in parts.items():
                header[other]["data_offsets"] = [len(body), len(body) + len(stored)]
                body += stored
            yield join_file({"__metadata__": metadata, **header}, body)


def _states() -> Iterable[bytes]:
    for kind in RECIPES:
        for removable in (True, False):
            for text in ("", "good film bad"):
                yield disassemble(classifier(kind).state(removable).update(text).to_bytes())


def _checkpoints() -> Iterable[bytes]:
    written: list[bytes] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint"
        write = Checkpoint.write

        def record(checkpoint: Checkpoint) -> None:
            write(checkpoint)
            written.append(path.read_bytes())

        with mock.patch.object(Checkpoint, "write", record):
            train_a_little(Checkpoint(path, IDENTITY, []).next_network())
    return [*map(disassemble, written), written[0]]


def _probabilities() -> Iterable[bytes]:
    shares = np.array([[0.5, 0.25, 0.25], [0, 1, 0], [0.1, 0.2, 0.7]], dtype=np.float32)
    texts = ["good", "bad", ""]
    npz, jsonl, parquet = (bytes([number]) for number in range(len(TEACHER_SUFFIXES)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kept.npz"
        write_probabilities(path, KnownProbabilities(list(map(digest, texts)), shares))
        yield npz + path.read_bytes()
    for arrays in (
        {"probabilities": shares},
        {"probabilities": shares, "rows": np.array([2, 1, 0])},
        {"probabilities": shares, "texts": np.array(texts)},
        {"outputs": shares[:2, :2], "words": np.frombuffer(b"good\nfilm", np.uint8)},
    ):
        stream = io.BytesIO()
        np.savez(stream, **arrays)
        yield npz + stream.getvalue()
    rows = [
        {"text": text, "probabilities": list(map(float, row))}
        for text, row in zip(texts, shares, strict=True)
    ]
    named = [{"row": i, "probabilities": {"a": 0.5, "b": 0.5, "c": 0}} for i in range(3)]
    for records in (rows, named):
        yield jsonl + "".join(json.dumps(record) + "\n" for record in records).encode()
    yield parquet + _parquet(rows)
    yield parquet + _parquet([{"row": 0, "a": 0.5, "b": 0.25, "c": 0.25}])


BODIES = (
    b'{"text": "good film"}',
    b'{"texts": ["good", "bad \\ud800", ""], "top_k": 2, "novelty": true}',
    b'{"texts": [], "abstain_below": 0.5, "abstain_above_novelty": 1, "threshold": 0.1}',
    b'{"text": "good film. bad.", "unit": "sentence"}',
    b"[" * 300,
    b"{",
    b'{"text": NaN}',
    b"\xff",
    b'{"text": "' + b"x" * 450 + b'"}',
)
LINES = (*(BODIES[number] for number in (0, 5, 7)), b"", b'{"text": "bad"}', b'{"text": "good", "top_k": 1}')


def _requests() -> Iterable[bytes]:
    for path, name in enumerate(PATHS):
        is_post = name.endswith(("predict", "explain"))
        for body in BODIES if path < 3 else BODIES[:1]:
            yield bytes([path, 0 if is_post or path < 3 else 1, 1]) + body
    yield bytes([0, 0, 0]) + b"application/json; charset=utf-8\0" + BODIES[0]
    yield bytes([0, 0, 0]) + b"text/plain\0" + BODIES[0]
    yield bytes([0, 3, 0])
    yield bytes([0, 3, 0]) + b"https://a.example\0"
    yield bytes([0, 0, 129]) + BODIES[1]
    for query in (b"", b"?top_k=2&novelty=true", b"?top_k=0"):
        for chunks in (0, 3, 130):
            yield bytes([14, 0, chunks]) + b"application/x-ndjson" + query + b"\0" + b"\n".join(LINES)


def _connections() -> Iterable[bytes]:
    def post(body: bytes, *headers: bytes) -> bytes:
        head = [b"POST /predict HTTP/1.1", b"Host: localhost", b"Content-Type: application/json", *headers]
        return b"\r\n".join(head) + b"\r\n\r\n" + body

    for number in (0, 1, 2, 3, 7, 0b10010, 0b111011):  # sizes, an abort, and complete requests before
        sizes = bytes([number])
        yield sizes + b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n"
        yield sizes + post(BODIES[0], b"Content-Length: 21")
        yield sizes + post(b"15\r\n" + BODIES[0] + b"\r\n0\r\n\r\n", b"Transfer-Encoding: chunked")
        yield (
            sizes + 3 * b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + post(BODIES[0], b"Content-Length: 99")
        )
        yield sizes + post(BODIES[0], b"Content-Length: 21", b"Expect: 100-continue", b"Connection: close")
        yield sizes + post(
            b"%x\r\n%b\n\r\n0\r\n\r\n" % (len(BODIES[0]) + 1, BODIES[0]),
            b"Transfer-Encoding: chunked",
        ).replace(b"/json", b"/x-ndjson")
        yield sizes + b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        yield sizes + b"GET /%ff%00?a=b HTTP/1.0\r\n\r\n"
        yield sizes + post(b"2\r\n{}\r\n0\r\n" + b"x: y\r\n" * 99, b"Transfer-Encoding: chunked")


def _filters() -> Iterable[bytes]:
    for number, expression in enumerate(
        (
            "label == 'a' and confidence > 0.9",
            "probability['c d'] >= 0.5 or not (text in ('good', \"x\"))",
            "length(text) > 3 and number(text) < 1e3",
            "'a' in labels",
            "column['large'] == 9007199254740993",
            "is_new or number != null",
            "tags == null or 'a' in tags",
            "novelty < -0.5 or number in (1, 2, null, true)",
            "odd == 1",
            "(" * 60 + "true" + ")" * 60,
            "confidence = 1 && label",
        )
    ):
        yield bytes([number % 8]) + expression.encode()


def _command_lines() -> Iterable[bytes]:
    for line in (
        "evaluate model.safetensors rows.csv --split train --json",
        "predict model.safetensors --top-k 2 --json good",
        "predict model.safetensors --file rows.csv --abstain-below 0.5",
        "predict model.safetensors",
        "info model.safetensors --json",
        "compress model.safetensors --out out.safetensors --max-size 9kB --no-retrain --data rows.csv",
        "explain model.safetensors --unit token --html out.html good",
        "export model.safetensors --to html --out out.html --examples rows.csv",
        "train rows.csv --out out.safetensors --preset fast --set network.width=4 --epochs 2",
        'train rows.csv --json --class-weights {"a":1} --label-separator | --multi-label --time-budget 5min',
        "train rows.csv --report out --candidates 3 --max-size 1MB --checkpoint c --resume",
        "train rows.csv --out o.safetensors --preset paper --vocabulary rows.csv --operation modulation",
        "update model.safetensors rows.csv --out out.safetensors --parts rows --epochs 1",
        "info --help",
    ):
        command, *arguments = line.split()
        yield bytes([COMMANDS.index(command)]) + "\n".join(arguments).encode() + b"\0one\n\ntwo \xc3\xa9\n"


SEEDS: dict[str, Callable[[], Iterable[bytes]]] = {
    "readers": _readers,
    "streams": _streams,
    "words": _texts,
    "wordpiece": _texts,
    "oov": _texts,
    "model": _models,
    "checkpoint": _checkpoints,
    "state": _states,
    "probabilities": _probabilities,
    "service": _requests,
    "connection": _connections,
    "filters": _filters,
    "command_line": _command_lines,
}
