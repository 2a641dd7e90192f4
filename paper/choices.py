"""What the papers leave open: how it is read here and otherwise, and what the other reading does."""

from __future__ import annotations

from typing import NamedTuple

from paper.studies.ablation_comparisons import leads_of
from paper.study import Document, Table
from token2wave.formatting import NOTHING


class Choice(NamedTuple):
    """Something that the papers do not decide.

    Attributes:
        choice: what is to be decided.
        ours: the reading of preset ``paper``.
        other: another reading.
        variant: key of the ablation that measures the other reading; None if none does.
        elsewhere: the part of the report that shows it, if no ablation does.
    """

    choice: str
    ours: str
    other: str
    variant: str | None = None
    elsewhere: str = ""


CHOICES = (
    Choice("Two variants of a token", "two linear maps", "two halves of a wider row", "variants-rows"),
    Choice("Two variants of a token", "two linear maps", "levels of sentence and text", "variants-levels"),
    Choice("What stands for the text", "the wave of [CLS]", "the mean of all states", "readout-mean"),
    Choice(
        "Norm, if states are averaged",
        "of the average",
        "of each token, as in a public implementation",
        "readout-mean-norm",
    ),
    Choice("What stands for the text", "the wave of [CLS]", "mean and deviation as one wave", "readout-text"),
    Choice(
        "Return to real numbers", "a linear map of both parts", "the real part", "restore-real-modulation"
    ),
    Choice(
        "Return to real numbers",
        "a linear map of both parts",
        "the magnitude",
        "restore-magnitude-modulation",
    ),
    Choice("Feed-forward map", "linear", "with GELU", "activation-gelu"),
    Choice("Feed-forward map", "linear", "two maps with GELU between them", "feed-forward-gelu"),
    Choice("Initial embeddings", "N(0, 0.01)", "N(0, 1)", "positions-none-1"),
    Choice("Positions", "none", "sinusoidal", "positions-sinusoidal"),
    Choice("Dropout and decay", "half of tokens and states; linear decay", "none", "unregularised"),
    Choice("Width in studies", "128, of a fifth of the cost", "768, the papers'", "width-768-modulation"),
    Choice("Norm inside layers", "after the return to real numbers", "before it, or none", elsewhere="depth"),
    Choice(
        "Optimiser and epoch",
        "Adam on the rows of a batch; the best epoch",
        "Adam on all; the last epoch",
        elsewhere="accuracy, literal rows",
    ),
    Choice("Ratio of eigenvalues", "largest over sum", "smallest over largest", elsewhere="independence"),
    Choice("Norm of a gradient", "Euclidean", "of parts through magnitude and phase", elsewhere="gradients"),
    Choice("Tokens and length", "BERT's WordPieces, 512", "shorter texts", elsewhere="batch_and_length"),
)


def choices_table(document: Document) -> Table:
    """Each choice with both readings, and the other reading's difference in test accuracy."""
    rows = []
    measured = document["studies"].get("ablations", [])
    keys = {choice.variant: choice.variant for choice in CHOICES if choice.variant is not None}
    leads = leads_of(measured[0], keys) if measured else {}
    for each in CHOICES:
        effect = f"see {each.elsewhere}" if each.elsewhere else NOTHING
        if each.variant is not None and each.variant in leads:
            effect = str(leads[each.variant].reversed)
        rows.append([each.choice, each.ours, each.other, effect])
    data = f" on {measured[0]['data']}, from the ablations" if measured else ""
    return Table(
        "What the papers leave open. The effect is the difference in test accuracy from the reading here to "
        f"the other one{data}; intervals of 95 % hold for all ablations together.",
        ["choice", "reading here", "another reading", "effect of the other"],
        rows,
        n_names=4,
    )
