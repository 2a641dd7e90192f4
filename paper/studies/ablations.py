"""Which parts of the Wave Network matter: one thing changes at a time, with the same seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import t as student

from paper.result_store import Result, ResultStore
from paper.studies.ablation_comparisons import leads_of
from paper.studies.ablation_variants import (
    ADDED,
    OPERATIONS,
    QUICK,
    WIDTH,
    WIDTHS,
    WITHOUT_OPERATION,
    Variant,
    make_variants,
)
from paper.studies.ablations_claims import judge
from paper.study import Document, Drawing, Options, Study, StudyData, Table, describe_training
from paper.study_figures import INK, MUTED, SERIES, line_with_band, new_figure, styled
from paper.systems import train_and_answer
from token2wave.errors import ConfigError
from token2wave.formatting import NOTHING, count
from token2wave.models import WaveConfig

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The mean over tokens costs about seven times as much as the reference.
TRAIN_ROWS, EPOCHS = 10_000, 3
QUICK_ROWS, QUICK_TEST_ROWS, QUICK_EPOCHS = 600, 300, 2
LEVEL = 0.95
ROW_HEIGHT = 0.2  # inches of a variant in the dot plot
FAR_BELOW = 12.0  # points below the median; lower means are written as numbers


def measure(store: ResultStore, options: Options) -> Document:
    """Train every variant, or those of the options, with each seed, and compare it with its reference.

    Returns:
        Settings; ``variants``, with ``runs`` (one a seed), as from :func:`paper.systems.train_and_answer`,
        and ``test`` and ``validation`` (as from :func:`confidence_interval`); ``refused``, variants that the
        configuration refuses, with ``reason``.
    """
    quick = options.quick
    seeds = options.seeds[:2] if quick else options.seeds
    epochs = QUICK_EPOCHS if quick else EPOCHS
    keys = options.variants or ((*QUICK, *(key for (_, key, _), *_ in ADDED)) if quick else None)
    variants, refused = _check(make_variants(epochs, keys))
    data = options.load(*((QUICK_ROWS, QUICK_TEST_ROWS) if quick else (TRAIN_ROWS, None)))
    n_runs = len(variants) * len(seeds)
    runs: dict[str, list[Result]] = {variant.key: [] for variant in variants}
    for seed in seeds:  # all variants first, so that an interrupted study has some of everything
        for variant in variants:
            number = 1 + sum(map(len, runs.values()))
            stage = f"ablations, {number} of {n_runs}: {variant.question}, {variant.title}, seed {seed}"
            runs[variant.key].append({"seed": seed, **_measure_variant(store, data, variant, seed, stage)})
    return {
        "data": data.name,
        "rows": data.settings["rows"],
        "caveats": list(data.texts.caveats),
        "epochs": epochs,
        "width": WIDTH,
        "seeds": list(seeds),
        "level": LEVEL,
        "variants": [_summarise(variant, runs) for variant in variants],
        "refused": refused,
    }


def _measure_variant(store: ResultStore, data: StudyData, variant: Variant, seed: int, stage: str) -> Result:
    """Train a variant, and test the weights of its best epoch by validation."""

    def compute() -> Result:
        return train_and_answer(
            store, lambda: variant.build(data, seed, store.device), variant.system.recipe, data, seed
        )

    settings = {**variant.settings(), "data": data.settings, "seed": seed}
    return store.compute(f"ablations/{data.name}/{variant.key}-{seed}", settings, compute, stage)


def confidence_interval(values: Sequence[float], level: float = LEVEL) -> dict[str, Any]:
    """Mean, half width of Student's interval for it (None for a single value), and number of values.

    Example:
        >>> interval = confidence_interval([1.0, 2.0, 3.0])
        >>> interval["mean"], round(interval["half_width"], 3), interval["n"]
        (2.0, 2.484, 3)
    """
    n, half_width = len(values), None
    if n > 1:
        half_width = float(student.ppf((1 + level) / 2, n - 1)) * statistics.stdev(values) / math.sqrt(n)
    return {"mean": statistics.fmean(values), "half_width": half_width, "n": n}


def _check(variants: Sequence[Variant]) -> tuple[list[Variant], list[dict[str, str]]]:
    """Variants that the configuration accepts, and why it refuses the others."""
    accepted, refused = [], []
    for variant in variants:
        try:
            WaveConfig.from_dict({**variant.system.network, "n_rows": 1, "n_classes": 2})
            accepted.append(variant)
        except ConfigError as error:
            reason = str(error.problem)
            refused.append({"question": variant.question, "title": variant.title, "reason": reason})
    return accepted, refused


def _summarise(variant: Variant, runs: Mapping[str, Sequence[Result]]) -> dict[str, Any]:
    """The document's entry of a variant."""
    own = runs[variant.key]
    names = ("key", "question", "title", "what", "operation", "width", "against")
    return {
        **{name: getattr(variant, name) for name in names},
        "parameters": own[0]["parameters"],
        "parameters_without_embedding": own[0]["parameters_without_embedding"],
        "runs": list(own),
        "test": confidence_interval([run["test_accuracy"] for run in own]),
        "validation": confidence_interval([run["validation_accuracy"] for run in own]),
    }


