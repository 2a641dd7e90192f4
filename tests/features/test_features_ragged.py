from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from token2wave.features.ragged import Ragged, concatenate, offsets_of

PROPERTY = settings(deadline=None, max_examples=40, print_blob=True)

# A text is its ids and how many of the first of them are in reading order.
Text = tuple[list[int], int]
text_lists = st.lists(
    st.lists(st.integers(0, 9), max_size=6).flatmap(
        lambda ids: st.tuples(st.just(ids), st.integers(0, len(ids)))
    ),
    max_size=8,
)


def ragged(texts: list[Text]) -> Ragged:
    return Ragged(
        np.array([row for ids, _ in texts for row in ids], dtype=np.int32),
        np.cumsum([0] + [len(ids) for ids, _ in texts], dtype=np.int64),
        np.array([n for _, n in texts], dtype=np.int64),
    )


def as_lists(found: Ragged) -> list[Text]:
    assert found.ids.dtype == np.int32
    assert found.offsets.dtype == found.n_ordered.dtype == np.int64
    assert found.offsets[0] == 0
    assert found.offsets[-1] == len(found.ids)
    assert len(found) == len(found.n_ordered) == len(found.offsets) - 1
    bounds = found.offsets.tolist()
    return [
        (found.ids[first:last].tolist(), n)
        for first, last, n in zip(bounds, bounds[1:], found.n_ordered.tolist(), strict=False)
    ]


@PROPERTY
@given(text_lists)
def test_the_twin_is_faithful(texts: list[Text]) -> None:
    assert as_lists(ragged(texts)) == texts
    assert ragged(texts).lengths.tolist() == [len(ids) for ids, _ in texts]


@PROPERTY
@given(text_lists, st.data())
def test_take(texts: list[Text], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=10)) if texts else []
    found = ragged(texts).take(np.array(chosen, dtype=np.int64))
    assert as_lists(found) == [texts[i] for i in chosen]


@PROPERTY
@given(text_lists, st.data())
def test_keep(texts: list[Text], data: st.DataObject) -> None:
    masks = [data.draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids))) for ids, _ in texts]
    flat = np.array([stays for mask in masks for stays in mask], dtype=np.bool_)
    expected = []
    for (ids, n), mask in zip(texts, masks, strict=True):
        kept = [row for row, stays in zip(ids, mask, strict=True) if stays]
        expected.append((kept, sum(mask[:n])))
    assert as_lists(ragged(texts).keep(flat)) == expected


@PROPERTY
@given(st.lists(text_lists, min_size=1, max_size=4))
def test_concatenate(parts: list[list[Text]]) -> None:
    assert as_lists(concatenate([ragged(part) for part in parts])) == [t for part in parts for t in part]


@PROPERTY
@given(st.lists(st.integers(0, 5), max_size=6))
def test_offsets_of(lengths: list[int]) -> None:
    offsets = offsets_of(np.array(lengths, dtype=np.int64))
    assert offsets.dtype == np.int64
    assert offsets.tolist() == [sum(lengths[:i]) for i in range(len(lengths) + 1)]
