"""What every request has: an id, errors as JSON, common headers, a line in the log, and metrics."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from functools import cache
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from token2wave.serving.prometheus import ServiceMetrics
from token2wave.serving.responses import error_response

REQUEST_ID = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)
TRACE = re.compile(
    r"[\da-f]{2}-[\da-f]{32}-[\da-f]{16}-[\da-f]{2}(-[\x21-\x7e]{1,200})?"
)  # W3C Trace Context
COMMON_HEADERS = (
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("content-security-policy", "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
)
RAW_HEADERS = [(name.encode(), value.encode()) for name, value in COMMON_HEADERS]
access_log = logging.getLogger("token2wave.serving.access")
log = logging.getLogger("token2wave.serving")


class ClientDisconnected(Exception):  # noqa: N818 - not an error
    """The client has closed the connection."""


class RequestContext:
    """Middleware around all others.

    Routes note in the request's state: ``route``, ``model`` and ``checksum``, ``n_texts``.
    """

    def __init__(self, app: ASGIApp, metrics: ServiceMetrics, log_access: bool) -> None:
        self.app, self.metrics, self.log_access = app, metrics, log_access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close"})
            else:
                await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        headers = Headers(scope=scope)
        sent_id, trace = headers.get("x-request-id", ""), headers.get("traceparent", "")
        ids = {"request_id": sent_id if REQUEST_ID.fullmatch(sent_id) else os.urandom(16).hex()}
        own = [*RAW_HEADERS, (b"x-request-id", ids["request_id"].encode())]
        if TRACE.fullmatch(trace):
            ids["traceparent"] = trace
            own.append((b"traceparent", trace.encode()))
        state: dict[str, Any] = scope.setdefault("state", {})
        status, n_bytes = 0, 0

        async def note(message: Message) -> None:
            nonlocal status, n_bytes
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *own]
                if "model" in state:
                    name, checksum = quote_header(state["model"]), state["checksum"].encode()
                    message["headers"] += [(b"x-model", name), (b"x-model-checksum", checksum)]
            n_bytes += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, note)
        except ClientDisconnected:
            return
        except (Exception, asyncio.CancelledError) as error:
            if not isinstance(error, asyncio.CancelledError):  # time is up
                log.exception("%s failed", scope["path"][:200], extra={"fields": ids})
            if status:  # too late for another answer
                raise
            await error_response(error)(scope, receive, note)
        seconds = time.perf_counter() - start
        route = state.get("route", "other")
        self.metrics.request_counter(route, str(status)).inc()
        self.metrics.request_seconds(route).observe(seconds)
        if self.log_access:
            fields = {
                "client": (scope.get("client") or [None])[0],
                "method": scope["method"],
                "path": scope["path"],
                "status": status,
                "model": state.get("model"),
                "checksum": state.get("checksum"),
                "texts": state.get("n_texts", 0),
                "bytes": n_bytes,
                "milliseconds": round(1000 * seconds, 3),
                **ids,
            }
            access_log.info("answered", extra={"fields": fields})


@cache
def quote_header(name: str) -> bytes:
    """The name of a model as a header can hold it."""
    return name.encode("ascii", "backslashreplace").translate(None, bytes((*range(32), 127)))
