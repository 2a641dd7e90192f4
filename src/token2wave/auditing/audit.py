"""From labelled rows to an audit: ``token2wave.audit`` and its result."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.auditing.audit_page import render_audit_page
from token2wave.auditing.checks import CHECKS
from token2wave.auditing.decisions import Decisions, cleaned_name, fingerprint, read_decisions, write_cleaned
from token2wave.auditing.findings import AuditRows, Finding
from token2wave.auditing.label_checks import decisions_of
from token2wave.auditing.learning_curve import attainable_and_curve
from token2wave.config import accept_options
from token2wave.data import TextDataset, load_splits
from token2wave.data.bad_rows import check_bad_rows, write_bad_rows
from token2wave.data.datasets import possible_paths
from token2wave.data.sources import is_name
from token2wave.data.splits import label_names_of
from token2wave.errors import ConfigError, DataError
from token2wave.formatting import Described, percent
from token2wave.inference.vectors import nearest as nearest_vectors
from token2wave.options import AuditOptions, DataOptions
from token2wave.storage.atomic import atomic_write, make_folder, private_files
from token2wave.storage.outputs import Outputs
from token2wave.storage.tables import write_table
from token2wave.training.callbacks import Callback, CallbackList
from token2wave.training.label_quality import MAX_NEIGHBOUR_ROWS, LabelQuality, assess_labels

FILES = ("audit.json", "audit.html", "suspicious.csv", "findings.csv")
EXPLAIN_SECONDS = 5.0
N_NEAREST = 3  # rows beside a suspicious one
MAX_CHARACTERS = 10_000  # of a text in the document; longer ones are cut there, and not explained
AUDIT_COLUMNS = ("row", "label", "proposed", "suspicion", "probability", "label_probability")


@dataclass(frozen=True, repr=False)
class AuditResult(Described):
    """What :func:`audit` returns.

    Attributes:
        document: all that was found, as plain data; the content of ``audit.json``.
        audited: the rows.
        all_findings: the findings with all their rows.
        files: what was written.
        applied: a sentence about the cleaned copy, if there is one.
    """

    document: dict[str, Any]
    audited: AuditRows
    all_findings: Sequence[Finding]
    files: tuple[Path, ...] = ()
    applied: str = ""

    @property
    def suspicious(self) -> list[dict[str, Any]]:
        """The rows whose labels look wrong, the most suspicious first; at most ``max_rows``."""
        rows: list[dict[str, Any]] = self.document["suspicious"]
        return rows

    @property
    def findings(self) -> list[dict[str, Any]]:
        """What the checks found, the gravest first."""
        findings: list[dict[str, Any]] = self.document["findings"]
        return findings

    @property
    def noise(self) -> float | None:
        """Estimated fraction of wrong labels; None if it cannot be told."""
        noise: float | None = self.document["noise"]
        return noise

    @property
    def n_suspicious(self) -> int:
        """How many labels look wrong."""
        return len(suspicious_rows(self.audited.quality))

    @property
    def headline(self) -> str:
        """A sentence that says how many labels look wrong, and what to do."""
        n_rows, n = self.document["rows"], self.n_suspicious
        if not self.all_findings and self.applied:
            return self.applied
        if self.audited.quality is None:
            return f"Whether the labels of {n_rows:,} rows are right cannot be told."
        if not n:
            return f"No label of {n_rows:,} rows looks wrong."
        verb = "label looks" if n == 1 else "labels look"
        return (
            f"{n:,} of {n_rows:,} {verb} wrong ({percent(n / n_rows, 1)}). Review them: keep, change or drop."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the document, which JSON can hold."""
        return self.document

    def _describe(self) -> tuple[str, dict[str, str]]:
        facts = {finding["title"]: f"{finding['count']:,}" for finding in self.findings}
        return self.headline, {**facts, **({"files": ", ".join(map(str, self.files))} if self.files else {})}

    def decisions(self, action: str) -> Decisions:
        """What to do with all suspicious rows: ``drop`` them, or ``relabel`` them as proposed.

        Returns:
            The new labels by index of the row; None drops it.
        """
        quality = self.audited.quality
        if quality is None:
            return {}
        rows = suspicious_rows(quality).tolist()
        return {row: None if action == "drop" else labels_of(quality, quality.proposed, row) for row in rows}

    def write(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> list[Path]:
        """Write the page, the document and the tables into a folder, and return their paths.

        Raises:
            OutputError: a file cannot be written, or would replace something else.
        """
        folder = Path(folder)
        check_audit(folder, Outputs(overwrite=overwrite))
        page = render_audit_page(self.document).encode("utf-8", "backslashreplace")
        for name, content in (("audit.json", json.dumps(self.document).encode()), ("audit.html", page)):
            with atomic_write(folder / name) as temporary:
                temporary.write_bytes(content)
        write_table(folder / "suspicious.csv", *self._suspicious_table())
        write_table(folder / "findings.csv", ("finding", "row", "split", "detail"), self._finding_rows())
        return [folder / name for name in FILES]

    def _suspicious_table(self) -> tuple[list[str], Iterable[list[object]]]:
        """All suspicious rows with all columns of the input; its column of labels is ours if named alike."""
        quality, table = self.audited.quality, self.audited.rows.table
        columns = {} if table is None else dict(table.columns)
        if table is not None and table.label_column in AUDIT_COLUMNS:
            columns.pop(table.label_column)
        header = [name if name not in columns else f"audit_{name}" for name in AUDIT_COLUMNS]
        rows = () if quality is None else suspicious_rows(quality).tolist()

        def cells() -> Iterable[list[object]]:
            for row in rows:
                entry = _describe_row(self.audited, row)
                own = [_cell(entry[name]) for name in AUDIT_COLUMNS]
                yield [*own, *(_cell(values[row]) for values in columns.values())]

        return [*header, *columns], cells() if rows else ()

    def _finding_rows(self) -> Iterable[tuple[object, ...]]:
        for finding in self.all_findings:
            for match in finding.matches:
                places = [("train", self.audited.rows, match.rows)]
                if self.audited.test is not None:
                    places.append(("test", self.audited.test, match.test_rows))
                for split, rows, indices in places:
                    for index in indices:
                        yield finding.document["name"], rows.row(index), split, match.detail
                if not (match.rows or match.test_rows):
                    yield finding.document["name"], "", "", match.detail


@accept_options(options=AuditOptions, data_options=DataOptions)
def audit(
    data: Any,
    labels: Any = None,
    *,
    options: AuditOptions,
    data_options: DataOptions,
    callbacks: Sequence[Callback] = (),
) -> AuditResult:
    """Find wrong labels, contradictions, leaks and odd texts, and say what would help.

    Models that have not seen a row judge its label.

    Args:
        data: a file, a folder with train and test files, or the name of a data set; or rows in memory, as for
            :func:`token2wave.train`.
        labels: the label, or the list of labels, of each text, if ``data`` is texts.
        options: how to audit. You give its fields as keyword arguments.
        data_options: how to read the data, likewise.
        callbacks: called as the work goes on.

    Raises:
        DataError: the data or the decisions cannot be read or used.
        OutputError: an output cannot be written, or would replace something else; before any work.
    """
    start = time.perf_counter()
    callback_list = CallbackList.with_logging(callbacks)
    out = None if options.out is None else Path(options.out)
    table = None if options.apply in (None, "drop", "relabel") else Path(str(options.apply))
    inputs = [*possible_paths(data, options.test), *([] if table is None else [table])]
    outputs = Outputs(inputs, overwrite=options.overwrite)
    check_bad_rows(data_options, outputs)
    cleaned: Path | None = None
    with private_files(outputs.is_private):
        if out is not None:
            make_folder(out)
            check_audit(out, outputs)
        dataset = load_splits(data, data_options, labels=labels, test=options.test, with_table=True)
        rows = dataset.train
        if out is not None and options.apply is not None:
            cleaned = out / cleaned_name(rows)
            outputs.check_file(cleaned, "cleaned copy")
        write_bad_rows(data_options, dataset.bad_rows, outputs)
    names = tuple(dataset.label_names or sorted({name for labels in rows.label_sets for name in labels}))
    decisions = None if table is None else read_decisions(table, rows, names, data_options.label_separator)
    document: dict[str, Any] = {
        "format": "token2wave-audit",
        "version": 1,
        "data": os.fspath(data) if is_name(data) else rows.source,
        "rows": len(rows),
        "test_rows": None if dataset.test is None else len(dataset.test),
        "labels": list(names),
        "multi_label": rows.multi_label,
        "columns": [] if rows.table is None else list(rows.table.columns),
        "notes": list(dataset.caveats),
        **dict.fromkeys(("accuracy", "noise", "attainable", "learning_curve")),
        "suspicious": [],
        "findings": [],
    }
    if decisions is None:
        result = _fill_in(dataset, document, options, data_options.group_column, callback_list)
    else:
        result = AuditResult(document, AuditRows(rows, dataset.test, names, None), ())
    document["seconds"] = time.perf_counter() - start
    files, applied = list[Path](), ""
    with private_files(outputs.is_private):
        if out is not None and decisions is None:
            files = result.write(out, overwrite=options.overwrite)
        if cleaned is not None:
            decisions = result.decisions(str(options.apply)) if decisions is None else decisions
            applied = write_cleaned(cleaned, rows, decisions, data_options.label_separator)
            files.append(cleaned)
    return replace(result, files=tuple(files), applied=applied)


def _fill_in(
    dataset: TextDataset,
    document: dict[str, Any],
    options: AuditOptions,
    group_column: str | None,
    callback_list: CallbackList,
) -> AuditResult:
    """Train the models that have not seen the rows, run the checks, and fill in the document."""
    rows, names = dataset.train, tuple(document["labels"])
    plain = replace(rows, table=None)
    quality = None
    try:
        quality = assess_labels(
            plain, label_names_of(plain, dataset.label_names), seed=options.seed, callback_list=callback_list
        )
        document["accuracy"], document["noise"] = _accuracy(quality), float(quality.noise)
    except (ConfigError, DataError) as error:
        document["notes"].append(f"Labels were not judged by models: {error.problem}.")
    if quality is not None and rows.multi_label:
        document["notes"].append(
            "Pairs of classes were not compared, because a text may have several labels."
        )
    audited = AuditRows(rows, dataset.test, names, quality, group_column)
    callback_list.stage("checks", len(CHECKS))
    findings = []
    for check in CHECKS:
        findings.append(check.run(audited, options.max_rows))
        callback_list.advance(1)
    findings = [finding for finding in findings if finding.matches]
    document["findings"] = [finding.document for finding in findings]
    document["suspicious"] = _explained(audited, options.max_rows, callback_list)
    if names:
        document["attainable"], document["learning_curve"] = attainable_and_curve(
            plain, names, quality, seed=options.seed, callback_list=callback_list
        )
    return AuditResult(document, audited, findings)


def check_audit(folder: Path, outputs: Outputs) -> None:
    """Check that an audit can be written into a folder; OutputError if something else would be lost."""
    for name in FILES:
        outputs.check_file(folder / name, "audit", shown_by=folder / FILES[0])


def suspicious_rows(quality: LabelQuality | None) -> NDArray[np.int64]:
    """The rows whose labels look wrong, ``(M,)`` int64, the most suspicious first."""
    if quality is None:
        return np.zeros(0, dtype=np.int64)
    ranking = quality.ranking()
    return ranking[quality.is_suspicious[ranking]]


def labels_of(quality: LabelQuality, labels: NDArray[Any], row: int) -> tuple[str, ...]:
    """The names of a row's labels, as given or as proposed."""
    classes = np.flatnonzero(labels[row]) if labels.ndim == 2 else [labels[row]]
    return tuple(quality.label_names[c] for c in classes)


def _contrast(quality: LabelQuality, row: int) -> tuple[int, int | None, float, float]:
    """The class that is proposed and the one that it replaces, and the probabilities of both.

    For multi-label texts it is the worst decision: a class to add, or, with no class proposed, to remove.
    """
    p = quality.probabilities[row]
    if quality.labels.ndim == 1:
        proposed, label = int(quality.proposed[row]), int(quality.labels[row])
        return proposed, label, float(p[proposed]), float(p[label])
    wrong = np.where(quality.labels[row], 1 - p, p)
    worst = int(wrong.argmax())
    return worst, None, float(wrong[worst]), float(1 - wrong[worst])


def _describe_row(audited: AuditRows, row: int) -> dict[str, Any]:
    """A suspicious row as plain data, without its text."""
    quality = audited.quality
    assert quality is not None
    label, proposed = (labels_of(quality, labels, row) for labels in (quality.labels, quality.proposed))
    multi_label = quality.labels.ndim == 2
    _, _, probability, label_probability = _contrast(quality, row)
    return {
        "row": audited.rows.row(row),
        "label": list(label) if multi_label else label[0],
        "proposed": list(proposed) if multi_label else proposed[0],
        "suspicion": round(float(quality.suspicion[row]), 6),
        "probability": round(probability, 6),
        "label_probability": round(label_probability, 6),
    }


def _explained(audited: AuditRows, max_rows: int, callback_list: CallbackList) -> list[dict[str, Any]]:
    """The most suspicious rows with their texts, and with their words as long as time allows."""
    rows, table = audited.rows, audited.rows.table
    order = suspicious_rows(audited.quality)[:max_rows].tolist()
    callback_list.stage("explanations", len(order))
    nearest = _nearest_rows(audited, order)
    end, entries = time.monotonic() + EXPLAIN_SECONDS, []
    for row in order:
        text = rows.texts[row]
        ours = () if table is None else (*table.text_columns, table.label_column)
        columns = {} if table is None else table.columns
        entries.append(
            {
                **_describe_row(audited, row),
                "split": "train",
                "fingerprint": fingerprint(text),
                "text": text[:MAX_CHARACTERS],
                "fields": {name: _plain(of[row]) for name, of in columns.items() if name not in ours},
                "words": _words(audited, row) if time.monotonic() < end else None,
                "nearest": nearest.get(row),
            }
        )
        callback_list.advance(1)
    return entries


def _nearest_rows(audited: AuditRows, order: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """For rows the most similar other rows, by the vectors of a model that has not seen the row.

    Nothing if there are too many rows, or a network does not compile.
    """
    rows, quality = audited.rows, audited.quality
    nearest: dict[int, list[dict[str, Any]]] = {}
    if quality is None or len(rows) > MAX_NEIGHBOUR_ROWS:
        return nearest
    for fold in sorted({int(quality.fold[row]) for row in order}):
        members = [row for row in order if quality.fold[row] == fold]
        try:
            vectors = quality.classifiers[fold].encode(list(rows.texts))
        except ConfigError:
            return {}
        neighbours = nearest_vectors(vectors[members], vectors, N_NEAREST + 1)
        for row, others, cosines in zip(
            members, neighbours.rows.tolist(), neighbours.similarity.tolist(), strict=True
        ):
            pairs = [pair for pair in zip(others, cosines, strict=True) if pair[0] != row]
            nearest[row] = [
                {
                    "row": rows.row(other),
                    "label": list(rows.label_sets[other]) if rows.multi_label else rows.labels[other],
                    "similarity": round(cosine, 4),
                }
                for other, cosine in pairs[:N_NEAREST]
            ]
    return nearest


def _words(audited: AuditRows, row: int) -> list[tuple[str, float]] | None:
    """The words of a text, each with its exact effect on the log-odds of the proposal against the label."""
    text, quality = audited.rows.texts[row], audited.quality
    assert quality is not None
    if len(text) > MAX_CHARACTERS:
        return None
    proposed, label, _, _ = _contrast(quality, row)
    try:
        explanation = quality.classifiers[quality.fold[row]].explain(text)
    except ConfigError:  # the network does not compile
        return None
    sign = -1 if label is None and quality.labels[row, proposed] else 1
    return [
        (
            text[word.start : word.end],
            round(
                sign * word.logit_effects[proposed] - (0 if label is None else word.logit_effects[label]), 4
            ),
        )
        for word in explanation.parts
    ]


def _accuracy(quality: LabelQuality) -> float:
    """Accuracy of the predictions against the labels given; of several labels all must be right."""
    labels, predicted = decisions_of(quality)
    return float((labels == predicted).all(axis=1).mean())


def _plain(value: object) -> object:
    """A cell as JSON can hold it."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _cell(value: object) -> object:
    """A cell of a table."""
    if isinstance(value, list | tuple):
        return json.dumps(list(map(str, value)), ensure_ascii=False)
    value = _plain(value)
    return "" if value is None else value
