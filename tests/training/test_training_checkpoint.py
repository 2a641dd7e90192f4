"""A run that is interrupted after any epoch, and gone on from, equals one that was not."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file
from training_data import write_csv, written_rows

import token2wave
from token2wave.errors import CheckpointError, ConfigError, OutputError
from token2wave.training import checkpoint as checkpoint_module
from token2wave.training import loop
from token2wave.training.auto_settings import FEW_TO_BATCH
from token2wave.training.callbacks import Callback

pytestmark = pytest.mark.usefixtures("plain_training")
SMALL = {"features.bits": 12, "network.width": 8, "network.context_width": 8}
ADAM = {
    "features.bits": 12,
    "network.width": 8,
    "network.variants": "linear",
    "recipe.embedding_optimizer": "adam",
    "recipe.embedding_lr": 0.01,
    "recipe.token_dropout": 0.2,
    "recipe.batch_size": 128,
    "recipe.precision": "float32",
}
KINDS = {
    "native, and all rows": {**SMALL, "recipe.epochs": 3},
    "native, levels by folds": {**SMALL, "recipe.epochs": 2, "recipe.batch_size": 16},
    "native, modulation and patience": {
        **SMALL,
        "network.operation": "modulation",
        "recipe.epochs": 5,
        "recipe.patience": 1,
    },
    "torch": {**ADAM, "recipe.epochs": 3},
    "rates too large": {**SMALL, "recipe.epochs": 3, "recipe.embedding_lr": 1e20},
    "rates too large, torch": {**ADAM, "recipe.epochs": 2, "recipe.lr": 1e6},
}


class Stop(Callback):
    """Interrupts a run when so many epochs are done."""

    def __init__(self, after: int) -> None:
        self.left = after

    def on_epoch(self, epoch: object) -> None:
        self.left -= 1
        if not self.left:
            raise InterruptedError


def run(data: Path, out: Path, settings: dict[str, object], **more: object) -> bytes:
    token2wave.train(data, out=out, device="cpu", settings=settings, **more)
    return out.read_bytes()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Rows to train on without folds, which have a case of their own."""
    return write_csv(tmp_path / "texts.csv", written_rows(300, seed=4))


@pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value")
@pytest.mark.parametrize("kind", KINDS)
def test_gone_on_from_after_any_epoch(
    kind: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "native, levels by folds":
        monkeypatch.setattr("token2wave.training.run.FEW_TO_BATCH", FEW_TO_BATCH)
        write_csv(data, written_rows(90, seed=4))
    expected = run(data, tmp_path / "whole.safetensors", KINDS[kind])
    checkpoint, out = tmp_path / "run.checkpoint", tmp_path / "parts.safetensors"
    for n_stops in itertools.count(1):
        try:
            # One more epoch each time; what was done before is not done again.
            found = run(data, out, KINDS[kind], checkpoint=checkpoint, resume=True, callbacks=[Stop(after=1)])
        except InterruptedError:
            assert not out.exists()
            assert n_stops < 60, "an epoch is done again and again"
            continue
        break
    assert n_stops > 1
    assert found == expected
    assert not checkpoint.exists()


def test_epochs_are_not_done_again(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, out = tmp_path / "run.checkpoint", tmp_path / "model.safetensors"
    with pytest.raises(InterruptedError):
        run(data, out, KINDS["torch"], checkpoint=checkpoint, callbacks=[Stop(after=2)])
    steps: list[int] = []
    true_trainer = loop._trainer

    def counted(*arguments: object) -> object:
        trainer = true_trainer(*arguments)  # type: ignore[arg-type]
        epoch = trainer.epoch
        trainer.epoch = lambda callback_list: (steps.append(1), epoch(callback_list))[1]  # type: ignore[method-assign]
        return trainer

    monkeypatch.setattr(loop, "_trainer", counted)
    result = token2wave.train(
        data, out=out, device="cpu", settings=KINDS["torch"], checkpoint=checkpoint, resume=True
    )
    first_fit = len(result.summary.history) - 2
    assert len(steps) == first_fit + (result.summary.best_epoch if result.summary.refit else 0)
    assert [epoch["epoch"] for epoch in result.summary.to_dict()["history"]] == [1, 2, 3]


@pytest.fixture
def interrupted(data: Path, tmp_path: Path) -> Path:
    checkpoint = tmp_path / "run.checkpoint"
    with pytest.raises(InterruptedError):
        run(data, tmp_path / "m", SMALL, checkpoint=checkpoint, callbacks=[Stop(after=1)])
    return checkpoint


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seed": 1}, "seed was 0, and is now 1"),
        ({"settings": {**SMALL, "network.dropout": 0.2}}, r'network was \{"dropout": 0.3\}, and is now'),
        ({"settings": {**SMALL, "recipe.epochs": 3}}, r'recipe was \{"epochs": 8, .*\}, and is now'),
        ({"class_weights": "balanced"}, "texts and labels was"),
    ],
)
def test_another_run_is_refused(changed, said, interrupted: Path, data: Path, tmp_path: Path) -> None:
    arguments = {"settings": SMALL, "device": "cpu", **changed}
    before = interrupted.read_bytes()
    with pytest.raises(CheckpointError, match=said):
        token2wave.train(data, checkpoint=interrupted, resume=True, **arguments)
    assert interrupted.read_bytes() == before


