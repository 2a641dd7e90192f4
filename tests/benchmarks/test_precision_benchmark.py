"""The benchmark of precisions trains in the one that it names, and prints a document."""

import json

import paper_step
import precision
import pytest
import torch


@pytest.fixture
def setting(monkeypatch):
    monkeypatch.delenv("TOKEN2WAVE_DATA", raising=False)
    return paper_step.make_setting("debian-sections", 40, 8, None, 0)


def test_each_precision_trains_as_named(setting):
    weights = {}
    for name in precision.PRECISIONS:
        network = setting.initial()
        assert precision.seconds_of_an_epoch(setting, network, name) > 0
        weights[name] = network.head.weight
    assert not torch.equal(weights["float32"], weights["bfloat16"])


def test_the_encoder_learns_from_the_first_texts(setting):
    pytest.importorskip("transformers")
    own, make_network = precision.encoder_setting(setting, "debian-sections", 4)
    assert len(own.examples) == len(own.examples.features) == 4
    assert make_network().config.n_classes == own.examples.labels.max() + 1
    assert own.examples.features.ids.max() < make_network().config.n_rows


def test_the_document(monkeypatch, capsys):
    monkeypatch.delenv("TOKEN2WAVE_DATA", raising=False)
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    small = ["--data", "debian-sections", "--rows", "40", "--width", "8", "--encoder-rows", "0"]
    precision.main([*small, "--runs", "2"])
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(document["ratios"]) == ["preset paper"]
    assert document["auto"] in precision.PRECISIONS
