"""Values and gradients against 50-digit arithmetic from the polar definitions."""

import json
import os
from pathlib import Path

import pytest
import torch
from mpmath import mp, mpf
from polar_reference import (
    assert_within,
    exact,
    generated_cases,
    interference_term_reference,
    make_case,
    modulation_cotangents,
    modulation_reference,
    offsets_of,
    polar_gradient,
    polar_wave,
    zip_map,
)

from token2wave.waves import global_semantics, interference, interference_term, modulation, wave

PRECISIONS = [(torch.float64, 1e-10), (torch.float32, 1e-4)]
CASES = generated_cases()


def check_values(case: dict, dtype: torch.dtype, relative: float) -> None:
    offsets, offsets_prime = offsets_of(case["segment_of_w"]), offsets_of(case["segment_of_w_prime"])
    tokens = torch.tensor(case["w"], dtype=dtype)
    first = wave(tokens, offsets)
    second = wave(torch.tensor(case["w_prime"], dtype=dtype), offsets_prime)

    assert first.real.dtype == first.imaginary.dtype == dtype
    assert_within(first.real, case["real"], relative)
    assert_within(first.imaginary, case["imag"], relative)
    assert_within(first.magnitude, case["magnitude"], relative)
    assert_within(first.phase, case["phase"], relative)
    shared = global_semantics(tokens, offsets)[torch.tensor(case["segment_of_w"])]
    assert_within(shared, case["magnitude"], relative)

    # Sums of terms of either sign: relative to the terms.
    z, z_prime = (
        polar_wave(case[w], case[segments])
        for w, segments in (("w", "segment_of_w"), ("w_prime", "segment_of_w_prime"))
    )
    parts = [zip_map(abs, zip_map(part, polar.euler)) for polar in (z, z_prime) for part in (mp.re, mp.im)]
    added = interference(first, second)
    assert_within(added.real, case["interference_real"], relative, zip_map(lambda a, b, c, d: a + c, *parts))
    assert_within(added.imaginary, case["interference_imag"], relative)
    multiplied = modulation(first, second)
    terms_real = zip_map(lambda a, b, c, d: a * c + b * d, *parts)
    terms_imag = zip_map(lambda a, b, c, d: a * d + c * b, *parts)
    assert_within(multiplied.real, case["modulation_real"], relative, terms_real)
    assert_within(multiplied.imaginary, case["modulation_imag"], relative, terms_imag)
    term = interference_term(first, second)
    assert_within(
        term, interference_term_reference(z, z_prime), relative, zip_map(lambda x: 2 * x, terms_real)
    )


def check_gradients(case: dict, dtype: torch.dtype, relative: float) -> None:
    offsets, offsets_prime = offsets_of(case["segment_of_w"]), offsets_of(case["segment_of_w_prime"])
    z_prime = polar_wave(case["w_prime"], case["segment_of_w_prime"])
    cotangents = case["cotangent_real"], case["cotangent_imag"]
    c_re, c_im = (torch.tensor(c, dtype=dtype) for c in cotangents)
    second = wave(torch.tensor(case["w_prime"], dtype=dtype), offsets_prime)
    pulled = modulation_cotangents(z_prime, *cotangents)
    for operation, expected, on_z in (
        (interference, case["grad_w_of_interference"], cotangents),
        (modulation, case["grad_w_of_modulation"], pulled),
    ):
        tokens = torch.tensor(case["w"], dtype=dtype, requires_grad=True)
        combined = operation(wave(tokens, offsets), second)
        (combined.real * c_re + combined.imaginary * c_im).sum().backward()
        _, scale = polar_gradient(case["w"], case["segment_of_w"], *on_z)
        if operation is modulation:  # the cotangent on Z is itself a sum of two terms that may cancel
            size = zip_map(lambda g, a, b: g * (abs(a) + abs(b)), z_prime.magnitude, *cotangents)
            _, scale = polar_gradient(case["w"], case["segment_of_w"], size, size)
        assert_within(tokens.grad, expected, relative, scale)


