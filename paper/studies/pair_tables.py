"""What the study of two texts makes of its document: differences of networks, tables and a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paper.correlation import spearman_values, unpack_ranks
from paper.pair_systems import NETWORKS, OPERATIONS, TRANSFORMERS, TWINS
from paper.statistics import Lead, compare_sets, stack_answers
from paper.study import Document, Drawing, Table
from paper.study_figures import INK, SERIES, new_figure, styled
from paper.verdicts import judge_lead
from token2wave.formatting import NOTHING

TITLES = {
    "mrpc": "MRPC: paraphrase",
    "rte": "RTE: entailment",
    "qqp": "QQP, a part: same question",
    "sick": "SICK: entailment",
    "sick-score": "SICK: relatedness",
    "stsb": "STS-B: similarity",
}
BASELINES = {"constant": "no text read", "tfidf": "cosine of TF-IDF"}


def gains(task: Mapping[str, Any], first: str, second: str) -> NDArray[np.float64]:
    """What each test pair adds to the difference of two networks, ``(S, N)``, in points."""
    both = [task["runs"][key] for key in (first, second)]
    if task["scores"]:
        truth = unpack_ranks(task["truth"])
        one, other = (
            np.stack([spearman_values(truth, unpack_ranks(run["ranks"])) for run in runs]) for runs in both
        )
        return 100 * (one - other)
    one, other = (stack_answers(runs, task["rows"]["test"]).astype(np.float64) for runs in both)
    return 100 * (one - other)


def differences(document: Document) -> dict[tuple[str, str], Lead]:
    """Mean over all tasks of the difference of each wave to each rival, by the keys of both.

    Tasks of one data set have the same test pairs, which are drawn together.
    """
    tasks, compared = document["tasks"], {}
    pairs = _compared_networks(tasks)
    for pair in pairs:
        of_data: dict[str, list[NDArray[np.float64]]] = {}
        for task in tasks:
            of_data.setdefault(task["data"], []).append(gains(task, *pair))
        weights = len(of_data) / len(tasks)  # compare_sets divides by the number of data sets
        sets = [weights * np.sum(each, axis=0) for each in of_data.values()]
        compared[pair] = compare_sets(sets, n_comparisons=len(pairs))
    return compared


def differences_by_task(document: Document) -> dict[tuple[str, str, str], Lead]:
    """Difference of each wave to each rival on each task, by the keys of task and networks."""
    tasks = document["tasks"]
    compared = [(task, *pair) for task in tasks for pair in _compared_networks([task])]
    return {
        (task["key"], first, second): compare_sets([gains(task, first, second)], n_comparisons=len(compared))
        for task, first, second in compared
    }


def _compared_networks(tasks: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Each wave and each rival that all tasks have."""
    keys = [key for key in NETWORKS if tasks and all(key in task["runs"] for task in tasks)]
    waves = [key for key in keys if key.startswith("wave-")]
    return [(wave, rival) for wave in waves for rival in keys if rival not in waves]


def tables(document: Document) -> list[Table]:
    """Figures of all networks; differences over all tasks, with verdicts; and on each task."""
    made = [_figures(document), _mean_differences(document), _task_differences(document)]
    return made[:1] + [table for table in made[1:] if table.rows]


def _figures(document: Document) -> Table:
    rows = []
    for task in document["tasks"]:
        second = "pearson" if task["scores"] else "macro_f1"
        name = TITLES.get(task["key"], task["key"])
        kind = "Spearman, Pearson" if task["scores"] else "accuracy, macro-F1"
        for key, figures in task["baselines"].items():
            cells = [f"{100 * figures[figure]:.2f}" for figure in ("test", second)]
            rows.append([name, BASELINES[key], kind, cells[0], NOTHING, cells[1], NOTHING])
        for key, runs in task["runs"].items():
            values = [[100 * run[figure] for run in runs] for figure in ("test", second)]
            cells = [f"{np.mean(values[0]):.2f}", f"{min(values[0]):.2f}", f"{np.mean(values[1]):.2f}"]
            size = runs[0]["parameters_without_embedding"]
            rows.append([name, NETWORKS[key], kind, *cells, f"{size:,}"])
    head = ["task", "network", "figures (x 100)", "first figure", "lowest seed", "second figure"]
    head += ["parameters without embedding"]
    return Table(_caption(document), head, rows, n_names=3)


