"""Compiled networks: torch, the reference in numpy and the native core say the same."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import shapes_that_compile

from token2wave.core import load_core
from token2wave.errors import ConfigError
from token2wave.features import Ragged
from token2wave.features.ragged import offsets_of
from token2wave.inference import compiled as tables
from token2wave.inference import reference
from token2wave.inference.compiled import CompiledNetwork, compile_network, reason_not_to_compile
from token2wave.models import WaveConfig, WaveNetwork

SHAPES = shapes_that_compile(context_width=8)


def texts_of(lengths: list[int], n_rows: int, seed: int = 0) -> Ragged:
    random = np.random.default_rng(seed)
    sizes = np.array(lengths, dtype=np.int64)
    ids = random.integers(0, n_rows, sizes.sum()).astype(np.int32)
    return Ragged(ids, offsets_of(sizes), random.integers(0, sizes + 1))


def network_of(seed: int = 0, **shape: Any) -> WaveNetwork:
    torch.manual_seed(seed)
    config = WaveConfig(
        **{"n_rows": 50, "n_classes": 5, "width": 8, "embedding_scale": 1.0, "dropout": 0.0, **shape}
    )
    network = WaveNetwork(config).eval()
    if network.linear_svm is not None:  # whose share is one for each class before training
        network.load("linear_svm.weight", torch.linspace(0.4, 1.3, config.n_classes).numpy())
        network.load("linear_svm.bias", torch.linspace(-0.5, 0.8, config.n_classes).numpy())
    return network


def compiled(network: WaveNetwork) -> CompiledNetwork:
    return compile_network(network.config, network.arrays())


def numpy_logits(found: CompiledNetwork, features: Ragged) -> np.ndarray:
    return reference.logits_of_features(found.config, found.arrays(), features)


TEXTS = texts_of([0, 1, 2, 7, 40, 300, 1, 0], 50)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape.values())))
def test_torch_numpy_and_native_agree(shape: dict[str, Any]) -> None:
    network = network_of(context_radius=2, **shape)
    expected = network.logits(TEXTS)
    found = compiled(network)
    np.testing.assert_allclose(numpy_logits(found, TEXTS), expected, rtol=2e-5, atol=1e-5)
    if load_core() is not None:
        assert found.runs_natively
        np.testing.assert_allclose(found.logits(TEXTS), expected, rtol=2e-5, atol=1e-5)


@settings(deadline=None, max_examples=60, print_blob=True)
@given(
    shape=st.sampled_from(SHAPES),
    width=st.sampled_from([8, 16, 24, 40]),
    context_width=st.sampled_from([8, 24]),
    radius=st.sampled_from([1, 3, 150]),
    lengths=st.lists(st.integers(0, 400), max_size=40),
    seed=st.integers(0, 99),
)
def test_native_equals_numpy(
    shape: dict[str, Any], width: int, context_width: int, radius: int, lengths: list[int], seed: int
) -> None:
    if shape["context_width"]:
        shape = shape | {"context_width": context_width, "context_radius": radius}
    found = compiled(network_of(seed, **{**shape, "width": width}))
    features = texts_of(lengths, 50, seed)
    np.testing.assert_allclose(found.logits(features), numpy_logits(found, features), rtol=2e-5, atol=1e-5)


def test_a_text_does_not_depend_on_its_batch() -> None:
    found = compiled(network_of(context_width=8, variants="rows", readout="text"))
    together = found.logits(TEXTS)
    for number in range(len(TEXTS)):
        alone = found.logits(TEXTS.take(np.array([number])))[0]
        if found.runs_natively:
            np.testing.assert_array_equal(alone, together[number])
        else:  # numpy sums what it multiplies in another order in a larger product
            np.testing.assert_allclose(alone, together[number], rtol=0, atol=1e-6)


def test_the_number_of_threads_makes_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of(context_width=8, variants="linear", readout="cls")
    features = texts_of([9] * 500, 50)
    logits = []
    for threads in (1, 3):
        monkeypatch.setattr(tables, "n_threads", lambda threads=threads: threads)
        logits.append(compiled(network).logits(features))
    np.testing.assert_array_equal(*logits)


def test_threads_that_meet_the_same_rows_expand_them_once_and_right() -> None:
    network = network_of(n_rows=3_000, context_width=16, variants="linear", readout="text", width=32)
    parts = [texts_of([70] * 40, 3_000, seed) for seed in range(8)]
    expected = [compiled(network).logits(part) for part in parts]
    for _ in range(10):
        fresh = compiled(network)
        with ThreadPoolExecutor(8) as pool:
            for found, wanted in zip(pool.map(fresh.logits, parts), expected, strict=True):
                np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ({"layers": 2}, "2 layers"),
        ({"positions": "sinusoidal"}, "positions"),
        ({"readout": "mean"}, "every token's wave"),
        ({"variants": "levels"}, "first sentence"),
    ],
    ids=str,
)
def test_what_does_not_compile_says_why(shape: dict[str, Any], reason: str) -> None:
    network = network_of(**shape)
    assert reason in str(reason_not_to_compile(network.config))
    with pytest.raises(ConfigError, match=reason):
        compiled(network)


def test_narrow_networks_run_in_numpy() -> None:
    network = network_of(width=5, context_width=3)
    found = compiled(network)
    assert not found.runs_natively
    np.testing.assert_allclose(found.logits(TEXTS), network.logits(TEXTS), rtol=2e-5, atol=1e-5)


def test_tables_are_copied_and_pickled_without_the_core() -> None:
    found = compiled(network_of(variants="rows", readout="text"))
    expected = found.logits(TEXTS)
    for twin in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        np.testing.assert_array_equal(twin.logits(TEXTS), expected)


def test_a_first_token_that_outweighs_all_others_leaves_them_their_digits() -> None:
    """[CLS] is not part of its own magnitude, which is summed without it, not by a difference."""
    network = network_of(variants="rows", readout="cls")
    with torch.no_grad():
        network.embedding.weight[0] *= 1e6
    features = Ragged(np.array([0, 3, 4], np.int32), np.array([0, 3]), np.array([3]))
    found = compiled(network)
    for logits in (found.logits(features), numpy_logits(found, features)):
        np.testing.assert_allclose(logits, network.logits(features), rtol=1e-5)


def test_wider_integers_will_do() -> None:
    found = compiled(network_of(variants="rows", readout="text"))
    wide = Ragged(TEXTS.ids.astype(np.int64), TEXTS.offsets, TEXTS.n_ordered)  # type: ignore[arg-type]
    np.testing.assert_array_equal(found.logits(wide), found.logits(TEXTS))


def test_arrays_are_not_to_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        compiled(network_of()).arrays()["norm.weight"][0] = 2


@pytest.mark.skipif(load_core() is None, reason="the native core is not built")
@pytest.mark.parametrize(
    "texts",
    [
        (np.array([0, 50], np.int32), np.array([0, 2]), np.array([2])),
        (np.array([0, -1], np.int32), np.array([0, 2]), np.array([2])),
        (np.array([0, 1], np.int32), np.array([0, 3]), np.array([2])),
        (np.array([0, 1], np.int32), np.array([0, 2]), np.array([3])),
        (np.array([0, 1], np.int32), np.array([2, 0, 2]), np.array([0, 0])),
        (np.array([0, 1], np.int32), np.array([0, 2]), np.array([1, 1])),
    ],
    ids=str,
)
def test_rows_that_do_not_fit_are_refused(texts: tuple[np.ndarray, ...]) -> None:
    found = compiled(network_of(variants="rows", readout="text"))
    with pytest.raises(ValueError, match=r"wrong size|do not fit"):
        found.logits(Ragged(*texts))
