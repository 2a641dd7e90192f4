"""Pairs of texts with a class or a score, encoded as the WordPieces of each text."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paper.study import SPLIT_SEED, StudyData, choose_features
from token2wave.data import DataOptions, encode_labels, label_names_of, load_splits, validation_split
from token2wave.errors import DataError
from token2wave.features import Ragged, WordPieceFeatures
from token2wave.features.pairs import split_pair
from token2wave.training.examples import NO_FEATURES

VALIDATION_FRACTION = 0.2  # of the training pairs, where the data has no validation set

MAX_TOKENS = 128  # at which a text is cut, as is usual on GLUE; the longest texts take most of the time


@dataclass(frozen=True)
class PairRows:
    """``N`` pairs.

    Attributes:
        first: ``N`` texts.
        second: ``N`` texts.
        truth: ``(N,)``, classes as int64 or scores as float64.
        features: of all first texts, then of all second ones, ``2 N``.
    """

    first: Sequence[str]
    second: Sequence[str]
    truth: NDArray[Any]
    features: Ragged = NO_FEATURES

    def __len__(self) -> int:
        return len(self.truth)

    def encode(self, features: WordPieceFeatures) -> PairRows:
        """The same pairs with the features of a vocabulary."""
        return replace(self, features=features([*self.first, *self.second]))

    def take_texts(self, pairs: NDArray[np.int64]) -> Ragged:
        """Features of the first texts of ``B`` pairs, then of their second ones, ``2 B``."""
        return self.features.take(np.concatenate([pairs, pairs + len(self)]))


@dataclass(frozen=True)
class PairTask:
    """What is asked of the pairs of a data set; ``settings`` is everything that decides its rows.

    Attributes:
        key: short name, e.g. ``sick-score``.
        data: name of the data set.
        label_names: of the classes; none for scores.
        n_rows: rows of the embedding that the features need.
        train: pairs to learn from.
        validation: pairs to choose the epoch by.
        test: pairs to report figures of.
        caveats: sentences about the data.
    """

    key: str
    data: str
    label_names: tuple[str, ...]
    n_rows: int
    train: PairRows
    validation: PairRows
    test: PairRows
    caveats: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def has_scores(self) -> bool:
        """Whether a pair has a score instead of a class."""
        return not self.label_names


def load_task(key: str, data: str, *, scores: bool) -> PairTask:
    """Read the pairs of a data set: columns ``text`` and ``text_pair``, and ``label`` or ``score``.

    Without a validation set, a fifth of the training pairs is one.

    Raises:
        DataError: there is no such data set, or it has no test set or no such column.
    """
    columns: dict[str, Any] = {
        "text_column": "text,text_pair",
        "label_column": "score" if scores else "label",
    }
    dataset = load_splits(data, DataOptions(**columns, pair=True), as_numbers=scores)
    if dataset.test is None:
        raise DataError("a study needs a test set", location=data, hint="choose data that has one")
    names = () if scores else label_names_of(dataset.train, dataset.label_names)
    splits = []
    for split in (dataset.train, dataset.validation, dataset.test):
        if split is not None:
            pairs = [split_pair(text) for text in split.texts]
            truth = np.array(split.labels, dtype=float) if scores else encode_labels(split, names)
            splits.append(PairRows(*_columns(pairs), truth))
    if dataset.validation is None:
        train, test = splits
        strata = np.zeros(len(train), dtype=np.int64) if scores else train.truth
        parts = validation_split(strata, VALIDATION_FRACTION, SPLIT_SEED)
        splits = [*(_select(train, rows) for rows in parts), test]
    return _make_task(key, data, names, splits, dataset.caveats)


def make_tasks(data: StudyData) -> list[PairTask]:
    """Random pairs of texts of another data set: is their class the same, how many words do they share.

    They stand in for the real tasks in a miniature.
    """
    classes, scores = [], []
    for rows in (data.train, data.validation, data.test):
        partners = np.random.default_rng(SPLIT_SEED).permutation(len(rows))
        first, second = list(rows.texts), [rows.texts[i] for i in partners.tolist()]
        same = (rows.labels == rows.labels[partners]).astype(np.int64)
        shared = np.array([_shared_words(*pair) for pair in zip(first, second, strict=True)])
        classes.append(PairRows(first, second, same))
        scores.append(PairRows(first, second, shared))
    names = ("different", "same")
    return [
        _make_task("same-class", data.name, names, classes, data.texts.caveats),
        _make_task("shared-words", data.name, (), scores, data.texts.caveats),
    ]


def _make_task(
    key: str, data: str, names: tuple[str, ...], splits: Sequence[PairRows], caveats: Sequence[str]
) -> PairTask:
    """Encode the pairs, with the vocabulary that other studies use or one of the training pairs."""
    train = splits[0]
    features = choose_features([*train.first, *train.second])
    features = WordPieceFeatures(features.config.replace(max_tokens=MAX_TOKENS), features.vocabulary)
    counts = dict(zip(("train", "validation", "test"), map(len, splits), strict=True))
    settings = {
        "data": data,
        "target": list(names) or "score",
        "rows": counts,
        "sha256": _digest(splits),
        "features": features.config.to_dict(),
    }
    train, validation, test = (rows.encode(features) for rows in splits)
    return PairTask(key, data, names, features.n_rows, train, validation, test, tuple(caveats), settings)


def _shared_words(first: str, second: str) -> float:
    """Fraction of the words of two texts that both have."""
    words, others = set(first.split()), set(second.split())
    return len(words & others) / max(1, len(words | others))


def _columns(pairs: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [first for first, _ in pairs], [second for _, second in pairs]


def _select(rows: PairRows, numbers: NDArray[np.int64]) -> PairRows:
    first, second = ([texts[i] for i in numbers.tolist()] for texts in (rows.first, rows.second))
    return PairRows(first, second, rows.truth[numbers])


def _digest(splits: Sequence[PairRows]) -> str:
    """SHA-256 of all texts and targets, so that results of other data are told apart."""
    digest = hashlib.sha256()
    for rows in splits:
        for first, second, truth in zip(rows.first, rows.second, rows.truth.tolist(), strict=True):
            line = f"{len(first)} {len(second)} {truth} {first}{second}"
            digest.update(line.encode("utf-8", "surrogatepass"))
        digest.update(b"end of split")
    return digest.hexdigest()
