"""The native trainer against the trainer in torch, and against itself with other threads."""

import dataclasses
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from training_data import ragged, toy

from token2wave.core import load_core
from token2wave.features import Ragged
from token2wave.inference import compiled as tables
from token2wave.inference import reference
from token2wave.models import WaveConfig, WaveNetwork, make_batch
from token2wave.training import native_trainer
from token2wave.training.additive_network import AdditiveNetwork
from token2wave.training.callbacks import Callback, CallbackList
from token2wave.training.examples import Examples
from token2wave.training.loop import fit
from token2wave.training.native_trainer import NativeTrainer, trains_natively
from token2wave.training.recipe import Recipe
from token2wave.training.torch_trainer import TorchTrainer

pytestmark = pytest.mark.skipif(load_core() is None, reason="the native core is not built")

RECIPE = Recipe(
    epochs=3,
    batch_size=16,
    lr=3e-3,
    weight_decay=0.02,
    embedding_optimizer="sgd",
    embedding_lr=5.0,
    embedding_weighting="idf",
    label_smoothing=0.1,
    precision="float32",
)
SHAPES = [
    {"width": 8},
    {"width": 8, "operation": "modulation", "embedding_scale": 1.0},
    {"width": 24, "context_width": 8, "context_radius": 1},
    {"width": 40, "context_width": 16, "context_radius": 3, "operation": "modulation"},
]
MANY_CLASSES = {"width": 8, "n_classes": 1101}  # products of several blocks


def config_of(n_rows: int = 30, n_classes: int = 3, dropout: float = 0.0, **shape: object) -> WaveConfig:
    settings = {"operation": "interference", **shape}
    return WaveConfig(n_rows, n_classes, variants="rows", readout="text", dropout=dropout, **settings)


def random_texts(n_texts: int, n_rows: int, seed: int = 0, longest: int = 12) -> Examples:
    """Texts of any length, empty ones and repetitions among them; words first, then a bag."""
    random = np.random.default_rng(seed)
    texts = [random.integers(0, n_rows, random.integers(0, longest + 1)).tolist() for _ in range(n_texts)]
    texts[:3] = [[], [1], [2] * 7]
    ordered = [int(random.integers(0, len(text) + 1)) for text in texts]
    return Examples(ragged(texts, ordered), random.integers(0, 3, n_texts))


def twins(config: WaveConfig, seed: int = 0) -> tuple[AdditiveNetwork, WaveNetwork]:
    additive = AdditiveNetwork.initial(config, seed)
    network = WaveNetwork(config)
    network.load_state_dict({name: torch.from_numpy(a.copy()) for name, a in additive.arrays().items()})
    return additive, network


def random_bits(key: int, counter: int) -> int:
    """SplitMix64, as the core draws."""
    bits = (key + (counter + 1) * 0x9E3779B97F4A7C15) % 2**64
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EB % 2**64
    return bits ^ bits >> 31


class SameOrder:
    """Gives both trainers the same order of the texts, and leaves every feature out where some are.

    The excerpts of each step are those that the core draws with seed 0.
    """

    step = 0

    def permutation(self, n: int) -> np.ndarray:
        return np.arange(n)[::-1].copy()

    def random(self, n: int, dtype: object) -> np.ndarray:
        return np.zeros(n, dtype)

    def integers(self, low: int, ends: np.ndarray) -> np.ndarray:
        assert low == 0
        key, self.step = random_bits(0, self.step), self.step + 1
        bits = [random_bits(2**64 - 1 - random_bits(key, text), 0) for text in range(len(ends))]
        return np.array([number % end for number, end in zip(bits, ends.tolist(), strict=True)])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_logits_equal_those_of_torch_and_of_numpy(shape):
    additive, network = twins(config_of(**shape))
    features = random_texts(150, 30).features
    expected = network.logits(features)
    np.testing.assert_allclose(additive.logits(features), expected, rtol=1e-5, atol=2e-6)
    found = reference.logits_of_features(additive.config, additive.arrays(), features)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("shape", [*SHAPES, MANY_CLASSES], ids=str)
