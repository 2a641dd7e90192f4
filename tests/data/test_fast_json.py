"""Lines of JSON mean and look the same with msgspec and with the standard module."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from token2wave.data import fast_json, formats
from token2wave.data.reader import read_columns, read_segment
from token2wave.data.rows import Segment
from token2wave.errors import DataError
from token2wave.scoring import output_formats

pytest.importorskip("msgspec")

SETTINGS = settings(max_examples=400, print_blob=True, deadline=None)
TEXTS = st.text(st.characters(), max_size=8) | st.sampled_from(
    ["\ud800", "a\udfff", '\0\x1f\x7f\u2028\\"/', "😀é"]
)
NUMBERS = (
    st.integers()
    | st.sampled_from(
        [2**63, 2**64, -(2**63) - 1, 10**30, -0.0, 1e16, 1e-5, 0.0001, 9999999999999998.0, 5e-324]
    )
    | st.floats()
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
RECORDS = st.dictionaries(TEXTS | st.just("text"), VALUES, max_size=4)
HOSTILE = [
    *(
        b'{"text": %s}' % value
        for value in b"NaN Infinity -Infinity -0 -0.0 1e400 -1e400 1E5 1. 01 +1 .5 tru".split()
    ),
    *(b'{"text": %d}' % value for value in (2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**40)),
    *(b'{"text": 1%s}' % (b"0" * n) for n in (400, 4299, 4300, 5000)),
    *(
        b'{"text": %s}' % n
        for n in (b"9007199254740993.0", b"2.2250738585072011e-308", b"1.7976931348623159e308")
    ),
    *(
        b'{"text": "%s"}' % text
        for text in (b"\\ud800", b"\\ude00\\ud83d", b"\\ud83d\\ude00", b"\\u12", b"\\x")
    ),
    *(
        b'{"text": "%s"}' % text
        for text in (b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82")
    ),
    *(
        b'{"text": "%s"}' % text
        for text in (b"\0", b"\x01", b"\t", b"\x7f", b"\\u0000", b"\\/", b"\xe2\x80\xa8")
    ),
    b'{"text": "a", "text": "b"}',
    b'{"b": 1, "text": "a", "b": 2}',
    b'{"\\ud800": "a", "text": "a"}',
    b'{"": "a", "text": "a"}',
    b'\xef\xbb\xbf{"text": "a"}',
    b' \t\r{"text": "a"} \r',
    b'\x0b{"text": "a"}',
    b'\xc2\xa0{"text": "a"}',
    b'{"text": "a"}\0',
    b'{"text": "a"} {"text": "b"}',
    b'{"text": "a",}',
    b"{'text': 'a'}",
    b'{"text": "a" /* b */}',
    b'["text"]',
    b'"text"',
    b"null",
    b"",
    b"   ",
    b"\xe2\x80\x83",
    *(b'{"text": %s1%s}' % (b"[" * depth, b"]" * depth) for depth in (1, 500, 1_100, 100_000)),
]


def decoded(line: bytes) -> str | None:
    """The object of a line by the standard module, in all detail; None if there is none."""
    try:
        value = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return repr(value) if isinstance(value, dict) else None


def assert_decoded_alike(line: bytes) -> bool:
    decode_object = fast_json.fast_object_decoder()
    assert decode_object is not None
    record = decode_object(line)
    assert record is None or repr(record) == decoded(line)
    return record is not None


@pytest.mark.parametrize("line", HOSTILE, ids=lambda line: repr(line[:40]))
def test_hostile_lines_are_decoded_alike(line: bytes) -> None:
    assert_decoded_alike(line)


@SETTINGS
@given(RECORDS, st.booleans(), st.lists(st.tuples(st.integers(0, 200), st.binary(max_size=2)), max_size=2))
def test_any_lines_are_decoded_alike(
    record: dict[str, Any], is_ascii: bool, changes: list[tuple[int, bytes]]
) -> None:
    line = json.dumps(record, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    for place, inserted in changes:
        line = line[:place] + inserted + line[place + len(inserted) // 2 :]
    assert_decoded_alike(line)


@SETTINGS
@given(st.from_regex(rb"\A-?[0-9]{0,25}(\.[0-9]{0,25})?([eE][-+]?[0-9]{0,3})?\Z"))
def test_any_numbers_are_decoded_alike(number: bytes) -> None:
    assert_decoded_alike(b'{"text": %s}' % number)


def test_usual_lines_are_decoded_by_msgspec() -> None:
    for line in (b'{"text": "\xc3\xa9", "n": [1, 2.5, null, true, {}]}\r\n', b'{"a": %d}' % 10**30):
        assert assert_decoded_alike(line)


def rows_of(path: Path) -> Iterator[str]:
    """All that reading a file gives or refuses."""
    segment = Segment(str(path), ".jsonl", first=0, last=path.stat().st_size)
    for columns in (None, ["n"]):
        for block in read_segment(segment, "text", columns, n_rows=7):
            yield repr((block.places.tolist(), block.records, block.rejected))
    try:
        yield repr(read_columns(segment, ["text"], ["n"]))
    except DataError as error:
        yield repr(error)


def test_files_are_read_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = [b'{"text": "%d", "n": %d}' % (number, number) for number in range(20)]
    alone = [[line] for line in (*HOSTILE, b"\r".join(good))]  # carriage returns in the only line are a fault
    among = [[*good[:3], line, *good[3:5]] for line in HOSTILE]
    paths = []
    for number, lines in enumerate([HOSTILE, good, *alone, *among]):
        paths.append(tmp_path / f"{number}.jsonl")
        paths[-1].write_bytes(b"\n".join(lines))
    with_msgspec = [list(rows_of(path)) for path in paths]
    monkeypatch.setattr(formats, "fast_object_decoder", lambda: None)
    assert with_msgspec == [list(rows_of(path)) for path in paths]


def encoded(record: dict[str, Any]) -> tuple[bytes | str, bytes | str]:
    """A line of the output with msgspec, and without; or the errors."""
    lines: list[bytes | str] = []
    for encoder in (fast_json.fast_object_encoder, lambda: None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(output_formats, "fast_object_encoder", encoder)
            try:
                lines.append(output_formats.encode_json_line(record))
            except (ValueError, RecursionError) as error:
                lines.append(type(error).__name__)
    return lines[0], lines[1]


@SETTINGS
@given(RECORDS)
def test_any_records_are_encoded_alike(record: dict[str, Any]) -> None:
    fast, slow = encoded(record)
    assert fast == slow


@SETTINGS
@given(st.floats() | st.floats(-1e17, 1e17) | st.floats(0, 1, width=32))
def test_any_floats_are_encoded_alike(number: float) -> None:
    fast, slow = encoded({"a": number, "b": [number], "c": {"d": number}})
    assert fast == slow


def test_other_values_are_encoded_alike() -> None:
    nested: Any = 1
    for _ in range(3_000):
        nested = [nested]
    for value in (nested, b"a", Path("a"), (1, (2,)), {"a": {1.5: {None: {3}}}}, {True: 1}):
        fast, slow = encoded({"a": value})
        assert fast == slow


def test_usual_records_are_encoded_by_msgspec() -> None:
    encode_object = fast_json.fast_object_encoder()
    assert encode_object is not None
    record = {"text": "é\n", "confidence": 0.75, "top": [{"label": "a", "probability": 0.75}], "n": None}
    assert encode_object(record) == json.dumps(record, ensure_ascii=False).encode()


def test_all_works_without_msgspec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "msgspec", None)
    assert fast_json.fast_object_decoder.__wrapped__() is None
    assert fast_json.fast_object_encoder.__wrapped__() is None
