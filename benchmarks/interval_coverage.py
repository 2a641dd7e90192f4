"""How often do the 95 % intervals of ``compare`` hold the true difference of two models?

    python benchmarks/interval_coverage.py

Draws test sets from populations whose difference is known, with two models whose errors are correlated, and
counts how often each interval holds the difference. Writes ``results/benchmarks/interval_coverage.json``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from token2wave import paired_tests

OUT = Path(__file__).resolve().parent.parent / "results" / "benchmarks" / "interval_coverage.json"
SETTINGS = (  # classes, whether half of them are rare, rows, accuracies of A and B
    (2, False, 100, 0.6, 0.65),
    (2, False, 100, 0.9, 0.9),
    (2, True, 100, 0.9, 0.93),
    (2, False, 1000, 0.98, 0.99),
    (2, True, 1000, 0.9, 0.9),
    (2, False, 5000, 0.9, 0.91),
    (5, False, 100, 0.8, 0.85),
    (5, True, 300, 0.6, 0.65),
    (5, True, 1000, 0.9, 0.92),
    (5, False, 5000, 0.98, 0.985),
    (20, False, 300, 0.8, 0.8),
    (20, True, 300, 0.6, 0.65),
    (20, True, 1000, 0.9, 0.9),
    (50, False, 300, 0.8, 0.85),
    (50, True, 1000, 0.8, 0.85),
    (50, False, 1000, 0.95, 0.96),
)
CORRELATION, SAME_MISTAKE = 0.5, 0.5  # of being right; chance that two mistakes are the same
RARITY = 0.05  # texts of a rare class, for one of another


def population(n_classes: int, has_rare: bool, a: float, b: float) -> tuple[np.ndarray, np.ndarray]:
    """All outcomes (truth, A, B), ``(K, 3)``, and the chance of each."""
    prior = np.where(has_rare & (np.arange(n_classes) >= max(1, n_classes // 2)), RARITY, 1.0)
    prior /= prior.sum()
    both = a * b + CORRELATION * np.sqrt(a * (1 - a) * b * (1 - b))
    neither = 1 - a - b + both
    rows, chances = [], []
    for c in range(n_classes):
        others = [i for i in range(n_classes) if i != c]
        weights = prior[others] / prior[others].sum()
        rows.append((c, c, c))
        chances.append(prior[c] * both)
        for i, weight in zip(others, weights, strict=True):
            rows += [(c, c, i), (c, i, c), (c, i, i)]
            chances += [prior[c] * weight * p for p in (a - both, b - both, neither * SAME_MISTAKE)]
            for j, other in zip(others, weights, strict=True):
                rows.append((c, i, j))
                chances.append(prior[c] * neither * (1 - SAME_MISTAKE) * weight * other)
    return np.array(rows), np.array(chances) / sum(chances)


def true_differences(rows: np.ndarray, chances: np.ndarray, n_classes: int) -> tuple[float, float]:
    """The differences of accuracy and macro-F1 in the population."""
    figures = []
    for model in (1, 2):
        hit = rows[:, 0] == rows[:, model]
        correct = np.bincount(rows[hit, 0], chances[hit], n_classes)
        sums = sum(np.bincount(rows[:, i], chances, n_classes) for i in (0, model))
        figures.append((chances[hit].sum(), (2 * correct / sums).mean()))
    (accuracy_a, f1_a), (accuracy_b, f1_b) = figures
    return accuracy_b - accuracy_a, f1_b - f1_a


def measure(
    setting: tuple[Any, ...], n_sets: int, n_resamples: int, n_prior: int, seed: int
) -> dict[str, Any]:
    """Coverage of one setting, as fractions of the test sets."""
    n_classes, has_rare, n_rows, a, b = setting
    rows, chances = population(n_classes, has_rare, a, b)
    truth = dict(zip(("accuracy", "macro_f1"), true_differences(rows, chances, n_classes), strict=True))
    rng, held = np.random.default_rng(seed), dict.fromkeys(truth, 0)
    paired_tests.N_PRIOR_ROWS = n_prior
    for _ in range(n_sets):
        drawn = rows[rng.choice(len(rows), n_rows, p=chances)].T
        scores = paired_tests.bootstrap_scores(
            drawn[0], drawn[1], drawn[2], n_classes, n_resamples=n_resamples
        )
        for name, value in truth.items():
            low, high = scores.figures[name].interval
            held[name] += low - 1e-6 <= value <= high + 1e-6
    keys = ("classes", "has_rare", "rows", "a", "b")
    differing = float(chances[(rows[:, 0] == rows[:, 1]) != (rows[:, 0] == rows[:, 2])].sum() * n_rows)
    held_by = {name: n / n_sets for name, n in held.items()}
    return {**dict(zip(keys, setting, strict=True)), "expected_differing": differing, **held_by}


def main() -> None:
    """Measure every setting with and without the two prior rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=1000)
    arguments = parser.parse_args()
    document: dict[str, Any] = {"sets": arguments.sets, "resamples": arguments.resamples, "settings": []}
    for setting in SETTINGS:
        chosen = measure(setting, arguments.sets, arguments.resamples, 2, 0)
        plain = measure(setting, arguments.sets, arguments.resamples, 0, 0)
        chosen["plain"] = {name: plain[name] for name in ("accuracy", "macro_f1")}
        document["settings"].append(chosen)
        print(json.dumps(chosen), flush=True)
    OUT.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
