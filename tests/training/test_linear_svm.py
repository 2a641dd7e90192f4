"""Amplitudes: the minimum of the convex problem, energies as information, and how rows are counted."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_svm_cases import (
    Rows,
    best_scores,
    best_weights,
    case_of,
    costs_and_signs,
    gap_of,
    matrix_of,
    random_texts,
    scores_of,
)
from training_data import ragged

from token2wave.core import load_core
from token2wave.features import WordConfig, fit_features
from token2wave.features.hashed_texts import HashedTexts
from token2wave.inference.reference import product
from token2wave.training import linear_svm as module
from token2wave.training.char_ngrams import CharNgrams
from token2wave.training.examples import Examples
from token2wave.training.linear_svm import (
    MARGIN_IN_LOGITS,
    PRIOR_TEXTS,
    CompiledLinearSVM,
    LinearSVM,
    LinearSVMWeights,
)
from token2wave.training.schedule import document_frequency

needs_core = pytest.mark.skipif(load_core() is None, reason="the native core is not built")
CASES = {
    "two classes": {"n_classes": 2},
    "one block": {"n_classes": 8, "n_texts": 60},
    "two blocks": {"n_classes": 9, "n_texts": 60},
    "classes without texts": {"n_classes": 33},
    "weights": {"n_classes": 3, "weighted": True},
    "n-grams": {"n_classes": 3, "share": 0.5},
    "n-grams and weights": {"n_classes": 9, "share": 1.0, "weighted": True},
}
every_case = pytest.mark.parametrize("name", CASES)


@pytest.fixture(params=[pytest.param("1", id="native", marks=needs_core), pytest.param("0", id="numpy")])
def solver(request, monkeypatch):
    monkeypatch.setenv("TOKEN2WAVE_NATIVE", request.param)
    return request.param


@pytest.fixture
def exact(monkeypatch):
    monkeypatch.setattr(module, "TOLERANCE", 1e-4)
    monkeypatch.setattr(module, "MAX_PASSES", 3_000)
    monkeypatch.setattr(module, "MAX_VISITS", 10**9)


# ---- the minimum ----


@every_case
def test_the_minimum_is_that_of_scikit_learn(name, solver, exact):
    problem, _, share = case_of(**CASES[name])
    found = problem.solve(share)
    assert 1 < found.passes < 3_000
    for texts in (problem.train.features, random_texts(20, len(problem.information), 9)):
        np.testing.assert_allclose(
            scores_of(found, texts), best_scores(problem, texts, share), rtol=0, atol=2e-3
        )


@every_case
@pytest.mark.parametrize("seed", [1, 2])
def test_both_solvers_find_the_same_rows(name, seed, exact, monkeypatch):
    problem, char_ngrams, share = case_of(**CASES[name], seed=seed)
    found = []
    for native in ("1", "0"):
        monkeypatch.setenv("TOKEN2WAVE_NATIVE", native)
        found.append(problem.solve(share))
        assert found[-1].rows.shape == (len(problem.information), problem.n_classes)
        assert found[-1].rows.dtype == found[-1].bias.dtype == np.float32
    np.testing.assert_allclose(found[0].rows, found[1].rows, rtol=0, atol=2e-3)
    np.testing.assert_allclose(found[0].bias, found[1].bias, rtol=0, atol=2e-3)
    assert (char_ngrams.n_grams > 0) == (share > 0)


@every_case
def test_the_duality_gap_is_closed(name, solver, exact):
    """The certificate of a minimum that needs no other solver."""
    problem, _, share = case_of(**CASES[name], seed=3)
    scores = scores_of(problem.solve(share), problem.train.features)
    for label in range(problem.n_classes):
        primal, gap = gap_of(problem, scores, share, label)
        assert -1e-6 * primal <= gap <= 2e-3 * (primal + 1)


@every_case
def test_the_nearest_to_what_was_learnt_before(name, solver, exact):
    """At the minimum a row has moved by its energy times its texts' violations: w - w0 = sum a y x."""
    problem, _, _ = case_of(**CASES[name], seed=5)
    random = np.random.default_rng(5)
    shape = len(problem.information), problem.n_classes
    before = LinearSVMWeights(
        random.normal(size=shape).astype(np.float32), random.normal(size=shape[1]).astype(np.float32), 0
    )
    kept = before.rows.copy(), before.bias.copy()
    found = problem.solve(0.0, before)
    assert (before.rows == kept[0]).all()
    assert (before.bias == kept[1]).all()
    features, scores = problem.train.features, scores_of(found, problem.train.features)
    counts = np.zeros((len(features), shape[0]))
    for text in range(len(features)):
        ids = features.ids[features.offsets[text] : features.offsets[text + 1]]
        np.add.at(counts[text], ids, 1 / np.sqrt(max(len(ids), 1)))
    for label in range(problem.n_classes):
        costs, signs = costs_and_signs(problem, label)
        violations = 2 * costs * np.maximum(0, 1 - signs * scores[:, label]) * signs
        moved = problem.information * (violations @ counts)
        np.testing.assert_allclose(found.rows[:, label] - before.rows[:, label], moved, rtol=0, atol=2e-2)
        assert found.bias[label] - before.bias[label] == pytest.approx(violations.sum(), abs=2e-2)


