"""Sizes that a model file cannot be brought to."""

from __future__ import annotations

from collections.abc import Sequence

from token2wave.errors import ConfigError
from token2wave.training.presets import Preset


def require_reachable(limit: int, preset: Preset, label_names: Sequence[str]) -> None:
    """Find out before any training whether a size is out of reach whatever is learnt.

    Args:
        limit: most bytes of the file.
        preset: what will be trained.
        label_names: of the classes.

    Raises:
        ConfigError: even a single row, and nothing that compression may leave out, take more.
    """
    config = preset.network_config(1, len(label_names), ())
    config = config.replace(context_width=0, linear_svm=False)
    least = 2 * config.parameter_count().without_embedding  # in half precision
    least += sum(len(name.encode("utf-8", "surrogatepass")) for name in label_names)
    if limit < least:
        raise ConfigError(
            f"expected more than {least:,} bytes, which the network takes without its rows, found {limit:,}",
            location="max_size",
            hint="allow more bytes, or train a narrower network",
        )


def out_of_reach(limit: int | None, storage: str) -> ConfigError:
    """What to say where no model is as small as asked."""
    return ConfigError(
        f"expected a size that the model can be compressed to, found {limit:,} bytes as {storage}",
        location="max_size",
        hint="allow more bytes, choose storage lzma, or train a narrower network",
    )
