"""Checks before any work where a command may write, so that nothing is lost by a wrong name."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from token2wave.errors import OutputError
from token2wave.storage.atomic import MAX_WRITERS, check_writable, temporary_path

FILE_TYPES = {
    "model file": rb'.{8}\{\s*"__metadata__":\s*\{\s*"token2wave":',
    "checkpoint": rb'.{8}\{\s*"__metadata__":\s*\{\s*"token2wave\.checkpoint":',
    "page with a model": rb'<!DOCTYPE html>.*<meta name="generator" content="token2wave model">',
    "page of explanations": rb'<!DOCTYPE html>.*<meta name="generator" content="token2wave explanations">',
    "report": rb'\{\s*"accuracy": [^,]+,\s*"macro_f1":',
    "ONNX file": rb"\x08.\x12\x0atoken2wave",
    "file of probabilities": rb"PK\x03\x04.{26}\w+\.npy",
    "list of bad rows": rb"(?:\xef\xbb\xbf)?file,row,line,problem,beginning\r\n",
    "table of predictions": rb"\xef\xbb\xbf.*label[,;\t](?:predicted_)*probability[,;\t\r]",
    "file of vectors": rb"(?!)",  # never replaced unasked: it looks like any array or table
    "selected rows": rb"\xef\xbb\xbf[^\n]*predicted[,\t](?:model_)*probability[,\t](?:model_)*runner_up",
    "new sheet": rb"(?!)",  # never replaced unasked: people write into it
    "prompts": rb'\{"id": "\d+-[0-9a-f]{8}", "messages":',
    "labelled rows": rb"\xef\xbb\xbf(?:[^\n]*[,\t])?label[,\t]weight[,\t]answers\r",
    "table of wrong predictions": rb"\xef\xbb\xbfrow(.)label\1predicted\1",
    "audit": rb'\{"format": "token2wave-audit",',
    "cleaned copy": rb"(?!)",  # never replaced unasked: it looks like any data
    "table of changed rows": rb"\xef\xbb\xbfrow(.)change\1label\1",
    "MLflow database": rb"SQLite format 3\x00",
}
"""The kinds of files that commands write, and how the content of each begins."""
_HEAD_BYTES = 512

PathLike = str | os.PathLike[str]
FileId = tuple[int, int]  # device and number, the same for all links to a file
_further_inputs: ContextVar[tuple[PathLike, ...]] = ContextVar("further_inputs", default=())


@contextmanager
def protected(*paths: PathLike | None) -> Iterator[None]:
    """Make files inputs of every call in the block, beside those that the call names."""
    named = (path for path in paths if path is not None)
    token = _further_inputs.set((*_further_inputs.get(), *named))
    try:
        yield
    finally:
        _further_inputs.reset(token)


class Outputs:
    """What one call reads and writes. Each output is checked against the inputs and the other outputs.

    A file is recognised through links and other spellings of its path.

    Args:
        inputs: names of files, folders and patterns that the call reads. What is no name, or does not
            exist, is left out.
        overwrite: whether files of another kind may be replaced. Inputs never are.
        recursive: whether the call reads folders within folders, too.

    Attributes:
        is_private: whether an input can be read by its owner alone; then new files must be private, too.
    """

    def __init__(
        self, inputs: Iterable[Any] = (), *, overwrite: bool = False, recursive: bool = False
    ) -> None:
        self.overwrite, self._recursive = overwrite, recursive
        self.is_private = False
        self._folders: list[Path] = []
        self._files: dict[FileId, tuple[Path, bool]] = {}  # path, and whether only its folder was named
        self._outputs: set[Path | FileId] = set()
        for name in (*inputs, *_further_inputs.get()):
            if isinstance(name, str | os.PathLike) and os.fspath(name):
                is_pattern = glob.has_magic(os.fspath(name)) and not os.path.exists(name)
                for path in glob.glob(os.fspath(name), recursive=True) if is_pattern else [name]:
                    self._add(Path(path))

    def _add(self, path: Path) -> None:
        if os.path.isdir(path):
            self._folders.append(Path(os.path.realpath(path)))
            for parent, folders, names in os.walk(path):
                folders[:] = [name for name in folders if self._recursive and not name.startswith(".")]
                for name in names:
                    if not name.startswith("."):
                        self._add_file(Path(parent, name), in_folder=True)
        else:
            self._add_file(path, in_folder=False)

    def _add_file(self, path: Path, in_folder: bool) -> None:
        try:
            state = os.stat(path)
        except (OSError, ValueError):  # it does not exist, or the system refuses such names
            return
        if stat.S_ISREG(state.st_mode):
            self.is_private |= not state.st_mode & 0o044
            _, is_unnamed = self._files.get(_id(state), (path, True))
            self._files[_id(state)] = path, in_folder and is_unnamed

    def check_file(
        self,
        path: PathLike,
        file_type: str,
        *,
        shown_by: PathLike | None = None,
        replaceable: PathLike | None = None,
    ) -> None:
        """Check that a file can be written, and that nothing is lost by it.

        Args:
            path: of the file.
            file_type: a key of `FILE_TYPES`. A file of this type may be replaced.
            shown_by: the file whose content shows the kind, if several are written together.
            replaceable: an input that may be replaced with ``overwrite``.

        Raises:
            OutputError: the file cannot be written, is an input or another output, or is of another kind.
        """
        output = Path(path)
        check_writable(output)
        self._require_distinct(output)
        for number in range(MAX_WRITERS):  # the names of temporary files, whose leftovers are removed
            source, _ = self._input_at(temporary_path(Path(os.path.realpath(output)), number))
            if source is not None:
                problem = f"found the input {source}, which has the name of a temporary file"
                raise OutputError(problem, location=str(path), hint="name another file")
        if not output.exists():
            return
        is_same_type = is_of_type(Path(shown_by or output), file_type)
        source, in_folder = self._input_at(output)
        if source is not None and not (in_folder and is_same_type):
            may_replace = replaceable is not None and os.path.samefile(replaceable, output)
            if not (may_replace and self.overwrite):
                hint = "name another file" + (", or replace it with --overwrite" if may_replace else "")
                problem = f"expected another file than the inputs, found the input {source}"
                raise OutputError(problem, location=str(path), hint=hint)
        elif not (self.overwrite or is_same_type or output.stat().st_size == 0):
            problem = f"expected a new file, or a {file_type} to replace, found a file of another kind"
            hint = "name another file, or replace it with --overwrite"
            raise OutputError(problem, location=str(path), hint=hint)

    def check_folder(self, folder: PathLike) -> None:
        """Check a folder whose files the call may replace or remove.

        Raises:
            OutputError: it contains an input, or it lies in a folder that is read with the folders in it.
        """
        self._require_distinct(Path(folder))
        real = Path(os.path.realpath(folder))
        source = next((path for path, _ in self._files.values() if _is_below(path, real)), None)
        for path in real.rglob("*") if self._files else ():
            source = source or self._input_at(path)[0]  # of a link to an input
        if self._recursive:
            source = source or next((path for path in self._folders if _is_below(real, path)), None)
        if source is not None:
            problem = f"expected a folder apart from the inputs, found one that contains or is in {source}"
            raise OutputError(problem, location=str(folder), hint="name another folder")

    def _input_at(self, path: Path) -> tuple[Path | None, bool]:
        """Return the input that is at a path, or None, and whether only its folder was named."""
        return self._files.get(_id(path.stat()), (None, False)) if path.exists() else (None, False)

    def _require_distinct(self, output: Path) -> None:
        """Refuse an output that is also another one."""
        names: set[Path | FileId] = {Path(os.path.realpath(output))}
        if output.exists():
            names.add(_id(output.stat()))
        if names & self._outputs:
            problem = "expected a file for each output, found one for two"
            raise OutputError(problem, location=str(output), hint="name another file for one of them")
        self._outputs |= names


def is_of_type(path: Path, file_type: str) -> bool:
    """Whether a file begins as those of a kind do."""
    try:
        with path.open("rb") as file:
            return re.match(FILE_TYPES[file_type], file.read(_HEAD_BYTES), re.DOTALL) is not None
    except OSError:
        return False


def _is_below(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(folder)


def _id(state: os.stat_result) -> FileId:
    return state.st_dev, state.st_ino
