"""The figures of a run without a test set are of rows that chose nothing."""

from __future__ import annotations

import numpy as np
import pytest
from training_data import WORDS, write_csv, written_rows

import token2wave
import token2wave.explanation.explain as explanation
from token2wave.data import TextDataset, TextSplit
from token2wave.metrics import evaluate_decisions, wilson_interval
from token2wave.training.cross_validation import FOLDS
from token2wave.training.preparation import MAX_HELD_OUT, prepare
from token2wave.training.recipe import Recipe
from token2wave.training.run import TrainingRun

SETTINGS = {"network.width": 8, "recipe.epochs": 2}


def random_rows(n, seed=0):
    """Texts of random words with random labels: nothing can be learned."""
    random = np.random.default_rng(seed)
    texts = [" ".join(map(str, random.integers(0, 3_000, 12))) for _ in range(n)]
    return texts, random.choice(["a", "b"], n).tolist()


def dataset(texts, labels, validation=None, test=None):
    splits = [rows and TextSplit(*rows, name) for rows, name in ((validation, "validation"), (test, "test"))]
    return TextDataset("made-up", TextSplit(texts, labels, "train"), *splits)


@pytest.mark.parametrize("options", [{}, {"candidates": 3}, {"max_size": "60kB"}], ids=str)
@pytest.mark.parametrize("n", [300, 1_200])
def test_random_labels_give_the_accuracy_of_chance(n, options):
    summary = token2wave.train(dataset(*random_rows(n)), preset="fast", settings=SETTINGS, **options).summary
    cross_validates = n == 300 and not options
    assert summary.evaluated_on == ("cross-validation" if cross_validates else "held-out")
    assert summary.evaluation["rows"] == (n if cross_validates else n // 10)
    low, high = summary.evaluation["interval"]
    error = (0.25 / summary.evaluation["rows"]) ** 0.5
    assert abs(summary.accuracy - 0.5) < 4 * error
    assert low < summary.accuracy < high
    assert abs(summary.majority - 0.5) < 4 * error


@pytest.mark.parametrize("rows", ["cross-validation", "held-out", "validation file", "test"])
def test_evaluated_texts_name_rows(rows):
    random = random_rows(1_200 if rows == "held-out" else 300)
    other = random_rows(100, seed=1)
    splits = {"validation file": {"validation": other}, "test": {"test": other}}.get(rows, {})
    summary = token2wave.train(dataset(*random, **splits), preset="fast", settings=SETTINGS).summary
    texts, labels = other if splits else random
    assert len(summary.evaluated_texts) == summary.evaluation["rows"]
    for each in summary.evaluated_texts:
        assert (texts[each["row"] - 1], labels[each["row"] - 1]) == (each["text"], each["label"])
        assert not each["words"]  # without a report nobody reads them
    assert "evaluated_texts" not in summary.to_dict()


def test_evaluated_texts_name_rows_where_parts_of_held_out_texts_are_in_no_split():
    texts, labels = random_rows(300)
    texts += [" ".join(text.split()[:4]) for text in texts] + [" ".join(text.split()[5:9]) for text in texts]
    options = {"settings": {**SETTINGS, "recipe.refit_below": 0}, "preset": "fast"}
    summary = token2wave.train(dataset(texts, 3 * labels), **options).summary
    assert summary.evaluated_on == "held-out"
    assert summary.evaluated_texts
    assert all(texts[each["row"] - 1] == each["text"] for each in summary.evaluated_texts)


def test_no_network_that_chooses_has_seen_them(monkeypatch):
    """They are in no fit but the last, on all rows, and in no validation set."""
    seen = []
    fit = TrainingRun.fit

    def watch(self, recipe, train, validation=None, **options):
        seen.append(({*train.texts}, set() if validation is None else {*validation.texts}))
        return fit(self, recipe, train, validation, **options)

    monkeypatch.setattr(TrainingRun, "fit", watch)
    texts, labels = random_rows(1_200)
    summary = token2wave.train(dataset(texts, labels), preset="fast", settings=SETTINGS, candidates=2).summary
    *choosing, (last, _) = seen
    used = set().union(*(train | validation for train, validation in choosing))
    assert len(choosing) > 1
    assert last == set(texts)
    assert len(set(texts) - used) == summary.evaluation["rows"] == 120


def test_half_of_a_validation_file_reports():
    train, validation = random_rows(100), random_rows(61, 1)
    encoded = prepare(dataset(*train, validation), Recipe(), 0, holds_out=True)
    assert len(encoded.train) == 100
    assert encoded.full_train is None
    chosen_by, held_out = set(encoded.validation.texts), set(encoded.held_out.texts)
    assert chosen_by | held_out == set(validation[0])
    assert not chosen_by & held_out
    assert abs(len(chosen_by) - len(held_out)) <= 2
    whole = prepare(dataset(*train, validation), Recipe(), 0)
    assert len(whole.validation) == 61
    assert whole.held_out is None


def test_many_rows_hold_out_no_more_than_the_interval_needs():
    texts = [f"w{i} w{i + 1}" for i in range(12 * MAX_HELD_OUT)]
    encoded = prepare(dataset(texts, ["a", "b"] * (6 * MAX_HELD_OUT)), Recipe(), 0, holds_out=True)
    assert len(encoded.held_out) == MAX_HELD_OUT


def test_copies_of_a_row_stay_together():
    texts, labels = random_rows(400)
    encoded = prepare(dataset(texts * 2, labels * 2), Recipe(), 0, holds_out=True)
    held_out = set(encoded.held_out.texts)
    assert len(encoded.held_out) == 2 * len(held_out)
    assert not held_out & {*encoded.train.texts, *encoded.validation.texts}


def test_so_few_rows_that_none_is_held_out(tmp_path):
    data = write_csv(tmp_path / "tiny.csv", [("match goal", "sport"), ("bank shares", "money")])
    result = token2wave.train(data, preset="fast", settings=SETTINGS)
    assert (result.summary.accuracy, result.summary.evaluated_on) == (None, None)
    assert result.classifier.training["evaluation"] is None


def test_cross_validation_takes_every_row(tmp_path):
    n_rows = 2 * FOLDS * len(WORDS)
    data = write_csv(tmp_path / "few.csv", written_rows(n_rows))
    summary = token2wave.train(data).summary
    assert (summary.evaluated_on, summary.evaluation["rows"]) == ("cross-validation", n_rows)


# Intervals
# ---------


@pytest.mark.parametrize(
    ("fraction", "n", "expected"),
    # Brown, Cai and DasGupta (2001), doi 10.1214/ss/1009213286, give the formula; worked out by hand.
    [(0.5, 100, (0.40383, 0.59617)), (0.0, 10, (0.0, 0.27753)), (1.0, 10, (0.72247, 1.0))],
)
def test_wilson_interval(fraction, n, expected):
    assert wilson_interval(fraction, n) == pytest.approx(expected, abs=1e-5)


def test_no_texts_have_no_interval():
    assert wilson_interval(0.0, 0) is None


def test_the_interval_of_micro_f1_covers_it_as_often_as_it_says():
    """Draw many test sets of one population, whose micro-F1 is known."""
    random = np.random.default_rng(0)
    names = ("a", "b", "c")

    def draw(n):
        truth = random.random((n, 3)) < (0.5, 0.2, 0.05)
        return truth, truth ^ (random.random((n, 3)) < 0.15)

    population = evaluate_decisions(*draw(200_000), names).micro_f1
    covered = 0
    for _ in range(300):
        low, high = evaluate_decisions(*draw(200), names).interval
        covered += low <= population <= high
    assert 0.9 < covered / 300 < 0.99


@pytest.mark.parametrize("rows", ["few, cross-validated", "cv", "held-out", "test", "several labels"])
def test_words_are_explained_by_the_model_that_evaluated(tmp_path, monkeypatch, rows):
    """It has not seen the text; so its explanation has the probability of the evaluation."""
    texts, labels = random_rows(1_200 if rows == "held-out" else 120)
    options = {"cv": 3} if rows == "cv" else {}
    if rows == "several labels":
        labels = [[label] for label in labels]
    splits = {"test": random_rows(40, seed=1)} if rows == "test" else {}
    explained = []

    original = explanation.explain

    def explain(model, text, **how):
        result = original(model, text, **how)
        explained.append((text, dict(zip(result.label_names, result.probabilities, strict=True))))
        return result

    monkeypatch.setattr(explanation, "explain", explain)
    monkeypatch.setattr(explanation, "MAX_SECONDS", 60)
    data = dataset(texts, labels, **splits)
    summary = token2wave.train(data, preset="fast", report=tmp_path, settings=SETTINGS, **options).summary
    assert len(explained) == len(summary.evaluated_texts) > 20
    probabilities = dict(explained)
    for each in summary.evaluated_texts:
        of_label = probabilities[each["text"]]
        missed = each["predicted"] is None
        expected = 1 - of_label[each["label"]] if missed else of_label[each["predicted"]]
        assert each["probability"] == pytest.approx(expected, abs=1e-5)
        assert "".join(word for word, _ in each["words"]) == each["text"]


def test_explanations_end_when_the_time_is_over(monkeypatch):
    classifier = token2wave.train(dataset(*random_rows(60)), preset="fast", settings=SETTINGS).classifier
    monkeypatch.setattr(explanation, "MAX_SECONDS", 0)
    late = explanation.limited_explainer([classifier], np.zeros(1, int), ["1 2 3"])
    assert late(0, 0, 1) == []
    monkeypatch.setattr(explanation, "MAX_SECONDS", 60)
    pieces = explanation.limited_explainer([classifier], np.zeros(1, int), ["1 2 3"])(0, 0, None)
    parts = classifier.explain("1 2 3").parts
    effects = [part.logit_effects[0] - part.logit_effects[1] for part in parts]
    assert pieces == [("1", effects[0]), (" ", 0.0), ("2", effects[1]), (" ", 0.0), ("3", effects[2])]
