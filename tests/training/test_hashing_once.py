"""A run reads each text once, however many vocabularies and candidates it fits."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import token2wave
from token2wave.classifier import Classifier
from token2wave.data import TextDataset, TextSplit
from token2wave.features import hashed_texts, hashing
from token2wave.features.words import SENTENCE_ENDS

TOPICS = {"sport": "match goal team league coach", "money": "bank shares profit market bond"}
SETTINGS = {"features.bits": 14, "network.width": 8, "network.context_width": 8, "recipe.epochs": 2}


def split(n: int, name: str) -> TextSplit:
    """Texts that all differ; the holdout groups them, as some are parts of others."""
    random = np.random.default_rng(n)
    labels = [list(TOPICS)[row % 2] for row in range(n)]
    texts = [
        " ".join(
            [*random.choice(TOPICS[label].split(), 4), *random.choice(list("abcdefg"), 5), f"{name}{row}"]
        )
        for row, label in enumerate(labels)
    ]
    return TextSplit(
        [*texts, *(text.rpartition(" ")[0] for text in texts[: n // 2])], labels + labels[: n // 2], name
    )


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> dict[str, Counter[str]]:
    """How often each text is hashed or predicted, and how often each word is spelled."""
    counts: dict[str, Counter[str]] = {"texts": Counter(), "words": Counter()}

    def count(target: object, name: str, kind: str, place: int = 0) -> None:
        original = getattr(target, name)

        def counted(*arguments: object) -> object:
            counts[kind].update(arguments[place])
            return original(*arguments)

        monkeypatch.setattr(target, name, counted)

    count(hashing, "hash_tokens", "texts")
    count(hashed_texts, "hash_tokens", "texts")
    count(hashed_texts, "spelled_tokens", "words")
    count(Classifier, "probabilities", "texts", 1)
    return counts


@pytest.mark.parametrize(
    ("n_rows", "options"),
    [
        pytest.param(800, {}, id="refit"),
        pytest.param(40, {}, id="few rows"),
        pytest.param(800, {"settings": {**SETTINGS, "recipe.refit_below": 1}}, id="refit of the linear SVM"),
        pytest.param(300, {"candidates": 3}, id="search"),
    ],
)
@pytest.mark.parametrize("has_validation", [False, True])
@pytest.mark.parametrize("has_test", [False, True])
def test_each_text_is_hashed_once(
    read: dict[str, Counter[str]],
    n_rows: int,
    options: dict[str, object],
    has_validation: bool,
    has_test: bool,
) -> None:
    data = TextDataset(
        "made-up",
        split(n_rows, "train"),
        split(60, "validation") if has_validation else None,
        split(20, "test") if has_test else None,
        None,
        (),
    )
    token2wave.train(data, preset="small", **{"settings": SETTINGS, **options})
    parts = [part for part in (data.train, data.validation, data.test) if part is not None]
    expected = Counter(text for part in parts for text in part.texts)
    for end in SENTENCE_ENDS:  # every vocabulary asks for the rows of these
        read["texts"].pop(end, None)
    assert read["texts"] == expected
    assert set(read["words"].values()) == {1}