@pytest.mark.parametrize(("dtype", "relative"), PRECISIONS, ids=["float64", "float32"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_values_agree_with_the_polar_definitions(case, dtype, relative):
    check_values(case, dtype, relative)


@pytest.mark.parametrize(("dtype", "relative"), PRECISIONS, ids=["float64", "float32"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_gradients_agree_with_the_polar_definitions(case, dtype, relative):
    check_gradients(case, dtype, relative)


@pytest.mark.parametrize(("dtype", "relative"), PRECISIONS, ids=["float64", "float32"])
def test_golden_file(dtype, relative):
    folder = os.environ.get("TOKEN2WAVE_GOLDEN")
    if not folder:
        pytest.skip("TOKEN2WAVE_GOLDEN does not name the folder of wave_algebra.json")
    cases = json.loads((Path(folder) / "wave_algebra.json").read_text(encoding="utf-8"))["cases"]
    assert cases
    for case in cases:
        check_values(case, dtype, relative)
        if "grad_w_of_interference" in case:
            check_gradients(case, dtype, relative)


def test_golden_file_is_read_and_can_fail(tmp_path, monkeypatch):
    """The reader itself: a file of the golden structure passes, one wrong digit in it does not."""
    case = make_case("drawn", [[0.3, -0.2], [0.5, 0.9]], [[0.1, 0.4], [-0.6, 0.8]], [0, 0], [0, 0])
    monkeypatch.setenv("TOKEN2WAVE_GOLDEN", str(tmp_path))
    (tmp_path / "wave_algebra.json").write_text(json.dumps({"about": "", "cases": [case]}))
    test_golden_file(torch.float64, 1e-10)
    for key in (
        "magnitude",
        "phase",
        "real",
        "imag",
        "interference_imag",
        "modulation_real",
        "modulation_imag",
        "grad_w_of_interference",
        "grad_w_of_modulation",
    ):
        wrong = json.loads(json.dumps(case))
        wrong[key][1][0] *= 1 + 1e-8
        (tmp_path / "wave_algebra.json").write_text(json.dumps({"about": "", "cases": [wrong]}))
        with pytest.raises(AssertionError):
            test_golden_file(torch.float64, 1e-10)


def test_reference_gradients_agree_with_central_differences():
    """The chain rule of the reference against 50-digit differences of its own values."""
    step = mpf(10) ** -16
    for case in CASES:
        if case["name"] not in (
            "ragged: 2, 3, 1",
            "sentence and input level",
            "first token dominates by 1e6",
        ):
            continue
        w, segments = exact(case["w"]), case["segment_of_w"]
        z_prime = polar_wave(case["w_prime"], case["segment_of_w_prime"])

        def loss(w, case=case, segments=segments, z_prime=z_prime):
            z = modulation_reference(polar_wave(w, segments), z_prime)
            parts = zip_map(
                lambda z, a, b: a * z.real + b * z.imag, z, case["cotangent_real"], case["cotangent_imag"]
            )
            return sum(sum(row) for row in parts)

        k = 0
        for i in range(len(w) if "dominates" in case["name"] else 5):  # the sixth token of "ragged" is alone
            up, down = exact(w), exact(w)
            up[i][k] += step
            down[i][k] -= step
            difference = (loss(up) - loss(down)) / (2 * step)
            expected = case["grad_w_of_modulation"][i][k]
            assert abs(difference - expected) <= 1e-12 * max(1, abs(expected))


def test_naive_root_of_a_difference_would_fail_here():
    """Shows that the dominated cases discriminate: the textbook formula is wrong there in float32."""
    for case in CASES:
        if "dominates" not in case["name"]:
            continue
        w = torch.tensor(case["w"], dtype=torch.float32)[:, 0]
        naive = (w.square().sum() - w.square()).clamp(min=0).sqrt()
        expected = torch.tensor(case["imag"], dtype=torch.float64)[:, 0]
        dominating = int(w.abs().argmax())
        assert abs(float(naive[dominating] / expected[dominating]) - 1) > 1e-4
        actual = wave(torch.tensor(case["w"], dtype=torch.float32), offsets_of(case["segment_of_w"]))
        assert abs(float(actual.imaginary[dominating, 0] / expected[dominating]) - 1) < 1e-6


def test_one_token_a_million_times_larger_in_float32():
    """Imaginary part of the dominating token and all gradients, relative to the entry itself."""
    w = [[0.25], [-0.75], [1.0e6], [0.5], [1.25]]
    cotangent = [[0.5], [0.25], [1.0], [0.125], [0.75]]  # of one sign, so that no sum cancels
    nothing = [[0.0]] * 5
    segments = [0] * 5
    tokens = torch.tensor(w, dtype=torch.float32, requires_grad=True)
    imaginary = wave(tokens, offsets_of(segments)).imaginary
    z = polar_wave(w, segments)
    assert_within(imaginary, zip_map(mp.im, z.euler), 1e-6)
    (imaginary * torch.tensor(cotangent)).sum().backward()
    expected, _ = polar_gradient(w, segments, nothing, cotangent)
    assert_within(tokens.grad, expected, 1e-5)
