"""Compression: never too large, and what the summary says is true of the file that was written."""

from __future__ import annotations

import csv
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_models import edited, take_apart

import token2wave
from token2wave.classifier import Classifier
from token2wave.compression import compressor, encoder
from token2wave.compression.compressor import (
    NOVELTY_UNKNOWN,
    SVM_OF_ALL,
    TRAINED_ON_ALL,
    Compressor,
    recipe_of,
)
from token2wave.compression.fitting import encode_rows, fit_step, rows_that_fit
from token2wave.config import parse_size
from token2wave.core import load_core
from token2wave.data import load_splits
from token2wave.errors import ConfigError, DataError, OutputError, Token2WaveError
from token2wave.storage.encodings import as_delta_varint, quantised
from token2wave.training.branches import fit_branches
from token2wave.training.callbacks import Callback, CallbackList
from token2wave.training.preparation import prepare
from token2wave.training.schedule import document_frequency

STORAGES = ("float32", "float16", "int8", "lzma")
LABELS = "abc"
TINY = {"network.width": 8, "features.bits": 14}
needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
needs_core = pytest.mark.skipif(load_core() is None, reason="only the native core trains rows again")
every_storage = pytest.mark.parametrize("storage", STORAGES)


def texts(n: int, seed: int) -> list[tuple[str, str]]:
    """Texts and labels: a third of the words tell the class, frequent and rare ones."""
    chance = random.Random(seed)
    found = []
    for _ in range(n):
        label = chance.choice(LABELS)
        words = [
            f"{label}{int(chance.expovariate(0.05))}"
            if chance.random() < 0.35
            else f"w{int(chance.expovariate(0.02))}"
            for _ in range(chance.randint(3, 15))
        ]
        found.append((f"{' '.join(words[:3])}. {' '.join(words[3:])}", label))
    return found


def write_csv(path: Path, rows: list[tuple[str, str]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return path


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data of its own validation rows, and a model trained on them."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "data").mkdir()
    write_csv(folder / "data" / "train.csv", texts(500, 0))
    write_csv(folder / "data" / "validation.csv", texts(100, 1))
    token2wave.train(folder / "data", out=folder / "model", preset="fast", epochs=3, settings=TINY)
    return folder


@pytest.fixture(autouse=True)
def workplace(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the data and a model, where no half-written file may be left."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TOKEN2WAVE_DATA", raising=False)
    return tmp_path


def accuracy_of(classifier: Classifier, rows: list[tuple[str, str]]) -> float:
    """From predictions alone."""
    return float(np.mean([classifier.predict(text).label == label for text, label in rows]))


# Sizes ----------------------------------------------------------------------------------------------


@every_storage
def test_never_larger_than_asked(storage: str) -> None:
    old = b"an older model"
    rows_before, fitted = 0, list[int]()
    refused: list[tuple[int, ConfigError]] = []
    for limit in [*range(1_000, 5_000, 333), *range(5_000, 12_000, 1_500), 20_001, 60_000, 10**6]:
        Path("out").write_bytes(old)
        try:
            summary = token2wave.compress(
                "model", "out", data="data", max_size=limit, storage=storage, retrain=False, overwrite=True
            ).summary
        except ConfigError as error:
            refused.append((limit, error))
            assert Path("out").read_bytes() == old
            continue
        assert summary["bytes_after"] == Path("out").stat().st_size <= limit
        assert summary["max_size"] == limit
        assert summary["rows_after"] >= 0.9 * rows_before
        rows_before = summary["rows_after"]
        fitted.append(limit)
    assert max(limit for limit, _ in refused) < min(fitted)
    for limit, error in refused:
        assert error.location == "max_size"
        assert f"{limit:,} bytes as {storage}; allow more bytes" in str(error)
    assert rows_before == summary["rows_before"]
    assert sorted(os.listdir()) == ["data", "model", "out"]


@every_storage
def test_the_bytes_are_used(storage: str) -> None:
    """A limit that nothing comes near would be kept, too."""
    summary = token2wave.compress("model", "out", data="data", max_size=6_000, storage=storage).summary
    assert summary["bytes_after"] > 5_000


@pytest.mark.parametrize("limit", [1, "1B", 500, "0.5kB"])
def test_sizes_that_cannot_be_reached_write_nothing(limit: int | str) -> None:
    with pytest.raises(ConfigError, match=r"^max_size: expected a size .* narrower network$"):
        token2wave.compress("model", "out", data="data", max_size=limit)
    assert not Path("out").exists()


def test_an_estimate_that_is_wrong_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "size_of_model_file", lambda _: 0)
    with pytest.raises(ConfigError, match=r"max_size: expected at most 2,000 bytes, found \d"):
        token2wave.compress("model", "out", data="data", max_size=2_000, storage="int8")
    assert sorted(os.listdir()) == ["data", "model"]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (1, 1),
        (1_500_000, 1_500_000),
        ("1MB", 1_000_000),
        ("300 kB", 300_000),
        ("300KB", 300_000),
        ("1.5MiB", 1_572_864),
        (" 2 gb ", 2_000_000_000),
        ("2GiB", 2 << 30),
        ("7", 7),
        ("7b", 7),
        ("0.5k", 500),
        ("1.9", 1),
    ],
)
def test_sizes(size: int | str, expected: int) -> None:
    assert parse_size(size) == expected


