"""Row optimisers against torch's, weights of rows against a loop, the schedule of the rates."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from training_data import ragged

from token2wave.models import WaveConfig, WaveNetwork
from token2wave.training.optim import EmbeddingAdam, EmbeddingSGD, Optimizers, distinct_rows
from token2wave.training.recipe import Recipe
from token2wave.training.schedule import document_frequency, rate_factor, row_weights

V, D = 6, 3


def table_of(seed: int = 0) -> torch.nn.Parameter:
    random = torch.Generator().manual_seed(seed)
    return torch.nn.Parameter(torch.randn(V, D, generator=random, dtype=torch.float64))


def gradients(n_steps: int = 20) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    return [torch.randn(V, D, generator=random, dtype=torch.float64) for _ in range(n_steps)]


def sparse(gradient: torch.Tensor, rows: list[int]) -> torch.Tensor:
    return torch.sparse_coo_tensor(torch.tensor([rows]), gradient[rows], (V, D), check_invariants=True)


def pairs():
    return {
        "sgd": (lambda p: EmbeddingSGD(p, lr=0.3), lambda p: torch.optim.SGD(p, lr=0.3)),
        "adam": (lambda p: EmbeddingAdam(p, lr=0.03), lambda p: torch.optim.Adam(p, lr=0.03)),
        "adam with other settings": (
            lambda p: EmbeddingAdam(p, lr=0.03, betas=(0.7, 0.9), eps=1e-2),
            lambda p: torch.optim.Adam(p, lr=0.03, betas=(0.7, 0.9), eps=1e-2),
        ),
        "adamw": (
            lambda p: EmbeddingAdam(p, lr=0.03, eps=1e-3),
            lambda p: torch.optim.AdamW(p, lr=0.03, eps=1e-3, weight_decay=0),
        ),
    }


@pytest.mark.parametrize("name", list(pairs()))
def test_with_every_row_in_every_step_they_equal_torch(name):
    make_ours, make_theirs = pairs()[name]
    ours, theirs = table_of(), table_of()
    our_optimizer, their_optimizer = make_ours([ours]), make_theirs([theirs])
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(o, lambda step: 1 - step / 40)
        for o in (our_optimizer, their_optimizer)
    ]
    for step, gradient in enumerate(gradients()):
        rows = np.random.default_rng(step).permutation(V).tolist()  # need not be sorted
        ours.grad, theirs.grad = sparse(gradient, rows), gradient.clone()
        our_optimizer.step()
        their_optimizer.step()
        for schedule in schedules:
            schedule.step()
        torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-13)


def test_a_row_named_twice_gets_the_sum_of_its_gradients():
    for make in (lambda p: EmbeddingSGD(p, lr=0.3), lambda p: EmbeddingAdam(p, lr=0.3)):
        once, twice = table_of(), table_of()
        gradient = gradients(1)[0]
        once.grad = sparse(gradient, [1, 4])
        index = torch.tensor([[4, 1, 4]])
        values = torch.stack([gradient[4] / 4, gradient[1], gradient[4] * 3 / 4])
        twice.grad = torch.sparse_coo_tensor(index, values, (V, D), check_invariants=True)
        for table in (once, twice):
            make([table]).step()
        torch.testing.assert_close(once, twice, rtol=1e-13, atol=1e-13)


def test_increasing_rows_of_a_gradient_are_not_copied_and_others_are_put_in_order():
    values = gradients(1)[0][:3]
    for rows, copied in (([0, 2, 5], False), ([2, 0, 5], True), ([0, 2, 2], True)):
        gradient = torch.sparse_coo_tensor(torch.tensor([rows]), values, (V, D), check_invariants=True)
        own_rows, own_values = distinct_rows(gradient)
        assert own_rows.tolist() == sorted(set(rows))
        expected = torch.zeros(V, D, dtype=values.dtype).index_add_(0, torch.tensor(rows), values)
        assert torch.equal(own_values, expected[own_rows])
        assert (own_values.data_ptr() != values.data_ptr()) == copied


@pytest.mark.parametrize("make", [lambda p: EmbeddingSGD(p, lr=0.3), lambda p: EmbeddingAdam(p, lr=0.3)])
def test_rows_without_a_gradient_do_not_move(make):
    table, idle = table_of(), [0, 2, 5]
    optimizer = make([table])
    table.grad = sparse(gradients()[0], list(range(V)))
    optimizer.step()
    before = table.detach().clone()
    moments = {k: v.clone() for k, v in optimizer.state[table].items() if isinstance(v, torch.Tensor)}
    for gradient in gradients(5):
        table.grad = sparse(gradient, [1, 3, 4])
        optimizer.step()
    assert torch.equal(table[idle], before[idle])
    assert bool((table[[1, 3, 4]] != before[[1, 3, 4]]).all())
    for key, moment in moments.items():
        assert torch.equal(optimizer.state[table][key][idle], moment[idle])
        assert not torch.equal(optimizer.state[table][key], moment)


def test_parameters_without_a_gradient_are_left_alone_and_closures_are_called():
    table = table_of()
    optimizer = EmbeddingAdam([table], lr=0.1)
    assert optimizer.step(lambda: 7.0) == 7.0
    assert optimizer.step() is None
    assert torch.equal(table, table_of())
    nothing = torch.zeros(1, 0, dtype=torch.int64), torch.zeros(0, D, dtype=torch.float64)
    table.grad = torch.sparse_coo_tensor(*nothing, (V, D), check_invariants=True)
    optimizer.step()
    assert torch.equal(table, table_of())


def loss_of(w: torch.Tensor) -> torch.Tensor:
    """Something with curvature, in which rows meet."""
    return (w.sin() * torch.arange(1, V + 1)[:, None]).sum() + w.sum(dim=1).tanh().square().sum()


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_weighted_rows_equal_training_v_with_w_equal_to_a_times_v(kind):
    amplitude = torch.tensor([1.0, 0.5, 0.01, 0.3, 2.0, 0.7], dtype=torch.float64)
    v = table_of()
    w = torch.nn.Parameter(v.detach() * amplitude[:, None])
    if kind == "sgd":
        ours = EmbeddingSGD([w], lr=0.02, rates=amplitude.square())
        theirs = torch.optim.SGD([v], lr=0.02)
    else:
        ours = EmbeddingAdam([w], lr=0.02, eps=1e-30, rates=amplitude)
        theirs = torch.optim.Adam([v], lr=0.02, eps=1e-30)
    for _ in range(20):
        theirs.zero_grad()
        loss_of(v * amplitude[:, None]).backward()
        theirs.step()
        (gradient,) = torch.autograd.grad(loss_of(w), w)
        w.grad = sparse(gradient, list(range(V)))
        ours.step()
        torch.testing.assert_close(w, v * amplitude[:, None], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_optimizers_of_a_network_weigh_rows(kind):
    """SGD by the square of the weights, Adam by the weights: what ``w = a v`` asks for."""
    network = WaveNetwork(WaveConfig(3, 2, width=4, readout="text", operation="interference"))
    recipe = Recipe(
        embedding_optimizer=kind, embedding_lr=0.5, warmup=0.0, decay="constant", weight_decay=0.0
    )
    weights = torch.tensor([1.0, 0.5, 0.25])
    table = network.embedding.weight
    before, head = table.detach().clone(), network.head.weight.detach().clone()
    optimizers = Optimizers(network, recipe, 10, weights)
    optimizers.zero_grad()
    rows = torch.tensor([[0, 1, 2]])
    table.grad = torch.sparse_coo_tensor(rows, torch.ones(3, 4), (3, 4), check_invariants=True)
    network.head.weight.grad = torch.ones(2, 4)
    optimizers.step()
    moved = (before - table.detach())[:, 0]
    expected = 0.5 * (weights.square() if kind == "sgd" else weights)
    torch.testing.assert_close(moved, expected, rtol=1e-4, atol=1e-6)
    head_moved = head - network.head.weight.detach()
    torch.testing.assert_close(head_moved, torch.full((2, 4), 1e-3), rtol=1e-3, atol=1e-7)
    optimizers.zero_grad()
    assert table.grad is None
    assert network.head.weight.grad is None


def test_the_schedule_rules_both_optimizers_and_decay_spares_the_table():
    network = WaveNetwork(WaveConfig(3, 2, width=4, readout="text", operation="interference"))
    recipe = Recipe(lr=0.1, embedding_lr=2.0, embedding_optimizer="sgd", warmup=0.5, weight_decay=0.1)
    optimizers = Optimizers(network, recipe, 4)
    before, head = network.embedding.weight.detach().clone(), network.head.weight.detach().clone()
    rates = []
    network.head.weight.grad = torch.zeros_like(head)
    for _ in range(4):
        rates.append([o.param_groups[0]["lr"] for o in optimizers.optimizers])
        optimizers.step()
    expected = [[0.1 * f, 2.0 * f] for f in (0.5, 1.0, 1.0, 0.5)]
    assert np.array(rates) == pytest.approx(np.array(expected))
    assert torch.equal(network.embedding.weight, before)
    kept = math.prod(1 - 0.1 * dense for dense, _ in rates)
    torch.testing.assert_close(network.head.weight.detach(), head * kept)


# Weights of rows


def weights_by_loop(texts: list[list[int]], n_rows: int) -> list[float]:
    raw = []
    for row in range(n_rows):
        df = sum(row in text for text in texts)
        raw.append(math.log((len(texts) + 1) / (df + 1)))
    if max(raw) <= 0:
        return [1.0] * n_rows
    return [max(value / max(raw), 0.01) for value in raw]


@settings(deadline=None, max_examples=60)
@given(texts=st.lists(st.lists(st.integers(0, 4), max_size=6), max_size=6), more=st.integers(0, 2))
def test_row_weights_against_a_loop(texts, more):
    actual = weights_of(texts, 5 + more)
    assert actual.dtype == np.float32
    assert actual.tolist() == pytest.approx(weights_by_loop(texts, 5 + more), rel=1e-6)


def weights_of(texts, n_rows):
    return row_weights(document_frequency(ragged(texts), n_rows), len(texts))


def test_row_weights_of_degenerate_texts():
    assert weights_of([[0, 1], [1, 0, 1]], 2).tolist() == [1.0, 1.0]  # every row in every text
    assert weights_of([[], []], 2).tolist() == [1.0, 1.0]  # no row in any
    assert weights_of([[0, 0, 0]], 2).tolist() == pytest.approx([0.01, 1.0])
    assert weights_of([[0, 1]] * 9 + [[0]], 2).tolist() == pytest.approx([0.01, 1.0])
    assert weights_of([[0]], 1).tolist() == [1.0]


# Rates


@pytest.mark.parametrize("decay", ["linear", "cosine", "constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("n_steps", [1, 2, 10, 97])
def test_rates(decay, warmup, n_steps):
    recipe = Recipe(warmup=warmup, decay=decay)
    factors = [rate_factor(step, n_steps, recipe) for step in range(n_steps + 1)]
    rising = max(1, round(warmup * n_steps))
    assert factors[rising - 1] == 1.0
    assert all(0 < factor <= 1 for factor in factors[:-1])
    assert factors[:rising] == pytest.approx([(step + 1) / rising for step in range(rising)])
    after = factors[rising:]
    assert all(a >= b for a, b in itertools.pairwise(after))
    if decay == "constant":
        assert set(after) <= {1.0}
    elif rising < n_steps:
        assert after[0] == 1.0
        assert factors[n_steps] == pytest.approx(0.0, abs=1e-12)
        middle = (n_steps - rising) / 2
        if middle == int(middle):
            assert after[int(middle)] == pytest.approx(0.5)
            quarter = after[int(middle) // 2]
            assert decay == "cosine" or quarter == pytest.approx(1 - (int(middle) // 2) / (2 * middle))
            if decay == "cosine" and int(middle) > 1:
                assert quarter > 1 - (int(middle) // 2) / (2 * middle)
        assert rate_factor(n_steps + 5, n_steps, recipe) == pytest.approx(0.0, abs=1e-12)
