"""The OOV table: words without a row count by their own entry, or by those of their character n-grams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from oov_models import TEXTS, expected_ids, oov_model

from token2wave.classifier import load
from token2wave.errors import ConfigError
from token2wave.features import Ragged
from token2wave.features.hashed_texts import HashedTexts
from token2wave.features.ragged import concatenate


def test_ids_come_last_and_are_counted() -> None:
    features = oov_model().features
    ragged = features(TEXTS)
    plain = features.with_oov(features.oov_hashes[:0])(TEXTS)
    assert plain.n_oov_tokens is None
    for number, text in enumerate(TEXTS):
        ids = ragged.ids[ragged.offsets[number] : ragged.offsets[number + 1]]
        own = plain.ids[plain.offsets[number] : plain.offsets[number + 1]]
        expected, n_tokens, n_words = expected_ids(features, text)
        assert ids.tolist() == [*own.tolist(), *expected]
        assert (ragged.n_oov_tokens[number], ragged.n_oov_words[number]) == (n_tokens, n_words)
    assert ragged.n_oov_tokens.max() > ragged.n_oov_words.max() > 0
    assert same(features(HashedTexts(TEXTS)), ragged)
    assert same(ragged.rows(features.n_rows), plain)


def same(one: Ragged, other: Ragged) -> bool:
    return all(np.array_equal(array, vars(other)[name]) for name, array in vars(one).items())


def test_selections_keep_the_counts() -> None:
    ragged = oov_model().features(TEXTS)
    halves = [ragged.take(np.arange(0, 4)), ragged.take(np.arange(4, len(TEXTS)))]
    assert same(concatenate(halves), ragged)
    assert ragged.take(np.array([3, 0])).n_oov_tokens.tolist() == [*ragged.n_oov_tokens[[3, 0]]]
    without = ragged.rows(oov_model().features.n_rows)
    assert concatenate([without, ragged]).n_oov_words[: len(TEXTS)].tolist() == [0] * len(TEXTS)


def test_the_svm_counts_tokens_once() -> None:
    """The sum over rows and entries is divided by the root of rows plus OOV tokens."""
    model = oov_model()
    rows, features = model.features.n_rows, model.features(TEXTS)
    arrays = model.network.arrays()
    table = np.concatenate([arrays["embedding.weight"][:, 16:], arrays["oov.weight"]])
    plain = model.network.config.without_linear_svm()
    from token2wave.inference.reference import logits_of_features

    waves = {name: arrays[name] for name in plain.parameter_shapes()}
    waves["embedding.weight"] = waves["embedding.weight"][:, :16]
    logits = logits_of_features(plain, waves, features.rows(rows)).astype(np.float64)
    for number in range(len(TEXTS)):
        ids = features.ids[features.offsets[number] : features.offsets[number + 1]]
        count = max((ids < rows).sum() + features.n_oov_tokens[number], 1)
        svm = table[ids].sum(axis=0, dtype=np.float64) / np.sqrt(count)
        logits[number] += svm * arrays["linear_svm.weight"] + arrays["linear_svm.bias"]
    np.testing.assert_allclose(model.network.logits(features), logits, atol=1e-4)


def test_a_text_is_known_by_entries_of_words_alone() -> None:
    model = oov_model()
    assert model.known(["zebra", "zebras", "good", "", "qqq"]).tolist() == [True, False, True, False, False]
    assert [each.known for each in model.predict_batch(["zebra", "zebras"])] == [True, False]


def test_a_file_holds_the_table(tmp_path: Path) -> None:
    model = oov_model()
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    np.testing.assert_array_equal(again.probabilities(TEXTS), model.probabilities(TEXTS))
    assert again.fingerprint == model.fingerprint


def test_tables_that_cannot_be_are_refused() -> None:
    model = oov_model()
    with pytest.raises(ConfigError, match="expected a linear SVM"):
        model.network.config.replace(linear_svm=False)
    with pytest.raises(ConfigError, match="n_oov"):
        model.network.config.replace(n_oov=(1 << 22) // 3 + 1)
    with pytest.raises(ConfigError, match="entries of the OOV table, found 0"):
        type(model)(model.features.with_oov(model.features.oov_hashes[:0]), model.network, model.label_names)
