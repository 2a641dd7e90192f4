"""Limits for slow and abusive clients, which the HTTP server itself does not have."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import deque
from http import HTTPStatus
from socket import IPPROTO_TCP
from typing import Any, ClassVar

from httptools import HttpParserCallbackError
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from token2wave.serving.app import COMMON_HEADERS, JSON, Service
from token2wave.serving.limits import MAX_PIPELINED
from token2wave.serving.requests import RequestError

CHECK_SECONDS = 0.5  # between two checks of a connection
DISCARDING_SECONDS = 5.0  # beyond the time for a body, for clients that go on sending a refused one
TCP_INFO, CLOSED, CLOSE_WAIT = 11, 7, 8  # of Linux; the client has closed the connection, or its side
LARGE_PIECE = 1 << 14  # bytes read at once; connections that send so many take turns
FREE_BYTES = 1 << 16  # of a connection, which may always be held, so that small requests need no room
REQUEST_BYTES, HEADER_BYTES = 2_048, 128  # memory of a request and of a header beside their own bytes
MAX_REFUSALS, LATE_SECONDS = 20, 0.5  # of all clients in a second; further ones are answered late
LINGER_SECONDS, LINGER_BYTES = 1.0, 1 << 20  # for clients that go on sending; a reset would lose the error


class PipelineFlow(FlowControl):
    """Flow control that reads nothing while earlier requests wait for their responses, or before its turn.

    Clients that send much take turns: one piece is read in each turn of the event loop, so that small
    requests need not wait for all of them.
    """

    waiting: ClassVar[deque[PipelineFlow]] = deque()  # for their turns, in the only event loop

    def __init__(self, transport: asyncio.Transport, pipeline: deque[Any]) -> None:
        super().__init__(transport)
        self._pipeline = pipeline
        self._reasons: set[str] = set()  # to read nothing

    def resume_reading(self) -> None:
        """Read on, unless requests wait or there is another reason not to."""
        if not self._pipeline and not self._reasons:
            super().resume_reading()

    def stop(self, reason: str) -> None:
        """Read nothing until :meth:`go_on` is called for the same reason."""
        self._reasons.add(reason)
        self.pause_reading()

    def go_on(self, reason: str) -> None:
        """Read on, if there is no other reason not to."""
        self._reasons.discard(reason)
        if not self._transport.is_closing():
            self.resume_reading()

    def wait_for_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Read nothing until it is this connection's turn."""
        self.stop("turn")
        self.waiting.append(self)
        if len(self.waiting) == 1:
            loop.call_soon(self._next_turn, loop)

    @classmethod
    def _next_turn(cls, loop: asyncio.AbstractEventLoop) -> None:
        cls.waiting.popleft().go_on("turn")
        if cls.waiting:
            loop.call_soon(cls._next_turn, loop)


