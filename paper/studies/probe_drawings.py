"""Figures of the study of generated tasks, from its document alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from paper.studies.probe_tables import (
    QUESTIONS,
    SOLVES,
    accuracies,
    growing_tasks,
    plain_tasks,
    texts_in_words,
)
from paper.study import Document, Drawing
from paper.study_figures import MUTED, SERIES, line_with_band, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def drawings(document: Document) -> dict[str, Drawing]:
    """Accuracy by task; and by length, where the decisive token stands among ever more others."""
    return {"probes-tasks": _by_task(document), "probes-distance": _by_length(document)}


def _styles(document: Document) -> dict[str, dict[str, Any]]:
    """Line, marker and colour of each system; the last of the series for all that are blind to order."""
    seeing = [system["key"] for system in document["systems"] if not system["blind"]]
    return {
        system["key"]: SERIES[seeing.index(system["key"]) if system["key"] in seeing else len(SERIES) - 1]
        for system in document["systems"]
    }


def _by_task(document: Document) -> Drawing:
    tasks = plain_tasks(document)
    systems, styles = document["systems"], _styles(document)
    with styled():
        figure, panels = new_figure(len(tasks), width=1.75, height=2.9, sharey=True)
        for task, axes in zip(tasks, panels, strict=True):
            _chance(axes.axvline)
            for row, system in enumerate(systems):
                values, style = accuracies(document, task["key"], system["key"]), styles[system["key"]]
                if not values:
                    continue
                color, ends = style["color"], [min(values), max(values)]
                axes.plot(ends, [row, row], color=color, linewidth=2.5, alpha=0.5)
                axes.plot(np.mean(values), row, marker=style["marker"], color=color, markersize=6)
            axes.set(title=task["title"], xlim=(44, 104), xticks=(50, 75, 100), xlabel="test accuracy, %")
        panels[0].set_yticks(range(len(systems)), [system["title"] for system in systems])
        panels[0].invert_yaxis()
    caption = (
        f"What each network learns to see. Marks: mean test accuracy over {_seeds_in_words(document)}; "
        "bars behind them span the lowest to the highest. Dotted line: guessing, also the limit of any "
        f"bag-of-words classifier at `order` and `negation`. {texts_in_words(tasks)} The neighbours that "
        f"the context branch sees allow {100 * document['context_ceiling']['order']:.1f} % at `order` in "
        "the long run. Plus signs: networks whose answer does not depend on the order of the tokens."
    )
    return Drawing(figure, caption)


def _by_length(document: Document) -> Drawing:
    families = {name: tasks for name in QUESTIONS if (tasks := growing_tasks(document, name))}
    with styled():
        figure, panels = new_figure(len(families), width=4.4, height=3.6, sharey=True)
        for axes, (name, tasks) in zip(panels, families.items(), strict=True):
            _draw_lengths(axes, document, tasks)
            axes.set(title=name, xlabel="length of the texts, tokens", ylim=(45, 103))
        panels[0].set_ylabel("test accuracy, %")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    questions = " ".join(f"`{name}`: {QUESTIONS[name]}" for name in families)
    caption = (
        f"Relations over a distance. {questions} Mean test accuracy by the length of the texts, over "
        f"{_seeds_in_words(document)}; bands span the lowest to the highest. A and B each occur once in "
        "every text; dotted line: guessing, the limit of any bag-of-words classifier; dashed line: "
        f"{SOLVES:g} %. One network goes through all lengths, from short to long. Budgets of long texts are "
        "smaller: a low figure says that a network did not learn the relation on them. "
        f"{texts_in_words(next(iter(families.values())))} Marks of one length are drawn side by side."
    )
    return Drawing(figure, caption)


def _draw_lengths(axes: Axes, document: Document, tasks: Sequence[dict[str, Any]]) -> None:
    _chance(axes.axhline)
    axes.axhline(SOLVES, color=MUTED, linestyle=(0, (4, 3)), linewidth=0.8)
    n_drawn, blind_named = 0, False
    for system in document["systems"]:
        runs = {task["length"]: accuracies(document, task["key"], system["key"]) for task in tasks}
        runs = {length: values for length, values in runs.items() if values}
        lengths = np.array(list(runs), dtype=float)
        lines = list(np.array(list(runs.values())).T)  # S lines of (N,)
        if not lines:
            continue
        if system["blind"]:
            label = "_hidden" if blind_named else "the three without positions or context"
            blind_named = True
            line_with_band(axes, lengths, lines, label, len(SERIES) - 1)
            continue
        beside = lengths * 2.0 ** (0.11 * (n_drawn - 2))
        line_with_band(axes, beside, lines, system["title"], n_drawn)
        n_drawn += 1
    axes.set_xscale("log", base=2)
    axes.set_xticks([task["length"] for task in tasks], [str(task["length"]) for task in tasks])
    axes.minorticks_off()


def _chance(draw: Callable[..., Any]) -> None:
    draw(50, color=MUTED, linestyle=":", linewidth=1.2)


def _seeds_in_words(document: Document) -> str:
    n_seeds = len(document["seeds"])
    return "a single seed" if n_seeds == 1 else f"{n_seeds} seeds"
