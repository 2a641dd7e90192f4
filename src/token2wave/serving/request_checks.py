"""Checks of a request before it reaches its route: the host that it names, its token, its headers."""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import re
from collections.abc import Callable, Container, Sequence
from functools import lru_cache
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from token2wave.errors import ConfigError
from token2wave.serving.bodies import RequestError, quote
from token2wave.serving.limits import ServiceLimits
from token2wave.serving.prometheus import ServiceMetrics
from token2wave.serving.responses import JSON, error_response

HOST = re.compile(r"(\[[\da-fA-F:.]+\]|[\w.~-]+)(:\d{0,5})?", re.ASCII)
TOKEN = re.compile(r"[\x21-\x7e]{16,1000}")
HEADER_BYTES = 128  # memory of a header beside its own bytes
OPEN_PATHS = ("/live", "/ready")  # for probes, which have no token


class Check:
    """Middleware that calls a function with each request, which may refuse it."""

    def __init__(self, app: ASGIApp, check: Callable[[Scope], None]) -> None:
        self.app, self.check = app, check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request and pass it on."""
        app = self.app
        if scope["type"] == "http":
            try:
                self.check(scope)
            except RequestError as error:
                app = error_response(error)
        await app(scope, receive, send)


def head_check(head_bytes: int, metrics: ServiceMetrics) -> Callable[[Scope], None]:
    """Make a check that the first line and the headers are not too large; it raises `RequestError` 431."""

    def check(scope: Scope) -> None:
        sizes = [len(name) + len(value) + HEADER_BYTES for name, value in scope["headers"]]
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) + sum(sizes) > head_bytes:
            metrics.rejected("head").inc()
            raise head_error(head_bytes)

    return check


def head_error(head_bytes: int) -> RequestError:
    """The error of a request whose first line and headers are too large."""
    problem = f"expected a request line and headers of at most {head_bytes:,} bytes, found more"
    headers = (("connection", "close"),)
    hint = "send fewer or shorter headers"
    return RequestError(431, problem, location="headers", hint=hint, headers=headers)


@lru_cache(256)
def parse_host(host: str) -> str | None:
    """The name or address in a Host header, without the port; None if it is malformed."""
    match = HOST.fullmatch(host.strip())
    if match is None:
        return None
    name = match[1].strip("[]").lower().rstrip(".")
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def host_check(hosts: Sequence[str]) -> Callable[[Scope], None]:
    """Make a check that a request is for this service, not for a name that an attacker lets point to it.

    Loopback and the address at which a request arrives are allowed, and ``hosts``; ``*`` allows all. The
    check raises `RequestError` 400 without exactly one Host header, and 421 if it names another host.

    Raises:
        ConfigError: one of the hosts is neither a name nor an address.
    """
    allowed: set[str] = set()
    for host in hosts:
        name = host if host == "*" else parse_host(host)
        if name is None:
            problem, hint = f"expected a name or an address, found {quote(host)}", "give it without http://"
            raise ConfigError(problem, location="--allow-host", hint=hint)
        allowed.add(name)

    def check(scope: Scope) -> None:
        check_host(Headers(scope=scope).getlist("host"), (scope.get("server") or ("",))[0], allowed)

    return check


def check_host(hosts: Sequence[str], address: str, allowed: Container[str]) -> None:
    """Check the values of the Host header; see :func:`host_check`."""
    name = parse_host(hosts[0]) if len(hosts) == 1 else None
    if name is None:
        value = quote(hosts[0]) if len(hosts) == 1 else f"{len(hosts)} of them"
        problem = f"expected one Host header with a name or an address, found {value}"
        raise RequestError(400, problem, location="header Host", hint="send the address of the service")
    if not (is_loopback(name) or name == address or name in allowed or "*" in allowed):
        problem = f"expected an address of this service, found {quote(name)}"
        hint = f"start the service with --allow-host {name[:40]}, if it is one"
        raise RequestError(421, problem, location="header Host", hint=hint)


def read_token(path: Path) -> str:
    """Read a token from a file.

    Raises:
        ConfigError: the file cannot be read, or holds no token.
    """
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        problem = f"expected a file with a token, but it cannot be read: {getattr(error, 'strerror', error)}"
        raise ConfigError(problem, location=str(path)) from error
    if not TOKEN.fullmatch(token):
        raise ConfigError(
            f"expected a token of 16 to 1,000 visible ASCII characters, found {len(token):,} characters",
            location=str(path),
            hint="write one, e.g. with: openssl rand -hex 32",
        )
    return token


def token_check(token: str) -> Callable[[Scope], None]:
    """Make a check that a request has the token: as bearer, or as the password that browsers ask for.

    Tokens are compared in constant time. The check raises `RequestError` 401.
    """
    expected = token.encode("ascii")

    def check(scope: Scope) -> None:
        if scope["path"].removeprefix(scope.get("root_path", "")) in OPEN_PATHS:
            return
        scheme, _, value = Headers(scope=scope).get("authorization", "").partition(" ")
        sent = value.strip().encode("latin-1", "replace")
        if scheme.lower() == "basic":
            try:
                sent = base64.b64decode(sent, validate=True).partition(b":")[2]
            except binascii.Error:
                sent = b""
        if scheme.lower() not in ("basic", "bearer") or not hmac.compare_digest(sent, expected):
            raise RequestError(
                401,
                f"expected the token of this service, found {'another' if scheme else 'none'}",
                location="header Authorization",
                hint="send the header Authorization: Bearer TOKEN",
                headers=(("www-authenticate", 'Bearer, Basic realm="token2wave", charset="UTF-8"'),),
            )

    return check


def check_content(headers: Headers, media_type: str, limits: ServiceLimits) -> None:
    """Check the headers that describe the body.

    Raises:
        RequestError: 415, the body is not of that media type in UTF-8; 413, it is too large, unless it is
            made of lines.
    """
    content_type = headers.get("content-type", "")
    sent, *parameters = content_type.lower().split(";")
    charsets = [name.strip().replace('"', "") for name in parameters if name.strip().startswith("charset=")]
    if sent.strip() != media_type or charsets not in ([], ["charset=utf-8"]):
        value = quote(content_type) if content_type else "nothing"
        problem = f"expected {media_type} in UTF-8, found {value}"
        hint = f"send it with the header Content-Type: {media_type}"
        raise RequestError(415, problem, location="header Content-Type", hint=hint)
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", ""):
        problem = f"expected an uncompressed body, found encoding {quote(encoding)}"
        hint = "send the body uncompressed"
        raise RequestError(415, problem, location="header Content-Encoding", hint=hint)
    length = headers.get("content-length", "")
    if media_type == JSON and length.isdigit():
        check_body_size(int(length[:19]), limits)


def check_body_size(n_bytes: int, limits: ServiceLimits) -> None:
    """Check the size of a body, or of the beginning of one.

    Raises:
        RequestError: 413, it is too large.
    """
    if n_bytes > limits.body_bytes:
        problem = f"expected a body of at most {limits.body_bytes:,} bytes, found {n_bytes:,} or more"
        hint = "send several requests, or lines, or start the service with a larger --body-bytes"
        raise RequestError(413, problem, location="body", hint=hint)
