"""Verdicts of the study of pairs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from paper.claim import OPERATIONS, RULE_OF_ALL, Claim, verdict_of_leads
from paper.pair_systems import NETWORKS, TRANSFORMERS, TWINS
from paper.studies.pair_tables import differences
from paper.study import Document
from paper.verdicts import MARGIN


def judge(document: Document) -> Iterator[Claim]:
    """Whether waves carry fine-grained meaning better than real numbers and Transformers."""
    compared = differences(document)
    rivals = {
        "real numbers with as many parameters": TWINS,
        "a one-layer Transformer from the same start, with the recipe of Wave": TRANSFORMERS,
    }
    for (rival, keys), operation in itertools.product(rivals.items(), OPERATIONS):
        leads = {key: lead for key in keys if (lead := compared.get((f"wave-{operation}", key)))}
        if len(leads) < len(keys):
            continue
        over = ", ".join(f"{NETWORKS[key]} {lead}" for key, lead in leads.items())
        yield Claim(
            f"Waves are more accurate on pairs of texts than {rival}, {operation} (open question)",
            verdict_of_leads(leads.values()),
            f"lead over {over}; mean over {', '.join(task['key'] for task in document['tasks'])}",
            f"the lead is above {MARGIN} points in every comparison; {RULE_OF_ALL}",
        )
