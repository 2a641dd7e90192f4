"""Fuzz every way in, guided by coverage: atheris (libFuzzer for Python) draws inputs that reach new code.

    python tools/fuzz_guided.py --seconds 600
    python tools/fuzz_guided.py --seconds 60 --targets readers,model
    python tools/fuzz_guided.py --replay build/fuzz/findings/readers
    python tools/fuzz_guided.py --minimise

The targets (``tools/fuzz_targets.py``) share the seconds, each in a process of its own with a limit to its
memory and to the time of one input. Where clang is there, ``make fuzz`` lets it count the branches of the
native core, too, which guide as those of Python do. An input that crashes, hangs or takes too much memory is
kept in the folder of findings, the target begins again with another seed, and the exit status is 1. Once it
is mended, the input belongs into ``tests/fuzz/corpus`` under a name of its own. The tests replay what is
there; ``--minimise`` renews the rest of it: the shortest inputs that together reach as far as all.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import re
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CORPUS = ROOT / "tests" / "fuzz" / "corpus"
BUILD = ROOT / "build" / "fuzz"
MEMORY = 1_024  # MiB that a process may hold
ADDRESSES = 8 << 30  # bytes that it may ask for
SECONDS_OF_AN_INPUT = 10
SECONDS_OF_A_PROCESS = 60  # atheris keeps memory with every comparison of arrays that it is told of
MAX_FINDINGS = 5  # of a target, in one run
BYTES_KEPT = 120_000  # of a target's corpus in the tests
STATUS = re.compile(r"cov: (\d+)(?: ft: (\d+))?")
LATE = (  # that functions import, and would not be instrumented
    *("cli", "loading", "evaluation", "explanation", "compression", "serving.html", "serving.page"),
    *("training.train", "training.updating", "training.report", "data.splits", "integrations.tracking"),
)
NUMBER_OF = {
    "executions": re.compile(r"stat::number_of_executed_units: (\d+)"),
    "peak_mib": re.compile(r"stat::peak_rss_mb: +(\d+)"),
}


def child(name: str, flags: Sequence[str]) -> None:
    """Fuzz one target in this process; does not come back."""
    import atheris

    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    with atheris.instrument_imports(include=["token2wave"]):
        from fuzz_targets import TARGETS

        for module in LATE:
            importlib.import_module(f"token2wave.{module}")
    target = TARGETS[name]
    # libFuzzer starts itself again to merge: by the name that it is given here.
    again = BUILD / f"again-{name}"
    again.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" --child {name} "$@"\n')
    again.chmod(0o755)
    atheris.Setup([str(again), f"-max_len={target.longest}", *flags], target.run)
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


def _fuzz_once(
    name: str, seconds: float, seed: int, more: Sequence[str | Path], findings: Path
) -> dict[str, Any]:
    """Run libFuzzer on a target until the time is over, or it has found something."""
    flags = [
        f"-max_total_time={max(int(seconds), 1)}",
        f"-timeout={SECONDS_OF_AN_INPUT}",
        f"-rss_limit_mb={MEMORY}",
        f"-artifact_prefix={findings}/",
        f"-seed={seed % (1 << 32) or 1}",
        "-print_final_stats=1",
        *map(str, more),
    ]
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, __file__, "--child", name, *flags],
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    found = STATUS.findall(done.stdout)
    numbers = {
        key: int(match[-1]) if (match := wanted.findall(done.stdout)) else 0
        for key, wanted in NUMBER_OF.items()
    }
    edges, features = max(((int(cov), int(ft or 0)) for cov, ft in found), default=(0, 0))
    return {
        **numbers,
        "seconds": time.monotonic() - begun,
        "edges": edges,
        "features": features,
        "failed": done.returncode != 0,
        "log": done.stdout,
    }


def fuzz(name: str, seconds: float, seed: int) -> dict[str, Any]:
    """Fuzz a target for some seconds, on and on after each finding.

    Returns:
        What is known of it: executions, seconds, edges, features, peak memory and findings.
    """
    from fuzz_seeds import seeds_of

    work, seeds, findings = (BUILD / kind / name for kind in ("corpus", "seeds", "findings"))
    for folder in (work, seeds, findings):
        folder.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(seeds_of(name)):
        (seeds / f"{number:03}").write_bytes(content)
    folders = [work, seeds, *([CORPUS / name] if (CORPUS / name).is_dir() else [])]
    total = {"executions": 0, "seconds": 0.0, "edges": 0, "features": 0, "peak_mib": 0, "findings": 0}
    while total["seconds"] < seconds:
        left = min(seconds - total["seconds"], SECONDS_OF_A_PROCESS)
        once = _fuzz_once(name, left, seed + int(total["seconds"]), folders, findings)
        for key in ("executions", "seconds"):
            total[key] += once[key]
        for key in ("edges", "features", "peak_mib"):
            total[key] = max(total[key], once[key])
        if once["failed"]:
            total["findings"] += 1
            (findings / f"log-{total['findings']}.txt").write_text(once["log"])
            print(f"FINDING in {name}:\n{_end_of(once['log'])}\nkept in {findings}", flush=True)
            if total["findings"] >= MAX_FINDINGS:
                break
    return total


def _end_of(log: str) -> str:
    """What a person wants to see of libFuzzer's log: the traceback, or its last lines."""
    start = log.find(" === Uncaught Python exception: ===")
    lines = log[start if start >= 0 else -2_000 :].splitlines()
    return "\n".join(line[:300] for line in lines[:30])


