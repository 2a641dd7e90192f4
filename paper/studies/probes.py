"""What networks can learn to see in a text: generated tasks with a known answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from paper.accuracy import mean_and_deviation
from paper.result_store import Result, ResultStore, resolve_device
from paper.studies.probe_tasks import (
    N_ROWS,
    Task,
    counting,
    decided_by_neighbours,
    distance,
    long_range,
    negation,
    order,
    presence,
)
from paper.study import Document, Drawing, Options, Study, Table
from paper.study_figures import MUTED, SERIES, line_with_band, new_figure, styled
from paper.systems import System, build_network
from token2wave.models import TextNetwork, WaveConfig
from token2wave.training.callbacks import Callback, Epoch
from token2wave.training.examples import Examples
from token2wave.training.loop import fit
from token2wave.training.presets import preset_named
from token2wave.training.recipe import Recipe
from token2wave.training.validation import validate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEADS, FEED_FORWARD, RADIUS = 32, 4, 128, 3
SOLVED = 0.999  # of the validation texts
DATA_SEED = 20241104  # the same texts for every network; seeds are those of networks
RECIPE = Recipe(batch_size=64, weight_decay=0.0, precision="float32")


@dataclass(frozen=True)
class Effort:
    """The budget of a network: texts for training, validation and test, most epochs, and learning rates.

    ``long_rows`` and ``lengths`` are those of the tasks ``distance`` and ``long-range``.
    """

    rows: tuple[int, int, int] = (8_000, 2_000, 2_000)
    long_rows: tuple[int, int, int] = (4_000, 2_000, 2_000)
    epochs: int = 8
    rates: tuple[float, ...] = (1e-3, 3e-3)
    lengths: tuple[int, ...] = (16, 32, 64, 128)

    def rows_of(self, task: Task) -> tuple[int, int, int]:
        """Texts of a task for training, validation and test."""
        return self.rows if task.length is None else self.long_rows

    def tasks(self) -> list[Task]:
        """The tasks in the order of the report."""
        plain = [presence(), counting(), order(), negation()]
        long = [make(length) for make in (distance, long_range) for length in self.lengths]
        return plain + long


QUICK = Effort((600, 200, 200), (600, 200, 200), epochs=2, rates=(3e-3,), lengths=(16, 32))


def _wave(key: str, title: str, operation: str, **settings: Any) -> System:
    network = {**preset_named("paper").network, "width": WIDTH, "dropout": 0.0, "operation": operation}
    return System(key, title, "wave", network | settings)


def _transformer(key: str, title: str, positions: str) -> System:
    shape = {"width": WIDTH, "heads": HEADS, "feed_forward": FEED_FORWARD, "dropout": 0.0}
    return System(key, title, "transformer", shape | {"positions": positions})


# Sinusoids have amplitude 1; of 0.1, 0.3, 1 and 3 for the tokens, 0.3 is among the best on validation texts.
PLACED = {"positions": "sinusoidal", "embedding_scale": 0.3}
CONTEXT = {"context_width": WIDTH, "context_radius": RADIUS, "embedding_scale": 1.0}
SYSTEMS = (
    _wave("wave-modulation", "Wave, modulation", "modulation"),
    _wave("wave-interference", "Wave, interference", "interference"),
    _transformer("transformer", "Transformer", "none"),
    _wave("wave-modulation-positions", "Wave, modulation, positions", "modulation", **PLACED),
    _wave("wave-interference-positions", "Wave, interference, positions", "interference", **PLACED),
    _wave("wave-two-layers-positions", "Wave, 2 layers, positions", "modulation", layers=2, **PLACED),
    _wave("wave-context", "Wave, context branch", "modulation", **CONTEXT),
    _transformer("transformer-positions", "Transformer, positions", "learned"),
)
QUESTIONS = {
    "distance": "is the first token A, and not the later one?",
    "long-range": "does A come before B, with half of the text between them on average?",
}
"""Of the tasks with several lengths."""


def blind_to_order(system: System) -> bool:
    """Whether the network's answer does not depend on the order of the tokens after [CLS]."""
    if system.kind == "wave":
        return not WaveConfig.from_dict({**system.network, "n_rows": N_ROWS, "n_classes": 2}).uses_order
    return bool(system.network["positions"] == "none")


