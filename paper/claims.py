"""Verdicts on the papers' claims; each follows by a rule from the measured figures alone."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from paper.comparison_tables import percent_accuracies
from paper.eigenvalue_spread import PLACES
from paper.pair_systems import NETWORKS, TRANSFORMERS, TWINS
from paper.published import (
    CLAIMED_SAVINGS,
    CLUSTER,
    PUBLISHED_ROWS,
    ROWS,
    TRANSFORMER_ACCURACY,
    published,
)
from paper.statistics import Accuracy, Answers, Lead, compare, compare_seeds, stack_answers, unpack_answers
from paper.studies import (
    ablations,
    depth,
    pair_tables,
    phase,
    probe_tables,
    word_order_networks,
    word_order_tables,
)
from paper.studies.batch_comparisons import judged_questions
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
from paper.verdicts import (
    FAILS,
    HOLDS,
    MARGIN,
    MIN_SEEDS,
    OPEN,
    RATIO,
    SAME,
    judge_above,
    judge_all,
    judge_lead,
    judge_no_loss,
)

OPERATIONS = ("interference", "modulation")
WAVES = ("wave-interference", "wave-modulation")
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
    return [claim for part in ("accuracy", *OF_STUDIES) for claim in judge_part(document, part)]


def judge_part(document: Document, part: str) -> list[Claim]:
    """Judge the claims on accuracy (and those that follow from the papers alone), or those of a study."""
    if part == "accuracy":
        return [claim for check in CHECKS for claim in check(document)]
    return [claim for study in document["studies"].get(part, []) for claim in OF_STUDIES[part](study)]


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


def _answers(measured: Document, key: str) -> Answers | None:
    """Answers of a system to the test texts of a data set, ``(S, N)``; None if they were not measured."""
    runs = list(measured["systems"].get(key, {}).get("runs", {}).values())
    if not runs or any("right" not in run for run in runs):
        return None
    return stack_answers(runs, measured["systems"][key]["rows"]["test"])


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
            answers, verdict = _answers(measured, f"wave-{operation}"), OPEN
            if answers is None:
                evidence = f"{mean:.2f} %, {mean - best:+.2f} points, without answers to single texts"
            else:
                n_comparisons = len(OPERATIONS) * len(document["datasets"])
                accuracy = compare(answers, np.zeros_like(answers), n_comparisons=n_comparisons)
                reached = accuracy.shifted(-best)
                evidence = f"{mean:.2f} %, {reached} beside the published figure"
                verdict = judge_above(reached, -MARGIN)
                verdict = OPEN if verdict == FAILS and not complete else verdict
            for ending, how in (
                ("literal", "what the papers state and nothing else"),
                ("unregularised", "no regularisation"),
            ):
                other = _accuracy_of(document, dataset, f"wave-{operation}-{ending}")
                evidence += "" if other is None else f"; {other:.2f} % with {how}"
            if not complete:
                evidence += f"; with {n_rows:,} of {PUBLISHED_ROWS[dataset]:,} training rows"
            yield Claim(
                f"Wave, {operation}, reaches {best:.2f} % on {dataset}",
                verdict,
                evidence,
                f"the interval over seeds and texts lies above the published figure less {MARGIN} points; a "
                "lower figure on fewer rows than theirs refutes nothing",
            )


STARTS = {
    "transformer-pretrained": "MiniLM's embeddings",
    "transformer-random": "random embeddings",
}
"""What the Transformers start from; the papers' start from BERT's embeddings, which are not to be had."""


def _judge_transformer_gap(document: Document) -> Iterator[Claim]:
    measured = document["datasets"].get("ag_news", {"systems": {}})
    wave = _answers(measured, "wave-modulation")
    rivals = {key: _answers(measured, key) for key in STARTS}
    leads = {
        key: compare(wave, rival, n_comparisons=len(STARTS))
        for key, rival in rivals.items()
        if wave is not None and rival is not None and wave.shape == rival.shape
    }
    claimed = max(row.accuracy for row in published("wave-modulation", "ag_news")) - TRANSFORMER_ACCURACY
    for key, lead in leads.items():
        start = STARTS[key]
        yield Claim(
            f"Wave is ahead of a Transformer of one layer with {start} on ag_news",
            judge_lead(lead),
            f"modulation {lead}, both as regularised here",
            f"by more than {MARGIN} points",
        )
        yield Claim(
            f"Wave beats a Transformer of one layer with {start} by {claimed:.1f} points on ag_news",
            judge_above(lead, claimed / 2),
            f"modulation {lead}",
            "the interval lies above half of the published gap; theirs has BERT's embeddings, which are "
            "not to be had",
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
        baseline = measured["everyday"].get("tfidf", {}).get("right")
        answers = {key: _answers(measured, f"wave-{key}") for key in OPERATIONS}
        known = {key: each for key, each in answers.items() if each is not None}
        if baseline is None or not known:
            continue
        n_texts = measured["rows"]["test"]
        of_baseline = unpack_answers(baseline, n_texts)
        leads = {
            key: compare(each, np.broadcast_to(of_baseline, each.shape), n_comparisons=len(known))
            for key, each in known.items()
        }
        best = max(leads, key=lambda key: leads[key].mean)
        yield Claim(
            f"Wave is ahead of a TF-IDF baseline on {dataset} (the papers do not compare)",
            judge_lead(leads[best]),
            f"{_leads(leads)} over TF-IDF with a linear classifier, {100 * of_baseline.mean():.2f} %, "
            "trained on the same rows",
            f"the better operation is ahead by more than {MARGIN} points",
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
    areas = {
        key: [100 * float(np.mean(run)) for run in system["runs"]] for key, system in study["fast"].items()
    }
    starts = {"transformer-pretrained": "pretrained", "transformer-random": "random"}
    rivals = {key: start for key, start in starts.items() if key in areas}
    n_comparisons = len(_waves(areas)) * len(rivals)
    for rival, start in rivals.items():
        leads = {
            key: _compare_seeds(each, areas[rival], n_comparisons) for key, each in _waves(areas).items()
        }
        yield Claim(
            f"Wave converges faster than the Transformer with {start} embeddings in the first "
            f"{study['steps'][-1]} steps",
            judge_all([judge_lead(lead) for lead in leads.values()]),
            f"mean test accuracy over these steps: {_list(_means(areas), '.1f', ' %')}; "
            + ", ".join(
                f"{key} {lead.mean:+.2f} points ({lead.low:+.2f} to {lead.high:+.2f})"
                for key, lead in leads.items()
            ),
            f"both operations are ahead by more than {MARGIN} points, paired over seeds; no difference if "
            f"within {MARGIN} on both sides; cannot be told with fewer than {MIN_SEEDS} seeds",
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
        key: [run["norms"]["cls"][-1] / run["norms"]["input"][-1] for run in system["runs"]]
        for key, system in study["systems"].items()
    }
    waves = _waves(ratios)
    rivals = [key for key in ratios if key not in waves]
    logarithms = {key: [float(np.log(value)) for value in each] for key, each in ratios.items()}
    n_comparisons = len(waves) * len(rivals)
    for rival in rivals if waves else []:
        leads = {key: _compare_seeds(logarithms[key], logarithms[rival], n_comparisons) for key in waves}
        yield Claim(
            f"[CLS] receives a larger part of the input's gradient in Wave than in {rival} (our question)",
            judge_all([judge_lead(lead, np.log(RATIO)) for lead in leads.values()]),
            "gradient norm at [CLS] over that at the whole input, last step: "
            f"{_list(_means(ratios), '.2f')}; "
            + ", ".join(
                f"{key} {np.exp(lead.mean):.2f} times ({np.exp(lead.low):.2f} to {np.exp(lead.high):.2f})"
                for key, lead in leads.items()
            ),
            f"more than {RATIO:g} times that of the rival for both operations, paired over seeds; no "
            f"difference if within {RATIO:g} times on both sides; cannot be told with fewer than {MIN_SEEDS} "
            "seeds",
        )


def _compare_seeds(first: Sequence[float], second: Sequence[float], n_comparisons: int) -> Lead:
    """Compare the first seeds, as many as both systems have."""
    n_seeds = min(len(first), len(second))
    return compare_seeds(first[:n_seeds], second[:n_seeds], n_comparisons=n_comparisons)


def _means(values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {key: float(np.mean(each)) for key, each in values.items()}


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
            judge_all(judged.values()),
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
    """Whether waves are better than real numbers, paired over seeds and test texts."""
    leads = ablations.leads_of(study, {"averages": "real-means", "magnitudes alone": "magnitudes-alone"})
    if leads:
        yield Claim(
            "Complex waves are better than real numbers with as many parameters (open question)",
            _verdict_of_all(leads.values()),
            f"lead over real twins, {len(study['seeds'])} seeds: {_leads(leads)}",
            f"the lead is above {MARGIN} points in every comparison; {RULE_OF_ALL}",
        )


RULE_OF_ALL = (
    "no difference if all intervals lie within this margin; does not hold if one lies below it; cannot be "
    f"told with fewer than {MIN_SEEDS} seeds"
)


def _verdict_of_all(leads: Iterable[Lead]) -> str:
    return judge_all(map(judge_lead, leads))


def _leads(leads: Mapping[str, Lead]) -> str:
    return ", ".join(f"{name} {lead}" for name, lead in leads.items())


def _judge_phase(study: Document) -> Iterator[Claim]:
    """What phase and magnitude bring over all data sets."""
    compared = [each for each in phase.compare_networks(study) if each.width != phase.WIDE]
    own = [readout for readout in phase.READOUTS if readout not in phase.REDUNDANT]
    groups: list[tuple[str, Sequence[str], str]] = [
        ("phase", phase.REDUNDANT, "at [CLS], where it is a function of the magnitude"),
        *(
            ("phase", (readout,), f"where it is a number of its own: {phase.TITLES[readout]}")
            for readout in own
        ),
        ("magnitude", phase.REDUNDANT, "at [CLS]"),
        ("magnitude", own, "where all tokens or two layers count"),
    ]
    for removed, readouts, where in groups:
        leads = {
            f"{phase.TITLES[each.readout]}, {each.operation}": each.over_sets
            for each in compared
            if each.removed == removed and each.readout in readouts
        }
        if leads:
            yield Claim(
                f"The {removed} brings accuracy {where} (open question)",
                _verdict_of_all(leads.values()),
                f"lead over the network without {removed}, mean over {', '.join(study['rows'])}, "
                f"{len(study['seeds'])} seeds: {_leads(leads)}",
                f"the lead is above {MARGIN} points in every comparison; {RULE_OF_ALL}",
            )


def _judge_probes(study: Document) -> Iterator[Claim]:
    """Whether the papers' networks with positions see relations, and over how many tokens."""
    rule = (
        "the interval of a network of the papers', with positions, over seeds and texts lies above "
        f"{probe_tables.SOLVES:g} %; it does not hold if those of all of them lie below; the context branch "
        "does not count. A failure says that they did not learn it on the study's budget"
    )

    def claim(question: str, task: str, verdict: str, best: Accuracy) -> Claim:
        others = {
            system["key"]: float(np.mean(values))
            for system in study["systems"]
            if (values := probe_tables.accuracies(study, task, system["key"]))
        }
        evidence = f"the best of them {best}; all networks: {_list(others, '.1f', ' %')}"
        return Claim(f"With positions, {question} (open question)", verdict, evidence, rule)

    plain = probe_tables.judge_waves(study, probe_tables.plain_tasks(study))
    for task, question in (
        ("order", "a Wave network can tell whether A comes before B"),
        ("negation", "a Wave network can tell what a negation negates"),
    ):
        if task in plain:
            yield claim(question, task, *plain[task])
    for family, question in (
        ("distance", "a token at the start can decide over {:,} tokens in a Wave network"),
        ("long-range", "a Wave network can relate tokens far apart in {:,} tokens"),
    ):
        tasks = probe_tables.growing_tasks(study, family)
        judged = probe_tables.judge_waves(study, tasks)
        tasks = [task for task in tasks if task["key"] in judged]
        first = next((i for i, task in enumerate(tasks) if judged[task["key"]][0] != HOLDS), len(tasks))
        for shown in tasks[max(0, first - 1) : first + 1]:  # the longest that holds, and the next
            (verdict, best), limit = judged[shown["key"]], "; weights set by hand can do it at every length"
            made = claim(question.format(shown["length"]), shown["key"], verdict, best)
            yield made._replace(rule=made.rule + limit)