@pytest.mark.parametrize(
    "size",
    [
        "0",
        0,
        "-1",
        -1,
        "x",
        "",
        " ",
        "MB",
        "1.",
        ".5MB",
        "1e6",
        "1 M B",
        "1TB",
        "0.4",
        "nan",
        "inf",
        "9" * 400,
        "1,000",
    ],
)
def test_sizes_that_are_none(size: int | str) -> None:
    with pytest.raises(
        ConfigError, match=r"^max_size: expected a size such as 1MB or 300kB, found "
    ) as caught:
        parse_size(size)
    assert repr(size) in str(caught.value) or not str(size).strip()
    with pytest.raises(ConfigError):
        token2wave.compress("model", "out", data="data", max_size=size)
    assert not Path("out").exists()


# What is in the file, and what is said of it ---------------------------------------------------------


@every_storage
@pytest.mark.parametrize("limit", [None, 5_000])
def test_the_summary_is_true_of_the_file(storage: str, limit: int | None) -> None:
    rows = texts(100, 3)
    test = write_csv(Path("test.csv"), rows)
    result = token2wave.compress("model", "out", data="data", test=test, max_size=limit, storage=storage)
    before, after, summary = token2wave.load("model"), token2wave.load("out"), result.summary
    expected = {
        "storage": storage,
        "bytes_before": Path("model").stat().st_size,
        "bytes_after": Path("out").stat().st_size,
        "max_size": limit,
        "rows_before": before.features.n_rows,
        "rows_after": after.features.n_rows,
        "validation_rows": 50,  # the other half was held out to report on
        "evaluated_on": "test",
        "evaluated_rows": 100,
        "caveats": [],
    }
    assert {key: summary[key] for key in expected} == expected
    for when, classifier in (("before", before), ("after", after)):
        assert summary[f"accuracy_{when}"] == pytest.approx(accuracy_of(classifier, rows))
    assert summary["seconds"] > 0
    assert summary["retrained"] == after.training["compression"]["retrained"]
    assert after.training["compression"]["rows_before"] == before.features.n_rows
    recorded = after.training["evaluation"]
    assert recorded["accuracy"] == pytest.approx(summary["accuracy_after"], abs=1e-6)
    low, high = recorded["interval"]
    assert low < recorded["accuracy"] < high
    some = [text for text, _ in rows]
    np.testing.assert_array_equal(result.classifier.probabilities(some), after.probabilities(some))


@every_storage
def test_storages(storage: str) -> None:
    token2wave.compress("model", "out", data="data", storage=storage)
    header, _ = take_apart(Path("out"))
    how = header["__metadata__"]["token2wave"]["storage"]
    dense = {"head.weight", "layers.0.restore.linear.bias"}
    assert how["features.buckets"]["kind"] == "delta_varint"
    if storage == "float32":
        assert how.keys() == {"features.buckets"}
    else:
        assert {how[name]["kind"] for name in dense} == {"float16"}
        assert how["embedding.weight"]["kind"] == storage
    before, after = token2wave.load("model"), token2wave.load("out")
    some = [text for text, _ in texts(200, 2)]
    atol = {"float32": 0, "float16": 1e-3, "int8": 8e-3, "lzma": 0.05}[storage]
    np.testing.assert_allclose(after.probabilities(some), before.probabilities(some), rtol=0, atol=atol)
    size = {"float32": 1, "float16": 0.55, "int8": 0.36, "lzma": 0.22}[storage]
    assert Path("out").stat().st_size < size * Path("model").stat().st_size
    after.save("again")
    assert Path("again").read_bytes() == Path("out").read_bytes()
    state = after.state().update(some[0]).update(some[1])
    whole = after.probabilities([f"{some[0]} {some[1]}"])[0]
    np.testing.assert_allclose(state.probabilities(), whole, rtol=0, atol=1e-6)


