"""Word order in real texts: where it matters, and what positions cost elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from paper.result_store import NotFinishedError, Result, ResultStore
from paper.statistics import Answers, pack_answers
from paper.studies.word_order_claims import judge
from paper.studies.word_order_networks import OPERATIONS, OrderNetwork, make_networks
from paper.studies.word_order_tables import drawings, tables
from paper.study import Document, Options, Study, StudyData, load_study_data
from paper.systems import train_and_answer
from paper.verdicts import MARGIN
from token2wave.data import TextDataset, TextSplit, load_splits
from token2wave.errors import DataError
from token2wave.options import DataOptions
from token2wave.training.examples import Examples

SENTENCES, PAIRS = ("sst2",), ("sick", "rte")
WIDTH, EPOCHS = 128, 3
TRAIN_ROWS, SENTENCE_ROWS = 4_000, 10_000
QUICK_ROWS, QUICK_TEST_ROWS, QUICK_EPOCHS, QUICK_WIDTH = 200, 96, 1, 16
SEPARATOR = " [SEP] "  # between the texts of a pair, as words: every vocabulary reads it
NEGATORS = {
    *("no", "not", "n't", "never", "none", "nobody", "nothing", "nowhere", "neither", "nor", "cannot"),
    *("without", "hardly", "barely", "scarcely"),
}
NEGATED, CONTRADICTIONS = "negated", "contradictions"
SHUFFLE_SEED = 20241104


@dataclass(frozen=True)
class Corpus:
    """A data set of the study; ``shuffled`` are its test texts with their words in random order.

    ``subsets`` are masks ``(N,)`` of test texts, by name.
    """

    data: StudyData
    shuffled: Examples
    subsets: dict[str, Answers]
    networks: list[OrderNetwork]


def is_negated(text: str) -> bool:
    """Whether a text has one of the `NEGATORS`, as a word or, for ``n't``, at the end of one."""
    return any(word in NEGATORS or word.endswith("n't") for word in text.lower().split())


def shuffle_words(texts: Sequence[str], seed: int = SHUFFLE_SEED) -> list[str]:
    """Put the words of each text in random order; the texts of a pair are shuffled apart.

    Words are what spaces separate. Networks that do not see order answer the same as before.
    """
    random = np.random.default_rng(seed)
    return [
        SEPARATOR.join(" ".join(random.permutation(part.split()).tolist()) for part in text.split(SEPARATOR))
        for text in texts
    ]


def join_pairs(name: str) -> TextDataset:
    """Read a data set of pairs as texts, each of a first text, the separator and a second text.

    Raises:
        DataError: the data cannot be read.
    """
    dataset = load_splits(name, DataOptions(text_column=("text", "text_pair")))

    def join(split: TextSplit) -> TextSplit:
        return replace(split, texts=[text.replace("\n", SEPARATOR) for text in split.texts])

    validation, test = (split and join(split) for split in (dataset.validation, dataset.test))
    return replace(dataset, train=join(dataset.train), validation=validation, test=test)


def make_corpus(data: StudyData, networks: list[OrderNetwork], subset: str | None = None) -> Corpus:
    """Shuffle the test texts, and find those in which order is likely to matter.

    The ``subset`` is `NEGATED`, sentences with a negator, or `CONTRADICTIONS`, pairs of that class.
    """
    texts = list(data.test.texts)
    shuffled = Examples.of_texts(shuffle_words(texts), data.test.labels).encode(data.features)
    names = [name.lower() for name in data.texts.label_names]
    masks = {
        NEGATED: np.array([is_negated(text) for text in texts], dtype=bool),
        CONTRADICTIONS: np.array([names[label] == "contradiction" for label in data.test.labels], dtype=bool),
    }
    subsets = {name: mask for name, mask in masks.items() if name == subset}
    return Corpus(data, shuffled, {name: mask for name, mask in subsets.items() if mask.any()}, networks)


def load_corpora(options: Options) -> tuple[list[Corpus], list[str]]:
    """Read all data; and why some is left out, a sentence each."""
    if options.quick:
        data = options.load(QUICK_ROWS, QUICK_TEST_ROWS)
        return [make_corpus(data, make_networks(QUICK_WIDTH, QUICK_EPOCHS, OPERATIONS[:1]), NEGATED)], []
    every, few = make_networks(WIDTH, EPOCHS), make_networks(WIDTH, EPOCHS, OPERATIONS[:1])
    corpora, reasons = [make_corpus(options.load(TRAIN_ROWS), every)], []
    for name in (*SENTENCES, *PAIRS):
        try:
            if name in PAIRS:
                data = load_study_data(join_pairs(name), train_rows=SENTENCE_ROWS)
                corpora.append(make_corpus(data, few, CONTRADICTIONS))
            else:
                corpora.append(make_corpus(options.load(SENTENCE_ROWS, other=name), every, NEGATED))
        except DataError as error:
            reasons.append(f"{name} is left out: {error}.")
    return corpora, reasons


