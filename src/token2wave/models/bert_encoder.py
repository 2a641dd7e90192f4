"""Pre-trained encoders such as BERT, through ``transformers``: teachers, and baselines of the paper."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from token2wave.config import require_choice
from token2wave.errors import ConfigError, MissingExtraError
from token2wave.features import WordPieceConfig, WordPieceFeatures
from token2wave.models.batch import Batch
from token2wave.models.encoder_sources import BERT_BASE, MINILM, source_of
from token2wave.models.text_network import TextNetwork
from token2wave.waves import segment_ids


@dataclass(frozen=True)
class EncoderConfig:
    """What training and prediction need of an encoder's configuration."""

    n_rows: int
    n_classes: int
    sentence_ends: tuple[int, ...] = ()


@dataclass(frozen=True)
class PretrainedEncoder:
    """A pre-trained encoder.

    Attributes:
        name: ``all-MiniLM-L6-v2``, which its own package contains; a folder; or a name on the hub.
    """

    name: str = MINILM

    @cached_property
    def source(self) -> str:
        """Folder of the weights, or name on the hub.

        Raises:
            MissingExtraError: MiniLM's package, or ``transformers``, is not installed.
        """
        if find_spec("transformers") is None:
            raise MissingExtraError("transformers", "encoders", purpose=f"the encoder {self.name}")
        return source_of(self.name)

    def features(self, config: WordPieceConfig) -> WordPieceFeatures:
        """Make features from the encoder's own vocabulary.

        Raises:
            ConfigError: the encoder has no WordPiece vocabulary, or cannot be loaded.
        """
        source = self.source  # first: it says what is not installed
        with readable(self.name):
            from transformers.utils.hub import cached_file

            path = cached_file(source, "vocab.txt")
        assert path is not None
        return WordPieceFeatures.from_file(Path(path), config)

    def token_embeddings(self) -> Tensor:
        """Return the token embeddings, ``(V, D)`` float32."""
        table: Tensor = self._encoder().get_input_embeddings().weight
        return table.detach().clone()

    def network(
        self, n_classes: int, seed: int, *, readout: str = "cls", random: bool = False, dropout: bool = True
    ) -> EncoderNetwork:
        """Make a classifier of the encoder with a random head.

        Args:
            n_classes: classes.
            seed: seed of the random numbers.
            readout: as in :class:`EncoderNetwork`.
            random: draw all weights at random, to measure cost alone.
            dropout: keep the encoder's own dropout. Its random numbers take a fifth of the time, and a single
                pass over the texts does not need it.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = self._encoder(random=random)
            for module in encoder.modules() if not dropout else ():
                if isinstance(module, nn.Dropout):
                    module.p = 0.0
            return EncoderNetwork(encoder, n_classes, readout)

    def _encoder(self, *, random: bool = False) -> Any:
        source = self.source  # first: it says what is not installed
        with readable(self.name), quiet():
            from transformers import AutoConfig, AutoModel, BertConfig

            if random and self.name == BERT_BASE:
                return AutoModel.from_config(BertConfig(attn_implementation="eager"))  # its defaults
            if random:
                config = AutoConfig.from_pretrained(source, attn_implementation="eager")
                return AutoModel.from_config(config)
            return AutoModel.from_pretrained(source, attn_implementation="eager", dtype=torch.float32)


class EncoderNetwork(TextNetwork):
    """A pre-trained encoder, dropout, and a linear head on one state of the text.

    Args:
        encoder: a model of ``transformers`` that takes ``inputs_embeds`` and ``attention_mask``.
        n_classes: classes, ``C``.
        readout: the text's state: ``cls``, the first token's state, as BERT was trained; or ``mean``, the
            mean over the tokens' states, as sentence encoders such as all-MiniLM-L6-v2 were trained.

    Raises:
        ConfigError: the read-out is unknown.
    """

    pads = True

    def __init__(self, encoder: Any, n_classes: int, readout: str = "cls") -> None:
        super().__init__()
        require_choice(readout, "readout", ("cls", "mean"))
        self.readout = readout
        if getattr(encoder, "pooler", None) is not None:
            encoder.pooler = None  # the head takes its place
        self.encoder = encoder
        self.embedding: nn.Embedding = encoder.get_input_embeddings()
        self.embedding.sparse = True  # the optimiser touches only the rows of a step
        self.embedding.padding_idx = None  # padding is masked
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(encoder.config.hidden_size, n_classes)
        with torch.no_grad():
            nn.init.normal_(self.head.weight, std=0.02)
            self.head.bias.zero_()
        self.config = EncoderConfig(self.embedding.num_embeddings, n_classes)

    def of_embedded(self, embedded: Tensor, batch: Batch) -> Tensor:
        """Compute logits ``(B, C)`` from the embeddings ``(U, D)`` of the distinct tokens."""
        tokens, mask = pad_texts(embedded.index_select(0, batch.index), batch.offsets)
        states = self.encoder(inputs_embeds=tokens, attention_mask=mask.long()).last_hidden_state
        state = states[:, 0]
        if self.readout == "mean":
            state = (states * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)
        logits: Tensor = self.head(self.dropout(state))
        return logits


def pad_texts(tokens: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Pad texts on the right; a batch of empty texts gets one empty position.

    Args:
        tokens: ``(T, ...)``, the tokens of all texts.
        offsets: ``(B + 1,)`` int64.

    Returns:
        The tokens, ``(B, L, ...)``, zero where a text has ended; and a mask of them, ``(B, L)`` bool.
    """
    n_texts = offsets.shape[0] - 1
    longest = max(1, int(offsets.diff().max())) if n_texts else 1
    text = segment_ids(offsets, tokens.shape[0])
    position = torch.arange(tokens.shape[0], device=tokens.device) - offsets[:-1].index_select(0, text)
    padded = tokens.new_zeros((n_texts, longest, *tokens.shape[1:])).index_put((text, position), tokens)
    mask = torch.zeros((n_texts, longest), dtype=torch.bool, device=tokens.device)
    mask[text, position] = True
    return padded, mask


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Report an encoder that cannot be loaded in one line."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"expected a pre-trained encoder, but it cannot be loaded ({reason})",
            location=name,
            hint=f"name {MINILM}, a folder with a transformers model, or a model on the hub",
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silence ``transformers`` while it loads."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars and not os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS"):
            logging.enable_progress_bar()
