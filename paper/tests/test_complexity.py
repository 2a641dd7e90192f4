"""The study of complexity: its fit, its counts and its measures, against cases whose answer is known."""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from small_studies import check_study
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from paper.result_store import ResultStore
from paper.studies import complexity, flops
from paper.studies.complexity import (
    NETWORKS,
    STUDY,
    Plan,
    Point,
    Sweep,
    build,
    forward_flops,
    make_texts,
    step,
)
from paper.studies.memory_measurement import FreshProcessError, call_in_fresh_process, measure_peak
from paper.studies.timing import fit_exponent, powers_of_two, time_interleaved, upper_half
from paper.study import Options

MEGABYTE = 1 << 20
linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")


def test_exponents_of_lines_that_are_known():
    fit = fit_exponent([8, 16, 32, 64], [3e-5 * size**2 for size in (8, 16, 32, 64)])
    assert fit["exponent"] == pytest.approx(2, abs=1e-12)
    assert fit["standard_error"] == pytest.approx(0, abs=1e-6)
    assert fit["r_squared"] == pytest.approx(1)
    # log2 of the values is 0, 1, 2 + 3 e, 3 - e at x = 0, 1, 2, 3: solved by hand for e = 0.1.
    fit = fit_exponent([1, 2, 4, 8], [1, 2, 2**2.3, 2**2.9])
    slope = (-1.5 * 0 - 0.5 * 1 + 0.5 * 2.3 + 1.5 * 2.9) / 5
    rest = np.array([0, 1, 2.3, 2.9]) - 1.55 - slope * np.array([-1.5, -0.5, 0.5, 1.5])
    assert fit["exponent"] == pytest.approx(slope)
    assert fit["standard_error"] == pytest.approx(np.sqrt((rest**2).sum() / 2 / 5))
    two = fit_exponent([1, 10], [5.0, 50.0])
    assert (two["exponent"], two["standard_error"], two["r_squared"]) == (pytest.approx(1), None, None)
    assert fit_exponent([1], [5.0]) is None


def test_the_upper_half_of_a_sweep_is_meant_on_the_logarithmic_axis():
    assert powers_of_two(16, 128) == (16, 32, 64, 128)
    assert upper_half([16, 32, 64, 128, 256], [1, 2, 3, 4, 5]) == ([64, 128, 256], [3, 4, 5])
    assert upper_half([10, 1000], [1, 2]) == ([10, 1000], [1, 2])
    assert upper_half([10], [1]) == ([10], [1])


@pytest.mark.parametrize("key", NETWORKS)
@pytest.mark.parametrize("point", [Point(7, 128, 3), Point(20, 64, 1)])
def test_formulas_equal_counted_products(key: str, point: Point):
    network = build(key, point)
    batch, labels = make_texts(point, "cpu")
    assert len(batch.rows) == point.length * point.texts  # no token occurs twice
    with sdpa_kernel(SDPBackend.MATH):  # the fused kernel of processors is not counted
        with FlopCounterMode(display=False) as forward:
            network(batch)
        with FlopCounterMode(display=False) as whole_step:
            step(network, batch, labels)
    expected = point.texts * forward_flops(key, point)
    assert forward.get_total_flops() == expected
    assert whole_step.get_total_flops() == flops.STEP_OVER_FORWARD * expected


def test_counts_by_hand_and_where_the_terms_meet():
    assert flops.wave_flops(5, 10, 2, all_tokens=True) == 8 * 5 * 100 + 40
    assert flops.wave_flops(5, 10, 2, all_tokens=False) == 4 * 5 * 100 + 400 + 40
    assert flops.transformer_flops(5, 10, 40, 2) == 24 * 5 * 100 + 4 * 25 * 10 + 40
    assert flops.wave_elementwise(3, 2, all_tokens=True) == 3 * 2 * 14
    assert flops.papers_wave(5, 10) == 500
    assert flops.papers_transformer(5, 10) == 250
    width = 96
    length = flops.overtaking_length(width, 4 * width)
    assert length == 6 * width
    pairs = 4 * length**2 * width
    assert flops.transformer_flops(length, width, 4 * width, 2) == 2 * pairs + 4 * width


