"""Training on cleaned labels: what the validation rows see, when it is applied, and what is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import token2wave
from token2wave.data import TextDataset, TextSplit
from token2wave.errors import CheckpointError, ConfigError, DataError
from token2wave.options import LABEL_CLEANINGS
from token2wave.training import label_cleaning
from token2wave.training.label_cleaning import clean_rows
from token2wave.training.label_quality import LabelQuality

pytestmark = pytest.mark.usefixtures("few_fits")

FAST = {"preset": "fast", "settings": {"network.width": 8, "recipe.epochs": 3}, "baseline": False}
WORDS = {"colour": ("red", "green", "blue", "grey"), "animal": ("dog", "horse", "owl", "trout")}
NAMES = ("animal", "colour")


def rows(n, noise=0.0, seed=0, source="train"):
    """Texts with a number of their own, and the true labels; every so many labels are wrong."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 2, n)
    texts = [
        " ".join([*random.choice(WORDS[NAMES[y]], 2), *random.choice(list("abcdef"), 3), f"{source}{i}"])
        for i, y in enumerate(truth)
    ]
    is_wrong = np.zeros(n, dtype=bool)
    is_wrong[random.permutation(n)[: round(noise * n)]] = True
    labels = [NAMES[y ^ w] for y, w in zip(truth, is_wrong, strict=True)]
    return TextSplit(texts, labels, source), is_wrong


def dataset(noise=0.2, n=1_200, test=True):
    return TextDataset(
        "made-up", rows(n, noise)[0], test=rows(300, 0.0, 1, "test")[0] if test else None, label_names=NAMES
    )


@pytest.fixture
def assessed(monkeypatch):
    """The texts of each assessment, and what is found.

    ``assessed.assess`` finds it, and may be :func:`know`, without training; ``assessed.result`` alters it.
    """

    class Assessments(list):
        assess = staticmethod(label_cleaning.assess_labels)
        result = staticmethod(lambda quality: quality)

    calls = Assessments()

    def watched(rows, *arguments, **options):
        calls.append(list(rows.texts))
        return calls.result(calls.assess(rows, *arguments, **options, n_folds=2))

    monkeypatch.setattr(label_cleaning, "assess_labels", watched)
    return calls


def judged(labels, posteriors, names=NAMES):
    """The quality of labels whose probabilities of being right are known."""
    rows = np.arange(len(labels))
    suspicion = 1 - posteriors[rows, labels]
    return LabelQuality(
        names,
        labels,
        fold=np.zeros(len(labels), dtype=np.int64),
        classifiers=(),
        probabilities=posteriors,
        posteriors=posteriors,
        suspicion=suspicion,
        proposed=posteriors.argmax(axis=1),
        is_suspicious=suspicion > 0.5,
        noise=float(suspicion.mean()),
    )


def know(rows, label_names, **_):
    """The quality of the labels of :func:`rows`, whose first words tell the true ones."""
    labels = np.array([label_names.index(label) for label in rows.labels])
    truth = np.array(
        [
            label_names.index(next(n for n in NAMES if set(WORDS[n]) & set(text.split())))
            for text in rows.texts
        ]
    )
    return judged(labels, np.where(np.arange(2) == truth[:, None], 0.98, 0.02), label_names)


def accuse(quality):
    """Take the rows that look right for wrong."""
    is_right = quality.probabilities.argmax(axis=1) == quality.labels
    sure = np.where(is_right[:, None], np.array([[0.001, 0.999]]), np.array([[0.999, 0.001]]))
    return judged(quality.labels, np.where(quality.labels[:, None] == 0, sure, sure[:, ::-1]))


@pytest.fixture(scope="module")
def plain():
    """What is learnt from :func:`dataset` without cleaning; no test may change it."""
    return token2wave.train(dataset(), **FAST)


