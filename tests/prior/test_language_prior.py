"""The language prior: its file, its words, and how much of a text it knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from token2wave.errors import ModelFileError
from token2wave.features.hashing import hash_tokens
from token2wave.features.text import token_hashes
from token2wave.prior import LanguagePrior, load_prior
from token2wave.prior.language_prior import ENGLISH

WORDS = "the quick brown fox's 1987 , ."
MAX_BYTES = 3_000_000


def make_prior(words: str = WORDS, width: int = 5) -> LanguagePrior:
    hashes = np.sort((token_hashes([words])[0] >> np.uint64(32)).astype(np.uint32))
    vectors = np.random.default_rng(0).standard_normal((len(hashes), width)).astype(np.float32)
    return LanguagePrior(hashes, vectors, "en", "made up, with ü")


@pytest.mark.parametrize("n_levels", [2, 15, 16, 17, 40, 256, 257])
def test_a_file_holds_the_nearest_levels(tmp_path: Path, n_levels: int) -> None:
    prior = make_prior()
    prior.write(tmp_path / "prior.npz", n_levels)
    read = LanguagePrior.read(tmp_path / "prior.npz")
    assert (read.language, read.description, read.width) == ("en", "made up, with ü", 5)
    np.testing.assert_array_equal(read.hashes, prior.hashes)
    assert read.vectors.dtype == np.float32
    assert np.square(read.vectors - prior.vectors).mean() < 3 / n_levels**2


def test_the_same_prior_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_prior().write(tmp_path / name, 40)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_rows_are_those_of_the_words() -> None:
    prior = make_prior()
    hashes, _ = token_hashes(["Fox\u2019s THE dog"])
    rows = prior.rows_of(hashes)
    np.testing.assert_array_equal(prior.hashes[rows[:2]], hashes[:2] >> np.uint64(32))
    assert rows[2] == -1
    assert make_prior("").rows_of(hashes).tolist() == [-1, -1, -1]
    assert prior.rows_of(hashes[:0]).tolist() == []


@pytest.mark.parametrize(
    ("text", "coverage"),
    [
        ("The quick dog, 12 or 0007!", 2 / 4),  # symbols and short numbers do not count
        ("the 1987 : ¿ 😀", 1),
        ("quick 12345 2b", 1 / 3),
        ("日本 the", 1 / 3),  # each character is a word
        ("... 12", 0),
        ("", 0),
    ],
)
def test_coverage_counts_words(text: str, coverage: float) -> None:
    assert make_prior().coverage(token_hashes([text])[0]) == pytest.approx(coverage)


def test_damaged_files_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "prior.npz"
    make_prior().write(path, 40)
    whole = path.read_bytes()
    with np.load(path) as archive:
        entries = dict(archive)
    damaged = [
        b"",
        whole[: len(whole) // 2],
        whole.replace(entries["codes"].tobytes(), b"\0" * entries["codes"].nbytes),
    ]
    assert damaged[-1] != whole
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(ModelFileError, match=r"prior\.npz: expected a language prior"):
            LanguagePrior.read(path)
    for name, wrong in [
        ("codes", entries["codes"][:-3]),
        ("word_scales", np.ones(2)),
    ]:
        np.savez(path, **{**entries, name: wrong})
        with pytest.raises(ModelFileError, match="damaged"):
            LanguagePrior.read(path)
    with pytest.raises(ModelFileError, match="missing"):
        LanguagePrior.read(tmp_path / "missing.npz")


def test_the_shipped_prior_knows_english() -> None:
    prior = load_prior()
    assert prior is load_prior()
    assert ENGLISH.stat().st_size <= MAX_BYTES
    assert prior.language == "en"
    assert "Apache-2.0" in prior.description
    assert (np.diff(prior.hashes.astype(np.int64)) > 0).all()
    assert np.isfinite(prior.vectors).all()
    assert not prior.vectors.flags.writeable
    english = "The committee will publish its report on climate and energy at the end of this year."
    german = "Der Ausschuss wird seinen Bericht über Klima und Energie am Ende dieses Jahres veröffentlichen."
    assert prior.coverage(hash_tokens([english])[0]) == 1
    assert prior.coverage(hash_tokens([german])[0]) < 0.6


def test_similar_words_have_similar_vectors() -> None:
    prior = load_prior()
    rows = prior.rows_of(token_hashes(["football soccer guitar"])[0])
    football, soccer, guitar = prior.vectors[rows] / np.linalg.norm(
        prior.vectors[rows], axis=1, keepdims=True
    )
    assert football @ soccer > 0.5 > football @ guitar
