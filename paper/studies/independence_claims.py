"""Verdicts of the study of independence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from paper.claim import OPERATIONS, Claim
from paper.eigenvalue_spread import PLACES
from paper.published import CLUSTER
from paper.statistics import Lead, compare_seeds
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

PAPERS_WIDTH = 768
NEAR = 0.05  # of the ratio to the papers' cluster
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
    yield from _judge_cluster(document)
    yield from _judge_penalty(document)


def _judge_cluster(document: Document) -> Iterator[Claim]:
    """Whether one of two ratios, which the paper does not define, lies near the published cluster."""
    ratios = {"largest_share": "largest over sum", "smallest_over_largest": "smallest over largest"}
    rows = [row for row in document["widths"] if row["width"] == PAPERS_WIDTH]
    operations = [each for each in OPERATIONS if any(row["operation"] == each for row in rows)]
    for name, title in ratios.items() if operations else ():
        distances, evidence = [], []
        for operation in operations:
            values = [row[name] for row in rows if row["operation"] == operation]
            n_comparisons = len(ratios) * len(operations)
            lead = compare_seeds(values, [CLUSTER] * len(values), n_comparisons=n_comparisons)
            distances.append(lead)
            evidence.append(f"{operation} {np.mean(values):.3g}, {len(values)} seeds")
        yield Claim(
            f"The Wave network's eigenvalue ratio clusters near {CLUSTER}, if the ratio is {title}",
            judge_all(map(judge_near, distances)),
            f"{document['data']}, width {PAPERS_WIDTH}, after the norm: {', '.join(evidence)}",
            f"the interval over seeds of the mean over batches lies within {NEAR} of it for both operations; "
            f"does not hold if one lies outside; cannot be told with fewer than {MIN_SEEDS} seeds",
        )


def judge_near(distance: Lead) -> str:
    """Judge whether a value is near: the interval of its distance lies within :data:`NEAR`, or outside."""
    if distance.n_seeds < MIN_SEEDS:
        return OPEN
    if distance.low > -NEAR and distance.high < NEAR:
        return HOLDS
    return FAILS if distance.low > NEAR or distance.high < -NEAR else OPEN


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
