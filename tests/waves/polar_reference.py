"""The mathematics of waves once more: slow, in 50 digits, from the polar definitions.

Nothing here is shared with `token2wave.waves`. A wave is made of a magnitude and a phase (arctan2)
and turned into real and imaginary part by Euler's formula; its gradient is the chain rule through
magnitude and phase. Matrices are lists of rows; a segment is named for each token.

Every gradient comes with its *scale*, the sum of the sizes of the terms that it is made of: the
yardstick for rounding, since terms of opposite sign cancel.
"""

from __future__ import annotations

import functools
import random
from typing import Any, NamedTuple

import torch
from mpmath import mp, mpc, mpf

mp.dps = 50

Matrix = list[list[Any]]


class PolarWave(NamedTuple):
    """Magnitude and phase of every token in every dimension."""

    magnitude: Matrix
    phase: Matrix

    @property
    def euler(self) -> Matrix:
        """Complex numbers ``G exp(i alpha)``."""
        return zip_map(lambda size, angle: mpc(size * mp.cos(angle), size * mp.sin(angle)), *self)


def zip_map(function: Any, *matrices: Matrix) -> Matrix:
    """Apply a function to the entries of matrices of one shape."""
    return [
        [function(*entries) for entries in zip(*rows, strict=True)] for rows in zip(*matrices, strict=True)
    ]


def exact(matrix: Matrix) -> Matrix:
    """The same numbers as 50-digit floats."""
    return [[mpf(x) for x in row] for row in matrix]


def floats(matrix: Matrix) -> Matrix:
    """The same numbers as Python floats."""
    return [[float(x) for x in row] for row in matrix]


def zeros(like: Matrix) -> Matrix:
    """A matrix of zeros."""
    return [[mpf(0) for _ in row] for row in like]


def members(segment_of: list[int], token: int) -> list[int]:
    """Tokens of the segment that a token belongs to, itself included."""
    return [i for i, segment in enumerate(segment_of) if segment == segment_of[token]]


def polar_wave(w: Matrix, segment_of: list[int]) -> PolarWave:
    """``G = sqrt(sum w^2)``, ``alpha = arctan2(sqrt(1 - (w/G)^2), w/G)``; both 0 where ``G`` is 0."""
    w = exact(w)
    magnitude, phase = zeros(w), zeros(w)
    for j, row in enumerate(w):
        for k, value in enumerate(row):
            size = mp.sqrt(sum(w[i][k] ** 2 for i in members(segment_of, j)))
            if size > 0:
                magnitude[j][k] = size
                cosine = value / size
                phase[j][k] = mp.atan2(mp.sqrt(1 - cosine**2), cosine)
    return PolarWave(magnitude, phase)


def polar_gradient(
    w: Matrix, segment_of: list[int], cotangent_real: Matrix, cotangent_imag: Matrix
) -> tuple[Matrix, Matrix]:
    """Gradient with respect to ``w`` of ``sum(c_re Re Z + c_im Im Z)``, and its scale.

    ``dRe = dG cos(alpha) - G sin(alpha) dalpha``, ``dIm = dG sin(alpha) + G cos(alpha) dalpha``,
    with ``alpha = arccos(c)``, ``c = w/G``, so ``dalpha = -dc / sin(alpha)``. Where ``sin(alpha)``
    or ``G`` is zero, ``Im Z`` has no derivative; the rule says zero.
    """
    w, c_re, c_im = exact(w), exact(cotangent_real), exact(cotangent_imag)
    size, angle = polar_wave(w, segment_of)
    gradient, scale = zeros(w), zeros(w)
    for i, row in enumerate(w):
        for k in range(len(row)):
            for j in members(segment_of, i):
                here = mpf(i == j)
                g = size[j][k]
                if g == 0:
                    term_re, term_im = here, mpf(0)
                else:
                    cosine, sine = w[j][k] / g, mp.sin(angle[j][k])
                    alone = all(w[m][k] == 0 for m in members(segment_of, j) if m != j)
                    d_size = w[i][k] / g
                    d_cosine = here / g - w[j][k] * w[i][k] / g**3
                    term_re = d_size * cosine + g * d_cosine
                    term_im = mpf(0) if alone else d_size * sine - g * cosine * d_cosine / sine
                gradient[i][k] += c_re[j][k] * term_re + c_im[j][k] * term_im
                scale[i][k] += abs(c_re[j][k] * term_re) + abs(c_im[j][k] * term_im)
    return gradient, scale


def interference_reference(first: PolarWave, second: PolarWave) -> Matrix:
    """Sum of the two complex numbers."""
    return zip_map(lambda a, b: a + b, first.euler, second.euler)


def modulation_reference(first: PolarWave, second: PolarWave) -> Matrix:
    """Magnitudes multiply, phases add."""
    size = zip_map(lambda a, b: a * b, first.magnitude, second.magnitude)
    angle = zip_map(lambda a, b: a + b, first.phase, second.phase)
    return PolarWave(size, angle).euler


def interference_term_reference(first: PolarWave, second: PolarWave) -> Matrix:
    """``2 G G' cos(alpha - alpha')``."""
    return zip_map(
        lambda g, a, h, b: 2 * g * h * mp.cos(a - b),
        first.magnitude,
        first.phase,
        second.magnitude,
        second.phase,
    )


