"""Finite weights can overflow: such a model does not load, and no path prints a label beside a NaN."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from make_golden import USUAL
from stored_models import KINDS, classifier_of

import token2wave
from tests.inference.small_models import HUGE, one_huge_row, with_arrays, word_classifier
from token2wave.classifier import Classifier
from token2wave.errors import ModelFileError
from token2wave.inference.state import SlidingWindow

TEXTS = ["good film", "a b", "bad", "", "good bad film films don't 3.5 !"]


def answers(classifier: Classifier, text: str) -> Iterator[Callable[[], Any]]:
    """Every way to predict a text, as functions that return all numbers of the answer."""
    yield lambda: classifier.predict(text, top_k=3, novelty=True)
    yield lambda: classifier.probabilities([text]).tolist()
    yield lambda: classifier.novelty([text])
    yield lambda: classifier.state().update(text).predict(3)
    yield lambda: classifier.state(removable=False).update(text).probabilities().tolist()
    yield lambda: SlidingWindow(classifier, 3).update(text).predict()
    yield lambda: vars(classifier.explain(text))
    yield lambda: classifier.encode([text]).tolist()
    yield lambda: classifier.state().update(text).vector().tolist()
    truth = np.zeros((1, 3), dtype=bool) if classifier.multi_label else np.zeros(1, dtype=np.int64)
    yield lambda: classifier.evaluate([text], truth)


def numbers_in(value: Any) -> Iterator[float]:
    """All numbers of an answer."""
    if isinstance(value, float):
        yield value
    elif isinstance(value, dict):
        yield from (number for each in value.values() for number in numbers_in(each))
    elif isinstance(value, np.ndarray | list | tuple):
        yield from (number for each in value for number in numbers_in(each))
    elif hasattr(value, "__dict__"):
        yield from numbers_in(vars(value))


def is_refused_or_finite(answer: Callable[[], Any]) -> bool:
    """Whether an answer is refused; one that is not must have finite numbers."""
    try:
        values = list(numbers_in(answer()))
    except ModelFileError:
        return True
    assert all(map(math.isfinite, values))
    return False


@pytest.mark.parametrize("native", ["0", "1"])
@pytest.mark.parametrize("kind", ["small", "linear_svm", "oov", "cls", "magnitude", "paper"])
def test_one_text_that_overflows(kind: str, native: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN2WAVE_NATIVE", native)
    classifier = one_huge_row(replace(classifier_of(kind), novelty_reference=USUAL), "good")
    for text in TEXTS:
        for answer in answers(classifier, text):
            refused = is_refused_or_finite(answer)
            assert not (refused and "good" not in text)


def test_a_model_that_overflows_does_not_load(tmp_path: Path) -> None:
    one_huge_row(word_classifier(), "good").save(tmp_path / "model")
    with pytest.raises(ModelFileError, match="finite probabilities"):
        token2wave.load(tmp_path / "model")


@settings(deadline=None, max_examples=150, print_blob=True)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    exponents=st.lists(st.sampled_from([-45, -10, 0, 0, 0, 10, 19, 30, 38]), min_size=1, max_size=6),
    seed=st.integers(0, 1 << 16),
)
@example(kind="several", exponents=[38], seed=0)
def test_any_weights(
    tmp_path_factory: pytest.TempPathFactory, kind: str, exponents: list[int], seed: int
) -> None:
    """Whatever loads, refuses or gives finite numbers in every way."""
    random = np.random.default_rng(seed)
    classifier = replace(classifier_of(kind), novelty_reference=USUAL)
    hostile = {}
    for name, array in classifier.network.arrays().items():
        numbers = array * 10.0 ** random.choice(exponents, size=array.shape)
        hostile[name] = np.clip(numbers, -HUGE, HUGE).astype(np.float32)
    with warnings.catch_warnings(action="error"):
        classifier = with_arrays(classifier, hostile)
        path = tmp_path_factory.getbasetemp() / "hostile"
        classifier.save(path)
        with suppress(ModelFileError):
            classifier = token2wave.load(path)
        for text in TEXTS:
            for answer in answers(classifier, text):
                is_refused_or_finite(answer)
