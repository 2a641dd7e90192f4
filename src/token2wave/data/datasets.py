"""Finds a data set by path or by name, and reads its splits."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from token2wave.config import require_choice
from token2wave.data.file_segments import stem, suffixes
from token2wave.data.hub_datasets import fetch
from token2wave.data.lines import cannot_read, did_you_mean, open_binary
from token2wave.data.objects import to_pairs, to_texts
from token2wave.data.sources import MemoryDataset, is_name, memory_dataset
from token2wave.data.text_files import read_labelled, read_texts
from token2wave.data.texts import SPLIT_STEMS, TextDataset, TextSplit
from token2wave.data.values import join_names, quote
from token2wave.errors import ConfigError, DataError
from token2wave.options import DataOptions, TextOptions

_BUILT_IN = Path(__file__).parent / "corpus"
_FOLDER_VARIABLE = "TOKEN2WAVE_DATA"
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class DatasetFiles:
    """A data set on disk: one file, or a folder with one file for each split.

    Attributes:
        name: of the data set.
        splits: the file of each split.
        label_names: the names of the classes, if a README states them.
        caveats: sentences to print beside every figure.
        incomplete: splits that are not the whole official ones.
        is_single_file: whether it is one file, whatever the split.
    """

    name: str
    splits: Mapping[str, Path]
    label_names: tuple[str, ...] | None = None
    caveats: tuple[str, ...] = ()
    incomplete: frozenset[str] = frozenset()
    is_single_file: bool = False

    def read(
        self,
        split: str,
        options: DataOptions,
        label_names: Sequence[str] | None = None,
        *,
        with_table: bool = False,
    ) -> TextSplit:
        """Read a split; see :func:`token2wave.data.read_labelled`."""
        names = self.label_names or label_names
        return read_labelled(self.splits[split], options, label_names=names, with_table=with_table)


DatasetSource = DatasetFiles | MemoryDataset


def load_splits(
    data: Any,
    options: DataOptions | None = None,
    *,
    labels: Any = None,
    weights: Any = None,
    test: Any = None,
    validation: Any = None,
    with_table: bool = False,
    as_numbers: bool = False,
) -> TextDataset:
    """Load a data set with its splits.

    Args:
        data: rows in memory (:func:`token2wave.data.sources.memory_dataset`), or the first of these that
            exists: a file, which becomes the training split; a folder with
            ``train.*`` and optionally ``validation.*`` (or ``val``, ``valid``, ``dev``), ``test.*`` and a
            ``README.json`` (keys ``label_names``, ``complete``, ``caveat``); the name of a built-in
            corpus; the name of such a folder in the folder that the environment variable
            ``TOKEN2WAVE_DATA`` names; ``owner/name`` or ``hub:name`` of the Hugging Face hub.
        options: the columns, and how labels are written; the defaults of :class:`DataOptions`, if None. Only
            the training split has weights. If its texts may have several labels, those of all splits may.
        labels: the label, or the list of labels, of each text, if ``data`` is texts.
        weights: how much each of these texts counts.
        test: as ``data``. It, or its test split, replaces the test split of ``data``. Its labels use the
            label names of ``data`` unless it has its own.
        validation: the same for the validation split.
        with_table: whether the training split keeps all columns of its source, in :attr:`TextSplit.table`.
        as_numbers: whether numbers are labels as they are, even where label names are known.

    Returns:
        The splits, with all rows in their order, and their caveats.

    Raises:
        DataError: the data set does not exist (the message lists those that do), it has no training split,
            or a file of it cannot be used.
        MissingExtraError: pyarrow or datasets is needed and not installed.
    """
    options = options or DataOptions()
    source = _find_source(data, options, labels=labels, weights=weights)
    if as_numbers:
        source = replace(source, label_names=None)
    if "train" not in source.splits:
        raise DataError(
            f"expected a split 'train', found {join_names(source.splits)}",
            location=source.name,
            hint="add a training split, or name another data set",
        )
    splits = {"train": _require_rows(source.read("train", options, with_table=with_table))}
    multi_label = options.multi_label or splits["train"].multi_label or None
    options = replace(options, weight_column=None, multi_label=multi_label)
    caveats = [*source.caveats, *incomplete_caveats(source, "train", len(splits["train"]))]
    for split, other in (("validation", validation), ("test", test)):
        if other is not None:
            other_source = _find_source(other, options, argument=split)
            if as_numbers:
                other_source = replace(other_source, label_names=None)
            key = _require_split(other_source, split)
            splits[split] = _read_other_split(other_source, key, options, source.label_names)
            caveats += [caveat for caveat in other_source.caveats if caveat not in caveats]
            caveats += incomplete_caveats(other_source, key, len(splits[split]))
        elif split in source.splits:
            splits[split] = _read_other_split(source, split, options)
            caveats += incomplete_caveats(source, split, len(splits[split]))
    caveats += [note for rows in splits.values() for note in rows.notes]
    dataset = TextDataset(
        source.name,
        splits["train"],
        splits.get("validation"),
        splits.get("test"),
        label_names=source.label_names,
        caveats=tuple(caveats),
    )
    return dataset.as_multi_label() if dataset.multi_label else dataset


def load_split(
    data: Any,
    split: str = "test",
    options: DataOptions | None = None,
    *,
    labels: Any = None,
    label_names: Sequence[str] | None = None,
    with_table: bool = False,
    as_numbers: bool = False,
) -> TextSplit:
    """Load one split of a data set, to evaluate a model on it.

    Args:
        data: as in `load_splits`. A single file is returned whatever the split.
        split: "train", "validation" or "test".
        options: the columns, and how labels are written; the defaults of :class:`DataOptions`, if None.
        labels: as in `load_splits`.
        label_names: the names of the classes, length ``C``, such as those of a model. They count only if
            the data set itself has none. See `read_labelled` for what they do.
        with_table: whether to keep all columns of the source, in :attr:`TextSplit.table`.
        as_numbers: as in `load_splits`.

    Returns:
        All rows of the split in their order, length ``N >= 1``.

    Raises:
        ConfigError: no split has this name.
        DataError: the data set does not exist, does not have the split, or a file cannot be used.
        MissingExtraError: pyarrow or datasets is needed and not installed.
    """
    require_choice(split, "split", tuple(SPLIT_STEMS))
    options = options or DataOptions()
    source = _find_source(data, options, labels=labels)
    if as_numbers:
        source = replace(source, label_names=None)
    rows = source.read(_require_split(source, split), options, label_names, with_table=with_table)
    return _require_rows(rows)


def _require_rows(rows: TextSplit) -> TextSplit:
    """Refuse no rows at all, which memory may hold."""
    if not len(rows):
        raise DataError("expected at least one row, found none", location=rows.source)
    return rows


def load_texts(
    data: Any,
    options: TextOptions | None = None,
    *,
    argument: str = "texts",
) -> list[str]:
    """Load the texts of a file, or of the training split of a data set. Labels are not needed.

    Args:
        data: a name as in `load_splits`; or texts, or rows that have them, in memory.
        options: the column, and how files are written; the defaults, if None.
        argument: name of ``data``, for errors.

    Raises:
        DataError: the file or data set does not exist, or cannot be used.
        MissingExtraError: pyarrow or datasets is needed and not installed.
    """
    options = options or TextOptions()
    if not is_name(data):
        if options.pair:
            return to_pairs(data, argument, options.text_columns)
        return to_texts(data, argument, for_training=True, column=options.text_column)
    source = _find_source(data)
    split = _require_split(source, "train")
    if isinstance(source, DatasetFiles):
        return read_texts(source.splits[split], options)
    return list(source.read(split, DataOptions(options.text_column, pair=options.pair)).texts)


def available() -> tuple[str, ...]:
    """List the names of the data sets on this machine: the built-in ones, then those in ``TOKEN2WAVE_DATA``.

    Raises:
        DataError: ``TOKEN2WAVE_DATA`` names a folder that cannot be read.
    """
    folder = _user_folder()
    return tuple(dict.fromkeys([*_dataset_names(_BUILT_IN), *(_dataset_names(folder) if folder else ())]))


def find_files(data: str | os.PathLike[str]) -> DatasetFiles | None:
    """Find a data set with a training split on this disk, by its folder or its name; None if there is none.

    Raises:
        DataError: one split has two files, or the data set's README cannot be used.
    """
    path = Path(data)
    is_dataset = _has_training_file(path) if os.path.isdir(path) else os.fspath(data) in available()
    source = _find_source(data) if is_dataset else None
    return source if isinstance(source, DatasetFiles) and not source.is_single_file else None


def possible_paths(*names: object) -> list[Path]:
    """List the paths that names of data may mean, the first choice first; what is no name means none."""
    paths: list[Path] = []
    for name in names:
        if isinstance(name, str | os.PathLike) and os.fspath(name):
            with suppress(DataError):  # of a wrong TOKEN2WAVE_DATA; whoever reads the data raises it
                paths.extend(_candidate_folders(os.fspath(name)))
    return paths


def incomplete_caveats(source: DatasetSource, split: str, n_rows: int) -> list[str]:
    """Return a caveat if a split, here of ``n_rows``, is not the whole official one."""
    if split not in source.incomplete:
        return []
    adjective = "training" if split == "train" else split
    return [f"{source.name}: {n_rows:,} {adjective} rows, not the complete official {adjective} set"]


def _read_other_split(
    source: DatasetSource, split: str, options: DataOptions, label_names: Sequence[str] | None = None
) -> TextSplit:
    """Read a split that may lack the column of groups."""
    try:
        return source.read(split, options, label_names)
    except DataError:
        if options.group_column is None:
            raise
        return source.read(split, replace(options, group_column=None), label_names)


def _find_source(
    data: Any,
    options: DataOptions | None = None,
    *,
    labels: Any = None,
    weights: Any = None,
    argument: str = "data",
) -> DatasetSource:
    options = options or DataOptions()
    if not is_name(data):
        return memory_dataset(data, labels, options, weights=weights, argument=argument)
    text = os.fspath(data)
    if labels is not None or weights is not None:
        problem = "expected texts beside labels and weights, found the name of data"
        raise ConfigError(problem, location=argument)
    if text.startswith("hub:"):
        return fetch(text.removeprefix("hub:"), options)
    path = Path(text)
    if os.path.isfile(path):  # unlike Path.is_file, false for a path that the system refuses
        return DatasetFiles(stem(path) or path.name, {"train": path}, is_single_file=True)
    for folder in _candidate_folders(text) if text else ():
        if os.path.isdir(folder):
            return _read_folder(folder)
    if _HUB_NAME.fullmatch(text) and stem(path) is None and not os.path.exists(path.parent):
        return fetch(text, options)
    names = available()
    raise DataError(
        f"there is no such file, folder or data set; built in or in {_FOLDER_VARIABLE}: {join_names(names)}",
        location=text or "data",
        hint=f"check the name{did_you_mean(path, names)}, or write hub:owner/name for the Hugging Face hub",
    )


def _candidate_folders(name: str) -> Iterator[Path]:
    yield Path(name)
    if Path(name).name == name:
        yield _BUILT_IN / name
        if (root := _user_folder()) is not None:
            yield root / name


def _read_folder(path: Path) -> DatasetFiles:
    """Find the files of the splits in a folder, and read its README."""
    files: dict[str, Path] = {}
    entries = _entries(path)
    for split, stems in SPLIT_STEMS.items():
        matches = [entry for entry in entries if stem(entry) in stems and os.path.isfile(entry)]
        if len(matches) > 1:
            raise DataError(
                f"expected one file of split {split!r}, found {join_names(file.name for file in matches)}",
                location=os.fspath(path),
                hint="keep one of them, or name a file instead of the folder",
            )
        if matches:
            files[split] = matches[0]
    if not files:
        raise DataError(
            f"expected a file 'train' with one of the suffixes {suffixes()}, "
            f"found the files {join_names(entry.name for entry in entries)}",
            location=os.fspath(path),
            hint="name the training file train, or name a file instead of the folder",
        )
    readme = _read_readme(path / "README.json") if path / "README.json" in entries else {}
    complete = readme.get("complete", {})
    name = path.resolve().name
    return DatasetFiles(
        name,
        files,
        label_names=tuple(readme["label_names"]) if "label_names" in readme else None,
        caveats=(f"{name}: {readme['caveat']}",) if "caveat" in readme else (),
        incomplete=frozenset(
            split for split, file in files.items() if complete.get(split, complete.get(stem(file))) is False
        ),
    )


def _read_readme(path: Path) -> dict[str, Any]:
    """Read a README.json, and check the keys that we use."""
    hint = "correct or remove it"
    with open_binary(path) as stream:
        content = stream.read()
    try:
        readme = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        problem = f"expected JSON, found an error: {str(error)[:100]}"
        raise DataError(problem, location=os.fspath(path), hint=hint) from error
    if not isinstance(readme, dict):
        problem = f"expected an object, found {quote(readme)}"
        raise DataError(problem, location=os.fspath(path), hint=hint)
    names, flags = readme.get("label_names", ["name"]), readme.get("complete", {})
    are_strings = isinstance(names, list) and all(isinstance(name, str) and name.strip() for name in names)
    checks = {
        "label_names": ("a list of different strings", are_strings and 0 < len(names) == len(set(names))),
        "complete": (
            "an object of true and false, one for each split",
            isinstance(flags, dict) and all(isinstance(flag, bool) for flag in flags.values()),
        ),
        "caveat": ("a string", isinstance(readme.get("caveat", ""), str)),
    }
    for key, (expected, is_valid) in checks.items():
        if not is_valid:
            problem = f"expected {expected}, found {quote(readme[key])}"
            raise DataError(problem, location=f"{os.fspath(path)}, key {key!r}", hint=hint)
    return readme


def _require_split(source: DatasetSource, split: str) -> str:
    """The key of a split in a source; the only key, if the source is a single file."""
    if source.is_single_file:
        return "train"
    if split in source.splits:
        return split
    raise DataError(
        f"there is no split {split!r}, only {join_names(source.splits)}",
        location=source.name,
        hint="choose another split, or name a file",
    )


def _user_folder() -> Path | None:
    value = os.environ.get(_FOLDER_VARIABLE)
    if not value:
        return None
    if not os.path.isdir(value):
        raise DataError(
            "there is no such folder",
            location=f"{_FOLDER_VARIABLE}={value}",
            hint="correct or unset the variable",
        )
    return Path(value)


def _dataset_names(root: Path) -> list[str]:
    """The names of the readable folders in a folder that have a training file."""
    return [
        folder.name
        for folder in _entries(root)
        if os.access(folder, os.R_OK | os.X_OK) and os.path.isdir(folder) and _has_training_file(folder)
    ]


def _has_training_file(folder: Path) -> bool:
    return any(stem(entry) == "train" for entry in _entries(folder))


def _entries(path: Path) -> list[Path]:
    try:
        return sorted(path.iterdir())
    except OSError as error:
        raise cannot_read(path, error) from error
