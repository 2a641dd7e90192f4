"""The networks that studies compare: their shape and how they are trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch

from paper.literal import train_literally
from paper.result_store import ResultStore, resolve_device
from paper.rivals.transformer import TransformerConfig, TransformerNetwork
from paper.statistics import pack_answers
from paper.study import StudyData
from token2wave.distillation.encoder_settings import ONE_PASS
from token2wave.errors import MissingExtraError
from token2wave.models import PretrainedEncoder, TextNetwork, WaveConfig, WaveNetwork
from token2wave.training.callbacks import Callback, Epoch
from token2wave.training.loop import fit
from token2wave.training.presets import preset_named
from token2wave.training.recipe import Recipe
from token2wave.training.schedule import n_batches
from token2wave.training.validation import validate

if TYPE_CHECKING:
    from token2wave.models import Batch

_PRESET = preset_named("paper")
PAPER = replace(_PRESET, recipe=_PRESET.recipe.replace(precision="float32"))
"""In float32 everywhere: what a processor multiplies fast must not decide a result."""
TRANSFORMER = {"width": 768, "heads": 12, "feed_forward": 3072}
"""One layer of BERT base; pretrained token embeddings bring a width of their own."""
UNREGULARISED = {"epochs": 4, "warmup": 0.0, "decay": "constant", "weight_decay": 0.0, "token_dropout": 0.0}
"""Only what the papers state of training: no warm-up, decay or regularisation."""


@dataclass(frozen=True)
class System:
    """One way to classify texts.

    Attributes:
        key: short name in files, e.g. ``wave-modulation``.
        title: name in tables.
        kind: ``wave``, ``literal`` (a wave network trained by :mod:`paper.literal`), ``transformer`` or
            ``encoder``.
        network: settings without the sizes that the data decides.
        recipe: of training.
        embeddings: checkpoint with a Transformer's initial token embeddings; None for random ones.
        checkpoint: of an encoder.
        max_tokens: texts are cut to it, with [CLS] and [SEP]; None leaves it to the study.
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
        """Everything that decides its results, as plain JSON data."""
        return {name: value for name, value in asdict(self).items() if name not in ("key", "title")}

    def encode(self, data: StudyData) -> StudyData:
        """Encode the texts with the vocabulary and length that the system needs."""
        name = self.checkpoint or self.embeddings
        if name is None:
            return data
        config = data.features.config.replace(max_tokens=self.max_tokens or data.features.config.max_tokens)
        features = PretrainedEncoder(name).features(config)
        same = features.vocabulary == data.features.vocabulary and config == data.features.config
        return data if same else data.encode_with(features)

    def build(self, data: StudyData, seed: int, device: str = "cpu") -> TextNetwork:
        """Make the network with initial weights that depend on the seed alone.

        Raises:
            MissingExtraError: the package of the checkpoint is not installed.
        """
        network: Any
        if self.kind == "encoder":
            checkpoint = PretrainedEncoder(cast("str", self.checkpoint))
            network = checkpoint.network(data.sizes["n_classes"], seed, **self.network)
        else:
            settings = {**self.network, **data.sizes}
            table = None if self.embeddings is None else PretrainedEncoder(self.embeddings).token_embeddings()
            if table is not None:
                settings["width"] = table.shape[1]
            if settings.get("variants") == "levels":
                settings["sentence_ends"] = data.features.sentence_ends
            network = build_network(self.kind, settings, seed, table)
        return cast("TextNetwork", network.to(resolve_device(device)))


def build_network(
    kind: str, settings: Mapping[str, Any], seed: int, embeddings: torch.Tensor | None = None
) -> WaveNetwork | TransformerNetwork:
    """Make a wave network or a Transformer whose initial weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if kind in ("wave", "literal"):
            return WaveNetwork(WaveConfig.from_dict(dict(settings)))
        return TransformerNetwork(TransformerConfig.from_dict(dict(settings)), embeddings)


def available(systems: Sequence[System]) -> tuple[list[System], list[str]]:
    """Systems that can be built here, and why the others cannot."""
    chosen, reasons = [], []
    for system in systems:
        try:
            if (name := system.checkpoint or system.embeddings) is not None:
                _ = PretrainedEncoder(name).source
            chosen.append(system)
        except MissingExtraError as error:
            reasons.append(f"{system.title} is left out: {error}.")
    return chosen, reasons


def wave_system(operation: str, *, unregularised: bool = False, **settings: Any) -> System:
    """The papers' network; ``unregularised``: without dropout, warm-up and decay."""
    network = {
        **PAPER.network,
        "operation": operation,
        **({"dropout": 0.0} if unregularised else {}),
        **settings,
    }
    recipe = PAPER.recipe.replace(**UNREGULARISED) if unregularised else PAPER.recipe
    return System(f"wave-{operation}", f"Wave network, {operation}", "wave", network, recipe)


def literal_system(operation: str) -> System:
    """The network and its training with everything that the papers state, and nothing else."""
    recipe = Recipe(epochs=4, batch_size=64, lr=1e-3)
    network = {"width": 768, "operation": operation, "readout": "cls", "restore": "linear"}
    network |= {"dropout": 0.0, "embedding_scale": 1.0}
    return System(
        f"wave-{operation}-literal", f"Wave network, {operation}, literal", "literal", network, recipe
    )


