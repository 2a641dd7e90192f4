"""Makes the shipped language prior: word vectors whose mean over a text fits a sentence encoder's vector.

``docs/prior.md`` explains it. The texts are Parquet files with the columns ``text`` and ``source``. The
encoder's vectors are cached in chunks, so an interrupted run resumes. Run it by ``make prior``.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from torch.nn.functional import normalize

from token2wave.data import load_splits
from token2wave.distillation.cache import TeacherCache, hash_checkpoint, hash_training
from token2wave.features import WordPieceConfig
from token2wave.features.hashing import hash_tokens
from token2wave.features.ragged import offsets_of
from token2wave.features.text import ngram_hashes, spelled_tokens
from token2wave.models.bert_encoder import PretrainedEncoder, pad_texts, quiet
from token2wave.models.encoder_sources import MINILM, source_of
from token2wave.prior.language_prior import ENGLISH, LanguagePrior
from token2wave.storage.atomic import atomic_write, make_folder
from token2wave.training.torch_trainer import has_bfloat16

CHUNK = 40_960  # texts that are encoded before their vectors are cached
BATCH = 64
MAX_TOKENS = 96  # WordPieces of a text; the encoder does not read the rest
HELD_OUT = 10_000  # first texts, which measure and do not fit
PASSAGE = 8  # tokens in a row, by which a text counts as a copy
MIN_TEXTS = 5  # that have a word
PCA_TEXTS = 60_000  # that choose the principal components
MAP_RIDGE = 1e-4  # relative to the mean of the diagonal
ITERATIONS = 15  # of conjugate gradients; more change nothing

Floats = NDArray[np.float32]
Encode = Callable[[list[str]], NDArray[np.float16]]


def read_texts(folder: Path) -> tuple[list[str], list[str]]:
    """Read the texts of a folder and their sources, and shuffle them, always alike."""
    paths = sorted(folder.glob("*.parquet"))
    if not paths:
        raise SystemExit(f"{folder}: expected Parquet files with the columns text and source, found none")
    tables = [pq.read_table(path, columns=["text", "source"]) for path in paths]
    texts, sources = (
        [row for table in tables for row in table[name].to_pylist()] for name in ("text", "source")
    )
    order = np.random.default_rng(0).permutation(len(texts)).tolist()
    return [texts[row] for row in order], [sources[row] for row in order]


class Encoder:
    """A frozen sentence encoder: the mean of a text's states, of length one."""

    def __init__(self) -> None:
        from transformers import AutoModel

        source = PretrainedEncoder(MINILM)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.features = source.features(WordPieceConfig(max_tokens=MAX_TOKENS))
        dtype = torch.bfloat16 if has_bfloat16(self.device) else torch.float32
        with quiet():
            self.network: Any = AutoModel.from_pretrained(source.source, dtype=dtype).eval().to(self.device)
        self.checkpoint = hash_checkpoint(source_of(MINILM))

    def __call__(self, texts: list[str]) -> NDArray[np.float16]:
        """Return the vectors of ``N`` texts, ``(N, D)``, from the cache if they are there."""
        settings = {"checkpoint": self.checkpoint, "max_tokens": MAX_TOKENS}
        key = hash_training(settings, texts, np.zeros(0, dtype=np.int64))
        path = TeacherCache(MINILM, key).path(".npy")
        if path.exists():
            return np.asarray(np.load(path), dtype=np.float16)
        vectors = self.compute(texts)
        make_folder(path.parent)
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.save(file, vectors)
        return vectors

    def compute(self, texts: list[str]) -> NDArray[np.float16]:
        """Encode texts in batches of similar length."""
        tokens = self.features(texts)
        by_length = np.argsort(tokens.lengths, kind="stable")
        vectors = np.zeros((len(texts), self.network.config.hidden_size), dtype=np.float16)
        with torch.inference_mode():
            for first in range(0, len(texts), BATCH):
                rows = by_length[first : first + BATCH]
                batch = tokens.take(rows)
                ids, mask = pad_texts(torch.from_numpy(batch.ids).long(), torch.from_numpy(batch.offsets))
                ids, mask = ids.to(self.device), mask.to(self.device)
                states = self.network(input_ids=ids, attention_mask=mask.long()).last_hidden_state.float()
                means = (states * mask[..., None]).sum(dim=1)  # but for their length
                vectors[rows] = normalize(means, dim=1).half().cpu().numpy()
        return vectors


