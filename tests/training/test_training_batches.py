"""Batches of training and of prediction."""

import itertools

import numpy as np
import pytest
import torch
from training_data import ragged, toy, toy_network

from token2wave.features import Ragged
from token2wave.models import predict_logits
from token2wave.models import text_network as module
from token2wave.training.batches import training_batches
from token2wave.training.examples import Examples
from token2wave.training.schedule import n_batches


def drawn(features: Ragged, labels: np.ndarray, batch_size: int, **changes: object) -> list:
    """Each batch as texts and labels."""
    settings = {"token_dropout": 0.0, "sentence_ends": (), "has_cls": False, "seed": 0, **changes}
    random = np.random.default_rng(settings.pop("seed"))
    found = []
    for batch, given, *_ in training_batches(
        Examples(features, labels), batch_size, random=random, **settings
    ):
        flat = batch.rows[batch.index]
        offsets = batch.offsets.tolist()
        texts = [flat[a:b].tolist() for a, b in itertools.pairwise(offsets)]
        assert given.dtype == torch.int64
        assert len(texts) == len(given)
        found.append((texts, given.tolist(), batch.ordered_offsets.diff().tolist(), batch))
    return found


def numbered(n_texts: int, length: int = 4) -> tuple[Ragged, np.ndarray]:
    """Text ``i`` is ``[0, i + 1, i + 1, ...]`` and has label ``i``."""
    texts = [[0] + [i + 1] * (i % length) for i in range(n_texts)]
    return ragged(texts), np.arange(n_texts, dtype=np.int64)


@pytest.mark.parametrize(("n_texts", "batch_size"), [(10, 3), (9, 3), (1, 8), (7, 1), (5, 100)])
def test_every_text_comes_once_with_its_label(n_texts, batch_size):
    features, labels = numbered(n_texts)
    found = drawn(features, labels, batch_size)
    assert len(found) == n_batches(n_texts, batch_size)
    sizes = [len(labels) for _, labels, _, _ in found]
    assert all(size == batch_size for size in sizes[:-1])
    seen = [pair for texts, labels, _, _ in found for pair in zip(texts, labels, strict=True)]
    assert sorted(label for _, label in seen) == list(range(n_texts))
    for text, label in seen:
        assert text == [0] + [label + 1] * (label % 4)


def test_the_order_is_random_and_the_seed_decides_it():
    features, labels = numbered(50)

    def order(seed: int) -> list[int]:
        return [label for _, given, _, _ in drawn(features, labels, 7, seed=seed) for label in given]

    assert order(0) == order(0)
    assert order(0) != order(1)
    assert order(0) != sorted(order(0))
    random = np.random.default_rng(0)
    epochs = []
    for _ in range(2):
        batches = training_batches(
            Examples(features, labels), 7, random=random, token_dropout=0.0, sentence_ends=(), has_cls=False
        )
        epochs.append([label for _, given, *_ in batches for label in given.tolist()])
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("has_cls", [False, True])
def test_token_dropout(has_cls):
    texts = [[0] + [1] * 40 for _ in range(200)] + [[], [0]]
    n_ordered = [21] * 200 + [0, 1]
    features, labels = ragged(texts, n_ordered), np.arange(202, dtype=np.int64)
    found = drawn(features, labels, 32, token_dropout=0.3, has_cls=has_cls)
    kept = [text for texts, _, _, _ in found for text in texts]
    ordered = [n for _, _, counts, _ in found for n in counts]
    with_cls = sum(text[:1] == [0] for text in kept)
    assert with_cls == 201 if has_cls else 100 < with_cls < 175
    share = sum(text.count(1) for text in kept) / (200 * 40)
    assert share == pytest.approx(0.7, abs=0.02)
    assert sum(ordered) / (200 * 21) == pytest.approx(0.7, abs=0.03)
    again = drawn(features, labels, 32, token_dropout=0.3, has_cls=has_cls)
    assert [text for texts, _, _, _ in again for text in texts] == kept
    assert all(0 <= n <= len(text) for n, text in zip(ordered, kept, strict=True))


def test_no_token_dropout_leaves_the_features_as_they_are():
    features, labels = numbered(6)
    before = features.ids.copy()
    drawn(features, labels, 2, token_dropout=0.9, has_cls=True)
    assert np.array_equal(features.ids, before)


