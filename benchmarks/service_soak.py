"""Honest clients beside attacks by turns: waiting times, wrong or lost answers, and memory of the service.

    python benchmarks/service_soak.py --seconds 600

Each honest answer is compared with the own answer of the classifier. The result is
``results/benchmarks/service_soak.json``. The status is 1 if an answer was wrong or lost, or if memory grew
beyond the bound of ``docs/security.md``.
"""

from __future__ import annotations

import asyncio
import json
import math
import multiprocessing
import random
import re
import socket
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from itertools import cycle
from typing import Any

import serving
import serving_hostile
from measuring import ROOT, Record, command_line, describe_origin, make_parser, write_document

import token2wave
from token2wave.data import load_splits

SCHEMA = 1
SECURITY = ROOT / "docs" / "security.md"
PAUSE = 0.005  # seconds between two honest requests
NEW_CONNECTION = 9  # one of so many honest requests opens a connection; of all four kinds in turn
TURNS = 3
POST = b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n%b\r\n\r\n"
CHUNKED = POST % (b"/predict", b"Transfer-Encoding: chunked")
GET = b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n"
RAW = (
    GET * 70, GET * 64, GET[:-2], b"\x16\x03\x01\x02\x00" + bytes(200), GET[:-2] + b"A: " + b"a" * 100_000,
    CHUNKED + b"5;" + b"a" * 100_000, CHUNKED + b"5\r\n{", CHUNKED + b"zz\r\n", b"CONNECT a:1 HTTP/1.1",
    GET[:-2] + b"a:\r\n" * 3_000, GET * 5 + b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + GET * 9,
)  # fmt: skip


def abandon(client: socket.socket) -> None:
    """Send a request that costs as much as one may, and hang up."""
    body = json.dumps({"text": " ".join(f"{random.randrange(676)}" for _ in range(3_000))[:9_990]}).encode()
    client.sendall(POST % (b"/explain", b"Content-Length: %d" % len(body)) + body)


def send_trailers(client: socket.socket) -> None:
    """Send trailers for as long as the service takes them."""
    client.sendall(CHUNKED + b"2\r\n{}\r\n0\r\n" + random.choice((b"", b"X: ")))
    while True:
        client.sendall(random.choice((b"x: y\r\n", b"a")) * (1 << 14))


def send_raw(client: socket.socket) -> None:
    """Send requests that are malformed, too many or unfinished; read a little, or hang up."""
    client.sendall(random.choice(RAW))
    client.settimeout(0.1)
    if random.random() < 0.5:
        client.recv(1 << 16)


def hold_body(client: socket.socket) -> None:
    """Send all but the end of a large body, and wait."""
    client.sendall(POST % (b"/predict", b"Content-Length: %d" % (1 << 20)) + b" " * 1_000_000)
    client.recv(1)


ATTACKS: dict[str, tuple[int, Callable[[socket.socket], None]]] = {
    "abandoned explanations": (4, abandon),
    "endless trailers": (16, send_trailers),
    "raw connections": (8, send_raw),
    "held bodies": (200, hold_body),
}
"""For each attack, the number of clients that do it again and again; ``mixed`` is ``serving_hostile.py``."""


def attack(name: str, port: int) -> None:
    """Let clients attack until the process is killed."""
    if name not in ATTACKS:
        asyncio.run(serving_hostile.main(port, math.inf))
        return
    n_clients, act = ATTACKS[name]

    def act_again() -> None:
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as client:
                act(client)

    for _ in range(n_clients):
        threading.Thread(target=act_again, daemon=True).start()
    threading.Event().wait()


