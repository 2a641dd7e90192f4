"""A small model, server processes, and clients that send raw HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from token2wave.classifier import Classifier
from token2wave.features import WordConfig, WordFeatures
from token2wave.inference.compiled import compile_network
from token2wave.inference.novelty import NoveltyReference
from token2wave.models.wave_config import WaveConfig

WORDS = ["market", "shares", "fell", "rose", "game", "team", "won", "screen", "battery", "wave", "rain"]
TEXTS = [" ".join(np.random.default_rng(i).choice(WORDS, 9)) for i in range(300)]
LABELS = ("news", "sport", "é\u2028</script>")
JSON = {"Content-Type": "application/json"}
PYTHON = [sys.executable, "-W", "error"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def make_classifier(
    seed: int = 0, *, multi_label: bool = False, novelty: bool = True, width: int = 8
) -> Classifier:
    """Make a random classifier. The native core runs it if the width is a multiple of eight."""
    features = WordFeatures.fit(TEXTS, WordConfig(bits=12, min_count=1, cls=True))
    config = WaveConfig(
        n_rows=features.n_rows,
        n_classes=len(LABELS),
        width=width,
        context_width=width,
        multi_label=multi_label,
    )
    random = np.random.default_rng(seed)
    arrays = {
        name: random.normal(0, 0.5, shape).astype(np.float32)
        for name, shape in config.parameter_shapes().items()
    }
    classifier = Classifier(
        features, compile_network(config, arrays), LABELS, {"seed": seed, "data": "drawn"}
    )
    if novelty:
        ragged, n_unknown = features.with_unknown(TEXTS)
        logits = classifier.network.logits(ragged)
        reference = NoveltyReference.of(n_unknown, ragged.lengths, logits)
        classifier = replace(classifier, novelty_reference=reference)
    return classifier


def tag_of(classifier: Classifier, name: str = "model") -> dict[str, str]:
    """What every answer of a model has."""
    return {"model": name, "checksum": f"{classifier.fingerprint:08x}"}


class Server(NamedTuple):
    """A server process."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def ask(self, method: str, path: str, body: Any = None, headers: Any = None) -> tuple[int, Any, Any]:
        """Send a request (bytes, or an object for JSON); return status, headers and decoded body."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            if body is not None and not isinstance(body, bytes):
                body = json.dumps(body).encode()
            sent = (JSON if body is not None else {}) if headers is None else headers
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        content_type = answer.headers.get("content-type", "")
        if content and "json" in content_type:
            content = json.loads(content)
        return answer.status, answer.headers, content

    def metric(self, name: str, **labels: str) -> float:
        """A value of ``/metrics``; 0 if it is absent."""
        from prometheus_client.parser import text_string_to_metric_families

        for family in text_string_to_metric_families(self.ask("GET", "/metrics")[2].decode()):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return sample.value
        return 0.0

    def memory(self) -> int:
        """Resident bytes of the process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(re.search(r"VmRSS:\s+(\d+)", status)[1])


@contextmanager
def serving(command: list[str], log: Path, address: str = r"http://127\.0\.0\.1:(\d+)") -> Iterator[Server]:
    """Run a server that prints its address to standard error; a regular expression finds the port in it."""
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.PIPE, env=ENVIRONMENT)
    try:
        line = process.stderr.readline().decode()
        match = re.search(address, line)
        assert match, line + process.stderr.read().decode()
        yield Server(int(match[1]) if match[1].isdigit() else 0, process, log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stderr.close()


def ask_in_process(app: Any, document: Any, *headers: tuple[bytes, bytes], **settings: Any) -> Any:
    """Call the application; return status, body and headers. JSON is decoded."""
    return asyncio.run(in_process(app, document, *headers, **settings))


async def in_process(
    app: Any,
    document: Any,
    *headers: tuple[bytes, bytes],
    method: str = "POST",
    path: str = "/predict",
    host: bytes = b"localhost",
    content_type: bytes = b"application/json",
) -> Any:
    """As :func:`ask_in_process`, in a loop of events."""
    sent: list[Any] = []
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "http_version": "1.1"}
    scope["headers"] = [(b"host", host), (b"content-type", content_type), *headers]
    body = document if isinstance(document, bytes) else json.dumps(document).encode()

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    content: Any = b"".join(message["body"] for message in sent[1:])
    answered = dict(sent[0]["headers"])
    if content and answered.get(b"content-type") == b"application/json":
        content = json.loads(content)
    return sent[0]["status"], content or None, answered


def limited(model: Path, **limits: float) -> list[str]:
    """Command of a server with limits that the command line lacks."""
    code = (
        "import sys; from pathlib import Path\n"
        "from token2wave.serving.limits import ServiceLimits\n"
        "from token2wave.serving.server import ServerOptions, serve\n"
        f"settings = ServerOptions((Path({str(model)!r}),), port=0, limits=ServiceLimits(**{limits!r}))\n"
        "serve(settings, lambda address: print(address, file=sys.stderr, flush=True))\n"
    )
    return [*PYTHON, "-c", code]


def connect(server: Server) -> socket.socket:
    """Open a connection."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def post(path: str, document: Any, *headers: str) -> bytes:
    """The bytes of a request."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers]
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def is_ended(connection: socket.socket, seconds: float = 8.0) -> bool:
    """Read a connection to its end; False if the server keeps it open."""
    connection.settimeout(seconds)
    try:
        while connection.recv(1 << 16):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


class Reader:
    """Reads the responses of a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._received = connection, b""

    def answer(self) -> tuple[int, Any]:
        """Status and body of the next response; status 0 if the connection has ended."""
        while b"\r\n\r\n" not in self._received:
            if not self._receive():
                return 0, None
        head, self._received = self._received.split(b"\r\n\r\n", 1)
        length = re.search(rb"content-length: (\d+)", head)
        n_bytes = int(length[1]) if length else 0
        while len(self._received) < n_bytes and self._receive():
            pass
        body, self._received = self._received[:n_bytes], self._received[n_bytes:]
        return int(head.split()[1]), json.loads(body) if body else None

    def _receive(self) -> bool:
        """Receive more data; False at the end."""
        try:
            data = self._connection.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        self._received += data
        return bool(data)
