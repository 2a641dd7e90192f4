"""The features as a tokenizer of ``transformers``: it gives the rows that a classifier looks up."""

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

from token2wave.data.objects import to_list, to_texts
from token2wave.errors import DataError, InputError, ModelFileError
from token2wave.features import (
    PairFeatures,
    Ragged,
    TextFeatures,
    WordFeatures,
    WordPieceFeatures,
    describe_features,
    features_from_file,
)
from token2wave.features.wordpiece import CLS, PAD, SEP, UNKNOWN
from token2wave.storage.model_file import parse_header

FEATURES_FILE = "features.safetensors"
KEY = "token2wave"
INPUTS = ("input_ids", "token_type_ids", "attention_mask")
SPECIAL = "special_tokens_mask"
NO_LIMIT = 1 << 60  # transformers' value for "no maximum length" is larger
PAD_OPTIONS = ("pad_to_multiple_of", "padding_side")
UNSUPPORTED = ("stride", "return_overflowing_tokens", "return_offsets_mapping", "text_target")


class WaveTokenizer(PreTrainedTokenizer):  # type: ignore[misc]
    """Turns texts into the rows that :class:`token2wave.Classifier` looks up.

    ``input_ids`` are rows of the embedding. With word features, they are the known words in reading order
    (``token_type_ids`` 0), then the n-grams (``token_type_ids`` 1), then ids of the OOV table, if the model
    has one (2 for as many as there are tokens with such ids, then 3). Words are hashed, so a row's name is
    the number of its bucket; an unknown word has no row. With WordPiece, ``input_ids`` are ``[CLS] pieces
    [SEP]``. ``[PAD]`` has no row unless the vocabulary contains it. A special token's name in a text is
    ordinary text.

    Args:
        features_file: file that :meth:`save_vocabulary` wrote.
        features: features to use instead of a file.
        options: options of every tokenizer of ``transformers``.

    Raises:
        ModelFileError: the file is missing or damaged.
    """

    vocab_files_names = {"features_file": FEATURES_FILE}  # noqa: RUF012
    model_input_names = list(INPUTS)  # noqa: RUF012
    padding_side = "right"

    def __init__(
        self, features_file: str | None = None, *, features: TextFeatures | None = None, **options: Any
    ) -> None:
        self.features = _read_features(features_file) if features is None else features
        if isinstance(self.features, WordFeatures):
            self._row_names = [CLS] if self.features.config.cls else []
            self._row_names += [f"<{bucket}>" for bucket in self.features.buckets.tolist()]
            self._row_names += [f"<oov {hashed}>" for hashed in self.features.oov_hashes.tolist()]
        else:
            self._row_names = list(self.features.vocabulary)
        self._rows = {name: row for row, name in enumerate(self._row_names)}
        special_tokens = {"pad_token": PAD, "cls_token": CLS, "sep_token": SEP, "unk_token": UNKNOWN}
        for name, token in special_tokens.items():
            if token == PAD or token in self._rows:
                options.setdefault(name, token)
        super().__init__(**options)

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
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_special_tokens_mask: bool = False,
        return_length: bool = False,
        **options: Any,
    ) -> BatchEncoding:
        """Tokenise one text or several.

        The arguments are those of every tokenizer of ``transformers``. Texts are cut only if ``max_length``
        or ``model_max_length`` asks for it: the first features stay, and with WordPiece the last one is
        [SEP].

        Args:
            text: a string, a list of strings, or lists of words with ``is_split_into_words``.
            text_pair: not supported, because the network sees one text.
            add_special_tokens: whether to include [CLS] and [SEP].
            padding: ``True`` or ``"longest"``, ``"max_length"``, or ``False``.
            truncation: ``False`` and ``"do_not_truncate"`` cut nothing.
            max_length: number of ids to pad and truncate to.
            is_split_into_words: whether each text is a list of words, to be joined by spaces.
            return_tensors: ``pt`` or ``np``; lists, if None.
            return_token_type_ids: false leaves them out.
            return_attention_mask: false leaves it out.
            return_special_tokens_mask: also return which ids are [CLS] and [SEP].
            return_length: also return the number of ids of each text.
            options: ``pad_to_multiple_of``, ``padding_side``, and other options of tokenizers.

        Raises:
            DataError: text pairs, or an unsupported option.
            InputError: a text is not a string.
        """
        unsupported = [name for name in UNSUPPORTED if options.get(name)]
        if text_pair is not None or unsupported:
            raise DataError(
                f"expected single texts, found the argument {', '.join(unsupported) or 'text_pair'}",
                hint="join what belongs together into one text",
            )
        texts, is_single = _to_texts(text, is_split_into_words)
        limit = self._limit(padding, truncation, max_length)
        columns = self._columns(self.features(texts), add_special_tokens, limit)
        lengths = list(map(len, columns["input_ids"]))
        pad_options = {name: options[name] for name in PAD_OPTIONS if name in options}
        padded = dict(self.pad(columns, padding=padding, max_length=max_length, verbose=False, **pad_options))
        choices = (return_token_type_ids, return_attention_mask, return_special_tokens_mask)
        for name, is_returned in zip((*INPUTS[1:], SPECIAL), choices, strict=True):
            if not (name in self.model_input_names if is_returned is None else is_returned):
                del padded[name]
        if return_length:
            padded["length"] = lengths
        return _encoding(padded, is_single, return_tensors)

    encode_plus = batch_encode_plus = __call__  # older names

    def encode(self, text: str, text_pair: None = None, **options: Any) -> list[int]:
        """Return the rows of one text."""
        ids: list[int] = self(text, text_pair, **options)["input_ids"]
        return ids

    def tokenize(self, text: str, pair: None = None, add_special_tokens: bool = False, **_: Any) -> list[str]:
        """Return the names of a text's rows."""
        return [
            self._row_names[row] for row in self.encode(text, pair, add_special_tokens=add_special_tokens)
        ]

    def _limit(
        self, padding: bool | str, truncation: bool | str | None, max_length: int | None
    ) -> int | None:
        """Largest number of features of a text; None to cut nothing."""
        if truncation is None:  # a length without padding is a length to truncate to
            return max_length if padding is False else None
        if truncation is False or truncation == "do_not_truncate":
            return None
        if max_length is None and self.model_max_length < NO_LIMIT:
            return int(self.model_max_length)
        return max_length

    def _columns(
        self, features: Ragged, add_special_tokens: bool, limit: int | None
    ) -> dict[str, list[list[int]]]:
        """Return the ids, types and masks of each text, without padding."""
        if isinstance(self.features, WordPieceFeatures):
            special_positions = [0, -1]
        else:
            special_positions = [0] if self.features.config.cls else []
        columns: dict[str, list[list[int]]] = {name: [] for name in (*INPUTS, SPECIAL)}
        types = (~features.is_ordered).astype(np.int32)
        if features.n_oov_tokens is not None:
            n_oov = features.lengths - features.rows(self.features.n_rows).lengths
            first = np.repeat(
                features.offsets[1:] - n_oov, n_oov
            )  # of the ids of the OOV table, of each of these
            position = np.flatnonzero(features.ids >= self.features.n_rows)
            types[position] = 3 - (position < first + np.repeat(features.n_oov_tokens, n_oov))
        for first, last in zip(features.offsets[:-1], features.offsets[1:], strict=True):
            special = np.zeros(last - first, dtype=np.int32)
            special[special_positions] = 1
            positions = _select(special, add_special_tokens, limit)
            columns["input_ids"].append(features.ids[first:last][positions].tolist())
            columns["token_type_ids"].append(types[first:last][positions].tolist())
            columns["attention_mask"].append([1] * len(positions))
            columns[SPECIAL].append(special[positions].tolist())
        return columns

    # ---- names of rows ----

    @property
    def vocab_size(self) -> int:
        """Rows and ids of the OOV table; ``len(tokenizer)`` also counts a [PAD] without a row."""
        return len(self._row_names)

    def get_vocab(self) -> dict[str, int]:
        """Return the row of each name."""
        return {**self._rows, **self._added_tokens_encoder}

    def _convert_token_to_id(self, token: str) -> int | None:
        return self._rows.get(token, self._rows.get(UNKNOWN))

    def _convert_id_to_token(self, index: int) -> str:
        return self._row_names[index]

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Join pieces of words; buckets of hashed words stay numbers."""
        return " ".join(tokens).replace(" ##", "")

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Write the features into a folder."""
        prefix = f"{filename_prefix}-" if filename_prefix else ""
        path = Path(save_directory) / (prefix + FEATURES_FILE)
        arrays = {name: np.ascontiguousarray(array) for name, array in self.features.arrays().items()}
        metadata = {KEY: json.dumps(describe_features(self.features), sort_keys=True)}
        save_file(arrays, path, metadata=metadata)
        return (str(path),)


