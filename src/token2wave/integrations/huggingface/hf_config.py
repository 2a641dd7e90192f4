"""The configuration of ``transformers``: the network's settings and the classifier's metadata."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import fields
from typing import Any

from transformers import PretrainedConfig

from token2wave.errors import ConfigError
from token2wave.models.wave_config import WaveConfig

MULTI_LABEL, SINGLE_LABEL = "multi_label_classification", "single_label_classification"
OTHER_NAMES = ("n_rows", "n_classes", "multi_label")  # transformers has its own names for these
NETWORK_DEFAULTS = {
    field.name: field.default for field in fields(WaveConfig) if field.name not in OTHER_NAMES
}
METADATA_DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(("features", "novelty_reference", "drift_reference", "fingerprint", "class_weights")),
    "thresholds": [],
    "training": {},
    "written_by": {},
}
RENAMED = ("amplitudes", "phrase_width", "phrase_radius")
"""Settings of earlier exports. ``transformers`` would ignore them, and so leave branches out."""


class WaveNetworkConfig(PretrainedConfig):  # type: ignore[misc]
    """Settings of a :class:`WaveForSequenceClassification`.

    The settings of the network are those of :class:`token2wave.WaveConfig`. Three have the names that
    ``transformers`` uses: ``n_rows`` is ``vocab_size``, ``n_classes`` is ``num_labels``, and ``multi_label``
    is ``problem_type="multi_label_classification"``. :meth:`network_config` checks them.

    Args:
        vocab_size: rows of the embedding, ``V``.
        padding_id: the id of padding in ``input_ids``, for calls without a mask; ``V`` plus ``n_oov``,
            which is no row, by default. ``pad_token_id`` is an alias.
        settings: settings of :class:`token2wave.WaveConfig`, the attributes below, and settings of
            ``transformers`` such as ``id2label``.

    Attributes:
        class_weights: ``C`` weights of the classes in the loss; in a binary cross-entropy ``pos_weight``.
            None weighs all classes the same.
        thresholds: for a multi-label model, the probability from which a text gets each class.
        features: kind and settings of the features, to check that the tokenizer belongs to the model.
        training: training record of the classifier.
        written_by: versions of the packages that trained it.
        novelty_reference: statistics of validation texts, to measure novelty.
        drift_reference: sums of predictions of validation texts, to measure drift.
        fingerprint: of the classifier; if the model's differs, its weights have changed.

    Raises:
        ConfigError: an earlier version exported the settings.
    """

    model_type = "wave-network"
    # transformers requires a saved pad_token_id to be a row.
    attribute_map = {  # noqa: RUF012
        "hidden_size": "width",
        "num_hidden_layers": "layers",
        "pad_token_id": "padding_id",
    }

    def __init__(self, vocab_size: int = 30_522, padding_id: int | None = None, **settings: Any) -> None:
        if earlier := sorted(settings.keys() & set(RENAMED)):
            raise ConfigError(
                "expected a setting of this version, found one of an earlier version",
                location=earlier[0],
                hint="another version of token2wave exported the model; export it again",
            )
        for name, default in (NETWORK_DEFAULTS | METADATA_DEFAULTS).items():
            value = settings.pop(name, default)
            setattr(self, name, list(value) if isinstance(value, tuple) else copy(value))
        settings.setdefault("problem_type", SINGLE_LABEL)
        super().__init__(**settings)
        self.vocab_size = vocab_size
        self.padding_id = vocab_size + self.n_oov if padding_id is None else padding_id

    @classmethod
    def of_network(cls, network: WaveConfig, label_names: Sequence[str], **options: Any) -> WaveNetworkConfig:
        """Translate the settings of a network.

        Args:
            network: the settings.
            label_names: names of the ``C`` classes.
            options: further arguments of the constructor.
        """
        config: WaveNetworkConfig = cls(
            vocab_size=network.n_rows,
            id2label=dict(enumerate(label_names)),
            label2id={name: i for i, name in enumerate(label_names)},
            problem_type=MULTI_LABEL if network.multi_label else SINGLE_LABEL,
            **{name: getattr(network, name) for name in NETWORK_DEFAULTS},
            **options,
        )
        return config

    def network_config(self) -> WaveConfig:
        """Return the settings of the network.

        Raises:
            ConfigError: a setting is illegal, or the problem is a regression.
        """
        if self.problem_type not in (None, SINGLE_LABEL, MULTI_LABEL):
            raise ConfigError(
                f"expected {SINGLE_LABEL} or {MULTI_LABEL}, found {self.problem_type!r}",
                location="problem_type",
                hint="bin the numbers into classes",
            )
        return WaveConfig.from_dict(
            {
                **{name: getattr(self, name) for name in NETWORK_DEFAULTS},
                "n_rows": self.vocab_size,
                "n_classes": self.num_labels,
                "multi_label": self.problem_type == MULTI_LABEL,
            }
        )

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return tuple(self.id2label[i] for i in range(self.num_labels))
