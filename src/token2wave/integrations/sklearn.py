"""The classifier as a scikit-learn estimator on raw texts, and its vectors as a transformer."""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from numbers import Integral
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from token2wave.classifier import Classifier, load
from token2wave.data import TextDataset, TextSplit
from token2wave.data.splits import in_order
from token2wave.data.values import join_names
from token2wave.errors import InputError, import_extra, input_errors
from token2wave.inference.loading import build_network
from token2wave.options import TrainOptions
from token2wave.pipeline import train
from token2wave.reporting.terminal import print_epochs, progress
from token2wave.training.callbacks import Callback
from token2wave.training.incremental import update

with import_extra("sklearn", "WaveClassifier", "sklearn"):
    from sklearn.base import (
        BaseEstimator,
        ClassifierMixin,
        ClassNamePrefixFeaturesOutMixin,
        TransformerMixin,
        clone,
    )
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_is_fitted

from token2wave.integrations.sklearn_inputs import (
    Targets,
    class_names,
    merge_classes,
    to_class_weights,
    to_rows,
    to_weights,
)

if TYPE_CHECKING:
    from token2wave.training.result import Summary

MAX_SEED = 2**31 - 1
OPTION_NAMES = (
    *("pair", "symmetric", "operation", "epochs", "batch_size", "lr", "settings", "device"),
    *("vocabulary", "teacher", "unlabelled", "init_from", "time_budget", "candidates", "max_size"),
)
ESTIMATOR_OPTIONS = {name: getattr(TrainOptions, name) for name in OPTION_NAMES}
"""Fields of :class:`token2wave.TrainOptions` that are parameters of the estimator, with their defaults."""


def _signature(function: Callable[..., None]) -> inspect.Signature:
    """Return a signature that has ``ESTIMATOR_OPTIONS`` in the place of ``**options``."""
    own = [p for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_KEYWORD]
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
        for name, default in ESTIMATOR_OPTIONS.items()
    ]
    return inspect.Signature([*own, *options])


class WaveClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Text classifier for scikit-learn. It takes raw texts, without a vectorizer.

    With the same texts in the same order, the same settings and the same seed, it equals the model of the
    command ``token2wave train`` to the last bit. :meth:`fit` checks the parameters.

    Args:
        preset: ``small``, ``fast`` or ``paper``.
        class_weight: ``balanced``, or the weight of each label, 1 by default. For an indicator matrix the
            keys are the numbers of columns.
        random_state: the seed, 0 as on the command line. A ``RandomState`` gives each fit another seed; None
            uses numpy's global one.
        callbacks: called during training (:class:`token2wave.training.callbacks.Callback`).
        verbose: whether to show progress on standard error.
        options: fields of :class:`token2wave.TrainOptions`: those in ``ESTIMATOR_OPTIONS``.

    Attributes:
        classes_: ``(C,)``, the labels, ascending; for an indicator matrix the numbers of its columns, or
            their names if it is a frame.
        classifier_: the trained :class:`token2wave.Classifier`, which also saves, explains and compresses.
        summary_: the ``Summary`` of the last :meth:`fit`, with all figures of the training run.

    Example:
        >>> from token2wave import WaveClassifier
        >>> texts = ["great film", "a great joy", "awful film", "an awful bore"] * 5
        >>> classifier = WaveClassifier("fast").fit(texts, [1, 1, 0, 0] * 5)
        >>> classifier.predict(["great, a joy"]).tolist()
        [1]
    """

    def __init__(
        self,
        preset: str = "small",
        *,
        class_weight: str | Mapping[Any, float] | None = None,
        random_state: int | np.random.RandomState | None = 0,
        callbacks: Sequence[Callback] | None = None,
        verbose: int | bool = 0,
        **options: Any,
    ) -> None:
        self.preset = preset
        self.class_weight = class_weight
        self.random_state = random_state
        self.callbacks = callbacks
        self.verbose = verbose
        if unknown := sorted(options.keys() - ESTIMATOR_OPTIONS.keys()):
            raise TypeError(f"WaveClassifier() has no parameter {unknown[0]!r}")
        for name, default in ESTIMATOR_OPTIONS.items():
            setattr(self, name, options.get(name, default))

    # scikit-learn reads the parameters from this signature.
    __init__.__signature__ = _signature(__init__)  # type: ignore[attr-defined]

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        groups: Any = None,
    ) -> Self:
        """Train on texts, from scratch.

        Args:
            X: ``N`` strings: a list, an array ``(N,)`` or ``(N, 1)``, a pandas Series.
            y: ``N`` labels: strings, numbers or booleans; or an indicator matrix ``(N, C)`` if a text may
                have several labels, or none.
            sample_weight: ``N`` numbers of at least zero: how much each text counts.
            X_val: validation texts, which choose the epoch and calibrate. By default rows of ``X`` are held
                out.
            y_val: their labels.
            groups: ``N`` names or numbers of groups. Rows of one group, such as the reviews of one film, are
                held out together.

        Raises:
            InputError: texts, labels or weights cannot be used; also a ``ValueError``.
            ConfigError: a parameter is illegal.
        """
        targets = Targets.from_labels(y)
        return self._fit(X, targets, targets.classes, sample_weight, X_val, y_val, groups)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train on more texts.

        The first call is a :meth:`fit`, of at least two classes. Later calls update the classifier
        (:func:`token2wave.update`). New labels join ``classes_``, which stay ascending, so columns of
        :meth:`predict_proba` may move.

        Args:
            X: texts, as for :meth:`fit`.
            y: their labels. Rows of a new label must come together with rows of known ones.
            classes: all labels there will be. Labels without rows have probability zero. Only the first call
                reads it.
            sample_weight: how much each text counts.

        Raises:
            InputError: as :meth:`fit`; ``classes`` lacks a label of ``y``; or all rows have new labels.
            ConfigError: a parameter is illegal.
        """
        targets = Targets.from_labels(y)
        if hasattr(self, "classifier_"):
            self._update(X, targets, sample_weight)
            return self
        known = targets.classes
        if classes is not None and not targets.multi_label:
            known = np.unique(np.asarray(classes))
            if missing := set(targets.names) - set(class_names(known, "classes")):
                problem = f"expected all labels of y, found none of {join_names(sorted(missing))}"
                raise InputError(problem, location="classes")
        return self._fit(X, targets, known, sample_weight)

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict the class of each of ``N`` texts.

        Returns:
            ``(N,)`` values of ``classes_``; after training on an indicator matrix, an indicator matrix
            ``(N, C)`` of int64, by the thresholds that training chose.
        """
        check_is_fitted(self)
        texts, names = to_rows(X, pair=self.classifier_.is_pairs), class_names(self.classes_, "classes_")
        if self.classifier_.multi_label:
            label_sets = self.classifier_.label_sets(texts)
            indicators = [[name in labels for name in names] for labels in label_sets]
            return np.array(indicators, dtype=np.int64).reshape(len(texts), len(names))
        column = {name: i for i, name in enumerate(names)}
        columns = np.array([column[name] for name in self.classifier_.labels(texts)], dtype=np.int64)
        return np.asarray(self.classes_[columns])

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Predict the probability of every class, in the order of ``classes_``.

        Returns:
            ``(N, C)`` float32. Rows sum to one, unless a text may have several classes.
        """
        check_is_fitted(self)
        return self._by_class(self.classifier_.probabilities(to_rows(X, pair=self.classifier_.is_pairs)), 0.0)

    def decision_function(self, X: Any) -> NDArray[np.float32]:
        """Compute the logit of every class, in the order of ``classes_``.

        Returns:
            ``(N, C)`` float32; for two classes ``(N,)``, the second logit minus the first. If a text may have
            several classes, :meth:`predict` compares with the threshold of each class, not with zero.
        """
        check_is_fitted(self)
        classifier = self.classifier_
        logits = self._by_class(
            classifier.network.logits(classifier.features(to_rows(X, pair=self.classifier_.is_pairs))),
            -np.inf,
        )
        if classifier.multi_label or logits.shape[1] > 2:
            return logits
        return np.asarray(logits[:, 1] - logits[:, 0])

    @classmethod
    def from_classifier(cls, classifier: Classifier, classes: Any = None, **parameters: Any) -> Self:
        """Make a fitted estimator of a trained classifier.

        Args:
            classifier: e.g. from :func:`token2wave.load`.
            classes: the labels as :meth:`predict` returns them, in any order, e.g. integers. By default the
                names in the model file.
            parameters: of the estimator, for later fits.

        Raises:
            InputError: ``classes`` are not the labels of the classifier.
            ConfigError: it is a model of scores.
        """
        classifier.require_labels(cls.__name__)
        values = np.array(classifier.label_names if classes is None else classes)
        values = values if classifier.multi_label else np.unique(values)
        if sorted(class_names(values, "classes")) != sorted(classifier.label_names):
            problem = f"expected the labels of the classifier, {join_names(classifier.label_names)}"
            raise InputError(problem, location="classes")
        estimator = cls(**parameters)
        estimator.classifier_, estimator.classes_ = classifier, values
        return estimator

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that the estimator takes strings, not tables of numbers."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        tags.classifier_tags.multi_label = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "classifier_")

    def _fit(
        self,
        X: Any,
        targets: Targets,
        classes: NDArray[Any],
        sample_weight: Any,
        X_val: Any = None,
        y_val: Any = None,
        groups: Any = None,
    ) -> Self:
        texts = to_rows(X, "X", len(targets.labels), self.pair)
        weights = to_weights(sample_weight, len(texts))
        targets.require_two_classes(weights)
        data = TextDataset(
            name="texts in memory",
            train=TextSplit(texts, targets.labels, "X", weights, groups=groups),
            validation=_validation(X_val, y_val, targets, self.pair),
            test=None,
            label_names=in_order(targets.names),
            caveats=(),
        )
        with input_errors(), ExitStack() as stack:
            terminal = []
            if self.verbose:
                stack.enter_context(print_epochs())
                terminal = [stack.enter_context(progress())]
            result = train(
                data,
                preset=self.preset,
                seed=self._seed(),
                class_weights=to_class_weights(self.class_weight, class_names(classes, "y"), targets.names),
                multi_label=targets.multi_label,
                baseline=False,
                **{name: getattr(self, name) for name in ESTIMATOR_OPTIONS},
                callbacks=[*(self.callbacks or ()), *terminal],
            )
        self.classifier_ = result.classifier
        if result.classifier.computes_with == "torch":  # predict like a loaded model file
            network = result.classifier.network
            network = build_network(network.config, network.arrays(), "cpu")
            self.classifier_ = dataclasses.replace(result.classifier, network=network)
        self.summary_: Summary = result.summary
        self.classes_ = classes
        return self

    def _update(self, X: Any, targets: Targets, sample_weight: Any) -> None:
        classifier = self.classifier_
        texts = to_rows(X, "X", len(targets.labels), classifier.is_pairs)
        names = class_names(self.classes_, "classes_")
        targets.require_like(classifier.multi_label, names, "y")
        classes = merge_classes(self.classes_, names, targets)
        present = {*classifier.label_names, *targets.names}
        with input_errors():
            self.classifier_ = update(
                classifier,
                texts,
                targets.labels,
                weights=to_weights(sample_weight, len(texts)),
                class_weights=to_class_weights(self.class_weight, class_names(classes, "y"), present),
                seed=self._seed(),
                callbacks=self.callbacks or (),
            )
        self.classes_ = classes

    def _seed(self) -> int:
        if isinstance(self.random_state, Integral):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(MAX_SEED))

    def _by_class(self, values: NDArray[np.float32], default: float) -> NDArray[np.float32]:
        """Put columns into the order of ``classes_``; classes without rows get ``default``."""
        column = {name: i for i, name in enumerate(class_names(self.classes_, "classes_"))}
        by_class = np.full((len(values), len(column)), default, dtype=np.float32)
        by_class[:, [column[name] for name in self.classifier_.label_names]] = values
        return by_class


class WaveTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turns raw texts into vectors for scikit-learn's clusterings, neighbours and models.

    Args:
        estimator: a :class:`WaveClassifier`, of which :meth:`fit` trains a copy; None for one with defaults.
            Or a trained :class:`token2wave.Classifier`, or the path of a model file: :meth:`fit` then learns
            nothing, and needs no labels.

    Attributes:
        classifier_: the trained :class:`token2wave.Classifier`, whose
            :meth:`~token2wave.Classifier.encode` makes the vectors.

    Example:
        >>> from token2wave import WaveClassifier, WaveTransformer
        >>> texts = ["great film", "a great joy", "awful film", "an awful bore"] * 5
        >>> transformer = WaveTransformer(WaveClassifier("fast")).fit(texts, [1, 1, 0, 0] * 5)
        >>> transformer.transform(["great, a joy", "a bore"]).shape
        (2, 66)
    """

    def __init__(self, estimator: WaveClassifier | Classifier | str | os.PathLike[str] | None = None) -> None:
        self.estimator = estimator

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Train the classifier whose vectors are used, unless it is trained.

        Args:
            X: texts, as for :meth:`WaveClassifier.fit`.
            y: their labels.
            sample_weight: how much each text counts.

        Raises:
            InputError: as :meth:`WaveClassifier.fit`.
            ConfigError: a parameter is illegal, or the network does not compile.
            ModelFileError: ``estimator`` is not the path of a model file.
        """
        if isinstance(self.estimator, str | os.PathLike):
            self.classifier_ = load(self.estimator)
        elif isinstance(self.estimator, Classifier):
            self.classifier_ = self.estimator
        else:
            estimator = WaveClassifier() if self.estimator is None else clone(self.estimator)
            self.classifier_ = estimator.fit(X, y, sample_weight).classifier_
        self._n_features_out = self.classifier_.encode([""]).shape[1]
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Turn ``N`` texts into vectors of length one, ``(N, W)`` float32; zeros if nothing is known.

        Raises:
            InputError: ``X`` cannot be used as texts.
        """
        check_is_fitted(self)
        return self.classifier_.encode(to_rows(X, pair=self.classifier_.is_pairs))

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that the transformer takes strings, and labels unless it is trained."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        tags.target_tags.required = self.estimator is None or isinstance(self.estimator, WaveClassifier)
        tags.transformer_tags.preserves_dtype = []
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "classifier_")


def _validation(X_val: Any, y_val: Any, targets: Targets, pair: bool) -> TextSplit | None:
    if X_val is None and y_val is None:
        return None
    if X_val is None or y_val is None:
        raise InputError("expected both X_val and y_val, or neither", location="X_val")
    val_targets = Targets.from_labels(y_val, "y_val")
    val_targets.require_like(targets.multi_label, targets.names, "y_val")
    texts = to_rows(X_val, "X_val", len(val_targets.labels), pair)
    return TextSplit(texts, val_targets.labels, "X_val")
