"""Made-up texts of two labels."""

import numpy as np

WORDS = {"good": "fine great lovely superb", "bad": "awful poor sad terrible"}
FILLERS = [f"word{i}" for i in range(400)]


def make_texts(n: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Texts of 12 words, two of which speak for the label, and their labels."""
    random = np.random.default_rng(seed)
    labels = [("good", "bad")[i] for i in random.integers(2, size=n)]
    texts = [
        " ".join(random.permutation([*random.choice(WORDS[label].split(), 2), *random.choice(FILLERS, 10)]))
        for label in labels
    ]
    return texts, labels
