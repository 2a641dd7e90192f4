"""What stands before training on a stream: its files found, and the first pass made into a run."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from token2wave.config import require
from token2wave.data import DataOptions, TextDataset, TextSplit, encode_label_sets, encode_labels
from token2wave.data.file_segments import segments_of
from token2wave.errors import ConfigError
from token2wave.features import WordConfig, WordFeatures
from token2wave.features.hashing import word_buckets
from token2wave.training.auto_settings import for_few_rows, for_little_text
from token2wave.training.callbacks import CallbackList
from token2wave.training.examples import Examples
from token2wave.training.native_trainer import trains_natively
from token2wave.training.preparation import ClassWeights, EncodedTexts
from token2wave.training.presets import Preset
from token2wave.training.recipe import Recipe
from token2wave.training.streaming.blocks import BlockStream
from token2wave.training.streaming.inputs import Inputs, StreamedData, inputs_of
from token2wave.training.streaming.source import Source
from token2wave.training.streaming.stream_run import StreamRun
from token2wave.training.streaming.survey import BucketCounts, Survey, survey
from token2wave.training.weighting import class_weights_of, positive_weights

BYTES_OF_A_SEGMENT = 2 << 20
MAX_VALIDATION_ROWS = 10_000
TEXTS_TO_GO_OVER = 2_000_000
"""So many texts, whatever a pass holds, are enough for rates to rise and fall: of more rows one pass does."""
MIN_MEMORY = 128 << 20
SHARE_OF_DRAWN = 1 / 24  # of the memory, as characters
SHARE_OF_A_BLOCK = 1 / 32
SHARE_OF_ROWS = 1 / 2


def stream_run(
    inputs: Inputs,
    source: Source,
    preset: Preset,
    overrides: Collection[str],
    class_weights: ClassWeights,
    *,
    memory: int,
    most_rejected: float,
    callback_list: CallbackList,
) -> StreamRun:
    """Read a stream once, and be ready to train on it.

    Args:
        inputs: its files, and what stands beside them.
        source: the rows of its files.
        preset: with the user's settings.
        overrides: full names of the settings that the user has given.
        class_weights: see :func:`token2wave.pipeline`.
        memory: bytes that the run may take, about, beside those of Python and its libraries.
        most_rejected: share of rows that may be unreadable.
        callback_list: told how it goes.

    Raises:
        DataError: the files cannot be read, or hold too little.
        ConfigError: too little memory, or a share that is none.
    """
    require(memory >= MIN_MEMORY, "memory", f"at least {MIN_MEMORY >> 20} MB", memory)
    require(0 <= most_rejected <= 1, "max_rejected", "a share from 0 to 1", most_rejected)
    config = preset.features
    assert isinstance(config, WordConfig)
    found = survey(source, config, int(memory * SHARE_OF_DRAWN), most_rejected, callback_list)
    preset = for_little_text(preset, found.n_characters, overrides)
    preset = for_few_rows(preset, found.n_rows, overrides)
    if "recipe.epochs" not in overrides:
        enough = -(-TEXTS_TO_GO_OVER // found.n_rows)
        preset = preset.with_settings({"recipe.epochs": max(1, min(preset.recipe.epochs, enough))})
    n_held_back = 0 if inputs.validation is not None else _n_held_back(found, preset.recipe)
    drawn = _drawn_rows(found, 0, n_held_back, source.name)
    sample = _drawn_rows(found, n_held_back, len(found.drawn), source.name)
    limit = np.uint64(found.drawn[n_held_back - 1][0]) if n_held_back else None
    validation = inputs.validation or drawn
    counts, frequency = _without(found.counts, drawn.texts, config)
    n_texts = found.n_rows - n_held_back
    positive = (
        positive_weights(found.label_counts, found.label_names, class_weights) if found.several else None
    )
    weights = _class_weights(found, class_weights, source.options.weight_column is not None)
    own_alone = None if source.options.weight_column is None else np.ones(len(found.label_names))
    features = _features(counts, n_texts, preset, found, memory)
    chosen = preset.with_settings({"features.min_count": features.config.min_count})
    names = found.label_names
    caveats = (*inputs.caveats_of(found.n_rows), *_caveats(found, len(sample)))
    texts = EncodedTexts(
        replace(_labelled(sample, names, found.several, weights), positive_weights=positive),
        _labelled(validation, names, found.several, own_alone if validation is drawn else None),
        None,
        None if inputs.test is None else _labelled(inputs.test, names, found.several, None),
        names,
        caveats,
    )
    passes = BlockStream(
        source,
        features,
        n_texts,
        limit,
        names,
        weights,
        frequency[features.buckets],
        positive,
        found.several,
        chosen.recipe.batch_size,
        int(memory * SHARE_OF_A_BLOCK),
    )
    splits = TextDataset(source.name, sample, inputs.validation, inputs.test, names, caveats)
    return StreamRun(
        splits, texts, chosen, source.seed, "cpu", callback_list, found=found, passes=passes, memory=memory
    )


def open_stream(
    data: StreamedData, test: str | os.PathLike[str] | None, options: DataOptions, seed: int
) -> tuple[Inputs, Source]:
    """Find the files of a stream, and say how their rows are read.

    Args:
        data: see :func:`token2wave.training.streaming.inputs.inputs_of`.
        test: rows to report on.
        options: the columns, and how labels are written.
        seed: of what is drawn.

    Raises:
        DataError: there are no such files, or they cannot be read.
    """
    inputs = inputs_of(data, test, options)
    segments = segments_of(inputs.paths, BYTES_OF_A_SEGMENT)
    return inputs, Source(inputs.name, segments, options, inputs.label_names, seed)


def require_streams(preset: Preset, device: str) -> None:
    """Refuse what cannot learn from a stream.

    Raises:
        ConfigError: the preset has a vocabulary, or the native core is missing, unwanted or cannot train it.
    """
    config = preset.network_config(1, 2, ()).replace(linear_svm=False)
    can = isinstance(preset.features, WordConfig) and device != "cuda"
    if can and trains_natively(config, preset.recipe, has_cls=not preset.features_lack_cls):
        return
    raise ConfigError(
        f"preset {preset.name!r}, as it is set, does not train on a stream here",
        location="stream",
        hint="choose preset small or fast on the processor, with the package's native core",
    )


def _n_held_back(found: Survey, recipe: Recipe) -> int:
    """How many of the drawn rows are held back; rows that are drawn together stay together."""
    wanted = int(min(recipe.validation_fraction * found.n_rows, MAX_VALIDATION_ROWS))
    drawn, n_characters, fit_in = found.drawn, 0, sum(len(row[2]) for row in found.drawn) / 3
    for number, row in enumerate(drawn):
        n_characters += len(row[2])
        begins = number == 0 or row[0] != drawn[number - 1][0]
        if begins and number and (number >= wanted or n_characters > fit_in):
            return number
    raise AssertionError("a stream has at least 1,000 rows")


def _drawn_rows(found: Survey, first: int, last: int, source: str) -> TextSplit:
    """Drawn rows as texts in memory."""
    rows = found.drawn[first:last]
    labels = [row[3] if found.several else row[3][0] for row in rows]
    return TextSplit([row[2] for row in rows], labels, source, [row[4] for row in rows])


def _without(
    counts: BucketCounts, texts: Sequence[str], config: WordConfig
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Occurrences of each bucket and texts that have it, without those of some texts."""
    own = BucketCounts(config)
    own.add(word_buckets(texts, config.ngrams, config.bits))
    return counts.occurrences - own.occurrences, counts.frequency - own.frequency


