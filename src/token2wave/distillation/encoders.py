"""Teachers of the BERT family, through ``transformers``: fine-tuned here, or fine-tuned before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_model, save_model

from token2wave.distillation.encoder_settings import READOUT, SEED, TEACHER_TOKENS, fine_tuning
from token2wave.errors import ConfigError
from token2wave.features import WordPieceConfig, WordPieceFeatures
from token2wave.inference.reference import probabilities as softmax
from token2wave.models.batched_logits import PADDED_TEXTS_CHUNK
from token2wave.models.bert_encoder import EncoderConfig, EncoderNetwork, PretrainedEncoder, quiet, readable
from token2wave.storage.atomic import atomic_write
from token2wave.training.callbacks import Callback
from token2wave.training.examples import Examples
from token2wave.training.loop import fit
from token2wave.training.torch_trainer import has_bfloat16

TEXTS_CHUNK = 2_048

Floats = NDArray[np.float32]
Advance = Callable[[int], None]


class FineTunedEncoder:
    """A pre-trained encoder with a head of its own.

    Args:
        network: the encoder with its head.
        features: its WordPieces.
    """

    def __init__(self, network: EncoderNetwork, features: WordPieceFeatures) -> None:
        self.network, self.features = network, features

    @classmethod
    def untrained(cls, name: str, n_classes: int) -> FineTunedEncoder:
        """A checkpoint as it is, with a head drawn at random.

        Raises:
            ConfigError: it cannot be had.
            MissingExtraError: transformers, or the package of MiniLM, is not installed.
        """
        checkpoint = PretrainedEncoder(name)
        features = checkpoint.features(WordPieceConfig(max_tokens=TEACHER_TOKENS))
        return cls(checkpoint.network(n_classes, SEED, readout=READOUT, dropout=False), features)

    def fit(
        self,
        texts: Sequence[str],
        labels: NDArray[np.int64],
        weights: Floats | None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        """Fine-tune on labelled texts.

        Args:
            texts: ``N`` strings.
            labels: ``(N,)`` int64.
            weights: ``(N,)`` float32, how much each counts; all the same, if None.
            callbacks: called as the work goes on.

        Raises:
            ConfigError: the loss stopped being a finite number.
        """
        examples = Examples(self.features(texts), labels, weights)
        fit(
            self.network,
            examples,
            None,
            fine_tuning(len(texts)),
            seed=SEED,
            has_cls=True,
            callbacks=callbacks,
        )

    def probabilities(self, texts: Sequence[str], advance: Advance | None = None) -> Floats:
        """Probability of every class for every text, ``(N, C)`` float32; bfloat16 where it is quick."""
        device = self.network.embedding.weight.device
        found = [np.zeros((0, self.network.config.n_classes), dtype=np.float32)]
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=has_bfloat16(device)):
            for first in range(0, len(texts), TEXTS_CHUNK):
                some = texts[first : first + TEXTS_CHUNK]
                found.append(softmax(self.network.logits(self.features(some)), False))
                if advance is not None:
                    advance(len(some))
        return np.concatenate(found)

    def save(self, path: Path) -> None:
        """Write the weights.

        Raises:
            OutputError: the place cannot be written to.
        """
        with atomic_write(path) as aside:
            save_model(self.network, str(aside))

    def load(self, path: Path) -> None:
        """Take over weights that :meth:`save` wrote."""
        load_model(self.network, path)


class SavedClassifier:
    """A classifier of ``transformers`` that was fine-tuned elsewhere: a folder or a name on the hub.

    Args:
        name: what ``AutoModelForSequenceClassification`` takes.
        label_names: names of the ``C`` classes, in our order.

    Raises:
        ConfigError: it cannot be loaded, or its classes are others.
        MissingExtraError: transformers is not installed.
    """

    def __init__(self, name: str, label_names: Sequence[str]) -> None:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        with readable(name), quiet():
            self.model: Any = AutoModelForSequenceClassification.from_pretrained(name, dtype=torch.float32)
            self.tokenizer: Any = AutoTokenizer.from_pretrained(name)
        self.model.eval()
        self.order = class_order(self.model.config.id2label, label_names, name)

    def probabilities(self, texts: Sequence[str], advance: Advance | None = None) -> Floats:
        """Probability of every class for every text, ``(N, C)`` float32; bfloat16 where it is quick."""
        device = self.model.device
        found = np.zeros((len(texts), len(self.order)), dtype=np.float32)
        order = np.argsort([len(text) for text in texts], kind="stable")
        at_once = PADDED_TEXTS_CHUNK
        with (
            torch.inference_mode(),
            torch.autocast(device.type, dtype=torch.bfloat16, enabled=has_bfloat16(device)),
        ):
            for first in range(0, len(order), at_once):
                rows = order[first : first + at_once]
                batch = self.tokenizer(
                    [texts[row] for row in rows],
                    truncation=True,
                    max_length=TEACHER_TOKENS,
                    padding=True,
                    return_tensors="pt",
                )
                logits = self.model(**batch.to(device)).logits.float()
                found[rows] = softmax(logits.cpu().numpy()[:, self.order], False)
                if advance is not None:
                    advance(len(rows))
        return found


def outputs_of(name: str, texts: Sequence[str], advance: Advance | None = None) -> Floats:
    """A pre-trained encoder's output for each text, ``(N, D)`` float32: the mean over its tokens' states.

    Raises:
        ConfigError: the encoder cannot be had.
        MissingExtraError: transformers, or the package of MiniLM, is not installed.
    """
    teacher = FineTunedEncoder.untrained(name, 2)
    network = teacher.network.eval()
    with torch.no_grad():  # what is read out is the state itself
        network.head = torch.nn.Identity()  # type: ignore[assignment]
    width = int(network.embedding.embedding_dim)  # that of the states, as in BERT
    network.config = EncoderConfig(network.embedding.num_embeddings, width)
    found = [np.zeros((0, width), dtype=np.float32)]
    for first in range(0, len(texts), TEXTS_CHUNK):
        some = texts[first : first + TEXTS_CHUNK]
        found.append(network.logits(teacher.features(some)))
        if advance is not None:
            advance(len(some))
    return np.concatenate(found)


def whole_words(name: str) -> list[str]:
    """Words that an encoder's vocabulary has an entry for.

    Raises:
        ConfigError: the encoder cannot be had, or has no vocabulary of WordPieces.
        MissingExtraError: transformers, or the package of MiniLM, is not installed.
    """
    entries = PretrainedEncoder(name).features(WordPieceConfig()).vocabulary
    return [entry for entry in entries if entry.isalpha() and len(entry) > 1]


def class_order(named: dict[int, str], label_names: Sequence[str], where: str) -> list[int]:
    """Output of a classifier that stands for each of our classes, ``C`` numbers.

    Outputs without names (``LABEL_0``, ``LABEL_1``, ...) are taken in our order.

    Raises:
        ConfigError: the classes are not ours.
    """
    names = [str(named[i]) for i in range(len(named))]
    if len(names) == len(label_names):
        if set(names) == set(label_names):
            return [names.index(name) for name in label_names]
        if names == [f"LABEL_{i}" for i in range(len(names))]:
            return list(range(len(names)))
    raise ConfigError(
        f"expected a teacher of the classes {', '.join(label_names[:12])}, found {', '.join(names[:12])}",
        location=where,
        hint="name one that was fine-tuned on the same classes, or an encoder to be fine-tuned",
    )
