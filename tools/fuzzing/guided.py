"""Coverage-guided fuzzing: atheris (libFuzzer for Python) draws inputs that reach new code.

    python -m fuzzing.guided --seconds 600
    python -m fuzzing.guided --seconds 60 --targets readers,model
    python -m fuzzing.guided --replay build/fuzz/findings/readers
    python -m fuzzing.guided --minimise

The targets share the seconds. Each runs in its own process with limits for memory and for the time of one
input. With clang, ``make fuzz`` also counts the branches of the native core. An input that crashes, hangs or
takes too much memory is written to the folder of findings, the target restarts with another seed, and the
exit status is 1. Once the bug is fixed, add the input to the archive in ``tests/fuzz/corpora`` under a name
of its own with ``--add``; the tests replay these archives. ``--minimise`` renews the rest of an archive: the
shortest inputs that together reach as far as all.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fuzzing.corpora import CORPORA, read_corpus, unpack_corpus, write_corpus

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "fuzz"
MAX_MEMORY_MIB = 1_024
MAX_ADDRESS_SPACE = 8 << 30  # bytes
MAX_SECONDS_PER_INPUT = 10
MAX_SECONDS_PER_PROCESS = 60  # atheris leaks memory with every comparison of arrays
MAX_FINDINGS = 5  # per target and run
MAX_CORPUS_BYTES = 120_000  # per target, in the tests
COMMAND = (sys.executable, "-m", "fuzzing.guided")
COVERAGE = re.compile(r"cov: (\d+)(?: ft: (\d+))?")
STATISTICS = {
    "executions": re.compile(r"stat::number_of_executed_units: (\d+)"),
    "peak_mib": re.compile(r"stat::peak_rss_mb: +(\d+)"),
}
LATE_IMPORTS = (  # imported inside functions, so not instrumented otherwise
    *("cli.main", "inference.loading", "evaluation", "explanation", "compression", "pipeline"),
    *("serving.page", "training.incremental", "reporting.report", "data.splits"),
)


def fuzz_in_process(name: str, flags: Sequence[str]) -> None:
    """Fuzz one target in this process; does not return."""
    import atheris

    resource.setrlimit(resource.RLIMIT_AS, (MAX_ADDRESS_SPACE, MAX_ADDRESS_SPACE))
    with atheris.instrument_imports(include=["token2wave"]):
        from fuzzing.targets import TARGETS

        for module in LATE_IMPORTS:
            importlib.import_module(f"token2wave.{module}")
    target = TARGETS[name]
    # libFuzzer starts this script to run itself again when it merges corpora.
    script = BUILD / f"again-{name}"
    script.write_text(f'#!/bin/sh\nexec {" ".join(COMMAND)} --child {name} "$@"\n')
    script.chmod(0o755)
    atheris.Setup([str(script), f"-max_len={target.max_bytes}", *flags], target.run)
    atheris.Fuzz()


def _environment() -> dict[str, str]:
    import atheris

    [library] = Path(atheris.__file__).parent.glob("core_with_libfuzzer*.so")
    return os.environ | {
        "TOKEN2WAVE_LIBFUZZER": str(library),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


def _run_libfuzzer(
    name: str, seconds: float, seed: int, arguments: Sequence[str | Path], findings: Path
) -> dict[str, Any]:
    """Run libFuzzer on a target until the time is over or it has a finding."""
    flags = [
        f"-max_total_time={max(int(seconds), 1)}",
        f"-timeout={MAX_SECONDS_PER_INPUT}",
        f"-rss_limit_mb={MAX_MEMORY_MIB}",
        f"-artifact_prefix={findings}/",
        f"-seed={seed % (1 << 32) or 1}",
        "-print_final_stats=1",
        *map(str, arguments),
    ]
    started = time.monotonic()
    process = subprocess.run(
        [*COMMAND, "--child", name, *flags],
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    log = process.stdout
    coverage = [(int(edges), int(features or 0)) for edges, features in COVERAGE.findall(log)]
    edges, features = max(coverage, default=(0, 0))
    statistics = {key: [0, *map(int, pattern.findall(log))][-1] for key, pattern in STATISTICS.items()}
    seconds = time.monotonic() - started
    is_failed = process.returncode != 0
    return {
        **statistics,
        "seconds": seconds,
        "edges": edges,
        "features": features,
        "failed": is_failed,
        "log": log,
    }


def fuzz(name: str, seconds: float, seed: int) -> dict[str, Any]:
    """Fuzz a target for some seconds, and go on after each finding.

    Returns:
        Executions, seconds, edges, features, peak memory and number of findings.
    """
    from fuzzing.seeds import seeds_of

    work, seeds, tested, findings = (
        BUILD / kind / name for kind in ("corpus", "seeds", "tested", "findings")
    )
    for folder in (work, seeds, findings):
        folder.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(seeds_of(name)):
        (seeds / f"{number:03}").write_bytes(content)
    unpack_corpus(CORPORA / f"{name}.zip", tested)
    total = {"executions": 0, "seconds": 0.0, "edges": 0, "features": 0, "peak_mib": 0, "findings": 0}
    while total["seconds"] < seconds and total["findings"] < MAX_FINDINGS:
        remaining = min(seconds - total["seconds"], MAX_SECONDS_PER_PROCESS)
        outcome = _run_libfuzzer(
            name, remaining, seed + int(total["seconds"]), [work, seeds, tested], findings
        )
        for key in ("executions", "seconds"):
            total[key] += outcome[key]
        for key in ("edges", "features", "peak_mib"):
            total[key] = max(total[key], outcome[key])
        if outcome["failed"]:
            total["findings"] += 1
            (findings / f"log-{total['findings']}.txt").write_text(outcome["log"])
            print(f"FINDING in {name}:\n{_end_of(outcome['log'])}\nwritten to {findings}", flush=True)
    return total


def _end_of(log: str) -> str:
    """The traceback in libFuzzer's log, or the last lines."""
    start = log.find(" === Uncaught Python exception: ===")
    lines = log[start if start >= 0 else -2_000 :].splitlines()
    return "\n".join(line[:300] for line in lines[:30])


