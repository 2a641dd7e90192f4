"""What a service takes before it refuses; plain numbers, so that memory and waiting times have an end."""

from __future__ import annotations

from dataclasses import dataclass, fields

from token2wave.errors import ConfigError


@dataclass(frozen=True)
class Limits:
    """Bounds of a service. Those from ``head_bytes`` on hold where ``token2wave serve`` runs it.

    Attributes:
        body_bytes: most bytes of a request's body.
        texts: most texts of a request.
        text_characters: most code points of a text.
        explain_characters: most code points of a text to explain, which is predicted once for each word.
        queue_characters: most code points of all texts that wait or are computed.
        held_bytes: most bytes of all bodies that are not complete, and of all answers that are not read.
        body_seconds: until a body has to be there.
        head_bytes: most bytes of a request's first line and headers.
        head_seconds: until the headers have to be there, from the first byte or the connection's begin.
        unread_seconds: how long a client may leave an answer unread.
        idle_seconds: how long a connection is kept for a next request.
        connections: most connections; the one that has been silent longest makes place for a new one.
        shutdown_seconds: how long work that was begun may take once the service is told to end.

    Raises:
        ConfigError: a number is not positive, or the queue is shorter than a body.
    """

    body_bytes: int = 1 << 20
    texts: int = 1_000
    text_characters: int = 100_000
    explain_characters: int = 10_000
    queue_characters: int = 8 << 20
    held_bytes: int = 64 << 20
    body_seconds: float = 20.0
    head_bytes: int = 16 << 10
    head_seconds: float = 10.0
    unread_seconds: float = 20.0
    idle_seconds: int = 30
    connections: int = 512
    shutdown_seconds: int = 10

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not value > 0:
                raise ConfigError(f"expected a positive number, found {value!r}", location=entry.name)
        for name in ("queue_characters", "held_bytes"):
            if getattr(self, name) < self.body_bytes:
                raise ConfigError(
                    f"expected at least body_bytes ({self.body_bytes:,}), found {getattr(self, name):,}",
                    location=name,
                    hint=f"raise {name}, or lower body_bytes",
                )
