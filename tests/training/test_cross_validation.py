"""A cross-validation predicts rows by models that have learnt from none of their copies, groups and parts."""

from __future__ import annotations

import os
import subprocess
import time

import numpy as np
import pytest

import token2wave
from token2wave.data import TextDataset, TextSplit
from token2wave.errors import ConfigError, Token2WaveError
from token2wave.options import require_seed
from token2wave.reporting.summary import render_summary
from token2wave.training.cross_validation import assign_folds, split_folds
from token2wave.training.examples import Examples
from token2wave.training.processes import call_in_processes
from token2wave.training.recipe import Recipe

FAST = {"preset": "fast", "settings": {"network.width": 8, "recipe.epochs": 2}, "baseline": False}
GROUPED = Recipe(validation="grouped")


def random_rows(n, seed=0):
    """Texts of random words with random labels: nothing can be learned."""
    random = np.random.default_rng(seed)
    texts = [" ".join(map(str, random.integers(0, 3_000, 12))) for _ in range(n)]
    return texts, random.choice(["a", "b"], n).tolist()


def dataset(texts, labels, groups=None, **splits):
    return TextDataset("made-up", TextSplit(texts, labels, "train", groups=groups), **splits)


def copies():
    texts, labels = random_rows(400)
    return dataset(texts * 2, labels * 2)


def groups():
    """Rows of a group share a word and a random label."""
    random = np.random.default_rng(0)
    texts, _ = random_rows(800)
    labels = np.repeat(random.choice(["a", "b"], 100), 8).tolist()
    names = np.repeat([f"group{i}" for i in range(100)], 8).tolist()
    order = random.permutation(800).tolist()
    texts = [f"{text} {name}" for text, name in zip(texts, names, strict=True)]
    return dataset(*([values[i] for i in order] for values in (texts, labels, names)))


def parts():
    """Sentences with random labels, and their halves, which have the label of the sentence."""
    texts, labels = random_rows(300)
    halves = [" ".join(text.split()[i : i + 6]) for text in texts for i in (0, 6)]
    return dataset([*texts, *halves], [*labels, *np.repeat(labels, 2).tolist()])


def several_labels():
    texts, labels = random_rows(600)
    return dataset(texts, [(label,) for label in labels])


@pytest.mark.parametrize("make", [copies, groups, parts, several_labels], ids=lambda make: make.__name__)
def test_random_labels_give_the_accuracy_of_chance(make):
    """Parts of one sentence have one label and similar predictions, so that they count as one row."""
    data = make()
    summary = token2wave.train(data, cv=4, **FAST).summary
    assert summary.evaluated_on == "cross-validation"
    if data.multi_label:
        score = summary.micro_f1
        assert score < summary.majority + 0.04
    else:
        score = summary.accuracy
        n_independent = 300 if make is parts else len(set(data.train.groups or data.train.texts))
        assert abs(score - 0.5) < 4 * (0.25 / n_independent) ** 0.5
    assert len(summary.cv["folds"]) == 4
    assert summary.cv["pooled"] == pytest.approx(score)
    assert summary.cv["mean"] == pytest.approx(np.mean(summary.cv["folds"]))
    assert summary.cv["spread"] == pytest.approx(np.std(summary.cv["folds"], ddof=1))
    assert any(line.startswith("Cross-validation") for line in render_summary(summary))


def test_what_can_be_learned_is_with_any_number_of_processes(monkeypatch, tmp_path):
    """A test set stays what the headline is of."""
    texts, labels = random_rows(1_200)
    texts = [f"{text} word{label}" for text, label in zip(texts, labels, strict=True)]
    test = TextSplit(texts[:200], labels[:200], "test")
    data = dataset(texts[200:], labels[200:], test=test)
    summaries = []
    for n_threads in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", n_threads)
        monkeypatch.setattr("token2wave.run_cross_validation.MIN_PARALLEL_SECONDS", 0)
        out = tmp_path / n_threads
        summaries.append(token2wave.train(data, cv=3, out=out, **FAST).summary)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    assert summaries[0].cv == summaries[1].cv
    assert summaries[0].cv["rows"] == 1_000
    assert summaries[0].cv["pooled"] > 0.8
    assert summaries[0].evaluated_on == "test"


def test_the_model_is_that_of_all_rows(tmp_path):
    """With a test set, asking for a cross-validation changes nothing but the report."""
    texts, labels = random_rows(300)
    data = dataset(texts, labels, test=TextSplit(*random_rows(50, 1), "test"))
    for name, cv in (("plain", None), ("folds", 2)):
        report = {
            "report": tmp_path / f"{name}-report",
            "figures": True,
        }  # of this training, not of the folds
        token2wave.train(data, cv=cv, out=tmp_path / name, **report, **FAST)
    assert (tmp_path / "plain").read_bytes() == (tmp_path / "folds").read_bytes()


