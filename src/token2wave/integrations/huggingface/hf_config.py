"""The configuration of ``transformers``: the network's settings, and what is neither weight nor row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PretrainedConfig

from token2wave.errors import ConfigError
from token2wave.models.wave_config import WaveConfig

MULTI_LABEL, SINGLE_LABEL = "multi_label_classification", "single_label_classification"
SAME_NAME = (
    *("width", "layers", "operation", "variants", "restore", "readout", "positions", "residual", "dropout"),
    *("context_width", "context_radius", "linear_svm", "embedding_scale"),
)
"""Settings that are called the same in :class:`token2wave.WaveConfig`."""
DEFAULTS = WaveConfig(n_rows=1, n_classes=2)
RENAMED = ("amplitudes", "phrase_width", "phrase_radius")
"""Settings of earlier exports. ``transformers`` would ignore them, and the branches that they describe."""


class WaveNetworkConfig(PretrainedConfig):  # type: ignore[misc]
    """Settings of a :class:`WaveForSequenceClassification`.

    Those of the network are the fields of :class:`token2wave.WaveConfig`, with three exceptions that
    ``transformers`` has names for: ``n_rows`` is ``vocab_size``, ``n_classes`` is ``num_labels``, and
    ``multi_label`` is ``problem_type="multi_label_classification"``. They are checked where a network is made
    of them, in :meth:`network_config`.

    Args:
        vocab_size: rows of the embedding, ``V``.
        sentence_ends: rows of the tokens that end a sentence.
        padding_id: what stands for no token in ``input_ids`` without a mask; ``V``, which is no row, if not
            given. ``pad_token_id`` is another name for it.
        class_weights: ``C`` numbers by which the loss weighs the classes: in a cross-entropy the texts of the
            class, in a binary one the texts that have it (``pos_weight``). None weighs all the same.
        thresholds: where a text may have several classes, probability from which on it is given each.
        features: kind and settings of the features, ``{"kind": ..., "settings": {...}}``. The tokenizer has
            them, too: they are here to tell that the two belong together.
        training: record of the run that made the classifier.
        written_by: versions of the packages that trained it.
        novelty_reference: what is usual in texts that training did not see.
        fingerprint: of the classifier that the model was made of; if the model's is another, it has been
            trained on.
        network_settings: the rest of :class:`token2wave.WaveConfig`, and what ``transformers`` itself knows,
            as ``id2label``.

    Raises:
        ConfigError: the settings are those of an export by an earlier version.
    """

    model_type = "wave-network"
    # A saved pad_token_id would have to be a row.
    attribute_map = {  # noqa: RUF012
        "hidden_size": "width",
        "num_hidden_layers": "layers",
        "pad_token_id": "padding_id",
    }

    def __init__(
        self,
        vocab_size: int = 30_522,
        sentence_ends: Sequence[int] = (),
        padding_id: int | None = None,
        class_weights: Sequence[float] | None = None,
        thresholds: Sequence[float] = (),
        features: Mapping[str, Any] | None = None,
        training: Mapping[str, Any] | None = None,
        written_by: Mapping[str, Any] | None = None,
        novelty_reference: Mapping[str, Any] | None = None,
        fingerprint: int | None = None,
        **network_settings: Any,
    ) -> None:
        if earlier := sorted(network_settings.keys() & set(RENAMED)):
            raise ConfigError(
                "expected the settings of this version, found one that has another name now",
                location=earlier[0],
                hint="another version of token2wave exported the model: export it again",
            )
        for name in SAME_NAME:
            setattr(self, name, network_settings.pop(name, getattr(DEFAULTS, name)))
        network_settings.setdefault("problem_type", SINGLE_LABEL)
        super().__init__(**network_settings)
        self.vocab_size = vocab_size
        self.sentence_ends = list(sentence_ends)
        self.padding_id = vocab_size if padding_id is None else padding_id
        self.class_weights = None if class_weights is None else list(class_weights)
        self.thresholds = list(thresholds)
        self.features = None if features is None else dict(features)
        self.training = dict(training or {})
        self.written_by = dict(written_by or {})
        self.novelty_reference = None if novelty_reference is None else dict(novelty_reference)
        self.fingerprint = fingerprint

    @classmethod
    def of_network(cls, network: WaveConfig, label_names: Sequence[str], **others: Any) -> WaveNetworkConfig:
        """Translate a network's settings.

        Args:
            network: the settings.
            label_names: ``C`` names of the classes.
            others: further arguments of the constructor.
        """
        config: WaveNetworkConfig = cls(
            vocab_size=network.n_rows,
            sentence_ends=network.sentence_ends,
            id2label=dict(enumerate(label_names)),
            label2id={name: i for i, name in enumerate(label_names)},
            problem_type=MULTI_LABEL if network.multi_label else SINGLE_LABEL,
            **{name: getattr(network, name) for name in SAME_NAME},
            **others,
        )
        return config

    def network_config(self) -> WaveConfig:
        """Settings of the network.

        Raises:
            ConfigError: they are illegal, or those of a regression.
        """
        if self.problem_type not in (None, SINGLE_LABEL, MULTI_LABEL):
            raise ConfigError(
                f"expected {SINGLE_LABEL} or {MULTI_LABEL}, found {self.problem_type!r}",
                location="problem_type",
                hint="bin the numbers into classes",
            )
        return WaveConfig.from_dict(
            {
                **{name: getattr(self, name) for name in SAME_NAME},
                "n_rows": self.vocab_size,
                "n_classes": self.num_labels,
                "multi_label": self.problem_type == MULTI_LABEL,
                "sentence_ends": self.sentence_ends,
            }
        )

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return tuple(self.id2label[i] for i in range(self.num_labels))
