"""Checks that this machine can train a preset."""

from __future__ import annotations

from token2wave.errors import ConfigError, MissingExtraError
from token2wave.training.native_trainer import trains_natively
from token2wave.training.presets import Preset


def require_trainable(preset: Preset, device: str) -> None:
    """Check that this machine can train a preset, before any work is done.

    Raises:
        ConfigError: no usable CUDA device.
        MissingExtraError: torch is needed and not installed.
    """
    config = preset.network_config(1, 2, ()).replace(linear_svm=False)
    if device != "cuda" and trains_natively(config, preset.recipe, not preset.features_lack_cls):
        return
    require_torch(f"training preset {preset.name!r} here")
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("found no usable CUDA device", location="device", hint="choose cpu")


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
