"""SetFit: a sentence encoder fine-tuned on pairs of few rows, below logistic regression."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systems import System, Task
from systems.frozen_encoder import BIAS
from token2wave.models.encoder_sources import MINILM, source_of

PAIRS, BATCH, STEPS = 20, 16, 500


class SetFit(System):
    """``setfit.Trainer`` with the settings of its authors' paper, but for a bound on its steps."""

    family = "pre-trained"
    name = f"SetFit of {MINILM}"
    bias = BIAS
    description = (
        f"setfit.Trainer on {MINILM}, {PAIRS} pairs of each kind a row, batches of {BATCH} pairs, one epoch, "
        f"at most {STEPS} steps; and its logistic regression."
    )

    def fit(self, task: Task) -> Any:
        """Fine-tune the encoder on pairs, then train logistic regression on its vectors."""
        from datasets import Dataset
        from setfit import SetFitModel, Trainer, TrainingArguments

        n_steps = min(STEPS, -(-2 * PAIRS * len(task.texts) // BATCH))
        arguments = TrainingArguments(
            output_dir=str(task.folder),
            batch_size=BATCH,
            num_epochs=1,
            num_iterations=PAIRS,
            max_steps=n_steps,
            seed=task.seed,
            report_to="none",
            save_strategy="no",
            show_progress_bar=False,
        )
        data = Dataset.from_dict({"text": list(task.texts), "label": task.labels.tolist()})
        model = SetFitModel.from_pretrained(source_of(MINILM), device="cpu")
        Trainer(model=model, args=arguments, train_dataset=data).train()
        return model

    def predict(self, model: Any, texts: Sequence[str]) -> NDArray[np.int64]:
        """Predict the class of every text."""
        return np.asarray(model.predict(list(texts), show_progress_bar=False), dtype=np.int64)

    def save(self, model: Any, folder: Path) -> Path:
        """Write the encoder, whose weights are fine-tuned; the head beside it is small."""
        model.save_pretrained(str(folder))
        return folder / "model.safetensors"


def make_system(_: str) -> SetFit:
    """Make the only system of this module."""
    return SetFit()