def _judge_depth(study: Document) -> Iterator[Claim]:
    compared = depth.differences(study)
    for operation in OPERATIONS:
        shapes = [shape for shape in map(depth.shape_of, study["networks"]) if shape.key in compared]
        normed = operation, depth.NORMED, depth.DROPOUT
        several = [s for s in shapes if (s.operation, s.layer_norm, s.dropout) == normed]
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


def _judge_word_order(study: Document) -> Iterator[Claim]:
    """Whether positions help where word order matters, cost elsewhere, and cost with large embeddings."""
    paired = "paired over seeds and test texts; the interval counts all networks of the table"
    negated = word_order_tables.find_texts(study, "sst2", "negated")
    for operation in OPERATIONS:
        if negated is None:
            break
        scale = word_order_tables.best_scale(negated.corpus, operation)
        gain = word_order_tables.gains_by_order(negated).get(f"{operation}-{scale or 0:g}-sinusoidal")
        if gain is not None:
            yield Claim(
                f"Positions help where word order matters: negated sentences of sst2, {operation} "
                "(open question)",
                judge_lead(gain),
                f"{gain}, {gain.n_texts} texts; initial embeddings of {scale:g}, by validation rows",
                f"a gain of more than {MARGIN} points, {paired}",
            )
    topics = word_order_tables.find_texts(study, "ag_news")
    gains = word_order_tables.gains_by_order(topics) if topics else {}
    for operation in OPERATIONS:
        small = gains.get(f"{operation}-{word_order_networks.SCALES[0]:g}-sinusoidal")
        if small is None:
            continue
        cost = word_order_tables.reverse(small)
        verdict = judge_lead(cost)
        yield Claim(
            f"Positions cost accuracy on ag_news, {operation} (our question)",
            verdict,
            f"lead of the network without positions {cost}",
            f"more than {MARGIN} points with the papers' embeddings, {paired}",
        )
        for key, words in (
            (f"{word_order_networks.SCALES[-1]:g}", "start"),
            (word_order_networks.MULTIPLIED, "are multiplied to be"),
        ):
            large = gains.get(f"{operation}-{key}-sinusoidal")
            if large is not None:
                yield Claim(
                    f"The cost vanishes when embeddings {words} as large as the positions, {operation}",
                    judge_no_loss(large) if verdict == HOLDS else OPEN,
                    f"lead of the network with positions {large}",
                    f"no loss of more than {MARGIN} points to the same embeddings without positions; cannot "
                    f"be told if there is no cost above; {paired}",
                )


