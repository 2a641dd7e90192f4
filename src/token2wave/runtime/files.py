"""Writing files so that a reader sees the old one or the new one, never half of one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from token2wave.errors import OutputError


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; it takes the place of ``path`` when all went well.

    Yields:
        The path to write to.

    Raises:
        OutputError: the folder does not exist or cannot be written to.
    """
    target = Path(os.path.realpath(path))  # what a link leads to is replaced, not the link
    temporary: Path | None = None
    import tempfile  # here, since reading does not need it

    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except OSError as error:
        raise OutputError(
            f"cannot be written ({error.strerror or error})",
            where=str(path),
            cure="choose a place that can be written to, on a disk with space",
        ) from error
    except OutputError as error:
        if error.where == str(temporary):  # users know the name that they gave
            raise OutputError(error.problem, where=str(path), cure=error.cure) from error
        raise
    finally:
        if temporary is not None:
            with suppress(FileNotFoundError):
                temporary.unlink()


def check_writable(path: Path) -> None:
    """Find out before hours of work whether a file can be written.

    Raises:
        OutputError: it cannot.
    """
    if path.is_dir():
        raise OutputError(
            "expected a file to write, found a folder", where=str(path), cure="name a file in it"
        )
    if path.exists() and not path.is_file():
        raise OutputError(
            "expected a regular file, found a device or pipe", where=str(path), cure="name a file"
        )
    if not path.parent.is_dir():
        raise OutputError(
            f"the folder {path.parent} does not exist", where=str(path), cure="make it, or choose another"
        )
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"the folder {path.parent} cannot be written to", where=str(path))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, unless it is there.

    Raises:
        OutputError: it cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot be made: {error.strerror or error}", where=str(path)) from error
    if not os.access(path, os.W_OK):
        raise OutputError("the folder cannot be written to", where=str(path))
