"""From a file to a saved model, end to end, on small data."""

import importlib
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from training_data import WORDS, write_csv, written_rows

import token2wave
from token2wave.errors import ConfigError, DataError, MissingExtraError, OutputError, Token2WaveError
from token2wave.models import WaveConfig
from token2wave.reporting.summary import render_summary
from token2wave.training.branches import branch_names
from token2wave.training.calibration import scale_branches
from token2wave.training.loop import Callback, Epoch
from token2wave.training.presets import preset_named
from token2wave.training.run import TrainingRun

SMALL = {
    "features.bits": 12,
    "network.width": 16,
    "network.dropout": 0.1,
    "recipe.token_dropout": 0.1,
    "recipe.precision": "float32",
    "recipe.refit_below": 0,
}
PAPER = {
    **{key: value for key, value in SMALL.items() if key != "features.bits"},
    "features.vocabulary_size": 120,
    "recipe.lr": 0.01,
    "recipe.embedding_lr": 0.01,
}


@pytest.fixture(autouse=True)
def no_vocabulary(monkeypatch):
    monkeypatch.delenv("TOKEN2WAVE_DATA", raising=False)


@pytest.fixture
def data(tmp_path):
    return write_csv(tmp_path / "train.csv", written_rows(90))


@pytest.fixture
def test_data(tmp_path):
    return write_csv(tmp_path / "held_out.csv", written_rows(30, seed=1))


def run(data, **changes):
    return token2wave.train(
        data,
        **{"device": "cpu", "settings": SMALL, "epochs": 4, "batch_size": 8, "baseline": False, **changes},
    )


@pytest.mark.parametrize("preset", ["small", "fast", "paper"])
def test_every_preset_end_to_end(preset, data, test_data, tmp_path):
    out = tmp_path / "model.safetensors"
    settings = PAPER if preset == "paper" else SMALL
    result = run(
        data, test=test_data, out=out, preset=preset, settings=settings, epochs=6, seed=3, command="as typed"
    )
    summary = result.summary
    assert summary.accuracy >= 0.9
    assert summary.evaluated_on == "test"
    assert summary.evaluation["accuracy"] == summary.accuracy
    assert summary.evaluation["macro_f1"] == summary.macro_f1
    assert (summary.preset, summary.seed, summary.command) == (preset, 3, "as typed")
    fraction = summary.settings["recipe"]["validation_fraction"]
    held_out = round(90 * fraction)
    assert (summary.rows, summary.test_rows) == (90, 30)
    assert (summary.train_rows, summary.validation_rows) == (90 - held_out, held_out)
    assert summary.label_names == tuple(sorted(WORDS))
    assert summary.model_bytes == out.stat().st_size
    network = result.classifier.network
    arrays = network.arrays()
    assert summary.parameters == sum(array.size for array in arrays.values())
    rows = arrays["embedding.weight"].size
    assert summary.parameters - summary.parameters_without_embedding == rows
    assert summary.epochs == len(summary.history) == 6
    assert summary.operation == network.config.operation
    best = summary.history[summary.best_epoch - 1]
    assert summary.validation_accuracy == best["validation_accuracy"]
    assert summary.total_seconds >= summary.train_seconds > 0
    assert summary.settings["network"]["width"] == 16
    assert summary.baseline is None

    again = token2wave.load(out)
    texts = [text for text, _ in written_rows(30, seed=1)] + ["", "unheard of", "match " * 300]
    np.testing.assert_allclose(again.probabilities(texts), result.classifier.probabilities(texts), atol=1e-6)
    assert again.label_names == result.classifier.label_names
    assert json.loads(json.dumps(again.training)) == json.loads(json.dumps(result.classifier.training))
    assert again.training["best_epoch"] == summary.best_epoch


@pytest.mark.parametrize("preset", ["small", "paper"])
def test_the_seed_decides_every_byte_of_the_file(preset, data, tmp_path):
    settings, files = PAPER if preset == "paper" else SMALL, []
    for i, seed in enumerate((5, np.int64(5), 6)):
        torch.manual_seed(i)
        before = torch.get_rng_state()
        out = tmp_path / f"{i}.safetensors"
        run(data, out=out, preset=preset, settings=settings, epochs=2, seed=seed)
        assert torch.equal(torch.get_rng_state(), before)
        files.append(out.read_bytes())
    assert files[0] == files[1]
    assert files[0] != files[2]


