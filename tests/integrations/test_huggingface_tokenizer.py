"""The tokenizer gives the rows that a classifier looks up, for any string."""

import copy
import pickle

import numpy as np
import pytest
import torch
from huggingface_cases import TEXTS, features_of
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from transformers import AutoTokenizer, DataCollatorWithPadding, TensorType
from transformers.tokenization_utils_base import TruncationStrategy

from token2wave.errors import DataError, InputError, ModelFileError
from token2wave.integrations.huggingface import WaveNetworkConfig, WaveTokenizer

KINDS = ["words", "words with cls", "words with oov", "wordpiece", "wordpiece without pad"]
ODD = "aA09_ \t\n\0'’.,!?。\ud800\udfff👍🏽\u200dé\u0301İßΣ中カ한กع\u202e\u00ad\u2028\ufeff\uffff"
characters = st.one_of(st.sampled_from(ODD), st.integers(0, 0x10FFFF).map(chr))
pieces = st.sampled_from(
    ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "##s", "<17>", "good", "film", "it's", "bad.", "x" * 65, " ", "n't"]
)
texts = st.lists(st.one_of(pieces, characters), max_size=14).map("".join)


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request, tmp_path_factory):
    """A tokenizer that was saved and loaded."""
    folder = tmp_path_factory.mktemp("tokenizer")
    WaveTokenizer(features=features_of(request.param)).save_pretrained(folder)
    WaveNetworkConfig().save_pretrained(folder)
    loaded = AutoTokenizer.from_pretrained(folder)
    assert type(loaded) is WaveTokenizer
    return loaded


def of_features(features, batch):
    encoded = features(batch)
    ids = np.split(encoded.ids, encoded.offsets[1:-1])
    types = np.split((~encoded.is_ordered).astype(int), encoded.offsets[1:-1])
    if encoded.n_oov_tokens is not None:
        for own, of_own, n_tokens in zip(ids, types, encoded.n_oov_tokens, strict=True):
            first = np.count_nonzero(own < features.n_rows)
            of_own[first:], of_own[first : first + n_tokens] = 3, 2
    return [row.tolist() for row in ids], [row.tolist() for row in types]


@settings(max_examples=150, deadline=None)
@given(batch=st.lists(texts, min_size=1, max_size=4))
def test_ids_are_those_of_the_features(tokenizer, batch):
    ids, types = of_features(tokenizer.features, batch)
    encoded = tokenizer(batch)
    assert encoded["input_ids"] == ids
    assert encoded["token_type_ids"] == types
    assert encoded["attention_mask"] == [[1] * len(row) for row in ids]
    padded = tokenizer(batch, padding=True, return_tensors="pt")
    assert padded["input_ids"].dtype == torch.int64
    for row, mask, own in zip(padded["input_ids"], padded["attention_mask"], ids, strict=True):
        assert row.tolist() == own + [tokenizer.pad_token_id] * (len(row) - len(own))
        assert mask.tolist() == [1] * len(own) + [0] * (len(row) - len(own))
    for text, own in zip(batch, ids, strict=True):
        alone = tokenizer(text)
        assert alone["input_ids"] == tokenizer.encode(text) == own
        assert tokenizer(text, return_tensors="pt")["input_ids"].tolist() == [own]
        names = tokenizer.convert_ids_to_tokens(own)
        assert tokenizer.convert_tokens_to_ids(names) == own
        assert tokenizer.tokenize(text, add_special_tokens=True) == names


def test_rows_have_names(tokenizer):
    names = tokenizer.get_vocab()
    n_ids = tokenizer.features.n_rows + len(getattr(tokenizer.features, "oov_hashes", ()))
    assert len(names) == len(tokenizer) >= tokenizer.vocab_size == n_ids
    assert sorted(names.values()) == list(range(len(tokenizer)))
    assert {name: tokenizer.convert_tokens_to_ids(name) for name in names} == names
    assert tokenizer.convert_ids_to_tokens(tokenizer.pad_token_id) == "[PAD]"
    assert tokenizer.convert_tokens_to_ids("no such name") == tokenizer.unk_token_id
    assert tokenizer.convert_tokens_to_ids("<99999999>") == tokenizer.unk_token_id
    has_pad_row = tokenizer.features.type_name == "wordpiece" and "[PAD]" in tokenizer.features.vocabulary
    assert len(tokenizer) == n_ids + (not has_pad_row)


def test_decode_joins_pieces(tokenizer):
    if tokenizer.features.type_name == "wordpiece":
        assert tokenizer.decode(tokenizer.encode("good films"), skip_special_tokens=True) == "good films"


