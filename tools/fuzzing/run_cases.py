"""Load damaged model files and predict hostile texts until something goes wrong.

    python -m fuzzing.run_cases --seconds 600 --seed 0
    python -m fuzzing.run_cases --replay build/fuzz/findings/0-1234.json

A model file must be refused with a ``Token2WaveError`` or give a classifier that answers every text. On whole
models the native core and numpy must agree. Each case is written to the folder of findings before it runs and
removed if all goes well, so that a case that ends the process is there too. The exit status is 1 if there is
a finding. ``make fuzz`` runs this under gcc's sanitizers.
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
from collections.abc import Mapping
from pathlib import Path
from random import Random

import token2wave
from fuzzing.cases import Case, random_case, run
from fuzzing.corpora import CORPORA, read_corpus
from token2wave.core import load_core

MAX_SECONDS = 120  # of processor time for one case, under the sanitizers
MAX_TRACEBACK_LINES = 16
MAX_FILES_PER_KIND = 3  # findings of one kind that are written down
SECONDS_BETWEEN_REPORTS = 30


def read_cases(path: Path) -> dict[str, Case]:
    """Read the cases of an archive, folder or file by name; a file holds one case or a list of them."""
    cases: dict[str, Case] = {}
    for name, content in read_corpus(path).items():
        document, stem = json.loads(content), Path(name).stem
        cases |= {stem: document} if isinstance(document, dict) else {}
        cases |= (
            {f"{stem}-{i}": case for i, case in enumerate(document)} if isinstance(document, list) else {}
        )
    return cases


def engines() -> list[bool]:
    """Whether to use the native core: both ways where it is available, else numpy alone."""
    return [True, False] if load_core() is not None else [False]


def run_guarded(case: Case, natively: bool, path: Path) -> tuple[bool, str | None]:
    """Run a case that is written to a file first and stays there if it fails.

    Returns:
        Whether the model was accepted, and the traceback of a finding.
    """
    path.write_text(json.dumps(case | {"natively": natively}), encoding="ascii")
    signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS)
    try:
        is_accepted = run(case, natively)
    except KeyboardInterrupt:
        path.unlink()
        raise
    except BaseException:  # panics of libraries in Rust do not derive from Exception
        return False, traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    path.unlink()
    return is_accepted, None


def finding_kind(trace: str) -> str:
    """What tells findings apart: the last place in a traceback and the type of the exception."""
    places = [line.strip() for line in trace.splitlines() if line.startswith("  File")]
    return f"{places[-1]} {trace.splitlines()[-1].partition(':')[0]}"


class Fuzzer:
    """Runs cases and counts findings.

    Args:
        findings: folder to which findings are written.
    """

    def __init__(self, findings: Path) -> None:
        self.findings = findings
        self.kinds: Counter[str] = Counter()
        self.n_cases = self.n_accepted = self.n_operations = 0

    def run_case(self, case: Case, natively: bool, name: str) -> None:
        """Run one case under a name."""
        path = self.findings / f"{name}.json"
        is_accepted, trace = run_guarded(case, natively, path)
        self.n_cases += 1
        self.n_accepted += is_accepted
        self.n_operations += len(case["operations"]) if is_accepted else 0
        if trace is None:
            return
        kind = finding_kind(trace)
        self.kinds[kind] += 1
        if self.kinds[kind] > MAX_FILES_PER_KIND:
            path.unlink()
            return
        path.write_text(json.dumps(case | {"natively": natively, "trace": trace}, indent=1), encoding="ascii")
        end = "\n".join(trace.splitlines()[-MAX_TRACEBACK_LINES:])
        print(f"FINDING {kind}\n{end}\nwritten to {path}", flush=True)

    def report(self) -> str:
        """What was done so far, in one line."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        return (
            f"{self.n_cases} cases, {self.n_accepted} models accepted, {self.n_operations} operations, "
            f"{sum(self.kinds.values())} findings of {len(self.kinds)} kinds; "
            f"{time.process_time():.0f} s of processor time, peak memory {peak} MiB"
        )


def fuzz(fuzzer: Fuzzer, seconds: float, seed: int, corpus: Mapping[str, Case]) -> None:
    """Draw and run cases until the time is over, some of them from a corpus."""
    started = reported = time.monotonic()
    known = list(corpus.values())
    number = 0
    while time.monotonic() - started < seconds:
        rng = Random(f"{seed}-{number}")
        case = random_case(rng, known)
        fuzzer.run_case(case, rng.choice(engines()), f"{seed}-{number}")
        number += 1
        if time.monotonic() - reported > SECONDS_BETWEEN_REPORTS:
            reported = time.monotonic()
            print(f"{reported - started:.0f} s: {fuzzer.report()}", flush=True)


def main() -> int:
    """Run what the command line asks for; the exit status is 1 if there is a finding."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--corpus", type=Path, default=CORPORA / "cases.zip", help="cases to run and vary")
    parser.add_argument("--findings", type=Path, default=Path("build/fuzz/findings"), help="output folder")
    parser.add_argument("--replay", type=Path, help="run only the cases of this file, folder or archive")
    arguments = parser.parse_args()
    arguments.findings.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", "2")  # so that threads are tested at all
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    faulthandler.register(signal.SIGPROF, chain=True)  # prints where a case hangs
    package = Path(token2wave.__file__).parent
    print(f"seed {arguments.seed}, {package}, core {getattr(load_core(), '__file__', None)}")
    fuzzer = Fuzzer(arguments.findings)
    cases = read_cases(arguments.replay or arguments.corpus)
    for name, case in cases.items():
        for natively in engines():
            fuzzer.run_case(case, natively, f"replayed-{name}-{'native' if natively else 'numpy'}")
    if arguments.replay is None:
        fuzz(fuzzer, arguments.seconds, arguments.seed, cases)
    print(fuzzer.report())
    return int(bool(fuzzer.kinds))


if __name__ == "__main__":
    sys.exit(main())
