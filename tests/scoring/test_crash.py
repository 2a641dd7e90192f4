"""A job killed at any moment resumes, and ends with the same bytes as an undisturbed job."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from scoring_data import content, crawl, output_rows, rejects, write_jsonl

import token2wave
from token2wave.errors import OutputError
from token2wave.scoring import journal, local_engine
from token2wave.scoring.batch_predictor import PredictionOptions
from token2wave.scoring.job import JobConfig

N = 600
BROKEN = (b"{", b'{"text": 1}')
SETTINGS = {"keep": "label != 'spam' or id < 10", "part_size": 10_000}


class KilledError(BaseException):
    """Simulates SIGKILL: code that catches errors does not catch it."""


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    rows: list[Any] = crawl(N)
    rows[100:100] = BROKEN
    return write_jsonl(tmp_path / "crawl.jsonl", rows)


@pytest.fixture
def undisturbed(score_here: Any, model: Path, pages: Path, tmp_path: Path) -> dict[str, bytes]:
    """The files of an undisturbed job; every row is in them once."""
    folder = tmp_path / "undisturbed"
    summary = score_here(model, pages, folder, **SETTINGS)
    ids = [row["id"] for row in output_rows(folder)]
    assert len(ids) == len(set(ids)) == summary.n_written
    assert summary.n_rejected == len(rejects(folder)) == len(BROKEN)
    assert summary.n_read == N + len(BROKEN) == summary.n_written + summary.n_filtered + summary.n_rejected
    return comparable(folder)


def comparable(folder: Path) -> dict[str, bytes]:
    files = content(folder)
    files["summary.json"] = files["summary.json"].replace(str(folder).encode(), b"FOLDER")
    return files


def command(model: Path, pages: Path, out: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "token2wave", "score", str(model), str(pages), "--output", str(out)),
        *("--keep", str(SETTINGS["keep"]), "--part-size", str(SETTINGS["part_size"]), "--workers", "2"),
    ]


# ---- SIGKILL ----


def test_killing_all_processes_at_random_moments(
    model: Path, pages: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    out, seed = tmp_path / "out", time.time_ns() % 2**32
    print(f"seed {seed}")
    rng, n_killed, seconds = random.Random(seed), 0, 1.2
    while n_killed < 4:
        process = subprocess.Popen(command(model, pages, out), start_new_session=True, stderr=subprocess.PIPE)
        try:
            process.wait(rng.uniform(0, seconds))
            seconds *= 0.8  # the job finished: kill the next one earlier
            assert process.returncode == 0, process.stderr.read() if process.stderr else ""
            (out / "_job" / "journal.jsonl").unlink()  # all is to be done again
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            n_killed += 1
        process.communicate()
    subprocess.run(command(model, pages, out), check=True, capture_output=True)
    assert comparable(out) == undisturbed


@pytest.mark.parametrize("when", ["before", "after"])
def test_killing_at_every_step(
    score_here: Any,
    model: Path,
    pages: Path,
    tmp_path: Path,
    undisturbed: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    when: str,
) -> None:
    """Each call that changes the disk ends some run; all runs together are one job."""
    out, step = tmp_path / "out", 0
    while True:
        left = [step]

        def counted(real: Callable[..., Any], left: list[int] = left) -> Callable[..., Any]:
            def call(*arguments: Any, **named: Any) -> Any:
                left[0] -= 1
                if left[0] == -1 and when == "before":
                    raise KilledError
                result = real(*arguments, **named)
                if left[0] == -1:
                    raise KilledError
                return result

            return call

        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", counted(os.replace))
            patched.setattr(os, "fsync", counted(os.fsync))
            patched.setattr(Path, "replace", counted(Path.replace))
            try:
                score_here(model, pages, out, **SETTINGS)
                break
            except KilledError:
                step = (step + 1) % 9
    assert comparable(out) == undisturbed
    assert not list((out / "_job" / "staging").iterdir())


# ---- a worker dies ----


@pytest.fixture
def run_in_workers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Makes new processes run some code first."""

    def run(code: str) -> None:
        folder = tmp_path / "site"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(code)
        path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))
        monkeypatch.setenv("PYTHONPATH", path)

    return run


