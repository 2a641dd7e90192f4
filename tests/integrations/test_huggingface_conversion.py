"""Models of ``transformers`` give the classifier's probabilities and convert back without loss."""

import importlib
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from huggingface_cases import KINDS, TEXTS, corpus, random_classifier, trained
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

import token2wave
from tests.inference.small_models import one_huge_row, word_classifier
from token2wave.errors import ConfigError, MissingExtraError, ModelFileError, OutputError
from token2wave.inference.novelty import QUANTILES, NoveltyReference
from token2wave.integrations.huggingface import (
    WaveNetworkConfig,
    export_huggingface,
    from_huggingface,
    from_preset,
    to_huggingface,
)
from token2wave.models import WaveConfig, WaveNetwork
from token2wave.storage.encodings import as_int8

SETTINGS = st.fixed_dictionaries(
    {
        "layers": st.integers(1, 3),
        "operation": st.sampled_from(["interference", "modulation"]),
        "variants": st.sampled_from(["linear", "levels", "rows"]),
        "restore": st.sampled_from(["linear", "real", "magnitude"]),
        "readout": st.sampled_from(["cls", "mean", "text"]),
        "positions": st.sampled_from(["none", "sinusoidal"]),
        "residual": st.sampled_from(["equation", "figure"]),
        "layer_norm": st.sampled_from(["none", "real", "wave"]),
        "dropout": st.sampled_from([0.0, 0.25]),
        "context_width": st.sampled_from([0, 4]),
        "context_radius": st.integers(1, 4),
        "linear_svm": st.booleans(),
        "multi_label": st.booleans(),
        "embedding_scale": st.sampled_from([0.01, 1.0]),
        "sentence_ends": st.sampled_from([(), (1, 4)]),
    }
)


def probabilities(model, tokenizer, texts):
    encoded = tokenizer(list(texts), padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model.eval()(**encoded).logits
    return (logits.sigmoid() if model.network.config.multi_label else logits.softmax(dim=1)).numpy()


def loaded(folder):
    return AutoModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("kind", ["small", "fast", "paper", "several labels"])
def test_exported_models_give_the_classifiers_probabilities(kind, tmp_path):
    classifier = trained(kind)
    texts = [*corpus().train.texts[:200], *TEXTS]
    export_huggingface(classifier, tmp_path / "model")
    actual = probabilities(*loaded(tmp_path / "model"), texts)
    assert np.abs(actual - classifier.probabilities(texts)).max() < 1e-5
    assert np.abs(actual - actual.mean(axis=0)).max() > 0.01  # they do tell texts apart


def test_no_label_beside_a_nan():
    model, tokenizer = to_huggingface(one_huge_row(word_classifier(), "good"))
    assert np.isfinite(probabilities(model, tokenizer, ["bad film"])).all()
    with pytest.raises(ModelFileError, match="weights overflow"):
        probabilities(model, tokenizer, ["good"])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_network_converts_back(kind, tmp_path):
    scores = tuple(np.linspace(-1, 2, len(QUANTILES)).tolist())
    classifier = replace(
        random_classifier(kind), novelty_reference=NoveltyReference(0.1, (0.2, 0.1), (1.0, 0.5), scores)
    )
    export_huggingface(classifier, tmp_path / "model")
    model, tokenizer = loaded(tmp_path / "model")
    assert np.abs(probabilities(model, tokenizer, TEXTS) - classifier.probabilities(TEXTS)).max() < 1e-5
    back = from_huggingface(model, tokenizer)
    assert type(back.network) is type(classifier.network)
    assert back.fingerprint == classifier.fingerprint
    first, second = classifier.to_file(), back.to_file()
    assert first.tensors.keys() == second.tensors.keys()
    for name, array in first.tensors.items():
        np.testing.assert_array_equal(array, second.tensors[name])
    assert replace(first, tensors={}) == replace(second, tensors={})


def test_torch_and_compiled_networks_convert_alike():
    tables = random_classifier("small")
    network = WaveNetwork(tables.network.config)
    network.load_state_dict({n: torch.tensor(a) for n, a in tables.network.arrays().items()})
    with_torch = replace(tables, network=network.eval())
    first, second = to_huggingface(tables), to_huggingface(with_torch)
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name])
    assert network.embedding.sparse  # it is left as it was


