"""What every study has: data that it measures, and tables and figures that come from that data alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from token2wave.data import TextDataset

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from paper.result_store import ResultStore
    from paper.study_data import StudyData

Document = dict[str, Any]
"""What a study measured: plain data that JSON can hold."""


@dataclass(frozen=True)
class Options:
    """What a study is run on.

    Attributes:
        data: name, file or folder of a data set, or texts in memory.
        quick: a miniature of the study, on few rows.
        seeds: of the networks.
        loaded: data that was read already, by its numbers of training and test rows.
    """

    data: str | os.PathLike[str] | TextDataset = "ag_news"
    quick: bool = False
    seeds: tuple[int, ...] = (0, 1, 2)
    loaded: dict[tuple[int | None, int | None], StudyData] = field(
        default_factory=dict, compare=False, repr=False
    )

    def load(self, train_rows: int | None = None, test_rows: int | None = None) -> StudyData:
        """Read the data, once for so many rows; see :func:`paper.study_data.study_data`."""
        from paper.study_data import study_data

        rows = (train_rows, test_rows)
        if rows not in self.loaded:
            self.loaded[rows] = study_data(self.data, train_rows=train_rows, test_rows=test_rows)
        return self.loaded[rows]


@dataclass(frozen=True)
class Table:
    """A table of a report.

    Attributes:
        caption: one sentence.
        head: names of the columns.
        rows: the cells, as text.
        n_names: so many first columns hold names, the others numbers.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    n_names: int = 1


@dataclass(frozen=True)
class Drawing:
    """A figure of a report.

    Attributes:
        figure: of matplotlib, in the style of :func:`paper.study_figures.styled`.
        caption: what it shows, with everything needed to read it.
    """

    figure: Figure
    caption: str


@dataclass(frozen=True)
class Study:
    """A study.

    Attributes:
        name: what the command line calls it.
        title: of its section in reports.
        about: a paragraph in plain words: the question, what is measured, definitions and choices.
        measure: gives the document; pieces of work that took long are units of the store.
        tables: of a document.
        drawings: of a document, by file name without ending.
    """

    name: str
    title: str
    about: str
    measure: Callable[[ResultStore, Options], Document]
    tables: Callable[[Document], list[Table]]
    drawings: Callable[[Document], dict[str, Drawing]]