def _judge_pairs(study: Document) -> Iterator[Claim]:
    compared = pair_tables.differences(study)
    rivals = {
        "real numbers with as many parameters": TWINS,
        "a one-layer Transformer from the same start": TRANSFORMERS,
    }
    for (rival, keys), operation in itertools.product(rivals.items(), OPERATIONS):
        leads = {key: lead for key in keys if (lead := compared.get((f"wave-{operation}", key)))}
        if len(leads) < len(keys):
            continue
        over = ", ".join(f"{NETWORKS[key]} {lead}" for key, lead in leads.items())
        yield Claim(
            f"Waves carry fine-grained meaning better than {rival}, {operation} (open question)",
            _verdict_of_all(leads.values()),
            f"lead over {over}; mean over {', '.join(task['key'] for task in study['tasks'])}",
            f"the lead is above {MARGIN} points in every comparison; {RULE_OF_ALL}",
        )


def _judge_batch_and_length(study: Document) -> Iterator[Claim]:
    for part in ("batch", "length"):
        for question in judged_questions(study, part):
            yield Claim(
                f"{question.text} ({study[part]['data']}; open question)",
                question.verdict,
                "; ".join(f"{system}: {each}" for system, each in question.differences.items()),
                f"{question.rule}; in {' and '.join(question.differences)}; cannot be told with fewer than "
                f"{MIN_SEEDS} seeds",
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
    "batch_and_length": _judge_batch_and_length,
    "gradients": _judge_gradients,
    "independence": _judge_independence,
    "complexity": _judge_complexity,
    "resources": _judge_memory,
    "ablations": _judge_ablations,
    "depth": _judge_depth,
    "phase": _judge_phase,
    "pairs": _judge_pairs,
    "probes": _judge_probes,
    "word_order": _judge_word_order,
}
"""Each judges the claims for which a report, or a document of a study, holds figures."""