@pytest.mark.parametrize(
    "changes",
    [
        {"embedding_weighting": "none"},
        {"embedding_weighting": "idf"},
        {"token_dropout": 1 - 2**-24},  # nothing is left but the words of the context branch
        {"context_words": 5},
        {"context_words": 3, "token_dropout": 1 - 2**-24},
    ],
    ids=str,
)
@pytest.mark.parametrize("weighted", [False, True])
def test_training_follows_torch_step_by_step(shape, changes, weighted):
    recipe = RECIPE.replace(**changes)
    additive, network = twins(config_of(**shape))
    train = random_texts(50, 30)
    if weighted:
        weights = np.random.default_rng(2).uniform(0, 3, 50).astype(np.float32)
        train = dataclasses.replace(train, weights=weights)
    native, slow = NativeTrainer(additive, train, recipe, 0), TorchTrainer(network, train, recipe, 0, False)
    native.random = slow.random = SameOrder()
    for _ in range(recipe.epochs):
        native_loss, native_accuracy = native.epoch(CallbackList([]))
        slow_loss, slow_accuracy = slow.epoch(CallbackList([]))
        assert native_loss == pytest.approx(slow_loss, rel=1e-5)
        assert native_accuracy == pytest.approx(slow_accuracy)
    slow.close()
    for name, expected in network.arrays().items():
        np.testing.assert_allclose(additive.arrays()[name], expected, rtol=2e-3, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("shape", [*SHAPES, MANY_CLASSES], ids=str)
def test_one_step_is_the_gradient_of_torch(shape):
    """A rate of one in plain gradient descent leaves the gradient itself, for every row."""
    recipe = RECIPE.replace(
        epochs=1, batch_size=64, embedding_weighting="none", embedding_lr=1.0, warmup=0.0, decay="constant"
    )
    additive, network = twins(config_of(**shape))
    train = random_texts(60, 30, seed=3)
    before = additive.embedding.copy()
    NativeTrainer(additive, train, recipe, 0).epoch(CallbackList([]))
    loss = F.cross_entropy(
        network(make_batch(train.features)), torch.from_numpy(train.labels), label_smoothing=0.1
    )
    loss.backward()
    gradient = network.embedding.weight.grad.to_dense().numpy()
    scale = np.abs(gradient).max()
    np.testing.assert_allclose(before - additive.embedding, gradient, rtol=1e-3, atol=1e-4 * scale + 1e-7)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_number_of_threads_changes_no_bit(monkeypatch, shape):
    def weights(threads: int) -> dict[str, np.ndarray]:
        monkeypatch.setattr(native_trainer, "n_threads", lambda: threads)
        network = AdditiveNetwork.initial(config_of(dropout=0.3, **shape), 0)
        recipe = RECIPE.replace(token_dropout=0.3, context_words=6)
        fit(network, random_texts(90, 30), None, recipe, seed=5, has_cls=False)
        return network.arrays()

    one, three = weights(1), weights(3)
    assert all(np.array_equal(one[name], three[name]) for name in one)


def test_the_seed_decides():
    def weights(seed: int) -> np.ndarray:
        network = AdditiveNetwork.initial(config_of(width=8, dropout=0.3), 0)
        recipe = RECIPE.replace(token_dropout=0.3)
        fit(network, random_texts(60, 30), None, recipe, seed=seed, has_cls=False)
        return network.embedding

    assert np.array_equal(weights(1), weights(1))
    assert not np.array_equal(weights(1), weights(2))


def test_dropped_features_are_as_many_as_asked_for():
    """Rows that nobody kept do not move: with one feature a text, the share that moves is 1 - p."""
    n = 4_000
    texts = Examples(ragged([[i] for i in range(n)]), np.arange(n) % 3)
    for share in (0.0, 0.25, 0.9):
        network = AdditiveNetwork.initial(config_of(n_rows=n, width=8), 0)
        before = network.embedding.copy()
        recipe = RECIPE.replace(epochs=1, token_dropout=share, embedding_weighting="none", embedding_lr=50.0)
        NativeTrainer(network, texts, recipe, 0).epoch(CallbackList([]))
        moved = float((network.embedding != before).any(axis=1).mean())
        assert moved == pytest.approx(1 - share, abs=4 * math.sqrt(0.25 / n) + 1e-9)


@pytest.mark.parametrize("context_width", [0, 8])
def test_dropout_is_unbiased_noise(context_width):
    """At rates of nearly zero the mean loss with dropout is near, but not at, the loss without it."""
    recipe = RECIPE.replace(epochs=1, lr=1e-30, embedding_lr=1e-30, embedding_weighting="none")
    train = random_texts(2_000, 30)

    def loss(dropout: float) -> float:
        network = AdditiveNetwork.initial(
            config_of(dropout=dropout, width=32, context_width=context_width), 0
        )
        return NativeTrainer(network, train, recipe, 0).epoch(CallbackList([]))[0]

    without, with_dropout = loss(0.0), loss(0.3)
    assert with_dropout != without
    assert with_dropout == pytest.approx(without, rel=0.1)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_separable_problem_is_learnt(shape):
    network = AdditiveNetwork.initial(config_of(n_rows=13, **shape), 0)
    recipe = RECIPE.replace(epochs=12, label_smoothing=0.0)
    history = fit(network, toy(90), toy(30, seed=1), recipe, seed=0, has_cls=False)
    assert history.best.validation_accuracy == 1.0
    assert history.best.validation_loss < 0.2


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.lists(st.integers(0, 8), max_size=20), min_size=1, max_size=20),
    words=st.integers(0, 20),
    shape=st.sampled_from(SHAPES),
    batch_size=st.integers(1, 30),
)
def test_any_texts_can_be_trained_on(texts, words, shape, batch_size):
    features = ragged(texts, [min(words, len(text)) for text in texts])
    train = Examples(features, np.arange(len(texts)) % 3)
    additive, network = twins(config_of(n_rows=9, **shape))
    recipe = RECIPE.replace(epochs=1, batch_size=batch_size)
    native, slow = NativeTrainer(additive, train, recipe, 0), TorchTrainer(network, train, recipe, 0, False)
    native.random = slow.random = SameOrder()
    assert native.epoch(CallbackList([]))[0] == pytest.approx(slow.epoch(CallbackList([]))[0], rel=1e-4)
    slow.close()
    np.testing.assert_allclose(additive.logits(features), network.logits(features), rtol=5e-3, atol=5e-3)


