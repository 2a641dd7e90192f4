"""The service while its surroundings fail; ``benchmarks/faults.py`` does the same for longer."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from service_helpers import TEXTS

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import faults

from token2wave.errors import ConfigError
from token2wave.serving import prometheus, server
from token2wave.serving.logs import MAX_QUEUED_LINES, DroppingQueueHandler

SECONDS = 0.5


@pytest.mark.parametrize(
    "fault",
    [faults.full_log, faults.log_that_nobody_reads, faults.log_whose_reader_is_gone, faults.jumping_clock],
    ids=lambda fault: fault.__name__,
)
def test_faults_do_no_harm(fault, model, monkeypatch):
    monkeypatch.setattr(faults, "load_split", lambda name: SimpleNamespace(texts=TEXTS))
    counts = fault(model, SECONDS, 0)
    assert not counts.failed
    assert counts.wrong == counts.asked_again == 0
    assert counts.right > 20


def test_killed_workers_are_restarted(model, monkeypatch):
    monkeypatch.setattr(faults, "load_split", lambda name: SimpleNamespace(texts=TEXTS))
    counts = faults.killed_workers(model, 3.0, 0, pause=1.2)
    assert not counts.failed
    assert not counts.wrong
    assert counts.right > 20


def test_metrics_of_dead_processes_are_removed(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    for number in (process.pid, os.getpid()):
        for prefix in ("gauge_livesum", "counter"):
            (tmp_path / f"{prefix}_{number}.db").touch()
    prometheus.remove_dead_processes(tmp_path)
    left = {f"counter_{process.pid}.db", f"counter_{os.getpid()}.db", f"gauge_livesum_{os.getpid()}.db"}
    assert set(os.listdir(tmp_path)) == left


def test_files_of_the_metrics_are_allocated_at_start(model):
    with faults.running(model, ["--workers", "2"]) as service:
        environment = Path(f"/proc/{service.workers()[0]}/environ").read_bytes().decode()
        folder = Path(re.search(r"PROMETHEUS_MULTIPROC_DIR=([^\0]+)", environment)[1])
        files = list(folder.glob("*.db"))
        assert files
        assert all(512 * path.stat().st_blocks >= path.stat().st_size > 0 for path in files)


def is_running(process):
    """Whether any thread runs: a first thread that has ended leaves its files open to the others."""
    states = []
    for thread in Path(f"/proc/{process}/task").glob("*/stat"):
        with contextlib.suppress(OSError):
            states.append(thread.read_text().rpartition(")")[2].split()[0])
    return any(state not in "ZX" for state in states)


def test_workers_end_with_their_parent(model):
    with faults.running(model, ["--workers", "2"]) as service:
        workers = service.workers()
        assert len(workers) == 2
        os.kill(service.process.pid, signal.SIGKILL)
        service.process.wait()
        end = time.monotonic() + 20
        while any(is_running(worker) for worker in workers) and time.monotonic() < end:
            time.sleep(0.05)
        with pytest.raises(OSError, match="refused"):
            service.metrics()


def test_a_closed_standard_error(model, monkeypatch):
    monkeypatch.setattr(faults, "load_split", lambda name: SimpleNamespace(texts=TEXTS))
    code = "import os, sys\nos.close(2)\nsys.stderr = None\nfrom token2wave.cli.main import main\nmain()\n"
    with faults.running(model, ["--access-log"], code=code) as service:
        counts = faults.ask_while(service, model, SECONDS)
    assert counts.right > 20
    assert not counts.failed


def test_no_disk_space_for_the_metrics(tmp_path, monkeypatch):
    monkeypatch.setattr(server.shutil, "disk_usage", lambda folder: SimpleNamespace(free=5_000_000))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    server._make_folder(1).cleanup()
    with pytest.raises(ConfigError, match=r"^--workers: expected 8 MB .* found 5 MB in .*TMPDIR"):
        server._make_folder(2)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(ConfigError, match=r"^--workers: expected 4 MB .* found No such file .*TMPDIR"):
        server._make_folder(1)


def test_a_stuck_log_does_not_block():
    stuck, lines = threading.Event(), []

    class Target(logging.Handler):
        def emit(self, record):
            stuck.wait(20)
            lines.append(record.getMessage())

    def wait_for_lines(n_lines):
        end = time.monotonic() + 20
        while len(lines) < n_lines and time.monotonic() < end:
            time.sleep(0.01)

    handler = DroppingQueueHandler(Target())
    for number in range(MAX_QUEUED_LINES + 500):
        handler.handle(logging.LogRecord("a", logging.INFO, "", 0, str(number), None, None))
    stuck.set()
    wait_for_lines(MAX_QUEUED_LINES)
    time.sleep(0.1)
    n_written = len(lines)
    assert n_written <= MAX_QUEUED_LINES + 1
    handler.handle(logging.LogRecord("a", logging.INFO, "", 0, "last", None, None))
    wait_for_lines(n_written + 2)
    n_dropped = MAX_QUEUED_LINES + 500 - n_written
    assert lines[0] == "0"
    assert lines[-2:] == [f"{n_dropped:,} lines were dropped: the log could not be written", "last"]
