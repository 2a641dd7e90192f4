"""Tables and figures of the study of batches and lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from paper.studies.batch_comparisons import judged_questions, networks_of
from paper.studies.batch_settings import REFERENCE_BATCH, RULES, SYSTEMS
from paper.study import Document, Drawing, Table
from paper.study_figures import line_with_band, new_figure, plain_log_ticks, styled
from paper.training_curves import UNITS, cost_until
from paper.verdicts import RATIO


def tables(document: Document) -> list[Table]:
    """Cost and accuracy of every network, and the planned comparisons."""
    made = []
    for part, title in (("batch", "The size of the batch"), ("length", "The length of the texts")):
        measured = document.get(part)
        if not measured or not measured["networks"]:
            continue
        accuracies = measured["accuracies"]
        networks = sorted(measured["networks"], key=_order)
        rows = [_row(network, accuracies, part) for network in networks]
        head = ["network", *(["batch", "rate"] if part == "batch" else ["longest text (tokens)"])]
        for accuracy in accuracies:
            reach = f"to {100 * accuracy:g} %"
            head += [f"steps {reach}", f"tokens {reach}", f"seconds {reach}"]
        rows_of = measured["rows"]
        made.append(
            Table(
                f"{title}: medians over {len(document['seeds'])} seeds of what a network spends until its "
                f"validation accuracy reaches a value, and the mean test accuracy. {measured['data']}: "
                f"{rows_of['train']:,} training, {rows_of['validation']:,} validation and "
                f"{rows_of['test']:,} test rows; {measured['epochs']} epochs; width {document['width']}. "
                "“> 1,000 (3 of 5)”: the median seed did not get there with 1,000; three of five seeds did. "
                "Tokens do not count [CLS]. Seconds are of training alone, and noisy where cores are shared."
                + (f" Not finished: {', '.join(document['unfinished'])}." if document["unfinished"] else ""),
                [*head, "test accuracy (%)", "lowest seed (%)"],
                rows,
                n_names=3 if part == "batch" else 2,
            )
        )
        compared = [
            [question.text, SYSTEMS[system], str(question.differences[system]), question.verdicts[system]]
            for question in judged_questions(document, part)
            for system in question.verdicts
        ]
        if compared:
            made.append(
                Table(
                    f"{title}: planned comparisons, paired over seeds; those of accuracy also over test "
                    "texts. Intervals of 95 % hold for all of the table together. A ratio counts as none "
                    f"within {RATIO:g} times on both sides.",
                    ["question", "network", "first to second", "verdict"],
                    compared,
                    n_names=4,
                )
            )
    return made


def _order(network: Mapping[str, Any]) -> tuple[Any, ...]:
    rule = list(RULES).index(network["rule"])
    return list(SYSTEMS).index(network["system"]), network["length"], rule, network["batch"]


def _row(network: Mapping[str, Any], accuracies: Sequence[float], part: str) -> list[str]:
    cells = [SYSTEMS[network["system"]]]
    if part == "batch":
        cells += [f"{network['batch']:,}", f"{network['rule']}, {1e-3 * network['rate_factor']:.1e}"]
    else:
        cells.append(f"{network['length']:,}")
    for accuracy in accuracies:
        cells += [_median(network["runs"], accuracy, unit) for unit in UNITS if unit != "texts"]
    values = [100 * run["test_accuracy"] for run in network["runs"]]
    return [*cells, f"{np.mean(values):.2f}", f"{min(values):.2f}"]


def _median(runs: Sequence[Mapping[str, Any]], accuracy: float, unit: str) -> str:
    """Median cost; runs that did not get there are above all others, whatever they have spent."""
    costs = [cost_until(run, accuracy, unit) for run in runs]
    n_reached = sum(cost.reached for cost in costs)
    if not n_reached:
        return f"> {_number(min(cost.amount for cost in costs))} (0 of {len(costs)})"
    ordered = sorted(costs, key=lambda cost: (not cost.reached, cost.amount))
    middle = ordered[len(ordered) // 2]  # the upper one of an even number
    text = _number(middle.amount) if middle.reached else f"> {_number(middle.amount)}"
    return text if n_reached == len(costs) else f"{text} ({n_reached} of {len(costs)})"


def _number(value: float) -> str:
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def drawings(document: Document) -> dict[str, Drawing]:
    """Validation accuracy against texts for each batch and length, and tokens against the batch."""
    made = {"batch-curves": _draw_curves(document, "batch"), "batch-costs": _draw_costs(document)}
    if document.get("length", {}).get("networks"):
        made["length-curves"] = _draw_curves(document, "length")
    return made


def _draw_curves(document: Document, part: str) -> Drawing:
    """A panel a system; lines are batches at the papers' rate, or lengths."""
    measured, name = document[part], part if part == "batch" else "length"
    systems = [key for key in SYSTEMS if networks_of(measured, system=key)]
    shown = sorted({network[name] for network in measured["networks"]})
    with styled():
        figure, panels = new_figure(len(systems), width=3.2, height=3.0, sharey=True)
        for axes, system in zip(panels, systems, strict=True):
            for network in sorted(networks_of(measured, system=system, rule="constant"), key=_order):
                curves = [100 * np.array(run["curve"]["accuracy"][1:]) for run in network["runs"]]
                texts = network["runs"][0]["curve"]["texts"][1:]
                line_with_band(axes, texts, curves, f"{network[name]:,}", shown.index(network[name]))
            axes.set(xlabel="training texts", title=SYSTEMS[system], xscale="log")
            plain_log_ticks(axes.xaxis, decades=2)
            axes.legend(title="batch" if part == "batch" else "longest text", loc="lower right")
        panels[0].set_ylabel("validation accuracy (%)")
    return Drawing(
        figure,
        f"Validation accuracy on {measured['data']} against the texts seen, at a constant rate of 1e-3. "
        f"Lines are means of {len(document['seeds'])} seeds, bands span the lowest to the highest.",
    )


