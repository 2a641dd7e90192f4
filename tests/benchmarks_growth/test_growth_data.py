"""Made-up batches and texts."""

from collections import Counter

import numpy as np
import pytest
import torch
from growth_data import (
    VocabularyBatches,
    Zipf,
    made_up_rows,
    made_up_texts,
    made_up_words,
    news_lengths,
    unrepeated_features,
    zipf_features,
)
from growth_plan import VocabularyNetwork
from growth_vocabulary import DENSE, ROW_ADAM, ROW_SGD, torch_steps

from token2wave.models import WaveConfig, WaveNetwork, make_batch


def test_ranks_are_as_frequent_as_they_should_be():
    ranks = Zipf(50).draw(np.random.default_rng(0), 200_000)
    shares = 1 / (np.arange(1, 51) + 2.7)
    shares /= shares.sum()
    found = np.bincount(ranks, minlength=50) / len(ranks)
    assert len(found) == 50
    np.testing.assert_allclose(found, shares, atol=5 * np.sqrt(shares.max() / len(ranks)))


def test_texts_begin_with_cls_and_nothing_else_is_cls():
    random = np.random.default_rng(0)
    features = zipf_features(random, news_lengths(random, 40, 50), 100)
    starts = features.offsets[:-1]
    assert (features.ids[starts] == 0).all()
    assert (np.delete(features.ids, starts) > 0).all()
    assert features.ids.max() < 100


def test_lengths_are_like_news():
    lengths = news_lengths(np.random.default_rng(0), 10_000, 50)
    assert np.median(lengths) == pytest.approx(50, abs=1)
    assert 8 <= lengths.min() < 30 < 80 < lengths.max() <= 300


def test_no_token_repeats_where_none_shall():
    features = unrepeated_features(np.random.default_rng(0), 3, 50)
    assert sorted(features.ids) == list(range(150))
    assert features.lengths.tolist() == [50] * 3


def test_batches_have_the_same_distinct_rows_at_every_vocabulary():
    batches = VocabularyBatches.draw(0, 3, 16, 50, 500, has_cls=True)
    ranks = [make_batch(part) for part in batches.ranks]
    for n_rows in (500, 3_000, 100_000):
        rows = batches.rows_of_ranks(n_rows, 0)
        assert len(np.unique(rows)) == 500
        assert rows.max() < n_rows
        assert rows.max() > 0.9 * n_rows  # all over the table
        made = [make_batch(part) for part in batches.in_table(rows)]
        assert [len(batch.rows) for batch in made] == [len(batch.rows) for batch in ranks]
        for batch, rank in zip(made, ranks, strict=True):
            tokens = torch.from_numpy(rows).long()[rank.rows[rank.index]]
            assert torch.equal(batch.rows[batch.index], tokens)
            assert torch.equal(batch.offsets, rank.offsets)


@pytest.mark.parametrize("name", [ROW_ADAM, ROW_SGD, DENSE])
@pytest.mark.parametrize("readout", ["text", "cls"])
def test_steps_compute_the_same_at_every_vocabulary(name, readout):
    shape = VocabularyNetwork(8, readout, (name,))
    batches = VocabularyBatches.draw(0, 2, 8, 20, 60, has_cls=readout == "cls")
    found = []
    for n_rows in (60, 2_000):
        losses = []
        rows = batches.rows_of_ranks(n_rows, 0)
        torch_steps(name, shape, n_rows, rows, batches.in_table(rows), 0, losses)(5)
        found.append(losses)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)
    assert len(set(found[0])) == 5  # it learns


def test_tokens_by_themselves_give_the_same_logits():
    random = np.random.default_rng(0)
    features = zipf_features(random, np.array([5, 30, 9]), 40)
    torch.manual_seed(0)
    network = WaveNetwork(WaveConfig(n_rows=40, n_classes=3, width=8)).eval()
    once, each = make_batch(features), make_batch(features).of_every_token()
    assert len(once.rows) < len(each.rows) == 44
    torch.testing.assert_close(network(each), network(once))


def test_texts_are_made_quickly_of_the_words():
    texts = made_up_texts(0, 300, 1_000)
    words = set(made_up_words(0, 1_000).tolist())
    assert len(words) == 1_000
    assert len(texts) == 300
    assert {word for text in texts for word in text.split(" ")} <= words
    assert np.median([text.count(" ") + 1 for text in texts]) == pytest.approx(40, abs=3)
    assert texts == made_up_texts(0, 300, 1_000)
    assert texts != made_up_texts(1, 300, 1_000)


def test_made_up_rows_have_classes_of_one_size_that_words_tell():
    texts, labels = made_up_rows(0, 300, 1_000, 3, 20)
    assert (texts, labels) == made_up_rows(0, 300, 1_000, 3, 20)
    assert Counter(labels) == {"class 0": 100, "class 1": 100, "class 2": 100}
    assert np.median([text.count(" ") + 1 for text in texts]) == pytest.approx(20, abs=2)
    words = {label: Counter() for label in set(labels)}
    for text, label in zip(texts, labels, strict=True):
        words[label].update(set(text.split(" ")))
    tells = {
        label: sum(n > 30 and sum(w[word] for w in words.values()) < n + 10 for word, n in own.items())
        for label, own in words.items()
    }
    assert min(tells.values()) >= 5
