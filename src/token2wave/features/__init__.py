"""Turns texts into rows of the embedding, in training and prediction alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from token2wave.errors import ModelFileError
from token2wave.features.hashed_texts import HashedTexts
from token2wave.features.pairs import PairConfig, PairFeatures, WordVectors
from token2wave.features.ragged import Ragged
from token2wave.features.wordpiece import WordPieceConfig, WordPieceFeatures
from token2wave.features.words import WordConfig, WordFeatures

TextFeatures = WordFeatures | WordPieceFeatures
Features = TextFeatures | PairFeatures
FeatureConfig = WordConfig | WordPieceConfig

__all__ = [
    "FeatureConfig",
    "Features",
    "PairConfig",
    "PairFeatures",
    "Ragged",
    "TextFeatures",
    "WordConfig",
    "WordFeatures",
    "WordPieceConfig",
    "WordPieceFeatures",
    "describe_features",
    "feature_config",
    "features_from_file",
    "fit_features",
]


def fit_features(
    texts: Sequence[str],
    config: FeatureConfig,
    vocabulary: Path | None = None,
    advance: Callable[[int], None] | None = None,
    vectors: WordVectors | None = None,
) -> tuple[Features, Ragged]:
    """Fit features to the training texts, and turn these texts into features.

    Args:
        texts: training texts.
        config: settings; their class chooses words, pairs or WordPiece.
        vocabulary: a WordPiece vocabulary file to use instead of training one.
        advance: called with the number of texts just processed, for a progress bar.
        vectors: of words, for the waves of pairs.

    Raises:
        DataError: texts without words, or a bad vocabulary file.
    """
    features: Features
    if isinstance(config, PairConfig):
        features = PairFeatures.fit(texts, config, vectors)
    elif isinstance(config, WordConfig):
        texts = HashedTexts.of(texts)  # hashed once for both
        features = WordFeatures.fit(texts, config)
    elif vocabulary is not None:
        features = WordPieceFeatures.from_file(vocabulary, config)
    else:
        features = WordPieceFeatures.fit(texts, config)
    return features, features(texts, advance)


def describe_features(features: Features) -> dict[str, Any]:
    """Return type and settings as plain data, for :func:`features_from_file`."""
    return {"kind": features.type_name, "settings": features.config.to_dict()}


def feature_config(type_name: str, settings: dict[str, Any]) -> FeatureConfig:
    """Read the settings of the features of a model file.

    Raises:
        ModelFileError: unknown type.
        ConfigError: unknown or illegal settings.
    """
    if type_name == WordFeatures.type_name:
        return WordConfig.from_dict(settings)
    if type_name == WordPieceFeatures.type_name:
        return WordPieceConfig.from_dict(settings)
    if type_name == PairFeatures.type_name:
        return PairConfig.from_dict(settings)
    raise ModelFileError(f"expected features of type words, wordpiece or pairs, found {type_name!r}")


def features_from_file(type_name: str, settings: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Features:
    """Rebuild the features of a model file.

    Raises:
        ModelFileError: unknown type, or damaged arrays.
        ConfigError: unknown or illegal settings.
    """
    config = feature_config(type_name, settings)
    if isinstance(config, PairConfig):
        return PairFeatures.from_arrays(config, arrays)
    if isinstance(config, WordConfig):
        return WordFeatures.from_arrays(config, arrays)
    return WordPieceFeatures.from_arrays(config, arrays)
