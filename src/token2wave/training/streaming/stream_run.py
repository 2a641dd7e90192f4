"""Prepares a training run over a stream: finds its files, makes the first pass, sets up the others."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.config import require
from token2wave.data import DataOptions, TextDataset, TextSplit, encode_label_sets, encode_labels
from token2wave.data.file_segments import segments_of
from token2wave.errors import ConfigError
from token2wave.features import Features, WordConfig, WordFeatures
from token2wave.features.hashing import word_buckets
from token2wave.training.auto_settings import for_few_rows, for_little_text
from token2wave.training.callbacks import CallbackList
from token2wave.training.examples import Examples
from token2wave.training.native_trainer import trains_natively
from token2wave.training.preparation import ClassWeights, EncodedTexts
from token2wave.training.presets import Preset
from token2wave.training.recipe import Recipe
from token2wave.training.run import TrainingRun
from token2wave.training.streaming.block_stream import BlockStream
from token2wave.training.streaming.first_pass import LENGTHS, BucketCounts, Survey, survey_stream
from token2wave.training.streaming.stream_files import StreamedData, StreamFiles, find_stream_files
from token2wave.training.streaming.stream_rows import StreamSource
from token2wave.training.weighting import class_weights_of, positive_weights

BYTES_OF_A_SEGMENT = 2 << 20
MAX_VALIDATION_ROWS = 10_000
MIN_TRAINED_TEXTS = 2_000_000
"""Texts that a schedule of learning rates needs: a stream with more rows is read in one pass."""
MIN_MEMORY = 128 << 20
SAMPLE_FRACTION = 1 / 24  # of the memory, as characters
BLOCK_FRACTION = 1 / 32
EMBEDDING_FRACTION = 1 / 2


@dataclass
class StreamRun(TrainingRun):
    """A run over a stream; the training texts of :attr:`texts` are a sample of it.

    Attributes:
        survey: the counts of the first pass.
        block_stream: the texts of the further passes.
        memory: bytes that the run may take.
    """

    survey: Survey = field(kw_only=True)
    block_stream: BlockStream = field(kw_only=True)
    memory: int = field(kw_only=True)

    @property
    def n_rows(self) -> int:
        """Rows of the stream."""
        return self.survey.n_rows

    @property
    def n_train_rows(self) -> int:
        """Rows that are not validation rows."""
        return len(self.block_stream)

    @property
    def is_weighted(self) -> bool:
        """Whether rows have weights of their own."""
        return self.block_stream.source.options.weight_column is not None

    def checksums(self) -> list[int | None]:
        """Checksums of all that the run learns from."""
        return [self.survey.checksum, self.texts.validation.checksum()]

    def facts(self) -> dict[str, Any]:
        """The counts of the first pass."""
        survey = self.survey
        lengths = survey.lengths.tolist()
        return {
            "stream": {
                "rows": survey.n_rows,
                "rejected": survey.n_rejected,
                "characters": survey.n_characters,
                "texts_up_to": {str(size): n for size, n in zip(LENGTHS, lengths, strict=True) if n},
                "labels": dict(zip(survey.label_names, survey.label_counts.tolist(), strict=True)),
                "sample_rows": len(self.texts.train),
                "memory": self.memory,
            }
        }

    @property
    def stream(self) -> BlockStream:
        """What the waves learn from; the linear SVM learns from the sample."""
        return self.block_stream

    def _encode_train(self, train: Examples) -> tuple[Features, Examples, None]:
        """The vocabulary of the first pass, and the sample encoded by it."""
        self.callback_list.stage("features of the sample", len(train))
        features = self.block_stream.features
        return features, train.encode(features, self.callback_list.advance), None


def prepare_stream_run(
    inputs: StreamFiles,
    source: StreamSource,
    preset: Preset,
    overrides: Collection[str],
    class_weights: ClassWeights,
    *,
    memory: int,
    max_rejected: float,
    callback_list: CallbackList,
) -> StreamRun:
    """Make the first pass over a stream, and prepare the run.

    Args:
        inputs: the files of the stream, and the splits beside it.
        source: the rows of its files.
        preset: with the user's settings.
        overrides: full names of the settings that the user has chosen.
        class_weights: see :func:`token2wave.pipeline`.
        memory: about how many bytes the run may take, beside Python and its libraries.
        max_rejected: fraction of rows that may be unreadable.
        callback_list: reports the progress.

    Raises:
        DataError: the files cannot be read, or hold too little.
        ConfigError: too little memory.
    """
    require(memory >= MIN_MEMORY, "memory", f"at least {MIN_MEMORY >> 20} MB", memory)
    config = preset.features
    assert isinstance(config, WordConfig)
    survey = survey_stream(source, config, int(memory * SAMPLE_FRACTION), max_rejected, callback_list)
    preset = for_little_text(preset, survey.n_characters, overrides)
    preset = for_few_rows(preset, survey.n_rows, overrides)
    if "recipe.epochs" not in overrides:
        enough = -(-MIN_TRAINED_TEXTS // survey.n_rows)
        preset = preset.with_settings({"recipe.epochs": max(1, min(preset.recipe.epochs, enough))})
    n_validation = 0 if inputs.validation is not None else _count_validation_rows(survey, preset.recipe)
    drawn = _take_drawn(survey, 0, n_validation, source.name)
    sample = _take_drawn(survey, n_validation, len(survey.drawn), source.name)
    limit = np.uint64(survey.drawn[n_validation - 1][0]) if n_validation else None
    validation = inputs.validation or drawn
    counts, frequency = _subtract_texts(survey.counts, drawn.texts, config)
    n_texts = survey.n_rows - n_validation
    positive = (
        positive_weights(survey.label_counts, survey.label_names, class_weights)
        if survey.multi_label
        else None
    )
    weights = _class_weights(survey, class_weights, source.options.weight_column is not None)
    unit_weights = None if source.options.weight_column is None else np.ones(len(survey.label_names))
    features = _features(counts, n_texts, preset, survey, memory)
    chosen = preset.with_settings({"features.min_count": features.config.min_count})
    names = survey.label_names
    caveats = (*inputs.caveats_of(survey.n_rows), *_caveats(survey, len(sample)))
    texts = EncodedTexts(
        replace(_encode_rows(sample, names, survey.multi_label, weights), positive_weights=positive),
        _encode_rows(validation, names, survey.multi_label, unit_weights if validation is drawn else None),
        None,
        None if inputs.test is None else _encode_rows(inputs.test, names, survey.multi_label, None),
        names,
        caveats,
    )
    block_stream = BlockStream(
        source,
        features,
        n_texts,
        limit,
        names,
        weights,
        frequency[features.buckets],
        positive,
        survey.multi_label,
        chosen.recipe.batch_size,
        int(memory * BLOCK_FRACTION),
    )
    splits = TextDataset(source.name, sample, inputs.validation, inputs.test, names, caveats)
    return StreamRun(
        splits,
        texts,
        chosen,
        source.seed,
        "cpu",
        callback_list,
        survey=survey,
        block_stream=block_stream,
        memory=memory,
    )


def open_stream(
    data: StreamedData, test: str | os.PathLike[str] | None, options: DataOptions, seed: int
) -> tuple[StreamFiles, StreamSource]:
    """Find the files of a stream, and the source of their rows.

    Args:
        data: see :func:`token2wave.training.streaming.stream_files.find_stream_files`.
        test: rows to report on.
        options: the columns, and how labels are written.
        seed: of the sample.

    Raises:
        DataError: there are no such files, or they cannot be read.
    """
    inputs = find_stream_files(data, test, options)
    segments = segments_of(inputs.paths, BYTES_OF_A_SEGMENT)
    return inputs, StreamSource(inputs.name, segments, options, inputs.label_names, seed)


def require_streams(preset: Preset, device: str) -> None:
    """Refuse a preset that cannot train on a stream.

    Raises:
        ConfigError: the preset has a vocabulary, or the native core is missing, options or cannot train it.
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


