"""Whatever happens to a process that writes, the old file or the new one is there, and nothing beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from token2wave.errors import OutputError
from token2wave.storage import atomic as files
from token2wave.storage.atomic import atomic_write, temporary_path

WRITER = """
import sys
from pathlib import Path
from token2wave.storage.atomic import atomic_write
with atomic_write(Path(sys.argv[1])) as aside:
    aside.write_text(sys.argv[2])
    print(aside, flush=True)
    sys.stdin.readline()
"""


def begun(path: Path, content: str) -> tuple[subprocess.Popen[str], Path]:
    """A process in the middle of writing, and where it writes."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), content],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def ended(process: subprocess.Popen[str]) -> int:
    with process:
        process.communicate("\n")
    return process.returncode


def killed(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    ended(process)


def write(path: Path, content: str) -> None:
    with atomic_write(path) as aside:
        aside.write_text(content)


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    process, part = begun(path, "half")
    killed(process)
    assert part.exists()
    assert path.read_text() == "old"
    write(path, "new")
    assert os.listdir(tmp_path) == ["file"]
    assert path.read_text() == "new"


def test_who_writes_at_the_same_time_is_let_be(tmp_path: Path) -> None:
    path = tmp_path / "file"
    one, part_of_one = begun(path, "one")
    two, part_of_two = begun(path, "two")
    three, part_of_three = begun(path, "three")
    assert len({part_of_one, part_of_two, part_of_three}) == 3
    killed(two)
    write(path, "four")
    assert path.read_text() == "four"
    assert not part_of_two.exists()
    assert ended(one) == 0
    assert path.read_text() == "one"
    killed(three)
    write(path, "five")
    assert os.listdir(tmp_path) == ["file"]


def test_many_threads(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = [str(number) * 5_000 for number in range(8)]
    failed: list[BaseException] = []

    def work(content: str) -> None:
        try:
            for _ in range(60):
                write(path, content)
                assert path.read_text() in contents
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert os.listdir(tmp_path) == ["file"]


def test_nobody_elses_files_are_touched(tmp_path: Path) -> None:
    """In a folder where others write, too, what has the name of a part may be anything."""
    path, precious = tmp_path / "file", tmp_path / "precious"
    precious.write_text("precious")
    temporary_path(path, 0).symlink_to(precious)
    temporary_path(path, 1).mkdir()
    os.mkfifo(temporary_path(path, 2))
    write(path, "new")
    assert path.read_text() == "new"
    assert precious.read_text() == "precious"
    assert temporary_path(path, 0).is_symlink()
    assert temporary_path(path, 1).is_dir()


def test_within_another(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_write(path) as outer:
        write(outer, "first")
        write(outer, "second")
        with pytest.raises(ZeroDivisionError), atomic_write(outer):
            _ = 1 / 0
        assert os.listdir(tmp_path) == [outer.name]
    assert path.read_text() == "second"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("fault", ["no locks here", "no such module"])
def test_without_locks(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if fault == "no such module":
        monkeypatch.setattr(files, "fcntl", None)
    else:

        def flock(*_: object) -> None:
            raise OSError("no locks")

        monkeypatch.setattr(files.fcntl, "flock", flock)
    path = tmp_path / "file"
    temporary_path(path, 0).write_text("left over, or someone is at it")
    write(path, "new")
    assert path.read_text() == "new"
    assert temporary_path(path, 0).exists()


def test_links_lead_to_what_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"


def test_names_that_are_too_long(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="File name too long"):
        write(tmp_path / ("n" * 254), "new")


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o400])
def test_a_replaced_file_keeps_its_mode_and_the_part_is_private(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(mode)
    with atomic_write(path) as part:
        assert part.stat().st_mode & 0o777 == 0o600
        part.write_text("new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == mode


def test_a_replaced_file_keeps_its_owner_and_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the group cannot be kept, the group of the process does not get its rights."""
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o660)
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "chown", lambda _, user, group: calls.append((user, group)))
    write(path, "new")
    state = path.stat()
    assert calls == [(state.st_uid, state.st_gid)]
    assert state.st_mode & 0o777 == 0o660

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "chown", refuse)
    write(path, "newer")
    assert path.stat().st_mode & 0o777 == 0o600


def test_new_files_and_folders_are_private_where_they_must_be(tmp_path: Path) -> None:
    previous = os.umask(0o022)
    try:
        write(tmp_path / "public", "text")
        with files.private_files(True), files.private_files(False):
            files.make_folder(tmp_path / "folder")
            write(tmp_path / "folder" / "private", "text")
    finally:
        os.umask(previous)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {"public": 0o644, "folder": 0o700, "private": 0o600}


def test_a_link_into_a_missing_folder_is_found_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "missing" / "file")
    with pytest.raises(OutputError, match="does not exist"):
        files.check_writable(tmp_path / "link")
