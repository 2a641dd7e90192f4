"""Connections of clients that mean no good, or sleep: limits that the HTTP server itself does not have."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from token2wave.serving.app import Service
from token2wave.serving.requests import RequestError

SWEEP = 0.5  # seconds between two looks at all connections
DISCARDING_SECONDS = 5.0  # more than a body has, for clients that go on sending what was refused
PIPELINED = 64  # requests that a client may send ahead in one piece


class GuardedHttpProtocol(HttpToolsProtocol):
    """A connection of uvicorn that is ended when its client is too slow, or sends too much.

    What is overridden are the callbacks of asyncio and of httptools, and of uvicorn ``on_response_complete``
    and ``send_400_response``.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        service = self.app
        assert isinstance(service, Service), "the application must not be wrapped"
        self.limits, self.metrics = service.limits, service.metrics
        self.since = self.loop.time()  # when the client last began, or ended, anything
        self.in_head = self.receiving = True
        self.head_bytes = self.unparsed_bytes = self.n_unanswered = 0
        self.n_pipelined = self.n_ended = 0  # in the last piece of data
        self.unread_since: float | None = None
        self.refusal: RequestError | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a client, where need be at the cost of one that has been silent for long."""
        super().connection_made(transport)
        connections = watched(self.loop)
        if len(connections) >= self.limits.connections:
            silent = [one for one in connections if not one.n_unanswered]
            (min(silent, key=lambda one: one.since) if silent else self).end("connections")
        connections.add(self)
        self.metrics.connections.set(len(connections))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        connections = watched(self.loop)
        connections.discard(self)
        self.metrics.connections.set(len(connections))
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to headers that are not complete."""
        self.n_pipelined = self.n_ended = 0
        super().data_received(data)
        if self.in_head and self.receiving and not self.n_ended:  # nothing but a piece of the head
            self.unparsed_bytes += len(data)
            if self.unparsed_bytes > self.limits.head_bytes and not self.transport.is_closing():
                self._refuse_head()
                self.send_400_response("")

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer a client that has closed its side after its last request."""
        n_begun = 1 if self.receiving and not self.in_head else 0  # has headers, and never will have its body
        if self.receiving and self.n_unanswered == n_begun:
            return False
        self.shutdown()  # once it is answered
        return True

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self.since = self.loop.time()
        self.in_head = self.receiving = True
        self.head_bytes = self.unparsed_bytes = 0
        self.n_pipelined += 1
        if self.n_pipelined > PIPELINED:
            self.refusal = RequestError(
                400,
                f"expected at most {PIPELINED} requests ahead of their answers, found more",
                location="connection",
                hint="wait for answers",
            )
            raise self.refusal

    def on_url(self, url: bytes) -> None:
        """A piece of the first line."""
        super().on_url(url)
        self.head_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        super().on_header(name, value)
        self.head_bytes += len(name) + len(value) + 4

    def on_headers_complete(self) -> None:
        """Headers are complete; what follows is the body."""
        if self.head_bytes > self.limits.head_bytes:
            raise self._refuse_head()
        self.in_head = False
        self.n_unanswered += 1
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A request is complete."""
        self.receiving = False
        self.n_ended += 1
        self.since = self.loop.time()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """A request is answered."""
        self.n_unanswered -= 1
        self.since = self.loop.time()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Say in JSON what was wrong, and close."""
        error = self.refusal or RequestError(
            400, "expected HTTP/1.1, found something else", location="connection", hint="send an HTTP request"
        )
        if self.transport.is_closing():
            return
        if not self.n_unanswered:  # else the client would take it for the answer to another request
            body = json.dumps(error.to_dict()).encode("ascii")
            line = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n".encode("ascii")
            head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
            self.transport.write(line + head % len(body) + body)
        self.metrics.request_counter("none", str(error.status)).inc()
        self.transport.close()

    def _refuse_head(self) -> RequestError:
        self.metrics.rejected("head").inc()
        self.refusal = RequestError(
            431,
            f"expected a first line and headers of at most {self.limits.head_bytes:,} bytes, found more",
            location="headers",
            hint="send fewer or shorter headers",
        )
        return self.refusal

    def look(self, now: float) -> None:
        """End the connection if the client has been too slow."""
        limits = self.limits
        if not self.transport.get_write_buffer_size():
            self.unread_since = None
        elif self.unread_since is None:
            self.unread_since = now
        elif now - self.unread_since > limits.unread_seconds:
            self.end("unread answer")
        if self.n_unanswered and not self.receiving:
            return
        if not self.receiving:
            allowed, reason = limits.idle_seconds + limits.head_seconds, "idle"
        elif self.in_head:
            allowed, reason = limits.head_seconds, "slow head"
        else:
            allowed, reason = limits.head_seconds + limits.body_seconds + DISCARDING_SECONDS, "slow body"
        if now - self.since > allowed and self.transport.is_reading():
            self.end(reason)

    def end(self, reason: str) -> None:
        """Close the connection at once, whatever is left to be written."""
        self.metrics.rejected(reason).inc()
        self.transport.abort()


_WATCHED: dict[asyncio.AbstractEventLoop, set[GuardedHttpProtocol]] = {}


def watched(loop: asyncio.AbstractEventLoop) -> set[GuardedHttpProtocol]:
    """Connections of an event loop; they are looked at as long as it runs."""
    if loop not in _WATCHED:
        _WATCHED[loop] = set()
        _sweep(loop)
    return _WATCHED[loop]


def _sweep(loop: asyncio.AbstractEventLoop) -> None:
    now = loop.time()
    for connection in list(_WATCHED[loop]):
        connection.look(now)
    loop.call_later(SWEEP, _sweep, loop)