class HonestClient:
    """Asks one thing after the other, and compares the answers with those of the classifier."""

    def __init__(self, port: int, classifier: token2wave.Classifier, texts: Sequence[str]) -> None:
        self.connection = HTTPConnection("127.0.0.1", port, timeout=30)
        requests: list[tuple[str, str, Any, Record]] = []
        for text in texts:
            probability, novelty = classifier.predict(text).probability, float(classifier.novelty([text])[0])
            explanation = json.loads(json.dumps(classifier.explain(text).to_dict()))
            requests += [
                ("predict", "/predict", {"text": text}, {"probability": probability}),
                ("novelty", "/predict", {"text": text, "novelty": True}, {"novelty": novelty}),
                ("explain", "/explain", {"text": text}, explanation),
                ("ready", "/ready", None, {"status": "ready"}),
            ]
        self.requests = cycle(requests)
        self.n_asked = 0

    def ask(self, seconds: float, times: dict[str, list[float]], counts: dict[str, int]) -> None:
        """Ask for so long; add waiting times in seconds by kind of request, and count the answers."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            kind, path, document, expected = next(self.requests)
            self.n_asked += 1
            if self.n_asked % NEW_CONNECTION == 0:
                self.connection.close()
            start = time.perf_counter()
            answer = self._answer(path, document)
            times[kind].append(time.perf_counter() - start)
            is_lost = answer is None or "error" in answer
            counts["lost" if is_lost else "right" if expected.items() <= answer.items() else "wrong"] += 1
            time.sleep(PAUSE)

    def _answer(self, path: str, document: Any) -> Record | None:
        """Ask once more if the connection was closed while it was idle, as HTTP clients do."""
        body = None if document is None else json.dumps(document)
        for may_be_closed in (self.connection.sock is not None, False):
            try:
                self.connection.request(
                    "POST" if body else "GET", path, body, {"Content-Type": "application/json"}
                )
                return dict(json.loads(self.connection.getresponse().read()))
            except (OSError, HTTPException) as error:
                self.connection.close()
                if not (may_be_closed and isinstance(error, ConnectionError)):
                    return None
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for."""
    parser = make_parser(__doc__, preset="small", build=ROOT / "build" / "serving")
    parser.add_argument("--data", default="debian-sections")
    parser.add_argument("--seconds", type=float, default=600)
    options = parser.parse_args(arguments)
    options.build.mkdir(parents=True, exist_ok=True)
    model = serving._model(options)
    texts = load_splits(options.data).train.texts[:200]
    names = ["quiet", *ATTACKS, "mixed"]
    times: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in names}
    counts = {name: dict.fromkeys(("right", "wrong", "lost"), 0) for name in names}
    peak = dict.fromkeys(names, 0)
    seconds = options.seconds / TURNS / len(names)
    with serving._server(model, 1) as (port, pid):
        client = HonestClient(port, token2wave.load(model), texts)
        client.ask(2, defaultdict(list), defaultdict(int))  # to warm up
        initial = serving._memory(pid)
        for name in names * TURNS:
            attacker = multiprocessing.get_context("spawn").Process(target=attack, args=(name, port))
            if name != "quiet":
                attacker.start()
                time.sleep(1)
            for _ in range(max(round(seconds), 1)):
                client.ask(1, times[name], counts[name])
                peak[name] = max(peak[name], serving._memory(pid) - initial)
            if name != "quiet":
                attacker.kill()
                attacker.join()
                time.sleep(1)
    rows = []
    for name in names:
        for kind, values in times[name].items():
            p99, quiet = percentile(values, 99), percentile(times["quiet"][kind], 99)
            p50 = percentile(values, 50)
            rows.append({"attack": name, "request": kind, "p50": p50, "p99": p99, "ratio": p99 / quiet})
    documented = re.search(r"([\d,]+) MB above its start", SECURITY.read_text(encoding="utf-8"))
    assert documented is not None
    bound = int(documented[1].replace(",", "")) * 10**6
    document = {
        "schema": SCHEMA,
        "command": command_line(__file__, arguments),
        **describe_origin(1, serving.SERVER_PACKAGES),
        "times": rows,
        "answers": counts,
        "memory": {"bound": bound, "growth": peak},
    }
    write_document(options.results / "service_soak.json", document)
    print(f"{'attack':24}{'request':9}{'p50 ms':>9}{'p99 ms':>9}{'ratio':>7}")
    for row in rows:
        milliseconds = f"{1e3 * row['p50']:9.1f}{1e3 * row['p99']:9.1f}"
        print(f"{row['attack']:24}{row['request']:9}{milliseconds}{row['ratio']:7.1f}")
    for name in names:
        print(f"{name:24}{counts[name]} {peak[name] / 1e6:.0f} MB of {bound / 1e6:.0f} MB")
    n_faults = sum(each["wrong"] + each["lost"] for each in counts.values())
    return int(n_faults > 0 or max(peak.values()) > bound)


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent do not exceed."""
    return sorted(values)[max(math.ceil(len(values) * percent / 100) - 1, 0)]


if __name__ == "__main__":
    sys.exit(main())
