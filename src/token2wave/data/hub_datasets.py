"""Data sets of the Hugging Face hub, through the package ``datasets`` (extra ``hub``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from token2wave.data.texts import SPLIT_STEMS, TextSplit
from token2wave.data.values import (
    Origin,
    checked_label_sets,
    checked_labels,
    checked_texts,
    checked_weights,
    has_label_sets,
    join_names,
)
from token2wave.errors import DataError, MissingExtraError, place
from token2wave.options import DataOptions


@dataclass(frozen=True)
class HubSource:
    """A data set of the hub that has been fetched.

    Attributes:
        name: its name there, ``owner/name``.
        parts: the splits it has, by our names for them, as ``datasets.Dataset``.
        label_names: the names of the classes, if the label column is a ``ClassLabel``.
        caveats: sentences that have to stand beside every figure.
    """

    name: str
    parts: dict[str, Any]
    label_names: tuple[str, ...] | None
    caveats: tuple[str, ...]

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits there are, by our names for them."""
        return tuple(self.parts)

    def read(self, split: str, options: DataOptions, label_names: Sequence[str] | None = None) -> TextSplit:
        """Read one split.

        Args:
            split: one of ``splits``.
            options: the columns, and how labels are written.
            label_names: the names of the classes, if the data set itself has none.

        Raises:
            DataError: a column is missing, or a text or label cannot be used.
        """
        source = f"{self.name} ({split})"
        part = self.parts[split]
        values = _column(part, options.text_column, source)
        labels = _column(part, options.label_column, source)
        texts = checked_texts(values, Origin(source, options.text_column))
        origin, names = Origin(source, options.label_column), self.label_names or label_names
        if has_label_sets(labels, source, options):
            checked: Sequence[str] | Sequence[tuple[str, ...]]
            checked = checked_label_sets(labels, origin, names, options.label_separator)
        else:
            checked = checked_labels(labels, origin, names)
        if (name := options.weight_column) is None:
            return TextSplit(texts, checked, source)
        weights = checked_weights(_column(part, name, source), Origin(source, name))
        return TextSplit(texts, checked, source, weights)


def fetch(name: str, label_column: str) -> HubSource:
    """Fetch a data set from the hub, or from its cache on this machine.

    A test split whose labels are all -1, which is how the hub hides them, is left out with a caveat.

    Args:
        name: ``owner/name``, or a bare ``name``.
        label_column: the column of the labels.

    Raises:
        MissingExtraError: the package ``datasets`` is not installed.
        DataError: it cannot be fetched, or has no split that we know.
    """
    try:
        import datasets
    except ImportError as error:
        purpose = f"{name!r} is not a file or folder here; fetching it from the Hugging Face hub"
        raise MissingExtraError("datasets", "hub", purpose=purpose) from error
    try:
        fetched: dict[str, Any] = dict(datasets.load_dataset(name))
    except Exception as error:  # network, authorisation, configuration, code of the data set: no common base
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise DataError(
            f"cannot be fetched from the Hugging Face hub ({reason})",
            location=name,
            hint="check the name and the network, or save the data as files and name their folder",
        ) from error
    parts = {split: fetched[s] for split, stems in SPLIT_STEMS.items() for s in stems if s in fetched}
    if not parts:
        raise DataError(
            f"expected a split 'train', got {join_names(fetched)}", location=name, hint="use another data set"
        )
    first = next(iter(parts.values()))
    kind = first.features.get(label_column)
    names = getattr(kind, "names", None) or getattr(getattr(kind, "feature", None), "names", None)
    caveats: tuple[str, ...] = ()
    if "test" in parts and names and all(label == -1 for label in _column(parts["test"], label_column, name)):
        del parts["test"]
        caveats = (f"{name}: the labels of its test split are not public, so it has no test split here",)
    return HubSource(name, parts, tuple(names) if names else None, caveats)


def _column(part: Any, name: str, source: str) -> list[object]:
    if name not in part.column_names:
        raise DataError(
            f"there is no column {name!r}; the columns are {join_names(part.column_names)}",
            location=place(source),
            hint="name one of them with --text-column or --label-column",
        )
    return list(part[name])
