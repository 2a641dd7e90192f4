"""FastText with word pairs and learning rate 0.5."""

from systems.fasttext_training import with_rate

SYSTEM = with_rate(0.5)
