"""The comparison of steps: the same batches and weights give the same losses under the same optimiser."""

import json

import paper_step
import pytest
import torch

ROWS = ["--data", "debian-sections", "--rows", "150", "--width", "6", "--steps", "4", "--runs", "2"]


@pytest.fixture(autouse=True)
def no_data_folder(monkeypatch):
    monkeypatch.delenv("TOKEN2WAVE_DATA", raising=False)  # so that a small vocabulary is trained
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)  # other tests run in this process


def test_the_document(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(paper_step, "memory_of_both", memory_in_this_process)
    paper_step.main([*ROWS, "--results", str(tmp_path), "--name", "t"])
    document = json.loads((tmp_path / "t.json").read_text())
    losses = document["losses"]
    assert len(losses["padded"]) == len(losses["ours"]["rows"]["losses"]) == 4
    assert losses["ours"]["dense"]["largest_difference"] < 1e-5
    assert losses["padded"][0] == pytest.approx(losses["ours"]["rows"]["losses"][0], abs=1e-6)
    assert document["speed"]["token_dropout"] == document["speed"]["dropout"] == 0
    assert document["speed_with_dropout"]["token_dropout"] == document["recipe"]["token_dropout"] > 0
    assert len(document["speed_of_the_preset"]["ours"]["turns"]) == 2
    for section in ("speed", "speed_with_dropout"):
        assert {"ours", "padded"} <= document[section].keys()
        ours = document[section]["ours"]
        assert len(ours["turns"]) == 2
        ratio = ours["ratio_to_padded"]
        assert 0 < ratio["min"] <= ratio["median"] <= ratio["max"]
        assert ours["extrapolated_epoch_seconds"] == pytest.approx(
            120_000 / ours["texts_per_second"]["median"]
        )
        assert "extrapolated" in document[section]["extrapolation"]
    assert document["memory"]["padded"]["peak_bytes"] > 0
    assert "times padded" in capsys.readouterr().out


def memory_in_this_process(arguments, steps):
    setting = paper_step.make_setting("debian-sections", 100, 6, None, 0)
    return {name: paper_step.measure_memory(setting, name, 2) for name in ("ours", "padded")}


@pytest.mark.parametrize("operation", ["interference", "modulation"])
def test_the_reference_drops_tokens_but_never_cls(operation):
    setting = paper_step.make_setting("debian-sections", 100, 6, operation, 0)
    reference = paper_step.PaddedReference(setting)
    whole = setting.examples.features.lengths
    (ids, mask), _ = next(reference.make_batches())
    texts = [text[filled] for text, filled in zip(ids, mask, strict=True)]
    dropped = sum(map(len, texts))
    assert 0.35 * whole.mean() * len(texts) < dropped < 0.75 * whole.mean() * len(texts)
    cls = int(setting.examples.features.ids[0])
    assert all(int(text[0]) == cls for text in texts)
    assert reference.step().loss > 0
