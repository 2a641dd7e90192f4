"""What benchmarks share: command lines, origin of results, runs in turns that resume, and their medians."""

from __future__ import annotations

import argparse
import base64
import json
import os
import shlex
import statistics
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from token2wave.storage.atomic import atomic_write, make_folder
from token2wave.training.result import machine
from token2wave.versions import versions

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results" / "benchmarks"
sys.path.insert(0, str(ROOT))  # some benchmarks share code with paper/
BASELINE_PACKAGES = ("scikit-learn", "scipy", "fasttext", "pybind11")
Record = dict[str, Any]


def make_parser(description: str | None, **defaults: Any) -> argparse.ArgumentParser:
    """Make a parser with the module's docstring as its help, and some of the shared options.

    Args:
        description: the docstring.
        defaults: of the shared options to add, by name; None requires the option.
    """
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=formatter)
    for name, default in {**defaults, "results": defaults.get("results", RESULTS)}.items():
        convert, text = SHARED_OPTIONS[name]
        required = default is None
        parser.add_argument(f"--{name}", type=convert, default=default, required=required, help=text)
    return parser


def comma_list(text: str) -> list[str]:
    """Distinct names between commas."""
    return list(dict.fromkeys(name for name in text.split(",") if name))


def comma_integers(text: str) -> list[int]:
    """Numbers between commas."""
    return list(map(int, comma_list(text)))


SHARED_OPTIONS: dict[str, tuple[Callable[[str], Any], str]] = {
    "name": (str, "of the result"),
    "data": (comma_list, "data sets, by commas"),
    "presets": (comma_list, "by commas"),
    "preset": (str, "that is trained"),
    "runs": (int, "repetitions"),
    "seed": (int, "of every random choice"),
    "seeds": (comma_integers, "by commas"),
    "threads": (int, "that compute"),
    "results": (Path, "folder of the results"),
    "build": (Path, "folder of files made here"),
}


def command_line(script: str, arguments: Sequence[str] | None = None) -> str:
    """The command of a benchmark, without the folders it writes to; ``script`` is its ``__file__``."""
    words, skip = ["python", f"benchmarks/{Path(script).name}"], False
    for word in sys.argv[1:] if arguments is None else arguments:
        if not skip and word.partition("=")[0] not in ("--results", "--build"):
            words.append(word)
        skip = word in ("--results", "--build")
    return shlex.join(words)


def describe_origin(threads: int, packages: Iterable[str] = ()) -> Record:
    """Machine, processors, versions and state of the code, for a result."""
    return {
        "machine": machine(threads, "cpu"),
        "processors": os.cpu_count(),
        "versions": all_versions(packages),
        "code": code_state(),
    }


def all_versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of what token2wave depends on, and of further packages where they are installed."""
    names = list(packages)
    return dict.fromkeys(names, "not installed") | versions(names)


def code_state() -> dict[str, Any]:
    """Commit of the code, and whether files other than results differ from it; None without git."""
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--", ".", ":!results")
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


def _git(*arguments: str) -> str | None:
    try:
        return subprocess.check_output(
            ["git", *arguments], cwd=ROOT, text=True, stderr=subprocess.DEVNULL
        ).strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest of several runs."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def pack_bits(bits: Any) -> str:
    """Whether each test text was right, ``(N,)``, as base64 of zlib of eight bits a byte."""
    import numpy as np

    return base64.b64encode(zlib.compress(np.packbits(bits).tobytes(), 9)).decode()


def unpack_bits(text: str, n: int) -> Any:
    """Invert :func:`pack_bits` for ``n`` test texts, ``(N,)`` of 0 and 1."""
    import numpy as np

    return np.unpackbits(np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.uint8), count=n)


def write_document(path: Path, document: Record) -> None:
    """Write JSON so that a reader sees the old document or the new one."""
    make_folder(path.parent)
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_earlier(path: Path, document: Record, *, any_processor: bool = False) -> Record | None:
    """The result of an earlier start of the same benchmark, of this processor; None if there is none.

    With ``any_processor`` it may be of another one, which ``document["other_processors"]`` then names.
    """
    if not path.is_file():
        return None
    earlier = dict(json.loads(path.read_text(encoding="utf-8")))
    if earlier.get("schema") != document["schema"]:
        sys.exit(f"error: expected a result of schema {document['schema']}, found {earlier.get('schema')!r}")
    own, theirs = document["machine"]["processor"], earlier["machine"]["processor"]
    if own != theirs and not any_processor:
        sys.exit("error: the earlier result comes from another processor; choose another --name")
    document["other_processors"] = sorted({theirs, *earlier.get("other_processors", ())} - {own})
    return earlier


def resume_note(document: Record, record: Record | None) -> str:
    """What progress says of a record that an earlier start finished; nothing without one."""
    if record is None:
        return ""
    same = record["code"] == document["code"]
    return "taken over" if same else f"taken over, of commit {record['code']['commit']}"


def run_in_turns(
    document: Record,
    path: Path,
    jobs: Sequence[tuple[str, Record]],
    earlier: Sequence[Record],
    measure: Callable[[Record], Record],
    describe: Callable[[Record], str],
    summarise: Callable[[list[Record], list[Record]], Record] = lambda *_: {},
) -> None:
    """Add a run of each job to the document, which is written after each.

    Args:
        document: its ``runs`` and ``medians`` grow.
        path: of the document.
        jobs: a title for progress, and the settings that make a run this run.
        earlier: runs of an earlier start; finished ones with the same settings are not made again.
        measure: makes a run from its settings; its ``figures`` are numbers, or its ``error`` is the reason.
        describe: says what came of a finished run.
        summarise: adds to the medians of a system, from its runs and from the finished ones.
    """
    for number, (title, settings) in enumerate(jobs, start=1):
        record = next((run for run in earlier if run["error"] is None and {**run, **settings} == run), None)
        note = resume_note(document, record)
        if record is None:
            load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
            record = {**settings, "figures": {}, **measure(settings)}
            record |= {"load_before": load, "code": document["code"]}  # programs that waited for a processor
            note = describe(record) if record["error"] is None else f"failed: {record['error']}"
        document["runs"].append(record)
        document["medians"] = summarise_runs(document["runs"], summarise)
        write_document(path, document)
        print(f"[{number:>{len(str(len(jobs)))}}/{len(jobs)}] {title}: {note}", flush=True)


def summarise_runs(
    runs: Iterable[Record], summarise: Callable[[list[Record], list[Record]], Record] = lambda *_: {}
) -> Record:
    """Median, smallest and largest of every figure, by data set and system; and what failed."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for run in runs:
        groups.setdefault((run["data"], run["system"]), []).append(run)
    medians: dict[str, Record] = {}
    for (data, system), group in groups.items():
        finished = [run for run in group if run["error"] is None]
        columns = {
            key: [run["figures"][key] for run in finished]
            for key in (finished or [{"figures": ()}])[0]["figures"]
        }
        medians.setdefault(data, {})[system] = {
            "runs": len(finished),
            "errors": list(dict.fromkeys(run["error"] for run in group if run["error"] is not None)),
            **summarise(group, finished),
            "figures": {key: spread(values) for key, values in columns.items() if None not in values},
        }
    return medians
