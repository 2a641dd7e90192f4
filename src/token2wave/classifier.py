"""The public face of a trained model: classify, evaluate, stream and explain texts."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from token2wave.errors import ConfigError, InputError, require_text
from token2wave.features import WordFeatures
from token2wave.formatting import count, join_classes, percent
from token2wave.inference.arrow_texts import is_arrow
from token2wave.inference.loading import load_model
from token2wave.inference.model import Model
from token2wave.inference.prediction import Prediction
from token2wave.inference.routes import Route, choose_route
from token2wave.inference.score_evaluation import evaluate_scale
from token2wave.inference.state import SlidingWindow, State
from token2wave.inference.vectors import Neighbours, cosines, nearest, require_vectors
from token2wave.inference.windows import WINDOW_WORDS, WindowScores, window_spans
from token2wave.metrics import Evaluation, evaluate_predictions
from token2wave.score_scale import ScoreScale

if TYPE_CHECKING:
    from token2wave.explanation import Explanation

T = TypeVar("T")


def load(path: str | os.PathLike[str], device: str = "cpu") -> Classifier:
    """Read a model file.

    A network that compiles (all presets do) loads without torch, unless ``device`` is a GPU.

    Args:
        path: a file that :meth:`Classifier.save` wrote.
        device: where to predict, ``cpu`` or ``cuda``.

    Raises:
        ModelFileError: the file is missing, damaged, not a model of token2wave, or of another version.
        MissingExtraError: the network needs torch, which is not installed.
    """
    return load_model(path, device, Classifier)


@dataclass(frozen=True, eq=False)
class Classifier(Model):
    """A trained text classifier: a :class:`token2wave.inference.model.Model` and what it can do with texts.

    Example:
        >>> import token2wave
        >>> classifier = token2wave.load("news.safetensors")  # doctest: +SKIP
        >>> classifier.predict("Shares fell after the report").label  # doctest: +SKIP
        'Business'
    """

    def __repr__(self) -> str:
        evaluation = self.training.get("evaluation")
        accuracy = evaluation.get("accuracy") if isinstance(evaluation, dict) else None
        known = f", accuracy {percent(accuracy)} in training" if isinstance(accuracy, float) else ""
        n_parameters = count(self.network.parameter_count().total)
        names = join_classes(self.label_names).replace(": ", " classes: ", 1)
        return f"<{type(self).__name__}: {names}; {n_parameters} parameters{known}>"

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the model alone: another machine chooses its own route."""
        return {name: value for name, value in vars(self).items() if name != "route"}

    @cached_property
    def route(self) -> Route:
        """How texts become probabilities here, chosen once."""
        return choose_route(self)

    @property
    def computes_with(self) -> str:
        """What predicts: ``native core``, ``numpy`` or ``torch``."""
        return self.route.name

    # ---- predictions ----

    def probabilities(self, texts: Any, advance: Callable[[int], None] | None = None) -> NDArray[np.float32]:
        """Compute the probability of every class for every text.

        Args:
            texts: ``N`` strings of any content: a list, tuple, generator, array or Series; or a frame or
                dictionaries with a column ``text``, or one column. A ``pyarrow`` array of strings is fastest,
                since the native core reads its bytes in place.
            advance: called with the number of texts just processed, for a progress bar.

        Returns:
            ``(N, C)`` float32. Rows sum to one, unless the model is multi-label.

        Raises:
            InputError: an element is not a string, e.g. ``texts[3]``; or ``texts`` is one string, a
                mapping, a set, or a table of several columns.
            ModelFileError: the weights overflow, so a probability is not finite.
        """
        return self.probabilities_and_known(texts, advance)[0]

    def probabilities_and_known(
        self, texts: Any, advance: Callable[[int], None] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Compute :meth:`probabilities` and :meth:`known` together, which is faster."""
        outputs, known = self._call(self.route.predict, texts, advance)
        return outputs if self.scale is None else self.scale.class_probabilities(outputs), known

    def scores(self, texts: Any, advance: Callable[[int], None] | None = None) -> NDArray[np.float32]:
        """Compute the expected score of every text, for a model trained with a target of scores or grades.

        Args:
            texts: as :meth:`probabilities`.
            advance: likewise.

        Returns:
            ``(N,)`` float32, within the scores of training.

        Raises:
            InputError: as :meth:`probabilities`.
            ConfigError: the model is one of labels.
        """
        return self.require_scale("scores").scores(self.probabilities(texts, advance))

    def require_scale(self, purpose: str) -> ScoreScale:
        """Return the scale of a model of scores.

        Raises:
            ConfigError: the model is one of labels.
        """
        if self.scale is None:
            problem = "expected a model of scores, found one of labels"
            hint = "train it with target='score' or target='ordinal'"
            raise ConfigError(problem, location=purpose, hint=hint)
        return self.scale

    def known(self, texts: Any) -> NDArray[np.bool_]:
        """Whether the model has any word, word n-gram or character n-gram of each text, ``(N,)``.

        If not, the prediction rests on nothing, like that of an empty text.

        Raises:
            InputError: as :meth:`probabilities`.
        """
        features = self._call(lambda strings, _: self.features(strings), self._to_texts(texts), None)
        return self.features.n_known(features) > 0

    def labels(self, texts: Any) -> list[str]:
        """Name the most probable class of every text. This is the fastest way to classify many texts.

        A model of scores names the median grade, or range of scores.

        Raises:
            InputError: as :meth:`probabilities`.
            ConfigError: the model is multi-label.
        """
        if self.multi_label:
            raise ConfigError(
                "expected a model with one class a text, found a multi-label model",
                location="labels",
                hint="use label_sets",
            )
        names = self.label_names
        return [names[best] for best in self.decide(self.probabilities(texts)).tolist()]

    def label_sets(self, texts: Any) -> list[tuple[str, ...]]:
        """Name all classes of every text, in the order of the classes.

        Raises:
            InputError: as :meth:`probabilities`.
        """
        if not self.multi_label:
            return [(label,) for label in self.labels(texts)]
        decisions = self.decide(self.probabilities(texts))
        return [tuple(self.label_names[i] for i in np.flatnonzero(row)) for row in decisions]

    def novelty(self, texts: Any) -> NDArray[np.float64] | None:
        """Measure how unlike the training texts each text is.

        Novelty is the fraction of validation texts that are less unlike: 0.99 means more unlike than 99 % of
        them (:mod:`token2wave.inference.novelty`). A text of which nothing is :meth:`known` has novelty 1. It
        takes longer than the probabilities.

        Args:
            texts: ``N`` strings.

        Returns:
            ``(N,)`` float64 from 0 to 1; None if the model has no :attr:`novelty_reference`.

        Raises:
            InputError: as :meth:`probabilities`.
        """
        if type(texts) is not list or self.novelty_reference is None:
            texts = self._to_texts(texts)
        if self.novelty_reference is None:
            return None
        features, n_unknown = self._call(lambda strings, _: self.features.with_unknown(strings), texts, None)
        n_known = features.rows(self.features.n_rows).lengths
        novelty = self.novelty_reference.novelty(n_unknown, n_known, self.network.logits(features))
        return np.where(self.features.n_known(features) > 0, novelty, 1.0)

    def predict(self, text: Any, top_k: int = 1, novelty: bool = False) -> Prediction:
        """Classify one text.

        Args:
            text: any string; for a model of pairs two, ``("a text", "another")``.
            top_k: number of classes in ``top``; all, if there are fewer.
            novelty: also measure how unlike the training texts it is.

        Raises:
            InputError: ``text`` is not a string.
        """
        if not isinstance(text, str) and not self.is_pairs:
            require_text(text)
        return self.predict_batch([text], top_k, novelty=novelty)[0]

    def predict_batch(
        self,
        texts: Any,
        top_k: int = 1,
        advance: Callable[[int], None] | None = None,
        novelty: bool = False,
    ) -> list[Prediction]:
        """Classify many texts. In numpy and torch the last digits may differ from :meth:`predict` on each.

        Raises:
            InputError: as :meth:`probabilities`.
        """
        if novelty and type(texts) is not list:
            texts = self._to_texts(texts)  # a generator can be read once
        probabilities, known = self.probabilities_and_known(texts, advance)
        predictions = self.predictions(probabilities.tolist(), known.tolist(), top_k)
        scores = self.novelty(texts) if novelty else None
        if scores is None:
            return predictions
        pairs = zip(predictions, scores.tolist(), strict=True)
        return [prediction._replace(novelty=score) for prediction, score in pairs]

    def window_scores(self, text: str) -> WindowScores:
        """Classify each window of a text: 64 words that the model has a row for, or as its window level has.

        The next window begins half a window later. A model needs no window level for it.

        Args:
            text: any string.

        Returns:
            The place of each window in the text, and its probabilities as a text of its own; none for a text
            without words and symbols.

        Raises:
            InputError: ``text`` is not a string.
            ConfigError: the network does not compile, or the features are not words.
        """
        require_text(text)
        config = self.compiled().config
        if not isinstance(self.features, WordFeatures):
            problem = f"expected features of words, found {self.features.type_name}"
            raise ConfigError(problem, location="windows", hint="train preset small or fast")
        spans = window_spans(self.features, text, config.window_words or WINDOW_WORDS)
        return WindowScores(spans, self.probabilities([text[start:end] for start, end in spans.tolist()]))

    def evaluate(
        self, texts: Any, labels: Any = None, advance: Callable[[int], None] | None = None
    ) -> Evaluation:
        """Compare predictions with the true labels.

        Args:
            texts: ``N`` strings; or, without ``labels``, what :func:`token2wave.train` takes.
            labels: ``N`` true labels, as numbers of the classes or as their names, e.g. ``(N,)`` int64. For a
                multi-label model ``(N, C)`` bool, or the names of each text's labels. For a model of scores
                they are numbers.
            advance: as :meth:`probabilities`.

        Raises:
            InputError: as :meth:`probabilities`; or a label is not one of the classes.
        """
        if self.scale is not None:
            return self._evaluate_scores(self.scale, texts, labels, advance)
        if not isinstance(labels, np.ndarray) or labels.dtype.kind not in ("b" if self.multi_label else "iu"):
            from token2wave.data import DataOptions, TextSplit, encode_label_sets, encode_labels, load_split
            from token2wave.data.objects import to_labels

            if labels is None:
                separator = self.training.get("label_separator") if self.multi_label else None
                options = DataOptions(multi_label=self.multi_label, label_separator=separator)
                rows = load_split(texts, options=options, label_names=self.label_names)
                texts, labels = list(rows.texts), rows.labels
            texts = self._to_texts(texts)
            rows = TextSplit(texts, to_labels(labels, "labels", self.label_names), "labels")
            labels = (encode_label_sets if self.multi_label else encode_labels)(rows, self.label_names)
        probabilities = self.probabilities(texts, advance)
        return evaluate_predictions(labels, self.decide(probabilities), self.label_names, probabilities)

    def _evaluate_scores(
        self, scale: ScoreScale, texts: Any, labels: Any, advance: Callable[[int], None] | None
    ) -> Evaluation:
        """As :meth:`evaluate`, for a model of scores."""
        from token2wave.data import load_split

        rows = load_split(texts, labels=labels, as_numbers=True)
        return evaluate_scale(scale, rows.read_scores(), self.probabilities(list(rows.texts), advance))

    # ---- vectors ----

    def encode(self, texts: Any, advance: Callable[[int], None] | None = None) -> NDArray[np.float32]:
        """Turn texts into vectors of length one, whose product is the cosine of two texts.

        The vector of a text is what the branches of the model see of it: its wave, that of its context, and
        the scores of the linear SVM.

        Args:
            texts: ``N`` strings, as for :meth:`probabilities`.
            advance: as :meth:`probabilities`.

        Returns:
            ``(N, W)`` float32, C-contiguous; ``W`` is twice the widths of network and context, plus the
            number of classes with a linear SVM. A text of which nothing is :meth:`known` has a row of zeros.

        Raises:
            InputError: as :meth:`probabilities`.
            ConfigError: the network does not compile or has a window level, or the model reads pairs.
            ModelFileError: the weights overflow, so a number is not finite.
        """
        self.require_texts("encode")
        self.require_no_windows("encode")  # which the other branches' waves know nothing of
        return self._call(self.route.vectors, texts, advance)

    def similarity(self, a: Any, b: Any) -> NDArray[np.float32]:
        """Compute the cosine of pairs of texts, from -1 to 1; 0 if nothing of one of them is known.

        A model of pairs with scores gives the expected score of each pair: a similarity that it has learnt.

        Args:
            a: ``N`` strings, as for :meth:`probabilities`.
            b: ``N`` strings, each of which is compared with the one at its place in ``a``.

        Returns:
            ``(N,)`` float32.

        Raises:
            InputError: as :meth:`encode`; or the lengths differ.
            ConfigError: the network does not compile; or the model is one of pairs with labels.
        """
        from token2wave.data.objects import to_texts  # here, so that predicting starts quickly

        first, second = (to_texts(texts, name, column="text") for texts, name in ((a, "a"), (b, "b")))
        if len(first) != len(second):
            problem = f"expected as many texts as in a, {len(first):,}, found {len(second):,}"
            raise InputError(problem, location="b", hint="give two lists of the same length")
        if self.is_pairs:
            return self.scores(list(zip(first, second, strict=True)))
        return cosines(self.encode(first), self.encode(second))

    def nearest(self, texts: Any, rows: Any, k: int = 5) -> Neighbours:
        """Find the rows that are most like each text, by cosine.

        Args:
            texts: ``N`` strings, as for :meth:`probabilities`.
            rows: ``M`` strings, e.g. the training texts; or their vectors from :meth:`encode`.
            k: number of rows for each text; all, if there are fewer.

        Returns:
            Indices of the rows and similarities, ``(N, k)`` each, the nearest first.

        Raises:
            InputError: as :meth:`encode`; or there are no rows, or they are not vectors of this model.
            ConfigError: the network does not compile, or ``k`` is below 1.
        """
        vectors = self.encode(texts)
        is_encoded = isinstance(rows, np.ndarray) and rows.dtype.kind == "f"
        encoded = (
            require_vectors(rows, vectors.shape[1])
            if is_encoded
            else self.encode(self._to_texts(rows, "rows"))
        )
        return nearest(vectors, encoded, k)

    # ---- streams and explanations ----

    def state(self, removable: bool = True) -> State:
        """Start a text that arrives piece by piece; see :class:`token2wave.State`.

        Args:
            removable: keep the tokens, 8 bytes each, so that words can be removed again.

        Raises:
            ConfigError: the network does not compile, or a model with a window level gets no tokens.
        """
        return State(self, removable)

    def state_from_bytes(self, data: bytes) -> State:
        """Unpack a state that :meth:`State.to_bytes` packed.

        Raises:
            ModelFileError: the state is damaged, or belongs to another model.
        """
        return State.from_bytes(self, data)

    def window(self, n_tokens: int) -> SlidingWindow:
        """Classify the last tokens of an endless stream; see :class:`token2wave.SlidingWindow`.

        Raises:
            ConfigError: the network does not compile, or ``n_tokens`` is not positive.
        """
        return SlidingWindow(self, n_tokens)

    def explain(
        self, text: Any, unit: str = "word", *, should_stop: Callable[[], bool] | None = None
    ) -> Explanation:
        """Show how the prediction changes when a word is removed; see :class:`token2wave.Explanation`.

        Args:
            text: any string; for a model of pairs two.
            unit: what to remove, one at a time: ``token``, ``word`` or ``sentence``.
            should_stop: asked now and then; once it is true, the explanation ends with the parts so far.

        Raises:
            ConfigError: the network does not compile, or the unit is unknown.
            InputError: ``text`` is not a string.
        """
        from token2wave.explanation.explain import explain  # here, so that predicting starts quickly

        text = self._to_texts([text])[0] if self.is_pairs else text
        return explain(self, text, unit, should_stop)

    def description(self) -> dict[str, Any]:
        """Describe the model as plain data: classes, sizes, settings, training record."""
        parameters = self.network.parameter_count()
        return {
            "labels": list(self.label_names),
            **({"thresholds": list(self.thresholds)} if self.multi_label else {}),
            **({} if self.scale is None else {"scale": self.scale.to_dict()}),
            "parameters": parameters.total,
            "parameters_without_embedding": parameters.without_embedding,
            "features": {"kind": self.features.type_name, **self.features.config.to_dict()},
            "network": self.network.config.to_dict(),
            "training": self.training,
            "versions": self.written_by,
            "computes_with": self.computes_with,
        }

    def _call(
        self, function: Callable[[Any, Any], T], texts: Any, advance: Callable[[int], None] | None
    ) -> T:
        """Call a function of a route with texts as a user holds them."""
        if self.is_pairs or (type(texts) is not list and not is_arrow(texts)):
            texts = self._to_texts(texts)
        try:
            return function(texts, advance)
        except (TypeError, AttributeError):
            if type(texts) is not list or (strings := self._to_texts(texts)) is texts:
                raise  # checking first would cost time
            return function(strings, advance)

    def _to_texts(self, texts: Any, name: str = "texts") -> list[str]:
        """Turn what a user holds into a list of strings."""
        from token2wave.data.objects import to_pairs, to_texts  # here, so that predicting starts quickly

        return to_pairs(texts, name) if self.is_pairs else to_texts(texts, name, column="text")
