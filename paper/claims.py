"""Verdicts on the papers' claims; each follows by a rule from the measured figures alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from paper.comparison_tables import percent_accuracies
from paper.eigenvalue_spread import PLACES
from paper.published import (
    CLAIMED_SAVINGS,
    CLUSTER,
    PUBLISHED_ROWS,
    ROWS,
    TRANSFORMER_ACCURACY,
    published,
)
from paper.statistics import FAILS, HOLDS, MARGIN, MIN_SEEDS, OPEN, SAME, Lead, judge_lead, judge_no_loss
from paper.studies import depth
from paper.studies.flops import overtaking_length
from paper.studies.independence_results import (
    ALL_SETS,
    LEAST_RISE,
    Orders,
    judge_penalty,
    order_transformer,
    penalty_leads,
    rank_rises,
    run_means,
)
from paper.study import Document, Table

OPERATIONS = ("interference", "modulation")
WAVES = ("wave-interference", "wave-modulation")
TOLERANCE = 1.0  # points of accuracy
SPLITS = ("train", "validation", "test")

V = TypeVar("V")


class Claim(NamedTuple):
    """A claim of the papers in short, its verdict, the measured figures, and how the verdict follows."""

    claim: str
    verdict: str
    evidence: str
    rule: str


def judge_claims(document: Document) -> list[Claim]:
    """Judge every claim for which the report holds figures."""
    claims = [claim for check in CHECKS for claim in check(document)]
    for name, check in OF_STUDIES.items():
        for study in document["studies"].get(name, []):
            claims += check(study)
    return claims


def claims_table(document: Document) -> Table:
    """Every claim with verdict, evidence and rule."""
    rows = [list(claim) for claim in judge_claims(document)]
    caption = "Claims of the papers, and questions that they leave open."
    return Table(caption, ["claim", "verdict", "evidence", "rule of the verdict"], rows, n_names=4)


def summarise_claims(document: Document) -> str:
    """How many claims hold, in one sentence."""
    counts = Counter(claim.verdict for claim in judge_claims(document))
    return (
        f"Of {counts.total()} claims and open questions, {counts[HOLDS]} hold, {counts[FAILS]} do not, "
        f"{counts[SAME]} show no difference, and {counts[OPEN]} cannot be told."
    )


def _verdict(holds: bool, fails: bool = True) -> str:
    return HOLDS if holds else FAILS if fails else OPEN


def _list(values: Mapping[str, float], form: str, unit: str = "") -> str:
    return ", ".join(f"{key} {value:{form}}{unit}" for key, value in values.items())


def _accuracy_of(document: Document, dataset: str, key: str) -> float | None:
    """Mean test accuracy of a system in per cent; None if it was not measured."""
    system = document["datasets"].get(dataset, {}).get("systems", {}).get(key, {})
    values = percent_accuracies(system)
    return sum(values) / len(values) if values else None


def _waves(values: Mapping[str, V]) -> dict[str, V]:
    return {key: value for key, value in values.items() if key.startswith("wave")}


def _transformers(values: Mapping[str, V]) -> dict[str, V]:
    """The Transformer with pretrained embeddings, as in the papers; without it, any Transformer."""
    transformers = {key: value for key, value in values.items() if key.startswith("transformer")}
    return {k: v for k, v in transformers.items() if k == "transformer-pretrained"} or transformers


def _judge_accuracy(document: Document) -> Iterator[Claim]:
    for dataset, measured in document["datasets"].items():
        for operation in OPERATIONS:
            rows = published(f"wave-{operation}", dataset)
            mean = _accuracy_of(document, dataset, f"wave-{operation}")
            if not rows or mean is None:
                continue
            best = max(row.accuracy for row in rows)
            n_rows = measured["rows"]["train"] + measured["rows"]["validation"]
            complete = n_rows >= PUBLISHED_ROWS[dataset]
            evidence = f"{mean:.2f} %, {mean - best:+.2f} points"
            bare = _accuracy_of(document, dataset, f"wave-{operation}-bare")
            if bare is not None:
                evidence += f"; {bare:.2f} % with only what the papers state"
            if not complete:
                evidence += f"; with {n_rows:,} of {PUBLISHED_ROWS[dataset]:,} training rows"
            yield Claim(
                f"Wave, {operation}, reaches {best:.2f} % on {dataset}",
                _verdict(mean >= best - TOLERANCE, complete),
                evidence,
                f"at most {TOLERANCE:g} point below; a lower figure on fewer rows than theirs refutes "
                "nothing",
            )


def _judge_transformer_gap(document: Document) -> Iterator[Claim]:
    wave = _accuracy_of(document, "ag_news", "wave-modulation")
    keys = {"pretrained": "MiniLM's embeddings", "random": "random embeddings, an equal start,"}
    rivals = {keys[key]: _accuracy_of(document, "ag_news", f"transformer-{key}") for key in keys}
    leads = {key: wave - value for key, value in rivals.items() if wave is not None and value is not None}
    if not leads:
        return
    claimed = max(row.accuracy for row in published("wave-modulation", "ag_news")) - TRANSFORMER_ACCURACY
    decisive = next(iter(leads))
    evidence = ", ".join(f"{gap:+.2f} points against {key.rstrip(',')}" for key, gap in leads.items())
    yield Claim(
        f"Wave beats a Transformer of one layer by {claimed:.1f} points on ag_news",
        _verdict(leads[decisive] > claimed / 2),
        f"modulation {evidence}",
        f"the gap to {decisive.rstrip(',')} is at least half of the published one (BERT's are not to be had)",
    )


def _judge_transformer_accuracy(document: Document) -> Iterator[Claim]:
    accuracies = [
        (split, 100 * entry[f"{split}_accuracy"], f"{split} accuracy of {key}, epoch {entry['epoch']}")
        for key, system in document["datasets"].get("ag_news", {}).get("systems", {}).items()
        if key.startswith("transformer")
        for run in system.get("runs", {}).values()
        for entry in run["history"]
        for split in SPLITS
    ]
    if not accuracies:
        return
    _, nearest, where = min(accuracies, key=lambda row: abs(row[1] - TRANSFORMER_ACCURACY))
    tested = [value for split, value, _ in accuracies if split == "test"]
    yield Claim(
        f"A Transformer of one layer reaches {TRANSFORMER_ACCURACY} % on test texts of ag_news",
        _verdict(any(abs(value - TRANSFORMER_ACCURACY) <= 3 for value in tested)),
        f"lowest test accuracy after any epoch {min(tested):.2f} %; the nearest of all accuracies is "
        f"{nearest:.2f} %, {where}",
        "some test accuracy, after any epoch, lies within 3 points",
    )


def _judge_encoder(document: Document) -> Iterator[Claim]:
    for dataset in document["datasets"]:
        mean, rows = _accuracy_of(document, dataset, "encoder"), published("encoder", dataset)
        if mean is not None and rows:
            yield Claim(
                f"BERT base reaches {rows[0].accuracy:.2f} % on {dataset}",
                OPEN,
                f"MiniLM, a fifth of its size, fine-tuned: {mean:.2f} %",
                "the weights of BERT base are not available here",
            )


def _judge_baseline(document: Document) -> Iterator[Claim]:
    for dataset, measured in document["datasets"].items():
        baseline = measured["everyday"].get("tfidf", {}).get("test_accuracy")
        means = [_accuracy_of(document, dataset, f"wave-{operation}") for operation in OPERATIONS]
        best = max((mean for mean in means if mean is not None), default=None)
        if baseline is None or best is None:
            continue
        lead, margin = best - 100 * baseline, TOLERANCE / 2
        yield Claim(
            f"Wave is ahead of a TF-IDF baseline on {dataset} (the papers do not compare)",
            _verdict(lead > margin, lead < -margin),
            f"better operation {best:.2f} %, trained on four fifths of the rows; TF-IDF with a linear "
            f"classifier {100 * baseline:.2f} %, trained on all of them",
            f"ahead or behind by more than {margin:g} point",
        )


def _judge_parameters(document: Document) -> Iterator[Claim]:
    for dataset in document["datasets"].values():
        for run in list(dataset["systems"].get("wave-modulation", {}).get("runs", {}).values())[:1]:
            total, rest = run["parameters"], run["parameters_without_embedding"]
            yield Claim(
                "The Wave network has 2.4 million parameters",
                _verdict(round(rest / 1e6, 1) == 2.4),
                f"{rest:,} without the embedding, {total:,} with it",
                "the count without the embedding table rounds to 2.4 million",
            )
            return


def _judge_savings(document: Document) -> Iterator[Claim]:
    del document
    rows = {row.key: row for row in ROWS if (row.dataset, row.source) == ("ag_news", "Table 2")}
    for name, unit in (("memory", "gigabytes"), ("time", "seconds")):
        keys = ("encoder", "wave-interference", "wave-modulation")
        bert, *waves = (getattr(rows[key], unit) for key in keys)
        savings = [100 * (1 - wave / bert) for wave in waves]
        claimed = CLAIMED_SAVINGS[name]
        yield Claim(
            f"Wave saves {claimed} % of BERT base's {name} (abstract)",
            _verdict(min(abs(value - claimed) for value in savings) < 0.05),
            f"the paper's own Table 2 gives {min(savings):.2f} to {max(savings):.2f} % on AG News",
            "follows from the papers' own table to a tenth of a point",
        )


def _judge_convergence(study: Document) -> Iterator[Claim]:
    means = {key: 100 * float(np.mean(system["runs"])) for key, system in study["fast"].items()}
    rivals = _transformers(means)
    yield Claim(
        f"Wave converges faster than the Transformer in the first {study['steps'][-1]} steps",
        _verdict(min(_waves(means).values()) > max(rivals.values())),
        f"mean test accuracy over these steps: {_list(means, '.1f', ' %')}",
        f"both operations have a higher mean test accuracy over the steps than {', '.join(rivals)}",
    )
    evidence, overfits = [], []
    for key, system in study["long"].items():
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
        _verdict(all(overfits)),
        "; ".join(evidence),
        "validation loss ends above 1.5 times its minimum, with training accuracy above 98 %",
    )


def _judge_gradients(study: Document) -> Iterator[Claim]:
    ratios = {
        key: float(np.mean([run["norms"]["cls"][-1] / run["norms"]["input"][-1] for run in system["runs"]]))
        for key, system in study["systems"].items()
    }
    waves = _waves(ratios)
    rivals = [value for key, value in ratios.items() if key not in waves]
    if waves and rivals:
        yield Claim(
            "[CLS] receives a larger part of the input's gradient in Wave than in its rivals (our question)",
            _verdict(min(waves.values()) > max(rivals)),
            f"gradient norm at [CLS] over that at the whole input, last step: {_list(ratios, '.2f')}",
            "the ratio is larger for both operations than for every rival",
        )


def _judge_independence(study: Document) -> Iterator[Claim]:
    starts = {
        "transformer-random": "both start from random embeddings of the same width",
        "transformer-pretrained": "it starts from MiniLM's embeddings, of another width",
    }
    for rival, start in starts.items():
        if (orders := order_transformer(study, rival)) is None:
            continue
        evidence = "; ".join(f"{title}, {orders.describe(place)}" for place, title in PLACES.items())
        yield Claim(
            f"The Transformer's dimensions are more independent than the Wave network's, if {start}",
            {1: HOLDS, -1: FAILS, 0: OPEN}[orders.verdict_sign],
            f"after {orders.step:,} steps, {orders.n_seeds} seeds; {evidence}; "
            + _ranks(study, rival, orders),
            "by every measure, on every data set, before and after the norm, every seed of the Transformer "
            "is more independent than every seed of both operations; does not hold if all are less so; "
            f"else, and with fewer than {MIN_SEEDS} seeds, it cannot be told",
        )
    waves = [
        course
        for course in study["courses"]
        if course["data"] == study["data"] and course["system"].startswith("wave")
    ]
    ratios = {"largest_share": "largest over sum", "smallest_over_largest": "smallest over largest"}
    for name, title in ratios.items() if waves else ():
        values = {
            place: {
                course["system"].removeprefix("wave-"): float(
                    np.mean(run_means(course, place, name, course["steps"][-1]))
                )
                for course in waves
            }
            for place in PLACES
        }
        yield Claim(
            f"The Wave network's eigenvalue ratio clusters near {CLUSTER}, if the ratio is {title}",
            _verdict(all(abs(value - CLUSTER) <= 0.05 for value in values["after"].values())),
            f"{study['data']}, width {study['width']}, after {waves[0]['steps'][-1]:,} steps; "
            + "; ".join(f"{PLACES[place]}: {_list(each, '.2g')}" for place, each in values.items()),
            "the mean over batches lies within 0.05 for both operations, after the norm",
        )
    yield from _judge_penalty(study)


def _ranks(study: Document, rival: str, orders: Orders) -> str:
    """Effective ranks after the norm on the first data set, the lowest to the highest seed."""
    ranks = {
        course["system"]: run_means(course, "after", "effective_rank", orders.step)
        for course in study["courses"]
        if course["data"] == study["data"] and (course["system"] == rival or course["system"] in WAVES)
    }
    return f"effective rank after the norm, {study['data']}: {_seeds(ranks)}"


def _judge_penalty(study: Document) -> Iterator[Claim]:
    leads, rises = penalty_leads(study), rank_rises(study)
    for operation in OPERATIONS:
        own = {key: lead for key, lead in leads.items() if key[1] == operation}
        over = ALL_SETS if len(study["sets"]) > 1 else study["data"]
        judged = {key: judge_penalty(lead, rises[key]) for key, lead in own.items() if key[0] == over}
        if not judged:
            continue
        verdicts = [*judged.values()]
        each = [
            f"weight {key[2]:g}, {key[0]}: rank {100 * rises[key]:+.0f} %, accuracy {own[key]}"
            for key in judged
        ]
        of_sets: dict[str, list[str]] = {}
        for key in own.keys() - judged.keys() if len(study["sets"]) > 1 else ():
            of_sets.setdefault(judge_penalty(own[key], rises[key]), []).append(f"{key[0]} at {key[2]:g}")
        by_set = "; ".join(
            f"{verdict} on {', '.join(sorted(of_sets[verdict]))}" for verdict in sorted(of_sets)
        )
        yield Claim(
            f"Training for more independent dimensions brings accuracy, {operation} (open question)",
            verdicts[0] if len(set(verdicts)) == 1 else _mixed(verdicts),
            "; ".join(each) + (f" (by itself: {by_set})" if by_set else ""),
            f"with every weight of a penalty on correlations, accuracy rises by more than {MARGIN} points, "
            "as the mean over the data sets; no difference if all intervals lie within this margin; does "
            "not hold if that of a weight lies below it; cannot be told where the effective rank does not "
            f"rise by {100 * LEAST_RISE:.0f} % in every seed on every set, or with fewer than {MIN_SEEDS} "
            "seeds",
        )


def _seeds(values: Mapping[str, Sequence[float]]) -> str:
    return ", ".join(f"{key} {min(each):.3g} to {max(each):.3g}" for key, each in values.items())


def _judge_complexity(study: Document) -> Iterator[Claim]:
    for name, regime in (("length", "wide"), ("length-narrow", "narrow")):
        sweep = study["sweeps"].get(name, {"curves": {}})
        fits = {key: curve["step"]["fit"] for key, curve in sweep["curves"].items()}
        wave, transformer = fits.get("wave-all"), fits.get("transformer-all")
        if wave is None or transformer is None:
            continue
        counted = sweep["curves"]["transformer-all"]["flops_fit"]["exponent"]
        exponents = {key: fit["exponent"] for key, fit in fits.items() if fit is not None}
        width = sweep["rest"]["width"]
        crossing = overtaking_length(width, 4 * width)
        verdict = _verdict(wave["exponent"] < 1.3 and transformer["exponent"] > 1.5)
        yield Claim(
            f"With the length of the text, Wave costs n and the Transformer n² ({regime} networks)",
            verdict if wave["from"] >= crossing else OPEN,
            f"width {sweep['rest']['width']}, {wave['from']} to {wave['to']} tokens, exponents of the time "
            f"of a step: {_list(exponents, '.2f')}; exponent of the Transformer's operations {counted:.2f}; "
            f"its n² d overtakes the rest of its operations at {crossing:,} tokens",
            "with the states of all tokens computed, below 1.3 and above 1.5; cannot be told from texts "
            "shorter than those where n² d overtakes",
        )
    counts = next(row for row in study["flops"] if (row["length"], row["width"]) == (45, 768))
    networks = counts["networks"]
    claimed = counts["papers_transformer"] / counts["papers_wave"]
    ratio = networks["transformer-all"] / networks["wave-all"]
    yield Claim(
        "O(n d²) against O(n² d) explains what Wave saves on the papers' texts",
        _verdict(abs(np.log(ratio / claimed)) < np.log(2)),
        f"45 tokens of width 768: n² d over n d² is {claimed:.2f}, the operations of one layer are "
        f"{ratio:.2f} to one; n² d overtakes only at {counts['overtaking']:,.0f} tokens. With only [CLS] "
        f"read out, Wave needs {networks['wave-cls'] / 1e6:,.1f} and the Transformer "
        f"{networks['transformer-cls'] / 1e6:,.1f} million operations a text",
        "the ratio of operations is within a factor of two of that of the formulas",
    )


def _judge_memory(study: Document) -> Iterator[Claim]:
    systems = {system["key"]: system for system in study["systems"] if system["added"] is not None}
    wave, bert = systems.get("wave-modulation"), systems.get("bert-base")
    sizes = [row.gigabytes for row in published("wave-modulation", study["data"]) if row.gigabytes]
    if wave is None or not sizes:
        return
    gigabytes = {
        "measured peak": wave["added"] / 1e9,
        "steady state": wave["steady_state"] / 1e9,
        "parameters x 12 bytes": wave["papers_figure"] / 1e9,
    }
    is_video = study["device"] == "cuda"
    nearest = min(gigabytes, key=lambda name: abs(gigabytes[name] - sizes[0]))
    yield Claim(
        f"Training a Wave network takes {sizes[0]} GB ({study['data']})",
        _verdict(nearest == "measured peak") if is_video else OPEN,
        f"{_list(gigabytes, '.2f', ' GB')}{'' if is_video else '; resident memory of a processor'}",
        "of these the measured peak is nearest to the published figure; theirs is video memory, so a "
        "processor's cannot tell",
    )
    if bert is not None:
        memory, time = (100 * (1 - wave[key] / bert[key]) for key in ("added", "epoch_seconds"))
        yield Claim(
            f"Wave saves three quarters of BERT base's memory and five sixths of its time ({study['data']})",
            _verdict(memory >= 75 and time >= 83) if is_video else OPEN,
            f"{memory:.1f} % of the added memory and {time:.1f} % of the time of an epoch, in float32, on "
            f"{'a graphics card' if is_video else 'a processor, whose memory is not theirs'}",
            "at least 75 % and 83 %; theirs is video memory, so a processor's cannot tell",
        )


def _judge_ablations(study: Document) -> Iterator[Claim]:
    """Whether taking waves, phase or magnitude away costs accuracy, by confidence intervals."""
    variants = {variant["key"]: variant["difference"] for variant in study["variants"]}
    n_seeds = len(study["seeds"])

    def claim(text: str, keys: Mapping[str, str], removed: str) -> Iterator[Claim]:
        """Compare the lead of the whole network over each one without the part, in points."""
        leads: dict[str, Lead] = {}
        for name, key in keys.items():
            if change := variants.get(key):
                mean, half = (
                    -100 * change["mean"],
                    100 * (np.inf if change["half_width"] is None else change["half_width"]),
                )
                leads[name] = Lead(mean, mean - half, mean + half, np.nan, n_seeds, 0)
        if not leads:
            return
        verdicts = [judge_lead(lead) for lead in leads.values()]
        points = ", ".join(
            f"{name} {lead.mean:+.2f}{_half_width(lead)} points" for name, lead in leads.items()
        )
        yield Claim(
            f"{text} (open question)",
            verdicts[0] if len(set(verdicts)) == 1 else _mixed(verdicts),
            f"lead over {removed}, {n_seeds} seeds: {points}",
            f"the lead is above {MARGIN} points in every comparison; no difference if all intervals lie "
            "within this margin; does not hold if one lies below it; cannot be told with fewer than "
            f"{MIN_SEEDS} seeds",
        )

    twins = {"averages": "real-means", "magnitudes alone": "magnitudes-alone"}
    text = "Complex waves are better than real numbers with as many parameters"
    yield from claim(text, twins, "real twins")
    for name in ("phase", "magnitude"):
        keys = {operation: f"without-{name}-{operation}" for operation in OPERATIONS}
        yield from claim(f"The {name} carries what a text means", keys, f"the network without {name}")


def _half_width(lead: Lead) -> str:
    return "" if np.isinf(lead.high) else f" ± {lead.high - lead.mean:.2f}"


def _mixed(verdicts: Sequence[str]) -> str:
    """A claim about every comparison, whose verdicts differ: one that fails or shows none refutes it."""
    return FAILS if FAILS in verdicts or SAME in verdicts else OPEN


def _judge_probes(study: Document) -> Iterator[Claim]:
    blind = {system["key"] for system in study["systems"] if system["blind"]}
    questions = {
        "order": "With positions, a Wave network can tell whether A comes before B",
        "negation": "With positions, a Wave network can tell what a negation negates",
    }
    for family, question in (
        ("distance", "With positions, a token at the start can decide over {} tokens in a Wave network"),
        ("long-range", "With positions, a Wave network can relate tokens far apart in {} tokens"),
    ):
        tasks = [task for task in study["tasks"] if task["key"].startswith(f"{family}-")]
        if tasks:
            longest = max(tasks, key=lambda task: int(task["length"]))
            questions[longest["key"]] = question.format(longest["length"])
    for task, question in questions.items():
        means = {
            result["system"]: 100 * float(np.mean([run["test_accuracy"] for run in result["runs"]]))
            for result in study["results"]
            if result["task"] == task
        }
        waves = [value for key, value in _waves(means).items() if key != "wave-context" and key not in blind]
        if waves:
            yield Claim(
                f"{question} (open question)",
                _verdict(max(waves) >= 95),
                _list(means, ".1f", " %"),
                "a network of the papers', with positions, is right on at least 95 % of the texts; the "
                "context branch does not count, and without positions half are right",
            )


def _judge_depth(study: Document) -> Iterator[Claim]:
    compared = depth.differences(study)
    for operation in OPERATIONS:
        shapes = [shape for shape in map(depth.shape_of, study["networks"]) if shape.key in compared]
        several = [s for s in shapes if (s.operation, s.layer_norm) == (operation, depth.NORMED)]
        if not several:
            continue
        best = max(several, key=lambda shape: compared[shape.key].mean)
        yield Claim(
            f"Several layers are better than one, {operation} (eq. 8; the papers report no result)",
            judge_lead(compared[best.key]),
            f"the best of {len(several)} measured, {best.layers} layers of width {best.width}: "
            f"{compared[best.key]}",
            f"by more than {MARGIN} points, in the network with the largest gain; the interval counts all "
            "networks",
        )
        deep = [shape for shape in several if shape.layers == depth.COMPARED_DEPTH]
        if deep:
            worst = min(deep, key=lambda shape: compared[shape.key].mean)
            yield Claim(
                f"Four layers lose no more than a point to one, {operation}",
                judge_no_loss(compared[worst.key], depth.NO_LOSS),
                f"width {worst.width}: {compared[worst.key]}",
                f"the interval lies above -{depth.NO_LOSS:g} point, at the width with the largest loss",
            )


CHECKS = (
    _judge_accuracy,
    _judge_transformer_gap,
    _judge_transformer_accuracy,
    _judge_encoder,
    _judge_baseline,
    _judge_parameters,
    _judge_savings,
)
OF_STUDIES: dict[str, Callable[[Any], Iterator[Claim]]] = {
    "convergence": _judge_convergence,
    "gradients": _judge_gradients,
    "independence": _judge_independence,
    "complexity": _judge_complexity,
    "resources": _judge_memory,
    "ablations": _judge_ablations,
    "depth": _judge_depth,
    "probes": _judge_probes,
}
"""Each judges the claims for which a report, or a document of a study, holds figures."""
