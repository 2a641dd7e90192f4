"""Slow, broken and greedy clients, beside good ones."""

import json
import re
import socket
import struct
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from service_helpers import LABELS, TEXTS, Reader, connect, is_ended, limited, post, serving, tag_of

NOISE = 4 << 20  # bytes of the allocator, for caches and first uses
HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def strict(model, tmp_path_factory):
    """A server with short time limits."""
    limits = {
        "head_seconds": 0.4,
        "body_seconds": 0.4,
        "unread_seconds": 0.6,
        "idle_seconds": 1,
        "connections": 30,
        "held_bytes": 1 << 20,
        "queue_characters": 1 << 20,
        "texts": 5_000,
    }
    with serving(limited(model, **limits), tmp_path_factory.mktemp("strict") / "log") as server:
        yield server


def is_well(server):
    return server.ask("POST", "/predict", {"text": TEXTS[0]})[0] == 200


def test_chunked_bodies(server):
    with connect(server) as connection:
        reader = Reader(connection)
        head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
        body = json.dumps({"text": TEXTS[0]}).encode()
        for byte in head:
            connection.sendall(bytes([byte]))
        for byte in body:
            connection.sendall(b"1\r\n" + bytes([byte]) + b"\r\n")
        connection.sendall(b"0\r\n\r\n")
        status, answer = reader.answer()
        assert status == 200
        assert answer == server.ask("POST", "/predict", {"text": TEXTS[0]})[2]
        connection.sendall(
            head + b"fffff\r\n" + b" " * 0xFFFFF + b"\r\n" + b"10\r\n" + b" " * 16 + b"\r\n0\r\n\r\n"
        )
        assert reader.answer()[0] == 413  # whatever was said, or not, of its length
        connection.sendall(post("/predict", {"text": "a"}))
        assert reader.answer()[0] == 200


def test_pipelined_requests_are_answered_in_order(server, classifier):
    with connect(server) as connection:
        connection.sendall(
            post("/predict", {"text": TEXTS[0]})
            + post("/explain", {"text": TEXTS[1]})
            + post("/predict", {})
            + b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n"
            + post("/predict", {"texts": TEXTS})
            + post("/predict", {"text": TEXTS[2]})
        )
        reader = Reader(connection)
        answers = [reader.answer() for _ in range(6)]
    assert [status for status, _ in answers] == [200, 200, 422, 200, 200, 200]
    assert answers[0][1]["probability"] == classifier.predict(TEXTS[0]).probability
    assert answers[1][1] == {**classifier.explain(TEXTS[1]).to_dict(), **tag_of(classifier)}
    assert len(answers[4][1]["predictions"]) == 300
    assert answers[5][1]["probability"] == classifier.predict(TEXTS[2]).probability


def test_any_number_of_pipelined_requests_is_answered(server):
    """The connection is read as far as requests are answered, and not before."""
    for n in (65, 70, 1_000):
        with connect(server) as connection:
            connection.sendall(b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n" * n)
            reader = Reader(connection)
            assert [reader.answer() for _ in range(n)] == [(200, {"status": "ready"})] * n
    assert is_well(server)


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (b"no http\r\n\r\n", 400),
        (HEAD + b"Content-Length: x\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{    zz", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nA: " + b"b" * 300_000, 431),
        (b"GET /" + b"x" * 300_000, 431),
    ],
    ids=["no HTTP", "length", "chunk", "trailer", "path"],
)
@pytest.mark.parametrize("n_before", [0, 1, 3])
def test_requests_before_a_fault_are_answered(server, fault, status, n_before):
    with connect(server) as connection:
        connection.sendall(post("/explain", {"text": TEXTS[0]}) * n_before + fault)
        reader = Reader(connection)
        assert [reader.answer()[0] for _ in range(n_before + 2)] == [200] * n_before + [status, 0]
    assert is_well(server)


