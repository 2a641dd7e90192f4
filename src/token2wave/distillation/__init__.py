"""Learning from a teacher: a pre-trained encoder, fine-tuned, or probabilities of any origin.

Nothing here imports torch before an encoder has to compute.
"""

from token2wave.distillation.probabilities import KnownProbabilities, read_probabilities, write_probabilities

__all__ = ["KnownProbabilities", "read_probabilities", "write_probabilities"]
