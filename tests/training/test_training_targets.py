"""Targets in place of labels, with both objectives: native against torch, and both against definitions."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_training_native import RECIPE, SHAPES, SameOrder, config_of, random_texts, twins

from token2wave.core import load_core
from token2wave.models import make_batch
from token2wave.training import loop
from token2wave.training.callbacks import CallbackList
from token2wave.training.examples import Examples
from token2wave.training.native_trainer import NativeTrainer
from token2wave.training.torch_trainer import TorchTrainer
from token2wave.training.validation import Validation, validate

pytestmark = pytest.mark.skipif(load_core() is None, reason="the native core is not built")
N_TEXTS = 50


def with_targets(multi_label: bool, seed: int = 0, weighted: bool = False) -> Examples:
    random = np.random.default_rng(seed)
    features = random_texts(N_TEXTS, 30, seed).features
    targets = random.uniform(0, 1, (N_TEXTS, 3)).astype(np.float32)
    if not multi_label:
        targets /= targets.sum(axis=1, keepdims=True)
    weights = random.uniform(0, 3, N_TEXTS).astype(np.float32) if weighted else None
    positive = np.array([0.5, 1, 7], np.float32) if weighted and multi_label else None
    return Examples(features, targets.argmax(axis=1), weights, targets, positive)


def one_hot(examples: Examples) -> Examples:
    return dataclasses.replace(examples, targets=np.eye(3, dtype=np.float32)[examples.labels])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_training_follows_torch_step_by_step(shape, multi_label, weighted):
    additive, network = twins(config_of(**shape, multi_label=multi_label))
    train = with_targets(multi_label, weighted=weighted)
    native, slow = NativeTrainer(additive, train, RECIPE, 0), TorchTrainer(network, train, RECIPE, 0, False)
    native.random = slow.random = SameOrder()
    for _ in range(RECIPE.epochs):
        (native_loss, native_right), (slow_loss, slow_right) = (
            native.epoch(CallbackList([])),
            slow.epoch(CallbackList([])),
        )
        assert native_loss == pytest.approx(slow_loss, rel=1e-5)
        assert native_right == pytest.approx(slow_right)
    slow.close()
    for name, expected in network.arrays().items():
        np.testing.assert_allclose(additive.arrays()[name], expected, rtol=2e-3, atol=3e-5, err_msg=name)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_one_step_is_the_gradient_of_the_definition(shape, multi_label, weighted):
    recipe = RECIPE.replace(
        epochs=1, batch_size=64, embedding_weighting="none", embedding_lr=1.0, warmup=0.0, decay="constant"
    )
    additive, network = twins(config_of(**shape, multi_label=multi_label))
    train = with_targets(multi_label, seed=3, weighted=weighted)
    before = additive.embedding.copy()
    found, _ = NativeTrainer(additive, train, recipe, 0).epoch(CallbackList([]))
    targets = torch.from_numpy(train.targets) * 0.9 + 0.1 / 3
    logits = network(make_batch(train.features))
    if multi_label:
        positive = torch.from_numpy(train.positive_weights) if weighted else 1.0
        shares = torch.sigmoid(logits)
        losses = -(positive * targets * shares.log() + (1 - targets) * (1 - shares).log()).sum(dim=1)
    else:
        losses = -(targets * F.log_softmax(logits, dim=1)).sum(dim=1)
    loss = (losses * torch.from_numpy(train.weights)).mean() if weighted else losses.mean()
    assert found == pytest.approx(loss.item(), rel=1e-5)
    loss.backward()
    gradient = network.embedding.weight.grad.to_dense().numpy()
    scale = np.abs(gradient).max()
    np.testing.assert_allclose(before - additive.embedding, gradient, rtol=1e-3, atol=1e-4 * scale + 1e-7)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_targets_of_one_class_are_its_label(shape):
    """Bit for bit in the native core, to rounding in torch."""
    labelled = random_texts(N_TEXTS, 30)
    natives, slows = [], []
    for train in (labelled, one_hot(labelled)):
        additive, network = twins(config_of(**shape))
        native, slow = (
            NativeTrainer(additive, train, RECIPE, 0),
            TorchTrainer(network, train, RECIPE, 0, False),
        )
        natives.append((native.epoch(CallbackList([])), additive))
        slows.append((slow.epoch(CallbackList([])), network))
        slow.close()
    assert natives[0][0] == natives[1][0]
    assert np.array_equal(natives[0][1].embedding, natives[1][1].embedding)
    assert np.array_equal(natives[0][1].dense, natives[1][1].dense)
    assert slows[0][0] == pytest.approx(slows[1][0], rel=1e-6)
    for name, expected in slows[0][1].arrays().items():
        np.testing.assert_allclose(slows[1][1].arrays()[name], expected, rtol=1e-3, atol=1e-5, err_msg=name)


def test_enormous_logits_keep_the_loss_finite():
    additive, _ = twins(config_of(width=8, multi_label=True))
    additive.load("head.bias", np.array([1e4, -1e4, 0], np.float32))
    train = with_targets(True)
    expected = validate(additive, train).loss
    recipe = RECIPE.replace(epochs=1, batch_size=64, label_smoothing=0.0, embedding_weighting="none")
    assert NativeTrainer(additive, train, recipe, 0).epoch(CallbackList([]))[0] == pytest.approx(
        expected, rel=1e-5
    )


def test_selected_texts_keep_their_targets():
    train = with_targets(True, weighted=True)
    some = np.array([7, 3, 3])
    taken = train.take(some)
    assert np.array_equal(taken.targets, train.targets[some])
    assert np.array_equal(taken.weights, train.weights[some])
    assert np.array_equal(taken.positive_weights, train.positive_weights)
    assert np.array_equal(taken.labels, train.targets[some].argmax(axis=1))


@pytest.mark.parametrize("weighted", [False, True])
def test_validation_by_definition(weighted):
    """Loops over texts and classes give the figures of texts with several classes."""
    additive, _ = twins(config_of(width=8, multi_label=True))
    additive.load("head.weight", 10 * additive.arrays()["head.weight"])
    examples = with_targets(True, weighted=weighted)
    logits = additive.logits(examples.features).astype(np.float64)
    weights = np.ones(N_TEXTS) if examples.weights is None else examples.weights.astype(np.float64)
    loss = exact = 0.0
    right, given, has = np.zeros(3), np.zeros(3), np.zeros(3)
    for text in range(N_TEXTS):
        share, all_right = weights[text] / weights.sum(), True
        for label in range(3):
            p, target = 1 / (1 + np.exp(-logits[text, label])), examples.targets[text, label]
            loss -= share * (target * np.log(p) + (1 - target) * np.log(1 - p))
            all_right &= (p > 0.5) == (target > 0.5)
            given[label] += weights[text] * (p > 0.5)
            has[label] += weights[text] * (target > 0.5)
            right[label] += weights[text] * (p > 0.5 and target > 0.5)
        exact += share * all_right
    found = validate(additive, examples)
    macro = np.mean([2 * r / (g + h) for r, g, h in zip(right, given, has, strict=True)])
    micro = 2 * right.sum() / (given.sum() + has.sum())
    assert 0 < micro < 1
    assert found == pytest.approx((loss, exact, macro, micro), rel=1e-9)


def test_validation_against_soft_targets():
    additive, _ = twins(config_of(width=8))
    labelled = random_texts(N_TEXTS, 30)
    assert validate(additive, one_hot(labelled)) == pytest.approx(validate(additive, labelled), rel=1e-12)
    soft = with_targets(False)
    shares = np.exp(additive.logits(soft.features).astype(np.float64))
    shares /= shares.sum(axis=1, keepdims=True)
    expected = -(soft.targets * np.log(shares)).sum(axis=1).mean()
    assert validate(additive, soft).loss == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("multi_label", "best"), [(False, 3), (True, 1)])
def test_of_several_labels_micro_f1_chooses_the_epoch_in_place_of_accuracy(monkeypatch, multi_label, best):
    """Few texts have all their labels right, so that accuracy sees little of what is learnt."""
    found = iter(
        [Validation(1.0, 0.1, 0.5, 0.9), Validation(1.0, 0.2, 0.5, 0.8), Validation(1.0, 0.3, 0.5, 0.7)]
    )
    monkeypatch.setattr(loop, "validate", lambda *_: next(found))
    additive, _ = twins(config_of(width=8, multi_label=multi_label))
    train = with_targets(multi_label)
    history = loop.fit(additive, train, train, RECIPE, seed=0, has_cls=False)
    assert history.best.epoch == best
    assert history.best.validation_micro_f1 == 1 - best / 10
