"""Renders the figures of a training run as lines for the terminal; the report shows the same figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from token2wave.formatting import NOTHING, columns, count, duration, percent, printable, shorten, size
from token2wave.training.search_history import describe_search

if TYPE_CHECKING:
    from token2wave.training.callbacks import StageTimes
    from token2wave.training.result import Summary

MEASURES = {"accuracy": "Accuracy", "macro_f1": "Macro-F1", "micro_f1": "Micro-F1"}
SCORE_MEASURES = {"spearman": "Spearman", "mae": "Mean absolute error"}
LANGUAGES = {"en": "English"}
"""Names of the priors' languages, by code."""
LABEL_COLUMNS = 32  # of the terminal
MAX_CLASSES = 40  # of more, a terminal shows only the weakest
WEAKEST_CLASSES = 20
QUALITIES = (("good", 0.75), ("fair", 0.5), ("weak", -1.0))
"""Words for a model, and the least fraction of the most frequent class's errors that it avoids."""
MAX_WIDTH = 0.1  # of an interval that says how good a model is


def render_summary(summary: Summary) -> list[str]:
    """Render a run as lines of plain text."""
    evaluation, baseline = summary.evaluation, summary.baseline
    remark, figures = describe_evaluation(summary), []
    for name, measure in summary.measures:
        value: float | None = getattr(summary, measure)
        figures.append((name, percent(value), remark))
        remark = ""
        if baseline is not None:
            of_baseline: float = baseline[measure]  # type: ignore[literal-required]
            difference = "" if value is None else f"  ({100 * (value - of_baseline):+.2f} points)"
            name_of_baseline = printable(baseline["name"]) + difference
            figures.append(("  baseline", percent(of_baseline), name_of_baseline))
    if evaluation is not None and evaluation["scores"] is not None:
        figures += score_figures(evaluation["scores"])
    figures += run_figures(summary)
    if summary.search is not None:
        figures.append(("Search", describe_search(summary.search), ""))
    width = max(len(name) for name, _, _ in figures)
    lines = [headline(summary)]
    # Caveats qualify the accuracy, so they come next.
    lines += [f"Note: {printable(caveat)}" for caveat in summary.caveats]
    lines += [f"{name:<{width}}  {value}  {remark}".rstrip() for name, value, remark in figures]
    if evaluation is not None and evaluation["classes"]:
        classes, title = evaluation["classes"], f"Classes, on the {describe_rows(summary.evaluated_on)}"
        if len(classes) > MAX_CLASSES:
            title += f": the {WEAKEST_CLASSES} of {len(classes)} with the lowest F1"
            classes = sorted(classes, key=lambda score: float(score["f1"]))[:WEAKEST_CLASSES]
        lines += ["", title, *render_classes(classes)]
    return lines


def headline(summary: Summary) -> str:
    """Say in one sentence how good the model is, on how many rows, and what is to be had without it."""
    baseline = summary.baseline
    if summary.evaluation is None:
        return (
            "How good the model is could not be measured: there are too few rows to hold any out. "
            "Add rows, or name labelled texts with --test."
        )
    digits = _digits(summary.evaluation["rows"])
    text = evaluation_headline(summary.evaluation, summary.evaluated_on, summary.majority)
    if baseline is not None:
        text += f"; a plain TF-IDF model {_rate(baseline[summary.measures[0][1]], digits)}"  # type: ignore[literal-required]
    return text


def verdict(summary: Summary) -> str:
    """Say in one sentence and in words whether the model is good.

    What counts is how many of the errors of the most frequent class alone the model avoids: three in four
    make a good model, half of them a fair one. Scores count by their rank correlation: 0.8 and 0.5.
    """
    evaluation = summary.evaluation
    if evaluation is None:
        return "Nobody can say whether this model is good, as no rows were left to check it."
    if (scores := evaluation["scores"]) is not None:
        return _verdict_of_scores(scores)
    micro_f1, majority = evaluation["micro_f1"], summary.majority or 0.0
    quality = evaluation["accuracy"] if micro_f1 is None else micro_f1
    low, high = evaluation["interval"] or (quality, quality)
    often = "the most frequent class" if micro_f1 is None else "the most frequent labels"
    if low <= majority:
        return f"This model is not good: it may be no better than always answering with {often}."
    avoided = (quality - majority) / (1 - majority)
    word = next(word for word, least in QUALITIES if avoided >= least)
    right, alone = (f"{100 * fraction:.0f}" for fraction in (quality, majority))
    text = f"This model is {word}: about {right} of 100 texts get the right class"
    if micro_f1 is not None:
        text = f"This model is {word}: its labels agree with the true ones to about {right} of 100"
    if summary.majority is not None:
        text += f", where {often} alone would give {alone}"
    if summary.baseline is not None:
        of_baseline: float = summary.baseline[summary.measures[0][1]]  # type: ignore[literal-required]
        text += ", but a plain TF-IDF model does better" if of_baseline > quality else ""
    if high - low > MAX_WIDTH:
        text += f"; only {count(evaluation['rows'])} rows were checked, so it may well be better or worse"
    return f"{text}."


