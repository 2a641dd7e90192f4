"""Paired comparisons: against theory and simulation, and every verdict of every rule."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from paper.correlation import pack_ranks, pack_scores, spearman_values, unpack_ranks, unpack_scores
from paper.statistics import (
    LEVEL,
    Accuracy,
    Cost,
    Lead,
    compare,
    compare_costs,
    compare_seeds,
    compare_sets,
    interval_of_accuracy,
    pack_answers,
    stack_answers,
    unpack_answers,
)
from paper.verdicts import (
    FAILS,
    HOLDS,
    MARGIN,
    MIN_SEEDS,
    OPEN,
    SAME,
    VERDICTS,
    judge_above,
    judge_all,
    judge_all_without_loss,
    judge_any,
    judge_lead,
    judge_no_loss,
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
    assert result.high - result.low == pytest.approx(2 * 2.571 * deviation, rel=0.02)  # t of 5 degrees


@pytest.mark.parametrize(
    ("spread", "n_comparisons"), [(0.0, 1), (0.01, 1), (0.05, 1), (0.05, 10), (0.01, 30)]
)
def test_intervals_hold_the_truth_as_often_as_they_say(spread, n_comparisons):
    """Systems of equal mean accuracy whose seeds and texts vary, from texts alone to seeds nearly alone."""
    print("seed 3")
    generator, n_draws = np.random.default_rng(3), 600
    n_held = 0
    for _ in range(n_draws):
        easy = generator.normal(0.8, 0.08, 300)
        both = [generator.random((5, 300)) < easy + generator.normal(0, spread, (5, 1)) for _ in range(2)]
        result = compare(*both, n_comparisons=n_comparisons)
        n_held += result.low <= 0 <= result.high
    level = 1 - (1 - LEVEL) / n_comparisons
    assert n_held >= n_draws * level - 3 * np.sqrt(n_draws * level * (1 - level))


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


def weighted_spearman(truth, predicted, weights):
    """From the definition: the correlation of mean ranks, all with weights ``(N,)`` that sum to one."""
    ranks = []
    for numbers in (truth, predicted):
        below = (numbers[:, None] < numbers) + 0.5 * (numbers[:, None] == numbers)
        ranks.append(weights @ below)
    x, y = (rank - weights @ rank for rank in ranks)
    return weights @ (x * y) / np.sqrt(weights @ x**2 * (weights @ y**2))


def scores(generator, n_texts, n_ties):
    """True scores with ties, and predictions that correlate with them."""
    truth = generator.integers(0, n_ties, n_texts)
    return truth, np.round(truth + generator.normal(0, n_ties / 3, n_texts), 1)


@pytest.mark.parametrize("n_ties", [2, 4, 1000])
def test_values_are_those_of_a_correlation_whose_texts_weigh_a_little_more(n_ties):
    truth, predicted = scores(np.random.default_rng(n_ties), 40, n_ties)
    values, even = spearman_values(truth, predicted), np.full(40, 1 / 40)
    expected = weighted_spearman(truth, predicted, even)
    assert values.mean() == pytest.approx(expected)
    assert expected == pytest.approx(spearmanr(truth, predicted).statistic)
    step = 1e-5
    for i in (0, 7, 39):
        more = (1 - step) * even + step * (np.arange(40) == i)
        less = (1 + step) * even - step * (np.arange(40) == i)
        change = [weighted_spearman(truth, predicted, weights) for weights in (more, less)]
        assert values[i] - expected == pytest.approx((change[0] - change[1]) / (2 * step), rel=1e-4)


def test_what_does_not_vary_has_no_correlation():
    varied, constant = np.arange(5.0), np.ones(5)
    assert not spearman_values(varied, constant).any()
    assert not spearman_values(constant, varied).any()
    assert spearman_values(varied, varied**3).mean() == pytest.approx(1)
    assert spearman_values(varied, -varied).mean() == pytest.approx(-1)


def test_packed_scores_come_back():
    numbers = np.random.default_rng(0).normal(size=7).astype(np.float32)
    assert np.array_equal(unpack_scores(pack_scores(numbers)), numbers)


def test_packed_ranks_have_the_same_rank_correlation():
    random = np.random.default_rng(3)
    truth, predicted = random.integers(0, 9, 400), random.normal(size=400).round(1)
    packed = [unpack_ranks(pack_ranks(numbers)) for numbers in (truth, predicted)]
    assert np.array_equal(spearman_values(*packed), spearman_values(truth, predicted))
    assert len(pack_ranks(truth)) == 1068
    with pytest.raises(AssertionError):
        pack_ranks(np.zeros(65_537))


def test_intervals_of_correlations_are_those_of_ranking_anew_in_every_resample():
    generator = np.random.default_rng(5)
    truth, good = scores(generator, 150, 6)
    poor = np.round(truth + generator.normal(0, 3.0, 150), 1)
    gain = 100 * (spearman_values(truth, good) - spearman_values(truth, poor))
    result = compare_sets([np.tile(gain, (5, 1))])
    resampled = []
    for _ in range(1_000):
        weights = generator.multinomial(150, np.full(150, 1 / 150)) / 150
        each = [weighted_spearman(truth, predicted, weights) for predicted in (good, poor)]
        resampled.append(100 * (each[0] - each[1]))
    low, high = np.quantile(resampled, [0.025, 0.975])
    assert result.low == pytest.approx(low, abs=0.1 * (high - low))
    assert result.high == pytest.approx(high, abs=0.1 * (high - low))


def test_a_single_set_of_answers_gives_what_compare_gives():
    generator = np.random.default_rng(4)
    first, second = answers(generator, [0.90, 0.91, 0.93], 800), answers(generator, [0.88] * 3, 800)
    one, other = compare(first, second), compare_sets([100.0 * (first.astype(float) - second)])
    assert other.mean == pytest.approx(one.mean)
    assert (other.low, other.high) == pytest.approx((one.low, one.high), abs=0.03 * (one.high - one.low))
    assert (other.n_seeds, other.n_texts) == (3, 800)
    assert math.isnan(other.mcnemar)


def test_every_set_counts_the_same_and_seeds_go_through_all_sets():
    sizes = 50, 5_000
    seeds = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])[:, None]
    gains = [seeds + np.zeros((5, sizes[0])), 3 + seeds + np.zeros((5, sizes[1]))]
    result = compare_sets(gains)
    assert result.mean == pytest.approx(1.5)
    half = 2.776 * np.std(seeds, ddof=1) / np.sqrt(5)  # of the mean of both; t of 4 degrees
    assert result.high - result.low == pytest.approx(2 * half, rel=1e-3)
    opposite = compare_sets([gains[0], 3 - seeds + np.zeros((5, sizes[1]))])
    assert opposite.high - opposite.low == pytest.approx(0, abs=1e-9)
    noise = np.random.default_rng(0).normal(0, 10, sizes[0])
    texts = compare_sets([np.tile(noise, (5, 1)), np.zeros((5, sizes[1]))])
    error = noise.std(ddof=1) / np.sqrt(50) / 2
    assert texts.high - texts.low == pytest.approx(2 * 2.010 * error, rel=1e-3)  # t of 49 degrees


@pytest.mark.parametrize("is_shared", [True, False])
@pytest.mark.parametrize("n_texts", [200, 2_000])
def test_intervals_over_sets_hold_where_a_seed_acts_on_all_sets_alike(is_shared, n_texts):
    """Four sets whose figures rise and fall with the seed, together or each by itself."""
    print("seed 8")
    generator, n_held, n_draws = np.random.default_rng(8), 0, 300
    for _ in range(n_draws):
        shared = generator.normal(0, 0.6, (5, 1))
        gains = [
            generator.normal(0, 20, (5, n_texts))
            + generator.normal(0, 10, n_texts)
            + (shared if is_shared else generator.normal(0, 0.6, (5, 1)))
            for _ in range(4)
        ]
        result = compare_sets(gains)
        n_held += result.low <= 0 <= result.high
    assert n_held >= n_draws * LEVEL - 3 * np.sqrt(n_draws * LEVEL * (1 - LEVEL))


def test_the_interval_is_that_of_a_bootstrap_of_many_seeds_and_texts():
    generator = np.random.default_rng(7)
    easy = generator.normal(0.8, 0.1, 400)
    both = [generator.random((60, 400)) < easy + generator.normal(0, 0.02, (60, 1)) for _ in range(2)]
    result, gains = compare(*both), 100 * (both[0].astype(float) - both[1])
    means = [
        gains[generator.integers(0, 60, 60)][:, generator.integers(0, 400, 400)].mean() for _ in range(2_000)
    ]
    low, high = np.quantile(means, [0.025, 0.975])
    assert (result.low, result.high) == pytest.approx((low, high), abs=0.12 * (high - low))


def test_intervals_over_sets_hold_the_truth_as_often_as_they_say():
    """Equal systems on a set with scores and one with classes; 150 draws from a printed seed."""
    print("seed 6")
    generator, n_held = np.random.default_rng(6), 0
    for _ in range(150):
        truth = generator.normal(size=200)
        hard, easy = generator.normal(0, 1, 200), generator.normal(0.8, 0.1, 150)
        sets = []
        for _ in "ab":
            noise = hard + generator.normal(0, 0.5, (5, 200)) + generator.normal(0, 0.05, (5, 1)) * truth
            correlations = np.stack([spearman_values(truth, truth + each) for each in noise])
            right = generator.random((5, 150)) < easy + generator.normal(0, 0.01, (5, 1))
            sets.append((100 * correlations, 100.0 * right))
        result = compare_sets([first - second for first, second in zip(*sets, strict=True)])
        n_held += result.low <= 0 <= result.high
    assert n_held >= 150 * LEVEL - 3 * np.sqrt(150 * LEVEL * (1 - LEVEL))


def test_sets_without_a_seed_or_a_text_or_of_other_seeds_are_refused():
    for shapes in ([], [(0, 3)], [(2, 0)], [(2, 3), (3, 3)], [(3,)]):
        with pytest.raises(ValueError, match=r"expected arrays of the shape \(S, N\) for one S, found"):
            compare_sets([np.zeros(shape) for shape in shapes])
    result = compare_sets([np.ones((1, 9))])
    assert (result.mean, result.low, result.high) == (1, -np.inf, np.inf)


def difference(low, high, n_seeds=MIN_SEEDS):
    return Lead((low + high) / 2, low, high, n_seeds, 100)


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


def test_a_lead_can_be_turned_around_and_shifted():
    lead = Lead(1.0, 0.5, 2.0, 5, 10)
    assert (lead.reversed.mean, lead.reversed.low, lead.reversed.high) == (-1.0, -2.0, -0.5)
    shifted = lead.shifted(-3)
    assert (shifted.mean, shifted.low, shifted.high) == (-2.0, -2.5, -1.0)


def test_one_seed_tells_nothing_about_others():
    lead = compare(np.ones((1, 10), dtype=bool), np.zeros((1, 10), dtype=bool))
    assert str(lead) == "+100.00 points (one seed)"
    assert judge_lead(lead) == OPEN


def test_an_accuracy_has_the_interval_of_its_texts_and_seeds():
    generator = np.random.default_rng(5)
    right = np.repeat(answers(generator, [0.9], 4_000), 5, axis=0)
    interval = interval_of_accuracy(right)
    half = 196 * right[0].std() / np.sqrt(4_000)
    assert interval.mean == pytest.approx(100 * right.mean())
    assert interval.low == pytest.approx(interval.mean - half, abs=0.06)
    assert interval.high == pytest.approx(interval.mean + half, abs=0.06)
    wider = interval_of_accuracy(right, n_intervals=20)
    assert wider.low < interval.low < interval.high < wider.high
    spread = np.arange(4_000) < np.array([[2_000], [4_000], [4_000], [4_000], [4_000]])
    assert interval_of_accuracy(spread).low < 80
    assert interval_of_accuracy(spread).high <= 100


def test_no_error_among_few_texts_does_not_mean_that_there_is_none():
    assert interval_of_accuracy(np.ones((5, 40), dtype=bool)).low == pytest.approx(100 * 0.025 ** (1 / 40))
    assert interval_of_accuracy(np.ones((5, 40), dtype=bool)).high == 100
    none = interval_of_accuracy(np.zeros((5, 40), dtype=bool))
    assert (none.low, none.high) == (0, pytest.approx(100 - 100 * 0.025 ** (1 / 40)))


@pytest.mark.parametrize(
    ("low", "high", "n_seeds", "expected"),
    [
        (95.1, 99.0, 5, HOLDS),
        (90.0, 94.9, 5, FAILS),
        (94.5, 96.5, 5, OPEN),
        (93.5, 95.5, 5, OPEN),
        (95.1, 99.0, 4, OPEN),
        (90.0, 94.9, 4, OPEN),
    ],
)
def test_every_verdict_about_an_accuracy(low, high, n_seeds, expected):
    assert judge_above(Accuracy((low + high) / 2, low, high, n_seeds, 400), 95) == expected


def test_seeds_are_compared_by_students_t():
    """By hand: differences 1, 2, 3, 4, 5; t of 4 degrees at 97.5 % is 2.776445."""
    result = compare_seeds([2.0, 4, 6, 8, 10], [1.0, 2, 3, 4, 5])
    half = 2.776445 * math.sqrt(2.5) / math.sqrt(5)
    assert result[:4] == pytest.approx((3.0, 3 - half, 3 + half, 5), abs=1e-5)
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


@pytest.mark.parametrize(
    ("verdicts", "without_loss", "some"),
    [
        ([SAME, SAME], SAME, SAME),
        ([SAME, HOLDS], HOLDS, HOLDS),
        ([HOLDS, HOLDS], HOLDS, HOLDS),
        ([SAME, OPEN], OPEN, OPEN),
        ([HOLDS, OPEN], OPEN, HOLDS),
        ([FAILS, HOLDS], FAILS, HOLDS),
        ([FAILS, OPEN], FAILS, OPEN),
        ([FAILS, SAME], FAILS, FAILS),
        ([FAILS], FAILS, FAILS),
    ],
)
def test_verdicts_are_joined_as_the_claim_says(verdicts, without_loss, some):
    assert judge_all_without_loss(verdicts) == without_loss
    assert judge_any(verdicts) == some


@pytest.mark.parametrize(
    ("low", "high", "n_seeds", "expected"),
    [(1.1, 2, 5, HOLDS), (-3, 0.9, 5, FAILS), (0.5, 1.5, 5, OPEN), (1.1, 2, 4, OPEN)],
)
def test_every_verdict_about_a_threshold(low, high, n_seeds, expected):
    assert judge_above(difference(low, high, n_seeds), 1.0) == expected
