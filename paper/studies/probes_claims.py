"""Verdicts of the probes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from paper.claim import Claim, describe_values
from paper.statistics import Accuracy
from paper.studies.probe_tables import SOLVES, accuracies, growing_tasks, judge_waves, plain_tasks
from paper.study import Document


def judge(document: Document) -> Iterator[Claim]:
    """Whether the papers' networks with positions see relations, and over how many tokens."""
    rule = (
        "the interval of a network of the papers', with positions, over seeds and texts lies above "
        f"{SOLVES:g} %; it does not hold if those of all of them lie below; the context branch "
        "does not count. A failure says that they did not learn it on the study's budget"
    )

    def claim(question: str, task: str, verdict: str, best: Accuracy) -> Claim:
        others = {
            system["key"]: float(np.mean(values))
            for system in document["systems"]
            if (values := accuracies(document, task, system["key"]))
        }
        evidence = f"the best of them {best}; all networks: {describe_values(others, '.1f', ' %')}"
        return Claim(
            f"With positions, {question}, on generated texts and the study's budget (open question)",
            verdict,
            evidence,
            rule,
        )

    plain = judge_waves(document, plain_tasks(document))
    for task, question in (
        ("order", "a Wave network learns to tell whether A comes before B"),
        ("negation", "a Wave network learns to tell what a negation negates"),
    ):
        if task in plain:
            yield claim(question, task, *plain[task])
    for family, question in (
        ("distance", "a Wave network learns to decide by a token at the start of {:,} tokens"),
        ("long-range", "a Wave network learns to relate two tokens far apart in {:,} tokens"),
    ):
        tasks = growing_tasks(document, family)
        judged = judge_waves(document, tasks)
        longest = max((task["length"] for task in tasks), default=0)
        for grown in tasks:
            if grown["key"] in judged and grown["length"] in (longest // 4, longest // 2, longest):
                made = claim(question.format(grown["length"]), grown["key"], *judged[grown["key"]])
                limit = "; from ever longer texts; weights set by hand do it at every length"
                yield made._replace(rule=made.rule + limit)
