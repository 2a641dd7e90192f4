"""How teachers are fine-tuned."""

from __future__ import annotations

from token2wave.training.recipe import Recipe

TEACHER_TOKENS = 96
"""A longer text is cut for the teacher, [CLS] and [SEP] counted."""
MIN_STEPS = 200
"""Steps in which an encoder is fine-tuned where there are few texts: one pass would be too few."""


READOUT = "mean"
"""What stands for a text: the mean of its tokens' states, as sentence encoders were trained."""
SEED = 0
"""Of the teacher's head and the order of its texts, whatever the student's seed: one teacher serves all."""


ONE_PASS = Recipe(epochs=1, batch_size=32, lr=1e-4, embedding_lr=1e-4, warmup=0.1, similar_lengths=True)
"""Fine-tuning of an encoder at a rate that suits one pass over the texts."""


def fine_tuning(n_texts: int) -> Recipe:
    """Recipe of a teacher: one pass, or more where there are few texts.

    Args:
        n_texts: training texts.
    """
    steps = -(-n_texts // ONE_PASS.batch_size)
    return ONE_PASS.replace(epochs=min(max(1, -(-MIN_STEPS // steps)), 20))


def decisive_settings(n_texts: int) -> dict[str, object]:
    """What decides how a teacher turns out, beside its texts; the recipe's other defaults do not."""
    recipe = fine_tuning(n_texts)
    names = ("epochs", "batch_size", "lr", "embedding_lr", "warmup", "similar_lengths")
    return {
        **{name: getattr(recipe, name) for name in names},
        "readout": READOUT,
        "seed": SEED,
    }
