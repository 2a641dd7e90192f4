"""The ablated networks against loops over texts from the definitions, and the study in miniature."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_studies import check_study, ragged

from paper.result_store import ResultStore
from paper.statistics import pack_answers
from paper.studies import ablation_variants, ablations
from paper.studies.ablation_comparisons import leads_of
from paper.studies.ablation_network import ABLATIONS, ablate, freeze_embedding, remove_from_waves
from paper.studies.ablation_variants import OPERATIONS, QUICK, add_variant, make_variants
from paper.studies.ablations import STUDY, confidence_interval
from paper.study import Options
from token2wave.errors import ConfigError
from token2wave.models import (
    WaveConfig,
    WaveNetwork,
    make_batch,
    register_operation,
    registry,
    wave_config,
    wave_network,
)
from token2wave.training.examples import Examples
from token2wave.training.loop import fit
from token2wave.training.recipe import Recipe
from token2wave.waves import Wave

N_ROWS, WIDTH = 9, 5
FEW = ("modulation", "interference", "real-means", "restore-real-interference", "readout-mean")
FEW += ("width-64-modulation", "frozen")
TEXTS = [[0, 3, 5, 3], [0], [0, 7, 8], [4, 4]]  # one of a single token, one that repeats its only row


def make_network(operation: str = "modulation", **settings: object):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        config = {"dropout": 0.0, "embedding_scale": 1.0, "operation": operation, **settings}
        return WaveNetwork(WaveConfig(N_ROWS, 3, WIDTH, **config)).double().eval()


BESIDE = {"positions-sinusoidal-1": "positions-none-1", "readout-mean-norm": "readout-mean"}
EVERY = (*ABLATIONS, "without-phase", "without-magnitude")


def without(network: WaveNetwork, ablation: str):
    """Ablate a network by any name of `EVERY`."""
    if ablation in ABLATIONS:
        return ablate(network, ablation)
    return remove_from_waves(network, ablation.removeprefix("without-"))


def states_by_loop(network: WaveNetwork, ablation: str):
    """State of each text from the papers' definitions: polar waves, one text after the other."""
    weights = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    names = ("variants.weight", "variants.bias", "restore.linear.weight", "restore.linear.bias")
    variants, bias, restore, restore_bias = (weights[f"layers.0.{name}"] for name in names)
    operation = {"modulation": np.multiply, "interference": np.add}[network.config.operation]
    result = []
    for text in TEXTS:
        both = weights["embedding.weight"][text] @ variants.T + bias
        magnitudes, waves, units, means = [], [], [], []
        for w in (both[:, :WIDTH], both[:, WIDTH:]):
            magnitude = np.sqrt((w**2).sum(axis=0))
            cosine = np.clip(w[0] / magnitude, -1, 1)
            phase = np.arctan2(np.sqrt(1 - cosine**2), cosine)
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
            operands = {"none": waves, "without-phase": magnitudes, "without-magnitude": units}[ablation]
            combined = operation(operands[0] + 0j, operands[1] + 0j)
            restored = np.concatenate([combined.real, combined.imag])
        result.append(restore @ restored + restore_bias)
    return np.array(result)


def states(network: WaveNetwork):
    batch = make_batch(ragged(TEXTS), sentence_ends=network.config.sentence_ends)
    with torch.no_grad():
        return network._state(network.embedding(batch.rows), batch).numpy()


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("ablation", ["none", *EVERY])
def test_states_equal_the_definitions_computed_text_by_text(operation, ablation):
    network = make_network(operation)
    expected = states_by_loop(network, ablation)
    result = states(network if ablation == "none" else without(network, ablation))
    # arctan2 near 0 and pi keeps eight digits.
    np.testing.assert_allclose(result, expected, rtol=0, atol=2e-8)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("what", ["phase", "magnitude"])
