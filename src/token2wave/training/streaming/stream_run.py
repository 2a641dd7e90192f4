"""Prepares a training run over a stream: makes the first pass, sets up the others."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.config import require
from token2wave.data import TextDataset
from token2wave.data.duplicates import TextSet
from token2wave.data.labels import data_notes
from token2wave.errors import ConfigError
from token2wave.features import Features, WordConfig, WordFeatures
from token2wave.features.hashed_texts import HashedTexts
from token2wave.features.hashing import word_buckets
from token2wave.training.auto_settings import (
    for_few_rows,
    for_little_text,
    for_long_texts,
    for_many_classes,
    spaced_characters,
)
from token2wave.training.callbacks import CallbackList
from token2wave.training.examples import Examples
from token2wave.training.preparation import MAX_HELD_OUT, EncodedTexts, hold_out_half
from token2wave.training.presets import Preset
from token2wave.training.recipe import Recipe
from token2wave.training.run import TrainingRun
from token2wave.training.streaming.block_stream import BlockStream, LabelEncoder
from token2wave.training.streaming.first_pass import BucketCounts, Survey, survey_stream
from token2wave.training.streaming.stream_source import StreamSource
from token2wave.training.weighting import ClassWeights, class_weights_of, positive_weights
from token2wave.training.window_level import are_long, no_level_note

MAX_VALIDATION_ROWS = 10_000
MIN_TRAINED_TEXTS = 2_000_000
"""Texts that a schedule of learning rates needs: a stream with more rows is read in one pass."""
MIN_MEMORY = 128 << 20
TEXTS_TO_MEASURE = 1_000  # of the sample, whose length is measured
MIN_DRAWS = 30  # of rows that share one; with fewer, none are left to report on
SAMPLE_FRACTION = 1 / 24  # of the memory, as characters
BLOCK_FRACTION = 1 / 32
EMBEDDING_FRACTION = 1 / 2


@dataclass
class StreamRun(TrainingRun):
    """A run over a stream; the training texts of :attr:`texts` are a sample of it.

    Attributes:
        survey: the counts of the first pass.
        block_stream: the texts of the further passes; the waves learn from them.
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

    @property
    def stream(self) -> BlockStream:
        """What the waves learn from; the linear SVM learns from the sample."""
        return self.block_stream

    def checksums(self) -> list[int | None]:
        """Checksums of everything that the run learns from."""
        return [self.survey.checksum, self.texts.validation.checksum()]

    def facts(self) -> dict[str, Any]:
        """The counts of the first pass."""
        survey = self.survey
        return {
            "stream": {
                "rows": survey.n_rows,
                "rejected": survey.n_rejected,
                "characters": survey.n_characters,
                "labels": dict(zip(survey.label_names, survey.label_counts.tolist(), strict=True)),
                "sample_rows": len(self.texts.train),
                "memory": self.memory,
            }
        }

    def _encode_train(self, train: Examples) -> tuple[Features, Examples, None]:
        """The vocabulary of the first pass, and the sample encoded by it."""
        self.callback_list.stage("features of the sample", len(train))
        features = self.block_stream.features
        return features, train.encode(features, self.callback_list.advance), None


