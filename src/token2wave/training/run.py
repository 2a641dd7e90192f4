"""The steps of a training run: the first fit, which validation texts judge, and what all rows then teach."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from token2wave.classifier import Classifier
from token2wave.data import TextDataset
from token2wave.features import Features, Ragged, WordFeatures
from token2wave.inference.model import Network
from token2wave.inference.novelty import NoveltyReference
from token2wave.inference.reference import EMBEDDING
from token2wave.metrics import Evaluation
from token2wave.models.wave_config import WaveConfig
from token2wave.training.additive_network import AdditiveNetwork
from token2wave.training.branches import (
    config_without_zero_branches,
    fit_branches,
    with_refitted_linear_svm,
    without_zero_branches,
)
from token2wave.training.calibration import Scalable, calibrate, scale_branches
from token2wave.training.callbacks import CallbackList, Epoch, History
from token2wave.training.checkpoint import Checkpoint
from token2wave.training.cross_validation import (
    CHAR_NGRAM_WEIGHT_FEW_ROWS,
    cross_validate_branches,
    has_few_rows,
)
from token2wave.training.distributed import leading
from token2wave.training.examples import Examples
from token2wave.training.linear_svm import CHAR_NGRAM_WEIGHT
from token2wave.training.native_trainer import trains_natively
from token2wave.training.preparation import EncodedTexts, Labelled, features_for
from token2wave.training.presets import Preset
from token2wave.training.recipe import Recipe
from token2wave.training.thresholds import thresholds_of
from token2wave.training.validation import Validation, validate


class TrainableNetwork(Network, Scalable, Protocol):
    """What a run makes."""


class EmbeddingInit(Protocol):
    """Starts the embedding from a pre-trained encoder (:mod:`token2wave.distillation.embedding_init`)."""

    @property
    def name(self) -> str:
        """Name or folder of the encoder."""

    def expand_features(
        self, texts: Sequence[str], features: Features, encoded: Ragged, callback_list: CallbackList
    ) -> tuple[WordFeatures, Ragged, Any]:
        """Give every word that the encoder knows a row.

        Returns:
            The wider features, the texts encoded by them, and the encoder's vectors for :meth:`init_rows`.
        """

    def init_rows(self, rows: NDArray[np.float32], width: int, vectors: Any, features: WordFeatures) -> None:
        """Write the encoder's vectors into the rows ``(V, W)`` of the embedding, in place."""


@dataclass(frozen=True)
class FitResult:
    """A trained network, and how it came about.

    Attributes:
        features: of its training texts.
        network: the network.
        history: of its training.
        held_out: the validation texts as features; None if there were none.
        char_ngram_weight: amplitude of the words' character n-grams.
        branch_weights: of each level; none where nothing was held back to weigh them by.
        before: the fit that decided how this one was trained; None for the first.
    """

    features: Features
    network: TrainableNetwork
    history: History
    held_out: Examples | None
    char_ngram_weight: float
    branch_weights: tuple[float, ...] = ()
    before: FitResult | None = None

    @property
    def is_refit(self) -> bool:
        """Whether it was trained again, on all rows."""
        return self.before is not None

    @property
    def train_seconds(self) -> float:
        """Wall time of all training."""
        return self.history.train_seconds + (0.0 if self.before is None else self.before.train_seconds)

    @property
    def lr_factor(self) -> float:
        """What the recipe's rates were multiplied by."""
        return self.history.lr_factor * (1.0 if self.before is None else self.before.lr_factor)


@dataclass(frozen=True)
class ValidatedFit:
    """What learnt from the training texts alone, calibrated, and what validation texts say of it.

    Attributes:
        fitted: the network with its levels weighed.
        best: the epoch whose weights were kept.
        validated: figures of the validation texts.
        thresholds: of each class, where a text may have several; else none.
        novelty_reference: what is usual in new texts; None where nothing was held back.
    """

    fitted: FitResult
    best: Epoch
    validated: Validation
    thresholds: tuple[float, ...]
    novelty_reference: NoveltyReference | None

    def classifiers(
        self, last: FitResult, label_names: tuple[str, ...], record: dict[str, Any]
    ) -> tuple[Classifier, Classifier]:
        """The classifier to keep, and the one of the first fit: the validation texts are new to that alone.

        Args:
            last: what all rows taught.
            label_names: of the classes.
            record: of the run.
        """
        network = last.network.compiled() if isinstance(last.network, AdditiveNetwork) else last.network
        saw_all = {} if last is self.fitted or last.is_refit else {"refit_linear_svm": True}
        classifier = Classifier(
            last.features,
            network,
            label_names,
            training={**record, **saw_all},
            thresholds=self.thresholds,
            novelty_reference=self.novelty_reference,
        )
        apart = replace(
            classifier,
            features=self.fitted.features,
            network=self.fitted.network,
            training={**record, "refit": False},
        )
        return classifier, apart


