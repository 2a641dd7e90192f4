"""Reproduces the papers of the Wave Network (arXiv 2411.02674 and 2411.06989)."""
