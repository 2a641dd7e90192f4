"""A trained model goes on learning: more rows, new words, new classes, parts of it, of every kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from several_labels import mixed_splits, mixed_texts
from training_data import WORDS, write_csv, written_rows

import token2wave
from token2wave.data import TextDataset, TextSplit
from token2wave.errors import ConfigError, DataError
from token2wave.features import WordConfig, WordFeatures
from token2wave.inference.reference import EMBEDDING
from token2wave.models import WaveConfig
from token2wave.training import incremental
from token2wave.training.additive_network import AdditiveNetwork
from token2wave.training.examples import Examples
from token2wave.training.incremental import add_words, expand_vocabulary

SMALL = {"features.bits": 12, "network.width": 8, "network.context_width": 8, "recipe.epochs": 4}
KINDS = {
    "small": {"settings": SMALL},
    "fast": {"preset": "fast", "settings": {"features.bits": 12, "network.width": 8}},
    "in torch": {
        "settings": {
            **SMALL,
            "network.variants": "linear",
            "recipe.embedding_optimizer": "adam",
            "recipe.embedding_lr": 0.1,
        }
    },
    "paper": {"preset": "paper", "settings": {"network.width": 16, "recipe.epochs": 4}},
    "two layers": {
        "preset": "paper",
        "settings": {"network.width": 16, "network.layers": 2, "recipe.epochs": 2},
    },
}
NEW_WORDS = {"weather": ["sunny", "rain", "cloud", "storm", "frost", "breeze"]}
TWO = ("sport", "money")


def weather(n_rows: int, seed: int = 0) -> tuple[list[str], list[str]]:
    random = np.random.default_rng(seed)
    words = NEW_WORDS["weather"]
    texts = [
        " ".join(random.permutation([*random.choice(words, 3), "the", "in", "was"])) for _ in range(n_rows)
    ]
    return texts, ["weather"] * n_rows


def rows(n_rows: int, seed: int, labels: tuple[str, ...] = tuple(WORDS)) -> tuple[list[str], list[str]]:
    texts, names = zip(*written_rows(n_rows, seed, labels), strict=True)
    return list(texts), list(names)


def accuracy(classifier: token2wave.Classifier, texts: list[str], labels: list[str]) -> float:
    return float(np.mean(np.array(classifier.labels(texts)) == np.array(labels)))


@pytest.fixture(scope="module", params=KINDS)
def classifier(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> token2wave.Classifier:
    """Of two classes; saved and loaded, as users have it."""
    folder = tmp_path_factory.mktemp("updating")
    data = write_csv(folder / "two.csv", written_rows(240, 1, TWO))
    out = folder / "model.safetensors"
    token2wave.train(data, out=out, device="cpu", **KINDS[request.param])
    return token2wave.load(out)


def test_a_new_class_is_learnt_and_the_others_stay(classifier: token2wave.Classifier, tmp_path: Path) -> None:
    texts, labels = rows(60, 2, TWO)
    new, new_labels = weather(120)
    before = classifier.probabilities(texts)
    updated = token2wave.update(classifier, texts + new, labels + new_labels, epochs=25)
    assert updated.label_names == (*classifier.label_names, "weather")
    np.testing.assert_array_equal(classifier.probabilities(texts), before)  # the one given stays as it is
    if classifier.network.config.linear_svm:  # without them a class comes slowly, by small steps
        assert accuracy(updated, *weather(50, 9)) > 0.9
        assert accuracy(updated, *rows(100, 5, TWO)) > 0.95
    updated.save(tmp_path / "new.safetensors")
    loaded = token2wave.load(tmp_path / "new.safetensors")
    np.testing.assert_allclose(loaded.probabilities(texts), updated.probabilities(texts), atol=1e-6)
    assert loaded.training["updates"][-1]["new_labels"] == ["weather"]
    again = token2wave.update(loaded, texts, labels)
    assert [entry["rows"] for entry in again.training["updates"]] == [180, 60]


def test_the_seed_decides_every_bit(classifier: token2wave.Classifier, tmp_path: Path) -> None:
    texts, labels = rows(60, 2, TWO)
    files = []
    for seed in (3, np.int32(3), 4):
        updated = token2wave.update(classifier, texts, labels, seed=seed)
        updated.save(tmp_path / "m.safetensors")
        files.append((tmp_path / "m.safetensors").read_bytes())
    assert files[0] == files[1]
    assert files[0] != files[2]
    for seed in (-1, 1.5, "3", None):
        with pytest.raises(ConfigError, match="expected a whole number"):
            token2wave.update(classifier, texts, labels, seed=seed)


@pytest.mark.parametrize("parts", ["rows", "network"])
def test_parts_alone(classifier: token2wave.Classifier, parts: str) -> None:
    texts, labels = rows(60, 2, TWO)
    flipped = ["money" if label == "sport" else "sport" for label in labels]
    updated = token2wave.update(classifier, texts, flipped, parts=parts, epochs=5)
    old, new = classifier.network.arrays(), updated.network.arrays()
    moved = {name for name in old if old[name].shape != new[name].shape or (old[name] != new[name]).any()}
    if parts == "rows":
        assert moved - {"linear_svm.bias", "head.weight", "head.bias", "context.head.weight"} <= {
            "embedding.weight",
            "context.head.bias",
        }
        for name in ("head.weight", "head.bias"):  # weighed once more, which rounds
            np.testing.assert_allclose(new[name], old[name], rtol=1e-6)
        assert "embedding.weight" in moved
    else:
        assert "embedding.weight" not in moved
        assert "head.weight" in moved
    if classifier.training["preset"] != "paper":  # whose rates are small for so few steps
        assert accuracy(updated, texts, flipped) >= accuracy(classifier, texts, flipped)


def test_more_rows_teach_more() -> None:
    """Some of the classes' words are unknown at first."""
    rare = {"orbit", "goal", "bank"}
    texts, labels = rows(400, 3)
    seen = [i for i, text in enumerate(texts) if not rare & set(text.split())][:60]
    data = TextSplit([texts[i] for i in seen], [labels[i] for i in seen], "rows")
    first = token2wave.train(TextDataset("rows", data, None, None, None, ()), settings=SMALL).classifier
    updated = token2wave.update(first, *rows(200, 8))
    found = updated.labels(["orbit orbit the", "goal in the goal", "a bank of bank"])
    assert found == ["space", "sport", "money"]
    assert updated.features.n_rows > first.features.n_rows