def test_a_text_that_repeats_one_token_has_no_deviation():
    network = AdditiveNetwork.initial(config_of(width=8), 0)
    many = ragged([[4] * 1_000, [4]])
    once = network.logits(many)
    np.testing.assert_allclose(once[0], once[1], rtol=0, atol=1e-6)


def test_a_long_text():
    additive, network = twins(config_of(width=8, context_width=8))
    random = np.random.default_rng(0)
    features = ragged([random.integers(0, 30, 100_000).tolist(), [1, 2]])
    np.testing.assert_allclose(additive.logits(features), network.logits(features), rtol=1e-3, atol=1e-4)


def test_progress_is_told():
    told: list[tuple[str, float]] = []

    class Listener(Callback):
        def on_advance(self, amount: int) -> None:
            told.append(("steps", amount))

        def on_loss(self, loss: float, texts_per_second: float) -> None:
            assert loss > 0
            assert texts_per_second > 0

    train = random_texts(60, 30)
    fit(AdditiveNetwork.initial(config_of(width=8), 0), train, None, RECIPE, seed=0, has_cls=False,
        callbacks=[Listener()])  # fmt: skip
    assert sum(amount for _, amount in told) == RECIPE.epochs * 4


@pytest.mark.parametrize("context_width", [0, 8])
@pytest.mark.parametrize("embedding_weighting", ["none", "idf"])
def test_rates_that_are_too_large_give_what_smaller_ones_give(context_width, embedding_weighting):
    config = config_of(width=8, context_width=context_width, n_rows=13)
    large = RECIPE.replace(lr=1e9, embedding_lr=1e9, embedding_weighting=embedding_weighting)

    def fitted(recipe):
        network = AdditiveNetwork.initial(config, 3)
        return network, fit(network, toy(60), toy(30, seed=1), recipe, seed=0, has_cls=False)

    network, history = fitted(large)
    again, unhindered = fitted(large.with_lr_factor(history.lr_factor))
    assert 0 < history.lr_factor < 1 == unhindered.lr_factor
    assert history.epochs == unhindered.epochs
    assert np.array_equal(network.embedding, again.embedding)
    assert np.array_equal(network.dense, again.dense)


