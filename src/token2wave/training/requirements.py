"""Checks that this machine can train a preset."""

from __future__ import annotations

from token2wave.errors import ConfigError, import_extra
from token2wave.features import WordConfig
from token2wave.training.native_trainer import trains_natively
from token2wave.training.presets import Preset


def require_trainable(preset: Preset, device: str, stream: bool = False) -> None:
    """Check before any work that this machine can train a preset, on a stream if you ask for one.

    Raises:
        ConfigError: there is no usable CUDA device; or the preset needs torch or a vocabulary, which a stream
            cannot have.
        MissingExtraError: torch is needed and not installed.
    """
    config = preset.network_config(1, 2, ()).replace(linear_svm=False)
    is_native = device != "cuda" and trains_natively(config, preset.recipe, preset.features.cls)
    if stream and not (is_native and isinstance(preset.features, WordConfig)):
        raise ConfigError(
            f"preset {preset.name!r}, as it is set, does not train on a stream here",
            location="stream",
            hint="choose preset small or fast on the processor, with the package's native core",
        )
    if is_native:
        return
    with import_extra("torch", f"training preset {preset.name!r} here", "torch"):
        import torch
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("found no usable CUDA device", location="device", hint="choose cpu")
