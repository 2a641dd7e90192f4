"""Teachers of the BERT family, through ``transformers``: encoders to fine-tune, and saved classifiers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_model, save_model

from token2wave.distillation.encoder_settings import MAX_TOKENS, READOUT, SEED, fine_tuning_recipe
from token2wave.errors import ConfigError
from token2wave.features import WordPieceConfig, WordPieceFeatures
from token2wave.inference.reference import probabilities as softmax
from token2wave.models.bert_encoder import EncoderConfig, EncoderNetwork, PretrainedEncoder, quiet, readable
from token2wave.models.text_network import PADDED_TEXTS_CHUNK
from token2wave.storage.atomic import atomic_write
from token2wave.training.callbacks import Callback
from token2wave.training.examples import Examples
from token2wave.training.loop import fit
from token2wave.training.torch_trainer import has_bfloat16

TEXTS_CHUNK = 2_048

Floats = NDArray[np.float32]
Advance = Callable[[int], None]


class FineTunedEncoder:
    """A pre-trained encoder with a head of ``n_classes`` drawn at random, to be fine-tuned.

    Raises:
        ConfigError: the checkpoint cannot be loaded.
        MissingExtraError: transformers, or the package of MiniLM, is not installed.
    """

    def __init__(self, name: str, n_classes: int) -> None:
        checkpoint = PretrainedEncoder(name)
        self.features: WordPieceFeatures = checkpoint.features(WordPieceConfig(max_tokens=MAX_TOKENS))
        self.network: EncoderNetwork = checkpoint.network(n_classes, SEED, readout=READOUT, dropout=False)

    def fit(
        self,
        texts: Sequence[str],
        labels: NDArray[np.int64],
        weights: Floats | None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        """Fine-tune on ``N`` texts with labels ``(N,)`` and weights ``(N,)``; None counts all the same.

        Raises:
            ConfigError: the loss is no longer a finite number.
        """
        examples = Examples(self.features(texts), labels, weights)
        recipe = fine_tuning_recipe(len(texts))
        fit(self.network, examples, None, recipe, seed=SEED, has_cls=True, callbacks=callbacks)

    def logits(self, texts: Sequence[str], advance: Advance | None = None) -> Floats:
        """Compute the network's outputs, ``(N, D)`` float32."""
        outputs = [np.zeros((0, self.network.config.n_classes), dtype=np.float32)]
        for first in range(0, len(texts), TEXTS_CHUNK):
            chunk = texts[first : first + TEXTS_CHUNK]
            outputs.append(self.network.logits(self.features(chunk)))
            if advance is not None:
                advance(len(chunk))
        return np.concatenate(outputs)

    def probabilities(self, texts: Sequence[str], advance: Advance | None = None) -> Floats:
        """Compute the probability of every class, ``(N, C)`` float32; in bfloat16 where that is fast."""
        device = self.network.embedding.weight.device
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=has_bfloat16(device)):
            return softmax(self.logits(texts, advance), False)

    def save(self, path: Path) -> None:
        """Write the weights."""
        with atomic_write(path) as temporary:
            save_model(self.network, str(temporary))

    def load(self, path: Path) -> None:
        """Read weights that :meth:`save` wrote."""
        load_model(self.network, path)


class SavedClassifier:
    """A classifier that ``transformers`` loads, fine-tuned elsewhere. It predicts in the order of the labels.

    Raises:
        ConfigError: it cannot be loaded, or has other classes.
        MissingExtraError: transformers is not installed.
    """

    def __init__(self, name: str, label_names: Sequence[str]) -> None:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        with readable(name), quiet():
            self.model: Any = AutoModelForSequenceClassification.from_pretrained(name, dtype=torch.float32)
            self.tokenizer: Any = AutoTokenizer.from_pretrained(name)
        self.model.eval()
        self.class_order = match_classes(self.model.config.id2label, label_names, name)

    def probabilities(self, texts: Sequence[str], advance: Advance | None = None) -> Floats:
        """Compute the probability of every class, ``(N, C)`` float32; in bfloat16 where that is fast."""
        device = self.model.device
        probabilities = np.zeros((len(texts), len(self.class_order)), dtype=np.float32)
        by_length = np.argsort([len(text) for text in texts], kind="stable")
        with (
            torch.inference_mode(),
            torch.autocast(device.type, dtype=torch.bfloat16, enabled=has_bfloat16(device)),
        ):
            for first in range(0, len(by_length), PADDED_TEXTS_CHUNK):
                rows = by_length[first : first + PADDED_TEXTS_CHUNK]
                batch = self.tokenizer(
                    [texts[row] for row in rows],
                    truncation=True,
                    max_length=MAX_TOKENS,
                    padding=True,
                    return_tensors="pt",
                )
                logits = self.model(**batch.to(device)).logits.float()
                probabilities[rows] = softmax(logits.cpu().numpy()[:, self.class_order], False)
                if advance is not None:
                    advance(len(rows))
        return probabilities


def encode_texts(name: str, texts: Sequence[str], advance: Advance | None = None) -> Floats:
    """Return a pre-trained encoder's output for each text, ``(N, D)`` float32: the mean of its states."""
    encoder = FineTunedEncoder(name, 2)
    network = encoder.network.eval()
    network.head = torch.nn.Identity()  # type: ignore[assignment]  # the state itself is the output
    width = int(network.embedding.embedding_dim)  # that of the states, as in BERT
    network.config = EncoderConfig(network.embedding.num_embeddings, width)
    return encoder.logits(texts, advance)


def whole_words(name: str) -> list[str]:
    """List the words in an encoder's vocabulary of WordPieces."""
    entries = PretrainedEncoder(name).features(WordPieceConfig()).vocabulary
    return [entry for entry in entries if entry.isalpha() and len(entry) > 1]


def match_classes(id2label: dict[int, str], label_names: Sequence[str], location: str) -> list[int]:
    """Find a classifier's output for each class. Outputs without names (``LABEL_0``, ...) are taken in order.

    Raises:
        ConfigError: the classifier has other classes.
    """
    names = [str(id2label[i]) for i in range(len(id2label))]
    if len(names) == len(label_names):
        if set(names) == set(label_names):
            return [names.index(name) for name in label_names]
        if names == [f"LABEL_{i}" for i in range(len(names))]:
            return list(range(len(names)))
    raise ConfigError(
        f"expected a teacher of the classes {', '.join(label_names[:12])}, found {', '.join(names[:12])}",
        location=location,
        hint="name a classifier of the same classes, or an encoder to fine-tune",
    )
