"""A linear support vector machine: one against the rest, squared hinge loss, dual coordinate descent.

The solver is that of LIBLINEAR (Hsieh et al. 2008, "A dual coordinate descent method for large-scale linear
SVM"). The features are information-weighted n-grams: a text is the sum of its words and n-grams, divided by
the root of their number. The square of an n-gram's weight in this sum is its information about the class, in
nats: the Kullback-Leibler divergence of the classes of the texts that have it from those of all texts; for
multi-label texts the sum over the classes' decisions. The problem is convex, so it has one solution.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.core import load_core, n_threads
from token2wave.features import Features, Ragged
from token2wave.inference.reference import segment_sums
from token2wave.training.char_ngrams import CharNgrams
from token2wave.training.examples import Examples
from token2wave.training.schedule import document_frequency

COST = 1.0  # of an error, LIBLINEAR's C, if the mean information of a feature is one
PRIOR_TEXTS = 3.0  # pseudo-texts with the prior of the classes, added to those of each feature
MAX_PASSES = 40
CHAR_NGRAM_WEIGHT = 0.5  # of a word's character n-grams, if no validation texts can choose it
CHAR_NGRAM_WEIGHTS = (0.0, 0.5, 1.0)  # to choose from
MARGIN_IN_LOGITS = 2.0  # a margin of one on each side, as the difference of two logits
TOLERANCE = 0.3  # largest violation of a margin of one; more passes do not change accuracy

Floats = NDArray[np.float32]


class LinearSVMWeights(NamedTuple):
    """The solution: weights of the features, ``(V, C)`` float32, bias ``(C,)``, and passes to convergence."""

    rows: Floats
    bias: Floats
    passes: int

    def logits(self, features: Ragged) -> NDArray[np.float64]:
        """Decision values of ``N`` texts, ``(N, C)``, on the scale of logits."""
        roots = np.sqrt(np.maximum(features.lengths, 1))[:, None]
        sums = segment_sums(features.offsets, self.rows.shape[1], lambda a, b: self.rows[features.ids[a:b]])
        return np.asarray(MARGIN_IN_LOGITS * (sums[0] / roots + self.bias))


class LinearSVM:
    """The problem; :meth:`solve` takes the weight of the words' character n-grams.

    Args:
        train: the examples to learn from.
        features: their vocabulary.
        n_classes: ``C``.
        seed: of the order of texts.
        multi_label: whether a text may have several classes, or none; the examples have targets then.
        char_ngrams: whether to use the character n-grams of the words.
    """

    def __init__(
        self,
        train: Examples,
        features: Features,
        n_classes: int,
        seed: int,
        multi_label: bool = False,
        *,
        char_ngrams: bool = False,
    ) -> None:
        self.train, self.n_classes, self.seed = train, n_classes, seed
        n_rows = features.n_rows
        self.targets = train.targets if multi_label else None
        self.positive = train.positive_weights if multi_label else None
        if self.targets is None:
            prior = np.bincount(train.labels, minlength=n_classes) / max(len(train), 1)
            frequency = document_frequency(train.features, n_rows, train.labels, n_classes)
            n_texts = frequency.sum(axis=1)
        else:
            prior = (self.targets > 0.5).sum(axis=0) / max(len(train), 1)
            frequency, n_texts = target_frequency(train.features, self.targets, n_rows)
        self.char_ngrams = grams = (
            CharNgrams.of_words(train.texts, features, n_texts) if char_ngrams else CharNgrams.none(n_rows)
        )
        occurrences = np.bincount(train.features.ids, minlength=n_rows)
        information = _information if self.targets is None else _information_multi_label
        self.information = information(frequency, n_texts, prior)
        gram_frequency, rows = np.zeros((grams.n_grams, n_classes), dtype=np.float32), grams.rows
        for label in range(n_classes):
            gram_frequency[:, label] = np.bincount(grams.ids, frequency[rows, label], grams.n_grams)
        gram_texts = np.bincount(grams.ids, n_texts[rows], grams.n_grams)
        self.gram_information = information(gram_frequency, gram_texts, prior)
        # Mean n-grams of a feature. Divided by it, n-grams weigh as much in a text as its features.
        self.grams_of_a_feature = max(float(occurrences @ grams.counts) / max(occurrences.sum(), 1), 1.0)
        self.costs = np.full(len(train), COST, dtype=np.float32)
        if train.weights is not None:
            self.costs *= train.weights * (len(train) / train.weights.sum(dtype=np.float64))

    def solve(self, char_ngram_weight: float, previous: LinearSVMWeights | None = None) -> LinearSVMWeights:
        """Find the weight of every row for every class.

        Args:
            char_ngram_weight: weight of the words' character n-grams, relative to that of words and word
                n-grams; 0 leaves them out.
            previous: the solution for other texts. The result is the solution nearest to it; without it, the
                smallest one.

        Returns:
            Weights whose sum over a text's features, divided by the root of their number, plus the bias is
            about 1 for the text's class and -1 for the others.
        """
        char_ngrams = self.char_ngrams if char_ngram_weight else CharNgrams.none(len(self.information))
        scale = np.float32(char_ngram_weight**2 / self.grams_of_a_feature)
        information = np.concatenate([self.information, self.gram_information[: char_ngrams.n_grams] * scale])
        native, features = load_core(), self.train.features
        if previous is None:
            shape = len(self.information), self.n_classes
            previous = LinearSVMWeights(np.zeros(shape, np.float32), np.zeros(self.n_classes, np.float32), 0)
        if native is None:
            costs = self._costs()
            return _solve(self.train, self._signs(), char_ngrams, information, costs, self.seed, previous)
        rows, bias = previous.rows.astype(np.float32), previous.bias.astype(np.float32)  # copies
        none = np.zeros(0, np.float32)
        passes = native.fit_linear_svm(
            (features.ids, features.offsets, features.n_ordered),
            (
                self.train.labels if self.targets is None else none.astype(np.int64),
                none if self.targets is None else self.targets,
                self.costs,
                none if self.positive is None else self.positive,
                features.lengths.astype(np.float32),
            ),
            (char_ngrams.offsets, char_ngrams.ids, information),
            (rows, bias),
            (MAX_PASSES, TOLERANCE, self.seed),
            n_threads(),
        )
        return LinearSVMWeights(rows, bias, passes)

    def _costs(self) -> NDArray[np.float64]:
        """Cost of an error on each text and class, ``(N, C)``."""
        factors = np.ones(self.n_classes) if self.positive is None else self.positive.astype(np.float64)
        costs = self.costs.astype(np.float64)
        return np.where(self._signs() > 0, costs[:, None] * factors, costs[:, None])

    def _signs(self) -> NDArray[np.float64]:
        """1 for the classes of each text and -1 for the others, ``(N, C)``."""
        if self.targets is not None:
            return np.where(self.targets > 0.5, 1.0, -1.0)
        return np.where(self.train.labels[:, None] == np.arange(self.n_classes), 1.0, -1.0)


def _information(frequency: NDArray[Any], n_texts: NDArray[Any], prior: NDArray[np.float64]) -> Floats:
    """Information of each feature about the class, ``(V,)`` float32, scaled to a mean of one over texts.

    Args:
        frequency: ``(V, C)``, texts of each class that have the feature.
        n_texts: ``(V,)``, texts that have it.
        prior: ``(C,)``, fraction of each class among all texts.
    """
    prior = prior.astype(np.float32)
    posterior = frequency.astype(np.float32)
    posterior += np.float32(PRIOR_TEXTS) * prior
    posterior /= (n_texts + PRIOR_TEXTS).astype(np.float32)[:, None]
    tiny = np.float32(1e-30)  # a class without texts
    ratios = np.maximum(posterior, tiny)
    ratios /= np.maximum(prior, tiny)
    np.log(ratios, out=ratios)
    return _scale_to_mean_one(np.maximum(np.einsum("vc,vc->v", posterior, ratios), 0), n_texts)


def _information_multi_label(
    frequency: NDArray[Any], n_texts: NDArray[Any], prior: NDArray[np.float64]
) -> Floats:
    """The same for multi-label texts: the sum of the information about each class's decision."""
    information = np.zeros(len(frequency), dtype=np.float32)
    for label, p in enumerate(prior.tolist()):
        of_class = (frequency[:, label] + PRIOR_TEXTS * p) / (n_texts + PRIOR_TEXTS)
        of_class = of_class.astype(np.float32)
        for posterior, q in ((of_class, p), (1 - of_class, 1 - p)):
            if q > 0:
                information += posterior * np.log(np.maximum(posterior, np.float32(1e-30)) / np.float32(q))
    return _scale_to_mean_one(np.maximum(information, 0), n_texts)


