"""Measures of independence, the study in miniature, and verdicts from made-up figures."""

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from small_studies import check_study, ragged

from paper import eigenvalue_spread
from paper.eigenvalue_spread import MEASURES, PLACES, covariance_eigenvalues, spread_measures, text_states
from paper.result_store import NotFinishedError, ResultStore
from paper.rivals.transformer import TransformerConfig, TransformerNetwork
from paper.statistics import pack_answers
from paper.studies import independence
from paper.studies.independence import QUICK, STUDY, compared_systems, follow, steps_of
from paper.studies.independence_results import (
    ALL_SETS,
    correlate,
    order_transformer,
    penalty_leads,
    rank_rises,
)
from paper.study import Options
from paper.verdicts import FAILS, HOLDS, OPEN, SAME
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
    result = covariance_eigenvalues(states_with(known, 50))
    assert result == pytest.approx(known)
    spread = spread_measures(result)
    assert spread["largest_share"] == pytest.approx(0.7)
    assert spread["smallest_over_largest"] == pytest.approx(0.5 / 7)
    entropy = -(0.7 * np.log(0.7) + 0.2 * np.log(0.2) + 2 * 0.05 * np.log(0.05))
    assert spread["effective_rank"] == pytest.approx(np.exp(entropy))


def test_there_are_as_many_eigenvalues_as_can_differ_from_zero():
    random = np.random.default_rng(1)
    states = random.standard_normal((40, 7)).astype(np.float32)
    expected = np.sort(np.linalg.eigvalsh(np.cov(states.T.astype(np.float64))))[::-1]
    assert covariance_eigenvalues(states) == pytest.approx(expected)
    eigenvalues = covariance_eigenvalues(random.standard_normal((32, 768)))
    assert eigenvalues.shape == (31,)
    assert eigenvalues[-1] > 1


def test_even_and_uneven_spread():
    even = spread_measures(np.full(9, 3.0))
    assert even == pytest.approx({"largest_share": 1 / 9, "smallest_over_largest": 1, "effective_rank": 9})
    single = spread_measures(np.array([4.0, 0.0, 0.0]))
    assert single == pytest.approx({"largest_share": 1, "smallest_over_largest": 0, "effective_rank": 1})
    assert spread_measures(np.zeros(3))["effective_rank"] == 0


def test_batches_have_32_texts_each(monkeypatch):
    sizes = []
    counted = covariance_eigenvalues
    monkeypatch.setattr(
        eigenvalue_spread, "covariance_eigenvalues", lambda s: sizes.append(len(s)) or counted(s)
    )
    states = np.random.default_rng(3).standard_normal((127, 5)).astype(np.float32)
    result = eigenvalue_spread.measure_batches(states)
    assert sizes == [32, 32, 32]
    assert {len(values) for values in result.values()} == {3}
    second = spread_measures(counted(states[32:64]))
    assert {name: values[1] for name, values in result.items()} == second
    few = eigenvalue_spread.measure_batches(states[:20])
    assert {len(values) for values in few.values()} == {1}


@pytest.mark.parametrize("kind", ["wave", "transformer"])
def test_states_are_what_the_norm_and_the_classifier_get(kind):
    torch.manual_seed(0)
    if kind == "wave":
        network = WaveNetwork(WaveConfig(20, 3, width=6)).eval()
        norm = network.norm
    else:
        network = TransformerNetwork(TransformerConfig(20, 3, width=6, heads=2, feed_forward=8)).eval()
        norm = network.layers[-1].norm2
    with torch.no_grad():  # a new norm has weights of one, which would hide a swap of before and after
        norm.weight.uniform_(0.5, 2)
    random = np.random.default_rng(0)
    features = ragged([random.integers(0, 20, length) for length in (5, 2, 9, 3)])
    states = {place: torch.from_numpy(each) for place, each in text_states(network, features).items()}
    with torch.no_grad():
        assert torch.allclose(network.head(states["after"]), network(make_batch(features)), atol=1e-6)
        assert torch.allclose(norm(states["before"]), states["after"], atol=1e-6)
    assert not torch.allclose(states["before"], states["after"], atol=0.1)
    assert not norm._forward_hooks


