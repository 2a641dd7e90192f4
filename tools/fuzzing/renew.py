"""Write the archive of a target that reads files of arrays anew, for example after the format has changed.

    python -m fuzzing.renew model state

Candidates are the valid first inputs of the target and damaged copies of them. The archive holds few
candidates that together reach the lines of the package that all candidates reach, as far as its size
allows. This needs no atheris; ``fuzzing.guided`` followed by ``--minimise`` finds more.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import token2wave
from fuzzing.corpora import CORPORA, read_corpus, write_corpus
from fuzzing.damage import apply_edits, random_edits
from fuzzing.guided import MAX_CORPUS_BYTES
from fuzzing.seeds import seeds_of
from fuzzing.targets import TARGETS, assemble, disassemble

PACKAGE = str(Path(token2wave.__file__).parent)
N_DAMAGED = 6_000
Lines = set[tuple[str, int]]


def damaged(seeds: list[bytes], rng: Random) -> Iterator[bytes]:
    """Yield damaged copies of inputs."""
    for _ in range(N_DAMAGED):
        seed = rng.choice(seeds)
        whole = assemble(seed)
        raw = apply_edits(whole, random_edits(rng, whole))
        content = disassemble(raw)
        yield content if assemble(content) == raw else raw


def lines_reached(name: str, content: bytes) -> Lines:
    """Run a target on an input and return the lines of the package that it executes."""
    lines: Lines = set()

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        lines.add((frame.f_code.co_filename, frame.f_lineno))
        return trace

    sys.settrace(trace)
    try:
        TARGETS[name].run(content)
    finally:
        sys.settrace(None)
    return lines


def renew(name: str) -> None:
    """Write the archive of one target; inputs with names of their own stay."""
    archive, seeds = CORPORA / f"{name}.zip", seeds_of(name)
    inputs = {
        file: content
        for file, content in read_corpus(archive).items()
        if not re.fullmatch("[0-9a-f]{40}", file)
    }
    TARGETS[name].run(seeds[0])  # what runs once in a process, such as imports, counts for no input
    reached: Lines = set()
    candidates: list[tuple[bytes, Lines]] = []
    for content in [*seeds, *damaged(seeds, Random(0))]:
        lines = lines_reached(name, content)
        if len(content) <= TARGETS[name].max_bytes and lines - reached:
            candidates.append((content, lines))
            reached |= lines
    chosen: Lines = set()
    while candidates:  # the most new lines a byte come first
        candidates.sort(key=lambda candidate: (len(candidate[1] - chosen) / len(candidate[0]), candidate[0]))
        content, lines = candidates.pop()
        if lines - chosen and sum(map(len, inputs.values())) + len(content) <= MAX_CORPUS_BYTES:
            inputs[hashlib.sha1(content).hexdigest()] = content
            chosen |= lines
    write_corpus(archive, inputs)
    print(f"{name}: {len(inputs)} inputs reach {len(chosen)} of {len(reached)} lines")


def main() -> None:
    """Renew the archives that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("targets", nargs="+", choices=("model", "state", "checkpoint"))
    for name in parser.parse_args().targets:
        renew(name)


if __name__ == "__main__":
    main()
