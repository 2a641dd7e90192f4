"""Fuzz targets: requests to the service and bytes of a connection."""

from __future__ import annotations

import asyncio
import json
import logging
from functools import cache
from typing import Any

from fuzzing.checks import MAX_MESSAGE, check, classifier
from token2wave.serving.app import Service
from token2wave.serving.connections import GuardedHttpProtocol
from token2wave.serving.limits import MAX_PIPELINED, ServiceLimits

SERVICE_LIMITS = ServiceLimits(
    body_bytes=2_000,
    texts=8,
    text_characters=400,
    explain_characters=200,
    queue_characters=4_000,
    held_bytes=1 << 20,
    head_bytes=600,
)
PATHS = "/predict /explain / /health /info /metrics /openapi.json /docs /none".split()


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


@cache
def _service() -> Any:
    return Service(classifier("words"), SERVICE_LIMITS, allow_origins=["https://a.example"])


def service(data: bytes) -> None:
    """A request to the application: bytes for path, method and chunks, then content type, NUL and body."""
    if len(data) < 4:
        return
    path, method = PATHS[data[0] % len(PATHS)], ("POST", "GET", "HEAD", "OPTIONS", "PUT")[data[1] % 5]
    content_type, separator, body = data[3:].partition(b"\0")
    if not separator:
        content_type, body = b"application/json", content_type
    n_chunks = 1 + data[2] % 4
    size = -(-len(body) // n_chunks)
    messages = [
        {"type": "http.request", "body": body[i * size : (i + 1) * size], "more_body": i + 1 < n_chunks}
        for i in range(n_chunks)
    ]
    if data[2] & 128:
        messages[-1] = {"type": "http.disconnect"}
    headers = [
        (b"host", b"localhost"),
        (b"content-type", content_type),
        (b"origin", content_type),
        (b"content-length", b"%d" % len(body)),
    ]
    scope = {"type": "http", "path": path, "method": method, "headers": headers, "client": None}
    sent: list[Any] = []

    async def receive() -> Any:
        if not messages:  # the client waits for its answer
            await asyncio.Event().wait()
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    app = _service()
    _loop().run_until_complete(app(scope, receive, send))
    check(
        sum(app.n_held.values()) == 0 and app._batcher.queued == 0, "memory is still reserved after a request"
    )
    if not sent:
        check(bool(data[2] & 128), "a request without an answer")
        return
    status, answer = sent[0]["status"], b"".join(part["body"] for part in sent[1:])
    check(status < 500, f"status {status}: {answer[:300]!r}")
    if status >= 400:
        error = json.loads(answer)["error"]
        check(error["status"] == status and bool(error["problem"]), f"an error without a problem: {error}")
        check(len(answer) < MAX_MESSAGE, f"an error of {len(answer)} bytes")
    elif path == "/predict" and method == "POST":
        json.loads(answer)


class _Transport(asyncio.Transport):
    """A connection that collects what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:  # type: ignore[override]
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = write_eof = close

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def is_reading(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0

    def set_protocol(self, protocol: Any) -> None: ...


@cache
def _uvicorn() -> tuple[Any, Any]:
    from uvicorn import Config
    from uvicorn.server import ServerState

    config = Config(
        _service(), http=GuardedHttpProtocol, ws="none", interface="asgi3", lifespan="off", log_config=None,
        access_log=False, proxy_headers=False, server_header=False,
    )  # fmt: skip
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # silences refused requests
    config.load()
    config.loaded_app = _service()
    return config, ServerState()


HONEST = (
    b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
)
MAX_HONEST = 7


def connection(data: bytes) -> None:
    """Bytes of a connection after complete requests, which are answered once and in order whatever follows.

    The first byte chooses the size of the chunks, whether the client aborts, and the number of requests.
    """
    if not data:
        return
    config, server = _uvicorn()
    transport = _Transport()
    size, aborts, n_honest = (1, 7, 64, 4096)[data[0] % 4], bool(data[0] & 4), data[0] >> 3 & MAX_HONEST
    bodies = [json.dumps({"text": f"w{number}", "top_k": 1}).encode() for number in range(n_honest)]
    stream = b"".join(HONEST % (len(body), body) for body in bodies) + data[1:]
    held = SERVICE_LIMITS.connection_bytes + size

    async def exchange() -> None:
        protocol = GuardedHttpProtocol(config, server, {}, _loop=_loop())
        protocol.connection_made(transport)
        for at in range(0, len(stream), size):
            if transport.is_closing():
                break
            protocol.data_received(stream[at : at + size])
            check(protocol.n_unanswered <= MAX_PIPELINED, "more waiting requests than the limit")
            head = protocol.unparsed_bytes + protocol.head_bytes
            check(head <= 2 * SERVICE_LIMITS.head_bytes + size, f"{head} bytes of headers and trailers")
            check(protocol.n_held <= held, f"{protocol.n_held} bytes of requests are held")
            await asyncio.sleep(0)
        if not transport.is_closing() and not aborts:
            protocol.eof_received()
            for _ in range(200):  # until the requests before the end are answered
                if not protocol.n_unanswered:
                    break
                await asyncio.sleep(0.001)
        protocol.connection_lost(None)
        protocol.check(_loop().time() + 1e6)
        for _ in range(200):
            if not server.tasks:
                return
            await asyncio.sleep(0.001)

    _loop().run_until_complete(exchange())
    answer = b"".join(transport.written)
    check(not answer or answer.startswith(b"HTTP/1.1 "), f"an answer that is not HTTP: {answer[:100]!r}")
    check(b"HTTP/1.1 500" not in answer, f"the service failed: {answer[:300]!r}")
    check(not server.tasks, "a request that never ends")
    check(sum(_service().n_held.values()) == 0, "memory is still reserved after a connection")
    if not aborts:
        statuses = [piece[:3] for piece in answer.split(b"HTTP/1.1 ")[1:]]
        check(statuses[:n_honest] == [b"200"] * n_honest, f"{n_honest} requests got {statuses[:9]}")
        answers = [
            json.loads(piece.partition(b"\r\n\r\n")[2])
            for piece in answer.split(b"HTTP/1.1 ")[1 : 1 + n_honest]
        ]
        expected = [_service().classifier.predict(f"w{number}").label for number in range(n_honest)]
        check([each["label"] for each in answers] == expected, "answers are not in the order of the requests")
