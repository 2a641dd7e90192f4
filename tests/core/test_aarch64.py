"""The core compiled for aarch64 gives in an emulator what the core of this machine and numpy give.

``driver.c`` runs the core's functions without Python. The tests need ``apt-get install qemu-user
gcc-aarch64-linux-gnu libc6-dev-arm64-cross``. An emulator shows other instructions, other contractions of
products and sums, and unsigned characters. It does not show the weaker order of memory: on x86-64 it keeps
the order of x86-64.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from linear_svm_cases import case_of
from test_removal import TEXTS, model

import token2wave
from token2wave.classifier import Classifier
from token2wave.core import load_core
from token2wave.explanation.removal import part_logits, part_logits_in_numpy
from token2wave.features import Ragged
from token2wave.features.normalisation import unicode_table
from token2wave.features.text import token_hashes
from token2wave.inference import reference
from token2wave.inference.compiled import CompiledNetwork, join_dense, native_shape
from token2wave.models import WaveConfig
from token2wave.training import linear_svm, native_trainer
from token2wave.training.additive_network import AdditiveNetwork
from token2wave.training.callbacks import CallbackList
from token2wave.training.examples import Examples
from token2wave.training.recipe import Recipe

COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
LIBRARIES = Path("/usr/aarch64-linux-gnu")
# Those of setup.py.
FLAGS = ("-std=c11", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-Wno-psabi")
MISSING = [name for name in (COMPILER, EMULATOR) if shutil.which(name) is None]
MISSING += [] if (LIBRARIES / "include" / "stdio.h").exists() else ["libc for aarch64"]

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the emulator runs programs of Linux"),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
    pytest.mark.skipif(load_core() is None, reason="the native core is not built"),
]

MODELS: list[dict[str, Any]] = [
    {"operation": "interference", "readout": "text", "context_width": 8, "linear_svm": True, "n_oov": 1},
    {"operation": "modulation", "readout": "cls", "context_width": 16, "context_radius": 3, "width": 24},
    {"operation": "interference", "readout": "text", "variants": "linear", "multi_label": True},
    {"operation": "modulation", "readout": "text", "restore": "magnitude", "linear_svm": True, "width": 40},
]
NETWORKS: list[dict[str, Any]] = [
    {"width": 8},
    {"width": 40, "context_width": 16, "context_radius": 3, "operation": "modulation"},
    {"width": 32, "context_width": 8, "multi_label": True},
]
PROBLEMS: list[dict[str, Any]] = [
    {"n_classes": 2},
    {"n_classes": 3, "share": 0.5, "n_dense": 7},
    {"n_classes": 9, "share": 1.0, "weighted": True},
]


class Driver:
    """Runs calls of the core's functions under the emulator."""

    def __init__(self, program: Path) -> None:
        self.program, self.folder = program, program.parent

    def __call__(self, name: str, *arguments: Any) -> Iterator[bytes]:
        """The results of one call; numbers and arrays of it have the dtypes that driver.c names."""
        arrays = [name.encode(), *map(np.ascontiguousarray, arguments)]
        blocks = [array if isinstance(array, bytes) else array.tobytes() for array in arrays]
        calls, results = self.folder / "calls", self.folder / "results"
        calls.write_bytes(b"".join(np.int64(len(block)).tobytes() + block for block in blocks))
        command = [EMULATOR, "-L", LIBRARIES, self.program, calls, results]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        content = results.read_bytes()
        while content:
            size = int.from_bytes(content[:8], "little")
            yield content[8 : 8 + size]
            content = content[8 + size :]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Driver:
    folder = tmp_path_factory.mktemp("aarch64")
    core = Path(token2wave.__file__).parent / "core"
    files = [path for path in sorted(core.glob("*.c")) if not path.name.startswith("module")]
    compiler = [COMPILER, *FLAGS, f"-I{core}"]

    def compiled(path: Path) -> Path:
        out = folder / f"{path.stem}.o"
        subprocess.run([*compiler, "-c", path, "-o", out], check=True)
        return out

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compiled, [Path(__file__).with_name("driver.c"), *files]))
    subprocess.run([*compiler, *objects, "-o", folder / "driver", "-lm", "-lpthread"], check=True)
    return Driver(folder / "driver")


