"""Wave Networks: their shape as data, and the network itself. torch is imported when it is needed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from token2wave.models.config import ParameterCount, WaveConfig

if TYPE_CHECKING:
    from token2wave.models.batch import Batch, make_batch
    from token2wave.models.network import WaveNetwork
    from token2wave.models.prediction import TextNetwork, predict_logits
    from token2wave.models.pretrained import Checkpoint, EncoderNetwork
    from token2wave.models.transformer import TransformerConfig, TransformerNetwork

__all__ = [
    "Batch",
    "Checkpoint",
    "EncoderNetwork",
    "ParameterCount",
    "TextNetwork",
    "TransformerConfig",
    "TransformerNetwork",
    "WaveConfig",
    "WaveNetwork",
    "make_batch",
    "predict_logits",
]

_HOME = {
    "Batch": "batch",
    "Checkpoint": "pretrained",
    "EncoderNetwork": "pretrained",
    "TextNetwork": "prediction",
    "TransformerConfig": "transformer",
    "TransformerNetwork": "transformer",
    "WaveNetwork": "network",
    "make_batch": "batch",
    "predict_logits": "prediction",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
