"""Chooses what to label next, writes it for people or language models, and reads their answers."""
