"""Rows held back are new to what is trained, against a plain search for texts in texts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from token2wave.data import validation_split
from token2wave.training.validation_split import LONGEST_PART, SHORTEST_PART, WordRuns, grouped_holdout

FEW_WORDS = st.lists(st.lists(st.sampled_from("ab"), max_size=6).map(" ".join), min_size=1, max_size=12)


def stands_in(part: str, whole: str) -> bool:
    """Whether the words of a text follow one another in another, too."""
    words, others = part.split(), whole.split()
    return any(others[i : i + len(words)] == words for i in range(len(others) - len(words) + 1))


def is_part_length(text: str) -> bool:
    return SHORTEST_PART <= len(text.split()) <= LONGEST_PART


@settings(max_examples=300)
@given(FEW_WORDS)
def test_parts_of_longer_texts(texts: list[str]) -> None:
    expected = [
        is_part_length(part)
        and any(stands_in(part, whole) for whole in texts if len(whole.split()) > len(part.split()))
        for part in texts
    ]
    assert WordRuns(texts).are_parts(np.arange(len(texts))).tolist() == expected


@settings(max_examples=300)
@given(FEW_WORDS, st.data())
def test_texts_found_in_others(texts: list[str], data: st.DataObject) -> None:
    wholes = sorted(data.draw(st.sets(st.integers(0, len(texts) - 1))))
    found = WordRuns(texts).parts_of(np.arange(len(texts)), np.array(wholes, dtype=np.int64))
    expected = [
        i
        for i, part in enumerate(texts)
        if is_part_length(part) and any(stands_in(part, texts[j]) for j in wholes)
    ]
    assert sorted(found.tolist()) == expected


def sentences_and_context(n: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Sentences of random words, and for each some of its phrases, in random order."""
    random, texts = np.random.default_rng(seed), []
    for _ in range(n):
        words = [f"w{number}" for number in random.integers(0, 5000, 12)]
        texts.append(" ".join(words))
        for _ in range(4):
            first = random.integers(0, 8)
            texts.append(" ".join(words[first : first + random.integers(1, 5)]))
    order = random.permutation(len(texts))
    return [texts[i] for i in order], random.integers(0, 3, len(texts))


@pytest.mark.parametrize("seed", [0, 1])
def test_whole_texts_are_held_back_with_their_parts(seed: int) -> None:
    texts, labels = sentences_and_context(100, seed)
    kept, held_out = grouped_holdout(texts, labels, 0.2, seed)
    assert len(held_out) == 20
    assert all(len(texts[i].split()) == 12 for i in held_out)
    leaks = [
        i for i in kept if any(is_part_length(texts[i]) and stands_in(texts[i], texts[j]) for j in held_out)
    ]
    assert leaks == []
    gone = set(range(len(texts))) - set(kept) - set(held_out)
    assert all(any(stands_in(texts[i], texts[j]) for j in held_out) for i in gone)
    again = grouped_holdout(texts, labels, 0.2, seed)
    assert [part.tolist() for part in again] == [kept.tolist(), held_out.tolist()]
    assert held_out.tolist() != grouped_holdout(texts, labels, 0.2, seed + 10)[1].tolist()


def test_rows_that_are_no_parts_are_held_back_in_blocks() -> None:
    random = np.random.default_rng(0)
    texts = [" ".join(f"w{n}" for n in random.integers(0, 5000, 8)) for _ in range(200)]
    labels = np.arange(200) % 4
    for few_parts in (texts, [*texts[:190], *(text.rpartition(" ")[0] for text in texts[:10])]):
        found, plain = (
            grouped_holdout(few_parts, labels, 0.1, 3),
            validation_split(labels, 0.1, 3, in_blocks=True),
        )
        assert [part.tolist() for part in found] == [part.tolist() for part in plain]


def test_every_class_stays_to_be_learnt_from() -> None:
    """The one text of a class is a part of most others: held back, they would take it along."""
    texts = ["a b c"] * 30 + [f"a b c d{i}" for i in range(30)]
    labels = np.array([0] * 30 + [1] * 30)
    kept, held_out = grouped_holdout(texts, labels, 0.2, 0)
    assert set(labels[kept]) == {0, 1}
    assert len(kept) + len(held_out) == 60


@pytest.mark.parametrize("texts", [["", ""], ["one", "two words"], ["a b c", "a b c"]])
def test_very_little_text(texts: list[str]) -> None:
    kept, held_out = grouped_holdout(texts, np.array([0, 1]), 0.5, 0)
    assert len(kept) + len(held_out) == 2
