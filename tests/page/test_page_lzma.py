"""The page's LZMA decoder against Python's."""

from __future__ import annotations

import base64
import json
import lzma
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from token2wave.storage.encodings import compress_lzma

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="node, which runs the decoder, is not installed")
random = np.random.default_rng(0)
PLAIN: dict[str, bytes] = {
    "nothing": b"",
    "one byte": b"a",
    "zeros": bytes(100_000),
    "noise": random.bytes(50_000),
    "words": b" ".join(random.choice([b"wave", b"token", b"phase", b"energy", b"a", b"of"], 30_000).tolist()),
    "few values": random.choice([0, 0, 0, 1, 255], 60_000).astype(np.uint8).tobytes(),
    "far repeats": (noise := random.bytes(40_000))
    + bytes(200_000)
    + noise
    + noise[:20_000]
    + bytes(9)
    + noise,
}
SETTINGS = {
    "tables": {"lc": 0, "lp": 4, "pb": 0, "dict_size": 1 << 16},
    "usual": {"lc": 3, "lp": 0, "pb": 2, "dict_size": 1 << 22},
    "other": {"lc": 2, "lp": 2, "pb": 4, "dict_size": 1 << 20},
}


def unpacked(streams: list[tuple[bytes, int]]) -> list[Any]:
    """Decode streams: bytes, or the message of an error."""
    assert NODE is not None
    cases = [{"stream": base64.b64encode(stream).decode(), "size": size} for stream, size in streams]
    run = subprocess.run(
        [NODE, str(Path(__file__).with_name("lzma.mjs"))],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    output = json.loads(run.stdout)
    return [base64.b64decode(each) if isinstance(each, str) else each["error"] for each in output]


@pytest.mark.parametrize("settings", SETTINGS)
def test_streams_of_python(settings: str) -> None:
    streams = []
    for data in PLAIN.values():
        filters = [{"id": lzma.FILTER_LZMA1, "preset": 6, **SETTINGS[settings]}]
        streams.append((lzma.compress(data, format=lzma.FORMAT_ALONE, filters=filters), len(data)))
    for name, data, output in zip(PLAIN, PLAIN.values(), unpacked(streams), strict=True):
        assert output == data, name


def test_tables_with_trailing_bytes() -> None:
    tables = [
        np.round(random.normal(0, spread, (3_000, 36)) * random.random(36)).astype(np.int8)
        for spread in (0.3, 3, 40)
    ]
    streams = [(compress_lzma(table) + bytes(50), table.size) for table in tables]
    assert unpacked(streams) == [table.tobytes() for table in tables]


def test_damaged_streams_are_errors() -> None:
    stream = compress_lzma(np.ones((200, 36), np.int8)) + b""
    noise = compress_lzma(random.integers(-9, 9, (200, 36)).astype(np.int8))
    cut = [(stream[:n], 7_200) for n in (0, 5, 13, 17, len(stream) // 2)] + [(noise[:-20], 7_200)]
    assert all("LZMA stream" in output for output in unpacked(cut))
    changed = []
    for i in range(13, len(noise), 97):
        damaged = bytearray(noise)
        damaged[i] ^= 0x55
        changed.append((bytes(damaged), 7_200))
    assert all(isinstance(output, str | bytes) for output in unpacked(changed))
