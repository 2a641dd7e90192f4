r"""What the vectors of texts are worth: how often the nearest training rows have the label of a text.

    python benchmarks/vectors.py
    python benchmarks/vectors.py --name vectors-variants --variants     # what else a vector could be

Rows held out of the training set are the texts; no test set is read. Each is given the label of most of its
nearest rows, by cosine: of the vectors of a model that is trained on these rows, defaults only, and of TF-IDF
with and without a singular value decomposition. Where ``--unseen`` names a data set, the model learns half of
its classes, and rows and texts are those of the other half: the vectors have to tell classes apart that the
model has never seen. Writes ``results/benchmarks/NAME.json``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from measuring import (
    BASELINE_PACKAGES,
    comma_integers,
    comma_list,
    command_line,
    describe_origin,
    make_parser,
    write_document,
)
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from token2wave.classifier import Classifier
from token2wave.core import n_threads
from token2wave.data import encode_labels, label_names_of, load_splits
from token2wave.pipeline import train

SCHEMA = 1
DATA = ["banking77", "trec", "ag_news", "emotion", "sst2"]
SVD_WIDTH = 128
Labels = NDArray[np.int64]
Encoder = Callable[[Sequence[str]], Any]


def neighbour_accuracy(products: NDArray[Any], labels: Labels, truth: Labels, k: int) -> float:
    """How often most of the ``k`` rows of the largest product have the label of the text.

    Of labels with as many rows, that of the nearest row counts.

    Args:
        products: of texts and rows, ``(N, M)``.
        labels: of the rows, ``(M,)``.
        truth: labels of the texts, ``(N,)``.
        k: number of rows.
    """
    nearest = labels[np.argsort(-products, axis=1, kind="stable")[:, :k]]
    votes = np.zeros((len(truth), max(labels.max(), truth.max()) + 1))
    for rank in range(k):
        votes[np.arange(len(truth)), nearest[:, rank]] += 1 + (k - rank) / (2 * k * k)
    return float((votes.argmax(axis=1) == truth).mean())


def tfidf_encoder(texts: Sequence[str]) -> Encoder:
    """TF-IDF of words, as many use it for search."""
    vectorizer = TfidfVectorizer(sublinear_tf=True).fit(texts)
    return lambda some: vectorizer.transform(some)


def svd_encoder(texts: Sequence[str]) -> Encoder:
    """TF-IDF of words and word pairs, reduced to few dimensions (latent semantic analysis)."""
    vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2)).fit(texts)
    svd = TruncatedSVD(SVD_WIDTH, random_state=0).fit(vectorizer.transform(texts))
    return lambda some: normalize(svd.transform(vectorizer.transform(some)))


def variant_encoders(classifier: Classifier) -> dict[str, Encoder]:
    """Other vectors of the same model: some of the numbers of ``encode``, or with other lengths."""
    network = classifier.compiled()
    width, context_width = 2 * network.config.width, 2 * network.config.context_width

    def encoder(make: Callable[[list[NDArray[Any]]], Sequence[NDArray[Any]]]) -> Encoder:
        def encode(texts: Sequence[str]) -> Any:
            waves = network.waves(classifier.features(texts))
            parts = np.split(waves, [width, width + context_width], axis=1)
            return normalize(np.hstack(make([part for part in parts if part.shape[1]])))

        return encode

    return {
        "text": encoder(lambda parts: parts[:1]),
        "svm": encoder(lambda parts: parts[-1:]),
        "without_svm": encoder(lambda parts: parts[:-1]),
        "equal_parts": encoder(lambda parts: [normalize(part) for part in parts]),
        "logits": lambda texts: normalize(network.logits(classifier.features(texts))),
    }


def measure(
    encode: Encoder, rows: Sequence[str], labels: Labels, texts: Sequence[str], truth: Labels, ks: list[int]
) -> dict[str, Any]:
    """Accuracy of the nearest rows, numbers of a vector, and texts that a second of the processor encodes."""
    vectors = encode(rows)
    start = time.process_time()
    own = encode(texts)
    seconds = time.process_time() - start
    products = own @ vectors.T
    products = products.toarray() if hasattr(products, "toarray") else products
    return {
        "accuracy": {str(k): neighbour_accuracy(products, labels, truth, k) for k in ks},
        "width": int(own.shape[1]),
        "texts_per_processor_second": len(texts) / max(seconds, 1e-9),
    }


def compare(
    data: str,
    unseen: bool,
    n_rows: int,
    n_texts: int,
    seed: int,
    preset: str,
    ks: list[int],
    variants: bool = False,
) -> dict[str, Any]:
    """Train on rows of a training set, and measure all vectors on others."""
    split = load_splits(data).train
    names = label_names_of(split, None)
    labels = encode_labels(split, names)
    order = np.random.default_rng(seed).permutation(len(labels))[: n_rows + n_texts]
    held_out, rows = order[:n_texts], order[n_texts:]

    def texts_of(some: Labels) -> list[str]:
        return [split.texts[row] for row in some]

    learned = rows
    if unseen:  # every second class
        learned = rows[labels[rows] % 2 == 0]
        rows, held_out = (some[labels[some] % 2 == 1] for some in (rows, held_out))
    learned_names = [names[label] for label in labels[learned]]
    classifier = train(texts_of(learned), learned_names, preset=preset, seed=seed, baseline=False).classifier
    texts = texts_of(held_out)
    encoders = {
        "wave": classifier.encode,
        "tfidf": tfidf_encoder(texts_of(rows)),
        "tfidf_svd": svd_encoder(texts_of(rows)),
    }
    encoders |= variant_encoders(classifier) if variants else {}
    right = [
        label == names[truth] for label, truth in zip(classifier.labels(texts), labels[held_out], strict=True)
    ]
    return {
        "data": data,
        "unseen": unseen,
        "rows": len(rows),
        "texts": len(texts),
        "classes": len(np.unique(labels[rows])),
        "model_accuracy": None if unseen else float(np.mean(right)),
        "vectors": {
            name: measure(encode, texts_of(rows), labels[rows], texts, labels[held_out], ks)
            for name, encode in encoders.items()
        },
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure all data sets."""
    parser = make_parser(__doc__, data=DATA, name="vectors", preset="small", seed=0)
    parser.add_argument("--unseen", type=comma_list, default=["banking77"], help="sets of unseen classes")
    parser.add_argument("--rows", type=int, default=4000, help="of the training set, at most")
    parser.add_argument("--texts", type=int, default=1000, help="held out of it")
    parser.add_argument("--neighbours", type=comma_integers, default=[1, 10], help="by commas")
    parser.add_argument("--variants", action="store_true", help="measure other vectors of the model, too")
    options = parser.parse_args(arguments)
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "name": options.name,
        "command": command_line(__file__, arguments),
        **describe_origin(n_threads(), BASELINE_PACKAGES),
        "preset": options.preset,
        "runs": [],
    }
    for data, unseen in [
        *((each, False) for each in options.data),
        *((each, True) for each in options.unseen),
    ]:
        run = compare(
            data,
            unseen,
            options.rows,
            options.texts,
            options.seed,
            options.preset,
            options.neighbours,
            options.variants,
        )
        document["runs"].append(run)
        write_document(options.results / f"{options.name}.json", document)
        figures = {
            name: [round(100 * accuracy, 2) for accuracy in figures["accuracy"].values()]
            for name, figures in run["vectors"].items()
        }
        print(data, "unseen classes" if unseen else "", figures, flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
