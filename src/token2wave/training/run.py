"""The steps of a training run: a fit that the validation texts evaluate, then a fit on all rows."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from token2wave.classifier import Classifier
from token2wave.data import TextDataset
from token2wave.explanation.explain import limited_explainer
from token2wave.features import Features, Ragged, WordConfig, WordFeatures
from token2wave.features.hashed_texts import HashedTexts
from token2wave.features.pairs import PairConfig, show_pair
from token2wave.inference.drift_sums import DriftSums
from token2wave.inference.model import Model
from token2wave.inference.novelty import NoveltyReference
from token2wave.inference.reference import EMBEDDING
from token2wave.inference.score_evaluation import evaluate_scale
from token2wave.metrics import (
    EvaluatedText,
    Evaluation,
    evaluate_predictions,
    evaluated_texts,
)
from token2wave.models.wave_config import WaveConfig
from token2wave.prior.language_prior import LanguagePrior
from token2wave.score_scale import ScoreScale
from token2wave.training.additive_network import AdditiveNetwork
from token2wave.training.auto_settings import FEW_TO_BATCH, FEW_TO_CROSS_VALIDATE
from token2wave.training.branches import (
    branch_names,
    choose_by_folds,
    fit_branches,
    refit_linear_svm,
    remove_zero_branches,
    remove_zero_branches_of_config,
    without_oov,
)
from token2wave.training.calibration import (
    CHAR_NGRAM_WEIGHTS_FEW_ROWS,
    LinearSVMChoice,
    calibrate,
    cross_validate_branches,
    fit_grades,
    has_few_rows,
    mix_logits,
    scale_branches,
)
from token2wave.training.callbacks import CallbackList, Epoch, History
from token2wave.training.checkpoint import Checkpoint
from token2wave.training.cross_validation import CrossValidation
from token2wave.training.described_examples import add_descriptions
from token2wave.training.distributed import is_distributed
from token2wave.training.examples import Examples, ExampleStream
from token2wave.training.linear_svm import LinearSVMSettings
from token2wave.training.native_trainer import trains_natively
from token2wave.training.preparation import EncodedTexts, features_for
from token2wave.training.presets import Preset
from token2wave.training.prior_rows import RowVectors, add_rows, prior_of_texts
from token2wave.training.recipe import Recipe
from token2wave.training.score_targets import calibrated_scale
from token2wave.training.thresholds import thresholds_of
from token2wave.training.trainer import TrainableNetwork
from token2wave.training.validation import Validation, validate
from token2wave.training.window_level import (
    WindowLevel,
    fit_window_level,
    wants_window_level,
    weigh_window_level,
)

PRIOR_WEIGHT_NO_ROWS, SVM_WEIGHT_NO_ROWS = 2.0, 2.0  # of the linear SVM if there are only descriptions


class EmbeddingInit(Protocol):
    """Starts the embedding from a pre-trained encoder (:mod:`token2wave.distillation.embedding_init`)."""

    @property
    def name(self) -> str:
        """Name or folder of the encoder."""

    def expand_features(
        self, texts: Sequence[str], features: Features, encoded: Ragged, callback_list: CallbackList
    ) -> tuple[WordFeatures, Ragged, Any]:
        """Give every word of the encoder a row; the features, the encoded texts and the encoder's vectors."""

    def init_rows(self, rows: NDArray[np.float32], width: int, vectors: Any, features: WordFeatures) -> None:
        """Write the encoder's vectors into the rows ``(V, W)`` of the embedding, in place."""