@pytest.fixture
def small_weights(monkeypatch):
    """Two weights; the larger one works on networks of width 16, which train for some steps only."""
    monkeypatch.setattr(independence, "WEIGHTS", (0.0, 30.0))


@pytest.mark.usefixtures("small", "small_weights")
def test_the_miniature_is_complete_resumes_and_draws(splits, tmp_path, monkeypatch):
    options = Options(splits, quick=True)
    with pytest.raises(NotFinishedError):
        STUDY.measure(ResultStore(tmp_path, device="cpu", finished_only=True), options)
    document = STUDY.measure(ResultStore(tmp_path, device="cpu"), options)
    systems = {"wave-interference", "wave-modulation", "transformer-random"}
    assert {course["system"] for course in document["courses"]} == systems
    for course in document["courses"]:
        assert [run["seed"] for run in course["runs"]] == [0, 1]
        for run, place, name in itertools.product(course["runs"], PLACES, MEASURES):
            assert len(set(run[place][name])) == 3
            assert len(course["deviations"][place][name]) == 3
    assert len(document["penalised"]) == 4
    assert len(document["widths"]) == 8
    assert document["unfinished"] == []
    assert "embeddings is left out" in document["caveats"][-1]
    drawn = ["independence", "independence-accuracy", "independence-penalty", "independence-training"]
    assert check_study(STUDY, document, drawn) == document
    assert [len(table.rows) for table in STUDY.tables(document)] == [6, 6, 4, 4]
    assert {claim.verdict for claim in STUDY.claims(document)} <= {OPEN, FAILS, HOLDS}
    for name in ("train_and_answer", "probe_training"):
        monkeypatch.setattr(independence, name, lambda *_, **__: pytest.fail("was done before"))
    assert STUDY.measure(ResultStore(tmp_path, device="cpu"), options) == document
    for path in [
        *tmp_path.glob("**/penalty-modulation-16-30-1-*"),
        *tmp_path.glob("**/course-wave-mod*-0-*"),
    ]:
        path.unlink()
    partial = STUDY.measure(ResultStore(tmp_path, device="cpu", finished_only=True), options)
    assert partial["unfinished"] == ["topics, modulation-16-30", "topics, wave-modulation"]
    assert "topics, wave-modulation" in STUDY.tables(partial)[0].caption
    assert set(penalty_leads(partial)) == {("topics", "interference", 30.0)}
    assert order_transformer(partial, "transformer-random") is None


@pytest.mark.usefixtures("small")
def test_a_course_does_not_depend_on_how_far_it_goes(splits):
    """The rate is constant, so networks that take more steps can be compared on the way."""
    data = Options(splits, quick=True).load(600, 320)
    system = compared_systems(16)[0]
    longer = follow(ResultStore(device="cpu"), data, system, QUICK, 0)
    shorter = follow(ResultStore(device="cpu"), data, system, QUICK._replace(steps=(0, 5)), 0)
    for place, name in itertools.product(PLACES, MEASURES):
        assert shorter[place][name] == longer[place][name][:2]
        assert min(longer["deviations"][place][name]) > 0
    assert "right" not in longer
    untrained = text_states(system.build(data, 0), independence._probed(data))["before"]
    spreads = eigenvalue_spread.measure_batches(untrained)
    assert longer["before"]["effective_rank"][0] == pytest.approx(
        np.mean(spreads["effective_rank"]), rel=1e-3
    )


