"""The study of phase and magnitude: its networks, a miniature, and why the phase at [CLS] tells nothing."""

import numpy as np
import pytest
import torch
from small_studies import check_study, ragged

from paper.result_store import NotFinishedError, ResultStore
from paper.statistics import pack_answers
from paper.studies import phase
from paper.studies.ablation_network import remove_from_waves
from paper.studies.pair_interference import agreement, level_agreement, pair_agreement
from paper.studies.phase import STUDY, WIDTH, make_cases
from paper.studies.phase_comparisons import OPERATIONS, READOUTS, REDUNDANT, WIDE, Case, compare_networks
from paper.study import Options
from paper.verdicts import HOLDS
from token2wave.models import WaveConfig, WaveNetwork, make_batch
from token2wave.waves import Wave

SETS = ("a", "b", "c", "d")


def test_every_readout_is_there_whole_and_without_each_part():
    cases = make_cases(SETS)
    assert len(set(cases)) == len(cases)
    narrow = {case for case in cases if case.width == WIDTH}
    removed = (None, "phase", "magnitude")
    assert narrow == {
        Case(d, r, o, WIDTH, w) for d in SETS for r in READOUTS for o in OPERATIONS for w in removed
    }
    wide = {(case.data, case.readout, case.removed) for case in cases if case.width == WIDE}
    assert wide == {("a", "cls", None), ("a", "cls", "phase"), ("c", "mean", None), ("c", "mean", "phase")}
    assert all(case.whole in cases for case in cases)
    assert not [case for case in make_cases(("a",)) if case.data != "a"]


@pytest.mark.parametrize("readout", READOUTS)
def test_the_phase_is_a_function_of_the_magnitude_where_the_study_says_so(readout):
    """Of texts whose magnitudes are equal, and no others, the phases are equal: w is the same in all."""
    settings = {**READOUTS[readout], "dropout": 0.0, "layer_norm": "real"}
    if readout == "levels":
        settings["sentence_ends"] = (5,)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = WaveNetwork(WaveConfig(12, 3, 6, **settings)).double().eval()
    for layer in network.layers[:-1]:  # it begins as the identity
        layer.norm.weight.data.fill_(1.0)
    waves = []
    last = network.layers[-1]
    operation = last.operation
    last.operation = lambda *pair: waves.append(pair) or operation(*pair)
    batch = make_batch(ragged([[0, 3, 5, 7], [0, 8, 4], [0, 9, 9, 5, 2]]), network.config.sentence_ends)
    with torch.no_grad():
        network(batch)
    for wave in waves[0]:
        real_parts = (wave.magnitude * wave.phase.cos()).numpy()  # w
        assert (np.ptp(real_parts, axis=0).max() < 1e-12) == (readout in REDUNDANT)
        assert np.ptp(wave.magnitude.numpy(), axis=0).min() > 1e-3  # the texts differ


def test_the_miniature_is_complete_resumes_and_draws(small, splits, tmp_path, monkeypatch):
    options = Options(splits, quick=True)
    with pytest.raises(NotFinishedError):
        STUDY.measure(ResultStore(tmp_path, device="cpu", finished_only=True), options)
    removed = []

    def remove(network, what):
        removed.append(what)
        return remove_from_waves(network, what)

    monkeypatch.setattr(phase, "remove_from_waves", remove)
    document = STUDY.measure(ResultStore(tmp_path, device="cpu"), options)
    assert removed == 2 * ["phase", "phase", "magnitude", "magnitude"]
    assert [network["key"] for network in document["networks"]] == [
        case.key for case in make_cases(["topics"], quick=True)
    ]
    monkeypatch.setattr(phase, "train_and_answer", lambda *_, **__: pytest.fail("was done before"))
    assert STUDY.measure(ResultStore(tmp_path, device="cpu"), options) == document
    assert check_study(STUDY, document, ["phase", "phase-example"]) == document
    next(tmp_path.glob("**/mean-modulation-16-without-phase-1-*.json")).unlink()
    partial = STUDY.measure(ResultStore(tmp_path, device="cpu", finished_only=True), options)
    assert partial["unfinished"] == ["topics/mean-modulation-16-without-phase"]
    assert partial["unfinished"][0] in STUDY.tables(partial)[0].caption


def test_leads_are_those_of_whole_networks_on_each_set_and_over_all():
    def network(data, removed, accuracy, n_texts):
        right = np.arange(n_texts) < round(accuracy * n_texts)
        runs = [{"test_accuracy": accuracy, "right": pack_answers(right)}] * 5
        case = {"data": data, "readout": "mean", "operation": "modulation", "width": 128, "removed": removed}
        return {**case, "runs": runs}

    networks = [network("a", None, 0.9, 1_000), network("a", "phase", 0.8, 1_000)]
    networks += [network("b", None, 0.7, 100), network("b", "phase", 0.5, 100)]
    document = {"networks": networks, "rows": {"a": {"test": 1_000}, "b": {"test": 100}}, "unfinished": []}
    (comparison,) = compare_networks(document)
    assert {name: lead.mean for name, lead in comparison.of_sets.items()} == {
        "a": pytest.approx(10.0),
        "b": pytest.approx(20.0),
    }
    assert comparison.over_sets.mean == pytest.approx(15.0)
    whole = {**document, "seeds": list(range(5))}
    assert [claim.verdict for claim in STUDY.claims(whole)] == [HOLDS]
    missing = {**whole, "rows": {**document["rows"], "c": {"test": 10}}}
    assert list(STUDY.claims(missing)) == []


def test_agreement_is_the_papers_cosine_weighted_by_magnitudes():
    """Against polar numbers, pair by pair."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        network = WaveNetwork(WaveConfig(12, 3, 6, readout="mean", dropout=0.0)).double().eval()
    ids = np.array([0, 3, 5, 3])
    weights = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    both = weights["embedding.weight"][ids] @ weights["layers.0.variants.weight"].T
    both += weights["layers.0.variants.bias"]
    waves = []
    for w in (both[:, :6], both[:, 6:]):
        magnitude = np.sqrt((w**2).sum(axis=0))
        waves.append((magnitude, np.arccos(np.clip(w / magnitude, -1, 1))))
    (first, alpha), (second, beta) = waves
    expected = [
        [(first * second * np.cos(a - b)).sum() / (first * second).sum() for b in beta] for a in alpha
    ]
    with torch.no_grad():
        np.testing.assert_allclose(pair_agreement(network, ids), expected, rtol=0, atol=1e-7)


def test_levels_agree_where_a_sentence_is_the_text():
    with torch.random.fork_rng():
        torch.manual_seed(4)
        network = WaveNetwork(WaveConfig(12, 3, 6, variants="levels", sentence_ends=(5,))).double().eval()
    ids = np.array([0, 3, 5, 4])
    with torch.no_grad():
        whole = level_agreement(network, ids, torch.tensor([0, 4]))
        halves = level_agreement(network, ids, torch.tensor([0, 3, 4]))
    np.testing.assert_allclose(whole, 1.0)
    assert (halves < 1 - 1e-3).all()
    nothing = Wave(torch.zeros(1, 3), torch.zeros(1, 3))
    assert agreement(nothing, nothing).item() == 0
