"""Long texts of a script without blanks: the core reads 256 tokens at a time, and n-grams cross the seams."""

from __future__ import annotations

import numpy as np
import pytest

import token2wave
from token2wave.inference.reference import probabilities

LETTERS = "กขคงจชซดตถทนบปผพมยรลวสหอา"


@pytest.mark.parametrize("preset", ["fast", "small"])
def test_letters_are_counted_once_at_the_seams(preset: str) -> None:
    random = np.random.default_rng(0)
    words = ["".join(random.choice(list(LETTERS), 6)) for _ in range(12)]
    texts = ["".join(random.choice(words[row % 2 :: 2], 8)) for row in range(80)]
    settings = {"features.bits": 16, "features.min_count": 1, "network.width": 8, "recipe.epochs": 2}
    classifier = token2wave.train(
        texts, [["odd", "even"][row % 2] for row in range(80)], preset=preset, settings=settings
    ).classifier
    for n_tokens in (254, 255, 256, 257, 258, 259, 260, 511, 512, 513, 515, 1100):
        text = "".join(random.choice(words, 1 + n_tokens // 6))[:n_tokens]
        logits = classifier.network.logits(classifier.features([text]))
        np.testing.assert_allclose(
            classifier.probabilities([text]), probabilities(logits, False), rtol=0, atol=2e-6
        )
