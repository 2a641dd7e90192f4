"""Decodes and encodes lines of JSON with msgspec, where it is installed.

The standard ``json`` module says what a line means. msgspec takes only lines on which both agree, to the
byte, and is several times as fast. Tests compare the two on hostile lines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

MIN_FLOAT, MAX_FLOAT = 1e-4, 1e16
"""Between these json and msgspec write floats alike; outside only json puts a sign or a zero in exponents."""
_SIMPLE = frozenset((str, int, bool, type(None)))


@cache
def fast_object_decoder() -> Callable[[bytes], dict[str, Any] | None] | None:
    """Return a decoder of a line of UTF-8; None if msgspec is not installed.

    The decoder returns the object that ``json.loads`` does. It returns None for what is no object, and for
    what msgspec refuses: broken lines, and NaN, infinities and half surrogate pairs, which ``json`` reads.
    """
    try:
        import msgspec
    except ImportError:
        return None
    decode, refusals = msgspec.json.Decoder().decode, (msgspec.DecodeError, ValueError, RecursionError)

    def decode_object(line: bytes) -> dict[str, Any] | None:
        try:
            value = decode(line)
        except refusals:
            return None
        return value if type(value) is dict else None

    return decode_object


@cache
def fast_object_encoder() -> Callable[[Mapping[str, Any]], bytes | None] | None:
    """Return an encoder of an object to a line without its end; None if msgspec is not installed.

    The encoder writes what ``json.dumps(record, ensure_ascii=False)`` does. It returns None for an object
    with values that the two write differently, or that JSON does not have.
    """
    try:
        import msgspec
    except ImportError:
        return None
    encode, reformat = msgspec.json.Encoder().encode, msgspec.json.format

    def encode_object(record: Mapping[str, Any]) -> bytes | None:
        try:
            if all(map(_is_written_alike, record.values())):
                return reformat(encode(record), indent=0)
        except (ValueError, TypeError, RecursionError):  # half a surrogate pair; odd keys; too deep
            pass
        return None

    return encode_object


def _is_written_alike(value: Any) -> bool:
    python_type = type(value)
    if python_type in _SIMPLE:
        return True
    if python_type is float:
        return bool(MIN_FLOAT <= abs(value) < MAX_FLOAT or value == 0)
    if python_type is list:
        return all(map(_is_written_alike, value))
    return python_type is dict and all(map(_is_written_alike, value.values()))
