"""Reading a model file takes no more memory than docs/security.md says, whatever the file holds."""

from __future__ import annotations

import json
import lzma
import math
import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_models import put_together

import token2wave
from token2wave.classifier import Classifier
from token2wave.errors import ModelFileError
from token2wave.features import WordConfig, WordFeatures
from token2wave.inference.compiled import compile_network
from token2wave.models import WaveConfig
from token2wave.storage.encodings import MAX_FREE, MAX_PER_BYTE

DOCS = Path(__file__).parents[2] / "docs" / "security.md"
BOUND = re.compile(
    r"once its own bytes, (\d+) bytes a parameter and (\d+) MiB; a parameter takes a (\w+)th of a byte"
)
LOAD = """
import json, sys
import token2wave
from token2wave.process_memory import peak_memory
token2wave.load(sys.argv[1])
before = peak_memory()
try:
    token2wave.load(sys.argv[2])
    error = None
except token2wave.Token2WaveError as refused:
    error = str(refused)
print(json.dumps({"bytes": peak_memory() - before, "error": error}))
"""


def bound(path: Path, n_parameters: int) -> int:
    """The bound of docs/security.md for a file, in bytes."""
    match = BOUND.search(" ".join(DOCS.read_text().split()))
    assert match is not None
    assert match[3] == {16: "sixteen"}[MAX_PER_BYTE]
    n_bytes = path.stat().st_size
    n_parameters = min(n_parameters, MAX_PER_BYTE * n_bytes + MAX_FREE)
    return n_bytes + int(match[1]) * n_parameters + (int(match[2]) << 20)