def _verdict_of_scores(scores: Mapping[str, Any]) -> str:
    spearman = scores["spearman"]
    if spearman is None:
        return "Nobody can say whether this model is good, as the scores of the checked rows do not differ."
    if scores["intervals"]["spearman"][0] <= 0:
        return "This model is not good: its scores may be no better than chance."
    if spearman >= 0.8:
        return "This model is good: its scores follow the true ones closely."
    if spearman >= 0.5:
        return "This model is fair: its scores follow the true ones roughly."
    return "This model is weak: its scores follow the true ones only loosely."


def evaluation_headline(
    evaluation: Mapping[str, Any], evaluated_on: str | None = "test", majority: float | None = None
) -> str:
    """Say in words how many rows were right, with the interval and the most frequent class.

    Args:
        evaluation: an `Evaluation` as a dictionary.
        evaluated_on: which rows it is of, as :attr:`Summary.evaluated_on`.
        majority: what predicting the most frequent class gives on the same rows, if it is known.
    """
    n_rows, micro_f1, scores = evaluation["rows"], evaluation["micro_f1"], evaluation.get("scores")
    digits = _digits(n_rows)
    rows = {"test": "test text", "held-out": "held-back row"}.get(str(evaluated_on), "row")
    rows = f"{count(n_rows)} {rows}{'' if n_rows == 1 else 's'}"
    unseen = ", each predicted by a model that has not seen it," * (evaluated_on == "cross-validation")
    if scores is not None:
        spearman = "unknown, as scores do not differ"
        if scores["spearman"] is not None:
            low, high = scores["intervals"]["spearman"]
            spearman = f"{scores['spearman']:.3f} (95% interval {low:.3f} to {high:.3f})"
        text = f"On {rows} the rank correlation of predicted and true scores (Spearman) is {spearman}"
        return f"{text}; the mean absolute error is {scores['mae']:.3g}"
    interval = ""
    if evaluation["interval"] is not None:
        low, high = (_rate(bound, max(digits - 1, 0)) for bound in evaluation["interval"])
        interval = f" (95% interval {low} to {high})"
    if micro_f1 is None:
        was = "was" if n_rows == 1 else "were"
        text = f"{_rate(evaluation['accuracy'], digits)} of {rows} {was} right{unseen}".rstrip(",") + interval
        alone = "the most frequent class alone would give"
    else:
        n_right = sum(score["recall"] * score["support"] for score in evaluation["classes"])
        n_true = sum(score["support"] for score in evaluation["classes"])
        n_given = 2 * n_right / micro_f1 - n_true if micro_f1 else 0
        precision, recall = (_rate(n_right / max(n, 1), digits) for n in (n_given, n_true))
        text = (
            f"On {rows}{unseen} {precision} of the labels given were right and {recall} of the true labels "
            f"were given: micro-F1 {_rate(micro_f1, digits)}{interval}"
        )
        alone = "always the most frequent labels would give"
    return text if majority is None else f"{text}; {alone} {_rate(majority, max(digits - 1, 0))}"


