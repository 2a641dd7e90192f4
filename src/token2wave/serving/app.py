"""The service as an ASGI application of Starlette: its routes and what they compute."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from token2wave.errors import MissingExtraError, Token2WaveError
from token2wave.features.pairs import join_pair
from token2wave.serving.limits import ServiceLimits
from token2wave.versions import __version__

try:
    import msgspec
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.middleware.cors import CORSMiddleware
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import HTMLResponse, Response
    from starlette.routing import Route

    from token2wave.serving.batching import (
        EXPLAIN_COST,
        NOVELTY_COST,
        SMALL_REQUEST,
        Batcher,
        IsStopped,
        request_size,
    )
    from token2wave.serving.bodies import RequestError, decode, decode_query, texts_of
    from token2wave.serving.connections import TrackRequests
    from token2wave.serving.context import ClientDisconnected, RequestContext
    from token2wave.serving.model_store import ModelStore, ServedModel
    from token2wave.serving.openapi import docs_page, openapi_document
    from token2wave.serving.prediction_bodies import (
        decode_line,
        encode_predictions,
        needs_novelty,
        novelty_of,
        predictions_of,
    )
    from token2wave.serving.prometheus import ServiceMetrics
    from token2wave.serving.request_checks import (
        Check,
        check_body_size,
        check_content,
        head_check,
        host_check,
        token_check,
    )
    from token2wave.serving.responses import (
        CHUNK_BYTES,
        JSON,
        NDJSON,
        HeldResponse,
        JsonResponse,
        LinesResponse,
        answer_error,
        json_response,
        shutdown_error,
    )
except ModuleNotFoundError as error:
    package = str(error.name).partition(".")[0]
    if package not in ("prometheus_client", "starlette", "msgspec", "uvicorn", "httptools"):
        raise
    raise MissingExtraError(package, "serve", purpose="the service") from error

if TYPE_CHECKING:
    from token2wave.classifier import Classifier

T = TypeVar("T")
FREE_BYTES = 1 << 16  # of a body, which may always be held, so that small requests need no room
CLOSE_SECONDS = 0.2  # for answers to be sent at the end
RETRY_SECONDS = 0.05  # for lines that find the queue full
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


class Service:
    """The models, their queue, and the limits and metrics of a service.

    Args:
        models: see :class:`token2wave.serving.model_store.ModelStore`.
        limits: limits of requests; those of connections hold under ``token2wave serve`` only.
    """

    def __init__(self, models: Sequence[Path] | Mapping[str, Classifier], limits: ServiceLimits) -> None:
        self.limits, self.metrics = limits, ServiceMetrics()
        self.models = ModelStore(models, limits, self.metrics)
        self.batcher = Batcher(limits, self.metrics)
        self.connections: set[Any] = set()
        self.n_held = {"requests": 0, "answers": 0}
        self.is_ready = True

    async def close(self) -> None:
        """Drop what waits, and close the connections that are left after what was written is sent."""
        self.is_ready = False
        self.batcher.close()
        await asyncio.sleep(0)  # cancelled requests are answered
        for connection in list(self.connections):
            connection.transport.close()
        await asyncio.sleep(CLOSE_SECONDS if self.connections else 0)
        for connection in list(self.connections):
            connection.transport.abort()
        await asyncio.sleep(0)

    @contextmanager
    def hold(self, held: str) -> Iterator[Callable[[int], None]]:
        """Count bytes of ``requests`` or ``answers`` as held until the end.

        Yields:
            A function that takes how many bytes are held by now, and raises `RequestError` 503 if all clients
            together hold too many.
        """
        n_held = 0

        def count(n_bytes: int) -> None:
            nonlocal n_held
            n_more = max(n_bytes - FREE_BYTES, 0) - n_held
            if not n_more:
                return
            if n_more > 0 and self.n_held[held] + n_more > self.limits.held_bytes:
                self.metrics.rejected("memory").inc()
                problem = f"expected at most {self.limits.held_bytes:,} bytes in large {held} of all clients"
                hint, headers = "try again later, or send smaller requests", (("retry-after", "1"),)
                raise RequestError(503, problem, location="memory", hint=hint, headers=headers)
            n_held += n_more
            self.n_held[held] += n_more
            self.metrics.held.set(sum(self.n_held.values()))

        try:
            yield count
        finally:
            count(0)

    async def predict(self, request: Request) -> Response:
        """Classify a text or a list of texts."""
        model = self._model(request)
        async with self._decoded(request, model, model.bodies.predict, "--text-characters") as asked:
            single, texts = asked.text is not msgspec.UNSET, texts_of(asked, model.classifier.is_pairs)
            request.state.n_texts, size = len(texts), request_size(texts)
            if not needs_novelty(asked) and size <= SMALL_REQUEST:
                result = await self.batcher.predict(model, texts)
                return self._answer(encode_predictions(model, asked, single, result))

            def predict(is_stopped: IsStopped) -> bytes:
                result = self.batcher.compute(model, texts)
                return encode_predictions(model, asked, single, result, novelty_of(model, asked, texts))

            cost = size * NOVELTY_COST if needs_novelty(asked) else size
            return self._answer(await self._run(predict, cost, request))

    async def predict_lines(self, request: Request) -> Response:
        """Classify lines of NDJSON as they arrive; the answer has a line for each."""
        model = self._model(request)
        check_content(request.headers, NDJSON, self.limits)
        asked = decode_query(dict(request.query_params), model.bodies.options, model.classifier)
        request.state.n_texts = 0

        async def answer() -> AsyncIterator[bytes]:
            async for lines in self._lines(request):
                decoded = [decode_line(line, model) for line in lines]
                texts = [text for text in decoded if isinstance(text, str)]
                cost = request_size(texts) * (NOVELTY_COST if needs_novelty(asked) else 1)
                request.state.n_texts += len(texts)

                def predict(_: IsStopped, texts: list[str] = texts) -> list[Any]:
                    result = self.batcher.compute(model, texts)
                    return predictions_of(model, asked, result, novelty_of(model, asked, texts))

                predictions = iter(await self._run_patiently(predict, cost) if texts else [])
                answers = [next(predictions) if isinstance(text, str) else text.to_dict() for text in decoded]
                yield b"".join(msgspec.json.encode(each) + b"\n" for each in answers)

        return LinesResponse(answer())

    async def _lines(self, request: Request) -> AsyncIterator[list[bytes]]:
        """Lines of a body, as many together as are computed together; empty ones are left out."""
        rest, max_bytes = b"", self.limits.body_bytes
        is_refused = False  # the line that goes on has its answer: it is too long
        async for chunk in self._chunks(request):
            *lines, rest = (rest + chunk).split(b"\n")
            if is_refused and lines:
                lines, is_refused = lines[1:], False
            if is_refused:
                rest = b""
            elif len(rest) > max_bytes:
                lines, rest, is_refused = [*lines, rest], b"", True
            if lines := [line for line in lines if line.strip()]:
                yield lines
        if rest.strip() and not is_refused:
            yield [rest]

    async def explain(self, request: Request) -> Response:
        """Compute the effect of each word on the prediction."""
        model = self._model(request)
        async with self._decoded(request, model, model.bodies.explain, "--explain-characters") as asked:
            text = join_pair(*asked.text) if model.classifier.is_pairs else asked.text
            request.state.n_texts = 1

            def explain(is_stopped: IsStopped) -> bytes:
                end = time.monotonic() + self.limits.explain_seconds
                explanation = model.classifier.explain(
                    text, asked.unit, should_stop=lambda: is_stopped() or time.monotonic() > end
                )
                if is_stopped():
                    raise ClientDisconnected
                return msgspec.json.encode({**explanation.to_dict(), **model.tag})

            return self._answer(await self._run(explain, request_size([text]) * EXPLAIN_COST, request))

    async def info(self, request: Request) -> Response:
        """Describe a model."""
        model = self._model(request)
        return json_response({"version": __version__, **model.tag, **model.classifier.description()})

    async def list_models(self, request: Request) -> Response:
        """List the models."""
        default = self.models.default
        entries = [
            {**model.tag, "labels": len(model.classifier.label_names), "is_default": model is default}
            for model in self.models
        ]
        return json_response({"version": __version__, "models": entries})

    async def live(self, request: Request) -> Response:
        """Tell that the process answers."""
        return json_response({"status": "live"})

    async def ready(self, request: Request) -> Response:
        """Tell whether requests are taken."""
        status = "ready" if self.is_ready else "shutting down"
        return json_response({"status": status}, 200 if self.is_ready else 503)

    async def read_metrics(self, request: Request) -> Response:
        """All metrics."""
        return Response(self.metrics.text(), media_type=PROMETHEUS)

    async def openapi(self, request: Request) -> Response:
        """Describe the service for programs."""
        return json_response(openapi_document(self.models, request.scope.get("root_path", "")))

    async def docs(self, request: Request) -> Response:
        """Describe the service for people."""
        document = openapi_document(self.models, request.scope.get("root_path", ""))
        return HTMLResponse(docs_page(document))

    async def page(self, request: Request) -> Response:
        """The page on which people try a model; a model of pairs has none."""
        model = self._model(request)
        return await self.docs(request) if model.page is None else HTMLResponse(model.page)

    def _model(self, request: Request) -> ServedModel:
        """The model of a request's path, or the default."""
        if not self.is_ready:
            raise shutdown_error()
        name = request.path_params.get("name")
        model = self.models.default if name is None else self.models.get(name)
        request.state.model, request.state.checksum = model.name, model.checksum
        return model

    async def _run(self, function: Callable[[IsStopped], T], cost: int, request: Request) -> T:
        """Compute in a thread, as long as the client waits for it."""
        work = asyncio.ensure_future(self.batcher.run(function, cost))
        watch = asyncio.ensure_future(request.receive())  # its next message is that the client is gone
        try:
            await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done() and watch.result()["type"] == "http.disconnect":
                raise ClientDisconnected
            return await work
        finally:
            watch.cancel()
            work.cancel()

    async def _run_patiently(self, function: Callable[[IsStopped], T], cost: int) -> T:
        """Compute in a thread; wait while the queue is full."""
        while True:
            try:
                return await self.batcher.run(function, cost)
            except RequestError:
                await asyncio.sleep(RETRY_SECONDS)

    @asynccontextmanager
    async def _decoded(
        self, request: Request, model: ServedModel, body_type: type[msgspec.Struct], option: str
    ) -> AsyncIterator[Any]:
        """The decoded body of a request, which counts as held until the end; see :func:`bodies.decode`."""
        check_content(request.headers, JSON, self.limits)
        with self.hold("requests") as count:
            yield decode(await self._body(request, count), body_type, option, model.classifier)

    async def _body(self, request: Request, count: Callable[[int], None]) -> bytes:
        """Read the body.

        Raises:
            RequestError: it is too large, or did not arrive in time.
            ClientDisconnected: the client is gone.
        """
        chunks: list[bytes] = []
        n_bytes, is_complete = 0, False
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                while not is_complete:
                    message = await request.receive()
                    if message["type"] == "http.disconnect":
                        raise ClientDisconnected
                    chunks.append(message.get("body", b""))
                    n_bytes, is_complete = n_bytes + len(chunks[-1]), not message.get("more_body", False)
                    check_body_size(n_bytes, self.limits)
                    count(n_bytes)
        except TimeoutError:
            raise self._slow_body(n_bytes) from None
        return b"".join(chunks)

    async def _chunks(self, request: Request) -> AsyncIterator[bytes]:
        """Pieces of a body without an end; each must arrive in time."""
        stream = request.stream()
        n_bytes = 0
        while True:
            try:
                async with asyncio.timeout(self.limits.body_seconds):
                    chunk = await anext(stream, None)
            except TimeoutError:
                raise self._slow_body(n_bytes) from None
            except ClientDisconnect:
                raise ClientDisconnected from None
            if chunk is None:
                return
            n_bytes += len(chunk)
            yield chunk

    def _slow_body(self, n_bytes: int) -> RequestError:
        self.metrics.rejected("slow body").inc()
        problem = f"expected the whole body within {self.limits.body_seconds:g} s, found {n_bytes:,} bytes"
        hint, headers = "send it faster, or in smaller requests", (("connection", "close"),)
        return RequestError(408, problem, location="body", hint=hint, headers=headers)

    def _answer(self, body: bytes) -> Response:
        return HeldResponse(self.hold, body) if len(body) > CHUNK_BYTES else JsonResponse(body)


