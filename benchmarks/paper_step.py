r"""Our step of the papers' network against the padded reference: same weights, same batches, same optimiser.

    python benchmarks/paper_step.py                              # the papers' size, some ten minutes
    python benchmarks/paper_step.py --steps 10 --width 64 --rows 1000 --runs 1

Writes ``results/benchmarks/paper_step.json``: the losses of both from the same start, step by step; the
speed of both by turns, without dropout and with that of preset ``paper``; and the most memory that a process
of each takes. A step is: take the texts of a batch from memory, already as WordPiece ids; build the tensors;
forward, backward, update. The reference is ``benchmarks/padded_network.py`` under ``torch.optim.AdamW``.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from measuring import RESULTS, all_versions, code_state, spread, write_document
from paper_trainers import (
    OPTIMIZERS,
    Ours,
    PaddedReference,
    Setting,
    Trainer,
    seconds_of_epoch,
    setting_of,
)

from token2wave.errors import Token2WaveError
from token2wave.formatting import duration, size
from token2wave.process_memory import peak_memory, resident_memory
from token2wave.training.result import machine

SCHEMA = 1
OFFICIAL_ROWS = 120_000
MAX_WARM_UP = 5
MAX_STEPS_OF_A_TURN = 10
STEPS_FOR_MEMORY = 30
SIDES = {"ours", "padded"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts one after the other, and write the document after each."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(given)
    torch.set_num_threads(options.threads)
    setting = setting_of(options.data, options.rows, options.width, options.operation, options.seed)
    if options.memory_of:
        print(json.dumps(_memory(setting, options.memory_of, options.steps)))
        return
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "name": options.name,
        "command": "python benchmarks/paper_step.py" + "".join(f" {shlex.quote(word)}" for word in given),
        "settings": {
            key: getattr(options, key)
            for key in ("data", "rows", "width", "operation", "steps", "runs", "seed", "threads")
        },
        "turn_steps": min(options.steps, MAX_STEPS_OF_A_TURN),
        "network": setting.network.to_dict(),
        "recipe": setting.recipe.to_dict(),
        "data": {
            "rows": len(setting.examples),
            "tokens_per_text": float(setting.examples.features.lengths.mean()),
            "caveats": list(setting.caveats),
        },
        "machine": machine(options.threads, "cpu"),
        "versions": all_versions(()),
        "code": code_state(),
    }
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "losses": lambda: losses(setting.without_dropout(), options.steps),
        "speed": lambda: speed(setting.without_dropout(), options.steps, options.runs),
        "speed_with_dropout": lambda: speed(setting.in_float32(), options.steps, options.runs),
        "speed_of_the_preset": lambda: speed_of_the_preset(setting, options.steps, options.runs),
        "memory": lambda: memory_of_both(given, options.steps),
    }
    for name, part in parts.items():
        document[name] = part()
        write_document(options.results / f"{options.name}.json", document)
        print(f"{name}: {told(name, document[name])}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", default="paper_step", help="of the result")
    parser.add_argument("--data", default="ag_news")
    parser.add_argument("--rows", type=int, help="so many training rows at most")
    parser.add_argument("--width", type=int, help="of the network; that of the preset, if not given")
    parser.add_argument("--operation", help="interference or modulation; that of the preset, if not given")
    parser.add_argument("--steps", type=int, default=100, help="whose losses are compared")
    parser.add_argument("--runs", type=int, default=5, help="turns of each in the comparison of speed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--memory-of", choices=("ours", "padded"), help=argparse.SUPPRESS)
    return parser


def losses(setting: Setting, steps: int) -> dict[str, Any]:
    """Losses of both from the same weights on the same batches, for each way of updating our rows."""
    reference = PaddedReference(setting)
    expected = [reference.step() for _ in range(steps)]
    found: dict[str, Any] = {"steps": steps, "padded": [step.loss for step in expected], "ours": {}}
    for optimizer, meaning in OPTIMIZERS.items():
        ours = Ours(setting, optimizer)
        made = [ours.step() for _ in range(steps)]
        if any(mine.labels != its.labels for mine, its in zip(made, expected, strict=True)):
            raise AssertionError("the two did not train on the same batches")
        apart = [abs(mine.loss - its.loss) for mine, its in zip(made, expected, strict=True)]
        found["ours"][optimizer] = {
            "meaning": meaning,
            "losses": [step.loss for step in made],
            "largest_difference": max(apart),
            "at_step": apart.index(max(apart)) + 1,
        }
    return found


def speed(setting: Setting, steps: int, runs: int) -> dict[str, Any]:
    """Texts a second of both, by turns of so many steps, in one order and then in the other."""
    trainers: dict[str, Trainer] = {"ours": Ours(setting), "padded": PaddedReference(setting)}
    speeds = _speeds(trainers, min(steps, MAX_STEPS_OF_A_TURN), runs)
    found = _described(speeds, setting)
    for name in trainers.keys() - {"padded"}:
        ratios = [mine / its for mine, its in zip(speeds[name], speeds["padded"], strict=True)]
        found[name]["ratio_to_padded"] = spread(ratios)
    return found


def speed_of_the_preset(setting: Setting, steps: int, runs: int) -> dict[str, Any]:
    """Texts a second of preset ``paper`` in the package's own loop and precision."""
    n_texts = min(steps * setting.recipe.batch_size, len(setting.examples))
    speeds = {"ours": [n_texts / seconds_of_epoch(setting, steps) for _ in range(runs)]}
    return {"precision": setting.recipe.precision, **_described(speeds, setting)}


