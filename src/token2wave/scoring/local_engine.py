"""Scores on one machine with a worker process for each core, and replaces processes that die."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from token2wave import errors
from token2wave.errors import MissingExtraError, OutputError, Token2WaveError
from token2wave.scoring.job import Job
from token2wave.scoring.journal import OutputPart
from token2wave.training.processes import blocked_interrupts

MAX_FAILURES = 3
QUEUE_LENGTH = 2  # segments that a worker has at once, so that it need not wait for the next


def run(job: Job, n_workers: int, on_commit: Callable[[OutputPart], None]) -> None:
    """Score all segments that are not complete, and call ``on_commit`` with each recorded output part.

    Raises:
        Token2WaveError: the model, an input or the output cannot be used; finished parts are kept.
    """
    segments = job.open_segments()
    if segments:
        engine = _Engine(job, segments, n_workers, on_commit)
        try:
            engine.run()
        finally:
            for worker in engine.workers:
                worker.stop()


class _WorkerProcess:
    """A worker process and its segments, the current one first."""

    def __init__(self, job: Job, events: queue.SimpleQueue[Any]) -> None:
        self.segments: deque[int] = deque()
        self.is_ready = False
        with blocked_interrupts():
            self.process = subprocess.Popen(
                [sys.executable, "-m", "token2wave.scoring.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="ascii",
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        self.thread = threading.Thread(target=self._receive, args=(events,), daemon=True)
        self.thread.start()
        self.send(asdict(job.config))

    def _receive(self, events: queue.SimpleQueue[Any]) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with suppress(ValueError):  # half of the last line of a killed process
                events.put((self, *json.loads(line)))
        events.put((self, "ended", None))

    def send(self, message: dict[str, Any]) -> None:
        """Send a message; if the process has died, its ``ended`` event follows."""
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()

    def stop(self) -> None:
        """Kill the process; its unfinished output is discarded."""
        self.process.kill()
        self.process.wait()
        self.thread.join()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


class _Engine:
    def __init__(
        self, job: Job, segments: list[int], n_cores: int, on_commit: Callable[[OutputPart], None]
    ) -> None:
        self.job, self.on_commit, self.n_cores = job, on_commit, n_cores
        self.pending = deque(segments)
        self.n_open = len(segments)
        self.failures: Counter[tuple[int, int]] = Counter()  # by segment and output part
        self.n_failed_starts = 0
        self.quarantined: dict[int, tuple[int, str]] = {}  # output part and reason, by segment
        self.events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.workers = {_WorkerProcess(job, self.events) for _ in range(min(n_cores, len(segments)))}

    def run(self) -> None:
        """Assign segments until all are complete."""
        while self.n_open:
            for worker in self.workers:
                while self.pending and len(worker.segments) < QUEUE_LENGTH:
                    self._assign(worker, self.pending.popleft())
            worker, event, value = self.events.get()
            if worker in self.workers:
                self._handle(worker, event, value)

    def _assign(self, worker: _WorkerProcess, segment: int) -> None:
        worker.segments.append(segment)
        task = self.job.task(segment, *self.quarantined.get(segment, ()))
        # Threads use the cores that have no segment, e.g. with one large compressed file.
        n_threads = max(self.n_cores // max(len(self.workers), 1), 1)
        worker.send({"task": asdict(task), "n_threads": n_threads})

    def _handle(self, worker: _WorkerProcess, event: str, value: Any) -> None:
        if event == "ready":
            worker.is_ready = True
        elif event == "part":
            output_part = OutputPart.from_dict(value)
            self.job.journal.commit(output_part)
            self.on_commit(output_part)
        elif event == "complete":
            worker.segments.remove(value)
            self.n_open -= 1
        elif event == "failed":
            segment, reason = value
            worker.segments.remove(segment)
            self._record_failure(segment, reason)
        elif event == "error":
            error = getattr(errors, value["type"], Token2WaveError)
            error = Token2WaveError if error is MissingExtraError else error  # it takes other arguments
            raise error(value["problem"], location=value["location"], hint=value["hint"])
        else:
            self._replace(worker)

    def _replace(self, worker: _WorkerProcess) -> None:
        status = worker.process.wait()
        worker.stop()
        self.workers.remove(worker)
        reason = f"signal {-status}" if status < 0 else f"exit status {status}"
        current = worker.segments.popleft() if worker.segments and worker.is_ready else None
        self.pending.extendleft(reversed(worker.segments))
        if current is not None:
            self._record_failure(current, f"ended by {reason}")
        elif not worker.is_ready:
            self.n_failed_starts += 1
            if self.n_failed_starts >= MAX_FAILURES:
                raise OutputError(
                    f"worker processes end before they are ready ({reason})",
                    location="local engine",
                    hint="read what they printed above, and check the free memory",
                )
        self.workers.add(_WorkerProcess(self.job, self.events))

    def _record_failure(self, segment: int, reason: str) -> None:
        """Count a failure of an output part: three quarantine the part, six end the job."""
        finished = self.job.journal.finished[segment]
        number = next(number for number in range(len(finished) + 1) if number not in finished)
        self.failures[segment, number] += 1
        n_failures = self.failures[segment, number]
        if n_failures == MAX_FAILURES:
            message = f"scoring this part ended a process {MAX_FAILURES} times ({reason})"
            self.quarantined[segment] = (number, message)
        if n_failures >= 2 * MAX_FAILURES:
            raise OutputError(
                f"reading this ends a process every time ({reason})",
                location=self.job.segments[segment].path,
                hint="leave the file out, with another --output; finished parts are kept",
            )
        self.pending.appendleft(segment)
