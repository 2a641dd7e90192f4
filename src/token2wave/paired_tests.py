"""Statistics of two models on the same texts: McNemar's test and bootstrap intervals of differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from token2wave.metrics import Flags, Ids

N_RESAMPLES = 2000
N_PRIOR_ROWS = 2  # one that A alone gets right, and one that B alone gets right
_N_PRIOR_OUTCOMES = 256  # that each of the two may have
_CHUNK, _MAX_TABLE = 1_000_000, 8_000_000  # numbers in memory

Array = NDArray[np.float64]
_FIGURES = ("accuracy", "macro_f1", "micro_f1")


@dataclass(frozen=True)
class Difference:
    """A figure of models A and B.

    Attributes:
        a: of A, from 0 to 1.
        b: of B.
        interval: 95 % interval of ``b - a``.
    """

    a: float
    b: float
    interval: tuple[float, float]

    @property
    def difference(self) -> float:
        """How much larger the figure of B is."""
        return self.b - self.a


@dataclass(frozen=True)
class PairedScores:
    """Figures of two models on the same texts.

    Attributes:
        figures: ``accuracy`` and ``macro_f1``, in the multi-label case ``micro_f1``, too.
        class_f1: the F1 of each class, length ``C``.
    """

    figures: dict[str, Difference]
    class_f1: tuple[Difference, ...]


def mcnemar_p(gains: Ids) -> float:
    """Test whether two models are equally good, by the texts that one of them alone gets right.

    It is McNemar's test in its mid-p version, as Fagerland, Lydersen and Laake recommend for few texts and
    for many (doi 10.1186/1471-2288-13-91): sums of binomials, without approximation. With groups it is the
    sign test of the sums of groups, which holds if the texts of a group are alike.

    Args:
        gains: for each text or group, how many texts B alone gets right less how many A alone gets right.

    Returns:
        The two-sided mid-p value, with an absolute error below 1e-9; 1 if no gain differs from zero.
    """
    sizes, counts = np.unique(np.abs(gains[gains != 0]), return_counts=True)
    if not len(sizes):
        return 1.0
    # If the models are equally good, each gain might as well be a loss. The transform of the distribution of
    # their sum is a product of cosines.
    period = 1 << (2 * int(sizes @ counts)).bit_length()
    angles = 2 * np.pi / period * np.arange(period // 2 + 1)
    transform = np.ones(len(angles))
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        transform *= np.cos(size * angles) ** count
    chances = np.fft.irfft(transform, period)
    total = abs(int(gains.sum()))
    p = 2 * chances[total : period // 2].sum() - chances[total] if total else 1 - chances[0] / 2
    return float(np.clip(p, 0.0, 1.0))


def bootstrap_scores(
    truth: Ids | Flags,
    a: Ids | Flags,
    b: Ids | Flags,
    n_classes: int,
    *,
    groups: Ids | None = None,
    seed: int = 0,
    n_resamples: int = N_RESAMPLES,
) -> PairedScores:
    """Compute figures of two models with bootstrap intervals of their differences.

    The intervals are percentiles of paired resamples of the texts, or of groups of texts. Each resample draws
    from these and from two texts more: one that A alone gets right, and one that B alone gets right, of
    classes as frequent as in the truth. Without the two, intervals are too short where models hardly differ.
    They do for the bootstrap what Agresti and Min (doi 10.1002/sim.2020) and Bonett and Price
    (doi 10.3102/1076998611411915) do for paired fractions. ``docs/experiments.md`` has the simulation that
    chose the interval.

    Args:
        truth: ``(N,)`` classes below ``C``, or ``(N, C)`` bool in the multi-label case; at least one text.
        a: the predictions of model A.
        b: those of model B.
        n_classes: ``C``, at least two.
        groups: ``(N,)``, the number of each text's group; None: each text is its own.
        seed: of the resamples. Exchanging A and B changes only the signs of the differences.
        n_resamples: number of resamples.
    """
    differing = np.argwhere(a != b)
    is_swapped = len(differing) > 0 and bool(a[tuple(differing[0])] > b[tuple(differing[0])])
    if is_swapped:
        a, b = b, a
    rng = np.random.default_rng(seed)
    prior, prior_weight = _prior_rows(truth, n_classes, rng), 1.0
    if groups is None:  # texts of one outcome are counted together
        row_bytes = [np.packbits(each, 1) if each.ndim == 2 else each[:, None] for each in (truth, a, b)]
        _, rows, counts = np.unique(np.hstack(row_bytes), axis=0, return_index=True, return_counts=True)
        truth, a, b, units = truth[rows], a[rows], b[rows], np.arange(len(rows))
    else:
        _, units = np.unique(groups, return_inverse=True)
        counts = np.ones(int(units.max()) + 1, dtype=np.int64)
        prior_weight = len(truth) / len(counts)
    n_prior = len(prior[0])
    weights = np.concatenate([np.ones(len(truth)), np.full(n_prior, prior_weight)])
    units = np.concatenate([units, len(counts) + np.arange(n_prior)])
    truth, a, b = (np.concatenate(pair) for pair in zip((truth, a, b), prior, strict=True))  # type: ignore[assignment]
    rows, keys = _count_keys(truth, a, b, n_classes)
    add_up = _adder(units[rows], keys, weights[rows], (len(counts) + n_prior, 4 * n_classes + 3))

    def score(draws: Ids) -> tuple[Array, Array]:
        return _figures(add_up(draws.astype(np.float64)), n_classes)

    (figures,), (class_f1,) = score(np.concatenate([counts, np.zeros(n_prior, dtype=np.int64)])[None])
    chances = np.concatenate([counts, np.full(n_prior, N_PRIOR_ROWS / n_prior)])
    chances /= chances.sum()
    samples = np.empty((n_resamples, len(figures) + n_classes), dtype=np.float32)
    chunk = max(1, _CHUNK // max(len(rows), 8 * n_classes))
    for start in range(0, n_resamples, chunk):
        sample = samples[start : start + chunk]
        scores = np.concatenate(score(rng.multinomial(int(counts.sum()), chances, size=len(sample))), axis=1)
        sample[:] = scores[..., 1] - scores[..., 0]
    observed = np.concatenate([figures, class_f1])
    ends = np.quantile(samples, (0.025, 0.975), axis=0).astype(np.float64).T
    if is_swapped:
        observed, ends = observed[:, ::-1], -ends[:, ::-1]
    pairs = zip(observed.tolist(), ends.tolist(), strict=True)
    differences = [Difference(of_a, of_b, (low, high)) for (of_a, of_b), (low, high) in pairs]
    named = dict(zip(_FIGURES[: 1 + truth.ndim], differences, strict=False))
    return PairedScores(named, tuple(differences[len(_FIGURES) :]))


def _prior_rows(truth: Ids | Flags, n_classes: int, rng: np.random.Generator) -> tuple[Ids | Flags, ...]:
    """Truth, A and B of texts that one model alone gets right; the other takes them for another class."""
    classes = np.sort(truth) if truth.ndim == 1 else np.sort(np.nonzero(truth)[1])
    if not len(classes):
        classes = np.arange(n_classes)
    right = classes[(2 * np.arange(_N_PRIOR_OUTCOMES) + 1) * len(classes) // (2 * _N_PRIOR_OUTCOMES)]
    first, last = (np.searchsorted(classes, right, side) for side in ("left", "right"))
    place = (rng.random(len(right)) * (len(classes) - last + first)).astype(np.int64)
    place += np.where(place >= first, last - first, 0)
    is_alone = last - first == len(classes)
    wrong = np.where(is_alone, (right + 1) % n_classes, classes[np.minimum(place, len(classes) - 1)])
    rows = [np.concatenate(pair) for pair in ((right, right), (wrong, right), (right, wrong))]
    return tuple(rows if truth.ndim == 1 else [each[:, None] == np.arange(n_classes) for each in rows])


def _count_keys(truth: Ids | Flags, a: Ids | Flags, b: Ids | Flags, n_classes: int) -> tuple[Ids, Ids]:
    """The entries of a sparse table of counts, by column: the row of each, and its column.

    The columns are, for A and B: right decisions of each class, true and predicted decisions of each class,
    right rows; then all rows.
    """
    entries = []
    for model, predicted in enumerate((a, b)):
        is_hit = truth & predicted if truth.ndim == 2 else truth == predicted
        hits = np.nonzero(is_hit) if truth.ndim == 2 else (np.flatnonzero(is_hit), truth[is_hit])
        for block, decisions in (
            (model, hits),
            (2 + model, _decisions(truth)),
            (2 + model, _decisions(predicted)),
        ):
            entries.append((decisions[0], decisions[1] + block * n_classes))
        is_right = (truth == predicted).reshape(len(truth), -1).all(axis=1)
        rows = np.flatnonzero(is_right)
        entries.append((rows, np.full(len(rows), 4 * n_classes + model)))
    entries.append((np.arange(len(truth)), np.full(len(truth), 4 * n_classes + 2)))
    rows, keys = (np.concatenate(column) for column in zip(*entries, strict=True))
    order = np.argsort(keys, kind="stable")
    return rows[order], keys[order]


def _decisions(labels: Ids | Flags) -> tuple[Ids, Ids]:
    rows, classes = np.nonzero(labels) if labels.ndim == 2 else (np.arange(len(labels)), labels)
    return rows.astype(np.int64), classes.astype(np.int64)


def _adder(units: Ids, keys: Ids, values: Array, shape: tuple[int, int]) -> Callable[[Array], Array]:
    """A function that multiplies ``(R, U)`` draws with a sparse ``(U, K)`` table."""
    if shape[0] * shape[1] <= _MAX_TABLE:
        table = np.bincount(units * shape[1] + keys, values, shape[0] * shape[1]).reshape(shape)
        return lambda draws: draws @ table
    present, starts = np.unique(keys, return_index=True)

    def add_up(draws: Array) -> Array:
        sums = np.zeros((len(draws), shape[1]))
        sums[:, present] = np.add.reduceat(draws[:, units] * values, starts, axis=1)
        return sums

    return add_up


def _figures(sums: Array, n_classes: int) -> tuple[Array, Array]:
    """Accuracy, macro-F1 and micro-F1, ``(R, 3, 2)``, and the F1 of classes, ``(R, C, 2)``, of A and B."""
    correct, decided = sums[:, : 4 * n_classes].reshape(len(sums), 2, 2, n_classes).transpose(1, 0, 2, 3)
    f1 = 2 * correct / np.maximum(decided, 1e-9)
    figures = (
        sums[:, -3:-1] / sums[:, -1:],
        f1.sum(axis=2) / np.maximum((decided > 0).sum(axis=2), 1),
        2 * correct.sum(axis=2) / np.maximum(decided.sum(axis=2), 1e-9),
    )
    return np.stack(figures, axis=1), f1.transpose(0, 2, 1)
