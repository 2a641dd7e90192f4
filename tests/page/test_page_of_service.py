"""The page without a model, with a minimal service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from make_golden import USUAL
from stored_models import KINDS, classifier_of

from token2wave.classifier import Classifier
from token2wave.serving.page import page_html

Chromium = Any
TEXT = "👍 a good film, don't you 中? zebra!"
MODEL = replace(classifier_of("linear_svm"), novelty_reference=USUAL)


class Handler(BaseHTTPRequestHandler):
    """A minimal service of one model."""

    def do_GET(self) -> None:
        self._send(page_html(MODEL, "Films").encode(), "text/html; charset=utf-8")

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer: dict[str, Any]
        if self.path == "/predict":
            predictions = MODEL.predict_batch(request["texts"], request["top_k"], novelty=request["novelty"])
            rows = [
                ([{"label": a, "probability": b} for a, b in each.top], each.novelty, each.known)
                for each in predictions
            ]
            names = "top", "novelty", "known"
            answer = {"predictions": [dict(zip(names, row, strict=True)) for row in rows]}
        else:
            answer = MODEL.explain(request["text"], request["unit"]).to_dict()
        self._send(json.dumps(answer).encode(), "application/json")

    def _send(self, body: bytes, media_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Log nothing."""


@pytest.fixture
def service() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_requests_go_only_to_the_service(chromium: Chromium, service: str) -> None:
    chromium.open(service)
    chromium.wait("Boolean(globalThis.token2wavePage?.answer)")
    chromium.click("text")
    chromium.paste(TEXT)
    chromium.wait("document.querySelectorAll('#reading span').length === 11")
    explained = MODEL.explain(TEXT)
    words = chromium.driver.execute_script(
        "return Array.from(document.querySelectorAll('#reading span'), s => s.textContent)"
    )
    assert words == [TEXT[part.start : part.end] for part in explained.parts]
    assert chromium.text("verdict").startswith(explained.label)
    chromium.click("tab-list")
    chromium.click("list")
    chromium.paste("bad\n" * 450)
    chromium.wait("document.querySelectorAll('#table tbody tr').length === 450")
    assert {address.removeprefix(service) for address in chromium.requests()} == {"", "predict", "explain"}
    assert "only to the service" in chromium.find("text-help").get_attribute("textContent")
    assert chromium.complaints() == []


def test_the_page_fits_any_model() -> None:
    for kind in KINDS:
        classifier: Classifier = classifier_of(kind)
        page = page_html(classifier, "</title>")
        assert "connect-src &#x27;self&#x27;" in page
        assert "&lt;/title&gt;</title>" in page
        assert len(page.encode()) < 150_000