@linux
def test_memory_sees_an_allocation_of_known_size_and_forgets_an_earlier_one():
    def touch(megabytes: int):
        np.ones(megabytes * MEGABYTE, dtype=np.uint8)

    touch(100)
    used = measure_peak(lambda: touch(64))
    assert used.added is not None
    assert used.added == pytest.approx(64 * MEGABYTE, abs=8 * MEGABYTE)


def test_fresh_process_gives_the_result_or_says_what_failed():
    argument = {"network": "wave-all", "length": 64, "width": 64, "texts": 2, "device": "cpu"}
    peaks = call_in_fresh_process(complexity.measure_memory_of_point, argument)
    assert set(peaks) == {"step", "prediction"}
    if sys.platform == "linux":
        # A step holds at least the two variants of every token, and their waves.
        assert peaks["step"] > 4 * (64 * 2) * 64 * 4
    assert call_in_fresh_process(os.getenv, "ITS_OWN", environment={"ITS_OWN": "yes"}) == "yes"
    assert "ITS_OWN" not in os.environ
    with pytest.raises(FreshProcessError, match="the system ended the process"):
        call_in_fresh_process(os.abort)
    with pytest.raises(FreshProcessError, match=r"json.loads: the process failed: TypeError: .* not dict"):
        call_in_fresh_process(json.loads, {})


def test_calls_take_turns_and_slow_ones_are_recognised():
    calls = {"slow": lambda: time.sleep(0.02), "fast": lambda: time.sleep(0.002)}
    times = time_interleaved(calls, runs=3, min_seconds=0.004)
    assert all(len(values) == 3 for values in times.values())
    assert min(times["slow"]) >= 0.02
    assert min(times["fast"]) >= 0.002
    assert np.median(times["slow"]) > np.median(times["fast"])


def test_a_tiny_study_is_complete_and_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("TOKEN2WAVE_DATA", raising=False)
    points = []

    def without_a_process(function: object, argument: dict[str, int]) -> dict[str, int]:
        points.append(argument)
        return {"step": 1000 * argument["length"], "prediction": 100 * argument["length"]}

    monkeypatch.setattr(complexity, "call_in_fresh_process", without_a_process)
    rest = {"width": 64, "texts": 1}
    plan = Plan(
        (
            Sweep("length", "length", (4, 8, 16), rest),
            Sweep("length-narrow", "length", (4, 8, 16), rest),
            Sweep("width", "width", (64, 128), {"length": 4, "texts": 1}),
            Sweep("batch", "texts", (1, 2), {"length": 4, "width": 64}),
        ),
        Sweep("memory", "length", (4, 8, 16), rest),
        ("wave-all", "transformer-all"),
        runs=2,
        min_seconds=0.0,
    )
    state = torch.get_rng_state()
    document = complexity.measure(ResultStore(tmp_path), Options(quick=True), plan)
    assert torch.equal(state, torch.get_rng_state())
    names = ["complexity-length", "complexity-width-batch", "complexity-memory"]
    document = check_study(STUDY, document, names)
    for sweep in document["sweeps"].values():
        assert list(sweep["curves"]) == list(NETWORKS)
        for curve in sweep["curves"].values():
            for work in ("step", "prediction"):
                assert len(curve[work]["seconds"]) == len(sweep["sizes"])
                assert all(value > 0 for value in curve[work]["seconds"])
    memory = document["memory"]["curves"]
    assert memory["wave-all"]["step"]["fit"]["exponent"] == pytest.approx(1)
    assert len(points) == 6
    again = complexity.measure(ResultStore(tmp_path), Options(quick=True), plan)
    assert json.loads(json.dumps(again)) == document  # everything was kept
    assert len(points) == 6
    for curve in memory.values():  # as where the system does not tell
        curve |= {work: {"bytes": [None] * 3, "fit": None} for work in ("step", "prediction")}
    assert "complexity-memory" not in STUDY.drawings(document)
    assert STUDY.tables(document)
