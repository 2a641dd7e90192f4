"""Reads the answers of annotators, and weighs them against each other."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.classifier import Classifier
from token2wave.config import accept_options
from token2wave.data import read_labelled
from token2wave.data.lines import cannot_read
from token2wave.data.rows import JSON_FORMATS
from token2wave.data.text_files import read_table
from token2wave.errors import DataError, locate
from token2wave.formatting import Described, percent, shorten
from token2wave.labelling.plans import ABSTAIN, PlannedRows, parse_labels
from token2wave.labelling.selection import PathLike, SelectionResult
from token2wave.options import DIALECT_OPTIONS, DataOptions, TextOptions
from token2wave.storage.atomic import private_files
from token2wave.storage.outputs import Outputs
from token2wave.storage.tables import require_table_name, write_table

ANSWER_KEYS = (
    "label",
    "answer",
    "content",
    "text",
    "message",
    "response",
    "result",
    "body",
    "choices",
    "output",
)
"""Where a line of JSON holds the answer; also in the batch formats of several services."""
ANSWERED = ("label", "weight", "answers")
"""The columns of a labelled table that come from answers."""
PRIOR_RIGHT, PRIOR_WRONG = 40.0, 10.0  # answers of each annotator that are assumed before any is read
SHRINKAGE = 10.0  # rows of each class assumed to be confused as all classes are on average
N_PASSES = 30
MAX_SHOWN = 3  # answers without a label

Numbers = NDArray[np.float64]
Votes = NDArray[np.int64]


class Answer(NamedTuple):
    """An answer as it was read.

    Attributes:
        key: id of the row.
        annotator: who answered.
        text: what they answered.
    """

    key: str
    annotator: str
    text: str


@dataclass(frozen=True, repr=False)
class AnswersResult(Described):
    """What :func:`read_answers` returns.

    Attributes:
        rows: the rows with a label: their columns, ``label``, ``weight`` and ``answers``.
        n_rows: rows of the plan.
        n_answers: answers with a label.
        n_abstentions: answers without one.
        n_disagreements: rows whose answers differ.
        annotators: for each one the estimated fraction of right answers.
        notes: what you may not expect.
    """

    rows: list[dict[str, Any]]
    n_rows: int
    n_answers: int
    n_abstentions: int
    n_disagreements: int
    annotators: dict[str, float]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain data, which the command line prints as JSON."""
        values = {name: value for name, value in vars(self).items() if name != "rows"}
        return {"n_labelled": len(self.rows), **values, "notes": list(self.notes)}

    def _describe(self) -> tuple[str, dict[str, str]]:
        facts = {
            "answers": f"{self.n_answers:,}, and {self.n_abstentions:,} abstentions",
            "disagreements": f"{self.n_disagreements:,} rows",
        }
        if len(self.annotators) > 1:
            facts |= {f"{name} is right": percent(right, 0) for name, right in self.annotators.items()}
        facts |= {"note" if i == 0 else f"note {i + 1}": note for i, note in enumerate(self.notes)}
        return f"{len(self.rows):,} of {self.n_rows:,} rows have a label", facts


