"""Arrays in every storage: what comes back, how far off it is, and what damage is refused."""

from __future__ import annotations

import lzma
import math
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from token2wave.errors import ModelFileError
from token2wave.storage.encodings import (
    DEAD_ZONE,
    MAX_FREE,
    MAX_PER_BYTE,
    EncodedArray,
    as_delta_varint,
    as_float16,
    as_int8,
    as_lzma,
    quantised,
)

PROPERTY = settings(deadline=None, max_examples=100, print_blob=True)
MAX_GAP = (1 << 32) - 1
LARGE = 2.0**100
floats = st.floats(-LARGE, LARGE, width=32)
small_floats = st.floats(-3, 3, width=32)
shapes = st.tuples(st.integers(1, 12), st.integers(1, 12))


def matrices(elements: st.SearchStrategy[float] = floats) -> st.SearchStrategy[np.ndarray]:
    return arrays_of.arrays(np.float32, shapes, elements=elements)


whole_numbers = arrays_of.arrays(np.int8, shapes, elements=st.integers(-127, 127))


# What comes back ------------------------------------------------------------------------------------


@PROPERTY
@given(
    arrays_of.arrays(np.float32, arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0), elements=floats)
)
@example(np.array([65504, 65520, -1e30, 1e-8, 0], dtype=np.float32))
def test_float16(array: np.ndarray) -> None:
    found = as_float16(array).decoded()
    assert (found.dtype, found.shape) == (np.float32, array.shape)
    within = np.clip(array, -65504, 65504).astype(np.float64)
    assert (np.abs(found - within) <= np.maximum(np.abs(within) * 2**-11, 2**-25)).all()
    np.testing.assert_array_equal(as_float16(found).decoded(), found)


@PROPERTY
@given(matrices(st.floats(-LARGE, LARGE, width=32, allow_subnormal=False)))
@example(np.array([[0, 0], [1e-38, 0], [127, -126.4]], dtype=np.float32))
def test_int8_is_within_half_a_scale(array: np.ndarray) -> None:
    encoded = as_int8(array)
    found, scale = encoded.decoded(), encoded.parts[".scale"].astype(np.float64)
    assert (found.dtype, found.shape) == (np.float32, array.shape)
    assert encoded.parts[""].dtype == np.int8
    np.testing.assert_allclose(scale, np.abs(array).max(axis=1) / 127, rtol=1e-6, atol=1e-44)
    error = np.abs(found.astype(np.float64) - array)
    assert (error <= 0.5001 * scale[:, None] + 1e-37).all()


@given(matrices(st.floats(-(2.0**-140), 2.0**-140, width=32)))
def test_int8_keeps_the_sign_of_the_smallest_numbers(array: np.ndarray) -> None:
    assert (as_int8(array).decoded() * np.sign(array) >= 0).all()


@PROPERTY
@given(array=matrices(small_floats), step=st.floats(2.0**-10, 5, width=32))
@example(array=np.array([[0.549, 0.551, -0.551, 1.549, 127.6, -500]], dtype=np.float32), step=1.0)
def test_quantised_is_within_a_dead_zone(array: np.ndarray, step: float) -> None:
    numbers = quantised(array, step)
    assert numbers.dtype == np.int8
    sizes = np.abs(array.astype(np.float64)) / step
    clipped = sizes > 127 + DEAD_ZONE
    np.testing.assert_array_equal(numbers[clipped], 127 * np.sign(array[clipped]))
    assert (np.abs(numbers * float(step) - array)[~clipped] <= (DEAD_ZONE + 1e-4) * step).all()
    assert (numbers[sizes < DEAD_ZONE - 1e-4] == 0).all()
    assert (numbers[sizes > DEAD_ZONE + 1e-4] != 0).all()


@PROPERTY
@given(numbers=whole_numbers, step=st.floats(2.0**-100, 2.0**90, width=32))
def test_packed_gives_every_number_back(numbers: np.ndarray, step: float) -> None:
    encoded = as_lzma(numbers, step)
    found = encoded.decoded()
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, numbers * np.float32(step))
    again = as_lzma(numbers, step)
    assert again.settings == encoded.settings  # and the same bytes
    assert again.parts[""].tobytes() == encoded.parts[""].tobytes()


@pytest.mark.parametrize("shape", [(1, 1), (1, 1_000_000), (400_000, 16), (0, 4)])
def test_packed_zeros_can_be_read(shape: tuple[int, int]) -> None:
    """LZMA is better at them than what readers take for a bomb."""
    encoded = as_lzma(np.zeros(shape, dtype=np.int8), 0.5)
    assert len(encoded.parts[""]) < 2000 + max(math.prod(shape) - MAX_FREE, 0) / MAX_PER_BYTE
    np.testing.assert_array_equal(encoded.decoded(), np.zeros(shape))


