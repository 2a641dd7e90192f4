"""Learns from a teacher: a pre-trained encoder or a file of probabilities. Only encoders import torch."""

from token2wave.distillation.probabilities import KnownProbabilities, read_probabilities, write_probabilities

__all__ = ["KnownProbabilities", "read_probabilities", "write_probabilities"]
