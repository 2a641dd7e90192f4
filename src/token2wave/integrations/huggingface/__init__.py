"""Hugging Face: importing this package makes ``transformers`` know Wave Networks.

>>> import token2wave.integrations.huggingface  # doctest: +SKIP
>>> from transformers import pipeline  # doctest: +SKIP
>>> pipeline("text-classification", model="folder-or-owner/name")("Shares fell.")  # doctest: +SKIP

The Auto classes, ``Trainer`` and ``pipeline("text-classification")`` work from then on. The hub and model
cards alone are in ``integrations/hub_models.py`` and ``integrations/model_cards.py``, which need
neither ``transformers`` nor torch.
"""

from __future__ import annotations

from token2wave.errors import MissingExtraError

try:
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    from token2wave.integrations.huggingface.conversion import (
        Converted,
        export_huggingface,
        from_huggingface,
        from_preset,
        to_huggingface,
    )
    from token2wave.integrations.huggingface.hf_config import WaveNetworkConfig
    from token2wave.integrations.huggingface.hf_model import WaveForSequenceClassification
    from token2wave.integrations.huggingface.hf_tokenizer import WaveTokenizer
except ModuleNotFoundError as error:
    if error.name not in ("transformers", "torch", "huggingface_hub"):
        raise
    raise MissingExtraError(error.name, "hf", purpose="token2wave.integrations.huggingface") from error

from token2wave.integrations.hub_models import load_from_hub, push
from token2wave.integrations.model_cards import model_card

__all__ = [
    "Converted",
    "WaveForSequenceClassification",
    "WaveNetworkConfig",
    "WaveTokenizer",
    "export_huggingface",
    "from_huggingface",
    "from_preset",
    "load_from_hub",
    "model_card",
    "push",
    "to_huggingface",
]

AutoConfig.register(WaveNetworkConfig.model_type, WaveNetworkConfig, exist_ok=True)
AutoModelForSequenceClassification.register(WaveNetworkConfig, WaveForSequenceClassification, exist_ok=True)
AutoTokenizer.register(WaveNetworkConfig, slow_tokenizer_class=WaveTokenizer, exist_ok=True)