@accept_options(data_options=TextOptions)
def read_answers(
    data: SelectionResult | PathLike,
    labels: Sequence[str] | Classifier | PathLike,
    answers: PathLike | Sequence[PathLike],
    *,
    out: PathLike | None = None,
    labelled: PathLike | None = None,
    label_separator: str | None = None,
    overwrite: bool = False,
    data_options: TextOptions,
) -> AnswersResult:
    """Read the answers to a plan, and make labelled rows with weights of them.

    An answer is a label if it is one but for case, blanks, quotes and its number in the list. Any other
    answer is an abstention. Answers are weighed by how reliable each annotator seems (Dawid & Skene 1979),
    and the weight of a row is the probability of its label.

    Args:
        data: the rows that :func:`token2wave.label_plan` was given.
        labels: the labels, as there.
        answers: sheets with the columns ``id`` and ``label``, or JSON lines with ``id`` and ``answer``. Each
            file is an annotator, unless it has a column ``annotator``.
        out: labelled table to write, .csv, .tsv or .xlsx, for ``train`` with the weight column ``weight``.
        labelled: file of rows that had labels before. They go in front, with weight 1.
        label_separator: as for the plan.
        overwrite: whether a file of another kind may be replaced.
        data_options: how ``data`` is written. You give its fields as keyword arguments.

    Raises:
        ConfigError: the labels cannot be used.
        DataError: a file cannot be read, or an answer is for another row.
        OutputError: the output cannot be written, or is an input.
    """
    paths = [answers] if isinstance(answers, str | os.PathLike) else list(answers)
    outputs = Outputs([data, labels, labelled, *paths], overwrite=overwrite)
    if out is not None:
        outputs.check_file(out, "labelled rows")
        require_table_name(Path(out))
    names, label_separator = parse_labels(labels, label_separator)
    rows = PlannedRows.read(data, data_options)
    number = {key: row for row, key in enumerate(rows.ids)}
    chosen_labels: dict[tuple[int, str], tuple[int, ...]] = {}
    unknown, n_abstentions = Counter[str](), 0
    match = _Matcher(names, label_separator)
    for path in paths:
        for answer in _read(Path(path)):
            if answer.key not in number:
                raise DataError(
                    f"expected the id of a row to label, found {answer.key!r:.60}",
                    location=os.fspath(path),
                    hint="name the table that the answers are for; its rows must not have changed",
                )
            chosen = match(answer.text)
            if chosen is None:
                n_abstentions += 1
                if answer.text.strip().strip(".").casefold() not in ("", ABSTAIN.casefold()):
                    unknown[answer.text] += 1
            else:
                chosen_labels[number[answer.key], answer.annotator] = chosen
    annotators = list(dict.fromkeys(annotator for _, annotator in chosen_labels))
    labels_of_row, weights, reliability = _combine(
        chosen_labels, len(rows.ids), annotators, names, label_separator
    )
    answers_of_row = [
        {chosen for annotator in annotators if (chosen := chosen_labels.get((row, annotator))) is not None}
        for row in range(len(rows.ids))
    ]
    counts = Counter(row for row, _ in chosen_labels)
    notes = []
    if unknown:
        examples = ", ".join(repr(shorten(text, 40)) for text, _ in unknown.most_common(MAX_SHOWN))
        notes.append(f"{unknown.total():,} answers are no label, and count as abstentions: {examples}.")
    if n_empty := sum(not each for each in answers_of_row):
        notes.append(f"{n_empty:,} rows have no label, and are left out.")
    columns = {name: values for name, values in rows.columns.items() if name not in ANSWERED}
    labelled_rows = [
        {
            **{name: values[row] for name, values in columns.items()},
            "label": labels_of_row[row],
            "weight": weights[row],
            "answers": counts[row],
        }
        for row in range(len(rows.ids))
        if answers_of_row[row]
    ]
    result = AnswersResult(
        labelled_rows,
        len(rows.ids),
        len(chosen_labels),
        n_abstentions,
        sum(len(each) > 1 for each in answers_of_row),
        reliability,
        tuple(notes),
    )
    if out is not None:
        earlier = [] if labelled is None else _read_earlier(labelled, data_options, label_separator)
        table = [*earlier, *labelled_rows]
        names_of_columns = dict.fromkeys(name for row in table for name in row if name not in ANSWERED)
        header = [*names_of_columns, *ANSWERED]
        with private_files(outputs.is_private):
            write_table(Path(out), header, ([row.get(name, "") for name in header] for row in table))
    return result


# ---- reading ----


def _read(path: Path) -> Iterator[Answer]:
    """Read a file of answers."""
    if path.suffix.lower() not in JSON_FORMATS:
        table = read_table(path, TextOptions("label"))
        if "id" not in table.columns:
            raise DataError("there is no column 'id'", location=os.fspath(path), hint="keep it in the sheet")
        annotators = table.columns.get("annotator", [path.stem] * len(table.texts))
        for key, annotator, text in zip(table.columns["id"], annotators, table.texts, strict=True):
            yield Answer(str(key), str(annotator), text)
        return
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise cannot_read(path, error) from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            key = record.get("id", record.get("custom_id"))
        except (ValueError, AttributeError, RecursionError):
            record, key = {}, None
        if key is None:
            problem = 'expected a JSON object with "id"'
            raise DataError(
                problem, location=locate(path, line=number), hint='write {"id": "...", "answer": "..."}'
            )
        yield Answer(str(key), str(record.get("annotator", path.stem)), _text_of(record))


def _text_of(value: Any, depth: int = 0) -> str:
    """The answer in a JSON value: the first of `ANSWER_KEYS` of an object, the first element of a list."""
    if isinstance(value, str) or depth > len(ANSWER_KEYS):
        return value if isinstance(value, str) else ""
    if isinstance(value, list):
        return _text_of(value[0], depth + 1) if value else ""
    if not isinstance(value, dict):
        return "" if value is None else str(value)
    return next((_text_of(value[key], depth + 1) for key in ANSWER_KEYS if key in value), "")


def _read_earlier(path: PathLike, options: TextOptions, separator: str | None) -> list[dict[str, Any]]:
    """The rows of a labelled file, as those that answers make."""
    values = {name: getattr(options, name) for name in ("text_column", *DIALECT_OPTIONS)}
    rows = read_labelled(path, DataOptions(**values, label_separator=separator))
    name = ",".join(options.text_columns)
    labels = [(separator or "").join(labels) for labels in rows.label_sets]
    pairs = zip(rows.texts, labels, strict=True)
    return [{name: text, "label": label, "weight": 1.0, "answers": 0} for text, label in pairs]