def _features(
    counts: NDArray[np.int64], n_texts: int, preset: Preset, found: Survey, memory: int
) -> WordFeatures:
    """The most frequent features, as many as memory holds rows for."""
    config = preset.features
    assert isinstance(config, WordConfig)
    n_classes = len(found.label_names)
    width = preset.network_config(1, n_classes, ()).wave_width
    most_rows = int(memory * SHARE_OF_ROWS) // (4 * (2 * width + 8 * n_classes))
    least = config.min_count
    if np.count_nonzero(counts >= least) > most_rows:
        least = int(np.partition(counts, len(counts) - most_rows - 1)[len(counts) - most_rows - 1]) + 1
    return WordFeatures.from_counts(counts, n_texts, config.replace(min_count=least))


def _class_weights(found: Survey, class_weights: ClassWeights, has_own: bool) -> NDArray[np.float64] | None:
    """See :class:`BlockStream`; where a text may have several classes, they have weights of another kind."""
    by_class = None if found.several else class_weights
    if by_class is None and not has_own:
        return None
    weights = class_weights_of(found.label_counts, found.label_names, by_class)
    own = found.own_weight if found.several else float(weights @ found.label_weights)
    if not own > 0:
        raise _no_weight()
    return weights * (found.n_rows / own)


def _labelled(
    rows: TextSplit, names: tuple[str, ...], several: bool, class_weights: NDArray[np.float64] | None
) -> Examples:
    """Texts with their classes as numbers, and how much each counts in training."""
    rows = rows.as_multi_label() if several else rows
    labels = encode_label_sets(rows, names) if several else encode_labels(rows, names)
    own = None if rows.weights is None else np.array(rows.weights)
    if class_weights is None:
        return Examples.of_texts(rows.texts, labels)
    if own is not None and not own.any():
        raise _no_weight()
    weights = class_weights[np.zeros(len(rows), np.int64) if several else labels]
    return Examples.of_texts(
        rows.texts, labels, (weights if own is None else weights * own).astype(np.float32)
    )


def _no_weight() -> ConfigError:
    return ConfigError(
        "expected rows of some weight both to train on and to hold back, found none",
        location="weights",
        hint="give more rows a weight above zero",
    )


def _caveats(found: Survey, n_sample: int) -> list[str]:
    caveats = []
    if found.n_rejected:
        caveats.append(
            f"{found.n_rejected:,} of {found.n_rows + found.n_rejected:,} rows could not be used and are "
            f"left out, the first: {found.reasons[0]}"
        )
    if n_sample < found.n_rows - n_sample:
        caveats.append(f"Amplitudes learnt from a sample of {n_sample:,} rows.")
    return caveats
