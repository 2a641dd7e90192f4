"""A tiny encoder with random weights in a folder, and texts to be taught with."""

from __future__ import annotations

from pathlib import Path

import torch
from training_data import FILLERS, WORDS
from transformers import BertConfig, BertForSequenceClassification, BertModel

LETTERS = "abcdefghijklmnopqrstuvwxyz."
ENTRIES = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *sorted({word for words in WORDS.values() for word in words} | set(FILLERS) - {"a"}),
    *LETTERS,
    *(f"##{letter}" for letter in LETTERS),
]


def write_encoder(folder: Path, labels: tuple[str, ...] | None = None) -> Path:
    """A model of ``transformers``: an encoder, or a classifier of some labels."""
    config = BertConfig(
        vocab_size=len(ENTRIES),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=128,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if labels is None:
            model = BertModel(config)
        else:
            config.id2label = dict(enumerate(labels))
            config.label2id = {label: i for i, label in enumerate(labels)}
            model = BertForSequenceClassification(config)
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(ENTRIES) + "\n", encoding="utf-8")
    return folder
