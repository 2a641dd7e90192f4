"""A second reader of model files, written from the specification alone.

That is ``docs/format.md`` and the docstrings of ``features/normalisation.py`` and ``features/text.py``. Plain
Python, slow and obvious, and nothing of the package: if it says what the package says, the specification
suffices. WordPiece is done for ASCII texts alone, whose normalisation needs no tables of Unicode.
"""

from __future__ import annotations

import json
import lzma
import math
import string
import struct
import zlib
from bisect import bisect_right
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

UNICODE_TABLE = Path(__file__).parents[2] / "src/token2wave/features/unicode.npz"
MASK = (1 << 64) - 1
BASE, LINK = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93
SEPARATOR, WORD, SYMBOL, SINGLE, LETTER = range(5)
TYPES = {"F32": "f", "F16": "e", "I8": "b", "U8": "B", "U32": "I"}
NETWORK_DEFAULTS = {
    "width": 768,
    "operation": "modulation",
    "variants": "linear",
    "restore": "linear",
    "readout": "cls",
    "layer_norm": "none",
    "feed_forward": 0,
    "activation": "none",
    "norm_tokens": False,
    "context_width": 0,
    "context_radius": 3,
    "linear_svm": False,
    "n_oov": 0,
    "window_words": 0,
    "multi_label": False,
}
NOVELTY_LEVELS = (0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)

Vector = list[float]
Wave = tuple[Vector, Vector]