def _to_texts(text: Any, is_split_into_words: bool) -> tuple[list[str], bool]:
    """Return a list of texts, and whether the argument was a single text."""
    if is_split_into_words and not isinstance(text, str):
        is_single = not text or isinstance(text[0], str)
        texts = [" ".join(words) for words in ([text] if is_single else text)]
    else:
        is_single = isinstance(text, str)
        texts = [text] if is_single else to_list(text, "text")
    for i, entry in enumerate(texts):
        if isinstance(entry, list | tuple):
            raise InputError(
                "expected one string, found several",
                location=f"text[{i}]",
                hint="join what belongs together into one text, or set is_split_into_words",
            )
    return to_texts(texts, "text"), is_single


def _select(special: NDArray[np.int32], add_special_tokens: bool, limit: int | None) -> NDArray[np.int64]:
    """Return the positions of a text's features that stay, at most ``limit``."""
    positions = np.arange(len(special)) if add_special_tokens else np.flatnonzero(special == 0)
    if limit is None or len(positions) <= limit:
        return positions
    ends_special = limit > 0 and len(positions) > 1 and special[positions[-1]] == 1
    return np.append(positions[: limit - 1], positions[-1]) if ends_special else positions[:limit]


def _encoding(columns: dict[str, Any], is_single: bool, tensors: str | None) -> BatchEncoding:
    """Return lists, or tensors of integers; transformers would make empty ones floating point."""
    if is_single and tensors is None:
        columns = {name: column[0] for name, column in columns.items()}
    elif tensors in ("pt", "np") and len(set(map(len, columns["input_ids"]))) <= 1:
        columns = {name: np.array(column, dtype=np.int64) for name, column in columns.items()}
        if tensors == "pt":
            import torch

            columns = {name: torch.from_numpy(column) for name, column in columns.items()}
    return BatchEncoding(columns, tensor_type=tensors)


def _read_features(path: str | None) -> TextFeatures:
    hint = "save the tokenizer again, or copy the whole folder"
    if path is None:
        problem = f"expected the file {FEATURES_FILE} beside the tokenizer's settings, found none"
        raise ModelFileError(problem, hint=hint)
    try:
        with safe_open(path, framework="numpy") as file:
            header = parse_header((file.metadata() or {})[KEY])
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            name, settings = str(header["kind"]), dict(header["settings"])
    except (
        OSError,
        SafetensorError,
        ModelFileError,
        KeyError,
        TypeError,
        ValueError,
        RecursionError,
    ) as error:
        problem = f"expected the features of a tokenizer, found a file that cannot be read ({error})"
        raise ModelFileError(problem, location=str(path), hint=hint) from error
    features = features_from_file(name, settings, arrays)
    if isinstance(features, PairFeatures):
        raise ModelFileError("expected features of single texts, found those of pairs", location=str(path))
    return features
