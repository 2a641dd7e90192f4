"""Every system learns, predicts and saves; the recipes are those that they say they are."""

from pathlib import Path

import numpy as np
import pytest
import systems
from systems import SYSTEMS, Task, key_of, load_system
from systems.fasttext_systems import normalized, write_lines

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


@pytest.mark.parametrize("name", ["fast", "small", "tfidf_svc", "tfidf_logistic"])
def test_a_system_learns(name, task):
    check(load_system(name), task)


def test_fasttext_learns(task, monkeypatch):
    pytest.importorskip("fasttext")
    system = load_system("fasttext_lr05")
    assert system.passes(None, task) == 5
    monkeypatch.setitem(system.settings, "epoch", 200)  # so few texts need more
    check(system, task)


def test_fasttext_chooses_settings_on_rows_that_it_does_not_learn_from(task):
    pytest.importorskip("fasttext")
    load_system("fasttext_autotune").prepare(task)
    learned, held_out = (
        (task.folder / name).read_text().splitlines() for name in ("train.txt", "validation.txt")
    )
    assert (len(learned), len(held_out)) == (54, 6)
    lines = zip(task.labels, map(normalized, task.texts), strict=True)
    assert sorted(learned + held_out) == sorted(f"__label__{label} {line}" for label, line in lines)


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