def test_compared_systems_start_alike_and_have_steps_in_common():
    *waves, equal, pretrained = compared_systems(128)
    assert [each.network["width"] for each in (*waves, equal)] == [128] * 3
    assert "width" not in {**pretrained.network} or pretrained.embeddings
    for each in (*waves, equal, pretrained):
        recipe = each.recipe
        assert (recipe.batch_size, recipe.decay, recipe.warmup, recipe.weight_decay) == (32, "constant", 0, 0)
        assert each.network["dropout"] == recipe.token_dropout == 0
    last = [steps_of(each, independence.FULL)[-1] for each in (*waves, equal, pretrained)]
    assert last == [5_000, 5_000, 1_000, 500]
    assert set(last) <= set(independence.STEPS)


def course(data, system, spreads, n_seeds=5, steps=(0, 10), before=None):
    """A system with these values of `MEASURES` after the last step, alike in seeds but for a thousandth."""

    def runs_of(values, seed):
        return {
            name: [1.0] * (len(steps) - 1) + [value * (1 + seed / 1000)]
            for name, value in zip(MEASURES, values, strict=True)
        }

    runs = [
        {
            "seed": seed,
            "test_accuracy": 0.9,
            "before": runs_of(before or spreads, seed),
            "after": runs_of(spreads, seed),
        }
        for seed in range(n_seeds)
    ]
    deviations = {place: {name: [0.1] * len(steps) for name in MEASURES} for place in PLACES}
    names = {"data": data, "system": system, "title": system, "steps": list(steps)}
    return {**names, "deviations": deviations, "runs": runs}


def document_of(courses=(), penalised=(), widths=(), sets=("one", "two"), n_texts=4_000):
    rows = {"train": 10, "validation": 5, "test": n_texts, "epochs": 3}
    settings = {
        "data": sets[0],
        "sets": dict.fromkeys(sets, rows),
        "width": 128,
        "unfinished": [],
    }
    settings |= {"seeds": list(range(5)), "caveats": []}
    return {**settings, "courses": list(courses), "penalised": list(penalised), "widths": list(widths)}


WAVES = {"wave-interference": (0.30, 0.01, 8.0), "wave-modulation": (0.26, 0.01, 9.0)}
INDEPENDENT, DEPENDENT = (0.2, 0.02, 10.0), (0.5, 0.001, 5.0)


def verdicts_of(document, beginning):
    return {
        claim.claim: claim.verdict for claim in STUDY.claims(document) if claim.claim.startswith(beginning)
    }


@pytest.mark.parametrize(
    ("transformers", "options", "expected"),
    [
        ((INDEPENDENT, INDEPENDENT), {}, HOLDS),
        ((DEPENDENT, DEPENDENT), {}, FAILS),
        ((INDEPENDENT, DEPENDENT), {}, OPEN),  # sets disagree
        (((0.5, 0.02, 10.0), INDEPENDENT), {}, OPEN),  # measures disagree
        (((0.2, 0.02, 9.02), INDEPENDENT), {}, OPEN),  # seeds overlap
        ((INDEPENDENT, INDEPENDENT), {"before": DEPENDENT}, OPEN),  # places disagree
        ((INDEPENDENT, INDEPENDENT), {"n_seeds": 4}, OPEN),
    ],
)
@pytest.mark.parametrize("rival", ["transformer-random", "transformer-pretrained"])
def test_which_is_more_independent(rival, transformers, options, expected):
    waves = [course(data, *wave) for data in ("one", "two") for wave in WAVES.items()]
    rivals = [
        course(data, rival, own, **options) for data, own in zip(("one", "two"), transformers, strict=True)
    ]
    document = document_of([*waves, *rivals])
    (claim, verdict), *others = verdicts_of(document, "The Transformer's dimensions").items()
    assert not others
    assert verdict == expected
    assert ("MiniLM" in claim) == (rival == "transformer-pretrained")
    (found,) = [each for each in STUDY.claims(document) if each.claim == claim]
    assert "before the norm, of 6 pairs" in found.evidence
    assert "after the norm, of 6 pairs" in found.evidence
    if expected == HOLDS:
        assert "more independent in 6, less in 0" in found.evidence
    rows = STUDY.tables(document)[1].rows
    assert {cell for row in rows for cell in row[4:]} <= {"more", "less", "overlap"}
    assert len(rows) == 6


