"""Limits of the service, which bound its memory and its waiting times."""

from __future__ import annotations

from dataclasses import dataclass, fields

from token2wave.errors import ConfigError


@dataclass(frozen=True)
class ServiceLimits:
    """Limits of the service. Those from ``held_bytes`` on hold only under ``token2wave serve``.

    Attributes:
        body_bytes: maximal size of a request's body.
        texts: maximal number of texts in a request.
        text_characters: maximal length of a text, in code points.
        explain_characters: maximal length of a text to explain, which is predicted once for each word.
        explain_seconds: time for an explanation; one that takes longer covers the beginning of the text.
        queue_characters: maximal work that waits or is computed, in characters to predict. One to explain
            counts as a hundred, one to measure novelty as four. Small requests have a queue of their own.
        body_seconds: time for a body to arrive.
        held_bytes: maximal size of the bodies of all unanswered requests, beside 64 KiB of each; and of all
            unread answers.
        head_bytes: maximal size of a request line with its headers, and 128 bytes more for each of these.
        head_seconds: time for the headers to arrive.
        unread_seconds: time for which a client may leave a response unread.
        idle_seconds: time for which a connection may wait for its next request.
        connections: maximal number of connections; a new one replaces the one that is idle longest.
        shutdown_seconds: time for running requests to end when the service shuts down.

    Raises:
        ConfigError: a number is not positive, or the queue or held bytes are below ``body_bytes``.
    """

    body_bytes: int = 1 << 20
    texts: int = 1_000
    text_characters: int = 100_000
    explain_characters: int = 10_000
    explain_seconds: float = 1.0
    queue_characters: int = 8 << 20
    body_seconds: float = 20.0
    held_bytes: int = 64 << 20
    head_bytes: int = 16 << 10
    head_seconds: float = 10.0
    unread_seconds: float = 20.0
    idle_seconds: int = 30
    connections: int = 512
    shutdown_seconds: int = 10

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise ConfigError(f"expected a positive number, found {value!r}", location=field.name)
        for name in ("queue_characters", "held_bytes"):
            if getattr(self, name) < self.body_bytes:
                raise ConfigError(
                    f"expected at least body_bytes ({self.body_bytes:,}), found {getattr(self, name):,}",
                    location=name,
                    hint=f"raise {name}, or lower body_bytes",
                )
