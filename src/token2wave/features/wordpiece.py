"""WordPiece, through the ``tokenizers`` library: from a vocabulary file, or trained on the texts.

The library is imported only when it is used: models of word features do without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from token2wave.config import Configuration, require
from token2wave.errors import DataError, ModelFileError, import_extra
from token2wave.features.ragged import Ragged, offsets_of
from token2wave.features.tokens import Spans, Tokens
from token2wave.features.words import SENTENCE_ENDS, no_words

if TYPE_CHECKING:
    from tokenizers import Tokenizer

UNKNOWN, CLS, SEP, PAD, MASK = SPECIAL = ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")
TEXTS_CHUNK = 2_000
MAX_ENTRIES, MAX_BYTES = 1 << 18, 16 << 20  # of a vocabulary
LONGEST_WORD = 100  # BERT's: a longer word becomes [UNK]


@dataclass(frozen=True)
class WordPieceConfig(Configuration):
    """Settings of the WordPiece features.

    Attributes:
        vocabulary_size: number of entries to train, if no vocabulary is given (BERT's: 30,522).
        lowercase: lower-case the text and strip accents, as ``bert-base-uncased`` does.
        max_tokens: length at which a text is cut, with [CLS] and [SEP].
        vocabulary: origin of the vocabulary, for the record: ``"trained"`` or the name of a file.
        cls: every text starts with [CLS].
    """

    cls: ClassVar[bool] = True
    vocabulary_size: int = 30_522
    lowercase: bool = True
    max_tokens: int = 512
    vocabulary: str = "trained"

    def __post_init__(self) -> None:
        legal = 3 <= self.vocabulary_size <= MAX_ENTRIES
        require(legal, "vocabulary_size", "a number from 3 to 2^18", self.vocabulary_size)
        require(3 <= self.max_tokens <= 1 << 20, "max_tokens", "a number from 3 to 2^20", self.max_tokens)


class WordPieceFeatures:
    """Maps texts to ``[CLS] pieces [SEP]``.

    Args:
        config: the settings.
        vocabulary: the entries, in the order of the rows.
    """

    type_name = "wordpiece"

    def __init__(self, config: WordPieceConfig, vocabulary: Sequence[str]) -> None:
        self.config = config
        self.vocabulary = tuple(vocabulary)
        self.tokenizer = _tokenizer(config, self.vocabulary)

    @classmethod
    def fit(cls, texts: Sequence[str], config: WordPieceConfig) -> WordPieceFeatures:
        """Train a vocabulary on the texts. The same texts give the same vocabulary.

        Raises:
            DataError: no text has a word or symbol.
        """
        tokenizer = _tokenizer(config, SPECIAL)
        from tokenizers import trainers

        # Listed here, because the trainer numbers inner letters in the order of a hash table.
        letters = _inner_letters(tokenizer, texts)
        trainer = trainers.WordPieceTrainer(
            vocab_size=config.vocabulary_size, special_tokens=[*SPECIAL, *letters], show_progress=False
        )
        tokenizer.train_from_iterator(map(_encodable, texts), trainer)
        rows = tokenizer.get_vocab()
        if len(rows) == len(SPECIAL):
            raise no_words(len(texts))
        return cls(config, sorted(rows, key=rows.__getitem__))

    @classmethod
    def from_file(cls, path: Path, config: WordPieceConfig) -> WordPieceFeatures:
        """Read a ``vocab.txt``: one entry a line, in the order of the rows.

        Raises:
            DataError: the file is missing, not UTF-8, lacks a special entry, or repeats one.
        """
        hint = "give the vocab.txt of a BERT model, or leave the vocabulary out to train one"
        try:
            entries = path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            problem = f"expected a vocabulary file of UTF-8 text, but it cannot be read ({reason})"
            raise DataError(problem, location=str(path), hint=hint) from error
        entries = [entry.rstrip("\r") for entry in entries]
        if missing := [entry for entry in (UNKNOWN, CLS, SEP) if entry not in entries]:
            problem = f"expected a WordPiece vocabulary, one entry a line, found none of {', '.join(missing)}"
            raise DataError(problem, location=str(path), hint=hint)
        if len(set(entries)) != len(entries):
            repeated = next(entry for i, entry in enumerate(entries) if entry in entries[:i])
            raise DataError(f"expected every entry once, found {repeated!r} twice", location=str(path))
        return cls(config.replace(vocabulary=path.name, vocabulary_size=len(entries)), entries)

    @property
    def n_rows(self) -> int:
        """Rows of the embedding that the features need."""
        return len(self.vocabulary)

    @property
    def sentence_ends(self) -> tuple[int, ...]:
        """Rows of the tokens that end a sentence, if the vocabulary has them."""
        return tuple(row for row, entry in enumerate(self.vocabulary) if entry in SENTENCE_ENDS)

    def __call__(self, texts: Sequence[str], advance: Callable[[int], None] | None = None) -> Ragged:
        """Turn ``B`` texts into features, on all cores; see :class:`WordFeatures`."""
        ids = [np.zeros(0, dtype=np.int32)]
        for first in range(0, len(texts), TEXTS_CHUNK):
            chunk = [_encodable(text) for text in texts[first : first + TEXTS_CHUNK]]
            encodings = self.tokenizer.encode_batch_fast(chunk)
            ids += [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]
            if advance is not None:
                advance(len(chunk))
        n_features = np.array(list(map(len, ids[1:])), dtype=np.int64)
        return Ragged(np.concatenate(ids), offsets_of(n_features), n_features)

    n_special = 2
    """Features that every text has: [CLS] and [SEP]."""

    def with_unknown(
        self, texts: Sequence[str], advance: Callable[[int], None] | None = None
    ) -> tuple[Ragged, NDArray[np.int64]]:
        """Turn texts into features, and count those of each text that have no row, ``(B,)``: none."""
        features = self(texts, advance)
        return features, self.n_unknown(features.lengths, features.lengths)

    def n_unknown(self, n_ngrams: NDArray[np.int64], n_features: NDArray[np.int64]) -> NDArray[np.int64]:
        """Count the features of each text that have no row, ``(B,)``: none."""
        return np.zeros(len(n_ngrams), dtype=np.int64)

    def n_known(self, features: Ragged) -> NDArray[np.int64]:
        """Count the pieces of each text, ``(B,)``, without [UNK], [CLS] and [SEP]."""
        special = [self.vocabulary.index(entry) for entry in (UNKNOWN, CLS, SEP)]
        n_known = offsets_of(~np.isin(features.ids, special))
        return n_known[features.offsets[1:]] - n_known[features.offsets[:-1]]

    def tokens(self, text: str) -> Tokens:
        """Cut one text of any length into pieces, with rows as codes, without [CLS] and [SEP]."""
        encoding = self._whole_texts.encode(_encodable(text), add_special_tokens=False)
        bounds = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
        words = np.array(encoding.word_ids, dtype=np.int64)
        return Tokens(np.array(encoding.ids, dtype=np.uint64), bounds[:, 0], bounds[:, 1], words)

    @cached_property
    def _whole_texts(self) -> Tokenizer:
        """The tokenizer without a limit of length."""
        tokenizer = _tokenizer(self.config, self.vocabulary)
        tokenizer.no_truncation()
        return tokenizer

    def of_tokens(self, codes: NDArray[np.uint64], offsets: NDArray[np.int64]) -> Ragged:
        """Turn the tokens of texts into features: add [CLS] and [SEP], and cut nothing."""
        rows = {name: self.vocabulary.index(name) for name in (CLS, SEP)}
        ids = np.insert(codes.astype(np.int32), offsets[:-1], rows[CLS])
        ends = offsets[1:] + np.arange(1, len(offsets))
        ids = np.insert(ids, ends, rows[SEP])
        lengths = np.diff(offsets) + 2
        return Ragged(ids, offsets_of(lengths), lengths)

    def count_tokens(
        self, codes: NDArray[np.uint64], offsets: NDArray[np.int64]
    ) -> tuple[Ragged, NDArray[np.int64]]:
        """Turn the tokens of texts into features, and count the features of each text, ``(B,)``."""
        features = self.of_tokens(codes, offsets)
        return features, features.lengths

    def known(self, codes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Whether each token has a row, ``(N,)``: all have."""
        return np.ones(len(codes), dtype=bool)

    def begins_word(self, codes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Whether each token begins a word, ``(N,)``."""
        return np.array([not self.vocabulary[code].startswith("##") for code in codes.tolist()], dtype=bool)

    def spans(self, codes: NDArray[np.uint64]) -> Spans:
        """Return the features of one text, and the token that each covers."""
        return Spans(codes.astype(np.int32), np.arange(len(codes)), np.ones(len(codes), dtype=np.int64))

    ngrams, reach = 1, 0

    def arrays(self) -> dict[str, NDArray[np.uint8]]:
        """Return what the model file stores beside the settings: the entries as UTF-8 lines."""
        return {"vocabulary": np.frombuffer("\n".join(self.vocabulary).encode(), dtype=np.uint8)}

    @classmethod
    def from_arrays(cls, config: WordPieceConfig, arrays: dict[str, NDArray[np.uint8]]) -> WordPieceFeatures:
        """Rebuild the features of a model file.

        Raises:
            ModelFileError: the vocabulary is missing, damaged, or lacks a special entry.
        """
        encoded = arrays.get("vocabulary")
        if encoded is None or encoded.dtype != np.uint8:
            raise ModelFileError("expected the vocabulary of the WordPiece features, found none")
        if len(encoded) > MAX_BYTES or np.count_nonzero(encoded == ord("\n")) >= MAX_ENTRIES:
            raise ModelFileError(f"expected a vocabulary of at most {MAX_ENTRIES:,} entries, found more")
        try:
            entries = encoded.tobytes().decode().split("\n")
        except UnicodeDecodeError as error:
            raise ModelFileError(f"expected a vocabulary of UTF-8 text: {error}") from error
        if len(set(entries)) != len(entries) or not {UNKNOWN, CLS, SEP} <= set(entries):
            raise ModelFileError("expected distinct vocabulary entries with [UNK], [CLS] and [SEP]")
        return cls(config, entries)


def _tokenizer(config: WordPieceConfig, vocabulary: Sequence[str]) -> Tokenizer:
    """Make a tokenizer with the settings of ``bert-base-uncased`` (or cased) and a vocabulary."""
    with import_extra("wordpiece", "WordPiece", "tokenizers"):
        from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    rows = {entry: row for row, entry in enumerate(vocabulary)}
    pieces = models.WordPiece(rows, unk_token=UNKNOWN, max_input_chars_per_word=LONGEST_WORD)
    tokenizer = Tokenizer(pieces)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=config.lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing((SEP, rows[SEP]), (CLS, rows[CLS]))
    tokenizer.enable_truncation(config.max_tokens)
    return tokenizer


def _inner_letters(tokenizer: Tokenizer, texts: Sequence[str]) -> list[str]:
    """Return the sorted pieces ``##c`` of all letters inside words."""
    letters: set[str] = set()
    for text in texts:
        normalized = tokenizer.normalizer.normalize_str(_encodable(text))
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normalized):
            letters.update(word[1:])
    return sorted("##" + letter for letter in letters)


def _encodable(text: str) -> str:
    """Replace lone surrogates, which UTF-8 cannot hold."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
