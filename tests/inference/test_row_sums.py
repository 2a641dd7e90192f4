"""Sums of a table's rows: the core and numpy give the same bits."""

import numpy as np
import pytest

from token2wave.core import load_core
from token2wave.inference import row_sums
from token2wave.inference.row_sums import sum_rows

TABLE = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
def test_the_core_and_numpy_give_the_same_bits(seed, monkeypatch):
    random = np.random.default_rng(seed)
    lengths = random.integers(0, 40, 200) * random.integers(0, 2, 200)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = random.integers(-1, 50, offsets[-1]).astype(np.int32)
    sums = sum_rows(TABLE, ids, offsets)
    monkeypatch.setattr(row_sums, "load_core", lambda: None)
    assert np.array_equal(sum_rows(TABLE, ids, offsets), sums)
    expected = [TABLE[row[row >= 0]].sum(axis=0, dtype=np.float64) for row in np.split(ids, offsets[1:-1])]
    np.testing.assert_allclose(sums, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("is_native", [True, False])
@pytest.mark.parametrize(
    ("ids", "offsets"),
    [([0, 50], [0, 2]), ([0, 1], [0, 3]), ([0, 1], [1, 0]), ([0, 1], [-1, 2]), ([0, 1], [2, 1, 2])],
    ids=str,
)
def test_rows_and_offsets_out_of_bounds_are_refused(ids, offsets, is_native, monkeypatch):
    if not is_native:
        monkeypatch.setattr(row_sums, "load_core", lambda: None)
    elif load_core() is None:
        pytest.skip("the native core is not built")
    with pytest.raises(ValueError, match=r"do not fit together|out of bounds"):
        sum_rows(TABLE, np.array(ids, np.int32), np.array(offsets, np.int64))
