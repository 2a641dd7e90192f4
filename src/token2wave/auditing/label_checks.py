"""Looks for odd labels: variants, rare classes, and classes that models cannot recognise or tell apart."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

import numpy as np
from numpy.typing import NDArray

from token2wave.auditing.findings import AuditRows, Match
from token2wave.data.labels import is_null, label_key
from token2wave.data.values import quote
from token2wave.training.label_quality import LabelQuality

MIN_CLASS_ROWS = 10
MIN_JUDGED_ROWS = 5  # of a class, of which some text should be recognised
MAX_PAIRS = 1_000  # of classes, those that are confused most
MAX_AREA = 0.75
"""Area under the curve that two classes which can hardly be told apart may reach: 0.5 is chance."""
STANDARD_ERRORS = 1.96


def find_variants(rows: AuditRows) -> list[Match]:
    """Labels that differ only in case, blanks or Unicode form, and labels like NULL."""
    variants = defaultdict(list)
    for label in rows.counts:
        variants[label_key(label)].append(label)
    groups = [sorted(names, key=lambda name: -rows.counts[name]) for names in variants.values() if names[1:]]
    groups += [[label] for label in rows.counts if is_null(label)]
    return [
        Match(
            (),
            ", ".join(
                f"{ascii(name) if len(names) > 1 else quote(name)} ({rows.counts[name]:,})" for name in names
            ),
        )
        for names in groups
    ]


def find_rare(rows: AuditRows) -> list[Match]:
    """Classes of few rows, the rarest first."""
    rare = sorted((count, label) for label, count in rows.counts.items() if count < MIN_CLASS_ROWS)
    members = _rows_of(rows, {label for _, label in rare})
    return [Match(tuple(members[label]), f"{quote(label)}: {count:,} rows") for count, label in rare]


def find_confused(rows: AuditRows) -> list[Match]:
    """Pairs of classes that the models tell apart no better, or hardly better, than chance.

    The probabilities of the two classes rank the rows of both. The interval of the area under that curve
    (Hanley and McNeil, 1982) ends below `MAX_AREA`; where it holds 0.5, they are no better than chance.
    """
    quality = rows.quality
    if quality is None or quality.labels.ndim == 2:
        return []
    labels, predicted = quality.labels, quality.probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    pairs = Counter(
        zip(
            np.minimum(labels, predicted)[wrong].tolist(),
            np.maximum(labels, predicted)[wrong].tolist(),
            strict=True,
        )
    )
    matches = []
    for (first, second), _ in pairs.most_common(MAX_PAIRS):
        members = np.flatnonzero((labels == first) | (labels == second))
        is_second = labels[members] == second
        n_second, n_first = int(is_second.sum()), int((~is_second).sum())
        if min(n_first, n_second) < MIN_CLASS_ROWS:
            continue
        p = np.maximum(quality.probabilities[members][:, [first, second]], 1e-300)
        area = _area_under_curve(np.log(p[:, 1]) - np.log(p[:, 0]), is_second)
        error = _standard_error(area, n_second, n_first)
        if area + STANDARD_ERRORS * error > MAX_AREA:
            continue
        chance = "no" if area - STANDARD_ERRORS * error <= 0.5 else "hardly"
        names = f"{quote(quality.label_names[first])} and {quote(quality.label_names[second])}"
        detail = f"{names}: {chance} better than chance, the right one wins in {area:.0%} of pairs of texts"
        confused = members[predicted[members] != labels[members]]
        matches.append((area, Match(tuple(confused.tolist()), detail)))
    return [match for _, match in sorted(matches, key=lambda entry: entry[0])]


def find_unrecognised(rows: AuditRows) -> list[Match]:
    """Classes of several rows, no text of which the models recognise."""
    quality = rows.quality
    if quality is None:
        return []
    labels_given, recognised = decisions_of(quality)
    n_rows, n_right = labels_given.sum(axis=0), (labels_given & recognised).sum(axis=0)
    lost = np.flatnonzero((n_rows >= MIN_JUDGED_ROWS) & (n_right == 0))
    return [
        Match(
            tuple(np.flatnonzero(labels_given[:, c]).tolist()),
            f"{quote(quality.label_names[c])}: none of {n_rows[c]:,} texts is recognised",
        )
        for c in lost[np.argsort(-n_rows[lost], kind="stable")].tolist()
    ]


def decisions_of(quality: LabelQuality) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The labels given, and those that the models would give, ``(N, C)`` bool."""
    if quality.labels.ndim == 2:
        thresholds = np.array([classifier.thresholds for classifier in quality.classifiers])
        return quality.labels, quality.probabilities >= thresholds[quality.fold]
    classes = np.arange(len(quality.label_names))
    return quality.labels[:, None] == classes, quality.probabilities.argmax(axis=1)[:, None] == classes


def _area_under_curve(scores: NDArray[np.float64], is_positive: NDArray[np.bool_]) -> float:
    """Probability that a positive has a higher score than a negative; ties count half."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    n_positive = int(is_positive.sum())
    n_negative = len(scores) - n_positive
    return float((ranks[is_positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def _standard_error(area: float, n_positive: int, n_negative: int) -> float:
    """Standard error of the area (Hanley and McNeil, 1982)."""
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (n_positive - 1) * (q1 - area**2) + (n_negative - 1) * (q2 - area**2)
    return math.sqrt(max(variance, 0) / (n_positive * n_negative))


def _rows_of(rows: AuditRows, labels: set[str]) -> dict[str, list[int]]:
    members: dict[str, list[int]] = {label: [] for label in labels}
    for row, own in enumerate(rows.label_sets):
        for label in labels.intersection(own) if labels else ():
            members[label].append(row)
    return members
