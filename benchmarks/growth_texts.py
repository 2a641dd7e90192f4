"""How time and memory grow with the texts to learn from, from raw texts to one epoch of training."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from growth_data import ABOUT_LENGTHS, ABOUT_ZIPF, MEDIAN_WORDS, made_up_texts
from growth_measure import Curve, in_fresh_process
from growth_plan import Plan
from growth_studies import N_CLASSES, study

from token2wave.features import fit_features
from token2wave.inference.model import Network
from token2wave.models import WaveNetwork
from token2wave.process_memory import peak_memory
from token2wave.training.additive_network import AdditiveNetwork
from token2wave.training.examples import Examples
from token2wave.training.loop import fit
from token2wave.training.native_trainer import trains_natively
from token2wave.training.presets import PRESETS

PRESET = "fast"
FIT, EXTRACT, EPOCH, MEMORY = (
    "features: fitted and extracted",
    "features: extracted",
    "one epoch of training",
    "peak memory, above the start",
)
WARM_UP_TEXTS = 200

Found = tuple[dict[str, float], dict[str, Any]]
"""Values by the name of their curve, and facts."""


def texts_study(plan: Plan, seed: int) -> dict[str, Any]:
    """Time and memory against the number of texts."""
    curves = {name: Curve(name, "time") for name in (FIT, EXTRACT, EPOCH)}
    curves[MEMORY] = Curve(MEMORY, "memory", unit="bytes")
    threads = torch.get_num_threads()
    for run in range(min(plan.runs, plan.text_runs)):
        counts = [count for count in plan.text_counts if count < plan.text_many or run == 0]
        # A fresh process, whose peak is its own; it rises with the counts, so that each shows its own peak.
        found = in_fresh_process(measure_texts, (counts, seed, threads, plan.text_words), {})
        for count, (values, facts) in zip(counts, found, strict=True):
            for name, value in values.items():
                point = curves[name].point(count)
                point.values.append(value)
                point.facts |= facts
    setting = [
        f"Made-up texts of {plan.text_words:,} Zipf words ({ABOUT_ZIPF}), {ABOUT_LENGTHS} {MEDIAN_WORDS} "
        "words; neighbours are independent, so that there are more word pairs than in real texts.",
        f"Preset '{PRESET}' with one epoch: the features as training makes them (fitted and extracted in one "
        "go) and as prediction does, then token2wave.training.loop.fit, row weights included.",
        "Each repetition is a process of its own; memory is its peak, texts included, less that before them. "
        f"There are at most {plan.text_runs} repetitions, and one from {plan.text_many:,} texts on.",
    ]
    return study("Texts to learn from", "texts", setting, list(curves.values()), plan.text_range)


def measure_texts(counts: list[int], seed: int, threads: int, n_words: int) -> list[Found]:
    """Measure each number of texts once.

    Args:
        counts: increasing.
        seed: of everything.
        threads: for torch.
        n_words: different words.
    """
    torch.set_num_threads(threads)
    before = peak_memory()
    _measure(made_up_texts(seed, WARM_UP_TEXTS, n_words), seed)  # pays for what happens once
    found = []
    for count in counts:
        values, facts = _measure(made_up_texts(seed, count, n_words), seed)
        peak = peak_memory()
        if before is not None and peak is not None:
            values[MEMORY] = float(peak - before)
        found.append((values, facts))
    return found


def _measure(texts: list[str], seed: int) -> Found:
    preset = PRESETS[PRESET]
    times = [time.perf_counter()]
    features, ragged = fit_features(texts, preset.features)
    times.append(time.perf_counter())
    features(texts)
    times.append(time.perf_counter())
    labels = np.random.default_rng(seed).integers(0, N_CLASSES, len(texts))
    config, recipe = preset.network_config(features.n_rows, N_CLASSES, ()), preset.recipe.replace(epochs=1)
    has_cls = not preset.features_lack_cls
    natively = trains_natively(config, recipe, has_cls)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: Network = AdditiveNetwork.initial(config, seed) if natively else WaveNetwork(config)
    start = time.perf_counter()
    fit(network, Examples(ragged, labels), None, recipe, seed=seed, has_cls=has_cls)
    values = {FIT: times[1] - times[0], EXTRACT: times[2] - times[1], EPOCH: time.perf_counter() - start}
    facts = {
        "rows": features.n_rows,
        "features": len(ragged.ids),
        "trained_by": "native core" if natively else "torch",
    }
    return values, facts
