"""Answers as JSON: what is computed, and errors."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from token2wave.errors import Token2WaveError
from token2wave.serving.bodies import RequestError, quote


def json_response(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Encode JSON."""
    return Response(msgspec.json.encode(document), status, headers, "application/json")


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
