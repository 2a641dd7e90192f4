"""Every system learns, predicts and saves; the recipes are those that they say they are."""

from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import systems
from scipy.sparse import csr_matrix
from sklearn.svm import LinearSVC
from systems import SYSTEMS, Task, assign_folds, key_of, load_system
from systems.fasttext_systems import normalized, write_lines
from systems.frozen_encoder import Encoder
from systems.tuned_linear import TunedLinear, fit_naive_bayes_svms

from token2wave.data import encode_labels, load_splits
from token2wave.training.baseline import train_baseline

WORDS = {"sport": "goal team match ball", "money": "bank share profit loan", "food": "soup bread salt oven"}


@pytest.fixture
def task(tmp_path):
    """Sixty texts that anything can tell apart; ``empty`` is a class without a text."""
    random = np.random.default_rng(0)
    labels = np.arange(60) % len(WORDS)
    choices = [words.split() for words in WORDS.values()]
    texts = [" ".join(random.choice(choices[label], 6)) + " the end." for label in labels]
    return Task(texts, labels, (*WORDS, "empty"), seed=0, threads=1, folder=tmp_path)


def check(system, task):
    system.prepare(task)
    model = system.fit(task)
    predicted = system.predict(model, ["Bank loan, bank profit!", "soup\nin the oven", "Team (match) goal"])
    assert predicted.tolist() == [1, 2, 0]
    assert system.predict(model, ["", "\ud800 \0"]).shape == (2,)
    assert system.save(model, task.folder).stat().st_size > 0
    for text in (system.name, system.family, system.description, system.bias):
        assert text
        assert "\n" not in text
    return model


@pytest.mark.parametrize(
    "name", ["fast", "small", "tfidf_svc", "tfidf_svc_tuned", "tfidf_logistic_tuned", "nbsvm"]
)
def test_a_system_learns(name, task):
    check(load_system(name), task)


def test_fasttext_learns(task, monkeypatch):
    pytest.importorskip("fasttext")
    system = load_system("fasttext_lr05")
    assert system.passes(None, task) == 5
    monkeypatch.setitem(system.settings, "epoch", 200)  # so few texts need more
    check(system, replace(task, threads=10))  # with fewer, some rows start as memory was (BIAS)


def test_fasttext_chooses_settings_on_rows_that_it_does_not_learn_from(task):
    pytest.importorskip("fasttext")
    load_system("fasttext_autotune").prepare(task)
    learned, held_out = (
        (task.folder / name).read_text().splitlines() for name in ("train.txt", "validation.txt")
    )
    assert (len(learned), len(held_out)) == (54, 6)
    lines = zip(task.labels, map(normalized, task.texts), strict=True)
    assert sorted(learned + held_out) == sorted(f"__label__{label} {line}" for label, line in lines)


def test_fasttext_chooses_epochs_and_rate_then_learns_from_all_rows(task, monkeypatch):
    pytest.importorskip("fasttext")
    system = load_system("fasttext_tuned")
    monkeypatch.setattr("systems.fasttext_systems.EPOCHS", (1, 200))
    monkeypatch.setattr("systems.fasttext_systems.RATES", (1e-6, 0.1))
    task = replace(task, threads=10)
    check(system, task)
    assert system.search(task) == {"dim": 10, "wordNgrams": 2, "epoch": 200, "lr": 0.1}
    assert len((task.folder / "all.txt").read_text().splitlines()) == 60


def test_folds_hold_every_class():
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    folds = assign_folds(labels, 10, seed=0)
    assert [np.bincount(labels[folds == fold]).tolist() for fold in range(10)] == 10 * [[5, 3, 2]]
    assert (folds != assign_folds(labels, 10, seed=1)).any()


def test_settings_are_chosen_on_rows_that_a_fold_does_not_learn_from(task):
    class Rule:
        def __init__(self, known):
            self.known = known

        def predict(self, rows):
            values = rows[:, 0]
            return (
                values % 3
                if self.known is None
                else np.array([self.known.get(value, -1) for value in values])
            )

    class Path:
        """Remembers; its first setting knows its own rows by heart, its second is always right."""

        def __init__(self):
            self.rows = []

        def __call__(self, matrix, labels, seed, settings):
            self.rows.append(len(labels))
            for setting in settings:
                known = {int(row[0]): label for row, label in zip(matrix, labels, strict=True)}
                yield Rule(known if setting == "by heart" else None)

    path, transformer = Path(), mock.Mock(fit_transform=lambda texts: np.arange(len(texts))[:, None])
    system = TunedLinear("n", "f", [lambda: transformer], path, ["by heart", "rule"], "d", "b")
    _, model = system.fit(task)
    assert path.rows == [*5 * [48], 60]
    assert model.predict(np.array([[61]])).tolist() == [1]


def test_nb_svm_has_the_ratios_of_the_paper():
    matrix = csr_matrix(np.array([[1, 0, 1], [1, 1, 0], [0, 1, 0], [0, 1, 1]]))
    labels = np.array([4, 4, 7, 7])
    ratio = np.log(np.array([1, 3, 2]) / 6) - np.log(np.array([3, 2, 2]) / 7)  # of class 7 against 4
    svm = LinearSVC(C=1.0, random_state=0).fit(matrix.multiply(ratio[None]).tocsr(), labels == 7)
    half, whole = fit_naive_bayes_svms(matrix, labels, 0, [(1.0, 0.5), (1.0, 1.0)])
    weights = svm.coef_[0]
    assert whole.weights[:, 0] == pytest.approx(weights * ratio)
    assert half.weights[:, 0] == pytest.approx((0.5 * np.abs(weights).mean() + 0.5 * weights) * ratio)
    assert whole.predict(matrix).tolist() == [4, 4, 7, 7]


def test_vectors_are_kept_where_times_are_not_measured(tmp_path, monkeypatch):
    def load():
        loaded.append(1)
        return mock.Mock(encode=lambda texts: np.array([[len(text)] for text in texts]))

    loaded, encoder = [], Encoder(load)
    monkeypatch.setattr(Encoder, "cache", tmp_path / "vectors")
    for _ in range(2):
        assert encoder.transform(["a", "bcd"]).tolist() == [[1], [3]]
    assert encoder.transform(["a"]).tolist() == [[1]]
    assert len(loaded) == 2


def test_every_system_has_its_file():
    for module in SYSTEMS.values():
        assert (Path(systems.__file__).parent / f"{module}.py").is_file()


def test_the_support_vector_machine_is_the_baseline_of_the_package(tmp_path):
    splits = load_splits("debian-sections")
    train, test = splits.train.texts[:150], splits.test.texts[:100]
    labels = encode_labels(splits.train, splits.label_names)[:150]
    truth = encode_labels(splits.test, splits.label_names)[:100]
    system = load_system("tfidf_svc")
    model = system.fit(Task(train, labels, splits.label_names, 0, 1, tmp_path))
    expected = train_baseline(train, labels, test, truth, splits.label_names)
    assert float((system.predict(model, test) == truth).mean()) == expected["accuracy"]


def test_lines_of_fasttext(tmp_path):
    assert normalized('It\'s "GOOD"; see: (this),\nor <br />not?!') == "it ' s good see ( this ) , or not ? !"
    assert normalized("__label__1 \ud800") == "label1 ?"
    path = tmp_path / "lines.txt"
    write_lines(path, ["A b", "c\r\n\u2028d"], np.array([1, 0]), [1, 0])
    assert path.read_bytes() == b"__label__0 c d\n__label__1 a b\n"


def test_keys_of_systems():
    assert key_of("fast") == "fast"
    assert key_of("some/where/mine.py") == "mine"