@pytest.mark.parametrize("part", ["embedding", "dense"])
@pytest.mark.parametrize("value", [np.inf, np.nan, 1e30])
def test_energy_tells_of_any_weight_that_is_not_finite(part, value):
    network = AdditiveNetwork.initial(config_of(width=8), 0)
    trainer = NativeTrainer(network, random_texts(60, 30), RECIPE, 0)
    before = trainer.energy()
    squares = np.square(network.embedding).sum() + np.square(network.dense).sum()
    assert before == pytest.approx(squares, rel=1e-4)
    getattr(network, part).flat[-1] = value
    assert not np.isfinite(trainer.energy())


def test_only_what_a_seed_has_drawn_can_be_drawn_again():
    network = AdditiveNetwork.initial(config_of(width=8), 5)
    arrays = {name: values.copy() for name, values in network.arrays().items()}
    network.embedding += 1
    network.dense += 1
    network.draw_again()
    assert all(np.array_equal(values, arrays[name]) for name, values in network.arrays().items())
    with pytest.raises(ValueError, match="seed"):
        AdditiveNetwork(network.config, arrays).draw_again()


def test_which_networks_are_trained_natively(monkeypatch):
    config = config_of(width=8)
    assert trains_natively(config, RECIPE, False)
    assert not trains_natively(config, RECIPE, True)
    assert not trains_natively(config, RECIPE.replace(embedding_optimizer="adam"), False)
    assert not trains_natively(config, RECIPE.replace(precision="bfloat16"), False)
    assert not trains_natively(config_of(width=12), RECIPE, False)
    assert not trains_natively(WaveConfig(9, 3, width=8, readout="text"), RECIPE, False)
    with pytest.raises(ValueError, match="cannot train"):
        NativeTrainer(AdditiveNetwork.initial(config_of(width=12), 0), toy(9), RECIPE, 0)
    monkeypatch.setenv("TOKEN2WAVE_NATIVE", "0")
    assert not trains_natively(config, RECIPE, False)


def arguments(**changes: object) -> tuple[object, ...]:
    """Legal arguments of the core's ``train`` but for the changes."""
    network = AdditiveNetwork.initial(config_of(n_rows=4, width=8, context_width=8), 0)
    texts = ragged([[0, 1, 2], [3]])
    parts = {
        "shape": tables.native_shape(network.config),
        "embedding": network.embedding,
        "dense": network.dense,
        "slots": np.full(4, -1, np.int32),
        "ids": texts.ids,
        "offsets": texts.offsets,
        "n_ordered": texts.n_ordered,
        "labels": np.array([0, 2]),
        "targets": np.zeros(0, np.float32),
        "order": np.array([1, 0]),
        "factors": np.ones(1, np.float32),
        "weights": np.ones(2, np.float32),
        "positive_weights": np.zeros(0, np.float32),
        **changes,
    }
    rates = np.ones(4, np.float32)
    return (
        parts["shape"],
        (parts["embedding"], parts["dense"], network.dense * 0, network.dense * 0, parts["slots"]),
        (
            parts["ids"],
            parts["offsets"],
            parts["n_ordered"],
            parts["labels"],
            parts["targets"],
            parts["order"],
        ),
        (rates, parts["factors"], parts["weights"], parts["positive_weights"], 1.0, 0.0, 0.0, 0.0),
        (1e-3, 0.0, 0.9, 0.999, 1e-8),
        (2, 0, 0, 0),
        1,
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": (4, 3, 8, 8, 1, False, False, False, 0, False, False, 0), "dense": np.zeros(7, np.float32)},
        {"shape": (5, 3, 8, 8, 3, False, False, False, 0, False, False, 0)},
        {"shape": (4, 3, 12, 8, 3, False, False, False, 0, False, False, 0)},
        {"shape": (4, 3, 8, 8, 0, False, False, False, 0, False, False, 0)},
        {"shape": (4, -3, 8, 8, 3, False, False, False, 0, False, False, 0)},
        {"shape": (4, 3, 8, 8, 3, False, True, False, 0, False, False, 0)},
        {"shape": (4, 3, 8, 8, 3, False, False, True, 0, False, False, 0)},
        {"shape": (4, 3, 8, 8, 3, False, False, False, 1, False, False, 0)},
        {"slots": np.zeros(3, np.int32)},
        {"ids": np.array([0, 1, 4, 3], np.int32)},
        {"ids": np.array([0, 1, 2, 3])},
        {"ids": np.array([0, 1, -1, 3], np.int32)},
        {"offsets": np.array([0, 3, 5])},
        {"offsets": np.array([0, 3])},
        {"offsets": np.array([0, 5, 4])},
        {"offsets": np.array([-1, 3, 4])},
        {"n_ordered": np.array([4, 1])},
        {"n_ordered": np.array([-1, 1])},
        {"labels": np.array([0, 3])},
        {"labels": np.array([0])},
        {"order": np.array([0, 2])},
        {"order": np.array([-1])},
        {"factors": np.ones(2, np.float32)},
        {"weights": np.ones(3, np.float32)},
        {"targets": np.ones((2, 2), np.float32)},
        {"targets": np.ones(2, np.float32)},
        {"positive_weights": np.ones(2, np.float32)},
    ],
    ids=str,
)
def test_arguments_that_do_not_fit_are_refused(changes):
    load_core().train(*arguments())
    with pytest.raises(ValueError, match=r"wrong size|do not fit|multiples of eight|network of rows"):
        load_core().train(*arguments(**changes))


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize("change", [lambda part: part[:-1], lambda part: (*part, 1)], ids=["short", "long"])
def test_tuples_of_another_length_are_refused(place, change):
    given = list(arguments())
    given[place] = change(given[place])
    with pytest.raises(TypeError):
        load_core().train(*given)