@pytest.mark.parametrize("n_dense", [1, 8, 14])
@pytest.mark.parametrize("name", ["two classes", "n-grams and weights"])
def test_a_path_of_costs_with_dense_features(name, n_dense, solver, exact):
    """Every weight at every cost is that of scikit-learn, and each cost starts from the one before."""
    problem, char_ngrams, share = case_of(**CASES[name], n_dense=n_dense)
    problem.char_ngrams = CharNgrams(char_ngrams.offsets, char_ngrams.ids, np.arange(char_ngrams.n_grams) + 7)
    roots = np.sqrt(np.maximum(problem.train.features.lengths, 1))[:, None]
    problem.dense[:2] = 0  # texts without words
    problem.dense_square = float((problem.dense**2 / roots**2).sum(axis=1).mean())
    columns = matrix_of(problem, problem.train.features, share)
    dense_scale, first = 2 / np.sqrt(problem.dense_square), len(problem.information)
    matrix = np.concatenate([columns, dense_scale * problem.dense / roots], axis=1)
    costs = 0.1, 1.0, 10.0, 10.0
    path = problem.solve_path(share, 2.0, costs)
    for cost, weights in zip(costs, path, strict=True):
        best = best_weights(problem, matrix, cost).T
        close = {"rtol": 0, "atol": 1e-3 * max(cost, 1)}
        np.testing.assert_allclose(weights.bias, best[columns.shape[1] - 1], **close)
        np.testing.assert_allclose(weights.dense, dense_scale * best[columns.shape[1] :], **close)
        gram_scales = share * np.sqrt(problem.gram_information / problem.grams_of_a_feature)
        grams = gram_scales[:, None] * best[first : columns.shape[1] - 1]
        np.testing.assert_allclose(weights.gram_weights, grams, **close)
        assert weights.gram_hashes.tolist() == list(range(7, 7 + char_ngrams.n_grams))
        rows = np.sqrt(problem.information)[:, None] * best[:first]
        np.add.at(rows, char_ngrams.rows, grams[char_ngrams.ids])
        np.testing.assert_allclose(weights.rows, rows, **close)
    assert path[-1].passes < path[-2].passes / 4
    without = problem.solve_path(share, 0.0, costs[:1])[0]
    assert without.dense.shape == path[0].dense.shape
    assert not without.dense.any()


def test_features_scaled_by_inverse_document_frequency(solver, exact):
    """The same problem as with the information replaced by the square of the scale."""
    problem, _, share = case_of(3, share=0.5)
    n_texts = document_frequency(problem.train.features, 14)
    problem.gram_texts = np.arange(problem.char_ngrams.n_grams) * 7.0  # more than there are texts, too
    weights = problem.solve_path(share, 0.0, [1.0], feature_scale="idf")[0]
    scales = []
    for frequency in (n_texts, problem.gram_texts):
        idf = np.log(51 / (1 + np.minimum(frequency, 50))) + 1  # of 50 texts
        idf /= np.sqrt((idf**2 * frequency).sum() / frequency.sum())
        scales.append(idf**2)
    problem.information, problem.gram_information = scales
    texts = problem.train.features
    np.testing.assert_allclose(
        scores_of(weights, texts), best_scores(problem, texts, share), rtol=0, atol=2e-3
    )


