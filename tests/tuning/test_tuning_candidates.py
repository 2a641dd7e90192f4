"""What is tried, in which order."""

import itertools

import pytest

from token2wave.training.presets import preset_named
from token2wave.tuning.candidates import MUTATIONS, Candidates


def first(n, best=None, preset="small", fixed=(), seed=0, is_limited=False):
    candidates = Candidates(preset_named(preset), frozenset(fixed), seed, is_limited)
    return list(itertools.islice(candidates.after(lambda: best or {}), n))


def test_one_setting_at_a_time_and_then_several():
    settings_list = first(80)
    n_single = len(MUTATIONS)
    assert [len(settings) for settings in settings_list[:n_single]] == [1] * n_single
    several = [len(settings) for settings in settings_list[n_single:]]
    assert max(several) == 3
    assert sum(n == 1 for n in several) <= 3  # two changes of one setting


def test_the_seed_decides_the_order():
    assert first(80) == first(80)
    assert first(80)[: len(MUTATIONS)] == first(80, seed=1)[: len(MUTATIONS)]
    assert first(80) != first(80, seed=1)


def test_candidates_are_new_legal_and_differ_from_the_preset():
    settings_list = first(200)
    assert len({tuple(sorted(settings.items())) for settings in settings_list}) == 200
    preset = preset_named("small")
    for settings in settings_list:
        assert settings
        changed = preset.with_settings(settings)
        assert (changed.features, changed.network, changed.recipe) != (
            preset.features,
            preset.network,
            preset.recipe,
        )


def test_candidates_start_from_the_best_so_far():
    best = {"network.width": 64}
    settings_list = first(len(MUTATIONS) - 1, best)
    assert all(settings["network.width"] == 64 for settings in settings_list if len(settings) == 2)
    assert {"network.width": 128} in settings_list
    assert {} not in settings_list  # halved again it is the preset, which was tried first


@pytest.mark.parametrize("preset", ["small", "fast", "paper"])
def test_your_settings_stay(preset):
    fixed = {"recipe.epochs", "network.width", "network.operation"}
    for settings in first(100, preset=preset, fixed=fixed):
        assert not fixed & settings.keys()


def test_no_candidate_is_left_if_you_set_everything():
    assert first(5, fixed={mutation.key for mutation in MUTATIONS}) == []


def test_settings_without_effect_are_not_tried():
    fast = {key for settings in first(100, preset="fast") for key in settings}
    assert not any(key.startswith("network.phrase") for key in fast)
    paper = {key for settings in first(100, preset="paper") for key in settings}
    assert "recipe.idf_power" not in paper
    assert not any(key.startswith("features.") for key in paper)


def test_smaller_networks_come_first_with_a_size_limit():
    settings_list = first(2, is_limited=True)
    assert settings_list == [{"network.width": 16}, {"network.context_width": 16}]
