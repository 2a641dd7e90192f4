"""Load damaged model files and predict hostile texts until something goes wrong.

    python tools/fuzz.py --seconds 600 --seed 0 --corpus tests/inference/fuzz_corpus
    python tools/fuzz.py --replay build/fuzz/findings/0-1234.json

A model file must be refused with a ``Token2WaveError``, or give a classifier; that must answer whatever the
text. On whole models the native core and numpy must agree. The exit status is 1 if there was a finding. Each
case is written to the folder of findings before it runs and removed if all went well, so that one that ends
the process is there, too. ``make fuzz`` runs this under the sanitizers.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from random import Random

from fuzz_cases import Case, random_case, run

import token2wave
from token2wave.core import core

LONGEST = 120  # seconds of computing that a case may take, under the sanitizers
LINES_SHOWN = 16  # of a traceback
OF_A_KIND = 3  # findings that are written down
SECONDS_BETWEEN_REPORTS = 30


def read_cases(path: Path) -> dict[str, Case]:
    """Read the cases of a file, which is one case or a list of them, or of all files of a folder; by name."""
    if path.is_dir():
        return {name: case for file in sorted(path.glob("*.json")) for name, case in read_cases(file).items()}
    found = json.loads(path.read_text(encoding="ascii"))
    if isinstance(found, dict):
        return {path.stem: found}
    return {f"{path.stem}-{number}": case for number, case in enumerate(found)}


def ways() -> list[bool]:
    """Ways to compute: natively where the core is there and not forbidden, and in numpy."""
    return [True, False] if core() is not None else [False]


def attempt(case: Case, natively: bool, path: Path) -> tuple[bool, str | None]:
    """Run a case that lies in a file meanwhile, and stays there if it went wrong.

    Returns:
        Whether the model was accepted, and the traceback of what went wrong.
    """
    path.write_text(json.dumps(case | {"natively": natively}), encoding="ascii")
    signal.setitimer(signal.ITIMER_PROF, LONGEST)
    try:
        accepted = run(case, natively)
    except KeyboardInterrupt:
        path.unlink()
        raise
    except BaseException:  # libraries in Rust raise their panics beside Exception
        return False, traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    path.unlink()
    return accepted, None


def kind_of(trace: str) -> str:
    """Tell findings apart: the last place in a traceback, and the type of the exception."""
    places = [line.strip() for line in trace.splitlines() if line.startswith("  File")]
    return f"{places[-1]} {trace.splitlines()[-1].partition(':')[0]}"


class Fuzzer:
    """Runs cases and keeps count.

    Args:
        findings: folder to which findings are written.
    """

    def __init__(self, findings: Path) -> None:
        self.findings = findings
        self.found: Counter[str] = Counter()
        self.n_cases = self.n_accepted = self.n_operations = 0

    def one(self, case: Case, natively: bool, name: str) -> None:
        """Run one case under a name."""
        path = self.findings / f"{name}.json"
        accepted, trace = attempt(case, natively, path)
        self.n_cases += 1
        self.n_accepted += accepted
        self.n_operations += len(case["operations"]) if accepted else 0
        if trace is None:
            return
        kind = kind_of(trace)
        self.found[kind] += 1
        if self.found[kind] > OF_A_KIND:
            path.unlink()
            return
        path.write_text(json.dumps(case | {"natively": natively, "trace": trace}, indent=1), encoding="ascii")
        end = "\n".join(trace.splitlines()[-LINES_SHOWN:])
        print(f"FINDING {kind}\n{end}\nkept in {path}", flush=True)

    def report(self) -> str:
        """Say what was done so far."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        return (
            f"{self.n_cases} cases, {self.n_accepted} models accepted, {self.n_operations} operations, "
            f"{sum(self.found.values())} findings of {len(self.found)} kinds; "
            f"{time.process_time():.0f} s of computing, peak memory {peak} MiB"
        )


def fuzz(fuzzer: Fuzzer, seconds: float, seed: int, corpus: dict[str, Case]) -> None:
    """Draw cases until the time is over, some of them from a corpus."""
    started = reported = time.monotonic()
    known = list(corpus.values())
    number = 0
    while time.monotonic() - started < seconds:
        chance = Random(f"{seed}-{number}")
        case = random_case(chance, known)
        fuzzer.one(case, chance.choice(ways()), f"{seed}-{number}")
        number += 1
        if time.monotonic() - reported > SECONDS_BETWEEN_REPORTS:
            reported = time.monotonic()
            print(f"{reported - started:.0f} s: {fuzzer.report()}", flush=True)


def main() -> int:
    """Do what the command line asks.

    Returns:
        The exit status: 1 if there was a finding.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--corpus", type=Path, help="folder of cases to run first, and to change")
    parser.add_argument(
        "--findings", type=Path, default=Path("build/fuzz/findings"), help="folder to write to"
    )
    parser.add_argument("--replay", type=Path, help="a file or folder of cases to run, and nothing else")
    arguments = parser.parse_args()
    arguments.findings.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", "2")  # what matters is that there are threads at all
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    faulthandler.register(signal.SIGPROF, chain=True)  # of a case that does not end
    print(
        f"seed {arguments.seed}, {Path(token2wave.__file__).parent}, core {getattr(core(), '__file__', None)}"
    )
    fuzzer = Fuzzer(arguments.findings)
    known = arguments.replay or arguments.corpus
    cases = {} if known is None else read_cases(known)
    for name, case in cases.items():
        for natively in ways():
            fuzzer.one(case, natively, f"replayed-{name}-{'native' if natively else 'numpy'}")
    if arguments.replay is None:
        fuzz(fuzzer, arguments.seconds, arguments.seed, cases)
    print(fuzzer.report())
    return 1 if fuzzer.found else 0


if __name__ == "__main__":
    sys.exit(main())
