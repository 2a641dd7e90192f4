"""Hugging Face: importing this package registers Wave Networks with ``transformers``.

>>> import token2wave.integrations.huggingface  # doctest: +SKIP
>>> from transformers import pipeline  # doctest: +SKIP
>>> pipeline("text-classification", model="folder-or-owner/name")("Shares fell.")  # doctest: +SKIP

Auto classes, ``Trainer`` and pipelines then know them. The modules ``integrations/hub_models.py`` and
``integrations/model_cards.py`` work without ``transformers`` and torch.
"""

from __future__ import annotations

from token2wave.errors import import_extra

with import_extra("hf", "token2wave.integrations.huggingface", "transformers", "torch", "huggingface_hub"):
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    from token2wave.integrations.huggingface.conversion import (
        ModelAndTokenizer,
        export_huggingface,
        from_huggingface,
        from_preset,
        to_huggingface,
    )
    from token2wave.integrations.huggingface.hf_config import WaveNetworkConfig
    from token2wave.integrations.huggingface.hf_model import WaveForSequenceClassification
    from token2wave.integrations.huggingface.hf_tokenizer import WaveTokenizer

from token2wave.integrations.hub_models import load_from_hub, push
from token2wave.integrations.model_cards import model_card

__all__ = [
    "ModelAndTokenizer",
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
