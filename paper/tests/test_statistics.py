"""Paired comparisons: against theory and simulation, and every verdict of every rule."""

import itertools
import math

import numpy as np
import pytest

from paper.statistics import (
    FAILS,
    HOLDS,
    LEVEL,
    MARGIN,
    MIN_SEEDS,
    OPEN,
    SAME,
    VERDICTS,
    Lead,
    compare,
    compare_over_sets,
    judge_lead,
    judge_no_loss,
    pack_answers,
    stack_answers,
    unpack_answers,
)


def answers(generator, accuracies, n_texts):
    return generator.random((len(accuracies), n_texts)) < np.asarray(accuracies)[:, None]


@pytest.mark.parametrize("n_texts", [1, 7, 8, 9, 1001])
def test_packed_answers_come_back(n_texts):
    right = np.random.default_rng(n_texts).random(n_texts) < 0.8
    packed = pack_answers(right)
    assert len(packed) <= n_texts // 6 + 8
    assert np.array_equal(unpack_answers(packed, n_texts), right)
    runs = [{"right": packed}, {"right": pack_answers(~right)}]
    assert np.array_equal(stack_answers(runs, n_texts), np.stack([right, ~right]))


def test_the_mean_and_the_texts_alone():
    """Without any spread over seeds, the interval is that of the paired texts."""
    generator = np.random.default_rng(1)
    first, second = answers(generator, [0.9], 4_000), answers(generator, [0.88], 4_000)
    result = compare(np.repeat(first, 5, axis=0), np.repeat(second, 5, axis=0))
    gains = 100.0 * (first.astype(float) - second)[0]
    half = 1.96 * gains.std() / np.sqrt(4_000)
    assert result.mean == pytest.approx(gains.mean())
    assert result.low == pytest.approx(gains.mean() - half, abs=0.06)
    assert result.high == pytest.approx(gains.mean() + half, abs=0.06)
    assert (result.n_seeds, result.n_texts) == (5, 4_000)


