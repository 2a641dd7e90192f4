"""How cost grows with the length of the texts, the width, the texts in a batch, and the training texts."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from growth_data import (
    ABOUT_LENGTHS,
    ABOUT_ZIPF,
    MEDIAN_TOKENS,
    MEDIAN_WORDS,
    made_up_texts,
    news_lengths,
    unrepeated_features,
    zipf_features,
)
from growth_measure import SLOW_SECONDS, Case, Curve, measure, time_fractions
from growth_plan import Plan
from self_attention import KERNEL, attention_network
from torch import Tensor

from paper.studies.memory_measurement import call_in_fresh_process
from token2wave.features import fit_features
from token2wave.inference.model import Network
from token2wave.models import Batch, WaveConfig, WaveNetwork, make_batch
from token2wave.process_memory import peak_memory
from token2wave.training.additive_network import AdditiveNetwork
from token2wave.training.examples import Examples
from token2wave.training.loop import fit
from token2wave.training.native_trainer import trains_natively
from token2wave.training.presets import PRESETS

TABLE_ROWS = 30_522  # of the papers' vocabulary
N_CLASSES = 4
STEP, FORWARD = "training step", "forward pass"
ABOUT_STEP = (
    "A training step is a forward and a backward pass, a forward pass is one without gradients; float32."
)
CLS, ALL, TEXT, ATTENTION, KEPT = (
    "wave, [CLS], distinct tokens once",
    "wave, all tokens, none repeats",
    "wave, text read-out",
    "self-attention, all tokens",
    "wave, all tokens, memory kept",
)
NETWORKS: dict[str, Callable[[WaveConfig], WaveNetwork]] = {
    CLS: WaveNetwork,
    ALL: lambda config: WaveNetwork(config.replace(readout="mean")),
    TEXT: lambda config: WaveNetwork(config.replace(readout="text")),
    ATTENTION: attention_network,
}
KEEPING_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}


def make_cases(
    curves: dict[str, Curve], size: int, network: WaveNetwork, batch: Batch, bytes_needed: int = 0
) -> list[Case]:
    """Make the two cases of a batch, for the curves `STEP` and `FORWARD`."""
    labels = torch.arange(batch.n_texts) % N_CLASSES

    def step() -> None:
        network.zero_grad(set_to_none=True)
        loss = F.cross_entropy(network(batch), labels)
        loss.backward()  # type: ignore[no-untyped-call]

    def forward() -> Tensor:
        with torch.inference_mode():
            logits: Tensor = network(batch)
            return logits

    for curve in curves.values():
        curve.point(size).facts |= {"tokens": len(batch.index), "distinct": len(batch.rows)}
    return [
        Case(curves[STEP], size, step, partial(network.train, True), bytes_needed),
        Case(curves[FORWARD], size, forward, partial(network.train, False), bytes_needed),
    ]


def pair_of_curves(name: str, panel: str, **facts: Any) -> dict[str, Curve]:
    """Curves of one network for training step and forward pass."""
    return {work: Curve(name, f"{panel}{work}", facts=facts) for work in (STEP, FORWARD)}


def add_fractions(cases: list[Case]) -> None:
    """Write down where the time of the training steps goes, where that does not take long."""
    for case in cases:
        if case.curve.panel.endswith(STEP) and 0 < case.expected < 2 * SLOW_SECONDS:
            case.prepare()
            point = case.curve.point(case.size)
            point.facts["shares"] = time_fractions(case.call, point.median)


def make_study(
    title: str, size_name: str, setting: list[str], curves: list[Curve], bounds: tuple[int, int]
) -> dict[str, Any]:
    """Put a study together without points that were never measured; a second line is fitted in bounds."""
    for curve in curves:
        curve.points = [point for point in curve.points if point.values]
        if size_name.startswith("texts") and curve.unit == "s":
            for point in curve.points:
                point.facts["texts_per_second"] = point.size / point.median
    return {
        "title": title,
        "size": size_name,
        "setting": setting,
        "within": list(bounds),
        "curves": [curve.to_dict(bounds) for curve in curves if curve.points],
    }


def length_study(plan: Plan, seed: int) -> dict[str, Any]:
    """Time against the tokens of a text, beside self-attention."""
    curves = measure_lengths(plan, seed, torch.get_num_threads(), {name: name for name in NETWORKS})
    arguments = (plan, seed, torch.get_num_threads(), {KEPT: ALL})
    curves += call_in_fresh_process(measure_lengths, *arguments, environment=KEEPING_MEMORY)
    texts = ", ".join(f"{n_texts} at width {width}" for width, n_texts in plan.length_texts)
    setting = [
        f"One layer; texts in a batch: {texts}. {ABOUT_STEP}",
        f"'{CLS}' and '{TEXT}': Zipf tokens over {TABLE_ROWS:,} rows, {ABOUT_ZIPF}, so that tokens repeat; "
        "the network computes once for each distinct token. The papers' read-out is [CLS].",
        f"'{ALL}': no token occurs twice, and every token gets a state; then the mean over tokens.",
        f"'{KEPT}': the same in a process in which glibc's allocator does not give memory back to the "
        f"system, by {' '.join(f'{name}={value}' for name, value in KEEPING_MEMORY.items())}. By default it "
        "gives every large tensor back, and gets each page anew in the next step; page_faults counts them.",
        f"'{ATTENTION}': the same tokens and the same network with one layer of multi-head self-attention in "
        "the place of the wave layer, 64 dimensions a head; every token gets a state; then the first token. "
        f"It runs {KERNEL.removeprefix('aten::')}, attention in blocks without an L x L matrix. "
        "The layer has 4 D^2 weights, as the wave layer; embedding, norm and head are the same.",
        "Read out at [CLS] alone, a last layer of self-attention, too, could leave out all queries but one.",
    ]
    return make_study("Length of the texts", "tokens in a text", setting, curves, plan.length_range)


def measure_lengths(plan: Plan, seed: int, threads: int, networks: dict[str, str]) -> list[Curve]:
    """Measure every length with some of `NETWORKS`, by the names of their curves."""
    torch.set_num_threads(threads)
    curves: list[Curve] = []
    for width, n_texts in plan.length_texts:
        cases: list[Case] = []
        n_rows = max(TABLE_ROWS, n_texts * max(plan.lengths))
        config = WaveConfig(n_rows=n_rows, n_classes=N_CLASSES, width=width)
        for name, key in networks.items():
            network = NETWORKS[key](config)
            own = pair_of_curves(name, f"width {width}, ", width=width, texts=n_texts)
            curves += own.values()
            for length in plan.lengths:
                random = np.random.default_rng([seed, width, length])
                if key in (ALL, ATTENTION):
                    features = unrepeated_features(random, n_texts, length)
                else:
                    lengths = np.full(n_texts, length, dtype=np.int64)
                    features = zipf_features(random, lengths, TABLE_ROWS)
                cases += make_cases(own, length, network, make_batch(features))
        measure(cases, runs=plan.runs, longest=plan.longest)
        add_fractions(cases)
    return curves


def width_study(plan: Plan, seed: int) -> dict[str, Any]:
    """Time against the width."""
    own = pair_of_curves(CLS, "", texts=plan.width_texts)
    random = np.random.default_rng([seed, 2])
    lengths = news_lengths(random, plan.width_texts, MEDIAN_TOKENS)
    batch = make_batch(zipf_features(random, lengths, TABLE_ROWS))
    cases: list[Case] = []
    for width in plan.widths:
        network = WaveNetwork(WaveConfig(n_rows=TABLE_ROWS, n_classes=N_CLASSES, width=width))
        cases += make_cases(own, width, network, batch)
    measure(cases, runs=plan.runs, longest=plan.longest)
    add_fractions(cases)
    setting = [
        f"One layer, {plan.width_texts} texts, {ABOUT_LENGTHS} {MEDIAN_TOKENS} tokens; Zipf tokens over "
        f"{TABLE_ROWS:,} rows, {ABOUT_ZIPF}. {ABOUT_STEP}",
    ]
    return make_study("Width", "dimensions of a token", setting, list(own.values()), plan.width_range)


def batch_study(plan: Plan, seed: int) -> dict[str, Any]:
    """Time against the texts in a batch, with each distinct token computed once and with every token."""
    random = np.random.default_rng([seed, 4])
    lengths = news_lengths(random, max(plan.batch_sizes), MEDIAN_TOKENS)
    full_train = zipf_features(random, lengths, TABLE_ROWS)
    config = WaveConfig(n_rows=TABLE_ROWS, n_classes=N_CLASSES, width=plan.batch_width)
    network = WaveNetwork(config)
    curves = {
        name: pair_of_curves(name, "", width=plan.batch_width)
        for name in ("each distinct token once", "every token by itself")
    }
    once, each = curves.values()
    cases: list[Case] = []
    for size in plan.batch_sizes:
        features = full_train.take(np.arange(size))
        cases += make_cases(once, size, network, make_batch(features))
        batch = make_batch(features).of_every_token()
        # Variants and their squares for every token, forward and backward.
        bytes_needed = len(batch.index) * plan.batch_width * 4 * 10
        cases += make_cases(each, size, network, batch, bytes_needed)
    measure(cases, runs=plan.runs, longest=plan.batch_longest)
    setting = [
        f"One layer of width {plan.batch_width}, read out at [CLS]; {ABOUT_LENGTHS} {MEDIAN_TOKENS} tokens; "
        f"Zipf tokens over {TABLE_ROWS:,} rows, {ABOUT_ZIPF}. {ABOUT_STEP}",
        "'every token by itself' is the same network on a batch that does not know which tokens are equal.",
    ]
    every = [curve for own in curves.values() for curve in own.values()]
    return make_study("Texts in a batch", "texts in a batch", setting, every, plan.batch_range)


# ---- texts to learn from ----

PRESET = "fast"
FIT, EXTRACT, EPOCH, MEMORY = (
    "features: fitted and extracted",
    "features: extracted",
    "one epoch of training",
    "peak memory, above the start",
)
WARM_UP_TEXTS = 200

Measured = tuple[dict[str, float], dict[str, Any]]
"""Values by the name of their curve, and facts."""


def texts_study(plan: Plan, seed: int) -> dict[str, Any]:
    """Time and memory against the number of texts."""
    curves = {name: Curve(name, "time") for name in (FIT, EXTRACT, EPOCH)}
    curves[MEMORY] = Curve(MEMORY, "memory", unit="bytes")
    threads = torch.get_num_threads()
    for run in range(min(plan.runs, plan.text_runs)):
        counts = [count for count in plan.text_counts if count < plan.text_many or run == 0]
        # A fresh process, whose peak is its own; it rises with the counts, so that each shows its own peak.
        measured = call_in_fresh_process(measure_texts, counts, seed, threads, plan.text_words)
        for count, (values, facts) in zip(counts, measured, strict=True):
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
    return make_study("Texts to learn from", "texts", setting, list(curves.values()), plan.text_range)


def measure_texts(counts: list[int], seed: int, threads: int, n_words: int) -> list[Measured]:
    """Measure each number of texts once, the smallest first."""
    torch.set_num_threads(threads)
    initial = peak_memory()
    _measure_texts(made_up_texts(seed, WARM_UP_TEXTS, n_words), seed)  # pays for what happens once
    measured = []
    for count in counts:
        values, facts = _measure_texts(made_up_texts(seed, count, n_words), seed)
        peak = peak_memory()
        if initial is not None and peak is not None:
            values[MEMORY] = float(peak - initial)
        measured.append((values, facts))
    return measured


def _measure_texts(texts: list[str], seed: int) -> Measured:
    preset = PRESETS[PRESET]
    times = [time.perf_counter()]
    features, ragged = fit_features(texts, preset.features)
    times.append(time.perf_counter())
    features(texts)
    times.append(time.perf_counter())
    labels = np.random.default_rng(seed).integers(0, N_CLASSES, len(texts))
    config, recipe = preset.network_config(features.n_rows, N_CLASSES, ()), preset.recipe.replace(epochs=1)
    has_cls = preset.features.cls
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
