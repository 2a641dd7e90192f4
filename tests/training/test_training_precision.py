"""Fixed point as a precision of training: what is chosen where, and that something is learnt."""

import numpy as np
import pytest
import torch
from training_data import CPU, toy, toy_network

from token2wave.errors import ConfigError
from token2wave.models import products
from token2wave.models.wave_config import WaveConfig
from token2wave.training import torch_trainer
from token2wave.training.loop import fit
from token2wave.training.native_trainer import trains_natively
from token2wave.training.recipe import Recipe

RECIPE = Recipe(epochs=3, batch_size=12, lr=5e-3, embedding_lr=5e-3)
SHAPE = {"variants": "linear", "readout": "cls", "restore": "linear", "width": 64, "dropout": 0.0}
needs_fixed_point = pytest.mark.skipif(
    not products.fixed_point_available(), reason="no native core or no AVX2"
)


def have(monkeypatch, *, bfloat16, fixed16):
    monkeypatch.setattr(torch_trainer, "has_bfloat16", lambda device: bfloat16)
    monkeypatch.setattr(torch_trainer, "fixed_point_available", lambda: fixed16)


def fitted(precision, epochs=3, **shape):
    network = toy_network(**{**SHAPE, **shape})
    recipe = RECIPE.replace(precision=precision, epochs=epochs)
    history = fit(network, toy(60), toy(30, seed=1), recipe, seed=0, has_cls=True)
    return network, history


@pytest.mark.parametrize(
    ("bfloat16", "fixed16", "device", "expected"),
    [
        (True, True, "cpu", "bfloat16"),
        (True, False, "cpu", "bfloat16"),
        (False, True, "cpu", "fixed16"),
        (False, False, "cpu", "float32"),
        (True, True, "cuda", "bfloat16"),
        (False, True, "cuda", "float32"),
    ],
)
def test_the_automatic_choice(monkeypatch, bfloat16, fixed16, device, expected):
    have(monkeypatch, bfloat16=bfloat16, fixed16=fixed16)
    assert torch_trainer.precision_on(torch.device(device), "auto") == expected


@pytest.mark.parametrize("wanted", ["float32", "bfloat16"])
def test_a_precision_that_is_named_is_taken(monkeypatch, wanted):
    have(monkeypatch, bfloat16=wanted != "bfloat16", fixed16=True)
    assert torch_trainer.precision_on(CPU, wanted) == wanted


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_fixed_point_that_is_not_to_be_had_is_refused(monkeypatch, device):
    have(monkeypatch, bfloat16=True, fixed16=device == "cuda")
    with pytest.raises(ConfigError, match=r"native core; choose precision=auto$") as caught:
        torch_trainer.precision_on(torch.device(device), "fixed16")
    assert caught.value.location == "precision"


def test_training_without_a_core_refuses_it_before_the_first_step(monkeypatch):
    monkeypatch.setenv("TOKEN2WAVE_NATIVE", "0")
    with pytest.raises(ConfigError, match="AVX2"):
        fitted("fixed16")
    monkeypatch.setattr(torch_trainer, "has_bfloat16", lambda device: False)
    automatic, named = fitted("auto", epochs=1)[0], fitted("float32", epochs=1)[0]
    assert torch.equal(automatic.head.weight, named.head.weight)


def test_who_names_fixed_point_trains_in_torch():
    config = WaveConfig(50, 3, width=8, variants="rows", operation="interference", readout="text")
    recipe = Recipe(embedding_optimizer="sgd", precision="fixed16")
    assert not trains_natively(config, recipe, has_cls=False)


@needs_fixed_point
@pytest.mark.parametrize("context_width", [0, 64])
def test_training_in_fixed_point_stays_near_float32(monkeypatch, context_width):
    monkeypatch.setattr(products, "MULTIPLICATIONS_WORTH_IT", 0)
    used = []
    real = products._product
    monkeypatch.setattr(products, "_product", lambda *a, **b: used.append(1) or real(*a, **b))
    exact, exact_history = fitted("float32", context_width=context_width)
    assert not used
    rough, rough_history = fitted("fixed16", context_width=context_width)
    # Three products a step for each map, in training alone.
    assert len(used) == (2 if context_width else 1) * 3 * RECIPE.epochs * 60 // RECIPE.batch_size
    assert not torch.equal(exact.layers[0].variants.weight, rough.layers[0].variants.weight)
    assert all(parameter.dtype == torch.float32 for parameter in rough.parameters())
    for one, other in zip(exact_history.epochs, rough_history.epochs, strict=True):
        assert other.train_loss == pytest.approx(one.train_loss, abs=5e-3)
        assert other.validation_loss == pytest.approx(one.validation_loss, abs=5e-3)
    assert rough_history.epochs[-1].train_loss < 0.5 * rough_history.epochs[0].train_loss


@needs_fixed_point
def test_the_same_seed_gives_the_same_bits_in_fixed_point(monkeypatch):
    monkeypatch.setattr(products, "MULTIPLICATIONS_WORTH_IT", 0)
    one, two = (fitted("fixed16", epochs=2)[0].arrays() for _ in range(2))
    assert all((one[name] == two[name]).all() for name in one)


@needs_fixed_point
def test_a_loss_that_is_not_finite_stops_the_run_in_fixed_point(monkeypatch):
    monkeypatch.setattr(products, "MULTIPLICATIONS_WORTH_IT", 0)
    network = toy_network(**SHAPE)
    recipe = RECIPE.replace(precision="fixed16", lr=1e30, embedding_lr=1e30)
    with pytest.raises(ConfigError, match="finite number"):
        fit(network, toy(60), toy(30), recipe, seed=0, has_cls=True)
    network = toy_network(**SHAPE)
    with torch.no_grad():
        network.layers[0].variants.weight[3, 3] = np.nan
    with pytest.raises(ConfigError, match="finite number"):
        fit(network, toy(60), toy(30), RECIPE.replace(precision="fixed16"), seed=0, has_cls=True)
