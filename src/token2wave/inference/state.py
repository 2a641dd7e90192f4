"""Classifies a text while it arrives: states that grow, merge and drop words, and sliding windows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from token2wave.errors import ConfigError, DataError, ModelFileError, require_text
from token2wave.features.ragged import Ragged, offsets_of
from token2wave.features.tokens import Tokens
from token2wave.inference.model import Model
from token2wave.inference.passages import Codes, Passages
from token2wave.inference.prediction import Prediction
from token2wave.inference.reference import probabilities
from token2wave.inference.sums import Sums
from token2wave.inference.vectors import to_vectors

CODE_BYTES = 8
MAX_SUM = 1e15
MAX_HEADER = 1 << 16  # bytes of a packed state's header, which has about two thousand
EDGE_TOKENS = 64  # read first when looking for the end or start of a passage
MAX_REMOVED = 16  # times the tokens left; then the sums are computed anew, which drops rounding errors
KEY = "token2wave_state"


class State:
    """A text so far; made by :meth:`token2wave.Classifier.state`.

    Every :meth:`update` adds a passage of whole words. The state predicts what :meth:`Classifier.predict`
    gives for the passages joined by blanks. (A WordPiece text is not cut at ``max_tokens`` here.)

    Args:
        model: a model whose network compiles.
        removable: keep the tokens, 8 bytes each, so that words can be removed. Without them, a state takes
            the same memory however long the text.

    Raises:
        ConfigError: the network does not compile, or the model reads pairs; or it has a window level, which
            needs the tokens.
    """

    def __init__(self, model: Model, removable: bool = True) -> None:
        self.model = model
        if model.network.config.window_words and not removable:
            problem = "expected a removable state, since the windows of the model need the tokens"
            raise ConfigError(problem, location="removable", hint="leave out removable=False")
        self._features = model.require_texts("state")
        self._passages = Passages(self._features, model.compiled())
        nothing = np.zeros(0, dtype=np.uint64)
        self._sums = self._passages.sums([nothing])
        self._start, self._end = nothing, nothing
        self._journal = bytearray() if removable else None
        # Of the tokens of the journal: the number of ids of the OOV table, at most 254, and these ids.
        self._oov_counts, self._oov_ids = bytearray(), bytearray()
        self.n_tokens = 0
        self._n_removed = 0  # since the sums were last computed from tokens

    def update(self, text: str) -> Self:
        """Add a passage at the end.

        Args:
            text: any string; it does not share words with its neighbours.

        Raises:
            InputError: it is not a string.
        """
        tokens = self._tokens(text)
        self._append(tokens.codes, tokens.oov)
        return self

    def _append(self, codes: Codes, oov: Ragged | None = None) -> None:
        if len(codes):
            self._sums = self._passages.add_oov(self._passages.join(self._sums, self._end, codes), oov)
            self._set_edges(codes, codes, len(codes))
            if self._journal is not None:
                self._journal += codes.tobytes()
                if oov is not None:
                    self._oov_counts += oov.lengths.astype(np.uint8).tobytes()
                    self._oov_ids += oov.ids.tobytes()

    def _tokens(self, text: str) -> Tokens:
        require_text(text)
        return self._features.tokens(text)

    def merge(self, other: State) -> Self:
        """Add the text of another state at the end. The other state does not change.

        Raises:
            ConfigError: it belongs to another model, or keeps no tokens while this one does.
        """
        if other.model is not self.model and other.fingerprint != self.fingerprint:
            raise ConfigError("expected a state of the same model", hint="make both from one model file")
        if self._journal is not None and other._journal is None:
            raise ConfigError(
                "expected a removable state, because this one is removable", hint="make both removable"
            )
        seam = self._passages.seam(self._end, other._start)
        self._sums = self._sums + other._sums + seam
        self._set_edges(other._start, other._end, other.n_tokens)
        self._n_removed += other._n_removed
        if self._journal is not None and other._journal is not None:
            self._journal += bytes(other._journal)  # a copy: it may be this state's own
            self._oov_counts += bytes(other._oov_counts)
            self._oov_ids += bytes(other._oov_ids)
        return self

    def remove(self, text: str) -> Self:
        """Remove words at the first place where they occur in this order.

        The words on both sides become neighbours. Only whole words match; a text without words changes
        nothing.

        Raises:
            DataError: the words do not occur in the state.
            ConfigError: the state is not removable.
            InputError: ``text`` is not a string.
        """
        journal = self._require_journal()
        codes = self._tokens(text).codes
        target = codes.tobytes()
        offset = journal.find(target)
        while offset >= 0 and not self._is_whole_words(offset, len(target)):
            offset = journal.find(target, offset + 1)
        if offset < 0:
            raise DataError(
                f"expected words that are in the state, found {text[:60]!r}", hint="remove what was added"
            )
        first = offset // CODE_BYTES
        self._cut(first, first + len(codes))
        return self

    def _is_whole_words(self, offset: int, size: int) -> bool:
        """Whether bytes of the journal are whole codes and whole words."""
        if offset % CODE_BYTES:
            return False
        first, last = offset // CODE_BYTES, (offset + size) // CODE_BYTES
        edges = np.concatenate([self._codes(first, first + 1), self._codes(last, last + 1)])
        return bool(self._features.begins_word(edges).all())

    def remove_first(self, n_tokens: int) -> Self:
        """Remove the first tokens; all, if there are fewer.

        Raises:
            ConfigError: the state is not removable.
        """
        self._require_journal()
        self._cut(0, min(max(n_tokens, 0), self.n_tokens))
        return self

    def probabilities(self) -> NDArray[np.float32]:
        """Probability of every class, ``(C,)`` float32."""
        return np.asarray(self.model.class_probabilities(self._logits())[0])

    def network_probabilities(self) -> NDArray[np.float32]:
        """Probability of every output of the network; in a model of scores these are no classes."""
        return probabilities(self._logits()[0], self.model.network.config.multi_label)

    def vector(self) -> NDArray[np.float32]:
        """Vector of the text so far, ``(W,)`` float32; see :meth:`Classifier.encode`."""
        (vector,) = to_vectors(self._passages.network.waves_of(self._sums), np.array([self.known]))
        return np.asarray(vector)

    def predict(self, top_k: int = 1) -> Prediction:
        """Classify the text so far, with its novelty."""
        logits = self._logits()
        row = self.model.class_probabilities(logits)[0]
        prediction = self.model.prediction(row.tolist(), top_k, self.known)
        return prediction._replace(novelty=self._novelty(logits))

    @property
    def known(self) -> bool:
        """Whether the model has any word, word n-gram or character n-gram of the text so far."""
        return bool(self._sums.n_known[0] > 0)

    def novelty(self) -> float | None:
        """Measure how unlike the training texts the text so far is; see :meth:`Classifier.novelty`."""
        return self._novelty(self._logits())

    def _logits(self) -> NDArray[np.float32]:
        network = self._passages.network
        logits = network.logits_of(self._sums)
        if not network.config.window_words:
            return logits
        offsets = np.array([0, self.n_tokens])  # all windows: they are counted from the start of the text
        return network.add_windows(logits, self._features.of_tokens(self._codes(*offsets), offsets))

    def _novelty(self, logits: NDArray[np.float32]) -> float | None:
        reference = self.model.novelty_reference
        if reference is None:
            return None
        n_known = self._sums.n_features.astype(np.int64)
        n_unknown = self._features.n_unknown(self._sums.n_ngrams.astype(np.int64), n_known)
        return float(reference.novelty(n_unknown, n_known, logits)[0]) if self.known else 1.0

    # ---- tokens and sums ----

    def _set_edges(self, start: Codes, end: Codes, n_tokens: int) -> None:
        """Update start and end after a passage was added, given its own edges or all of its tokens."""
        start_of, end_of = self._passages.start_of, self._passages.end_of
        self._start = start_of(np.concatenate([self._start, start_of(start)]))
        self._end = end_of(np.concatenate([self._end, end_of(end)]))
        self.n_tokens += n_tokens

    def _cut(self, first: int, last: int) -> None:
        """Remove tokens ``first`` to ``last``."""
        left, right = self._end_at(first), self._start_at(last)
        middle = self._codes(first, last)
        self._sums = self._passages.cut(self._sums, left, middle, right)
        if self._oov_counts:
            start, oov = self._oov_of(first, last)
            self._sums = self._passages.add_oov(self._sums, oov, -1)
            del self._oov_counts[first:last], self._oov_ids[start : start + oov.ids.nbytes]
        del self._require_journal()[first * CODE_BYTES : last * CODE_BYTES]
        self.n_tokens -= last - first
        self._n_removed += last - first
        if self._n_removed > MAX_REMOVED * self.n_tokens:
            all_oov = self._oov_of(0, self.n_tokens)[1] if self._oov_counts else None
            sums = self._passages.sums([self._codes(0, self.n_tokens)])
            self._sums = self._passages.add_oov(sums, all_oov)
            self._n_removed = 0
        self._start, self._end = self._start_at(0), self._end_at(self.n_tokens)

    def _end_at(self, last: int) -> Codes:
        """Return the end of the passage before a token; read no more tokens than needed."""
        n_read = EDGE_TOKENS
        while True:
            end = self._passages.end_of(self._codes(max(last - n_read, 0), last))
            if n_read >= last or self._passages.is_complete(end):
                return end
            n_read *= 4

    def _start_at(self, first: int) -> Codes:
        """Return the start of the passage from a token on, in the same way."""
        n_read = EDGE_TOKENS
        while True:
            start = self._passages.start_of(self._codes(first, min(first + n_read, self.n_tokens)))
            if first + n_read >= self.n_tokens or self._passages.is_complete(start):
                return start
            n_read *= 4

    def _oov_of(self, first: int, last: int) -> tuple[int, Ragged]:
        """Ids of the OOV table of tokens ``first`` to ``last``, and where their bytes begin."""
        ends = offsets_of(np.frombuffer(bytes(self._oov_counts[:last]), dtype=np.uint8))
        ids = np.frombuffer(bytes(self._oov_ids[4 * ends[first] : 4 * ends[last]]), dtype=np.int32)
        return 4 * int(ends[first]), Ragged(ids, ends[first:] - ends[first], np.zeros(last - first, np.int64))

    def _codes(self, first: int, last: int) -> Codes:
        """Tokens ``first`` to ``last``; a copy, because a journal with a view on it cannot grow."""
        window = memoryview(self._require_journal())[first * CODE_BYTES : last * CODE_BYTES]
        return np.frombuffer(bytes(window), dtype=np.uint64)

    def _require_journal(self) -> bytearray:
        if self._journal is None:
            raise ConfigError(
                "expected a removable state, found one without tokens", hint="make it with removable=True"
            )
        return self._journal

    # ---- to other machines ----

    @property
    def fingerprint(self) -> int:
        """The model's fingerprint: only states of one model can be merged."""
        return self.model.fingerprint

    def to_bytes(self) -> bytes:
        """Pack the state to send or store it; :meth:`Classifier.state_from_bytes` unpacks it."""
        arrays: dict[str, NDArray[Any]] = {
            "start": self._start,
            "end": self._end,
            **{name: np.ascontiguousarray(array) for name, array in vars(self._sums).items()},
        }
        if self._journal is not None:
            arrays["journal"] = np.frombuffer(bytes(self._journal), dtype=np.uint64)
        if self._oov_counts:
            arrays["oov_counts"] = np.frombuffer(bytes(self._oov_counts), dtype=np.uint8)
            arrays["oov_ids"] = np.frombuffer(bytes(self._oov_ids), dtype=np.int32)
        header = {"fingerprint": self.fingerprint, "n_tokens": self.n_tokens}
        return save(arrays, metadata={KEY: json.dumps(header)})

    @classmethod
    def from_bytes(cls, model: Model, content: bytes) -> State:
        """Unpack a state.

        Raises:
            ModelFileError: the state is damaged, or belongs to another model.
            ConfigError: the model's network does not compile.
        """
        state = cls(model)
        try:
            length = int.from_bytes(content[:8], "little")
            if length > MAX_HEADER:
                raise ValueError(f"its header has {length:,} bytes")
            arrays = load(content)
            header = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][KEY])
            sums = Sums(**{field.name: arrays[field.name] for field in fields(Sums)})
            edges = arrays["start"], arrays["end"]
            n_tokens, of_model = int(header["n_tokens"]), header["fingerprint"]
        except (SafetensorError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ModelFileError(
                f"expected a packed state, found other bytes ({error})", hint="pack it again with to_bytes"
            ) from error
        if of_model != state.fingerprint:
            raise ModelFileError(
                "expected a state of this model, found one of another model",
                hint="load the model that made it",
            )
        journal = arrays.get("journal")
        state._check(sums, edges, n_tokens, journal)
        if journal is None and model.network.config.window_words:
            raise ModelFileError("expected the tokens of a state with windows, found none")
        state._sums, (state._start, state._end), state.n_tokens = sums, edges, n_tokens
        state._journal = None if journal is None else bytearray(journal.tobytes())
        if journal is not None and state.model.network.config.n_oov:
            nothing = np.zeros(0, dtype=np.uint8)
            state._load_oov(
                arrays.get("oov_counts", nothing), arrays.get("oov_ids", nothing.astype(np.int32))
            )
        return state

    def _load_oov(self, counts: NDArray[Any], ids: NDArray[Any]) -> None:
        """Unpack the ids of the OOV table of the journal's tokens."""
        config = self.model.network.config
        are_ids = ids.dtype == np.int32 and ids.ndim == 1
        are_ids = are_ids and bool(
            (ids >= config.n_rows).all() and (ids < config.n_rows + config.n_oov).all()
        )
        are_counts = counts.dtype == np.uint8 and counts.shape == (self.n_tokens,)
        if not are_ids or not are_counts or counts.sum(dtype=np.int64) != len(ids):
            raise ModelFileError("expected ids of the OOV table for each token, found others")
        self._oov_counts, self._oov_ids = bytearray(counts.tobytes()), bytearray(ids.tobytes())

    def _check(self, sums: Sums, edges: tuple[Codes, Codes], n_tokens: int, journal: Codes | None) -> None:
        """Compare what was unpacked with an empty state of the same model."""
        for name, array in vars(sums).items():
            own = getattr(self._sums, name)
            is_legal = array.shape == own.shape and array.dtype == own.dtype
            if not is_legal or not (np.abs(array) < MAX_SUM).all():
                raise ModelFileError(f"expected sums {name!r} of shape {own.shape} below {MAX_SUM:g}")
        codes = [*edges] if journal is None else [*edges, journal]
        if any(array.dtype != np.uint64 or array.ndim != 1 for array in codes):
            raise ModelFileError("expected token codes, found other numbers")
        if n_tokens < max(map(len, edges)) or (journal is not None and len(journal) != n_tokens):
            raise ModelFileError(f"expected {n_tokens} tokens, found another number of them")
        n_rows = self.model.features.n_rows
        if self.model.features.type_name == "wordpiece" and any((array >= n_rows).any() for array in codes):
            raise ModelFileError(f"expected tokens below {n_rows}, found others")


class SlidingWindow:
    """The last tokens of an endless stream; made by :meth:`token2wave.Classifier.window`.

    It keeps ``n_tokens`` tokens in memory, and a token costs the same work however long the stream.

    Args:
        model: a model whose network compiles.
        n_tokens: number of last tokens that count.

    Raises:
        ConfigError: the network does not compile, or ``n_tokens`` is not positive.
    """

    def __init__(self, model: Model, n_tokens: int) -> None:
        if n_tokens < 1:
            raise ConfigError(f"expected at least 1, found {n_tokens}", location="n_tokens")
        self.state = State(model)
        self.n_tokens = n_tokens

    def update(self, text: str) -> Self:
        """Add a passage of whole words at the end, and drop the oldest tokens beyond the window.

        Raises:
            InputError: it is not a string.
        """
        self.state.update(text)
        self.state.remove_first(self.state.n_tokens - self.n_tokens)
        return self

    def probabilities(self) -> NDArray[np.float32]:
        """Probability of every class, ``(C,)`` float32."""
        return self.state.probabilities()

    def predict(self, top_k: int = 1) -> Prediction:
        """Classify the text in the window."""
        return self.state.predict(top_k)


def whole_words(chunks: Iterable[str]) -> Iterator[str]:
    """Cut a stream of chunks at white space, so that no word is split.

    Args:
        chunks: strings as they arrive, e.g. from a socket.

    Yields:
        Passages of whole words for :meth:`State.update`; joined, they are the stream.
    """
    pending: list[str] = []  # the start of a word
    for chunk in chunks:
        tail = "" if not chunk or chunk[-1].isspace() else chunk.rsplit(maxsplit=1)[-1]
        cut = len(chunk) - len(tail)
        if cut:
            yield "".join([*pending, chunk[:cut]])
            pending = []
        if tail:
            pending.append(tail)
    if pending:
        yield "".join(pending)