def test_features_alone_keep_their_order_of_words():
    """Words and bag differ: the phrase level sees the words alone."""
    network = AdditiveNetwork.initial(config_of(width=8, context_width=8), 0)
    texts = [[3, 4, 5, 6]]
    logits = [network.logits(ragged(texts, [n]))[0] for n in (4, 3)]
    assert not np.allclose(logits[0], logits[1])
    assert isinstance(ragged(texts), Ragged)


def test_several_threads_may_predict_at_once():
    network = AdditiveNetwork.initial(config_of(n_rows=3_000, width=8, context_width=8), 0).compiled()
    texts = [random_texts(60, 3_000, seed=seed, longest=200).features for seed in range(12)]
    expected = [AdditiveNetwork(network.config, network.arrays()).logits(features) for features in texts]
    with ThreadPoolExecutor(6) as pool:
        for _ in range(5):
            for found, wanted in zip(pool.map(network.logits, texts), expected, strict=True):
                assert np.array_equal(found, wanted)


def test_predictions_do_not_depend_on_the_number_of_threads(monkeypatch):
    network = AdditiveNetwork.initial(config_of(width=8, context_width=8), 0)
    features = random_texts(500, 30).features
    logits = []
    for threads in (1, 3):
        monkeypatch.setattr(tables, "n_threads", lambda threads=threads: threads)
        logits.append(network.logits(features))
    assert np.array_equal(logits[0], logits[1])


def test_a_batch_may_be_larger_than_the_texts_are_many():
    train = random_texts(20, 30)
    losses = []
    for batch_size in (20, 1 << 30):
        network = AdditiveNetwork.initial(config_of(width=8), 0)
        recipe = RECIPE.replace(epochs=1, batch_size=batch_size)
        losses.append(NativeTrainer(network, train, recipe, 0).epoch(CallbackList([]))[0])
    assert losses[0] == losses[1]


def test_starting_over_gives_rows_that_were_not_drawn_back():
    config = WaveConfig(13, 3, width=8, variants="rows", readout="text", operation="interference")
    network = AdditiveNetwork.initial(config, seed=0)
    network.embedding[...] = 0.25
    network.seed = None
    recipe = RECIPE.replace(embedding_weighting="idf")
    trainer = NativeTrainer(network, toy(60), recipe, 0)
    begun = network.embedding.copy()
    trainer.epoch(CallbackList([]))
    trainer.reset(recipe)
    np.testing.assert_array_equal(network.embedding, begun)
