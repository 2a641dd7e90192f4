"""The page's engine computes what Python computes; node runs it without a browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_golden import USUAL
from oov_models import TEXTS, oov_model
from page_texts import HOSTILE, code_point, random_texts
from small_models import random_arrays
from stored_models import ENTRIES, KINDS, classifier_of, in_storage

import token2wave
from token2wave.classifier import Classifier
from token2wave.features import WordPieceConfig, WordPieceFeatures
from token2wave.inference.compiled import compile_network
from token2wave.models import WaveConfig
from token2wave.reporting.page_assets import page_resource
from token2wave.serving.page import MODULES, script_source
from token2wave.serving.page.letters import page_letter_table

NODE = shutil.which("node")
ENGINE = Path(__file__).with_name("engine.mjs")
SEED = 20_241
MANY, SOME = 1_000, 60
MAIN = [
    ("fast", "float32"),
    ("linear_svm", "plain"),
    ("several", "int8"),
    ("small", "lzma"),
    ("paper", "int8"),
]
OTHERS = [(kind, "float16") for kind in KINDS]
OOV: dict[str, dict[str, Any]] = {
    "oov": {"context_width": 8},
    "oov cls": {"readout": "cls"},
    "oov several": {"multi_label": True},
}
CASES = [*MAIN, *OTHERS, *((kind, storage) for kind in OOV for storage in ("plain", "float16", "lzma"))]
needs_node = pytest.mark.skipif(NODE is None, reason="node, which runs the engine, is not installed")


def _model(kind: str, storage: str) -> Classifier:
    model = in_storage(oov_model(**OOV[kind]), storage) if kind in OOV else classifier_of(kind, storage)
    return replace(model, novelty_reference=USUAL)


def _texts(case: tuple[str, str]) -> list[str]:
    oov_texts = TEXTS if case[0] in OOV else []
    return oov_texts + random_texts(MANY if case in MAIN else SOME, SEED)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Any]:
    """Answers of the engine for all cases, in one run."""
    folder = tmp_path_factory.mktemp("engine")
    cases = []
    for number, (kind, storage) in enumerate(CASES):
        path = folder / f"{number}.safetensors"
        _model(kind, storage).save(path)
        texts = _texts((kind, storage))
        letters = page_letter_table(_model(kind, storage).features)
        cases.append({"model": str(path), "letters": letters, "texts": texts, "explained": texts[:40]})
    return dict(zip(CASES, _engine(cases), strict=True))


def engine(path: Path, texts: list[str]) -> Any:
    """Predictions of the engine for one model."""
    letters = page_letter_table(token2wave.load(path).features)
    (answer,) = _engine([{"model": str(path), "letters": letters, "texts": texts, "explained": []}])
    return answer["predictions"]


def _engine(cases: list[dict[str, Any]]) -> list[Any]:
    assert NODE is not None
    run = subprocess.run(
        [NODE, str(ENGINE)],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    answers: list[Any] = json.loads(run.stdout)
    return answers


@needs_node
@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_predictions_equal_those_of_python(case: tuple[str, str], answers: dict[Any, Any]) -> None:
    classifier, texts = _model(*case), _texts(case)
    predictions = answers[case]["predictions"]
    probabilities = classifier.probabilities(texts)
    np.testing.assert_allclose(
        [each["probabilities"] for each in predictions], probabilities, rtol=0, atol=1e-5
    )
    novelty = classifier.novelty(texts)
    assert novelty is not None
    np.testing.assert_allclose([each["novelty"] for each in predictions], novelty, rtol=0, atol=1e-5)
    assert [each["known"] for each in predictions] == classifier.known(texts).tolist()


@needs_node
@pytest.mark.parametrize("logits", ["[0, NaN]", "[Infinity, 1]", "[-Infinity, 1]"])
@pytest.mark.parametrize("multi_label", ["true", "false"])
def test_no_label_beside_a_nan(logits: str, multi_label: str) -> None:
    network = Path(token2wave.__file__).parent / "serving" / "page" / "network.js"
    script = f"import {{ probabilitiesOf }} from {json.dumps(str(network))};"
    command = [NODE, "--input-type=module", "-e", f"{script} probabilitiesOf({logits}, {multi_label})"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 1
    assert "weights of the model overflow" in run.stderr


@needs_node
@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_explanations_equal_those_of_python(case: tuple[str, str], answers: dict[Any, Any]) -> None:
    classifier = _model(*case)
    for text, explanation in zip(_texts(case)[:40], answers[case]["explanations"], strict=True):
        expected = classifier.explain(text)
        assert [
            (code_point(text, part["start"]), code_point(text, part["end"]), part["known"])
            for part in explanation["parts"]
        ] == [(part.start, part.end, part.known) for part in expected.parts]
        for part, expected_part in zip(explanation["parts"], expected.parts, strict=True):
            np.testing.assert_allclose(part["effects"], expected_part.effects, rtol=0, atol=1e-5)
            assert part["energy"] == pytest.approx(expected_part.energy, abs=1e-6)


@needs_node
def test_golden_files() -> None:
    folder = Path(__file__).parents[1] / "storage" / "golden"
    golden = json.loads((folder / "probabilities.json").read_text())
    for name, rows in golden.items():
        predictions = engine(folder / f"{name}.safetensors", [text for text, _ in rows])
        probabilities = [each["probabilities"] for each in predictions]
        np.testing.assert_allclose(probabilities, [row for _, row in rows], rtol=0, atol=1e-5, err_msg=name)


@needs_node
def test_a_truncated_model_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    classifier = classifier_of("small", "lzma")
    classifier.save(path)
    path.write_bytes(path.read_bytes()[:-1])
    letters = page_letter_table(classifier.features)
    with pytest.raises(AssertionError, match="expected a whole model file"):
        _engine([{"model": str(path), "letters": letters, "texts": HOSTILE, "explained": []}])


@needs_node
def test_trained_model_compressed(tmp_path: Path) -> None:
    words = {"x": "good", "y": "bad"}
    rows = [f"{word} {other} film\t{label}" for label, word in words.items() for other in range(40)]
    data = tmp_path / "rows.tsv"
    data.write_text("text\tlabel\n" + "\n".join(rows) + "\n")
    token2wave.train(data, out=tmp_path / "whole.safetensors", epochs=2)
    out = tmp_path / "model.safetensors"
    token2wave.compress(tmp_path / "whole.safetensors", out, data=data, max_size="90kB", storage="lzma")
    small = token2wave.load(out)
    assert small.encoded["embedding.weight"].settings["kind"] == "lzma"
    texts = random_texts(MANY, SEED)
    probabilities = [each["probabilities"] for each in engine(out, texts)]
    np.testing.assert_allclose(probabilities, small.probabilities(texts), rtol=0, atol=1e-5)


@needs_node
@pytest.mark.parametrize("lowercase", [True, False])
def test_wordpiece_reads_every_code_point(tmp_path: Path, lowercase: bool) -> None:
    """Each alone, between letters and after its neighbour; nearly every letter has a row."""
    codes = [chr(code) for code in (*range(0xD800), *range(0xE000, 0x10000), *range(0x1D100, 0x1F700))]
    config = WordPieceConfig(lowercase=lowercase, max_tokens=4_000)
    normalizer = WordPieceFeatures(config, ENTRIES).tokenizer.normalizer
    letters = sorted(set(normalizer.normalize_str("|".join(codes))) - {" "})
    features = WordPieceFeatures(config, [*ENTRIES[:4], *letters, *(f"##{letter}" for letter in letters)])
    network = WaveConfig(features.n_rows, 2, width=8, variants="rows", readout="text")
    classifier = Classifier(features, compile_network(network, random_arrays(network, 0, 2.0)), ("a", "b"))
    classifier.save(tmp_path / "model")
    chunks = [codes[first : first + 256] for first in range(0, len(codes), 256)]
    texts = [separator.join(chunk) for chunk in chunks for separator in (" ", "", "a")]
    probabilities = [each["probabilities"] for each in engine(tmp_path / "model", texts)]
    np.testing.assert_allclose(probabilities, classifier.probabilities(texts), rtol=0, atol=1e-5)


def test_modules_come_after_what_they_import() -> None:
    folder = Path(token2wave.__file__).parent / "serving" / "page"
    names = [path.stem for path in folder.glob("*.js")]
    assert sorted((*MODULES, "audit")) == sorted(names)  # "audit" runs on the page of an audit instead
    for i, name in enumerate(MODULES):
        imported = re.findall(r'from "\./(\w+)\.js"', (folder / f"{name}.js").read_text())
        assert set(imported) <= set(MODULES[:i]), name


def test_names_of_the_script_do_not_clash() -> None:
    script = script_source()
    assert not re.search(r"^(import|export) ", script, re.MULTILINE)
    source = "".join(page_resource(f"{name}.js") for name in MODULES)
    names = re.findall(r"^(?:export )?(?:async )?(?:const|let|class|function)\*? (\w+)", source, re.MULTILINE)
    assert len(names) > 50
    assert len(set(names)) == len(names)
    assert "</script" not in script
