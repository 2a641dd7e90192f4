"""Fuzz targets: requests to the service and bytes of a connection."""

from __future__ import annotations

import asyncio
import json
import logging
import zlib
from functools import cache
from typing import Any
from unittest import mock

from fuzzing.checks import MAX_MESSAGE, check, classifier
from token2wave.serving import app as application
from token2wave.serving.app import create_app
from token2wave.serving.connections import BODY_PIECE, HEAD_PIECE, GuardedConnection
from token2wave.serving.limits import ServiceLimits
from token2wave.serving.request_checks import HEADER_BYTES
from token2wave.serving.responses import JSON, NDJSON

SERVICE_LIMITS = ServiceLimits(
    body_bytes=2_000,
    texts=8,
    text_characters=400,
    explain_characters=200,
    queue_characters=4_000,
    held_bytes=1 << 20,
    head_bytes=1_000,
)
PATHS = (
    "/predict /explain / /live /info /metrics /openapi.json /docs /none /ready /models "
    "/models/model/predict /models/model/explain /models/none/predict /predict/lines"
).split()
WAIT_SECONDS, WAITS = 0.001, 2_000  # for what threads compute
SMALLEST_REQUEST = len(b"GET / HTTP/1.1\n\n")
BODY_HELD = 1 << 16  # of a request by uvicorn, before it stops reading


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


@cache
def _app() -> Any:
    return create_app(classifier("words"), SERVICE_LIMITS, cors_origins=["https://a.example"])


# What a connection may always hold is nothing here, so that small bodies are counted.
count_all = mock.patch.object(application, "FREE_BYTES", 0)


