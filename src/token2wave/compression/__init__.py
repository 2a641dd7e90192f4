"""Small model files: fewer rows, fewer bits a number, and what that costs in accuracy."""

from token2wave.compression.compress import Compression, compress

__all__ = ["Compression", "compress"]
