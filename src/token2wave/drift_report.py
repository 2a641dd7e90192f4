"""Compares new texts with those of training: have they drifted, in what, and what does it cost?"""

from __future__ import annotations

import glob
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from token2wave.classifier import Classifier, load
from token2wave.config import accept_options
from token2wave.data import DataOptions, load_split
from token2wave.data.columns import guess_stream_columns, log_notes
from token2wave.data.datasets import load_texts
from token2wave.data.file_segments import find_inputs, segment_size, segments_of
from token2wave.data.reader import read_segment
from token2wave.data.rows import ROWS_CHUNK
from token2wave.data.sources import is_name, names_files
from token2wave.errors import ConfigError, DataError
from token2wave.formatting import Described, percent, shorten
from token2wave.inference.drift_sums import DriftSums
from token2wave.options import TextOptions
from token2wave.training.callbacks import Callback, CallbackList

LEVEL = 0.01
"""How often one of the tests would find a difference between samples of the same texts."""
MODERATE, LARGE = 0.1, 0.25
"""Bounds of the population stability index; Siddiqi, Credit Risk Scorecards, Wiley 2006."""
MIN_EXPECTED = 5  # texts in each bin of a chi-square test (Cochran, Biometrics 1954); smaller bins are joined
MIN_ROWS = 20
PSEUDO_COUNT = 0.5  # so that the index of an empty bin is finite
MAX_CHUNK = 1 << 20  # probabilities in memory
MAX_CHANGES = 10  # labels that are named
NAMES = {
    "labels": "predicted labels",
    "confidence": "confidence",
    "novelty": "novelty",
    "unknown": "unknown words",
    "words": "length",
}


@dataclass(frozen=True)
class DriftTest:
    """One distribution compared with its reference.

    Attributes:
        name: ``labels``, ``confidence``, ``novelty``, ``unknown`` (the fraction of a text's words and n-grams
            that the model does not know) or ``words`` (length).
        verdict: ``none``, ``moderate`` or ``large``; ``too few`` if there are too few texts to tell.
        psi: population stability index, less what chance alone adds on average.
        p: of a chi-square test, corrected for the number of tests.
    """

    name: str
    verdict: str
    psi: float | None
    p: float | None


@dataclass(frozen=True)
class LabelChange:
    """A label that is predicted more or less often: the fraction of texts in the reference, and now."""

    label: str
    before: float
    now: float


@dataclass(frozen=True, repr=False)
class DriftResult(Described):
    """What :func:`drift` returns.

    Attributes:
        verdict: the largest of ``tests``: ``none``, ``moderate``, ``large``; or ``too few``.
        tests: one a distribution that both sides have.
        changes: labels whose share has changed by more than chance, the largest change first.
        expected_accuracy: mean confidence of the new texts. It is their accuracy as long as the probabilities
            stay calibrated, that is, if words mean the labels that they meant in training.
        reference_accuracy: mean confidence of the reference.
        new: sums over the new texts.
        reference: sums of the reference.
        notes: sentences about the data.
    """

    verdict: str
    tests: tuple[DriftTest, ...]
    changes: tuple[LabelChange, ...]
    expected_accuracy: float
    reference_accuracy: float
    new: DriftSums
    reference: DriftSums
    notes: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """A sentence that says whether the texts have drifted, and in what."""
        rows = f"{self.new.rows:,} texts against {self.reference.rows:,} of the reference"
        if self.verdict == "too few":
            return f"Too few texts to tell: {rows}, at least {MIN_ROWS} are needed."
        if self.verdict == "none":
            return f"No drift: {rows}."
        names = [NAMES[test.name] for test in self.tests if test.verdict == self.verdict]
        return f"{self.verdict.capitalize()} drift of {', '.join(names)}: {rows}."

    def to_dict(self) -> dict[str, Any]:
        """Plain data, which the command line prints as JSON."""
        return {
            **{name: getattr(self, name) for name in ("verdict", "expected_accuracy", "reference_accuracy")},
            **{name: [asdict(each) for each in getattr(self, name)] for name in ("tests", "changes")},
            **{name: getattr(self, name).to_dict() for name in ("new", "reference")},
            "notes": list(self.notes),
        }

    @property
    def facts(self) -> dict[str, str]:
        """What the headline rests on, in words, by name."""
        facts = {}
        for test in self.tests:
            facts[NAMES[test.name]] = test.verdict
            if test.p is not None:
                p = "< 0.0001" if test.p < 1e-4 else f"= {test.p:.4f}"
                facts[NAMES[test.name]] += f" (index {test.psi:.3f}, p {p})"
        changes = [
            f"{shorten(c.label, 30)} {percent(c.before, 1)} -> {percent(c.now, 1)}" for c in self.changes
        ]
        if changes:
            more = ["..."] if len(changes) > MAX_CHANGES else []
            facts["changed labels"] = "; ".join([*changes[:MAX_CHANGES], *more])
        accuracy = f"{percent(self.expected_accuracy, 1)}, reference {percent(self.reference_accuracy, 1)}"
        facts["expected accuracy"] = f"{accuracy}, if words still mean the same labels"
        return facts

    def _describe(self) -> tuple[str, dict[str, str]]:
        notes = {"note" if i == 0 else f"note {i + 1}": note for i, note in enumerate(self.notes)}
        return self.headline, {**self.facts, **notes}


