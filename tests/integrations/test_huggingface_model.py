"""The model on padded batches: logits, losses, initial weights, and what it refuses."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from huggingface_cases import KINDS, NAMES, TEXTS, random_classifier
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from token2wave.errors import ConfigError, DataError
from token2wave.integrations.huggingface import (
    WaveForSequenceClassification,
    WaveNetworkConfig,
    to_huggingface,
)
from token2wave.models import WaveNetwork, make_batch


def logits_of(model, encoded):
    with torch.no_grad():
        return model(**encoded).logits


@pytest.mark.parametrize("kind", KINDS)
def test_padding_does_not_change_logits(kind):
    """Neither its side, nor its amount, nor a missing mask changes the logits of a text."""
    model, tokenizer = to_huggingface(random_classifier(kind))
    alone = torch.cat([logits_of(model, tokenizer(text, return_tensors="pt")) for text in TEXTS])
    expected = random_classifier(kind).network.logits(tokenizer.features(TEXTS))
    assert np.abs(alone.numpy() - expected).max() < 1e-5
    for options in ({}, {"padding_side": "left"}, {"pad_to_multiple_of": 32}):
        encoded = tokenizer(TEXTS, padding=True, return_tensors="pt", **options)
        assert (logits_of(model, encoded) - alone).abs().max() < 1e-5
        del encoded["attention_mask"]  # then padding_id marks padding
        assert (logits_of(model, encoded) - alone).abs().max() < 1e-5
    scrambled = tokenizer(TEXTS, padding=True, return_tensors="pt")
    scrambled["input_ids"][scrambled["attention_mask"] == 0] = 1
    assert (logits_of(model, scrambled) - alone).abs().max() < 1e-5


def test_token_types_tell_the_reading_order():
    model, tokenizer = to_huggingface(random_classifier("small"))
    encoded = tokenizer(TEXTS, padding=True, return_tensors="pt")
    right = logits_of(model, encoded)
    del encoded["token_type_ids"]  # then n-grams count as words
    assert (logits_of(model, encoded) - right).abs().max() > 1e-3


def test_losses():
    model, tokenizer = to_huggingface(random_classifier("small"))
    encoded = tokenizer(TEXTS, padding=True, return_tensors="pt")
    labels = torch.arange(len(TEXTS)) % len(NAMES)
    output = model(**encoded, labels=labels)
    assert torch.allclose(output.loss, F.cross_entropy(output.logits, labels))
    loss, logits = model(**encoded, labels=labels, return_dict=False)
    assert torch.equal(loss, output.loss)
    assert torch.equal(logits, model(**encoded, return_dict=False)[0])
    model.config.class_weights = [1.0, 2.0, 5.0]
    probabilities = output.logits.log_softmax(dim=1)[torch.arange(len(TEXTS)), labels]
    weights = torch.tensor([1.0, 2.0, 5.0])[labels]
    assert torch.allclose(
        model(**encoded, labels=labels).loss, -(probabilities * weights).sum() / weights.sum()
    )
    model.config.class_weights = [1.0]
    with pytest.raises(ConfigError, match="class_weights: expected 3 numbers, found 1"):
        model(**encoded, labels=labels)


def test_multi_label_losses():
    model, tokenizer = to_huggingface(random_classifier("several labels"))
    encoded = tokenizer(TEXTS, padding=True, return_tensors="pt")
    labels = torch.rand(len(TEXTS), len(NAMES)).round()
    output = model(**encoded, labels=labels.long())
    probabilities = output.logits.sigmoid()
    by_hand = -(labels * probabilities.log() + (1 - labels) * (1 - probabilities).log())
    assert torch.allclose(output.loss, by_hand.mean(), atol=1e-6)
    model.config.class_weights = [1.0, 2.0, 5.0]
    weights = 1 + labels * (torch.tensor([1.0, 2.0, 5.0]) - 1)
    assert torch.allclose(model(**encoded, labels=labels).loss, (weights * by_hand).mean(), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_dense_and_equal_the_networks(kind):
    model, tokenizer = to_huggingface(random_classifier(kind))
    network = WaveNetwork(model.network.config).eval()
    network.load_state_dict(model.network.state_dict())
    encoded = tokenizer(TEXTS, padding=True, return_tensors="pt")
    labels = (
        torch.ones(len(TEXTS), len(NAMES))
        if model.network.config.multi_label
        else torch.ones(len(TEXTS)).long()
    )
    model(**encoded, labels=labels).loss.backward()
    logits = network(make_batch(tokenizer.features(TEXTS), network.config.sentence_ends))
    loss = F.binary_cross_entropy_with_logits if network.config.multi_label else F.cross_entropy
    loss(logits, labels).backward()
    for (name, own), reference in zip(model.network.named_parameters(), network.parameters(), strict=True):
        assert not own.grad.is_sparse
        expected = reference.grad.to_dense() if reference.grad.is_sparse else reference.grad
        assert torch.allclose(own.grad, expected, atol=1e-6), name


@pytest.mark.parametrize("kind", KINDS)
def test_initial_weights_equal_the_networks(kind):
    config = random_classifier(kind).network.config
    torch.manual_seed(3)
    model = WaveForSequenceClassification(WaveNetworkConfig.of_network(config, NAMES))
    torch.manual_seed(3)
    network = WaveNetwork(config)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, model.network.state_dict()[name]), name


def test_missing_weights_are_drawn(tmp_path):
    config = WaveNetworkConfig(vocab_size=4000, width=32, variants="rows", readout="text", linear_svm=True)
    config.embedding_scale, config.id2label = 0.01, {0: "a", 1: "b"}
    WaveForSequenceClassification(config).save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    norm_weights = {name: tensor for name, tensor in weights.items() if name.startswith("network.norm")}
    save_file(norm_weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    torch.manual_seed(0)
    drawn = WaveForSequenceClassification.from_pretrained(tmp_path).network
    assert drawn.embedding.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert drawn.layers[0].restore.linear.weight.abs().max() <= 1 / 8  # of 64 inputs: their root
    assert drawn.layers[0].restore.linear.weight.std().item() == pytest.approx(1 / 8 / 3**0.5, rel=0.1)
    assert drawn.linear_svm.weight.tolist() == [1, 1]
    assert drawn.linear_svm.bias.tolist() == [0, 0]
    assert all(torch.isfinite(parameter).all() for parameter in drawn.parameters())


def test_a_head_of_another_size_is_drawn(tmp_path):
    to_huggingface(random_classifier("paper")).model.save_pretrained(tmp_path)
    model = WaveForSequenceClassification.from_pretrained(
        tmp_path, num_labels=5, ignore_mismatched_sizes=True
    )
    assert model.network.head.weight.shape == (5, 8)
    assert torch.isfinite(model.network.head.weight).all()
    assert model.network.config.n_classes == 5


def test_the_embedding_grows_and_shrinks():
    model, tokenizer = to_huggingface(random_classifier("paper"))
    n_rows = model.config.vocab_size
    previous = logits_of(model, tokenizer(TEXTS, padding=True, return_tensors="pt"))
    assert model.get_input_embeddings() is model.network.embedding
    model.resize_token_embeddings(n_rows + 3, mean_resizing=False)
    assert model.network.embedding.weight.shape == (n_rows + 3, 8)
    assert model.network.config.n_rows == model.config.vocab_size == n_rows + 3
    assert torch.equal(logits_of(model, tokenizer(TEXTS, padding=True, return_tensors="pt")), previous)
    model(input_ids=torch.tensor([[n_rows + 2]]))
    model.resize_token_embeddings(n_rows)
    with pytest.raises(DataError, match=f"from 0 to {n_rows - 1}, found {n_rows + 2}"):
        model(input_ids=torch.tensor([[n_rows + 2]]))


def test_ids_that_are_no_rows_are_refused():
    model, _ = to_huggingface(random_classifier("small"))
    with pytest.raises(DataError, match=r"found -1 to 3.*the tokenizer that was saved"):
        model(input_ids=torch.tensor([[3, -1]]))
    with pytest.raises(DataError, match="0 for tokens in reading order"):
        model(input_ids=torch.tensor([[3, 2]]), token_type_ids=torch.tensor([[1, 0]]))


def test_illegal_settings_are_refused():
    with pytest.raises(ConfigError, match=r"problem_type.*found 'regression'"):
        WaveForSequenceClassification(WaveNetworkConfig(problem_type="regression"))
    with pytest.raises(ConfigError, match="linear_svm"):
        WaveForSequenceClassification(WaveNetworkConfig(linear_svm=True))
    with pytest.raises(ConfigError, match="width"):
        WaveForSequenceClassification(WaveNetworkConfig(width=0))


def test_config_file(tmp_path):
    model, _ = to_huggingface(random_classifier("several labels"))
    model.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["model_type"] == "wave-network"
    assert saved["architectures"] == ["WaveForSequenceClassification"]
    assert (saved["id2label"]["1"], saved["label2id"]["pos"]) == (NAMES[1], 2)
    assert saved["thresholds"] == [0.25, 0.5, 0.75]
    assert model.config.hidden_size == model.config.width == 8
    for key in ("fingerprint", "thresholds", "training", "written_by", "features", "novelty_reference"):
        del saved[key]
    (tmp_path / "config.json").write_text(json.dumps(saved))
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert again.network.config == model.network.config


def test_half_precision_is_close():
    model, tokenizer = to_huggingface(random_classifier("fast"))
    encoded = tokenizer(TEXTS, padding=True, return_tensors="pt")
    whole = logits_of(model, encoded)
    half = logits_of(model.to(torch.bfloat16), encoded)
    assert half.dtype == torch.bfloat16
    assert (half.float() - whole).abs().max() < 0.1 * whole.abs().max()