@pytest.mark.parametrize("way", LABEL_CLEANINGS)
def test_wrong_labels_are_cleaned_where_validation_agrees(way, assessed, plain):
    data = dataset()
    result = token2wave.train(data, **{way: True}, **FAST)
    summary = result.summary
    cleaning = summary.label_cleaning
    assert (cleaning["way"], cleaning["is_applied"], cleaning["rows"]) == (way, True, 1_200)
    assert 150 < cleaning["suspicious_rows"] < 300
    assert cleaning["validation_accuracy"] == pytest.approx(plain.summary.validation_accuracy)
    assert cleaning["cleaned_validation_accuracy"] == pytest.approx(summary.validation_accuracy)
    assert summary.validation_accuracy < 0.9  # its wrong labels are not cleaned
    assert summary.accuracy > 0.95
    assert result.classifier.training["label_cleaning"] == cleaning
    (note,) = (caveat for caveat in summary.caveats if "look wrong" in caveat)
    for words in (f"{cleaning['suspicious_rows']} of 1,200", label_cleaning.WAYS[way], "token2wave audit"):
        assert words in note
    assert f"{100 * cleaning['validation_accuracy']:.2f}%" in note
    assert f"{100 * cleaning['cleaned_validation_accuracy']:.2f}%" in note
    assert not np.allclose(
        result.classifier.probabilities(data.test.texts), plain.classifier.probabilities(data.test.texts)
    )


def test_validation_and_test_rows_are_not_part_of_the_first_assessment(assessed):
    assessed.assess = know
    data = dataset()
    summary = token2wave.train(data, drop_suspicious=True, **FAST).summary
    train, everything = map(set, assessed)
    assert all(set(texts) == train for texts in assessed[:1])
    assert len(assessed) == 2
    assert len(train) == summary.train_rows < 1_200
    assert summary.train_rows + summary.validation_rows == 1_200
    assert everything == set(data.train.texts)
    assessed.clear()
    no_refit = {**FAST, "settings": {**FAST["settings"], "recipe.refit_below": 0}}
    assert token2wave.train(data, drop_suspicious=True, **no_refit).summary.label_cleaning["is_applied"]
    assert len(assessed) == 1  # nothing learns from the validation rows


def test_a_validation_set_is_neither_assessed_nor_cleaned(assessed):
    validation = rows(200, 0.2, 2, "validation")[0]
    data = replace(dataset(), validation=validation)
    summary = token2wave.train(data, relabel=True, **FAST).summary
    assert summary.label_cleaning["is_applied"]
    assert [set(texts) for texts in assessed] == [set(data.train.texts)]
    assert summary.validation_accuracy < 0.9


@pytest.mark.parametrize("way", LABEL_CLEANINGS)
def test_cleaning_that_makes_it_worse_is_not_applied(way, assessed, plain):
    assessed.assess, assessed.result = know, accuse
    data = dataset()
    cleaned = token2wave.train(data, **{way: True}, **FAST)
    cleaning = cleaned.summary.label_cleaning
    assert not cleaning["is_applied"]
    assert cleaning["cleaned_validation_accuracy"] < cleaning["validation_accuracy"]
    assert cleaned.summary.accuracy == plain.summary.accuracy > 0.95
    assert np.array_equal(*(result.classifier.probabilities(data.test.texts) for result in (plain, cleaned)))
    assert any("were not" in caveat for caveat in cleaned.summary.caveats)


def test_a_cross_validation_cleans_within_each_fold(assessed):
    assessed.assess = know
    data = dataset(test=False)
    summary = token2wave.train(data, cv=3, drop_suspicious=True, **FAST).summary
    assert summary.evaluated_on == "cross-validation"
    assert summary.cv["rows"] == 1_200
    assert 0.7 < summary.accuracy < 0.9  # of the labels as they are
    of_folds = assessed[3::2]  # all rows that a fold learns from, after those to train on alone
    assert len(of_folds) == 3
    held_out = [
        set(data.train.texts).difference(*pair) for pair in zip(assessed[2::2], of_folds, strict=True)
    ]
    assert sorted(text for texts in held_out for text in texts) == sorted(data.train.texts)


def test_few_rows_are_evaluated_with_their_labels_as_they_are(assessed):
    assessed.assess = know
    data = dataset(n=600, test=False)
    summary = token2wave.train(data, drop_suspicious=True, **FAST).summary
    assert summary.label_cleaning["is_applied"]
    assert (summary.evaluated_on, summary.evaluation["rows"]) == ("cross-validation", 600)
    assert summary.accuracy < 0.9
    assert all(len(texts) < 600 for texts in assessed[2:])


def test_multi_label_rows(assessed):
    split, _ = rows(1_200, 0.2)
    sets = replace(split, labels=[(label,) for label in split.labels])
    test = rows(300, 0.0, 1, "test")[0]
    data = TextDataset("sets", sets, test=replace(test, labels=[(label,) for label in test.labels]))
    for way in LABEL_CLEANINGS:
        summary = token2wave.train(data, **{way: True}, **FAST).summary
        assert summary.label_cleaning["is_applied"]
        assert summary.micro_f1 > 0.95


