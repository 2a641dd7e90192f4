"""Amplitudes: what each token says of each class by itself.

A wave's energy is its squared amplitude. Here a token's energy is the information that it brings about
the class, in nats: how far the classes of the texts that it occurs in are from those of all texts (the
divergence of Kullback and Leibler; where a text may have several classes, the sum of that of each). A text is
the superposition of its tokens, divided by the root of their number. Of all linear classifiers of such texts
that of largest margin is found: a convex problem with one solution, where the waves' is not.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.core import core, n_threads
from token2wave.features import Features, Ragged
from token2wave.inference.reference import segment_sums
from token2wave.training.char_ngrams import CharNgrams
from token2wave.training.examples import Examples

COST = 1.0  # of an error, against the energy of the amplitudes; with token energies of one in the mean
PRIOR_TEXTS = 3.0  # texts of the classes' usual shares that a token has been seen in before it was seen
MAX_PASSES = 40
CHAR_NGRAM_WEIGHT = (
    0.5  # amplitude of a word's character n-grams, where no texts are held back to choose it by
)
SUBWORD_SHARES = (0.0, 0.5, 1.0)  # to choose from
MARGIN_IN_LOGITS = 2.0  # a margin of one on each side, as the difference of two logits
TOLERANCE = 0.3  # of a margin of one; more passes change no accuracy

Floats = NDArray[np.float32]


class LinearSVMWeights(NamedTuple):
    """A linear classifier of features.

    Attributes:
        rows: ``(V, C)`` float32.
        bias: ``(C,)`` float32.
        passes: over the texts until it was found.
    """

    rows: Floats
    bias: Floats
    passes: int

    def logits(self, features: Ragged) -> NDArray[np.float64]:
        """What the amplitudes say of ``N`` texts, ``(N, C)``, in the scale of logits."""
        roots = np.sqrt(np.maximum(features.lengths, 1))[:, None]
        found = segment_sums(features.offsets, self.rows.shape[1], lambda a, b: self.rows[features.ids[a:b]])
        logits: NDArray[np.float64] = MARGIN_IN_LOGITS * (found[0] / roots + self.bias)
        return logits


class LinearSVM:
    """All that is needed to find amplitudes, for one or more shares of the words' character n-grams.

    Args:
        train: what to learn from.
        features: of the texts.
        n_classes: ``C``.
        seed: of the order in which texts are visited.
        multi_label: whether a text may have several classes, or none; the training texts have targets then.
        char_ngrams: whether the character n-grams of the texts' words take part.
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
            usual = np.bincount(train.labels, minlength=n_classes) / max(len(train), 1)
            frequency = class_frequency(train.features, train.labels, n_rows, n_classes)
            found = frequency.sum(axis=1)
        else:
            usual = (self.targets > 0.5).sum(axis=0) / max(len(train), 1)
            frequency, found = target_frequency(train.features, self.targets, n_rows)
        spelled = (
            CharNgrams.of_words(train.texts, features, found) if char_ngrams else CharNgrams.none(n_rows)
        )
        self.char_ngrams = spelled
        occurrences = np.bincount(train.features.ids, minlength=n_rows)
        energies_of = _energies if self.targets is None else _energies_of_decisions
        self.energies = energies_of(frequency, found, usual)
        of_grams = np.zeros((spelled.n_grams, n_classes), dtype=np.float32)
        rows = spelled.rows
        for label in range(n_classes):
            of_grams[:, label] = np.bincount(spelled.ids, frequency[rows, label], spelled.n_grams)
        found_grams = np.bincount(spelled.ids, found[rows], spelled.n_grams)
        self.gram_energies = energies_of(of_grams, found_grams, usual)
        # A text has so many n-grams for each of its features: together they bring as much energy as these do.
        self.grams_of_a_feature = max(float(occurrences @ spelled.counts) / max(occurrences.sum(), 1), 1.0)
        self.costs = np.full(len(train), COST, dtype=np.float32)
        if train.weights is not None:
            self.costs *= train.weights * (len(train) / train.weights.sum(dtype=np.float64))

    def solve(self, share: float, before: LinearSVMWeights | None = None) -> LinearSVMWeights:
        """Find the amplitude of every row for every class: one class against all others, squared hinge loss.

        Args:
            share: amplitude of the words' character n-grams, against that of words and their n-grams; with 0
                they are left out.
            before: what other texts taught: of all amplitudes with so small a loss the nearest to these are
                found, where otherwise those of least energy are.

        Returns:
            Amplitudes whose sum over a text's features, divided by the root of their number, plus the bias is
            about 1 for the text's class and -1 for the others.
        """
        char_ngrams = self.char_ngrams if share else CharNgrams.none(len(self.energies))
        of_grams = self.gram_energies[: char_ngrams.n_grams] * np.float32(share**2 / self.grams_of_a_feature)
        energies = np.concatenate([self.energies, of_grams])
        native, features = core(), self.train.features
        if native is None:
            costs = self._costs()
            return _solve(self.train, self._signs(), char_ngrams, energies, costs, self.seed, before)
        shape = len(self.energies), self.n_classes
        rows = np.zeros(shape, np.float32) if before is None else before.rows.astype(np.float32)
        bias = np.zeros(self.n_classes, np.float32) if before is None else before.bias.astype(np.float32)
        passes = native.fit_linear_svm(
            (features.ids, features.offsets, features.n_ordered),
            (
                self.train.labels if self.targets is None else np.zeros(0, np.int64),
                np.zeros(0, np.float32) if self.targets is None else self.targets,
                self.costs,
                np.zeros(0, np.float32) if self.positive is None else self.positive,
                features.lengths.astype(np.float32),
            ),
            (char_ngrams.offsets, char_ngrams.ids, energies),
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


def _energies(frequency: NDArray[Any], found: NDArray[Any], usual: NDArray[np.float64]) -> Floats:
    """Information that each token brings about the class, ``(V,)`` float32, its mean over texts' tokens one.

    Args:
        frequency: ``(V, C)``, texts of each class that have the token.
        found: ``(V,)``, texts that have it.
        usual: ``(C,)``, share of each class among all texts.
    """
    prior = usual.astype(np.float32)
    shares = frequency.astype(np.float32)
    shares += np.float32(PRIOR_TEXTS) * prior
    shares /= (found + PRIOR_TEXTS).astype(np.float32)[:, None]
    tiny = np.float32(1e-30)  # a class without texts
    ratios = np.maximum(shares, tiny)
    ratios /= np.maximum(prior, tiny)
    np.log(ratios, out=ratios)
    return _of_mean_one(np.maximum(np.einsum("vc,vc->v", shares, ratios), 0), found)


def _energies_of_decisions(
    frequency: NDArray[Any], found: NDArray[Any], usual: NDArray[np.float64]
) -> Floats:
    """The same where a text may have several classes: information about whether it has each, summed."""
    information = np.zeros(len(frequency), dtype=np.float32)
    for label, share in enumerate(usual.tolist()):
        shares = ((frequency[:, label] + PRIOR_TEXTS * share) / (found + PRIOR_TEXTS)).astype(np.float32)
        for has, prior in ((shares, share), (1 - shares, 1 - share)):
            if prior > 0:
                information += has * np.log(np.maximum(has, np.float32(1e-30)) / np.float32(prior))
    return _of_mean_one(np.maximum(information, 0), found)


def _of_mean_one(information: Floats, found: NDArray[Any]) -> Floats:
    """Energies in proportion to an information ``(V,)``."""
    mean = float(information @ found.astype(np.float64)) / max(float(found.sum()), 1.0)
    if mean <= 0:  # as where all texts are of one class
        return np.ones(len(information), dtype=np.float32)
    energies: Floats = (information / np.float32(mean)).astype(np.float32)
    return energies


def class_frequency(
    features: Ragged, labels: NDArray[np.int64], n_rows: int, n_classes: int
) -> NDArray[np.int64]:
    """Texts of each class in which each row occurs, ``(V, C)``."""
    native = core()
    if native is None:
        texts = np.repeat(np.arange(len(features)), features.lengths)
        pairs = np.unique(texts * np.int64(n_rows) + features.ids)
        places = pairs % n_rows * n_classes + labels[pairs // n_rows]
        counted: NDArray[np.int64] = np.bincount(places, minlength=n_rows * n_classes)
        return counted.reshape(n_rows, n_classes)
    frequency: NDArray[np.int64] = np.zeros((n_rows, n_classes), dtype=np.int64)
    last = np.full(n_rows, -1, dtype=np.int64)
    native.document_frequency(features.ids, features.offsets, labels, frequency, last)
    return frequency


def target_frequency(
    features: Ragged, targets: Floats, n_rows: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Texts of each class in which each row occurs, ``(V, C)``, and texts in which it does, ``(V,)``.

    Args:
        features: of ``N`` texts.
        targets: ``(N, C)``; a text has the classes above a half.
        n_rows: ``V``.
    """
    texts, labels = np.nonzero(targets > 0.5)  # a text with several classes stands there for each
    frequency = class_frequency(features.take(texts), labels.astype(np.int64), n_rows, targets.shape[1])
    found = class_frequency(features, np.zeros(len(features), dtype=np.int64), n_rows, 1)[:, 0]
    return frequency, found


def _solve(
    train: Examples,
    targets: NDArray[np.float64],
    char_ngrams: CharNgrams,
    energies: Floats,
    costs: NDArray[np.float64],
    seed: int,
    before: LinearSVMWeights | None = None,
) -> LinearSVMWeights:
    """The native core's slow twin: dual coordinate descent, all classes side by side."""
    features, n_rows, n_classes = train.features, len(char_ngrams.counts), targets.shape[1]
    shares = 1 / np.sqrt(np.maximum(features.lengths, 1))
    table, bias = np.zeros((len(energies), n_classes)), np.zeros(n_classes)
    if before is not None:
        table[:n_rows], bias[:] = before.rows, before.bias
    made_of = np.split(char_ngrams.ids + n_rows, char_ngrams.offsets[1:-1])
    alphas = np.zeros((len(train), n_classes))
    random, counting, passes = np.random.default_rng(seed), np.flatnonzero(costs.any(axis=1)), 0

    def with_grams(text: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        ids = features.ids[features.offsets[text] : features.offsets[text + 1]]
        return np.unique(np.concatenate([ids, *(made_of[row] for row in ids)]), return_counts=True)

    worst = np.inf
    while worst > TOLERANCE and passes < MAX_PASSES:
        passes, worst = passes + 1, 0.0
        for text in random.permutation(counting):
            ids, counts = with_grams(text)
            square = float(counts**2 @ energies[ids]) * shares[text] ** 2 + 1
            spread = 0.5 / costs[text]  # of the squared hinge
            score = counts @ table[ids] * shares[text] + bias
            slope = targets[text] * score - 1 + alphas[text] * spread
            violated = np.where((alphas[text] > 0) | (slope < 0), np.abs(slope), 0)
            worst = max(worst, float(violated.max()))
            step = np.where(violated > 0, slope / (square + spread), 0)
            after = np.maximum(alphas[text] - step, 0)
            change = (after - alphas[text]) * targets[text]
            alphas[text] = after
            bias += change
            table[ids] += (counts * energies[ids])[:, None] * (change * shares[text])
    rows = table[:n_rows]
    np.add.at(rows, char_ngrams.rows, table[n_rows:][char_ngrams.ids])
    return LinearSVMWeights(rows.astype(np.float32), bias.astype(np.float32), passes)
