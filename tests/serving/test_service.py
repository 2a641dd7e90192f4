"""Every route, every error, and many clients at once."""

import asyncio
import json
import re
import threading
from html import unescape
from http.client import HTTPConnection
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from service_helpers import (
    LABELS,
    TEXTS,
    Reader,
    ask_in_process,
    connect,
    in_process,
    make_classifier,
    post,
    tag_of,
)

import token2wave
from tests.inference.small_models import one_huge_row
from token2wave.errors import ConfigError, ModelFileError
from token2wave.reporting.page_assets import content_policy
from token2wave.serving.app import create_app
from token2wave.serving.batching import Batcher
from token2wave.serving.limits import ServiceLimits
from token2wave.serving.model_store import ServedModel
from token2wave.serving.openapi import openapi_document
from token2wave.serving.page import page_html
from token2wave.serving.prometheus import ServiceMetrics

HOSTILE = ["", " ", "a\x00b", "\u202e🌊" * 50, "é" * 3_000, "market\n\r\tgame"]


def expected(classifier, text, top_k=1):
    prediction = classifier.predict(text, top_k, novelty=False)
    return {
        "label": prediction.label,
        "probability": prediction.probability,
        "novelty": None,
        "known": prediction.known,
        "top": [{"label": label, "probability": probability} for label, probability in prediction.top],
    }


def expected_alone(classifier, text, top_k=1):
    """The answer to a request with one text."""
    return {**expected(classifier, text, top_k), **tag_of(classifier)}


def expected_list(classifier, texts, top_k=1):
    """The answer to a request with a list."""
    return {"predictions": [expected(classifier, text, top_k) for text in texts], **tag_of(classifier)}


def description_of(classifier, limits=None):
    """The OpenAPI document of a service."""
    return openapi_document(create_app(classifier, limits).state.service.models)


def validate(document, name, classifier=None):
    schema = {**description_of(classifier or make_classifier()), "$ref": f"#/components/schemas/{name}"}
    Draft202012Validator(schema).validate(document)


def test_one_text(server, classifier):
    status, headers, answer = server.ask("POST", "/predict", {"text": TEXTS[0]})
    assert (status, answer) == (200, expected_alone(classifier, TEXTS[0]))
    assert headers["content-type"] == "application/json"
    assert "access-control-allow-origin" not in headers


def test_a_list(server, classifier):
    texts = [*TEXTS[:40], *HOSTILE]
    status, _, answer = server.ask("POST", "/predict", {"texts": texts, "top_k": 2})
    assert status == 200
    assert answer == expected_list(classifier, texts, 2)
    assert server.ask("POST", "/predict", {"texts": [], "top_k": 2.0})[2] == expected_list(classifier, [])


def test_texts_of_which_nothing_is_known(server, classifier):
    texts = ["", "zzz", "\u03c8", TEXTS[0]]
    for options in ({}, {"novelty": True}, {"abstain_below": 1e-9}, {"abstain_above_novelty": 1}):
        answer = server.ask("POST", "/predict", {"texts": texts, **options})[2]["predictions"]
        assert [each["known"] for each in answer] == [False, False, False, True]
        abstains = any(name.startswith("abstain") for name in options)
        assert [each["label"] is None for each in answer] == [abstains] * 3 + [False]
    for text in texts:
        answer = server.ask("POST", "/explain", {"text": text})[2]
        assert answer["known"] is bool(classifier.known([text])[0])


def test_large_requests(server, classifier):
    texts = (TEXTS * 4)[:1000]
    answer = server.ask("POST", "/predict", {"texts": texts, "top_k": 9})[2]
    assert answer["predictions"] == [expected(classifier, text, 9) for text in texts]


def test_novelty_and_abstention(server, classifier):
    texts = [*TEXTS[:5], "zzz yyy xxx www"]
    novelty = classifier.novelty(texts).tolist()
    answer = server.ask("POST", "/predict", {"texts": texts, "novelty": True})[2]["predictions"]
    assert [each["novelty"] for each in answer] == novelty
    max_novelty = sorted(novelty)[3]
    answer = server.ask("POST", "/predict", {"texts": texts, "abstain_above_novelty": max_novelty})[2][
        "predictions"
    ]
    assert [each["label"] is None for each in answer] == [value > max_novelty for value in novelty]
    probabilities = classifier.probabilities(texts).max(axis=1).tolist()
    min_probability = sorted(probabilities)[3]
    answer = server.ask("POST", "/predict", {"texts": texts, "abstain_below": min_probability})[2][
        "predictions"
    ]
    assert [each["label"] is None for each in answer] == [value < min_probability for value in probabilities]