def test_the_seeds_alone():
    """With many texts, the interval is that of the seeds, with the deviation of a sample."""
    accuracies, n_texts = np.linspace(0.4, 0.6, 6), 50_000
    first = np.arange(n_texts) < np.rint(accuracies * n_texts)[:, None]
    result = compare(first, np.zeros_like(first))
    deviation = 100 * np.std(accuracies, ddof=1) / np.sqrt(6)
    assert result.mean == pytest.approx(50)
    assert result.high - result.low == pytest.approx(2 * 1.96 * deviation, rel=0.05)


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Systems of equal mean accuracy whose seeds and texts vary; 150 draws from a printed seed."""
    print("seed 3")
    generator = np.random.default_rng(3)
    n_held = 0
    for draw in range(150):
        easy = generator.normal(0.9, 0.08, 300)
        both = [generator.random((5, 300)) < easy + generator.normal(0, 0.01, (5, 1)) for _ in range(2)]
        result = compare(*both, seed=draw)
        n_held += result.low <= 0 <= result.high
    assert n_held >= 150 * LEVEL - 3 * np.sqrt(150 * LEVEL * (1 - LEVEL))


def test_more_comparisons_widen_the_interval():
    generator = np.random.default_rng(2)
    both = [answers(generator, [0.9] * 5, 500) for _ in range(2)]
    one, ten = compare(*both), compare(*both, n_comparisons=10)
    assert ten.low < one.low < one.high < ten.high
    assert ten.mean == one.mean


def test_mcnemar_is_that_of_the_discordant_texts():
    first = np.array([[True] * 30 + [False] * 10 + [True] * 960])
    second = np.array([[False] * 30 + [True] * 10 + [True] * 960])
    expected = (2 * sum(math.comb(40, k) for k in range(10)) + math.comb(40, 10)) / 2**40  # mid-p
    assert compare(first, second).mcnemar == pytest.approx(expected)
    assert compare(first, first).mcnemar == 1.0


def test_one_seed_says_nothing_about_others():
    result = compare(np.ones((1, 9), dtype=bool), np.zeros((1, 9), dtype=bool))
    assert (result.mean, result.low, result.high) == (100, -np.inf, np.inf)
    assert judge_lead(result) == judge_no_loss(result) == OPEN


@pytest.mark.parametrize("shapes", [((2, 3), (2, 4)), ((3,), (3,)), ((0, 3), (0, 3)), ((2, 0), (2, 0))])
def test_what_cannot_be_compared_is_refused(shapes):
    with pytest.raises(ValueError, match="same shape"):
        compare(*(np.zeros(shape, dtype=bool) for shape in shapes))


def difference(low, high, n_seeds=MIN_SEEDS):
    return Lead((low + high) / 2, low, high, 1.0, n_seeds, 100)


@pytest.mark.parametrize(
    ("low", "high", "lead", "no_loss"),
    [
        (0.4, 0.9, HOLDS, HOLDS),
        (-0.2, 0.2, SAME, SAME),
        (-0.9, -0.4, FAILS, FAILS),
        (-0.9, 0.2, FAILS, OPEN),
        (-0.2, 0.9, OPEN, HOLDS),
        (-0.9, 0.9, OPEN, OPEN),
    ],
)
def test_every_rule_gives_every_verdict(low, high, lead, no_loss):
    assert judge_lead(difference(low, high)) == lead
    assert judge_no_loss(difference(low, high)) == no_loss
    assert judge_lead(difference(low, high, MIN_SEEDS - 1)) == OPEN


def test_verdicts_at_random_agree_with_their_words():
    """The rules once more, by points of the interval."""
    grid = np.linspace(-1, 1, 41)
    seen = set()
    for low, high in itertools.combinations(grid, 2):
        verdict = judge_lead(difference(low, high))
        points = np.linspace(low, high, 101)
        if verdict == HOLDS:
            assert (points > MARGIN).all()
        elif verdict == SAME:
            assert (np.abs(points) < MARGIN + 1e-9).all()
        elif verdict == FAILS:
            assert (points < MARGIN).all()
            assert points.min() <= -MARGIN
        else:
            assert points.min() <= MARGIN <= points.max()
        seen.add(verdict)
    assert seen == set(VERDICTS)


def test_a_mean_over_sets_counts_each_set_the_same():
    """The half width is that of the mean of independent means, whatever the sizes of the sets."""
    generator = np.random.default_rng(5)
    pairs = [
        (answers(generator, [0.9] * 5, n_texts), answers(generator, [accuracy] * 5, n_texts))
        for n_texts, accuracy in ((400, 0.8), (4_000, 0.9))
    ]
    each = [compare(*pair) for pair in pairs]
    result = compare_over_sets(pairs)
    assert result.mean == pytest.approx(np.mean([lead.mean for lead in each]))
    halves = [(lead.high - lead.low) / 2 for lead in each]
    assert (result.high - result.low) / 2 == pytest.approx(np.hypot(*halves) / 2, rel=0.04)
    assert (result.n_seeds, result.n_texts) == (5, 4_400)
    assert math.isnan(result.mcnemar)
    wider = compare_over_sets(pairs, n_comparisons=20)
    assert wider.low < result.low < result.mean < result.high < wider.high


def test_a_mean_over_one_set_is_its_comparison_and_one_seed_tells_nothing():
    generator = np.random.default_rng(6)
    first, second = answers(generator, [0.9] * 5, 500), answers(generator, [0.8] * 5, 500)
    assert compare_over_sets([(first, second)])[:3] == compare(first, second)[:3]
    short = compare_over_sets([(first, second), (first[:1], second[:1])])
    assert (short.low, short.high, short.n_seeds) == (-np.inf, np.inf, 1)
    with pytest.raises(ValueError, match="at least one data set"):
        compare_over_sets([])
    with pytest.raises(ValueError, match="same shape"):
        compare_over_sets([(first, second), (first, second[:2])])


def test_sets_are_resampled_apart():
    """Two sets that look the same are still two sets: their mean varies less than either."""
    generator = np.random.default_rng(7)
    pair = answers(generator, [0.9] * 5, 2_000), answers(generator, [0.8] * 5, 2_000)
    one, two = compare(*pair), compare_over_sets([pair, pair])
    assert two.mean == pytest.approx(one.mean)
    assert (two.high - two.low) * np.sqrt(2) == pytest.approx(one.high - one.low, rel=0.05)
