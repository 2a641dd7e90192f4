"""Chooses the texts of a pool whose labels would teach a model most, in bounded memory."""

from __future__ import annotations

import heapq
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.classifier import Classifier, load
from token2wave.config import accept_options, require, require_choice
from token2wave.data import load_texts
from token2wave.data.columns import guess_stream_columns, log_notes
from token2wave.data.duplicates import group_duplicates
from token2wave.data.file_segments import find_inputs, segment_size, segments_of
from token2wave.data.reader import read_segment
from token2wave.data.rows import ROWS_CHUNK
from token2wave.data.sources import is_name, names_files
from token2wave.errors import ConfigError, DataError
from token2wave.features.hashed_texts import HashedTexts
from token2wave.features.hashing import hash_tokens
from token2wave.formatting import Described, percent
from token2wave.options import TextOptions
from token2wave.storage.atomic import private_files
from token2wave.storage.outputs import Outputs
from token2wave.storage.tables import require_table_name, write_table
from token2wave.training.callbacks import Callback, CallbackList

STRATEGIES = ("mixture", "uncertainty", "diverse", "random")
CANDIDATES_PER_ROW = 20  # texts kept for each row to choose
MAX_CANDIDATES = 20_000  # unless more rows are to be chosen
SAMPLE_TEXTS = 4_000  # of the pool, which say what its texts are like
VECTOR_WIDTH = 512  # of the sketch of a text's words
MIN_DENSITY, MIN_GAIN, MIN_DIFFERENCE = 1e-4, 1e-3, 1e-6  # no factor rules out a text
BALANCE = 0.25  # how much a class loses with each text that is chosen of it
STABLE_KAPPA = 0.99  # Bloodgood & Vijay-Shanker 2009, section 4
ADDED = ("predicted", "probability", "runner_up", "margin", "novelty")
"""The columns that say why a row was chosen."""

Numbers = NDArray[np.float64]
Rows = NDArray[np.int64]
PathLike = str | os.PathLike[str]


