"""Which points ``benchmarks/growth.py`` measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from measuring import ROOT  # noqa: F401 - makes paper importable

from paper.studies.timing import powers_of_two


@dataclass(frozen=True)
class VocabularyNetwork:
    """A network of the vocabulary study: its width, read-out, and the optimisers of `growth_vocabulary`."""

    width: int
    readout: str
    optimizers: tuple[str, ...]


@dataclass(frozen=True)
class TrainingSize:
    """The size of made-up data to train on: words are those of a text, vocabulary all different ones."""

    rows: int
    words: int
    classes: int
    vocabulary: int


Training = Mapping[str, tuple[str, TrainingSize, tuple[int, ...]]]
"""For each axis of `growth_training` a preset, the size of the data, and the sizes along the axis."""
TRAINING: Training = {
    "rows": ("fast", TrainingSize(0, 20, 10, 20_000), (1_000, 10_000, 100_000, 1_000_000)),
    "words": ("small", TrainingSize(4_000, 0, 10, 20_000), (5, 20, 80, 320)),
    "classes": ("small", TrainingSize(20_000, 20, 0, 20_000), (2, 10, 100, 1_000, 10_000)),
    "vocabulary": ("small", TrainingSize(10_000, 20, 10, 0), (1_000, 10_000, 100_000)),
}
QUICK_TRAINING: Training = {
    "rows": ("fast", TrainingSize(0, 20, 10, 20_000), (1_000, 10_000)),
    "words": ("fast", TrainingSize(2_000, 0, 10, 20_000), (10, 40)),
    "classes": ("fast", TrainingSize(2_400, 10, 0, 2_000), (2, 100, 1_200)),
    "vocabulary": ("fast", TrainingSize(2_000, 20, 10, 0), (1_000, 10_000)),
}


def with_rows(training: Training, most: int) -> Training:
    """Let the rows grow up to another number, by factors of ten."""
    preset, size, sizes = training["rows"]
    counts = [sizes[0]]
    while counts[-1] * 10 <= most:
        counts.append(counts[-1] * 10)
    return {**training, "rows": (preset, size, tuple(counts))}


@dataclass(frozen=True)
class Plan:
    """Points and repetitions of all studies.

    ``longest`` is the seconds of a call above which a curve stops; a ``range`` is where a second line is
    fitted; ``vocabulary_ranks`` are the distinct rows that all batches draw from; from ``text_many`` texts on
    there is one repetition.
    """

    runs: int = 5
    longest: float = 20.0
    lengths: tuple[int, ...] = powers_of_two(32, 16_384)
    length_range: tuple[int, int] = (512, 16_384)
    length_texts: tuple[tuple[int, int], ...] = ((64, 4), (768, 1))
    widths: tuple[int, ...] = (64, 96, 128, 192, 256, 384, 512, 768, 1024)
    width_range: tuple[int, int] = (256, 1024)
    width_texts: int = 64
    vocabularies: tuple[int, ...] = (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000)
    vocabulary_range: tuple[int, int] = (30_000, 3_000_000)
    vocabulary_networks: tuple[VocabularyNetwork, ...] = (
        VocabularyNetwork(64, "text", ("row Adam", "row SGD", "dense AdamW")),
        VocabularyNetwork(256, "cls", ("row Adam", "row SGD")),
        VocabularyNetwork(32, "text", ("row SGD, native core",)),
    )
    vocabulary_ranks: int = 10_000
    vocabulary_batches: int = 20
    vocabulary_runs: int = 3
    batch_sizes: tuple[int, ...] = powers_of_two(1, 4_096)
    batch_range: tuple[int, int] = (64, 4_096)
    batch_width: int = 768
    batch_longest: float = 8.0
    text_counts: tuple[int, ...] = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
    text_range: tuple[int, int] = (100_000, 1_000_000)
    text_words: int = 100_000
    text_runs: int = 3
    text_many: int = 300_000
    training: Training = field(default_factory=lambda: TRAINING)
    training_runs: int = 1


FULL = Plan()
QUICK = Plan(
    runs=2,
    longest=0.6,
    lengths=(32, 256, 1_024),
    length_range=(32, 1_024),
    length_texts=((64, 4), (256, 1)),
    widths=(64, 256, 1024),
    vocabularies=(10_000, 100_000, 1_000_000),
    vocabulary_range=(100_000, 1_000_000),
    vocabulary_networks=(
        VocabularyNetwork(64, "text", ("row Adam", "row SGD", "dense AdamW")),
        VocabularyNetwork(32, "text", ("row SGD, native core",)),
    ),
    vocabulary_batches=8,
    vocabulary_runs=1,
    batch_sizes=(1, 8, 64, 512),
    batch_range=(8, 512),
    batch_longest=0.5,
    text_counts=(1_000, 3_000, 10_000),
    text_range=(3_000, 10_000),
    text_runs=1,
    training=QUICK_TRAINING,
)
