import sys

import numpy as np
import pytest

from paper.result_store import ResultStore
from paper.study import load_study_data
from paper.systems import available, encoder_system, train_system, transformer_system, wave_system
from token2wave.data import TextDataset, TextSplit
from token2wave.errors import DataError, MissingExtraError
from token2wave.features import WordPieceConfig
from token2wave.models import PretrainedEncoder
from token2wave.models.encoder_sources import MINILM


def test_an_encoder_reads_out_as_it_is_told(splits, monkeypatch):
    monkeypatch.delenv("TOKEN2WAVE_DATA", raising=False)
    data = load_study_data(splits)
    systems = {readout: encoder_system(MINILM, readout=readout) for readout in ("cls", "mean")}
    assert systems["cls"].settings() != systems["mean"].settings()
    assert systems["mean"].build(data, 0).readout == "mean"
    assert systems["mean"].encode(data).features.config.max_tokens == 128


def test_everything_that_decides_a_result_is_in_the_settings():
    reference = wave_system("modulation").settings()
    assert reference != wave_system("interference").settings()
    assert reference != wave_system("modulation", bare=True).settings()
    assert reference != wave_system("modulation", width=64).settings()
    assert transformer_system(None).settings() != transformer_system(MINILM).settings()
    assert wave_system("modulation", bare=True).recipe.decay == "constant"


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
    systems, left_out = available([wave_system("modulation"), transformer_system(MINILM)])
    assert [system.key for system in systems] == ["wave-modulation"]
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