class GuardedHttpProtocol(HttpToolsProtocol):
    """A connection of uvicorn that closes if its client is too slow or sends too much.

    It overrides callbacks of asyncio, of httptools, and of uvicorn (``on_response_complete``,
    ``send_400_response``).
    """

    flow: PipelineFlow
    refusals: ClassVar[deque[float]] = deque(maxlen=MAX_REFUSALS)  # times of the last, of all connections

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        service = self.app
        assert isinstance(service, Service), "the application must not be wrapped"
        self.service, self.limits, self.metrics = service, service.limits, service.metrics
        self.last_event = self.loop.time()  # when a request or a response began or ended
        self.in_head = self.receiving = True
        self.head_bytes = self.unparsed_bytes = self.n_unanswered = 0
        self.has_progress = False  # in the last piece of data
        self.sizes: deque[int] = deque()  # bytes held by each request that is not answered
        self.n_held = 0  # their sum
        self.n_discarded = 0
        self.unread_since: float | None = None
        self.refusal: RequestError | None = None
        self.is_late = False  # the refusal waits to be sent
        self.active: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a client. Beyond the limit, close the connection that has been idle longest."""
        super().connection_made(transport)
        self.flow = PipelineFlow(transport, self.pipeline)
        if len(self.connections) > self.limits.connections:
            idle = [each for each in self.connections if isinstance(each, GuardedHttpProtocol)]
            idle = [each for each in idle if not each.n_unanswered]
            min(idle, key=lambda each: each.last_event).abort("connections")
        self.metrics.connections.set(len(self.connections))
        self.timer = self.loop.call_later(CHECK_SECONDS, self._check_now)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        super().connection_lost(exc)
        if self.active is not None:  # uvicorn tells the newest request only
            self.active.disconnected = True
            self.active.message_event.set()
        self.timer.cancel()
        for cycle in filter(None, (self.cycle, self.active, *(cycle for cycle, _ in self.pipeline))):
            cycle.body = bytearray()  # now, not when the cycle of references is collected
        self.pipeline.clear()
        self._release(len(self.sizes))
        self.metrics.connections.set(len(self.connections))

    def data_received(self, data: bytes) -> None:
        """Parse data, and count the bytes that only continue headers or trailers."""
        if len(data) >= LARGE_PIECE and self.n_discarded <= LINGER_BYTES:
            self.flow.wait_for_turn(self.loop)
        if self.refusal is not None:
            self._discard(len(data))
            return
        self.has_progress = False
        super().data_received(data)
        self.unparsed_bytes = 0 if self.has_progress else self.unparsed_bytes + len(data)
        if self.receiving and self.unparsed_bytes > self.limits.head_bytes and self.refusal is None:
            self._refuse(self._head_error())
        if self.refusal is not None:
            self.parser = None  # with what it holds of a header

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer a client that has closed its side after its last request."""
        if self.refusal is not None:
            return self.n_unanswered > 0 or self.is_late
        n_without_body = 1 if self.receiving and not self.in_head else 0
        if self.receiving and self.n_unanswered == n_without_body:
            return False
        self.shutdown()  # after the response
        return True

    def _probe(self) -> None:
        """Ask a client that has closed its side whether it still reads, by an interim response.

        If it does not, its system resets the connection, and the next probe ends it. While requests wait,
        nothing is read, so only the state of the connection tells.
        """
        active, socket = self.active, self.transport.get_extra_info("socket")
        if active is None or active.response_started or self.transport.is_closing() or socket is None:
            return
        state = socket.getsockopt(IPPROTO_TCP, TCP_INFO, 1)[0]
        if state == CLOSED:
            self.transport.abort()
        elif state == CLOSE_WAIT and active.scope["http_version"] == "1.1":  # 1.0 has no interim responses
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.active = cycle
        super()._start_asgi_task(cycle, app)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self.last_event = self.loop.time()
        self.in_head = self.receiving = True
        self.head_bytes = self.unparsed_bytes = 0
        self.sizes.append(0)
        self._hold(REQUEST_BYTES)
        if self.n_unanswered >= MAX_PIPELINED:
            problem = f"expected at most {MAX_PIPELINED} requests before their responses, found more"
            raise RequestError(400, problem, location="connection", hint="wait for responses")

    def on_url(self, url: bytes) -> None:
        """A part of the request line."""
        super().on_url(url)
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer after a chunked body, which the service ignores."""
        if self.in_head:
            super().on_header(name, value)
        self._count_head(len(name) + len(value) + HEADER_BYTES)

    def _count_head(self, n_bytes: int) -> None:
        self.head_bytes += n_bytes
        if self.head_bytes > self.limits.head_bytes:
            raise self._head_error()
        self._hold(n_bytes)

    def _hold(self, n_bytes: int) -> None:
        """Count bytes of the request that arrives, its head, body or trailers, until it is answered.

        Raises:
            RequestError: 413, the connection holds too much; 503, all connections together do.
        """
        if not self.in_head and self.cycle.response_complete:  # nothing of it is kept
            return
        n_held = self.n_held + n_bytes
        if n_held > self.limits.connection_bytes:
            self.metrics.rejected("memory").inc()
            problem = (
                f"expected at most {self.limits.connection_bytes:,} bytes in unanswered requests, found more"
            )
            raise RequestError(413, problem, location="connection", hint="wait for responses")
        self.service.hold("requests", max(n_held, FREE_BYTES) - max(self.n_held, FREE_BYTES))
        self.n_held = n_held
        self.sizes[-1] += n_bytes

    def _release(self, n_requests: int) -> None:
        """Release what the oldest requests hold."""
        self._count_released(sum(self.sizes.popleft() for _ in range(n_requests)))

    def _release_last(self) -> None:
        """Release what the newest request holds, so that others get the room before the connection closes."""
        n_bytes, self.sizes[-1] = self.sizes[-1], 0
        self._count_released(n_bytes)

    def _count_released(self, n_bytes: int) -> None:
        n_held = self.n_held - n_bytes
        self.service.hold("requests", max(n_held, FREE_BYTES) - max(self.n_held, FREE_BYTES))
        self.n_held = n_held

    def on_headers_complete(self) -> None:
        """The headers are complete; the body follows."""
        if self.parser.get_method() == b"CONNECT" or self.url == b"*":
            self.url = b"/"  # they have no path
        super().on_headers_complete()
        self.in_head, self.has_progress = False, True
        self.n_unanswered += 1
        if self.parser.should_upgrade():  # the parser cannot go on after it
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._hold(len(body))
        super().on_body(body)
        self.has_progress = True

    def on_message_complete(self) -> None:
        """A request is complete."""
        self.receiving, self.has_progress = False, True
        self.last_event = self.loop.time()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """A request is answered."""
        self.n_unanswered -= 1
        self._release(1)
        self.last_event = self.loop.time()
        super().on_response_complete()
        if self.refusal is not None and not self.n_unanswered and not self.is_late:
            self._send_refusal(self.refusal)

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser or a callback has refused."""
        fault: BaseException | None = sys.exception()
        if isinstance(fault, HttpParserCallbackError):
            fault = fault.__context__
        if not isinstance(fault, RequestError):
            reason = str(fault)[:100]  # of the parser, e.g. "Invalid character in Content-Length"
            problem = f"expected a well-formed HTTP request: {reason}"
            fault = RequestError(400, problem, location="connection", hint="correct the request")
        self._refuse(fault)

    def _refuse(self, error: RequestError) -> None:
        """Answer earlier requests, then send an error; discard the rest."""
        # Its frames hold the data, and the collector of cycles counts objects, not bytes.
        self.refusal, error.__context__ = error.with_traceback(None), None
        if not self.in_head and self.receiving and not self.cycle.response_complete:  # its own request
            self.n_unanswered -= 1
            if self.pipeline:
                self.pipeline.popleft()
            else:
                self.cycle.disconnected = True
                self.cycle.message_event.set()
            self.cycle.body = bytearray()
            self._release_last()
        self.receiving = False
        now = self.loop.time()
        self.refusals.append(now)
        if now - self.refusals[0] < 1.0 and len(self.refusals) == MAX_REFUSALS:
            self.is_late = True  # whoever is refused so often must not take the time of others
            self.flow.stop("late")
            self.loop.call_later(LATE_SECONDS, self._refuse_late, error)
        elif not self.n_unanswered:
            self._send_refusal(error)

    def _refuse_late(self, error: RequestError) -> None:
        self.is_late = False
        self.flow.go_on("late")
        if not self.n_unanswered:
            self._send_refusal(error)

    def _send_refusal(self, error: RequestError) -> None:
        if self.transport.is_closing():
            return
        self.metrics.request_counter("none", str(error.status)).inc()
        body = json.dumps(error.to_dict()).encode("ascii")
        headers = [*COMMON_HEADERS, (b"content-type", JSON), (b"content-length", b"%d" % len(body))]
        lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}".encode("ascii")]
        lines += [b"%s: %s" % header for header in (*headers, (b"connection", b"close"))]
        self.transport.write(b"\r\n".join([*lines, b"", body]))
        self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _discard(self, n_bytes: int) -> None:
        self.n_discarded += n_bytes
        if self.n_discarded <= LINGER_BYTES:
            return
        if self.n_unanswered:
            self.flow.pause_reading()
        else:
            self.transport.close()

    def _head_error(self) -> RequestError:
        self.metrics.rejected("head").inc()
        problem = (
            f"expected a request line and headers of at most {self.limits.head_bytes:,} bytes, found more"
        )
        return RequestError(431, problem, location="headers", hint="send fewer or shorter headers")

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
        if self.n_unanswered and not self.receiving:
            if sys.platform == "linux":
                self._probe()
            return
        if not self.receiving:
            max_seconds, reason = limits.idle_seconds + limits.head_seconds, "idle"
        elif self.in_head:
            max_seconds, reason = limits.head_seconds, "slow head"
        else:
            max_seconds = limits.head_seconds + limits.body_seconds + DISCARDING_SECONDS
            reason = "slow body"
        if now - self.last_event > max_seconds and self.transport.is_reading():
            self.abort(reason)

    def abort(self, reason: str) -> None:
        """Close the connection at once, even if a response is not sent."""
        self.metrics.rejected(reason).inc()
        self.transport.abort()
