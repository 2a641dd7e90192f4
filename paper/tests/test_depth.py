"""The study of depth: its shapes, a miniature, and verdicts from made-up answers."""

import numpy as np
import pytest
import torch
from small_studies import check_study

from paper.result_store import NotFinishedError, ResultStore
from paper.statistics import pack_answers
from paper.studies import depth
from paper.studies.depth import DEPTHS, OPERATIONS, STUDY, WIDTHS, make_shapes
from paper.studies.depth_comparisons import DROPOUT, Shape, differences
from paper.study import Options
from paper.verdicts import FAILS, HOLDS, OPEN, SAME


def test_every_depth_width_and_norm_is_there_once():
    shapes = make_shapes()
    usual = [s for s in shapes if s.dropout == DROPOUT]
    normed = {(s.operation, s.layers, s.width) for s in usual if s.layer_norm == "real"}
    assert normed == {(o, d, w) for o in OPERATIONS for d in DEPTHS for w in WIDTHS}
    others = [s for s in usual if s.layer_norm != "real"]
    assert {(s.operation, s.layer_norm) for s in others} == {
        (o, n) for o in OPERATIONS for n in ("none", "wave")
    }
    of_preset = {(s.operation, s.layers, s.width) for s in shapes if s.dropout != DROPOUT}
    assert of_preset == {(o, 1, w) for o in OPERATIONS for w in WIDTHS} | {(o, 4, 128) for o in OPERATIONS}
    assert len({s.key for s in shapes}) == len(shapes)
    assert all(s.system(3).network["layer_norm"] == s.layer_norm for s in shapes)


def test_the_miniature_is_complete_resumes_and_draws(splits, tmp_path, monkeypatch):
    monkeypatch.setattr(depth, "QUICK_EPOCHS", 1)
    monkeypatch.setattr(depth, "QUICK_WIDTH", 8)
    options = Options(splits, quick=True)
    with pytest.raises(NotFinishedError):
        STUDY.measure(ResultStore(tmp_path, device="cpu", finished_only=True), options)
    document = STUDY.measure(ResultStore(tmp_path, device="cpu"), options)
    assert [network["key"] for network in document["networks"]] == [s.key for s in make_shapes(quick=True)]
    for network in document["networks"]:
        assert [run["seed"] for run in network["runs"]] == [0, 1]
        several = network["layers"] > 1
        assert all(("right_of_last_layer" in run) == several for run in network["runs"])
    monkeypatch.setattr(depth, "train_and_answer", lambda *_, **__: pytest.fail("was done before"))
    assert STUDY.measure(ResultStore(tmp_path, device="cpu"), options) == document
    assert check_study(STUDY, document, ["depth"]) == document
    next(tmp_path.glob("**/modulation-2-*-1-*.json")).unlink()
    partial = STUDY.measure(ResultStore(tmp_path, device="cpu", finished_only=True), options)
    assert partial["unfinished"] == ["modulation-2-8-real-0.1"]
    assert "modulation-2-8-real-0.1" in STUDY.tables(partial)[0].caption


def document_of(accuracies, n_texts=2_000, n_seeds=5):
    """Networks of width 128 whose wrong answers are nested, so that only their number tells."""
    generator, networks = np.random.default_rng(0), []
    order = generator.permutation(n_texts)
    for (operation, layers), accuracy in accuracies.items():
        runs = []
        for seed in range(n_seeds):
            right = np.zeros(n_texts, dtype=bool)
            right[order[: round(accuracy * n_texts)]] = True
            run = {"seed": seed, "test_accuracy": right.mean(), "validation_accuracy": accuracy}
            runs.append({**run, "right": pack_answers(right)})
        shape = Shape(operation, layers, 128)
        networks.append({**vars(shape), "key": shape.key, "runs": runs})
    rows = {"train": 10, "validation": 5, "test": n_texts}
    settings = {"data": "tiny", "rows": rows, "epochs": 3, "seeds": list(range(n_seeds)), "unfinished": []}
    return {**settings, "networks": networks}


@pytest.mark.parametrize(
    ("deep", "better", "no_loss"),
    [
        (0.90, SAME, HOLDS),
        (0.95, HOLDS, HOLDS),
        (0.902, OPEN, HOLDS),
        (0.86, FAILS, FAILS),
        (0.89, FAILS, OPEN),
    ],
)
def test_verdicts_follow_from_the_answers(deep, better, no_loss):
    document = document_of({("modulation", 1): 0.9, ("modulation", 4): deep})
    (difference,) = differences(document).values()
    assert difference.mean == pytest.approx(100 * (deep - 0.9))
    claims = list(STUDY.claims(document))
    assert [claim[1] for claim in claims] == [better, no_loss]
    assert f"{difference.mean:+.2f} points" in claims[0][2]
    assert STUDY.tables(document)[0].rows[1][-3:] == [better, no_loss, "-"]


@pytest.mark.parametrize(("alone", "expected"), [(0.85, HOLDS), (0.9, SAME), (0.95, FAILS), (0.898, OPEN)])
def test_whether_lower_layers_are_used(alone, expected):
    document = document_of({("interference", 1): 0.9, ("interference", 4): 0.9})
    last = document_of({("interference", 4): alone})["networks"][0]
    for run, of_last in zip(document["networks"][1]["runs"], last["runs"], strict=True):
        run["right_of_last_layer"] = of_last["right"]
    claim = list(STUDY.claims(document))[-1]
    assert (claim.claim[:26], claim.verdict) == ("Networks of four layers us", expected)
    assert f"width 128 {100 * (0.9 - alone):+.2f} points" in claim.evidence
    assert STUDY.tables(document)[0].rows[1][-1] in claim.evidence


def test_the_last_layer_alone_is_that_of_lower_layers_that_add_nothing(splits):
    data = Options(splits, quick=True).load(64, 32)
    network = Shape("interference", 3, 8).system(1).build(data, 0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    texts = data.test.features
    whole, alone = network.logits(texts), depth.logits_of_last_layer(network, texts)
    assert np.array_equal(network.logits(texts), whole)
    assert np.abs(alone - whole).max() > 0.1
    with torch.no_grad():
        for layer in network.layers[:-1]:
            layer.norm.weight.zero_()
            layer.norm.bias.zero_()
    np.testing.assert_allclose(alone, network.logits(texts), atol=1e-5)


@pytest.mark.parametrize("validation", [0.80, 0.95])
def test_several_layers_are_compared_with_the_one_layer_that_is_better_in_validation(validation):
    document = document_of({("modulation", 1): 0.90, ("modulation", 4): 0.90})
    other = document_of({("modulation", 1): 0.70})["networks"][0]
    for run in other["runs"]:
        run["validation_accuracy"] = validation
    document["networks"].append({**other, "dropout": 0.5, "key": "modulation-1-128-real-0.5"})
    (difference,) = differences(document).values()
    assert difference.mean == pytest.approx(20.0 if validation > 0.9 else 0.0)


def test_without_one_layer_nothing_is_compared():
    document = document_of({("modulation", 4): 0.9})
    assert differences(document) == {}
    assert list(STUDY.claims(document)) == []
    assert STUDY.tables(document)[0].rows[0][-2] == "-"


def test_four_seeds_cannot_tell():
    document = document_of({("modulation", 1): 0.9, ("modulation", 4): 0.95}, n_seeds=4)
    assert {claim[1] for claim in STUDY.claims(document)} == {OPEN}
