"""Tables of other waves, from what ``benchmarks/wave_trials.py`` wrote."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

BASELINE = "the preset's waves"
SPELLED = "n-grams in full"
OF_AMPLITUDES = ("unseen words by their n-grams", "no n-grams", SPELLED, f"{SPELLED}, unseen words by theirs")
"""Variants whose waves are the preset's."""
SAID = {
    "all": "waves and amplitudes",
    "waves": "waves alone",
    "amplitudes": "amplitudes alone",
}
Row = dict[str, dict[str, Any]]


def table(document: dict[str, Any], level: str) -> str:
    """Accuracies of one level of every variant, and paired differences from the unchanged one.

    Args:
        document: what was measured.
        level: ``all``, ``waves`` or ``amplitudes``.
    """
    rows: dict[str, Row] = document["rows"]
    reference = rows[SPELLED if level == "amplitudes" else BASELINE]
    data = list(reference)
    shown = {
        variant: row
        for variant, row in rows.items()
        if level == "all" or (variant in (*OF_AMPLITUDES, BASELINE)) == (level == "amplitudes")
    }
    if level == "waves":
        shown = {BASELINE: rows[BASELINE], **shown}
    head = [SAID[level], *data, "against the reference", "log-loss", "runs"]
    text = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for variant, row in shown.items():
        cells = [_accuracy(row[name], level) if name in row else "" for name in data]
        against = [""] * 3
        if row is not reference:
            pairs = list(_pairs(row, reference, level))
            against = [
                _difference([100 * (own["accuracy"] - other["accuracy"]) for own, other in pairs], 2),
                _difference([own["loss"] - other["loss"] for own, other in pairs], 4),
                str(len(pairs)),
            ]
        text.append(f"| {' | '.join([variant, *cells, *against])} |")
    seeds = sorted({seed for row in reference.values() for seed in row})
    text.append("")
    named = SPELLED if level == "amplitudes" else BASELINE
    text.append(
        f"Preset `{document['preset']}`, seeds {', '.join(seeds)}; accuracy on {document['measure']}, in "
        f"percent. Reference: {named}; differences in points and in nats, paired by set and seed: mean of "
        "so many runs ± its standard error."
    )
    return "\n".join(text) + "\n"


def _accuracy(found: dict[str, Any], level: str) -> str:
    """Mean over seeds, in percent."""
    return f"{100 * statistics.mean(run[level]['accuracy'] for run in found.values()):.2f}"


def _pairs(row: Row, reference: Row, level: str) -> Iterator[tuple[dict[str, float], dict[str, float]]]:
    """Figures of the same set and seed."""
    for name, runs in row.items():
        for seed, run in runs.items():
            if seed in reference.get(name, {}):
                yield run[level], reference[name][seed][level]


def _difference(differences: list[float], digits: int) -> str:
    """Mean and its standard error."""
    mean = f"{statistics.mean(differences):+.{digits}f}"
    if len(differences) < 2:
        return mean
    error = statistics.stdev(differences) / len(differences) ** 0.5
    return f"{mean} ± {error:.{digits}f}"