@dataclass(frozen=True, repr=False)
class SelectionResult(Described):
    """What :func:`select` returns.

    Attributes:
        rows: the rows to label, the most useful first: all columns of the pool, and :data:`ADDED`.
        texts: their texts.
        n_pool: texts of the pool.
        strategy: that chose them.
        kappa: agreement with the previous model on the pool, corrected for chance (Cohen's kappa); None
            without one.
        notes: what you may not expect.
    """

    rows: list[dict[str, Any]]
    texts: list[str]
    n_pool: int
    strategy: str
    kappa: float | None
    notes: tuple[str, ...]

    @property
    def is_stable(self) -> bool | None:
        """Whether predictions hardly change any more, so that more labels pay little; None if unknown."""
        return None if self.kappa is None else self.kappa >= STABLE_KAPPA

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, which the command line prints as JSON."""
        names = ("rows", "n_pool", "strategy", "kappa", "is_stable")
        return {**{name: getattr(self, name) for name in names}, "notes": list(self.notes)}

    def write(self, path: PathLike) -> None:
        """Write the rows as a table: .csv, .tsv or .xlsx.

        Raises:
            OutputError: the file cannot be written.
            MissingExtraError: it is .xlsx, and openpyxl is not installed.
        """
        header = list(dict.fromkeys(name for row in self.rows for name in row))
        write_table(Path(path), header, ([_cell(row.get(name)) for name in header] for row in self.rows))

    def _describe(self) -> tuple[str, dict[str, str]]:
        facts = {"strategy": self.strategy, "kappa": None if self.kappa is None else f"{self.kappa:.3f}"}
        facts |= {"note" if i == 0 else f"note {i + 1}": note for i, note in enumerate(self.notes)}
        sentence = f"{len(self.rows):,} of {self.n_pool:,} texts to label next"
        return sentence, {name: fact for name, fact in facts.items() if fact is not None}


def _cell(value: Any) -> object:
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | dict) else value


@accept_options(data_options=TextOptions)
def select(
    model: Classifier | PathLike,
    pool: Any,
    *,
    n: int = 200,
    strategy: str = "mixture",
    out: PathLike | None = None,
    labelled: Any = None,
    previous: Classifier | PathLike | None = None,
    seed: int = 0,
    overwrite: bool = False,
    data_options: TextOptions,
    callbacks: Sequence[Callback] = (),
) -> SelectionResult:
    """Choose which texts of a pool to label next.

    Memory depends on ``n``, not on the pool. Of near-duplicates one is chosen, and blank texts never are.

    Args:
        model: the model that will learn from the labels, or its file.
        pool: files, folders or patterns, as for :func:`token2wave.score`; or the name of a data set; or texts
            in memory.
        n: rows to choose.
        strategy: ``mixture`` takes texts that the model is unsure of and that would change it in different
            ways. ``uncertainty`` takes those that it is least sure of, ``diverse`` takes different ones among
            these, and ``random`` takes any.
        out: table to write: .csv, .tsv or .xlsx.
        labelled: texts that have labels, or a file of them. They, and texts nearly the same, are left out.
        previous: the model of the round before, or its file. The result then says how much the predictions
            still change.
        seed: of the random choices. The same seed chooses the same rows.
        overwrite: whether a file of another kind may be replaced.
        data_options: the column of the texts, and how files are written. You give its fields as keyword
            arguments.
        callbacks: receive the progress.

    Raises:
        ConfigError: a setting is wrong.
        DataError: the pool cannot be read, or has no texts.
        ModelFileError: as :func:`token2wave.load`.
        OutputError: the output cannot be written, or is an input.
    """
    require(n >= 1, "n", "at least one", n)
    require_choice(strategy, "strategy", STRATEGIES)
    inputs = [pool] if is_name(pool) else pool if names_files(pool) else []
    outputs = Outputs([model, previous, labelled, *inputs], overwrite=overwrite, recursive=True)
    if out is not None:
        outputs.check_file(out, "selected rows")
        require_table_name(Path(out))
    classifier = model if isinstance(model, Classifier) else load(model)
    classifier.require_texts("select")
    agreement = None if previous is None else _Agreement(previous, classifier)
    labelled_texts = [] if labelled is None else load_texts(labelled, data_options, argument="labelled")
    n_candidates = n if strategy == "random" else max(n, min(CANDIDATES_PER_ROW * n, MAX_CANDIDATES))
    random = np.random.default_rng(seed)
    candidates = _Candidates(n_candidates, HashedTexts(labelled_texts))
    sample: list[tuple[float, str]] = []  # of the pool, by random numbers
    n_pool = n_blank = n_rejected = 0
    for block in _read_pool(pool, inputs, data_options, CallbackList.with_logging(callbacks)):
        n_rejected += block.n_rejected
        if not block.texts:
            continue
        probabilities = classifier.probabilities(block.texts).astype(np.float64)
        if agreement is not None:
            agreement.add(block.texts, probabilities)
        draws = random.random(len(block.texts))
        scores = draws if strategy == "random" else uncertainty(classifier, probabilities)
        has_text = np.array([bool(text.strip()) for text in block.texts])
        candidates.add(block, np.flatnonzero(has_text), scores, probabilities)
        sample = heapq.nlargest(SAMPLE_TEXTS, chain(sample, zip(draws.tolist(), block.texts, strict=True)))
        n_pool, n_blank = n_pool + len(block.texts), n_blank + int((~has_text).sum())
    if not n_pool:
        raise DataError("expected texts, found none", location="pool", hint="name other files")
    candidates.compact()
    sampled = [text for _, text in sample]
    chosen = candidates.take(candidates.choose(strategy, n, classifier, sampled, random))
    notes = []
    if len(chosen) < n:
        notes.append(
            f"The pool has only {len(chosen):,} different texts to label, fewer than the {n:,} asked for."
        )
    if n_blank:
        notes.append(f"{n_blank:,} of {n_pool:,} texts are blank, and are left out.")
    if n_rejected:
        notes.append(f"{n_rejected:,} rows cannot be read, and are left out.")
    if agreement is not None:
        notes.append(agreement.describe())
    kappa = None if agreement is None else agreement.kappa
    texts = [candidate.text for candidate in chosen]
    result = SelectionResult(_rows(classifier, chosen), texts, n_pool, strategy, kappa, tuple(notes))
    if out is not None:
        with private_files(outputs.is_private):
            result.write(out)
    return result


# ---- the pool ----


class _Block(NamedTuple):
    texts: list[str]
    record: Callable[[int], dict[str, Any]]
    n_rejected: int = 0


def _read_pool(
    pool: Any, inputs: Sequence[PathLike], options: TextOptions, callback_list: CallbackList
) -> Iterator[_Block]:
    """Read the pool block by block; texts in memory, and those of a named data set, have no other columns."""
    is_in_memory = not inputs or (len(inputs) == 1 and not _is_file(inputs[0]))
    if is_in_memory:
        texts = load_texts(pool, options, argument="pool")
        callback_list.stage("pool", len(texts))
        for start in range(0, len(texts), ROWS_CHUNK):
            chunk = texts[start : start + ROWS_CHUNK]
            yield _Block(chunk, lambda i, chunk=chunk: {"text": chunk[i]})  # type: ignore[misc]
            callback_list.advance(len(chunk))
        return
    segments = segments_of(find_inputs(inputs), options=options)
    options, notes = guess_stream_columns(segments, options)
    log_notes(notes)
    callback_list.stage("pool", sum(map(segment_size, segments)))
    column = ",".join(options.text_columns)
    for segment in segments:
        for block in read_segment(segment, options.text_columns):
            texts = block.values(column) if len(block) else []
            records, table = block.records, block.table

            def record(i: int, records: Any = records, table: Any = table) -> dict[str, Any]:
                row = dict(records[i]) if records is not None else table.slice(i, 1).to_pylist()[0]
                if len(options.text_columns) > 1:
                    del row[column]
                return row

            yield _Block(texts, record, sum(each.n_rows for each in block.rejected))
        callback_list.advance(segment_size(segment))


def _is_file(name: PathLike) -> bool:
    try:
        return bool(find_inputs([name]))
    except DataError:
        return Path(name).suffix != "" or Path(name).exists()


class _Candidate(NamedTuple):
    score: float
    text: str
    record: dict[str, Any]
    probabilities: Numbers


class _Candidates:
    """The texts of the highest scores so far, each unlike the others and those that have labels.

    Args:
        limit: how many to keep; at most twice as many, and those of a block, are in memory.
        labelled: texts that have labels.
    """

    def __init__(self, limit: int, labelled: HashedTexts) -> None:
        self.limit, self.labelled = limit, labelled
        self.threshold = -np.inf
        self.rows: list[_Candidate] = []

    def add(self, block: _Block, texts: Rows, scores: Numbers, probabilities: Numbers) -> None:
        """Add texts of a block by their numbers."""
        for i in texts[scores[texts] > self.threshold].tolist():
            self.rows.append(_Candidate(float(scores[i]), block.texts[i], block.record(i), probabilities[i]))
        if len(self.rows) >= 2 * self.limit:
            self.compact()

    def compact(self) -> None:
        """Keep the highest scores, without near-duplicates."""
        self.rows.sort(key=lambda row: -row.score)  # stable: the first of the pool wins
        texts, n = HashedTexts([row.text for row in self.rows]), len(self.labelled)
        first = group_duplicates(self.labelled + texts)[n:]
        is_first = first == np.arange(n, n + len(texts))
        self.rows = self.take(np.flatnonzero(is_first)[: self.limit])
        if len(self.rows) == self.limit:
            self.threshold = self.rows[-1].score

    def choose(
        self,
        strategy: str,
        n: int,
        classifier: Classifier,
        sample: Sequence[str],
        random: np.random.Generator,
    ) -> Rows:
        """Choose up to ``n``; their numbers. ``sample`` are texts of the pool."""
        if strategy in ("uncertainty", "random") or len(self.rows) <= n:
            return np.arange(min(n, len(self.rows)))
        probabilities = np.array([row.probabilities for row in self.rows])
        decisions = probabilities >= (
            np.array(classifier.thresholds)
            if classifier.multi_label
            else probabilities.max(axis=1, keepdims=True)
        )
        scores = np.array([row.score for row in self.rows])
        words = describe_words([row.text for row in self.rows], sample, self.labelled)
        if strategy == "diverse":
            return choose_different(scores, words.vectors, decisions, 0, n)
        scores = scores * np.sqrt(words.density * words.gain)
        return choose_different(scores, words.vectors, decisions, BALANCE, n)

    def take(self, numbers: Rows) -> list[_Candidate]:
        """Return the candidates of these numbers."""
        return [self.rows[i] for i in numbers.tolist()]


# ---- the choice ----


def uncertainty(classifier: Classifier, probabilities: Numbers) -> Numbers:
    """How unsure a model is, ``(N,)`` from 0 to 1: one minus the margin between the two likeliest classes.

    A multi-label model is as unsure as it is of the decision nearest to its threshold.
    """
    return 1 - _margins(classifier, probabilities)[0]


def _margins(classifier: Classifier, probabilities: Numbers) -> tuple[Numbers, Rows]:
    """The margin of each text ``(N,)``, and the class on its other side."""
    if classifier.multi_label:
        thresholds = np.array(classifier.thresholds)
        distance = np.abs(probabilities - thresholds)
        distance /= np.maximum(np.where(probabilities < thresholds, thresholds, 1 - thresholds), 1e-9)
        return np.minimum(distance.min(axis=1), 1), distance.argmin(axis=1)
    order = np.argsort(-probabilities, axis=1, kind="stable")
    best, second = (np.take_along_axis(probabilities, order[:, k : k + 1], axis=1)[:, 0] for k in (0, 1))
    return best - second, order[:, 1]


def choose_different(
    scores: Numbers,
    vectors: NDArray[np.float32],
    decisions: NDArray[np.bool_],
    balance: float,
    n: int,
) -> Rows:
    """Choose one text after the other: high scores that are unlike those chosen; their numbers, ``(n,)``.

    Args:
        scores: ``(N,)``, at least zero.
        vectors: ``(N, D)``, of length one.
        decisions: ``(N, C)``, the classes that the model predicts.
        balance: how much a class loses with each text that is chosen of it; 0 does not count classes.
        n: less than ``N``.
    """
    similarity, counts = np.zeros(len(scores)), np.zeros(decisions.shape[1])
    members, chosen = decisions.astype(np.float64), list[int]()
    while len(chosen) < n:
        values = scores * np.maximum(1 - similarity, MIN_DIFFERENCE) / (1 + members @ counts) ** balance
        values[chosen] = -1
        best = int(values.argmax())
        chosen.append(best)
        counts += members[best]
        similarity = np.maximum(similarity, vectors @ vectors[best])
    return np.array(chosen)


class Words(NamedTuple):
    """What the words of ``N`` texts say.

    Attributes:
        vectors: ``(N, D)`` float32 of length one, the words weighted by rarity and hashed. Unlike the model's
            own vectors they hold the words that the model does not know.
        density: ``(N,)``, mean similarity to texts of the pool.
        gain: ``(N,)``, how many words that the pool has often a label would be the first for.
    """

    vectors: NDArray[np.float32]
    density: Numbers
    gain: Numbers


def describe_words(texts: Sequence[str], sample: Sequence[str], labelled: Sequence[str]) -> Words:
    """Compare texts with a sample of the pool, and with the texts that have labels."""
    hashes, lengths = hash_tokens([*texts, *sample, *labelled])
    words, number = np.unique(hashes, return_inverse=True)
    n_words, n_texts, n_sampled = len(words), len(texts), len(sample)
    pairs = np.unique(np.repeat(np.arange(len(lengths)), lengths) * n_words + number)  # each word once a text
    text, word = np.divmod(pairs, max(n_words, 1))
    ends = np.searchsorted(text, [n_texts, n_texts + n_sampled])
    in_sample = np.bincount(word[ends[0] : ends[1]], minlength=n_words)
    in_labelled = np.bincount(word[ends[1] :], minlength=n_words)
    rarity = np.log((n_sampled + 1) / (in_sample + 0.5)).clip(0)
    own_text, own_word = text[: ends[1]], word[: ends[1]]
    cell = own_text * VECTOR_WIDTH + (words % np.uint64(VECTOR_WIDTH)).astype(np.int64)[own_word]
    signed = np.where(words >> np.uint64(63), rarity, -rarity)
    sums = np.bincount(cell, signed[own_word], (n_texts + n_sampled) * VECTOR_WIDTH)
    sums = sums.reshape(-1, VECTOR_WIDTH)
    vectors = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
    density = vectors[:n_texts] @ vectors[n_texts:].mean(axis=0)
    value = np.sqrt(in_sample) * rarity * (in_sample > 1) / (1.0 + in_labelled) ** 2
    n_own = np.bincount(own_text, minlength=n_texts)[:n_texts].clip(1)
    gain = np.bincount(own_text, value[own_word], n_texts)[:n_texts] / np.sqrt(n_own)
    return Words(vectors[:n_texts].astype(np.float32), density.clip(MIN_DENSITY), gain.clip(MIN_GAIN))


# ---- what the result says ----


def _rows(classifier: Classifier, chosen: Sequence[_Candidate]) -> list[dict[str, Any]]:
    """The columns of the pool, and those that say why; they get another name where the pool has it."""
    if not chosen:
        return []
    probabilities = np.array([candidate.probabilities for candidate in chosen])
    novelty = classifier.novelty([candidate.text for candidate in chosen])
    margins, others = _margins(classifier, probabilities)
    names, taken = classifier.label_names, {name for candidate in chosen for name in candidate.record}

    def unused(name: str) -> str:
        return unused(f"model_{name}") if name in taken else name

    header, rows = list(map(unused, ADDED)), []
    for i, candidate in enumerate(chosen):
        prediction = classifier.prediction(candidate.probabilities.tolist())
        values = (
            "; ".join(prediction.labels) if classifier.multi_label else prediction.label,
            round(float(probabilities[i].max()), 4),
            names[others[i]],
            round(float(margins[i]), 4),
            None if novelty is None else round(float(novelty[i]), 4),
        )
        rows.append({**candidate.record, **dict(zip(header, values, strict=True))})
    return rows


class _Agreement:
    """Counts how often two models agree, to say when labels stop changing predictions.

    As in Bloodgood & Vijay-Shanker 2009, "A method for stopping active learning based on stabilizing
    predictions and the need for user-adjustable stopping", on the pool. For multi-label texts each decision
    counts.
    """

    def __init__(self, previous: Classifier | PathLike, classifier: Classifier) -> None:
        self.previous = previous if isinstance(previous, Classifier) else load(previous)
        self.classifier = classifier
        if self.previous.label_names != classifier.label_names:
            raise ConfigError(
                "expected a model of the same labels, found others",
                location="previous",
                hint="name the model of the round before",
            )
        n_classes = len(classifier.label_names)
        self.counts = np.zeros((n_classes, n_classes), dtype=np.int64)

    def add(self, texts: list[str], probabilities: Numbers) -> None:
        """Count texts, whose probabilities are those of the newer model."""
        older = self.previous.probabilities(texts)
        np.add.at(self.counts, (older.argmax(axis=1), probabilities.argmax(axis=1)), 1)

    @property
    def kappa(self) -> float:
        """Cohen's kappa of both models."""
        return kappa_of(self.counts)

    def describe(self) -> str:
        """Say whether more labels pay."""
        agree = percent(np.trace(self.counts) / self.counts.sum(), 1)
        sentence = f"This model and the one before agree on {agree} of the pool (kappa {self.kappa:.3f}): "
        if self.kappa >= STABLE_KAPPA:
            return sentence + "more labels of this kind will change little."
        return sentence + "more labels still change predictions."


def kappa_of(counts: NDArray[np.integer]) -> float:
    """Cohen's kappa of two models, from how often they predict each pair of classes, ``(C, C)``."""
    total = counts.sum()
    agree = np.trace(counts) / total
    chance = float(counts.sum(axis=0) @ counts.sum(axis=1)) / float(total) ** 2
    return 1.0 if chance >= 1 else float((agree - chance) / (1 - chance))
