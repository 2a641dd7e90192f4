"""The training loop: seeds, best epoch, patience, precision, and that something is learnt."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from training_data import CPU, ragged, toy, toy_network

from token2wave.errors import ConfigError
from token2wave.features import Ragged
from token2wave.models import WaveConfig, WaveNetwork
from token2wave.training import loop
from token2wave.training import torch_trainer as module
from token2wave.training.loop import Callback, Epoch, Examples, History, fit
from token2wave.training.presets import PRESETS
from token2wave.training.recipe import Recipe
from token2wave.training.trainer import DivergenceError
from token2wave.training.validation import validate

RECIPE = Recipe(
    epochs=3,
    batch_size=8,
    lr=5e-3,
    embedding_optimizer="sgd",
    embedding_lr=2.0,
    token_dropout=0.1,
    precision="float32",
)


def fitted(
    seed: int = 0, recipe: Recipe = RECIPE, has_cls: bool = True, callbacks=(), **shape: object
) -> tuple[WaveNetwork, History]:
    network = toy_network(**shape)
    history = fit(
        network,
        toy(60),
        toy(30, seed=1),
        recipe,
        seed=seed,
        has_cls=has_cls,
        callbacks=callbacks,
    )
    return network, history


def weights_of(network: WaveNetwork) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("embedding_optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("embedding_weighting", ["none", "idf"])
def test_the_seed_decides_every_bit(embedding_optimizer, embedding_weighting):
    rate = 2.0 if embedding_optimizer == "sgd" else 1e-2
    recipe = RECIPE.replace(
        embedding_optimizer=embedding_optimizer,
        embedding_weighting=embedding_weighting,
        embedding_lr=rate,
        epochs=2,
    )
    torch.manual_seed(5)
    one, one_history = fitted(7, recipe, context_width=4)
    torch.manual_seed(6)  # must not matter
    two, two_history = fitted(7, recipe, context_width=4)
    other, other_history = fitted(8, recipe, context_width=4)
    assert one_history.epochs == two_history.epochs
    assert one_history.best == two_history.best
    assert all(torch.equal(a, weights_of(two)[name]) for name, a in weights_of(one).items())
    assert one_history.epochs != other_history.epochs
    assert not torch.equal(one.embedding.weight, other.embedding.weight)


def test_the_global_state_of_random_numbers_is_left_alone():
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    before, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    fitted()
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpys)  # noqa: NPY002


@pytest.mark.parametrize("validation_seed", range(4))
def test_the_weights_of_the_best_epoch_are_kept(validation_seed):
    recipe = RECIPE.replace(epochs=5, lr=0.05, embedding_lr=30.0, decay="constant")
    network, snapshots = toy_network(), []

    class Watcher(Callback):
        def on_epoch(self, epoch: Epoch) -> None:
            snapshots.append(weights_of(network))

    labels = np.random.default_rng(validation_seed).integers(0, 3, 20)  # noise: no epoch is clearly best
    validation = Examples(toy(20).features, labels)
    history = fit(network, toy(60), validation, recipe, seed=0, has_cls=True, callbacks=[Watcher()])
    best = max(history.epochs, key=lambda e: (e.validation_accuracy, -e.validation_loss))
    assert history.best == best
    expected = best.validation_loss, best.validation_accuracy, best.validation_macro_f1
    assert validate(network, validation)[:3] == expected
    kept = weights_of(network)
    assert all(torch.equal(kept[name], snapshots[best.epoch - 1][name]) for name in kept)
    assert [epoch.epoch for epoch in history.epochs] == [1, 2, 3, 4, 5]
    assert not network.training


def scripted(monkeypatch, results: list[tuple[float, float]]) -> None:
    """Let validation give these losses and accuracies, one an epoch."""
    left = iter(results)
    monkeypatch.setattr(loop, "validate", lambda *_: next(left))


@pytest.mark.parametrize(
    ("patience", "n_epochs", "best"), [(1, 3, 2), (2, 6, 4), (3, 7, 4), (0, 8, 8), (9, 8, 8)]
)
def test_patience(monkeypatch, patience, n_epochs, best):
    accuracies = [0.5, 0.7, 0.6, 0.8, 0.8, 0.7, 0.8, 0.9]
    scripted(monkeypatch, [(1.0, accuracy) for accuracy in accuracies])
    _, history = fitted(recipe=RECIPE.replace(epochs=8, patience=patience))
    assert (len(history.epochs), history.best.epoch) == (n_epochs, best)


def test_of_equally_accurate_epochs_that_of_least_loss_is_best(monkeypatch):
    scripted(monkeypatch, [(1.0, 0.5), (0.8, 0.5), (0.9, 0.5), (0.1, 0.4)])
    assert fitted(recipe=RECIPE.replace(epochs=4))[1].best.epoch == 2


def test_without_validation_the_last_epoch_is_kept():
    kept = []

    class Watcher(Callback):
        def on_epoch(self, epoch: Epoch) -> None:
            kept.append(weights_of(network))

    network = toy_network()
    history = fit(network, toy(60), None, RECIPE, seed=0, has_cls=True, callbacks=[Watcher()])
    assert history.best == history.epochs[-1]
    assert history.best.epoch == 3
    assert history.best.validation_accuracy is None
    assert not network.training
    assert all(torch.equal(kept[-1][name], now) for name, now in weights_of(network).items())


def test_validation_figures_are_of_all_rows():
    network, examples = toy_network(), toy(31)
    loss, accuracy, *_ = validate(network, examples)
    with torch.no_grad():
        batch = module.training_batches(
            examples,
            31,
            random=np.random.default_rng(0),
            token_dropout=0.0,
            sentence_ends=(),
            has_cls=False,
        )
        ((texts, labels, *_),) = list(batch)
        logits = network.eval()(texts)
    assert loss == pytest.approx(float(torch.nn.functional.cross_entropy(logits, labels)), rel=1e-5)
    assert accuracy == pytest.approx(float((logits.argmax(1) == labels).float().mean()))


def test_training_figures_are_means_over_the_pass():
    """Without anything that moves, they are those of the network itself, uneven last batch included."""
    recipe = RECIPE.replace(
        epochs=1,
        lr=1e-30,
        embedding_lr=1e-30,
        token_dropout=0.0,
        batch_size=16,
        weight_decay=0.0,
    )
    network, examples = toy_network(dropout=0.0), toy(50)
    expected = validate(network, examples)[:2]
    history = fit(network, examples, examples, recipe, seed=0, has_cls=True)
    epoch = history.epochs[0]
    assert (epoch.train_loss, epoch.train_accuracy) == pytest.approx(expected, rel=1e-5)
    smoothed = fit(
        toy_network(dropout=0.0),
        examples,
        examples,
        recipe.replace(label_smoothing=0.3),
        seed=0,
        has_cls=True,
    )
    assert smoothed.epochs[0].train_loss != pytest.approx(epoch.train_loss, rel=1e-4)
    assert smoothed.epochs[0].validation_loss == pytest.approx(epoch.validation_loss, rel=1e-5)
    assert history.texts_per_second > 0
    assert history.train_seconds > 0


def test_weighted_rows_begin_small():
    recipe = RECIPE.replace(epochs=1, embedding_weighting="idf", lr=1e-30, embedding_lr=1e-30)
    network = toy_network()
    before = network.embedding.weight.detach().clone()
    fit(network, toy(60), toy(30), recipe, seed=0, has_cls=True)
    weights = module.row_weights(module.document_frequency(toy(60).features, 13), 60)
    assert weights[0] == pytest.approx(0.01)
    torch.testing.assert_close(network.embedding.weight.detach(), before * torch.from_numpy(weights)[:, None])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_loss_that_is_not_finite_stops_the_run(precision):
    recipe = RECIPE.replace(lr=1e30, embedding_lr=1e30, precision=precision)
    with pytest.raises(ConfigError, match=r"finite number.*smaller learning rate") as stop:
        fitted(recipe=recipe)
    assert stop.value.location == "lr"


def same_weights(one: WaveNetwork, other: WaveNetwork) -> bool:
    mine, others = weights_of(one), weights_of(other)
    return all(torch.equal(mine[name], others[name]) for name in mine)


@pytest.mark.parametrize("embedding_optimizer", ["sgd", "adam"])
def test_rates_that_are_too_large_give_what_smaller_ones_give(embedding_optimizer):
    told = []

    class Listener(Callback):
        def on_stage(self, name: str, total: int) -> None:
            told.append((name, total))

    large = RECIPE.replace(
        lr=1e9, embedding_lr=1e9, embedding_optimizer=embedding_optimizer, embedding_weighting="idf"
    )
    network, history = fitted(recipe=large, callbacks=[Listener()], context_width=4)
    assert 0 < history.lr_factor < 1
    again, unhindered = fitted(recipe=large.with_lr_factor(history.lr_factor), context_width=4)
    assert unhindered.lr_factor == 1
    assert same_weights(network, again)
    assert history.epochs == unhindered.epochs
    assert history.best == unhindered.best
    restarts = round(-np.log10(history.lr_factor))
    assert [total for _, total in told] == [24] * (restarts + 1)
    assert told[0][0] == "training"
    assert told[1][0] == "training, rates times 1e-01"


def test_an_epoch_that_went_well_is_not_taken_for_the_start(monkeypatch):
    """The loss may stop being finite late."""
    real, calls = module.TorchTrainer.epoch, []

    def epoch(self, callback_list):
        calls.append(self.recipe.lr)
        if len(calls) == 3:
            raise DivergenceError("late")
        return real(self, callback_list)

    monkeypatch.setattr(module.TorchTrainer, "epoch", epoch)
    network, history = fitted()
    assert calls == [5e-3] * 3 + [5e-4] * 3
    monkeypatch.setattr(module.TorchTrainer, "epoch", real)
    again, _ = fitted(recipe=RECIPE.with_lr_factor(0.1))
    assert same_weights(network, again)
    assert [epoch.epoch for epoch in history.epochs] == [1, 2, 3]


@pytest.mark.parametrize("value", [np.inf, np.nan, 1e30])
def test_weights_that_no_validation_text_needs_must_be_finite_too(value, monkeypatch):
    real = module.TorchTrainer.epoch

    def epoch(self, callback_list):
        found = real(self, callback_list)
        if self.recipe.lr > 1e-3:
            with torch.no_grad():
                self.network.embedding.weight[12] = value
        return found

    monkeypatch.setattr(module.TorchTrainer, "epoch", epoch)
    train, network = toy(60), toy_network()
    ids = np.where(train.features.ids == 12, 11, train.features.ids)
    train = Examples(dataclasses.replace(train.features, ids=ids), train.labels)
    history = fit(network, train, train, RECIPE, seed=0, has_cls=True)
    assert history.lr_factor == 0.1
    assert torch.isfinite(network.embedding.weight).all()


@pytest.mark.parametrize("text", [0, -1])
def test_texts_that_no_one_writes_are_tried_too(text, monkeypatch):
    """A network may overflow on them alone."""
    real, trial = WaveNetwork.logits, []

    def logits(self, features):
        found = real(self, features)
        if np.array_equal(features.ids, loop.random_texts(13).ids):
            trial.append(len(features))
            if len(trial) == 1:
                found[text] = np.nan
        return found

    monkeypatch.setattr(WaveNetwork, "logits", logits)
    assert fitted(recipe=RECIPE.replace(epochs=1))[1].lr_factor == 0.1
    assert len(trial) == 2


def test_texts_that_no_one_writes():
    texts = loop.random_texts(13)
    assert texts.ids.min() == 0
    assert texts.ids.max() == 12
    assert {1, 256} <= set(texts.lengths.tolist())
    alike = [len(set(texts.ids[a:b].tolist())) == 1 for a, b in itertools.pairwise(texts.offsets)]
    assert all(alike[len(texts) // 2 :])
    assert not all(alike[: len(texts) // 2])


def one_step(**changes: object) -> WaveNetwork:
    return fitted(recipe=RECIPE.replace(epochs=1, batch_size=60, decay="constant", **changes))[0]


def test_weights_that_are_not_finite_after_the_last_step_stop_the_run():
    with pytest.raises(ConfigError, match="finite"):
        one_step(embedding_lr=3e38, weight_decay=0.9, lr=3e38)


def test_rates_beyond_float32_are_refused():
    with pytest.raises(ConfigError):
        one_step(embedding_lr=1e39)


def test_an_empty_batch_can_be_learnt_from():
    """Token dropout may leave nothing at all."""
    examples = Examples(ragged([[], [1], []]), np.array([0, 1, 2]))
    for readout in ("text", "mean", "cls"):
        network = toy_network(readout=readout, context_width=4, restore="linear")
        history = fit(network, examples, examples, RECIPE.replace(batch_size=1), seed=0, has_cls=False)
        assert np.isfinite(history.epochs[-1].train_loss)


# Learning


@pytest.mark.parametrize(
    "shape", [{}, {"context_width": 4}, {"readout": "cls"}, {"readout": "mean", "layers": 2}]
)
def test_a_separable_problem_is_learnt(shape):
    recipe = RECIPE.replace(epochs=12, embedding_optimizer="adam", embedding_lr=0.03, lr=0.01)
    _, history = fitted(recipe=recipe, **shape)
    losses = [epoch.train_loss for epoch in history.epochs]
    assert losses[-1] < losses[0] / 2
    assert history.best.validation_accuracy >= 0.95


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_learns(name):
    preset = PRESETS[name]
    shape = {**preset.network, "width": 16} | (
        {"context_width": 8} if "context_width" in preset.network else {}
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = WaveNetwork(WaveConfig.from_dict({"n_rows": 13, "n_classes": 3, **shape}))
    rates = {"lr": 0.02, "embedding_lr": 0.02} if name == "paper" else {"lr": 0.01}
    recipe = preset.recipe.replace(epochs=12, batch_size=8, token_dropout=0.1, precision="float32", **rates)
    history = fit(network, toy(90), toy(30, seed=1), recipe, seed=0, has_cls=name == "paper")
    assert history.epochs[-1].train_loss < history.epochs[0].train_loss
    assert history.best.validation_accuracy >= 0.9


# Precision


def test_bfloat16_stays_near_float32():
    wide = {"dropout": 0.0, "width": 16, "context_width": 8}
    results = {}
    for precision in ("float32", "bfloat16"):
        recipe = RECIPE.replace(precision=precision, token_dropout=0.0, epochs=2, embedding_lr=0.5)
        results[precision] = fitted(recipe=recipe, **wide)
    (exact, exact_history), (rough, rough_history) = results["float32"], results["bfloat16"]
    assert all(parameter.dtype == torch.float32 for parameter in rough.parameters())
    assert not torch.equal(exact.head.weight, rough.head.weight)
    for one, other in zip(exact_history.epochs, rough_history.epochs, strict=True):
        assert other.train_loss == pytest.approx(one.train_loss, abs=0.05)
        assert other.validation_loss == pytest.approx(one.validation_loss, abs=0.05)


@pytest.mark.parametrize("known", [True, False])
def test_automatic_precision_asks_the_processor(monkeypatch, known):
    monkeypatch.setattr(module, "has_bfloat16", lambda device: known)
    recipe = RECIPE.replace(epochs=1)
    automatic = fitted(recipe=recipe.replace(precision="auto"))[0]
    named = fitted(recipe=recipe.replace(precision="bfloat16" if known else "float32"))[0]
    assert torch.equal(automatic.embedding.weight, named.embedding.weight)


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({}, False),
        ({"amx_bf16": True, "avx512_bf16": True}, True),
        ({"bf16": True}, True),
        ({"amx_bf16": False, "avx512_bf16": True}, False),  # vectors alone are slower than float32
    ],
)
def test_bfloat16_on_processors(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert module.has_bfloat16(CPU) is expected


# Being told


class Recorder(Callback):
    def __init__(self) -> None:
        self.told: list[tuple] = []

    def on_stage(self, name: str, total: int) -> None:
        self.told.append(("stage", name, total))

    def on_advance(self, amount: int) -> None:
        self.told.append(("advance", amount))

    def on_loss(self, loss: float, texts_per_second: float) -> None:
        self.told.append(("loss", loss, texts_per_second))

    def on_epoch(self, epoch: Epoch) -> None:
        self.told.append(("epoch", epoch))


@pytest.mark.parametrize("between", [1, 3, 20])
def test_callbacks_are_told(monkeypatch, between):
    monkeypatch.setattr(module, "STEPS_BETWEEN_REPORTS", between)
    recorder, other = Recorder(), Recorder()
    _, history = fitted(callbacks=[recorder, other, Callback()])
    assert recorder.told == other.told
    assert recorder.told[0] == ("stage", "training", 24)
    advances = [entry[1] for entry in recorder.told if entry[0] == "advance"]
    assert sum(advances) == 24
    assert all(1 <= amount <= between for amount in advances)
    assert [entry[1] for entry in recorder.told if entry[0] == "epoch"] == history.epochs
    losses = [entry for entry in recorder.told if entry[0] == "loss"]
    assert len(losses) == len(advances)
    assert all(speed > 0 for _, _, speed in losses)
    if between == 20:  # one report an epoch: its loss is that of the epoch
        assert [loss for _, loss, _ in losses] == pytest.approx([e.train_loss for e in history.epochs])
    assert all(dataclasses.is_dataclass(epoch) for epoch in history.epochs)


def test_reports_between_say_the_loss_since_the_last(monkeypatch):
    monkeypatch.setattr(module, "STEPS_BETWEEN_REPORTS", 3)
    recorder = Recorder()
    _, history = fitted(recipe=RECIPE.replace(epochs=1), callbacks=[recorder])
    losses = [entry[1] for entry in recorder.told if entry[0] == "loss"]
    texts = [24, 24, 12]  # 8 steps of 8 texts, the last of 4
    mean = sum(loss * n for loss, n in zip(losses, texts, strict=True)) / 60
    assert mean == pytest.approx(history.epochs[0].train_loss, rel=1e-5)


def test_examples_can_be_taken():
    some = toy(9).take(np.array([4, 0]))
    assert isinstance(some.features, Ragged)
    assert len(some) == len(some.features) == 2
    assert some.labels.tolist() == toy(9).labels[[4, 0]].tolist()
    assert some.features.ids.tolist() == toy(9).features.take(np.array([4, 0])).ids.tolist()
