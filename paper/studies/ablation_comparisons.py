"""The lead of a reference over variants of the ablations."""

from __future__ import annotations

from collections.abc import Mapping

from paper.statistics import Lead, compare, stack_answers
from paper.study import Document


def leads_of(document: Document, keys: Mapping[str, str]) -> dict[str, Lead]:
    """Lead of the reference over variants, paired over seeds and test texts.

    Args:
        document: from :func:`paper.studies.ablations.measure`.
        keys: of the variants by the names of the result; those that were not measured are left out.
    """
    variants = {variant["key"]: variant for variant in document["variants"]}
    n_comparisons = sum(variant["against"] in variants for variant in variants.values())
    n_texts, leads = document["rows"]["test"], {}
    for name, key in keys.items():
        against = variants.get(key, {}).get("against")
        if against in variants:
            answers = (stack_answers(variants[each]["runs"], n_texts) for each in (against, key))
            leads[name] = compare(*answers, n_comparisons=n_comparisons)
    return leads
