r"""Train with random but legal settings on small generated data: no run may end in NaN or in an error.

    python benchmarks/random_settings.py                     # 200 cases; a few minutes
    python benchmarks/random_settings.py --seed 7 --case 31  # one of them again

A case is drawn by the seed and its number alone. Rates cover four orders of magnitude around the preset's,
and in about every tenth case six more upwards; widths 8 to 1,024, batches 1 to 4,096; classes of one row, 500
classes, two rows in all; texts that are empty, of one word, or very long. Every model must give finite
probabilities that sum to one, and the same again once it was saved and loaded.

Writes ``results/benchmarks/random_settings.json``. Exit status 1 if a case failed.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from measuring import describe_origin, make_parser, write_document

import token2wave
from token2wave.classifier import Classifier
from token2wave.core import n_threads
from token2wave.data import TextDataset, TextSplit

FILLERS = ["the", "of", "and", "in", "was", "it", "to", "on"]
HOSTILE = (
    *("", " ", "\x00", "word0 word1", "never seen before"),
    *("\ud800", "\u00f1and\u00fa \u732b \U0001f408", "a" * 500, "the " * 3000),
)
LENGTHS = {"usual": (3, 30), "short": (0, 2), "one word": (1, 1), "mixed": (0, 400), "long": (500, 3000)}
ROUNDING = 2e-4  # of probabilities, where the file is predicted by other arithmetic than trained by


@dataclass(frozen=True)
class Case:
    """One run of a preset with settings by their full names; seed and number decide everything.

    ``classes`` is the most that there are, ``lengths`` a key of `LENGTHS`, and ``weighted`` is whether texts
    have weights of their own.
    """

    number: int
    preset: str
    settings: dict[str, Any] = field(default_factory=dict)
    rows: int = 100
    classes: int = 2
    lengths: str = "usual"
    class_weights: Any = None
    weighted: bool = False


def drawn(seed: int, number: int) -> Case:
    """Draw a case."""
    random = np.random.default_rng([seed, number])

    def choice(*options: Any) -> Any:
        return options[random.integers(len(options))]

    def log_uniform(low: float, high: float) -> float:
        return float(np.exp(random.uniform(math.log(low), math.log(high))))

    variant = choice(*["native"] * 8, "linear", "paper")
    far = 1e6 if random.random() < 0.1 else 1.0
    settings: dict[str, Any] = {
        "recipe.lr": 3e-3 * log_uniform(1e-2, 1e2) * far,
        "recipe.batch_size": round(log_uniform(1, 4096)),
        "recipe.epochs": choice(1, 2, 4),
        "recipe.label_smoothing": choice(0.0, 0.1, 0.5, 0.99),
        "recipe.token_dropout": choice(0.0, 0.3, 0.9),
        "recipe.weight_decay": choice(0.0, 0.01, 0.5),
        "recipe.warmup": choice(0.0, 0.05, 1.0),
        "recipe.decay": choice("linear", "cosine", "constant"),
        "recipe.select_by": choice("accuracy", "macro_f1", "loss"),
        "recipe.patience": choice(0, 1),
        "recipe.validation_fraction": choice(0.1, 0.5, 0.9),
        "recipe.refit_below": choice(0, 20_000),
        "recipe.embedding_weighting": choice("none", "idf"),
        "recipe.idf_power": choice(0.1, 0.35, 1.0, 4.0),
        "network.dropout": choice(0.0, 0.3, 0.95),
        "network.operation": choice("interference", "modulation"),
        "network.embedding_scale": choice(1e-3, 0.01, 1.0),
    }
    if variant == "paper":
        preset = "paper"
        settings["recipe.embedding_lr"] = 1e-3 * log_uniform(1e-2, 1e2) * far
        settings["network.width"] = choice(8, 24, 64)
        settings["network.layers"] = choice(1, 2)
        settings["network.readout"] = choice("cls", "mean", "text")
        whole = settings["network.readout"] == "text"
        settings["network.variants"] = "linear" if whole else choice("linear", "levels")
        settings["network.positions"] = choice("none", "sinusoidal")
        settings["recipe.embedding_optimizer"] = choice("adam", "sgd")
        settings["features.max_tokens"] = choice(8, 128)
    else:
        preset = choice("small", "small", "fast")
        settings["recipe.embedding_lr"] = 20.0 * log_uniform(1e-2, 1e2) * far
        settings["network.width"] = choice(8, 32, 64, 256, 1024) if variant == "native" else choice(10, 32)
        settings["network.context_width"] = choice(0, 8, 32, 128)
        settings["network.context_radius"] = choice(1, 3, 8)
        settings["features.ngrams"] = choice(1, 2, 3, 5)
        settings["features.bits"] = choice(10, 12, 18, 24)
        settings["features.min_count"] = choice(1, 2, 3)
        if variant == "linear":
            settings["network.variants"] = "linear"
            settings["network.restore"] = choice("linear", "real")
    rows, classes = choice((2, 2), (3, 2), (10, 10), (60, 3), (300, 4), (300, 4), (700, 500), (400, 200))
    if settings["network.width"] >= 256:  # what takes minutes has no place here
        rows, classes = min(rows, 60), min(classes, 30)
    lengths = choice(*LENGTHS) if rows <= 300 else choice("usual", "short", "one word")
    class_weights = choice(None, None, None, "balanced", {"class 0": 100.0})
    weighted = bool(random.random() < 0.2) and rows >= 60
    return Case(number, preset, settings, rows, classes, lengths, class_weights, weighted)


def generated(case: Case, seed: int) -> TextDataset:
    """Texts of a case: each class has words of its own, and there are some that all share.

    At least one text has words, every class has a row, and the last class has one alone.
    """
    random = np.random.default_rng([seed, case.number, 1])
    labels = [
        i if i < case.classes else int(random.integers(max(case.classes - 1, 1))) for i in range(case.rows)
    ]
    low, high = LENGTHS[case.lengths]
    texts = []
    for label in labels:
        length = int(random.integers(low, high + 1))
        own = [f"word{label * 5 + i}" for i in range(5)]
        texts.append(" ".join(random.choice(own if random.random() < 0.5 else FILLERS, length)))
    texts[0] = texts[0] or "word0 word1 the"
    weights = random.exponential(1.0, case.rows).round(3).tolist() if case.weighted else None
    split = TextSplit(texts, [f"class {label}" for label in labels], "generated", weights)
    return TextDataset(f"case {case.number}", split, None, None, None, ())


def run(case: Case, seed: int) -> dict[str, Any]:
    """Train, save, load, predict; what came of it as plain data.

    ``problem`` is None where all went well.
    """
    start = time.perf_counter()
    document: dict[str, Any] = {**asdict(case), "problem": None}
    try:
        with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
            warnings.simplefilter("error")
            path = Path(folder, "model")
            result = token2wave.train(
                generated(case, seed),
                out=path,
                preset=case.preset,
                seed=case.number,
                device="cpu",
                settings=case.settings,
                class_weights=case.class_weights,
            )
            document["lr_factor"] = result.classifier.training.get("lr_factor", 1.0)
            document["validation_accuracy"] = result.summary.validation_accuracy
            document["problem"] = problem_of(result.classifier, token2wave.load(path))
    except Exception as error:
        at = traceback.extract_tb(error.__traceback__)[-1]
        document["problem"] = f"{type(error).__name__}: {error} ({Path(at.filename).name}:{at.lineno})"
    document["seconds"] = round(time.perf_counter() - start, 3)
    return document


def problem_of(trained: Classifier, loaded: Classifier) -> str | None:
    """What is wrong with what a model predicts of hostile texts; None if nothing is."""
    expected, actual = trained.probabilities(HOSTILE), loaded.probabilities(HOSTILE)
    if not np.isfinite(expected).all():
        return "a probability is not finite"
    if np.abs(expected.sum(axis=1, dtype=np.float64) - 1).max() > 1e-4:
        return "probabilities do not sum to one"
    if np.abs(expected - actual).max() > (0 if trained.computes_with == loaded.computes_with else ROUNDING):
        return "the loaded model predicts otherwise"
    return None


def main() -> int:
    """Run the cases."""
    parser = make_parser(__doc__, seed=0)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--case", type=int, help="run this one alone, show it, and write nothing")
    options = parser.parse_args()
    if options.case is not None:
        document = run(drawn(options.seed, options.case), options.seed)
        print(json.dumps(document, indent=1))
        return int(document["problem"] is not None)
    print(f"seed {options.seed}")
    cases = []
    for number in range(options.cases):
        case = run(drawn(options.seed, number), options.seed)
        cases.append(case)
        if case["problem"] is None:
            del case["settings"]  # seed and number give them again
        else:
            print(f"case {number}: {case['problem']}", flush=True)
    n_failed = sum(case["problem"] is not None for case in cases)
    n_restarted = sum(case.get("lr_factor", 1.0) < 1 for case in cases)
    print(f"{len(cases)} cases, {n_failed} failed, {n_restarted} started again with smaller rates")
    counts = {"n_cases": len(cases), "failed": n_failed, "started_again": n_restarted, "cases": cases}
    document = {"seed": options.seed, **counts, **describe_origin(n_threads())}
    write_document(options.results / "random_settings.json", document)
    return int(n_failed > 0)


if __name__ == "__main__":
    sys.exit(main())
