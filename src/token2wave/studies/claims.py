"""What holds of the papers' claims: a verdict for each, by a rule, from the measured figures alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from token2wave.studies.comparison import accuracies
from token2wave.studies.published import CLAIMED_SAVINGS, CLUSTER, ROWS, TRANSFORMER_ACCURACY, published
from token2wave.studies.study import Document, Table

HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot be told"
OPERATIONS = ("interference", "modulation")
NEAR = 1.0  # points of accuracy


class Claim(NamedTuple):
    """A claim, and what became of it.

    Attributes:
        claim: as the papers put it, in short.
        verdict: :data:`HOLDS`, :data:`FAILS` or :data:`OPEN`.
        evidence: the figures.
        rule: by which the verdict follows from them.
    """

    claim: str
    verdict: str
    evidence: str
    rule: str


def claims_table(document: Document) -> Table:
    """Every claim that the document has the figures for."""
    rows = [[one.claim, one.verdict, one.evidence, one.rule] for one in claims(document)]
    caption = "Claims of the papers, and questions that they leave open."
    return Table(caption, ["claim", "verdict", "evidence", "rule of the verdict"], rows, n_names=4)


def claims(document: Document) -> list[Claim]:
    """Judge every claim that the document has the figures for."""
    checks: tuple[Callable[[Document], Iterator[Claim]], ...] = (
        _accuracy,
        _against_the_transformer,
        _transformer_figure,
        _encoder,
        _first_choices,
        _parameters,
        _savings,
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
    return [claim for check in checks for claim in check(document)]


def _mean(document: Document, dataset: str, key: str, name: str = "test_accuracy") -> float | None:
    found = document["datasets"].get(dataset, {}).get("systems", {}).get(key, {})
    values = accuracies(found, name)
    return sum(values) / len(values) if values else None


def _study(document: Document, name: str) -> Document | None:
    found = document["studies"].get(name)
    return None if not found else dict(found[0])


def _accuracy(document: Document) -> Iterator[Claim]:
    for dataset in document["datasets"]:
        for operation in OPERATIONS:
            said = published(f"wave-{operation}", dataset)
            mean = _mean(document, dataset, f"wave-{operation}")
            if not said or mean is None:
                continue
            best = max(row.accuracy for row in said)
            verdict = HOLDS if mean >= best - NEAR else FAILS
            complete = dataset == "imdb"
            if verdict == FAILS and not complete:
                verdict = OPEN
            about = "" if complete else "; the rows at hand are a subset of the papers'"
            yield Claim(
                f"Wave, {operation}, reaches {best:.2f} % on {dataset}",
                verdict,
                f"{mean:.2f} %, {mean - best:+.2f} points{about}",
                f"at most {NEAR:g} point below; with fewer rows than the papers', below is not a refutation",
            )


def _against_the_transformer(document: Document) -> Iterator[Claim]:
    wave = _mean(document, "ag_news", "wave-modulation")
    rivals = {key: _mean(document, "ag_news", f"transformer-{key}") for key in ("pretrained", "random")}
    measured = {key: value for key, value in rivals.items() if value is not None}
    if wave is None or not measured:
        return
    said = max(row.accuracy for row in published("wave-modulation", "ag_news")) - TRANSFORMER_ACCURACY
    gaps = {key: wave - value for key, value in measured.items()}
    evidence = ", ".join(f"{gap:+.2f} points against {key} embeddings" for key, gap in gaps.items())
    yield Claim(
        f"Wave beats a Transformer of one layer by {said:.1f} points on ag_news",
        HOLDS if min(gaps.values()) > said / 2 else FAILS,
        f"modulation {evidence}",
        "the gap is at least half of the published one",
    )


def _transformer_figure(document: Document) -> Iterator[Claim]:
    found: list[tuple[float, str]] = []
    for key, system in document["datasets"].get("ag_news", {}).get("systems", {}).items():
        if not key.startswith("transformer"):
            continue
        for run in system.get("runs", {}).values():
            for entry in run["history"]:
                for part in ("train", "validation", "test"):
                    value = 100 * entry[f"{part}_accuracy"]
                    found.append((value, f"{part} accuracy of {key}, epoch {entry['epoch']}"))
    if not found:
        return
    lowest_test = min(value for value, where in found if where.startswith("test"))
    nearest, where = min(found, key=lambda one: abs(one[0] - TRANSFORMER_ACCURACY))
    reached = any(
        abs(value - TRANSFORMER_ACCURACY) <= 3 for value, where in found if where.startswith("test")
    )
    yield Claim(
        f"{TRANSFORMER_ACCURACY} % is what a Transformer of one layer reaches on test texts of ag_news",
        HOLDS if reached else FAILS,
        f"lowest test accuracy after any epoch {lowest_test:.2f} %; of all accuracies the nearest is "
        f"{nearest:.2f} %, {where}",
        "some test accuracy, after any epoch, lies within 3 points",
    )


def _encoder(document: Document) -> Iterator[Claim]:
    for dataset in document["datasets"]:
        mean, said = _mean(document, dataset, "encoder"), published("encoder", dataset)
        if mean is not None and said:
            yield Claim(
                f"BERT base reaches {said[0].accuracy:.2f} % on {dataset}",
                OPEN,
                f"MiniLM, a fifth of its size, fine-tuned: {mean:.2f} %",
                "weights of BERT base are not at hand",
            )


def _first_choices(document: Document) -> Iterator[Claim]:
    for dataset, found in document["datasets"].items():
        simple = found["everyday"].get("tfidf")
        means = {operation: _mean(document, dataset, f"wave-{operation}") for operation in OPERATIONS}
        best = max((mean for mean in means.values() if mean is not None), default=None)
        if simple is None or best is None:
            continue
        accuracy = 100 * simple["test_accuracy"]
        yield Claim(
            f"Wave is ahead of what a user would try first on {dataset} (not compared by the papers)",
            HOLDS if best > accuracy else FAILS,
            f"better operation {best:.2f} %, TF-IDF with a linear classifier {accuracy:.2f} %",
            "higher mean test accuracy",
        )


def _parameters(document: Document) -> Iterator[Claim]:
    for dataset in document["datasets"].values():
        runs = list(dataset["systems"].get("wave-modulation", {}).get("runs", {}).values())
        if not runs:
            continue
        total, without = runs[0]["parameters"], runs[0]["parameters_without_embedding"]
        yield Claim(
            "The Wave network has 2.4 million parameters",
            HOLDS if round(without / 1e6, 1) == 2.4 else FAILS,
            f"{without:,} without the embedding, {total:,} with it",
            "the count without the table of embeddings rounds to 2.4 million",
        )
        return


def _savings(document: Document) -> Iterator[Claim]:
    rows = {(row.key, row.dataset, row.source): row for row in ROWS}
    bert = rows["encoder", "ag_news", "Table 2"]
    assert bert.gigabytes is not None
    assert bert.seconds is not None
    for name, unit in (("memory", "gigabytes"), ("time", "seconds")):
        follow = []
        for operation in OPERATIONS:
            wave = rows[f"wave-{operation}", "ag_news", "Table 2"]
            follow.append(100 * (1 - getattr(wave, unit) / getattr(bert, unit)))
        said = CLAIMED_SAVINGS[name]
        near = min(abs(value - said) for value in follow)
        yield Claim(
            f"Wave saves {said} % of BERT base's {name} (abstract)",
            HOLDS if near < 0.05 else FAILS,
            f"the paper's own Table 2 gives {min(follow):.2f} to {max(follow):.2f} % on AG News",
            "follows from the papers' own table to a tenth of a point",
        )


def _convergence(document: Document) -> Iterator[Claim]:
    found = _study(document, "convergence")
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
    found = _study(document, "convergence")
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
    found = _study(document, "gradients")
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
    found = _study(document, "independence")
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
    found = _study(document, "complexity")
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
            f"{memory:.1f} % of the added memory and {time:.1f} % of an epoch's time, in float32 on a processor",
            "at least 75 % and 83 %",
        )


def _differences(document: Document) -> dict[str, Any]:
    found = _study(document, "ablations")
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
    found = _study(document, "probes")
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
    found = _study(document, "probes")
    if found is None:
        return
    tasks = [task for task in found["tasks"] if task["key"].startswith("distance")]
    if not tasks:
        return
    longest = max(tasks, key=lambda task: task["length"])
    means = _probe(found, longest["key"])
    waves = {key: value for key, value in means.items() if key.startswith("wave")}
    yield Claim(
        f"A token at the start can decide over {longest['length']} tokens in a Wave network (open question)",
        HOLDS if max(waves.values(), default=0) >= 95 else FAILS,
        ", ".join(f"{key} {value:.1f} %" for key, value in means.items()),
        "some Wave network is right on at least 95 % of the texts",
    )
