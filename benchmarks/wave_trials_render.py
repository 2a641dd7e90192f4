"""Tables of other waves, from what ``benchmarks/wave_trials.py`` wrote."""

from __future__ import annotations

import statistics
from itertools import chain
from typing import Any

BASELINE = "the preset's waves"
NATIVE = "the preset's waves, by the native core"
SPELLED = "n-grams in full"
OF_AMPLITUDES = ("unseen words by their n-grams", "no n-grams", SPELLED, f"{SPELLED}, unseen words by theirs")
"""Variants whose waves are the preset's."""
BY_NATIVE = (*OF_AMPLITUDES, "ensemble of three", "three times as wide")
"""Variants that the native core trains, held against the preset's waves by it."""
SAID = {
    "all": "waves and amplitudes",
    "waves": "waves alone",
    "linear_svm": "amplitudes alone",
}
Row = dict[str, dict[str, Any]]
Pairs = list[tuple[dict[str, float], dict[str, float]]]


def table(document: dict[str, Any], level: str) -> str:
    """Accuracy of one level of the unchanged waves, and paired differences of every variant.

    Args:
        document: what was measured.
        level: ``all``, ``waves`` or ``amplitudes``.
    """
    rows: dict[str, Row] = document["rows"]
    reference = rows[NATIVE if level == "linear_svm" or BASELINE not in rows else BASELINE]
    data = list(reference)
    shown = {
        variant: row
        for variant, row in rows.items()
        if level == "all"
        or (variant in (NATIVE, *OF_AMPLITUDES) if level == "linear_svm" else variant not in OF_AMPLITUDES)
    }
    head = [SAID[level], *data, "all sets", "log-loss", "runs"]
    text = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for variant, row in shown.items():
        if row is reference:
            accuracies = [[run[level]["accuracy"] for run in row[name].values()] for name in data]
            cells = [f"{100 * statistics.mean(found):.2f}" for found in accuracies] + [""] * 3
        else:
            against = rows[NATIVE] if variant in BY_NATIVE else reference
            pairs = {name: _pairs(row.get(name, {}), against.get(name, {}), level) for name in data}
            every = list(chain.from_iterable(pairs.values()))
            if not every:
                continue
            cells = [f"{statistics.mean(_gains(found)):+.2f}" if found else "" for found in pairs.values()]
            losses = [own["loss"] - other["loss"] for own, other in every]
            cells += [_with_error(_gains(every), 2), _with_error(losses, 4), str(len(every))]
        text.append(f"| {' | '.join([variant, *cells])} |")
    seeds = sorted({seed for row in reference.values() for seed in row})
    named = next(variant for variant, row in rows.items() if row is reference)
    text.append("")
    text.append(
        f"Preset `{document['preset']}`, seeds {', '.join(seeds)}; accuracy on {document['measure']}, in "
        f"percent, of {named}; of the others, how many points they are ahead with the same seeds, and of all "
        "sets, in points and in nats, the mean over so many runs ± its standard error."
    )
    if level != "linear_svm" and BASELINE in rows:
        text[-1] += " Lines below those of the native core are held against these."
    return "\n".join(text) + "\n"


def _pairs(runs: dict[str, Any], reference: dict[str, Any], level: str) -> Pairs:
    """Figures of the same seeds on one set."""
    return [(run[level], reference[seed][level]) for seed, run in runs.items() if seed in reference]


def _gains(pairs: Pairs) -> list[float]:
    """How many points each run is ahead."""
    return [100 * (own["accuracy"] - other["accuracy"]) for own, other in pairs]


def _with_error(differences: list[float], digits: int) -> str:
    """Mean and its standard error."""
    mean = f"{statistics.mean(differences):+.{digits}f}"
    if len(differences) < 2:
        return mean
    error = statistics.stdev(differences) / len(differences) ** 0.5
    return f"{mean} ± {error:.{digits}f}"
