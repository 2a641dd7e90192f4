"""A service under load while something goes wrong around it: nobody may get a wrong answer, or none for long.

Clients ask without a pause, each over a connection that it keeps, and hold every answer against what the
model says. Where a process of the service is killed, requests that it had begun are lost with their
connection, and are asked again; nothing else may fail.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import token2wave
from token2wave.data import load_split

CLIENTS = 4
TIMES_ASKED = 20  # a request, before it counts as failed
SECONDS_BEFORE_ASKING_AGAIN = 0.1
FIRST_ANSWER_SECONDS = 60.0
TEXTS = 200
JUMPING = """
import random, sys, time
true, chance = time.time, random.Random(0)
time.time = lambda: max(0.0, true() + chance.choice((0, 1, -1)) * chance.choice((1, 3600, 40_000_000)))
from token2wave.cli.main import main
main()
"""


@dataclass
class Answers:
    """Right and wrong answers, requests that lost their connection, and why requests were never answered."""

    right: int = 0
    wrong: int = 0
    asked_again: int = 0
    failed: list[str] = field(default_factory=list)


@dataclass
class Service:
    """A service that listens at a port, in a process of its own."""

    process: subprocess.Popen[bytes]
    port: int

    def workers(self) -> list[int]:
        """Processes that answer, where there are several."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        children = [int(number) for path in tasks for number in path.read_text().split()]
        return [child for child in children if _is_worker(child)]

    def metrics(self) -> str:
        """What the service counts."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()
        finally:
            connection.close()


def _is_worker(process: int) -> bool:
    with suppress(OSError):
        return b"spawn_main" in Path(f"/proc/{process}/cmdline").read_bytes()
    return False


@contextmanager
def running(
    model: Path, options: Sequence[str] = (), *, stderr: Any = subprocess.DEVNULL, code: str = ""
) -> Iterator[Service]:
    """Serve a model, until the end of the block."""
    port = _free_port()
    begin = ["-c", code] if code else ["-m", "token2wave"]
    command = [sys.executable, *begin, "serve", str(model), "--port", str(port), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=stderr, stderr=stderr, env=environment, start_new_session=True)
    service = Service(process, port)
    try:
        _await_answer(service)
        yield service
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ask_while(
    service: Service, model: Path, seconds: float, fault: Callable[[], None] | None = None
) -> Answers:
    """Ask for so long; ``fault`` is called again and again meanwhile."""
    texts = load_split("debian-sections").texts[:TEXTS]
    expected = dict(zip(texts, token2wave.load(model).labels(texts), strict=True))
    answers, end = [Answers() for _ in range(CLIENTS)], time.monotonic() + seconds

    def ask(number: int) -> None:
        chance, client = random.Random(number), _Client(service.port, answers[number])
        while time.monotonic() < end:
            text = chance.choice(texts)
            label = client.label_of(text)
            if label is not None:
                answers[number].right += label == expected[text]
                answers[number].wrong += label != expected[text]
        client.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    while fault is not None and time.monotonic() < end:
        fault()
    for thread in threads:
        thread.join()
    names = ("right", "wrong", "asked_again")
    counts = (sum(getattr(client, name) for client in answers) for name in names)
    return Answers(*counts, [reason for client in answers for reason in client.failed])


class _Client:
    """Asks over one connection, and over another when that is lost."""

    def __init__(self, port: int, answers: Answers) -> None:
        self._port, self._answers = port, answers
        self._connection: http.client.HTTPConnection | None = None

    def label_of(self, text: str) -> str | None:
        """The answer; None where there was none."""
        why = ""
        for _ in range(TIMES_ASKED):
            try:
                status, answer = self._ask(text)
                if status == 200:
                    return str(answer["label"])
                why = f"status {status}"
            except (OSError, http.client.HTTPException) as error:
                self.close()
                why = repr(error)
                self._answers.asked_again += 1
                time.sleep(SECONDS_BEFORE_ASKING_AGAIN)
        self._answers.failed.append(why)
        return None

    def close(self) -> None:
        """Give up the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, text: str) -> tuple[int, Any]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        headers = {"Content-Type": "application/json"}
        self._connection.request("POST", "/predict", json.dumps({"text": text}), headers)
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read())