def word_model(n_rows: int, width: int, bits: int = 22, **settings: Any) -> Classifier:
    config = WaveConfig(n_rows, 2, width, **{"variants": "rows", "readout": "text", **settings})
    arrays = {name: np.zeros(shape, np.float32) for name, shape in config.parameter_shapes().items()}
    features = WordFeatures(WordConfig(bits=bits), np.arange(n_rows, dtype=np.uint32))
    return Classifier(features, compile_network(config, arrays), ("a", "b"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "model"
    word_model(8, 8).save(path)
    return path


Tensors = dict[str, tuple[str, list[int], bytes]]


class Draft:
    """A model file in parts, to be made hostile."""

    def __init__(self, classifier: Classifier) -> None:
        file = classifier.to_file()
        self.metadata: dict[str, Any] = {
            "format_version": 4,
            **{
                name: getattr(file, name)
                for name in ("features", "network", "labels", "training", "versions")
            },
            "storage": {},
        }
        names = {np.dtype(np.float32): "F32", np.dtype(np.uint32): "U32", np.dtype(np.uint8): "U8"}
        self.tensors: Tensors = {
            name: (names[array.dtype], list(array.shape), array.tobytes())
            for name, array in file.tensors.items()
        }

    def set_bytes(self, name: str, content: bytes) -> None:
        self.tensors[name] = ("U8", [len(content)], content)

    def set_bomb(self, name: str, shape: list[int], n_bytes: int | None = None) -> None:
        """Store zeros as a short LZMA stream, padded to a length."""
        content = bytes(math.prod(shape))
        stream = lzma.compress(content, format=lzma.FORMAT_ALONE)
        self.set_bytes(name, stream.ljust(n_bytes or -(-len(content) // MAX_PER_BYTE), b"\0"))
        crc = zlib.crc32(content)
        self.metadata["storage"][name] = {"kind": "lzma", "shape": shape, "step": 1.0, "crc32": crc}

    def write(self, path: Path) -> Path:
        header: dict[str, Any] = {"__metadata__": {"token2wave": self.metadata}}
        body = b""
        for name, (dtype, shape, content) in self.tensors.items():
            header[name] = {
                "dtype": dtype,
                "shape": shape,
                "data_offsets": [len(body), len(body) + len(content)],
            }
            body += content
        return put_together(path, header, body)


def many_rows(draft: Draft) -> None:
    """As many parameters as a file of 8 MB may hold."""
    n_rows = (4 << 20) - 1
    draft.metadata["network"]["n_rows"] = n_rows
    draft.metadata["network"]["width"] = 8
    draft.set_bomb("embedding.weight", [n_rows, 16])
    draft.set_bytes("features.buckets", bytes(n_rows))
    draft.metadata["storage"]["features.buckets"] = {"kind": "delta_varint"}


def more_rows_than_buckets(draft: Draft) -> None:
    many_rows(draft)
    draft.metadata["features"]["settings"]["bits"] = 20


def too_short_a_stream(draft: Draft) -> None:
    many_rows(draft)
    draft.set_bomb("embedding.weight", [(4 << 20) - 1, 16], 1 << 20)


def unknown_names(draft: Draft) -> None:
    for name in ("x0", "x1", "features.more"):
        draft.set_bomb(name, [1, 64 << 20], 1 << 20)


def another_shape(draft: Draft) -> None:
    draft.set_bomb("embedding.weight", [1, 128 << 20])


def long_gaps(draft: Draft) -> None:
    draft.set_bytes("features.buckets", bytes(32 << 20))
    draft.metadata["storage"]["features.buckets"] = {"kind": "delta_varint"}


def half_precision(draft: Draft) -> None:
    draft.tensors["embedding.weight"] = ("F16", [32 << 20, 1], bytes(64 << 20))
    draft.metadata["storage"]["embedding.weight"] = {"kind": "float16"}


def many_short_streams(draft: Draft) -> None:
    """Each is within its own limit."""
    draft.metadata["network"] |= {"layers": 8, "width": 1024, "variants": "linear", "readout": "mean"}
    for name, shape in WaveConfig.from_dict(draft.metadata["network"]).parameter_shapes().items():
        draft.tensors[name] = ("F32", list(shape), bytes(4 * math.prod(shape) if len(shape) == 1 else 0))
        if len(shape) == 2:
            draft.set_bomb(name, list(shape), 1)


def many_labels(draft: Draft) -> None:
    draft.metadata["labels"] = [str(i) for i in range(2_000_000)]


def long_label(draft: Draft) -> None:
    draft.metadata["labels"][0] = "👍" + "x" * 8_000_000


def empty_objects(draft: Draft) -> None:
    draft.metadata["training"] = {"x": [{} for _ in range(2_000_000)]}


def many_entries(draft: Draft, n_entries: int = (1 << 18) - 1) -> None:
    entries = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", *(f"{i:x}" for i in range(n_entries - 5))]
    draft.metadata["features"] = {"kind": "wordpiece", "settings": {}}
    draft.metadata["network"] |= {"n_rows": n_entries, "width": 1, "variants": "linear", "readout": "cls"}
    config = WaveConfig.from_dict(draft.metadata["network"])
    draft.tensors = {
        name: ("F32", list(shape), bytes(4 * math.prod(shape)))
        for name, shape in config.parameter_shapes().items()
    }
    draft.set_bytes("features.vocabulary", "\n".join(entries).encode())


def too_many_entries(draft: Draft) -> None:
    many_entries(draft, 4_000_000)


HOSTILE: dict[Callable[[Draft], None], str | None] = {
    many_rows: None,
    more_rows_than_buckets: r"at most 2\^20 rows",
    too_short_a_stream: "a longer stream",
    unknown_names: "missing or too many",
    another_shape: r"shape \[8, 16\]",
    long_gaps: r"shape \[8\]",
    half_precision: r"shape \[8, 16\]",
    many_labels: "a header of at most",
    long_label: None,
    many_short_streams: "numbers a byte in encoded arrays",
    empty_objects: "values in the header",
    many_entries: None,
    too_many_entries: "at most 262,144 entries",
}


def load(path: Path, small: Path) -> dict[str, Any]:
    command = [sys.executable, "-c", LOAD, str(small), str(path)]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    outcome: dict[str, Any] = json.loads(finished.stdout)
    return outcome


@pytest.mark.parametrize("make", HOSTILE, ids=lambda make: make.__name__)
def test_hostile_files(make: Callable[[Draft], None], tmp_path: Path, small: Path) -> None:
    draft = Draft(word_model(8, 8))
    make(draft)
    config = WaveConfig.from_dict(draft.metadata["network"])
    path = draft.write(tmp_path / "hostile")
    outcome = load(path, small)
    expected = HOSTILE[make]
    if expected is None:
        assert outcome["error"] is None
        assert outcome["bytes"] <= bound(path, config.parameter_count().total)
    else:
        assert re.search(expected, outcome["error"])
        assert outcome["bytes"] <= bound(path, 0)


def test_models_that_need_torch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from token2wave.models import WaveNetwork

    classifiers = []
    for width in (8, 1024):
        config = WaveConfig(1 << 15, 2, width, layers=8, readout="mean")
        with torch.device("meta"):
            network = WaveNetwork(config)
        zeros = {name: torch.zeros(shape) for name, shape in config.parameter_shapes().items()}
        network.load_state_dict(zeros, assign=True)
        features = WordFeatures(WordConfig(), np.arange(1 << 15, dtype=np.uint32))
        classifiers.append(Classifier(features, network, ("a", "b")))
        classifiers[-1].save(tmp_path / str(width))
    outcome = load(tmp_path / "1024", tmp_path / "8")
    assert outcome["error"] is None
    assert outcome["bytes"] <= bound(tmp_path / "1024", config.parameter_count().total)


def test_values_behind_escapes_are_counted(tmp_path: Path) -> None:
    draft = Draft(word_model(8, 8))
    draft.metadata["training"] = {"x": [0] * 300_000}
    path = draft.write(tmp_path / "hostile")
    raw = path.read_bytes()
    header = raw[8 : 8 + int.from_bytes(raw[:8], "little")]
    escaped = header.replace(b"0, 0", b"0\\u002c 0").replace(b"0, 0", b"0\\u002c 0")
    path.write_bytes(len(escaped).to_bytes(8, "little") + escaped + raw[8 + len(header) :])
    with pytest.raises(ModelFileError, match="262,144 values in the header"):
        token2wave.load(path)


@pytest.mark.parametrize("width", [1, 32])
def test_large_models(width: int, tmp_path: Path, small: Path) -> None:
    classifier = word_model(1 << 20, width, bits=24, context_width=8)
    path = tmp_path / "large"
    classifier.save(path)
    outcome = load(path, small)
    assert outcome["error"] is None
    assert outcome["bytes"] <= bound(path, classifier.network.parameter_count().total)
