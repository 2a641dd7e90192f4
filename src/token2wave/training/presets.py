"""The presets. You can change every setting of a preset."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from token2wave.errors import ConfigError
from token2wave.features import FeatureConfig, PairConfig, WordConfig, WordPieceConfig
from token2wave.models import WaveConfig
from token2wave.options import TrainOptions
from token2wave.training.recipe import Recipe


@dataclass(frozen=True)
class Preset:
    """Settings of features, network and training.

    Attributes:
        name: of the preset.
        features: settings of the features.
        network: settings of the network without the sizes that the data decides.
        recipe: settings of training.
        for_little_text: settings by full name for small data (:mod:`token2wave.training.auto_settings`).
        for_long_texts: likewise for much data of long texts.
        for_many_classes: likewise for many classes.
    """

    name: str
    features: FeatureConfig
    network: Mapping[str, Any] = field(default_factory=dict)
    recipe: Recipe = field(default_factory=Recipe)
    for_little_text: Mapping[str, Any] = field(default_factory=dict)
    for_long_texts: Mapping[str, Any] = field(default_factory=dict)
    for_many_classes: Mapping[str, Any] = field(default_factory=dict)

    def network_config(self, n_rows: int, n_classes: int, sentence_ends: tuple[int, ...]) -> WaveConfig:
        """Complete the network's settings with the sizes that the data decides.

        Raises:
            ConfigError: a setting is unknown or illegal.
        """
        config = WaveConfig.from_dict({**self.network, "n_rows": n_rows, "n_classes": n_classes})
        return config.replace(sentence_ends=sentence_ends) if config.variants == "levels" else config

    def for_pairs(self, symmetric: bool) -> Preset:
        """The preset for pairs of texts: without the context, because a pair has no reading order.

        Raises:
            ConfigError: the preset has no features of words.
        """
        if not isinstance(self.features, WordConfig):
            raise ConfigError(
                f"expected a preset of words for pairs, found {self.name!r}",
                location="pair",
                hint="choose preset small or fast",
            )
        little_text = {name: value for name, value in self.for_little_text.items() if "context" not in name}
        with _prefix_errors("features"):
            features = PairConfig(**self.features.to_dict(), symmetric=symmetric)
        network = {**self.network, "context_width": 0}
        return replace(self, features=features, network=network, for_little_text=little_text)

    def with_settings(self, settings: Mapping[str, Any]) -> Preset:
        """Change settings by their full names, e.g. ``{"network.width": 256, "recipe.epochs": 2}``.

        Raises:
            ConfigError: a name is unknown or a value illegal.
        """
        groups: dict[str, dict[str, Any]] = {"features": {}, "network": {}, "recipe": {}}
        for name, value in settings.items():
            group, _, key = name.partition(".")
            if group not in groups:
                raise ConfigError(
                    f"expected features.KEY, network.KEY or recipe.KEY, found {name!r}",
                    hint="e.g. network.width=256",
                )
            if name in DECIDED_BY_DATA:
                raise ConfigError("is decided by the data and cannot be set", location=name)
            groups[group][key] = value
        network = {**self.network, **groups["network"]}
        if network.get("variants") != "rows" and "linear_svm" not in groups["network"]:
            network.pop("linear_svm", None)  # needs the embedding's rows
        with _prefix_errors("features"):
            features = self.features.replace(**groups["features"])
        with _prefix_errors("recipe"):
            recipe = self.recipe.replace(**groups["recipe"])
        changed = replace(self, features=features, network=network, recipe=recipe)
        with _prefix_errors("network"):
            config = changed.network_config(1, 2, ())  # refuses illegal settings before any work
        if isinstance(changed.features, PairConfig) and config.context_width:
            raise ConfigError(
                f"expected 0 for pairs, which have no reading order, found {config.context_width}",
                location="network.context_width",
                hint="leave it out, or pair",
            )
        if not changed.features.cls and config.readout == "cls":
            raise ConfigError(
                "expected features with [CLS] to read out, found none",
                location="network.readout",
                hint="set features.cls=true",
            )
        return changed


@contextmanager
def _prefix_errors(group: str) -> Iterator[None]:
    """Name settings in errors in full, as users write them."""
    try:
        yield
    except ConfigError as error:
        location = None if error.location is None else f"{group}.{error.location}"
        raise ConfigError(error.problem, location=location, hint=error.hint) from error


DECIDED_BY_DATA = "network.n_rows", "network.n_classes", "network.sentence_ends", "network.window_words"
_EVERYDAY_NETWORK = {
    "width": 32,
    "variants": "rows",
    "operation": "interference",
    "readout": "text",
    "dropout": 0.3,
    "embedding_scale": 0.01,
    "linear_svm": True,
}
_EVERYDAY_RECIPE = Recipe(
    epochs=4,
    batch_size=32,
    lr=3e-3,
    embedding_optimizer="sgd",
    embedding_lr=20.0,
    embedding_weighting="idf",
    idf_power=0.35,
    token_dropout=0.3,
    label_smoothing=0.1,
    validation_fraction=0.1,
    validation="grouped",
    refit_below=5_000_000,
    windows_from=512,
)

_MANY_CLASSES = {
    "network.linear_svm": False,
    "network.width": 128,
    "network.context_width": 0,
    "recipe.batch_size": 256,
    "recipe.embedding_lr": 640.0,
    "recipe.epochs": 8,
}
"""Wider waves in the place of the SVM. A text is a smaller fraction of a larger batch, so that its step takes
a higher rate; the read-out, which has many rows, moves less often."""

PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "small",
            WordConfig(),
            {**_EVERYDAY_NETWORK, "context_width": 32},
            _EVERYDAY_RECIPE,
            for_little_text={"network.context_width": 96, "recipe.epochs": 6},
            for_long_texts={"recipe.context_words": 8},
            for_many_classes=_MANY_CLASSES,
        ),
        Preset(
            "fast",
            WordConfig(),
            _EVERYDAY_NETWORK,
            _EVERYDAY_RECIPE.replace(char_ngrams=False, tune_linear_svm=False, refit_linear_svm=False),
            for_many_classes={**_MANY_CLASSES, "network.width": 64},
        ),
        Preset(
            "paper",
            WordPieceConfig(),
            {"width": 768, "readout": "cls", "restore": "linear", "dropout": 0.5, "layer_norm": "real"},
            Recipe(epochs=4, batch_size=64, lr=1e-3, embedding_lr=1e-3, token_dropout=0.5),
        ),
    )
}
"""Presets by name; the first is the everyday default."""


def preset_named(name: str) -> Preset:
    """Look up a preset.

    Raises:
        ConfigError: no preset has that name.
    """
    if name not in PRESETS:
        raise ConfigError(f"expected one of {', '.join(PRESETS)}, found {name!r}", location="preset")
    return PRESETS[name]


def preset_of(options: TrainOptions, pair: bool, settings: Mapping[str, Any]) -> Preset:
    """Return the preset that options name, for pairs of texts or single ones, with further settings.

    Raises:
        ConfigError: there is no such preset, it is not for pairs, or a setting is unknown or illegal.
    """
    preset = preset_named(options.preset)
    return (preset.for_pairs(options.symmetric) if pair else preset).with_settings(settings)


def parse_setting(assignment: str) -> tuple[str, Any]:
    """Split ``network.width=256`` into the name and the value, which is JSON or else a string.

    Raises:
        ConfigError: there is no ``=``.
    """
    name, equals, value = assignment.partition("=")
    if not equals:
        raise ConfigError(f"expected KEY=VALUE, found {assignment!r}", hint="e.g. network.width=256")
    return name, parse_value(value)


def parse_value(text: str) -> Any:
    """Read a value as JSON, or else as a string."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def overrides_of(options: TrainOptions) -> dict[str, Any]:
    """Collect the settings that differ from the preset, by full name.

    Raises:
        ConfigError: there is no such preset.
    """
    recipe = preset_named(options.preset).recipe
    settings: dict[str, Any] = {
        "network.operation": options.operation,
        "recipe.epochs": options.epochs,
        "recipe.batch_size": options.batch_size,
        "recipe.lr": options.lr,
        "recipe.embedding_lr": None if options.lr is None else recipe.embedding_lr * options.lr / recipe.lr,
    }
    changed = {name: value for name, value in settings.items() if value is not None}
    return {**changed, **(options.settings or {})}