@every_storage
def test_linear_svm_stay_what_they_are_to_states_and_explanations(storage: str) -> None:
    """All levels together, trained with n-grams: the file, its states and its explanations say the same."""
    chosen = {**TINY, "network.context_width": 8, "recipe.epochs": 2}
    trained = token2wave.train("data", out="model", preset="small", settings=chosen).classifier
    assert trained.network.config.linear_svm
    token2wave.compress("model", "out", data="data", storage=storage, max_size=20_000)
    small = token2wave.load("out")
    assert small.network.config.linear_svm
    left, right = (f"{text} unseen" for text, _ in texts(2, 4))
    whole = small.probabilities([f"{left} {right}"])[0]
    merged = small.state().update(left).merge(small.state().update(right))
    np.testing.assert_allclose(merged.probabilities(), whole, rtol=0, atol=2e-6)
    again = small.state_from_bytes(merged.to_bytes()).remove(right)
    np.testing.assert_allclose(again.probabilities(), small.probabilities([left])[0], rtol=0, atol=2e-6)
    for unit in ("token", "sentence"):
        found = small.explain(left, unit)
        without = [f"{left[: part.start]} {left[part.end :]}" for part in found.parts]
        effects = small.probabilities([left])[0] - small.probabilities(without)
        np.testing.assert_allclose([part.effects for part in found.parts], effects, rtol=0, atol=2e-6)


def test_a_model_whose_linear_svm_have_seen_the_validation_rows_says_so() -> None:
    rows = write_csv(Path("rows.csv"), texts(1_200, 0))
    chosen = {**TINY, "recipe.refit_below": 1, "recipe.refit_linear_svm": True, "recipe.epochs": 1}
    apart = token2wave.train(rows, out="apart", preset="fast", settings={**chosen, "recipe.refit_below": 0})
    assert "refit_linear_svm" not in apart.classifier.training
    assert token2wave.compress("apart", "out", data=rows, max_size=5_000).summary["caveats"] == []
    token2wave.train(rows, out="seen", preset="fast", settings=chosen)
    summary = token2wave.compress("seen", "out", data=rows, max_size=5_000).summary
    assert summary["caveats"] == [SVM_OF_ALL, NOVELTY_UNKNOWN]
    small = token2wave.train(rows, out="small", preset="fast", settings=chosen, max_size=20_000).classifier
    assert "refit_linear_svm" not in small.training  # what is made small has learnt from fewer rows


@every_storage
def test_without_a_size_no_row_goes(storage: str) -> None:
    """Not even one of zeros, which a size would spare."""
    classifier = token2wave.load("model")
    arrays = {name: array.copy() for name, array in classifier.network.arrays().items()}
    arrays["embedding.weight"][::2] = 0
    network = token2wave.compile_network(classifier.network.config, arrays)
    replace(classifier, network=network).save("model")
    summary = token2wave.compress("model", "out", data="data", storage=storage).summary
    assert summary["rows_after"] == summary["rows_before"]
    summary = token2wave.compress("model", "out", data="data", storage="lzma", max_size=60_000).summary
    assert summary["rows_after"] <= 0.5 * summary["rows_before"] + 1


def test_without_a_test_set_rows_that_the_model_has_not_seen_are_compared() -> None:
    summary = token2wave.compress("model", "out", data="data", max_size=5_000).summary
    assert (summary["evaluated_on"], summary["evaluated_rows"]) == ("held-out", 50)
    before = token2wave.load("model").training["evaluation"]
    assert summary["accuracy_before"] == pytest.approx(before["accuracy"], abs=1e-6)
    seen = write_csv(Path("seen.csv"), texts(1_200, 0))
    token2wave.train(seen, out="seen", preset="fast", epochs=1, settings=TINY)  # and again on all rows
    summary = token2wave.compress("seen", "out", data=seen).summary
    assert summary["evaluated_on"] is summary["accuracy_before"] is summary["accuracy_after"] is None
    small = token2wave.load("out")
    assert small.training["evaluation"] is None
    assert 0.9 < summary["agreement"] <= 1


