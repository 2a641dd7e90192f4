"""Jobs in processes of their own: a dictionary goes in, and another one, or an error, comes out.

Imports the standard library alone, so that a worker can time all other imports.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Job = dict[str, Any]
Answer = dict[str, Any]
LIBRARIES_WITH_THREADS = ("OMP", "MKL", "OPENBLAS", "RAYON", "NUMEXPR")


def job_environment(threads: int, native: bool | None = None) -> dict[str, str]:
    """Environment of a process with so many threads; ``native`` False forbids the native core."""
    numbers = {f"{library}_NUM_THREADS": str(threads) for library in LIBRARIES_WITH_THREADS}
    environment = {**os.environ, **numbers}
    environment.pop("TOKEN2WAVE_NATIVE", None)
    return {**environment, "TOKEN2WAVE_NATIVE": "0"} if native is False else environment


def run_job(script: Path, job: Job, environment: Mapping[str, str]) -> Answer:
    """Run a job of a worker script in a process of its own; ``error`` in its answer is None or the reason."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        out = Path(folder, "result.json")
        command = [sys.executable, str(script), "--job", json.dumps(job), "--out", str(out)]
        # Its temporary files go into our folder, so that none is left when it is stopped.
        environment = {**environment, "TMPDIR": folder}
        process = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace")
        if out.is_file():
            return dict(json.loads(out.read_text(encoding="utf-8")))
    last = (process.stderr.strip().splitlines() or ["no message"])[-1][:200]
    if process.returncode < 0:
        return {"error": f"stopped by signal {-process.returncode}, for lack of memory if it is 9: {last}"}
    return {"error": f"exit status {process.returncode}: {last}"}


def answer_job(functions: Mapping[str, Callable[[Job], Answer]], job: Job) -> Answer:
    """Do a job with the function of its ``kind``; whatever that raises is the answer's ``error``."""
    try:
        return {"error": None, **functions[job["kind"]](job)}
    except Exception as error:
        return {"error": one_line(f"{type(error).__name__}: {error}")}


def worker_main(functions: Mapping[str, Callable[[Job], Answer]]) -> None:
    """Do the job that the command line names, and write the answer to a file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--job", type=json.loads, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.write_text(json.dumps(answer_job(functions, arguments.job)), encoding="utf-8")


def one_line(text: str) -> str:
    """The beginning of a text on one line."""
    return " ".join(text.split())[:300]
