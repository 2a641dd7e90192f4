"""How a step's time grows with the length of the texts, the width, and the texts in a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from growth_data import (
    ABOUT_LENGTHS,
    ABOUT_ZIPF,
    MEDIAN_TOKENS,
    news_lengths,
    unrepeated_features,
    zipf_features,
)
from growth_measure import SLOW_SECONDS, Case, Curve, in_fresh_process, measure, shares_of_time
from growth_plan import Plan
from self_attention import KERNEL, attention_network
from torch import Tensor

from token2wave.models import Batch, WaveConfig, WaveNetwork, make_batch

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


def cases_of(
    curves: dict[str, Curve],
    size: int,
    network: WaveNetwork,
    batch: Batch,
    facts: dict[str, Any],
    bytes_needed: int = 0,
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

    cases = []
    modes: dict[str, tuple[Callable[[], object], bool]] = {STEP: (step, True), FORWARD: (forward, False)}
    for measure_name, (call, training) in modes.items():
        curve = curves[measure_name]
        prepare = lambda training=training: network.train(training)  # noqa: E731
        cases.append(Case(curve, size, call, prepare, bytes_needed))
        curve.point(size).facts |= {"tokens": len(batch.index), "distinct": len(batch.rows), **facts}
    return cases


def pair_of_curves(name: str, panel: str, **facts: Any) -> dict[str, Curve]:
    """Curves of one network for training step and forward pass."""
    return {part: Curve(name, f"{panel}{part}", facts=facts) for part in (STEP, FORWARD)}


def add_shares(cases: list[Case]) -> None:
    """Write down where the time of the training steps goes, where that does not take long."""
    for case in cases:
        if case.curve.panel.endswith(STEP) and 0 < case.expected < 2 * SLOW_SECONDS:
            case.prepare()
            point = case.curve.point(case.size)
            point.facts["shares"] = shares_of_time(case.call, point.median)


def study(
    title: str,
    size_name: str,
    setting: list[str],
    curves: list[Curve],
    within: tuple[int, int],
) -> dict[str, Any]:
    """Put a study together; points that were never measured are left out.

    Args:
        title: of the study.
        size_name: what grows.
        setting: sentences on how it was measured.
        curves: all of them.
        within: bounds of the second line that is fitted to each curve.
    """
    for curve in curves:
        curve.points = [point for point in curve.points if point.values]
        if size_name.startswith("texts") and curve.unit == "s":
            for point in curve.points:
                point.facts["texts_per_second"] = point.size / point.median
    return {
        "title": title,
        "size": size_name,
        "setting": setting,
        "within": list(within),
        "curves": [curve.to_dict(within) for curve in curves if curve.points],
    }


def length_study(plan: Plan, seed: int) -> dict[str, Any]:
    """Time against the tokens of a text, beside self-attention."""
    curves = measure_lengths(plan, seed, torch.get_num_threads(), {name: name for name in NETWORKS})
    arguments = (plan, seed, torch.get_num_threads(), {KEPT: ALL})
    curves += in_fresh_process(measure_lengths, arguments, KEEPING_MEMORY)
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
    return study("Length of the texts", "tokens in a text", setting, curves, plan.length_range)


def measure_lengths(plan: Plan, seed: int, threads: int, networks: dict[str, str]) -> list[Curve]:
    """Measure every length with some networks.

    Args:
        plan: lengths, widths and repetitions.
        seed: of the tokens.
        threads: for torch.
        networks: names of curves, and which of `NETWORKS` each is of.
    """
    torch.set_num_threads(threads)
    curves: list[Curve] = []
    for width, n_texts in plan.length_texts:
        cases: list[Case] = []
        n_rows = max(TABLE_ROWS, n_texts * max(plan.lengths))
        config = WaveConfig(n_rows=n_rows, n_classes=N_CLASSES, width=width)
        for name, kind in networks.items():
            network = NETWORKS[kind](config)
            own = pair_of_curves(name, f"width {width}, ", width=width, texts=n_texts)
            curves += own.values()
            for length in plan.lengths:
                random = np.random.default_rng([seed, width, length])
                if kind in (ALL, ATTENTION):
                    features = unrepeated_features(random, n_texts, length)
                else:
                    lengths = np.full(n_texts, length, dtype=np.int64)
                    features = zipf_features(random, lengths, TABLE_ROWS)
                cases += cases_of(own, length, network, make_batch(features), {})
        measure(cases, runs=plan.runs, longest=plan.longest)
        add_shares(cases)
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
        cases += cases_of(own, width, network, batch, {})
    measure(cases, runs=plan.runs, longest=plan.longest)
    add_shares(cases)
    setting = [
        f"One layer, {plan.width_texts} texts, {ABOUT_LENGTHS} {MEDIAN_TOKENS} tokens; Zipf tokens over "
        f"{TABLE_ROWS:,} rows, {ABOUT_ZIPF}. {ABOUT_STEP}",
    ]
    return study("Width", "dimensions of a token", setting, list(own.values()), plan.width_range)


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
        cases += cases_of(once, size, network, make_batch(features), {})
        batch = make_batch(features).of_every_token()
        # Variants and their squares for every token, forward and backward.
        bytes_needed = len(batch.index) * plan.batch_width * 4 * 10
        cases += cases_of(each, size, network, batch, {}, bytes_needed)
    measure(cases, runs=plan.runs, longest=plan.batch_longest)
    setting = [
        f"One layer of width {plan.batch_width}, read out at [CLS]; {ABOUT_LENGTHS} {MEDIAN_TOKENS} tokens; "
        f"Zipf tokens over {TABLE_ROWS:,} rows, {ABOUT_ZIPF}. {ABOUT_STEP}",
        "'every token by itself' is the same network on a batch that does not know which tokens are equal.",
    ]
    every = [curve for own in curves.values() for curve in own.values()]
    return study("Texts in a batch", "texts in a batch", setting, every, plan.batch_range)
