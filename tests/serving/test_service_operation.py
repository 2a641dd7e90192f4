"""What operators rely on: several models, request ids, tokens, proxies, sockets, lines of NDJSON."""

import asyncio
import base64
import gc
import json
import signal
import socket
import threading
import time
import weakref
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from fastapi import FastAPI
from service_helpers import (
    LABELS,
    PYTHON,
    TEXTS,
    ask_in_process,
    connect,
    limited,
    make_classifier,
    serving,
    tag_of,
)
from starlette.testclient import TestClient

from tests.inference.small_models import one_huge_row
from token2wave.errors import ConfigError
from token2wave.serving.app import create_app
from token2wave.serving.limits import ServiceLimits
from token2wave.serving.model_store import find_model_files
from token2wave.serving.request_checks import read_token
from token2wave.serving.responses import JsonResponse
from token2wave.serving.server import _reloading, freeze_memory

TOKEN = "correct-horse-battery"
NDJSON = {"content-type": "application/x-ndjson"}


def command(*arguments):
    return [*PYTHON, "-m", "token2wave", "serve", *map(str, arguments), "--port", "0"]


def client_of(app):
    return TestClient(app, base_url="http://localhost")


# Several models


@pytest.fixture(scope="module")
def several():
    return {"first": make_classifier(0), "second": make_classifier(1, multi_label=True, novelty=False)}


def test_each_model_answers_under_its_name_and_the_first_without(several):
    with client_of(create_app(several)) as client:
        for path, name in (("", "first"), ("/models/first", "first"), ("/models/second", "second")):
            answer = client.post(f"{path}/predict", json={"text": TEXTS[0]})
            tag = tag_of(several[name], name)
            assert {key: answer.json()[key] for key in tag} == tag
            assert (answer.headers["x-model"], answer.headers["x-model-checksum"]) == tuple(tag.values())
            assert ("labels" in answer.json()) == (name == "second")
            assert client.get(f"{path}/info").json()["checksum"] == tag["checksum"]
            explained = client.post(f"{path}/explain", json={"text": TEXTS[0]}).json()
            assert explained["model"] == name
            assert client.get(f"{path}/").text.count("<title>") == 1
        listed = client.get("/models").json()["models"]
        assert [(each["model"], each["is_default"]) for each in listed] == [
            ("first", True),
            ("second", False),
        ]
        missing = client.post("/models/third/predict", json={"text": "a"})
        assert (missing.status_code, missing.json()["error"]["hint"]) == (404, "use one of first, second")
        metrics = client.get("/metrics").text
        for name, classifier in several.items():
            assert f'checksum="{classifier.fingerprint:08x}",label="news",model="{name}"' in metrics
        paths = client.get("/openapi.json").json()["paths"]
        assert {"/predict", "/models/first/predict", "/models/second/predict"} <= paths.keys()
        ids = [operation["operationId"] for methods in paths.values() for operation in methods.values()]
        assert len(set(ids)) == len(ids)


def test_requests_to_two_models_share_no_batch(several):
    app = create_app(several)
    batches = []
    compute = app.state.service.batcher.compute

    def note(model, texts):
        batches.append((model.name, len(texts)))
        return compute(model, texts)

    app.state.service.batcher.compute = note

    async def everyone():
        from service_helpers import in_process

        paths = ["/predict", "/models/first/predict", "/models/second/predict"] * 4
        return await asyncio.gather(*(in_process(app, {"text": TEXTS[0]}, path=path) for path in paths))

    answers = asyncio.run(everyone())
    assert [answer["model"] for _, answer, _ in answers] == ["first", "first", "second"] * 4
    assert {name for name, _ in batches} == {"first", "second"}
    assert sum(n_texts for _, n_texts in batches) == 12


def test_a_folder_is_served_and_reloaded_and_a_bad_file_replaces_nothing(tmp_path):
    classifiers = [make_classifier(seed) for seed in range(3)]
    folder = tmp_path / "models"
    folder.mkdir()
    for name, classifier in zip("ab", classifiers, strict=False):
        classifier.save(folder / f"{name}.safetensors")
    with serving(command(folder), tmp_path / "log") as server:

        def checksums():
            return {each["model"]: each["checksum"] for each in server.ask("GET", "/models")[2]["models"]}

        def fingerprints(**served):
            return {name: f"{classifier.fingerprint:08x}" for name, classifier in served.items()}

        first, second, third = classifiers
        assert checksums() == fingerprints(a=first, b=second)
        (folder / "a.safetensors").write_bytes(b"no model")
        (folder / "c.safetensors").write_bytes(b"no model, either")
        (folder / "b.safetensors").unlink()
        third.save(folder / "b.safetensors")
        server.process.send_signal(signal.SIGHUP)
        lines = [json.loads(server.process.stderr.readline()) for _ in range(3)]
        assert [line["level"] for line in lines] == ["error", "info", "error"]
        wait_until(lambda: checksums() == fingerprints(a=first, b=third))
        (folder / "a.safetensors").unlink()
        (folder / "c.safetensors").unlink()
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: checksums() == fingerprints(b=third))
        assert server.ask("POST", "/models/a/predict", {"text": "a"})[0] == 404
        (folder / "b.safetensors").unlink()
        server.process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert checksums() == fingerprints(b=third)  # an empty folder is a mistake