def test_another_text_is_refused(interrupted: Path, data: Path) -> None:
    rows = data.read_text().splitlines()
    rows[5] = rows[5].replace("the", "then", 1) if "the" in rows[5] else "x" + rows[5]
    data.write_text("\n".join(rows) + "\n")
    with pytest.raises(CheckpointError, match="texts and labels was"):
        token2wave.train(data, settings=SMALL, device="cpu", checkpoint=interrupted, resume=True)


def test_another_vocabulary_is_refused(data: Path, tmp_path: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "goal", "bank", "orbit", "match"]
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(words) + "\n")
    arguments = {"preset": "paper", "settings": {"network.width": 8}, "device": "cpu", "epochs": 2}
    arguments |= {"vocabulary": vocabulary, "checkpoint": tmp_path / "c"}
    with pytest.raises(InterruptedError):
        token2wave.train(data, callbacks=[Stop(after=1)], **arguments)
    vocabulary.write_text("\n".join([*words[:5], *reversed(words[5:])]) + "\n")
    with pytest.raises(CheckpointError, match="vocabulary was"):
        token2wave.train(data, resume=True, **arguments)


def test_another_trainer_is_refused(interrupted: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN2WAVE_NATIVE", "0")
    with pytest.raises(CheckpointError, match='trained by was "native core", and is now "cpu"'):
        token2wave.train(data, settings=SMALL, device="cpu", checkpoint=interrupted, resume=True)


def test_one_that_is_there_is_not_written_over(interrupted: Path, data: Path) -> None:
    with pytest.raises(CheckpointError, match="--resume"):
        token2wave.train(data, settings=SMALL, checkpoint=interrupted)


def test_without_one_training_begins(data: Path, tmp_path: Path) -> None:
    settings = {**SMALL, "recipe.epochs": 1}
    expected = run(data, tmp_path / "a", settings)
    assert run(data, tmp_path / "b", settings, checkpoint=tmp_path / "c", resume=True) == expected
    with pytest.raises(ConfigError, match="--checkpoint"):
        token2wave.train(data, resume=True)
    with pytest.raises(ConfigError, match="search"):
        token2wave.train(data, checkpoint=tmp_path / "c", candidates=2)
    with pytest.raises(OutputError, match="expected a file for each output"):
        run(data, tmp_path / "new", settings, checkpoint=tmp_path / ".." / tmp_path.name / "new")
    with pytest.raises(OutputError, match="or a checkpoint to replace"):
        run(data, tmp_path / "b", settings, checkpoint=tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == expected
    with pytest.raises(OutputError, match="does not exist"):
        token2wave.train(data, settings=settings, checkpoint=tmp_path / "no" / "c")


@pytest.mark.parametrize("restart", [-1, checkpoint_module.MAX_RESTARTS + 1, 10**400, True, None])
def test_a_wrong_number_of_restarts_is_refused(restart) -> None:
    plain = {
        "epochs": [],
        "best": None,
        "train_seconds": 0.0,
        "texts_per_second": 0.0,
        "values": {},
        "done": False,
    }
    assert checkpoint_module._from_plain({**plain, "restart": 12}, {}).restart == 12
    with pytest.raises(ValueError, match=r"restarts|numbers"):
        checkpoint_module._from_plain({**plain, "restart": restart}, {})


def test_damage_is_found(interrupted: Path, data: Path, tmp_path: Path) -> None:
    whole = bytearray(interrupted.read_bytes())
    arguments = {"settings": SMALL, "device": "cpu", "checkpoint": interrupted, "resume": True}
    for place in (3, 40, len(whole) // 2, len(whole) - 3):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        interrupted.write_bytes(damaged)
        with pytest.raises((CheckpointError, OutputError)):
            token2wave.train(data, **arguments)
    digit = whole.index(b'"state\\": {\\"state\\": ') + len(b'"state\\": {\\"state\\": ') + 5
    damaged = bytearray(whole)
    damaged[digit] = ord("1") if damaged[digit] != ord("1") else ord("2")  # of the random state
    interrupted.write_bytes(damaged)
    with pytest.raises(CheckpointError, match="checksum"):
        token2wave.train(data, **arguments)
    interrupted.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        token2wave.train(data, **arguments)
    interrupted.write_bytes(b"")
    with pytest.raises(CheckpointError, match="damaged"):
        token2wave.train(data, **arguments)
    interrupted.write_bytes(whole)
    arrays = load_file(interrupted)
    save_file(arrays, interrupted, metadata={"token2wave.checkpoint": json.dumps({"format_version": 9})})
    with pytest.raises(CheckpointError, match="format 2"):
        token2wave.train(data, **arguments)


def test_one_in_the_way_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(bytes(8) + b'{"__metadata__":{"token2wave.checkpoint":')
    with pytest.raises(CheckpointError, match="--resume"):
        token2wave.train("no-such-data", checkpoint=tmp_path / "c")
