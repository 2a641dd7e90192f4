"""Proposes the candidates of a search: changes of one setting each, then random changes of several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from token2wave.errors import ConfigError
from token2wave.training.presets import Preset

Settings = dict[str, Any]
N_COMBINED = (2, 3)  # settings to change together, once each was changed alone
MAX_FAILED_DRAWS = 500  # in a row, before the search ends


class Mutation(NamedTuple):
    """A change of one setting."""

    key: str
    change: Callable[[Any], Any]  # from the current value to another, or to the same if there is no other
    saves: bool = False  # makes the file smaller, and comes first if the file has a size limit


def _to(value: Any) -> Callable[[Any], Any]:
    return lambda _: value


def _times(factor: float, low: float, high: float) -> Callable[[Any], Any]:
    """Multiply within bounds; an integer stays an integer."""

    def change(value: Any) -> Any:
        changed = min(max(value * factor, low), high) if low <= value <= high else value
        return round(changed) if isinstance(value, int) else float(f"{changed:.6g}")

    return change


def _plus(step: float, low: float, high: float) -> Callable[[Any], Any]:
    return lambda value: round(min(max(value + step, low), high), 6) if low <= value <= high else value


MUTATIONS = (
    Mutation("network.width", _times(2, 4, 512)),
    Mutation("recipe.epochs", _times(2, 1, 100)),
    Mutation("recipe.batch_size", _times(0.5, 4, 1024)),
    Mutation("recipe.token_dropout", _plus(0.2, 0, 0.8)),
    Mutation("recipe.prior_scale", _times(3, 1, 1000)),
    Mutation("recipe.idf_power", _plus(0.3, 0.05, 1.5)),
    Mutation("recipe.embedding_lr", _times(2, 1e-5, 500)),
    Mutation("network.context_width", _times(2, 4, 256)),
    Mutation("features.ngrams", _to(3)),
    Mutation("network.dropout", _plus(0.2, 0, 0.8)),
    Mutation("recipe.lr", _times(2, 1e-5, 0.03)),
    Mutation("features.min_count", _to(1)),
    Mutation("recipe.prior_scale", _times(1 / 3, 1, 1000)),
    Mutation("network.context_radius", _plus(2, 1, 9)),
    Mutation("recipe.embedding_lr", _times(0.5, 1e-5, 500)),
    Mutation("recipe.token_dropout", _plus(-0.2, 0, 0.8)),
    Mutation("recipe.idf_power", _plus(-0.3, 0.05, 1.5)),
    Mutation("network.operation", {"interference": "modulation", "modulation": "interference"}.get),
    Mutation("recipe.label_smoothing", _plus(0.1, 0, 0.3)),
    Mutation("recipe.prior_scale", _to(0)),
    Mutation("network.context_radius", _plus(-1, 1, 9)),
    Mutation("recipe.lr", _times(0.5, 1e-5, 0.03)),
    Mutation("network.dropout", _plus(-0.2, 0, 0.8)),
    Mutation("recipe.label_smoothing", _plus(-0.05, 0, 0.3)),
    Mutation("features.min_count", _times(2, 1, 32)),
    Mutation("features.ngrams", _to(1)),
    Mutation("network.width", _times(0.5, 4, 512), saves=True),
    Mutation("recipe.epochs", _times(0.5, 1, 100)),
    Mutation("network.context_width", _times(0.5, 4, 256), saves=True),
)
"""In the order of what helps most on several data sets (``docs/experiments.md``)."""


class Candidates:
    """Proposes settings to try next, given the best so far.

    First come all :data:`MUTATIONS` in turn, then two or three at random. Nothing is proposed twice.
    Proposals depend only on the seed and on the best settings so far.

    Args:
        preset: with your settings.
        fixed: names of these settings, which do not change.
        seed: of the random choices.
        is_limited: whether the model file has a size limit.
    """

    def __init__(self, preset: Preset, fixed: frozenset[str], seed: int, is_limited: bool = False) -> None:
        self.preset, self.fixed = preset, fixed
        self.random = np.random.default_rng(seed)
        self.mutations = [
            mutation for mutation in MUTATIONS if mutation.key not in fixed and self._matters(mutation.key)
        ]
        if is_limited:
            self.mutations.sort(key=lambda mutation: not mutation.saves)
        self.proposed = {self._identity({})}

    def after(self, best: Callable[[], Settings]) -> Iterator[Settings]:
        """Propose legal changes of the preset, given the best so far, until nothing new is left."""
        for mutation in self.mutations:
            if (settings := self._mutate(best(), [mutation])) is not None:
                yield settings
        n_failed = 0
        while self.mutations and n_failed < MAX_FAILED_DRAWS:
            n_mutations = min(int(self.random.choice(N_COMBINED)), len(self.mutations))
            drawn = self.random.choice(len(self.mutations), n_mutations, replace=False)
            n_failed += 1
            if (settings := self._mutate(best(), [self.mutations[i] for i in drawn])) is not None:
                n_failed = 0
                yield settings

    def _mutate(self, best: Settings, mutations: list[Mutation]) -> Settings | None:
        """Change the best settings; None if that is illegal or was proposed before."""
        settings = dict(best)
        for key, change, _ in mutations:
            settings[key] = change(self._value(settings, key))
        settings = {key: value for key, value in settings.items() if value != self._value({}, key)}
        try:
            self.preset.with_settings(settings)
        except ConfigError:  # e.g. two settings exclude each other
            return None
        identity = self._identity(settings)
        if identity in self.proposed:
            return None
        self.proposed.add(identity)
        return settings

    def _value(self, settings: Mapping[str, Any], key: str) -> Any:
        """The value of a setting, as changed or in the preset."""
        if key in settings:
            return settings[key]
        group, _, name = key.partition(".")
        if group == "network":
            return getattr(self.preset.network_config(1, 2, ()), name)
        return getattr(self.preset.features if group == "features" else self.preset.recipe, name)

    def _matters(self, key: str) -> bool:
        """Whether a setting changes anything under this preset."""
        if key.startswith("features."):
            return hasattr(self.preset.features, key.removeprefix("features."))
        if key.startswith("network.context_"):
            return bool(self._value({}, "network.context_width"))
        return key != "recipe.idf_power" or self.preset.recipe.embedding_weighting == "idf"

    @staticmethod
    def _identity(settings: Settings) -> tuple[tuple[str, Any], ...]:
        return tuple(sorted(settings.items()))