def wait_until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not come true"
        time.sleep(0.02)


def test_several_processes_reload_and_survive_a_bad_file(model, tmp_path):
    path = tmp_path / "model.safetensors"
    first, second = make_classifier(0), make_classifier(1)
    first.save(path)
    with serving(command(path, "--workers", "2"), tmp_path / "log") as server:

        def checksums():
            answers = [server.ask("POST", "/predict", {"text": "a"}) for _ in range(12)]
            assert {status for status, *_ in answers} == {200}
            return {answer["checksum"] for *_, answer in answers}

        assert checksums() == {f"{first.fingerprint:08x}"}
        path.write_bytes(b"no model")
        server.process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert checksums() == {f"{first.fingerprint:08x}"}
        path.unlink()
        second.save(path)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: checksums() == {f"{second.fingerprint:08x}"})


def test_models_of_one_name_are_refused(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.safetensors").touch()
    with pytest.raises(ConfigError, match="different names"):
        find_model_files([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(ConfigError, match=r"expected model files \(\*\.safetensors\), found none"):
        find_model_files([tmp_path])
    with pytest.raises(ConfigError, match="at least one model"):
        create_app({})


def test_the_collector_leaves_loaded_models_alone_and_finds_replaced_ones():
    class Model:
        pass

    model = Model()
    model.itself, earlier = model, weakref.ref(model)

    @asynccontextmanager
    async def lifespan(_):
        assert gc.get_freeze_count() > 10_000  # before the first request
        yield {}

    async def start():
        service = SimpleNamespace(models=None)
        async with _reloading(lifespan)(SimpleNamespace(state=SimpleNamespace(service=service))):
            pass

    gc.unfreeze()
    asyncio.run(start())
    del model
    gc.collect()
    assert earlier() is not None  # nobody looked
    freeze_memory()  # as after a reload
    assert earlier() is None
    assert gc.get_freeze_count() > 10_000


# Request ids and logs


def test_request_ids_and_traces_are_echoed(several):
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    with client_of(create_app(several)) as client:
        for path, status in (("/live", 200), ("/nothing", 404)):
            answer = client.get(path, headers={"x-request-id": "my-id:1", "traceparent": trace})
            assert answer.status_code == status
            assert (answer.headers["x-request-id"], answer.headers["traceparent"]) == ("my-id:1", trace)
        for sent in ({}, {"x-request-id": "a b"}, {"x-request-id": "x" * 129}, {"x-request-id": 'a\\"}'}):
            own = client.get("/live", headers={**sent, "traceparent": "00-zz"})
            assert len(own.headers["x-request-id"]) == 32
            assert "traceparent" not in own.headers


def test_a_line_of_the_log_names_model_and_request(model, classifier, tmp_path):
    with serving(command(model, "--access-log"), tmp_path / "log") as server:
        headers = {"Content-Type": "application/json", "X-Request-ID": "r-1"}
        server.ask("POST", "/predict", {"text": "a secret"}, headers)
        line = json.loads(server.process.stderr.readline())
    assert line["level"] == "info"
    assert (line["request_id"], line["status"], line["texts"]) == ("r-1", 200, 1)
    assert {key: line[key] for key in ("model", "checksum")} == tag_of(classifier)
    assert "secret" not in json.dumps(line)


# Tokens


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (None, 401),
        (f"Bearer {TOKEN}", 200),
        (f"bearer  {TOKEN}", 200),
        (f"Bearer {TOKEN}x", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        ("Bearer", 401),
        (TOKEN, 401),
        (f"Digest {TOKEN}", 401),
        ("Basic " + base64.b64encode(f"anyone:{TOKEN}".encode()).decode(), 200),
        ("Basic " + base64.b64encode(b"anyone:other").decode(), 401),
        ("Basic ???", 401),
        ("Bearer \xe9", 401),
    ],
)
def test_a_token_is_required(sent, status):
    app = create_app(make_classifier(novelty=False), token=TOKEN)
    headers = () if sent is None else ((b"authorization", sent.encode("latin-1")),)
    for path, method in (("/predict", "POST"), ("/", "GET"), ("/metrics", "GET"), ("/docs", "GET")):
        answered, body, answer_headers = ask_in_process(
            app, {"text": "a"}, *headers, path=path, method=method
        )
        assert answered == status, path
        if status == 401:
            assert answer_headers[b"www-authenticate"].startswith(b"Bearer")
            assert "Authorization: Bearer" in body["error"]["hint"]
    for path in ("/live", "/ready"):
        assert ask_in_process(app, b"", path=path, method="GET")[0] == 200


def test_a_preflight_needs_no_token():
    app = create_app(make_classifier(novelty=False), token=TOKEN, cors_origins=["https://a.example"])
    asked = ((b"origin", b"https://a.example"), (b"access-control-request-method", b"POST"))
    wanted = (b"access-control-request-headers", b"authorization, content-type")
    assert ask_in_process(app, b"", *asked, wanted, method="OPTIONS")[0] == 200
    refused = ask_in_process(app, {"text": "a"}, asked[0])
    assert (refused[0], refused[2][b"access-control-allow-origin"]) == (401, b"https://a.example")


def test_files_of_tokens(tmp_path):
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    assert read_token(path) == TOKEN
    for text in ("short", "with a space in it", "", "x" * 1001):
        path.write_text(text)
        with pytest.raises(ConfigError, match="expected a token of 16"):
            read_token(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_token(tmp_path / "nothing")


# Proxies and sockets


def test_a_root_path_is_the_proxys_and_pages_name_it(model, tmp_path):
    with serving([*command(model), "--root-path", "/classify/"], tmp_path / "log") as server:
        assert server.ask("GET", "/openapi.json")[2]["servers"] == [{"url": "/classify"}]
        assert server.ask("POST", "/predict", {"text": "a"})[0] == 200


def test_the_address_of_a_client_behind_a_proxy_is_believed_if_the_proxy_is(model, tmp_path):
    headers = {"Content-Type": "application/json", "X-Forwarded-For": "203.0.113.7"}
    for options, client in (((), "127.0.0.1"), (("--forwarded-allow-ips", "127.0.0.1"), "203.0.113.7")):
        with serving([*command(model), "--access-log", *options], tmp_path / "log") as server:
            assert server.ask("POST", "/predict", {"text": "a"}, headers)[0] == 200
            assert json.loads(server.process.stderr.readline())["client"] == client


def test_a_unix_socket(model, tmp_path):
    path = tmp_path / "socket"
    arguments = [*PYTHON, "-m", "token2wave", "serve", str(model), "--uds", str(path)]
    for _ in range(2):  # a socket that was left behind is replaced
        with serving(arguments, tmp_path / "log", address=r"unix:(\S+)") as server:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(path))
                connection.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                answer = b"".join(iter(lambda: connection.recv(4096), b""))
            assert answer.endswith(b'{"status":"live"}')
            server.process.kill()
    path.unlink()
    path.write_text("not a socket")
    with pytest.raises(AssertionError, match="something else than a socket"):  # of `serving`
        serving(arguments, tmp_path / "log", address=r"unix:(\S+)").__enter__()
    assert path.read_text() == "not a socket"


# Lines of NDJSON


def test_lines_are_answered_in_order_with_errors_in_their_places(several):
    lines = [json.dumps({"text": text}) for text in TEXTS[:50]]
    lines[7], lines[9], lines[30] = '{"text": 3}', "", "no JSON"
    with client_of(create_app(several)) as client:
        body = "\n".join(lines).encode()
        answer = client.post("/predict/lines?top_k=2&novelty=true", content=body, headers=NDJSON)
        assert answer.headers["content-type"] == NDJSON["content-type"]
        answers = [json.loads(line) for line in answer.text.splitlines()]
        plain = client.post("/predict", json={"texts": TEXTS[:50], "top_k": 2, "novelty": True}).json()
        texts = client.get("/metrics").text
    expected = plain["predictions"]
    assert len(answers) == 49  # an empty line has no answer
    assert answers[:7] == expected[:7]
    assert (answers[7]["error"]["status"], answers[7]["error"]["location"]) == (422, "$.text")
    assert answers[8:29] == [*expected[8:9], *expected[10:30]]
    assert answers[29]["error"]["status"] == 400
    assert answers[30:] == expected[31:]
    assert "token2wave_texts_total 97.0" in texts


@pytest.mark.parametrize(
    ("query", "where"),
    [("top_k=0", "$.top_k"), ("top_k=x", "$.top_k"), ("threshold=0.5", "$.threshold"), ("a=1", "$")],
)
def test_options_of_lines_are_checked(several, query, where):
    with client_of(create_app(several)) as client:
        answer = client.post(f"/predict/lines?{query}", content=b'{"text": "a"}', headers=NDJSON)
    assert (answer.status_code, answer.json()["error"]["location"]) == (422, where)


def test_lines_are_answered_while_others_are_sent_and_without_a_limit_of_the_body(model, tmp_path):
    """Far more than a body may have, and than memory may grow."""
    line = json.dumps({"text": " ".join(TEXTS[:20])}).encode() + b"\n"
    block, n_blocks = line * 200, 100  # 20 blocks are a body
    with serving(limited(model, held_bytes=2 << 20, body_bytes=1 << 20), tmp_path / "log") as server:
        with connect(server) as connection:
            stream = connection.makefile("rb")
            head = (
                b"POST /predict/lines HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
            )
            connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
            connection.sendall(b"%x\r\n%b\r\n" % (len(line), line))
            while stream.readline() != b"\r\n":
                pass
            assert json.loads(stream.read(int(stream.readline(), 16)))["label"] in LABELS
            before = server.memory()
            counted = []

            def read():
                n_lines = 0
                while (
                    size := int(stream.readline().strip() or b"0", 16) if n_lines < 200 * n_blocks else 0
                ) or not n_lines:
                    n_lines += stream.read(size).count(b"\n")
                    stream.readline()
                counted.append(n_lines)

            stream.readline()
            reader = threading.Thread(target=read)
            reader.start()
            for _ in range(n_blocks):
                connection.sendall(b"%x\r\n%b\r\n" % (len(block), block))
            connection.sendall(b"0\r\n\r\n")
            reader.join(60)
            assert counted == [200 * n_blocks]
            assert server.memory() - before < 24 << 20
        assert server.metric("token2wave_held_bytes") == 0


@pytest.mark.parametrize("size", [7, 900, 100_000])
def test_a_line_that_is_too_long_has_one_answer(size):
    """However it is cut into pieces, the lines after it keep their places."""
    app = create_app(make_classifier(novelty=False), ServiceLimits(body_bytes=2_000, text_characters=100))
    long, game = json.dumps({"text": "a" * 5_000}).encode(), b'{"text": "game"}'
    for lines in ([game, long, game], [long, long, game], [long], [game, long]):
        body, sent = b"\n".join(lines), []
        pieces = [body[i : i + size] for i in range(0, len(body), size)]

        async def receive(pieces=pieces):
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

        async def send(message, sent=sent):
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/predict/lines", "query_string": b""}
        scope |= {
            "http_version": "1.1",
            "headers": [(b"host", b"localhost"), (b"content-type", b"application/x-ndjson")],
        }
        asyncio.run(app(scope, receive, send))
        answers = [json.loads(line) for message in sent[1:] for line in message["body"].splitlines()]
        assert ["error" in answer for answer in answers] == [line is long for line in lines]


def test_a_model_that_fails_on_a_line_ends_the_answer_with_its_error():
    app = create_app(one_huge_row(make_classifier(novelty=False), "screen"))
    body = b'{"text": "screen"}\n'
    status, content, _ = ask_in_process(
        app, body, path="/predict/lines", content_type=b"application/x-ndjson"
    )
    assert status in (200, 422)
    assert b"error" in (content if isinstance(content, bytes) else json.dumps(content).encode())


# Other applications around it


def test_it_mounts_in_an_application_of_fastapi(several):
    outer = FastAPI()
    outer.mount("/classify", create_app(several))

    @outer.get("/own")
    def own():
        return {"own": True}

    with client_of(outer) as client:
        answer = client.post("/classify/predict", json={"text": TEXTS[0]})
        assert (answer.status_code, answer.json()["model"]) == (200, "first")
        assert client.get("/classify/openapi.json").json()["servers"] == [{"url": "/classify"}]
        assert client.get("/own").json() == {"own": True}
        assert client.get("/classify/nothing").json()["error"]["status"] == 404


def test_any_middleware_can_wrap_it(several):
    app = create_app(several)
    seen = []

    async def wrapped(scope, receive, send):
        async def note(message):
            seen.append(message["type"])
            await send(message)

        if scope.get("path") == "/own":
            await JsonResponse(b"{}")(scope, receive, send)
        else:
            await app(scope, receive, note)

    with client_of(wrapped) as client:
        assert client.post("/predict", json={"text": TEXTS[0]}).status_code == 200
        assert client.get("/own").json() == {}
    assert "http.response.start" in seen
