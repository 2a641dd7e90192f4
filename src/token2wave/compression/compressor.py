"""Smaller models: which rows stay, whether they learn anew, and how fine their numbers are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.classifier import Classifier
from token2wave.compression.fitting import EncodedRows, encoded_rows, fit_step, rows_that_fit
from token2wave.errors import ConfigError
from token2wave.features import WordFeatures
from token2wave.inference.loading import build_network
from token2wave.inference.model import FEATURE_PREFIX
from token2wave.inference.novelty import NoveltyReference
from token2wave.inference.reference import EMBEDDING
from token2wave.storage.encodings import EncodedArray, as_delta_varint, as_float16
from token2wave.storage.model_file import ModelFile, size_of_model_file
from token2wave.training.additive_network import AdditiveNetwork
from token2wave.training.branches import fit_branches
from token2wave.training.calibration import calibrate, scale_branches
from token2wave.training.callbacks import CallbackList
from token2wave.training.examples import Examples
from token2wave.training.native_trainer import trains_natively
from token2wave.training.preparation import EncodedTexts
from token2wave.training.presets import Preset
from token2wave.training.recipe import Recipe
from token2wave.training.schedule import document_frequency
from token2wave.training.thresholds import thresholds_of
from token2wave.training.validation import Validation, validate

RETRAINED_SHARE = 0.8  # fewer rows, with finer numbers, where they learn anew
BYTES_OF_ENTRIES = 500  # of rows and buckets in the header
WEIGHTS_UNKNOWN = (
    "The training texts were weighted, and the weights are not at hand: rows are not trained again."
)
TRAINED_ON_ALL = (
    "The model was trained on the validation rows, too: that flatters it, and rows are not trained again."
)
SVM_OF_ALL = "The model's linear SVM was fitted to the validation rows, too, which flatters it."
NOVELTY_UNKNOWN = (
    "Rows were dropped, and for want of texts that training did not see, or of room, the file does not tell "
    "how novel a text is."
)


def require_reachable(limit: int, preset: Preset, label_names: Sequence[str]) -> None:
    """Check before training that a file of some size can hold the model at all.

    Args:
        limit: largest size of the file in bytes.
        preset: of the model.
        label_names: of the classes.

    Raises:
        ConfigError: a model with a single row is larger, even without the branches that may be left out.
    """
    config = preset.network_config(1, len(label_names), ())
    config = config.replace(context_width=0, linear_svm=False)
    least = 2 * config.parameter_count().without_embedding  # in half precision
    least += sum(len(name.encode("utf-8", "surrogatepass")) for name in label_names)
    if limit < least:
        raise ConfigError(
            f"expected more than {least:,} bytes, which the network takes without its rows, found {limit:,}",
            location="max_size",
            hint="allow more bytes, or train a narrower network",
        )


class CompressedModel(NamedTuple):
    """A smaller model.

    Attributes:
        classifier: the model.
        validation: how it does on the validation texts.
    """

    classifier: Classifier
    validation: Validation


class RetrainDecision(NamedTuple):
    """How rows that stay were trained again: what validation texts decided."""

    best_epoch: int
    weights: tuple[float, ...]
    thresholds: tuple[float, ...]


class Compressor:
    """Makes smaller models of a model.

    Args:
        classifier: the model.
        texts: to rank rows and train again by, and to judge by.
        callback_list: called as the work goes on.
    """

    def __init__(self, classifier: Classifier, texts: EncodedTexts, callback_list: CallbackList) -> None:
        self.classifier, self.texts, self.callback_list = classifier, texts, callback_list
        self.recipe, self.seed = recipe_of(classifier.training), seed_of(classifier.training)
        callback_list.stage("features", len(texts.train) + len(texts.validation))
        self.train = texts.train.encode(classifier.features, callback_list.advance)
        self.validation = texts.validation.encode(classifier.features, callback_list.advance)
        self.was_refit = bool(classifier.training.get("refit"))
        self.has_seen = self.was_refit or bool(classifier.training.get("refit_linear_svm"))
        self.lacks_weights = bool(classifier.training.get("weighted")) and texts.validation.weights is None
        self.caveats = list(texts.caveats)
        if self.lacks_weights:
            self.caveats.append(WEIGHTS_UNKNOWN)
        if self.was_refit:
            self.caveats.append(TRAINED_ON_ALL)
        elif self.has_seen:
            self.caveats.append(SVM_OF_ALL)

    def best(self, storage: str, limit: int | None, retrain: bool) -> CompressedModel:
        """The smaller model of the least loss on the validation texts.

        Args:
            storage: of the rows.
            limit: most bytes of the file, if there is one.
            retrain: whether the rows that stay may be trained again.

        Raises:
            ConfigError: the size cannot be reached.
        """
        self.callback_list.stage("compression", 0)
        best: CompressedModel | None = None
        for candidate in self.candidates(storage, limit, retrain):
            examples = self.texts.validation.encode(candidate.features)
            found = CompressedModel(candidate, validate(candidate.network, examples))
            if best is None or found.validation.loss < best.validation.loss:
                best = found
        if best is None:
            raise ConfigError(
                f"expected a size that the model can be compressed to, found {limit:,} bytes as {storage}",
                location="max_size",
                hint="allow more bytes, choose storage lzma, or train a narrower network",
            )
        best.classifier.training["validation_accuracy"] = round(best.validation.accuracy, 6)
        if best.classifier.multi_label:
            best.classifier.training["validation_micro_f1"] = round(best.validation.micro_f1, 6)
        return best

    def like(self, small: Classifier, limit: int) -> Classifier | None:
        """Make this model small as another was made, without validation; None if that is too large.

        Args:
            small: of the least loss on validation texts, among models made of the same by fewer texts.
            limit: most bytes of the file.
        """
        features, record = self.classifier.features, small.training
        if not record["compression"]["retrained"] or not isinstance(features, WordFeatures):
            return next(self.candidates("lzma", limit, retrain=False), None)
        as_before = RetrainDecision(record["best_epoch"], tuple(record["branch_weights"]), small.thresholds)
        return self._retrained(features, "lzma", limit, small.features.n_rows, as_before)

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
        config = self.classifier.network.config.replace(linear_svm=False)
        if trains_natively(config, self.recipe, features.config.cls):
            share = RETRAINED_SHARE if storage == "lzma" else 1.0
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
        if not (self.has_seen or self.texts.learns_from_validation):
            features, n_unknown = small.features.with_unknown(self.texts.validation.texts)
            reference = NoveltyReference.of(n_unknown, features.lengths, small.network.logits(features))
        found = replace(small, novelty_reference=reference)
        if limit is not None and size_of_model_file(found.to_file()) > limit:
            found = replace(small, novelty_reference=None)
        if found.novelty_reference is None:
            self.caveats.append(NOVELTY_UNKNOWN)
        return found

    def _retrained(
        self,
        features: WordFeatures,
        storage: str,
        limit: int,
        n_rows: int,
        as_before: RetrainDecision | None = None,
    ) -> Classifier | None:
        """Train the strongest rows from scratch, without the others; validation decides, unless it did."""
        config = self.classifier.network.config
        kept = self._strongest(self.classifier.network.arrays()[EMBEDDING], n_rows)
        train, held_out = (self._fewer(part, kept) for part in (self.train, self.validation))
        waves = AdditiveNetwork.initial(config.replace(n_rows=n_rows, linear_svm=False), self.seed)
        fewer = WordFeatures(features.config, features.buckets[kept])
        share = self.classifier.training.get("char_ngram_weight")
        learned, history, _ = fit_branches(
            waves,
            fewer,
            train,
            None if as_before else held_out,
            self.recipe.replace(epochs=as_before.best_epoch) if as_before else self.recipe,
            linear_svm=config.linear_svm,
            seed=self.seed,
            char_ngram_weight=float(share) if isinstance(share, int | float) else 0.0,
            callbacks=self.callback_list.callbacks,
        )
        if as_before is not None:
            scale_branches(learned, as_before.weights)
        else:
            assert history.best is not None
            is_apart = not self.texts.learns_from_validation
            weights = calibrate(learned, held_out) if is_apart else ()
            thresholds = thresholds_of(learned, held_out, not is_apart)
            as_before = RetrainDecision(history.best.epoch, weights, thresholds)
        return self._small(fewer, learned.arrays(), storage, limit, as_before)

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
        small = self._classifier(self.classifier.features, arrays, _dense(arrays, storage), storage, None)
        file = small.to_file()
        words = isinstance(self.classifier.features, WordFeatures)
        left_out = {EMBEDDING, FEATURE_PREFIX + "buckets"} if words else {EMBEDDING}
        tensors = {name: array for name, array in file.tensors.items() if name not in left_out}
        return _final_size(replace(file, tensors=tensors)) + BYTES_OF_ENTRIES

    def _small(
        self,
        features: Any,
        arrays: dict[str, NDArray[np.float32]],
        storage: str,
        limit: int | None,
        again: RetrainDecision | None = None,
    ) -> Classifier | None:
        """A model of these features and parameters in a storage; None if it is larger than the limit."""
        encoded = _dense(arrays, storage)
        words = isinstance(features, WordFeatures)
        if storage == "lzma":
            buckets = features.buckets if words and not features.config.cls and limit is not None else None
            of_buckets = len(as_delta_varint(features.buckets).parts[""]) if words and buckets is None else 0
            budget = None if limit is None else max(limit - self._overhead(storage) - of_buckets, 1)
            fitted = fit_step(arrays[EMBEDDING], buckets, budget)
            if fitted is None:
                return None
            features, arrays = self._without_zeros(features, arrays, fitted, words)
            table = fitted.rows
        else:
            table = encoded_rows(arrays[EMBEDDING], storage)
        if table is not None:
            encoded[EMBEDDING] = table
        if words:
            encoded[FEATURE_PREFIX + "buckets"] = as_delta_varint(features.buckets)
        arrays = {
            name: encoded[name].decoded() if name in encoded else array for name, array in arrays.items()
        }
        small = self._classifier(features, arrays, encoded, storage, again)
        return small if limit is None or _final_size(small.to_file()) <= limit else None

    @staticmethod
    def _without_zeros(
        features: Any, arrays: dict[str, NDArray[np.float32]], fitted: EncodedRows, words: bool
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
        encoded: dict[str, EncodedArray],
        storage: str,
        again: RetrainDecision | None,
    ) -> Classifier:
        config = self.classifier.network.config
        ends = features.sentence_ends if config.variants == "levels" else ()
        config = config.replace(n_rows=features.n_rows, sentence_ends=ends)
        record = {
            **self.classifier.training,
            # These figures are of the smaller model. Validation adds its accuracy later.
            "history": [],
            "branch_weights": again.weights if again else self.classifier.training.get("branch_weights", []),
            "best_epoch": again.best_epoch if again else None,
            "validation_accuracy": None,
            "compression": {
                "storage": storage,
                "retrained": again is not None,
                "rows_before": self.classifier.features.n_rows,
            },
        }
        network = build_network(config, arrays, "cpu")
        return replace(
            self.classifier,
            features=features,
            network=network,
            training=record,
            encoded=encoded,
            thresholds=again.thresholds if again else self.classifier.thresholds,
        )


def shrink(
    first: Classifier, last: Classifier | None, texts: EncodedTexts, limit: int, callback_list: CallbackList
) -> tuple[Classifier, CompressedModel]:
    """Bring a model that was just trained below a size.

    Args:
        first: what learnt from the training texts alone, so that validation texts can decide how.
        last: the same, trained on all rows; None if there is none.
        texts: of both.
        limit: most bytes of the file.
        callback_list: called as the work goes on.

    Returns:
        The model to keep, made of ``last`` if there is one; and that of ``first``, with its figures.

    Raises:
        ConfigError: the size cannot be reached.
    """
    work = Compressor(first, texts, callback_list)
    judged = work.best("lzma", limit, retrain=True)
    judged = judged._replace(classifier=work.with_novelty(judged.classifier, limit))
    if last is None:
        return judged.classifier, judged
    assert texts.full_train is not None
    small = Compressor(last, replace(texts, train=texts.full_train), callback_list).like(
        judged.classifier, limit
    )
    if small is None:
        return judged.classifier, judged
    small.training["validation_accuracy"] = round(judged.validation.accuracy, 6)
    knowing = replace(small, novelty_reference=judged.classifier.novelty_reference)
    fits = size_of_model_file(knowing.to_file()) <= limit
    return knowing if fits else replace(small, novelty_reference=None), judged


def _final_size(file: ModelFile) -> int:
    """Bytes of a model file once its record has the accuracy, which is rounded to six digits."""
    return size_of_model_file(
        replace(file, training={**file.training, "validation_accuracy": round(1 / 3, 6)})
    )


def recipe_of(record: dict[str, Any]) -> Recipe:
    """How a model was trained, by its record."""
    recipe = record.get("recipe")
    return Recipe.from_dict(recipe) if isinstance(recipe, dict) else Recipe()


def seed_of(record: dict[str, Any]) -> int:
    """The seed that a model was trained with."""
    seed = record.get("seed")
    return seed if type(seed) is int and 0 <= seed < 1 << 63 else 0


def _dense(arrays: dict[str, NDArray[np.float32]], storage: str) -> dict[str, EncodedArray]:
    """All parameters but the rows, in half precision unless all is to stay as it is."""
    if storage == "float32":
        return {}
    return {name: as_float16(array) for name, array in arrays.items() if name != EMBEDDING}
