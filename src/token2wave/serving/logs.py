"""Lines of the log, which never hold up the service: not on a full disk, nor where nobody reads the pipe."""

from __future__ import annotations

import atexit
import logging
import queue
import threading
from contextlib import suppress

WAITING = 10_000  # lines that wait to be written; further ones are left out, and counted
LAST_SECONDS = 1.0  # for the lines that wait when the process ends


class PatientHandler(logging.Handler):
    """Has lines written by a thread of its own; what cannot be written is left out.

    Args:
        target: writes them, one after the other.
    """

    def __init__(self, target: logging.Handler) -> None:
        super().__init__()
        self._target = target
        self._waiting: queue.Queue[logging.LogRecord | None] = queue.Queue(WAITING)
        self._left_out = 0
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()
        atexit.register(self._end)

    def emit(self, record: logging.LogRecord) -> None:
        """Let a line wait for its turn."""
        try:
            self._waiting.put_nowait(record)
        except queue.Full:
            self._left_out += 1

    def _write(self) -> None:
        while (record := self._waiting.get()) is not None:
            left_out, self._left_out = self._left_out, 0
            if left_out:
                self._target.handle(_note(f"{left_out:,} lines were left out: nobody took them"))
            self._target.handle(record)

    def _end(self) -> None:
        with suppress(queue.Full):
            self._waiting.put_nowait(None)
            self._thread.join(LAST_SECONDS)


def log_to_standard_error() -> None:
    """Send what the service logs to standard error."""
    logging.raiseExceptions = False  # a line that cannot be written is no reason to write another
    target = logging.StreamHandler()
    target.setFormatter(logging.Formatter("%(message)s"))
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(PatientHandler(target))
    logging.getLogger("token2wave.serving").setLevel(logging.INFO)


def _note(text: str) -> logging.LogRecord:
    return logging.LogRecord("token2wave.serving", logging.WARNING, "", 0, text, None, None)
