"""Scores on one machine, with a process for each core; a process that dies is replaced."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from token2wave import errors
from token2wave.errors import OutputError, Token2WaveError
from token2wave.scoring.job import Job
from token2wave.scoring.output_parts import OutputPart

MAX_DEATHS = 3
SEGMENTS_AHEAD = 2  # segments that a worker has at once, so that it need not wait for the next


def run(job: Job, n_workers: int, finished: Callable[[OutputPart], None]) -> None:
    """Score all segments that are not finished.

    Args:
        job: records each part.
        n_workers: processes.
        finished: called with each part that is recorded.

    Raises:
        Token2WaveError: the model, an input or the output cannot be used; finished parts are kept.
    """
    segments = job.open_segments()
    if segments:
        engine = _Engine(job, segments, min(n_workers, len(segments)), n_workers, finished)
        try:
            engine.run()
        finally:
            engine.stop()


class _WorkerProcess:
    """A worker process and the segments assigned to it."""

    def __init__(self, config: dict[str, Any], messages: queue.SimpleQueue[Any]) -> None:
        self.tasks: deque[int] = deque()
        self.is_ready = False
        command = [sys.executable, "-m", "token2wave.scoring.worker"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with _blocking_interrupts():
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="ascii",
                env=environment,
            )
        self.thread = threading.Thread(target=self._listen, args=(messages,), daemon=True)
        self.thread.start()
        self.send(config)

    def _listen(self, messages: queue.SimpleQueue[Any]) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with suppress(ValueError):  # half a line of one that was killed
                messages.put((self, json.loads(line)))
        messages.put((self, None))

    def send(self, message: dict[str, Any]) -> None:
        """Write a message; a dead process is noticed later."""
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()

    def stop(self) -> None:
        """End the process at once; what it was writing is discarded."""
        self.process.kill()
        self.process.wait()
        self.thread.join()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


@contextmanager
def _blocking_interrupts() -> Iterator[None]:
    """Block Ctrl-C while a process starts, so that the new one inherits the block and this one handles it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


class _Engine:
    def __init__(
        self,
        job: Job,
        segments: list[int],
        n_workers: int,
        n_cores: int,
        finished: Callable[[OutputPart], None],
    ) -> None:
        self.job, self.finished, self.n_cores = job, finished, n_cores
        self.waiting = deque(segments)
        self.n_open = len(segments)
        self.deaths: Counter[tuple[int, int]] = Counter()
        self.early_deaths = 0
        self.set_aside: dict[int, tuple[int, str]] = {}  # by segment
        self.messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.workers = {self._start_worker() for _ in range(n_workers)}

    def _start_worker(self) -> _WorkerProcess:
        return _WorkerProcess(self.job.config.to_dict(), self.messages)

    def run(self) -> None:
        """Assign segments until all are complete."""
        while self.n_open:
            for worker in self.workers:
                while self.waiting and len(worker.tasks) < SEGMENTS_AHEAD:
                    self._assign(worker, self.waiting.popleft())
            worker, message = self.messages.get()
            if worker in self.workers:
                self._handle(worker, message)

    def _assign(self, worker: _WorkerProcess, number: int) -> None:
        # Where there are fewer segments than cores, as with one large compressed file, threads take the rest.
        n_threads = max(self.n_cores // max(len(self.workers), 1), 1)
        worker.tasks.append(number)
        worker.send(
            {
                "number": number,
                "segment": self.job.segments[number].to_dict(),
                "done": sorted(self.job.finished.get(number, ())),
                "set_aside": self.set_aside.get(number),
                "n_threads": n_threads,
            }
        )

    def _handle(self, worker: _WorkerProcess, message: dict[str, Any] | None) -> None:
        if message is None:
            self._replace(worker)
        elif "part" in message:
            part = OutputPart.from_dict(message["part"])
            self.job.commit(part)
            self.finished(part)
        elif "complete" in message:
            worker.tasks.remove(message["complete"])
            self.n_open -= 1
        elif "failed" in message:
            worker.tasks.remove(message["failed"])
            self._record_failure(message["failed"], message["reason"])
        elif "fault" in message:
            fault = message["fault"]
            kind = getattr(errors, fault["kind"], Token2WaveError)
            if not issubclass(kind, Token2WaveError) or kind is errors.MissingExtraError:
                kind = Token2WaveError
            raise kind(fault["problem"], location=fault["location"], hint=fault["hint"])
        else:
            worker.is_ready = True

    def _replace(self, worker: _WorkerProcess) -> None:
        status = worker.process.wait()
        worker.stop()
        self.workers.remove(worker)
        reason = f"signal {-status}" if status < 0 else f"exit status {status}"
        if not worker.is_ready:
            self.early_deaths += 1
            if self.early_deaths >= MAX_DEATHS:
                raise OutputError(
                    f"processes end before they begin ({reason})",
                    location="local engine",
                    hint="look at what they printed above, and at the memory that is free",
                )
        begun = worker.tasks.popleft() if worker.tasks and worker.is_ready else None
        self.waiting.extendleft(reversed(worker.tasks))
        if begun is not None:
            self._record_failure(begun, f"ended by {reason}")
        self.workers.add(self._start_worker())

    def _record_failure(self, segment: int, reason: str) -> None:
        """Count a failure of a part: after three its rows are rejected, after six the job gives up."""
        done = self.job.finished.get(segment, {})
        part = next(number for number in range(len(done) + 1) if number not in done)
        self.deaths[segment, part] += 1
        if self.deaths[segment, part] == MAX_DEATHS:
            self.set_aside[segment] = (
                part,
                f"scoring this part ended a process {MAX_DEATHS} times ({reason})",
            )
        if self.deaths[segment, part] >= 2 * MAX_DEATHS:
            raise OutputError(
                f"reading this ends a process every time ({reason})",
                location=self.job.segments[segment].path,
                hint="leave the file out; finished parts are kept, but another --output is needed",
            )
        self.waiting.appendleft(segment)

    def stop(self) -> None:
        """End all processes."""
        for worker in self.workers:
            worker.stop()
