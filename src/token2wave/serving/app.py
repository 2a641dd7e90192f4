"""The service as an ASGI application: routes, limits, errors."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

from token2wave.errors import MissingExtraError, Token2WaveError
from token2wave.inference.drift_sums import DriftSums
from token2wave.inference.prediction import prediction_to_dict, should_abstain
from token2wave.serving.limits import ServiceLimits
from token2wave.serving.openapi import docs_page, openapi_document
from token2wave.serving.page import page_html
from token2wave.serving.requests import (
    Headers,
    PredictRequest,
    RequestError,
    check_allowed_hosts,
    check_body_size,
    check_headers,
    check_host,
    parse_explain,
    parse_predict,
    quote,
)
from token2wave.versions import __version__

try:
    from token2wave.serving.batching import (
        EXPLAIN_COST,
        NOVELTY_COST,
        SMALL_REQUEST,
        Batcher,
        BatchResult,
        IsStopped,
        request_size,
    )
    from token2wave.serving.prometheus import ServiceMetrics
except ModuleNotFoundError as error:
    if error.name != "prometheus_client":
        raise
    raise MissingExtraError("prometheus_client", "serve", purpose="the service") from error

if TYPE_CHECKING:
    from token2wave.classifier import Classifier

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

JSON = b"application/json"
HTML = b"text/html; charset=utf-8"
PROMETHEUS = b"text/plain; version=0.0.4; charset=utf-8"
UNICODE_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
ASCII_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
PAGE_TITLE = "Text classifier"
CHUNK_BYTES = 1 << 16  # of a response; the client must read a chunk before the next is sent
COMMON_HEADERS: Headers = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
)
access_log = logging.getLogger("token2wave.serving.access")
log = logging.getLogger("token2wave.serving")


class Response(NamedTuple):
    """A response; ``n_texts`` is the number of texts it answers, for the log."""

    body: bytes
    media_type: bytes = JSON
    status: int = 200
    headers: Headers = ()
    n_texts: int = 0


class ClientDisconnected(Exception):  # noqa: N818 - not an error
    """The client has closed the connection."""


class Service:
    """The service of a classifier, for any ASGI server.

    Args:
        classifier: makes the predictions.
        limits: limits of requests; those of connections are up to the server.
        allow_origins: origins whose web pages may read the responses; ``*`` allows all.
        allow_hosts: hosts that requests may name, beside loopback and the address at which they arrive; ``*``
            allows all.
        model_name: name of the model in the metrics.
        log_access: log each request as a line of JSON to the logger ``token2wave.serving.access``.

    Raises:
        ConfigError: ``allow_hosts`` has something that is no host.
        MissingExtraError: at import, if the extra ``serve`` is not installed.
    """

    def __init__(
        self,
        classifier: Classifier,
        limits: ServiceLimits | None = None,
        *,
        allow_origins: Sequence[str] = (),
        allow_hosts: Sequence[str] = (),
        model_name: str = "model",
        log_access: bool = False,
    ) -> None:
        self.limits, self.metrics = limits or ServiceLimits(), ServiceMetrics()
        self._allow_origins = [origin.encode("latin-1") for origin in allow_origins]
        self._allow_hosts = check_allowed_hosts(allow_hosts)
        self._log_access = log_access
        self._batcher = Batcher(classifier, self.limits, self.metrics, model_name)
        self.replace(classifier)
        self.n_held = {"requests": 0, "responses": 0}
        self.ready = True
        self._get: dict[str, Callable[[], Response]] = {
            "/": lambda: Response(self._page, HTML),
            "/health": lambda: json_response(
                {"live": True, "ready": self.ready}, status=200 if self.ready else 503
            ),
            "/info": lambda: json_response({"version": __version__, **self.classifier.description()}),
            "/metrics": lambda: Response(self.metrics.text(), PROMETHEUS),
            "/openapi.json": lambda: json_response(self._openapi()),
            "/docs": lambda: Response(docs_page(self._openapi()).encode("utf-8"), HTML),
        }
        self._post = {"/predict": self._predict, "/explain": self._explain}
        self._paths = (*self._get, *self._post)

    @property
    def classifier(self) -> Classifier:
        """The classifier that makes the predictions."""
        return self._batcher.classifier

    def replace(self, classifier: Classifier) -> None:
        """Use another classifier from the next batch on."""
        nothing = [classifier.empty_text]
        classifier.probabilities(nothing)  # the first call is slow, as are these, which the metrics need
        DriftSums.of_texts(classifier, nothing), classifier.fingerprint
        document = openapi_document(self.limits, classifier)
        page = docs_page(document) if classifier.is_pairs else page_html(classifier, PAGE_TITLE)
        self._page = page.encode("utf-8")
        self._batcher.classifier = classifier

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or handle startup and shutdown of the server."""
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] != "lifespan":
            await send({"type": "websocket.close"})
        else:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            self.ready = False
            self._batcher.close()
            await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        start = time.perf_counter()
        route = scope["path"] if scope["path"] in self._paths else "other"
        try:
            response = await self._respond(scope, receive)
        except RequestError as error:
            response = error_response(error)
        except Token2WaveError as error:  # the model does not support the request
            response = error_response(
                RequestError(422, error.problem, location=error.location, hint=error.hint)
            )
        except ClientDisconnected:
            return
        except asyncio.CancelledError:  # time is up
            response = error_response(shutdown_error())
        except Exception:
            log.exception("%s failed", route)
            response = error_response(
                RequestError(500, "internal error of the service", hint="report it with the service's log")
            )
        response = await self._send(scope, response, send)
        seconds = time.perf_counter() - start
        self.metrics.request_counter(route, str(response.status)).inc()
        self.metrics.request_seconds(route).observe(seconds)
        if self._log_access:
            entry = {
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "client": (scope.get("client") or [None])[0],
                "method": scope["method"],
                "path": scope["path"],
                "status": response.status,
                "texts": response.n_texts,
                "bytes": len(response.body),
                "milliseconds": round(1000 * seconds, 3),
            }
            access_log.info(json.dumps(entry))

    async def _respond(self, scope: Message, receive: Receive) -> Response:
        path, method = scope["path"], scope["method"]
        check_host(scope["headers"], (scope.get("server") or ("",))[0], self._allow_hosts)
        if path in self._get and method in ("GET", "HEAD"):
            return self._get[path]()
        if path in self._post and method == "POST":
            if not self.ready:
                raise shutdown_error()
            return await self._post[path](await self._body(scope, receive), receive)
        if path not in self._paths:
            problem = f"expected a path of the service, found {quote(path)}"
            hint = f"use one of {', '.join(self._paths)}"
            raise RequestError(404, problem, location="path", hint=hint)
        methods = "GET, HEAD, OPTIONS" if path in self._get else "POST, OPTIONS"
        headers = ((b"allow", methods.encode()),)
        if method == "OPTIONS":
            return Response(b"", status=204, headers=headers)
        problem = f"expected one of {methods}, found {quote(method)}"
        hint = f"use {methods.split(',')[0]}"
        raise RequestError(405, problem, location="method", hint=hint, headers=headers)

    async def _predict(self, body: bytes, receive: Receive) -> Response:
        request = parse_predict(body, self.limits, self.classifier)
        del body  # the request holds its texts
        with_novelty = request.novelty or request.abstain_above_novelty is not None
        size = request_size(request.texts)
        if not with_novelty and size <= SMALL_REQUEST:
            return predictions_response(request, await self._batcher.predict(request.texts))

        def predict(classifier: Classifier, is_stopped: IsStopped) -> Response:
            result = self._batcher.compute(classifier, request.texts)
            novelty = classifier.novelty(request.texts) if with_novelty else None
            return predictions_response(request, result, None if novelty is None else novelty.tolist())

        return await self._run(predict, size * NOVELTY_COST if with_novelty else size, receive)

    async def _explain(self, body: bytes, receive: Receive) -> Response:
        request = parse_explain(body, self.limits, self.classifier)
        del body

        def explain(classifier: Classifier, is_stopped: IsStopped) -> Response:
            end = time.monotonic() + self.limits.explain_seconds
            explanation = classifier.explain(
                request.text, request.unit, should_stop=lambda: is_stopped() or time.monotonic() > end
            )
            if is_stopped():
                raise ClientDisconnected
            return json_response(explanation.to_dict(), n_texts=1)

        return await self._run(explain, request_size([request.text]) * EXPLAIN_COST, receive)

    async def _run(
        self, function: Callable[[Classifier, IsStopped], Response], cost: int, receive: Receive
    ) -> Response:
        """Compute a response in a thread, as long as the client waits for it."""
        work = asyncio.ensure_future(self._batcher.run(function, cost))
        watch = asyncio.ensure_future(receive())  # its next message is that the client is gone
        try:
            await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done() and watch.result()["type"] == "http.disconnect":
                raise ClientDisconnected
            return await work
        finally:
            watch.cancel()
            work.cancel()

    def _openapi(self) -> dict[str, Any]:
        return openapi_document(self.limits, self.classifier)

    async def _body(self, scope: Message, receive: Receive) -> bytes:
        """Read the body.

        Raises:
            RequestError: it is not JSON, too large, or did not arrive in time.
            ClientDisconnected: the client is gone.
        """
        limits = self.limits
        check_headers(dict(scope["headers"]), limits)
        chunks: list[bytes] = []
        n_bytes = 0
        timeout = asyncio.timeout(limits.body_seconds)
        try:
            message = await receive()  # usually the whole body; the HTTP server limits the time for it
            async with timeout if message.get("more_body") else nullcontext():
                while True:
                    if message["type"] == "http.disconnect":
                        raise ClientDisconnected
                    chunks.append(message.get("body", b""))
                    n_bytes += len(chunks[-1])
                    check_body_size(n_bytes, limits)
                    if not message.get("more_body"):
                        return b"".join(chunks)
                    message = await receive()
        except TimeoutError as error:
            self.metrics.rejected("slow body").inc()
            problem = f"expected the whole body within {limits.body_seconds:g} s, found {n_bytes:,} bytes"
            hint, headers = "send it faster, or in smaller requests", ((b"connection", b"close"),)
            raise RequestError(408, problem, location="body", hint=hint, headers=headers) from error

    def hold(self, held: str, n_bytes: int) -> None:
        """Count bytes of ``requests`` or ``responses`` as held, or release them if negative.

        Raises:
            RequestError: 503, too many bytes are held.
        """
        if n_bytes > 0 and self.n_held[held] + n_bytes > self.limits.held_bytes:
            self.metrics.rejected("memory").inc()
            problem = f"expected at most {self.limits.held_bytes:,} bytes in large {held} of all clients"
            hint, headers = "try again later, or send smaller requests", ((b"retry-after", b"1"),)
            raise RequestError(503, problem, location="memory", hint=hint, headers=headers)
        self.n_held[held] += n_bytes
        self.metrics.held.set(sum(self.n_held.values()))

    async def _send(self, scope: Message, response: Response, send: Send) -> Response:
        """Send a response in chunks; return it, or the error that replaces it if memory is full."""
        n_held_bytes = len(response.body) if len(response.body) > CHUNK_BYTES else 0
        try:
            if n_held_bytes:
                self.hold("responses", n_held_bytes)
        except RequestError as error:
            response, n_held_bytes = error_response(error), 0
        body = response.body
        headers = [*COMMON_HEADERS, *response.headers, *self._cors_headers(scope)]
        if response.status != 204:  # which has no body
            headers += [(b"content-type", response.media_type), (b"content-length", b"%d" % len(body))]
        try:
            await send({"type": "http.response.start", "status": response.status, "headers": headers})
            for start in range(0, len(body) or 1, CHUNK_BYTES):
                chunk, end = body[start : start + CHUNK_BYTES], start + CHUNK_BYTES
                await send({"type": "http.response.body", "body": chunk, "more_body": end < len(body)})
        finally:
            if n_held_bytes:
                self.hold("responses", -n_held_bytes)
        return response

    def _cors_headers(self, scope: Message) -> Headers:
        """Headers that let web pages of other origins read the response."""
        if not self._allow_origins:
            return ()
        request_headers = dict(scope["headers"])
        origin, vary = request_headers.get(b"origin"), (b"vary", b"origin")
        allowed = next((each for each in self._allow_origins if each in (b"*", origin)), None)
        if allowed is None:
            return (vary,)
        headers = ((b"access-control-allow-origin", allowed), vary)
        if b"access-control-request-method" not in request_headers:
            return headers
        return (
            *headers,
            (b"access-control-allow-methods", b"GET, POST, HEAD, OPTIONS"),
            (b"access-control-allow-headers", b"content-type"),
            (b"access-control-max-age", b"600"),
        )


