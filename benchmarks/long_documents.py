r"""Long documents: made-up texts that one passage decides, with and without the window level.

    python benchmarks/long_documents.py
    python benchmarks/long_documents.py --rows 200 --words 2000 --seeds 0 --systems fast,fast_whole

A text has ``--words`` words of a made-up language, whose frequencies follow Zipf's law. Each class has 30
words of its own, which occur in all texts: a word in a hundred is of each class. In one passage of 40 words,
at a random place, every second word is of the text's class. So sums over the text hardly tell the classes
apart. A seed draws the language, training and test texts, and the training.

``small_whole`` and ``fast_whole`` are the presets without the window level, which is what they were before.
``fasttext`` has pairs of words, 25 epochs and a learning rate of 0.5. ``tfidf`` is a LinearSVC on words with
sublinear TF-IDF, its C chosen by a fifth of the rows. The lengths are of one model, ``fast``: processor time
of a prediction, and the peak of the memory that Python and numpy allocate meanwhile.

Writes ``results/benchmarks/long_documents.json`` after each run.
"""

from __future__ import annotations

import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measuring import (
    BASELINE_PACKAGES,
    comma_list,
    command_line,
    describe_origin,
    make_parser,
    write_document,
)
from numpy.typing import NDArray

from token2wave import train
from token2wave.classifier import Classifier
from token2wave.core import n_threads

SCHEMA = 1
CLASSES, CLASS_WORDS, VOCABULARY = 4, 30, 20_000
RATE = 0.01  # of the words of each class, in all texts
PASSAGE, DENSITY = 40, 0.5
SENTENCE = 13  # words
LENGTHS = (10_000, 100_000, 1_000_000)
COSTS = (0.1, 1.0, 10.0, 100.0)
SYSTEMS = ["small", "small_whole", "fast", "fast_whole", "fasttext", "tfidf"]

Texts = list[str]


class Language:
    """Made-up words, and how often each occurs."""

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        syllables = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
        words: set[str] = set()
        while len(words) < VOCABULARY:
            words.add("".join(random.choice(syllables, random.integers(2, 5))))
        self.words = np.array(sorted(words))
        random.shuffle(self.words)
        self.of_class = np.arange(VOCABULARY - CLASSES * CLASS_WORDS, VOCABULARY).reshape(CLASSES, -1)
        frequency = 1 / np.arange(10, VOCABULARY + 10)
        frequency[self.of_class] = 0
        frequency *= (1 - RATE * CLASSES) / frequency.sum()
        frequency[self.of_class] = RATE / CLASS_WORDS
        self.totals = np.cumsum(frequency)

    def text(self, random: np.random.Generator, n_words: int, label: int) -> str:
        """Draw a text whose passage is of a class."""
        drawn = np.minimum(np.searchsorted(self.totals, random.random(n_words)), VOCABULARY - 1)
        start = int(random.integers(0, n_words - PASSAGE))
        places = start + np.flatnonzero(random.random(PASSAGE) < DENSITY)
        drawn[places] = random.choice(self.of_class[label], len(places))
        words = self.words[drawn].tolist()
        words[SENTENCE - 1 :: SENTENCE] = [f"{word}." for word in words[SENTENCE - 1 :: SENTENCE]]
        return " ".join(words)

    def texts(self, n: int, n_words: int, seed: int) -> tuple[Texts, NDArray[np.int64]]:
        """Draw texts and their classes."""
        random, labels = np.random.default_rng(seed), np.arange(n) % CLASSES
        return [self.text(random, n_words, label) for label in labels.tolist()], labels


def preset(name: str, windows: bool) -> Callable[[Texts, NDArray[np.int64], int], Classifier]:
    """Train a preset, with or without the window level."""
    settings = {} if windows else {"recipe.windows_from": 0}

    def fit(texts: Texts, labels: NDArray[np.int64], seed: int) -> Classifier:
        names = [f"class {label}" for label in labels.tolist()]
        return train(texts, names, preset=name, seed=seed, baseline=False, settings=settings).classifier

    return fit