@pytest.mark.parametrize("settings", [{"readout": "mean"}, {"variants": "levels", "sentence_ends": (5,)}])
def test_the_waves_of_all_tokens_and_of_levels_lose_a_part_too(operation, what, settings):
    network = remove_from_waves(make_network(operation, **settings), what)
    weights = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    restore, bias = (weights[f"layers.0.restore.linear.{name}"] for name in ("weight", "bias"))

    def remaining(w, rows):
        """Waves of tokens with the magnitude of some rows of the text."""
        magnitude = np.sqrt((w[rows] ** 2).sum(axis=0)) + 0 * w[:1]
        phase = np.arccos(np.clip(w / magnitude, -1, 1))
        return magnitude + 0j if what == "phase" else np.exp(1j * phase)

    expected = []
    for text in TEXTS:
        embedded = weights["embedding.weight"][text]
        if "readout" in settings:
            both = embedded @ weights["layers.0.variants.weight"].T + weights["layers.0.variants.bias"]
            pair = [remaining(w, slice(None)) for w in (both[:, :WIDTH], both[:, WIDTH:])]
        else:
            end = 1 + text.index(5) if 5 in text else len(text)
            pair = [remaining(embedded, slice(end))[:1], remaining(embedded, slice(None))[:1]]
        overlay = pair[0] * pair[1] if operation == "modulation" else pair[0] + pair[1]
        restored = np.concatenate([overlay.real, overlay.imag], axis=1) @ restore.T + bias
        expected.append(restored.mean(axis=0))
    np.testing.assert_allclose(states(network), expected, rtol=0, atol=2e-8)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("ablation", EVERY)
def test_gradients_equal_differences_even_for_a_text_of_one_token(operation, ablation):
    network = without(make_network(operation), ablation)
    batch = make_batch(ragged(TEXTS[:3]))
    assert 1 in batch.offsets.diff().tolist()
    (layer,) = network.layers

    def state_of(values: torch.Tensor):
        return layer.read_out(values, batch.index, batch)

    values = network.embedding(batch.rows).detach().requires_grad_()
    assert torch.autograd.gradcheck(state_of, (values,))


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("ablation", EVERY)
def test_a_dimension_without_energy_gives_zero_and_finite_gradients(operation, ablation):
    network, batch = without(make_network(operation), ablation), make_batch(ragged(TEXTS))
    variants, restored = network.layers[0].variants, []
    network.layers[0].restore.register_forward_pre_hook(lambda _, inputs: restored.append(inputs[0]))
    with torch.no_grad():
        variants.weight[::WIDTH] = variants.bias[::WIDTH] = 0  # dimension 0 of both variants
    network(batch).square().sum().backward()
    (overlay,) = restored
    assert not overlay.real[:, 0].any()
    assert not overlay.imaginary[:, 0].any()
    for parameter in network.parameters():
        gradient = parameter.grad.coalesce().values() if parameter.grad.is_sparse else parameter.grad
        assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(("ablation", "factor"), [("without-phase", -1.0), ("without-magnitude", 3.0)])
def test_what_is_removed_changes_nothing(operation, ablation, factor):
    """Without phase a flip of all signs, without magnitude the scale of the embeddings."""
    batch = make_batch(ragged(TEXTS))
    changes = []
    for network in (make_network(operation), without(make_network(operation), ablation)):
        with torch.no_grad():
            network.layers[0].variants.bias.zero_()
            logits = network(batch).numpy().copy()
            network.embedding.weight.mul_(factor)
            changes.append(np.abs(network(batch).numpy() - logits).max())
    assert changes[1] < 1e-11 < 1e-2 < changes[0]


def test_twins_have_the_parameters_and_initial_values_of_the_whole_network():
    whole = make_network()
    for ablation in EVERY:
        twin = without(make_network(), ablation)
        assert twin.parameter_count() == whole.parameter_count() == whole.config.parameter_count()
        assert list(twin.state_dict()) == list(whole.state_dict())
        for name, tensor in twin.state_dict().items():
            assert torch.equal(tensor, whole.state_dict()[name])
        assert np.abs(states(twin) - states(whole)).max() > 1e-2


def test_only_networks_that_an_ablation_is_defined_for_are_taken():
    with pytest.raises(ConfigError, match="ablation"):
        ablate(make_network(), "without-everything")
    with pytest.raises(ConfigError, match="ablation: expected one of phase, magnitude"):
        remove_from_waves(make_network(), "everything")
    for settings in ({"layers": 2}, {"variants": "rows"}, {"readout": "mean"}, {"restore": "magnitude"}):
        with pytest.raises(ConfigError, match=next(iter(settings))):
            ablate(make_network(**settings), "real-means")