def integers(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def read_predict_explain(driver: Driver, classifier: Classifier, n_threads: int) -> list[bytes]:
    features, config = classifier.features, classifier.network.config
    encoded = [text.encode("utf-8", "surrogatepass") for text in TEXTS]
    settings = features.config
    arrays = classifier.network.arrays()
    return list(
        driver(
            "read_predict_explain",
            np.frombuffer(b"".join(encoded), np.uint8),
            integers(0, *np.cumsum([len(text) for text in encoded])),
            *unicode_table(),
            features.buckets,
            features.oov_hashes,
            integers(settings.ngrams, settings.unspaced_ngrams, settings.bits, settings.cls),
            integers(*native_shape(config)),
            arrays[reference.EMBEDDING],
            join_dense(config, arrays),
            integers(n_threads),
        )
    )


@pytest.mark.parametrize("shape", MODELS, ids=str)
def test_texts_are_read_predicted_and_explained_alike(shape: dict[str, Any], driver: Driver) -> None:
    classifier = model(shape, ngrams=3)
    results = read_predict_explain(driver, classifier, n_threads=1)
    assert read_predict_explain(driver, classifier, n_threads=3) == results
    n_classes, left = len(classifier.label_names), iter(results)
    probabilities = np.frombuffer(next(left), np.float32).reshape(-1, n_classes)
    np.testing.assert_allclose(probabilities, classifier.probabilities(TEXTS), rtol=0, atol=1e-6)
    known = np.frombuffer(next(left), np.bool_)
    for text, is_known in zip(TEXTS, known, strict=True):
        hashes = np.frombuffer(next(left), np.uint64)
        np.testing.assert_array_equal(hashes, token_hashes([text])[0])
        features, ids = classifier.features([text]), np.frombuffer(next(left), np.int32)
        np.testing.assert_array_equal(np.sort(ids), np.sort(features.ids))
        assert np.frombuffer(next(left), np.int64) == features.n_ordered
        spans, energy, parts_known, logits = (next(left) for _ in range(4))
        for expected in (
            part_logits(classifier, text, "word", None),
            part_logits_in_numpy(classifier, classifier.compiled(), text, "word", None),
        ):
            np.testing.assert_array_equal(np.frombuffer(spans, np.int64), expected.spans.ravel())
            np.testing.assert_array_equal(np.frombuffer(parts_known, np.bool_), expected.known)
            assert is_known == expected.is_known
            np.testing.assert_allclose(np.frombuffer(energy), expected.energy, rtol=0, atol=1e-6)
            numbers = np.frombuffer(logits, np.float32).reshape(-1, n_classes)
            np.testing.assert_allclose(numbers, expected.logits, rtol=2e-6, atol=2e-6)
    assert next(left, None) is None


def random_texts(n_texts: int, n_rows: int) -> Ragged:
    """Texts of words and n-grams, empty ones and repetitions among them."""
    random = np.random.default_rng(0)
    texts = [random.integers(0, n_rows, random.integers(0, 40)).tolist() for _ in range(n_texts)]
    texts[:3] = [[], [1], [2] * 30]
    n_ordered = integers(*(random.integers(0, len(text) + 1) for text in texts))
    ids = np.array([row for text in texts for row in text], np.int32)
    return Ragged(ids, integers(0, *np.cumsum([len(text) for text in texts])), n_ordered)


def network_of(shape: dict[str, Any]) -> AdditiveNetwork:
    """A network whose weights are large enough for all of the core's approximations to count."""
    settings = {"operation": "interference", "embedding_scale": 1.0, **shape}
    config = WaveConfig(200, 3, variants="rows", readout="text", dropout=0.3, **settings)
    network = AdditiveNetwork.initial(config, 0)
    network.dense += np.random.default_rng(0).normal(0, 0.5, len(network.dense)).astype(np.float32)
    return network


@pytest.mark.parametrize("shape", NETWORKS, ids=str)
def test_rows_are_predicted_alike(shape: dict[str, Any], driver: Driver) -> None:
    network, texts = network_of(shape), random_texts(150, 200)
    arguments = (
        *(texts.ids, texts.offsets, texts.n_ordered, integers(*native_shape(network.config))),
        *(network.embedding, network.dense),
    )
    one, three = (list(driver("predict_rows", *arguments, integers(n))) for n in (1, 3))
    assert one == three
    logits = np.frombuffer(one[0], np.float32).reshape(-1, 3)
    compiled = CompiledNetwork(network.config, network.arrays())
    in_numpy = reference.logits_of_features(network.config, network.arrays(), texts)
    for expected in (compiled.logits(texts), in_numpy):
        np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=2e-6)


