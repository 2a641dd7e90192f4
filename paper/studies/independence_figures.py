"""Figures of the study of independence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import gaussian_kde

from paper.eigenvalue_spread import BATCH, MEASURES, PLACES, RATIOS
from paper.statistics import Lead
from paper.studies.independence_results import (
    JUDGED,
    RANK,
    PenaltyKey,
    penalised_runs,
    penalty_leads,
)
from paper.study import Document, Drawing
from paper.study_figures import GRID, MUTED, SERIES, line_with_band, new_figure, plain_log_ticks, styled
from paper.verdicts import MARGIN

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def drawings(document: Document) -> dict[str, Drawing]:
    """Densities of both ratios, the course of training, the effect of the penalty, and widths."""
    drawn: dict[str, Drawing] = {}
    with styled():
        if document["courses"]:
            drawn |= {"independence": _densities(document), "independence-training": _training(document)}
        if leads := penalty_leads(document):
            drawn["independence-penalty"] = _penalty(document, leads)
        if document["widths"]:
            drawn["independence-accuracy"] = _widths(document)
    return drawn


def _densities(document: Document) -> Drawing:
    figure, axes = new_figure(2, width=3.9, height=3.4)
    courses = [each for each in document["courses"] if each["data"] == document["data"]]
    for axis, (name, title) in zip(axes, RATIOS.items(), strict=True):
        in_decades = name == "smallest_over_largest"  # systems lie decades apart
        for i, course in enumerate(courses):
            values = np.concatenate([density[name] for density in course["densities"]])
            values = np.log10(values[values > 0]) if in_decades else values
            if len(values) > 1 and values.std() > 0:
                margin = 3 * values.std() * len(values) ** -0.2
                at = np.linspace(values.min() - margin, values.max() + margin, 200)
                label = f"{course['title']}; {course['steps'][-1]:,} steps"
                style = {**SERIES[i], "marker": None}
                axis.plot(10**at if in_decades else at, gaussian_kde(values)(at), label=label, **style)
        axis.set(xlabel=title, ylabel="density (per decade)" if in_decades else "density", ylim=(0, None))
    axes[1].set_xscale("log")
    _legend_below(figure, columns=1)
    return Drawing(
        figure,
        f"Spread of variance over the dimensions of the [CLS] embedding, after the norm, in batches of "
        f"{BATCH} test texts of {document['data']} after the last step: Gaussian kernel density estimates, "
        "Scott's bandwidth.",
    )


def _training(document: Document) -> Drawing:
    sets = list(document["sets"])
    width = 2.7 if len(sets) > 1 else 5.4  # the names of the systems are long
    figure, panels = new_figure(len(sets), len(PLACES), width=width, height=2.5, sharex=True, sharey="row")
    order = {key: i for i, key in enumerate(dict.fromkeys(each["system"] for each in document["courses"]))}
    last = max(each["steps"][-1] for each in document["courses"])
    for axes, (place, data) in zip(panels, ((p, d) for p in PLACES for d in sets), strict=True):
        for course in document["courses"]:
            if course["data"] == data:
                runs = [run[place][RANK] for run in course["runs"]]
                line_with_band(axes, course["steps"], runs, course["title"], order[course["system"]])
        axes.set_xscale("symlog", linthresh=50)
        ticks = [step for step in (0, 50, 500, 5_000) if step <= last]
        axes.set_xticks(ticks, [f"{step:,}" for step in ticks])
        axes.minorticks_off()
        if place == "before":
            axes.set_title(data)
        else:
            axes.set_xlabel("steps")
        if data == sets[0]:
            axes.set_ylabel(f"effective rank\n{PLACES[place]}")
    _legend_below(figure, columns=2 if len(sets) > 2 else 1)
    return Drawing(
        figure,
        f"Effective rank of the [CLS] states of {BATCH} test texts as networks train, of at most "
        f"{BATCH - 1}: lines are means over seeds, bands span the lowest to the highest.",
    )


def _penalty(document: Document, leads: Mapping[PenaltyKey, Lead]) -> Drawing:
    runs = penalised_runs(document)
    operations = list(dict.fromkeys(operation for _, operation, _ in leads))
    figure, panels = new_figure(len(operations), width=3.6, height=3.2, sharey=True)
    for axes, operation in zip(panels, operations, strict=True):
        axes.axhspan(-MARGIN, MARGIN, color=GRID, zorder=0)
        axes.axhline(0, color=MUTED, linewidth=0.8, zorder=1)
        for i, data in enumerate(document["sets"]):
            keys = sorted(key for key in leads if key[:2] == (data, operation))
            rises = [
                np.mean([run[JUDGED][RANK] for run in runs[key]])
                / np.mean([run[JUDGED][RANK] for run in runs[*key[:2], 0.0]])
                for key in keys
            ]
            means = np.array([leads[key].mean for key in keys])
            ends = np.array([[leads[key].low, leads[key].high] for key in keys])
            errors = np.abs(np.where(np.isfinite(ends), ends, means[:, None]) - means[:, None]).T
            axes.errorbar(rises, means, errors, label=data, capsize=2.5, elinewidth=1.0, **SERIES[i])
        axes.set_xscale("log")
        plain_log_ticks(axes.xaxis)
        axes.set(title=operation, xlabel="effective rank over that without penalty")
    panels[0].set_ylabel("gain in test accuracy (points)")
    _legend_below(figure, columns=4)
    weights = ", ".join(f"{weight:g}" for weight in sorted({key[2] for key in leads}))
    return Drawing(
        figure,
        "More independent dimensions, brought about by a penalty, and what they do to accuracy: a point a "
        f"weight ({weights}), with the intervals of the table; grey is the margin of {MARGIN} points within "
        "which a difference is none.",
    )


def _widths(document: Document) -> Drawing:
    figure, panels = new_figure(len(MEASURES), width=3.0, height=3.0, sharey=True)
    operations = list(dict.fromkeys(row["operation"] for row in document["widths"]))
    for axes, (name, title) in zip(panels, MEASURES.items(), strict=True):
        for i, operation in enumerate(operations):
            networks = [row for row in document["widths"] if row["operation"] == operation]
            color, marker = SERIES[i]["color"], SERIES[i]["marker"]
            axes.scatter(
                [row[name] for row in networks],
                [100 * row["test_accuracy"] for row in networks],
                [10 + row["width"] / 8 for row in networks],
                marker=marker,
                edgecolors=color,
                facecolors="none" if i else color,
                label=operation,
            )
        axes.set_xlabel(f"{title}\n(mean of the batches)")
    panels[1].set_xscale("log")
    plain_log_ticks(panels[1].xaxis)
    panels[0].set_ylabel("test accuracy (%)")
    _legend_below(figure, columns=2)
    return Drawing(
        figure,
        "Spread of the [CLS] embedding against accuracy: Wave networks of several widths (larger markers are "
        f"wider) and seeds, {document['data']}.",
    )


def _legend_below(figure: Figure, columns: int) -> None:
    handles = dict(
        pair[::-1] for axes in figure.axes for pair in zip(*axes.get_legend_handles_labels(), strict=True)
    )
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns)