def tables(document: Document) -> list[Table]:
    """Accuracy of every variant, what each computes, and the refused ones."""
    accuracy, computed = [], []
    leads = leads_of(document, {variant["key"]: variant["key"] for variant in document["variants"]})
    for variant in document["variants"]:
        names = [variant["question"], variant["title"]]
        lead, change = leads.get(variant["key"]), NOTHING
        if lead is not None:  # that of the reference, so the difference of the variant is its negative
            change = f"{lead.reversed} (to {variant['against']})"
        counts = [count(variant[name]) for name in ("parameters", "parameters_without_embedding")]
        accuracy.append([*names, *counts, _format(variant["test"]), _format(variant["validation"]), change])
        computed.append([*names, variant["what"]])
    head = ["question", "variant", "parameters", "without embedding"]
    head += ["test accuracy (%)", "validation accuracy (%)", "difference in test accuracy"]
    caption = (
        f"{describe_training(document)} Mean and {100 * document['level']:.0f} % confidence interval over "
        "seeds (Student's t). The difference is to the network beside it with the same seeds, paired over "
        "seeds and test texts; its intervals of 95 % hold for all of the table together."
    )
    names = ["question", "variant", "what is computed"]
    result = [
        Table(caption, head, accuracy, n_names=2),
        Table("What the variants compute.", names, computed, n_names=3),
    ]
    if document["refused"]:
        refused = [[entry["question"], entry["title"], entry["reason"]] for entry in document["refused"]]
        caption = "Left out: the configuration refuses parts that cannot change the output."
        result.append(Table(caption, ["question", "variant", "reason"], refused, n_names=3))
    return result


def _format(interval: Mapping[str, Any]) -> str:
    """Mean and half width of an interval in hundredths, e.g. ``91.20 ± 0.35``."""
    mean = f"{100 * interval['mean']:.2f}"
    return mean if interval["half_width"] is None else f"{mean} ± {100 * interval['half_width']:.2f}"


def drawings(document: Document) -> dict[str, Drawing]:
    """Test accuracy of every variant, by question; and against the width."""
    level = f"{100 * document['level']:.0f} %"
    others = any(variant["operation"] not in OPERATIONS for variant in document["variants"])
    return {
        "ablations": Drawing(
            _dot_plot(document),
            "Test accuracy of variants that differ in one thing from a reference, by question. "
            f"{describe_training(document)} Bars are {level} confidence intervals over seeds (Student's "
            "t), cut off at the frame. Circles are networks with modulation, squares with interference, "
            f"diamonds have no operation{', triangles another one' if others else ''}; the vertical lines "
            "are the two references; an arrow marks a mean far below the others. Widths have their own "
            "figure.",
        ),
        "ablations-width": Drawing(
            _width_plot(document),
            f"Test accuracy against the width. {describe_training(document)} Lines are means over seeds, "
            "bands span the lowest to the highest.",
        ),
    }


def _dot_plot(document: Document) -> Figure:
    """A row a variant, under the names of the questions."""
    variants = [variant for variant in document["variants"] if variant["question"] != "Width"]
    questions = list(dict.fromkeys(variant["question"] for variant in variants))
    n_rows = len(variants) + 1.2 * len(questions)
    frame = _frame(variants)
    with styled():
        figure, (axes,) = new_figure(width=6.4, height=0.9 + ROW_HEIGHT * n_rows)
        y, ticks, labels = 0.0, [], []
        heading: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "center"}
        for question in questions:
            axes.text(-0.01, y, question, weight="bold", **heading)
            y += 0.9
            for variant in variants:
                if variant["question"] == question:
                    _dot(axes, y, variant, frame[0])
                    ticks.append(y)
                    labels.append(variant["title"])
                    y += 1
            y += 0.3
        for line, operation in enumerate(OPERATIONS):
            for variant in variants:
                if variant["key"] == operation:
                    style = {key: SERIES[line][key] for key in ("color", "linestyle")}
                    style |= {"linewidth": 1, "zorder": 1, "label": f"reference, {operation}"}
                    axes.axvline(100 * variant["test"]["mean"], **style)
        axes.set_yticks(ticks, labels)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.grid(visible=False, axis="y")
        axes.set(xlabel="test accuracy (%)", ylim=(y - 0.6, -0.7), xlim=frame)
        figure.legend(loc="outside upper right", ncols=2)
    return figure