KILLS_AT = """
import os, signal, sys
from token2wave.classifier import Classifier
real = Classifier.probabilities_and_known
def probabilities_and_known(self, texts, advance=None):
    values = texts.to_pylist() if hasattr(texts, "to_pylist") else texts
    if any("POISON" in text for text in values):
        {what}
    return real(self, texts, advance)
Classifier.probabilities_and_known = probabilities_and_known
"""


@pytest.mark.parametrize(
    ("what", "message"),
    [("os.kill(os.getpid(), signal.SIGKILL)", "signal 9"), ("raise MemoryError('all')", "MemoryError")],
)
def test_a_part_that_kills_is_quarantined(
    run_in_workers: Callable[[str], None], model: Path, tmp_path: Path, what: str, message: str
) -> None:
    rows = crawl(300)
    rows[150]["text"] = "POISON"
    path = write_jsonl(tmp_path / "crawl.jsonl", rows)
    run_in_workers(KILLS_AT.format(what=what))
    summary = token2wave.score(model, path, tmp_path / "out", workers=2, part_size=10_000)
    assert (summary.n_quarantined, summary.n_read) == (1, 300)
    rejected = rejects(tmp_path / "out")
    assert summary.n_rejected == len(rejected) > 0
    assert all("scoring this part ended a process 3 times" in reject["reason"] for reject in rejected)
    assert all(message in reject["reason"] for reject in rejected)
    ids = [row["id"] for row in output_rows(tmp_path / "out")]
    assert len(ids) + len(rejected) == 300
    assert 150 not in ids
    assert {299, 0} <= set(ids)


def test_files_of_a_killed_run_are_removed_when_the_part_is_quarantined(
    run_in_workers: Callable[[str], None], model: Path, tmp_path: Path
) -> None:
    """Otherwise its rows would be both written and rejected."""
    rows = crawl(20)
    rows[3]["text"] = "POISON"
    path = write_jsonl(tmp_path / "crawl.jsonl", rows)
    run_in_workers(KILLS_AT.format(what="raise MemoryError('all')"))
    out = tmp_path / "out"
    (out / "_job").mkdir(parents=True)
    token2wave.score(model, path, out, workers=1)
    (out / "parts" / "part-000000-0000.parquet").write_text("renamed and not recorded")
    (out / "_job" / "journal.jsonl").unlink()
    assert token2wave.score(model, path, out, workers=1).n_rejected == 20
    assert not list((out / "parts").iterdir())


