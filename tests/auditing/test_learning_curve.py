"""What would help: the learning curve, its continuation, and the sentences about them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from token2wave.auditing import learning_curve
from token2wave.auditing.learning_curve import (
    attainable_and_curve,
    estimate_noise,
    fit_power_law,
    helpful_sentences,
)
from token2wave.data import TextSplit
from token2wave.training.examples import Examples
from token2wave.training.label_quality import assess_labels

pytestmark = pytest.mark.usefixtures("few_fits")

SIZES = [100, 200, 400, 800, 1600]
HARD = ("fish", "birds")
NAMES = ("ale", "bread", "cheese", "dates", *HARD)


def error(n_rows, a=0.1, b=3.0, c=0.5):
    return a + b * np.asarray(n_rows, dtype=float) ** -c


@pytest.fixture(scope="module")
def rows():
    """Four classes that one word tells, and two whose many words each occur a few times."""
    random = np.random.default_rng(3)
    labels = random.integers(0, len(NAMES), 2000)
    texts = []
    for label in labels:
        name = NAMES[label]
        words = random.integers(0, 400, 2) if name in HARD else [0]
        texts.append(" ".join([f"{name}{word}" for word in words] + [f"any{random.integers(0, 40)}"]))
    return TextSplit(texts, [NAMES[label] for label in labels], "planted")


@pytest.mark.parametrize(("a", "b", "c"), [(0.1, 3.0, 0.5), (0.0, 2.0, 0.3), (0.25, 20.0, 1.0)])
def test_a_power_law_is_recovered(a, b, c):
    law = fit_power_law(SIZES, error(SIZES, a, b, c)[None])
    assert law.a[0] == pytest.approx(a, abs=1e-6)
    assert law.c[0] == pytest.approx(c, abs=1e-6)
    assert law(6400)[0] == pytest.approx(error(6400, a, b, c), abs=1e-6)


def test_a_curve_that_falls_faster_than_to_nothing_is_followed_as_far_as_possible():
    law = fit_power_law([1, 2, 4, 8, 16], np.array([[0.5, 0.4, 0.3, 0.2, 0.1]]))
    assert law.a[0] == 0
    assert law(16)[0] == pytest.approx(0.1226, abs=0.0001)  # the least squares of all powers of the grid


def test_noise_moves_the_continuation_little():
    noisy = error(SIZES) + np.random.default_rng(0).normal(0, 0.002, (200, len(SIZES)))
    law = fit_power_law(SIZES, noisy)
    gain = law(1600) - law(3200)
    assert gain.mean() == pytest.approx(error(1600) - error(3200), abs=0.002)
    assert gain.min() >= 0


def test_a_known_curve_is_continued_for_all_and_for_each_class(monkeypatch):
    random, names, sizes = np.random.default_rng(1), ("ale", "bread", "cheese"), [25, 50, *SIZES]
    removable = np.array([4.0, 0.5, 0.5])  # of each class
    errors = error(np.array(sizes)[:, None], 0.05, removable)
    n_tested = np.full((200, len(sizes), 3), 100.0)
    right = n_tested - random.binomial(100, errors, n_tested.shape)
    monkeypatch.setattr(learning_curve, "_measure", lambda *_: (sizes, right, n_tested))
    rows = TextSplit(["a"] * 2000, ["ale"] * 2000, "made")
    attainable, curve = attainable_and_curve(rows, names, None)
    assert curve["more_rows"] == 1000
    truth = error(2000, 0.05, removable) - error(3000, 0.05, removable)
    assert curve["gain"] == pytest.approx(truth.mean(), abs=0.002)
    twice = error(2000, 0.05, removable) - error(4000, 0.05, removable)
    assert curve["doubling"] == pytest.approx(twice.mean(), abs=0.004)
    assert attainable["limit"] == pytest.approx(0.95, abs=0.02)
    assert curve["main_classes"] == ["ale"]
    assert curve["classes"][0]["share"] == pytest.approx(0.8, abs=0.05)
    gains = {item["label"]: item for item in curve["classes"]}
    for name, gain in zip(names, truth, strict=True):
        assert gains[name]["gain"] == pytest.approx(gain, abs=0.003)
        low, high = gains[name]["gain_interval"]
        assert low < gain < high
    low, high = curve["gain_interval"]
    assert high - low > 2 * learning_curve.MISFIT * curve["gain"]  # no curve is exactly a power law


def test_the_curve_tends_to_no_more_than_the_ceiling(monkeypatch):
    right = 100 * (1 - np.tile(error(SIZES, a=0)[:, None], (40, 1, 1)))
    monkeypatch.setattr(learning_curve, "_measure", lambda *_: (SIZES, right, np.full_like(right, 100)))
    monkeypatch.setattr(learning_curve, "estimate_noise", lambda _: 0.1)
    quality = SimpleNamespace(probabilities=np.eye(2), labels=np.array([0, 1]))
    attainable, _ = attainable_and_curve(TextSplit(["a"], ["b"], "made"), ["b"], quality)
    assert attainable["limit"] == attainable["ceiling"] == 0.9
    assert attainable["limit_interval"] == [0.9, 0.9]


@pytest.mark.parametrize("errors", [[0.1, 0.2, 0.3], [0.2, 0.2, 0.2]])
def test_a_curve_that_does_not_fall_promises_nothing(errors):
    law = fit_power_law(SIZES[:3], np.array([errors]))
    assert law(400)[0] - law(10_000)[0] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("multi_label", [False, True])
def test_every_part_of_the_rows_has_the_classes_in_proportion(multi_label):
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    classes = np.eye(3, dtype=bool)[labels] if multi_label else labels
    examples = Examples.of_texts(["a"] * len(labels), classes)
    order = learning_curve._nested_order(examples, np.arange(len(labels)), np.random.default_rng(0))
    assert sorted(order.tolist()) == list(range(len(labels)))
    for size in (10, 57, 300, 999):
        counts = np.bincount(labels[order[:size]], minlength=3)
        assert np.abs(counts - size * np.array([0.6, 0.3, 0.1])).max() <= 2


def test_an_error_counts_in_both_of_its_labels_and_all_sums_to_the_accuracy():
    logits = np.random.default_rng(0).normal(size=(50, 4))
    labels = np.arange(50) % 4
    right, counted = learning_curve._right_and_counted(logits, labels)
    assert right.sum() / counted.sum() == pytest.approx((logits.argmax(axis=1) == labels).mean())
    right, counted = learning_curve._right_and_counted(np.eye(4)[[0, 1]], np.array([0, 2]))
    assert right.tolist() == [[2, 0, 0, 0], [0, 0, 0, 0]]
    assert counted.tolist() == [[2, 0, 0, 0], [0, 1, 1, 0]]


def test_the_classes_that_need_rows_have_the_gain(rows):
    attainable, curve = attainable_and_curve(rows, NAMES, None)
    assert attainable["noise"] is None
    assert curve["reason"] is None
    assert curve["scores"] == sorted(curve["scores"])
    assert curve["more_rows"] == 1000
    assert curve["main_classes"]
    assert set(curve["main_classes"]) <= set(HARD)
    assert sum(item["share"] for item in curve["classes"]) == pytest.approx(1)
    assert {item["label"] for item in curve["classes"]} == set(NAMES)
    easy = next(item for item in curve["classes"] if item["label"] == "ale")
    assert easy["gain"] == pytest.approx(0, abs=0.01)
    low, high = curve["gain_interval"]
    assert low <= curve["gain"] <= high < curve["doubling"]
    assert "most of it in" in " ".join(helpful_sentences({"attainable": attainable, "learning_curve": curve}))


def test_folds_whose_models_are_surer_do_not_stand_for_all():
    rows = np.arange(2000)
    fold = rows % 2
    confidence = np.where(fold == 0, 0.99, 0.7) - rows / 20_000
    labels = np.where((fold == 0) & (rows % 10 < 4), 1, 0)  # two of five in the sure fold, none in the other
    quality = SimpleNamespace(
        probabilities=np.stack([confidence, 1 - confidence], axis=1), labels=labels, fold=fold
    )
    assert estimate_noise(quality) == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("fraction", [0.0, 0.1])
def test_planted_noise_is_estimated(fraction):
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, 2000)
    wrong = random.random(2000) < fraction
    names = ("blue", "red")
    # A quarter of the texts say nothing about their class, which is no noise.
    texts = [f"{names[y] if random.random() < 0.75 else 'any'} {random.integers(0, 50)}" for y in truth]
    rows = TextSplit(texts, [names[y] for y in np.where(wrong, 1 - truth, truth)], "noisy")
    quality = assess_labels(rows, names)
    attainable, _ = attainable_and_curve(rows, names, quality)
    assert attainable["noise"] == pytest.approx(wrong.mean(), abs=0.005 + 0.3 * fraction)
    assert attainable["ceiling"] == 1 - attainable["noise"]
    right = (quality.probabilities.argmax(axis=1) == truth).mean()
    assert attainable["accuracy"] == pytest.approx(right, abs=0.03)
    low, high = attainable["limit_interval"]
    assert low <= attainable["limit"] <= high
    # Chance moves the points of a curve, and its end far more: the median of several curves.
    limits = [attainable_and_curve(rows, names, quality, seed=seed)[0]["limit"] for seed in range(5)]
    expected = 0.875 * (1 - wrong.mean()) + 0.125 * wrong.mean()
    assert np.median(limits) == pytest.approx(expected, abs=0.03)


def test_the_same_seed_gives_the_same_curve(rows):
    first, second = (attainable_and_curve(rows, NAMES, None, seed=4) for _ in range(2))
    assert first == second


def test_multi_label_texts_are_measured_by_f1(rows):
    sets = TextSplit(rows.texts, [(label,) for label in rows.labels], "sets")
    attainable, curve = attainable_and_curve(sets, NAMES, None)
    assert curve["measure"] == "micro_f1"
    assert attainable["noise"] is None
    assert 0.5 < curve["scores"][-1] < 1
    assert set(curve["main_classes"]) <= set(HARD)


@pytest.mark.parametrize(
    "labels",
    [["x"], ["x"] * 200, ["x", "y"], ["x", "y"] * 2, ["x"] * 99 + ["y"], [str(i) for i in range(60)] * 2],
)
def test_too_few_rows_cannot_be_told_apart(labels):
    rows = TextSplit([f"text {i}" for i in range(len(labels))], labels, "few")
    document = dict(
        zip(
            ("attainable", "learning_curve"),
            attainable_and_curve(rows, tuple(sorted(set(labels))), None),
            strict=True,
        )
    )
    assert document["learning_curve"]["gain"] is None
    assert document["attainable"]["limit"] is None
    (sentence,) = helpful_sentences(document)
    assert "cannot be told" in sentence


def document(**changes):
    attainable = {
        "noise": 0.05,
        "ceiling": 0.95,
        "accuracy": 0.89,
        "limit": 0.93,
        "limit_interval": [0.91, 0.94],
    }
    curve = {
        "more_rows": 1000,
        "gain": 0.012,
        "gain_interval": [0.008, 0.016],
        "main_classes": ["billing"],
        "reason": None,
    }
    return {
        "attainable": {key: changes.get(key, value) for key, value in attainable.items()},
        "learning_curve": {key: changes.get(key, value) for key, value in curve.items()},
    }


def test_sentences_say_what_more_rows_bring():
    noise, gain, limit = helpful_sentences(document())
    assert noise.startswith("At least about 5.0% of the labels are wrong.")
    assert "at most 95.0%" in noise
    assert "about 89.0%" in noise
    assert gain == (
        "1,000 more rows like these would bring about +1.2 points (+0.8 to +1.6), most of it in billing."
    )
    assert limit == "With ever more rows the curve tends to about 93% (91% to 94%)."


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"main_classes": []}, "(+0.8 to +1.6)."),
        ({"main_classes": ["a", "b", "c\x1b[0m"]}, "most of it in a, b and c\N{REPLACEMENT CHARACTER}[0m."),
        ({"gain_interval": [0.0, 0.002]}, "bring little: at most +0.2 points"),
        ({"gain_interval": [0.0, 0.08]}, "cannot be told: +0.0 to +8.0 points"),
        ({"limit_interval": [0.5, 1.0]}, "How far many more rows would lead cannot be told"),
    ],
)
def test_sentences_say_what_cannot_be_told(changes, expected):
    assert expected in " ".join(helpful_sentences(document(**changes)))
