"""Other waves: each is what it says, and the unchanged ones are the package's."""

import cmath
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import wave_trials_networks as networks
from sweep import held_out
from wave_trials import VARIANTS, Case, Variant
from wave_trials_render import BASELINE, NATIVE, table

from token2wave.data import TextSplit
from token2wave.features import Ragged
from token2wave.models import WaveConfig, WaveNetwork
from token2wave.training.linear_svm import LinearSVM
from token2wave.training.loop import fit

SETTINGS = {
    "network.width": 8,
    "network.context_width": 8,
    "network.embedding_scale": 0.3,
    "recipe.epochs": 2,
    "recipe.batch_size": 16,
}
CHANGED = [name for name, variant in VARIANTS.items() if variant.change is not VARIANTS[BASELINE].change]
TRAINED = [name for name, variant in VARIANTS.items() if variant.trainer is not VARIANTS[BASELINE].trainer]


def few(part, n):
    return TextSplit(part.texts[:n], part.labels[:n], part.source)


@pytest.fixture(scope="module")
def splits():
    found = held_out("debian-sections", "random")
    names = sorted(set(found.train.labels[:120]))
    held = [i for i, label in enumerate(found.test.labels) if label in names][:30]
    test = TextSplit(
        [found.test.texts[i] for i in held], [found.test.labels[i] for i in held], found.test.source
    )
    return replace(found, train=few(found.train, 120), test=test, label_names=tuple(names))


@pytest.fixture(scope="module")
def case(splits):
    return Case(splits, 0, SETTINGS)


def small_network(change=None):
    config = WaveConfig(12, 3, width=4, variants="rows", operation="interference", readout="text")
    torch.manual_seed(0)
    network = WaveNetwork(config.replace(context_width=6, embedding_scale=0.5))
    if change is not None:
        change(network)
    return network.eval()


def texts():
    random = np.random.default_rng(3)
    lengths = np.array([5, 0, 1, 9, 12])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Ragged(random.integers(12, size=offsets[-1], dtype=np.int32), offsets, lengths)


def test_steps_of_the_context_level_are_the_packages():
    """Trials change steps; unchanged, they are what they stand for."""
    network = small_network()
    expected, kept = network.logits(texts()), network.state_dict()
    networks.context(networks.Phrases)(network)
    network.load_state_dict(kept)
    np.testing.assert_array_equal(network.eval().logits(texts()), expected)


@pytest.mark.parametrize("name", CHANGED)
def test_a_change_changes_what_is_said_of_each_text_by_itself(name):
    unchanged, network = small_network(), small_network(VARIANTS[name].change)
    found = network.logits(texts())
    assert np.isfinite(found).all()
    kept = {key: v for key, v in unchanged.state_dict().items() if key in network.state_dict()}
    network.load_state_dict(
        {key: v for key, v in kept.items() if v.shape == network.state_dict()[key].shape}, strict=False
    )
    with_same_parameters = network.logits(texts())
    assert not np.allclose(with_same_parameters[3:], unchanged.logits(texts())[3:], atol=1e-5)
    alone = np.concatenate([network.logits(texts().take(np.array([i]))) for i in range(5)])
    np.testing.assert_allclose(with_same_parameters, alone, atol=1e-5)


def test_superposed_neighbours_are_sums_of_complex_numbers():
    values, offsets = torch.randn(9, 4, generator=torch.Generator().manual_seed(1)), [0, 4, 4, 9]
    after = networks.places(torch.tensor(offsets), 9)
    assert after.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 4]
    found = networks.superposition(values, after, 2, left=True)
    for first, last in ((0, 4), (4, 9)):
        for j in range(first, last):
            for k in range(4):
                sums = sum(
                    values[j - d, k].item() * cmath.exp(1j * math.pi * k / 3 * d)
                    for d in (1, 2)
                    if j - d >= first
                )
                assert found[j, k].item() == pytest.approx(abs(sums), abs=1e-5)
    mirrored = networks.superposition(values.flip(0), torch.tensor([0, 1, 2, 3, 4, 0, 1, 2, 3]), 2, left=True)
    before = torch.tensor([3, 2, 1, 0, 4, 3, 2, 1, 0])
    torch.testing.assert_close(networks.superposition(values, before, 2, left=False), mirrored.flip(0))


def test_waves_turn_by_their_place():
    network = small_network(networks.context(networks.Turned))
    level, offsets = network.context, torch.tensor([0, 2, 5])
    first, second = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(2))
    plain = networks.Phrases.overlay(level, first, second, offsets).complex
    turned = level.overlay(first, second, offsets).complex
    rates = torch.tensor([0, 0, 0, 1, 0.1, 0.01])
    angles = torch.tensor([0, 1, 0, 1, 2])[:, None] * rates
    torch.testing.assert_close(turned, plain * torch.exp(1j * angles))


def test_largest_states_may_be_below_zero():
    values = torch.tensor([[-1.0, 3.0], [-2.0, 4.0], [5.0, -6.0]])
    found = networks.segment_largest(values, torch.tensor([0, 2, 2, 3]))
    assert found.tolist() == [[-1.0, 4.0], [0.0, 0.0], [5.0, -6.0]]


