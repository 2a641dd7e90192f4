"""From data to a trained, evaluated, saved classifier."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from token2wave.classifier import Classifier, Network
from token2wave.compression.compress import parse_size
from token2wave.compression.shrinking import require_reachable, shrink
from token2wave.data import DataSplits, load_splits
from token2wave.errors import ConfigError, DataError
from token2wave.features import Features, WordFeatures
from token2wave.metrics import Evaluation
from token2wave.models.config import WaveConfig
from token2wave.native import n_threads
from token2wave.presets import Preset, preset_named
from token2wave.process_memory import peak_memory
from token2wave.runtime.files import check_writable, written_aside
from token2wave.runtime.model_file import size_of_model_file
from token2wave.runtime.novelty import NoveltyReference
from token2wave.runtime.reference import EMBEDDING
from token2wave.training.additive import AdditiveNetwork
from token2wave.training.amplitudes import SUBWORD_SHARE
from token2wave.training.baseline import train_baseline
from token2wave.training.calibration import Scalable, calibrate, weigh_levels
from token2wave.training.examples import Examples
from token2wave.training.few_rows import SUBWORD_SHARE_OF_FEW, for_few_rows, is_few, out_of_fold_weights
from token2wave.training.levels import (
    fit_levels,
    idle_levels_left_out,
    with_amplitudes_of_all,
    without_idle_levels,
)
from token2wave.training.loop import validate
from token2wave.training.native_trainer import trains_natively
from token2wave.training.preparation import (
    RECOGNISED,
    ClassWeights,
    Labelled,
    TrainingTexts,
    features_for,
    in_memory,
    prepare,
)
from token2wave.training.progress import Callback, History, Teller
from token2wave.training.recipe import Recipe
from token2wave.training.report import check_report, write_report
from token2wave.training.summary import Baseline, Summary, machine
from token2wave.training.thresholds import thresholds_of
from token2wave.training.wishes import require_what_trains, wishes_of
from token2wave.tuning.budget import Budget, parse_seconds
from token2wave.tuning.tune import tune
from token2wave.versions import versions

if TYPE_CHECKING:
    from token2wave.distillation.unlabelled import Unlabelled

RATES_TOO_LARGE = (
    "The loss stopped being a finite number, or grew beyond all measure: "
    "training was started again with rates divided by {:,.0f}."
)


@dataclass(frozen=True)
class TrainingResult:
    """What :func:`train` gives.

    Attributes:
        classifier: the trained model, with the weights of the best epoch.
        summary: all figures of the run.
    """

    classifier: Classifier
    summary: Summary


def train(
    data: str | os.PathLike[str] | DataSplits,
    *,
    out: str | os.PathLike[str] | None = None,
    test: str | os.PathLike[str] | None = None,
    preset: str = "small",
    op: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
    device: str = "auto",
    text_column: str = "text",
    label_column: str = "label",
    weight_column: str | None = None,
    class_weights: ClassWeights = None,
    multi_label: bool | None = None,
    label_separator: str | None = None,
    vocabulary: str | os.PathLike[str] | None = None,
    teacher: str | os.PathLike[str] | None = None,
    unlabelled: Unlabelled | None = None,
    start_from: str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    baseline: bool = False,
    report: str | os.PathLike[str] | None = None,
    time_budget: float | str | None = None,
    candidates: int | None = None,
    max_size: int | str | None = None,
    callbacks: Sequence[Callback] = (),
    command: str | None = None,
) -> TrainingResult:
    """Train a text classifier.

    Args:
        data: a file, a folder with train and test files, or the name of a data set
            (:func:`token2wave.data.load_splits`); or texts in memory.
        out: where the model file goes; nowhere, if not given.
        test: data to evaluate on at the end, where ``data`` has none of its own, or instead of it.
        preset: ``small``, ``fast`` or ``paper``.
        op: ``interference`` or ``modulation``; the preset's, if not given.
        epochs: passes over the training texts.
        batch_size: texts in a step.
        learning_rate: peak rate of the dense part; the rows' rate changes in proportion.
        seed: of validation split, initial weights, order of texts and dropout.
        device: ``auto`` (the native core for what it can train, else CUDA where there is one), ``cpu`` or
            ``cuda``.
        text_column: column of the texts, in files with columns.
        label_column: column of the labels, in files with columns.
        weight_column: column that says how much each training text counts, if there is one.
        class_weights: ``balanced``, by which every class counts the same however rare, or the weight of each
            label, 1 where it is not named; by default every text counts the same. Where a text may have
            several labels, it is the weight of that label's decision in the texts that have it.
        multi_label: whether a text may have several labels, or none: each is then decided by itself. If None,
            it may where the data says so: by lists of labels, by several labels on a line of fastText.
        label_separator: what stands between the labels of a text in one string, as CSV has them; a text may
            then have several, or none.
        vocabulary: a WordPiece ``vocab.txt`` for the ``paper`` preset. If not given, that of
            ``bert-base-uncased`` in the folder that ``TOKEN2WAVE_DATA`` names is used, and where there is
            none, one is trained on the texts.
        teacher: whose probabilities to learn from beside the labels: an encoder of the BERT family,
            ``all-MiniLM-L6-v2``, a folder or a name on the Hugging Face hub, which is fine-tuned on the
            training rows; a folder with a classifier of ``transformers`` that is fine-tuned already; or a
            file of probabilities (:mod:`token2wave.distillation.probabilities`).
        unlabelled: text that the teacher alone labels: a readable file, a data set, or texts.
        start_from: an encoder, as for ``teacher``, whose output for each word the word's row begins with.
        settings: further settings by full name, e.g. ``{"network.width": 256}``.
        baseline: also train TF-IDF + LinearSVC on the same rows, for comparison.
        report: folder for ``report.json``, ``report.html`` and the figures.
        time_budget: search for better settings (:mod:`token2wave.tuning`), so that all takes about so long:
            seconds, or e.g. ``"60s"`` or ``"5min"``. Settings that are given here stay as they are. Ctrl-C
            ends the search, and what it found so far is trained.
        candidates: how many settings to try at most, those given here included; alone, it makes a search that
            does not depend on the time.
        max_size: most bytes of the model file, a number or e.g. ``"1MB"``; it is compressed to fit
            (:mod:`token2wave.compression`), and a search judges what the compressed file says.
        callbacks: told how it goes.
        command: what the user typed, for the record.

    Raises:
        DataError: data that cannot be read or used.
        ConfigError: an illegal setting.
        OutputError: ``out`` or ``report`` cannot be written to; found out before training starts.
        MissingExtraError: an optional package is needed and not installed.
    """
    start = time.perf_counter()
    named = preset_named(preset)
    wishes = wishes_of(named, op, epochs, batch_size, learning_rate, settings or {})
    chosen = named.with_settings(wishes)
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"expected auto, cpu or cuda, found {device!r}", where="device")
    require_what_trains(chosen, device)
    if not 0 <= seed < 1 << 63:
        raise ConfigError(f"expected a number from 0 to 2^63 - 1, found {seed}", where="seed")
    budget = Budget(None if time_budget is None else parse_seconds(time_budget), candidates, start)
    limit = None if max_size is None else parse_size(max_size)
    if out is not None:
        check_writable(Path(out))
    if report is not None:
        check_report(Path(report))
    if isinstance(data, DataSplits):
        splits = in_memory(data, multi_label)
    else:
        splits = load_splits(
            data,
            test=test,
            text_column=text_column,
            label_column=label_column,
            weight_column=weight_column,
            multi_label=multi_label,
            label_separator=label_separator,
        )
    if splits.multi_label and multi_label is None and label_separator is None:
        splits = replace(splits, caveats=(*splits.caveats, RECOGNISED))
    n_characters = sum(map(len, splits.train.texts))
    chosen = for_few_rows(chosen.adapted(n_characters), len(splits.train), wishes)
    texts = prepare(splits, chosen.recipe, seed, class_weights)
    if baseline and texts.test is None:
        raise DataError("a baseline needs a test set", where=splits.name, cure="name one with --test")
    run = _Run(chosen, seed, device, vocabulary, texts, splits.train.source, callbacks, start_from)
    rival = run.baseline(texts, splits) if baseline else None  # first, as it may lack a package
    if limit is not None:
        require_reachable(limit, chosen, texts.label_names)
    search = None
    if time_budget is not None or candidates is not None:
        budget.not_counting(0.0 if rival is None else rival["train_seconds"])
        learn = partial(
            train,
            preset=preset,
            device=device,
            vocabulary=vocabulary,
            class_weights=class_weights,
            max_size=limit,
            start_from=start_from,
        )
        search = tune(
            learn, splits, texts, chosen, wishes, seed, class_weights, budget, run.tell, limit is not None
        )
        run.preset = chosen = chosen.with_settings(search.settings)
        texts = replace(texts, caveats=(*texts.caveats, *search.caveats()))
    taught: dict[str, Any] = {}
    if teacher is not None:
        from token2wave.distillation.lesson import lesson  # here, since most runs have no teacher

        texts, taught = lesson(
            teacher, unlabelled, texts, splits, chosen.recipe, text_column=text_column, callbacks=callbacks
        )
    elif unlabelled is not None:
        raise ConfigError(
            "text without labels needs a teacher to label it",
            where="unlabelled",
            cure="name one with --teacher, e.g. all-MiniLM-L6-v2",
        )
    learnt_from = texts.validation is texts.train  # which would call for certainty
    share = SUBWORD_SHARE if learnt_from else None
    first = run.fit(chosen.recipe, texts.train, texts.validation, subword_share=share)
    held_back = first.held_back
    assert held_back is not None
    best = first.history.best
    assert best is not None
    weights = () if learnt_from else calibrate(first.network, held_back)
    first = first._replace(network=without_idle_levels(first.network, weights))
    thresholds = thresholds_of(first.network, held_back, learnt_from)
    validated = validate(first.network, held_back)
    novelty = None if learnt_from else _novelty_reference(first, texts.validation.texts)
    fitted = first
    if refit := texts.everything is not None and n_characters < chosen.recipe.refit_below:
        recipe = chosen.recipe.slowed(first.history.rate_share)
        share = first.subword_share
        if is_few(texts.everything):
            share = SUBWORD_SHARE_OF_FEW
            weights = out_of_fold_weights(partial(run.fit_all, recipe, share), texts.everything, seed)
        else:
            recipe = recipe.replace(epochs=best.epoch)
        fitted = run.fit(recipe, texts.everything, None, weights, share)
        weigh_levels(fitted.network, weights[:1] + tuple(weight for weight in weights[1:] if weight))
    elif chosen.recipe.refit_below and texts.everything and weights and first.network.config.amplitudes:
        fitted = run.fit_amplitudes_of_all(first, texts.everything, weights[-1])
    record = {
        "data": splits.name,
        "rows": len(splits.train),
        "preset": chosen.name,
        "seed": seed,
        "recipe": chosen.recipe.to_dict(),
        "history": [asdict(epoch) for epoch in first.history.epochs],
        "best_epoch": best.epoch,
        "refit": refit,
        "validation_accuracy": validated.accuracy,
        "level_weights": weights,
        "subword_share": fitted.subword_share,
        **taught,
    }
    if start_from is not None:
        record["start_from"] = os.fspath(start_from)
    caveats = texts.caveats
    rate_share = first.history.rate_share * (fitted.history.rate_share if refit else 1)
    if rate_share < 1:
        record["rate_share"] = rate_share
        caveats = (*caveats, RATES_TOO_LARGE.format(1 / rate_share))
    if splits.train.weights is not None:
        record["weighted"] = True
        record["weight_column"] = None if isinstance(data, DataSplits) else weight_column
    if texts.multi_label:
        record |= {"validation_micro_f1": validated.micro_f1, "label_separator": label_separator}
    if class_weights is not None:
        record["class_weights"] = class_weights if isinstance(class_weights, str) else dict(class_weights)
    if search is not None:
        record["search"] = search.of_model()
    network = fitted.network.compiled() if isinstance(fitted.network, AdditiveNetwork) else fitted.network
    classifier = Classifier(
        fitted.features,
        network,
        texts.label_names,
        training=record,
        thresholds=thresholds,
        novelty_reference=novelty,
    )
    # The validation texts are new to the first fit alone.
    apart = replace(
        classifier, features=first.features, network=first.network, training={**record, "refit": False}
    )
    if fitted is not first and not refit:
        record["amplitudes_of_all"] = True  # of the classifier, not of what is apart
    if limit is not None and size_of_model_file(classifier.to_file()) > limit:
        classifier, (apart, validated) = shrink(apart, classifier if refit else None, texts, limit, run.tell)
    if texts.test is None:
        evaluation = run.evaluate(apart, texts.validation)
    else:
        evaluation = run.evaluate(classifier, texts.test)
    with ExitStack() as stack:  # the model takes its place last, when all else went well
        model_bytes = None
        if out is not None:
            model_bytes = classifier.save(stack.enter_context(written_aside(Path(out))))
        parameters = classifier.network.parameter_count()
        summary = Summary(
            accuracy=evaluation.accuracy if texts.test is not None else None,
            macro_f1=evaluation.macro_f1 if texts.test is not None else None,
            validation_accuracy=validated.accuracy,
            micro_f1=evaluation.micro_f1 if texts.test is not None else None,
            validation_micro_f1=validated.micro_f1 if texts.multi_label else None,
            train_seconds=first.history.train_seconds + (fitted.history.train_seconds if refit else 0),
            total_seconds=time.perf_counter() - start,
            texts_per_second=first.history.texts_per_second,
            peak_memory_bytes=_peak_memory(run.computed_on),
            parameters=parameters.total,
            parameters_without_embedding=parameters.without_embedding,
            model_bytes=model_bytes,
            preset=chosen.name,
            op=fitted.network.config.operation,
            epochs=chosen.recipe.epochs,
            seed=seed,
            rows=len(splits.train),
            data=splits.name,
            caveats=caveats,
            train_rows=len(texts.train),
            validation_rows=len(texts.validation),
            test_rows=None if texts.test is None else len(texts.test),
            best_epoch=best.epoch,
            refit=refit,
            history=tuple(first.history.epochs),
            evaluation=evaluation,
            evaluated_on="validation" if texts.test is None else "test",
            label_names=texts.label_names,
            baseline=rival,
            settings={
                "features": {"kind": classifier.features.kind, **classifier.features.config.to_dict()},
                "network": classifier.network.config.to_dict(),
                "recipe": chosen.recipe.to_dict(),
            },
            versions=versions(),
            machine=machine(n_threads(), run.computed_on),
            command=command,
            max_bytes=limit,
            search=None if search is None else search.to_dict(),
        )
        if report is not None:
            write_report(summary, Path(report))
    return TrainingResult(classifier, summary)


class TrainableNetwork(Network, Scalable, Protocol):
    """What a run makes."""


class _Fitted(NamedTuple):
    features: Features
    network: TrainableNetwork
    history: History
    held_back: Examples | None
    subword_share: float


def _novelty_reference(fitted: _Fitted, texts: Sequence[str]) -> NoveltyReference | None:
    """What is usual in texts that were not learnt from."""
    features, n_unknown = fitted.features.with_unknown(texts)
    return NoveltyReference.of(n_unknown, features.lengths, fitted.network.logits(features))


class _Run:
    """The parts of a run that need its settings and tell its progress."""

    def __init__(
        self,
        preset: Preset,
        seed: int,
        device: str,
        vocabulary: str | os.PathLike[str] | None,
        texts: TrainingTexts,
        source: str,
        callbacks: Sequence[Callback],
        start_from: str | os.PathLike[str] | None = None,
    ) -> None:
        self.preset, self.seed, self.device = preset, seed, device
        self.computed_on = "cpu"
        self.vocabulary, self.texts, self.source = vocabulary, texts, source
        self.tell = Teller(callbacks)
        self.start_from = None if start_from is None else os.fspath(start_from)

    def fit(
        self,
        recipe: Recipe,
        train: Labelled,
        validation: Labelled | None,
        weights: Sequence[float] = (),
        subword_share: float | None = None,
    ) -> _Fitted:
        """Make features and network from the training texts, and train; levels of no weight are left out.

        The share of the words' character n-grams is chosen by the validation texts where it is not given.
        """
        advance = self.tell.stage_once_begun("features of the training texts", len(train))
        features, found = features_for(train.texts, self.preset, self.vocabulary, self.source, advance)
        vectors = None
        if self.start_from is not None:
            from token2wave.distillation.start import with_vocabulary  # here, since most runs do without

            features, found, vectors = with_vocabulary(
                self.start_from, train.texts, features, found, self.tell
            )
        config = self._config(features, weights)
        network = self._network(config.replace(amplitudes=False), recipe)
        if vectors is not None:
            from token2wave.distillation.start import begin_rows

            assert isinstance(features, WordFeatures)
            rows = np.array(network.arrays()[EMBEDDING])
            begin_rows(rows, config.width, vectors, features)
            network.load(EMBEDDING, rows)
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
        )
        return _Fitted(features, network, history, held_back, subword_share)

    def fit_all(self, recipe: Recipe, subword_share: float, train: Labelled) -> _Fitted:
        """Train with all levels, and hold nothing back."""
        return self.fit(recipe, train, None, (), subword_share)

    def fit_amplitudes_of_all(self, first: _Fitted, everything: Labelled, weight: float) -> _Fitted:
        """Let the amplitudes learn from the rows that were held back, too; all else stays as it was."""
        self.tell.stage("features of all texts", len(everything))
        start = time.perf_counter()
        found = first.features(everything.texts, self.tell.advance)
        network = with_amplitudes_of_all(
            first.network,
            everything.examples(found, self.texts.positive_weights),
            everything.texts,
            first.features,
            self.preset.recipe,
            weight=weight,
            seed=self.seed,
            subword_share=first.subword_share,
            n_unlabelled=everything.n_unlabelled,
            callbacks=self.tell.callbacks,
        )
        first.history.train_seconds += time.perf_counter() - start
        return first._replace(network=network)

    @property
    def _has_cls(self) -> bool:
        return not self.preset.features_lack_cls

    def evaluate(self, classifier: Classifier, held_out: Labelled) -> Evaluation:
        """Evaluate on texts that the classifier has not seen."""
        self.tell.stage("evaluation", len(held_out))
        return classifier.evaluate(held_out.texts, held_out.labels, self.tell.advance)

    def baseline(self, texts: TrainingTexts, splits: DataSplits) -> Baseline:
        """Train the baseline on all training rows, those included that were held back for validation."""
        assert texts.test is not None
        self.tell.stage("baseline", 0)
        whole = texts.train if texts.everything is None else texts.everything
        return train_baseline(
            whole.texts,
            whole.labels,
            texts.test.texts,
            texts.test.labels,
            texts.label_names,
            whole.weights,
            texts.positive_weights,
        )

    def _config(self, features: Features, weights: Sequence[float]) -> WaveConfig:
        n_classes = len(self.texts.label_names)
        config = self.preset.network_config(features.n_rows, n_classes, features.sentence_ends)
        return idle_levels_left_out(config.replace(multi_label=self.texts.multi_label), weights)

    def _network(self, config: WaveConfig, recipe: Recipe) -> TrainableNetwork:
        """Network with initial weights that depend on the seed alone."""
        if self.device != "cuda" and trains_natively(config, recipe, self._has_cls):
            return AdditiveNetwork.initial(config, self.seed)
        return self._torch_network(config)

    def _torch_network(self, config: WaveConfig) -> TrainableNetwork:
        import torch

        from token2wave.models import WaveNetwork

        self.computed_on = "cuda" if self.device != "cpu" and torch.cuda.is_available() else "cpu"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return WaveNetwork(config).to(self.computed_on)


def _peak_memory(device: str) -> int | None:
    """Most memory in use so far, in bytes: of the GPU if one computes, else of this process."""
    if device != "cuda":
        return peak_memory()
    import torch

    return torch.cuda.max_memory_allocated()
