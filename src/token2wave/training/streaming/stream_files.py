"""Finds the files of a stream, and the splits beside them that fit into memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from token2wave.data import DataOptions, TextSplit
from token2wave.data.datasets import Files, find_files, load_split
from token2wave.data.file_segments import find_inputs

StreamedData = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass(frozen=True)
class StreamFiles:
    """The files of a stream.

    Attributes:
        name: of the data.
        paths: files with the training rows.
        label_names: the names of the classes, if the data states them.
        validation: the validation rows, if the data has such a split.
        test: the test rows, if there are any.
        caveats: sentences to print beside every figure.
        files: the data set, if the stream is one.
        has_other_test: whether the test rows come from other data.
    """

    name: str
    paths: list[Path]
    label_names: tuple[str, ...] | None
    validation: TextSplit | None
    test: TextSplit | None
    caveats: tuple[str, ...]
    files: Files | None = None
    has_other_test: bool = False

    def caveats_of(self, n_rows: int) -> list[str]:
        """Sentences to print beside every figure.

        Args:
            n_rows: rows of the stream.
        """
        caveats = list(self.caveats)
        if self.files is not None:
            counts = {"train": n_rows}
            counts |= {} if self.validation is None else {"validation": len(self.validation)}
            counts |= {} if self.test is None or self.has_other_test else {"test": len(self.test)}
            for split, n in counts.items():
                caveats += self.files.incomplete_caveats(split, n)
        return caveats


def find_stream_files(
    data: StreamedData, test: str | os.PathLike[str] | None, options: DataOptions
) -> StreamFiles:
    """Find the files of a stream.

    Args:
        data: a file, a pattern, or several of them; a folder with a file ``train``, or the name of a data
            set, of which validation and test rows are then used, too; or another folder, with all its files.
        test: rows to report on; see :func:`token2wave.data.load_split`.
        options: the columns, and how labels are written.

    Raises:
        DataError: there is no such file, or rows beside the stream cannot be read.
    """
    unweighted = replace(options, weight_column=None)
    path = data if isinstance(data, str | os.PathLike) else None
    named = None if path is None else find_files(path)
    if named is None or path is None:
        paths = find_inputs([data] if isinstance(data, str | os.PathLike) else list(data))
        name = paths[0].name.split(".")[0]
        name = name if len(paths) == 1 else f"{name} and {len(paths) - 1} more files"
        test_rows = None if test is None else load_split(test, "test", unweighted)
        return StreamFiles(name, paths, None, None, test_rows, (), None, test is not None)

    def read(where: str | os.PathLike[str], split: str) -> TextSplit:
        return load_split(where, split, unweighted, label_names=named.label_names)

    validation = read(path, "validation") if "validation" in named.files else None
    test_rows = (
        read(path if test is None else test, "test") if test is not None or "test" in named.files else None
    )
    return StreamFiles(
        named.name,
        [named.files["train"]],
        named.label_names,
        validation,
        test_rows,
        named.caveats,
        named,
        test is not None,
    )
