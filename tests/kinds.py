"""A tiny model of each kind. Add a kind here, and ``tests/test_kinds.py`` sends it every way."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import token2wave
from token2wave import Classifier, Prediction

N_ROWS, N_TEST = 160, 40
SETTINGS = {"features.bits": 12, "network.width": 8, "network.context_width": 8}
WITHOUT_CONTEXT = {**SETTINGS, "network.context_width": 0}
TRAINING = {"preset": "small", "device": "cpu", "epochs": 3, "settings": SETTINGS, "baseline": False}
ARGUMENTS = ["--preset", "small", "--device", "cpu", "--epochs", "3", "--no-baseline"]
ARGUMENTS += [part for name, value in SETTINGS.items() for part in ("--set", f"{name}={value}")]


@dataclass(frozen=True)
class Kind:
    """A kind of model, and made-up rows to train and test one.

    Attributes:
        name: as the page has it.
        page: the page of the documentation about it.
        rows: a text and its label, ``N_ROWS`` to train and ``N_TEST`` to test. If there are several columns,
            a text is a tuple.
        words: the words that tell the label.
        options: arguments of ``token2wave.train``.
        arguments: the same on the command line.
        columns: columns of a text.
        answer: what a prediction says, to compare with a label.
        tolerance: by how much numbers may be wrong.
    """

    name: str
    page: str
    rows: list[tuple[Any, Any]]
    words: list[str]
    options: dict[str, Any] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    columns: tuple[str, ...] = ("text",)
    answer: Callable[[Prediction], Any] = lambda prediction: prediction.label
    tolerance: float = 0.0

    @property
    def train_rows(self) -> tuple[list[Any], list[Any]]:
        """Texts and labels to train on."""
        return [text for text, _ in self.rows[:N_ROWS]], [label for _, label in self.rows[:N_ROWS]]

    @property
    def test_rows(self) -> tuple[list[Any], list[Any]]:
        """Texts and labels that the model has not seen."""
        return [text for text, _ in self.rows[N_ROWS:]], [label for _, label in self.rows[N_ROWS:]]

    def agree(self, a: Any, b: Any) -> bool:
        """Whether two labels, or a label and an answer, are the same."""
        return abs(a - b) <= self.tolerance if self.tolerance else a == b

    def share_right(self, answers: Sequence[Any], labels: Sequence[Any]) -> float:
        """How many answers agree with the labels, from 0 to 1."""
        return sum(map(self.agree, answers, labels)) / len(labels)

    def accuracy(self, classifier: Classifier) -> float:
        """How many of the test rows a model gets right, from 0 to 1."""
        texts, labels = self.test_rows
        return self.share_right([self.answer(each) for each in classifier.predict_batch(texts)], labels)

    def train(self, *data: Any, **options: Any) -> token2wave.TrainingResult:
        """Train a model on the training rows, or on others."""
        return token2wave.train(*(data or self.train_rows), **{**TRAINING, **self.options, **options})

    def write(self, path: Path, texts: Sequence[Any], labels: Sequence[Any] | None = None) -> Path:
        """Write rows as JSON lines."""
        lines = []
        for i, text in enumerate(texts):
            cells = [text] if len(self.columns) == 1 else text
            row = dict(zip(self.columns, cells, strict=True))
            lines.append(json.dumps(row if labels is None else {**row, "label": labels[i]}) + "\n")
        path.write_text("".join(lines))
        return path


def _text(words: Sequence[str], fillers: Sequence[str], rng: random.Random, blank: str = " ") -> str:
    """Some words in a random order."""
    chosen = [*words, *rng.choices(fillers, k=4)]
    rng.shuffle(chosen)
    return blank.join(chosen)


def _rows(
    words: dict[Any, list[str]], fillers: Sequence[str], seed: int, blank: str = " "
) -> list[tuple[str, Any]]:
    """Rows with one label each, all labels equally often; a text has two words of its label."""
    rng, labels = random.Random(seed), list(words)
    rows = []
    for i in range(N_ROWS + N_TEST):
        label = labels[i % len(labels)]
        rows.append((_text(rng.choices(words[label], k=2), fillers, rng, blank), label))
    return rows


FILLERS = ["the", "film", "was", "and", "of", "plot", "scene", "a", "in", "it"]
GRADES = {
    1: ["awful", "dreadful"],
    2: ["weak", "dull"],
    3: ["plain", "average"],
    4: ["good", "solid"],
    5: ["superb", "perfect"],
}


def _words_of(words: dict[Any, list[str]]) -> list[str]:
    return [word for words_of_label in words.values() for word in words_of_label]


def one_label() -> Kind:
    words = {"comedy": ["funny", "laughter"], "crime": ["murder", "thief"], "space": ["orbit", "comet"]}
    return Kind("one label", "own-data.md", _rows(words, FILLERS, seed=1), _words_of(words))


def several_labels() -> Kind:
    words = {"money": ["bank", "bond"], "sport": ["goal", "match"]}
    rng, rows = random.Random(2), []
    for i in range(N_ROWS + N_TEST):
        labels = [["money"], ["sport"], ["money", "sport"], []][i % 4]
        chosen = [word for label in labels for word in rng.choices(words[label], k=2)]
        rows.append((_text(chosen, FILLERS, rng), labels))
    return Kind(
        "several labels",
        "several-labels.md",
        rows,
        _words_of(words),
        answer=lambda prediction: sorted(prediction.labels),
    )


def scores() -> Kind:
    values = {word: i / 10 for i, word in enumerate(_words_of(GRADES))}
    values |= {word: (1 + i) ** 2 / 5000 for i, word in enumerate(FILLERS)}  # so that few scores are the same
    texts = [text for text, _ in _rows(GRADES, FILLERS, seed=3)]
    rows = [(text, sum(values[word] for word in text.split()) / 2) for text in texts]
    return Kind(
        "scores",
        "grades.md",
        rows,
        _words_of(GRADES),
        {"target": "score"},
        ("--target", "score"),
        answer=lambda prediction: prediction.score,
        tolerance=0.1,
    )


def grades() -> Kind:
    return Kind(
        "grades",
        "grades.md",
        _rows(GRADES, FILLERS, seed=4),
        _words_of(GRADES),
        {"target": "ordinal"},
        ("--ordinal",),
        answer=lambda prediction: prediction.score,
        tolerance=0.5,
    )


def texts_without_blanks() -> Kind:
    words = {"良い": ["素晴らしい", "感動した"], "悪い": ["退屈な", "失敗だ"]}
    fillers = ["映画", "でした", "この", "物語", "場面", "音楽", "は", "と"]
    rows = _rows(words, fillers, seed=5, blank="")
    return Kind("texts without blanks", "languages.md", rows, _words_of(words))


def pairs_of_texts() -> Kind:
    topics = {"music": ["song", "melody"], "food": ["bread", "soup"], "sea": ["wave", "ship"]}
    rng, rows = random.Random(6), []
    for i in range(N_ROWS + N_TEST):
        first = rng.choice(_words_of(topics))
        second = first if i % 2 else rng.choice([word for word in _words_of(topics) if word != first])
        pair = tuple(_text([word], FILLERS, rng) for word in (first, second))
        rows.append((pair, "same" if i % 2 else "other"))
    return Kind(
        "pairs of texts",
        "pairs.md",
        rows,
        _words_of(topics),
        {"pair": True, "settings": WITHOUT_CONTEXT},
        ("--pair", "--set", "network.context_width=0"),
        columns=("text", "text_pair"),
    )


def long_documents() -> Kind:
    topics = {label: [f"{label}{i}" for i in range(8)] for label in ("comedy", "crime", "space")}
    rng, rows = random.Random(7), []
    for i in range(N_ROWS + N_TEST):
        label = list(topics)[i % 3]
        words = [f"word{rng.randrange(200)}" for _ in range(600)]
        for place in rng.sample(range(600), 72):  # the words of all labels, here and there
            words[place] = rng.choice(_words_of(topics))
        start = rng.randrange(570)
        words[start : start + 30 : 2] = rng.choices(topics[label], k=15)
        rows.append((" ".join(words), label))
    return Kind(
        "long documents",
        "long-documents.md",
        rows,
        _words_of(topics),
        {"preset": "fast", "settings": WITHOUT_CONTEXT},
        ("--preset", "fast", "--set", "network.context_width=0"),
    )


KINDS = [one_label(), several_labels(), scores(), grades(), texts_without_blanks()]
KINDS += [pairs_of_texts(), long_documents()]
"""Add the factory of a new kind here."""