def modulation_cotangents(
    other: PolarWave, cotangent_real: Matrix, cotangent_imag: Matrix
) -> tuple[Matrix, Matrix]:
    """Pull cotangents of ``Z Z'`` back to ``Z``: multiply by the conjugate of ``Z'``."""
    pulled = zip_map(
        lambda z, re, im: mp.conj(z) * mpc(re, im), other.euler, exact(cotangent_real), exact(cotangent_imag)
    )
    return zip_map(mp.re, pulled), zip_map(mp.im, pulled)


def make_case(
    name: str, w: Matrix, w_prime: Matrix, first: list[int], second: list[int], seed: int = 0
) -> dict:
    """A case with the keys of the golden file: inputs, values, and gradients with respect to ``w``."""
    draw = random.Random(f"{name} {seed}")
    c_re = [[round(draw.uniform(-1, 1), 3) for _ in row] for row in w]
    c_im = [[round(draw.uniform(-1, 1), 3) for _ in row] for row in w]
    z, z_prime = polar_wave(w, first), polar_wave(w_prime, second)
    added, multiplied = interference_reference(z, z_prime), modulation_reference(z, z_prime)
    return {
        "name": name,
        "w": w,
        "w_prime": w_prime,
        "segment_of_w": first,
        "segment_of_w_prime": second,
        "magnitude": floats(z.magnitude),
        "phase": floats(z.phase),
        "real": floats(zip_map(mp.re, z.euler)),
        "imag": floats(zip_map(mp.im, z.euler)),
        "interference_real": floats(zip_map(mp.re, added)),
        "interference_imag": floats(zip_map(mp.im, added)),
        "modulation_real": floats(zip_map(mp.re, multiplied)),
        "modulation_imag": floats(zip_map(mp.im, multiplied)),
        "cotangent_real": c_re,
        "cotangent_imag": c_im,
        "grad_w_of_interference": floats(polar_gradient(w, first, c_re, c_im)[0]),
        "grad_w_of_modulation": floats(
            polar_gradient(w, first, *modulation_cotangents(z_prime, c_re, c_im))[0]
        ),
    }


@functools.cache
def generated_cases() -> tuple[dict, ...]:
    """The kinds of case that the golden file has, with seeded values of our own."""
    draw = random.Random(20240)

    def table(n_tokens: int, width: int, size: float = 1.0) -> Matrix:
        return [[round(draw.uniform(-size, size), 4) for _ in range(width)] for _ in range(n_tokens)]

    empty_dimension = [[row[0], 0.0, row[2]] for row in table(3, 3)]
    dominated = [[x, y] for x, (_, y) in zip([1000.0, 0.001, 0.001, -0.001], table(4, 2), strict=True)]
    dominated_late = [[x, y] for x, (_, y) in zip([0.002, 0.001, -1000.0], table(3, 2), strict=True)]
    return (
        make_case("one text", table(3, 4), table(3, 4), [0] * 3, [0] * 3),
        make_case("ragged: 2, 3, 1", table(6, 3), table(6, 3), [0, 0, 1, 1, 1, 2], [0, 0, 1, 1, 1, 2]),
        make_case("sentence and input level", table(6, 3), table(6, 3), [0, 0, 0, 1, 1, 1], [0] * 6),
        make_case("a dimension of zeros", empty_dimension, table(3, 3), [0] * 3, [0] * 3),
        make_case("first token dominates by 1e6", dominated, table(4, 2), [0] * 4, [0] * 4),
        make_case("last token dominates by 1e6", dominated_late, table(3, 2), [0] * 3, [0] * 3),
        make_case("large values", table(3, 3, 1e4), table(3, 3, 1e4), [0] * 3, [0] * 3),
        make_case("one token", table(1, 3), table(1, 3), [0], [0]),
        make_case("two tied for the largest", [[0.7], [-0.7], [0.1]], table(3, 1), [0] * 3, [0] * 3),
    )


def offsets_of(segment_of: list[int]) -> torch.Tensor:
    """Offsets of contiguous segments that are numbered 0, 1, ..."""
    counts = [segment_of.count(segment) for segment in range(max(segment_of) + 1)]
    return torch.tensor([0, *counts]).cumsum(0)


def offsets_of_lengths(lengths: list[int]) -> torch.Tensor:
    """Offsets of segments with the given numbers of rows."""
    return torch.tensor([0, *lengths]).cumsum(0)


def segments_of_lengths(lengths: list[int]) -> list[int]:
    """Segment of each row."""
    return [segment for segment, length in enumerate(lengths) for _ in range(length)]


def rows(seed: int, n_rows: int, width: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Standard normal numbers."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n_rows, width, generator=generator, dtype=dtype)


def assert_within(
    actual: torch.Tensor, expected: Matrix, relative: float, scale: Matrix | None = None
) -> None:
    """Every entry agrees relative to itself, or to its own scale where that is given."""
    expected_tensor = torch.tensor(floats(expected), dtype=torch.float64).reshape(actual.shape)
    yardstick = expected_tensor if scale is None else torch.tensor(floats(scale), dtype=torch.float64)
    error = (actual.detach().double() - expected_tensor).abs()
    allowed = relative * yardstick.reshape(actual.shape).abs() + 1e-24
    assert bool(torch.isfinite(actual).all()), actual
    assert bool((error <= allowed).all()), f"largest error / allowed: {(error / allowed).max()}"
