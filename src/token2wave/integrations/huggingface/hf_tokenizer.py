"""The features as a tokenizer: the same ids as a classifier's, in the form that ``transformers`` wants."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from transformers import BatchEncoding, PreTrainedTokenizer

from token2wave.errors import DataError, ModelFileError
from token2wave.features import (
    FeatureConfig,
    Features,
    Ragged,
    WordFeatures,
    WordPieceFeatures,
    features_from_file,
    fit_features,
)
from token2wave.features.wordpiece import CLS, PAD, SEP, UNKNOWN

FEATURES_FILE = "features.safetensors"
KEY = "token2wave"
INPUTS = ("input_ids", "token_type_ids", "attention_mask")
NO_LIMIT = 1 << 60  # what transformers calls a length without limit is larger
NOT_OFFERED = ("stride", "return_overflowing_tokens", "return_offsets_mapping", "text_target")


class WaveTokenizer(PreTrainedTokenizer):  # type: ignore[misc]
    """Turns texts into the rows that :class:`token2wave.Classifier` would look up, and nothing else.

    ``input_ids`` are rows of the embedding. With word features they are the words that are rows, in reading
    order (``token_type_ids`` 0), then the n-grams (``token_type_ids`` 1): they have no names but the numbers
    of their buckets, since words are hashed, and a word that is no row is left out. With WordPiece they are
    ``[CLS] pieces [SEP]``. Padding stands on the right, and ``[PAD]`` is no row unless the vocabulary has it.

    A special token's name in a text is text like any other.

    Args:
        features_file: what :meth:`save_vocabulary` wrote.
        features: take these instead of a file.
        options: what every tokenizer of ``transformers`` knows.

    Raises:
        ModelFileError: the file is missing or damaged.
    """

    vocab_files_names = {"features_file": FEATURES_FILE}  # noqa: RUF012
    model_input_names = list(INPUTS)  # noqa: RUF012
    padding_side = "right"

    def __init__(
        self, features_file: str | None = None, *, features: Features | None = None, **options: Any
    ) -> None:
        self.features = _read_features(features_file) if features is None else features
        if isinstance(self.features, WordFeatures):
            self._rows = {CLS: 0} if self.features.config.cls else {}
        else:
            self._rows = {entry: row for row, entry in enumerate(self.features.vocabulary)}
        named = {"pad_token": PAD, "cls_token": CLS, "sep_token": SEP, "unk_token": UNKNOWN}
        for name, token in named.items():
            if token == PAD or token in self._rows:
                options.setdefault(name, token)
        super().__init__(**options)

    @classmethod
    def fit(cls, texts: Sequence[str], config: FeatureConfig) -> WaveTokenizer:
        """Make a tokenizer from training texts.

        Args:
            texts: training texts.
            config: a :class:`token2wave.features.WordConfig` or ``WordPieceConfig``.

        Raises:
            DataError: no text holds a single word or symbol.
        """
        return cls(features=fit_features(texts, config)[0])

    # ---- texts to ids ----

    def __call__(
        self,
        text: str | Sequence[str] | Sequence[Sequence[str]],
        text_pair: None = None,
        *,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_special_tokens_mask: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        **others: Any,
    ) -> BatchEncoding:
        """Tokenise one text, or several.

        Arguments mean what they mean in ``transformers``. Nothing is ever cut, unless ``truncation`` and a
        length ask for it: then the first ``max_length`` features stay, and with WordPiece the last of them is
        [SEP].

        Args:
            text: a string, a list of strings, or lists of words with ``is_split_into_words``.
            text_pair: not offered: the network sees one text.
            add_special_tokens: false leaves out [CLS] and [SEP].
            padding: ``True`` or ``"longest"``, ``"max_length"``, or ``False``.
            truncation: ``True``, or whatever else is neither ``False`` nor ``"do_not_truncate"``.
            max_length: for padding and truncation.
            is_split_into_words: each text comes as a list of words, which blanks are put between.
            pad_to_multiple_of: round the padded length up.
            padding_side: ``right`` or ``left``.
            return_tensors: ``pt`` or ``np``.
            return_token_type_ids: false leaves them out.
            return_attention_mask: false leaves it out.
            return_special_tokens_mask: also say which ids are [CLS] and [SEP].
            return_length: also say how many ids each text has.
            verbose: as in ``transformers``; there is nothing to say.
            others: what other tokenizers know.

        Raises:
            DataError: text pairs, or an option that is not offered.
            TypeError: something else than strings.
        """
        asked = [name for name in NOT_OFFERED if others.get(name)]
        if text_pair is not None or asked:
            raise DataError(
                f"expected single texts, found the argument {', '.join(asked) or 'text_pair'}",
                hint="put what belongs together into one text",
            )
        texts, alone = _as_list(text, is_split_into_words)
        features = self.features(texts)
        limit = self._limit(padding, truncation, max_length)
        columns: dict[str, list[list[int]]] = {name: [] for name in (*INPUTS, "special_tokens_mask")}
        for ids, types, special in map(self._of_one, self._per_text(features)):
            keep = self._kept(ids, special, add_special_tokens, limit)
            columns["input_ids"].append(ids[keep].tolist())
            columns["token_type_ids"].append(types[keep].tolist())
            columns["attention_mask"].append([1] * len(keep))
            columns["special_tokens_mask"].append(special[keep].tolist())
        lengths = list(map(len, columns["input_ids"]))
        padded: Any = self.pad(
            columns,
            padding=padding,
            max_length=max_length,
            pad_to_multiple_of=pad_to_multiple_of,
            padding_side=padding_side,
            verbose=False,
        )
        wanted = dict(padded)
        if not return_special_tokens_mask:
            del wanted["special_tokens_mask"]
        for name, want in (
            ("token_type_ids", return_token_type_ids),
            ("attention_mask", return_attention_mask),
        ):
            if want is False or (want is None and name not in self.model_input_names):
                del wanted[name]
        if return_length:
            wanted["length"] = lengths
        return _encoding(wanted, alone, return_tensors)

    def encode(self, text: str, text_pair: None = None, **options: Any) -> list[int]:
        """Rows of one text."""
        ids: list[int] = self(text, text_pair, **options)["input_ids"]
        return ids

    def encode_plus(self, text: str, text_pair: None = None, **options: Any) -> BatchEncoding:
        """Tokenise one text; an older name of calling the tokenizer."""
        return self(text, text_pair, **options)

    def batch_encode_plus(self, batch_text_or_text_pairs: Sequence[str], **options: Any) -> BatchEncoding:
        """Tokenise several texts; an older name of calling the tokenizer."""
        return self(batch_text_or_text_pairs, **options)

    def tokenize(self, text: str, pair: None = None, add_special_tokens: bool = False, **_: Any) -> list[str]:
        """Names of a text's rows."""
        names: list[str] = self.convert_ids_to_tokens(
            self.encode(text, pair, add_special_tokens=add_special_tokens)
        )
        return names

    def _limit(
        self, padding: bool | str, truncation: bool | str | None, max_length: int | None
    ) -> int | None:
        """Most features of a text; None where nothing is cut. A length alone means that it is to be cut."""
        if truncation is None:
            return max_length if padding is False else None
        if truncation is False or truncation == "do_not_truncate":
            return None
        if max_length is None and self.model_max_length < NO_LIMIT:
            return int(self.model_max_length)
        return max_length

    def _per_text(self, features: Ragged) -> list[tuple[NDArray[np.int32], int]]:
        """Rows of each text, and how many of them are in reading order."""
        parts = np.split(features.ids, features.offsets[1:-1]) if len(features) else []
        return list(zip(parts, features.n_ordered.tolist(), strict=True))

    def _of_one(self, text: tuple[NDArray[np.int32], int]) -> tuple[NDArray[np.int32], ...]:
        """Rows of a text, whether each is an n-gram, and whether it is a special token."""
        ids, n_ordered = text
        types = (np.arange(len(ids)) >= n_ordered).astype(np.int32)
        special = np.zeros_like(types)
        if isinstance(self.features, WordPieceFeatures):
            special[[0, -1]] = 1
        elif self.features.config.cls:
            special[0] = 1
        return ids, types, special

    @staticmethod
    def _kept(
        ids: NDArray[np.int32], special: NDArray[np.int32], with_special: bool, limit: int | None
    ) -> NDArray[np.int64]:
        """Which features of a text stay."""
        keep = np.arange(len(ids)) if with_special else np.flatnonzero(special == 0)
        if limit is None or len(keep) <= limit:
            return keep
        ends_special = limit > 0 and len(keep) > 1 and special[keep[-1]] == 1
        return np.append(keep[: limit - 1], keep[-1]) if ends_special else keep[:limit]

    # ---- names of rows ----

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding; ``len(tokenizer)`` counts [PAD], too, where it is no row."""
        return self.features.n_rows

    def get_vocab(self) -> dict[str, int]:
        """Row of each name."""
        if isinstance(self.features, WordPieceFeatures):
            return {**self._rows, **self._added_tokens_encoder}
        first = len(self._rows)
        hashed = {f"<{bucket}>": row for row, bucket in enumerate(self.features.buckets.tolist(), first)}
        return {**self._rows, **hashed, **self._added_tokens_encoder}

    def _convert_token_to_id(self, token: str) -> int | None:
        if isinstance(self.features, WordPieceFeatures):
            return self._rows.get(token, self._rows[UNKNOWN])
        number = token[1:-1]
        if token != f"<{number}>" or not (number.isascii() and number.isdecimal()):
            return self._rows.get(token)
        place = int(np.searchsorted(self.features.buckets, int(number)))
        found = place < len(self.features.buckets) and self.features.buckets[place] == int(number)
        return place + len(self._rows) if found else None

    def _convert_id_to_token(self, index: int) -> str:
        if isinstance(self.features, WordPieceFeatures):
            return self.features.vocabulary[index]
        first = len(self._rows)
        return CLS if index < first else f"<{self.features.buckets[index - first]}>"

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Join pieces; what was hashed stays a number."""
        return " ".join(tokens).replace(" ##", "")

    # ---- files ----

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Write the features into a folder."""
        prefix = f"{filename_prefix}-" if filename_prefix else ""
        path = Path(save_directory) / (prefix + FEATURES_FILE)
        described = {"kind": self.features.kind, "settings": self.features.config.to_dict()}
        arrays = {name: np.ascontiguousarray(array) for name, array in self.features.arrays().items()}
        save_file(arrays, path, metadata={KEY: json.dumps(described, sort_keys=True)})
        return (str(path),)


def _as_list(text: Any, is_split_into_words: bool) -> tuple[list[str], bool]:
    """Texts, and whether it is one that stood alone."""
    if is_split_into_words and not isinstance(text, str):
        alone = not text or isinstance(text[0], str)
        texts = [" ".join(words) for words in ([text] if alone else text)]
    else:
        alone = isinstance(text, str)
        texts = [text] if alone else list(text)
    for i, one in enumerate(texts):
        if not isinstance(one, str):
            pair = isinstance(one, Sequence) and all(isinstance(part, str) for part in one)
            if pair:
                raise DataError(
                    f"expected single texts, found several strings at text[{i}]",
                    hint="put what belongs together into one text, or say is_split_into_words",
                )
            raise TypeError(f"expected strings, found {type(one).__name__} at text[{i}]")
    return texts, alone


def _encoding(columns: dict[str, Any], alone: bool, tensors: str | None) -> BatchEncoding:
    """As lists, or as tables of whole numbers, of whole numbers even where they are empty."""
    if alone and tensors is None:
        columns = {name: column[0] for name, column in columns.items()}
    elif tensors in ("pt", "np") and len(set(map(len, columns["input_ids"]))) <= 1:
        columns = {name: np.array(column, dtype=np.int64) for name, column in columns.items()}
        if tensors == "pt":
            import torch

            columns = {name: torch.from_numpy(column) for name, column in columns.items()}
    return BatchEncoding(columns, tensor_type=tensors)


def _read_features(path: str | None) -> Features:
    if path is None:
        raise ModelFileError(
            f"expected the file {FEATURES_FILE} beside the tokenizer's settings, found none",
            hint="save the tokenizer again, or copy the whole folder",
        )
    try:
        with safe_open(path, framework="numpy") as file:
            described = json.loads((file.metadata() or {})[KEY])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            kind, settings = str(described["kind"]), dict(described["settings"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelFileError(
            f"expected the features of a tokenizer, found a file that cannot be read ({error})",
            location=str(path),
            hint="save the tokenizer again, or copy the whole folder",
        ) from error
    return features_from_file(kind, settings, arrays)
