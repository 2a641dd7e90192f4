"""Models with an OOV table of random weights, and its rule written out letter by letter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from small_models import random_arrays

from token2wave.classifier import Classifier
from token2wave.features import WordConfig, WordFeatures
from token2wave.features.text import spelled_tokens, token_hashes
from token2wave.inference.compiled import compile_network
from token2wave.models import WaveConfig

TRAINING_TEXTS = ["a good film , good !", "a bad film .", "it's bad", "don't do the film"]
ENTRIES = ["zebra", "né", "👍", "\ud800", "x" * 64]  # words that are entries themselves
SPELLED = ["zebras", "goodness", "films", "x", "filmic", "über", "i'm", "中", "x" * 20]  # every second n-gram
TEXTS = [
    "zebra zebras film goodness, good",
    "x x X",
    "",
    "filmics ÜBER né né 👍 zebra i’m",
    "good film",
    "x" * 130 + " zebras \ud800 " + "x" * 64,
    "中中 中 \x00 \u0301 İ ǅ ﬁlms don't don't'",
    "unheard-of qqq " * 300,
    "zebras " * 700 + "goodness",
    "zebraſ ＦＩＬＭ\u200bic u\u0308ber ne\u0301 film\u0301s ½ \ufdfa ไทย ไท ย\u0e31\u0e48",
]
MASK = (1 << 64) - 1
BASE, LINK = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93


def oov_model(seed: int = 0, n_classes: int = 3, **settings: Any) -> Classifier:
    """Make a model of random weights whose OOV table has words and n-grams."""
    has_cls = settings.get("readout") == "cls"
    features = WordFeatures.fit(TRAINING_TEXTS, WordConfig(bits=16, min_count=1, cls=has_cls))
    hashes = {int(hashed) >> 32 for word in ENTRIES for hashed in token_hashes([word])[0]}
    hashes |= {hashed for word in SPELLED for hashed in list(char_ngrams(word))[::2]}
    features = features.with_oov(np.array(sorted(hashes), dtype=np.uint32))
    shape = {"width": 8, "readout": "text", **settings, "variants": "rows", "linear_svm": True}
    config = WaveConfig(features.n_rows, n_classes, n_oov=len(features.oov_hashes), **shape)
    names = tuple(f"class {number}" for number in range(n_classes))
    return Classifier(features, compile_network(config, random_arrays(config, seed)), names)


def mix(number: int) -> int:
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB & MASK
    return number ^ (number >> 31)


def char_ngrams(word: str) -> Iterator[int]:
    """Leading 32 bits of the hash of each character n-gram of a normalised word."""
    letters = [0, *[ord(letter) + 1 for letter in word], 0]
    for n in range(2, 6):
        for first in range(len(letters) - n + 1):
            rolled = LINK
            for letter in letters[first : first + n]:
                rolled = (rolled * BASE + letter + 1) & MASK
            yield mix(rolled) >> 32


def expected_ids(features: WordFeatures, text: str) -> tuple[list[int], int]:
    """Ids of the OOV table of a text, and how many tokens have any."""
    entry = {hashed: features.n_rows + i for i, hashed in enumerate(features.oov_hashes.tolist())}
    codes, code_points, offsets = spelled_tokens([text])
    ids: list[int] = []
    n_tokens = 0
    for code, first, last in zip(codes, offsets, offsets[1:], strict=False):
        if features.known(np.array([code]))[0]:
            continue
        if (own := entry.get(int(code) >> 32)) is not None:
            new = [own]
        else:
            letters = "".join(map(chr, code_points[first:last]))
            new = [entry[hashed] for hashed in char_ngrams(letters) if hashed in entry]
        ids += new
        n_tokens += bool(new)
    return ids, n_tokens