def test_without_test_data_rows_are_held_out(data):
    """The presets' recipes train again on all rows; this one does not, so nothing is cross-validated."""
    result = run(data)
    summary = result.summary
    assert (summary.test_rows, summary.model_bytes) == (None, None)
    assert summary.evaluated_on == "held-out"
    assert summary.train_rows + summary.validation_rows + summary.evaluation["rows"] == summary.rows
    assert summary.evaluation["accuracy"] == summary.accuracy
    assert result.classifier.training["evaluation"]["accuracy"] == round(summary.accuracy, 6)


def test_a_validation_file_is_used_whole(tmp_path):
    for name, n_rows, seed in (("train", 60, 0), ("validation", 21, 1), ("test", 12, 2)):
        write_csv(tmp_path / f"{name}.csv", written_rows(n_rows, seed=seed))
    summary = run(tmp_path).summary
    assert (summary.train_rows, summary.validation_rows, summary.test_rows) == (60, 21, 12)
    assert not any("hold any back" in caveat for caveat in summary.caveats)


def test_one_row_a_class_leaves_nothing_to_hold_back(tmp_path):
    data = write_csv(tmp_path / "tiny.csv", [("match goal", "sport"), ("bank shares", "money")])
    summary = run(data).summary
    assert (summary.train_rows, summary.validation_rows) == (2, 0)
    assert any("by the training texts, as none were held out" in line for line in render_summary(summary))
    assert any("too few rows to hold any out" in caveat for caveat in summary.caveats)


def test_the_callers_wishes_come_before_the_preset(data):
    summary = run(data, operation="modulation", epochs=1, batch_size=16, lr=3e-3).summary
    recipe = summary.settings["recipe"]
    assert (recipe["epochs"], recipe["batch_size"], recipe["lr"]) == (1, 16, 3e-3)
    usual = token2wave.training.presets.preset_named("small").recipe
    assert recipe["embedding_lr"] == pytest.approx(usual.embedding_lr * 3e-3 / usual.lr)
    assert summary.operation == "modulation"


@pytest.mark.parametrize("preset", ["small", "paper"])
def test_sentence_level_end_to_end(preset, tmp_path):
    """The features' sentence ends reach the network, and the network's reach its file."""
    rows = [
        (f"{text} {other}", label)
        for (text, label), (other, _) in zip(written_rows(60), written_rows(60, seed=9), strict=True)
    ]
    data, out = write_csv(tmp_path / "two.csv", rows), tmp_path / "model.safetensors"
    settings = {
        **(PAPER if preset == "paper" else SMALL),
        "network.variants": "levels",
        "network.readout": "mean",
    }
    if preset == "small":
        settings["features.bits"] = 20  # no other feature shares the bucket of a mark
    result = run(data, out=out, preset=preset, settings=settings, epochs=1)
    ends = result.classifier.network.config.sentence_ends
    assert len(ends) == 1
    assert token2wave.load(out).network.config.sentence_ends == ends
    assert np.array_equal(
        token2wave.load(out).probabilities(["A match. The goal."]),
        result.classifier.probabilities(["A match. The goal."]),
    )


def test_baseline_and_report(data, test_data, tmp_path, monkeypatch):
    folder, reported = tmp_path / "made" / "here", []
    module = importlib.import_module("token2wave.pipeline")
    monkeypatch.setattr(module, "write_report", lambda *arguments: reported.append(arguments) or [])
    summary = run(data, test=test_data, baseline=True, report=folder, epochs=1).summary
    assert summary.baseline["accuracy"] >= 0.9
    assert reported == [(summary, folder, False)]
    assert folder.is_dir()


