"""Training on more text than memory holds: the data is read anew for each pass, and nothing of it is kept.

A first pass counts (:mod:`.survey`): classes, features, lengths; it draws the rows that are held back for
validation, and a sample. Each further pass trains on all other rows, block by block (:mod:`.blocks`).
Whatever learns from all texts at once, as amplitudes do, learns from the sample.
"""
