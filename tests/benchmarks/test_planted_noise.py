"""Planted noise: so many rows get a wrong label, drawn from all classes or the one most confused."""

from __future__ import annotations

import numpy as np
import pytest
from planted_noise import plant_noise

LABELS = np.arange(4_000) % 4
CONFUSED = np.array([2, 3, 0, 1])  # with which class the models confuse each


def probabilities():
    matrix = np.full((4, 4), 0.05) + 0.8 * np.eye(4)
    matrix[np.arange(4), CONFUSED] += 0.1
    return matrix[LABELS]


@pytest.mark.parametrize("how", ["random", "confused"])
def test_exactly_the_fraction_gets_another_label(how):
    noisy = plant_noise(LABELS, probabilities(), 0.1, how, 0)
    wrong = np.flatnonzero(noisy != LABELS)
    assert len(wrong) == 400
    assert set(noisy.tolist()) == {0, 1, 2, 3}
    if how == "confused":
        assert (noisy[wrong] == CONFUSED[LABELS[wrong]]).all()
    else:
        assert np.bincount((noisy - LABELS)[wrong] % 4)[1:].min() > 100  # all others alike
    assert (noisy == plant_noise(LABELS, probabilities(), 0.1, how, 0)).all()
    assert (noisy != plant_noise(LABELS, probabilities(), 0.1, how, 1)).any()


def test_no_noise_changes_nothing_and_other_ways_are_refused():
    assert (plant_noise(LABELS, probabilities(), 0, "random", 0) == LABELS).all()
    with pytest.raises(ValueError, match="expected one of"):
        plant_noise(LABELS, probabilities(), 0.1, "all", 0)