def test_training_again_on_all_rows(data, test_data, tmp_path, monkeypatch):
    """The held-back rows choose the number of epochs; the model then learns from them as well."""
    monkeypatch.setattr("token2wave.training.run.FEW_TO_CROSS_VALIDATE", 0)
    again = {**SMALL, "recipe.refit_below": 10_000}
    plain = run(data, test=test_data).summary
    out = tmp_path / "model.safetensors"
    recorder = Recorder()
    result = run(data, test=test_data, settings=again, out=out, callbacks=[recorder])
    assert result.summary.history == plain.history
    assert result.summary.best_epoch == plain.best_epoch
    assert (result.summary.train_rows, result.summary.validation_rows) == (81, 9)
    assert result.summary.accuracy >= 0.9
    for name, total, advanced in recorder.stages:
        assert advanced == total, name
    best = plain.best_epoch
    steps = [total for name, total, _ in recorder.stages if name.startswith("training")]
    assert steps == [4 * 11, best * 12]
    first = out.read_bytes()
    run(data, test=test_data, settings=again, out=out)
    assert out.read_bytes() == first
    monkeypatch.undo()
    recorder = Recorder()
    run(data, test=test_data, settings=again, callbacks=[recorder])
    steps = [total for name, total, _ in recorder.stages if name.startswith("training")]
    assert steps == [4 * 11, *[4 * 9] * 5, 4 * 12]  # few rows: weighed by all of them, in five parts
    # Of more rows, those that are held out choose the epoch. More text is not weighed in parts.
    monkeypatch.setattr("token2wave.training.run.FEW_TO_BATCH", 90)
    for limit, of_folds in ((10_000, [best * 9] * 5), (1_000, [])):
        monkeypatch.setattr("token2wave.training.calibration.LITTLE_TO_CROSS_VALIDATE", limit)
        recorder = Recorder()
        run(data, test=test_data, settings=again, callbacks=[recorder])
        steps = [total for name, total, _ in recorder.stages if name.startswith("training")]
        assert steps == [4 * 11, *of_folds, best * 12]
    not_below = run(data, test=test_data, settings={**SMALL, "recipe.refit_below": 1}, callbacks=[Recorder()])
    before = run(data, test=test_data)
    of_oov = [
        3 * each.classifier.network.config.n_oov for each in (not_below, before)
    ]  # the SVM is of all rows
    assert not_below.summary.parameters - of_oov[0] == before.summary.parameters - of_oov[1]


@pytest.mark.parametrize("refit_below", [0, 10_000])
def test_without_character_ngrams_their_share_is_zero(data, refit_below):
    settings = {**SMALL, "recipe.char_ngrams": False, "recipe.refit_below": refit_below}
    record = run(data, settings=settings, epochs=1).classifier.training
    assert (record["linear_svm"]["char_ngram_weight"], record["refit"]) == (0.0, refit_below > 0)


# Being told


class Recorder(Callback):
    def __init__(self) -> None:
        self.stages: list[list] = []
        self.epochs: list[Epoch] = []

    def on_stage(self, name: str, total: int) -> None:
        self.stages.append([name, total, 0])

    def on_advance(self, amount: int) -> None:
        assert amount > 0
        self.stages[-1][2] += amount

    def on_epoch(self, epoch: Epoch) -> None:
        self.epochs.append(epoch)