def test_auto_is_packed_with_a_size_and_int8_without() -> None:
    assert token2wave.compress("model", "out", data="data").summary["storage"] == "int8"
    assert token2wave.compress("model", "out", data="data", max_size="6kB").summary["storage"] == "lzma"


@pytest.mark.parametrize("limit", [None, 5_000])
def test_the_same_twice(limit: int | None) -> None:
    for name in ("one", "two"):
        token2wave.compress("model", name, data="data", max_size=limit)
    assert Path("one").read_bytes() == Path("two").read_bytes()


def test_the_model_itself_may_be_replaced_and_compressed_again() -> None:
    sizes = [Path("model").stat().st_size]
    for storage, limit in (
        ("float16", None),
        ("int8", None),
        ("lzma", None),
        ("lzma", 5_000),
        ("int8", 4_700),
    ):
        with pytest.raises(OutputError, match="found the input"):
            token2wave.compress("model", "model", data="data", storage=storage, max_size=limit)
        summary = token2wave.compress(
            "model", "model", data="data", storage=storage, max_size=limit, overwrite=True
        ).summary
        assert summary["bytes_before"] == sizes[-1]
        sizes.append(Path("model").stat().st_size)
    assert sizes == sorted(sizes, reverse=True)
    assert token2wave.load("model").training["compression"]["storage"] == "int8"


def test_the_rows_that_bring_most_energy_stay() -> None:
    before = token2wave.load("model")
    token2wave.compress("model", "out", data="data", storage="float32", max_size=20_000, retrain=False)
    after = token2wave.load("out")
    training = before.features([text for text, _ in texts(500, 0)])
    rows = before.network.arrays()["embedding.weight"].astype(np.float64)
    energy = document_frequency(training, len(rows)) * (rows**2).sum(axis=1)
    kept = np.isin(before.features.buckets, after.features.buckets)
    assert 0 < kept.sum() == after.features.n_rows < len(kept)
    assert energy[kept].min() >= energy[~kept].max()
    np.testing.assert_array_equal(after.network.arrays()["embedding.weight"], rows[kept].astype(np.float32))


@needs_core
def test_rows_are_trained_again_where_that_is_better() -> None:
    classifier = token2wave.load("model")
    splits = load_splits("data")
    examples = prepare(replace(splits, label_names=classifier.label_names), recipe_of(classifier.training), 0)
    choices = []
    for limit in range(5_000, 12_000, 1_000):
        plain, best = (
            Compressor(classifier, examples, CallbackList([])).best("int8", limit, retrain)
            for retrain in (False, True)
        )
        assert not plain.classifier.training["compression"]["retrained"]
        assert best.validation.loss <= plain.validation.loss
        choices.append(best.classifier.training["compression"]["retrained"])
        assert choices[-1] == (best.validation.loss < plain.validation.loss)
    assert any(choices)


def test_a_model_that_has_seen_the_validation_rows_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = write_csv(Path("rows.csv"), texts(400, 0))
    token2wave.train(rows, out="refit", preset="fast", epochs=1, settings=TINY)
    monkeypatch.setattr(compressor, "fit_branches", lambda *_, **__: pytest.fail("trained again"))
    summary = token2wave.compress("refit", "out", data=rows, max_size=5_000).summary
    assert not summary["retrained"]
    assert summary["caveats"] == [TRAINED_ON_ALL, NOVELTY_UNKNOWN]
    assert summary["validation_rows"] == 40


def test_progress_is_told() -> None:
    stages, advanced = [], []

    class Told(Callback):
        def on_stage(self, name: str, total: int) -> None:
            stages.append(name)

        def on_advance(self, amount: int) -> None:
            advanced.append(amount)

    token2wave.compress("model", "out", data="data", callbacks=[Told()])
    assert stages[:2] == ["features", "compression"]
    assert sum(advanced) >= 550


# Other models ---------------------------------------------------------------------------------------


