"""Verdicts of the study of independence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from paper.claim import OPERATIONS, Claim, describe_values, verdict_of
from paper.eigenvalue_spread import PLACES
from paper.published import CLUSTER
from paper.studies.independence_results import (
    ALL_SETS,
    LEAST_RISE,
    Orders,
    judge_penalty,
    order_transformer,
    penalty_leads,
    rank_rises,
    run_means,
)
from paper.study import Document
from paper.verdicts import FAILS, HOLDS, MARGIN, MIN_SEEDS, OPEN, judge_all

WAVES = tuple(f"wave-{operation}" for operation in OPERATIONS)


def judge(document: Document) -> Iterator[Claim]:
    """Whether the Transformer's dimensions are more independent, and what a penalty on them brings."""
    starts = {
        "transformer-random": "both start from random embeddings of the same width",
        "transformer-pretrained": "it starts from MiniLM's embeddings, of another width",
    }
    for rival, start in starts.items():
        if (orders := order_transformer(document, rival)) is None:
            continue
        evidence = "; ".join(f"{title}, {orders.describe(place)}" for place, title in PLACES.items())
        yield Claim(
            f"The Transformer's dimensions are more independent than the Wave network's, if {start}",
            {1: HOLDS, -1: FAILS, 0: OPEN}[orders.verdict_sign],
            f"after {orders.step:,} steps, {orders.n_seeds} seeds; {evidence}; "
            + _ranks(document, rival, orders),
            "by every measure, on every data set, before and after the norm, every seed of the Transformer "
            "is more independent than every seed of both operations; does not hold if all are less so; "
            f"else, and with fewer than {MIN_SEEDS} seeds, it cannot be told",
        )
    waves = [
        course
        for course in document["courses"]
        if course["data"] == document["data"] and course["system"].startswith("wave")
    ]
    ratios = {"largest_share": "largest over sum", "smallest_over_largest": "smallest over largest"}
    for name, title in ratios.items() if waves else ():
        values = {
            place: {
                course["system"].removeprefix("wave-"): float(
                    np.mean(run_means(course, place, name, course["steps"][-1]))
                )
                for course in waves
            }
            for place in PLACES
        }
        yield Claim(
            f"The Wave network's eigenvalue ratio clusters near {CLUSTER}, if the ratio is {title}",
            verdict_of(all(abs(value - CLUSTER) <= 0.05 for value in values["after"].values())),
            f"{document['data']}, width {document['width']}, after {waves[0]['steps'][-1]:,} steps; "
            + "; ".join(f"{PLACES[place]}: {describe_values(each, '.2g')}" for place, each in values.items()),
            "the mean over batches lies within 0.05 for both operations, after the norm",
        )
    yield from _judge_penalty(document)


def _ranks(document: Document, rival: str, orders: Orders) -> str:
    """Effective ranks after the norm on the first data set, the lowest to the highest seed."""
    ranks = {
        course["system"]: run_means(course, "after", "effective_rank", orders.step)
        for course in document["courses"]
        if course["data"] == document["data"] and (course["system"] == rival or course["system"] in WAVES)
    }
    return f"effective rank after the norm, {document['data']}: {_describe_spans(ranks)}"


def _judge_penalty(document: Document) -> Iterator[Claim]:
    leads, rises = penalty_leads(document), rank_rises(document)
    for operation in OPERATIONS:
        own = {key: lead for key, lead in leads.items() if key[1] == operation}
        over = ALL_SETS if len(document["sets"]) > 1 else document["data"]
        judged = {key: judge_penalty(lead, rises[key]) for key, lead in own.items() if key[0] == over}
        if not judged:
            continue
        each = [
            f"weight {key[2]:g}, {key[0]}: rank {100 * rises[key]:+.0f} %, accuracy {own[key]}"
            for key in judged
        ]
        of_sets: dict[str, list[str]] = {}
        for key in own.keys() - judged.keys() if len(document["sets"]) > 1 else ():
            of_sets.setdefault(judge_penalty(own[key], rises[key]), []).append(f"{key[0]} at {key[2]:g}")
        by_set = "; ".join(
            f"{verdict} on {', '.join(sorted(of_sets[verdict]))}" for verdict in sorted(of_sets)
        )
        yield Claim(
            f"Training for more independent dimensions brings accuracy, {operation} (open question)",
            judge_all(judged.values()),
            "; ".join(each) + (f" (by itself: {by_set})" if by_set else ""),
            f"with every weight of a penalty on correlations, accuracy rises by more than {MARGIN} points, "
            "as the mean over the data sets; no difference if all intervals lie within this margin; does "
            "not hold if that of a weight lies below it; cannot be told where the effective rank does not "
            f"rise by {100 * LEAST_RISE:.0f} % in every seed on every set, or with fewer than {MIN_SEEDS} "
            "seeds",
        )


def _describe_spans(values: Mapping[str, Sequence[float]]) -> str:
    return ", ".join(f"{key} {min(each):.3g} to {max(each):.3g}" for key, each in values.items())
