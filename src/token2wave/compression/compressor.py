"""Makes smaller models of a model: which rows to keep, whether to retrain them, and how to encode them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.classifier import Classifier
from token2wave.compression.encoder import (
    ModelEncoder,
    RetrainDecision,
    final_size,
    prune_oov,
    prune_oov_table,
)
from token2wave.compression.fitting import rows_that_fit
from token2wave.errors import ConfigError
from token2wave.features import WordFeatures
from token2wave.inference.drift_sums import DriftSums
from token2wave.inference.novelty import NoveltyReference
from token2wave.inference.reference import EMBEDDING
from token2wave.prior.language_prior import load_prior
from token2wave.training.additive_network import AdditiveNetwork
from token2wave.training.branches import fit_branches
from token2wave.training.calibration import calibrate, recorded_choice, scale_branches
from token2wave.training.callbacks import CallbackList
from token2wave.training.examples import Examples
from token2wave.training.native_trainer import trains_natively
from token2wave.training.preparation import EncodedTexts
from token2wave.training.presets import Preset
from token2wave.training.prior_rows import RowVectors
from token2wave.training.recipe import Recipe
from token2wave.training.schedule import document_frequency
from token2wave.training.score_targets import calibrated_scale
from token2wave.training.thresholds import thresholds_of
from token2wave.training.validation import Validation, validate

RETRAINED_FRACTION = 0.8  # of the rows, with finer numbers, where they are retrained
WEIGHTS_UNKNOWN = "The rows were not retrained, as the data lacks the weights of the training texts."
TRAINED_ON_ALL = (
    "The model has learned from all texts, so none can say whether to retrain it: it was not retrained."
)
SVM_OF_ALL = (
    "The model's linear SVM has learned from the validation texts, so what they chose may not be the best."
)
NOVELTY_UNKNOWN = "The model no longer measures novelty: too few texts are unseen, or the file has no room."


def require_reachable(limit: int, preset: Preset, label_names: Sequence[str]) -> None:
    """Check before training that a file of ``limit`` bytes can hold the model at all.

    Raises:
        ConfigError: a model with a single row is larger, even without the branches that may be left out.
    """
    config = preset.network_config(1, len(label_names), ())
    config = config.replace(context_width=0, linear_svm=False)
    n_bytes = 2 * config.parameter_count().without_embedding  # in half precision
    n_bytes += sum(len(name.encode("utf-8", "surrogatepass")) for name in label_names)
    if limit < n_bytes:
        raise ConfigError(
            f"expected more than the {n_bytes:,} bytes of the network without its rows, found {limit:,}",
            location="max_size",
            hint="allow more bytes, or train a narrower network",
        )


class CompressedModel(NamedTuple):
    """A smaller model and its validation."""

    classifier: Classifier
    validation: Validation


class Compressor(ModelEncoder):
    """Makes smaller models of a model. Training texts rank and retrain rows; validation texts choose."""

    def __init__(self, classifier: Classifier, texts: EncodedTexts, callback_list: CallbackList) -> None:
        super().__init__(classifier)
        self.texts, self.callback_list = texts, callback_list
        record = classifier.training
        self.recipe, self.seed = recipe_of(record), seed_of(record)
        callback_list.stage("features", len(texts.train) + len(texts.validation))
        self.train = texts.train.encode(classifier.features, callback_list.advance)
        self.validation = texts.validation.encode(classifier.features, callback_list.advance)
        self.was_refit = bool(record.get("refit"))
        self.has_seen_validation = self.was_refit or bool(record.get("refit_linear_svm"))
        lacks_weights = bool(record.get("weighted")) and texts.validation.weights is None
        self.prior = load_prior() if record.get("prior") else None
        self.may_retrain = not self.was_refit and not lacks_weights
        self.caveats = list(texts.caveats)
        if lacks_weights:
            self.caveats.append(WEIGHTS_UNKNOWN)
        if self.has_seen_validation:
            self.caveats.append(TRAINED_ON_ALL if self.was_refit else SVM_OF_ALL)

    def best(self, storage: str, limit: int | None, retrain: bool) -> CompressedModel:
        """Make the smaller model with the least loss on the validation texts.

        Raises:
            ConfigError: the size cannot be reached.
        """
        self.callback_list.stage("compression", 0)
        models = [
            CompressedModel(model, validate(model.network, self.texts.validation.encode(model.features)))
            for model in self._candidates(storage, limit, retrain)
        ]
        if not models:
            raise ConfigError(
                f"expected a size that the model can be compressed to, found {limit:,} bytes as {storage}",
                location="max_size",
                hint="allow more bytes, choose storage lzma, or train a narrower network",
            )
        return min(models, key=lambda model: model.validation.loss)

    def repeat(self, model: Classifier, limit: int) -> Classifier | None:
        """Compress this model as ``model``, a fit on fewer texts, was; None if it stays too large."""
        features, record = self.classifier.features, model.training
        if not record["compression"]["retrained"] or not isinstance(features, WordFeatures):
            return next(self._candidates("lzma", limit, retrain=False), None)
        weights = tuple(record["branch_weights"])
        decision = RetrainDecision(record["best_epoch"], weights, model.thresholds, model.scale)
        return self._retrain(features, "lzma", limit, model.features.n_rows, decision)

    def with_novelty(self, model: Classifier, limit: int | None) -> Classifier:
        """Measure novelty and drift again if rows were dropped, as more words are unknown then."""
        old, drift = self.classifier.novelty_reference, self.classifier.drift_reference
        if old is None or model.features.n_rows == self.classifier.features.n_rows:
            return model
        reference, drift = None, None if drift is None else drift.without_features()
        if not (self.has_seen_validation or self.texts.learns_from_validation):
            features, n_unknown = model.features.with_unknown(self.texts.validation.texts)
            logits = model.network.logits(features)
            rows = features.rows(model.features.n_rows)
            reference = NoveltyReference.of(n_unknown, rows.lengths, logits)
            measured = replace(model, novelty_reference=reference)
            drift = None if drift is None else DriftSums.of_features(measured, features, n_unknown, logits)
        measured = replace(model, novelty_reference=reference, drift_reference=drift)
        if limit is not None and final_size(measured.to_file()) > limit:
            measured = replace(measured, novelty_reference=None)
        if measured.novelty_reference is None:
            self.caveats.append(NOVELTY_UNKNOWN)
        return measured

    def _candidates(self, storage: str, limit: int | None, retrain: bool) -> Iterator[Classifier]:
        """Make models that are not larger than the limit."""
        features = self.classifier.features
        if limit is None or not isinstance(features, WordFeatures):
            encoded = self.encode(features, self.arrays, storage, limit)
            yield from [] if encoded is None else [encoded]
            return
        pruned = self._prune(features, storage, limit)
        if pruned is not None:
            yield pruned
        if pruned is None or pruned.features.n_rows == features.n_rows or not retrain:
            return
        config = self.config.without_linear_svm()
        if self.may_retrain and trains_natively(config, self.recipe, features.config.cls):
            fraction = RETRAINED_FRACTION if storage == "lzma" else 1.0
            retrained = self._retrain(
                features, storage, limit, max(int(fraction * pruned.features.n_rows), 1)
            )
            if retrained is not None:
                yield retrained

    def _retrain(
        self,
        features: WordFeatures,
        storage: str,
        limit: int,
        n_rows: int,
        decision: RetrainDecision | None = None,
    ) -> Classifier | None:
        """Train the strongest rows from scratch, without the others; validate unless that is decided."""
        mask = self._strongest(n_rows)
        train, validation = (_drop_features(examples, mask) for examples in (self.train, self.validation))
        fewer = WordFeatures(features.config, features.buckets[mask])
        network = AdditiveNetwork.initial(self.config.without_linear_svm().replace(n_rows=n_rows), self.seed)
        prior = None if self.prior is None else RowVectors(fewer, self.prior)
        if prior is not None:
            prior.init_waves(network.embedding, network.config.width, self.recipe.prior_scale)
            network.seed = None  # the rows cannot be drawn again
        network, with_oov, history, _ = fit_branches(
            network,
            fewer,
            train,
            None if decision else validation,
            self.recipe.replace(epochs=decision.best_epoch) if decision else self.recipe,
            linear_svm=self.config.linear_svm,
            seed=self.seed,
            svm_choice=recorded_choice(self.classifier.training),
            prior=prior,
            callbacks=self.callback_list.callbacks,
        )
        assert isinstance(with_oov, WordFeatures)
        fewer, config, arrays = prune_oov_table(with_oov, network.config, network.arrays(), limit)
        network = AdditiveNetwork(config, arrays)
        if decision is not None:
            scale_branches(network, decision.branch_weights)
        else:
            assert history.best is not None
            learns_from_validation = self.texts.learns_from_validation
            validation = validation.encode(fewer)
            weights = () if learns_from_validation else calibrate(network, validation)
            thresholds = thresholds_of(network, validation, learns_from_validation)
            thresholds = () if self.texts.scale is not None else thresholds
            scale = self.classifier.scale
            if not learns_from_validation:
                scale = calibrated_scale(scale, network, validation)
            decision = RetrainDecision(history.best.epoch, weights, thresholds, scale)
        return self.encode(fewer, network.arrays(), storage, limit, decision)

    def _prune(self, features: WordFeatures, storage: str, limit: int) -> Classifier | None:
        """Drop rows until the file fits."""
        rows, has_cls = self.arrays[EMBEDDING], int(features.config.cls)
        n_rows = rows_that_fit(storage, rows.shape[1], limit - self.overhead(features, self.arrays, storage))
        while n_rows >= 1:
            mask = self._strongest(n_rows)
            if has_cls:
                mask[0] = True
            fewer = WordFeatures(features.config, features.buckets[mask[has_cls:]], features.oov_hashes)
            pruned = self.encode(fewer, {**self.arrays, EMBEDDING: rows[mask]}, storage, limit)
            if pruned is not None or n_rows == 1:
                return pruned
            n_rows = int(n_rows * 0.9)
        return None

    def _strongest(self, n_rows: int) -> NDArray[np.bool_]:
        """Select the rows that bring most energy to the training texts, ``(V,)`` bool.

        Words of the language prior that no training text has come last, those of most energy first.
        """
        rows = self.arrays[EMBEDDING]
        energy = np.square(rows, dtype=np.float64).sum(axis=1)
        frequency = document_frequency(self.train.features.rows(len(rows)), len(rows))
        order = np.lexsort((-energy * np.maximum(frequency, 1), frequency == 0))
        mask = np.zeros(len(rows), dtype=bool)
        mask[order[:n_rows]] = True
        return mask


def shrink(
    first: Classifier,
    refit: Classifier | None,
    texts: EncodedTexts,
    limit: int,
    callback_list: CallbackList,
) -> tuple[Classifier, CompressedModel]:
    """Compress a model that was just trained to at most ``limit`` bytes.

    Args:
        first: the model of the training texts alone, so that the validation texts can decide.
        refit: the model of all rows, if there is one.
        texts: of both.
        limit: largest size of the file in bytes.
        callback_list: called as the work goes on.

    Returns:
        The model to keep, made of ``refit`` if there is one; and that of ``first``.

    Raises:
        ConfigError: the size cannot be reached.
    """
    compressor = Compressor(prune_oov(first, limit), texts, callback_list)
    best = compressor.best("lzma", limit, retrain=True)
    best = best._replace(classifier=compressor.with_novelty(best.classifier, limit))
    if refit is None:
        return best.classifier, best
    assert texts.full_train is not None
    all_texts = replace(texts, train=texts.full_train)
    model = Compressor(prune_oov(refit, limit), all_texts, callback_list).repeat(best.classifier, limit)
    if model is None:
        return best.classifier, best
    references = best.classifier.novelty_reference, best.classifier.drift_reference
    with_novelty = replace(model, novelty_reference=references[0], drift_reference=references[1])
    if final_size(with_novelty.to_file()) <= limit:
        return with_novelty, best
    return replace(model, novelty_reference=None), best


def recipe_of(record: dict[str, Any]) -> Recipe:
    """Read the recipe of a model from its record."""
    recipe = record.get("recipe")
    return Recipe.from_dict(recipe) if isinstance(recipe, dict) else Recipe()


def seed_of(record: dict[str, Any]) -> int:
    """Read the seed of a model from its record."""
    seed = record.get("seed")
    return seed if type(seed) is int and 0 <= seed < 1 << 63 else 0


def _drop_features(examples: Examples, mask: NDArray[np.bool_]) -> Examples:
    """Drop the features whose rows are dropped, and renumber the others."""
    features = examples.features.rows(len(mask))
    features = features.keep(mask[features.ids])
    new_ids = (np.cumsum(mask) - 1).astype(np.int32)
    return replace(examples, features=replace(features, ids=new_ids[features.ids]))