@needs_torch
@pytest.mark.parametrize("more", [{}, {"network.variants": "levels"}], ids=["compiles", "does not"])
def test_wordpiece(more: dict[str, Any]) -> None:
    settings = {"network.width": 8, "features.vocabulary_size": 400, **more}
    token2wave.train("data", out="paper", preset="paper", epochs=1, device="cpu", settings=settings)
    before = token2wave.load("paper")
    some = [text for text, _ in texts(50, 2)]
    test = write_csv(Path("test.csv"), texts(100, 1))
    sizes = {"whole": Path("paper").stat().st_size}
    for storage in ("float16", "int8", "lzma"):
        summary = token2wave.compress("paper", "out", data="data", test=test, storage=storage).summary
        after = token2wave.load("out")
        assert summary["rows_after"] == summary["rows_before"] == after.features.n_rows
        assert after.features.vocabulary == before.features.vocabulary
        np.testing.assert_allclose(after.probabilities(some), before.probabilities(some), rtol=0, atol=0.05)
        assert summary["accuracy_after"] == pytest.approx(accuracy_of(after, texts(100, 1)))
        sizes[storage] = summary["bytes_after"]
    assert sorted(sizes.values(), reverse=True) == list(sizes.values())
    middle = (sizes["lzma"] + sizes["int8"]) // 2
    for limit in (middle, sizes["lzma"] - 100):  # the second with a coarser step
        assert (
            token2wave.compress("paper", "out", data="data", max_size=limit).summary["bytes_after"] <= limit
        )
    with pytest.raises(ConfigError, match="max_size"):
        token2wave.compress("paper", "none", data="data", max_size=middle, storage="int8")
    with pytest.raises(ConfigError, match="max_size"):
        token2wave.compress("paper", "none", data="data", max_size=1_000)
    assert not Path("none").exists()


@needs_torch
def test_words_with_cls_keep_its_row() -> None:
    settings = {**TINY, "features.cls": True, "network.readout": "cls"}
    token2wave.train("data", out="cls", preset="fast", epochs=1, device="cpu", settings=settings)
    classifier = token2wave.load("cls")
    arrays = {name: array.copy() for name, array in classifier.network.arrays().items()}
    arrays["embedding.weight"][0] /= 1_000  # so weak a row would go
    network = token2wave.compile_network(classifier.network.config, arrays)
    replace(classifier, network=network).save("cls")
    for storage in STORAGES:
        summary = token2wave.compress("cls", "out", data="data", max_size=6_000, storage=storage).summary
        after = token2wave.load("out")
        assert summary["bytes_after"] <= 6_000
        assert 1 < after.features.n_rows < summary["rows_before"]
        found = after.network.arrays()["embedding.weight"][0]
        np.testing.assert_allclose(found, arrays["embedding.weight"][0], rtol=0, atol=2e-3)


def test_without_the_native_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN2WAVE_NATIVE", "0")
    summary = token2wave.compress("model", "out", data="data", max_size=5_000).summary
    assert summary["bytes_after"] <= 5_000
    assert not summary["retrained"]


# Data and records -----------------------------------------------------------------------------------


def test_data_in_memory_is_that_of_the_file() -> None:
    token2wave.compress("model", "out", data="data", max_size=5_000)
    splits = load_splits("data")
    token2wave.compress("model", "same", data=splits, max_size=5_000)
    assert Path("same").read_bytes() == Path("out").read_bytes()
    with pytest.raises(DataError, match=r"^nowhere: there is no such file"):
        token2wave.compress("model", "out", data="nowhere")


def test_a_model_without_a_record_is_compressed_too() -> None:
    edited(Path("model"), lambda metadata: metadata.update(training={}))
    assert token2wave.compress("model", "out", data="data", max_size=5_000).summary["bytes_after"] <= 5_000


@pytest.mark.parametrize(
    "record",
    [
        {"seed": -1},
        {"seed": "x"},
        {"seed": 1 << 80},
        {"seed": None},
        {"recipe": 5},
        {"recipe": [["epochs", 1]]},
    ],
)
def test_odd_records_do_no_harm(record: dict[str, Any]) -> None:
    def spoil(metadata: dict[str, Any]) -> None:
        metadata["training"].update(record)
        metadata["training"]["recipe"] = record.get("recipe", {"epochs": 1, "embedding_optimizer": "sgd"})

    edited(Path("model"), spoil)
    assert token2wave.compress("model", "out", data="data", max_size=5_000).summary["bytes_after"] <= 5_000


