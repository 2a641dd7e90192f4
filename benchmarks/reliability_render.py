"""The tables of docs/reliability.md: each promise, how it is tested, and what was measured last."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from token2wave.formatting import count, size

NOT_YET = "not measured yet"
Document = dict[str, Any]


@dataclass(frozen=True)
class Promise:
    """A row of the table.

    Attributes:
        said: the promise.
        tested: the tests that run always, and the command that measures.
        source: result file, or a part of ``reliability.json``.
        figure: renders what was measured.
    """

    said: str
    tested: str
    source: str
    figure: Callable[[Document], str]


def _kills(part: Document) -> str:
    jobs = part["jobs"]
    total = {key: sum(job[key] for job in jobs) for key in ("kills", "in_a_write", "runs", "same", "looks")}
    return (
        f"{count(total['kills'])} kills, {count(total['in_a_write'])} of them in the middle of a write; "
        f"{count(total['same'])} of {count(total['runs'])} runs ended with the same file, and nothing "
        f"beside it (seed {part['seed']})"
    )


def _readers(part: Document) -> str:
    looks = sum(job["looks"] for job in part["jobs"])
    return (
        f"{count(looks)} looks while runs were killed, {sum(len(job['faults']) for job in part['jobs'])} bad"
    )


def _same(part: Document) -> str:
    n = sum(row["processes"] for row in part["same"])
    other = sum(len(row["other"]) for row in part["same"])
    return f"{len(part['same'])} presets in {n} processes: {other} other files"


def _device(part: Document) -> str:
    peaks = [step["peak_bytes"] for row in part["rows"] for step in row.get("steps", {}).values()]
    return f"at most {size(max(peaks))}, on {', '.join(row['data'] for row in part['rows'])}"


def _load(part: Document) -> str:
    share = part["share"]["median"]
    return (
        f"{part['found']} of {part['bits']} flipped bits found; the checksum takes {100 * share:.0f} % of "
        f"the time to load {size(part['bytes'])}"
    )


def _service(part: Document) -> str:
    rows = part["rows"]
    right, wrong, failed = (sum(row[key] for row in rows) for key in ("right", "wrong", "failed"))
    return f"{len(rows)} faults: {count(right)} right answers, {wrong} wrong, {failed} requests failed"


def _scoring(document: Document) -> str:
    killed = document["killed"]
    return (
        f"{count(killed['documents'])} documents, killed {len(killed['kills'])} times: "
        f"{count(killed['missing'])} missing, {count(killed['more_than_once'])} twice, "
        f"{count(killed['rejected'])} rejected"
    )


def _scoring_often(document: Document) -> str:
    often = document["killed_often"]
    return f"{count(often['kills'])} kills in {count(often['jobs'])} jobs, every row accounted for"


def _scoring_memory(document: Document) -> str:
    return f"{size(document['killed']['peak_bytes_of_all_processes'])}, all processes together"


def _stream_kills(document: Document) -> str:
    part = document["kills"]
    return (
        f"{count(part['kills'])} kills; {part['runs_with_the_same_file']} of {part['runs']} runs ended with "
        f"the same file (seed {part['seed']})"
    )


def _stream_memory(document: Document) -> str:
    part = document["large"]
    made, most = part["crawl"], max(part["peak_memory_bytes"], part["memory_seen"])
    return f"{size(most)}, for {count(made['documents'])} documents of {size(made['bytes'])}"


def _fuzzing(document: Document) -> str:
    targets = document["targets"].values()
    minutes = sum(target["seconds"] for target in targets) / 60
    runs, found = (sum(target[key] for target in targets) for key in ("executions", "findings"))
    return f"{minutes:.0f} minutes, {count(runs)} inputs for {len(targets)} targets: {found} findings open"


MEASURED = "`benchmarks/reliability.py`"
PROMISES = (
    Promise(
        "Training that is killed at any moment goes on to the same model, byte for byte",
        "`tests/benchmarks/test_kills.py`, `tests/training/test_training_checkpoint.py`; "
        f"{MEASURED} `--only kills`",
        "kills",
        _kills,
    ),
    Promise(
        "Nobody sees half a file: a model or a checkpoint is the old one or the new one",
        f"`tests/inference/test_atomic.py`, `tests/benchmarks/test_kills.py`; {MEASURED} `--only kills`",
        "kills",
        _readers,
    ),
    Promise(
        "A full disk leaves the old file whole, and the error says what to do",
        "`tests/training/test_full_disk.py`, `tests/inference/test_model_file.py`",
        "",
        lambda _: "no figure: it holds, or the tests fail",
    ),
    Promise(
        "A damaged model file is refused, wherever the damage is",
        "`tests/inference/test_safetensors_writer.py`, `tests/inference/test_model_damage.py`; "
        f"{MEASURED} `--only load`",
        "load",
        _load,
    ),
    Promise(
        "Same data, settings, seed, machine and threads: the same file, bit for bit",
        f"`tests/benchmarks/test_determinism.py`; {MEASURED} `--only determinism`",
        "determinism",
        _same,
    ),
    Promise(
        "Training, learning one person's rows and predicting fit into 256 MB on one slow core",
        f"`tests/test_examples.py`; {MEASURED} `--only device`",
        "device",
        _device,
    ),
    Promise(
        "Training on a stream that is killed within a pass goes on to the same model, byte for byte",
        "`tests/training/test_streaming.py`; `benchmarks/streaming.py --only kills`",
        "streaming",
        _stream_kills,
    ),
    Promise(
        "Training on a stream stays within bounded memory",
        "`tests/training/test_streaming.py`; `benchmarks/streaming.py --only large`",
        "streaming",
        _stream_memory,
    ),
    Promise(
        "The service answers rightly while workers are killed, its log is stuck or the clock jumps",
        f"`tests/serving/test_service_faults.py`; {MEASURED} `--only service`",
        "service",
        _service,
    ),
    Promise(
        "Scoring that is killed ends with every row once, in the output or among the rejected",
        "`tests/scoring`; `benchmarks/scoring.py`",
        "scoring",
        _scoring,
    ),
    Promise("The same, for small jobs and many kills", "`benchmarks/scoring.py`", "scoring", _scoring_often),
    Promise("Scoring stays within bounded memory", "`benchmarks/scoring.py`", "scoring", _scoring_memory),
    Promise(
        "No input crashes, hangs or fills the memory: readers, features, model files, service, command line",
        "the corpora in `tests`; `make fuzz`",
        "fuzzing",
        _fuzzing,
    ),
)


class Results:
    """What was measured, by part or by file.

    Args:
        folder: ``results``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.parts = (self._file("reliability") or {}).get("parts", {})

    def get(self, source: str) -> Document | None:
        """A part or a file; None where it was not measured."""
        if not source:
            return {}
        return self.parts.get(source) or self._file(source)

    def _file(self, name: str) -> Document | None:
        for path in (self._folder / f"{name}.json", self._folder / "benchmarks" / f"{name}.json"):
            if path.is_file():
                found: Document = json.loads(path.read_text(encoding="utf-8"))
                return found
        return None


