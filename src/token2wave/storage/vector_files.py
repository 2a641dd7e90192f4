"""Writes vectors of texts as ``.npy``, or beside the columns of a table as ``.parquet``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.errors import ConfigError, import_extra
from token2wave.storage.atomic import atomic_write

SUFFIXES = (".npy", ".parquet")


def require_vector_name(path: Path) -> None:
    """Raise a ConfigError unless the name is that of a file of vectors; an extra must be there, too."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        problem = f"expected a name that ends in {' or '.join(SUFFIXES)}, found {path.name!r}"
        raise ConfigError(problem, location=str(path), hint=f"for example {path.with_suffix('.npy').name}")
    if suffix == ".parquet":
        with import_extra("parquet", f"writing {path}", "pyarrow"):
            import pyarrow  # noqa: F401


def write_vectors(
    path: Path, vectors: NDArray[np.float32], columns: Mapping[str, Sequence[object]] | None = None
) -> None:
    """Write vectors ``(N, W)``.

    Args:
        path: ``.npy`` holds the array alone. ``.parquet`` holds the columns, and the vectors as the last one,
            ``vector``, a list of ``W`` float32.
        vectors: ``(N, W)`` float32.
        columns: of Parquet, ``N`` values each.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_write(path) as temporary:
        if path.suffix.lower() == ".npy":
            with temporary.open("wb") as file:
                np.save(file, vectors, allow_pickle=False)
        else:
            _write_parquet(temporary, vectors, columns or {})


def _write_parquet(path: Path, vectors: NDArray[np.float32], columns: Mapping[str, Sequence[object]]) -> None:
    import pyarrow
    from pyarrow import parquet

    name = "vector"
    while name in columns:
        name = f"text_{name}"
    arrays = {_unicode(key): _to_arrow(values) for key, values in columns.items()}
    arrays[name] = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(vectors.ravel()), vectors.shape[1])
    parquet.write_table(pyarrow.table(arrays), path)


def _to_arrow(values: Sequence[object]) -> Any:
    """A column as Arrow can hold it: as strings, if its values have no common type."""
    import pyarrow

    try:
        return pyarrow.array(values)
    except (pyarrow.ArrowException, TypeError, ValueError, OverflowError):
        return pyarrow.array([None if value is None else _unicode(str(value)) for value in values])


def _unicode(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
