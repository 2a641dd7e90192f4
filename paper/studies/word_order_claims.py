"""Verdicts of the study of word order."""

from __future__ import annotations

from collections.abc import Iterator

from paper.claim import OPERATIONS, Claim
from paper.studies.word_order_networks import MULTIPLIED, SCALES
from paper.studies.word_order_tables import best_scales, find_texts, gains_by_order
from paper.study import Document
from paper.verdicts import HOLDS, MARGIN, OPEN, judge_lead, judge_no_loss


def judge(document: Document) -> Iterator[Claim]:
    """Whether positions help where word order matters, cost elsewhere, and cost with large embeddings."""
    paired = "paired over seeds and test texts; the interval counts all networks of the table"
    negated = find_texts(document, "sst2", "negated")
    for operation in OPERATIONS:
        best = best_scales(negated.corpus, operation) if negated is not None else None
        if negated is None or best is None:
            continue
        gain = best.gain(negated)
        chosen = (
            f"initial embeddings of {best.scales[0]:g} with positions and of {best.scales[1]:g} without, "
            "each the best by validation rows"
        )
        yield Claim(
            f"Positions help where word order matters: negated sentences of sst2, {operation} "
            "(open question)",
            judge_lead(gain),
            f"{gain}, {gain.n_texts} texts; {chosen}",
            f"a gain of more than {MARGIN} points, {paired}",
        )
        if negated.mask.all():
            continue
        excess = best.excess(negated)
        yield Claim(
            f"Positions are worth more on negated sentences of sst2 than on the others, {operation} "
            "(our question)",
            judge_lead(excess),
            f"gain on negated sentences {gain.mean:+.2f} points, on the others "
            f"{best.gain(negated.others).mean:+.2f}, difference {excess}; {chosen}",
            f"a difference of more than {MARGIN} points, {paired}",
        )
    topics = find_texts(document, "ag_news")
    gains = gains_by_order(topics) if topics else {}
    for operation in OPERATIONS:
        small = gains.get(f"{operation}-{SCALES[0]:g}-sinusoidal")
        if small is None:
            continue
        cost = small.reversed
        verdict = judge_lead(cost)
        yield Claim(
            f"Positions cost accuracy on ag_news, {operation} (our question)",
            verdict,
            f"lead of the network without positions {cost}",
            f"more than {MARGIN} points with the papers' embeddings, {paired}",
        )
        for key, words in ((f"{SCALES[-1]:g}", "start"), (MULTIPLIED, "are multiplied to be")):
            large = gains.get(f"{operation}-{key}-sinusoidal")
            if large is not None:
                yield Claim(
                    f"The cost vanishes when embeddings {words} as large as the positions, {operation}",
                    judge_no_loss(large) if verdict == HOLDS else OPEN,
                    f"lead of the network with positions {large}",
                    f"no loss of more than {MARGIN} points to the same embeddings without positions; cannot "
                    f"be told if there is no cost above; {paired}",
                )
