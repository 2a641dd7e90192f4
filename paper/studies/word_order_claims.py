"""Verdicts of the study of word order."""

from __future__ import annotations

from collections.abc import Iterator

from paper.claim import OPERATIONS, RULE_OF_ALL, Claim, describe_leads, verdict_of_leads
from paper.studies.word_order_networks import MULTIPLIED, SCALES
from paper.studies.word_order_tables import best_placed, find_texts, gains_by_order
from paper.study import Document
from paper.verdicts import HOLDS, MARGIN, OPEN, judge_lead, judge_no_loss


def judge(document: Document) -> Iterator[Claim]:
    """Whether positions help where word order matters, cost elsewhere, and cost with large embeddings."""
    paired = "paired over seeds and test texts; the interval counts all networks of the table"
    negated = find_texts(document, "sst2", "negated")
    for operation in OPERATIONS:
        best = best_placed(negated.corpus, operation) if negated is not None else None
        if negated is None or best is None:
            continue
        gains = best.gains(negated)
        chosen = f"{best.placed['title']}, the best embeddings with positions by validation rows"
        yield Claim(
            f"Positions help where word order matters: negated sentences of sst2, {operation} "
            "(open question)",
            verdict_of_leads(gains.values()),
            f"lead over {describe_leads(gains)}; {int(negated.mask.sum()):,} texts; {chosen}",
            f"a gain of more than {MARGIN} points in every comparison, {paired} and these; {RULE_OF_ALL}",
        )
        if negated.mask.all():
            continue
        excess = best.excess(negated)
        yield Claim(
            f"Positions help negated sentences of sst2 more than the others, {operation} (our question)",
            judge_lead(excess),
            f"lead over the same embeddings without positions on negated sentences minus that on the others "
            f"{excess}; {chosen}",
            f"a difference of more than {MARGIN} points, {paired} and these",
        )
    topics = find_texts(document, "ag_news")
    gains = gains_by_order(topics) if topics else {}
    for operation in OPERATIONS:
        small = gains.get(f"{operation}-{SCALES[0]:g}-sinusoidal")
        if topics is None or small is None:
            continue
        cost = small.reversed
        verdict = judge_lead(cost)
        budget = f"after {document['epochs']} epochs of {topics.corpus['rows']['train']:,} texts"
        yield Claim(
            f"Positions cost accuracy on ag_news {budget}, embeddings of {SCALES[0]:g}, {operation} "
            "(our question)",
            verdict,
            f"lead of the network without positions {cost}; width {document['width']}",
            f"more than {MARGIN} points, {paired}; longer training may cost less",
        )
        for key, words in ((f"{SCALES[-1]:g}", "start"), (MULTIPLIED, "are multiplied to be")):
            large = gains.get(f"{operation}-{key}-sinusoidal")
            if large is not None:
                yield Claim(
                    f"The cost vanishes {budget} when embeddings {words} as large as the positions, "
                    f"{operation}",
                    judge_no_loss(large) if verdict == HOLDS else OPEN,
                    f"lead of the network with positions {large}",
                    f"no loss of more than {MARGIN} points to the same embeddings without positions; cannot "
                    f"be told if there is no cost above; {paired}",
                )
