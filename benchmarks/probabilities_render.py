"""Tables and the figure of ``benchmarks/probabilities.py``."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from probabilities import COVERAGES, FALSE_ALARMS
from render_figure import GRID, INK

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#6b5b95")  # Okabe and Ito
FIRST = ("ag_news", "imdb")  # in the foreground
Runs = list[dict[str, Any]]


def groups(document: dict[str, Any]) -> dict[tuple[str, str], Runs]:
    """Runs of each data set and preset, over their seeds."""
    found: dict[tuple[str, str], Runs] = {}
    for run in document["runs"].values():
        found.setdefault((run["data"], run["preset"]), []).append(run)
    return found


def tables(document: dict[str, Any]) -> str:
    """Calibration and abstention of every data set, then novelty of foreign texts."""
    text = [
        "| data | preset | seeds | accuracy | surest 90 % | surest 80 % | calibration error |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    novel = [
        "| model | foreign texts | area | cut to equal length | found, 5 % false alarms |",
        "|---|---|---:|---:|---:|",
    ]
    alarms = FALSE_ALARMS.index(0.05)
    for (data, preset), runs in groups(document).items():
        at = [COVERAGES.index(part) for part in (1.0, 0.9, 0.8)]
        accuracies = [f"{100 * _mean(runs, 'answered', i, 'accuracy'):.2f}" for i in at]
        error = _mean(runs, "calibration_error")
        text.append(f"| {data} | {preset} | {len(runs)} | {' | '.join(accuracies)} | {error:.4f} |")
        for other in runs[0]["foreign"]:
            areas = [f"{_mean(runs, 'foreign', other, part, 'area'):.3f}" for part in ("whole", "cut")]
            caught = _mean(runs, "foreign", other, "whole", "found", alarms)
            novel.append(f"| {data}, {preset} | {other} | {' | '.join(areas)} | {100 * caught:.1f} % |")
    notes = [f"*{caveat.rstrip('.')}.*" for about in document["data"].values() for caveat in about["caveats"]]
    told = (
        "Means over seeds; accuracies in percent, of all test texts and of the surest. Calibration error: "
        "expected calibration error in 15 bins. Area: under the ROC curve of novelty, own test texts against "
        f"foreign ones, whole and with all texts cut to their first {document['words']} words."
    )
    return "\n".join([*text, "", *novel, "", told, f"Command: `{document['command']}`.", *notes])


def scores_table(document: dict[str, Any]) -> str:
    """Areas of the scores that ``benchmarks/novelty_scores.py`` compared, over pairs of data sets."""
    columns = list(next(iter(document["areas"].values())))
    head = " | ".join(name if name == "whole" else f"first {name} words" for name in columns)
    text = [f"| score | {head} | least, whole |", "|---|" + "---:|" * (len(columns) + 1)]
    for score, found in document["areas"].items():
        means = [f"{statistics.mean(found[name].values()):.3f}" for name in columns]
        shown = f"**{score}**" if score == document["chosen"] else score
        text.append(f"| {shown} | {' | '.join(means)} | {min(found['whole'].values()):.3f} |")
    n_pairs = len(document["sets"]) * (len(document["sets"]) - 1)
    text += [
        "",
        f"Area under the ROC curve, mean and least of {n_pairs} pairs of {', '.join(document['sets'])}; ",
    ]
    text[-1] += f"preset `{document['preset']}`, seed 0; rows held back from training on both sides."
    return "\n".join(text)


def _mean(runs: Runs, *place: str | int) -> float:
    """Mean over runs of the number that stands in a place of each."""

    def at(run: Any) -> float:
        for key in place:
            run = run[key]
        return float(run)

    return statistics.mean(map(at, runs))


def figure(document: dict[str, Any], path: Path) -> None:
    """Draw accuracy against coverage, and the ROC curves of novelty; the same document gives the same bytes.

    Args:
        document: what ``benchmarks/probabilities.py`` wrote.
        path: an SVG or PNG file, by its suffix.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"svg.hashsalt": "probabilities", "font.size": 10})
        drawing = Figure(figsize=(9.5, 4.2), layout="constrained")
        FigureCanvasAgg(drawing)
        left, right = drawing.subplots(1, 2)
        small = {data: runs for (data, preset), runs in groups(document).items() if preset == "small"}
        for (data, runs), color in zip(small.items(), COLORS, strict=False):
            accuracies = [100 * _mean(runs, "answered", i, "accuracy") for i in range(len(COVERAGES))]
            left.plot(
                [100 * part for part in COVERAGES],
                accuracies,
                color=color,
                label=data,
                marker="o",
                markersize=3,
                linewidth=2 if data in FIRST else 1,
            )
            for other in runs[0]["foreign"]:
                for part, style in (("whole", "-"), ("cut", "--")):
                    found = [
                        100 * _mean(runs, "foreign", other, part, "found", i)
                        for i in range(len(FALSE_ALARMS))
                    ]
                    area = _mean(runs, "foreign", other, part, "area")
                    right.plot(
                        [100 * share for share in FALSE_ALARMS],
                        found,
                        style,
                        color=color,
                        label=f"{data} model, {other} texts{', cut' if part == 'cut' else ''}: {area:.3f}",
                    )
        left.invert_xaxis()
        left.set_xlabel("texts answered, the surest first, %")
        left.set_ylabel("accuracy, %")
        left.set_title("Abstention by probability", loc="left", color=INK)
        right.plot([0, 100], [0, 100], color=GRID, linewidth=1)
        right.set_xlabel("own test texts above the threshold, %")
        right.set_ylabel("foreign texts above it, %")
        right.set_title("Novelty (area under the curve)", loc="left", color=INK)
        for axes in (left, right):
            axes.grid(color=GRID, linewidth=0.8)
            axes.set_axisbelow(True)
            if axes.get_legend_handles_labels()[0]:
                axes.legend(fontsize=8, loc="lower right")
        is_svg = path.suffix == ".svg"
        drawing.savefig(path, dpi=160, metadata={"Date": None} if is_svg else {"Software": None})
