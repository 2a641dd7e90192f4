"""Clients that do their worst to a service for a while; the last line of output is JSON, how often each did.

python benchmarks/serving_hostile.py PORT SECONDS
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
TLS = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200)
ANSWER_BYTES = 1 << 16
PAUSE = 0.5  # seconds between two bytes of a slow client


def posted(body: bytes) -> bytes:
    """A request."""
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


AT_ONCE = {
    "not HTTP": TLS,
    "headers too large": b"GET / HTTP/1.1\r\nA: " + b"b" * 100_000,
    "two lengths": HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    "no JSON": posted(b'{"text": '),
    "deep nesting": posted(b"[" * 500_000),
    "many objects": posted(b'{"text": [' + b'{"a":1},' * 60_000 + b"1]}"),
    "not UTF-8": posted(b'{"text": "\xff"}'),
    "too large, as said": HEAD + b"Content-Length: 9000000000\r\n\r\n" + b" " * 200_000,
    "too many texts": posted(json.dumps({"texts": ["a"] * 50_000}).encode()),
    "too long a text": posted(json.dumps({"text": "a " * 250_000}).encode()),
    "dear explanations": posted(json.dumps({"text": "a good film " * 800}).encode()).replace(
        b"/predict", b"/explain", 1
    ),
    "requests ahead": b"GET /info HTTP/1.1\r\nHost: localhost\r\n\r\n" * 500,
}
"""What a client sends before it reads what comes, and begins again."""
SLOW = {
    "slow headers": (100, b"GET / HTTP/1.1\r\nA: "),
    "slow bodies": (100, HEAD + b"Content-Length: 1000000\r\n\r\n{"),
    "silent": (50, b""),
}
"""How many clients at a time send this, and then a byte now and then."""
UNREAD = (20, posted(json.dumps({"texts": ["a good film"] * 1_000, "top_k": 9}).encode()) * 20)


async def main(port: int, seconds: float) -> Counter[str]:
    """Let all of them at the service for so long."""
    counts: Counter[str] = Counter()
    clients = [_again(port, counts, name, sent) for name, sent in AT_ONCE.items()]
    clients.append(_endless(port, counts))
    for name, (n, begun) in SLOW.items():
        clients += [_slow(port, counts, name, begun) for _ in range(n)]
    clients += [_unread(port, counts) for _ in range(UNREAD[0])]
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.gather(*clients)
    return counts


@asynccontextmanager
async def _client(port: int, counts: Counter[str], name: str) -> AsyncIterator[tuple[Any, Any]]:
    """A connection that is counted and cut off at the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        counts[name] += 1
        writer.transport.abort()


async def _again(port: int, counts: Counter[str], name: str, sent: bytes) -> None:
    while True:
        with suppress(OSError):
            async with _client(port, counts, name) as (reader, writer):
                writer.write(sent)
                await reader.read(ANSWER_BYTES)
        await asyncio.sleep(0.01)


async def _endless(port: int, counts: Counter[str]) -> None:
    """A chunked body that does not end."""
    while True:
        with suppress(OSError):
            async with _client(port, counts, "too large, chunked") as (_, writer):
                writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
                for _ in range(100):
                    writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
                    await writer.drain()
                    await asyncio.sleep(0.01)


async def _slow(port: int, counts: Counter[str], name: str, begun: bytes) -> None:
    while True:
        with suppress(OSError):
            async with _client(port, counts, name) as (_, writer):
                writer.write(begun)
                while not writer.transport.is_closing():
                    await asyncio.sleep(PAUSE)
                    if begun:
                        writer.write(b" ")
        await asyncio.sleep(PAUSE)


async def _unread(port: int, counts: Counter[str]) -> None:
    """Asks for large answers and does not read them."""
    loop = asyncio.get_running_loop()
    while True:
        with suppress(OSError), socket.socket() as client:
            client.setblocking(False)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            await loop.sock_connect(client, ("127.0.0.1", port))
            try:
                await loop.sock_sendall(client, UNREAD[1])
                await asyncio.sleep(60)
            finally:
                counts["answers unread"] += 1
        await asyncio.sleep(PAUSE)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))))
