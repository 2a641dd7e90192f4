"""A network's levels: trained one after the other, put together, and taken apart."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.features import Features
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
    train: Examples,
    texts: Sequence[str],
    features: Features,
    validation: Examples | None,
    recipe: Recipe,
    *,
    linear_svm: bool,
    seed: int,
    has_cls: bool,
    char_ngram_weight: float | None,
    n_unlabelled: int = 0,
    callbacks: Sequence[Callback] = (),
    place: CheckpointSlot | None = None,
    stream: ExampleStream | None = None,
) -> tuple[Any, History, float]:
    """Train a network's waves, then its amplitudes, which learn from the same texts on their own.

    Args:
        network: freshly made, without amplitudes.
        train: what to learn from.
        texts: the same as strings, for the words' character n-grams.
        features: of these texts.
        validation: what to choose the epoch by, if there is something.
        recipe: the settings.
        linear_svm: whether the network is to have them.
        seed: of the order of texts and all dropout.
        has_cls: whether a text's first feature is [CLS].
        char_ngram_weight: amplitude of the words' character n-grams; None chooses it by the validation texts.
        n_unlabelled: how many of the training texts, the last ones, have no label but a teacher's class.
        callbacks: told how it goes.
        place: of the waves' network in a checkpoint; amplitudes are found again.
        stream: what the waves learn from, where memory holds but a sample of it.

    Returns:
        The network, what happened, and the share of the character n-grams.

    Raises:
        ConfigError: the loss stopped being a finite number.
    """
    history = fit(
        network,
        train if stream is None else stream,
        validation,
        recipe,
        seed=seed,
        has_cls=has_cls,
        callbacks=callbacks,
        place=place,
    )
    if not linear_svm:
        return network, history, char_ngram_weight or 0.0
    CallbackList(callbacks).stage("linear_svm", 0)
    start = time.perf_counter()
    n_classes = network.config.n_classes
    problem = LinearSVM(
        linear_svm_examples(train, n_unlabelled, recipe),
        texts if recipe.char_ngrams else None,
        features,
        n_classes,
        seed,
        network.config.multi_label,
    )
    if not recipe.char_ngrams:
        char_ngram_weight = 0.0  # also in the record
    if char_ngram_weight is None:
        assert validation is not None
        char_ngram_weight, found = choose_linear_svm(problem, network, validation)
    else:
        found = problem.solve(char_ngram_weight)
    network = with_linear_svm(network, found)
    history.train_seconds += time.perf_counter() - start
    return network, history, char_ngram_weight


def linear_svm_examples(train: Examples, n_unlabelled: int, recipe: Recipe) -> Examples:
    """Examples whose last texts, labelled by a teacher alone, count as the recipe says of amplitudes."""
    if not n_unlabelled:
        return train
    weights = np.ones(len(train), dtype=np.float32) if train.weights is None else train.weights.copy()
    first = len(train) - n_unlabelled
    weights[first:] = weights[:first].mean() * recipe.unlabelled_linear_svm_weight
    return replace(train, weights=weights)


def with_refitted_linear_svm(
    network: Any,
    full_train: Examples,
    texts: Sequence[str],
    features: Features,
    recipe: Recipe,
    *,
    weight: float,
    seed: int,
    char_ngram_weight: float,
    n_unlabelled: int = 0,
    callbacks: Sequence[Callback] = (),
) -> Any:
    """Find the amplitudes anew, from the rows held back, too: nothing of them is chosen by epochs.

    Args:
        network: calibrated, with amplitudes.
        full_train: all training rows, with the features that the network has.
        texts: the same as strings.
        features: of the network.
        recipe: the settings.
        weight: of the amplitudes' level.
        seed: of the order of texts.
        char_ngram_weight: amplitude of the words' character n-grams.
        n_unlabelled: how many of the rows, the last ones, have no label but a teacher's class.
        callbacks: told how it goes.
    """
    CallbackList(callbacks).stage("amplitudes of all rows", 0)
    config = network.config.replace(linear_svm=False)
    arrays = dict(network.arrays())
    arrays[EMBEDDING] = np.ascontiguousarray(arrays[EMBEDDING][:, : config.row_width])
    waves = _rebuilt(network, config, {name: arrays[name] for name in config.parameter_shapes()})
    spelled = texts if recipe.char_ngrams else None
    examples = linear_svm_examples(full_train, n_unlabelled, recipe)
    problem = LinearSVM(examples, spelled, features, config.n_classes, seed, config.multi_label)
    found = with_linear_svm(waves, problem.solve(char_ngram_weight))
    scale_branches(found, [1.0] * (len(branch_names(config))) + [weight])
    return found


def with_linear_svm(network: Any, found: LinearSVMWeights) -> Any:
    """Put amplitudes beside the waves of a trained network.

    Amplitudes are scaled to the size of the waves' numbers, so that one step suits both where a table is
    stored in few bits; the level's weight makes up for it.

    Args:
        network: without amplitudes.
        found: of its rows.

    Returns:
        A network of the same kind that has them.
    """
    config, arrays = network.config.replace(linear_svm=True), dict(network.arrays())
    waves = arrays[EMBEDDING]
    size = _root_mean_square(waves) / max(_root_mean_square(found.rows), 1e-12) or 1.0
    rows = np.empty((len(waves), waves.shape[1] + config.n_classes), dtype=np.float32)
    rows[:, : waves.shape[1]] = waves
    np.multiply(found.rows, np.float32(size), out=rows[:, waves.shape[1] :])  # no further copy of many rows
    arrays[EMBEDDING] = rows
    arrays["linear_svm.weight"] = np.full(config.n_classes, MARGIN_IN_LOGITS / size, dtype=np.float32)
    arrays["linear_svm.bias"] = (MARGIN_IN_LOGITS * found.bias).astype(np.float32)
    return _rebuilt(network, config, arrays)


def without_zero_branches(network: Any, weights: Sequence[float]) -> Any:
    """Leave out the levels of no weight, phrases and amplitudes: they cost time and bytes, and say nothing.

    Args:
        network: calibrated.
        weights: of its levels (:func:`token2wave.training.calibration.calibrate`).

    Returns:
        The network itself where none is idle.
    """
    config = config_without_zero_branches(network.config, weights)
    if config == network.config:
        return network
    arrays = dict(network.arrays())
    arrays[EMBEDDING] = arrays[EMBEDDING][:, : config.row_width]  # amplitudes stand last
    return _rebuilt(network, config, {name: arrays[name] for name in config.parameter_shapes()})


def config_without_zero_branches(config: WaveConfig, weights: Sequence[float]) -> WaveConfig:
    """The shape without the levels of no weight."""
    for level, weight in zip(branch_names(config), weights, strict=False):
        if level == "context" and not weight:
            config = config.replace(context_width=0)
        elif level == "linear_svm" and not weight:
            config = config.replace(linear_svm=False)
    return config


def branch_names(config: WaveConfig) -> tuple[str, ...]:
    """What gives to the logits, in the order of the weights."""
    beside = [("context", config.context_width > 0), ("linear_svm", config.linear_svm)]
    return "text", *(name for name, is_there in beside if is_there)


def _rebuilt(network: Any, config: WaveConfig, arrays: dict[str, Floats]) -> Any:
    """A network of the same kind, of another shape."""
    if isinstance(network, AdditiveNetwork):
        return AdditiveNetwork(config, arrays)
    from token2wave.models import WaveNetwork

    rebuilt = WaveNetwork(config).to(network.embedding.weight.device)
    for name, values in arrays.items():
        rebuilt.load(name, np.ascontiguousarray(values))
    return rebuilt


def _root_mean_square(values: Floats) -> float:
    flat = values.ravel()
    return float(np.sqrt(np.dot(flat, flat) / max(len(flat), 1)))