def build(system: System, seed: int, device: str = "cpu") -> TextNetwork:
    """Make a network for the tasks, with initial weights that depend on the seed alone."""
    network = build_network(system.kind, {**system.network, "n_rows": N_ROWS, "n_classes": 2}, seed)
    return cast("TextNetwork", network.to(resolve_device(device)))


class _Solved(Exception):  # noqa: N818 - no error
    """Nothing is left to learn."""


class _StopWhenSolved(Callback):
    """Ends training after the epoch that solves the validation texts, with the weights of that epoch."""

    def __init__(self) -> None:
        self.n_epochs = 0

    def on_epoch(self, epoch: Epoch) -> None:
        self.n_epochs += 1
        assert epoch.validation_accuracy is not None
        if epoch.validation_accuracy >= SOLVED:
            raise _Solved


class TaskSplits(NamedTuple):
    """Texts of a task."""

    train: Examples
    validation: Examples
    test: Examples


def make_splits(task: Task, rows: Sequence[int]) -> TaskSplits:
    """Generate training, validation and test texts, each split from its own seed."""
    return TaskSplits(*(task.texts(n_texts, (DATA_SEED, split)) for split, n_texts in enumerate(rows)))


def train_on(system: System, splits: TaskSplits, recipe: Recipe, seed: int, store: ResultStore) -> Result:
    """Figures of the best epoch's weights; training ends when the validation texts are solved."""
    network, stopper = build(system, seed, store.device), _StopWhenSolved()
    options: Any = {"seed": seed, "has_cls": True, "callbacks": [*store.callbacks, stopper]}
    with suppress(_Solved):
        fit(network, splits.train, splits.validation, recipe, **options)
    loss, accuracy, *_ = validate(network, splits.validation)
    return {
        "test_accuracy": validate(network, splits.test)[1],
        "validation_accuracy": accuracy,
        "validation_loss": loss,
        "epochs": stopper.n_epochs,
    }


def measure(store: ResultStore, options: Options) -> Document:
    """Train every system on every task."""
    effort = QUICK if options.quick else Effort()
    seeds = options.seeds[:1] if options.quick else options.seeds
    tasks, results = effort.tasks(), []
    for number, task in enumerate(tasks, start=1):
        splits = make_splits(task, effort.rows_of(task))
        for system in SYSTEMS:
            store.callback_list.stage(f"{task.title} ({number} of {len(tasks)}): {system.title}", 0)
            results.append(_measure_system(store, task, splits, system, effort, seeds))
    undecided = ~decided_by_neighbours(make_splits(order(), effort.rows).test, RADIUS)
    names, systems = ("key", "title", "question", "bag_of_words", "length"), []
    for system in SYSTEMS:
        parameters = build(system, 0).parameter_count().total
        entry = {"key": system.key, "title": system.title, "blind": blind_to_order(system)}
        systems.append({**entry, "parameters": parameters})
    return {
        "epochs": effort.epochs,
        "rates": list(effort.rates),
        "seeds": list(seeds),
        "solved": SOLVED,
        "radius": RADIUS,
        "tasks": [
            {**{name: getattr(task, name) for name in names}, "rows": list(effort.rows_of(task))}
            for task in tasks
        ],
        "systems": systems,
        "results": results,
        "context_ceiling": {"order": float(1 - undecided.mean() / 2)},  # half of the undecided are right
    }


