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
    Cost,
    Lead,
    compare,
    compare_costs,
    compare_seeds,
    judge_all,
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


def test_seeds_are_compared_by_students_t():
    """By hand: differences 1, 2, 3, 4, 5; t of 4 degrees at 97.5 % is 2.776445."""
    result = compare_seeds([2.0, 4, 6, 8, 10], [1.0, 2, 3, 4, 5])
    half = 2.776445 * math.sqrt(2.5) / math.sqrt(5)
    assert result == pytest.approx((3.0, 3 - half, 3 + half, 5), abs=1e-5)
    wide = compare_seeds([2.0, 4, 6, 8, 10], [1.0, 2, 3, 4, 5], n_comparisons=5)
    assert wide.high == pytest.approx(3 + 4.604095 * math.sqrt(0.5), abs=1e-5)  # 99.5 %
    assert compare_seeds([1.0], [0.5])[:3] == (0.5, -np.inf, np.inf)


@pytest.mark.parametrize("n_comparisons", [1, 10])
def test_intervals_of_five_seeds_hold_the_truth_as_often_as_they_say(n_comparisons):
    """Normal differences, 4,000 draws from a printed seed; a bootstrap would hold it in 85 % of 95."""
    print("seed 4")
    values = np.random.default_rng(4).normal(0, 1, (4_000, 2, 5))
    results = [compare_seeds(*draw, n_comparisons=n_comparisons) for draw in values]
    level = 1 - (1 - LEVEL) / n_comparisons
    held = np.mean([result.low <= 0 <= result.high for result in results])
    assert abs(held - level) <= 3 * np.sqrt(level * (1 - level) / 4_000)


def costs(*amounts, limit=100.0):
    """A cost a seed; None did not get there with the limit."""
    return [Cost(limit, False) if amount is None else Cost(float(amount), True) for amount in amounts]


def test_costs_are_compared_by_the_logarithm_of_their_ratio():
    first, second = (10, 20, 40, 10, 30), (20, 20, 50, 30, 30)
    result = compare_costs(costs(*first), costs(*second))
    assert result[:3] == compare_seeds(np.log(second), np.log(first))[:3]
    assert (result.n_seeds, result.n_first, result.n_second) == (5, 5, 5)
    assert str(result).startswith(f"{math.prod(first) ** 0.2 / math.prod(second) ** 0.2:.2f} times (")


def test_a_cost_that_is_unknown_bounds_one_end_alone():
    """The other end is that of the costs as they were cut short, and the truth lies beyond it."""
    known, cut = costs(10, 12, 9, 11, 10), costs(80, 90, None, 95, None)
    full = compare_costs(known, costs(80, 90, 100, 95, 100))
    saving = compare_costs(known, cut)
    assert (saving.low, saving.high) == (full.low, np.inf)
    assert (saving.n_first, saving.n_second) == (5, 3)
    assert judge_lead(saving, math.log(1.25)) == HOLDS
    assert "below 0.11 times" in str(saving)
    loss = compare_costs(cut, known)
    assert (loss.low, loss.high) == (-np.inf, pytest.approx(-full.low))
    assert judge_no_loss(loss, math.log(1.25)) == FAILS
    assert "above 8.9" in str(loss)
    both = compare_costs(cut, costs(*[None] * 5))
    assert (both.low, both.high) == (-np.inf, np.inf)
    assert str(both).startswith("unknown")
    near = compare_costs(costs(99, 99, 99, 99, None), costs(99, 99, 99, 99, 99))
    assert judge_no_loss(near, math.log(1.25)) == OPEN  # nothing says how much more the last one costs


def test_cutting_costs_short_never_moves_the_ends_past_the_truth():
    """Runs that are stopped earlier give ends at least as far out; 200 draws from a printed seed."""
    print("seed 5")
    generator = np.random.default_rng(5)
    for _ in range(200):
        first, second = (generator.lognormal(3, 0.5, 5) for _ in range(2))
        whole = compare_costs(costs(*first), costs(*second))
        limit = float(generator.uniform(5, 60))
        stopped = [[amount if amount <= limit else None for amount in each] for each in (first, second)]
        saving = compare_costs(*(costs(*each, limit=limit) for each in stopped))
        truth = np.log(second / first)
        bounds = np.log([c.amount for c in costs(*stopped[1], limit=limit)]) - np.log(
            [c.amount for c in costs(*stopped[0], limit=limit)]
        )
        if saving.low > -np.inf:  # every first one is known, so savings can only be larger
            assert (truth >= bounds - 1e-12).all()
        if saving.high < np.inf:
            assert (truth <= bounds + 1e-12).all()
        if saving.n_first == saving.n_second == 5:
            assert saving == whole


@pytest.mark.parametrize("sizes", [(0, 0), (2, 3)])
def test_seeds_that_are_no_pairs_are_refused(sizes):
    ones = [[1.0] * size for size in sizes]
    with pytest.raises(ValueError, match="as many seeds"):
        compare_seeds(*ones)
    with pytest.raises(ValueError, match="as many seeds"):
        compare_costs(*(costs(*each) for each in ones))


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ((HOLDS, HOLDS), HOLDS),
        ((SAME, SAME), SAME),
        ((OPEN, OPEN), OPEN),
        ((FAILS, HOLDS), FAILS),
        ((SAME, HOLDS), FAILS),
        ((OPEN, HOLDS), OPEN),
        ((OPEN, FAILS), FAILS),
    ],
)
def test_a_claim_about_all_needs_each(verdicts, expected):
    assert judge_all(verdicts) == judge_all(verdicts[::-1]) == expected