@pytest.mark.parametrize("unit", ["word", "token", "sentence"])
def test_explanation(server, classifier, unit):
    text = "shares fell. game \u2028 won é🌊 rain!"
    status, _, answer = server.ask("POST", "/explain", {"text": text, "unit": unit})
    assert (status, answer) == (200, {**classifier.explain(text, unit).to_dict(), **tag_of(classifier)})
    validate(answer, "Explanation")


def test_get_routes(server, classifier):
    assert server.ask("GET", "/ready")[2] == {"status": "ready"}
    info = server.ask("GET", "/info")[2]
    assert info.pop("version")
    assert info == {**json.loads(json.dumps(classifier.description())), **tag_of(classifier)}
    assert info["computes_with"] == "native core"
    openapi = server.ask("GET", "/openapi.json")[2]
    assert openapi == json.loads(json.dumps(description_of(classifier)))
    for path in ("/", "/docs"):
        status, headers, page = server.ask("GET", path)
        assert status == 200
        assert headers["content-type"] == "text/html; charset=utf-8"
        assert b"http://" not in page.replace(b"http://www.w3.org/", b"")
        assert b"https://" not in page
    page = server.ask("GET", "/")[2]
    assert page.decode() == page_html(classifier, "model")
    assert LABELS[2].encode() not in page  # it has an end tag of a script in it
    status, headers, body = server.ask("HEAD", "/info")
    assert status == 200
    assert int(headers["content-length"]) > 100
    assert not body


def test_openapi_describes_all_routes(server):
    document = server.ask("GET", "/openapi.json")[2]
    for path, methods in document["paths"].items():
        wrong = server.ask("PUT", path)
        assert wrong[0] == 405
        assert {*wrong[1]["allow"].split(", ")} - {"HEAD"} == {method.upper() for method in methods}
        for method, operation in methods.items():
            status, headers, body = server.ask(method.upper(), path, {} if method == "post" else None)
            contents = operation["responses"][str(status)]["content"]
            media_type = headers["content-type"].split(";")[0]
            assert media_type in contents
            if media_type == "application/json":
                Draft202012Validator({**document, **contents[media_type]["schema"]}).validate(body)
    assert str(server.ask("GET", "/")[2]) != ""
    for name, schema in document["components"]["schemas"].items():
        Draft202012Validator.check_schema({**document, **schema})
        assert name in server.ask("GET", "/docs")[2].decode()


