"""Cross-validation: every row is predicted by a model that has learnt from other rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.data import strata
from token2wave.errors import ConfigError
from token2wave.features import Features
from token2wave.inference.model import Network
from token2wave.metrics import evaluate_predictions
from token2wave.training.examples import Examples
from token2wave.training.recipe import Recipe
from token2wave.training.validation_split import Rows, find_whole_texts

FOLDS = 5  # unless you ask for others


class Fold(NamedTuple):
    """Rows that a model is evaluated on, and the rows that it may learn from, both ascending numbers."""

    train_rows: Rows
    rows: Rows


@dataclass(frozen=True)
class CrossValidation:
    """Predictions of rows by models that have not seen them.

    Attributes:
        folds: the rows of each model.
        probabilities: ``(M, C)``, of the rows of each fold.
        decisions: ``(M,)`` classes, or ``(M, C)`` bool for multi-label texts, of the rows of each fold.
        models: features and network of each fold; empty if they were not kept.
    """

    folds: Sequence[Fold]
    probabilities: Sequence[NDArray[np.floating]]
    decisions: Sequence[NDArray[Any]]
    models: Sequence[tuple[Features, Network]] = ()

    def in_order(self) -> tuple[Rows, NDArray[np.floating], NDArray[Any]]:
        """All rows, ascending, with their probabilities and decisions."""
        rows = np.concatenate([fold.rows for fold in self.folds])
        order = np.argsort(rows)
        probabilities, decisions = (np.concatenate(of) for of in (self.probabilities, self.decisions))
        return rows[order], probabilities[order], decisions[order]

    def fold_of_rows(self) -> Rows:
        """The number of the fold of each row, in the order of :meth:`in_order`."""
        folds = np.repeat(np.arange(len(self.folds)), [len(fold.rows) for fold in self.folds])
        return folds[np.argsort(np.concatenate([fold.rows for fold in self.folds]))]

    def figures(self, labels: NDArray[Any]) -> dict[str, Any]:
        """Plain data for a summary; ``labels`` are those of all training rows.

        ``measure`` is ``accuracy``, for multi-label texts ``micro_f1``. ``folds`` are its values, with their
        ``mean`` and standard deviation, ``spread``; ``pooled`` and ``interval`` are of all ``rows`` together.
        """
        measure = "micro_f1" if labels.ndim == 2 else "accuracy"
        n_classes = self.probabilities[0].shape[1]
        names = tuple(map(str, range(n_classes)))
        rows, _, decisions = self.in_order()
        pooled = evaluate_predictions(labels[rows], decisions, names)
        folds = [
            float(getattr(evaluate_predictions(labels[fold.rows], predicted, names), measure))
            for fold, predicted in zip(self.folds, self.decisions, strict=True)
        ]
        return {
            "measure": measure,
            "rows": len(rows),
            "pooled": getattr(pooled, measure),
            "interval": pooled.interval,
            "folds": folds,
            "mean": float(np.mean(folds)),
            "spread": float(np.std(folds, ddof=1)),
        }


def assign_folds(
    classes: NDArray[np.int64], groups: Rows, n_folds: int, seed: int, *, in_blocks: bool = False
) -> NDArray[np.int64]:
    """Number the fold of each row, ``(N,)``: each fold gets its part of every class, and whole groups.

    With ``in_blocks`` the rows of a class in a fold are neighbours in the file; else they are random.

    Args:
        classes: ``(N,)`` integers, their classes.
        groups: ``(N,)``, the number of the first row of each row's group.
        n_folds: number of folds.
        seed: of the random choice.
        in_blocks: see above.
    """
    first = np.flatnonzero(groups == np.arange(len(groups)))
    order = first if in_blocks else np.random.default_rng(seed).permutation(first)
    order = order[np.argsort(classes[order], kind="stable")]
    number = np.arange(len(order))
    if in_blocks:
        counts = np.bincount(classes[order])
        n_of_class = np.repeat(counts, counts)
        rank = number - np.repeat(np.cumsum(counts) - counts, counts)
        number = np.where(n_of_class >= n_folds, rank * n_folds // n_of_class, number)
    fold = np.empty(len(groups), dtype=np.int64)
    fold[order] = number % n_folds
    return fold[groups]


def split_folds(examples: Examples, recipe: Recipe, n_folds: int | None, seed: int) -> list[Fold]:
    """Split rows into folds for a cross-validation, with each group of rows in one fold.

    As in :func:`token2wave.training.validation_split.hold_out`, the recipe decides whether neighbouring rows
    share a fold. If rows are parts of others, the folds have whole texts, and no model learns from the parts
    of those that it is evaluated on.

    Args:
        examples: the rows.
        recipe: says how validation rows are held out.
        n_folds: number of folds; None takes :data:`FOLDS`, or as many as there are groups.
        seed: of the random choice.

    Raises:
        ConfigError: there are fewer groups than folds, or a model would learn from rows of one class.
    """
    texts, labels, groups = examples.texts, examples.labels, examples.row_groups()
    in_blocks = recipe.validation == "grouped"
    whole_texts = find_whole_texts(texts, seed) if in_blocks else None
    words, rows = (None, np.arange(len(texts))) if whole_texts is None else whole_texts
    _, first, number = np.unique(groups[rows], return_index=True, return_inverse=True)
    if n_folds is None:
        n_folds = max(2, min(FOLDS, len(first)))
    classes = strata(labels) if labels.ndim == 2 else labels
    fold = assign_folds(classes[rows], first[number], n_folds, seed, in_blocks=in_blocks)
    folds = []
    for i in range(n_folds):
        held_out = rows[fold == i]
        is_train = ~np.isin(groups, groups[held_out])
        if words is not None:
            is_train[words.parts_of(np.arange(len(texts)), held_out)] = False
        learnt = labels[is_train]
        n_classes = int(learnt.any(axis=0).sum()) if labels.ndim == 2 else len(np.unique(learnt))
        if not len(held_out) or n_classes < 2:
            raise ConfigError(
                f"expected enough different rows for {n_folds} folds, each trained on "
                f"two classes or more, found {len(first):,}",
                location="cv",
                hint="ask for fewer folds, or add rows",
            )
        folds.append(Fold(np.flatnonzero(is_train), held_out))
    return folds
