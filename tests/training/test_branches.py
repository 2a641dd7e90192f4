"""Levels of a network put together and taken apart, and what chooses their weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import torch
from linear_svm_cases import Rows, random_texts
from training_data import ragged

import token2wave
from token2wave.data import TextDataset, TextSplit
from token2wave.features import WordConfig, fit_features
from token2wave.inference.reference import EMBEDDING, logits_of_features
from token2wave.models import WaveConfig, WaveNetwork
from token2wave.training import branches
from token2wave.training.additive_network import AdditiveNetwork
from token2wave.training.branches import (
    _sample_to_choose,
    add_linear_svm,
    branch_names,
    choose_by_folds,
    fit_branches,
    refit_linear_svm,
    remove_zero_branches,
)
from token2wave.training.calibration import (
    DOUBT,
    LinearSVMChoice,
    branch_logits,
    calibrate,
    choose_linear_svm,
    fit_classes,
    fit_weights,
    is_clear_gain,
    mixture_loss,
    scale_branches,
)
from token2wave.training.examples import Examples
from token2wave.training.linear_svm import (
    CHAR_NGRAM_WEIGHTS,
    COSTS,
    PRIOR_WEIGHTS,
    CompiledLinearSVM,
    LinearSVM,
    LinearSVMSettings,
)
from token2wave.training.recipe import Recipe

N_ROWS, N_CLASSES = 12, 3
TEXTS = random_texts(40, N_ROWS, 0)
NO_OOV = np.zeros((0, N_CLASSES), np.float32)
SHAPES = [("additive", 0), ("additive", 8), ("torch", 0), ("torch", 8)]
every_shape = pytest.mark.parametrize(("kind", "context_width"), SHAPES)


def waves_of(kind: str, context_width: int, seed: int = 0, n_rows: int = N_ROWS) -> Any:
    config = WaveConfig(
        n_rows,
        N_CLASSES,
        width=8,
        context_width=context_width,
        variants="rows",
        readout="text",
        embedding_scale=0.4,
    )
    if kind == "additive":
        return AdditiveNetwork.initial(config, seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return WaveNetwork(config).eval()


def choice_of(char_ngram_weight: float = 0.0) -> LinearSVMChoice:
    return LinearSVMChoice(LinearSVMSettings(char_ngram_weight, prior_weight=0.0))


def linear_svm_of(seed: int = 0, spread: float = 3.0) -> CompiledLinearSVM:
    random = np.random.default_rng(seed)
    rows, bias = random.normal(0, spread, (N_ROWS, N_CLASSES)), random.normal(0, 1, N_CLASSES)
    return CompiledLinearSVM(rows.astype(np.float32), bias.astype(np.float32), NO_OOV)


def by_numpy(network: Any) -> np.ndarray:
    return logits_of_features(network.config, network.arrays(), TEXTS)


# ---- put together ----


@every_shape
@pytest.mark.parametrize("spread", [3.0, 1e-3])
def test_logits_are_those_of_the_waves_and_of_the_linear_svm(kind, context_width, spread):
    waves, found = waves_of(kind, context_width), linear_svm_of(spread=spread)
    before = waves.logits(TEXTS)
    network = add_linear_svm(waves, found, choice_of())
    expected = before + found.logits(TEXTS)
    assert type(network) is type(waves)
    np.testing.assert_allclose(network.logits(TEXTS), expected, rtol=1e-5, atol=2e-5)
    np.testing.assert_allclose(by_numpy(network), expected, rtol=1e-5, atol=2e-5)
    np.testing.assert_array_equal(waves.logits(TEXTS), before)  # which are left as they are
    rows = network.arrays()[EMBEDDING]
    assert np.square(rows[:, 16:]).mean() == pytest.approx(np.square(rows[:, :16]).mean(), rel=1e-4)
    levels = branch_logits(network, TEXTS)
    assert len(levels) == len(branch_names(network.config))
    np.testing.assert_allclose(levels[-1], found.logits(TEXTS), rtol=1e-5, atol=2e-5)


def test_linear_svm_of_nothing_and_waves_of_nothing():
    """As where all texts are empty, or all waves are zero: no number is divided by it."""
    nothing = CompiledLinearSVM(
        np.zeros((N_ROWS, N_CLASSES), np.float32), np.ones(N_CLASSES, np.float32), NO_OOV
    )
    waves = waves_of("additive", 0)
    network = add_linear_svm(waves, nothing, choice_of())
    np.testing.assert_allclose(network.logits(TEXTS), waves.logits(TEXTS) + 2, rtol=1e-5)
    waves.embedding[:] = 0
    network = add_linear_svm(waves, linear_svm_of(), choice_of())
    expected = waves.logits(TEXTS) + linear_svm_of().logits(TEXTS)
    np.testing.assert_allclose(network.logits(TEXTS), expected, rtol=1e-5, atol=1e-5)


@every_shape
@pytest.mark.parametrize("idle", [("linear_svm",), ("context",), ("context", "linear_svm"), ()])
def test_idle_levels_leave_the_logits_as_they_are(kind, context_width, idle):
    network = add_linear_svm(waves_of(kind, context_width), linear_svm_of(), choice_of())
    names = branch_names(network.config)
    weights = [0.0 if name in idle else 0.5 + 0.1 * i for i, name in enumerate(names)]
    scale_branches(network, weights)
    before = network.logits(TEXTS)
    features: Any = Rows(N_ROWS)
    found, _ = remove_zero_branches(network, features, weights)
    left = tuple(name for name in names if name not in idle)
    assert branch_names(found.config) == left
    assert {name: array.shape for name, array in found.arrays().items()} == found.config.parameter_shapes()
    np.testing.assert_allclose(found.logits(TEXTS), before, rtol=1e-5, atol=1e-5)
    if left == names:
        assert found is network


@every_shape
def test_linear_svm_of_all_rows_take_the_place_of_those_before(kind, context_width):
    random = np.random.default_rng(1)
    full_train = [" ".join(random.choice(["walk", "walks", "talk", "talks", "sit"], 4)) for _ in range(60)]
    labels = random.integers(0, N_CLASSES, 60)
    features, examples = fit_features(full_train, WordConfig(ngrams=1, bits=14, min_count=1))
    waves = waves_of(kind, context_width, n_rows=features.n_rows)
    some = LinearSVM(Examples(examples, labels).take(np.arange(40)), features, N_CLASSES, 0)
    network = add_linear_svm(waves, some.compiled(some.solve(0.0)), choice_of())
    weights = [0.7, 0.4, 0.3] if context_width else [0.7, 0.3]
    scale_branches(network, weights)
    of_waves = branch_logits(network, examples)[:-1].sum(axis=0)
    found, spelling = refit_linear_svm(
        network,
        features,
        replace(Examples.of_texts(full_train, labels), features=examples),
        Recipe(char_ngrams=True),
        weight=weights[-1],
        seed=0,
        svm_choice=choice_of(0.5),
    )
    spelled = replace(Examples.of_texts(full_train, labels), features=examples)
    anew = LinearSVM(spelled, features, N_CLASSES, 0, char_ngrams=True, shortest_char_ngram=2)
    assert anew.char_ngrams.n_grams
    solution = anew.compiled(anew.solve(0.5))
    expected = of_waves + 0.3 * solution.logits(examples)
    np.testing.assert_array_equal(spelling.oov_hashes, anew.oov_hashes)
    unseen = spelling(["walked", "sitting walk", "zzz"])
    assert (unseen.ids >= features.n_rows).any()
    np.testing.assert_allclose(
        branch_logits(found, unseen)[-1], 0.3 * solution.logits(unseen), rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(found.logits(examples), expected, rtol=1e-4, atol=1e-4)
    before = network.logits(examples)
    assert np.abs(found.logits(examples) - before).max() > 1e-2
    without, plain = refit_linear_svm(
        network,
        features,
        Examples(examples, labels),
        Recipe(char_ngrams=False),
        weight=weights[-1],
        seed=0,
        svm_choice=choice_of(0.5),
    )
    anew = LinearSVM(Examples(examples, labels), features, N_CLASSES, 0)
    expected = of_waves + 0.3 * anew.compiled(anew.solve(0.0)).logits(examples)
    assert not len(plain.oov_hashes)
    np.testing.assert_allclose(without.logits(examples), expected, rtol=1e-4, atol=1e-4)


def test_texts_of_a_teacher_alone_count_less_among_all_rows_too():
    labels = np.arange(40) % N_CLASSES
    full_train = Examples(TEXTS, labels, n_unlabelled=20)
    network = add_linear_svm(waves_of("additive", 0), linear_svm_of(), choice_of())
    options: Any = {"weight": 1.0, "seed": 0, "svm_choice": choice_of()}
    fitted: Any = Rows(N_ROWS)
    for share in (0.0, 0.5):
        recipe = Recipe(char_ngrams=False, unlabelled_linear_svm_weight=share)
        found, _ = refit_linear_svm(network, fitted, full_train, recipe, **options)
        weights = np.array([1.0] * 20 + [share] * 20, np.float32)
        anew = LinearSVM(Examples(TEXTS, labels, weights), fitted, N_CLASSES, 0)
        expected = anew.compiled(anew.solve(0.0)).logits(TEXTS)
        np.testing.assert_allclose(branch_logits(found, TEXTS)[-1], expected, rtol=1e-4, atol=1e-4)


# ---- chosen and weighed ----

TRUTH = list(range(N_CLASSES)) * 20


class Answers:
    """A problem whose solution is as good as the quality that it is given for the settings."""

    def __init__(self, quality: Callable[[LinearSVMSettings], float], n_grams: int = 1) -> None:
        self.quality, self.asked = quality, list[LinearSVMSettings]()
        self.char_ngrams, self.targets = type("Grams", (), {"n_grams": n_grams}), None

    def solve_path(
        self,
        char_ngram_weight: float,
        prior_weight: float,
        costs: Sequence[float],
        feature_scale: Any = "information",
        alphas: Any = None,
    ) -> list[LinearSVMSettings]:
        solutions = [
            LinearSVMSettings(char_ngram_weight, prior_weight, cost, feature_scale) for cost in costs
        ]
        self.asked += solutions
        return solutions

    def initial_alphas(self) -> None:
        """Whatever it is, it comes back to :meth:`solve_path`."""

    def compiled(self, solution: Any, prior: Any = None) -> CompiledLinearSVM:
        """Rows of the right class, as large as the quality, and noise."""
        noise = np.random.default_rng(0).normal(0, 1, (60, N_CLASSES))
        rows = self.quality(solution) * np.eye(N_CLASSES)[np.array(TRUTH)] + noise
        return CompiledLinearSVM(rows.astype(np.float32), np.zeros(N_CLASSES, np.float32), NO_OOV)


def choose(problem: Any, prior: Any = None, weights: Any = None) -> tuple[LinearSVMSettings, Any]:
    waves = waves_of("additive", 0, n_rows=60)
    validation = Examples(ragged([[row] for row in range(60)]), np.array(TRUTH), weights)
    logits = branch_logits(waves, validation.features)
    choice, solution = choose_linear_svm(problem, prior, logits, validation)
    np.testing.assert_array_equal(solution.rows, problem.compiled(choice.settings).rows)
    return choice.settings, choice


@pytest.mark.parametrize(
    ("name", "best"),
    [
        *(("cost", cost) for cost in COSTS),
        *(("prior_weight", weight) for weight in (1.0, *chain(*PRIOR_WEIGHTS))),
        *(("char_ngram_weight", weight) for weight in (0.5, *chain(*CHAR_NGRAM_WEIGHTS))),
        *(("feature_scale", scale) for scale in ("information", "idf")),
    ],
)
def test_planted_best_settings_are_chosen(name, best):
    def quality(settings: LinearSVMSettings) -> float:
        value = getattr(settings, name)
        if value == best:
            return 3.0
        return 1.0 if isinstance(best, str) else 2.0 - abs(value - best) / 3

    settings, _ = choose(Answers(quality), prior="a prior")
    assert settings == LinearSVMSettings()._replace(**{name: best})


@pytest.mark.parametrize(("is_spelling", "weight"), [(True, 4.0), (False, 1.0)])
def test_folds_choose_how_much_spelling_counts(is_spelling, weight):
    """Either words begin alike in a class and never repeat, or the same words tell, and all begin alike."""
    random = np.random.default_rng(0)

    def invent(stem: str) -> str:
        return stem + "".join(random.choice(list("abcdefgh"), 5))

    stems, words = ("zuk", "wox"), ("zukabdca", "zukabdcb")
    texts = []
    for row in range(80):
        told = invent(stems[row % 2]) if is_spelling else words[row % 2]
        texts.append(" ".join([told, *(invent("zuk" * (not is_spelling)) for _ in range(6))]))
    features, encoded = fit_features(texts, WordConfig(min_count=1))
    examples = replace(Examples.of_texts(texts, np.arange(80) % 2), features=encoded)
    choice = choose_by_folds(examples, None, features, 2, Recipe(), None, seed=0)
    assert choice.settings.char_ngram_weight == weight


def test_a_gain_is_clear_beyond_half_its_standard_error():
    gains = np.array([0.4, -0.2] * 50)  # mean 0.1, standard error 0.03
    ones = np.ones(100)
    assert is_clear_gain(gains, ones)
    assert not is_clear_gain(gains - 0.09, ones)
    assert not is_clear_gain(np.zeros(100), ones)
    assert not is_clear_gain(gains, np.repeat([1.0, 1e-6], [2, 98]))  # as if there were two texts
    assert is_clear_gain(np.full(3, 0.1), np.ones(3))


def fit_of_sixty(monkeypatch: Any) -> tuple[Examples, Any, list[tuple[Any, ...]]]:
    """Sixty texts, a function that fits the branches to them, and the arguments of each choice."""
    words = [f"{['bad', 'good', 'fine'][row % 3]} word{row % 7}" for row in range(60)]
    features, encoded = fit_features(words, WordConfig(bits=16))
    train = replace(Examples.of_texts(words, np.arange(60) % N_CLASSES), features=encoded)
    calls: list[tuple[Any, ...]] = []

    def choose_and_note(*args: Any) -> Any:
        calls.append(args)
        return choose_linear_svm(*args)

    def fit(**changes: Any) -> Any:
        network = waves_of("additive", 0, n_rows=features.n_rows)
        recipe = Recipe(epochs=1, embedding_optimizer="sgd", char_ngrams=False).replace(**changes)
        options: Any = {"linear_svm": True, "seed": 0, "svm_choice": None}
        return fit_branches(network, features, train, train.take(np.arange(30)), recipe, **options)

    monkeypatch.setattr(branches, "choose_linear_svm", choose_and_note)
    return train, fit, calls


def test_a_sample_of_many_texts_chooses(monkeypatch):
    """The settings come from the sample, scale and shift and the solution from the problem of all texts."""
    monkeypatch.setattr(branches, "MAX_TEXTS_TO_CHOOSE", 24)
    train, fit, calls = fit_of_sixty(monkeypatch)

    def sizes_of_choices() -> list[tuple[int, Any]]:
        sizes = [(len(problem.train), settings) for problem, *_, settings in calls]
        calls.clear()
        return sizes

    *_, choice = fit()
    assert sizes_of_choices() == [(24, None), (60, choice.settings)]
    with monkeypatch.context() as fewer:
        fewer.setattr(branches, "MAX_FEATURES_TO_CHOOSE", 50)  # a text has three
        fit()
    order = np.random.default_rng(0).permutation(60)
    n_first = int((np.cumsum(train.features.lengths[order]) <= 50).sum())
    assert sizes_of_choices()[0][0] == n_first < 24
    fit(tune_linear_svm=False)
    assert sizes_of_choices() == [(60, LinearSVMSettings())]
    sample = _sample_to_choose(replace(train, n_unlabelled=40), 0)
    np.testing.assert_array_equal(sample.labels, train.labels[:20])  # none that only a teacher labels


def test_texts_of_some_classes_choose(monkeypatch):
    """The sample has two classes of three, numbered anew, and waves whose logits are those of the two."""
    monkeypatch.setattr(branches, "MAX_CLASSES_TO_CHOOSE", 2)
    _, fit, calls = fit_of_sixty(monkeypatch)
    fitted, *_, choice = fit()
    (sample, _, waves, known, settings), (problem, _, all_waves, all_known, chosen) = calls
    assert (settings, chosen) == (None, choice.settings)
    assert (sample.n_classes, len(sample.train), len(known)) == (2, 40, 20)
    assert (problem.n_classes, len(problem.train), len(all_known)) == (3, 60, 30)
    assert fitted.config.n_classes == 3
    assert set(sample.train.labels) == set(known.labels) == {0, 1}
    logits = all_waves.sum(axis=0)
    by_classes = {classes: np.isin(all_known.labels, classes) for classes in ((0, 1), (0, 2), (1, 2))}
    assert any(
        np.allclose(waves.sum(axis=0), logits[mask][:, classes], atol=1e-5)
        and (np.array(classes)[known.labels] == all_known.labels[mask]).all()
        for classes, mask in by_classes.items()
    )


def test_what_is_absent_gets_no_weight():
    """Without character n-grams or a prior their weight is zero, and no other weight is tried."""
    problem = Answers(lambda settings: 1 + settings.char_ngram_weight + settings.prior_weight, n_grams=0)
    settings, _ = choose(problem)
    assert (settings.char_ngram_weight, settings.prior_weight) == (0.0, 0.0)
    assert all(each.char_ngram_weight == each.prior_weight == 0 for each in problem.asked)


def test_choice_scales_and_shifts_the_logits_of_the_network():
    scale, shift = np.array([0.5, 2, 1], np.float32), np.array([1, 0, -1], np.float32)
    choice, solution = LinearSVMChoice(LinearSVMSettings(0.0, 0.0), scale, shift), linear_svm_of()
    network = add_linear_svm(waves_of("additive", 0), solution, choice)
    expected = solution.logits(TEXTS) * scale + shift
    np.testing.assert_allclose(branch_logits(network, TEXTS)[-1], expected, rtol=1e-4, atol=1e-4)


def test_texts_of_validation_count_by_their_weights():
    """One cost is right of the first half of the texts, the other of the second."""

    class Halves(Answers):
        def compiled(self, solution: Any, prior: Any = None) -> CompiledLinearSVM:
            rows = 2 * np.eye(N_CLASSES)[np.array(TRUTH)]
            rows[slice(30, 60) if solution.cost == COSTS[1] else slice(0, 30)] *= -0.5
            return CompiledLinearSVM(rows.astype(np.float32), np.zeros(N_CLASSES, np.float32), NO_OOV)

    for right, expected in ((slice(0, 30), COSTS[1]), (slice(30, 60), COSTS[2])):
        weights = np.full(60, 0.1, np.float32)
        weights[right] = 2
        assert choose(Halves(lambda settings: 1.0), weights=weights)[0].cost == expected


@pytest.mark.parametrize("multi_label", [False, True])
def test_planted_factors_and_shifts_of_classes_are_found(multi_label):
    """Labels are drawn from the probabilities of scaled and shifted logits."""
    random = np.random.default_rng(0)
    scale, shift = np.array([0.5, 1, 2]), np.array([1.0, -1.5, 0.5])
    logits = random.normal(0, 2, (20_000, 3))
    planted = logits * scale + shift
    if multi_label:
        truth = (random.random(planted.shape) < 1 / (1 + np.exp(-planted))).astype(np.float32)
    else:
        truth = (planted + random.gumbel(size=planted.shape)).argmax(axis=1)
    factors, shifts = fit_classes(logits, truth)
    np.testing.assert_allclose(factors, scale, atol=0.1)
    difference = shifts - shift if multi_label else shifts - shifts.mean() - shift + shift.mean()
    np.testing.assert_allclose(difference, 0, atol=0.1)
    fitted = mixture_loss((logits * factors + shifts)[None], truth)
    assert fitted < mixture_loss(logits[None], truth) - 0.02
    few, _ = fit_classes(logits[:20], truth[:20])
    assert np.ptp(few) < np.ptp(scale) / 2  # few texts of a class change little


@pytest.mark.parametrize("seed", range(6))
def test_three_weights_are_those_of_another_minimiser(seed):
    """Bounded by zero below; some of the levels mislead."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 4, 150)
    signal = np.eye(4)[truth]
    levels = np.stack([size * signal + random.normal(0, 1, (150, 4)) for size in random.normal(0.5, 1, 3)])
    counts = random.uniform(0, 2, 150).astype(np.float32)
    scaled = counts / counts.mean(dtype=np.float64)

    def value(weights: np.ndarray) -> float:
        logits = np.tensordot(weights, levels, 1)
        losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(150), truth]
        return float(scaled @ losses + ((weights - 1) ** 2).sum())

    best = scipy.optimize.minimize(
        value, np.ones(3), bounds=[(0, None)] * 3, method="L-BFGS-B", options={"ftol": 1e-13, "gtol": 1e-8}
    )
    found = fit_weights(levels, truth, counts)
    if not best.x.any():  # each is worse than nothing
        assert found == (DOUBT,) * 3
        return
    assert value(np.array(found)) <= best.fun + 1e-5
    assert found == pytest.approx(best.x.tolist(), abs=2e-3)


