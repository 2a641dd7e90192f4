"""The language prior in training: which texts get it, its sums, and what of it ends in the trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import token2wave
from token2wave.data import TextDataset, TextSplit
from token2wave.features import WordConfig, fit_features
from token2wave.features.hashed_texts import HashedTexts
from token2wave.inference.reference import EMBEDDING, logits_of_features
from token2wave.prior.language_prior import LanguagePrior, load_prior
from token2wave.training.additive_network import AdditiveNetwork
from token2wave.training.branches import choose_by_folds, fit_branches
from token2wave.training.calibration import PRIOR_WEIGHTS_FEW_ROWS, LinearSVMChoice, branch_logits
from token2wave.training.examples import Examples
from token2wave.training.linear_svm import COSTS, LinearSVM, LinearSVMSettings
from token2wave.training.presets import preset_named
from token2wave.training.prior_rows import RowVectors, add_rows, prior_of_texts
from token2wave.training.recipe import Recipe

pytestmark = pytest.mark.prior

ENGLISH = "The driver of the old car was late because the road to the station had been closed."
GERMAN = "Der Fahrer des alten Wagens kam zu spät, weil die Straße zum Bahnhof gesperrt war."
CHINESE = "这辆旧车的司机迟到了，因为通往车站的路已经关闭。"
TOPICS = {
    "animal": "dog cat horse cow sheep lion tiger bear wolf rabbit mouse goat",
    "travel": "train car road ticket station airport flight journey bus hotel driver plane",
}
SETTINGS = {"features.bits": 18, "network.width": 8, "network.context_width": 8, "recipe.epochs": 2}


def rows_of(n: int, seed: int, misspell: bool = False) -> TextSplit:
    """English texts of two topics; misspelt words are not in the prior."""
    random = np.random.default_rng(seed)
    labels = [list(TOPICS)[row % 2] for row in range(n)]
    texts = []
    for row, label in enumerate(labels):
        words = random.choice(TOPICS[label].split(), 3).tolist()
        if misspell:
            words = [word + "qx" for word in words]
        texts.append(f"the {words[0]} and a {words[1]} with {words[2]} number{row}")
    return TextSplit(texts, labels, "generated")


def train(n: int = 400, **options: Any) -> Any:
    data = TextDataset("generated", rows_of(n, 0), test=rows_of(40, 1))
    return token2wave.train(data, **{"settings": SETTINGS, **options})


def small_prior(words: str, width: int = 6) -> LanguagePrior:
    """A prior of few words with random vectors."""
    hashes = np.unique(np.concatenate([hashes for hashes, _ in HashedTexts([words]).token_chunks()]) >> 32)
    vectors = np.random.default_rng(0).normal(size=(len(hashes), width)).astype(np.float32)
    return LanguagePrior(hashes.astype(np.uint32), vectors, "en", "")


@pytest.mark.parametrize(
    ("text", "is_english"), [(ENGLISH, True), (GERMAN, False), (CHINESE, False), ("", False)]
)
def test_only_english_texts_get_the_prior(text, is_english):
    assert (prior_of_texts(HashedTexts([text] * 5)) is not None) == is_english


def test_mixed_texts_get_it_if_most_words_are_english():
    assert prior_of_texts(HashedTexts([ENGLISH] * 9 + [GERMAN])) is load_prior()
    assert prior_of_texts(HashedTexts([ENGLISH] + [GERMAN] * 9)) is None


def test_every_word_of_the_prior_gets_a_row_and_texts_keep_their_words():
    texts = ["dog and unseenword", "cat and dog"]
    features, encoded = fit_features(texts, WordConfig(ngrams=2, bits=16, min_count=1))
    more, again = add_rows(features, encoded, small_prior("dog bird fish"))
    np.testing.assert_array_equal(again.ids, more(texts).ids)
    assert more.n_rows == features.n_rows + 2
    assert (more(["bird fish"]).lengths == 2).all()
    assert (features(["bird fish"]).lengths == 0).all()


def test_sums_of_vectors_are_those_of_a_plain_loop():
    texts = ["dog cat dog bird", "", "unknown words", "cat", "bird unknown fish fish"]
    prior = small_prior("dog bird fish sheep")
    features, encoded = fit_features(texts, WordConfig(ngrams=1, bits=20, min_count=1))
    features, encoded = add_rows(features, encoded, prior)
    expected = np.zeros((len(texts), prior.width))
    for number, text in enumerate(texts):
        for word in text.split():
            hashes, _ = next(HashedTexts([word]).token_chunks())
            (row,) = prior.rows_of(hashes)
            if row >= 0:
                expected[number] += prior.vectors[row]
    assert expected.any(axis=1).tolist() == [True, False, False, False, True]
    np.testing.assert_allclose(RowVectors(features, prior).sums(encoded), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("width", "n_written"), [(2, 4), (4, 4), (8, 6)])
def test_waves_start_from_the_first_numbers_of_the_vectors(width, n_written):
    prior = small_prior("dog bird fish")
    features, _ = fit_features(["dog and bird"], WordConfig(ngrams=1, bits=20, min_count=1))
    vectors = RowVectors(features, prior)
    rows = np.random.default_rng(0).normal(size=(features.n_rows, 2 * width)).astype(np.float32)
    drawn = rows.copy()
    vectors.init_waves(rows, width, scale=3.0)
    others = np.setdiff1d(np.arange(features.n_rows), vectors.rows)
    np.testing.assert_array_equal(rows[others], drawn[others])
    size = np.sqrt(np.mean(np.square(rows[vectors.rows])) / np.mean(np.square(drawn)))
    assert size == pytest.approx(3.0, rel=1e-4)
    ratio = rows[vectors.rows, :n_written] / vectors.vectors[:, :n_written]
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-4)


def test_compiled_svm_and_network_agree_with_the_features_of_the_solver():
    """Words with rows, words of the prior alone, and words that have only character n-grams."""
    train_rows = rows_of(60, 0)
    labels = np.array([list(TOPICS).index(label) for label in train_rows.labels])
    prior = small_prior(" ".join(TOPICS.values()) + " zebra donkey")
    texts = HashedTexts(train_rows.texts)
    features, encoded = fit_features(texts, WordConfig(ngrams=2, bits=20, min_count=2))
    features, encoded = add_rows(features, encoded, prior)
    examples = Examples.of_texts(texts, labels)
    examples = type(examples)(**{**vars(examples), "features": encoded})
    vectors = RowVectors(features, prior)
    choice = LinearSVMChoice(LinearSVMSettings(0.5, 1.0, 1.0))
    preset = preset_named("small")
    config = preset.network_config(features.n_rows, 2, ()).replace(linear_svm=False, width=8, context_width=0)
    waves = AdditiveNetwork.initial(config, 0)
    network, features, _, used = fit_branches(
        waves,
        features,
        examples,
        None,
        preset.recipe.replace(epochs=1),
        linear_svm=True,
        seed=0,
        svm_choice=choice,
        prior=vectors,
    )
    assert used.settings == choice.settings
    problem = LinearSVM(
        examples, features, 2, 0, char_ngrams=True, shortest_char_ngram=2, dense=vectors.sums(encoded)
    )
    (weights,) = problem.solve_path(0.5, 1.0, (1.0,))
    compiled = problem.compiled(weights, vectors)
    unseen = features(["the zebra and a dogs", "donkey doqx", "travellers by trains", "", "dog train"])
    assert (unseen.ids >= features.n_rows).any()
    svm_logits = compiled.logits(unseen)
    np.testing.assert_allclose(branch_logits(network, unseen)[-1], svm_logits, rtol=1e-4, atol=1e-4)
    expected = waves.logits(unseen.rows(features.n_rows)) + svm_logits
    np.testing.assert_allclose(network.logits(unseen), expected, rtol=1e-4, atol=1e-4)
    by_numpy = logits_of_features(network.config, network.arrays(), unseen)
    np.testing.assert_allclose(by_numpy, expected, rtol=1e-4, atol=1e-4)
    # By the definition: features, and vectors of the prior, divided by the root of the text's size.
    roots = np.sqrt(np.maximum(encoded.lengths, 1))[:, None]
    dense = vectors.sums(encoded) @ weights.dense / roots
    without = problem.compiled(weights).logits(encoded)
    np.testing.assert_allclose(compiled.logits(encoded), without + 2 * dense, rtol=1e-4, atol=1e-4)
    assert np.abs(dense).max() > 0.05


def test_few_rows_choose_by_folds(monkeypatch):
    """The prior tells the classes where every word occurs once; where it is noise, it gets less weight."""
    monkeypatch.setattr("token2wave.training.linear_svm.TOLERANCE", 0.1)  # the solver's, not the choice's
    random = np.random.default_rng(0)
    words = [f"word{i}" for i in range(240)]
    texts = HashedTexts([" ".join(words[row * 6 : row * 6 + 6]) for row in range(40)])
    labels = np.arange(40) % 2
    features, encoded = fit_features(texts, WordConfig(ngrams=1, bits=20, min_count=1))
    hashes = np.concatenate([hashes for hashes, _ in HashedTexts(words).token_chunks()]) >> 32
    order = np.argsort(hashes)
    sides = np.repeat(np.where(labels == 0, 1.0, -1.0), 6)[:, None]
    examples = Examples.of_texts(texts, labels)
    examples = type(examples)(**{**vars(examples), "features": encoded})
    chosen = {}
    for name, vectors in (
        ("signal", sides),
        ("noise", random.normal(size=(240, 1))),
    ):
        prior = LanguagePrior(hashes[order].astype(np.uint32), vectors[order].astype(np.float32), "en", "")
        arguments = (examples, None, features, 2, Recipe(char_ngrams=False), RowVectors(features, prior), 0)
        chosen[name] = choose_by_folds(*arguments).settings
        assert chosen[name] == choose_by_folds(*arguments).settings
    assert chosen["signal"].prior_weight == max(PRIOR_WEIGHTS_FEW_ROWS)
    assert chosen["noise"].prior_weight < chosen["signal"].prior_weight
    assert chosen["signal"].cost > chosen["noise"].cost
    without = choose_by_folds(examples, None, features, 2, Recipe(char_ngrams=False), None, 0).settings
    assert without.prior_weight == without.char_ngram_weight == 0
    assert without.cost in COSTS


@pytest.mark.parametrize("n_rows", [24, 400])
def test_english_rows_train_with_the_prior_unless_you_say_no(n_rows):
    result = train(n_rows)
    classifier = result.classifier
    assert classifier.training["prior"] == "en"
    assert classifier.features.n_rows > len(load_prior().hashes) // 2
    assert np.isfinite(classifier.network.arrays()[EMBEDDING]).all()
    plain = train(n_rows, prior=False).classifier
    assert plain.training["prior"] is None
    assert plain.features.n_rows < 5_000


def test_other_languages_train_without_the_prior():
    data = TextDataset(
        "generated", TextSplit([f"{GERMAN} {i}" for i in range(40)], ["a", "b"] * 20, "generated")
    )
    assert token2wave.train(data, settings=SETTINGS).classifier.training["prior"] is None


def test_words_that_only_the_prior_knows_are_classified():
    """None of their nouns is in a training row."""
    classifier = train(400).classifier
    assert classifier.predict("the zebra and an elephant").label == "animal"
    assert classifier.predict("a motorway and a railway").label == "travel"


@pytest.mark.parametrize("options", [{}, {"settings": {**SETTINGS, "recipe.refit_below": 1}}])
def test_same_seed_gives_the_same_file(tmp_path: Path, options):
    paths = [tmp_path / "first.t2w", tmp_path / "second.t2w"]
    for path in paths:
        train(200, out=path, **options)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert token2wave.load(paths[0]).features.n_rows > len(load_prior().hashes) // 2


def test_a_stream_trains_with_the_prior_of_the_rows_it_has(tmp_path: Path):
    rows = rows_of(1_200, 0)
    lines = ["text,label", *(f"{text},{label}" for text, label in zip(rows.texts, rows.labels, strict=True))]
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n")
    path = tmp_path / "train.csv"
    classifier = token2wave.train(path, stream=True, settings=SETTINGS).classifier
    assert classifier.training["prior"] == "en"
    assert classifier.features.n_rows < 5_000  # a stream adds no rows for words that it does not have
    assert classifier.predict("the lion and a sheep").label == "animal"
    plain = token2wave.train(path, stream=True, settings=SETTINGS, prior=False).classifier
    assert plain.training["prior"] is None
    assert plain.features.n_rows == classifier.features.n_rows
    assert not np.array_equal(plain.network.arrays()[EMBEDDING], classifier.network.arrays()[EMBEDDING])
