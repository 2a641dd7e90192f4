"""Weights of levels against a slow twin, and what calibration does to a trained network."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from training_data import ragged

from token2wave.features import Ragged
from token2wave.inference.reference import probabilities
from token2wave.metrics import expected_calibration_error
from token2wave.models import WaveConfig, WaveNetwork
from token2wave.training import calibration
from token2wave.training.additive_network import AdditiveNetwork
from token2wave.training.calibration import (
    DOUBT,
    branch_logits,
    calibrate,
    fit_grades,
    fit_weights,
    mix_logits,
    scale_branches,
)
from token2wave.training.examples import NO_FEATURES, Examples
from token2wave.training.validation import validate


def loss_of(weights: torch.Tensor, levels: np.ndarray, labels: np.ndarray) -> torch.Tensor:
    logits = torch.tensordot(weights, torch.from_numpy(levels), dims=1)
    return F.cross_entropy(logits, torch.from_numpy(labels), reduction="sum") + ((weights - 1) ** 2).sum()


@settings(deadline=None, max_examples=60)
@given(
    n_levels=st.integers(1, 3),
    n_texts=st.integers(1, 40),
    n_classes=st.integers(2, 6),
    scale=st.sampled_from([0.0, 1e-3, 1.0, 30.0, 1e3]),
    same=st.booleans(),
    seed=st.integers(0, 1_000),
)
def test_no_change_of_the_weights_lowers_the_loss(n_levels, n_texts, n_classes, scale, same, seed):
    random = np.random.default_rng(seed)
    levels = scale * random.standard_normal((n_levels, n_texts, n_classes))
    if same:  # levels that contradict each other
        levels[1:] = -levels[:1] + 0.3 * levels[1:]
    labels = random.integers(0, n_classes, n_texts)
    weights = fit_weights(levels, labels)
    found = torch.tensor(weights, dtype=torch.float64, requires_grad=True)
    assert (found >= 0).all()
    assert found.sum() > 0
    loss = loss_of(found, levels, labels)
    (gradient,) = torch.autograd.grad(loss, found)
    tolerance = 1e-3 * (float(np.abs(levels).sum(axis=(1, 2)).max()) + 1)
    if weights == (DOUBT,) * n_levels:  # no level alone is better than nothing
        at_zero = torch.zeros(n_levels, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(loss_of(at_zero, levels, labels), at_zero)
        assert (gradient > -tolerance).all()
        return
    free = found.detach() > 0
    assert gradient[free].abs().max().item() < tolerance
    assert (gradient[~free] > -tolerance).all()
    ones = loss_of(torch.ones(n_levels, dtype=torch.float64), levels, labels).item()
    assert loss.item() <= ones * (1 + 1e-9) + 1e-9


def test_a_text_of_weight_two_counts_as_two():
    random = np.random.default_rng(1)
    levels, labels = random.standard_normal((2, 30, 3)), random.integers(0, 3, 30)
    counts = np.arange(30) % 3
    repeated = np.repeat(np.arange(30), counts)
    expected = fit_weights(levels[:, repeated], labels[repeated])
    assert fit_weights(levels, labels, counts.astype(np.float32)) == pytest.approx(expected, abs=1e-6)


def test_known_weights_are_found_again():
    random = np.random.default_rng(0)
    levels = 2 * random.standard_normal((2, 60_000, 3))
    shares = probabilities(0.5 * levels[0] + 1.5 * levels[1], multi_label=False)
    labels = (random.random((60_000, 1)) > shares.cumsum(axis=1)).sum(axis=1)
    assert fit_weights(levels, labels) == pytest.approx((0.5, 1.5), abs=0.03)


def test_a_level_that_misleads_is_left_out():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 500)
    right = np.eye(2)[labels] + random.standard_normal((500, 2))
    weights = fit_weights(np.stack([right, -np.eye(2)[labels]]), labels)
    assert weights[1] == 0
    assert weights[0] > 0


def test_levels_that_are_all_worse_than_chance_decide_as_before():
    wrong = np.array([[[50.0, 0.0, 1.0]], [[20.0, 0.0, 1.0]]])
    assert fit_weights(wrong, np.array([1])) == (DOUBT, DOUBT)


def test_few_texts_that_are_all_right_leave_the_weights_finite():
    assert 1 <= fit_weights(np.array([[[5.0, 0.0], [0.0, 5.0]]]), np.array([0, 1]))[0] < 2


def examples(n_texts: int, seed: int) -> Examples:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, n_texts)
    texts = [[int(label), *random.integers(0, 12, 5).tolist()] for label in labels]
    return Examples(ragged(texts, [4] * n_texts), labels)


@pytest.mark.parametrize("context_width", [0, 8])
@pytest.mark.parametrize("kind", ["additive", "torch"])
def test_both_kinds_of_network_are_weighed_in_place(kind, context_width):
    config = WaveConfig(
        12, 3, width=8, context_width=context_width, variants="rows", readout="text", embedding_scale=1.0
    )
    network = AdditiveNetwork.initial(config, 0) if kind == "additive" else WaveNetwork(config)
    held_out = examples(200, 1)
    before = network.logits(held_out.features)
    levels = branch_logits(network, held_out.features)
    assert len(levels) == 1 + (context_width > 0)
    np.testing.assert_allclose(levels.sum(axis=0), before, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(network.logits(held_out.features), before)  # asking changes nothing
    worse = validate(network, held_out)[0]
    weights = calibrate(network, held_out)
    expected = np.tensordot(weights, levels, axes=1)
    np.testing.assert_allclose(network.logits(held_out.features), expected, rtol=1e-4, atol=1e-5)
    assert validate(network, held_out)[0] <= worse + 1e-6
    scale_branches(network, [0.0] * len(levels))
    assert not network.logits(held_out.features).any()


def test_enough_texts_weigh_the_branches(monkeypatch):
    config = WaveConfig(12, 3, width=8, variants="rows", readout="text", embedding_scale=1.0)
    held_out, sizes = examples(200, 1), []

    def fit_and_note(logits: Any, *others: Any) -> tuple[float, ...]:
        sizes.append(logits.shape)
        return fit_weights(logits, *others)

    monkeypatch.setattr(calibration, "fit_weights", fit_and_note)
    calibrate(AdditiveNetwork.initial(config, 0), held_out)
    monkeypatch.setattr(calibration, "MAX_LOGITS", 300)
    of_few = calibrate(AdditiveNetwork.initial(config, 0), held_out)
    assert sizes == [(1, 200, 3), (1, 100, 3)]
    assert calibrate(AdditiveNetwork.initial(config, 0), held_out) == of_few


def test_calibration_error_by_hand():
    shares = np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.5, 0.5]])
    truth = np.array([0, 1, 1, 0])
    # Bins of 0.9 (two texts, one right), of 0.7 (right) and of 0.5 (right).
    assert expected_calibration_error(shares, truth) == pytest.approx((0.8 + 0.3 + 0.5) / 4)
    assert expected_calibration_error(np.eye(2), np.array([0, 1])) == 0
    assert expected_calibration_error(np.zeros((0, 2)), np.zeros(0, dtype=np.int64)) == 0


class _Fixed:
    """A network with given logits."""

    def __init__(self, logits: Any) -> None:
        self.values = logits
        self.config = WaveConfig(4, logits.shape[1], width=8, variants="rows", readout="text")

    def logits(self, _: Any) -> Any:
        return self.values


def grades_logits(names: list[str], ordered: bool) -> tuple[_Fixed, Examples]:
    """Logits of 600 texts: each class knows of its neighbours only if it learns from them."""
    random = np.random.default_rng(3)
    ranks = np.argsort(np.argsort([int(name) for name in names]))
    truth = random.integers(len(names), size=600)
    distance = np.abs(ranks[truth][:, None] - ranks) if ordered else (truth[:, None] != np.arange(len(names)))
    errors = random.normal(size=(600, len(names)))
    seen = np.where(distance == 0, 1.0, np.where(distance == 1, 0.8 if ordered else 0.0, 0.0))
    return _Fixed(2 * seen + 2 * errors), Examples(NO_FEATURES, truth)


@pytest.mark.parametrize("names", [["1", "2", "3", "4", "5"], ["1", "10", "2", "3", "4"]])
def test_neighbouring_grades_add_to_a_logit(names: list[str]) -> None:
    network, examples = grades_logits(names, ordered=True)
    mixing = fit_grades(network, examples, names)
    assert mixing is not None
    ranks = np.argsort(np.argsort([int(name) for name in names]))
    is_next = np.abs(ranks[:, None] - ranks) == 1
    assert (mixing[is_next] > 0.1).all()
    assert (mixing[~is_next & ~np.eye(5, dtype=bool)] == 0).all()
    right = (network.values @ mixing).argmax(axis=1) == examples.labels
    assert right.mean() > (network.values.argmax(axis=1) == examples.labels).mean()


def test_numbers_without_an_order_and_names_are_no_grades() -> None:
    names = ["1", "2", "3", "4", "5"]
    network, examples = grades_logits(names, ordered=False)
    assert fit_grades(network, examples, names) is None
    network, examples = grades_logits(names, ordered=True)
    assert fit_grades(network, examples, [f"class {name}" for name in names]) is None


def test_mixed_logits_are_the_product() -> None:
    config = WaveConfig(
        6, 3, width=8, variants="rows", operation="interference", readout="text", context_width=8
    )
    network = AdditiveNetwork.initial(config.replace(linear_svm=True, n_oov=2), 0)
    network.load("linear_svm.weight", np.array([0.5, 1.0, 2.0], np.float32))
    features = Ragged(
        np.array([0, 1, 5, 2, 6, 7], np.int32), np.array([0, 3, 6]), np.array([3, 1]), np.array([0, 2])
    )
    before, mixing = network.logits(features), np.array([[1.0, 0.4, 0], [0.4, 1, 0.4], [0, 0.4, 1]])
    mix_logits(network, mixing)
    assert np.allclose(network.logits(features), before @ mixing.T, atol=1e-5)