def transformer_system(embeddings: str | None, *, unregularised: bool = False, **settings: Any) -> System:
    """The papers' Transformer of one layer, with a checkpoint's initial token embeddings or random ones."""
    recipe = PAPER.recipe.replace(token_dropout=0.0, similar_lengths=True)
    return System(
        "transformer-random" if embeddings is None else "transformer-pretrained",
        f"Transformer, 1 layer, {embeddings or 'random'} embeddings",
        "transformer",
        {**TRANSFORMER, **({"dropout": 0.0} if unregularised else {}), **settings},
        recipe.replace(**UNREGULARISED) if unregularised else recipe,
        embeddings=embeddings,
    )


def encoder_system(checkpoint: str, epochs: int = 1, readout: str = "cls") -> System:
    """A fine-tuned encoder: one epoch at a rate that suits it, or more at the papers' rate."""
    recipe = ONE_PASS if epochs == 1 else ONE_PASS.replace(epochs=epochs, lr=2e-5, embedding_lr=2e-5)
    title, network = f"{checkpoint}, fine-tuned", {"readout": readout}
    return System("encoder", title, "encoder", network, recipe, checkpoint=checkpoint, max_tokens=128)


class TrainedSystem(NamedTuple):
    """A network with the weights of its best epoch, the figures of every epoch, and those of the best.

    Trained literally, the last epoch counts instead of the best.
    """

    network: TextNetwork
    history: list[dict[str, Any]]
    best: dict[str, Any]


def train_system(store: ResultStore, system: System, data: StudyData, seed: int) -> TrainedSystem:
    """Train a system on data encoded for it; the seed decides weights, order of texts and dropout."""
    network, recipe = system.build(data, seed, store.device), system.recipe
    if system.kind == "literal":
        assert isinstance(network, WaveNetwork)
        epochs = train_literally(network, data, recipe, seed)
        return TrainedSystem(network, epochs, epochs[-1])
    tester = _TestAfterEpochs(network, data)
    callbacks = [*store.callbacks, tester]
    history = fit(network, data.train, data.validation, recipe, seed=seed, has_cls=True, callbacks=callbacks)
    assert history.best is not None
    return TrainedSystem(network, tester.history, tester.history[history.best.epoch - 1])


class _TestAfterEpochs(Callback):
    """Notes each epoch with its test accuracy, which chooses nothing."""

    def __init__(self, network: TextNetwork, data: StudyData) -> None:
        self.network, self.data = network, data
        self.history: list[dict[str, Any]] = []

    def on_epoch(self, epoch: Epoch) -> None:
        accuracy = validate(self.network, self.data.test)[1]
        self.history.append({**asdict(epoch), "test_accuracy": accuracy})


def train_and_answer(
    store: ResultStore,
    build: Callable[[], TextNetwork],
    recipe: Recipe,
    data: StudyData,
    seed: int,
    callbacks: Sequence[Callback] = (),
) -> dict[str, Any]:
    """Train a network, and answer the test texts with the weights of its best epoch by validation.

    Test texts choose nothing, and are answered once.

    Returns:
        ``test_accuracy``, ``validation_accuracy``, ``best_epoch``, ``validation_by_epoch``, ``parameters``,
        ``parameters_without_embedding``; ``rate_factor``, below 1 where training diverged and began again
        with smaller rates; and ``right``, which test texts are answered rightly, as
        :func:`paper.statistics.pack_answers` writes it.
    """
    network = build()
    options: Any = {"seed": seed, "has_cls": True, "callbacks": [*store.callbacks, *callbacks]}
    history = fit(network, data.train, data.validation, recipe, **options)
    best, parameters = history.best, network.parameter_count()
    assert best is not None
    right = network.logits(data.test.features).argmax(axis=1) == data.test.labels
    return {
        "test_accuracy": float(right.mean()),
        "validation_accuracy": best.validation_accuracy,
        "best_epoch": best.epoch,
        "validation_by_epoch": [epoch.validation_accuracy for epoch in history.epochs],
        "rate_factor": history.lr_factor,
        "right": pack_answers(right),
        "parameters": parameters.total,
        "parameters_without_embedding": parameters.without_embedding,
    }


Probe = Callable[[TextNetwork, int], Any]
"""Measures a network in evaluation mode after a number of steps."""


def probe_training(
    store: ResultStore, system: System, data: StudyData, seed: int, steps: int, interval: int, probe: Probe
) -> list[Any]:
    """Train without validation; what the probe returns before the first step and every ``interval`` steps."""
    network = system.build(data, seed, store.device)
    epochs = -(-(steps + 1) // n_batches(len(data.train), system.recipe.batch_size))
    prober = _ProbeSteps(probe, steps, interval)
    callbacks = [*store.callbacks, prober]
    with suppress(_AllStepsTaken):
        recipe = system.recipe.replace(epochs=epochs)
        fit(network, data.train, None, recipe, seed=seed, has_cls=True, callbacks=callbacks)
    return prober.results


class _AllStepsTaken(Exception):  # noqa: N818 - no error
    """Training has taken as many steps as it should."""


class _ProbeSteps(Callback):
    def __init__(self, probe: Probe, steps: int, interval: int) -> None:
        self.probe, self.steps, self.interval, self.taken = probe, steps, interval, 0
        self.results: list[Any] = []

    def on_gradients(self, network: TextNetwork, batch: Batch) -> None:
        if self.taken % self.interval == 0:
            network.eval()
            self.results.append(self.probe(network, self.taken))
            network.train()
        if self.taken == self.steps:
            raise _AllStepsTaken
        self.taken += 1
