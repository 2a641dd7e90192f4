"""Looks for the same or nearly the same text in several rows, and for columns that group rows."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from token2wave.auditing.findings import AuditRows, Match
from token2wave.data.values import quote
from token2wave.formatting import percent

MIN_GROUPS = 5
MIN_ROWS_A_GROUP = 1.5
MIN_GAIN = 0.05
"""Labels that a column must predict beyond the most frequent label, to be worth a word."""
MIN_STANDARD_ERRORS = 4.0

Rows = NDArray[np.int64]


def find_contradictions(rows: AuditRows) -> list[Match]:
    """The same text with another label, then nearly the same text."""
    groups: dict[str, list[tuple[int, ...]]] = {"the same text": [], "nearly the same text": []}
    seen: set[int] = set()
    for detail, first in (("the same text", rows.same), ("nearly the same text", rows.alike)):
        for members in _groups(first[: len(rows.rows)]):
            if len({rows.label_sets[row] for row in members}) > 1 and seen.isdisjoint(members):
                groups[detail].append(members)
                seen.update(members)
    return [Match(members, detail) for detail, of in groups.items() for members in of]


def find_duplicates(rows: AuditRows) -> list[Match]:
    """The same text more than once, the most frequent first."""
    return [Match(members) for members in _largest_first(_groups(rows.same[: len(rows.rows)]))]


def find_near_duplicates(rows: AuditRows) -> list[Match]:
    """Groups of nearly the same texts that are not all the same, the largest first."""
    same, alike = rows.same[: len(rows.rows)], rows.alike[: len(rows.rows)]
    groups = [members for members in _groups(alike) if len(set(same[list(members)].tolist())) > 1]
    return [Match(members) for members in _largest_first(groups)]


def find_leaks(rows: AuditRows) -> list[Match]:
    """Test rows whose text, or nearly that text, is among the training rows."""
    n = len(rows.rows)
    matches: list[Match] = []
    leaked: set[int] = set()
    for detail, first in (("the same text", rows.same), ("nearly the same text", rows.alike)):
        training: dict[int, int] = {}
        for row, group in enumerate(first[:n].tolist()):
            training.setdefault(group, row)
        for test_row, group in enumerate(first[n:].tolist()):
            if group in training and test_row not in leaked:
                matches.append(Match((training[group],), detail, (test_row,)))
                leaked.add(test_row)
    return matches


def find_groups(rows: AuditRows) -> list[Match]:
    """Columns whose values are shared by rows, and predict the label of other rows of the value."""
    table = rows.rows.table
    if table is None or rows.group_column is not None:
        return []
    labels = _numbers(rows.label_sets)
    n, majority = len(labels), float(np.bincount(labels).max() / len(labels)) if len(labels) else 0.0
    gains: list[tuple[float, Match]] = []
    for name, values in table.columns.items():
        if name in (*table.text_columns, table.label_column):
            continue
        groups = _numbers([str(value) for value in values])
        n_groups = int(groups.max(initial=-1)) + 1
        if n_groups < MIN_GROUPS or n < MIN_ROWS_A_GROUP * n_groups:
            continue
        accuracy = _accuracy_from_others(groups, labels)
        error = math.sqrt(max(majority * (1 - majority), 1 / n) / n)
        if accuracy - majority < max(MIN_GAIN, MIN_STANDARD_ERRORS * error):
            continue
        largest = np.flatnonzero(groups == np.bincount(groups).argmax())
        detail = (
            f"column {quote(name)}, {n_groups:,} values: the label of other rows of the same value is right "
            f"for {percent(accuracy, 0)} of the rows, the most frequent label for {percent(majority, 0)}"
        )
        gains.append((accuracy, Match(tuple(largest.tolist()), detail)))
    return [match for _, match in sorted(gains, key=lambda gain: -gain[0])]


def _accuracy_from_others(groups: Rows, labels: Rows) -> float:
    """Accuracy of the most frequent label among the other rows of a row's group.

    A row without others gets the most frequent label of all. Ties count as wrong for both, so chance is not
    overrated.
    """
    n_labels = int(labels.max(initial=0)) + 1
    pairs, inverse, counts = np.unique(groups * n_labels + labels, return_inverse=True, return_counts=True)
    group_of_pair = pairs // n_labels
    best = np.zeros(int(groups.max(initial=0)) + 1, dtype=np.int64)
    np.maximum.at(best, group_of_pair, counts)
    is_best = counts == best[group_of_pair]
    n_best = np.bincount(group_of_pair, is_best, len(best)).astype(np.int64)
    runner_up = np.zeros_like(best)
    np.maximum.at(runner_up, group_of_pair[~is_best], counts[~is_best])
    runner_up = np.where(n_best > 1, best, runner_up)[groups]
    own = counts[inverse]
    is_alone = np.bincount(groups)[groups] == 1
    right = np.where(is_alone, labels == np.bincount(labels).argmax(), own - 1 > runner_up)
    is_top = own == best[groups]
    return float((right & (is_top | is_alone)).mean()) if len(labels) else 0.0


def _numbers(values: Sequence[object]) -> Rows:
    """Number values in the order in which they appear."""
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)


def _groups(first: Rows) -> Iterator[tuple[int, ...]]:
    """Rows that share a first row, where there are several."""
    counts = Counter(first.tolist())
    members = defaultdict(list)
    for row, group in enumerate(first.tolist()):
        if counts[group] > 1:
            members[group].append(row)
    return map(tuple, members.values())


def _largest_first(groups: Iterator[tuple[int, ...]] | list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    return sorted(groups, key=len, reverse=True)