def prepare_stream_run(
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
        source: the rows, and the splits beside them.
        preset: with the user's settings.
        overrides: full names of these settings.
        class_weights: as for :func:`token2wave.train`.
        memory: about how many bytes the run may take, beside Python and its libraries.
        max_rejected: fraction of rows that may be unusable.
        callback_list: reports the progress.

    Raises:
        DataError: the files cannot be read, or hold too little.
        ConfigError: there is too little memory.
    """
    require(memory >= MIN_MEMORY, "memory", f"at least {MIN_MEMORY >> 20} MB", memory)
    config = preset.features
    assert isinstance(config, WordConfig)
    survey = survey_stream(source, config, int(memory * SAMPLE_FRACTION), max_rejected, callback_list)
    n_characters = spaced_characters(survey.n_characters, [row.text for row in survey.drawn])
    preset = for_little_text(preset, n_characters, overrides)
    preset = for_long_texts(preset, n_characters, survey.n_rows, overrides)
    preset = for_few_rows(preset, survey.n_rows, overrides)
    preset = for_many_classes(preset, len(survey.label_names), overrides)
    if "recipe.epochs" not in overrides:
        enough = -(-MIN_TRAINED_TEXTS // survey.n_rows)
        preset = preset.with_settings({"recipe.epochs": max(1, min(preset.recipe.epochs, enough))})
    validation, test = source.splits.get("validation"), source.splits.get("test")
    test = test and test.for_classes(survey.label_names)
    n_held_out = n_drawn = 0
    if validation is None:
        can_hold_out = test is None and len({row.draw for row in survey.drawn}) >= MIN_DRAWS
        n_held_out = _count_drawn(survey, 0, preset.recipe, MAX_HELD_OUT) if can_hold_out else 0
        n_drawn = _count_drawn(survey, n_held_out, preset.recipe, MAX_VALIDATION_ROWS)
    drawn = survey.take_drawn(0, n_drawn, source.name)
    sample = survey.take_drawn(n_drawn, len(survey.drawn), source.name)
    held_out_texts = TextSet([*drawn.texts, *(() if validation is None else validation.texts)])
    is_repeat = held_out_texts.mask(sample.texts)
    n_repeats, n_sample = int(is_repeat.sum()), len(sample)
    sample = sample.take(np.flatnonzero(~is_repeat))
    held_out = BucketCounts(config)
    held_out.add(word_buckets(drawn.texts, *config.hash_settings))
    features = _choose_features(
        survey, survey.counts.occurrences - held_out.occurrences, n_drawn, preset, memory
    )
    preset = preset.with_settings({"features.min_count": features.config.min_count})

    names, multi_label = survey.label_names, survey.multi_label
    has_own = source.options.weight_column is not None
    if has_own and not (any(sample.weights or ()) and (validation is not None or any(drawn.weights or ()))):
        raise _no_weight()
    positive = positive_weights(survey.label_counts, names, class_weights) if multi_label else None
    weights = _class_weights(survey, class_weights, has_own)
    encode = LabelEncoder(names, multi_label, weights, positive)
    encode_unweighted = replace(encode, class_weights=None)
    encode_drawn = replace(encode, class_weights=np.ones(len(names))) if has_own else encode_unweighted
    notes = data_notes(sample.texts, sample.label_sets, source.segments[0].path)
    notes += test.unknown_label_notes() if test is not None else []
    if are_long(HashedTexts(sample.texts[:TEXTS_TO_MEASURE]), preset.recipe):
        notes.append(no_level_note("on a stream"))
    if n_repeats:
        text = "rows of the sample repeat a validation or held-out text; training skips all such rows."
        notes.append(f"{n_repeats:,} of {n_sample:,} {text}")
    caveats = (*source.caveats(survey.n_rows), *_caveats(survey, len(sample)), *notes)
    if validation is None:
        examples = encode_drawn(drawn)
        held_out_examples = examples.take(np.arange(n_held_out)) if n_held_out else None
        examples = examples.take(np.arange(n_held_out, n_drawn))
    else:
        examples, held_out_examples = encode_unweighted(validation), None
        if test is None:
            rows, held_out_examples = hold_out_half(examples, preset.recipe, source.seed)
            examples = examples.take(rows)
    texts = EncodedTexts(
        encode(sample),
        examples,
        None,
        None if test is None else encode_unweighted(test),
        names,
        caveats,
        held_out_examples,
    )
    block_stream = BlockStream(
        source,
        features,
        survey.n_rows - n_drawn,
        np.uint64(survey.drawn[n_drawn - 1].draw) if n_drawn else None,
        held_out_texts,
        encode,
        (survey.counts.frequency - held_out.frequency)[features.buckets],
        preset.recipe.batch_size,
        int(memory * BLOCK_FRACTION),
    )
    splits = TextDataset(source.name, sample, validation, test, names, caveats)
    run = TrainingRun(splits, texts, preset, source.seed, "cpu", callback_list)
    return StreamRun(**vars(run), survey=survey, block_stream=block_stream, memory=memory)


def _count_drawn(survey: Survey, first: int, recipe: Recipe, max_rows: int) -> int:
    """Where the validation or held-out rows end that begin at a drawn row; rows of one draw stay together."""
    n_due = int(min(recipe.validation_fraction * survey.n_rows, max_rows))
    drawn, n_characters, fit_in = survey.drawn, 0, sum(len(row.text) for row in survey.drawn) / 3
    for number in range(first, len(drawn)):
        n_characters += len(drawn[number].text)
        is_boundary = number > first and drawn[number].draw != drawn[number - 1].draw
        if is_boundary and (number - first >= n_due or n_characters > fit_in):
            return number
    raise AssertionError("a stream has at least 1,000 rows")


def _choose_features(
    survey: Survey, counts: NDArray[np.int64], n_drawn: int, preset: Preset, memory: int
) -> WordFeatures:
    """The most frequent features without those of the drawn rows, as many as memory holds rows for."""
    config = preset.features
    assert isinstance(config, WordConfig)
    n_classes = len(survey.label_names)
    width = preset.network_config(1, n_classes, ()).wave_width
    max_rows = int(memory * EMBEDDING_FRACTION) // (4 * (2 * width + 8 * n_classes))
    min_count = config.min_count
    if np.count_nonzero(counts >= min_count) > max_rows:
        min_count = int(np.partition(counts, len(counts) - max_rows - 1)[len(counts) - max_rows - 1]) + 1
    return WordFeatures.from_counts(counts, survey.n_rows - n_drawn, config.replace(min_count=min_count))


def _class_weights(survey: Survey, class_weights: ClassWeights, has_own: bool) -> NDArray[np.float64] | None:
    """See :class:`LabelEncoder`; with several labels a text, classes weigh in the loss instead."""
    by_class = None if survey.multi_label else class_weights
    if by_class is None and not has_own:
        return None
    weights = class_weights_of(survey.label_counts, survey.label_names, by_class)
    own = survey.own_weight if survey.multi_label else float(weights @ survey.label_weights)
    if not own > 0:
        raise _no_weight()
    return weights * (survey.n_rows / own)


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
            f"left out, the first: {survey.first_reason}"
        )
    if n_sample < survey.n_rows - n_sample:
        caveats.append(f"The linear SVM learned from a sample of {n_sample:,} rows.")
    return caveats
