"""Find a data set by path or by name, and read its splits."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from token2wave.data.file_segments import stem, suffixes
from token2wave.data.hub_datasets import HubSource, fetch
from token2wave.data.lines import cannot_read, did_you_mean, open_binary
from token2wave.data.text_files import read_labelled, read_texts
from token2wave.data.texts import SPLIT_STEMS, TextDataset, TextSplit
from token2wave.data.values import join_names, shown
from token2wave.errors import ConfigError, DataError
from token2wave.options import DataOptions

_BUILT_IN = Path(__file__).parent / "corpus"
_FOLDER_VARIABLE = "TOKEN2WAVE_DATA"
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class Files:
    """A data set on disk: one file, or a folder with one file for each split.

    Attributes:
        name: of the data set.
        files: of each split.
        label_names: the names of the classes, where a README says them.
        caveats: sentences that belong beside every figure.
        incomplete: splits that are not the whole official ones.
        is_single_file: whether it is one file, whatever the split.
    """

    name: str
    files: Mapping[str, Path]
    label_names: tuple[str, ...] | None = None
    caveats: tuple[str, ...] = ()
    incomplete: frozenset[str] = frozenset()
    is_single_file: bool = False

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits."""
        return tuple(self.files)

    def incomplete_caveats(self, split: str, n_rows: int) -> list[str]:
        """What has to stand beside figures where a split of so many rows is not the whole official one."""
        if split not in self.incomplete:
            return []
        adjective = "training" if split == "train" else split
        return [f"{self.name}: {n_rows:,} {adjective} rows, not the complete official {adjective} set"]

    def read(self, split: str, options: DataOptions, label_names: Sequence[str] | None = None) -> TextSplit:
        """Read a split; see :func:`token2wave.data.read_labelled`."""
        return read_labelled(self.files[split], options, label_names=self.label_names or label_names)


def load_splits(
    data: str | os.PathLike[str],
    options: DataOptions | None = None,
    *,
    test: str | os.PathLike[str] | None = None,
) -> TextDataset:
    """Load a data set with its splits.

    Args:
        data: the first of these that there is: a file, which becomes the training split; a folder with
            ``train.*`` and maybe ``validation.*`` (or ``val``, ``valid``, ``dev``), ``test.*`` and a
            ``README.json`` (keys ``label_names``, ``complete``, ``caveat``); the name of a built-in
            corpus; the name of such a folder in the folder that the environment variable
            ``TOKEN2WAVE_DATA`` names; ``owner/name`` or ``hub:name`` of the Hugging Face hub.
        options: the columns, and how labels are written; the defaults of :class:`DataOptions`, if None. Only
            the training split has weights. Where it has texts with several labels, all splits may.
        test: a further file, folder or name; the file itself or its test split takes the place of the
            test split. Its labels go by the label names of ``data`` unless it has its own.

    Returns:
        The splits, all their rows in their order, with the caveats that belong to them.

    Raises:
        DataError: there is no such data set (the message lists those there are), it has no training
            split, or a file of it cannot be used.
        MissingExtraError: pyarrow or datasets is needed and not installed.
    """
    options = options or DataOptions()
    source = _find(data, options)
    if "train" not in source.splits:
        raise DataError(
            f"expected a split 'train', got {join_names(source.splits)}",
            location=source.name,
            hint="add a training split, or name another data set",
        )
    kept = [split for split in source.splits if split != "test" or test is None]
    train = source.read("train", options)
    unweighted = replace(
        options, weight_column=None, multi_label=options.multi_label or train.multi_label or None
    )
    found = {"train": train}
    for split in kept:
        if split != "train":
            found[split] = source.read(split, unweighted)
    caveats = list(source.caveats)
    for split in kept:
        caveats += _incomplete(source, split, len(found[split]))
    if test is not None:
        test_source = _find(test, options)
        split = _split_of(test_source, "test")
        found["test"] = test_source.read(split, unweighted, source.label_names)
        caveats += [caveat for caveat in test_source.caveats if caveat not in caveats]
        caveats += _incomplete(test_source, split, len(found["test"]))
    splits = TextDataset(
        name=source.name,
        train=found["train"],
        validation=found.get("validation"),
        test=found.get("test"),
        label_names=source.label_names,
        caveats=tuple(caveats),
    )
    return splits.as_multi_label() if splits.multi_label else splits


