"""A new operation or read-out works in torch, is saved and loaded, and every other backend refuses it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import token2wave
from token2wave.cli.main import main
from token2wave.core import load_core
from token2wave.errors import ConfigError
from token2wave.features import Ragged
from token2wave.inference.compiled import CompiledNetwork, native_shape, reason_not_to_compile
from token2wave.integrations.onnx import export_onnx
from token2wave.integrations.onnx_graph import build_graph
from token2wave.models import WaveConfig, WaveNetwork, register_operation, register_readout
from token2wave.models.registry import BACKENDS, NATIVE, NUMPY, ONNX, OPERATIONS, PAGE, READOUTS
from token2wave.serving.page import export_html
from token2wave.training.native_trainer import trains_natively
from token2wave.training.presets import preset_named
from token2wave.waves import Wave, segment_sum

pytestmark = pytest.mark.usefixtures("plain_training")

NETWORK_JS = Path(token2wave.__file__).parent / "serving" / "page" / "network.js"
WITHOUT_SVM = {"network.linear_svm": False, "network.dropout": 0.0, "recipe.refit_below": 0}  # trains once
MODELS: dict[str, dict[str, Any]] = {
    "operation": {"network.operation": "difference", **WITHOUT_SVM},
    "readout": {"network.readout": "root", **WITHOUT_SVM},
    "both, in a whole preset": {"network.operation": "difference", "network.readout": "root"},
}


def difference(first: Wave, second: Wave) -> Wave:
    return Wave(first.real - second.real, first.imaginary - second.imaginary)


def root_pooling(states: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Sum of the states, divided by the root of their number."""
    lengths = offsets.diff().clamp(min=1).to(states.dtype)
    return segment_sum(states, offsets) / lengths.sqrt()[:, None]


@pytest.fixture
def registered() -> None:
    """Registers both by the documented steps; ``conftest.py`` takes them back after the test."""
    register_operation("difference", difference)
    register_readout("root", root_pooling)


