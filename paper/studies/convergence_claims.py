"""Verdicts of the study of convergence."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from paper.claim import Claim, compare_common_seeds, describe_values, means_of, verdict_of, waves_of
from paper.study import Document
from paper.verdicts import MARGIN, MIN_SEEDS, judge_all, judge_lead


def judge(document: Document) -> Iterator[Claim]:
    """Whether waves learn faster in the first steps, and overfit later."""
    areas = {
        key: [100 * float(np.mean(run)) for run in system["runs"]] for key, system in document["fast"].items()
    }
    starts = {"transformer-pretrained": "pretrained", "transformer-random": "random"}
    rivals = {key: start for key, start in starts.items() if key in areas}
    n_comparisons = len(waves_of(areas)) * len(rivals)
    for rival, start in rivals.items():
        leads = {
            key: compare_common_seeds(each, areas[rival], n_comparisons)
            for key, each in waves_of(areas).items()
        }
        yield Claim(
            f"Wave converges faster than the Transformer with {start} embeddings in the first "
            f"{document['steps'][-1]} steps",
            judge_all([judge_lead(lead) for lead in leads.values()]),
            f"mean test accuracy over these steps: {describe_values(means_of(areas), '.1f', ' %')}; "
            + ", ".join(
                f"{key} {lead.mean:+.2f} points ({lead.low:+.2f} to {lead.high:+.2f})"
                for key, lead in leads.items()
            ),
            f"both operations are ahead by more than {MARGIN} points, paired over seeds; no difference if "
            f"within {MARGIN} on both sides; cannot be told with fewer than {MIN_SEEDS} seeds",
        )
    evidence, overfits = [], []
    for key, system in document["long"].items():
        if key.startswith("wave"):
            losses = [epoch["validation_loss"] for epoch in system["epochs"]]
            accuracy = system["epochs"][-1]["train_accuracy"]
            overfits.append(losses[-1] > 1.5 * min(losses) and accuracy > 0.98)
            evidence.append(
                f"{key.removeprefix('wave-')}: validation loss {min(losses):.2f}, then {losses[-1]:.2f}; "
                f"training accuracy {100 * accuracy:.1f} %"
            )
    yield Claim(
        "The Wave network overfits when training goes on (Fig. 7)",
        verdict_of(all(overfits)),
        "; ".join(evidence),
        "validation loss ends above 1.5 times its minimum, with training accuracy above 98 %",
    )
