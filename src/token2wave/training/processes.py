"""Calls a function in processes of its own, several at a time.

A process is a new interpreter, so a script that trains needs no ``if __name__ == "__main__"``. It ends when
its standard input does, and so with the process that started it.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from token2wave.core import n_threads
from token2wave.errors import MissingExtraError, Token2WaveError

R = TypeVar("R")


def call_in_processes(
    function: Callable[..., R],
    arguments: Sequence[tuple[Any, ...]],
    n_processes: int,
    on_result: Callable[[int], None],
) -> list[R]:
    """Call a function with each of several tuples of arguments.

    Args:
        function: of a module; its arguments and result can be pickled.
        arguments: of each call.
        n_processes: how many run at a time, and share the threads of this one; with one, this process does
            all.
        on_result: called with the number of each call that is complete.

    Raises:
        Token2WaveError: a call raised it, or its process ended.
    """
    if n_processes < 2:
        results = []
        for number, values in enumerate(arguments):
            results.append(function(*values))
            on_result(number)
        return results
    workers = _Workers(max(n_threads() // n_processes, 1))
    with ThreadPoolExecutor(n_processes) as pool:  # each thread waits for a process of its own
        try:
            futures = {pool.submit(workers.call, function, values): i for i, values in enumerate(arguments)}
            for future in as_completed(futures):
                future.result()
                on_result(futures[future])
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            workers.stop()
    return [future.result() for future in futures]


class _Workers:
    """Processes that wait for calls, one for each thread that makes some."""

    def __init__(self, n_threads: int) -> None:
        self.environment = {**os.environ, "OMP_NUM_THREADS": str(n_threads)}
        self.processes: list[subprocess.Popen[bytes]] = []
        self.of_thread = threading.local()
        self.lock = threading.Lock()
        self.is_stopped = False

    def call(self, function: Callable[..., R], values: tuple[Any, ...]) -> R:
        process = self._process()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            pickle.dump((function, values), process.stdin)
            process.stdin.flush()
            result, error = pickle.load(process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError) as broken:
            raise Token2WaveError(
                f"a process ended early (status {process.wait()})",
                hint="read what it printed above, and check the free memory",
            ) from broken
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]

    def _process(self) -> subprocess.Popen[bytes]:
        """The process of this thread."""
        if not hasattr(self.of_thread, "process"):
            with self.lock, blocked_interrupts():
                if self.is_stopped:
                    raise Token2WaveError("the processes are stopped")
                self.of_thread.process = subprocess.Popen(
                    [sys.executable, "-m", __name__],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env=self.environment,
                )
                self.processes.append(self.of_thread.process)
        return self.of_thread.process  # type: ignore[no-any-return]

    def stop(self) -> None:
        """End all processes."""
        with self.lock:
            self.is_stopped = True
            for process in self.processes:
                process.kill()
                with suppress(OSError):
                    process.__exit__(None, None, None)


@contextmanager
def blocked_interrupts() -> Iterator[None]:
    """Block Ctrl-C while a process starts, which inherits the block; this process handles the signal."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def main() -> None:
    """Make the calls that standard input describes, and write their results to standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is printed is no result
    calls: queue.SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...]]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(calls,), daemon=True).start()
    while True:
        function, values = calls.get()
        result = error = None
        try:
            result = function(*values)
        except MissingExtraError as missing:  # it takes other arguments
            error = Token2WaveError(missing.problem, hint=missing.hint)
        except Token2WaveError as raised:
            error = raised
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        pickle.dump((result, error), results)
        results.flush()


def _receive(calls: queue.SimpleQueue[Any]) -> None:
    with suppress(EOFError):
        while True:
            calls.put(pickle.load(sys.stdin.buffer))
    os._exit(0)  # the parent process has ended


if __name__ == "__main__":
    main()