def _dot(axes: Axes, y: float, variant: Mapping[str, Any], low: float) -> None:
    """A variant's mean and its interval; the mean as a number where it lies below the frame's lower limit."""
    by_operation = dict(zip(OPERATIONS, ((SERIES[0]["color"], "o"), (SERIES[1]["color"], "s")), strict=True))
    color, marker = by_operation.get(variant["operation"], (SERIES[2]["color"], SERIES[2]["marker"]))
    if variant["key"] in WITHOUT_OPERATION:
        color, marker = MUTED, "D"
    half_width, mean = variant["test"]["half_width"], 100 * variant["test"]["mean"]
    if mean < low:  # an arrow to the left, and the number
        arrow: Any = {"textcoords": "offset points", "arrowprops": {"arrowstyle": "->", "color": color}}
        axes.annotate(f"{mean:.1f} %", (low, y), (26, 0), color=color, va="center", fontsize=8, **arrow)
        return
    style: Any = {"marker": marker, "markersize": 4.5, "capsize": 2, "elinewidth": 1, "linestyle": "none"}
    error = None if half_width is None else 100 * half_width
    axes.errorbar(mean, y, xerr=error, color=color, zorder=3, **style)


def _frame(variants: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Limits that hold the means, but for those far below the others, and of long intervals a part."""
    tests = [variant["test"] for variant in variants]
    every = [(100 * test["mean"], 100 * (test["half_width"] or 0)) for test in tests]
    middle = statistics.median(mean for mean, _ in every)
    held = [(mean, half_width) for mean, half_width in every if mean >= middle - FAR_BELOW]
    span = max(max(held)[0] - min(held)[0], 1.0)
    low = min(mean - min(half_width, span / 3) for mean, half_width in held)
    high = max(mean + min(half_width, span / 3) for mean, half_width in held)
    return max(0.0, low - 0.03 * span), min(100.0, high + 0.03 * span)


def _width_plot(document: Document) -> Figure:
    """A line for each operation."""
    with styled():
        figure, (axes,) = new_figure(width=4.6, height=3.2)
        for series, operation in enumerate(OPERATIONS):
            line = [
                variant
                for variant in sorted(document["variants"], key=lambda variant: int(variant["width"]))
                if variant["operation"] == operation
                and (variant["question"] == "Width" or variant["key"] == operation)
            ]
            if not line:
                continue
            runs = np.array([[100 * run["test_accuracy"] for run in variant["runs"]] for variant in line]).T
            line_with_band(axes, [variant["width"] for variant in line], list(runs), operation, series)
        measured = sorted({variant["width"] for variant in document["variants"]})
        axes.set_xscale("log", base=2)
        axes.set_xticks([width for width in WIDTHS if width in measured], minor=False)
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.set(xlabel="width (dimensions of a token, log scale)", ylabel="test accuracy (%)")
        axes.legend()
    return figure


STUDY = Study(
    "ablations",
    "Ablations",
    "Which parts of the Wave Network matter? Each variant changes one thing of a reference, the papers' "
    f"network with modulation (for a few, with interference), at width {WIDTH} and on a sample of the "
    "rows. The papers' width of 768 costs five times as much and is in the comparison of widths. All "
    "share rows, order of texts and seeds, and all but one the recipe. Variants that remove something "
    "(complex numbers or the second wave) also have the reference's number of parameters and its initial "
    "weights; what phase and magnitude carry has a study of its own. Bars in the figure are Student's "
    "intervals over the seeds alone. Verdicts follow from the differences in the table, whose intervals "
    "count seeds, texts and the number of comparisons. Rates and dropout are not tuned for each variant, and "
    "longer training on more rows may order them otherwise. Test rows choose nothing.",
    measure,
    tables,
    drawings,
    judge,
)