JSON_HINT = "RFC 8259"
REFUSED = [
    (400, b"", "body", JSON_HINT),
    (400, b'{"text": "a"', "body", JSON_HINT),
    (400, b'{"text": "a"} x', "body, byte 15", JSON_HINT),
    (400, b'{"text": "\xff"}', "body", "UTF-8"),
    (400, b'{"text": "\xed\xa0\x80"}', "body", "UTF-8"),  # a surrogate, encoded
    (400, b'{"text": "\\ud800"}', "body", JSON_HINT),
    (400, b'\xef\xbb\xbf{"text": "a"}', "body, byte 0", "byte order mark"),
    (400, '{"text": "a"}'.encode("utf-16"), "body, byte 0", "UTF-8"),
    (400, b'{"text": "a\nb"}', "body, byte 11", JSON_HINT),
    (400, b'{"text": "a", "abstain_below": NaN}', "body", JSON_HINT),
    (400, b'{"text": "a", "abstain_below": -Infinity}', "body", JSON_HINT),
    (422, b'{"text": "a", "top_k": ' + b"1" * 9_000 + b"}", "$.top_k", "send what is expected"),
    (422, b'{"text": ' + b"[" * 200_000, "$.text", "send what is expected"),
    (422, b'{"text": ' + b'{"a":' * 100_000, "$.text", "send what is expected"),
    (422, b'{"texts": [' + b'{"a": 1},' * 50_000 + b"1]}", "$.texts[0]", "send what is expected"),
    (422, b"[]", "$", "send what is expected"),
    (422, b"null", "$", "send what is expected"),
    (422, b"{}", "$", '{"text"'),
    (422, b'{"text": "a", "texts": []}', "$", '{"text"'),
    (422, b'{"text": null}', "$.text", "send what is expected"),
    (422, b'{"text": ["a"]}', "$.text", "send what is expected"),
    (422, b'{"texts": "a"}', "$.texts", "send what is expected"),
    (422, b'{"texts": ["a", "b", 3]}', "$.texts[2]", "send what is expected"),
    (422, b'{"texts": ["a", {"b": [1e999]}]}', "$.texts[1]", "send what is expected"),
    (422, json.dumps({"texts": ["a"] * 1_001}).encode(), "$.texts", "--texts"),
    (422, json.dumps({"text": "a" * 100_001}).encode(), "$.text", "--text-characters"),
    (422, json.dumps({"texts": ["a" * 100_001]}).encode(), "$.texts[0]", "--text-characters"),
    (422, b'{"text": "a", "top_k": 0}', "$.top_k", "send what is expected"),
    (422, b'{"text": "a", "top_k": 1.5}', "$.top_k", "send what is expected"),
    (422, b'{"text": "a", "top_k": 1e999}', "$.top_k", "send what is expected"),
    (422, b'{"text": "a", "top_k": true}', "$.top_k", "send what is expected"),
    (422, b'{"text": "a", "top_k": null}', "$.top_k", "send what is expected"),
    (422, b'{"text": "a", "novelty": 1}', "$.novelty", "send what is expected"),
    (422, b'{"text": "a", "abstain_below": 1e999}', "$.abstain_below", "send what is expected"),
    (422, b'{"text": "a", "abstain_below": 1.1}', "$.abstain_below", "send what is expected"),
    (422, b'{"text": "a", "abstain_below": "0.5"}', "$.abstain_below", "send what is expected"),
    (422, b'{"text": "a", "abstain_below": false}', "$.abstain_below", "send what is expected"),
    (422, b'{"text": "a", "threshold": 0.5}', "$.threshold", "leave it out"),
    (422, b'{"text": "a", "abstain_above_novelty": -1}', "$.abstain_above_novelty", "send what is expected"),
    (422, b'{"text": "a", "Top_k": 1}', "$", "correct its name"),
]


@pytest.mark.parametrize(("status", "body", "where", "hint"), REFUSED)
def test_refused_bodies(server, status, body, where, hint):
    answered, _, answer = server.ask("POST", "/predict", body)
    validate(answer, "Error")
    error = answer["error"]
    assert (answered, error["status"]) == (status, status), error
    assert where in error["location"]
    assert hint in error["hint"]
    assert "expected" in error["problem"]
    assert len(json.dumps(answer)) < 600


def test_refused_requests(server):
    cases = [
        (404, "GET", "/nothing", None, None, "/predict"),
        (404, "GET", "/models/nothing/info", None, None, "model"),
        (404, "GET", "/%2e%2e/etc/passwd", None, None, "/predict"),
        (405, "GET", "/predict", None, None, "POST"),
        (405, "DELETE", "/info", None, None, "GET"),
        (415, "POST", "/predict", b"{}", {}, "application/json"),
        (415, "POST", "/predict", b"{}", {"Content-Type": "text/plain"}, "application/json"),
        (
            *(415, "POST", "/predict", b"{}"),
            {"Content-Type": "application/json; charset=latin-1"},
            "application/json",
        ),
        (
            *(415, "POST", "/predict", b"{}"),
            {"Content-Type": "application/json", "Content-Encoding": "gzip"},
            "uncompressed",
        ),
        (413, "POST", "/predict", b" " * ((1 << 20) + 1), None, "--body-bytes"),
        (422, "POST", "/explain", {"text": "a " * 6_000}, None, "--explain-characters"),
        (422, "POST", "/explain", {"text": "a", "unit": []}, None, "send what is expected"),
        (422, "POST", "/explain", {"unit": "word"}, None, "send what is expected"),
    ]
    for status, method, path, body, headers, hint in cases:
        answered, sent, answer = server.ask(method, path, body, headers)
        validate(answer, "Error")
        assert answered == status, answer
        assert hint in (sent["allow"] if status == 405 else answer["error"]["hint"])
    good = {"Content-Type": 'Application/JSON ; charset="UTF-8"'}
    assert server.ask("POST", "/predict", b'{"text": "a"}', good)[0] == 200