def test_the_baselines_waves_are_the_packages(case):
    torch.manual_seed(0)
    network = WaveNetwork(case.config)
    parts = case.examples["train"], case.examples["validation"]
    fit(network, *parts, case.recipe, seed=0, has_cls=False)
    np.testing.assert_array_equal(
        case.train(Variant(), 0).logits(case.examples["held"].features),
        network.logits(case.examples["held"].features),
    )
    found = case.evaluate_candidate(VARIANTS[BASELINE])
    assert set(found) == {"waves", "linear_svm", "all"}
    assert all(0 < row["accuracy"] <= 1 and row["loss"] > 0 for row in found.values())


@pytest.mark.parametrize("name", TRAINED)
def test_a_trainer_changes_the_weights(case, name):
    held = case.examples["held"].features
    found = case.train(VARIANTS[name], 0)
    assert not np.allclose(found.logits(held), case.train(Variant(), 0).logits(held), atol=1e-6)
    assert not found._forward_hooks


@pytest.mark.parametrize(
    ("trainer", "setting"), [(networks.Adversarial, "PERTURBATION"), (networks.TwoPasses, "CONSISTENCY")]
)
def test_a_trainer_that_asks_for_nothing_more_is_the_packages(splits, monkeypatch, trainer, setting):
    monkeypatch.setattr(networks, setting, 0.0)
    case = Case(splits, 0, {**SETTINGS, "network.dropout": 0.0})
    held = case.examples["held"].features
    found = case.train(Variant(trainer=trainer), 0).logits(held)
    np.testing.assert_allclose(found, case.train(Variant(), 0).logits(held), atol=1e-4)


def test_weights_are_those_of_the_last_epochs(case, monkeypatch):
    """With no validation rows the mean of the last two epochs is what is left."""
    monkeypatch.setattr(networks, "EPOCHS_AVERAGED", 2)
    ends = []

    class Noting(networks.TorchTrainer):
        def epoch(self, callback_list):
            found = super().epoch(callback_list)
            ends.append(self.network.head.weight.detach().clone())
            return found

    case.examples["validation"], kept = None, case.examples["validation"]
    try:
        case.train(Variant(trainer=Noting), 0)
        averaged = case.train(Variant(trainer=networks.LastEpochs), 0).head.weight.detach()
    finally:
        case.examples["validation"] = kept
    torch.testing.assert_close(averaged, (ends[0] + ends[1]) / 2)
    assert not torch.equal(ends[0], ends[1])


def test_unseen_words_take_their_n_grams_linear_svm(case):
    texts = case.texts["train"].texts
    problem, words = case.problem
    n_rows, n_classes = case.features.n_rows, case.config.n_classes
    plain = LinearSVM(case.examples["train"], case.features, n_classes, case.seed, char_ngrams=True).solve(
        1.0
    )
    found = problem.solve(1.0)
    np.testing.assert_array_equal(found.rows[:n_rows], plain.rows)
    row = int(np.argmax(problem.char_ngrams.counts[:n_rows]))
    grams = problem.char_ngrams.ids[problem.char_ngrams.offsets[row] : problem.char_ngrams.offsets[row + 1]]
    assert np.abs(found.rows[n_rows + grams]).max() > 0
    unknown = next(
        word + "zq"
        for text in texts
        for word in text.split()
        if word.isalpha() and words._unseen(word + "zq")[0] == 1
    )
    _, numbers = words._unseen(unknown)
    mixed = f"{texts[0]} {unknown}"  # the unseen word is one more feature
    ragged = case.features([mixed])
    assert ragged.lengths[0] == case.features(texts[:1]).lengths[0]
    sums = found.rows[ragged.ids].sum(axis=0) + found.rows[n_rows + numbers].sum(axis=0)
    expected = 2 * (sums / np.sqrt(len(ragged.ids) + 1) + found.bias)
    np.testing.assert_allclose(words.logits(found, ragged, [mixed])[0], expected, rtol=1e-4, atol=1e-5)
    known = texts[0]
    np.testing.assert_allclose(
        words.logits(found, case.features([known]), [known]),
        found.logits(case.features([known])),
        rtol=1e-5,
    )


def test_ensembles_average_and_wide_ones_are_wide(case):
    single, several = (case.evaluate_candidate(Variant(native=True, members=n)) for n in (1, 2))
    assert single["waves"] != several["waves"]
    assert case.train(Variant(native=True, times_as_wide=3), 0).config.context_width == 24


def test_table_pairs_sets_and_seeds():
    def row(*accuracies):
        return {"trec": {str(i): {"waves": {"accuracy": a, "loss": 1 - a}} for i, a in enumerate(accuracies)}}

    document = {
        "rows": {
            BASELINE: row(0.5, 0.6),
            "two phrase layers": row(0.52, 0.64),
            "another": row(0.51),
            NATIVE: row(0.5, 0.5),
            "ensemble of three": row(0.5, 0.7),
            "three times as wide": {},
        },
        "preset": "small",
        "measure": "rows",
    }
    lines = table(document, "waves").splitlines()
    assert lines[2] == f"| {BASELINE} | 55.00 |  |  |  |"
    assert lines[3] == "| two phrase layers | +3.00 | +3.00 ± 1.00 | -0.0300 ± 0.0100 | 2 |"
    assert lines[4] == "| another | +1.00 | +1.00 | -0.0100 | 1 |"
    assert lines[6].startswith("| ensemble of three | +10.00 | +10.00 ± 10.00 |")  # against the native core's
    assert "wide" not in lines[7]