@dataclass(frozen=True)
class FitResult:
    """A trained network and its history.

    Attributes:
        features: the vocabulary, fitted to the training texts.
        network: the network.
        history: of its training.
        validation: the encoded validation examples; None if there were none.
        n_unknown: ``(N,)``, features of each validation text that have no row; None if there were none. After
            a fit on all rows, those that would have none in a vocabulary of all rows but this one.
        svm_choice: settings of the linear SVM.
        branch_weights: one a branch; empty if no validation rows could weigh them.
        grades: ``(C, C)``, what multiplies the logits if the classes are grades; None: nothing.
        cross_validation: of all rows; None if there was none.
        windows: the window level; None without one.
        previous: the fit that chose the epochs and weights of this one; None for the first.
    """

    features: Features
    network: TrainableNetwork
    history: History
    validation: Examples | None
    n_unknown: NDArray[np.int64] | None
    svm_choice: LinearSVMChoice
    branch_weights: tuple[float, ...] = ()
    grades: NDArray[np.float64] | None = None
    cross_validation: CrossValidation | None = None
    windows: WindowLevel | None = None
    previous: FitResult | None = None

    @property
    def predictor(self) -> Any:
        """The network with its window level, if it has one."""
        return self.network if self.windows is None else self.windows.add_to(self.network)

    @property
    def is_refit(self) -> bool:
        """Whether this is the second fit, on all rows."""
        return self.previous is not None

    @property
    def train_seconds(self) -> float:
        """Wall time of all training."""
        return self.history.train_seconds + (0.0 if self.previous is None else self.previous.train_seconds)

    @property
    def lr_factor(self) -> float:
        """The factor by which divergence has reduced the recipe's learning rates."""
        return self.history.lr_factor * (1.0 if self.previous is None else self.previous.lr_factor)


@dataclass(frozen=True)
class ValidatedFit:
    """A calibrated network that has learnt from the training texts alone, and its validation.

    Attributes:
        fitted: the network with its branches scaled.
        best: the epoch whose weights it has.
        validated: figures of the validation texts.
        thresholds: one a class in a multi-label run; else none.
        novelty_reference: of the validation texts; None if no rows could be held out.
        scale: of a model of scores, calibrated by the validation texts; None for a model of labels.
    """

    fitted: FitResult
    best: Epoch
    validated: Validation
    thresholds: tuple[float, ...]
    novelty_reference: NoveltyReference | None
    scale: ScoreScale | None = None

    def classifiers(
        self, last: FitResult, label_names: tuple[str, ...], record: dict[str, Any]
    ) -> tuple[Classifier, Classifier]:
        """Make the classifiers of the last fit and of this one, which has not seen the validation texts.

        Both have the drift reference of this one. A cross-validation of the last fit predicts more rows.
        """
        predictor = last.predictor
        network = predictor.compiled() if isinstance(predictor, AdditiveNetwork) else predictor
        refit_svm = {} if last is self.fitted or last.is_refit else {"refit_linear_svm": True}
        classifier = Classifier(
            last.features,
            network,
            label_names,
            training={**record, **refit_svm},
            thresholds=self.thresholds,
            novelty_reference=self.novelty_reference,
            scale=self.scale,
        )
        fitted, first_record = self.fitted, {**record, "refit": False}
        first = replace(classifier, features=fitted.features, network=fitted.predictor, training=first_record)
        if self.novelty_reference is None or fitted.validation is None or fitted.n_unknown is None:
            return classifier, first
        features = fitted.validation.features
        logits = first.network.logits(features)
        drift = DriftSums.of_features(first, features, fitted.n_unknown, logits)
        first = replace(first, drift_reference=drift)
        if last.is_refit and last.n_unknown is not None:  # it knows more, with other weights
            drift = DriftSums.of_features(first, features, fitted.n_unknown, logits, last.n_unknown)
            drift = replace(drift, novelty=DriftSums.empty(0).novelty)
        if last.cross_validation is not None:
            drift = drift.with_predictions(first, last.cross_validation.in_order()[1])
        return replace(classifier, drift_reference=drift), first


