"""Tables and figures of the study of generated tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from paper.accuracy import mean_and_deviation
from paper.study import Document, Drawing, Table
from paper.study_figures import MUTED, SERIES, line_with_band, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

QUESTIONS = {
    "distance": "is the first token A, and not the later one?",
    "long-range": "does A come before B, with half of the text between them on average?",
}
"""Of the tasks whose texts grow longer."""


def tables(document: Document) -> list[Table]:
    """Accuracy of every system on every task."""
    n_seeds = len(document["seeds"])
    plain = [task for task in document["tasks"] if task["length"] is None]
    seeds = f"mean ± sample standard deviation over {n_seeds} seeds. " if n_seeds > 1 else "a single seed. "
    ceiling = 100 * document["context_ceiling"]["order"]
    return [
        _table(
            document,
            plain,
            [task["title"] for task in plain],
            f"Test accuracy in per cent by task, {seeds}{_texts_in_words(plain)} Guessing gives 50. At "
            f"`order`, the {document['radius']} neighbours on each side that the context branch sees allow "
            f"{ceiling:.1f} in the long run.",
        ),
        *(
            _table(
                document,
                long,
                [f"{task['length']} tokens" for task in long],
                f"Test accuracy in per cent on the task `{name}` ({question}) by the length of the texts, "
                f"{seeds}{_texts_in_words(long)} Guessing gives 50.",
            )
            for name, question in QUESTIONS.items()
            if (long := _growing(document, name))
        ),
        _settings(document),
    ]


def _growing(document: Document, name: str) -> list[dict[str, Any]]:
    """The tasks of a name, by length."""
    return [task for task in document["tasks"] if task["key"].startswith(f"{name}-")]


def _table(document: Document, tasks: Sequence[dict[str, Any]], head: Sequence[str], caption: str) -> Table:
    cells = [
        [system["title"], *(_cell(_accuracy(document, task["key"], system["key"])) for task in tasks)]
        for system in document["systems"]
    ]
    bags = ["*Best bag of words*", *(f"{100 * task['bag_of_words']:.0f}" for task in tasks)]
    return Table(caption, ["System", *head], [*cells, bags])


def _settings(document: Document) -> Table:
    """What was chosen, and how long the networks took to learn."""
    cells = []
    for system in document["systems"]:
        row = [system["title"], f"{system['parameters']:,}"]
        for task in document["tasks"]:
            result = _result(document, task["key"], system["key"])
            epochs = np.mean([run["epochs"] for run in result["runs"]])
            row.append(f"{result['rate']:g}; {epochs:.1f}")
        cells.append(row)
    caption = (
        "Parameters, embedding included; and for every task the learning rate that was chosen by the "
        f"validation texts, and the mean number of epochs trained: {document['epochs']} at most, fewer where "
        f"{100 * document['solved']:g} % of the validation texts were answered rightly, one where nothing "
        "can be learnt."
    )
    return Table(caption, ["System", "Parameters", *(task["title"] for task in document["tasks"])], cells)


def _result(document: Document, task: str, system: str) -> dict[str, Any]:
    found = [r for r in document["results"] if r["task"] == task and r["system"] == system]
    return dict(found[0])


def _accuracy(document: Document, task: str, system: str) -> list[float]:
    """Per cent for every seed."""
    return [100 * run["test_accuracy"] for run in _result(document, task, system)["runs"]]


def _cell(values: Sequence[float]) -> str:
    found = mean_and_deviation(values)
    return f"{found['mean']:.1f}" + ("" if found["deviation"] is None else f" ± {found['deviation']:.1f}")


def drawings(document: Document) -> dict[str, Drawing]:
    """Accuracy by task; and by length, where the decisive token stands among ever more others."""
    return {"probes-tasks": _by_task(document), "probes-distance": _by_length(document)}


def _looks(document: Document) -> dict[str, dict[str, Any]]:
    """Line, marker and colour of each system; the last of the series for all that are blind to order."""
    seeing = [system["key"] for system in document["systems"] if not system["blind"]]
    return {
        system["key"]: SERIES[seeing.index(system["key"]) if system["key"] in seeing else len(SERIES) - 1]
        for system in document["systems"]
    }


def _by_task(document: Document) -> Drawing:
    tasks = [task for task in document["tasks"] if task["length"] is None]
    systems, looks = document["systems"], _looks(document)
    with styled():
        figure, panels = new_figure(len(tasks), width=1.75, height=2.9, sharey=True)
        for task, axes in zip(tasks, panels, strict=True):
            _chance(axes.axvline)
            for row, system in enumerate(systems):
                values, look = _accuracy(document, task["key"], system["key"]), looks[system["key"]]
                axes.plot(
                    [min(values), max(values)], [row, row], color=look["color"], linewidth=2.5, alpha=0.5
                )
                axes.plot(np.mean(values), row, marker=look["marker"], color=look["color"], markersize=6)
            axes.set(title=task["title"], xlim=(44, 104), xticks=(50, 75, 100), xlabel="test accuracy, %")
        panels[0].set_yticks(range(len(systems)), [system["title"] for system in systems])
        panels[0].invert_yaxis()
    caption = (
        "What each network learns to see. Marks: mean test accuracy over "
        f"{_seeds_in_words(document)}; bars behind them: from the least to the greatest (where none is seen, "
        "it is shorter than the mark). Dotted line: guessing, which is also the most that any classifier of "
        f"bags of words can reach at `order` and `negation`. {_texts_in_words(tasks)} The neighbours that "
        f"the context branch sees allow {100 * document['context_ceiling']['order']:.1f} % at `order` in the "
        "long run. Plus signs: networks to which the order of the tokens makes no difference."
    )
    return Drawing(figure, caption)


def _by_length(document: Document) -> Drawing:
    families = {name: found for name in QUESTIONS if (found := _growing(document, name))}
    with styled():
        figure, panels = new_figure(len(families), width=3.8, height=3.6, sharey=True)
        for axes, (name, tasks) in zip(panels, families.items(), strict=True):
            _draw_lengths(axes, document, tasks)
            axes.set(title=name, xlabel="length of the texts, tokens", ylim=(45, 103))
        panels[0].set_ylabel("test accuracy, %")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    asked = " ".join(f"`{name}`: {QUESTIONS[name]}" for name in families)
    caption = (
        f"Relations over a distance. {asked} Mean test accuracy by the length of the texts, over "
        f"{_seeds_in_words(document)}; bands: from the least to the greatest. A and B each occur once in "
        "every text; dotted line: guessing, the most that any classifier of bags of words can reach. Each "
        f"length has its own networks. {_texts_in_words(next(iter(families.values())))} Marks of the same "
        "length are drawn a little beside each other, so that none hides another."
    )
    return Drawing(figure, caption)


def _draw_lengths(axes: Axes, document: Document, tasks: Sequence[dict[str, Any]]) -> None:
    lengths = np.array([task["length"] for task in tasks], dtype=float)
    _chance(axes.axhline)
    n_drawn, blind_named = 0, False
    for system in document["systems"]:
        runs = np.array([_accuracy(document, task["key"], system["key"]) for task in tasks]).T  # (S, N)
        if system["blind"]:
            label = "_hidden" if blind_named else "the three without positions or context"
            blind_named = True
            line_with_band(axes, lengths, list(runs), label, len(SERIES) - 1)
            continue
        beside = lengths * 2.0 ** (0.07 * (n_drawn - 2))
        line_with_band(axes, beside, list(runs), system["title"], n_drawn)
        n_drawn += 1
    axes.set_xscale("log", base=2)
    axes.set_xticks(lengths, [str(task["length"]) for task in tasks])
    axes.minorticks_off()


def _chance(draw: Callable[..., Any]) -> None:
    draw(50, color=MUTED, linestyle=":", linewidth=1.2)


def _seeds_in_words(document: Document) -> str:
    n_seeds = len(document["seeds"])
    return "a single seed" if n_seeds == 1 else f"{n_seeds} seeds"


def _texts_in_words(tasks: Sequence[dict[str, Any]]) -> str:
    train, _, test = tasks[0]["rows"]
    return f"Generated texts: {train:,} to learn from, {test:,} to be tested on."
