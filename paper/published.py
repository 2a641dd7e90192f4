"""Published figures of both papers (arXiv 2411.02674 and 2411.06989)."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """A row of the first paper's tables; ``key`` is that of our system, ``seconds`` are of an epoch.

    Accuracy is in per cent of the test set; memory and time are those of an unnamed graphics card.
    """

    key: str
    title: str
    dataset: str
    accuracy: float
    gigabytes: float | None
    seconds: float | None
    source: str


TRANSFORMER = "Transformer, 1 layer, BERT embeddings"
ROWS = (
    Published("wave-interference", "Wave, interference", "ag_news", 90.91, 0.30, 146.90, "Table 2"),
    Published("wave-interference", "Wave, interference", "ag_news", 90.36, None, None, "Table 1"),
    Published("wave-modulation", "Wave, modulation", "ag_news", 91.66, 0.32, 147.02, "Table 2"),
    Published("wave-modulation", "Wave, modulation", "ag_news", 91.29, None, None, "Table 1"),
    Published("transformer-pretrained", TRANSFORMER, "ag_news", 71.68, 0.85, 173.25, "Table 1"),
    Published("encoder", "BERT base", "ag_news", 94.64, 1.28, 1034.99, "Table 2"),
    Published("wave-interference", "Wave, interference", "dbpedia14", 97.93, 0.30, 979.78, "Table 2"),
    Published("wave-modulation", "Wave, modulation", "dbpedia14", 98.05, 0.30, 991.15, "Table 2"),
    Published("encoder", "BERT base", "dbpedia14", 99.28, 1.27, 2734.76, "Table 2"),
    Published("wave-interference", "Wave, interference", "imdb", 87.00, 0.37, 119.57, "Table 2"),
    Published("wave-modulation", "Wave, modulation", "imdb", 87.02, 0.37, 119.96, "Table 2"),
    Published("encoder", "BERT base", "imdb", 93.94, 1.27, 220.46, "Table 2"),
)
PUBLISHED_ROWS = {"ag_news": 120_000, "dbpedia14": 560_000, "imdb": 25_000}
"""Training rows of the complete data sets, validation included (arXiv 1509.01626; Maas et al., ACL 2011)."""
TRANSFORMER_ACCURACY = 71.68
CLAIMED_SAVINGS = {"memory": 77.34, "time": 85.62}
"""Savings of a Wave network over BERT base in per cent, from the abstract."""
CLUSTER = 0.28
"""The second paper's cluster of the Wave network's eigenvalue ratios."""


def published(key: str, dataset: str) -> list[Published]:
    """Published rows of a system on a data set."""
    return [row for row in ROWS if (row.key, row.dataset) == (key, dataset)]


COUNTERPARTS = (
    (
        "Tables 1 and 2: accuracy of the Wave network",
        "accuracy",
        "AG News and DBpedia14 on subsets: the complete sets are not at hand",
    ),
    (
        "Embeddings drawn by torch.nn.Embedding, and nothing that is not stated",
        "literal",
        "the rows of the accuracy table that are named so",
    ),
    (
        "Table 1: a Transformer of one layer with BERT's embeddings",
        "accuracy",
        "with MiniLM's, and with random ones: BERT's are not to be had",
    ),
    (
        "Table 2: accuracy of BERT base",
        "accuracy",
        "MiniLM stands in: the weights of BERT base are not to be had. No verdict",
    ),
    (
        "Table 2: video memory and seconds per epoch",
        "resources",
        "a processor's memory and time: no graphics card was at hand, so no verdict on video memory. BERT "
        "base's time and memory with random weights",
    ),
    ("Abstract: savings in memory and time", "claims", "against the papers' own table"),
    ("Fast convergence, 500 batches", "convergence", ""),
    (
        "Fig. 7: 100 epochs",
        "convergence",
        "of a sample of the rows: all rows take hours without a graphics card",
    ),
    (
        "Complexity, O(n d²) against O(n² d)",
        "complexity",
        "by counted operations at every length, and by time up to 8,192 tokens",
    ),
    ("Gradients at [CLS], at the whole input, at the classifier", "gradients", ""),
    ("Independence of dimensions, density of the eigenvalue ratio", "independence", ""),
    (
        "Eq. 5: the interference term",
        "phase",
        "of pairs of tokens and of levels: an illustration in one text, no result",
    ),
    (
        "Eq. 8: several layers, feed-forward map and normalisation",
        "depth, ablations",
        "they report no result",
    ),
    (
        "Several levels of global semantics",
        "ablations, phase",
        "sentence and text; no window, paragraph or document: the data sets hold short texts",
    ),
    ("Open question: complex against real, size of the model", "ablations", ""),
    ("Open question: what magnitude and phase carry", "phase", ""),
    (
        "Open question 1: fine-grained semantics, such as similarity and entailment",
        "pairs",
        "without question answering: no set for it is at hand",
    ),
    ("Open question 2: independence and accuracy", "independence", "with a penalty as an intervention"),
    (
        "Open question 3: length of texts and batch size against convergence",
        "batch_and_length",
        "steps and tokens carry verdicts; seconds on shared processors do not",
    ),
    (
        "Open question 4: word order and distant relations",
        "probes, word_order",
        "generated texts of up to 4,096 tokens, and real ones of negation and entailment",
    ),
    (
        "A public implementation",
        "paper/public_checkpoint.py",
        "its checkpoints are read, and tests hold both readings",
    ),
    ("Small devices", "docs/benchmarks.md", "the file and speed of everyday models"),
    (
        "Not in the papers: fastText, TF-IDF",
        "docs/benchmarks.md, accuracy",
        "fastText beside the presets, TF-IDF with a linear classifier here",
    ),
)
"""What the papers report or leave open: the part of this report, and a remark."""