def replay(path: Path, name: str) -> int:
    """Run the inputs of a file or folder; the number of findings."""
    from fuzz_targets import TARGETS

    n_found = 0
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    files = [file for file in files if not file.name.startswith("log-")]
    for file in files:
        try:
            TARGETS[name].run(file.read_bytes())
        except BaseException as error:  # of libraries in Rust, too
            n_found += 1
            print(f"FINDING {file}: {type(error).__name__}: {str(error)[:300]}")
    print(f"{name}: {len(files)} inputs again, {n_found} findings")
    return n_found


def settle(path: Path) -> int:
    """Run all that was found again, each input in a process, and write how many are findings still."""
    document = json.loads(path.read_text())
    n_open = 0
    for name, total in document["targets"].items():
        folder = BUILD / "findings" / name
        files = [file for file in folder.glob("*") if not file.name.startswith("log-")]
        again = [
            subprocess.run(
                [sys.executable, __file__, "--replay", file], capture_output=True, timeout=600
            ).returncode
            for file in files
        ]
        total["findings"] = sum(code != 0 for code in again)
        n_open += total["findings"]
        print(f"{name}: {len(files)} inputs found so far, {total['findings']} of them findings still")
    path.write_text(json.dumps(document, indent=1) + "\n")
    return n_open


def minimise(names: Sequence[str]) -> None:
    """Let the corpora of the tests be what reaches as far as all inputs so far, as far as there is place."""
    from fuzz_targets import TARGETS

    for name in names:
        merged = BUILD / "merged" / name
        merged.mkdir(parents=True, exist_ok=True)
        for file in merged.iterdir():
            file.unlink()
        sources = [folder for kind in ("corpus", "seeds") if (folder := BUILD / kind / name).is_dir()]
        sources += [CORPUS / name] if (CORPUS / name).is_dir() else []
        _fuzz_once(name, 600, 1, ["-merge=1", merged, *sources], BUILD)
        target = CORPUS / name
        target.mkdir(parents=True, exist_ok=True)
        crashers = [file for file in target.iterdir() if not re.fullmatch("[0-9a-f]{40}", file.name)]
        room = BYTES_KEPT - sum(file.stat().st_size for file in crashers)
        for file in target.iterdir():
            if file not in crashers:
                file.unlink()
        n_kept = 0
        shortest = sorted(merged.iterdir(), key=lambda file: (file.stat().st_size, file.name))
        for file in shortest[: TARGETS[name].most_kept]:
            room -= file.stat().st_size
            if room < 0:
                break
            (target / file.name).write_bytes(file.read_bytes())
            n_kept += 1
        print(f"{name}: {n_kept} of {len(list(merged.iterdir()))} inputs kept, {len(crashers)} by name")


def main() -> int:
    """Do what the command line asks.

    Returns:
        The exit status: 1 if there was a finding.
    """
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3:])
    from fuzz_targets import TARGETS

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600, help="of all targets together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--targets", default=",".join(TARGETS), help="names, with commas between")
    parser.add_argument("--results", type=Path, help="JSON file that is written, and added to if it is there")
    parser.add_argument(
        "--replay", type=Path, help="a file or folder of one target's inputs, and nothing else"
    )
    parser.add_argument("--settle", type=Path, help="results in which to count the findings that are open")
    parser.add_argument(
        "--minimise", action="store_true", help="write the corpora of the tests, and nothing else"
    )
    arguments = parser.parse_args()
    names = arguments.targets.split(",")
    if unknown := set(names) - set(TARGETS):
        parser.error(f"expected targets among {', '.join(TARGETS)}, found {', '.join(unknown)}")
    if arguments.replay is not None:
        path = arguments.replay
        name = next((part for part in reversed(path.resolve().parts) if part in TARGETS), names[0])
        return int(replay(path, name) > 0)
    if arguments.settle is not None:
        return int(settle(arguments.settle) > 0)
    if arguments.minimise:
        minimise(names)
        return 0
    n_found, counts_native = 0, "PC tables" in _fuzz_once(names[0], 1, 1, ["-runs=1"], BUILD)["log"]
    for name in names:
        total = fuzz(name, arguments.seconds / len(names), arguments.seed)
        n_found += total["findings"]
        print(
            f"{name}: {total['executions']:,} executions in {total['seconds']:.0f} s, "
            f"{total['edges']:,} edges, {total['findings']} findings, peak memory {total['peak_mib']} MiB",
            flush=True,
        )
        if arguments.results is not None:
            _note(arguments.results, name, total, counts_native)
    return int(n_found > 0)


def _note(path: Path, name: str, total: dict[str, Any], native: bool) -> None:
    """Add what was done with a target to a file of results."""
    document = json.loads(path.read_text()) if path.is_file() else {"targets": {}}
    document |= {"python": platform.python_version(), "atheris": version("atheris"), "native_edges": native}
    before = document["targets"].get(name, {})
    document["targets"][name] = {
        key: max(before.get(key, 0), value)
        if key in ("edges", "features", "peak_mib")
        else before.get(key, 0) + value
        for key, value in total.items()
    }
    path.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
