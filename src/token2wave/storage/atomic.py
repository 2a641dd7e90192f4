"""Writing files so that a reader sees the old one or the new one, never half of one.

A file is written aside, as ``.NAME.part`` beside its target, and renamed. While it is written it is locked
(``flock``); the system lets go of the lock when the process ends, however it ends. So whoever writes to the
same target next knows that an unlocked part is left over from a process that was killed, and removes it; a
locked one belongs to someone who writes at the same time, who is let be: whoever is done last wins.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from token2wave.errors import OutputError

try:
    import fcntl
except ImportError:  # Windows: what a killed process leaves behind stays there
    fcntl = None  # type: ignore[assignment]

AT_ONCE = 8  # writers of one target; parts of so many are looked for
_ours: set[Path] = set()  # what this process is writing aside


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; it takes the place of ``path`` when all went well.

    What is to be written aside within another such block, to the path that this one gave, goes there
    directly.

    Yields:
        The path to write to. It must be written over and not be replaced.

    Raises:
        OutputError: the folder does not exist or cannot be written to.
    """
    if path in _ours:
        yield path
        return
    target = Path(os.path.realpath(path))  # what a link leads to is replaced, not the link
    temporary: Path | None = None
    handle, is_renamed = -1, False
    try:
        temporary, handle = _begun(target)
        _ours.add(temporary)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
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
        if error.location == str(temporary):  # users know the name that they gave
            raise OutputError(error.problem, location=str(path), hint=error.hint) from error
        raise
    finally:
        if temporary is not None:
            _ours.discard(temporary)
            if not is_renamed:  # else the name may be another writer's by now
                with suppress(FileNotFoundError):
                    temporary.unlink()
        if handle >= 0:
            os.close(handle)  # the lock goes last, or another writer would take the part for a leftover


def part_of(target: Path, number: int) -> Path:
    """Where a file is written aside; ``number`` is 0 for the first of those who write at the same time."""
    return target.with_name(f".{target.name}.{number}.part" if number else f".{target.name}.part")


def _begun(target: Path) -> tuple[Path, int]:
    """Make a part that no one else writes, and lock it; leftovers go.

    Returns:
        Its path, and the descriptor that holds the lock; -1 where the system has no such locks.
    """
    for number in itertools.count():
        part = part_of(target, number)
        if not _is_free(part):
            continue
        try:
            # Never one that is there: in a folder of many users it may be someone else's.
            handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
        if fcntl is None:
            os.close(handle)
            return part, -1
        if (
            lock_file(handle) is False or not os.fstat(handle).st_nlink
        ):  # taken for a leftover before the lock
            os.close(handle)
            continue
        for later in range(number + 1, number + AT_ONCE):
            _is_free(part_of(target, later))
        return part, handle
    raise AssertionError  # numbers do not end


def _is_free(part: Path) -> bool:
    """Whether there is no such part, or it was left over and is removed."""
    if fcntl is None:
        return not part.exists()
    try:
        handle = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.ELOOP, errno.EISDIR, errno.ENXIO):
            return False  # someone else's, or no file
        raise
    try:
        if not lock_file(handle):
            return False
        now = os.stat(part)
        if os.path.samestat(now, os.fstat(handle)):
            part.unlink()
        return True
    except FileNotFoundError:  # it has just taken the place of its target
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
    """Find out before hours of work whether a file can be written.

    Raises:
        OutputError: it cannot.
    """
    if path.is_dir():
        raise OutputError(
            "expected a file to write, found a folder", location=str(path), hint="name a file in it"
        )
    if path.exists() and not path.is_file():
        raise OutputError(
            "expected a regular file, found a device or pipe", location=str(path), hint="name a file"
        )
    if not path.parent.is_dir():
        raise OutputError(
            f"the folder {path.parent} does not exist", location=str(path), hint="make it, or choose another"
        )
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"the folder {path.parent} cannot be written to", location=str(path))


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
        raise OutputError(f"cannot be made: {error.strerror or error}", location=str(path)) from error
    if not os.access(path, os.W_OK):
        raise OutputError("the folder cannot be written to", location=str(path))
