"""What a search tries, in an order that the seed decides: one setting at a time, then several at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from token2wave.errors import ConfigError
from token2wave.training.presets import Preset

Settings = dict[str, Any]
AT_ONCE = (2, 3)  # settings that are changed together once each was changed alone
FAILED_DRAWS = 500  # in a row, after which nothing new is expected


class Mutation(NamedTuple):
    """A change of one setting.

    Attributes:
        key: the setting's full name.
        change: from the present value to another; the same where there is none.
        saves: whether it leaves more of a file to what matters, and comes first where a size is asked for.
    """

    key: str
    change: Callable[[Any], Any]
    saves: bool = False


def _to(value: Any) -> Callable[[Any], Any]:
    return lambda _: value


def _times(factor: float, low: float, high: float) -> Callable[[Any], Any]:
    """A multiple, whole where the value is, and kept within bounds."""

    def change(value: Any) -> Any:
        changed = min(max(value * factor, low), high) if low <= value <= high else value
        return round(changed) if isinstance(value, int) else float(f"{changed:.6g}")

    return change


def _plus(step: float, low: float, high: float) -> Callable[[Any], Any]:
    return lambda value: round(min(max(value + step, low), high), 6) if low <= value <= high else value


MOVES = (
    Mutation("recipe.idf_power", _plus(0.3, 0.05, 1.5)),
    Mutation("recipe.epochs", _times(1.67, 1, 100)),
    Mutation("features.min_count", _to(1)),
    Mutation("network.width", _times(2, 4, 512)),
    Mutation("recipe.embedding_lr", _times(2, 1e-5, 500)),
    Mutation("recipe.token_dropout", _plus(0.2, 0, 0.8)),
    Mutation("network.context_radius", _plus(2, 1, 9)),
    Mutation("recipe.batch_size", _times(0.5, 4, 1024)),
    Mutation("recipe.lr", _times(2, 1e-5, 0.03)),
    Mutation("features.ngrams", _to(3)),
    Mutation("recipe.token_dropout", _plus(-0.2, 0, 0.8)),
    Mutation("network.context_width", _times(2, 4, 256)),
    Mutation("network.dropout", _plus(0.2, 0, 0.8)),
    Mutation("recipe.embedding_lr", _times(0.5, 1e-5, 500)),
    Mutation("recipe.label_smoothing", _plus(-0.05, 0, 0.3)),
    Mutation("recipe.idf_power", _plus(-0.3, 0.05, 1.5)),
    Mutation("network.operation", {"interference": "modulation", "modulation": "interference"}.get),
    Mutation("network.context_radius", _plus(-1, 1, 9)),
    Mutation("recipe.batch_size", _times(2, 4, 1024)),
    Mutation("features.ngrams", _to(1)),
    Mutation("recipe.lr", _times(0.5, 1e-5, 0.03)),
    Mutation("network.dropout", _plus(-0.2, 0, 0.8)),
    Mutation("recipe.label_smoothing", _plus(0.1, 0, 0.3)),
    Mutation("features.min_count", _times(2, 1, 32)),
    Mutation("network.width", _times(0.5, 4, 512), saves=True),
    Mutation("recipe.epochs", _times(0.67, 1, 100)),
    Mutation("network.context_width", _times(0.5, 4, 256), saves=True),
)
"""One change each. What mattered most on one set or another (``docs/experiments.md``) comes first."""


class Candidates:
    """Settings to try next, given the best so far.

    The first ones change one setting by each of :data:`MOVES` in turn; then two or three at once, drawn by
    the seed. Nothing is proposed twice. What is proposed depends on the seed and on what was found best
    before, and on nothing else.

    Args:
        preset: with the settings that the user gave.
        fixed: names of these, which stay as they are.
        seed: of the draws.
        is_limited: whether the model file has a size to keep to.
    """

    def __init__(self, preset: Preset, fixed: frozenset[str], seed: int, is_limited: bool = False) -> None:
        self.preset, self.fixed = preset, fixed
        self.random = np.random.default_rng(seed)
        self.moves = [move for move in MOVES if move.key not in fixed and self._matters(move.key)]
        if is_limited:
            self.moves.sort(key=lambda move: not move.saves)
        self.proposed = {self._identity({})}

    def after(self, best: Callable[[], Settings]) -> Iterator[Settings]:
        """Propose settings until nothing new is left.

        Args:
            best: the changes of the best so far, against the preset; asked anew for every proposal.

        Yields:
            Changes against the preset, legal together.
        """
        for move in self.moves:
            found = self._moved(best(), [move])
            if found is not None:
                yield found
        failed = 0
        while self.moves and failed < FAILED_DRAWS:
            n_moves = min(int(self.random.choice(AT_ONCE)), len(self.moves))
            drawn = self.random.choice(len(self.moves), n_moves, replace=False)
            found = self._moved(best(), [self.moves[i] for i in drawn])
            failed = 0 if found is not None else failed + 1
            if found is not None:
                yield found

    def _moved(self, best: Settings, moves: list[Mutation]) -> Settings | None:
        """The best settings with some changes; None where that is illegal, or nothing new."""
        settings = dict(best)
        for key, change, _ in moves:
            settings[key] = change(self._value(settings, key))
        settings = {key: value for key, value in settings.items() if value != self._value({}, key)}
        try:
            self.preset.with_settings(settings)
        except ConfigError:  # as where two settings exclude each other
            return None
        identity = self._identity(settings)
        if identity in self.proposed:
            return None
        self.proposed.add(identity)
        return settings

    def _value(self, settings: Mapping[str, Any], key: str) -> Any:
        """The value of a setting, changed or of the preset."""
        if key in settings:
            return settings[key]
        part, _, name = key.partition(".")
        if part == "network":
            return getattr(self.preset.network_config(1, 2, ()), name)
        return getattr(self.preset.features if part == "features" else self.preset.recipe, name)

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