def promises_table(results: Results) -> str:
    """Every promise, how it is tested, and the last figure."""
    lines = ["| promise | how it is tested | last measured |", "|---|---|---|"]
    for promise in PROMISES:
        found = results.get(promise.source)
        try:
            figure = NOT_YET if found is None else promise.figure(found)
        except KeyError:  # a part of a benchmark that was not run
            figure = NOT_YET
        lines.append(f"| {promise.said} | {promise.tested} | {figure} |")
    return "\n".join(lines) + "\n"


def determinism_table(part: Document) -> str:
    """What changes the bytes, and by how much."""
    lines = [
        "| preset | what differs | same file | largest difference of a probability | mean | other labels | "
        "accuracy, points |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    for row in [*part["threads"], *part["instructions"]]:
        cells = ["yes", "", "", "", ""]
        if not row["same"]:
            cells = ["no", f"{row['probability']:.1g}", f"{row['mean']:.1g}", count(row["labels"])]
            cells.append(f"{100 * row['accuracy']:+.2f}")
        lines.append(f"| `{row['job']}` | {row['condition']} | {' | '.join(cells)} |")
    told = (
        f"Trained on {count(part['rows'])} rows of debian-sections with one thread and all instructions of "
        f"the processor, and then otherwise; compared on {count(part['test_texts'])} test texts. "
        f"{_where(part)}"
    )
    return "\n".join([*lines, "", told]) + "\n"


def engines_table(part: Document) -> str:
    """One model file, predicting in every way."""
    lines = ["| preset | against the native core | largest difference of a probability | other labels |"]
    lines.append("|---|---|---:|---:|")
    lines += [
        f"| `{row['job']}` | {row['engine']} | {row['probability']:.1g} | {count(row['labels'])} |"
        for row in part["engines"]
    ]
    return "\n".join(lines) + "\n"


def device_table(part: Document) -> str:
    """What each step takes on a device."""
    lines = ["| data | step | rows or texts | peak memory |", "|---|---|---:|---:|"]
    told = []
    for row in part["rows"]:
        for name, step in row["steps"].items():
            n = {"train": row["rows"], "update": row["mine"]}.get(name, step.get("texts", 0))
            lines.append(f"| {row['data']} | {name} | {count(n)} | {size(step['peak_bytes'])} |")
        shares = [row["steps"]["predict"][f"accuracy_of_{model}"] for model in ("model", "mine")]
        told.append(f"{row['data']} {100 * shares[0]:.2f} %, then {100 * shares[1]:.2f} %")
    first = part["rows"][0]
    limits = f"{size(first['memory_bytes'])} and {100 * first['speed']:.0f} % of one processor's time"
    accuracy = f"Test accuracy before and after the rows of one person: {'; '.join(told)}."
    return "\n".join([*lines, "", f"Within {limits}. {accuracy} {_where(part)}"]) + "\n"


def service_table(part: Document) -> str:
    """What clients of a service with faults saw."""
    lines = ["| fault | right answers | wrong | asked again | failed |", "|---|---:|---:|---:|---:|"]
    keys = ("right", "wrong", "asked_again", "failed")
    lines += [f"| {row['fault']} | {' | '.join(count(row[key]) for key in keys)} |" for row in part["rows"]]
    return "\n".join([*lines, "", f"For {part['seconds']:g} s each. {_where(part)}"]) + "\n"


def kills_table(part: Document) -> str:
    """What came of each job that was killed."""
    lines = ["| preset | kills | in the middle of a write | runs | same file | faults |"]
    lines.append("|---|---:|---:|---:|---:|---:|")
    lines += [
        f"| `{job['job']}` | {job['kills']} | {job['in_a_write']} | {job['runs']} | {job['same']} | "
        f"{len(job['faults'])} |"
        for job in part["jobs"]
    ]
    return "\n".join([*lines, "", f"Seed {part['seed']}. {_where(part)}"]) + "\n"


def _where(part: Document) -> str:
    return f"{part['machine']['processor']}, {part['date']}."


TABLES: dict[str, tuple[str, Callable[[Document], str]]] = {
    "reliability-kills": ("kills", kills_table),
    "reliability-determinism": ("determinism", determinism_table),
    "reliability-engines": ("determinism", engines_table),
    "reliability-device": ("device", device_table),
    "reliability-service": ("service", service_table),
}
"""Blocks of the document: the part that each shows, and how."""
