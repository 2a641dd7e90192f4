"""One model, one answer: native core, numpy, states, torch, the page, ONNX and Hugging Face agree."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray
from stored_models import KINDS, classifier_of
from test_novelty import REFERENCE

from token2wave.core import load_core
from token2wave.models.registry import NUMPY, OPERATIONS, READOUTS

ENGINE = Path(__file__).parents[1] / "page" / "engine.mjs"
# Every operation, read-out, source of variants, restoration and branch; words and WordPiece.
MODELS = (
    "fast",
    "fast modulation",
    "small",
    "cls",
    "linear",
    "real",
    "magnitude",
    "several",
    "cls amplitudes",
)
MODELS += ("oov", "oov cls", "paper", "paper phrases")
CUT = ("paper", "paper phrases")  # WordPiece reads no more than `max_tokens` of a text
TEXTS = ["a good film!", "", "bad", "zebra", "don't, don't! a a a 3.5", "good film . " * 40, "b é 中 👍 xx"]
TEXTS += ["goodness", "the filmic, filmic goodness of a good film"]
# What looks like words above, and Thai with blanks between letters and without.
TEXTS += [
    "e\u0301 ＧＯＯＤ ba\u00add \ufb01lm good\u200b",
    "\u1112\u1161\u11ab\u1100\u116e\u11a8\u110b\u1165 ก่อนภาษาไทย",
    "ภ า ษ า ไ ท ย",
]

Probabilities = NDArray[np.float64]


def in_numpy(name: str) -> Probabilities:
    model = classifier_of(name)
    with mock.patch.dict("os.environ", TOKEN2WAVE_NATIVE="0"):
        twin = copy.deepcopy(model)
    assert twin.computes_with == "numpy"
    return twin.probabilities(TEXTS)


def in_the_native_core(name: str) -> Probabilities:
    if load_core() is None:
        pytest.skip("there is no native core")
    assert classifier_of(name).computes_with == "native core"
    return classifier_of(name).probabilities(TEXTS)


def through_a_state(name: str) -> Probabilities:
    return np.stack([classifier_of(name).state().update(text).probabilities() for text in TEXTS])


def in_torch(name: str) -> Probabilities:
    torch = pytest.importorskip("torch")
    from token2wave.models import WaveNetwork

    compiled = classifier_of(name)
    network = WaveNetwork(compiled.network.config)
    arrays = compiled.network.arrays()
    network.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
    twin = replace(compiled, network=network)
    assert twin.computes_with == "torch"
    return twin.probabilities(TEXTS)


def in_the_page(name: str) -> Probabilities:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    return page_answers()[name]


@cache
def page_answers() -> dict[str, Probabilities]:
    """One run of node for all models."""
    from token2wave.serving.page.letters import page_letter_table

    with tempfile.TemporaryDirectory() as folder:
        cases = []
        for name in MODELS:
            path = Path(folder) / name
            classifier_of(name).save(path)
            letters = page_letter_table(classifier_of(name).features)
            cases.append({"model": str(path), "letters": letters, "texts": TEXTS, "explained": []})
        run = subprocess.run(["node", ENGINE], input=json.dumps(cases), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    answers = [[each["probabilities"] for each in answer["predictions"]] for answer in json.loads(run.stdout)]
    return dict(zip(MODELS, map(np.array, answers), strict=True))


def in_onnx(name: str) -> Probabilities:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from token2wave.integrations.onnx import OnnxClassifier, export_onnx

    with tempfile.TemporaryDirectory() as folder:
        export_onnx(classifier_of(name), Path(folder) / "model.onnx")
        return OnnxClassifier(Path(folder) / "model.onnx").probabilities(TEXTS)


def in_hugging_face(name: str) -> Probabilities:
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from token2wave.integrations.huggingface import to_huggingface

    model, tokenizer = to_huggingface(classifier_of(name))
    with torch.inference_mode():
        logits = model(**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits
    return (logits.sigmoid() if classifier_of(name).multi_label else logits.softmax(dim=1)).numpy()


BACKENDS: dict[str, Callable[[str], Probabilities]] = {
    "native core": in_the_native_core,
    "state": through_a_state,
    "torch": in_torch,
    "page": in_the_page,
    "ONNX": in_onnx,
    "Hugging Face": in_hugging_face,
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", MODELS)
def test_every_backend_gives_the_same_probabilities(name: str, backend: str) -> None:
    expected = in_numpy(name)
    assert np.ptp(expected, axis=0).min() > 0.01  # the texts differ
    actual = BACKENDS[backend](name)
    if backend == "state" and name.startswith("paper"):  # a state does not cut long texts
        expected, actual = expected[:4], actual[:4]
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", [*MODELS, "trigrams", "narrow"])
def test_every_backend_knows_the_same_texts(name: str) -> None:
    """Texts of which nothing is known: without words, of unknown words, of another script."""
    model = replace(classifier_of(name), novelty_reference=REFERENCE)
    texts = ["", " \n", "zebra", "\u03c8\u03c9 \u03c8", "\U0001f996", "a good film!", "zebra film"]
    expected = [False] * 5 + [True] * 2
    texts, expected = [*texts, "goodness"], [*expected, name.startswith("oov")]
    with mock.patch.dict("os.environ", TOKEN2WAVE_NATIVE="0"):
        in_numpy = copy.deepcopy(model)
    for twin in (model, in_numpy):
        assert twin.known(texts).tolist() == expected
        predictions = twin.predict_batch(texts, novelty=True)
        assert [each.known for each in predictions] == expected
        assert [each.novelty == 1 for each in predictions] == [not known for known in expected]
        assert [twin.explain(text).known for text in texts] == expected
        states = [twin.state().update(text) for text in texts]
        assert [each.predict().known for each in states] == expected
        assert [each.novelty() == 1 for each in states] == [not known for known in expected]
        assert not states[6].remove("film").known
        assert states[0].merge(states[5]).known
        assert twin.state_from_bytes(states[5].to_bytes()).known
        assert twin.predict("zebra " * 20_000).known is False
        assert twin.predict("zebra " * 20_000 + "film").known is (name not in CUT)


def test_texts_in_arrow_and_torch_are_known_or_not() -> None:
    torch, pyarrow = pytest.importorskip("torch"), pytest.importorskip("pyarrow")
    from token2wave.models import WaveNetwork

    compiled = classifier_of("cls")
    network = WaveNetwork(compiled.network.config)
    network.load_state_dict({name: torch.tensor(a) for name, a in compiled.network.arrays().items()})
    texts = pyarrow.chunked_array([["", "a film"], ["zebra"]])
    for twin in (compiled, replace(compiled, network=network)):
        assert [each.known for each in twin.predict_batch(texts)] == [False, True, False]


def test_the_models_use_every_operation_and_readout_that_a_backend_claims() -> None:
    shapes = [classifier_of(name).network.config for name in MODELS]
    compiled = {name for name, entry in READOUTS.items() if NUMPY in entry.backends}
    assert {shape.operation for shape in shapes} == set(OPERATIONS)
    assert {shape.readout for shape in shapes} == compiled
    assert {shape.restore for shape in shapes} == {"linear", "real", "magnitude"}
    assert {shape.variants for shape in shapes} == {"linear", "rows"}
    assert {bool(shape.context_width) for shape in shapes} == {shape.linear_svm for shape in shapes}
    assert {bool(shape.n_oov) for shape in shapes} == {False, True}
    assert set(MODELS) <= set(KINDS)
