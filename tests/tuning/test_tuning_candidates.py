"""What is tried, in which order."""

import itertools

import pytest

from token2wave.training.presets import preset_named
from token2wave.tuning.candidates import MUTATIONS, Candidates


def first(n, best=None, preset="small", fixed=(), seed=0, is_limited=False):
    candidates = Candidates(preset_named(preset), frozenset(fixed), seed, is_limited)
    return list(itertools.islice(candidates.after(lambda: best or {}), n))


def test_one_setting_at_a_time_and_then_several():
    found = first(80)
    n_single = sum(len(settings) == 1 for settings in found)
    assert [len(settings) for settings in found[:n_single]] == [1] * n_single
    assert n_single == len(MUTATIONS)
    assert all(2 <= len(settings) <= 3 for settings in found[n_single:])


def test_the_seed_decides_the_order():
    assert first(80) == first(80)
    assert first(80)[: len(MUTATIONS)] == first(80, seed=1)[: len(MUTATIONS)]
    assert first(80) != first(80, seed=1)


def test_nothing_twice_nothing_illegal_nothing_that_is_the_preset():
    found = first(200)
    assert len({tuple(sorted(settings.items())) for settings in found}) == 200
    preset = preset_named("small")
    for settings in found:
        assert settings
        changed = preset.with_settings(settings)
        assert (changed.features, changed.network, changed.recipe) != (
            preset.features,
            preset.network,
            preset.recipe,
        )


def test_candidates_start_from_the_best_so_far():
    best = {"network.width": 64}
    found = first(30, best)
    assert all(settings["network.width"] == 64 for settings in found if len(settings) == 2)
    assert {"network.width": 128} in found
    assert {} not in found  # halved again it is the preset, which was tried first


@pytest.mark.parametrize("preset", ["small", "fast", "paper"])
def test_what_the_user_gave_stays(preset):
    fixed = {"recipe.epochs", "network.width", "network.operation"}
    for settings in first(100, preset=preset, fixed=fixed):
        assert not fixed & settings.keys()


def test_all_settings_given_leave_nothing_to_try():
    assert first(5, fixed={mutation.key for mutation in MUTATIONS}) == []


def test_settings_without_effect_are_not_tried():
    fast = {key for settings in first(100, preset="fast") for key in settings}
    assert not any(key.startswith("network.phrase") for key in fast)
    paper = {key for settings in first(100, preset="paper") for key in settings}
    assert "recipe.idf_power" not in paper
    assert not any(key.startswith("features.") for key in paper)


def test_smaller_networks_come_first_where_a_size_is_asked_for():
    found = first(2, is_limited=True)
    assert found == [{"network.width": 16}, {"network.context_width": 16}]