@dataclass
class TrainingRun:
    """The steps of a run, with what they share.

    Attributes:
        splits: the data.
        texts: the same, prepared, and with what a teacher says of them.
        preset: suited to the data.
        seed: of initial weights, order of texts and dropout.
        device: ``auto``, ``cpu`` or ``cuda``.
        callback_list: told how it goes.
        vocabulary: of WordPiece features, if one is given.
        embedding_init: starts the words' rows from a pre-trained encoder, if one is given.
        computed_on: ``cpu`` or ``cuda``.
        checkpoint: to write every epoch down in, if there is one.
    """

    splits: TextDataset
    texts: EncodedTexts
    preset: Preset
    seed: int
    device: str
    callback_list: CallbackList
    vocabulary: str | os.PathLike[str] | None = None
    embedding_init: EmbeddingInit | None = None
    computed_on: str = "cpu"
    checkpoint: Checkpoint | None = None

    @property
    def n_rows(self) -> int:
        """Rows with labels that were given, those to test on aside."""
        return len(self.splits.train)

    @property
    def n_train_rows(self) -> int:
        """Texts that the first fit learns from."""
        return len(self.texts.train)

    @property
    def is_weighted(self) -> bool:
        """Whether rows have weights of their own."""
        return self.splits.train.weights is not None

    def checksums(self) -> list[int | None]:
        """Numbers that depend on all that is learnt from."""
        parts = (self.texts.train, self.texts.validation, self.texts.full_train)
        return [None if part is None else part.checksum() for part in parts]

    def facts(self) -> dict[str, Any]:
        """What the model file says of this run, beside what it says of any; plain data."""
        return {}

    def fit_first(self) -> ValidatedFit:
        """Train on the training texts, and let the validation texts weigh, choose and judge."""
        texts = self.texts
        learnt_from = texts.learns_from_validation  # which would call for certainty
        share = CHAR_NGRAM_WEIGHT if learnt_from else None
        fitted = self.fit(self.preset.recipe, texts.train, texts.validation, char_ngram_weight=share)
        held_out, best = fitted.held_out, fitted.history.best
        assert held_out is not None
        assert best is not None
        weights = () if learnt_from else calibrate(fitted.network, held_out)
        network = without_zero_branches(fitted.network, weights)
        fitted = replace(fitted, network=network, branch_weights=weights)
        thresholds = thresholds_of(network, held_out, learnt_from)
        validated = validate(network, held_out)
        novelty = None if learnt_from else _novelty_reference(fitted, texts.validation.texts)
        return ValidatedFit(fitted, best, validated, thresholds, novelty)

    def fit_all_rows(self, first: ValidatedFit) -> FitResult:
        """Let the rows that were held back teach, too: by training again, or, of many, the amplitudes alone.

        Returns:
            The first fit itself where no rows were held back, or they can teach nothing.
        """
        fitted, full_train, limit = first.fitted, self.texts.full_train, self.preset.recipe.refit_below
        if full_train is None or not limit:
            return fitted
        if sum(map(len, self.splits.train.texts)) < limit:
            return self._fit_again(first, full_train)
        of_all = self.preset.recipe.refit_linear_svm and fitted.network.config.linear_svm
        if of_all and fitted.branch_weights:
            return self._refit_linear_svm(fitted, full_train)
        return fitted

    def _fit_again(self, first: ValidatedFit, full_train: Labelled) -> FitResult:
        """Train on all rows, for as long and with such levels as the validation texts decided."""
        fitted = first.fitted
        recipe = self.preset.recipe.with_lr_factor(fitted.history.lr_factor)
        share, weights = fitted.char_ngram_weight, fitted.branch_weights
        if has_few_rows(full_train):
            share = CHAR_NGRAM_WEIGHT_FEW_ROWS
            fit = partial(self.fit, recipe, char_ngram_weight=share)
            weights = cross_validate_branches(fit, full_train, self.seed)
        else:
            recipe = recipe.replace(epochs=first.best.epoch)
        again = self.fit(recipe, full_train, branch_weights=weights, char_ngram_weight=share)
        scale_branches(again.network, weights[:1] + tuple(weight for weight in weights[1:] if weight))
        return replace(again, before=fitted)

    def _refit_linear_svm(self, fitted: FitResult, full_train: Labelled) -> FitResult:
        """Let the amplitudes learn from all rows; all else stays as it was."""
        self.callback_list.stage("features of all texts", len(full_train))
        start = time.perf_counter()
        found = fitted.features(full_train.texts, self.callback_list.advance)
        network = with_refitted_linear_svm(
            fitted.network,
            full_train.examples(found, self.texts.positive_weights),
            full_train.texts,
            fitted.features,
            self.preset.recipe,
            n_unlabelled=full_train.n_unlabelled,
            weight=fitted.branch_weights[-1],
            seed=self.seed,
            char_ngram_weight=fitted.char_ngram_weight,
            callbacks=self.callback_list.callbacks,
        )
        fitted.history.train_seconds += time.perf_counter() - start
        return replace(fitted, network=network)

    def fit(
        self,
        recipe: Recipe,
        train: Labelled,
        validation: Labelled | None = None,
        *,
        branch_weights: tuple[float, ...] = (),
        char_ngram_weight: float | None = None,
    ) -> FitResult:
        """Make features and network from the training texts, and train.

        Args:
            recipe: how.
            train: what to learn from.
            validation: what to choose the epoch by, if there is something.
            branch_weights: levels whose weight is zero are left out.
            char_ngram_weight: weight of the words' character n-grams; validation texts choose it if None.
        """
        advance = self.callback_list.stage_once_begun("features of the training texts", len(train))
        source = self.splits.train.source
        features, found = features_for(train.texts, self.preset, self.vocabulary, source, advance)
        vectors: Any = None
        if self.embedding_init is not None:
            features, found, vectors = self.embedding_init.expand_features(
                train.texts, features, found, self.callback_list
            )
        config = self._config(features, branch_weights)
        network = self._network(config.replace(linear_svm=False), recipe)
        if self.embedding_init is not None:
            assert isinstance(features, WordFeatures)
            rows = np.array(network.arrays()[EMBEDDING])
            self.embedding_init.init_rows(rows, config.width, vectors, features)
            network.load(EMBEDDING, rows)
            if isinstance(network, AdditiveNetwork):
                network.seed = None  # it cannot be drawn again
        held_out = None
        if validation is not None:
            self.callback_list.stage("features of the validation texts", len(validation))
            found_too = features(validation.texts, self.callback_list.advance)
            held_out = validation.examples(found_too)
        examples = train.examples(found, self.texts.positive_weights)
        network, history, char_ngram_weight = fit_branches(
            network,
            examples,
            train.texts,
            features,
            held_out,
            recipe,
            linear_svm=config.linear_svm,
            seed=self.seed,
            has_cls=self._has_cls,
            char_ngram_weight=char_ngram_weight,
            n_unlabelled=train.n_unlabelled,
            callbacks=self.callback_list.callbacks,
            place=None if self.checkpoint is None else self.checkpoint.next_network(),
        )
        return FitResult(features, network, history, held_out, char_ngram_weight, branch_weights)

    def evaluate(self, classifier: Classifier, apart: Classifier) -> Evaluation:
        """Evaluate on texts that were not learnt from: on the test texts, or else on the validation texts.

        Args:
            classifier: the one to keep, which may have learnt from the validation texts.
            apart: the one that has not.
        """
        test = self.texts.test
        judged, held_out = (classifier, test) if test is not None else (apart, self.texts.validation)
        self.callback_list.stage("evaluation", len(held_out))
        return judged.evaluate(held_out.texts, held_out.labels, self.callback_list.advance)

    @property
    def trained_by(self) -> str:
        """What takes the steps: ``native core``, or torch on ``cpu`` or ``cuda``."""
        config = self.preset.network_config(1, 2, ()).replace(linear_svm=False)
        if self._trains_natively(config, self.preset.recipe):
            return "native core"
        import torch

        return "cuda" if self.device != "cpu" and torch.cuda.is_available() else "cpu"

    @property
    def _has_cls(self) -> bool:
        return not self.preset.features_lack_cls

    def _trains_natively(self, config: WaveConfig, recipe: Recipe) -> bool:
        """Whether the native core takes the steps, which it does in one process alone."""
        return self.device != "cuda" and leading() is None and trains_natively(config, recipe, self._has_cls)

    def _config(self, features: Features, branch_weights: Sequence[float]) -> WaveConfig:
        n_classes = len(self.texts.label_names)
        config = self.preset.network_config(features.n_rows, n_classes, features.sentence_ends)
        return config_without_zero_branches(
            config.replace(multi_label=self.texts.multi_label), branch_weights
        )

    def _network(self, config: WaveConfig, recipe: Recipe) -> TrainableNetwork:
        """Network with initial weights that depend on the seed alone."""
        if self._trains_natively(config, recipe):
            return AdditiveNetwork.initial(config, self.seed)
        return self._torch_network(config)

    def _torch_network(self, config: WaveConfig) -> TrainableNetwork:
        import torch

        from token2wave.models import WaveNetwork

        self.computed_on = "cuda" if self.device != "cpu" and torch.cuda.is_available() else "cpu"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return WaveNetwork(config).to(self.computed_on)


def _novelty_reference(fitted: FitResult, texts: Sequence[str]) -> NoveltyReference | None:
    """What is usual in texts that were not learnt from."""
    features, n_unknown = fitted.features.with_unknown(texts)
    return NoveltyReference.of(n_unknown, features.lengths, fitted.network.logits(features))
