"""Steps of training, measured in the process that calls; the study of resources gives each system its own."""

from __future__ import annotations

import time
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from paper.rivals.transformer import TransformerConfig, TransformerNetwork
from paper.studies.memory_measurement import current_memory, limit_memory, measure_peak
from token2wave.features import Ragged
from token2wave.models import Batch, PretrainedEncoder, TextNetwork, WaveConfig, WaveNetwork
from token2wave.training.callbacks import Callback, CallbackList
from token2wave.training.examples import Examples
from token2wave.training.recipe import Recipe
from token2wave.training.torch_trainer import TorchTrainer


def save_rows(rows: Examples, path: Path) -> None:
    """Write texts to a file for :func:`measure_steps`."""
    features = rows.features
    np.savez(
        path, ids=features.ids, offsets=features.offsets, n_ordered=features.n_ordered, labels=rows.labels
    )


def measure_steps_alone(job: dict[str, Any]) -> dict[str, Any]:
    """:func:`measure_steps` for a fresh process, which fails before it leaves others without memory."""
    if job["device"] == "cpu":  # CUDA reserves far more addresses than it fills
        limit_memory()
    return measure_steps(job)


def measure_steps(job: dict[str, Any]) -> dict[str, Any]:
    """Train for some steps as the library does, and measure them.

    Args:
        job: ``rows``, a file of :func:`save_rows` with one batch for each of ``warm_up`` steps, at least one,
            and of those that count; ``network``, see :func:`build`; ``recipe``; ``device``.

    Returns:
        ``step_seconds`` of those that count, batches made and optimiser included; ``parameters`` and
        ``parameters_without_embedding``; ``precision``; ``tokens_per_text``; and in bytes, each None where
        the system does not tell, ``baseline`` before the network was built, and ``peak`` during the steps.
    """
    device = job["device"]
    rows, recipe = _load_rows(Path(job["rows"])), Recipe.from_dict(job["recipe"])
    if device == "cuda":
        torch.zeros(1, device=device)
    if job["network"]["kind"] == "encoder":  # whose package takes memory as well
        for name in ("AutoConfig", "AutoModel", "BertModel"):
            getattr(import_module("transformers"), name)
    baseline = current_memory(device)
    network = build(job["network"]).to(device)
    # A checkpoint may have fewer rows than the vocabulary that cut the texts.
    np.minimum(rows.features.ids, network.config.n_rows - 1, out=rows.features.ids)
    trainer = TorchTrainer(cast("TextNetwork", network), rows, recipe, 0, has_cls=True)
    clock = _StepClock(device)
    try:
        used = measure_peak(lambda: trainer.epoch(CallbackList([clock])), device)
    finally:
        trainer.close()
    parameters = network.parameter_count()
    return {
        "step_seconds": clock.step_seconds[job["warm_up"] - 1 :],
        "parameters": parameters.total,
        "parameters_without_embedding": parameters.without_embedding,
        "precision": trainer.precision,
        "tokens_per_text": float(rows.features.lengths.mean()),
        "baseline": baseline,
        "peak": used.peak,
    }


def _load_rows(path: Path) -> Examples:
    with np.load(path, allow_pickle=False) as found:
        return Examples(Ragged(found["ids"], found["offsets"], found["n_ordered"]), found["labels"])


def build(job: dict[str, Any]) -> Any:
    """Make a network with random weights, or a checkpoint's.

    Args:
        job: ``kind``, ``wave``, ``transformer`` or ``encoder``; ``settings`` of the first two, complete;
            ``checkpoint``, ``n_classes`` and ``random`` of the last.
    """
    if job["kind"] == "encoder":
        return PretrainedEncoder(job["checkpoint"]).network(job["n_classes"], 0, random=job["random"])
    torch.manual_seed(0)
    if job["kind"] == "wave":
        return WaveNetwork(WaveConfig.from_dict(job["settings"]))
    return TransformerNetwork(TransformerConfig.from_dict(job["settings"]), shortened=False)


class _StepClock(Callback):
    """Notes when each step has its gradients: between two such moments lies one whole step."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.moments: list[float] = []

    def on_gradients(self, network: TextNetwork, batch: Batch) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()
        self.moments.append(time.perf_counter())

    @property
    def step_seconds(self) -> list[float]:
        return [later - earlier for earlier, later in zip(self.moments, self.moments[1:], strict=False)]