def test_other_data_is_a_caveat() -> None:
    write_csv(Path("other.csv"), texts(300, 5))
    summary = token2wave.compress("model", "out", data="other.csv").summary
    assert summary["caveats"] == ["The model was trained on 500 rows, and other has 300."]


def test_the_test_split_changes_nothing_but_the_figures() -> None:
    token2wave.compress("model", "one", data="data", max_size=5_000)
    write_csv(Path("data/test.csv"), [("w1 w2", "a"), ("w1", "a label that the model does not know")])
    summary = token2wave.compress("model", "two", data="data", max_size=5_000).summary
    assert summary["evaluated_rows"] == 2
    assert summary["accuracy_after"] <= 0.5  # a label that the model does not know counts as wrong
    one, two = token2wave.load("one"), token2wave.load("two")
    assert one.fingerprint == two.fingerprint


def test_labels_that_the_model_does_not_know() -> None:
    write_csv(Path("other.csv"), [*texts(50, 0), ("w1", "d")])
    with pytest.raises(DataError, match="'d'"):
        token2wave.compress("model", "out", data="other.csv")
    assert not Path("out").exists()


def test_columns_of_other_names() -> None:
    content = Path("data/train.csv").read_text().replace("text,label", "body,mood")
    Path("other.csv").write_text(content)
    with pytest.raises(DataError, match=r"'mod'.*did you mean 'mood'"):
        token2wave.compress("model", "out", data="other.csv", text_column="body", label_column="mod")
    token2wave.compress("model", "out", data="other.csv", text_column="body", label_column="mood")


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"storage": "int4"}, "storage: expected one of auto, float32, float16, int8, lzma, found 'int4'"),
        ({"model": "nothing"}, "nothing: there is no such file"),
        ({"model": "data/train.csv"}, "expected a whole safetensors file"),
        ({"out": "data"}, "data: expected a file to write, found a folder"),
        ({"out": "none/out"}, "the folder none does not exist"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], match: str) -> None:
    with pytest.raises(Token2WaveError, match=match):
        token2wave.compress(**{"model": "model", "out": "out", "data": "data", **arguments})
    assert sorted(os.listdir()) == ["data", "model"]


def test_a_file_that_cannot_be_written_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("out").write_bytes(b"an older model")

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(OutputError, match="out: cannot be written"):
        token2wave.compress("model", "out", data="data", overwrite=True)
    assert Path("out").read_bytes() == b"an older model"
    assert sorted(os.listdir()) == ["data", "model", "out"]


# Fitting --------------------------------------------------------------------------------------------


def table(kind: str, n_rows: int = 2_000, width: int = 16) -> np.ndarray:
    generator = np.random.default_rng(0)
    rows = generator.normal(0, 1, (n_rows, width))
    change: dict[str, Callable[[], np.ndarray]] = {
        "even": lambda: rows,
        "uneven": lambda: rows * 10 ** generator.uniform(-3, 0, (n_rows, 1)),
        "sparse": lambda: np.where(generator.random(rows.shape) < 0.9, 0, rows),
        "heavy": lambda: rows**5,
        "zero": lambda: 0 * rows,
    }
    return change[kind]().astype(np.float32)


def buckets(n_rows: int) -> np.ndarray:
    return np.sort(np.random.default_rng(1).choice(1 << 22, n_rows, replace=False)).astype(np.uint32)


@pytest.mark.parametrize("with_buckets", [True, False])
@pytest.mark.parametrize("kind", ["even", "uneven", "sparse", "heavy"])
def test_a_step_that_fits(kind: str, with_buckets: bool) -> None:
    rows = table(kind)
    places = buckets(len(rows)) if with_buckets else None
    finest = fit_step(rows, places, None)
    assert finest is not None
    before, n_kept = 0, 0
    for budget in np.geomspace(0.15 * finest.size, 1.3 * finest.size, 8).astype(int).tolist():
        found = fit_step(rows, places, budget)
        assert found is not None
        assert before <= found.size <= budget
        assert found.size >= 0.85 * min(budget, finest.size)
        gaps = len(as_delta_varint(places[found.mask]).parts[""]) if places is not None else 0
        assert found.size == len(found.rows.parts[""]) + gaps
        numbers = quantised(rows, found.rows.settings["step"])
        np.testing.assert_array_equal(found.mask, (numbers != 0).any(axis=1) if with_buckets else True)
        np.testing.assert_array_equal(
            found.rows.decoded(), numbers[found.mask] * np.float32(found.rows.settings["step"])
        )
        assert found.mask.sum() >= n_kept
        before, n_kept = found.size, found.mask.sum()
    assert fit_step(rows, places, 20) is None


