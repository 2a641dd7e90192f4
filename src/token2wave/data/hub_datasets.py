"""Fetches data sets from the Hugging Face hub, through the package ``datasets`` (extra ``hub``)."""

from __future__ import annotations

from typing import Any

from token2wave.data.sources import MemoryDataset, memory_dataset
from token2wave.data.texts import SPLIT_STEMS
from token2wave.data.values import join_names
from token2wave.errors import DataError, import_extra
from token2wave.options import DataOptions


def fetch(name: str, options: DataOptions) -> MemoryDataset:
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
    if not any(split in fetched for stems in SPLIT_STEMS.values() for split in stems):
        raise DataError(
            f"expected a split 'train', found {join_names(fetched)}",
            location=name,
            hint="use another data set",
        )
    return memory_dataset(fetched, options=options, name=name)
