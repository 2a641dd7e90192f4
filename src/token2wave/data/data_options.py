"""The options that say how texts and labels are read from a file, a data set or a stream."""

from __future__ import annotations

from dataclasses import dataclass

from token2wave.errors import ConfigError


@dataclass(frozen=True)
class DataOptions:
    """Where texts, labels and weights stand in the data, and how a text's labels are written.

    Attributes:
        text_column: the column of the texts, in formats with columns.
        label_column: the column of the labels, in formats with columns. In fastText files the labels stand in
            the lines.
        weight_column: the column that says how much each training text counts, if there is one. fastText
            files have none.
        multi_label: whether a text may have several labels, or none. None leaves it to the data: lists of
            labels say so, and so do several labels on a line of fastText.
        label_separator: what separates the labels of a text in one string, as in CSV. A text may then have
            several labels, or none. fastText files ignore it.

    Raises:
        ConfigError: texts and labels come from the same column, or the separator is empty.
    """

    text_column: str = "text"
    label_column: str = "label"
    weight_column: str | None = None
    multi_label: bool | None = None
    label_separator: str | None = None

    def __post_init__(self) -> None:
        if self.text_column == self.label_column:
            raise ConfigError(
                f"expected two columns, found {self.text_column!r} for both texts and labels",
                location="label_column",
                hint="name the column of the labels with --label-column",
            )
        if self.label_separator == "":
            raise ConfigError(
                "expected a character or more, found an empty separator",
                location="label_separator",
                hint="name what separates the labels of a text, e.g. --label-separator '|'",
            )