@pytest.mark.parametrize(
    ("status", "hosts"),
    [
        (200, [b"localhost"]),
        (200, [b"LOCALHOST.:8000"]),
        (200, [b"127.8.9.1:1"]),
        (200, [b"[::1]:80"]),
        (200, [b"10.0.0.5:8000"]),  # at which the request arrived
        (200, [b"models.example:443"]),
        (421, [b"evil.example"]),
        (421, [b"10.0.0.6"]),
        (421, [b"localhost.evil.example"]),
        (421, [b"evil.models.example"]),
        (400, []),
        (400, [b"localhost", b"localhost"]),
        (400, [b""]),
        (400, [b"a/b"]),
        (400, [b"localhost:port"]),
        (400, [b"\xe9"]),
    ],
)
def test_hosts(status, hosts):
    """A name that an attacker lets point to the service gets no answer, on any route."""
    app = create_app(make_classifier(novelty=False), allow_hosts=["Models.Example"])
    sent = []

    async def send(message):
        sent.append(message)

    for path in ("/ready", "/", "/predict", "/nothing"):
        scope = {"type": "http", "method": "GET", "path": path, "server": ("10.0.0.5", 8000)}
        scope |= {"headers": [(b"host", host) for host in hosts], "query_string": b"", "http_version": "1.1"}
        asyncio.run(app(scope, lambda: None, send))
        answered = sent[0]["status"]
        assert answered == status if status != 200 or path == "/ready" else answered not in (400, 421)
        sent.clear()
    everyone = create_app(make_classifier(novelty=False), allow_hosts=["*"])
    assert ask_in_process(everyone, {"text": "a"}, host=b"evil.example")[0] == 200
    with pytest.raises(ConfigError, match="http://"):
        create_app(make_classifier(novelty=False), allow_hosts=["http://models.example"])


def test_no_page_can_be_framed_or_redirected(server):
    for path in ("/", "/docs", "/ready", "/nothing"):
        headers = server.ask("GET", path)[1]
        assert headers["x-frame-options"] == "DENY"
        policy = headers["content-security-policy"].split("; ")
        assert policy == ["frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"]
    pages = {path: path.read_text("utf-8") for path in Path(token2wave.__file__).parent.rglob("*.html")}
    pages = {
        path: text for path, text in pages.items() if text.lower().startswith("<!doctype")
    }  # not their parts
    assert len(pages) >= 5
    for page, text in pages.items():
        text = text.replace("$policy", content_policy("", ""))
        policy = unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]).split("; ")
        assert {"default-src 'none'", "base-uri 'none'", "form-action 'none'"} <= {*policy}, page


def test_models_of_several_labels_and_without_novelty():
    several = make_classifier(multi_label=True, novelty=False)

    def ask(document):
        return ask_in_process(create_app(several), document)

    prediction = several.predict(TEXTS[0], top_k=3)
    assert ask({"text": TEXTS[0]})[1]["labels"] == [
        {"label": label, "probability": probability}
        for label, probability in zip(prediction.labels, prediction.probabilities, strict=True)
    ]
    probabilities = dict(prediction.top)
    middle = sorted(probabilities.values())[1]
    labels = ask({"text": TEXTS[0], "threshold": middle})[1]["labels"]
    assert {each["label"] for each in labels} == {
        label for label in probabilities if probabilities[label] >= middle
    }
    validate(ask({"text": TEXTS[0], "threshold": 1})[1], "MultiLabelPrediction", several)
    assert ask({"text": "a", "abstain_below": 0.5})[1]["error"]["location"] == "$.abstain_below"
    assert (
        ask({"text": "a", "abstain_above_novelty": 0.5})[1]["error"]["location"] == "$.abstain_above_novelty"
    )
    assert ask({"text": "a", "novelty": True})[1]["novelty"] is None


def test_cors():
    origin = (b"origin", b"https://a.example")
    preflight = (b"access-control-request-method", b"POST")
    for allowed, granted in (
        ((), None),
        (("https://b.example",), None),
        (("https://a.example", "https://b.example"), b"https://a.example"),
        (("*",), b"*"),
    ):
        app = create_app(make_classifier(novelty=False), cors_origins=allowed)
        _, _, headers = ask_in_process(app, {"text": "a"}, origin)
        assert headers.get(b"access-control-allow-origin") == granted
        status, _, headers = ask_in_process(app, None, origin, preflight, method="OPTIONS")
        assert status == (405 if not allowed else 400 if granted is None else 200)
        assert (b"access-control-allow-headers" in headers) == bool(allowed)
        assert headers.get(b"access-control-allow-origin") == granted


