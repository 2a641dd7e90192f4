"""How teachers are fine-tuned."""

from __future__ import annotations

from token2wave.training.recipe import Recipe

TEACHER_TOKENS = 96
"""A longer text is cut for the teacher, [CLS] and [SEP] counted."""
FEWEST_STEPS = 200
"""Steps in which an encoder is fine-tuned where there are few texts: one pass would be too few."""


def fine_tuning(n_texts: int) -> Recipe:
    """Recipe of fine-tuning: one pass at a rate that suits one; more where there are few texts.

    Args:
        n_texts: training texts.
    """
    batch_size = 32
    steps = -(-n_texts // batch_size)
    return Recipe(
        epochs=min(max(1, -(-FEWEST_STEPS // steps)), 20),
        batch_size=batch_size,
        learning_rate=1e-4,
        row_learning_rate=1e-4,
        warmup=0.1,
        similar_lengths=True,
    )