def load_split(
    data: str | os.PathLike[str],
    split: str = "test",
    options: DataOptions | None = None,
    *,
    label_names: Sequence[str] | None = None,
) -> TextSplit:
    """Load one split of a data set, to evaluate a model on it.

    Args:
        data: as in `load_splits`. A single file is returned whatever the split.
        split: "train", "validation" or "test".
        options: the columns, and how labels are written; the defaults of :class:`DataOptions`, if None.
        label_names: the names of the classes, length ``C``, such as those of a model; they count only if
            the data set itself has none. See `read_labelled` for what they do.

    Returns:
        All rows of the split in their order, length ``N >= 1``.

    Raises:
        ConfigError: there is no such name of a split.
        DataError: there is no such data set, it does not have the split, or a file cannot be used.
        MissingExtraError: pyarrow or datasets is needed and not installed.
    """
    if split not in SPLIT_STEMS:
        raise ConfigError(
            f"expected one of {join_names(SPLIT_STEMS)}, got {shown(split)}",
            location="split",
            hint="choose one of them",
        )
    options = options or DataOptions()
    source = _find(data, options)
    return source.read(_split_of(source, split), options, label_names)


def load_texts(data: str | os.PathLike[str], *, text_column: str = "text") -> list[str]:
    """Load texts alone: those of a file, or of the training split of a data set; no labels are needed.

    Args:
        data: as in `load_splits`.
        text_column: the column of the texts, in formats with columns.

    Raises:
        DataError: there is no such file or data set, or it cannot be used.
        MissingExtraError: pyarrow or datasets is needed and not installed.
    """
    source = _find(data)
    if isinstance(source, Files) and "train" in source.files:
        return read_texts(source.files["train"], text_column=text_column)
    return list(source.read(_split_of(source, "train"), DataOptions(text_column)).texts)


def available() -> tuple[str, ...]:
    """The names of the data sets that are here: the built-in ones, then those in ``TOKEN2WAVE_DATA``.

    Raises:
        DataError: ``TOKEN2WAVE_DATA`` names a folder that cannot be read.
    """
    named = _named_folder()
    built_in = _names_in(_BUILT_IN)
    return (*built_in, *(name for name in (_names_in(named) if named else ()) if name not in built_in))


def find_files(data: str | os.PathLike[str]) -> Files | None:
    """Find a data set with a training split on this disk, by its folder or its name.

    Args:
        data: as in `load_splits`.

    Returns:
        Its files; None where ``data`` is a file, a pattern, a folder without a training split, or nothing.

    Raises:
        DataError: there are two files of one split, or the data set's README cannot be used.
    """
    path = Path(data)
    if os.path.isdir(path) and not any(stem(entry) == "train" for entry in _entries(path)):
        return None
    if os.path.isdir(path) or os.fspath(data) in available():
        found = _find(data)
        return found if isinstance(found, Files) and not found.is_single_file else None
    return None


def _find(data: str | os.PathLike[str], options: DataOptions | None = None) -> Files | HubSource:
    text, label_column = os.fspath(data), options.label_column if options else "label"
    if text.startswith("hub:"):
        return fetch(text.removeprefix("hub:"), label_column)
    path = Path(text)
    if os.path.isfile(path):  # unlike Path.is_file, false for a path that the system refuses
        return Files(stem(path) or path.name, {"train": path}, is_single_file=True)
    if text and os.path.isdir(path):
        return _folder(path)
    if text and path.name == text:  # a bare name
        if os.path.isdir(_BUILT_IN / text):
            return _folder(_BUILT_IN / text)
        named = _named_folder()
        if named is not None and os.path.isdir(named / text):
            return _folder(named / text)
    if _HUB_NAME.fullmatch(text) and stem(path) is None and not os.path.exists(path.parent):
        return fetch(text, label_column)
    raise _not_found(text, path)


