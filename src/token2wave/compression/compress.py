"""A trained model as a small file: rows that matter little go, numbers get fewer bits.

Rows are dropped by the energy that they bring to the training texts, ``df * |w|^2``: the number of texts with
the feature, times its squares. The rows that stay may then learn what the others did, by training again from
scratch; validation decides between the two.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.classifier import FEATURE_PREFIX, Classifier, load, network_of
from token2wave.compression.fitting import Fitted, fit_step, rows_that_fit, stored_rows
from token2wave.configuration import require_choice
from token2wave.data import load_splits
from token2wave.errors import ConfigError, DataError
from token2wave.features import WordFeatures
from token2wave.runtime.files import check_writable, written_aside
from token2wave.runtime.model_file import size_of_model_file, write_model_file
from token2wave.runtime.novelty import NoveltyReference
from token2wave.runtime.reference import EMBEDDING
from token2wave.runtime.storage import Stored, as_float16, as_gaps
from token2wave.training.additive import AdditiveNetwork
from token2wave.training.calibration import calibrate
from token2wave.training.examples import Examples
from token2wave.training.levels import fit_levels
from token2wave.training.loop import Validation, validate
from token2wave.training.native_trainer import trains_natively
from token2wave.training.preparation import ClassWeights, Labelled, TrainingTexts, prepare
from token2wave.training.progress import Callback, Teller
from token2wave.training.recipe import Recipe
from token2wave.training.schedule import document_frequency
from token2wave.training.thresholds import thresholds_of

STORAGES = ("auto", "float32", "float16", "int8", "packed")
RETRAINED_SHARE = 0.8  # fewer rows, with finer numbers, where they learn anew
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}
BYTES_OF_ENTRIES = 500  # of rows and buckets in the header
WEIGHTS_UNKNOWN = (
    "The training texts were weighted, and the weights are not at hand: rows are not trained again."
)
TRAINED_ON_ALL = (
    "The model was trained on the validation rows, too: that flatters it, and rows are not trained again."
)
NOVELTY_UNKNOWN = (
    "Rows were dropped, and for want of texts that training did not see, or of room, the file does not tell "
    "how novel a text is."
)
CURE = "name the training data with --data"


@dataclass(frozen=True)
class Compression:
    """What :func:`compress` gives.

    Attributes:
        classifier: the compressed model, as the file holds it.
        summary: plain data: sizes, rows and validation accuracies before and after, and how it was done.
    """

    classifier: Classifier
    summary: dict[str, Any]


def compress(
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    max_size: int | str | None = None,
    storage: str = "auto",
    retrain: bool = True,
    text_column: str = "text",
    label_column: str = "label",
    callbacks: Sequence[Callback] = (),
) -> Compression:
    """Write a smaller model file.

    Args:
        model: the file of a trained model.
        out: where the small file goes.
        data: training data to rank rows, retrain and validate by; the data that the model was trained on,
            if None. Its test split is not looked at.
        max_size: most bytes of the file, a number or e.g. ``"1MB"``; if None, no row is dropped.
        storage: ``float32``, ``float16``, ``int8`` (a scale for each row), ``packed`` (one step for all
            numbers, then LZMA); ``auto`` is packed with ``max_size``, else int8.
        retrain: whether the rows that stay may be trained again, where that is better on validation texts; a
            model that was trained on all rows never is, as there are no such texts.
        text_column: column of the texts, in files with columns.
        label_column: column of the labels, in files with columns.
        callbacks: told how it goes.

    Raises:
        ConfigError: ``max_size`` cannot be reached, or a setting is illegal. Nothing is written then.
        ModelFileError: the model cannot be read.
        DataError: the data cannot be read, or has labels that the model does not know.
        OutputError: the file cannot be written.
    """
    start = time.perf_counter()
    require_choice(storage, "storage", STORAGES)
    limit = None if max_size is None else parse_size(max_size)
    if storage == "auto":
        storage = "int8" if limit is None else "packed"
    check_writable(Path(out))
    tell = Teller(callbacks)
    classifier = load(model)
    work = _Work(classifier, _texts(classifier, data, text_column, label_column), tell)
    before = validate(classifier.network, work.validation)
    best: tuple[Validation, Classifier] | None = None
    tell.stage("compression", 0)
    for candidate in work.candidates(storage, limit, retrain):
        found = validate(candidate.network, work.examples(candidate, work.texts.validation))
        if best is None or found.loss < best[0].loss:
            best = found, candidate
    if best is None:
        raise ConfigError(
            f"expected a size that the model can be compressed to, found {limit:,} bytes as {storage}",
            where="max_size",
            cure="allow more bytes, choose storage packed, or train a narrower network",
        )
    found, small = best
    small.training["validation_accuracy"] = round(found.accuracy, 6)
    small = work.with_novelty(small, limit)
    summary = {
        "storage": storage,
        "retrained": small.training["compression"]["retrained"],
        "bytes_before": Path(model).stat().st_size,
        "bytes_after": None,
        "max_size": limit,
        "rows_before": classifier.features.n_rows,
        "rows_after": small.features.n_rows,
        "accuracy_before": before[1],
        "accuracy_after": found.accuracy,
        "loss_before": before[0],
        "loss_after": found.loss,
        "validation_rows": len(work.texts.validation),
        "caveats": work.caveats,
        "seconds": None,
    }
    with written_aside(Path(out)) as aside:
        write_model_file(aside, small.to_file())
        size = aside.stat().st_size
        if limit is not None and size > limit:
            raise ConfigError(f"expected at most {limit:,} bytes, found {size:,}", where="max_size")
        written = load(aside)  # what counts is what the file says
        again = validate(written.network, work.examples(written, work.texts.validation))
        summary |= {"bytes_after": size, "accuracy_after": again[1], "loss_after": again[0]}
        if classifier.multi_label:
            summary |= {"micro_f1_before": before.micro_f1, "micro_f1_after": again.micro_f1}
    summary["seconds"] = time.perf_counter() - start
    return Compression(written, summary)


def parse_size(size: int | str) -> int:
    """Bytes of a size such as ``1000000``, ``"1MB"``, ``"300 kB"`` or ``"1.5MiB"``.

    Raises:
        ConfigError: it is no positive size.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]i?)?b?\s*", str(size).lower())
    n_bytes = float(found[1]) * UNITS[found[2] or ""] if found else 0.0
    if not 1 <= n_bytes < 1 << 63:
        raise ConfigError(f"expected a size such as 1MB or 300kB, found {size!r}", where="max_size")
    return int(n_bytes)