def examples():
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    texts = [[0, 1 + 2 * label, 2 + 2 * label, *random.integers(7, 9, 2)] for label in labels.tolist()]
    return Examples(ragged(texts), labels)


def test_a_frozen_embedding_keeps_its_values_while_all_else_learns():
    network = freeze_embedding(make_network()).float()
    initial = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    recipe = Recipe(epochs=2, batch_size=16, precision="float32")
    fit(network, examples(), examples(), recipe, seed=0, has_cls=True)
    changed = {
        name for name, tensor in network.state_dict().items() if not torch.equal(tensor, initial[name])
    }
    assert changed == set(initial) - {"embedding.weight"}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("ablation", EVERY)
def test_ablated_networks_learn(ablation, precision):
    network = without(make_network(), ablation).float()
    recipe = Recipe(epochs=15, batch_size=16, lr=1e-2, embedding_lr=3e-2, precision=precision)
    history = fit(network, examples(), examples(), recipe, seed=0, has_cls=True)
    assert history.best.validation_accuracy > 0.9


def test_students_interval_equals_one_computed_by_hand():
    # 88, 90, 92, 94: mean 91, deviation sqrt(20 / 3) = 2.5820, standard error 1.2910, t(3) = 3.182.
    half_width = pytest.approx(3.182446 * 1.290994, rel=1e-6)
    assert confidence_interval([88.0, 90.0, 92.0, 94.0]) == {"mean": 91.0, "half_width": half_width, "n": 4}
    assert confidence_interval([0.5]) == {"mean": 0.5, "half_width": None, "n": 1}


def test_variants_have_keys_of_their_own_and_a_reference_of_their_operation():
    every = make_variants(3)
    keys = [variant.key for variant in every]
    assert len(set(keys)) == len(keys)
    assert set(QUICK) <= set(keys)
    for variant in every:
        assert variant.system.recipe.epochs == 3
        assert variant.what.endswith(".")
        if variant.against is None:
            assert variant.key == "modulation"
        elif variant.key in BESIDE:
            assert variant.against == BESIDE[variant.key]
        elif variant.key != "interference":
            assert variant.against == variant.operation


def test_the_study_in_miniature_is_complete_resumes_and_draws(small, splits, tmp_path, monkeypatch):
    monkeypatch.setattr(ablations, "QUICK_EPOCHS", 1)
    monkeypatch.setattr(ablations, "QUICK", FEW)
    monkeypatch.setattr(ablations, "WIDTH", 16)
    monkeypatch.setattr(ablation_variants, "WIDTH", 16)
    options = Options(splits, quick=True)
    document = STUDY.measure(ResultStore(tmp_path, device="cpu"), options)
    by_key = {variant["key"]: variant for variant in document["variants"]}
    assert set(by_key) == set(FEW) - {"restore-real-interference"}
    assert [entry["title"] for entry in document["refused"]] == ["real part, interference"]
    for variant in by_key.values():
        tested = [run["test_accuracy"] for run in variant["runs"]]
        assert [run["seed"] for run in variant["runs"]] == [0, 1]
        assert variant["test"]["mean"] == pytest.approx(sum(tested) / 2)
    leads = leads_of(document, {key: key for key in by_key})
    assert set(leads) == set(by_key) - {"modulation"}
    for key, lead in leads.items():
        whole, own = (by_key[each]["runs"] for each in (by_key[key]["against"], key))
        differences = [a["test_accuracy"] - b["test_accuracy"] for a, b in zip(whole, own, strict=True)]
        assert lead.mean == pytest.approx(100 * sum(differences) / 2)
        assert lead.low <= lead.mean <= lead.high
    twin, whole = by_key["real-means"], by_key["modulation"]
    assert twin["parameters_without_embedding"] == whole["parameters_without_embedding"]
    monkeypatch.setattr(ablations, "train_and_answer", lambda *_, **__: pytest.fail("was done before"))
    assert STUDY.measure(ResultStore(tmp_path, device="cpu"), options) == document
    assert check_study(STUDY, document, ["ablations", "ablations-width"]) == document