def test_packed_numbers_cost_about_what_they_tell() -> None:
    generator = np.random.default_rng(0)
    rows = generator.normal(0, np.repeat([0.3, 3], 8), (4_000, 16)).astype(np.float32)
    numbers = quantised(rows, 1.0)
    shares = [np.unique(column, return_counts=True)[1] / len(numbers) for column in numbers.T]
    entropy = -sum(float((share * np.log2(share)).sum()) for share in shares) * len(numbers) / 8
    assert len(as_lzma(numbers, 1.0).parts[""]) < 1.35 * entropy


@PROPERTY
@given(st.sets(st.integers(0, MAX_GAP), max_size=60))
@example(set())
@example({0})
@example({MAX_GAP})
@example({0, 1, 128, 129, 257, 128 + 2**14, 2**21 + 2**14 + 130, MAX_GAP})
def test_gaps_are_exact(numbers: set[int]) -> None:
    array = np.array(sorted(numbers), dtype=np.uint32)
    encoded = as_delta_varint(array)
    found = encoded.decoded()
    assert found.dtype == np.uint32
    np.testing.assert_array_equal(found, array)
    gaps = np.diff(array.astype(np.int64), prepend=-1) - 1
    assert len(encoded.parts[""]) == sum(max(1, -(-int(gap).bit_length() // 7)) for gap in gaps)


# Damage ---------------------------------------------------------------------------------------------


MATRIX = np.random.default_rng(0).normal(0, 1, (6, 4)).astype(np.float32)
WHOLE: dict[str, Callable[[], EncodedArray]] = {
    "float16": lambda: as_float16(MATRIX),
    "int8": lambda: as_int8(MATRIX),
    "lzma": lambda: as_lzma(quantised(MATRIX, 0.1), 0.1),
    "delta_varint": lambda: as_delta_varint(np.array([3, 200, 70_000], dtype=np.uint32)),
}
every_kind = pytest.mark.parametrize("kind", WHOLE)


def refused(encoded: EncodedArray, match: str = "^expected ") -> None:
    with pytest.raises(ModelFileError, match=match):
        encoded.decoded()


@pytest.mark.parametrize("kind", [None, "", "int4", "INT8", 8, ["int8"], {}, True])
def test_kinds_that_are_none(kind: object) -> None:
    refused(
        EncodedArray({"kind": kind}, as_int8(MATRIX).parts),
        "expected storage of kind float16, int8, lzma, delta_varint",
    )
    refused(EncodedArray({}, as_int8(MATRIX).parts), "found None")


@every_kind
def test_missing_and_surplus_parts(kind: str) -> None:
    whole = WHOLE[kind]()
    for name in whole.parts:
        refused(
            EncodedArray(whole.settings, {n: part for n, part in whole.parts.items() if n != name}), "parts"
        )
    refused(EncodedArray(whole.settings, {**whole.parts, ".more": MATRIX}), "parts")
    refused(EncodedArray(whole.settings, {}), "parts")


@every_kind
@pytest.mark.parametrize("dtype", ["<f4", "<f8", "<f2", "i1", "u1", "<i4", "<u4", "?"])
def test_parts_of_another_type(kind: str, dtype: str) -> None:
    whole = WHOLE[kind]()
    for name, part in whole.parts.items():
        if part.dtype != np.dtype(dtype):
            refused(EncodedArray(whole.settings, {**whole.parts, name: part.astype(dtype)}))


@pytest.mark.parametrize("kind", ["int8", "lzma", "delta_varint"])
def test_parts_of_another_shape(kind: str) -> None:
    whole = WHOLE[kind]()
    for name, part in whole.parts.items():
        for wrong in (part[None], part.reshape(-1, 1, 1), np.array(1, dtype=part.dtype), part[:-1]):
            if kind == "lzma" and wrong.shape == part[:-1].shape:
                continue  # see the next test
            refused(EncodedArray(whole.settings, {**whole.parts, name: wrong}))


def test_packed_streams_cut_short_or_changed() -> None:
    whole = WHOLE["lzma"]()
    stream, expected = whole.parts[""], whole.decoded()
    n_refused = 0
    for place in range(len(stream)):
        for number in (0, 1, 0x5D, 0xFF, int(stream[place]) ^ 16):
            broken = stream.copy()
            broken[place] = number
            try:
                found = EncodedArray(whole.settings, {"": broken}).decoded()
            except ModelFileError:
                n_refused += 1
            else:  # a byte that does not matter, such as the size of the dictionary
                np.testing.assert_array_equal(found, expected)
        if place < len(stream) - 8:  # what comes later may be the end mark alone
            refused(EncodedArray(whole.settings, {"": stream[:place]}))
    assert n_refused > 2 * len(stream)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        (
            "shape",
            [None, 24, [24], [6, 4, 1], [4, 6.0], [-6, -4], ["6", 4], [True, 24], [6, 5], [7, 4], [0, 4]],
        ),
        ("shape", [[1 << 31, 1], [1 << 62, 1 << 62], [10**30, 0], {"6": 4}]),
        ("step", [None, "0.1", 0, 0.0, -0.1, math.nan, math.inf, 1e30, True, [0.1]]),
        ("crc32", [None, 0, -1, "1", [1], 1e9]),
    ],
)
def test_packed_settings_that_do_not_fit(key: str, values: list[Any]) -> None:
    whole = WHOLE["lzma"]()
    for value in values:
        refused(EncodedArray({**whole.settings, key: value}, whole.parts))
    refused(EncodedArray({k: v for k, v in whole.settings.items() if k != key}, whole.parts))


def test_a_whole_step_is_a_step() -> None:
    """JSON does not tell 2 from 2.0."""
    numbers = quantised(MATRIX, 2.0)
    encoded = as_lzma(numbers, 2.0)
    np.testing.assert_array_equal(
        EncodedArray({**encoded.settings, "step": 2}, encoded.parts).decoded(), 2 * numbers
    )


def test_another_table_of_the_same_size_is_refused() -> None:
    one, other = (as_lzma(quantised(MATRIX, step), step) for step in (0.1, 0.2))
    refused(EncodedArray(one.settings, other.parts), "an undamaged stream")


def bomb(n_bytes: int, **settings: Any) -> np.ndarray:
    filters = [{"id": lzma.FILTER_LZMA1, "preset": 0, **settings}]
    compressor = lzma.LZMACompressor(format=lzma.FORMAT_ALONE, filters=filters)
    parts = [compressor.compress(bytes(1 << 20)) for _ in range(n_bytes >> 20)]
    return np.frombuffer(b"".join([*parts, compressor.flush()]), dtype=np.uint8)


def test_bombs_take_no_memory() -> None:
    stream = bomb(1 << 26, dict_size=1 << 16)
    assert len(stream) < 1 << 16
    crc = zlib.crc32(bytes(24))
    tracemalloc.start()
    try:
        for shape in ([6, 4], [1 << 12, 1 << 14], [1 << 30, 1 << 30]):  # far less, as much, far more
            refused(EncodedArray({"kind": "lzma", "shape": shape, "step": 0.1, "crc32": crc}, {"": stream}))
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 10_000_000


def test_a_stream_must_not_ask_for_a_large_dictionary() -> None:
    stream = WHOLE["lzma"]().parts[""].copy()
    stream[1:5] = np.frombuffer((1 << 31).to_bytes(4, "little"), dtype=np.uint8)
    refused(EncodedArray(WHOLE["lzma"]().settings, {"": stream}), "LZMA")


def test_the_limit_of_what_a_byte_may_become() -> None:
    encoded = as_lzma(np.zeros((1, MAX_FREE + 4000 * MAX_PER_BYTE), dtype=np.int8), 1.0)
    assert len(encoded.parts[""]) == 4000
    refused(EncodedArray(encoded.settings, {"": encoded.parts[""][:-1]}), "a longer stream")


@pytest.mark.parametrize(
    "stream",
    [
        [128],
        [3, 255],
        [128] * 5 + [1],
        [255] * 5,
        [127, 128, 128, 128, 128, 128, 0],
        [255, 255, 255, 255, 127],
        [254, 255, 255, 255, 15, 0, 0],
    ],
    ids=["open", "open at the end", "six bytes", "five open", "six within", "2^35", "beyond 2^32 in sum"],
)
def test_damaged_gaps(stream: list[int]) -> None:
    refused(EncodedArray({"kind": "delta_varint"}, {"": np.array(stream, dtype=np.uint8)}))


@PROPERTY
@given(st.binary(max_size=40))
def test_any_bytes_as_gaps_increase_or_are_refused(stream: bytes) -> None:
    try:
        found = EncodedArray({"kind": "delta_varint"}, {"": np.frombuffer(stream, dtype=np.uint8)}).decoded()
    except ModelFileError:
        return
    assert (np.diff(found.astype(np.int64)) > 0).all()
    assert len(found) == sum(byte < 128 for byte in stream)


@PROPERTY
@given(st.binary(max_size=60))
def test_any_bytes_as_an_lzma_stream_are_refused(stream: bytes) -> None:
    """But by one chance in four thousand million."""
    settings_ = {"kind": "lzma", "shape": [2, 2], "step": 0.1, "crc32": 7}
    refused(EncodedArray(settings_, {"": np.frombuffer(stream, dtype=np.uint8)}))