def _texts(
    classifier: Classifier, data: str | os.PathLike[str] | None, text_column: str, label_column: str
) -> TrainingTexts:
    """The training texts, with the rows held back that were held back in training."""
    record = classifier.training
    named = record.get("data") if data is None else data
    if not isinstance(named, str | os.PathLike):
        raise ConfigError("the model does not say what it was trained on", where="data", cure=CURE)
    try:
        splits = load_splits(
            named,
            text_column=text_column,
            label_column=label_column,
            weight_column=_text_or_none(record, "weight_column") if data is None else None,
            multi_label=classifier.multi_label,
            label_separator=_text_or_none(record, "label_separator") if classifier.multi_label else None,
        )
    except DataError as error:
        if data is not None:
            raise
        # The record has no more than a name: that of a file lacks folder and suffix.
        raise DataError(
            f"what the model was trained on cannot be read: {error.problem}", where=error.where, cure=CURE
        ) from error
    texts = prepare(
        replace(splits, label_names=classifier.label_names, test=None),
        _recipe(record),
        _seed(record),
        _class_weights(record),
    )
    if record.get("rows") not in (None, len(splits.train)):
        caveat = f"The model was trained on {record['rows']} rows, and {splits.name} has {len(splits.train)}."
        texts = replace(texts, caveats=(*texts.caveats, caveat))
    return texts


def _recipe(record: dict[str, Any]) -> Recipe:
    """How a model was trained, by its record."""
    recipe = record.get("recipe")
    return Recipe.from_dict(recipe) if isinstance(recipe, dict) else Recipe()


def _class_weights(record: dict[str, Any]) -> ClassWeights:
    """The weights of the classes in a model's training."""
    wish = record.get("class_weights")
    return wish if isinstance(wish, str | dict) else None


def _text_or_none(record: dict[str, Any], key: str) -> str | None:
    value = record.get(key)
    return value if isinstance(value, str) else None


def _seed(record: dict[str, Any]) -> int:
    """The seed that a model was trained with."""
    seed = record.get("seed")
    return seed if type(seed) is int and 0 <= seed < 1 << 63 else 0


def _dense(arrays: dict[str, NDArray[np.float32]], storage: str) -> dict[str, Stored]:
    """All parameters but the rows, in half precision unless all is to stay as it is."""
    if storage == "float32":
        return {}
    return {name: as_float16(array) for name, array in arrays.items() if name != EMBEDDING}


