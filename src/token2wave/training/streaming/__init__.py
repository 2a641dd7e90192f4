"""Training on more text than memory holds: each pass reads the data again and keeps none of it.

The first pass (:mod:`.first_pass`) counts classes, features and lengths, and draws the validation rows and a
sample. Each further pass trains on all other rows, block by block (:mod:`.block_stream`). The linear SVM
needs all its texts at once, so it learns from the sample.
"""