@pytest.mark.parametrize(
    ("sent", "status", "where"),
    [
        (b"CONNECT a:1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "connection"),
        (b"TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, "method"),
        (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, "path"),
        (b"GET /ready HTTP/1.1\r\n\r\n", 400, "header Host"),
        (b"GET /ready HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421, "header Host"),
        (HEAD + b"Content-Length: 2\r\n\r\n  ", 400, "body"),
        (HEAD + b"Content-Length: 5\r\n\r\n\xef\xbb\xbf{}", 400, "body, byte 0"),
        # A trailer that repeats a header is refused.
        (
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\n{}\r\n0\r\nContent-Type: application/json\r\nHost: evil.example\r\n\r\n",
            400,
            "header Host",
        ),
    ],
)
def test_odd_requests_are_answered(server, sent, status, where):
    with connect(server) as connection:
        connection.sendall(sent)
        answered, answer = Reader(connection).answer()
        assert (answered, answer and answer["error"]["location"]) == (status, where)


def test_a_connection_reads_on_when_its_requests_are_answered(server):
    """More than 64 requests, in pieces: the service lets them wait in the kernel."""
    request = post("/predict", {"text": " ".join(TEXTS)[:9_000]})
    with connect(server) as connection:
        sending = threading.Thread(target=connection.sendall, args=(request * 300,))
        sending.start()
        reader = Reader(connection)
        assert [reader.answer()[0] for _ in range(300)] == [200] * 300
        sending.join()


def test_half_closed_connections(server):
    with connect(server) as connection:
        connection.sendall(post("/predict", {"texts": TEXTS}) + post("/predict", {"text": TEXTS[0]}))
        connection.shutdown(socket.SHUT_WR)
        reader = Reader(connection)
        assert [reader.answer()[0] for _ in range(3)] == [200, 200, 0]
    for begun in (b"", b"POST /pre", HEAD, HEAD + b"Content-Length: 9\r\n\r\n{"):
        with connect(server) as connection:
            connection.sendall(begun)
            connection.shutdown(socket.SHUT_WR)
            assert is_ended(connection)


def test_clients_that_disconnect(server):
    """They close before the response, some with a reset."""
    for linger in (False, True):
        for request in (post("/explain", {"text": " ".join(TEXTS[:20])}), post("/predict", {"texts": TEXTS})):
            connection = connect(server)
            if linger:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(request)
            connection.close()
    assert is_well(server)
    assert server.log.read_bytes() == b""


NOT_HTTP = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),  # TLS
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: b\r\n folded\x00\r\n\r\n",
    HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    HEAD + b"Content-Length: -5\r\n\r\nabcdef",
    HEAD + b"Content-Length: " + b"9" * 40 + b"\r\n\r\nabcdef",
    HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
]


@pytest.mark.parametrize("sent", NOT_HTTP)
def test_input_that_is_not_http(server, sent):
    with connect(server) as connection:
        connection.sendall(sent)
        status, answer = Reader(connection).answer()
        assert status in (400, 0)
        if status:
            assert answer["error"]["location"] == "connection"
            assert answer["error"]["hint"]
            if b"Content-Length" in sent:
                assert "Content-Length" in answer["error"]["problem"]
    assert is_well(server)
    assert server.log.read_bytes() == b""


def test_upgrades_are_not_followed(server):
    with connect(server) as connection:
        connection.sendall(
            b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert Reader(connection).answer() == (200, {"status": "ready"})


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /" + b"x" * 17_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /ready HTTP/1.1\r\n" + b"A: b\r\n" * 4_000 + b"\r\n",
        b"GET /ready HTTP/1.1\r\nA: " + b"b" * 17_000 + b"\r\n\r\n",
        b"GET /ready HTTP/1.1\r\nA: " + b"b" * 60_000,
    ],
    ids=["path", "headers", "header", "no end"],
)
def test_long_headers(server, sent):
    with connect(server) as connection:
        connection.sendall(sent)
        status, answer = Reader(connection).answer()
        assert status == 431
        assert "16,384 bytes" in answer["error"]["problem"]
    assert is_well(server)


@pytest.mark.parametrize(("begin", "piece"), [(b"", b"A: b\r\n" * 700), (b"A: ", b"b" * 4_096)])
def test_endless_trailers_end_the_connection(server, begin, piece):
    """They follow a chunked body, and no limit of the body counts them."""
    n_rejected = server.metric("token2wave_rejected_total", reason="head")
    with connect(server) as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + begin)
        n_sent = 0
        with suppress(ConnectionError):
            while n_sent < 1 << 26:
                n_sent += connection.send(piece)
        assert n_sent < 1 << 24
    assert server.metric("token2wave_rejected_total", reason="head") == n_rejected + 1
    assert is_well(server)


def test_endless_headers(strict):
    """They have no end of line, so that no header is ever complete."""
    for begun in (b"GET /", b"GET / HTTP/1.1\r\nA: "):
        with connect(strict) as connection:
            connection.sendall(begun)
            n_sent = 0
            with suppress(ConnectionError):
                while n_sent < 1 << 26:
                    n_sent += connection.send(b"x" * 4_096)
            assert n_sent < 1 << 24


def test_slow_clients_are_disconnected_and_others_answered(strict):
    """Slowloris: a byte of the headers or of the body now and then, or none at all."""
    slow = {
        "silent": b"",
        "head": b"GET /ready HTTP/1.1\r\nA: ",
        "body": HEAD + b"Content-Length: 500\r\n\r\n{",
        "chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
        "blank": b"\r\n",
    }
    connections = {name: connect(strict) for name in slow}
    for name, begun in slow.items():
        connections[name].sendall(begun)
    begun, ended = time.monotonic(), {}
    while len(ended) < len(slow) and time.monotonic() - begun < 15:
        for name in slow.keys() - ended.keys():
            try:
                if name in ("head", "body"):
                    connections[name].send(b" ")
                if is_ended(connections[name], 0.02):
                    ended[name] = True
            except ConnectionError:
                ended[name] = True
        assert is_well(strict)
    for connection in connections.values():
        connection.close()
    assert ended.keys() == slow.keys()
    assert strict.metric("token2wave_rejected_total", reason="slow head") >= 2
    assert strict.metric("token2wave_rejected_total", reason="slow body") >= 2


