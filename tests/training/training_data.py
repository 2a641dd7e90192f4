"""Small texts to learn from, as features and as files."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch

from token2wave.features import Ragged
from token2wave.models import WaveConfig, WaveNetwork
from token2wave.training.loop import Examples

CPU = torch.device("cpu")
WORDS = {
    "sport": ["match", "goal", "team", "league", "striker", "coach"],
    "money": ["bank", "shares", "profit", "market", "bond", "trade"],
    "space": ["orbit", "rocket", "moon", "launch", "comet", "probe"],
}
FILLERS = ["the", "a", "of", "and", "in", "was", "it", "to"]


def ragged(texts: list[list[int]], n_ordered: list[int] | None = None) -> Ragged:
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    ids = np.array([row for text in texts for row in text], dtype=np.int32)
    ordered = lengths if n_ordered is None else np.array(n_ordered, dtype=np.int64)
    return Ragged(ids, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), ordered)


def toy(n_texts: int = 60, seed: int = 0, n_classes: int = 3) -> Examples:
    """Row 0 begins every text; rows 1 to 6 tell the class, rows 7 to 12 nothing."""
    random = np.random.default_rng(seed)
    labels = np.arange(n_texts) % n_classes
    texts = [
        [0, *random.permutation([1 + 2 * label, 2 + 2 * label, *random.integers(7, 13, 3)]).tolist()]
        for label in labels.tolist()
    ]
    return Examples(ragged(texts), labels.astype(np.int64))


def toy_network(seed: int = 0, **changes: object) -> WaveNetwork:
    shape = {"width": 8, "operation": "interference", "readout": "text", "dropout": 0.1, **changes}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return WaveNetwork(WaveConfig(13, 3, **shape))


def written_rows(n_rows: int, seed: int = 0, labels: tuple[str, ...] = tuple(WORDS)) -> list[tuple[str, str]]:
    random = np.random.default_rng(seed)
    rows = []
    for i in range(n_rows):
        label = labels[i % len(labels)]
        words = [*random.choice(WORDS[label], 3), *random.choice(FILLERS, 4)]
        rows.append((" ".join(random.permutation(words)) + ".", label))
    return rows


def write_csv(path: Path, rows: list[tuple[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return path