def score_figures(scores: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """List the figures of a model of scores, as name, value and remark with the 95 % interval.

    Args:
        scores: a `ScoreEvaluation` as a dictionary.
    """
    from token2wave.score_scale import INTERVAL  # here, because it loads numpy

    cut = "" if scores["cut"] is None else f"AUC, scores above {scores['cut']:g}"
    names = {
        "spearman": "Spearman",
        "pearson": "Pearson",
        "mae": "Mean absolute error",
        "rmse": "Root mean squared error",
        "kappa": "Quadratic weighted kappa",
        "auc": cut,
        "coverage": f"{percent(INTERVAL, 0)} intervals that hold",
    }
    figures = []
    for key, name in names.items():
        if (value := scores[key]) is not None:
            low, high = scores["intervals"].get(key, (value, value))
            written, *bounds = (
                percent(each, 1) if key == "coverage" else f"{each:.4g}" for each in (value, low, high)
            )
            figures.append((name, written, f"95% interval {' to '.join(bounds)}"))
    return figures


def _digits(n_rows: int) -> int:
    """Decimals of a percentage that mean something for this number of rows."""
    return 0 if n_rows < 100 else 1 if n_rows < 10_000 else 2


def _rate(fraction: float, digits: int) -> str:
    """Format a percentage. What is below all or above none is never rounded to them."""
    fraction = round(fraction, 7)  # a bound of 1 may be a little less
    while 0 < fraction < 1 and digits < 4 and round(100 * fraction, digits) in (0, 100):
        digits += 1
    return percent(fraction, digits)


def run_figures(summary: Summary, digits: int = 2) -> list[tuple[str, str, str]]:
    """List the figures of a run apart from its measures, as name, value and remark.

    Args:
        summary: of the run.
        digits: decimals of percentages.
    """
    evaluation, figures = summary.evaluation or {}, []
    for name, key in (("Hamming loss", "hamming_loss"), ("Calibration error", "calibration_error")):
        if evaluation.get(key) is not None:
            figures.append((name, percent(evaluation[key], digits), ""))
    if summary.cv is not None:
        remark = describe_folds(summary.cv, digits)
        if summary.evaluated_on == "test" and summary.cv["interval"] is not None:
            bounds = (percent(bound, digits) for bound in summary.cv["interval"])
            remark = f"95% interval {' to '.join(bounds)}; {remark}"
        figures.append(("Cross-validation", percent(summary.cv["pooled"], digits), remark))
    times = f"{duration(summary.total_seconds)} in all"
    if summary.baseline is not None:
        times += f"; baseline {duration(summary.baseline['train_seconds'])}"
    without_embedding = f"({count(summary.parameters_without_embedding)} without the embedding)"
    limit = "" if summary.max_bytes is None else f"at most {size(summary.max_bytes)} asked for"
    return [
        *figures,
        (
            "Best epoch",
            NOTHING if summary.best_epoch is None else count(summary.best_epoch),
            _epochs(summary),
        ),
        ("Training time", duration(summary.train_seconds), f"({times})"),
        ("Training speed", f"{count(summary.texts_per_second)} texts/s", ""),
        *([] if summary.traffic is None else [("Processes", _describe_traffic(summary.traffic), "")]),
        ("Peak memory", size(summary.peak_memory_bytes), ""),
        ("Parameters", count(summary.parameters), without_embedding),
        ("Model file", size(summary.model_bytes), limit),
        ("Language prior", "none" if summary.prior is None else LANGUAGES[summary.prior], ""),
    ]


def describe_evaluation(summary: Summary) -> str:
    """Say which rows the measures are of, with the interval of the first, which has one."""
    if summary.evaluation is None:
        return "not measured: there is no test set, and too few rows to hold any out"
    rows = count(summary.evaluation["rows"])
    places = {
        "test": f"on {rows} test texts",
        "held-out": f"on {rows} held-out rows by a model trained without them",
        "cross-validation": f"cross-validated: {rows} rows, each by a model trained without it",
    }
    low, high = (percent(bound) for bound in summary.evaluation["interval"] or (None, None))
    return f"95% interval {low} to {high}, {places[str(summary.evaluated_on)]}"


def recorded_evaluation(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read the evaluation in a model's training record; None if it has none, or values of other types."""
    evaluation = record.get("evaluation")
    if not isinstance(evaluation, Mapping):
        return None
    try:
        low, high = map(float, evaluation["interval"])
        figures = {"evaluated_on": str(evaluation["evaluated_on"]), "rows": int(evaluation["rows"])}
        names = (*MEASURES, *SCORE_MEASURES)
        measures = {name: float(evaluation[name]) for name in names if name in evaluation}
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return {**figures, **measures, "interval": (low, high)}


def describe_recorded(record: Mapping[str, Any], digits: int = 2) -> tuple[str, str] | None:
    """Name the headline measure in a model's training record, and write it with its interval and rows."""
    evaluation = recorded_evaluation(record)
    if evaluation is None:
        return None
    measure = "micro_f1" if "micro_f1" in evaluation else "accuracy"
    low, high = (percent(bound, digits) for bound in evaluation["interval"])
    if "spearman" in evaluation:
        measure, (low, high) = "spearman", (f"{bound:.3f}" for bound in evaluation["interval"])
    rows = f"{count(evaluation['rows'])} {describe_rows(evaluation['evaluated_on'])}"
    updated = " before it was updated" if "updates" in record else ""
    value = (
        f"{evaluation[measure]:.3f}" if measure == "spearman" else percent(evaluation.get(measure), digits)
    )
    return (MEASURES | SCORE_MEASURES)[measure], f"{value} ({low} to {high}) on {rows}{updated}"


def describe_rows(evaluated_on: str | None) -> str:
    """Name the rows of an evaluation, e.g. ``test texts``."""
    return {"test": "test texts", "cross-validation": "cross-validated rows"}.get(
        str(evaluated_on), "held-out rows"
    )


def _epochs(summary: Summary) -> str:
    """Say how many epochs there were, and of which rows, e.g. ``of 5, by 400 validation rows``."""
    if summary.best_epoch is None:
        return ""
    n_epochs = len(summary.history) or summary.epochs
    stopped = f", stopped early; {summary.epochs} asked for" if n_epochs < summary.epochs else ""
    refit = f"; then trained again on all {count(summary.rows)} rows" if summary.refit else ""
    chosen_by = "the training texts, as none were held out"
    if summary.validation_rows:
        chosen_by = f"{count(summary.validation_rows)} validation rows"
    return f"of {n_epochs}{stopped}, by {chosen_by}{refit}"


def describe_folds(cv: Mapping[str, Any], digits: int = 2) -> str:
    """Describe the spread, e.g. ``5 folds: mean 81.20%, standard deviation 1.34 points``."""
    folds, spread = f"{len(cv['folds'])} folds", f"{100 * cv['spread']:.{digits}f} points"
    return f"{folds}: mean {percent(cv['mean'], digits)}, standard deviation {spread}"


def _describe_traffic(traffic: Mapping[str, float]) -> str:
    """Describe what processes send, e.g. ``2; in a step each sends 1.47 MB for 833 rows, and 9.46 MB``."""
    row_bytes, dense_bytes = (size(round(traffic[name])) for name in ("row_bytes", "dense_bytes"))
    rows = count(round(traffic["rows"]))
    return (
        f"{count(traffic['processes'])}; in a step each sends {row_bytes} for {rows} rows, and {dense_bytes}"
    )


def render_classes(classes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Render a table of the classes' scores."""
    rows = [
        [
            score["label"],
            *(percent(score[key]) for key in ("precision", "recall", "f1")),
            count(score["support"]),
        ]
        for score in classes
    ]
    return render_table(["class", "precision", "recall", "F1", "texts"], rows)


def render_stages(times: StageTimes) -> list[str]:
    """A table of the seconds of each stage of a run."""
    wall, processor = times.wall_seconds, times.processor_seconds
    rows = [
        (stage, f"{wall[stage]:.2f}", f"{processor[stage]:.2f}", percent(wall[stage] / sum(wall.values()), 0))
        for stage in wall
    ]
    rows.append(("in all", f"{sum(wall.values()):.2f}", f"{sum(processor.values()):.2f}", ""))
    return render_table(("stage", "seconds", "processor", "share"), rows)


def render_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Render a table: names to the left, figures to the right. Remarks, which have no head, follow."""
    cells = [[shorten(name, LABEL_COLUMNS), *others] for name, *others in (head, *rows)]
    widths = [max(columns(row[i]) for row in cells) for i in range(len(head))]
    lines = []
    for name, *figures in cells:
        padded = [f"  {name}{' ' * (widths[0] - columns(name))}"]
        padded += [f"{figure:>{width}}" for figure, width in zip(figures, widths[1:], strict=False)]
        lines.append("  ".join([*padded, *figures[len(head) - 1 :]]).rstrip())
    return lines