@dataclass
class TrainingRun:
    """The data and settings of a run, and its steps.

    Attributes:
        splits: the data.
        texts: the data as examples, with the targets of a teacher if there is one.
        preset: the settings.
        seed: of initial weights, order of texts and dropout.
        device: ``auto``, ``cpu`` or ``cuda``.
        callback_list: called as the run goes on.
        vocabulary: a WordPiece vocabulary, if you name one.
        embedding_init: starts the words' rows from a pre-trained encoder, if you name one.
        checkpoint: saves every epoch, if there is one.
        uses_prior: whether texts in the prior's language start from it.
        tries_windows: whether long texts may get a window level, which compression does not know.
    """

    splits: TextDataset
    texts: EncodedTexts
    preset: Preset
    seed: int
    device: str
    callback_list: CallbackList
    vocabulary: str | os.PathLike[str] | None = None
    embedding_init: EmbeddingInit | None = None
    checkpoint: Checkpoint | None = None
    uses_prior: bool = False
    tries_windows: bool = True

    @cached_property
    def prior(self) -> LanguagePrior | None:
        """Vectors of words in the language of the texts, for features of words; None without such a prior."""
        has_words = isinstance(self.preset.features, WordConfig)
        if not (self.uses_prior and has_words and self.preset.recipe.prior_scale):
            return None
        return prior_of_texts(self.texts.train.texts)

    @property
    def n_rows(self) -> int:
        """Rows with labels, without the test rows."""
        return len(self.splits.train)

    @property
    def n_train_rows(self) -> int:
        """Texts that the first fit learns from."""
        return len(self.texts.train)

    @property
    def is_weighted(self) -> bool:
        """Whether rows have weights of their own."""
        return self.splits.train.weights is not None

    @property
    def stream(self) -> ExampleStream | None:
        """What the waves learn from, if the training examples are only a sample of it."""
        return None

    def checksums(self) -> list[int | None]:
        """Checksums of everything that the run learns from."""
        texts = self.texts
        splits = (texts.train, texts.validation, texts.full_train, texts.descriptions)
        return [None if examples is None else examples.checksum() for examples in splits]

    def facts(self) -> dict[str, Any]:
        """What the model file records of this class of runs alone; plain data."""
        return {}

    def fit_first(self) -> ValidatedFit:
        """Train on the training texts; the validation texts choose the epoch, calibrate and evaluate."""
        unvalidated = self.texts.learns_from_validation  # calibration would make it certain of everything
        choice = LinearSVMChoice(LinearSVMSettings()) if unvalidated else None
        knows_names_alone = unvalidated and not self.n_rows
        if knows_names_alone:
            choice = LinearSVMChoice(LinearSVMSettings(prior_weight=PRIOR_WEIGHT_NO_ROWS))
        texts = self.texts.train, self.texts.validation
        fitted = self.fit(self.preset.recipe, *texts, svm_choice=choice)
        validation, best, n_unknown = fitted.validation, fitted.history.best, fitted.n_unknown
        if validation is None or best is None or n_unknown is None:
            raise AssertionError("a fit with validation texts has all of these")
        weights = () if unvalidated else calibrate(fitted.network, validation)
        if knows_names_alone and fitted.network.config.linear_svm:
            weights = (*[0.0] * (len(branch_names(fitted.network.config)) - 1), SVM_WEIGHT_NO_ROWS)
            scale_branches(fitted.network, weights)
        network, features = remove_zero_branches(fitted.network, fitted.features, weights)
        grades = None if unvalidated else fit_grades(network, validation, self.texts.label_names)
        if grades is not None:
            mix_logits(network, grades)
        if not network.config.n_oov:
            validation = replace(validation, features=validation.features.rows(features.n_rows))
        fitted = replace(fitted, network=network, features=features, validation=validation)
        if not unvalidated:
            weights, windows = self._choose_windows(fitted, weights)
            fitted = replace(fitted, windows=windows)
        network = fitted.predictor
        novelty, scale = None, self.texts.scale
        if not unvalidated:
            logits = network.logits(validation.features)
            scale = calibrated_scale(scale, network, validation)
            rows = validation.features.rows(features.n_rows)
            novelty = NoveltyReference.of(n_unknown, rows.lengths, logits)
        return ValidatedFit(
            replace(fitted, branch_weights=weights),
            best,
            validate(network, validation),
            () if scale is not None else thresholds_of(network, validation, unvalidated),
            novelty,
            scale,
        )

    def _choose_windows(
        self, fitted: FitResult, weights: tuple[float, ...]
    ) -> tuple[tuple[float, ...], WindowLevel | None]:
        """Train a window level if texts are long; validation texts weigh it beside the network, in place.

        Returns:
            The weights of the branches, and the level; None if it does not help.
        """
        train, network = self.texts.train.labelled(), fitted.network
        if (
            not self.tries_windows
            or self.texts.scale is not None
            or self.stream is not None
            or fitted.validation is None
        ):
            return weights, None
        if not wants_window_level(self.preset.recipe, network, fitted.features, train):
            return weights, None
        start = time.perf_counter()
        weighed = weigh_window_level(self._fit_windows(fitted.features, train), network, fitted.validation)
        fitted.history.train_seconds += time.perf_counter() - start
        if weighed is None:
            return weights, None
        factor, level = weighed
        scale_branches(network, [factor] * len(branch_names(network.config)))
        return tuple(factor * weight for weight in weights), level

    def _fit_windows(self, features: Features, train: Examples, factor: float = 1.0) -> WindowLevel:
        """Train a window level on texts."""
        self.callback_list.stage("windows", 0)
        n_classes = len(self.texts.label_names)
        encoded = train.encode(without_oov(features))
        return fit_window_level(encoded, features.n_rows, n_classes, self.seed).weighted(factor)

    def fit_all_rows(self, first: ValidatedFit) -> FitResult:
        """Learn from the validation rows too: train again, or with many texts solve only the SVM again."""
        fitted, full_train, recipe = first.fitted, self.texts.full_train, self.preset.recipe
        if full_train is None or not recipe.refit_below:
            return fitted
        if sum(map(len, self.splits.train.texts)) < recipe.refit_below:
            return self._fit_again(first, full_train)
        if recipe.refit_linear_svm and fitted.network.config.linear_svm and fitted.branch_weights:
            return self._refit_linear_svm(fitted, full_train)
        return fitted

    def _fit_again(self, first: ValidatedFit, full_train: Examples) -> FitResult:
        """Train on all rows, with the epochs and branch weights that validation has chosen."""
        fitted = first.fitted
        recipe = self.preset.recipe.with_lr_factor(fitted.history.lr_factor)
        choice, weights, level = fitted.svm_choice, fitted.branch_weights, fitted.windows
        cross_validation = None
        uses_folds = has_few_rows(full_train, self._rows_to_fold(fitted.network.config))
        if not uses_folds or len(full_train) >= FEW_TO_BATCH:  # fewer cannot choose when to stop
            recipe = recipe.replace(epochs=first.best.epoch)
        if uses_folds:
            settings = LinearSVMSettings(char_ngram_weight=CHAR_NGRAM_WEIGHTS_FEW_ROWS[0])
            choice = LinearSVMChoice(settings)
            if recipe.tune_linear_svm and (fitted.network.config.linear_svm or not weights):
                choice = self._choose_by_folds(full_train)

            def fit_fold(train: Examples) -> FitResult:
                fold = self.fit(recipe, train, svm_choice=choice)
                windows = None if level is None else self._fit_windows(fold.features, train)
                return replace(fold, windows=windows)

            weights, cross_validation = cross_validate_branches(
                fit_fold, full_train, self.seed, self.prior is not None
            )
            if level is not None:
                *others, factor = weights
                weights, level = tuple(others), level.weighted(factor) if factor else None
        again = self.fit(recipe, full_train, branch_weights=weights, svm_choice=choice)
        scale_branches(again.network, weights[:1] + tuple(weight for weight in weights[1:] if weight))
        if fitted.grades is not None:
            mix_logits(again.network, fitted.grades)
        if level is not None:
            again = replace(again, windows=self._fit_windows(again.features, full_train, level.factor))
        n_unknown, validation = fitted.n_unknown, fitted.validation
        if (
            isinstance(again.features, WordFeatures)
            and validation is not None
            and self.embedding_init is None
        ):
            vectors = self._row_vectors(again.features)
            in_prior = np.zeros(0, np.int64) if vectors is None else vectors.rows
            learnt = add_descriptions(full_train, self.texts.descriptions).texts
            n_unknown = _n_unknown_alone(again.features, validation.texts, learnt, in_prior)
        return replace(again, cross_validation=cross_validation, previous=fitted, n_unknown=n_unknown)

    def _rows_to_fold(self, config: WaveConfig) -> int:
        """Rows below which folds choose: fewer where they gain nothing, or take minutes."""
        is_quick = config.is_additive and not isinstance(self.preset.features, PairConfig)
        tunes = self.preset.recipe.tune_linear_svm and config.linear_svm
        return FEW_TO_CROSS_VALIDATE if is_quick and tunes else FEW_TO_BATCH

    def _refit_linear_svm(self, fitted: FitResult, full_train: Examples) -> FitResult:
        """Solve the linear SVM from all rows; the rest stays as it is."""
        self.callback_list.stage("features of all texts", len(full_train))
        start = time.perf_counter()
        known = without_oov(fitted.features)
        full_train = add_descriptions(full_train, self.texts.descriptions)
        full_train = full_train.encode(known, self.callback_list.advance)
        self.callback_list.stage("linear SVM of all rows", 0)
        network, features = refit_linear_svm(
            fitted.network,
            known,
            full_train,
            self.preset.recipe,
            weight=fitted.branch_weights[-1],
            seed=self.seed,
            svm_choice=fitted.svm_choice,
            prior=self._row_vectors(known),
        )
        if fitted.grades is not None:  # those of the waves are mixed already
            mix_logits(network, fitted.grades, ("linear_svm",))
        windows = fitted.windows
        if windows is not None:
            windows = self._fit_windows(features, self.texts.full_train or full_train, windows.factor)
        fitted.history.train_seconds += time.perf_counter() - start
        return replace(fitted, network=network, features=features, windows=windows)

    def fit(
        self,
        recipe: Recipe,
        train: Examples,
        validation: Examples | None = None,
        *,
        branch_weights: tuple[float, ...] = (),
        svm_choice: LinearSVMChoice | None = None,
    ) -> FitResult:
        """Fit features and network to training texts.

        Args:
            recipe: the settings.
            train: the texts to learn from.
            validation: the texts to choose the epoch by, if there are any.
            branch_weights: branches of weight zero are left out.
            svm_choice: settings of the linear SVM; None chooses them by validation.
        """
        features, train, vectors = self._encode_train(add_descriptions(train, self.texts.descriptions))
        config = self.preset.network_config(
            features.n_rows, len(self.texts.label_names), features.sentence_ends
        ).replace(multi_label=self.texts.multi_label)
        config = remove_zero_branches_of_config(config, branch_weights)
        network = self._init_network(config.replace(linear_svm=False), recipe)
        row_vectors = self._row_vectors(features)
        if self.embedding_init is not None or row_vectors is not None:
            rows = np.array(network.arrays()[EMBEDDING])
            if self.embedding_init is None:
                assert row_vectors is not None
                row_vectors.init_waves(rows, config.width, recipe.prior_scale)
            else:
                assert isinstance(features, WordFeatures)
                self.embedding_init.init_rows(rows, config.width, vectors, features)
            network.load(EMBEDDING, rows)
            if isinstance(network, AdditiveNetwork):
                network.seed = None  # the rows cannot be drawn again
        n_unknown = None
        if validation is not None:
            self.callback_list.stage("features of the validation texts", len(validation))
            ragged, n_unknown = features.with_unknown(validation.texts, self.callback_list.advance)
            validation = replace(validation, features=ragged)
        plain_features = features
        network, features, history, svm_choice = fit_branches(
            network,
            features,
            train,
            validation,
            recipe,
            linear_svm=config.linear_svm,
            seed=self.seed,
            svm_choice=svm_choice,
            prior=row_vectors,
            callbacks=self.callback_list.callbacks,
            slot=None if self.checkpoint is None else self.checkpoint.next_network(),
            stream=self.stream,
        )
        if validation is not None and features is not plain_features:
            validation = validation.encode(features)  # with the OOV table
        return FitResult(features, network, history, validation, n_unknown, svm_choice, branch_weights)

    def _row_vectors(self, features: Features) -> RowVectors | None:
        """The prior's vectors of the rows, for networks whose rows are waves."""
        if self.prior is None or not isinstance(features, WordFeatures):
            return None
        return RowVectors(features, self.prior)

    def _choose_by_folds(self, examples: Examples) -> LinearSVMChoice:
        """Choose the settings of the linear SVM for few rows by cross-validation."""
        descriptions = self.texts.descriptions
        features, *_ = self._encode_train(add_descriptions(examples, descriptions))
        return choose_by_folds(
            examples.encode(features),
            None if descriptions is None else descriptions.encode(features),
            features,
            len(self.texts.label_names),
            self.preset.recipe,
            self._row_vectors(features),
            self.seed,
        )

    def _encode_train(self, train: Examples) -> tuple[Features, Examples, Any]:
        """Fit the vocabulary; it, the encoded training texts, and the vectors of a pre-trained encoder."""
        if isinstance(self.preset.features, WordConfig) and self.vocabulary is None:
            train.texts.hash(self.callback_list.stage_once_begun("hashing the texts", train.texts.n_to_hash))
        advance = self.callback_list.stage_once_begun("features of the training texts", len(train))
        source = self.splits.train.source
        features, ragged = features_for(
            train.texts, self.preset, self.vocabulary, source, advance, self.prior
        )
        vectors: Any = None
        if self.embedding_init is not None:
            features, ragged, vectors = self.embedding_init.expand_features(
                train.texts, features, ragged, self.callback_list
            )
        elif self.prior is not None and isinstance(features, WordFeatures):
            features, ragged = add_rows(features, ragged, self.prior)
        return features, replace(train, features=ragged), vectors

    def evaluate(
        self, last: FitResult, classifier: Classifier, first: Classifier, explains: bool = False
    ) -> tuple[Evaluation | None, tuple[EvaluatedText, ...]]:
        """Evaluate on rows that chose nothing, those of :attr:`evaluated_on`; None if there are none.

        The second value has texts of each true and predicted label.

        Args:
            last: the fit on all rows, which may have cross-validated.
            classifier: the model to keep, evaluated on test texts.
            first: the model that has seen neither validation nor held-out rows, evaluated on the latter.
            explains: whether the words of the texts have their effects, as far as time allows.
        """
        texts, advance = self.texts, self.callback_list.advance
        numbers: NDArray[np.int64] | None = None
        decisions: Any = None
        if texts.test is not None:
            self.callback_list.stage("evaluation", len(texts.test))
            rows, model, numbers = texts.test, classifier, np.arange(len(texts.test))
            predicted = classifier.probabilities(rows.texts, advance)
        elif texts.held_out is not None:
            self.callback_list.stage("evaluation", len(texts.held_out))
            rows = texts.held_out.encode(first.features, advance)  # its texts are hashed already
            model = first
            predicted = first.class_probabilities(first.network.logits(rows.features))
            numbers = rows.rows
        elif last.cross_validation is not None:
            model = first
            numbers, predicted, decisions = last.cross_validation.in_order()
            rows = self.texts.all_rows.take(numbers)
        else:
            return None, ()
        names, model_of_text = model.label_names, np.zeros(len(rows), dtype=np.int64)
        models: list[Model] = [model]
        if self.evaluated_on == "cross-validation" and last.cross_validation is not None:
            models = [Model(*parts, names) for parts in last.cross_validation.models]
            model_of_text = last.cross_validation.fold_of_rows()
        truth, evaluation = rows.labels, None
        if model.scale is not None and rows.scores is not None:
            truth = model.scale.classes_of(rows.scores)
            evaluation = evaluate_scale(model.scale, rows.scores, predicted)
            if not evaluation.classes:
                return evaluation, ()  # texts are shown by their grade
        if decisions is None:
            decisions = model.decide(predicted)
        if evaluation is None:
            evaluation = evaluate_predictions(truth, decisions, names, predicted)
        explain = limited_explainer(models, model_of_text, rows.texts) if explains else None
        strings = [show_pair(text, " | ") for text in rows.texts]
        return evaluation, evaluated_texts(strings, truth, decisions, names, predicted, numbers, explain)

    def evaluated_pairs(self, last: FitResult) -> list[tuple[Examples, Examples]]:
        """The rows that each model of the evaluation has learnt from, and those that it was evaluated on."""
        texts = self.texts
        if texts.test is not None:
            return [(texts.all_rows.labelled(), texts.test)]
        if texts.held_out is not None:
            return [(texts.train.labelled(), texts.held_out)]
        folds = () if last.cross_validation is None else last.cross_validation.folds
        return [(texts.all_rows.take(fold.train_rows), texts.all_rows.take(fold.rows)) for fold in folds]

    @property
    def evaluated_on(self) -> str:
        """``test``; without a test set ``held-out`` rows, or ``cross-validation`` over all rows if few."""
        if self.texts.test is not None:
            return "test"
        return "cross-validation" if self.texts.held_out is None else "held-out"

    @property
    def trained_by(self) -> str:
        """What takes the steps: ``native core``, or torch on ``cpu`` or ``cuda``."""
        config = self.preset.network_config(1, 2, ()).replace(linear_svm=False)
        if self._trains_natively(config, self.preset.recipe):
            return "native core"
        import torch

        return "cuda" if self.device != "cpu" and torch.cuda.is_available() else "cpu"

    @property
    def computed_on(self) -> str:
        """``cpu`` or ``cuda``."""
        return "cuda" if self.trained_by == "cuda" else "cpu"

    def _trains_natively(self, config: WaveConfig, recipe: Recipe) -> bool:
        """Whether the native core takes the steps; it runs in one process only."""
        has_cls = self.preset.features.cls
        return self.device != "cuda" and not is_distributed() and trains_natively(config, recipe, has_cls)

    def _init_network(self, config: WaveConfig, recipe: Recipe) -> TrainableNetwork:
        """A network with initial weights that depend only on the seed."""
        if self._trains_natively(config, recipe):
            return AdditiveNetwork.initial(config, self.seed)
        import torch

        from token2wave.models import WaveNetwork

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return WaveNetwork(config).to(self.computed_on)


def _n_unknown_alone(
    features: WordFeatures, texts: HashedTexts, all_texts: HashedTexts, in_prior: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Count the features of each text that would have no row in a vocabulary of all texts but this one.

    Rows ``in_prior`` are there in any case.
    """
    features = without_oov(features)
    encoded, n_unknown = features.with_unknown(texts)
    counts = np.bincount(features(all_texts).ids, minlength=features.n_rows)
    counts[in_prior] = len(encoded.ids) + len(all_texts) + counts.max()
    owners = np.repeat(np.arange(len(encoded)), encoded.lengths)
    _, inverse, own = np.unique(
        owners * features.n_rows + encoded.ids, return_inverse=True, return_counts=True
    )
    is_lost = counts[encoded.ids] - own[inverse] < min(features.config.min_count, counts.min())
    return n_unknown + np.bincount(owners[is_lost], minlength=len(encoded))
