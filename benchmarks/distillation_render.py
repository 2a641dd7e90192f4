"""Tables of what teachers give, from the JSON of ``distillation.py`` and ``few_shot.py``."""

from __future__ import annotations

import statistics
from typing import Any

TITLES = {
    "tfidf_svc": "TF-IDF (1,2) + LinearSVC",
    "default": "token2wave, no settings",
    "start": "`--init-from` {encoder}",
    "teacher": "`--init-from` and `--teacher` {encoder}",
}


def teacher_table(document: dict[str, Any]) -> str:
    """Accuracy, size and speed of a teacher and its students."""
    teacher, data = document["teacher_figures"], document["data"]
    n_seeds = len(document["seeds"])
    lines = [
        f"| {data} | test accuracy, % | compressed: test accuracy, % | compressed: bytes |",
        "|---|---|---|---|",
        f"| {document['teacher']}, fine-tuned: the teacher | {100 * teacher['accuracy']:.2f} | | |",
    ]
    for title, runs in document["students"].items():
        largest = max(run["small_bytes"] for run in runs)
        whole, small = (_spread([run[key] for run in runs]) for key in ("accuracy", "small_accuracy"))
        lines.append(f"| preset small, {title} | {whole} | {small} | {largest:,} |")
    caveats = " ".join(f"{note.rstrip('.')}." for note in document["caveats"])
    settings = " ".join(f"--set {key}={value}" for key, value in document["settings"].items())
    return "\n".join(lines) + (
        f"\n\nMean ± standard deviation of {n_seeds} seeds; with the teacher `{settings}`. "
        f"The compressed student predicts "
        f"{teacher['times_as_fast']:,.0f} times as fast as the teacher, by turns in one process. "
        f"{caveats}\n"
    )


def few_shot_table(document: dict[str, Any]) -> str:
    """Accuracy by rows a class."""
    systems = list(next(iter(next(iter(document["rows"].values())).values())))
    lines = [
        "| data | rows a class | "
        + " | ".join(TITLES[system].format(encoder=document["encoder"]) for system in systems)
        + " |",
        "|---|---|" + "---|" * len(systems),
    ]
    for name, by_rows in document["rows"].items():
        for n_rows, found in by_rows.items():
            cells = " | ".join(_spread(found.get(system, [])) for system in systems)
            lines.append(f"| {name} | {n_rows} | {cells} |")
    n_draws = max(len(each) for each in found.values())
    caveats = " ".join(f"{note.rstrip('.')}." for note in document["caveats"])
    return "\n".join(lines) + (
        f"\n\nTest accuracy in %, mean ± standard deviation of {n_draws} draws of the rows. {caveats}\n"
    )


def _spread(values: list[float]) -> str:
    if not values:
        return ""
    mean = f"{100 * statistics.mean(values):.2f}"
    return f"{mean} ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else mean
