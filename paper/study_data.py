"""The texts of a study: cut into WordPieces once, under the papers' protocol."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from token2wave.data import TextDataset, load_splits
from token2wave.errors import DataError, MissingExtraError
from token2wave.features import WordPieceConfig, WordPieceFeatures
from token2wave.models.bert_encoder import PretrainedEncoder
from token2wave.training.examples import Examples
from token2wave.training.preparation import EncodedTexts, default_vocabulary, prepare
from token2wave.training.recipe import Recipe

SPLIT_SEED = 0  # the same rows are held back for every seed of a network


@dataclass(frozen=True)
class StudyData:
    """A data set for studies.

    Attributes:
        name: of the data set.
        texts: of its parts; a fifth of the training rows is held back for validation, as in the papers.
        features: the WordPieces that waves and Transformers share.
        train: what networks learn from.
        validation: what the epoch is chosen by.
        test: what is reported on; never chosen by.
    """

    name: str
    texts: EncodedTexts
    features: WordPieceFeatures
    train: Examples
    validation: Examples
    test: Examples
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def n_classes(self) -> int:
        """``C``."""
        return len(self.texts.label_names)

    @property
    def n_rows(self) -> int:
        """Rows of the embedding, ``V``."""
        return self.features.n_rows

    def cut_with(self, features: WordPieceFeatures) -> StudyData:
        """Cut the same texts with another vocabulary or length."""
        train, validation = self.texts.train.encode(features), self.texts.validation.encode(features)
        assert self.texts.test is not None
        test = self.texts.test.encode(features)
        return replace(self, features=features, train=train, validation=validation, test=test)


def study_data(
    data: str | os.PathLike[str] | TextDataset,
    *,
    train_rows: int | None = None,
    test_rows: int | None = None,
    max_tokens: int = 512,
) -> StudyData:
    """Read a data set, hold a fifth of the training rows back, and cut all texts into WordPieces.

    Args:
        data: as :func:`token2wave.train` takes it; it must have a test set.
        train_rows: learn from so many rows only, drawn at random; all, if not given.
        test_rows: report on so many rows only, drawn at random; all, if not given.
        max_tokens: a longer text is cut, [CLS] and [SEP] counted.

    Raises:
        DataError: the data cannot be read, or has no test set.
    """
    splits = data if isinstance(data, TextDataset) else load_splits(data)
    texts = prepare(splits, Recipe(validation_fraction=0.2), SPLIT_SEED)
    if texts.test is None:
        raise DataError("a study needs a test set", location=splits.name, hint="choose data that has one")
    train, test = _some(texts.train, train_rows), _some(texts.test, test_rows)
    validation = _some(texts.validation, None if train_rows is None else max(1, train_rows // 4))
    caveats = texts.caveats
    if len(train) < len(texts.train) or len(test) < len(texts.test):
        note = (
            f"{len(train):,} of the {len(texts.train):,} training rows and {len(test):,} of the "
            f"{len(texts.test):,} test rows at hand, drawn at random, are used."
        )
        caveats = (*caveats, note)
    texts = EncodedTexts(train, validation, None, test, texts.label_names, caveats)
    features = _features(train.texts, WordPieceConfig(max_tokens=max_tokens))
    settings = {
        "data": splits.name,
        "rows": {"train": len(train), "validation": len(validation), "test": len(test)},
        "sha256": _digest(train, validation, test),
        "split_seed": SPLIT_SEED,
        "features": features.config.to_dict(),
    }
    return StudyData(
        splits.name,
        texts,
        features,
        train.encode(features),
        validation.encode(features),
        test.encode(features),
        settings,
    )


def _features(texts: Sequence[str], config: WordPieceConfig) -> WordPieceFeatures:
    """BERT's vocabulary from the data folder, else from MiniLM's package, else one trained on the texts."""
    path: Path | None = default_vocabulary()
    if path is not None:
        return WordPieceFeatures.from_file(path, config)
    try:
        return PretrainedEncoder().features(config)
    except MissingExtraError:
        return WordPieceFeatures.fit(texts, config)


def _digest(*parts: Examples) -> str:
    """SHA-256 of the texts and classes of all parts: results of other data are not taken for these."""
    digest = hashlib.sha256()
    for part in parts:
        for text, label in zip(part.texts, part.labels.tolist(), strict=True):
            digest.update(f"{len(text)} {label} {text}".encode("utf-8", "surrogatepass"))
        digest.update(b"end of part")
    return digest.hexdigest()


def _some(rows: Examples, wanted: int | None) -> Examples:
    if wanted is None or wanted >= len(rows):
        return rows
    chosen = np.random.default_rng(SPLIT_SEED).permutation(len(rows))[:wanted]
    return rows.take(np.sort(chosen))
