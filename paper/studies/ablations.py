"""Which parts of the Wave Network earn their place: one thing is changed at a time, with the same seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from paper.result_store import Result, ResultStore
from paper.studies.ablation_figures import drawings, setting
from paper.studies.ablation_variants import QUICK, WIDTH, Variant, variants
from paper.study import Document, Options, Study, StudyData, Table
from token2wave.errors import ConfigError
from token2wave.formatting import NOTHING, count
from token2wave.training.loop import fit
from token2wave.training.validation import validate

# Four layers cost about twenty times as much as the reference, two layers or the mean over tokens seven.
TRAIN_ROWS, EPOCHS = 10_000, 3
TEST_ROWS: int | None = None  # all
QUICK_ROWS, QUICK_TEST_ROWS, QUICK_EPOCHS = 1_500, 1_000, 2
LEVEL = 0.95


def measure(store: ResultStore, options: Options) -> Document:
    """Train every variant with each seed, and compare it with its reference.

    Returns:
        ``data``, ``rows``, ``caveats``, ``epochs``, ``width``, ``seeds``, ``level``; ``variants``, in the
        order of :func:`variants`, with ``key``, ``question``, ``title``, ``what``, ``operation``, ``width``,
        ``against``, the numbers of parameters, ``runs`` (a seed each), and ``test``, ``validation`` (as
        :func:`interval` gives them) and ``difference`` (of test accuracies to the reference's over the same
        seeds; None for the reference); ``refused``, variants that the configuration refuses, with ``reason``.
    """
    quick = options.quick
    seeds = options.seeds[:2] if quick else options.seeds
    epochs = QUICK_EPOCHS if quick else EPOCHS
    data = options.load(
        train_rows=QUICK_ROWS if quick else TRAIN_ROWS, test_rows=QUICK_TEST_ROWS if quick else TEST_ROWS
    )
    legal, refused = _legal(variants(epochs, QUICK if quick else None))
    n_runs = len(legal) * len(seeds)
    # A seed of all variants before the next seed: an interrupted study has something of everything.
    runs: dict[str, list[Result]] = {variant.key: [] for variant in legal}
    for seed in seeds:
        for variant in legal:
            number = 1 + sum(map(len, runs.values()))
            place = f"ablations, {number} of {n_runs}: {variant.question}, {variant.title}, seed {seed}"
            runs[variant.key].append({"seed": seed, **measure_variant(store, data, variant, seed, place)})
    return {
        "data": data.name,
        "rows": data.settings["rows"],
        "caveats": list(data.texts.caveats),
        "epochs": epochs,
        "width": WIDTH,
        "seeds": list(seeds),
        "level": LEVEL,
        "variants": [_summary(variant, runs) for variant in legal],
        "refused": refused,
    }


def measure_variant(store: ResultStore, data: StudyData, variant: Variant, seed: int, place: str) -> Result:
    """Train a variant with a seed.

    Returns:
        ``test_accuracy`` and ``validation_accuracy`` of the weights of the best epoch by validation;
        ``best_epoch``; ``validation_by_epoch``; the numbers of parameters.
    """

    def compute() -> Result:
        store.callback_list.stage(place, 0)
        network = variant.build(data, seed, store.device)
        history = fit(
            network,
            data.train,
            data.validation,
            variant.system.recipe,
            seed=seed,
            has_cls=True,
            callbacks=store.callbacks,
        )
        best, parameters = history.best, network.parameter_count()
        assert best is not None
        return {
            "test_accuracy": validate(network, data.test)[1],
            "validation_accuracy": best.validation_accuracy,
            "best_epoch": best.epoch,
            "validation_by_epoch": [epoch.validation_accuracy for epoch in history.epochs],
            "parameters": parameters.total,
            "parameters_without_embedding": parameters.without_embedding,
        }

    settings = {**variant.settings(), "data": data.settings, "seed": seed}
    return store.compute(f"ablations/{data.name}/{variant.key}-{seed}", settings, compute)


def interval(values: Sequence[float], level: float = LEVEL) -> dict[str, Any]:
    """Mean, and Student's confidence interval for it, if the values are independent and normal.

    Args:
        values: at least one.
        level: probability with which the interval holds the true mean.

    Returns:
        ``mean``; ``half_width``, so that the interval is mean -+ half width, None for a single value; ``n``.

    Example:
        >>> found = interval([1.0, 2.0, 3.0])
        >>> found["mean"], round(found["half_width"], 3), found["n"]
        (2.0, 2.484, 3)
    """
    n, half_width = len(values), None
    if n > 1:
        half_width = student_quantile(level, n - 1) * statistics.stdev(values) / math.sqrt(n)
    return {"mean": statistics.fmean(values), "half_width": half_width, "n": n}


def student_quantile(level: float, freedom: int) -> float:
    """Number that a variable with Student's t distribution exceeds in size with probability ``1 - level``.

    Args:
        level: between 0 and 1.
        freedom: degrees of freedom, at least 1.

    Example:
        >>> round(student_quantile(0.95, 2), 3)
        4.303
    """
    low, high = 0.0, math.pi / 2
    for _ in range(60):  # each halves the span: below the last digit in the end
        middle = (low + high) / 2
        low, high = (middle, high) if _student_within(middle, freedom) < level else (low, middle)
    return math.sqrt(freedom) * math.tan((low + high) / 2)


def _student_within(angle: float, freedom: int) -> float:
    """Probability that ``|t|`` is below ``sqrt(freedom) tan(angle)``.

    The finite sums of Abramowitz and Stegun, *Handbook of Mathematical Functions*, 26.7.3 and 26.7.4.
    """
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = term if freedom > 1 else 0.0
    for power in range(2 + odd, freedom - 1, 2):
        term *= cosine * cosine * (power - 1) / power
        total += term
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def _legal(wanted: Sequence[Variant]) -> tuple[list[Variant], list[dict[str, str]]]:
    """Variants that the configuration takes, and why it refuses the others."""
    legal, refused = [], []
    for variant in wanted:
        try:
            variant.check()
            legal.append(variant)
        except ConfigError as error:
            refused.append(
                {"question": variant.question, "title": variant.title, "reason": str(error.problem)}
            )
    return legal, refused


def _summary(variant: Variant, runs: Mapping[str, Sequence[Result]]) -> dict[str, Any]:
    """What the document holds of a variant."""
    own = runs[variant.key]
    difference = None
    if variant.against is not None:
        pairs = zip(own, runs[variant.against], strict=True)
        difference = interval([run["test_accuracy"] - other["test_accuracy"] for run, other in pairs])
    return {
        "key": variant.key,
        "question": variant.question,
        "title": variant.title,
        "what": variant.what,
        "operation": variant.operation,
        "width": variant.width,
        "against": variant.against,
        "parameters": own[0]["parameters"],
        "parameters_without_embedding": own[0]["parameters_without_embedding"],
        "runs": list(own),
        "test": interval([run["test_accuracy"] for run in own]),
        "validation": interval([run["validation_accuracy"] for run in own]),
        "difference": difference,
    }


def tables(document: Document) -> list[Table]:
    """Accuracy of every variant; what each computes; and what is refused, if something is."""
    rows, what = [], []
    for variant in document["variants"]:
        names = [variant["question"], variant["title"]]
        against = f" (to {variant['against']})" if variant["difference"] else ""
        rows.append(
            [
                *names,
                count(variant["parameters"]),
                count(variant["parameters_without_embedding"]),
                _with_interval(variant["test"]),
                _with_interval(variant["validation"]),
                (_with_interval(variant["difference"], signed=True) if against else NOTHING) + against,
            ]
        )
        what.append([*names, variant["what"]])
    head = [
        "question",
        "variant",
        "parameters",
        "without embedding",
        "test accuracy (%)",
        "validation accuracy (%)",
        "difference in test accuracy (points)",
    ]
    level = f"{100 * document['level']:.0f} %"
    result = [
        Table(
            f"{setting(document)} Mean and {level} confidence interval over seeds (Student's t); the "
            "difference is paired, to the network named beside it with the same seeds.",
            head,
            rows,
            n_names=2,
        ),
        Table("What the variants compute.", ["question", "variant", "what is computed"], what, n_names=3),
    ]
    if document["refused"]:
        left_out = [[entry["question"], entry["title"], entry["reason"]] for entry in document["refused"]]
        caption = "Left out, since the configuration refuses parts that could not change the output."
        result.append(Table(caption, ["question", "variant", "reason"], left_out, n_names=3))
    return result


def _with_interval(found: Mapping[str, Any], *, signed: bool = False) -> str:
    """Mean and half width of an interval in hundredths, e.g. ``91.20 ± 0.35``."""
    mean = f"{100 * found['mean']:{'+' if signed else ''}.2f}"
    return mean if found["half_width"] is None else f"{mean} ± {100 * found['half_width']:.2f}"


STUDY = Study(
    "ablations",
    "Ablations",
    "Which parts of the Wave Network earn their place? Each variant changes one thing of a reference, "
    f"the papers' network with modulation (for a few, with interference), at width {WIDTH} and on a "
    "sample of the rows: the papers' width of 768 costs five times as much, and is in the comparison of "
    "widths. All share rows, order of texts and seeds, and all but one the recipe. Those that take "
    "something away from the waves, the complex numbers, the phase, the magnitude or the second wave, "
    "also have the reference's number of parameters and its initial weights. Intervals are Student's "
    "over the seeds, so they tell of other seeds and not of other rows; with three seeds they are wide. "
    "Among twenty differences without any meaning one is expected to lie outside its "
    f"{100 * LEVEL:.0f} % interval. Rates and dropout were not tuned for each variant, and a longer "
    "training on more rows may order them otherwise. Test rows choose nothing. A miniature of the study "
    "has hardly begun to learn, and shows only that everything runs.",
    measure,
    tables,
    drawings,
)