@pytest.mark.parametrize("preset", ["small", "paper"])
def test_each_stage_advances_to_its_total(preset, data, test_data):
    recorder = Recorder()
    settings = PAPER if preset == "paper" else SMALL
    summary = run(
        data, test=test_data, preset=preset, settings=settings, epochs=2, baseline=True, callbacks=[recorder]
    ).summary
    names = [name for name, _, _ in recorder.stages]
    assert sorted(names[:2]) == ["features of the training texts", "features of the validation texts"]
    linear_svm = ["linear SVM"] if preset == "small" else []
    assert names[2:] == ["training", *linear_svm, "evaluation", "baseline", "writing"]
    for name, total, advanced in recorder.stages:
        assert advanced == total, name
    totals = {name: total for name, total, _ in recorder.stages}
    assert totals["features of the training texts"] == summary.train_rows
    assert totals["features of the validation texts"] == summary.validation_rows
    assert totals["evaluation"] == 30
    assert totals["training"] == len(summary.history) * -(-summary.train_rows // 8)
    assert [vars(epoch) for epoch in recorder.epochs] == list(summary.history)


# Refusals


class NoTraining(Callback):
    def on_stage(self, name: str, total: int) -> None:
        raise AssertionError(f"{name} began")


REFUSED = {
    "preset": ({"preset": "big"}, "preset", "small, fast, paper"),
    "operation": ({"operation": "addition"}, "operation", "interference, modulation"),
    "device": ({"device": "tpu"}, "device", "auto, cpu or cuda"),
    "seed": ({"seed": -1}, "seed", "from 0 to"),
    "epochs": ({"epochs": 0}, "epochs", "at least 1"),
    "batch size": ({"batch_size": 0}, "batch_size", "from 1 to 2^30"),
    "learning rate": ({"lr": 0.0}, "lr", "positive"),
    "learning rate nan": ({"lr": float("nan")}, "lr", "positive"),
    "part": ({"settings": {"model.width": 3}}, "model.width", "network.width=256"),
    "no part": ({"settings": {"width": 3}}, "width", "network.width=256"),
    "network key": ({"settings": {"network.depth": 3}}, "depth", "known are"),
    "recipe key": ({"settings": {"recipe.rate": 3}}, "rate", "known are"),
    "features key": ({"settings": {"features.words": 3}}, "words", "known are"),
    "empty key": ({"settings": {"features": 3}}, "''", "known are"),
    "type": ({"settings": {"network.width": "wide"}}, "width", "int"),
    "value": ({"settings": {"network.width": 0}}, "network.width", "from 1 to"),
    "weighting": ({"settings": {"recipe.embedding_weighting": "tf"}}, "embedding_weighting", "none, idf"),
    "cls": ({"settings": {"network.readout": "cls"}}, "readout", "features.cls=true"),
    "blind": (
        {"preset": "paper", "operation": "interference", "settings": {"network.restore": "real"}},
        "restore",
        "choose",
    ),
    "levels": ({"settings": {"network.variants": "levels"}}, "variants", "choose"),
    "vocabulary": ({"vocabulary": "vocab.txt"}, "vocabulary", "paper"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_illegal_settings_are_refused_before_training(name, data, tmp_path):
    changes, key, hint = REFUSED[name]
    out = tmp_path / "model.safetensors"
    out.write_bytes(b"an older model")
    with pytest.raises(ConfigError) as refusal:
        run(data, out=out, overwrite=True, callbacks=[NoTraining()], **changes)
    assert key in str(refusal.value)
    assert hint in str(refusal.value)
    assert out.read_bytes() == b"an older model"


def test_settings_are_refused_before_data_is_read():
    for name, (changes, _, _) in REFUSED.items():
        if name != "vocabulary":  # whether it is needed is asked with the texts at hand
            with pytest.raises(ConfigError):
                run("no such data", **changes)


def test_cuda_is_refused_where_there_is_none(data, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"device: found no usable CUDA device.*choose cpu"):
        run(data, device="cuda")
    assert run(data, device="auto", epochs=1).summary.machine


def test_a_seed_that_torch_cannot_take_is_refused(data):
    with pytest.raises(ConfigError):
        run(data, seed=2**64, epochs=1)


@pytest.mark.parametrize("key", ["n_rows", "n_classes"])
def test_sizes_that_the_data_decides_cannot_be_set(key, data):
    with pytest.raises(ConfigError):
        run(data, epochs=1, settings={**SMALL, f"network.{key}": 7})


def test_places_that_cannot_be_written_to(data, tmp_path, monkeypatch):
    (tmp_path / "a_file").write_text("")
    quiet = {"callbacks": [NoTraining()]}
    with pytest.raises(OutputError, match="does not exist"):
        run(data, out=tmp_path / "missing" / "model.safetensors", **quiet)
    with pytest.raises(OutputError, match="found a folder"):
        run(data, out=tmp_path, **quiet)
    with pytest.raises(OutputError, match="a_file"):
        run(data, report=tmp_path / "a_file", **quiet)
    with pytest.raises(OutputError, match="a_file"):
        run(data, report=tmp_path / "a_file" / "below", **quiet)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(OutputError, match="cannot be written to"):
        run(data, out=tmp_path / "model.safetensors", **quiet)
    with pytest.raises(OutputError, match="cannot be written to"):
        run(data, report=tmp_path / "report", **quiet)


def test_a_missing_vocabulary_is_refused_before_training(data, tmp_path):
    with pytest.raises(Token2WaveError, match=r"nowhere\.txt"):
        run(
            data,
            preset="paper",
            settings=PAPER,
            vocabulary=tmp_path / "nowhere.txt",
            callbacks=[NoTraining()],
        )


def test_vocabularies(data, tmp_path, monkeypatch):
    """A given file comes before that of the data folder, which comes before training one."""
    words = [word for some in WORDS.values() for word in some]

    def rows_of(**changes) -> int:
        return run(data, preset="paper", settings=PAPER, epochs=1, **changes).classifier.features.n_rows

    def vocabulary_file(path: Path, n_words: int) -> Path:
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words[:n_words]]) + "\n")
        return path

    given = vocabulary_file(tmp_path / "vocab.txt", 10)
    assert rows_of(vocabulary=given) == 14
    monkeypatch.setenv("TOKEN2WAVE_DATA", str(tmp_path))
    assert rows_of() > 20
    vocabulary_file(tmp_path / "bert-base-uncased" / "vocab.txt", 12)
    assert rows_of() == 16
    assert rows_of(vocabulary=given) == 14


