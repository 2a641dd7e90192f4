"""Where the phase carries information: networks without phase or magnitude, by what is read out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from paper.result_store import NotFinishedError, Result, ResultStore
from paper.studies.ablation_network import remove_from_waves
from paper.studies.depth_comparisons import DROPOUT
from paper.studies.pair_interference import draw_example, measure_example
from paper.studies.phase_claims import judge
from paper.studies.phase_comparisons import (
    OPERATIONS,
    READOUTS,
    TITLES,
    WIDE,
    Case,
    Comparison,
    case_of,
    compare_networks,
)
from paper.study import Document, Drawing, Options, Study, StudyData, Table
from paper.study_figures import SERIES, new_figure, styled
from paper.systems import train_and_answer
from paper.verdicts import judge_lead
from token2wave.models import TextNetwork, WaveNetwork

REMOVED = ("phase", "magnitude")
OTHER_SETS = ("sst2", "trec", "emotion")
WIDTH = 128
TRAIN_ROWS, EPOCHS = 5_000, 4
SHORT_TEXTS_EPOCHS = 8  # of the other sets: their texts have half as many words, and teach less in a pass
WIDE_RUNS = (("cls", 0), ("mean", 2))
"""Read-outs measured at the papers' width, and the number of the data set: states of all tokens cost too much
there on longer texts."""
QUICK_ROWS, QUICK_TEST_ROWS, QUICK_EPOCHS, QUICK_WIDTH = 600, 300, 1, 16


def make_cases(names: Sequence[str], quick: bool = False) -> list[Case]:
    """All networks on data sets of some names, in the order in which they are trained."""
    removed = (None, *REMOVED)
    if quick:
        readouts = ("cls", "mean")
        return [Case(names[0], r, "modulation", QUICK_WIDTH, what) for r in readouts for what in removed]
    return [
        *(
            Case(name, readout, operation, WIDTH, what)
            for readout in READOUTS
            for name in names
            for operation in OPERATIONS
            for what in removed
        ),
        *(
            Case(names[number], readout, operation, WIDE, what)
            for readout, number in WIDE_RUNS
            if number < len(names)
            for operation in OPERATIONS
            for what in (None, "phase")
        ),
    ]


def measure(store: ResultStore, options: Options) -> Document:
    """Train every network with each seed.

    Returns:
        Settings; ``rows`` by data set; ``networks``, each with ``runs`` (one a seed), as from
        :func:`paper.systems.train_and_answer`; ``example``, of eq. 5
        (:func:`paper.studies.pair_interference.measure_example`); ``unfinished``, networks that lack some
        run.
    """
    quick = options.quick
    seeds = options.seeds[:2] if quick else options.seeds
    first, others = (QUICK_EPOCHS, QUICK_EPOCHS) if quick else (EPOCHS, SHORT_TEXTS_EPOCHS)
    sizes = (QUICK_ROWS, QUICK_TEST_ROWS) if quick else (TRAIN_ROWS, None)
    sets, left_out = options.load_several(OTHER_SETS, *sizes)
    by_name = {data.name: data for data in sets}
    epochs = {data.name: others if number else first for number, data in enumerate(sets)}
    networks, unfinished = [], []
    for case in make_cases(list(by_name), quick):
        try:
            data = by_name[case.data]
            runs = [{"seed": seed, **_train(store, data, case, epochs[data.name], seed)} for seed in seeds]
            networks.append({**vars(case), "key": case.key, "runs": runs})
        except NotFinishedError:
            unfinished.append(f"{case.data}/{case.key}")
    if not networks:
        raise NotFinishedError("phase")
    try:
        width = QUICK_WIDTH if quick else WIDTH
        example = measure_example(store, sets[0], width, first, seeds[0])
    except NotFinishedError:
        example = None
        unfinished.append("example")
    return {
        "data": sets[0].name,
        "rows": {data.name: data.settings["rows"] for data in sets},
        "caveats": [*(caveat for data in sets for caveat in data.texts.caveats), *left_out],
        "epochs": epochs,
        "seeds": list(seeds),
        "networks": networks,
        "example": example,
        "unfinished": unfinished,
    }


def _train(store: ResultStore, data: StudyData, case: Case, epochs: int, seed: int) -> Result:
    system = case.system(epochs)

    def build() -> TextNetwork:
        network = system.build(data, seed, store.device)
        assert isinstance(network, WaveNetwork)
        return network if case.removed is None else remove_from_waves(network, case.removed)

    def compute() -> Result:
        return train_and_answer(store, build, system.recipe, data, seed)

    settings = {"system": system.settings(), "removed": case.removed, "data": data.settings, "seed": seed}
    stage = f"phase: {data.name}, {case.key}, seed {seed}"
    return store.compute(f"phase/{data.name}/{case.key}-{seed}", settings, compute, stage)


def tables(document: Document) -> list[Table]:
    """Accuracy of every network, and what phase and magnitude bring."""
    over_sets, of_sets = [], []
    for each in compare_networks(document):
        names = [TITLES[each.readout], each.operation, str(each.width), each.removed]
        lead = each.over_sets
        over_sets.append([*names, ", ".join(each.of_sets), str(lead), judge_lead(lead)])
        of_sets += [[*names, data, str(lead), judge_lead(lead)] for data, lead in each.of_sets.items()]
    rows = []
    for network in document["networks"]:
        case, values = case_of(network), [100 * run["test_accuracy"] for run in network["runs"]]
        names = [case.data, TITLES[case.readout], case.operation, str(case.width), case.removed or "nothing"]
        rows.append([*names, f"{np.mean(values):.2f}", f"{min(values):.2f} to {max(values):.2f}"])
    caption = (
        "Lead of whole networks over those without the part, paired over seeds and test texts, as the mean "
        "over data sets, each of which counts the same; intervals of 95 % for all of the table together."
    )
    if document["unfinished"]:
        caption += f" Not finished: {', '.join(document['unfinished'])}."
    head = ["read out", "operation", "width", "removed", "data", "lead", "more accurate with it"]
    accuracy = ["data", "read out", "operation", "width", "removed", "test accuracy (%)", "span of seeds"]
    return [
        Table(caption, head, over_sets, n_names=5),
        Table("The same on each data set; these intervals hold together, too.", head, of_sets, n_names=5),
        Table(f"Test accuracy. {_describe(document)}", accuracy, rows, n_names=5),
    ]


def _describe(document: Document) -> str:
    sizes = ", ".join(
        f"{name} {rows['train']:,}, {rows['validation']:,} and {rows['test']:,}"
        for name, rows in document["rows"].items()
    )
    seeds = ", ".join(map(str, document["seeds"]))
    epochs = ", ".join(f"{name} {number}" for name, number in document["epochs"].items())
    return (
        f"Training, validation and test rows: {sizes}; epochs: {epochs}, weights of the best one by "
        f"validation accuracy; seeds {seeds}."
    )


def drawings(document: Document) -> dict[str, Drawing]:
    """Lead over all sets by read-out, a panel a part."""
    compared = [each for each in compare_networks(document) if each.width != WIDE]
    readouts = [readout for readout in READOUTS if any(each.readout == readout for each in compared)]
    with styled():
        figure, panels = new_figure(len(REMOVED), width=3.4, height=1.3 + 0.35 * len(readouts), sharey=True)
        for axes, removed in zip(panels, REMOVED, strict=True):
            axes.axvspan(-0.3, 0.3, color=SERIES[5]["color"], alpha=0.15, linewidth=0)
            for series, operation in enumerate(OPERATIONS):
                for each in _of(compared, removed, operation):
                    lead, y = each.over_sets, readouts.index(each.readout) + 0.24 * (series - 0.5)
                    style: dict[str, Any] = {"color": SERIES[series]["color"], "capsize": 2}
                    style |= {"marker": SERIES[series]["marker"], "markersize": 4.5, "linestyle": "none"}
                    if np.isfinite(lead.low):
                        style["xerr"] = [[lead.mean - lead.low], [lead.high - lead.mean]]
                    label = operation if each.readout == readouts[0] else None
                    axes.errorbar(lead.mean, y, label=label, **style)
            axes.set(title=f"without {removed}", xlabel="lead of the whole network (points)")
            axes.grid(visible=False, axis="y")
        panels[0].set_yticks(range(len(readouts)), [TITLES[readout] for readout in readouts])
        panels[0].set_ylim(len(readouts) - 0.5, -0.5)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    sets = ", ".join(document["rows"])
    caption = (
        f"What phase and magnitude bring, mean over {sets}: lead of networks of width {WIDTH} over those "
        "without the part. Bars are intervals of 95 % for all of the table together; the grey band is the "
        "margin of 0.3 points, within which a difference counts as none."
    )
    drawn = {"phase": Drawing(figure, caption)}
    if document["example"] is not None:
        drawn["phase-example"] = draw_example(document["example"], document["data"])
    return drawn


def _of(compared: Sequence[Comparison], removed: str, operation: str) -> Iterator[Comparison]:
    return (each for each in compared if (each.removed, each.operation) == (removed, operation))


STUDY = Study(
    "phase",
    "Phase and magnitude",
    "What do phase and magnitude carry? In one layer w of [CLS] is the same in every text, with positions as "
    "without them. Read out there, the phase arccos(w / G) is a function of the magnitude G, and its removal "
    "takes no information away. The same holds for the waves of sentence and text (Fig. 6a). The phase is a "
    "number of its own where the states of all tokens are averaged, and in a second layer, where w of [CLS] "
    f"depends on the text (with dropout {DROPOUT}, as in the study of depth). Each network is trained with "
    "and without the phase (every wave becomes its magnitude, with phase 0) and the magnitude (every wave "
    "becomes exp(i alpha)), with the same seeds, rows, order of texts and recipe, at width "
    f"{WIDTH} and, for two read-outs, {WIDE}. Embeddings of networks with positions have initial standard "
    "deviation 1, as their sinusoids do. Nothing is tuned for a network, and test rows choose nothing.",
    measure,
    tables,
    drawings,
    judge,
)
