"""Classifying a text as it comes in: states that grow, merge, and give words back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from token2wave.errors import ConfigError, DataError, ModelFileError
from token2wave.inference.model import Model
from token2wave.inference.passages import Codes, Passages
from token2wave.inference.prediction import Prediction
from token2wave.inference.reference import probabilities
from token2wave.inference.sums import Sums

BYTES_OF_A_CODE = 8
MAX_SUM = 1e15
NEAR = 64  # tokens looked at first for an edge
REMOVED_BEFORE_RENEWAL = 16  # times the tokens that are left; then the rounding of what came and went goes
KEY = "token2wave_state"


class State:
    """What a classifier knows of a text so far; made by :meth:`token2wave.Classifier.state`.

    Every :meth:`update` is a passage of whole words: the state stands for the passages with a blank between
    them, and predicts what :meth:`Classifier.predict` says of that text. (A text of WordPiece features is not
    cut at ``max_tokens`` here.)

    Args:
        model: its network must compile.
        removable: keep the text's tokens, 8 bytes each, so that words can be removed. Without it a state
            takes the same memory however long the text.

    Raises:
        ConfigError: the network does not compile.
    """

    def __init__(self, model: Model, removable: bool = True) -> None:
        self.model = model
        self._passages = Passages(model.features, model.compiled())
        nothing = np.zeros(0, dtype=np.uint64)
        self._sums = self._passages.sums([nothing])
        self._beginning, self._end = nothing, nothing
        self._journal = bytearray() if removable else None
        self.n_tokens = 0
        self._n_removed = 0  # since the sums were last computed from tokens

    def update(self, text: str) -> Self:
        """Add a passage at the end.

        Args:
            text: any string; its words are apart from those of the passages before and after.

        Raises:
            TypeError: it is no string.
        """
        if not isinstance(text, str):
            raise TypeError(f"expected a string, found {type(text).__name__}")
        self._append(self.model.features.tokens(text).codes)
        return self

    def merge(self, other: State) -> Self:
        """Add what another state stands for at the end; that one stays as it is.

        Raises:
            ConfigError: it belongs to another model, or does not keep its tokens while this one does.
        """
        if other.model is not self.model and other.fingerprint != self.fingerprint:
            raise ConfigError("expected a state of the same model", hint="make both from one model file")
        if self._journal is not None and other._journal is None:
            raise ConfigError(
                "expected a state that keeps its tokens, since this one does", hint="make both removable"
            )
        seam = self._passages.seam(self._end, other._beginning)
        self._sums = self._sums + other._sums + seam
        self._set_edges(other._beginning, other._end, other.n_tokens)
        self._n_removed += other._n_removed
        if self._journal is not None and other._journal is not None:
            self._journal += bytes(other._journal)  # a copy: it may be this state's own
        return self

    def remove(self, text: str) -> Self:
        """Take words out: the earliest place where they stand as they do in ``text``.

        The words on both sides become neighbours. A text without words changes nothing; part of a word is no
        word.

        Raises:
            DataError: the words do not stand in the state so.
            ConfigError: the state does not keep its tokens.
            TypeError: ``text`` is no string.
        """
        journal = self._kept()
        if not isinstance(text, str):
            raise TypeError(f"expected a string, found {type(text).__name__}")
        codes = self.model.features.tokens(text).codes
        wanted = codes.tobytes()
        place = journal.find(wanted)
        while place >= 0 and not self._stands_alone(place, len(wanted)):
            place = journal.find(wanted, place + 1)
        if place < 0:
            raise DataError(
                f"expected words that are in the state, found {text[:60]!r}", hint="remove what was added"
            )
        first = place // BYTES_OF_A_CODE
        self._cut(first, first + len(codes))
        return self

    def _stands_alone(self, place: int, size: int) -> bool:
        """Whether bytes of the journal are whole codes, and whole words."""
        if place % BYTES_OF_A_CODE:
            return False
        first, last = place // BYTES_OF_A_CODE, (place + size) // BYTES_OF_A_CODE
        edges = np.concatenate([self._codes(first, first + 1), self._codes(last, last + 1)])
        return bool(self.model.features.begins_word(edges).all())

    def remove_first(self, n_tokens: int) -> Self:
        """Take the first tokens out; all of them, if there are fewer.

        Raises:
            ConfigError: the state does not keep its tokens.
        """
        self._kept()
        self._cut(0, min(max(n_tokens, 0), self.n_tokens))
        return self

    def probabilities(self) -> NDArray[np.float32]:
        """Probability of every class, ``(C,)`` float32."""
        return probabilities(self._logits()[0], self._passages.tables.config.multi_label)

    def predict(self, top_k: int = 1) -> Prediction:
        """Classify the text so far; an empty one as :meth:`Classifier.predict` does, with its novelty."""
        logits = self._logits()
        shares = probabilities(logits[0], self._passages.tables.config.multi_label)
        found = self.model.prediction(shares.tolist(), top_k)
        return found._replace(novelty=self._novelty(logits))

    def novelty(self) -> float | None:
        """How unlike the training texts the text so far is; see :meth:`Classifier.novelty`."""
        return self._novelty(self._logits())

    def _logits(self) -> NDArray[np.float32]:
        return self._passages.tables.logits_of(self._sums)

    def _novelty(self, logits: NDArray[np.float32]) -> float | None:
        reference = self.model.novelty_reference
        if reference is None:
            return None
        n_known = self._sums.n_features.astype(np.int64)
        n_unknown = self.model.features.n_unknown(np.array([self.n_tokens]), n_known)
        return float(reference.novelty(n_unknown, n_known, logits)[0])

    # ---- tokens and sums ----

    def _append(self, codes: Codes) -> None:
        if not len(codes):
            return
        self._sums = self._passages.joined(self._sums, self._end, codes)
        self._set_edges(codes, codes, len(codes))
        if self._journal is not None:
            self._journal += codes.tobytes()

    def _set_edges(self, beginning: Codes, end: Codes, n_tokens: int) -> None:
        """Follow a passage that was added, given as its edges or whole."""
        near = self._passages.beginning_of
        self._beginning = near(np.concatenate([self._beginning, near(beginning)]))
        far = self._passages.end_of
        self._end = far(np.concatenate([self._end, far(end)]))
        self.n_tokens += n_tokens

    def _cut(self, first: int, last: int) -> None:
        """Take tokens number first .. last out."""
        before, after = self._end_at(first), self._beginning_at(last)
        middle = self._codes(first, last)
        self._sums = self._passages.without(self._sums, before, middle, after)
        del self._kept()[first * BYTES_OF_A_CODE : last * BYTES_OF_A_CODE]
        self.n_tokens -= last - first
        self._n_removed += last - first
        if self._n_removed > REMOVED_BEFORE_RENEWAL * self.n_tokens:  # a fixed share of the work done
            self._sums = self._passages.sums([self._codes(0, self.n_tokens)])
            self._n_removed = 0
        self._beginning, self._end = self._beginning_at(0), self._end_at(self.n_tokens)

    def _end_at(self, place: int) -> Codes:
        """End of the passage before a place; not more is looked at than is needed."""
        near = NEAR
        while True:
            end = self._passages.end_of(self._codes(max(place - near, 0), place))
            if near >= place or self._passages.is_edge(end):
                return end
            near *= 4

    def _beginning_at(self, place: int) -> Codes:
        """Beginning of the passage from a place on, likewise."""
        near = NEAR
        while True:
            beginning = self._passages.beginning_of(self._codes(place, min(place + near, self.n_tokens)))
            if place + near >= self.n_tokens or self._passages.is_edge(beginning):
                return beginning
            near *= 4

    def _codes(self, first: int, last: int) -> Codes:
        """Tokens first .. last; a copy, since a journal that is looked at cannot grow."""
        part = memoryview(self._kept())[first * BYTES_OF_A_CODE : last * BYTES_OF_A_CODE]
        return np.frombuffer(bytes(part), dtype=np.uint64)

    def _kept(self) -> bytearray:
        if self._journal is None:
            raise ConfigError(
                "the state does not keep its tokens, so none can be removed",
                hint="make it with removable=True",
            )
        return self._journal

    # ---- to other machines ----

    @property
    def fingerprint(self) -> int:
        """Number that tells models apart: states of different ones cannot be merged."""
        return self.model.fingerprint

    def to_bytes(self) -> bytes:
        """Pack the state, to be sent or stored; :meth:`Classifier.state_from_bytes` unpacks it."""
        arrays: dict[str, NDArray[Any]] = {
            "beginning": self._beginning,
            "end": self._end,
            **{field.name: np.ascontiguousarray(getattr(self._sums, field.name)) for field in fields(Sums)},
        }
        if self._journal is not None:
            arrays["journal"] = np.frombuffer(bytes(self._journal), dtype=np.uint64)
        header = {"fingerprint": self.fingerprint, "n_tokens": self.n_tokens}
        return save(arrays, metadata={KEY: json.dumps(header)})

    @classmethod
    def from_bytes(cls, model: Model, packed: bytes) -> State:
        """Unpack a state.

        Raises:
            ModelFileError: it is damaged, or belongs to another model.
            ConfigError: the model's network does not compile.
        """
        state = cls(model)
        try:
            arrays = load(packed)
            length = int.from_bytes(packed[:8], "little")
            header = json.loads(json.loads(packed[8 : 8 + length])["__metadata__"][KEY])
            sums = Sums(**{field.name: arrays[field.name] for field in fields(Sums)})
            edges = arrays["beginning"], arrays["end"]
            n_tokens, of_model = int(header["n_tokens"]), header["fingerprint"]
        except (SafetensorError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ModelFileError(
                f"expected a packed state, found something else ({error})", hint="pack it again with to_bytes"
            ) from error
        if of_model != state.fingerprint:
            raise ModelFileError(
                "expected a state of this model, found one of another", hint="load the model that made it"
            )
        journal = arrays.get("journal")
        state._check(sums, edges, n_tokens, journal)
        state._sums, (state._beginning, state._end), state.n_tokens = sums, edges, n_tokens
        state._journal = None if journal is None else bytearray(journal.tobytes())
        return state

    def _check(self, sums: Sums, edges: tuple[Codes, Codes], n_tokens: int, journal: Codes | None) -> None:
        """Hold what was unpacked against an empty state of the same model."""
        for field in fields(Sums):
            found, wanted = getattr(sums, field.name), getattr(self._sums, field.name)
            legal = found.shape == wanted.shape and found.dtype == wanted.dtype
            if not legal or not (np.abs(found) < MAX_SUM).all():
                raise ModelFileError(
                    f"expected sums {field.name!r} of shape {wanted.shape} and any sane size"
                )
        codes = [*edges] if journal is None else [*edges, journal]
        if any(part.dtype != np.uint64 or part.ndim != 1 for part in codes):
            raise ModelFileError("expected codes of tokens, found other numbers")
        if n_tokens < max(map(len, edges)) or (journal is not None and len(journal) != n_tokens):
            raise ModelFileError(f"expected {n_tokens} tokens, found another number")
        n_rows = self.model.features.n_rows
        if self.model.features.kind == "wordpiece" and any((part >= n_rows).any() for part in codes):
            raise ModelFileError(f"expected tokens below {n_rows}, found others")


class SlidingWindow:
    """Classifies the last tokens of an endless stream; made by :meth:`token2wave.Classifier.window`.

    Memory is that of ``n_tokens`` tokens, and a token costs the same work however long the stream.

    Args:
        model: its network must compile.
        n_tokens: how many of the last tokens count.

    Raises:
        ConfigError: the network does not compile, or ``n_tokens`` is not positive.
    """

    def __init__(self, model: Model, n_tokens: int) -> None:
        if n_tokens < 1:
            raise ConfigError(f"expected at least 1, found {n_tokens}", location="n_tokens")
        self.state = State(model)
        self.n_tokens = n_tokens

    def update(self, text: str) -> Self:
        """Add a passage of whole words at the end; the oldest tokens beyond the window go.

        Raises:
            TypeError: it is no string.
        """
        self.state.update(text)
        self.state.remove_first(self.state.n_tokens - self.n_tokens)
        return self

    def probabilities(self) -> NDArray[np.float32]:
        """Probability of every class, ``(C,)`` float32."""
        return self.state.probabilities()

    def predict(self, top_k: int = 1) -> Prediction:
        """Classify the window as it is now."""
        return self.state.predict(top_k)


def whole_words(chunks: Iterable[str]) -> Iterator[str]:
    """Cut a stream of chunks, which may end in the middle of a word, at white space.

    Args:
        chunks: strings as they come, e.g. from a socket.

    Yields:
        Passages of whole words for :meth:`State.update`; together they are the stream.
    """
    kept: list[str] = []  # the beginning of a word
    for chunk in chunks:
        tail = "" if not chunk or chunk[-1].isspace() else chunk.rsplit(maxsplit=1)[-1]
        cut = len(chunk) - len(tail)
        if cut:
            yield "".join([*kept, chunk[:cut]])
            kept = []
        if tail:
            kept.append(tail)
    if kept:
        yield "".join(kept)
