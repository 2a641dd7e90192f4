"""What checks look at, and what they find."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.data import TextSplit
from token2wave.data.duplicates import group_duplicates
from token2wave.features.hashed_texts import HashedTexts
from token2wave.training.label_quality import LabelQuality

MAX_EXAMPLES = 5
MAX_EXAMPLE_CHARACTERS = 500
ERROR, WARNING, INFO = SEVERITIES = ("error", "warning", "info")

Labels = tuple[str, ...]


@dataclass(frozen=True)
class AuditRows:
    """The rows of an audit, and what several checks need.

    Attributes:
        rows: ``N`` training rows, with all columns of their source.
        test: rows of a test set, if there is one.
        label_names: the classes.
        quality: predictions by models that have not seen the row; None if none could be trained.
        group_column: the column of groups that the user named.
    """

    rows: TextSplit
    test: TextSplit | None
    label_names: tuple[str, ...]
    quality: LabelQuality | None
    group_column: str | None = None

    @cached_property
    def label_sets(self) -> list[Labels]:
        """The labels of each row, in one order."""
        return [tuple(sorted(labels)) for labels in self.rows.label_sets]

    @cached_property
    def counts(self) -> Counter[str]:
        """How many rows have each label."""
        return Counter(label for labels in self.label_sets for label in labels)

    @cached_property
    def all_texts(self) -> HashedTexts:
        """The texts of the rows, then those of the test rows, hashed once."""
        return HashedTexts([*self.rows.texts, *(() if self.test is None else self.test.texts)])

    @cached_property
    def same(self) -> NDArray[np.int64]:
        """For each of :attr:`all_texts` the first one that is the same."""
        return group_duplicates(self.all_texts, near=False)

    @cached_property
    def alike(self) -> NDArray[np.int64]:
        """For each of :attr:`all_texts` the first one that is the same or nearly the same."""
        return group_duplicates(self.all_texts)


class Match(NamedTuple):
    """Something that a check has found.

    Attributes:
        rows: indices of training rows.
        detail: a few words, where the rows do not say it all.
        test_rows: indices of test rows.
        hidden: pieces of the text that must not be shown.
    """

    rows: tuple[int, ...]
    detail: str = ""
    test_rows: tuple[int, ...] = ()
    hidden: tuple[str, ...] = ()


class Check(NamedTuple):
    """A question to the rows.

    Attributes:
        name: a short name, which programs may rely on.
        title: what is wrong.
        severity: one of :data:`SEVERITIES`.
        hint: what to do.
        find: looks for it; the gravest matches come first.
    """

    name: str
    title: str
    severity: str
    hint: str
    find: Callable[[AuditRows], Sequence[Match]]

    def run(self, rows: AuditRows, max_rows: int) -> Finding:
        """Look, and describe what there is as plain data, with at most so many rows."""
        matches = self.find(rows)
        first_matches = [match for match in matches if match.rows or match.test_rows][:max_rows]
        document = {
            "name": self.name,
            "title": self.title,
            "severity": self.severity,
            "count": len(matches),
            "hint": self.hint,
            "rows": [_row_numbers(rows, match) for match in first_matches],
            "examples": [example for match in matches[:MAX_EXAMPLES] for example in _examples(rows, match)],
        }
        return Finding(document, matches)


class Finding(NamedTuple):
    """A check's result as plain data, and all its matches."""

    document: dict[str, Any]
    matches: Sequence[Match]


def _row_numbers(rows: AuditRows, match: Match) -> int | list[int]:
    """The numbers of a match's rows in their sources; a single one without a list."""
    numbers = [rows.rows.row(index) for index in match.rows]
    if rows.test is not None:
        numbers += [rows.test.row(index) for index in match.test_rows]
    return numbers[0] if len(numbers) == 1 else numbers


def _examples(rows: AuditRows, match: Match) -> list[dict[str, Any]]:
    """The first rows of a match, or its detail alone if it has no rows."""
    places = [("train", rows.rows, index) for index in match.rows[:2]]
    if rows.test is not None:
        places += [("test", rows.test, index) for index in match.test_rows[:1]]
    if not places:
        return [{"row": None, "text": "", "label": None, "detail": match.detail}]
    examples = []
    for split, source, index in places[:2] if len(match.test_rows) == 0 else places[:1] + places[-1:]:
        text, label = source.texts[index], source.labels[index]
        for secret in match.hidden:
            text = text.replace(secret, "\N{BULLET}" * 3)
        examples.append(
            {
                "row": source.row(index),
                "split": split,
                "text": text[:MAX_EXAMPLE_CHARACTERS],
                "label": label if isinstance(label, str) else list(label),
                "detail": match.detail,
            }
        )
    return examples