def _count_validation_rows(survey: Survey, recipe: Recipe) -> int:
    """How many of the drawn rows become validation rows; rows of one draw stay together."""
    n_due = int(min(recipe.validation_fraction * survey.n_rows, MAX_VALIDATION_ROWS))
    drawn, n_characters, fit_in = survey.drawn, 0, sum(len(row[2]) for row in survey.drawn) / 3
    for number, row in enumerate(drawn):
        n_characters += len(row[2])
        begins = number == 0 or row[0] != drawn[number - 1][0]
        if begins and number and (number >= n_due or n_characters > fit_in):
            return number
    raise AssertionError("a stream has at least 1,000 rows")


def _take_drawn(survey: Survey, first: int, last: int, source: str) -> TextSplit:
    """Drawn rows as texts in memory."""
    rows = survey.drawn[first:last]
    labels = [row[3] if survey.multi_label else row[3][0] for row in rows]
    return TextSplit([row[2] for row in rows], labels, source, [row[4] for row in rows])


def _subtract_texts(
    counts: BucketCounts, texts: Sequence[str], config: WordConfig
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Subtract texts from the occurrences of each bucket and the texts that have it."""
    own = BucketCounts(config)
    own.add(word_buckets(texts, config.ngrams, config.bits))
    return counts.occurrences - own.occurrences, counts.frequency - own.frequency


def _features(
    counts: NDArray[np.int64], n_texts: int, preset: Preset, survey: Survey, memory: int
) -> WordFeatures:
    """The most frequent features, as many as memory holds rows for."""
    config = preset.features
    assert isinstance(config, WordConfig)
    n_classes = len(survey.label_names)
    width = preset.network_config(1, n_classes, ()).wave_width
    max_rows = int(memory * EMBEDDING_FRACTION) // (4 * (2 * width + 8 * n_classes))
    min_count = config.min_count
    if np.count_nonzero(counts >= min_count) > max_rows:
        min_count = int(np.partition(counts, len(counts) - max_rows - 1)[len(counts) - max_rows - 1]) + 1
    return WordFeatures.from_counts(counts, n_texts, config.replace(min_count=min_count))


def _class_weights(survey: Survey, class_weights: ClassWeights, has_own: bool) -> NDArray[np.float64] | None:
    """See :class:`BlockStream`; with several labels a text, classes weigh in the loss instead."""
    by_class = None if survey.multi_label else class_weights
    if by_class is None and not has_own:
        return None
    weights = class_weights_of(survey.label_counts, survey.label_names, by_class)
    own = survey.own_weight if survey.multi_label else float(weights @ survey.label_weights)
    if not own > 0:
        raise _no_weight()
    return weights * (survey.n_rows / own)


def _encode_rows(
    rows: TextSplit, names: tuple[str, ...], multi_label: bool, class_weights: NDArray[np.float64] | None
) -> Examples:
    """Texts with their classes as numbers, and how much each counts in training."""
    rows = rows.as_multi_label() if multi_label else rows
    labels = encode_label_sets(rows, names) if multi_label else encode_labels(rows, names)
    own = None if rows.weights is None else np.array(rows.weights)
    if class_weights is None:
        return Examples.of_texts(rows.texts, labels)
    if own is not None and not own.any():
        raise _no_weight()
    weights = class_weights[np.zeros(len(rows), np.int64) if multi_label else labels]
    return Examples.of_texts(
        rows.texts, labels, (weights if own is None else weights * own).astype(np.float32)
    )


def _no_weight() -> ConfigError:
    return ConfigError(
        "expected rows of some weight both to train on and to validate, found none",
        location="weights",
        hint="give more rows a weight above zero",
    )


def _caveats(survey: Survey, n_sample: int) -> list[str]:
    caveats = []
    if survey.n_rejected:
        caveats.append(
            f"{survey.n_rejected:,} of {survey.n_rows + survey.n_rejected:,} rows could not be used and are "
            f"left out, the first: {survey.reasons[0]}"
        )
    if n_sample < survey.n_rows - n_sample:
        caveats.append(f"The linear SVM learned from a sample of {n_sample:,} rows.")
    return caveats