@accept_options(data_options=TextOptions)
def drift(
    model: Classifier | str | os.PathLike[str],
    data: Any,
    *,
    reference: Any = None,
    data_options: TextOptions,
    callbacks: Sequence[Callback] = (),
) -> DriftResult:
    """Compare new texts with those that a model was validated on. Labels are not needed.

    A distribution has drifted if it differs by more than chance (at :data:`LEVEL`, over all tests together)
    and by enough to matter (a population stability index of :data:`MODERATE` or :data:`LARGE`). Of many texts
    every difference is more than chance; of few texts every index is large.

    Args:
        model: the model, or its file.
        data: new texts: files, folders or patterns of any size, as for :func:`token2wave.score`; the name of
            a data set, whose test split is taken; texts in memory; or
            :class:`~token2wave.inference.drift_sums.DriftSums`, such as those of a service.
        reference: what to compare with, as ``data``. By default the sums in the model file, of texts that the
            model has not learnt from.
        data_options: the column of the texts, and how files are written. You give its fields as keyword
            arguments.
        callbacks: receive the progress.

    Raises:
        ConfigError: the model has no reference, and you name none.
        DataError: a file cannot be read, or has no texts.
        ModelFileError: as :func:`token2wave.load`.
    """
    classifier = model if isinstance(model, Classifier) else load(model)
    if reference is None and classifier.drift_reference is None:
        raise ConfigError(
            "expected a model with a drift reference, found one without",
            location="model",
            hint="name old rows that it has not learned from with --reference (in Python reference=), or "
            "train it again on more rows",
        )
    callback_list, notes = CallbackList.with_logging(callbacks), list[str]()
    old, new = (
        side
        if isinstance(side, DriftSums)
        else _sum_data(classifier, side, data_options, callback_list, notes)
        for side in (classifier.drift_reference if reference is None else reference, data)
    )
    return compare_sums(classifier, old, new, tuple(notes), one_sided=reference is None)


