"""The networks that studies compare: what they are called, their shape, and how they are trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, cast

import torch

from paper.result_store import resolve_device
from paper.rivals.transformer import TransformerConfig, TransformerNetwork
from paper.study_data import StudyData
from token2wave.distillation.encoder_settings import ONE_PASS
from token2wave.errors import MissingExtraError
from token2wave.models import PretrainedEncoder, TextNetwork, WaveConfig, WaveNetwork
from token2wave.training.callbacks import Callback, Epoch, History
from token2wave.training.loop import fit
from token2wave.training.presets import preset_named
from token2wave.training.recipe import Recipe
from token2wave.training.validation import validate

PAPER = preset_named("paper")
TRANSFORMER = {"width": 768, "heads": 12, "feed_forward": 3072}
"""One layer of BERT base; where it starts from token embeddings, the width is theirs."""
BARE = {"epochs": 4, "warmup": 0.0, "decay": "constant", "weight_decay": 0.0, "token_dropout": 0.0}
"""What the papers state of training, and nothing that they do not: no warm-up, decay or regularisation."""


@dataclass(frozen=True)
class System:
    """One way to classify texts.

    Attributes:
        key: short name in files, e.g. ``wave-modulation``.
        title: what tables call it.
        kind: ``wave``, ``transformer`` or ``encoder``.
        network: settings of the network, but for the sizes that the data decides.
        recipe: settings of training.
        embeddings: checkpoint whose token embeddings a Transformer starts from; random ones, if None.
        checkpoint: of an encoder.
        max_tokens: a longer text is cut for it, [CLS] and [SEP] counted; as the study says, if None.
    """

    key: str
    title: str
    kind: str = "wave"
    network: Mapping[str, Any] = field(default_factory=dict)
    recipe: Recipe = field(default_factory=Recipe)
    embeddings: str | None = None
    checkpoint: str | None = None
    max_tokens: int | None = None

    def settings(self) -> dict[str, Any]:
        """Everything that decides its results, as JSON can hold it."""
        settings = asdict(self)
        del settings["key"], settings["title"]
        return settings

    def data(self, data: StudyData) -> StudyData:
        """Cut the texts with the vocabulary that the system needs."""
        name = self.checkpoint or self.embeddings
        if name is None:
            return data
        config = data.features.config.replace(max_tokens=self.max_tokens or data.features.config.max_tokens)
        features = PretrainedEncoder(name).features(config)
        same = features.vocabulary == data.features.vocabulary
        return data if same and config == data.features.config else data.cut_with(features)

    def build(self, data: StudyData, seed: int, device: str = "cpu") -> TextNetwork:
        """Make the network with initial weights that depend on the seed alone.

        Raises:
            ConfigError: illegal settings, or a checkpoint that cannot be had.
            MissingExtraError: a package that brings the checkpoint is not installed.
        """
        network: Any
        if self.kind == "encoder":
            checkpoint = PretrainedEncoder(cast("str", self.checkpoint))
            network = checkpoint.network(data.n_classes, seed, **self.network)
        else:
            sizes = {"n_rows": data.n_rows, "n_classes": data.n_classes}
            table = None if self.embeddings is None else PretrainedEncoder(self.embeddings).token_embeddings()
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                if self.kind == "wave":
                    config = WaveConfig.from_dict({**self.network, **sizes})
                    if config.variants == "levels":
                        config = config.replace(sentence_ends=data.features.sentence_ends)
                    network = WaveNetwork(config)
                else:
                    width = {} if table is None else {"width": table.shape[1]}
                    network = TransformerNetwork(
                        TransformerConfig.from_dict({**self.network, **sizes, **width}), table
                    )
        return cast("TextNetwork", network.to(resolve_device(device)))


def available(systems: Sequence[System]) -> tuple[list[System], list[str]]:
    """Which systems can be made here, and sentences that say why others cannot."""
    found, left_out = [], []
    for system in systems:
        name = system.checkpoint or system.embeddings
        try:
            if name is not None:
                _ = PretrainedEncoder(name).source
            found.append(system)
        except MissingExtraError as error:
            left_out.append(f"{system.title} is left out: {error}.")
    return found, left_out


def wave_system(operation: str, *, bare: bool = False, **settings: Any) -> System:
    """The papers' network with one of the operations.

    Args:
        operation: ``interference`` or ``modulation``.
        bare: no regularisation and a constant rate, as far as the papers tell.
        settings: of the network.
    """
    network = {**PAPER.network, "operation": operation, **({"dropout": 0.0} if bare else {}), **settings}
    recipe = PAPER.recipe.replace(**BARE) if bare else PAPER.recipe
    return System(f"wave-{operation}", f"Wave network, {operation}", "wave", network, recipe)


def transformer_system(embeddings: str | None, *, bare: bool = False, **settings: Any) -> System:
    """The papers' Transformer of one layer.

    Args:
        embeddings: checkpoint whose token embeddings it starts from; random ones, if None.
        bare: no regularisation and a constant rate, as far as the papers tell.
        settings: of the network.
    """
    recipe = PAPER.recipe.replace(token_dropout=0.0, similar_lengths=True)
    source = "random embeddings" if embeddings is None else f"{embeddings} embeddings"
    return System(
        "transformer-random" if embeddings is None else "transformer-pretrained",
        f"Transformer, 1 layer, {source}",
        "transformer",
        {**TRANSFORMER, **({"dropout": 0.0} if bare else {}), **settings},
        recipe.replace(**BARE) if bare else recipe,
        embeddings=embeddings,
    )


def encoder_system(checkpoint: str, epochs: int = 1, readout: str = "cls") -> System:
    """A pre-trained encoder, fine-tuned; by default for one epoch, at a rate that suits one.

    Args:
        checkpoint: name, as :class:`PretrainedEncoder` takes it.
        epochs: the papers' four, or fewer.
        readout: ``cls`` or ``mean``.
    """
    recipe = ONE_PASS
    if epochs > 1:
        recipe = recipe.replace(epochs=epochs, lr=2e-5, embedding_lr=2e-5)  # the papers' rate
    title, network = f"{checkpoint}, fine-tuned", {"readout": readout}
    return System("encoder", title, "encoder", network, recipe, checkpoint=checkpoint, max_tokens=128)


class Trained(NamedTuple):
    """A network with the weights of its best epoch, and how it came to them."""

    network: TextNetwork
    history: History
    test_accuracy: list[float]


def train_system(
    system: System,
    data: StudyData,
    seed: int,
    *,
    device: str = "cpu",
    callbacks: Sequence[Callback] = (),
    test_every_epoch: bool = False,
) -> Trained:
    """Train a system on a study's data.

    Args:
        system: what to train.
        data: already cut for it (:meth:`System.data`).
        seed: of weights, order of texts and dropout.
        device: ``auto``, ``cpu`` or ``cuda``.
        callbacks: told how it goes.
        test_every_epoch: also evaluate on the test set after every epoch; nothing is chosen by it.
    """
    network = system.build(data, seed, device)
    tested = _TestEachEpoch(network, data)
    extra = [tested] if test_every_epoch else []
    history = fit(
        network,
        data.train,
        data.validation,
        system.recipe,
        seed=seed,
        has_cls=True,
        callbacks=[*callbacks, *extra],
    )
    return Trained(network, history, tested.accuracy)


class _TestEachEpoch(Callback):
    def __init__(self, network: TextNetwork, data: StudyData) -> None:
        self.network, self.data = network, data
        self.accuracy: list[float] = []

    def on_epoch(self, epoch: Epoch) -> None:
        self.accuracy.append(validate(self.network, self.data.test)[1])
