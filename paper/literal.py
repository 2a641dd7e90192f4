"""Training as the papers state it, and nothing else.

They state the rate 1e-3, batches of 64, four epochs and embeddings that ``torch.nn.Embedding`` draws from
N(0, 1). They do not state the optimiser, dropout, decay of weights or of the rate, or which epoch counts.
Here it is Adam (arXiv 1412.6980) on all weights, no dropout, no decay, and the last epoch. The library trains
otherwise: it steps only the embedding rows of a batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from paper.study import StudyData
from token2wave.models import TextNetwork, WaveNetwork, make_batch
from token2wave.training.recipe import Recipe
from token2wave.training.torch_memory import in_large_pages, keep_freed_memory
from token2wave.training.validation import validate


@keep_freed_memory()
def train_literally(network: WaveNetwork, data: StudyData, recipe: Recipe, seed: int) -> list[dict[str, Any]]:
    """Train a network in place with dense Adam; it ends with the weights of the last epoch.

    Args:
        network: new, with the embedding's gradient sparse or dense; it is dense afterwards.
        data: rows to train on. Validation and test rows are measured after each epoch and choose nothing.
        recipe: gives epochs, batch size and rate.
        seed: of the order of texts.

    Returns:
        ``epoch``, ``train_accuracy`` (counted during training), ``validation_loss``, ``validation_accuracy``
        and ``test_accuracy`` of each epoch.
    """
    device = network.embedding.weight.device
    network.embedding.sparse = False
    network.embedding.weight.data = in_large_pages(network.embedding.weight.data)
    # A step reads and writes 25 million numbers and their moments; fused, it does so once.
    optimiser = torch.optim.Adam(network.parameters(), lr=recipe.lr, fused=True)
    generator = np.random.default_rng(seed)
    n_rows, history = len(data.train), []
    for epoch in range(1, recipe.epochs + 1):
        network.train()
        order, n_right = generator.permutation(n_rows), 0
        for start in range(0, n_rows, recipe.batch_size):
            rows = order[start : start + recipe.batch_size]
            batch = make_batch(data.train.features.take(rows), network.config.sentence_ends).to(device)
            labels = torch.from_numpy(data.train.labels[rows]).to(device)
            logits = network(batch)
            optimiser.zero_grad()
            F.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            n_right += int((logits.argmax(dim=1) == labels).sum())
        loss, accuracy = _validate(network, data)
        history.append(
            {
                "epoch": epoch,
                "train_accuracy": n_right / n_rows,
                "validation_loss": loss,
                "validation_accuracy": accuracy,
                "test_accuracy": validate(network, data.test)[1],
            }
        )
    return history


def _validate(network: TextNetwork, data: StudyData) -> tuple[float, float]:
    loss, accuracy, *_ = validate(network, data.validation)
    return float(loss), float(accuracy)