def test_workers_that_die_once_are_replaced(
    run_in_workers: Callable[[str], None],
    model: Path,
    pages: Path,
    tmp_path: Path,
    undisturbed: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mark = tmp_path / "mark"
    mark.touch()
    once = (
        f"os.path.exists({str(mark)!r}) and (os.unlink({str(mark)!r}), os.kill(os.getpid(), signal.SIGKILL))"
    )
    run_in_workers(KILLS_AT.format(what="pass").replace("values = ", f"{once}\n    values = "))
    monkeypatch.setattr(local_engine, "run", _REAL_RUN)
    summary = token2wave.score(model, pages, tmp_path / "out", workers=2, **SETTINGS)
    assert not mark.exists()
    assert summary.n_quarantined == 0
    assert comparable(tmp_path / "out") == undisturbed


_REAL_RUN = local_engine.run


def test_workers_that_cannot_start(
    run_in_workers: Callable[[str], None], model: Path, pages: Path, tmp_path: Path
) -> None:
    run_in_workers("import sys, os\nif 'worker' in ' '.join(sys.orig_argv): os._exit(7)\n")
    with pytest.raises(OutputError, match=r"worker processes end before they are ready \(exit status 7\)"):
        token2wave.score(model, pages, tmp_path / "out", workers=2)


def test_workers_end_with_their_parent(
    run_in_workers: Callable[[str], None], model: Path, pages: Path, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    is_worker = "'scoring.worker' in ' '.join(sys.orig_argv)"
    run_in_workers(f"import os, sys\nif {is_worker}: print(os.getpid(), file=open({str(pids)!r}, 'a'))\n")
    process = subprocess.Popen(
        command(model, pages, tmp_path / "out"), start_new_session=True, stderr=subprocess.PIPE
    )
    _wait_for(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    process.kill()
    process.communicate()
    _wait_for(lambda: not any(_is_alive(int(pid)) for pid in pids.read_text().split()))


def test_an_idle_worker_ends_with_its_input(model: Path, tmp_path: Path) -> None:
    config = JobConfig(
        str(model), str(tmp_path), "text", None, None, "jsonl", PredictionOptions(), 10_000, None
    )
    worker = [sys.executable, "-m", "token2wave.scoring.worker"]
    with subprocess.Popen(worker, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(asdict(config)) + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline()) == ["ready", None]
        process.stdin.close()
        try:
            assert process.wait(30) == 0
        finally:
            process.kill()


def _is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def _wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("waited too long")


# ---- Ctrl-C, two processes, full disks ----


def test_ctrl_c_keeps_finished_parts(
    model: Path, pages: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        command(model, pages, out), start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    _wait_for(lambda: (out / "_job" / "journal.jsonl").exists() or process.poll() is not None)
    os.killpg(process.pid, signal.SIGINT)
    _, message = process.communicate()
    if process.returncode != 0:
        assert process.returncode == 130
        assert f"\nerror: interrupted; finished parts are in {out}, and the same command" in f"\n{message}"
    subprocess.run(command(model, pages, out), check=True, capture_output=True)
    assert comparable(out) == undisturbed


def test_a_second_process_is_refused(
    score_here: Any, model: Path, pages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def run(job: Any, *_: Any) -> None:
        with pytest.raises(OutputError, match="another process works on this job"):
            token2wave.score(model, pages, out)

    monkeypatch.setattr(local_engine, "run", run)
    token2wave.score(model, pages, out)


@pytest.fixture
def disk_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Limits the size of files that this process writes, like a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (soft if size < 0 else size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_a_full_disk(
    score_here: Any, model: Path, pages: Path, tmp_path: Path, disk_of: Callable[[int], None], format: str
) -> None:
    expected, out = tmp_path / "expected", tmp_path / "out"
    score_here(model, pages, expected, format=format, part_size=10_000)
    sizes = {path.name: path.stat().st_size for path in (expected / "parts").iterdir()}
    for limit in (0, 100, 3000, sorted(sizes.values())[len(sizes) // 2]):
        disk_of(limit)
        with pytest.raises(OutputError, match="File too large"):
            score_here(model, pages, out, format=format, part_size=10_000)
        disk_of(-1)
    score_here(model, pages, out, format=format, part_size=10_000)
    assert comparable(out) == comparable(expected)


def test_a_disk_that_fills_up_while_the_journal_is_written(
    score_here: Any,
    model: Path,
    pages: Path,
    tmp_path: Path,
    undisturbed: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, real = tmp_path / "out", os.fsync
    with monkeypatch.context() as patched:

        def fsync(handle: int) -> None:
            if os.readlink(f"/proc/self/fd/{handle}").endswith(journal.JOURNAL):
                os.ftruncate(handle, os.fstat(handle).st_size - 20)
                raise OSError(28, "No space left on device")
            real(handle)

        patched.setattr(os, "fsync", fsync)
        for _ in range(3):
            with pytest.raises(OutputError, match=r"No space left.*finished parts are kept"):
                score_here(model, pages, out, **SETTINGS)
    score_here(model, pages, out, **SETTINGS)
    assert comparable(out) == undisturbed


def test_the_journal_is_written_after_the_part(
    score_here: Any, model: Path, pages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part is recorded after its file and folder are flushed to the disk."""
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def name(handle: int) -> str:
        return Path(os.readlink(f"/proc/self/fd/{handle}")).name.split(".")[0]

    monkeypatch.setattr(os, "fsync", lambda handle: (steps.append("disk " + name(handle)), fsync(handle))[1])
    monkeypatch.setattr(
        os, "replace", lambda a, b: (steps.append("place " + Path(b).name.split(".")[0]), replace(a, b))[1]
    )
    score_here(model, pages, tmp_path / "out", keep="id < 5")
    first = steps[steps.index("disk part-000000-0000") :]
    assert [step for step in first if "part-" in step or step.endswith(("parts", "rejected", "journal"))][
        :7
    ] in (
        [
            *("disk part-000000-0000", "place part-000000-0000") * 2,
            *(f"disk {folder}" for folder in order),
            "disk journal",
        ]
        for order in (("parts", "rejected"), ("rejected", "parts"))
    )
    assert threading.active_count() < 20