def test_networks_are_compared_after_as_many_steps():
    """At 10 steps, the last of the Transformer, Wave networks are less independent, at 20 they are more."""
    waves = [course("one", system, (0.1, 0.1, 20.0), steps=(0, 10, 20)) for system in WAVES]
    rival = course("one", "transformer-random", INDEPENDENT, steps=(0, 10))
    document = document_of([*waves, rival], sets=("one",))
    orders = order_transformer(document, "transformer-random")
    assert orders.step == 10
    assert orders.signs["after", "one", "effective_rank"] == 1  # 10 against 1
    assert order_transformer(document, "transformer-pretrained") is None
    assert order_transformer(document_of([*waves, rival]), "transformer-random") is None  # no second set


@pytest.mark.parametrize(
    ("shares", "ratios", "n_seeds", "expected"),
    [
        ((0.26, 0.30), (0.01, 0.02), 5, [HOLDS, FAILS]),
        ((0.26, 0.40), (0.27, 0.3), 5, [FAILS, HOLDS]),
        ((0.26, 0.33), (0.27, 0.3), 5, [OPEN, HOLDS]),  # the seeds reach across
        ((0.26, 0.30), (0.01, 0.02), 4, [OPEN, OPEN]),
    ],
)
def test_the_cluster_of_both_ratios(shares, ratios, n_seeds, expected):
    """At the papers' width; seeds differ by a hundredth, networks of other widths do not count."""
    widths = [
        {"operation": operation, "width": width, "seed": seed, "test_accuracy": 0.9, "effective_rank": 3.0}
        | {"largest_share": share + (seed - 2) / 200, "smallest_over_largest": ratio}
        for operation, share, ratio in zip(("interference", "modulation"), shares, ratios, strict=True)
        for width, share in ((768, share), (128, 0.28))
        for seed in range(n_seeds)
    ]
    document = document_of(widths=widths)
    assert [*verdicts_of(document, "The Wave network's eigenvalue ratio").values()] == expected


def penalised(data, operation, weight, accuracy, rank, n_seeds=5, n_texts=4_000):
    """Networks whose wrong answers are nested, so that only their number tells, and of these ranks."""
    order = np.random.default_rng(0).permutation(n_texts)
    right = np.zeros(n_texts, dtype=bool)
    right[order[: round(accuracy * n_texts)]] = True
    spread = {"largest_share": 0.3, "smallest_over_largest": 0.01}
    ranks = np.broadcast_to(rank, n_seeds)
    runs = [
        {
            "seed": seed,
            "test_accuracy": float(right.mean()),
            "right": pack_answers(right),
            "after": {**spread, "effective_rank": float(ranks[seed])},
            "rank_before": 3.0,
        }
        for seed in range(n_seeds)
    ]
    return {"data": data, "operation": operation, "width": 128, "weight": weight, "runs": runs}


LOWEST_IN_ONE = (8.0, 8.0, 8.0, 8.0, 4.3)


