"""The ablated networks against loops over texts from the definitions, and the study in miniature."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from paper.result_store import ResultStore
from paper.studies import ablation_variants as ablation_variants
from paper.studies import ablations as ablations
from paper.studies.ablation_network import ABLATIONS, ablate, freeze_embedding
from paper.studies.ablation_variants import OPERATIONS, QUICK, make_variants
from paper.studies.ablations import STUDY, confidence_interval, student_quantile
from paper.study import Options
from paper.study_figures import render_figure
from token2wave.data import TextDataset, TextSplit
from token2wave.errors import ConfigError
from token2wave.features import Ragged
from token2wave.models import WaveConfig, WaveNetwork, make_batch
from token2wave.training.examples import Examples
from token2wave.training.loop import fit
from token2wave.training.recipe import Recipe

N_ROWS, WIDTH = 9, 5
FEW = (
    "modulation",
    "interference",
    "real-means",
    "restore-real-interference",
    "layers-2",
    "width-64-modulation",
    "frozen",
)
TEXTS = [[0, 3, 5, 3], [0], [0, 7, 8], [4, 4]]  # one of a single token, one that repeats its only row


def ragged(texts: list[list[int]]) -> Ragged:
    lengths = np.array([len(text) for text in texts])
    ids = np.array([row for text in texts for row in text], dtype=np.int32)
    return Ragged(ids, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), lengths)


def make_network(operation: str = "modulation", **settings: object) -> WaveNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        config = {"dropout": 0.0, "embedding_scale": 1.0, "operation": operation, **settings}
        return WaveNetwork(WaveConfig(N_ROWS, 3, WIDTH, **config)).double().eval()


def states_by_loop(network: WaveNetwork, ablation: str) -> np.ndarray:
    """State of each text from the papers' definitions: polar waves, one text after the other."""
    weights = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    operation = {"modulation": np.multiply, "interference": np.add}[network.config.operation]
    result = []
    for text in TEXTS:
        both = (
            weights["embedding.weight"][text] @ weights["layers.0.variants.weight"].T
            + weights["layers.0.variants.bias"]
        )
        magnitudes, waves, units, means = [], [], [], []
        for w in (both[:, :WIDTH], both[:, WIDTH:]):
            magnitude = np.sqrt((w**2).sum(axis=0))
            share = np.clip(w[0] / magnitude, -1, 1)
            phase = np.arctan2(np.sqrt(1 - share**2), share)
            magnitudes.append(magnitude)
            waves.append(magnitude * np.exp(1j * phase))
            units.append(np.exp(1j * phase))
            means.append(w.mean(axis=0))
        pair = {
            "first-alone": (waves[0].real, waves[0].imag),
            "real-means": tuple(means),
            "magnitudes-alone": tuple(magnitudes),
        }
        if ablation in pair:
            restored = np.concatenate(pair[ablation])
        else:
            given = {"none": waves, "without-phase": magnitudes, "without-magnitude": units}[ablation]
            combined = operation(given[0] + 0j, given[1] + 0j)
            restored = np.concatenate([combined.real, combined.imag])
        result.append(
            weights["layers.0.restore.linear.weight"] @ restored + weights["layers.0.restore.linear.bias"]
        )
    return np.array(result)


def states(network: WaveNetwork) -> np.ndarray:
    batch = make_batch(ragged(TEXTS))
    with torch.no_grad():
        return network._state(network.embedding(batch.rows), batch).numpy()


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("ablation", ["none", *ABLATIONS])
def test_states_equal_the_definitions_computed_text_by_text(operation: str, ablation: str) -> None:
    network = make_network(operation)
    expected = states_by_loop(network, ablation)
    found = states(network if ablation == "none" else ablate(network, ablation))
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-8)  # arctan2 near 0 and pi keeps eight digits


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("ablation", ABLATIONS)
def test_gradients_equal_differences_even_for_a_text_of_one_token(operation: str, ablation: str) -> None:
    network = ablate(make_network(operation), ablation)
    batch = make_batch(ragged(TEXTS[:3]))
    assert 1 in batch.offsets.diff().tolist()
    (layer,) = network.layers

    def state_of(values: torch.Tensor) -> torch.Tensor:
        return layer.read_out(values, batch.index, batch)

    values = network.embedding(batch.rows).detach().requires_grad_()
    assert torch.autograd.gradcheck(state_of, (values,))


def test_a_dimension_without_energy_gives_zero_and_finite_gradients() -> None:
    for operation in OPERATIONS:
        for ablation in ABLATIONS:
            network = ablate(make_network(operation), ablation)
            with torch.no_grad():
                for name in ("weight", "bias"):
                    getattr(network.layers[0].variants, name)[::WIDTH] = 0  # dimension 0 of both variants
            batch = make_batch(ragged(TEXTS))
            both = network.layers[0].variants(network.embedding(batch.rows))
            overlay = ABLATIONS[ablation](both, batch.index, batch.offsets, network.layers[0].operation)
            assert torch.equal(overlay.real[:, 0], torch.zeros(len(TEXTS), dtype=torch.float64))
            assert torch.equal(overlay.imaginary[:, 0], torch.zeros(len(TEXTS), dtype=torch.float64))
            network(batch).square().sum().backward()
            for parameter in network.parameters():
                gradient = parameter.grad
                assert gradient is not None
                gradient = gradient.coalesce().values() if gradient.is_sparse else gradient
                assert bool(gradient.isfinite().all())