def compare_sums(
    classifier: Classifier,
    old: DriftSums,
    new: DriftSums,
    notes: tuple[str, ...] = (),
    *,
    one_sided: bool = False,
) -> DriftResult:
    """Test each distribution of two sums of a classifier's predictions.

    ``one_sided`` says that the old predictions are of a model that has learnt from fewer rows, as those in a
    model file are. The other is surer, and finds texts less novel, so these two changes are no drift.
    """
    n_labels = min(len(old.labels), len(new.labels))
    counts = _fold(old.labels, n_labels), _fold(new.labels, n_labels)
    names = [*classifier.label_names[: n_labels - 1], "other"]
    names = names if n_labels < len(classifier.label_names) else list(classifier.label_names)
    of_labels = [
        _compare((a, max(old.rows - a, 0)), (b, max(new.rows - b, 0))) for a, b in zip(*counts, strict=True)
    ]
    figures = {"labels": _compare(*_sorted_bins(*counts))}
    if classifier.multi_label:  # the counts of a text's labels depend on each other, so each is tested alone
        psi, p = max(psi for psi, _ in of_labels), min(p for _, p in of_labels)
        figures = {"labels": (psi, min(p * n_labels, 1.0))}
    n_rows = {"labels": min(old.rows, new.rows), "confidence": min(old.rows, new.rows)}
    for name in ("confidence", "novelty", "unknown", "words"):
        a, b = getattr(old, name), getattr(new, name)
        n_rows[name] = min(sum(a), sum(b))
        if not n_rows[name] and name != "confidence":
            continue
        figures[name] = _compare(a, b)
        if one_sided and (name, _mean_bin(a) < _mean_bin(b)) in (("confidence", True), ("novelty", False)):
            figures[name] = (0.0, 1.0)
    testable = {name: p for name, (_, p) in figures.items() if n_rows[name] >= MIN_ROWS}
    corrected = _holm(testable)
    tests = tuple(
        DriftTest(name, _verdict(psi, corrected[name]), psi, corrected[name])
        if name in testable
        else DriftTest(name, "too few", None, None)
        for name, (psi, _) in figures.items()
    )
    order = ("too few", "none", "moderate", "large")
    changes = [
        LabelChange(name, a / old.rows, b / new.rows)
        for name, a, b, (_, p) in zip(names, *counts, of_labels, strict=True)
        if "labels" in testable and p * n_labels <= LEVEL
    ]
    return DriftResult(
        max((test.verdict for test in tests), key=order.index),
        tests,
        tuple(sorted(changes, key=lambda change: -abs(change.now - change.before))),
        new.mean_confidence,
        old.mean_confidence,
        new,
        old,
        notes,
    )


# ---- statistics ----


def _compare(old: Sequence[int], new: Sequence[int]) -> tuple[float, float]:
    """The index of two histograms without what chance adds on average, and p of a chi-square test.

    The average is that of Yurdakul and Naranjo, Journal of Risk Model Validation 14(4), 2020.
    """
    n, m = sum(old), sum(new)
    bins = _join_bins(old, new)
    if len(bins) < 2:
        return 0.0, 1.0
    psi = chi_square = 0.0
    size = PSEUDO_COUNT * len(bins)
    for a, b in bins:
        p, q = (a + PSEUDO_COUNT) / (n + size), (b + PSEUDO_COUNT) / (m + size)
        psi += (q - p) * math.log(q / p)
        chi_square += (a * m - b * n) ** 2 / ((a + b) * n * m)
    by_chance = (len(bins) - 1) * (1 / n + 1 / m)
    return max(psi - by_chance, 0.0), _chi_square_tail(chi_square, len(bins) - 1)


def _join_bins(old: Sequence[int], new: Sequence[int]) -> list[tuple[int, int]]:
    """Join neighbouring bins until each is expected to have :data:`MIN_EXPECTED` texts on both sides."""
    n, m = sum(old), sum(new)
    bins, a, b = list[tuple[int, int]](), 0, 0
    for next_a, next_b in zip(old, new, strict=True):
        a, b = a + next_a, b + next_b
        if (a + b) * min(n, m) >= MIN_EXPECTED * (n + m) > 0:
            bins.append((a, b))
            a = b = 0
    if bins:
        bins[-1] = bins[-1][0] + a, bins[-1][1] + b
    return bins


def _mean_bin(histogram: Sequence[int]) -> float:
    return sum(i * n for i, n in enumerate(histogram)) / max(sum(histogram), 1)