@pytest.mark.parametrize(
    ("small", "large", "ranks", "n_seeds", "expected"),
    [
        ((0.95, 0.93), (0.96, 0.93), (6.0, 8.0), 5, HOLDS),
        ((0.9, 0.9), (0.9, 0.9), (6.0, 8.0), 5, SAME),
        ((0.95, 0.93), (0.9, 0.88), (6.0, 8.0), 5, FAILS),  # a weight loses
        ((0.85, 0.85), (0.85, 0.85), (6.0, 8.0), 5, FAILS),
        ((0.95, 0.93), (0.9, 0.9065), (6.0, 8.0), 5, OPEN),  # an interval across the margin
        ((0.95, 0.93), (0.96, 0.93), (4.3, 4.3), 5, OPEN),  # no clear rise
        ((0.95, 0.93), (0.96, 0.93), (LOWEST_IN_ONE, LOWEST_IN_ONE), 5, OPEN),  # none in one of the seeds
        ((0.95, 0.93), (0.96, 0.93), (6.0, 8.0), 4, OPEN),
    ],
)
def test_whether_independence_brings_accuracy(small, large, ranks, n_seeds, expected):
    runs = []
    for i, data in enumerate(("one", "two")):
        for weight, accuracy, rank in ((0.0, 0.9, 4.0), (0.3, small[i], ranks[0]), (1.0, large[i], ranks[1])):
            runs.append(penalised(data, "modulation", weight, accuracy, rank, n_seeds))
    document = document_of(penalised=runs)
    claims = verdicts_of(document, "Training for more independent dimensions")
    assert [*claims.values()] == [expected]
    assert "modulation" in next(iter(claims))
    leads = penalty_leads(document)
    assert set(leads) == set(itertools.product(("one", "two", ALL_SETS), ["modulation"], (0.3, 1.0)))
    assert leads[ALL_SETS, "modulation", 1.0].mean == pytest.approx(100 * (np.mean(large) - 0.9), abs=0.02)
    table = STUDY.tables(document)[0]
    assert len(table.rows) == 8
    by_key = {tuple(row[:3]): row for row in table.rows}
    if expected == HOLDS:
        assert by_key["two", "modulation", "1"][-4] == "+100 %"
        assert {row[-1] for row in table.rows} == {HOLDS, "-"}
    if ranks[0] == 4.3:
        assert {row[-1] for row in table.rows} == {OPEN, "-"}


def test_of_all_sets_and_seeds_the_lowest_rise_counts():
    runs = [penalised(data, "modulation", 0.0, 0.9, 4.0) for data in ("one", "two")]
    runs.append(penalised("one", "modulation", 1.0, 0.9, LOWEST_IN_ONE))
    runs.append(penalised("two", "modulation", 1.0, 0.9, 8.0))
    rises = rank_rises(document_of(penalised=runs))
    expected = {"one": 0.075, "two": 1.0, ALL_SETS: 0.075}
    assert {key[0]: value for key, value in rises.items()} == pytest.approx(expected)
    alone = rank_rises(document_of(penalised=runs[:3]))
    assert {key[0] for key in alone} == {"one"}  # not all sets are there


def networks(values, accuracies, width=64):
    return [
        {"width": width, "effective_rank": value, "test_accuracy": accuracy}
        for value, accuracy in zip(values, accuracies, strict=True)
    ]


def test_correlations_and_their_intervals():
    random = np.random.default_rng(0)
    values = random.random(40)
    noisy = values + 0.3 * random.random(40)
    rows = networks(values, noisy)
    result = correlate(rows, "effective_rank")
    assert result.value == pytest.approx(spearmanr(values, noisy).statistic)
    assert result.low < result.value < result.high <= 1
    again = [
        spearmanr(values[drawn], noisy[drawn]).statistic
        for drawn in np.random.default_rng(1).integers(0, 40, (2_000, 40))
    ]
    assert [result.low, result.high] == pytest.approx(np.quantile(again, [0.025, 0.975]), abs=0.02)
    wider = correlate(rows, "effective_rank", n_comparisons=12)
    assert wider.low < result.low


def test_a_correlation_within_widths_forgets_their_means():
    """Wider networks have more of both; within a width, more of one goes with less of the other."""
    rows = networks([1, 2, 3], [0.3, 0.2, 0.1], 64) + networks([11, 12, 13], [0.9, 0.8, 0.7], 128)
    assert correlate(rows, "effective_rank").value > 0.4
    assert correlate(rows, "effective_rank", within=True).value == pytest.approx(-1)


def test_what_does_not_vary_or_has_one_seed_has_no_correlation():
    assert correlate(networks([1, 1, 1], [0.1, 0.2, 0.3]), "effective_rank") is None
    assert correlate(networks([1], [0.1], 64) + networks([2], [0.2], 128), "effective_rank") is None