def rows(n_rows: int, seed: int) -> list[tuple[str, str]]:
    """Texts of three classes, each with words of its own among words of all."""
    random = np.random.default_rng(seed)
    words = {
        "sport": "match goal team league",
        "money": "bank shares profit bond",
        "space": "orbit rocket moon",
    }
    labels = sorted(words) * (n_rows // 3)
    texts = []
    for label in labels:
        text = [*random.choice(words[label].split(), 3), *random.choice(["the", "a", "of", "and", "in"], 4)]
        texts.append((" ".join(random.permutation(text)), label))
    return texts


def train(folder: Path, settings: dict[str, Any]) -> token2wave.TrainingResult:
    data, test = folder / "train.csv", folder / "test.csv"
    for seed, path in enumerate((data, test)):
        path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows(240, seed)))
    n_epochs = 8 if "recipe.refit_below" in settings else 3  # a whole preset also trains on folds
    options = {"preset": "small", "epochs": n_epochs, "batch_size": 8, "settings": settings}
    return token2wave.train(data, test=test, out=folder / "model", **options)


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("settings", MODELS.values(), ids=MODELS)
def test_a_new_entry_trains_saves_loads_and_is_refused_elsewhere(
    settings: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = train(tmp_path, settings)
    texts = [*(text for text, _ in rows(60, 2)), "", "unknown"]
    trained, loaded = result.classifier, token2wave.load(tmp_path / "model")
    assert result.summary.accuracy > 0.9  # three classes
    assert trained.computes_with == loaded.computes_with == "torch"
    np.testing.assert_allclose(loaded.probabilities(texts), trained.probabilities(texts), atol=1e-6)
    network = WaveNetwork(loaded.network.config)
    network.load_state_dict({name: torch.tensor(array) for name, array in trained.network.arrays().items()})
    by_hand = torch.softmax(torch.tensor(network.logits(trained.features(texts))), dim=1).numpy()
    np.testing.assert_allclose(loaded.probabilities(texts), by_hand, atol=1e-6)
    reason = r"^network: cannot be compiled: .*'(difference|root)'"
    for refused in (
        loaded.compiled,
        loaded.state,
        lambda: loaded.state_from_bytes(b""),
        lambda: loaded.window(3),
        lambda: loaded.explain("goal"),
        lambda: export_onnx(loaded, tmp_path / "model.onnx"),
        lambda: export_html(loaded, tmp_path / "model.html"),
    ):
        with pytest.raises(ConfigError, match=reason) as caught:
            refused()
        assert "\n" not in str(caught.value)
    for kind in ("onnx", "html"):
        arguments = ["export", str(tmp_path / "model"), "--to", kind, "--out", str(tmp_path / "exported")]
        monkeypatch.setattr(sys, "argv", ["token2wave", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit):
            main()
        printed = capsys.readouterr().err.strip().splitlines()
        assert len(printed) == 1
        assert "cannot be compiled" in printed[0]
    assert not (tmp_path / "exported").exists()


@pytest.mark.usefixtures("registered")
def test_hugging_face_runs_the_torch_function(tmp_path: Path) -> None:
    huggingface = pytest.importorskip("token2wave.integrations.huggingface")
    classifier = train(tmp_path, MODELS["operation"]).classifier
    texts = ["the goal", "bank bank", ""]
    converted = huggingface.to_huggingface(classifier)
    again = huggingface.from_huggingface(*converted)
    np.testing.assert_allclose(again.probabilities(texts), classifier.probabilities(texts), atol=1e-6)
    OPERATIONS["difference"] = replace(OPERATIONS["difference"], backends=frozenset())
    with pytest.raises(ConfigError, match="'difference' is not available in Hugging Face"):
        huggingface.to_huggingface(classifier)


def test_a_model_whose_entry_is_not_registered_is_refused_in_one_line(tmp_path: Path) -> None:
    config = WaveConfig(5, 2, width=8)
    for key, expected in (("operation", "interference, modulation"), ("readout", "cls, text, mean")):
        with pytest.raises(ConfigError, match=f"^{key}: expected one of {expected}, found 'difference'"):
            config.replace(**{key: "difference"})


@pytest.mark.usefixtures("registered")
def test_another_process_must_register_the_entry_before_it_loads_the_model(tmp_path: Path) -> None:
    train(tmp_path, MODELS["operation"])
    code = "import sys, token2wave; token2wave.load(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "model"], capture_output=True, text=True)
    assert "ModelFileError" in done.stderr
    assert "operation: expected one of interference, modulation, found 'difference'" in done.stderr
    assert "register_operation" in done.stderr.splitlines()[-1]
    done = subprocess.run(
        [sys.executable, "-m", "token2wave", "predict", tmp_path / "model", "the goal"],
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert len(done.stderr.strip().splitlines()) == 1
    assert "which is not registered" in done.stderr


@pytest.mark.usefixtures("registered")
def test_the_native_core_does_not_train_a_new_entry() -> None:
    preset = preset_named("small")
    for settings in ({}, {"operation": "difference"}, {"readout": "root"}):
        config = preset.network_config(9, 3, ()).replace(linear_svm=False, **settings)
        if load_core() is not None:
            assert trains_natively(config, preset.recipe, has_cls=False) == (not settings)
        assert (reason_not_to_compile(config) is None) == (not settings)


@pytest.mark.parametrize("key", ["operation", "readout"])
def test_a_backend_refuses_a_name_that_it_does_not_know(key: str) -> None:
    """Even if the entry says that the backend computes it."""
    table = OPERATIONS if key == "operation" else READOUTS
    table["new"] = replace(table["modulation" if key == "operation" else "text"], name="new")
    config = WaveConfig(5, 2, width=8, variants="rows", readout="text").replace(**{key: "new"})
    arrays = {name: np.zeros(shape, np.float32) for name, shape in config.parameter_shapes().items()}
    with pytest.raises(ValueError, match="not in"):
        native_shape(config)
    text = Ragged(np.array([1, 2], np.int32), np.array([0, 2]), np.array([2]))
    with pytest.raises(ValueError, match=r"expected .*, found 'new'"):
        CompiledNetwork(config.replace(width=4), arrays_of(config.replace(width=4))).logits(text)
    with pytest.raises(ValueError, match=r"expected .*, found 'new'"):
        build_graph(config, arrays, {}, ())


def arrays_of(config: WaveConfig) -> dict[str, np.ndarray]:
    return {name: np.zeros(shape, np.float32) for name, shape in config.parameter_shapes().items()}


@pytest.mark.skipif(load_core() is None, reason="there is no native core")
@pytest.mark.parametrize("place", [5, 6])
def test_the_native_core_refuses_an_unknown_operation_and_readout(place: int) -> None:
    config = WaveConfig(5, 2, width=8, variants="rows", readout="text")
    network = CompiledNetwork(config, arrays_of(config))
    assert network.native_handle() is not None
    shape = list(native_shape(config))
    shape[place] = 2
    dense = np.zeros(sum(map(np.size, list(arrays_of(config).values())[1:])), np.float32)
    with pytest.raises(ValueError, match="known operation and read-out"):
        load_core().open_network(tuple(shape), np.zeros((5, 16), np.float32), dense)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.parametrize("settings", [{"operation": "difference"}, {"readout": "root"}, {}])
def test_the_page_refuses_an_unknown_operation_and_readout(settings: dict[str, str]) -> None:
    network = json.dumps({"readout": "text", "variants": "rows", **settings})
    tensors = '{"embedding.weight": new Float32Array(0)}'
    code = f'import {{Network}} from "{NETWORK_JS}"; new Network({network}, {tensors});'
    done = subprocess.run(["node", "--input-type=module", "-e", code], capture_output=True, text=True)
    assert (done.returncode == 0) == (not settings), done.stderr
    for value in settings.values():
        assert f"found {value}" in done.stderr


def test_registering() -> None:
    register_operation("interference", "token2wave.waves:interference", BACKENDS)  # the same entry again
    with pytest.raises(ConfigError, match="found 'modulation', which is taken"):
        register_operation("modulation", difference)
    with pytest.raises(ConfigError, match=r"^new: expected backends from .*, found 'jax'"):
        register_readout("new", root_pooling, ["jax"])
    assert "new" not in READOUTS


def test_what_the_built_in_entries_support() -> None:
    """The parity test runs each of them on each of these backends."""
    for name in ("interference", "modulation"):
        assert OPERATIONS[name].backends == set(BACKENDS)
    for name in ("cls", "text"):
        assert READOUTS[name].backends == set(BACKENDS)
    assert not READOUTS["mean"].backends & {NATIVE, NUMPY, PAGE, ONNX}