def test_the_tolerance_in_use_is_near_the_minimum(solver):
    problem, _, share = case_of(3, n_texts=120, share=0.5)
    found = problem.solve(share)
    texts = problem.train.features.take(np.arange(3, 120))  # without the one of far larger size
    difference = scores_of(found, texts) - best_scores(problem, texts, share)
    assert np.abs(difference).max() < module.TOLERANCE


def test_passes_end_where_they_must(solver, monkeypatch):
    monkeypatch.setattr(module, "TOLERANCE", 0.0)
    monkeypatch.setattr(module, "MAX_PASSES", 3)
    assert case_of(3).problem.solve(0.0).passes == 3


def test_what_n_grams_say_is_in_the_rows_of_their_words(solver, exact):
    """A row that no text has, but whose n-grams others have, says what these say, and no more."""
    n_rows = 3
    features = ragged([[0], [0, 2], [2], [2]])
    problem = LinearSVM(Examples(features, np.array([0, 0, 1, 1])), Rows(n_rows), 2, 0)
    problem.char_ngrams = CharNgrams(np.array([0, 1, 3, 3]), np.array([0, 0, 0], np.int32))
    problem.gram_information = np.ones(1, np.float32)
    problem.information[:] = 1
    rows = problem.solve(1.0).rows
    assert rows[0, 0] > 0.2
    np.testing.assert_allclose(rows[1], rows[0], rtol=1e-5)  # twice the n-gram: half of row 0 is its own
    assert not problem.solve(0.0).rows[1].any()


def test_no_texts_and_texts_without_features(solver):
    nothing = LinearSVM(Examples(ragged([]), np.zeros(0, np.int64)), Rows(2), 2, 0)
    assert not nothing.solve(0.0).rows.any()
    empty = LinearSVM(Examples(ragged([[], []]), np.array([0, 0])), Rows(2), 2, 0)
    found = empty.solve(0.0)
    assert not found.rows.any()
    assert found.bias[0] > 0.5 > -0.5 > found.bias[1]


def test_a_text_of_no_cost_is_as_good_as_none(solver, exact):
    random = np.random.default_rng(0)
    labels, weights = random.integers(0, 3, 40), np.ones(40, np.float32)
    texts = random_texts(40, 10, 0)
    weights[::3] = 0
    kept = np.flatnonzero(weights)
    whole = LinearSVM(Examples(texts, labels, weights), Rows(10), 3, 0)
    part = LinearSVM(Examples(texts.take(kept), labels[kept]), Rows(10), 3, 0)
    part.information = whole.information
    # The weights' mean is one over all 40 texts.
    part.costs[:] = 40 / len(kept)
    np.testing.assert_allclose(whole.solve(0.0).rows, part.solve(0.0).rows, atol=2e-3)


def test_character_ngrams_that_tell_little_are_left_out():
    """Those of ``same`` are in texts of both classes; of ``left`` and ``right`` in texts of one."""
    texts = HashedTexts(["same samey left lefty"] * 20 + ["same samey right righty"] * 20)
    labels = np.repeat([0, 1], 20)
    features, encoded = fit_features(texts, WordConfig(ngrams=1, bits=20, min_count=1))
    examples = replace(Examples.of_texts(texts, labels), features=encoded)
    grams = LinearSVM(examples, features, 2, 0, char_ngrams=True).char_ngrams
    rows = {word: features([word]).ids[0] for word in ("same", "samey", "left", "lefty", "right", "righty")}
    assert {word: grams.counts[row] > 0 for word, row in rows.items()} == {
        word: not word.startswith("same") for word in rows
    }


# ---- the same bits ----