def all_faults(folder: Path, seconds: float, seed: int) -> list[dict[str, Any]]:
    """Every fault in turn; a row for each."""
    model = folder / "model.safetensors"
    token2wave.train("debian-sections", out=model, preset="fast", epochs=1)
    return [row_of(name, FAULTS[name](model, seconds, seed)) for name in FAULTS]


def row_of(name: str, answers: Answers) -> dict[str, Any]:
    """What came of a fault, as plain data."""
    counts = {"right": answers.right, "wrong": answers.wrong, "asked_again": answers.asked_again}
    print(f"{name}: {counts} {answers.failed[:2]}", flush=True)
    is_kept = not answers.wrong and not answers.failed and answers.right > 0
    return {"fault": name, **counts, "failed": len(answers.failed), "kept": is_kept}


def killed_workers(model: Path, seconds: float, seed: int, pause: float = 1.5) -> Answers:
    """One of two processes is killed, again and again; the other goes on, and a new one comes."""
    chance = random.Random(seed)
    with running(model, ["--workers", "2"]) as service:

        def kill() -> None:
            if workers := service.workers():
                with suppress(ProcessLookupError):
                    os.kill(chance.choice(workers), signal.SIGKILL)
            time.sleep(pause)

        answers = ask_while(service, model, seconds, kill)
        if not re.search(r"^token2wave_connections \d+", service.metrics(), re.MULTILINE):
            answers.failed.append("no figures afterwards")
        return answers


def full_log(model: Path, seconds: float, seed: int) -> Answers:
    """Whatever is written to the log fails, as on a full disk."""
    with (
        Path("/dev/full").open("wb", buffering=0) as full,
        running(model, ["--access-log"], stderr=full) as service,
    ):
        return ask_while(service, model, seconds)


def log_that_nobody_reads(model: Path, seconds: float, seed: int, has_reader: bool = True) -> Answers:
    """The log goes into a pipe whose reader sleeps, and which is soon full; or that has no reader."""
    reading, writing = os.pipe()
    if not has_reader:
        os.close(reading)
    try:
        pipe = os.fdopen(writing, "wb", buffering=0, closefd=False)
        with running(model, ["--access-log"], stderr=pipe) as service:
            return ask_while(service, model, seconds)
    finally:
        for handle in [reading] * has_reader + [writing]:
            os.close(handle)


def log_whose_reader_is_gone(model: Path, seconds: float, seed: int) -> Answers:
    """The log goes into a pipe that nobody holds the other end of."""
    return log_that_nobody_reads(model, seconds, seed, has_reader=False)


def jumping_clock(model: Path, seconds: float, seed: int) -> Answers:
    """The clock of the wall jumps by a second, an hour or more than a year, back and forth, at every look."""
    with running(model, ["--access-log"], code=JUMPING) as service:
        return ask_while(service, model, seconds)


FAULTS: dict[str, Callable[[Path, float, int], Answers]] = {
    "a worker is killed again and again": killed_workers,
    "the log is on a full disk": full_log,
    "nobody reads the log's pipe": log_that_nobody_reads,
    "the log's reader is gone": log_whose_reader_is_gone,
    "the clock jumps": jumping_clock,
}


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def _await_answer(service: Service) -> None:
    end = time.monotonic() + FIRST_ANSWER_SECONDS
    while True:
        try:
            service.metrics()
            return
        except (OSError, http.client.HTTPException):
            if service.process.poll() is not None or time.monotonic() > end:
                raise
            time.sleep(0.05)


def main() -> int:
    """Try all faults; 1 if one did harm."""
    with tempfile.TemporaryDirectory(prefix="token2wave-faults-") as folder:
        return int(not all(row["kept"] for row in all_faults(Path(folder), 5.0, 0)))


if __name__ == "__main__":
    sys.exit(main())