def logits_after(network: WaveNetwork, change: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a network whose linear variants have no bias, before and after embeddings are multiplied."""
    batch = make_batch(ragged(TEXTS))
    with torch.no_grad():
        network.layers[0].variants.bias.zero_()
        before = network(batch).numpy().copy()
        network.embedding.weight.mul_(change)
        return before, network(batch).numpy()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_without_phase_a_flip_of_all_signs_changes_nothing(operation: str) -> None:
    before, after = logits_after(ablate(make_network(operation), "without-phase"), -1.0)
    np.testing.assert_array_equal(before, after)
    before, after = logits_after(make_network(operation), -1.0)
    assert np.abs(before - after).max() > 1e-2


@pytest.mark.parametrize("operation", OPERATIONS)
def test_without_magnitude_the_scale_of_embeddings_changes_nothing(operation: str) -> None:
    before, after = logits_after(ablate(make_network(operation), "without-magnitude"), 3.0)
    np.testing.assert_allclose(before, after, rtol=1e-12)
    before, after = logits_after(make_network(operation), 3.0)
    assert np.abs(before - after).max() > 1e-2


def test_twins_have_the_parameters_and_initial_values_of_the_whole_network() -> None:
    whole = make_network()
    for ablation in ABLATIONS:
        twin = ablate(make_network(), ablation)
        assert twin.parameter_count() == whole.parameter_count() == whole.config.parameter_count()
        assert list(twin.state_dict()) == list(whole.state_dict())
        for name, tensor in twin.state_dict().items():
            assert torch.equal(tensor, whole.state_dict()[name])
        assert np.abs(states(twin) - states(whole)).max() > 1e-2


def test_the_real_twin_is_a_linear_map_of_the_average_embedding() -> None:
    twin = ablate(make_network(), "real-means")
    weights = {name: tensor.numpy() for name, tensor in twin.state_dict().items()}
    average = np.array([weights["embedding.weight"][text].mean(axis=0) for text in TEXTS])
    both = average @ weights["layers.0.variants.weight"].T + weights["layers.0.variants.bias"]
    expected = both @ weights["layers.0.restore.linear.weight"].T + weights["layers.0.restore.linear.bias"]
    np.testing.assert_allclose(states(twin), expected, atol=1e-12)


def test_only_networks_that_an_ablation_is_defined_for_are_taken() -> None:
    with pytest.raises(ConfigError, match="ablation"):
        ablate(make_network(), "without-everything")
    for settings in ({"layers": 2}, {"variants": "rows"}, {"readout": "mean"}, {"restore": "magnitude"}):
        with pytest.raises(ConfigError, match=next(iter(settings))):
            ablate(make_network(**settings), "real-means")


def examples() -> Examples:
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    texts = [[0, 1 + 2 * label, 2 + 2 * label, *random.integers(7, 9, 2)] for label in labels.tolist()]
    return Examples(ragged(texts), labels)


def test_a_frozen_embedding_keeps_its_values_while_all_else_learns() -> None:
    network = freeze_embedding(make_network()).float()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    recipe = Recipe(epochs=2, batch_size=16, precision="float32")
    fit(network, examples(), examples(), recipe, seed=0, has_cls=True)
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == set(before) - {"embedding.weight"}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("ablation", ABLATIONS)
def test_ablated_networks_learn(ablation: str, precision: str) -> None:
    network = ablate(make_network(), ablation).float()
    recipe = Recipe(epochs=15, batch_size=16, lr=1e-2, embedding_lr=3e-2, precision=precision)
    history = fit(network, examples(), examples(), recipe, seed=0, has_cls=True)
    assert history.best is not None
    assert history.best.validation_accuracy is not None
    assert history.best.validation_accuracy > 0.9
    if ablation == "first-alone":
        assert network.config.parameter_count() == network.parameter_count()


def test_students_interval_equals_one_computed_by_hand() -> None:
    # 88, 90, 92, 94: mean 91, deviation sqrt(20 / 3) = 2.5820, standard error 1.2910, t(3) = 3.182.
    found = confidence_interval([88.0, 90.0, 92.0, 94.0])
    assert found["mean"] == 91.0
    assert found["n"] == 4
    assert found["half_width"] == pytest.approx(3.182446 * 1.290994, rel=1e-6)
    assert confidence_interval([0.5]) == {"mean": 0.5, "half_width": None, "n": 1}


@pytest.mark.parametrize(
    ("freedom", "expected"),
    [
        (1, 12.706205),
        (2, 4.302653),
        (3, 3.182446),
        (4, 2.776445),
        (5, 2.570582),
        (9, 2.262157),
        (30, 2.042272),
    ],
)
def test_quantiles_are_those_of_the_printed_tables(freedom: int, expected: float) -> None:
    assert student_quantile(0.95, freedom) == pytest.approx(expected, abs=2e-6)
    assert student_quantile(0.95, 1_000) == pytest.approx(1.962339, abs=2e-6)


def test_variants_have_keys_of_their_own_and_a_reference_of_their_operation() -> None:
    every = make_variants(3)
    keys = [variant.key for variant in every]
    assert len(set(keys)) == len(keys)
    assert set(QUICK) <= set(keys)
    for variant in every:
        assert variant.system.recipe.epochs == 3
        assert variant.what.endswith(".")
        if variant.against is None:
            assert variant.key == "modulation"
        elif variant.key == "positions-sinusoidal-1":
            assert variant.against == "positions-none-1"
        elif variant.key != "interference":
            assert variant.against == variant.operation


def tiny_splits() -> TextDataset:
    words = {"sport": ["match", "goal", "team"], "money": ["bank", "shares", "profit"]}
    random = np.random.default_rng(0)

    def rows(n_rows: int, source: str) -> TextSplit:
        labels = [list(words)[i % 2] for i in range(n_rows)]
        texts = [" ".join([*random.choice(words[label], 3), "the", "a."]) for label in labels]
        return TextSplit(texts, labels, source)

    return TextDataset("tiny", rows(120, "train"), None, rows(40, "test"), tuple(words), ())


def test_a_quick_study_of_tiny_texts_is_complete_resumes_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOKEN2WAVE_DATA", raising=False)
    monkeypatch.setattr(ablations, "QUICK_EPOCHS", 1)
    monkeypatch.setattr(ablations, "QUICK", FEW)
    monkeypatch.setattr(ablations, "WIDTH", 16)
    monkeypatch.setattr(ablation_variants, "WIDTH", 16)
    options = Options(tiny_splits(), quick=True)
    document = STUDY.measure(ResultStore(tmp_path, device="cpu"), options)
    by_key = {variant["key"]: variant for variant in document["variants"]}
    assert set(by_key) == set(FEW) - {"restore-real-interference"}
    assert [entry["title"] for entry in document["refused"]] == ["real part, interference"]
    for variant in by_key.values():
        tested = [run["test_accuracy"] for run in variant["runs"]]
        assert [run["seed"] for run in variant["runs"]] == [0, 1]
        assert variant["test"]["mean"] == pytest.approx(sum(tested) / 2)
        if variant["against"] is None:
            assert variant["difference"] is None
        else:
            other = [run["test_accuracy"] for run in by_key[variant["against"]]["runs"]]
            differences = [mine - its for mine, its in zip(tested, other, strict=True)]
            assert variant["difference"]["mean"] == pytest.approx(sum(differences) / 2)
            half_width = 12.706205 * abs(differences[0] - differences[1]) / 2
            assert variant["difference"]["half_width"] == pytest.approx(half_width, abs=1e-6)
    twin, whole = by_key["real-means"], by_key["modulation"]
    assert twin["parameters_without_embedding"] == whole["parameters_without_embedding"]
    assert json.loads(json.dumps(document, allow_nan=False)) == document

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("was done already")

    monkeypatch.setattr(ablations, "fit", refuse)
    assert STUDY.measure(ResultStore(tmp_path, device="cpu"), options) == document
    for table in STUDY.tables(document):
        assert table.rows
        assert all(len(row) == len(table.head) for row in table.rows)
    for name, drawing in STUDY.drawings(document).items():
        assert len(render_figure(name, drawing.figure)[f"{name}.png"]) > 10_000
        assert "tiny" in drawing.caption


def test_tables_show_hundredths_and_what_a_difference_is_to() -> None:
    def variant(key: str, against: str | None, accuracies: tuple[float, ...]) -> dict[str, object]:
        found = confidence_interval(accuracies)
        return {
            "key": key,
            "question": "Operation",
            "title": key,
            "what": "W.",
            "operation": "modulation",
            "width": 256,
            "against": against,
            "parameters": 12_345,
            "parameters_without_embedding": 345,
            "runs": [],
            "test": found,
            "validation": found,
            "difference": None if against is None else confidence_interval([-0.01, -0.02, -0.03]),
        }

    document = {
        "data": "tiny",
        "rows": {"train": 3_000, "validation": 750, "test": 400},
        "caveats": [],
        "epochs": 3,
        "width": 256,
        "seeds": [0, 1, 2],
        "level": 0.95,
        "variants": [
            variant("modulation", None, (0.89, 0.90, 0.91)),
            variant("neither", "modulation", (0.87, 0.88, 0.89)),
        ],
        "refused": [],
    }
    accuracy, what = STUDY.tables(document)
    assert accuracy.rows[0][4:] == ["90.00 ± 2.48", "90.00 ± 2.48", "-"]
    assert accuracy.rows[1][2:] == [
        "12,345",
        "345",
        "88.00 ± 2.48",
        "88.00 ± 2.48",
        "-2.00 ± 2.48 (to modulation)",
    ]
    assert "3,000 training" in accuracy.caption
    assert what.rows[1] == ["Operation", "neither", "W."]
    assert math.isclose(confidence_interval([-0.01, -0.02, -0.03])["half_width"], 0.024841, abs_tol=1e-6)
