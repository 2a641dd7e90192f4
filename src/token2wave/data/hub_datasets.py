"""Fetches data sets from the Hugging Face hub, through the package ``datasets`` (extra ``hub``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from token2wave.data.texts import SPLIT_STEMS, TextSplit
from token2wave.data.values import Column, column_index, join_names
from token2wave.errors import DataError, import_extra
from token2wave.options import DataOptions


@dataclass(frozen=True)
class HubDataset:
    """A data set that has been fetched from the hub.

    Attributes:
        name: its name there, ``owner/name``.
        splits: by our names for them, as ``datasets.Dataset``.
        label_names: the names of the classes, if the label column is a ``ClassLabel``.
        caveats: sentences to print beside every figure.
    """

    name: str
    splits: dict[str, Any]
    label_names: tuple[str, ...] | None
    caveats: tuple[str, ...]
    incomplete: ClassVar[frozenset[str]] = frozenset()  # the hub does not tell

    def read(self, split: str, options: DataOptions, label_names: Sequence[str] | None = None) -> TextSplit:
        """Read a split; see :func:`token2wave.data.read_labelled`."""
        source, rows = f"{self.name} ({split})", self.splits[split]
        texts, labels = (_column(rows, name, source) for name in (options.text_column, options.label_column))
        optional = options.weight_column, options.group_column
        weights, groups = (None if name is None else _column(rows, name, source) for name in optional)
        if names := self.label_names:
            labels = replace(labels, values=[_decode(value, names) for value in labels.values])
        label_names = self.label_names or label_names
        return TextSplit.from_columns(texts, labels, weights, options, label_names, groups)


def fetch(name: str, label_column: str) -> HubDataset:
    """Fetch a data set from the hub, or from its cache on this machine.

    A test split whose labels are all -1, which is how the hub hides them, is left out with a caveat.

    Raises:
        MissingExtraError: the package ``datasets`` is not installed.
        DataError: it cannot be fetched, or has no split that we know.
    """
    purpose = f"{name!r} is not a file or folder here; fetching it from the Hugging Face hub"
    with import_extra("hub", purpose):
        import datasets
    try:
        fetched: dict[str, Any] = dict(datasets.load_dataset(name))
    except Exception as error:  # network, authorisation, configuration, code of the data set: no common base
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise DataError(
            f"cannot be fetched from the Hugging Face hub ({reason})",
            location=name,
            hint="check the name and the network, or save the data as files and name their folder",
        ) from error
    splits = {split: fetched[s] for split, stems in SPLIT_STEMS.items() for s in stems if s in fetched}
    if not splits:
        raise DataError(
            f"expected a split 'train', found {join_names(fetched)}",
            location=name,
            hint="use another data set",
        )
    feature = next(iter(splits.values())).features.get(label_column)
    names = getattr(feature, "names", None) or getattr(getattr(feature, "feature", None), "names", None)
    caveats: tuple[str, ...] = ()
    hidden = names and "test" in splits and all(label == -1 for label in splits["test"][label_column])
    if hidden:
        del splits["test"]
        caveats = (f"{name}: the labels of its test split are not public, so it has no test split here",)
    return HubDataset(name, splits, tuple(names) if names else None, caveats)


def _decode(value: Any, names: Sequence[str]) -> Any:
    """Replace indices of classes by their names."""
    if isinstance(value, list):
        return [_decode(each, names) for each in value]
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else value


def _column(rows: Any, name: str, source: str) -> Column:
    column_index(source, rows.column_names, name)
    return Column(list(rows[name]), source, name)
