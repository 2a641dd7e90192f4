"""Answers as JSON: what is computed, in one piece, in chunks or in lines, and errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from token2wave.errors import Token2WaveError
from token2wave.serving.bodies import RequestError, quote

JSON, NDJSON = "application/json", "application/x-ndjson"
CHUNK_BYTES = 1 << 16  # of an answer; the client must read a chunk before the next is sent
Hold = Callable[[str], AbstractContextManager[Callable[[int], None]]]
"""Of :meth:`token2wave.serving.app.Service.hold`."""


class JsonResponse(Response):
    """Encoded JSON."""

    media_type = JSON


class LinesResponse(Response):
    """Lines of NDJSON that are made while the request is read; Starlette's own would read from it."""

    media_type = NDJSON

    def __init__(self, lines: AsyncIterator[bytes]) -> None:
        super().__init__()
        self.lines = lines
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the lines. An error before the first has its own answer; a later one is the last line."""
        first = await anext(self.lines, b"")
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": first, "more_body": True})
        last = b""
        try:
            async for lines in self.lines:
                await send({"type": "http.response.body", "body": lines, "more_body": True})
        except Token2WaveError as error:  # too late for a status
            last = bytes(error_response(error).body) + b"\n"
        await send({"type": "http.response.body", "body": last})


class HeldResponse(JsonResponse):
    """A large answer: sent in chunks, and counted as held until it is sent."""

    def __init__(self, hold: Hold, body: bytes) -> None:
        super().__init__(body)
        self.hold = hold

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; raises `RequestError` 503 before anything is sent if memory is full."""
        with self.hold("answers") as count:
            count(len(self.body))
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            for start in range(0, len(self.body), CHUNK_BYTES):
                chunk, end = bytes(self.body[start : start + CHUNK_BYTES]), start + CHUNK_BYTES
                await send({"type": "http.response.body", "body": chunk, "more_body": end < len(self.body)})


def json_response(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Encode JSON."""
    return JsonResponse(msgspec.json.encode(document), status, headers)


def error_response(error: BaseException) -> Response:
    """Encode an error; one that the service does not expect says no more."""
    if isinstance(error, asyncio.CancelledError):  # time is up
        error = shutdown_error()
    elif isinstance(error, Token2WaveError) and not isinstance(error, RequestError):
        error = RequestError(422, error.problem, location=error.location, hint=error.hint)
    elif not isinstance(error, RequestError):
        error = RequestError(500, "internal error of the service", hint="report it with the service's log")
    return json_response(error.to_dict(), error.status, dict(error.headers))


async def answer_error(request: Request, error: Exception) -> Response:
    """Encode an error of a route, or of the router."""
    if not isinstance(error, HTTPException):
        return error_response(error)
    headers = tuple((error.headers or {}).items())
    if error.status_code == 405:
        allowed = dict(headers).get("Allow", "")
        problem, hint = f"expected {allowed}, found {quote(request.method)}", "use another method"
        return error_response(RequestError(405, problem, location="method", hint=hint, headers=headers))
    paths = (
        "/predict, /predict/lines, /explain, /info, /models, /live, /ready, /metrics, /openapi.json, /docs"
    )
    problem = f"expected a path of the service, found {quote(request.url.path)}"
    hint = f"use one of {paths}, or one below /models/NAME"
    return error_response(
        RequestError(error.status_code, problem, location="path", hint=hint, headers=headers)
    )


def shutdown_error() -> RequestError:
    """The error of requests for which no time is left."""
    headers = (("retry-after", "1"), ("connection", "close"))
    return RequestError(503, "the service is shutting down", hint="try again later", headers=headers)