def create_app(
    models: Classifier | Mapping[str, Classifier] | Sequence[Path],
    limits: ServiceLimits | None = None,
    *,
    cors_origins: Sequence[str] = (),
    allow_hosts: Sequence[str] = (),
    token: str | None = None,
    log_access: bool = False,
) -> Starlette:
    """Make the service, an ASGI application that any server runs and any framework mounts.

    Args:
        models: a classifier, classifiers by name, or model files and folders of them. Routes without a name
            use the first.
        limits: limits of requests; those of connections hold under ``token2wave serve`` only.
        cors_origins: origins whose web pages may read the answers; ``*`` allows all.
        allow_hosts: hosts that requests may name, beside loopback and the address at which they arrive; ``*``
            allows all.
        token: that requests must send, except for ``/live`` and ``/ready``.
        log_access: log each request to the logger ``token2wave.serving.access``.

    Returns:
        The application; ``app.state.service`` is its :class:`Service`.

    Raises:
        ConfigError: there is no model, or ``allow_hosts`` has something that is no host.
        ModelFileError: see :func:`token2wave.load`.
        MissingExtraError: at import, if the extra ``serve`` is not installed.
    """
    if not isinstance(models, Mapping | Sequence):
        models = {"model": models}
    service = Service(models, limits or ServiceLimits())
    middleware = [
        Middleware(TrackRequests),
        Middleware(RequestContext, metrics=service.metrics, log_access=log_access),
        Middleware(Check, check=head_check(service.limits.head_bytes, service.metrics)),
        Middleware(Check, check=host_check(allow_hosts)),
    ]
    if cors_origins:
        headers = ["content-type", "authorization", "x-request-id", "traceparent"]
        exposed = ["x-request-id", "x-model", "x-model-checksum", "retry-after"]
        settings: dict[str, Any] = {"allow_origins": cors_origins, "allow_methods": ["GET", "POST"]}
        settings |= {"allow_headers": headers, "expose_headers": exposed}
        middleware.append(Middleware(CORSMiddleware, **settings))
    if token is not None:
        middleware.append(Middleware(Check, check=token_check(token)))

    def route(path: str, endpoint: Callable[[Request], Any], method: str = "GET") -> Route:
        async def call(request: Request) -> Any:
            request.state.route = path
            return await endpoint(request)

        return Route(path, call, methods=[method])

    routes = []  # those that are asked most come first: routes are tried in turn
    for prefix in ("", "/models/{name}"):
        routes += [
            route(f"{prefix}/predict", service.predict, "POST"),
            route(f"{prefix}/predict/lines", service.predict_lines, "POST"),
            route(f"{prefix}/explain", service.explain, "POST"),
            route(f"{prefix}/info", service.info),
            route(f"{prefix}/", service.page),
        ]
    routes += [
        route("/live", service.live),
        route("/ready", service.ready),
        route("/metrics", service.read_metrics),
        route("/openapi.json", service.openapi),
        route("/docs", service.docs),
        route("/models", service.list_models),
    ]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
        yield {"service": service}
        await service.close()

    handlers: Any = {HTTPException: answer_error, Token2WaveError: answer_error}
    app = Starlette(routes=routes, middleware=middleware, exception_handlers=handlers, lifespan=lifespan)
    app.state.service = service
    return app
