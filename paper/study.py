"""What every study has: data to train on, a document of measurements, and tables and figures made from it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from token2wave.data import TextDataset, load_splits
from token2wave.errors import DataError, MissingExtraError
from token2wave.features import WordPieceConfig, WordPieceFeatures
from token2wave.models import PretrainedEncoder
from token2wave.training.examples import Examples
from token2wave.training.preparation import EncodedTexts, default_vocabulary, prepare
from token2wave.training.recipe import Recipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from paper.claim import Claim
    from paper.result_store import ResultStore

Document = dict[str, Any]
"""Measurements of a study, as plain JSON data."""
SPLIT_SEED = 0  # all seeds of a network share one validation split


@dataclass(frozen=True)
class Table:
    """A table of a report; the first ``n_names`` columns hold names, the others numbers."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    n_names: int = 1


@dataclass(frozen=True)
class Drawing:
    """A matplotlib figure in the style of :func:`paper.study_figures.styled`, and its caption."""

    figure: Figure
    caption: str


@dataclass(frozen=True)
class StudyData:
    """A data set encoded for studies: rows to train on, to choose the epoch by, and to report figures of.

    ``features`` are the WordPieces that waves and Transformers share; ``settings`` is everything that decides
    the rows, as plain JSON data.
    """

    name: str
    texts: EncodedTexts
    features: WordPieceFeatures
    train: Examples
    validation: Examples
    test: Examples
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes of a network that the data decides: embedding rows and classes."""
        return {"n_rows": self.features.n_rows, "n_classes": len(self.texts.label_names)}

    def encode_with(self, features: WordPieceFeatures) -> StudyData:
        """Encode the same texts with another vocabulary or length."""
        texts = self.texts
        assert texts.test is not None
        splits = (texts.train, texts.validation, texts.test)
        train, validation, test = (rows.encode(features) for rows in splits)
        return replace(self, features=features, train=train, validation=validation, test=test)


@dataclass(frozen=True)
class Options:
    """Options of a study.

    Attributes:
        data: its data set.
        quick: whether it is a miniature on few rows.
        seeds: of the networks.
        variants: keys of variants of the ablations, which are measured with their references; all if empty.
        loaded: data that was read, by name and number of rows.
    """

    data: str | os.PathLike[str] | TextDataset = "ag_news"
    quick: bool = False
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    variants: tuple[str, ...] = ()
    loaded: dict[tuple[str, int | None, int | None], StudyData] = field(
        default_factory=dict, compare=False, repr=False
    )

    def load(
        self, train_rows: int | None = None, test_rows: int | None = None, other: str | None = None
    ) -> StudyData:
        """Read the data, or ``other`` data, once per number of rows; see :func:`load_study_data`."""
        key = (other or "", train_rows, test_rows)
        if key not in self.loaded:
            data = self.data if other is None else other
            self.loaded[key] = load_study_data(data, train_rows=train_rows, test_rows=test_rows)
        return self.loaded[key]

    def load_several(
        self, others: Sequence[str], train_rows: int | None = None, test_rows: int | None = None
    ) -> tuple[list[StudyData], list[str]]:
        """Read the data and ``others``, without the others in a quick study.

        Returns:
            The data that can be read; and why others are left out, a sentence each.
        """
        loaded, reasons = [self.load(train_rows, test_rows)], []
        for name in () if self.quick else others:
            try:
                loaded.append(self.load(train_rows, test_rows, name))
            except DataError as error:
                reasons.append(f"{name} is left out: {error}.")
        return loaded, reasons


@dataclass(frozen=True)
class Study:
    """A study: it measures a document, and makes all else from the document alone.

    Attributes:
        name: of its module and on the command line.
        title: of its section in the report.
        about: a paragraph with the question, what is measured, definitions and choices.
        measure: trains and measures; results of earlier runs come from the store.
        tables: in the order of the report.
        drawings: by file name without suffix.
        claims: those that the document's figures tell of, judged.
    """

    name: str
    title: str
    about: str
    measure: Callable[[ResultStore, Options], Document]
    tables: Callable[[Document], list[Table]]
    drawings: Callable[[Document], dict[str, Drawing]]
    claims: Callable[[Document], Iterator[Claim]]


def load_study_data(
    data: str | os.PathLike[str] | TextDataset,
    *,
    train_rows: int | None = None,
    test_rows: int | None = None,
) -> StudyData:
    """Read a data set, split off a fifth of the training rows, and encode all texts as WordPieces.

    ``train_rows`` and ``test_rows`` are drawn at random; None takes all.

    Raises:
        DataError: the data cannot be read, or has no test set.
    """
    dataset = data if isinstance(data, TextDataset) else load_splits(data)
    texts = prepare(dataset, Recipe(validation_fraction=0.2), SPLIT_SEED)
    if texts.test is None:
        raise DataError("a study needs a test set", location=dataset.name, hint="choose data that has one")
    train, test = _sample(texts.train, train_rows), _sample(texts.test, test_rows)
    validation = _sample(texts.validation, None if train_rows is None else max(1, train_rows // 4))
    caveats = texts.caveats
    if len(train) < len(texts.train) or len(test) < len(texts.test):
        note = (
            f"A random sample of {len(train):,} of the {len(texts.train):,} training rows and {len(test):,} "
            f"of the {len(texts.test):,} test rows is used."
        )
        caveats = (*caveats, note)
    texts = EncodedTexts(train, validation, None, test, texts.label_names, caveats)
    features = choose_features(train.texts)
    settings = {
        "data": dataset.name,
        "rows": {"train": len(train), "validation": len(validation), "test": len(test)},
        "sha256": _digest(train, validation, test),
        "split_seed": SPLIT_SEED,
        "features": features.config.to_dict(),
    }
    return StudyData(dataset.name, texts, features, train, validation, test, settings).encode_with(features)


def describe_training(document: Document) -> str:
    """Sentence on data and training for captions."""
    rows = document["rows"]
    width = f"width {document['width']} unless stated; " if "width" in document else ""
    return (
        f"{document['data']}: {rows['train']:,} training, {rows['validation']:,} validation and "
        f"{rows['test']:,} test rows; {document['epochs']} epochs, weights of the best one by validation "
        f"accuracy; {width}seeds {', '.join(map(str, document['seeds']))}."
    )


def choose_features(texts: Sequence[str]) -> WordPieceFeatures:
    """BERT's vocabulary from the data folder, else that of MiniLM, else one trained on the texts."""
    config = WordPieceConfig(max_tokens=512)
    if (path := default_vocabulary()) is not None:
        return WordPieceFeatures.from_file(path, config)
    try:
        return PretrainedEncoder().features(config)
    except MissingExtraError:
        return WordPieceFeatures.fit(texts, config)


def _digest(*splits: Examples) -> str:
    """SHA-256 of all texts and classes, so that results of other data are told apart."""
    digest = hashlib.sha256()
    for rows in splits:
        for text, label in zip(rows.texts, rows.labels.tolist(), strict=True):
            digest.update(f"{len(text)} {label} {text}".encode("utf-8", "surrogatepass"))
        digest.update(b"end of split")
    return digest.hexdigest()


def _sample(rows: Examples, n_rows: int | None) -> Examples:
    if n_rows is None or n_rows >= len(rows):
        return rows
    return rows.take(np.sort(np.random.default_rng(SPLIT_SEED).permutation(len(rows))[:n_rows]))
