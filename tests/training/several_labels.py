"""Generated texts with several labels: the topics of a text are mixed in it, and words of others stray in."""

from __future__ import annotations

import numpy as np

from token2wave.data import TextDataset, TextSplit

WORDS = {
    "sport": ["match", "goal", "team", "league", "striker", "coach"],
    "money": ["bank", "shares", "profit", "market", "bond", "trade"],
    "space": ["orbit", "rocket", "moon", "launch", "comet", "probe"],
    "food": ["soup", "bread", "salad", "sauce", "grill", "spice"],
    "law": ["court", "judge", "appeal", "verdict", "lawyer", "trial"],
}
NAMES = tuple(sorted(WORDS))
FILLERS = ["the", "a", "of", "and", "in", "was", "it", "to", "on", "for"]
FREQUENCY = {"sport": 0.4, "money": 0.3, "space": 0.2, "food": 0.15, "law": 0.06}


def mixed_texts(n_texts: int, seed: int, stray: float = 0.02) -> TextSplit:
    """Texts of any number of topics, none included.

    Args:
        n_texts: how many.
        seed: of all choices.
        stray: probability that a text has a word of a topic by chance.
    """
    random = np.random.default_rng(seed)
    texts, labels = [], []
    for _ in range(n_texts):
        topics = [topic for topic in WORDS if random.random() < FREQUENCY[topic]]
        words = list(random.choice(FILLERS, 8))
        for topic, of_topic in WORDS.items():
            n_words = int(random.integers(2, 5)) if topic in topics else int(random.random() < stray)
            words += list(random.choice(of_topic, n_words))
        texts.append(" ".join(random.permutation(words)))
        labels.append(tuple(topics))
    return TextSplit(texts, labels, "mixed topics")


def mixed_splits(n_train: int = 1200, n_test: int = 600, seed: int = 0) -> TextDataset:
    train, test = mixed_texts(n_train, seed), mixed_texts(n_test, seed + 1)
    return TextDataset("mixed topics", train, None, test, None, ())