def encode_chunks(texts: list[str], encode: Encode, what: str) -> NDArray[np.float16]:
    """Encode texts chunk by chunk, and print how fast."""
    chunks, start = [], time.perf_counter()
    for first in range(0, len(texts), CHUNK):
        chunks.append(encode(texts[first : first + CHUNK]))
        n_texts = first + len(chunks[-1])
        rate = n_texts / (time.perf_counter() - start)
        print(f"{n_texts:,} of {len(texts):,} {what}, {rate:,.0f} a second", flush=True)
    return np.concatenate(chunks)


def shares_passages(texts: Sequence[str], others: Sequence[str]) -> NDArray[np.bool_]:
    """Whether each text shares ``PASSAGE`` tokens in a row with any other text, ``(N,)``."""
    hashes, n_tokens = hash_tokens(texts)
    hashes_of_others, n_tokens_of_others = hash_tokens(others)
    *_, (passages, first) = ngram_hashes(hashes, offsets_of(n_tokens), PASSAGE, PASSAGE)
    *_, (known, _) = ngram_hashes(hashes_of_others, offsets_of(n_tokens_of_others), PASSAGE, PASSAGE)
    shared = np.repeat(np.arange(len(texts)), n_tokens)[first[np.isin(passages, known)]]
    return np.bincount(shared, minlength=len(texts)) > 0


def select_words(
    tokens: NDArray[np.uint32], text: NDArray[np.int64], sources: Sequence[str], n_words: int
) -> Any:
    """Choose words of many texts and many sources by the top halves of their hashes, ``(K,)``, increasing.

    A word's score is the sum over sources of the root of the number of its texts, so that a large source does
    not fill the vocabulary. ``text`` is the number of each token's text, ``(T,)``.
    """
    words, index = np.unique(tokens, return_inverse=True)
    pairs = np.unique(index * len(sources) + text)
    source = np.unique(np.asarray(sources), return_inverse=True)[1]
    word, source = pairs // len(sources), source[pairs % len(sources)]
    counts = np.zeros((len(words), source.max() + 1))
    np.add.at(counts, (word, source), 1)
    scores = np.sqrt(counts).sum(axis=1) * (counts.sum(axis=1) >= MIN_TEXTS)
    best = np.argsort(-scores, kind="stable")[:n_words]
    return np.sort(words[best[scores[best] > 0]])


def spell_words(texts: Sequence[str], words: NDArray[np.uint32]) -> list[str]:
    """Find how each word is spelled, from texts that have it."""
    hashes, letters, offsets = spelled_tokens(sorted({word for text in texts for word in text.split()}))
    tops, first = np.unique((hashes >> np.uint64(32)).astype(np.uint32), return_index=True)
    tokens = first[np.searchsorted(tops, words)]
    return ["".join(map(chr, letters[offsets[token] : offsets[token + 1]].tolist())) for token in tokens]


def mean_matrix(rows: NDArray[np.int64], text: NDArray[np.int64], n_texts: int, n_words: int) -> csr_matrix:
    """Return the matrix ``(N, K)`` that takes the mean of the words' vectors for each text."""
    rows, text = rows[rows >= 0], text[rows >= 0]
    shares = (1 / np.maximum(np.bincount(text, minlength=n_texts), 1)).astype(np.float32)
    offsets = offsets_of(np.bincount(text, minlength=n_texts))
    matrix = csr_matrix((shares[text], rows, offsets), shape=(n_texts, n_words))
    matrix.sum_duplicates()
    return matrix


def solve(means: csr_matrix, targets: Floats, vectors: Floats, ridge: float) -> Floats:
    """Minimise ``|means @ V - targets|^2 + ridge |V - vectors|^2``.

    By conjugate gradients, preconditioned by the diagonal, each dimension with steps of its own.
    """
    transposed, solution = means.T.tocsr(), vectors.copy()
    residual = transposed @ (targets - means @ solution)
    scale = (1 / (np.asarray(means.multiply(means).sum(axis=0)).ravel() + ridge)).astype(np.float32)[:, None]
    direction = residual * scale
    energy = (residual * direction).sum(axis=0)
    for _ in range(ITERATIONS):
        image = transposed @ (means @ direction) + np.float32(ridge) * direction
        step = energy / np.maximum((direction * image).sum(axis=0), np.float32(1e-12))
        solution += step * direction
        residual -= step * image
        scaled = residual * scale
        previous, energy = energy, (residual * scaled).sum(axis=0)
        direction = scaled + energy / np.maximum(previous, np.float32(1e-12)) * direction
    return solution