def test_unsure_decisions_that_look_right_cost_no_weight():
    """Of a text with many labels one decision is nearly always unsure."""
    split = TextSplit(list("xy"), [("animal",), ("colour",)], "rows")
    labels, posteriors = np.eye(2, dtype=bool), np.array([[0.6, 0.1], [0.9, 0.6]])
    quality = replace(
        judged(np.array([0, 1]), posteriors),
        labels=labels,
        suspicion=np.array([0.4, 0.9]),
        proposed=np.array([[True, False], [True, True]]),
        is_suspicious=np.array([False, True]),
    )
    assert clean_rows(split, quality, "reweight").weights == pytest.approx([1.0, 0.1])
    relabelled = clean_rows(split, quality, "relabel")
    assert relabelled.labels == [("animal",), ("animal", "colour")]
    assert relabelled.weights == pytest.approx([1.0, 0.6])


def test_what_each_way_does_to_rows():
    split = TextSplit(
        list("wxyz"), ["animal", "animal", "colour", "colour"], "rows", weights=[2.0, 1.0, 1.0, 1.0]
    )
    labels = np.array([0, 0, 1, 1])
    posteriors = np.array([[1.0, 0.0], [0.01, 0.99], [0.45, 0.55], [0.1, 0.9]])

    def clean(way):
        return clean_rows(split, judged(labels, posteriors), way)

    dropped = clean("drop_suspicious")
    assert (dropped.texts, dropped.weights) == (["w", "y", "z"], [2.0, 1.0, 1.0])
    weighted = clean("reweight")
    assert weighted.labels == split.labels
    assert weighted.weights[0] == 2.0
    assert 0 < weighted.weights[1] < weighted.weights[2] < weighted.weights[3] < 1
    relabelled = clean("relabel")
    assert list(relabelled.labels) == ["animal", "colour", "colour", "colour"]
    assert relabelled.weights == pytest.approx([2.0, 0.99, 0.55, 0.9])  # the likeliest labels, and how likely


@pytest.mark.parametrize("way", ["drop_suspicious", "relabel"])
def test_no_class_loses_all_its_rows(way):
    split = TextSplit(list("xyz"), ["animal", "animal", "colour"], "rows")
    posteriors = np.array([[0.01, 0.99], [0.05, 0.95], [0.1, 0.9]])
    cleaned = clean_rows(split, judged(np.array([0, 0, 1]), posteriors), way)
    kept = [text for text, label in zip(cleaned.texts, cleaned.labels, strict=True) if label == "animal"]
    assert kept == ["y"]  # the likeliest


def test_options_that_do_not_go_together():
    data = dataset(n=100)
    for options, words in (
        ({"drop_suspicious": True, "relabel": True}, "drop_suspicious: cannot be combined with relabel"),
        ({"reweight": True, "teacher": "t.npz"}, "reweight: a teacher has learnt"),
        ({"relabel": True, "time_budget": "1min"}, "relabel: a time budget"),
        ({"reweight": True, "stream": True}, "needs all texts in memory"),
    ):
        with pytest.raises(ConfigError, match=words):
            token2wave.train(data, **options, **FAST)


def test_too_few_rows_are_refused():
    with pytest.raises(DataError, match="too few rows to judge cleaned labels"):
        token2wave.train(["a b", "c d"], ["x", "y"], drop_suspicious=True, **FAST)


def test_a_run_resumes_with_the_same_cleaning_alone(assessed, tmp_path, monkeypatch):
    assessed.assess = know
    data, options = dataset(n=400), {"checkpoint": tmp_path / "state", "out": tmp_path / "model", **FAST}
    token2wave.train(data, relabel=True, **options)
    expected = (tmp_path / "model").read_bytes()

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(label_cleaning, "_accuracy", interrupted)  # after the fit to cleaned rows
        with pytest.raises(KeyboardInterrupt):
            token2wave.train(data, relabel=True, **options)
    with pytest.raises(CheckpointError, match="label cleaning was"):
        token2wave.train(data, reweight=True, resume=True, **options)
    token2wave.train(data, relabel=True, resume=True, **options)
    assert (tmp_path / "model").read_bytes() == expected