def test_call_options(tokenizer):
    encoded = tokenizer(TEXTS)
    assert tokenizer.batch_encode_plus(TEXTS)["input_ids"] == encoded["input_ids"]
    assert tokenizer.encode_plus(TEXTS[0])["input_ids"] == encoded["input_ids"][0]
    assert tokenizer(tuple(TEXTS))["input_ids"] == encoded["input_ids"]
    assert tokenizer([])["input_ids"] == []
    assert tokenizer("", return_tensors="pt")["input_ids"].dtype == torch.int64
    arrays = tokenizer(TEXTS, padding="max_length", max_length=20, return_tensors="np")
    assert arrays["input_ids"].shape == arrays["token_type_ids"].shape == (len(TEXTS), 20)
    assert (
        tokenizer(TEXTS, padding=True, pad_to_multiple_of=16, return_tensors="np")["input_ids"].shape[1] == 16
    )
    words = tokenizer(["a", "bad", "film"], is_split_into_words=True)
    assert words["input_ids"] == tokenizer("a bad film")["input_ids"]
    assert (
        tokenizer([["a", "bad"], []], is_split_into_words=True)["input_ids"]
        == tokenizer(["a bad", ""])["input_ids"]
    )
    assert tokenizer(TEXTS, return_length=True)["length"] == [len(ids) for ids in encoded["input_ids"]]
    assert tokenizer("a bad film", is_split_into_words=True)["input_ids"] == words["input_ids"]
    with pytest.raises(ValueError, match="padding"):
        tokenizer(["good", "bad film bad"], return_tensors="pt")
    enumerated = tokenizer(
        "", return_tensors=TensorType.PYTORCH, truncation=TruncationStrategy.DO_NOT_TRUNCATE
    )
    assert enumerated["input_ids"].dtype == torch.int64
    less = tokenizer(TEXTS, return_token_type_ids=False, return_attention_mask=False)
    assert set(less) == {"input_ids"}
    left = tokenizer(TEXTS, padding=True, padding_side="left")
    assert left["input_ids"][3][0] == tokenizer.pad_token_id


def test_special_tokens_are_marked_and_can_be_left_out(tokenizer):
    whole = tokenizer(TEXTS[0], return_special_tokens_mask=True)
    bare = tokenizer(TEXTS[0], add_special_tokens=False)
    special = {tokenizer.cls_token_id, tokenizer.sep_token_id} - {None}
    assert [int(row in special) for row in whole["input_ids"]] == whole["special_tokens_mask"]
    assert bare["input_ids"] == [row for row in whole["input_ids"] if row not in special]


def test_texts_are_cut_only_to_a_given_length(tokenizer):
    text = "good bad film " * 3
    whole = tokenizer(text)["input_ids"]
    assert tokenizer(text, truncation=True)["input_ids"] == whole
    assert tokenizer(text, truncation=False, max_length=4)["input_ids"] == whole
    assert tokenizer(text, truncation="do_not_truncate", max_length=4)["input_ids"] == whole
    cut = tokenizer(text, truncation=True, max_length=4)
    assert len(cut["input_ids"]) == len(cut["token_type_ids"]) == len(cut["attention_mask"]) == 4
    assert cut["input_ids"][:3] == whole[:3]
    assert cut["input_ids"][3] == (whole[3] if tokenizer.sep_token_id is None else tokenizer.sep_token_id)
    assert tokenizer(text, max_length=4)["input_ids"] == cut["input_ids"]
    assert tokenizer(text, truncation=True, max_length=0)["input_ids"] == []
    limited = copy.deepcopy(tokenizer)
    limited.model_max_length = 4
    assert limited(text, truncation=True)["input_ids"] == cut["input_ids"]
    assert limited(text)["input_ids"] == whole


def test_unsupported_options_are_refused(tokenizer):
    with pytest.raises(DataError, match="text_pair"):
        tokenizer("a", "b")
    with pytest.raises(DataError, match=r"text\[1\]: expected one string, found several.*one text"):
        tokenizer(["a", ("b", "c")])
    with pytest.raises(DataError, match="return_offsets_mapping"):
        tokenizer("a", return_offsets_mapping=True)
    with pytest.raises(InputError, match=r"text\[1\]: expected a text, found the int"):
        tokenizer(["a", 3])
    with pytest.raises(InputError, match=r"text\[0\]: the text is missing"):
        tokenizer([None])


def test_collators_and_copies(tokenizer):
    rows = [{**tokenizer(text), "label": i} for i, text in enumerate(TEXTS)]
    batch = DataCollatorWithPadding(tokenizer)(rows)
    assert torch.equal(batch["input_ids"], tokenizer(TEXTS, padding=True, return_tensors="pt")["input_ids"])
    assert batch["labels"].tolist() == list(range(len(TEXTS)))
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again(TEXTS)["input_ids"] == tokenizer(TEXTS)["input_ids"]


def test_damaged_files_are_refused(tmp_path):
    WaveTokenizer(features=features_of("words")).save_pretrained(tmp_path)
    path = tmp_path / "features.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    with pytest.raises(ModelFileError, match=r"features\.safetensors: expected the features"):
        WaveTokenizer(str(path))
    contents = ["{", "[]", '{"kind": "words"}', "[" * 100_000]
    for metadata in (None, *({"token2wave": content} for content in contents)):
        save_file({"buckets": np.arange(3, dtype=np.uint32)}, path, metadata=metadata)
        with pytest.raises(ModelFileError, match="expected the features of a tokenizer"):
            WaveTokenizer(str(path))
    save_file({}, path, metadata={"token2wave": '{"kind": "words", "settings": {}}'})
    with pytest.raises(ModelFileError, match="buckets"):
        WaveTokenizer(str(path))
    with pytest.raises(ModelFileError, match="found none"):
        WaveTokenizer()
