"""Tables of the study of independence."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from paper.eigenvalue_spread import BATCH, MEASURES, PLACES
from paper.studies.independence_results import (
    ALL_SETS,
    JUDGED,
    LEAST_RISE,
    RANK,
    correlate,
    judge_penalty,
    order_transformer,
    penalised_runs,
    penalty_leads,
    rank_rises,
    run_means,
)
from paper.study import Document, Table
from paper.verdicts import MARGIN
from token2wave.formatting import NOTHING, percent

SHOWN_STEPS = (0, 200, 1_000)  # and the last
MORE, LESS, OVERLAP = "more", "less", "overlap"


def tables(document: Document) -> list[Table]:
    """The course of training, the order of the systems, the effect of the penalty, and correlations."""
    made = [_course(document), _orders(document), _penalty(document), _correlations(document)]
    return [table for table in made if table.rows]


def _course(document: Document) -> Table:
    others = [name for name in MEASURES if name != RANK]
    rows = []
    for course, place in itertools.product(document["courses"], PLACES):
        last = course["steps"][-1]
        cells = [_mean_and_deviation(course, place, RANK, step) for step in SHOWN_STEPS]
        cells += [f"{last:,}", *(_mean_and_deviation(course, place, name, last) for name in (RANK, *others))]
        accuracy = float(np.mean([run["test_accuracy"] for run in course["runs"]]))
        rows.append([course["data"], course["title"], PLACES[place], *cells, percent(accuracy)])
    head = ["data", "system", "state", *(f"effective rank after {step:,} steps" for step in SHOWN_STEPS)]
    head += ["last step", *(f"{MEASURES[name]} there" for name in (RANK, *others)), "test accuracy"]
    return Table(
        "Spread of the [CLS] states of test texts over their directions as networks train: mean over "
        f"batches of {BATCH} texts and seeds {', '.join(map(str, document['seeds']))} ± standard deviation "
        f"over batches. {BATCH} texts have {BATCH - 1} eigenvalues. The accuracy is that after the last "
        f"step, without choice of an epoch.{_unfinished(document)}",
        head,
        rows,
        n_names=3,
    )


def _unfinished(document: Document) -> str:
    return f" Not finished: {'; '.join(document['unfinished'])}." if document["unfinished"] else ""


def _epochs(document: Document) -> str:
    epochs = {data: rows["epochs"] for data, rows in document["sets"].items()}
    if len(set(epochs.values())) == 1:
        return str(*set(epochs.values()))
    return ", ".join(f"{number} ({data})" for data, number in epochs.items())


def _mean_and_deviation(course: Mapping[str, Any], place: str, name: str, step: int) -> str:
    if step not in course["steps"]:
        return NOTHING
    mean = np.mean(run_means(course, place, name, step))
    return f"{mean:.3g} ± {course['deviations'][place][name][course['steps'].index(step)]:.2g}"


def _orders(document: Document) -> Table:
    rows, sets = [], list(document["sets"])
    titles = {course["system"]: course["title"] for course in document["courses"]}
    names = {1: MORE, -1: LESS, 0: OVERLAP}
    for rival in (key for key in titles if key.startswith("transformer")):
        if (orders := order_transformer(document, rival)) is None:
            continue
        for place, name in itertools.product(PLACES, MEASURES):
            cells = [names[orders.signs[place, data, name]] for data in sets]
            rows.append([titles[rival], PLACES[place], MEASURES[name], f"{orders.step:,}", *cells])
    return Table(
        "Whether a Transformer's dimensions are more or less independent than the Wave network's: every seed "
        "against every seed of both operations, after as many steps; else they overlap.",
        ["Transformer", "state", "measure", "steps", *sets],
        rows,
        n_names=3,
    )


def _penalty(document: Document) -> Table:
    runs, leads, rises = penalised_runs(document), penalty_leads(document), rank_rises(document)
    keys = [*runs, *(key for key in leads if key[0] == ALL_SETS)]
    order = {name: i for i, name in enumerate([*document["sets"], ALL_SETS])}
    rows = []
    for key in sorted(keys, key=lambda key: (order[key[0]], key[1] != "modulation", key[2])):
        data, operation, weight = key
        cells = [NOTHING] * (len(MEASURES) + 2)
        if key in runs:
            cells = [f"{np.mean([run[JUDGED][name] for run in runs[key]]):.3g}" for name in MEASURES]
            cells.append(f"{np.mean([run['rank_before'] for run in runs[key]]):.3g}")
            cells.append(percent(float(np.mean([run["test_accuracy"] for run in runs[key]]))))
        if (lead := leads.get(key)) is None:
            cells += [NOTHING] * 4
        else:
            p_value = NOTHING if np.isnan(lead.mcnemar) else f"{lead.mcnemar:.3f}"
            cells += [f"{100 * rises[key]:+.0f} %", str(lead), p_value, judge_penalty(lead, rises[key])]
        rows.append([data, operation, f"{weight:g}", *cells])
    head = ["data", "operation", "weight", *MEASURES.values(), f"{MEASURES[RANK]} before the norm"]
    head += [
        "test accuracy",
        "least rise of the effective rank",
        "gain in accuracy",
        "McNemar's p",
        "brings accuracy",
    ]
    return Table(
        "A penalty on the correlations of the dimensions that the classifier gets, as an intervention: "
        f"Wave networks of width {document['width']}, the paper preset's recipe for {_epochs(document)} "
        "epochs, weights of the best epoch by validation accuracy. Measures are means over batches and "
        "seeds. Gains over the weight 0 are paired over seeds and test texts; intervals of 95 % for all of "
        f"the table together; {ALL_SETS}: the mean of their gains. A verdict needs a rise "
        f"of the effective rank by {100 * LEAST_RISE:.0f} % in every seed; the margin is {MARGIN} points.",
        head,
        rows,
        n_names=3,
    )


def _correlations(document: Document) -> Table:
    groups = []
    for operation in dict.fromkeys(row["operation"] for row in document["widths"]):
        networks = [row for row in document["widths"] if row["operation"] == operation]
        groups += [(operation, over, networks) for over in ("all networks", "within a width")]
    rows, n_comparisons = [], len(groups) * len(MEASURES)
    for operation, over, networks in groups:
        within = over == "within a width"
        results = [correlate(networks, name, within=within, n_comparisons=n_comparisons) for name in MEASURES]
        rows.append(
            [
                operation,
                over,
                str(len(networks)),
                *(NOTHING if each is None else str(each) for each in results),
            ]
        )
    widths = sorted({row["width"] for row in document["widths"]})
    return Table(
        "Spearman's rank correlation with test accuracy over Wave networks of the widths "
        f"{', '.join(map(str, widths))} and all seeds ({document['data']}, no penalty, the state after the "
        "norm): of all, and of the rest after each width's mean is subtracted from both. Intervals of 95 % "
        "for all of the table together, by the bootstrap over the networks of each width.",
        ["operation", "over", "networks", *MEASURES.values()],
        rows,
        n_names=2,
    )
