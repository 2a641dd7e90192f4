"""Making a language prior: the vocabulary, the solver, the cache, and the whole on made-up texts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from token2wave.features.text import token_hashes
from token2wave.prior import LanguagePrior

tool = pytest.importorskip("tools.make_prior", reason="the tools are not part of this tree")
sparse = pytest.importorskip("scipy.sparse")

WORDS = [f"word{chr(97 + i)}" for i in range(20)]
MEANINGS = dict(zip(WORDS, np.random.default_rng(1).standard_normal((20, 12)), strict=True))


def encode(texts: list[str]) -> NDArray[np.float16]:
    """Encode a text as the mean of its words' meanings, of length one."""
    vectors = np.array([np.mean([MEANINGS[word] for word in text.lower().split()], axis=0) for text in texts])
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def make_texts() -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, rng.integers(3, 9))).capitalize() for _ in range(400)]


def make_prior(path: Path, ridge: float = 0.3) -> LanguagePrior:
    texts = make_texts()
    return tool.make_prior(
        texts, ["web"] * len(texts), encode, [], path, words=15, width=8, ridge=ridge, levels=40
    )


def test_the_mean_of_word_vectors_is_close_to_the_encoder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prior = make_prior(tmp_path / "a.npz")
    assert prior.vectors.shape == (15, 8)
    printed = dict(
        line.rsplit(": ", 1) for line in capsys.readouterr().out.splitlines() if "cosine on" in line
    )
    alone, fitted, in_file = map(float, printed.values())
    assert fitted > max(alone, 0.8)
    assert in_file == pytest.approx(fitted, abs=0.01)
    counts = Counter(word for text in make_texts() for word in set(text.lower().split()))
    frequent = [word for word, _ in counts.most_common(10)]
    assert (prior.rows_of(token_hashes([" ".join(frequent)])[0]) >= 0).all()
    assert prior.description.startswith("word vectors fitted to the vectors of 360 texts by")


def test_the_same_texts_give_the_same_file(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        make_prior(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    make_prior(tmp_path / "c.npz", ridge=30.0)
    assert (tmp_path / "c.npz").read_bytes() != (tmp_path / "a.npz").read_bytes()


def test_the_solver_finds_the_minimum() -> None:
    rng = np.random.default_rng(0)
    means = sparse.random(60, 10, 0.4, format="csr", dtype=np.float32, random_state=0)
    targets = rng.standard_normal((60, 3)).astype(np.float32)
    start = rng.standard_normal((10, 3)).astype(np.float32)
    dense, ridge = means.toarray().astype(np.float64), 0.3
    exact = np.linalg.solve(dense.T @ dense + ridge * np.eye(10), dense.T @ targets + ridge * start)
    np.testing.assert_allclose(tool.solve(means, targets, start, ridge), exact, atol=1e-4)


def test_copies_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judged = ["One, two three four five six. Seven eight nine.", "short text"]
    texts = [
        "And TWO three four five six. seven eight!",
        "two three four five six, seven eight",
        "short text",
    ]
    assert tool.shares_passages(texts, judged).tolist() == [True, False, False]
    long = next(text for text in make_texts() if len(text.split()) == 8)
    tool.make_prior(
        make_texts(), ["web"] * 400, encode, [long], tmp_path / "a", words=9, width=8, ridge=1, levels=9
    )
    assert "\n1 texts left out" in capsys.readouterr().out


def test_words_of_many_sources_come_first() -> None:
    # Words 2 and 3 are in too few texts; word 3 is often in one.
    texts = [[0]] * 12 + [[0, 1]] * 4 + [[1]] * 4 + [[2]] * 4 + [[3] * 9]
    sources = ["a"] * 16 + ["b"] * 9
    tokens = np.array([word for text in texts for word in text], dtype=np.uint32)
    text = np.repeat(np.arange(len(texts)), [len(words) for words in texts])
    assert tool.select_words(tokens, text, sources, 4).tolist() == [0, 1]
    sources = ["a"] * 10 + ["b"] * 3 + ["c"] * 12  # word 0: 10 and 3 and 3 texts; word 1: 3 and 5
    assert tool.select_words(tokens, text, sources, 1).tolist() == [0]
    sources = ["a"] * 16 + ["b", "c", "d", "e"] + ["a"] * 5  # word 0: 16 of one; word 1: 4 of it and 4 others
    assert tool.select_words(tokens, text, sources, 1).tolist() == [1]


def test_words_are_spelled_as_in_the_texts() -> None:
    words = np.sort((token_hashes(["fox's é 12"])[0] >> np.uint64(32)).astype(np.uint32))
    spelled = tool.spell_words(["The Fox\u2019s, É-12"], words)
    assert sorted(spelled) == ["12", "fox's", "é"]
    assert ((token_hashes(spelled)[0] >> np.uint64(32)) == words).all()


def test_vectors_are_encoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN2WAVE_CACHE", str(tmp_path))
    monkeypatch.setattr(tool, "CHUNK", 150)
    encoder, encoded = object.__new__(tool.Encoder), []
    encoder.checkpoint = "weights"
    encoder.compute = lambda texts: (encoded.append(len(texts)), encode(texts))[1]
    texts = make_texts()
    first = tool.encode_chunks(texts, encoder, "texts")
    assert encoded == [150, 150, 100]
    texts[-1] = WORDS[0]
    second = tool.encode_chunks(texts, encoder, "texts")
    assert encoded == [150, 150, 100, 100]  # the last chunk alone
    np.testing.assert_array_equal(first[:-1], second[:-1])
    encoder.checkpoint = "others"
    tool.encode_chunks(texts, encoder, "texts")
    assert len(encoded) == 7


def test_texts_are_shuffled_alike(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for part in range(2):
        rows = [f"text {part} {i}" for i in range(5)]
        pq.write_table(
            pa.table({"text": rows, "source": [f"source {part}"] * 5}), tmp_path / f"part-{part}.parquet"
        )
    texts, sources = tool.read_texts(tmp_path)
    assert sorted(texts) == [f"text {part} {i}" for part in range(2) for i in range(5)]
    assert [text.split()[1] for text in texts] == [source.split()[1] for source in sources]
    assert (texts, sources) == tool.read_texts(tmp_path)
    assert texts != sorted(texts)
    with pytest.raises(SystemExit, match="expected Parquet files"):
        tool.read_texts(tmp_path / "nothing")