@settings(max_examples=60, deadline=None)
@given(values=SETTINGS)
def test_settings_and_parameter_names_convert(values):
    try:
        config = WaveConfig(n_rows=7, n_classes=3, width=4, **values)
    except ConfigError:
        return
    exported = WaveNetworkConfig.of_network(config, ["a", "b", "c"])
    again = WaveNetworkConfig.from_dict(json.loads(exported.to_json_string()))
    assert again.network_config() == config
    assert again.label_names == ("a", "b", "c")
    assert again.to_dict() == exported.to_dict()
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(again)
    assert list(model.state_dict()) == [f"network.{name}" for name in config.parameter_shapes()]


def test_changed_weights_lose_novelty_and_record():
    classifier = trained("fast")
    assert classifier.novelty_reference is not None
    model, tokenizer = to_huggingface(classifier)
    with torch.no_grad():
        model.network.head.bias += 1
    back = from_huggingface(model, tokenizer)
    assert back.novelty_reference is None
    assert back.training == {"continued_from": classifier.training, "continued_with": "transformers"}
    assert "transformers" in back.written_by


def test_wrong_tokenizer_and_nan_are_refused():
    model, tokenizer = to_huggingface(random_classifier("small"))
    with pytest.raises(ConfigError, match="expected the tokenizer of this model"):
        from_huggingface(model, to_huggingface(random_classifier("paper")).tokenizer)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with pytest.raises(ConfigError, match=r"\[PAD\] needs no row"):
        from_huggingface(model, tokenizer)
    model, tokenizer = to_huggingface(random_classifier("small"))
    with torch.no_grad():
        model.network.head.bias[0] = torch.nan
    with pytest.raises(ConfigError, match=r"network\.head\.bias: expected finite"):
        from_huggingface(model, tokenizer)


def test_from_preset():
    train = corpus().train
    model, tokenizer = from_preset(
        "small", train.texts, ["games", "mail", "science"], settings={"network.width": 16}
    )
    config = model.network.config
    assert (config.width, config.context_width, config.linear_svm, config.n_classes) == (16, 32, True, 3)
    assert tokenizer.features.n_rows == config.n_rows
    assert from_huggingface(model, tokenizer).label_names == ("games", "mail", "science")
    several = from_preset("fast", train.texts, ["a", "b"], multi_label=True).model
    assert several.config.problem_type == "multi_label_classification"
    with pytest.raises(ConfigError, match="preset"):
        from_preset("large", train.texts, ["a", "b"])


def test_export_replaces_an_earlier_export(tmp_path):
    folder = tmp_path / "model"
    size = export_huggingface(random_classifier("small"), folder)
    assert size == sum(path.stat().st_size for path in folder.iterdir())
    assert {"config.json", "model.safetensors", "features.safetensors", "README.md"} <= {
        path.name for path in folder.iterdir()
    }
    (folder / "notes.txt").write_text("mine")
    (folder / "model.safetensors").chmod(0o640)
    export_huggingface(random_classifier("paper"), folder)
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "model.safetensors").stat().st_mode & 0o777 == 0o640
    assert AutoConfig.from_pretrained(folder).features["kind"] == "wordpiece"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_export_keeps_other_files(tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    classifier = random_classifier("fast")
    with pytest.raises(OutputError, match="found other files"):
        export_huggingface(classifier, other)
    with pytest.raises(OutputError, match="found a file"):
        export_huggingface(classifier, other / "notes.txt")
    with pytest.raises(OutputError, match="does not exist"):
        export_huggingface(classifier, tmp_path / "missing" / "model")
    export_huggingface(classifier, other, overwrite=True)
    assert AutoConfig.from_pretrained(other).features["kind"] == "words"
    assert (other / "notes.txt").read_text() == "mine"


def test_missing_transformers_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.delitem(sys.modules, "token2wave.integrations.huggingface")
    with pytest.raises(MissingExtraError, match=r"pip install 'token2wave\[hf\]'"):
        importlib.import_module("token2wave.integrations.huggingface")


def test_a_compressed_model_converts_with_its_thresholds(tmp_path):
    classifier = random_classifier("several labels")
    rows = classifier.network.arrays()["embedding.weight"]
    replace(classifier, encoded={"embedding.weight": as_int8(rows)}).save(tmp_path / "model.safetensors")
    compressed = token2wave.load(tmp_path / "model.safetensors")
    back = from_huggingface(*to_huggingface(compressed))
    assert back.thresholds == (0.25, 0.5, 0.75)
    assert back.fingerprint == compressed.fingerprint


def test_earlier_exports_are_refused(tmp_path):
    """transformers would ignore the setting and leave out the context branch."""
    export_huggingface(random_classifier("small"), tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text())
    config["phrase_width"] = config.pop("context_width")
    path.write_text(json.dumps(config))
    with pytest.raises(
        ConfigError, match=r"^phrase_width: .*another version of token2wave.*export it again$"
    ):
        AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
