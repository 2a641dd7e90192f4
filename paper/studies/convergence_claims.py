"""Verdicts of the study of convergence."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from paper.claim import (
    RULE_OF_ALL,
    Claim,
    describe_leads,
    describe_values,
    means_of,
    verdict_of_leads,
    waves_of,
)
from paper.correlation import unpack_scores
from paper.statistics import Lead, compare_sets
from paper.study import Document
from paper.verdicts import FAILS, HOLDS, MARGIN, MIN_SEEDS, OPEN

LOSS_RATIO, LEARNT = 1.5, 0.98


def judge(document: Document) -> Iterator[Claim]:
    """Whether waves learn faster in the first steps, and overfit later."""
    yield from _judge_first_steps(document)
    yield from _judge_long_run(document)


def _judge_first_steps(document: Document) -> Iterator[Claim]:
    fast = document["fast"]
    areas = {key: [100 * float(np.mean(run)) for run in system["runs"]] for key, system in fast.items()}
    starts = {"transformer-pretrained": "MiniLM's", "transformer-random": "random"}
    rivals = {key: start for key, start in starts.items() if key in fast}
    for rival, start in rivals.items():
        leads: dict[str, Lead] = {}
        for key in waves_of(fast):
            of_texts = (np.stack([*map(unpack_scores, fast[name]["of_texts"])]) for name in (key, rival))
            first, second = of_texts
            if len(first) == len(second):
                n_comparisons = len(waves_of(fast)) * len(rivals)
                leads[key] = compare_sets([100 * (first - second)], n_comparisons=n_comparisons)
        if leads:
            yield Claim(
                f"Wave converges faster than the Transformer with {start} embeddings in the first "
                f"{document['steps'][-1]} steps, both at the papers' rate of 1e-3",
                verdict_of_leads(leads.values()),
                f"mean test accuracy over these steps: {describe_values(means_of(areas), '.1f', ' %')}; "
                f"{describe_leads(leads)}",
                f"the mean accuracy over the steps is ahead by more than {MARGIN} points for both "
                f"operations, paired over seeds and texts; {RULE_OF_ALL}",
            )


def _judge_long_run(document: Document) -> Iterator[Claim]:
    """Whether every network overfits, or none."""
    overfits, evidence = [], []
    for key, system in waves_of(document["long"]).items():
        losses = np.array([[epoch["validation_loss"] for epoch in run] for run in system["runs"]])
        learnt = np.array([run[-1]["train_accuracy"] for run in system["runs"]])
        overfits += ((losses[:, -1] > LOSS_RATIO * losses.min(axis=1)) & (learnt > LEARNT)).tolist()
        evidence.append(
            f"{key.removeprefix('wave-')}: validation loss {losses.min(axis=1).mean():.2f}, then "
            f"{losses[:, -1].mean():.2f}; training accuracy {100 * learnt.mean():.1f} %; {len(learnt)} seeds"
        )
    if not evidence:
        return
    n_seeds = min(len(system["runs"]) for system in waves_of(document["long"]).values())
    verdict = OPEN
    if n_seeds >= MIN_SEEDS and len(set(overfits)) == 1:
        verdict = HOLDS if overfits[0] else FAILS
    yield Claim(
        f"The Wave network overfits when training goes on (Fig. 7), width {document['long_run_width']}, "
        f"{document['long_run_rows']:,} rows",
        verdict,
        "; ".join(evidence),
        f"in every seed validation loss ends above {LOSS_RATIO} times its minimum, with training accuracy "
        f"above {100 * LEARNT:.0f} %; does not hold if in none; else, and with fewer than {MIN_SEEDS} seeds, "
        "it cannot be told",
    )