def test_an_existing_model_survives_a_run_that_fails(data, tmp_path):
    out = tmp_path / "model.safetensors"
    out.write_bytes(b"an older model")
    with pytest.raises(ConfigError, match="finite"):
        run(data, out=out, overwrite=True, settings={**SMALL, "recipe.embedding_lr": 1e30, "recipe.lr": 1e30})

    class Interruption(Callback):
        def on_epoch(self, epoch: Epoch) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(data, out=out, overwrite=True, callbacks=[Interruption()])
    assert out.read_bytes() == b"an older model"
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


def test_one_class_alone_is_refused(tmp_path):
    data = write_csv(tmp_path / "one.csv", [("a match", "sport"), ("a goal", "sport")])
    with pytest.raises(DataError, match="same label"):
        run(data, callbacks=[NoTraining()])


@pytest.mark.parametrize(
    ("module", "wish"), [("matplotlib", "figures"), ("sklearn", "baseline")], ids=["figures", "baseline"]
)
def test_a_missing_package_is_found_out_before_training(data, test_data, tmp_path, monkeypatch, module, wish):
    def never(*_, **__):
        raise AssertionError("training began")

    monkeypatch.setattr(importlib.import_module("token2wave.training.run"), "fit_branches", never)
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    overrides = {wish: True} | ({"report": tmp_path / "report"} if wish == "figures" else {})
    with pytest.raises(MissingExtraError, match="pip install"):
        run(data, test=test_data, **overrides)
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("refit_below", [0, 100_000])
def test_rates_that_are_too_large_are_told(data, test_data, tmp_path, refit_below):
    settings = {**SMALL, "recipe.refit_below": refit_below}
    out = tmp_path / "model"
    result = run(data, test=test_data, out=out, settings=settings, lr=1e6)
    assert result.summary.refit == bool(refit_below)
    share = result.classifier.training["lr_factor"]
    assert 0 < share < 1e-2
    told = f"training was started again with rates divided by {1 / share:,.0f}."
    assert [caveat for caveat in result.summary.caveats if told in caveat]
    texts = [text for text, _ in written_rows(30, seed=1)]
    found = token2wave.load(out).probabilities(texts)
    assert np.array_equal(found, result.classifier.probabilities(texts))
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    if refit_below:  # it may have needed smaller rates than the first fit did
        return
    # As it would have been with such rates from the first.
    recipe = result.classifier.training["recipe"]
    smaller = {key: recipe[key] * share for key in ("lr", "embedding_lr")}
    again = run(
        data,
        test=test_data,
        settings={**settings, **{f"recipe.{key}": rate for key, rate in smaller.items()}},
        lr=1e6,
    )
    assert again.summary.history == result.summary.history
    assert "lr_factor" not in again.classifier.training
    assert not [caveat for caveat in again.summary.caveats if "finite number" in caveat]


def test_a_linear_svm_that_validation_gives_no_weight(data, test_data, monkeypatch):
    """Neither the model nor the one that has not seen validation rows has its OOV table."""

    def calibrate_without_svm(network, validation):
        weights = (1.0,) * (len(branch_names(network.config)) - 1) + (0.0,)
        scale_branches(network, weights)
        return weights

    monkeypatch.setattr(
        importlib.import_module("token2wave.training.run"), "calibrate", calibrate_without_svm
    )
    result = run(data, test=str(test_data))
    assert not result.classifier.network.config.linear_svm
    assert result.classifier.probabilities(["match goal", "zzzz"]).shape == (2, 3)


def test_folds_choose_where_they_are_quick_and_gain():
    """Not for pairs, which gain nothing, networks that only torch trains, and without a tuned SVM."""
    small = preset_named("small")
    config = WaveConfig(5, 2, variants="rows", readout="text", linear_svm=True)
    cases = (
        (small, config, 8_000),
        (small.for_pairs(False), config, 1_000),
        (small, config.replace(positions="sinusoidal"), 1_000),
        (small, config.without_linear_svm(), 1_000),
        (preset_named("fast"), config, 1_000),
    )
    for preset, network, n_rows in cases:
        assert TrainingRun._rows_to_fold(SimpleNamespace(preset=preset), network) == n_rows
