"""The steps of a training run: the first fit, which validation texts judge, and what all rows then teach."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np

from token2wave.data import DataSplits
from token2wave.features import Features, WordFeatures
from token2wave.inference.classifier import Classifier, Network
from token2wave.inference.novelty import NoveltyReference
from token2wave.inference.reference import EMBEDDING
from token2wave.metrics import Evaluation
from token2wave.models.wave_config import WaveConfig
from token2wave.training.additive_network import AdditiveNetwork
from token2wave.training.branches import (
    fit_levels,
    idle_levels_left_out,
    with_amplitudes_of_all,
    without_idle_levels,
)
from token2wave.training.calibration import Scalable, calibrate, weigh_levels
from token2wave.training.callbacks import Epoch, History, Teller
from token2wave.training.checkpoint import Checkpoint
from token2wave.training.cross_validation import SUBWORD_SHARE_OF_FEW, is_few, out_of_fold_weights
from token2wave.training.distributed import leading
from token2wave.training.examples import Examples
from token2wave.training.linear_svm import SUBWORD_SHARE
from token2wave.training.loop import Validation, validate
from token2wave.training.native_trainer import trains_natively
from token2wave.training.preparation import Labelled, TrainingTexts, features_for
from token2wave.training.presets import Preset
from token2wave.training.recipe import Recipe
from token2wave.training.thresholds import thresholds_of


class TrainableNetwork(Network, Scalable, Protocol):
    """What a run makes."""


@dataclass(frozen=True)
class Fitted:
    """A trained network, and how it came about.

    Attributes:
        features: of its training texts.
        network: the network.
        history: of its training.
        held_back: the validation texts as features; None if there were none.
        subword_share: amplitude of the words' character n-grams.
        level_weights: of each level; none where nothing was held back to weigh them by.
        before: the fit that decided how this one was trained; None for the first.
    """

    features: Features
    network: TrainableNetwork
    history: History
    held_back: Examples | None
    subword_share: float
    level_weights: tuple[float, ...] = ()
    before: Fitted | None = None

    @property
    def is_refit(self) -> bool:
        """Whether it was trained again, on all rows."""
        return self.before is not None

    @property
    def train_seconds(self) -> float:
        """Wall time of all training."""
        return self.history.train_seconds + (0.0 if self.before is None else self.before.train_seconds)

    @property
    def rate_share(self) -> float:
        """What the recipe's rates were multiplied by."""
        return self.history.rate_share * (1.0 if self.before is None else self.before.rate_share)


