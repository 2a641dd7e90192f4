"""Wave Networks: the configuration, the network in torch, and the registry of operations and read-outs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from token2wave.models.registry import register_operation, register_readout
from token2wave.models.wave_config import ParameterCount, WaveConfig

if TYPE_CHECKING:
    from token2wave.models.batch import Batch, make_batch
    from token2wave.models.bert_encoder import EncoderNetwork, PretrainedEncoder
    from token2wave.models.text_network import TextNetwork, predict_logits
    from token2wave.models.wave_network import WaveNetwork

__all__ = [
    "Batch",
    "EncoderNetwork",
    "ParameterCount",
    "PretrainedEncoder",
    "TextNetwork",
    "WaveConfig",
    "WaveNetwork",
    "make_batch",
    "predict_logits",
    "register_operation",
    "register_readout",
]

_HOME = {
    "Batch": "batch",
    "PretrainedEncoder": "bert_encoder",
    "EncoderNetwork": "bert_encoder",
    "TextNetwork": "text_network",
    "WaveNetwork": "wave_network",
    "make_batch": "batch",
    "predict_logits": "text_network",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
