"""Incremental training: a trained model learns from more rows, with new words and new classes.

It does not need the texts of its training. The linear SVM is solved again: of all solutions for the new rows,
the nearest to the old one (:mod:`token2wave.training.linear_svm`). The waves take further steps with smaller
learning rates. The weights of the branches stay as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.classifier import Classifier
from token2wave.config import accept_options, require_choice
from token2wave.data import (
    DataOptions,
    TextSplit,
    load_splits,
)
from token2wave.data.bad_rows import check_bad_rows, write_bad_rows
from token2wave.data.columns import log_notes
from token2wave.data.datasets import possible_paths
from token2wave.data.splits import require_few_classes
from token2wave.errors import DataError
from token2wave.features import Features, WordFeatures
from token2wave.features.hashed_texts import HashedTexts
from token2wave.features.words import NO_HASHES
from token2wave.inference.loading import build_network, build_torch_network
from token2wave.inference.reference import EMBEDDING, OOV
from token2wave.models.wave_config import WaveConfig
from token2wave.options import require_seed
from token2wave.storage.outputs import Outputs
from token2wave.training.additive_network import AdditiveNetwork
from token2wave.training.branches import branch_names
from token2wave.training.calibration import scale_branches
from token2wave.training.callbacks import Callback, CallbackList
from token2wave.training.examples import Examples
from token2wave.training.linear_svm import MARGIN_IN_LOGITS, LinearSVM, LinearSVMWeights
from token2wave.training.loop import fit
from token2wave.training.native_trainer import trains_natively
from token2wave.training.preparation import encode_rows
from token2wave.training.presets import PRESETS
from token2wave.training.recipe import Recipe
from token2wave.training.weighting import ClassWeights

Floats = NDArray[np.float32]
PARTS = ("all", "rows", "network")
EPOCHS = 3
BIASES = ("head.bias", "context.head.bias", "linear_svm.bias")
NO_DRIFT_REFERENCE = (
    "The updated model has no drift reference, as that of the old model no longer fits. To measure drift, "
    "name rows that neither has learned from with --reference."
)
LR_FACTOR = 0.3  # of the first training's learning rates, since the waves are nearly right


@accept_options(data_options=DataOptions, leave_out=("multi_label", "group_column"))
def update(
    classifier: Classifier,
    data: Any,
    labels: Any = None,
    *,
    weights: Any = None,
    data_options: DataOptions,
    class_weights: ClassWeights = None,
    parts: str = "all",
    epochs: int = EPOCHS,
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
) -> Classifier:
    """Train a copy of a classifier on more rows.

    A new label becomes a class after the others. To tell it from the known classes the data needs rows of
    these too, about twenty of each. If each text has one label, all rows of a new class together count at
    most as much as those of the largest known class in the data, unless you set ``class_weights``: there are
    many of them because they were collected, not because such texts are frequent.

    Args:
        classifier: trained or loaded.
        data: the rows to learn from: a file, a folder, a name, or rows in memory, as for
            :func:`token2wave.train`.
        labels: one for each text, if ``data`` is texts; several for each in a multi-label model.
        weights: how much each text counts, if ``data`` is texts; None counts all the same.
        data_options: how to read the data (:class:`token2wave.DataOptions`). You give its fields as keyword
            arguments. The default label separator is that of training.
        class_weights: as for :func:`token2wave.train`.
        parts: ``all``; ``rows``, only the embedding; or ``network``, everything else: a few thousand numbers
            that can learn a person's habits on a device. With new classes ``all`` means ``rows``: the known
            classes lose least if the heads stay as they are.
        epochs: passes over the rows.
        seed: of the order of texts and of dropout.
        callbacks: called as training goes on.

    Returns:
        A classifier that knows the old and the new classes, with rows for new words.

    Raises:
        DataError: the data cannot be read or used, or has a new label without rows of the known ones.
        ConfigError: a setting is illegal, or the model has a window level.
        MissingExtraError: torch is needed and not installed.
    """
    require_choice(parts, "parts", PARTS)
    classifier.require_labels("update")
    classifier.require_texts("update")
    classifier.require_no_windows("update")
    seed = require_seed(seed)
    separator = data_options.label_separator or classifier.training.get("label_separator")
    multi_label = classifier.multi_label if separator is None else None
    normalise = data_options.normalise_labels or bool(classifier.training.get("normalise_labels"))
    data_options = replace(
        data_options, multi_label=multi_label, label_separator=separator, normalise_labels=normalise
    )
    outputs = Outputs(possible_paths(data))
    check_bad_rows(data_options, outputs)
    rows = load_splits(data, data_options, labels=labels, weights=weights).train
    write_bad_rows(data_options, rows.bad_rows, outputs)
    log_notes(rows.notes)
    rows = _require_like(classifier, rows)
    names = _label_names(classifier, rows)
    n_new = len(names) - len(classifier.label_names)
    if class_weights is None and n_new and not classifier.multi_label:
        counts = Counter(rows.labels)
        largest = max(counts[name] for name in classifier.label_names)
        class_weights = {name: min(1.0, largest / counts[name]) for name in names[-n_new:]}
    examples = encode_rows(rows, names, classifier.multi_label, class_weights)
    callback_list = CallbackList.with_logging(callbacks)
    callback_list.stage("features of the new texts", len(rows))
    features, places = classifier.features, np.arange(classifier.features.n_rows)
    oov_hashes = features.oov_hashes if isinstance(features, WordFeatures) else NO_HASHES
    if isinstance(features, WordFeatures) and len(oov_hashes):
        features = features.with_oov(NO_HASHES)  # training does not change the OOV table
    if parts != "network":
        features, places = add_words(features, examples.texts)
    config, arrays = expand_vocabulary(
        classifier.network.config, classifier.network.arrays(), features.n_rows, places, n_new
    )
    if len(oov_hashes):
        assert isinstance(classifier.features, WordFeatures)
        assert isinstance(features, WordFeatures)
        _start_from_oov(config, arrays, classifier.features, features, examples.texts)
    examples = examples.encode(features, callback_list.advance)
    branch_weights = _branch_weights(classifier, config)
    recipe = _recipe(classifier, "rows" if n_new and parts == "all" else parts, epochs)
    trained, rows_of_texts = config, None
    if trains_natively(config.without_linear_svm(), recipe, features.config.cls):
        # Its steps change the rows of these texts alone: few of many.
        rows_of_texts, examples = _compact(examples, config.n_rows)
        trained, whole = config.replace(n_rows=len(rows_of_texts)), arrays[EMBEDDING]
        arrays[EMBEDDING] = whole[rows_of_texts]
    has_cls = features.config.cls
    arrays |= _train_waves(trained, arrays, has_cls, examples, recipe, branch_weights, seed, callbacks)
    if config.linear_svm and parts != "network":
        callback_list.stage("linear SVM", 0)
        arrays |= _solve_linear_svm(trained, arrays, examples, branch_weights[-1], n_new, seed)
    if rows_of_texts is not None:
        occurs = np.bincount(examples.features.ids, minlength=len(rows_of_texts)) > 0
        whole[rows_of_texts[occurs]] = arrays[EMBEDDING][occurs]
        arrays[EMBEDDING] = whole
    update_record = {"rows": len(rows), "parts": parts, "epochs": epochs, "seed": seed}
    update_record["new_labels"] = list(names[len(names) - n_new :])
    updates = [*classifier.training.get("updates", []), update_record]
    if isinstance(features, WordFeatures) and len(oov_hashes):
        features = features.with_oov(oov_hashes)
    if classifier.drift_reference is not None:
        log_notes([NO_DRIFT_REFERENCE])
    return replace(
        classifier,
        features=features,
        network=build_network(config, arrays, "cpu"),
        label_names=names,
        training={**classifier.training, "updates": updates},
        thresholds=(*classifier.thresholds, *((0.5,) * n_new if config.multi_label else ())),
        drift_reference=None,
    )


def _require_like(classifier: Classifier, rows: TextSplit) -> TextSplit:
    """Refuse rows that the model cannot learn from; they are multi-label if the model is."""
    if classifier.multi_label:
        return rows.as_multi_label()
    if rows.multi_label:
        raise DataError(
            "expected one label for each text, as the model has, found several",
            location=rows.source,
            hint="give each text one label, or train a model of several labels",
        )
    return rows


def _label_names(classifier: Classifier, rows: TextSplit) -> tuple[str, ...]:
    """Names of the classes, known ones first."""
    known = set(classifier.label_names)
    new = sorted({label for labels in rows.label_sets for label in labels} - known)
    require_few_classes(len(known) + len(new), rows.source)
    if new and not any(known.issuperset(labels) for labels in rows.label_sets):
        raise DataError(
            f"expected rows of the known classes beside those of the new class {new[0]!r}, found none",
            location=rows.source,
            hint="add about twenty of each known class, so that the new class can be told from them",
        )
    return (*classifier.label_names, *new)


def _branch_weights(classifier: Classifier, config: WaveConfig) -> list[float]:
    """The calibrated weights of the branches; ones if the record has none."""
    n_branches = len(branch_names(config))
    weights = list(classifier.training.get("branch_weights") or ())
    # The text's branch stays even with weight zero, which cannot be a divisor.
    present = [float(weight or 1.0) for number, weight in enumerate(weights) if weight or not number]
    return present if len(present) == n_branches else [1.0] * n_branches


def _recipe(classifier: Classifier, parts: str, epochs: int) -> Recipe:
    """The settings for further steps of the waves."""
    previous = classifier.training.get("recipe")
    recipe = PRESETS["small"].recipe if previous is None else Recipe.from_dict(previous)
    factor = LR_FACTOR * float(classifier.training.get("lr_factor", 1.0))
    return recipe.with_lr_factor(factor).replace(
        epochs=epochs,
        patience=0,
        **({"embedding_lr": 0.0} if parts == "network" else {}),
        **({"lr": 0.0} if parts == "rows" else {}),
    )


def _compact(examples: Examples, n_rows: int) -> tuple[NDArray[np.int64], Examples]:
    """Number the rows of an embedding that occur in texts without gaps.

    Args:
        examples: encoded.
        n_rows: of the embedding.

    Returns:
        The rows that occur, and one that does not, if there is one, since the rarest row sets the scale of
        the learning rates: ``(R,)`` int64, increasing; and the examples with ids from 0 to ``R - 1``.
    """
    is_row = np.zeros(n_rows, dtype=bool)
    is_row[examples.features.ids] = True
    is_row[is_row.argmin()] = True  # the first that does not occur
    ids = (np.cumsum(is_row, dtype=np.int32) - 1)[examples.features.ids]
    return np.flatnonzero(is_row), replace(examples, features=replace(examples.features, ids=ids))


def _train_waves(
    config: WaveConfig,
    arrays: dict[str, Floats],
    has_cls: bool,
    examples: Examples,
    recipe: Recipe,
    branch_weights: list[float],
    seed: int,
    callbacks: Sequence[Callback],
) -> dict[str, Floats]:
    """Train everything but the linear SVM; the embedding is removed from ``arrays`` meanwhile.

    It is most of the memory, and small devices have little: there is one copy of it at a time.
    """
    plain, rows = config.without_linear_svm(), arrays.pop(EMBEDDING)
    own = {name: np.array(arrays[name]) for name in plain.parameter_shapes() if name != EMBEDDING}
    own[EMBEDDING] = np.ascontiguousarray(rows[:, : config.wave_width])
    linear_svm = rows[:, config.wave_width :].copy()
    del rows
    network: Any
    if trains_natively(plain, recipe, has_cls):
        network = AdditiveNetwork(plain, own)
    else:
        network = build_torch_network(plain, own, "cpu", "training this model here")
    del own
    weights = branch_weights[: len(branch_names(plain))]
    scale_branches(network, [1 / weight for weight in weights])  # as they were trained, before calibration
    fit(network, examples, None, recipe, seed=seed, has_cls=has_cls, callbacks=callbacks, warm_start=True)
    scale_branches(network, weights)
    trained = network.arrays()
    result = {name: np.array(array) for name, array in trained.items() if name != EMBEDDING}
    result[EMBEDDING] = np.concatenate([trained[EMBEDDING], linear_svm], axis=1)
    return result


def _solve_linear_svm(
    config: WaveConfig,
    arrays: dict[str, Floats],
    examples: Examples,
    branch_weight: float,
    n_new: int,
    seed: int,
) -> dict[str, Floats]:
    """Solve the linear SVM for the new examples; the nearest solution to the previous one."""
    embedding, scale = arrays[EMBEDDING], np.float32(MARGIN_IN_LOGITS * branch_weight)
    in_margins, bias = arrays["linear_svm.weight"] / scale, arrays["linear_svm.bias"] / scale
    bias[config.n_classes - n_new :] = -1.0  # the margin of "not this class"
    previous = LinearSVMWeights(embedding[:, config.wave_width :] * in_margins, bias, 0)
    problem = LinearSVM(examples, config.n_rows, config.n_classes, seed, config.multi_label)
    solution = problem.solve(0.0, previous)
    embedding[:, config.wave_width :] = solution.rows / in_margins
    return {EMBEDDING: embedding, "linear_svm.bias": (solution.bias * scale).astype(np.float32)}


def add_words(features: Features, texts: Sequence[str]) -> tuple[Features, NDArray[np.int64]]:
    """Add rows for frequent words and n-grams of new texts; give the new places of old rows, ``(V,)``."""
    unchanged = np.arange(features.n_rows)
    if not isinstance(features, WordFeatures):  # WordPiece features know every word
        return features, unchanged
    try:
        new = WordFeatures.fit(texts, features.config).buckets
    except DataError:  # no text has a word, so training learns the empty text
        return features, unchanged
    expanded, places = features.with_rows(new)
    return expanded, places.astype(np.int64)


def _start_from_oov(
    config: WaveConfig,
    arrays: dict[str, Floats],
    old: WordFeatures,
    new: WordFeatures,
    texts: HashedTexts,
) -> None:
    """Start the SVM weights of new words' rows from what these words had in the OOV table, in place."""
    words = texts.words
    oov = old.oov_ids(*words)
    rows = new.row_of_bucket[words.hashes >> np.uint64(64 - new.config.bits)]
    _, first = np.unique(rows, return_index=True)  # one of the words that share a row
    chosen = first[rows[first] >= 0]
    oov, rows = oov.take(chosen), rows[chosen]
    weights = arrays[OOV][oov.ids - old.n_rows]
    np.add.at(arrays[EMBEDDING][:, config.wave_width :], np.repeat(rows, oov.lengths), weights)


def expand_vocabulary(
    config: WaveConfig, arrays: dict[str, Floats], n_rows: int, places: NDArray[np.int64], n_new_classes: int
) -> tuple[WaveConfig, dict[str, Floats]]:
    """Add rows and classes. The logits of known texts and classes do not change.

    A new row is zero. A new class has zero weights and the smallest bias of the others.

    Args:
        config: the network's shape.
        arrays: every parameter by name, float32.
        n_rows: rows after the expansion.
        places: ``(V,)``, the new position of each old row.
        n_new_classes: classes to add at the end.
    """
    n_classes = config.n_classes + n_new_classes
    wide = config.replace(n_rows=n_rows, n_classes=n_classes)
    expanded = {}
    for name, shape in wide.parameter_shapes().items():
        old = arrays[name]
        new = np.zeros(shape, dtype=np.float32)
        if name == EMBEDDING:
            new[places, : old.shape[1]] = old
        else:
            new[tuple(map(slice, old.shape))] = old
        if n_new_classes and name == "linear_svm.weight":
            new[config.n_classes :] = old.mean()
        elif n_new_classes and name in BIASES:
            new[config.n_classes :] = old.min()
        expanded[name] = new
    return wide, expanded
