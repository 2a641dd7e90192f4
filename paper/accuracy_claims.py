"""Verdicts of the accuracy tables, and those that follow from the papers alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from paper.claim import OPERATIONS, RULE_OF_ALL, Claim, describe_leads, verdict_of, verdict_of_leads
from paper.comparison_tables import percent_accuracies
from paper.published import CLAIMED_SAVINGS, PUBLISHED_ROWS, ROWS, TRANSFORMER_ACCURACY, published
from paper.statistics import Answers, compare, interval_of_accuracy, stack_answers, unpack_answers
from paper.study import Document
from paper.verdicts import FAILS, MARGIN, OPEN, judge_above, judge_all, judge_lead

SPLITS = ("train", "validation", "test")
STARTS = {
    "transformer-pretrained": "MiniLM's embeddings",
    "transformer-random": "random embeddings",
}
"""What the Transformers start from; the papers' start from BERT's embeddings, which are not to be had."""


def judge(document: Document) -> Iterator[Claim]:
    """What the papers' Tables 1 and 2 and their abstract state; some follows from the papers alone."""
    for check in CHECKS:
        yield from check(document)


def _accuracy_of(document: Document, dataset: str, key: str) -> float | None:
    """Mean test accuracy of a system in per cent; None if it was not measured."""
    system = document["datasets"].get(dataset, {}).get("systems", {}).get(key, {})
    values = percent_accuracies(system)
    return sum(values) / len(values) if values else None


def _answers(measured: Document, key: str) -> Answers | None:
    """Answers of a system to the test texts of a data set, ``(S, N)``; None if they were not measured."""
    runs = list(measured["systems"].get(key, {}).get("runs", {}).values())
    if not runs or any("right" not in run for run in runs):
        return None
    return stack_answers(runs, measured["systems"][key]["rows"]["test"])


WAYS = {
    "-literal": "with what the papers state and nothing else",
    "": "with preset paper's regularisation",
}
"""Of training the Wave network, by the ending of the system's key."""


def _judge_accuracy(document: Document) -> Iterator[Claim]:
    n_comparisons = len(OPERATIONS) * len(WAYS) * len(document["datasets"])
    for dataset, measured in document["datasets"].items():
        n_rows = measured["rows"]["train"] + measured["rows"]["validation"]
        for operation, (ending, how) in itertools.product(OPERATIONS, WAYS.items()):
            rows, key = published(f"wave-{operation}", dataset), f"wave-{operation}{ending}"
            mean = _accuracy_of(document, dataset, key)
            if not rows or mean is None:
                continue
            best, is_complete = max(row.accuracy for row in rows), n_rows >= PUBLISHED_ROWS[dataset]
            answers, verdict = _answers(measured, key), OPEN
            if answers is None:
                evidence = f"{mean:.2f} %, {mean - best:+.2f} points, without answers to single texts"
            else:
                accuracy = compare(answers, np.zeros_like(answers), n_comparisons=n_comparisons)
                reached = accuracy.shifted(-best)
                evidence = f"{mean:.2f} %, {reached} beside the published figure"
                verdict = judge_above(reached, -MARGIN)
                verdict = OPEN if verdict == FAILS and not is_complete else verdict
            if not is_complete:
                evidence += f"; with {n_rows:,} of {PUBLISHED_ROWS[dataset]:,} training rows"
            yield Claim(
                f"Wave, {operation}, reaches {best:.2f} % on {dataset}, {how}",
                verdict,
                evidence,
                f"the interval over seeds and texts lies above the published figure less {MARGIN} points; a "
                "lower figure on fewer rows than theirs refutes nothing",
            )