@pytest.fixture
def own_variant(monkeypatch):
    """A registered operation as a variant of the study, for one test."""
    monkeypatch.setattr(ablation_variants, "ADDED", added := [])
    monkeypatch.setattr(ablations, "ADDED", added)
    monkeypatch.setattr(registry, "OPERATIONS", dict(registry.OPERATIONS))
    for module in (wave_config, wave_network):
        monkeypatch.setattr(module, "OPERATIONS", registry.OPERATIONS)
    register_operation("difference", lambda first, second: Wave(*map(torch.sub, first, second)))
    add_variant("Operation", "difference", "difference", "Waves are subtracted.", operation="difference")


def test_a_variant_of_an_own_operation_is_in_tables_and_figures(
    small, splits, tmp_path, monkeypatch, own_variant
):
    monkeypatch.setattr(ablation_variants, "WIDTH", 16)
    options = Options(splits, quick=True, seeds=(0,), variants=("difference",))
    document = STUDY.measure(ResultStore(tmp_path, device="cpu"), options)
    assert [variant["key"] for variant in document["variants"]] == ["modulation", "difference"]
    assert STUDY.tables(document)[0].rows[1][-1].endswith("points (one seed) (to modulation)")
    monkeypatch.setattr(ablations, "QUICK", ("modulation",))
    miniature = replace(options, variants=())  # has those of QUICK and one's own
    assert STUDY.measure(ResultStore(tmp_path, device="cpu"), miniature) == document
    accuracy, what = STUDY.tables(document)
    assert accuracy.rows[1][:2] == ["Operation", "difference"]
    assert what.rows[1] == ["Operation", "difference", "Waves are subtracted."]
    assert "triangles another one" in STUDY.drawings(document)["ablations"].caption
    check_study(STUDY, document, ["ablations", "ablations-width"])
    reference = {**document, "variants": document["variants"][:1]}
    assert "triangles" not in STUDY.drawings(reference)["ablations"].caption


def test_an_own_variant_takes_part_in_a_quick_study_and_has_references(own_variant):
    quick = {variant.key for variant in make_variants(1, (*QUICK, "difference"))}
    assert quick == {*QUICK, "difference"}
    keys = [variant.key for variant in make_variants(1, ("positions-sinusoidal-1",))]
    assert keys == ["modulation", "positions-sinusoidal-1", "positions-none-1"]
    assert make_variants(1)[-1].key == "difference"
    with pytest.raises(ConfigError, match="variant: expected a new key, found 'difference', which is taken"):
        add_variant("Operation", "difference", "again", "Again.")
    with pytest.raises(ConfigError, match=r"against: expected one of modulation, .*, found 'addition'"):
        add_variant("Operation", "other", "other", "Other.", against="addition")
    with pytest.raises(ConfigError, match=r"variant: expected one of modulation, .*, found 'other'; add"):
        make_variants(1, ("other",))


def test_tables_show_hundredths_and_what_a_difference_is_to():
    interval = confidence_interval((0.87, 0.88, 0.89))
    shape = {"question": "Operation", "what": "W.", "parameters": 12_345, "parameters_without_embedding": 345}
    tested = {**shape, "test": interval, "validation": interval}
    right = np.ones(400, dtype=bool)
    whole, less = (pack_answers(each) for each in (right, right & (np.arange(400) >= 8)))
    document = {
        "data": "tiny",
        "rows": {"train": 3_000, "validation": 750, "test": 400},
        "epochs": 3,
        "width": 256,
        "seeds": [0, 1, 2],
        "level": 0.95,
        "refused": [],
        "variants": [
            {**tested, "key": key, "title": title, "against": against, "runs": [{"right": answers}] * 3}
            for key, title, against, answers in (
                ("modulation", "modulation", None, whole),
                ("neither", "neither", "modulation", less),
            )
        ],
    }
    accuracy, what = STUDY.tables(document)
    assert accuracy.rows[0][4:] == ["88.00 ± 2.48", "88.00 ± 2.48", "-"]
    assert accuracy.rows[1][2:4] == ["12,345", "345"]
    assert accuracy.rows[1][-1].startswith("-2.00 points (-3.")
    assert accuracy.rows[1][-1].endswith(") (to modulation)")
    assert "3,000 training" in accuracy.caption
    assert what.rows[1] == ["Operation", "neither", "W."]
