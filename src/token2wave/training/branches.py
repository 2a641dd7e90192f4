"""Branches: an everyday model is a calibrated mixture of up to three of them.

The branches are the waves of the text, the waves of each word's context, and a linear SVM on n-grams. The
waves learn first, then the SVM from the same texts. Validation texts weigh the branches
(:mod:`token2wave.training.calibration`). This module trains the branches, joins them and removes them.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.features import Features, WordFeatures
from token2wave.inference.loading import build_torch_network
from token2wave.inference.reference import EMBEDDING
from token2wave.models.wave_config import WaveConfig
from token2wave.training.additive_network import AdditiveNetwork
from token2wave.training.calibration import (
    CHAR_NGRAM_WEIGHTS_FEW_ROWS,
    PRIOR_WEIGHTS_FEW_ROWS,
    LinearSVMChoice,
    branch_logits,
    choose_linear_svm,
    mixture_loss,
    scale_branches,
)
from token2wave.training.callbacks import Callback, CallbackList, History
from token2wave.training.checkpoint import CheckpointSlot
from token2wave.training.cross_validation import FOLDS, assign_folds
from token2wave.training.described_examples import add_descriptions
from token2wave.training.examples import Examples, ExampleStream
from token2wave.training.linear_svm import (
    COSTS,
    MARGIN_IN_LOGITS,
    SHORTEST_CHAR_NGRAM,
    CompiledLinearSVM,
    LinearSVM,
    LinearSVMSettings,
    solve_settings,
)
from token2wave.training.loop import fit
from token2wave.training.prior_rows import RowVectors
from token2wave.training.recipe import Recipe

# Of the training texts that choose the settings of the linear SVM; ten problems of more take long.
MAX_TEXTS_TO_CHOOSE, MAX_FEATURES_TO_CHOOSE = 10_000, 1_000_000
MAX_CLASSES_TO_CHOOSE = 200
"""Classes whose texts choose them, drawn by chance: the problems of one class against the rest are alike."""

Floats = NDArray[np.float32]
Numbers = NDArray[np.float64]


def fit_branches(
    network: Any,
    features: Features,
    train: Examples,
    validation: Examples | None,
    recipe: Recipe,
    *,
    linear_svm: bool,
    seed: int,
    svm_choice: LinearSVMChoice | None,
    prior: RowVectors | None = None,
    callbacks: Sequence[Callback] = (),
    slot: CheckpointSlot | None = None,
    stream: ExampleStream | None = None,
) -> tuple[Any, Features, History, LinearSVMChoice]:
    """Train the waves of a network, then its linear SVM, independently, from the same texts.

    Args:
        network: new, without a linear SVM.
        features: the vocabulary of the examples.
        train: the examples to learn from.
        validation: the examples that choose the epoch, if there are any.
        recipe: the settings.
        linear_svm: whether the network gets a linear SVM.
        seed: of the order of texts and of dropout.
        svm_choice: settings of the linear SVM; None chooses them by the validation examples.
        prior: vectors of the rows, for the linear SVM.
        callbacks: called as training goes on.
        slot: of the waves in a checkpoint; the linear SVM is always solved again.
        stream: what the waves learn from, if ``train`` is only a sample of it.

    Returns:
        The network, its features, which may have an OOV table now, the history of its training, and the
        settings of the linear SVM.

    Raises:
        ConfigError: the loss stopped being a finite number.
    """
    texts, has_cls = train if stream is None else stream, features.config.cls
    history = fit(
        network, texts, validation, recipe, seed=seed, has_cls=has_cls, callbacks=callbacks, slot=slot
    )
    if not linear_svm:
        return network, features, history, svm_choice or LinearSVMChoice(LinearSVMSettings())
    CallbackList(callbacks).stage("linear SVM", 0)
    start = time.perf_counter()
    problem = _svm_problem(network.config, features, train, recipe, seed, prior)
    if svm_choice is None:
        assert validation is not None

        wave_logits = branch_logits(network, validation.features)

        def choose(
            problem: LinearSVM,
            logits: Numbers,
            validation: Examples,
            settings: LinearSVMSettings | None = None,
        ) -> tuple[LinearSVMChoice, CompiledLinearSVM]:
            known = validation.encode(_with_oov(features, problem.oov_hashes))
            return choose_linear_svm(problem, prior, logits, known, settings)

        settings = None if recipe.tune_linear_svm else LinearSVMSettings()
        if settings is None:
            waves, logits, sample, known = network, wave_logits, train, validation
            if network.config.n_classes > MAX_CLASSES_TO_CHOOSE and not train.multi_label:
                waves, sample, known = _restrict_classes(waves, train.labelled(), known, seed)
                logits = branch_logits(waves, known.features)
            sample = _sample_to_choose(sample, seed)
            if len(sample) < len(train) - train.n_unlabelled:
                sample_problem = _svm_problem(waves.config, features, sample, recipe, seed, prior)
                settings = choose(sample_problem, logits, known)[0].settings
        svm_choice, solution = choose(problem, wave_logits, validation, settings)
    else:
        svm_choice, solution = _solve(problem, prior, svm_choice)
    network = add_linear_svm(network, solution, svm_choice)
    features = _with_oov(features, problem.oov_hashes[: network.config.n_oov])
    history.train_seconds += time.perf_counter() - start
    return network, features, history, svm_choice


def _sample_to_choose(train: Examples, seed: int) -> Examples:
    """Draw labelled texts to choose the settings of the linear SVM on: the problem of all is solved once."""
    labelled = train.labelled()
    rows = np.random.default_rng(seed).permutation(len(labelled))[:MAX_TEXTS_TO_CHOOSE]
    n_features = np.cumsum(labelled.features.lengths[rows])
    rows = rows[: max(int(np.searchsorted(n_features, MAX_FEATURES_TO_CHOOSE, "right")), 1)]
    return labelled.take(np.sort(rows))


def _restrict_classes(
    network: Any, train: Examples, validation: Examples, seed: int
) -> tuple[Any, Examples, Examples]:
    """Draw classes that both sets of examples have; the network and the examples of these alone."""
    both = np.intersect1d(train.labels, validation.labels)
    if len(both) < 2:
        return network, train, validation
    classes = np.sort(np.random.default_rng(seed).permutation(both)[:MAX_CLASSES_TO_CHOOSE])
    numbers = np.full(network.config.n_classes, -1)
    numbers[classes] = np.arange(len(classes))

    def restrict(examples: Examples) -> Examples:
        labels = numbers[examples.labels]
        rows = np.flatnonzero(labels >= 0)
        return replace(examples.take(rows), labels=labels[rows], targets=None)

    arrays = {
        name: values[classes] if name.removeprefix("context.").startswith("head.") else values
        for name, values in network.arrays().items()
    }
    config = network.config.replace(n_classes=len(classes))
    return _rebuild(network, config, arrays), restrict(train), restrict(validation)


def refit_linear_svm(
    network: Any,
    features: Features,
    full_train: Examples,
    recipe: Recipe,
    *,
    weight: float,
    seed: int,
    svm_choice: LinearSVMChoice,
    prior: RowVectors | None = None,
) -> tuple[Any, Features]:
    """Solve the linear SVM again from all rows, validation rows too: it has no epochs to choose.

    ``weight`` is that of the SVM's branch in the calibrated network. The other arguments are those of
    :func:`fit_branches`. Returns the network and its features.
    """
    config = network.config.without_linear_svm()
    problem = _svm_problem(config, features, full_train, recipe, seed, prior)
    choice, solution = _solve(problem, prior, svm_choice)
    refitted = add_linear_svm(_restrict(network, config), solution, choice)
    scale_branches(refitted, [1.0] * len(branch_names(config)) + [weight])
    return refitted, _with_oov(features, problem.oov_hashes[: refitted.config.n_oov])


def _svm_problem(
    config: WaveConfig,
    features: Features,
    train: Examples,
    recipe: Recipe,
    seed: int,
    prior: RowVectors | None,
) -> LinearSVM:
    """Set up the SVM. The recipe says how much texts count that only a teacher labels."""
    if train.n_unlabelled:
        weights = np.ones(len(train), dtype=np.float32) if train.weights is None else train.weights.copy()
        first = len(train) - train.n_unlabelled
        weights[first:] = weights[:first].mean() * recipe.unlabelled_linear_svm_weight
        train = replace(train, weights=weights)
    return LinearSVM(
        train,
        features,
        config.n_classes,
        seed,
        config.multi_label,
        char_ngrams=recipe.char_ngrams,
        shortest_char_ngram=SHORTEST_CHAR_NGRAM,
        dense=None if prior is None else prior.sums(train.features),
    )


def _solve(
    problem: LinearSVM, prior: RowVectors | None, choice: LinearSVMChoice
) -> tuple[LinearSVMChoice, CompiledLinearSVM]:
    """Solve for settings chosen before; return them as used, and the solution."""
    settings = choice.settings
    if not problem.char_ngrams.n_grams:
        settings = settings._replace(char_ngram_weight=0.0)  # also in the record
    if prior is None:
        settings = settings._replace(prior_weight=0.0)
    (weights,) = solve_settings(problem, settings)
    return choice._replace(settings=settings), problem.compiled(weights, prior)


def without_oov(features: Any) -> Any:
    """The features without their OOV table."""
    return _with_oov(features, np.zeros(0, dtype=np.uint32))


def _with_oov(features: Features, hashes: NDArray[np.uint32]) -> Features:
    """The features with another OOV table."""
    if not isinstance(features, WordFeatures) or (not len(hashes) and not len(features.oov_hashes)):
        return features
    return features.with_oov(hashes)


def choose_by_folds(
    examples: Examples,
    descriptions: Examples | None,
    features: Features,
    n_classes: int,
    recipe: Recipe,
    prior: RowVectors | None,
    seed: int,
) -> LinearSVMChoice:
    """Choose the settings of the linear SVM for few rows: those of least cross-entropy on held-out folds.

    Args:
        examples: all rows, encoded.
        descriptions: of the labels, which every fold learns from; None without them.
        features: their vocabulary.
        n_classes: ``C``.
        recipe: says whether there are character n-grams.
        prior: vectors of the rows; None without a prior.
        seed: of the folds.
    """
    fold = assign_folds(examples.labels, examples.row_groups(), FOLDS, seed)
    config = WaveConfig(features.n_rows, n_classes, variants="rows", readout="text")
    char_ngram_weights = CHAR_NGRAM_WEIGHTS_FEW_ROWS if recipe.char_ngrams else (0.0,)
    prior_weights = (0.0,) if prior is None else PRIOR_WEIGHTS_FEW_ROWS
    weights_to_try = list(itertools.product(char_ngram_weights, prior_weights))
    logits = np.zeros((len(weights_to_try), len(COSTS), len(examples), n_classes))
    for number in np.unique(fold).tolist():
        train, held_out = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        learnt = add_descriptions(examples.take(train), descriptions)
        problem = _svm_problem(config, features, learnt, recipe, seed, prior)
        texts = examples.take(held_out).encode(_with_oov(features, problem.oov_hashes)).features
        for place, of_features in enumerate(weights_to_try):
            for step, weights in enumerate(problem.solve_path(*of_features, COSTS)):
                logits[place, step, held_out] = problem.compiled(weights, prior).logits(texts)
    losses = [
        [mixture_loss(each[None], examples.labels, examples.weights) for each in path] for path in logits
    ]
    best = int(np.argmin(losses))
    settings = LinearSVMSettings(*weights_to_try[best // len(COSTS)], COSTS[best % len(COSTS)])
    return LinearSVMChoice(settings)


def add_linear_svm(network: Any, solution: CompiledLinearSVM, choice: LinearSVMChoice) -> Any:
    """Copy a trained network and put a linear SVM beside its waves.

    The weights are scaled to the size of the waves' numbers, so that one quantisation step suits both if the
    embedding is stored in few bits. The weight of the branch makes up for it.
    """
    oov = solution.oov if choice.settings.char_ngram_weight else solution.oov[:0]
    config = network.config.replace(linear_svm=True, n_oov=len(oov))
    arrays = dict(network.arrays())
    waves = arrays[EMBEDDING]
    size = _root_mean_square(waves) / max(_root_mean_square(solution.rows), 1e-12) or 1.0
    rows = np.empty((len(waves), waves.shape[1] + config.n_classes), dtype=np.float32)
    rows[:, : waves.shape[1]] = waves
    np.multiply(solution.rows, np.float32(size), out=rows[:, waves.shape[1] :])  # saves a copy of many rows
    arrays[EMBEDDING] = rows
    if len(oov):
        arrays["oov.weight"] = oov * np.float32(size)
    weight = np.full(config.n_classes, MARGIN_IN_LOGITS / size)
    weight, bias = (
        (choice.scale * weight if len(choice.scale) else weight),
        MARGIN_IN_LOGITS * solution.bias.astype(np.float64),
    )
    arrays["linear_svm.weight"] = weight.astype(np.float32)
    arrays["linear_svm.bias"] = choice.calibrated(bias).astype(np.float32)
    return _rebuild(network, config, arrays)


def remove_zero_branches(network: Any, features: Features, weights: Sequence[float]) -> tuple[Any, Features]:
    """Remove the context and the linear SVM if their weight is zero: they cost time and bytes for nothing."""
    config = remove_zero_branches_of_config(network.config, weights)
    if config == network.config:
        return network, features
    restricted = _restrict(network, config)
    return restricted, features if config.n_oov else without_oov(features)


def _restrict(network: Any, config: WaveConfig) -> Any:
    """Copy a network with the branches of a configuration alone."""
    arrays = dict(network.arrays())
    arrays[EMBEDDING] = arrays[EMBEDDING][:, : config.row_width]  # the linear SVM stands last
    return _rebuild(network, config, {name: arrays[name] for name in config.parameter_shapes()})


def remove_zero_branches_of_config(config: WaveConfig, weights: Sequence[float]) -> WaveConfig:
    """The configuration without a context or a linear SVM of weight zero."""
    zero = {name for name, weight in zip(branch_names(config), weights, strict=False) if not weight}
    if "context" in zero:
        config = config.replace(context_width=0)
    return config.without_linear_svm() if "linear_svm" in zero else config


def branch_names(config: WaveConfig) -> tuple[str, ...]:
    """The branches of a network, in the order of their weights."""
    optional = [("context", config.context_width > 0), ("linear_svm", config.linear_svm)]
    return "text", *(name for name, is_there in optional if is_there)


def _rebuild(network: Any, config: WaveConfig, arrays: dict[str, Floats]) -> Any:
    """A network of the same class with another configuration."""
    if isinstance(network, AdditiveNetwork):
        return AdditiveNetwork(config, arrays)
    copies = {name: np.array(values) for name, values in arrays.items()}
    return build_torch_network(config, copies, network.embedding.weight.device)


def _root_mean_square(values: Floats) -> float:
    flat = values.ravel()
    return float(np.sqrt(np.dot(flat, flat) / max(len(flat), 1)))
