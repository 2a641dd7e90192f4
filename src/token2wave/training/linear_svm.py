"""A linear support vector machine: one against the rest, squared hinge loss, dual coordinate descent.

The solver is that of LIBLINEAR (Hsieh et al. 2008, "A dual coordinate descent method for large-scale linear
SVM"). The features are information-weighted n-grams: a text is the sum of its words and n-grams, divided by
the root of their number. The square of an n-gram's weight in this sum is its information about the class, in
nats: the Kullback-Leibler divergence of the classes of the texts that have it from those of all texts; for
multi-label texts the sum over the classes' decisions. The problem is convex, so it has one solution.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.core import load_core, n_threads
from token2wave.features import Features, Ragged
from token2wave.inference.reference import product
from token2wave.inference.row_sums import sum_rows
from token2wave.training.char_ngrams import SHORTEST, CharNgrams
from token2wave.training.examples import Examples
from token2wave.training.prior_rows import RowVectors
from token2wave.training.schedule import document_frequency

COST = 1.0  # of an error, LIBLINEAR's C, if the mean information of a feature is one
PRIOR_TEXTS = 3.0  # pseudo-texts with the prior of the classes, added to those of each feature
MAX_PASSES = 40
# Of many texts. With costs above 1 it takes more to converge, and they predict held-out texts no better.
MAX_VISITS, MIN_PASSES = 60_000, 8
COSTS = (0.1, 0.3, 1.0, 3.0)  # to choose from
# Paths from the default. A step that is no better ends a path; if it is the first one, another path begins.
CHAR_NGRAM_WEIGHTS = (1.0, 2.0, 4.0), (0.0,)
PRIOR_WEIGHTS = (2.0,), (0.0,)
SHORTEST_CHAR_NGRAM = 2  # letters, the ends of the word among them
MIN_NGRAM_INFORMATION = 0.3  # of a character n-gram, relative to the mean; most are less, and only take time
MAX_OOV_NUMBERS = 1 << 21  # weights in the OOV table
CACHED_TEXTS = 20_000  # in numpy, to bound the memory
MARGIN_IN_LOGITS = 2.0  # a margin of one on each side, as the difference of two logits
TOLERANCE = 0.5  # largest violation of a margin of one; more passes do not change accuracy

Floats = NDArray[np.float32]
FeatureScale = Literal["information", "idf"]
FEATURE_SCALES: tuple[tuple[FeatureScale, ...], ...] = (("idf",),)


class LinearSVMSettings(NamedTuple):
    """Settings of the linear SVM that validation texts choose.

    Attributes:
        char_ngram_weight: of the words' character n-grams, relative to words and word n-grams.
        prior_weight: of the language prior, likewise.
        cost: of an error, LIBLINEAR's C, if the mean square of a feature is one.
        feature_scale: see :meth:`LinearSVM.solve_path`.
    """

    char_ngram_weight: float = 0.5
    prior_weight: float = 1.0
    cost: float = COST
    feature_scale: FeatureScale = "information"


class LinearSVMWeights(NamedTuple):
    """The solution.

    Every weight is for the sum over a text's features, divided by the root of its size.

    Attributes:
        rows: ``(V, C)`` float32, with the weights of each row's character n-grams, but not of dense features.
        bias: ``(C,)`` float32.
        passes: to convergence, or as many as there may be.
        gram_hashes: ``(G,)`` uint64, increasing, the hashes of the character n-grams.
        gram_weights: ``(G, C)`` float32, their own weights.
        dense: ``(P, C)`` float32, the weights of the dense features.
    """

    rows: Floats
    bias: Floats
    passes: int
    gram_hashes: NDArray[np.uint64] = np.zeros(0, np.uint64)
    gram_weights: Floats = np.zeros((0, 0), np.float32)
    dense: Floats = np.zeros((0, 0), np.float32)


class CompiledLinearSVM(NamedTuple):
    """The solution with all features in the rows of words, n-grams and the OOV table.

    Attributes:
        rows: ``(V, C)`` float32.
        bias: ``(C,)`` float32.
        oov: ``(K, C)`` float32, of the entries of the OOV table.
    """

    rows: Floats
    bias: Floats
    oov: Floats

    def logits(self, features: Ragged) -> NDArray[np.float64]:
        """Decision values of ``N`` texts, ``(N, C)``, on the scale of logits."""
        table = np.concatenate([self.rows, self.oov]) if len(self.oov) else self.rows
        sizes = features.rows(len(self.rows)).lengths
        if features.n_oov_tokens is not None:
            sizes = sizes + features.n_oov_tokens
        roots = np.sqrt(np.maximum(sizes, 1))[:, None]
        sums = sum_rows(table, features.ids, features.offsets)
        return np.asarray(MARGIN_IN_LOGITS * (sums / roots + self.bias))


class LinearSVM:
    """The problem; :meth:`solve_path` takes the weights of its kinds of features and the costs of an error.

    Args:
        train: the examples to learn from.
        features: their vocabulary; without character n-grams, the number of its rows will do.
        n_classes: ``C``.
        seed: of the order of texts.
        multi_label: whether a text may have several classes, or none; the examples have targets then.
        char_ngrams: whether to use the character n-grams of the words.
        shortest_char_ngram: their fewest characters.
        dense: ``(N, P)`` float32, further features of each text. Like the others, they are a sum over the
            text's words; the solver divides them by the root of the text's size.
    """

    def __init__(
        self,
        train: Examples,
        features: Features | int,
        n_classes: int,
        seed: int,
        multi_label: bool = False,
        *,
        char_ngrams: bool = False,
        shortest_char_ngram: int = SHORTEST,
        dense: Floats | None = None,
    ) -> None:
        self.train, self.n_classes, self.seed = train, n_classes, seed
        self.dense = np.zeros((len(train), 0), np.float32) if dense is None else np.ascontiguousarray(dense)
        sizes = np.maximum(train.features.lengths, 1).astype(np.float32)
        squares = np.einsum("np,np->n", self.dense, self.dense) / sizes
        # Mean square of a text's dense features. That of its rows is about one.
        self.dense_square = float(squares.sum() / max(len(train), 1)) or 1.0
        n_rows = features if isinstance(features, int) else features.n_rows
        self.targets = train.targets if multi_label else None
        self.positive = train.positive_weights if multi_label else None
        if self.targets is None:
            prior = np.bincount(train.labels, minlength=n_classes) / max(len(train), 1)
            frequency = document_frequency(train.features, n_rows, train.labels, n_classes)
            n_texts = frequency.sum(axis=1)
        else:
            prior = (self.targets > 0.5).sum(axis=0) / max(len(train), 1)
            frequency, n_texts = target_frequency(train.features, self.targets, n_rows)
        grams = (
            CharNgrams.of_words(train.texts, features, n_texts, shortest_char_ngram)
            if char_ngrams and not isinstance(features, int)
            else CharNgrams.none(n_rows)
        )
        occurrences = np.bincount(train.features.ids, minlength=n_rows)
        information = _information if self.targets is None else _information_multi_label
        self.information = information(frequency, n_texts, prior)
        gram_frequency, rows = np.zeros((grams.n_grams, n_classes), dtype=np.float32), grams.rows
        for label in range(n_classes):
            gram_frequency[:, label] = np.bincount(grams.ids, frequency[rows, label], grams.n_grams)
        gram_texts = np.bincount(grams.ids, n_texts[rows], grams.n_grams)
        # Mean n-grams of a feature. Divided by it, n-grams weigh as much in a text as its features.
        self.grams_of_a_feature = max(float(occurrences @ grams.counts) / max(occurrences.sum(), 1), 1.0)
        gram_information = information(gram_frequency, gram_texts, prior)
        informs = gram_information >= MIN_NGRAM_INFORMATION
        self.char_ngrams, self.gram_information = grams.keep(informs), gram_information[informs]
        self.n_texts, self.gram_texts = n_texts, gram_texts[informs]
        self.oov_hashes, self.oov_grams = self._choose_oov_entries(self.gram_texts)
        self.costs = np.ones(len(train), dtype=np.float32)
        if train.weights is not None:
            self.costs *= train.weights * (len(train) / train.weights.sum(dtype=np.float64))

    def solve(self, char_ngram_weight: float, previous: LinearSVMWeights | None = None) -> LinearSVMWeights:
        """Solve without dense features for the default cost; see :meth:`solve_path`."""
        return self.solve_path(char_ngram_weight, 0.0, (COST,), previous)[0]

    def initial_alphas(self) -> Floats:
        """Dual variables ``(N, C)`` to start from without any other solution."""
        return np.zeros((len(self.train), self.n_classes), dtype=np.float32)

    def _choose_oov_entries(self, n_texts: NDArray[Any]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """Hashes of the OOV table, ``(K,)``, and the character n-gram of each: those that tell most."""
        n_entries = MAX_OOV_NUMBERS // self.n_classes
        strongest = np.argsort(-self.gram_information * n_texts, kind="stable")[:n_entries]
        hashes = (self.char_ngrams.hashes[strongest] >> np.uint64(32)).astype(np.uint32)
        distinct, first = np.unique(hashes, return_index=True)
        return distinct, strongest[first]

    def compiled(self, weights: LinearSVMWeights, prior: RowVectors | None = None) -> CompiledLinearSVM:
        """Put the weights of character n-grams into the OOV table, and add those of the prior to its rows."""
        rows, oov = weights.rows, np.zeros((len(self.oov_hashes), self.n_classes), dtype=np.float32)
        if len(weights.gram_weights):
            oov = weights.gram_weights[self.oov_grams]
        if prior is not None and weights.dense.any():
            rows = rows.copy()
            rows[prior.rows] += product(prior.vectors, weights.dense)
        return CompiledLinearSVM(rows, weights.bias, oov)

    def solve_path(
        self,
        char_ngram_weight: float,
        dense_weight: float,
        costs: Sequence[float],
        previous: LinearSVMWeights | None = None,
        feature_scale: FeatureScale = "information",
        alphas: Floats | None = None,
    ) -> list[LinearSVMWeights]:
        """Find the weights of every feature for every class, for several costs of an error.

        Each cost starts from the dual variables of the one before, so a path of increasing costs takes fewer
        passes than as many problems.

        Args:
            char_ngram_weight: weight of the words' character n-grams, relative to that of words and word
                n-grams; 0 leaves them out.
            dense_weight: weight of the dense features. With 1 their mean square in a text is 1, about that
                of words and word n-grams; 0 leaves them out.
            costs: of an error on a text, LIBLINEAR's C, in increasing order.
            previous: the solution for other texts. The result is the solution nearest to its rows and bias;
                without it, the smallest one.
            feature_scale: what the count of a feature is multiplied with: the root of its information about
                the class, or its inverse document frequency as in scikit-learn. Its mean square over texts
                is one.
            alphas: ``(N, C)`` float32, dual variables of a solution with other settings to start from; those
                of this one replace them. The nearer the settings, the fewer passes it takes.

        Returns:
            For each cost, weights whose sum over a text's features, divided by the root of their number, plus
            the bias is about 1 for the text's class and -1 for the others. They are views of one array.
        """
        char_ngrams = self.char_ngrams if char_ngram_weight else CharNgrams.none(len(self.information))
        scale = np.float32(char_ngram_weight**2 / self.grams_of_a_feature)
        row_energies, gram_energies = self._energies(feature_scale)
        energies = np.concatenate([row_energies, gram_energies[: char_ngrams.n_grams] * scale])
        shape = len(costs), self.n_classes
        rows, bias, gram_weights, dense_weights = (
            np.zeros((shape[0], *n, shape[1]), dtype=np.float32)
            for n in ((len(self.information),), (), (char_ngrams.n_grams,), (self.dense.shape[1],))
        )
        passes = np.zeros(shape, dtype=np.int64)
        if previous is not None:
            rows[0], bias[0] = previous.rows, previous.bias
        alphas = self.initial_alphas() if alphas is None else alphas
        native, features, none = load_core(), self.train.features, np.zeros(0, np.float32)
        max_passes = min(max(MIN_PASSES, MAX_VISITS // max(len(self.train), 1)), MAX_PASSES)
        (_solve if native is None else native.fit_linear_svm)(
            (features.ids, features.offsets, features.n_ordered),
            (
                self.train.labels if self.targets is None else none.astype(np.int64),
                none if self.targets is None else self.targets,
                self.costs,
                none if self.positive is None else self.positive,
                self.dense,
            ),
            (char_ngrams.offsets, char_ngrams.ids, energies, dense_weight**2 / self.dense_square),
            (rows, bias, gram_weights, dense_weights, passes, alphas),
            (np.array(costs, dtype=np.float32), max_passes, TOLERANCE, self.seed),
            n_threads(),
        )
        return [
            LinearSVMWeights(rows[k], bias[k], int(passes[k].max(initial=0)), char_ngrams.hashes, *further)
            for k, further in enumerate(zip(gram_weights, dense_weights, strict=True))
        ]

    def _energies(self, feature_scale: FeatureScale) -> tuple[Floats, Floats]:
        """The square of the scale of each row ``(V,)`` and of each n-gram ``(G,)``."""
        if feature_scale == "information":
            return self.information, self.gram_information
        rows, grams = (
            _scale_to_mean_one(
                (np.log((1 + len(self.train)) / (1 + np.minimum(n_texts, len(self.train)))) + 1) ** 2, n_texts
            )
            for n_texts in (self.n_texts, self.gram_texts)  # a text may have several words with an n-gram
        )
        return rows, grams


def solve_settings(
    problem: LinearSVM,
    settings: LinearSVMSettings,
    costs: Sequence[float] | None = None,
    alphas: Floats | None = None,
) -> list[LinearSVMWeights]:
    """Solve a problem with settings, for their cost or for other ones; see :meth:`LinearSVM.solve_path`."""
    return problem.solve_path(
        settings.char_ngram_weight,
        settings.prior_weight,
        (settings.cost,) if costs is None else costs,
        feature_scale=settings.feature_scale,
        alphas=alphas,
    )


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


def _scale_to_mean_one(information: NDArray[Any], n_texts: NDArray[Any]) -> Floats:
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
    texts: tuple[Any, Any, Any],
    examples: tuple[Any, Any, Any, Any, Any],
    features: tuple[Any, Any, Any, float],
    weights: tuple[Any, Any, Any, Any, Any, Any],
    settings: tuple[Any, int, float, int],
    n_threads: int,
) -> None:
    """Dual coordinate descent in numpy for all classes at once, the slow twin of the core."""
    (ids, offsets, _), (labels, targets, costs, positive, dense) = texts, examples
    (gram_offsets, grams, energies, dense_energy), (factors, max_passes, tolerance, seed) = features, settings
    rows, bias, gram_weights, dense_weights, all_passes, last_alphas = weights
    n_rows, n_classes = rows.shape[1:]
    is_positive = targets > 0.5 if len(targets) else labels[:, None] == np.arange(n_classes)
    signs, costs = np.where(is_positive, 1.0, -1.0), costs.astype(np.float64)[:, None]
    costs = costs * np.where(is_positive, positive if len(positive) else 1, 1)
    sizes = np.diff(offsets)
    scales = np.divide(1, np.sqrt(sizes), out=np.zeros(len(sizes)), where=sizes > 0)
    # Rows, n-grams, dense features, and the bias, whose energy is one.
    first_dense, n_dense = len(energies), dense.shape[1]
    table = np.zeros((first_dense + n_dense + 1, n_classes))
    table[:n_rows], table[-1] = rows[0], bias[0]
    all_energies = np.concatenate([energies, np.full(n_dense, dense_energy), [1]])
    grams_of_row = np.split(grams + n_rows, gram_offsets[1:-1])
    alphas = np.where(costs > 0, last_alphas, 0).astype(np.float64)
    random, counted = np.random.default_rng(seed), np.flatnonzero(costs.any(axis=1))
    always = np.arange(first_dense, len(table))

    @lru_cache(CACHED_TEXTS)
    def elements_of(
        text: int,
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], float]:
        """Where a text has a value, the values, these times the energies as a column, and its square."""
        of_text = ids[offsets[text] : offsets[text + 1]]
        distinct, counts = np.unique(
            np.concatenate([of_text, *(grams_of_row[row] for row in of_text)]), return_counts=True
        )
        values = np.append(np.concatenate([counts, dense[text]]) * scales[text], 1.0)
        elements = np.concatenate([distinct, always])
        own_energies = all_energies[elements]
        return elements, values, (values * own_energies)[:, None], float(values**2 @ own_energies)

    for text in np.flatnonzero(alphas.any(axis=1)):
        elements, _, steps, _ = elements_of(text)
        table[elements] += steps * alphas[text] * signs[text]
    for k, factor in enumerate(factors):
        worst, passes = np.inf, 0
        while worst > tolerance and passes < max_passes:
            passes, worst = passes + 1, 0.0
            for text in random.permutation(counted):
                elements, values, steps, square = elements_of(text)
                alpha, sign, own = alphas[text], signs[text], table[elements]
                ridge = 0.5 / (costs[text] * factor)  # diagonal of the dual of the squared hinge
                slope = sign * (values @ own) - 1 + alpha * ridge
                violated = np.where((alpha > 0) | (slope < 0), np.abs(slope), 0)
                largest = float(violated.max())
                if largest == 0:
                    continue
                worst = max(worst, largest)
                step = np.where(violated > 0, slope / (square + ridge), 0)
                after = np.maximum(alpha - step, 0)
                table[elements] = own + steps * (after - alpha) * sign
                alphas[text] = after
        all_passes[k] = passes
        rows[k], bias[k] = table[:n_rows], table[-1]
        gram_weights[k], dense_weights[k] = table[n_rows:first_dense], table[first_dense:-1]
        np.add.at(rows[k], np.repeat(np.arange(n_rows), np.diff(gram_offsets)), gram_weights[k][grams])
    last_alphas[:] = alphas