def _speeds(trainers: dict[str, Trainer], steps: int, runs: int) -> dict[str, list[float]]:
    """Texts a second of each turn: the median over its steps."""
    for trainer in trainers.values():
        for _ in range(min(steps, MAX_WARM_UP)):
            trainer.step()
    speeds: dict[str, list[float]] = {name: [] for name in trainers}
    for run in range(runs):
        for name in list(trainers)[:: 1 if run % 2 == 0 else -1]:
            speeds[name].append(statistics.median(_texts_per_second(trainers[name]) for _ in range(steps)))
    return speeds


def _texts_per_second(trainer: Trainer) -> float:
    start = time.perf_counter()
    step = trainer.step()
    return len(step.labels) / (time.perf_counter() - start)


def _described(speeds: dict[str, list[float]], setting: Setting) -> dict[str, Any]:
    found: dict[str, Any] = {
        "token_dropout": setting.recipe.token_dropout,
        "dropout": setting.network.dropout,
        "extrapolation": f"No epoch of {OFFICIAL_ROWS:,} texts was run here. Its seconds are extrapolated: "
        f"{OFFICIAL_ROWS:,} over the median of the texts a second, tokenisation and validation left out.",
    }
    for name, each in speeds.items():
        found[name] = {
            "texts_per_second": spread(each),
            "turns": each,
            "extrapolated_epoch_seconds": OFFICIAL_ROWS / statistics.median(each),
        }
    return found


def memory_of_both(given: Sequence[str], steps: int) -> dict[str, Any]:
    """Most memory of a fresh process that trains one of them for some steps."""
    found: dict[str, Any] = {"steps": min(steps, STEPS_FOR_MEMORY)}
    for name in ("ours", "padded"):
        command = [sys.executable, __file__, *given, "--steps", str(found["steps"]), "--memory-of", name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[name] = json.loads(done.stdout.splitlines()[-1])
    return found


def _memory(setting: Setting, name: str, steps: int) -> dict[str, Any]:
    before = resident_memory()
    plain = setting.without_dropout()
    trainer: Trainer = Ours(plain) if name == "ours" else PaddedReference(plain)
    for _ in range(steps):
        trainer.step()
    return {"data_loaded_bytes": before, "peak_bytes": peak_memory()}


def told(part: str, found: dict[str, Any]) -> str:
    """What a person sees of a part."""
    if part == "losses":
        return ", ".join(
            f"{name} {ours['largest_difference']:.1e} apart at most" for name, ours in found["ours"].items()
        )
    if part == "memory":
        return ", ".join(f"{name} {size(found[name]['peak_bytes'])}" for name in ("ours", "padded"))
    speeds = []
    for name in SIDES & found.keys():
        side = found[name]
        speeds.append(
            f"{name} {side['texts_per_second']['median']:.0f} texts/s, an epoch of {OFFICIAL_ROWS:,} by "
            f"extrapolation {duration(side['extrapolated_epoch_seconds'])}"
        )
        if "ratio_to_padded" in side:
            speeds[-1] += f", {side['ratio_to_padded']['median']:.2f} times padded"
    return "; ".join(sorted(speeds))


if __name__ == "__main__":
    try:
        main()
    except Token2WaveError as error:
        sys.exit(f"error: {error}")
