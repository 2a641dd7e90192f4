"""Tables and verdicts of the study of generated tasks, from its document alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from paper.accuracy import mean_and_deviation
from paper.statistics import Accuracy, interval_of_accuracy, stack_answers
from paper.study import Document, Table
from paper.verdicts import FAILS, HOLDS, OPEN, judge_above
from token2wave.formatting import NOTHING

SOLVES = 95.0  # per cent of the texts: more than what neighbours can tell at `order`, with room for errors
MARKS = {HOLDS: " ✓", FAILS: "", OPEN: " ?"}
"""Marks of the verdicts in tables."""
QUESTIONS = {
    "distance": "is the first token A, and not the later one?",
    "long-range": "does A come before B, with half of the text between them on average?",
}
"""Of the tasks with several lengths."""


def tables(document: Document) -> list[Table]:
    """Accuracy of every system on every task, and the budgets."""
    n_seeds = len(document["seeds"])
    plain = plain_tasks(document)
    seeds = f"mean ± sample standard deviation over {n_seeds} seeds. " if n_seeds > 1 else "a single seed. "
    ceiling = 100 * document["context_ceiling"]["order"]
    verdicts = (
        f"✓: right on more than {SOLVES:g} % of the texts; ?: cannot be told; no mark: not right on so many. "
        "Verdicts are by intervals over seeds and texts, of 95 % for all of the table together."
    )
    return [
        _table(
            document,
            plain,
            f"Test accuracy in per cent by task, {seeds}{texts_in_words(plain)} Guessing gives 50. At "
            f"`order`, the {document['radius']} neighbours on each side that the context branch sees allow "
            f"{ceiling:.1f} in the long run. {verdicts}",
        ),
        *(
            _table(
                document,
                growing,
                f"Test accuracy in per cent on the task `{name}` ({question}) by the length of the texts, "
                f"{seeds}{texts_in_words(growing)} Guessing gives 50; {NOTHING}: not run. {verdicts} A low "
                "figure says that the network did not learn it on the budget of the table below, which is "
                "smaller for longer texts, and not that no weights could.",
            )
            for name, question in QUESTIONS.items()
            if (growing := growing_tasks(document, name))
        ),
        _budgets(document),
    ]


def plain_tasks(document: Document) -> list[dict[str, Any]]:
    """The tasks of one length."""
    return [task for task in document["tasks"] if task["length"] is None]


def growing_tasks(document: Document, name: str) -> list[dict[str, Any]]:
    """The tasks of a name, by length, without those that no system was run on."""
    measured = {result["task"] for result in document["results"]}
    return [t for t in document["tasks"] if t["key"].startswith(f"{name}-") and t["key"] in measured]


def find_result(document: Document, task: str, system: str) -> dict[str, Any] | None:
    """The result of a system on a task; None if it was not run."""
    results = document["results"]
    return next((r for r in results if (r["task"], r["system"]) == (task, system)), None)


def accuracies(document: Document, task: str, system: str) -> list[float]:
    """Per cent for every seed; empty if the system was not run on the task."""
    result = find_result(document, task, system)
    return [] if result is None else [100 * run["test_accuracy"] for run in result["runs"]]


def intervals(document: Document, tasks: Sequence[dict[str, Any]]) -> dict[tuple[str, str], Accuracy]:
    """Interval of each system that sees order on each task of a table, by task and system.

    All of them hold together. Networks that are blind to order need none where half is the most.
    """
    blind = {system["key"] for system in document["systems"] if system["blind"]}
    results = {}
    for task in tasks:
        for system in document["systems"]:
            if system["key"] not in blind or task["bag_of_words"] > 0.5:
                result = find_result(document, task["key"], system["key"])
                if result is not None:
                    right = stack_answers(result["runs"], task["rows"][2])
                    results[task["key"], system["key"]] = right
    n = len(results)
    return {pair: interval_of_accuracy(right, n_intervals=n) for pair, right in results.items()}


def judge_waves(document: Document, tasks: Sequence[dict[str, Any]]) -> dict[str, tuple[str, Accuracy]]:
    """Whether some network of the papers' with positions solves each task: verdict and best interval.

    It holds if it does for one of them, and does not if it does not for all of them.
    """
    verdicts: dict[str, tuple[str, Accuracy]] = {}
    blind = {system["key"] for system in document["systems"] if system["blind"]}
    for (task, system), interval in intervals(document, tasks).items():
        if not system.startswith("wave") or system == "wave-context" or system in blind:
            continue
        verdict = judge_above(interval, SOLVES)
        before, best = verdicts.get(task, (verdict, interval))
        joined = HOLDS if HOLDS in (before, verdict) else OPEN if OPEN in (before, verdict) else FAILS
        verdicts[task] = joined, max(best, interval)
    return verdicts


def _table(document: Document, tasks: Sequence[dict[str, Any]], caption: str) -> Table:
    judged = {pair: judge_above(interval, SOLVES) for pair, interval in intervals(document, tasks).items()}
    rows = []
    for system in document["systems"]:
        cells = []
        for task in tasks:
            values = accuracies(document, task["key"], system["key"])
            mark = MARKS[judged.get((task["key"], system["key"]), FAILS)]
            cells.append(f"{_mean(values)}{mark}" if values else NOTHING)
        rows.append([system["title"], *cells])
    rows.append(["*Best bag of words*", *(f"{100 * task['bag_of_words']:.0f}" for task in tasks)])
    head = [f"{task['length']:,} tokens" if task["length"] else task["title"] for task in tasks]
    return Table(caption, ["System", *head], rows)


def _budgets(document: Document) -> Table:
    """Budget of each task; learning rate and epochs of each system."""
    rows = []
    for task in document["tasks"]:
        cells = [task["title"], f"{task['rows'][0]:,}", f"{task['rows'][2]:,}", str(task["batch_size"])]
        cells.append(str(task["epochs"]))
        for system in document["systems"]:
            result = find_result(document, task["key"], system["key"])
            if result is None:
                cells.append(NOTHING)
            else:
                epochs = np.mean([run["epochs"] for run in result["runs"]])
                cells.append(f"{result['rate']:g}; {epochs:.1f}")
        rows.append(cells)
    parameters = ", ".join(f"{system['title']} {system['parameters']:,}" for system in document["systems"])
    caption = (
        "Budget of each task: texts for training and test, texts of a step, and the most epochs; and for "
        f"every system the learning rate and the mean number of epochs; {NOTHING}: not run. 0 epochs: "
        "answered without training, since shorter texts were not learnt. Parameters with the embedding: "
        f"{parameters}."
    )
    if document["unfinished"]:
        caption += f" Not finished: {', '.join(document['unfinished'])}."
    head = ["Task", "Training texts", "Test texts", "Batch", "Epochs"]
    return Table(caption, [*head, *(system["title"] for system in document["systems"])], rows)


def _mean(values: Sequence[float]) -> str:
    summary = mean_and_deviation(values)
    deviation = "" if summary["deviation"] is None else f" ± {summary['deviation']:.1f}"
    return f"{summary['mean']:.1f}{deviation}"


def texts_in_words(tasks: Sequence[dict[str, Any]]) -> str:
    """How many texts the tasks have, in one sentence."""
    train, test = ([task["rows"][split] for task in tasks] for split in (0, 2))
    spans = [f"{max(n):,}" if min(n) == max(n) else f"{min(n):,} to {max(n):,}" for n in (train, test)]
    return f"Generated texts: {spans[0]} for training, {spans[1]} for the test."
