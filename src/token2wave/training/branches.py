"""Branches: an everyday model is a calibrated mixture of up to three of them.

The branches are the waves of the text, the waves of each word's context, and a linear SVM on n-grams. The
waves learn first, then the SVM from the same texts. Validation texts weigh the branches
(:mod:`token2wave.training.calibration`). This module trains the branches, joins them and removes them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.features import Features
from token2wave.inference.loading import build_torch_network
from token2wave.inference.reference import EMBEDDING
from token2wave.models.wave_config import WaveConfig
from token2wave.training.additive_network import AdditiveNetwork
from token2wave.training.calibration import choose_linear_svm, scale_branches
from token2wave.training.callbacks import Callback, CallbackList, History
from token2wave.training.checkpoint import CheckpointSlot
from token2wave.training.examples import Examples, ExampleStream
from token2wave.training.linear_svm import MARGIN_IN_LOGITS, LinearSVM, LinearSVMWeights
from token2wave.training.loop import fit
from token2wave.training.recipe import Recipe

Floats = NDArray[np.float32]


def fit_branches(
    network: Any,
    features: Features,
    train: Examples,
    validation: Examples | None,
    recipe: Recipe,
    *,
    linear_svm: bool,
    seed: int,
    char_ngram_weight: float | None,
    callbacks: Sequence[Callback] = (),
    slot: CheckpointSlot | None = None,
    stream: ExampleStream | None = None,
) -> tuple[Any, History, float]:
    """Train the waves of a network, then its linear SVM, independently, from the same texts.

    Args:
        network: new, without a linear SVM.
        features: the vocabulary of the examples.
        train: the examples to learn from.
        validation: the examples that choose the epoch, if there are any.
        recipe: the settings.
        linear_svm: whether the network gets a linear SVM.
        seed: of the order of texts and of dropout.
        char_ngram_weight: of the words' character n-grams; None chooses it by the validation examples.
        callbacks: called as training goes on.
        slot: of the waves in a checkpoint; the linear SVM is always solved again.
        stream: what the waves learn from, if ``train`` is only a sample of it.

    Returns:
        The network, the history of its training, and the weight of the character n-grams.

    Raises:
        ConfigError: the loss stopped being a finite number.
    """
    texts, has_cls = train if stream is None else stream, features.config.cls
    history = fit(
        network, texts, validation, recipe, seed=seed, has_cls=has_cls, callbacks=callbacks, slot=slot
    )
    if not linear_svm:
        return network, history, char_ngram_weight or 0.0
    CallbackList(callbacks).stage("linear SVM", 0)
    start = time.perf_counter()
    problem = _svm_problem(network.config, features, train, recipe, seed)
    if not recipe.char_ngrams:
        char_ngram_weight = 0.0  # also in the record
    if char_ngram_weight is None:
        assert validation is not None
        char_ngram_weight, weights = choose_linear_svm(problem, network, validation)
    else:
        weights = problem.solve(char_ngram_weight)
    network = add_linear_svm(network, weights)
    history.train_seconds += time.perf_counter() - start
    return network, history, char_ngram_weight


def refit_linear_svm(
    network: Any,
    features: Features,
    full_train: Examples,
    recipe: Recipe,
    *,
    weight: float,
    seed: int,
    char_ngram_weight: float,
) -> Any:
    """Solve the linear SVM again from all rows, validation rows too: it has no epochs to choose.

    ``weight`` is that of the SVM's branch in the calibrated network. The other arguments are those of
    :func:`fit_branches`.
    """
    config = network.config.without_linear_svm()
    weights = _svm_problem(config, features, full_train, recipe, seed).solve(char_ngram_weight)
    refitted = add_linear_svm(_restrict(network, config), weights)
    scale_branches(refitted, [1.0] * len(branch_names(config)) + [weight])
    return refitted


def _svm_problem(
    config: WaveConfig, features: Features, train: Examples, recipe: Recipe, seed: int
) -> LinearSVM:
    """Set up the SVM. The recipe says how much texts count that only a teacher labels."""
    if train.n_unlabelled:
        weights = np.ones(len(train), dtype=np.float32) if train.weights is None else train.weights.copy()
        first = len(train) - train.n_unlabelled
        weights[first:] = weights[:first].mean() * recipe.unlabelled_linear_svm_weight
        train = replace(train, weights=weights)
    return LinearSVM(
        train, features, config.n_classes, seed, config.multi_label, char_ngrams=recipe.char_ngrams
    )


def add_linear_svm(network: Any, weights: LinearSVMWeights) -> Any:
    """Copy a trained network and put a linear SVM beside its waves.

    The weights are scaled to the size of the waves' numbers, so that one quantisation step suits both if the
    embedding is stored in few bits. The weight of the branch makes up for it.
    """
    config, arrays = network.config.replace(linear_svm=True), dict(network.arrays())
    waves = arrays[EMBEDDING]
    size = _root_mean_square(waves) / max(_root_mean_square(weights.rows), 1e-12) or 1.0
    rows = np.empty((len(waves), waves.shape[1] + config.n_classes), dtype=np.float32)
    rows[:, : waves.shape[1]] = waves
    np.multiply(weights.rows, np.float32(size), out=rows[:, waves.shape[1] :])  # saves a copy of many rows
    arrays[EMBEDDING] = rows
    arrays["linear_svm.weight"] = np.full(config.n_classes, MARGIN_IN_LOGITS / size, dtype=np.float32)
    arrays["linear_svm.bias"] = (MARGIN_IN_LOGITS * weights.bias).astype(np.float32)
    return _rebuild(network, config, arrays)


def remove_zero_branches(network: Any, weights: Sequence[float]) -> Any:
    """Remove the context and the linear SVM if their weight is zero: they cost time and bytes for nothing."""
    config = remove_zero_branches_of_config(network.config, weights)
    return network if config == network.config else _restrict(network, config)


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