def test_a_slow_body_gets_status_408(strict):
    with connect(strict) as connection:
        connection.sendall(HEAD + b"Content-Length: 500\r\n\r\n{")
        status, answer = Reader(connection).answer()
        assert status == 408
        assert "0.4 s" in answer["error"]["problem"]


def test_clients_that_do_not_read(strict):
    """The memory for their responses is limited, and they are disconnected."""
    texts = ["a"] * 2_500
    request = post("/predict", {"texts": texts, "top_k": 9})
    answer = len(json.dumps(strict.ask("POST", "/predict", {"texts": texts, "top_k": 9})[2]))
    assert answer > 1 << 19
    greedy = []
    for _ in range(12):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.connect(("127.0.0.1", strict.port))
        connection.sendall(request * 3)
        greedy.append(connection)
    deadline = time.monotonic() + 15
    while strict.metric("token2wave_connections") > 1 and time.monotonic() < deadline:
        assert strict.metric("token2wave_held_bytes") <= 1 << 20
        assert is_well(strict)
        time.sleep(0.05)
    assert strict.metric("token2wave_connections") == 1
    assert strict.metric("token2wave_held_bytes") == 0
    assert strict.metric("token2wave_rejected_total", reason="unread answer") > 0
    for connection in greedy:
        connection.close()


def test_unfinished_bodies_share_a_limit(strict):
    """Those beyond the limit are refused, and all memory is released."""
    unfinished = HEAD + b"Content-Length: 900000\r\n\r\n" + b" " * 500_000
    connections = [connect(strict) for _ in range(6)]
    for connection in connections:
        connection.sendall(unfinished)
    statuses = sorted(Reader(connection).answer()[0] for connection in connections)
    assert set(statuses) == {408, 503}
    assert is_well(strict)
    for connection in connections:
        connection.close()
    assert strict.metric("token2wave_held_bytes") == 0
    assert strict.metric("token2wave_rejected_total", reason="memory") > 0


def test_a_full_queue_refuses_requests(strict):
    """The queue does not hold two requests of a megabyte."""
    texts = [" ".join(TEXTS)[:20_000]] * 50
    connections = [connect(strict) for _ in range(4)]
    for connection in connections:
        connection.sendall(post("/predict", {"texts": texts, "novelty": True}))
    answers = [Reader(connection).answer() for connection in connections]
    for connection in connections:
        connection.close()
    assert {status for status, _ in answers} == {200, 503}
    refused = next(answer for status, answer in answers if status == 503)
    assert refused["error"]["location"] in ("queue", "memory")
    assert is_well(strict)
    assert strict.metric("token2wave_queued_characters") == 0


LONG_TEXT = " ".join(TEXTS)[:9_900]


def test_nobody_waits_for_work_of_clients_that_are_gone(model, tmp_path):
    """Although the queue would hold all of it."""
    with serving(limited(model, queue_characters=1 << 30), tmp_path / "log") as server:
        for n_pipelined in (1, 3):
            for _ in range(200):
                with connect(server) as connection:
                    connection.sendall(post("/explain", {"text": LONG_TEXT}) * n_pipelined)
        start = time.monotonic()
        assert server.ask("POST", "/explain", {"text": LONG_TEXT})[0] == 200
        assert time.monotonic() - start < 6  # all of them would take longer
        assert server.ask("POST", "/predict", {"text": TEXTS[0], "novelty": True})[0] == 200
        assert server.ask("GET", "/ready")[0] == 200
        assert server.metric("token2wave_queued_characters") == 0
        assert server.log.read_bytes() == b""


def test_a_half_closed_client_gets_its_slow_answer(server):
    """The service sends it interim responses, to learn whether it still reads."""
    with connect(server) as connection:
        connection.sendall(post("/explain", {"text": LONG_TEXT}) * 8)
        connection.shutdown(socket.SHUT_WR)
        reader, statuses = Reader(connection), []
        while not statuses or statuses[-1]:
            statuses.append(reader.answer()[0])
    assert [status for status in statuses if status != 100] == [200] * 8 + [0]


