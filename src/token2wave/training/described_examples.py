"""Adds descriptions of labels to the training texts; they count less the more rows a class has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from token2wave.data.label_descriptions import Descriptions, name_in_words
from token2wave.features.ragged import concatenate
from token2wave.training.examples import Examples

WEIGHT = 2.0  # in rows, of all descriptions of a class without rows
HALF_ROWS = 8.0  # of a class, which halve that weight


def encode_descriptions(
    label_names: Sequence[str], descriptions: Descriptions, multi_label: bool
) -> Examples:
    """Make examples of the descriptions, and of the names of the classes in words."""
    texts, labels = [], []
    for label, name in enumerate(label_names):
        of_class = [*descriptions.get(name, ()), *name_in_words(name)]
        texts += of_class
        labels += [label] * len(of_class)
    numbers = np.array(labels, dtype=np.int64)
    return Examples.of_texts(texts, np.eye(len(label_names), dtype=bool)[numbers] if multi_label else numbers)


def add_descriptions(examples: Examples, descriptions: Examples | None) -> Examples:
    """Put descriptions before the examples to learn from.

    All descriptions of a class with ``n`` rows together weigh ``WEIGHT * HALF_ROWS / (HALF_ROWS + n)`` mean
    rows. The mean weight of all is one.
    """
    if descriptions is None or not len(descriptions):
        return examples
    classes, n_rows = descriptions.class_ids, len(examples)
    n_described = np.bincount(classes)
    n_of_class = (
        examples.labels.sum(axis=0)
        if examples.multi_label
        else np.bincount(examples.labels, minlength=len(n_described))
    )[: len(n_described)]
    weight_of_class = WEIGHT * HALF_ROWS / (HALF_ROWS + n_of_class) / np.maximum(n_described, 1)
    own = np.ones(n_rows) if examples.weights is None else examples.weights
    weights = np.concatenate([weight_of_class[classes] * (own.mean() if n_rows else 1.0), own])
    targets = examples.targets
    if targets is not None:
        targets = np.concatenate([np.eye(targets.shape[1], dtype=np.float32)[classes], targets])
    return replace(
        examples,
        features=concatenate([descriptions.features, examples.features])
        if len(examples.features)
        else examples.features,
        labels=np.concatenate([descriptions.labels, examples.labels]),
        weights=(weights / weights.mean()).astype(np.float32),
        targets=targets,
        texts=descriptions.texts + examples.texts,
        groups=None if examples.groups is None else [*[None] * len(descriptions), *examples.groups],
        rows=None,
    )