def test_the_finest_step_clips_nothing() -> None:
    for kind in ("even", "heavy"):
        rows = table(kind)
        found = fit_step(rows, None, None)
        assert found is not None
        assert np.abs(found.rows.decoded() - rows).max() <= 0.56 * found.rows.settings["step"]


@pytest.mark.parametrize("n_rows", [1, 3, 2_000])
@pytest.mark.parametrize("budget", [None, 1_000])
def test_rows_of_zeros_leave_one(n_rows: int, budget: int | None) -> None:
    rows = table("zero", n_rows)
    found = fit_step(rows, buckets(n_rows), budget)
    assert found is not None
    assert found.mask.sum() == 1
    assert fit_step(rows, None, budget) is not None


@every_storage
def test_rows_that_fit(storage: str) -> None:
    found = [rows_that_fit(storage, 16, budget) for budget in range(1, 60_000, 500)]
    assert found == sorted(found)
    assert found[0] == 1
    n_rows = found[-1]
    rows, places = table("uneven", n_rows), buckets(n_rows)
    if storage != "lzma":
        arrays = [rows] if storage == "float32" else encode_rows(rows, storage).parts.values()
        n_bytes = sum(array.nbytes for array in arrays)
        assert 0.85 < (n_bytes + len(as_delta_varint(places).parts[""])) / 60_000 < 1.15
    else:  # a fine enough step is left
        fitted = fit_step(rows, places, 60_000)
        assert fitted is not None
        assert len(np.unique(fitted.rows.decoded())) > 5


@needs_core
@pytest.mark.prior
def test_words_that_only_the_prior_knows_are_the_last_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """The strongest of them stay as far as there is room, and rows trained again start from the prior."""
    adjectives, nouns = ("cheap", "broken", "friendly", "late", "new"), ("hotel", "train", "song", "soup")
    rows = [(f"the {a} {n} was {a}", n) for a in adjectives for n in nouns] * 6
    write_csv(Path("words.csv"), rows)
    settings = {"network.width": 8, "network.context_width": 8, "recipe.refit_below": 0, "features.bits": 16}
    model = token2wave.train("words.csv", out="english", epochs=1, settings=settings).classifier
    assert model.training["prior"] == "en"
    seen = np.unique(model.features([text for text, _ in rows]).rows(model.features.n_rows).ids)
    assert len(seen) < 100 < 20_000 < model.features.n_rows
    energy = (model.network.arrays()["embedding.weight"].astype(np.float64) ** 2).sum(axis=1)
    started = []
    monkeypatch.setattr(
        compressor,
        "fit_branches",
        lambda network, *args, prior, **options: (
            started.append((network.embedding.copy(), prior))
            or fit_branches(network, *args, prior=prior, **options)
        ),
    )
    for storage, limit in (("float32", 100_000), ("lzma", 100_000)):
        small = token2wave.compress(
            "english", "out", data="words.csv", storage=storage, max_size=limit, overwrite=True
        ).classifier
        stays = np.isin(model.features.buckets, small.features.buckets)
        unseen = np.setdiff1d(np.arange(len(stays)), seen)
        assert stays[seen].mean() > (0.9 if storage == "float32" else 0.5)  # with lzma some round to zero
        assert 50 < stays[unseen].sum() < 20_000
        if storage == "float32":
            assert energy[unseen][stays[unseen]].min() >= energy[unseen][~stays[unseen]].max()
    rows_at_start, vectors = started[0]
    root_mean_square = np.sqrt(np.square(rows_at_start[vectors.rows]).mean())
    others = np.setdiff1d(np.arange(len(rows_at_start)), vectors.rows)
    assert len(others)
    assert root_mean_square > 5 * np.sqrt(np.square(rows_at_start[others]).mean())
    assert small.predict("a hotel").label in ("hotel", "train", "song", "soup")