@dataclass(frozen=True)
class FirstFit:
    """What learnt from the training texts alone, calibrated, and what validation texts say of it.

    Attributes:
        fitted: the network with its levels weighed.
        best: the epoch whose weights were kept.
        validated: figures of the validation texts.
        thresholds: of each class, where a text may have several; else none.
        novelty_reference: what is usual in new texts; None where nothing was held back.
    """

    fitted: Fitted
    best: Epoch
    validated: Validation
    thresholds: tuple[float, ...]
    novelty_reference: NoveltyReference | None

    def classifiers(
        self, last: Fitted, label_names: tuple[str, ...], record: dict[str, Any]
    ) -> tuple[Classifier, Classifier]:
        """The classifier to keep, and the one of the first fit: the validation texts are new to that alone.

        Args:
            last: what all rows taught.
            label_names: of the classes.
            record: of the run.
        """
        network = last.network.compiled() if isinstance(last.network, AdditiveNetwork) else last.network
        saw_all = {} if last is self.fitted or last.is_refit else {"amplitudes_of_all": True}
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
class Run:
    """The steps of a run, with what they share.

    Attributes:
        splits: the data.
        texts: the same, prepared, and with what a teacher says of them.
        preset: suited to the data.
        seed: of initial weights, order of texts and dropout.
        device: ``auto``, ``cpu`` or ``cuda``.
        tell: told how it goes.
        vocabulary: of WordPiece features, if one is given.
        start_from: an encoder whose output each word's row begins with, if there is one.
        computed_on: ``cpu`` or ``cuda``.
        checkpoint: to write every epoch down in, if there is one.
    """

    splits: DataSplits
    texts: TrainingTexts
    preset: Preset
    seed: int
    device: str
    tell: Teller
    vocabulary: str | os.PathLike[str] | None = None
    start_from: str | os.PathLike[str] | None = None
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
        parts = (self.texts.train, self.texts.validation, self.texts.everything)
        return [None if part is None else part.checksum() for part in parts]

    def facts(self) -> dict[str, Any]:
        """What the model file says of this run, beside what it says of any; plain data."""
        return {}

    def fit_first(self) -> FirstFit:
        """Train on the training texts, and let the validation texts weigh, choose and judge."""
        texts = self.texts
        learnt_from = texts.learns_from_validation  # which would call for certainty
        share = SUBWORD_SHARE if learnt_from else None
        fitted = self.fit(self.preset.recipe, texts.train, texts.validation, subword_share=share)
        held_back, best = fitted.held_back, fitted.history.best
        assert held_back is not None
        assert best is not None
        weights = () if learnt_from else calibrate(fitted.network, held_back)
        network = without_idle_levels(fitted.network, weights)
        fitted = replace(fitted, network=network, level_weights=weights)
        thresholds = thresholds_of(network, held_back, learnt_from)
        validated = validate(network, held_back)
        novelty = None if learnt_from else _novelty_reference(fitted, texts.validation.texts)
        return FirstFit(fitted, best, validated, thresholds, novelty)

    def fit_all_rows(self, first: FirstFit) -> Fitted:
        """Let the rows that were held back teach, too: by training again, or, of many, the amplitudes alone.

        Returns:
            The first fit itself where no rows were held back, or they can teach nothing.
        """
        fitted, everything, limit = first.fitted, self.texts.everything, self.preset.recipe.refit_below
        if everything is None or not limit:
            return fitted
        if sum(map(len, self.splits.train.texts)) < limit:
            return self._fit_again(first, everything)
        of_all = self.preset.recipe.amplitudes_of_all and fitted.network.config.amplitudes
        if of_all and fitted.level_weights:
            return self._fit_amplitudes_again(fitted, everything)
        return fitted

    def _fit_again(self, first: FirstFit, everything: Labelled) -> Fitted:
        """Train on all rows, for as long and with such levels as the validation texts decided."""
        fitted = first.fitted
        recipe = self.preset.recipe.slowed(fitted.history.rate_share)
        share, weights = fitted.subword_share, fitted.level_weights
        if is_few(everything):
            share = SUBWORD_SHARE_OF_FEW
            fit = partial(self.fit, recipe, subword_share=share)
            weights = out_of_fold_weights(fit, everything, self.seed)
        else:
            recipe = recipe.replace(epochs=first.best.epoch)
        again = self.fit(recipe, everything, level_weights=weights, subword_share=share)
        weigh_levels(again.network, weights[:1] + tuple(weight for weight in weights[1:] if weight))
        return replace(again, before=fitted)

    def _fit_amplitudes_again(self, fitted: Fitted, everything: Labelled) -> Fitted:
        """Let the amplitudes learn from all rows; all else stays as it was."""
        self.tell.stage("features of all texts", len(everything))
        start = time.perf_counter()
        found = fitted.features(everything.texts, self.tell.advance)
        network = with_amplitudes_of_all(
            fitted.network,
            everything.examples(found, self.texts.positive_weights),
            everything.texts,
            fitted.features,
            self.preset.recipe,
            n_unlabelled=everything.n_unlabelled,
            weight=fitted.level_weights[-1],
            seed=self.seed,
            subword_share=fitted.subword_share,
            callbacks=self.tell.callbacks,
        )
        fitted.history.train_seconds += time.perf_counter() - start
        return replace(fitted, network=network)

    def fit(
        self,
        recipe: Recipe,
        train: Labelled,
        validation: Labelled | None = None,
        *,
        level_weights: tuple[float, ...] = (),
        subword_share: float | None = None,
    ) -> Fitted:
        """Make features and network from the training texts, and train.

        Args:
            recipe: how.
            train: what to learn from.
            validation: what to choose the epoch by, if there is something.
            level_weights: levels whose weight is zero are left out.
            subword_share: amplitude of the words' character n-grams; chosen by the validation texts, if None.
        """
        advance = self.tell.stage_once_begun("features of the training texts", len(train))
        source = self.splits.train.source
        features, found = features_for(train.texts, self.preset, self.vocabulary, source, advance)
        vectors = None
        if self.start_from is not None:
            from token2wave.distillation.embedding_init import (
                with_vocabulary,  # here, since most runs do without
            )

            encoder = os.fspath(self.start_from)
            features, found, vectors = with_vocabulary(encoder, train.texts, features, found, self.tell)
        config = self._config(features, level_weights)
        network = self._network(config.replace(amplitudes=False), recipe)
        if vectors is not None:
            from token2wave.distillation.embedding_init import begin_rows

            assert isinstance(features, WordFeatures)
            rows = np.array(network.arrays()[EMBEDDING])
            begin_rows(rows, config.width, vectors, features)
            network.load(EMBEDDING, rows)
            if isinstance(network, AdditiveNetwork):
                network.seed = None  # it cannot be drawn again
        held_back = None
        if validation is not None:
            self.tell.stage("features of the validation texts", len(validation))
            found_too = features(validation.texts, self.tell.advance)
            held_back = validation.examples(found_too)
        examples = train.examples(found, self.texts.positive_weights)
        network, history, subword_share = fit_levels(
            network,
            examples,
            train.texts,
            features,
            held_back,
            recipe,
            amplitudes=config.amplitudes,
            seed=self.seed,
            has_cls=self._has_cls,
            subword_share=subword_share,
            n_unlabelled=train.n_unlabelled,
            callbacks=self.tell.callbacks,
            place=None if self.checkpoint is None else self.checkpoint.next_network(),
        )
        return Fitted(features, network, history, held_back, subword_share, level_weights)

    def evaluate(self, classifier: Classifier, apart: Classifier) -> Evaluation:
        """Evaluate on texts that were not learnt from: on the test texts, or else on the validation texts.

        Args:
            classifier: the one to keep, which may have learnt from the validation texts.
            apart: the one that has not.
        """
        test = self.texts.test
        judged, held_out = (classifier, test) if test is not None else (apart, self.texts.validation)
        self.tell.stage("evaluation", len(held_out))
        return judged.evaluate(held_out.texts, held_out.labels, self.tell.advance)

    @property
    def trained_by(self) -> str:
        """What takes the steps: ``native core``, or torch on ``cpu`` or ``cuda``."""
        config = self.preset.network_config(1, 2, ()).replace(amplitudes=False)
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

    def _config(self, features: Features, level_weights: Sequence[float]) -> WaveConfig:
        n_classes = len(self.texts.label_names)
        config = self.preset.network_config(features.n_rows, n_classes, features.sentence_ends)
        return idle_levels_left_out(config.replace(multi_label=self.texts.multi_label), level_weights)

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


def _novelty_reference(fitted: Fitted, texts: Sequence[str]) -> NoveltyReference | None:
    """What is usual in texts that were not learnt from."""
    features, n_unknown = fitted.features.with_unknown(texts)
    return NoveltyReference.of(n_unknown, features.lengths, fitted.network.logits(features))