def measure(store: ResultStore, options: Options) -> Document:
    """Train every network on every data set with each seed.

    Returns:
        Settings; ``corpora``, each with ``subsets`` of its test texts and ``networks``, each with ``runs``
        (one a seed), among them ``right`` and ``right_shuffled``, the answers to the test texts and to
        the same with their words shuffled; ``unfinished``, networks that lack some run.
    """
    quick = options.quick
    seeds = options.seeds[:2] if quick else options.seeds
    corpora, caveats = load_corpora(options)
    entries, unfinished = [], []
    for corpus in corpora:
        networks = []
        for network in corpus.networks:
            try:
                runs = [{"seed": seed, **_train(store, corpus, network, seed)} for seed in seeds]
            except NotFinishedError:
                unfinished.append(f"{network.key} on {corpus.data.name}")
                continue
            names = {name: getattr(network, name) for name in ("key", "title", "order", "reference")}
            networks.append({**names, "runs": runs})
        entries.append(
            {
                "data": corpus.data.name,
                "rows": corpus.data.settings["rows"],
                "subsets": {name: pack_answers(mask) for name, mask in corpus.subsets.items()},
                "networks": networks,
            }
        )
        caveats += [f"{corpus.data.name}: {caveat}" for caveat in corpus.data.texts.caveats]
    if not any(entry["networks"] for entry in entries):
        raise NotFinishedError("word_order")
    return {
        "data": corpora[0].data.name,
        "rows": corpora[0].data.settings["rows"],
        "caveats": caveats,
        "width": QUICK_WIDTH if quick else WIDTH,
        "epochs": QUICK_EPOCHS if quick else EPOCHS,
        "seeds": list(seeds),
        "corpora": entries,
        "unfinished": unfinished,
    }


def _train(store: ResultStore, corpus: Corpus, network: OrderNetwork, seed: int) -> Result:
    """Train a network, and answer the test texts as they are and shuffled."""
    data, system = corpus.data, network.system

    def compute() -> Result:
        built = network.build(data, seed, store.device)
        result = train_and_answer(store, lambda: built, system.recipe, data, seed)
        answers = built.logits(corpus.shuffled.features).argmax(axis=1)  # fit has trained it in place
        return {**result, "right_shuffled": pack_answers(answers == data.test.labels)}

    settings: dict[str, Any] = {**network.settings(), "data": data.settings, "seed": seed}
    settings["shuffle_seed"] = SHUFFLE_SEED
    stage = f"word order: {data.name}, {network.title}, {network.order}, seed {seed}"
    return store.compute(f"word_order/{data.name}/{network.key}-{seed}", settings, compute, stage)


STUDY = Study(
    "word_order",
    "Word order in real texts",
    "Does it help a Wave network to see the order of words, where order matters in real texts, and what does "
    "it cost elsewhere? Sinusoidal positions have amplitude 1, and the papers' embeddings start with a "
    "standard deviation of 0.1, which positions outweigh. So "
    "embeddings also start with 0.3 and 1, each with a reference of the same embeddings and no positions. "
    "Larger initial embeddings change one thing more: steps of the same size move them less. Embeddings of "
    "0.1 that are multiplied by the root of the width (as in the Transformer) keep their steps in "
    "proportion. Two wave layers have a norm inside each layer. The context branch sees "
    "three neighbours on each side, and its reference is the network without it. A Transformer of one layer "
    "starts from random embeddings of 0.1 as well, with learned positions or none. Everything else is the "
    "papers' network and recipe; nothing is tuned. Order is likely to matter where a sentence has a negator "
    f"({', '.join(sorted(NEGATORS))}, and words that end with n't), and in pairs of sentences. The texts of "
    f"a pair are joined to one text, with `{SEPARATOR.strip()}` between them. On pairs there are fewer "
    "networks, to save time. A second test is direct: each trained network also answers the test texts with "
    "their words shuffled. What that costs is what it uses of the order. It is nothing for a network that "
    "does not see order. A network that sees order and loses nothing by shuffling does not use it. "
    f"Differences below {MARGIN} points count as none. A subset of few texts has wide intervals, and a "
    "verdict that cannot be told there says only that. Validation rows choose the epoch. For the verdicts "
    "about negated sentences they also choose the size of the embeddings, with positions and without apart. "
    "Test rows choose nothing.",
    measure,
    tables,
    drawings,
    judge,
)
