"""The service below a path of another application, and wrapped by middleware of others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("starlette")

from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount

from tests.serving.service_helpers import in_process, make_classifier
from token2wave.serving.app import create_app

TOKEN = "0123456789abcdefgh"
AUTHORIZATION = (b"authorization", f"Bearer {TOKEN}".encode())


def of_starlette(app: Any) -> Any:
    return Starlette(routes=[Mount("/classify", app)])


def of_fastapi(app: Any) -> Any:
    mine = pytest.importorskip("fastapi").FastAPI()
    mine.mount("/classify", app)
    return mine


def wrapped(app: Any) -> Any:
    return GZipMiddleware(of_starlette(app), minimum_size=100)


@pytest.mark.parametrize("mount", [of_starlette, of_fastapi, wrapped])
def test_the_service_mounts(mount: Any) -> None:
    classifier = make_classifier()
    app = mount(create_app(classifier, token=TOKEN))

    async def ask(path: str, *headers: Any, method: str = "GET", document: Any = b"") -> Any:
        return await in_process(app, document, *headers, method=method, path=f"/classify/{path}")

    async def exchange() -> None:
        for path in ("predict", "models/model/predict"):
            request = {"method": "POST", "document": {"text": "a game"}}
            status, answer, _ = await ask(path, AUTHORIZATION, **request)
            assert (status, answer["label"]) == (200, classifier.predict("a game").label)
            assert (await ask(path, **request))[0] == 401
        for path in ("live", "ready"):
            assert (await ask(path))[0] == 200
        for path in ("", "info", "models", "metrics", "docs"):
            assert (await ask(path, AUTHORIZATION))[0] == 200
            assert (await ask(path))[0] == 401
        description = (await ask("openapi.json", AUTHORIZATION))[1]
        assert description["servers"] == [{"url": "/classify"}]

    asyncio.run(exchange())
