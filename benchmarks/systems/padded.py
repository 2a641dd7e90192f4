"""The reference of cost: a Wave Network with padded batches, plainly written."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from padded_network import PaddedWaveNetwork, dense_adamw, padded, token_lists, training_step

from systems import System, Task
from token2wave.data import validation_split
from token2wave.features import Features
from token2wave.training.preparation import features_for
from token2wave.training.presets import preset_named

PRESET = preset_named("paper")
RECIPE = PRESET.recipe
WIDTH = int(PRESET.network["width"])
DROPOUT = float(PRESET.network["dropout"])
TEXTS_IN_PREDICTION = 64


@dataclass(frozen=True)
class PaddedModel:
    """Tokeniser and trained network."""

    features: Features
    network: PaddedWaveNetwork


class Padded(System):
    """Trains as the papers describe: as many epochs as preset ``paper``, the best by validation kept."""

    name = "padded Wave Network"
    family = "padded"
    description = (
        f"A Wave Network in plain PyTorch, modulation, width {WIDTH}, WordPiece cut at 512 tokens, padded to "
        f"the longest text of a batch, every token transformed, [CLS] read out, dropout {DROPOUT}; "
        f"torch.optim.AdamW with dense gradients, lr {RECIPE.lr} constant, weight decay "
        f"{RECIPE.weight_decay} but for the embedding, batch {RECIPE.batch_size}, {RECIPE.epochs} epochs, "
        f"{RECIPE.validation_fraction:.0%} of the rows held back to choose the epoch by."
    )
    bias = (
        "A reference of cost that we wrote, without looking for speed; nobody ships it. It restores every "
        "token though [CLS] alone is read, and leaves out the token dropout of preset `paper`, which halves "
        "the tokens of that preset's steps: accuracy and time differ for this reason, too. "
        "`benchmarks/paper_step.py` compares the two step by step on equal terms."
    )

    def fit(self, task: Task) -> PaddedModel:
        """Train, holding rows back."""
        torch.set_num_threads(task.threads)
        torch.manual_seed(task.seed)
        features, ids = features_for(task.texts, PRESET, None, "training texts")
        texts, labels = token_lists(ids), torch.from_numpy(task.labels)
        kept, held_out = validation_split(task.labels, RECIPE.validation_fraction, task.seed)
        network = PaddedWaveNetwork(features.n_rows, len(task.label_names), WIDTH, dropout=DROPOUT)
        optimizer = dense_adamw(network, network.embedding, RECIPE.lr, weight_decay=RECIPE.weight_decay)
        best, best_weights = -1.0, network.state_dict()
        for _ in range(RECIPE.epochs):
            network.train()
            order = torch.from_numpy(kept)[torch.randperm(len(kept))]
            for batch in torch.split(order, RECIPE.batch_size):
                training_step(network, optimizer, [texts[row] for row in batch], labels[batch])
            found = _classes(network, [texts[row] for row in held_out])
            accuracy = float((found == task.labels[held_out]).mean()) if len(held_out) else 0.0
            if accuracy >= best:  # without rows held back, the last epoch
                best, best_weights = accuracy, copy.deepcopy(network.state_dict())
        network.load_state_dict(best_weights)
        return PaddedModel(features, network)

    def predict(self, model: PaddedModel, texts: Sequence[str]) -> NDArray[np.int64]:
        """Predict the class of every text."""
        return _classes(model.network, token_lists(model.features(texts)))

    def save(self, model: PaddedModel, folder: Path) -> Path:
        """Write the weights and the vocabulary with ``torch.save``."""
        path = folder / "model.pt"
        arrays = {name: torch.from_numpy(array.copy()) for name, array in model.features.arrays().items()}
        torch.save({"weights": model.network.state_dict(), **arrays}, path)
        return path

    def passes(self, model: PaddedModel, task: Task) -> float:
        """Epochs over the rows that were not held back."""
        kept, _ = validation_split(task.labels, RECIPE.validation_fraction, task.seed)
        return RECIPE.epochs * len(kept) / len(task.labels)


def _classes(network: PaddedWaveNetwork, texts: list[torch.Tensor]) -> NDArray[np.int64]:
    network.eval()
    found = [np.zeros(0, dtype=np.int64)]
    with torch.no_grad():
        for first in range(0, len(texts), TEXTS_IN_PREDICTION):
            logits = network(*padded(texts[first : first + TEXTS_IN_PREDICTION]))
            found.append(logits.argmax(dim=1).numpy())
    return np.concatenate(found)


SYSTEM = Padded()
