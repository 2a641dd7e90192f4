"""Texts and labels: readers, named data sets, splits, and the built-in corpus."""

from token2wave.data.datasets import available, load_split, load_splits, load_texts
from token2wave.data.splits import encode_label_sets, encode_labels, label_names_of, strata, validation_split
from token2wave.data.text_files import read_labelled, read_stream, read_texts
from token2wave.data.texts import TextDataset, TextSplit
from token2wave.options import DataOptions

__all__ = [
    "DataOptions",
    "TextDataset",
    "TextSplit",
    "available",
    "encode_label_sets",
    "encode_labels",
    "label_names_of",
    "load_split",
    "load_splits",
    "load_texts",
    "read_labelled",
    "read_stream",
    "read_texts",
    "strata",
    "validation_split",
]
