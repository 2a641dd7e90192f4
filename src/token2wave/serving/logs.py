"""Logs lines of JSON and never blocks the service, even if the disk is full or nobody reads the pipe."""

from __future__ import annotations

import atexit
import json
import logging
import time
from logging.handlers import QueueHandler, QueueListener
from queue import Full, Queue

MAX_QUEUED_LINES = 10_000  # further lines are dropped and counted
EXIT_SECONDS = 1.0  # for lines that are queued when the process ends


class JsonFormatter(logging.Formatter):
    """Formats a record as an object with ``time``, ``level``, ``message``, and the record's ``fields``."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record; the queue has made its traceback part of the message."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        entry = {"time": f"{moment}.{int(record.msecs):03d}Z", "level": record.levelname.lower()}
        return json.dumps(entry | {"message": record.getMessage()} | getattr(record, "fields", {}))


class DroppingQueueHandler(QueueHandler):
    """A queue handler that drops lines when its queue is full, and logs how many it dropped.

    The standard ``QueueHandler`` reports each dropped line to standard error, which is stuck itself.

    Args:
        target: writes the lines, in a thread.
    """

    def __init__(self, target: logging.Handler) -> None:
        self._lines: Queue[logging.LogRecord] = Queue(MAX_QUEUED_LINES)
        super().__init__(self._lines)
        self._n_dropped = 0
        QueueListener(self._lines, target).start()
        atexit.register(self._wait)

    def enqueue(self, record: logging.LogRecord) -> None:
        """Queue a line, or drop it."""
        try:
            if self._n_dropped:
                text = f"{self._n_dropped:,} lines were dropped: the log could not be written"
                self._lines.put_nowait(
                    logging.LogRecord("token2wave.serving", logging.WARNING, "", 0, text, None, None)
                )
                self._n_dropped = 0
            self._lines.put_nowait(record)
        except Full:
            self._n_dropped += 1

    def _wait(self) -> None:
        """Wait until all lines are written. ``QueueListener.stop`` would wait for a stuck target forever."""
        end = time.monotonic() + EXIT_SECONDS
        while self._lines.unfinished_tasks and time.monotonic() < end:
            time.sleep(0.01)


def log_to_standard_error() -> None:
    """Send the log of the service to standard error."""
    logging.raiseExceptions = False  # a line that cannot be written causes no further lines
    target = logging.StreamHandler()
    target.setFormatter(JsonFormatter())
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(DroppingQueueHandler(target))
    logging.getLogger("token2wave.serving").setLevel(logging.INFO)
