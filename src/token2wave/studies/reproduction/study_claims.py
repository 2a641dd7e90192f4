"""Verdicts that follow from the studies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from token2wave.studies.reproduction.claim import FAILS, HOLDS, NEAR, OPEN, OPERATIONS, Claim, first_document
from token2wave.studies.reproduction.published import CLUSTER, ROWS
from token2wave.studies.study import Document


def _convergence(document: Document) -> Iterator[Claim]:
    found = first_document(document, "convergence")
    if found is None:
        return
    area = {key: float(np.mean(one["runs"])) for key, one in found["fast"].items()}
    waves = [value for key, value in area.items() if key.startswith("wave")]
    others = {key: value for key, value in area.items() if key.startswith("transformer")}
    evidence = ", ".join(f"{key} {100 * value:.1f} %" for key, value in area.items())
    yield Claim(
        f"Wave converges faster than the Transformer in the first {found['steps'][-1]} steps",
        HOLDS if min(waves) > max(others.values()) else FAILS,
        f"mean test accuracy over these steps: {evidence}",
        "both operations have a higher mean test accuracy over the steps than every Transformer",
    )


def _overfitting(document: Document) -> Iterator[Claim]:
    found = first_document(document, "convergence")
    if found is None:
        return
    parts, overfits = [], []
    for key, one in found["long"].items():
        if not key.startswith("wave"):
            continue
        losses = [epoch["validation_loss"] for epoch in one["epochs"]]
        train = one["epochs"][-1]["train_accuracy"]
        overfits.append(losses[-1] > 1.5 * min(losses) and train > 0.98)
        parts.append(
            f"{key.removeprefix('wave-')}: validation loss {min(losses):.2f}, then {losses[-1]:.2f}; "
            f"training accuracy {100 * train:.1f} %"
        )
    yield Claim(
        "The Wave network overfits when it is trained on (Fig. 7)",
        HOLDS if all(overfits) else FAILS,
        "; ".join(parts),
        "validation loss ends above 1.5 times its least, with training accuracy above 98 %",
    )


def _gradients(document: Document) -> Iterator[Claim]:
    found = first_document(document, "gradients")
    if found is None:
        return
    last = {
        key: float(np.mean([run["norms"]["cls"][-1] / run["norms"]["input"][-1] for run in one["runs"]]))
        for key, one in found["systems"].items()
    }
    waves = [value for key, value in last.items() if key.startswith("wave")]
    others = [value for key, value in last.items() if not key.startswith("wave")]
    if not waves or not others:
        return
    evidence = ", ".join(f"{key} {value:.2f}" for key, value in last.items())
    yield Claim(
        "[CLS] gets a larger share of the input's gradient in Wave than in its rivals (our question)",
        HOLDS if min(waves) > max(others) else FAILS,
        f"norm at [CLS] over norm at the whole input at the end: {evidence}",
        "the share is larger for both operations than for every rival",
    )


def _independence(document: Document) -> Iterator[Claim]:
    found = first_document(document, "independence")
    if found is None:
        return

    def mean(key: str, name: str) -> float:
        runs: list[dict[str, Any]] = found["systems"][key]["runs"]
        return float(np.mean([np.mean(run["trained"]["batches"][name]) for run in runs]))

    keys = list(found["systems"])
    rank = {key: mean(key, "effective_rank") for key in keys}
    waves = [value for key, value in rank.items() if key.startswith("wave")]
    transformers = [value for key, value in rank.items() if key.startswith("transformer")]
    yield Claim(
        "The Transformer's dimensions are more independent than the Wave network's",
        HOLDS if min(transformers) > max(waves) else FAILS,
        "effective rank in batches of 32 after training: "
        + ", ".join(f"{key} {value:.1f}" for key, value in rank.items()),
        "the effective rank of every Transformer is above that of both operations",
    )
    for name, title in (
        ("largest_share", "largest over sum"),
        ("smallest_over_largest", "smallest over largest"),
    ):
        values = {key: mean(key, name) for key in keys if key.startswith("wave")}
        near = all(abs(value - CLUSTER) <= 0.05 for value in values.values())
        yield Claim(
            f"The Wave network's eigenvalue ratio clusters near {CLUSTER}, if the ratio is {title}",
            HOLDS if near else FAILS,
            ", ".join(f"{key.removeprefix('wave-')} {value:.3f}" for key, value in values.items()),
            "the mean over batches lies within 0.05 for both operations",
        )


def _complexity(document: Document) -> Iterator[Claim]:
    found = first_document(document, "complexity")
    if found is None:
        return
    exponents = {}
    for key, curves in found["sweeps"]["length"]["curves"].items():
        if curves["step"]["fit"] is not None:
            exponents[key] = curves["step"]["fit"]["exponent"]
    linear, square = exponents.get("wave-all"), exponents.get("transformer-all")
    if linear is None or square is None:
        return
    evidence = ", ".join(f"{key} {value:.2f}" for key, value in exponents.items())
    yield Claim(
        "With the length of the text, Wave costs n and the Transformer n^2",
        HOLDS if linear < 1.25 and square > 1.75 else FAILS,
        f"exponents of the time of a step over the longer texts: {evidence}",
        "the exponents of all tokens' states are below 1.25 and above 1.75",
    )
    counts = next(row for row in found["flops"] if (row["length"], row["width"]) == (45, 768))
    networks = counts["networks"]
    said = counts["papers_transformer"] / counts["papers_wave"]
    ratio = networks["transformer-all"] / networks["wave-all"]
    yield Claim(
        "O(n d^2) against O(n^2 d) explains what Wave saves at the papers' texts",
        HOLDS if abs(np.log(ratio / said)) < np.log(2) else FAILS,
        f"45 tokens of width 768: n^2 d over n d^2 is {said:.2f}, the operations of one layer are "
        f"{ratio:.2f} to one; n^2 d overtakes only at {counts['overtaking']:,.0f} tokens. Read out at [CLS] "
        f"alone, both can be shortened: Wave {networks['wave-cls'] / 1e6:,.1f} and Transformer "
        f"{networks['transformer-cls'] / 1e6:,.1f} million operations a text",
        "the ratio of operations is within a factor of two of the formulas'",
    )


def _memory(document: Document) -> Iterator[Claim]:
    for found in document["studies"].get("resources", []):
        by_key = {system["key"]: system for system in found["systems"]}
        wave, bert = by_key.get("wave-modulation"), by_key.get("bert-base")
        if wave is None or wave["added"] is None:
            continue
        gigabytes = {
            "measured peak": wave["added"] / 1e9,
            "steady state": wave["steady_state"] / 1e9,
            "parameters x 12 bytes": wave["papers_figure"] / 1e9,
        }
        said = next(row for row in ROWS if (row.key, row.dataset) == ("wave-modulation", "ag_news"))
        nearest = min(gigabytes, key=lambda name: abs(gigabytes[name] - (said.gigabytes or 0)))
        yield Claim(
            f"Training a Wave network takes {said.gigabytes} GB ({found['data']})",
            HOLDS if nearest == "measured peak" else FAILS,
            ", ".join(f"{name} {value:.2f} GB" for name, value in gigabytes.items()),
            "of these the measured peak is nearest to the published figure",
        )
        if bert is None or bert["added"] is None:
            continue
        memory = 100 * (1 - wave["added"] / bert["added"])
        time = 100 * (1 - wave["epoch_seconds"] / bert["epoch_seconds"])
        yield Claim(
            f"Wave saves three quarters of BERT base's memory and five sixths of its time ({found['data']})",
            HOLDS if memory >= 75 and time >= 83 else FAILS,
            f"{memory:.1f} % of the added memory and {time:.1f} % of an epoch's time, in float32",
            "at least 75 % and 83 %",
        )


def _differences(document: Document) -> dict[str, Any]:
    found = first_document(document, "ablations")
    return {} if found is None else {variant["key"]: variant for variant in found["variants"]}


def _difference(variant: Any) -> tuple[float, float]:
    """Difference to the reference in points, and half of its interval."""
    change = variant["difference"]
    return 100 * change["mean"], 100 * (change["half_width"] or float("inf"))


def _complex_numbers(document: Document) -> Iterator[Claim]:
    variants = _differences(document)
    twin = variants.get("real-means")
    if twin is None or twin["difference"] is None:
        return
    mean, half = _difference(twin)
    verdict = HOLDS if mean + half < 0 else (FAILS if mean - half > -NEAR else OPEN)
    yield Claim(
        "Complex waves are better than real numbers with as many parameters (open question)",
        verdict,
        f"real averages instead of waves: {mean:+.2f} ± {half:.2f} points",
        f"holds if the interval of the difference lies below 0; does not if it lies above -{NEAR:g} point",
    )


def _phase(document: Document) -> Iterator[Claim]:
    variants = _differences(document)
    for what in ("phase", "magnitude"):
        found = {
            operation: variants[f"without-{what}-{operation}"]
            for operation in OPERATIONS
            if f"without-{what}-{operation}" in variants
        }
        if not found or any(variant["difference"] is None for variant in found.values()):
            continue
        each = {operation: _difference(variant) for operation, variant in found.items()}
        needed = all(mean + half < 0 for mean, half in each.values())
        useless = all(mean - half > -NEAR for mean, half in each.values())
        yield Claim(
            f"The {what} carries what a text means (open question)",
            HOLDS if needed else (FAILS if useless else OPEN),
            f"without {what}: "
            + ", ".join(f"{name} {mean:+.2f} ± {half:.2f} points" for name, (mean, half) in each.items()),
            f"holds if both intervals lie below 0; does not if both lie above -{NEAR:g} point",
        )


def _probe(found: Document, task: str) -> dict[str, float]:
    """Mean accuracy of every system at a probe, in per cent."""
    return {
        result["system"]: 100 * float(np.mean([run["test_accuracy"] for run in result["runs"]]))
        for result in found["results"]
        if result["task"] == task
    }


def _order(document: Document) -> Iterator[Claim]:
    found = first_document(document, "probes")
    if found is None:
        return
    blind = {system["key"] for system in found["systems"] if system["blind"]}
    for task, question in (("order", "whether A comes before B"), ("negation", "what a negation negates")):
        means = _probe(found, task)
        seeing = {key: value for key, value in means.items() if key.startswith("wave") and key not in blind}
        if not seeing:
            continue
        yield Claim(
            f"A Wave network can tell {question} (open question)",
            HOLDS if max(seeing.values()) >= 95 else FAILS,
            ", ".join(f"{key} {value:.1f} %" for key, value in means.items()),
            "some Wave network is right on at least 95 % of the texts; without positions half are right",
        )


def _distance(document: Document) -> Iterator[Claim]:
    found = first_document(document, "probes")
    if found is None:
        return
    for name, claim in (
        ("distance", "A token at the start can decide over {} tokens in a Wave network (open question)"),
        ("apart", "A Wave network can relate tokens far apart in {} tokens (open question)"),
    ):
        tasks = [task for task in found["tasks"] if task["key"].startswith(f"{name}-")]
        if not tasks:
            continue
        longest = max(tasks, key=lambda task: task["length"])
        means = _probe(found, longest["key"])
        waves = {key: value for key, value in means.items() if key.startswith("wave")}
        yield Claim(
            claim.format(longest["length"]),
            HOLDS if max(waves.values(), default=0) >= 95 else FAILS,
            ", ".join(f"{key} {value:.1f} %" for key, value in means.items()),
            "some Wave network is right on at least 95 % of the texts",
        )


STUDY_CHECKS: tuple[Callable[[Document], Iterator[Claim]], ...] = (
    _convergence,
    _overfitting,
    _gradients,
    _independence,
    _complexity,
    _memory,
    _complex_numbers,
    _phase,
    _order,
    _distance,
)
"""Each gives the claims that a study has the figures for."""