class PlainReader:
    """A model file, and what it says of texts."""

    def __init__(self, raw: bytes) -> None:
        (length,) = struct.unpack("<Q", raw[:8])
        header = json.loads(raw[8 : 8 + length])
        metadata = json.loads(header.pop("__metadata__")["token2wave"])
        if metadata["format_version"] != 4:
            raise ValueError("another format")
        with_zeros = raw[:56] + b"0" * 8 + raw[64:]
        digits = f"{zlib.crc32(with_zeros):08x}"
        if metadata.get("checksum", digits) != digits:
            raise ValueError("a damaged file")
        self.labels = metadata["labels"]
        self.thresholds = metadata.get("thresholds", [0.5] * len(self.labels))
        self.feature_kind = metadata["features"]["kind"]
        self.settings = metadata["features"]["settings"]
        self.network = NETWORK_DEFAULTS | metadata["network"]
        self.usual = metadata.get("novelty")
        body = raw[8 + length :]
        self.tensors = {name: _tensor(body, entry) for name, entry in header.items()}
        for name, how in metadata.get("storage", {}).items():
            self.tensors[name] = _decoded(name, how, self.tensors)
        self.row_of_bucket: dict[int, int] = {}
        if self.feature_kind == "words":
            first = int(self.settings.get("cls", False))
            buckets = self.tensors["features.buckets"]
            self.row_of_bucket = {bucket: first + i for i, bucket in enumerate(buckets)}
        self.entry_of_hash: dict[int, int] = {}
        if self.network["n_oov"]:
            self.entry_of_hash = {top: i for i, top in enumerate(self.tensors["features.oov_hashes"])}

    def probabilities(self, text: str) -> Vector:
        """Probability of every class."""
        logits = self._logits(*self._features(text), self._oov_entries(text))
        if self.network["multi_label"]:
            return [1 / (1 + math.exp(-logit)) for logit in logits]
        powers = [math.exp(logit - max(logits)) for logit in logits]
        return [power / sum(powers) for power in powers]

    def given(self, text: str) -> list[str]:
        """The labels that a text is given."""
        found = self.probabilities(text)
        if not self.network["multi_label"]:
            return [self.labels[found.index(max(found))]]
        pairs = zip(found, self.thresholds, self.labels, strict=True)
        return [label for share, threshold, label in pairs if share >= threshold]

    def novelty(self, text: str) -> float:
        """Share of the texts held back that are less unlike training; the file must have the section."""
        features, words = self._features(text)
        oov_entries = self._oov_entries(text)
        if not self.knows(features) and not oov_entries:
            return 1.0
        n_unknown = 0
        if self.feature_kind == "words":
            n_known = len(features) - int(self.settings.get("cls", False))
            n_unknown = len(self._ngrams_of_words(text)) - n_known
        unknown = (n_unknown + 10 * self.usual["usual_share"]) / (n_unknown + len(features) + 10)
        logits = self._logits(features, words, oov_entries)
        evidence = max(logits) + math.log(sum(math.exp(logit - max(logits)) for logit in logits))
        (mean, deviation), (mean_2, deviation_2) = self.usual["unknown"], self.usual["evidence"]
        score = (unknown - mean) / deviation + (mean_2 - evidence) / deviation_2
        scores = self.usual["scores"]
        if score < scores[0]:
            return 0.0
        if score >= scores[-1]:
            return 1 - 0.01 * math.exp(scores[-1] - score)
        i = bisect_right(scores, score) - 1
        part = (score - scores[i]) / (scores[i + 1] - scores[i])
        return NOVELTY_LEVELS[i] + part * (NOVELTY_LEVELS[i + 1] - NOVELTY_LEVELS[i])

    def knows(self, features: list[int]) -> bool:
        """Whether a text has a row of its own."""
        if self.feature_kind == "words":
            return len(features) > int(self.settings.get("cls", False))
        entries = bytes(self.tensors["features.vocabulary"]).decode().split("\n")
        return any(entries[row] not in ("[UNK]", "[CLS]", "[SEP]") for row in features)

    def _features(self, text: str) -> tuple[list[int], list[int]]:
        """Rows of all features, and of the words alone."""
        if self.feature_kind == "words":
            return self._features_of_words(text)
        pieces = self._pieces(text)
        return pieces, pieces

    # ---- from text to rows ----

    def _features_of_words(self, text: str) -> tuple[list[int], list[int]]:
        """Rows of all features, and of the words alone."""
        rows, words = ([0], [0]) if self.settings.get("cls", False) else ([], [])
        for n, hashed in self._ngrams_of_words(text):
            bucket = hashed >> (64 - self.settings.get("bits", 22))
            if bucket in self.row_of_bucket:
                rows.append(self.row_of_bucket[bucket])
                words += rows[-1:] if n == 1 else []
        return rows, words

    def _ngrams_of_words(self, text: str) -> list[tuple[int, int]]:
        """Number of tokens and hash of every n-gram that is a feature."""
        hashes = [_hash_of_token(letters, follows) for letters, follows in _tokens(text)]
        ngrams, longest = self.settings.get("ngrams", 2), self.settings.get("unspaced_ngrams", 4)
        grams = []
        for n in range(1, max(ngrams, longest) + 1):
            for first in range(len(hashes) - n + 1):
                tokens = hashes[first : first + n]
                if n <= ngrams or all(each & 1 for each in tokens[1:]):
                    grams.append((n, _hash_of_gram(tokens)))
        return grams

    def _oov_entries(self, text: str) -> list[list[int]]:
        """Entries of each OOV token."""
        if not self.entry_of_hash:
            return []
        tokens = []
        for letters, follows in _tokens(text):
            own = _hash_of_token(letters, follows)
            if own >> (64 - self.settings.get("bits", 22)) in self.row_of_bucket:
                continue
            hashes = [own] if own >> 32 in self.entry_of_hash else _hashes_of_char_ngrams(letters)
            entries = [self.entry_of_hash[h >> 32] for h in hashes if h >> 32 in self.entry_of_hash]
            if entries:
                tokens.append(entries)
        return tokens

    def _pieces(self, text: str) -> list[int]:
        entries = bytes(self.tensors["features.vocabulary"]).decode().split("\n")
        rows = {entry: row for row, entry in enumerate(entries)}
        pieces = [rows[piece] for word in self._bert_words(text) for piece in _greedy(word, rows)]
        return [rows["[CLS]"], *pieces[: self.settings.get("max_tokens", 512) - 2], rows["[SEP]"]]

    def _bert_words(self, text: str) -> list[str]:
        cleaned = ""
        for character in text:
            if character in string.punctuation:
                cleaned += f" {character} "
            elif character in "\t\n\r":
                cleaned += " "
            elif " " <= character < "\x7f":  # BERT drops the other control characters
                cleaned += character
            elif not character.isascii():
                raise ValueError("expected an ASCII text")
        return (cleaned.lower() if self.settings.get("lowercase", True) else cleaned).split(" ")

    # ---- from rows to classes ----

    def _logits(self, features: list[int], words: list[int], oov_entries: list[list[int]]) -> Vector:
        linear, network = self._linear, self.network
        whole = [self._row(row) for row in features]
        n_behind = network["n_classes"] if network["linear_svm"] else 0
        rows = [row[: len(row) - n_behind] for row in whole]
        if network["variants"] == "linear":
            rows = [linear("layers.0.variants", row) for row in rows]
        read_out = _text_wave if network["readout"] == "text" else _wave_of_first
        first, second = (
            read_out(variants, network["width"])
            for variants in ([_halves(row)[0] for row in rows], [_halves(row)[1] for row in rows])
        )
        real, imaginary = self._met(first, second)
        if network["restore"] == "linear":
            state = linear("layers.0.restore.linear", real + imaginary)
        elif network["restore"] == "real":
            state = real
        else:
            state = [math.sqrt(a * a + b * b) for a, b in zip(real, imaginary, strict=True)]
        logits = linear("head", self._normalised("norm", state))
        if network["context_width"]:
            of_states = _text_wave(self._context_states(words), network["context_width"])
            more = linear("context.head", of_states[0] + of_states[1])
            logits = [a + b for a, b in zip(logits, more, strict=True)]
        if n_behind:
            behind = [row[-n_behind:] for row in whole]
            behind += [self._oov_row(entry) for entries in oov_entries for entry in entries]
            root = math.sqrt(max(len(whole) + len(oov_entries), 1))
            said = [sum(row[label] for row in behind) / root for label in range(n_behind)]
            weights, biases = self.tensors["linear_svm.weight"], self.tensors["linear_svm.bias"]
            logits = [a + b * w + c for a, b, w, c in zip(logits, said, weights, biases, strict=True)]
        if network["window_words"]:
            extremes = self._window_extremes(words, network["window_words"] // 2)
            biases = self.tensors["windows.bias"]
            logits = [a + b + c for a, b, c in zip(logits, extremes, biases, strict=True)]
        return logits

    def _window_extremes(self, words: list[int], half: int) -> Vector:
        n, weights = self.network["n_classes"], self.tensors["windows.weight"]
        starts = range(0, max(len(words) - half, 1), half)
        windows = [words[start : start + 2 * half] for start in starts]
        return [
            max(
                sum(weights[row * n + label] for row in each) / math.sqrt(max(len(each), 1))
                for each in windows
            )
            for label in range(n)
        ]

    def _context_states(self, words: list[int]) -> list[Vector]:
        pairs = [
            _halves(self._linear("context.variants", self._row(word)[: self._wave_width])) for word in words
        ]
        radius, states = self.network["context_radius"], []
        for j, (real, real_2) in enumerate(pairs):
            left = [pair[0] for pair in pairs[max(j - radius, 0) : j]]
            right = [pair[1] for pair in pairs[j + 1 : j + 1 + radius]]
            waves = (real, _root_of_squares(left, len(real))), (real_2, _root_of_squares(right, len(real)))
            overlay = self._met(*waves)
            normed = self._normalised("context.norm", overlay[0] + overlay[1])
            mixed = self._linear("context.linear", normed)
            states.append([x * (1 + math.erf(x / math.sqrt(2))) / 2 for x in mixed])
        return states

    def _met(self, first: Wave, second: Wave) -> Wave:
        """Interference or modulation."""
        both = list(zip(*first, *second, strict=True))
        if self.network["operation"] == "interference":
            return [w + w2 for w, s, w2, s2 in both], [s + s2 for w, s, w2, s2 in both]
        return [w * w2 - s * s2 for w, s, w2, s2 in both], [w * s2 + w2 * s for w, s, w2, s2 in both]

    def _row(self, row: int) -> Vector:
        width = self._wave_width + (self.network["n_classes"] if self.network["linear_svm"] else 0)
        return self.tensors["embedding.weight"][row * width : (row + 1) * width]

    def _oov_row(self, entry: int) -> Vector:
        n_classes = self.network["n_classes"]
        return self.tensors["oov.weight"][entry * n_classes : (entry + 1) * n_classes]

    @property
    def _wave_width(self) -> int:
        return self.network["width"] * (2 if self.network["variants"] == "rows" else 1)

    def _linear(self, name: str, values: Vector) -> Vector:
        weights, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        n = len(values)
        return [
            sum(a * b for a, b in zip(weights[i * n : (i + 1) * n], values, strict=True)) + bias[i]
            for i in range(len(bias))
        ]

    def _normalised(self, name: str, values: Vector) -> Vector:
        mean = sum(values) / len(values)
        variance = sum((value - mean) ** 2 for value in values) / len(values)
        parts = zip(values, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"], strict=True)
        return [(value - mean) / math.sqrt(variance + 1e-5) * scale + shift for value, scale, shift in parts]


# ---- arrays ----


def _tensor(body: bytes, entry: dict[str, Any]) -> list[Any]:
    first, last = entry["data_offsets"]
    n = math.prod(entry["shape"])
    return list(struct.unpack(f"<{n}{TYPES[entry['dtype']]}", body[first:last]))


def _decoded(name: str, how: dict[str, Any], tensors: dict[str, list[Any]]) -> list[Any]:
    encoded: list[Any] = tensors[name]
    if how["kind"] == "float16":
        return encoded
    if how["kind"] == "int8":
        scales = tensors[f"{name}.scale"]
        width = len(encoded) // len(scales)
        return [_float32(number * scales[i // width]) for i, number in enumerate(encoded)]
    if how["kind"] == "lzma":
        size = math.prod(how["shape"])
        if size > 2**22 + 16 * len(encoded):
            raise ValueError("a bomb")
        unpacked = lzma.LZMADecompressor(format=lzma.FORMAT_ALONE).decompress(bytes(encoded))
        if len(unpacked) != size or zlib.crc32(unpacked) != how["crc32"]:
            raise ValueError("damaged")
        return [_float32(number * how["step"]) for number in struct.unpack(f"{size}b", unpacked)]
    if how["kind"] == "delta_varint":
        numbers, before, gap, places = [], -1, 0, 0
        for byte in encoded:
            gap |= (byte & 127) << places
            places += 7
            if byte < 128:
                before += gap + 1
                numbers.append(before)
                gap, places = 0, 0
        return numbers
    raise ValueError("no such storage")


def _float32(number: float) -> float:
    rounded: float = struct.unpack("<f", struct.pack("<f", number))[0]
    return rounded


# ---- words ----


class _Table:
    """What ``unicode.npz`` says of each code point."""

    def __init__(self) -> None:
        with np.load(UNICODE_TABLE) as table:
            self.arrays = {name: table[name].tolist() for name in table.files}
        letters = iter(self.arrays["expansion_letters"])
        self.expanded = {
            code: [next(letters) for _ in range(length)]
            for code, length in zip(self.arrays["expanded"], self.arrays["expansion_lengths"], strict=True)
        }
        self.compositions = {(a, b): both for a, b, both in self.arrays["compositions"]}

    def _value(self, starts: str, values: str, code: int) -> int:
        value: int = self.arrays[values][bisect_right(self.arrays[starts], code) - 1]
        return value

    def class_of(self, code: int) -> int:
        return self._value("class_starts", "classes", code)

    def is_left_out(self, code: int) -> bool:
        return self._value("mark_starts", "marks", code) == 254

    def combining(self, code: int) -> int:
        return self._value("combining_starts", "combining", code)

    def folded(self, code: int) -> int:
        return code + self._value("shift_starts", "shifts", code)


@cache
def _table() -> _Table:
    return _Table()


def _normal(text: str) -> list[int]:
    """Code points of the normal form."""
    table, codes = _table(), list[int]()
    for code in map(ord, text):
        folded = table.folded(code)
        if code in table.expanded:
            codes += table.expanded[code]
        elif not table.is_left_out(code):
            codes += table.expanded.get(folded, [folded])
    ordered: list[int] = []
    marks: list[int] = []
    for code in codes:
        if table.combining(code) > 0:
            marks.append(code)
        else:
            ordered += [*sorted(marks, key=table.combining), code]
            marks = []
    ordered += sorted(marks, key=table.combining)
    composed: list[int] = []
    starter = None  # its place
    between: list[int] = []  # classes of what stands between the starter and the next code point
    for code in ordered:
        code = 0x3B9 if code == 0x345 else code
        own = table.combining(code)
        if starter is not None and all(0 < each < own for each in between[-1:]):
            both = _joined(composed[starter], code)
            if both is not None:
                composed[starter] = both
                continue
        composed.append(code)
        between.append(own)
        if own == 0:
            starter, between = len(composed) - 1, []
    return composed


def _joined(first: int, second: int) -> int | None:
    """What two code points become together; None if they do not join."""
    if 0x1100 <= first < 0x1100 + 19 and 0x1161 <= second < 0x1161 + 21:
        return 0xAC00 + ((first - 0x1100) * 21 + second - 0x1161) * 28
    is_open = 0xAC00 <= first < 0xAC00 + 19 * 21 * 28 and (first - 0xAC00) % 28 == 0
    if is_open and 0x11A8 <= second < 0x11A8 + 27:
        return first + second - 0x11A7
    return _table().compositions.get((first, second))


def _tokens(text: str) -> list[tuple[list[int], bool]]:
    """Code points of each token, and whether it is a letter directly after a letter."""
    codes = _normal(text)
    classes = [_table().class_of(code) for code in codes]
    inside = [
        0 < i < len(codes) - 1 and code == 0x27 and classes[i - 1] == classes[i + 1] == WORD
        for i, code in enumerate(codes)
    ]
    tokens: list[tuple[list[int], bool]] = []
    run: list[int] = []
    for i, code in enumerate([*codes, 0x20]):
        in_word = i < len(codes) and (classes[i] == WORD or inside[i])
        if in_word:
            run.append(code)
            continue
        tokens += [(run[first : first + 64], False) for first in range(0, len(run), 64)]
        run = []
        if i < len(codes) and classes[i] in (SYMBOL, SINGLE, LETTER):
            tokens.append(([code], i > 0 and classes[i - 1] == classes[i] == LETTER))
    return tokens


def _mix(h: int) -> int:
    h = (h ^ h >> 30) * 0xBF58476D1CE4E5B9 & MASK
    h = (h ^ h >> 27) * 0x94D049BB133111EB & MASK
    return h ^ h >> 31


def _hash_of_token(codes: list[int], follows: bool) -> int:
    return _mix(sum((code + 1) * BASE**i for i, code in enumerate(codes)) & MASK) & ~1 | follows


def _hashes_of_char_ngrams(codes: list[int]) -> list[int]:
    letters = [0, *(code + 1 for code in codes), 0]
    hashes = []
    for n in range(2, 6):
        for first in range(len(letters) - n + 1):
            rolled = LINK
            for letter in letters[first : first + n]:
                rolled = (rolled * BASE + letter + 1) & MASK
            hashes.append(_mix(rolled))
    return hashes


def _hash_of_gram(hashes: list[int]) -> int:
    gram = hashes[0] & ~1
    for each in hashes[1:]:
        gram = _mix((gram * LINK + each) & MASK)
    return gram


def _greedy(word: str, rows: dict[str, int]) -> list[str]:
    """Pieces of a word, the longest first; `[UNK]` where that fails."""
    if len(word) > 100:
        return ["[UNK]"]
    pieces, first = [], 0
    while first < len(word):
        starts = "##" if first else ""
        ends = [end for end in range(len(word), first, -1) if starts + word[first:end] in rows]
        if not ends:
            return ["[UNK]"]
        pieces.append(starts + word[first : ends[0]])
        first = ends[0]
    return pieces


# ---- waves ----


def _halves(values: Vector) -> Wave:
    middle = len(values) // 2
    return values[:middle], values[middle:]


def _columns(vectors: list[Vector], width: int) -> list[list[float]]:
    return [[vector[i] for vector in vectors] for i in range(width)]


def _root_of_squares(vectors: list[Vector], width: int) -> Vector:
    return [math.sqrt(sum(x * x for x in column)) for column in _columns(vectors, width)]


def _text_wave(vectors: list[Vector], width: int) -> Wave:
    if not vectors:
        return [0.0] * width, [0.0] * width
    columns = _columns(vectors, width)
    means = [sum(column) / len(column) for column in columns]
    squares = [sum(x * x for x in column) / len(column) for column in columns]
    return means, [math.sqrt(max(s - m * m, 0.0)) for m, s in zip(means, squares, strict=True)]


def _wave_of_first(vectors: list[Vector], width: int) -> Wave:
    if not vectors:
        return [0.0] * width, [0.0] * width
    return vectors[0], _root_of_squares(vectors[1:], width)