def _sorted_bins(old: Sequence[int], new: Sequence[int]) -> tuple[list[int], list[int]]:
    """Sort bins that have no order, the fullest first, so that the rare ones are joined."""
    total_old, total_new = max(sum(old), 1), max(sum(new), 1)
    order = sorted(range(len(old)), key=lambda i: -(old[i] / total_old + new[i] / total_new))
    return [old[i] for i in order], [new[i] for i in order]


def _fold(labels: Sequence[int], n: int) -> Sequence[int]:
    """Count all labels from the ``n``-th on together, as a service with many labels does."""
    return labels if len(labels) == n else (*labels[: n - 1], sum(labels[n - 1 :]))


def _chi_square_tail(value: float, n_free: int) -> float:
    """The probability of a larger chi-square with ``n_free`` degrees of freedom."""
    half = value / 2
    if half <= 0:
        return 1.0
    odd = n_free % 2
    tail = math.erfc(math.sqrt(half)) if odd else 0.0
    exponents = (odd / 2 + i for i in range(n_free // 2))
    return min(tail + sum(math.exp(a * math.log(half) - half - math.lgamma(a + 1)) for a in exponents), 1.0)


def _holm(values: dict[str, float]) -> dict[str, float]:
    """Correct p-values for their number (Holm, Scandinavian Journal of Statistics 1979)."""
    corrected, highest = {}, 0.0
    for i, name in enumerate(sorted(values, key=values.__getitem__)):
        highest = max(highest, min(values[name] * (len(values) - i), 1.0))
        corrected[name] = highest
    return corrected


def _verdict(psi: float, p: float) -> str:
    if p > LEVEL or psi < MODERATE:
        return "none"
    return "moderate" if psi < LARGE else "large"


# ---- data ----


def _sum_data(
    classifier: Classifier, data: Any, options: TextOptions, callback_list: CallbackList, notes: list[str]
) -> DriftSums:
    """Sum the predictions of texts, block by block."""
    sums = DriftSums.empty(len(classifier.label_names))
    n_rows = max(min(ROWS_CHUNK, MAX_CHUNK // len(classifier.label_names)), 1)
    options = options.for_pairs(classifier.is_pairs)
    for texts in _read_blocks(data, options, n_rows, callback_list, notes):
        if texts:
            sums += DriftSums.of_texts(classifier, texts)
    if not sums.rows:
        raise DataError("expected texts, found none", location="data", hint="name other files")
    return sums


def _read_blocks(
    data: Any, options: TextOptions, n_rows: int, callback_list: CallbackList, notes: list[str]
) -> Iterator[list[str]]:
    """Read texts block by block, and note how many rows cannot be read."""
    inputs = [data] if is_name(data) else data if names_files(data) else []
    is_file = any(os.path.exists(name) or glob.has_magic(os.fspath(name)) for name in inputs)
    if not is_file:
        if is_name(data):
            texts = list(load_split(data, "test", DataOptions(**vars(options))).texts)
        else:
            texts = load_texts(data, options, argument="data")
        callback_list.stage("drift", len(texts))
        for first in range(0, len(texts), n_rows):
            yield texts[first : first + n_rows]
            callback_list.advance(len(texts[first : first + n_rows]))
        return
    segments = segments_of(find_inputs(inputs), options=options)
    options, more = guess_stream_columns(segments, options)
    log_notes(more)
    columns = (options.text_column,) if isinstance(options.text_column, str) else options.text_column
    callback_list.stage("drift", sum(map(segment_size, segments)))
    n_rejected = 0
    for segment in segments:
        for block in read_segment(segment, columns, columns, n_rows=n_rows):
            n_rejected += len(block.rejected)
            yield block.values(",".join(columns)) if len(block) else []
        callback_list.advance(segment_size(segment))
    if n_rejected:
        notes.append(f"Rows that cannot be read, and are left out: {n_rejected:,}.")
