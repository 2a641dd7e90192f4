"""How encoders are fine-tuned to teachers. Apart from the encoders, as this needs no torch."""

from __future__ import annotations

from token2wave.training.cross_validation import FOLDS
from token2wave.training.recipe import Recipe

MAX_TOKENS = 96  # of a text, with [CLS] and [SEP]; the teacher does not read the rest
MIN_STEPS = 200  # one pass over few texts would be too short
FEW_TEXTS = 2_000  # to fine-tune to; fewer are worth more folds
READOUT = "mean"  # of the tokens' states, as sentence encoders were trained
SEED = 0  # of the head and the order of texts, whatever the student's seed: one teacher serves all students
ONE_PASS = Recipe(epochs=1, batch_size=32, lr=1e-4, embedding_lr=1e-4, warmup=0.1, similar_lengths=True)
"""Fine-tunes an encoder, at a rate that suits one pass over the texts."""


def fine_tuning_recipe(n_texts: int) -> Recipe:
    """Choose the recipe for ``n_texts`` training texts: one pass, or more where there are few."""
    steps = -(-n_texts // ONE_PASS.batch_size)
    return ONE_PASS.replace(epochs=min(max(1, -(-MIN_STEPS // steps)), 20))


def n_fine_tuning_folds(n_texts: int) -> int:
    """Number of folds for ``n_texts`` training texts: all but one of the folds' models are extra time."""
    return FOLDS if n_texts < FEW_TEXTS else 2


def fine_tuning_settings(n_texts: int) -> dict[str, object]:
    """Return the settings that decide a teacher's weights, as plain data; other defaults do not matter."""
    recipe = fine_tuning_recipe(n_texts)
    names = ("epochs", "batch_size", "lr", "embedding_lr", "warmup", "similar_lengths")
    return {
        **{name: getattr(recipe, name) for name in names},
        "readout": READOUT,
        "seed": SEED,
        "head": "linear probe",
    }
