"""How time, memory and file of a whole training run grow with the data: rows, words, classes, vocabulary."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from growth_data import ABOUT_TOPICS, ABOUT_ZIPF, SPREAD_OF_LENGTHS, made_up_rows
from growth_measure import Curve
from growth_plan import Plan, TrainingSize
from growth_studies import make_study

import token2wave
from paper.studies.memory_measurement import call_in_fresh_process, measure_peak

TIME, MEMORY, FILE = "processor time", "peak memory, above the start", "model file"
PANELS = {TIME: "time", MEMORY: "memory", FILE: "file"}
WARM_UP = TrainingSize(rows=200, words=10, classes=2, vocabulary=200)


@dataclass(frozen=True)
class Axis:
    """What grows: its name in `TrainingSize`, the title of the study and the name of its sizes."""

    name: str
    title: str
    size_name: str


AXES = (
    Axis("rows", "Training: rows", "rows"),
    Axis("words", "Training: words of a text", "words of a text, the median"),
    Axis("classes", "Training: classes", "classes"),
    Axis("vocabulary", "Training: vocabulary", "different words in all texts"),
)


def training_study(axis: Axis) -> Callable[[Plan, int], dict[str, Any]]:
    """Make the study of one axis."""

    def study(plan: Plan, seed: int) -> dict[str, Any]:
        preset, base, sizes = plan.training[axis.name]
        curves = {
            name: Curve(name, panel, unit="s" if name == TIME else "bytes") for name, panel in PANELS.items()
        }
        for _ in range(min(plan.runs, plan.training_runs)):
            for size in sizes:
                shape = replace(base, **{axis.name: size})
                values, facts = call_in_fresh_process(measure_training, shape, preset, seed)
                for name, value in values.items():
                    point = curves[name].point(size)
                    point.values.append(value)
                    point.facts |= facts
        others = {name: value for name, value in vars(base).items() if name != axis.name}
        setting = [
            f"token2wave.train with preset '{preset}', without prior, baseline and report, from texts in "
            f"memory to a written model file. {_describe(others)}.",
            f"Made-up texts: {ABOUT_TOPICS}; other words are Zipf words ({ABOUT_ZIPF}); log-normal lengths, "
            f"standard deviation of the logarithm {SPREAD_OF_LENGTHS}.",
            f"Each point is a process of its own, and there are at most {plan.training_runs} repetitions; "
            "memory is its peak, texts included, less what it held before them.",
        ]
        return make_study(axis.title, axis.size_name, setting, list(curves.values()), (sizes[0], sizes[-1]))

    return study


def measure_training(shape: TrainingSize, preset: str, seed: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Train once; values by the name of their curve, and facts."""
    _train(WARM_UP, preset, seed)  # pays for what happens once
    runs: list[tuple[float, int, Any]] = []
    memory = measure_peak(lambda: runs.append(_train(shape, preset, seed))).added
    ((seconds, n_bytes, result),) = runs
    values = {TIME: seconds, FILE: float(n_bytes)}
    if memory is not None:
        values[MEMORY] = float(memory)
    evaluation = result.summary.evaluation
    facts = {
        "embedding_rows": result.classifier.features.n_rows,
        "accuracy": None if evaluation is None else evaluation["accuracy"],
    }
    return values, facts


def _train(shape: TrainingSize, preset: str, seed: int) -> tuple[float, int, Any]:
    """Processor seconds of a run, bytes of its file, and its result."""
    texts, labels = made_up_rows(seed, shape.rows, shape.vocabulary, shape.classes, shape.words)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        start = time.process_time()
        result = token2wave.train(
            texts, labels, out=path, preset=preset, seed=seed, prior=False, baseline=False
        )
        return time.process_time() - start, path.stat().st_size, result


def _describe(sizes: dict[str, int]) -> str:
    names = {
        "rows": "{:,} rows",
        "words": "texts of {:,} words",
        "classes": "{:,} classes",
        "vocabulary": "{:,} different words",
    }
    return ", ".join(names[name].format(value) for name, value in sizes.items()).capitalize()