def test_networks_without_the_native_core():
    """They run in a thread, in batches, too."""
    slow = make_classifier(width=4)
    app = create_app(slow)

    async def everyone():
        return await asyncio.gather(*(in_process(app, {"text": text}) for text in TEXTS[:80]))

    answers = asyncio.run(everyone())
    assert slow.computes_with == "numpy"
    for text, (status, answer, _) in zip(TEXTS, answers, strict=False):
        assert status == 200
        assert answer["probability"] == pytest.approx(slow.predict(text).probability, abs=1e-6)
    counted = app.state.service.metrics.text().decode()
    n_batches = float(re.search(r"token2wave_batch_texts_count (\S+)", counted)[1])
    assert n_batches < 10


def test_errors_of_the_model(monkeypatch, caplog):
    """Errors of the request reach the client only, internal errors also the log."""
    classifier = make_classifier()
    app = create_app(classifier)

    def refuse(*_, **__):
        raise ConfigError("does not compile", location="network", hint="train another")

    def fail(*_):
        raise ZeroDivisionError("an error")

    monkeypatch.setattr(type(classifier), "explain", refuse)
    status, answer, _ = ask_in_process(app, {"text": "a"}, path="/explain")
    assert (status, answer["error"]["hint"]) == (422, "train another")
    monkeypatch.setattr(type(classifier), "probabilities_and_known", fail)
    status, answer, _ = ask_in_process(app, {"text": "a"})
    assert status == 500
    assert "an error" not in json.dumps(answer)
    assert "ZeroDivisionError" in caplog.text
    assert ask_in_process(app, {"texts": ["a"] * 900})[0] == 500


def test_each_client_gets_its_own_answers(server, classifier):
    """Hundreds of different requests over several connections, some of them pipelined."""
    n_clients, n_rounds = 16, 20
    texts = [f"{TEXTS[i % 300]} {TEXTS[i * 7 % 300]} only{i}" for i in range(n_clients * n_rounds * 2)]
    rows = {text: expected_alone(classifier, text, 3) for text in texts}
    wrong = []

    def client(number):
        own = texts[number::n_clients]
        with connect(server) as connection:
            reader = Reader(connection)
            for at in range(0, len(own), 2):
                pair = own[at : at + 2]
                requests = [post("/predict", {"text": text, "top_k": 3}) for text in pair]
                connection.sendall(b"".join(requests))
                for text in pair:
                    if reader.answer() != (200, rows[text]):
                        wrong.append(text)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(n_clients)]
    batches = server.metric("token2wave_batch_texts_count")
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert server.metric("token2wave_batch_texts_count") - batches < len(texts)  # some shared a batch


def test_metrics(server):
    def count(status):
        return server.metric("token2wave_requests_total", route="/predict", status=str(status))

    good, bad, texts = count(200), count(422), server.metric("token2wave_texts_total")
    server.ask("POST", "/predict", {"texts": ["a", "b", "c"]})
    server.ask("POST", "/predict", {})
    assert (count(200), count(422)) == (good + 1, bad + 1)
    assert server.metric("token2wave_texts_total") == texts + 3
    assert server.metric("token2wave_request_seconds_count", route="/predict") > 0
    assert server.metric("token2wave_resident_memory_bytes") > 1e7
    assert server.metric("token2wave_queued_characters") == server.metric("token2wave_held_bytes") == 0
    assert server.metric("token2wave_connections") == 1
    server.ask("GET", "/" + "x" * 500)
    assert server.metric("token2wave_requests_total", route="other", status="404") > 0


def test_a_connection_serves_several_requests(server):
    connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
    statuses = []
    for body in (b"{}", b'{"text": "a"}', b" " * ((1 << 20) + 1), b'{"text": "b"}'):
        connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
    connection.close()
    assert statuses == [422, 200, 413, 200]  # the client connects again after a body that is refused


@pytest.mark.parametrize("width", [8, 5])
def test_a_text_that_overflows_spoils_no_other(width):
    poisoned = one_huge_row(make_classifier(width=width, novelty=False), "screen")

    async def ask() -> list[object]:
        metrics = ServiceMetrics()
        batcher = Batcher(ServiceLimits(), metrics)
        model = ServedModel("poisoned", poisoned, ServiceLimits(), metrics)
        texts = ["market", "screen", "game", "rain"]
        asked = (batcher.predict(model, [text]) for text in texts)
        return await asyncio.gather(*asked, return_exceptions=True)

    answers = asyncio.run(ask())
    assert [isinstance(answer, ModelFileError) for answer in answers] == [False, True, False, False]
    assert answers[2].probabilities[0] == pytest.approx(poisoned.probabilities(["game"])[0], abs=1e-6)
