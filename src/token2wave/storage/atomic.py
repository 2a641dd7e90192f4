"""Writes files so that a reader sees the old file or the new one, never half of one.

A file is written to ``.NAME.part`` beside its target, and renamed. It is locked (``flock``) meanwhile; the
system releases the lock when the process ends, however it ends. So an unlocked part belongs to a killed
process, and the next writer of the target removes it. A locked part belongs to a concurrent writer; the last
to finish wins.

A file that is replaced keeps its mode, owner and group. The part is readable by its owner alone until it is
complete.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO

from token2wave.errors import OutputError

try:
    import fcntl
except ImportError:  # on Windows, parts of killed processes stay
    fcntl = None  # type: ignore[assignment]

MAX_WRITERS = 8  # concurrent writers of one target whose leftovers are removed
_open_parts: set[Path] = set()  # of this process
_is_private: ContextVar[bool] = ContextVar("is_private", default=False)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Open a temporary file beside ``path`` that replaces it if the block succeeds.

    Within the block, ``atomic_write`` of the temporary path writes to it directly.

    Yields:
        The path to write to. Overwrite the file; do not replace it.

    Raises:
        OutputError: the folder does not exist or cannot be written to.
    """
    if path in _open_parts:
        yield path
        return
    target = Path(os.path.realpath(path))  # replace the target of a link, not the link
    temporary: Path | None = None
    handle, is_renamed = -1, False
    try:
        temporary, handle = _open_part(target)
        _open_parts.add(temporary)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        set_permissions(temporary, target)
        temporary.replace(target)
        is_renamed = True
        sync_folder(target.parent)
    except OSError as error:
        raise OutputError(
            f"cannot be written ({error.strerror or error})",
            location=str(path),
            hint="choose a place that can be written to, on a disk with space",
        ) from error
    except OutputError as error:
        if error.location == str(temporary):  # users know only the name that they gave
            raise OutputError(error.problem, location=str(path), hint=error.hint) from error
        raise
    finally:
        if temporary is not None:
            _open_parts.discard(temporary)
            if not is_renamed:  # else another writer may use the name by now
                with suppress(FileNotFoundError):
                    temporary.unlink()
        if handle >= 0:
            os.close(handle)  # release the lock last, or another writer would take the part for a leftover


@contextmanager
def private_files(private: bool) -> Iterator[None]:
    """Make files and folders that the block creates readable by their owner alone, if ``private``."""
    token = _is_private.set(private or _is_private.get())
    try:
        yield
    finally:
        _is_private.reset(token)


def creates_private_files() -> bool:
    """Whether a block of :func:`private_files` makes new files private."""
    return _is_private.get()


def open_to_append(path: Path) -> BinaryIO:
    """Open a file to append bytes to it."""
    mode = 0o600 if _is_private.get() else 0o666
    return open(path, "ab", opener=lambda name, flags: os.open(name, flags, mode))


def set_permissions(path: Path, target: Path) -> None:
    """Give a file or folder the mode, owner and group of the one that it will replace, if there is one."""
    try:
        old = target.stat()
    except FileNotFoundError:
        new_mode = 0o777 if path.is_dir() else 0o666
        path.chmod(new_mode & ~_umask() & (0o700 if _is_private.get() else 0o777))
        return
    mode = old.st_mode & 0o777
    if fcntl is not None:
        for owner in (old.st_uid, -1):  # only root may give files away, but members of a group may set it
            with suppress(OSError):
                os.chown(path, owner, old.st_gid)
                break
        else:
            mode &= 0o707  # the group of this process must not get the rights of the old one
    path.chmod(mode)


def temporary_path(target: Path, number: int) -> Path:
    """Return the path of a part; ``number`` counts the concurrent writers of the target from 0."""
    return target.with_name(f".{target.name}.{number}.part" if number else f".{target.name}.part")


def _open_part(target: Path) -> tuple[Path, int]:
    """Create and lock a part, and remove leftovers.

    Returns:
        Its path, and the descriptor that holds the lock; -1 if the system has no such locks.
    """
    for number in itertools.count():
        temporary = temporary_path(target, number)
        if not _is_free(temporary):
            continue
        try:
            # Never open an existing file: in a shared folder it may belong to another user.
            handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
        if fcntl is None:
            os.close(handle)
            return temporary, -1
        # Another writer may have removed it as a leftover before the lock.
        if lock_file(handle) is False or not os.fstat(handle).st_nlink:
            os.close(handle)
            continue
        for later in range(number + 1, number + MAX_WRITERS):
            _is_free(temporary_path(target, later))
        return temporary, handle
    raise AssertionError  # the numbers are infinite


def _is_free(temporary: Path) -> bool:
    """Remove a part that is a leftover; return whether no part is there."""
    if fcntl is None:
        return not temporary.exists()
    try:
        handle = os.open(temporary, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.ELOOP, errno.EISDIR, errno.ENXIO):
            return False  # it belongs to another user, or is no file
        raise
    try:
        if not lock_file(handle):
            return False
        if os.path.samestat(os.stat(temporary), os.fstat(handle)):
            temporary.unlink()
        return True
    except FileNotFoundError:  # it was just renamed
        return True
    except PermissionError:
        return False
    finally:
        os.close(handle)


def lock_file(handle: int) -> bool | None:
    """Lock a file until its process ends: False if another process has; None where files cannot be locked."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def sync_folder(folder: Path) -> None:
    """Flush a folder to the disk, so that renamed files keep their names when power fails."""
    if fcntl is None:
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems cannot
            os.fsync(handle)
    finally:
        os.close(handle)


def check_writable(path: Path) -> None:
    """Check before hours of work that a file can be written.

    Raises:
        OutputError: it cannot.
    """
    location, problem, hint = str(path), "", None
    if path.is_symlink():
        path = Path(os.path.realpath(path))  # the target is replaced, and may not exist
    if path.is_dir():
        problem, hint = "expected a file to write, found a folder", "name a file in it"
    elif path.exists() and not path.is_file():
        problem, hint = "expected a regular file, found a device or pipe", "name a file"
    elif not path.parent.is_dir():
        problem, hint = f"the folder {path.parent} does not exist", "make it, or choose another"
    elif not os.access(path.parent, os.W_OK):
        problem = f"the folder {path.parent} cannot be written to"
    if problem:
        raise OutputError(problem, location=location, hint=hint)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def make_folder(path: Path) -> None:
    """Make a folder and its parents, if they do not exist.

    Raises:
        OutputError: it cannot be made or written to.
    """
    try:
        path.mkdir(0o700 if _is_private.get() else 0o777, parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot be made: {error.strerror or error}", location=str(path)) from error
    if not os.access(path, os.W_OK):
        raise OutputError("the folder cannot be written to", location=str(path))
