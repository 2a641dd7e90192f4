"""scikit-learn: the classifier as an estimator on raw texts."""

from __future__ import annotations

import dataclasses
import inspect
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from token2wave.classifier import Classifier, load
from token2wave.data import TextDataset, TextSplit
from token2wave.data.splits import in_order
from token2wave.data.values import join_names
from token2wave.errors import MissingExtraError
from token2wave.options import TrainOptions
from token2wave.pipeline import train
from token2wave.reporting.terminal import progress
from token2wave.training.callbacks import Callback
from token2wave.training.incremental import update

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_is_fitted
except ModuleNotFoundError as error:
    raise MissingExtraError("scikit-learn", "sklearn", purpose="WaveClassifier") from error

from token2wave.integrations.sklearn_inputs import (
    InputError,
    Targets,
    class_weights_of,
    input_errors,
    names_of,
    require_same,
    require_two_classes,
    texts_of,
    texts_of_labels,
    united,
    weights_of,
)

if TYPE_CHECKING:
    from token2wave.training.result import Summary

MAX_SEED = 2**31 - 1
ESTIMATOR_OPTIONS = {
    field.name: field.default
    for field in dataclasses.fields(TrainOptions)
    if field.name
    in (
        *("operation", "epochs", "batch_size", "lr", "settings", "device", "vocabulary", "teacher"),
        *("unlabelled", "init_from", "time_budget", "candidates", "max_size"),
    )
}
"""Fields of :class:`token2wave.TrainOptions` that the estimator takes, with their defaults."""


def _signature(function: Callable[..., None]) -> inspect.Signature:
    """The signature of a function whose ``**options`` are those of ``ESTIMATOR_OPTIONS``."""
    own = [p for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_KEYWORD]
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
        for name, default in ESTIMATOR_OPTIONS.items()
    ]
    return inspect.Signature([*own, *options])


class WaveClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Text classifier for scikit-learn: raw texts in, labels out; no vectorizer stands before it.

    With the same texts in the same order, the same settings and the same seed it is the classifier that the
    command ``token2wave train`` writes, and it predicts the same to the last bit.

    Parameters are stored as they are given, and looked at in :meth:`fit`. Those that are not described here
    are those of :func:`token2wave.train`.

    Args:
        preset: ``small``, ``fast`` or ``paper``.
        class_weight: ``balanced``, or the weight of each label, 1 where it is not named; with an indicator
            matrix the keys are the numbers of columns.
        random_state: the seed, 0 as on the command line; a ``RandomState`` gives a seed of its own to each
            fit, and None takes numpy's global one.
        callbacks: called as training goes on (:class:`token2wave.training.callbacks.Callback`).
        verbose: whether to show progress on standard error.
        options: further fields of :class:`token2wave.TrainOptions`, those in ``ESTIMATOR_OPTIONS``.

    Attributes:
        classes_: ``(C,)``, the labels as they were given, ascending; for an indicator matrix the numbers of
            its columns, or their names, where it is a frame.
        classifier_: the trained :class:`token2wave.Classifier`, which explains, compresses and streams.
        summary_: all figures of the training run, a ``Summary``; of the last :meth:`fit`.

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
    ) -> Self:
        """Train on texts; what was learnt before is forgotten.

        Args:
            X: ``N`` strings: a list, an array ``(N,)`` or ``(N, 1)``, a pandas Series.
            y: ``N`` labels, strings, numbers or booleans; or an indicator matrix ``(N, C)`` where a text may
                have several labels, or none.
            sample_weight: ``N`` numbers of at least zero, how much each text counts.
            X_val: texts to choose the epoch, and weigh the levels, by; rows of ``X`` are held back, if None.
            y_val: their labels.

        Raises:
            InputError: texts, labels or weights that cannot be used; a ``ValueError``.
            ConfigError: an illegal parameter.
        """
        targets = Targets.of(y)
        return self._fit(X, targets, targets.classes, sample_weight, X_val, y_val)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train on more texts, or begin with the first ones.

        The first call is :meth:`fit` on its rows, of at least two classes. Later ones let the classifier
        learn from theirs what it does not know yet (:func:`token2wave.update`). New labels join ``classes_``,
        which stay ascending, so that columns of :meth:`predict_proba` may move.

        Args:
            X: texts, as for :meth:`fit`.
            y: their labels. Rows of a label that has none so far come together with rows of known ones.
            classes: all labels there will be. Those without a row yet have a probability of zero. Looked at
                in the first call alone.
            sample_weight: how much each text counts.

        Raises:
            InputError: as for :meth:`fit`; ``classes`` lacks a label of ``y``; or all rows are of new labels.
            ConfigError: an illegal parameter.
        """
        targets = Targets.of(y)
        if not hasattr(self, "classifier_"):
            known = targets.classes
            if classes is not None and not targets.multi_label:
                known = np.unique(np.asarray(classes))
                if missing := set(targets.names) - set(names_of(known, "classes")):
                    absent = join_names(sorted(missing))
                    raise InputError(f"expected all labels of y, found none of {absent}", location="classes")
            return self._fit(X, targets, known, sample_weight)
        self._update(X, targets, sample_weight)
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Name the class of each of ``N`` texts.

        Returns:
            ``(N,)`` values of ``classes_``; or an indicator matrix ``(N, C)`` of int64 for a classifier that
            was trained with one, by the thresholds that training chose.
        """
        check_is_fitted(self)
        texts = texts_of(X)
        place = {name: i for i, name in enumerate(names_of(self.classes_, "classes_"))}
        if not self.classifier_.multi_label:
            found = np.array([place[name] for name in self.classifier_.labels(texts)], dtype=np.int64)
            return np.asarray(self.classes_[found])
        given = np.zeros((len(texts), len(place)), dtype=np.int64)
        for row, names in enumerate(self.classifier_.label_sets(texts)):
            given[row, [place[name] for name in names]] = 1
        return given

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Probability of every class, in the order of ``classes_``.

        Returns:
            ``(N, C)`` float32; rows sum to one, but where a text may have several classes.
        """
        check_is_fitted(self)
        return self._by_class(self.classifier_.probabilities(texts_of(X)), 0.0)

    def decision_function(self, X: Any) -> NDArray[np.float32]:
        """Logit of every class, in the order of ``classes_``.

        Returns:
            ``(N, C)`` float32; of two classes, one of which each text has, ``(N,)``: by how much the second
            class's logit is above the first's. Where a text may have several classes, :meth:`predict` does
            not cut at a logit of zero but at the threshold of each class.
        """
        check_is_fitted(self)
        classifier = self.classifier_
        logits = self._by_class(classifier.network.logits(classifier.features(texts_of(X))), -np.inf)
        if classifier.multi_label or logits.shape[1] > 2:
            return logits
        margin: NDArray[np.float32] = logits[:, 1] - logits[:, 0]
        return margin

    @classmethod
    def from_classifier(cls, classifier: Classifier, classes: Any = None, **parameters: Any) -> Self:
        """Make a fitted estimator of a classifier that is trained already.

        Args:
            classifier: e.g. of :func:`token2wave.load`.
            classes: the labels as :meth:`predict` is to give them, in any order: e.g. the integers whose
                names the model file has; the names themselves, if None.
            parameters: of the estimator, for later fits.

        Raises:
            InputError: ``classes`` are not the labels of the classifier.
        """
        values = np.array(classifier.label_names if classes is None else classes)
        values = values if classifier.multi_label else np.unique(values)
        if sorted(names_of(values, "classes")) != sorted(classifier.label_names):
            raise InputError(
                f"expected the labels of the classifier, {join_names(classifier.label_names)}",
                location="classes",
            )
        estimator = cls(**parameters)
        estimator.classifier_, estimator.classes_ = classifier, values
        return estimator

    def to_token2wave(self) -> Classifier:
        """The trained classifier itself, with all it can do beyond scikit-learn."""
        check_is_fitted(self)
        return self.classifier_

    def save(self, path: str | os.PathLike[str]) -> int:
        """Write the model file, as the command ``token2wave train --out`` does; returns its bytes.

        Raises:
            OutputError: the place cannot be written to.
        """
        return self.to_token2wave().save(path)

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn from 1.6 on asks: texts are no tables of numbers."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        tags.classifier_tags.multi_label = True
        return tags

    def _more_tags(self) -> dict[str, Any]:
        """What scikit-learn before 1.6 asks."""
        return {"X_types": ["string", "1darray"], "multilabel": True}

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there is a classifier."""
        return hasattr(self, "classifier_")

    def __getstate__(self) -> dict[str, Any]:
        """The network travels as the bytes of its model file, which need no torch to be read."""
        state = dict(super().__getstate__())
        if "classifier_" in state:
            state["classifier_"] = _packed(state["classifier_"])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Read the model file."""
        state = dict(state)
        if "classifier_" in state:
            state["classifier_"] = _unpacked(state["classifier_"])
        super().__setstate__(state)

    def _fit(
        self,
        X: Any,
        targets: Targets,
        classes: NDArray[Any],
        sample_weight: Any,
        X_val: Any = None,
        y_val: Any = None,
    ) -> Self:
        """Train on texts of known classes."""
        texts = texts_of_labels(X, targets, "X")
        weights = weights_of(sample_weight, len(texts))
        require_two_classes(targets, weights)
        data = TextDataset(
            name="texts in memory",
            train=TextSplit(texts, targets.labels, "X", weights),
            validation=self._validation(X_val, y_val, targets),
            test=None,
            label_names=in_order(targets.names),
            caveats=(),
        )
        with input_errors(), ExitStack() as stack:
            shown = [stack.enter_context(progress())] if self.verbose else []
            result = train(
                data,
                preset=self.preset,
                seed=self._seed(),
                class_weights=class_weights_of(self.class_weight, names_of(classes, "y"), targets.names),
                multi_label=targets.multi_label,
                **{name: getattr(self, name) for name in ESTIMATOR_OPTIONS},
                callbacks=[*(self.callbacks or ()), *shown],
            )
        self.classifier_: Classifier = _as_loaded(result.classifier)
        self.summary_: Summary = result.summary
        self.classes_ = classes
        return self

    def _update(self, X: Any, targets: Targets, sample_weight: Any) -> None:
        """Let the classifier learn from more texts."""
        classifier = self.classifier_
        texts = texts_of_labels(X, targets, "X")
        names = names_of(self.classes_, "classes_")
        require_same(targets, classifier.multi_label, names, "y")
        classes = united(self.classes_, names, targets)
        known = {*classifier.label_names, *targets.names}
        with input_errors():
            self.classifier_ = update(
                classifier,
                texts,
                targets.labels,
                weights=weights_of(sample_weight, len(texts)),
                class_weights=class_weights_of(self.class_weight, names_of(classes, "y"), known),
                seed=self._seed(),
                callbacks=self.callbacks or (),
            )
        self.classes_ = classes

    def _validation(self, X_val: Any, y_val: Any, targets: Targets) -> TextSplit | None:
        """Texts to judge by, if some are given."""
        if X_val is None and y_val is None:
            return None
        if X_val is None or y_val is None:
            raise InputError("expected both X_val and y_val, or neither", location="X_val")
        found = Targets.of(y_val, "y_val")
        require_same(found, targets.multi_label, targets.names, "y_val")
        return TextSplit(texts_of_labels(X_val, found, "X_val"), found.labels, "X_val")

    def _seed(self) -> int:
        """A number to begin random numbers with."""
        if isinstance(self.random_state, Integral):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(MAX_SEED))

    def _by_class(self, computed: NDArray[np.float32], unseen: float) -> NDArray[np.float32]:
        """What the classifier computes, in the order of ``classes_``; it knows no class without rows."""
        column = {name: i for i, name in enumerate(self.classifier_.label_names)}
        names = names_of(self.classes_, "classes_")
        found = np.full((len(computed), len(names)), unseen, dtype=np.float32)
        for number, name in enumerate(names):
            if name in column:
                found[:, number] = computed[:, column[name]]
        return found


def _as_loaded(classifier: Classifier) -> Classifier:
    """The classifier that its model file gives, which predicts as the command line does, without torch."""
    return _unpacked(_packed(classifier)) if classifier.computes_with == "torch" else classifier


def _packed(classifier: Classifier) -> bytes:
    """The bytes of the model file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        classifier.save(path)
        return path.read_bytes()


def _unpacked(content: bytes) -> Classifier:
    """The classifier of a model file's bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        path.write_bytes(content)
        return load(path)
