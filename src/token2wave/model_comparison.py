"""Says which of two models is better, on the same labelled texts, and which predictions changed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import log10
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.classifier import Classifier, load
from token2wave.config import accept_options
from token2wave.data import TextSplit, encode_label_sets, encode_labels
from token2wave.data.datasets import possible_paths
from token2wave.data.sources import is_name
from token2wave.data.values import join_names
from token2wave.errors import ConfigError
from token2wave.evaluation import is_familiar, read_test_rows, table_cell
from token2wave.formatting import Described, percent
from token2wave.metrics import UNKNOWN_LABELS
from token2wave.options import DataOptions
from token2wave.paired_tests import Difference, bootstrap_scores, mcnemar_p
from token2wave.storage.atomic import private_files
from token2wave.storage.outputs import Outputs
from token2wave.storage.tables import require_table_name, write_table
from token2wave.training.callbacks import Callback, CallbackList

MARGIN = 0.005  # a difference of figures that does not matter
SIGNIFICANCE = 0.05
_POWER = 1 + 0.841621 / 1.959964  # longer than half an interval, so that four of five test sets would tell
GAINED, LOST, STILL_WRONG = "gained", "lost", "still wrong"


@dataclass(frozen=True, repr=False)
class ComparisonResult(Described):
    """What :func:`compare` returns.

    Attributes:
        verdict: ``B is better``, ``A is better``, ``no difference that matters`` or ``cannot be told yet``.
        sentence: the verdict with its figures.
        figures: plain data, which the command line prints as JSON.
        changes: the rows whose predictions differ, the largest differences of probabilities first, as columns
            of the table that ``out`` writes: row, change (gained, lost, still wrong), label, label_a,
            label_b, difference (of probabilities), and the texts or, if a table is written, all columns.
    """

    verdict: str
    sentence: str
    figures: dict[str, Any]
    changes: Mapping[str, Sequence[object]]

    @property
    def b_is_better(self) -> bool:
        """Whether B is better by more than chance."""
        return self.verdict == "B is better"

    def _describe(self) -> tuple[str, dict[str, str]]:
        facts = {
            name.replace("_", "-"): describe_difference(self.figures[name])
            for name in self.figures["metrics"]
        }
        facts["rows"] = describe_changes(self.figures)
        facts |= {f"note {i}": note for i, note in enumerate(self.figures["caveats"], start=1)}
        return self.sentence, facts


@accept_options(data_options=DataOptions, leave_out=("weight_column", "multi_label"))
def compare(
    a: Classifier | str | os.PathLike[str],
    b: Classifier | str | os.PathLike[str],
    data: Any,
    labels: Any = None,
    *,
    split: str = "test",
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    seed: int = 0,
    data_options: DataOptions,
    callbacks: Sequence[Callback] = (),
) -> ComparisonResult:
    """Compare two models on labelled data that neither has learned from.

    The verdict rests on accuracy, of multi-label models on micro-F1: its 95 % interval
    (:func:`token2wave.paired_tests.bootstrap_scores`) and McNemar's test.

    Args:
        a: a model or its file, such as the one in use.
        b: another, such as a newer one.
        data: a file, a folder, a name, or rows in memory, as for :func:`token2wave.train`.
        labels: the true label, or labels, of each text, if ``data`` is texts.
        split: ``train``, ``validation`` or ``test``; a single file is all of it.
        out: table to write, .csv, .tsv or .xlsx: the rows whose predictions changed, with all columns.
        overwrite: replace a file of another kind than such a table. An input is never replaced.
        seed: of the resamples of the intervals.
        data_options: how to read the data (:class:`token2wave.DataOptions`). You give its fields as keyword
            arguments. With a group column, groups are resampled.
        callbacks: called as the work goes on.

    Raises:
        DataError: the data cannot be read, or the models know none of its labels.
        ConfigError: only one of the models is multi-label, or one is a model of scores.
    """
    outputs = Outputs([a, b, *possible_paths(data)], overwrite=overwrite)
    if out is not None:
        outputs.check_file(out, "table of changed rows")
        require_table_name(Path(out))
    models = [each if isinstance(each, Classifier) else load(each) for each in (a, b)]
    for each in models:
        each.require_labels("compare")
    multi_label = models[0].multi_label
    if models[1].multi_label != multi_label:
        problem = "expected two models of one kind, found a multi-label model and one with a label a text"
        raise ConfigError(problem, location="compare", hint="name two models of the same task")
    rows = read_test_rows(models, data, labels, split, data_options, outputs, with_table=out is not None)
    names = tuple(dict.fromkeys(name for each in models for name in each.label_names))
    truth = (encode_label_sets if multi_label else encode_labels)(rows, names)
    if rows.unknown_labels:
        names = (*names, UNKNOWN_LABELS)
    callback_list = CallbackList.with_logging(callbacks)
    callback_list.stage("comparison", 2 * len(rows))
    caveats = [*rows.notes, *rows.unknown_label_notes()]
    predicted, probabilities = [], []
    for letter, model in zip("AB", models, strict=True):
        scores = model.probabilities(rows.texts, callback_list.advance)
        columns = [names.index(name) for name in model.label_names]
        wide = np.zeros((len(rows), len(names)), dtype=np.float32)
        wide[:, columns] = scores
        probabilities.append(wide)
        decided = model.decide(scores)
        if multi_label:
            flags = np.zeros(wide.shape, dtype=bool)
            flags[:, columns] = decided
            predicted.append(flags)
        else:
            predicted.append(np.array(columns)[decided])
        present = {label for labels_of_row in rows.label_sets for label in labels_of_row} & set(names)
        if missing := sorted(present - set(model.label_names)):
            caveats.append(
                f"Model {letter} has no class {join_names(missing)}, so it gets those texts wrong."
            )
        if is_familiar(model.novelty(rows.texts)):
            problem = (
                "are much like those of its training. If it has learned from them, its figures flatter it."
            )
            caveats.append(f"Model {letter}: these texts {problem}")
    right = [(truth == each).reshape(len(rows), -1).all(axis=1) for each in predicted]
    gains, groups = right[1].astype(np.int64) - right[0], None
    test_gains = gains
    if rows.groups is not None:
        keys = [(i, "") if group is None else (-1, group) for i, group in enumerate(rows.groups)]
        numbers = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        groups = np.array([numbers[key] for key in keys])
        test_gains = np.bincount(groups, gains).astype(np.int64)
    scores_of_both = bootstrap_scores(truth, predicted[0], predicted[1], len(names), groups=groups, seed=seed)
    p, metrics = mcnemar_p(test_gains), scores_of_both.figures
    main = "micro_f1" if multi_label else "accuracy"
    verdict = _verdict(metrics[main], None if multi_label else p)
    has_changed = (predicted[0] != predicted[1]).reshape(len(rows), -1).any(axis=1)
    classes = []
    for i, (name, f1) in enumerate(zip(names, scores_of_both.class_f1, strict=True)):
        mask = truth[:, i] if multi_label else truth == i
        classes.append(
            {
                "label": name,
                "rows": int(mask.sum()),
                **_to_dict(f1),
                "gained": int((gains[mask] > 0).sum()),
                "lost": int((gains[mask] < 0).sum()),
            }
        )
    figures: dict[str, Any] = {
        "verdict": verdict,
        "rows": len(rows),
        "metrics": list(metrics),
        **{name: _to_dict(difference) for name, difference in metrics.items()},
        "mcnemar_p": p,
        "changed": int(has_changed.sum()),
        "gained": int((gains > 0).sum()),
        "lost": int((gains < 0).sum()),
        "groups": None if groups is None else len(test_gains),
        "more_rows": _more_rows(metrics[main], len(rows)) if verdict == "cannot be told yet" else None,
        "classes": classes,
        "data": os.fspath(data) if is_name(data) else rows.source,
        "split": split,
        "caveats": caveats,
    }
    sentence = _sentence(verdict, main, metrics, figures)
    changes = _changed_rows(rows, names, has_changed, gains, predicted, probabilities)
    if out is not None:
        with private_files(outputs.is_private):
            write_table(Path(out), list(changes), zip(*changes.values(), strict=True))
    return ComparisonResult(verdict, sentence, figures, changes)


def _verdict(main: Difference, p: float | None) -> str:
    low, high = main.interval
    if p is None or p < SIGNIFICANCE:
        if low > 0 and main.difference > 0:
            return "B is better"
        if high < 0 and main.difference < 0:
            return "A is better"
    return "no difference that matters" if low > -MARGIN and high < MARGIN else "cannot be told yet"


def _more_rows(main: Difference, n_rows: int) -> int:
    """About how many more rows tell whether there is a difference, or none that matters, if it stays so."""
    half = (main.interval[1] - main.interval[0]) / 2
    target = max(abs(main.difference), MARGIN - abs(main.difference))
    more = max(n_rows * ((_POWER * half / target) ** 2 - 1), 1.0)
    digits = int(log10(more)) - 1
    return int(round(more / 10**digits) * 10**digits) if digits > 0 else round(more)


def _sentence(verdict: str, main: str, metrics: Mapping[str, Difference], figures: Mapping[str, Any]) -> str:
    name = main.replace("_f1", "-F1")
    text = f"{verdict[0].upper()}{verdict[1:]}: {name} {describe_difference(figures[main])}."
    if figures["more_rows"]:
        text += f" About {figures['more_rows']:,} more test rows would tell."
    low, high = metrics["macro_f1"].interval
    if (verdict == "B is better" and high < 0) or (verdict == "A is better" and low > 0):
        text += " But macro-F1, in which rare classes count as much as others, says the opposite."
    return text


def describe_difference(figure: Mapping[str, Any]) -> str:
    """Both figures, their difference in points, and its interval."""
    low, high = (f"{100 * end:+.2f}" for end in figure["interval"])
    difference = f"{100 * figure['difference']:+.2f} points (95% interval {low} to {high})"
    return f"{percent(figure['a'])} for A, {percent(figure['b'])} for B, {difference}"


def describe_changes(figures: Mapping[str, Any]) -> str:
    """How many rows changed, and what the test says of them."""
    other = figures["changed"] - figures["gained"] - figures["lost"]
    return (
        f"B gains {figures['gained']:,} of {figures['rows']:,} rows, loses {figures['lost']:,}, "
        f"and has {other:,} wrong in another way; McNemar's test p = {figures['mcnemar_p']:.2g}"
    )


def _to_dict(figure: Difference) -> dict[str, Any]:
    return {**asdict(figure), "difference": figure.difference}


def _changed_rows(
    rows: TextSplit,
    names: Sequence[str],
    has_changed: NDArray[np.bool_],
    gains: NDArray[np.int64],
    predicted: Sequence[NDArray[Any]],
    probabilities: Sequence[NDArray[np.float32]],
) -> dict[str, list[object]]:
    changed = np.flatnonzero(has_changed)
    shifts = np.abs(probabilities[1][changed] - probabilities[0][changed]).max(axis=1, initial=0)
    order = np.argsort(-shifts, kind="stable")
    shifts, numbers = shifts[order], [int(i) for i in changed[order]]

    def labels_of(row: NDArray[Any]) -> object:
        return [names[int(i)] for i in np.flatnonzero(row)] if row.ndim else names[int(row)]

    columns: dict[str, list[object]] = {
        "row": [rows.row(i) for i in numbers],
        "change": [{1: GAINED, -1: LOST}.get(gain, STILL_WRONG) for gain in gains[numbers].tolist()],
        "label": [rows.labels[i] for i in numbers],
        **{
            f"label_{letter}": list(map(labels_of, each[numbers]))
            for letter, each in zip("ab", predicted, strict=True)
        },
        "difference": shifts.astype(float).round(4).tolist(),
    }
    columns = {name: list(map(table_cell, values)) for name, values in columns.items()}
    for name, values in ({"text": rows.texts} if rows.table is None else rows.table.columns).items():
        cells = [table_cell(values[i]) for i in numbers]
        if name == "label" and cells == columns[name]:
            continue
        while name in columns:
            name = f"input_{name}"
        columns[name] = cells
    return columns
