"""McNemar's test and the bootstrap, against independent sums, brute force and the metrics."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest

from token2wave.metrics import f1_of_decisions, macro_f1_of
from token2wave.paired_tests import N_PRIOR_ROWS, bootstrap_scores, mcnemar_p


def predictions(n: int, n_classes: int, accuracies: tuple[float, float], seed: int = 0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, n_classes, n)
    guesses = [np.where(rng.random(n) < p, truth, rng.integers(0, n_classes, n)) for p in accuracies]
    return truth, *guesses


@pytest.mark.parametrize(("gained", "lost"), [(1, 1), (0, 5), (3, 9), (12, 12), (300, 360), (2500, 2401)])
def test_mcnemar_is_the_exact_sum_of_binomials(gained: int, lost: int) -> None:
    n, least = gained + lost, min(gained, lost)
    tail = Fraction(sum(comb(n, i) for i in range(least + 1)), 2**n)
    exact = (1 if gained == lost else 2 * tail) - Fraction(comb(n, least), 2**n) / (
        2 if gained == lost else 1
    )
    gains = np.repeat([1, -1, 0], [gained, lost, 7])
    assert mcnemar_p(gains) == pytest.approx(float(exact), abs=1e-10)
    assert mcnemar_p(-gains) == mcnemar_p(gains)


def test_mcnemar_of_groups_counts_all_signs() -> None:
    gains = np.array([3, -1, 2, 0, 5, -2])
    signs = np.array(np.meshgrid(*[[-1, 1]] * len(gains))).reshape(len(gains), -1)
    sums, total = np.abs(gains @ signs), abs(gains.sum())
    assert mcnemar_p(gains) == pytest.approx((sums > total).mean() + (sums == total).mean() / 2)
    assert mcnemar_p(np.zeros(4, dtype=int)) == 1


@pytest.mark.parametrize("grouped", [False, True])
def test_intervals_are_those_of_resampled_rows(grouped: bool) -> None:
    """A slow twin draws rows, or groups, one by one, and scores them with the metrics."""
    truth, a, b = predictions(300, 4, (0.7, 0.8))
    groups = np.arange(300) // (5 if grouped else 1)
    scores = bootstrap_scores(truth, a, b, 4, groups=groups if grouped else None, n_resamples=4000)
    rng, draws = np.random.default_rng(1), []
    size, n_units = np.bincount(groups)[0], groups.max() + 1
    for _ in range(1500):
        units = rng.integers(0, n_units + N_PRIOR_ROWS, n_units)
        rows = [np.flatnonzero(groups == unit) for unit in units if unit < n_units]
        resample = [each[np.concatenate(rows)] for each in (truth, a, b)]
        for unit in units[units >= n_units]:  # a text that A, or B, alone gets right
            right = rng.choice(truth)
            wrong = rng.choice(truth[truth != right])
            row = (right, wrong, right) if unit == n_units else (right, right, wrong)
            resample = [np.append(each, [value] * size) for each, value in zip(resample, row, strict=True)]
        t, p, q = resample
        draws.append(((t == q).mean() - (t == p).mean(), macro_f1_of(t, q, 4) - macro_f1_of(t, p, 4)))
    ends = np.quantile(draws, (0.025, 0.975), axis=0).T
    assert scores.figures["accuracy"].interval == pytest.approx(ends[0], abs=0.008)
    assert scores.figures["macro_f1"].interval == pytest.approx(ends[1], abs=0.008)


def test_figures_are_those_of_the_metrics() -> None:
    truth, a, b = predictions(200, 5, (0.6, 0.9))
    figures = bootstrap_scores(truth, a, b, 5, n_resamples=10).figures
    assert figures["accuracy"].a == pytest.approx((truth == a).mean())
    assert figures["macro_f1"].b == pytest.approx(macro_f1_of(truth, b, 5))
    rng = np.random.default_rng(0)
    flags = rng.random((3, 100, 6)) < 0.3
    figures = bootstrap_scores(*flags, 6, n_resamples=10).figures
    assert (figures["micro_f1"].a, figures["macro_f1"].a) == pytest.approx(
        f1_of_decisions(flags[0], flags[1])
    )
    assert figures["accuracy"].b == pytest.approx((flags[0] == flags[2]).all(axis=1).mean())


def test_exchanging_the_models_changes_only_signs() -> None:
    truth, a, b = predictions(150, 3, (0.7, 0.75))
    for arrays in ((truth, a, b), tuple(each[:, None] == np.arange(3) for each in (truth, a, b))):
        forth, back = (bootstrap_scores(arrays[0], *pair, 3) for pair in (arrays[1:], arrays[:0:-1]))
        pairs = [(each, back.figures[name]) for name, each in forth.figures.items()]
        for one, other in (*pairs, *zip(forth.class_f1, back.class_f1, strict=True)):
            assert one.interval == (-other.interval[1], -other.interval[0])
            assert (one.a, one.b) == (other.b, other.a)


@pytest.mark.parametrize("n", [1, 5, 100])
def test_intervals_of_few_or_equal_rows_are_not_empty(n: int) -> None:
    zeros, ones = np.zeros(n, dtype=np.int64), np.ones(n, dtype=np.int64)
    for truth, a, b in ((zeros, zeros, zeros), (zeros, ones, ones), (zeros, ones, zeros)):
        for difference in bootstrap_scores(truth, a, b, 2).figures.values():
            low, high = difference.interval
            assert -1 <= low < high <= 1
            assert low <= difference.difference <= high
    empty = np.zeros((n, 3), dtype=bool)
    assert bootstrap_scores(empty, empty, empty, 3).figures["micro_f1"].difference == 0


def test_large_tables_are_added_up_as_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, a, b = predictions(200, 5, (0.6, 0.7))
    dense = bootstrap_scores(truth, a, b, 5)
    monkeypatch.setattr("token2wave.paired_tests._MAX_TABLE", 0)
    monkeypatch.setattr("token2wave.paired_tests._CHUNK", 5000)
    sparse = bootstrap_scores(truth, a, b, 5)
    for name, figure in sparse.figures.items():
        assert figure.interval == pytest.approx(dense.figures[name].interval, abs=1e-6)
