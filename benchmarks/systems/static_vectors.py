"""Model2Vec: static vectors distilled from all-MiniLM-L6-v2, below logistic regression or fine-tuned."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from measuring import ROOT
from numpy.typing import NDArray

from systems import FEW_ROWS, HOLDOUT, System, Task, assign_folds
from systems.frozen_encoder import BIAS, logistic_on_vectors
from token2wave.models.encoder_sources import MINILM, source_of

os.environ.setdefault("TQDM_DISABLE", "1")  # its training has no other switch
DIMENSIONS = 256
DISTILLED = ROOT / "build" / f"model2vec-{DIMENSIONS}"
RATES = (1e-3, 3e-3, 1e-2)
EPOCHS = 20  # with few rows
NAME = f"Model2Vec of {MINILM}"


@cache
def load_static() -> Any:
    """The distilled model; it is distilled once, in a minute, which is not in the time of training."""
    from model2vec import StaticModel

    if not DISTILLED.is_dir():
        from model2vec.distill import distill

        distill(source_of(MINILM), pca_dims=DIMENSIONS, device="cpu").save_pretrained(str(DISTILLED))
    return StaticModel.from_pretrained(str(DISTILLED))


class FineTuned(System):
    """``StaticModelForClassification`` of model2vec: vectors and one hidden layer learn from the rows."""

    family = "pre-trained"
    name = f"{NAME}, fine-tuned"
    bias = BIAS
    description = (
        f"model2vec.distill of {MINILM} with {DIMENSIONS} dimensions, then StaticModelForClassification with "
        f"its defaults and a learning rate of {', '.join(f'{rate:g}' for rate in RATES)}, by {HOLDOUT:.0%} "
        f"of the training rows, which also stop it; with fewer than {FEW_ROWS:,} rows "
        f"it learns from all of them at {RATES[-1]:g} for {EPOCHS} epochs."
    )

    def __init__(self) -> None:
        load_static()

    def fit(self, task: Task) -> Any:
        """Fine-tune at each rate, and keep the model that is best on the validation rows."""
        folds, labels = assign_folds(task.labels, round(1 / HOLDOUT), task.seed), task.labels.tolist()
        if len(labels) < FEW_ROWS:
            return self._fine_tune(
                task, labels, np.arange(len(labels)), np.arange(len(labels)), RATES[-1], few=True
            )
        train, validation = np.flatnonzero(folds != 0), np.flatnonzero(folds == 0)
        texts = [task.texts[row] for row in validation]
        models = [self._fine_tune(task, labels, train, validation, rate) for rate in RATES]
        return max(models, key=lambda model: int((model.predict(texts) == task.labels[validation]).sum()))

    def _fine_tune(
        self,
        task: Task,
        labels: list[int],
        train: NDArray[np.int64],
        validation: NDArray[np.int64],
        rate: float,
        *,
        few: bool = False,
    ) -> Any:
        from model2vec.train import StaticModelForClassification

        (texts, classes), (validation_texts, validation_classes) = (
            ([task.texts[row] for row in rows], [labels[row] for row in rows]) for rows in (train, validation)
        )
        length: dict[str, Any] = {"max_epochs": EPOCHS, "early_stopping_patience": None} if few else {}
        return StaticModelForClassification.from_static_model(model=load_static()).fit(
            texts,
            classes,
            X_val=validation_texts,
            y_val=validation_classes,
            learning_rate=rate,
            device="cpu",
            random_seed=task.seed,
            **length,
        )

    def predict(self, model: Any, texts: Sequence[str]) -> NDArray[np.int64]:
        """Predict the class of every text."""
        return np.asarray(model.predict(list(texts)), dtype=np.int64)

    def save(self, model: Any, folder: Path) -> Path:
        """Write the network's tensors."""
        import torch

        path = folder / "model.pt"
        torch.save(model.state_dict(), path)
        return path


def make_system(name: str) -> System:
    """Make a system by its name."""
    if name == "model2vec_finetuned":
        return FineTuned()
    return logistic_on_vectors(
        f"{NAME} + logistic regression",
        load_static,
        f"model2vec.distill of {MINILM} with {DIMENSIONS} dimensions",
    )