def _measure_system(
    store: ResultStore, task: Task, splits: TaskSplits, system: System, effort: Effort, seeds: Sequence[int]
) -> dict[str, Any]:
    """Choose the learning rate by validation with the first seed, then train with every seed."""
    hopeless = blind_to_order(system) and task.bag_of_words == 0.5
    epochs = 1 if hopeless else effort.epochs
    rates = effort.rates[-1:] if hopeless else effort.rates

    def run(rate: float, seed: int) -> Result:
        recipe = RECIPE.replace(epochs=epochs, lr=rate, embedding_lr=rate)
        settings = {
            "system": {**system.settings(), "recipe": recipe.to_dict()},
            "texts": {**task.settings(), "rows": list(effort.rows_of(task)), "seed": DATA_SEED},
            "solved": SOLVED,
            "seed": seed,
        }
        name = f"probes/{task.key}/{system.key}-{rate:g}-{seed}"
        return store.compute(name, settings, lambda: train_on(system, splits, recipe, seed, store))

    first = {rate: run(rate, seeds[0]) for rate in rates}
    best = max(rates, key=lambda rate: (first[rate]["validation_accuracy"], -first[rate]["validation_loss"]))
    runs = [first[best], *(run(best, seed) for seed in seeds[1:])]
    return {"task": task.key, "system": system.key, "rate": best, "runs": runs}


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
            f"Test accuracy in per cent by task, {seeds}{_texts_in_words(plain)} Guessing gives 50. At "
            f"`order`, the {document['radius']} neighbours on each side that the context branch sees allow "
            f"{ceiling:.1f} in the long run.",
        ),
        *(
            _table(
                document,
                long,
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


def _table(document: Document, tasks: Sequence[dict[str, Any]], caption: str) -> Table:
    head = [f"{task['length']} tokens" if task["length"] else task["title"] for task in tasks]
    cells = [
        [system["title"], *(_cell(_accuracy(document, task["key"], system["key"])) for task in tasks)]
        for system in document["systems"]
    ]
    bags = ["*Best bag of words*", *(f"{100 * task['bag_of_words']:.0f}" for task in tasks)]
    return Table(caption, ["System", *head], [*cells, bags])


def _settings(document: Document) -> Table:
    """Chosen learning rates and epochs."""
    cells = []
    for system in document["systems"]:
        row = [system["title"], f"{system['parameters']:,}"]
        for task in document["tasks"]:
            result = _result(document, task["key"], system["key"])
            epochs = np.mean([run["epochs"] for run in result["runs"]])
            row.append(f"{result['rate']:g}; {epochs:.1f}")
        cells.append(row)
    caption = (
        "Parameters, embedding included; and for every task the learning rate chosen by validation and "
        f"the mean number of epochs: {document['epochs']} at most, fewer when {100 * document['solved']:g} "
        "% of the validation texts are right, one where nothing can be learnt."
    )
    return Table(caption, ["System", "Parameters", *(task["title"] for task in document["tasks"])], cells)


def _result(document: Document, task: str, system: str) -> Any:
    return next(r for r in document["results"] if (r["task"], r["system"]) == (task, system))


def _accuracy(document: Document, task: str, system: str) -> list[float]:
    """Per cent for every seed."""
    return [100 * run["test_accuracy"] for run in _result(document, task, system)["runs"]]


def _cell(values: Sequence[float]) -> str:
    summary = mean_and_deviation(values)
    deviation = "" if summary["deviation"] is None else f" ± {summary['deviation']:.1f}"
    return f"{summary['mean']:.1f}{deviation}"


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
    tasks = [task for task in document["tasks"] if task["length"] is None]
    systems, styles = document["systems"], _styles(document)
    with styled():
        figure, panels = new_figure(len(tasks), width=1.75, height=2.9, sharey=True)
        for task, axes in zip(tasks, panels, strict=True):
            _chance(axes.axvline)
            for row, system in enumerate(systems):
                values, style = _accuracy(document, task["key"], system["key"]), styles[system["key"]]
                color, ends = style["color"], [min(values), max(values)]
                axes.plot(ends, [row, row], color=color, linewidth=2.5, alpha=0.5)
                axes.plot(np.mean(values), row, marker=style["marker"], color=color, markersize=6)
            axes.set(title=task["title"], xlim=(44, 104), xticks=(50, 75, 100), xlabel="test accuracy, %")
        panels[0].set_yticks(range(len(systems)), [system["title"] for system in systems])
        panels[0].invert_yaxis()
    caption = (
        f"What each network learns to see. Marks: mean test accuracy over {_seeds_in_words(document)}; "
        "bars behind them span the lowest to the highest. Dotted line: guessing, also the limit of any "
        f"bag-of-words classifier at `order` and `negation`. {_texts_in_words(tasks)} The neighbours that "
        f"the context branch sees allow {100 * document['context_ceiling']['order']:.1f} % at `order` in "
        "the long run. Plus signs: networks whose answer does not depend on the order of the tokens."
    )
    return Drawing(figure, caption)


def _by_length(document: Document) -> Drawing:
    families = {name: tasks for name in QUESTIONS if (tasks := _growing(document, name))}
    with styled():
        figure, panels = new_figure(len(families), width=3.8, height=3.6, sharey=True)
        for axes, (name, tasks) in zip(panels, families.items(), strict=True):
            _draw_lengths(axes, document, tasks)
            axes.set(title=name, xlabel="length of the texts, tokens", ylim=(45, 103))
        panels[0].set_ylabel("test accuracy, %")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    questions = " ".join(f"`{name}`: {QUESTIONS[name]}" for name in families)
    caption = (
        f"Relations over a distance. {questions} Mean test accuracy by the length of the texts, over "
        f"{_seeds_in_words(document)}; bands span the lowest to the highest. A and B each occur once in "
        "every text; dotted line: guessing, the limit of any bag-of-words classifier. Each length has its "
        f"own networks. {_texts_in_words(next(iter(families.values())))} Marks of one length are drawn "
        "side by side."
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
    return f"Generated texts: {train:,} for training, {test:,} for the test."


ABOUT = (
    "Which relations between tokens can a network represent, and which does it learn on a small budget? "
    "Each generated task has one known structure among meaningless filler tokens. `presence`: does A "
    "occur? `counting`: does A occur more often than B? `order`: does A come before B? `negation`: a text "
    "has one positive token, one negative token and a negator directly before one of them that flips its "
    "sign; is the text positive overall? `distance`: is the first token A, with B later at random, or the "
    "reverse? `long-range`: does A come before B, with half of the text between them on average and never "
    "less than a quarter? Every text has a twin of the other class in the same split. At `order`, "
    "`negation`, `distance` and `long-range` the twin swaps A and B, so both have the same bag of words, "
    "and every bag-of-words classifier is right on exactly half of the texts. A wave network of one layer "
    "without positions is such a classifier: [CLS] sees the text through sums of squares over its tokens, "
    "which do not depend on their order. The same holds for attention without positions. These networks "
    "train for one epoch there. Positions change that in a single layer: (w + p)² = w² + 2wp + p², and "
    "the middle term tells where a token stands. The context branch compares a token with its neighbours. "
    "At `distance` it finds the answer next to [CLS] at every length; at `order` and `long-range` it can "
    f"only succeed where A and B, or one of them and an end of the text, are at most {2 * RADIUS} "
    f"positions apart. Networks have {WIDTH} dimensions, the context branch sees {RADIUS} neighbours on "
    f"each side, and the Transformer has one layer with {HEADS} heads and, where stated, learned "
    "positions; wave networks have sinusoidal ones. All systems follow one rule: the first seed tries two "
    "learning rates and validation accuracy picks one. There is no dropout and no weight decay. Training "
    f"ends after {Effort().epochs} epochs, or after the first epoch with {100 * SOLVED:g} % of the "
    "validation texts right. A low accuracy means that the network did not learn the relation on this "
    "budget, not that no weights could express it."
)


STUDY = Study("probes", "What the networks can see: generated tasks", ABOUT, measure, tables, drawings)