def json_response(document: dict[str, Any], **settings: Any) -> Response:
    """Encode JSON in UTF-8; in ASCII if it has lone surrogates, which UTF-8 cannot encode."""
    try:
        body = _encode_json(document, UNICODE_ENCODER.encode).encode("utf-8")
    except UnicodeEncodeError:
        body = _encode_json(document, ASCII_ENCODER.encode).encode("ascii")
    return Response(body, **settings)


def _encode_json(document: dict[str, Any], encode: Callable[[Any], str]) -> str:
    """Encode items of lists one by one: the encoder holds the interpreter lock, and the event loop waits."""
    fields = []
    for name, value in document.items():
        text = f"[{','.join(map(encode, value))}]" if isinstance(value, list) else encode(value)
        fields.append(f"{encode(name)}:{text}")
    return f"{{{','.join(fields)}}}"


def shutdown_error() -> RequestError:
    """The error of requests for which no time is left."""
    headers = ((b"retry-after", b"1"), (b"connection", b"close"))
    return RequestError(503, "the service is shutting down", hint="try again later", headers=headers)


def error_response(error: RequestError) -> Response:
    """Encode an error."""
    return json_response(error.to_dict(), status=error.status, headers=error.headers)


def predictions_response(
    request: PredictRequest, result: BatchResult, novelty: list[float] | None = None
) -> Response:
    """Encode the response to a ``/predict`` request.

    Args:
        request: the request.
        result: for each text, the probability of each class.
        novelty: of each text, if it was computed.
    """
    classifier = result.classifier
    predictions = classifier.predictions(result.probabilities, result.known, request.top_k, request.threshold)
    documents = []
    for i, prediction in enumerate(predictions):
        if novelty is not None:
            prediction = prediction._replace(novelty=novelty[i])
        has_no_label = should_abstain(prediction, request.abstain_below, request.abstain_above_novelty)
        documents.append(prediction_to_dict(prediction, classifier.multi_label, has_no_label))
    document = documents[0] if request.single else {"predictions": documents}
    return json_response(document, n_texts=len(documents))
