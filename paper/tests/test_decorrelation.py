"""The penalty on correlations: against numpy, and its training against the plain sum of both losses."""

import numpy as np
import pytest
import torch
from small_studies import ragged

from paper.decorrelation import correlation_penalty, decorrelate
from paper.eigenvalue_spread import measure_batches, text_states
from paper.result_store import ResultStore
from paper.studies.independence import QUICK, Shape, train_penalised
from paper.study import Options
from paper.systems import train_and_answer, wave_system
from token2wave.models import WaveConfig, WaveNetwork, make_batch


def test_the_penalty_is_the_mean_squared_correlation_of_pairs():
    states = np.random.default_rng(0).standard_normal((10, 4)) @ np.random.default_rng(1).random((4, 4))
    pairs = np.corrcoef(states.T)[~np.eye(4, dtype=bool)]
    penalty = correlation_penalty(torch.from_numpy(states))
    assert float(penalty) == pytest.approx(np.square(pairs).mean())
    scaled = correlation_penalty(torch.from_numpy(states * [1, 100, 0.01, -3] + 7))
    assert float(scaled) == pytest.approx(float(penalty))


def test_the_penalty_is_one_of_copies_and_zero_of_what_does_not_vary():
    one = torch.randn(8, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert float(correlation_penalty(one.expand(8, 3))) == pytest.approx(1)
    still = torch.ones(8, 3, dtype=torch.float64, requires_grad=True)
    penalty = correlation_penalty(still)
    penalty.backward()
    assert penalty.item() == 0
    assert torch.equal(still.grad, torch.zeros_like(still))
    alone = torch.ones(1, 3, requires_grad=True)
    correlation_penalty(alone).backward()
    assert torch.equal(alone.grad, torch.zeros_like(alone))


def test_the_gradient_of_the_penalty():
    states = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    assert torch.autograd.gradcheck(correlation_penalty, states.requires_grad_())


@pytest.mark.parametrize("weight", [0.0, 2.5])
def test_training_takes_the_gradient_of_the_loss_plus_the_penalty(weight):
    """The slow twin adds the penalty to the loss, and reads the states from the network's own parts."""
    random = np.random.default_rng(0)
    batch = make_batch(ragged([random.integers(0, 20, length) for length in (5, 2, 9, 3, 4, 7)]))
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    gradients = []
    for penalised in (True, False):
        torch.manual_seed(0)
        network = WaveNetwork(WaveConfig(20, 3, width=6, restore="linear", dropout=0.0)).double().train()
        if penalised:
            loss = torch.nn.functional.cross_entropy(decorrelate(network, weight)(batch), labels)
        else:
            states = network.norm(network._state(network.embedding(batch.rows), batch))
            loss = torch.nn.functional.cross_entropy(network.head(states), labels)
            loss = loss + weight * correlation_penalty(states)
        loss.backward()
        gradients.append([parameter.grad.to_dense() for parameter in network.parameters()])
    for own, expected in zip(*gradients, strict=True):
        assert torch.allclose(own, expected, rtol=1e-9, atol=1e-12)


def test_evaluation_is_unchanged():
    torch.manual_seed(0)
    network = WaveNetwork(WaveConfig(20, 3, width=6)).eval()
    batch = make_batch(ragged([[1, 2, 3], [4, 5]]))
    before = network(batch)
    assert torch.equal(decorrelate(network, 5.0)(batch), before)
    assert not decorrelate(WaveNetwork(WaveConfig(20, 3, width=6)), 0.0).norm._forward_hooks


@pytest.mark.usefixtures("small")
def test_only_the_penalty_differs_between_weights(splits):
    """With a weight that underflows, training gives the weights of a network without penalty, to the bit."""
    data, store = Options(splits, quick=True).load(600, 320), ResultStore(device="cpu")
    system, trained = wave_system("modulation", width=16), []
    for weight in (0.0, 1e-44, 3.0):
        network = decorrelate(system.build(data, 0), weight)
        train_and_answer(store, lambda network=network: network, system.recipe, data, 0)
        trained.append(network.arrays())
    plain, underflown, penalised = trained
    assert all(np.array_equal(plain[name], underflown[name]) for name in plain)
    assert not np.array_equal(plain["head.weight"], penalised["head.weight"])


@pytest.mark.usefixtures("small")
def test_the_penalty_makes_dimensions_more_independent(splits):
    data, store = Options(splits, quick=True).load(600, 320), ResultStore(device="cpu")
    scale = QUICK._replace(epochs=3)
    ranks = [
        train_penalised(store, data, Shape("modulation", 16, weight), scale, 0)["after"]["effective_rank"]
        for weight in (0.0, 3.0, 30.0)
    ]
    assert ranks[0] < ranks[1] < ranks[2]


@pytest.mark.usefixtures("small")
def test_measures_are_those_of_the_best_epoch(splits):
    data, store = Options(splits, quick=True).load(600, 320), ResultStore(device="cpu")
    result = train_penalised(store, data, Shape("interference", 16, 1.0), QUICK, 0)
    system = wave_system("interference", width=16)
    network = decorrelate(system.build(data, 0), 1.0)
    expected = train_and_answer(store, lambda: network, system.recipe.replace(epochs=QUICK.epochs), data, 0)
    assert result["right"] == expected["right"]
    order = np.random.default_rng(0).permutation(len(data.test))
    states = text_states(network, data.test.features.take(order))
    for place, each in states.items():
        means = {name: np.mean(values) for name, values in measure_batches(each).items()}
        assert result[place] == pytest.approx(means, rel=1e-3)