def test_weights_count(classifier: token2wave.Classifier) -> None:
    texts, labels = rows(60, 2, TWO)
    flipped = ["money" if label == "sport" else "sport" for label in labels]
    both, truth = texts + texts, labels + flipped
    for weights, expected in (([1.0] * 60 + [0.0] * 60, labels), ([0.0] * 60 + [1.0] * 60, flipped)):
        updated = token2wave.update(classifier, both, truth, weights=weights, epochs=20)
        others = flipped if expected is labels else labels
        assert (
            accuracy(updated, texts, expected) > accuracy(updated, texts, others)
            or not updated.network.config.linear_svm
        )
    with pytest.raises(ConfigError, match="weight"):
        token2wave.update(classifier, texts, labels, weights=[0.0] * 60)


@pytest.mark.parametrize("kind", ["small", "fast"])
def test_rows_that_the_texts_lack_take_no_part(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training them all gives the same model to rounding, and leaves them as they are, bit for bit."""
    texts, labels = rows(240, 1, TWO)
    before = token2wave.train(texts, labels=labels, device="cpu", **KINDS[kind]).classifier
    more, more_labels = rows(8, 2, TWO)
    new, new_labels = weather(4)
    compact = incremental._compact
    numbers: list[int] = []

    def counted(examples: Examples, n_rows: int) -> tuple[NDArray[np.int64], Examples]:
        result = compact(examples, n_rows)
        numbers.extend((n_rows, len(result[0])))
        return result

    monkeypatch.setattr(incremental, "_compact", counted)
    updated = token2wave.update(before, more + new, more_labels + new_labels)
    monkeypatch.setattr(incremental, "_compact", lambda examples, n_rows: (np.arange(n_rows), examples))
    of_all = token2wave.update(before, more + new, more_labels + new_labels)
    assert numbers[1] < numbers[0]
    arrays, expected = updated.network.arrays(), of_all.network.arrays()
    for name, array in arrays.items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-5, atol=1e-6)
    absent = np.setdiff1d(np.arange(numbers[0]), updated.features(more + new).ids)
    np.testing.assert_allclose(arrays[EMBEDDING][absent], expected[EMBEDDING][absent], rtol=1e-6)
    known = np.isin(updated.features.buckets[absent], before.features.buckets)
    places = np.searchsorted(before.features.buckets, updated.features.buckets[absent][known])
    old = before.network.arrays()[EMBEDDING][places]
    np.testing.assert_array_equal(arrays[EMBEDDING][absent][known][:, : old.shape[1]], old)


def test_several_labels() -> None:
    splits = mixed_splits(300, 10)
    classifier = token2wave.train(splits, settings=SMALL).classifier
    more = mixed_texts(200, 5)
    texts = [*more.texts, *(f"sunny rain {text}" for text in more.texts[:80])]
    labels = [*more.labels, *((*labels, "weather") for labels in more.labels[:80])]
    updated = token2wave.update(classifier, texts, labels, epochs=8)
    assert updated.label_names == (*classifier.label_names, "weather")
    assert len(updated.thresholds) == len(updated.label_names)
    asked = mixed_texts(60, 6).texts
    with_weather = ["weather" in found for found in updated.label_sets([f"sunny rain {t}" for t in asked])]
    without = ["weather" in found for found in updated.label_sets(asked)]
    assert np.mean(with_weather) > 0.9
    assert np.mean(without) < 0.1


def test_compressed_models_go_on(tmp_path: Path) -> None:
    data = write_csv(tmp_path / "two.csv", written_rows(240, 1, TWO))
    out = tmp_path / "m.safetensors"
    classifier = token2wave.train(data, settings=SMALL, max_size=12_000, out=out).classifier
    texts, labels = rows(60, 2, TWO)
    updated = token2wave.update(classifier, texts + weather(40)[0], labels + weather(40)[1], epochs=10)
    assert accuracy(updated, *weather(50, 9)) > 0.9
    kept = token2wave.update(token2wave.load(out), texts, labels, parts="network")
    kept.save(tmp_path / "kept.safetensors")  # the rows lie there in their small form, as before
    assert (tmp_path / "kept.safetensors").stat().st_size < 13_000


def test_files(tmp_path: Path) -> None:
    data = write_csv(tmp_path / "two.csv", written_rows(240, 1, TWO))
    classifier = token2wave.train(data, settings=SMALL).classifier
    texts, labels = rows(60, 2, TWO)
    more = write_csv(tmp_path / "more.csv", list(zip(texts, labels, strict=True)))
    from_file = token2wave.update(classifier, more)
    in_memory = token2wave.update(classifier, texts, labels)
    np.testing.assert_array_equal(from_file.probabilities(texts), in_memory.probabilities(texts))


@pytest.mark.parametrize(
    ("arguments", "keywords", "error", "said"),
    [
        ((["rain"], ["weather"]), {}, DataError, "known classes beside those of the new class 'weather'"),
        (([], []), {}, DataError, "expected at least one row, found none"),
        ((["goal"], None), {}, DataError, "expected labels beside the texts"),
        ((["goal"], ["sport", "money"]), {}, DataError, "a label for each of the 1 texts"),
        ((["goal"], [["sport", "money"]]), {}, DataError, "found several"),
        ((["goal"], [1]), {}, DataError, "known classes beside those of the new class '1'"),
        ((["goal"], [""]), {}, DataError, r"labels\[0\]: the label is empty"),
        ((["goal"], "sport"), {}, DataError, "labels: expected labels, found one string"),
        ((["goal", None], ["sport"] * 2), {}, DataError, r"texts\[1\]: the text is missing"),
        ((["goal"], ["sport"]), {"weights": [-1]}, DataError, r"weights\[0\]: expected a weight"),
        ((["goal"], ["sport"]), {"weights": [float("nan")]}, DataError, "found the float nan"),
        ((["goal"], ["sport"]), {"parts": "head"}, ConfigError, "all, rows, network"),
        ((["goal"], ["sport"]), {"seed": -1}, ConfigError, "seed"),
        ((["goal"], ["sport"]), {"epochs": 0}, ConfigError, "epochs"),
        (("no-such.csv", ["sport"]), {}, ConfigError, "found the name of data"),
        (("no-such.csv", None), {}, DataError, "no-such.csv"),
    ],
)
def test_what_cannot_be_learnt(arguments, keywords, error, said, of_few_rows: token2wave.Classifier) -> None:
    with pytest.raises(error, match=said):
        token2wave.update(of_few_rows, *arguments, **keywords)


@pytest.fixture(scope="module")
def of_few_rows() -> token2wave.Classifier:
    texts, labels = rows(40, 1, TWO)
    return token2wave.train(texts, labels, **KINDS["fast"]).classifier


@given(
    known=st.lists(st.text("abc ", max_size=8), min_size=1, max_size=6),
    more=st.lists(st.text("bcd é\0", max_size=8), max_size=6),
    cls=st.booleans(),
    n_new=st.integers(0, 3),
)
@settings(max_examples=60, deadline=None)
def test_what_was_known_stays(known: list[str], more: list[str], cls: bool, n_new: int) -> None:
    """Texts of known words alone give the old classes the same logits."""
    config = WordConfig(bits=10, min_count=1, cls=cls)
    features = WordFeatures.fit([*known, "a"], config)
    wide, places = add_words(features, more)
    before, after = features(known), wide(known)
    shape = WaveConfig(
        features.n_rows, 2, width=8, variants="rows", readout="text", context_width=8, linear_svm=True
    )
    network = AdditiveNetwork.initial(shape, seed=1)
    wide_shape, arrays = expand_vocabulary(shape, network.arrays(), wide.n_rows, places, n_new)
    logits = AdditiveNetwork(wide_shape, arrays).logits(after)
    same = before.lengths == after.lengths  # a pair of known words may be new
    np.testing.assert_allclose(logits[same, :2], network.logits(before)[same], atol=1e-6)
    assert (logits[:, 2:] <= logits[:, :2].max(axis=1, keepdims=True) + 1e3).all()
    assert set(features.buckets.tolist()) <= set(wide.buckets.tolist())