def map_words(outputs: Floats, means: csr_matrix, targets: Floats) -> Floats:
    """Map the encoder's outputs for words linearly, such that their means fit the targets best."""
    inputs = np.column_stack([outputs, np.ones(len(outputs), dtype=np.float32)])
    text_inputs = means @ inputs
    gram = (text_inputs.T @ text_inputs).astype(np.float64)
    gram += np.eye(len(gram)) * MAP_RIDGE * np.trace(gram) / len(gram)
    mapped: Floats = inputs @ np.linalg.solve(gram, text_inputs.T @ targets).astype(np.float32)
    return mapped


def mean_cosine(vectors: Floats, means: csr_matrix, targets: Floats) -> float:
    """Return the mean cosine between the texts' vectors and their targets."""
    pairs = (torch.from_numpy(np.asarray(array)) for array in (means @ vectors, targets))
    return float(torch.cosine_similarity(*pairs, dim=1).mean())


def make_prior(
    texts: list[str],
    sources: list[str],
    encode: Encode,
    judged: Sequence[str],
    out: Path,
    *,
    words: int,
    width: int,
    ridge: float,
    levels: int,
) -> LanguagePrior:
    """Make a prior from shuffled texts, without copies of ``judged``, and print how good it is."""
    outputs = encode_chunks(texts, encode, "texts")
    rows = np.flatnonzero(~shares_passages(texts, judged))
    print(f"{len(texts) - len(rows):,} texts left out, which share a passage with the judged data")
    texts, sources, outputs = [texts[row] for row in rows], [sources[row] for row in rows], outputs[rows]
    hashes, n_tokens = hash_tokens(texts)
    tops, text = (hashes >> np.uint64(32)).astype(np.uint32), np.repeat(np.arange(len(texts)), n_tokens)
    vocabulary = select_words(tops, text, sources, words)
    word_outputs = encode_chunks(spell_words(texts, vocabulary), encode, "words")

    held_out = min(HELD_OUT, len(texts) // 10)
    sample = outputs[held_out:][:PCA_TEXTS].astype(np.float32)
    centre = sample.mean(axis=0)
    axes = np.linalg.eigh(np.cov((sample - centre).T))[1][:, ::-1][:, :width].astype(np.float32)
    targets = np.concatenate(
        [(outputs[i : i + CHUNK].astype(np.float32) - centre) @ axes for i in range(0, len(texts), CHUNK)]
    )
    unfitted = LanguagePrior(vocabulary, np.zeros((len(vocabulary), 0), dtype=np.float32), "en", "")
    means = mean_matrix(unfitted.rows_of(hashes), text, len(texts), len(vocabulary))
    fitted = means[held_out:], targets[held_out:]
    start = map_words(word_outputs.astype(np.float32), *fitted)
    vectors = solve(*fitted, start, ridge)
    unseen = means[:held_out], targets[:held_out]
    cosine = mean_cosine(vectors, *unseen)
    coverage = unfitted.coverage(hashes[text < held_out])
    description = (
        f"word vectors fitted to the vectors of {len(texts) - held_out:,} texts by {MINILM} (Apache-2.0). "
        f"On {held_out:,} other texts, {coverage:.1%} of the words have a vector, and the mean cosine to the "
        f"encoder's vectors is {cosine:.3f}"
    )
    LanguagePrior(vocabulary, vectors, "en", description).write(out, levels)
    prior = LanguagePrior.read(out)
    cosines = {"words alone": start, "fitted": vectors, "in the file": prior.vectors}
    for name, values in cosines.items():
        print(f"cosine on {held_out:,} held-out texts, {name}: {mean_cosine(values, *unseen):.4f}")
    print(f"{out}: {len(vocabulary):,} words, {out.stat().st_size / 1e6:.2f} MB; {description}")
    return prior


def main() -> None:
    """Read the command line and make the prior."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    data = Path(os.environ.get("TOKEN2WAVE_DATA", "")) / "unlabelled"
    parser.add_argument("--data", type=Path, default=data, help="folder of Parquet files")
    parser.add_argument("--out", type=Path, default=ENGLISH, help="the file to write")
    parser.add_argument("--texts", type=int, help="use only this many texts")
    parser.add_argument("--words", type=int, default=40_000, help="largest vocabulary")
    parser.add_argument("--width", type=int, default=96, help="numbers of a vector")
    parser.add_argument("--ridge", type=float, default=0.3, help="pull to the words' own vectors")
    parser.add_argument("--levels", type=int, default=40, help="values of a number in the file")
    arguments = vars(parser.parse_args())
    folder, n_texts = arguments.pop("data"), arguments.pop("texts")
    texts, sources = (rows[:n_texts] for rows in read_texts(folder))
    corpus = load_splits("debian-sections")
    make_prior(texts, sources, Encoder(), [*corpus.train.texts, *corpus.test.texts], **arguments)


if __name__ == "__main__":
    main()
