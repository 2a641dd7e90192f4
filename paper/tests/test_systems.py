import sys
from dataclasses import replace

import numpy as np
import pytest
import small_studies
import torch

from paper import systems
from paper.literal import train_literally
from paper.reference import ReferenceWaveNetwork
from paper.result_store import ResultStore
from paper.studies.ablation_network import REMOVABLE, ablate, remove_from_waves
from paper.study import load_study_data
from paper.systems import (
    available,
    build_network,
    encoder_system,
    literal_system,
    train_system,
    transformer_system,
    wave_system,
)
from token2wave.data import TextDataset, TextSplit
from token2wave.errors import DataError, MissingExtraError
from token2wave.features import WordPieceConfig
from token2wave.models import PretrainedEncoder, make_batch
from token2wave.models.encoder_sources import MINILM
from token2wave.training.recipe import Recipe


def test_an_encoder_reads_out_as_it_is_told(splits, monkeypatch):
    monkeypatch.delenv("TOKEN2WAVE_DATA", raising=False)
    data = load_study_data(splits)
    encoders = {readout: encoder_system(MINILM, readout=readout) for readout in ("cls", "mean")}
    assert encoders["cls"].settings() != encoders["mean"].settings()
    assert encoders["mean"].build(data, 0).readout == "mean"
    assert encoders["mean"].encode(data).features.config.max_tokens == 128


def test_everything_that_decides_a_result_is_in_the_settings():
    reference = wave_system("modulation").settings()
    assert reference != wave_system("interference").settings()
    assert reference != wave_system("modulation", unregularised=True).settings()
    assert reference != wave_system("modulation", width=64).settings()
    assert transformer_system(None).settings() != transformer_system(MINILM).settings()
    assert wave_system("modulation", unregularised=True).recipe.decay == "constant"


def test_the_processor_does_not_decide_the_precision_of_waves_and_transformers():
    for unregularised in (False, True):
        options = {"unregularised": unregularised}
        compared = wave_system("interference", **options), transformer_system(None, **options)
        assert {system.recipe.precision for system in compared} == {"float32"}


def test_without_transformers_pre_trained_systems_are_left_out_with_the_cure(splits, monkeypatch):
    monkeypatch.delenv("TOKEN2WAVE_DATA", raising=False)
    monkeypatch.setitem(sys.modules, "transformers", None)
    for call in (
        lambda: PretrainedEncoder().features(WordPieceConfig()),
        lambda: PretrainedEncoder().token_embeddings(),
        lambda: PretrainedEncoder().network(2, 0),
    ):
        with pytest.raises(MissingExtraError, match="token2wave\\[encoders\\]"):
            call()
    built, left_out = available([wave_system("modulation"), transformer_system(MINILM)])
    assert [system.key for system in built] == ["wave-modulation"]
    assert "token2wave[encoders]" in left_out[0]
    assert load_study_data(splits).features.config.vocabulary == "trained"


def test_a_fifth_is_held_out_and_other_texts_are_other_data(small, splits):
    data = load_study_data(splits)
    assert (len(data.train), len(data.validation), len(data.test)) == (192, 48, 96)
    changed = TextSplit([*splits.train.texts[:-1], "another text"], splits.train.labels, "changed")
    other = load_study_data(TextDataset("topics", changed, None, splits.test, None, ()))
    assert data.settings["sha256"] != other.settings["sha256"]
    assert data.settings == load_study_data(splits).settings
    few = load_study_data(splits, train_rows=40, test_rows=30)
    assert (len(few.train), len(few.validation), len(few.test)) == (40, 10, 30)
    caveat = few.texts.caveats[-1]
    assert caveat.startswith("A random sample of 40 of the 192 training rows and 30 of the 96")
    with pytest.raises(DataError, match="a study needs a test set"):
        load_study_data(TextDataset("topics", splits.train, None, None, None, ()))


def test_the_same_seed_gives_the_same_network(small, splits):
    data = load_study_data(splits)
    logits = []
    for seed in (3, 3, 4):
        trained = train_system(ResultStore(), wave_system("modulation"), data, seed)
        assert [entry["epoch"] for entry in trained.history] == [1, 2, 3, 4]
        logits.append(trained.network.logits(data.test.features))
    assert np.array_equal(logits[0], logits[1])
    assert not np.array_equal(logits[0], logits[2])


def test_literal_training_is_adam_on_all_weights_of_the_last_epoch(small, splits):
    """Against the printed network and a loop of torch alone: the padded twin, dense gradients."""
    data = load_study_data(splits, train_rows=40, test_rows=30)
    system = literal_system("interference")
    assert system.network["width"] == 768
    system = replace(system, network={**system.network, "width": 8}, recipe=Recipe(epochs=2, batch_size=16))
    network = system.build(data, 5)
    assert network.embedding.weight.std().item() == pytest.approx(1.0, rel=0.1)
    sizes = (data.sizes["n_rows"], data.sizes["n_classes"])
    twin = ReferenceWaveNetwork(*sizes, 8, layers=1, operation="interference", dropout=0.0)
    twin.load_state_dict(network.state_dict())
    history = train_literally(network, data, system.recipe, seed=3)
    optimiser, generator = torch.optim.Adam(twin.parameters(), lr=1e-3), np.random.default_rng(3)
    texts = np.split(data.train.features.ids, data.train.features.offsets[1:-1])
    for _ in range(2):
        order = generator.permutation(len(texts))
        for start in range(0, len(texts), 16):
            rows = order[start : start + 16]
            ids = [torch.tensor(texts[row].astype(np.int64)) for row in rows]
            mask = torch.nn.utils.rnn.pad_sequence([torch.ones(len(each)) for each in ids], batch_first=True)
            logits = twin(torch.nn.utils.rnn.pad_sequence(ids, batch_first=True), mask)
            optimiser.zero_grad()
            labels = torch.from_numpy(data.train.labels[rows])
            torch.nn.functional.cross_entropy(logits, labels).backward()
            optimiser.step()
    for name, weights in twin.state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], weights, rtol=0, atol=2e-4)
    assert [entry["epoch"] for entry in history] == [1, 2]
    assert (
        history[-1]["test_accuracy"]
        == (network.logits(data.test.features).argmax(1) == data.test.labels).mean()
    )


def test_a_literal_system_reports_its_last_epoch(small, splits, monkeypatch):
    epochs = [{"epoch": n, "validation_accuracy": 1 - n / 10, "test_accuracy": n / 10} for n in (1, 2)]
    monkeypatch.setattr(systems, "train_literally", lambda *_: epochs)
    system = replace(
        literal_system("modulation"), network={**literal_system("modulation").network, "width": 8}
    )
    trained = train_system(ResultStore(), system, load_study_data(splits), 0)
    assert trained.best == epochs[-1]


@pytest.mark.parametrize("removed", ["real-means", "magnitudes-alone", "phase", "magnitude"])
def test_no_ablated_network_mixes_devices(removed):
    """On a device without memory: a tensor that is made on the processor meets one that is not, and fails."""
    with torch.device("meta"):
        network = build_network("wave", {"n_rows": 10, "n_classes": 3, "width": 8}, seed=0)
        network = remove_from_waves(network, removed) if removed in REMOVABLE else ablate(network, removed)
    batch = make_batch(small_studies.ragged([[0, 5, 7], [0, 5]])).to(torch.device("meta"))
    network.train()(batch).square().sum().backward()
    assert {parameter.grad.device.type for parameter in network.parameters()} == {"meta"}