def _not_found(text: str, path: Path) -> DataError:
    named = _named_folder()
    if named is None:
        there = f"{_FOLDER_VARIABLE}, which may name a folder of data sets, is not set"
    else:
        there = f"in {_FOLDER_VARIABLE} ({named}): {join_names(_names_in(named))}"
    hint = did_you_mean(path, available())
    return DataError(
        f"there is no such file, folder or data set; built-in: {join_names(_names_in(_BUILT_IN))}; {there}",
        location=text or "data",
        hint=f"check the name{hint}, or write hub:owner/name for the Hugging Face hub",
    )


def _folder(path: Path) -> Files:
    """The data set in a folder; it has at least one file of a split."""
    files: dict[str, Path] = {}
    entries = _entries(path)
    for split, stems in SPLIT_STEMS.items():
        of_split = [entry for entry in entries if stem(entry) in stems and os.path.isfile(entry)]
        if len(of_split) > 1:
            raise DataError(
                f"expected one file of the split {split!r}, got {join_names(file.name for file in of_split)}",
                location=os.fspath(path),
                hint="keep one of them, or name a file instead of the folder",
            )
        if of_split:
            files[split] = of_split[0]
    if not files:
        raise DataError(
            f"expected a file 'train' with one of the suffixes {suffixes()}, "
            f"got the files {join_names(entry.name for entry in entries)}",
            location=os.fspath(path),
            hint="name the training file train, or name a file instead of the folder",
        )
    about = _about(path / "README.json") if path / "README.json" in entries else {}
    complete = about.get("complete", {})
    name = path.resolve().name
    return Files(
        name,
        files,
        label_names=tuple(about["label_names"]) if "label_names" in about else None,
        caveats=(f"{name}: {about['caveat']}",) if "caveat" in about else (),
        incomplete=frozenset(
            s for s, file in files.items() if complete.get(s, complete.get(stem(file))) is False
        ),
    )


def _about(path: Path) -> dict[str, Any]:
    """What a README.json says, with the keys that we use checked."""
    with open_binary(path) as stream:
        content = stream.read()
    try:
        about = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"not valid JSON ({str(error)[:100]})", location=os.fspath(path), hint="mend or remove it"
        ) from error
    expected = {
        "label_names": ("a list of different strings", _are_names),
        "complete": ("an object of true and false, one for each split", _are_flags),
        "caveat": ("a string", lambda value: isinstance(value, str)),
    }
    if not isinstance(about, dict):
        raise DataError(
            f"expected an object, got {shown(about)}", location=os.fspath(path), hint="mend or remove it"
        )
    for key, (what, is_right) in expected.items():
        if key in about and not is_right(about[key]):
            raise DataError(
                f"expected {what}, got {shown(about[key])}",
                location=f"{os.fspath(path)}, key {key!r}",
                hint="mend it or remove the key",
            )
    return about


def _are_names(value: object) -> bool:
    return (
        isinstance(value, list)
        and all(isinstance(name, str) and name.strip() for name in value)
        and 0 < len(value) == len(set(value))
    )


def _are_flags(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(flag, bool) for flag in value.values())


def _split_of(source: Files | HubSource, split: str) -> str:
    """The key of a split in a source; for a single file its only one."""
    if isinstance(source, Files) and source.is_single_file:
        return "train"
    if split in source.splits:
        return split
    raise DataError(
        f"there is no split {split!r}, only {join_names(source.splits)}",
        location=source.name,
        hint="choose another split, or name a file",
    )


def _incomplete(source: Files | HubSource, split: str, n_rows: int) -> list[str]:
    return [] if isinstance(source, HubSource) else source.incomplete_caveats(split, n_rows)


def _named_folder() -> Path | None:
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


def _names_in(root: Path) -> tuple[str, ...]:
    """The names of the folders in a folder that have a training file and may be read."""
    return tuple(
        folder.name
        for folder in _entries(root)
        if os.access(folder, os.R_OK | os.X_OK)
        and os.path.isdir(folder)
        and any(stem(entry) == "train" for entry in _entries(folder))
    )


def _entries(path: Path) -> list[Path]:
    try:
        return sorted(path.iterdir())
    except OSError as error:
        raise cannot_read(path, error) from error