def fasttext(texts: Texts, labels: NDArray[np.int64], others: Texts, seed: int) -> NDArray[np.int64]:
    """What fastText predicts."""
    import fasttext as library

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.txt"
        path.write_text("".join(f"__label__{y} {text}\n" for y, text in zip(labels, texts, strict=True)))
        model = library.train_supervised(str(path), wordNgrams=2, epoch=25, lr=0.5, thread=1, seed=seed)
    predicted, _ = model.predict(others)
    return np.array([int(labels[0].removeprefix("__label__")) for labels in predicted])


def tfidf(texts: Texts, labels: NDArray[np.int64], others: Texts, seed: int) -> NDArray[np.int64]:
    """What a LinearSVC on TF-IDF predicts."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.svm import LinearSVC

    vectorizer = TfidfVectorizer(sublinear_tf=True)
    matrix = vectorizer.fit_transform(texts)
    order = np.random.default_rng(seed).permutation(len(texts))
    held_out, rest = order[: len(order) // 5], order[len(order) // 5 :]
    scores = [
        LinearSVC(C=cost).fit(matrix[rest], labels[rest]).score(matrix[held_out], labels[held_out])
        for cost in COSTS
    ]
    model = LinearSVC(C=COSTS[int(np.argmax(scores))]).fit(matrix, labels)
    return np.asarray(model.predict(vectorizer.transform(others)))


def run(name: str, language: Language, options: Any, seed: int) -> tuple[dict[str, Any], Classifier | None]:
    """Train and test a system on the texts of a seed."""
    texts, labels = language.texts(options.rows, options.words, 2 * seed)
    others, truth = language.texts(options.rows, options.words, 2 * seed + 1)
    start, classifier = time.process_time(), None
    if name in ("fasttext", "tfidf"):
        predicted = (fasttext if name == "fasttext" else tfidf)(texts, labels, others, seed)
        seconds = time.process_time() - start
    else:
        classifier = preset(name.removesuffix("_whole"), not name.endswith("_whole"))(texts, labels, seed)
        seconds = time.process_time() - start
        predicted = classifier.probabilities(others).argmax(axis=1)
    result = {"seed": seed, "system": name, "accuracy": float(np.mean(predicted == truth))}
    if classifier is not None:
        result["window_words"] = classifier.network.config.window_words
    return {**result, "seconds": round(seconds, 1)}, classifier


def measure_lengths(classifier: Classifier, language: Language) -> list[dict[str, Any]]:
    """Processor time and peak memory of a prediction, for texts of each length."""
    results = []
    for n_words in LENGTHS:
        text = language.text(np.random.default_rng(n_words), n_words, 1)
        classifier.predict(text[:1000])
        start = time.process_time()
        label = classifier.predict(text).label
        seconds = time.process_time() - start
        tracemalloc.start()
        classifier.predict(text)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        results.append({"words": n_words, "seconds": seconds, "bytes": peak, "right": label == "class 1"})
    return results


def main() -> None:
    """Train every system on the texts of every seed."""
    parser = make_parser(__doc__, seeds=[0, 1, 2])
    parser.add_argument("--rows", type=int, default=400, help="training texts, and as many test texts")
    parser.add_argument("--words", type=int, default=10_000, help="of a text")
    parser.add_argument("--systems", type=comma_list, default=SYSTEMS, help="by commas")
    options = parser.parse_args()
    document: dict[str, Any] = {
        "name": "long_documents",
        "schema": SCHEMA,
        "command": command_line(__file__),
        "rows": options.rows,
        "words": options.words,
        "runs": [],
        "lengths": [],
        **describe_origin(n_threads(), BASELINE_PACKAGES),
    }
    for seed in options.seeds:
        language = Language(seed)
        for name in options.systems:
            result, classifier = run(name, language, options, seed)
            document["runs"].append(result)
            print(result, flush=True)
            if name == "fast" and classifier is not None and not document["lengths"]:
                document["lengths"] = measure_lengths(classifier, language)
                print(document["lengths"], flush=True)
            write_document(options.results / "long_documents.json", document)


if __name__ == "__main__":
    main()
