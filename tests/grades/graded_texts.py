"""Made-up texts with grades from 1 to 5: words of their grade, and of the grades next to it."""

from __future__ import annotations

import random

WORDS = {
    1: ["awful", "dreadful", "broken"],
    2: ["weak", "dull", "poor"],
    3: ["average", "plain", "ordinary"],
    4: ["good", "solid", "pleasant"],
    5: ["superb", "brilliant", "perfect"],
}
FILLERS = ["the", "film", "and", "was", "it", "plot", "scene", "of"]
FAST = {"preset": "fast", "device": "cpu", "epochs": 3, "settings": {"features.bits": 12}}
ARGUMENTS = ["--preset", "fast", "--device", "cpu", "--epochs", "3", "--set", "features.bits=12"]


def graded_texts(n_rows: int, seed: int = 0) -> tuple[list[str], list[int]]:
    rng = random.Random(seed)
    texts, grades = [], []
    for _ in range(n_rows):
        grade = rng.randint(1, 5)
        near = [min(5, max(1, grade + rng.choice([-1, 0, 0, 0, 1]))) for _ in range(3)]
        words = [rng.choice(WORDS[each]) for each in near] + rng.choices(FILLERS, k=6)
        rng.shuffle(words)
        texts.append(" ".join(words))
        grades.append(grade)
    return texts, grades


def csv_of(texts: list[str], labels: list[object]) -> str:
    rows = "".join(f"{text},{label}\n" for text, label in zip(texts, labels, strict=True))
    return f"text,label\n{rows}"


TEXTS, GRADES = graded_texts(600)
REAL = [grade / 2 + i / 2000 for i, grade in enumerate(GRADES)]