def test_the_queue_counts_the_cost_of_work(server):
    """Explanations wait together only as far as they are done soon; small requests pass them."""
    connections = [connect(server) for _ in range(40)]
    for connection in connections:
        connection.sendall(post("/explain", {"text": LONG_TEXT}))
    assert is_well(server)
    replies = [Reader(connection).answer() for connection in connections]
    for connection in connections:
        connection.close()
    statuses = [status for status, _ in replies]
    assert {*statuses} == {200, 503}


def test_the_connection_idle_longest_is_replaced(strict):
    with connect(strict) as silent:
        assert is_well(strict)
        time.sleep(0.02)  # the clock of the event loop is coarse
        others = [connect(strict) for _ in range(29)]
        assert is_well(strict)
        assert is_ended(silent, 0.3)
        for connection in others:
            connection.close()
    assert strict.metric("token2wave_rejected_total", reason="connections") > 0


def test_memory_does_not_grow(server):
    """Thousands of requests leave no memory behind."""
    requests = [
        post("/predict", {"text": TEXTS[0]}),
        post("/predict", {"texts": TEXTS[:50], "top_k": len(LABELS)}),
        post("/predict", b"[" * 10_000),
        b"GET /" + b"y" * 500 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ]

    def rounds(n):
        for _ in range(n):
            with connect(server) as connection:
                reader = Reader(connection)
                for _ in range(10):
                    for request in requests:
                        connection.sendall(request)
                        assert reader.answer()[0]

    rounds(10)
    n_bytes = server.memory()
    rounds(20)
    assert server.memory() - n_bytes < 4 << 20


def trailers(line):
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n" + line


GREEDY = {
    "trailers": (trailers(b""), b"x: y\r\n" * 10_000),
    "one trailer": (trailers(b"X: "), b"a" * 60_000),
    "chunk extension": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2;", b"a" * 60_000),
    "body": (HEAD + b"Content-Length: 1048576\r\n\r\n", b" " * 60_000),
    "pipelined bodies": (b"", post("/predict", b" " * 100_000) * 2),
    "pipelined headers": (
        post("/explain", {"text": "a game " * 1_000}),
        b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 99,
    ),
}


@pytest.mark.parametrize("attack", GREEDY)
def test_memory_stays_below_the_documented_bounds(model, tmp_path, attack):
    """Of clients that send as much as the service takes, all at once, and do not read."""
    text = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
    for_one = int(re.search(r"a connection of the service \| (\d+) MB", text)[1]) * 10**6
    for_all = int(re.search(r"(\d+) MB above its start", text)[1]) * 10**6
    begun, more = GREEDY[attack]
    with serving(limited(model), tmp_path / "log") as server:
        assert is_well(server)
        peaks = []
        for n_clients, bound in ((1, for_one), (200, for_all)):
            initial, clients = server.memory(), [connect(server) for _ in range(n_clients)]
            for client in clients:
                client.setblocking(False)
                with suppress(OSError):
                    client.send(begun)
            for _ in range(30):
                for client in clients:
                    with suppress(OSError):
                        client.send(more)
                peaks.append(server.memory() - initial)
            for client in clients:
                client.close()
            assert max(peaks) < bound + NOISE
            assert is_well(server)
        assert server.log.read_bytes() == b""


def test_refusals_of_many_clients_arrive_late_but_whole(server):
    """Endless headers, unfinished bodies and nonsense, more than are refused at once."""
    clients = [connect(server) for _ in range(60)]
    for number, client in enumerate(clients):
        client.sendall((b"GET / HTTP/9\r\n\r\n", trailers(b"x: y\r\n" * 9_000))[number % 2])
    for number, client in enumerate(clients):
        assert Reader(client).answer()[0] == (400, 431)[number % 2]
        client.close()
    assert is_well(server)


def test_large_requests_take_turns(server):
    body = json.dumps({"text": "a game", "padding": " " * 400_000}).encode()
    clients = [connect(server) for _ in range(12)]
    threads = [threading.Thread(target=client.sendall, args=(post("/predict", body),)) for client in clients]
    for thread in threads:
        thread.start()
    for client, thread in zip(clients, threads, strict=True):
        thread.join()
        assert Reader(client).answer()[0] == 422  # read whole: the field is unknown
        client.close()


def test_bodies_of_refused_clients_are_released(model, tmp_path):
    """Round by round, far more than the bound in all; nothing waits for the collector."""
    begun = HEAD + b"Content-Length: 1048576\r\n\r\n" + b" " * 900_000
    with serving(limited(model), tmp_path / "log") as server:
        assert is_well(server)
        initial = server.memory()
        for _ in range(8):
            clients = [connect(server) for _ in range(150)]
            threads = [threading.Thread(target=send_all, args=(client, begun)) for client in clients]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            for client in clients:
                client.close()
        assert is_well(server)
        assert server.memory() - initial < 200_000_000


def send_all(client, data):
    client.settimeout(2)
    with suppress(OSError):
        client.sendall(data)
