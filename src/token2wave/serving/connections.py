"""Limits for slow and abusive clients, which HTTP servers do not have: a guard between socket and server.

The guard is a protocol of asyncio around the server's own one. It reads small pieces, so that a client can
make the server hold little, and watches the time. :class:`TrackRequests`, a middleware, tells it when a
request is being answered.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from socket import AF_UNIX, IPPROTO_TCP
from typing import Any, ClassVar

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from token2wave.serving.bodies import RequestError
from token2wave.serving.context import COMMON_HEADERS
from token2wave.serving.request_checks import HEADER_BYTES, head_error

CONNECTION = "token2wave.connection"  # of the guard in a request's state
CHECK_SECONDS = 0.5  # between two checks of a connection
TCP_INFO, CLOSED, CLOSE_WAIT = 11, 7, 8  # of Linux; the client has closed the connection, or its side
HEAD_PIECE, BODY_PIECE = 1 << 11, 1 << 17  # bytes read at once; of pipelined requests, HEAD_PIECE at most
PARSED_SECONDS = 0.05  # to receive what the server has
MAX_REFUSALS, LATE_SECONDS = 20, 0.5  # of all clients in a second; further ones are answered late
LINGER_SECONDS, LINGER_BYTES = 1.0, 1 << 20  # for clients that go on sending; a reset loses the answer


class GuardedConnection(asyncio.BufferedProtocol):
    """A connection that closes if its client is too slow or sends too much.

    Takes the arguments of uvicorn's protocols. The state of the application's lifespan holds ``service``,
    with the limits, the metrics and the connections.
    """

    buffer: ClassVar[memoryview] = memoryview(bytearray(BODY_PIECE))  # of the only thread that reads
    refusals: ClassVar[deque[float]] = deque(maxlen=MAX_REFUSALS)  # times of the last, of all connections
    turns: ClassVar[deque[Callable[[], None]]] = deque()  # of connections that send much

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], **more: Any) -> None:
        self.service = app_state["service"]
        self.limits, self.metrics = self.service.limits, self.service.metrics
        state = {**app_state, CONNECTION: self}
        self.server: Any = HttpToolsProtocol(
            config=config,
            server_state=server_state,
            app_state=state,
            **more,
        )
        self.loop = asyncio.get_running_loop()
        self.gone = self.loop.create_future()
        self.stops: set[str] = set()  # reasons to read nothing
        self.unparsed = 0  # bytes since the server has seen something complete
        self.is_answering = self.is_receiving = self.is_feeding = self.is_closing = False
        self.is_ended = False  # the client sends no more
        self.can_probe = False  # by an interim response
        self.body_left: int | None = 0  # bytes; None if the client has not said how many
        self.has_body = True  # the whole body of the request that is answered has arrived
        self.refusal: RequestError | None = None
        self.is_server_told = False
        self.n_discarded = 0
        self.unread_since: float | None = None
        self.last_event = self.loop.time()

    # Callbacks of asyncio

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a client. Beyond the limit, close the connection that has been idle longest."""
        self.transport = transport
        connections = self.service.connections
        connections.add(self)
        if len(connections) > self.limits.connections:
            waits = [each for each in connections if not (each.is_answering and each.has_body)]
            waits.remove(self)  # idle, or in the middle of a body
            oldest = min(waits, key=lambda each: (each.is_answering, each.last_event), default=self)
            oldest.abort("connections")
        self.metrics.connections.set(len(connections))
        self.timer = self.loop.call_later(CHECK_SECONDS, self._check_now)
        self.server.connection_made(GuardedTransport(self))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        self.timer.cancel()
        self.service.connections.discard(self)
        self.metrics.connections.set(len(self.service.connections))
        if not self.gone.done():
            self.gone.set_result(None)
        self._tell_server_lost(exc)

    def _tell_server_lost(self, exc: Exception | None = None) -> None:
        """Let the server forget the client, once."""
        if not self.is_server_told:
            self.is_server_told = True
            self.server.connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not read its answer."""
        self.server.pause_writing()

    def resume_writing(self) -> None:
        """The client has read most of its answer."""
        self.server.resume_writing()

    def eof_received(self) -> bool:
        """Answer a client that has closed its side after its last request."""
        if self.is_closing or (self.is_answering and not self.has_body):
            return False
        self.is_ended = True
        self.loop.call_soon(self._end)  # the server may have started a request just now
        return True

    def _end(self) -> None:
        if self.is_answering:
            self.server.shutdown()  # after the answer
        elif self.refusal is None:
            self.transport.close()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Read little, but the rest of a body whose size is known."""
        if self.is_closing:
            return self.buffer
        if self.is_answering and not self.has_body and self.body_left:
            return self.buffer[: min(self.body_left, BODY_PIECE)]
        return self.buffer[:HEAD_PIECE]

    def buffer_updated(self, nbytes: int) -> None:
        """Feed the server, and count what only continues headers or trailers."""
        if self.is_closing:
            self.n_discarded += nbytes
            if self.n_discarded > LINGER_BYTES:
                self.transport.close()
            return
        data = bytes(self.buffer[:nbytes])
        if not self.unparsed and not self.is_answering:
            self.last_event = self.loop.time()
        if nbytes == BODY_PIECE:
            self._wait_for_turn()
        if self.is_answering and not self.has_body and self.body_left:
            self.body_left = max(self.body_left - nbytes, 0)
        self.is_feeding = True
        try:
            self.server.data_received(data)
        finally:
            self.is_feeding = False
        if self.has_body or self.body_left is None:
            self.unparsed += nbytes + HEADER_BYTES * data.count(b"\n")
            if self.unparsed > self.limits.head_bytes:
                self.stop("head")
                self.loop.call_soon(self._check_head)  # after the application was called, or got the data

    # Reading

    def stop(self, reason: str) -> None:
        """Read nothing until :meth:`go_on` is called for the same reason."""
        if not self.stops and not self.transport.is_closing():
            self.transport.pause_reading()
        self.stops.add(reason)

    def go_on(self, reason: str) -> None:
        """Read on, if there is no other reason not to."""
        if reason in self.stops:
            self.stops.remove(reason)
            if not self.stops and not self.transport.is_closing():
                self.transport.resume_reading()

    def _wait_for_turn(self) -> None:
        """Read one piece in each turn of the event loop, of all clients that send much."""
        self.stop("turn")
        self.turns.append(lambda: self.go_on("turn"))
        if len(self.turns) == 1:
            self.loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self.turns.popleft()()
        if self.turns:
            self.loop.call_soon(self._next_turn)

    def _check_head(self) -> None:
        if self.is_answering and (self.has_body or not self.is_receiving):
            return  # until the answer is sent, or the application asks for more
        if self.unparsed > self.limits.head_bytes:
            self.metrics.rejected("head").inc()
            self.refuse(head_error(self.limits.head_bytes))
        self.go_on("head")

    # Answers

    async def answer(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer a request, and note how far it is."""
        headers, n_bytes = dict(scope["headers"]), 0
        n_announced = int(headers.get(b"content-length", b"0"))  # the server refuses what is no number
        self.body_left = None if b"transfer-encoding" in headers else n_announced
        self.is_answering, self.has_body, self.unparsed = True, self.body_left == 0, 0
        self.can_probe = scope["http_version"] == "1.1"
        self.last_event = self.loop.time()

        async def guarded_receive() -> Message:
            nonlocal n_bytes
            if self.has_body and self.is_receiving:
                return await self._disconnect(receive)
            self.is_receiving = True
            self.go_on("head")
            is_all = self.is_ended or self.refusal is not None
            message = await (self._receive_parsed(receive) if is_all else receive())
            if message["type"] == "http.request":
                self.has_body, self.unparsed = not message.get("more_body", False), 0
                self.is_receiving = self.has_body
                n_bytes += len(message.get("body", b""))
                if self.body_left is not None:
                    self.body_left = max(min(self.body_left, n_announced - n_bytes), 0)
            return message

        async def guarded_send(message: Message) -> None:
            self.can_probe = False
            if message["type"] == "http.response.start" and not self.has_body:  # the rest is no request
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        try:
            await app(scope, guarded_receive, guarded_send)
        finally:
            self.is_answering = self.is_receiving = False
            self.has_body, self.unparsed = True, 0
            self.last_event = self.loop.time()
            self.go_on("head")
            if self.refusal is not None:
                self.loop.call_soon(self._send_refusal)  # after pipelined requests, if there are any

    async def _receive_parsed(self, receive: Receive) -> Message:
        """Receive what arrived before the refusal or the end; there will be no more."""
        message = asyncio.ensure_future(receive())
        await asyncio.wait({message}, timeout=PARSED_SECONDS)
        if message.done():
            return message.result()
        message.cancel()
        self._tell_server_lost()
        return {"type": "http.disconnect"}

    async def _disconnect(self, receive: Receive) -> Message:
        """Wait until the client is gone; the server tells the newest request only."""
        message = asyncio.ensure_future(receive())
        try:
            await asyncio.wait({message, self.gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            message.cancel()
        return {"type": "http.disconnect"}

    def refuse(self, error: RequestError) -> None:
        """Answer earlier requests, then send an error, and read no more."""
        if self.refusal is not None or self.is_closing:
            return
        self.refusal = error
        self.stop("refused")
        now = self.loop.time()
        self.refusals.append(now)
        is_late = len(self.refusals) == MAX_REFUSALS and now - self.refusals[0] < 1.0
        if self.is_answering and not self.has_body:  # its own request: the application must not wait for more
            self._tell_server_lost()
            self.is_answering = False
        # whoever is refused so often must not take the time of others
        self.loop.call_later(LATE_SECONDS if is_late else 0.0, self._send_refusal)

    def _send_refusal(self) -> None:
        if self.is_answering or self.is_closing or self.refusal is None or self.transport.is_closing():
            return
        self._tell_server_lost()
        self.metrics.request_counter("none", str(self.refusal.status)).inc()
        body = msgspec.json.encode(self.refusal.to_dict())
        lines = [f"HTTP/1.1 {self.refusal.status} {HTTPStatus(self.refusal.status).phrase}"]
        lines += ["content-type: application/json", f"content-length: {len(body)}", "connection: close"]
        lines += [f"{name}: {value}" for name, value in COMMON_HEADERS]
        self.transport.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        self.linger()

    def linger(self) -> None:
        """Close after the client has read the answer; discard what it still sends."""
        if self.is_closing or self.transport.is_closing():
            return
        self.is_closing = True
        for reason in list(self.stops):
            self.go_on(reason)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)

    # Time

    def _check_now(self) -> None:
        self.timer = self.loop.call_later(CHECK_SECONDS, self._check_now)
        self.check(self.loop.time())

    def check(self, now: float) -> None:
        """Close the connection if the client is too slow."""
        limits = self.limits
        if not self.transport.get_write_buffer_size():
            self.unread_since = None
        elif self.unread_since is None:
            self.unread_since = now
        elif now - self.unread_since > limits.unread_seconds:
            self.abort("unread answer")
        if self.is_answering:  # the application limits the time for a body
            if self.has_body and sys.platform == "linux":
                self._probe()
        elif self.refusal is None and not self.is_closing:
            max_seconds = limits.head_seconds if self.unparsed else limits.idle_seconds + limits.head_seconds
            if now - self.last_event > max_seconds:
                self.abort("slow head" if self.unparsed else "idle")

    def _probe(self) -> None:
        """Abort if the client is gone; while pipelined requests wait, nothing is read that would tell.

        A client that has closed its side is asked whether it still reads, by an interim response. If it does
        not, its system resets the connection.
        """
        connection = self.transport.get_extra_info("socket")
        if connection is None or connection.family == AF_UNIX:
            return
        state = connection.getsockopt(IPPROTO_TCP, TCP_INFO, 1)[0]
        if state == CLOSED:
            self.transport.abort()
        elif state == CLOSE_WAIT and self.can_probe:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def abort(self, reason: str) -> None:
        """Close the connection at once, even if an answer is not sent."""
        self.metrics.rejected(reason).inc()
        self.transport.abort()


class GuardedTransport:
    """What the server sees of a connection's transport."""

    def __init__(self, connection: GuardedConnection) -> None:
        self._connection, self._transport = connection, connection.transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send data. While the server parses, it writes of its own accord only to refuse the request."""
        if self._connection.is_feeding:
            reason = str(sys.exception())[:100]  # of the parser, e.g. "Invalid character in Content-Length"
            problem = f"expected a well-formed HTTP request: {reason}"
            error = RequestError(400, problem, location="connection", hint="correct the request")
            self._connection.refuse(error)
        elif not self.is_closing():  # else nobody reads it
            self._transport.write(data)

    def close(self) -> None:
        """Close the connection, after a refusal if there is one."""
        connection = self._connection
        if connection.refusal is not None:
            return
        if connection.is_answering and not connection.has_body:
            connection.linger()
        else:
            self._transport.close()

    def is_closing(self) -> bool:
        """Whether no request will be answered any more."""
        return self._connection.is_closing or self._transport.is_closing()

    def pause_reading(self) -> None:
        """Read nothing: the server has enough."""
        self._connection.stop("server")

    def resume_reading(self) -> None:
        """The server wants more."""
        self._connection.go_on("server")


class TrackRequests:
    """Middleware that tells connections of their requests; without the guard it does nothing."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        connection = scope.get("state", {}).pop(CONNECTION, None)
        if scope["type"] == "http" and connection is not None:
            await connection.answer(self.app, scope, receive, send)
        else:
            await self.app(scope, receive, send)
