"""Teachers of the BERT family, through ``transformers``: encoders to fine-tune, and saved classifiers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch.nn.functional import cross_entropy, normalize

from token2wave.distillation.cache import TeacherCache, cached_outputs, hash_checkpoint, hash_training
from token2wave.distillation.encoder_settings import (
    MAX_TOKENS,
    READOUT,
    SEED,
    fine_tuning_recipe,
    fine_tuning_settings,
)
from token2wave.distillation.stack import Predict
from token2wave.errors import ConfigError
from token2wave.features import WordPieceConfig, WordPieceFeatures
from token2wave.inference.reference import probabilities as softmax
from token2wave.models.bert_encoder import EncoderConfig, EncoderNetwork, PretrainedEncoder, quiet, readable
from token2wave.models.encoder_sources import source_of
from token2wave.models.text_network import PADDED_TEXTS_CHUNK
from token2wave.storage.atomic import atomic_write, make_folder
from token2wave.training.callbacks import Callback, CallbackList
from token2wave.training.cross_validation import FOLDS
from token2wave.training.examples import Examples
from token2wave.training.loop import fit
from token2wave.training.torch_trainer import has_bfloat16

TEXTS_CHUNK = 2_048
COSTS = (10.0,)
COST = 10.0  # of an error in logistic regression, scikit-learn's C
ITERATIONS = 100
TINY = 1e-9  # the least probability that a logarithm is taken of

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


class EncoderVectors:
    """Vectors of texts by a frozen encoder. Those of the data's rows are cached.

    Args:
        name: of the encoder.
        rows: texts of the data.
        callback_list: called as the work goes on.
    """

    def __init__(self, name: str, rows: Sequence[str], callback_list: CallbackList) -> None:
        self.name, self.callback_list = name, callback_list
        self._known = cached_outputs(name, rows, self._compute, of_texts=True)
        self._last: tuple[Sequence[str], torch.Tensor] | None = None

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        """Return the vectors of ``N`` texts, ``(N, D)``; those of the last call at once."""
        if self._last is None or self._last[0] is not texts:
            known, new = self._known, self._known.missing(texts)
            if new:
                known = known.with_more(new, self._compute(new))
            self._last = texts, torch.from_numpy(known.of(texts))
        return self._last[1]

    def _compute(self, texts: list[str]) -> Floats:
        self.callback_list.stage("the encoder's vectors", len(texts))
        return encode_texts(self.name, texts, self.callback_list.advance, bfloat16=True)


@dataclass(frozen=True)
class FrozenMember:
    """Multinomial logistic regression on the vectors of a frozen encoder: a member of a stack."""

    title: ClassVar = "frozen encoder"
    vectors: EncoderVectors
    n_folds: int = FOLDS

    def fit(self, train: Examples, n_classes: int) -> Predict:
        """Train on some rows."""
        weights = fit_head(self.vectors(train.texts), train, n_classes)

        def predict(texts: Sequence[str]) -> NDArray[np.float64]:
            inputs = normalize(self.vectors(texts), dim=1)
            return (inputs @ weights[:, :-1].T + weights[:, -1]).double().numpy()[None]

        return predict


@dataclass(frozen=True)
class FineTunedMember:
    """An encoder fine-tuned to the rows, from the head for its frozen vectors (arXiv 2202.10054)."""

    title: ClassVar = "fine-tuned encoder"
    vectors: EncoderVectors
    n_folds: int

    def fit(self, train: Examples, n_classes: int) -> Predict:
        """Fine-tune to some rows, unless their weights are cached."""
        encoder, vectors = FineTunedEncoder(self.vectors.name, n_classes), self.vectors(train.texts)
        settings = {
            **fine_tuning_settings(len(train)),
            "checkpoint": hash_checkpoint(source_of(self.vectors.name)),
        }
        settings |= {"weights": None if train.weights is None else train.weights.tolist()}
        cache = TeacherCache(self.vectors.name, hash_training(settings, train.texts, train.labels))
        path = cache.path(".safetensors")
        try:
            encoder.load(path)
        except (SafetensorError, RuntimeError, OSError):  # there is none, or it is damaged
            weights = fit_head(vectors, train, n_classes)
            encoder = FineTunedEncoder(self.vectors.name, n_classes)
            with torch.no_grad():
                encoder.network.head.weight.copy_(weights[:, :-1] / vectors.norm(dim=1).mean())
                encoder.network.head.bias.copy_(weights[:, -1])
            encoder.fit(train.texts, train.labels, train.weights, self.vectors.callback_list.callbacks)
            make_folder(path.parent)
            encoder.save(path)

        def predict(texts: Sequence[str]) -> NDArray[np.float64]:
            return np.log(np.maximum(encoder.probabilities(texts), TINY)).astype(np.float64)[None]

        return predict


def fit_head(vectors: torch.Tensor, train: Examples, n_classes: int) -> torch.Tensor:
    """Fit multinomial logistic regression to vectors ``(N, D)``, scaled to length one.

    Returns:
        The weights and, last, the bias, ``(C, D + 1)``.
    """
    inputs, labels = normalize(vectors, dim=1), torch.from_numpy(train.labels)
    counts = torch.ones(len(train)) if train.weights is None else torch.from_numpy(train.weights)
    head = torch.zeros((n_classes, inputs.shape[1] + 1), requires_grad=True)
    optimizer = torch.optim.LBFGS([head], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        losses = cross_entropy(inputs @ head[:, :-1].T + head[:, -1], labels, reduction="none")
        value = (losses @ counts + head[:, :-1].square().sum() / (2 * COST)) / counts.sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return head.detach()


def encode_texts(
    name: str, texts: Sequence[str], advance: Advance | None = None, *, bfloat16: bool = False
) -> Floats:
    """Return a pre-trained encoder's output for each text, ``(N, D)`` float32: the mean of its states."""
    encoder = FineTunedEncoder(name, 2)
    network = encoder.network.eval()
    network.head = torch.nn.Identity()  # type: ignore[assignment]  # the state itself is the output
    width = int(network.embedding.embedding_dim)  # that of the states, as in BERT
    network.config = EncoderConfig(network.embedding.num_embeddings, width)
    device = network.embedding.weight.device
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bfloat16 and has_bfloat16(device)):
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