@count_all
def service(data: bytes) -> None:
    """A request to the application: bytes for path, method and chunks, then content type, NUL and body.

    A question mark in the content type begins the query.
    """
    if len(data) < 4:
        return
    path, method = PATHS[data[0] % len(PATHS)], ("POST", "GET", "HEAD", "OPTIONS", "PUT")[data[1] % 5]
    content_type, separator, body = data[3:].partition(b"\0")
    if not separator:
        content_type, body = JSON.encode(), content_type
    content_type, _, query = content_type.partition(b"?")
    n_chunks = 1 + data[2] % 4
    size = -(-len(body) // n_chunks)
    messages = [
        {"type": "http.request", "body": body[i * size : (i + 1) * size], "more_body": i + 1 < n_chunks}
        for i in range(n_chunks)
    ]
    is_gone = bool(data[2] & 128)
    if is_gone:
        messages[-1] = {"type": "http.disconnect"}
    headers = [
        (b"host", b"localhost"),
        (b"content-type", content_type),
        (b"origin", content_type),
        (b"access-control-request-method", content_type),
        (b"content-length", b"%d" % len(body)),
    ]
    scope = {"type": "http", "path": path, "method": method, "headers": headers, "client": None}
    scope |= {"query_string": query, "http_version": "1.1", "root_path": "", "scheme": "http"}
    sent: list[Any] = []

    async def receive() -> Any:
        if not messages:  # the client waits for its answer
            await asyncio.Event().wait()
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    app, holder = _app(), _app().state.service

    async def exchange() -> None:
        await app(scope, receive, send)
        for _ in range(WAITS):  # work that was cancelled ends in the next turns
            if not holder.batcher.queued:
                return
            await asyncio.sleep(WAIT_SECONDS)

    _loop().run_until_complete(exchange())
    is_free = sum(holder.n_held.values()) == 0 and holder.batcher.queued == 0
    check(is_free, "memory is still reserved after a request")
    if not sent:
        check(is_gone, "a request without an answer")
        return
    status, answer = sent[0]["status"], b"".join(message["body"] for message in sent[1:])
    media_type = dict(sent[0]["headers"]).get(b"content-type", b"").decode()
    is_read_by_browsers = method == "OPTIONS" and media_type.startswith("text/plain")
    check(status < 500, f"status {status}: {answer[:300]!r}")
    if status >= 400 and not is_read_by_browsers:
        error = json.loads(answer)["error"]
        check(error["status"] == status and bool(error["problem"]), f"an error without a problem: {error}")
        check(len(answer) < MAX_MESSAGE, f"an error of {len(answer)} bytes")
    elif media_type == NDJSON:
        lines = [line for line in body.split(b"\n") if line.strip()]
        answers = [json.loads(line) for line in answer.splitlines()]
        is_whole = not is_gone and all(len(line) <= SERVICE_LIMITS.body_bytes for line in lines)
        check(len(answers) == len(lines) or not is_whole, f"{len(answers)} answers to {len(lines)} lines")
        check(all(("error" in each) != ("label" in each) for each in answers), "a line without an answer")
        check(len(answer) <= MAX_MESSAGE * (1 + len(answers)), f"lines of {len(answer)} bytes")
    elif path.endswith("/predict") and method == "POST":
        json.loads(answer)


class _Transport(asyncio.Transport):
    """A connection that collects what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.written: list[bytes] = []
        self.closed = self.paused = False

    def write(self, data: bytes) -> None:  # type: ignore[override]
        if not self.closed:
            self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = write_eof = close

    def can_write_eof(self) -> bool:
        return True

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def is_reading(self) -> bool:
        return not self.paused

    def get_write_buffer_size(self) -> int:
        return 0

    def set_protocol(self, protocol: Any) -> None: ...


@cache
def _uvicorn() -> tuple[Any, Any]:
    from uvicorn import Config
    from uvicorn.server import ServerState

    config = Config(
        _app(), http=GuardedConnection, ws="none", interface="asgi3", lifespan="off", log_config=None,
        access_log=False, proxy_headers=False, server_header=False,
    )  # fmt: skip
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # silences refused requests
    config.load()
    return config, ServerState()


HONEST = (
    b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Request-ID: %b\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
)
MAX_HONEST = 7


@count_all
def connection(data: bytes) -> None:
    """Bytes of a connection after complete requests, which are answered once and in order whatever follows.

    The first byte chooses the size of the pieces, whether the client aborts, and the number of requests.
    """
    if not data:
        return
    config, server = _uvicorn()
    holder = _app().state.service
    transport = _Transport()
    size, aborts, n_honest = (1, 7, 64, 4096)[data[0] % 4], bool(data[0] & 4), data[0] >> 3 & MAX_HONEST
    names = [b"%08x-%d" % (zlib.crc32(data), number) for number in range(n_honest)]
    bodies = [json.dumps({"text": f"w{number}", "top_k": 1}).encode() for number in range(n_honest)]
    honest = [HONEST % (name, len(body), body) for name, body in zip(names, bodies, strict=True)]
    stream = b"".join(honest) + data[1:]

    async def exchange() -> None:
        GuardedConnection.refusals.clear()  # after many, errors are late
        protocol = GuardedConnection(config, server, {"service": holder}, _loop=_loop())
        protocol.connection_made(transport)
        at = n_waits = 0
        while at < len(stream) and not transport.is_closing() and n_waits < WAITS:
            if transport.paused:
                n_waits += 1
                await asyncio.sleep(WAIT_SECONDS)
                continue
            view = protocol.get_buffer(-1)
            piece = stream[at : at + min(size, len(view))]
            view[: len(piece)] = piece
            before = protocol.unparsed
            protocol.buffer_updated(len(piece))
            at += len(piece)
            bound = max(before, SERVICE_LIMITS.head_bytes) + len(piece) * (1 + HEADER_BYTES)
            check(protocol.unparsed <= bound, f"{protocol.unparsed} bytes of headers and trailers")
            check(before <= SERVICE_LIMITS.head_bytes or protocol.is_closing, "reads on beyond the limit")
            waiting = protocol.server.pipeline
            check(len(waiting) <= HEAD_PIECE // SMALLEST_REQUEST + 1, f"{len(waiting)} requests wait")
            bodies_held = [len(cycle.body) for cycle, _ in waiting]
            if protocol.server.cycle is not None:
                bodies_held.append(len(protocol.server.cycle.body))
            check(sum(bodies_held) <= BODY_HELD + BODY_PIECE, f"{sum(bodies_held)} bytes of bodies are held")
            await asyncio.sleep(0)
        check(n_waits < WAITS, "nothing is read, and nothing ends")
        if not transport.is_closing() and not aborts:
            if not protocol.eof_received():
                transport.close()
            for _ in range(WAITS):  # until the requests before the end are answered
                if transport.is_closing():
                    break
                await asyncio.sleep(WAIT_SECONDS)
            check(transport.is_closing(), "a connection that never ends")
        protocol.connection_lost(None)
        protocol.check(_loop().time() + 1e6)
        for _ in range(WAITS):
            if not server.tasks and not holder.batcher.queued:
                return
            await asyncio.sleep(WAIT_SECONDS)

    _loop().run_until_complete(exchange())
    answer = b"".join(transport.written)
    check(not answer or answer.startswith(b"HTTP/1.1 "), f"an answer that is not HTTP: {answer[:100]!r}")
    check(b"HTTP/1.1 500" not in answer, f"the service failed: {answer[:300]!r}")
    check(not server.tasks, "a request that never ends")
    check(not holder.connections and not server.connections, "a connection that is not forgotten")
    is_free = sum(holder.n_held.values()) == 0 and holder.batcher.queued == 0
    check(is_free, "memory is still reserved after a connection")
    check(all(answer.count(name) <= 1 for name in names), "a request is answered twice")
    if not aborts:
        pieces = answer.split(b"HTTP/1.1 ")[1:]
        statuses = [piece[:3] for piece in pieces]
        check(statuses[:n_honest] == [b"200"] * n_honest, f"{n_honest} requests got {statuses[:9]}")
        is_in_order = all(name in piece for name, piece in zip(names, pieces, strict=False))
        check(is_in_order, "answers are not in the order of the requests")
        answers = [json.loads(piece.partition(b"\r\n\r\n")[2]) for piece in pieces[:n_honest]]
        expected = [classifier("words").predict(f"w{number}").label for number in range(n_honest)]
        check([each["label"] for each in answers] == expected, "an answer of another request")