def _judge_transformer_gap(document: Document) -> Iterator[Claim]:
    measured = document["datasets"].get("ag_news", {"systems": {}})
    claimed = max(row.accuracy for row in published("wave-modulation", "ag_news")) - TRANSFORMER_ACCURACY
    for key, start in STARTS.items():
        leads = {}
        for ending, how in (("", "both with dropout"), ("-unregularised", "both without")):
            pair = [_answers(measured, f"{system}{ending}") for system in ("wave-modulation", key)]
            first, second = pair
            if first is not None and second is not None and first.shape == second.shape:
                leads[how] = compare(first, second, n_comparisons=2 * len(STARTS))
        if not leads:
            continue
        yield Claim(
            f"Wave, modulation, is ahead of a Transformer of one layer with {start} on ag_news",
            verdict_of_leads(leads.values()),
            describe_leads(leads),
            f"the lead is above {MARGIN} points in every comparison; {RULE_OF_ALL}. Each has the dropout of "
            "its own recipe; the start is named, since theirs has BERT's embeddings",
        )
        yield Claim(
            f"Wave, modulation, beats a Transformer of one layer with {start} by more than half of the "
            f"published {claimed:.1f} points on ag_news",
            judge_all(judge_above(lead, claimed / 2) for lead in leads.values()),
            describe_leads(leads),
            f"the interval lies above {claimed / 2:.1f} points in every comparison",
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
        f"A Transformer of one layer with BERT's embeddings reaches {TRANSFORMER_ACCURACY} % on ag_news",
        OPEN,
        f"of those with other embeddings, lowest test accuracy after any epoch {min(tested):.2f} %; the "
        f"nearest of all accuracies is {nearest:.2f} %, {where}",
        "BERT's embeddings are not to be had",
        out_of_reach=True,
    )
    measured = document["datasets"]["ag_news"]
    for key, start in STARTS.items():
        answers = _answers(measured, key)
        if answers is not None:
            accuracy = interval_of_accuracy(answers, n_intervals=len(STARTS))
            yield Claim(
                f"A Transformer of one layer with {start} is more accurate on ag_news than the published "
                f"{TRANSFORMER_ACCURACY} %",
                judge_above(accuracy, TRANSFORMER_ACCURACY + MARGIN),
                str(accuracy),
                f"the interval over seeds and texts lies above {TRANSFORMER_ACCURACY} % and {MARGIN} points",
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
                out_of_reach=True,
            )


def _judge_baseline(document: Document) -> Iterator[Claim]:
    for dataset, measured in document["datasets"].items():
        baseline = measured["everyday"].get("tfidf", {}).get("right")
        answers = {key: _answers(measured, f"wave-{key}") for key in OPERATIONS}
        known = {key: each for key, each in answers.items() if each is not None}
        if baseline is None or not known:
            continue
        n_texts, n_comparisons = measured["rows"]["test"], len(OPERATIONS) * len(document["datasets"])
        of_baseline = unpack_answers(baseline, n_texts)
        leads = {
            key: compare(each, np.broadcast_to(of_baseline, each.shape), n_comparisons=n_comparisons)
            for key, each in known.items()
        }
        best = max(leads, key=lambda key: leads[key].mean)
        yield Claim(
            f"Wave is ahead of a TF-IDF baseline on {dataset} (the papers do not compare)",
            judge_lead(leads[best]),
            f"{describe_leads(leads)} over TF-IDF with a linear classifier, "
            f"{100 * of_baseline.mean():.2f} %, trained on the same rows",
            f"the better operation is ahead by more than {MARGIN} points",
        )


def _judge_parameters(document: Document) -> Iterator[Claim]:
    for dataset in document["datasets"].values():
        for run in list(dataset["systems"].get("wave-modulation", {}).get("runs", {}).values())[:1]:
            total, rest = run["parameters"], run["parameters_without_embedding"]
            for which, number in (("with its embedding", total), ("besides its embedding", rest)):
                yield Claim(
                    f"The Wave network has 2.4 million parameters {which}",
                    verdict_of(round(number / 1e6, 1) == 2.4),
                    f"{number:,}",
                    "the count rounds to 2.4 million. The papers do not say whether theirs has the embedding",
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
            f"The saving of {claimed} % of BERT base's {name} (abstract) follows from Table 2",
            verdict_of(min(abs(value - claimed) for value in savings) < 0.05),
            f"the paper's own Table 2 gives {min(savings):.2f} to {max(savings):.2f} % on AG News",
            "the saving of an operation in the papers' own table rounds to it within 0.05 points",
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