def test_sentences_are_cut_in_training_too():
    features, labels = ragged([[0, 5, 1, 5, 2]]), np.array([0])
    ((_, _, _, batch),) = drawn(features, labels, 4, sentence_ends=(5,))
    assert batch.sentence_offsets.tolist() == [0, 2, 4, 5]


# Prediction


@pytest.mark.parametrize(
    ("texts", "features"), [(1, 1), (2, 10**6), (3, 7), (10**6, 1), (10**6, 30), (4, 12)]
)
def test_logits_do_not_depend_on_the_bounds_of_batches(monkeypatch, texts, features):
    examples, network = toy(40), toy_network(context_width=4)
    lengths = np.array([0, 1, 6, 3])
    mask = np.concatenate([np.arange(6) < lengths[i % 4] for i in range(40)])
    some = examples.features.keep(mask)  # lengths 0, 1, 6, 3, 0, 1, ...
    expected = predict_logits(network, some)
    monkeypatch.setattr(module, "FEATURES_CHUNK", features)
    bounds = module._batch_bounds(some, texts)
    assert bounds[0] == 0
    assert bounds[-1] == 40
    for first, last in itertools.pairwise(bounds):
        assert 1 <= last - first <= texts
        assert last - first == 1 or some.offsets[last] - some.offsets[first] <= features
    actual = predict_logits(network, some, texts)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_prediction_of_no_text_and_of_empty_ones():
    network = toy_network().train()
    none = predict_logits(network, ragged([]))
    assert none.shape == (0, 3)
    assert none.dtype == np.float32
    assert not network.training
    assert predict_logits(network, ragged([[], []])).shape == (2, 3)


def test_prediction_of_a_text_longer_than_a_batch():
    network = toy_network()
    long = [1, 2, 3] * 30_000
    logits = predict_logits(network, ragged([[1, 2], long, [4]]))
    assert np.isfinite(logits).all()
    np.testing.assert_allclose(logits[1], predict_logits(network, ragged([[1, 2, 3]]))[0], atol=2e-3)
    np.testing.assert_allclose(logits[2], predict_logits(network, ragged([[4]]))[0], atol=1e-5)


def test_prediction_cuts_sentences_as_the_network_says():
    network = toy_network(variants="levels", readout="mean", sentence_ends=(5,))
    uncut = toy_network(variants="levels", readout="mean")
    features = ragged([[1, 5, 2, 3]])
    assert np.abs(predict_logits(network, features) - predict_logits(uncut, features)).max() > 1e-4


def test_a_context_level_keeps_the_words_that_are_left_out():
    features = ragged([[1, 2, 3, 4, 5]] * 40, [3] * 40)
    labels = np.zeros(40, dtype=np.int64)
    ((texts, _, n_ordered, batch),) = drawn(features, labels, 40, token_dropout=0.5, keeps_order=True)
    assert n_ordered == [3] * 40
    assert batch.rows[batch.ordered].tolist() == [1, 2, 3] * 40
    kept = [len(text) for text in texts]
    assert 60 < sum(kept) < 140
    ((same, _, _, _),) = drawn(features, labels, 40, token_dropout=0.5)
    assert same == texts


@pytest.mark.parametrize("rank_of", [None, (1, 2)])
def test_excerpts_lie_anywhere_in_the_reading_order(rank_of):
    """Every start is drawn; the words are neighbours; the text wave sees all features."""
    features = ragged([[1, 2, 3, 4, 5, 9], [6, 7], []] * 60, [5, 2, 0] * 60)
    labels, seen = np.zeros(180, dtype=np.int64), set()
    batches = training_batches(
        Examples(features, labels), 180, random=np.random.default_rng(1), token_dropout=0.0, sentence_ends=(),
        has_cls=False, keeps_order=True, context_words=3, rank_of=rank_of,
    )  # fmt: skip
    ((batch, *_),) = batches
    ordered, offsets = batch.rows[batch.ordered].tolist(), batch.ordered_offsets.tolist()
    for text in range(len(batch.offsets) - 1):
        words = tuple(ordered[offsets[text] : offsets[text + 1]])
        tokens = batch.rows[batch.index[batch.offsets[text] : batch.offsets[text + 1]]].tolist()
        seen.add((words, tuple(tokens)))
    whole = (1, 2, 3, 4, 5, 9)
    assert seen == {((1, 2, 3), whole), ((2, 3, 4), whole), ((3, 4, 5), whole), ((6, 7), (6, 7)), ((), ())}
