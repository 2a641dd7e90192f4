import numpy as np
import pytest
import torch
from small_studies import check_study, ragged

from paper.result_store import ResultStore
from paper.studies import independence
from paper.study import Options
from token2wave.models import WaveConfig, WaveNetwork, make_batch


def states_with(eigenvalues, n_states, seed=0):
    """States whose covariance has exactly these eigenvalues, in directions that are no axes."""
    random = np.random.default_rng(seed)
    white = random.standard_normal((n_states, len(eigenvalues)))
    white -= white.mean(axis=0)
    orthonormal = np.linalg.qr(white)[0] * np.sqrt(n_states - 1)
    turn = np.linalg.qr(random.standard_normal((len(eigenvalues), len(eigenvalues))))[0]
    return 5 + (orthonormal * np.sqrt(eigenvalues)) @ turn


def test_eigenvalues_of_a_covariance_that_is_known():
    known = [7.0, 2.0, 0.5, 0.5]
    result = independence.covariance_eigenvalues(states_with(known, 50))
    assert result == pytest.approx(known)
    spread = independence.spread_measures(result)
    assert spread["largest_share"] == pytest.approx(0.7)
    assert spread["smallest_over_largest"] == pytest.approx(0.5 / 7)
    entropy = -(0.7 * np.log(0.7) + 0.2 * np.log(0.2) + 2 * 0.05 * np.log(0.05))
    assert spread["effective_rank"] == pytest.approx(np.exp(entropy))


def test_there_are_as_many_eigenvalues_as_can_differ_from_zero():
    random = np.random.default_rng(1)
    states = random.standard_normal((40, 7)).astype(np.float32)
    expected = np.sort(np.linalg.eigvalsh(np.cov(states.T.astype(np.float64))))[::-1]
    assert independence.covariance_eigenvalues(states) == pytest.approx(expected)
    eigenvalues = independence.covariance_eigenvalues(random.standard_normal((32, 768)))
    assert eigenvalues.shape == (31,)
    assert eigenvalues[-1] > 1


def test_even_and_uneven_spread():
    even = independence.spread_measures(np.full(9, 3.0))
    assert even == pytest.approx({"largest_share": 1 / 9, "smallest_over_largest": 1, "effective_rank": 9})
    single = independence.spread_measures(np.array([4.0, 0.0, 0.0]))
    assert single == pytest.approx({"largest_share": 1, "smallest_over_largest": 0, "effective_rank": 1})
    assert independence.spread_measures(np.zeros(3))["effective_rank"] == 0


def test_batches_have_32_texts_each(monkeypatch):
    sizes = []
    counted = independence.covariance_eigenvalues
    monkeypatch.setattr(independence, "covariance_eigenvalues", lambda s: sizes.append(len(s)) or counted(s))
    states = np.random.default_rng(3).standard_normal((127, 5)).astype(np.float32)
    result = independence.measure_states(states, seed=0)
    assert sizes == [32, 32, 32, 127]
    assert {len(values) for values in result["batches"].values()} == {3}
    few = independence.measure_states(states[:20], seed=0)
    assert {len(values) for values in few["batches"].values()} == {1}
    assert result == independence.measure_states(states, seed=0)
    assert result != independence.measure_states(states, seed=1)


def test_states_are_what_the_classifier_gets():
    torch.manual_seed(0)
    network = WaveNetwork(WaveConfig(20, 3, width=6)).eval()
    random = np.random.default_rng(0)
    features = ragged([random.integers(0, 20, length) for length in (5, 2, 9, 3)])
    states = torch.from_numpy(independence.text_states(network, features))
    with torch.no_grad():
        assert torch.allclose(network.head(states), network(make_batch(features)), atol=1e-6)
    assert not network.head._forward_pre_hooks


def test_a_measure_that_does_not_vary_has_no_correlation():
    rows = [{"effective_rank": 1.0, "validation_accuracy": accuracy} for accuracy in (0.1, 0.2, 0.3)]
    assert independence._correlate(rows, "effective_rank") == 0
    assert independence._correlate(rows, "validation_accuracy") == pytest.approx(1)


def test_the_study_in_miniature(small, splits):
    document = independence.measure(ResultStore(), Options(splits, quick=True, seeds=(0,)))
    assert set(document["systems"]) == {"wave-interference", "wave-modulation", "transformer-random"}
    assert len(document["widths"]) == 4
    check_study(independence.STUDY, document, ["independence", "independence-accuracy"])
    assert [len(table.rows) for table in independence.tables(document)] == [6, 4]
