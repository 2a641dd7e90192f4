"""Scoring at scale: files of any size, on all cores or many machines, and nothing lost on the way."""
