import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from token2wave.errors import ConfigError, MissingExtraError
from token2wave.features import Ragged, WordPieceConfig
from token2wave.features.ragged import offsets_of
from token2wave.models import EncoderNetwork, PretrainedEncoder, bert_encoder, make_batch
from token2wave.training.examples import Examples
from token2wave.training.loop import fit
from token2wave.training.recipe import Recipe


def texts(lengths=(5, 1, 9, 3), n_rows=50, seed=0):
    random = np.random.default_rng(seed)
    lengths = np.array(lengths)
    ids = random.integers(0, n_rows, lengths.sum()).astype(np.int32)
    return Ragged(ids, offsets_of(lengths), lengths)


def tiny():
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    config._attn_implementation = "eager"
    return BertModel(config)


def test_logits_are_those_of_the_library_on_padded_ids():
    bert = tiny()
    network = EncoderNetwork(bert, 3).eval()
    features = texts()
    batch = make_batch(features)
    ids = torch.zeros(4, 9, dtype=torch.int64)
    mask = torch.zeros(4, 9, dtype=torch.int64)
    for text, (first, last) in enumerate(zip(features.offsets[:-1], features.offsets[1:], strict=True)):
        ids[text, : last - first] = torch.from_numpy(features.ids[first:last].astype(np.int64))
        mask[text, : last - first] = 1
    with torch.no_grad():
        states = bert(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]
        assert torch.allclose(network(batch), network.head(states), atol=1e-6)
        network.readout = "mean"
        whole = bert(input_ids=ids, attention_mask=mask).last_hidden_state
        each = [whole[text, : mask[text].sum()].mean(dim=0) for text in range(4)]
        assert torch.allclose(network(batch), network.head(torch.stack(each)), atol=1e-6)


def test_many_texts_get_the_logits_of_each_in_their_order():
    network = EncoderNetwork(tiny(), 3).eval()
    features = texts((5, 1, 9, 3, 7, 2))
    logits = network.logits(features)
    for text in range(len(features)):
        alone = network.logits(features.take(np.array([text])))
        assert np.allclose(alone[0], logits[text], atol=1e-6)


def test_it_learns_and_moves_only_the_rows_that_occur():
    features = texts((4,) * 40, n_rows=20)
    labels = (features.ids[features.offsets[:-1]] % 2).astype(np.int64)
    network = EncoderNetwork(tiny(), 2)
    before = network.embedding.weight.detach().clone()
    examples = Examples(features, labels)
    recipe = Recipe(epochs=8, batch_size=8, lr=3e-3, embedding_lr=3e-3, similar_lengths=True)
    history = fit(network, examples, examples, recipe, seed=0, has_cls=True)
    assert history.best.validation_accuracy > 0.9
    moved = (network.embedding.weight.detach() != before).any(dim=1)
    assert moved[:20].any()
    assert not moved[20:].any()


def test_minilm_comes_with_its_package():
    checkpoint = PretrainedEncoder()
    features = checkpoint.features(WordPieceConfig(max_tokens=16))
    assert features.n_rows == 30_522
    assert features.vocabulary[101] == "[CLS]"
    table = checkpoint.token_embeddings()
    assert table.shape == (30_522, 384)
    network = checkpoint.network(4, seed=0)
    assert torch.equal(network.embedding.weight.detach(), table)
    again = checkpoint.network(4, seed=0)
    assert torch.equal(network.head.weight, again.head.weight)
    near, far = (network.logits(features([text])) for text in ("a film", "a stock"))
    assert not np.allclose(near, far)
    assert 22e6 < network.parameter_count().total < 23e6


def test_a_missing_package_names_the_cure(monkeypatch):
    monkeypatch.setattr(bert_encoder, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'token2wave\[encoders\]'"):
        PretrainedEncoder().token_embeddings()


def test_a_checkpoint_that_is_not_there_is_an_error_of_one_line(tmp_path):
    with pytest.raises(ConfigError, match="expected a pre-trained encoder") as caught:
        PretrainedEncoder(str(tmp_path / "nothing")).network(2, 0)
    assert "\n" not in str(caught.value)
