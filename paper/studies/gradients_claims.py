"""Verdicts of the study of gradients."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from paper.claim import Claim, compare_common_seeds, describe_values, means_of, waves_of
from paper.study import Document
from paper.verdicts import MIN_SEEDS, RATIO, judge_all, judge_lead


def judge(document: Document) -> Iterator[Claim]:
    """Whether [CLS] receives more of the input's gradient in Wave than in a rival."""
    ratios = {
        key: [run["norms"]["cls"][-1] / run["norms"]["input"][-1] for run in system["runs"]]
        for key, system in document["systems"].items()
    }
    waves = waves_of(ratios)
    rivals = [key for key in ratios if key not in waves]
    logarithms = {key: [float(np.log(value)) for value in each] for key, each in ratios.items()}
    n_comparisons = len(waves) * len(rivals)
    for rival in rivals if waves else []:
        leads = {
            key: compare_common_seeds(logarithms[key], logarithms[rival], n_comparisons) for key in waves
        }
        yield Claim(
            f"[CLS] receives a larger part of the input's gradient in Wave than in {rival} (our question)",
            judge_all([judge_lead(lead, np.log(RATIO)) for lead in leads.values()]),
            "gradient norm at [CLS] over that at the whole input, last step: "
            f"{describe_values(means_of(ratios), '.2f')}; "
            + ", ".join(
                f"{key} {np.exp(lead.mean):.2f} times ({np.exp(lead.low):.2f} to {np.exp(lead.high):.2f})"
                for key, lead in leads.items()
            ),
            f"more than {RATIO:g} times that of the rival for both operations, paired over seeds; no "
            f"difference if within {RATIO:g} times on both sides; cannot be told with fewer than {MIN_SEEDS} "
            "seeds",
        )