class _Work:
    """A model, the texts to judge by, and smaller models made of both."""

    def __init__(self, classifier: Classifier, texts: TrainingTexts, tell: Teller) -> None:
        self.classifier, self.texts, self.tell = classifier, texts, tell
        self.recipe, self.seed = _recipe(classifier.training), _seed(classifier.training)
        tell.stage("features", len(texts.train) + len(texts.validation))
        features = classifier.features(texts.train.texts, tell.advance)
        self.train = texts.train.examples(features, texts.positive_weights)
        self.validation = self.examples(classifier, texts.validation)
        self.was_refit = bool(classifier.training.get("refit"))
        self.lacks_weights = bool(classifier.training.get("weighted")) and texts.validation.weights is None
        self.caveats = list(texts.caveats)
        if self.lacks_weights:
            self.caveats.append(WEIGHTS_UNKNOWN)
        if self.was_refit:
            self.caveats.append(TRAINED_ON_ALL)

    def examples(self, classifier: Classifier, labelled: Labelled) -> Examples:
        """Features and labels of texts, as a model sees them."""
        found = classifier.features(labelled.texts, self.tell.advance)
        return labelled.examples(found)

    def candidates(self, storage: str, limit: int | None, retrain: bool) -> Iterator[Classifier]:
        """Models that are no larger than the limit."""
        features, arrays = self.classifier.features, self.classifier.network.arrays()
        rows = arrays[EMBEDDING]
        if limit is None or not isinstance(features, WordFeatures):
            small = self._small(features, arrays, storage, limit)
            if small is not None:
                yield small
            return
        budget = limit - self._overhead(storage)
        n_rows = rows_that_fit(storage, rows.shape[1], max(budget, 1))
        small = self._pruned(features, arrays, storage, limit, n_rows)
        if small is not None:
            yield small
        if small is None or small.features.n_rows == features.n_rows or not retrain or self.was_refit:
            return
        if self.lacks_weights:
            return
        config = self.classifier.network.config.replace(amplitudes=False)
        if trains_natively(config, self.recipe, features.config.cls):
            share = RETRAINED_SHARE if storage == "packed" else 1.0
            small = self._retrained(features, storage, limit, max(int(share * small.features.n_rows), 1))
            if small is not None:
                yield small

    def with_novelty(self, small: Classifier, limit: int | None) -> Classifier:
        """Say anew what is usual where rows were dropped; a model that has all knows as before."""
        if (
            self.classifier.novelty_reference is None
            or small.features.n_rows == self.classifier.features.n_rows
        ):
            return small
        reference = None
        if not (self.was_refit or self.texts.validation is self.texts.train):
            features, n_unknown = small.features.with_unknown(self.texts.validation.texts)
            reference = NoveltyReference.of(n_unknown, features.lengths, small.network.logits(features))
        found = replace(small, novelty_reference=reference)
        if limit is not None and size_of_model_file(found.to_file()) > limit:
            found = replace(small, novelty_reference=None)
        if found.novelty_reference is None:
            self.caveats.append(NOVELTY_UNKNOWN)
        return found

    def _retrained(self, features: WordFeatures, storage: str, limit: int, n_rows: int) -> Classifier | None:
        """Train the strongest rows from scratch, without the others."""
        config = self.classifier.network.config
        kept = self._strongest(self.classifier.network.arrays()[EMBEDDING], n_rows)
        train, held_back = (self._fewer(part, kept) for part in (self.train, self.validation))
        waves = AdditiveNetwork.initial(config.replace(n_rows=n_rows, amplitudes=False), self.seed)
        fewer = WordFeatures(features.config, features.buckets[kept])
        share = self.classifier.training.get("subword_share")
        learned, _, _ = fit_levels(
            waves,
            train,
            self.texts.train.texts,
            fewer,
            held_back,
            self.recipe,
            amplitudes=config.amplitudes,
            seed=self.seed,
            has_cls=False,
            subword_share=float(share) if isinstance(share, int | float) else 0.0,
            callbacks=self.tell.callbacks,
        )
        if self.texts.validation is not self.texts.train:
            calibrate(learned, held_back)
        thresholds = thresholds_of(learned, held_back, self.texts.validation is self.texts.train)
        return self._small(fewer, learned.arrays(), storage, limit, thresholds)

    def _pruned(
        self, features: WordFeatures, arrays: dict[str, Any], storage: str, limit: int, n_rows: int
    ) -> Classifier | None:
        """Drop rows until the file fits."""
        while n_rows >= 1:
            kept = self._strongest(arrays[EMBEDDING], n_rows)
            if features.config.cls:
                kept[0] = True
            fewer = WordFeatures(features.config, features.buckets[kept[int(features.config.cls) :]])
            small = self._small(fewer, {**arrays, EMBEDDING: arrays[EMBEDDING][kept]}, storage, limit)
            if small is not None or n_rows == 1:
                return small
            n_rows = int(n_rows * 0.9)
        return None

    def _strongest(self, rows: NDArray[np.float32], n_rows: int) -> NDArray[np.bool_]:
        """The rows that bring most energy to the training texts, ``(V,)`` bool."""
        energy = np.square(rows, dtype=np.float64).sum(axis=1)
        energy *= document_frequency(self.train.features, len(rows))
        kept = np.zeros(len(rows), dtype=bool)
        kept[np.argsort(-energy, kind="stable")[:n_rows]] = True
        return kept

    @staticmethod
    def _fewer(examples: Examples, kept: NDArray[np.bool_]) -> Examples:
        """Examples without the features that are dropped."""
        number = (np.cumsum(kept) - 1).astype(np.int32)
        features = examples.features.keep(kept[examples.features.ids])
        return replace(examples, features=replace(features, ids=number[features.ids]))

    def _overhead(self, storage: str) -> int:
        """Bytes of the file beside rows and buckets."""
        arrays = self.classifier.network.arrays()
        small = self._classifier(self.classifier.features, arrays, _dense(arrays, storage), storage)
        file = small.to_file()
        words = isinstance(self.classifier.features, WordFeatures)
        left_out = {EMBEDDING, FEATURE_PREFIX + "buckets"} if words else {EMBEDDING}
        tensors = {name: array for name, array in file.tensors.items() if name not in left_out}
        return size_of_model_file(replace(file, tensors=tensors)) + BYTES_OF_ENTRIES

    def _small(
        self,
        features: Any,
        arrays: dict[str, NDArray[np.float32]],
        storage: str,
        limit: int | None,
        thresholds: tuple[float, ...] | None = None,
    ) -> Classifier | None:
        """A model of these features and parameters in a storage; None if it is larger than the limit.

        Thresholds are given where it was trained again.
        """
        stored = _dense(arrays, storage)
        words = isinstance(features, WordFeatures)
        if storage == "packed":
            buckets = features.buckets if words and not features.config.cls and limit is not None else None
            of_buckets = len(as_gaps(features.buckets).parts[""]) if words and buckets is None else 0
            budget = None if limit is None else max(limit - self._overhead(storage) - of_buckets, 1)
            fitted = fit_step(arrays[EMBEDDING], buckets, budget)
            if fitted is None:
                return None
            features, arrays = self._without_zeros(features, arrays, fitted, words)
            table = fitted.rows
        else:
            table = stored_rows(arrays[EMBEDDING], storage)
        if table is not None:
            stored[EMBEDDING] = table
        if words:
            stored[FEATURE_PREFIX + "buckets"] = as_gaps(features.buckets)
        arrays = {name: stored[name].decoded() if name in stored else array for name, array in arrays.items()}
        small = self._classifier(features, arrays, stored, storage, thresholds)
        return small if limit is None or size_of_model_file(small.to_file()) <= limit else None

    @staticmethod
    def _without_zeros(
        features: Any, arrays: dict[str, NDArray[np.float32]], fitted: Fitted, words: bool
    ) -> tuple[Any, dict[str, NDArray[np.float32]]]:
        """Leave out rows that the step has made zero."""
        if not words or fitted.kept.all():
            return features, arrays
        fewer = WordFeatures(features.config, features.buckets[fitted.kept])
        return fewer, {**arrays, EMBEDDING: arrays[EMBEDDING][fitted.kept]}

    def _classifier(
        self,
        features: Any,
        arrays: dict[str, NDArray[np.float32]],
        stored: dict[str, Stored],
        storage: str,
        thresholds: tuple[float, ...] | None = None,
    ) -> Classifier:
        retrained = thresholds is not None
        config = self.classifier.network.config
        ends = features.sentence_ends if config.variants == "levels" else ()
        config = config.replace(n_rows=features.n_rows, sentence_ends=ends)
        record = {
            **self.classifier.training,
            # What follows is of this model; the accuracy is known later, and room for it is kept.
            "history": [],
            "level_weights": [] if retrained else self.classifier.training.get("level_weights", []),
            "best_epoch": None,
            "validation_accuracy": 0.1234567,
            "compression": {
                "storage": storage,
                "retrained": retrained,
                "rows_before": self.classifier.features.n_rows,
            },
        }
        network = network_of(config, arrays, "cpu")
        return replace(
            self.classifier,
            features=features,
            network=network,
            training=record,
            stored=stored,
            thresholds=self.classifier.thresholds if thresholds is None else thresholds,
        )