class _Matcher:
    """Finds the label that an answer names, never one that it only mentions."""

    def __init__(self, names: Sequence[str], separator: str | None) -> None:
        self.separator = separator
        self.exact = {name: i for i, name in enumerate(names)}
        folded = Counter(map(_fold, names))
        self.folded = {_fold(name): i for i, name in enumerate(names) if folded[_fold(name)] == 1}
        self.n_names = len(names)

    def __call__(self, answer: str) -> tuple[int, ...] | None:
        """The numbers of the labels; None for an abstention."""
        if self.separator is None:
            label = self._label(answer)
            return None if label is None else (label,)
        if _fold(answer) == "none":
            return ()
        labels = [self._label(each) for each in answer.split(self.separator)]
        return None if None in labels else tuple(sorted({label for label in labels if label is not None}))

    def _label(self, answer: str) -> int | None:
        if answer.strip() in self.exact:
            return self.exact[answer.strip()]
        folded = _fold(answer)
        if folded in self.folded:
            return self.folded[folded]
        if numbered := re.fullmatch(r"(\d{1,6})(?:[.):]?|[.):]\s*(.+))", folded, re.ASCII):
            number, name = int(numbered[1]) - 1, numbered[2]
            if 0 <= number < self.n_names and (name is None or self.folded.get(_fold(name)) == number):
                return number
        return None


def _fold(text: str) -> str:
    """A text without case, extra blanks, quotes, emphasis, a full stop, and ``label:`` before it."""
    text = " ".join(text.casefold().split()).removeprefix("label:")
    return text.strip(" \"'`*“”‘’").removesuffix(".").strip(" \"'`*“”‘’")


# ---- weighing ----


def _combine(
    chosen_labels: dict[tuple[int, str], tuple[int, ...]],
    n_rows: int,
    annotators: Sequence[str],
    names: Sequence[str],
    separator: str | None,
) -> tuple[list[str], list[float], dict[str, float]]:
    """The label and the weight of every row, and the reliability of every annotator."""
    column = {annotator: j for j, annotator in enumerate(annotators)}
    shape = n_rows, len(annotators)
    if separator is None:
        votes = np.full(shape, -1)
        for (row, annotator), labels in chosen_labels.items():
            votes[row, column[annotator]] = labels[0]
        posterior, right = weigh_votes(votes, len(names))
        labels_of_row = [names[best] for best in posterior.argmax(axis=1).tolist()]
        weights = posterior.max(axis=1)
    else:
        decisions = []
        for label in range(len(names)):
            votes = np.full(shape, -1)
            for (row, annotator), labels in chosen_labels.items():
                votes[row, column[annotator]] = label in labels
            decisions.append(weigh_votes(votes, 2))
        yes = np.array([posterior[:, 1] for posterior, _ in decisions]).T
        right = np.mean([right for _, right in decisions], axis=0)
        labels_of_row = [separator.join(names[i] for i in np.flatnonzero(row > 0.5).tolist()) for row in yes]
        weights = np.maximum(yes, 1 - yes).min(axis=1)
    if len(annotators) < 2:  # nobody to compare with
        weights = np.ones(n_rows)
    rounded = [round(weight, 4) for weight in weights.tolist()]
    return labels_of_row, rounded, dict(zip(annotators, np.round(right, 4).tolist(), strict=True))


def weigh_votes(votes: Votes, n_classes: int) -> tuple[Numbers, Numbers]:
    """Estimate labels and the reliability of annotators together, by expectation maximisation.

    As Dawid & Skene 1979, "Maximum likelihood estimation of observer error-rates using the EM algorithm", but
    the confusions of each annotator are drawn towards one rate of errors for all classes, since there are few
    rows of a class.

    Args:
        votes: ``(N, A)`` int64, the class that each annotator chose, -1 for none.
        n_classes: ``C``.

    Returns:
        ``(N, C)``, the probability of each class; ``(A,)``, the fraction of right answers of each annotator.
    """
    n_rows, n_annotators = votes.shape
    voters = [np.flatnonzero(votes[:, j] >= 0) for j in range(n_annotators)]
    posterior = np.full((n_rows, n_classes), 0.01)
    for j, rows in enumerate(voters):
        posterior[rows, votes[rows, j]] += 1
    posterior /= posterior.sum(axis=1, keepdims=True)
    right = np.ones(n_annotators)
    for _ in range(N_PASSES):
        logs = np.tile(np.log((posterior.sum(axis=0) + 1) / (n_rows + n_classes)), (n_rows, 1))
        for j, rows in enumerate(voters):
            confusion = np.zeros((n_classes, n_classes))  # voted, true
            np.add.at(confusion, votes[rows, j], posterior[rows])
            right[j] = (np.trace(confusion) + PRIOR_RIGHT) / (len(rows) + PRIOR_RIGHT + PRIOR_WRONG)
            average = np.full((n_classes, n_classes), (1 - right[j]) / (n_classes - 1))
            np.fill_diagonal(average, right[j])
            confusion += SHRINKAGE * average
            logs[rows] += np.log(confusion / confusion.sum(axis=0))[votes[rows, j]]
        posterior = np.exp(logs - logs.max(axis=1, keepdims=True))
        posterior /= posterior.sum(axis=1, keepdims=True)
    return posterior, right