def _caption(document: Document) -> str:
    counts = (
        f"{task['key']} {' / '.join(format(n, ',') for n in task['rows'].values())}"
        for task in document["tasks"]
    )
    sentences = [
        f"Training / validation / test pairs: {'; '.join(counts)}."
        f" {document['epochs']} epochs, weights of the best one by validation; width {document['width']}; "
        f"seeds {', '.join(map(str, document['seeds']))}."
    ]
    sentences += dict.fromkeys(
        f"{text.removesuffix('.')}." for t in document["tasks"] for text in t["caveats"]
    )
    sentences += document["left_out"]
    if document["unfinished"]:
        sentences.append(f"Not finished: {', '.join(document['unfinished'])}.")
    return " ".join(sentences)


def _mean_differences(document: Document) -> Table:
    rows = [
        [NETWORKS[wave], NETWORKS[rival], str(lead), judge_lead(lead)]
        for (wave, rival), lead in differences(document).items()
    ]
    caption = (
        "Mean over all tasks of the difference of accuracy or of Spearman's correlation times 100, paired "
        f"over seeds and test pairs; intervals of 95 % for all {len(rows)} of the table together."
    )
    return Table(caption, ["network", "rival", "difference", "better than the rival"], rows, n_names=2)


def _task_differences(document: Document) -> Table:
    compared = differences_by_task(document)
    pairs = dict.fromkeys((first, second) for _, first, second in compared)
    rows = []
    for first, second in pairs:
        leads = [compared.get((task["key"], first, second)) for task in document["tasks"]]
        cells = [NOTHING if lead is None else str(lead).replace(" points", "") for lead in leads]
        rows.append([NETWORKS[first], NETWORKS[second], *cells])
    caption = (
        "The same differences on each task, in points; intervals of 95 % for all "
        f"{len(compared)} of the table together."
    )
    return Table(caption, ["network", "rival", *(t["key"] for t in document["tasks"])], rows, n_names=2)


def drawings(document: Document) -> dict[str, Drawing]:
    """The figure of each network and baseline, a panel a task."""
    tasks = document["tasks"]
    if not tasks:
        return {}
    keys = [*BASELINES, *(key for key in NETWORKS if any(key in task["runs"] for task in tasks))]
    columns = min(3, len(tasks))
    with styled():
        figure, panels = new_figure(columns, -(-len(tasks) // columns), width=3.0, height=2.6, sharey=True)
        for axes, task in zip(panels, tasks, strict=False):
            for row, key in enumerate(keys):
                values = _values(task, key)
                style = SERIES[_series(key)]
                axes.plot(values, [row] * len(values), "o", color=style["color"], alpha=0.45, markersize=5)
                if values:
                    mean = float(np.mean(values))
                    axes.plot(mean, row, "|", color=INK, markersize=13, markeredgewidth=1.6)
            axes.set_yticks(range(len(keys)), [(BASELINES | NETWORKS)[key] for key in keys])
            axes.set(title=TITLES.get(task["key"], task["key"]), ylim=(len(keys) - 0.5, -0.5))
            axes.set_xlabel("Spearman's correlation x 100" if task["scores"] else "accuracy (%)")
            axes.margins(x=0.08)
        for axes in panels[len(tasks) :]:
            axes.set_visible(False)
    caption = (
        f"Test figures of pairs of texts. {_caption(document)} A dot is a seed, a bar the mean over seeds. "
        "Without reading the texts, the correlation is 0."
    )
    return {"pairs": Drawing(figure, caption)}


def _values(task: Mapping[str, Any], key: str) -> list[float]:
    """The figure of every seed of a network, or of a baseline, times 100; not the 0 of constant scores."""
    if key == "constant" and task["scores"]:
        return []
    if key in BASELINES:
        return [100 * task["baselines"][key]["test"]] if key in task["baselines"] else []
    return [100 * run["test"] for run in task["runs"].get(key, ())]


def _series(key: str) -> int:
    """Number of the style: waves, real twins, Transformers and baselines each have their own."""
    groups = (tuple(f"wave-{operation}" for operation in OPERATIONS), TWINS, TRANSFORMERS, tuple(BASELINES))
    (number,) = (number for number, group in enumerate(groups) if key in group)
    return (0, 1, 2, 5)[number]
