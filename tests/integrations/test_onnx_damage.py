"""Damaged and foreign ONNX files, and missing packages, give one clear error."""

from __future__ import annotations

import base64
import json
import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import TEXTS, edited
from stored_models import classifier_of

from token2wave.errors import MissingExtraError, ModelFileError
from token2wave.integrations.onnx import OnnxClassifier, export_onnx


@pytest.fixture
def path(tmp_path: Path) -> Path:
    export_onnx(classifier_of("linear_svm"), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def refused(path: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        OnnxClassifier(path).probabilities(TEXTS)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_files_that_are_not_onnx(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "nothing.onnx")
    assert "a folder" in refused(tmp_path)
    text = tmp_path / "text.onnx"
    text.write_text("a text")
    assert "damaged, cut short or of another kind" in refused(text)
    text.write_bytes(b"")
    refused(text)


def test_foreign_graph(tmp_path: Path) -> None:
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Abs", ["x"], ["y"])], "foreign", value[:1], value[1:])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8),
        tmp_path / "foreign.onnx",
    )
    assert "of another origin" in refused(tmp_path / "foreign.onnx")


@pytest.mark.parametrize("seed", range(3))
def test_damage_is_reported_or_harmless(seed: int, path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole, chance = path.read_bytes(), random.Random(seed)
    for number in range(40):
        damaged = bytearray(whole)
        if number % 2:
            del damaged[chance.randrange(len(damaged)) :]
        else:
            for _ in range(chance.choice([1, 4])):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        with suppress(ModelFileError):  # only a weight may have changed
            OnnxClassifier(path).probabilities(TEXTS)
    assert capfd.readouterr() == ("", "")


def header_edited(edit: Callable[[dict[str, Any]], object]) -> Callable[[Any], None]:
    def edit_model(model: Any) -> None:
        entry = next(each for each in model.metadata_props if each.key == "token2wave")
        header = json.loads(entry.value)
        edit(header)
        entry.value = json.dumps(header)

    return edit_model


def array_edited(encoded: str) -> Callable[[Any], None]:
    def edit_model(model: Any) -> None:
        next(each for each in model.metadata_props if "buckets" in each.key).value = encoded

    return edit_model


def renamed_input(model: Any) -> None:
    """A graph with another input."""
    model.graph.input[0].name = "tokens"
    for node in model.graph.node:
        for number, name in enumerate(node.input):
            if name == "ids":
                node.input[number] = "tokens"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (header_edited(lambda header: header.clear()), "of another origin"),
        (header_edited(lambda header: header.update(format_version=1)), "expected format 3, found format 1"),
        (header_edited(lambda header: header.pop("labels")), "section 'labels'"),
        (header_edited(lambda header: header.update(labels=[1, 2, 3])), "names in the section 'labels'"),
        (header_edited(lambda header: header["labels"].pop()), "a graph of 2 classes"),
        (header_edited(lambda header: header["features"].update(kind="letters")), "'letters'"),
        (header_edited(lambda header: header["features"].pop("settings")), "settings of the features"),
        (header_edited(lambda header: header["features"]["settings"].update(bits=99)), "99"),
        (array_edited("!"), "base64"),
        (array_edited(base64.b64encode(b"abc").decode()), "array 'buckets'"),
        (array_edited(base64.b64encode(b"\1\0\0\0").decode()), "the rows and the OOV table"),
        (renamed_input, "one that fails"),
    ],
    ids=lambda value: value if isinstance(value, str) else "edit",
)
def test_metadata_is_checked(edit: Callable[[Any], None], message: str, path: Path) -> None:
    assert message in refused(edited(path, edit))


@pytest.mark.parametrize("module", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named(module: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"'{module}'.*pip install 'token2wave\[onnx\]'"):
        export_onnx(classifier_of("fast"), path) if module == "onnx" else OnnxClassifier(path)


def test_running_a_file_imports_neither_torch_nor_onnx(path: Path) -> None:
    program = (
        "import sys; from token2wave.integrations.onnx import OnnxClassifier\n"
        f"print(OnnxClassifier({str(path)!r}).predict('good film').label)\n"
        "assert not {'torch', 'onnx'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in classifier_of("linear_svm").label_names
