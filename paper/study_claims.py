"""Verdicts that follow from the studies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from paper.claim import FAILS, HOLDS, NEAR, OPEN, OPERATIONS, Claim, first_document
from paper.published import CLUSTER, ROWS
from paper.study import Document


def _convergence(document: Document) -> Iterator[Claim]:
    found = first_document(document, "convergence")
    if found is None:
        return
    area = {key: float(np.mean(one["runs"])) for key, one in found["fast"].items()}
    waves = [value for key, value in area.items() if key.startswith("wave")]
    others = _papers_transformer(area)
    evidence = ", ".join(f"{key} {100 * value:.1f} %" for key, value in area.items())
    yield Claim(
        f"Wave converges faster than the Transformer in the first {found['steps'][-1]} steps",
        HOLDS if min(waves) > max(others.values()) else FAILS,
        f"mean test accuracy over these steps: {evidence}",
        f"both operations have a higher mean test accuracy over the steps than {', '.join(others)}",
    )


def _papers_transformer(values: dict[str, float]) -> dict[str, float]:
    """The Transformer that starts from pre-trained embeddings, as the papers'; others only without it."""
    found = {key: value for key, value in values.items() if key.startswith("transformer")}
    pretrained = {key: value for key, value in found.items() if key == "transformer-pretrained"}
    return pretrained or found


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
    transformers = _papers_transformer(rank)
    yield Claim(
        "The Transformer's dimensions are more independent than the Wave network's",
        HOLDS if min(transformers.values()) > max(waves) else FAILS,
        "effective rank in batches of 32 after training: "
        + ", ".join(f"{key} {value:.1f}" for key, value in rank.items()),
        f"the effective rank of {', '.join(transformers)} is above that of both operations",
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
    for name, regime in (("length", "usual"), ("length-narrow", "narrow")):
        sweep = found["sweeps"].get(name)
        curves = {} if sweep is None else sweep["curves"]
        fits = {key: curve["step"]["fit"] for key, curve in curves.items()}
        wave, transformer = fits.get("wave-all"), fits.get("transformer-all")
        if sweep is None or wave is None or transformer is None:
            continue
        counted = sweep["curves"]["transformer-all"]["flops_fit"]["exponent"]
        evidence = ", ".join(f"{key} {fit['exponent']:.2f}" for key, fit in fits.items() if fit is not None)
        yield Claim(
            f"With the length of the text, Wave costs n and the Transformer n^2 ({regime} networks)",
            HOLDS if wave["exponent"] < 1.3 and transformer["exponent"] > 1.5 else FAILS,
            f"width {sweep['rest']['width']}, {wave['from']} to {wave['to']} tokens, exponents of a step's "
            f"time: {evidence}; of the Transformer's operations {counted:.2f}",
            "with all tokens' states computed, below 1.3 and above 1.5",
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
        rows = [row for row in ROWS if (row.key, row.dataset) == ("wave-modulation", found["data"])]
        sizes = [row.gigabytes for row in rows if row.gigabytes is not None]
        if not sizes:
            continue
        said = sizes[0]
        nearest = min(gigabytes, key=lambda name: abs(gigabytes[name] - said))
        yield Claim(
            f"Training a Wave network takes {said} GB ({found['data']})",
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
    """Difference to the reference in points, and half of its interval; infinite where there is none."""
    change = variant["difference"]
    half = change["half_width"]
    return 100 * change["mean"], float("inf") if half is None else 100 * half


def _with_interval(mean: float, half: float) -> str:
    return f"{mean:+.2f} points" if np.isinf(half) else f"{mean:+.2f} ± {half:.2f} points"


def _complex_numbers(document: Document) -> Iterator[Claim]:
    variants = _differences(document)
    twins = {"averages": variants.get("real-means"), "magnitudes alone": variants.get("magnitudes-alone")}
    found = {title: twin for title, twin in twins.items() if twin is not None and twin["difference"]}
    each = {title: _difference(twin) for title, twin in found.items()}
    if not each:
        return
    worse = all(mean + half < 0 for mean, half in each.values())
    as_good = any(mean - half > -NEAR for mean, half in each.values())
    yield Claim(
        "Complex waves are better than real numbers with as many parameters (open question)",
        HOLDS if worse else (FAILS if as_good else OPEN),
        "real twins instead of waves: "
        + ", ".join(f"{title} {_with_interval(*change)}" for title, change in each.items()),
        f"holds if every twin's interval lies below 0; does not if one's lies above -{NEAR:g} point",
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
            + ", ".join(f"{name} {_with_interval(*change)}" for name, change in each.items()),
            f"holds if both intervals lie below 0; does not if both lie above -{NEAR:g} point",
        )


def _probe(found: Document, task: str) -> dict[str, float]:
    """Mean accuracy of every system at a probe, in per cent."""
    return {
        result["system"]: 100 * float(np.mean([run["test_accuracy"] for run in result["runs"]]))
        for result in found["results"]
        if result["task"] == task
    }


RIGHT = "a network of the papers' is right on at least 95 % of the texts; the context branch is not counted"


def _papers_waves(values: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in values.items() if key.startswith("wave") and key != "wave-context"}


def _order(document: Document) -> Iterator[Claim]:
    found = first_document(document, "probes")
    if found is None:
        return
    blind = {system["key"] for system in found["systems"] if system["blind"]}
    for task, question in (("order", "whether A comes before B"), ("negation", "what a negation negates")):
        means = _probe(found, task)
        seeing = {key: value for key, value in _papers_waves(means).items() if key not in blind}
        if not seeing:
            continue
        yield Claim(
            f"A Wave network can tell {question} (open question)",
            HOLDS if max(seeing.values()) >= 95 else FAILS,
            ", ".join(f"{key} {value:.1f} %" for key, value in means.items()),
            f"{RIGHT}; without positions half are right",
        )


def _distance(document: Document) -> Iterator[Claim]:
    found = first_document(document, "probes")
    if found is None:
        return
    for name, claim in (
        ("distance", "A token at the start can decide over {} tokens in a Wave network (open question)"),
        ("long-range", "A Wave network can relate tokens far apart in {} tokens (open question)"),
    ):
        tasks = [task for task in found["tasks"] if task["key"].startswith(f"{name}-")]
        if not tasks:
            continue
        longest = max(tasks, key=lambda task: task["length"])
        means = _probe(found, longest["key"])
        waves = _papers_waves(means)
        yield Claim(
            claim.format(longest["length"]),
            HOLDS if max(waves.values(), default=0) >= 95 else FAILS,
            ", ".join(f"{key} {value:.1f} %" for key, value in means.items()),
            RIGHT,
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
