"""Explanations made by hand: what a model would have said is no concern of those who show it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from token2wave.explanation import Explanation, TextPart

Spans = Sequence[tuple[int, int]]


def _make(
    text: str,
    effects: Sequence[Sequence[float]] = (),
    *,
    labels: Sequence[str] = ("sport", "trade"),
    probabilities: Sequence[float] | None = None,
    spans: Spans | None = None,
    energies: Sequence[float] | None = None,
    unknown: Sequence[int] = (),
    unit: str = "word",
) -> Explanation:
    """An explanation; by default of words, each with no effect and the same energy."""
    if spans is None:
        spans = [match.span() for match in re.finditer(r"\S+", text)]
    n_parts, n_classes = len(spans), len(labels)
    given = [*effects, *[[0.0] * n_classes] * (n_parts - len(effects))]
    if probabilities is None:
        probabilities = [2.0 ** -min(i + 1, n_classes - 1) for i in range(n_classes)]
    shares = energies if energies is not None else [1 / max(n_parts, 1)] * n_parts
    return Explanation(
        text=text,
        unit=unit,
        label_names=tuple(labels),
        probabilities=tuple(probabilities),
        logits=tuple(0.0 for _ in labels),
        parts=tuple(
            TextPart(
                start, end, shares[i], tuple(given[i]), tuple(4 * each for each in given[i]), i not in unknown
            )
            for i, (start, end) in enumerate(spans)
        ),
    )


@pytest.fixture(scope="session")
def make() -> Callable[..., Any]:
    return _make


@pytest.fixture(scope="session")
def news() -> Explanation:
    """Two classes; `gold` is unknown, `a` has no effect."""
    return _make(
        "striker won a\ngold share",
        [(0.4, -0.4), (0.2, -0.2), (0.0, 0.0), (0.019, -0.019), (-0.1, 0.1)],
        probabilities=(0.75, 0.25),
        energies=(0.5, 0.25, 0.125, 0.0, 0.125),
        unknown=(3,),
    )


@pytest.fixture(scope="session")
def hostile_labels() -> tuple[str, ...]:
    return (
        "</script><img src=x onerror=alert(1)>",
        "",
        "id=\"a\" onload='b' & &amp; ]]> -->",
        "\x00\x1b[31m\n\ud800",
        "\u202e gnitteg",
        "[red]$title ${sections}[/red] :smile:",
        "x" * 500,
        "\U0001f600日本語",
    )
