"""Words' character n-grams against a twin of strings and dictionaries."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from slow_text import hash_of, tokens

from token2wave.features import WordConfig, WordFeatures, WordPieceConfig, WordPieceFeatures
from token2wave.training import char_ngrams as module
from token2wave.training.char_ngrams import CharNgrams
from token2wave.training.examples import Examples
from token2wave.training.linear_svm import LinearSVM
from token2wave.training.schedule import document_frequency

END = (-1,)  # a letter that no word has
ODD = st.sampled_from(["ß", "İ", "é", "e\u0301", "日本", "\U0001f600", "\ud800", "\x00", "\u2028", "\x1f"])
LETTERS = st.sampled_from(["a", "b", "A", "'", "\u2019", "-", ".", " ", "\n"]) | ODD | st.characters()
TEXTS = st.lists(st.lists(LETTERS, max_size=14).map("".join), min_size=1, max_size=8)


def plain_grams(texts: list[str], features: WordFeatures, frequent: set[int], shortest: int = 3) -> Counter:
    """How often each row has each n-gram, as many postings ``((row, count), ...)`` as there are n-grams."""
    word_of_row: dict[int, tuple[int, list[int]]] = {}
    for text in texts:
        for word in tokens(text):
            row = int(features.row_of_bucket[hash_of(word) >> (64 - features.config.bits)])
            if row < 0 or row in frequent:
                continue
            found = (hash_of(word), word)
            word_of_row[row] = min(word_of_row.get(row, found), found)  # of two in one row, one
    postings: dict[tuple[int, ...], Counter] = defaultdict(Counter)
    for row, (_, word) in word_of_row.items():
        spelled = (*END, *word, *END)
        for length in range(shortest, 6):
            for first in range(len(spelled) - length + 1):
                postings[spelled[first : first + length]][row] += 1
    return Counter(tuple(sorted(rows.items())) for rows in postings.values() if len(rows) >= 2)


def postings_of(found: CharNgrams) -> Counter:
    """The same of what was built; numbers of n-grams mean nothing."""
    assert found.offsets[0] == 0
    assert found.offsets[-1] == len(found.ids)
    assert set(found.ids.tolist()) == set(range(found.n_grams))
    postings: dict[int, Counter] = defaultdict(Counter)
    for row in range(len(found.offsets) - 1):
        for gram in found.ids[found.offsets[row] : found.offsets[row + 1]].tolist():
            postings[gram][row] += 1
    return Counter(tuple(sorted(rows.items())) for rows in postings.values())


def fitted(texts: list[str], **settings_: int) -> WordFeatures:
    return WordFeatures.fit(
        [*texts, "x"], WordConfig(**{"ngrams": 1, "bits": 20, "min_count": 1, **settings_})
    )


@settings(deadline=None, max_examples=150, print_blob=True)
@given(texts=TEXTS, ngrams=st.sampled_from([1, 2]), cls=st.booleans(), shortest=st.sampled_from([2, 3]))
@example(texts=["don't won't WON\u2019T 'won' ''", "anaana banana"], ngrams=2, cls=True, shortest=3)
@example(texts=["x" * 63 + " " + "x" * 64 + " " + "x" * 65, "x" * 200], ngrams=1, cls=False, shortest=2)
@example(texts=["ab" * 40, "ab\x1fab\x85ab\u3000abc", "cab"], ngrams=1, cls=False, shortest=3)
def test_n_grams_are_those_of_the_twin(texts: list[str], ngrams: int, cls: bool, shortest: int) -> None:
    features = fitted(texts, ngrams=ngrams, cls=cls)
    found = CharNgrams.of_words(texts, features, np.zeros(features.n_rows, np.int64), shortest)
    assert len(found.counts) == features.n_rows
    assert postings_of(found) == plain_grams(texts, features, set(), shortest)
    assert len(found.hashes) == found.n_grams
    assert (np.diff(found.hashes.astype(object)) > 0).all()


def test_words_that_share_a_row_and_words_that_are_no_row() -> None:
    texts = [f"prefix{n} other{n}" for n in range(200)]
    crowded = fitted(texts, bits=10)
    assert crowded.n_rows < 380
    assert postings_of(CharNgrams.of_words(texts, crowded, np.zeros(crowded.n_rows, int))) == plain_grams(
        texts, crowded, set()
    )
    known = fitted(texts[:20])
    found = CharNgrams.of_words(texts, known, np.zeros(known.n_rows, int))
    assert postings_of(found) == plain_grams(texts, known, set())
    assert found.n_grams > 5


def test_frequent_words_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["walking walked"] * 6 + ["walks walker"] * 5 + ["talking"]
    features = fitted(texts)
    rows = {word: int(features([word]).ids[0]) for word in ("walking", "walked", "walks", "walker")}
    frequency = document_frequency(features(texts), features.n_rows)
    some = CharNgrams.of_words(texts, features, frequency)  # never in a small corpus
    assert some.counts[list(rows.values())].all()
    monkeypatch.setattr(module, "FREQUENT_TEXTS", 5)
    found = CharNgrams.of_words(texts, features, frequency)
    assert not found.counts[[rows["walking"], rows["walked"]]].any()
    assert found.counts[[rows["walks"], rows["walker"]]].all()
    assert postings_of(found) == plain_grams(texts, features, {rows["walking"], rows["walked"]})
    monkeypatch.setattr(module, "FREQUENT_FRACTION", 0.5)  # six texts of twelve are not more than half
    assert CharNgrams.of_words(texts, features, frequency).counts[rows["walking"]]


def test_no_n_grams() -> None:
    alone = ["word"]
    features = fitted(alone)
    assert CharNgrams.of_words(alone, features, np.zeros(features.n_rows, int)).n_grams == 0  # shared by none
    none = CharNgrams.none(4)
    assert (none.n_grams, none.counts.tolist(), none.rows.tolist()) == (0, [0] * 4, [])
    pieces = WordPieceFeatures(WordPieceConfig(), ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "walk", "walks"))
    assert CharNgrams.of_words(["walk walks"], pieces, np.zeros(6, int)).n_grams == 0


def test_n_grams_bring_as_much_energy_as_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a share of one, before those that tell little are left out; and theirs is information, too."""
    monkeypatch.setattr("token2wave.training.linear_svm.MIN_NGRAM_INFORMATION", 0.0)
    texts = ["walking walked", "walks", "", "talking talked talks", "walks talks"] * 4
    labels = np.array([0, 0, 1, 1, 1] * 4)
    features = fitted(texts)
    found = features(texts)
    examples = replace(Examples.of_texts(texts, labels), features=found)
    problem = LinearSVM(examples, features, 2, 0, char_ngrams=True)
    n_grams = [
        len(problem.char_ngrams.ids[problem.char_ngrams.offsets[row] : problem.char_ngrams.offsets[row + 1]])
        for row in found.ids
    ]
    assert problem.grams_of_a_feature == pytest.approx(sum(n_grams) / len(found.ids))
    frequency = document_frequency(found, features.n_rows, labels, 2)
    counts, usual = np.zeros((problem.char_ngrams.n_grams, 2)), np.array([8, 12]) / 20
    for row, gram in zip(problem.char_ngrams.rows, problem.char_ngrams.ids, strict=True):
        counts[gram] += frequency[row]
    seen = counts.sum(axis=1)
    shares = (counts + 3 * usual) / (seen + 3)[:, None]
    information = (shares * np.log(shares / usual)).sum(axis=1)
    expected = information / ((information * seen).sum() / seen.sum())
    np.testing.assert_allclose(problem.gram_information, expected, rtol=1e-3, atol=1e-5)
    assert expected.max() > 2 * expected.min()
