"""The native core and numpy explain alike, whatever the network has."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from token2wave.classifier import Classifier
from token2wave.core import load_core
from token2wave.errors import ModelFileError
from token2wave.explanation.removal import part_logits, part_logits_in_numpy
from token2wave.features import WordConfig, WordFeatures
from token2wave.features.text import char_ngram_hashes, token_hashes
from token2wave.features.words import OOV_NGRAMS
from token2wave.inference.compiled import compile_network
from token2wave.inference.reference import probabilities
from token2wave.models import WaveConfig

pytestmark = pytest.mark.skipif(load_core() is None, reason="there is no native core")

WORDS = [
    "a",
    "good",
    "bad",
    "film",
    "don't",
    "3.5",
    "!",
    ",",
    "x-ray",
    "中中",
    "é",
    "👍",
    "ภาษาไทย",
    "e\u0301",
    "\ufb01lm\u200b",
    "½",
    "films",
    "zzz",
    "\ud800",
]
TEXTS = [
    "",
    "good",
    "zzz",
    "zzz films zzz",
    "good good good good",
    "A good film.  It's bad!\nfilms, zzz 。中中 don’t",
    " ".join(random.Random(2).choices(WORDS, k=40)),
    ". ".join(random.Random(3).choices(WORDS, k=300)),
    "\u200bgoo\u00add ﬁlms\u0301\u0323! \ufdfa½⅓ a¼. b…c ภา ษาไทย\n"
    "\u1112\u1161\u11abＧＯＯＤ 3.5\ufe0f e\u0301",
]
SHAPES: list[dict[str, Any]] = [
    {"operation": operation, "readout": readout, "context_width": width, "context_radius": radius, **more}
    for operation, readout, (width, radius), more in itertools.product(
        ("interference", "modulation"),
        ("text", "cls"),
        ((0, 1), (8, 1), (8, 2), (8, 3)),
        (
            {},
            {"linear_svm": True, "n_oov": 1},
            {"variants": "linear", "restore": "linear", "multi_label": True},
        ),
    )
]
SHAPES += [
    {"readout": "text", "linear_svm": True, "multi_label": True, "restore": "magnitude"},
    {
        "readout": "text",
        "restore": "real",
        "operation": "modulation",
        "context_width": 16,
        "context_radius": 40,
    },
]


def model(shape: dict[str, Any], ngrams: int = 2, cls: bool = False) -> Classifier:
    """A classifier of random weights, whose OOV table has a word and some n-grams of another one."""
    known = [" ".join(random.Random(0).choices(WORDS[:-3], k=300))]
    settings = WordConfig(bits=16, min_count=1, cls=cls or shape["readout"] == "cls", ngrams=ngrams)
    features = WordFeatures.fit(known, settings)
    if shape.get("n_oov"):
        hashes = {*char_ngrams("films")[::2], int(token_hashes(["zzz"])[0][0] >> np.uint64(32))}
        features = features.with_oov(np.array(sorted(hashes), dtype=np.uint32))
        shape = {**shape, "n_oov": len(hashes)}
    config = WaveConfig(features.n_rows, 3, **{"variants": "rows", "width": 8, **shape})
    generator = np.random.default_rng(0)
    arrays = {
        name: generator.normal(0, 0.5, size).astype(np.float32)
        for name, size in config.parameter_shapes().items()
    }
    return Classifier(features, compile_network(config, arrays), ("a", "b", "c"))


def char_ngrams(word: str) -> list[int]:
    """The entries of a word's character n-grams."""
    letters = np.array([ord(letter) for letter in word], dtype=np.uint32)
    hashes, _ = char_ngram_hashes(letters, np.array([0]), np.array([len(word)]), *OOV_NGRAMS)
    return [int(hashed) for hashed in hashes >> np.uint64(32)]


def assert_alike(classifier: Classifier, text: str, unit: str) -> None:
    network = classifier.compiled()
    assert network.runs_natively
    core = part_logits(classifier, text, unit, None)
    numpy = part_logits_in_numpy(classifier, network, text, unit, None)
    np.testing.assert_array_equal(core.spans, numpy.spans)
    np.testing.assert_array_equal(core.known, numpy.known)
    assert (core.complete, core.is_known) == (numpy.complete, numpy.is_known)
    np.testing.assert_allclose(core.energy, numpy.energy, rtol=0, atol=1e-6)
    np.testing.assert_allclose(core.logits, numpy.logits, rtol=2e-6, atol=2e-6)
    predicted = [probabilities(each.logits.astype(float), classifier.multi_label) for each in (core, numpy)]
    np.testing.assert_allclose(*predicted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("ngrams", [1, 2, 4])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape.values())))
def test_the_core_explains_as_numpy_does(shape: dict[str, Any], ngrams: int) -> None:
    classifier = model(shape, ngrams)
    for text, unit in itertools.product(TEXTS, ("word", "sentence")):
        assert_alike(classifier, text, unit)


def test_a_cls_that_is_not_read_out_is_a_feature() -> None:
    classifier = model({"readout": "text", "context_width": 8, "linear_svm": True, "n_oov": 1}, cls=True)
    for text, unit in itertools.product(TEXTS, ("token", "sentence")):
        assert_alike(classifier, text, unit)


def test_a_signal_that_fails_is_raised() -> None:
    def should_stop() -> bool:
        raise RuntimeError("the client is gone")

    classifier = model({"readout": "text"})
    with pytest.raises(RuntimeError, match="the client is gone"):
        classifier.explain("good film", should_stop=should_stop)


def test_handles_of_two_models_are_refused() -> None:
    ours, others = model({"readout": "text"}), model({"readout": "text"}, ngrams=1)
    with pytest.raises(ValueError, match="do not fit together"):
        ours.compiled().logits_without_parts(others.features, "good", None, None)


def test_weights_that_overflow_are_refused() -> None:
    classifier = model({"readout": "text"})
    arrays = {name: array * np.float32(1e37) for name, array in classifier.network.arrays().items()}
    broken = replace(classifier, network=compile_network(classifier.network.config, arrays))
    with pytest.raises(ModelFileError, match="finite"):
        broken.explain("good film")