@every_case
def test_a_solution_starts_from_the_dual_variables_of_another(name, solver, exact):
    problem, _, share = case_of(**CASES[name], n_dense=8)
    alphas = problem.initial_alphas()
    cold, first = problem.solve_path(share, 1.0, (1.0,), alphas=alphas)[0], alphas.copy()
    assert (alphas >= 0).all()
    assert alphas.any()
    again = problem.solve_path(share, 1.0, (1.0,), alphas=alphas)[0]
    assert again.passes < cold.passes / 4
    np.testing.assert_allclose(again.rows, cold.rows, rtol=0, atol=2e-3)
    problem.solve_path(share, 0.5, (2.0,), alphas=alphas)
    other = problem.solve_path(share, 0.5, (2.0,), alphas=first)[0]
    plain = problem.solve_path(share, 0.5, (2.0,))[0]
    for warm, values in zip(other, plain, strict=True):
        if not isinstance(warm, int):
            np.testing.assert_allclose(warm, values, rtol=0, atol=2e-3)
    np.testing.assert_allclose(first, alphas, rtol=0, atol=2e-3)


@needs_core
@pytest.mark.parametrize(
    "name", ["two classes", "n-grams", "two blocks", "n-grams and weights", "classes without texts"]
)
def test_threads_make_no_difference_and_a_seed_does(name, monkeypatch):
    paths = []
    for n_threads in ("1", "2", "3", "1"):
        monkeypatch.setenv("OMP_NUM_THREADS", n_threads)
        problem, _, share = case_of(**CASES[name], n_dense=8)
        paths.append(problem.solve_path(share, 1.0, (0.3, 1.0)))
    for path in paths[1:]:
        for other, first in zip(path, paths[0], strict=True):
            for values, expected in zip(other, first, strict=True):
                assert np.asarray(values).tobytes() == np.asarray(expected).tobytes()
    problem.seed += 1
    assert problem.solve_path(share, 1.0, (0.3,))[0].rows.tobytes() != paths[0][0].rows.tobytes()


@needs_core
def test_a_class_does_not_depend_on_the_others_beside_it(exact):
    """Each against the rest: the classes of a block share nothing but the order of the texts."""
    problem, _, _ = case_of(9, n_texts=60)
    together = problem.solve(0.0)
    labels = np.where(problem.train.labels == 8, 0, 1)
    alone = LinearSVM(Examples(problem.train.features, labels), Rows(14), 2, 0)
    alone.information = problem.information
    np.testing.assert_allclose(alone.solve(0.0).rows[:, 0], together.rows[:, 8], atol=2e-3)


@pytest.mark.parametrize("shape", [(0, 3, 2), (1, 96, 4), (9_000, 96, 33), (40_000, 80, 16), (5, 2_000, 300)])
def test_products_do_not_depend_on_the_threads_of_the_blas(shape):
    threadpoolctl = pytest.importorskip("threadpoolctl")
    random, (n, k, m) = np.random.default_rng(1), shape
    a, b = random.normal(size=(n, k)).astype(np.float32), random.normal(size=(k, m)).astype(np.float32)
    found = []
    for n_threads in (1, 2, 4):
        with threadpoolctl.threadpool_limits(n_threads, user_api="blas"):
            found.append(product(a, b))
    assert found[0].tobytes() == found[1].tobytes() == found[2].tobytes()
    assert found[0].dtype == np.float32
    np.testing.assert_allclose(found[0], a.astype(np.float64) @ b, rtol=0, atol=1e-3)


# ---- logits ----


def test_logits_by_hand():
    rows, bias = np.array([[1, -1], [3, 5]], np.float32), np.array([0.25, -0.5], np.float32)
    solution = CompiledLinearSVM(rows, bias, np.array([[4, 6]], np.float32))
    features = ragged([[], [0], [0, 1, 1, 1], [0, 1, 1, 2, 2]])  # the last has two n-grams of one token
    logits = solution.logits(replace(features, n_oov_tokens=np.array([0, 0, 0, 1])))
    expected = [
        [0.25, -0.5],
        [1.25, -1.5],
        [(1 + 9) / 2 + 0.25, (15 - 1) / 2 - 0.5],
        [(1 + 6 + 8) / 2 + 0.25, (10 - 1 + 12) / 2 - 0.5],
    ]
    np.testing.assert_allclose(logits, MARGIN_IN_LOGITS * np.array(expected), rtol=1e-6)


