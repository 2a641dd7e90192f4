r"""Whether probabilities and novelty can be trusted: calibration, abstention, texts of another data set.

    python benchmarks/probabilities.py      # seven sets, two presets, three seeds
    python benchmarks/probabilities.py --data ag_news,imdb --presets small --seeds 0

Every preset is trained on every data set with every seed, defaults only, and predicts the test set. Where
``--foreign`` names a pair ``DATA:OTHER``, novelty has to tell the test texts of DATA from those of OTHER,
which nothing in the model has seen. ``results/benchmarks/probabilities.json`` is written after each run, and
a run that is there is not made again: an interrupted benchmark goes on where it was. ``--again`` makes all
anew.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from measuring import code_state, comma_list, describe_origin, make_parser, write_document
from numpy.typing import NDArray

from token2wave.classifier import Classifier
from token2wave.core import n_threads
from token2wave.data import TextDataset, encode_labels, load_splits
from token2wave.metrics import answer_surest, expected_calibration_error
from token2wave.pipeline import train

SETS = ["ag_news", "imdb", "dbpedia14", "trec", "banking77", "emotion", "sst2"]
FOREIGN = ["ag_news:imdb", "imdb:ag_news"]
COVERAGES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)
WORDS = 20  # of each text, where all are cut to the same length
FALSE_ALARMS = (0.0, 0.01, 0.02, 0.05, *np.round(np.arange(0.1, 1.01, 0.1), 1).tolist())


def main(arguments: Sequence[str] | None = None) -> int:
    """Make all runs that are not there yet; 130 if interrupted."""
    parser = make_parser(__doc__, name="probabilities", data=SETS, presets=["small", "fast"], seeds=[0, 1, 2])
    parser.add_argument("--foreign", type=comma_list, default=FOREIGN, help="pairs DATA:OTHER, by commas")
    parser.add_argument("--again", action="store_true", help="make runs anew that are there")
    options = parser.parse_args(arguments)
    path = options.results / f"{options.name}.json"
    document: dict[str, Any] = {"runs": {}, "data": {}}
    if path.is_file() and not options.again:
        document = json.loads(path.read_text(encoding="utf-8"))
    words = [
        f"--{name} {','.join(map(str, getattr(options, name)))}"
        for name in ("data", "presets", "seeds", "foreign")
    ]
    document |= {
        "name": options.name,
        "command": f"python benchmarks/probabilities.py {' '.join(words)}",
        "words": WORDS,
        **describe_origin(n_threads()),
    }
    pairs = [pair.split(":") for pair in options.foreign]
    try:
        for data in options.data:
            splits = load_splits(data)
            document["data"][data] = {
                "rows": len(splits.train),
                "test_rows": 0 if splits.test is None else len(splits.test),
                "caveats": splits.caveats,
            }
            others = [other for own, other in pairs if own == data]
            for preset, seed in itertools.product(options.presets, options.seeds):
                key = f"{preset}/{data}/{seed}"
                if key not in document["runs"]:
                    run = {
                        "preset": preset,
                        "data": data,
                        "seed": seed,
                        **measure(splits, others, preset, seed),
                    }
                    document["runs"][key] = run
                    write_document(path, document)
                    print(f"{key}: {_describe(run)}", flush=True)
    except KeyboardInterrupt:
        print(f"interrupted; finished runs are in {path.name}", file=sys.stderr)
        return 130
    return 0


def measure(splits: TextDataset, foreign: Sequence[str], preset: str, seed: int) -> dict[str, Any]:
    """Train once, and measure what the model says of its test texts, and of others."""
    result = train(splits, preset=preset, seed=seed)
    classifier, test = result.classifier, splits.test
    assert test is not None
    truth = encode_labels(test, classifier.label_names)
    probabilities = classifier.probabilities(test.texts)
    novelty = classifier.novelty(test.texts)
    return {
        "accuracy": result.summary.accuracy,
        "calibration_error": expected_calibration_error(probabilities, truth),
        "answered": [asdict(answers) for answers in answer_surest(probabilities, truth, COVERAGES)],
        "mean_novelty": None if novelty is None else float(novelty.mean()),
        "foreign": {other: measure_novelty(classifier, test.texts, _texts_of(other)) for other in foreign},
        "code": code_state(),
    }


def _texts_of(data: str) -> Sequence[str]:
    test = load_splits(data).test
    assert test is not None
    return test.texts


def measure_novelty(classifier: Classifier, own: Sequence[str], foreign: Sequence[str]) -> dict[str, Any]:
    """How well novelty tells texts apart, whole and with all cut to their first words.

    Returns:
        For ``whole`` and ``cut``: the area under the ROC curve, and the share of foreign texts that is found
        at each of ``FALSE_ALARMS``; nothing, if the model does not know novelty.
    """
    result = {}
    for name, texts in (("whole", (own, foreign)), ("cut", (_first_words(own), _first_words(foreign)))):
        novelty = [classifier.novelty(split) for split in texts]
        if novelty[0] is not None and novelty[1] is not None:
            result[name] = {
                "area": area_under_roc(novelty[0], novelty[1]),
                "mean_novelty": float(novelty[1].mean()),
                "found": detection_rates(novelty[0], novelty[1], FALSE_ALARMS),
            }
    return result


def _first_words(texts: Sequence[str]) -> list[str]:
    return [" ".join(text.split()[:WORDS]) for text in texts]


def area_under_roc(own: NDArray[np.float64], foreign: NDArray[np.float64]) -> float:
    """Chance that a foreign text has the larger number; half for equal ones."""
    ordered = np.sort(own)
    below = np.searchsorted(ordered, foreign, "left") + np.searchsorted(ordered, foreign, "right")
    return float(below.mean() / (2 * len(own)))


def detection_rates(
    own: NDArray[np.float64], foreign: NDArray[np.float64], false_alarms: Sequence[float]
) -> list[float]:
    """Fraction of foreign texts with a larger number than all but a fraction of the own texts."""
    thresholds = np.quantile(own, 1 - np.array(false_alarms), method="higher")
    rates = [float((foreign > threshold).mean()) for threshold in thresholds]
    return [1.0 if alarms >= 1 else rate for alarms, rate in zip(false_alarms, rates, strict=True)]


def _describe(run: dict[str, Any]) -> str:
    at = {rate: f"{100 * run['answered'][COVERAGES.index(rate)]['accuracy']:.2f}" for rate in (0.9, 0.8)}
    line = (
        f"accuracy {100 * run['accuracy']:.2f}, at 90 % {at[0.9]}, at 80 % {at[0.8]}, "
        f"calibration error {run['calibration_error']:.4f}"
    )
    for other, novelty in run["foreign"].items():
        areas = [f"{name} {figures['area']:.3f}" for name, figures in novelty.items()]
        line += f"; {other}: {', '.join(areas)}"
    return line


if __name__ == "__main__":
    sys.exit(main())
