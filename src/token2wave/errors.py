"""The exceptions of the package. Messages say where, what was expected, what was found, and what to do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


class Token2WaveError(Exception):
    """Base of every error that this package raises on purpose.

    Args:
        problem: what was expected and what was found.
        location: file, row, column or key at fault, in front of the message.
        hint: what you can do about it, at the end.
    """

    def __init__(self, problem: str, *, location: str | None = None, hint: str | None = None) -> None:
        self.problem = problem
        self.location = location
        self.hint = hint
        message = problem if location is None else f"{location}: {problem}"
        if hint is not None:
            message = f"{message}; {hint}"
        super().__init__(" ".join(message.split()))


class DataError(Token2WaveError):
    """Texts or labels cannot be used."""


class InputError(DataError, ValueError, TypeError):
    """An argument that cannot be used as texts, labels or weights.

    It is also a ``ValueError``, as scikit-learn raises it, and a ``TypeError``, as Python does.
    """


@contextmanager
def input_errors() -> Iterator[None]:
    """Turn errors of data into :class:`InputError`."""
    try:
        yield
    except InputError:
        raise
    except DataError as error:
        raise InputError(error.problem, location=error.location, hint=error.hint) from error


class ConfigError(Token2WaveError):
    """A setting does not exist, has an illegal value, or contradicts another."""


class ModelFileError(Token2WaveError):
    """A model file is missing, damaged, of another program or of another version."""


class OutputError(Token2WaveError):
    """A file or folder cannot be written to."""


class CheckpointError(Token2WaveError):
    """A checkpoint is damaged, belongs to another run, or would be overwritten."""


class DistributedError(Token2WaveError):
    """The processes of a distributed training lost each other, or differ."""


class RemoteError(DistributedError):
    """Another process of a distributed training failed and reports the error."""


class MissingExtraError(Token2WaveError):
    """An optional package is not installed.

    Args:
        module: the package.
        extra: the extra of token2wave that installs it.
        purpose: what needs it; the message starts with it.
    """

    def __init__(self, module: str, extra: str, *, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the Python package {module!r}, which is not installed",
            hint=f"install it with: pip install 'token2wave[{extra}]'",
        )


@contextmanager
def import_extra(extra: str, purpose: str, *modules: str) -> Iterator[None]:
    """Let a failed import of one of these optional packages, or of any, name the extra to install.

    Raises:
        MissingExtraError: one of these packages is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if modules and name not in modules:
            raise
        raise MissingExtraError(name, extra, purpose=purpose) from error


class Interruption(BaseException):
    """Ctrl-C, as typer swallows ``KeyboardInterrupt``. Its text is shown to the user."""


def locate(
    path: str | os.PathLike[str] | None = None,
    *,
    row: int | None = None,
    line: int | None = None,
    column: str | None = None,
) -> str:
    """Name a location, e.g. ``reviews.csv, row 3 (line 5), column 'label'``.

    Rows and lines are counted from 1, rows without the header.
    """
    names = [] if path is None else [os.fspath(path)]
    if row is not None:
        names.append(f"row {row}" if line is None else f"row {row} (line {line})")
    elif line is not None:
        names.append(f"line {line}")
    if column is not None:
        names.append(f"column {column!r}")
    return ", ".join(names)


def require_text(text: object, name: str = "text") -> None:
    """Refuse what is not one string.

    Raises:
        InputError: it is something else.
    """
    if not isinstance(text, str):
        hint = "make it a string" if isinstance(text, int | float) else "give one string at a time"
        raise InputError(f"expected one string, found {type_name(text)}", location=name, hint=hint)


def type_name(value: object) -> str:
    """The type of a value with its article, for an error message."""
    name = type(value).__name__
    return f"{'an' if name[:1] in 'aeiouAEIOU' else 'a'} {name}"