def test_several_label_rows_that_are_few_are_cross_validated():
    texts, labels = random_rows(80)
    sets = [(label,) if i % 3 else ("a", "b") for i, label in enumerate(labels)]
    summary = token2wave.train(dataset(texts, sets), **FAST).summary
    assert (summary.evaluated_on, summary.evaluation["rows"]) == ("cross-validation", 80)
    assert summary.cv["measure"] == "micro_f1"


def test_two_groups_are_each_predicted_by_the_other():
    texts, labels = random_rows(1_200)
    summary = token2wave.train(dataset(texts, labels, ["x", "y"] * 600), **FAST).summary
    assert (summary.evaluated_on, summary.evaluation["rows"]) == ("cross-validation", 1_200)
    assert len(summary.cv["folds"]) == 2


def test_a_validation_row_of_each_class_is_enough_to_measure():
    texts, labels = random_rows(100)
    for n, place in ((2, "held-out"), (1, "cross-validation")):
        validation = TextSplit(["a word", "a sea"][:n], ["a", "b"][:n], "validation")
        summary = token2wave.train(dataset(texts, labels, validation=validation), **FAST).summary
        assert summary.evaluated_on == place
        assert summary.accuracy is not None


def test_a_broken_cross_validation_is_not_taken_for_too_few_rows(monkeypatch):
    def broken(*_):
        raise Token2WaveError("a process ended early")

    monkeypatch.setattr("token2wave.run_cross_validation.call_in_processes", broken)
    data = dataset(*random_rows(100), validation=TextSplit(["a word"], ["a"], "validation"))
    with pytest.raises(Token2WaveError, match="ended early"):
        token2wave.train(data, **FAST)


# Folds
# -----


@pytest.mark.parametrize("in_blocks", [False, True])
def test_folds_have_their_part_of_every_class(in_blocks):
    random = np.random.default_rng(0)
    classes = random.choice(3, 500, p=[0.9, 0.08, 0.02])
    fold = assign_folds(classes, np.arange(500), 5, 0, in_blocks=in_blocks)
    for number in range(3):
        counts = np.bincount(fold[classes == number], minlength=5)
        assert counts.max() - counts.min() <= 1
    if in_blocks:  # neighbours: the fold never falls from row to row of a class
        assert (np.diff(fold[classes == 0]) >= 0).all()


def test_folds_keep_groups_and_skip_parts():
    data = parts().train
    labels = np.array([label == "a" for label in data.labels], dtype=np.int64)
    examples = Examples.of_texts(data.texts, labels)
    folds = split_folds(examples, GROUPED, 5, 0)
    assert sorted(np.concatenate([fold.rows for fold in folds]).tolist()) == list(
        range(300)
    )  # whole sentences
    for fold in folds:
        train = {data.texts[row] for row in fold.train_rows}
        for row in fold.rows:
            words = data.texts[row].split()
            assert not train & {" ".join(words), " ".join(words[:6]), " ".join(words[6:])}


@pytest.mark.parametrize("n", [4, 11])
def test_too_few_rows_for_so_many_folds_are_refused(n):
    with pytest.raises(ConfigError, match=rf"cv: expected enough different rows for 12 folds.*found {n}"):
        token2wave.train(dataset([f"w{i} v{i}" for i in range(n)], [*"abba", *"b" * (n - 4)]), cv=12, **FAST)


# Processes
# ---------


@pytest.mark.parametrize("n_processes", [1, 2])
def test_results_come_in_the_order_of_the_calls(n_processes):
    done = []
    assert call_in_processes(abs, [(-3,), (2,), (-1,)], n_processes, done.append) == [3, 2, 1]
    assert sorted(done) == [0, 1, 2]


@pytest.mark.parametrize("n_processes", [1, 2])
def test_an_error_of_a_call_is_raised_here(n_processes):
    with pytest.raises(ConfigError, match="seed: expected a whole number") as raised:
        call_in_processes(require_seed, [(-1,), (-2,)], n_processes, lambda number: None)
    assert raised.value.location == "seed"


def test_a_process_that_ends_is_an_error():
    with pytest.raises(Token2WaveError, match=r"ended early \(status 3\)"):
        call_in_processes(os._exit, [(3,), (3,)], 2, lambda number: None)


def test_an_interruption_ends_the_processes(monkeypatch):
    started = []
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])

    def interrupt(number: int) -> None:
        raise KeyboardInterrupt

    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        call_in_processes(time.sleep, [(0,), (300,), (300,)], 2, interrupt)
    assert time.perf_counter() - start < 60
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)