def test_calibration_gives_the_weights_of_the_three_levels():
    network = add_linear_svm(waves_of("additive", 8), linear_svm_of(), choice_of())
    labels = np.random.default_rng(0).integers(0, N_CLASSES, len(TEXTS))
    levels = branch_logits(network, TEXTS)
    weights = calibrate(network, Examples(TEXTS, labels))
    assert weights == pytest.approx(fit_weights(levels, labels), rel=1e-6)
    np.testing.assert_allclose(network.logits(TEXTS), np.tensordot(weights, levels, 1), rtol=1e-4, atol=1e-5)


# ---- all together ----

STEMS = {"up": ("zabkor", "velmit", "rondup", "stavik"), "down": ("qufeln", "morgat", "plishe", "dornak")}


def inflected(n_texts: int, seed: int, wrong: float) -> TextSplit:
    """Texts with one word that tells: its stem, with one of so many endings that few words occur twice."""
    random = np.random.default_rng(seed)
    texts, labels = [], []
    for i in range(n_texts):
        label = list(STEMS)[i % 2]
        words = [f"w{n}" for n in random.integers(0, 30, 4)]
        ending = "".join(random.choice(list("aeioumnst"), 3))
        words[random.integers(0, 4)] = str(random.choice(STEMS[label])) + ending
        texts.append(" ".join(words))
        labels.append(label if random.random() >= wrong else list(STEMS)[1 - i % 2])
    return TextSplit(texts, labels, "generated")


def test_stems_tell_the_class_of_words_that_were_seen_once_and_wrongly():
    """A fourth of the labels is wrong, which a word that was seen once can not know by itself."""
    train = inflected(480, 0, wrong=0.25)
    test = inflected(480, 0, wrong=0.0)  # the same texts, with the labels that are right
    accuracy = {}
    for char_ngrams in (True, False):
        splits = TextDataset("inflected", train, None, test, None, ())
        settings = {"recipe.char_ngrams": char_ngrams, "recipe.epochs": 3, "network.width": 8}
        result = token2wave.train(splits, settings=settings)
        accuracy[char_ngrams] = result.summary.accuracy
    assert accuracy[True] > accuracy[False] + 0.05