def replay(path: Path, name: str) -> int:
    """Run the inputs of a file, folder or archive; return the number of findings."""
    from fuzzing.targets import TARGETS

    n_findings = 0
    inputs = read_corpus(path)
    for file, content in inputs.items():
        try:
            TARGETS[name].run(content)
        except BaseException as error:  # panics of libraries in Rust do not derive from Exception
            n_findings += 1
            print(f"FINDING {file}: {type(error).__name__}: {str(error)[:300]}")
    print(f"{name}: {len(inputs)} inputs replayed, {n_findings} findings")
    return n_findings


def settle(path: Path) -> int:
    """Replay all findings, each in its own process, and record how many are still open."""
    document = json.loads(path.read_text())
    n_open = 0
    for name, total in document["targets"].items():
        files = [file for file in (BUILD / "findings" / name).glob("*") if not file.name.startswith("log-")]
        commands = [[*COMMAND, "--replay", str(file)] for file in files]
        codes = [subprocess.run(command, capture_output=True, timeout=600).returncode for command in commands]
        total["findings"] = sum(code != 0 for code in codes)
        n_open += total["findings"]
        print(f"{name}: {len(files)} findings so far, {total['findings']} of them still open")
    path.write_text(json.dumps(document, indent=1) + "\n")
    return n_open


def minimise(name: str) -> None:
    """Write the archive of the tests: named inputs and the shortest that reach as far as all."""
    from fuzzing.targets import TARGETS

    archive, merged, tested = CORPORA / f"{name}.zip", BUILD / "merged" / name, BUILD / "tested" / name
    for folder in (merged, tested):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    unpack_corpus(archive, tested)
    sources = [folder for kind in ("corpus", "seeds", "tested") if (folder := BUILD / kind / name).is_dir()]
    _run_libfuzzer(name, 600, 1, ["-merge=1", merged, *sources], BUILD)
    inputs = {
        file: content
        for file, content in read_corpus(tested).items()
        if not re.fullmatch("[0-9a-f]{40}", file)
    }
    n_named, n_bytes = len(inputs), sum(map(len, inputs.values()))
    shortest = sorted(read_corpus(merged).items(), key=lambda item: (len(item[1]), item[0]))
    for file, content in shortest[: TARGETS[name].max_inputs]:
        n_bytes += len(content)
        if n_bytes > MAX_CORPUS_BYTES:
            break
        inputs[file] = content
    write_corpus(archive, inputs)
    print(f"{name}: {len(inputs) - n_named} of {len(shortest)} inputs, {n_named} named inputs")


def main() -> int:
    """Run what the command line asks for; the exit status is 1 if there is a finding."""
    if sys.argv[1:2] == ["--child"]:
        fuzz_in_process(sys.argv[2], sys.argv[3:])
    from fuzzing.targets import TARGETS

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600, help="for all targets together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--targets", default=",".join(TARGETS), help="names separated by commas")
    parser.add_argument("--results", type=Path, help="JSON file to create or add to")
    parser.add_argument("--replay", type=Path, help="run only this file, folder or archive of one target")
    parser.add_argument("--settle", type=Path, help="count the open findings of this JSON file again")
    parser.add_argument("--add", type=Path, help="add this file or folder to a target's archive")
    parser.add_argument("--minimise", action="store_true", help="write the archives of the tests")
    arguments = parser.parse_args()
    names = arguments.targets.split(",")
    if unknown := set(names) - set(TARGETS):
        parser.error(f"expected targets among {', '.join(TARGETS)}, found {', '.join(unknown)}")
    if path := arguments.replay or arguments.add:
        parts = [*path.resolve().parts, path.stem]
        name = next((part for part in reversed(parts) if part in TARGETS), names[0])
        if arguments.replay:
            return int(replay(path, name) > 0)
        archive = CORPORA / f"{name}.zip"
        write_corpus(archive, read_corpus(archive) | read_corpus(path))
        return 0
    if arguments.settle is not None:
        return int(settle(arguments.settle) > 0)
    if arguments.minimise:
        for name in names:
            minimise(name)
        return 0
    n_findings = 0
    has_native_edges = "PC tables" in _run_libfuzzer(names[0], 1, 1, ["-runs=1"], BUILD)["log"]
    for name in names:
        total = fuzz(name, arguments.seconds / len(names), arguments.seed)
        n_findings += total["findings"]
        print(
            f"{name}: {total['executions']:,} executions in {total['seconds']:.0f} s, "
            f"{total['edges']:,} edges, {total['findings']} findings, peak memory {total['peak_mib']} MiB",
            flush=True,
        )
        if arguments.results is not None:
            _add_result(arguments.results, name, total, has_native_edges)
    return int(n_findings > 0)


def _add_result(path: Path, name: str, total: dict[str, Any], has_native_edges: bool) -> None:
    """Add the totals of a target to a file of results."""
    document = json.loads(path.read_text()) if path.is_file() else {"targets": {}}
    document |= {"python": platform.python_version(), "atheris": version("atheris")}
    document["native_edges"] = has_native_edges
    previous = document["targets"].get(name, {})
    document["targets"][name] = {
        key: max(previous.get(key, 0), value)
        if key in ("edges", "features", "peak_mib")
        else previous.get(key, 0) + value
        for key, value in total.items()
    }
    path.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