def _draw_costs(document: Document) -> Drawing:
    """A panel a system: tokens to the first accuracy against the batch, a line a rule."""
    measured = document["batch"]
    accuracy = measured["accuracies"][0]
    systems = [key for key in SYSTEMS if networks_of(measured, system=key)]
    with styled():
        figure, panels = new_figure(len(systems), width=3.2, height=3.0, sharey=True)
        for axes, system in zip(panels, systems, strict=True):
            for series, rule in enumerate(RULES):
                line = networks_of(measured, system=system, rule=rule)
                if rule != "constant":  # every rule has the same rate at the reference
                    line += networks_of(measured, system=system, rule="constant", batch=REFERENCE_BATCH)
                line = sorted(line, key=lambda network: int(network["batch"]))
                costs = [[cost_until(run, accuracy, "tokens") for run in each["runs"]] for each in line]
                batches = [network["batch"] for network in line]
                amounts = np.array([[cost.amount for cost in each] for each in costs]).T
                line_with_band(axes, batches, list(amounts), f"{rule} rate", series)
                late = [i for i, each in enumerate(costs) if not all(cost.reached for cost in each)]
                means = [amounts[:, i].mean() for i in late]
                axes.plot([batches[i] for i in late], means, "x", color="black", markersize=9)
            axes.set(xscale="log", yscale="log", xlabel="batch (texts)", title=SYSTEMS[system])
            ticks = sorted({network["batch"] for network in measured["networks"]})
            axes.set_xticks(ticks, [str(tick) for tick in ticks], minor=False, fontsize=7)
            axes.minorticks_off()
            axes.legend(loc="upper left", fontsize=7)
        plain_log_ticks(panels[0].yaxis)
        panels[0].set_ylabel(f"tokens to {100 * accuracy:g} % of validation texts")
    return Drawing(
        figure,
        f"Tokens until {100 * accuracy:g} % of the validation texts of {measured['data']} are right, against "
        f"the batch. Lines are means of {len(document['seeds'])} seeds, bands span the lowest to the "
        "highest. Crosses: some seed did not get there; all that it has spent counts, so the true cost is "
        "higher.",
    )