def _scale_to_mean_one(information: Floats, n_texts: NDArray[Any]) -> Floats:
    mean = float(information @ n_texts.astype(np.float64)) / max(float(n_texts.sum()), 1.0)
    if mean <= 0:  # e.g. all texts are of one class
        return np.ones(len(information), dtype=np.float32)
    return (information / np.float32(mean)).astype(np.float32)


def target_frequency(
    features: Ragged, targets: Floats, n_rows: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Texts of each class in which each row occurs, ``(V, C)``, and texts in which it does, ``(V,)``.

    A text has the classes whose target, ``(N, C)``, is above a half.
    """
    texts, labels = np.nonzero(targets > 0.5)  # a text appears once for each of its classes
    labels = labels.astype(np.int64)
    frequency = document_frequency(features.take(texts), n_rows, labels, targets.shape[1])
    return frequency, document_frequency(features, n_rows)


def _solve(
    train: Examples,
    targets: NDArray[np.float64],
    char_ngrams: CharNgrams,
    information: Floats,
    costs: NDArray[np.float64],
    seed: int,
    previous: LinearSVMWeights,
) -> LinearSVMWeights:
    """Dual coordinate descent in numpy for all classes at once, the slow twin of the native core."""
    features, n_rows, n_classes = train.features, len(char_ngrams.counts), targets.shape[1]
    scales = 1 / np.sqrt(np.maximum(features.lengths, 1))
    table, bias = np.zeros((len(information), n_classes)), previous.bias.astype(np.float64)
    table[:n_rows] = previous.rows
    grams_of_row = np.split(char_ngrams.ids + n_rows, char_ngrams.offsets[1:-1])
    alphas = np.zeros((len(train), n_classes))
    random, counted, passes = np.random.default_rng(seed), np.flatnonzero(costs.any(axis=1)), 0

    def with_grams(text: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        ids = features.ids[features.offsets[text] : features.offsets[text + 1]]
        return np.unique(np.concatenate([ids, *(grams_of_row[row] for row in ids)]), return_counts=True)

    worst = np.inf
    while worst > TOLERANCE and passes < MAX_PASSES:
        passes, worst = passes + 1, 0.0
        for text in random.permutation(counted):
            ids, counts = with_grams(text)
            square = float(counts**2 @ information[ids]) * scales[text] ** 2 + 1
            ridge = 0.5 / costs[text]  # diagonal of the dual of the squared hinge
            score = counts @ table[ids] * scales[text] + bias
            slope = targets[text] * score - 1 + alphas[text] * ridge
            violated = np.where((alphas[text] > 0) | (slope < 0), np.abs(slope), 0)
            worst = max(worst, float(violated.max()))
            step = np.where(violated > 0, slope / (square + ridge), 0)
            after = np.maximum(alphas[text] - step, 0)
            change = (after - alphas[text]) * targets[text]
            alphas[text] = after
            bias += change
            table[ids] += (counts * information[ids])[:, None] * (change * scales[text])
    rows = table[:n_rows]
    np.add.at(rows, char_ngrams.rows, table[n_rows:][char_ngrams.ids])
    return LinearSVMWeights(rows.astype(np.float32), bias.astype(np.float32), passes)
