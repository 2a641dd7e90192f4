"""Collects and validates training options."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, SupportsIndex

from token2wave.config import require
from token2wave.errors import ConfigError, MissingExtraError
from token2wave.training.checkpoint import require_free_path
from token2wave.training.native_trainer import trains_natively
from token2wave.training.presets import Preset


def collect_overrides(
    preset: Preset,
    operation: str | None,
    epochs: int | None,
    batch_size: int | None,
    lr: float | None,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Collect the settings that differ from the preset, by full name.

    Raises:
        ConfigError: a setting that the data decides, or an illegal learning rate.
    """
    overrides: dict[str, Any] = {}
    if "network.multi_label" in settings:
        raise ConfigError("is decided by the data", location="network.multi_label", hint="use --multi-label")
    if operation is not None:
        overrides["network.operation"] = operation
    if epochs is not None:
        overrides["recipe.epochs"] = epochs
    if batch_size is not None:
        overrides["recipe.batch_size"] = batch_size
    if lr is not None:
        # Zero would train nothing; the settings of the recipe can turn off one of the two rates.
        require(0 < lr <= 3e38, "lr", "a positive number up to 3e38", lr)
        recipe = preset.recipe
        overrides["recipe.lr"] = lr
        overrides["recipe.embedding_lr"] = recipe.embedding_lr * lr / recipe.lr
    return {**overrides, **settings}


def require_trainable(preset: Preset, device: str) -> None:
    """Check that this machine can train a preset, before any work is done.

    Raises:
        ConfigError: an unknown device, or no usable CUDA device.
        MissingExtraError: torch is needed and not installed.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"expected auto, cpu or cuda, found {device!r}", location="device")
    config = preset.network_config(1, 2, ()).replace(linear_svm=False)
    if device != "cuda" and trains_natively(config, preset.recipe, not preset.features_lack_cls):
        return
    require_torch(f"training preset {preset.name!r} here")
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("found no usable CUDA device", location="device", hint="choose cpu")


def require_checkpoints(
    checkpoint: str | os.PathLike[str] | None,
    resume: bool,
    out: str | os.PathLike[str] | None,
    *,
    searches: bool,
) -> None:
    """Check the options of a checkpoint.

    Raises:
        ConfigError: no checkpoint to resume, a settings search, which cannot be resumed, or a checkpoint that
            is the model file.
        CheckpointError: there is a checkpoint, and it is not to be resumed.
        OutputError: the file cannot be written.
    """
    if resume and checkpoint is None:
        raise ConfigError(
            "found no checkpoint to resume", location="resume", hint="name its file with --checkpoint"
        )
    if checkpoint is not None and out is not None and os.path.realpath(checkpoint) == os.path.realpath(out):
        raise ConfigError(
            "expected two files for the checkpoint and the model, found one",
            location="checkpoint",
            hint="name another file for one of them",
        )
    if checkpoint is not None and searches:
        raise ConfigError(
            "a settings search cannot be resumed",
            location="checkpoint",
            hint="search first, then train with the settings of the report by --set",
        )
    if checkpoint is not None:
        require_free_path(Path(checkpoint), resume)


def require_torch(purpose: str) -> None:
    """Check that torch can be imported.

    Args:
        purpose: what needs it.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError("torch", "train", purpose=purpose) from error


def require_seed(seed: SupportsIndex) -> int:
    """Convert a seed, also one of numpy, to a plain number for the record.

    Raises:
        ConfigError: it is no seed.
    """
    number = operator.index(seed) if isinstance(seed, SupportsIndex) else -1
    if not 0 <= number < 1 << 63:
        raise ConfigError(f"expected a whole number from 0 to 2^63 - 1, found {seed!r}", location="seed")
    return number
