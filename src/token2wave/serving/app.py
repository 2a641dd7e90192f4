"""The service as an ASGI application: routes, limits, errors. ``create_app`` is for servers of one's own."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from token2wave.errors import MissingExtraError, Token2WaveError
from token2wave.serving.answers import (
    HTML,
    PROMETHEUS,
    Answer,
    Headers,
    check_fits,
    error_answer,
    json_answer,
    predictions_answer,
)
from token2wave.serving.documents import documentation_page
from token2wave.serving.limits import Limits
from token2wave.serving.openapi import openapi_document
from token2wave.serving.page import page_html
from token2wave.serving.requests import (
    RequestError,
    check_content,
    parse_explain,
    parse_predict,
    shown,
    too_large,
)
from token2wave.versions import __version__

try:
    from token2wave.serving.batching import SMALL, Batcher, weight
    from token2wave.serving.prometheus import Metrics
except ModuleNotFoundError as error:
    if error.name != "prometheus_client":
        raise
    raise MissingExtraError("prometheus_client", "serve", purpose="the service") from error

if TYPE_CHECKING:
    from token2wave.classifier import Classifier

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

TITLE = "Text classifier"  # of the page
PIECE = 1 << 16  # bytes of an answer that are sent at once; the client has to read before the next
COMMON: Headers = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
access_log = logging.getLogger("token2wave.serving.access")
log = logging.getLogger("token2wave.serving")


class ClientDisconnected(Exception):  # noqa: N818 - nothing is wrong
    """The client has closed the connection."""


def create_app(
    classifier: Classifier,
    limits: Limits | None = None,
    *,
    allow_origins: Sequence[str] = (),
    log_access: bool = False,
) -> Service:
    """Make the service of a classifier, for any ASGI server.

    Args:
        classifier: what predicts.
        limits: what the service takes; those of connections are the server's.
        allow_origins: web pages of these origins may ask; ``*`` lets all.
        log_access: log a line of JSON for each request, to the logger ``token2wave.serving.access``.

    Raises:
        MissingExtraError: the extra ``serve`` is not installed.
    """
    return Service(classifier, limits or Limits(), tuple(allow_origins), log_access)


class Service:
    """ASGI application; see :func:`create_app`."""

    def __init__(
        self, classifier: Classifier, limits: Limits, allow_origins: tuple[str, ...], log_access: bool
    ) -> None:
        self.limits, self.metrics = limits, Metrics()
        self._allow_origins = [origin.encode("latin-1") for origin in allow_origins]
        self._log_access = log_access
        self._batcher = Batcher(classifier, limits, self.metrics)
        self._held = 0
        self._front: tuple[Classifier | None, bytes] = None, b""
        self.ready = True
        self._routes: dict[str, dict[str, Callable[[Any, Receive], Awaitable[Answer]]]] = {
            "/": {"GET": self._page},
            "/predict": {"POST": self._predict},
            "/explain": {"POST": self._explain},
            "/health": {"GET": self._health},
            "/info": {"GET": self._info},
            "/metrics": {"GET": self._metrics},
            "/openapi.json": {"GET": self._openapi},
            "/docs": {"GET": self._docs},
        }
        classifier.probabilities([""])  # the core takes its time when it is called first

    @property
    def classifier(self) -> Classifier:
        """What predicts."""
        return self._batcher.classifier

    def replace(self, classifier: Classifier) -> None:
        """Let another classifier predict from the next batch on; the old one ends what it has begun."""
        classifier.probabilities([""])
        self._batcher.classifier = classifier

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, or follow the server's life."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)
        else:
            await send({"type": "websocket.close"})

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                self.ready = False
                self._batcher.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        begun = time.perf_counter()
        route = scope["path"] if scope["path"] in self._routes else "other"
        try:
            answer = await self._answer(scope, receive)
        except RequestError as error:
            answer = error_answer(error)
        except Token2WaveError as error:  # what the model cannot do
            answer = error_answer(RequestError(422, error.problem, location=error.location, hint=error.hint))
        except ClientDisconnected:
            return
        except Exception:
            log.exception("%s failed", route)
            answer = error_answer(
                RequestError(
                    500, "the service failed, which is its own fault", hint="report what its log says"
                )
            )
        await self._send(scope, answer, send)
        seconds = time.perf_counter() - begun
        self.metrics.request_counter(route, str(answer.status)).inc()
        self.metrics.request_seconds(route).observe(seconds)
        if self._log_access:
            self._log(scope, answer, seconds)

    async def _answer(self, scope: Message, receive: Receive) -> Answer:
        path, method = scope["path"], scope["method"]
        handlers = self._routes.get(path)
        if handlers is None:
            raise RequestError(
                404,
                f"there is no {shown(path)}",
                location="path",
                hint=f"ask for one of {', '.join(self._routes)}",
            )
        if handler := handlers.get("GET" if method == "HEAD" else method):
            return await handler(scope, receive)
        methods = [*handlers, *(["HEAD"] if "GET" in handlers else []), "OPTIONS"]
        allow = ((b"allow", ", ".join(methods).encode()),)
        if method == "OPTIONS":
            return Answer(b"", status=204, headers=allow)
        raise RequestError(
            405,
            f"expected one of {', '.join(methods)}, found {shown(method)}",
            location="method",
            hint=f"use {methods[0]}",
            headers=allow,
        )

    async def _predict(self, scope: Message, receive: Receive) -> Answer:
        request = parse_predict(await self._body(scope, receive), self.limits)
        check_fits(request, self.classifier)
        novel = request.novelty or request.abstain_above_novelty is not None
        if not novel and weight(request.texts) <= SMALL:
            classifier, rows = await self._batcher.rows(request.texts)
            return predictions_answer(request, classifier, rows, None)

        def answered(classifier: Classifier) -> Answer:
            rows = self._batcher.computed(classifier, request.texts).probabilities
            novelty = classifier.novelty(request.texts) if novel else None
            return predictions_answer(
                request, classifier, rows, None if novelty is None else novelty.tolist()
            )

        return await self._batcher.run(answered, weight(request.texts))

    async def _explain(self, scope: Message, receive: Receive) -> Answer:
        request = parse_explain(await self._body(scope, receive), self.limits)

        def explained(classifier: Classifier) -> Answer:
            return json_answer(classifier.explain(request.text, request.unit).to_dict(), n_texts=1)

        return await self._batcher.run(explained, len(request.text) + 1)

    async def _health(self, scope: Message, receive: Receive) -> Answer:
        document = {"live": True, "ready": self.ready}
        return json_answer(document, status=200 if self.ready else 503)

    async def _info(self, scope: Message, receive: Receive) -> Answer:
        return json_answer({"version": __version__, **self.classifier.description()})

    async def _metrics(self, scope: Message, receive: Receive) -> Answer:
        return Answer(self.metrics.text(), PROMETHEUS)

    async def _openapi(self, scope: Message, receive: Receive) -> Answer:
        return json_answer(openapi_document(self.limits, self.classifier))

    async def _docs(self, scope: Message, receive: Receive) -> Answer:
        return Answer(documentation_page(self.limits, self.classifier).encode("utf-8"), HTML)

    async def _page(self, scope: Message, receive: Receive) -> Answer:
        classifier, page = self._front
        if classifier is not self.classifier:
            classifier = self.classifier
            page = page_html(classifier, TITLE).encode("utf-8")
            self._front = classifier, page
        return Answer(page, HTML)

    async def _body(self, scope: Message, receive: Receive) -> bytes:
        """Read the body, as far as limits allow.

        Raises:
            RequestError: it is too large, of another kind, or did not come in time.
            ClientDisconnected: the client went away.
        """
        limits = self.limits
        check_content(dict(scope["headers"]), limits)
        message = await receive()
        if not message.get("more_body") and message["type"] == "http.request":
            body: bytes = message.get("body", b"")
            if len(body) > limits.body_bytes:
                raise too_large(len(body), limits)
            return body
        parts, n_bytes = [], 0
        with self._holding() as hold:
            try:
                async with asyncio.timeout(limits.body_seconds):
                    while True:
                        if message["type"] == "http.disconnect":
                            raise ClientDisconnected
                        part = message.get("body", b"")
                        parts.append(part)
                        n_bytes += len(part)
                        if n_bytes > limits.body_bytes:
                            raise too_large(n_bytes, limits)
                        hold(len(part))
                        if not message.get("more_body"):
                            return b"".join(parts)
                        message = await receive()
            except TimeoutError as error:
                self.metrics.rejected("slow body").inc()
                raise RequestError(
                    408,
                    f"expected the whole body within {limits.body_seconds:g} s, found {n_bytes:,} bytes",
                    location="body",
                    hint="send it faster, or in smaller requests",
                    headers=((b"connection", b"close"),),
                ) from error

    @contextmanager
    def _holding(self) -> Iterator[Callable[[int], None]]:
        """Count bytes as held until the end."""
        own = 0

        def hold(n_bytes: int) -> None:
            nonlocal own
            if self._held + n_bytes > self.limits.held_bytes:
                self.metrics.rejected("memory").inc()
                raise RequestError(
                    503,
                    f"expected at most {self.limits.held_bytes:,} bytes of all requests and answers together",
                    location="memory",
                    hint="try again later, or send smaller requests",
                    headers=((b"retry-after", b"1"),),
                )
            own += n_bytes
            self._held += n_bytes
            self.metrics.held.set(self._held)

        try:
            yield hold
        finally:
            self._held -= own
            self.metrics.held.set(self._held)

    async def _send(self, scope: Message, answer: Answer, send: Send) -> None:
        if len(answer.body) <= PIECE:
            await self._send_pieces(scope, answer, send)
            return
        with self._holding() as hold:
            try:
                hold(len(answer.body))
            except RequestError as error:
                answer = error_answer(error)
            await self._send_pieces(scope, answer, send)

    async def _send_pieces(self, scope: Message, answer: Answer, send: Send) -> None:
        body = answer.body
        headers = [*COMMON, *answer.headers, *self._cors(scope)]
        if answer.status != 204:  # which has no content to speak of
            headers += [(b"content-type", answer.kind), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        last = max(len(body) - 1, 0) // PIECE * PIECE
        for at in range(0, last, PIECE):
            await send({"type": "http.response.body", "body": body[at : at + PIECE], "more_body": True})
        await send({"type": "http.response.body", "body": body[last:]})

    def _cors(self, scope: Message) -> Headers:
        """Headers that let pages of other origins read the answer."""
        if not self._allow_origins:
            return ()
        sent = dict(scope["headers"])
        origin = sent.get(b"origin")
        allowed = b"*" if b"*" in self._allow_origins else origin
        if origin is None or (allowed != b"*" and origin not in self._allow_origins):
            return ((b"vary", b"origin"),)
        headers = ((b"access-control-allow-origin", allowed or b""), (b"vary", b"origin"))
        if b"access-control-request-method" not in sent:
            return headers
        return (
            *headers,
            (b"access-control-allow-methods", b"GET, POST, HEAD, OPTIONS"),
            (b"access-control-allow-headers", b"content-type"),
            (b"access-control-max-age", b"600"),
        )

    def _log(self, scope: Message, answer: Answer, seconds: float) -> None:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "client": (scope.get("client") or [None])[0],
            "method": scope["method"],
            "path": scope["path"],
            "status": answer.status,
            "texts": answer.n_texts,
            "bytes": len(answer.body),
            "milliseconds": round(1000 * seconds, 3),
        }
        access_log.info(json.dumps(line))