# ---- energies ----


def plain_energies(texts: list[list[int]], labels: list[int], n_rows: int, n_classes: int) -> list[float]:
    """Divergence of the classes of the texts that have a row from those of all, in nats; their mean one."""
    information, found = [], []
    usual = [labels.count(c) / len(labels) for c in range(n_classes)]
    for row in range(n_rows):
        having = [label for text, label in zip(texts, labels, strict=True) if row in text]
        total = 0.0
        for c in range(n_classes):
            share = (having.count(c) + PRIOR_TEXTS * usual[c]) / (len(having) + PRIOR_TEXTS)
            total += share * math.log(share / usual[c]) if share else 0.0
        information.append(total)
        found.append(len(having))
    mean = sum(i * f for i, f in zip(information, found, strict=True)) / max(sum(found), 1)
    return [i / mean if mean > 1e-12 else 1.0 for i in information]


@settings(deadline=None, max_examples=60)
@given(data=st.data(), n_classes=st.integers(2, 5), n_texts=st.integers(1, 30))
def test_energies_are_information(data, n_classes, n_texts):
    rows = st.lists(st.integers(0, 6), max_size=6)
    texts = data.draw(st.lists(rows, min_size=n_texts, max_size=n_texts))
    labels = data.draw(st.lists(st.integers(0, n_classes - 1), min_size=n_texts, max_size=n_texts))
    problem = LinearSVM(Examples(ragged(texts), np.array(labels)), Rows(7), n_classes, 0)
    expected = plain_energies(texts, labels, 7, n_classes)
    if len(set(labels)) == 1 or max(expected) > 1e3:  # all but nothing, divided by all but nothing
        return
    np.testing.assert_allclose(problem.information, expected, rtol=5e-3, atol=5e-3)


def test_energies_have_a_mean_of_one_over_all_occurrences():
    problem, _, _ = case_of(4, n_texts=200)
    features, labels = problem.train.features, problem.train.labels
    found = document_frequency(features, 14, labels, 4).sum(axis=1)
    assert problem.information @ found / found.sum() == pytest.approx(1, rel=1e-4)
    assert (problem.information >= 0).all()


def test_one_class_alone_gives_every_row_the_same_energy(solver):
    problem = LinearSVM(Examples(ragged([[0, 1], [1]]), np.array([1, 1])), Rows(3), 2, 0)
    np.testing.assert_array_equal(problem.information, 1)
    logits = problem.compiled(problem.solve(0.0)).logits(problem.train.features)
    assert (logits[:, 1] > logits[:, 0]).all()


def test_a_row_that_tells_the_class_has_more_energy():
    texts, labels = [[0, 2], [0, 2], [1, 2], [1, 2]] * 10, [0, 0, 1, 1] * 10
    energies = LinearSVM(Examples(ragged(texts), np.array(labels)), Rows(3), 2, 0).information
    assert energies[0] == pytest.approx(energies[1])
    assert energies[2] < 1e-5
    assert energies[0] > 1


# ---- counting ----


@settings(deadline=None, max_examples=60)
@given(data=st.data(), n_texts=st.integers(0, 12))
def test_rows_are_counted_once_a_text(data, n_texts):
    rows = st.lists(st.integers(0, 5), max_size=9)
    texts = data.draw(st.lists(rows, min_size=n_texts, max_size=n_texts))
    labels = data.draw(st.lists(st.integers(0, 2), min_size=n_texts, max_size=n_texts))
    expected = np.zeros((6, 3), np.int64)
    for text, label in zip(texts, labels, strict=True):
        for row in set(text):
            expected[row, label] += 1
    for native in ("1", "0"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TOKEN2WAVE_NATIVE", native)
            found = document_frequency(ragged(texts), 6, np.array(labels, np.int64), 3)
        np.testing.assert_array_equal(found, expected)
