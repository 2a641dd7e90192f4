"""A few hundred made-up rows, and settings with which training is quick."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

WORDS = {
    "sport": ["match", "goal", "team", "league", "striker", "coach"],
    "money": ["bank", "shares", "profit", "market", "bond", "trade"],
    "space": ["orbit", "rocket", "moon", "launch", "comet", "probe"],
}
FILLERS = ["the", "a", "of", "and", "in", "was", "it", "to"]
QUICK = {"epochs": 1, "settings": {"features.bits": 12, "network.width": 8}}
QUICK_OPTIONS = ["--epochs", "1", "--set", "features.bits=12", "--set", "network.width=8"]


def made_up(
    n_texts: int, seed: int = 0, labels: tuple[str, ...] = tuple(WORDS)
) -> tuple[list[str], list[str]]:
    """Texts and their labels; a third of the topic words belong to another label."""
    random = np.random.default_rng(seed)
    texts, text_labels = [], []
    for number in range(n_texts):
        label = labels[number % len(labels)]
        other = labels[random.integers(len(labels))]
        words = [*random.choice(WORDS[label], 2), *random.choice(WORDS[other], 1), *random.choice(FILLERS, 4)]
        texts.append(" ".join(random.permutation(words)) + ".")
        text_labels.append(label)
    return texts, text_labels


def written(path: Path, texts: list[str], labels: list[str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *zip(texts, labels, strict=True)])
    return path