class RecordingCore:
    """The core of this machine; it records the arguments before each call, and copies of what they become."""

    def __init__(self) -> None:
        self.core: Any = load_core()
        self.calls: list[tuple[tuple[Any, ...], tuple[np.ndarray, ...], Any]] = []

    def train(self, *arguments: Any) -> Any:
        return self._record(self.core.train, arguments, weights=1)

    def fit_linear_svm(self, *arguments: Any) -> Any:
        return self._record(self.core.fit_linear_svm, arguments, weights=3)

    def _record(self, function: Any, arguments: Sequence[Any], weights: int) -> Any:
        before = [
            tuple(each.copy() if isinstance(each, np.ndarray) else each for each in argument)
            if isinstance(argument, tuple)
            else argument
            for argument in arguments
        ]
        returned = function(*arguments)
        self.calls.append((tuple(before), tuple(each.copy() for each in arguments[weights]), returned))
        return returned


@pytest.mark.parametrize("shape", NETWORKS, ids=str)
def test_an_epoch_of_training_ends_alike(
    shape: dict[str, Any], driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    core, random = RecordingCore(), np.random.default_rng(1)
    monkeypatch.setattr(native_trainer, "load_core", lambda: core)
    labels, targets = random.integers(0, 3, 150), None
    if shape.get("multi_label"):
        targets = random.integers(0, 2, (150, 3)).astype(np.float32)
    weights = random.uniform(0, 3, 150).astype(np.float32)
    recipe = Recipe(
        epochs=1, batch_size=16, lr=3e-3, weight_decay=0.02, embedding_optimizer="sgd", embedding_lr=5.0,
        embedding_weighting="idf", label_smoothing=0.1, token_dropout=0.3, context_words=9,
    )  # fmt: skip
    examples = Examples(random_texts(150, 200), labels, weights, targets)
    trainer = native_trainer.NativeTrainer(network_of(shape), examples, recipe, seed=5)
    trainer.epoch(CallbackList([]))
    (call,) = core.calls
    (sizes, state, texts, factors, adam, steps, _), expected, (loss, n_right) = call
    arguments = (
        *(*texts[:3], integers(*sizes), *state, *texts[3:], *factors[:4]),
        np.array([*factors[4:], *adam], np.float32),
    )
    one, three = (list(driver("train", *arguments, integers(*steps, n))) for n in (1, 3))
    assert one == three
    for array, weight, before in zip(one[:4], expected[:4], state[:4], strict=True):
        assert not np.array_equal(weight, before)
        numbers = np.frombuffer(array, np.float32).reshape(weight.shape)
        np.testing.assert_allclose(numbers, weight, rtol=2e-3, atol=2e-5)
    np.testing.assert_allclose(np.frombuffer(one[4]), (loss, n_right), rtol=1e-5)


@pytest.mark.parametrize("case", PROBLEMS, ids=str)
def test_a_linear_svm_has_the_same_minimum(
    case: dict[str, Any], driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear_svm, "TOLERANCE", 1e-4)
    monkeypatch.setattr(linear_svm, "MAX_PASSES", 3_000)
    monkeypatch.setattr(linear_svm, "MAX_VISITS", 10**9)
    core = RecordingCore()
    solutions = []
    for solver in (lambda: core, lambda: None):
        monkeypatch.setattr(linear_svm, "load_core", solver)
        problem, _, share = case_of(**case, n_texts=25)
        solutions.append(problem.solve_path(share, 1.0 if "n_dense" in case else 0.0, [0.5, 2.0]))
    (call,) = core.calls
    (texts, examples, features, weights, (factors, max_passes, tolerance, seed), _), expected, _ = call
    rows, bias, gram_weights, dense_weights, passes, alphas = weights
    arguments = (
        *(*texts, *examples, *features[:3]),
        *(rows, bias, gram_weights, dense_weights, passes, alphas, factors),
        np.array([features[3], tolerance], np.float32),
    )
    one, three = (list(driver("fit_linear_svm", *arguments, integers(max_passes, seed, n))) for n in (1, 3))
    numbers_of = 0, 1, 2, 3, 5  # passes are those of a block, which has fewer classes with more threads
    assert [one[i] for i in numbers_of] == [three[i] for i in numbers_of]
    assert not rows.any()
    for i in numbers_of:
        numbers = np.frombuffer(one[i], np.float32).reshape(expected[i].shape)
        np.testing.assert_allclose(numbers, expected[i], rtol=0, atol=2e-3)
    solved = np.frombuffer(one[0], np.float32).reshape(rows.shape)
    in_numpy = np.stack([weights.rows for weights in solutions[1]])
    np.testing.assert_allclose(solved, in_numpy, rtol=0, atol=2e-3)
